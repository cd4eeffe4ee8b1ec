"""What was written survives a power failure."""

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Make sure that a file, or the names in a directory, survive a power failure."""
    if path.is_dir() and os.name == "nt":
        return  # Windows has no handle for this
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
