"""Near duplicates: the fast way finds what comparing everything with everything finds."""

import numpy as np
import pytest

from searchx.copies import leaders
from searchx.ranking import groups
from searchx.records import Ids, Vectors


def rows(count: int, dim: int, copies: int, step: float) -> Vectors:
    """Give unit vectors, among them chains of small steps away from others."""
    random = np.random.default_rng(dim)
    made = random.normal(size=(count, dim)) + 0.5
    for _ in range(copies):
        one, other = random.integers(0, count, 2)
        made[one] = made[other] + step * random.normal(size=dim) / np.sqrt(dim) * 3
    made[: count // 20] = made[:1]
    made = random.permutation(made)
    unit: Vectors = (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)
    return unit


@pytest.mark.parametrize(
    ("count", "dim", "threshold"),
    [(0, 8, 0.9), (1, 8, 0.9), (700, 4, 0.99), (5000, 16, 0.95), (4500, 96, 0.9)],
)
def test_leaders_are_those_of_brute_force(count: int, dim: int, threshold: float) -> None:
    vectors, ids = rows(count, dim, count // 3, 0.1), np.arange(count) * 2 + 1
    order = np.random.default_rng(0).permutation(count)

    def read(wanted: Ids) -> tuple[Ids, Vectors]:
        return wanted, vectors[np.searchsorted(ids, wanted)]

    shares: list[float] = []
    found = leaders(ids[order], read, threshold, shares.append)
    exact = groups(vectors[order], threshold)
    assert found.tolist() == exact.tolist()
    if count > 1:
        assert 1 < len(set(found.tolist())) < count
        assert shares == sorted(shares) and shares[-1] == 1
