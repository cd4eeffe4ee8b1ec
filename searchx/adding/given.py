"""What a program gives to be added: read once, checked, and cut into blocks."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from searchx.adding.contents import (
    Content,
    content,
    is_nothing,
    is_vector,
    pictured,
    told,
)
from searchx.errors import BadInput
from searchx.records import Kind, Value

MOST_LETTERS: Final = 1000  # of an external id, and of the name of a column
LARGEST: Final = (1 << 63) - 1  # SQLite holds no larger integer
_NOT_OF_PYTHON: Final = (ValueError, OverflowError, KeyError, NotImplementedError)  # Arrow's too
_LOOKED_AT: Final = 1000  # contents at a time, for the first that is there

Meta: TypeAlias = Mapping[str, Value]
_Rows: TypeAlias = Callable[[int, int], list[Mapping[str, Any]]]  # those from one place to another


@dataclass(frozen=True, slots=True)
class Column:
    """The contents of one view, and how each is read; None where a row has none."""

    values: Any  # a sequence or an Arrow column
    read: Callable[[Any, str], Content]  # of a row and its id; raises BadInput
    pictures: bool | None = None  # whether they are; None: the first of them tells

    def part(self, start: int, stop: int) -> list[Any]:
        """Give some of them as Python has them."""
        return part(self.values, start, stop)

    @property
    def has_pictures(self) -> bool:
        """Tell whether they may be pictures; by the first of them where they may be either."""
        if self.pictures is not None:
            return self.pictures
        parts = (self.part(start, start + _LOOKED_AT) for start in self._starts())
        first = next((one for some in parts for one in some if not is_nothing(one)), "")
        return not isinstance(first, str) and not is_vector(first)

    def _starts(self) -> range:
        return range(0, len(self.values), _LOOKED_AT)


def part(values: Any, start: int, stop: int) -> list[Any]:
    """Give some values of a sequence or of an Arrow column, as Python has them."""
    some = values[start:stop]
    return _listed(some)


def _listed(values: Any) -> list[Any]:
    """Give values as Python has them; raises BadInput for what only Arrow has, or what is damaged.

    Such as dates after the year 9999, time zones of no place, and texts that are not UTF-8.
    """
    if not hasattr(values, "to_pylist"):
        return list(values)
    try:
        listed: list[Any] = values.to_pylist()
    except _NOT_OF_PYTHON as error:
        said = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise BadInput(f"a column holds what cannot be read ({said})") from error
    return listed


@dataclass(frozen=True, slots=True)
class Given:
    """Rows to add, column by column."""

    ids: list[str]
    kind: Kind  # of the vectors
    vectors: NDArray[Any] | None = None  # (n, dim), of any kind of numbers
    texts: Any = None  # what to show of the vectors
    views: Mapping[str, Column] = field(default_factory=dict)  # by name; the first has none
    metas: _Rows | None = None

    def meta(self, start: int, stop: int) -> list[Meta]:
        """Give what is told of some rows; raises BadInput for what cannot be stored."""
        if self.metas is None:
            return [{}] * (stop - start)
        rows = zip(self.ids[start:stop], self.metas(start, stop), strict=True)
        return [_meta(id, row) for id, row in rows]

    def unit(self, start: int, stop: int) -> tuple[NDArray[np.float16], list[str | None]]:
        """Give some vectors at unit length as they are stored, and what is wrong with each."""
        assert self.vectors is not None
        rows = self.vectors[start:stop].astype(np.float32)  # (b, dim)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            largest = np.abs(rows).max(axis=1, keepdims=True)
            scaled = rows / largest  # else the squares of very large or small numbers vanish
            rows = scaled / np.linalg.norm(scaled, axis=1, keepdims=True)
        wrong = [_wrong(float(one)) for one in largest[:, 0]]
        return rows.astype(np.float16), wrong


def ids_from(ids: Any) -> list[str]:
    """Read external ids: texts or whole numbers, of an Arrow column as well. Raises BadInput."""
    if isinstance(ids, str | bytes):
        raise BadInput("ids are several; give a list")
    return [_id(one, place) for place, one in enumerate(_listed(ids))]


def _id(id: object, place: int) -> str:
    if isinstance(id, int | np.integer) and not isinstance(id, bool):
        return str(int(id))
    if not isinstance(id, str):
        raise BadInput(f"id {place} is {type(id).__name__}; give a text or a whole number")
    if not id or "\0" in id or len(id) > MOST_LETTERS or not _is_text(id):
        raise BadInput(f"id {place} is {id[:40]!r}; it has 1 to {MOST_LETTERS} letters and no NUL")
    return str(id)


def given_from(
    ids: Any,
    vectors: Any,
    images: Any,
    texts: Any,
    views: Mapping[str, Any] | None,
    kind: Kind,
    metadata: Any,
    dim: int,
) -> Given:
    """Read what `Library.add` takes. Raises BadInput for what does not fit together."""
    if vectors is not None and images is not None:
        raise BadInput("give vectors or images, not both; texts may be beside either")
    listed = ids_from(ids)
    count = len(listed)
    named = {"images": images, "texts": texts, **{f"view {one}": of for one, of in _of(views)}}
    for name, of in named.items():
        if isinstance(of, str | bytes | Path):
            raise BadInput(f"{name} are several; give a list, with one for each id")
        if of is not None:
            _check_count(name, len(of), count)
    columns = {} if images is None else {"": Column(images, lambda one, _: pictured(one), True)}
    if texts is not None and vectors is None:
        columns["" if images is None else "text"] = Column(texts, lambda one, _: told(one), False)
    unnamed = _unnamed(vectors, images, texts, kind)
    for name, of in _of(views):
        is_taken = name in columns or (name == unnamed)
        if not isinstance(name, str) or not name or len(name) > MOST_LETTERS or is_taken:
            raise BadInput(f"view {name!r}: give it a name of its own")
        columns[name] = _view(name, of, kind, dim)
    matrix = None if vectors is None else matrix_from(vectors, dim)
    if matrix is not None:
        _check_count("vectors", len(matrix), count)
    if matrix is None and not columns:
        raise BadInput("there is nothing to add; give vectors, images, texts or views")
    return Given(
        ids=listed,
        kind=kind,
        vectors=matrix,
        texts=texts if vectors is not None else None,
        views=columns,
        metas=None if metadata is None else rows_from(metadata, count),
    )


def _view(name: str, of: Any, kind: Kind, dim: int) -> Column:
    """Read a view: texts, pictures, lists of pictures, or vectors; a matrix is checked as one."""
    if isinstance(of, np.ndarray) and of.ndim == 2:
        matrix_from(of, dim)
    return Column(of, lambda one, id: content(one, id, name, kind, dim))


def _unnamed(vectors: Any, images: Any, texts: Any, kind: Kind) -> str | None:
    """Give what the content without a name of its own is called: its kind."""
    if vectors is not None:
        return kind
    if images is not None:
        return "image"
    return None if texts is None else "text"


def _of(views: Mapping[str, Any] | None) -> Sequence[tuple[str, Any]]:
    return () if views is None else tuple(views.items())


def matrix_from(vectors: Any, dim: int) -> NDArray[Any]:
    """Read vectors (n, dim) of any kind of numbers, the same memory where it can be.

    From an array, a column of lists, or lists. Raises BadInput, also for another width.
    """
    if _is_arrow(vectors):
        vectors = _flat(vectors)
    try:
        rows = np.asarray(vectors)
    except ValueError as error:
        raise BadInput(f"vectors have different widths; give {dim} numbers in each") from error
    if not rows.size and rows.ndim < 2:
        rows = np.empty((0, dim), np.float32)
    if rows.ndim != 2 or rows.dtype.kind not in "fiu":
        raise BadInput(f"vectors are {rows.dtype} of shape {rows.shape}; give numbers, (n, {dim})")
    if rows.shape[1] != dim:
        raise BadInput(f"vectors have {rows.shape[1]} dimensions, the library has {dim}")
    return rows


def _is_arrow(vectors: Any) -> bool:
    return type(vectors).__module__.startswith("pyarrow")


def _flat(column: Any) -> NDArray[Any]:
    """Read a column of lists of numbers; of lists of fixed size without a copy."""
    import pyarrow

    if isinstance(column, pyarrow.ChunkedArray):
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if not hasattr(column.type, "value_type"):
        raise BadInput(f"vectors have the type {column.type}; give a fixed_size_list of numbers")
    flat = column.flatten()
    if column.null_count or flat.null_count:
        raise BadInput(f"{column.null_count or flat.null_count} vectors are null or hold nulls")
    values = flat.to_numpy(zero_copy_only=False)
    if not len(column):
        return np.empty((0, 0), np.float32)
    if len(values) % len(column):
        raise BadInput("vectors have different widths; give as many numbers in each")
    width = len(values) // len(column)
    if not pyarrow.types.is_fixed_size_list(column.type):
        widths = np.diff(column.offsets.to_numpy())
        if (widths != width).any():
            raise BadInput("vectors have different widths; give as many numbers in each")
    rows: NDArray[Any] = values.reshape(len(column), width)
    return rows


def _wrong(largest: float) -> str | None:
    """Say what is wrong with a vector by the largest of its numbers; NaN is larger than any."""
    if not math.isfinite(largest):
        return "its vector holds a number that is not finite"
    return None if largest > 0 else "its vector has no length"


def _check_count(name: str, count: int, wanted: int) -> None:
    if count != wanted:
        raise BadInput(f"{name} are {count:,} for {wanted:,} ids; give one for each")


# what is told of a row


def rows_from(metadata: Any, count: int) -> _Rows:
    """Read columns with values: an Arrow table, a mapping of columns, or a mapping for each row.

    Raises BadInput where they are not as many as the ids.
    """
    if hasattr(metadata, "to_pylist") and hasattr(metadata, "num_rows"):
        _check_count("rows of metadata", metadata.num_rows, count)
        return lambda start, stop: _listed(metadata.slice(start, stop - start))
    if isinstance(metadata, Mapping):
        columns = dict(metadata)
        for name, of in columns.items():
            if isinstance(of, str | bytes) or not hasattr(of, "__len__"):
                raise BadInput(f'metadata "{name}" is {type(of).__name__}; give a list of values')
            _check_count(f'values of "{name}"', len(of), count)
        return lambda start, stop: list(_rows(columns, start, stop))
    if isinstance(metadata, str | bytes) or not hasattr(metadata, "__len__"):
        raise BadInput(f"metadata is {type(metadata).__name__}; give a table, or a list of dicts")
    _check_count("rows of metadata", len(metadata), count)
    return lambda start, stop: list(metadata[start:stop])


def _rows(columns: Mapping[str, Any], start: int, stop: int) -> Iterator[Mapping[str, Any]]:
    some = {name: part(of, start, stop) for name, of in columns.items()}
    for place in range(stop - start):
        yield {name: of[place] for name, of in some.items()}


def _meta(id: str, row: object) -> Meta:
    if row is None:
        return {}
    if not isinstance(row, Mapping):
        raise BadInput(f"metadata of {id} is {type(row).__name__}; give a dict")
    found = ((_name(name, id), _value(one, str(name), id)) for name, one in row.items())
    return {name: value for name, value in found if value is not None}


def _name(name: object, id: str) -> str:
    is_long = len(str(name)) > MOST_LETTERS
    if not isinstance(name, str) or not name.strip() or is_long or not _is_text(name):
        raise BadInput(f"metadata of {id} has the column {str(name)[:40]!r}; give it a name")
    return name


def _value(value: Any, name: str, id: str) -> Value | None:
    """Give a value as it is stored; None where it says nothing."""
    if isinstance(value, np.generic):
        value = value.item() if not isinstance(value, np.datetime64) else _moment(value)
    if isinstance(value, np.ndarray):
        value = value.tolist()
    match value:
        case None | "" | []:
            return None
        case bool() | date():  # a datetime is a date
            return value
        case int() if abs(value) <= LARGEST:
            return value
        case float():
            return value if math.isfinite(value) else None  # JSON has neither NaN nor infinity
        case str():
            return _text(value)
        case list() | tuple() | set() | frozenset():
            listed = list(value)
            if all(isinstance(one, str) for one in listed):
                listed = listed if isinstance(value, list | tuple) else sorted(listed)
                return tuple(_text(one) for one in listed) or None
    raise BadInput(
        f'metadata "{name}" of {id} is {type(value).__name__}; give a number, a text, a boolean, '
        "a date, or a list of texts"
    )


def _is_text(text: str) -> bool:
    """Tell whether it can be written down; half a character cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _moment(value: np.datetime64) -> datetime | date | None:
    if np.isnat(value):
        return None
    found = value.astype("datetime64[us]").item()
    return found if isinstance(found, date) else None
