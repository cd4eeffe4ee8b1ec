"""The model in the package: it loads offline, means something, and keeps its promises."""

import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from searchx.encoder import Encoder, load_encoder
from searchx.encoder.names import MINI
from tests.tiny_model import assert_cut_at_the_limit


@pytest.fixture(scope="module")
def mini() -> Encoder:
    return load_encoder("mini", "cpu")


def scene(seed: int) -> Image.Image:
    """Draw something that looks like nothing else."""
    chance = random.Random(seed)
    image = Image.new("RGB", (320, 240), tuple(chance.choices(range(256), k=3)))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        left, top = chance.randrange(280), chance.randrange(200)
        box = (left, top, left + chance.randrange(20, 120), top + chance.randrange(20, 120))
        shape = chance.choice((draw.ellipse, draw.rectangle))
        shape(box, fill=tuple(chance.choices(range(256), k=3)))
    return image


def field() -> Image.Image:
    image = Image.new("RGB", (320, 240), (110, 170, 235))
    ImageDraw.Draw(image).rectangle((0, 120, 320, 240), fill=(70, 150, 50))
    return image


def sunset() -> Image.Image:
    image = Image.new("RGB", (320, 240))
    draw = ImageDraw.Draw(image)
    for row in range(240):
        depth = row / 240
        colour = (255 - int(60 * depth), 200 - int(150 * depth), 60 + int(20 * depth))
        draw.line((0, row, 320, row), fill=colour)
    draw.ellipse((130, 110, 190, 170), fill=(255, 240, 180))
    draw.rectangle((0, 160, 320, 240), fill=(60, 40, 70))
    return image


def stop_sign() -> Image.Image:
    image = Image.new("RGB", (320, 240), (150, 190, 230))
    draw = ImageDraw.Draw(image)
    draw.regular_polygon((160, 110, 80), 8, rotation=22, fill=(190, 20, 30), outline="white")
    draw.rectangle((154, 185, 166, 240), fill=(120, 120, 120))
    draw.text((110, 85), "STOP", fill="white", font_size=45)
    return image


def test_texts_of_one_meaning_are_near(mini: Encoder) -> None:
    texts = [
        "a dog runs along the beach",
        "a puppy is playing in the sand by the sea",
        "a plate of pasta with tomato sauce",
        "spaghetti on a dish",
        "a man rides a motorcycle down the street",
        "someone on a motorbike on the road",
    ]
    vectors = mini.embed_texts(texts)
    scores = vectors @ vectors.T - 2 * np.eye(len(texts))
    assert scores.argmax(axis=1).tolist() == [1, 0, 3, 2, 5, 4]


def test_words_find_what_is_drawn(mini: Encoder) -> None:
    pictures = {
        "a green field under a blue sky": field(),
        "the sun sets over the sea": sunset(),
        "a red stop sign on a pole": stop_sign(),
    }
    vectors = mini.embed_images([mini.fit(one) for one in pictures.values()])
    scores = mini.embed_texts(list(pictures)) @ vectors.T  # (texts, pictures)
    assert scores.argmax(axis=1).tolist() == [0, 1, 2]


def test_a_picture_is_nearest_to_its_blurred_and_cropped_copy(mini: Encoder) -> None:
    scenes = [scene(seed) for seed in range(8)]
    copies = [one.filter(ImageFilter.GaussianBlur(1)).crop((8, 8, 312, 232)) for one in scenes]
    first = mini.embed_images([mini.fit(one) for one in scenes])
    second = mini.embed_images([mini.fit(one) for one in copies])
    assert (first @ second.T).argmax(axis=1).tolist() == list(range(8))


def test_vectors_do_not_depend_on_the_batch(mini: Encoder) -> None:
    texts = ["snow", "a very long description of a street with many cars and people " * 3, ""]
    alone = np.concatenate([mini.embed_texts([text]) for text in texts])
    assert np.allclose(mini.embed_texts(texts), alone, atol=1e-5)
    pixels = [mini.fit(scene(seed)) for seed in range(3)]
    single = np.concatenate([mini.embed_images([one]) for one in pixels])
    assert np.allclose(mini.embed_images(pixels), single, atol=1e-5)


def test_tokens_are_counted_as_the_model_reads_them(mini: Encoder) -> None:
    assert mini.text_limit == 64
    assert_cut_at_the_limit(mini)
    texts = ["", "dog", "a dog on the beach", "a dog " * 1000, "\ud800", "狗在海滩上"]
    assert mini.count_tokens(texts) == [2, 3, 7, 2002, 3, 7]


def test_libraries_made_with_it_stay_valid(mini: Encoder) -> None:
    """Another digest is another space: every library would have to be indexed anew."""
    assert mini.space.digest == "57c1a12fc65dbabfd60ae85b104f5dbc"


@pytest.mark.parametrize(
    "text", ["", " ", "\x00", "狗在海滩上", "🐕‍🦺" * 200, "a" * 100_000, "\ud800"]
)
def test_any_text_has_a_unit_vector(mini: Encoder, text: str) -> None:
    assert np.isclose(np.linalg.norm(mini.embed_texts([text])), 1, atol=1e-5)


def test_the_model_is_small_and_tells_where_it_comes_from() -> None:
    assert sum(path.stat().st_size for path in MINI.iterdir()) < 90e6
    card = (MINI / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert all(word in card for word in ("Apache-2.0", "MIT", "CC BY 4.0", "searchx train"))
    assert [path.name for path in Path(MINI).glob("*.py")] == []
