"""Embed all that a library holds by another model while it serves, then let that model serve.

Every vector is written with its item as soon as it is made: a run that is interrupted goes on from
there. What is indexed meanwhile is picked up before the switch, for which the library is held.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, get_args

import numpy as np

from indexer.asked import columns_of
from indexer.decoding.decode import End, Shot, Task
from indexer.decoding.workers import Workers
from indexer.files import Found
from indexer.formats import form_of
from indexer.pipeline import MOST_WORKERS, cores
from indexer.rules import Rules
from searchx.catalog import Catalog
from searchx.contents import candidates
from searchx.cutting import Cut, cutter, tell_cost
from searchx.encoder import Encoder, load_encoder
from searchx.encoder.names import Announce, canonical_name
from searchx.errors import BadInput, LibraryInUse, ModelError, SearchxError
from searchx.identity import digest_bytes, digest_text
from searchx.pictures.images import read_picture
from searchx.records import COLLECTION, Item, Kind, Pace, Pixels, Skipped, Space, Vectors
from searchx.references import references_of
from searchx.refreshing import refresh_snapshots
from searchx.spaces.beside import Missing, Place
from searchx.spaces.progress import MigrationPublisher, Stage
from searchx.spaces.switching import begin, drop_wrong, other_space, switch

_TEXTS: Final = 256  # embedded and written together
_PAGE: Final = 512  # items that are looked up at a time
_SAMPLE: Final = 24  # items of each kind that are embedded twice, to see that the same comes out
_SAME: Final = 0.995  # cosine of the two; half precision and other batches make some difference
_PATIENCE: Final = 1.0  # seconds between tries to hold the library


class Told(Protocol):
    """Is told how a migration goes on; always from the thread that called ``migrate``."""

    def found(self, files: int, unchanged: int) -> None:
        """Be told how many items there are, and of how many nothing has to be done."""
        ...

    def done(self, files: int, images: int, texts: int, pace: Pace) -> None:
        """Be told after each batch: so many more items, images and texts embedded."""
        ...


@dataclass(frozen=True, slots=True)
class Settings:
    """How a migration is run."""

    rate: float | None = None  # items a second at most
    without_missing: bool = False  # switch although some items cannot be embedded
    workers: int | None = None


@dataclass(frozen=True, slots=True)
class Migrated:
    """What a migration did."""

    before: Space  # that served
    after: Space  # that serves now, or would
    switched: bool
    items: int  # that can be found
    embedded: int  # in this run
    shortened: int  # vectors that serve, of which the first numbers were taken
    cut: int  # texts of which the model sees only the beginning
    likeness: float | None  # the least cosine of vectors made twice; None where none could be
    seconds: float
    images_per_second: float
    missing: Sequence[Skipped] = field(default=())  # what could not be embedded, and why

    def as_dict(self) -> dict[str, object]:
        """Give the JSON shape."""
        return {
            "from": self.before.name,
            "to": self.after.name,
            "switched": self.switched,
            "items": self.items,
            "embedded": self.embedded,
            "shortened": self.shortened,
            "cut": self.cut,
            "likeness": None if self.likeness is None else round(self.likeness, 6),
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.images_per_second, 2),
            "missing": [{"path": one.path, "reason": one.reason} for one in self.missing],
        }


def migrate(
    library: Path | str,
    to: Encoder | str | None = None,
    device: str = "auto",
    told: Told | None = None,
    announce: Announce | None = None,
    *,
    settings: Settings = Settings(),
) -> Migrated:
    """Embed a library by another model, and let that one serve; without `to`, go on with it.

    Others search and index meanwhile. An item that cannot be embedded is told, and nothing is
    switched then unless the settings allow it; what was made stays for the next run. Raises
    BadInput where the model is the library's own, or another migration or a kept space is in the
    way, LibraryInUse while another process migrates, and ModelError.
    """
    with closing(Catalog.open(library)) as catalog, catalog.migrating():
        encoder = _encoder_for(catalog, to, device, announce)
        return _Migration(catalog, encoder, told, settings).run()


def roll_back(
    library: Path | str,
    encoder: Encoder | None = None,
    device: str = "auto",
    told: Told | None = None,
    announce: Announce | None = None,
    *,
    settings: Settings = Settings(),
) -> Migrated:
    """Let the model serve again that served before; what was indexed since is embedded first.

    Raises as ``migrate`` does, and BadInput where nothing is kept to go back to.
    """
    with closing(Catalog.open(library)) as catalog, catalog.migrating():
        found = other_space(catalog)
        if found is None or not found.has_served:
            raise BadInput("there is nothing to go back to; no other model has served here")
        encoder = _encoder_for(catalog, encoder or found.space.name, device, announce)
        return _Migration(catalog, encoder, told, settings).run()


def _encoder_for(
    catalog: Catalog, to: Encoder | str | None, device: str, announce: Announce | None
) -> Encoder:
    """Load the model that is asked for, unless what stands in the way is plain from its name."""
    if catalog.serving() is None:
        raise BadInput(f"{catalog.directory} has nothing indexed yet; index by that model at once")
    found = other_space(catalog)
    if to is None:
        if found is None or found.has_served:
            raise BadInput("no migration is under way; name the model with --to")
        to = found.space.name
    encoder = load_encoder(canonical_name(to), device, announce) if isinstance(to, str) else to
    if found is None:
        tell_cost(encoder, announce)
    if found is not None and encoder.space.name == found.space.name:
        _check_weights(found.space, encoder.space)
    return encoder


def _check_weights(kept: Space, loaded: Space) -> None:
    if kept.digest != loaded.digest:
        raise ModelError(
            f'model "{loaded.name}" has other weights now ({loaded.digest[:8]}) than those that '
            f"the vectors here were made by ({kept.digest[:8]}); bring those back, or drop the "
            "vectors with --abandon or --drop-old"
        )


class _Migration:
    """One run of a migration."""

    def __init__(
        self, catalog: Catalog, encoder: Encoder, told: Told | None, settings: Settings
    ) -> None:
        serving = catalog.serving()
        assert serving is not None
        self.catalog = catalog
        self.encoder = encoder
        self.told = told
        self.settings = settings
        self.before = serving
        self.inner = begin(catalog, encoder.space)
        self.throttle = _Throttle(settings.rate)
        self.problems: dict[str, str] = {}  # by path, why nothing was read
        self.reasons: dict[int, Skipped] = {}  # by item, why it could not be embedded
        self.given: dict[int, Skipped] = {}  # likewise, of texts
        self.images = self.texts = self.shortened = self.cut = 0
        self.began = time.perf_counter()

    def run(self) -> Migrated:
        with self.catalog.beside() as beside:
            items, done = beside.counts()
        if self.told:
            self.told.found(items, done)
        publisher = self.publisher = MigrationPublisher(self.catalog.directory, items, done)
        try:
            self._embed()
            embedding = time.perf_counter() - self.began
            self._enter("checking")
            if drop_wrong(self.catalog):
                self._embed()
            likeness = self._compare()
            switched = self._is_whole() and self._switch()
        finally:
            publisher.end()
        return Migrated(
            before=self.before,
            after=self.encoder.space,
            switched=switched,
            items=items,
            embedded=self.images + self.texts,
            shortened=self.shortened,
            cut=self.cut,
            likeness=likeness,
            seconds=time.perf_counter() - self.began,
            images_per_second=self.images / embedding if embedding else 0.0,
            missing=tuple(self.reasons.values()),
        )

    def _enter(self, stage: Stage) -> None:
        self.publisher.enter(stage)

    def _is_whole(self) -> bool:
        return self.settings.without_missing or not self.reasons

    # embedding

    def _embed(self) -> None:
        """Embed all that has no vector yet."""
        self.problems.clear()
        self.reasons.clear()
        self.given.clear()
        if (cut := cutter(self.encoder, self.before)) is not None:
            for kind in get_args(Kind):
                self._shorten(cut, kind)
        self._embed_texts()
        self._embed_images()
        self.reasons |= self.given

    def _shorten(self, cut: Cut, kind: Kind) -> None:
        """Take the first numbers of the vectors that serve, instead of embedding anew."""
        for page in self._pages(kind, _PAGE):
            with self.catalog.beside() as beside:
                served = beside.served([one.id for one in page])
            known = [one for one in page if one.id in served]
            if known:
                rows = cut.first(np.stack([served[one.id] for one in known]))
                self._add(kind, [one.digest for one in known], rows)
                self.shortened += len(known)
                self._count(len(known), 0, 0)

    def _embed_texts(self) -> None:
        for page in self._pages("text", _TEXTS):
            own = {one.digest: one.text for one in page if one.text and _is_own(one)}
            given = [one for one in page if one.digest not in own]
            self.given |= {one.id: Skipped(one.digest, _GIVEN) for one in given}
            texts = list(own.values())
            limit = self.encoder.text_limit
            self.cut += sum(count > limit for count in self.encoder.count_tokens(texts))
            self._write("text", list(own), self.encoder.embed_texts(texts))

    def _pages(self, kind: Kind, size: int) -> Iterator[list[Missing]]:
        """Give the items of a kind that lack a vector, some at a time, by ascending id."""
        after = 0
        while True:
            with self.catalog.beside() as beside:
                page = beside.missing(kind, after, size)
            if not page:
                return
            after = page[-1].id
            yield page

    def _embed_images(self) -> None:
        """Embed pictures from the places where they were found, the oldest of each first."""
        with self.catalog.beside() as beside:
            if not beside.missing("image", limit=1):
                return
        with Workers(self._worker_count(), self.encoder.fit, self._is_known) as workers:
            place = 0
            while self._embed_from(place, workers):
                place += 1

    def _embed_from(self, place: int, workers: Workers) -> bool:
        """Read the pictures at their n-th place; tells whether any has one."""
        reading = _Reading(self.catalog, place, self.problems)
        batch = _Batch(lambda: self.encoder.batch_size, self._embed_pixels)
        for loading in workers.load(reading.tasks(self._pages("image", _PAGE))):
            for content in loading.contents():
                if isinstance(content, Shot) and content.pixels is not None:
                    batch.take(content.digest, content.pixels)
                elif isinstance(content, End) and content.problem is not None:
                    self.problems[loading.task.found.path] = content.problem.reason
        batch.flush()
        if reading.looked_at:
            self.reasons = {one.id: reading.reason(one) for one in self._missing_images()}
        return reading.looked_at

    def _missing_images(self) -> list[Missing]:
        with self.catalog.beside() as beside:
            return beside.missing("image")

    def _is_known(self, digest: str) -> bool:
        """Tell whether a picture needs no decoding. Called from the threads of the workers."""
        with self.catalog.beside() as beside:
            return not beside.lacks("image", digest)

    def _embed_pixels(self, digests: Sequence[str], pixels: Sequence[Pixels]) -> None:
        self._write("image", digests, self.encoder.embed_images(pixels))

    def _write(self, kind: Kind, digests: Sequence[str], rows: Vectors) -> None:
        self._add(kind, digests, rows)
        count = len(digests)
        images, texts = (count, 0) if kind == "image" else (0, count)
        self.images += images
        self.texts += texts
        self._count(count, images, texts)
        self.throttle.wait(count)

    def _add(self, kind: Kind, digests: Sequence[str], rows: Vectors) -> None:
        with self.catalog.beside(writing=True) as beside:
            beside.add(self.encoder.space, kind, list(zip(digests, rows, strict=True)))

    def _count(self, items: int, images: int, texts: int) -> None:
        self.publisher.advance(items)
        if self.told:
            self.told.done(items, images, texts, Pace())

    def _worker_count(self) -> int:
        if self.settings.workers is not None:
            return self.settings.workers
        return min(cores(), MOST_WORKERS)

    # checking

    def _compare(self) -> float | None:
        """Embed some items a second time; gives the least cosine to what is there.

        Raises ModelError where the model does not give what it gave before.
        """
        seed = time.time_ns() % (1 << 32)
        found = [*self._text_likenesses(seed), *self._image_likenesses(seed)]
        least = min(found, default=None)
        if least is not None and least < _SAME:
            raise ModelError(
                f'model "{self.encoder.space.name}" gives other vectors than those it gave before '
                f"(cosine {least:.3f}); nothing was switched, give the migration up with --abandon"
            )
        return least

    def _text_likenesses(self, seed: int) -> list[float]:
        with self.catalog.beside() as beside:
            some = beside.some("text", _SAMPLE, seed)
        rows = self.encoder.embed_texts([one.text or "" for one in some])
        return [float(row @ kept) for row, kept in zip(rows, some.values(), strict=True)]

    def _image_likenesses(self, seed: int) -> list[float]:
        """Compare pictures; those that cannot be read just now are left out."""
        with self.catalog.beside() as beside:
            some = beside.some("image", _SAMPLE, seed)
        pixels, kept = [], []
        for item in self.catalog.items([one.id for one in some]).values():
            content = _content_of(item)
            if content is not None:
                picture = read_picture(content, self.encoder.fit.side)
                pixels.append(self.encoder.fit(picture.image))
                kept.append(next(row for one, row in some.items() if one.id == item.id))
        size = self.encoder.batch_size
        starts = range(0, len(pixels), size)
        rows = [row for at in starts for row in self.encoder.embed_images(pixels[at : at + size])]
        return [float(row @ other) for row, other in zip(rows, kept, strict=True)]

    # switching

    def _switch(self) -> bool:
        """Build what is searched, pick up what came meanwhile, and let the space serve."""
        self._enter("building")
        references_of(self.catalog.directory, self.encoder)
        refresh_snapshots(self.inner)
        while True:
            try:
                with self.catalog.indexing():
                    self._enter("switching")
                    self.throttle.rate = None  # who indexes waits for this
                    self._embed()
                    if not self._is_whole():
                        return False
                    refresh_snapshots(self.inner)
                    allowed = self.settings.without_missing
                    if switch(self.catalog, self.inner, without_missing=allowed) >= 0:
                        return True
            except LibraryInUse:
                self._enter("embedding")
                time.sleep(_PATIENCE)  # an indexer is at work, and what it adds is embedded
                self._embed()


class _Reading:
    """The pictures at their n-th place, as files that workers read."""

    def __init__(self, catalog: Catalog, place: int, problems: dict[str, str]) -> None:
        self.looked_at = False  # a picture has such a place
        self._problems = problems
        self._catalog = catalog
        self._place = place
        self._corpora: set[str] = set()  # given already: such a file is read once for all its rows
        self._rules: dict[str, Rules] = {}  # by source

    def tasks(self, pages: Iterator[list[Missing]]) -> Iterator[Task]:
        """Give the files that hold pictures, each with the columns that its source names."""
        for page in pages:
            with self._catalog.beside() as beside:
                places = beside.places([one.id for one in page])
            files: dict[str, Place] = {}
            for one in page:
                known = places.get(one.id, [])
                if self._place < len(known):
                    self.looked_at = True
                    place = known[self._place]
                    files.setdefault(place.path, place)
            for path, place in files.items():
                if path not in self._corpora and (task := self._task(place)) is not None:
                    yield task

    def reason(self, one: Missing) -> Skipped:
        """Say why a picture was not embedded, by the last place where it should be."""
        with self._catalog.beside() as beside:
            known = beside.places([one.id]).get(one.id, [])
        if not known:
            return Skipped(one.digest, "it is in no file any more")
        place = known[min(self._place, len(known) - 1)]
        named = f"{place.path} {place.fragment}".rstrip()
        reason = self._problems.get(place.path) or _CHANGED
        return Skipped(named, reason)

    def _task(self, place: Place) -> Task | None:
        form = form_of(place.path.rpartition("/")[2])
        if form is None or place.source.startswith(COLLECTION):
            self._problems[place.path] = "it is in no file; the program that added it has to again"
            return None
        if form == "corpus":
            self._corpora.add(place.path)
        if place.source not in self._rules:
            kept = self._catalog.rules(place.source)
            self._rules[place.source] = Rules.from_json(kept) if kept else Rules()
        found = Found(place.path, form, place.size, place.mtime_ns)
        return Task(found, columns_of(self._rules[place.source]))


_CHANGED: Final = (
    'the file holds another picture now, or none; run "searchx index" to take that over, then go on'
)


def _is_own(one: Missing) -> bool:
    """Tell whether an item is its text; else a program gave its vector, of which the text tells."""
    return one.text is not None and digest_text(one.text) == one.digest


_GIVEN: Final = "a program gave its vector, and only that can be searched; add it again"


def _content_of(item: Item) -> bytes | None:
    """Give the bytes of a picture from where it was found first; None where it is not there now."""
    with suppress(SearchxError), closing(candidates(item.locations[0])) as found:
        for content in found:
            if digest_bytes(content) == item.digest:
                return content
    return None


class _Batch:
    """Gathers pictures for the encoder, each content once."""

    def __init__(
        self, size: Callable[[], int], embed: Callable[[Sequence[str], Sequence[Pixels]], None]
    ) -> None:
        self._size = size
        self._embed = embed
        self._held: dict[str, Pixels] = {}

    def take(self, digest: str, pixels: Pixels) -> None:
        self._held[digest] = pixels
        if len(self._held) >= self._size():
            self.flush()

    def flush(self) -> None:
        held, self._held = self._held, {}
        if held:
            self._embed(list(held), list(held.values()))


class _Throttle:
    """Keeps to a number of items a second, counted from its beginning."""

    def __init__(self, rate: float | None) -> None:
        self.rate = rate
        self._free_at = time.monotonic()

    def wait(self, items: int) -> None:
        """Count items, and wait until so many may be done."""
        if self.rate is None:
            return
        self._free_at = max(self._free_at, time.monotonic() - 1.0) + items / self.rate
        time.sleep(max(0.0, self._free_at - time.monotonic()))
