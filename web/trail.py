"""Where an item stands in the results that led to it, and what comes before and after it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from searchx.query import parse
from searchx.records import Answer, Hit, Item, Kind, Query, Target
from searchx.search import Library
from web import api
from web.asked import Asked
from web.chips import DIFFERENT
from web.pictures import Uploads

DEEP: Final = (250, 1000)  # so many results are looked through, one after the other


class Step(NamedTuple):
    """A neighbour in the results."""

    item: Item
    asked: Asked  # leads back to the page of results that it is on

    @property
    def address(self) -> str:
        return address_of(self.item.id, self.asked)


@dataclass(frozen=True, slots=True)
class Trail:
    """The place of an item in the results that led to it."""

    hit: Hit
    number: int  # from 1
    count: int | None  # of all results; None where that is not known
    previous: Step | None
    next: Step | None


class _Results(NamedTuple):
    """The first results of a search; `total` of all of them where that is known."""

    hits: Sequence[Hit]
    total: int | None


def address_of(id: int, asked: Asked) -> str:
    """Give the address of the page of an item that knows the search."""
    return f"/items/{id}" + (f"?{asked.parameters}" if asked.parameters else "")


def trail_of(library: Library, uploads: Uploads, asked: Asked, id: int) -> Trail | None:
    """Find an item in the results of a search; None where it is not near the first of them.

    Raises what a search raises, and HTTPException where its picture is no longer kept.
    """
    if asked.random:
        return _found(_sample(library, asked), id, asked, lambda _: None)

    def cursor_at(place: int) -> str | None:
        return answer_of(library, uploads, asked, place).cursor

    for k in _depths(asked):
        answer = answer_of(library, uploads, asked, k)
        results = _Results(answer.hits, _count(library, answer, asked))
        trail = _found(results, id, asked, cursor_at)
        # The last one has no neighbour yet, unless it is the last of all.
        if trail and (trail.next or answer.cursor is None or k == DEEP[-1]):
            return trail
        if answer.cursor is None:
            break
    return None


def _depths(asked: Asked) -> tuple[int, ...]:
    """Tell how many results to look through; a varied list has one page, made for its length."""
    if asked.varied:
        return (asked.k,)
    return DEEP if asked.after else (asked.k + 1, *DEEP)


def answer_of(library: Library, uploads: Uploads, asked: Asked, k: int) -> Answer:
    """Give the first results of what an address asks for, whatever page it names."""
    query, target = question_of(uploads, asked)
    diversity = DIFFERENT if asked.varied else 0.0
    return library.ask(query, k, target, group=asked.group, diversity=diversity)


def question_of(uploads: Uploads, asked: Asked) -> tuple[Query, Target]:
    """Read what an address asks for; fails with 410 where its picture is no longer kept."""
    image = uploads.get(asked.picture).content if asked.picture is not None else None
    return api.query_of(asked.q, image, asked.like), asked.to


def _sample(library: Library, asked: Asked) -> _Results:
    kind: Kind = "text" if asked.to == "text" else "image"
    where = parse(asked.q, files=False).where
    items = library.sample(asked.k, kind, where=where, seed=int(asked.random or 0))
    return _Results([Hit(one, 0.0) for one in items], len(items))


def _count(library: Library, answer: Answer, asked: Asked) -> int | None:
    """Count all results, as far as what is searched tells it."""
    if answer.cursor is None:
        return len(answer.hits)
    if asked.group or "like:" in asked.q:  # some that pass are no results of their own
        return None
    kinds = {one.kind for one in answer.explained}
    is_passing = asked.like is not None and library.item(asked.like).kind in kinds
    return sum(one.passing for one in answer.explained) - is_passing  # it is no result of its own


def _found(
    results: _Results, id: int, asked: Asked, cursor_at: Callable[[int], str | None]
) -> Trail | None:
    place = next((at for at, hit in enumerate(results.hits) if hit.id == id), None)
    if place is None:
        return None

    def step(to: int) -> Step | None:
        if not 0 <= to < len(results.hits):
            return None
        page, here = to // asked.k, place // asked.k
        there = asked
        if page != here:
            there = replace(asked, after=cursor_at(page * asked.k) if page else None)
        return Step(results.hits[to].item, there)

    return Trail(results.hits[place], place + 1, results.total, step(place - 1), step(place + 1))
