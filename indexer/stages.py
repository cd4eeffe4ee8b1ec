"""From decoded contents to the catalog: batches for the encoder, and one writer behind it."""

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from os.path import basename
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from indexer.decoding.decode import End, Shot
from indexer.files import Found, Problem
from indexer.prose.passages import Passage, split
from indexer.prose.texts import Extract
from indexer.tally import Digests, Tally
from searchx.catalog import Catalog, Content, KnownFiles, NewFile, NewItem
from searchx.encoder import Encoder
from searchx.identity import digest_text
from searchx.records import Kind, Pixels, Skipped, Vectors
from searchx.writing import READ_AGAIN

if TYPE_CHECKING:
    from indexer.pipeline import Progress

TEXTS_A_BATCH: Final = 256
FILES_A_BATCH: Final = 256  # known content needs no embedding, but is written down now and then
Key = tuple[Kind, str]  # kind and digest


@dataclass(frozen=True, slots=True)
class Before:
    """What was known of a file when it was found to be read again."""

    source: str
    digests: Digests = ()
    is_retold: bool = False  # its sidecars have changed
    sidecars: dict[str, int] = field(default_factory=dict)  # ids of those that were refused

    @classmethod
    def of(
        cls, source: str, found: Found, files: KnownFiles, digests: dict[int, Digests]
    ) -> "Before":
        """Gather what is known of a file in its folder."""
        name = basename(found.path)
        refused = {
            path: files.ids[one] for path in found.sidecars if (one := basename(path)) in files.ids
        }
        held = digests.get(files.ids[name], ()) if name in files.ids else ()
        is_retold = bool(held) and files.companions.get(name, "") != found.companions
        return cls(source, held, is_retold, refused)


@dataclass(frozen=True, slots=True)
class _Image:
    digest: str
    pixels: Pixels
    width: int
    height: int


@dataclass(slots=True)
class _Batch:
    """What waits to be embedded, and the files that are complete with it."""

    images: dict[str, _Image] = field(default_factory=dict)  # by digest
    texts: dict[str, str] = field(default_factory=dict)  # by digest
    files: list[tuple[str, NewFile]] = field(default_factory=list)  # with their source
    noted: list[tuple[str, Problem]] = field(default_factory=list)  # what is known of it stays
    refused: list[int] = field(default_factory=list)  # ids of files that are no longer refused
    done: int = 0  # files, those that are left as they were included


@dataclass(frozen=True, slots=True)
class _Embedded:
    """What became of a batch."""

    images: list[NewItem]
    texts: list[NewItem]
    image_seconds: float  # spent on the images


class Stages:
    """Takes what the workers decoded, in order; embeds it in one thread, writes in another.

    So there are up to three batches: one is filled while one is embedded and one is written.
    """

    def __init__(
        self, catalog: Catalog, encoder: Encoder, tally: Tally, progress: "Progress | None"
    ) -> None:
        self.catalog = catalog
        self.encoder = encoder
        self.tally = tally
        self.progress = progress
        self._before: dict[str, Before] = {}  # by path, of the files on their way
        self._batch = _Batch()
        self._embedder = ThreadPoolExecutor(1, thread_name_prefix="embedder")
        self._embedding: tuple[_Batch, Future[_Embedded]] | None = None
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._writing: Future[float] | None = None
        self._embedded_keys: set[Key] = set()  # being embedded
        self._written_keys: set[Key] = set()  # given to the writer, perhaps not to be read yet

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write down what is complete; after an error, wait for what is being written."""
        try:
            if kind is None:
                self._flush()
                self._hand_over()
                self._written()
        finally:
            self._embedder.shutdown(cancel_futures=True)
            self._writer.shutdown()

    def is_known(self, digest: str) -> bool:
        """Tell whether a picture has a vector. Called from the threads of the workers."""
        return self.catalog.has("image", digest)

    def expect(self, path: str, before: Before) -> None:
        """Be told what is known of a file that will come."""
        self._before[path] = before

    def take(self, found: Found, contents: Iterable[Shot | Extract | End]) -> None:
        """Take one file, however much is in it."""
        held: list[Content] = []
        for one in contents:
            if isinstance(one, End):
                self._finish(found, one, held)
                self._make_room()
            elif isinstance(one, Shot):
                held.append(self._image(one))
            else:
                held += self._texts(one)

    def _image(self, shot: Shot) -> Content:
        self._make_room()
        if shot.pixels is not None and not self._is_on_the_way("image", shot.digest):
            image = _Image(shot.digest, shot.pixels, shot.width, shot.height)
            self._batch.images[shot.digest] = image
        return Content("image", shot.digest, shot.fragment, shot.subject, metadata=shot.metadata)

    def _texts(self, extract: Extract) -> Iterator[Content]:
        for passage in split(extract, self.encoder.count_tokens, self.encoder.text_limit):
            self._make_room()
            digest = digest_text(passage.text)
            if not self._is_on_the_way("text", digest):
                self._batch.texts[digest] = passage.text
            yield _content(passage, digest)

    def _finish(self, found: Found, end: End, held: list[Content]) -> None:
        before = self._before.pop(found.path)
        batch, tally = self._batch, self.tally
        batch.done += 1
        for problem in end.problems:
            tally.skipped.append(Skipped(problem.path, problem.reason))
            batch.files.append((before.source, _refused(problem, 0, READ_AGAIN)))
        mended = before.sidecars.keys() - {problem.path for problem in end.problems}
        batch.refused += [before.sidecars[path] for path in mended]
        if end.problem is not None:
            if not (held and end.problem.lasting):
                tally.is_half_read |= bool(held)
                self._refuse(before, end, end.problem)
                return
            note = f"only what stands before a fault was indexed (parts: {len(held)}): "
            end = replace(end, note=note + end.problem.reason)
        is_partial = any(not problem.lasting for problem in end.problems)
        companions = "" if is_partial else end.companions  # the next run asks for those once more
        batch.files.append(
            (before.source, NewFile(found.path, end.size, end.mtime_ns, held, companions))
        )
        digests = tuple(one.digest for one in held)
        tally.gain(before.digests, digests, before.is_retold and not is_partial)
        if end.note:
            tally.notes.append(f"{found.path}: {end.note}")

    def _refuse(self, before: Before, end: End, problem: Problem) -> None:
        """Record a file that cannot be used; a passing problem does not cost what is known."""
        self.tally.skipped.append(Skipped(problem.path, problem.reason))
        if problem.lasting:
            file = _refused(problem, end.size, end.mtime_ns, end.companions)
            self._batch.files.append((before.source, file))
        else:
            self._batch.noted.append((before.source, problem))

    def _make_room(self) -> None:
        batch = self._batch
        if (
            len(batch.images) >= self.encoder.batch_size
            or len(batch.texts) >= TEXTS_A_BATCH
            or batch.done >= max(FILES_A_BATCH, self.encoder.batch_size)
        ):
            self._flush()

    def _is_on_the_way(self, kind: Kind, digest: str) -> bool:
        return (kind, digest) in self._embedded_keys or (kind, digest) in self._written_keys

    def _flush(self) -> None:
        """Have what is new in the batch embedded, and the batch before written down."""
        batch, self._batch = self._batch, _Batch()
        self._hand_over()
        future = self._embedder.submit(self._embed, batch, frozenset(self._written_keys))
        self._embedding = batch, future
        self._embedded_keys = {("image", one) for one in batch.images}
        self._embedded_keys |= {("text", one) for one in batch.texts}

    def _hand_over(self) -> None:
        """Wait for the batch that is being embedded; the writer gets it with its files."""
        if self._embedding is None:
            return
        (batch, future), self._embedding = self._embedding, None
        made = future.result()
        self._written()
        self._written_keys = {(item.kind, item.digest) for item in (*made.images, *made.texts)}
        self._embedded_keys = set()
        self._writing = self._writer.submit(self._write, batch, [*made.images, *made.texts])
        self.tally.embed_seconds += made.image_seconds
        self.tally.images += len(made.images)
        self.tally.texts += len(made.texts)
        if self.progress:
            pace = self.tally.pace()
            self.progress.done(batch.done, len(made.images), len(made.texts), pace)

    def _written(self) -> None:
        """Wait for the writer; raises what went wrong in it."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            self.tally.write_seconds += writing.result()

    def _write(self, batch: _Batch, items: Sequence[NewItem]) -> float:
        """Write items, and the files that hold them; gives the seconds that it took."""
        started = time.perf_counter()
        with self.catalog.writing() as tx:
            tx.add_items(items)
            for source, file in batch.files:
                tx.set_file(source, file)
            for source, problem in batch.noted:
                tx.note_problem(source, problem.path, problem.reason)
            tx.drop_files(batch.refused)
        return time.perf_counter() - started

    def _embed(self, batch: _Batch, coming: frozenset[Key]) -> _Embedded:
        """Embed what neither the catalog nor the writer has."""
        started = time.perf_counter()
        images = self._embed_images(batch, coming)
        seconds = time.perf_counter() - started if images else 0.0
        return _Embedded(images, self._embed_texts(batch, coming), seconds)

    def _embed_images(self, batch: _Batch, coming: frozenset[Key]) -> list[NewItem]:
        known = self._known("image", batch.images, coming)
        images = [one for digest, one in batch.images.items() if digest not in known]
        if not images:
            return []
        vectors = self.encoder.embed_images([one.pixels for one in images])
        return [
            NewItem("image", one.digest, vector, None, one.width, one.height)
            for one, vector in zip(images, vectors, strict=True)
        ]

    def _embed_texts(self, batch: _Batch, coming: frozenset[Key]) -> list[NewItem]:
        known = self._known("text", batch.texts, coming)
        texts = {digest: text for digest, text in batch.texts.items() if digest not in known}
        if not texts:
            return []
        vectors: Vectors = self.encoder.embed_texts(list(texts.values()))
        return [
            NewItem("text", digest, vector, text)
            for (digest, text), vector in zip(texts.items(), vectors, strict=True)
        ]

    def _known(self, kind: Kind, digests: Iterable[str], coming: frozenset[Key]) -> set[str]:
        wanted = list(digests)
        known = self.catalog.embedded(kind, wanted)
        return known | {one for one in wanted if (kind, one) in coming}


def _content(passage: Passage, digest: str) -> Content:
    return Content(
        "text",
        digest,
        _place(passage),
        passage.subject,
        passage.page,
        passage.line,
        passage.start,
        passage.end,
    )


def _place(passage: Passage) -> str:
    """Name the place of a passage in words: "line 12", "page 3, line 5", "photo.txt, line 2"."""
    words = [passage.fragment] if passage.fragment else []
    words += [f"page {passage.page}"] if passage.page is not None else []
    if passage.line is not None and (passage.line > 1 or not passage.fragment):
        words.append(f"line {passage.line}")
    return ", ".join(words)


def _refused(problem: Problem, size: int, mtime_ns: int, companions: str = "") -> NewFile:
    return NewFile(problem.path, size, mtime_ns, (), companions, problem.reason)
