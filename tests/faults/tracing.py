"""System calls that fail, or are the last ones: strace does that to a child of the nursery."""

import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tests.faults.driver import Stage

CHANGING: Final = (  # the calls that change something on disk; not every machine has all of them
    *("openat", "write", "pwrite64", "fsync", "fdatasync", "ftruncate"),
    *("rename", "renameat", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir"),
)
_NAMES: Final = ",".join(f"?{name}" for name in CHANGING)
_ENTERED: Final = re.compile(r"^(\d+) +(\w+)\((.*)")


@dataclass(frozen=True, order=True)
class Call:
    """A system call on a file of the place: which one, and which of its name in its thread."""

    name: str
    which: int
    about: str  # its arguments, as strace shows them

    def __str__(self) -> str:
        return f"{self.which}. {self.name}({self.about})"


@dataclass(frozen=True)
class Fault:
    """What happens at a call."""

    call: Call
    what: str  # error=ENOSPC, error=EIO, signal=KILL
    stays: bool = False  # also at all later calls of its name

    def __str__(self) -> str:
        return f"{self.what}{' from' if self.stays else ' at'} {self.call}"

    @property
    def option(self) -> str:
        return f"inject={self.call.name}:{self.what}:when={self.call.which}" + "+" * self.stays


def why_not() -> str:
    """Say why system calls cannot be made to fail here; empty where they can."""
    if not shutil.which("strace"):
        return "strace is not installed"
    probe = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=none", "true"]
    tried = subprocess.run(probe, capture_output=True, text=True)
    return "" if tried.returncode == 0 else f"strace may not trace here: {tried.stderr.strip()}"


def calls(stage: Stage) -> list[Call]:
    """Give the calls that change something, as a run makes that nothing disturbs."""
    log = trace(stage)
    number, found = Counter[tuple[str, str]](), {}
    for line in log:
        if entered := _ENTERED.match(line):
            thread, name, about = entered.groups()
            number[thread, name] += 1
            is_ours = str(stage.place) in about and "O_RDONLY" not in about
            if is_ours:
                call = Call(name, number[thread, name], about.replace(str(stage.place), "")[:90])
                found[call.name, call.which] = call
    return list(found.values())


def faults(stage: Stage) -> list[Fault]:
    """Give all the faults that a run may meet."""
    return [
        Fault(call, what, stays)
        for call in calls(stage)
        for what, stays in (
            *(("error=ENOSPC", False), ("error=ENOSPC", True)),
            *(("error=EIO", False), ("signal=KILL", False)),
        )
        if not (stays and call.name == "openat")  # a disk that is full can be read all the same
    ]


def trace(stage: Stage, traced: str = _NAMES) -> list[str]:
    """Give the lines of strace about a run that nothing disturbs."""
    with tempfile.NamedTemporaryFile("r", encoding="utf-8", errors="replace") as log:
        answer = stage.interrupt(
            strace=["-f", "-y", "-s", "0", "-o", log.name, "-e", f"trace={traced}"]
        )
        assert "error" not in answer, answer["error"]
        return log.read().splitlines()


def fail_at(stage: Stage, faults: Iterable[Fault]) -> tuple[int, list[str]]:
    """Have a run meet each of these faults; gives how many were met, and what was wrong then."""
    met, wrong = 0, []
    for fault in faults:
        options = ["-f", "-o", "/dev/null", "-e", f"trace={fault.call.name}", "-e", fault.option]
        answer = stage.interrupt(strace=options)
        met += answer["exit"] == -9 or "error" in answer
        if answer["exit"] not in (0, -9):
            wrong.append(f"{fault}: the run ended with {answer['exit']}")
        elif not answer.get("plain", True):
            wrong.append(f"{fault}: not one line for the user: {answer['error']}")
        wrong += [f"{fault}: {one}" for one in stage.wrong_after_fault()]
    return met, wrong
