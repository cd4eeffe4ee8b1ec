"""The JSON routes about the whole library: its clusters, duplicates, status, skipped files."""

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from searchx.gathering import Duplicates
from searchx.records import Hit, Kind, Skipped
from searchx.search import Library
from searchx.status import Status, bytes_of
from web.answers import document
from web.api import query_of
from web.pictures import MAX_ID, served
from web.shapes import MAX_CURSOR, MAX_K, MAX_TEXT, Asked, Filters, HitShape, Place
from web.waiting import Waits

COMPARING = 20.0  # seconds that a program is kept waiting
_ADDING_UP = 0.25  # likewise, for the size on disk
_FRESH = 60.0  # seconds that a size on disk is good for

router = APIRouter(tags=["library"])
Served = Annotated[Library, Depends(served)]
_PROBLEMS: dict[int | str, dict[str, object]] = {
    400: {"description": "A cluster, filter or cursor that cannot be"},
    422: {"description": "A value that cannot be used"},
    503: {"description": "The library cannot be used now"},
}
Count = Annotated[int, Field(ge=1, le=MAX_K, description="How many, 1 to 200.")]
Listed = Annotated[Kind, Field(description="Of images or of texts.")]


def waits_of(request: Request) -> Waits:
    """Give the long work of this app."""
    waits: Waits = request.app.state.waits
    return waits


WaitsHere = Annotated[Waits, Depends(waits_of)]


class ClustersAsked(Asked):
    """A cluster as an address asks for it."""

    at: Annotated[
        str,
        Field(max_length=MAX_CURSOR, description="Its address, such as 3.1; empty for all."),
    ] = ""
    to: Listed = "image"
    k: Count = 20
    q: Annotated[
        str, Field(max_length=MAX_TEXT, description="Words; the items most like them come first.")
    ] = ""
    after: Place = None


class DuplicatesAsked(Asked):
    """Groups of duplicates as an address asks for them."""

    to: Listed = "image"
    k: Count = 20
    where: Filters = None
    after: Place = None


class SkippedAsked(Asked):
    """Skipped files as an address asks for them."""

    k: Count = 100
    reason: Annotated[
        str | None, Field(max_length=MAX_TEXT, description="Those of this reason only.")
    ] = None
    after: Annotated[
        int, Field(ge=0, le=MAX_ID, description="The number that came with the page before.")
    ] = 0


class ClusterShape(BaseModel):
    """A cluster: its address, how many items it has, words for it, ids that stand for it."""

    at: str
    size: int
    words: list[str]
    typical: list[int]


class ClustersAnswer(BaseModel):
    """The way to a cluster, what it divides into, and its items."""

    kind: Kind
    trail: list[ClusterShape]
    parts: list[ClusterShape]
    hits: list[HitShape]
    cursor: str | None


class CopyShape(BaseModel):
    """A file of a group. `likeness` is its cosine to the best one; `bytes` 0: part of a file."""

    id: int
    path: str
    bytes: int
    modified: str | None
    width: int | None
    height: int | None
    likeness: float


class GroupShape(BaseModel):
    """Files that hold the same, or nearly. `bytes` are those of the others."""

    best: CopyShape
    others: list[CopyShape]
    reason: Literal["pixels", "bytes", "oldest", "first"]
    exact: bool
    bytes: int


class DuplicatesAnswer(BaseModel):
    """Groups, those first that take up the most; `count`, `files` and `bytes` are of all."""

    groups: list[GroupShape]
    count: int
    files: int
    bytes: int
    threshold: float
    cursor: str | None


class SkippedShape(BaseModel):
    """A skipped file; `after` with its number gives those that come after it."""

    number: int
    path: str
    reason: str


class SkippedAnswer(BaseModel):
    """Some skipped files; `after` gives the next ones, null where there are none."""

    skipped: list[SkippedShape]
    after: int | None


@router.get(
    "/api/clusters",
    summary="What the library holds, divided into what is alike",
    response_model=ClustersAnswer,
    responses=_PROBLEMS,
)
def clusters(
    library: Served, waits: WaitsHere, asked: Annotated[ClustersAsked, Query()]
) -> Response:
    words, after = asked.q.strip(), asked.after or None
    query = query_of(words) if words else None  # no picture is read by its path
    level = waits.result(
        ("clusters", asked.at, asked.to, asked.k, words, after),
        lambda: library.clusters(asked.at, asked.to, asked.k, query=query, after=after),
        COMPARING,
    )
    if level is None:
        line = "the library is still being divided into clusters; ask again"
        raise HTTPException(503, line, headers={"retry-after": "5"})
    pairs = zip(level.items, level.scores, strict=True)
    scored = bool(asked.at or words)
    return document(
        {
            "kind": level.kind,
            "trail": [one.as_dict() for one in level.trail],
            "parts": [one.as_dict() for one in level.parts],
            "hits": [Hit(item, score if scored else 0.0).as_dict() for item, score in pairs],
            "cursor": level.cursor,
        }
    )


@router.get(
    "/api/duplicates",
    summary="Groups of files that hold the same, or nearly",
    response_model=DuplicatesAnswer,
    responses=_PROBLEMS,
)
def duplicates(
    library: Served, waits: WaitsHere, asked: Annotated[DuplicatesAsked, Query()]
) -> Response:
    found = gathered(library, waits, asked, COMPARING)
    if found is None:
        line = f"the items are still being compared ({library.gathered:.0%}); ask again"
        raise HTTPException(503, line, headers={"retry-after": "5"})
    return document(found.as_dict())


@router.get(
    "/api/status",
    summary="What the library holds, and how far a run of the indexer is",
    response_model=dict[str, object],
    responses=_PROBLEMS,
)
def status(library: Served, waits: WaitsHere) -> Response:
    """Give what `searchx status --json` prints, without the list of skipped files."""
    state = state_of(library)
    shape = state.as_dict(listed=False)
    return document(shape | {"bytes": size_of(library, waits)})


@router.get(
    "/api/skipped",
    summary="The files that could not be indexed, each with its reason",
    response_model=SkippedAnswer,
    responses=_PROBLEMS,
)
def skipped(library: Served, asked: Annotated[SkippedAsked, Query()]) -> Response:
    found = library.some_skipped(asked.k, asked.reason, asked.after)
    shape = [{"number": at, "path": one.path, "reason": one.reason} for at, one in found]
    return document({"skipped": shape, "after": next_after(library, found, asked.reason, asked.k)})


def gathered(
    library: Library, waits: Waits, asked: DuplicatesAsked, seconds: float
) -> Duplicates | None:
    """Give a page of groups, or None where they are not found so soon. Raises BadInput."""
    where, after = (asked.where or "").strip() or None, asked.after or None
    return waits.result(
        ("duplicates", asked.to, asked.k, where, after),
        lambda: library.duplicate_groups(asked.k, asked.to, where=where, after=after),
        seconds,
    )


def state_of(library: Library) -> Status:
    """Give the status that costs no walk."""
    return library.status(whole=False)


def size_of(library: Library, waits: Waits) -> int | None:
    """Give the bytes on disk as of the last minute; None where they are still being added up."""
    return waits.recent("bytes", lambda: bytes_of(library.directory), _ADDING_UP, _FRESH)


def next_after(
    library: Library, found: Sequence[tuple[int, Skipped]], reason: str | None, k: int
) -> int | None:
    """Give the number that the next page of skipped files comes after; None for no more."""
    if len(found) < k:
        return None
    last = found[-1][0]
    return last if library.some_skipped(1, reason, last) else None
