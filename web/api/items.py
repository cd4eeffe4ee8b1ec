"""Single items, and what is like them."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from searchx.records import Hit
from web.answers import document
from web.api.search import PROBLEMS, Served, answered, context_of, query_of
from web.pictures import ItemId, item_of
from web.shapes import (
    Answer,
    ContextShape,
    HitShape,
    ItemAnswer,
    ItemShape,
    SearchAsked,
    SimilarAsked,
)

router = APIRouter(tags=["items"])


@router.get(
    "/api/items/{id}",
    summary="An item with its locations, and a text with what stands beside it",
    response_model=ItemAnswer,
    responses={404: {"description": "There is no such item"}},
)
def item(id: ItemId, library: Served) -> Response:
    found = item_of(library, id)
    shape = Hit(found, 0.0).as_dict()
    for name in HitShape.model_fields.keys() - ItemShape.model_fields.keys():
        del shape[name]  # an item by itself answers no question
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
