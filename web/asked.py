"""What the address of a page asks for. Every state of the page is an address."""

from dataclasses import dataclass, replace
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Depends
from fastapi import Query as InAddress

from searchx.query import written
from searchx.records import Query, Target
from web.pictures import MAX_ID
from web.shapes import MAX_CURSOR, MAX_K, MAX_TEXT

FIRST_HITS = 48


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address of a page asks for."""

    q: str = ""
    to: Target = "image"
    like: int | None = None
    picture: str | None = None  # the name of an uploaded query picture
    k: int = FIRST_HITS
    after: str | None = None  # the cursor of the page before
    group: bool = False
    varied: bool = False  # prefer hits that are unlike each other
    random: str | None = None  # the seed of items at random; empty: any

    @property
    def anything(self) -> bool:
        return bool(self.q) or self.like is not None or self.picture is not None

    def words(self, q: str) -> "Asked":
        return replace(self, q=q, after=None)

    def without_like(self) -> "Asked":
        return replace(self, like=None, after=None)

    def without_picture(self) -> "Asked":
        return replace(self, picture=None, after=None)

    def find(self, to: Target) -> "Asked":
        return replace(self, to=to, after=None)

    def grouped(self, group: bool) -> "Asked":
        return replace(self, group=group, after=None)

    def mixed(self, varied: bool) -> "Asked":
        return replace(self, varied=varied, after=None)

    def page_after(self, cursor: str | None) -> "Asked":
        return replace(self, after=cursor)

    def at_random(self, seed: str = "") -> "Asked":
        return replace(self, random=seed, after=None)

    @property
    def parameters(self) -> str:
        """Give the part of an address behind the question mark; defaults are left out."""
        parts: dict[str, str | int | None] = {
            "q": self.q or None,
            "like": self.like,
            "picture": self.picture,
            "to": None if self.to == "image" else self.to,
            "k": None if self.k == FIRST_HITS else self.k,
            "group": 1 if self.group else None,
            "varied": 1 if self.varied else None,
            "random": self.random,
            "after": self.after,
        }
        given = {name: value for name, value in parts.items() if value is not None}
        return urlencode(given, errors="replace")

    @property
    def address(self) -> str:
        return "/?" + self.parameters if self.parameters else "/"


def asked(
    q: Annotated[str, InAddress(max_length=MAX_TEXT)] = "",
    to: Target = "image",
    like: Annotated[int | None, InAddress(ge=1, le=MAX_ID)] = None,
    picture: Annotated[str | None, InAddress(max_length=64)] = None,
    k: Annotated[int, InAddress(ge=1, le=MAX_K)] = FIRST_HITS,
    after: Annotated[str | None, InAddress(max_length=MAX_CURSOR)] = None,
    group: bool = False,
    varied: bool = False,
    random: Annotated[str | None, InAddress(pattern="^[0-9]{0,10}$")] = None,
) -> Asked:
    """Read what is asked from an address."""
    return Asked(q.strip(), to, like, picture or None, k, after or None, group, varied, random)


AskedHere = Annotated[Asked, Depends(asked)]


def unfiltered(asked: Asked, typed: Query) -> Asked | None:
    """Give the same search without the filters that were typed; None where there are none."""
    rest = replace(typed, where=None)
    if typed.where is None or not (rest.every_part or asked.like or asked.picture):
        return None
    return asked.words(written(rest))
