"""Ask a library from a program: arrays in, arrays out."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from searchx import vectors
from searchx.arrow import Names, ids_of
from searchx.batching import embedded_texts
from searchx.blocks import Block, blocks, check_known, rows_of
from searchx.embedding import embed_images, embed_texts
from searchx.errors import BadInput
from searchx.filters import Filter
from searchx.grouping import Group, Groups
from searchx.histories import Find
from searchx.neighbours import Similar, similar_items
from searchx.opened import Opened, vector_of
from searchx.questions import Prepared, question_of
from searchx.ragged import Ragged
from searchx.recommending import Lists, Recommended, Recommender, alone, asked_by
from searchx.records import KINDS, Hit, Ids, Item, Kind, Query, Vectors, Why
from searchx.requests import check, check_kind, collection_from, filter_of
from searchx.vectors import NO_ID, Found
from searchx.views import View
from searchx.wishes import Options, Wishes, of_one

if TYPE_CHECKING:
    import pyarrow


class Arrays(Opened):
    """Many queries, vectors, and recommendations at once."""

    def search_batch(
        self,
        queries: Vectors | Sequence[str | Query],
        k: int = 10,
        to: Kind = "image",
        *,
        where: str | Filter | None = None,
    ) -> Found:
        """Answer many queries at once, given as texts, queries, or vectors (q, dim).

        Gives ids and exact cosines, both (q, k), best first; id -1 where there is no more. The
        vectors alone are compared: texts are taken as they stand, `Query` records may have
        several positive parts; words, negative parts and filters of their own need `ask`.
        Raises BadInput.
        """
        check_kind(to)
        check(k)
        passes = filter_of(where)
        asked: Kind = _asked_from(queries)

        def found() -> Found:
            rows = vectors.unit_rows(self._rows(queries), self._space().dim)
            view = self._view(to)
            return view.search(rows, k, view.choose(self._catalog, passes), asked)

        with self._bulk.one():
            return self._in_one_space(found)

    def embed_batch(self, queries: Sequence[str | Query]) -> Vectors:
        """Turn queries into unit vectors (q, dim), as `search_batch` does. Raises BadInput."""
        with self._bulk.one():
            return self._in_one_space(lambda: self._rows(queries))

    def embed(
        self,
        texts: Sequence[str] | None = None,
        images: Sequence[object] | None = None,
        *,
        as_items: bool = False,
    ) -> Vectors:
        """Embed texts or pictures, (n, dim) unit rows in order.

        Texts are embedded as queries are; with `as_items` as the indexer embeds passages. Pictures
        are paths, bytes, PIL images or pixels. Arrow arrays will do. Raises BadInput, and
        UnreadableImage.
        """
        if (texts is None) == (images is None):
            raise BadInput("embed takes either texts or images; give one of them")
        if images is not None:
            return embed_images(self.encoder, images)
        return embed_texts(self.encoder, texts or (), as_items)

    def vectors(self, ids: Sequence[int] | Ids) -> Vectors:
        """Give the unit rows (n, dim) of items, in the order of their ids, which may repeat.

        Raises BadInput where one of them is not in the library.
        """
        wanted = ids_of(ids)
        rows, missing = self._in_one_space(lambda: rows_of(self._both(), wanted, self._space().dim))
        check_known(missing)
        return rows

    def items(self, ids: Sequence[int] | Ids) -> list[Item]:
        """Fetch items in the order of their ids; raises BadInput where one is not there."""
        wanted = ids_of(ids).tolist()
        found = self._catalog.items(wanted)
        check_known([one for one in wanted if one not in found])
        return [found[one] for one in wanted]

    def blocks(
        self, kind: Kind = "image", size: int = 4096, *, where: str | Filter | None = None
    ) -> Iterator[Block]:
        """Go through a kind by ascending id: blocks of ids (b,) and unit rows (b, dim).

        They are as of the moment of the call, whatever changes meanwhile; one is in memory at a
        time. Raises BadInput.
        """
        check_kind(kind)
        self._space()
        view = self._view(kind)
        return blocks(view, view.choose(self._catalog, filter_of(where)), size)

    def recommend(
        self,
        positives: Sequence[int] | Sequence[str] | Ids | Vectors,
        negatives: Sequence[int] | Sequence[str] | Ids | Vectors = (),
        k: int = 10,
        to: Kind = "image",
        *,
        where: str | Filter | None = None,
        exclude: Sequence[int] | Sequence[str] | Ids = (),
        **wishes: Unpack[Options],
    ) -> list[Hit]:
        """Find k items for somebody who liked some, oldest first, and disliked others.

        Both are ids of items, those of a `collection` where that is named, or vectors (n, dim).
        Nothing among them or in `exclude` is found. The score of a hit is its cosine to the
        interest that it is for; hits come in the order in which interests take turns. Items that
        are gone are passed over. Raises BadInput, also where no positive is left.
        docs/recommend.md tells all wishes.
        """
        liked, disliked = alone(positives), alone(negatives) if len(negatives) else None
        made = self._recommended(liked, disliked, k, to, where, exclude, of_one(wishes))
        if made.ids[0, 0] == NO_ID and not made.liked[0]:
            raise BadInput("there is nothing to go by; give positives that are in the library")
        items = self._catalog.items(made.ids[0].tolist())
        rows = zip(made.ids[0].tolist(), made.scores[0], made.lowered[0], strict=True)
        return [
            Hit(items[one], float(score), why=Why(lowered=float(lowered)))
            for one, score, lowered in rows
            if one in items
        ]

    def recommend_batch(
        self,
        histories: Any,
        negatives: Any = None,
        k: int = 10,
        to: Kind = "image",
        *,
        where: str | Filter | None = None,
        exclude: Sequence[int] | Sequence[str] | Ids | Ragged = (),
        **wishes: Unpack[Options],
    ) -> Recommended:
        """Find k items for each of q users: ids and scores, both (q, k), and the same as Arrow.

        `histories` and `negatives` are lists of ids for each user, oldest first (a list of lists,
        an Arrow column), or vectors (q, dim) or (q, n, dim). `exclude` are ids for all of them, or
        a `Ragged` with a list for each. With `collection` all ids are those that items were added
        by. A user of whom nothing is known has a row of -1. Each gets what `recommend` gives to
        him alone, whoever stands beside him. Raises BadInput.
        """
        made = self._recommended(histories, negatives, k, to, where, exclude, wishes)
        return Recommended(made.ids, made.scores)

    def similar_items(
        self,
        k: int = 10,
        kind: Kind = "image",
        to: Kind | None = None,
        *,
        where: str | Filter | None = None,
        of: str | Filter | None = None,
        group: Group | None = None,
        per_group: int | None = None,
        collapse: bool | float = False,
        names: Names | None = None,
    ) -> "pyarrow.RecordBatchReader":
        """Find for each item of a kind the k that are most like it: a whole table, block by block.

        Gives Arrow batches of `id`, `similar` (ids) and `scores`; itself is left out. `where` says
        what may be found, `of` for which items; `to` is another kind to find. `group`, `per_group`
        and `collapse` are those of `recommend`: at most so many of a group in a list, one of
        several near duplicates, and none of the item itself. With `names`, a function of ids (n,)
        such as `externals`, the table has what it gives in place of ids. It is as of the moment of
        the call. `searchx.write_parquet` writes it. Raises BadInput.
        """
        for one in (kind, to or kind):
            check_kind(one)
        check(k)
        source, target = self._in_one_space(lambda: (self._view(kind), self._view(to or kind)))
        asked = source.choose(self._catalog, filter_of(of))
        found = target.choose(self._catalog, filter_of(where))
        options: Options = {"group": group, "per_group": per_group, "collapse": collapse}
        wishes = Wishes.of(options, self._backdrops.duplicates)
        groups = None if group is None else Groups(self._catalog, group)
        wanted = Similar(k, wishes.alike, wishes.per_group, groups, names)
        return similar_items(source, asked, target, found, wanted)

    def _recommended(
        self,
        liked: Any,
        disliked: Any,
        k: int,
        to: Kind,
        where: str | Filter | None,
        exclude: Any,
        options: Options,
    ) -> Lists:
        check_kind(to)
        check(k)
        passes = filter_of(where)
        group = options.get("group")

        def lists() -> Lists:
            dim = self._space().dim
            wishes = Wishes.of(options, self._backdrops.duplicates)
            asked = asked_by(liked, disliked, exclude, dim, options, self._finding(options))
            view = self._view(to)
            return Recommender(
                view=view,
                choice=view.choose(self._catalog, passes),
                views=tuple(self._both()),
                usual=self._backdrops.usual,
                dim=dim,
                wishes=wishes,
                groups=None if group is None else Groups(self._catalog, group),
            ).lists(asked, k)

        return self._in_one_space(lists)

    def _finding(self, options: Options) -> Find | None:
        """Give what finds the items of a collection, where histories are by its ids."""
        if (name := options.get("collection")) is None:
            return None
        collection = collection_from(name)
        return lambda ids: self._catalog.entries(collection, ids)

    def _rows(self, queries: Vectors | Sequence[str | Query]) -> Vectors:
        """Turn what `search_batch` takes into vectors (q, dim)."""
        if isinstance(queries, np.ndarray):
            return queries.astype(np.float32, copy=False)
        if isinstance(queries, str):
            raise BadInput("search_batch takes several queries; give a list, or use search")
        asked = [_in_batch(one, place) for place, one in enumerate(queries)]
        texts = dict.fromkeys(one for one in asked if isinstance(one, str))  # each once, in order
        for one in asked:
            if isinstance(one, Query):
                texts |= dict.fromkeys(part.text.strip() for part in one.every_part)
        texts.pop("", None)
        told = list(texts)
        known = dict(zip(told, embedded_texts(self.encoder, told), strict=True)) if told else {}
        prepared = Prepared(known, self.queries)
        rows = np.empty((len(asked), self._space().dim), np.float32)
        for place, one in enumerate(asked):
            if isinstance(one, str):
                rows[place] = known[one]
            else:
                rows[place] = vector_of(question_of(one, prepared, self._catalog))
        return rows

    def _both(self) -> Iterator[View]:
        """Give the views of both kinds; the second is read where it is asked for."""
        return (self._view(kind) for kind in KINDS)


def _asked_from(queries: Vectors | Sequence[str | Query]) -> Kind:
    """Tell which side queries come from; of vectors nobody knows, texts are the harder ones."""
    if isinstance(queries, np.ndarray):
        return "text"
    pictures = [isinstance(one, Query) and not one.text and bool(one.image) for one in queries]
    return "image" if pictures and all(pictures) else "text"


def _in_batch(query: str | Query, place: int) -> str | Query:
    """Give one of many queries; raises BadInput for what cannot be among them."""
    if not isinstance(query, str | Query):
        raise BadInput(f"query {place} is {type(query).__name__}; give texts or Query records")
    if isinstance(query, str):
        if not query.strip():
            raise BadInput(f"query {place} is empty; write what you look for")
        return query
    if query.where is not None or any(one.weight < 0 for one in query.every_part):
        raise BadInput(
            f"query {place} has a filter or a negative part, which a batch cannot have; use ask, "
            "or give where= for all of them"
        )
    return query
