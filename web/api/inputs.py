"""Many texts and pictures in one document, and arrays out: as numbers or as base64."""

import base64
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from fastapi import HTTPException
from numpy.typing import NDArray

from searchx.errors import BadInput
from searchx.query import query_from_json
from searchx.records import Query
from searchx.search import Library
from web.decoding import taken_in

MAX_INPUTS = 1000
MAX_PICTURES = 64
MAX_INPUT = 20_000  # characters of a text; encoders read far fewer
MAX_CHARACTERS = 1_000_000  # of all texts together

Format: TypeAlias = Literal["float", "base64"]
Given: TypeAlias = str | dict[str, object]
EITHER = "base64: little-endian, row after row, and a fraction of the size"


def queries_of(inputs: Sequence[Given], *, longest: int = MAX_INPUT) -> list[str | Query]:
    """Read texts, and queries in their JSON form; raises BadInput, which tells the place.

    Fails with 413 for more than can be answered at once.
    """
    if not inputs:
        raise BadInput("there is nothing to embed; give at least one text or picture")
    if len(inputs) > MAX_INPUTS:
        raise HTTPException(413, f"{len(inputs):,} inputs are more than {MAX_INPUTS:,}; send fewer")
    queries = [_query(one, place) for place, one in enumerate(inputs)]
    _check(queries, longest)
    return queries


def decoded(library: Library, queries: Sequence[str | Query]) -> list[str | Query]:
    """Give queries whose pictures, which somebody sent, are safe to be decoded here."""
    return [one if isinstance(one, str) else taken_in(library, one) for one in queries]


def packed(array: NDArray[Any], format: Format) -> object:
    """Give an array as lists, or as the base64 of its bytes, little-endian."""
    if format == "float":
        return array.tolist()
    kind = array.dtype.newbyteorder("<")
    return base64.b64encode(np.ascontiguousarray(array, kind).tobytes()).decode("ascii")


def _query(given: Given, place: int) -> str | Query:
    if isinstance(given, str):
        return given
    try:
        return query_from_json(given)
    except BadInput as error:
        raise BadInput(f"input {place}: {error}") from None


def _check(queries: Sequence[str | Query], longest: int) -> None:
    texts = [text for one in queries for text in _texts(one)]
    if any(len(one) > longest for one in texts):
        raise HTTPException(422, f"a text is longer than {longest:,} characters; shorten it")
    if sum(map(len, texts)) > MAX_CHARACTERS:
        raise HTTPException(413, f"all texts are more than {MAX_CHARACTERS:,} characters; split")
    if sum(map(_pictures, queries)) > MAX_PICTURES:
        raise HTTPException(413, f"there are more than {MAX_PICTURES} pictures; send fewer at once")


def _texts(query: str | Query) -> list[str]:
    return [query] if isinstance(query, str) else [one.text for one in query.every_part]


def _pictures(query: str | Query) -> int:
    return 0 if isinstance(query, str) else sum(one.image is not None for one in query.every_part)
