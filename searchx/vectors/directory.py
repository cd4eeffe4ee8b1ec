"""Where the snapshots of a library lie: one directory each, named by kind and generation."""

import os
import shutil
from pathlib import Path

from searchx.errors import LibraryCorrupt, LibraryFull
from searchx.records import Kind


def sweep(directory: Path, kind: Kind) -> None:
    """Remove what interrupted runs left half written or half removed; the library is held."""
    for name in listed(directory):
        if name.startswith(f".{kind}-"):
            shutil.rmtree(directory / name, ignore_errors=True)


def newest(directory: Path, kind: Kind) -> Path | None:
    """Give the place of the newest snapshot of a kind."""
    return max(places(directory, kind), key=generation, default=None)


def places(directory: Path, kind: Kind) -> list[Path]:
    """Give the places of all snapshots of a kind, also of those that were left behind.

    The oldest comes first: where removing them is interrupted, the newest is there last.
    """
    start = f"{kind}-"
    names = [one for one in listed(directory) if one.startswith(start)]
    named = [one for one in names if one[len(start) :].isdecimal()]
    return sorted((directory / one for one in named), key=generation)


def drop(place: Path) -> None:
    """Remove a snapshot; raises LibraryFull where that is not possible.

    It is there as a whole or not at all, wherever this is interrupted.
    """
    aside = place.with_name(f".{place.name}.old")
    try:
        if aside.exists():
            shutil.rmtree(aside)
        place.replace(aside)
        shutil.rmtree(aside, ignore_errors=True)  # what is left of it goes with the next build
    except OSError as error:
        raise LibraryFull(
            f"{place} cannot be removed ({error.strerror or error}); it is out of date, remove it "
            "by hand and run the same command again"
        ) from error


def generation(place: Path) -> int:
    return int(place.name.rpartition("-")[2])


def listed(directory: Path) -> list[str]:
    """Name what a folder of snapshots holds; nothing where it is not there, or may not be read.

    Raises LibraryCorrupt where the disk does not tell.
    """
    try:  # looked at with every query: Path.glob takes ten times as long
        return os.listdir(directory)  # noqa: PTH208
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []
    except OSError as error:
        raise LibraryCorrupt(
            f"{directory} cannot be read ({error.strerror or error}); check that disk, and run "
            "the same command again"
        ) from error
