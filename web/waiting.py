"""Long work that pages ask for: it is done once, and nobody waits for it longer than a moment."""

import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar, cast

T = TypeVar("T")


class Waits:
    """The long work that is going on for one app. Safe to use from many threads."""

    def __init__(self) -> None:
        self._going_on: dict[Hashable, Future[Any]] = {}
        self._kept: dict[Hashable, tuple[float, Any]] = {}
        self._changing = threading.Lock()

    def result(self, key: Hashable, work: Callable[[], T], seconds: float) -> T | None:
        """Give what the work gives, or raise what it raises; None where it takes longer.

        It then goes on, and who asks for the same again waits for the same.
        """
        with self._changing:
            future = self._going_on.get(key)
            if future is None:
                future = self._going_on[key] = Future()
                threading.Thread(target=_do, args=(future, work), daemon=True).start()
        try:
            found = future.result(seconds)
        except TimeoutError:
            if not future.done():
                return None
            raise
        finally:
            if future.done():
                with self._changing:
                    self._going_on.pop(key, None)
        return cast(T, found)

    def recent(
        self, key: Hashable, work: Callable[[], T], seconds: float, fresh: float
    ) -> T | None:
        """Give a result that is at most `fresh` seconds old, or else an older one, or None."""
        when, known = self._kept.get(key, (-fresh, None))
        if time.monotonic() - when < fresh and known is not None:
            return cast(T, known)
        found = None
        with suppress(OSError):
            found = self.result(key, work, seconds)
        if found is None:
            return cast("T | None", known)
        self._kept[key] = (time.monotonic(), found)
        return found


def _do(future: "Future[Any]", work: Callable[[], object]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:
        future.set_exception(error)
