import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from searchx.errors import UnreadableImage
from searchx.pictures.images import RAW_SUFFIXES, SUFFIXES, open_image, read_picture, thumbnail
from searchx.pictures.raw import is_raw
from tests.scenes import distance, packed, quartered, stored
from tests.tiff_files import dng

SCENE = quartered(320, 208)
WITHOUT_RAWPY = """
import sys
sys.modules["rawpy"] = None  # what an import finds where it is not installed
from pathlib import Path
from searchx.errors import UnreadableImage
from searchx.pictures.images import open_image
try:
    open_image(Path(sys.argv[1]))
except UnreadableImage as error:
    print(error)
"""


def camera_file(orientation: int = 1, side: tuple[int, int] = (320, 208)) -> bytes:
    """Write a DNG whose sensor lies, 640 x 416."""
    scene = quartered(*side) if orientation < 5 else quartered(side[1], side[0])
    preview = packed(stored(scene, orientation), "JPEG", quality=95)
    upright = quartered(640, 416) if orientation < 5 else quartered(416, 640)
    seen = np.asarray(stored(upright, orientation).convert("L")).astype(np.uint16) * 257
    return dng(seen, preview, side, orientation)


@pytest.fixture(autouse=True)
def _needs_rawpy(request: pytest.FixtureRequest) -> None:
    if "without" not in request.node.name:
        pytest.importorskip("rawpy", reason='rawpy is not installed: pip install "searchx[raw]"')


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_preview_stands_upright(orientation: int, tmp_path: Path) -> None:
    path = tmp_path / "IMG_0001.dng"
    path.write_bytes(camera_file(orientation))
    picture = read_picture(path, at_least=200)
    size = (640, 416) if orientation < 5 else (416, 640)
    assert (picture.format, picture.width, picture.height) == ("RAW", *size)
    assert distance(picture.image, quartered(size[0] // 2, size[1] // 2)) < 8


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_small_preview_is_passed_over_for_the_sensor_data(orientation: int) -> None:
    picture = read_picture(camera_file(orientation, side=(160, 104)), at_least=150)
    size = (320, 208) if orientation < 5 else (208, 320)
    assert picture.image.size == size
    grey = np.asarray(picture.image.convert("L")).astype(float)
    seen = np.asarray(quartered(*size).convert("L")).astype(float)
    assert np.corrcoef(grey.ravel(), seen.ravel())[0, 1] > 0.9


def test_a_small_preview_is_enough_for_a_small_side() -> None:
    data = camera_file(side=(160, 104))
    assert read_picture(data, at_least=100).image.size == (160, 104)
    assert read_picture(data).image.size == (320, 208)


def test_a_thumbnail_is_made_of_a_raw() -> None:
    assert thumbnail(camera_file(6), 96)[8:12] == b"WEBP"


def test_a_preview_that_stands_already_is_not_turned_again() -> None:
    upright = packed(quartered(208, 320), "JPEG", quality=95)
    data = dng(np.full((416, 640), 9000, np.uint16), upright, (208, 320), 6)
    picture = read_picture(data, at_least=200)
    assert (picture.width, picture.height) == (416, 640)
    assert distance(picture.image, quartered(208, 320)) < 8


def test_the_orientation_of_the_preview_counts_where_the_raw_has_none() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    turned = packed(stored(SCENE, 3), "JPEG", quality=95, exif=exif)
    assert turned[2:4] == b"\xff\xe0"
    turned = turned[:2] + turned[20:]  # cameras write EXIF first, and no JFIF
    data = dng(np.full((416, 640), 9000, np.uint16), turned, SCENE.size, 1)
    assert distance(open_image(data, at_least=200), SCENE) < 8


@pytest.mark.parametrize("left", [0.001, 0.1, 0.9])
def test_a_cut_off_raw_is_refused(left: float) -> None:
    data = camera_file()
    with pytest.raises(UnreadableImage):
        open_image(data[: int(len(data) * left)])


def test_without_rawpy_a_raw_is_refused_with_what_to_install(tmp_path: Path) -> None:
    path = tmp_path / "IMG_0001.nef"
    path.write_bytes(camera_file())
    command = [sys.executable, "-c", WITHOUT_RAWPY, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    reason = 'camera raw pictures need: pip install "searchx[raw]"'
    assert done.stdout.strip() == f"{path}: {reason}"


@pytest.mark.parametrize("head", [b"FUJIFILMCCD-RAW 0201", b"IIRO\x08\x00", b"IIU\x00\x18\x00"])
def test_raw_files_that_are_no_tiff_are_known_by_their_first_bytes(head: bytes) -> None:
    assert is_raw(io.BytesIO(head + bytes(64)))
    assert is_raw(io.BytesIO(b"\x00\x00\x00\x18ftypcrx " + bytes(64)))
    assert is_raw(io.BytesIO(b"II*\x00\x10\x00\x00\x00CR\x02\x00" + bytes(64)))
    assert not is_raw(io.BytesIO(packed(SCENE, "TIFF")))


def test_raw_suffixes_are_among_the_suffixes() -> None:
    assert RAW_SUFFIXES < SUFFIXES
    assert {".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2"} <= RAW_SUFFIXES
