"""Search over HTTP, and what pages share of it."""

import secrets
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Form, HTTPException, Query, UploadFile
from fastapi.responses import Response

from searchx import records
from searchx.errors import UnreadableImage
from searchx.query import notice, parse, query_from_json
from searchx.records import Hit, Part, Target
from searchx.search import Library
from web.answers import document
from web.api.bodies import object_of, sent_document, validated
from web.decoding import taken_in
from web.pictures import served
from web.shapes import (
    MAX_TEXT,
    Answer,
    DocumentAsked,
    FormAsked,
    How,
    Sample,
    SampleAsked,
    SearchAsked,
)
from web.wording import is_running_text

SEEDS = 2**31

router = APIRouter()
Served = Annotated[Library, Depends(served)]
PROBLEMS: dict[int | str, dict[str, object]] = {
    400: {"description": "Nothing to search for, or a query, filter or item that cannot be"},
    422: {"description": "A value or a picture that cannot be used"},
    503: {"description": "The library or its model cannot be used now"},
}
BODY_PROBLEMS: dict[int | str, dict[str, object]] = {
    **PROBLEMS,
    413: {"description": "What was sent is too large"},
    415: {"description": "What was sent is of a type that is not taken here"},
}
_DOCUMENT = {"content": {"application/json": {"schema": DocumentAsked.model_json_schema()}}}


@router.get(
    "/api/search",
    summary="Search by words, filters, or for more like an item",
    response_model=Answer,
    responses=PROBLEMS,
    tags=["search"],
)
def search(library: Served, asked: Annotated[SearchAsked, Query()]) -> Response:
    return answered(library, query_of(asked.q, like=asked.like), asked)


@router.post(
    "/api/search",
    summary="Search by a picture in a form, or by a query as a JSON document",
    response_model=Answer,
    responses=BODY_PROBLEMS,
    openapi_extra={"requestBody": _DOCUMENT},
    tags=["search"],
)
def search_by_body(
    library: Served,
    asked: Annotated[FormAsked, Form(media_type="multipart/form-data")],
    sent: Annotated[bytes | None, Depends(sent_document)],
) -> Response:
    if sent is not None:
        return _answer_document(library, sent)
    content = content_of(asked.image)
    name = asked.image.filename if asked.image is not None and content is not None else None
    return answered(library, query_of(asked.q, content, asked.like), asked, name)


@router.get(
    "/api/random",
    summary="Items at random, to look around",
    response_model=Sample,
    responses=PROBLEMS,
    tags=["search"],
)
def random(library: Served, asked: Annotated[SampleAsked, Query()]) -> Response:
    seed = secrets.randbelow(SEEDS) if asked.seed is None else asked.seed
    items = library.sample(asked.k, asked.to, where=asked.where, seed=seed)
    shapes = [Hit(item, 0.0).as_dict() for item in items]
    return document({"query": asked.model_dump() | {"seed": seed}, "hits": shapes})


def query_of(text: str, image: bytes | None = None, like: int | None = None) -> records.Query:
    """Read the query language, and add what stands beside it; raises BadInput.

    No picture is read that the text names by its path.
    """
    query = parse(text, files=False)
    beside = tuple(one for one in (Part(image=image), Part(like=like)) if not one.is_empty)
    return replace(query, parts=query.parts + beside)


def find(
    library: Library, query: records.Query, how: How, to: Target, where: str | None = None
) -> records.Answer:
    """Search for a query; fails with 400 for one that asks for nothing.

    `to` is what to find unless the query says so itself; `where` is written in the query
    language, and stands beside the query's own filter.
    """
    is_listed = bool(query.where or query.to or (where or "").strip())
    if not query.every_part and not is_listed:
        raise HTTPException(400, "nothing to search for; give words (q), a picture, like or where")
    return library.ask(
        taken_in(library, query),
        how.k,
        to,
        where=where,
        after=how.after or None,
        group=how.group,
        diversity=how.diversity,
    )


def context_of(library: Library, item: records.Item) -> tuple[str, str]:
    """Give the passages before and after a text; those of captions and rows are no context."""
    if item.kind != "text" or not is_running_text(item.locations[0]):
        return "", ""
    return library.context(item.id)


def content_of(image: UploadFile | None) -> bytes | None:
    """Give the bytes of an upload; None where a form was sent without choosing a file.

    Raises UnreadableImage for an empty file.
    """
    content = b"" if image is None else image.file.read()
    if image is not None and image.filename and not content:
        raise UnreadableImage(f"{image.filename} is empty; choose another picture")
    return content or None


def answered(
    library: Library, query: records.Query, asked: SearchAsked, image: str | None = None
) -> Response:
    answer = replace(find(library, query, asked, asked.to, asked.where), notice=notice(asked.q))
    shape = asked.model_dump(exclude={"q", "explain", "image"})
    shape |= {"text": asked.q.strip(), "image": image, "to": query.to or asked.to}
    return _written(shape, answer, asked.explain)


def _answer_document(library: Library, sent: bytes) -> Response:
    """Answer a query in its JSON form."""
    given = object_of(sent)
    how = validated(How, {name: given.pop(name) for name in [*How.model_fields] if name in given})
    query = query_from_json(given)
    for one in query.every_part:
        if len(one.text) > MAX_TEXT:
            raise HTTPException(422, f"a text is longer than {MAX_TEXT:,} characters; shorten it")
    answer = replace(find(library, query, how, "image"), notice=notice(query.text))
    shape = how.model_dump(exclude={"explain"})
    shape |= {"text": query.text, "image": None, "like": query.like}
    shape |= {"to": query.to or "image", "where": given.get("where")}
    return _written(shape, answer, how.explain)


def _written(asked: dict[str, object], answer: records.Answer, explain: bool) -> Response:
    plans = {"explained": [one.as_dict() for one in answer.explained]} if explain else {}
    return document({"query": asked, **answer.as_dict(), **plans})
