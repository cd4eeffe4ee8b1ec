"""Read vectors out of a library: some by their ids, or all of a kind, block by block."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from searchx.arrow import vectors_to_arrow
from searchx.errors import BadInput
from searchx.records import Ids, Vectors
from searchx.views import Choice, View

if TYPE_CHECKING:
    import pyarrow

MAX_SIZE: Final = 1 << 20  # rows of a block
_NAMED: Final = 5  # ids in a message


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Some items of a library, by ascending id."""

    ids: Ids  # (b,)
    vectors: Vectors  # (b, dim)

    def __len__(self) -> int:
        return len(self.ids)

    def arrow(self) -> "pyarrow.RecordBatch":
        """Give it as columns `id` and `vector`, over the same memory."""
        import pyarrow

        columns = [pyarrow.array(self.ids), vectors_to_arrow(self.vectors)]
        return pyarrow.RecordBatch.from_arrays(columns, ["id", "vector"])


def blocks(view: View, choice: Choice, size: int) -> Iterator[Block]:
    """Give what passes in blocks of `size`, as it stood when the view was read.

    One block is in memory at a time. Raises BadInput for a size that cannot be.
    """
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or not 0 < size <= MAX_SIZE:
        raise BadInput(f"size is {size!r}; it must be a whole number between 1 and {MAX_SIZE}")
    ids = view.ids if choice.ids is None else choice.ids
    return (_block(view, ids[start : start + size]) for start in range(0, len(ids), size))


def rows_of(views: Iterable[View], ids: Ids, dim: int) -> tuple[Vectors, Ids]:
    """Give the unit rows (n, dim) of ids (n,), in their order, and those ids that are in no view.

    An id may come several times. The rows of those that are not there are zeros.
    """
    wanted, places = np.unique(ids, return_inverse=True)
    rows = np.zeros((len(wanted), dim), np.float32)
    left = np.ones(len(wanted), np.bool_)
    for view in views:
        held, found = view.rows(wanted[left])
        at = np.searchsorted(wanted, held)
        rows[at] = _unit(found)
        left[at] = False
        if not left.any():
            break
    return rows[places], wanted[left]


def check_known(missing: Sequence[int] | Ids) -> None:
    """Raise BadInput where ids are not in the library, with some of them."""
    if len(missing):
        named = ", ".join(str(one) for one in missing[:_NAMED])
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise BadInput(f"there is no item {named}{more} in this library")


def _block(view: View, ids: Ids) -> Block:
    held, rows = view.rows(ids)
    return Block(held, _unit(rows))


def _unit(rows: Vectors) -> Vectors:
    """Scale rows to length 1: as float16 they are a little longer or shorter."""
    rows /= np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-12)
    return rows
