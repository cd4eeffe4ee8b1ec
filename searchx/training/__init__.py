"""Train a model on pairs of pictures and texts, and on pictures that people put together.

The names that others use; this package brings torch along.
"""

from searchx.training.links import Links, read_links
from searchx.training.run import train
from searchx.training.settings import Settings

__all__ = ["Links", "Settings", "read_links", "train"]
