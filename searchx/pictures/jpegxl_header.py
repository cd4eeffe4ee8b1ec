"""The header of a JPEG XL file: what a picture is, before anything of it is decoded.

ISO/IEC 18181-1, section D: a stream of bits, inside a container of boxes or bare.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from searchx.errors import UnreadableImage

SRGB_TRANSFER: Final = 13  # ITU-T H.273, as the primaries below
_SRGB_PRIMARIES: Final = 1
_PRIMARIES: Final = {1: _SRGB_PRIMARIES, 9: 9, 11: 12}  # the file's numbers: code points
_BARE: Final = b"\xff\x0a"
_BOXED: Final = b"\x00\x00\x00\x0cJXL \r\n\x87\n"
_HEADER_BYTES: Final = 4096  # the header proper takes a few dozen; names of channels come on top
_RATIOS: Final = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_SIDEWAYS: Final = (5, 6, 7, 8)
_ALPHA, _SPOT, _CFA = 0, 2, 5  # kinds of channels
_RGB, _GREY, _CUSTOM = 0, 1, 2  # colour spaces; a white or primaries given as coordinates


@dataclass(frozen=True, slots=True)
class Header:
    """What the header of a codestream says, as far as it matters here; upright."""

    width: int
    height: int
    is_animated: bool
    bits: int
    is_float: bool
    colours: int  # 1 or 3
    extra: int  # channels beside the colours
    has_alpha: bool
    primaries: int  # ITU-T H.273
    transfer: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array that the decoder fills."""
        size = (self.height, self.width)
        if self.colours + self.extra == 1:
            return size
        if self.extra == 0 or self.has_alpha:
            return (*size, self.colours + self.has_alpha)
        return (*size, 3) if self.colours == 3 else (1 + self.extra, *size)

    @property
    def kind(self) -> type[np.generic]:
        """Type of the numbers that the decoder gives."""
        if self.is_float or self.bits > 16:
            return np.float16 if self.is_float and self.bits == 16 else np.float32
        return np.uint8 if self.bits <= 8 else np.uint16


def is_jpegxl(head: bytes) -> bool:
    """Tell from its first 12 bytes whether a file is JPEG XL."""
    return head.startswith((_BARE, _BOXED))


def read_header(data: bytes) -> Header:
    """Read the header of a file, in a container or bare. Raises UnreadableImage for damage."""
    start = b"".join(_codestream(data))[:_HEADER_BYTES]
    if not start.startswith(_BARE):
        raise UnreadableImage("the JPEG XL file holds no picture")
    try:
        return _header(_Bits(start[len(_BARE) :]))
    except IndexError:
        raise UnreadableImage("the header of the JPEG XL file is cut off") from None


def _codestream(data: bytes) -> Iterator[bytes]:
    """Cut the codestream out of its container, up to what the header can need."""
    if data.startswith(_BARE):
        yield data[:_HEADER_BYTES]
        return
    at, wanted = 0, _HEADER_BYTES
    while at + 8 <= len(data) and wanted > 0:
        size, kind, body = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], at + 8
        if size == 1:
            size, body = int.from_bytes(data[at + 8 : at + 16], "big"), at + 16
        end = at + size if size else len(data)
        if end < body:
            return
        if kind in (b"jxlc", b"jxlp"):
            body += 4 if kind == b"jxlp" else 0
            part = data[body : min(end, body + wanted)]
            wanted -= len(part)
            yield part
        at = end


class _Bits:
    """Reads numbers from the lowest bit of each byte on; IndexError where the bytes end."""

    def __init__(self, data: bytes) -> None:
        self._whole = int.from_bytes(data, "little")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        if count > self._left:
            raise IndexError
        number = self._whole & ((1 << count) - 1)
        self._whole >>= count
        self._left -= count
        return number

    def flag(self) -> bool:
        return bool(self.take(1))

    def one_of(self, *choices: tuple[int, int]) -> int:
        """Read which of four (bits, offset) follows, and that many bits over the offset."""
        bits, offset = choices[self.take(2)]
        return self.take(bits) + offset

    def name(self) -> int:
        """Read an enumerated value."""
        return self.one_of((0, 0), (0, 1), (4, 2), (6, 18))


def _header(bits: _Bits) -> Header:
    width, height = _size(bits)
    if bits.flag():  # all as usual: three colours of 8 bits, sRGB
        return Header(width, height, False, 8, False, 3, 0, False, 1, SRGB_TRANSFER)
    is_animated = False
    if bits.flag():
        if 1 + bits.take(3) in _SIDEWAYS:
            width, height = height, width
        if bits.flag():
            _size(bits)  # at which it is meant to be shown
        if bits.flag():
            _preview(bits)
        is_animated = bits.flag()
        if is_animated:
            _animation(bits)
    depth, is_float = _depth(bits)
    bits.flag()
    extra = bits.one_of((0, 0), (0, 1), (4, 2), (12, 1))
    kinds = [_channel(bits) for _ in range(extra)]
    bits.flag()  # coded as XYB; what comes out is in the colours named next
    colours, primaries, transfer = _colours(bits)
    has_alpha = _ALPHA in kinds
    return Header(
        width, height, is_animated, depth, is_float, colours, extra, has_alpha, primaries, transfer
    )


def _size(bits: _Bits) -> tuple[int, int]:
    by_eight = bits.flag()
    height = _side(bits, by_eight)
    ratio = bits.take(3)
    if ratio:
        across, down = _RATIOS[ratio - 1]
        return height * across // down, height
    return _side(bits, by_eight), height


def _side(bits: _Bits, by_eight: bool) -> int:
    if by_eight:
        return 8 * (1 + bits.take(5))
    return bits.one_of((9, 1), (13, 1), (18, 1), (30, 1))


def _preview(bits: _Bits) -> None:
    by_eight = bits.flag()
    choices = (
        ((0, 16), (0, 32), (5, 1), (9, 33))
        if by_eight
        else ((6, 1), (8, 65), (10, 321), (12, 1345))
    )
    bits.one_of(*choices)
    if bits.take(3) == 0:
        bits.one_of(*choices)


def _animation(bits: _Bits) -> None:
    bits.one_of((0, 100), (0, 1000), (10, 1), (30, 1))  # ticks a second, and their divisor
    bits.one_of((0, 1), (0, 1001), (8, 1), (10, 1))
    bits.one_of((0, 0), (3, 0), (16, 0), (32, 0))  # loops
    bits.flag()


def _depth(bits: _Bits) -> tuple[int, bool]:
    is_float = bits.flag()
    if not is_float:
        return bits.one_of((0, 8), (0, 10), (0, 12), (6, 1)), False
    depth = bits.one_of((0, 32), (0, 16), (0, 24), (6, 1))
    bits.take(4)
    return depth, True


def _channel(bits: _Bits) -> int:
    """Read the description of a channel beside the colours; give its kind."""
    if bits.flag():
        return _ALPHA
    kind = bits.name()
    _depth(bits)
    bits.one_of((0, 0), (0, 3), (0, 4), (3, 1))
    bits.take(8 * bits.one_of((0, 0), (4, 0), (5, 16), (10, 48)))  # its name
    if kind == _ALPHA:
        bits.flag()
    elif kind == _SPOT:
        bits.take(4 * 16)
    elif kind == _CFA:
        bits.one_of((0, 1), (2, 0), (4, 3), (8, 19))
    return kind


def _colours(bits: _Bits) -> tuple[int, int, int]:
    """Read the number of colours, the primaries and the transfer function."""
    usual = (_SRGB_PRIMARIES, SRGB_TRANSFER)
    if bits.flag():
        return 3, *usual
    has_profile, space = bits.flag(), bits.name()
    colours = 1 if space == _GREY else 3
    if has_profile or space not in (_RGB, _GREY):
        return colours, *usual  # a profile is packed in the codestream, and left there
    if bits.name() == _CUSTOM:
        _point(bits)
    primaries = _SRGB_PRIMARIES
    if space == _RGB:
        primaries = bits.name()
        for _ in range(3 if primaries == _CUSTOM else 0):
            _point(bits)
    has_gamma = bits.flag()
    transfer = SRGB_TRANSFER if has_gamma else bits.name()
    return colours, _PRIMARIES.get(primaries, _SRGB_PRIMARIES), transfer


def _point(bits: _Bits) -> None:
    for _ in range(2):
        bits.one_of((19, 0), (19, 524288), (20, 1048576), (21, 2097152))
