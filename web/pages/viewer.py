"""One item: the picture or passage, what is known of it, why it matched, and what is like it."""

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, HTTPException, Request
from fastapi import Query as InAddress
from fastapi.responses import Response

from searchx import records
from searchx.errors import BadInput, SearchxError
from searchx.query import parse
from searchx.records import Hit, Item
from searchx.search import Library
from web import api
from web.answers import page
from web.api import Served
from web.asked import Asked, AskedHere
from web.pictures import SIDES, ItemId, Uploads, UploadsHere, item_of
from web.shapes import MAX_TEXT
from web.trail import Trail, address_of, trail_of

MORE_LIKE_ITEM: Final = 12
PLACES_SHOWN: Final = 50  # of one item

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Shown:
    """One picture in the sizes that a browser may choose from."""

    address: str
    sizes: str  # for srcset; empty where its own size is not known
    full: str


@router.get("/items/{id}")
def item_page(
    request: Request,
    id: ItemId,
    library: Served,
    uploads: UploadsHere,
    asked: AskedHere,
    why: Annotated[bool, InAddress(description="Show what answers the query.")] = False,
) -> Response:
    item = item_of(library, id)
    trail, lost = _trail(library, uploads, asked, id)
    alike, line = _alike(library, id)
    return page(
        request,
        "item.html",
        item=item,
        shown=shown(item),
        is_there=_is_there(item),
        context=api.context_of(library, item),
        pictures=list(_items(library, item.pictures)),
        asked=asked,
        trail=trail,
        beside=[one for one in (trail.previous, trail.next) if one] if trail else [],
        heat="" if lost else _heat(item, asked),
        is_heat_shown=why,
        address=address_of(id, asked),
        less=_less(asked, id),
        hits=alike,
        like_it=Asked(like=id),
        lines=[one for one in (lost, line) if one],
        places=PLACES_SHOWN,
    )


def shown(item: Item) -> Shown:
    """Give a picture in sizes up to its own."""
    address = f"/items/{item.id}/picture"
    longest = max(item.width or 0, item.height or 0)
    wanted = [side for side in SIDES if side < longest]
    sides = [*wanted, *SIDES[len(wanted) : len(wanted) + 1]] if longest else []
    widths = [(side, round((item.width or 0) * min(side, longest) / longest)) for side in sides]
    sizes = ", ".join(f"{address}?side={side} {width}w" for side, width in widths)
    return Shown(address, sizes, f"{address}?side={SIDES[-1]}")


def _trail(library: Library, uploads: Uploads, asked: Asked, id: int) -> tuple[Trail | None, str]:
    """Give the place in the results, and what went wrong: the item can be shown all the same."""
    if not (asked.anything or asked.random):
        return None, ""
    try:
        return trail_of(library, uploads, asked, id), ""
    except SearchxError as error:
        return None, str(error)
    except HTTPException as error:  # the picture that was asked with is no longer kept
        return None, error.detail


def _alike(library: Library, id: int) -> tuple[list[Hit], str]:
    try:
        hits = library.search(records.Query(like=id), MORE_LIKE_ITEM + 1, "image")
    except SearchxError as error:
        return [], str(error)
    return [hit for hit in hits if hit.id != id][:MORE_LIKE_ITEM], ""


def _heat(item: Item, asked: Asked) -> str:
    """Give the address of what shows where the picture answers; empty where nothing was asked."""
    if item.kind != "image" or asked.random or not asked.anything:
        return ""
    with suppress(SearchxError):
        query = api.query_of(asked.q, like=asked.like)
        is_asked = any(one.weight > 0 for one in query.every_part) or asked.picture is not None
        only = Asked(asked.q, like=asked.like, picture=asked.picture)
        return f"/items/{item.id}/why?{only.parameters}" if is_asked else ""
    return ""


def _less(asked: Asked, id: int) -> Asked | None:
    """Give the search that led here without what is like the item; None where there is none."""
    words = f"{asked.q} -like:{id}".strip()
    if not asked.anything or asked.random or len(words) > MAX_TEXT or asked.like == id:
        return None
    try:
        query = parse(words, files=False)
    except BadInput:
        return None
    has_wish = any(one.weight > 0 for one in query.every_part)
    return asked.words(words) if has_wish or asked.like or asked.picture else None


def _is_there(item: Item) -> bool:
    """Tell whether there is still a file where the item was found."""
    with suppress(OSError, ValueError):
        return item.kind == "text" or any(Path(path).exists() for path in item.paths)
    return False


def _items(library: Library, ids: Collection[int]) -> Iterator[Item]:
    for id in ids:
        with suppress(BadInput):  # removed since
            yield library.item(id)
