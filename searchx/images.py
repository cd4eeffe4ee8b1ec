"""The one way in which a picture file becomes pixels: upright, RGB, on white, in sRGB.

Indexed files, query pictures, thumbnails and training pictures all come through here, so that the
same file always gives the same vector.
"""

import io
import math
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, ImageFile, UnidentifiedImageError

from searchx.errors import UnreadableImage

MAX_PIXELS: Final = 200_000_000  # the largest phone sensors give 200 million; above is refused
DRAFT_MARGIN: Final = 2  # a reduced decode keeps this many times the asked side, for a clean resize
MAX_RATIO: Final = 200  # long side to short side; narrower ones grow out of memory when resized
LARGE_PIXELS: Final = 32_000_000
STRIP_PIXELS: Final = 1 << 20
SUFFIXES: Final = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif"),
        *(".bmp", ".dib", ".tif", ".tiff", ".avif", ".avifs", ".heic", ".heif", ".hif"),
        *(".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".ico"),
    )
)

# Named on purpose: Pillow knows more formats, and some of them start other programs (EPS).
_FORMATS: Final = (
    *("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF", "HEIF"),
    *("JPEG2000", "PPM", "ICO", "TGA"),
)
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
Box: TypeAlias = tuple[int, int, int, int]  # left, top, right, bottom

_ONE_LARGE: Final = threading.Lock()


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture, and how large it is in its file once it stands upright."""

    image: Image.Image  # RGB; smaller than (width, height) where it was decoded at a reduced scale
    width: int
    height: int


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


@contextmanager
def _explained(source: Path | bytes) -> Iterator[None]:
    """Turn whatever a decoder throws into one line: damaged files raise almost any type."""
    which = f"{source}: " if isinstance(source, Path) else ""
    try:
        yield
    except UnreadableImage as error:
        raise UnreadableImage(which + str(error)) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImage(which + _too_large()) from None
    except UnidentifiedImageError:
        raise UnreadableImage(which + "not a picture in a format that searchx reads") from None
    except MemoryError as error:  # the cause tells the indexer that it may be better next time
        raise UnreadableImage(which + "not enough memory to decode this picture") from error
    except Exception as error:
        first_line = (str(error).splitlines() or [""])[0]
        detail = first_line or type(error).__name__
        raise UnreadableImage(which + f"the picture cannot be decoded ({detail})") from error


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
    with Image.open(file, formats=_formats()) as image:
        width, height = image.size
        _check_size(width, height)
        enough = at_least * DRAFT_MARGIN
        if enough > 0:
            image.draft(None, (enough, enough))
        with _memory_for(image):
            image.load()
            orientation = _orientation(image)
            upright = _rgb(_reduced(_shallow(image), enough))
    if orientation in _UPRIGHT:
        upright = upright.transpose(_UPRIGHT[orientation])
    if orientation in _SIDEWAYS:
        width, height = height, width
    return Picture(upright, width, height)


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise UnreadableImage(_too_large())
    if max(width, height) > MAX_RATIO * min(width, height):
        raise UnreadableImage(f"the picture is too narrow ({width} x {height} pixels)")


def _memory_for(image: Image.Image) -> AbstractContextManager[object]:
    """Let large pictures be decoded one after another: each may take gigabytes for a while."""
    return _ONE_LARGE if image.width * image.height > LARGE_PIXELS else nullcontext()


def _reduced(image: Image.Image, enough: int) -> Image.Image:
    """Give the picture smaller by a whole factor where the caller can use no more."""
    factor = min(image.size) // enough if enough > 0 else 1
    if factor < 2 or image.mode not in ("L", "RGB", "RGBA", "CMYK"):
        return image
    if "transparency" in image.info:  # a colour that stands for clear: an average would miss it
        return image
    return image.reduce(factor)


def _orientation(image: Image.Image) -> int:
    """Read the EXIF orientation; damaged EXIF costs the orientation, not the picture."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return 1


def _rgb(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if image.has_transparency_data:
        image = _on_white(image)
    if image.mode == "LAB":
        return _converted(image, None)
    if isinstance(profile, bytes) and image.mode in ("RGB", "CMYK"):
        return _converted(image, profile)
    return _plain(image)


def _plain(image: Image.Image) -> Image.Image:
    """Give an RGB picture of its own, without the metadata of the file."""
    is_of_file = isinstance(image, ImageFile.ImageFile)
    plain = image if image.mode == "RGB" and not is_of_file else image.convert("RGB")
    plain.info.clear()
    return plain


def _on_white(image: Image.Image) -> Image.Image:
    flat = Image.new("RGB", image.size, "white")
    for box in _strips(image):
        layer = image.crop(box).convert("RGBA")
        flat.paste(layer, box, mask=layer)
    return flat


def _shallow(image: Image.Image) -> Image.Image:
    """Scale deep greys to 8 bits: 16-bit over its full range, 32-bit between its extremes."""
    if image.has_transparency_data or not image.mode.startswith(("I", "F")):
        return image
    low, high = (0.0, 65535.0) if image.mode.startswith("I;16") else _extremes(image)
    scale = 255.0 / max(high - low, 1e-12)
    shallow = Image.new("L", image.size)
    for box in _strips(image):
        levels = np.rint((np.nan_to_num(_deep(image, box), nan=low) - low) * scale)
        shallow.paste(Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8)), box)
    return shallow


def _extremes(image: Image.Image) -> tuple[float, float]:
    """Find the lowest and the highest level that is a number; 0 and 1 where there is none."""
    low, high = math.inf, -math.inf
    for box in _strips(image):
        levels = _deep(image, box)
        finite = levels[np.isfinite(levels)]
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    return (low, high) if low <= high else (0.0, 1.0)


def _deep(image: Image.Image, box: Box) -> NDArray[np.float64]:
    return np.asarray(image.crop(box)).astype(np.float64)  # (height, width)


def _strips(image: Image.Image) -> Iterator[Box]:
    """Cut into strips of full width: what needs several copies needs them of one strip only."""
    rows = max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        yield 0, top, image.width, min(top + rows, image.height)


def _converted(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Give the picture in sRGB; a profile that cannot be used is left out."""
    try:
        transform = _to_srgb(profile, image.mode)
        converted = transform.apply(image) if transform else None
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        converted = None
    return _plain(converted or image)


@lru_cache(maxsize=64)  # a camera writes the same profile into every picture
def _to_srgb(profile: bytes | None, mode: str) -> ImageCms.ImageCmsTransform | None:
    if profile is None:
        origin = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    else:
        origin = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in (origin.profile.profile_description or ""):
            return None
    return ImageCms.buildTransform(origin, ImageCms.createProfile("sRGB"), mode, "RGB")


def _too_large() -> str:
    return f"the picture has more than {MAX_PIXELS // 1_000_000} million pixels"


@cache
def _formats() -> tuple[str, ...]:
    """Name the formats that this Pillow reads, with HEIC added; sets Pillow's own size guard.

    Pillow alone warns from 89 million pixels on and refuses at twice that. Once for the process,
    its limit is set to ours and its warning to an error: one limit, and no warning below it.
    """
    import pillow_heif

    pillow_heif.register_heif_opener()
    Image.init()
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
    return tuple(name for name in _FORMATS if name in Image.OPEN)
