import io
import time
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from searchx.errors import UnreadableImage
from searchx.pictures.frames import MAX_FRAMES, detail
from searchx.pictures.images import open_image, read_picture, thumbnail
from tests.scenes import distance, packed, quartered

SCENE = quartered()
ANIMATED = {
    "GIF": {"duration": 40, "loop": 0},
    "PNG": {"duration": 40, "loop": 0},
    "WEBP": {"duration": 40, "lossless": True},
    "AVIF": {"duration": 40, "quality": 95, "speed": 10},
}


def animation(frames: Sequence[Image.Image], format: str = "GIF") -> bytes:
    return packed(frames[0], format, save_all=True, append_images=frames[1:], **ANIMATED[format])


def fading(steps: int, colour: str = "black") -> list[Image.Image]:
    blank = Image.new("RGB", SCENE.size, colour)
    return [Image.blend(blank, SCENE, step / steps) for step in range(steps + 1)]


@pytest.mark.parametrize("format", ANIMATED)
@pytest.mark.parametrize("colour", ["black", "white"])
def test_a_blank_beginning_does_not_stand_for_the_file(format: str, colour: str) -> None:
    data = animation([*fading(6, colour), SCENE], format)
    picture = read_picture(data)
    assert picture.format == format
    assert (picture.width, picture.height) == SCENE.size
    assert distance(picture.image, SCENE) < 16


@pytest.mark.parametrize("format", ANIMATED)
def test_every_size_shows_the_same_frame(format: str) -> None:
    large = [frame.resize((384, 256)) for frame in [*fading(4), SCENE]]
    data = animation(large, format)
    small = read_picture(data, at_least=32)
    shown = Image.open(io.BytesIO(thumbnail(data, 96))).convert("RGB")
    assert (small.width, small.height) == (384, 256)
    assert distance(small.image.resize((96, 64)), open_image(data).resize((96, 64))) < 4
    assert distance(shown, SCENE) < 24
    assert distance(open_image(data), open_image(data)) == 0


def test_of_frames_that_show_as_much_the_first_is_taken() -> None:
    turned = SCENE.transpose(Image.Transpose.ROTATE_180)
    assert distance(open_image(animation([SCENE, turned])), SCENE) < 4


def test_an_animation_that_is_blank_throughout_is_read() -> None:
    frames = [Image.new("RGB", (32, 32), (level, 0, 0)) for level in (0, 80, 160)]
    assert open_image(animation(frames)).size == (32, 32)


def test_an_endless_animation_ends() -> None:
    blank = animation([Image.new("RGB", (64, 64)), Image.new("RGB", (64, 64), "red")])
    start = blank.rindex(b"\x21\xf9")  # the last frame, over and over
    data = blank[:start] + blank[start:-1] * 50_000 + b";"
    began = time.monotonic()
    assert open_image(data).size == (64, 64)
    assert time.monotonic() - began < 20


def test_no_more_frames_are_looked_at_than_the_limit() -> None:
    blanks = [Image.new("L", (16, 16), number) for number in range(MAX_FRAMES)]
    chequered = Image.fromarray(np.kron(np.eye(2), np.full((8, 8), 255)).astype(np.uint8))
    assert detail(open_image(animation([*blanks, chequered]))) == 0
    assert detail(open_image(animation([*blanks[1:], chequered]))) > 100


def test_damage_behind_a_whole_frame_costs_only_what_comes_after() -> None:
    random = np.random.default_rng(2)
    noise = Image.fromarray(random.integers(0, 256, (64, 96, 3), np.uint8)).quantize(64)
    whole = animation([SCENE.quantize(8), SCENE.rotate(180).quantize(8), noise])
    assert distance(open_image(whole[:-2000]), SCENE) < 4
    with pytest.raises(UnreadableImage):
        open_image(animation([noise, SCENE])[:2000])


@pytest.mark.parametrize("ground", ["clear", "solid"])
def test_what_is_clear_shows_nothing(ground: str) -> None:
    image = SCENE.convert("RGBA")
    image.putalpha(0 if ground == "clear" else 255)
    assert (detail(image) == 0) == (ground == "clear")
