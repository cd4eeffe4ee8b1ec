"""One worker process as its parent sees it: started, asked, timed, explained, ended."""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Final

from indexer.decoding.worker import Failed, Message, Setup
from searchx.errors import SearchxError
from searchx.fitting import Fit

START_SECONDS: Final = 60.0  # a worker may take so long to load, whatever the limit for a file
DEATH_SECONDS: Final = 5.0  # its pipes close a moment before a process is gone
_PIPE_BYTES: Final = 1 << 20  # what Linux lets everybody have

_ROOT: Final = str(Path(__file__).resolve().parents[2])
# A host may have modules of our names, and site-packages must not come before the standard
# library: our packages are imported from their place, which is then forgotten.
_START: Final = """
import sys
sys.path.insert(0, sys.argv[1])
import indexer.decoding.worker, searchx
del sys.path[0]
indexer.decoding.worker.main()
"""
_ALONE: Final = {  # the workers share the processors; threads within them cost memory only
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
    # What one picture took is kept for the next one: getting it from the system anew, for each,
    # took a fifth of the time of decoding.
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(128 << 20),
}
_OWN_FAULTS: Final = frozenset(  # signals that a program brings upon itself
    getattr(signal, name)
    for name in ("SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGABRT", "SIGSYS", "SIGTRAP")
    if hasattr(signal, name)
)


class LostError(Exception):
    """The process is gone, or did not answer in time."""


class Process:
    """A worker process and the pipes to it. One thread talks to it; any may end it."""

    def __init__(self, seconds: float) -> None:
        """Start it. Raises SearchxError where the system does not let it start."""
        self._seconds = seconds
        self._lock = threading.Lock()
        self._deadline: float | None = None
        self.has_hung = False
        command = [sys.executable, "-P", "-W", "ignore", "-c", _START, _ROOT]
        try:
            self._popen = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # decoders' noise
                env=os.environ | _ALONE,
                start_new_session=True,  # Ctrl-C in the terminal is for the parent
            )
        except (OSError, ValueError) as error:
            raise _cannot_start(str(error)) from error
        self._widen()

    def begin(self, setup: bytes) -> None:
        """Wait until it has loaded. Raises SearchxError where it cannot."""
        try:
            self._write(setup)
            message = self.receive(max(self._seconds, START_SECONDS))
        except LostError:
            raise _cannot_start(f"it ended: {self._ending()}") from None
        if isinstance(message, Failed):
            raise _cannot_start(message.reason)

    def send(self, message: object) -> None:
        """Give it a task or an answer. Raises LostError."""
        self._write(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))

    def receive(self, seconds: float | None = None) -> Message:
        """Wait for its next message; the clock runs only meanwhile. Raises LostError."""
        assert self._popen.stdout
        self._set_clock(time.monotonic() + (seconds or self._seconds))
        try:
            message: Message = pickle.load(self._popen.stdout)
        except Exception as error:  # the end of the stream, or a message that ends half-way
            raise LostError from error
        finally:
            self._set_clock(None)
        if self.has_hung:
            raise LostError
        return message

    def look_at_clock(self) -> None:
        """Kill it if it has said nothing for too long."""
        with self._lock:
            if self._deadline is not None and time.monotonic() > self._deadline:
                self.has_hung = True
                self._popen.kill()

    def explain(self) -> tuple[str, bool]:
        """Say why it was lost, for the user, and whether the file is to blame."""
        if self.has_hung:
            limit = f"{self._seconds:g} s"
            return f"the decoder took longer than {limit}; export the file anew or remove it", True
        ending = self._ending()
        code = self._popen.returncode
        if code is None or code >= 0 or -code in _OWN_FAULTS:
            return f"the decoder crashed on it ({ending}); export the file anew", True
        return f"the decoder was killed ({ending}), perhaps for want of memory", False

    def kill(self) -> None:
        """End it at once; what the talking thread waits for ends with it."""
        self._popen.kill()

    def end(self) -> None:
        """Kill it if it lives and clear away what is left of it; for the talking thread."""
        self._popen.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(START_SECONDS)  # a process in a system call dies when that returns
        for pipe in (self._popen.stdin, self._popen.stdout):
            with contextlib.suppress(OSError):  # there is nobody to read what was left
                if pipe:
                    pipe.close()

    def _widen(self) -> None:
        """Let a whole picture wait in the pipe while its worker reads the next one."""
        if sys.platform == "linux":
            import fcntl

            assert self._popen.stdout
            with contextlib.suppress(OSError):  # this user has many wide pipes already
                fcntl.fcntl(self._popen.stdout, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def _ending(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(DEATH_SECONDS)
        code = self._popen.returncode
        if code is None:
            return "it closed its pipes"
        if code >= 0:
            return f"exit code {code}"
        name = next((one.name for one in signal.Signals if one == -code), "")
        return f"signal {-code}: {name}" if name else f"signal {-code}"

    def _set_clock(self, deadline: float | None) -> None:
        with self._lock:
            self._deadline = deadline

    def _write(self, data: bytes) -> None:
        assert self._popen.stdin
        try:
            self._popen.stdin.write(data)
            self._popen.stdin.flush()
        except OSError as error:
            raise LostError from error


def setup_of(fit: Fit) -> bytes:
    """Give what a worker is told first. Raises what pickling raises where ``fit`` cannot be."""
    path = tuple(place or os.getcwd() for place in sys.path)  # "" is the folder
    setup = Setup(path, pickle.dumps(fit, pickle.HIGHEST_PROTOCOL))
    return pickle.dumps(setup, pickle.HIGHEST_PROTOCOL)


def _cannot_start(why: str) -> SearchxError:
    return SearchxError(
        f"the process that reads files cannot start ({why}); install searchx anew,"
        " or index without worker processes"
    )
