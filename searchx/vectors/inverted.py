"""Inverted lists of product-quantised vectors: FAISS IVF-PQ, in its FastScan form.

Jégou et al., "Product quantization for nearest neighbor search" (2011); André et al., "Cache
locality is not enough" (2015), for four-bit codes that stay in the registers of a CPU. Two
dimensions share one code of four bits: a quarter of a byte a dimension. `bench_engine` measures
this against eight-bit codes and others.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from searchx.records import Ids, Vectors
from searchx.vectors.exact import ROWS, Halves, places_of
from searchx.vectors.selection import Lists, Selection

if TYPE_CHECKING:
    import faiss

_TRAINED_ON: Final = 48  # vectors for each list; FAISS asks for 39 at least
_ROUNDS: Final = 10  # of k-means
_MOST_LISTS: Final = 1 << 15
_OUTGROWN: Final = 4  # times as many vectors as at training: the lists are then twice too long
_DRIFTED: Final = 1.1  # times as far from their centroids, on average, as at training
_DEAD: Final = 0.1  # of an index that may be of removed vectors before its lists are filled anew
_LOOKED_AT: Final = 4_096  # vectors that drift is measured on
_STEPS: Final = 2  # from so many lists to twice as many
_LEAST_MATCHING: Final = 64  # vectors that pass a filter, looked at for each one ranked again


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard one search tries."""

    nprobe: int  # lists that are looked into
    depth: int  # candidates that are ranked again by their exact cosine


@dataclass(frozen=True, slots=True)
class Trained:
    """What a quantiser was trained on."""

    count: int  # vectors that there were
    spread: float  # mean of 1 - cosine to the nearest centroid


@dataclass(frozen=True, slots=True)
class Inverted:
    """A filled index. Nothing in it changes when it is searched."""

    index: "faiss.IndexIVF"
    factory: str
    trained: Trained

    @property
    def list_count(self) -> int:
        return int(self.index.nlist)

    def candidates(self, queries: Vectors, effort: Effort, chosen: Selection | None) -> Ids:
        """Give the ids (q, depth) that seem nearest; -1 where there are no more."""
        import faiss

        selector = None if chosen is None else cast(Any, faiss).IDSelectorBitmap(chosen.bits)
        settings = cast(Any, faiss.SearchParametersIVF)(nprobe=effort.nprobe, sel=selector)
        _, found = cast(Any, self.index).search(queries, effort.depth, params=settings)
        return cast(Ids, found)

    def widened(self, queries: Vectors, effort: Effort, chosen: Selection) -> Ids:
        """Tell for each query (q,) how many lists hold enough vectors that may be found.

        Enough is the same share of them as without a filter, and never less than some for each
        candidate: where what passes lies far from the query, the nearest lists hold none of it.
        In steps, so that many queries are asked for together; each depends on its query alone.
        """
        share = effort.nprobe / self.list_count
        enough = max(share * chosen.count, _LEAST_MATCHING * effort.depth)
        order = np.argsort(-(queries @ self._centroids.T), axis=1)  # (q, lists)
        seen = np.cumsum(chosen.in_lists[order], axis=1)
        lists = np.maximum((seen < enough).sum(axis=1) + 1, effort.nprobe)  # (q,)
        steps = np.ceil(_STEPS * np.log2(lists / effort.nprobe))
        stepped = np.ceil(effort.nprobe * 2 ** (steps / _STEPS) - 1e-6)
        return np.asarray(np.minimum(stepped, self.list_count), np.int64)

    def lists(self, ids: Ids) -> Lists:
        """Tell for each id, ascending, which list it is in."""
        found = np.zeros(len(ids), np.uint16)
        for number, held in enumerate(self._held()):
            found[places_of(ids, held)] = number
        return found

    def ids(self) -> Ids:
        """Give the ids of all that was ever added and not dropped, ascending."""
        return np.sort(np.concatenate(list(self._held())))

    def spread(self, rows: Vectors) -> float:
        """Tell how far vectors lie from their centroids: the mean of 1 - cosine."""
        nearest, _ = cast(Any, self.index.quantizer).search(rows, 1)
        return float(1 - nearest.mean())

    @property
    def _centroids(self) -> Vectors:
        import faiss

        flat = cast(Any, faiss).downcast_index(self.index.quantizer)
        return cast(Vectors, flat.reconstruct_n(0, self.list_count))

    def _held(self) -> Iterator[Ids]:
        import faiss

        lists = cast(Any, self.index.invlists)
        for number in range(self.list_count):
            size = lists.list_size(number)
            if size:  # a copy: the array that FAISS gives is its own memory
                yield np.array(faiss.rev_swig_ptr(lists.get_ids(number), size), np.int64)
            else:
                yield np.empty(0, np.int64)


def work_alone() -> None:
    """Let FAISS use one core for what this thread asks: others work beside it.

    Its threads wait for each other at the end of each step, above all where cores are busy.
    """
    import faiss

    cast(Any, faiss).omp_set_num_threads(1)


def trained(matrix: Halves) -> Inverted:
    """Train an index on a sample of the vectors (n, dim), on a GPU where there is one."""
    import faiss

    count, dim = matrix.shape
    lists = min(1 << max(round(np.log2(2 * np.sqrt(count))), 3), _MOST_LISTS)
    factory = f"IVF{lists},PQ{_codes(dim)}x4fs"
    index: Any = faiss.index_factory(dim, factory, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter = _ROUNDS
    index.cp.min_points_per_centroid = index.pq.cp.min_points_per_centroid = 1  # no noise on stderr
    nearest = _on_gpu(faiss.IndexFlatIP(dim))  # held here: FAISS keeps no reference to it
    if nearest is not None:
        index.clustering_index = nearest
    index.train(_sample(matrix, _TRAINED_ON * lists))
    index.clustering_index = None
    made = Inverted(index, factory, Trained(count, 0.0))
    return replace(made, trained=Trained(count, made.spread(_sample(matrix, _LOOKED_AT))))


def filled(made: Inverted, ids: Ids, matrix: Halves) -> Inverted:
    """Put all vectors into a trained index, in place of what is in it."""
    made.index.reset()
    _add(made.index, ids, matrix, np.arange(len(ids)))
    return made


def extended(old: Inverted, ids: Ids, matrix: Halves) -> Inverted | None:
    """Bring an index, which this changes, up to date without training.

    None where it has to be trained again: there are `_OUTGROWN` times as many vectors, or they
    lie `_DRIFTED` times as far from the centroids as those that it was trained on. Removed
    vectors stay in it until they are many; a search passes over them.
    """
    if len(ids) > _OUTGROWN * old.trained.count or 2 * len(ids) < old.trained.count:
        return None
    if old.spread(_sample(matrix, _LOOKED_AT)) > _DRIFTED * old.trained.spread:
        return None
    held = old.ids()
    dead = len(held) - len(places_of(ids, held))
    if dead > _DEAD * len(ids):
        # FAISS 1.15 loses what is added to such lists after remove_ids, so they are filled anew.
        return filled(old, ids, matrix)
    is_new = np.ones(len(ids), np.bool_)
    is_new[places_of(ids, held)] = False
    _add(old.index, ids, matrix, np.flatnonzero(is_new))
    return old


def read(place: Path, factory: str, training: Trained, dim: int) -> Inverted:
    """Read an index over vectors of a width; raises OSError or ValueError where it is not whole."""
    import faiss

    if not place.is_file():
        raise FileNotFoundError(f"{place} is missing")
    try:
        index: Any = faiss.read_index(str(place))
    except (RuntimeError, MemoryError) as error:  # a wrong length is memory that is not there
        raise ValueError(f"{place} holds no readable index: {error}") from error
    if not isinstance(index, faiss.IndexIVF) or index.d != dim:
        raise ValueError(f"{place} holds no inverted lists of vectors of {dim} numbers")
    return Inverted(index, factory, training)


def write(made: Inverted, place: Path) -> None:
    """Write an index to a file."""
    import faiss

    with place.open("wb") as opened:  # FAISS's own files say nothing where the last bytes are lost
        faiss.write_index(made.index, cast(Any, faiss).PyCallbackIOWriter(opened.write))


def _add(index: "faiss.IndexIVF", ids: Ids, matrix: Halves, places: Any) -> None:
    """Add rows; a GPU finds their lists where there is one."""
    own = index.quantizer
    nearest = _on_gpu(own)  # held here: FAISS keeps no reference to it
    if nearest is not None:
        index.quantizer = nearest
    try:
        for start in range(0, len(places), ROWS):
            block = places[start : start + ROWS]
            rows = np.ascontiguousarray(matrix[block], np.float32)
            cast(Any, index).add_with_ids(rows, ids[block])
    finally:
        index.quantizer = own


def _on_gpu(index: "faiss.Index") -> "faiss.Index | None":
    """Copy an index to all GPUs; None where there is none."""
    import faiss

    if faiss.get_num_gpus() == 0:
        return None
    return cast("faiss.Index", cast(Any, faiss).index_cpu_to_all_gpus(index))


def _codes(dim: int) -> int:
    """Give the number of codes that a vector is cut into: of two dimensions each, where it can."""
    return next(dim // size for size in (2, 1) if dim % size == 0)


def _sample(matrix: Halves, size: int) -> Vectors:
    """Take some vectors of all, without a second copy of them beside the result."""
    count = len(matrix)
    if size >= count:
        places = np.arange(count)
    else:
        places = np.sort(np.random.default_rng(0).choice(count, size, replace=False))
    sample = np.empty((len(places), matrix.shape[1]), np.float32)
    for start in range(0, len(places), ROWS):
        block = slice(start, start + ROWS)
        sample[block] = matrix[places[block]]
    return sample
