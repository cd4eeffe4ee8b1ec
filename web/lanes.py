"""Lanes of threads: requests of one kind wait for each other, and leave the others' threads alone.

Who waits for a place in a lane holds no thread.
"""

from collections.abc import Callable
from typing import Final, TypeVar

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

from web.decoding import DECODERS

T = TypeVar("T")


class Lane:
    """So many threads for one kind of request; they are the same for all apps of an event loop."""

    def __init__(self, name: str, width: int) -> None:
        self._width = width
        self._limiter = RunVar[CapacityLimiter](name)

    async def run(self, work: Callable[[], T]) -> T:
        """Give what the work gives, once there is a place for it."""
        limiter = self._limiter.get(None)
        if limiter is None:
            limiter = CapacityLimiter(self._width)
            self._limiter.set(limiter)
        return await to_thread.run_sync(work, limiter=limiter)


STATE: Final = Lane("state", 4)  # who watches over a service that is busy has to be answered
PICTURES: Final = Lane("pictures", 2 * DECODERS)  # some wait for a decoder, others read and keep
