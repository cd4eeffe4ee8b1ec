"""Corpora that hold their pictures themselves: ``.parquet`` and webdataset ``.tar``."""

import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Final, TypeAlias

from indexer.datasets.rows import (
    MAX_LINE,
    Chosen,
    Columns,
    NoSuchColumn,
    Row,
    Shapes,
    choose,
    listed,
    make_row,
    missing,
    no_such,
    not_known,
)
from indexer.refusals import Refused
from searchx.archives import Member, members
from searchx.contents import batches, is_bytes, is_packed, parquet
from searchx.pictures.images import SUFFIXES

if TYPE_CHECKING:
    import pyarrow as pa

Told: TypeAlias = Callable[[str], None]

_TEXT_SUFFIXES: Final = (".txt", ".text", ".caption")
_PICTURE: Final = "\0picture"  # a column that no JSON object is taken to have


# parquet


def parquet_rows(file: BinaryIO, folder: str, columns: Columns, wrong: Told) -> Iterator[Row]:
    """Give the rows of a parquet file, its row groups one after the other.

    A row group that cannot be read is left out. Raises Refused for what is no parquet file and
    when it has none of the columns that are known or that the user named.
    """
    import pyarrow as pa

    try:
        with parquet(file) as table:
            chosen = _choose(table.schema_arrow, columns)
            first = 1
            for group in range(table.metadata.num_row_groups):
                last = first + table.metadata.row_group(group).num_rows - 1
                found = batches(table, group, chosen.all)
                try:
                    yield from _group(found, first, chosen, folder, wrong)
                except (pa.ArrowException, OSError, ValueError) as error:
                    wrong(f"rows {first} to {last}: not all can be read ({_one_line(error)})")
                first = last + 1
    except (pa.ArrowException, OSError, ValueError) as error:
        raise Refused(f"not a parquet file that can be read ({_one_line(error)})") from error


def _group(
    found: Iterator["pa.RecordBatch"], number: int, chosen: Chosen, folder: str, wrong: Told
) -> Iterator[Row]:
    for batch in found:
        places = {name: batch.schema.get_all_field_indices(name)[0] for name in chosen.all}
        parts = {name: batch.column(place) for name, place in places.items()}
        for index in range(batch.num_rows):
            row = _cells(f"row {number}", parts, index, chosen, folder)
            if isinstance(row, Row):
                yield row
            else:
                wrong(row)
            number += 1


def _cells(
    where: str, parts: Mapping[str, "pa.Array"], index: int, chosen: Chosen, folder: str
) -> Row | str:
    try:
        cells = {name: part[index].as_py() for name, part in parts.items()}
    except ValueError as error:  # such as a text that is not UTF-8
        return f"{where} cannot be read ({_one_line(error)})"
    return make_row(where, cells, chosen, folder)


def _choose(schema: "pa.Schema", columns: Columns) -> Chosen:
    """Choose columns by name and type; of those with bytes only one is read."""
    if lacking := missing(schema.names, columns):
        raise no_such(schema.names, lacking)
    texts = [one.name for one in schema if _is_text(one.type)]
    held = [one.name for one in schema if is_bytes(one.type) or is_packed(one.type)]
    named = [one.name for one in schema if _is_string(one.type)]
    if odd := [one for one in columns.text if missing(texts, Columns((one,)))]:
        raise NoSuchColumn(
            f'the column "{odd[0]}" holds no texts; name another with --text-column; '
            f"it has: {listed(schema.names)}"
        )
    if columns.image and missing(held + named, Columns(image=columns.image)):
        raise NoSuchColumn(
            f'the column "{columns.image}" holds no pictures; name another with --image-column; '
            f"it has: {listed(schema.names)}"
        )
    chosen = choose(texts, choose((), held, columns).images[:1] + tuple(named), columns)
    if not (chosen.texts or chosen.images):
        raise not_known(schema.names)
    return chosen


def _is_string(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return any(
        check(kind)
        for check in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    )


def _is_text(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if any(check(kind) for check in lists):
        kind = kind.value_type
    return _is_string(kind)


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        raise error  # of the disk, not of the file
    lines = str(error).splitlines()
    return lines[0][:200] if lines else type(error).__name__


# webdataset


@dataclass(slots=True)
class _Sample:
    """The members of an archive that stand next to each other under one name."""

    key: str = ""
    cells: dict[str, object] = field(default_factory=dict)
    image: bytes | None = None


def tar_rows(file: BinaryIO, folder: str, columns: Columns, wrong: Told) -> Iterator[Row]:
    """Give the samples of a webdataset archive; of what ends early, those that are there.

    The keys of ``.json`` are its columns, and ``txt``, ``text`` and ``caption`` the files so
    named. An image column does not apply: the picture is a file of its own. Raises Refused for
    what is no tar, and at the end when a text column that the user named is in no sample.
    """
    shapes = Shapes(Columns(columns.text))
    try:
        for sample in _samples(file, wrong):
            row = _row(sample, shapes.choose(tuple(sample.cells)), folder)
            if isinstance(row, Row):
                yield row
            elif sample.cells:
                wrong(row)
    except tarfile.TarError as error:
        raise Refused("not a tar archive, or a compressed one: unpack it first") from error
    shapes.finish()


def tar_names(file: BinaryIO) -> Iterator[tuple[str, ...]]:
    """Give the columns of each sample of a webdataset archive, as far as it can be read."""
    with suppress(tarfile.TarError):
        for sample in _samples(file, lambda _: None):
            yield tuple(sample.cells)


def _row(sample: _Sample, chosen: Chosen, folder: str) -> Row | str:
    chosen = Chosen(chosen.texts, (_PICTURE,), chosen.titles, chosen.keywords)
    cells = sample.cells | {_PICTURE: sample.image}
    return make_row(f"sample {sample.key}", cells, chosen, folder)


def _samples(file: BinaryIO, wrong: Told) -> Iterator[_Sample]:
    sample = _Sample()
    for member in members(file, wrong):
        if member.key != sample.key:
            yield sample
            sample = _Sample(member.key)
        _take(sample, member, file, wrong)
    yield sample


def _take(sample: _Sample, member: Member, file: BinaryIO, wrong: Told) -> None:
    """Put a member into its sample, if it is a picture or a text."""
    name = member.key + member.suffix
    if member.suffix in SUFFIXES:
        if sample.image is None:
            sample.image = _content(file, member)
        else:
            wrong(f"{name} is left out: sample {sample.key} has a picture already")
    elif member.suffix == ".json" or member.suffix in _TEXT_SUFFIXES:
        if member.size > MAX_LINE:
            wrong(f"{name} is left out: larger than {MAX_LINE >> 20} MiB")
        elif member.suffix == ".json":
            sample.cells.update(_object(_content(file, member), name, wrong))
        else:
            sample.cells.setdefault(member.suffix[1:], _decoded(_content(file, member)))


def _content(file: BinaryIO, member: Member) -> bytes:
    file.seek(member.offset)
    return file.read(member.size)


def _object(data: bytes, name: str, wrong: Told) -> dict[str, object]:
    try:
        cells = json.loads(data)
    except (ValueError, RecursionError):
        wrong(f"{name} is not JSON")
        return {}
    if isinstance(cells, dict):
        return cells
    wrong(f"{name} is not a JSON object")
    return {}


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")
