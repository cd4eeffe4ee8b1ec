"""Add to a library what is in no file, and find it again by the ids of whoever has it."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from searchx.adding.adder import Adder, delete
from searchx.adding.batches import batches_of, given_of
from searchx.adding.fuser import Fuser, named, pour
from searchx.adding.given import given_from, ids_from
from searchx.adding.spaces import found, space_of
from searchx.arrow import ids_of
from searchx.errors import BadInput
from searchx.opened import Opened
from searchx.records import Ids, Kind, Report, Vectors
from searchx.requests import check_kind, collection_from
from searchx.vectors import NO_ID


class Adding(Opened):
    """Items that are in no file."""

    def add(
        self,
        ids: Sequence[str] | Sequence[int] | Any,
        vectors: Any = None,
        *,
        images: Sequence[object] | None = None,
        texts: Sequence[str | None] | None = None,
        views: Mapping[str, Any] | None = None,
        kind: Kind = "image",
        metadata: Any = None,
        collection: str = "items",
    ) -> Report:
        """Add items that are in no file, or put them in place of those with the same ids.

        `vectors` (n, dim) of any length are made unit rows; `texts` beside them are what to show
        of them. `images` and `texts` without vectors are embedded; several pictures of one thing,
        in a list, are one item. `metadata` are columns: an Arrow table, a mapping of lists, or a
        mapping for each row. What cannot be used is in `skipped` of the report, by its id; the
        others are added. Each block of rows is there as soon as it is written. docs/python.md
        tells more. Raises BadInput for what does not fit together, LibraryFull, and ModelError
        where there is nothing to embed with.
        """
        check_kind(kind)
        adder, dim = self._adder(collection)
        adder.add(given_from(ids, vectors, images, texts, views, kind, metadata, dim))
        return adder.finish()

    def add_batches(
        self, batches: Any, *, kind: Kind = "image", collection: str = "items"
    ) -> Report:
        """Add Arrow batches one after another, as `add` does; one of them is in memory at a time.

        Their columns are `id`, and `vector`, `image` or `text`; all others are metadata.
        """
        check_kind(kind)
        adder, dim = self._adder(collection)
        for batch in batches_of(batches):
            adder.add(given_of(batch, kind, dim))
            adder.tend()
        return adder.finish()

    def delete(self, ids: Sequence[str] | Sequence[int] | Any, *, collection: str = "items") -> int:
        """Remove external ids with all their views; gives how many were there.

        No search finds them once this returns. Raises BadInput and LibraryFull.
        """
        return delete(self._catalog, collection_from(collection), ids_from(ids))

    def lookup(
        self,
        ids: Sequence[str] | Sequence[int] | Any,
        *,
        collection: str = "items",
        kind: Kind | None = None,
    ) -> Ids:
        """Give the item of each external id, (n,): of its first view, or of the first of a kind.

        -1 where there is none. `external` of a hit or an item, and `externals`, lead back.
        """
        wanted = ids_from(ids)
        held = self._catalog.entries(collection_from(collection), wanted, kind)
        return np.array([held.get(one, NO_ID) for one in wanted], np.int64)

    def externals(self, ids: Sequence[int] | Ids) -> list[str | None]:
        """Give the external id of each item; None for one that is in files only, or not there."""
        wanted = ids_of(ids)
        held = self._catalog.externals(np.unique(wanted))
        return [held[one][1] if one in held else None for one in wanted.tolist()]

    def fused(
        self,
        ids: Sequence[str] | Sequence[int] | Any,
        weights: Mapping[str, float] | None = None,
        *,
        collection: str = "items",
        centred: bool = True,
    ) -> Vectors:
        """Give one unit row (n, dim) for each external id: its views, weighted and added up.

        `weights` by the name of a view, "image" and "text" for those without one of their own; a
        view that they leave out counts nothing, and all count 1 where none are given. The mean of
        each view in the collection is taken away before, unless not `centred`. Such rows are
        compared with each other only, never with those of queries. Raises BadInput, also for an
        id that has none of the views.
        """
        name, wanted = collection_from(collection), ids_from(ids)

        def made() -> tuple[Vectors, list[str]]:
            return Fuser(self._catalog, name, self._space(), weights, centred).fused(wanted)

        rows, missing = self._in_one_space(made)
        if missing:
            raise BadInput(f'"{missing[0]}" is not there, or has none of these views')
        return rows

    def fuse(
        self,
        directory: Path | str,
        weights: Mapping[str, float] | None = None,
        *,
        collection: str = "items",
        centred: bool = True,
    ) -> Report:
        """Write the rows of `fused` into a library of their own, with ids and metadata.

        There `similar`, `similar_items` and `recommend` are asked of whole products. Once more, it
        brings that library up to date. Raises BadInput, SpaceMismatch where the library there has
        vectors of other weights, and Busy where another model takes over meanwhile.
        """
        name, space = collection_from(collection), self._space()
        fuser = Fuser(self._catalog, name, space, weights, centred)
        made = space_of(named(space.name, fuser.weights, centred), space.dim)
        with closing(found(Path(directory), made, exist_ok=True)) as target:
            adder = Adder(target, name, made, lambda: self.encoder)
            pour(fuser, self._catalog, adder, target, name)
            return adder.finish()

    def _adder(self, collection: str) -> tuple[Adder, int]:
        space = self._serving()
        name = collection_from(collection)
        return Adder(self._catalog, name, space, lambda: self.encoder), space.dim
