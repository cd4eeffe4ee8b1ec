"""Go on with less at a time where memory runs out, above all that of a GPU."""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

import numpy as np

from searchx.errors import ModelError
from searchx.records import Vectors

_Item = TypeVar("_Item")
_NO_MEMORY: Final = re.compile(
    "out of memory|not enough memory|can't allocate memory|_STATUS_ALLOC_FAILED"
)
_TOO_LITTLE: Final = (
    'there is not enough memory for this model; use a smaller one, see "searchx models", or '
    "--device cpu"
)


def in_halves(
    items: Sequence[_Item],
    compute: Callable[[Sequence[_Item]], Vectors],
    fits: Callable[[int], None] = lambda _: None,
) -> Vectors:
    """Give the rows (n, dim) of items, in order; where memory runs out, of half as many at a time.

    `fits` is told how many went in at one time, where not all did. Raises ModelError where there
    is not even the memory for one.
    """
    if len(items) == 1:
        with enough_memory():
            return compute(items)
    try:
        return compute(items)
    except RuntimeError as error:
        if not _is_of_memory(error):
            raise
    half = len(items) // 2
    fits(half)
    _let_go()  # not before the error, which holds what was computed
    parts = (items[:half], items[half:])
    return np.concatenate([in_halves(one, compute, fits) for one in parts])


@contextmanager
def enough_memory() -> Iterator[None]:
    """Raise ModelError where memory does not even hold the weights of a model, or one picture."""
    try:
        yield
    except RuntimeError as error:
        if not _is_of_memory(error):
            raise
        raise ModelError(_TOO_LITTLE) from error


def _is_of_memory(error: RuntimeError) -> bool:
    """Tell whether memory ran out: torch.OutOfMemoryError is one, as is that of a processor."""
    return bool(_NO_MEMORY.search(str(error)))


def _let_go() -> None:
    """Give back what torch keeps of a GPU's memory for later."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
