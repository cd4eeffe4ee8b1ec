"""Divide vectors into groups of what is alike: spherical k-means, the same for the same vectors.

What all vectors have in common says nothing of any of them (those of one encoder lie in a narrow
cone), so they are compared by how they differ from their mean. The centres are found on a sample;
every vector then goes to its nearest one, so that time and memory stay bounded.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from searchx.records import Ids, Vectors

Read: TypeAlias = Callable[[Ids], Iterator[tuple[Ids, Vectors]]]  # of these ids, some at a time

MOST: Final = 12  # groups that one is divided into
UNDIVIDED: Final = 18  # items that are looked at together
_EACH: Final = 12  # items that a group is to have at least, on average
_FEWEST: Final = 3  # of a group; a smaller one is given to the others
_SMALLEST: Final = 0.01  # share of all that a group has, likewise
_SAMPLE: Final = 6_000
_STARTS: Final = 3
_ROUNDS: Final = 30


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Items that are more like each other than like those of the other groups."""

    ids: Ids  # (n,), the most typical first
    scores: Vectors  # (n,) to the centre, descending
    centre: Vectors  # (dim,) of unit length, as it differs from the mean of all that was divided
    mean: Vectors  # (dim,) of all that was divided


def divide(ids: Ids, read: Read) -> tuple[Group, ...]:
    """Divide items into two to `MOST` groups, the largest first: each item is in exactly one.

    Gives none where they are few, or all alike. `read` gives the vectors of ascending ids.
    """
    if len(ids) <= UNDIVIDED:
        return ()
    ids = np.sort(ids)
    sample = _rows(_some(ids), read)
    mean = cast(Vectors, sample.mean(axis=0, dtype=np.float64).astype(np.float32))
    centres = _centres(_apart(sample, mean), min(MOST, -(-len(ids) // _EACH)))
    if len(centres) < 2:
        return ()
    labels, scores = np.empty(len(ids), np.int64), np.empty(len(ids), np.float32)
    for place, rows in _blocks(ids, read):
        near = _apart(rows, mean) @ centres.T  # (b, k)
        labels[place] = near.argmax(axis=1)
        scores[place] = near[np.arange(len(rows)), labels[place]]
    made = [_group(ids, scores, labels == one, centres[one], mean) for one in range(len(centres))]
    found = sorted(
        (one for one in made if len(one.ids)), key=lambda one: (-len(one.ids), one.ids[0])
    )
    return tuple(found) if len(found) > 1 else ()


def _group(
    ids: Ids, scores: Vectors, held: NDArray[np.bool_], centre: Vectors, mean: Vectors
) -> Group:
    ids, scores = ids[held], scores[held]
    order = np.lexsort((ids, -scores))
    return Group(ids[order], scores[order], centre, mean)


def _some(ids: Ids) -> Ids:
    if len(ids) <= _SAMPLE:
        return ids
    return np.sort(np.random.default_rng(0).choice(ids, _SAMPLE, replace=False))


def _rows(ids: Ids, read: Read) -> Vectors:
    return np.concatenate([rows for _, rows in read(ids)])


def _blocks(ids: Ids, read: Read) -> Iterator[tuple[slice, Vectors]]:
    """Read vectors some at a time, with their places."""
    start = 0
    for held, rows in read(ids):
        yield slice(start, start + len(held)), rows
        start += len(held)


def _apart(rows: Vectors, mean: Vectors) -> Vectors:
    """Give how rows differ from their mean, in direction only; those that do not as zeros."""
    rows = rows - mean
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return cast(Vectors, np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 1e-4))


def _centres(rows: Vectors, count: int) -> Vectors:
    """Find centres (k, dim) of rows (n, dim), at most `count`: the best of several starts."""
    least = max(_FEWEST, int(_SMALLEST * len(rows)))
    found = [_settled(rows, _start(rows, count, seed), least) for seed in range(_STARTS)]
    worth = [float((rows @ centres.T).max(axis=1).sum(dtype=np.float64)) for centres in found]
    return found[int(np.argmax(worth))]


def _start(rows: Vectors, count: int, seed: int) -> Vectors:
    """Choose rows that are far from each other (k-means++: Arthur and Vassilvitskii, 2007)."""
    random = np.random.default_rng(seed)
    chosen = [int(random.integers(len(rows)))]
    far = 1 - rows @ rows[chosen[0]]  # (n,)
    while len(chosen) < count:
        weights = np.where(far > 1e-3, far, 0).astype(np.float64)
        if not weights.sum():
            break  # no other direction is left
        chosen.append(int(random.choice(len(rows), p=weights / weights.sum())))
        far = np.minimum(far, 1 - rows @ rows[chosen[-1]])
    return rows[chosen]


def _settled(rows: Vectors, centres: Vectors, least: int) -> Vectors:
    """Move each centre to the middle of its rows until none moves; small groups are dropped."""
    labels = np.full(len(rows), -1)
    for _ in range(_ROUNDS):
        now = (rows @ centres.T).argmax(axis=1)
        sizes = np.bincount(now, minlength=len(centres))
        if len(centres) > 1 and sizes.min() < least:
            centres, labels = (
                np.delete(centres, int(sizes.argmin()), axis=0),
                np.full(len(rows), -1),
            )
            continue
        if (now == labels).all():
            break
        labels = now
        sums = np.stack([rows[labels == one].sum(axis=0) for one in range(len(centres))])
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(lengths > 1e-6, sums / np.maximum(lengths, 1e-6), centres)
    return cast(Vectors, centres.astype(np.float32))
