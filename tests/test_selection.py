import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from searchx.vectors import Scan
from searchx.vectors.selection import select
from tests.rows import some

numbers = st.sets(st.integers(0, 400), max_size=30)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 30), numbers, st.none() | numbers, st.booleans())
def test_a_selection_is_what_is_within_and_not_excluded(
    count: int, excluded: set[int], within: set[int] | None, has_index: bool
) -> None:
    ids, matrix = some(count)
    lists = np.arange(count, dtype=np.uint16) % 5 if has_index else None
    asked = None if within is None else np.array(sorted(within), np.int64)
    gone = np.array(sorted(excluded), np.int64)
    chosen = select(Scan(ids, matrix), gone, asked, lists, 5 if has_index else 0)
    expected = [
        one for one in ids.tolist() if one not in excluded and (within is None or one in within)
    ]
    assert ids[chosen.kept].tolist() == expected
    assert chosen.count == len(expected)
    assert chosen.few is not None
    assert chosen.few.ids.tolist() == expected
    if has_index:
        bits = np.unpackbits(chosen.bits, bitorder="little")
        assert np.flatnonzero(bits).tolist() == expected
        kept = np.arange(count)[chosen.kept] % 5
        assert chosen.in_lists.tolist() == [int((kept == one).sum()) for one in range(5)]
