import mmap
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import faiss
import psutil
import pytest
import watchfiles
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.changes import Followed, Pauses, scopes_of
from indexer.pipeline import index, index_into
from indexer.planning import WHOLE, Options, Scope
from indexer.rules import Rules
from indexer.watching import watch
from searchx.catalog import Catalog
from searchx.errors import BadInput
from searchx.records import Report
from searchx.search import Library
from tests.colour import COLOURS, ColourEncoder, paint
from tests.mere_user import as_mere_user

INLINE = Options(workers=0)
SHORT = Pauses(quiet=0.1, longest=2.0, again=0.3, look=0.2, whole=3600.0, busy=0.1)
DEADLINE = 90.0  # seconds; a loaded machine may take long, a broken watch for ever
TICK = 0.02
LOADED = (faiss, mmap, watchfiles)  # a mere user may not be able to read where they stand
ROOT = Path(__file__).resolve().parent.parent


class Watch:
    """A watch in a thread of its own, with what it told."""

    def __init__(
        self,
        library: Path,
        *sources: Path,
        pauses: Pauses = SHORT,
        rules: Rules | None = None,
    ) -> None:
        self.library = library
        self.sources = sources
        self.pauses = pauses
        self.rules = rules
        self.reports: list[Report] = []
        self.error: Exception | None = None
        self._told: queue.Queue[Report] = queue.Queue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            watch(
                self.library,
                self.sources,
                ColourEncoder(),
                options=INLINE,
                rules=self.rules,
                told=self._told.put,
                stop=self._stop,
                pauses=self.pauses,
            )
        except Exception as error:
            self.error = error

    def __enter__(self) -> Self:
        self._thread.start()
        self.until(lambda: len(self.reports) >= 2)  # the first run, and the one that catches up
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()
        if error is None and self.error is not None:
            raise self.error

    def until(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE
        while not is_so():
            assert self._thread.is_alive(), self.error
            assert time.monotonic() < deadline, (self.reports, paths_in(self.library))
            with suppress(queue.Empty):
                self.reports.append(self._told.get(timeout=TICK))

    def shows(self, *names: str) -> None:
        """Wait until the library holds files of these names, and no others."""
        self.until(lambda: sorted(Path(path).name for path in paths_in(self.library)) == [*names])

    def runs(self) -> int:
        """Count the runs that have ended."""
        while not self._told.empty():
            self.reports.append(self._told.get())
        return len(self.reports)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    paint(tmp_path / "photos" / "red.png", "red")
    return tmp_path / "photos"


@pytest.fixture
def library(tmp_path: Path) -> Path:
    return tmp_path / "library"


Place = tuple[str, str, str, str, str]


def places(library: Path) -> set[Place]:
    """Give what is where: source, path, place in the file, kind and digest."""
    with closing(Catalog.open(library)) as catalog:
        ids = [one for kind in ("image", "text") for one in catalog.read_vectors(kind)[0].tolist()]
        return {
            (place.source, place.path, place.fragment, item.kind, item.digest)
            for item in catalog.items(ids).values()
            for place in item.locations
        }


def paths_in(library: Path) -> set[str]:
    return {path for _, path, *_ in places(library)} if (library / "catalog.db").exists() else set()


def put(path: Path, colour: str) -> Path:
    """Let a whole picture appear at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent.parent) as aside:
        return paint(Path(aside) / path.name, colour).replace(path)


def test_what_comes_changes_moves_and_goes_is_followed(library: Path, photos: Path) -> None:
    with Watch(library, photos) as watched:
        put(photos / "blue.png", "blue")
        watched.shows("blue.png", "red.png")
        (photos / "blue.png").rename(photos / "sea.png")
        watched.shows("red.png", "sea.png")
        before = places(library)
        put(photos / "sea.png", "cyan")
        watched.until(lambda: places(library) != before and len(places(library)) == 2)
        (photos / "sea.png").unlink()
        watched.shows("red.png")
    assert sum(report.moved for report in watched.reports) == 1
    assert sum(report.embedded for report in watched.reports) == 3
    assert all(not report.skipped for report in watched.reports)


def test_what_happened_before_is_caught_up_with(library: Path, photos: Path) -> None:
    with Watch(library, photos) as watched:
        watched.shows("red.png")
    put(photos / "blue.png", "blue")
    with Watch(library, photos) as watched:
        watched.shows("blue.png", "red.png")
    assert (watched.reports[0].added, watched.reports[0].unchanged) == (1, 1)
    assert watched.reports[1].unchanged == 2


def test_folders_come_move_and_go_with_all_that_is_in_them(
    library: Path, photos: Path, tmp_path: Path
) -> None:
    put(tmp_path / "elsewhere" / "deep" / "down" / "blue.png", "blue")
    with Watch(library, photos) as watched:
        (tmp_path / "elsewhere" / "deep").rename(photos / "deep")
        watched.shows("blue.png", "red.png")
        put(photos / "deep" / "down" / "pink.png", "pink")
        watched.shows("blue.png", "pink.png", "red.png")
        (photos / "deep").rename(photos / "other")
        watched.until(lambda: str(photos / "other" / "down" / "pink.png") in paths_in(library))
        put(photos / "other" / "down" / "cyan.png", "cyan")
        watched.shows("blue.png", "cyan.png", "pink.png", "red.png")
        shutil.rmtree(photos / "other")
        watched.shows("red.png")
        (photos / "new" / "newer").mkdir(parents=True)
        put(photos / "new" / "newer" / "white.png", "white")
        watched.shows("red.png", "white.png")
        (photos / "new").rename(tmp_path / "elsewhere" / "new")
        watched.shows("red.png")
    assert all(not report.skipped for report in watched.reports)


def test_ignore_files_are_followed_in_deep_folders_too(library: Path, photos: Path) -> None:
    put(photos / "a" / "b" / "blue.png", "blue")
    with Watch(library, photos) as watched:
        watched.shows("blue.png", "red.png")
        (photos / "a" / ".searchxignore").write_text("blue.*")
        watched.shows("red.png")
        (photos / ".searchxignore").write_text("red.png")
        (photos / "a" / ".searchxignore").unlink()
        watched.shows("blue.png")
        (photos / ".searchxignore").unlink()
        watched.shows("blue.png", "red.png")


def test_sidecars_are_followed(library: Path, photos: Path) -> None:
    def captions() -> set[str]:
        with Library.open(library, encoder=ColourEncoder()) as opened:
            return {text for hit in opened.search("red") for text in hit.item.captions}

    with Watch(library, photos) as watched:
        (photos / "red.txt").write_text("a red barn")
        watched.until(lambda: captions() == {"a red barn"})
        (photos / "red.txt").write_text("the old barn at noon")
        watched.until(lambda: captions() == {"the old barn at noon"})
        (photos / "red.txt").unlink()
        watched.until(lambda: captions() == set())


def test_sources_that_are_files_are_looked_at(library: Path, photos: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text('{"text": "a red barn"}\n')
    with Watch(library, photos / "red.png", corpus) as watched:
        watched.until(lambda: len(places(library)) == 2)
        before = places(library)
        put(photos / "red.png", "orange")  # as editors save: another file takes the name
        watched.until(lambda: len(before - places(library)) == 1 and len(places(library)) == 2)
        beside = tmp_path / "beside"
        beside.write_text('{"text": "a red barn"}\n{"text": "blue sky"}\n')
        beside.replace(corpus)
        watched.until(lambda: len(places(library)) == 3)
        (photos / "red.txt").write_text("of a single picture")
        watched.until(lambda: len(places(library)) == 4)
        corpus.unlink()
        (photos / "red.txt").unlink()
        watched.until(lambda: len(places(library)) == 3)
    assert sum(report.removed for report in watched.reports) == 0


def test_a_source_that_goes_away_is_kept_and_watched_again_when_it_comes_back(
    library: Path, photos: Path
) -> None:
    def notes() -> list[str]:
        return [note for report in watched.reports for note in report.notes]

    with Watch(library, photos) as watched:
        photos.rename(photos.with_name("away"))
        watched.until(lambda: len(notes()) == 1)
        assert str(photos) in notes()[0] and "stays in the library" in notes()[0]
        watched.shows("red.png")
        photos.with_name("away").rename(photos)
        count = watched.runs()
        watched.until(lambda: watched.runs() > count)
        put(photos / "blue.png", "blue")
        watched.shows("blue.png", "red.png")
    assert len(notes()) == 1
    assert sum(report.removed for report in watched.reports) == 0


def test_a_source_within_another_keeps_its_own(library: Path, photos: Path) -> None:
    put(photos / "trip" / "pink.png", "pink")
    index_into(library, [photos, photos / "trip"], ColourEncoder(), options=INLINE)
    with Watch(library, photos) as watched:
        put(photos / "trip" / "deep" / "blue.png", "blue")
        put(photos / "green.png", "green")
        watched.shows("blue.png", "green.png", "pink.png", "red.png")
        (photos / "trip" / "pink.png").rename(photos / "pink.png")
        watched.until(lambda: str(photos / "pink.png") in paths_in(library))
        watched.shows("blue.png", "green.png", "pink.png", "red.png")
    assert {(Path(path).name, Path(source).name) for source, path, *_ in places(library)} == {
        ("blue.png", "trip"),
        ("green.png", "photos"),
        ("pink.png", "photos"),
        ("red.png", "photos"),
    }


def test_a_source_that_another_process_adds_is_followed_too(
    library: Path, photos: Path, tmp_path: Path
) -> None:
    index_into(library, [photos], ColourEncoder(), options=INLINE)
    with Watch(library) as watched:
        put(tmp_path / "more" / "blue.png", "blue")
        index_into(library, [tmp_path / "more"], ColourEncoder(), options=INLINE)
        count = watched.runs()
        watched.until(lambda: watched.runs() > count)
        put(tmp_path / "more" / "pink.png", "pink")
        watched.shows("blue.png", "pink.png", "red.png")


def test_a_source_that_another_process_forgets_is_not_indexed_anew(
    library: Path, photos: Path, tmp_path: Path
) -> None:
    put(tmp_path / "more" / "blue.png", "blue")
    with Watch(library, photos, tmp_path / "more") as watched:
        watched.shows("blue.png", "red.png")
        with closing(Catalog.open(library)) as catalog, catalog.writing() as tx:
            tx.drop_source(str(tmp_path / "more"))
        put(tmp_path / "more" / "pink.png", "pink")
        put(photos / "green.png", "green")
        watched.shows("green.png", "red.png")
        with closing(Catalog.open(library)) as catalog, catalog.writing() as tx:
            tx.drop_source(str(photos))
        with pytest.raises(AssertionError, match="no source is left to follow"):
            watched.until(lambda: False)
        watched.error = None


def test_neither_the_library_nor_what_is_not_read_wakes_it(photos: Path) -> None:
    library = photos / "library"
    (photos / "door").symlink_to(library)
    (photos / ".hidden").mkdir()
    with Watch(library, photos) as watched:
        for number, colour in enumerate(("blue", "green", "pink", "cyan"), start=3):
            (photos / ".draft.txt").write_text(colour)
            (photos / ".hidden" / "notes.txt").write_text(colour)
            (photos / "film.mp4").write_text(colour)
            count = len(places(library))
            with tempfile.TemporaryDirectory(dir=photos.parent) as aside:
                paint(Path(aside) / "x.png", colour).replace(photos / f"{colour}.png")
            watched.until(lambda before=count: len(places(library)) > before)  # type: ignore[misc]
            watched.until(lambda wanted=number: watched.runs() >= wanted)  # type: ignore[misc]
            assert watched.runs() == number


def test_hidden_names_that_are_asked_for_are_followed(library: Path, photos: Path) -> None:
    (photos / ".secret").mkdir()
    with Watch(library, photos, rules=Rules(include=("*.png", ".secret/"))) as watched:
        put(photos / ".secret" / "blue.png", "blue")
        watched.shows("blue.png", "red.png")


def test_many_changes_are_few_runs(library: Path, photos: Path) -> None:
    with Watch(library, photos) as watched:
        for number in range(1000):
            folder = photos / f"{number % 10}"
            folder.mkdir(exist_ok=True)
            (folder / f"{number}.txt").write_text(f"red number {number}")
        watched.until(lambda: len(places(library)) == 1001)
        assert watched.runs() < 60


def test_it_waits_while_another_process_is_indexing(library: Path, photos: Path) -> None:
    with Watch(library, photos) as watched:
        with closing(Catalog.open(library)) as catalog, catalog.indexing():
            count = watched.runs()
            put(photos / "blue.png", "blue")
            put(photos / "green.png", "green")
            with pytest.raises(queue.Empty):
                watched._told.get(timeout=1.0)
            assert watched.runs() == count
        watched.shows("blue.png", "green.png", "red.png")


def test_an_open_library_sees_what_is_new(library: Path, photos: Path) -> None:
    index_into(library, [photos], ColourEncoder(), options=INLINE)
    with Library.open(library, encoder=ColourEncoder()) as opened, Watch(library) as watched:
        assert [Path(hit.path).name for hit in opened.search("blue")] == ["red.png"]
        put(photos / "sea.png", "blue")
        watched.until(lambda: len(opened.search("blue")) == 2)
        assert Path(opened.search("blue")[0].path).name == "sea.png"
        (photos / "sea.png").unlink()
        watched.until(lambda: len(opened.search("blue")) == 1)


def test_folders_behind_links_are_followed(library: Path, photos: Path, tmp_path: Path) -> None:
    put(tmp_path / "outside" / "blue.png", "blue")
    (photos / "own").mkdir()
    (photos / "alias").symlink_to(photos / "own")
    (photos / "own" / "loop").symlink_to(photos)
    with Watch(library, photos) as watched:
        (photos / "link").symlink_to(tmp_path / "outside")
        watched.shows("blue.png", "red.png")
        count = watched.runs()
        put(tmp_path / "outside" / "deep" / "pink.png", "pink")
        watched.shows("blue.png", "pink.png", "red.png")
        put(photos / "own" / "green.png", "green")
        watched.shows("blue.png", "green.png", "pink.png", "red.png")
        assert watched.runs() > count
    fresh = tmp_path / "fresh"
    index_into(fresh, [photos], ColourEncoder(), options=INLINE)
    assert places(library) == places(fresh)


def test_everything_is_looked_at_now_and_then(library: Path, photos: Path) -> None:
    (photos / "own").mkdir()
    often = Pauses(quiet=0.05, look=0.1, whole=0.2, rest=1.0)
    with Watch(library, photos, pauses=often) as watched:
        count = watched.runs()
        watched.until(lambda: watched.runs() > count)
    assert all(report.unchanged == 1 for report in watched.reports[1:])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names that are not UTF-8")
def test_names_that_are_not_utf8_are_followed(library: Path, photos: Path) -> None:
    with Watch(library, photos) as watched:
        put(photos / "\udcff.png", "blue")
        watched.shows("red.png", "\udcff.png")
        put(photos / "pink.png", "pink")
        watched.shows("pink.png", "red.png", "\udcff.png")


def test_a_missing_source_is_told_before_anything_is_made(library: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="does not exist"):
        watch(library, [tmp_path / "none"], ColourEncoder(), told=print)
    assert not library.exists()


def _watch_beside_an_unreadable_folder(place: str) -> None:
    assert LOADED
    photos, library = Path(place) / "photos", Path(place) / "library"
    (photos / "m").chmod(0)
    often = Pauses(quiet=0.05, look=0.1, partly=0.1, rest=1.0)
    try:
        with Watch(library, photos, pauses=often) as watched:
            for folder in ("a", "m1", "z"):
                put(photos / folder / f"{folder}.png", "blue")
            watched.shows("a.png", "m1.png", "red.png", "z.png")
        notes = [note for report in watched.reports for note in report.notes]
        assert notes == [
            f"{photos / 'm'} cannot be watched (Permission denied (os error 13)); "
            "changes are found by a walk now and then"
        ]
    finally:
        (photos / "m").chmod(0o700)


@pytest.mark.skipif(os.name == "nt", reason="permissions are other ones there")
def test_a_folder_that_cannot_be_read_does_not_hide_its_neighbours(
    tmp_path: Path, photos: Path
) -> None:
    for folder in ("a", "m", "m1", "z"):
        (photos / folder).mkdir()
    with tempfile.TemporaryDirectory() as place:  # anybody may go there, unlike into tmp_path
        shutil.move(photos, place)
        assert as_mere_user(_watch_beside_an_unreadable_folder, Path(place)) == 0


FENCED = ["unshare", "--user", "--map-root-user", "--mount"]  # namespaces of its own


def in_a_fence(script: str, *arguments: Path) -> subprocess.CompletedProcess[str]:
    """Run a script where limits can be set and disks be mounted without touching the system."""
    if shutil.which("unshare") is None or subprocess.run([*FENCED, "true"]).returncode:
        pytest.skip("this system gives no namespaces to this user")
    return subprocess.run(
        [*FENCED, sys.executable, "-c", script, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=2 * DEADLINE,
    )


LIMITED = """
import sys
from pathlib import Path
from indexer.watching import watch
from indexer.planning import Options
from searchx.errors import BadInput
from tests.colour import ColourEncoder
try:
    Path("/proc/sys/user/max_inotify_watches").write_text("5")
except OSError:
    sys.exit("no limit can be set")
told = []
options = Options(workers=0)
try:
    watch(sys.argv[1], sys.argv[2:], ColourEncoder(), told=told.append, options=options)
except BadInput as error:
    print(len(told), error)
"""


def test_too_many_folders_for_the_system_are_told_in_one_line(library: Path, photos: Path) -> None:
    for number in range(10):
        (photos / str(number)).mkdir()
    ran = in_a_fence(LIMITED, library, photos)
    if "no limit can be set" in ran.stderr:
        pytest.skip("this system lets nobody set a limit")
    assert ran.stdout.startswith(f"1 {photos}: {photos}/"), ran.stderr
    assert ran.stdout.endswith(
        " cannot be watched (OS file watch limit reached); raise fs.inotify.max_user_watches and "
        "fs.inotify.max_user_instances with sysctl, or set WATCHFILES_FORCE_POLLING=1\n"
    )


MOUNTED = """
import subprocess, sys
from pathlib import Path
from tests.colour import paint
from tests.test_watching import Watch, paths_in
library, photos = map(Path, sys.argv[1:])
disk = photos / "my disk"
mount = ["mount", "-t", "tmpfs", "none", str(disk)]
if subprocess.run(mount).returncode:
    sys.exit("nothing can be mounted")
subprocess.run(["umount", str(disk)], check=True)
with Watch(library, photos) as watched:
    subprocess.run(mount, check=True)
    paint(disk / "trip" / "blue.png", "blue")
    watched.shows("blue.png", "red.png")
    paint(disk / "trip" / "deep" / "pink.png", "pink")
    watched.shows("blue.png", "pink.png", "red.png")
    (disk / "trip" / "deep" / "pink.png").unlink()
    (disk / "trip" / "deep").rmdir()
    watched.shows("blue.png", "red.png")
    subprocess.run(["umount", str(disk)], check=True)
    watched.until(lambda: any(report.notes for report in watched.reports))
    watched.shows("blue.png", "red.png")
    print([note for report in watched.reports for note in report.notes])
"""


def test_a_disk_that_is_mounted_later_and_goes_again_is_seen(library: Path, photos: Path) -> None:
    (photos / "my disk").mkdir()
    ran = in_a_fence(MOUNTED, library, photos)
    if "nothing can be mounted" in ran.stderr:
        pytest.skip("this system lets nobody mount a disk")
    assert "my disk: nothing is there now" in ran.stdout, ran.stderr
    assert "(files: 1)" in ran.stdout


STOPPED = """
import sys
import typer
from indexer.watching import watch
from searchx.cli.output import stoppable
from tests.colour import ColourEncoder
try:
    with stoppable("stopped", code=0):
        watch(sys.argv[1], sys.argv[2:], ColourEncoder(), told=print)
except typer.Exit as end:
    sys.exit(end.exit_code)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no such signal to one process")
def test_a_signal_in_a_run_leaves_no_process_behind(library: Path, tmp_path: Path) -> None:
    chance = random.Random(3)
    for number in range(300):
        colour = (chance.randrange(256), chance.randrange(256), chance.randrange(256))
        paint(tmp_path / "photos" / f"{number}.png", colour)
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED, library, tmp_path / "photos"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    children: list[psutil.Process] = []
    while not children and process.poll() is None:
        children = psutil.Process(process.pid).children(recursive=True)
        time.sleep(TICK)
    assert children
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, err) == (0, "stopped\n")
    _, alive = psutil.wait_procs(children, timeout=DEADLINE)
    assert alive == []


def test_only_what_may_matter_concerns_a_watch(photos: Path, library: Path) -> None:
    (photos / "film.mp4").touch()
    (photos / "album.old").mkdir()
    followed = Followed((str(photos),), frozenset(), str(library))
    names = {
        "red.png": True,
        "PHOTO.JPG": True,
        "notes.txt": True,
        "gone": True,  # perhaps a folder
        "album.old": True,
        ".searchxignore": True,
        "film.mp4": False,
        ".hidden.png": False,
        ".hidden/red.png": False,
        "a/.git/x.txt": False,
        "a/.searchxignore": True,
    }
    concerned = followed.concerned(str(photos / name) for name in names)
    assert concerned == {str(photos / name) for name, matters in names.items() if matters}
    assert followed.concerned([str(photos.parent / "other.png")]) == set()
    everything = Followed((str(photos),), frozenset({str(photos)}), str(library))
    assert everything.concerned([str(photos / ".hidden/red.png")])


def test_scopes_are_the_folders_that_changed_and_no_more(photos: Path) -> None:
    (photos / "a" / "b").mkdir(parents=True)
    (photos / "n").mkdir()
    root, inner = str(photos), str(photos / "n")

    def scopes(*names: str) -> dict[str, list[Scope]]:
        made = scopes_of({str(photos / name) for name in names}, [root, inner])
        return {place: sorted(found, key=str) for place, found in made.items()}

    a, b = str(photos / "a"), str(photos / "a" / "b")
    assert scopes("red.png") == {root: [Scope(root, is_deep=False)]}
    assert scopes("a/x.png", "a/y.png", "a/gone/z.png") == {root: [Scope(a, is_deep=False)]}
    assert scopes("a/b") == {root: sorted([Scope(a, is_deep=False), Scope(b)], key=str)}
    assert scopes("a/.searchxignore", "a/b/x.png", "a/b") == {root: [Scope(a)]}
    assert scopes(".searchxignore", "a/x.png") == {root: [WHOLE]}
    assert scopes("n/x.png") == {inner: [Scope(inner, is_deep=False)]}
    assert scopes_of([str(photos.parent / "elsewhere.png")], [root, inner]) == {}
    assert scopes_of([str(photos / "red.png")], [root, str(photos / "red.png")]) == {
        str(photos / "red.png"): (WHOLE,)
    }
    for number in range(100):
        (photos / f"f{number}").mkdir()
    assert scopes(*(f"f{number}/x.png" for number in range(100))) == {root: [WHOLE]}


NAMES = ("a.png", "b.png", "b.txt", "b.png.txt", "c.txt", "x", "y", ".searchxignore")
Step = tuple[str, int, int, int]
STEPS = st.tuples(
    st.sampled_from(("write", "write", "write", "delete", "move", "move", "folder", "ignore")),
    st.integers(0, 99),
    st.integers(0, 99),
    st.integers(0, 99),
)


class Tree:
    """A tree of files with random changes, each of which tells the paths that a system would."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.time = 10**18
        # No pattern below names these: a source that is left out as a whole is not forgotten.
        self.kept = {root / "keep.md", root / "n", root / "n" / "keep.md"}
        (root / "n").mkdir(parents=True)
        (root / "keep.md").write_text("never gone")
        (root / "n" / "keep.md").write_text("nor this")

    def folders(self) -> list[Path]:
        return [self.root, *sorted(path for path in self.root.rglob("*") if path.is_dir())]

    def change(self, step: Step) -> set[str]:
        what, one, two, three = step
        folder = self.folders()[one % len(self.folders())]
        loose = sorted(set(self.root.rglob("*")) - self.kept)
        if what == "write":
            return self.write(folder / NAMES[two % 5], three)
        if what == "ignore":
            return self.ignore(folder / ".searchxignore", ("b.*", "x/", "*.txt", "!a.png")[two % 4])
        if what == "folder":
            return self.nest(folder / NAMES[5 + two % 2], three)
        if not loose:
            return set()
        path = loose[two % len(loose)]
        return self.delete(path) if what == "delete" else self.move(path, folder, three)

    def write(self, path: Path, seed: int) -> set[str]:
        if path.suffix == ".png":
            paint(path, list(COLOURS)[seed % 4], (8, 8))
        else:
            path.write_text(list(COLOURS)[seed % 4])
        self.time += 10**9
        os.utime(path, ns=(self.time, self.time))
        return {str(path)}

    def ignore(self, path: Path, pattern: str) -> set[str]:
        path.write_text(pattern)
        return {str(path)}

    def nest(self, path: Path, seed: int) -> set[str]:
        """Let a folder appear with something in it: only the folder is told."""
        if path.exists():
            return set()
        (path / "x").mkdir(parents=True)
        self.write(path / "x" / "a.png", seed)
        return {str(path)}

    def delete(self, path: Path) -> set[str]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        return {str(path)}

    def move(self, path: Path, folder: Path, seed: int) -> set[str]:
        name = NAMES[5 + seed % 2] if path.is_dir() else NAMES[seed % 5]
        if not path.is_dir() and path.suffix != Path(name).suffix:
            name = path.name
        target = folder / name
        if target.exists() or path in (target, *target.parents):
            return set()
        path.rename(target)
        return {str(path), str(target)}


def index_parts(library: Path, sources: Sequence[Path], paths: set[str]) -> None:
    scopes = scopes_of(paths, [str(source) for source in sources])
    if scopes:
        with closing(Catalog.open(library)) as catalog:
            index(sources, catalog, ColourEncoder(), options=INLINE, scopes=scopes)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(rounds=st.lists(st.lists(STEPS, min_size=1, max_size=5), min_size=1, max_size=5))
def test_looking_at_the_parts_that_changed_equals_indexing_all_anew(
    rounds: list[list[Step]],
) -> None:
    with tempfile.TemporaryDirectory() as place:
        tree = Tree(Path(place) / "tree")
        sources = [tree.root, tree.root / "n"]
        library = Path(place) / "library"
        index_into(library, sources, ColourEncoder(), options=INLINE)
        for steps in rounds:
            index_parts(library, sources, set().union(*map(tree.change, steps)))
        fresh = Path(place) / "fresh"
        index_into(fresh, sources, ColourEncoder(), options=INLINE)
        assert places(library) == places(fresh)
