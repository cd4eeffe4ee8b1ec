"""Read what a library is asked, and refuse what cannot be."""

from dataclasses import replace
from typing import Final

import numpy as np

from searchx.errors import BadInput
from searchx.filters import FILTERS, All, Either, Filter, Is, Not
from searchx.query import parse, parse_filter, query_as_json
from searchx.records import COLLECTION, KINDS, Kind, Query, Target

MAX_K: Final = 10_000
_TARGETS: Final[tuple[Target, ...]] = ("image", "text", "both")


def asked_of(query: str | Query, where: str | Filter | None) -> Query:
    """Read a query, with a filter beside its own; raises BadInput."""
    if not isinstance(query, str | Query):
        raise BadInput(f"the query is {type(query).__name__}; give a text or a Query")
    asked = parse(query) if isinstance(query, str) else query
    beside = filter_of(where)
    if beside is None:
        return asked
    both = beside if asked.where is None else All((asked.where, beside))
    return replace(asked, where=both)


def collection_from(collection: str) -> str:
    """Check the name of a collection; raises BadInput."""
    name = str(collection).removeprefix(COLLECTION)
    is_plain = name.replace("-", "").replace("_", "").replace(".", "").isalnum()
    if not is_plain or len(name) > 100:
        raise BadInput(f"collection {collection!r}: its name has letters, digits and - _ . only")
    return name


def filter_of(where: str | Filter | None) -> Filter | None:
    """Read a filter; None for none. Raises BadInput."""
    if isinstance(where, str):
        return parse_filter(where) if where.strip() else None
    if where is not None and not isinstance(where, FILTERS):
        raise BadInput(
            f"where is {type(where).__name__}; give the query language, or a filter such as "
            "searchx.filters.from_json makes of a document"
        )
    return where


def kind_of(where: Filter | None) -> Target | None:
    """Tell what a filter leaves to find, where it says so; None where it does not."""
    match where:
        case Is("kind", value):
            return next((kind for kind in KINDS if kind == value.lower()), None)
        case Not(Is("kind", value)):
            return next((kind for kind in KINDS if kind != value.lower()), None)
        case All(of):
            said = {kind_of(one) for one in of} - {None}
            return next((kind for kind in KINDS if kind in said), "both" if said else None)
        case Either(of) if of:
            said = {kind_of(one) for one in of}
            return None if None in said else said.pop() if len(said) == 1 else "both"
    return None


def kinds_of(target: Target) -> tuple[Kind, ...]:
    return KINDS if target == "both" else (target,)


def check_kind(kind: Kind) -> None:
    if kind not in KINDS:
        raise BadInput(f'kind "{kind}" is not known; use image or text')


def checked_target(target: Target) -> Target:
    if target not in _TARGETS:
        raise BadInput(f'kind "{target}" is not known; use image, text or both')
    return target


def target_of(asked: Query, to: Target | None) -> Target:
    """Tell what a query is to find: what it says itself, else `to`, else images."""
    return checked_target(asked.to or kind_of(asked.where) or to or "image")


def written_as(asked: Query, target: Target, group: bool, diversity: float) -> str:
    """Write all that changes the order of hits: of this a cursor keeps the digest."""
    return f"{query_as_json(replace(asked, to=None))} {target} {group} {diversity}"


def check(k: int, diversity: float = 0.0, after: str | None = None) -> None:
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= MAX_K:
        raise BadInput(f"k is {k!r}; it must be a whole number between 1 and {MAX_K}")
    if not 0 <= diversity <= 1:
        raise BadInput(f"diversity is {diversity}; it must be between 0 and 1")
    if diversity and after is not None:
        raise BadInput("an answer with diversity has one page; ask for more hits instead")
