"""Snapshots: immutable indexes over the vectors of one space and one kind. The only FAISS.

A snapshot is a directory with the float16 matrix, the ids, a manifest and, above
`EXACT_BELOW` vectors, a FAISS IVF-PQ index (Jégou et al., 2011) whose candidates are ranked
again by their exact cosine. It is derived from the catalog and can be deleted at any time.
"""

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

from searchx.durable import sync
from searchx.errors import BadInput, LibraryFull
from searchx.records import Ids, Kind, Rows, Vectors

if TYPE_CHECKING:
    import faiss

EXACT_BELOW = 50_000  # vectors; a scan of so many, 512 wide, takes some 50 ms
_CANDIDATES = 20  # ranked again for each hit asked for; PQ alone caps recall@1 near 0.8
_LEAST_CANDIDATES = 256
_SCAN_ROWS = 16_384  # rows converted to float32 at a time
_SCAN_QUERIES = 512  # compared with them at a time
_NO_ID = -1
_TRAINED_ON = 40  # vectors for each list; FAISS asks for 39 at least
UNREADABLE = (OSError, EOFError, ValueError, TypeError)  # what a broken snapshot raises

Halves: TypeAlias = np.ndarray[Any, np.dtype[np.float16]]  # (n, dim)
Found: TypeAlias = tuple[
    np.ndarray[Any, np.dtype[np.int64]],  # (q, k) ids, best first; -1 where there is none
    np.ndarray[Any, np.dtype[np.float32]],  # (q, k) exact cosines; -inf where there is none
]


@dataclass(frozen=True, slots=True)
class Origin:
    """Which catalog a snapshot was read from, and how far that had come (catalog.Version)."""

    library: str  # identity of the catalog
    space: str  # digest of the space
    added: int  # number of the newest appearance in it
    removed: int  # number of the newest removal it knows of


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a snapshot holds."""

    kind: Kind
    origin: Origin
    count: int
    dim: int
    factory: str  # FAISS factory string, or "exact"
    nprobe: int = 0
    digests: dict[str, str] = field(default_factory=dict)  # hex BLAKE2b-256, by name of file


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A loaded snapshot. Nothing in it changes when it is searched."""

    directory: Path
    manifest: Manifest
    ids: Ids  # (n,) ascending
    matrix: Halves  # (n, dim), memory-mapped
    index: "faiss.Index | None"

    def search(self, queries: Vectors, k: int, excluded: Ids) -> Found:
        """Find the k nearest of every query row, without the `excluded` ids.

        Gives min(k, what there is) of them for every query.
        """
        check_width(queries, self.manifest.dim)
        if self.index is not None:
            ids, scores = self._search_index(queries, k, excluded)
            alive = len(self.ids) - _count_held(self.ids, excluded)
            if (ids[:, min(k, alive) - 1] != _NO_ID).all():
                return ids, scores
        return search_exactly(self.ids, self.matrix, queries, k, excluded)

    def _search_index(self, queries: Vectors, k: int, excluded: Ids) -> Found:
        import faiss

        depth = min(max(_LEAST_CANDIDATES, k * _CANDIDATES), len(self.ids))
        selector = faiss.IDSelectorNot(faiss.IDSelectorBatch(excluded)) if len(excluded) else None
        settings = cast(Any, faiss.SearchParametersIVF)(nprobe=self.manifest.nprobe, sel=selector)
        assert self.index is not None
        _, candidates = self.index.search(queries, depth, params=settings)  # (q, depth)
        ids = np.full((len(queries), k), _NO_ID, np.int64)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        for row, (query, found) in enumerate(zip(queries, candidates, strict=True)):
            real = found[found != _NO_ID]
            places = np.searchsorted(self.ids, real)
            cosines = self.matrix[places].astype(np.float32) @ query  # (candidates,)
            best = _best(cosines, k, real)
            ids[row, : len(best)], scores[row, : len(best)] = real[best], cosines[best]
        return ids, scores


def _count_held(ids: Ids, excluded: Ids) -> int:
    """Count the excluded ids that are among `ids`, which ascend; without sorting all of those."""
    if not len(ids) or not len(excluded):
        return 0
    excluded = np.unique(excluded)
    places = np.minimum(np.searchsorted(ids, excluded), len(ids) - 1)
    return int((ids[places] == excluded).sum())


def search_exactly(ids: Ids, matrix: Halves, queries: Vectors, k: int, excluded: Ids) -> Found:
    """Compare every query row with every vector; the same answer as `Snapshot.search`."""
    if len(queries) > _SCAN_QUERIES:  # so that many queries need no more memory than some
        blocks = range(0, len(queries), _SCAN_QUERIES)
        parts = [
            search_exactly(ids, matrix, queries[at : at + _SCAN_QUERIES], k, excluded)
            for at in blocks
        ]
        return np.concatenate([one[0] for one in parts]), np.concatenate([one[1] for one in parts])
    found_ids = np.full((len(queries), k), _NO_ID, np.int64)
    found_scores = np.full((len(queries), k), -np.inf, np.float32)
    for start in range(0, len(ids), _SCAN_ROWS):
        block_ids = ids[start : start + _SCAN_ROWS]
        cosines = queries @ matrix[start : start + _SCAN_ROWS].astype(np.float32).T  # (q, rows)
        kept = ~np.isin(block_ids, excluded)
        block = (np.broadcast_to(block_ids[kept], (len(queries), kept.sum())), cosines[:, kept])
        found_ids, found_scores = merge((found_ids, found_scores), block, k)
    return found_ids, found_scores


def merge(one: Found, other: Found, k: int) -> Found:
    """Merge two results of the same queries into the k best of both; ties by ascending id."""
    ids = np.concatenate([one[0], other[0]], axis=1)  # (q, a + b)
    scores = np.concatenate([one[1], other[1]], axis=1)
    if not len(ids):
        return ids[:, :k], scores[:, :k]
    order = np.stack([_best(row, k, tie) for row, tie in zip(scores, ids, strict=True)])
    return np.take_along_axis(ids, order, 1), np.take_along_axis(scores, order, 1)


def _best(
    scores: np.ndarray[Any, np.dtype[np.float32]], k: int, ids: Ids
) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Give the places of the k highest scores, best first; ties by ascending id."""
    if len(scores) > 4 * k:
        # Ties at the border are decided below, so all that reach the k-th score stay in.
        border = np.partition(scores, len(scores) - k)[len(scores) - k]
        places = np.flatnonzero(scores >= border)
    else:
        places = np.arange(len(scores))
    order = np.lexsort((ids[places], -scores[places]))
    return places[order[:k]]


def check_width(queries: Vectors, dim: int) -> None:
    """Refuse queries of another width; FAISS would answer with an empty AssertionError."""
    if queries.ndim != 2 or queries.shape[1] != dim:
        raise BadInput(f"queries have shape {queries.shape}, the index needs (n, {dim})")
    if not np.isfinite(queries).all():
        raise BadInput("queries hold a value that is not a finite number")


def build(
    directory: Path,
    rows: Rows,
    kind: Kind,
    origin: Origin,
    exact_below: int = EXACT_BELOW,
) -> Snapshot:
    """Build the next snapshot under `directory` and swap it in; readers never see half of it.

    One at a time: the caller holds the library (`Catalog.indexing`). Below `exact_below`
    vectors there is no FAISS index in it; an index needs 256 vectors. Raises LibraryFull.
    """
    sweep(directory, kind)
    generations = [_generation(one) for one in places(directory, kind)]
    place = directory / f"{kind}-{max(generations, default=0) + 1:08d}"
    beside = directory / f".{place.name}.{os.getpid()}.new"
    try:
        _write(beside, rows, kind, origin, exact_below)
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
    return load(place)


def sweep(directory: Path, kind: Kind) -> None:
    """Remove what interrupted runs left half written or half removed; the library is held."""
    for interrupted in directory.glob(f".{kind}-*"):
        shutil.rmtree(interrupted, ignore_errors=True)


def newest(directory: Path, kind: Kind) -> Path | None:
    """Give the place of the newest snapshot of a kind."""
    return max(places(directory, kind), key=_generation, default=None)


def places(directory: Path, kind: Kind) -> list[Path]:
    """Give the places of all snapshots of a kind, also of those that were left behind.

    The oldest comes first: where removing them is interrupted, the newest is there last.
    """
    found = directory.glob(f"{kind}-*")
    named = [one for one in found if one.name.removeprefix(f"{kind}-").isdecimal()]
    return sorted(named, key=_generation)


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


def load(place: Path) -> Snapshot:
    """Load a snapshot; raises OSError or ValueError where it is not whole."""
    manifest = read_manifest(place)
    ids = np.load(place / "ids.npy")
    matrix = np.load(place / "matrix.npy", mmap_mode="r") if len(ids) else _empty(manifest.dim)
    if matrix.shape != (manifest.count, manifest.dim) or len(ids) != manifest.count:
        raise ValueError(f"{place} holds {matrix.shape} vectors and {len(ids)} ids")
    index = None
    if manifest.factory != "exact":
        import faiss

        try:
            index = faiss.read_index(str(place / "index.faiss"), faiss.IO_FLAG_MMAP)
        except RuntimeError as error:
            raise ValueError(f"{place} holds no readable index: {error}") from error
    return Snapshot(place, manifest, ids, matrix, index)


def read_manifest(place: Path) -> Manifest:
    """Read what a snapshot holds; raises OSError, ValueError or TypeError where it is broken."""
    found = dict(json.loads((place / "manifest.json").read_text(encoding="utf-8")))
    return Manifest(**{**found, "origin": Origin(**found.pop("origin", {}))})


def damaged(place: Path) -> list[str]:
    """Name the files of a snapshot that are missing or not as they were written."""
    try:
        digests = dict(read_manifest(place).digests)
    except (OSError, ValueError, TypeError):
        return ["manifest.json"]
    return [name for name, digest in digests.items() if _digest_or_none(place / name) != digest]


def _digest_or_none(file: Path) -> str | None:
    try:
        return _digest(file)
    except OSError:
        return None


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, partial(hashlib.blake2b, digest_size=32)).hexdigest()


def _index(ids: Ids, vectors: Halves) -> "tuple[faiss.Index, int, str]":
    """Train and fill an IVF-PQ index; gives it with its nprobe and factory string."""
    import faiss

    count, dim = vectors.shape
    lists = 1 << round(np.log2(4 * np.sqrt(count)))
    codes = next(size for size in (8, 4, 2, 1) if dim % size == 0)
    factory = f"IVF{lists},PQ{dim // codes}"
    index: Any = faiss.index_factory(dim, factory, faiss.METRIC_INNER_PRODUCT)
    index.cp.min_points_per_centroid = index.pq.cp.min_points_per_centroid = 1  # no noise on stderr
    index.do_polysemous_training = False  # minutes for a filter that no search here uses
    index.train(_sample(vectors, min(count, _TRAINED_ON * lists)))
    for start in range(0, count, _SCAN_ROWS):
        block = slice(start, start + _SCAN_ROWS)
        index.add_with_ids(vectors[block].astype(np.float32), ids[block])
    return index, max(16, lists // 16), factory


def _write(place: Path, rows: Rows, kind: Kind, origin: Origin, exact_below: int) -> None:
    place.mkdir(parents=True)
    ids = _write_rows(place, rows)
    factory, nprobe = "exact", 0
    if len(ids) >= exact_below:
        index, nprobe, factory = _index(ids, np.load(place / "matrix.npy", mmap_mode="r"))
        _write_index(index, place / "index.faiss")
    digests = {file.name: _digest(file) for file in place.iterdir()}
    manifest = Manifest(kind, origin, len(ids), rows.dim, factory, nprobe, digests)
    (place / "manifest.json").write_text(json.dumps(asdict(manifest), indent=1), encoding="utf-8")
    for file in place.iterdir():
        sync(file)
    sync(place)


def _sample(vectors: Halves, size: int) -> Vectors:
    """Take some vectors of all, without a second copy of them beside the result."""
    places = np.sort(np.random.default_rng(0).choice(len(vectors), size, replace=False))
    sample = np.empty((size, vectors.shape[1]), np.float32)
    for start in range(0, size, _SCAN_ROWS):
        block = slice(start, start + _SCAN_ROWS)
        sample[block] = vectors[places[block]]
    return sample


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
    with (place / "ids.npy").open("wb") as file:  # numpy.save may lose the last bytes unsaid
        header = np.lib.format.header_data_from_array_1_0(ids)
        np.lib.format.write_array_header_1_0(file, header)
        file.write(ids.tobytes())
    return ids


def _write_index(index: "faiss.Index", file: Path) -> None:
    import faiss

    with file.open("wb") as opened:  # FAISS's own files say nothing where the last bytes are lost
        faiss.write_index(index, cast(Any, faiss).PyCallbackIOWriter(opened.write))


def _generation(place: Path) -> int:
    return int(place.name.rpartition("-")[2])


def _empty(dim: int) -> Halves:
    return cast(Halves, np.empty((0, dim), np.float16))
