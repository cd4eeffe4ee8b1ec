"""Query vectors for many who ask at once: embedded together, each once, and kept for a while.

Who asks for a vector that is kept gets it at once, and who asks for one that is being embedded
waits for that. All others wait in one queue. A thread that is free takes what has the same encoder
and kind, as many as are best embedded in one call: a lone query never waits for others, and while
one batch is computed the next one gathers.
"""

import hashlib
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, TypeAlias, cast

import numpy as np

from searchx.encoder import Encoder
from searchx.errors import Busy
from searchx.pictures.images import open_image
from searchx.prompts import prompted, templates_for
from searchx.records import Kind, Pixels, Vectors

KEPT: Final = 4_096  # vectors; 8 MB of those of 512 numbers
WAITING: Final = 1_024  # texts and pictures that may wait or be embedded at one time
TEXTS: Final = 32  # in one batch; on a CPU more are not faster, and all wait for the last one
THREADS: Final = 2  # batches at once: one is prepared while another is computed, or both are
_Key: TypeAlias = tuple[str, Kind, bytes]  # digests of the space and of the content


class Watch(Protocol):
    """Told what happens to queries; must not take long."""

    def looked_up(self, kind: Kind, found: str) -> None:
        """Hear of a vector that was `kept`, `shared` with a query under way, or `embedded`."""
        ...

    def embedded(self, kind: Kind, count: int, seconds: float) -> None:
        """Hear of a batch."""
        ...

    def spent(self, step: str, seconds: float) -> None:
        """Hear of a step of a query: embed, filter, vectors, words or fetch."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Wanted:
    """A text, or a picture as its encoder takes it, whose vector somebody waits for."""

    key: _Key
    encoder: Encoder
    content: str | Pixels
    vector: "Future[Vectors]" = field(default_factory=Future)

    def is_like(self, other: "_Wanted") -> bool:
        """Tell whether both can be embedded in one call."""
        return self.encoder is other.encoder and self.key[1] == other.key[1]


class QueryVectors:
    """Embeds queries. Safe to use from many threads, and meant for it; close it.

    At most `waiting` are queued or embedded at one time, beyond that it raises Busy. `batch` is
    how many texts go in one call of the encoder (pictures: no more than the encoder's own
    number), and `kept` how many vectors stay in memory.
    """

    def __init__(
        self,
        encoder: Callable[[], Encoder],
        *,
        kept: int = KEPT,
        waiting: int = WAITING,
        batch: int = TEXTS,
        threads: int = THREADS,
    ) -> None:
        self.watch: Watch | None = None
        self._encoder = encoder
        self._most_kept, self._most_waiting, self._batch = kept, waiting, batch
        self._most_threads = threads
        self._kept: OrderedDict[_Key, Vectors] = OrderedDict()
        self._under_way: dict[_Key, Future[Vectors]] = {}
        self._queue: deque[_Wanted] = deque()
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many are queued or being embedded."""
        return len(self._under_way)

    def text(self, text: str) -> Vectors:
        """Give the unit vector (dim,) of what somebody types; raises Busy, ModelError."""
        spelled = text.encode("utf-8", "surrogatepass")
        return self._vector("text", spelled, lambda _: text)

    def picture(self, image: Path | bytes) -> Vectors:
        """Give the unit vector (dim,) of a picture; raises UnreadableImage, Busy, ModelError."""

        def fitted(encoder: Encoder) -> Pixels:
            return encoder.fit(open_image(image, at_least=encoder.fit.side))

        if isinstance(image, bytes):
            return self._vector("image", image, fitted)
        encoder = self._encoder()  # what is in the file may be another picture tomorrow
        return cast(Vectors, encoder.embed_images([fitted(encoder)])[0])

    def close(self) -> None:
        """End the threads; what still waits raises Busy."""
        with self._changed:
            self._closed = True
            left = [*self._queue]
            self._queue.clear()
            self._changed.notify_all()
        for one in left:
            self._failed(one, Busy("the library was closed; ask again"))
        for thread in self._threads:
            thread.join()

    def _vector(
        self, kind: Kind, content: bytes, prepare: Callable[[Encoder], str | Pixels]
    ) -> Vectors:
        encoder = self._encoder()
        key = (encoder.space.digest, kind, hashlib.blake2b(content, digest_size=16).digest())
        with self._changed:
            kept = self._kept.get(key)
            shared = self._under_way.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
            elif shared is None:
                own = self._claimed(key)
        if self.watch is not None:
            how = "kept" if kept is not None else "embedded" if shared is None else "shared"
            self.watch.looked_up(kind, how)
        if kept is not None:
            return kept
        if shared is not None:
            return shared.result()
        try:
            wanted = _Wanted(key, encoder, prepare(encoder), own)
            self._enqueue(wanted)
        except BaseException as error:  # those who share it must not wait for ever
            self._settle(key)
            own.set_exception(error)
            raise
        return own.result()

    def _claimed(self, key: _Key) -> "Future[Vectors]":
        if self._closed or len(self._under_way) >= self._most_waiting:
            raise Busy("too many queries are waiting; ask again in a moment")
        own = self._under_way[key] = Future()
        return own

    def _enqueue(self, wanted: _Wanted) -> None:
        with self._changed:
            if self._closed:
                raise Busy("the library was closed; ask again")
            if len(self._threads) < min(self._most_threads, len(self._under_way)):
                self._start_one()
            self._queue.append(wanted)  # last: what is queued has a thread that takes it
            self._changed.notify()

    def _start_one(self) -> None:
        thread = threading.Thread(target=self._work, name="embedding", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the system gives no more
            if not self._threads:
                raise Busy("no thread is left to embed this; ask again in a moment") from error
        else:
            self._threads.append(thread)

    def _work(self) -> None:
        while batch := self._next():
            self._embed(batch)

    def _next(self) -> list[_Wanted]:
        """Wait for something to do, and take it; nothing is taken once this is closed."""
        with self._changed:
            while not self._queue and not self._closed:
                self._changed.wait()
            if self._closed:
                return []
            first = self._queue[0]
            most = self._batch
            if first.key[1] == "image":
                most = min(most, first.encoder.batch_size)
            taken = [one for one in self._queue if one.is_like(first)][:most]
            chosen = {id(one) for one in taken}
            self._queue = deque(one for one in self._queue if id(one) not in chosen)
            return taken

    def _embed(self, batch: Sequence[_Wanted]) -> None:
        """Answer all who wait for a batch; whatever fails, the thread goes on to the next one."""
        began = time.perf_counter()
        try:
            made = list(zip(batch, _rows(batch), strict=True))  # before any is given
            for one, row in made:
                own = row.copy()  # else it would keep the whole batch in memory
                own.setflags(write=False)  # several queries have it
                self._settle(one.key, own)
                one.vector.set_result(own)
            if self.watch is not None:
                self.watch.embedded(batch[0].key[1], len(batch), time.perf_counter() - began)
        except Exception as error:  # told to those who wait
            left = [one for one in batch if not one.vector.done()]
            for one in left:
                if len(batch) == 1:
                    self._failed(one, error)
                else:
                    self._embed([one])  # a bad one costs no other its answer

    def _failed(self, wanted: _Wanted, error: Exception) -> None:
        self._settle(wanted.key)
        wanted.vector.set_exception(error)

    def _settle(self, key: _Key, row: Vectors | None = None) -> None:
        with self._changed:
            self._under_way.pop(key, None)
            if row is not None and self._most_kept:
                self._kept[key] = row
                while len(self._kept) > self._most_kept:
                    self._kept.popitem(last=False)


def embedded_texts(encoder: Encoder, texts: Sequence[str]) -> Vectors:
    """Embed what people type, (n, dim): short names in the templates that help this model."""
    templates = templates_for(encoder.space.name)
    return embedded_means(encoder, [prompted(text, templates) for text in texts])


def embedded_means(encoder: Encoder, versions: Sequence[Sequence[str]]) -> Vectors:
    """Embed what has several wordings each, (n, dim): the unit mean of their vectors."""
    rows = encoder.embed_texts([one for several in versions for one in several])
    ends = np.cumsum([len(several) for several in versions])
    means = np.stack([part.mean(0) for part in np.split(rows, ends[:-1])])
    return cast(Vectors, means / np.linalg.norm(means, axis=1, keepdims=True).clip(1e-12))


def _rows(batch: Sequence[_Wanted]) -> Vectors:
    encoder = batch[0].encoder
    if batch[0].key[1] == "text":
        return embedded_texts(encoder, [cast(str, one.content) for one in batch])
    return encoder.embed_images([cast(Pixels, one.content) for one in batch])
