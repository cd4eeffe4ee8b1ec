"""Orders: what is better comes first, ties go by id, and a page begins where the last one ended."""

import base64
import math
import sqlite3
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from searchx.cursors import Cursor, digest_of
from searchx.errors import BadInput
from searchx.ranking import Keys, diversify, fused, groups, ordered, standings

ASKED = digest_of("a dog on a beach")
finite = st.floats(allow_nan=False, allow_infinity=False)
ids64 = st.integers(-(2**63), 2**63 - 1)
seeds = st.integers(0, 10_000)


def unit(rows: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True), np.float32)


def some(seed: int, count: int, dim: int = 8) -> NDArray[np.float32]:
    return unit(np.random.default_rng(seed).standard_normal((count, dim)))


Lists: TypeAlias = tuple[Keys, Keys, Keys, NDArray[np.bool_]]


def lists(seed: int, count: int) -> Lists:
    """Standings, shares, BM25 and names of some items; words have found half of them."""
    random = np.random.default_rng(seed)
    found = random.random(count) < 0.5
    shares, scores = found * random.random(count), found * random.uniform(0, 40, count)
    return random.normal(size=count), shares, scores, random.random(count) < 0.1


def no_words(count: int) -> tuple[Keys, Keys, NDArray[np.bool_]]:
    return np.zeros(count), np.zeros(count), np.zeros(count, bool)


@settings(deadline=None)
@given(seeds, st.integers(1, 40))
def test_without_words_the_order_is_that_of_the_cosines(seed: int, count: int) -> None:
    cosines = np.random.default_rng(seed).uniform(-1, 1, count).round(4)
    keys = fused(standings(cosines, cosines), *no_words(count))
    assert ordered(keys, np.arange(count)).tolist() == np.argsort(-cosines, kind="stable").tolist()


@settings(deadline=None)
@given(seeds, st.integers(1, 40))
def test_a_key_depends_on_its_own_item_alone(seed: int, count: int) -> None:
    near, shares, scores, named = lists(seed, count)
    together = fused(near, shares, scores, named)
    for at in range(count):
        one = slice(at, at + 1)
        alone = fused(near[one], shares[one], scores[one], named[one])
        assert alone[0] == together[at]


@settings(deadline=None)
@given(seeds)
def test_more_of_anything_never_lowers_a_key(seed: int) -> None:
    near, shares, scores, named = lists(seed, 20)
    before = fused(near, shares, scores, named)
    assert (fused(near + 0.1, shares, scores, named) > before).all()
    shared = fused(near, shares + 0.1, scores, named)
    assert (shared >= before).all()
    assert (shared > before)[scores > 0].all()
    assert (fused(near, shares, scores + 1, named) >= before).all()
    assert (fused(near, shares, scores, np.ones(20, bool)) >= before).all()


@settings(deadline=None)
@given(seeds, st.floats(0, 1), st.floats(0, 1))
def test_less_trust_in_vectors_makes_words_count_more(seed: int, one: float, other: float) -> None:
    near, shares, scores, named = lists(seed, 20)
    less, more = (fused(near, shares, scores, named, trust) for trust in sorted((one, other)))
    assert (less >= more).all()
    assert (less == more)[scores == 0].all()


def test_a_file_that_is_named_comes_first() -> None:
    near = np.array([7.0, 2.0, -3.0])
    shares, scores = np.array([0.0, 0.9, 1.0]), np.array([0.0, 200.0, 6.0])
    named = np.array([False, False, True])
    assert ordered(fused(near, shares, scores, named), np.arange(3)).tolist() == [2, 1, 0]


def test_a_name_that_is_one_word_of_many_is_only_a_word() -> None:
    """The file on.jpg is not what "a dog on a beach" asks for."""
    near, shares = np.array([4.0, 0.0]), np.array([0.0, 0.1])
    named = np.array([False, True])
    assert ordered(fused(near, shares, shares, named), np.arange(2)).tolist() == [0, 1]


def test_what_stands_out_is_told_by_the_background() -> None:
    background = np.array([0.1, 0.2, 0.3])
    assert standings(np.array([0.2, 0.3]), background) == pytest.approx([0, 1.2247449])
    assert standings(np.array([0.5, 0.5]), np.array([0.5, 0.5])).tolist() == [0, 0]
    assert standings(np.array([0.5]), np.empty(0)).tolist() == [0]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(1, 99)), unique_by=lambda one: one[1]))
def test_the_order_is_by_key_and_then_by_id(items: list[tuple[int, int]]) -> None:
    keys = np.array([key for key, _ in items], np.float64)
    ids = np.array([id for _, id in items], np.int64)
    expected = sorted(items, key=lambda one: (-one[0], one[1]))
    assert [items[at] for at in ordered(keys, ids)] == expected


@settings(deadline=None)
@given(seeds, st.integers(0, 30), st.integers(0, 12))
def test_no_diversity_leaves_the_order(seed: int, count: int, k: int) -> None:
    keys = -np.sort(np.random.default_rng(seed).integers(0, 5, count).astype(np.float64))
    chosen = diversify(some(seed, count), keys, k, 0)
    assert chosen.tolist() == list(range(min(k, count)))


def by_hand(
    vectors: NDArray[np.float32], keys: NDArray[np.float64], k: int, strength: float
) -> list[int]:
    """Maximal marginal relevance as it is defined, one at a time."""
    low, high = np.percentile(keys, [10, 90])
    spread = high - low or 1.0
    chosen: list[int] = []
    while len(chosen) < min(k, len(keys)):
        values = {
            one: (1 - strength) * (keys[one] / spread)  # rounded in this order
            - strength * max([0.0, *(float(vectors[other] @ vectors[one]) for other in chosen)])
            for one in range(len(keys))
            if one not in chosen
        }
        chosen.append(max(values, key=lambda one: (values[one], -one)))
    return chosen


@settings(deadline=None)
@given(seeds, st.integers(1, 12), st.sampled_from([0.1, 0.3, 0.5, 0.9, 1.0]))
def test_diversity_is_maximal_marginal_relevance(seed: int, count: int, strength: float) -> None:
    vectors = np.eye(16, dtype=np.float32)[np.random.default_rng(seed).integers(0, 6, count)]
    keys = -np.sort(np.random.default_rng(seed + 1).integers(0, 9, count).astype(np.float64))
    chosen = diversify(vectors, keys, 8, strength).tolist()
    assert chosen == by_hand(vectors, keys, 8, strength)
    assert len(set(chosen)) == len(chosen)


def test_diversity_passes_over_what_was_seen() -> None:
    vectors = np.eye(3, dtype=np.float16)[[0, 0, 0, 1, 2]]
    keys = np.array([5.0, 4.9, 4.8, 4.7, 1.0])
    assert diversify(vectors, keys, 3, 0.5).tolist()[:2] == [0, 3]
    assert diversify(vectors, keys, 3, 1).tolist() == [0, 3, 4]


@pytest.mark.parametrize("strength", [-0.1, 1.1, math.nan])
def test_a_diversity_that_is_none_is_refused(strength: float) -> None:
    with pytest.raises(BadInput, match="between 0 and 1"):
        diversify(some(0, 3), np.zeros(3), 2, strength)


@settings(deadline=None)
@given(seeds, st.integers(0, 25), st.sampled_from([0.5, 0.8, 0.99]))
def test_every_one_is_near_its_first_and_firsts_are_apart(
    seed: int, count: int, threshold: float
) -> None:
    vectors = some(seed, count, dim=3)
    firsts = groups(vectors, threshold)
    cosines = vectors @ vectors.T
    leaders = sorted(set(firsts.tolist()))
    for at, first in enumerate(firsts.tolist()):
        assert first <= at
        assert firsts[first] == first
        assert at == first or cosines[first, at] >= threshold - 1e-6
        earlier = [one for one in leaders if one < first]
        assert all(cosines[one, at] < threshold + 1e-6 for one in earlier)


def test_the_best_leads_and_a_chain_is_no_group() -> None:
    angles = np.radians([0, 10, 20, 90])
    vectors = unit(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    assert groups(vectors, float(np.cos(np.radians(12)))).tolist() == [0, 0, 2, 3]
    assert groups(vectors.astype(np.float16), 1.1).tolist() == [0, 1, 2, 3]


@settings(deadline=None)
@given(finite, ids64, st.binary(min_size=8, max_size=8))
def test_a_cursor_says_again_what_it_was_told(key: float, id: int, asked: bytes) -> None:
    written = Cursor(key, id, asked).written()
    assert Cursor.read(written, asked) == Cursor(key, id, asked)
    assert len(written) == 40
    assert set(written) <= set("-_") | {one for one in written if one.isalnum() and one.isascii()}


@settings(deadline=None)
@given(finite, ids64, st.integers(0, 39), st.integers(0, 127))
def test_a_changed_or_cut_cursor_is_refused(key: float, id: int, at: int, code: int) -> None:
    written = Cursor(key, id, ASKED).written()
    changed = written[:at] + chr(code) + written[at + 1 :]
    for text in (written[:at], changed if changed != written else "", written + "AAAA"):
        with pytest.raises(BadInput, match="cursor"):
            Cursor.read(text, ASKED)


@settings(deadline=None)
@given(st.text())
def test_anything_else_is_no_cursor(text: str) -> None:
    with pytest.raises(BadInput, match="not whole"):
        Cursor.read(text, ASKED)


def test_a_cursor_of_another_query_is_refused() -> None:
    written = Cursor(0.5, 7, ASKED).written()
    with pytest.raises(BadInput, match="another query"):
        Cursor.read(written, digest_of("a cat on a beach"))


@pytest.mark.parametrize("key", [math.nan, math.inf])
def test_a_cursor_at_no_number_is_refused(key: float) -> None:
    with pytest.raises(BadInput, match="not whole"):
        Cursor.read(Cursor(key, 7, ASKED).written(), ASKED)


def test_a_cursor_with_odd_base64_is_refused() -> None:
    written = Cursor(0.5, 7, ASKED).written()
    padded = base64.urlsafe_b64encode(base64.urlsafe_b64decode(written)[:28]).decode()
    for text in (padded, f" {written[1:]}", f"{written}\n", "é" * 40):
        with pytest.raises(BadInput, match="not whole"):
            Cursor.read(text, ASKED)


@settings(deadline=None)
@given(seeds, st.integers(1, 30), st.integers(1, 7))
def test_pages_give_every_item_once(seed: int, count: int, size: int) -> None:
    random = np.random.default_rng(seed)
    keys, ids = random.integers(0, 4, count) / 3, random.permutation(100)[:count]
    seen: list[int] = []
    left = np.ones(count, bool)
    while left.any():
        at = ordered(keys[left], ids[left])[:size]
        seen += ids[left][at].tolist()
        last = Cursor(float(keys[left][at[-1]]), int(ids[left][at[-1]]), ASKED)
        left = Cursor.read(last.written(), ASKED).precedes(keys, ids)
    assert seen == ids[ordered(keys, ids)].tolist()


def test_words_that_say_nothing_change_nothing_and_rare_ones_do() -> None:
    """With the BM25 of a real FTS5 table: what all have in common is worth next to nothing."""
    table = sqlite3.connect(":memory:")
    table.execute("create virtual table words using fts5(text)")
    rows = [(f"the photo {number}" + " heron" * (number == 40),) for number in range(200)]
    table.executemany("insert into words values (?)", rows)
    asked = "select rowid - 1, -bm25(words) from words where words match ?"
    cosines = np.linspace(0.3, 0.1, 200)
    for word, share, best in (("the", 0.01, 0), ("heron", 0.9, 40)):
        shares, scores, named = no_words(200)
        for row, score in table.execute(asked, (word,)):
            shares[row], scores[row] = share, score
        keys = fused(standings(cosines, cosines), shares, scores, named)
        assert ordered(keys, np.arange(200))[0] == best
    table.close()
