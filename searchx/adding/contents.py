"""One picture or text of a row that is to be added: its identity, and what is embedded of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image, ImageOps

from searchx.archives import MAX_PICTURE
from searchx.contents import open_regular
from searchx.errors import BadInput
from searchx.fitting import Fit
from searchx.identity import digest_bytes, digest_pixels, digest_text, normalise
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


def content(one: Any) -> Told | Shown:
    """Read a content of a view: a text is words there, never the path of a picture."""
    return told(one) if isinstance(one, str) else shown(one)


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
