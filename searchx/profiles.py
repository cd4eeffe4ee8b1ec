"""What users are after, from what they liked: one unit vector for each of their interests.

One mean over all that somebody likes lies between his interests, where nothing of either is
(Pal et al., PinnerSage, KDD 2020). So the items of a history are joined by average linkage as long
as they are more alike than items of the library usually are, and each cluster is an interest.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from searchx.errors import BadInput
from searchx.ragged import Ragged
from searchx.records import Vectors

LONGEST: Final = 64  # items of a history that a profile is made of: those that weigh most
ALIKE: Final = 1.0  # standard deviations above the usual cosine, from which on items are joined
# How much of the mean of all that he liked goes into each interest. With more, a small one could be
# nearer to a large one than to itself. Measured: python -m tests.benchmarks.bench_recommend
DRAWN: Final = np.float32(1.0)
LEAST: Final = 0.15  # share of all that a user liked: what is rarer is chance, not an interest
Weights: TypeAlias = NDArray[np.float64]
Labels: TypeAlias = NDArray[np.int64]
_Floats: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Profiles:
    """The interests of some users, the most important first."""

    vectors: Vectors  # (b, m, dim) unit rows; zeros where a user has fewer
    importance: Weights  # (b, m) share of what the user's items weigh; 0 where there is none


def profiles(rows: _Floats, weights: Weights, most: int, joined_from: float) -> Profiles:
    """Find at most so many interests of each user.

    `rows` (b, h, dim) are unit rows of what he liked, the heaviest first, and `weights` (b, h) what
    each counts, 0 where there is none. Clusters whose mean cosine reaches `joined_from` are joined;
    with `most` 1 all are. An interest has at least the share `LEAST` of what the user's items
    weigh, but for his first. A few items tell little of what they have in common, so each interest
    is drawn towards the mean of all. There is no chance in it, and no user changes what another one
    gets.
    """
    count, length, dim = rows.shape
    if most == 1 or length == 1:
        labels = np.zeros((count, length), np.int64)
    else:
        labels = clusters(rows @ rows.transpose(0, 2, 1), weights > 0, joined_from)
    member = np.zeros((count, length, length), np.float32)  # (b, cluster, h)
    np.put_along_axis(member, labels[:, None], weights[:, None].astype(np.float32), axis=1)
    importance = member.sum(axis=2, dtype=np.float64)  # (b, cluster)
    order = np.argsort(-importance, axis=1, kind="stable")[:, :most]
    sums = np.take_along_axis(member, order[:, :, None], 1) @ rows  # (b, m, dim)
    lengths = np.linalg.norm(sums, axis=2, keepdims=True)
    whole = _unit(weights[:, None].astype(np.float32) @ rows)  # (b, 1, dim)
    shares = np.take_along_axis(importance, order, 1) / weights.sum(axis=1)[:, None].clip(1e-12)
    vectors = np.zeros((count, most, dim), np.float32)
    kept = np.zeros((count, most))
    vectors[:, : order.shape[1]] = _unit(sums / lengths.clip(1e-12) + DRAWN * whole)
    is_large = (shares >= LEAST) | (np.arange(order.shape[1]) == 0)
    kept[:, : order.shape[1]] = np.where(is_large & (lengths[:, :, 0] > 1e-6), shares, 0.0)
    return Profiles(vectors, kept)


def _unit(rows: _Floats) -> _Floats:
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / lengths.clip(1e-12), np.float32)


def clusters(cosines: _Floats, held: NDArray[np.bool_], joined_from: float) -> Labels:
    """Join the two clusters with the greatest mean cosine while that reaches a bound: (b, h).

    `cosines` (b, h, h) of each user's items, of which some are `held` (b, h). A cluster has the
    number of its first item.
    """
    count, length = held.shape
    likeness = np.where(held[:, :, None] & held[:, None], cosines, -np.inf)
    likeness[:, np.arange(length), np.arange(length)] = -np.inf
    sizes = held.astype(np.float32)
    labels = np.tile(np.arange(length), (count, 1))
    active = np.arange(count)
    while len(active):
        best = likeness[active].reshape(len(active), -1).argmax(axis=1)
        one, other = best // length, best % length
        reaches = likeness[active, one, other] >= joined_from
        active, one, other = active[reaches], one[reaches], other[reaches]
        first, last = np.minimum(one, other), np.maximum(one, other)
        _join(likeness, sizes, active, first, last)
        is_last = labels[active] == last[:, None]
        labels[active] = np.where(is_last, first[:, None], labels[active])
    return labels


def decayed(times: Ragged, half_life: float) -> Ragged:
    """Give what each item counts by its age: half as much a half-life before the user's newest."""
    if not half_life > 0:
        raise BadInput(f"half_life is {half_life}; it must be above 0")
    newest = np.full(len(times), -np.inf)
    np.maximum.at(newest, times.owners, times.values)
    ages = newest[times.owners] - times.values
    return Ragged(np.exp2(-ages / half_life), times.offsets)


def newest_first(lists: Ragged, weights: Ragged) -> tuple[Ragged, Ragged]:
    """Put the heaviest of each list first; of equal ones the one that stood last."""
    order = np.lexsort((-np.arange(len(lists.values)), -weights.values, lists.owners))
    return (
        Ragged(lists.values[order], lists.offsets),
        Ragged(weights.values[order], lists.offsets),
    )


def _join(likeness: _Floats, sizes: _Floats, users: Labels, first: Labels, last: Labels) -> None:
    """Make one cluster of two, for each of some users."""
    own, lost = sizes[users, first, None], sizes[users, last, None]
    mean = (own * likeness[users, first] + lost * likeness[users, last]) / (own + lost)  # (a, h)
    likeness[users, first] = mean
    likeness[users, :, first] = mean
    likeness[users, last] = -np.inf
    likeness[users, :, last] = -np.inf
    likeness[users, first, first] = -np.inf
    sizes[users, first] += sizes[users, last]
