"""The catalog: sources, files, items, locations and vectors in SQLite.

The catalog is the record; index snapshots are derived from it. Everything that belongs
together is written in one transaction, so no reader ever sees a vector without its item.
What can be changed in it stands in `searchx.writing`.
"""

import json
import os
import platform
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import numpy as np
import sqlalchemy as sa
from filelock import FileLock, Timeout

from searchx import entries
from searchx.columns import names_of
from searchx.database import FILE_NAME, connect, migrate, not_writable, plain_errors, shrink
from searchx.durable import sync
from searchx.errors import BadInput, LibraryCorrupt, LibraryError, LibraryInUse, NoLibrary
from searchx.facets import Columns, read_columns
from searchx.fetching import Fetched, context, fetch, joined
from searchx.filtering import matching
from searchx.filters import Filter, from_json
from searchx.forking import renew_in_children
from searchx.holding import (
    HeldFile,
    HeldSource,
    Holding,
    held_files,
    held_sources,
    holdings,
    skipped_reasons,
    some_skipped,
)
from searchx.inspection import Inspected, inspect, mend
from searchx.lexical import Match, matches, matches_of
from searchx.records import (
    COLLECTION,
    Ids,
    Item,
    Kind,
    Rows,
    Skipped,
    Space,
    Unchanging,
    Value,
    Vectors,
)
from searchx.spaces.beside import Beside
from searchx.writing import Content, NewFile, NewItem, Tagging, Writing, chunks

__all__ = [
    "Catalog",
    "Content",
    "Halves",
    "HeldFile",
    "HeldSource",
    "Holding",
    "Known",
    "KnownFiles",
    "KnownFolder",
    "Match",
    "NewFile",
    "NewItem",
    "Tagging",
    "Version",
    "Writing",
]

Halves: TypeAlias = np.ndarray[Any, np.dtype[np.float16]]  # (n, dim), unit rows as stored
_BLOCK: Final = 4096  # vectors read at a time
_TELLS_APART: Final = 100_000_000  # nanoseconds; file systems tell times apart by 10 ms and less
Stamp: TypeAlias = tuple[int, int]  # size in bytes, time of change in ns


@dataclass(frozen=True, slots=True)
class KnownFolder:
    """A folder that was walked before."""

    id: int
    is_mount: bool  # another device than the folder that it is in


@dataclass(frozen=True, slots=True)
class KnownFiles:
    """What is known of the files of one folder, by name."""

    stamps: dict[str, Stamp] = field(default_factory=dict)
    ids: dict[str, int] = field(default_factory=dict)
    companions: dict[str, str] = field(default_factory=dict)  # of those that have some
    reasons: dict[str, str] = field(default_factory=dict)  # of those that were skipped


@dataclass(frozen=True, slots=True)
class Version:
    """How far the catalog has come; equal versions mean that nothing appeared or was removed.

    And that vectors are those of the same space. The numbers only grow; a catalog restored from a
    backup has smaller ones.
    """

    library: str  # identity of this catalog; no other one has it, except copies of this one
    added: int  # number of the newest appearance: an item got its first location
    removed: int  # number of the newest removal: an item lost its last location
    space: str = ""  # digest of the space that vectors are read from; empty where there is none


class Catalog:
    """One library's catalog. Safe to use from many threads; each call is one transaction.

    Its vectors are those of the space that serves, or of the one that it was told to read.
    """

    def __init__(self, directory: Path, engine: sa.Engine) -> None:
        self.directory = directory
        self._holder = directory / "indexing.json"  # who holds it, for people
        self._is_closed = False
        self._inherited: list[sa.Engine] = []  # of parent processes
        self._reads = _Reads("", only_served=True)
        self._begin(engine)
        renew_in_children(self._renew)

    def _begin(self, engine: sa.Engine) -> None:
        self._opened = engine
        self._lock = FileLock(self.directory / "indexing.lock")
        self._migration_lock = FileLock(self.directory / "migrating.lock")
        self._here = threading.local()  # the moment that a thread is looking at
        self._fetched = Fetched()

    def _renew(self) -> None:
        """Open the file anew, in a process that was forked.

        The connections of the parent are kept and never used: to close them would close files.
        """
        self._inherited.append(self._opened)
        self._begin(connect(self.directory / FILE_NAME))

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
            _make_directory(directory)
        except OSError as error:
            raise not_writable(directory, error) from error
        engine = connect(path)
        try:
            with plain_errors(directory):
                migrate(engine)
        except Exception:
            engine.dispose()  # else the broken file stays open
            raise
        return cls(directory, engine)

    def close(self) -> None:
        """Let go of the database file; whatever is asked for afterwards raises LibraryError."""
        self._is_closed = True
        self._opened.dispose()

    def in_space(self, space: Space) -> "Catalog":
        """Give this catalog with the vectors of one space, be it complete or not.

        For who migrates: `indexing` holds what belongs to that space only, as `migrating` does.
        """
        other = Catalog(self.directory, self._opened)
        other._reads = _Reads(space.digest, only_served=False)
        other._lock = self._migration_lock
        other._holder = self.directory / "migrating.json"
        return other

    def stay_in(self, space: Space) -> None:
        """Read the vectors of a space from now on, for as long as it is kept."""
        self._reads = _Reads(space.digest, only_served=True)

    @contextmanager
    def indexing(self) -> Iterator[None]:
        """Hold the library as its one indexer; raises LibraryInUse when another one does."""
        with self._held(self._lock, self._holder, "written"):
            yield

    @contextmanager
    def migrating(self) -> Iterator[None]:
        """Hold the space beside the one that serves; raises LibraryInUse when another one does."""
        with self._held(self._migration_lock, self.directory / "migrating.json", "migrated"):
            yield

    @contextmanager
    def _held(self, lock: FileLock, holder: Path, done: str) -> Iterator[None]:
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise LibraryInUse(
                f"{self.directory} is being {done} by another process{_named(holder)}; "
                "wait until it is done"
            ) from error
        except OSError as error:
            raise not_writable(self.directory, error) from error
        try:
            if lock.lock_counter == 1:
                _sign(holder)
            yield
        finally:
            lock.release()

    @contextmanager
    def writing(self) -> Iterator["Writing"]:
        """Write in one transaction: all of it happens, or nothing."""
        with self._changing() as connection:
            tx = Writing(connection)
            yield tx
            tx.settle()

    @contextmanager
    def beside(self, *, writing: bool = False) -> Iterator[Beside]:
        """Look at the space beside the one that serves, or change it, in one transaction."""
        if not writing:
            with self._reading() as connection:
                yield Beside(connection)
            return
        with self._changing() as connection:
            yield Beside(connection)
            Writing(connection).settle()

    @contextmanager
    def _changing(self) -> Iterator[sa.Connection]:
        with plain_errors(self.directory), self._engine.connect() as connection:
            connection = connection.execution_options(searchx_begin="IMMEDIATE")
            with connection.begin():
                yield connection

    def space(self) -> Space | None:
        """Give the space that vectors are read from; None before the first indexing."""
        row = self._first(self._reads.space)
        return Space(*row) if row else None

    def serving(self) -> Space | None:
        """Give the space that serves; another one than `space` where a migration has ended."""
        row = self._first("SELECT name, digest, dim FROM space")
        return Space(*row) if row else None

    def sources(self) -> tuple[str, ...]:
        """Give the roots that were indexed, oldest first; no collections, which are no folders."""
        return tuple(one for one in self._sources() if not one.startswith(COLLECTION))

    def collections(self) -> tuple[str, ...]:
        """Give the names of what programs have added to, oldest first."""
        found = (one for one in self._sources() if one.startswith(COLLECTION))
        return tuple(one.removeprefix(COLLECTION) for one in found)

    def _sources(self) -> tuple[str, ...]:
        with self._reading() as connection:
            rows = connection.execute(sa.text("SELECT path FROM source ORDER BY id"))
            return tuple(os.fsdecode(row.path) for row in rows)

    def entries(
        self, collection: str, ids: Sequence[str], kind: Kind | None = None
    ) -> dict[str, int]:
        """Give the item of each external id that is there: its first view, or first of a kind."""
        with self._reading() as connection:
            return entries.find(connection, collection, ids, kind)

    def entry_views(self, collection: str, ids: Sequence[str]) -> dict[str, dict[str, int]]:
        """Give the items of all views of external ids, by the names of the views."""
        with self._reading() as connection:
            return entries.views_of(connection, collection, ids)

    def entry_page(
        self, collection: str, after: int = 0, size: int = _BLOCK, step: int = 1
    ) -> list[tuple[int, str]]:
        """Give the next external ids behind a number, each with its own; every `step`-th."""
        with self._reading() as connection:
            return entries.page(connection, collection, after, size, step)

    def entry_metas(self, numbers: Collection[int]) -> dict[int, Unchanging[Value]]:
        """Give what was added with external ids, by the numbers that `entry_page` gives."""
        with self._reading() as connection:
            return entries.metas(connection, numbers)

    def count_entries(self, collection: str) -> int:
        """Count the external ids of a collection."""
        with self._reading() as connection:
            return entries.count(connection, collection)

    def externals(self, ids: Ids) -> dict[int, tuple[str, str]]:
        """Give collection and external id of items; of those that were added by one."""
        with self._reading() as connection:
            return entries.externals(connection, ids)

    def rules(self, source: str) -> str:
        """Give the rules that a source is indexed by, as they were stored; empty for none."""
        with self._reading() as connection:
            found = connection.execute(
                sa.text("SELECT rules FROM source WHERE path = :path"),
                {"path": os.fsencode(source)},
            ).scalar()
        return found or ""

    @contextmanager
    def knowing(self, source: str, folder: str | None = None) -> Iterator["Known"]:
        """Look at what is known of a source, or of one folder in it, as of one moment."""
        with self._reading() as connection:
            yield Known(connection, source, folder)

    def digests(self, files: Collection[int]) -> dict[int, tuple[str, ...]]:
        """Give the digests of what is in files, by file id and in order; not of empty ones."""
        statement = sa.text(
            "SELECT location.file_id, item.digest FROM location "
            "JOIN item ON item.id = location.item_id "
            "WHERE location.file_id IN :ids ORDER BY location.file_id, location.id"
        ).bindparams(sa.bindparam("ids", expanding=True))
        found: dict[int, tuple[str, ...]] = {}
        with self._reading() as connection:
            for chunk in chunks(list(files)):
                rows = connection.execute(statement, {"ids": chunk})
                for file, group in groupby(rows, lambda row: row.file_id):
                    found[file] = tuple(row.digest.hex() for row in group)
        return found

    def twins(self, files: Collection[int]) -> list[tuple[int, int]]:
        """Give each of these files with those of the same path in other sources, by ids."""
        statement = sa.text(
            "SELECT file.id, twin.id AS twin FROM file JOIN folder ON folder.id = file.folder_id "
            "JOIN folder AS place ON place.path = folder.path AND place.id != folder.id "
            "JOIN file AS twin ON twin.folder_id = place.id AND twin.name = file.name "
            "WHERE file.id IN :ids"
        ).bindparams(sa.bindparam("ids", expanding=True))
        with self._reading() as connection:
            return [
                (row.id, row.twin)
                for chunk in chunks(list(files))
                for row in connection.execute(statement, {"ids": chunk})
            ]

    def has(self, kind: Kind, digest: str) -> bool:
        """Tell whether this content has a vector already; asked for every picture of a run."""
        found = self._first(
            "SELECT 1 FROM item JOIN vector ON vector.item_id = item.id "
            "WHERE kind = ? AND digest = ?",
            (kind, bytes.fromhex(digest)),
        )
        return found is not None

    def embedded(self, kind: Kind, digests: Collection[str]) -> set[str]:
        """Tell which of these contents have a vector already."""
        with self._reading() as connection:
            return _embedded(connection, kind, digests)

    def version(self) -> Version:
        """Tell how far the catalog has come; cheap enough to ask before every query."""
        row = self._first(self._reads.version)
        assert row is not None
        return Version(*row)

    def touched(self) -> tuple[int, ...]:
        """Give what is different as soon as anybody has written anything: a look at two files.

        The version stays where a file moves or what is known of it changes, and a filter may pass
        others then. Inside of `at_once` it is that of the moment.
        """
        if self._moment is not None:
            return cast(tuple[int, ...], self._here.touched)
        found: list[int] = []
        for name in (FILE_NAME, f"{FILE_NAME}-wal"):
            with suppress(FileNotFoundError):
                stamp = (self.directory / name).stat()
                found += [stamp.st_size, stamp.st_mtime_ns]
        return tuple(found)

    def settled(self) -> tuple[int, ...] | None:
        """Give what `touched` does, to keep things by; None where somebody has written just now.

        Two writes may have the same time, as far as the file system tells times apart.
        """
        touched = self.touched()
        return touched if time.time_ns() - max(touched[1::2], default=0) > _TELLS_APART else None

    def read_vectors(self, kind: Kind, after: int = 0) -> tuple[Ids, Halves, Version]:
        """Read the vectors of items that appeared after number `after`, and the version of that.

        Gives ids (n,) by their appearance, float16 vectors (n, dim), and the version. An item
        that no file holds (yet, or any more) is not there, whether it has a vector or not.
        """
        with self._reading() as connection:
            version, table, dim = self._reads.look(connection)
            rows = connection.execute(
                sa.text(
                    "SELECT vector.item_id, vector.data FROM appearance "
                    "CROSS JOIN item ON item.id = appearance.item_id "
                    f"CROSS JOIN {table} AS vector ON vector.item_id = item.id "
                    "WHERE appearance.id > :after AND item.kind = :kind ORDER BY appearance.id"
                ),
                {"after": after, "kind": kind},
            )
            ids: list[int] = []
            data = bytearray()
            for item_id, blob in rows:
                ids.append(item_id)
                data += blob
        return np.array(ids, np.int64), _halves(data, len(ids), dim), version

    @contextmanager
    def rows(self, kind: Kind) -> Iterator[tuple[Rows, Version]]:
        """Read all vectors of a kind by ascending id, as of one moment, some at a time."""
        with self._reading() as connection:
            version, table, dim = self._reads.look(connection)
            count = _count_appeared(connection, table, kind, 0)
            yield Rows(count, dim, _blocks(connection, table, kind, dim)), version

    def count_appeared(self, kind: Kind, after: int) -> int:
        """Count the items of a kind that appeared after number `after`."""
        with self._reading() as connection:
            return _count_appeared(connection, self._reads.look(connection)[1], kind, after)

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
        _ = self._engine  # raises where this was closed
        wanted = dict.fromkeys(int(one) for one in ids)
        touched = self.settled()  # before they are read, never after
        known = self._fetched.of(touched, wanted)
        missing = [one for one in wanted if one not in known]
        if missing:
            with self._reading() as connection:
                read = {
                    item.id: item for chunk in chunks(missing) for item in fetch(connection, chunk)
                }
            self._fetched.keep(touched, read)
            known |= read
        return {one: known[one] for one in wanted if one in known}

    def matching(self, kind: Kind, where: Filter) -> Ids:
        """Give the ascending ids of the items of a kind that are in files and pass a filter.

        No text passes a condition on what is known of pictures only. Raises BadInput.
        """
        with self._reading() as connection:
            return matching(connection, kind, where)

    def has_after(self, kind: Kind, item_id: int) -> bool:
        """Tell whether there is an item of a kind with an id above one; reads no older ones."""
        with self._reading() as connection:
            found = connection.exec_driver_sql(
                "SELECT 1 FROM item CROSS JOIN appearance ON appearance.item_id = item.id "
                "WHERE item.id > ? AND +kind = ? LIMIT 1",
                (item_id, kind),
            )
            return found.first() is not None

    def columns_named(self, name: str) -> list[str]:
        """Give the columns of a name, whatever its case, as they are spelled.

        Raises BadInput where there are columns, and none of that name.
        """
        with self._reading() as connection:
            return names_of(connection, name)

    def columns(self) -> Columns:
        """Read all values that items can be filtered by; counting in them asks nothing more."""
        with self._reading() as connection:
            return read_columns(connection)

    def tagging(self) -> Tagging | None:
        """Tell how labels were given to pictures last; None where none were."""
        row = self._first("SELECT vocabulary, least, passing, until FROM tagging")
        if row is None:
            return None
        vocabulary, least, passing, until = row
        passes = from_json(json.loads(passing)) if passing else None
        return Tagging(vocabulary, least, passes, until)

    def words(
        self, kind: Kind, text: str, limit: int, where: Filter | Ids | None = None
    ) -> list[Match]:
        """Give the items of a kind that hold words of a text, best first.

        Among those that pass a filter, or have one of some ids, ascending; None: among all.

        The text is words, never syntax; its first few dozen words count. Those whose file it names
        come before all others. Raises BadInput for a filter that cannot be.
        """
        with self._reading() as connection:
            if where is not None and not isinstance(where, np.ndarray):
                where = matching(connection, kind, where)
            return matches(connection, kind, text, limit, where)

    def words_of(self, kind: Kind, text: str, ids: Collection[int]) -> list[Match]:
        """Tell which words of a text these items hold, as `words` would; those with none left out.

        They come by ascending id.
        """
        with self._reading() as connection:
            return matches_of(connection, kind, text, ids)

    def vectors_of(self, ids: Collection[int]) -> tuple[Ids, Halves]:
        """Read the vectors of items: their ascending ids, and float16 vectors (n, dim).

        Items that are gone, or in no file, are left out.
        """
        with self._reading() as connection:
            _, table, dim = self._reads.look(connection)
            rows = connection.execute(
                sa.text(
                    f"SELECT vector.item_id, vector.data FROM {table} AS vector "
                    "JOIN appearance ON appearance.item_id = vector.item_id "
                    "WHERE vector.item_id IN (SELECT value FROM json_each(:ids)) "
                    "ORDER BY vector.item_id"
                ),
                {"ids": json.dumps(np.unique(np.array(list(ids), np.int64)).tolist())},
            ).all()
        found = np.array([row.item_id for row in rows], np.int64)
        return found, _halves(b"".join(row.data for row in rows), len(rows), dim)

    def vector(self, item_id: int) -> Vectors:
        """Read one item's vector as (1, dim); raises BadInput when there is none."""
        with self._reading() as connection:
            _, table, _ = self._reads.look(connection)
            blob = connection.execute(
                sa.text(
                    f"SELECT data FROM {table} JOIN appearance USING (item_id) WHERE item_id = :id"
                ),
                {"id": item_id},
            ).scalar()
        if blob is None:
            raise BadInput(f"there is no item {item_id} in this library")
        return np.frombuffer(blob, np.float16).astype(np.float32)[None, :]

    def kind(self, item_id: int) -> Kind:
        """Tell the kind of an item; raises BadInput when there is none of that id."""
        with self._reading() as connection:
            found = connection.execute(
                sa.text("SELECT kind FROM item WHERE id = :id"), {"id": item_id}
            ).scalar()
        if found is None:
            raise BadInput(f"there is no item {item_id} in this library")
        return "image" if found == "image" else "text"

    def counts(self) -> dict[str, int]:
        """Count images, texts and files; what is in a collection is in no file."""
        with self._reading() as connection:
            kinds = connection.execute(
                sa.text(
                    "SELECT kind, count(*) AS items FROM item "
                    "JOIN appearance ON appearance.item_id = item.id GROUP BY kind"
                )
            ).all()
            files = connection.execute(
                sa.text(
                    "SELECT count(*) FROM file WHERE reason IS NULL AND folder_id NOT IN "
                    "(SELECT id FROM folder WHERE substr(path, 1, :length) = :collection)"
                ),
                {"length": len(COLLECTION), "collection": COLLECTION.encode()},
            ).scalar_one()
        return {"image": 0, "text": 0} | {row.kind: row.items for row in kinds} | {"files": files}

    def skipped(self) -> tuple[Skipped, ...]:
        """Give the files that could not be indexed, each with its reason."""
        with self._reading() as connection:
            rows = connection.execute(
                sa.text(
                    "SELECT folder.path, file.name, coalesce(file.reason, file.trouble) AS why "
                    "FROM file "
                    "JOIN folder ON folder.id = file.folder_id "
                    "WHERE file.reason IS NOT NULL OR file.trouble IS NOT NULL "
                    "ORDER BY folder.path, file.name"
                )
            )
            return tuple(Skipped(joined(row.path, row.name), row.why) for row in rows)

    def holdings(self, kind: Kind) -> list[Holding]:
        """Tell by how many files each item of a kind is held, and how good it is, by id."""
        with self._reading() as connection:
            return holdings(connection, kind)

    def held_files(self, ids: Collection[int]) -> list[HeldFile]:
        """Give the files that hold some items, each once, by item and then the oldest first."""
        with self._reading() as connection:
            return held_files(connection, ids)

    def held_sources(self) -> list[HeldSource]:
        """Tell what each source holds, oldest first."""
        with self._reading() as connection:
            return held_sources(connection)

    def skipped_reasons(self) -> list[tuple[str, int]]:
        """Count the files that could not be indexed by their reasons, the most frequent first."""
        with self._reading() as connection:
            return skipped_reasons(connection)

    def some_skipped(
        self, k: int, reason: str | None = None, after: int = 0
    ) -> list[tuple[int, Skipped]]:
        """Give k of the files that could not be indexed after a number, each with its own."""
        with self._reading() as connection:
            return some_skipped(connection, k, reason, after)

    def context(self, item_id: int) -> tuple[str, str]:
        """Give the passages before and after a text where it was found first; empty for none."""
        with self._reading() as connection:
            return context(connection, item_id)

    def inspect(self) -> Inspected:
        """Look at every row; gives what is wrong."""
        with self._reading() as connection:
            return inspect(connection)

    def mend(self) -> list[str]:
        """Put right what `inspect` finds in the rows; gives what was done, a line each."""
        with self._changing() as connection:
            return mend(connection)

    def compact(self) -> None:
        """Give back the space of what is gone. The snapshots must be as new as the catalog."""
        with self._changing() as connection:
            connection.execute(sa.text("DELETE FROM removal"))  # no snapshot asks for them
        with plain_errors(self.directory):
            shrink(self._engine)

    @property
    def _engine(self) -> sa.Engine:
        # Once disposed of, it would open the file again without a word.
        if self._is_closed:
            raise LibraryError(f"{self.directory} was closed here; open it again to go on")
        return self._opened

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Read as of one moment: all that this thread asks inside is answered from the same state.

        The moment is that of the first question. Nothing is written inside.
        """
        if self._moment is not None:
            yield
            return
        self._here.touched = self.touched()  # before the first question, never after it
        with self._reading() as connection:
            self._here.moment = connection
            try:
                yield
            finally:
                self._here.moment = None

    @property
    def _moment(self) -> sa.Connection | None:
        return getattr(self._here, "moment", None)

    def _first(self, statement: str, values: Sequence[object] = ()) -> tuple[Any, ...] | None:
        """Give the first row of one statement, asked for with every query or every picture.

        By the driver: SQLAlchemy's way to it takes ten times as long.
        """
        if self._moment is not None:
            return cast(
                tuple[Any, ...] | None,
                self._moment.connection.cursor().execute(statement, values).fetchone(),
            )
        with plain_errors(self.directory), closing(self._engine.raw_connection()) as raw:
            return cast(tuple[Any, ...] | None, raw.cursor().execute(statement, values).fetchone())

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        if self._moment is not None:
            yield self._moment
            return
        with plain_errors(self.directory), self._engine.begin() as connection:
            yield connection


class Known:
    """What a catalog knows of one source, or of one folder in it, as of one moment."""

    def __init__(self, connection: sa.Connection, source: str, folder: str | None = None) -> None:
        self._cursor = connection.connection.cursor()
        rows = connection.execute(
            sa.text(
                "SELECT folder.id, folder.path, folder.is_mount FROM folder "
                "JOIN source ON source.id = folder.source_id WHERE source.path = :source"
                + ("" if folder is None else " AND folder.path = :folder")
            ),
            {"source": os.fsencode(source)}
            | ({} if folder is None else {"folder": os.fsencode(folder)}),
        )
        self.folders = {
            os.fsdecode(row.path): KnownFolder(row.id, bool(row.is_mount)) for row in rows
        }

    def files(self, folder: str) -> KnownFiles:
        """Give what is known of the files in a folder; nothing where it is not known."""
        known = KnownFiles()
        if folder not in self.folders:
            return known
        # By the driver: one of these for every folder of every run, and SQLAlchemy's way to it
        # takes four times as long as the query.
        self._cursor.execute(
            "SELECT id, name, size, mtime_ns, companions, reason FROM file WHERE folder_id = ?",
            (self.folders[folder].id,),
        )
        for file, raw, size, mtime_ns, companions, reason in self._cursor.fetchall():
            name = os.fsdecode(raw)
            known.stamps[name] = (size, mtime_ns)
            known.ids[name] = file
            if companions:
                known.companions[name] = companions
            if reason is not None:
                known.reasons[name] = reason
        return known


_SPACES: Final = (
    "SELECT name, digest, dim, 'vector' AS held, 1 AS has_served, 0 AS place FROM space "
    "UNION ALL SELECT name, digest, dim, 'other_vector', has_served, 1 FROM other_space"
)


class _Reads:
    """Which space vectors are read from: one by its digest where it is there, else what serves.

    With `only_served`, only one that has served: another one may not be complete.
    """

    def __init__(self, digest: str, only_served: bool) -> None:
        wanted = f"digest = CAST(x'{digest.encode().hex()}' AS TEXT)"
        wanted += " AND has_served" if only_served else ""
        chosen = f"FROM ({_SPACES}) ORDER BY ({wanted}) DESC, place LIMIT 1"
        if not digest:
            chosen = "FROM space"
        self.space = f"SELECT name, digest, dim {chosen}"
        self.version = (
            "SELECT (SELECT id FROM library) AS library, "
            # The highest number given out; the highest in the table falls when an item goes.
            "coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'appearance'), 0) AS added, "
            "coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'removal'), 0) AS removed, "
            f"coalesce((SELECT digest {chosen}), '') AS space"
        )
        held = "held" if digest else "'vector' AS held"
        self._held = sa.text(f"SELECT {held}, dim {chosen}")

    def look(self, connection: sa.Connection) -> tuple[Version, str, int]:
        """Give the version, the table of the vectors, and their width."""
        version = Version(*connection.execute(sa.text(self.version)).one())
        row = connection.execute(self._held).first()
        return version, *(("vector", 0) if row is None else (str(row.held), int(row.dim)))


# CROSS JOIN is how SQLite is told the order of tables: left to itself it begins with all items of a
# kind, also where few have appeared since, and sorts the vectors that it could have read in order.
def _count_appeared(connection: sa.Connection, table: str, kind: Kind, after: int) -> int:
    counted = connection.execute(
        sa.text(
            "SELECT count(*) FROM appearance CROSS JOIN item ON item.id = appearance.item_id "
            f"CROSS JOIN {table} AS vector ON vector.item_id = item.id "
            "WHERE appearance.id > :after AND item.kind = :kind"
        ),
        {"after": after, "kind": kind},
    )
    return int(counted.scalar_one())


def _blocks(
    connection: sa.Connection, table: str, kind: Kind, dim: int
) -> Iterator[tuple[Ids, np.ndarray[Any, np.dtype[np.float16]]]]:
    found = connection.execution_options(stream_results=True).execute(
        sa.text(
            "SELECT vector.item_id, vector.data FROM appearance "
            "CROSS JOIN item ON item.id = appearance.item_id "
            f"CROSS JOIN {table} AS vector ON vector.item_id = item.id "
            "WHERE item.kind = :kind ORDER BY appearance.item_id"
        ),
        {"kind": kind},
    )
    for rows in found.partitions(_BLOCK):
        data = b"".join(row.data for row in rows)
        ids = np.array([row.item_id for row in rows], np.int64)
        yield ids, _halves(data, len(rows), dim)


def _halves(data: bytes | bytearray, count: int, dim: int) -> Halves:
    if len(data) != 2 * dim * count:
        raise LibraryCorrupt(
            'the catalog of this library holds vectors of a wrong length; run "searchx repair", '
            'then "searchx index"'
        )
    return np.frombuffer(data, np.float16).reshape(count, dim)


def _embedded(connection: sa.Connection, kind: Kind, digests: Collection[str]) -> set[str]:
    statement = sa.text(
        "SELECT digest FROM item JOIN vector ON vector.item_id = item.id "
        "WHERE kind = :kind AND digest IN :digests"
    ).bindparams(sa.bindparam("digests", expanding=True))
    found: set[str] = set()
    for chunk in chunks(list(digests)):
        values = {"kind": kind, "digests": [bytes.fromhex(one) for one in chunk]}
        found.update(row.digest.hex() for row in connection.execute(statement, values))
    return found


def _make_directory(directory: Path) -> None:
    """Create a library's directory so that its name survives a power failure."""
    if directory.is_dir():
        return
    directory.mkdir(parents=True, exist_ok=True)
    sync(directory.parent)


def _sign(holder: Path) -> None:
    """Leave word of who holds the library; where that is not possible the lock still holds."""
    about = {"pid": os.getpid(), "host": platform.node(), "since": int(time.time())}
    with suppress(OSError):
        holder.write_text(json.dumps(about), encoding="utf-8")


def _named(holder: Path) -> str:
    """Tell who holds the library, as far as it left word."""
    try:
        about = json.loads(holder.read_text(encoding="utf-8"))
        since = datetime.fromtimestamp(about["since"]).astimezone()
        return f" ({about['pid']} on {about['host']}, since {since:%Y-%m-%d %H:%M})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
