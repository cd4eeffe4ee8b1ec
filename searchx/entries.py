"""Items that are in no file: what stands in a collection under an external id.

A collection is a source that is no folder, an external id takes the place of a file in it, and
each view of it (a picture, a title) that of a place in the file. So all that is asked of files is
answered for them as well: filters, words, facets, what has come and gone.
"""

import os
import time
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import groupby
from typing import Any, Final, TypeAlias

import sqlalchemy as sa

from searchx.records import COLLECTION, Ids, Kind, Unchanging, Value

_CHUNK: Final = 500  # bound parameters in one statement
_FIRST: Final = ""  # the fragment of what is asked for by an external id alone
Attribute: TypeAlias = tuple[str, int, str, object]  # name, place in a list, form, value


@dataclass(frozen=True, slots=True)
class EntryView:
    """One content of an entry, with its vector where the catalog may not have it yet."""

    kind: Kind
    digest: str
    name: str = _FIRST  # of the view, such as "title"
    vector: bytes | None = None  # float16, unit length; None: the item was there when last seen
    text: str | None = None
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """What is added under one external id."""

    id: str
    views: tuple[EntryView, ...]
    meta: Mapping[str, Value] = field(default_factory=dict)


@dataclass(slots=True)
class Put:
    """What became of some entries."""

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    touched: set[int] = field(default_factory=set)  # items that got or lost a place


class ItemsGone(Exception):
    """Items whose vectors were there are not there any more: whoever writes has to embed them."""

    def __init__(self, digests: set[tuple[Kind, str]]) -> None:
        super().__init__()
        self.digests = digests


def source_of(collection: str) -> str:
    """Give the name of the source that a collection is."""
    return f"{COLLECTION}{collection}"


def put(connection: sa.Connection, folder: int, entries: Sequence[Entry]) -> Put:
    """Write entries, each in place of all that stood under its id. Raises ItemsGone.

    No id stands there twice.
    """
    cursor = connection.connection.cursor()
    done = Put()
    items = _items(cursor, entries)
    done.touched.update(_revived(cursor, entries, items))
    known = _files(cursor, folder, [one.id for one in entries])
    held = dict(_held(cursor, known.values()))
    told = _attributes(cursor, known.values())
    changed: list[tuple[Entry, list[_Place]]] = []
    for one in entries:
        places = [(items[view.kind, view.digest], view.name) for view in one.views]
        file = known.get(one.id)
        if file is None:
            done.added += 1
        elif held.get(file, []) == places and told.get(file, []) == as_rows(one.meta):
            done.unchanged += 1
            continue
        else:
            done.updated += 1
            done.touched.update(item for item, _ in held.get(file, ()))
        done.touched.update(item for item, _ in places)
        changed.append((one, places))
    _write(cursor, folder, known, changed)
    return done


def find(
    connection: sa.Connection, collection: str, ids: Sequence[str], kind: Kind | None = None
) -> dict[str, int]:
    """Give the item of each external id that is there: of its first view, or first of a kind."""
    cursor = connection.connection.cursor()
    folder = folder_of(connection, collection)
    if folder is None:
        return {}
    files = _files(cursor, folder, ids)
    of_kind = "" if kind is None else "JOIN item ON item.id = location.item_id AND kind = ? "
    statement = (
        "SELECT file_id, item_id, min(location.id) FROM location "
        f"{of_kind}WHERE file_id IN ({{}}) GROUP BY file_id"
    )
    first = {
        file: item
        for file, item, _ in _chosen(cursor, statement, list(files.values()), before=(kind,))
    }
    return {id: first[file] for id, file in files.items() if file in first}


def views_of(
    connection: sa.Connection, collection: str, ids: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Give the items of all views of external ids, in order and by the names of the views.

    What has no name of its own is called "image" or "text", which it is.
    """
    folder = folder_of(connection, collection)
    if folder is None:
        return {}
    cursor = connection.connection.cursor()
    files = {file: id for id, file in _files(cursor, folder, ids).items()}
    statement = (
        "SELECT file_id, coalesce(nullif(fragment, ''), kind), item_id FROM location "
        "JOIN item ON item.id = item_id WHERE file_id IN ({}) ORDER BY file_id, location.id"
    )
    found: dict[str, dict[str, int]] = {}
    for file, name, item in _chosen(cursor, statement, list(files)):
        found.setdefault(files[file], {})[name] = item
    return found


def page(
    connection: sa.Connection, collection: str, after: int, size: int, step: int = 1
) -> list[tuple[int, str]]:
    """Give the next external ids behind a number, each with its own; every `step`-th of them."""
    folder = folder_of(connection, collection)
    rows = connection.connection.cursor().execute(
        "SELECT id, name FROM file WHERE folder_id = ? AND id > ? AND id % ? = 0 "
        "ORDER BY id LIMIT ?",
        (folder, after, step, size),
    )
    return [(file, os.fsdecode(name)) for file, name in rows.fetchall()]


def count(connection: sa.Connection, collection: str) -> int:
    """Count the external ids of a collection."""
    folder = folder_of(connection, collection)
    counted = "SELECT count(*) FROM file WHERE folder_id = ?"
    return int(connection.connection.cursor().execute(counted, (folder,)).fetchone()[0])


def externals(connection: sa.Connection, ids: Ids) -> dict[int, tuple[str, str]]:
    """Give collection and external id of items, those added first; of those that have some."""
    statement = (
        "SELECT location.item_id, folder.path, file.name, min(location.id) FROM location "
        "JOIN file ON file.id = location.file_id JOIN folder ON folder.id = file.folder_id "
        "JOIN source ON source.id = folder.source_id "
        f"WHERE location.item_id IN ({{}}) AND {_is_collection()} GROUP BY location.item_id"
    )
    rows = _chosen(connection.connection.cursor(), statement, ids.tolist())
    return {
        item: (os.fsdecode(path).removeprefix(COLLECTION), os.fsdecode(name))
        for item, path, name, _ in rows
    }


def drop(connection: sa.Connection, collection: str, ids: Sequence[str]) -> tuple[int, set[int]]:
    """Remove external ids with all their views; gives how many there were, and their items."""
    folder = folder_of(connection, collection)
    if folder is None:
        return 0, set()
    cursor = connection.connection.cursor()
    files = list(_files(cursor, folder, ids).values())
    touched = {item for _, places in _held(cursor, files) for item, _ in places}
    cursor.executemany("DELETE FROM file WHERE id = ?", [(file,) for file in files])
    return len(files), touched


def drop_unheld(connection: sa.Connection, items: Collection[int]) -> None:
    """Remove those of some items that stand nowhere any more, with their vectors."""
    cursor = connection.connection.cursor()
    held = "SELECT 1 FROM location WHERE location.item_id = item.id"
    cursor.executemany(
        f"DELETE FROM item WHERE id = ? AND NOT EXISTS ({held})", [(one,) for one in items]
    )


def metas(connection: sa.Connection, files: Collection[int]) -> dict[int, Unchanging[Value]]:
    """Give what was added with external ids, by the id of their file."""
    found = _attributes(connection.connection.cursor(), files)
    return {file: _meta(rows) for file, rows in found.items()}


def folder_of(connection: sa.Connection, collection: str) -> int | None:
    """Give the folder that stands for a collection; None where nothing was added to it."""
    cursor = connection.connection.cursor()
    source = os.fsencode(source_of(collection))
    found = cursor.execute(
        "SELECT folder.id FROM folder JOIN source ON source.id = folder.source_id "
        "WHERE source.path = ? AND folder.path = ?",
        (source, source),
    ).fetchone()
    return None if found is None else int(found[0])


# what is told of an entry


def as_rows(meta: Mapping[str, Value]) -> list[Attribute]:
    """Give the rows that hold what is told of an entry, in the order of names and places."""
    return [row for name in sorted(meta) for row in _rows_of(name, meta[name])]


def _rows_of(name: str, value: Value) -> Iterator[Attribute]:
    match value:
        case bool():
            yield name, 0, "flag", int(value)
        case int() | float():
            yield name, 0, "number", value
        case datetime() if value.tzinfo is not None:
            yield name, 0, "instant", _moment(value.astimezone(UTC))
        case datetime():
            yield name, 0, "moment", _moment(value)
        case date():
            yield name, 0, "day", f"{value.isoformat()} 00:00:00"  # sorts among moments
        case tuple():
            for place, one in enumerate(value):
                yield name, place, "list", one
        case str():
            yield name, 0, "text", value


def _moment(value: datetime) -> str:
    return value.replace(tzinfo=None).isoformat(sep=" ")


def _meta(rows: Iterable[Attribute]) -> Unchanging[Value]:
    return Unchanging(
        (name, _value([(form, value) for _, _, form, value in of]))
        for name, of in groupby(rows, lambda row: row[0])
    )


def _value(rows: list[tuple[str, Any]]) -> Value:
    form, value = rows[0]
    match form:
        case "flag":
            return bool(value)
        case "list":
            return tuple(str(one) for _, one in rows)
        case "day":
            return date.fromisoformat(value[:10])
        case "moment":
            return datetime.fromisoformat(value)
        case "instant":
            return datetime.fromisoformat(value).replace(tzinfo=UTC)
    return value  # type: ignore[no-any-return]


# rows

_Place: TypeAlias = tuple[int, str]  # an item, and the name of its view


def _items(cursor: Any, entries: Sequence[Entry]) -> dict[tuple[Kind, str], int]:
    """Give the ids of the items of all views; those that are new are added with their vectors."""
    wanted = {(view.kind, view.digest): view for one in entries for view in one.views}
    found = _item_ids(cursor, wanted)
    new = {key: view for key, view in wanted.items() if key not in found}
    if gone := {key for key, view in new.items() if view.vector is None}:
        raise ItemsGone(gone)
    cursor.executemany(
        "INSERT INTO item (kind, digest, text, width, height) VALUES (?, ?, ?, ?, ?)",
        [
            (one.kind, bytes.fromhex(one.digest), one.text, one.width, one.height)
            for one in new.values()
        ],
    )
    added = _item_ids(cursor, new)
    cursor.executemany(
        "INSERT INTO vector (item_id, data, checksum) VALUES (?, ?, ?)",
        [(added[key], one.vector, zlib.crc32(one.vector or b"")) for key, one in new.items()],
    )
    return found | added


def _revived(
    cursor: Any, entries: Sequence[Entry], items: Mapping[tuple[Kind, str], int]
) -> Iterator[int]:
    """Give items their vectors that have none: the model that took over could not embed them."""
    for view in (view for one in entries for view in one.views if view.vector is not None):
        item = items[view.kind, view.digest]
        cursor.execute(
            "INSERT INTO vector (item_id, data, checksum) VALUES (?, ?, ?) "
            "ON CONFLICT (item_id) DO NOTHING",
            (item, view.vector, zlib.crc32(view.vector or b"")),
        )
        if cursor.rowcount:
            yield item


def _item_ids(cursor: Any, wanted: Collection[tuple[Kind, str]]) -> dict[tuple[Kind, str], int]:
    found: dict[tuple[Kind, str], int] = {}
    kinds: tuple[Kind, ...] = ("image", "text")
    for kind in kinds:
        digests = [bytes.fromhex(digest) for one, digest in wanted if one == kind]
        statement = "SELECT id, digest FROM item WHERE kind = ? AND digest IN ({})"
        for id, digest in _chosen(cursor, statement, digests, before=(kind,)):
            found[kind, digest.hex()] = id
    return found


def _files(cursor: Any, folder: int, ids: Sequence[str]) -> dict[str, int]:
    statement = "SELECT id, name FROM file WHERE folder_id = ? AND name IN ({})"
    names = [os.fsencode(one) for one in ids]
    return {
        os.fsdecode(name): file
        for file, name in _chosen(cursor, statement, names, before=(folder,))
    }


def _held(cursor: Any, files: Collection[int]) -> Iterator[tuple[int, list[_Place]]]:
    statement = (
        "SELECT file_id, item_id, fragment FROM location WHERE file_id IN ({}) ORDER BY file_id, id"
    )
    rows = _chosen(cursor, statement, sorted(files))
    for file, places in groupby(rows, lambda row: row[0]):
        yield file, [(item, fragment) for _, item, fragment in places]


def _attributes(cursor: Any, files: Collection[int]) -> dict[int, list[Attribute]]:
    statement = (
        "SELECT file_id, name, place, form, value FROM attribute "
        "JOIN attribute_name ON attribute_name.id = name_id WHERE file_id IN ({}) "
        "ORDER BY file_id, name, place"
    )
    rows = _chosen(cursor, statement, sorted(files))
    return {file: [tuple(row[1:]) for row in of] for file, of in groupby(rows, lambda row: row[0])}


def _write(
    cursor: Any,
    folder: int,
    known: Mapping[str, int],
    changed: Sequence[tuple[Entry, list[_Place]]],
) -> None:
    """Write what is new or not as it was: files, the places in them, and what is told of them."""
    now = time.time_ns()
    fresh = [(folder, os.fsencode(one.id), now) for one, _ in changed if one.id not in known]
    old = [(known[one.id],) for one, _ in changed if one.id in known]
    cursor.executemany("DELETE FROM location WHERE file_id = ?", old)
    cursor.executemany("DELETE FROM attribute WHERE file_id = ?", old)
    cursor.executemany("UPDATE file SET mtime_ns = ? WHERE id = ?", [(now, *one) for one in old])
    cursor.executemany(
        "INSERT INTO file (folder_id, name, size, mtime_ns) VALUES (?, ?, 0, ?)", fresh
    )
    files = _files(cursor, folder, [one.id for one, _ in changed])
    source = _source(cursor, folder)
    cursor.executemany(
        "INSERT INTO location (file_id, item_id, fragment, subject) VALUES (?, ?, ?, ?)",
        [
            (files[one.id], item, name, _subject(source, one))
            for one, places in changed
            for item, name in places
        ],
    )
    names = _names(cursor, {name for one, _ in changed for name in one.meta})
    cursor.executemany(
        "INSERT INTO attribute (file_id, name_id, place, form, value) VALUES (?, ?, ?, ?, ?)",
        [
            (files[one.id], names[name], *row)
            for one, _ in changed
            for name, *row in as_rows(one.meta)
        ],
    )


def _source(cursor: Any, folder: int) -> bytes:
    found = cursor.execute("SELECT path FROM folder WHERE id = ?", (folder,)).fetchone()
    return bytes(found[0])


def _subject(source: bytes, entry: Entry) -> bytes | None:
    """Link the views of an entry: its texts are the captions of its pictures."""
    return source + b"\0" + os.fsencode(entry.id) if len(entry.views) > 1 else None


def _names(cursor: Any, wanted: Collection[str]) -> dict[str, int]:
    add = "INSERT INTO attribute_name (name) VALUES (?) ON CONFLICT (name) DO NOTHING"
    cursor.executemany(add, [(name,) for name in sorted(wanted)])
    statement = "SELECT name, id FROM attribute_name WHERE name IN ({})"
    return dict(_chosen(cursor, statement, sorted(wanted)))


def _chosen(
    cursor: Any, statement: str, values: Sequence[Any], before: tuple[Any, ...] = ()
) -> Iterator[tuple[Any, ...]]:
    """Ask a statement about many values, some at a time; `{}` is where they stand in it."""
    bound = tuple(one for one in before if one is not None)
    for start in range(0, len(values), _CHUNK):
        some = values[start : start + _CHUNK]
        marks = ", ".join("?" for _ in some)
        yield from cursor.execute(statement.format(marks), (*bound, *some)).fetchall()


def _is_collection() -> str:
    return f"substr(source.path, 1, {len(COLLECTION)}) = CAST('{COLLECTION}' AS BLOB)"
