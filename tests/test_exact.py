import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from searchx.records import Vectors
from searchx.vectors import NO_ID, Scan, cosines, merge
from searchx.vectors.exact import places_of, stacked
from tests.rows import NONE, clustered, exactly, some, unit

LARGE = 5_000  # rows: more than are kept as float32
BLOCKS = 33_000  # rows: more than two blocks


def queries_of(count: int, dim: int = 8, seed: int = 50) -> Vectors:
    return unit(np.random.default_rng(seed).normal(size=(count, dim)))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 60), st.integers(1, 12), st.integers(0, 70), st.integers(0, 9))
def test_the_exact_search_is_the_obvious_one(count: int, k: int, gone: int, seed: int) -> None:
    ids, matrix = some(count, seed=seed)
    queries = queries_of(3, seed=seed + 50)
    excluded = np.random.default_rng(seed).choice(10 * count + 1, min(gone, count)).astype(np.int64)
    found, scores = Scan(ids, matrix).search(queries, k, ~np.isin(ids, excluded))
    expected, best = exactly(ids, matrix, queries, k, excluded)
    assert np.array_equal(found, expected)
    assert np.allclose(scores, best, atol=1e-6)
    assert found.shape == scores.shape == (3, k)


@settings(max_examples=12, deadline=None)
@given(
    asked=st.sampled_from([1, 8, 9, 40]),
    k=st.sampled_from([1, 10, 200, LARGE + 1]),
    share=st.sampled_from([None, 0.001, 0.1, 0.2, 0.9]),
    in_memory=st.booleans(),
)
def test_every_way_to_compare_gives_the_obvious_answer(
    asked: int, k: int, share: float | None, in_memory: bool
) -> None:
    ids, matrix = some(LARGE, seed=1)
    kept = None if share is None else np.random.default_rng(2).random(LARGE) < share
    queries = queries_of(asked)
    found, scores = Scan(ids, matrix, in_memory).search(queries, k, kept)
    excluded = NONE if kept is None else ids[~kept]
    expected, best = exactly(ids, matrix, queries, k, excluded)
    assert (found == expected).mean() > 0.999  # sums in another order may swap near equals
    assert np.allclose(scores, best, atol=1e-6)
    assert not np.isin(found, excluded).any()


@pytest.mark.parametrize("share", [None, 0.5])
def test_many_wide_queries_are_answered_as_one_by_one(share: float | None) -> None:
    """To the last bit: these are enough for FAISS to multiply whole blocks."""
    ids, matrix = some(LARGE, dim=256, seed=1)
    matrix[LARGE // 2 :] = matrix[: LARGE - LARGE // 2]  # each has a double
    kept = None if share is None else np.random.default_rng(2).random(LARGE) < share
    queries = queries_of(1_100, dim=256)
    scan = Scan(ids, matrix)
    found, scores = scan.search(queries, 20, kept)
    for row in range(0, 1_100, 100):
        one, own = scan.search(queries[row : row + 1], 20, kept)
        assert np.array_equal(found[row], one[0])
        assert np.array_equal(scores[row], own[0])


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("asked", [2, 20])
def test_the_scan_goes_on_past_its_first_block(in_memory: bool, asked: int) -> None:
    ids = np.arange(BLOCKS, dtype=np.int64) * 2
    matrix = clustered(BLOCKS).astype(np.float16)
    queries = matrix[np.linspace(3, BLOCKS - 1, asked).astype(int)].astype(np.float32)
    kept = np.ones(BLOCKS, np.bool_)
    kept[::7] = False
    found, scores = Scan(ids, matrix, in_memory).search(queries, 20, kept)
    expected, best = exactly(ids, matrix, queries, 20, ids[~kept])
    assert (found == expected).mean() > 0.99
    assert np.allclose(scores, best, atol=1e-6)


@pytest.mark.parametrize("count", [60, LARGE])
@pytest.mark.parametrize("asked", [1, 20])
@pytest.mark.parametrize("k", [1, 30, 500])
def test_of_equal_rows_the_lowest_ids_are_found(count: int, asked: int, k: int) -> None:
    """Many pictures may be the same to an encoder: pages are only whole where their order is."""
    ids = np.arange(count, dtype=np.int64) * 3 + 5
    matrix = np.tile(some(4, seed=3)[1], (count // 4, 1))
    queries = queries_of(asked)
    found, scores = Scan(ids, matrix).search(queries, k)
    expected, _ = exactly(ids, matrix, queries, k)
    assert np.array_equal(found, expected)
    assert (np.diff(scores[scores > -np.inf].reshape(asked, -1), axis=1) <= 0).all()


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), max_size=40),
    st.integers(1, 10),
    st.integers(0, 40),
    st.integers(0, 30),
)
@example([0.5], 2, 1, 20)
def test_ties_go_to_the_lower_id_wherever_the_cut_is(
    scores: list[float], k: int, cut: int, padding: int
) -> None:
    row = np.array([scores], np.float32)
    ids = np.random.default_rng(len(scores)).permutation(len(scores)).astype(np.int64)[None, :]
    nobody = np.full((1, padding), NO_ID, np.int64), np.full((1, padding), -np.inf, np.float32)
    one = np.concatenate([ids[:, :cut], nobody[0]], 1), np.concatenate([row[:, :cut], nobody[1]], 1)
    found, best = merge(one, (ids[:, cut:], row[:, cut:]), k)
    expected = sorted(zip(-row[0], ids[0], strict=True))[:k]
    real = found[0] != NO_ID
    assert found[0][real].tolist() == [one for _, one in expected]
    assert best[0][real].tolist() == [-score for score, _ in expected]
    assert real[: len(expected)].all()


def test_merging_answers_to_several_questions_of_unequal_length() -> None:
    """Of one query there are two hits, of the other one."""
    ids = np.array([[4, 2, -1, -1, -1, -1, -1, -1, -1], [7, -1, -1, -1, -1, -1, -1, -1, -1]])
    scores = np.where(ids >= 0, 0.5, -np.inf).astype(np.float32)
    found, best = merge((ids[:, :4], scores[:, :4]), (ids[:, 4:], scores[:, 4:]), 2)
    assert found.tolist() == [[2, 4], [7, -1]]
    assert best.tolist() == [[0.5, 0.5], [0.5, -np.inf]]


def test_a_large_batch_is_answered_like_its_parts() -> None:
    ids, matrix = some(40)
    queries = np.tile(matrix.astype(np.float32), (30, 1))  # (1200, dim): more than one block
    found, scores = Scan(ids, matrix).search(queries, 3)
    once, best = Scan(ids, matrix).search(queries[:40], 3)
    assert np.array_equal(found, np.tile(once, (30, 1)))
    assert np.array_equal(scores, np.tile(best, (30, 1)))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 70), st.integers(0, 60), st.integers(1, 33), st.integers(0, 5))
def test_a_cosine_does_not_depend_on_what_it_is_computed_with(
    count: int, start: int, dim: int, seed: int
) -> None:
    """To the last bit: else a cursor would lose or repeat an item."""
    _, matrix = some(count, dim, seed)
    query = queries_of(1, dim, seed)[0]
    whole = cosines(matrix, query)
    at = start % count
    assert np.array_equal(cosines(matrix[at:], query), whole[at:])
    assert np.array_equal(
        cosines(matrix.astype(np.float32)[at : at + 1], query), whole[at : at + 1]
    )
    assert np.array_equal(cosines(matrix[::-1], query), whole[::-1])


@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(-5, 60)), st.lists(st.integers(-9, 70)))
def test_the_places_of_ids_are_those_that_are_there(held: set[int], wanted: list[int]) -> None:
    ids = np.array(sorted(held), np.int64)
    places = places_of(ids, np.array(wanted, np.int64))
    assert ids[places].tolist() == [one for one in wanted if one in held]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 30), st.sets(st.integers(0, 400), max_size=30))
def test_rows_come_with_their_ids(count: int, wanted: set[int]) -> None:
    ids, matrix = some(count)
    found, rows = Scan(ids, matrix).rows(np.array(sorted(wanted), np.int64))
    assert found.tolist() == sorted(set(ids.tolist()) & wanted)
    assert np.array_equal(rows, matrix[np.isin(ids, found)].astype(np.float32))


@pytest.mark.parametrize("k", [1, 5])
def test_no_question_gets_no_answer(k: int) -> None:
    nobody = np.empty((0, 8), np.float32)
    exact = Scan(*some(20)).search(nobody, k)
    large = Scan(*some(LARGE)).search(nobody, k)
    answers = [exact, large, merge(exact, large, k), stacked([exact, large])]
    assert [(ids.shape, scores.shape) for ids, scores in answers] == [((0, k), (0, k))] * 4
