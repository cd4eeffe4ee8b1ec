"""How far a run is: told while it lives, believed of no dead one, and never in its way."""

import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.pipeline import index_into
from searchx.errors import BadInput
from searchx.progress import Publisher, RunProgress, last_runs, note_runs, read_progress
from searchx.records import Pace
from tests.colour import ColourEncoder, paint

NAME = "indexing.progress"


class Looking:
    """Looks, from within a run, at what others see of it. Fits ``Progress``."""

    def __init__(self, library: Path) -> None:
        self.library = library
        self.seen: list[RunProgress | None] = []

    def found(self, files: int, unchanged: int) -> None:
        self.seen.append(read_progress(self.library))

    def done(self, files: int, images: int, texts: int, pace: Pace) -> None:
        self.seen.append(read_progress(self.library))


def painted(folder: Path, count: int = 12) -> Path:
    for number in range(count):
        paint(folder / f"{number}.png", (number, 20, 30))
    return folder


def test_others_see_a_run_while_it_goes_on(tmp_path: Path) -> None:
    library, photos = tmp_path / "library", painted(tmp_path / "photos")
    looking = Looking(library)
    index_into(library, photos, ColourEncoder(), progress=looking)
    assert looking.seen[0] is not None and looking.seen[0].files == 12
    assert all(one is not None and one.stage == "reading" for one in looking.seen)
    assert read_progress(library) is None and not (library / NAME).exists()
    again = Looking(library)
    index_into(library, photos, ColourEncoder(), progress=again)
    assert again.seen == [None]  # nothing has to be read: nothing is written


def test_it_is_written_once_a_second_and_adds_up(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path)
    publisher.begin(100)
    publisher.advance(10, 9, 1, Pace(embed=5))
    first = read_progress(tmp_path)
    assert first is not None and (first.files, first.done) == (100, 0)  # a moment ago
    time.sleep(1.01)
    publisher.advance(10, 9, 1, Pace(embed=5))
    then = read_progress(tmp_path)
    assert then is not None
    assert (then.done, then.images, then.texts, then.share) == (20, 18, 2, 0.2)
    assert then.pace == Pace(embed=5)
    publisher.build()
    built = read_progress(tmp_path)
    assert built is not None and built.stage == "building" and built.seconds_left is None
    publisher.end()
    assert read_progress(tmp_path) is None and list(tmp_path.iterdir()) == []


def test_a_run_that_was_killed_is_not_believed(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from searchx.progress import Publisher; "
        "Publisher(Path(sys.argv[1])).begin(5)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert (tmp_path / NAME).exists()
    assert read_progress(tmp_path) is None


def test_another_process_of_the_same_number_is_not_believed(tmp_path: Path) -> None:
    Publisher(tmp_path).begin(5)
    told = json.loads((tmp_path / NAME).read_text())
    assert read_progress(tmp_path) is not None
    (tmp_path / NAME).write_text(json.dumps(told | {"born": told["born"] - 50}))
    assert read_progress(tmp_path) is None


def test_a_run_on_another_machine_is_believed_for_a_while(tmp_path: Path) -> None:
    Publisher(tmp_path).begin(5)
    told = json.loads((tmp_path / NAME).read_text()) | {"host": "elsewhere", "pid": 2**22 + 5}
    (tmp_path / NAME).write_text(json.dumps(told))
    assert read_progress(tmp_path) is not None
    (tmp_path / NAME).write_text(json.dumps(told | {"written": time.time() - 3600}))
    assert read_progress(tmp_path) is None


@given(
    st.recursive(
        st.none() | st.integers() | st.floats() | st.text(max_size=5),
        lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=5), one),
        max_leaves=5,
    ),
    st.sampled_from(["files", "done", "pace", "written", "started", "pid", "born", "host", ""]),
)
@settings(max_examples=60, deadline=None)
def test_whatever_stands_there_nothing_fails(
    tmp_path_factory: pytest.TempPathFactory, value: object, name: str
) -> None:
    place = tmp_path_factory.mktemp("library")
    Publisher(place).begin(5)
    told = json.loads((place / NAME).read_text())
    content = told | {name: value} if name else value
    for file in (NAME, "indexing.done"):
        (place / file).write_text(json.dumps(content))
    found = read_progress(place)
    if found is not None:
        json.dumps(found.as_dict())
    last_runs(place)


def test_where_it_cannot_be_written_the_run_goes_on(tmp_path: Path) -> None:
    library, photos = tmp_path / "library", painted(tmp_path / "photos")
    library.mkdir()
    for name in (f"{NAME}.part", "indexing.done.part"):
        (library / name).mkdir()  # as on a disk that takes no more
    looking = Looking(library)
    report = index_into(library, photos, ColourEncoder(), progress=looking)
    assert report.added == 12 and set(looking.seen) == {None}


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_in_a_folder_that_cannot_be_written_nothing_fails(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        publisher = Publisher(tmp_path)
        publisher.begin(5)
        publisher.advance(1, 1, 1, Pace())
        publisher.end()
        note_runs(tmp_path, ("/photos",))
        assert read_progress(tmp_path) is None and last_runs(tmp_path) == {}
    finally:
        tmp_path.chmod(stat.S_IRWXU)


def test_a_run_that_fails_takes_its_word_back(tmp_path: Path) -> None:
    class Failing(ColourEncoder):
        def embed_images(self, pixels):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            raise BadInput("no")

    library, photos = tmp_path / "library", painted(tmp_path / "photos")
    with pytest.raises(BadInput):
        index_into(library, photos, Failing())
    assert not (library / NAME).exists() and last_runs(library) == {}


def test_it_is_known_when_a_source_was_last_indexed(tmp_path: Path) -> None:
    library = tmp_path / "library"
    one, two = (painted(tmp_path / name, 1) for name in ("one", "two"))
    index_into(library, one, ColourEncoder())
    first = last_runs(library)
    assert list(first) == [str(one)] and abs(first[str(one)] - time.time()) < 60
    index_into(library, [two], ColourEncoder())
    assert last_runs(library)[str(one)] == first[str(one)]
    index_into(library, (), ColourEncoder())
    then = last_runs(library)
    assert set(then) == {str(one), str(two)} and then[str(one)] > first[str(one)]
