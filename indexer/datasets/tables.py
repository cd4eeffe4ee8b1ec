"""Corpora that are text files with a row a line: ``.jsonl``, ``.csv`` and ``.tsv``."""

import codecs
import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import BinaryIO, Final, Literal, TypeAlias

from indexer.datasets.rows import (
    MAX_LINE,
    TEXT_COLUMNS,
    Chosen,
    Columns,
    Row,
    Shapes,
    choose,
    listed,
    make_row,
    missing,
    no_such,
    not_known,
)
from indexer.prose.charsets import legacy
from indexer.refusals import Refused
from searchx.contents import IMAGE_COLUMNS, plain_name

Told: TypeAlias = Callable[[str], None]

_SAMPLE: Final = 1 << 16  # bytes that are looked at to find encoding and dialect
_SAMPLE_LINES: Final = 100
_DELIMITERS: Final = {",": ",;\t|", "\t": "\t,;|"}  # in this order where a header leaves it open
_NO_DELIMITER: Final = "\x1f"
_KNOWN: Final = frozenset((*TEXT_COLUMNS, *IMAGE_COLUMNS))
_MARKS: Final = (  # the longer one first: UTF-32 begins like UTF-16
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


# one JSON object a line


def jsonl_rows(file: BinaryIO, folder: str, columns: Columns, wrong: Told) -> Iterator[Row]:
    """Give the rows of a file of JSON objects; rows may have columns of their own.

    Raises Refused at the end when a column that the user named is in no row.
    """
    shapes = Shapes(columns)
    for number, line in enumerate(_lines(file, "\n"), start=1):
        cells = _object(line, f"line {number}", wrong)
        if cells is None:
            continue
        chosen = shapes.choose(tuple(cells))
        row = make_row(f"line {number}", cells, chosen, folder)
        if isinstance(row, Row):
            yield row
        elif chosen.texts or chosen.images:
            wrong(row)
        else:
            wrong(f"line {number} has no column that is known; it has: {listed(tuple(cells))}")
    shapes.finish()


def jsonl_names(file: BinaryIO) -> Iterator[tuple[str, ...]]:
    """Give the columns of each row of a file of JSON objects."""
    for line in _lines(file, "\n"):
        cells = _object(line, "", lambda _: None)
        if cells is not None:
            yield tuple(cells)


def _object(line: str | None, where: str, wrong: Told) -> dict[str, object] | None:
    if line is None:
        wrong(f"{where} is longer than {MAX_LINE >> 20} Mi characters")
        return None
    if not line.strip():
        return None
    try:
        cells = json.loads(line)
    except (ValueError, RecursionError):
        wrong(f"{where} is not JSON")
        return None
    if not isinstance(cells, dict):
        wrong(f"{where} is not a JSON object")
        return None
    return cells


# tables with a header


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a table is written."""

    delimiter: str
    quoting: Literal[0, 3]  # csv.QUOTE_MINIMAL or csv.QUOTE_NONE


def csv_rows(file: BinaryIO, folder: str, columns: Columns, wrong: Told) -> Iterator[Row]:
    """Give the rows below the header; the delimiter is the one that the header is written with.

    Raises Refused when the header has none of the columns that are known or that the user named.
    """
    return _table(file, folder, columns, wrong, ",")


def tsv_rows(file: BinaryIO, folder: str, columns: Columns, wrong: Told) -> Iterator[Row]:
    """Like ``csv_rows``; quotes have a meaning only where the first lines cannot do without."""
    return _table(file, folder, columns, wrong, "\t")


def _table(file: BinaryIO, folder: str, columns: Columns, wrong: Told, usual: str) -> Iterator[Row]:
    lines = _lines(file, "")
    first = _first(lines)
    sample = [line for line in first if line is not None]
    if not sample:
        raise Refused("there is no row in it")
    feed = _Feed(chain(first, lines), wrong)
    records = _records(feed, _dialect(sample, columns, usual), wrong)
    header = [name.strip() for name in next(records, [])]
    if lacking := missing(header, columns):
        raise no_such(header, lacking)
    chosen = choose(header, header, columns)
    if not (chosen.texts or chosen.images):
        raise not_known(header)
    for number, record in enumerate(records, start=1):
        row = _checked(f"row {number}", record, header, chosen, folder)
        if isinstance(row, Row):
            yield row
        elif row:
            wrong(row)


def _checked(
    where: str, record: list[str], header: list[str], chosen: Chosen, folder: str
) -> Row | str:
    """Give the row, or why it is left out; the empty text where that was told already."""
    if not record:
        return ""
    if any(cell.strip() for cell in record[len(header) :]):
        return f"{where} has {len(record)} fields where the header has {len(header)}"
    cells = dict(zip(header, record, strict=False))
    return make_row(where, cells, chosen, folder)


def _first(lines: Iterator[str | None]) -> list[str | None]:
    """Take the lines that the dialect is told by, from the header on."""
    taken: list[str | None] = []
    for line in islice(lines, _SAMPLE_LINES):
        if taken or line is None or line.strip():
            taken.append(line)
        if sum(map(len, filter(None, taken))) > _SAMPLE:
            break
    return taken


class _Feed:
    """Lines for the csv reader, which knows when the reader wanted more than there are."""

    def __init__(self, lines: Iterator[str | None], wrong: Told) -> None:
        self._lines, self._wrong = lines, wrong
        self.is_over = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        for line in self._lines:
            if line is not None:
                return line
            self._wrong(f"a line is longer than {MAX_LINE >> 20} Mi characters")
        self.is_over = True
        raise StopIteration


def _records(feed: _Feed, dialect: Dialect, wrong: Told) -> Iterator[list[str]]:
    """Give header and rows; an empty list for a row that was told to be wrong."""
    reader = _reader(feed, dialect)
    number = -1  # the header comes before the first row
    while True:
        try:
            record = next(reader, None)
        except csv.Error as error:
            number += 1
            wrong(f"row {number} cannot be read ({error})")
            yield []
            continue
        if record is None:
            return
        if not record:  # a blank line is no row
            continue
        number += 1
        if feed.is_over and dialect.quoting == csv.QUOTE_MINIMAL:
            wrong(f"row {number} has a quote that is not closed; the rest is left out")
            return
        yield record


def _reader(lines: Iterator[str], dialect: Dialect) -> Iterator[list[str]]:
    # The limit is one of the process; it is only ever raised, so that long texts are read.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE))
    return csv.reader(lines, delimiter=dialect.delimiter, quoting=dialect.quoting)


def _dialect(sample: Sequence[str], columns: Columns, usual: str) -> Dialect:
    """Tell the dialect by the header: most known names, then most fields, then the usual one."""
    given = (*columns.text, columns.image) if columns.image else columns.text
    known = _KNOWN.union(map(plain_name, given))

    def fitness(delimiter: str) -> tuple[int, int]:
        names = next(_reader(iter(sample), Dialect(delimiter, csv.QUOTE_MINIMAL)), [])
        return sum(plain_name(name) in known for name in names), len(names)

    delimiter = max(_DELIMITERS[usual], key=fitness)
    if fitness(delimiter)[1] < 2:  # one column: its lines are not cut
        delimiter = _NO_DELIMITER
    return Dialect(delimiter, _quoting(sample, delimiter))


def _quoting(sample: Sequence[str], delimiter: str) -> Literal[0, 3]:
    """Tell whether quotes enclose fields: in a table with tabs they are mostly marks of speech."""
    if delimiter != "\t" or '"' in sample[0] or any('""' in line for line in sample):
        return csv.QUOTE_MINIMAL
    plain = Dialect(delimiter, csv.QUOTE_NONE)
    widths = {len(record) for record in _reader(iter(sample), plain) if record}
    return csv.QUOTE_NONE if len(widths) == 1 else csv.QUOTE_MINIMAL


# lines of text


def _lines(file: BinaryIO, newline: str) -> Iterator[str | None]:
    r"""Give the lines of a text file with their ends; None for one that is too long.

    ``newline`` is "\n", or "" for every kind of line end. Bytes that do not belong to the encoding
    are read as Windows-1252 in a file of UTF-8, else shown as a replacement character.
    """
    encoding = _encoding(file.read(_SAMPLE))
    file.seek(0)
    errors = "surrogateescape" if encoding.startswith("utf-8") else "replace"
    text = io.TextIOWrapper(file, encoding, errors, newline)
    try:
        while line := text.readline(MAX_LINE):
            if len(line) < MAX_LINE or line.endswith("\n"):
                yield line if line.isascii() else _mended(line)
                continue
            while len(line) == MAX_LINE and not line.endswith("\n"):
                line = text.readline(MAX_LINE)
            yield None
    finally:
        if not file.closed:
            text.detach()  # the file belongs to the caller


def _mended(line: str) -> str:
    if not re.search("[\udc80-\udcff]", line):
        return line
    return line.encode("utf-8", "surrogateescape").decode("cp1252", "replace")


def _encoding(sample: bytes) -> str:
    for mark, name in _MARKS:
        if sample.startswith(mark):
            return name
    if len(re.findall(rb"[\x00-\x08\x0e-\x1a]", sample)) > len(sample) / 200:
        raise Refused("not a text but binary data")
    lines = [line for line in sample.splitlines() if not line.isascii()]
    if len(lines) > 1 and len(sample) == _SAMPLE:
        lines.pop()  # may be cut inside a letter
    if sum(map(_is_utf8, lines)) >= len(lines) / 10:  # else not by chance; see _mended
        return "utf-8"
    return legacy(sample)


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
