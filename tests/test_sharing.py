"""One library in many processes: forked and spawned workers, writers beside readers."""

import multiprocessing
import os
import pickle
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

import searchx
from searchx.errors import LibraryError, LibraryFull
from searchx.records import Vectors
from searchx.search import Library
from searchx.upkeep import verify
from tests.colour import ColourEncoder
from tests.mere_user import as_mere_user

DIM = 16
PATIENCE = 60  # seconds: only a test that fails waits so long
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks on Windows")
may_warn = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


def vector(id: str) -> Vectors:
    row: Vectors = np.random.default_rng(list(id.encode())).normal(size=(1, DIM)).astype(np.float32)
    row /= np.linalg.norm(row)
    return row


def vectors(ids: list[str]) -> Vectors:
    return np.concatenate([vector(one) for one in ids])


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Library]:
    with searchx.create(tmp_path / "shop", dim=DIM, name="ours") as library:
        ids = [f"old-{one}" for one in range(50)]
        library.add(ids, vectors(ids))
        yield library


def best(library: Library, id: str) -> str | None:
    """Ask for the vector of an id; gives whose vector is nearest."""
    ids, _ = library.search_batch(vector(id), 1)
    return library.externals(ids[0])[0]


def ask(library: Library, id: str) -> str | None:
    """Is run by workers."""
    return best(library, id)


def in_a_child(work: Callable[[], bool]) -> bool:
    """Tell whether work in a forked process came out right."""
    child = os.fork()
    if child == 0:
        right = False
        try:
            right = work()
        finally:
            os._exit(0 if right else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@forks
@may_warn
def test_a_forked_process_goes_on_with_the_library(shop: Library) -> None:
    many = vectors([f"old-{one}" for one in range(50)])
    expected, _ = shop.search_batch(many, 3)  # with the threads of FAISS, which no child has

    def work() -> bool:
        same = bool((shop.search_batch(many, 3)[0] == expected).all())
        shop.add(["child"], vector("child"))
        return same and best(shop, "child") == "child" and shop.delete(["old-3"]) == 1

    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            best(shop, "old-7")

    with ThreadPoolExecutor(2) as threads:
        running = [threads.submit(busy) for _ in range(2)]
        try:
            assert in_a_child(work)
        finally:
            stop.set()
        for one in running:
            one.result(PATIENCE)
    assert best(shop, "child") == "child"
    assert best(shop, "old-3") != "old-3"
    assert verify(shop.directory).problems == ()


@forks
@may_warn
def test_a_child_of_a_closed_library_is_told_so(shop: Library) -> None:
    shop.close()

    def work() -> bool:
        with pytest.raises(LibraryError, match="closed here"):
            best(shop, "old-1")
        return True

    assert in_a_child(work)


@may_warn
@pytest.mark.parametrize(
    "way", [one for one in ("fork", "spawn") if one != "fork" or os.name != "nt"]
)
def test_workers_get_a_library_of_their_own(shop: Library, way: str) -> None:
    assert best(shop, "old-1") == "old-1"
    context = multiprocessing.get_context(way)
    with ProcessPoolExecutor(2, context) as workers:
        asked = [workers.submit(ask, shop, f"old-{one}") for one in range(4)]
        assert [one.result(PATIENCE) for one in asked] == [f"old-{one}" for one in range(4)]


def test_an_encoder_that_was_given_travels_along(tmp_path: Path) -> None:
    with searchx.create(tmp_path / "wall", encoder=ColourEncoder()) as library:
        library.add(["r", "b"], texts=["red", "blue"], kind="text")
        with pickle.loads(pickle.dumps(library)) as other:
            assert other.search("blue", 1, to="text")[0].external == "b"


def churn(directory: Path, name: str, rounds: int) -> list[str]:
    """Add and delete; gives what was not as it should be once each call had returned."""
    wrong: list[str] = []
    with searchx.open(directory) as library, searchx.open(directory) as other:
        for turn in range(rounds):
            ids = [f"{name}-{turn}-{one}" for one in range(5)]
            library.add(ids, vectors(ids), metadata={"turn": [turn] * 5})
            wrong += [one for one in ids if best(other, one) != one]
            gone = ids[:3]
            library.delete(gone)
            wrong += [one for one in gone if best(other, one) == one]
            wrong += [one for one in ids[3:] if best(other, one) != one]
            library.add(ids[3:4], vector(f"new {name} {turn}"))  # in place of what was there
            wrong += [] if best(other, f"new {name} {turn}") == ids[3] else [ids[3]]
    return wrong


def watch(directory: Path, stop: threading.Event, seed: int) -> tuple[int, list[str]]:
    """Ask at random; gives how often, and what was found with a score that is not its own."""
    numbers = np.random.default_rng(seed)
    asked, wrong = 0, []
    with searchx.open(directory) as library:
        while not stop.is_set():
            query = numbers.normal(size=(1, DIM)).astype(np.float32)
            query /= np.linalg.norm(query)
            ids, scores = library.search_batch(query, 5)
            asked += 1
            for item, score in zip(ids[0].tolist(), scores[0].tolist(), strict=True):
                (id,) = library.externals([item])
                is_old = id is not None and id.startswith("old")
                if (
                    id is not None
                    and is_old
                    and abs(float((vector(id) @ query.T)[0, 0]) - score) > 5e-3
                ):
                    wrong.append(id)
    return asked, wrong


def test_readers_see_what_writers_have_done(shop: Library) -> None:
    """Two processes and a thread write, two threads read; each looks at what it did itself."""
    stop = threading.Event()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, context) as writers, ThreadPoolExecutor(3) as threads:
        readers = [threads.submit(watch, shop.directory, stop, one) for one in range(2)]
        try:
            writing = [writers.submit(churn, shop.directory, name, 4) for name in ("a", "b")]
            writing.append(threads.submit(churn, shop.directory, "c", 4))
            assert [one.result(PATIENCE) for one in writing] == [[], [], []]
        finally:
            stop.set()
        for one in readers:
            asked, wrong = one.result(PATIENCE)
            assert asked > 0
            assert wrong == []
    left = {f"{name}-{turn}-{one}" for name in "abc" for turn in range(4) for one in (3, 4)}
    left |= {f"old-{one}" for one in range(50)}
    assert set(shop.externals(np.concatenate([one.ids for one in shop.blocks()]))) == left
    assert verify(shop.directory).problems == ()


def test_a_folder_that_cannot_be_written_is_named(shop: Library) -> None:
    shop.close()
    with TemporaryDirectory() as folder:  # that of pytest is closed to others
        Path(folder).chmod(0o755)
        place = Path(shutil.copytree(shop.directory, Path(folder) / "shop"))
        _close_to_writers(place)
        try:
            assert as_mere_user(_refused, place) == 0
        finally:
            place.chmod(0o755)


def _close_to_writers(place: Path) -> None:
    for file in place.rglob("*"):
        file.chmod(0o555 if file.is_dir() else 0o444)
    place.chmod(0o555)


def _refused(place: str) -> None:
    with searchx.open(place) as library:
        assert best(library, "old-1") == "old-1"
        with pytest.raises(LibraryFull, match="cannot be written"):
            library.add(["a"], vector("a"))
        with pytest.raises(LibraryFull, match="cannot be written"):
            library.delete(["old-1"])
