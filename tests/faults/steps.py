"""The steps of a run by name: what our code calls, and what it asks of SQLite and the disk."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Final

OURS: Final = ("searchx.", "indexer.")
WRITING: Final = (  # what changes a library, or decides on what is written next
    *("searchx.catalog", "searchx.writing", "searchx.vectors", "searchx.database"),
    *("searchx.upkeep", "searchx.inspection", "searchx.refreshing"),
    *("searchx.spaces.beside", "searchx.spaces.switching"),
    *("indexer.pipeline", "indexer.stages", "indexer.migrating"),
)
_CHANGES: Final = {  # what changes something on disk, by the module that it is in
    "posix": {
        *("open", "fsync", "replace", "rename", "mkdir", "unlink", "remove", "rmdir"),
        *("write", "pwrite", "ftruncate", "close"),
    },
    "_io": {"open", "write", "flush", "close", "truncate"},
    "fcntl": {"flock"},
    "sqlite3": {"execute", "executemany", "executescript", "commit", "rollback", "close", "backup"},
    "numpy": {"tofile"},
    "faiss": {"write_index"},
}


@dataclass
class Steps:
    """A profile function that writes steps down, and kills its own process at one of them."""

    at: tuple[str, int] | None = None  # a step, and which of those of its name
    seen: list[str] = field(default_factory=list)
    _left: int = 0

    def __post_init__(self) -> None:
        self._left = self.at[1] if self.at else 0

    def watch(self, act: Callable[[], int]) -> int:
        threading.setprofile(self)
        sys.setprofile(self)
        try:
            return act()
        finally:
            sys.setprofile(None)
            threading.setprofile(None)

    def __call__(self, frame: FrameType, event: str, arg: Any) -> None:
        step = _name(frame, event, arg)
        if step is None:
            return
        if self.at is None:
            self.seen.append(step)
        elif step == self.at[0]:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def is_named(step: str) -> bool:
    """Tell whether a step is one of those that a test dies at for its name's sake.

    A return is none: what is on the disk then is what is there at the next call.
    """
    event, name = step.split(" ")[:2]
    if event == "c_call":
        return True
    return event == "call" and name.startswith(WRITING) and "<" not in name.rpartition(".")[2]


def _name(frame: FrameType, event: str, arg: Any) -> str | None:
    if event in ("call", "return"):
        module = frame.f_globals.get("__name__", "")
        if module.startswith(OURS):
            return f"{event} {module}.{frame.f_code.co_qualname}"
        return None
    owner = type(getattr(arg, "__self__", None))
    module = (getattr(arg, "__module__", None) or owner.__module__).partition(".")[0]
    if arg.__name__ in _CHANGES.get(module, ()):
        return f"{event} {module}.{arg.__name__} in {_ours(frame)}"
    return None


def _ours(frame: FrameType | None) -> str:
    """Name the nearest function of ours."""
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith(OURS):
            return f"{module}.{frame.f_code.co_qualname}"
        frame = frame.f_back
    return "no function of ours"
