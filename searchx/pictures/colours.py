"""From whatever a file holds to RGB: 8 bits, on white, in sRGB."""

import io
import math
import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFile

STRIP_PIXELS: Final = 1 << 20
Box: TypeAlias = tuple[int, int, int, int]  # left, top, right, bottom

# Code points of ITU-T H.273, as AVIF and JPEG XL name colours without a profile.
SRGB_PRIMARIES: Final = 1
LINEAR: Final = 8
PQ: Final = 16
_PRIMARIES: Final = {  # x and y of red, green and blue; white is D65
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),  # BT.2020
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),  # Display P3
}
_SRGB_CURVE: Final = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_D50: Final = (0.9642, 1.0, 0.8249)
_D65: Final = np.array([0.3127 / 0.3290, 1.0, 0.3583 / 0.3290])
_D65_TO_D50: Final = np.array(  # Bradford
    [[1.0479, 0.0229, -0.0502], [0.0296, 0.9904, -0.0171], [-0.0092, 0.0151, 0.7519]]
)
_SDR_WHITE: Final = 203.0  # cd/m²: the white of a page in a PQ picture (ITU-R BT.2408)
_HDR_PEAK: Final = 1000.0  # cd/m²: what is brighter is shown as white


def plain_rgb(image: Image.Image, profile: object = None) -> Image.Image:
    """Give a loaded picture as an RGB one of its own, in sRGB, without metadata of the file.

    ``profile`` is the ICC profile of the file; one that is damaged, or does not fit the pixels,
    is left out.
    """
    if image.has_transparency_data:
        image = _on_white(image)
    if image.mode == "LAB":
        return _converted(image, None)
    if isinstance(profile, bytes) and profile:
        if image.mode == "P":
            image = image.convert("RGB")
        if image.mode in ("RGB", "CMYK", "L"):
            return _converted(image, profile)
    return _plain(image)


def shallow(image: Image.Image, inverted: bool = False) -> Image.Image:
    """Scale deep greys to 8 bits: 16-bit over its full range, 32-bit between its extremes.

    ``inverted`` says that zero is white. The picture keeps its ``info``, less the grey level that
    stands for clear: such pixels are white.
    """
    if not image.mode.startswith(("I", "F")):
        return image
    clear = image.info.get("transparency")
    low, high = _range(image)
    scale = 255.0 / max(high - low, 1e-12)
    grey = Image.new("L", image.size)
    for box in _strips(image):
        deep = _deep(image, box)
        levels = np.clip(np.rint((np.nan_to_num(deep, nan=low) - low) * scale), 0.0, 255.0)
        levels = 255.0 - levels if inverted else levels
        if isinstance(clear, int):
            levels[deep == clear] = 255.0
        grey.paste(Image.fromarray(levels.astype(np.uint8)), box)
    grey.info = {name: value for name, value in image.info.items() if name != "transparency"}
    return grey


def from_code_points(image: Image.Image, primaries: int, transfer: int) -> Image.Image:
    """Give an RGB or L picture in sRGB whose colours are named by code points (ITU-T H.273).

    Transfer functions made for ordinary screens, HLG among them, are taken as they are; linear
    light and PQ are brought to the range of a page. Unknown primaries are left as they are.
    """
    if transfer in (LINEAR, PQ):
        curve = np.rint(display_curve(transfer, 256) * 255.0).astype(int).tolist()
        image = image.point(curve * len(image.getbands()))
    if image.mode == "RGB" and primaries in _PRIMARIES:
        return _converted(image, _profile_of(primaries))
    return image


def display_curve(transfer: int, steps: int) -> NDArray[np.float64]:
    """Give what each of ``steps`` levels from 0 to 1 becomes on a page, as sRGB from 0 to 1."""
    signal = np.linspace(0.0, 1.0, steps)
    if transfer == LINEAR:
        return _srgb_signal(signal)
    if transfer != PQ:
        return signal
    root = signal ** (32.0 / 2523.0)  # SMPTE ST 2084
    ratio = np.maximum(root - 0.8359375, 0.0) / (18.8515625 - 18.6875 * root)
    light = ratio ** (16384.0 / 2610.0) * 10_000.0 / _SDR_WHITE  # 1 is the white of a page
    peak = _HDR_PEAK / _SDR_WHITE
    return _srgb_signal(np.minimum(light * (1.0 + light / peak**2) / (1.0 + light), 1.0))


def _srgb_signal(light: NDArray[np.float64]) -> NDArray[np.float64]:
    curved = 1.055 * light ** (1.0 / 2.4) - 0.055
    return np.where(light <= 0.0031308, 12.92 * light, curved)


def _plain(image: Image.Image) -> Image.Image:
    is_of_file = isinstance(image, ImageFile.ImageFile)
    plain = image if image.mode == "RGB" and not is_of_file else image.convert("RGB")
    plain.info.clear()
    return plain


def _on_white(image: Image.Image) -> Image.Image:
    """Put the picture on white, before its profile is applied: grey stays grey, as its profile."""
    mode, inked = ("L", "LA") if image.mode in ("L", "LA") else ("RGB", "RGBA")
    flat = Image.new(mode, image.size, "white")
    for box in _strips(image):
        layer = image.crop(box).convert(inked)
        flat.paste(layer.convert(mode), box, mask=layer.getchannel("A"))
    return flat


def _range(image: Image.Image) -> tuple[float, float]:
    if image.mode.startswith("I;16") or (image.format == "PPM" and image.mode == "I"):
        return 0.0, 65535.0  # Pillow scales a deep PGM to 16 bits and calls the mode I
    return _extremes(image)


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
        title = (origin.profile.profile_description or "").lower()
        if "srgb" in title and "linear" not in title:
            return None
    return ImageCms.buildTransform(origin, ImageCms.createProfile("sRGB"), mode, "RGB")


@lru_cache(maxsize=8)
def _profile_of(primaries: int) -> bytes:
    """Write an ICC profile with these primaries, a D65 white and the curve of sRGB (ICC.1:2022)."""
    columns = _D65_TO_D50 @ _xyz_of(primaries)  # (3, 3), a column for each of red, green and blue
    curve = struct.pack(">4s4xHH5i", b"para", 3, 0, *map(_fixed, _SRGB_CURVE))
    white = struct.pack(">4s4x3i", b"XYZ ", *map(_fixed, _D50))
    tags = [(b"wtpt", white), (b"rTRC", curve), (b"gTRC", curve), (b"bTRC", curve)]
    for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns.T, strict=True):
        tags.append((name, struct.pack(">4s4x3i", b"XYZ ", *map(_fixed, column))))
    return _packed(tags)


def _packed(tags: list[tuple[bytes, bytes]]) -> bytes:
    table, body = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, content in tags:
        table += struct.pack(">4sII", name, start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    size = start + len(body)
    head = struct.pack(">I4xI4s4s4s12x4s", size, 0x04300000, b"mntr", b"RGB ", b"XYZ ", b"acsp")
    head += bytes(28) + struct.pack(">3i", *map(_fixed, _D50))
    return head + bytes(128 - len(head)) + struct.pack(">I", len(tags)) + table + body


def _xyz_of(primaries: int) -> NDArray[np.float64]:
    """Give the matrix from linear RGB to XYZ under D65."""
    columns = np.array([(x / y, 1.0, (1.0 - x - y) / y) for x, y in _PRIMARIES[primaries]]).T
    return columns * np.linalg.solve(columns, _D65)


def _fixed(value: float) -> int:
    return round(value * 65536.0)
