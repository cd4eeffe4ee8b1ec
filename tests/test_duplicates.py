"""The threshold of near duplicates: copies are above it, other pictures below."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from searchx import duplicates
from searchx.encoder import Encoder, load_encoder
from searchx.errors import BadInput
from searchx.ranking import groups
from searchx.records import Vectors
from tests.colour import COLOURS, ColourEncoder


def picture(seed: int, width: int = 320, height: int = 240) -> Image.Image:
    """Draw a scene of shapes that is like no other."""
    random = np.random.default_rng(seed)
    image = Image.new("RGB", (width, height), tuple(random.integers(0, 256, 3).tolist()))
    draw = ImageDraw.Draw(image)
    for _ in range(10):
        left, top = random.integers(0, width - 60), random.integers(0, height - 60)
        size = random.integers(20, 150, 2)
        box = (int(left), int(top), int(left + size[0]), int(top + size[1]))
        fill = tuple(random.integers(0, 256, 3).tolist())
        (draw.ellipse if random.random() < 0.5 else draw.rectangle)(box, fill=fill)
    return image


def plain(colour: str) -> Image.Image:
    return Image.new("RGB", (64, 48), COLOURS[colour])


@pytest.fixture(scope="module")
def mini() -> Encoder:
    return load_encoder("mini", "cpu")


def embedded(encoder: Encoder, pictures: list[Image.Image]) -> Vectors:
    return encoder.embed_images([encoder.fit(one) for one in pictures])


def test_the_threshold_of_mini_is_shipped(mini: Encoder) -> None:
    assert duplicates.threshold(mini, []) == duplicates.MEASURED[mini.space.digest]


def test_copies_are_grouped_and_other_scenes_are_not(mini: Encoder) -> None:
    scenes = [picture(seed) for seed in range(4)]
    copies = [duplicates.brightened(one) for one in scenes[:2]]
    copies += [duplicates.cropped(one) for one in scenes[2:]]
    vectors = embedded(mini, scenes + copies)
    assert groups(vectors, duplicates.threshold(mini, [])).tolist() == [0, 1, 2, 3, 0, 1, 2, 3]


def test_a_measured_threshold_lies_between_copies_and_other_pictures() -> None:
    encoder = ColourEncoder()
    pictures = [plain(colour) for colour in ("red", "green", "blue", "yellow")]
    threshold = duplicates.threshold(encoder, pictures)
    vectors = embedded(encoder, pictures)
    others = (vectors @ vectors.T)[np.triu_indices(4, 1)]
    assert others.max() < threshold <= 1
    for change in (duplicates.cropped, duplicates.brightened):
        copies = embedded(encoder, [change(one) for one in pictures])
        assert groups(np.concatenate([vectors, copies]), threshold).tolist()[4:] == [0, 1, 2, 3]


def test_a_picture_that_is_there_twice_does_not_raise_the_threshold() -> None:
    encoder = ColourEncoder()
    once = [picture(seed) for seed in range(6)]
    threshold = duplicates.measured(encoder, once)
    twice = duplicates.measured(encoder, [*once, once[0], once[1]])
    assert twice == pytest.approx(threshold, abs=0.02)
    assert twice < 1


def test_a_picture_is_embedded_three_times() -> None:
    encoder = ColourEncoder()
    duplicates.threshold(encoder, [picture(seed) for seed in range(11)])
    assert encoder.embedded_images == 33


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_pictures_are_refused(count: int) -> None:
    with pytest.raises(BadInput, match="too few"):
        duplicates.threshold(ColourEncoder(), [picture(0)] * count)


def test_a_picture_of_one_pixel_can_be_changed_in_every_way() -> None:
    dot = Image.new("RGB", (1, 1), "red")
    changed = [duplicates.recompressed(dot), duplicates.cropped(dot), duplicates.brightened(dot)]
    assert [one.size for one in [*changed, duplicates.halved(dot, 224)]] == [(1, 1)] * 4


def test_half_of_a_large_picture_is_less_than_the_encoder_sees() -> None:
    assert duplicates.halved(Image.new("RGB", (4000, 3000)), 224).size == (149, 112)
    assert duplicates.halved(Image.new("RGB", (100, 50)), 224).size == (50, 25)
