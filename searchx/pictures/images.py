"""The one way in which a picture file becomes pixels: upright, RGB, on white, in sRGB.

Indexed files, query pictures, thumbnails and training pictures all come through here, so that the
same file always gives the same vector.
"""

import io
import re
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO, Final

from PIL import (
    ExifTags,
    Image,
    Jpeg2KImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
)

from searchx.errors import UnreadableImage
from searchx.pictures import jpeg2000, jpegxl, raw
from searchx.pictures.colours import from_code_points, plain_rgb, shallow
from searchx.pictures.frames import chosen
from searchx.pictures.jpegxl_header import is_jpegxl, read_header
from searchx.pictures.limits import MAX_PIXELS, check_size, too_large

DRAFT_MARGIN: Final = 2  # a reduced decode keeps this many times the asked side, for a clean resize
LARGE_PIXELS: Final = 32_000_000
RAW_SUFFIXES: Final = frozenset(
    (".cr2", ".cr3", ".nef", ".nrw", ".arw", ".dng", ".raf", ".orf", ".rw2")
)
SUFFIXES: Final = RAW_SUFFIXES | frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif"),
        *(".bmp", ".dib", ".tif", ".tiff", ".avif", ".avifs", ".heic", ".heif", ".hif"),
        *(".jp2", ".j2k", ".j2c", ".jpx", ".jpf", ".jxl", ".psd", ".ico", ".qoi", ".tga"),
        *(".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    )
)

# Named on purpose: Pillow knows more formats, and some of them start other programs (EPS).
_FORMATS: Final = (
    *("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF", "HEIF"),
    *("JPEG2000", "PSD", "PPM", "QOI", "ICO", "TGA"),
)
_NAMES: Final = {"MPO": "JPEG", "DIB": "BMP", "JPEG2000": "JPEG 2000", "PPM": "PNM"}
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS: Final = (5, 6, 7, 8)
_NO_MEMORY: Final = re.compile(
    "out of memory|cannot allocate|memory allocation|insufficient memory"
)
_NO_ROOM: Final = "not enough memory to decode this picture"
_CODE_POINTS: Final = b"colrnclx"  # where AVIF and HEIF name their colours (ISO/IEC 23008-12)
_HEAD_BYTES: Final = 1 << 16

_PHOTOMETRIC: Final = 262  # TIFF 6.0; 0 says that zero is white

_ONE_LARGE: Final = threading.Lock()


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture, and how large it is in its file once it stands upright."""

    image: Image.Image  # RGB; smaller than (width, height) where it was decoded at a reduced scale
    width: int
    height: int
    format: str  # "JPEG", "HEIF", "JPEG XL", "RAW" ...


def open_image(source: Path | bytes, at_least: int = 0) -> Image.Image:
    """Give the picture of a file or of its bytes: RGB, upright, transparency on white, sRGB.

    ``at_least`` is the smallest short side in pixels that the caller can use: a larger picture
    may then come at a reduced scale (a JPEG is decoded so), never below that; 0 asks for the full
    size. Raises ``UnreadableImage`` with one line that says which file and what is wrong with it.
    """
    return read_picture(source, at_least).image


def read_picture(source: Path | bytes, at_least: int = 0) -> Picture:
    """Like ``open_image``, with the full size of the picture beside the pixels."""
    with _explained(source), _opened(source) as file:
        return _decode(file, at_least)


def thumbnail(source: Path | bytes, side: int) -> bytes:
    """Give the picture as WebP bytes, its longest side at most ``side`` pixels."""
    image = open_image(source, at_least=side)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    packed = io.BytesIO()
    image.save(packed, "WEBP", quality=80)
    return packed.getvalue()


def measure(data: bytes) -> tuple[str | None, int, int]:
    """Give the format of a picture and its upright size, of what its header tells.

    None and zeros stand for what it does not; of camera raw files it tells only that.
    """
    try:
        if is_jpegxl(data):
            header = read_header(data)
            return "JPEG XL", header.width, header.height
        if raw.is_raw(io.BytesIO(data)):
            return "RAW", 0, 0
        with Image.open(io.BytesIO(data), formats=formats()) as image:
            name = image.format or ""
            width, height = image.size
            if _orientation(image) in _SIDEWAYS:
                width, height = height, width
            return _NAMES.get(name, name), width, height
    except Exception:  # damaged headers raise almost any type
        return None, 0, 0


@contextmanager
def _explained(source: Path | bytes) -> Iterator[None]:
    """Turn whatever a decoder throws into one line: damaged files raise almost any type."""
    which = f"{source}: " if isinstance(source, Path) else ""
    try:
        yield
    except UnreadableImage as error:
        raise UnreadableImage(which + str(error)) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImage(which + too_large()) from None
    except UnidentifiedImageError:
        raise UnreadableImage(which + "not a picture in a format that searchx reads") from None
    except MemoryError as error:  # the cause tells the indexer that it may be better next time
        raise UnreadableImage(which + _NO_ROOM) from error
    except Exception as error:
        first_line = (str(error).splitlines() or [""])[0]
        if _is_of_memory(error):
            raise UnreadableImage(which + _NO_ROOM) from MemoryError(first_line)
        detail = first_line or type(error).__name__
        raise UnreadableImage(which + f"the picture cannot be decoded ({detail})") from error


def _is_of_memory(error: Exception) -> bool:
    """Tell whether a decoder ran out of memory; not whether it refused what is too large."""
    if isinstance(error.__cause__, MemoryError):
        return True
    text = str(error).lower()
    return bool(_NO_MEMORY.search(text)) and "limit" not in text


@contextmanager
def _opened(source: Path | bytes) -> Iterator[BinaryIO]:
    if isinstance(source, bytes):
        if not source:
            raise UnreadableImage("the file is empty")
        yield io.BytesIO(source)
        return
    try:
        about = source.stat()
        if not stat.S_ISREG(about.st_mode):
            raise UnreadableImage("not a file")
        if about.st_size == 0:
            raise UnreadableImage("the file is empty")
        file = source.open("rb")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UnreadableImage(f"the file cannot be read ({reason})") from None
    with file:
        yield file


def _decode(file: BinaryIO, at_least: int) -> Picture:
    enough = at_least * DRAFT_MARGIN
    head = file.read(_HEAD_BYTES)
    file.seek(0)
    if is_jpegxl(head):
        return _jpegxl(file, enough)
    if raw.is_raw(file):
        return _raw(file, at_least)
    _check_variant(head)
    with Image.open(file, formats=formats()) as image:
        check_size(image.width, image.height)
        with _memory_for(image.width * image.height):
            frame = chosen(image)
            width, height = frame.size
            check_size(width, height)
            has_profile = "icc_profile" in frame.info
            frame = _prepared(frame, file, head, enough)
            upright = _reduced_rgb(frame, enough)
            orientation = _orientation(image)
        name = _NAMES.get(image.format or "", image.format or "")
    if name in ("AVIF", "HEIF") and not has_profile:
        upright = _named_colours(upright, head)
    if orientation in _SIDEWAYS:
        width, height = height, width
    return Picture(_turned(upright, orientation), width, height, name)


def _jpegxl(file: BinaryIO, enough: int) -> Picture:
    data = file.read()
    header = read_header(data)
    check_size(header.width, header.height)
    with _memory_for(header.width * header.height):
        image = _reduced_rgb(jpegxl.decode(data), enough)
    return Picture(image, header.width, header.height, "JPEG XL")


def _raw(file: BinaryIO, at_least: int) -> Picture:
    enough = at_least * DRAFT_MARGIN
    with _ONE_LARGE:
        found = raw.develop(file, at_least)
        with found.image as image:
            check_size(image.width, image.height)
            upright = _reduced_rgb(_prepared(image, file, b"", enough), enough)
    upright = _turned(upright, found.orientation)
    return Picture(upright, found.width, found.height, "RAW")


def _check_variant(head: bytes) -> None:
    """Refuse by name what Pillow would only call unknown."""
    if head.startswith(b"8BPS") and head[22:24] not in (b"\x00\x01", b"\x00\x08"):
        raise UnreadableImage("a Photoshop file of more than 8 bits a channel; save it with 8")


def _prepared(image: Image.Image, file: BinaryIO, head: bytes, enough: int) -> Image.Image:
    """Ask the decoder for less, where it can: JPEG by its DCT, HEIC by its preview, and so on."""
    if isinstance(image, Jpeg2KImagePlugin.Jpeg2KImageFile):
        return jpeg2000.prepared(image, file, head, enough)
    if enough > 0:
        image.draft(None, (enough, enough))
    return image


def _memory_for(pixels: int) -> AbstractContextManager[object]:
    """Let large pictures be decoded one after another: each may take gigabytes for a while."""
    return _ONE_LARGE if pixels > LARGE_PIXELS else nullcontext()


def _reduced_rgb(image: Image.Image, enough: int) -> Image.Image:
    image.load()
    profile = image.info.get("icc_profile")
    return plain_rgb(_reduced(shallow(image, _is_inverted(image)), enough), profile)


def _is_inverted(image: Image.Image) -> bool:
    """Tell whether zero is white, where Pillow leaves it so: in a TIFF of 16-bit greys."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False
    return image.mode.startswith("I;16") and image.tag_v2.get(_PHOTOMETRIC) == 0


def _reduced(image: Image.Image, enough: int) -> Image.Image:
    """Give the picture smaller by a whole factor where the caller can use no more."""
    factor = min(image.size) // enough if enough > 0 else 1
    if factor < 2 or image.mode not in ("L", "LA", "RGB", "RGBA", "CMYK"):
        return image
    if "transparency" in image.info:  # a colour that stands for clear: an average would miss it
        return image
    return Image.Image.reduce(image, factor)  # a JPEG 2000 file has a number of that name


def _orientation(image: Image.Image) -> int:
    """Read the EXIF orientation; damaged EXIF costs the orientation, not the picture."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return 1


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _named_colours(image: Image.Image, head: bytes) -> Image.Image:
    at = head.find(_CODE_POINTS) + len(_CODE_POINTS)
    if at < len(_CODE_POINTS):
        return image
    primaries, transfer = head[at : at + 2], head[at + 2 : at + 4]
    return from_code_points(
        image, int.from_bytes(primaries, "big"), int.from_bytes(transfer, "big")
    )


@cache
def formats() -> tuple[str, ...]:
    """Name the formats that this Pillow reads, with HEIC added; sets Pillow's own size guard.

    Pillow alone warns from 89 million pixels on and refuses at twice that. Once for the process,
    its limit is set to ours and its warning to an error: one limit, and no warning below it. Its
    other warnings are about damage that costs nothing; what costs a picture is raised.
    """
    import pillow_heif

    pillow_heif.register_heif_opener()
    Image.init()
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
    return tuple(name for name in _FORMATS if name in Image.OPEN)
