import multiprocessing
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchx.catalog import Catalog, Content, NewItem, Writing
from searchx.errors import (
    BadInput,
    LibraryCorrupt,
    LibraryFull,
    LibraryInUse,
    NoLibrary,
    SpaceMismatch,
)
from searchx.records import Kind, Skipped, Space

SPACE = Space("colour", "colour-1", 4)
ROOT = "/photos"


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with closing(fresh(tmp_path / "library")) as opened:
        yield opened


def fresh(directory: Path) -> Catalog:
    opened = Catalog.open(directory, create=True)
    with opened.writing() as tx:
        tx.claim_space(SPACE)
        tx.add_source(ROOT)
    return opened


def digest(number: int) -> str:
    return f"{number:064x}"


def picture(number: int, kind: Kind = "image") -> NewItem:
    row = np.random.default_rng(number).normal(size=4).astype(np.float32)
    text = f"passage {number}" if kind == "text" else None
    return NewItem(kind, digest(number), row / np.linalg.norm(row), text, 640, 480)


def put(tx: Writing, path: str, *numbers: int) -> None:
    """Add pictures, and write down the one file that holds them."""
    tx.add_items([picture(number) for number in numbers])
    tx.set_file(ROOT, path, 10, 20, [Content("image", digest(number)) for number in numbers])


def ids(catalog: Catalog, kind: Kind = "image") -> list[int]:
    found, _, _ = catalog.read_vectors(kind)
    return [int(one) for one in found]


def test_what_was_written_is_read_back(catalog: Catalog) -> None:
    with catalog.writing() as tx:
        put(tx, "/photos/a.jpg", 1)
        put(tx, "/photos/copy of a.jpg", 1)
        tx.set_file(ROOT, "/photos/broken.jpg", 5, 6, reason="not an image")
    found, vectors, version = catalog.read_vectors("image")
    item = catalog.items(found.tolist())[int(found[0])]
    assert (item.kind, item.digest, item.width, item.height) == ("image", digest(1), 640, 480)
    assert item.paths == ("/photos/a.jpg", "/photos/copy of a.jpg")
    assert item.locations[0].source == ROOT
    assert vectors.dtype == np.float16
    assert np.array_equal(vectors[0], picture(1).vector.astype(np.float16))
    assert np.array_equal(catalog.vector(item.id)[0], vectors[0].astype(np.float32))
    assert version == catalog.version()
    assert (version.added, version.removed) == (1, 0)
    assert catalog.counts() == {"image": 1, "text": 0, "files": 2}
    assert catalog.skipped() == (Skipped("/photos/broken.jpg", "not an image"),)
    assert catalog.sources() == (ROOT,)
    state = catalog.files(ROOT)["/photos/a.jpg"]
    assert (state.size, state.mtime_ns, state.digests, state.reason) == (10, 20, (digest(1),), None)
    assert catalog.files(ROOT)["/photos/broken.jpg"].reason == "not an image"
    assert catalog.files("/elsewhere") == {}


def test_parts_of_a_file_keep_their_order(catalog: Catalog) -> None:
    numbers = random.Random(0).sample(range(2000), 1200)
    with catalog.writing() as tx:
        put(tx, "/photos/b.jpg", 9000)
        put(tx, "/photos/many", *numbers)
    assert catalog.files(ROOT)["/photos/many"].digests == tuple(map(digest, numbers))


def test_nothing_stays_of_a_transaction_that_failed(catalog: Catalog) -> None:
    with catalog.writing() as tx:
        put(tx, "/photos/a.jpg", 1)
    before = dump(catalog)
    with pytest.raises(ZeroDivisionError), catalog.writing() as tx:
        tx.add_source("/more")
        put(tx, "/photos/a.jpg", 2)
        tx.drop_files(ROOT, ["/photos/a.jpg"])
        tx.drop_orphans()
        raise ZeroDivisionError
    assert dump(catalog) == before


def dump(catalog: Catalog) -> list[str]:
    with closing(sqlite3.connect(catalog.directory / "catalog.db")) as connection:
        return list(connection.iterdump())


def test_nobody_sees_half_of_a_transaction(catalog: Catalog) -> None:
    with catalog.writing() as tx:
        put(tx, "/photos/a.jpg", 1)
        assert catalog.counts() == {"image": 0, "text": 0, "files": 0}
        assert ids(catalog) == []
    assert catalog.counts() == {"image": 1, "text": 0, "files": 1}


def test_ids_are_never_used_again(catalog: Catalog) -> None:
    seen: list[int] = []
    for number in range(5):
        with catalog.writing() as tx:
            put(tx, "/photos/a.jpg", number)
            tx.drop_orphans()
        seen += ids(catalog)
    assert seen == sorted(set(seen))
    assert len(seen) == 5


def test_a_digest_is_one_item_of_its_kind(catalog: Catalog) -> None:
    with catalog.writing() as tx:
        put(tx, "/photos/a.jpg", 1, 1)
        put(tx, "/photos/b.jpg", 1)
        tx.add_items([picture(1, "text")])
        tx.set_file(ROOT, "/photos/c.txt", 1, 1, [Content("text", digest(1), "line 3")])
    assert (len(ids(catalog)), len(ids(catalog, "text"))) == (1, 1)
    assert catalog.embedded("image", [digest(1), digest(2)]) == {digest(1)}
    assert catalog.items(ids(catalog, "text"))[ids(catalog, "text")[0]].text == "passage 1"
    many = [digest(number) for number in range(3000)]
    assert catalog.embedded("text", many) == {digest(1)}


def test_a_vector_of_content_that_is_there_already_changes_nothing(catalog: Catalog) -> None:
    with catalog.writing() as tx:
        put(tx, "/photos/a.jpg", 1)
    before = catalog.read_vectors("image")[1].tobytes()
    with catalog.writing() as tx:
        tx.add_items([NewItem("image", digest(1), -picture(1).vector)])
    assert catalog.read_vectors("image")[1].tobytes() == before


def test_names_that_are_not_utf8_come_back_as_they_were(catalog: Catalog) -> None:
    name = os.fsdecode(b"/photos/caf\xe9 \xff'\"%.jpg")
    with catalog.writing() as tx:
        put(tx, name, 1)
        tx.add_source(os.fsdecode(b"/more\xfe"))
        tx.set_file(ROOT, name + "2", 1, 1, reason=f"{name} is no picture")
    assert catalog.items(ids(catalog))[ids(catalog)[0]].path == name
    assert set(catalog.files(ROOT)) == {name, name + "2"}
    assert catalog.sources() == (ROOT, os.fsdecode(b"/more\xfe"))
    assert catalog.skipped()[0].path == name + "2"
    assert "is no picture" in catalog.skipped()[0].reason


@pytest.mark.parametrize("name", ["100% mine", "a b", 'it\'s "mine"', "50%41?x=1#y", "Фото 照片"])
def test_a_library_may_have_any_name(tmp_path: Path, name: str) -> None:
    directory = tmp_path / name / "library"
    with closing(fresh(directory)):
        pass
    assert {"catalog.db"} <= {one.name for one in directory.iterdir()}
    with closing(Catalog.open(directory)) as again:
        assert again.space() == SPACE


def test_where_nothing_was_indexed_there_is_no_library(tmp_path: Path) -> None:
    with pytest.raises(NoLibrary, match='run "searchx index'):
        Catalog.open(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_a_library_has_one_space(catalog: Catalog) -> None:
    assert catalog.space() == SPACE
    with catalog.writing() as tx:
        tx.claim_space(SPACE)
    other = Space("shade", "shade-1", 4)
    with pytest.raises(SpaceMismatch, match="index with --model colour"), catalog.writing() as tx:
        tx.claim_space(other)
    assert catalog.space() == SPACE


def test_new_weights_under_the_old_name_are_told_apart(catalog: Catalog) -> None:
    newer = Space("colour", "2-colour", 4)
    said = r"other weights of model[^;]*colour-1, now[^;]*; index into another --library$"
    with pytest.raises(SpaceMismatch, match=said), catalog.writing() as tx:
        tx.claim_space(newer)
    assert catalog.space() == SPACE


def test_a_space_goes_by_its_newest_name(catalog: Catalog) -> None:
    moved = Space("local-dir:/new/place", SPACE.digest, SPACE.dim)
    with catalog.writing() as tx:
        tx.claim_space(moved)
    assert catalog.space() == moved


def test_no_two_catalogs_have_the_same_identity(catalog: Catalog, tmp_path: Path) -> None:
    with closing(fresh(tmp_path / "other")) as other:
        assert other.version().library != catalog.version().library
    with closing(Catalog.open(catalog.directory)) as again:
        assert again.version() == catalog.version()


def test_the_numbers_of_a_version_never_fall(catalog: Catalog) -> None:
    with catalog.writing() as tx:
        put(tx, "/photos/a.jpg", 1, 2)
    with catalog.writing() as tx:
        tx.drop_files(ROOT, ["/photos/a.jpg"])
        tx.drop_orphans()
    assert (catalog.version().added, catalog.version().removed) == (2, 2)


@pytest.mark.parametrize("damage", [b"no database at all, but text", bytes(8192)])
def test_a_broken_catalog_is_named(tmp_path: Path, damage: bytes) -> None:
    with closing(fresh(tmp_path)):
        pass
    (tmp_path / "catalog.db").write_bytes(damage)
    with pytest.raises(LibraryCorrupt, match=r"catalog\.db cannot be read .*backup") as caught:
        Catalog.open(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_catalog_that_breaks_in_the_middle_is_named(tmp_path: Path) -> None:
    with closing(fresh(tmp_path)) as catalog, catalog.writing() as tx:
        put(tx, "/photos/many", *range(2000))
    whole = (tmp_path / "catalog.db").read_bytes()
    (tmp_path / "catalog.db").write_bytes(whole[:4096] + b"\x5a" * (len(whole) - 4096))
    with pytest.raises(LibraryCorrupt), closing(Catalog.open(tmp_path)) as catalog:
        catalog.read_vectors("image")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(LibraryFull, match="cannot be written"):
        Catalog.open(tmp_path / "file" / "library", create=True)


def test_who_may_only_read_can_read(tmp_path: Path) -> None:
    """As root, whom no permission stops, the reader becomes another user."""
    with tempfile.TemporaryDirectory() as place:  # pytest's own folder is closed to other users
        directory = Path(place) / "library"
        with closing(fresh(directory)) as catalog, catalog.writing() as tx:
            put(tx, "/photos/a.jpg", 1)
        for one in (*directory.iterdir(), directory, Path(place)):
            one.chmod(0o555)
        try:
            assert in_another_process(_read_only, str(directory)) == 0
        finally:
            Path(place).chmod(0o755)
            directory.chmod(0o755)


def _read_only(directory: str) -> None:
    with tempfile.TemporaryDirectory() as place, closing(fresh(Path(place))):
        pass  # this has loaded all that a mere user may not be able to import
    if os.geteuid() == 0:
        os.setuid(65534)
    with closing(Catalog.open(directory)) as catalog:
        assert len(ids(catalog)) == 1
        with pytest.raises(LibraryFull, match="cannot be written"), catalog.writing() as tx:
            tx.add_source("/more")
        with pytest.raises(LibraryFull, match="cannot be written"), catalog.indexing():
            pass


def test_who_may_only_read_sees_what_others_write(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    wrote, asked = context.Event(), context.Event()
    with tempfile.TemporaryDirectory() as place:  # pytest's own folder is closed to other users
        directory = Path(place) / "library"
        with closing(fresh(directory)) as catalog, catalog.writing() as tx:
            put(tx, "/photos/a.jpg", 1)
        Path(place).chmod(0o755)
        directory.chmod(0o555)
        reader = context.Process(target=_read_twice, args=(str(directory), wrote, asked))
        reader.start()
        try:
            assert asked.wait(60)
            directory.chmod(0o755)
            with closing(Catalog.open(directory)) as catalog:
                with catalog.writing() as tx:
                    put(tx, "/photos/b.jpg", 2)
                assert (directory / "catalog.db-wal").stat().st_size > 0
                directory.chmod(0o555)
                wrote.set()
                reader.join(60)
        finally:
            directory.chmod(0o755)
        assert reader.exitcode == 0


def _read_twice(directory: str, wrote: Event, asked: Event) -> None:
    with tempfile.TemporaryDirectory() as place, closing(fresh(Path(place))):
        pass  # this has loaded all that a mere user may not be able to import
    if os.geteuid() == 0:
        os.setuid(65534)
    with closing(Catalog.open(directory)) as catalog:
        assert len(ids(catalog)) == 1
        asked.set()
        assert wrote.wait(60)
        assert len(ids(catalog)) == 2


def in_another_process(target: Callable[[str], None], argument: str) -> int | None:
    """Run a function of this file in a new process; gives its exit code."""
    process = multiprocessing.get_context("spawn").Process(target=target, args=(argument,))
    process.start()
    process.join(120)
    return process.exitcode


def test_four_processes_may_open_a_fresh_library_at_once(tmp_path: Path) -> None:
    directory = tmp_path / "library"
    gate = tmp_path / "go"
    context = multiprocessing.get_context("spawn")
    running = [
        context.Process(target=_open_at_once, args=(str(directory), str(gate), number))
        for number in range(4)
    ]
    for one in running:
        one.start()
    gate.touch()
    for one in running:
        one.join(120)
    assert [one.exitcode for one in running] == [0, 0, 0, 0]
    with closing(Catalog.open(directory)) as catalog:
        assert len(ids(catalog)) == 4
        assert len(catalog.files(ROOT)) == 4


def _open_at_once(directory: str, gate: str, number: int) -> None:
    while not Path(gate).exists():
        pass
    with closing(fresh(Path(directory))) as catalog, catalog.writing() as tx:
        put(tx, f"/photos/{number}.jpg", number)


def test_one_indexer_at_a_time(catalog: Catalog) -> None:
    ready, done = catalog.directory / "ready", catalog.directory / "done"
    context = multiprocessing.get_context("spawn")
    other = context.Process(target=_hold, args=(str(catalog.directory), str(ready), str(done)))
    other.start()
    while not ready.exists():
        assert other.is_alive()
    with pytest.raises(LibraryInUse, match="wait until it is done"), catalog.indexing():
        pass
    assert catalog.counts()["files"] == 0  # reading goes on
    done.touch()
    other.join(60)
    with catalog.indexing():
        pass
    assert other.exitcode == 0


def _hold(directory: str, ready: str, done: str) -> None:
    with closing(Catalog.open(directory)) as catalog, catalog.indexing():
        Path(ready).touch()
        while not Path(done).exists():
            pass


def test_an_indexer_that_was_killed_holds_nothing(catalog: Catalog) -> None:
    ready = catalog.directory / "ready"
    context = multiprocessing.get_context("spawn")
    other = context.Process(target=_hold, args=(str(catalog.directory), str(ready), "/never/done"))
    other.start()
    while not ready.exists():
        assert other.is_alive()
    other.kill()
    other.join(60)
    with catalog.indexing():
        pass


FILL = """
import resource, sys
from pathlib import Path
from searchx.errors import LibraryFull
from tests.test_catalog import Catalog, put
catalog = Catalog.open(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    for number in range(1000):
        with catalog.writing() as tx:
            put(tx, f"/photos/{number}", *range(100 * number, 100 * number + 100))
        print(number + 1, flush=True)
except LibraryFull as error:
    print(error, file=sys.stderr)
    sys.exit(1)
"""


def test_a_full_disk_costs_nothing_that_was_written(tmp_path: Path) -> None:
    """A limit on the size of files answers like a full disk: the write fails half-way."""
    resource = pytest.importorskip("resource", reason="only POSIX limits the size of files")
    directory = tmp_path / "library"
    with closing(fresh(directory)):
        pass
    arguments = [sys.executable, "-c", FILL, str(directory), "600000"]
    run = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
    assert run.returncode == 1, run.stderr
    assert len(run.stderr.splitlines()) == 1
    assert f"{directory} cannot be written" in run.stderr
    assert "free some space" in run.stderr
    written = int(run.stdout.split()[-1])
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    with closing(Catalog.open(directory)) as catalog:
        assert len(catalog.files(ROOT)) == written > 0
        assert len(ids(catalog)) == 100 * written
        with catalog.writing() as tx:
            put(tx, "/photos/more", -1 % 2**64)
        assert len(catalog.files(ROOT)) == written + 1


def test_readers_never_see_a_vector_without_its_item(catalog: Catalog) -> None:
    stop = threading.Event()

    def read() -> int:
        rounds = 0
        while not stop.is_set() or not rounds:
            found, vectors, version = catalog.read_vectors("image")
            assert len(found) == len(vectors) == len(set(found.tolist()))
            assert len(found) % 3 == 0  # every transaction below adds or removes three
            assert version.added >= len(found)
            rounds += 1
        return rounds

    with ThreadPoolExecutor(32) as readers:
        reading = [readers.submit(read) for _ in range(32)]
        try:
            for number in range(60):
                with catalog.writing() as tx:
                    put(tx, f"/photos/{number}", 3 * number, 3 * number + 1, 3 * number + 2)
                    if number % 3 == 2:
                        tx.drop_files(ROOT, [f"/photos/{number - 1}"])
                        tx.drop_orphans()
        finally:
            stop.set()
        assert min(one.result() for one in reading) >= 1
    assert len(ids(catalog)) == 3 * 40


def test_an_item_is_there_while_a_file_holds_it(catalog: Catalog) -> None:
    with catalog.writing() as tx:
        tx.add_items([picture(1)])  # as an interrupted run leaves it
    assert catalog.embedded("image", [digest(1)]) == {digest(1)}
    assert ids(catalog) == []
    assert catalog.counts()["image"] == 0
    with pytest.raises(BadInput, match="there is no item 1"):
        catalog.vector(1)
    before = catalog.version()
    with catalog.writing() as tx:
        tx.set_file(ROOT, "/photos/a.jpg", 1, 1, [Content("image", digest(1))])
    assert catalog.version() != before
    assert ids(catalog) == [1]
    held = catalog.version()
    with catalog.writing() as tx:
        put(tx, "/photos/a.jpg", 2)
    assert ids(catalog) == [2]  # before anything is cleaned up
    assert catalog.removed(held.removed, catalog.version().removed).tolist() == [1]
    with catalog.writing() as tx:
        put(tx, "/photos/b.jpg", 1)
        assert tx.drop_orphans() == 0
    assert ids(catalog) == [2, 1]  # it has appeared again, without a new vector


def test_a_file_that_is_written_down_again_changes_no_version(catalog: Catalog) -> None:
    for _ in range(2):
        with catalog.writing() as tx:
            put(tx, "/photos/a.jpg", 1, 2)
        assert (catalog.version().added, catalog.version().removed) == (2, 0)


Step = tuple[str, str, tuple[int, ...]]
steps = st.lists(
    st.tuples(
        st.sampled_from(["set", "drop", "add", "clean"]),
        st.sampled_from(["/photos/a", "/photos/b", "/photos/c"]),
        st.lists(st.integers(0, 4), max_size=3).map(tuple),
    ),
    max_size=12,
)


@settings(max_examples=30, deadline=None)
@given(steps=steps)
def test_a_reader_that_follows_the_numbers_knows_what_is_there(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step]
) -> None:
    """The oracle is a dictionary of files; the reader applies only what is new, step by step."""
    with closing(fresh(tmp_path_factory.mktemp("library"))) as catalog:
        files: dict[str, tuple[int, ...]] = {}
        known: set[int] = set()
        version = catalog.version()
        for step in steps:
            with catalog.writing() as tx:
                do(tx, step, files)
            seen, _, now = catalog.read_vectors("image", version.added)
            known -= set(catalog.removed(version.removed, now.removed).tolist())
            known |= set(seen.tolist())
            version = now
            expected = {digest(number) for numbers in files.values() for number in numbers}
            assert {item.digest for item in catalog.items(sorted(known)).values()} == expected
            assert sorted(known) == sorted(ids(catalog))
            assert catalog.counts()["image"] == len(expected)


def do(tx: Writing, step: Step, files: dict[str, tuple[int, ...]]) -> None:
    action, path, numbers = step
    if action == "set":
        put(tx, path, *numbers)
        files[path] = numbers
    elif action == "drop":
        tx.drop_files(ROOT, [path])
        files.pop(path, None)
    elif action == "add":
        tx.add_items([picture(number) for number in numbers])
    else:
        tx.drop_orphans()
