"""Wandering through the library: clusters of what is alike, in clusters."""

from dataclasses import dataclass, replace
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request
from fastapi import Query as InAddress
from fastapi.responses import RedirectResponse, Response

from searchx.errors import BadInput, NoLibrary
from searchx.records import Hit, Kind
from web.answers import page
from web.api import query_of
from web.asked import FIRST_HITS, Asked
from web.shapes import MAX_CURSOR, MAX_TEXT
from web.surveys import Served, WaitsHere

_SECONDS = 5.0  # that a page waits for a large library to be divided

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Wandered:
    """Where somebody is: what the address of the page says."""

    at: str = ""
    to: Kind = "image"
    q: str = ""  # words that order the items of the cluster
    after: str | None = None

    def into(self, at: str) -> "Wandered":
        return replace(self, at=at, q="", after=None)

    def find(self, to: Kind) -> "Wandered":
        return Wandered(to=to)

    def words(self, q: str) -> "Wandered":
        return replace(self, q=q, after=None)

    def page_after(self, cursor: str | None) -> "Wandered":
        return replace(self, after=cursor)

    @property
    def up(self) -> "Wandered":
        return self.into(self.at.rpartition(".")[0])

    @property
    def address(self) -> str:
        parts = {
            "at": self.at or None,
            "to": None if self.to == "image" else self.to,
            "q": self.q or None,
            "after": self.after,
        }
        given = {name: value for name, value in parts.items() if value is not None}
        return "/explore?" + urlencode(given, errors="replace") if given else "/explore"


def wandered(
    at: Annotated[str, InAddress(max_length=MAX_CURSOR)] = "",
    to: Kind = "image",
    q: Annotated[str, InAddress(max_length=MAX_TEXT)] = "",
    after: Annotated[str | None, InAddress(max_length=MAX_CURSOR)] = None,
) -> Wandered:
    """Read where somebody is from an address."""
    return Wandered(at.strip(), to, q.strip(), after or None)


@router.get("/explore")
def explore(
    request: Request,
    library: Served,
    waits: WaitsHere,
    here: Annotated[Wandered, Depends(wandered)],
) -> Response:
    """Show a cluster. One that is there no longer leads to the one that it was in."""
    asked = Asked(to=here.to)
    try:
        query = query_of(here.q) if here.q else None  # no picture is read by its path
        level = waits.result(
            ("clusters", here),
            lambda: library.clusters(here.at, here.to, FIRST_HITS, query=query, after=here.after),
            _SECONDS,
        )
    except NoLibrary:
        return page(
            request, "explore.html", here=here, asked=asked, level=None, is_empty=True, hits=[]
        )
    except BadInput:
        if here.q or here.after:
            try:
                alone = here.into(here.at)
                waits.result(
                    ("clusters", alone),
                    lambda: library.clusters(here.at, here.to, FIRST_HITS),
                    _SECONDS,
                )
            except BadInput:
                return RedirectResponse(here.up.address, 303)
            raise
        return RedirectResponse(here.up.address, 303)
    pairs = () if level is None else zip(level.items, level.scores, strict=True)
    hits = [Hit(item, score) for item, score in pairs]
    return page(
        request, "explore.html", here=here, asked=asked, level=level, is_empty=False, hits=hits
    )
