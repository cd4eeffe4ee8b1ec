import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchx.vectors import Effort, inverted
from searchx.vectors.tuning import TARGET, K, Point, chosen, curve, deepened
from tests.rows import clustered, exactly, recall, worded

COUNT = 1_200


def test_the_curve_is_the_recall_that_is_measured() -> None:
    ids, matrix = np.arange(COUNT, dtype=np.int64), clustered(COUNT).astype(np.float16)
    made = inverted.filled(inverted.trained(matrix), ids, matrix)
    queries = {"text": worded(40, seed=2), "image": clustered(40, seed=3)}
    points = curve(made, ids, matrix, queries)
    assert {side for one in points for side in one.recall} == {"text", "image"}
    for point in points[:: len(points) // 7]:
        for side, rows in queries.items():
            effort = Effort(point.nprobe, min(1024, COUNT))
            found = made.candidates(rows, effort, None)[:, : point.depth]
            expected, _ = exactly(ids, matrix, rows, K)
            assert point.recall[side] == pytest.approx(recall(found, expected), abs=0.005)
    best = [one for one in points if one.nprobe == points[-1].nprobe]
    assert [one.recall["text"] for one in best] == sorted(one.recall["text"] for one in best)


points_of = st.lists(
    st.builds(
        lambda nprobe, depth, recall: Point(nprobe, depth, {"text": recall}),
        st.integers(1, 50),
        st.sampled_from([64, 128, 512]),
        st.floats(0, 1),
    ),
    min_size=1,
    max_size=20,
)


@settings(max_examples=80, deadline=None)
@given(points_of, st.integers(1, 500))
def test_the_least_effort_that_serves_is_chosen(points: list[Point], in_list: int) -> None:
    effort = chosen(tuple(points), "text", in_list)
    found = [one for one in points if (one.nprobe, one.depth) == (effort.nprobe, effort.depth)]
    assert found
    reached = [one for one in points if one.recall["text"] >= TARGET]
    best = max(one.recall["text"] for one in points)
    assert max(one.recall["text"] for one in found) >= min(TARGET, best - 0.005)
    for one in reached:
        assert one.nprobe >= effort.nprobe or one.depth >= effort.depth


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 64), st.integers(64, 1024), st.integers(1, 20_000), st.integers(1, 512))
def test_more_hits_are_searched_harder(nprobe: int, depth: int, k: int, lists: int) -> None:
    effort = Effort(min(nprobe, lists), depth)
    deeper = deepened(effort, k, lists)
    assert effort.nprobe <= deeper.nprobe <= lists
    assert deeper.depth >= max(depth, k if k > K else 0)
    assert (deeper == effort) == (k <= K) or deeper.depth == depth
