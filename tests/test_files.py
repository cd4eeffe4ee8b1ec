import os
import socket
import sys
import tempfile
from pathlib import Path

import pytest

from indexer.files import Listing, _enter, source_root, walk
from searchx.errors import BadInput
from tests.colour import paint
from tests.mere_user import as_mere_user


def names(root: Path, leave_out: Path | None = None) -> list[str]:
    return [
        Path(found.path).relative_to(root).as_posix() for found in walk(str(root), leave_out).files
    ]


def linked(link: Path, target: Path) -> None:
    try:
        link.symlink_to(target, target_is_directory=target.is_dir())
    except OSError as error:
        pytest.skip(f"this system lets nobody make links: {error}")


def test_pictures_and_texts_are_found_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b/2.PNG", "b/1.jpg", "a.jpeg", "c.txt", "b/z/notes.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"?")
    found = walk(str(tmp_path)).files
    assert [Path(one.path).relative_to(tmp_path).as_posix() for one in found] == [
        *("a.jpeg", "c.txt", "b/1.jpg", "b/2.PNG", "b/z/notes.md")
    ]
    assert [one.form for one in found] == ["image", "prose", "image", "image", "prose"]
    assert {one.size for one in found} == {1}
    assert found[0].mtime_ns == (tmp_path / "a.jpeg").stat().st_mtime_ns


def test_other_types_hidden_names_and_the_library_are_left_out(tmp_path: Path) -> None:
    for name in ("film.mp4", "data.xyz", ".hidden.jpg", ".git/a.jpg", "lib/thumb.webp", "a.jpg"):
        paint(tmp_path / "x.png", "red")
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / "x.png").rename(tmp_path / name)
    listing = walk(str(tmp_path), tmp_path / "lib")
    assert names(tmp_path, tmp_path / "lib") == ["a.jpg"]
    assert listing.problems == []


def test_pictures_without_a_reader_are_told(tmp_path: Path) -> None:
    for name in ("a.jxl", "b.CR2", "c.mp4"):
        (tmp_path / name).write_bytes(b"x")
    told = {Path(one.path).name: one.reason for one in walk(str(tmp_path)).problems}
    assert "JPEG XL" in told["a.jxl"]
    assert "camera raw" in told["b.CR2"]
    assert "c.mp4" not in told


def test_a_corpus_file_is_a_source_of_its_own(tmp_path: Path) -> None:
    corpus = tmp_path / "captions.jsonl"
    corpus.write_text("{}")
    assert names(tmp_path) == []
    assert walk(str(tmp_path)).corpora == [str(corpus)]
    assert [found.form for found in walk(str(corpus)).files] == ["corpus"]


def test_a_source_keeps_the_name_that_the_user_gave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk").mkdir()
    linked(tmp_path / "photos", tmp_path / "disk")
    monkeypatch.chdir(tmp_path)
    assert source_root("photos/../photos") == str(tmp_path / "photos")


def test_sources_that_cannot_be_used_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").touch()
    for name, said in (("none", "does not exist"), ("film.mp4", "nothing that searchx indexes")):
        with pytest.raises(BadInput, match=said) as refusal:
            source_root(tmp_path / name)
        assert str(tmp_path / name) in str(refusal.value)
        assert "\n" not in str(refusal.value)


def test_an_empty_path_is_not_the_current_folder() -> None:
    with pytest.raises(BadInput, match="path of a source is empty"):
        source_root("")


def test_links_to_folders_are_followed_but_never_round_in_circles(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    paint(root / "z" / "in.png", "red")
    paint(outside / "out.png", "red")
    linked(root / "a", root / "z")  # a second name of a folder inside
    linked(root / "loop", root)
    linked(root / "more", outside)
    linked(outside / "back", root)
    assert names(root) == ["z/in.png", "more/out.png"]


def test_links_to_nothing_and_to_themselves_are_problems(tmp_path: Path) -> None:
    linked(tmp_path / "gone.jpg", tmp_path / "nowhere.jpg")
    linked(tmp_path / "self.jpg", tmp_path / "self.jpg")
    listing = walk(str(tmp_path))
    assert [Path(one.path).name for one in listing.problems] == ["gone.jpg", "self.jpg"]
    assert listing.files == []
    assert not listing.is_empty


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_and_sockets_are_problems_and_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as open_socket:
        open_socket.bind(os.path.relpath(tmp_path / "socket.txt"))
        listing = walk(str(tmp_path))
    assert [Path(one.path).name for one in listing.problems] == ["pipe.jpg", "socket.txt"]
    assert all(one.lasting and "pipe" in one.reason for one in listing.problems)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes any bytes as a name")
def test_names_that_are_not_utf8_can_be_opened(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.png"
    paint(tmp_path / "x.png", "red")
    (tmp_path / "x.png").rename(os.fsdecode(name))
    (found,) = walk(str(tmp_path)).files
    assert os.fsencode(found.path) == name
    assert Path(found.path).read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions do not bind anybody here")
def test_a_closed_folder_is_a_problem_and_proves_nothing() -> None:
    with tempfile.TemporaryDirectory() as place:  # pytest's own folder is closed to other users
        root = Path(place)
        paint(root / "closed" / "sub" / "a.png", "red")
        paint(root / "open.png", "red")
        linked(root / "link", root / "closed" / "sub")
        assert as_mere_user(_walk_past_a_closed_folder, root) == 0


def _walk_past_a_closed_folder(folder: str) -> None:
    root = Path(folder)
    (root / "closed").chmod(0)
    try:
        listing = walk(folder)
    finally:
        (root / "closed").chmod(0o700)
    assert [Path(one.path).name for one in listing.files] == ["open.png"]
    assert sorted(Path(one.path).name for one in listing.problems) == ["closed", "link"]
    assert not any(one.lasting for one in listing.problems)
    assert not listing.covers(str(root / "closed" / "sub" / "a.png"))
    assert not listing.covers(str(root / "link" / "a.png"))
    assert listing.covers(str(root / "closed.png"))


@pytest.mark.parametrize("name", ["drive", "drive 2.0", "drive.jpg"])
def test_a_link_to_an_unplugged_drive_proves_nothing(tmp_path: Path, name: str) -> None:
    linked(tmp_path / name, tmp_path / "unplugged")
    listing = walk(str(tmp_path))
    assert [Path(one.path).name for one in listing.problems] == [name]
    assert not listing.problems[0].lasting
    assert "plug in its disk" in listing.problems[0].reason
    assert not listing.covers(str(tmp_path / name / "deep" / "a.png"))
    assert listing.covers(str(tmp_path / "a.png"))
    assert not listing.is_empty


def test_what_goes_away_during_the_walk_proves_nothing(tmp_path: Path) -> None:
    """A listing of the walk's own steps, as the walk takes them when a disk goes away."""
    listing = Listing()
    assert _enter(str(tmp_path / "gone"), set(), listing) == []
    assert not listing.covers(str(tmp_path / "gone" / "a.png"))
    assert listing.covers(str(tmp_path / "here.png"))
    assert not walk(str(tmp_path / "root")).covers(str(tmp_path / "root" / "a.png"))
    assert not walk(str(tmp_path / "a.png")).covers(str(tmp_path / "a.png"))


def test_an_unreachable_root_covers_nothing() -> None:
    listing = Listing()
    listing.close(os.sep, "closed")
    assert not listing.covers(str(Path.home() / "a.png"))


def test_an_empty_folder_is_told_from_one_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".nomount").touch()
    assert walk(str(tmp_path)).is_empty
    (tmp_path / "sub" / "film.mp4").touch()
    assert not walk(str(tmp_path)).is_empty
