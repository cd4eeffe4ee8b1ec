"""Which of the candidates of many queries are nearest, told by FAISS from the rows as they lie.

FAISS compares float16 rows as it reads them, where NumPy would first make float32 of all. Where an
index holds what the matrix holds, it reads the mapped matrix itself (`Refined`). Else the
candidates of each query become one inverted list of a small index, which that query alone looks
into (`leading`).
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any, Final, cast

import numpy as np

from searchx.records import Ids, Vectors
from searchx.vectors.exact import NO_ID, SPARSE, Halves, Mask, Places

_ROWS: Final = 4_096  # held at a time, as they are in the matrix


class Refined:
    """An index whose candidates FAISS compares in the same call: its IndexRefine.

    `index` gives ids, those that it holds (`held`), of which the rows of the matrix (n, dim) have
    `ids` (n,), ascending. No vector is copied. Made when it is first asked. Safe to use from many
    threads.
    """

    def __init__(self, index: Any, matrix: Halves, ids: Ids, held: Callable[[], Ids]) -> None:
        self._index, self._matrix, self._ids = index, matrix, ids  # FAISS keeps no reference
        self._is_owned = index.thisown
        self._held = held

    @cached_property
    def is_whole(self) -> bool:
        """Tell whether the index holds these rows and no others, under numbers close together.

        FAISS looks up the row of an id without a look at whether there is one.
        """
        ids = self._ids
        is_near = self._index.ntotal == len(ids) and ids[0] >= 0 and ids[-1] < SPARSE * len(ids)
        return bool(is_near and np.array_equal(self._held(), ids))

    def leading(self, queries: Vectors, k: int, nprobe: int, depth: int) -> tuple[Vectors, Places]:
        """Give the cosines and the places (q, k) of the nearest of `depth` candidates.

        Best first; -inf and -1 where there are no more. To be asked of what is whole.
        """
        import faiss

        within = cast(Any, faiss).SearchParametersIVF(nprobe=nprobe)
        settings: Any = faiss.IndexRefineSearchParameters()
        settings.base_index_params = within
        within.thisown = True  # which some versions of the binding take for given away
        settings.k_factor = (depth + 0.5) / k  # cut to `depth` candidates
        scores, places = self._both[0].search(np.ascontiguousarray(queries), k, params=settings)
        return np.where(places == NO_ID, -np.inf, scores).astype(np.float32), places

    @cached_property
    def _both(self) -> tuple[Any, ...]:
        """Give the index, and what it refers to."""
        import faiss

        rows, dim = self._matrix.shape
        store: Any = faiss.IndexScalarQuantizer(
            dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        )
        codes = self._matrix.view(np.uint8).reshape(-1)
        nobody = store.codes.owner  # the matrix is held here
        views = cast(Any, faiss.MaybeOwnedVectorUInt8)
        store.codes = views.create_view(faiss.swig_ptr(codes), len(codes), nobody)
        store.ntotal, store.is_trained = rows, True
        placed: Any = faiss.IndexIDMap(faiss.IndexFlatIP(dim))  # takes an empty one only
        placed.index, placed.ntotal = self._index, rows
        self._index.thisown = self._is_owned  # the binding takes it for given away
        table = np.full(int(self._ids[-1]) + 1, NO_ID, np.int64)
        table[self._ids] = np.arange(rows)
        faiss.copy_array_to_vector(table, placed.id_map)
        both: Any = faiss.IndexRefine(placed, store)
        return both, placed, store, codes


def leading(
    matrix: Halves, places: Places, held: Mask, queries: Vectors, k: int
) -> tuple[Vectors, Ids]:
    """Give the cosines and the places (q, k) of the k candidates nearest to each query.

    `places` (q, p) are rows of the matrix (n, dim), of which those `held` (q, p) count. Best
    first; -inf and -1 where there are no more. The sums are FAISS's own: of each pair alone, and
    about as exact as those of `cosines`, but not the same to the last bit.
    """
    size = max(1, _ROWS // max(1, places.shape[1]))
    small = _Small(matrix.shape[1], min(size, len(queries)))
    parts = [
        small.nearest(matrix, places[at : at + size], held[at : at + size], queries[at:][:size], k)
        for at in range(0, len(queries), size)
    ]
    return np.concatenate([one for one, _ in parts]), np.concatenate([one for _, one in parts])


class _Small:
    """An index of some lists, filled anew for each few queries."""

    def __init__(self, dim: int, lists: int) -> None:
        import faiss

        self._nobody = faiss.IndexFlatIP(dim)  # held here: FAISS keeps no reference to it
        halves = faiss.ScalarQuantizer.QT_fp16
        make: Any = faiss.IndexIVFScalarQuantizer
        metric = faiss.METRIC_INNER_PRODUCT
        self._index: Any = make(self._nobody, dim, lists, halves, metric, False)
        self._index.is_trained = True
        self._own = np.arange(lists)[:, None]
        self._centroids = np.zeros((lists, 1), np.float32)

    def nearest(
        self, matrix: Halves, places: Places, held: Mask, queries: Vectors, k: int
    ) -> tuple[Vectors, Ids]:
        import faiss

        lists, dim = self._index.invlists, matrix.shape[1]
        rows = np.empty((places.shape[1], dim), np.float16)
        for number, (some, kept) in enumerate(zip(places, held, strict=True)):
            wanted = np.ascontiguousarray(some[kept], np.int64)
            lists.resize(number, 0)
            if len(wanted):
                np.take(matrix, wanted, axis=0, out=rows[: len(wanted)], mode="clip")
                codes = faiss.swig_ptr(rows.view(np.uint8))
                lists.add_entries(number, len(wanted), faiss.swig_ptr(wanted), codes)
        self._index.ntotal = int(held.sum())
        count = len(queries)
        found = self._index.search_preassigned(
            np.ascontiguousarray(queries), k, self._own[:count], self._centroids[:count]
        )
        scores, ids = cast(tuple[Vectors, Ids], found)
        return np.where(ids == NO_ID, -np.inf, scores).astype(np.float32), ids
