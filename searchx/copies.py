"""Find which items are near duplicates of a better one: all of them, in bounded memory.

Every item is compared with all that lead a group, which is most items, but briefly: on the few
directions in which items differ most, with the length of what those leave out beside them. By
Cauchy and Schwarz no cosine is above what these say, so that nothing is missed, and only pairs
that may reach the threshold are compared in full.
"""

from collections.abc import Callable
from typing import Final, TypeAlias, cast

import numpy as np

from searchx.ranking import Positions, groups
from searchx.records import Ids, Vectors

Read: TypeAlias = Callable[[Ids], tuple[Ids, Vectors]]  # of ascending ids

_DIRECTIONS: Final = 48
_SAMPLE: Final = 4_000  # vectors that those are found on
_BLOCK: Final = 2_048  # items compared together
_SLACK: Final = 1e-4  # for the rounding of float32
_PAIRS: Final = 8_192  # compared in full at a time


def leaders(
    ids: Ids, read: Read, threshold: float, told: Callable[[float], None] = lambda share: None
) -> Positions:
    """Give for each of some items, the best first, the position of the one that leads it, (n,).

    The best item leads a group of all that have at least the cosine `threshold` to it, the best of
    the rest the next one, and so on, as in `ranking.groups`. `told` is called with the share of
    the work that is done.
    """
    count = len(ids)
    firsts = np.arange(count)
    basis = _basis(ids, read)
    short = np.empty((count, basis.shape[1] + 1), np.float32)
    led = np.empty_like(short)  # those of the leaders
    places = np.empty(count, np.int64)  # where the leaders stand
    leading = 0
    for start in range(0, count, _BLOCK):
        block = slice(start, min(start + _BLOCK, count))
        rows = _rows(ids[block], read)
        short[block] = here = _shortened(rows, basis)
        found = _led(here, rows, led[:leading], ids[places[:leading]], read, threshold)
        free = np.flatnonzero(found < 0)
        firsts[block][found >= 0] = places[found[found >= 0]]
        own = _grouped(here[free], rows[free], threshold)  # positions in `free`
        firsts[start + free] = start + free[own]
        new = free[own == np.arange(len(free))]
        led[leading : leading + len(new)] = here[new]
        places[leading : leading + len(new)] = start + new
        leading += len(new)
        told((block.stop / count) ** 2)
    return firsts


def _led(
    here: Vectors, rows: Vectors, led: Vectors, ids: Ids, read: Read, threshold: float
) -> Positions:
    """Give for each row of a block the first leader that is near enough; -1 for none."""
    found = np.full(len(here), -1, np.int64)
    for start in range(0, len(led), _BLOCK):
        near = here @ led[start : start + _BLOCK].T >= threshold - _SLACK  # (b, l)
        near[found >= 0] = False
        row, leader = np.divmod(np.flatnonzero(near), near.shape[1])
        leader += start
        for at in range(0, len(row), _PAIRS):
            some, those = row[at : at + _PAIRS], leader[at : at + _PAIRS]
            wanted, which = np.unique(ids[those], return_inverse=True)
            full = read(wanted)[1]
            is_near = np.einsum("nd,nd->n", rows[some], full[which]) >= threshold
            for one, first in zip(some[is_near].tolist(), those[is_near].tolist(), strict=True):
                if found[one] < 0:
                    found[one] = first
    return found


def _grouped(short: Vectors, rows: Vectors, threshold: float) -> Positions:
    """Group the rows of a block that nobody before it leads: positions of the first, (n,)."""
    firsts = np.arange(len(rows))
    near = short @ short.T >= threshold - _SLACK
    np.fill_diagonal(near, False)
    paired = np.flatnonzero(near.any(axis=1))
    if len(paired):
        firsts[paired] = paired[groups(rows[paired], threshold)]
    return firsts


def _basis(ids: Ids, read: Read) -> Vectors:
    """Find the directions (dim, m) in which items differ most, on a sample."""
    random = np.random.default_rng(0)
    some = ids if len(ids) <= _SAMPLE else random.choice(ids, _SAMPLE, replace=False)
    rows = read(np.sort(some))[1].astype(np.float64)
    _, directions = np.linalg.eigh(rows.T @ rows)  # by ascending share of the whole
    return cast(Vectors, directions[:, ::-1][:, :_DIRECTIONS].astype(np.float32))


def _shortened(rows: Vectors, basis: Vectors) -> Vectors:
    """Give rows (n, m + 1): along the directions, and the length of the rest."""
    along = rows @ basis
    rest = np.einsum("nd,nd->n", rows, rows) - np.einsum("nm,nm->n", along, along)
    return np.concatenate([along, np.sqrt(np.maximum(rest, 0) + 1e-6)[:, None]], axis=1)


def _rows(ids: Ids, read: Read) -> Vectors:
    """Give the vectors of ids in their order."""
    held, rows = read(np.sort(ids))
    return rows[np.searchsorted(held, ids)]
