"""How far a migration is: what its space holds, and what the process that fills it says of itself.

As with a run of the indexer, the process writes a small file now and then, which is worth nothing
once that process is gone.
"""

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias, cast, get_args

from searchx.catalog import Catalog
from searchx.progress import is_going_on, moment_of, number_in, read_words, signed, write_words
from searchx.records import Space

Stage: TypeAlias = Literal["embedding", "checking", "building", "switching"]
_FILE: Final = "migrating.progress"
_SECONDS: Final = 1.0  # between two words of how far it is
_LEAST: Final = 2.0  # seconds of embedding from which on its end can be guessed


@dataclass(frozen=True, slots=True)
class Migration:
    """The space beside the one that serves: being made, or kept to go back to."""

    space: Space
    has_served: bool  # it is kept; else it is being made
    items: int  # that can be found in the library
    done: int  # of them that have a vector there
    began: float  # seconds since 1970: the migration, or when it gave way
    is_running: bool = False  # a process is at it now
    stage: Stage = "embedding"
    rate: float = 0.0  # items a second, of the process that is at it
    written: float = 0.0  # seconds since 1970: when that was last heard of

    @property
    def share(self) -> float:
        """Give the share of the items that is done, in [0, 1]."""
        return min(1.0, self.done / self.items) if self.items else 1.0

    @property
    def seconds_left(self) -> float | None:
        """Guess how long the items that are left will take; None where there is no telling."""
        if not (self.is_running and self.rate and self.stage == "embedding"):
            return None
        return max(0.0, (self.items - self.done) / self.rate)

    def as_dict(self) -> dict[str, object]:
        """Give the JSON shape."""
        left = self.seconds_left
        return {
            "model": self.space.name,
            "digest": self.space.digest,
            "dim": self.space.dim,
            "state": "kept" if self.has_served else "running" if self.is_running else "stopped",
            "stage": self.stage if self.is_running else None,
            "items": self.items,
            "done": self.done,
            "began": moment_of(self.began),
            "share": round(self.share, 4),
            "items_per_second": round(self.rate, 2),
            "seconds_left": None if left is None else round(left, 1),
        }


class MigrationPublisher:
    """Publishes how far a migration is, at most once a second."""

    def __init__(self, directory: Path, items: int, done: int) -> None:
        self._place = directory / _FILE
        self._items, self._done, self._new = items, done, 0
        self._stage: Stage = "embedding"
        self._began = time.time()
        self._written = 0.0
        self._publish()

    def advance(self, items: int) -> None:
        """Tell how many more items are embedded."""
        self._done += items
        self._new += items
        if not 0 <= time.time() - self._written < _SECONDS:
            self._publish()

    def enter(self, stage: Stage) -> None:
        """Tell what is being done now."""
        self._stage = stage
        self._publish()

    def end(self) -> None:
        """Take it back."""
        with suppress(OSError):
            self._place.unlink(missing_ok=True)

    def _publish(self) -> None:
        self._written = time.time()
        spent = self._written - self._began
        about = {
            "items": self._items,
            "done": self._done,
            "stage": self._stage,
            "rate": self._new / spent if spent >= _LEAST else 0.0,
            "written": self._written,
        }
        write_words(self._place, {**about, **signed()})


def migration_of(catalog: Catalog) -> Migration | None:
    """Tell of the space beside the one that serves; None where there is none.

    While a process fills it, its own count is taken; else all are counted.
    """
    with catalog.beside() as beside:
        found = beside.space()
        if found is None:
            return None
        told = _told(catalog.directory)
        if told is None:
            items, done = beside.counts()
            return Migration(found.space, found.has_served, items, done, found.began)
    items, done, stage, rate, written = told
    return Migration(
        *(found.space, found.has_served, items, done, found.began),
        is_running=True,
        stage=stage,
        rate=rate,
        written=written,
    )


def _told(directory: Path) -> tuple[int, int, Stage, float, float] | None:
    about = read_words(directory / _FILE)
    if not about or not is_going_on(about):
        return None
    try:
        stage = about["stage"] if about["stage"] in get_args(Stage) else "embedding"
        items, done = int(number_in(about["items"])), int(number_in(about["done"]))
        written = number_in(about["written"])
        return items, done, cast(Stage, stage), number_in(about["rate"]), written
    except (TypeError, ValueError, KeyError):
        return None
