"""The filters beside the results: what the library has, how much of it, and where a click leads."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from searchx.errors import BadInput, SearchxError
from searchx.filters import COLUMN, Filter
from searchx.query import parse, parse_filter, written
from searchx.records import Facet, Facets, Query
from searchx.search import Library
from web.asked import Asked
from web.chips import narrowed, terms
from web.folders import named, shortly

SHOWN: Final = 12  # values of one group
GROUPS: Final = ("year", "folder", "keyword", "camera", "format", "orientation", "rating", "has")
_COLUMNS: Final = 12  # that were added with items
_ADDED: Final = frozenset(("keyword", "has"))  # an item has several: a click adds to the others


@dataclass(frozen=True, slots=True)
class Choice:
    """A value that can be asked for; `next` is the search with it, or without where it is on."""

    value: str
    count: int
    is_on: bool
    next: Asked


@dataclass(frozen=True, slots=True)
class Group:
    """The values of one kind, most frequent first; years the latest first."""

    name: str
    choices: tuple[Choice, ...]


def panel(library: Library, asked: Asked, typed: Query) -> list[Group]:
    """Give the groups of filters of a search; none where the library cannot tell."""
    try:
        return list(_groups(library, asked, typed))
    except SearchxError:  # the page says so in its own place
        return []


def _groups(library: Library, asked: Asked, typed: Query) -> Iterator[Group]:
    every = terms(typed.where)
    everything = library.facets(None, SHOWN * 100)
    names = named(everything)

    def counted(where: Filter | None) -> Facets:
        return shortly(library.facets(where, SHOWN), names)

    here = counted(typed.where)
    added = [f"{COLUMN}{name}" for name, of in everything.meta.items() if of]
    for name in (*GROUPS, *added[:_COLUMNS]):
        known = {_filter(one): one for one in values(everything, name)}
        known |= {_filter(one): one for one in values(shortly(everything, names), name)}
        chosen = [one for one in every if one in known]
        shown = values(here, name)
        if chosen and name not in _ADDED:  # the others can take its place
            rest = narrowed(typed, tuple(one for one in every if one not in chosen)).where
            shown = values(counted(rest), name)
        choices = [
            choice
            for one in _listed(shown, known, chosen)
            if (choice := _choice(asked, typed, one, chosen, name)) is not None
        ]
        if len(choices) > 1 or chosen:
            yield Group(name, tuple(_ordered(name, choices)))


def values(facets: Facets, name: str) -> tuple[Facet, ...]:
    """Give the values of one facet."""
    if name.startswith(COLUMN):
        return facets.meta.get(name.removeprefix(COLUMN), ())
    found: tuple[Facet, ...] = getattr(facets, name)
    return found


def _filter(facet: Facet) -> Filter:
    return _read(facet.where)


@lru_cache(maxsize=16_384)
def _read(where: str) -> Filter:
    """Read a filter that a facet is told with; a page asks for the same thousands each time."""
    return parse_filter(where)


def _listed(
    shown: tuple[Facet, ...], known: dict[Filter, Facet], chosen: list[Filter]
) -> list[Facet]:
    """Give the most frequent values, and what is chosen even where it is not one of them."""
    listed = list(shown[:SHOWN])
    there = {_filter(one) for one in listed}
    return listed + [known[one] for one in chosen if one not in there]


def _choice(
    asked: Asked, typed: Query, facet: Facet, chosen: list[Filter], name: str
) -> Choice | None:
    wanted = _filter(facet)
    is_on = wanted in chosen
    every = terms(typed.where)
    if is_on:
        rest = tuple(one for one in every if one != wanted)
    elif name in _ADDED:
        rest = (*every, wanted)
    else:
        rest = (*(one for one in every if one not in chosen), wanted)
    try:
        q = written(narrowed(typed, rest))
        parse(q, files=False)
    except BadInput:
        return None
    return Choice(facet.value, facet.count, is_on, asked.words(q))


def _ordered(name: str, choices: list[Choice]) -> list[Choice]:
    if name in ("year", "rating"):
        return sorted(choices, key=lambda one: one.value, reverse=True)
    return choices
