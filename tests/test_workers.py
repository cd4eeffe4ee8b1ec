import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexer.decoding.decode import Content, End, Shot, Task
from indexer.decoding.workers import AHEAD, Workers
from indexer.files import Found
from indexer.formats import form_of
from indexer.prose.texts import Extract
from searchx.errors import SearchxError
from searchx.identity import digest_bytes
from tests import troubled
from tests.colour import paint
from tests.troubled import Troubled, Unloadable

ROOT = Path(__file__).resolve().parent.parent
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives workers this")


def nothing_is_known(digest: str) -> bool:
    return False


def task(path: Path) -> Task:
    form = form_of(path.name)
    assert form
    about = path.stat()
    return Task(Found(str(path), form, about.st_size, about.st_mtime_ns))


def picture(folder: Path, number: int, colour: tuple[int, int, int] = troubled.GOOD) -> Path:
    return paint(folder / f"{number:04}.png", colour, size=(20 + number % 50, 24))


def lines(path: Path, count: int, length: int = 100) -> Path:
    rows = (json.dumps({"text": f"{number} ".ljust(length, "x")}) for number in range(count))
    path.write_text("\n".join(rows))
    return path


def all_of(workers: Workers, paths: list[Path]) -> dict[str, list[Content]]:
    """Read all; the keys are in the order in which the files came."""
    loaded = workers.load(task(path) for path in paths)
    return {loading.task.found.path: list(loading.contents()) for loading in loaded}


def end_of(contents: list[Content]) -> End:
    assert isinstance(contents[-1], End)
    assert not any(isinstance(one, End) for one in contents[:-1])
    return contents[-1]


def plain(contents: list[Content]) -> list[object]:
    """Give contents that can be compared."""
    shape: list[object] = [
        (one.pixels.tolist() if one.pixels is not None else None, one.digest, one.metadata)
        if isinstance(one, Shot)
        else one
        for one in contents
    ]
    return shape


def trouble(
    folder: Path, colour: tuple[int, int, int], seconds: float = 60.0, before: int = 1
) -> tuple[str, bool]:
    """Read a bad picture among good ones; gives the problem with it, the good must be read."""
    paths = [picture(folder, number) for number in range(before + 2)]
    picture(folder, before, colour)
    with Workers(1, Troubled(), nothing_is_known, seconds) as workers:
        read = all_of(workers, paths)
    assert list(read) == [str(path) for path in paths]
    for path in paths:
        end = end_of(read[str(path)])
        if path != paths[before]:
            assert end.problem is None
            assert isinstance(read[str(path)][0], Shot)
    end = end_of(read[str(paths[before])])
    assert len(read[str(paths[before])]) == 1
    assert end.problem
    assert end.problem.path == str(paths[before])
    assert "\n" not in end.problem.reason
    assert (end.size, end.mtime_ns) == (
        paths[before].stat().st_size,
        paths[before].stat().st_mtime_ns,
    )
    return end.problem.reason, end.problem.lasting


def children() -> list[psutil.Process]:
    """Give the workers that live; other tests leave processes of multiprocessing behind."""
    found: list[psutil.Process] = psutil.Process().children(recursive=True)
    return [
        one for one in found if any("indexer.decoding.worker" in word for word in _command(one))
    ]


def _command(process: psutil.Process) -> list[str]:
    try:
        words: list[str] = process.cmdline()
    except psutil.ZombieProcess:
        return ["indexer.decoding.worker"]  # whoever it was, it should have been cleared away
    except psutil.NoSuchProcess:
        return []
    return words


def threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("searchx")]


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    yield
    assert children() == []
    assert threads() == []


def test_files_come_in_order_whatever_they_take(tmp_path: Path) -> None:
    paths = [picture(tmp_path, number) for number in range(30)]
    lines(tmp_path / "many.jsonl", 20_000)
    (tmp_path / "note.txt").write_text("A red barn. Snow.")
    paths[3:3] = [tmp_path / "many.jsonl", tmp_path / "note.txt"]
    with Workers(2, Troubled(), nothing_is_known) as workers:
        read = all_of(workers, paths)
    assert list(read) == [str(path) for path in paths]
    assert all(end_of(contents).problem is None for contents in read.values())
    texts = [one.text for one in read[str(paths[3])] if isinstance(one, Extract)]
    assert [int(text.split()[0]) for text in texts] == list(range(20_000))


@pytest.mark.parametrize(
    ("colour", "name"), [(troubled.SEGFAULT, "SIGSEGV"), (troubled.ABORT, "SIGABRT")]
)
@pytest.mark.parametrize("before", [0, 2])
def test_a_decoder_that_crashes_costs_its_file_only(
    tmp_path: Path, colour: tuple[int, int, int], name: str, before: int
) -> None:
    reason, lasting = trouble(tmp_path, colour, before=before)
    assert "crashed" in reason
    assert name in reason
    assert lasting


def test_a_decoder_that_ends_the_process_costs_its_file_only(tmp_path: Path) -> None:
    reason, lasting = trouble(tmp_path, troubled.EXIT)
    assert "exit code 3" in reason
    assert lasting


def test_a_worker_that_is_killed_does_not_blame_the_file(tmp_path: Path) -> None:
    reason, lasting = trouble(tmp_path, troubled.KILLED)
    assert "killed" in reason
    assert not lasting


def test_a_decoder_that_hangs_is_stopped(tmp_path: Path) -> None:
    begun = time.monotonic()
    reason, lasting = trouble(tmp_path, troubled.HANG, seconds=1.5)
    assert "longer than 1.5 s" in reason
    assert lasting
    assert time.monotonic() - begun < 30


@on_linux
def test_a_decoder_that_eats_memory_is_stopped(tmp_path: Path) -> None:
    reason, lasting = trouble(tmp_path, troubled.GREEDY)
    assert reason.startswith("it needs more than 4096 MiB of memory")
    assert lasting


def test_what_cannot_be_fitted_costs_its_file_only(tmp_path: Path) -> None:
    reason, lasting = trouble(tmp_path, troubled.WRONG)
    assert "cannot be fitted" in reason
    assert lasting


@pytest.mark.parametrize("colour", [troubled.SECOND, troubled.GREEDY_SECOND])
def test_a_file_is_not_blamed_for_what_others_left_in_the_worker(
    tmp_path: Path, colour: tuple[int, int, int]
) -> None:
    paths = [picture(tmp_path, number) for number in range(3)]
    paths.append(picture(tmp_path, 3, colour))
    with Workers(1, Troubled(), nothing_is_known) as workers:
        read = all_of(workers, paths)
    assert all(end_of(contents).problem is None for contents in read.values())


def test_noise_of_decoders_reaches_nobody(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    paths = [picture(tmp_path, number, troubled.NOISY) for number in range(3)]
    with Workers(1, Troubled(), nothing_is_known) as workers:
        read = all_of(workers, paths)
    assert all(end_of(contents).problem is None for contents in read.values())
    assert capfd.readouterr() == ("", "")


def test_a_slow_reader_is_not_a_hang_and_holds_the_worker_back(tmp_path: Path) -> None:
    lines(tmp_path / "many.jsonl", 60_000, length=300)
    with Workers(1, Troubled(), nothing_is_known, seconds=4.0) as workers:
        loaded = workers.load([task(tmp_path / "many.jsonl")])
        contents = next(loaded).contents()
        first = next(contents)
        time.sleep(5.0)
        (process,) = children()
        before = process.cpu_times().user
        time.sleep(0.5)
        assert process.cpu_times().user - before < 0.2  # it waits
        rest = list(contents)
    assert isinstance(first, Extract)
    assert end_of(rest).problem is None
    assert len(rest) == 60_000


def test_a_bounded_number_of_files_is_taken_ahead(tmp_path: Path) -> None:
    path = picture(tmp_path, 0)
    taken = 0

    def tasks() -> Iterator[Task]:
        nonlocal taken
        for _ in range(100):
            taken += 1
            yield task(path)

    with Workers(2, Troubled(), nothing_is_known) as workers:
        for number, loading in enumerate(workers.load(tasks())):
            assert taken <= number + 1 + 2 * AHEAD
            assert end_of(list(loading.contents())).problem is None
    assert taken == 100


def test_one_file_starts_one_worker(tmp_path: Path) -> None:
    with Workers(4, Troubled(), nothing_is_known) as workers:
        assert children() == []
        for loading in workers.load([task(picture(tmp_path, 0))]):
            list(loading.contents())
        assert len(children()) == 1


def test_closing_ends_workers_whatever_they_do(tmp_path: Path) -> None:
    paths = [picture(tmp_path, number, troubled.HANG) for number in range(4)]
    paths.insert(0, picture(tmp_path, 9))
    paths.insert(1, lines(tmp_path / "many.jsonl", 50_000, length=300))
    workers = Workers(3, Troubled(), nothing_is_known)
    loaded = workers.load(task(path) for path in paths)
    list(next(loaded).contents())
    next(next(loaded).contents())
    begun = time.monotonic()
    workers.close()
    assert time.monotonic() - begun < 5
    assert children() == []
    with pytest.raises(SearchxError, match="closed"):
        list(workers.load([task(paths[0])]))


def test_an_error_of_the_reader_ends_the_workers(tmp_path: Path) -> None:
    paths = [picture(tmp_path, number) for number in range(20)]
    with (
        pytest.raises(ZeroDivisionError),
        Workers(2, Troubled(), nothing_is_known) as workers,
    ):
        for loading in workers.load(task(path) for path in paths):
            list(loading.contents())
            raise ZeroDivisionError


def test_a_signal_while_a_worker_is_being_started_ends_the_run_as_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``Thread.start`` waits for the new thread, and what a signal raises may come there."""

    def interrupted(thread: threading.Thread) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Workers(1, Troubled(), nothing_is_known) as workers:
        monkeypatch.setattr(threading.Thread, "start", interrupted)
        all_of(workers, [picture(tmp_path, 0)])


def test_what_is_not_read_is_dropped_and_holds_nothing_up(tmp_path: Path) -> None:
    lines(tmp_path / "many.jsonl", 50_000, length=300)
    paths = [tmp_path / "many.jsonl", tmp_path / "many.jsonl", picture(tmp_path, 0)]
    with Workers(1, Troubled(), nothing_is_known) as workers:
        for loading in workers.load(task(path) for path in paths):
            contents = loading.contents()
            first = next(contents)
        assert isinstance(first, Shot)
        assert end_of(list(contents)).problem is None
        abandoned = workers.load(task(path) for path in paths)
        next(abandoned)
        abandoned.close()  # type: ignore[attr-defined]  # it is a generator
        assert len(all_of(workers, paths[2:])) == 1


def test_files_dropped_cannot_be_read_any_more(tmp_path: Path) -> None:
    with Workers(1, Troubled(), nothing_is_known) as workers:
        (loading,) = list(workers.load([task(picture(tmp_path, 0))]))
        with pytest.raises(SearchxError, match="in their order"):
            list(loading.contents())


@pytest.mark.parametrize("count", [0, 1])
def test_the_parent_is_asked_which_pictures_it_knows(tmp_path: Path, count: int) -> None:
    old, new = picture(tmp_path, 0), picture(tmp_path, 1)
    known = {digest_bytes(old.read_bytes())}
    with Workers(count, Troubled(), known.__contains__) as workers:
        read = all_of(workers, [old, new])
        assert workers.shots == 1
        assert workers.rate > 0
    (shot, _), (other, _) = read[str(old)], read[str(new)]
    assert isinstance(shot, Shot)
    assert isinstance(other, Shot)
    assert shot.pixels is None
    assert (shot.width, shot.height) == (20, 24)
    assert other.pixels is not None
    assert other.pixels.dtype == np.uint8
    assert other.pixels.shape == (16, 16, 3)


@pytest.mark.parametrize("count", [0, 1])
def test_what_goes_wrong_with_asking_is_no_fault_of_the_file(tmp_path: Path, count: int) -> None:
    def ask(digest: str) -> bool:
        raise OSError(5, "the catalog is gone")

    with (
        Workers(count, Troubled(), ask) as workers,
        pytest.raises(OSError, match="the catalog is gone"),
    ):
        all_of(workers, [picture(tmp_path, 0)])


def test_workers_that_cannot_start_say_why(tmp_path: Path) -> None:
    with (
        Workers(2, Unloadable(), nothing_is_known) as workers,
        pytest.raises(SearchxError, match=r"cannot start \(ImportError: no module named resizer\)"),
    ):
        all_of(workers, [picture(tmp_path, number) for number in range(3)])


def test_modules_of_the_host_are_not_taken_for_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("indexer.py", "searchx.py", "random.py"):
        (tmp_path / name).write_text("raise SystemExit('the module of the host')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Workers(1, Troubled(), nothing_is_known) as workers:
        read = all_of(workers, [picture(tmp_path, 0)])
    assert all(end_of(contents).problem is None for contents in read.values())


RUN = """
import sys
from pathlib import Path
import psutil
from indexer.decoding.workers import Workers
from tests.test_workers import nothing_is_known, task
from tests.troubled import Troubled
with Workers(1, Troubled(), nothing_is_known) as workers:
    good, bad = (task(Path(path)) for path in sys.argv[1:])
    loaded = workers.load([good, bad])
    list(next(loaded).contents())
    print(psutil.Process().children()[0].pid, flush=True)
    list(next(loaded).contents())
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_parent(tmp_path: Path, number: signal.Signals) -> None:
    paths = [picture(tmp_path, 0), picture(tmp_path, 1, troubled.HANG)]
    command = [sys.executable, "-c", RUN, *map(str, paths)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        time.sleep(1.0)
        assert psutil.pid_exists(pid)
        parent.send_signal(number)
        parent.wait(10)
    until = time.monotonic() + 10
    while psutil.pid_exists(pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not psutil.pid_exists(pid)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    (folder / "note.txt").write_text("A red barn. Snow on the hills.\n\nA dog.")
    (folder / "binary.txt").write_bytes(b"\0\1\2" * 50)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    (folder / "empty.png").write_bytes(b"")
    return {
        "good": picture(folder, 1),
        "other": picture(folder, 2, (90, 80, 70)),
        "wrong": picture(folder, 3, troubled.WRONG),
        "lines": lines(folder / "lines.jsonl", 50),
        "note": folder / "note.txt",
        "binary": folder / "binary.txt",
        "broken": folder / "broken.jpg",
        "empty": folder / "empty.png",
    }


@given(
    names=st.lists(
        st.sampled_from(["good", "other", "wrong", "lines", "note", "binary", "broken", "empty"]),
        max_size=20,
    ),
    count=st.integers(1, 3),
)
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
def test_workers_give_what_reading_here_gives(
    corpus: dict[str, Path], names: list[str], count: int
) -> None:
    tasks = [task(corpus[name]) for name in names]
    with (
        Workers(count, Troubled(), nothing_is_known) as workers,
        Workers(0, Troubled(), nothing_is_known) as here,
    ):
        theirs = [plain(list(one.contents())) for one in workers.load(tasks)]
        ours = [plain(list(one.contents())) for one in here.load(tasks)]
        assert workers.shots == here.shots
    assert theirs == ours
