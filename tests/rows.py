"""Vectors of a test: as the catalog would read them out, and the obvious way to search in them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from searchx.records import Ids, Rows, Vectors
from searchx.vectors import NO_ID, Found, Halves

DIM = 32
NONE = np.empty(0, np.int64)


def rows_of(ids: Ids, matrix: Halves) -> Rows:
    order = np.argsort(ids)
    return Rows(len(ids), matrix.shape[1], iter([(ids[order], matrix[order])]))


def unit(rows: NDArray[Any]) -> Vectors:
    unit_rows: Vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit_rows


def some(count: int, dim: int = 8, seed: int = 0) -> tuple[Ids, Halves]:
    """Make ascending ids with gaps between them, and vectors in all directions."""
    random = np.random.default_rng(seed)
    ids = np.sort(random.choice(10 * count + 1, count, replace=False)).astype(np.int64)
    return ids, unit(random.normal(size=(count, dim))).astype(np.float16)


def clustered(count: int, seed: int = 0, clusters: int = 300) -> Vectors:
    """Make unit rows in clusters, as real embeddings are: not evenly spread."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(size=(clusters, DIM))
    own = centres[random.integers(clusters, size=count)]
    return unit(own + 0.6 * random.normal(size=(count, DIM)))


def worded(count: int, seed: int = 0) -> Vectors:
    """Make queries that lie apart from the rows, as texts do from pictures."""
    apart = unit(np.random.default_rng(11).normal(size=(1, DIM)))
    return unit(0.7 * clustered(count, seed) + 0.7 * apart)


def exactly(ids: Ids, matrix: Halves, queries: Vectors, k: int, excluded: Ids = NONE) -> Found:
    """Answer in the obvious way: sort all scores, best first, ties by id."""
    kept = ~np.isin(ids, excluded)
    scores = np.clip(queries @ matrix[kept].astype(np.float32).T, -1, 1)  # (q, n)
    rows = [sorted(zip(-row, ids[kept], strict=True))[:k] for row in scores]
    missing = [(np.inf, NO_ID)] * k
    padded = [(row + missing)[:k] for row in rows]
    found = np.array([[one for _, one in row] for row in padded], np.int64).reshape(-1, k)
    best = np.array([[-score for score, _ in row] for row in padded], np.float32).reshape(-1, k)
    return found, best


def recall(found: Ids, expected: Ids) -> float:
    """Tell how much of what should be found (q, k) is found (q, any)."""
    wanted = [set(row[row != NO_ID].tolist()) for row in expected]
    pairs = zip(found, wanted, strict=True)
    hits = sum(len(one & set(row.tolist())) for row, one in pairs)
    return hits / max(1, sum(map(len, wanted)))
