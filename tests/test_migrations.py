import ast
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from searchx import database
from searchx.catalog import Catalog, NewItem
from searchx.errors import LibraryError
from searchx.records import Space

VECTOR = np.full(4, 0.5, np.float32)
REVISIONS = sorted((database.MIGRATIONS / "versions").glob("[0-9]*.py"))


def schema(directory: Path) -> set[str]:
    with closing(sqlite3.connect(directory / "catalog.db")) as connection:
        return {row[0] for row in connection.execute("SELECT sql FROM sqlite_master") if row[0]}


def test_the_revisions_are_one_line_of_history() -> None:
    config = Config()
    config.set_main_option("script_location", str(database.MIGRATIONS))
    scripts = ScriptDirectory.from_config(config)
    assert len(scripts.get_heads()) == 1
    order = [one.revision for one in scripts.walk_revisions()][::-1]
    assert order == [path.name.partition("_")[0] for path in REVISIONS]


def test_a_fresh_library_has_every_table(tmp_path: Path) -> None:
    Catalog.open(tmp_path, create=True).close()
    tables = {
        "library",
        "space",
        "source",
        "file",
        "item",
        "location",
        "vector",
        "appearance",
        "removal",
    }
    with closing(sqlite3.connect(tmp_path / "catalog.db")) as connection:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        assert tables | {"alembic_version"} == {row[0] for row in rows} - {"sqlite_sequence"}
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    Catalog.open(tmp_path, create=True).close()
    before = (tmp_path / "catalog.db").read_bytes()
    Catalog.open(tmp_path).close()
    assert (tmp_path / "catalog.db").read_bytes() == before


def test_a_library_of_a_newer_searchx_is_left_alone(tmp_path: Path) -> None:
    with closing(Catalog.open(tmp_path, create=True)) as opened, opened.writing() as tx:
        tx.claim_space(Space("colour", "colour-1", 4))
    with closing(sqlite3.connect(tmp_path / "catalog.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    before = schema(tmp_path)
    with pytest.raises(LibraryError, match=r"newer searchx; update with: pip install") as caught:
        Catalog.open(tmp_path)
    assert "\n" not in str(caught.value)
    assert schema(tmp_path) == before


def test_a_migration_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """A table in the way makes the first revision fail half-way."""
    with closing(sqlite3.connect(tmp_path / "catalog.db")) as connection:
        connection.execute("CREATE TABLE vector (mine TEXT)")
    with pytest.raises(LibraryError, match="already exists") as caught:
        Catalog.open(tmp_path)
    assert "\n" not in str(caught.value)
    assert schema(tmp_path) == {"CREATE TABLE vector (mine TEXT)"}


def test_an_empty_catalog_file_becomes_a_library(tmp_path: Path) -> None:
    (tmp_path / "catalog.db").touch()
    with closing(Catalog.open(tmp_path)) as opened:
        assert opened.counts() == {"image": 0, "text": 0, "files": 0}


def test_the_database_itself_refuses_nonsense(tmp_path: Path) -> None:
    with closing(Catalog.open(tmp_path, create=True)) as opened, opened.writing() as tx:
        tx.claim_space(Space("colour", "colour-1", 4))
        tx.add_items([NewItem("image", "ab" * 32, VECTOR)])
    with closing(sqlite3.connect(tmp_path / "catalog.db")) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        for statement in (
            "INSERT INTO item (kind, digest) SELECT kind, digest FROM item",
            "INSERT INTO item (kind, digest) VALUES ('sound', x'00')",
            "INSERT INTO location (file_id, item_id) VALUES (7, 1)",
            "INSERT INTO vector (item_id, data) VALUES (7, x'00')",
            "INSERT INTO vector (item_id, data) VALUES (1, x'00')",
        ):
            with pytest.raises(sqlite3.IntegrityError):
                connection.execute(statement)


def test_an_item_takes_all_that_is_its_own_along(tmp_path: Path) -> None:
    with closing(Catalog.open(tmp_path, create=True)) as opened, opened.writing() as tx:
        tx.add_items([NewItem("image", "ab" * 32, VECTOR)])
        assert tx.drop_orphans() == 1
    with closing(sqlite3.connect(tmp_path / "catalog.db")) as connection:
        for table in ("item", "vector", "appearance", "removal"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_the_migrations_stand_by_themselves() -> None:
    """What a revision did must not change when the code around it does."""
    for path in (*REVISIONS, database.MIGRATIONS / "env.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {name.partition(".")[0] for name in names} <= {"alembic", "sqlalchemy"}, path
