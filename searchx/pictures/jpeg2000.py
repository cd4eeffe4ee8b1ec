"""JPEG 2000: decoded at a lower resolution where that is enough, and deep colours rightly."""

from typing import BinaryIO, Final

import numpy as np
from PIL import Image, Jpeg2KImagePlugin

_START: Final = b"\xff\x4f\xff\x51"  # SOC and SIZ (ISO/IEC 15444-1, annex A)
_DEPTH_AT: Final = 42  # of the first channel, counted from the start
_COD: Final = 0x52


def prepared(
    image: Jpeg2KImagePlugin.Jpeg2KImageFile, file: BinaryIO, head: bytes, enough: int
) -> Image.Image:
    """Give the picture, to be loaded at no more than it takes for ``enough`` on its short side.

    ``head`` is the beginning of ``file``. Colours of more than 8 bits are decoded here: Pillow
    13 rounds the brightest of them up to 256, which its 8 bits hold as 0.
    """
    bits = _depth(head)
    if bits > 8 and image.mode in ("RGB", "RGBA", "LA"):
        return _deep(file, bits)
    if enough > 0:
        halvings = (min(image.size) // enough).bit_length() - 1
        image.reduce = min(max(halvings, 0), _levels(head))
    return image


def _deep(file: BinaryIO, bits: int) -> Image.Image:
    import imagecodecs

    file.seek(0)
    levels = imagecodecs.jpeg2k_decode(file.read())  # (height, width, channels)
    shown = np.empty(levels.shape, np.uint8)
    for row, deep in zip(shown, levels, strict=True):  # by rows: 16 bits are not held twice
        row[:] = np.clip(np.rint(deep * (255.0 / ((1 << bits) - 1))), 0, 255)
    return Image.fromarray(shown)


def _depth(head: bytes) -> int:
    at = head.find(_START)
    return (head[at + _DEPTH_AT] & 0x7F) + 1 if 0 <= at < len(head) - _DEPTH_AT else 8


def _levels(head: bytes) -> int:
    """Read how often the picture can be halved; 0 where the header does not say."""
    at = head.find(_START) + 2
    while at > 1 and head[at : at + 1] == b"\xff" and at + 9 < len(head):
        if head[at + 1] == _COD:
            return head[at + 9]
        at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return 0
