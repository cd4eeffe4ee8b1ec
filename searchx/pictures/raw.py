"""Camera raw files: the JPEG that the camera put beside its sensor data, or the data itself.

Needs rawpy (LibRaw), which is an extra. A raw file is known by its content, since most of them
look like a TIFF with one small picture in it.
"""

import io
import struct
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from PIL import ExifTags, Image

from searchx.errors import UnreadableImage
from searchx.pictures.limits import check_size

MISSING: Final = 'camera raw pictures need: pip install "searchx[raw]"'
_MAGICS: Final = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\x00")
_TIFFS: Final = {b"II*\x00": "<", b"MM\x00*": ">"}  # and the order of their bytes
_SENSOR: Final = (32803, 34892)  # what a page holds: a colour filter array, or linear sensor data
_MAX_ENTRIES: Final = 512
_MAX_PAGES: Final = 16
_SHORT: Final = 3  # a number of 16 bits

_SUBFILE_TYPE, _PHOTOMETRIC, _MAKE, _SUB_PAGES, _DNG = 254, 262, 271, 330, 50706
_EXIF_OF_FLIP: Final = (1, 2, 4, 3, 5, 8, 6, 7)  # LibRaw: 1 mirrors, 2 turns over, 4 transposes


@dataclass(frozen=True, slots=True)
class Development:
    """A picture of a raw file, opened and perhaps not decoded yet; the caller closes it."""

    image: Image.Image
    orientation: int  # EXIF's number for how ``image`` is still to be turned
    width: int  # of what the sensor saw, upright
    height: int


def is_raw(file: BinaryIO) -> bool:
    """Tell whether a file holds what a camera's sensor saw; the position goes back to the start."""
    try:
        head = file.read(16)
        if head.startswith(_MAGICS) or head[4:12] == b"ftypcrx " or head[8:10] == b"CR":
            return head[8:10] != b"CR" or head[:4] in _TIFFS
        return head[:4] in _TIFFS and _holds_sensor_data(file, _TIFFS[head[:4]])
    finally:
        file.seek(0)


def develop(file: BinaryIO, at_least: int) -> Development:
    """Give the camera's own preview where its short side has ``at_least`` pixels.

    Otherwise the sensor data at half its size, which is the most that is ever asked for, and what
    0 stands for. A preview that is too small is taken where the sensor data cannot be decoded.

    Raises
    ``UnreadableImage`` where rawpy is not installed, and for a size beyond the limits.
    """
    try:
        import rawpy
    except ImportError:
        raise UnreadableImage(MISSING) from None
    with rawpy.imread(file) as raw:
        sizes = raw.sizes
        check_size(sizes.width, sizes.height)
        turn = _EXIF_OF_FLIP[sizes.flip & 7]
        width, height = sizes.width, sizes.height
        if turn > 4:
            width, height = height, width
        preview = _preview(raw)
        half = min(width, height) // 2
        if preview and min(preview.size) >= min(at_least or half, half):
            return Development(preview, _turn(preview, turn, sizes), width, height)
        try:
            upright = Image.fromarray(raw.postprocess(half_size=True, use_camera_wb=True))
        except (rawpy.LibRawError, rawpy.NotSupportedError):
            if not preview:
                raise
            return Development(preview, _turn(preview, turn, sizes), width, height)
    return Development(upright, 1, width, height)


def _preview(raw: Any) -> Image.Image | None:
    """Open the largest preview, its size known and nothing decoded; None where there is none."""
    import rawpy

    try:
        thumb = raw.extract_thumb()
        if thumb.format == rawpy.ThumbFormat.JPEG:
            return Image.open(io.BytesIO(thumb.data), formats=("JPEG",))
        return Image.fromarray(thumb.data)
    except (rawpy.LibRawError, rawpy.NotSupportedError, NotImplementedError, OSError):
        return None


def _turn(preview: Image.Image, turn: int, sizes: Any) -> int:
    """Give how a preview is to be turned, from how the raw is and from its own EXIF.

    The raw's word counts, since programs that turn a raw change only that one; but a preview that
    stands while the sensor lies is upright already. Where the raw is not turned, EXIF counts.
    """
    if turn == 1:
        return int(preview.getexif().get(ExifTags.Base.Orientation, 1))
    lies_as_sensor = (preview.width >= preview.height) == (sizes.width >= sizes.height)
    return turn if turn <= 4 or lies_as_sensor else 1


def _holds_sensor_data(file: BinaryIO, order: str) -> bool:
    first = _page(file, order, _number(_bytes(file, 4, 4), order))
    if _DNG in first or first.get(_PHOTOMETRIC) in _SENSOR:
        return True
    pages = [_page(file, order, at) for at in _sub_pages(file, order, first)]
    if any(page.get(_PHOTOMETRIC) in _SENSOR for page in pages):
        return True
    return bool(pages) and _MAKE in first and bool(first.get(_SUBFILE_TYPE, 0) & 1)


def _sub_pages(file: BinaryIO, order: str, page: dict[int, int]) -> list[int]:
    """Give where the pages within a page stand; one stands in its entry, several elsewhere."""
    count = min(page.get(-_SUB_PAGES, 0), _MAX_PAGES)
    if count < 2:
        return [page[_SUB_PAGES]] if count else []
    table = _bytes(file, page[_SUB_PAGES], 4 * count)
    return [_number(table[at : at + 4], order) for at in range(0, len(table), 4)]


def _page(file: BinaryIO, order: str, start: int) -> dict[int, int]:
    """Read a page's tags with their numbers, and under the negative tag how many there are."""
    count = min(_number(_bytes(file, start, 2), order), _MAX_ENTRIES)
    table = _bytes(file, start + 2, 12 * count)
    tags: dict[int, int] = {}
    for at in range(0, len(table) - 11, 12):
        tag, kind, several = struct.unpack_from(order + "HHI", table, at)
        value = table[at + 8 : at + (10 if kind == _SHORT and several == 1 else 12)]
        tags |= {tag: _number(value, order), -tag: several}
    return tags


def _bytes(file: BinaryIO, start: int, count: int) -> bytes:
    file.seek(start)
    return file.read(count)


def _number(data: bytes, order: str) -> int:
    return int.from_bytes(data, "little" if order == "<" else "big")
