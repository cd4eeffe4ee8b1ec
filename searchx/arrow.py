"""Vectors and ids between NumPy and Arrow, without copies where the memory is the same."""

import os
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from searchx.durable import sync
from searchx.errors import BadInput
from searchx.records import Ids, Vectors

if TYPE_CHECKING:
    import pyarrow

Names: TypeAlias = Callable[[Ids], Sequence[str | None]]  # of ids (n,), such as library.externals


def vectors_to_arrow(vectors: Vectors) -> "pyarrow.FixedSizeListArray":
    """Give rows (n, dim) as a column of fixed-size lists: the same memory, not copied."""
    import pyarrow

    flat = pyarrow.array(np.ascontiguousarray(vectors).reshape(-1))
    return pyarrow.FixedSizeListArray.from_arrays(flat, vectors.shape[1])


def vectors_from_arrow(column: Any) -> Vectors:
    """Give a column of fixed-size lists of numbers as rows (n, dim); float32 is not copied.

    Raises BadInput for another type, and for a row that is null.
    """
    import pyarrow

    if isinstance(column, pyarrow.ChunkedArray):
        column = column.combine_chunks()
    if not isinstance(column, pyarrow.FixedSizeListArray):
        raise BadInput(f"vectors have the type {column.type}; give a fixed_size_list of float32")
    flat = column.flatten()
    if column.null_count or flat.null_count:
        raise BadInput(f"{column.null_count or flat.null_count} vectors are null or hold nulls")
    rows = flat.to_numpy(zero_copy_only=False).reshape(len(column), column.type.list_size)
    return np.asarray(rows, np.float32)


def ids_of(ids: Any) -> Ids:
    """Read ids (n,) from a sequence, an array, or an Arrow column; raises BadInput."""
    if hasattr(ids, "to_numpy"):
        ids = ids.to_numpy(zero_copy_only=False)
    found = np.asarray(ids)
    if not found.size:
        return np.empty(0, np.int64)
    if found.ndim == 1 and isinstance(found[0], str):
        raise BadInput(
            f"{found[0][:40]!r} is no number of an item; library.lookup gives those of ids that "
            "you have added"
        )
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise BadInput(f"ids are {found.dtype} of shape {found.shape}; give whole numbers, (n,)")
    return found.astype(np.int64, copy=False)


def lists_to_arrow(
    values: NDArray[Any], held: NDArray[np.bool_], names: Names | None = None
) -> "pyarrow.ListArray":
    """Give the values (q, k) that are held (q, k) as a column of lists; ids by their names."""
    import pyarrow

    offsets = np.concatenate([[0], np.cumsum(held.sum(axis=1))]).astype(np.int32)
    return pyarrow.ListArray.from_arrays(pyarrow.array(offsets), named(values[held], names))


def named(ids: NDArray[Any], names: Names | None) -> "pyarrow.Array":
    """Give ids (n,) as a column of their names, or as they are; raises BadInput.

    An id without a name is null.
    """
    import pyarrow

    if names is None:
        return pyarrow.array(ids)
    distinct, places = np.unique(ids, return_inverse=True)
    told = pyarrow.array(names(distinct), pyarrow.string())
    if len(told) != len(distinct):
        raise BadInput(f"names gave {len(told)} for {len(distinct)} ids; it must give one for each")
    return told.take(pyarrow.array(places))


def write_parquet(batches: Any, file: Path | str) -> int:
    """Write a table, a record batch reader or record batches to a Parquet file; gives the rows.

    Batch by batch, so that no more than one is in memory. The file is written beside and swapped
    in when it is whole. Raises BadInput where there is nothing to write, or no place for it.
    """
    import pyarrow
    import pyarrow.parquet

    file = Path(file)
    reader = _reader(batches)
    beside = file.with_name(f".{file.name}.{os.getpid()}.part")
    rows = 0
    try:
        with pyarrow.parquet.ParquetWriter(beside, reader.schema, compression="zstd") as writer:
            for batch in reader:
                writer.write_batch(batch)
                rows += batch.num_rows
        sync(beside)
        beside.replace(file)
        sync(file.parent)
    except OSError as error:
        raise BadInput(f"{file} cannot be written ({error.strerror or error})") from error
    finally:
        beside.unlink(missing_ok=True)
    return rows


def _reader(batches: Any) -> "pyarrow.RecordBatchReader":
    import pyarrow

    if isinstance(batches, pyarrow.RecordBatchReader):
        return batches
    if isinstance(batches, pyarrow.Table):
        return batches.to_reader()
    each = iter([batches] if isinstance(batches, pyarrow.RecordBatch) else batches)
    first = next(each, None)
    if first is None:
        raise BadInput("there is nothing to write; give a table or record batches")
    return pyarrow.RecordBatchReader.from_batches(first.schema, chain([first], each))
