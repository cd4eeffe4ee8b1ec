"""Backgrounds that were measured before, kept in the library: a first query need not measure."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np

from searchx.catalog import Version
from searchx.records import Vectors
from searchx.relevance import Background, Direction, Level
from searchx.views import SNAPSHOTS, sweep_beside

GROWN: Final = 0.05  # of a kind that may have come or gone before it is measured anew
_LEVELS: Final = ("hit", "asked", "best")
_UNREADABLE: Final = (OSError, EOFError, ValueError, KeyError, TypeError, BadZipFile)


def kept_background(
    directory: Path, version: Version, space: str, direction: Direction, references: Vectors
) -> Background | None:
    """Give what was measured of a library in one space; None where it has changed much since."""
    try:
        with (
            _place(directory, space, direction).open("rb") as file,
            np.load(file, allow_pickle=False) as kept,
        ):
            changes = abs(version.added - int(kept["added"]))
            changes += abs(version.removed - int(kept["removed"]))
            if str(kept["library"]) != version.library or changes > GROWN * int(kept["count"]):
                return None
            hit, asked, best = (_level(kept[name]) for name in _LEVELS)
            covariance, count = kept["covariance"], int(kept["count"])
    except _UNREADABLE:
        return None
    dim = references.shape[1]
    if covariance.shape != (dim, dim) or covariance.dtype != np.float32:
        return None
    return Background(direction, count, hit, asked, best, covariance, references)


def keep_background(directory: Path, version: Version, space: str, background: Background) -> None:
    """Write it beside and rename; where that cannot be, it is measured again next time."""
    place = _place(directory, space, background.direction)
    beside = place.with_name(f".{place.name}.{os.getpid()}.part")
    told: dict[str, Any] = {name: np.array(getattr(background, name)) for name in _LEVELS}
    try:
        with beside.open("wb") as file:
            np.savez(
                file,
                library=np.array(version.library),
                added=np.array(version.added),
                removed=np.array(version.removed),
                count=np.array(background.count),
                covariance=background.covariance,
                **told,
            )
        beside.replace(place)
    except OSError:
        with suppress(OSError):
            beside.unlink()


def sweep_backgrounds(directory: Path, space: str) -> None:
    """Remove those of other models, and what interrupted processes left half written."""
    sweep_beside(directory, "*background-*", but=f"background-{space[:16]}-")


def _level(kept: "np.ndarray[Any, Any]") -> Level:
    mean, spread = kept.astype(float).tolist()
    if not spread > 0:
        raise ValueError("no spread")
    return Level(mean, spread)


def _place(directory: Path, space: str, direction: Direction) -> Path:
    name = f"background-{space[:16]}-{direction.asked}-{direction.found}.npz"
    return directory / SNAPSHOTS / name
