"""One picture or text of a row that is to be added: its identity, and what is embedded of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from searchx.archives import MAX_PICTURE
from searchx.contents import open_regular
from searchx.errors import BadInput
from searchx.fitting import Fit
from searchx.identity import digest_bytes, digest_pixels, digest_text, digest_vector, normalise
from searchx.pictures.images import read_picture
from searchx.records import Kind, Pixels

Key: TypeAlias = tuple[Kind, str]  # kind and digest of an item


@dataclass(frozen=True, slots=True)
class Told:
    """A text that may be embedded."""

    digest: str
    text: str

    @property
    def key(self) -> Key:
        return "text", self.digest


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture that may be embedded."""

    digest: str
    source: bytes | Image.Image

    @property
    def key(self) -> Key:
        return "image", self.digest

    def fitted(self, fit: Fit) -> "Fitted":
        """Decode it; raises UnreadableImage."""
        if isinstance(self.source, bytes):
            picture = read_picture(self.source, at_least=fit.side)
            return Fitted(fit(picture.image), picture.width, picture.height)
        return Fitted(fit(self.source), *self.source.size)


@dataclass(frozen=True, slots=True)
class Several:
    """Pictures of one thing, which together are one item: the mean of their unit vectors."""

    digest: str
    parts: tuple[Shown, ...]  # each once, two or more

    @property
    def key(self) -> Key:
        return "image", self.digest


@dataclass(frozen=True, slots=True)
class Held:
    """A vector that was given for a view."""

    digest: str
    kind: Kind
    row: bytes  # float16, unit length

    @property
    def key(self) -> Key:
        return self.kind, self.digest


Content: TypeAlias = Told | Shown | Several | Held


@dataclass(frozen=True, slots=True)
class Fitted:
    """A picture ready for the encoder."""

    pixels: Pixels
    width: int  # of the picture as it was given
    height: int


def told(text: Any) -> Told:
    """Read a text; raises BadInput for what is none."""
    if not isinstance(text, str):
        raise BadInput(f"its text is {type(text).__name__}; give words")
    words = normalise(text)
    if not words:
        raise BadInput("its text is empty")
    return Told(digest_text(words), words)


def shown(image: Any) -> Shown:
    """Read a picture: a path, the bytes of a file, a PIL image, pixels, or a mapping with these.

    Raises BadInput, in one line.
    """
    match image:
        case {"bytes": bytes(data)} | bytes(data):
            return _of_bytes(data)
        case bytearray() | memoryview():
            return _of_bytes(bytes(image))
        case Path() | str():
            return _of_bytes(_read(str(image)))
        case {"path": str(path)}:
            return _of_bytes(_read(path))
        case Image.Image():
            return _of_image(image)
        case np.ndarray() if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
            if 0 in image.shape:
                raise BadInput("its picture has no pixels")
            return Shown(digest_pixels(image), Image.fromarray(image))
    raise BadInput(
        f"its picture is {type(image).__name__}; give a path, bytes, a PIL image, or pixels "
        "(h, w, 3) uint8"
    )


def pictured(one: Any) -> Shown | Several:
    """Read a picture, or a list of several of one thing. Raises BadInput."""
    return _several(one) if isinstance(one, list | tuple) else shown(one)


def content(one: Any, id: str, name: str, kind: Kind, dim: int) -> Content:
    """Read a content of a view: a text, a picture, several of them, or a vector of the kind.

    A text is words there, never the path of a picture. Raises BadInput, also for a vector of
    another width.
    """
    if isinstance(one, str):
        return told(one)
    if is_vector(one):
        return _held(one, id, name, kind, dim)
    if isinstance(one, list | tuple) and any(isinstance(part, str) for part in one):
        raise BadInput("its list holds texts; join them, or give paths of pictures as pathlib.Path")
    return pictured(one)


def is_vector(one: Any) -> bool:
    """Tell whether a content is a row of numbers."""
    if isinstance(one, np.ndarray):
        return one.ndim == 1 and one.dtype.kind in "fiu"
    if not isinstance(one, list | tuple) or not one or isinstance(one[0], bool):
        return False
    return isinstance(one[0], int | float | np.integer | np.floating)


def is_nothing(one: Any) -> bool:
    """Tell whether a row has no such view: None, or a list of nothing."""
    return one is None or (isinstance(one, list | tuple) and all(part is None for part in one))


def mean(rows: Sequence[bytes]) -> bytes | None:
    """Give the mean of unit rows as it is stored; None where nothing is left of them."""
    halves = np.array([np.frombuffer(row, np.float16) for row in rows])
    return unit_half(halves.astype(np.float32).mean(axis=0))


def unit_half(row: NDArray[Any]) -> bytes | None:
    """Give a row (dim,) at unit length as it is stored; None for one without length, or end."""
    wide = row.astype(np.float64)
    largest = np.abs(wide).max(initial=0.0)
    if not largest or not np.isfinite(largest):
        return None
    wide /= largest  # else the squares of very large or small numbers vanish
    return bytes((wide / np.linalg.norm(wide)).astype(np.float16).tobytes())


def _several(pictures: Sequence[Any]) -> Shown | Several:
    """Read pictures that stand for one thing; their order does not matter."""
    each = {}
    for place, one in enumerate(pictures):
        if one is None:
            continue
        try:
            part = shown(one)
        except BadInput as error:
            raise BadInput(f"picture {place + 1} of {len(pictures)}: {error}") from error
        each[part.digest] = part
    parts = tuple(each[digest] for digest in sorted(each))
    if len(parts) == 1:
        return parts[0]
    return Several(digest_bytes("\0".join(sorted(each)).encode()), parts)


def _held(one: Any, id: str, name: str, kind: Kind, dim: int) -> Held:
    try:
        row = np.asarray(one, np.float64)
    except (TypeError, ValueError) as error:
        raise BadInput("its vector holds what is no number") from error
    if len(row) != dim:
        raise BadInput(f"its vector has {len(row)} dimensions, the library has {dim}")
    data = unit_half(row)
    if data is None:
        raise BadInput("its vector has no length, or holds a number that is not finite")
    return Held(digest_vector(kind, data, id, name), kind, data)


def _of_bytes(data: bytes) -> Shown:
    if not data:
        raise BadInput("its picture is empty")
    return Shown(digest_bytes(data), data)


def _of_image(image: Image.Image) -> Shown:
    try:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise BadInput(f"its picture cannot be decoded ({error})") from error
    return Shown(digest_pixels(np.asarray(upright)), upright)


def _read(path: str) -> bytes:
    try:
        with open_regular(path) as file:
            data = file.read(MAX_PICTURE + 1)
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        raise BadInput(f"{path} cannot be read ({said})") from error
    if len(data) > MAX_PICTURE:
        raise BadInput(f"{path} is larger than {MAX_PICTURE:,} bytes")
    return data
