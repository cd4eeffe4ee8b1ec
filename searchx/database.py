"""The database behind the catalog: how it is opened, migrated, and what its errors mean."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa

from searchx.errors import LibraryCorrupt, LibraryError, LibraryFull, LibraryInUse

FILE_NAME = "catalog.db"
_PATIENCE = 30  # seconds to wait for another writer
MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"


def migrate(engine: sa.Engine) -> None:
    """Bring the schema to the newest version, all of it in one write transaction.

    Raises LibraryError when a newer searchx made the library.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    newest = ScriptDirectory.from_config(config).get_current_head()
    with engine.connect() as connection:
        if _schema_version(connection) == newest:
            return
    with engine.connect().execution_options(searchx_begin="IMMEDIATE") as connection:
        config.attributes["connection"] = connection
        try:
            with connection.begin():
                command.upgrade(config, "head")
        except CommandError as error:
            raise LibraryError(
                f"{engine.url.database} was made by a newer searchx; "
                "update with: pip install --upgrade searchx"
            ) from error


def _schema_version(connection: sa.Connection) -> str | None:
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


def _open_read_only(path: Path) -> sqlite3.Connection:
    """Open a library whose directory this user cannot write to.

    While somebody writes to it, there is a file ``-wal`` beside it, and it can be read as usual.
    Without one SQLite would have to make it, unless it is told that nothing changes; that holds
    on a read-only medium, and elsewhere until the next transaction looks again.
    """
    unchanging = "" if path.with_name(f"{path.name}-wal").exists() else "&immutable=1"
    address = f"file:{quote(str(path))}?mode=ro{unchanging}"
    return sqlite3.connect(address, uri=True, timeout=_PATIENCE, check_same_thread=False)


@contextmanager
def plain_errors(directory: Path) -> Iterator[None]:
    """Turn what SQLite says into one line for people."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        raise _plain_error(directory, str(error.orig).lower()) from error


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
