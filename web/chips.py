"""What was typed, taken apart: each piece with the search that goes on without it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from searchx.errors import BadInput
from searchx.filters import All, Filter, Is, Not
from searchx.query import written
from searchx.records import Part, Query
from web.asked import Asked

Sort: TypeAlias = Literal["words", "more", "not", "filter", "without"]
DIFFERENT: Final = 0.5  # how much hits that are unlike each other are preferred, where asked for


@dataclass(frozen=True, slots=True)
class Chip:
    """A piece of a query: words, more words, what is lowered, a filter, what must not be."""

    sort: Sort
    text: str  # as the query language writes it, without its sign
    rest: Asked  # the search without it


def chips(asked: Asked, typed: Query) -> list[Chip]:
    """Take a query apart; nothing where it is a single run of words, or cannot be written."""
    try:
        found = list(_chips(asked, typed))
    except BadInput:
        return []
    return [] if [one.sort for one in found] == ["words"] else found


def terms(where: Filter | None) -> tuple[Filter, ...]:
    """Give the filters that all have to be passed."""
    if where is None:
        return ()
    return where.of if isinstance(where, All) else (where,)


def narrowed(typed: Query, of: tuple[Filter, ...]) -> Query:
    """Give the same query with these filters in place of its own."""
    where = of[0] if len(of) == 1 else All(of)
    return replace(typed, where=where if of else None)


def _chips(asked: Asked, typed: Query) -> Iterator[Chip]:
    def without(**changes: object) -> Asked:
        return asked.words(written(replace(typed, **changes)))  # type: ignore[arg-type]

    if typed.text.strip():
        yield Chip("words", typed.text, without(text=""))
    if typed.like is not None:
        yield Chip("more", f"like:{typed.like}", without(like=None))
    for place, part in enumerate(typed.parts):
        rest = without(parts=typed.parts[:place] + typed.parts[place + 1 :])
        yield Chip("not" if part.weight < 0 else "more", _spelled(part), rest)
    if typed.to is not None:
        yield Chip("filter", written(Query(to=typed.to)), without(to=None))
    every = terms(typed.where)
    for place, term in enumerate(every):
        rest = asked.words(written(narrowed(typed, every[:place] + every[place + 1 :])))
        is_excluded = isinstance(term, Not) and isinstance(term.of, Is)
        shown = term.of if is_excluded and isinstance(term, Not) else term
        yield Chip("without" if is_excluded else "filter", written(Query(where=shown)), rest)


def _spelled(part: Part) -> str:
    """Write a part without its sign."""
    if part.like is not None:
        return f"like:{part.like}"
    return part.text if abs(part.weight) == 1 else f"{part.text} \u00d7 {abs(part.weight):g}"
