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
from datetime import timedelta, timezone
from hashlib import blake2b
from itertools import islice
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchx.catalog import Catalog, Content, KnownFolder, NewFile, NewItem, Writing
from searchx.errors import (
    BadInput,
    LibraryCorrupt,
    LibraryFull,
    LibraryInUse,
    NoLibrary,
    SpaceMismatch,
)
from searchx.records import Item, Kind, Location, Metadata, Skipped, Space

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
    note(tx, path, *(Content("image", digest(number)) for number in numbers))


def note(tx: Writing, path: str, *contents: Content, reason: str | None = None) -> None:
    tx.set_file(ROOT, NewFile(path, 10, 20, contents, reason=reason))


def drop(tx: Writing, catalog: Catalog, *paths: str) -> None:
    known = files(catalog)
    tx.drop_files([known[path] for path in paths if path in known])


def files(catalog: Catalog, source: str = ROOT) -> dict[str, int]:
    """Give the ids of all files of a source, by path."""
    with catalog.knowing(source) as known:
        return {
            str(Path(folder, name)): file
            for folder in known.folders
            for name, file in known.files(folder).ids.items()
        }


def held(catalog: Catalog, path: str) -> tuple[str, ...]:
    file = files(catalog)[path]
    return catalog.digests([file]).get(file, ())


def only(catalog: Catalog, kind: Kind = "image") -> Item:
    (one,) = ids(catalog, kind)
    return catalog.items([one])[one]


def ids(catalog: Catalog, kind: Kind = "image") -> list[int]:
    found, _, _ = catalog.read_vectors(kind)
    return [int(one) for one in found]


def test_what_was_written_is_read_back(catalog: Catalog) -> None:
    with catalog.writing() as tx:
        put(tx, "/photos/a.jpg", 1)
        put(tx, "/photos/copy of a.jpg", 1)
        tx.set_file(ROOT, NewFile("/photos/broken.jpg", 5, 6, reason="not an image"))
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
    with catalog.knowing(ROOT) as known:
        here = known.files(ROOT)
        assert here.stamps == {"a.jpg": (10, 20), "copy of a.jpg": (10, 20), "broken.jpg": (5, 6)}
        assert here.reasons == {"broken.jpg": "not an image"}
        assert here.companions == {}
        assert known.files("/photos/elsewhere").stamps == {}
    assert held(catalog, "/photos/a.jpg") == (digest(1),)
    assert held(catalog, "/photos/broken.jpg") == ()
    assert files(catalog, "/elsewhere") == {}


def test_vectors_are_read_by_id(catalog: Catalog) -> None:
    with catalog.writing() as tx:
        for number in range(1200):
            put(tx, f"/photos/{number}.jpg", number)
        tx.add_items([picture(5000)])  # in no file
    everything, vectors, _ = catalog.read_vectors("image")
    rng = np.random.default_rng(0)
    asked = rng.permutation(everything)[:1000]
    found, held = catalog.vectors_of([*asked, *asked[:5], 10**9, everything.max() + 1])
    assert np.array_equal(found, np.sort(asked))
    assert held.dtype == np.float16
    assert np.array_equal(held, vectors[np.isin(everything, asked)])
    none, nothing = catalog.vectors_of([])
    assert (none.shape, nothing.shape) == ((0,), (0, 4))


def test_metadata_is_that_of_the_first_place_that_has_some(catalog: Catalog) -> None:
    told = [None, Metadata(camera="first", keywords=("b", "a")), Metadata(camera="second")]
    with catalog.writing() as tx:
        tx.add_items([picture(1), picture(2)])
        for name, about in zip("abc", told, strict=True):
            content = [Content("image", digest(one), metadata=about) for one in (1, 2)]
            note(tx, f"/photos/{name}.jpg", *content)
    for item in catalog.items(ids(catalog)).values():
        assert item.metadata is not None
        assert (item.metadata.camera, item.metadata.keywords) == ("first", ("b", "a"))


def test_parts_of_a_file_keep_their_order(catalog: Catalog) -> None:
    numbers = random.Random(0).sample(range(2000), 1200)
    with catalog.writing() as tx:
        put(tx, "/photos/b.jpg", 9000)
        put(tx, "/photos/many", *numbers)
    assert held(catalog, "/photos/many") == tuple(map(digest, numbers))


def test_nothing_stays_of_a_transaction_that_failed(catalog: Catalog) -> None:
    with catalog.writing() as tx:
        put(tx, "/photos/a.jpg", 1)
    before = dump(catalog)
    with pytest.raises(ZeroDivisionError), catalog.writing() as tx:
        tx.add_source("/more")
        put(tx, "/photos/a.jpg", 2)
        drop(tx, catalog, "/photos/a.jpg")
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
        note(tx, "/photos/c.txt", Content("text", digest(1), "line 3"))
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
        note(tx, name + "2", reason=f"{name} is no picture")
    assert catalog.items(ids(catalog))[ids(catalog)[0]].path == name
    assert set(files(catalog)) == {name, name + "2"}
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
        drop(tx, catalog, "/photos/a.jpg")
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
        assert len(files(catalog)) == 4


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
        assert len(files(catalog)) == written > 0
        assert len(ids(catalog)) == 100 * written
        with catalog.writing() as tx:
            put(tx, "/photos/more", -1 % 2**64)
        assert len(files(catalog)) == written + 1


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
                        drop(tx, catalog, f"/photos/{number - 1}")
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
        note(tx, "/photos/a.jpg", Content("image", digest(1)))
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
        expected: dict[str, tuple[int, ...]] = {}
        known: set[int] = set()
        version = catalog.version()
        for step in steps:
            with catalog.writing() as tx:
                do(tx, catalog, step, expected)
            seen, _, now = catalog.read_vectors("image", version.added)
            known -= set(catalog.removed(version.removed, now.removed).tolist())
            known |= set(seen.tolist())
            version = now
            there = {digest(number) for numbers in expected.values() for number in numbers}
            assert {item.digest for item in catalog.items(sorted(known)).values()} == there
            assert sorted(known) == sorted(ids(catalog))
            assert catalog.counts()["image"] == len(there)


def do(tx: Writing, catalog: Catalog, step: Step, expected: dict[str, tuple[int, ...]]) -> None:
    action, path, numbers = step
    if action == "set":
        put(tx, path, *numbers)
        expected[path] = numbers
    elif action == "drop":
        drop(tx, catalog, path)
        expected.pop(path, None)
    elif action == "add":
        tx.add_items([picture(number) for number in numbers])
    else:
        tx.drop_orphans()


def write(tx: Writing, path: str, *passages: str, subject: str | None = None) -> None:
    """Add texts, and write down the one file that holds them."""
    tx.add_items([passage(text) for text in passages])
    contents = [
        Content("text", passage(text).digest, f"line {line}", subject, line=line)
        for line, text in enumerate(passages, 1)
    ]
    note(tx, path, *contents)


def passage(text: str) -> NewItem:
    found = blake2b(text.encode(), digest_size=32).hexdigest()
    return NewItem("text", found, picture(len(text)).vector, text)


def of_picture(number: int, subject: str, metadata: Metadata | None = None) -> Content:
    return Content("image", digest(number), subject=subject, metadata=metadata)


def by_text(catalog: Catalog) -> dict[str | None, Item]:
    return {item.text: item for item in catalog.items(ids(catalog, "text")).values()}


def test_a_source_keeps_its_rules_until_it_is_given_others(catalog: Catalog) -> None:
    assert catalog.rules(ROOT) == catalog.rules("/unknown") == ""
    for rules, kept in (("{1}", "{1}"), (None, "{1}"), ("{2}", "{2}"), ("", "")):
        with catalog.writing() as tx:
            tx.add_source(ROOT, rules)
        assert catalog.rules(ROOT) == kept
    assert catalog.sources() == (ROOT,)


def test_folders_are_known_with_their_mounts(catalog: Catalog) -> None:
    with catalog.writing() as tx:
        first = tx.add_folder(ROOT, "/photos/disk", is_mount=True)
        put(tx, "/photos/disk/a.jpg", 1)
        put(tx, "/photos/trip/b.jpg", 2)
        tx.add_source("/other")
        assert tx.add_folder("/other", "/photos/disk") != first
    with catalog.knowing(ROOT) as known:
        assert known.folders["/photos/disk"] == KnownFolder(first, True)
        assert {path: one.is_mount for path, one in known.folders.items()} == {
            "/photos/disk": True,
            "/photos/trip": False,
        }
        assert known.files("/photos/disk").stamps == {"a.jpg": (10, 20)}
    with catalog.writing() as tx:
        assert tx.add_folder(ROOT, "/photos/disk", is_mount=False) == first
    with catalog.knowing(ROOT) as known:
        assert not known.folders["/photos/disk"].is_mount


def test_a_file_is_replaced_with_all_that_was_known_of_it(catalog: Catalog) -> None:
    with catalog.writing() as tx:
        tx.add_items([picture(number) for number in (1, 2)])
        old = (of_picture(1, "/photos/a.jpg", Metadata(title="old", keywords=("x",))),)
        tx.set_file(ROOT, NewFile("/photos/a.jpg", 1, 2, old, "a.xmp 3 4"))
    with catalog.knowing(ROOT) as known:
        before = known.files(ROOT)
        assert before.companions == {"a.jpg": "a.xmp 3 4"}
    with catalog.writing() as tx:
        tx.set_file(ROOT, NewFile("/photos/a.jpg", 5, 6, [Content("image", digest(2))]))
    with catalog.knowing(ROOT) as known:
        after = known.files(ROOT)
        assert (after.stamps, after.companions) == ({"a.jpg": (5, 6)}, {})
        assert after.ids == before.ids
    assert (only(catalog).digest, only(catalog).metadata) == (digest(2), None)
    with catalog.writing() as tx:
        tx.set_file(ROOT, NewFile("/photos/a.jpg", 5, 7, reason="it is empty"))
    assert ids(catalog) == []
    assert catalog.skipped() == (Skipped("/photos/a.jpg", "it is empty"),)


def test_the_place_of_a_passage_is_kept(catalog: Catalog) -> None:
    with catalog.writing() as tx:
        tx.add_items([passage("a red barn")])
        place = Content("text", passage("a red barn").digest, "page 3, line 5", None, 3, 5, 70, 80)
        note(tx, "/photos/notes.pdf", place)
    (found,) = only(catalog, "text").locations
    assert found == Location(ROOT, "/photos/notes.pdf", "page 3, line 5", 3, 5, 70, 80)


ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
METADATA = st.builds(
    Metadata,
    taken=st.none() | st.datetimes(timezones=st.none() | ZONES),
    taken_from=st.none() | st.sampled_from(["exif", "sidecar"]),
    latitude=st.none() | st.floats(-90, 90),
    longitude=st.none() | st.floats(-180, 180),
    altitude=st.none() | st.floats(-500, 9000),
    camera=st.none() | WORDS,
    lens=st.none() | WORDS,
    orientation=st.none() | st.sampled_from(["landscape", "portrait", "square"]),
    format=st.none() | st.sampled_from(["JPEG", "HEIF"]),
    bytes=st.none() | st.integers(0, 2**40),
    title=st.none() | WORDS,
    rating=st.none() | st.integers(-1, 5),
    keywords=st.lists(WORDS, max_size=4, unique=True).map(tuple),
)


@settings(max_examples=40, deadline=None)
@given(known=METADATA)
def test_metadata_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, known: Metadata
) -> None:
    with closing(fresh(tmp_path_factory.mktemp("library"))) as catalog:
        with catalog.writing() as tx:
            tx.add_items([picture(1)])
            note(tx, "/photos/a.jpg", of_picture(1, "/photos/a.jpg", known))
        assert only(catalog).metadata == known
        found = only(catalog).metadata
        assert found is not None
        assert (found.taken and found.taken.utcoffset()) == (
            known.taken and known.taken.utcoffset()
        )


def test_metadata_holds_what_no_database_text_can(catalog: Catalog) -> None:
    """Bytes that are no text come as escapes; a keyword that is said twice counts once."""
    odd = os.fsdecode(b"caf\xe9")
    known = Metadata(title=odd, camera=odd, lens=odd, keywords=(odd, "b", odd))
    with catalog.writing() as tx:
        tx.add_items([picture(1)])
        note(tx, "/photos/a.jpg", of_picture(1, "/photos/a.jpg", known))
    kept = only(catalog).metadata
    assert kept is not None
    assert kept.title == kept.camera == kept.lens == "caf\\udce9"
    assert kept.keywords == ("caf\\udce9", "b")


def test_metadata_is_that_of_the_first_location_that_has_some(catalog: Catalog) -> None:
    with catalog.writing() as tx:
        put(tx, "/photos/bare.jpg", 1)
        for title in ("first", "second"):
            path = f"/photos/{title}.jpg"
            note(tx, path, of_picture(1, path, Metadata(title=title, keywords=(title,))))
    found = only(catalog).metadata
    assert found is not None
    assert (found.title, found.keywords) == ("first", ("first",))
    with catalog.writing() as tx:
        drop(tx, catalog, "/photos/first.jpg")
    found = only(catalog).metadata
    assert found is not None
    assert (found.title, found.keywords) == ("second", ("second",))


def test_a_picture_and_its_texts_know_each_other_across_files_and_sources(
    catalog: Catalog,
) -> None:
    subject = os.fsdecode(b"/photos/caf\xe9.jpg")
    with catalog.writing() as tx:
        tx.add_items([picture(1), picture(2), passage("of the row")])
        note(tx, subject, of_picture(1, subject))
        note(tx, "/photos/copy.jpg", of_picture(1, "/photos/copy.jpg"))
        note(tx, "/photos/other.jpg", of_picture(2, "/photos/other.jpg"))
        write(tx, "/photos/captions.jsonl", "a red barn", "a cold day", subject=subject)
        write(tx, "/photos/copy.txt", "a red barn", subject="/photos/copy.jpg")
        write(tx, "/photos/notes.txt", "of nothing")
        tx.add_source("/rows.csv")
        row = Content("text", passage("of the row").digest, "row 1", subject)
        tx.set_file("/rows.csv", NewFile("/rows.csv", 1, 1, [row]))
    images = {item.digest: item for item in catalog.items(ids(catalog)).values()}
    texts = by_text(catalog)
    mine = images[digest(1)]
    assert mine.captions == ("a red barn", "a cold day", "of the row")
    assert images[digest(2)].captions == ()
    assert texts["a red barn"].pictures == texts["of the row"].pictures == (mine.id,)
    assert texts["of nothing"].pictures == ()
    assert (mine.pictures, texts["a red barn"].captions) == ((), ())
    with catalog.writing() as tx:
        drop(tx, catalog, "/photos/captions.jsonl")
    assert catalog.items([mine.id])[mine.id].captions == ("a red barn", "of the row")


def test_a_picture_shows_no_more_than_some_captions(catalog: Catalog) -> None:
    with catalog.writing() as tx:
        tx.add_items([picture(1)])
        note(tx, "/photos/a.jpg", of_picture(1, "a"))
        write(tx, "/photos/a.txt", *(f"caption {number}" for number in range(50)), subject="a")
    assert only(catalog).captions == tuple(f"caption {number}" for number in range(20))


def test_a_passage_has_the_ones_beside_it_as_context(catalog: Catalog) -> None:
    with catalog.writing() as tx:
        write(tx, "/photos/one.txt", "first", "second", "third")
        write(tx, "/photos/two.txt", "other", "second", "more")
        put(tx, "/photos/a.jpg", 1)
    items = by_text(catalog)
    beside = {text: catalog.context(item.id) for text, item in items.items()}
    assert beside["first"] == ("", "second")
    assert beside["second"] == ("first", "third")  # where it was found first
    assert beside["third"] == ("second", "")
    assert beside["more"] == ("second", "")
    assert catalog.context(ids(catalog)[0]) == catalog.context(999) == ("", "")


def test_what_is_in_files_is_told_for_many_at_once(catalog: Catalog) -> None:
    with catalog.writing() as tx:
        for number in range(1200):
            put(tx, f"/photos/{number}.jpg", number, number + 1)
        note(tx, "/photos/empty.jpg")
    known = files(catalog)
    assert catalog.digests(known.values()) == {
        known[f"/photos/{number}.jpg"]: (digest(number), digest(number + 1))
        for number in range(1200)
    }
    assert catalog.digests([10**9]) == catalog.digests([]) == {}


def test_a_problem_costs_nothing_that_is_known(catalog: Catalog) -> None:
    with catalog.writing() as tx:
        put(tx, "/photos/a.jpg", 1)
        tx.note_problem(ROOT, "/photos/a.jpg", "it is locked")
        tx.note_problem(ROOT, "/photos/closed", "it cannot be read")
        tx.note_problem(ROOT, "/photos/closed", "it still cannot be read")
    assert len(ids(catalog)) == 1
    assert catalog.skipped() == (
        Skipped("/photos/a.jpg", "it is locked"),
        Skipped("/photos/closed", "it still cannot be read"),
    )
    assert catalog.counts()["files"] == 1
    with catalog.knowing(ROOT) as known:  # both are read again as soon as they can be
        assert known.files(ROOT).stamps == {"a.jpg": (10, -1), "closed": (0, -1)}
        assert known.files(ROOT).reasons.keys() == {"closed"}
    with catalog.writing() as tx:
        put(tx, "/photos/a.jpg", 1)
    assert [one.path for one in catalog.skipped()] == ["/photos/closed"]


def test_files_that_are_to_be_read_again_have_no_time(catalog: Catalog) -> None:
    with catalog.writing() as tx:
        for number in range(1100):
            put(tx, f"/photos/{number}.jpg", number)
    with catalog.writing() as tx:
        known = files(catalog)
        tx.read_again([file for path, file in known.items() if path != "/photos/7.jpg"])
    with catalog.knowing(ROOT) as now:
        stamps = now.files(ROOT).stamps
    assert [name for name, stamp in stamps.items() if stamp != (10, -1)] == ["7.jpg"]
    assert len(ids(catalog)) == 1100


def test_the_number_of_a_file_is_not_given_twice(catalog: Catalog) -> None:
    with catalog.writing() as tx:
        put(tx, "/photos/a.jpg", 1)
    (number,) = files(catalog).values()
    with catalog.writing() as tx:
        drop(tx, catalog, "/photos/a.jpg")
    with catalog.writing() as tx:
        put(tx, "/photos/b.jpg", 2)
    assert number not in files(catalog).values()


def test_one_folder_is_known_without_the_others(catalog: Catalog) -> None:
    with catalog.writing() as tx:
        put(tx, "/photos/a/x.jpg", 1)
        put(tx, "/photos/b/y.jpg", 2)
    with catalog.knowing(ROOT, "/photos/b") as known:
        assert set(known.folders) == {"/photos/b"}
        assert set(known.files("/photos/b").ids) == {"y.jpg"}
        assert not known.files("/photos/a").ids
    with catalog.knowing(ROOT, "/photos/none") as known:
        assert not known.folders


def test_a_folder_is_forgotten_when_nothing_is_in_it(catalog: Catalog) -> None:
    with catalog.writing() as tx:
        put(tx, "/photos/a/x.jpg", 1)
        put(tx, "/photos/b/y.jpg", 2)
        tx.add_folder(ROOT, "/photos/disk", is_mount=True)
    with catalog.writing() as tx:
        drop(tx, catalog, "/photos/a/x.jpg")
        tx.drop_empty_folders()
        put(tx, "/photos/a/z.jpg", 3)  # the folder is found again, though it was just dropped
    with catalog.knowing(ROOT) as known:
        assert set(known.folders) == {"/photos/a", "/photos/b", "/photos/disk"}
    with catalog.writing() as tx:
        drop(tx, catalog, "/photos/a/z.jpg")
        tx.add_folder(ROOT, "/photos/disk", is_mount=False)
        tx.drop_empty_folders()
    with catalog.knowing(ROOT) as known:
        assert set(known.folders) == {"/photos/b"}


def test_a_source_goes_with_its_files_and_with_nothing_else(catalog: Catalog) -> None:
    with catalog.writing() as tx:
        put(tx, "/photos/a.jpg", 1)
        put(tx, "/photos/both.jpg", 2)
        note(tx, "/photos/broken.jpg", reason="not a picture")
        tx.add_source("/photos2")
        tx.set_file("/photos2", NewFile("/photos2/b.jpg", 1, 1, [Content("image", digest(2))]))
    with catalog.writing() as tx:
        assert tx.drop_source(ROOT) == 2
    assert catalog.sources() == ("/photos2",)
    assert only(catalog).paths == ("/photos2/b.jpg",)
    assert catalog.skipped() == ()
    assert (catalog.version().added, catalog.version().removed) == (2, 1)
    with pytest.raises(BadInput, match="/photos is no source"), catalog.writing() as tx:
        tx.drop_source(ROOT)


def sourced(catalog: Catalog, source: str, *paths: str) -> None:
    """Add a source with pictures, each with its own caption."""
    with catalog.writing() as tx:
        tx.add_source(source)
        for path in paths:
            number = int.from_bytes(blake2b(os.fsencode(path), digest_size=6).digest(), "big")
            tx.add_items([picture(number), passage(f"about {number}")])
            contents = [of_picture(number, path)]
            contents.append(Content("text", passage(f"about {number}").digest, subject=path))
            tx.set_file(source, NewFile(path, 10, 20, contents))


MOVES = [
    ("/a/photo", "/b", ["/a/photo/x.jpg", "/a/photo/trip/x.jpg", "/a/photo/photo/x.jpg"]),
    ("/a/b", "/a", ["/a/b/x.jpg", "/a/b/y.jpg", "/a/b/b/x.jpg", "/a/b/b/b/x.jpg"]),
    ("/a", "/a/a", ["/a/x.jpg", "/a/a/x.jpg", "/a/a/a/x.jpg", "/a/b/x.jpg"]),
    ("/", "/mnt/old", ["/x.jpg", "/a/x.jpg"]),
    ("/a", "/", ["/a/x.jpg", "/a/b/x.jpg", "/a/a/x.jpg"]),
]


@pytest.mark.parametrize(("old", "new", "paths"), MOVES)
def test_a_source_moves_with_all_that_is_below_it(
    catalog: Catalog, old: str, new: str, paths: list[str]
) -> None:
    beside = [] if old == "/" else [f"{old}s/x.jpg", f"{old}.jpg", f"{old}\\x.jpg"]
    sourced(catalog, "/beside", *beside)
    sourced(catalog, old, *paths)
    before = catalog.version()
    with catalog.writing() as tx:
        assert tx.move_source(old, new) == len(paths)
    assert catalog.version() == before
    assert catalog.sources() == (ROOT, "/beside", new)
    moved = [f"{new.rstrip('/')}/{path.removeprefix(old).lstrip('/')}" for path in paths]
    assert set(files(catalog, new)) == set(moved)
    assert set(files(catalog, "/beside")) == set(beside)
    for item in catalog.items(ids(catalog)).values():
        assert len(item.captions) == 1
    with closing(sqlite3.connect(catalog.directory / "catalog.db")) as connection:
        subjects = {os.fsdecode(row[0]) for row in connection.execute(SUBJECTS)}
    assert subjects == {*moved, *beside}


SUBJECTS = "SELECT DISTINCT subject FROM location WHERE subject IS NOT NULL"


def test_a_source_that_is_a_file_moves_with_its_rows(catalog: Catalog) -> None:
    with catalog.writing() as tx:
        tx.add_source("/a/rows.csv")
        tx.add_items([picture(1), picture(2)])
        row = Content("image", digest(1), "row 1", "/a/rows.csv\0row 1")
        named = Content("image", digest(2), "row 2", "/a/rows.csv.jpg")
        tx.set_file("/a/rows.csv", NewFile("/a/rows.csv", 1, 1, [row, named]))
    for old, new in (("/a/rows.csv", "/b/c/table.csv"), ("/b/c/table.csv", "/b/c/table.csv/x.csv")):
        with catalog.writing() as tx:
            assert tx.move_source(old, new) == 1
        assert set(files(catalog, new)) == {new}
    with closing(sqlite3.connect(catalog.directory / "catalog.db")) as connection:
        subjects = {os.fsdecode(row[0]) for row in connection.execute(SUBJECTS)}
    assert subjects == {"/b/c/table.csv/x.csv\0row 1", "/a/rows.csv.jpg"}


def test_a_source_moves_only_from_a_known_to_a_free_place(catalog: Catalog) -> None:
    with catalog.writing() as tx:
        tx.add_source("/more")
    before = dump(catalog)
    with pytest.raises(BadInput, match="/more is a source already"), catalog.writing() as tx:
        tx.move_source(ROOT, "/more")
    with pytest.raises(BadInput, match="/phot is no source"), catalog.writing() as tx:
        tx.move_source("/phot", "/new")
    assert dump(catalog) == before


def test_a_vector_of_a_wrong_length_is_named(catalog: Catalog) -> None:
    with catalog.writing() as tx:
        put(tx, "/photos/a.jpg", 1)
    with closing(sqlite3.connect(catalog.directory / "catalog.db")) as connection, connection:
        connection.execute("UPDATE vector SET data = x'0000'")
    with pytest.raises(LibraryCorrupt, match='wrong length; run "searchx repair"'):
        catalog.read_vectors("image")


def test_captions_are_found_by_an_index(catalog: Catalog) -> None:
    """The statement of the fetch; a scan of all locations would make every answer slow."""
    with closing(sqlite3.connect(catalog.directory / "catalog.db")) as connection:
        plan = connection.execute(
            "EXPLAIN QUERY PLAN SELECT theirs.id FROM location AS mine JOIN location AS theirs "
            "ON theirs.subject = mine.subject JOIN item ON item.id = theirs.item_id "
            "WHERE mine.item_id IN (1, 2) AND mine.subject IS NOT NULL ORDER BY theirs.id"
        ).fetchall()
    assert not [row[3] for row in plan if row[3].startswith("SCAN")], plan


def effort(catalog: Catalog, ask: Callable[[], object]) -> int:
    """Count the steps that SQLite takes to answer, in hundreds."""
    counted: list[None] = []
    with catalog._engine.connect() as connection:
        raw = connection.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
    raw.set_progress_handler(lambda: counted.append(None), 100)  # the one connection of the pool
    ask()
    raw.set_progress_handler(None, 0)
    return len(counted)


def test_what_is_asked_of_a_few_items_does_not_cost_more_among_many(catalog: Catalog) -> None:
    """SQLite, left to itself, would begin with all items of a kind."""

    def tasks() -> dict[str, int]:
        before = catalog.version().added
        number = 10_000 + before
        path = f"/photos/{number}.jpg"

        def write() -> None:
            with catalog.writing() as tx:
                tx.add_items([picture(number), picture(number, "text")])
                both = (Content(kind, digest(number), "", path) for kind in ("image", "text"))
                note(tx, path, *both)

        asked = {
            "write": write,
            "read": lambda: catalog.read_vectors("image", before),
            "count": lambda: catalog.count_appeared("image", before),
            "fetch": lambda: catalog.items([1]),
            "words": lambda: catalog.words("image", str(number), 5),
            "vectors": lambda: catalog.vectors_of([1]),
        }
        return {name: effort(catalog, task) for name, task in asked.items()}

    with catalog.writing() as tx:
        put(tx, "/photos/a.jpg", 1)
    few = tasks()
    with catalog.writing() as tx:
        for number in range(2, 3000):
            put(tx, f"/photos/{number}.jpg", number)
    many = tasks()
    assert few["write"] > 2  # the steps are counted
    for name, count in many.items():
        assert count <= few[name] + 5, (name, few, many)


def test_all_vectors_are_read_without_being_sorted_first(catalog: Catalog) -> None:
    with catalog.writing() as tx:
        put(tx, "/photos/many", *range(10_000))

    def read(blocks: int) -> list[int]:
        with catalog.rows("image") as (rows, _):
            return [len(found) for found, _ in islice(rows.blocks, blocks)]

    assert len(read(9)) == 3
    assert effort(catalog, lambda: read(1)) < effort(catalog, lambda: read(9)) * 0.7
