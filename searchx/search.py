"""Ask a library what is most like a text or a picture.

Search is complete at every moment: the snapshot without what was removed since, and what was
added since, compared exactly. A new snapshot or a new item is seen by the next query.
"""

import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePath

from searchx.adding.library import Adding
from searchx.adding.spaces import found, space_of
from searchx.arrays import Arrays
from searchx.arrow import ids_of
from searchx.backdrops import NO_BACKDROP, Backdrop
from searchx.cursors import Cursor, digest_of
from searchx.encoder import Encoder, load_encoder
from searchx.encoder.names import DEFAULT_MODEL, Announce
from searchx.errors import BadInput
from searchx.filters import Filter
from searchx.heat import WINDOWS, Heat, heat_of
from searchx.kept import is_lasting
from searchx.labelling import Labels
from searchx.opened import TRIES
from searchx.paging import Page, page
from searchx.pictures.images import open_image
from searchx.query import notice
from searchx.questions import Question, question_of
from searchx.ranked import Order, Search
from searchx.records import Answer, Explained, Hit, Item, Query, Target, Why
from searchx.requests import asked_of, check, kinds_of, target_of, written_as
from searchx.surveying import Surveys
from searchx.views import View
from searchx.words import called


class Library(Surveys, Arrays, Adding, Labels):
    """A searchable collection. Safe to use from many threads; close it, or use ``with``."""

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
        target = target_of(asked, to)
        check(k, diversity, after)
        written = written_as(asked, target, group, diversity)
        digest = digest_of(written)
        cursor = None if after is None else Cursor.read(after, digest)
        told = query if isinstance(query, str) else None

        def made() -> Answer:
            order = Order(self._backdrops.duplicates() if group else None, diversity)
            answer = self._made(asked, k, target, order, cursor, digest)
            return answer if told is None else replace(answer, notice=notice(told))

        if not is_lasting(asked):
            return made()
        key = written, k, after, told
        answer, is_kept = self._answers.of(key, self._state(target), made)
        if is_kept and self.queries.watch is not None:
            self.queries.watch.looked_up("text", "kept")
        return answer

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
        ids_of([id])  # or else it is told which ids it takes
        query = Query(like=id)
        return self.ask(query, k, to, where=where, after=after, group=group, diversity=diversity)

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

    def _made(
        self,
        asked: Query,
        k: int,
        target: Target,
        order: Order,
        cursor: Cursor | None,
        digest: bytes,
    ) -> Answer:
        """Answer a query that was read, without a notice."""
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
            explained=found.explained,
        )

    def _state(self, target: Target) -> Hashable:
        """Give what is different as soon as an answer may be; None where it is about to be."""
        touched = self._catalog.settled()
        views = [self._view(kind) for kind in kinds_of(target)]
        if touched is None:
            return None
        return touched, self._space(), *((one.newest, one.version) for one in views)

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
        for _ in range(TRIES):
            views = [self._view(kind) for kind in kinds_of(target)]
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


def create_library(
    directory: Path | str,
    *,
    model: str | None = None,
    encoder: Encoder | None = None,
    dim: int | None = None,
    name: str | None = None,
    device: str = "auto",
    announce: Announce | None = None,
    exist_ok: bool = False,
) -> Library:
    """Make a library with nothing in it, to add to: ``searchx.create("shop.library")``.

    For a `model` by name (the one that ships with searchx where none is named), for an `encoder`,
    or with `dim` and `name` for vectors that searchx did not embed. Raises BadInput where there is
    a library already, unless `exist_ok` and it is of the same space; ModelError; LibraryFull.
    """
    if (dim is None) != (name is None):
        raise BadInput("give both dim and name for vectors that searchx did not embed")
    if [dim is not None, model is not None, encoder is not None].count(True) > 1:
        raise BadInput("give one of model, encoder, and dim with name")
    if dim is not None and name is not None:
        space = space_of(name, dim)
    else:
        encoder = encoder or load_encoder(model or DEFAULT_MODEL, device, announce)
        space = encoder.space
    catalog = found(Path(directory), space, exist_ok)
    return Library(catalog, encoder, device, announce)


def _as_called(item: Item, why: Why, words: str) -> Item:
    """Put that place first whose name holds the words that were asked for, where one does."""
    if "name" not in why.fields or len(item.locations) == 1:
        return item
    names = [(PurePath(one.path).name, one.fragment) for one in item.locations]
    first = item.locations[called(words, names)]
    others = (one for one in item.locations if one is not first)
    return replace(item, locations=(first, *others))


@contextmanager
def timed(spent: dict[str, float], step: str) -> Iterator[None]:
    """Add the milliseconds that a step takes."""
    began = time.perf_counter()
    yield
    spent[step] = spent.get(step, 0.0) + 1000 * (time.perf_counter() - began)
