"""A background turns cosines into relevance: laws, and structure that was put in on purpose."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchx.errors import BadInput
from searchx.records import Vectors
from searchx.relevance import (
    CURVES,
    FAIR,
    STRONG,
    Background,
    Direction,
    band,
    everyday_captions,
    highest_of,
)

DIM = 64
DIRECTIONS = list(CURVES)
TEXT_TO_IMAGE = Direction("text", "image")


def unit(rows: Vectors) -> Vectors:
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True), np.float32)


def some(count: int, seed: int) -> Vectors:
    return unit(np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32))


def near(vectors: Vectors, cosine: float, seed: int) -> Vectors:
    """Make vectors of about that cosine to the given ones."""
    noise = some(len(vectors), seed)
    return unit(cosine * vectors + np.sqrt(1 - cosine**2) * noise)


def background(direction: Direction = TEXT_TO_IMAGE, count: int = 300) -> Background:
    return Background.of(direction, count, some(300, 1), some(200, 2), some(40, 3))


@pytest.mark.parametrize("direction", DIRECTIONS)
@given(scores=st.lists(st.floats(-1, 1), max_size=20), seed=st.integers(0, 50))
@settings(max_examples=30, deadline=None)
def test_relevance_is_a_probability_that_never_falls_as_the_score_rises(
    direction: Direction, scores: list[float], seed: int
) -> None:
    ascending = np.sort(np.array(scores, np.float64))
    found = background(direction).relevance(some(1, seed)[0], ascending)
    assert found.shape == ascending.shape
    assert ((found >= 0) & (found <= 1)).all()
    assert (np.diff(found) >= 0).all()


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_higher_score_is_more_relevant(direction: Direction) -> None:
    found = background(direction).relevance(some(1, 4)[0], np.array([0.1, 0.3, 0.6]))
    assert found[0] < found[1] < found[2]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_sample_may_stand_in_any_order(direction: Direction) -> None:
    sample, references = some(300, 1), some(200, 2)
    mixed = sample[np.random.default_rng(0).permutation(len(sample))]
    query, scores = some(1, 5)[0], np.linspace(0.5, 0.2, 10)
    one = Background.of(direction, 300, sample, references, asked=some(40, 3))
    other = Background.of(direction, 300, mixed, references, asked=some(40, 3))
    np.testing.assert_allclose(
        one.relevance(query, scores), other.relevance(query, scores), atol=1e-5
    )
    assert one.has_answer(query, scores, sample[0]) == pytest.approx(
        other.has_answer(query, scores, sample[0]), abs=1e-5
    )


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_library_with_the_answer_is_told_from_one_without(direction: Direction) -> None:
    items = some(300, 1)
    queries = near(items[:100], 0.7, 6)
    here = Background.of(direction, 300, items, some(200, 2), asked=some(40, 3))
    cosines = queries @ items.T
    without = cosines.copy()
    without[np.arange(100), np.arange(100)] = -9
    told = []
    for table in (cosines, without):
        order = np.argsort(-table, axis=1)[:, :10]
        scores = np.take_along_axis(table, order, 1)
        rows = zip(queries, scores, items[order[:, 0]], strict=True)
        told.append([here.has_answer(*row) for row in rows])
    assert np.quantile(told[0], 0.1) > np.quantile(told[1], 0.9)


def test_without_hits_there_is_no_answer() -> None:
    none = np.empty(0, np.float32)
    assert background().has_answer(some(1, 4)[0], none, some(1, 5)[0]) == 0.0
    assert background().relevance(some(1, 4)[0], none).shape == (0,)


def test_scores_after_the_tenth_change_nothing() -> None:
    query, best = some(2, 4)
    scores = np.linspace(0.6, 0.1, 50)
    here = background()
    assert here.has_answer(query, scores, best) == here.has_answer(query, scores[:10], best)


def test_the_same_score_says_less_in_a_larger_library() -> None:
    query, scores = some(1, 4)[0], np.array([0.4, 0.2])
    small, large = background(count=30), background(count=30_000)
    assert small.relevance(query, scores)[0] > large.relevance(query, scores)[0]
    best = some(1, 5)[0]
    assert small.has_answer(query, scores, best) > large.has_answer(query, scores, best)


def test_a_filter_that_leaves_few_makes_the_library_small() -> None:
    query, scores = some(1, 4)[0], np.array([0.4])
    large = background(count=30_000)
    assert large.relevance(query, scores, among=30) > large.relevance(query, scores)


def test_moments_are_those_of_the_cosines_themselves() -> None:
    """The obvious way: every cosine of every question."""
    sample, references, asked = some(300, 1), some(200, 2), some(700, 3)
    here = Background.of(TEXT_TO_IMAGE, 10**9, sample, references, asked)
    for level, left, right in (
        (here.hit, asked, sample),
        (here.asked, asked, references),
        (here.best, sample, references),
    ):
        cosines = left.astype(np.float64) @ right.T
        assert level == pytest.approx((cosines.mean(), cosines.std()), abs=1e-6)
    query, best = some(1, 7), some(1, 8)
    signs = here.signs(query, np.array([[0.5, 0.3, 0.1]]), best)[0]
    expected = [
        (0.5 - here.hit.mean) / here.hit.spread,
        highest_of(10**9),
        ((query @ references.T).max() - here.asked.mean) / here.asked.spread,
        (sample @ query[0]).std() / here.hit.spread,
        ((best @ references.T).max() - here.best.mean) / here.best.spread,
        (0.2 - here.hit.mean) / here.hit.spread,
    ]
    assert signs == pytest.approx(expected, abs=1e-4)


def test_another_scale_of_cosines_gives_the_same_relevance() -> None:
    """Half of every vector in a direction of its own: cosines shrink, what they mean does not."""

    def shrunk(rows: Vectors, at: int) -> Vectors:
        own = np.zeros((len(rows), 2), np.float32)
        own[:, at] = 1
        return unit(np.c_[rows, own])

    sample, references, queries = some(300, 1), some(200, 2), some(5, 4)
    wide = Background.of(TEXT_TO_IMAGE, 300, sample, references, some(40, 3))
    narrow = Background.of(
        TEXT_TO_IMAGE, 300, shrunk(sample, 0), shrunk(references, 1), shrunk(some(40, 3), 1)
    )
    for query in queries:
        scores = np.sort(sample @ query)[::-1][:10]
        plain = wide.relevance(query, scores)
        np.testing.assert_allclose(
            narrow.relevance(shrunk(query[None], 1)[0], scores / 2), plain, rtol=1e-3
        )


@pytest.mark.parametrize("count", [1, 2, 28])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_tiny_library_has_a_background(direction: Direction, count: int) -> None:
    items = some(count, 1)
    here = Background.of(direction, count, items, some(200, 2), asked=some(40, 3))
    scores = np.sort(items @ some(1, 4)[0])[::-1]
    assert np.isfinite(here.relevance(some(1, 4)[0], scores)).all()
    assert 0 <= here.has_answer(some(1, 4)[0], scores, items[0]) <= 1


def test_pictures_that_look_for_pictures_leave_themselves_out() -> None:
    items = some(28, 1)
    here = Background.of(Direction("image", "image"), 28, items, some(200, 2))
    others = (items.astype(np.float64) @ items.T)[~np.eye(28, dtype=bool)]
    assert here.hit == pytest.approx((others.mean(), others.std()), abs=1e-6)


@pytest.mark.parametrize("name", ["sample", "references", "asked"])
def test_an_empty_part_is_refused_by_its_name(name: str) -> None:
    parts = {"sample": some(3, 1), "references": some(3, 2), "asked": some(3, 3)}
    parts[name] = parts[name][:0]
    with pytest.raises(BadInput, match=name):
        Background.of(TEXT_TO_IMAGE, 3, **parts)


def test_pictures_that_look_for_texts_need_pictures() -> None:
    with pytest.raises(BadInput, match="pictures"):
        Background.of(Direction("image", "text"), 3, some(3, 1), some(3, 2))


def test_widths_that_differ_are_refused() -> None:
    with pytest.raises(BadInput, match="64, 32 and 32"):
        Background.of(TEXT_TO_IMAGE, 3, some(3, 1), some(3, 2)[:, :32])


def test_bands_part_at_their_edges() -> None:
    edges = [1.0, STRONG, np.nextafter(STRONG, 0), FAIR, np.nextafter(FAIR, 0), 0.0]
    named = [band(one) for one in edges]
    assert named == ["strong", "strong", "fair", "fair", "weak", "weak"]


def test_every_direction_has_curves_that_rise_with_the_score() -> None:
    assert len(CURVES) == 4
    for curves in CURVES.values():
        assert curves.hit.score > 0
        assert curves.library.score > 0
        assert curves.hit.best == curves.hit.rest == 0  # known of the first hit alone


def test_the_captions_that_ship_are_different_and_plain() -> None:
    captions = everyday_captions()
    assert len(captions) == 2000
    assert len({one.lower() for one in captions}) == 2000
    assert all(5 <= len(one.split()) <= 18 and one.isascii() for one in captions)
