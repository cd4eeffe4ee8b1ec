"""What a library holds, how it is searched, and what is being done to it now."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from searchx import vectors
from searchx.catalog import Catalog, HeldSource
from searchx.database import FORMAT
from searchx.progress import RunProgress, last_runs, read_progress
from searchx.records import KINDS, Kind, Skipped, Space
from searchx.spaces.progress import Migration, migration_of
from searchx.views import is_of, newest_snapshot


@dataclass(frozen=True, slots=True)
class SourceState:
    """What a source holds, and when it was last brought up to date."""

    held: HeldSource
    indexed: datetime | None  # None where it is not known

    def as_dict(self) -> dict[str, object]:
        """Give the JSON shape."""
        return self.held.as_dict() | {"indexed": self.indexed and self.indexed.isoformat()}


@dataclass(frozen=True, slots=True)
class IndexState:
    """How one kind is searched."""

    kind: Kind
    items: int
    tail: int  # of them that came after the index was built; each is compared
    factory: str  # of FAISS; "exact" where each item is compared
    recall: dict[str, float]  # recall@10 as measured when it was built, by side of the queries
    built: datetime | None

    def as_dict(self) -> dict[str, object]:
        """Give the JSON shape."""
        shape: dict[str, object] = {one: getattr(self, one) for one in self.__dataclass_fields__}
        return shape | {"built": self.built and self.built.isoformat()}


@dataclass(frozen=True, slots=True)
class Status:
    """What a library holds."""

    directory: Path
    space: Space | None
    images: int
    texts: int
    files: int
    states: tuple[SourceState, ...]
    indexes: tuple[IndexState, ...]
    reasons: tuple[tuple[str, int], ...]  # why files were skipped, and how many
    bytes: int | None  # of all that the library keeps on disk; None where it was not added up
    progress: RunProgress | None  # of the run that is going on
    skipped: tuple[Skipped, ...] = ()
    migration: Migration | None = None  # another space: being made, or kept to go back to
    format: int = int(FORMAT)  # of the library; older ones are brought to it when opened

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(one.held.path for one in self.states)

    @property
    def skips(self) -> int:
        """Count the files that were skipped."""
        return sum(files for _, files in self.reasons)

    def as_dict(self, *, listed: bool = True) -> dict[str, object]:
        """Give the JSON shape; with `listed`, every skipped file is in it."""
        shape: dict[str, object] = {
            "library": str(self.directory),
            "format": self.format,
            "model": self.space.name if self.space else None,
            "dim": self.space.dim if self.space else None,
            "images": self.images,
            "texts": self.texts,
            "files": self.files,
            "sources": list(self.sources),
            "held": [one.as_dict() for one in self.states],
            "indexes": [one.as_dict() for one in self.indexes],
            "reasons": [{"reason": why, "files": files} for why, files in self.reasons],
            "bytes": self.bytes,
            "progress": self.progress and self.progress.as_dict(),
            "migration": self.migration and self.migration.as_dict(),
        }
        if listed:
            skipped = [{"path": one.path, "reason": one.reason} for one in self.skipped]
            shape["skipped"] = skipped
        return shape


@dataclass(frozen=True, slots=True)
class Overview:
    """The part of `Status` that costs no walk over the disk."""

    images: int
    texts: int
    sources: tuple[str, ...]


def status_of(
    catalog: Catalog, held: Sequence[HeldSource] | None = None, *, whole: bool = True
) -> Status:
    """Tell what a library holds; not `whole`, without its bytes and the list of skipped files.

    `held` is what its sources hold, where that is known already.
    """
    counts = catalog.counts()
    runs = last_runs(catalog.directory)
    return Status(
        directory=catalog.directory,
        space=catalog.space(),
        images=counts["image"],
        texts=counts["text"],
        files=counts["files"],
        states=tuple(
            SourceState(one, _moment(runs.get(one.path)))
            for one in (catalog.held_sources() if held is None else held)
        ),
        indexes=tuple(_index_of(catalog, kind, counts[kind]) for kind in KINDS if counts[kind]),
        reasons=tuple(catalog.skipped_reasons()),
        bytes=bytes_of(catalog.directory) if whole else None,
        progress=read_progress(catalog.directory),
        skipped=catalog.skipped() if whole else (),
        migration=migration_of(catalog),
    )


def bytes_of(directory: Path) -> int:
    """Add up the sizes of all files; one that is removed meanwhile does not count."""
    total = 0
    for root, _, names in os.walk(directory):
        for name in names:
            with suppress(FileNotFoundError):
                total += Path(root, name).stat().st_size
    return total


def _index_of(catalog: Catalog, kind: Kind, items: int) -> IndexState:
    """Read what the newest snapshot says of itself; without one, everything is compared."""
    place = newest_snapshot(catalog, kind)
    with suppress(*vectors.UNREADABLE):
        if place is not None and is_of(place, catalog.space(), catalog.version()):
            manifest = vectors.read_manifest(place)
            tail = catalog.count_appeared(kind, manifest.origin.added)
            built = _moment((place / "manifest.json").stat().st_mtime)
            return IndexState(kind, items, tail, manifest.factory, manifest.recall, built)
    return IndexState(kind, items, items, "exact", {}, None)


def _moment(seconds: float | None) -> datetime | None:
    try:
        return None if seconds is None else datetime.fromtimestamp(int(seconds), UTC)
    except (OverflowError, ValueError, OSError):
        return None
