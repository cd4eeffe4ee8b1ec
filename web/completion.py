"""What could be typed next in the box: keys of the query language, and values that there are."""

import re
import threading
import time
from collections.abc import Iterator
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel

from searchx.errors import SearchxError
from searchx.filters import COLUMN, TRAITS, VALUES
from searchx.query import Typed, typed_at
from searchx.query.columns import NAME
from searchx.records import Facet, Facets
from searchx.search import Library
from web.answers import document
from web.folders import named, shortly
from web.shapes import MAX_TEXT

OFFERED: Final = 8
FRESH: Final = 5.0  # seconds for which the values of a library are not counted again
_VALUES: Final = 2000  # of each key
_KEYS: Final = (  # that are offered, the most useful first
    *("folder", "camera", "keyword", "taken", "format", "kind", "orientation", "rating", "has"),
    *("lens", "source", "ext", "size", "name", "title", "path", "near", "is", "width", "height"),
)
_FACETS: Final = {"taken": "year"}  # where the name of the key is another one
_ALSO: Final = ("keyword", "folder", "camera", "year")  # whose values may be meant by a word
_FIXED: Final[dict[str, tuple[str, ...]]] = {**VALUES, "has": TRAITS, "is": ("duplicate",)}

router = APIRouter()


class Option(BaseModel):
    """A completion: `text` takes the place of what is typed; `count` items have it."""

    text: str
    value: str
    key: str
    count: int | None


class Completion(BaseModel):
    """What could stand from `start` to `end` of the text; places are those of its code points."""

    start: int
    end: int
    options: list[Option]


class Values:
    """What a library can be filtered by, counted anew every few seconds at most."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._lock = threading.Lock()
        self._counted: tuple[float, Facets] | None = None

    def facets(self) -> Facets:
        """Give the values; none where there is no library yet."""
        with self._lock:
            now = time.monotonic()
            if self._counted is None or now - self._counted[0] > FRESH:
                try:
                    facets = self._library.facets(None, _VALUES)
                    self._counted = (now, shortly(facets, named(facets)))
                except SearchxError:
                    self._counted = (now, Facets())
            return self._counted[1]


def values_of(request: Request) -> Values:
    values: Values = request.app.state.values
    return values


ValuesHere = Annotated[Values, Depends(values_of)]


@router.get(
    "/api/complete",
    summary="What could be typed next",
    response_model=Completion,
    tags=["search"],
)
def complete(
    values: ValuesHere,
    q: Annotated[str, Query(max_length=MAX_TEXT, description="What is typed.")] = "",
    at: Annotated[
        int | None, Query(ge=0, le=MAX_TEXT, description="Where; at its end without it.")
    ] = None,
) -> Response:
    typed = typed_at(q, len(q) if at is None else at)
    options = list(_options(typed, values.facets()))[:OFFERED]
    shape = Completion(start=typed.start, end=typed.end, options=options)
    return document(shape.model_dump())


def _options(typed: Typed, facets: Facets) -> Iterator[Option]:
    if typed.key:
        yield from _values(typed.key, typed.value, facets)
        return
    if not typed.value:
        return
    begun = typed.value.casefold()
    for key in _KEYS:
        if key.startswith(begun):
            yield Option(text=f"{key}:", value="", key=key, count=None)
    for name in _columns(begun, facets):
        yield Option(text=f"{COLUMN}{name}:", value="", key=f"{COLUMN}{name}", count=None)
    if len(begun) > 1:
        for counted in (*(getattr(facets, name) for name in _ALSO), *facets.meta.values()):
            for facet in _fitting(counted, begun, whole=False)[:3]:
                key = facet.where.partition(":")[0]
                yield Option(text=facet.where + " ", value=facet.value, key=key, count=facet.count)


def _columns(begun: str, facets: Facets) -> Iterator[str]:
    """Give the columns whose name begins so, with or without what stands before it."""
    for name in facets.meta:
        told = f"{COLUMN}{name}".casefold()
        if re.fullmatch(NAME, name) and (
            told.startswith(begun) or name.casefold().startswith(begun)
        ):
            yield name


def _values(key: str, begun: str, facets: Facets) -> Iterator[Option]:
    counted: tuple[Facet, ...] = getattr(facets, _FACETS.get(key, key), ())
    if key.startswith(COLUMN):
        name = key.removeprefix(COLUMN).casefold()
        counted = next((of for one, of in facets.meta.items() if one.casefold() == name), ())
    for facet in _fitting(counted, begun.casefold(), whole=True):
        text = facet.where.partition(":")[2] + " "
        yield Option(text=text, value=facet.value, key=key, count=facet.count)
    if not counted:
        for value in _FIXED.get(key, ()):
            if value.startswith(begun.casefold()):
                yield Option(text=value + " ", value=value, key=key, count=None)


def _fitting(facets: tuple[Facet, ...], begun: str, whole: bool) -> list[Facet]:
    """Give values that begin so, then those with a word that does, then those that hold it."""
    ranked: list[tuple[int, Facet]] = []
    for facet in facets:
        value = facet.value.casefold()
        if value.startswith(begun):
            ranked.append((0, facet))
        elif f" {begun}" in value or f"/{begun}" in value:
            ranked.append((1, facet))
        elif whole and begun in value:
            ranked.append((2, facet))
    return [facet for _, facet in sorted(ranked, key=lambda one: one[0])]
