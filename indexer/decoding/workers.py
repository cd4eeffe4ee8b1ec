"""Reads files in worker processes, in order and a bounded number ahead.

A decoder that crashes, hangs or eats memory takes its worker down, not the run: the file gets a
problem, the next one a fresh worker. Each worker has a thread here that talks to it, and one
clock watches them all.
"""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from queue import Empty, Full, Queue, SimpleQueue
from threading import Event, Lock, Thread
from typing import Final, Self, TypeAlias

from indexer.decoding.decode import Content, End, IsKnown, Shot, Task, read
from indexer.decoding.processes import START_SECONDS, LostError, Process, setup_of
from indexer.decoding.worker import Ask, Batch
from indexer.files import Problem
from searchx.errors import SearchxError
from searchx.fitting import Fit

AHEAD: Final = 4  # files in hand for each worker
BATCHES: Final = 4  # of one file that may wait, about 1 MiB each
TICK: Final = 0.1  # seconds between looks at whether to give up waiting

_CLOSED: Final = "the workers are closed; open new ones"

Passed: TypeAlias = "list[Content] | Exception"  # from a worker's thread to the reader


class Workers:
    """Worker processes, started as they are needed and ended by ``close``.

    ``count`` 0 reads in the calling thread instead, with nothing between a decoder and the run.
    ``is_known`` is called from other threads. A worker that says nothing for ``seconds`` is ended.
    """

    def __init__(self, count: int, fit: Fit, is_known: IsKnown, seconds: float = 120.0) -> None:
        self._count = count
        self._fit = fit
        self._job = _Job(is_known, seconds, setup_of(fit) if count else b"")
        self._seats: list[_Seat] = []
        self._clock: Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def shots(self) -> int:
        """Pictures decoded so far."""
        return self._job.work.shots

    @property
    def busy_seconds(self) -> float:
        """Seconds that the workers spent on them, added up."""
        return self._job.work.seconds

    @property
    def rate(self) -> float:
        """Pictures a second that all workers together would decode alone; 0 where not known."""
        return self.shots * max(self._count, 1) / self.busy_seconds if self.busy_seconds else 0.0

    def load(self, tasks: Iterable[Task]) -> Iterator["Loading"]:
        """Give each file in order while the next ones are read already.

        What is left of a file when the next one is asked for is dropped.
        """
        ahead: deque[Loading] = deque()
        try:
            for task in tasks:
                ahead.append(self._begun(task))
                if len(ahead) > AHEAD * self._count:
                    yield ahead[0]
                    ahead.popleft().drop()
            while ahead:
                yield ahead[0]
                ahead.popleft().drop()
        finally:
            for loading in ahead:
                loading.drop()

    def close(self) -> None:
        """End all workers at once, whatever they do; nothing is left behind."""
        self._job.closed.set()
        for seat in self._seats:
            self._job.queue.put(None)
            seat.close()
        for seat in self._seats:
            _join(seat, START_SECONDS)
        if self._clock:
            _join(self._clock)
        self._seats, self._clock = [], None

    def _begun(self, task: Task) -> "Loading":
        if self._job.closed.is_set():
            raise SearchxError(_CLOSED)
        if self._count == 0:
            return Loading(task, self._job.closed, self._inline)
        loading = Loading(task, self._job.closed)
        self._job.queue.put(loading)
        if self._clock is None:
            self._clock = Thread(target=self._watch, name="searchx-clock", daemon=True)
            self._clock.start()
        if len(self._seats) < self._count:
            self._seats.append(_Seat(self._job))
            self._seats[-1].start()
        return loading

    def _inline(self, task: Task) -> Iterator[Content]:
        begun = time.monotonic()
        for content in read(task, self._fit, self._job.is_known):
            self._job.work.add([content], time.monotonic() - begun)
            yield content
            begun = time.monotonic()

    def _watch(self) -> None:
        while not self._job.closed.wait(TICK):
            for seat in list(self._seats):
                seat.look_at_clock()


class Loading:
    """One file that is being read, or will be."""

    def __init__(
        self,
        task: Task,
        closed: Event,
        inline: Callable[[Task], Iterator[Content]] | None = None,
    ) -> None:
        self.task = task
        self.has_begun = False  # something of it was passed on
        self._closed = closed
        self._inline = inline
        self._passed: Queue[Passed] = Queue(BATCHES)
        self._dropped = False

    @property
    def is_wanted(self) -> bool:
        """False where nobody will read it any more."""
        return not (self._dropped or self._closed.is_set())

    def contents(self) -> Iterator[Content]:
        """Give what is in the file as it comes, its ``End`` last; to be called once.

        Raises SearchxError where no worker can be started, and what ``is_known`` raised.
        """
        if self._inline:
            yield from self._inline(self.task)
            return
        is_over = False
        while not is_over:
            batch = self._take()
            is_over = isinstance(batch[-1], End)
            yield from batch

    def put(self, passed: Passed) -> bool:
        """Pass something on, waiting for the reader; False where nobody wants it any more."""
        self.has_begun = True
        while self.is_wanted:
            with contextlib.suppress(Full):
                self._passed.put(passed, timeout=TICK)
                return True
        return False

    def drop(self) -> None:
        """Let go of what was not read yet."""
        self._dropped = True

    def _take(self) -> list[Content]:
        while self.is_wanted:
            with contextlib.suppress(Empty):
                passed = self._passed.get(timeout=TICK)
                if isinstance(passed, Exception):
                    raise passed
                return passed
        raise SearchxError("the file was let go of before it was read; read files in their order")


class _Work:
    """How many pictures were decoded, and in how many seconds."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.shots = 0
        self.seconds = 0.0

    def add(self, contents: list[Content], seconds: float) -> None:
        """Take note of work done; what holds no decoded picture does not count."""
        shots = sum(isinstance(one, Shot) and one.pixels is not None for one in contents)
        if shots:
            with self._lock:
                self.shots += shots
                self.seconds += seconds


@dataclass(frozen=True, slots=True)
class _Job:
    """What all workers share: the files to be read, and how."""

    is_known: IsKnown
    seconds: float
    setup: bytes
    queue: "SimpleQueue[Loading | None]" = field(default_factory=SimpleQueue)  # None: no more
    closed: Event = field(default_factory=Event)
    work: _Work = field(default_factory=_Work)


class _Seat(Thread):
    """A thread with one worker process at a time: gives it files and passes on what it says."""

    def __init__(self, job: _Job) -> None:
        super().__init__(name="searchx-worker", daemon=True)
        self._job = job
        self._process: Process | None = None
        self._served = 0  # files that the process has dealt with
        self._lock = Lock()  # around the process: close() and the clock see it as well

    def run(self) -> None:
        """Deal with files until there are no more."""
        while (loading := self._job.queue.get()) is not None:
            if not loading.is_wanted:
                continue
            try:
                self._deal_with(loading)
            except Exception as error:
                self._end_process()
                loading.put(error)
        self._end_process()

    def look_at_clock(self) -> None:
        """End the process if it has said nothing for too long."""
        with self._lock:
            if self._process:
                self._process.look_at_clock()

    def close(self) -> None:
        """End the process, and with it what the thread waits for."""
        with self._lock:
            if self._process:
                self._process.kill()

    def _deal_with(self, loading: Loading) -> None:
        """Have a file read. A process that has read others before does not prove its guilt."""
        while loading.is_wanted:
            process = self._process or self._begun()
            is_fresh, self._served = self._served == 0, self._served + 1
            try:
                end = self._pass_on(process, loading)
            except LostError:
                end = _lost(process, loading.task)
            if end is None:
                return
            self._end_process()
            if is_fresh or loading.has_begun or process.has_hung:
                loading.put([end])
                return
        self._end_process()

    def _pass_on(self, process: Process, loading: Loading) -> End | None:
        """Pass on what the process says; an end for want of memory is given back instead."""
        process.send(loading.task)
        while True:
            message = process.receive()
            if isinstance(message, Ask):
                process.send(self._job.is_known(message.digest))
            elif isinstance(message, Batch) and message.contents:
                *before, last = message.contents
                self._job.work.add(message.contents, message.seconds)
                if isinstance(last, End) and last.starved:
                    if before:
                        loading.put(before)
                    return last
                if not loading.put(message.contents):
                    self._end_process()  # it may be in the middle of a large file
                    return None
                if isinstance(last, End):
                    return None

    def _begun(self) -> Process:
        with self._lock:
            if self._job.closed.is_set():
                raise SearchxError(_CLOSED)
            process = self._process = Process(self._job.seconds)
        self._served = 0
        process.begin(self._job.setup)
        return process

    def _end_process(self) -> None:
        with self._lock:
            process, self._process = self._process, None
        if process:
            process.end()


def _join(thread: Thread, seconds: float | None = None) -> None:
    """Wait for a thread, unless a signal came while it was being started: it ends by itself."""
    if thread.is_alive():
        thread.join(seconds)


def _lost(process: Process, task: Task) -> End:
    found = task.found
    problem = Problem(found.path, *process.explain())
    return End(found.size, found.mtime_ns, found.companions, problem)
