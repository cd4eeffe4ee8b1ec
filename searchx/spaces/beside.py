"""The rows of the space beside the one that serves: what it holds, what it lacks, and the switch.

What serves always stands in the tables `space` and `vector`, so that nobody who reads or writes
vectors has to know of migrations. The other one stands in `other_space` and `other_vector`. A
switch exchanges the names of the tables, which takes as long for a million vectors as for one.
"""

import json
import os
import time
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import sqlalchemy as sa

from searchx.errors import BadInput, LibraryError
from searchx.ids import ids_in
from searchx.inspection import bad_vectors, for_each
from searchx.records import Ids, Kind, Space, Vectors
from searchx.writing import READ_AGAIN, chunks

_HELD: Final = "EXISTS (SELECT 1 FROM location WHERE location.item_id = item.id)"
_MADE: Final = "EXISTS (SELECT 1 FROM other_vector WHERE other_vector.item_id = {})"


@dataclass(frozen=True, slots=True)
class OtherSpace:
    """The space that does not serve."""

    space: Space
    has_served: bool  # and is kept to go back to; else it is being made
    began: float  # seconds since 1970: when it was first asked for


@dataclass(frozen=True, slots=True)
class Missing:
    """An item without a vector in the other space."""

    id: int
    digest: str
    text: str | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where the bytes of an item are."""

    source: str
    path: str
    fragment: str
    size: int
    mtime_ns: int


class Beside:
    """The other space of a catalog, inside one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    # looking

    def space(self) -> OtherSpace | None:
        """Give the space that does not serve; None where there is none."""
        row = self._connection.execute(
            sa.text("SELECT name, digest, dim, has_served, began FROM other_space")
        ).first()
        if row is None:
            return None
        return OtherSpace(Space(row.name, row.digest, row.dim), bool(row.has_served), row.began)

    def counts(self) -> tuple[int, int]:
        """Count the items that can be found, and those of them that have a vector there."""
        total = self._scalar("SELECT count(*) FROM appearance")
        made = _MADE.format("appearance.item_id")
        return total, self._scalar(f"SELECT count(*) FROM appearance WHERE {made}")

    def count(self, kind: Kind) -> int:
        """Count the items of a kind that can be found."""
        return self._scalar(
            "SELECT count(*) FROM appearance CROSS JOIN item ON item.id = appearance.item_id "
            "WHERE item.kind = :kind",
            {"kind": kind},
        )

    def missing(self, kind: Kind, after: int = 0, limit: int = 1 << 62) -> list[Missing]:
        """Give the items of a kind that lack a vector there, by ascending id, after one of them."""
        rows = self._connection.execute(
            sa.text(
                "SELECT id, digest, text FROM item WHERE id > :after AND +kind = :kind "
                "AND EXISTS (SELECT 1 FROM appearance WHERE appearance.item_id = item.id) "
                f"AND NOT {_MADE.format('item.id')} ORDER BY id LIMIT :limit"
            ),
            {"kind": kind, "after": after, "limit": limit},
        )
        return [Missing(row.id, row.digest.hex(), row.text) for row in rows]

    def lacks(self, kind: Kind, digest: str) -> bool:
        """Tell whether there is an item of this content that has no vector there."""
        found = self._connection.exec_driver_sql(
            "SELECT 1 FROM item JOIN appearance ON appearance.item_id = item.id "
            f"WHERE kind = ? AND digest = ? AND NOT {_MADE.format('item.id')}",
            (kind, bytes.fromhex(digest)),
        )
        return found.first() is not None

    def places(self, ids: Sequence[int]) -> dict[int, list[Place]]:
        """Give the places where items are, oldest first, by the id of the item."""
        statement = sa.text(
            "SELECT location.item_id, source.path AS source, folder.path, file.name, "
            "location.fragment, file.size, file.mtime_ns FROM location "
            "JOIN file ON file.id = location.file_id JOIN folder ON folder.id = file.folder_id "
            "JOIN source ON source.id = folder.source_id "
            "WHERE location.item_id IN :ids ORDER BY location.id"
        ).bindparams(sa.bindparam("ids", expanding=True))
        found: dict[int, list[Place]] = {}
        for chunk in chunks(ids):
            for row in self._connection.execute(statement, {"ids": list(chunk)}):
                path = os.path.join(os.fsdecode(row.path), os.fsdecode(row.name))  # noqa: PTH118
                place = Place(os.fsdecode(row.source), path, row.fragment, row.size, row.mtime_ns)
                found.setdefault(row.item_id, []).append(place)
        return found

    def ids(self, kind: Kind) -> Ids:
        """Give the ascending ids of the items that can be found and have a vector there."""
        listed = self._connection.execute(
            sa.text(
                "SELECT group_concat(id) FROM (SELECT item.id FROM item "
                "JOIN appearance ON appearance.item_id = item.id "
                f"WHERE item.kind = :kind AND {_MADE.format('item.id')} ORDER BY item.id)"
            ),
            {"kind": kind},
        ).scalar()
        return ids_in(listed)

    def some(self, kind: Kind, size: int, seed: int) -> dict[Missing, Vectors]:
        """Give some items of a kind at random, each with its vector (dim,) there."""
        ids = self.ids(kind)
        chosen = np.random.default_rng(seed).permutation(ids)[:size].tolist()
        rows = self._connection.execute(
            sa.text(
                "SELECT item.id, item.digest, item.text, other_vector.data FROM item "
                "JOIN other_vector ON other_vector.item_id = item.id WHERE item.id IN :ids"
            ).bindparams(sa.bindparam("ids", expanding=True)),
            {"ids": chosen},
        )
        return {Missing(row.id, row.digest.hex(), row.text): _single(row.data) for row in rows}

    def served(self, ids: Sequence[int]) -> dict[int, Vectors]:
        """Give the vectors (dim,) of items in the space that serves, of those that have one."""
        rows = self._connection.execute(
            sa.text(
                "SELECT item_id, data FROM vector "
                "WHERE item_id IN (SELECT value FROM json_each(:ids))"
            ),
            {"ids": json.dumps(list(ids))},
        )
        return {row.item_id: _single(row.data) for row in rows}

    def wrong(self) -> list[tuple[int, str]]:
        """Look at every vector there; gives the items whose vector cannot be, and why."""
        found = self.space()
        dim = 0 if found is None else found.space.dim
        return list(bad_vectors(self._connection, "other_vector", dim))

    # changing

    def begin(self, space: Space) -> None:
        """Let vectors of a space in beside the one that serves; those of it that are there stay.

        Raises BadInput where it is the one that serves, or another one stands beside it.
        """
        serving = self._connection.execute(sa.text("SELECT name, digest FROM space")).first()
        if serving is not None and serving.digest == space.digest:
            raise BadInput(f'the library is in the space of model "{space.name}" already')
        found = self.space()
        if found is None:
            self._connection.execute(sa.text("DELETE FROM other_vector"))
            self._run(
                "INSERT INTO other_space (name, digest, dim, began) "
                "VALUES (:name, :digest, :dim, :began)",
                {"began": time.time(), **_columns(space)},
            )
        elif found.space.digest != space.digest:
            raise _in_the_way(found, space)
        elif found.space.name != space.name:  # the same weights at another place
            self._run("UPDATE other_space SET name = :name", {"name": space.name})

    def add(self, space: Space, kind: Kind, rows: Sequence[tuple[str, Vectors]]) -> None:
        """Add vectors (dim,) by the digests of their items; those that are gone are left out.

        Raises LibraryError where the other space is another one by now.
        """
        found = self.space()
        if found is None or found.space.digest != space.digest:
            raise LibraryError("the library was replaced during the migration; begin it anew")
        statement = sa.text(
            "INSERT INTO other_vector (item_id, data, checksum) "
            "SELECT id, :data, :checksum FROM item WHERE kind = :kind AND digest = :digest "
            "ON CONFLICT (item_id) DO NOTHING"
        )
        for digest, vector in rows:
            data = vector.astype(np.float16).tobytes()
            self._connection.execute(
                statement,
                {
                    "kind": kind,
                    "digest": bytes.fromhex(digest),
                    "data": data,
                    "checksum": zlib.crc32(data),
                },
            )

    def take_out(self, ids: Collection[int]) -> None:
        """Remove vectors there, by the ids of their items."""
        for_each(self._connection, "DELETE FROM other_vector WHERE item_id IN :ids", ids)

    def switch(self, late: Collection[int], after: int, without_missing: bool) -> int:
        """Let the other space serve, and keep the one that served; gives how many items it lacks.

        `late` are the items that the snapshots of the other space lack although they were built
        later: they appear anew, and are found as what came after. `after` is the number of the
        newest appearance that was looked at; what came since is looked at here. An item that has
        no vector cannot be found, and its files are read again by the next run of the indexer.
        Gives -1 and changes nothing where one lacks and `without_missing` does not allow it.
        """
        lacking = self._lacking(0 if without_missing else after)
        if lacking and not without_missing:
            return -1
        self._hide(lacking)
        self._connection.execute(
            sa.text(
                f"DELETE FROM item WHERE NOT {_HELD} AND NOT {_MADE.format('item.id')}"
            )  # an interrupted run left it; what comes back is embedded again
        )
        for_each(
            self._connection,
            "INSERT INTO removal (item_id) SELECT item_id FROM appearance WHERE item_id IN :ids",
            late,
        )
        for_each(self._connection, "DELETE FROM appearance WHERE item_id IN :ids", late)
        self._run(
            "INSERT INTO appearance (item_id) SELECT id FROM item WHERE "
            "id NOT IN (SELECT item_id FROM appearance) "
            f"AND {_HELD} AND {_MADE.format('item.id')} ORDER BY id"
        )
        self._exchange()
        return len(lacking)

    def drop(self) -> int:
        """Remove the other space, and items that have no vector any more; gives the vectors."""
        vectors = self._scalar("SELECT count(*) FROM other_vector")
        self._run("DELETE FROM other_vector")
        self._run("DELETE FROM other_space")
        # Of files that could not be read: they are marked to be read again, and come back then.
        self._run(
            "DELETE FROM item WHERE id NOT IN (SELECT item_id FROM vector) "
            "AND id NOT IN (SELECT item_id FROM appearance)"
        )
        return vectors

    def _lacking(self, after: int) -> list[int]:
        rows = self._connection.execute(
            sa.text(
                "SELECT item_id FROM appearance WHERE id > :after "
                f"AND NOT {_MADE.format('appearance.item_id')}"
            ),
            {"after": after},
        )
        return [int(one) for one in rows.scalars()]

    def _hide(self, ids: Collection[int]) -> None:
        """Let items not be found, and their files be read again."""
        for statement in (
            "INSERT INTO removal (item_id) SELECT item_id FROM appearance WHERE item_id IN :ids",
            "DELETE FROM appearance WHERE item_id IN :ids",
            f"UPDATE file SET mtime_ns = {READ_AGAIN} WHERE id IN "
            "(SELECT file_id FROM location WHERE item_id IN :ids)",
        ):
            for_each(self._connection, statement, ids)

    def _exchange(self) -> None:
        found = self.space()
        assert found is not None
        row = self._connection.execute(sa.text("SELECT name, digest, dim FROM space")).one()
        for old, new in (
            ("vector", "vector_aside"),
            ("other_vector", "vector"),
            ("vector_aside", "other_vector"),
        ):
            self._run(f"ALTER TABLE {old} RENAME TO {new}")
        change = "SET name = :name, digest = :digest, dim = :dim"
        self._run(f"UPDATE space {change}", _columns(found.space))
        self._run(
            f"UPDATE other_space {change}, has_served = 1, began = :began",
            {"began": time.time(), **_columns(Space(*row))},
        )

    def _scalar(self, statement: str, values: dict[str, Any] | None = None) -> int:
        return int(self._connection.execute(sa.text(statement), values or {}).scalar_one())

    def _run(self, statement: str, values: dict[str, Any] | None = None) -> None:
        self._connection.execute(sa.text(statement), values or {})


def _columns(space: Space) -> dict[str, object]:
    return {"name": space.name, "digest": space.digest, "dim": space.dim}


def _single(data: bytes) -> Vectors:
    return cast(Vectors, np.frombuffer(data, np.float16).astype(np.float32))


def _in_the_way(found: OtherSpace, wanted: Space) -> BadInput:
    if found.space.name == wanted.name and not found.has_served:
        return BadInput(
            f'a migration to other weights of model "{wanted.name}" is under way '
            f"({found.space.digest[:8]}, now {wanted.digest[:8]}); give it up with --abandon first"
        )
    if found.has_served:
        return BadInput(
            f'the vectors of model "{found.space.name}" are still kept to go back to; drop them '
            "with --drop-old first"
        )
    return BadInput(
        f'a migration to model "{found.space.name}" is under way; go on with it, or give it up '
        "with --abandon first"
    )
