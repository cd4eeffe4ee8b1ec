"""Long work that pages ask for: it is done once, and nobody waits for it longer than a moment."""

import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final, TypeVar, cast

from searchx.errors import Busy

T = TypeVar("T")

AT_ONCE: Final = 16  # different works; much of each is done one after the other all the same
WAITING: Final = 16  # requests, of the threads that answer all of them
_MANY: Final = "too much that takes long is asked for at one time; ask again in a moment"


class Waits:
    """The long work that is going on for one app. Safe to use from many threads."""

    def __init__(self) -> None:
        self._going_on: dict[Hashable, Future[Any]] = {}
        self._kept: dict[Hashable, tuple[float, Any]] = {}
        self._changing = threading.Lock()
        self._places = threading.BoundedSemaphore(WAITING)

    def result(self, key: Hashable, work: Callable[[], T], seconds: float) -> T | None:
        """Give what the work gives, or raise what it raises; None where it takes longer.

        It then goes on, and who asks for the same meanwhile waits for the same. Raises Busy where
        more is asked for, or waited for, than has a place.
        """
        if not self._places.acquire(blocking=False):
            raise Busy(_MANY)
        try:
            future = self._begun(key, work)
            try:
                return cast(T, future.result(seconds))
            except TimeoutError:
                if not future.done():
                    return None
                raise  # the work's own
        finally:
            self._places.release()

    def recent(
        self, key: Hashable, work: Callable[[], T], seconds: float, fresh: float
    ) -> T | None:
        """Give a result that is at most `fresh` seconds old, or else an older one, or None."""
        when, known = self._kept.get(key, (-fresh, None))
        if time.monotonic() - when < fresh and known is not None:
            return cast(T, known)

        def kept() -> T:  # also what comes when nobody waits for it any more
            found = work()
            self._kept[key] = (time.monotonic(), found)
            return found

        found = None
        with suppress(OSError, Busy):
            found = self.result(key, kept, seconds)
        return cast("T | None", known if found is None else found)

    def _begun(self, key: Hashable, work: Callable[[], object]) -> "Future[Any]":
        with self._changing:
            future = self._going_on.get(key)
            if future is None:
                if len(self._going_on) >= AT_ONCE:
                    raise Busy(_MANY)
                future = Future()
                threading.Thread(target=self._do, args=(key, future, work), daemon=True).start()
                self._going_on[key] = future
            return future

    def _do(self, key: Hashable, future: "Future[Any]", work: Callable[[], object]) -> None:
        """Work; what comes of it is for those who wait now, and later ones ask anew."""
        try:
            found, error = work(), None
        except BaseException as failed:
            found, error = None, failed
        with self._changing:
            self._going_on.pop(key, None)
        if error is None:
            future.set_result(found)
        else:
            future.set_exception(error)
