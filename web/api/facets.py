"""What a library can be filtered by, with counts."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from web.answers import document
from web.api.search import PROBLEMS, Served
from web.shapes import FacetsAnswer, FacetsAsked

router = APIRouter(tags=["search"])


@router.get(
    "/api/facets",
    summary="Count what passes a filter by kind, year, folder, camera and so on",
    response_model=FacetsAnswer,
    responses=PROBLEMS,
)
def facets(library: Served, asked: Annotated[FacetsAsked, Query()]) -> Response:
    found = library.facets(asked.where, asked.k)
    return document({"query": asked.model_dump(), **found.as_dict()})
