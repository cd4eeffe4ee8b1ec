"""Fill the places of a list one by one: whose turn it is, what is good, unlike, and allowed.

The places go to the interests of a user by their importance (d'Hondt's method), so that a small
interest has its share and none has all. Within an interest the best comes next, less its likeness
to what is chosen (maximal marginal relevance, Carbonell and Goldstein, 1998).
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from searchx.records import Ids, Vectors

_DECIMALS: Final = 9
Numbers: TypeAlias = NDArray[np.float64]
Masks: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """What may be chosen for some users: b users, m interests of each, p candidates of those."""

    ids: Ids  # (b, m, p), the best first
    keys: Numbers  # (b, m, p), higher is better
    free: Masks  # (b, m, p) may be chosen
    importance: Numbers  # (b, m); 0 where there is no such interest
    floors: Numbers  # (b, m) what no other candidate is above; -inf where there are no others
    rows: Vectors | None = None  # (b, m, p, dim), where likeness counts
    groups: Ids | None = None  # (b, m, p) numbers of groups, -1 for none
    seen: Vectors | None = None  # (b, h, dim) whose near duplicates are not wanted either


@dataclass(frozen=True, slots=True)
class Rules:
    """What a list has to be like."""

    k: int
    diversity: float = 0.0  # in [0, 1]
    alike: float | None = None  # cosine from which on two are near duplicates
    per_group: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """Places in a pool, in the order of the list."""

    interests: Ids  # (b, k); -1 where there is nothing
    places: Ids  # (b, k)
    is_sure: Masks  # (b,) more candidates would not change it


def choose(pool: Pool, rules: Rules) -> Chosen:
    """Choose k for each user, or as many as there are."""
    users = np.arange(len(pool.ids))
    interests = np.full((len(users), rules.k), -1, np.int64)
    places = np.full((len(users), rules.k), -1, np.int64)
    is_sure = np.ones(len(users), np.bool_)
    state = _State(pool, rules)
    is_open = pool.floors > -np.inf  # (b, m) there are more than these
    for place in range(rules.k):
        worth = state.worth()  # (b, m, p)
        best = worth.argmax(axis=2)  # (b, m)
        tops = np.take_along_axis(worth, best[:, :, None], 2)[:, :, 0]
        has = tops > -np.inf
        waiting = np.round(pool.importance / (state.taken + 1), _DECIMALS)  # equal ones stay so
        waiting[pool.importance <= 0] = -1.0
        whose = np.where(has | is_open, waiting, -1.0).argmax(axis=1)
        is_sure &= ~(is_open & ~has)[users, whose]
        whose = np.where(has, waiting, -1.0).argmax(axis=1)
        found = np.flatnonzero((has & (waiting > 0))[users, whose])
        if not len(found):
            break
        turn, which = whose[found], best[found, whose[found]]
        keys = pool.keys[found, turn, which]
        is_sure[found] &= keys >= pool.floors[found, turn] if not rules.diversity else True
        interests[found, place], places[found, place] = turn, which
        state.take(found, turn, which)
    return Chosen(interests, places, is_sure)


class _State:
    """What is still to be had, and how like it is to what was chosen."""

    def __init__(self, pool: Pool, rules: Rules) -> None:
        self._pool, self._rules = pool, rules
        self._free = pool.free.copy()
        self.taken = np.zeros(pool.importance.shape)
        self._likeness = np.zeros(pool.ids.shape)
        self._count = None if pool.groups is None else np.zeros(pool.ids.shape, np.int64)
        self._keys = _in_spreads(pool.keys, pool.free) if rules.diversity else pool.keys
        if pool.rows is not None and pool.seen is not None and rules.alike is not None:
            flat = pool.rows.reshape(len(pool.ids), -1, pool.rows.shape[-1])
            nearest = (flat @ pool.seen.transpose(0, 2, 1)).max(axis=2, initial=-1.0)
            self._free &= nearest.reshape(pool.ids.shape) < rules.alike

    def worth(self) -> Numbers:
        strength = self._rules.diversity
        worth = self._keys
        if strength:
            worth = (1 - strength) * self._keys - strength * self._likeness
        return np.where(self._free, worth, -np.inf)

    def take(self, users: Ids, interests: Ids, places: Ids) -> None:
        """Choose one candidate of some users."""
        pool, rules = self._pool, self._rules
        self.taken[users, interests] += 1
        ids = pool.ids[users, interests, places]
        self._free[users] &= pool.ids[users] != ids[:, None, None]
        if pool.groups is not None and self._count is not None:
            group = pool.groups[users, interests, places][:, None, None]
            self._count[users] += (pool.groups[users] == group) & (group >= 0)
            self._free[users] &= self._count[users] < (rules.per_group or 1)
        if pool.rows is not None:
            chosen = np.zeros((len(pool.ids), pool.rows.shape[-1], 1), np.float32)
            chosen[users, :, 0] = pool.rows[users, interests, places]
            flat = pool.rows.reshape(len(pool.ids), -1, pool.rows.shape[-1])  # no copy
            near = (flat @ chosen)[:, :, 0].reshape(pool.ids.shape)
            np.maximum(self._likeness, near, out=self._likeness)
            if rules.alike is not None:
                self._free &= near < rules.alike


def _in_spreads(keys: Numbers, free: Masks) -> Numbers:
    """Scale the keys of each user by what lies between their 10th and 90th percentile."""
    flat = np.sort(np.where(free, keys, np.inf).reshape(len(keys), -1), axis=1)
    last = np.maximum(free.reshape(len(keys), -1).sum(axis=1) - 1, 0)
    users = np.arange(len(keys))
    low, high = flat[users, last // 10], flat[users, last - last // 10]
    with np.errstate(invalid="ignore"):
        spread = np.where(np.isfinite(high - low) & (high > low), high - low, 1.0)
    return np.where(free, keys, 0.0) / spread[:, None, None]
