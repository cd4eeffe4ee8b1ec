"""Gather what a library holds more than once: copies of one content, and near duplicates.

The best of a group is the one with the most pixels, then the largest file, then the oldest. Every
other one is a copy of it or a near duplicate of it, not merely of another member.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from searchx import vectors
from searchx.catalog import Catalog, HeldFile, Holding
from searchx.copies import leaders
from searchx.cursors import Cursor, digest_of
from searchx.filters import Filter
from searchx.ranking import Positions
from searchx.records import Ids, Item, Kind
from searchx.views import View

Reason: TypeAlias = Literal["pixels", "bytes", "oldest", "first"]
_KEPT: Final = 4  # answers that are remembered
_LONG: Final = 1.0  # seconds of gathering; what took less is done again at each change
_REST: Final = 10  # times as long as it took, until it is: else an indexing has it run for ever


@dataclass(frozen=True, slots=True)
class Copy:
    """One file of a group."""

    item: Item
    path: str
    bytes: int  # 0 where the item is only a part of the file
    modified: datetime | None
    likeness: float  # cosine to the best one; 1 for the same content

    def as_dict(self) -> dict[str, object]:
        """Give the JSON shape."""
        return {
            "id": self.item.id,
            "path": self.path,
            "bytes": self.bytes,
            "modified": self.modified and self.modified.isoformat(),
            "width": self.item.width,
            "height": self.item.height,
            "likeness": round(self.likeness, 6),
        }


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Files that hold the same, or nearly: the best one, and the others."""

    best: Copy
    others: tuple[Copy, ...]  # one or more, the most alike first
    reason: Reason  # by what the best one is best
    bytes: int  # of the others

    @property
    def is_exact(self) -> bool:
        """Tell whether all of them have the very same content."""
        return all(one.item.id == self.best.item.id for one in self.others)

    def as_dict(self) -> dict[str, object]:
        """Give the JSON shape."""
        return {
            "best": self.best.as_dict(),
            "others": [one.as_dict() for one in self.others],
            "reason": self.reason,
            "exact": self.is_exact,
            "bytes": self.bytes,
        }


@dataclass(frozen=True, slots=True)
class Duplicates:
    """One page of groups, those first that take up the most, and what all of them are."""

    groups: tuple[DuplicateGroup, ...]
    count: int  # groups in all
    files: int  # that are not the best of their group
    bytes: int  # of those
    threshold: float  # cosine from which on two items are near duplicates
    cursor: str | None = None

    def as_dict(self) -> dict[str, object]:
        """Give the JSON shape."""
        return {
            "groups": [one.as_dict() for one in self.groups],
            "count": self.count,
            "files": self.files,
            "bytes": self.bytes,
            "threshold": round(self.threshold, 6),
            "cursor": self.cursor,
        }


@dataclass(frozen=True, slots=True)
class _Gathered:
    """The groups of a library as of one moment."""

    touched: object
    groups: list["_Group"]
    when: float  # by the monotonic clock
    seconds: float  # it took

    def will_do(self, touched: object) -> bool:
        """Tell whether it is as the library is, or was so until lately, for what it costs."""
        rests = self.seconds >= _LONG and time.monotonic() - self.when < _REST * self.seconds
        return self.touched == touched or rests


@dataclass(frozen=True, slots=True)
class _Group:
    """A group before its items are fetched."""

    items: tuple[int, ...]  # the best first
    files: int
    bytes: int  # of all files but the best
    reason: Reason


class Gatherer:
    """The duplicates of one library. Safe to use from many threads; one gathers at a time."""

    def __init__(
        self, catalog: Catalog, view: Callable[[Kind], View], threshold: Callable[[], float]
    ) -> None:
        self._catalog = catalog
        self._view = view
        self._threshold = threshold
        self._led: OrderedDict[tuple[object, ...], tuple[Ids, Positions]] = OrderedDict()
        self._groups: OrderedDict[tuple[object, ...], _Gathered] = OrderedDict()
        self._gathering = threading.Lock()
        self.share = 0.0  # of what is being gathered now, that is done

    def page(self, kind: Kind, where: Filter | None, k: int, after: str | None) -> Duplicates:
        """Give k groups after a cursor. Raises BadInput.

        Where gathering takes long, they may be those of a while ago while the library changes.
        """
        place = digest_of(f"duplicates {kind} {where!r}")
        cursor = None if after is None else Cursor.read(after, place)
        with self._gathering:
            view, threshold = self._view(kind), self._threshold()
            groups = self._found(view, where, threshold)
        keys = np.array([one.bytes for one in groups], np.float64)
        firsts = np.array([one.items[0] for one in groups], np.int64)
        left = np.arange(len(groups))
        if cursor is not None:
            left = np.flatnonzero(cursor.precedes(keys, firsts))
        shown = [groups[one] for one in left[:k].tolist()]
        last = shown[-1] if len(left) > k else None
        return Duplicates(
            groups=self._fetched(view, shown),
            count=len(groups),
            files=sum(one.files - 1 for one in groups),
            bytes=sum(one.bytes for one in groups),
            threshold=threshold,
            cursor=None if last is None else Cursor(last.bytes, last.items[0], place).written(),
        )

    def _found(self, view: View, where: Filter | None, threshold: float) -> list[_Group]:
        touched = self._catalog.touched()
        key = (view.kind, view.version.library, view.version.space, where)
        known = self._groups.get(key)
        if known is None or not known.will_do(touched):
            began = time.monotonic()
            held = self._held(view, where)
            order = np.array([one.id for one in held], np.int64)
            groups = self._grouped(held, self._firsts(key, order, view, threshold))
            ended = time.monotonic()
            known = self._groups[key] = _Gathered(touched, groups, ended, ended - began)
            _forget(self._groups)
        return known.groups

    def _held(self, view: View, where: Filter | None) -> list[Holding]:
        """Give the items that pass a filter, the best first."""
        passing = view.choose(self._catalog, where).ids
        ids = set((view.ids if passing is None else passing).tolist())
        held = [one for one in self._catalog.holdings(view.kind) if one.id in ids]
        return sorted(held, key=lambda one: (-one.pixels, -one.bytes, one.oldest, one.id))

    def _firsts(
        self, key: tuple[object, ...], order: Ids, view: View, threshold: float
    ) -> Positions:
        """Compare, or remember: a file that moves or is copied changes no vector."""
        key = (*key, view.version)
        known = self._led.get(key)
        if known is None or not np.array_equal(known[0], order):
            self._tell(0.0)
            firsts = leaders(order, view.rows, threshold, self._tell)
            known = self._led[key] = (order, firsts)
            _forget(self._led)
        return known[1]

    def _grouped(self, held: list[Holding], firsts: Positions) -> list[_Group]:
        """Give the groups of two files or more, those first that take up the most."""
        order = np.argsort(firsts, kind="stable")
        members = np.split(order, np.flatnonzero(np.diff(firsts[order])) + 1) if len(order) else []
        several = [one for one in members if len(one) > 1 or held[int(one[0])].files > 1]
        sizes = self._sizes([held[one].id for group in several for one in group.tolist()])
        found = []
        for group in several:  # the files are of now: what was removed since has none
            items = [held[one] for one in group.tolist() if held[one].id in sizes]
            if not items:
                continue
            files = [size for one in items for size in sizes[one.id]]
            rest = sum(files) - sizes[items[0].id][0]
            ids = tuple(one.id for one in items)
            if len(files) > 1:
                found.append(_Group(ids, len(files), rest, _reason(items)))
        return sorted(found, key=lambda one: (-one.bytes, one.items[0]))

    def _sizes(self, ids: list[int]) -> dict[int, list[int]]:
        files = groupby(self._catalog.held_files(ids), lambda one: one.item)
        return {item: [one.bytes for one in some] for item, some in files}

    def _fetched(self, view: View, groups: list[_Group]) -> tuple[DuplicateGroup, ...]:
        ids = [one for group in groups for one in group.items]
        items = self._catalog.items(ids)
        files = {
            item: list(some)
            for item, some in groupby(self._catalog.held_files(ids), lambda one: one.item)
        }
        made = (_fetched(view, one, items, files) for one in groups)
        return tuple(one for one in made if one is not None)

    def _tell(self, share: float) -> None:
        self.share = share


def _fetched(
    view: View, group: _Group, items: dict[int, Item], files: dict[int, list[HeldFile]]
) -> DuplicateGroup | None:
    """Fill in a group; None where it is gone meanwhile."""
    if group.items[0] not in items or group.items[0] not in files:
        return None
    held, rows = view.rows(np.sort(np.array(group.items, np.int64)))
    best = rows[np.searchsorted(held, group.items[0])]
    likeness = dict(zip(held.tolist(), vectors.cosines(rows, best).tolist(), strict=True))
    likeness[group.items[0]] = 1.0
    copies = [
        Copy(items[one], file.path, file.bytes, _moment(file.modified), likeness[one])
        for one in group.items
        if one in items and one in likeness
        for file in files.get(one, [])
    ]
    rest = sorted(copies[1:], key=lambda one: -one.likeness)
    taken = sum(one.bytes for one in rest)
    return DuplicateGroup(copies[0], tuple(rest), group.reason, taken) if rest else None


def _reason(items: list[Holding]) -> Reason:
    """Tell by what the first of some items is better than the second."""
    if len(items) < 2:
        return "oldest"  # of files with one content
    first, second = items[:2]
    if first.pixels != second.pixels:
        return "pixels"
    if first.bytes != second.bytes:
        return "bytes"
    return "oldest" if first.oldest != second.oldest else "first"


def _moment(nanoseconds: int) -> datetime | None:
    """Give a time of change; None for one that no calendar has, or that is not known."""
    try:
        return datetime.fromtimestamp(nanoseconds // 10**9, UTC) if nanoseconds > 0 else None
    except (OverflowError, ValueError, OSError):
        return None


def _forget(kept: OrderedDict[Any, Any]) -> None:
    while len(kept) > _KEPT:
        kept.popitem(last=False)
