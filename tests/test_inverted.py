from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from searchx.records import Ids, Vectors
from searchx.vectors import NO_ID, Effort, Halves, Scan, Selection, inverted, tuning
from searchx.vectors.inverted import Inverted
from searchx.vectors.selection import select
from tests.rows import NONE, clustered, exactly, recall, unit, worded

COUNT = 4_000
KEPT = 0.97  # recall@10 that is promised


def ids_of(count: int, start: int = 0) -> Ids:
    return np.arange(start, start + count, dtype=np.int64) * 3 + 1


def made_of(ids: Ids, matrix: Halves) -> Inverted:
    return inverted.filled(inverted.trained(matrix), ids, matrix)


@pytest.fixture(scope="module")
def matrix() -> Halves:
    return clustered(COUNT).astype(np.float16)


@pytest.fixture(scope="module")
def made(matrix: Halves) -> Inverted:
    return made_of(ids_of(COUNT), matrix)


@pytest.fixture(scope="module")
def effort(made: Inverted, matrix: Halves) -> Effort:
    """Tune it as a snapshot does: on other queries than are asked below."""
    points = tuning.curve(made, ids_of(COUNT), matrix, {"text": worded(200, seed=90)})
    return tuning.chosen(points, "text", COUNT / made.list_count)


def selected(made: Inverted, ids: Ids, matrix: Halves, within: Ids) -> Selection:
    return select(Scan(ids, matrix), NONE, within, made.lists(ids), made.list_count)


def finds_itself(made: Inverted, ids: Ids, matrix: Halves) -> float:
    """Give the share of rows that are among their own candidates."""
    found = made.candidates(matrix.astype(np.float32), Effort(made.list_count, 64), None)
    return float((found == ids[:, None]).any(axis=1).mean())


def test_the_index_has_every_vector_once_and_each_finds_itself(
    made: Inverted, matrix: Halves
) -> None:
    ids = ids_of(COUNT)
    assert np.array_equal(made.ids(), ids)
    assert made.factory.startswith("IVF") and made.trained.count == COUNT
    assert np.bincount(made.lists(ids), minlength=made.list_count).sum() == COUNT
    assert finds_itself(made, ids[::10], matrix[::10]) >= 0.99


def test_what_is_chosen_reaches_the_target(made: Inverted, matrix: Halves, effort: Effort) -> None:
    queries = worded(200, seed=3)
    expected, _ = exactly(ids_of(COUNT), matrix, queries, 10)
    assert recall(made.candidates(queries, effort, None), expected) >= KEPT


def chosen_by(rows: Halves, share: float, relation: str, towards: Vectors) -> Ids:
    """Choose a share of the rows: the nearest to a direction, or any."""
    order = np.argsort(-(rows.astype(np.float32) @ towards))
    if relation == "uncorrelated":
        order = np.random.default_rng(4).permutation(len(rows))
    return np.sort(ids_of(len(rows))[order[: max(1, round(share * len(rows)))]])


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("relation", ["correlated", "uncorrelated"])
def test_filtering_the_index_equals_searching_the_subset(
    made: Inverted, matrix: Halves, effort: Effort, share: float, relation: str
) -> None:
    ids, found, expected = ids_of(COUNT), [], []
    for number in range(4):
        towards = worded(1, seed=60 + number)
        queries = unit(towards + 0.1 * np.random.default_rng(number).normal(size=(25, 32)))
        within = chosen_by(matrix, share, relation, towards[0])
        chosen = selected(made, ids, matrix, within)
        widened = int(made.widened(queries, effort, chosen).max())
        near = made.candidates(queries, Effort(widened, effort.depth), chosen)
        assert np.isin(near[near != NO_ID], within).all()
        found.append(near)
        expected.append(exactly(within, matrix[np.isin(ids, within)], queries, 10)[0])
    assert recall(np.concatenate(found), np.concatenate(expected)) >= KEPT


def test_more_vectors_are_added_without_training(matrix: Halves) -> None:
    ids, more = ids_of(COUNT), clustered(2 * COUNT, seed=1)[COUNT:].astype(np.float16)
    old = made_of(ids, matrix)
    training, centroids = old.trained, old.index.quantizer.ntotal
    all_ids, rows = ids_of(2 * COUNT), np.concatenate([matrix, more])
    for until in (COUNT + 1, COUNT + 500, 2 * COUNT):
        grown = inverted.extended(old, all_ids[:until], rows[:until])
        assert grown is not None
        assert (grown.trained, grown.index.quantizer.ntotal) == (training, centroids)
        assert np.array_equal(grown.ids(), all_ids[:until])
    assert finds_itself(old, all_ids[::10], rows[::10]) >= 0.98


@pytest.mark.parametrize("gone", [0.02, 0.2])
def test_what_comes_after_a_removal_is_found(matrix: Halves, gone: float) -> None:
    """FAISS 1.15 loses what is added to FastScan lists from which something was removed."""
    ids = ids_of(COUNT)
    made: Inverted | None = made_of(ids, matrix)
    rows, random = matrix, np.random.default_rng(3)
    for turn in range(3):
        assert made is not None
        kept = random.random(len(ids)) >= gone
        fresh = clustered(400, seed=20 + turn).astype(np.float16)
        ids = np.concatenate([ids[kept], ids_of(400, COUNT + 400 * turn)])
        rows = np.concatenate([rows[kept], fresh])
        made = inverted.extended(made, ids, rows)
        assert made is not None
        assert np.isin(ids, made.ids()).all()
        assert finds_itself(made, ids[-400:], rows[-400:]) >= 0.98
        assert finds_itself(made, ids[::20], rows[::20]) >= 0.98
        assert len(np.setdiff1d(made.ids(), ids)) <= 0.1 * len(ids)


def test_an_index_that_was_outgrown_is_trained_again(made: Inverted, matrix: Halves) -> None:
    for count, is_kept in ((COUNT // 4, True), (COUNT // 4 - 1, False)):
        small = replace(made, trained=replace(made.trained, count=count))
        assert (inverted.extended(small, ids_of(COUNT), matrix) is not None) == is_kept


def test_an_index_of_much_more_than_there_is_left_is_trained_again(
    made: Inverted, matrix: Halves
) -> None:
    half = COUNT // 2 - 1
    assert inverted.extended(made, ids_of(half), matrix[:half]) is None


def test_an_index_whose_library_has_drifted_is_trained_again(matrix: Halves) -> None:
    others = unit(np.random.default_rng(5).normal(size=(COUNT, 32))).astype(np.float16)
    old = made_of(ids_of(COUNT), matrix)
    mixed = np.concatenate([matrix[: COUNT // 2], others[: COUNT // 2]])
    assert inverted.extended(old, ids_of(COUNT), mixed) is None
    more = np.concatenate([matrix[:3_000], clustered(1_000, seed=9).astype(np.float16)])
    assert inverted.extended(old, ids_of(COUNT), more) is not None


def test_an_index_is_read_back_as_it_was_written(
    made: Inverted, matrix: Halves, tmp_path: Path
) -> None:
    inverted.write(made, tmp_path / "index")
    again = inverted.read(tmp_path / "index", made.factory, made.trained, 32)
    queries = worded(50, seed=8)
    for one in (made, again):
        found = one.candidates(queries, Effort(5, 64), None)
        assert np.array_equal(found, made.candidates(queries, Effort(5, 64), None))
    assert np.array_equal(again.ids(), made.ids())
    with pytest.raises(FileNotFoundError, match="is missing"):
        inverted.read(tmp_path / "none", made.factory, made.trained, 32)


@pytest.mark.parametrize("dim", [3, 7, 8, 30])
def test_vectors_of_any_width_are_indexed(dim: int) -> None:
    rows = unit(np.random.default_rng(1).normal(size=(400, dim))).astype(np.float16)
    made = made_of(ids_of(400), rows)
    assert finds_itself(made, ids_of(400), rows) >= 0.95


def test_more_lists_are_looked_into_where_few_of_them_may_be_found(
    made: Inverted, matrix: Halves
) -> None:
    ids, least = ids_of(COUNT), Effort(2, 4)
    towards = worded(1, seed=60)
    efforts = [
        int(made.widened(towards, least, selected(made, ids, matrix, ids[::step])).max())
        for step in (1, 2, 10, 100)
    ]
    assert efforts == sorted(efforts)
    assert efforts[0] < efforts[-1] == made.list_count
    nobody = selected(made, ids, matrix, NONE)
    assert (made.widened(towards, least, nobody) == made.list_count).all()
    assert (made.candidates(towards, Effort(made.list_count, 4), nobody) == NO_ID).all()


def test_the_spread_is_the_mean_distance_to_the_centroids(made: Inverted, matrix: Halves) -> None:
    rows = matrix[:300].astype(np.float32)
    centroids = made.index.quantizer.reconstruct_n(0, made.list_count)
    assert made.spread(rows) == pytest.approx(float(1 - (rows @ centroids.T).max(1).mean()), 1e-3)
    assert made.trained.spread > 0
