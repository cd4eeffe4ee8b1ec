import errno
import os
import socket
import sys
import tempfile
from pathlib import Path

import pytest

from indexer.files import Folder, Found, Problem, found_in, source_root, walk
from indexer.formats import FORMATS, form_of
from indexer.rules import Rules
from searchx.errors import BadInput
from searchx.pictures.images import SUFFIXES
from tests.colour import paint

NO_RULES = Rules()


def folders(root: Path, rules: Rules = NO_RULES, leave_out: Path | None = None) -> list[Folder]:
    return list(walk(str(root), rules, leave_out))


def only(root: Path) -> Folder:
    (folder,) = folders(root)
    return folder


def files(root: Path, rules: Rules = NO_RULES, leave_out: Path | None = None) -> list[Found]:
    return [
        found
        for folder in walk(str(root), rules, leave_out)
        for found in found_in(folder, sorted(folder.files))
    ]


def names(root: Path, rules: Rules = NO_RULES, leave_out: Path | None = None) -> list[str]:
    return [Path(one.path).relative_to(root).as_posix() for one in files(root, rules, leave_out)]


def problems(root: Path) -> list[Problem]:
    return [problem for folder in folders(root) for problem in folder.problems]


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"?")


def linked(link: Path, target: Path) -> None:
    try:
        link.symlink_to(target, target_is_directory=target.is_dir())
    except OSError as error:
        pytest.skip(f"this system lets nobody make links: {error}")


def test_pictures_and_texts_are_found_folder_by_folder(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.PNG", "b/1.jpg", "a.jpeg", "c.txt", "b/z/notes.md", "d/e.pdf")
    found = files(tmp_path)
    assert [Path(one.path).relative_to(tmp_path).as_posix() for one in found] == [
        *("a.jpeg", "c.txt", "b/1.jpg", "b/2.PNG", "b/z/notes.md", "d/e.pdf")
    ]
    assert [one.form for one in found] == ["image", "text", "image", "image", "text", "text"]
    assert {one.size for one in found} == {1}
    assert found[0].mtime_ns == (tmp_path / "a.jpeg").stat().st_mtime_ns
    top, *_ = folders(tmp_path)
    assert top.folders == ["b", "d"]
    assert top.files["c.txt"] == (1, (tmp_path / "c.txt").stat().st_mtime_ns)


def test_only_what_the_walk_gave_can_be_asked_for(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "b.mp4")
    for name, error in (("b.mp4", ValueError), ("c.png", KeyError)):
        with pytest.raises(error):
            found_in(only(tmp_path), [name])


def test_other_types_hidden_names_and_the_library_are_left_out(tmp_path: Path) -> None:
    for name in ("film.mp4", "data.xyz", ".hidden.jpg", ".git/a.jpg", "lib/thumb.webp", "a.jpg"):
        paint(tmp_path / "x.png", "red")
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / "x.png").rename(tmp_path / name)
    (folder,) = folders(tmp_path, leave_out=tmp_path / "lib")
    assert list(folder.files) == ["a.jpg"]
    assert folder.problems == []


def test_a_corpus_file_is_a_source_of_its_own(tmp_path: Path) -> None:
    touch(tmp_path, "captions.jsonl", "shard.TAR")
    folder = only(tmp_path)
    assert folder.files == {}
    assert folder.corpora == ["captions.jsonl", "shard.TAR"]
    assert [found.form for found in files(tmp_path / "captions.jsonl")] == ["corpus"]


def test_a_source_of_one_file_is_one_folder_with_it(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "a.png", "a.txt", ".a.xmp", "b.jpg", "sub/c.jpg")
    folder = only(tmp_path / "a.jpg")
    assert folder.path == str(tmp_path)
    assert list(folder.files) == ["a.jpg"]
    assert folder.sidecars == {"a.jpg": ("a.txt",)}
    assert folder.folders == []
    assert only(tmp_path / "a.txt").sidecars == {}


def test_the_rules_do_not_bind_a_file_that_is_named_itself(tmp_path: Path) -> None:
    touch(tmp_path, ".hidden.jpg")
    (found,) = files(tmp_path / ".hidden.jpg", Rules(exclude=("*.jpg",)))
    assert found.form == "image"


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


def test_a_link_to_a_file_is_a_file(tmp_path: Path) -> None:
    paint(tmp_path / "out" / "a.png", "red")
    (tmp_path / "root").mkdir()
    linked(tmp_path / "root" / "b.png", tmp_path / "out" / "a.png")
    assert only(tmp_path / "root").files == {
        "b.png": only(tmp_path / "out").files["a.png"],
    }


def test_links_to_nothing_and_to_themselves_are_problems(tmp_path: Path) -> None:
    linked(tmp_path / "gone.jpg", tmp_path / "nowhere.jpg")
    linked(tmp_path / "self.jpg", tmp_path / "self.jpg")
    folder = only(tmp_path)
    assert [Path(one.path).name for one in folder.problems] == ["gone.jpg", "self.jpg"]
    assert folder.closed_names == {"gone.jpg", "self.jpg"}
    assert folder.files == {}
    assert not folder.is_empty
    assert folder.has_files


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_and_sockets_are_problems_and_are_not_opened(tmp_path: Path) -> None:
    for name in ("pipe.jpg", "a.json", "pipe.mp4"):
        os.mkfifo(tmp_path / name)
    paint(tmp_path / "a.png", "red")
    with socket.socket(socket.AF_UNIX) as open_socket:
        open_socket.bind(os.path.relpath(tmp_path / "socket.txt"))
        folder = only(tmp_path)
    assert [Path(one.path).name for one in folder.problems] == ["pipe.jpg", "socket.txt"]
    assert all(one.lasting and "pipe" in one.reason for one in folder.problems)
    assert folder.closed_names == set()
    assert list(folder.files) == ["a.png"]
    os.mkfifo(tmp_path / "alone.png")
    assert [one.lasting for one in only(tmp_path / "alone.png").problems] == [True]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes any bytes as a name")
def test_names_that_are_not_utf8_can_be_opened(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.png"
    paint(tmp_path / "x.png", "red")
    (tmp_path / "x.png").rename(os.fsdecode(name))
    Path(os.fsdecode(name[:-3] + b"txt")).write_text("a caption")
    (found,) = files(tmp_path)
    assert os.fsencode(found.path) == name
    assert Path(found.path).read_bytes().startswith(b"\x89PNG")
    assert [Path(one).read_text() for one in found.sidecars] == ["a caption"]
    assert found.companions.encode()  # a catalog can keep it


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_names_with_newlines_and_spaces_are_names(tmp_path: Path) -> None:
    touch(tmp_path, "a\nb/c\nd.png", " .png", "e.png ", "sub/*.png")
    assert names(tmp_path) == [" .png", "a\nb/c\nd.png", "sub/*.png"]
    kept = Rules(exclude=("a?b/*.png", "\\*.png"))
    assert names(tmp_path, kept) == [" .png"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other limits")
def test_a_path_that_is_too_long_is_a_problem_and_the_rest_is_found(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "z.png")
    here = Path.cwd()
    try:
        os.chdir(tmp_path)
        for _ in range(25):
            Path("d" * 200).mkdir()
            os.chdir("d" * 200)
        Path("deep.png").touch()
    finally:
        os.chdir(here)
    *_, last = folders(tmp_path)
    assert last.closed
    assert "shorten the names" in last.problems[0].reason
    assert names(tmp_path) == ["a.png", "z.png"]
    with pytest.raises(OSError, match=r".*") as refusal:
        os.scandir(last.path)
    assert refusal.value.errno == errno.ENAMETOOLONG


def test_folders_in_folders_in_folders_are_no_recursion(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * 1200)
    here = Path.cwd()
    try:
        os.chdir(tmp_path)
        for _ in range(1200):
            Path("d").mkdir()
            os.chdir("d")
        Path("a.png").touch()
    finally:
        os.chdir(here)
    assert [found.path for found in files(tmp_path)] == [str(deep / "a.png")]


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions do not bind anybody here")
def test_a_closed_folder_is_a_problem_and_proves_nothing() -> None:
    from tests.mere_user import as_mere_user

    with tempfile.TemporaryDirectory() as place:  # pytest's own folder is closed to other users
        root = Path(place)
        paint(root / "closed" / "sub" / "a.png", "red")
        paint(root / "ruled" / "b.png", "red")
        (root / "ruled" / ".searchxignore").write_text("b.png")
        paint(root / "open.png", "red")
        linked(root / "link", root / "closed" / "sub")
        assert as_mere_user(_walk_past_closed_places, root) == 0


def _walk_past_closed_places(folder: str) -> None:
    root = Path(folder)
    shut = (root / "closed", root / "ruled" / ".searchxignore")
    for one in shut:
        one.chmod(0)
    try:
        top, closed, ruled = walk(folder, NO_RULES)
    finally:
        for one in shut:
            one.chmod(0o700)
    assert list(top.files) == ["open.png"]
    assert top.closed_names == {"link"}
    assert not top.closed
    assert closed.closed
    assert ruled.closed
    assert ruled.files == {}
    told = [one for each in (top, closed, ruled) for one in each.problems]
    assert [Path(one.path).name for one in told] == ["link", "closed", ".searchxignore"]
    assert not any(one.lasting for one in told)


@pytest.mark.parametrize("name", ["drive", "drive 2.0", "drive.jpg", "drive.mp4"])
def test_a_link_to_an_unplugged_drive_proves_nothing(tmp_path: Path, name: str) -> None:
    linked(tmp_path / name, tmp_path / "unplugged")
    folder = only(tmp_path)
    assert folder.closed_names == {name}
    assert [Path(one.path).name for one in folder.problems] == [name]
    assert not folder.problems[0].lasting
    assert "plug in its disk" in folder.problems[0].reason
    assert folder.folders == []
    assert not folder.is_empty


def test_what_goes_away_during_the_walk_proves_nothing(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/2.png")
    walked = walk(str(tmp_path), NO_RULES)
    assert next(walked).folders == ["a", "b"]
    (tmp_path / "a" / "1.png").unlink()
    (tmp_path / "a").rmdir()
    first, second = walked
    assert first.closed
    assert "went away" in first.problems[0].reason
    assert list(second.files) == ["2.png"]


def test_a_source_that_is_missing_proves_nothing(tmp_path: Path) -> None:
    folder = only(tmp_path / "photos")
    assert (folder.path, folder.closed) == (str(tmp_path / "photos"), True)
    folder = only(tmp_path / "a.png")  # a file, or a folder of that name
    assert (folder.path, folder.closed_names) == (str(tmp_path), {"a.png"})
    assert not folder.has_files
    assert folder.is_empty


def test_an_empty_folder_is_told_from_one_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".nomount").touch()
    top, sub = folders(tmp_path)
    assert (top.is_empty, top.has_files) == (False, False)
    assert (sub.is_empty, sub.has_files) == (True, False)
    touch(tmp_path, "sub/film.mp4")
    _, sub = folders(tmp_path)
    assert (sub.is_empty, sub.has_files) == (False, True)


def test_a_folder_whose_files_are_ignored_is_not_empty(tmp_path: Path) -> None:
    """Who ignores what was indexed wants it forgotten; an unplugged disk leaves nothing."""
    touch(tmp_path, "a.png")
    (folder,) = folders(tmp_path, Rules(exclude=("*",)))
    assert (folder.files, folder.is_empty, folder.has_files) == ({}, False, True)
    (tmp_path / "a.png").unlink()
    assert only(tmp_path).is_empty
    touch(tmp_path, ".searchxignore")
    assert not only(tmp_path).is_empty


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no second file system at hand")
def test_a_folder_on_another_device_is_a_mount(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        if Path(place).stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("both folders are on one device")
        touch(Path(place), "a.png")
        linked(tmp_path / "disk", Path(place))
        top, disk = folders(tmp_path)
        assert (top.is_mount, disk.is_mount) == (False, True)
        assert [one.is_mount for one in walk("/dev/shm", NO_RULES, deep_below=False)] == [True]


def test_a_part_of_a_source_can_be_walked(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "a/b/2.png", "c/3.png", "a/b/no.png", "a/b/keep/no.png")
    (tmp_path / ".searchxignore").write_text("no.png")
    (tmp_path / "a" / "b" / ".searchxignore").write_text("!/no.png")
    part = list(walk(str(tmp_path), NO_RULES, below=str(tmp_path / "a" / "b")))
    assert [sorted(one.files) for one in part] == [["2.png", "no.png"], []]
    (shallow,) = walk(str(tmp_path), NO_RULES, below=str(tmp_path / "a"), deep_below=False)
    assert (shallow.folders, list(shallow.files)) == (["b"], ["1.png"])
    assert list(walk(str(tmp_path), Rules(exclude=("a/",)), below=str(tmp_path / "a"))) == []
    assert list(walk(str(tmp_path), NO_RULES, below=str(tmp_path / ".git" / "a"))) == []


def test_a_part_of_a_source_is_walked_as_the_whole_would_be(tmp_path: Path) -> None:
    touch(tmp_path, "root/a/b/1.png", "root/z/in.png", "out/2.png")
    linked(tmp_path / "root" / "a" / "inside", tmp_path / "root" / "z")
    linked(tmp_path / "root" / "a" / "outside", tmp_path / "out")
    root = tmp_path / "root"
    part = list(walk(str(root), NO_RULES, below=str(root / "a")))
    assert [Path(one.path).name for one in part] == ["a", "b", "outside"]
    assert part[0].closed_names == {"inside"}  # a whole walk finds it under its own name
    assert part[0].problems == []


def test_a_broken_ignore_file_above_closes_the_part(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png")
    (tmp_path / ".searchxignore").write_bytes(b"\0")
    (part,) = walk(str(tmp_path), NO_RULES, below=str(tmp_path / "a"))
    assert part.closed
    assert part.problems[0].path == str(tmp_path / ".searchxignore")


def told(root: Path) -> dict[str, list[str]]:
    return {
        Path(found.path).name: [Path(one).name for one in found.sidecars]
        for found in files(root)
        if found.sidecars
    }


def test_a_sidecar_belongs_to_the_pictures_of_its_name(tmp_path: Path) -> None:
    touch(tmp_path, "photo.jpg", "photo.CR2", "photo.TXT", "photo.jpg.xmp", "photo.json")
    touch(tmp_path, "other.png", "other.PNG.txt", "photo.aae", "alone.txt", "alone.json", "a.xmp")
    assert told(tmp_path) == {
        "photo.jpg": ["photo.TXT", "photo.jpg.xmp", "photo.json"],
        "photo.CR2": ["photo.TXT", "photo.json"],
    }
    assert names(tmp_path) == [
        *("alone.txt", "other.PNG.txt", "other.png", "photo.CR2", "photo.jpg")
    ]


def test_the_metadata_of_google_takeout_belongs_to_its_pictures(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg", "c.jpg", "c(1).jpg", "d.jpg", "e(2).jpg", "f.jpg")
    touch(tmp_path, "a.jpg.json", "b.jpg.supplemental-metadata.json", "d.jpg.supplem.json")
    touch(tmp_path, "c.jpg.supplemental-metadata.json", "c.jpg.supplemental-metadata(1).json")
    touch(tmp_path, "e.jpg(2).json", "f.jpg.other.json", "g.jpg.json", "metadata.json")
    assert told(tmp_path) == {
        "a.jpg": ["a.jpg.json"],
        "b.jpg": ["b.jpg.supplemental-metadata.json"],
        "c.jpg": ["c.jpg.supplemental-metadata.json"],
        "c(1).jpg": ["c.jpg.supplemental-metadata(1).json"],
        "d.jpg": ["d.jpg.supplem.json"],
        "e(2).jpg": ["e.jpg(2).json"],
    }


def test_a_change_of_a_sidecar_is_seen(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "a.txt", "b.jpg")
    before = only(tmp_path)
    assert before.companions.keys() == {"a.jpg"}
    assert before.companions == only(tmp_path).companions
    (tmp_path / "a.txt").write_text("longer")
    after = only(tmp_path)
    assert after.companions != before.companions
    assert after.files["a.jpg"] == before.files["a.jpg"]
    touch(tmp_path, "a.json")
    assert only(tmp_path).companions["a.jpg"].count("|") == 1


def test_a_sidecar_that_leads_to_nothing_is_told_and_the_picture_is_found(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "a.xmp")
    linked(tmp_path / "a.json", tmp_path / "nowhere")
    folder = only(tmp_path)
    assert list(folder.files) == ["a.jpg"]
    assert folder.sidecars == {"a.jpg": ("a.xmp",)}
    assert folder.closed_names == {"a.json"}


@pytest.mark.parametrize(
    ("name", "form"),
    [
        *(("a.jpg", "image"), ("A.JPG", "image"), ("a.b.HeiC", "image"), ("x/y.nef", "image")),
        *(("a.md", "text"), ("a.pdf", "text"), ("a.jsonl", "corpus"), ("a.tar", "corpus")),
        *(("a.json", None), ("a.aae", None), ("jpg", None), (".jpg", None), ("a.", None)),
        *(("", None), ("a.jpg ", None), ("a.tar.gz", None)),
    ],
)
def test_a_name_tells_how_a_file_is_read(name: str, form: str | None) -> None:
    assert form_of(name) == form


def test_the_table_of_formats_holds_what_is_read_and_nothing_else() -> None:
    suffixes = [suffix for row in FORMATS for suffix in row.suffixes]
    assert len(suffixes) == len(set(suffixes))
    assert {form_of(f"a{suffix}") for suffix in suffixes} == {"image", "text", "corpus"}
    for row in FORMATS:
        assert {form_of(f"a{suffix}") for suffix in row.suffixes} == {row.form}
    assert {one for row in FORMATS if row.form == "image" for one in row.suffixes} == SUFFIXES
