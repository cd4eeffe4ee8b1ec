"""Whether the server is well, and what it does, for who watches over it."""

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

from searchx.search import Library
from web.answers import document
from web.lanes import STATE
from web.loading import Loading
from web.metrics import MEDIA_TYPE, Metrics
from web.shapes import State

router = APIRouter()


@router.get("/healthz", summary="Is the server alive?", response_model=State, tags=["state"])
async def healthz() -> Response:
    """Answer on the event loop: threads that are all at work do not keep it waiting."""
    return document({"status": "ok"})


@router.get(
    "/readyz",
    summary="Can the library be searched?",
    response_model=State,
    responses={503: {"description": "The library cannot be used now, or its model is loading"}},
    tags=["state"],
)
async def readyz(request: Request) -> Response:
    library: Library = request.app.state.library
    loading: Loading = request.app.state.loading

    def waits_for() -> str | None:
        library.check()
        return loading.waits_for()

    reason = await STATE.run(waits_for)
    if reason is not None:
        raise HTTPException(503, reason)
    return document({"status": "ready"})


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}},
    tags=["state"],
)
async def metrics(request: Request) -> Response:
    figures: Metrics = request.app.state.metrics
    return Response(await STATE.run(figures.written), headers={"content-type": MEDIA_TYPE})
