"""Adding as a whole: read a block, embed what is new in it, write it in one transaction."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import numpy as np

from searchx.adding.contents import (
    Content,
    Fitted,
    Held,
    Key,
    Several,
    Shown,
    Told,
    is_nothing,
    mean,
    told,
)
from searchx.adding.given import Given, Meta, part
from searchx.catalog import Catalog
from searchx.encoder import Encoder
from searchx.entries import Entry, EntryView, ItemsGone
from searchx.errors import BadInput, Busy, LibraryInUse
from searchx.identity import digest_vector
from searchx.records import Report, Skipped, Space
from searchx.refreshing import drop_foreign_snapshots, has_grown, refresh_snapshots

ROWS: Final = 2048  # vectors or texts written in one transaction
_PICTURES: Final = 8  # times what the encoder takes in one call, written in one transaction
_TEXTS: Final = 256  # embedded together
_DECODERS: Final = 2  # threads
_TRIES: Final = 10
_TAIL: Final = 4096  # items that are compared one by one before a snapshot is built for them
_STREAMED: Final = 1.0  # the same while a stream goes on, as a share of what is in the snapshot


@dataclass(frozen=True, slots=True)
class _Draft:
    """A row on its way: what it shows and tells, read but perhaps not embedded."""

    id: str
    meta: Meta
    given: EntryView | None  # what came with its vector
    views: Mapping[str, Content]


class Adder:
    """Adds rows to one collection; counts what became of them."""

    def __init__(
        self,
        catalog: Catalog,
        collection: str,
        space: Space,
        encoder: Callable[[], Encoder],
    ) -> None:
        self._catalog = catalog
        self._collection = collection
        self._space = space
        self._encoder = encoder
        self._began = time.perf_counter()
        self._added = self._updated = self._unchanged = self._embedded = 0
        self._pictures = 0
        self._skipped: list[Skipped] = []
        self._touched: set[int] = set()  # items that may have lost their last place
        drop_foreign(catalog)

    def add(self, given: Given) -> None:
        """Add rows, block by block: what is written stays, whatever happens to the next block."""
        size = ROWS
        if any(one.has_pictures for one in given.views.values()):
            size = _PICTURES * self._encoder().batch_size
        for start in range(0, len(given.ids), size):
            self._block(given, start, min(start + size, len(given.ids)))

    def tend(self) -> None:
        """Keep what is compared one by one short while a stream goes on."""
        tend(self._catalog, (), _STREAMED)

    def finish(self) -> Report:
        """Drop what stands nowhere any more, build what has fallen behind, and tell."""
        tend(self._catalog, self._touched)
        seconds = time.perf_counter() - self._began
        return Report(
            added=self._added,
            updated=self._updated,
            unchanged=self._unchanged,
            skipped=self._skipped,
            embedded=self._embedded,
            seconds=seconds,
            images_per_second=self._pictures / seconds if seconds else 0.0,
        )

    def _block(self, given: Given, start: int, stop: int) -> None:
        drafts = list(self._drafts(given, start, stop))
        vectors: dict[Key, EntryView] = {}
        gone: set[Key] = set()
        for _ in range(_TRIES):
            drafts = self._embed(drafts, vectors, gone)
            entries = [_entry(one, vectors) for one in drafts]
            try:
                with self._catalog.writing() as tx:
                    tx.claim_space(self._space)  # of another model where it was made anew
                    done = tx.put_entries(self._collection, entries)
            except ItemsGone as error:  # removed by an indexer since they were looked up
                gone |= error.digests
                continue
            self._added += done.added
            self._updated += done.updated
            self._unchanged += done.unchanged
            self._touched |= done.touched if done.updated else set()
            return
        raise Busy("the library is being cleared while things are added; try again in a moment")

    # reading

    def _drafts(self, given: Given, start: int, stop: int) -> Iterator[_Draft]:
        """Read some rows; of those with the same id the last one counts."""
        last = {id: place for place, id in enumerate(given.ids[start:stop])}
        metas = given.meta(start, stop)
        columns = {name: one.part(start, stop) for name, one in given.views.items()}
        vectors = _vectors(given, start, stop)
        for place in sorted(last.values()):
            id = given.ids[start + place]
            try:
                own = None if vectors is None else vectors(place)
                views = {
                    name: given.views[name].read(of[place], id)
                    for name, of in columns.items()
                    if not is_nothing(of[place])
                }
                if own is None and not views:
                    raise BadInput("it has nothing to embed")
            except BadInput as error:
                self._skipped.append(Skipped(id, str(error)))
            else:
                yield _Draft(id, metas[place], own, views)

    # embedding

    def _embed(
        self, drafts: Sequence[_Draft], vectors: dict[Key, EntryView], gone: set[Key]
    ) -> list[_Draft]:
        """Embed what is new; gives the rows without those whose picture cannot be read."""
        wanted = {view.key: view for one in drafts for view in one.views.values()}
        if not wanted:
            return list(drafts)
        known = self._known(wanted) - gone
        new = [view for key, view in wanted.items() if key not in known | vectors.keys()]
        joined = [one for one in new if isinstance(one, Several)]
        shown = [one for one in new if isinstance(one, Shown)]
        parts = [part for one in joined for part in one.parts if part.key not in vectors]
        pictures = {one.key: one for one in (*shown, *parts)}
        bad = self._embed_pictures(list(pictures.values()), vectors)
        bad |= _join(joined, vectors, bad)
        self._embed_texts([one for one in new if isinstance(one, Told)], vectors)
        for one in wanted.values():
            if isinstance(one, Held):
                vectors[one.key] = EntryView(one.kind, one.digest, "", one.row)
        kept: list[_Draft] = []
        for draft in drafts:
            why = next((bad[view.key] for view in draft.views.values() if view.key in bad), None)
            if why is None:
                kept.append(draft)
            else:
                self._skipped.append(Skipped(draft.id, why))
        return kept

    def _known(self, wanted: Mapping[Key, object]) -> set[Key]:
        known: set[Key] = set()
        for kind in ("image", "text"):
            digests = [digest for of, digest in wanted if of == kind]
            if digests:
                held = self._catalog.embedded(kind, digests)
                known |= {(kind, digest) for digest in held}
        return known

    def _embed_pictures(
        self, pictures: Sequence[Shown], vectors: dict[Key, EntryView]
    ) -> dict[Key, str]:
        """Embed pictures; gives what is wrong with those that cannot be read."""
        bad: dict[Key, str] = {}
        if not pictures:
            return bad
        encoder = self._encoder()

        def fitted(one: Shown) -> Fitted | str:
            try:
                return one.fitted(encoder.fit)
            except BadInput as error:
                return f"its picture: {error}"

        with ThreadPoolExecutor(_DECODERS) as decoders:
            together = encoder.batch_size  # it may change on the way
            for start in range(0, len(pictures), together):
                batch = pictures[start : start + together]
                decoded = list(zip(batch, decoders.map(fitted, batch), strict=True))
                bad |= {one.key: what for one, what in decoded if isinstance(what, str)}
                good = [(one, what) for one, what in decoded if isinstance(what, Fitted)]
                rows = encoder.embed_images([what.pixels for _, what in good])
                for (one, what), row in zip(good, rows, strict=True):
                    data = row.astype(np.float16).tobytes()
                    size = (what.width, what.height)
                    vectors[one.key] = EntryView("image", one.digest, "", data, None, *size)
                self._embedded += len(good)
                self._pictures += len(good)
        return bad

    def _embed_texts(self, texts: Sequence[Told], vectors: dict[Key, EntryView]) -> None:
        for start in range(0, len(texts), _TEXTS):
            batch = texts[start : start + _TEXTS]
            rows = self._encoder().embed_texts([one.text for one in batch])
            for one, row in zip(batch, rows, strict=True):
                data = row.astype(np.float16).tobytes()
                vectors[one.key] = EntryView("text", one.digest, "", data, one.text)
            self._embedded += len(batch)


def _join(
    several: Sequence[Several], vectors: dict[Key, EntryView], bad: Mapping[Key, str]
) -> dict[Key, str]:
    """Make one vector of the pictures of each; gives what is wrong with those that have none."""
    wrong: dict[Key, str] = {}
    for one in several:
        why = next((bad[part.key] for part in one.parts if part.key in bad), None)
        row = None if why else mean([vectors[part.key].vector or b"" for part in one.parts])
        if row is None:
            wrong[one.key] = why or "its pictures cancel each other out"
        else:
            vectors[one.key] = EntryView("image", one.digest, "", row)
    return wrong


def _vectors(given: Given, start: int, stop: int) -> Callable[[int], EntryView] | None:
    """Give what reads one of some vectors, which raises BadInput; None where none are given."""
    if given.vectors is None:
        return None
    rows, wrong = given.unit(start, stop)
    texts = None if given.texts is None else part(given.texts, start, stop)

    def view(place: int) -> EntryView:
        if (why := wrong[place]) is not None:
            raise BadInput(why)
        beside = None if texts is None else texts[place]
        text = None if beside is None else told(beside).text
        row = rows[place].tobytes()
        digest = digest_vector(given.kind, row, given.ids[start + place], text)
        return EntryView(given.kind, digest, "", row, text)

    return view


def _entry(draft: _Draft, vectors: Mapping[Key, EntryView]) -> Entry:
    views = [] if draft.given is None else [draft.given]
    for name, one in draft.views.items():
        kind, digest = one.key
        made = vectors.get(one.key, EntryView(kind, digest))
        views.append(EntryView(kind, digest, name, made.vector, made.text, made.width, made.height))
    return Entry(draft.id, tuple(views), draft.meta)


def delete(catalog: Catalog, collection: str, ids: Sequence[str]) -> int:
    """Remove external ids, block by block; gives how many were there."""
    drop_foreign(catalog)
    count = 0
    touched: set[int] = set()
    for start in range(0, len(ids), ROWS):
        with catalog.writing() as tx:
            removed, lost = tx.drop_entries(collection, ids[start : start + ROWS])
        count += removed
        touched |= lost
    tend(catalog, touched)
    return count


# upkeep


def drop_foreign(catalog: Catalog) -> None:
    """Let go of snapshots of another state; who holds the library has done so already."""
    with suppress(LibraryInUse), catalog.indexing():
        drop_foreign_snapshots(catalog)


def tend(catalog: Catalog, touched: Sequence[int] | set[int] = (), share: float = 0.1) -> None:
    """Drop what stands nowhere any more, and build what has fallen behind.

    Where somebody holds the library, that is left to who does.
    """
    is_behind = has_grown(catalog, _TAIL, share)
    if not touched and not is_behind:
        return
    with suppress(LibraryInUse), catalog.indexing():
        if touched:
            with catalog.writing() as tx:
                tx.drop_unheld(touched)
        if is_behind:
            refresh_snapshots(catalog)
