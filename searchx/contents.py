"""The bytes of a picture at a location: a whole file, a row of a parquet file, a sample of a tar.

The fragment of a location names the place inside a file: "row 7" counts the rows of a parquet file
from 1, "sample 000012" is the key of a webdataset sample. What the indexer and the server must
agree on stands here: which columns may hold pictures, and how members of an archive are named.
"""

import errno
import os
import re
import stat
import threading
from array import array
from collections import OrderedDict
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from searchx.archives import MAX_PICTURE, members
from searchx.errors import BadInput
from searchx.pictures.images import SUFFIXES
from searchx.records import Location

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet

IMAGE_COLUMNS: Final = (  # names of columns that hold or name a picture, likeliest first
    *("image", "img", "picture", "photo", "jpg", "jpeg", "png", "webp"),
    *("image_path", "image_file", "image_name", "img_path"),
    *("file_name", "filename", "file", "path"),
)
_BATCH_BYTES: Final = 1 << 23  # decoded at once from a parquet file, about
_BATCH_ROWS: Final = 256
_BUFFER: Final = 1 << 20  # read at once from a parquet file, which else reads whole row groups
_KEPT_ARCHIVES: Final = 8
_ROW: Final = re.compile(r"row ([1-9][0-9]{0,17})")
_BINARY: int = getattr(os, "O_BINARY", 0)  # Windows would translate line ends without it


def open_content(location: Location) -> bytes:
    """Give the bytes of the picture at a location.

    Where a row has several columns that may hold its picture, the likeliest one is given. Raises
    BadInput, in one line, when there is nothing at this place.
    """
    with closing(candidates(location)) as found:
        content = next(found, None)
    if content is None and location.external is not None:
        raise BadInput(f"{location.path} was added by a program and is in no file")
    if content is None:
        raise BadInput(f"{_named(location)} is not there any more; index its source again")
    return content


def candidates(location: Location) -> Generator[bytes]:
    """Give all contents that a location may mean, the likeliest first.

    Several, because a user may have named another column to the indexer, and because an archive
    may hold a name twice: whoever knows the digest can tell. Raises BadInput, in one line, for
    what cannot be read; gives nothing for a place that is not there.
    """
    if location.external is not None:  # an id may look like a path
        return
    with _explained(location), open_regular(location.path) as file:
        if not location.fragment:
            yield from _whole(file)
        elif row := _ROW.fullmatch(location.fragment):
            yield from _row(file, int(row.group(1)))
        elif location.fragment.startswith("sample "):
            yield from _sample(file, location)


def open_regular(path: str) -> BinaryIO:
    """Open a regular file to read it; never waits, as for a named pipe. Raises OSError.

    A device is not even opened, which may do something by itself.
    """
    if not stat.S_ISREG(Path(path).stat().st_mode):
        raise OSError(errno.EINVAL, "not a regular file", path)
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _BINARY)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", path)
    return os.fdopen(descriptor, "rb")


@contextmanager
def _explained(location: Location) -> Iterator[None]:
    """Turn whatever a damaged file leads to into one line."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        reason = said.splitlines()[0][:200]
        raise BadInput(f"{_named(location)} cannot be read ({reason}); index it again") from error


def _named(location: Location) -> str:
    return f"{location.path} {location.fragment}".rstrip()


def _whole(file: BinaryIO) -> Iterator[bytes]:
    size = os.fstat(file.fileno()).st_size
    if 0 < size <= MAX_PICTURE:
        yield file.read(size)


# parquet


@contextmanager
def parquet(file: BinaryIO) -> Iterator["pyarrow.parquet.ParquetFile"]:
    """Open a parquet file so that it is read in small pieces. Raises what pyarrow raises."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(file, buffer_size=_BUFFER, pre_buffer=False) as table:
        yield table


def batches(
    table: "pyarrow.parquet.ParquetFile", group: int, columns: Sequence[str]
) -> Generator["pa.RecordBatch"]:
    """Give the rows of one row group, so many at once that memory stays bounded.

    ``columns`` are paths as parquet writes them: "caption", or "image.bytes" for a part.
    """
    # Not what its columns say: pyarrow ends the process where that is damaged.
    about = table.metadata.row_group(group)
    each = about.total_byte_size // max(1, about.num_rows)
    rows = max(1, min(_BATCH_ROWS, _BATCH_BYTES // max(1, each)))
    # One thread: a file object of Python stands behind it.
    yield from table.iter_batches(rows, row_groups=[group], columns=columns, use_threads=False)


def is_bytes(kind: "pa.DataType") -> bool:
    """Tell whether a column of a parquet file holds bytes."""
    import pyarrow as pa

    known = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    return any(check(kind) for check in known)


def is_packed(kind: "pa.DataType") -> bool:
    """Tell whether a column holds pictures as Hugging Face `datasets` does: {bytes, path}."""
    import pyarrow as pa

    if not pa.types.is_struct(kind):
        return False
    index = kind.get_field_index("bytes")
    return index >= 0 and is_bytes(kind.field(index).type)


def plain_name(column: str) -> str:
    """Give the form in which names of columns are compared: "Image-Path" is "image_path"."""
    return re.sub(r"[\s-]+", "_", column.strip()).casefold()


def _row(file: BinaryIO, number: int) -> Iterator[bytes]:
    with parquet(file) as table:
        place = _row_group(table, number - 1)
        if place is None:
            return
        group, index = place
        for column in _picture_columns(table.schema_arrow):
            if content := _cell(table, group, index, column):
                yield content


def _row_group(table: "pyarrow.parquet.ParquetFile", index: int) -> tuple[int, int] | None:
    """Find a row of the file: its row group, and which row of that it is; both from 0."""
    about = table.metadata
    sizes = [about.row_group(group).num_rows for group in range(about.num_row_groups)]
    for group, end in enumerate(accumulate(sizes)):
        if index < end:
            return group, index - (end - sizes[group])
    return None


def _picture_columns(schema: "pa.Schema") -> list[str]:
    """Give the paths of the columns that may hold pictures: known names first."""
    order = {name: place for place, name in enumerate(IMAGE_COLUMNS)}
    found: list[tuple[int, str]] = []
    for column in schema:
        rank = order.get(plain_name(column.name), len(order))
        if is_packed(column.type):
            found.append((rank, f"{column.name}.bytes"))
        elif is_bytes(column.type):
            found.append((rank, column.name))
    return [path for _, path in sorted(found, key=lambda one: one[0])]


def _cell(
    table: "pyarrow.parquet.ParquetFile", group: int, index: int, column: str
) -> bytes | None:
    with closing(batches(table, group, [column])) as parts:
        for batch in parts:
            if index < batch.num_rows:
                value = batch.column(0)[index].as_py()
                content = value.get("bytes") if isinstance(value, dict) else value
                return content if content and len(content) <= MAX_PICTURE else None
            index -= batch.num_rows
    return None


# webdataset archives


@dataclass(slots=True)
class _Index:
    """Where the pictures of one archive are; 24 bytes for each."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    keys: "array[int]" = field(default_factory=lambda: array("q"))  # hashes
    offsets: "array[int]" = field(default_factory=lambda: array("q"))
    sizes: "array[int]" = field(default_factory=lambda: array("q"))
    is_made: bool = False

    def make(self, file: BinaryIO) -> None:
        """Read the headers, unless it was done; many threads may ask, one reads."""
        with self.lock:
            if self.is_made:
                return
            del self.keys[:], self.offsets[:], self.sizes[:]
            for member in members(file, lambda _: None):
                if member.suffix in SUFFIXES:
                    self.keys.append(hash(member.key))
                    self.offsets.append(member.offset)
                    self.sizes.append(member.size)
            self.is_made = True

    def places(self, key: str) -> Iterator[tuple[int, int]]:
        """Give offset and size of each picture that may be of this sample."""
        wanted = hash(key)
        start = 0
        for _ in range(self.keys.count(wanted)):
            start = self.keys.index(wanted, start) + 1
            yield self.offsets[start - 1], self.sizes[start - 1]


class _Archives:
    """The indexes of the archives of late. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, int, int], _Index] = OrderedDict()

    def index(self, path: str, file: BinaryIO) -> _Index:
        about = os.fstat(file.fileno())
        which = (path, about.st_mtime_ns, about.st_size)
        with self._lock:
            index = self._kept.setdefault(which, _Index())
            self._kept.move_to_end(which)
            if len(self._kept) > _KEPT_ARCHIVES:
                self._kept.popitem(last=False)
        index.make(file)
        return index


@cache
def _archives() -> _Archives:
    return _Archives()


def _sample(file: BinaryIO, location: Location) -> Iterator[bytes]:
    key = location.fragment.removeprefix("sample ")
    for offset, size in _archives().index(location.path, file).places(key):
        file.seek(offset)
        if content := file.read(size):
            yield content
