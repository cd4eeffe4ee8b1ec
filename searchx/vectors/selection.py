"""Which rows of a snapshot a search may find."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from searchx.records import Ids
from searchx.vectors.exact import Mask, Scan, places_of

KEPT_APART: Final = 10_000  # rows that are few enough to be copied out of the matrix, 10 MB
Lists: TypeAlias = NDArray[np.uint16]  # (n,) number of the inverted list that a row is in


@dataclass(frozen=True)
class Selection:
    """Some rows of one snapshot, as each kind of search wants to have them."""

    whole: Scan  # all rows
    kept: Mask  # (n,) by row
    count: int
    bits: NDArray[np.uint8]  # by id, eight to a byte, lowest first; empty without an index
    in_lists: NDArray[np.int64]  # (lists,) how many of them each list holds; likewise

    @cached_property
    def few(self) -> Scan | None:
        """Give the rows apart from the others, where they are few; copied by the first search."""
        if self.count > KEPT_APART:
            return None
        places = np.flatnonzero(self.kept)
        return Scan(self.whole.ids[places], self.whole.matrix[places])


def select(
    whole: Scan, excluded: Ids, within: Ids | None, lists: Lists | None, list_count: int
) -> Selection:
    """Choose the rows of `within` (None: all) that are not `excluded`; other ids are ignored."""
    ids = whole.ids
    kept = np.ones(len(ids), np.bool_) if within is None else np.zeros(len(ids), np.bool_)
    if within is not None:
        kept[places_of(ids, within)] = True
    kept[places_of(ids, excluded)] = False
    if lists is None:
        return Selection(whole, kept, int(kept.sum()), np.empty(0, np.uint8), np.empty(0, np.int64))
    by_id = np.zeros(int(ids[-1]) + 1 if len(ids) else 0, np.bool_)
    by_id[ids[kept]] = True
    bits = np.packbits(by_id, bitorder="little")
    in_lists = np.bincount(lists[kept], minlength=list_count)
    return Selection(whole, kept, int(kept.sum()), bits, in_lists)
