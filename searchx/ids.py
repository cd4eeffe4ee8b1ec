"""Ascending ids, as SQLite gives them in one string: row by row takes several times as long."""

from typing import Any, Final

import numpy as np

from searchx.records import Ids

NO_IDS: Final[Ids] = np.empty(0, np.int64)


def ids_in(listed: Any) -> Ids:
    """Read what group_concat() gives: numbers with commas between them, or NULL."""
    found: Ids = np.fromstring(listed or "", np.int64, sep=",")
    return found


def each_once(ids: Ids) -> Ids:
    """Give ids ascending, each once; that they often are so already is seen sooner than made."""
    return ids if bool(np.all(ids[1:] > ids[:-1])) else np.unique(ids)


def among(ids: Ids, others: Ids) -> Ids:
    """Give those of some ids that are among others, which are ascending; the order stays."""
    if not len(others):
        return NO_IDS
    place = np.searchsorted(others, ids)
    place[place == len(others)] = 0
    found: Ids = ids[others[place] == ids]
    return found
