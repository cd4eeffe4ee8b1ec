"""The measures agree with trec_eval, and with what their definitions say in a few lines."""

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

import searchx
from searchx.errors import BadInput
from searchx.measures import Measured, difference, measure
from searchx.ragged import Ragged
from searchx.records import Ids, Vectors

TREC = {  # ours by theirs
    "recall": "recall",
    "P": "precision",
    "map_cut": "map",
    "ndcg_cut": "ndcg",
    "success": "hit_rate",
}


def some(users: int, items: int, k: int, seed: int) -> tuple[Ids, list[Ids]]:
    """Draw lists without repeats, and what each user wants: nothing for some."""
    random = np.random.default_rng(seed)
    lists = np.stack([random.permutation(items)[:k] for _ in range(users)])
    wanted = [random.permutation(items)[: random.integers(0, 8)] for _ in range(users)]
    return lists.astype(np.int64), wanted


@pytest.mark.parametrize("k", [1, 5, 10, 20])
def test_they_are_those_of_trec_eval(k: int) -> None:
    lists, wanted = some(users=200, items=60, k=20, seed=k)
    ours = measure(lists, wanted, (k,), resamples=0)
    qrels = {str(u): {str(one): 1 for one in row} for u, row in enumerate(wanted) if len(row)}
    run = {
        str(u): {str(one): float(-rank) for rank, one in enumerate(row)}
        for u, row in enumerate(lists)
    }
    cut = {u: dict(list(row.items())[:k]) for u, row in run.items()}  # its mrr has no cut
    names = {f"{name}.{k}" for name in TREC}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, names).evaluate(run)
    ranks = pytrec_eval.RelevanceEvaluator(qrels, {"recip_rank"}).evaluate(cut)
    assert ours.asked == len(qrels) < ours.users
    for name, own in TREC.items():
        values = ours.values[f"{own}@{k}"]
        assert len(theirs) == (~np.isnan(values)).sum()
        for user, found in theirs.items():
            assert values[int(user)] == pytest.approx(found[f"{name}_{k}"], abs=1e-9), (own, user)
        assert ours[f"{own}@{k}"].value == pytest.approx(np.nanmean(values))
    for user, found in ranks.items():
        assert ours.values[f"mrr@{k}"][int(user)] == pytest.approx(found["recip_rank"], abs=1e-9)


def plainly(row: Sequence[int], wanted: Sequence[int], k: int) -> dict[str, float]:
    """Count as one would by hand: what is listed twice counts once."""
    once = list(dict.fromkeys(row[:k]))
    ranks = [row.index(one) + 1 for one in once if one in wanted and one != -1]
    best = sum(1 / math.log2(rank + 1) for rank in range(1, min(k, len(set(wanted))) + 1))
    return {
        "recall": len(ranks) / len(set(wanted)),
        "precision": len(ranks) / k,
        "mrr": 1 / min(ranks) if ranks else 0.0,
        "ndcg": sum(1 / math.log2(rank + 1) for rank in ranks) / best,
        "hit_rate": float(bool(ranks)),
    }


ROW = st.lists(st.integers(-1, 6), min_size=4, max_size=4)


@settings(deadline=None)
@given(st.lists(st.tuples(ROW, st.lists(st.integers(0, 6), max_size=5)), min_size=1, max_size=6))
def test_rows_with_gaps_and_repeats_count_as_by_hand(
    users: list[tuple[list[int], list[int]]],
) -> None:
    lists = np.array([row for row, _ in users])
    ours = measure(lists, [wanted for _, wanted in users], (1, 3), resamples=0)
    for place, (row, wanted) in enumerate(users):
        for k in (1, 3):
            if not wanted:
                assert np.isnan(ours.values[f"recall@{k}"][place])
                continue
            for name, expected in plainly(row, wanted, k).items():
                assert ours.values[f"{name}@{k}"][place] == pytest.approx(expected), (name, k)


def test_lists_come_as_arrays_lists_or_arrow() -> None:
    lists, wanted = some(users=40, items=30, k=10, seed=1)
    forms = [lists, lists.tolist(), pa.array(lists.tolist()), Ragged.of(lists)]
    others = [wanted, pa.array([one.tolist() for one in wanted]), Ragged.of(wanted)]
    expected = measure(lists, wanted).as_dict()
    assert all(measure(one, other).as_dict() == expected for one in forms for other in others)
    chunked = pa.chunked_array([lists[:7].tolist(), lists[7:].tolist()])
    sliced = pa.array([[99], *lists.tolist()], pa.large_list(pa.int64())).slice(1)
    assert measure(chunked, wanted).as_dict() == measure(sliced, wanted).as_dict() == expected


def test_lists_shorter_than_k_count_as_they_are() -> None:
    found = measure([[1], [2, 3]], [[1, 9], [3]], (2,), resamples=0)
    assert found.values["recall@2"].tolist() == [0.5, 1.0]
    assert found.values["precision@2"].tolist() == [0.5, 0.5]
    assert found.values["mrr@2"].tolist() == [1.0, 0.5]


def test_diversity_is_the_mean_distance_within_a_list() -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(20, 6)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)

    def vectors(ids: Ids) -> Vectors:
        return rows[ids]

    lists = np.array([[0, 1, 2, 3], [4, 4, 5, -1], [6, -1, -1, -1]])
    found = measure(lists, [[0]] * 3, (4,), vectors=vectors).values["diversity@4"]
    pairs = [1 - float(rows[a] @ rows[b]) for a in range(4) for b in range(a)]
    assert found[0] == pytest.approx(np.mean(pairs), abs=1e-6)
    assert found[1] == pytest.approx(1 - float(rows[4] @ rows[5]), abs=1e-6)
    assert np.isnan(found[2])


def test_novelty_and_coverage_by_hand() -> None:
    found = measure([[1, 2], [1, 3]], [[1], [1]], (2,), catalog=12, known=[[1, 1, 2], [1], [1, 4]])
    bits = {1: -math.log2(4 / 4), 2: -math.log2(2 / 4), 3: -math.log2(1 / 4)}
    assert found.values["novelty@2"].tolist() == [(bits[1] + bits[2]) / 2, (bits[1] + bits[3]) / 2]
    assert found["coverage@2"].value == 3 / 12
    assert found["coverage@2"].low is None


def hits(users: int, share: float, seed: int) -> Measured:
    """Measure users whom the one recommended item pleases with this probability."""
    pleased = np.random.default_rng(seed).random(users) < share
    wanted = [[0] if one else [1] for one in pleased]
    return measure(np.zeros((users, 1), int), wanted, (1,), resamples=300)


def test_an_interval_holds_the_truth_about_19_times_of_20() -> None:
    figures = [hits(200, 0.3, seed)["hit_rate@1"] for seed in range(120)]
    held = [one.low <= 0.3 <= one.high for one in figures if one.low and one.high]
    assert 106 <= sum(held) <= 119
    assert all(one.low <= one.value <= one.high for one in figures if one.low and one.high)


def test_the_same_seed_gives_the_same_interval() -> None:
    lists, wanted = some(users=100, items=30, k=10, seed=3)
    assert measure(lists, wanted).as_dict() == measure(lists, wanted).as_dict()
    other = measure(lists, wanted, seed=1)["recall@10"]
    mine = measure(lists, wanted)["recall@10"]
    assert mine.value == other.value and mine.low != other.low


def test_a_difference_is_taken_user_by_user() -> None:
    random = np.random.default_rng(0)
    wanted = [[0]] * 400
    easy = random.random(400) < 0.5  # users whom both please
    luck = random.random(400) < 0.1  # and those whom only one does
    one = measure(np.where(easy | luck, 0, 1)[:, None], wanted, (1,))
    other = measure(np.where(easy, 0, 1)[:, None], wanted, (1,))
    ahead = difference(one, other)["hit_rate@1"]
    assert ahead.value == pytest.approx(one["hit_rate@1"].value - other["hit_rate@1"].value)
    assert ahead.low is not None and ahead.low > 0
    assert one["hit_rate@1"].low < other["hit_rate@1"].high  # type: ignore[operator]  # apart they overlap


def test_what_cannot_be_measured_is_said() -> None:
    with pytest.raises(BadInput, match="2 users, and 1 of"):
        measure([[1], [2]], [[1]])
    with pytest.raises(BadInput, match="nobody"):
        measure([], [])
    with pytest.raises(BadInput, match="at is"):
        measure([[1]], [[1]], (0,))
    with pytest.raises(BadInput, match="at is"):
        measure([[1]], [[1]], ())
    with pytest.raises(BadInput, match="whole numbers"):
        measure(np.array([[0.5]]), [[1]])
    with pytest.raises(BadInput, match="null"):
        measure(pa.array([[1], None]), [[1], [2]])
    with pytest.raises(BadInput, match="list of lists"):
        measure([1, 2], [[1], [2]])
    with pytest.raises(BadInput, match="cannot be compared"):
        difference(measure([[1]], [[1]]), measure([[1], [2]], [[1], [2]]))


def test_nobody_who_wants_anything_is_no_figure() -> None:
    found = searchx.measure([[1], [2]], [[], []], (1,))
    assert found.asked == 0 and math.isnan(found["recall@1"].value)


def test_many_users_are_measured_quickly() -> None:
    """A hundred thousand users: seconds, not minutes."""
    random = np.random.default_rng(0)
    lists = random.integers(0, 10_000, (100_000, 10))
    found = measure(lists, Ragged.of(random.integers(0, 10_000, (100_000, 5))), resamples=20)
    assert found["recall@10"].value == pytest.approx(10 / 10_000, rel=0.2)
