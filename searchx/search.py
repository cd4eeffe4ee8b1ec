"""Ask a library what is most like a text or a picture.

Search is complete at every moment: the snapshot without what was removed since, and what was
added since, compared exactly. A new snapshot or a new item is seen by the next query.
"""

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Unpack

import numpy as np

from searchx import vectors
from searchx.arrow import ids_of
from searchx.backdrops import NO_BACKDROP, Backdrops
from searchx.blocks import Block, blocks, check_known, rows_of
from searchx.catalog import Catalog, Version
from searchx.cursors import Cursor, digest_of
from searchx.database import FORMAT
from searchx.embedding import embed_images, embed_texts
from searchx.encoder import Announce, Encoder, load_encoder
from searchx.errors import BadInput, NoLibrary, SpaceMismatch
from searchx.filters import FILTERS, All, Either, Filter, Is, Not
from searchx.grouping import Groups
from searchx.neighbours import similar_items
from searchx.paging import Page, page
from searchx.query import notice, parse, parse_filter, query_as_json
from searchx.questions import Question, embedded_texts, question_of
from searchx.ragged import Ragged
from searchx.ranked import Order, Search
from searchx.recommending import Lists, Recommended, Recommender, alone, asked_by
from searchx.records import (
    Answer,
    Explained,
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
from searchx.vectors import NO_ID, Found
from searchx.views import View, is_current, read_view
from searchx.wishes import Options, Wishes, of_one

if TYPE_CHECKING:
    import pyarrow

MAX_K: Final = 10_000
_TRIES: Final = 10
_TARGETS: Final[tuple[Target, ...]] = ("image", "text", "both")


@dataclass(frozen=True, slots=True)
class Status:
    """What a library holds."""

    directory: Path
    space: Space | None
    images: int
    texts: int
    files: int
    sources: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    bytes: int  # of all that the library keeps on disk
    format: int = int(FORMAT)  # of the library; older ones are brought to it when opened

    def as_dict(self) -> dict[str, object]:
        """Give the JSON shape."""
        return {
            "library": str(self.directory),
            "format": self.format,
            "model": self.space.name if self.space else None,
            "images": self.images,
            "texts": self.texts,
            "files": self.files,
            "sources": list(self.sources),
            "skipped": [{"path": one.path, "reason": one.reason} for one in self.skipped],
            "bytes": self.bytes,
        }


@dataclass(frozen=True, slots=True)
class Overview:
    """The part of `Status` that costs no walk over the disk."""

    images: int
    texts: int
    sources: tuple[str, ...]


class Library:
    """A searchable collection. Safe to use from many threads; close it, or use ``with``."""

    def __init__(
        self,
        catalog: Catalog,
        encoder: Encoder | None = None,
        device: str = "auto",
        announce: Announce | None = None,
    ) -> None:
        self.directory = catalog.directory
        self._catalog = catalog
        self._encoder = encoder
        self._device = device
        self._announce = announce
        self._views: dict[Kind, View] = {}
        self._backdrops = Backdrops(catalog, lambda: self.encoder)
        self._counted: tuple[Version, int, int] | None = None  # images, texts as of a version
        self._refreshing = threading.Lock()
        self._loading = threading.Lock()

    @classmethod
    def open(
        cls,
        directory: Path | str,
        *,
        encoder: Encoder | None = None,
        device: str = "auto",
        announce: Announce | None = None,
    ) -> "Library":
        """Open the library in `directory`. The encoder is loaded when the first query needs it.

        `announce` is told, in one line, before a model is downloaded. Raises NoLibrary,
        LibraryCorrupt or LibraryError.
        """
        return cls(Catalog.open(Path(directory)), encoder, device, announce)

    def __enter__(self) -> "Library":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the catalog and the snapshots."""
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
        asked = _asked(query, where)
        target = _target(asked.to or kind_of(asked.where) or to or "image")
        _check(k, diversity, after)
        order = Order(self._backdrops.duplicates() if group else None, diversity)
        digest = digest_of(f"{query_as_json(asked)} {target} {group} {diversity}")
        cursor = None if after is None else Cursor.read(after, digest)
        self._space()
        spent: dict[str, float] = {}
        with timed(spent, "embed"):
            question = question_of(asked, lambda: self.encoder, self._catalog)
        found, items = self._page(question, asked.where, target, k, order, cursor, spent)
        hits = tuple(
            Hit(items[one.id], one.score, one.relevance, one.band, one.why, one.alike)
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
        view = self._view(to)
        rows = self._rows(queries)
        asked: Kind = _asked_from(queries)
        vectors.check_width(rows, self._space().dim)
        return view.search(rows, k, view.choose(self._catalog, _filter(where)), asked)

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
        passes = _filter(where)
        said = kind_of(passes)
        view = self._view(said if said == "image" or said == "text" else to)
        passing = view.choose(self._catalog, passes).ids
        ids = view.ids if passing is None else passing
        chosen = np.random.default_rng(seed).permutation(ids)[:k].tolist()
        items = self._catalog.items(chosen)
        return [items[one] for one in chosen if one in items]

    def embed_query(self, query: Query) -> Vectors:
        """Turn the positive parts of a query into one unit vector, (1, dim)."""
        vector = question_of(query, lambda: self.encoder, self._catalog).vector
        if vector is None:
            raise BadInput("the query has nothing but a filter; write what you look for")
        return vector[None]

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

    def status(self) -> Status:
        """Tell what the library holds, and add up its files on disk."""
        counts = self._catalog.counts()
        return Status(
            directory=self.directory,
            space=self._catalog.space(),
            images=counts["image"],
            texts=counts["text"],
            files=counts["files"],
            sources=self._catalog.sources(),
            skipped=self._catalog.skipped(),
            bytes=bytes_of(self.directory),
        )

    @property
    def encoder(self) -> Encoder:
        """The encoder that made this library; loaded on first use."""
        with self._loading:
            if self._encoder is None:
                self._encoder = load_encoder(self._space().name, self._device, self._announce)
            _check_space(self._space(), self._encoder.space)
            return self._encoder

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
        """Rank and fetch, again where an item went, or all of them, between the two."""
        for _ in range(_TRIES):
            library = self._catalog.version().library
            searches = [self._search_of(kind, question, where, spent) for kind in _kinds(target)]
            found = page(searches, k, order, cursor)
            items = self._catalog.items(found.ids.tolist())
            if len(items) == len(found.ids) and library == self._catalog.version().library:
                break
        return found, items

    def _search_of(
        self, kind: Kind, question: Question, where: Filter | None, spent: dict[str, float]
    ) -> Search:
        view = self._view(kind)
        steps = dict(spent)
        with timed(steps, "filter"):
            choice = view.choose(self._catalog, where)
        backdrop = NO_BACKDROP
        if question.vector is not None:
            backdrop = self._backdrops.of(view, question.asked, lambda: self._view("image"))
        return Search(self._catalog, view, choice, question, backdrop, steps)

    def _rows(self, queries: Vectors | Sequence[str | Query]) -> Vectors:
        """Turn what `search_batch` takes into vectors (q, dim)."""
        if isinstance(queries, np.ndarray):
            return queries.astype(np.float32, copy=False)
        if isinstance(queries, str):
            raise BadInput("search_batch takes several queries; give a list, or use search")
        rows = np.empty((len(queries), self._space().dim), np.float32)
        texts = [place for place, one in enumerate(queries) if isinstance(one, str)]
        for place, one in enumerate(queries):
            if isinstance(one, Query):
                rows[place] = self.embed_query(_plain(one, place))
            elif not isinstance(one, str):
                raise BadInput(
                    f"query {place} is {type(one).__name__}; give texts or Query records"
                )
            elif not one.strip():
                raise BadInput(f"query {place} is empty; write what you look for")
        if texts:
            rows[texts] = embedded_texts(self.encoder, [str(queries[one]) for one in texts])
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
        return blocks(view, view.choose(self._catalog, _filter(where)), size)

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
        asked = source.choose(self._catalog, _filter(of))
        found = target.choose(self._catalog, _filter(where))
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
            choice=view.choose(self._catalog, _filter(where)),
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
) -> Library:
    """Open the library in `directory`: ``searchx.open("photos.library")``."""
    return Library.open(directory, encoder=encoder, device=device, announce=announce)


def _asked(query: str | Query, where: str | Filter | None) -> Query:
    if not isinstance(query, str | Query):
        raise BadInput(f"the query is {type(query).__name__}; give a text or a Query")
    asked = parse(query) if isinstance(query, str) else query
    beside = _filter(where)
    if beside is None:
        return asked
    both = beside if asked.where is None else All((asked.where, beside))
    return replace(asked, where=both)


def _filter(where: str | Filter | None) -> Filter | None:
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
            return next((kind for one in of if (kind := kind_of(one))), None)
        case Either(of) if of and all(isinstance(one, Is) and one.field == "kind" for one in of):
            return "both"
    return None


def _plain(query: Query, place: int) -> Query:
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


def bytes_of(directory: Path) -> int:
    """Add up the sizes of all files; one that is removed meanwhile does not count."""
    total = 0
    for root, _, names in os.walk(directory):
        for name in names:
            with suppress(FileNotFoundError):
                total += Path(root, name).stat().st_size
    return total


def _check_space(library: Space, encoder: Space) -> None:
    if library.digest != encoder.digest:
        raise SpaceMismatch(
            f'the library was made by model "{library.name}" (weights {library.digest[:8]}), but '
            f'"{encoder.name}" now has weights {encoder.digest[:8]}; index again into another '
            "--library"
        )
