"""How far a run of the indexer is, for other processes: a small file in the library.

It is written beside and renamed about once a second, and removed at the end. It is worth nothing
when the process that wrote it is gone, and readers see that. A run never fails for want of it.
"""

import json
import os
import platform
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from searchx.records import Pace

Stage: TypeAlias = Literal["reading", "building"]  # the files; then the index over the vectors
_SECONDS: Final = 1.0  # between two words of how far it is
_SILENT: Final = 120.0  # seconds without a word after which a run on another machine is given up
_LARGEST: Final = 1e12
_RUNNING: Final = "indexing.progress"
_DONE: Final = "indexing.done"


@dataclass(frozen=True, slots=True)
class RunProgress:
    """How far a run is, in files."""

    files: int  # that it has to read
    done: int = 0
    images: int = 0  # embedded
    texts: int = 0
    stage: Stage = "reading"
    pace: Pace = field(default=Pace())
    started: float = 0.0  # seconds since 1970
    written: float = 0.0  # likewise: when it was last heard of

    @property
    def share(self) -> float:
        """Give the share of the files that is done, in [0, 1]."""
        return min(1.0, self.done / self.files) if self.files else 1.0

    @property
    def seconds_left(self) -> float | None:
        """Guess how long the files that are left will take; None where there is no telling."""
        spent = self.written - self.started
        if self.stage != "reading" or not self.done or spent < 2 * _SECONDS:
            return None
        return max(0.0, spent * (self.files - self.done) / self.done)

    def as_dict(self) -> dict[str, object]:
        """Give the JSON shape."""
        left = self.seconds_left
        return {
            "stage": self.stage,
            "files": self.files,
            "done": self.done,
            "images": self.images,
            "texts": self.texts,
            "share": round(self.share, 4),
            "pace": self.pace.as_dict(),
            "started": moment_of(self.started),
            "written": moment_of(self.written),
            "seconds_left": None if left is None else round(left, 1),
        }


class Publisher:
    """Publishes how far a run is; of a run that has nothing to read nobody hears."""

    def __init__(self, directory: Path) -> None:
        self._place = directory / _RUNNING
        self._now: RunProgress | None = None

    def begin(self, files: int) -> None:
        """Tell how many files have to be read."""
        if files:
            self._publish(RunProgress(files, started=time.time()))

    def advance(self, files: int, images: int, texts: int, pace: Pace) -> None:
        """Tell what was done since; written when the last word is a second old."""
        if self._now is None:
            return
        now = self._now
        self._now = replace(
            now,
            done=now.done + files,
            images=now.images + images,
            texts=now.texts + texts,
            pace=pace,
        )
        if not 0 <= time.time() - now.written < _SECONDS:
            self._publish(self._now)

    def build(self) -> None:
        """Tell that the files are read, and the index is being built."""
        if self._now is not None:
            self._publish(replace(self._now, stage="building"))

    def end(self) -> None:
        """Take it back."""
        self._now = None
        with suppress(OSError):
            self._place.unlink(missing_ok=True)

    def _publish(self, progress: RunProgress) -> None:
        self._now = replace(progress, written=time.time())
        write_words(self._place, {**asdict(self._now), **signed()})


def read_progress(directory: Path) -> RunProgress | None:
    """Give how far the run that is going on is; None where none is, or nothing is known of it."""
    about = read_words(directory / _RUNNING)
    if not about or not is_going_on(about):
        return None
    try:
        pace = Pace(**{name: number_in(about["pace"][name]) for name in Pace().as_dict()})
        return RunProgress(
            files=int(number_in(about["files"])),
            done=int(number_in(about["done"])),
            images=int(number_in(about["images"])),
            texts=int(number_in(about["texts"])),
            stage="building" if about["stage"] == "building" else "reading",
            pace=pace,
            started=number_in(about["started"]),
            written=number_in(about["written"]),
        )
    except (TypeError, ValueError, KeyError):
        return None


def note_runs(directory: Path, sources: tuple[str, ...]) -> None:
    """Keep when these sources were brought up to date: now."""
    place, now = directory / _DONE, time.time()
    write_words(place, read_words(place) | {os.fsencode(one).hex(): now for one in sources})


def last_runs(directory: Path) -> dict[str, float]:
    """Give when sources were last brought up to date, in seconds since 1970, where it is known."""
    found: dict[str, float] = {}
    for name, when in read_words(directory / _DONE).items():
        with suppress(ValueError, TypeError):
            found[os.fsdecode(bytes.fromhex(name))] = number_in(when)
    return found


def signed() -> dict[str, object]:
    """Tell which process this is, for ``is_going_on``."""
    return {"pid": os.getpid(), "born": _born(os.getpid()), "host": platform.node()}


def is_going_on(about: dict[str, Any]) -> bool:
    """Tell whether the process that wrote this is still there, and no other one of its number."""
    pid, written = about.get("pid"), about.get("written")
    if not isinstance(pid, int) or not isinstance(written, int | float) or pid <= 0:
        return False
    if about.get("host") != platform.node():
        return abs(time.time() - written) < _SILENT
    born, now = about.get("born"), _born(pid)
    return isinstance(born, int | float) and now is not None and abs(born - now) < 1.0


def _born(pid: int) -> float | None:
    """Tell when a process was started; None where there is none."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except (psutil.Error, OSError, OverflowError, ValueError):
        return None


def number_in(found: object) -> float:
    """Read a number from 0 on; raises TypeError and ValueError."""
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise TypeError
    if not 0 <= found < _LARGEST:
        raise ValueError
    return float(found)


def read_words(place: Path) -> dict[str, Any]:
    """Read what a process wrote; empty where nothing can be read."""
    try:
        found = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def write_words(place: Path, content: dict[str, object]) -> None:
    """Swap it in; where that cannot be, nobody hears of it, and the run goes on."""
    beside = place.with_name(f"{place.name}.part")  # one process at a time holds the library
    try:
        beside.write_text(json.dumps(content), encoding="utf-8")
        beside.replace(place)
    except OSError:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def moment_of(seconds: float) -> str | None:
    """Give a time since 1970 in ISO 8601; None for one that no calendar has."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return None
