"""The API, shown from its own description; nothing is loaded from elsewhere."""

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import Response

from web.answers import page

router = APIRouter(include_in_schema=False)


@router.get("/docs")
def docs(request: Request) -> Response:
    app: FastAPI = request.app
    return page(request, "docs.html", api=app.openapi())
