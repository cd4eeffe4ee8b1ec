"""Every format that the documentation names, on a file of that format."""

import io
import struct
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms

from searchx.errors import UnreadableImage
from searchx.pictures.images import SUFFIXES, open_image, read_picture, thumbnail
from tests.scenes import distance, packed, quartered, stored
from tests.tiff_files import deep_tiff

pillow_heif.register_heif_opener()
SCENE = quartered(128, 96)
Write = Callable[[Image.Image], bytes]


def by(format: str, mode: str = "RGB", **options: object) -> Write:
    return lambda scene: packed(scene.convert(mode), format, **options)


def deep(scene: Image.Image) -> NDArray[np.uint16]:
    return np.asarray(scene).astype(np.uint16) * 257


def grey(scene: Image.Image) -> Image.Image:
    return scene.convert("L").convert("RGB")


def photoshop(scene: Image.Image, bits: int = 8) -> bytes:
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, scene.height, scene.width, bits, 3)
    planes = b"".join(channel.tobytes() for channel in scene.split())
    return head + bytes(4 + 4 + 4) + struct.pack(">H", 0) + planes


def map_of(scene: Image.Image, maximum: int) -> bytes:
    levels = np.rint(np.asarray(scene) / 255 * maximum).astype(">u2")
    return b"P6 %d %d %d\n" % (*scene.size, maximum) + levels.tobytes()


def grey_map(scene: Image.Image) -> bytes:
    levels = (np.asarray(scene.convert("L")).astype(np.uint16) * 257).astype(">u2")
    return b"P5 %d %d 65535\n" % scene.size + levels.tobytes()


def lab(scene: Image.Image) -> bytes:
    spaces = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return packed(ImageCms.buildTransform(*spaces, "RGB", "LAB").apply(scene), "TIFF")


ROWS: dict[str, tuple[str, Write]] = {
    "baseline.jpg": ("JPEG", by("JPEG", quality=95)),
    "progressive.jpg": ("JPEG", by("JPEG", quality=95, progressive=True)),
    "print.jpg": ("JPEG", by("JPEG", "CMYK", quality=95)),
    "stereo.mpo": ("JPEG", by("MPO", save_all=True, append_images=[Image.new("RGB", (128, 96))])),
    "plain.png": ("PNG", by("PNG")),
    "palette.png": ("PNG", by("PNG", "P")),
    "alpha.png": ("PNG", by("PNG", "RGBA")),
    "deep.png": ("PNG", lambda scene: bytes(imagecodecs.png_encode(deep(scene)))),
    "photo.webp": ("WEBP", by("WEBP", quality=95)),
    "lossless.webp": ("WEBP", by("WEBP", lossless=True)),
    "photo.avif": ("AVIF", by("AVIF", quality=95)),
    "photo.heic": ("HEIF", by("HEIF", quality=95)),
    "photo.heif": ("HEIF", by("HEIF", "RGBA", quality=95)),
    "drawing.gif": ("GIF", by("GIF", "P")),
    "scan.tif": ("TIFF", by("TIFF", compression="tiff_lzw")),
    "jpeg.tiff": ("TIFF", by("TIFF", compression="jpeg", quality=95)),
    "print.tif": ("TIFF", by("TIFF", "CMYK")),
    "lab.tif": ("TIFF", lab),
    "deep.tif": ("TIFF", lambda scene: deep_tiff(deep(scene))),
    "pages.tif": ("TIFF", by("TIFF", save_all=True, append_images=[Image.new("L", (9, 9))])),
    "screen.bmp": ("BMP", by("BMP")),
    "screen.dib": ("BMP", by("DIB")),
    "scan.jp2": ("JPEG 2000", by("JPEG2000")),
    "scan.j2k": ("JPEG 2000", by("JPEG2000", no_jp2=True)),
    "deep.jp2": ("JPEG 2000", lambda scene: bytes(imagecodecs.jpeg2k_encode(deep(scene), level=0))),
    "photo.jxl": ("JPEG XL", lambda scene: bytes(imagecodecs.jpegxl_encode(np.asarray(scene)))),
    "layers.psd": ("PSD", photoshop),
    "logo.ico": ("ICO", by("ICO", sizes=[(16, 12), (128, 96), (32, 24)])),
    "map.ppm": ("PNM", by("PPM")),
    "deep.ppm": ("PNM", lambda scene: map_of(scene, 65535)),
    "ten.pnm": ("PNM", lambda scene: map_of(scene, 1023)),
    "game.qoi": ("QOI", lambda scene: bytes(imagecodecs.qoi_encode(np.asarray(scene)))),
    "old.tga": ("TGA", by("TGA")),
}
GREYS: dict[str, Write] = {
    "grey.jpg": by("JPEG", "L", quality=95),
    "grey.png": by("PNG", "L"),
    "deep.png": lambda scene: packed(Image.fromarray(deep(scene.convert("L"))), "PNG"),
    "deep.tif": lambda scene: deep_tiff(deep(scene.convert("L")), photometric=1),
    "white-is-zero.tif": lambda scene: deep_tiff(65535 - deep(scene.convert("L")), photometric=0),
    "deep.pgm": grey_map,
    "deep.jp2": lambda scene: packed(Image.fromarray(deep(scene.convert("L"))), "JPEG2000"),
    "grey.avif": by("AVIF", "L", quality=95),
    "grey.jxl": lambda scene: bytes(imagecodecs.jpegxl_encode(np.asarray(scene.convert("L")))),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_file_of_this_format_is_read(name: str, tmp_path: Path) -> None:
    format, write = ROWS[name]
    path = tmp_path / name
    path.write_bytes(write(SCENE))
    picture = read_picture(path)
    assert (picture.format, picture.width, picture.height) == (format, 128, 96)
    assert distance(picture.image, SCENE) < 8
    assert distance(read_picture(path, at_least=24).image.resize((32, 24)), quartered(32, 24)) < 14
    assert Image.open(io.BytesIO(thumbnail(path, 48))).size == (48, 36)
    assert path.suffix in SUFFIXES


@pytest.mark.parametrize("name", GREYS)
def test_greys_keep_their_range(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(GREYS[name](SCENE))
    assert distance(open_image(path), grey(SCENE)) < 4


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF", "HEIF", "JPEG XL"])
def test_a_picture_is_the_same_in_every_orientation(format: str, orientation: int) -> None:
    """The pixels less their mean, as one vector: stricter than the vectors of an encoder."""
    scene = textured(320, 256)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    if format == "JPEG XL":
        laid = packed(stored(scene, orientation), "JPEG", exif=exif, quality=90)
        data = bytes(imagecodecs.jpegxl_encode_jpeg(laid))
    else:
        data = packed(stored(scene, orientation), format, exif=exif.tobytes(), quality=90)
    upright = read_picture(packed(scene, "PNG"), at_least=100)
    picture = read_picture(data, at_least=100)
    assert (picture.width, picture.height) == (320, 256)
    one, other = centred(upright.image), centred(picture.image)
    assert float(one @ other) >= 0.99


def textured(width: int, height: int) -> Image.Image:
    random = np.random.default_rng(5)
    coarse = random.integers(0, 256, (height // 32, width // 32, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def centred(image: Image.Image) -> NDArray[np.float64]:
    levels = np.asarray(image.resize((64, 48), Image.Resampling.BOX)).astype(np.float64).ravel()
    levels -= levels.mean()
    return levels / np.linalg.norm(levels)


def test_jpeg_2000_is_decoded_at_a_lower_resolution() -> None:
    data = packed(quartered(1024, 768), "JPEG2000", num_resolutions=4)
    picture = read_picture(data, at_least=40)
    assert (picture.width, picture.height) == (1024, 768)
    assert 40 <= min(picture.image.size) < 192
    assert distance(picture.image.resize((64, 48)), quartered(64, 48)) < 8
    single = packed(quartered(1024, 768), "JPEG2000", num_resolutions=1)
    assert distance(read_picture(single, 40).image.resize((64, 48)), quartered(64, 48)) < 8


def test_the_first_page_that_is_no_reduced_copy_stands_for_a_tiff() -> None:
    full = SCENE.copy()
    full.encoderinfo = {"tiffinfo": {254: 0}}
    copy = quartered(16, 12)
    data = packed(copy, "TIFF", save_all=True, append_images=[full], tiffinfo={254: 1})
    assert distance(open_image(data), SCENE) == 0
    only_copies = packed(copy, "TIFF", tiffinfo={254: 1})
    assert distance(open_image(only_copies), copy) == 0


def test_a_deep_photoshop_file_is_refused_by_its_name() -> None:
    with pytest.raises(UnreadableImage, match="Photoshop file of more than 8 bits"):
        open_image(photoshop(SCENE, bits=16))


def test_a_deep_grey_that_stands_for_clear_becomes_white() -> None:
    levels = np.full((8, 8), 0x4000, np.uint16)
    data = packed(Image.fromarray(levels), "PNG", transparency=0x4000)
    assert np.asarray(open_image(data)).min() == 255
