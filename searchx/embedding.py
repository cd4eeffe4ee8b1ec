"""Embed many texts or pictures for a program, batch by batch."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from searchx.encoder import Encoder
from searchx.errors import BadInput, UnreadableImage
from searchx.pictures.images import open_image
from searchx.questions import embedded_texts
from searchx.records import Pixels, Vectors

_TEXTS: Final = 256  # embedded together
_DECODERS: Final = 2  # threads


def embed_texts(encoder: Encoder, texts: Sequence[Any], as_items: bool = False) -> Vectors:
    """Embed texts, (n, dim) unit rows in order, as queries or as an indexer embeds passages.

    Takes a sequence or an Arrow array of strings. Raises BadInput for what is no text, or empty.
    """
    rows = [
        encoder.embed_texts(block) if as_items else embedded_texts(encoder, block)
        for block in _blocks(texts, _TEXTS, _checked)
    ]
    return _joined(rows, encoder)


def embed_images(encoder: Encoder, images: Sequence[Any]) -> Vectors:
    """Embed pictures, (n, dim) unit rows in order.

    Each is a path, the bytes of a file, a PIL image, pixels (height, width, 3) uint8, or a mapping
    with `bytes` or `path`, as Hugging Face `datasets` stores pictures; an Arrow array of any of
    these will do. Raises UnreadableImage with the place of the one that cannot be read.
    """

    def fitted(numbered: tuple[int, object]) -> Pixels:
        place, image = numbered
        try:
            return encoder.fit(_opened(image, encoder.fit.side))
        except UnreadableImage as error:
            raise UnreadableImage(f"image {place} of those to embed: {error}") from error
        except BadInput as error:
            raise BadInput(f"image {place} of those to embed: {error}") from error

    with ThreadPoolExecutor(_DECODERS) as decoders:
        rows = [
            encoder.embed_images(list(decoders.map(fitted, block)))
            for block in _blocks(images, encoder.batch_size, lambda place, one: (place, one))
        ]
    return _joined(rows, encoder)


def _blocks(values: Sequence[Any], size: int, taken: Any) -> Iterator[list[Any]]:
    if isinstance(values, str | bytes):
        raise BadInput("embed takes several texts or pictures; give a list")
    for start in range(0, len(values), size):
        block = values[start : start + size]
        listed = block.to_pylist() if hasattr(block, "to_pylist") else block  # Arrow
        yield [taken(start + place, one) for place, one in enumerate(listed)]


def _checked(place: int, text: object) -> str:
    if not isinstance(text, str) or not text.strip():
        said = "empty" if isinstance(text, str) else type(text).__name__
        raise BadInput(f"text {place} of those to embed is {said}; give words")
    return text.strip()


def _opened(image: object, side: int) -> Image.Image:
    match image:
        case {"bytes": bytes(data)} | bytes(data):
            return open_image(data, at_least=side)
        case Path() | str():
            return open_image(Path(image), at_least=side)
        case {"path": str(path)}:
            return open_image(Path(path), at_least=side)
        case Image.Image():
            return image.convert("RGB")
        case np.ndarray() if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
            return Image.fromarray(image)
    said = f"a mapping of {sorted(image)}" if isinstance(image, Mapping) else type(image).__name__
    raise BadInput(f"it is {said}; give a path, bytes, a PIL image, or pixels (h, w, 3) uint8")


def _joined(rows: list[Vectors], encoder: Encoder) -> Vectors:
    return np.concatenate(rows) if rows else np.empty((0, encoder.space.dim), np.float32)
