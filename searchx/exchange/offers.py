"""What a file of another tool offers: rows to take, block by block."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from searchx.arrow import vectors_to_arrow
from searchx.errors import BadInput
from searchx.records import Kind, Space

if TYPE_CHECKING:
    import pyarrow

MOST_DIMENSIONS: Final = 1 << 16
BLOCK_BYTES: Final = 1 << 23  # of vectors that are in memory at a time, about


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be read, where the names in a file do not say it."""

    kind: Kind = "image"
    id: str | None = None  # the column of ids
    vector: str | None = None  # the column of vectors


@dataclass(frozen=True, slots=True, eq=False)
class Offer:
    """Rows: `id`, `vector` or `image`, perhaps `text`, and what else is told of them.

    `id` are texts, `vector` lists of `dim` float32, `image` the bytes of files.
    """

    format: str
    dim: int | None  # None: pictures that are still to be embedded
    batches: Iterator["pyarrow.RecordBatch"]
    count: int | None = None  # rows, where that is known before they are read
    space: Space | None = None  # where the file says which model its vectors are of
    notes: tuple[str, ...] = field(default=())  # what a user should know, a line each
    place: Path | None = None  # where it was read from


NO_IDS: Final = "it has no ids: its rows are numbered from 0"


def rows_in(dim: int) -> int:
    """Tell how many vectors of a width are read at a time."""
    return max(1, BLOCK_BYTES // (4 * dim))


def check_dim(dim: int, name: object) -> int:
    """Give a width that vectors can have; raises BadInput."""
    if not 1 <= dim <= MOST_DIMENSIONS:
        raise BadInput(f"{name} has vectors of {dim} numbers; give from 1 to {MOST_DIMENSIONS}")
    return dim


def batch_of(
    ids: Any, vectors: NDArray[Any], told: Mapping[str, Any] | None = None
) -> "pyarrow.RecordBatch":
    """Give ids (b,), vectors (b, dim) and other columns as one batch."""
    import pyarrow

    columns = {"id": as_ids(ids), "vector": vectors_to_arrow(np.asarray(vectors, np.float32))}
    return pyarrow.RecordBatch.from_pydict(columns | {**(told or {}), **columns})


def as_ids(ids: Any) -> "pyarrow.Array":
    """Give ids as texts; raises BadInput where one is missing or is something else."""
    import pyarrow
    import pyarrow.compute as compute

    types = pyarrow.types
    column = ids if isinstance(ids, pyarrow.Array) else pyarrow.array(ids)
    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not (types.is_integer(column.type) or is_text(column.type)):
        raise BadInput(f"ids are {column.type}; give whole numbers or texts")
    if column.null_count:
        raise BadInput(f"{column.null_count} of {len(column)} ids are missing; each row needs one")
    return compute.cast(column, pyarrow.string())


def numbered(start: int, stop: int) -> "pyarrow.Array":
    """Give the numbers of rows as their ids, where a file has none."""
    return as_ids(np.arange(start, stop))


def is_text(kind: "pyarrow.DataType") -> bool:
    """Tell whether a column holds texts."""
    import pyarrow

    types = pyarrow.types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))
