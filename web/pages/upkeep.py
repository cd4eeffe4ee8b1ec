"""The state of the library: what it holds, what is going on, what was skipped, and why."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi import Query as InAddress
from fastapi.responses import Response

from web.answers import page
from web.asked import Asked
from web.pictures import MAX_ID
from web.shapes import MAX_TEXT
from web.surveys import Served, WaitsHere, next_after, size_of, state_of

SKIPPED_SHOWN = 200  # on a page

router = APIRouter(include_in_schema=False)


@router.get("/status")
def status_page(request: Request, library: Served, waits: WaitsHere) -> Response:
    return page(
        request,
        "status.html",
        state=state_of(library),
        size=size_of(library, waits),
        asked=Asked(),
        skipped_address=skipped_address,
    )


@router.get("/skipped")
def skipped_page(
    request: Request,
    library: Served,
    reason: Annotated[str | None, InAddress(max_length=MAX_TEXT)] = None,
    after: Annotated[int, InAddress(ge=0, le=MAX_ID)] = 0,
) -> Response:
    reasons = library.skipped_reasons()
    found = library.some_skipped(SKIPPED_SHOWN, reason or None, after)
    more = next_after(library, found, reason or None, SKIPPED_SHOWN)
    return page(
        request,
        "skipped.html",
        skipped=[one for _, one in found],
        reasons=reasons,
        reason=reason or None,
        count=sum(files for _, files in reasons),
        after=after,
        more=None if more is None else skipped_address(reason, more),
        asked=Asked(),
        skipped_address=skipped_address,
    )


def skipped_address(reason: str | None = None, after: int = 0) -> str:
    """Give the address of skipped files, of one reason or all, from a place on."""
    parts: dict[str, str | int] = {"reason": reason} if reason else {}
    parts |= {"after": after} if after else {}
    return "/skipped?" + urlencode(parts, errors="replace") if parts else "/skipped"
