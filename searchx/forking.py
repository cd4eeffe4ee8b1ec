"""What a process that was forked must make anew: locks, threads and connections of its parent.

Of its parent's threads none goes on in it: a lock that one held is never let go, a queue that one
served is never emptied, and SQLite forbids it to use a connection that was made before.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from types import MethodType
from typing import Any, cast
from weakref import ref


def renew_in_children(renew: Callable[[], None]) -> None:
    """Have a method called in every process that is forked while its object lives.

    Before anything else runs in that process.
    """
    method = cast(MethodType, renew)
    every = _renewing()
    key = (id(method.__self__), method.__func__)
    # No WeakMethod: where the interpreter ends it may say that an exception was ignored in it.
    every[key] = ref(method.__self__, lambda _: every.pop(key, None))


@cache
def _renewing() -> dict[tuple[int, Callable[[Any], None]], ref[Any]]:
    every: dict[tuple[int, Callable[[Any], None]], ref[Any]] = {}

    def renew() -> None:
        for owner, function in [(one(), function) for (_, function), one in every.items()]:
            if owner is not None:
                function(owner)

    with suppress(AttributeError):  # on Windows nothing forks
        os.register_at_fork(after_in_child=renew)
    return every
