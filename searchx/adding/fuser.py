"""The views of what was added, fused to one vector for each external id."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from searchx.adding.adder import Adder, delete
from searchx.adding.given import Given, rows_from
from searchx.catalog import Catalog, Halves
from searchx.errors import BadInput, Busy
from searchx.fusing import Rows, check_weights, fused
from searchx.records import Ids, Space, Value, Vectors

_SAMPLE: Final = 20_000  # external ids that the means are taken over; they move by a percent
_BLOCK: Final = 2048
_DIGITS: Final = 4


class Fuser:
    """Fuses the views of one collection, all in the space that it is made for.

    Raises Busy where another model has taken over since.
    """

    def __init__(
        self,
        catalog: Catalog,
        collection: str,
        space: Space,
        weights: Mapping[str, float] | None,
        centred: bool,
    ) -> None:
        self._catalog = catalog
        self._collection = collection
        self._space = space
        self._means = self._measured()
        if not self._means:
            raise BadInput(f'nothing was added to the collection "{collection}" yet')
        self.weights = dict.fromkeys(self._means, 1.0) if weights is None else dict(weights)
        check_weights(self.weights, self._means)
        self._centred = centred

    def fused(self, ids: Sequence[str]) -> tuple[Vectors, list[str]]:
        """Give a unit row (n, dim) for each id, and the ids that have none of the views."""
        found = fused(self._rows(ids), self.weights, self._means if self._centred else None)
        lengths = np.linalg.norm(found, axis=1)
        return found, [ids[place] for place in np.flatnonzero(lengths == 0).tolist()]

    def blocks(self) -> Iterator[Given]:
        """Give all that have a view, with their fused vectors and what is told of them."""
        for numbered in _pages(self._catalog, self._collection, 1):
            ids = [id for _, id in numbered]
            rows, missing = self.fused(ids)
            lacking = set(missing)
            kept = [place for place, id in enumerate(ids) if id not in lacking]
            told = self._catalog.entry_metas([number for number, _ in numbered])
            metas: list[Mapping[str, Value]] = [told.get(numbered[one][0], {}) for one in kept]
            named = [ids[place] for place in kept]
            yield Given(named, "image", rows[kept], metas=rows_from(metas, len(kept)))

    def _rows(self, ids: Sequence[str]) -> dict[str, Rows]:
        views = self._catalog.entry_views(self._collection, ids)
        items = sorted({item for of in views.values() for item in of.values()})
        held, halves = self._vectors_of(items)
        place_of = dict(zip(held.tolist(), range(len(held)), strict=True))
        found = {}
        for name in self._means:
            of = [place_of.get(views.get(id, {}).get(name, -1), -1) for id in ids]
            places = np.array(of, np.int64)
            rows = np.zeros((len(ids), self._space.dim), np.float32)
            rows[places >= 0] = halves[places[places >= 0]]
            found[name] = Rows(rows, places >= 0)
        return found

    def _vectors_of(self, items: Collection[int]) -> tuple[Ids, Halves]:
        with self._catalog.at_once():
            if self._catalog.space() != self._space:
                raise Busy("another model has taken over in the library meanwhile; ask again")
            return self._catalog.vectors_of(items)

    def _measured(self) -> dict[str, Vectors]:
        """Give the mean of each view, over some of the external ids."""
        sums: dict[str, Vectors] = {}
        counts: dict[str, int] = {}
        step = max(1, self._catalog.count_entries(self._collection) // _SAMPLE)
        for numbered in _pages(self._catalog, self._collection, step):
            views = self._catalog.entry_views(self._collection, [id for _, id in numbered])
            for name in dict.fromkeys(name for of in views.values() for name in of):
                items = [of[name] for of in views.values() if name in of]
                _, halves = self._vectors_of(items)
                sums[name] = sums.get(name, 0) + halves.astype(np.float32).sum(axis=0)
                counts[name] = counts.get(name, 0) + len(halves)
        means = {name: total / max(counts[name], 1) for name, total in sums.items()}
        return {name: mean.astype(np.float32) for name, mean in means.items()}


def pour(fuser: Fuser, source: Catalog, adder: Adder, target: Catalog, collection: str) -> None:
    """Add all fused vectors to another library, and remove from it what is not there any more."""
    for given in fuser.blocks():
        adder.add(given)
        adder.tend()
    for numbered in _pages(target, collection, 1):
        ids = [id for _, id in numbered]
        there = source.entry_views(collection, ids)
        if gone := [id for id in ids if id not in there]:
            delete(target, collection, gone)


def named(space: str, weights: Mapping[str, float], centred: bool) -> str:
    """Name the space of fused vectors: of other weights they are other vectors."""
    told = ", ".join(f"{name} {weights[name]:.{_DIGITS}g}" for name in sorted(weights))
    return f"{space}, fused: {told}{'' if centred else ', as they are'}"


def _pages(catalog: Catalog, collection: str, step: int) -> Iterator[list[tuple[int, str]]]:
    after = 0
    while numbered := catalog.entry_page(collection, after, _BLOCK, step):
        yield numbered
        after = numbered[-1][0]
