"""Read items out of the catalog with all that belongs to them: places, metadata, captions."""

import json
import os
import threading
from collections import namedtuple
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from functools import cache
from itertools import groupby
from typing import Any, Final

import sqlalchemy as sa

from searchx.entries import metas
from searchx.records import COLLECTION, Item, Location, Metadata, Unchanging, Value

ITEMS_KEPT: Final = 4_096  # some 2 KB each
CAPTIONS_SHOWN: Final = 20  # of one picture
_COLLECTION: Final = COLLECTION.encode()
_LISTED: Final = "(SELECT value FROM json_each(?))"


def fetch(connection: sa.Connection, ids: Sequence[int]) -> Iterator[Item]:
    """Give the items of these ids that have a location, in the order of their ids."""
    statement = (
        "SELECT item.id, item.kind, item.digest, item.text, item.width, item.height, "
        "source.path AS source, folder.path AS folder, file.name, location.fragment, "
        "location.page, location.line, location.start, location.stop, file.size, file.mtime_ns, "
        "file.id AS file "
        "FROM item JOIN location ON location.item_id = item.id "
        "JOIN file ON file.id = location.file_id JOIN folder ON folder.id = file.folder_id "
        "JOIN source ON source.id = folder.source_id "
        "WHERE item.id IN :ids ORDER BY item.id, location.id"
    )
    known = _metadata(connection, ids)
    tags: dict[int, list[str]] = {}
    given = "SELECT item_id, word FROM tag WHERE item_id IN :ids ORDER BY rowid"
    for row in _rows(connection, given, ids):
        tags.setdefault(row.item_id, []).append(row.word)
    captions, pictures = _belonging(connection, ids)
    found = list(_rows(connection, statement, ids))
    told = metas(connection, {row.file for row in found if row.source.startswith(_COLLECTION)})
    for _, rows in groupby(found, lambda row: row.id):
        places = list(rows)
        first = places[0]
        own = [first.text] if first.text and first.kind == "image" else []
        yield Item(
            id=first.id,
            kind=first.kind,
            digest=first.digest.hex(),
            locations=tuple(_location(row, told.get(row.file, Unchanging())) for row in places),
            text=first.text if first.kind == "text" else None,
            width=first.width,
            height=first.height,
            metadata=known.get(first.id),
            captions=(*own, *captions.get(first.id, ())) if first.kind == "image" else (),
            pictures=tuple(pictures.get(first.id, ())) if first.kind == "text" else (),
            tags=tuple(tags.get(first.id, ())),
        )


class Fetched:
    """Items as they were fetched last, while nothing is written. Safe to use from many threads."""

    def __init__(self, most: int = ITEMS_KEPT) -> None:
        self._most = most
        self._state: Hashable = None
        self._items: dict[int, Item] = {}
        self._changing = threading.Lock()

    def of(self, state: Hashable, ids: Iterable[int]) -> dict[int, Item]:
        """Give those that are known as of a state of the catalog; None: of none."""
        with self._changing:
            if state is None or state != self._state:
                return {}
            return {one: self._items[one] for one in ids if one in self._items}

    def keep(self, state: Hashable, items: Mapping[int, Item]) -> None:
        """Keep what was read in a state; the oldest make room."""
        if state is None or len(items) > self._most:
            return
        with self._changing:
            if state != self._state:
                self._state, self._items = state, {}
            self._items.update(items)
            while len(self._items) > self._most:
                self._items.pop(next(iter(self._items)))


def context(connection: sa.Connection, item_id: int) -> tuple[str, str]:
    """Give the passages before and after a text where it was found first; empty for none."""
    place = "SELECT file_id, id FROM location WHERE item_id = :id ORDER BY id LIMIT 1"
    here = connection.execute(sa.text(place), {"id": item_id}).first()
    if here is None:
        return "", ""
    return _beside(connection, here, "<", "DESC"), _beside(connection, here, ">", "ASC")


def _beside(connection: sa.Connection, here: Any, side: str, order: str) -> str:
    statement = (
        "SELECT item.text FROM location JOIN item ON item.id = location.item_id "
        f"WHERE file_id = :file AND location.id {side} :here AND item.kind = 'text' "
        f"ORDER BY location.id {order} LIMIT 1"
    )
    values = {"file": here.file_id, "here": here.id}
    return connection.execute(sa.text(statement), values).scalar() or ""


def _location(row: Any, meta: Mapping[str, Value]) -> Location:
    path = joined(row.folder, row.name)
    place = (row.page, row.line, row.start, row.stop, (row.size, row.mtime_ns))
    return Location(os.fsdecode(row.source), path, row.fragment, *place, meta)


def _metadata(connection: sa.Connection, ids: Sequence[int]) -> dict[int, Metadata]:
    """Give what is known of pictures at their first location, by item."""
    statement = (
        "SELECT location.item_id, metadata.* FROM metadata "
        "JOIN location ON location.id = metadata.location_id WHERE metadata.location_id IN ("
        "SELECT min(known.id) FROM location AS known "
        "JOIN metadata AS told ON told.location_id = known.id "
        "WHERE known.item_id IN :ids GROUP BY known.item_id)"
    )
    rows = list(_rows(connection, statement, ids))
    words: dict[int, list[str]] = {}
    spoken = "SELECT location_id, word FROM keyword WHERE location_id IN :ids ORDER BY rowid"
    places = [row.location_id for row in rows]
    for row in _rows(connection, spoken, places) if places else ():
        words.setdefault(row.location_id, []).append(row.word)
    return {row.item_id: _as_metadata(row, words.get(row.location_id, [])) for row in rows}


def _as_metadata(row: Any, words: Sequence[str]) -> Metadata:
    taken = None if row.taken is None else datetime.fromisoformat(row.taken)
    if taken is not None and row.zone is not None:
        taken = taken.replace(tzinfo=timezone(timedelta(minutes=row.zone)))
    return Metadata(
        taken=taken,
        taken_from=row.taken_from,
        latitude=row.latitude,
        longitude=row.longitude,
        altitude=row.altitude,
        camera=row.camera,
        lens=row.lens,
        orientation=row.orientation,
        format=row.format,
        bytes=row.bytes,
        title=row.title,
        rating=row.rating,
        keywords=tuple(words),
    )


def _belonging(
    connection: sa.Connection, ids: Sequence[int]
) -> tuple[dict[int, list[str]], dict[int, list[int]]]:
    """Give the captions of pictures, and the pictures that texts belong to, by item."""
    statement = (
        "SELECT mine.item_id AS item, item.id, item.kind, item.text FROM location AS mine "
        "JOIN location AS theirs ON theirs.subject = mine.subject "
        "JOIN item ON item.id = theirs.item_id "
        "WHERE mine.item_id IN :ids AND mine.subject IS NOT NULL ORDER BY theirs.id"
    )
    captions: dict[int, list[str]] = {}
    pictures: dict[int, list[int]] = {}
    for row in _rows(connection, statement, ids):
        if row.kind == "text":
            _append(captions.setdefault(row.item, []), row.text)
        else:
            _append(pictures.setdefault(row.item, []), row.id)
    return captions, pictures


def _append(listed: list[Any], one: object) -> None:
    if len(listed) < CAPTIONS_SHOWN and one not in listed:
        listed.append(one)


def _rows(connection: sa.Connection, statement: str, ids: Sequence[int]) -> Iterator[Any]:
    """Ask a statement over many ids; gives rows whose columns have names.

    By the driver: every answer asks four of these, and SQLAlchemy's way to them takes longer
    than they do.
    """
    cursor = connection.connection.cursor()
    cursor.execute(statement.replace(":ids", _LISTED), (json.dumps(ids),))
    row = _row_of(tuple(one[0] for one in cursor.description or ()))
    return map(row._make, cursor.fetchall())


@cache
def _row_of(columns: tuple[str, ...]) -> Any:
    return namedtuple("_Row", columns, rename=True)


def joined(folder: bytes, name: bytes) -> str:
    """Give the path of a file as a name that open() takes; of what is in no file, one that is none.

    An external id may look like a path: it never becomes that of a file.
    """
    if folder.startswith(_COLLECTION):
        return f"{os.fsdecode(folder)}/{os.fsdecode(name)}"
    return os.path.join(os.fsdecode(folder), os.fsdecode(name))  # noqa: PTH118 - as it was split
