"""Many queries at once, arrays out."""

import base64
import binascii
from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Depends, HTTPException
from fastapi.responses import Response
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from searchx.errors import BadInput
from searchx.filters import from_json
from searchx.query import parse_filter
from searchx.records import Kind, Query, Vectors
from searchx.requests import MAX_K
from searchx.search import Library
from searchx.vectors import NO_ID
from web.answers import document
from web.api.bodies import read, schema_of, sent_json
from web.api.inputs import EITHER, Format, Given, decoded, packed, queries_of
from web.api.search import BODY_PROBLEMS, Served
from web.shapes import MAX_TEXT, Asked

MAX_VECTORS = 20_000
MAX_FOUND = 1_000_000  # hits of all queries together

router = APIRouter(tags=["search"])


class BatchAsked(Asked):
    """Many queries. The vectors alone are compared; words, negative parts and bands are not."""

    queries: Annotated[
        list[Given] | None,
        Field(description="Texts as they stand, or queries of positive parts as JSON."),
    ] = None
    vectors: Annotated[
        list[list[float]] | str | None,
        Field(description="Unit vectors instead: rows, or base64 of float32, little-endian."),
    ] = None
    k: Annotated[int, Field(ge=1, le=MAX_K, description="How many hits of each.")] = 10
    to: Annotated[Kind, Field(description="What to find.")] = "image"
    where: Annotated[
        str | dict[str, object] | None,
        Field(description="What a hit has to be: query language, or a filter as JSON."),
    ] = None
    format: Annotated[Format, Field(description=f"Of ids and scores. {EITHER}.")] = "float"


class BatchAnswer(BaseModel):
    """Ids and exact cosines, a row for each query, best first.

    Where there is no more the id is -1. In base64 ids are int64 and scores float32.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "shape": [2, 2],
                "ids": [[755, 906], [7, 502]],
                "scores": [[0.67, 0.62], [1.0, 0.52]],
                "format": "float",
            }
        }
    )

    shape: tuple[int, int]
    ids: list[list[int]] | str
    scores: list[list[float | None]] | str
    format: Literal["float", "base64"]


@router.post(
    "/api/search/batch",
    summary="Search for many texts, pictures or vectors at once",
    response_model=BatchAnswer,
    responses=BODY_PROBLEMS,
    openapi_extra=schema_of(BatchAsked, {"queries": ["a red bus", {"like": 7}], "k": 5}),
)
def batch(library: Served, sent: Annotated[bytes, Depends(sent_json)]) -> Response:
    asked = read(BatchAsked, sent)
    if (asked.queries is None) == (asked.vectors is None):
        raise BadInput("give queries or vectors, one of the two")
    where = parse_filter(asked.where) if isinstance(asked.where, str) and asked.where else None
    where = from_json(asked.where) if isinstance(asked.where, dict) else where
    queries = queries_of(asked.queries, longest=MAX_TEXT) if asked.queries is not None else None
    rows: Vectors | list[str | Query] = (
        _rows(library, asked.vectors) if queries is None else queries
    )
    if len(rows) * asked.k > MAX_FOUND:
        raise HTTPException(413, f"{len(rows):,} queries of {asked.k:,} hits are too many at once")
    if queries is not None:
        rows = decoded(library, queries)
    ids, scores = library.search_batch(rows, asked.k, asked.to, where=where)
    told = packed(scores, "base64") if asked.format == "base64" else _told(ids, scores)
    answer = {"shape": list(ids.shape), "ids": packed(ids, asked.format), "scores": told}
    return document({**answer, "format": asked.format})


def _told(ids: NDArray[np.int64], scores: NDArray[np.float32]) -> list[list[float | None]]:
    """Give scores as numbers, and none where there is no hit."""
    rows = zip(ids.tolist(), scores.tolist(), strict=True)
    return [
        [None if id == NO_ID else score for id, score in zip(*row, strict=True)] for row in rows
    ]


def _rows(library: Library, vectors: list[list[float]] | str | None) -> Vectors:
    """Read vectors, (q, dim); raises BadInput."""
    dim = library.space.dim
    if isinstance(vectors, str):
        rows = _decoded(vectors, dim)
    elif vectors and {len(one) for one in vectors} == {dim}:
        rows = np.array(vectors, np.float64).clip(-1e30, 1e30).astype(np.float32)
    else:
        raise BadInput(f"vectors: write rows of {dim} numbers, as this library's model gives them")
    if not len(rows):
        raise BadInput("there are no vectors; give at least one")
    if len(rows) > MAX_VECTORS:
        raise HTTPException(413, f"{len(rows):,} vectors are more than {MAX_VECTORS:,}; send fewer")
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
    if not np.all(np.abs(lengths - 1) < 0.01):
        raise BadInput("vectors: each must be a unit vector; divide it by its length")
    return rows


def _decoded(vectors: str, dim: int) -> Vectors:
    try:
        content = base64.b64decode(vectors, validate=True)
    except (binascii.Error, ValueError):
        raise BadInput("vectors: this is no base64") from None
    if len(content) % (4 * dim):
        raise BadInput(
            f"vectors: {len(content):,} bytes are no whole rows of {dim} float32 numbers"
        )
    return np.frombuffer(content, "<f4").reshape(-1, dim).astype(np.float32)
