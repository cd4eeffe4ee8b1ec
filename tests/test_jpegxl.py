from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray

from searchx.errors import UnreadableImage
from searchx.pictures.images import open_image, read_picture
from searchx.pictures.jpegxl_header import read_header
from tests.scenes import colour_of, distance, quartered

SCENE = quartered()


def packed(pixels: NDArray[np.generic], **options: Any) -> bytes:
    return bytes(imagecodecs.jpegxl_encode(pixels, **options))


@pytest.mark.parametrize("size", [(8, 8), (256, 256), (33, 17), (700, 1000), (5, 1), (1600, 1200)])
@pytest.mark.parametrize("container", [False, True])
def test_the_size_is_read_from_the_header(size: tuple[int, int], container: bool) -> None:
    data = packed(np.zeros((size[1], size[0]), np.uint8), usecontainer=container)
    header = read_header(data)
    assert (header.width, header.height) == size
    assert (header.colours, header.extra, header.bits) == (1, 0, 8)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("kind", ["uint8", "uint16", "float16", "float32"])
def test_every_kind_of_pixels_is_read(kind: str, lossless: bool, channels: int) -> None:
    """The encoder takes deep numbers for linear light: half the light is 188 of 255."""
    full = 1.0 if kind.startswith("float") else float(np.iinfo(kind).max)
    pixels = np.full((24, 32, channels), full / 2).astype(kind)
    if channels in (2, 4):
        pixels[..., -1] = full
    colour = colour_of(open_image(packed(pixels.squeeze(), lossless=lossless)))
    assert np.abs(np.array(colour) - (128 if kind == "uint8" else 188)).max() <= 2


def test_clear_parts_are_white() -> None:
    clear = np.zeros((16, 16, 4), np.uint8)
    assert colour_of(open_image(packed(clear))) == (255, 255, 255)


@pytest.mark.parametrize("bits", [10, 12])
def test_ten_bits_use_their_whole_range(bits: int) -> None:
    pixels = np.full((16, 16, 3), (1 << bits) - 1, np.uint16)
    assert colour_of(open_image(packed(pixels, bitspersample=bits))) == (255, 255, 255)


def test_channels_that_are_no_colour_are_left_out() -> None:
    planes = np.full((5, 24, 32), 100, np.uint8)
    data = packed(planes, planar=True, photometric="gray")
    assert colour_of(open_image(data)) == (100, 100, 100)


def test_an_animation_shows_a_telling_frame() -> None:
    frames = np.zeros((12, *np.asarray(SCENE).shape), np.uint8)
    frames[4:] = np.asarray(SCENE)
    assert distance(open_image(packed(frames)), SCENE) == 0
    assert read_header(packed(frames)).is_animated


def test_a_bomb_is_refused_by_its_header() -> None:
    header = _bits((0, 1), (3, 2), (29_999, 30), (1, 3), (1, 1))  # 30,000 on either side
    with pytest.raises(UnreadableImage, match="more than 200 million pixels"):
        open_image(b"\xff\x0a" + header)


def test_a_picture_of_thousands_of_channels_is_refused_by_its_header() -> None:
    size = ((0, 1), (1, 2), (4999, 13), (1, 3))  # 5,000 on either side
    depth = ((0, 1), (0, 1), (0, 1), (0, 2), (0, 1))  # 8 bits
    channels = ((3, 2), (4095, 12), *([(1, 1)] * 4096))
    colours = ((0, 1), (1, 1))
    with pytest.raises(UnreadableImage, match="more than 200 million pixels"):
        open_image(b"\xff\x0a" + _bits(*size, *depth, *channels, *colours))


@pytest.mark.parametrize("left", [0.01, 0.5, 0.99])
def test_a_cut_off_file_is_refused(left: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    data = packed(noise)
    with pytest.raises(UnreadableImage, match="cut off"):
        open_image(data[: int(len(data) * left)])


def test_a_header_that_ends_too_soon_is_refused() -> None:
    with pytest.raises(UnreadableImage, match="header of the JPEG XL file is cut off"):
        open_image(b"\xff\x0a\x00")
    with pytest.raises(UnreadableImage, match="holds no picture"):
        open_image(b"\x00\x00\x00\x0cJXL \r\n\x87\n")


def test_the_format_is_named_and_the_pixels_are_those_of_the_file() -> None:
    picture = read_picture(packed(np.asarray(SCENE)))
    assert picture.format == "JPEG XL"
    assert distance(picture.image, SCENE) == 0


def _bits(*parts: tuple[int, int]) -> bytes:
    """Pack (number, bits) one after another, from the lowest bit of each byte on."""
    whole, at = 0, 0
    for number, count in parts:
        whole |= number << at
        at += count
    return whole.to_bytes(at // 8 + 1, "little")
