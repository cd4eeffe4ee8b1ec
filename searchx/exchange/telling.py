"""What is told of items, as columns of a table."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from searchx.records import Item

if TYPE_CHECKING:
    import pyarrow


def known_types() -> dict[str, "pyarrow.DataType"]:
    """Give the columns that every export has, and the type of each."""
    import pyarrow as pa

    return {
        "id": pa.string(),  # what a program added it by, else the number of the item
        "item": pa.int64(),  # the number of the item in this library
        "kind": pa.string(),
        "path": pa.string(),
        "text": pa.string(),  # the passage; of a picture the first caption
        "captions": pa.list_(pa.string()),
        "width": pa.int64(),
        "height": pa.int64(),
        "taken": pa.timestamp("us"),  # the local time of the place
        "keywords": pa.list_(pa.string()),
    }


def added_types(
    items: Iterable[Item], known: Mapping[str, "pyarrow.DataType"]
) -> dict[str, "pyarrow.DataType"]:
    """Give the columns that programs have added to items, and the type that all values have."""
    forms: dict[str, set[type]] = {}
    for item in items:
        for name, value in item.meta.items():
            if name not in known and name != "vector":
                forms.setdefault(name, set()).add(type(value))
    return {name: _type_of(of) for name, of in sorted(forms.items())}


def columns_of(
    items: Sequence[Item], types: Mapping[str, "pyarrow.DataType"]
) -> dict[str, "pyarrow.Array"]:
    """Give what is told of items as columns of these types."""
    import pyarrow as pa

    rows = [told_of(one) for one in items]
    columns = {}
    for name, kind in types.items():
        values = [row.get(name) for row in rows]
        if kind == pa.string():
            values = [
                one if one is None or isinstance(one, str) else _spelled(one) for one in values
            ]
        columns[name] = pa.array(values, kind)
    return columns


def told_of(item: Item) -> dict[str, Any]:
    """Give what is known of an item, by the name of the column; what is not known is left out."""
    meta = item.metadata
    told: dict[str, Any] = {
        "id": name_of(item),
        "item": item.id,
        "kind": item.kind,
        "path": _readable(item.path) if item.external is None else None,
        "text": item.text or next(iter(item.captions), None),
        "captions": list(item.captions) or None,
        "width": item.width,
        "height": item.height,
        "taken": meta and meta.taken and meta.taken.replace(tzinfo=None),
        "keywords": meta and (list(meta.keywords) or None),
    }
    told = {name: value for name, value in told.items() if value is not None}
    types = {"width": int, "height": int, "path": str, "text": str, "taken": datetime}
    for name, value in item.meta.items():
        if name in told or (name in types and not isinstance(value, types[name])):
            continue
        if name in ("captions", "keywords") and not isinstance(value, tuple):
            continue
        told[name] = list(value) if isinstance(value, tuple) else value
    return told


def by_each_id(item: Item) -> list[Item]:
    """Give an item once for each id that a program added it by, as it was added by that one.

    The same content may be added by several ids, each with columns of its own; what is in files
    only is given as it is.
    """
    added = {one.external: one for one in reversed(item.locations) if one.external is not None}
    if len(added) < 2:
        return [item]
    files = tuple(one for one in item.locations if one.external is None)
    return [replace(item, locations=(one, *files)) for one in reversed(added.values())]


def name_of(item: Item) -> str:
    """Give the id that an item goes out by: what a program added it by, else its number."""
    return str(item.id) if item.external is None else item.external


def _type_of(forms: set[type]) -> "pyarrow.DataType":
    import pyarrow as pa

    one_of = {
        bool: pa.bool_(),
        int: pa.int64(),
        float: pa.float64(),
        str: pa.string(),
        date: pa.date32(),
        datetime: pa.timestamp("us"),
        tuple: pa.list_(pa.string()),
    }
    if forms == {int, float}:
        return pa.float64()
    return one_of[next(iter(forms))] if len(forms) == 1 else pa.string()


def _spelled(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    return value.isoformat() if isinstance(value, date) else str(value)


def _readable(path: str) -> str:
    """Give a path as text: undecodable bytes become marks."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
