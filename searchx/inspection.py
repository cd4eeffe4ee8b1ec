"""Look a catalog through for what cannot be, and put right what can be made again."""

import hashlib
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import sqlalchemy as sa

from searchx import lexical
from searchx.identity import digest_vector
from searchx.writing import READ_AGAIN, chunks

ROWS: Final = 1000  # looked at together
DAMAGED: Final = "the database is damaged"
UNIT_WITHIN: Final = 0.02  # a length off by more than float16 rounding explains is no unit vector

_VECTOR: Final = "EXISTS (SELECT 1 FROM vector WHERE vector.item_id = item.id)"
_OTHER: Final = "EXISTS (SELECT 1 FROM other_vector WHERE other_vector.item_id = item.id)"
# One that a model could not embed when it took over is in a file, but cannot be found until then.
_HELD: Final = f"(EXISTS (SELECT 1 FROM location WHERE location.item_id = item.id) AND {_VECTOR})"
_SHOWN: Final = "EXISTS (SELECT 1 FROM appearance WHERE appearance.item_id = item.id)"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong."""

    what: str
    which: str
    do: str

    def as_dict(self) -> dict[str, str]:
        """Give the JSON shape."""
        return {"what": self.what, "which": self.which, "do": self.do}


@dataclass(frozen=True, slots=True)
class Inspected:
    """What a catalog holds, and what is wrong with it."""

    findings: tuple[Finding, ...]
    items: int
    vectors: int


def inspect(connection: sa.Connection) -> Inspected:
    """Look at every row of a catalog; gives what is wrong, with what to do about it."""
    structure = [
        Finding(DAMAGED, line, 'run "searchx repair", else restore a backup')
        for line in _integrity(connection)
    ]
    if structure:  # nothing else that is read from it can be relied on
        return Inspected(tuple(structure), 0, 0)
    items = int(connection.execute(sa.text("SELECT count(*) FROM item")).scalar_one())
    vectors = int(connection.execute(sa.text("SELECT count(*) FROM vector")).scalar_one())
    found = tuple(_findings(connection)) or tuple(_word_findings(connection))
    return Inspected(found, items, vectors)


def mend(connection: sa.Connection) -> list[str]:
    """Put right what `inspect` finds in the rows; gives what was done, a line each.

    What is damaged itself is dropped, and its files are marked to be read again.
    """
    done: list[str] = []
    if loose := _broken_references(connection):
        for table, row in loose:
            _drop_row(connection, table, row)
        done.append(f"rows that led nowhere were removed: {len(loose)}")
    found = [*_bad_vectors(connection), *_bad_texts(connection), *_without_vector(connection)]
    damaged = list(dict.fromkeys(item for item, _ in found))
    if damaged:
        _drop_items(connection, damaged)
        done.append(
            f"items that were damaged were dropped: {len(damaged)}; "
            'run "searchx index" to read their files again'
        )
    if others := [item for item, _ in _bad_others(connection)]:
        for_each(connection, "DELETE FROM other_vector WHERE item_id IN :ids", others)
        done.append(
            f"vectors of the space that does not serve were dropped: {len(others)}; "
            '"searchx migrate" makes them again'
        )
    if _settle(connection):
        done.append("the list of what can be found was put right")
    if not lexical.is_sound(connection):
        lexical.make_anew(connection)
        done.append("the index of words was made anew")
    lexical.refresh(connection)  # of what was dropped above
    if stale := lexical.stale(connection):
        lexical.write(connection, stale)
        done.append(f"the words of items were put right: {len(stale)}")
    return done


def _findings(connection: sa.Connection) -> Iterator[Finding]:
    repair = 'run "searchx repair", then "searchx index"'
    for table, row in _broken_references(connection):
        where = table if row is None else f"{table} {row}"
        yield Finding("a row leads nowhere", where, repair)
    for item, what in _bad_vectors(connection):
        yield Finding(f"the vector {what}", f"item {item}", repair)
    for item, what in _bad_others(connection):
        yield Finding(f"the vector beside the one that is searched {what}", f"item {item}", repair)
    for item, what in _bad_texts(connection):
        yield Finding(f"the text {what}", f"item {item}", repair)
    for item, what in _without_vector(connection):
        yield Finding(what, f"item {item}", repair)
    for item in _ids(connection, f"SELECT id FROM item WHERE {_HELD} AND NOT {_SHOWN}"):
        yield Finding("it is in a file but cannot be found", f"item {item}", repair)
    for item in _ids(connection, f"SELECT id FROM item WHERE {_SHOWN} AND NOT {_HELD}"):
        yield Finding("it can be found but is in no file", f"item {item}", repair)


def _word_findings(connection: sa.Connection) -> Iterator[Finding]:
    """Tell whether the words fit the rows that they come from, which must be right themselves."""
    if not lexical.is_sound(connection):
        yield Finding("the index of words is damaged", "all items", 'run "searchx repair"')
        return
    for item in lexical.stale(connection):
        yield Finding("its words are not what it holds", f"item {item}", 'run "searchx repair"')


def _integrity(connection: sa.Connection) -> list[str]:
    lines = [
        str(one) for one in connection.execute(sa.text("PRAGMA integrity_check(20)")).scalars()
    ]
    return [] if lines == ["ok"] else lines


def _broken_references(connection: sa.Connection) -> list[tuple[str, int | None]]:
    """Give the rows that lead nowhere; a table whose rows have no numbers is given once."""
    rows = connection.execute(sa.text("PRAGMA foreign_key_check")).all()
    return list(dict.fromkeys((str(row[0]), row[1]) for row in rows))


def bad_vectors(connection: sa.Connection, table: str, dim: int) -> Iterator[tuple[int, str]]:
    """Look at every vector of a table; gives the items whose vector cannot be, and why."""
    columns = "item_id AS id, CAST(data AS BLOB) AS data, checksum"
    for row in _rows(connection, f"SELECT {columns} FROM {table} WHERE item_id > :last", "item_id"):
        if len(row.data) != 2 * dim:
            yield row.id, f"has {len(row.data)} bytes, not {2 * dim}"
        elif row.checksum is not None and zlib.crc32(row.data) != row.checksum:
            yield row.id, "does not fit its checksum"
        elif not abs(_length(row.data) - 1) < UNIT_WITHIN:
            yield row.id, "is no unit vector"


def _bad_vectors(connection: sa.Connection) -> Iterator[tuple[int, str]]:
    """Look at the vectors that are searched."""
    dim = connection.execute(sa.text("SELECT dim FROM space")).scalar() or 0
    return bad_vectors(connection, "vector", dim)


def _bad_others(connection: sa.Connection) -> Iterator[tuple[int, str]]:
    """Look at the vectors of the space that does not serve."""
    dim = connection.execute(sa.text("SELECT dim FROM other_space")).scalar() or 0
    return bad_vectors(connection, "other_vector", dim)


def _length(data: bytes) -> float:
    return float(np.linalg.norm(np.frombuffer(data, np.float16).astype(np.float32)))


def _bad_texts(connection: sa.Connection) -> Iterator[tuple[int, str]]:
    # As bytes: what a damaged text holds may not even be a text.
    columns = "id, digest, CAST(text AS BLOB) AS text"
    # With + the index of kinds is left alone: the rows come in the order that they are read in.
    texts = f"SELECT {columns} FROM item WHERE +kind = 'text' AND id > :last"
    for row in _rows(connection, texts, "id"):
        if _is_given(connection, row):
            continue
        if row.text is None:
            yield row.id, "is missing"
        elif _digest(row.text) != row.digest:
            yield row.id, "does not fit its digest"


def _is_given(connection: sa.Connection, row: Any) -> bool:
    """Tell whether a text is that of a vector that a program gave: its digest is of that, too."""
    if row.text is not None and _digest(row.text) == row.digest:
        return False
    found = connection.execute(
        sa.text(
            "SELECT vector.data, file.name FROM location JOIN (SELECT item_id, data FROM vector "
            "UNION ALL SELECT item_id, data FROM other_vector) AS vector USING (item_id) "
            "JOIN file ON file.id = location.file_id WHERE location.item_id = :id"
        ),
        {"id": row.id},
    )
    text = None if row.text is None else row.text.decode("utf-8", "replace")
    return any(
        digest_vector("text", data, os.fsdecode(name), text) == row.digest.hex()
        for data, name in found
    )


def _digest(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=32).digest()


def _without_vector(connection: sa.Connection) -> Iterator[tuple[int, str]]:
    lost = f"SELECT id FROM item WHERE NOT {_VECTOR} AND ({_SHOWN} OR NOT {_OTHER})"
    for item in _ids(connection, lost):
        yield item, "it has no vector"


def _rows(connection: sa.Connection, statement: str, key: str) -> Iterator[sa.Row[tuple[object]]]:
    """Read a table some rows at a time, in the order of its key."""
    bound = sa.text(f"{statement} ORDER BY {key} LIMIT {ROWS}")
    last = 0
    while rows := connection.execute(bound, {"last": last}).all():
        yield from rows
        last = rows[-1].id


def _ids(connection: sa.Connection, statement: str) -> list[int]:
    return [int(one) for one in connection.execute(sa.text(statement)).scalars()]


_LOOSE_VALUES: Final = (
    "DELETE FROM attribute WHERE file_id NOT IN (SELECT id FROM file) "
    "OR name_id NOT IN (SELECT id FROM attribute_name)"
)


def _drop_row(connection: sa.Connection, table: str, row: int | None) -> None:
    """Drop a row that leads nowhere; a file that has lost what was in it is read again."""
    if row is None:  # only values of columns have no numbers
        connection.execute(sa.text(_LOOSE_VALUES))
        return
    if table == "location":
        held = "SELECT file_id FROM location WHERE id = :row"
        again = f"UPDATE file SET mtime_ns = {READ_AGAIN} WHERE id IN ({held})"
        connection.execute(sa.text(again), {"row": row})
    connection.execute(sa.text(f"DELETE FROM {table} WHERE rowid = :row"), {"row": row})


def _drop_items(connection: sa.Connection, items: Sequence[int]) -> None:
    """Drop items with all that is their own; what holds them is read again."""
    for_each(
        connection,
        f"UPDATE file SET mtime_ns = {READ_AGAIN} WHERE id IN "
        "(SELECT file_id FROM location WHERE item_id IN :ids)",
        items,
    )
    shown = "SELECT item_id FROM appearance WHERE item_id IN :ids"
    for_each(connection, f"INSERT INTO removal (item_id) {shown}", items)
    for_each(connection, "DELETE FROM item WHERE id IN :ids", items)


def _settle(connection: sa.Connection) -> int:
    """Give appearances to all items that are in files, and to no others; gives how many."""
    lost = f"SELECT id FROM item WHERE {_SHOWN} AND NOT {_HELD}"
    connection.execute(sa.text(f"INSERT INTO removal (item_id) {lost}"))
    gone = connection.execute(sa.text(f"DELETE FROM appearance WHERE item_id IN ({lost})"))
    found = connection.execute(
        sa.text(
            f"INSERT INTO appearance (item_id) SELECT id FROM item WHERE {_HELD} AND NOT {_SHOWN}"
        )
    )
    return gone.rowcount + found.rowcount


def for_each(connection: sa.Connection, statement: str, ids: Iterable[int]) -> None:
    """Run a statement over many ids, some at a time."""
    bound = sa.text(statement).bindparams(sa.bindparam("ids", expanding=True))
    for chunk in chunks(list(ids)):
        connection.execute(bound, {"ids": chunk})
