"""Which column of a table is what: ids, vectors, the text of a row, and what is told besides."""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from searchx.adding.given import LARGEST
from searchx.errors import BadInput
from searchx.exchange.offers import Wanted, is_text

if TYPE_CHECKING:
    import pyarrow

ID_COLUMNS: Final = ("id", "item_id", "key", "image_path")  # likeliest first
VECTOR_COLUMNS: Final = ("vector", "embedding", "embeddings", "image_embedding", "emb")
TEXT_COLUMNS: Final = ("text", "caption", "title")
OURS: Final = ("item", "kind")  # of the library that an export was made from
_ROLES: Final = ("id", "vector", "image", "text")  # parts of a row, never told of it
_RENAMED: Final = {"image": "image_path"}  # what other tools call the place of a picture
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Columns:
    """The names of columns, by what they are."""

    id: str | None
    vector: str | None
    text: str | None
    told: tuple[str, ...]  # what else is told of rows
    left: tuple[str, ...]  # what no item can have: vectors of other models, pictures, structures

    @property
    def notes(self) -> tuple[str, ...]:
        """Say what is left out, in a line; nothing where all is taken."""
        if not self.left:
            return ()
        more = f" and {len(self.left) - _SHOWN} more" if len(self.left) > _SHOWN else ""
        shown = ", ".join(one or '""' for one in self.left[:_SHOWN])
        return (f"left out are the columns {shown}{more}",)


def columns_in(schema: "pyarrow.Schema", wanted: Wanted, has_vectors: bool = True) -> Columns:
    """Tell columns apart, by the names that are asked for or by usual ones. Raises BadInput."""
    _check_names(schema)
    id = _pick(schema, wanted.id, ID_COLUMNS, "ids")
    vector = None
    if has_vectors:
        vector = _pick(schema, wanted.vector, VECTOR_COLUMNS, "vectors") or _only_vectors(schema)
    texts = [one for one in TEXT_COLUMNS if one in schema.names and is_text(schema.field(one).type)]
    text = texts[0] if texts else None
    others = [one for one in schema.names if one not in (id, vector, text, *OURS)]
    named = [one for one in others if _has_name(schema, one)]
    told = tuple(one for one in named if _can_be_told(schema.field(one).type))
    left = tuple(one for one in others if one not in told)
    return Columns(id, vector, text, told, left)


def told_in(batch: "pyarrow.RecordBatch", columns: Columns) -> dict[str, "pyarrow.Array"]:
    """Give the text of the rows of a batch and what is told of them, by name."""
    told = {} if columns.text is None else {"text": batch.column(columns.text)}
    return told | {_RENAMED.get(name, name): _plain(batch.column(name)) for name in columns.told}


def width(kind: "pyarrow.DataType") -> int | None:
    """Give the width of a column of vectors; None where it is another one, or not fixed."""
    import pyarrow

    return int(kind.list_size) if pyarrow.types.is_fixed_size_list(kind) else None


def is_vectors(kind: "pyarrow.DataType") -> bool:
    """Tell whether a column holds lists of numbers."""
    import pyarrow

    types = pyarrow.types
    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return bool(
        is_list and (types.is_floating(kind.value_type) or types.is_integer(kind.value_type))
    )


def _pick(
    schema: "pyarrow.Schema", asked: str | None, known: tuple[str, ...], what: str
) -> str | None:
    if asked is None:
        return next((name for name in known if name in schema.names), None)
    if asked not in schema.names:
        shown = ", ".join(schema.names[:20]) or "none"
        raise BadInput(f'there is no column "{asked}" to take {what} from; there are {shown}')
    return asked


def _only_vectors(schema: "pyarrow.Schema") -> str | None:
    found = [one.name for one in schema if is_vectors(one.type)]
    if len(found) > 1:
        raise BadInput(f"several columns hold vectors ({', '.join(found[:20])}); name one of them")
    return found[0] if found else None


def _check_names(schema: "pyarrow.Schema") -> None:
    name, count = max(Counter(schema.names).items(), key=lambda one: one[1], default=("", 0))
    if count > 1:
        raise BadInput(f'{count} columns are called "{name}"; give each a name of its own')


def _has_name(schema: "pyarrow.Schema", name: str) -> bool:
    """Tell whether a column may be told by its name, or by the one that it gets instead."""
    if name in _RENAMED and is_text(schema.field(name).type):
        return _RENAMED[name] not in schema.names
    return bool(name.strip()) and name not in _ROLES


def _can_be_told(kind: "pyarrow.DataType") -> bool:
    import pyarrow

    types = pyarrow.types
    if types.is_dictionary(kind):
        return _can_be_told(kind.value_type)
    if types.is_list(kind) or types.is_large_list(kind):
        return is_text(kind.value_type)
    is_number = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
    is_moment = types.is_date(kind) or types.is_timestamp(kind)
    return bool(is_number or is_moment or types.is_boolean(kind) or is_text(kind))


def _plain(column: "pyarrow.Array") -> "pyarrow.Array":
    """Give values that Python has a type for; without whole numbers larger than a library holds."""
    import pyarrow
    import pyarrow.compute as compute

    types = pyarrow.types
    kind = column.type
    if types.is_dictionary(kind):
        return _plain(column.dictionary_decode())
    if types.is_decimal(kind) or types.is_float16(kind):
        return column.cast(pyarrow.float64())
    if types.is_uint64(kind):
        is_small = compute.less_equal(column, pyarrow.scalar(LARGEST, kind))
        return compute.if_else(is_small, column, pyarrow.scalar(None, kind))
    if types.is_timestamp(kind) and kind.unit == "ns":
        return column.cast(pyarrow.timestamp("us", kind.tz), safe=False)
    return column
