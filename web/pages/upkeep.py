"""The state of the library: what was skipped, and why."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from web.answers import page
from web.api import Served
from web.asked import Asked

SKIPPED_SHOWN = 1000

router = APIRouter(include_in_schema=False)


@router.get("/skipped")
def skipped_page(request: Request, library: Served) -> Response:
    skipped = library.skipped()
    shown = skipped[:SKIPPED_SHOWN]
    return page(request, "skipped.html", skipped=shown, count=len(skipped), asked=Asked())
