"""Vectors and what is told of them, in the files of other tools: both ways, block by block.

`read` and `import_into` take them, `export` gives them. docs/exchange.md tells the formats.
"""

from searchx.exchange.arriving import import_into, read
from searchx.exchange.formats import FORMATS
from searchx.exchange.leaving import export
from searchx.exchange.offers import Offer
from searchx.exchange.outgoing import Written
from searchx.exchange.places import library_for

__all__ = ["FORMATS", "Offer", "Written", "export", "import_into", "library_for", "read"]
