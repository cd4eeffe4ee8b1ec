"""What is sent in a body: JSON within limits, whose type is checked."""

import json
from typing import TypeVar, cast

from fastapi import HTTPException, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from searchx.errors import BadInput

MAX_VALUES = 20_000  # in one JSON document: each costs memory many times its letters
_JSON = "application/json"
_FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")
_Model = TypeVar("_Model", bound=BaseModel)


async def sent_json(request: Request) -> bytes:
    """Give a body of JSON; fails with 415 for another type."""
    kind = _type_of(request)
    if kind not in (_JSON, ""):
        raise HTTPException(415, f"this takes {_JSON}, not {kind}; say so in Content-Type")
    return await request.body()


async def sent_document(request: Request) -> bytes | None:
    """Give a body of JSON, or None for a form; fails with 415 for another type."""
    kind = _type_of(request)
    if kind not in (_JSON, *_FORMS, ""):
        raise HTTPException(415, f"this takes {_FORMS[0]} or {_JSON}, not {kind}")
    return await request.body() if kind == _JSON else None


def read(model: type[_Model], sent: bytes) -> _Model:
    """Read a document of one shape; fails with 400, 413 or 422."""
    return validated(model, object_of(sent))


def object_of(sent: bytes) -> dict[str, object]:
    """Read a JSON object. Pictures in base64 hold none of the signs that are counted."""
    if sum(map(sent.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise HTTPException(413, f"the document has more than {MAX_VALUES:,} values; send fewer")
    try:
        given = json.loads(sent, parse_constant=_refuse)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise BadInput('the body is no JSON object; send one such as {"text": "a dog"}')
    return cast(dict[str, object], given)


def validated(model: type[_Model], given: dict[str, object]) -> _Model:
    """Check the values of a document; fails with 422, which names the first that is wrong."""
    try:
        return model.model_validate(given, strict=True)
    except ValidationError as error:
        wrong = [{**one, "loc": ("body", *one["loc"])} for one in error.errors()]
        raise RequestValidationError(wrong) from None


def schema_of(model: type[BaseModel], example: object) -> dict[str, object]:
    """Describe for OpenAPI a body that is read here."""
    schema = model.model_json_schema()
    return {
        "requestBody": {
            "required": True,
            "content": {_JSON: {"schema": schema, "example": example}},
        }
    }


def _type_of(request: Request) -> str:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind.encode("ascii", "replace").decode()[:100]


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no number")
