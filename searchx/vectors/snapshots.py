"""Snapshots: immutable indexes over the vectors of one space and one kind.

A snapshot is a directory with the float16 matrix, the ids, a manifest and, from `exact_below`
vectors on, a FAISS index whose candidates are ranked again by their exact cosine. It is derived
from the catalog and can be deleted at any time.
"""

import json
import mmap
import os
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from searchx.durable import sync
from searchx.errors import LibraryCorrupt, LibraryFull
from searchx.records import Ids, Kind, Rows, Vectors
from searchx.vectors import inverted, tuning
from searchx.vectors.directory import generation, newest, places, sweep
from searchx.vectors.exact import (
    NO_ID,
    ROUNDING,
    Found,
    Halves,
    Mask,
    Places,
    Scan,
    best_of,
    check_width,
    cosines_of_each,
    nothing,
    places_of,
    stacked,
)
from searchx.vectors.inverted import Effort, Inverted
from searchx.vectors.manifest import (
    UNREADABLE,
    Manifest,
    Origin,
    damaged,
    digest_of,
    read_manifest,
    sealed,
)
from searchx.vectors.reranking import Refined, leading
from searchx.vectors.selection import KEPT_APART, Lists, Selection, select

_EXACT_SIZE: Final = 1 << 25  # numbers in the matrix; 65,536 vectors of 512: some 8 ms a query
_LEAST_INDEXED: Final = 256  # vectors; fewer cannot train an index
_BLOCK: Final = 256  # queries answered together, each block by a thread of its own
_LITTLE: Final = 32  # queries that FAISS answers with all cores; more are divided among those
_COMPARED: Final = 8  # comparing so many rows one by one costs less than ranking one of them again
_ROWS_READ: Final = 1_024  # rows of the matrix, 1 MB of 512 numbers, compared together
_SPARE: Final = 2  # more than asked for, of what FAISS compared: its last digits are its own
_RESIDENT: Final = 1_024  # rows of the matrix read before the pages around them are given back
_RESIDENT_FOR_MANY: Final = 262_144  # likewise of many queries: 256 MB of 512 numbers


@dataclass(frozen=True, slots=True)
class Plan:
    """How a search over a snapshot is done."""

    way: str  # "exact", "exact within", "index", "index within"
    looked_at: int  # rows that may be found
    nprobe: int = 0
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A loaded snapshot. Nothing in it changes when it is searched."""

    directory: Path
    manifest: Manifest
    scan: Scan
    made: Inverted | None
    lists: Lists | None  # (n,)
    pages: "_Pages"
    refined: Refined | None  # where there is an index

    @property
    def ids(self) -> Ids:
        """Give the ids (n,), ascending."""
        return self.scan.ids

    @property
    def matrix(self) -> Halves:
        """Give the vectors (n, dim), memory-mapped."""
        return self.scan.matrix

    def select(self, excluded: Ids, within: Ids | None = None) -> Selection | None:
        """Choose what a search may find; None for all of it. Worth keeping for many searches."""
        if within is None and not len(places_of(self.ids, excluded)):
            return None
        lists = self.made.list_count if self.made else 0
        return select(self.scan, excluded, within, self.lists, lists)

    def search(
        self,
        queries: Vectors,
        k: int,
        chosen: Selection | None = None,
        side: str = "text",
        effort: Effort | None = None,
    ) -> Found:
        """Find the k nearest of every query row among what is chosen.

        Gives min(k, what there is) of them for every query, with exact cosines. `side` is what
        the queries were made of; the effort is the one that was measured to serve such queries,
        unless it is given.
        """
        check_width(queries, self.manifest.dim)
        if self._is_exact(chosen, k) or not len(queries):
            return self._compare(queries, k, chosen)
        effort = effort or tuning.deepened(self.manifest.effort(side), k, self._list_count)
        if len(queries) <= _LITTLE:
            return self._ask(queries, k, chosen, effort)
        cores = os.cpu_count() or 1
        size = min(max(-(-len(queries) // cores), _LITTLE), _BLOCK)
        blocks = [queries[at : at + size] for at in range(0, len(queries), size)]
        with ThreadPoolExecutor(
            min(cores, len(blocks)), initializer=inverted.work_alone
        ) as threads:
            answers = threads.map(lambda one: self._ask(one, k, chosen, effort), blocks)
            return stacked(list(answers))

    def plan(
        self, query: Vectors, k: int, chosen: Selection | None = None, side: str = "text"
    ) -> Plan:
        """Tell how `search` would answer one query (1, dim)."""
        rows = len(self.ids) if chosen is None else chosen.count
        within = "" if chosen is None else " within"
        if self._is_exact(chosen, k):
            return Plan(f"exact{within}", rows)
        effort = tuning.deepened(self.manifest.effort(side), k, self._list_count)
        if chosen is not None and self.made is not None:
            effort = Effort(int(self.made.widened(query, effort, chosen)[0]), effort.depth)
        return Plan(f"index{within}", rows, effort.nprobe, effort.depth)

    def _is_exact(self, chosen: Selection | None, k: int) -> bool:
        rows = len(self.ids) if chosen is None else chosen.count
        return self.made is None or rows <= max(KEPT_APART, 4 * k)

    def _compare(self, queries: Vectors, k: int, chosen: Selection | None) -> Found:
        if chosen is None:
            return self.scan.search(queries, k)
        if chosen.few is not None:
            return chosen.few.search(queries, k)
        return self.scan.search(queries, k, chosen.kept)

    @property
    def _list_count(self) -> int:
        return 0 if self.made is None else self.made.list_count

    def _ask(self, queries: Vectors, k: int, chosen: Selection | None, effort: Effort) -> Found:
        """Ask the index; where a filter leaves few vectors in a list, as many lists as it takes."""
        assert self.made is not None
        if chosen is None:
            return self._deepening(queries, k, chosen, effort)
        found = nothing(len(queries), k)
        widened = self.made.widened(queries, effort, chosen)
        for nprobe in np.unique(widened):
            own = np.flatnonzero(widened == nprobe)
            part = self._deepening(queries[own], k, chosen, Effort(int(nprobe), effort.depth))
            found[0][own], found[1][own] = part
        return found

    def _deepening(
        self, queries: Vectors, k: int, chosen: Selection | None, effort: Effort
    ) -> Found:
        """Ask again and deeper where the answer is short or a filter makes it unsure."""
        assert self.made is not None
        there = len(self.ids) if chosen is None else chosen.count
        found, left = nothing(len(queries), k), np.arange(len(queries))
        while len(left):
            (ids, scores), unsure = self._tried(queries[left], k, chosen, effort)
            found[0][left], found[1][left] = ids, scores
            left = left[unsure | (ids[:, min(k, there) - 1] == NO_ID)]  # too few lists held enough
            effort = Effort(min(2 * effort.nprobe, self._list_count), 4 * effort.depth)
            if effort.depth > there // _COMPARED:
                break
        if len(left):
            found[0][left], found[1][left] = self._compare(queries[left], k, chosen)
        return found

    def _tried(
        self, queries: Vectors, k: int, chosen: Selection | None, effort: Effort
    ) -> tuple[Found, NDArray[np.bool_]]:
        """Answer from so many candidates; tells of which queries (q,) a filter makes it unsure."""
        assert self.made is not None
        sure = np.zeros(len(queries), np.bool_)
        is_little = _is_little(len(queries), effort.depth, k)
        if chosen is None and not is_little and self.refined and self.refined.is_whole:
            return self._refined(self.refined, queries, k, effort), sure
        near = self.made.candidates(queries, effort, chosen)
        found = self._ranked(queries, near, k)
        return found, sure if chosen is None else _is_unsure(found[0], near)

    def _ranked(self, queries: Vectors, near: Ids, k: int) -> Found:
        """Rank candidates (q, any) by their exact cosines."""
        places = self.scan.guessed(near)
        held = self.ids[places] == near  # without what was removed since
        if _is_little(len(queries), near.shape[1], k):
            return self._compared(queries, places, held, k)
        scores, first = leading(self.matrix, places, held, queries, k + _SPARE)
        self.pages.read(places.size, _RESIDENT_FOR_MANY)
        found = self._compared(queries, first, first != NO_ID, k)
        tied = _tied(scores, k)
        again = self._compared(queries[tied], places[tied], held[tied], k)
        found[0][tied], found[1][tied] = again
        return found

    def _refined(self, refined: Refined, queries: Vectors, k: int, effort: Effort) -> Found:
        """Have FAISS find candidates and rank them in one call; the first few are ranked again."""
        assert self.made is not None
        scores, first = refined.leading(queries, k + _SPARE, effort.nprobe, effort.depth)
        self.pages.read(len(queries) * effort.depth, _RESIDENT_FOR_MANY)
        found = self._compared(queries, first, first != NO_ID, k)
        tied = _tied(scores, k)
        if len(tied):
            near = self.made.candidates(queries[tied], effort, None)
            places, held = self.scan.guessed(near), near != NO_ID
            found[0][tied], found[1][tied] = self._compared(queries[tied], places, held, k)
        return found

    def _compared(self, queries: Vectors, places: Places, held: Mask, k: int) -> Found:
        """Rank rows (q, any), of which those held count, by their exact cosines."""
        scores = np.full(places.shape, -np.inf, np.float32)
        size = max(1, _ROWS_READ // max(1, places.shape[1]))
        for start in range(0, len(places), size):
            some = slice(start, start + size)
            exact = cosines_of_each(self.matrix, places[some], queries[some])
            np.copyto(scores[some], exact, where=held[some])
            is_one_of_many = len(queries) >= _LITTLE
            self.pages.read(places[some].size, _RESIDENT_FOR_MANY if is_one_of_many else _RESIDENT)
        return best_of(np.where(held, self.ids[places], NO_ID), scores, k)


def _is_little(queries: int, depth: int, k: int) -> bool:
    """Tell whether so many candidates are compared exactly without FAISS choosing the first."""
    return queries < _LITTLE or depth <= 2 * k


def _tied(scores: Vectors, k: int) -> NDArray[np.intp]:
    """Tell of which queries those beyond the k-th may be as near, but for the last digits."""
    more = scores[:, -1] > -np.inf
    return np.flatnonzero(more & (scores[:, k - 1] <= scores[:, -1] + ROUNDING))


def _is_unsure(found: Ids, near: Ids) -> NDArray[np.bool_]:
    """Tell of which queries (q,) one of the ten best was not among the first of its candidates.

    Where a filter takes away what is nearest, many of those left are about equally near, and their
    estimates no longer tell which: then others may stand behind the last candidate as well.
    """
    late = near[:, near.shape[1] // 4 :]
    pairs = zip(found[:, : tuning.K], late, strict=True)
    return np.array([np.isin(ids[ids != NO_ID], one).any() for ids, one in pairs], np.bool_)


class _Pages:
    """The pages of a mapped matrix that lie in the memory of this process.

    They are given back to the system from time to time, which keeps them in its cache: else the
    memory of a process that searches for long grows to the size of the matrix.
    """

    def __init__(self, matrix: Halves) -> None:
        held: object = matrix.base
        self._held = held if isinstance(held, mmap.mmap) and hasattr(held, "madvise") else None
        self._rows = 0  # read since; it does no harm where two threads count as one

    def read(self, rows: int, most: int = _RESIDENT) -> None:
        """Count rows that were read; gives their pages back where they are as many as may be."""
        self._rows += rows
        if self._held is not None and self._rows >= most:
            self._rows = 0
            self._held.madvise(mmap.MADV_DONTNEED)


def exact_below(dim: int) -> int:
    """Tell from how many vectors on a snapshot has an index."""
    return max(_EXACT_SIZE // max(1, dim), _LEAST_INDEXED)


def build(
    directory: Path,
    rows: Rows,
    kind: Kind,
    origin: Origin,
    index_from: int | None = None,
    queries: Mapping[str, Vectors] | None = None,
) -> Snapshot:
    """Build the next snapshot under `directory` and swap it in; readers never see half of it.

    One at a time: the caller holds the library (`Catalog.indexing`). Below `index_from`
    vectors (None: `exact_below`) there is no FAISS index in it. An index of the same library is
    taken over from the snapshot before and added to, unless it has to be trained again. `queries`
    by the side they come from ("text", "image") are what the index is tuned on. Raises
    LibraryFull, and LibraryCorrupt where the disk does not give back what was written.
    """
    sweep(directory, kind)
    last = newest(directory, kind)
    number = 1 if last is None else generation(last) + 1
    place = directory / f"{kind}-{number:08d}"
    beside = directory / f".{place.name}.{os.getpid()}.new"
    least = exact_below(rows.dim) if index_from is None else max(index_from, _LEAST_INDEXED)
    try:
        _write(beside, rows, kind, origin, least, queries or {})
        beside.replace(place)
        sync(directory)
    except OSError as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise LibraryFull(
            f"{directory} cannot be written ({error.strerror or error}); the items are safe, free "
            "some space and run the same command again"
        ) from error
    for old in places(directory, kind):
        if old != place:
            shutil.rmtree(old, ignore_errors=True)  # readers keep what they have mapped
    try:
        return load(place)
    except UNREADABLE as error:
        said = getattr(error, "strerror", None) or error
        raise LibraryCorrupt(
            f"{place} cannot be read back ({said}); check that disk, and run the same command again"
        ) from error


def load(place: Path) -> Snapshot:
    """Load a snapshot; raises what is in `UNREADABLE` where it is not whole."""
    manifest = read_manifest(place)
    ids = np.load(place / "ids.npy")
    empty = np.empty((0, manifest.dim), np.float16)
    matrix = np.load(place / "matrix.npy", mmap_mode="r") if len(ids) else empty
    if matrix.shape != (manifest.count, manifest.dim) or len(ids) != manifest.count:
        raise ValueError(f"{place} holds {matrix.shape} vectors and {len(ids)} ids")
    made, lists = None, None
    if manifest.factory != "exact":
        if manifest.trained is None or not manifest.efforts:
            raise ValueError(f"{place} was built by an older searchx")
        made = inverted.read(
            place / "index.faiss", manifest.factory, manifest.trained, manifest.dim
        )
        lists = np.load(place / "lists.npy")
        if len(lists) != len(ids):
            raise ValueError(f"{place} holds {len(ids)} ids in {len(lists)} lists")
    refined = None if made is None else Refined(made.index, matrix, ids, made.ids)
    scan = Scan(ids, matrix, made is None)
    return Snapshot(place, manifest, scan, made, lists, _Pages(matrix), refined)


def _write(
    place: Path,
    rows: Rows,
    kind: Kind,
    origin: Origin,
    index_from: int,
    queries: Mapping[str, Vectors],
) -> None:
    place.mkdir(parents=True)
    ids = _write_rows(place, rows)
    manifest = Manifest(kind, origin, len(ids), rows.dim, "exact")
    if len(ids) >= index_from:
        manifest = _write_index(place, ids, manifest, queries)
    digests = {file.name: digest_of(file) for file in place.iterdir()}
    manifest = sealed(replace(manifest, digests=digests))
    (place / "manifest.json").write_text(json.dumps(asdict(manifest), indent=1), encoding="utf-8")
    for file in place.iterdir():
        sync(file)
    sync(place)


def _write_index(
    place: Path, ids: Ids, manifest: Manifest, queries: Mapping[str, Vectors]
) -> Manifest:
    matrix = np.load(place / "matrix.npy", mmap_mode="r")
    made = _made(place.parent, manifest, ids, matrix)
    inverted.write(made, place / "index.faiss")
    _write_array(place / "lists.npy", made.lists(ids))
    asked = dict(queries) or {
        manifest.kind: matrix[:: max(1, len(ids) // tuning.MOST_QUERIES)].astype(np.float32)
    }
    points = tuning.curve(made, ids, matrix, asked)
    size = len(ids) / made.list_count
    return replace(
        manifest,
        factory=made.factory,
        efforts={side: tuning.chosen(points, side, size) for side in asked},
        trained=made.trained,
        curve=points,
    )


def _made(directory: Path, manifest: Manifest, ids: Ids, matrix: Halves) -> Inverted:
    """Take the index of the snapshot before and bring it up to date, or train one."""
    last = newest(directory, manifest.kind)
    made = None if last is None else _taken_over(last, manifest, ids, matrix)
    return made or inverted.filled(inverted.trained(matrix), ids, matrix)


def _taken_over(place: Path, manifest: Manifest, ids: Ids, matrix: Halves) -> Inverted | None:
    try:
        old = read_manifest(place)
        same = _leads_to(old.origin, manifest.origin)
        if not same or old.trained is None or "index.faiss" in damaged(place):
            return None
        made = inverted.read(place / "index.faiss", old.factory, old.trained, old.dim)
    except UNREADABLE:
        return None
    return inverted.extended(made, ids, matrix)


def _leads_to(old: Origin, new: Origin) -> bool:
    """Tell whether a library came from one state to the other.

    One that was restored from a backup gives the ids of a later state to other items.
    """
    return (
        (old.library, old.space) == (new.library, new.space)
        and old.added <= new.added
        and old.removed <= new.removed
    )


def _write_rows(place: Path, rows: Rows) -> Ids:
    """Write the matrix as it is read, never held whole, and the ids; gives those."""
    found = [np.empty(0, np.int64)]
    with (place / "matrix.npy").open("wb") as file:
        shape = {"descr": "<f2", "fortran_order": False, "shape": (rows.count, rows.dim)}
        np.lib.format.write_array_header_1_0(file, shape)
        for ids, halves in rows.blocks:
            file.write(halves.astype("<f2", copy=False).tobytes())
            found.append(ids)
    ids = np.concatenate(found)
    _write_array(place / "ids.npy", ids)
    return ids


def _write_array(place: Path, array: NDArray[Any]) -> None:
    with place.open("wb") as file:  # numpy.save may lose the last bytes unsaid
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.tobytes())
