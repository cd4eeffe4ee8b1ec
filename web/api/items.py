"""Single items, and what is like them."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel

from searchx.records import Hit, Item
from web.answers import document
from web.api.search import PROBLEMS, Served, answered, context_of, query_of
from web.pictures import ItemId, item_of
from web.shapes import (
    MAX_K,
    Answer,
    ContextShape,
    HitShape,
    ItemAnswer,
    ItemShape,
    SearchAsked,
    SimilarAsked,
)

router = APIRouter(tags=["items"])
Ids = Annotated[
    list[ItemId],
    Query(min_length=1, max_length=MAX_K, description="The ids, each as `id`; 200 at most."),
]


class ItemsAnswer(BaseModel):
    """Items in the order of their ids."""

    items: list[ItemShape]


@router.get(
    "/api/items",
    summary="Some items by their ids",
    response_model=ItemsAnswer,
    responses={400: {"description": "One of them is not there"}},
)
def items(id: Ids, library: Served) -> Response:
    return document({"items": [_shape_of(one) for one in library.items(id)]})


@router.get(
    "/api/items/{id}",
    summary="An item with its locations, and a text with what stands beside it",
    response_model=ItemAnswer,
    responses={404: {"description": "There is no such item"}},
)
def item(id: ItemId, library: Served) -> Response:
    found = item_of(library, id)
    shape = _shape_of(found)
    if found.kind == "text":
        before, after = context_of(library, found)
        shape["context"] = ContextShape(before=before, after=after).model_dump()
    return document(shape)


@router.get(
    "/api/items/{id}/similar",
    summary="What is most like an item, without itself",
    response_model=Answer,
    responses={**PROBLEMS, 404: {"description": "There is no such item"}},
)
def similar(id: ItemId, library: Served, asked: Annotated[SimilarAsked, Query()]) -> Response:
    item_of(library, id)
    given = SearchAsked.model_validate({**asked.model_dump(), "like": id})
    return answered(library, query_of("", like=id), given)


def _shape_of(item: Item) -> dict[str, object]:
    """Give the shape of an item; by itself it answers no question."""
    shape = Hit(item, 0.0).as_dict()
    for name in HitShape.model_fields.keys() - ItemShape.model_fields.keys():
        del shape[name]
    return shape
