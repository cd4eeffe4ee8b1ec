"""NumPy files: vectors in `NAME.npy`, their ids in `NAME.ids.npy` or `NAME.ids.txt`."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.lib import format as layout
from numpy.typing import NDArray

from searchx.arrow import vectors_to_arrow
from searchx.contents import open_regular
from searchx.errors import BadInput
from searchx.exchange.offers import NO_IDS, Offer, Wanted, batch_of, check_dim, numbered, rows_in
from searchx.exchange.outgoing import Outgoing, Written
from searchx.exchange.swapping import new_files

_LONGEST_LINE: Final = 4096
_LONGEST_HEADER: Final = 1 << 16
_DAMAGED: Final = (  # what NumPy raises where a header is none, which it reads as Python
    *(ValueError, OverflowError, MemoryError, RecursionError),
    *(SyntaxError, TypeError, TokenError),
)


@dataclass(frozen=True, slots=True)
class ArrayFile:
    """An array in a file, read some rows at a time; never what Python would have to unpickle."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int  # bytes, where the rows begin

    @property
    def row_bytes(self) -> int:
        return int(self.dtype.itemsize * np.prod(self.shape[1:], dtype=object))

    def blocks(self, size: int, start: int = 0, stop: int | None = None) -> Iterator[NDArray[Any]]:
        """Give the rows from `start` to `stop` in blocks of a size; raises BadInput."""
        end = self.shape[0] if stop is None else min(stop, self.shape[0])
        with explained(self.path), open_regular(str(self.path)) as file:
            for begin in range(start, end, size):
                rows = min(size, end - begin)
                file.seek(self.offset + begin * self.row_bytes)
                data = file.read(rows * self.row_bytes)
                if len(data) < rows * self.row_bytes:
                    raise BadInput(f"{self.path} ends early; it is not whole")
                yield np.frombuffer(data, self.dtype).reshape(rows, *self.shape[1:])


def open_array(path: Path) -> ArrayFile:
    """Read what an array file says of itself, and check that it is whole. Raises BadInput."""
    with explained(path), open_regular(str(path)) as file:
        shape, is_fortran, dtype = _header(file)
        if dtype.hasobject or dtype.names:
            raise BadInput(f"{path} holds {dtype}; only plain numbers and texts are read")
        if is_fortran and len(shape) > 1:
            raise BadInput(f"{path} lies column by column; save it with numpy.ascontiguousarray")
        found = ArrayFile(path, shape, dtype, file.tell())
        if len(shape) not in (1, 2) or min(shape) < 0:
            raise BadInput(f"{path} has the shape {shape}; give (n, dim)")
        needed = found.offset + found.row_bytes * shape[0]
        there = Path(path).stat().st_size
        if there < needed:
            raise BadInput(f"{path} has {there:,} bytes and should have {needed:,}; it ends early")
    return found


def open_vectors(path: Path) -> ArrayFile:
    """Open an array of vectors (n, dim); raises BadInput for another one."""
    found = open_array(path)
    if len(found.shape) != 2 or found.dtype.kind not in "fiu":
        raise BadInput(f"{path} is {found.dtype} of shape {found.shape}; give numbers, (n, dim)")
    check_dim(found.shape[1], path)
    return found


def read(path: Path, wanted: Wanted) -> Offer:
    """Offer the vectors of an array file, with the ids beside it or the numbers of its rows."""
    found = open_vectors(path)
    count, dim = found.shape
    known = ids_beside(path, count)
    size = rows_in(dim)

    def batches() -> Iterator[Any]:
        ids = None if known is None else ids_in(known, size)
        for start, rows in enumerate(found.blocks(size)):
            begin = start * size
            here = numbered(begin, begin + len(rows)) if ids is None else next(ids)
            yield batch_of(here, rows)

    notes = () if known else (NO_IDS,)
    return Offer("npy", dim, batches(), count, notes=notes)


def array_in(data: bytes, name: str) -> NDArray[Any]:
    """Read an array from the bytes of a whole file. Raises BadInput."""
    with explained(Path(name)):
        file = io.BytesIO(data)
        shape, is_fortran, dtype = _header(file)
        if dtype.hasobject or dtype.names or (is_fortran and len(shape) > 1) or not shape:
            raise BadInput(f"{name} holds {dtype} of shape {shape}; give plain numbers")
        left = data[file.tell() :]
        if min(shape) < 0 or int(np.prod(shape, dtype=object)) * dtype.itemsize != len(left):
            raise BadInput(f"{name} has the shape {shape} and {len(left):,} bytes of it")
        return np.frombuffer(left, dtype).reshape(shape)


def ids_beside(path: Path, count: int) -> Path | None:
    """Find the ids of rows; None where there are none. Raises BadInput for another number."""
    for name in (f"{path.stem}.ids.npy", f"{path.stem}.ids.txt"):
        place = path.with_name(name)
        if not place.is_file():
            continue
        there = open_array(place).shape[0] if place.suffix == ".npy" else _lines(place)
        if there != count:
            raise BadInput(f"{place} has {there:,} ids, {path.name} has {count:,} vectors")
        return place
    return None


def ids_in(place: Path, size: int) -> Iterator[Any]:
    """Give ids from a file in blocks of a size."""
    if place.suffix == ".npy":
        found = open_array(place)
        if len(found.shape) != 1 or found.dtype.kind not in "iuU":
            raise BadInput(f"{place} is {found.dtype} of shape {found.shape}; give ids, (n,)")
        for rows in found.blocks(size):
            yield rows.tolist()
        return
    with explained(place), place.open(encoding="utf-8") as lines:
        block: list[str] = []
        while line := lines.readline(_LONGEST_LINE):
            block.append(line.rstrip("\n"))
            if len(block) == size:
                yield block
                block = []
        if block:
            yield block


def write(outgoing: Outgoing, to: Path) -> Written:
    """Write vectors and ids; the vectors as float32 unit rows."""
    beside = to.with_name(f"{to.stem}.ids.npy")
    with new_files(beside, to) as (ids_part, part):
        ids: list[str] = []
        with ArrayWriter(part, outgoing.space.dim) as array:
            for rows in outgoing.rows():
                array.add(vectors_to_arrow(rows.vectors))
                ids += rows.names
        with ids_part.open("wb") as file:
            np.save(file, as_array(ids), allow_pickle=False)
    return Written("npy", len(ids), (to, beside))


class ArrayWriter:
    """Writes rows (n, dim) of float32 to an array file without knowing how many they will be."""

    def __init__(self, path: Path, dim: int) -> None:
        self._file = path.open("wb")
        self._dim = dim
        self.count = 0
        self._header()

    def __enter__(self) -> "ArrayWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.seek(0)
        self._header()  # as long as before: NumPy leaves room for the number of rows to grow
        self._file.close()

    def add(self, vectors: Any) -> None:
        """Add a column of lists of numbers."""
        rows = vectors.flatten().to_numpy(zero_copy_only=False)
        self._file.write(np.ascontiguousarray(rows, np.float32).tobytes())
        self.count += len(vectors)

    def _header(self) -> None:
        about = {"descr": "<f4", "fortran_order": False, "shape": (self.count, self._dim)}
        layout.write_array_header_1_0(self._file, about)


def as_array(ids: list[str]) -> NDArray[Any]:
    """Give ids as numbers where they all are ones, else as texts."""
    if all(one.isascii() and one.isdigit() and str(int(one)) == one for one in ids):
        try:
            return np.array([int(one) for one in ids], np.int64)
        except OverflowError:
            pass
    return np.array(ids, np.str_)


def _header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = layout.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise BadInput(f"it has the version {version} of NumPy's format; 1.0 and 2.0 are read")
    read_header = layout.read_array_header_1_0 if version[0] == 1 else layout.read_array_header_2_0
    return read_header(file, max_header_size=_LONGEST_HEADER)


def _lines(place: Path) -> int:
    count = 0
    with explained(place), place.open(encoding="utf-8") as lines:
        while line := lines.readline(_LONGEST_LINE):
            if len(line) == _LONGEST_LINE:
                raise BadInput(f"line {count + 1} of {place} is longer than {_LONGEST_LINE}")
            count += 1
    return count


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what a file that cannot be read leads to into one line."""
    try:
        yield
    except (OSError, *_DAMAGED) as error:
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise BadInput(f"{path} cannot be read ({said.splitlines()[0][:200]})") from error
