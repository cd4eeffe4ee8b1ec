"""What the library holds more than once."""

from dataclasses import dataclass, replace
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request
from fastapi import Query as InAddress
from fastapi.responses import Response

from searchx.errors import BadInput, NoLibrary
from searchx.records import Kind
from web.answers import page, status_of
from web.asked import Asked
from web.shapes import MAX_CURSOR, MAX_TEXT
from web.surveys import DuplicatesAsked, Served, WaitsHere, gathered

GROUPS = 24  # on a page
COPIES_SHOWN = 11  # of a group, as pictures; every path is listed
_SECONDS = 2.0  # that a page waits for the comparing

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Looked:
    """What the address of the page says."""

    to: Kind = "image"
    where: str = ""
    after: str | None = None

    def find(self, to: Kind) -> "Looked":
        return replace(self, to=to, after=None)

    def page_after(self, cursor: str | None) -> "Looked":
        return replace(self, after=cursor)

    def unfiltered(self) -> "Looked":
        return replace(self, where="", after=None)

    @property
    def address(self) -> str:
        parts = {
            "to": None if self.to == "image" else self.to,
            "where": self.where or None,
            "after": self.after,
        }
        given = {name: value for name, value in parts.items() if value is not None}
        return "/duplicates?" + urlencode(given, errors="replace") if given else "/duplicates"


def looked(
    to: Kind = "image",
    where: Annotated[str, InAddress(max_length=MAX_TEXT)] = "",
    after: Annotated[str | None, InAddress(max_length=MAX_CURSOR)] = None,
) -> Looked:
    """Read what is looked at from an address."""
    return Looked(to, where.strip(), after or None)


@router.get("/duplicates")
def duplicates(
    request: Request, library: Served, waits: WaitsHere, here: Annotated[Looked, Depends(looked)]
) -> Response:
    """Show groups of duplicates, or how far the comparing is where it takes long."""
    asked = DuplicatesAsked(to=here.to, k=GROUPS, where=here.where, after=here.after)
    found, line, status, is_empty = None, "", 200, False
    try:
        found = gathered(library, waits, asked, _SECONDS)
    except NoLibrary:
        is_empty = True
    except BadInput as error:
        line, status = str(error), status_of(error)
    return page(
        request,
        "duplicates.html",
        status,
        here=here,
        found=found,
        line=line,
        is_empty=is_empty,
        share=library.gathered,
        shown=COPIES_SHOWN,
        asked=Asked(to=here.to),
    )
