"""What a process that was forked must make anew: locks, threads and connections of its parent.

Of its parent's threads none goes on in it: a lock that one held is never let go, a queue that one
served is never emptied, and SQLite forbids it to use a connection that was made before.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from weakref import WeakMethod


def renew_in_children(renew: Callable[[], None]) -> None:
    """Have a method called in every process that is forked while its object lives.

    Before anything else runs in that process.
    """
    _renewing().add(WeakMethod(renew, _renewing().discard))


@cache
def _renewing() -> set[WeakMethod[Callable[[], None]]]:
    every: set[WeakMethod[Callable[[], None]]] = set()

    def renew() -> None:
        for one in [method() for method in every]:
            if one is not None:
                one()

    with suppress(AttributeError):  # on Windows nothing forks
        os.register_at_fork(after_in_child=renew)
    return every
