"""Where searchx keeps for a user what can be made again at any time."""

import os
from pathlib import Path


def cache_directory() -> Path:
    """Give the folder: ``SEARCHX_CACHE``, else one in the user's cache folder; it may not exist."""
    if chosen := os.environ.get("SEARCHX_CACHE"):
        return Path(chosen).absolute()
    import platformdirs

    return platformdirs.user_cache_path("searchx", appauthor=False)
