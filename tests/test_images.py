import io
import multiprocessing
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import ExifTags, Image, ImageCms

from searchx.errors import UnreadableImage
from searchx.pictures.images import open_image, read_picture, thumbnail
from searchx.pictures.limits import MAX_PIXELS
from tests.scenes import colour_of, distance, packed, quartered, stored


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_turned_upright(orientation: int, format: str) -> None:
    scene = quartered()
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    picture = read_picture(packed(stored(scene, orientation), format, exif=exif))
    assert distance(picture.image, scene) < 6
    assert (picture.width, picture.height) == scene.size


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_costs_the_orientation_and_not_the_picture() -> None:
    exif = b"Exif\x00\x00II*\x00\xff\xff\xff\xff\x01\x02"
    assert distance(open_image(packed(quartered(), "JPEG", exif=exif)), quartered()) < 6


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_is_decoded_smaller_but_never_too_small(orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    data = packed(quartered(1600, 1200), "JPEG", exif=exif)
    small = read_picture(data, at_least=100)
    assert 100 <= min(small.image.size) < 1200
    assert sorted((small.width, small.height)) == [1200, 1600]
    assert min(open_image(data, at_least=1200).size) == 1200
    assert min(open_image(data, at_least=5000).size) == 1200
    assert sorted(open_image(data).size) == [1200, 1600]
    full = open_image(data).resize((32, 32), Image.Resampling.BOX)
    assert distance(small.image.resize((32, 32), Image.Resampling.BOX), full) < 3


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "1"])
def test_other_formats_come_smaller_too_and_look_the_same(mode: str) -> None:
    data = packed(quartered(800, 600).convert(mode), "PNG")
    small = read_picture(data, at_least=50)
    assert (small.width, small.height) == (800, 600)
    assert min(small.image.size) >= 50
    whole = open_image(data).resize((32, 32), Image.Resampling.BOX)
    assert distance(small.image.resize((32, 32), Image.Resampling.BOX), whole) < 3


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (3, 600)])
def test_small_and_narrow_pictures_are_read(size: tuple[int, int]) -> None:
    assert open_image(packed(Image.new("RGB", size), "PNG"), at_least=224).size == size


def test_a_picture_too_narrow_to_be_resized_is_refused() -> None:
    with pytest.raises(UnreadableImage, match="too narrow"):
        open_image(packed(Image.new("RGB", (1, 201)), "PNG"))


def test_heic_is_read_with_its_orientation(tmp_path: Path) -> None:
    pillow_heif.register_heif_opener()
    scene = quartered(128, 64)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    path = tmp_path / "phone.heic"
    scene.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif.tobytes(), quality=90)
    picture = read_picture(path)
    assert distance(picture.image, scene) < 12
    assert (picture.width, picture.height) == (128, 64)


def test_a_file_and_its_bytes_give_the_same_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    quartered().save(path)
    assert distance(open_image(path), open_image(path.read_bytes())) == 0


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_what_is_transparent_becomes_white(mode: str) -> None:
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    if mode == "PA":
        data = packed(clear.convert("P"), "PNG", transparency=clear.convert("P").getpixel((0, 0)))
    else:
        data = packed(clear.convert(mode), "PNG")
    assert colour_of(open_image(data)) == (255, 255, 255)


def test_half_transparent_red_on_white_is_pink() -> None:
    data = packed(Image.new("RGBA", (8, 8), (255, 0, 0, 128)), "PNG")
    assert colour_of(open_image(data)) == (255, 127, 127)


def test_a_palette_keeps_its_colours() -> None:
    data = packed(quartered().quantize(8), "PNG")
    assert distance(open_image(data), quartered()) < 2


def test_a_print_jpeg_in_cmyk_keeps_its_colours() -> None:
    data = packed(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG")
    red, green, blue = colour_of(open_image(data))
    assert red > 200
    assert max(green, blue) < 60


def test_deep_greys_use_their_whole_range() -> None:
    deep = np.full((16, 16), 0x8000, np.uint16)
    data = packed(Image.fromarray(deep), "PNG")
    assert colour_of(open_image(data)) == (128, 128, 128)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of a new process")
def test_a_large_deep_grey_is_made_shallow_in_little_memory(tmp_path: Path) -> None:
    """60 million pixels take 120 MB as 16 bits and 60 MB as 8 bits; little comes on top."""
    rows = zlib.compress(bytes(6000 * (1 + 2 * 10_000)), 1)
    path = tmp_path / "deep.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + _png_chunk(b"IHDR", struct.pack(">IIBBBBB", 10_000, 6000, 16, 0, 0, 0, 0))
        + _png_chunk(b"IDAT", rows)
        + _png_chunk(b"IEND", b"")
    )
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_read_within, args=(str(path), 220 << 20))
    process.start()
    process.join(120)
    assert process.exitcode == 0


def _read_within(path: str, limit: int) -> None:
    open_image(packed(Image.new("L", (8, 8)), "PNG"))  # this has loaded the decoders
    before = _peak()
    assert min(open_image(Path(path), at_least=224).size) >= 224
    assert _peak() - before < limit


def _peak() -> int:
    """Give the most memory in bytes that this process has held."""
    words = Path("/proc/self/status").read_text().split()
    return int(words[words.index("VmHWM:") + 1]) << 10


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def test_pictures_of_several_strips_are_whole() -> None:
    deep = np.arange(2048 * 1024, dtype=np.uint32).reshape(2048, 1024) // 32
    grey = np.asarray(open_image(packed(Image.fromarray(deep.astype(np.uint16)), "PNG")))
    assert (grey[:, :, 0] == np.rint(deep * (255.0 / 65535.0))).all()
    clear = quartered(1024, 2048)
    clear.putalpha(Image.new("L", clear.size, 128))
    half = Image.blend(Image.new("RGB", clear.size, "white"), quartered(1024, 2048), 128 / 255)
    assert distance(open_image(packed(clear, "PNG")), half) < 1


def test_floating_point_greys_are_stretched() -> None:
    ramp = np.linspace(-2.0, 2.0, 256, dtype=np.float32).reshape(16, 16)
    image = np.asarray(open_image(packed(Image.fromarray(ramp), "TIFF")))
    assert (image.min(), image.max()) == (0, 255)


@pytest.mark.parametrize("mode", ["1", "L"])
def test_black_and_white_becomes_rgb(mode: str) -> None:
    assert colour_of(open_image(packed(Image.new(mode, (8, 8), 1), "PNG")))[0] in (1, 255)


def test_a_colour_profile_is_applied() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    grey = Image.new("RGB", (8, 8), (90, 120, 150))
    assert colour_of(open_image(packed(grey, "PNG", icc_profile=srgb))) == (90, 120, 150)
    # A profile that does not fit the pixels, or is no profile at all, is left out.
    assert colour_of(open_image(packed(grey, "PNG", icc_profile=lab))) == (90, 120, 150)
    assert colour_of(open_image(packed(grey, "PNG", icc_profile=b"none"))) == (90, 120, 150)


def test_a_wide_colour_profile_changes_the_numbers() -> None:
    swapped = _with_swapped_primaries(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")))
    red = packed(Image.new("RGB", (8, 8), (255, 0, 0)), "PNG", icc_profile=swapped)
    assert colour_of(open_image(red)) == (0, 0, 255)


def _with_swapped_primaries(profile: ImageCms.ImageCmsProfile) -> bytes:
    """Name red what is blue: the tags rXYZ and bXYZ change names, and the title changes."""
    data = profile.tobytes()
    data = data.replace(b"rXYZ", b"----", 1).replace(b"bXYZ", b"rXYZ", 1)
    data = data.replace(b"----", b"bXYZ", 1)
    return data.replace("sRGB".encode("utf-16-be"), "BGRx".encode("utf-16-be"))


def _png_header(width: int, height: int) -> bytes:
    chunk = _png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + chunk + b"\x00\x00\x00\x00IDAT" + struct.pack(">I", 0x35AF061E)


@pytest.mark.parametrize("pixels", [MAX_PIXELS + 20_000, 3 * MAX_PIXELS])
def test_a_huge_picture_is_refused_before_it_is_decoded(pixels: int) -> None:
    with pytest.raises(UnreadableImage, match="more than 200 million pixels"):
        open_image(_png_header(20_000, pixels // 20_000))


def test_the_size_limit_itself_is_not_refused_as_huge() -> None:
    with pytest.raises(UnreadableImage) as refusal:
        open_image(_png_header(20_000, MAX_PIXELS // 20_000))
    assert "million" not in str(refusal.value)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF"])
def test_a_truncated_file_is_refused(format: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = packed(Image.fromarray(noise), format)
    with pytest.raises(UnreadableImage):
        open_image(data[: len(data) // 2])


@pytest.mark.parametrize("data", [b"", b"just a text", b"\xff\xd8\xff", bytes(1000)])
def test_what_is_no_picture_is_refused_in_one_line(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "holiday.jpg"
    path.write_bytes(data)
    with pytest.raises(UnreadableImage) as by_path:
        open_image(path)
    with pytest.raises(UnreadableImage) as by_bytes:
        open_image(data)
    assert str(by_path.value) == f"{path}: {by_bytes.value}"
    assert "\n" not in str(by_path.value)


def test_formats_that_start_other_programs_are_not_read() -> None:
    with pytest.raises(UnreadableImage, match="not a picture in a format"):
        open_image(packed(quartered(), "EPS"))


def test_missing_files_folders_and_pipes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match="No such file"):
        open_image(tmp_path / "none.jpg")
    with pytest.raises(UnreadableImage, match="not a file"):
        open_image(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(UnreadableImage, match="not a file"):
        open_image(tmp_path / "pipe.jpg")


def test_a_thumbnail_is_webp_within_the_side() -> None:
    small = Image.open(io.BytesIO(thumbnail(packed(quartered(640, 480), "JPEG"), 160)))
    assert small.format == "WEBP"
    assert small.size == (160, 120)
    assert distance(small.convert("RGB"), quartered(160, 120)) < 8


def test_a_thumbnail_does_not_enlarge() -> None:
    small = Image.open(io.BytesIO(thumbnail(packed(quartered(40, 30), "PNG"), 160)))
    assert small.size == (40, 30)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process")
@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "GIF"])
def test_lack_of_memory_is_told_apart_from_damage(format: str, tmp_path: Path) -> None:
    path = tmp_path / "large"
    Image.new("L", (6000, 5000)).save(path, format)
    command = [sys.executable, "-c", WITHIN_LITTLE_MEMORY, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split("\n")[0] == f"{path}: not enough memory to decode this picture"
    assert done.stdout.split("\n")[1] == "MemoryError"


WITHIN_LITTLE_MEMORY = """
import io, resource, sys
from pathlib import Path
from PIL import Image
from searchx.errors import UnreadableImage
from searchx.pictures.images import open_image

file = io.BytesIO()
Image.new("L", (8, 8)).save(file, "PNG")
open_image(file.getvalue())  # this has loaded the decoders
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (20 << 20),) * 2)
try:
    open_image(Path(sys.argv[1]))
except UnreadableImage as error:
    print(error)
    print(type(error.__cause__).__name__)
"""
