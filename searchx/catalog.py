"""The catalog: sources, files, items, locations and vectors in SQLite. The only SQL.

The catalog is the record; index snapshots are derived from it. Everything that belongs
together is written in one transaction, so no reader ever sees a vector without its item.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import sqlalchemy as sa
from filelock import FileLock, Timeout

from searchx.database import FILE_NAME, connect, migrate, not_writable, plain_errors
from searchx.errors import (
    BadInput,
    LibraryInUse,
    NoLibrary,
    SpaceMismatch,
)
from searchx.records import Ids, Item, Kind, Location, Skipped, Space, Vectors

_CHUNK = 500  # bound parameters in one statement; SQLite allows 999 in its oldest form

T = TypeVar("T")
Halves: TypeAlias = np.ndarray[Any, np.dtype[np.float16]]  # (n, dim), unit rows as stored


@dataclass(frozen=True, slots=True)
class FileState:
    """What the catalog knows of a file from the run that read it last."""

    size: int  # bytes
    mtime_ns: int
    digests: tuple[str, ...]  # of the items found in it
    reason: str | None  # why it was skipped; None when it was indexed


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item that is about to be added, with its vector."""

    kind: Kind
    digest: str
    vector: np.ndarray[Any, np.dtype[np.float32]]  # (dim,), unit length
    text: str | None = None
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """One item as it stands in a file."""

    kind: Kind
    digest: str
    fragment: str = ""


@dataclass(frozen=True, slots=True)
class Version:
    """How far the catalog has come; equal versions mean that nothing appeared or was removed.

    The numbers only grow; a catalog restored from a backup has smaller ones.
    """

    library: str  # identity of this catalog; no other one has it, except copies of this one
    added: int  # number of the newest appearance: an item got its first location
    removed: int  # number of the newest removal: an item lost its last location


class Catalog:
    """One library's catalog. Safe to use from many threads; each call is one transaction."""

    def __init__(self, directory: Path, engine: sa.Engine) -> None:
        self.directory = directory
        self._engine = engine
        self._lock = FileLock(directory / "indexing.lock")

    @classmethod
    def open(cls, directory: Path | str, create: bool = False) -> "Catalog":
        """Open the catalog in `directory`, creating it if asked, and bring its schema up to date.

        Raises NoLibrary, LibraryCorrupt, LibraryFull or LibraryError.
        """
        directory = Path(directory)
        path = directory / FILE_NAME
        if not create and not path.is_file():
            raise NoLibrary(f'{directory} has no library yet; run "searchx index FOLDER" first')
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise not_writable(directory, error) from error
        with plain_errors(directory):
            engine = connect(path)
            migrate(engine)
        return cls(directory, engine)

    def close(self) -> None:
        """Let go of the database file."""
        self._engine.dispose()

    @contextmanager
    def indexing(self) -> Iterator[None]:
        """Hold the library as its one indexer; raises LibraryInUse when another one does."""
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise LibraryInUse(
                f"{self.directory} is being indexed by another process; wait until it is done"
            ) from error
        except OSError as error:
            raise not_writable(self.directory, error) from error
        try:
            yield
        finally:
            self._lock.release()

    @contextmanager
    def writing(self) -> Iterator["Writing"]:
        """Write in one transaction: all of it happens, or nothing."""
        with plain_errors(self.directory), self._engine.connect() as connection:
            connection = connection.execution_options(searchx_begin="IMMEDIATE")
            with connection.begin():
                tx = Writing(connection)
                yield tx
                tx.settle()

    def space(self) -> Space | None:
        """Give the space that this library's vectors live in; None before the first indexing."""
        with self._reading() as connection:
            row = connection.execute(sa.text("SELECT name, digest, dim FROM space")).first()
        return Space(*row) if row else None

    def sources(self) -> tuple[str, ...]:
        """Give the roots that were indexed, oldest first."""
        with self._reading() as connection:
            rows = connection.execute(sa.text("SELECT path FROM source ORDER BY id"))
            return tuple(os.fsdecode(row.path) for row in rows)

    def files(self, source: str) -> dict[str, FileState]:
        """Give what is known of every file of a source, by path."""
        with self._reading() as connection:
            rows = connection.execute(
                sa.text(
                    "SELECT file.path, file.size, file.mtime_ns, file.reason, item.digest "
                    "FROM file JOIN source ON source.id = file.source_id "
                    "LEFT JOIN location ON location.file_id = file.id "
                    "LEFT JOIN item ON item.id = location.item_id "
                    "WHERE source.path = :source ORDER BY file.id, location.id"
                ),
                {"source": os.fsencode(source)},
            )
            found: dict[str, FileState] = {}
            for path, group in groupby(rows, lambda row: row.path):
                parts = list(group)
                digests = tuple(part.digest.hex() for part in parts if part.digest)
                first = parts[0]
                state = FileState(first.size, first.mtime_ns, digests, first.reason)
                found[os.fsdecode(path)] = state
        return found

    def embedded(self, kind: Kind, digests: Collection[str]) -> set[str]:
        """Tell which of these contents have a vector already."""
        with self._reading() as connection:
            return _embedded(connection, kind, digests)

    def version(self) -> Version:
        """Tell how far the catalog has come; cheap enough to ask before every query."""
        with self._reading() as connection:
            return _version(connection)

    def read_vectors(self, kind: Kind, after: int = 0) -> tuple[Ids, Halves, Version]:
        """Read the vectors of items that appeared after number `after`, and the version of that.

        Gives ids (n,) by their appearance, float16 vectors (n, dim), and the version. An item
        that no file holds (yet, or any more) is not there, whether it has a vector or not.
        """
        with self._reading() as connection:
            version = _version(connection)
            dim = connection.execute(sa.text("SELECT dim FROM space")).scalar() or 0
            rows = connection.execute(
                sa.text(
                    "SELECT vector.item_id, vector.data FROM appearance "
                    "JOIN item ON item.id = appearance.item_id "
                    "JOIN vector ON vector.item_id = item.id "
                    "WHERE appearance.id > :after AND item.kind = :kind ORDER BY appearance.id"
                ),
                {"after": after, "kind": kind},
            )
            ids: list[int] = []
            data = bytearray()
            for item_id, blob in rows:
                ids.append(item_id)
                data += blob
        vectors = np.frombuffer(data, np.float16).reshape(len(ids), dim)
        return np.array(ids, np.int64), vectors, version

    def removed(self, after: int, until: int) -> Ids:
        """Give the ids of items removed after removal number `after`, up to number `until`.

        An item that was removed and appeared again since is among them.
        """
        with self._reading() as connection:
            rows = connection.execute(
                sa.text("SELECT item_id FROM removal WHERE id > :after AND id <= :until"),
                {"after": after, "until": until},
            )
            return np.array([row.item_id for row in rows], np.int64)

    def items(self, ids: Sequence[int]) -> dict[int, Item]:
        """Fetch items with their locations, by id; ids that are gone are left out."""
        with self._reading() as connection:
            return {
                item.id: item
                for chunk in _chunks(ids)
                for item in _fetch(connection, [int(one) for one in chunk])
            }

    def vector(self, item_id: int) -> Vectors:
        """Read one item's vector as (1, dim); raises BadInput when there is none."""
        with self._reading() as connection:
            blob = connection.execute(
                sa.text(
                    "SELECT data FROM vector JOIN appearance USING (item_id) WHERE item_id = :id"
                ),
                {"id": item_id},
            ).scalar()
        if blob is None:
            raise BadInput(f"there is no item {item_id} in this library")
        return np.frombuffer(blob, np.float16).astype(np.float32)[None, :]

    def counts(self) -> dict[str, int]:
        """Count images, texts and files."""
        with self._reading() as connection:
            kinds = connection.execute(
                sa.text(
                    "SELECT kind, count(*) AS items FROM item "
                    "JOIN appearance ON appearance.item_id = item.id GROUP BY kind"
                )
            ).all()
            files = connection.execute(
                sa.text("SELECT count(*) FROM file WHERE reason IS NULL")
            ).scalar_one()
        return {"image": 0, "text": 0} | {row.kind: row.items for row in kinds} | {"files": files}

    def skipped(self) -> tuple[Skipped, ...]:
        """Give the files that could not be indexed, each with its reason."""
        with self._reading() as connection:
            rows = connection.execute(
                sa.text("SELECT path, reason FROM file WHERE reason IS NOT NULL ORDER BY path")
            )
            return tuple(Skipped(os.fsdecode(row.path), row.reason) for row in rows)

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with plain_errors(self.directory), self._engine.begin() as connection:
            yield connection


class Writing:
    """What can be done inside ``with catalog.writing() as tx``."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._touched: set[int] = set()  # items that got or lost a location

    def claim_space(self, space: Space) -> None:
        """Let vectors of this space in; raises SpaceMismatch when the library holds another.

        A space has one digest but may get another name, as when a model directory is moved. The
        newest one is kept: under it the model can be loaded.
        """
        row = self._connection.execute(sa.text("SELECT name, digest, dim FROM space")).first()
        if row is None:
            self._run(
                "INSERT INTO space (name, digest, dim) VALUES (:name, :digest, :dim)",
                {"name": space.name, "digest": space.digest, "dim": space.dim},
            )
        elif row.digest != space.digest:
            raise _mismatch(Space(*row), space)
        elif row.name != space.name:
            self._run("UPDATE space SET name = :name", {"name": space.name})

    def add_source(self, path: str) -> None:
        """Remember a root that is being indexed."""
        self._run(
            "INSERT INTO source (path) VALUES (:path) ON CONFLICT DO NOTHING",
            {"path": os.fsencode(path)},
        )

    def add_items(self, items: Iterable[NewItem]) -> None:
        """Add items with their vectors; content that is there already stays as it is."""
        for item in items:
            item_id = self._connection.execute(
                sa.text(
                    "INSERT INTO item (kind, digest, text, width, height) "
                    "VALUES (:kind, :digest, :text, :width, :height) "
                    "ON CONFLICT (kind, digest) DO NOTHING RETURNING id"
                ),
                {
                    "kind": item.kind,
                    "digest": bytes.fromhex(item.digest),
                    "text": item.text,
                    "width": item.width,
                    "height": item.height,
                },
            ).scalar()
            if item_id is not None:
                self._run(
                    "INSERT INTO vector (item_id, data) VALUES (:id, :data)",
                    {"id": item_id, "data": item.vector.astype(np.float16).tobytes()},
                )

    def set_file(
        self,
        source: str,
        path: str,
        size: int,
        mtime_ns: int,
        contents: Sequence[Content] = (),
        reason: str | None = None,
    ) -> None:
        """Record a file and the items in it, in place of all that was known of it.

        With a `reason`, the file is recorded as skipped.
        """
        file_id = self._connection.execute(
            sa.text(
                "INSERT INTO file (source_id, path, size, mtime_ns, reason) "
                "VALUES ((SELECT id FROM source WHERE path = :source), "
                ":path, :size, :mtime_ns, :reason) "
                "ON CONFLICT (source_id, path) DO UPDATE SET size = excluded.size, "
                "mtime_ns = excluded.mtime_ns, reason = excluded.reason RETURNING id"
            ),
            {
                "source": os.fsencode(source),
                "path": os.fsencode(path),
                "size": size,
                "mtime_ns": mtime_ns,
                "reason": reason and _storable(reason),
            },
        ).scalar_one()
        self._touch("SELECT item_id FROM location WHERE file_id = :id", {"id": file_id})
        self._run("DELETE FROM location WHERE file_id = :id", {"id": file_id})
        for content in contents:
            self._touch(
                "INSERT INTO location (file_id, item_id, fragment) VALUES (:file, "
                "(SELECT id FROM item WHERE kind = :kind AND digest = :digest), :fragment) "
                "RETURNING item_id",
                {
                    "file": file_id,
                    "kind": content.kind,
                    "digest": bytes.fromhex(content.digest),
                    "fragment": _storable(content.fragment),
                },
            )

    def drop_files(self, source: str, paths: Collection[str]) -> None:
        """Forget files of a source, with their locations."""
        which = "path = :path AND source_id = (SELECT id FROM source WHERE path = :source)"
        for path in paths:
            values = {"path": os.fsencode(path), "source": os.fsencode(source)}
            self._touch(
                f"SELECT item_id FROM location WHERE file_id = (SELECT id FROM file WHERE {which})",
                values,
            )
            self._run(f"DELETE FROM file WHERE {which}", values)

    def drop_orphans(self) -> int:
        """Remove the items that no file holds any more, with their vectors; gives how many."""
        self.settle()
        return self._run("DELETE FROM item WHERE id NOT IN (SELECT item_id FROM location)")

    def settle(self) -> None:
        """Give numbers to the items that got their first or lost their last location.

        Done at the end of every transaction; readers learn from the numbers what has changed.
        """
        touched = "SELECT id FROM item WHERE id IN :ids"
        held = "EXISTS (SELECT 1 FROM location WHERE location.item_id = item.id)"
        shown = "EXISTS (SELECT 1 FROM appearance WHERE appearance.item_id = item.id)"
        lost = f"{touched} AND {shown} AND NOT {held}"
        for chunk in _chunks(sorted(self._touched)):
            for statement in (
                f"INSERT INTO removal (item_id) {lost}",
                f"DELETE FROM appearance WHERE item_id IN ({lost})",
                f"INSERT INTO appearance (item_id) {touched} AND {held} AND NOT {shown}",
            ):
                bound = sa.text(statement).bindparams(sa.bindparam("ids", expanding=True))
                self._connection.execute(bound, {"ids": chunk})
        self._touched.clear()

    def _touch(self, statement: str, values: Mapping[str, object]) -> None:
        """Run a statement that gives the ids of items whose locations it is about."""
        self._touched.update(self._connection.execute(sa.text(statement), values).scalars())

    def _run(self, statement: str, values: Mapping[str, object] | None = None) -> int:
        return self._connection.execute(sa.text(statement), values or {}).rowcount


def _mismatch(library: Space, other: Space) -> SpaceMismatch:
    if library.name == other.name:
        return SpaceMismatch(
            f'this library was made by other weights of model "{library.name}" '
            f"({library.digest[:8]}, now {other.digest[:8]}); index into another --library"
        )
    return SpaceMismatch(
        f'this library was made by model "{library.name}" (weights {library.digest[:8]}), not by '
        f'"{other.name}" (weights {other.digest[:8]}); index with --model {library.name}, or '
        "into another --library"
    )


def _version(connection: sa.Connection) -> Version:
    row = connection.execute(
        sa.text(
            "SELECT (SELECT id FROM library) AS library, "
            # The highest number given out; the highest in the table falls when an item goes.
            "coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'appearance'), 0) AS added, "
            "coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'removal'), 0) AS removed"
        )
    ).one()
    return Version(row.library, row.added, row.removed)


def _embedded(connection: sa.Connection, kind: Kind, digests: Collection[str]) -> set[str]:
    statement = sa.text(
        "SELECT digest FROM item WHERE kind = :kind AND digest IN :digests"
    ).bindparams(sa.bindparam("digests", expanding=True))
    found: set[str] = set()
    for chunk in _chunks(list(digests)):
        values = {"kind": kind, "digests": [bytes.fromhex(one) for one in chunk]}
        found.update(row.digest.hex() for row in connection.execute(statement, values))
    return found


def _fetch(connection: sa.Connection, ids: Sequence[int]) -> Iterator[Item]:
    statement = sa.text(
        "SELECT item.id, item.kind, item.digest, item.text, item.width, item.height, "
        "source.path AS source, file.path AS path, location.fragment "
        "FROM item JOIN location ON location.item_id = item.id "
        "JOIN file ON file.id = location.file_id JOIN source ON source.id = file.source_id "
        "WHERE item.id IN :ids ORDER BY item.id, location.id"
    ).bindparams(sa.bindparam("ids", expanding=True))
    for _, rows in groupby(connection.execute(statement, {"ids": ids}), lambda row: row.id):
        places = list(rows)
        first = places[0]
        yield Item(
            id=first.id,
            kind=first.kind,
            digest=first.digest.hex(),
            locations=tuple(
                Location(os.fsdecode(row.source), os.fsdecode(row.path), row.fragment)
                for row in places
            ),
            text=first.text,
            width=first.width,
            height=first.height,
        )


def _storable(words: str) -> str:
    """Write undecodable bytes of a name, which SQLite's text cannot hold, as escapes."""
    return words.encode("utf-8", "backslashreplace").decode("utf-8")


def _chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]
