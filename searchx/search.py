"""Ask a library what is most like a text or a picture.

Search is complete at every moment: the snapshot without what was removed since, and what was
added since, compared exactly. A new snapshot or a new item is seen by the next query.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Final, TypeVar, Unpack

import numpy as np

from searchx import vectors
from searchx.arrow import ids_of
from searchx.backdrops import NO_BACKDROP, Backdrop, Backdrops
from searchx.batching import QueryVectors, embedded_texts
from searchx.blocks import Block, blocks, check_known, rows_of
from searchx.catalog import Catalog, HeldSource, Version
from searchx.cursors import Cursor, digest_of
from searchx.embedding import embed_images, embed_texts
from searchx.encoder import Announce, Encoder, load_encoder
from searchx.errors import BadInput, Busy, NoLibrary, SpaceMismatch
from searchx.exploring import Explorer, Level
from searchx.facets import Columns
from searchx.filters import FILTERS, All, Either, Filter, Is, Not
from searchx.gathering import Duplicates, Gatherer
from searchx.grouping import Groups
from searchx.heat import WINDOWS, Heat, heat_of
from searchx.neighbours import similar_items
from searchx.paging import Page, page
from searchx.pictures.images import open_image
from searchx.query import notice, parse, parse_filter, query_as_json
from searchx.questions import Prepared, Question, question_of
from searchx.ragged import Ragged
from searchx.ranked import Order, Search
from searchx.recommending import Lists, Recommended, Recommender, alone, asked_by
from searchx.records import (
    Answer,
    Explained,
    Facets,
    Hit,
    Ids,
    Item,
    Kind,
    Query,
    Skipped,
    Space,
    Target,
    Vectors,
    Why,
)
from searchx.refreshing import KINDS
from searchx.status import Overview, Status, status_of
from searchx.turns import Turns
from searchx.vectors import NO_ID, Found
from searchx.views import SNAPSHOTS, Touched, View, is_current, read_view
from searchx.wishes import Options, Wishes, of_one
from searchx.words import called

if TYPE_CHECKING:
    import pyarrow

T = TypeVar("T")
MAX_K: Final = 10_000
_TRIES: Final = 10
_BULK: Final = 2  # calls with many queries that are answered at one time
_BULK_WAITING: Final = 8  # of those that wait, where a query waits no longer than it may
_TARGETS: Final[tuple[Target, ...]] = ("image", "text", "both")


class Library:
    """A searchable collection. Safe to use from many threads; close it, or use ``with``."""

    def __init__(
        self,
        catalog: Catalog,
        encoder: Encoder | None = None,
        device: str = "auto",
        announce: Announce | None = None,
        patience: float | None = None,
    ) -> None:
        self.directory = catalog.directory
        self.queries = QueryVectors(lambda: self.encoder)
        self._catalog = catalog
        self._encoder = encoder
        self._is_given = encoder is not None
        self._device = device
        self._announce = announce
        self._patience = patience
        self._views: dict[Kind, View] = {}
        self._backdrops = Backdrops(catalog, lambda: self.encoder)
        self._explorer = Explorer(catalog, self._view)
        self._gatherer = Gatherer(catalog, self._view, self._backdrops.duplicates)
        self._held: tuple[Touched, list[HeldSource]] | None = None  # by the sources
        self._counted: tuple[Version, int, int] | None = None  # images, texts as of a version
        self._values: tuple[Touched, Columns] | None = None
        self._counting = threading.Lock()
        self._refreshing = threading.Lock()
        self._loading = threading.Lock()
        # Each waits now and then, for SQLite or for Python's lock; many more would all be late.
        self._turns = threading.BoundedSemaphore(2 * (os.cpu_count() or 2))
        self._bulk = Turns(_BULK, None if patience is None else _BULK_WAITING)

    @classmethod
    def open(
        cls,
        directory: Path | str,
        *,
        encoder: Encoder | None = None,
        device: str = "auto",
        announce: Announce | None = None,
        patience: float | None = None,
    ) -> "Library":
        """Open the library in `directory`. The encoder is loaded when the first query needs it.

        `announce` is told, in one line, before a model is downloaded. `patience` is how many
        seconds a query waits for an encoder that another thread is loading; None: until it is
        there. Raises NoLibrary, LibraryCorrupt or LibraryError.
        """
        return cls(Catalog.open(Path(directory)), encoder, device, announce, patience)

    def __enter__(self) -> "Library":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the catalog and the snapshots; what is asked afterwards raises LibraryError."""
        self.queries.close()
        self._views.clear()
        self._catalog.close()

    def search(
        self,
        query: str | Query,
        k: int = 10,
        to: Target | None = None,
        *,
        where: str | Filter | None = None,
    ) -> list[Hit]:
        """Find the k items that answer a query best, best first: the hits of `ask`."""
        return list(self.ask(query, k, to, where=where).hits)

    def ask(
        self,
        query: str | Query,
        k: int = 10,
        to: Target | None = None,
        *,
        where: str | Filter | None = None,
        after: str | None = None,
        group: bool = False,
        diversity: float = 0.0,
    ) -> Answer:
        """Answer a query: min(k, what there is) hits, and what they are worth.

        A query given as a string is read as the query language (docs/search.md). `to` is what to
        find, unless the query says so itself: images where neither does. `where` is a filter
        beside the query's own. `after` is the cursor of an answer to the same query: the next
        page comes. With `group`, near duplicates are one hit. `diversity`, from 0 to 1, prefers
        hits that are unlike each other; such an answer has one page. Raises BadInput for an
        empty query, an unreadable picture, and values that cannot be.
        """
        asked = asked_of(query, where)
        target = _target(asked.to or kind_of(asked.where) or to or "image")
        _check(k, diversity, after)
        order = Order(self._backdrops.duplicates() if group else None, diversity)
        digest = digest_of(f"{query_as_json(replace(asked, to=None))} {target} {group} {diversity}")
        cursor = None if after is None else Cursor.read(after, digest)
        spent: dict[str, float] = {}

        def answered() -> tuple[Question, Page, dict[int, Item]]:
            with timed(spent, "embed"):
                question = question_of(asked, self.queries, self._catalog)
            with self._turns:
                return question, *self._page(question, asked.where, target, k, order, cursor, spent)

        question, found, items = self._in_one_space(answered)
        self._tell(spent, found)
        hits = tuple(
            Hit(
                _as_called(items[one.id], one.why, question.words),
                one.score,
                one.relevance,
                one.band,
                one.why,
                one.alike,
            )
            for one in found.places
            if one.id in items
        )
        last = found.places[-1] if found.places and found.has_more else None
        return Answer(
            hits=hits,
            cursor=None if last is None else Cursor(last.key, last.id, digest).written(),
            chance=found.chance,
            has_match=found.has_match,
            notice=notice(query) if isinstance(query, str) else None,
            explained=found.explained,
        )

    def search_batch(
        self,
        queries: Vectors | Sequence[str | Query],
        k: int = 10,
        to: Kind = "image",
        *,
        where: str | Filter | None = None,
    ) -> Found:
        """Answer many queries at once, given as texts, queries, or unit vectors (q, dim).

        Gives ids and exact cosines, both (q, k), best first; id -1 where there is no more. The
        vectors alone are compared: texts are taken as they stand, `Query` records may have
        several positive parts; words, negative parts and filters of their own need `ask`.
        Raises BadInput.
        """
        _check_kind(to)
        _check(k)
        passes = filter_of(where)
        asked: Kind = _asked_from(queries)

        def found() -> Found:
            rows = self._rows(queries)
            vectors.check_width(rows, self._space().dim)
            view = self._view(to)
            return view.search(rows, k, view.choose(self._catalog, passes), asked)

        with self._bulk.one():
            return self._in_one_space(found)

    def similar(
        self,
        id: int,
        k: int = 10,
        to: Target | None = None,
        *,
        where: str | Filter | None = None,
        after: str | None = None,
        group: bool = False,
        diversity: float = 0.0,
    ) -> Answer:
        """Find what is most like an item, without itself; otherwise as `ask`. Raises BadInput."""
        query = Query(like=id)
        return self.ask(query, k, to, where=where, after=after, group=group, diversity=diversity)

    def sample(
        self,
        k: int = 10,
        to: Kind = "image",
        *,
        where: str | Filter | None = None,
        seed: int | None = None,
    ) -> list[Item]:
        """Give k items at random among those that pass a filter; the same for the same seed."""
        _check_kind(to)
        if seed is not None and (not isinstance(seed, int) or seed < 0):
            raise BadInput(f"seed is {seed!r}; it must be a whole number from 0 on")
        _check(k)
        self._space()
        passes = filter_of(where)
        said = kind_of(passes)
        view = self._view(said if said == "image" or said == "text" else to)
        with self._turns:
            passing = view.choose(self._catalog, passes).ids
            ids = view.ids if passing is None else passing
            chosen = ids[np.random.default_rng(seed).permutation(len(ids))[:k]].tolist()
            items = self._catalog.items(chosen)
        return [items[one] for one in chosen if one in items]

    def facets(self, where: str | Filter | None = None, k: int = 50) -> Facets:
        """Count the items that pass a filter by kind, year, folder, camera and so on.

        Each facet has its k most frequent values, with the filter that finds what was counted.
        Raises BadInput.
        """
        _check(k)
        passes = filter_of(where)
        self._space()
        columns = self._columns()
        with self._turns:
            return columns.count(self._passing(passes), k)

    def clusters(
        self,
        at: str = "",
        to: Kind = "image",
        k: int = 48,
        *,
        query: str | Query | None = None,
        after: str | None = None,
    ) -> Level:
        """Look at a cluster of what is alike: the way to it, its parts, and k of its items.

        `at` is its address, such as "3.1": the first part of the third part of all. Clusters stay
        as they are until something is indexed. The items come most typical first, or by their
        likeness to the positive parts of a `query`. Raises BadInput where there is no such
        cluster.
        """
        _check_kind(to)
        _check(k)
        self._space()
        if query is None:
            return self._explorer.level(to, at, k, None, "", after)
        asked = asked_of(query, None)
        digest = str(query_as_json(asked))
        return self._in_one_space(
            lambda: self._explorer.level(to, at, k, self.embed_query(asked)[0], digest, after)
        )

    def duplicate_groups(
        self,
        k: int = 50,
        to: Kind = "image",
        *,
        where: str | Filter | None = None,
        after: str | None = None,
    ) -> Duplicates:
        """Give what is there more than once: copies of one file, and near duplicates.

        All of them in the library, or among what passes a filter; k groups at a time, those
        first whose other files take up the most. The first call after a change compares all items
        with each other, which takes seconds from some ten thousand on. Raises BadInput.
        """
        _check_kind(to)
        _check(k)
        self._space()
        return self._gatherer.page(to, filter_of(where), k, after)

    @property
    def gathered(self) -> float:
        """Tell which share of the comparing for `duplicate_groups` is done, while it runs."""
        return self._gatherer.share

    def embed_query(self, query: Query) -> Vectors:
        """Turn the positive parts of a query into one unit vector, (1, dim)."""
        return _vector_of(question_of(query, self.queries, self._catalog))[None]

    def embed_batch(self, queries: Sequence[str | Query]) -> Vectors:
        """Turn queries into unit vectors (q, dim), as `search_batch` does. Raises BadInput."""
        with self._bulk.one():
            return self._in_one_space(lambda: self._rows(queries))

    def heat(self, query: str | Query, picture: Path | bytes) -> Heat:
        """Tell where a picture answers a query: how near each part of it is by itself.

        Gives (12, 12) cosines above their mean, of cells down and across the upright picture,
        which need not be in the library. Negative parts and filters are left out of account.
        Raises BadInput for a query that is nothing else, and UnreadableImage.
        """
        asked = asked_of(query, None)

        def told() -> Heat:
            vector = self.embed_query(asked)[0]
            encoder = self.encoder
            image = open_image(picture, at_least=WINDOWS * encoder.fit.side)
            return heat_of(encoder, image, vector)

        return self._in_one_space(told)

    def explain(
        self, query: str | Query, k: int = 10, to: Target | None = None
    ) -> tuple[Explained, ...]:
        """Tell how a query is searched: one record for each kind that is looked through."""
        return self.ask(query, k, to).explained

    def item(self, id: int) -> Item:
        """Fetch an item; raises BadInput when there is none of that id."""
        items = self._catalog.items([id])
        if id not in items:
            raise BadInput(f"there is no item {id} in this library")
        return items[id]

    def context(self, id: int) -> tuple[str, str]:
        """Give the passages before and after a text where it was found first; empty for none."""
        return self._catalog.context(id)

    def skipped(self) -> tuple[Skipped, ...]:
        """Give the files that could not be indexed, each with its reason; costs no walk."""
        return self._catalog.skipped()

    def check(self) -> None:
        """Make sure that queries can be answered; cheap enough to ask every second.

        Raises NoLibrary where nothing was indexed, LibraryCorrupt and LibraryError.
        """
        self._space()
        self._catalog.version()

    def overview(self) -> Overview:
        """Count images and texts, anew only when the catalog has changed."""
        version = self._catalog.version()
        counted = self._counted
        if counted is None or counted[0] != version:
            counts = self._catalog.counts()
            # Counts newer than their version are counted again by the next call, never kept.
            self._counted = counted = (version, counts["image"], counts["text"])
        return Overview(counted[1], counted[2], self._catalog.sources())

    def built(self) -> dict[Kind, float]:
        """Tell when the index of each kind was built, in seconds since 1970; of those there are."""
        found: dict[Kind, float] = {}
        for kind in KINDS:
            newest = vectors.newest(self.directory / SNAPSHOTS, kind)
            with suppress(OSError):
                if newest is not None:
                    found[kind] = newest.stat().st_mtime
        return found

    def skipped_reasons(self) -> tuple[tuple[str, int], ...]:
        """Count the files that could not be indexed by reason, the most frequent first."""
        return tuple(self._catalog.skipped_reasons())

    def some_skipped(
        self, k: int, reason: str | None = None, after: int = 0
    ) -> list[tuple[int, Skipped]]:
        """Give k of those files, of one reason or all, each with the number that follows `after`.

        Give the last number to get the next ones.
        """
        _check(k)
        return self._catalog.some_skipped(k, reason, after)

    def status(self, *, whole: bool = True) -> Status:
        """Tell what the library holds, and add up its files on disk.

        Not `whole`, it costs no walk: without bytes, and without the list of skipped files.
        """
        touched = self._catalog.touched()
        held = self._held
        if held is None or held[0] != touched:  # it is counted anew where anybody has written
            self._held = held = (touched, self._catalog.held_sources())
        return status_of(self._catalog, held[1], whole=whole)

    @property
    def space(self) -> Space:
        """The space that the vectors live in; raises NoLibrary where nothing was indexed yet."""
        return self._space()

    @property
    def is_loaded(self) -> bool:
        """Tell whether the encoder is there, so that no query has to wait for it."""
        return self._encoder is not None

    @property
    def encoder(self) -> Encoder:
        """The encoder that made this library; loaded on first use.

        Raises ModelError, SpaceMismatch, and Busy where it takes longer to load than this library
        has patience.
        """
        space = self._space()
        encoder = self._encoder
        if encoder is None or not self._fits(encoder, space):
            if not self._loading.acquire(timeout=-1 if self._patience is None else self._patience):
                raise Busy("the model is still being loaded; ask again in a moment")
            try:
                encoder = self._encoder
                if encoder is None or not self._fits(encoder, space):
                    encoder = load_encoder(space.name, self._device, self._announce)
                    self._encoder = encoder
            finally:
                self._loading.release()
        _check_space(space, encoder.space)
        return encoder

    def _fits(self, encoder: Encoder, space: Space) -> bool:
        """Tell whether to go on with an encoder; another model may have made the library anew."""
        return self._is_given or encoder.space.name == space.name

    def _in_one_space(self, work: Callable[[], T]) -> T:
        """Do what embeds and compares; again where the library was made anew by another model."""
        for _ in range(_TRIES):
            space = self._space()
            try:
                done = work()
            except Exception:
                if self._space() == space:
                    raise
            else:
                if self._space() == space:
                    return done
        raise Busy("the library is being made anew by another model; ask again in a moment")

    def _tell(self, spent: dict[str, float], found: Page) -> None:
        """Tell who watches what a query took, in seconds, its kinds added up."""
        watch = self.queries.watch
        if watch is None:
            return
        steps = dict(spent)
        for one in found.explained:
            for step, milliseconds in one.milliseconds.items():
                if step not in spent:
                    steps[step] = steps.get(step, 0.0) + milliseconds
        for step, milliseconds in steps.items():
            watch.spent(step, milliseconds / 1000)

    def _page(
        self,
        question: Question,
        where: Filter | None,
        target: Target,
        k: int,
        order: Order,
        cursor: Cursor | None,
        spent: dict[str, float],
    ) -> tuple[Page, dict[int, Item]]:
        """Rank and fetch as of one moment; again where the library went on before that began."""
        before = dict(spent)  # given to the searches, each of which adds its own steps
        for _ in range(_TRIES):
            views = [self._view(kind) for kind in _kinds(target)]
            backdrops = [self._backdrop(view, question) for view in views]
            with self._catalog.at_once():
                searches = [
                    self._search_of(view, backdrop, question, where, before)
                    for view, backdrop in zip(views, backdrops, strict=True)
                ]
                found = page(searches, k, order, cursor)
                with timed(spent, "fetch"):
                    items = self._catalog.items(found.ids.tolist())
                version = self._catalog.version()
            if all(view.version == version for view in views):
                break
        return found, items

    def _backdrop(self, view: View, question: Question) -> Backdrop:
        if question.vector is None:
            return NO_BACKDROP
        return self._backdrops.of(view, question.asked, lambda: self._view("image"))

    def _search_of(
        self,
        view: View,
        backdrop: Backdrop,
        question: Question,
        where: Filter | None,
        spent: dict[str, float],
    ) -> Search:
        steps = dict(spent)
        with timed(steps, "filter"):
            choice = view.choose(self._catalog, where)
        return Search(self._catalog, view, choice, question, backdrop, steps)

    def _passing(self, where: Filter | None) -> Ids:
        """Give the ascending ids of both kinds that pass a filter; None: of all."""
        found: list[Ids] = []
        for kind in KINDS:
            view = self._view(kind)
            ids = view.choose(self._catalog, where).ids
            found.append(view.ids if ids is None else ids)
        return np.sort(np.concatenate(found))

    def _columns(self) -> Columns:
        """Give what items can be filtered by; read anew where anything was written.

        One thread reads. Who asks meanwhile gets what was there before, where there is any.
        """
        held = self._values
        if held is not None and held[0] == self._catalog.touched():
            return held[1]
        if held is None:
            self._counting.acquire()
        elif not self._counting.acquire(blocking=False):
            return held[1]
        try:
            touched = self._catalog.touched()  # after the wait: another one may have read it
            held = self._values
            if held is None or held[0] != touched:
                self._values = held = (touched, self._catalog.columns())
            return held[1]
        finally:
            self._counting.release()

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
                rows[place] = _vector_of(question_of(one, prepared, self._catalog))
        return rows

    def _space(self) -> Space:
        space = self._catalog.space()
        if space is None:
            raise NoLibrary(
                f'{self.directory} has nothing indexed yet; run "searchx index FOLDER" first'
            )
        return space

    def _view(self, kind: Kind) -> View:
        """Give the kind as it stands now; reads only what has changed since the last query."""
        view = self._views.get(kind)
        if view is not None and is_current(view, self._catalog):
            return view
        with self._refreshing:
            view = self._views.get(kind)  # another thread may have read it in the meantime
            if view is None or not is_current(view, self._catalog):
                view = self._views[kind] = read_view(self._catalog, kind, view)
            return view

    # For programs: arrays in, arrays out.

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
        rows, missing = rows_of(self._both(), ids_of(ids), self._space().dim)
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
        _check_kind(kind)
        self._space()
        view = self._view(kind)
        return blocks(view, view.choose(self._catalog, filter_of(where)), size)

    def recommend(
        self,
        positives: Sequence[int] | Ids | Vectors,
        negatives: Sequence[int] | Ids | Vectors = (),
        k: int = 10,
        to: Kind = "image",
        *,
        where: str | Filter | None = None,
        exclude: Sequence[int] | Ids = (),
        **wishes: Unpack[Options],
    ) -> list[Hit]:
        """Find k items for somebody who liked some, oldest first, and disliked others.

        Both are ids of items, or vectors (n, dim). Nothing among them or in `exclude` is found.
        The score of a hit is its cosine to the interest that it is for; hits come in the order in
        which interests take turns. Items that are gone are passed over. Raises BadInput, also
        where no positive is left. docs/recommend.md tells all wishes.
        """
        liked, disliked = alone(positives), alone(negatives) if len(negatives) else None
        never = ids_of(exclude)
        made = self._recommended(liked, disliked, k, to, where, never, of_one(wishes))
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
        exclude: Sequence[int] | Ids | Ragged = (),
        **wishes: Unpack[Options],
    ) -> Recommended:
        """Find k items for each of q users: ids and scores, both (q, k), and the same as Arrow.

        `histories` and `negatives` are lists of ids for each user, oldest first (a list of lists,
        an Arrow column), or vectors (q, dim) or (q, n, dim). `exclude` are ids for all of them, or
        a `Ragged` with a list for each. A user of whom nothing is known has a row of -1. Each gets
        what `recommend` gives to him alone, whoever stands beside him. Raises BadInput.
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
    ) -> "pyarrow.RecordBatchReader":
        """Find for each item of a kind the k that are most like it: a whole table, block by block.

        Gives Arrow batches of `id`, `similar` (ids) and `scores`; itself is left out. `where` says
        what may be found, `of` for which items; `to` is another kind to find. It is as of the
        moment of the call. `searchx.write_parquet` writes it. Raises BadInput.
        """
        for one in (kind, to or kind):
            _check_kind(one)
        _check(k)
        self._space()
        source, target = self._view(kind), self._view(to or kind)
        asked = source.choose(self._catalog, filter_of(of))
        found = target.choose(self._catalog, filter_of(where))
        return similar_items(source, asked, target, found, k)

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
        _check_kind(to)
        _check(k)
        dim = self._space().dim
        wishes = Wishes.of(options, self._backdrops.duplicates)
        asked = asked_by(liked, disliked, exclude, dim, options)
        group = options.get("group")
        view = self._view(to)
        return Recommender(
            view=view,
            choice=view.choose(self._catalog, filter_of(where)),
            views=tuple(self._both()),
            usual=self._backdrops.usual,
            dim=dim,
            wishes=wishes,
            groups=None if group is None else Groups(self._catalog, group),
        ).lists(asked, k)

    def _both(self) -> Iterator[View]:
        """Give the views of both kinds; the second is read where it is asked for."""
        return (self._view(kind) for kind in KINDS)


def open_library(
    directory: Path | str,
    *,
    encoder: Encoder | None = None,
    device: str = "auto",
    announce: Announce | None = None,
    patience: float | None = None,
) -> Library:
    """Open the library in `directory`: ``searchx.open("photos.library")``."""
    return Library.open(
        directory, encoder=encoder, device=device, announce=announce, patience=patience
    )


def _as_called(item: Item, why: Why, words: str) -> Item:
    """Put that place first whose name holds the words that were asked for, where one does."""
    if "name" not in why.fields or len(item.locations) == 1:
        return item
    names = [(PurePath(one.path).name, one.fragment) for one in item.locations]
    first = item.locations[called(words, names)]
    others = (one for one in item.locations if one is not first)
    return replace(item, locations=(first, *others))


def asked_of(query: str | Query, where: str | Filter | None) -> Query:
    """Read a query, with a filter beside its own; raises BadInput."""
    if not isinstance(query, str | Query):
        raise BadInput(f"the query is {type(query).__name__}; give a text or a Query")
    asked = parse(query) if isinstance(query, str) else query
    beside = filter_of(where)
    if beside is None:
        return asked
    both = beside if asked.where is None else All((asked.where, beside))
    return replace(asked, where=both)


def filter_of(where: str | Filter | None) -> Filter | None:
    """Read a filter; None for none. Raises BadInput."""
    if isinstance(where, str):
        return parse_filter(where) if where.strip() else None
    if where is not None and not isinstance(where, FILTERS):
        raise BadInput(
            f"where is {type(where).__name__}; give the query language, or a filter such as "
            "searchx.filters.from_json makes of a document"
        )
    return where


def _asked_from(queries: Vectors | Sequence[str | Query]) -> Kind:
    """Tell which side queries come from; of vectors nobody knows, texts are the harder ones."""
    if isinstance(queries, np.ndarray):
        return "text"
    pictures = [isinstance(one, Query) and not one.text and bool(one.image) for one in queries]
    return "image" if pictures and all(pictures) else "text"


def kind_of(where: Filter | None) -> Target | None:
    """Tell what a filter leaves to find, where it says so; None where it does not."""
    match where:
        case Is("kind", value):
            return next((kind for kind in KINDS if kind == value.lower()), None)
        case Not(Is("kind", value)):
            return next((kind for kind in KINDS if kind != value.lower()), None)
        case All(of):
            said = {kind_of(one) for one in of} - {None}
            return next((kind for kind in KINDS if kind in said), "both" if said else None)
        case Either(of) if of:
            said = {kind_of(one) for one in of}
            return None if None in said else said.pop() if len(said) == 1 else "both"
    return None


def _vector_of(question: Question) -> Vectors:
    if question.vector is None:
        raise BadInput("the query has nothing but a filter; write what you look for")
    return question.vector


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


def _kinds(target: Target) -> tuple[Kind, ...]:
    return KINDS if target == "both" else (target,)


def _check_kind(kind: Kind) -> None:
    if kind not in KINDS:
        raise BadInput(f'kind "{kind}" is not known; use image or text')


def _target(target: Target) -> Target:
    if target not in _TARGETS:
        raise BadInput(f'kind "{target}" is not known; use image, text or both')
    return target


def _check(k: int, diversity: float = 0.0, after: str | None = None) -> None:
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= MAX_K:
        raise BadInput(f"k is {k!r}; it must be a whole number between 1 and {MAX_K}")
    if not 0 <= diversity <= 1:
        raise BadInput(f"diversity is {diversity}; it must be between 0 and 1")
    if diversity and after is not None:
        raise BadInput("an answer with diversity has one page; ask for more hits instead")


@contextmanager
def timed(spent: dict[str, float], step: str) -> Iterator[None]:
    """Add the milliseconds that a step takes."""
    began = time.perf_counter()
    yield
    spent[step] = spent.get(step, 0.0) + 1000 * (time.perf_counter() - began)


def _check_space(library: Space, encoder: Space) -> None:
    if library.digest != encoder.digest:
        raise SpaceMismatch(
            f'the library was made by model "{library.name}" (weights {library.digest[:8]}), but '
            f'"{encoder.name}" now has weights {encoder.digest[:8]}; index again into another '
            "--library"
        )
