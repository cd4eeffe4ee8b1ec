"""Writes TIFF files byte by byte: what no library here writes, camera raw files (DNG) above all."""

import struct

import numpy as np
from numpy.typing import NDArray

Value = int | bytes | tuple[int, ...]
Tags = dict[int, tuple[int, Value]]
BYTE, ASCII, SHORT, LONG, SRATIONAL = 1, 2, 3, 4, 10
_SIZES = {BYTE: 1, ASCII: 1, SHORT: 2, LONG: 4, SRATIONAL: 8}
_IDENTITY = (1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1)


def deep_tiff(pixels: NDArray[np.uint16], photometric: int = 2) -> bytes:
    """Give a TIFF of 16 bits a channel from an array (height, width[, 3])."""
    body = pixels.astype("<u2").tobytes()
    return _file(body, _strip(pixels, 8, photometric))


def dng(red: NDArray[np.uint16], preview: bytes, side: tuple[int, int], orientation: int) -> bytes:
    """Give a DNG whose sensor saw ``red`` (height, width) and that holds a JPEG as its preview.

    ``side`` is the width and height of the preview, ``orientation`` what EXIF calls so.
    """
    body = preview + bytes(len(preview) % 2)
    sensor_at = 8 + len(body)
    body += red.astype("<u2").tobytes()
    sub_at = 8 + len(body)
    sensor = _strip(red, sensor_at, 32803) | {
        33421: (SHORT, (2, 2)),
        33422: (BYTE, b"\x00\x01\x01\x02"),
        50714: (SHORT, 0),
        50717: (SHORT, 65535),
    }
    body += _page(sub_at, sensor)
    return _file(body, _preview(preview, side) | _camera(orientation) | {330: (LONG, sub_at)})


def _preview(preview: bytes, side: tuple[int, int]) -> Tags:
    return {
        254: (LONG, 1),
        256: (LONG, side[0]),
        257: (LONG, side[1]),
        258: (SHORT, (8, 8, 8)),
        259: (SHORT, 7),
        262: (SHORT, 6),
        273: (LONG, 8),
        277: (SHORT, 3),
        278: (LONG, side[1]),
        279: (LONG, len(preview)),
    }


def _camera(orientation: int) -> Tags:
    return {
        271: (ASCII, b"Maker\x00"),
        272: (ASCII, b"Model\x00"),
        274: (SHORT, orientation),
        50706: (BYTE, b"\x01\x04\x00\x00"),
        50707: (BYTE, b"\x01\x01\x00\x00"),
        50708: (ASCII, b"Maker Model\x00"),
        50721: (SRATIONAL, _IDENTITY),
    }


def _strip(pixels: NDArray[np.uint16], at: int, photometric: int) -> Tags:
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    return {
        254: (LONG, 0),
        256: (LONG, pixels.shape[1]),
        257: (LONG, pixels.shape[0]),
        258: (SHORT, (16,) * channels),
        259: (SHORT, 1),
        262: (SHORT, photometric),
        273: (LONG, at),
        277: (SHORT, channels),
        278: (LONG, pixels.shape[0]),
        279: (LONG, 2 * pixels.size),
    }


def _file(body: bytes, tags: Tags) -> bytes:
    start = 8 + len(body)
    return b"II*\x00" + struct.pack("<I", start) + body + _page(start, tags)


def _page(start: int, tags: Tags) -> bytes:
    table, body = struct.pack("<H", len(tags)), b""
    body_at = start + 2 + 12 * len(tags) + 4
    for tag, (kind, value) in sorted(tags.items()):
        packed = _packed(kind, value)
        count = len(packed) // _SIZES[kind]
        if len(packed) > 4:
            place = struct.pack("<I", body_at + len(body))
            body += packed + bytes(len(packed) % 2)
        else:
            place = packed.ljust(4, b"\x00")
        table += struct.pack("<HHI", tag, kind, count) + place
    return table + bytes(4) + body + bytes(len(body) % 2)


def _packed(kind: int, value: Value) -> bytes:
    if isinstance(value, bytes):
        return value
    values = value if isinstance(value, tuple) else (value,)
    letter = {SHORT: "H", LONG: "I", SRATIONAL: "i"}[kind]
    return struct.pack(f"<{len(values)}{letter}", *values)
