"""What is known and what is asked are apart, and nothing of the future is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchx.errors import BadInput
from searchx.splits import by_user, leave_one_out, split_by_time

ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), min_size=1, max_size=40)


@given(ROWS, st.floats(0.05, 0.95))
def test_nothing_known_is_later_than_what_is_asked(
    rows: list[tuple[int, int]], share: float
) -> None:
    times = np.array([time for _, time in rows])
    split = split_by_time(times, share=share)
    assert sorted([*split.train, *split.test]) == list(range(len(rows)))
    assert len(split.test)
    assert len(split.train) <= len(rows) * (1 - share) + 1
    if len(split.train):
        assert times[split.train].max() < times[split.test].min()


def test_a_moment_may_be_a_date() -> None:
    times = np.array(["2024-01-01", "2024-03-01", "2024-02-01"], "datetime64[D]")
    split = split_by_time(times, at="2024-02-01")
    assert (split.train.tolist(), split.test.tolist()) == ([0], [1, 2])
    assert split_by_time(np.arange(100), share=0.2).test.tolist() == list(range(80, 100))


@given(ROWS)
def test_the_latest_of_each_user_is_left_out(rows: list[tuple[int, int]]) -> None:
    users, times = np.array(rows).T
    split = leave_one_out(users, times)
    assert sorted([*split.train, *split.test]) == list(range(len(rows)))
    assert sorted(users[split.test]) == [u for u in range(5) if (users == u).sum() > 1]
    for row in split.test:
        assert times[row] == times[users == users[row]].max()


@given(ROWS)
def test_lists_by_user_are_oldest_first(rows: list[tuple[int, int]]) -> None:
    users, times = np.array(rows).T
    items = np.arange(len(rows))
    names, lists = by_user(users, items, times)
    assert names.tolist() == sorted(set(users.tolist()))
    for place, name in enumerate(names):
        own = [row for row in range(len(rows)) if users[row] == name]
        assert lists[place].tolist() == sorted(own, key=lambda row: (times[row], row))


def test_users_are_given_in_the_order_that_is_asked() -> None:
    users = np.array(["ann", "bob", "ann", "eve"])
    names, lists = by_user(users, [1, 2, 3, 4], of=["eve", "zoe", "ann"])
    assert names.tolist() == ["eve", "zoe", "ann"]
    assert [one.tolist() for one in (lists[0], lists[1], lists[2])] == [[4], [], [1, 3]]
    assert len(by_user(users, [1, 2, 3, 4], of=[])[1]) == 0


def test_what_cannot_be_divided_is_said() -> None:
    with pytest.raises(BadInput, match="times have shape"):
        split_by_time([])
    with pytest.raises(BadInput, match="share is 1"):
        split_by_time([1, 2], share=1)
    with pytest.raises(BadInput, match=r"\(2,\) and \(1,\)"):
        leave_one_out([1, 2], [1])
