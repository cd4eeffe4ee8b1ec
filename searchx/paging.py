"""One page of an answer: of one kind, or of both as two lists that are put together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from searchx.cursors import Cursor
from searchx.errors import BadInput
from searchx.ranked import Order, Ranked, Search
from searchx.ranking import Keys, ordered
from searchx.records import Band, Explained, Ids, Why

_FARTHEST: Final = 20_000  # hits down a list, which is ranked from its top for every page
_FARTHEST_GROUPED: Final = 5_000  # each of which is compared with all leaders before it
_RECIPROCAL: Final = 60  # of reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009)


@dataclass(frozen=True, slots=True)
class Place:
    """What a hit will be, once its item is fetched."""

    id: int
    key: float
    score: float
    relevance: float | None
    band: Band | None
    why: Why
    alike: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """Some places in an order, best first."""

    places: tuple[Place, ...]
    has_more: bool
    chance: float | None
    has_match: bool
    explained: tuple[Explained, ...]

    @property
    def ids(self) -> Ids:
        return np.array([one.id for one in self.places], np.int64)


def page(searches: Sequence[Search], k: int, order: Order, after: Cursor | None) -> Page:
    """Give the k best places after a cursor; None: from the first on.

    Several kinds are put together by their ranks, never by their scores: the encoder puts texts
    and pictures into different regions of the space.
    """
    least = k + 1  # one more tells whether there is a next page
    while True:
        lists = [one.ranked(least, order) for one in searches]
        keys = np.concatenate([_keys(one, len(lists) > 1 or order.diversity > 0) for one in lists])
        ids = np.concatenate([one.ids for one in lists])
        best = _known(lists, ordered(keys, ids))
        if after is not None:
            best = best[_border(after, keys, ids).precedes(keys[best], ids[best])]
        if len(best) > k or all(one.is_all for one in lists):
            break
        least *= 2
        farthest = _FARTHEST_GROUPED if order.group_from is not None else _FARTHEST
        if least > farthest + k:
            raise BadInput(f"there are pages for {farthest} hits; narrow the query with a filter")
    places = [(one, place) for one in lists for place in range(len(one.ids))]
    chosen = [_place(*places[int(one)], float(keys[one])) for one in best[:k]]
    chances = [one.chance for one in lists if one.chance is not None]
    chance = max(chances, default=None)
    return Page(
        places=tuple(chosen),
        has_more=len(best) > k and not order.diversity,
        chance=chance,
        has_match=any(one.has_match for one in lists),
        explained=tuple(one.explained for one in lists),
    )


def _border(after: Cursor, keys: Keys, ids: Ids) -> Cursor:
    """Give the cursor the key that its item has now: what is usual here may have changed since."""
    here = np.flatnonzero(ids == after.id)
    return replace(after, key=float(keys[here[0]])) if len(here) else after


def _known(lists: Sequence[Ranked], best: NDArray[np.int64]) -> NDArray[np.int64]:
    """Leave out what comes after the end of a list that goes on: its next items stand before it."""
    ends = [len(one.ids) for one in lists if not one.is_all]
    ranks = np.concatenate([np.arange(len(one.ids)) for one in lists])
    return best[ranks[best] < min(ends)] if ends else best


def _keys(ranked: Ranked, is_by_rank: bool) -> Keys:
    if not is_by_rank:
        return ranked.keys
    return 1 / (_RECIPROCAL + 1 + np.arange(len(ranked.ids), dtype=np.float64))


def _place(ranked: Ranked, place: int, key: float) -> Place:
    found = ranked.relevance
    return Place(
        id=int(ranked.ids[place]),
        key=key,
        score=float(ranked.scores[place]),
        relevance=None if found is None else float(found[place]),
        band=ranked.band(place),
        why=ranked.why(int(ranked.ids[place])),
        alike=ranked.alike[place],
    )
