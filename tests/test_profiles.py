"""Interests: what is alike is one, what is not is several, and nobody changes another's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchx.errors import BadInput
from searchx.profiles import clusters, decayed, newest_first, profiles
from searchx.ragged import Ragged
from tests.rows import unit


def some(users: int, length: int, dim: int = 6, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.stack([unit(random.normal(size=(length, dim))) for _ in range(users)])


def slowly(cosines: np.ndarray, joined_from: float) -> list[set[int]]:
    """Join by average linkage in the obvious way: all pairs of all clusters, every time."""
    held = [{one} for one in range(len(cosines))]
    while len(held) > 1:
        pairs = [(a, b) for b in range(len(held)) for a in range(b)]
        means = [float(cosines[np.ix_(sorted(held[a]), sorted(held[b]))].mean()) for a, b in pairs]
        if max(means) < joined_from:
            break
        a, b = pairs[int(np.argmax(means))]
        held[a] |= held.pop(b)
    return held


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.floats(-0.5, 0.9), st.integers(0, 1000))
def test_clusters_are_those_of_average_linkage(length: int, bound: float, seed: int) -> None:
    rows = some(3, length, seed=seed)
    cosines = rows @ rows.transpose(0, 2, 1)
    labels = clusters(cosines, np.ones((3, length), bool), bound)
    for user in range(3):
        found = {tuple(np.flatnonzero(labels[user] == one)) for one in set(labels[user].tolist())}
        assert found == {tuple(sorted(one)) for one in slowly(cosines[user], bound)}
        assert all(min(one) == labels[user][one[0]] for one in found)


def test_what_is_not_held_joins_nothing() -> None:
    rows = np.repeat(some(1, 1), 5, axis=1)  # five times the same
    held = np.array([[True, False, True, False, True]])
    assert clusters(rows @ rows.transpose(0, 2, 1), held, 0.5).tolist() == [[0, 1, 0, 3, 0]]


def test_an_interest_is_the_weighted_mean_of_its_items() -> None:
    rows = np.concatenate([some(1, 1, seed=1), some(1, 1, seed=2)], axis=1)
    made = profiles(rows, np.array([[3.0, 1.0]]), 1, 0.0)
    assert made.vectors.shape == (1, 1, 6) and made.importance.tolist() == [[1.0]]
    assert np.allclose(made.vectors[0, 0], unit((3 * rows[0, 0] + rows[0, 1])[None]), atol=1e-6)


def test_the_most_important_come_first_and_the_rest_is_left_out() -> None:
    rows = np.eye(4, 6, dtype=np.float32)[None]
    weights = np.array([[2.0, 4.0, 8.0, 2.0]]) + 0.5
    made = profiles(rows, weights, 3, 0.5)
    whole = unit(weights @ rows[0])
    assert np.allclose(made.vectors[0], unit(np.eye(6)[[2, 1, 0]] + whole), atol=1e-6)
    assert made.importance[0] == pytest.approx(np.array([8.5, 4.5, 2.5]) / 18 * [1, 1, 0])


def test_what_is_rare_is_no_interest_unless_all_is() -> None:
    rows = np.eye(8, dtype=np.float32)[None]
    made = profiles(rows, np.ones((1, 8)), 4, 0.5)
    assert made.importance.tolist() == [[1 / 8, 0, 0, 0]]
    assert (made.vectors[0, 0] @ rows[0].T).argmax() == 0


def test_a_small_interest_stays_nearer_to_itself_than_to_a_large_one() -> None:
    rows = np.repeat(np.eye(2, dtype=np.float32), [16, 4], axis=0)[None]
    made = profiles(rows, np.ones((1, 20)), 2, 0.5)
    large, small = made.vectors[0]
    assert large[0] > large[1] > 0
    assert small[1] > small[0] > 0


def test_who_has_nothing_has_no_interest() -> None:
    made = profiles(np.zeros((2, 4, 6), np.float32), np.zeros((2, 4)), 3, 0.5)
    assert not made.importance.any() and np.isfinite(made.vectors).all()
    opposite = np.stack([np.eye(1, 6)[0], -np.eye(1, 6)[0]]).astype(np.float32)[None]
    assert not profiles(opposite, np.ones((1, 2)), 1, -2.0).importance.any()


def test_a_user_alone_has_the_same_interests_to_the_last_bit() -> None:
    rows, weights = some(50, 16), np.random.default_rng(3).random((50, 16))
    together = profiles(rows, weights, 4, 0.3)
    for user in range(0, 50, 7):
        alone = profiles(rows[user : user + 1], weights[user : user + 1], 4, 0.3)
        assert np.array_equal(alone.vectors[0], together.vectors[user])
        assert np.array_equal(alone.importance[0], together.importance[user])


def test_half_as_much_counts_each_half_life_before() -> None:
    found = decayed(Ragged.of([[0, 10, 20], [], [5]], np.float64), 10)
    assert found.values.tolist() == [0.25, 0.5, 1.0, 1.0]
    with pytest.raises(BadInput, match="half_life is -1"):
        decayed(found, -1)


def test_the_heaviest_come_first_and_of_equals_the_newest() -> None:
    lists, weights = Ragged.of([[1, 2, 3], [4, 5]]), Ragged.of([[1, 5, 1], [2, 2]], np.float64)
    ids, heavy = newest_first(lists, weights)
    assert ids.values.tolist() == [2, 3, 1, 5, 4]
    assert heavy.values.tolist() == [5, 1, 1, 2, 2]
