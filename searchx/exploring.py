"""Wander through a library: what is in it, divided again and again into what is alike.

A cluster is divided when it is looked at, and so are those that it lies in. For one version of a
library the clusters are always the same ones: an address such as "3.1", the first part of the third
part of all, leads to the same items until something is indexed.
"""

import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from searchx import vectors
from searchx.catalog import Catalog
from searchx.clusters import Group, divide
from searchx.cursors import Cursor, digest_of
from searchx.errors import BadInput
from searchx.naming import Vocabulary, names, vocabulary_of
from searchx.ranking import diversify
from searchx.records import Ids, Item, Kind, Vectors
from searchx.references import kept_references
from searchx.relevance import everyday_captions
from searchx.views import View

TYPICAL: Final = 4  # items that stand for a cluster
_POOL: Final = 48  # of the most typical ones, from which those are chosen
_UNLIKE: Final = 0.5  # how much they have to be unlike each other
_TEXTS: Final = 2_000  # of the library, whose words name clusters beside the everyday captions
_DEEPEST: Final = 12  # levels
_KEPT: Final = 4_000_000  # ids in the divisions that are remembered; 12 bytes each
_ADDRESS: Final = re.compile(r"[1-9][0-9]?(?:\.[1-9][0-9]?)*")


@dataclass(frozen=True, slots=True)
class Cluster:
    """Items that are like each other, in words and by some that stand for them."""

    at: str  # its address, such as "3.1"; empty for the whole library
    size: int  # items
    words: tuple[str, ...] = ()  # what tells it from those beside it; empty where nothing does
    typical: tuple[Item, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """Give the JSON shape."""
        shape: dict[str, object] = {"at": self.at, "size": self.size, "words": list(self.words)}
        return shape | {"typical": [one.id for one in self.typical]}


@dataclass(frozen=True, slots=True)
class Level:
    """One cluster as it is looked at: the way to it, what it divides into, and its items."""

    kind: Kind
    trail: tuple[Cluster, ...]  # from the whole library to this cluster, which is the last
    parts: tuple[Cluster, ...]  # the largest first; none where it is looked at as a whole
    items: tuple[Item, ...]  # the most typical first, or what is nearest to what was asked
    scores: tuple[float, ...]  # of the items: cosines, to the middle of the cluster or the query
    cursor: str | None = None  # asks for the items after these

    @property
    def cluster(self) -> Cluster:
        return self.trail[-1]


@dataclass(frozen=True, slots=True, eq=False)
class _Divided:
    """What a cluster divides into, with the words for it."""

    groups: tuple[Group, ...]
    words: tuple[tuple[str, ...], ...]


class Explorer:
    """The clusters of one library. Safe to use from many threads."""

    def __init__(self, catalog: Catalog, view: Callable[[Kind], View]) -> None:
        self._catalog = catalog
        self._view = view
        self._kept: OrderedDict[tuple[object, ...], _Divided] = OrderedDict()
        self._vocabulary: tuple[object, Vocabulary] | None = None
        self._dividing = threading.Lock()

    def level(
        self, kind: Kind, at: str, k: int, asked: Vectors | None, digest: str, after: str | None
    ) -> Level:
        """Look at a cluster; `asked` (dim,) orders its items, and `digest` tells what that is.

        Raises BadInput where there is no such cluster.
        """
        view = self._view(kind)
        trail, group = self._way(view, at)
        divided = self._divided(view, at, view.ids if group is None else group.ids)
        ids, scores = _ordered(view, group, asked)
        place = digest_of(f"clusters {kind} {at} {digest}")
        keys = scores.astype(np.float64)
        if after is not None:
            left = Cursor.read(after, place).precedes(keys, ids)
            ids, keys = ids[left], keys[left]
        shown = ids[:k].tolist()
        typical = [_typical(view, one) for one in divided.groups]
        wanted = [*shown, *(one for ids in typical for one in ids)]
        items = self._catalog.items(list(dict.fromkeys(wanted)))
        parts = [
            Cluster(
                _below(at, number),
                len(one.ids),
                words,
                tuple(items[id] for id in typical[number] if id in items),
            )
            for number, (one, words) in enumerate(zip(divided.groups, divided.words, strict=True))
        ]
        has_more = len(ids) > k
        held = [
            (items[one], float(key)) for one, key in zip(shown, keys, strict=False) if one in items
        ]
        return Level(
            kind=kind,
            trail=trail,
            parts=tuple(parts),
            items=tuple(item for item, _ in held),
            scores=tuple(key for _, key in held),
            cursor=Cursor(float(keys[k - 1]), shown[-1], place).written() if has_more else None,
        )

    def _way(self, view: View, at: str) -> tuple[tuple[Cluster, ...], Group | None]:
        """Give the clusters on the way to an address, and what is there."""
        if at and not _ADDRESS.fullmatch(at):
            raise BadInput(f'"{at[:60]}" is no address of a cluster; give one such as 3.1')
        numbers = [int(one) for one in at.split(".")] if at else []
        trail, group, here = [Cluster("", view.count)], None, ""
        for number in numbers[: _DEEPEST + 1]:
            divided = self._divided(view, here, view.ids if group is None else group.ids)
            if number > len(divided.groups):
                raise BadInput(f"there is no cluster {at[:60]} in this library as it is now")
            group, here = divided.groups[number - 1], _below(here, number - 1)
            trail.append(Cluster(here, len(group.ids), divided.words[number - 1]))
        return tuple(trail), group

    def _divided(self, view: View, at: str, ids: Ids) -> _Divided:
        """Divide a cluster, or remember how it was divided."""
        if at.count(".") + 1 >= _DEEPEST:
            return _Divided((), ())
        key = (view.kind, view.version, at)
        with self._dividing:  # one at a time: others wait for what they would do as well
            known = self._kept.get(key)
            if known is None:
                groups = divide(ids, view.blocks)
                named = (
                    names(self._words(), np.stack([one.centre for one in groups])) if groups else []
                )
                known = self._kept[key] = _Divided(groups, tuple(named))
                while len(self._kept) > 1 and self._size() > _KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return known

    def _size(self) -> int:
        return sum(len(group.ids) for one in self._kept.values() for group in one.groups)

    def _words(self) -> Vocabulary:
        """Give the words of the everyday captions and of the library's own texts."""
        view, space = self._view("text"), self._catalog.space()
        if self._vocabulary is None or self._vocabulary[0] != view.version:
            references = None if space is None else kept_references(self._catalog.directory, space)
            captions = [] if references is None else [(everyday_captions(), references)]
            texts, rows = self._own(view)
            if references is not None and texts and references.shape[1] != rows.shape[1]:
                captions = []  # of a model that took the place of that of the view just now
            learnt = vocabulary_of([*captions, (texts, rows)] if texts else captions)
            self._vocabulary = (view.version, learnt)
        return self._vocabulary[1]

    def _own(self, view: View) -> tuple[list[str], Vectors]:
        """Give some texts of the library, with their vectors."""
        ids = view.ids
        if len(ids) > _TEXTS:
            ids = np.sort(np.random.default_rng(0).choice(ids, _TEXTS, replace=False))
        held, rows = view.rows(ids)
        items = self._catalog.items(held.tolist())
        return [items[one].text or "" if one in items else "" for one in held.tolist()], rows


def _below(at: str, number: int) -> str:
    return f"{at}.{number + 1}" if at else str(number + 1)


def _ordered(
    view: View, group: Group | None, asked: Vectors | None
) -> tuple[Ids, NDArray[np.floating]]:
    """Give the items of a cluster in order, with what they are ordered by."""
    if asked is not None:
        return _nearest(view, view.ids if group is None else np.sort(group.ids), asked)
    if group is not None:
        return group.ids, group.scores
    ids = view.ids[::-1]  # of everything nothing is typical: what was indexed last comes first
    return ids, ids.astype(np.float64)


def _nearest(view: View, ids: Ids, asked: Vectors) -> tuple[Ids, Vectors]:
    found = [(held, vectors.cosines(rows, asked)) for held, rows in view.blocks(ids)]
    held = np.concatenate([one[0] for one in found] or [np.empty(0, np.int64)])
    scores = np.concatenate([one[1] for one in found] or [np.empty(0, np.float32)])
    order = np.lexsort((held, -scores))
    return held[order], scores[order]


def _typical(view: View, group: Group) -> list[int]:
    """Choose the items that stand for a cluster: near its middle, and unlike each other."""
    ids, scores = group.ids[:_POOL], group.scores[:_POOL]
    held, rows = view.rows(np.sort(ids))
    places = np.searchsorted(held, ids)
    chosen = diversify(rows[places], scores, TYPICAL, _UNLIKE)
    return [int(ids[one]) for one in chosen]
