"""Where a picture answers a question, checked with colours: the part of that colour is hot."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from searchx.encoder.plain import OpenClipEncoder
from searchx.errors import BadInput, UnreadableImage
from searchx.heat import CELLS, Heat, heat_of
from searchx.records import Pixels, Vectors
from searchx.search import Library
from tests.colour import COLOURS, ColourEncoder
from tests.scenes import packed

ENCODER = ColourEncoder()
HALF = CELLS // 2


def patched(size: tuple[int, int], colour: str, box: tuple[int, int, int, int]) -> Image.Image:
    picture = Image.new("RGB", size, COLOURS["blue"])
    picture.paste(COLOURS[colour], box)
    return picture


def heat(picture: Image.Image, asked: str) -> Heat:
    return heat_of(ENCODER, picture, ENCODER.embed_texts([asked])[0])


@pytest.mark.parametrize("size", [(240, 240), (600, 90), (90, 600), (3001, 2003)])
def test_the_part_of_the_asked_colour_is_hot_in_pictures_of_every_shape(
    size: tuple[int, int],
) -> None:
    width, height = size
    found = heat(patched(size, "red", (width // 2, 0, width, height // 2)), "red")
    assert found.shape == (CELLS, CELLS)
    assert found.dtype == np.float32
    top_right = found[:HALF, HALF:]
    assert top_right.clip(0).sum() / found.clip(0).sum() > 0.8
    assert (found[HALF + 2 :] < 0).all()


def test_what_is_hot_for_one_question_is_cold_for_another() -> None:
    picture = patched((240, 240), "red", (0, 0, 120, 240))
    red, blue = heat(picture, "red"), heat(picture, "blue")
    assert red[:, :4].min() > 0 > red[:, -4:].max()
    assert blue[:, :4].max() < 0 < blue[:, -4:].min()


def test_a_small_part_is_found() -> None:
    found = heat(patched((480, 480), "yellow", (40, 360, 100, 420)), "yellow")
    row, column = divmod(int(found.argmax()), CELLS)
    assert row in (8, 9, 10, 11)
    assert column in (0, 1, 2, 3)


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (5, 3), (300, 200)])
def test_nothing_is_hot_where_all_is_alike(size: tuple[int, int]) -> None:
    found = heat(Image.new("RGB", size, COLOURS["green"]), "green")
    assert np.abs(found).max() < 1e-6


def test_the_encoder_gets_no_more_at_once_than_it_takes_best() -> None:
    sizes: list[int] = []

    class Counting(ColourEncoder):
        def embed_images(self, pixels: Sequence[Pixels]) -> Vectors:
            sizes.append(len(pixels))
            return super().embed_images(pixels)

    encoder = Counting()
    heat_of(encoder, Image.new("RGB", (64, 64)), encoder.embed_texts(["red"])[0])
    assert sum(sizes) == 34
    assert max(sizes) == encoder.batch_size


def test_a_model_of_open_clip_can_be_asked(tiny_model: Path) -> None:
    encoder = OpenClipEncoder(f"local-dir:{tiny_model}", "cpu")
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    found = heat_of(encoder, Image.fromarray(noise), encoder.embed_texts(["red"])[0])
    assert found.shape == (CELLS, CELLS)
    assert np.isfinite(found).all()


def test_a_library_tells_it_of_positive_parts(library: Library, photos: Path) -> None:
    content = packed(patched((240, 240), "red", (0, 0, 120, 240)), "PNG")
    plain = library.heat("red", content)
    assert plain[:, 0].min() > 0 > plain[:, -1].max()
    assert np.array_equal(plain, library.heat("red -blue ext:gif", content))
    (photos / "part.png").write_bytes(content)
    assert np.array_equal(plain, library.heat("red", photos / "part.png"))


def test_a_library_refuses_what_has_nothing_to_answer(library: Library, photos: Path) -> None:
    content = packed(Image.new("RGB", (8, 8)), "PNG")
    with pytest.raises(BadInput, match="nothing but a filter"):
        library.heat("ext:png", content)
    with pytest.raises(UnreadableImage):
        library.heat("red", b"no picture")
