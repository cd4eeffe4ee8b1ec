"""Where the formats of pictures keep their EXIF, IPTC and XMP: from a file to the raw blocks."""

import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from PIL import Image
from PIL.PsdImagePlugin import PsdImageFile

from indexer.about import exif, iptc
from indexer.about.exif import Directories
from searchx.pictures import images

MAX_BOXES: Final = 10_000
_JXL: Final = b"\0\0\0\x0cJXL \r\n\x87\n"
_FUJI: Final = b"FUJIFILMCCD-RAW"
_CANON: Final = bytes.fromhex("85c0b687820f11e08111f4ce462b6a48")
_CANON_XMP: Final = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")


@dataclass(frozen=True, slots=True)
class Blocks:
    """The raw metadata of a picture file; empty where it has none."""

    exif: Directories = field(default_factory=Directories)
    iptc: bytes = b""
    xmp: bytes = b""


def blocks(data: bytes) -> Blocks:
    """Find the metadata of a picture file by the form of its first bytes, not by its name.

    May raise almost anything for a damaged file.
    """
    if exif.is_tiff(data[:8]):  # also DNG, NEF, CR2, ARW, ORF, RW2
        return _of_tiff(exif.directories(data))
    if data.startswith(_JXL):
        return _of_jpeg_xl(data)
    if data[4:12] == b"ftypcrx ":
        return _of_cr3(data)
    if data.startswith(_FUJI):  # its preview is a JPEG with all that the camera knows
        start, size = (int.from_bytes(data[at : at + 4]) for at in (84, 88))
        return _of_picture(data[start : start + size])
    return _of_picture(data)


def _of_tiff(found: Directories) -> Blocks:
    packets = [found.main.get(tag) for tag in (exif.IPTC, exif.XMP, exif.PHOTOSHOP)]
    told, xmp, photoshop = (one if isinstance(one, bytes) else b"" for one in packets)
    return Blocks(found, told or iptc.resources(photoshop).get(iptc.IPTC_RESOURCE, b""), xmp)


def _of_picture(data: bytes) -> Blocks:
    """Let Pillow find the blocks; it reads the head of the file, not its pixels.

    Warnings are turned off for the whole process meanwhile: call it from one thread.
    """
    formats = images.formats()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(data), formats=formats) as image:
            about = image.info
            kept = _resources(image)
    raw = about.get("exif") or kept.get(iptc.EXIF_RESOURCE) or _of_text(about)
    xmp = about.get("xmp") or about.get("XML:com.adobe.xmp") or kept.get(iptc.XMP_RESOURCE)
    return Blocks(exif.directories(_bytes(raw)), kept.get(iptc.IPTC_RESOURCE, b""), _bytes(xmp))


def _resources(image: Image.Image) -> dict[int, bytes]:
    """Give what Photoshop keeps in a JPEG or in a file of its own."""
    if isinstance(image, PsdImageFile):
        return {number: content for number, _, content in reversed(image.resources)}
    kept = image.info.get("photoshop")
    if not isinstance(kept, dict):
        return {}
    return {number: content for number, content in kept.items() if isinstance(content, bytes)}


def _of_text(about: dict[str | tuple[int, int], object]) -> bytes:
    """Read the EXIF that ImageMagick writes into a PNG: as text, in hexadecimal."""
    text = about.get("Raw profile type exif")
    return bytes.fromhex("".join(text.split("\n")[3:])) if isinstance(text, str) else b""


def _bytes(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    return value if isinstance(value, bytes) else b""


def _of_jpeg_xl(data: bytes) -> Blocks:
    found: dict[bytes, bytes] = {}
    for kind, start, end in _boxes(data, 0, len(data)):
        if kind in (b"Exif", b"xml "):
            found.setdefault(kind, data[start : min(end, start + exif.MAX_PACKET)])
    block = found.get(b"Exif", b"")
    skip = 4 + int.from_bytes(block[:4])  # the first four bytes say where TIFF begins
    return Blocks(exif.directories(block[skip:]), xmp=found.get(b"xml ", b""))


def _of_cr3(data: bytes) -> Blocks:
    tables: dict[bytes, bytes] = {}
    xmp = b""
    for kind, start, end in _boxes(data, 0, len(data)):
        if kind == b"moov":
            for inner, begin, stop in _boxes(data, start, end):
                if inner == b"uuid" and data[begin : begin + 16] == _CANON:
                    tables = _tables(data, begin + 16, stop)
        elif kind == b"uuid" and data[start : start + 16] == _CANON_XMP:
            xmp = data[start + 16 : min(end, start + exif.MAX_PACKET)]
    about = (tables.get(name, b"") for name in (b"CMT1", b"CMT2", b"CMT4"))
    return Blocks(exif.parts(*about), xmp=xmp)


def _tables(data: bytes, start: int, end: int) -> dict[bytes, bytes]:
    return {
        kind: data[begin : min(stop, begin + exif.MAX_PACKET)]
        for kind, begin, stop in _boxes(data, start, end)
        if kind in (b"CMT1", b"CMT2", b"CMT4")
    }


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Give kind, start and end of each box of an ISO file, from ``start`` to ``end``."""
    end = min(end, len(data))
    for _ in range(MAX_BOXES):
        if start + 8 > end:
            return
        size, kind, head = int.from_bytes(data[start : start + 4]), data[start + 4 : start + 8], 8
        if size == 1:
            size, head = int.from_bytes(data[start + 8 : start + 16]), 16
        elif size == 0:  # to the end
            size = end - start
        if size < head:
            return
        yield kind, start + head, min(start + size, end)
        start += size
