import mmap  # noqa: F401 - a mere user may not be able to read where it stands
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer import pipeline
from indexer.planning import Options
from searchx import vectors
from searchx.catalog import Catalog
from searchx.database import FILE_NAME
from searchx.errors import (
    BadInput,
    LibraryCorrupt,
    LibraryError,
    LibraryFull,
    LibraryInUse,
    NoLibrary,
)
from searchx.records import KINDS, Hit, Report, Rows
from searchx.search import Library
from searchx.upkeep import backup, compact, forget, move_source, repair, restore, verify
from searchx.views import SNAPSHOTS, held_ids
from tests.colour import COLOURS, ColourEncoder, paint
from tests.mere_user import as_mere_user

LIBRARIES = Path(__file__).parent / "libraries"


def index(
    directory: Path, *sources: Path, encoder: ColourEncoder | None = None, prune: bool = False
) -> Report:
    return pipeline.index_into(
        directory, sources, encoder or ColourEncoder(), options=Options(workers=0, prune=prune)
    )


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Index a picture of each colour and two texts, once; the place holds photos and library."""
    place = tmp_path_factory.mktemp("indexed")
    for colour in COLOURS:
        paint(place / "photos" / f"{colour}.png", colour)
    (place / "photos" / "notes.txt").write_text("a red barn\n\na blue sky\n")
    index(place / "library", place / "photos")
    return place


@pytest.fixture
def library(indexed: Path, tmp_path: Path) -> Path:
    """Give a library of the test's own."""
    return Path(shutil.copytree(indexed / "library", tmp_path / "library"))


@pytest.fixture
def photos(indexed: Path) -> Path:
    return indexed / "photos"


def answers(directory: Path) -> dict[str, list[tuple[str, float]]]:
    """Ask for every colour; gives the paths with their scores, those of equal score by name."""
    with Library.open(directory, encoder=ColourEncoder()) as library:
        return {
            f"{colour} {kind}": ranked(library.search(colour, 20, kind))
            for colour in COLOURS
            for kind in KINDS
        }


def ranked(hits: Sequence[Hit]) -> list[tuple[str, float]]:
    found = [(hit.path, round(hit.score, 4)) for hit in hits]
    return sorted(found, key=lambda one: (-one[1], one[0]))


def change(directory: Path, statement: str) -> None:
    """Damage a catalog as no command would."""
    with closing(sqlite3.connect(directory / FILE_NAME)) as connection, connection:
        connection.execute(statement)


def ask(directory: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(directory / FILE_NAME)) as connection:
        return connection.execute(statement).fetchall()


def flip(path: Path, at: int | None = None) -> None:
    held = bytearray(path.read_bytes())
    held[len(held) // 2 if at is None else at] ^= 0x10
    path.write_bytes(held)


def contents(directory: Path) -> dict[str, bytes]:
    """Read all that a library holds on disk, without what SQLite writes when it only reads."""
    return {
        str(file.relative_to(directory)): file.read_bytes()
        for file in directory.rglob("*")
        if file.is_file() and not file.name.endswith(("-shm", "-wal", ".lock"))
    }


def test_a_fresh_library_is_sound_and_verifying_changes_nothing(library: Path) -> None:
    before = contents(library)
    verdict = verify(library)
    texts = 2
    assert verdict.problems == ()
    assert (verdict.items, verdict.vectors) == (len(COLOURS) + texts,) * 2
    assert verdict.snapshots == 2
    assert verdict.as_dict() == {
        "ok": True,
        "problems": [],
        "items": verdict.items,
        "vectors": verdict.vectors,
        "snapshots": 2,
    }
    assert contents(library) == before
    assert repair(library) == []


def test_an_empty_library_is_sound(tmp_path: Path) -> None:
    Catalog.open(tmp_path, create=True).close()
    assert verify(tmp_path).as_dict()["ok"]
    assert repair(tmp_path) == []
    compact(tmp_path)
    assert verify(tmp_path).as_dict()["ok"]


def test_where_nothing_was_indexed_there_is_nothing_to_look_after(tmp_path: Path) -> None:
    place = tmp_path / "nothing"
    for task in (verify, repair, compact, lambda one: backup(one, tmp_path / "file")):
        with pytest.raises(NoLibrary, match='run "searchx index'):
            task(place)
    assert list(tmp_path.iterdir()) == []


TEXT = "(SELECT min(id) FROM item WHERE kind = 'text')"
DAMAGE = {
    "a longer vector": (
        "UPDATE vector SET data = zeroblob(10) WHERE item_id = 3",
        "the vector has 10 bytes, not 8",
    ),
    "a changed vector": (
        "UPDATE vector SET data = x'003c000000000000' WHERE item_id = 3",
        "the vector does not fit its checksum",
    ),
    "a vector of no length": (
        "UPDATE vector SET data = zeroblob(8), checksum = NULL WHERE item_id = 3",
        "the vector is no unit vector",
    ),
    "a vector of no numbers": (
        "UPDATE vector SET data = x'007e007e007e007e', checksum = NULL WHERE item_id = 3",
        "the vector is no unit vector",
    ),
    "no vector": ("DELETE FROM vector WHERE item_id = 3", "it has no vector"),
    "another text": (
        f"UPDATE item SET text = 'a green barn' WHERE id = {TEXT}",
        "the text does not fit its digest",
    ),
    "a text that is none": (
        f"UPDATE item SET text = CAST(x'fffe80' AS TEXT) WHERE id = {TEXT}",
        "the text does not fit its digest",
    ),
    "no text": (f"UPDATE item SET text = NULL WHERE id = {TEXT}", "the text is missing"),
    "an item that cannot be found": (
        "DELETE FROM appearance WHERE item_id = 3",
        "it is in a file but cannot be found",
    ),
    "an item without a location": (
        "DELETE FROM location WHERE item_id = 3",
        "it can be found but is in no file",
    ),
    "an appearance of nothing": (
        "INSERT INTO appearance (item_id) VALUES (99)",
        "a row leads nowhere",
    ),
    "a vector of nothing": (
        "INSERT INTO vector (item_id, data) VALUES (99, x'003c000000000000')",
        "a row leads nowhere",
    ),
    "a location of nothing": (
        "UPDATE location SET item_id = 99 WHERE item_id = 3",
        "a row leads nowhere",
    ),
    "a column of nothing": (
        "INSERT INTO attribute (file_id, name_id, place, form, value) VALUES (99, 9, 0, 'x', 1)",
        "a row leads nowhere",
    ),
    "a file in no folder": ("DELETE FROM folder", "a row leads nowhere"),
    "a folder in no source": ("DELETE FROM source", "a row leads nowhere"),
}


@pytest.mark.parametrize(("statement", "what"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_in_the_catalog_is_found_repaired_and_read_again(
    library: Path, photos: Path, statement: str, what: str
) -> None:
    before = answers(library)
    change(library, statement)
    verdict = verify(library)
    assert what in {one.what for one in verdict.problems}
    assert all(one.which and "searchx repair" in one.do for one in verdict.problems)
    assert repair(library)
    assert verify(library).problems == ()
    assert repair(library) == []
    if what == "it can be found but is in no file":  # nothing tells which file had it
        change(library, "UPDATE file SET mtime_ns = -1")
    index(library, photos)
    assert verify(library).problems == ()
    assert answers(library) == before


def test_only_what_was_damaged_is_embedded_again(library: Path, photos: Path) -> None:
    change(library, "UPDATE vector SET data = x'003c000000000000' WHERE item_id = 3")
    repair(library)
    encoder = ColourEncoder()
    report = index(library, photos, encoder=encoder)
    assert (report.embedded, encoder.embedded_images) == (1, 1)
    assert report.unchanged == len(COLOURS)  # one is read again, the text file is unchanged


@pytest.mark.parametrize("damage", ["flipped", "cut", "missing", "empty"])
@pytest.mark.parametrize("name", ["ids.npy", "matrix.npy", "manifest.json"])
def test_a_damaged_snapshot_is_found_and_built_again(library: Path, name: str, damage: str) -> None:
    before = answers(library)
    (place,) = (library / SNAPSHOTS).glob("image-*")
    whole = (place / name).read_bytes()
    if damage == "flipped":
        flip(place / name, -1 if name != "manifest.json" else 0)
    else:
        (place / name).unlink()
    if damage in ("cut", "empty"):
        (place / name).write_bytes(whole[: -4 if damage == "cut" else 0])
    (found,) = verify(library).problems
    assert found.what == "a file of a snapshot is missing or damaged"
    assert found.which == str(place / name)
    with Library.open(library, encoder=ColourEncoder()) as reader:  # as a server does
        reader.search("red", 1)
        assert repair(library) == ["the snapshots were built again"]
        reader.search("red", 1)
        view = reader._view("image")
        assert view.snapshot is None or view.snapshot.directory.exists()
        assert vectors.damaged(view.newest or place) == []
    assert verify(library).as_dict()["ok"]
    assert answers(library) == before


@pytest.mark.parametrize(
    ("old", "new"),
    [('"count": 10', '"count": 9'), ('"dim": 4', '"dim": 3'), ('"curve": []', '"curve": null')],
)
def test_a_manifest_that_says_something_else_is_found(library: Path, old: str, new: str) -> None:
    (place,) = (library / SNAPSHOTS).glob("image-*")
    held = (place / "manifest.json").read_text()
    assert old in held
    (place / "manifest.json").write_text(held.replace(old, new))
    assert len(verify(library).problems) == 1
    repair(library)
    assert verify(library).as_dict()["ok"]


@pytest.mark.parametrize("number", ["added", "removed"])
@pytest.mark.parametrize("by", [-1, 1])
def test_a_snapshot_that_tells_a_wrong_state_is_found(library: Path, number: str, by: int) -> None:
    (place,) = (library / SNAPSHOTS).glob("image-*")
    origin = vectors.read_manifest(place).origin
    value = getattr(origin, number)
    text = (place / "manifest.json").read_text()
    changed = text.replace(f'"{number}": {value}', f'"{number}": {value + by}')
    (place / "manifest.json").write_text(changed)
    assert verify(library).problems
    repair(library)
    assert verify(library).as_dict()["ok"]


def test_a_snapshot_of_another_catalog_is_found(
    library: Path, photos: Path, tmp_path: Path
) -> None:
    index(tmp_path / "other", photos)
    shutil.rmtree(library / SNAPSHOTS)
    shutil.copytree(tmp_path / "other" / SNAPSHOTS, library / SNAPSHOTS)
    before = answers(library)
    assert {one.what for one in verify(library).problems} == {
        "a snapshot was built from another catalog"
    }
    assert repair(library) == ["the snapshots were built again"]
    assert verify(library).as_dict()["ok"]
    assert answers(library) == before


def test_a_snapshot_that_differs_from_the_catalog_is_found(library: Path) -> None:
    with closing(Catalog.open(library)) as catalog:
        ids, halves, version = catalog.read_vectors("image")
        space = catalog.space()
    assert space is not None
    origin = vectors.Origin(version.library, space.digest, version.added, version.removed)
    for wrong, what in (
        (halves[::-1], "a snapshot holds another vector than the catalog"),
        (halves[:-1], "it cannot be found"),
    ):
        rows = Rows(len(wrong), 4, iter([(ids[: len(wrong)], wrong)]))
        vectors.build(library / SNAPSHOTS, rows, "image", origin)
        assert {one.what for one in verify(library).problems} == {what}
        assert repair(library) == ["the snapshots were built again"]
        assert verify(library).as_dict()["ok"]


def test_a_damaged_snapshot_below_the_newest_is_not_used_after_a_repair(library: Path) -> None:
    """As it stays behind where a run is killed between the swap and the removal of the old."""
    (place,) = (library / SNAPSHOTS).glob("image-*")
    shutil.copytree(place, library / SNAPSHOTS / "image-00000009")
    flip(place / "matrix.npy", -1)
    (library / SNAPSHOTS / "image-00000009" / "ids.npy").unlink()
    repair(library)
    assert verify(library).as_dict()["ok"]


def test_verifying_goes_on_while_somebody_indexes(library: Path, tmp_path: Path) -> None:
    stop = threading.Event()
    more = tmp_path / "more"
    more.mkdir()
    failed: list[BaseException] = []

    def keep_indexing() -> None:
        try:
            for number in range(12):
                paint(more / f"{number}.png", (number, 20 * number, 90))
                (more / f"{number - 3}.png").unlink(missing_ok=True)
                index(library, more)
        except BaseException as error:
            failed.append(error)
        finally:
            stop.set()

    thread = threading.Thread(target=keep_indexing)
    thread.start()
    rounds = 0
    while not stop.is_set() or not rounds:
        assert verify(library).problems == ()
        rounds += 1
    thread.join()
    assert failed == []
    assert verify(library).problems == ()


def truncate(catalog: bytes) -> bytes:
    return catalog[: len(catalog) // 2 // 4096 * 4096]


def noise(catalog: bytes) -> bytes:
    return random.Random(0).randbytes(len(catalog))


def broken_pages(catalog: bytes) -> bytes:
    return catalog[:8192] + b"\x5a" * (len(catalog) - 8192)


@pytest.mark.parametrize("damage", [truncate, noise, broken_pages])
def test_a_catalog_that_cannot_be_read_needs_a_backup(
    library: Path, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    before = answers(library)
    size = backup(library, tmp_path / "kept")
    assert size == (tmp_path / "kept").stat().st_size > 0
    (library / FILE_NAME).write_bytes(damage((library / FILE_NAME).read_bytes()))
    verdict = verify(library)
    assert verdict.problems
    for one in verdict.problems:
        assert "\n" not in f"{one.what}{one.which}{one.do}"
        assert "restore it from a backup" in one.do
        assert "repair" not in one.do  # which refuses
    with pytest.raises(LibraryCorrupt, match="restore it from a backup") as caught:
        repair(library)
    assert "\n" not in str(caught.value)
    with pytest.raises(LibraryCorrupt):
        backup(library, tmp_path / "kept")  # it does not take the place of the sound one
    restore(tmp_path / "kept", library, force=True)
    assert verify(library).as_dict()["ok"]
    assert answers(library) == before
    assert {one.name for one in tmp_path.iterdir()} == {"library", "kept"}


def test_a_damaged_index_of_the_database_is_made_anew(library: Path) -> None:
    """The index of locations is emptied behind the back of the database."""
    before = answers(library)
    with closing(sqlite3.connect(library / FILE_NAME)) as connection:
        page = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'location_of_item'"
        ).fetchone()[0]
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        connection.execute("PRAGMA journal_mode = DELETE")
    held = bytearray((library / FILE_NAME).read_bytes())
    start = (page - 1) * size
    assert held[start] == 10  # a leaf of an index
    held[start + 3 : start + 5] = b"\0\0"  # with no entries
    (library / FILE_NAME).write_bytes(held)
    (do,) = {one.do for one in verify(library).problems if one.what == "the database is damaged"}
    assert do == 'run "searchx repair"'
    assert repair(library) == ["the indexes of the database were made anew"]
    assert verify(library).as_dict()["ok"]
    assert answers(library) == before


def test_a_library_of_a_newer_searchx_is_refused_in_one_line(library: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    backup(library, kept)
    change(library, "UPDATE alembic_version SET version_num = '9999'")
    before = ask(library, "SELECT count(*) FROM item")
    for task in (verify, repair, compact, lambda one: backup(one, tmp_path / "new")):
        with pytest.raises(LibraryError, match="newer searchx; update with") as caught:
            task(library)
        assert "\n" not in str(caught.value)
    assert ask(library, "SELECT count(*) FROM item") == before
    newer = tmp_path / "newer.backup"
    shutil.copy(library / FILE_NAME, newer)
    with pytest.raises(BadInput, match="newer searchx"):
        restore(newer, tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Index many texts and some pictures, then forget most of it."""
    for colour in COLOURS:
        paint(tmp_path / "photos" / f"{colour}.png", colour)
    lines = (f"passage number {number} of a long text in a file." for number in range(3000))
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "long.txt").write_text("\n\n".join(lines))
    index(tmp_path / "library", tmp_path / "photos", tmp_path / "texts")
    assert forget(tmp_path / "library", tmp_path / "texts") == 1
    (tmp_path / "photos" / "red.png").unlink()
    index(tmp_path / "library", tmp_path / "photos")
    return tmp_path / "library"


def test_compacting_gives_back_space_and_changes_no_answer(large: Path) -> None:
    expected = answers(large)
    with closing(Catalog.open(large)) as catalog:
        version = catalog.version()
    with Library.open(large, encoder=ColourEncoder()) as reader:
        hits = ranked(reader.search("green", 5))
        with closing(sqlite3.connect(large / FILE_NAME)) as other:
            other.execute("BEGIN")
            held = other.execute("SELECT count(*) FROM item").fetchone()
            other.rollback()
            before, after = compact(large)
            assert other.execute("SELECT count(*) FROM item").fetchone() == held
        assert ranked(reader.search("green", 5)) == hits
    assert after < before / 2
    assert answers(large) == expected
    assert ask(large, "SELECT count(*) FROM removal") == [(0,)]
    assert verify(large).as_dict()["ok"]
    with closing(Catalog.open(large)) as catalog:
        assert catalog.version() == version  # the numbers go on from where they were
        assert held_ids(catalog, "text").tolist() == []


def test_numbers_go_on_after_compacting(large: Path) -> None:
    compact(large)
    photos = large.parent / "photos"
    paint(photos / "red.png", "red")
    (photos / "blue.png").unlink()
    with Library.open(large, encoder=ColourEncoder()) as reader:
        assert len(reader.search("red", 20)) == len(COLOURS) - 1
        index(large, photos)
        assert [Path(hit.path).stem for hit in reader.search("red", 1)] == ["red"]
        assert "blue" not in {Path(hit.path).stem for hit in reader.search("blue", 20)}
    assert verify(large).as_dict()["ok"]


def test_thumbnails_of_what_is_gone_are_removed_and_no_others(large: Path) -> None:
    folder = large / "thumbnails"
    with Library.open(large, encoder=ColourEncoder()) as reader:
        digest = reader.search("green", 1)[0].item.digest
    gone = "ab" * 32
    for one in (digest, gone):
        (folder / one[:2]).mkdir(parents=True, exist_ok=True)
        for side in (240, 480):
            paint(folder / one[:2] / f"{one}-{side}.webp", "red")
    (folder / "ab" / "notes.webp").touch()
    compact(large)
    assert {path.name for path in folder.rglob("*.webp")} == {
        f"{digest}-240.webp",
        f"{digest}-480.webp",
        "notes.webp",
    }


def test_looking_after_does_not_wait_for_an_indexer(library: Path, tmp_path: Path) -> None:
    with closing(Catalog.open(library)) as catalog, catalog.indexing():
        script = (
            "import sys; from pathlib import Path; from searchx import upkeep\n"
            "from searchx.errors import LibraryInUse\n"
            "for task in (upkeep.repair, upkeep.compact):\n"
            "    try: task(Path(sys.argv[1]))\n"
            "    except LibraryInUse as error: print(error)\n"
            "print(upkeep.verify(Path(sys.argv[1])).as_dict()['ok'])\n"
            "print(upkeep.backup(Path(sys.argv[1]), Path(sys.argv[2])) > 0)\n"
        )
        run = subprocess.run(
            [sys.executable, "-c", script, str(library), str(tmp_path / "kept")],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
    first, second, sound, written = run.stdout.splitlines()
    assert "is being written by another process" in first
    assert "is being written by another process" in second
    assert (sound, written) == ("True", "True")


def test_a_backup_is_one_file_that_restores_everything(library: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    assert backup(library, kept) == kept.stat().st_size
    assert {one.name for one in tmp_path.iterdir()} == {"library", "kept"}
    restore(kept, tmp_path / "new" / "place")
    assert verify(tmp_path / "new" / "place").as_dict() == verify(library).as_dict()
    assert answers(tmp_path / "new" / "place") == answers(library)
    with (
        closing(Catalog.open(library)) as one,
        closing(Catalog.open(tmp_path / "new" / "place")) as other,
    ):
        assert one.version().library != other.version().library  # they go apart from now on
        assert one.version().added == other.version().added
    assert [
        path for path in (tmp_path / "new" / "place").iterdir() if ".restore" in path.name
    ] == []


def test_a_backup_made_while_others_index_is_one_state(tmp_path: Path) -> None:
    library, folder = tmp_path / "library", tmp_path / "photos"
    paint(folder / "0.png", (0, 0, 0))
    index(library, folder)
    stop = threading.Event()
    failed: list[BaseException] = []

    def keep_indexing() -> None:
        number = 0
        try:
            while not stop.is_set():
                number += 1
                for part in range(3):
                    paint(folder / f"{number}-{part}.png", (number % 256, part, number // 256))
                index(library, folder)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=keep_indexing)
    thread.start()
    try:
        for _ in range(6):
            backup(library, tmp_path / "kept")
            restore(tmp_path / "kept", tmp_path / "again", force=True)
            assert verify(tmp_path / "again").problems == ()
            with closing(Catalog.open(tmp_path / "again")) as catalog:
                assert catalog.counts()["image"] == catalog.counts()["files"]
    finally:
        stop.set()
        thread.join()
    assert failed == []


def test_a_backup_takes_the_place_of_no_other_file(library: Path, tmp_path: Path) -> None:
    photo = paint(tmp_path / "photo.png", "red")
    with closing(sqlite3.connect(tmp_path / "own.db")) as connection:
        connection.execute("CREATE TABLE mine (x)")
    (tmp_path / "empty").touch()
    folder = tmp_path / "folder"
    folder.mkdir()
    other = shutil.copytree(library, tmp_path / "other")
    (tmp_path / "link").symlink_to(library / FILE_NAME)
    mine = (photo, tmp_path / "own.db", tmp_path / "empty", library / FILE_NAME, other / FILE_NAME)
    before = {path: path.read_bytes() for path in mine}
    for path in (*mine, folder, tmp_path / "link"):
        with pytest.raises(BadInput, match="backup") as caught:
            backup(library, path)
        assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in mine} == before
    assert (tmp_path / "link").is_symlink()


def test_a_backup_takes_the_place_of_an_older_one(
    library: Path, tmp_path: Path, photos: Path
) -> None:
    kept = tmp_path / "kept"
    backup(library, kept)
    kept.with_name(f".kept.{os.getpid()}.part").write_bytes(b"left by a run that was killed")
    paint(tmp_path / "more" / "a.png", (1, 2, 3))
    index(library, tmp_path / "more")
    backup(library, kept)
    restore(kept, tmp_path / "again")
    assert answers(tmp_path / "again") == answers(library)
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".")] == []


def test_what_killed_backups_left_is_removed_by_the_next_one(library: Path, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    killed = [tmp_path / f".kept.{ended.pid}.part", tmp_path / f".kept.{ended.pid}.part-journal"]
    other = tmp_path / f".another.{ended.pid}.part"  # of another place
    running = tmp_path / f".kept.{os.getppid()}.part"
    mine = tmp_path / ".kept.old.part"
    for one in (*killed, other, running, mine):
        one.write_bytes(b"half")
    backup(library, tmp_path / "kept")
    assert not any(one.exists() for one in killed)
    assert all(one.exists() for one in (other, running, mine))


def test_a_place_that_cannot_hold_a_backup_is_told_as_what_it_is(
    library: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "no folder" / "kept", tmp_path / "file" / "kept"):
        with pytest.raises(BadInput, match="is no folder; make it first"):
            backup(library, path)
    with pytest.raises(BadInput, match="is a folder; name the file"):
        backup(library, tmp_path)


FILL = """
import resource, sys
from pathlib import Path
from searchx import upkeep
from searchx.errors import LibraryFull
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    getattr(upkeep, sys.argv[4])(Path(sys.argv[1]), Path(sys.argv[2]))
except LibraryFull as error:
    print(error)
"""


def fill(one: Path, other: Path, limit: int, task: str) -> str:
    """Back up or restore under a limit on the size of files, which answers like a full disk."""
    pytest.importorskip("resource", reason="only POSIX limits the size of files")
    arguments = [sys.executable, "-c", FILL, str(one), str(other), str(limit), task]
    run = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout


@pytest.mark.parametrize("limit", [40_000, 70_000])
def test_a_backup_without_room_leaves_the_older_one(
    library: Path, tmp_path: Path, limit: int
) -> None:
    kept = tmp_path / "kept"
    before = b""
    for _ in range(2):  # without and with an older one
        said = fill(library, tmp_path / "kept", limit, "backup")
        assert said.count("\n") == 1
        assert f"{kept} cannot be written (" in said
        assert "free some space" in said
        assert {one.name for one in tmp_path.iterdir()} <= {"library", "kept"}
        if kept.exists():
            assert kept.read_bytes() == before
        backup(library, kept)
        before = kept.read_bytes()


def test_restoring_without_room_leaves_the_library_as_it_was(library: Path, tmp_path: Path) -> None:
    backup(library, tmp_path / "kept")
    expected = answers(library)
    script = FILL.replace("Path(sys.argv[2]))", "Path(sys.argv[2]), force=True)")
    arguments = [str(tmp_path / "kept"), str(library), "40000", "restore"]
    run = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=120
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.count("\n") == 1
    assert f"{library} cannot be written" in run.stdout
    assert answers(library) == expected
    assert verify(library).as_dict()["ok"]


def test_who_may_only_read_a_library_can_verify_and_back_it_up(library: Path) -> None:
    with tempfile.TemporaryDirectory() as place:  # pytest's own folder is closed to other users
        shutil.copytree(library, Path(place) / "library")
        Path(place).chmod(0o755)
        assert as_mere_user(_read_only, Path(place)) == 0


def _read_only(folder: str) -> None:
    place, out = Path(folder) / "library", Path(folder) / "out"
    out.mkdir()
    for one in (*place.rglob("*"), place):
        one.chmod(0o555 if one.is_dir() else 0o444)
    try:
        assert verify(place).problems == ()
        assert backup(place, out / "kept") > 0
        restore(out / "kept", out / "again")
        assert verify(out / "again").problems == ()
        out.chmod(0o555)
        with pytest.raises(LibraryFull, match="cannot be written"):
            backup(place, out / "more")
        for task in (repair, compact):
            with pytest.raises(LibraryFull, match="cannot be written"):
                task(place)
    finally:
        for one in (place, *place.rglob("*"), out):
            one.chmod(0o755)


def test_restoring_replaces_a_library_only_when_told_so(
    library: Path, tmp_path: Path, photos: Path
) -> None:
    kept = tmp_path / "kept"
    backup(library, kept)
    old = answers(library)
    paint(tmp_path / "more" / "a.png", (1, 2, 3))
    index(library, tmp_path / "more")
    new = answers(library)
    with pytest.raises(BadInput, match=r"holds a library already; .*--force") as caught:
        restore(kept, library)
    assert "\n" not in str(caught.value)
    assert answers(library) == new
    restore(kept, library, force=True)
    assert answers(library) == old
    assert verify(library).as_dict()["ok"]


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_of_other_files_does_not_become_a_library(
    library: Path, tmp_path: Path, force: bool
) -> None:
    backup(library, tmp_path / "kept")
    photo = paint(tmp_path / "photos" / "a.png", "red")
    with pytest.raises(BadInput, match=r"holds other files \(such as a.png\)") as caught:
        restore(tmp_path / "kept", photo.parent, force)
    assert "\n" not in str(caught.value)
    assert list(photo.parent.iterdir()) == [photo]


def test_a_library_whose_database_was_moved_away_and_an_empty_folder_can_be_restored_into(
    library: Path, tmp_path: Path
) -> None:
    backup(library, tmp_path / "kept")
    expected = answers(library)
    (library / FILE_NAME).rename(tmp_path / "damaged.db")
    (tmp_path / "empty").mkdir()
    for place in (library, tmp_path / "empty"):
        restore(tmp_path / "kept", place)
        assert answers(place) == expected


def test_no_file_but_a_whole_backup_is_restored(library: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    backup(library, kept)
    whole = kept.read_bytes()
    with closing(sqlite3.connect(tmp_path / "own")) as connection:
        connection.execute("CREATE TABLE mine (x)")
    wrong = {
        "photo.png": paint(tmp_path / "photo.png", "red").read_bytes(),
        "noise": random.Random(0).randbytes(5000),
        "empty": b"",
        "half": whole[: len(whole) // 2],
        "header": whole[:100],
        "broken": whole[:8192] + b"\x5a" * (len(whole) - 8192),
        "own": (tmp_path / "own").read_bytes(),
    }
    expected = answers(library)
    for name, data in wrong.items():
        (tmp_path / name).write_bytes(data)
        for place in (library, tmp_path / "new"):
            with pytest.raises(BadInput, match="backup") as caught:
                restore(tmp_path / name, place, force=True)
            assert "\n" not in str(caught.value), name
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(BadInput, match="name a backup"):
            restore(path, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert answers(library) == expected


@pytest.mark.parametrize("dump", sorted(LIBRARIES.glob("*.sql")), ids=lambda path: path.stem)
def test_a_backup_of_an_older_version_is_restored_and_migrated(
    library: Path, tmp_path: Path, dump: Path
) -> None:
    kept = tmp_path / "kept"
    with closing(sqlite3.connect(kept)) as connection:
        connection.executescript(dump.read_text(encoding="utf-8"))
    before = kept.read_bytes()
    restore(kept, tmp_path / "new")
    with Library.open(library, encoder=ColourEncoder()) as reader:  # it is open all the while
        assert len(reader.search("red", 20)) == len(COLOURS)
        restore(kept, library, force=True)
        assert [hit.path for hit in reader.search("red", 1)] == ["/home/ann/photos/red.png"]
    for place in (tmp_path / "new", library):
        assert verify(place).as_dict()["ok"]
        assert [path for path, _ in answers(place)["red image"]] == [
            "/home/ann/photos/red.png",
            "/home/ann/photos/trip/blue.jpg",
        ]
    assert kept.read_bytes() == before


def test_a_copy_of_a_catalog_that_is_in_use_is_restored_with_its_log(
    library: Path, tmp_path: Path
) -> None:
    """The newest changes stand in the log beside the file, until SQLite moves them."""
    paint(tmp_path / "more" / "a.png", (1, 2, 3))
    with closing(Catalog.open(library)) as opened:
        opened.counts()
        index(library, tmp_path / "more")
        assert (library / f"{FILE_NAME}-wal").stat().st_size > 0
        restore(library / FILE_NAME, tmp_path / "again")
        assert answers(tmp_path / "again") == answers(library)


def test_a_search_during_a_restore_sees_the_old_state_or_the_new(tmp_path: Path) -> None:
    """The two states share ids for other pictures: a mix of them would show."""
    library = tmp_path / "library"
    kept = {}
    for name, colours in (("one", ["red", "green", "blue"]), ("two", ["cyan", "white", "pink"])):
        for colour in colours:
            paint(tmp_path / name / f"{colour}.png", colour)
        index(tmp_path / f"{name}.library", tmp_path / name)
        kept[name] = tmp_path / f"{name}.backup"
        backup(tmp_path / f"{name}.library", kept[name])
    restore(kept["one"], library)
    states = [dict(answers(tmp_path / f"{name}.library")["red image"]) for name in kept]
    stop = threading.Event()
    seen: list[dict[str, float]] = []
    failed: list[BaseException] = []

    def keep_asking() -> None:
        try:
            with Library.open(library, encoder=ColourEncoder()) as reader:
                while not stop.is_set():
                    hits = dict(ranked(reader.search("red", 10)))
                    if not seen or seen[-1] != hits:
                        seen.append(hits)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=keep_asking) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for name in ("two", "one") * 6:
            restore(kept[name], library, force=True)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failed == []
    for hits in seen:
        assert hits in states


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "drop", "backup", "restore", "compact", "repair", "clean"]),
        st.integers(0, 3),
    ),
    max_size=10,
)


@settings(max_examples=15, deadline=None)
@given(steps=STEPS)
def test_whatever_is_restored_snapshots_are_never_wrong(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    """The oracle is the set of pictures in the folder, and in each of the backups."""
    place = tmp_path_factory.mktemp("place")
    library, folder = place / "library", place / "photos"
    paint(folder / "first.png", (200, 200, 200))
    index(library, folder)
    states: dict[int, set[str]] = {}
    with Library.open(library, encoder=ColourEncoder()) as reader:
        there = names_in(folder)
        for at, (step, number) in enumerate(steps):
            if step in ("add", "drop", "clean"):
                change_folder(folder, step, number, at)
                index(library, folder)
                there = names_in(folder)
            elif step == "backup":
                backup(library, place / f"{number}.backup")
                states[number] = there
            elif step == "restore" and number in states:
                restore(place / f"{number}.backup", library, force=True)
                there = states[number]
            elif step in ("compact", "repair"):
                (compact if step == "compact" else repair)(library)
            found = {Path(hit.path).name for hit in reader.search("red", 100)}
            assert found == there
            assert verify(library).problems == ()


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def change_folder(folder: Path, step: str, number: int, at: int) -> None:
    if step == "add":
        for part in range(number + 1):
            paint(folder / f"{at}-{part}.png", (at, 10 * part, 7 * number))
    for path in sorted(folder.iterdir())[1 : 1 + number] if step == "drop" else ():
        path.unlink()


def test_a_forgotten_source_is_found_no_more(library: Path, photos: Path, tmp_path: Path) -> None:
    with Library.open(library, encoder=ColourEncoder()) as reader:
        assert len(reader.search("red", 20)) == len(COLOURS)
        with pytest.raises(BadInput, match=f"is no source of this library; its sources: {photos}"):
            forget(library, photos.parent)
        assert len(reader.search("red", 20)) == len(COLOURS)
        assert forget(library, photos) == len(COLOURS) + 1
        assert reader.search("red", 20) == reader.search("red", 20, to="text") == []
        assert reader.status().sources == ()
    assert verify(library).as_dict()["ok"]
    encoder = ColourEncoder()
    index(library, photos, encoder=encoder)
    assert encoder.embedded_images == len(COLOURS)


def test_a_source_that_moved_is_read_by_no_run(library: Path, photos: Path, tmp_path: Path) -> None:
    expected = answers(library)
    moved = Path(shutil.copytree(photos, tmp_path / "elsewhere" / "pictures"))
    assert move_source(library, photos, moved) == len(COLOURS) + 1
    assert {
        question: [(path.replace(str(moved), str(photos)), score) for path, score in rows]
        for question, rows in answers(library).items()
    } == expected
    report = index(library, moved)
    assert (report.unchanged, report.added, report.removed) == (len(COLOURS) + 1, 0, 0)
    assert verify(library).as_dict()["ok"]


def test_a_source_with_sidecars_and_one_that_is_a_file_move_unread(tmp_path: Path) -> None:
    photo = paint(tmp_path / "a" / "red.png", "red")
    photo.with_suffix(".txt").write_text("my red wall")
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "a blue lake"}\n')
    library = tmp_path / "library"
    index(library, tmp_path / "a", rows)
    for old, new in ((tmp_path / "a", tmp_path / "b"), (rows, tmp_path / "b" / "table.jsonl")):
        old.rename(new)
        assert move_source(library, old, new) == 1
    report = index(library)
    assert (report.unchanged, report.added, report.updated, report.removed) == (2, 0, 0, 0)
    with Library.open(library, encoder=ColourEncoder()) as reader:
        assert reader.search("red", 1)[0].item.captions == ("my red wall",)
        (hit,) = reader.search("blue", 1, to="text")
        assert hit.path == str(tmp_path / "b" / "table.jsonl")


def test_a_source_moves_only_to_where_something_is(
    library: Path, photos: Path, tmp_path: Path
) -> None:
    before = answers(library)
    with pytest.raises(BadInput, match="does not exist; move the files first"):
        move_source(library, photos, tmp_path / "nothing")
    with pytest.raises(BadInput, match="is no source of this library"):
        move_source(library, tmp_path, tmp_path)
    with pytest.raises(BadInput, match="is a source already"):
        move_source(library, photos, photos)
    assert answers(library) == before


def test_nothing_is_compacted_under_a_migration(tmp_path: Path) -> None:
    with closing(Catalog.open(tmp_path, create=True)) as catalog:
        with catalog.migrating():
            with pytest.raises(LibraryInUse, match="being migrated"):
                compact(tmp_path)
            with catalog.indexing():  # compact has let go of that
                pass
        compact(tmp_path)
