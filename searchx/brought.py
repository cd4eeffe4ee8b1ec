"""Models that were brought to this machine as files, under the names that a hub has them by."""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any, Final

MANIFEST: Final = "searchx_model.json"


def brought(name: str) -> Path | None:
    """Give the directory of a model that was brought here; None for one that was not."""
    place = place_of(name)
    told = read_manifest(place)
    return place if told.get("name") == name and "base" not in told else None  # see eightbit


def place_of(name: str) -> Path:
    """Give where a model of this name would be kept."""
    return models_directory() / re.sub(r"[^\w.-]+", "--", name)


def models_directory() -> Path:
    """Give the directory of such models: $SEARCHX_MODELS, else in the user's data folder."""
    if chosen := os.environ.get("SEARCHX_MODELS"):
        return Path(chosen).absolute()
    import platformdirs

    return platformdirs.user_data_path("searchx-models", appauthor=False)


def is_model_directory(name: str) -> bool:
    """Tell whether a name is the path of a model directory."""
    try:
        return Path(name, "open_clip_config.json").is_file()
    except (OSError, ValueError):  # too long for a path, or with a NUL in it
        return False


def sha256_of(file: Path) -> str:
    """Give the checksum of a file, as hubs give it; raises OSError."""
    with file.open("rb") as read:
        return hashlib.file_digest(read, "sha256").hexdigest()


def read_manifest(directory: Path) -> dict[str, Any]:
    """Read what a model directory says of itself; an empty one where it says nothing."""
    try:
        return as_manifest((directory / MANIFEST).read_bytes())
    except OSError:
        return {}


def as_manifest(document: bytes) -> dict[str, Any]:
    """Read the document; an empty one where it is no JSON object."""
    try:
        told = json.loads(document)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
