"""The life of one worker process: tasks in at stdin, what is in the files out at stdout.

It runs decoders that may crash, hang or eat memory, so it holds nothing that would be missed. At
its start it imports the standard library only: what else fails to load is told to the parent.
"""

import contextlib
import os
import pickle
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, TypeAlias

if TYPE_CHECKING:
    from indexer.decoding.decode import Content, Task
    from searchx.fitting import Fit

MEMORY: Final = 4 << 30  # bytes that decoding may take above what the process has at its start
BATCH_BYTES: Final = 1 << 20
BATCH_SECONDS: Final = 1.0  # nothing waits longer in the worker for company
_WAITS: Final = Path("/proc/self/schedstat")  # nanoseconds at work, nanoseconds in the queue
_PARENT_DIED: Final = 1  # PR_SET_PDEATHSIG


@dataclass(frozen=True, slots=True)
class Setup:
    """What a worker is given first."""

    path: tuple[str, ...]  # where modules are looked for, as in the parent
    fit: bytes  # pickled; it may need the path


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker has loaded everything and waits for tasks."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The worker cannot start."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ask:
    """Is there a vector for this digest? The answer is a bool."""

    digest: str


@dataclass(frozen=True, slots=True)
class Batch:
    """The next contents of the file, none where the worker only shows that it is alive."""

    contents: "list[Content]" = field(default_factory=list)
    seconds: float = 0.0  # worked since the last batch, not counting waits for a processor


Message: TypeAlias = Ready | Failed | Ask | Batch


def main() -> None:
    """Work until the parent closes stdin, or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when the run ends
    _die_with_parent()
    inward, outward = _own_pipes()
    with contextlib.suppress(EOFError, BrokenPipeError):
        setup: Setup = pickle.load(inward)
        try:
            fit = _load(setup)
            memory = _limit()
        except BaseException as error:
            _send(outward, Failed(f"{type(error).__name__}: {error}"))
            return
        _send(outward, Ready())
        while True:
            _Job(inward, outward, fit, memory).run(pickle.load(inward))


class _Job:
    """One task: its contents leave in batches, so that a small file costs one message."""

    def __init__(self, inward: BinaryIO, outward: BinaryIO, fit: "Fit", memory: int) -> None:
        self._inward = inward
        self._outward = outward
        self._fit = fit
        self._memory = memory
        self._contents: list[Content] = []
        self._bytes = 0
        self._sent = time.monotonic()
        self._begun = _working_time()

    def run(self, task: "Task") -> None:
        from indexer.decoding.decode import read

        for content in read(
            task, self._fit, self._ask, alive=self._flush_if_due, memory=self._memory
        ):
            self._contents.append(content)
            self._bytes += _weight(content)
            if self._bytes >= BATCH_BYTES:
                self._flush()
            else:
                self._flush_if_due()
        self._flush()

    def _ask(self, digest: str) -> bool:
        begun = _working_time()
        _send(self._outward, Ask(digest))
        is_known: bool = pickle.load(self._inward)
        self._begun += _working_time() - begun  # the parent's time is not ours
        return is_known

    def _flush_if_due(self) -> None:
        if time.monotonic() - self._sent > BATCH_SECONDS:
            self._flush()

    def _flush(self) -> None:
        contents, self._contents = self._contents, []
        _send(self._outward, Batch(contents, _working_time() - self._begun))
        self._bytes, self._sent, self._begun = 0, time.monotonic(), _working_time()


def _working_time() -> float:
    """Give a clock that stands still while the process waits for a processor, where Linux tells.

    It says what decoding takes by itself, also while the encoder has the processors; waiting for
    a disk is part of it.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        return time.monotonic() - int(_WAITS.read_text(encoding="ascii").split()[1]) / 1e9
    return time.monotonic()


def _weight(content: "Content") -> int:
    """Give about how many bytes a content takes; 256 stands for its small fields."""
    from indexer.decoding.decode import Shot
    from indexer.prose.texts import Extract

    if isinstance(content, Shot):
        return 256 + (0 if content.pixels is None else content.pixels.nbytes)
    return 256 + (len(content.text) if isinstance(content, Extract) else 0)


def _own_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Keep the pipes to the parent away from native libraries that read or print."""
    inward, outward = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return inward, outward


def _load(setup: Setup) -> "Fit":
    """Import what reading needs, our own packages before those of the host."""
    from indexer.decoding import decode  # noqa: F401

    sys.path[:] = setup.path
    fit: Fit = pickle.loads(setup.fit)
    return fit


def _limit() -> int:
    """Bound the memory of this process, so that a bomb ends as ``MemoryError``; 0 if it cannot."""
    if sys.platform != "linux":
        return 0  # macOS takes the limit and does not hold it
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
    used = int(pages) * resource.getpagesize()
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    limit = used + MEMORY if most == resource.RLIM_INFINITY else min(most, used + MEMORY)
    resource.setrlimit(resource.RLIMIT_AS, (limit, most))
    with contextlib.suppress(OSError):  # where the kernel must kill, it is the worker, not the run
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
    return max(limit - used, 1)


def _die_with_parent() -> None:
    """Let the kernel end a hung worker whose parent is gone; others see the end of stdin."""
    if sys.platform != "linux":
        return
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PARENT_DIED, signal.SIGKILL)


def _send(outward: BinaryIO, message: object) -> None:
    pickle.dump(message, outward, pickle.HIGHEST_PROTOCOL)
    outward.flush()
