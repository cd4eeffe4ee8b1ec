"""One item, with what is known of it and what is like it."""

from collections.abc import Collection, Iterator
from contextlib import suppress

from fastapi import APIRouter, Request
from fastapi.responses import Response

from searchx import records
from searchx.errors import BadInput, SearchxError
from searchx.records import Item
from searchx.search import Library
from web import api
from web.answers import page
from web.api import Served
from web.asked import AskedHere
from web.pictures import ItemId, item_of

MORE_LIKE_ITEM = 12
PLACES_SHOWN = 50  # of one item

router = APIRouter(include_in_schema=False)


@router.get("/items/{id}")
def item_page(request: Request, id: ItemId, library: Served, asked: AskedHere) -> Response:
    item = item_of(library, id)
    try:
        alike = library.search(records.Query(like=id), MORE_LIKE_ITEM + 1, "image")
        line = ""
    except SearchxError as error:  # the item can be shown all the same
        alike, line = [], str(error)
    return page(
        request,
        "item.html",
        item=item,
        context=api.context_of(library, item),
        pictures=list(_items(library, item.pictures)),
        hits=[hit for hit in alike if hit.id != id][:MORE_LIKE_ITEM],
        line=line,
        asked=asked,
        places=PLACES_SHOWN,
    )


def _items(library: Library, ids: Collection[int]) -> Iterator[Item]:
    for id in ids:
        with suppress(BadInput):  # removed since
            yield library.item(id)
