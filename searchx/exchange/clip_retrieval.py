"""The folders of clip-retrieval: `img_emb/img_emb_0.npy`, `metadata/metadata_0.parquet`.

Vectors of texts are in `text_emb`. Rows of the files of one number belong together.
https://github.com/rom1504/clip-retrieval
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from searchx.errors import BadInput
from searchx.exchange.columns import Columns, columns_in, told_in
from searchx.exchange.npy import ArrayFile, ArrayWriter, open_vectors
from searchx.exchange.offers import NO_IDS, Offer, Wanted, batch_of, numbered, rows_in
from searchx.exchange.outgoing import SPACE, Outgoing, Written, space_from
from searchx.exchange.parquet import about, batches_in, names_of
from searchx.exchange.swapping import new_folder
from searchx.records import Kind

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

FOLDERS: Final[Mapping[Kind, str]] = {"image": "img_emb", "text": "text_emb"}
_METADATA: Final = "metadata"
_SHARD: Final = 1_000_000  # rows, as clip-retrieval writes by default
_NUMBER: Final = re.compile(r"_?(\d+)$")
_MOST_ROWS: Final = 4096


def is_folder(path: Path) -> bool:
    """Tell whether a folder is laid out so."""
    return any((path / one).is_dir() for one in FOLDERS.values())


def read(path: Path, wanted: Wanted) -> Offer:
    """Offer the vectors of a kind with what the metadata tells of their rows."""
    folder = path / FOLDERS[wanted.kind]
    arrays = {number: open_vectors(file) for number, file in _numbered(folder, ".npy").items()}
    if not arrays:
        raise BadInput(f"{folder} holds no .npy file; there are no vectors of this kind")
    dims = {one.shape[1] for one in arrays.values()}
    if len(dims) > 1:
        raise BadInput(f"{folder} has vectors of {' and of '.join(map(str, sorted(dims)))} numbers")
    dim = dims.pop()
    tables = _numbered(path / _METADATA, ".parquet")
    count = sum(one.shape[0] for one in arrays.values())
    if not tables:
        batches = _batches(arrays, {}, None, dim)
        return Offer("clip-retrieval", dim, batches, count, notes=(NO_IDS,))
    _check_pairs(arrays, tables)
    schema, _ = about(tables[min(tables)])
    columns = columns_in(schema, wanted, has_vectors=False)
    space = space_from((schema.metadata or {}).get(SPACE), dim)
    notes = columns.notes if columns.id else (NO_IDS, *columns.notes)
    batches = _batches(arrays, tables, columns, dim)
    return Offer("clip-retrieval", dim, batches, count, space, notes)


def write(outgoing: Outgoing, to: Path) -> Written:
    """Write a folder that clip-retrieval indexes and serves, and embedding-reader reads.

    `image_path` and `caption` are what its own files call the path and the text.
    """
    folder = FOLDERS[outgoing.kind]
    with new_folder(to) as made:
        (made / folder).mkdir()
        (made / _METADATA).mkdir()
        items = 0
        for number, batches in enumerate(_shards(outgoing)):
            name = f"{number:04d}"  # readers take files in the order of their names
            items += _write_shard(made, folder, name, batches, outgoing)
    return Written("clip-retrieval", items, (to / folder, to / _METADATA))


def _write_shard(
    made: Path,
    folder: str,
    name: str,
    batches: Iterator["pyarrow.RecordBatch"],
    outgoing: Outgoing,
) -> int:
    import pyarrow.parquet

    schema = _renamed(outgoing.schema.remove(1))
    table = made / _METADATA / f"{_METADATA}_{name}.parquet"
    with ExitStack() as stack:
        array = ArrayWriter(made / folder / f"{folder}_{name}.npy", outgoing.space.dim)
        stack.enter_context(array)
        writer = stack.enter_context(pyarrow.parquet.ParquetWriter(table, schema))
        for batch in batches:
            array.add(batch.column("vector"))
            told = [batch.column(one) for one in batch.schema.names if one != "vector"]
            writer.write_batch(pyarrow.RecordBatch.from_arrays(told, schema=schema))
    return array.count


def _shards(outgoing: Outgoing) -> Iterator[Iterator["pyarrow.RecordBatch"]]:
    """Give the batches of one file after another; at least one file."""
    batches = outgoing.batches()
    ahead = next(batches, None)

    def shard() -> Iterator["pyarrow.RecordBatch"]:
        nonlocal ahead
        rows = 0
        while ahead is not None and rows < _SHARD:
            rows += ahead.num_rows
            yield ahead
            ahead = next(batches, None)

    yield shard()
    while ahead is not None:
        yield shard()


def _renamed(schema: "pyarrow.Schema") -> "pyarrow.Schema":
    names = {"path": "image_path", "text": "caption"}
    for old, new in names.items():
        place = schema.get_field_index(old)
        if new not in schema.names:
            schema = schema.set(place, schema.field(place).with_name(new))
    return schema


def _numbered(folder: Path, suffix: str) -> dict[int, Path]:
    """Give the files of a folder by the number in their names, in the order of the numbers."""
    found: dict[int, Path] = {}
    for file in sorted(folder.glob(f"*{suffix}")):
        number = _NUMBER.search(file.stem)
        if number is None or len(number[1]) > 12:
            raise BadInput(f"{file} has no number in its name, such as img_emb_0.npy")
        if int(number[1]) in found:
            raise BadInput(f"{file} and {found[int(number[1])].name} have the same number")
        found[int(number[1])] = file
    return dict(sorted(found.items()))


def _check_pairs(arrays: Mapping[int, ArrayFile], tables: Mapping[int, Path]) -> None:
    for number, array in arrays.items():
        if number not in tables:
            raise BadInput(f"{array.path} has no metadata file of the number {number}")
        rows = about(tables[number])[1]
        if rows != array.shape[0]:
            raise BadInput(
                f"{array.path} has {array.shape[0]:,} vectors, {tables[number]} has {rows:,} rows"
            )


def _batches(
    arrays: Mapping[int, ArrayFile],
    tables: Mapping[int, Path],
    columns: Columns | None,
    dim: int,
) -> Iterator["pyarrow.RecordBatch"]:
    at = 0
    for number, array in arrays.items():
        if columns is None:
            for rows in array.blocks(rows_in(dim)):
                yield batch_of(numbered(at, at + len(rows)), rows)
                at += len(rows)
            continue
        start = 0
        size = min(_MOST_ROWS, rows_in(dim))
        for table in batches_in(tables[number], names_of(columns), size):
            count = table.num_rows
            if not count:
                continue
            ids = table.column(columns.id) if columns.id else numbered(at, at + count)
            rows = np.concatenate(list(array.blocks(size, start, start + count)))
            yield batch_of(ids, rows, told_in(table, columns))
            start += count
            at += count
