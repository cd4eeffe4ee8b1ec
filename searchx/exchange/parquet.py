"""Parquet: a column of vectors, one of ids, all others told of the rows. One file, or a folder."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from searchx.arrow import vectors_from_arrow, write_parquet
from searchx.contents import open_regular, parquet
from searchx.errors import BadInput
from searchx.exchange.columns import Columns, columns_in, is_vectors, told_in, width
from searchx.exchange.offers import NO_IDS, Offer, Wanted, batch_of, check_dim, numbered, rows_in
from searchx.exchange.outgoing import SPACE, Outgoing, Written, space_from
from searchx.records import Vectors

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

_ROWS: Final = 4096  # read at a time, where vectors are not wide


def read(path: Path, wanted: Wanted) -> Offer:
    """Offer the rows of a Parquet file, or of all in a folder by their names."""
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not files:
        raise BadInput(f"{path} holds no .parquet file")
    schema, count = about(files[0])
    count += sum(about(one)[1] for one in files[1:])
    columns = columns_in(schema, wanted)
    if columns.vector is None or not is_vectors(schema.field(columns.vector).type):
        shown = ", ".join(schema.names[:20]) or "none"
        raise BadInput(f"{path} has no column of vectors; there are {shown}")
    dim = check_dim(_dim(files, columns.vector, schema), files[0])
    notes = columns.notes if columns.id else (NO_IDS, *columns.notes)
    space = space_from((schema.metadata or {}).get(SPACE), dim)
    return Offer("parquet", dim, _batches(files, columns, dim), count, space, notes)


def write(outgoing: Outgoing, to: Path) -> Written:
    """Write one file with a column of vectors of fixed width, zstd-compressed."""
    reader = _reader(outgoing)
    return Written("parquet", write_parquet(reader, to), (to,))


def about(file: Path) -> tuple["pyarrow.Schema", int]:
    """Give the columns of a file and the number of its rows. Raises BadInput."""
    with opened(file) as table:
        return table.schema_arrow, table.metadata.num_rows


@contextmanager
def opened(file: Path) -> Iterator["pyarrow.parquet.ParquetFile"]:
    """Open a Parquet file; what is wrong with it is told in one line. Raises BadInput."""
    import pyarrow

    try:
        with open_regular(str(file)) as bytes_of, parquet(bytes_of) as table:
            yield table
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise BadInput(f"{file} cannot be read ({said.splitlines()[0][:200]})") from error


def batches_in(file: Path, names: Sequence[str], rows: int) -> Iterator["pyarrow.RecordBatch"]:
    """Give columns of a file, some rows at a time. Raises BadInput where one is not there."""
    with opened(file) as table:
        if missing := set(names) - set(table.schema_arrow.names):
            raise BadInput(f'{file} has no column "{min(missing)}", which the first file has')
        # One thread: a file object of Python stands behind it.
        yield from table.iter_batches(rows, columns=list(names), use_threads=False)


def names_of(columns: Columns) -> list[str]:
    """Give all columns that are read."""
    return [one for one in (columns.id, columns.vector, columns.text) if one] + list(columns.told)


def _batches(files: Sequence[Path], columns: Columns, dim: int) -> Iterator["pyarrow.RecordBatch"]:
    at = 0
    for file in files:
        for batch in batches_in(file, names_of(columns), min(_ROWS, rows_in(dim))):
            count = batch.num_rows
            ids = batch.column(columns.id) if columns.id else numbered(at, at + count)
            vectors = _vectors(batch.column(columns.vector), dim, file)
            yield batch_of(ids, vectors, told_in(batch, columns))
            at += count


def _vectors(column: "pyarrow.Array", dim: int, file: Path) -> Vectors:
    import pyarrow

    try:
        fixed = column.cast(pyarrow.list_(pyarrow.float32(), dim), safe=False)
    except pyarrow.ArrowException as error:
        raise BadInput(
            f"{file} has vectors of other widths than {dim}, which the first has"
        ) from error
    try:
        return vectors_from_arrow(fixed)
    except BadInput as error:
        raise BadInput(f"{file}: {error}") from error


def _dim(files: Sequence[Path], vector: str, schema: "pyarrow.Schema") -> int:
    fixed = width(schema.field(vector).type)
    if fixed is not None:
        return fixed
    for file in files:  # lists of any width: the first one tells
        for batch in batches_in(file, [vector], 1):
            first = batch.column(0)[0].as_py()
            if first is None:
                raise BadInput(f"{file} begins with a vector that is null")
            return len(first)
    raise BadInput(f"{files[0]} has no rows, and nothing tells how wide its vectors would be")


def _reader(outgoing: Outgoing) -> "pyarrow.RecordBatchReader":
    import pyarrow

    return pyarrow.RecordBatchReader.from_batches(outgoing.schema, outgoing.batches())
