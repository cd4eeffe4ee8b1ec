"""Which group an item belongs to, where a list may hold only so many of each."""

import threading
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np

from searchx.arrow import ids_of
from searchx.catalog import Catalog
from searchx.errors import BadInput
from searchx.filters import COLUMN
from searchx.records import Ids, Item

Group: TypeAlias = str | Mapping[int, Any] | Callable[[Ids], Any]
NO_GROUP: Final = -1


def _folder(item: Item) -> Hashable:
    return item.path.replace("\\", "/").rpartition("/")[0]


def _source(item: Item) -> Hashable:
    return item.locations[0].source


def _keyword(item: Item) -> Hashable:
    words = item.metadata.keywords if item.metadata else ()
    return words[0].lower() if words else None


def _column(names: Sequence[str]) -> Callable[[Item], Hashable]:
    def value(item: Item) -> Hashable:
        meta = item.meta
        found = next((meta[name] for name in names if name in meta), None)
        return found[0] if isinstance(found, tuple) else found

    return value


def _named(catalog: Catalog, group: str) -> Callable[[Item], Hashable]:
    """Give what tells the group of an item; raises BadInput for a name that nobody knows."""
    if group.startswith(COLUMN):
        return _column(catalog.columns_named(group.removeprefix(COLUMN)))
    if group not in _NAMED:
        known = ", ".join((*_NAMED, f"{COLUMN}NAME"))
        raise BadInput(f'group "{group}" is not known; use {known}, or a function')
    return _NAMED[group]


_NAMED: Final[dict[str, Callable[[Item], Hashable]]] = {
    "folder": _folder,
    "source": _source,
    "keyword": _keyword,
}


class Groups:
    """Numbers for groups, each found out once. Safe to use from many threads."""

    def __init__(self, catalog: Catalog, group: Group) -> None:
        self._name = _named(catalog, group) if isinstance(group, str) else None
        self._catalog = catalog
        self._group = group
        self._numbers: dict[Hashable, int] = {}
        self._of: dict[int, int] = {}
        self._asking = threading.Lock()

    def of(self, ids: Ids) -> Ids:
        """Give the number of the group of each id, of any shape; NO_GROUP where it has none."""
        wanted, places = np.unique(ids, return_inverse=True)
        with self._asking:
            unknown = [one for one in wanted.tolist() if one >= 0 and one not in self._of]
            if unknown:
                for one, name in zip(unknown, self._names(unknown), strict=True):
                    self._of[one] = self._number(name)
            numbers = [self._of.get(one, NO_GROUP) for one in wanted.tolist()]
        return np.array(numbers, np.int64)[places].reshape(ids.shape)

    def _names(self, ids: list[int]) -> Iterable[Hashable]:
        name, group = self._name, self._group
        if name is not None or isinstance(group, str):
            items = self._catalog.items(ids)
            return [name(items[one]) if name and one in items else None for one in ids]
        if isinstance(group, Mapping):
            return [_given(group.get(one)) for one in ids]
        names = group(ids_of(ids))
        listed = names.to_pylist() if hasattr(names, "to_pylist") else np.asarray(names).tolist()
        if len(listed) != len(ids):
            raise BadInput(f"the groups are {len(listed)} for {len(ids)} ids; give one for each")
        return [_given(one) for one in listed]

    def _number(self, name: Hashable) -> int:
        if name is None:
            return NO_GROUP
        return self._numbers.setdefault(name, len(self._numbers))


def _given(name: Hashable) -> Hashable:
    """Read the name of a group as callers give it, who may say so that there is none."""
    return None if name == NO_GROUP else name
