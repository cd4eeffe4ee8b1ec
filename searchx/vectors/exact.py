"""Compare queries with every vector: what is exact, and what all else is measured against."""

import sys
import threading
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from searchx.errors import BadInput
from searchx.records import Ids, Vectors

if TYPE_CHECKING:
    import faiss

Halves: TypeAlias = np.ndarray[Any, np.dtype[np.float16]]  # (n, dim)
Mask: TypeAlias = NDArray[np.bool_]  # (n,)
Places: TypeAlias = NDArray[np.intp]  # (n,) row numbers
Found: TypeAlias = tuple[
    np.ndarray[Any, np.dtype[np.int64]],  # (q, k) ids, best first; -1 where there is none
    np.ndarray[Any, np.dtype[np.float32]],  # (q, k) exact cosines; -inf where there is none
]

NO_ID: Final = -1
ROWS: Final = 16_384  # converted to float32 at a time
_QUERIES: Final = 1_024  # compared with them at a time
_FEW_ROWS: Final = 4_096  # kept as float32: NumPy takes a millisecond for them, FAISS half a second
_FEW_QUERIES: Final = 8  # up to so many, FAISS reads float16 rows faster than NumPy converts them
_TOGETHER: Final = 1_000  # hits: up to so many, FAISS puts those of many queries in order
_PAIRS: Final = 8_192  # of queries and rows compared at a time
_FEW_READ: Final = 256  # rows, up to which NumPy is as fast as FAISS at reading them
ROUNDING: Final = 1e-5  # by which sums in another order may differ
SPARSE: Final = 4  # times as many ids as rows, from which on there is no table of ids
_NO_LENGTH: Final = 1e-12
_SPARE: Final = 64  # more than asked for: rows of equal score are put in order afterwards


def compute_alone() -> None:
    """Have FAISS use one thread, in a process that was forked: its threads are its parent's."""
    faiss = sys.modules.get("faiss")
    if faiss is not None:
        faiss.omp_set_num_threads(1)


class Scan:
    """Vectors that are compared with queries one by one. Nothing in it changes by a search."""

    def __init__(self, ids: Ids, matrix: Halves, in_memory: bool = True) -> None:
        self.ids = ids  # (n,) ascending
        self.matrix = matrix
        self._in_memory = in_memory  # else they are read from where they are by each search
        self._making = threading.Lock()

    def search(self, queries: Vectors, k: int, kept: Mask | None = None) -> Found:
        """Find the k nearest of every query row among the rows `kept` (n,); None: among all."""
        if len(queries) > _QUERIES:  # so that many queries need no more memory than some
            blocks = range(0, len(queries), _QUERIES)
            return stacked([self.search(queries[at : at + _QUERIES], k, kept) for at in blocks])
        if kept is not None and kept.sum() <= min(ROWS, len(kept) // 8):
            places = np.flatnonzero(kept)
            return Scan(self.ids[places], self.matrix[places]).search(queries, k)
        found = nothing(len(queries), k)
        if len(queries) > _FEW_QUERIES and k <= _TOGETHER:
            for ids, block in self._floated(kept):
                found = _nearer(found, queries, ids, block)
            return found
        for start, near in self._near(queries, k + _SPARE, kept):
            for row, (query, found_here) in enumerate(zip(queries, near, strict=True)):
                rows = start + found_here
                fill(found, row, self.ids[rows], cosines(self.matrix[rows], query), k)
        return found

    def rows(self, ids: Ids) -> tuple[Ids, Vectors]:
        """Give those of some ids, ascending, that are in here, with their vectors (n, dim)."""
        places = places_of(self.ids, ids)
        return self.ids[places], floats(self.matrix, places)

    def guessed(self, ids: Ids) -> Places:
        """Give the row of each id, of any shape; of one that is not in here any row at all."""
        if self._table is None:
            return np.asarray(np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1))
        within = np.clip(ids - self.ids[0], 0, len(self._table) - 1)
        return np.asarray(self._table[within], np.intp)

    @cached_property
    def _table(self) -> NDArray[np.int32] | None:
        """Give the row of each id from the first on, where they stand close enough together."""
        if not len(self.ids) or self.ids[-1] - self.ids[0] >= SPARSE * len(self.ids):
            return None
        table = np.zeros(int(self.ids[-1] - self.ids[0]) + 1, np.int32)
        table[self.ids - self.ids[0]] = np.arange(len(self.ids))
        return table

    def _near(
        self, queries: Vectors, depth: int, kept: Mask | None
    ) -> Iterator[tuple[int, list[Places]]]:
        """Give block by block where it starts, and the rows in it that may be among the best."""
        size = len(self.ids) if self._is_small or self._in_memory else ROWS
        read = len(queries) <= _FEW_QUERIES and not self._is_small
        for start in range(0, len(self.ids), size if read else ROWS):
            block = slice(start, start + (size if read else ROWS))
            here = None if kept is None else kept[block]
            if read:
                codes = self._codes if self._in_memory else _coded(self.matrix[block])
                yield start, _read(codes, queries, depth, here)
            else:
                rows = self._floats if self._is_small else self.matrix[block].astype(np.float32)
                yield start, _multiply(rows, queries, depth, here)

    def _floated(self, kept: Mask | None) -> Iterator[tuple[Ids, Vectors]]:
        """Give the rows that are kept as float32, some at a time, with their ids."""
        for start in range(0, len(self.ids), ROWS):
            block = slice(start, start + ROWS)
            ids = self.ids[block]
            rows = self._floats if self._is_small else self.matrix[block].astype(np.float32)
            if kept is not None:
                ids, rows = ids[kept[block]], rows[kept[block]]
            if len(ids):
                yield ids, rows

    @property
    def _is_small(self) -> bool:
        return len(self.ids) <= _FEW_ROWS

    @cached_property
    def _floats(self) -> Vectors:
        return self.matrix.astype(np.float32)

    @property
    def _codes(self) -> "faiss.IndexScalarQuantizer":
        """Give the rows as FAISS reads them: a copy in memory, made by the first search."""
        with self._making:
            return self._made

    @cached_property
    def _made(self) -> "faiss.IndexScalarQuantizer":
        return _coded(self.matrix)


def _multiply(rows: Vectors, queries: Vectors, depth: int, kept: Mask | None) -> list[Places]:
    scores = queries @ rows.T  # (q, rows)
    if kept is not None:
        scores[:, ~kept] = -np.inf
    return [_reaching(row, depth) for row in scores]


def _nearer(found: Found, queries: Vectors, ids: Ids, rows: Vectors) -> Found:
    """Merge rows into an answer to many queries at once; FAISS takes all cores for it.

    Its sums may differ in the last digits, so the cosines of all that may be among the best are
    those of each pair alone, as `cosines` gives them.
    """
    k = found[0].shape[1]
    depth = min(k + _SPARE, len(ids))
    near, places = _nearest(rows, queries, depth)
    border = np.maximum(found[1][:, -1], near[:, k - 1] if depth >= k else -np.inf)
    near = np.where(near >= border[:, None] - ROUNDING, near, -np.inf)
    spills = (near[:, -1] > -np.inf) & (depth < len(ids))  # more of them may be as near
    near[spills] = -np.inf
    asked, at = np.nonzero(near > -np.inf)
    scores = np.full(near.shape, -np.inf, np.float32)
    for start in range(0, len(asked), _PAIRS):
        one, other = asked[start : start + _PAIRS], at[start : start + _PAIRS]
        exact = np.einsum("nd,nd->n", rows[places[one, other]], queries[one])
        scores[one, other] = np.clip(exact, -1, 1)
    everyone = np.concatenate([found[0], np.where(scores > -np.inf, ids[places], NO_ID)], axis=1)
    scores = np.concatenate([found[1], scores], axis=1)
    order = np.lexsort((everyone, -scores), axis=1)[:, :k]
    merged = np.take_along_axis(everyone, order, 1), np.take_along_axis(scores, order, 1)
    for row in np.flatnonzero(spills).tolist():
        (reaching,) = _multiply(rows, queries[row : row + 1], depth, None)
        fill(merged, row, ids[reaching], cosines(rows[reaching], queries[row]), k)
    return merged


def _nearest(rows: Vectors, queries: Vectors, depth: int) -> tuple[Vectors, Ids]:
    """Give the products with the nearest rows and their places, (q, depth), the greatest first."""
    import faiss

    if queries.size >= cast(Any, faiss).cvar.distance_compute_blas_threshold:
        near, places = cast(Any, faiss).knn(queries, rows, depth, metric=faiss.METRIC_INNER_PRODUCT)
        return near, places
    scores = queries @ rows.T  # where FAISS would take each pair by itself, four times as slow
    if depth < len(rows):
        places = np.argpartition(scores, len(rows) - depth, axis=1)[:, len(rows) - depth :]
    else:
        places = np.broadcast_to(np.arange(len(rows)), scores.shape)
    near = np.take_along_axis(scores, places, 1)
    order = np.argsort(-near, axis=1)
    return np.take_along_axis(near, order, 1), np.take_along_axis(places, order, 1)


def _read(
    codes: "faiss.IndexScalarQuantizer", queries: Vectors, depth: int, kept: Mask | None
) -> list[Places]:
    import faiss

    settings = None
    if kept is not None:
        bits = np.packbits(kept, bitorder="little")
        settings = cast(Any, faiss.SearchParameters)(sel=cast(Any, faiss).IDSelectorBitmap(bits))
    depth = min(depth, codes.ntotal)
    _, places = cast(Any, codes).search(np.ascontiguousarray(queries), depth, params=settings)
    return [row[row != NO_ID] for row in places]


def _coded(matrix: Halves) -> "faiss.IndexScalarQuantizer":
    import faiss

    halves = faiss.ScalarQuantizer.QT_fp16
    codes = faiss.IndexScalarQuantizer(matrix.shape[1], halves, faiss.METRIC_INNER_PRODUCT)
    for start in range(0, len(matrix), ROWS):
        block = np.ascontiguousarray(matrix[start : start + ROWS])
        cast(Any, codes).add_sa_codes(block.view(np.uint8))
    return codes


def cosines(rows: Halves | Vectors, query: Vectors) -> Vectors:
    """Give the cosines (n,) of rows to one query (dim,): of each pair alone, to the last bit.

    A product of matrices may differ in the last digits with the rows around a row. Rows of
    float16 are longer than 1 by up to 1e-4; a cosine is 1 at most.
    """
    found = np.einsum("nd,d->n", rows.astype(np.float32), query)
    return cast(Vectors, np.clip(found, -1, 1))


def cosines_of_each(matrix: Halves, places: Ids, queries: Vectors) -> Vectors:
    """Give the cosines (q, p) of queries (q, dim) to rows of each, each as `cosines` does."""
    rows = floats(matrix, places.ravel()).reshape(*places.shape, -1)  # (q, p, dim)
    found = np.einsum("qpd,qd->qp", rows, queries)
    return cast(Vectors, np.clip(found, -1, 1))


def floats(matrix: Halves, places: Places) -> Vectors:
    """Read rows as float32, (n, dim): by FAISS, which is faster, where it is loaded already."""
    halves = np.asarray(np.take(matrix, places, axis=0))  # a copy in memory
    if len(halves) < _FEW_READ or "faiss" not in sys.modules:
        return halves.astype(np.float32)
    import faiss

    decoder: Any = faiss.IndexScalarQuantizer(matrix.shape[1], faiss.ScalarQuantizer.QT_fp16)
    return cast(Vectors, decoder.sa_decode(np.ascontiguousarray(halves).view(np.uint8)))


def best_of(ids: Ids, scores: Vectors, k: int) -> Found:
    """Give the k best of each row (q, p), best first; ties by ascending id. -1 is no hit."""
    if ids.shape[1] > 4 * k:  # most of them cannot be among these
        border = -np.partition(-scores, k - 1, axis=1)[:, k - 1 : k]
        width = max(int((scores >= border).sum(axis=1).max()), k) if len(ids) else k
        chosen = np.argpartition(-scores, width - 1, axis=1)[:, :width]
        ids, scores = np.take_along_axis(ids, chosen, 1), np.take_along_axis(scores, chosen, 1)
    order = np.lexsort((ids, -scores), axis=1)[:, :k]
    found = nothing(len(ids), k)
    found[0][:, : order.shape[1]] = np.take_along_axis(ids, order, 1)
    found[1][:, : order.shape[1]] = np.take_along_axis(scores, order, 1)
    return found


def places_of(ids: Ids, wanted: Ids) -> Places:
    """Give the rows of those wanted ids that are among `ids`, which ascend."""
    if not len(ids) or not len(wanted):
        return np.empty(0, np.intp)
    places = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    found: Places = places[ids[places] == wanted]
    return found


def nothing(queries: int, k: int) -> Found:
    """Give the answer that holds no hit."""
    return np.full((queries, k), NO_ID, np.int64), np.full((queries, k), -np.inf, np.float32)


def fill(found: Found, row: int, ids: Ids, scores: Vectors, k: int) -> None:
    """Merge these into one row of an answer; the k best stay, ties by ascending id."""
    held = found[0][row] != NO_ID
    ids = np.concatenate([found[0][row][held], ids])
    scores = np.concatenate([found[1][row][held], scores])
    best = _best(scores, k, ids)
    found[0][row, : len(best)], found[1][row, : len(best)] = ids[best], scores[best]


def merge(one: Found, other: Found, k: int) -> Found:
    """Merge two results of the same queries into the k best of both; ties by ascending id."""
    if other[0].shape[1] == k and not (other[0] != NO_ID).any():
        return one  # the usual case: nothing has come since
    ids = np.concatenate([one[0], other[0]], axis=1)  # (q, a + b)
    scores = np.concatenate([one[1], other[1]], axis=1)
    return best_of(ids, scores, k)


def stacked(parts: list[Found]) -> Found:
    """Put the answers to blocks of queries together."""
    return np.concatenate([one[0] for one in parts]), np.concatenate([one[1] for one in parts])


def check_width(queries: Vectors, dim: int) -> None:
    """Refuse queries of another width; FAISS would answer with an empty AssertionError."""
    if queries.ndim != 2 or queries.shape[1] != dim:
        raise BadInput(f"queries have shape {queries.shape}, the index needs (n, {dim})")
    if not np.isfinite(queries).all():
        raise BadInput("queries hold a value that is not a finite number")


def unit_rows(queries: Vectors, dim: int) -> Vectors:
    """Give queries (q, dim) scaled to length 1, those that have it untouched. Raises BadInput."""
    check_width(queries, dim)
    lengths = np.linalg.norm(queries, axis=1, keepdims=True)
    if (lengths < _NO_LENGTH).any():
        raise BadInput("a vector has no length; give one that points somewhere")
    is_unit = abs(lengths - 1) <= ROUNDING
    if is_unit.all():
        return queries
    return np.asarray(np.where(is_unit, queries, queries / lengths), np.float32)


def _reaching(scores: Vectors, k: int) -> Places:
    """Give the places of the k highest scores, in any order, and of all that equal the lowest."""
    if len(scores) <= k:
        return np.flatnonzero(scores > -np.inf)
    border = np.partition(scores, len(scores) - k)[len(scores) - k]
    return np.flatnonzero((scores >= border) & (scores > -np.inf))


def _best(scores: Vectors, k: int, ids: Ids) -> Places:
    """Give the places of the k highest scores, best first; ties by ascending id."""
    places = _reaching(scores, k) if len(scores) > 4 * k else np.arange(len(scores))
    if len(places) < k:  # what is no hit fills up the rest
        places = np.arange(len(scores))
    order = np.lexsort((ids[places], -scores[places]))
    return places[order[:k]]
