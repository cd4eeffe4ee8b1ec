"""The form of a query for programs: JSON."""

import base64
import binascii
import re
from pathlib import Path
from typing import Final

from searchx.errors import BadInput
from searchx.filters import MAX_VALUE, as_json, from_json, named, suggested
from searchx.query.reading import HALF, MAX_ID, MAX_PARTS, WEIGHTS
from searchx.records import Part, Query, Target

_CONTENT: Final = ("text", "image", "file", "like")
_DATA: Final = re.compile(r"data:[\w.+-]*/?[\w.+-]*(?:;[\w=.+-]+)*,", re.ASCII)
_TARGETS: Final[tuple[Target, ...]] = ("image", "text", "both")


def query_as_json(query: Query) -> dict[str, object]:
    """Give the form for programs; what is not asked is left out.

    The bytes of a picture become `image`, in base64; a path becomes `file`.
    """
    shape = _content(query.text, query.image, query.like)
    if query.parts:
        shape["parts"] = [
            _content(one.text, one.image, one.like) | {"weight": one.weight} for one in query.parts
        ]
    if query.where is not None:
        shape["where"] = as_json(query.where)
    return shape | ({"to": query.to} if query.to else {})


def query_from_json(document: object, *, files: bool = False) -> Query:
    """Read the form for programs; raises BadInput, which tells what is wrong and where.

    Without `files` a picture is refused that is named by its path: for servers.
    """
    given = _object(document, "the query", (*_CONTENT, "parts", "where", "to"))
    text, image, like = _contents(given, "", files)
    to = given.get("to")
    if to is not None and to not in _TARGETS:
        raise BadInput(f"to: {suggested(str(to), _TARGETS)}")
    where = given.get("where")
    return Query(
        text=text,
        image=image,
        like=like,
        parts=_parts(given.get("parts"), files),
        where=None if where is None else from_json(where),
        to=next((target for target in _TARGETS if target == to), None),
    )


def _content(text: str, image: Path | bytes | None, like: int | None) -> dict[str, object]:
    shape: dict[str, object] = {"text": text} if text else {}
    if isinstance(image, bytes):
        shape["image"] = base64.b64encode(image).decode("ascii")
    elif image is not None:
        shape["file"] = str(image)
    return shape if like is None else shape | {"like": like}


def _object(document: object, where: str, known: tuple[str, ...]) -> dict[str, object]:
    if not isinstance(document, dict):
        raise BadInput(f'{where}: write an object such as {{"text": "a dog"}}')
    for key in document:
        if key not in known:
            raise BadInput(f"{where}: no key {named(key)}; {suggested(str(key), known)}")
    return document


def _parts(document: object, files: bool) -> tuple[Part, ...]:
    if document is None:
        return ()
    if not isinstance(document, list):
        raise BadInput("parts: write a list, in brackets")
    if len(document) > MAX_PARTS:
        raise BadInput(f"parts: a query has at most {MAX_PARTS}; leave some out")
    return tuple(_part(one, f"parts[{place}]", files) for place, one in enumerate(document))


def _part(document: object, where: str, files: bool) -> Part:
    given = _object(document, where, (*_CONTENT, "weight"))
    text, image, like = _contents(given, f"{where}.", files)
    if [bool(text.strip()), image is not None, like is not None].count(True) != 1:
        raise BadInput(f"{where}: write one of text, image and like")
    return Part(text, image, like, _weight(given.get("weight", 1.0), f"{where}.weight"))


def _contents(
    given: dict[str, object], where: str, files: bool
) -> tuple[str, Path | bytes | None, int | None]:
    text, like = given.get("text"), given.get("like")
    if text is not None and not isinstance(text, str):
        raise BadInput(f"{where}text: write a text")
    if like is not None and (type(like) is not int or not 1 <= like <= MAX_ID):
        raise BadInput(f"{where}like: write the id of an item, a whole number")
    picture: Path | bytes | None = None
    if given.get("image") is not None and given.get("file") is not None:
        raise BadInput(f"{where}file: write image or file, not both")
    if given.get("image") is not None:
        picture = _bytes(given["image"], f"{where}image")
    if given.get("file") is not None:
        picture = _path(given["file"], f"{where}file", files)
    return HALF.sub("\ufffd", text or ""), picture, like


def _path(file: object, where: str, files: bool) -> Path:
    if not files:
        raise BadInput(f"{where}: no files are opened here; send the picture as image")
    if not isinstance(file, str) or not file or len(file) > MAX_VALUE or "\0" in file:
        raise BadInput(f"{where}: write the path of a picture")
    return Path(file)


def _bytes(image: object, where: str) -> bytes:
    wrong = f"{where}: write the bytes of a picture in base64, or as a data: address"
    if not isinstance(image, str):
        raise BadInput(wrong)
    found = _DATA.match(image)
    if found and not found[0].endswith(";base64,"):
        raise BadInput(wrong)
    encoded = image[found.end() :] if found else image
    try:
        content = base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError):
        raise BadInput(wrong) from None
    if not content:
        raise BadInput(wrong)
    return content


def _weight(value: object, where: str) -> float:
    low, high = WEIGHTS
    if isinstance(value, int | float) and value is not True and low <= abs(value) <= high:
        return float(value)
    raise BadInput(f"{where}: a weight is a number from {low:g} to {high:g}, or below zero")
