"""Pictures are decoded in processes of their own: one that is hostile takes down no server.

A decoder that crashes, hangs or eats memory is ended, and the next picture gets a fresh one. What
comes back is read as plain bytes: a picture that this process goes on working with comes
uncompressed and is looked at byte by byte for that, and one that is compressed is only passed on.
"""

import atexit
import os
import pickle
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import IO, Final

from fastapi import HTTPException

from searchx.errors import BadInput, SearchxError, UnreadableImage
from searchx.fitting import Fit
from searchx.records import Part, Query
from searchx.search import Library
from web.decoder import DONE, LENGTH, READY, REFUSED, Task

DECODERS: Final = max(2, os.cpu_count() or 2)
DECODING: Final = threading.BoundedSemaphore(DECODERS)  # each holds a whole picture
SECONDS: Final = 20  # that a picture which was sent may take
MEMORY: Final = 2 << 30  # bytes that it may take
_OWN_SECONDS: Final = 60  # likewise for pictures of the library, which the indexer has read before
_OWN_MEMORY: Final = 4 << 30
MAX_WAITING: Final = 16  # pictures that were sent and wait for a decoder
MAX_PICTURES: Final = 8  # in one query: each is decoded and embedded
_START_SECONDS: Final = 60
_MOST: Final = 1 << 28  # bytes of an answer
_SENT: Final = threading.BoundedSemaphore(DECODERS - 1)  # one is left to those of the library
_WAITING: Final = threading.BoundedSemaphore(MAX_WAITING)
_PPM: Final = re.compile(rb"P6\n([1-9][0-9]{0,4}) ([1-9][0-9]{0,4})\n255\n")
_ROOT: Final = str(Path(__file__).resolve().parent.parent)
# A host may have modules of our names, and site-packages must not come before the standard
# library: our packages are imported from their place, which is then forgotten.
_START: Final = """
import sys
sys.path.insert(0, sys.argv[1])
import web.decoder, searchx
del sys.path[0]
web.decoder.main()
"""
_ALONE: Final = {  # several decoders share the processors; threads within them cost memory only
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
}
_SECRETS: Final = frozenset({"SEARCHX_TOKEN", "SEARCHX_TOKEN_FILE"})
_TOO_LONG: Final = "the picture took longer than {} s to decode; save it anew, or smaller"
_CANNOT_START: Final = "the process that decodes pictures cannot start ({}); install searchx anew"
_CRASHED: Final = "the picture crashed its decoder; save it anew, in another format"


def small(read: Callable[[], bytes], side: int) -> bytes:
    """Give a picture of the library as WebP, its longest side at most ``side`` pixels.

    It is read when there is a decoder for it, so that few are held. Raises UnreadableImage.
    """
    with DECODING:
        return _decoders().answer(Task(read(), side, None, _OWN_SECONDS, _OWN_MEMORY))


def plain(read: Callable[[], bytes], side: int) -> bytes:
    """Like ``small``, for this process to work with: uncompressed, as PPM."""
    with DECODING:
        task = Task(read(), side, None, _OWN_SECONDS, _OWN_MEMORY, plain=True)
        return uncompressed(_decoders().answer(task), side)


def preview(content: bytes, side: int) -> bytes:
    """Give a picture that somebody sent as WebP, its longest side at most ``side`` pixels.

    Raises UnreadableImage; fails with 503 where too many wait.
    """
    with _in_line(), _SENT, DECODING:
        return _decoders().answer(Task(content, side, None, SECONDS, MEMORY))


def fitted(content: bytes, fit: Fit) -> bytes:
    """Give a picture that somebody sent as one of the size that an encoder takes, uncompressed.

    The encoder makes the same of it as of the picture itself. Raises UnreadableImage; fails with
    503 where too many wait.
    """
    with _in_line(), _SENT, DECODING:
        answer = _decoders().answer(Task(content, 0, fit, SECONDS, MEMORY))
    return uncompressed(answer, fit.side)


def uncompressed(answer: bytes, side: int) -> bytes:
    """Give a PPM as it is; raises UnreadableImage for what is not that alone, or is larger."""
    head = _PPM.match(answer)
    if head is not None:
        width, height = int(head[1]), int(head[2])
        if max(width, height) <= side and len(answer) == head.end() + 3 * width * height:
            return answer
    raise UnreadableImage(_CRASHED)


def taken_in(library: Library, query: Query) -> Query:
    """Give a query whose pictures, which somebody sent, are safe to be decoded here.

    Raises BadInput where there are too many of them, and UnreadableImage.
    """
    count = sum(one.image is not None for one in query.every_part)
    if not count:
        return query
    if count > MAX_PICTURES:
        raise BadInput(f"a query has at most {MAX_PICTURES} pictures; leave some out")
    fit = library.encoder.fit
    parts = tuple(_taken_in(one, fit) for one in query.parts)
    image = _taken_in(Part(image=query.image), fit).image
    return replace(query, image=image, parts=parts)


def _taken_in(part: Part, fit: Fit) -> Part:
    if isinstance(part.image, Path):
        raise ValueError("a server opens no pictures by their path")
    return part if part.image is None else replace(part, image=fitted(part.image, fit))


@contextmanager
def _in_line() -> Iterator[None]:
    if not _WAITING.acquire(blocking=False):
        line = "too many pictures are being looked at; send it again in a moment"
        raise HTTPException(503, line, {"retry-after": "2"})
    try:
        yield
    finally:
        _WAITING.release()


@cache
def _decoders() -> "_Decoders":
    decoders = _Decoders()
    atexit.register(decoders.close)
    return decoders


class _Decoders:
    """The processes that wait for work. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[_Decoder] = []

    def answer(self, task: Task) -> bytes:
        """Have a picture decoded; an idle process that died meanwhile does not count."""
        while (decoder := self._taken()) is not None:
            with suppress(_Gone):
                return self._by(decoder, task)
        return self._by(_Decoder(), task)

    def close(self) -> None:
        """End all of them."""
        with self._lock:
            idle, self._idle = self._idle, []
        for one in idle:
            one.end()

    def _taken(self) -> "_Decoder | None":
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _by(self, decoder: "_Decoder", task: Task) -> bytes:
        try:
            how, answer = decoder.ask(task)
        except BaseException:
            decoder.end()
            raise
        with self._lock:
            self._idle.append(decoder)
        if how == REFUSED:
            raise UnreadableImage(answer.decode("utf-8", "replace"))
        return answer


class _Gone(Exception):
    """The process had ended before it was asked."""


class _Decoder:
    """One process and the pipes to it. One thread at a time talks to it."""

    def __init__(self) -> None:
        command = [sys.executable, "-P", "-W", "ignore", "-c", _START, _ROOT]
        try:
            self._popen = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # decoders' noise
                env=_environment(),
                start_new_session=True,  # Ctrl-C in the terminal is for the parent
            )
        except OSError as error:
            raise SearchxError(_CANNOT_START.format(error.strerror)) from error
        path = [place or str(Path.cwd()) for place in sys.path]
        try:
            self._send(path)
            how, _ = self._receive(_START_SECONDS)
        except (_Gone, UnreadableImage):
            how = b""
        if how != READY:
            self.end()
            raise SearchxError(_CANNOT_START.format("it ended at once"))

    def ask(self, task: Task) -> tuple[bytes, bytes]:
        """Give a task; raises UnreadableImage where the picture takes it down or too long."""
        self._send(task)
        how, answer = self._receive(task.seconds)
        if how not in (DONE, REFUSED):
            raise UnreadableImage(_CRASHED)
        return how, answer

    def end(self) -> None:
        """Kill it if it lives and clear away what is left of it."""
        self._popen.kill()
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(_START_SECONDS)
        for pipe in (self._popen.stdin, self._popen.stdout):
            with suppress(OSError):
                if pipe:
                    pipe.close()

    def _send(self, message: object) -> None:
        assert self._popen.stdin
        try:
            pickle.dump(message, self._popen.stdin, pickle.HIGHEST_PROTOCOL)
            self._popen.stdin.flush()
        except OSError:
            raise _Gone from None

    def _receive(self, seconds: int) -> tuple[bytes, bytes]:
        assert self._popen.stdout
        late = threading.Event()

        def end() -> None:
            late.set()
            self._popen.kill()

        clock = threading.Timer(seconds, end)
        clock.daemon = True
        clock.start()
        try:
            how, answer = _read(self._popen.stdout)
        finally:
            clock.cancel()
        if late.is_set():
            raise UnreadableImage(_TOO_LONG.format(seconds))
        return how, answer


def _environment() -> dict[str, str]:
    """Give the environment of a decoder: without what it must not learn."""
    return {name: one for name, one in os.environ.items() if name not in _SECRETS} | _ALONE


def _read(stream: IO[bytes]) -> tuple[bytes, bytes]:
    """Read one answer; how is empty where the stream ends early."""
    head = stream.read(1 + LENGTH)
    size = int.from_bytes(head[1:], "big")
    if len(head) < 1 + LENGTH or size > _MOST:
        return b"", b""
    answer = stream.read(size)
    return (head[:1], answer) if len(answer) == size else (b"", b"")
