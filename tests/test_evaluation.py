from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchx.errors import BadInput, UnreadableImage
from searchx.evaluation import embed_pictures, evaluate, rank_pairs, retrieval_of
from searchx.pairs import Pair
from searchx.records import Vectors
from tests.colour import COLOURS, ColourEncoder, paint


def rows(count: int, seed: int, values: int) -> Vectors:
    """Make rows of a few whole numbers: products are exact, and ties are many."""
    return np.random.default_rng(seed).integers(-values, values + 1, (count, 3)).astype(np.float32)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(0, 10**6), st.integers(1, 5)
)
def test_ranks_are_those_of_counting(captions: list[int], seed: int, values: int) -> None:
    owners = np.repeat(np.arange(len(captions)), captions)
    images, texts = rows(len(captions), seed, values), rows(len(owners), seed + 1, values)
    forward, backward = rank_pairs(images, texts, owners)
    scores = (texts @ images.T).tolist()  # [text][image]
    for text, own in enumerate(owners.tolist()):
        others = [score for image, score in enumerate(scores[text]) if image != own]
        assert forward[text] == 1 + sum(score >= scores[text][own] for score in others)
    for image, count in enumerate(captions):
        own_scores = [scores[text][image] for text in np.flatnonzero(owners == image)]
        wrong = [scores[text][image] for text in np.flatnonzero(owners != image)]
        best = max(own_scores) if count else -np.inf
        assert backward[image] == 1 + sum(score >= best for score in wrong)


def test_ranks_do_not_depend_on_the_blocks_of_the_count() -> None:
    random = np.random.default_rng(0)
    images = random.normal(size=(700, 16)).astype(np.float32)
    owners = np.repeat(np.arange(700), 3)
    texts = images[owners] + 0.8 * random.normal(size=(2100, 16)).astype(np.float32)
    forward, backward = rank_pairs(images, texts, owners)
    scores = texts @ images.T
    own = scores[np.arange(2100), owners]
    assert np.array_equal(forward, (scores >= own[:, None]).sum(axis=1))
    wrong = np.where(owners[:, None] == np.arange(700), -np.inf, scores)
    best = own.reshape(700, 3).max(axis=1)
    assert np.array_equal(backward, 1 + (wrong >= best).sum(axis=0))


def test_an_encoder_that_tells_nothing_apart_is_not_rewarded() -> None:
    same = np.full((20, 4), 0.5, np.float32)
    forward, backward = rank_pairs(same, same, np.arange(20))
    assert forward.tolist() == backward.tolist() == [20] * 20
    assert retrieval_of(forward).recall_at_10 == 0


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=40))
def test_metrics_are_those_of_the_definition(ranks: list[int]) -> None:
    metrics = retrieval_of(np.array(ranks, np.int64)).as_dict()
    for k in (1, 5, 10):
        found = [rank for rank in ranks if rank <= k]
        assert metrics[f"recall@{k}"] == pytest.approx(len(found) / len(ranks))
    assert metrics["mrr"] == pytest.approx(sum(1 / rank for rank in ranks) / len(ranks))
    middle = sorted(ranks)[(len(ranks) - 1) // 2 : len(ranks) // 2 + 1]
    assert metrics["median_rank"] == sum(middle) / len(middle)
    assert 0 <= metrics["recall@1"] <= metrics["recall@5"] <= metrics["recall@10"] <= 1


def painted(tmp_path: Path) -> list[Pair]:
    return [
        Pair(paint(tmp_path / f"{colour}.png", colour), (colour, f"something {colour}"))
        for colour in COLOURS
    ]


def test_the_colour_encoder_knows_its_colours(tmp_path: Path) -> None:
    done: list[int] = []
    result = evaluate(ColourEncoder(), painted(tmp_path), done.append).as_dict()
    perfect = {"recall@1": 1.0, "recall@5": 1.0, "recall@10": 1.0, "mrr": 1.0, "median_rank": 1.0}
    assert result == {
        "model": "colour",
        "images": 10,
        "texts": 20,
        "text_to_image": perfect,
        "image_to_text": perfect,
    }
    assert done == [8, 2]


def test_swapped_captions_are_noticed(tmp_path: Path) -> None:
    pairs = painted(tmp_path)[:2]
    swapped = [Pair(pairs[0].image, pairs[1].captions), Pair(pairs[1].image, pairs[0].captions)]
    result = evaluate(ColourEncoder(), swapped)
    assert (result.text_to_image.recall_at_1, result.image_to_text.recall_at_1) == (0, 0)
    assert result.text_to_image.median_rank == 2
    assert result.image_to_text.median_rank == 3  # behind both texts of the other picture


def test_pictures_are_embedded_in_order(tmp_path: Path) -> None:
    encoder = ColourEncoder()
    vectors = embed_pictures(encoder, painted(tmp_path))
    assert np.allclose(vectors, encoder.embed_texts(list(COLOURS)), atol=1e-3)


def test_a_picture_that_cannot_be_measured_does_not_go_unnoticed(tmp_path: Path) -> None:
    pairs = [*painted(tmp_path), Pair(tmp_path / "gone.png", ("gone",))]
    with pytest.raises(UnreadableImage, match=r"gone\.png"):
        evaluate(ColourEncoder(), pairs)


def test_nothing_to_measure_is_said() -> None:
    with pytest.raises(BadInput, match="no pairs"):
        evaluate(ColourEncoder(), [])
