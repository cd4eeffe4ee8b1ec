"""One kind of a library as of one moment: its newest snapshot, and what has changed since.

A view never changes. A reader takes a new one where the catalog or the snapshot has moved on, and
searches that are under way go on with theirs.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from searchx import vectors
from searchx.catalog import Catalog, Version
from searchx.filters import Filter
from searchx.records import Ids, Kind, Space, Vectors
from searchx.vectors import Found, Plan, Scan, Selection

SNAPSHOTS: Final = "snapshots"
_OWN: Final = "space-"  # how the folder of a space that took over begins
_TRIES: Final = 10
_FILTERS_KEPT: Final = 8
_BLOCK: Final = 4_096  # rows given at a time
Touched: TypeAlias = tuple[int, ...]  # what `Catalog.touched` gave before the filter was asked


@dataclass(frozen=True, slots=True)
class Choice:
    """What a filter lets through, in a snapshot and in the tail."""

    ids: Ids | None  # ascending, of both; None: everything
    snapshot: Selection | None
    tail: vectors.Mask | None

    def count(self, view: "View") -> int:
        """Count what may be found."""
        return view.count if self.ids is None else len(self.ids)


@dataclass(frozen=True, slots=True)
class View:
    """One kind of a library as of one version of its catalog."""

    kind: Kind
    version: Version
    newest: Path | None  # the newest snapshot on disk when this was read, usable or not
    snapshot: vectors.Snapshot | None
    excluded: Ids  # ids in the snapshot that were removed since, each once
    tail: Scan
    _choices: "_Choices" = field(default_factory=lambda: _Choices())

    @property
    def count(self) -> int:
        """Count the items that a search goes through."""
        held = len(self.snapshot.ids) - len(self.excluded) if self.snapshot else 0
        return held + len(self.tail.ids)

    @property
    def ids(self) -> Ids:
        """Give the ids of all of them, ascending."""
        known = self._choices.every
        if known is None:
            held = self.snapshot.ids if self.snapshot else np.empty(0, np.int64)
            known = np.sort(np.concatenate([np.setdiff1d(held, self.excluded), self.tail.ids]))
            known.setflags(write=False)
            self._choices.every = known  # a second for a million: once in the life of a view
        return known

    def search(self, queries: Vectors, k: int, choice: Choice, side: Kind) -> Found:
        """Find the k nearest of every query row, in the snapshot and in the tail.

        `side` is what the queries were made of.
        """
        found = self.tail.search(queries, k, choice.tail)
        if self.snapshot is None:
            return found
        held = self.snapshot.search(queries, k, choice.snapshot, side)
        return vectors.merge(held, found, k)

    def plan(self, query: Vectors, k: int, choice: Choice, side: Kind) -> Plan | None:
        """Tell how the snapshot would be searched for one query; None without a snapshot."""
        return (
            None if self.snapshot is None else self.snapshot.plan(query, k, choice.snapshot, side)
        )

    def choose(self, catalog: Catalog, where: Filter | None) -> Choice:
        """Ask the catalog what passes a filter; the answer is kept for the next searches."""
        touched = () if where is None else catalog.touched()
        kept = self._choices.get(where, touched)
        if kept is None:
            passing = None if where is None else catalog.matching(self.kind, where)
            kept = self._choices.keep(where, touched, self._choice(passing))
        return kept

    def rows(self, ids: Ids) -> tuple[Ids, Vectors]:
        """Give the vectors (n, dim) of those of these ids, ascending, that are in here."""
        found = [self.tail.rows(ids)]
        if self.snapshot is not None:  # what was removed may have come back, into the tail
            left = np.setdiff1d(ids, self.excluded) if len(self.excluded) else ids
            found.append(self.snapshot.scan.rows(left))
        if not len(found[0][0]):
            return found[-1]
        held = np.concatenate([one[0] for one in found])
        rows = np.concatenate([one[1] for one in found])
        order = np.argsort(held, kind="stable")
        return held[order], rows[order]

    def held(self, ids: Ids) -> Ids:
        """Give those of these ids, ascending, that are in here; reads no vectors."""
        found = self.tail.ids[vectors.places_of(self.tail.ids, ids)]
        if self.snapshot is not None:
            there = self.snapshot.ids[vectors.places_of(self.snapshot.ids, ids)]
            found = np.union1d(found, np.setdiff1d(there, self.excluded))
        return found

    def blocks(self, ids: Ids) -> Iterator[tuple[Ids, Vectors]]:
        """Give what `rows` does, some at a time, in bounded memory."""
        for start in range(0, len(ids), _BLOCK):
            yield self.rows(ids[start : start + _BLOCK])
            if self.snapshot is not None:
                self.snapshot.pages.read(_BLOCK)

    def sample(self, size: int) -> Vectors:
        """Give vectors of some items, always the same ones of a view, (n, dim)."""
        ids = self.ids
        if len(ids) > size:
            ids = np.sort(np.random.default_rng(0).choice(ids, size, replace=False))
        return self.rows(ids)[1]

    def _choice(self, passing: Ids | None) -> Choice:
        held = self.snapshot
        chosen = None if held is None else held.select(self.excluded, passing)
        if passing is None:
            return Choice(None, chosen, None)
        tail = np.isin(self.tail.ids, passing)
        return Choice(passing[np.isin(passing, self.ids)], chosen, tail)


class _Choices:
    """What the last filters let through; one view's own."""

    def __init__(self) -> None:
        self.every: Ids | None = None  # what is let through without one
        self._kept: OrderedDict[Filter | None, tuple[Touched, Choice]] = OrderedDict()
        self._changing = threading.Lock()

    def get(self, where: Filter | None, touched: Touched) -> Choice | None:
        with self._changing:
            known, choice = self._kept.get(where, (touched, None))
            if choice is None or known != touched:
                return None
            self._kept.move_to_end(where)
            return choice

    def keep(self, where: Filter | None, touched: Touched, choice: Choice) -> Choice:
        with self._changing:
            self._kept[where] = (touched, choice)
            while len(self._kept) > _FILTERS_KEPT:
                self._kept.popitem(last=False)
        return choice


def snapshots_of(directory: Path, space: str) -> Path:
    """Give the folder of the snapshots of a space, by its digest.

    A space that took over has a folder of its own; the first one of a library has none.
    """
    own = own_snapshots_of(directory, space)
    return own if own.is_dir() else directory / SNAPSHOTS


def own_snapshots_of(directory: Path, space: str) -> Path:
    """Name the folder that a space has, or may be given, for itself."""
    name = hashlib.blake2b(space.encode(), digest_size=8).hexdigest()
    return directory / SNAPSHOTS / f"{_OWN}{name}"


def snapshot_folders(directory: Path) -> list[Path]:
    """Give all folders of snapshots, of whatever space."""
    held = vectors.listed(directory / SNAPSHOTS)
    own = sorted(one for one in held if one.startswith(_OWN))
    return [directory / SNAPSHOTS, *(directory / SNAPSHOTS / one for one in own)]


def sweep_beside(directory: Path, pattern: str, but: str = "") -> None:
    """Remove files beside the snapshots, but for those whose names begin so, as far as possible."""
    with suppress(OSError):  # the disk may not even tell what is there
        for left in (directory / SNAPSHOTS).glob(pattern):
            if not but or not left.name.startswith(but):
                with suppress(OSError):
                    left.unlink()


def newest_snapshot(catalog: Catalog, kind: Kind, version: Version | None = None) -> Path | None:
    """Give the place of the newest snapshot of a kind, in the space that the catalog reads."""
    version = version or catalog.version()
    return vectors.newest(snapshots_of(catalog.directory, version.space), kind)


def read_view(catalog: Catalog, kind: Kind, before: View | None = None) -> View:
    """Read a kind as it stands, again where the library was compacted or restored meanwhile.

    Where the view `before` has the same snapshot, that is taken over: it may take a second to load.
    """
    for _ in range(_TRIES):
        view = _try_view(catalog, kind, before)
        version = catalog.version()
        newest = newest_snapshot(catalog, kind, version)
        if (newest, version.library, version.space) == (
            *(view.newest, view.version.library, view.version.space),
        ):
            break
    return view


def is_current(view: View, catalog: Catalog) -> bool:
    """Tell whether nothing has changed since a view was read; costs a look at both."""
    version = catalog.version()
    return (view.newest, view.version) == (newest_snapshot(catalog, view.kind, version), version)


def held_ids(catalog: Catalog, kind: Kind) -> Ids:
    """Give the ids that a search goes through: snapshot and tail, without what was removed."""
    return read_view(catalog, kind).ids


def is_of(place: Path, space: Space | None, version: Version) -> bool:
    """Tell whether a snapshot was read from this catalog, in a state that it has gone through."""
    try:
        return fits(vectors.read_manifest(place).origin, space, version)
    except vectors.UNREADABLE:
        return False


def load_snapshot(
    place: Path | None, space: Space | None, version: Version
) -> vectors.Snapshot | None:
    """Load a snapshot where it fits; one that is broken or of another catalog is not used."""
    if place is None:
        return None
    try:
        snapshot = vectors.load(place)
    except vectors.UNREADABLE:
        return None  # all of it is in the catalog, and the next indexing builds it anew
    return snapshot if fits(snapshot.manifest.origin, space, version) else None


def fits(origin: vectors.Origin, space: Space | None, version: Version) -> bool:
    """Tell whether a snapshot was read from this catalog, in a state that it has gone through."""
    return (
        space is not None
        and (origin.library, origin.space) == (version.library, space.digest)
        and origin.added <= version.added
        and origin.removed <= version.removed
    )


def _try_view(catalog: Catalog, kind: Kind, before: View | None) -> View:
    newest, snapshot = _newest(catalog, kind, before)
    after = snapshot.manifest.origin.added if snapshot else 0
    tail_ids, tail, version = catalog.read_vectors(kind, after)
    if snapshot and not fits(snapshot.manifest.origin, catalog.space(), version):
        snapshot = None  # the library was restored just now
        tail_ids, tail, version = catalog.read_vectors(kind)
    known = snapshot.manifest.origin.removed if snapshot else version.removed
    gone = catalog.removed(known, version.removed)
    held = snapshot.ids if snapshot else np.empty(0, np.int64)
    order = np.argsort(tail_ids)
    scan = Scan(tail_ids[order], tail[order])
    return View(kind, version, newest, snapshot, np.intersect1d(gone, held), scan)


def _newest(
    catalog: Catalog, kind: Kind, before: View | None
) -> tuple[Path | None, vectors.Snapshot | None]:
    """Load the newest snapshot, again where another one took its place: all would be tail else."""
    for _ in range(_TRIES):
        newest = newest_snapshot(catalog, kind)
        # The version is read after the name: the snapshot of a fitting one is never ahead of it.
        space, version = catalog.space(), catalog.version()
        snapshot = _taken_over(newest, before) or load_snapshot(newest, space, version)
        if snapshot or newest == newest_snapshot(catalog, kind):
            break
    return newest, snapshot


def _taken_over(newest: Path | None, before: View | None) -> vectors.Snapshot | None:
    """Give the snapshot of a view where it is the newest one still, by its manifest."""
    held = None if before is None else before.snapshot
    if newest is None or held is None or held.directory != newest:
        return None
    try:
        return held if vectors.read_manifest(newest) == held.manifest else None
    except vectors.UNREADABLE:
        return None
