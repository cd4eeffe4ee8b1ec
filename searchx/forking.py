"""What a process that was forked must make anew: locks, threads and connections of its parent.

Of its parent's threads none goes on in it: a lock that one held is never let go, a queue that one
served is never emptied, and SQLite forbids it to use a connection that was made before.
"""

import os
from contextlib import suppress
from functools import cache
from typing import Protocol
from weakref import WeakSet


class Renewed(Protocol):
    """Something that holds what must not be shared with a parent."""

    def renew(self) -> None:
        """Make it anew; called in a forked process before anything else runs in it."""
        ...


def renew_in_children(one: Renewed) -> None:
    """Have something renewed in every process that is forked from this one while it lives."""
    _renewed().add(one)


@cache
def _renewed() -> "WeakSet[Renewed]":
    every: WeakSet[Renewed] = WeakSet()

    def renew() -> None:
        for one in list(every):
            one.renew()

    with suppress(AttributeError):  # on Windows nothing forks
        os.register_at_fork(after_in_child=renew)
    return every
