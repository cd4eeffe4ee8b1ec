import struct

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from searchx.pictures.colours import display_curve, from_code_points
from searchx.pictures.images import open_image
from tests.scenes import colour_of, distance, packed, quartered

P3 = np.array(  # from linear sRGB
    [[0.8225, 0.1774, 0.0], [0.0332, 0.9669, 0.0], [0.0171, 0.0724, 0.9108]]
)
P3_TO_SRGB = np.linalg.inv(P3)
LINEAR, SRGB, PQ, HLG = 8, 13, 16, 18


def light(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4)


def signal(light: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("colour", [(200, 100, 100), (90, 160, 120), (30, 30, 30), (255, 255, 255)])
def test_display_p3_becomes_srgb(colour: tuple[int, int, int]) -> None:
    image = from_code_points(Image.new("RGB", (8, 8), colour), 12, SRGB)
    exact = 255 * signal(np.clip(P3_TO_SRGB @ light(np.array(colour) / 255), 0, 1))
    assert np.abs(np.array(colour_of(image)) - exact).max() <= 2


@pytest.mark.parametrize("primaries", [1, 2, 9, 12])
def test_grey_stays_grey_under_all_primaries(primaries: int) -> None:
    image = from_code_points(Image.new("RGB", (8, 8), (120, 120, 120)), primaries, SRGB)
    assert np.abs(np.array(colour_of(image)) - 120).max() <= 1


def test_the_curves_rise_from_black_to_white() -> None:
    for transfer in (LINEAR, SRGB, PQ, HLG):
        curve = display_curve(transfer, 1024)
        assert curve[0] == 0
        assert curve[-1] == pytest.approx(1)
        assert (np.diff(curve) >= 0).all()


def test_the_white_of_a_page_in_pq_is_bright_and_leaves_room_above() -> None:
    white = display_curve(PQ, 10_001)[5807]  # 203 cd/m² (ITU-R BT.2408, table 1)
    assert 0.7 < white < 0.95


def test_the_code_points_of_an_avif_are_heeded() -> None:
    plain = packed(Image.new("RGB", (64, 64), (150, 150, 150)), "AVIF", quality=100)
    assert plain.count(b"colrnclx\x00\x01\x00\x0d") == 1
    bright = plain.replace(b"colrnclx\x00\x01\x00\x0d", b"colrnclx\x00\x01\x00\x08")
    assert abs(colour_of(open_image(plain))[0] - 150) <= 2
    assert abs(colour_of(open_image(bright))[0] - 202) <= 2  # linear light


def grey_profile(gamma: float) -> bytes:
    """Write an ICC profile for greys: a white and a curve (ICC.1)."""
    white = struct.pack(">4s4x3i", b"XYZ ", 63190, 65536, 54061)
    curve = struct.pack(">4s4xIHxx", b"curv", 1, round(gamma * 256))
    table = struct.pack(">I4sII4sII", 2, b"wtpt", 156, 20, b"kTRC", 176, 16)
    size = 128 + len(table) + len(white) + len(curve)
    head = struct.pack(">I4xI4s4s4s12x4s", size, 0x02400000, b"mntr", b"GRAY", b"XYZ ", b"acsp")
    head += bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\x00") + table + white + curve


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_the_profile_of_a_grey_picture_is_applied(mode: str) -> None:
    """Half the light, which linear light calls 128, is 188 in sRGB."""
    if mode == "I;16":
        image = Image.fromarray(np.full((8, 8), 128 * 257, np.uint16))
    else:
        image = Image.new("L", (8, 8), 128).convert(mode)
    data = packed(image, "PNG", icc_profile=grey_profile(1.0))
    assert abs(colour_of(open_image(data))[0] - 188) <= 2


def test_a_profile_for_other_pixels_is_left_out() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert (
        colour_of(open_image(packed(Image.new("L", (8, 8), 90), "PNG", icc_profile=srgb)))[0] == 90
    )
    scene = packed(quartered(), "PNG", icc_profile=grey_profile(1.0))
    assert distance(open_image(scene), quartered()) == 0


def test_the_profile_of_a_palette_is_applied() -> None:
    plain = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = plain.replace(b"rXYZ", b"----", 1).replace(b"bXYZ", b"rXYZ", 1)
    swapped = swapped.replace(b"----", b"bXYZ", 1)
    swapped = swapped.replace("sRGB".encode("utf-16-be"), "BGRx".encode("utf-16-be"))
    red = Image.new("RGB", (8, 8), (255, 0, 0)).quantize(4)
    assert colour_of(open_image(packed(red, "PNG", icc_profile=swapped))) == (0, 0, 255)


@pytest.mark.parametrize("cut", [10, 130, 200])
def test_a_damaged_profile_costs_nothing_else(cut: int) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()[:cut]
    for format in ("PNG", "JPEG", "WEBP", "TIFF"):
        data = packed(Image.new("RGB", (16, 16), (90, 120, 150)), format, icc_profile=profile)
        assert np.abs(np.array(colour_of(open_image(data))) - (90, 120, 150)).max() <= 3
