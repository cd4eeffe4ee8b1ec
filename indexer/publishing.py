"""Tell other processes how far a run is, besides whoever asked for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from searchx.progress import Publisher
from searchx.records import Pace

if TYPE_CHECKING:
    from indexer.pipeline import Progress


class Published:
    """Is told how a run goes on, publishes it, and passes it on. Fits ``pipeline.Progress``."""

    def __init__(self, publisher: Publisher, told: "Progress | None") -> None:
        self._publisher = publisher
        self._told = told

    def found(self, files: int, unchanged: int) -> None:
        """Publish how many files have to be read."""
        self._publisher.begin(files - unchanged)
        if self._told is not None:
            self._told.found(files, unchanged)

    def done(self, files: int, images: int, texts: int, pace: Pace) -> None:
        """Publish what was done since, at most once a second."""
        self._publisher.advance(files, images, texts, pace)
        if self._told is not None:
            self._told.done(files, images, texts, pace)

    def build(self) -> None:
        """Publish that the index is being built."""
        self._publisher.build()


@contextmanager
def publishing(directory: Path, told: "Progress | None") -> Iterator[Published]:
    """Publish a run in the library while it goes on, and take it back however it ends."""
    publisher = Publisher(directory)
    try:
        yield Published(publisher, told)
    finally:
        publisher.end()
