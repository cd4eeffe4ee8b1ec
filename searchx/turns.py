"""Let a few do at one time what takes much; some wait for them, and others are refused."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from searchx.errors import Busy


class Turns:
    """At most `most` work at one time. `waiting` more wait for them; None: all others do."""

    def __init__(self, most: int, waiting: int | None) -> None:
        self._turns = threading.BoundedSemaphore(most)
        self._places = None if waiting is None else threading.BoundedSemaphore(most + waiting)

    @contextmanager
    def one(self) -> Iterator[None]:
        """Work inside of this; raises Busy where too many wait already."""
        if self._places is not None and not self._places.acquire(blocking=False):
            raise Busy("too many batches are waiting; ask again in a moment")
        try:
            with self._turns:
                yield
        finally:
            if self._places is not None:
                self._places.release()
