"""From which cosine on two pictures are the same one, for one encoder.

How far a harmless change moves a vector depends on the encoder, so the threshold is measured on
copies of the library's own pictures, which must not be nearer to each other than to their copies.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from PIL import Image, ImageEnhance

from searchx.encoder import Encoder
from searchx.errors import BadInput
from searchx.records import Vectors

# Measured: python -m tests.benchmarks.bench_duplicates; by the digest of the encoder's space.
MEASURED: Final[Mapping[str, float]] = {"57c1a12fc65dbabfd60ae85b104f5dbc": 0.95}  # mini
FOUND: Final = 0.95  # share of the copies that the threshold is to find
_JUST_ABOVE: Final = 0.005  # the nearest two pictures that are not the same


def threshold(encoder: Encoder, pictures: Sequence[Image.Image]) -> float:
    """Give the cosine from which on two pictures count as near duplicates, in (0, 1].

    Known for the model in the package; measured for others, where each picture is embedded three
    times: as it is and after two of four harmless changes. `pictures` are RGB and mostly different
    from each other: some 32 of the library's. Raises BadInput for fewer than two.
    """
    known = MEASURED.get(encoder.space.digest)
    return known if known is not None else measured(encoder, pictures)


def measured(encoder: Encoder, pictures: Sequence[Image.Image]) -> float:
    """Measure the threshold: it finds 19 of 20 copies, and joins no two of the pictures."""
    if len(pictures) < 2:
        raise BadInput(
            f"{len(pictures)} pictures are too few to tell copies from others; give two or more"
        )
    originals = _embedded(encoder, pictures)
    first, second = _copies(encoder, pictures)
    own = np.concatenate([(originals * first).sum(axis=1), (originals * second).sum(axis=1)])
    others = (originals @ originals.T)[np.triu_indices(len(originals), 1)]
    apart = others[others < np.median(own)]  # two as near as copies are taken for copies
    nearest = float(apart.max(initial=0.0)) + _JUST_ABOVE
    return min(1.0, max(float(np.quantile(own, 1 - FOUND)), nearest))


def recompressed(picture: Image.Image) -> Image.Image:
    """Give it as a JPEG of quality 60 keeps it."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=60)
    return Image.open(file).convert("RGB")


def halved(picture: Image.Image, side: int) -> Image.Image:
    """Give it at half the size; where that still is all that the encoder sees, at half of that."""
    scale = min(0.5, side / 2 / min(picture.size))
    width, height = (max(1, round(one * scale)) for one in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def cropped(picture: Image.Image) -> Image.Image:
    """Cut 3 % off each edge."""
    left, top = round(picture.width * 0.03), round(picture.height * 0.03)
    return picture.crop((left, top, picture.width - left, picture.height - top))


def brightened(picture: Image.Image) -> Image.Image:
    """Make it 15 % brighter."""
    return ImageEnhance.Brightness(picture).enhance(1.15)


def _copies(encoder: Encoder, pictures: Sequence[Image.Image]) -> tuple[Vectors, Vectors]:
    """Embed two copies of each picture, of kinds that take turns: (n, dim) both."""
    side = encoder.fit.side
    kinds: tuple[Callable[[Image.Image], Image.Image], ...] = (
        recompressed,
        cropped,
        lambda picture: halved(picture, side),
        brightened,
    )
    changed = [
        [kinds[(number + turn) % 4](picture) for number, picture in enumerate(pictures)]
        for turn in (0, 2)
    ]
    return _embedded(encoder, changed[0]), _embedded(encoder, changed[1])


def _embedded(encoder: Encoder, pictures: Sequence[Image.Image]) -> Vectors:
    size = encoder.batch_size
    starts = range(0, len(pictures), size)
    blocks = [[encoder.fit(one) for one in pictures[at : at + size]] for at in starts]
    return np.concatenate([encoder.embed_images(block) for block in blocks])
