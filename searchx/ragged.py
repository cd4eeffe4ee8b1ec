"""Lists of different lengths, as two arrays: what one user has clicked, what is relevant to him."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from searchx.errors import BadInput

if TYPE_CHECKING:
    import pyarrow


@dataclass(frozen=True, slots=True, eq=False)
class Ragged:
    """One list for each of n rows."""

    values: NDArray[Any]  # (total,), list after list
    offsets: NDArray[np.int64]  # (n + 1,) where each begins; the last is the end

    @classmethod
    def of(cls, lists: Any, dtype: DTypeLike | None = np.int64) -> "Ragged":
        """Read a sequence of sequences, a column of Arrow lists, or an array (n, k).

        In an array of ids -1 stands for none and is left out. Without a type the values stay what
        they are, texts for instance. Raises BadInput for what is not of the type, or null.
        """
        if isinstance(lists, Ragged):
            return cls(_cast(lists.values, dtype), lists.offsets)
        if hasattr(lists, "combine_chunks"):
            lists = lists.combine_chunks()
        if hasattr(lists, "value_lengths"):
            return cls._of_arrow(lists, dtype)
        if isinstance(lists, np.ndarray) and lists.ndim == 2:
            is_ids = lists.dtype.kind in "iu" and (
                dtype is None or np.issubdtype(dtype, np.integer)
            )
            held = lists != -1 if is_ids else np.ones(lists.shape, bool)
            return cls(_cast(lists[held], dtype), _offsets(held.sum(axis=1)))
        if isinstance(lists, str) or not hasattr(lists, "__len__"):
            raise BadInput(f"lists are {type(lists).__name__}; give a list of lists of numbers")
        return cls._of_sequences(lists, dtype)

    @classmethod
    def _of_sequences(cls, lists: Sequence[Any], dtype: DTypeLike | None) -> "Ragged":
        parts = [np.asarray(one) for one in lists]
        wrong = next((row for row, one in enumerate(parts) if one.ndim != 1), None)
        if wrong is not None:
            raise BadInput(f"row {wrong} has shape {parts[wrong].shape}; give a list of lists")
        held = [one for one in parts if len(one)]
        values = np.concatenate(held) if held else np.empty(0, dtype)
        return cls(_cast(values, dtype), _offsets([len(one) for one in parts]))

    @classmethod
    def _of_arrow(cls, column: Any, dtype: DTypeLike | None) -> "Ragged":
        flat = column.flatten()
        if column.null_count or flat.null_count:
            raise BadInput("a list is null, or holds a null; give empty lists in their place")
        lengths = column.value_lengths().to_numpy(zero_copy_only=False)
        return cls(_cast(flat.to_numpy(zero_copy_only=False), dtype), _offsets(lengths))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> NDArray[Any]:
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Give how many there are in each row, (n,)."""
        return np.diff(self.offsets)

    @property
    def owners(self) -> NDArray[np.int64]:
        """Give the row that each value is in, (total,)."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def holds(self, values: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell which of the values (n, k) are in the list of their row."""
        codes, pairs = self._pairs()
        if not len(codes):
            return np.zeros(values.shape, np.bool_)
        code = np.minimum(np.searchsorted(codes, values), len(codes) - 1)
        asked = np.arange(len(self))[:, None] * len(codes) + code
        found = np.minimum(np.searchsorted(pairs, asked), len(pairs) - 1)
        return np.asarray((codes[code] == values) & (pairs[found] == asked), np.bool_)

    def distinct(self) -> NDArray[np.int64]:
        """Count the different values of each row, (n,)."""
        codes, pairs = self._pairs()
        return np.bincount(pairs // max(len(codes), 1), minlength=len(self))

    def _pairs(self) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Give the different values, ascending, and each row with each of its own as one number."""
        codes, places = np.unique(self.values, return_inverse=True)
        return codes, np.unique(self.owners * max(len(codes), 1) + places)

    def part(self, start: int, stop: int) -> "Ragged":
        """Give some rows, over the same values."""
        offsets = self.offsets[start : stop + 1]
        return Ragged(self.values[offsets[0] : offsets[-1]], offsets - offsets[0])

    def padded(self, width: int, filler: float = -1) -> NDArray[Any]:
        """Give the first `width` of each row as an array (n, width), filled up."""
        found = np.full((len(self), width), filler, self.values.dtype)
        places = np.arange(len(self.values)) - np.repeat(self.offsets[:-1], self.lengths)
        kept = places < width
        found[self.owners[kept], places[kept]] = self.values[kept]
        return found

    def arrow(self) -> "pyarrow.ListArray":
        """Give it as a column of lists, over the same values."""
        import pyarrow

        offsets = pyarrow.array(self.offsets.astype(np.int32))
        return pyarrow.ListArray.from_arrays(offsets, pyarrow.array(self.values))


def first_of_each(ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which ids (q, k) stand in their row for the first time; -1 never does."""
    order = np.argsort(ids, axis=1, kind="stable")
    ordered = np.take_along_axis(ids, order, 1)
    first = np.ones(ids.shape, np.bool_)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    back = np.empty_like(first)
    np.put_along_axis(back, order, first, 1)
    return np.asarray(back & (ids != -1), np.bool_)


def _cast(values: NDArray[Any], dtype: DTypeLike | None) -> NDArray[Any]:
    if dtype is None:
        return values
    wanted = "iu" if np.issubdtype(dtype, np.integer) else "iuf"
    if len(values) and isinstance(values[0], datetime):
        values = np.array([one.timestamp() for one in values])
    if values.dtype.kind == "M":
        values = values.astype("datetime64[us]").astype(np.int64) / 1e6  # seconds
    if len(values) and wanted == "iu" and isinstance(values[0], str):
        raise BadInput(
            "the lists hold texts, not the numbers of items; library.lookup gives those of ids "
            'that you added, and recommend takes these with collection="items"'
        )
    if len(values) and values.dtype.kind not in wanted:
        what = "whole numbers" if wanted == "iu" else "numbers"
        raise BadInput(f"the lists hold {values.dtype}; give {what}")
    return values.astype(dtype, copy=False)


def _offsets(lengths: Any) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(np.asarray(lengths, np.int64))]).astype(np.int64)
