import ast
import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from indexer.pipeline import index
from indexer.planning import Options
from searchx import database
from searchx.catalog import Catalog, NewItem
from searchx.errors import LibraryError
from searchx.filters import Is
from searchx.records import Item, Kind, Space
from searchx.refreshing import drop_foreign_snapshots, refresh_snapshots
from searchx.search import Library
from searchx.upkeep import move_source, verify
from tests.colour import ColourEncoder, paint

VECTOR = np.full(4, 0.5, np.float32)
LIBRARIES = Path(__file__).parent / "libraries"  # dumps, each made by the version of its name
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
    assert scripts.get_heads() == [database.FORMAT]


PARTS_OF_FTS5 = ("config", "content", "data", "docsize", "idx")


def test_a_fresh_library_has_every_table(tmp_path: Path) -> None:
    Catalog.open(tmp_path, create=True).close()
    tables = {
        "library",
        "space",
        "source",
        "folder",
        "file",
        "item",
        "location",
        "metadata",
        "keyword",
        "vector",
        "appearance",
        "removal",
        "words_due",
        "tag",
        "tagging",
        "other_space",
        "other_vector",
        "attribute_name",
        "attribute",
        *(f"{kind}_{what}" for kind in ("image", "text") for what in ("words", "terms")),
        *(f"{kind}_words_{part}" for kind in ("image", "text") for part in PARTS_OF_FTS5),
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
            modules = {name.partition(".")[0] for name in names}
            assert modules <= {"alembic", "sqlalchemy", *sys.stdlib_module_names}, path


OLDER = sorted(LIBRARIES.glob("*.sql"))


@pytest.fixture(params=OLDER, ids=[path.stem for path in OLDER])
def older(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Give a library as an older version left it."""
    return loaded(request.param, tmp_path / "library")


def loaded(dump: Path, directory: Path) -> Path:
    directory.mkdir()
    with closing(sqlite3.connect(directory / "catalog.db")) as connection:
        connection.executescript(dump.read_text(encoding="utf-8"))
    return directory


def rows(directory: Path, statement: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(directory / "catalog.db")) as connection:
        return connection.execute(statement).fetchall()


def everything(directory: Path) -> Sequence[Item]:
    with Library.open(directory, encoder=ColourEncoder()) as library:
        return [library.item(number) for (number,) in rows(directory, "SELECT id FROM item")]


def test_every_older_version_has_a_library_to_prove_it() -> None:
    assert [path.stem for path in OLDER] == [
        path.name.partition("_")[0] for path in REVISIONS if path.stem[:4] < database.FORMAT
    ]


KEPT = (
    "SELECT id, kind, digest, text, width, height FROM item ORDER BY id",
    "SELECT item_id, data FROM vector ORDER BY item_id",
    "SELECT id, item_id FROM appearance ORDER BY id",
    "SELECT id, item_id FROM removal ORDER BY id",
    "SELECT id, path FROM source ORDER BY id",
    "SELECT id, file_id, item_id, fragment FROM location ORDER BY id",
    "SELECT id, name, digest, dim FROM space",
    "SELECT id FROM library",
    "SELECT id, size, reason FROM file ORDER BY id",
    "SELECT name, seq FROM sqlite_sequence WHERE name <> 'file' ORDER BY name",
)


def test_an_older_library_keeps_all_that_it_holds(older: Path) -> None:
    before = [rows(older, statement) for statement in KEPT]
    assert all(before[number] for number in (0, 1, 2, 4, 5, 8))
    Catalog.open(older).close()
    assert [rows(older, statement) for statement in KEPT] == before
    assert rows(older, "SELECT version_num FROM alembic_version") == [(database.FORMAT,)]
    assert rows(older, "PRAGMA foreign_key_check") == []
    assert rows(older, "PRAGMA integrity_check") == [("ok",)]
    assert verify(older).as_dict()["ok"]


def test_an_older_library_gets_the_schema_of_a_new_one(older: Path, tmp_path: Path) -> None:
    Catalog.open(older).close()
    Catalog.open(tmp_path / "new", create=True).close()
    assert shape(older) == shape(tmp_path / "new")


def shape(directory: Path) -> dict[str, set[tuple[object, ...]]]:
    """Give the columns and references of every table, and the indexes."""
    tables = rows(directory, "SELECT name FROM sqlite_master WHERE type = 'table'")
    found = {
        f"{about} {name}": set(rows(directory, f"PRAGMA {about}({name})"))
        for (name,) in tables
        for about in ("table_info", "foreign_key_list")
    }
    for kind in ("index", "trigger"):
        made = f"SELECT name, sql FROM sqlite_master WHERE type = '{kind}'"
        found[kind] = {(name, sql) for name, sql in rows(directory, made)}
    return found


def test_what_was_in_an_older_library_is_found_where_it_was(older: Path) -> None:
    with Library.open(older, encoder=ColourEncoder()) as library:
        red, blue = library.search("red", 2)
        assert red.item.paths == (
            "/home/ann/photos/red.png",
            "/home/ann/photos/trip/copy of red.png",
        )
        assert blue.path == "/home/ann/photos/trip/blue.jpg"
        (text,) = library.search("yellow", 1, to="text")
        assert (text.item.text, text.item.locations[0].fragment) == ("a yellow sun", "line 3")
        status = library.status()
    texts = rows(older, "SELECT count(*) FROM item WHERE kind = 'text'")[0][0]
    assert (status.images, status.texts, status.files) == (2, texts, 5)
    assert status.sources[:2] == ("/home/ann/photos", "/home/ann/captions.jsonl")
    assert [one.path for one in status.skipped] == ["/home/ann/photos/broken.png"]


def test_what_was_in_an_older_library_is_found_by_its_words(older: Path) -> None:
    with closing(Catalog.open(older)) as catalog:
        assert paths(catalog, "blue") == ["/home/ann/photos/trip/blue.jpg"]
        assert paths(catalog, "copy of red") == ["/home/ann/photos/red.png"]  # its first place
        assert paths(catalog, "sun", "text") == ["/home/ann/photos/notes.txt"]
        folder = [int(one) for one in catalog.matching("image", Is("folder", "trip"))]
        assert folder == [1, 2]


def test_captions_and_keywords_of_an_older_library_are_words(tmp_path: Path) -> None:
    """The first version kept neither."""
    older = loaded(LIBRARIES / "0002.sql", tmp_path / "library")
    with closing(Catalog.open(older)) as catalog:
        for words, path in (
            ("wall", "red.png"),  # a caption in another file
            ("lighthouse", "trip/blue.jpg"),
            ("kuste", "trip/blue.jpg"),
            ("morning sea", "trip/blue.jpg"),
        ):
            assert paths(catalog, words) == [f"/home/ann/photos/{path}"]


def paths(catalog: Catalog, words: str, kind: Kind = "image") -> list[str]:
    found = [one.id for one in catalog.words(kind, words, 5)]
    return [catalog.items(found)[one].path for one in found]


def test_a_snapshot_from_before_a_migration_still_fits(older: Path, tmp_path: Path) -> None:
    """The snapshot is built from the same catalog after it has migrated: the ids are the same."""
    twin = Path(shutil.copytree(older, tmp_path / "twin"))
    with closing(Catalog.open(twin)) as catalog:
        refresh_snapshots(catalog)
    for manifest in (twin / "snapshots").glob("*/manifest.json"):
        held = json.loads(manifest.read_text())
        for name in ("digests", "seal", "efforts", "trained", "curve"):
            del held[name]  # the first version wrote none
        held["nprobe"] = 0
        manifest.write_text(json.dumps(held))
    shutil.copytree(twin / "snapshots", older / "snapshots")
    names = {path: path.stat().st_mtime_ns for path in (older / "snapshots").rglob("*")}
    with closing(Catalog.open(older)) as catalog:
        drop_foreign_snapshots(catalog)
        refresh_snapshots(catalog)
    verdict = verify(older)
    assert (verdict.problems, verdict.snapshots) == ((), 2)
    assert {path: path.stat().st_mtime_ns for path in (older / "snapshots").rglob("*")} == names


def test_the_next_run_reads_an_older_library_anew_and_embeds_no_picture(
    older: Path, tmp_path: Path
) -> None:
    """The pictures have the bytes that they had when the library was made."""
    photos = tmp_path / "photos"
    paint(photos / "red.png", "red")
    paint(photos / "trip" / "copy of red.png", "red")
    (photos / "broken.png").write_bytes(b"no picture")
    (photos / "notes.txt").write_text("a green field\n\na yellow sun\n")
    known = {item.digest for item in everything(older)}
    red = blake2b((photos / "red.png").read_bytes(), digest_size=32).hexdigest()
    if red not in known:
        pytest.skip("this Pillow writes the same picture in other bytes")
    assert move_source(older, "/home/ann/photos", photos) == 4
    encoder = ColourEncoder()
    with closing(Catalog.open(older)) as catalog:
        report = index([photos], catalog, encoder, options=Options(workers=0))
        again = index([photos], catalog, encoder, options=Options(workers=0))
    assert (encoder.embedded_images, report.embedded) == (0, 0)
    assert (report.added, report.moved, report.updated) == (0, 0, 0)
    assert (again.unchanged, len(again.skipped)) == (3, 1)
    assert {item.digest for item in everything(older)} < known  # the blue picture is gone


def test_a_migration_that_fails_half_way_leaves_the_older_library(tmp_path: Path) -> None:
    """A table in the way makes the second revision fail after its first statements."""
    older = loaded(LIBRARIES / "0001.sql", tmp_path / "library")
    with closing(sqlite3.connect(older / "catalog.db")) as connection:
        connection.execute("CREATE TABLE location_new (mine TEXT)")
        connection.commit()
        before = list(connection.iterdump())
    with pytest.raises(LibraryError, match="already exists") as caught:
        Catalog.open(older)
    assert "\n" not in str(caught.value)
    with closing(sqlite3.connect(older / "catalog.db")) as connection:
        assert list(connection.iterdump()) == before
        connection.execute("DROP TABLE location_new")
    assert verify(older).as_dict()["ok"]


OPEN = """
import sys
from searchx.catalog import Catalog
Catalog.open(sys.argv[1]).close()
print("alembic" in sys.modules)
"""


def test_opening_loads_alembic_only_where_there_is_something_to_do(older: Path) -> None:
    for loads in ("True", "False"):
        arguments = [sys.executable, "-c", OPEN, str(older)]
        run = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=True)
        assert run.stdout.strip() == loads


def test_processes_that_open_an_older_library_at_once_migrate_it_once(older: Path) -> None:
    arguments = [sys.executable, "-c", OPEN, str(older)]
    running = [
        subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    said = [one.communicate(timeout=60)[1] for one in running]
    assert [one.returncode for one in running] == [0] * 4, said
    assert verify(older).as_dict()["ok"]
