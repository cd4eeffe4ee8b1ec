"""How examples are dealt into batches: at random, beside what they are easily taken for, or apart.

A batch of random pairs is soon easy. Where near neighbours by the model's own vectors stand in one
batch, each is a hard negative of the others (Xiong et al. 2021, arXiv:2007.00808); the vectors are
those that the epoch before computed anyway.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from searchx.records import Vectors

_BLOCK: Final = 4096  # rows among which neighbours are looked for
_SAME: Final = 0.95  # a cosine from which on two pairs are rather the same than hard to tell apart


def beside_neighbours(
    order: NDArray[np.int64],
    vectors: NDArray[np.floating[Any]],
    count: int,
    chance: np.random.Generator,
) -> NDArray[np.int64]:
    """Arrange rows so that `count` near neighbours follow each that begins a group.

    Every row of `order` comes once. Rows whose vector is 0 are not known yet, and near to none.
    """
    groups: list[NDArray[np.int64]] = []
    for start in range(0, len(order), _BLOCK):
        block = order[start : start + _BLOCK]
        rows = vectors[block].astype(np.float32)
        groups += [block[one] for one in _groups(rows @ rows.T, count)]
    return np.concatenate([groups[one] for one in chance.permutation(len(groups))])


def _groups(cosines: Vectors, count: int) -> list[NDArray[np.intp]]:
    free = np.ones(len(cosines), np.bool_)
    groups = []
    for first in range(len(cosines)):
        if not free[first]:
            continue
        free[first] = False
        row = np.where(free & (cosines[first] < _SAME), cosines[first], -np.inf)
        most = min(count, len(row))
        nearest = np.argpartition(-row, most - 1)[:most]
        nearest = nearest[np.isfinite(row[nearest])]
        free[nearest] = False
        groups.append(np.array([first, *nearest], np.intp))
    return groups


def apart(order: Sequence[int], sides: Sequence[Sequence[int]], size: int) -> list[list[int]]:
    """Deal links into batches of one size in which no item comes twice; what is left is left out.

    An item that is linked to many would else be its own wrong answer. `sides` are the two items of
    each row.
    """
    batches: list[list[int]] = []
    left = deque(order)
    while len(left) >= size:
        batch: list[int] = []
        taken: set[int] = set()
        for _ in range(len(left)):
            row = left.popleft()
            if taken.isdisjoint(sides[row]):
                batch.append(row)
                taken.update(sides[row])
            else:
                left.append(row)
            if len(batch) == size:
                break
        if len(batch) < size:
            break
        batches.append(batch)
    return batches
