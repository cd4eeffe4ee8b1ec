"""The database behind the catalog: how it is opened, migrated, and what its errors mean."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import sqlalchemy as sa

from searchx import lexical
from searchx.durable import sync
from searchx.errors import BadInput, LibraryCorrupt, LibraryError, LibraryFull, LibraryInUse

FILE_NAME = "catalog.db"
FORMAT = "0006"  # the newest migration; alembic is only imported where there is something to do
_PATIENCE = 30  # seconds to wait for another writer
MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"


def migrate(engine: sa.Engine) -> None:
    """Bring the schema to the newest version, and the words, all in one write transaction.

    Raises LibraryError when a newer searchx made the library.
    """
    with engine.connect() as connection:
        if format_of(connection) == FORMAT:
            return
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with engine.connect().execution_options(searchx_begin="IMMEDIATE") as connection:
        config.attributes["connection"] = connection
        try:
            with connection.begin():
                command.upgrade(config, "head")
                lexical.refresh(connection)
        except CommandError as error:
            raise LibraryError(
                f"{engine.url.database} was made by a newer searchx; "
                "update with: pip install --upgrade searchx"
            ) from error


def format_of(connection: sa.Connection) -> str | None:
    """Tell which migration a library is at; None for an empty file."""
    with connection.begin():
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def connect(path: Path) -> sa.Engine:
    """Make an engine whose transactions begin as asked: IMMEDIATE for writers, DEFERRED else.

    SQLAlchemy's default lets concurrent first opens fail and half a migration stay behind.
    """
    writable = os.access(path.parent, os.W_OK)
    engine = _engine(path) if writable else _read_only_engine(path)

    @sa.event.listens_for(engine, "connect")
    def _on_connect(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # transactions begin where we say so, not where it does
        if writable:
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")

    @sa.event.listens_for(engine, "begin")
    def _on_begin(connection: sa.Connection) -> None:
        mode = connection.get_execution_options().get("searchx_begin", "DEFERRED")
        connection.exec_driver_sql(f"BEGIN {mode}")

    return engine


def _engine(path: Path) -> sa.Engine:
    # As many connections as threads ask at once (0: no limit); a queue for them starves readers.
    url = sa.URL.create("sqlite", database=str(path))
    return sa.create_engine(url, connect_args={"timeout": _PATIENCE}, pool_size=0)


def _read_only_engine(path: Path) -> sa.Engine:
    """Make an engine that opens the file anew for every transaction: others may write to it."""
    url = sa.URL.create("sqlite", database=str(path))  # for messages; `creator` is what connects
    return sa.create_engine(url, creator=partial(_open_read_only, path), poolclass=sa.NullPool)


def _open(path: Path) -> sqlite3.Connection:
    """Open a library outside of SQLAlchemy, as this user may."""
    if os.access(path.parent, os.W_OK):
        return sqlite3.connect(path, timeout=_PATIENCE)
    return _open_read_only(path.absolute())


def _open_read_only(path: Path) -> sqlite3.Connection:
    """Open a library whose directory this user cannot write to.

    While somebody writes to it, there is a file ``-wal`` beside it, and it can be read as usual.
    Without one SQLite would have to make it, unless it is told that nothing changes; that holds
    on a read-only medium, and elsewhere until the next transaction looks again.
    """
    unchanging = "" if path.with_name(f"{path.name}-wal").exists() else "&immutable=1"
    address = f"file:{quote(str(path))}?mode=ro{unchanging}"
    return sqlite3.connect(address, uri=True, timeout=_PATIENCE, check_same_thread=False)


def shrink(engine: sa.Engine) -> None:
    """Write the database anew without its gaps, and empty its log."""
    with engine.connect() as connection:
        raw = connection.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        connection.rollback()  # VACUUM runs outside of a transaction
        raw.execute("VACUUM")
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def copy_to(directory: Path, file: Path) -> None:
    """Copy the database of a library into one file, as of one moment, while others use it.

    The file is written beside and renamed when it is whole. Raises LibraryFull.
    """
    beside = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        with plain_errors(directory), closing(_open(directory / FILE_NAME)) as source:
            source.execute("SELECT id FROM library").fetchone()  # what fails here is the library's
            checked = _write_copy(source, beside, file)
        if checked != "ok":
            raise _plain_error(directory, checked)
        sync(beside)
        beside.replace(file)
        sync(file.parent)
    except OSError as error:
        raise _no_room(file, error.strerror or str(error)) from error
    finally:
        for rest in ("", "-journal"):
            with suppress(OSError):
                beside.with_name(beside.name + rest).unlink(missing_ok=True)


def _write_copy(source: sqlite3.Connection, beside: Path, file: Path) -> str:
    """Write a copy, and tell what is wrong with it: a damaged library has no whole backup."""
    beside.unlink(missing_ok=True)  # of a process that was killed and had the same number
    try:
        with closing(sqlite3.connect(beside)) as target:
            source.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")  # one file, no log beside it
            return str(target.execute("PRAGMA integrity_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        if error.sqlite_errorname in ("SQLITE_CORRUPT", "SQLITE_NOTADB"):
            raise
        raise _no_room(file, str(error)) from error


def _no_room(file: Path, why: str) -> LibraryFull:
    return LibraryFull(
        f"{file} cannot be written ({why}); free some space, or choose another place for the backup"
    )


@contextmanager
def restorable(file: Path, directory: Path) -> Iterator[Path]:
    """Give a copy of a backup, in the newest format, under an identity of its own.

    The identity keeps snapshots away that were built from another course of the same library: the
    numbers of a catalog that was restored are given a second time. Raises LibraryFull.
    """
    for interrupted in directory.glob(".restore-*"):  # the caller holds the library
        shutil.rmtree(interrupted, ignore_errors=True)
    try:
        beside = TemporaryDirectory(dir=directory, prefix=".restore-", ignore_cleanup_errors=True)
    except OSError as error:
        raise not_writable(directory, error) from error
    with plain_errors(directory), beside as place:
        copy = Path(place) / FILE_NAME
        with (
            closing(_open_read_only(file.absolute())) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
        engine = connect(copy)
        try:
            migrate(engine)
            with engine.begin() as connection:
                connection.execute(sa.text("UPDATE library SET id = lower(hex(randomblob(16)))"))
        finally:
            engine.dispose()
        yield copy


def copy_into(file: Path, directory: Path) -> None:
    """Replace the database of a library by another one, in one transaction."""
    with (
        plain_errors(directory),
        closing(sqlite3.connect(file)) as source,
        closing(sqlite3.connect(directory / FILE_NAME, timeout=_PATIENCE)) as target,
    ):
        source.backup(target)


def discard(directory: Path) -> None:
    """Remove a database that cannot be read."""
    for rest in ("", "-wal", "-shm"):
        (directory / f"{FILE_NAME}{rest}").unlink(missing_ok=True)


def check_backup(file: Path) -> None:
    """Make sure that a file is a whole backup that this searchx can read; raises BadInput."""
    if not file.is_file():
        raise BadInput(f"{file} does not exist or is no file; name a backup")
    try:
        with closing(_open_read_only(file.absolute())) as connection:
            found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            connection.execute("SELECT id FROM library").fetchone()
            checked = connection.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.Error as error:
        raise BadInput(f"{file} is no backup of a searchx library ({error})") from error
    if checked != ("ok",):
        raise BadInput(f"{file} is a damaged backup ({checked[0]}); use another one")
    if found is None or found[0] > FORMAT:
        raise BadInput(f"{file} was made by a newer searchx; update with: pip install -U searchx")


def rebuild(directory: Path) -> list[str]:
    """Make the indexes of a damaged database anew; gives what was done, a line each.

    Raises LibraryCorrupt where that does not help.
    """
    with (
        plain_errors(directory),
        closing(sqlite3.connect(directory / FILE_NAME, timeout=_PATIENCE)) as connection,
    ):
        try:
            if connection.execute("PRAGMA integrity_check(1)").fetchone() == ("ok",):
                return []
            connection.execute("REINDEX")
            connection.commit()
            checked = connection.execute("PRAGMA integrity_check(1)").fetchone()
        except sqlite3.Error as error:
            raise _plain_error(directory, str(error).lower()) from error
    if checked != ("ok",):
        raise _plain_error(directory, str(checked[0]))
    return ["the indexes of the database were made anew"]


@contextmanager
def plain_errors(directory: Path) -> Iterator[None]:
    """Turn what SQLite says into one line for people."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        raise _plain_error(directory, str(error.orig).lower()) from error
    except sqlite3.Error as error:
        raise _plain_error(directory, str(error).lower()) from error


def not_writable(directory: Path, error: OSError) -> LibraryFull:
    """Say in one line that a library cannot be written, and why."""
    return LibraryFull(
        f"{directory} cannot be written ({error.strerror or error}); "
        "free some space, check its permissions, or choose another --library"
    )


def _plain_error(directory: Path, said: str) -> LibraryError:
    if "locked" in said:
        return LibraryInUse(f"{directory} is being written by another process; try again later")
    if "full" in said or "readonly" in said or "unable to open" in said or "disk i/o" in said:
        return LibraryFull(
            f"{directory} cannot be written ({said}); "
            "free some space, check its permissions, or choose another --library"
        )
    return LibraryCorrupt(
        f"{directory / FILE_NAME} cannot be read ({said}); restore it from a backup, or move it "
        "away and index again"
    )
