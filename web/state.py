"""Whether the server is well, for who watches over it."""

from fastapi import APIRouter
from fastapi.responses import Response

from web.answers import document
from web.api import Served
from web.shapes import State

router = APIRouter()


@router.get("/healthz", summary="Is the server alive?", response_model=State, tags=["state"])
async def healthz() -> Response:
    """Answer on the event loop: threads that are all at work do not keep it waiting."""
    return document({"status": "ok"})


@router.get(
    "/readyz",
    summary="Can the library be read?",
    response_model=State,
    responses={503: {"description": "The library cannot be used now"}},
    tags=["state"],
)
def readyz(library: Served) -> Response:
    library.check()
    return document({"status": "ready"})
