"""What is sent to a server: pictures read here, and as much at a time as one request may hold."""

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from searchx.errors import BadInput
from searchx.query import query_as_json
from searchx.records import Part, Query, Vectors

_Sizes: TypeAlias = tuple[int, int, int, int]  # characters, signs of JSON, pictures, their bytes

_FOUND: Final = 1_000_000  # hits of one batch
_VECTORS: Final = 20_000  # of one request
_QUERIES: Final = 256
_BYTES: Final = 16 * 2**20
# Half of what a server takes: names, and a filter that is given besides, count as well.
_MOST: Final[_Sizes] = (500_000, 10_000, 32, _BYTES)
_SIGNS: Final = ",[{"  # which a server counts, whatever they stand for
_SIGNS_OF_A_PART: Final = 6  # beside those in its text


def parts(queries: Vectors | Iterable[str | Query], k: int) -> Iterator[dict[str, Any]]:
    """Give queries, or vectors, as much at a time as one request may hold. Raises BadInput.

    A single query that is more than that is sent all the same: the server tells what is wrong.
    """
    fewer = max(1, _FOUND // max(1, int(k)))
    if isinstance(queries, np.ndarray):
        yield from _rows(queries, min(fewer, _VECTORS))
        return
    if isinstance(queries, str):
        raise BadInput("this takes several queries; give a list")
    part: list[object] = []
    held: _Sizes = (0, 0, 0, 0)
    for place, one in enumerate(queries):
        asked = _asked(one, place)
        whole = _sum(held, _sizes(asked))
        is_full = len(part) == min(fewer, _QUERIES)
        if part and (is_full or any(a > b for a, b in zip(whole, _MOST, strict=True))):
            yield {"queries": part}
            part, whole = [], _sizes(asked)
        part.append(asked if isinstance(asked, str) else query_as_json(asked))
        held = whole
    if part:
        yield {"queries": part}


def carried(query: Query) -> Query:
    """Give a query whose pictures are all here as bytes; raises BadInput for one without a file."""
    parts = tuple(replace(one, image=_bytes(one.image)) for one in query.parts)
    return replace(query, image=_bytes(query.image), parts=parts)


def texts_of(texts: Sequence[object]) -> Iterator[str]:
    """Give the texts of a sequence, or of an Arrow array. Raises BadInput for what is no text."""
    for place, one in enumerate(_listed(texts)):
        if not isinstance(one, str) or not one.strip():
            said = "empty" if isinstance(one, str) else type(one).__name__
            raise BadInput(f"text {place} of those to embed is {said}; give words")
        yield one.strip()


def pictures_of(images: Sequence[object]) -> Iterator[Query]:
    """Give the pictures of a sequence, or of an Arrow array, each read when it is asked for.

    They are what `Library.embed` takes. Raises BadInput.
    """
    for place, one in enumerate(_listed(images)):
        try:
            yield Query(image=_content(one))
        except BadInput as error:
            raise BadInput(f"image {place} of those to embed: {error}") from error


def _listed(values: Sequence[object]) -> Sequence[object]:
    if isinstance(values, str | bytes):
        raise BadInput("embed takes several texts or pictures; give a list")
    listed: Sequence[object] = values.to_pylist() if hasattr(values, "to_pylist") else values
    return listed


def _content(image: object) -> bytes:
    """Give the bytes of a picture file: of a path, a PIL image, or pixels (height, width, 3)."""
    from PIL import Image

    match image:
        case {"bytes": bytes(data)} | bytes(data):
            return data
        case Path() | str():
            return _read(Path(image))
        case {"path": str(path)}:
            return _read(Path(path))
        case Image.Image():
            return _packed(image)
        case np.ndarray() if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
            return _packed(Image.fromarray(image))
    said = f"a mapping of {sorted(image)}" if isinstance(image, Mapping) else type(image).__name__
    raise BadInput(f"it is {said}; give a path, bytes, a PIL image, or pixels (h, w, 3) uint8")


def _packed(picture: Any) -> bytes:
    import io

    packed = io.BytesIO()
    picture.convert("RGB").save(packed, "PNG", compress_level=1)
    return packed.getvalue()


def _bytes(image: Path | bytes | None) -> bytes | None:
    return _read(image) if isinstance(image, Path) else image


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        raise BadInput(f"{path} cannot be read ({said})") from None


def _rows(queries: Vectors, most: int) -> Iterator[dict[str, Any]]:
    if queries.ndim != 2:
        raise BadInput(f"vectors have the shape {queries.shape}; give rows, (q, dim)")
    rows = np.ascontiguousarray(queries, "<f4")
    step = max(1, min(most, _BYTES // max(1, rows.shape[1] * 4)))
    for first in range(0, len(rows), step):
        content = rows[first : first + step].tobytes()
        yield {"vectors": base64.b64encode(content).decode("ascii")}


def _asked(query: object, place: int) -> str | Query:
    if isinstance(query, Query):
        return carried(query)
    if isinstance(query, str):
        return query
    raise BadInput(f"query {place} is {type(query).__name__}; give texts or Query records")


def _sizes(query: str | Query) -> _Sizes:
    held = (Part(query),) if isinstance(query, str) else query.every_part
    text = "".join(one.text for one in held)
    signs = sum(map(text.count, _SIGNS)) + _SIGNS_OF_A_PART * len(held)
    pictures = [len(one.image) for one in held if isinstance(one.image, bytes)]
    return len(text), signs, len(pictures), sum(pictures)


def _sum(some: _Sizes, more: _Sizes) -> _Sizes:
    return some[0] + more[0], some[1] + more[1], some[2] + more[2], some[3] + more[3]
