"""The life of one process that decodes pictures for the server.

It gets tasks at stdin and gives pictures at stdout. It holds nothing that would be missed and is
told no token; where the system can bound a process (POSIX), no file grows by what it writes, and
its processor time is bounded, on Linux its memory too. It is no sandbox: code that took it over can
do what the user of the server can do otherwise, such as read and remove files. At its start it
imports the standard library only: what else fails to load is told to the parent.
"""

import contextlib
import os
import pickle
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from searchx.fitting import Fit

READY: Final = b"R"
DONE: Final = b"D"
REFUSED: Final = b"U"  # the answer is one line that says why
LENGTH: Final = 8  # bytes of the length of an answer
_NOT_ENOUGH: Final = "not enough memory to decode this picture"


@dataclass(frozen=True, slots=True)
class Task:
    """A picture to be decoded: as a WebP of at most `side` pixels, or fitted to an encoder.

    One that is `plain` comes uncompressed, as one that is fitted does: as PPM.
    """

    content: bytes
    side: int
    fit: "Fit | None"
    seconds: int  # of the processor
    memory: int  # bytes above what the process has at its start
    plain: bool = False


def main() -> None:
    """Work until the parent closes stdin."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    inward, outward = _own_pipes()
    with contextlib.suppress(EOFError, BrokenPipeError):
        sys.path[:] = pickle.load(inward)
        from searchx.pictures import images

        images.formats()
        started = _confined()
        _send(outward, READY, b"")
        while True:
            task: Task = pickle.load(inward)
            _send(outward, *_answer(task, started))


def _answer(task: Task, started: int) -> tuple[bytes, bytes]:
    from searchx.errors import UnreadableImage

    _bound(task, started)
    try:
        return DONE, _decoded(task)
    except UnreadableImage as error:
        return REFUSED, str(error).encode("utf-8", "replace")
    except MemoryError:
        return REFUSED, _NOT_ENOUGH.encode("ascii")


def _decoded(task: Task) -> bytes:
    from searchx.pictures.images import open_image, thumbnail

    if task.fit is None and not task.plain:
        return thumbnail(task.content, task.side)
    import io

    from PIL import Image

    if task.fit is None:
        image = open_image(task.content, at_least=task.side)
        image.thumbnail((task.side, task.side), Image.Resampling.LANCZOS)
    else:
        image = Image.fromarray(task.fit(open_image(task.content, at_least=task.fit.side)))
    packed = io.BytesIO()
    image.save(packed, "PPM")
    return packed.getvalue()


def _confined() -> int:
    """Take away what decoding does not need; gives the bytes that the process has by now."""
    if sys.platform == "win32":
        return 0
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if sys.platform != "linux":
        return 0
    with contextlib.suppress(OSError):  # where the kernel must kill, it is this process
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
    return int(pages) * resource.getpagesize()


def _bound(task: Task, started: int) -> None:
    """Bound memory, so that a bomb ends as ``MemoryError``, and time, should the parent be gone."""
    if sys.platform == "win32":
        return
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime) + task.seconds + 1
    _lower(resource.RLIMIT_CPU, seconds)
    if started:
        _lower(resource.RLIMIT_AS, started + task.memory)


def _lower(which: int, limit: int) -> None:
    import resource

    _, most = resource.getrlimit(which)
    resource.setrlimit(which, (limit if most == resource.RLIM_INFINITY else min(limit, most), most))


def _own_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Keep the pipes to the parent away from native libraries that read or print."""
    inward, outward = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return inward, outward


def _send(outward: BinaryIO, how: bytes, answer: bytes) -> None:
    outward.write(how + len(answer).to_bytes(LENGTH, "big") + answer)
    outward.flush()
