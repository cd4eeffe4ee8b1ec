"""The JSON routes: search, items, and whether the server is well."""

from contextlib import nullcontext
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, File, Form, HTTPException, Query, UploadFile
from fastapi.responses import Response
from pydantic import BaseModel

from searchx import records
from searchx.records import Hit, Kind
from searchx.search import Library
from web.answers import document
from web.pictures import DECODING, MAX_ID, ItemId, item_of, served
from web.wording import is_running_text

MAX_K = 200
MAX_TEXT = 2000  # characters of a query; encoders read far fewer

router = APIRouter()
Served = Annotated[Library, Depends(served)]
_WORDS = "What to look for, in words."
_COUNT = "How many hits, 1 to 200."
_TO = "What to find: images or texts."
_LIKE = "The id of an item: find more like it."
_PROBLEMS: dict[int | str, dict[str, object]] = {
    400: {"description": "Nothing to search for, or an item that is not there"},
    422: {"description": "A value or a picture that cannot be used"},
    503: {"description": "The library or its model cannot be used now"},
}


class LocationShape(BaseModel):
    """Where an item was found. What is not known of the place in the file is left out."""

    source: str
    path: str
    fragment: str
    page: int | None = None
    line: int | None = None
    start: int | None = None
    end: int | None = None


class MetadataShape(BaseModel):
    """What is known of a picture besides its pixels. What is not known is left out.

    `taken` is local time in ISO 8601, with its zone where that is known, and `taken_from` the
    rule that gave it. Degrees are positive to the north and east, `altitude` is in metres.
    """

    taken: str | None = None
    taken_from: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    altitude: float | None = None
    camera: str | None = None
    lens: str | None = None
    orientation: records.Shape | None = None
    format: str | None = None
    bytes: int | None = None
    title: str | None = None
    rating: int | None = None
    keywords: list[str] | None = None


class ItemShape(BaseModel):
    """An item.

    A text has `text` and `pictures`, the ids of the images that it belongs to; an image has
    `width`, `height`, `metadata` and `captions`, the texts that belong to it.
    """

    id: int
    kind: Kind
    path: str
    paths: list[str]
    locations: list[LocationShape]
    text: str | None = None
    pictures: list[int] | None = None
    width: int | None = None
    height: int | None = None
    metadata: MetadataShape | None = None
    captions: list[str] | None = None


class ContextShape(BaseModel):
    """The passages before and after a passage of a document; empty where there is none."""

    before: str
    after: str


class ItemAnswer(ItemShape):
    """An item; a text has `context`."""

    context: ContextShape | None = None


class HitShape(ItemShape):
    """An item with its exact cosine to the query."""

    score: float


class QueryShape(BaseModel):
    """What was asked; `image` is the name of the picture that was sent."""

    text: str
    image: str | None
    like: int | None
    to: Kind
    k: int


class Answer(BaseModel):
    """The hits, best first."""

    query: QueryShape
    hits: list[HitShape]


class State(BaseModel):
    status: Literal["ok", "ready"]


@router.get(
    "/api/search",
    summary="Search by words, or for more like an item",
    response_model=Answer,
    responses=_PROBLEMS,
    tags=["search"],
)
def search(
    library: Served,
    q: Annotated[str, Query(max_length=MAX_TEXT, description=_WORDS)] = "",
    k: Annotated[int, Query(ge=1, le=MAX_K, description=_COUNT)] = 10,
    to: Annotated[Kind, Query(description=_TO)] = "image",
    like: Annotated[int | None, Query(ge=1, le=MAX_ID, description=_LIKE)] = None,
) -> Response:
    query = records.Query(text=q.strip(), like=like)
    return _answer(query, find(library, query, k, to), k, to)


@router.post(
    "/api/search",
    summary="Search by a picture, alone or together with words",
    response_model=Answer,
    responses={**_PROBLEMS, 413: {"description": "The picture is too large"}},
    tags=["search"],
)
def search_by_picture(
    library: Served,
    image: Annotated[UploadFile | None, File(description="A picture file.")] = None,
    q: Annotated[str, Form(max_length=MAX_TEXT, description=_WORDS)] = "",
    k: Annotated[int, Form(ge=1, le=MAX_K, description=_COUNT)] = 10,
    to: Annotated[Kind, Form(description=_TO)] = "image",
    like: Annotated[int | None, Form(ge=1, le=MAX_ID, description=_LIKE)] = None,
) -> Response:
    query = records.Query(text=q.strip(), image=content_of(image), like=like)
    name = image.filename if image is not None and query.image is not None else None
    return _answer(query, find(library, query, k, to), k, to, name)


@router.get(
    "/api/items/{id}",
    summary="An item with its locations, and a text with what stands beside it",
    response_model=ItemAnswer,
    responses={404: {"description": "There is no such item"}},
    tags=["items"],
)
def item(id: ItemId, library: Served) -> Response:
    found = item_of(library, id)
    shape = Hit(found, 0.0).as_dict()
    del shape["score"]  # an item by itself answers no question
    if found.kind == "text":
        before, after = context_of(library, found)
        shape["context"] = ContextShape(before=before, after=after).model_dump()
    return document(shape)


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


def find(library: Library, query: records.Query, k: int, to: Kind) -> list[Hit]:
    """Search for a query that has at least one part; fails with 400 for one that has none."""
    if not query.text and query.image is None and query.like is None:
        raise HTTPException(400, "nothing to search for; give words (q), a picture or like")
    with nullcontext() if query.image is None else DECODING:
        return library.search(query, k, to)


def context_of(library: Library, item: records.Item) -> tuple[str, str]:
    """Give the passages before and after a text; those of captions and rows are no context."""
    if item.kind != "text" or not is_running_text(item.locations[0]):
        return "", ""
    return library.context(item.id)


def content_of(image: UploadFile | None) -> bytes | None:
    """Give the bytes of an upload; None where a form was sent without choosing a file."""
    if image is None:
        return None
    content = image.file.read()
    return content if content or image.filename else None


def _answer(
    query: records.Query, hits: list[Hit], k: int, to: Kind, image: str | None = None
) -> Response:
    asked = QueryShape(text=query.text, image=image, like=query.like, to=to, k=k)
    return document({"query": asked.model_dump(), "hits": [hit.as_dict() for hit in hits]})
