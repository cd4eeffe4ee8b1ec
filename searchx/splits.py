"""Divide what users did into what a recommender may know and what it is measured on."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from searchx.errors import BadInput
from searchx.ragged import Ragged

Places: TypeAlias = NDArray[np.intp]  # row numbers, ascending


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Rows of a table of interactions: no row is in both."""

    train: Places
    test: Places


def split_by_time(times: Any, at: Any = None, share: float = 0.2) -> Split:
    """Divide at a moment: what came before may be known, what came from then on is asked.

    Nothing of the future leaks into what is known, as it does where rows are drawn at random.
    `times` (n,) are numbers or datetimes; `at` is the moment, by default one that leaves the
    latest `share` to be asked (rows of the same time stay together). Raises BadInput.
    """
    when = np.asarray(times)
    if when.ndim != 1 or not len(when):
        raise BadInput(f"times have shape {when.shape}; give one for each interaction")
    if not 0 < share < 1:
        raise BadInput(f"share is {share}; it must be between 0 and 1")
    if at is None:
        at = np.sort(when)[min(len(when) - 1, int(np.ceil(len(when) * (1 - share))))]
    asked = when >= np.asarray(at, when.dtype)
    return Split(np.flatnonzero(~asked), np.flatnonzero(asked))


def leave_one_out(users: Any, times: Any) -> Split:
    """Leave the latest interaction of each user to be asked; of one who has but one, none.

    `users` and `times` are (n,); of several at the same time the one that stands last counts as the
    latest. Raises BadInput.
    """
    who, when = _columns(users, times)
    order = np.lexsort((np.arange(len(who)), when, who))
    ordered = who[order]
    last = np.ones(len(who), np.bool_)
    last[:-1] = ordered[1:] != ordered[:-1]
    alone = last.copy()
    alone[1:] &= ordered[1:] != ordered[:-1]
    asked = np.zeros(len(who), np.bool_)
    asked[order[last & ~alone]] = True
    return Split(np.flatnonzero(~asked), np.flatnonzero(asked))


def by_user(
    users: Any, values: Any, times: Any = None, of: Any = None
) -> tuple[NDArray[Any], Ragged]:
    """Gather the values (n,) of each user: the users (u,), and a list for each, oldest first.

    Without `times` the order is that of the rows. `of` names the users to gather, in that order;
    one who did nothing has an empty list. Raises BadInput.
    """
    who, what = _columns(users, values)
    when = np.zeros(len(who)) if times is None else _columns(users, times)[1]
    names = np.unique(who) if of is None else np.asarray(of)
    order = np.argsort(names, kind="stable")
    place = np.minimum(np.searchsorted(names[order], who), max(len(names) - 1, 0))
    kept = names[order][place] == who if len(names) else np.zeros(len(who), np.bool_)
    row = order[place[kept]] if len(names) else np.empty(0, np.intp)
    sequence = np.lexsort((np.arange(len(row)), when[kept], row))
    lengths = np.bincount(row, minlength=len(names))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return names, Ragged(what[kept][sequence], offsets)


def _columns(users: Any, others: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    who, what = np.asarray(users), np.asarray(others)
    if who.ndim != 1 or who.shape != what.shape:
        raise BadInput(f"columns have shapes {who.shape} and {what.shape}; give one row for each")
    return who, what
