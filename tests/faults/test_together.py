"""Several processes at one library: two that write, and readers while another one writes."""

import platform
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from searchx.errors import NoLibrary
from searchx.search import Library
from tests.colour import ColourEncoder
from tests.faults.driver import Stage, Ward
from tests.faults.looking import State

LONG = "index many files"


@pytest.fixture(scope="module")
def stage(ward: Ward) -> Stage:
    return ward.stages(LONG)[0]


def begin(stage: Stage) -> None:
    stage.put_back()
    stage.nursery.begin("act", scenario=stage.scenario, place=str(stage.place))


def wait_for(there: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not there():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_the_second_indexer_is_told_who_holds_the_library(ward: Ward, stage: Stage) -> None:
    begin(stage)
    wait_for((stage.place / "library" / "indexing.json").exists)
    other = ward.nurseries[1].do("act", scenario=LONG, place=str(stage.place))
    first = stage.nursery.end()
    assert "error" not in first
    assert other["error"].startswith("LibraryInUse: ") and "\n" not in other["error"]
    assert f" on {platform.node()}, since " in other["error"]
    assert f"({first['pid']} on " in other["error"]
    wrong = stage.wrong_after_fault()
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("head_start", [0.0, 0.05, 0.1, 0.2])
def test_two_indexers_at_once_lose_nothing(ward: Ward, stage: Stage, head_start: float) -> None:
    begin(stage)
    time.sleep(head_start)
    other = ward.nurseries[1].do("act", scenario=LONG, place=str(stage.place))
    first = stage.nursery.end()
    errors = [one["error"] for one in (first, other) if "error" in one]
    assert len(errors) < 2 and all(one.startswith("LibraryInUse") for one in errors), errors
    wrong = stage.wrong_after_fault()
    assert not wrong, "\n".join(wrong)


class Reader(threading.Thread):
    """Searches again and again, and keeps what it found each time."""

    def __init__(self, place: Path) -> None:
        super().__init__()
        self.place = place
        self.stop = threading.Event()
        self.seen: list[State] = []  # of each search, pictures by file
        self.counts: list[int] = []
        self.wrong: list[str] = []

    def run(self) -> None:
        try:
            wait_for((self.place / "library" / "catalog.db").exists)
            with Library.open(self.place / "library", encoder=ColourEncoder()) as library:
                while not self.stop.is_set():
                    self._search(library)
        except Exception as error:
            self.wrong.append(f"{type(error).__name__}: {error}")

    def has_begun(self) -> bool:
        return bool(self.seen or self.wrong)

    def _search(self, library: Library) -> None:
        try:
            hits = library.search("red", k=1000)
        except NoLibrary:  # before the first transaction
            return
        self.wrong += [f"item {hit.item.id} is nowhere" for hit in hits if not hit.item.locations]
        places = [(one.path, hit.item.digest) for hit in hits for one in hit.item.locations]
        self.seen.append({path: [["image", digest, ""]] for path, digest in places})
        self.counts.append(len(hits))


@contextmanager
def readers(stage: Stage, count: int) -> Iterator[list[Reader]]:
    crowd = [Reader(stage.place) for _ in range(count)]
    for reader in crowd:
        reader.start()
    try:
        yield crowd
    finally:
        for reader in crowd:
            reader.stop.set()
            reader.join()


def test_who_reads_while_files_are_added_sees_more_and_more(ward: Ward) -> None:
    stage = ward.stages("index many more files")[0]
    steps: set[int] = set()
    for _ in range(25):  # a busy machine may let the reader sleep all the while
        stage.put_back()
        with readers(stage, 1) as (reader,):
            wait_for(reader.has_begun)
            answer = stage.act()
            time.sleep(0.2)
        assert "error" not in answer
        assert not reader.wrong
        assert reader.counts == sorted(reader.counts)
        assert (reader.counts[0], reader.counts[-1]) == (12, 200)
        steps.update(reader.counts)
        if len(steps) > 2:
            return
    raise AssertionError(f"nobody was there in the midst of it: {steps}")


def pictures(state: State, place: Path) -> State:
    images = {name: [one for one in held if one[0] == "image"] for name, held in state.items()}
    return {str(place / name): held for name, held in images.items() if held}


@pytest.mark.parametrize(
    "scenario",
    ["build snapshots again", "compact", "restore over a library", "forget a source"],
)
def test_who_reads_sees_the_old_state_or_the_new_one(ward: Ward, scenario: str) -> None:
    stage = ward.stages(scenario)[0]
    allowed = [pictures(one, stage.place) for one in (stage.before, stage.after)]
    for _ in range(2):
        stage.put_back()
        with readers(stage, 1) as crowd:
            wait_for(crowd[0].has_begun)
            answer = stage.act()
        assert "error" not in answer, answer["error"]
        for reader in crowd:
            assert not reader.wrong
            assert all(one in allowed for one in reader.seen)
