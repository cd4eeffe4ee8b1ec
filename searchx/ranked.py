"""Rank the items of one kind for one question: by vectors and words, less what is excluded.

A key is a cosine, and what words and negative parts add to it: that of a query without any is the
same whatever else the library holds. The order is complete: an item that was no candidate cannot
stand before one that is given. All that words add to are candidates, and the key of another item
is at most the cosine of the last one; they are added until enough keys reach that. Only a negative
part that lowers thousands ends this before.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from searchx import relevance, vectors
from searchx.backdrops import Backdrop
from searchx.catalog import Catalog, Match
from searchx.questions import Question
from searchx.ranking import WHOLE_QUERY, diversify, fused, groups, ordered, standings
from searchx.records import Band, Explained, Ids, Unchanging, Vectors, Why
from searchx.views import Choice, View

_FEWEST: Final = 64  # candidates
_SPARE: Final = 16  # more than asked for: of the last ones it is not sure that no other ties
_WORDS: Final = 1_000  # items that hold words of the query, the best of them; others count as none
_DEEPEST: Final = 4_096  # candidates that are looked through for what a negative part left
_POOL: Final = 5  # candidates for each hit that has to be unlike the others
# Measured: python -m tests.benchmarks.bench_negatives
HARMLESS: Final = 0.75  # standing to what is excluded, up to which nothing is lowered
PENALTY: Final = 0.75  # by which a standing above that lowers the key
LEAST_SPREAD: Final = 0.025  # of cosines: what was named then is above all, however alike they are
_ALL_WORDS: Final = 0.999  # share of the query's words from which on words alone are an answer
Keys: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Order:
    """How the list is to be made from the ranked items."""

    group_from: float | None = None  # cosine from which on items are near duplicates
    diversity: float = 0.0  # in [0, 1]


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """Items in order, best first."""

    ids: Ids  # (n,)
    keys: Keys  # (n,), of each item alone, given the query and the library
    scores: Vectors  # (n,) exact cosines
    relevance: NDArray[np.float64] | None  # (n,)
    why: Callable[[int], Why]  # of an id among them
    named: NDArray[np.bool_]  # (n,) its file was asked for by name
    worded: NDArray[np.bool_]  # (n,) it holds all words of the query, and none that is excluded
    alike: tuple[tuple[int, ...], ...]
    chance: float | None  # that there is an answer
    is_all: bool  # nothing comes after these
    explained: Explained

    def band(self, place: int) -> Band | None:
        """Name how relevant the hit at a place is."""
        if self.named[place]:
            return "strong"
        own = None if self.relevance is None else relevance.band(float(self.relevance[place]))
        return "fair" if self.worded[place] and own != "strong" else own

    @property
    def has_match(self) -> bool:
        """Tell whether one of these is more than the nearest there is."""
        bands = {self.band(place) for place in range(len(self.ids))}
        likely = self.chance is None or self.chance >= relevance.NOTHING
        return bool(len(self.ids)) and (likely or not bands <= {"weak"})


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """All that one kind is searched with."""

    catalog: Catalog
    view: View
    choice: Choice
    question: Question
    backdrop: Backdrop
    spent: dict[str, float] = field(default_factory=dict)  # milliseconds by step

    def ranked(self, least: int, order: Order) -> Ranked:
        """Give the best items in order, at least so many where there are."""
        vector = self.question.vector
        if vector is None:
            return self._newest(least, order)
        wanted = least * _POOL if order.diversity else least
        depth = max(_FEWEST, wanted + len(self.question.without) + _SPARE)
        found = self._words()
        while True:
            ranked, floor = self._candidates(vector, depth, found)
            ranked = _grouped(ranked, self.view, order.group_from)
            sure = int((ranked.keys > floor).sum()) if not ranked.is_all else len(ranked.ids)
            if ranked.is_all or sure >= wanted:
                break
            if depth >= max(_DEEPEST, 4 * wanted):
                sure = min(wanted, len(ranked.ids))
                break
            depth *= 2
        ranked = _cut(ranked, np.arange(sure), ranked.is_all)
        if order.diversity and len(ranked.ids):
            ranked = _diverse(ranked, self.view, least, order.diversity)
        return ranked

    def _candidates(
        self, vector: Vectors, depth: int, found: Sequence[Match]
    ) -> tuple[Ranked, float]:
        """Rank the nearest items and those that words found; and tell what others reach at most."""
        began = time.perf_counter()
        near, cosines = self.view.search(vector[None], depth, self.choice, self.question.asked)
        near_ids = near[0][near[0] != vectors.NO_ID]
        ids = np.union1d(near_ids, [one.id for one in found]).astype(np.int64)
        ids, rows = self.view.rows(ids[~np.isin(ids, self.question.without)])
        scores = vectors.cosines(rows, vector)
        self._spend("vectors", began)
        spread = max(self.backdrop.deviation(vector), LEAST_SPREAD)
        lowered, banned = self._lowered(ids, rows)
        matches = {one.id: one for one in found}
        silent = set(ids[banned].tolist())  # nothing is raised by its words that they exclude
        heard = {one: match for one, match in matches.items() if one not in silent}
        shares, bm25, named = _sides(ids, heard)
        chance = self._chance(vector, ids, rows, scores)
        # Where nothing is near, words weigh more.
        trust = 1.0 if chance is None else min(chance / relevance.NOTHING, 1.0)
        keys = scores + spread * fused(-lowered, shares, bm25, named, trust)
        order = ordered(keys, ids)
        is_all = depth >= self.choice.count(self.view)
        floor = -np.inf if is_all else float(cosines[0, -1])
        ranked = Ranked(
            ids=ids,
            keys=keys,
            scores=scores,
            relevance=self._relevance(vector, scores - lowered * spread),
            why=_Whys(
                near_ids[~np.isin(near_ids, self.question.without)], matches, ids, lowered * spread
            ),
            named=named,
            worded=shares >= _ALL_WORDS,
            alike=((),) * len(ids),
            chance=chance,
            is_all=is_all,
            explained=self._explained(vector, depth),
        )
        return _cut(ranked, order, is_all), floor

    def _newest(self, least: int, order: Order) -> Ranked:
        """List what passes the filter, what was indexed last first."""
        size = least
        while True:
            ranked = _grouped(self._last(size), self.view, order.group_from)
            if ranked.is_all or len(ranked.ids) >= least:
                return ranked
            size *= 2

    def _last(self, least: int) -> Ranked:
        passing = self.view.ids if self.choice.ids is None else self.choice.ids
        ids = passing[::-1][:least].astype(np.int64)
        return Ranked(
            ids=ids,
            keys=ids.astype(np.float64),
            scores=np.zeros(len(ids), np.float32),
            relevance=None,
            why=lambda _: Why(),
            named=np.zeros(len(ids), np.bool_),
            worded=np.zeros(len(ids), np.bool_),
            alike=((),) * len(ids),
            chance=None,
            is_all=len(ids) == len(passing),
            explained=self._explained(None, least),
        )

    def _words(self) -> list[Match]:
        if not self.question.words:
            return []
        began = time.perf_counter()
        found = self.catalog.words(self.view.kind, self.question.words, _WORDS, self.choice.ids)
        self._spend("words", began)
        return found

    def _holding(self, words: str, ids: Ids) -> dict[int, Match]:
        """Tell which of some items hold words, and which."""
        if not words:
            return {}
        began = time.perf_counter()
        found = self.catalog.words_of(self.view.kind, words, ids.tolist())
        self._spend("words", began)
        return {one.id: one for one in found}

    def _lowered(self, ids: Ids, rows: Vectors) -> tuple[Keys, NDArray[np.bool_]]:
        """Tell by how much what is excluded lowers each candidate: only those that match it.

        And which of them hold it in words: no words of theirs make them an answer.
        """
        lowered, banned = np.zeros(len(rows)), np.zeros(len(rows), np.bool_)
        for one in self.question.excluded:
            usual = self.backdrop.sample @ one.vector
            above = standings(vectors.cosines(rows, one.vector), usual) - HARMLESS
            shares, _, _ = _sides(ids, self._holding(one.words, ids))
            lowered += one.weight * (PENALTY * np.maximum(above, 0) + WHOLE_QUERY * shares**2)
            banned |= shares >= _ALL_WORDS
        return lowered, banned

    def _relevance(self, vector: Vectors, scores: Keys) -> NDArray[np.float64] | None:
        background = self.backdrop.background
        if background is None:
            return None
        return background.relevance(vector, scores, self.choice.count(self.view))

    def _chance(self, vector: Vectors, ids: Ids, rows: Vectors, scores: Vectors) -> float | None:
        background = self.backdrop.background
        if background is None or not len(ids):
            return None
        best = np.argsort(-scores, kind="stable")[: relevance.HITS]
        among = self.choice.count(self.view)
        return background.has_answer(vector, scores[best], rows[best[0]], among)

    def _explained(self, vector: Vectors | None, depth: int) -> Explained:
        plan = (
            None
            if vector is None
            else self.view.plan(vector[None], depth, self.choice, self.question.asked)
        )
        manifest = None if self.view.snapshot is None else self.view.snapshot.manifest
        return Explained(
            kind=self.view.kind,
            way="filter" if vector is None else plan.way if plan else "exact",
            items=self.view.count,
            passing=self.choice.count(self.view),
            tail=len(self.view.tail.ids),
            nprobe=plan.nprobe if plan else 0,
            depth=plan.depth if plan else 0,
            recall=Unchanging(manifest.recall if manifest else {}),
            milliseconds=Unchanging(self.spent),
        )

    def _spend(self, step: str, began: float) -> None:
        self.spent[step] = self.spent.get(step, 0.0) + 1000 * (time.perf_counter() - began)


def _sides(ids: Ids, matches: dict[int, Match]) -> tuple[Keys, Keys, NDArray[np.bool_]]:
    held = [matches.get(one) for one in ids.tolist()]
    shares = np.array([one.share if one else 0.0 for one in held])
    bm25 = np.array([one.score if one else 0.0 for one in held])
    return shares, bm25, np.array([bool(one and one.named) for one in held], np.bool_)


@dataclass(frozen=True, slots=True, eq=False)
class _Whys:
    """What made items candidates, told of the few that become hits."""

    near: Ids  # by vector alone, the nearest first
    matches: dict[int, Match]
    ids: Ids  # (n,) ascending
    lowered: Keys  # (n,)

    def __call__(self, id: int) -> Why:
        match = self.matches.get(id)
        words = (match.words, match.fields) if match else ((), ())
        (rank,) = np.nonzero(self.near == id)
        lowered = float(self.lowered[np.searchsorted(self.ids, id)])
        return Why(int(rank[0]) + 1 if len(rank) else None, *words, lowered=lowered)


def _cut(ranked: Ranked, places: NDArray[np.integer], is_all: bool) -> Ranked:
    """Keep the items at some places, in that order."""
    return replace(
        ranked,
        ids=ranked.ids[places],
        keys=ranked.keys[places],
        scores=ranked.scores[places],
        relevance=None if ranked.relevance is None else ranked.relevance[places],
        named=ranked.named[places],
        worded=ranked.worded[places],
        alike=tuple(ranked.alike[one] for one in places),
        is_all=is_all,
    )


def _grouped(ranked: Ranked, view: View, group_from: float | None) -> Ranked:
    """Let the best of each group of near duplicates stand for all of them."""
    if group_from is None or not len(ranked.ids):
        return ranked
    firsts = groups(_rows(view, ranked.ids), group_from)
    members: dict[int, list[int]] = {}
    for place, first in enumerate(firsts.tolist()):
        members.setdefault(first, []).append(int(ranked.ids[place]))
    alike = tuple(tuple(members.get(place, [0])[1:]) for place in range(len(firsts)))
    leaders = np.flatnonzero(firsts == np.arange(len(firsts)))
    return _cut(replace(ranked, alike=alike), leaders, ranked.is_all)


def _diverse(ranked: Ranked, view: View, count: int, strength: float) -> Ranked:
    chosen = diversify(_rows(view, ranked.ids), ranked.keys, count, strength)
    return _cut(ranked, chosen, is_all=True)  # the rest was passed over: there is no next page


def _rows(view: View, ids: Ids) -> Vectors:
    """Give the vectors of items in the order of the ids."""
    held, rows = view.rows(np.sort(ids))
    return rows[np.searchsorted(held, ids)]
