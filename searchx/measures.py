"""How good are lists of recommendations, offline: measures at k, each with its interval.

Recall, precision, average precision and nDCG as trec_eval has them (average precision is divided
by all that is relevant, also where that is more than k); novelty is the mean self-information of
Vargas and Castells (RecSys 2011), diversity the mean distance within a list of Ziegler et al.
(WWW 2005). Intervals are those of the bootstrap over users (Sakai, SIGIR 2006), at 95 %.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from searchx.errors import BadInput
from searchx.ragged import Ragged, first_of_each
from searchx.records import Ids, Vectors

_LEVEL: Final = 0.95
_ROWS: Final = 1 << 17  # vectors held at a time
Masks: TypeAlias = NDArray[np.bool_]
Values: TypeAlias = NDArray[np.float64]  # (q,) of each user; nan where it cannot be told


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean over users, and between which bounds it lies; the same for the same seed."""

    value: float
    low: float | None = None  # None where users cannot be drawn again: of coverage
    high: float | None = None

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.value:.4f}"
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What lists are worth, by the name of the measure, such as "recall@10"."""

    figures: dict[str, Figure]
    values: dict[str, Values]  # of each user
    users: int
    asked: int  # of them with something relevant, which alone count where hits are counted

    def __getitem__(self, name: str) -> Figure:
        return self.figures[name]

    def as_dict(self) -> dict[str, object]:
        """Give the JSON shape."""
        figures = {
            name: {"value": one.value, "low": one.low, "high": one.high}
            for name, one in self.figures.items()
        }
        return {"users": self.users, "asked": self.asked, **figures}


def measure(
    recommended: Any,
    relevant: Any,
    at: Sequence[int] = (10,),
    *,
    catalog: int | None = None,
    vectors: Callable[[Ids], Vectors] | None = None,
    known: Any = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Measured:
    """Measure lists of recommended ids against what turned out to be relevant, user by user.

    `recommended` is an array (q, k), best first, -1 where there is none, or lists; `relevant` has a
    list of ids for each user; Arrow lists will do for both. With `catalog`, the number of items
    there are, coverage is told; with `vectors` (such as `library.vectors`) diversity; with `known`,
    the lists of what users had before, novelty. Raises BadInput.
    """
    wanted = Ragged.of(relevant)
    deepest = _checked(at, resamples)
    ids = _ranked(recommended, deepest)  # (q, deepest)
    if len(ids) != len(wanted):
        raise BadInput(f"there are lists for {len(ids)} users, and {len(wanted)} of what they want")
    if not len(ids):
        raise BadInput("there is nobody to measure; give at least one user")
    is_first = first_of_each(ids)
    hits, counts = wanted.holds(ids) & is_first, wanted.distinct()
    values: dict[str, Values] = {}
    fixed: dict[str, Figure] = {}
    popular = None if known is None else _self_information(Ragged.of(known))
    for k in at:
        cut, held = ids[:, :k], is_first[:, :k]
        values |= {f"{name}@{k}": one for name, one in accuracy(hits[:, :k], counts).items()}
        if vectors is not None:
            values[f"diversity@{k}"] = diversity(cut, held, vectors)
        if popular is not None:
            values[f"novelty@{k}"] = _novelty(cut, held, *popular)
        if catalog is not None:
            fixed[f"coverage@{k}"] = Figure(len(np.unique(cut[held])) / max(catalog, 1))
    figures = bootstrap(values, resamples, seed) | fixed
    return Measured(figures, values, len(ids), int((counts > 0).sum()))


def difference(
    one: Measured, other: Measured, resamples: int = 1000, seed: int = 0
) -> dict[str, Figure]:
    """Tell by how much `one` is ahead of `other`, which was measured on the same users.

    User by user, so that what one user is like does not widen the interval. Raises BadInput.
    """
    if one.users != other.users:
        raise BadInput(f"{one.users} users cannot be compared with {other.users} others")
    both = {
        name: one.values[name] - other.values[name] for name in one.values if name in other.values
    }
    return bootstrap(both, resamples, seed)


def accuracy(hits: Masks, counts: NDArray[np.int64]) -> dict[str, Values]:
    """Give the measures that count hits (q, k), for users who want so many items (q,)."""
    k = hits.shape[1]
    ranks = np.arange(1, k + 1)
    gains = 1 / np.log2(ranks + 1)
    best = np.concatenate([[0.0], np.cumsum(gains)])  # of a list that begins with all it can hold
    some = np.where(counts > 0, counts, np.nan)  # (q,)
    precisions = np.cumsum(hits, axis=1) / ranks  # (q, k)
    ideal = np.where(counts > 0, best[np.minimum(counts, k)], np.nan)
    asked = np.where(counts > 0, 1.0, np.nan)
    return {
        "recall": hits.sum(axis=1) / some,
        "precision": asked * hits.sum(axis=1) / k,
        "map": (precisions * hits).sum(axis=1) / some,
        "mrr": asked * (hits / ranks).max(axis=1, initial=0.0),
        "ndcg": (hits * gains).sum(axis=1) / ideal,
        "hit_rate": asked * hits.any(axis=1),
    }


def diversity(ids: Ids, held: Masks, vectors: Callable[[Ids], Vectors]) -> Values:
    """Give 1 less the mean cosine of two items of a list, (q,); nan where there are none."""
    found = np.full(len(ids), np.nan)
    size = max(1, _ROWS // max(1, ids.shape[1]))
    for start in range(0, len(ids), size):
        block, kept = ids[start : start + size], held[start : start + size]
        rows = np.zeros((*block.shape, vectors(ids[:0, 0]).shape[1]), np.float32)
        rows[kept] = vectors(block[kept])
        count = kept.sum(axis=1)
        whole = np.square(rows.sum(axis=1, dtype=np.float64)).sum(axis=1)  # of all pairs, both ways
        own = np.square(rows, dtype=np.float64).sum(axis=(1, 2))
        pairs = np.where(count > 1, count * (count - 1), np.nan)
        found[start : start + size] = 1 - (whole - own) / pairs
    return found


def bootstrap(values: dict[str, Values], resamples: int, seed: int) -> dict[str, Figure]:
    """Give the mean of each measure over the users that it can be told of, with its interval."""
    if not values:
        return {}
    columns = np.stack(list(values.values()), axis=1)  # (q, m)
    told = ~np.isnan(columns)
    filled = np.where(told, columns, 0.0)
    means = _means(np.ones(len(columns)), filled, told)
    random = np.random.default_rng(seed)
    drawn = np.full((resamples, columns.shape[1]), np.nan)
    for number in range(resamples):
        times = np.bincount(
            random.integers(len(columns), size=len(columns)), minlength=len(columns)
        )
        drawn[number] = _means(times.astype(np.float64), filled, told)
    return {
        name: _figure(float(means[place]), drawn[:, place]) for place, name in enumerate(values)
    }


def _means(times: Values, filled: NDArray[np.float64], told: Masks) -> Values:
    counts = times @ told
    means = np.full(len(counts), np.nan)
    np.divide(times @ filled, counts, out=means, where=counts > 0)
    return means


def _figure(value: float, drawn: Values) -> Figure:
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return Figure(value)
    low, high = np.quantile(drawn, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Figure(value, float(low), float(high))


def _self_information(known: Ragged) -> tuple[Ids, Values, float]:
    """Give ids, how surprising each is in bits, and how surprising an item is that nobody had."""
    codes, places = np.unique(known.values, return_inverse=True)
    pairs = np.unique(known.owners * max(len(codes), 1) + places)
    counts = np.bincount(pairs % max(len(codes), 1), minlength=len(codes))
    users = len(known) + 1  # one more, who had each item: so that none is infinitely surprising
    return codes, -np.log2((counts + 1) / users), float(np.log2(users))


def _novelty(ids: Ids, held: Masks, codes: Ids, bits: Values, unknown: float) -> Values:
    each = np.full(ids.shape, unknown)
    if len(codes):
        place = np.minimum(np.searchsorted(codes, ids), len(codes) - 1)
        each = np.where(codes[place] == ids, bits[place], unknown)
    count = held.sum(axis=1)
    total = np.where(held, each, 0.0).sum(axis=1)
    means = np.full(len(ids), np.nan)
    np.divide(total, count, out=means, where=count > 0)
    return means


def _ranked(recommended: Any, deepest: int) -> Ids:
    if isinstance(recommended, np.ndarray) and recommended.ndim == 2:
        if recommended.dtype.kind not in "iu":
            raise BadInput(f"recommended ids are {recommended.dtype}; give whole numbers")
        ids = recommended[:, :deepest].astype(np.int64)
        return np.pad(ids, ((0, 0), (0, deepest - ids.shape[1])), constant_values=-1)
    return Ragged.of(recommended).padded(deepest)


def _checked(at: Iterable[int], resamples: int) -> int:
    wrong = [k for k in at if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1]
    if wrong or not at:
        raise BadInput(f"at is {at!r}; give whole numbers from 1 on, such as (5, 10)")
    if resamples < 0:
        raise BadInput(f"resamples is {resamples}; it must be 0 or more")
    return int(max(at))
