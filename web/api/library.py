"""What a library is, in short."""

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel

from web.answers import document
from web.api.embedding import SpaceShape, shape_of
from web.api.search import Served

router = APIRouter(tags=["state"])


class LibraryAnswer(BaseModel):
    """How much a library holds, from where, and in which space its vectors live."""

    images: int
    texts: int
    sources: list[str]
    space: SpaceShape


@router.get(
    "/api/library",
    summary="How much the library holds, and the model that made it",
    response_model=LibraryAnswer,
    responses={503: {"description": "The library cannot be used now, or nothing is indexed yet"}},
)
def overview(library: Served) -> Response:
    space, held = shape_of(library.space), library.overview()
    shape = {"images": held.images, "texts": held.texts, "sources": list(held.sources)}
    return document({**shape, "space": space})
