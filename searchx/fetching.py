"""Read items out of the catalog with all that belongs to them: places, metadata, captions."""

import os
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from itertools import groupby
from typing import Any, Final

import sqlalchemy as sa

from searchx.records import Item, Location, Metadata

CAPTIONS_SHOWN: Final = 20  # of one picture


def fetch(connection: sa.Connection, ids: Sequence[int]) -> Iterator[Item]:
    """Give the items of these ids that have a location, in the order of their ids."""
    statement = _of(
        "SELECT item.id, item.kind, item.digest, item.text, item.width, item.height, "
        "source.path AS source, folder.path AS folder, file.name, location.fragment, "
        "location.page, location.line, location.start, location.stop, file.size, file.mtime_ns "
        "FROM item JOIN location ON location.item_id = item.id "
        "JOIN file ON file.id = location.file_id JOIN folder ON folder.id = file.folder_id "
        "JOIN source ON source.id = folder.source_id "
        "WHERE item.id IN :ids ORDER BY item.id, location.id"
    )
    known = _metadata(connection, ids)
    captions, pictures = _belonging(connection, ids)
    for _, rows in groupby(connection.execute(statement, {"ids": ids}), lambda row: row.id):
        places = list(rows)
        first = places[0]
        yield Item(
            id=first.id,
            kind=first.kind,
            digest=first.digest.hex(),
            locations=tuple(_location(row) for row in places),
            text=first.text,
            width=first.width,
            height=first.height,
            metadata=known.get(first.id),
            captions=tuple(captions.get(first.id, ())) if first.kind == "image" else (),
            pictures=tuple(pictures.get(first.id, ())) if first.kind == "text" else (),
        )


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


def _location(row: Any) -> Location:
    path = joined(row.folder, row.name)
    place = (row.page, row.line, row.start, row.stop, (row.size, row.mtime_ns))
    return Location(os.fsdecode(row.source), path, row.fragment, *place)


def _metadata(connection: sa.Connection, ids: Sequence[int]) -> dict[int, Metadata]:
    """Give what is known of pictures at their first location, by item."""
    statement = _of(
        "SELECT location.item_id, metadata.* FROM metadata "
        "JOIN location ON location.id = metadata.location_id WHERE metadata.location_id IN ("
        "SELECT min(known.id) FROM location AS known "
        "JOIN metadata AS told ON told.location_id = known.id "
        "WHERE known.item_id IN :ids GROUP BY known.item_id)"
    )
    rows = connection.execute(statement, {"ids": ids}).all()
    words: dict[int, list[str]] = {}
    spoken = _of("SELECT location_id, word FROM keyword WHERE location_id IN :ids ORDER BY rowid")
    for row in connection.execute(spoken, {"ids": [row.location_id for row in rows]}):
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
    statement = _of(
        "SELECT mine.item_id AS item, item.id, item.kind, item.text FROM location AS mine "
        "JOIN location AS theirs ON theirs.subject = mine.subject "
        "JOIN item ON item.id = theirs.item_id "
        "WHERE mine.item_id IN :ids AND mine.subject IS NOT NULL ORDER BY theirs.id"
    )
    captions: dict[int, list[str]] = {}
    pictures: dict[int, list[int]] = {}
    for row in connection.execute(statement, {"ids": ids}):
        if row.kind == "text":
            _append(captions.setdefault(row.item, []), row.text)
        else:
            _append(pictures.setdefault(row.item, []), row.id)
    return captions, pictures


def _append(listed: list[Any], one: object) -> None:
    if len(listed) < CAPTIONS_SHOWN and one not in listed:
        listed.append(one)


def _of(statement: str) -> sa.TextClause:
    """Make a statement over many ids."""
    return sa.text(statement).bindparams(sa.bindparam("ids", expanding=True))


def joined(folder: bytes, name: bytes) -> str:
    """Give the path of a file as a name that open() takes."""
    return os.path.join(os.fsdecode(folder), os.fsdecode(name))  # noqa: PTH118 - as it was split
