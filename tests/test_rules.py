import codecs
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.files import walk
from indexer.rules import IGNORE_FILE, MAX_BYTES, Rules
from searchx.errors import BadInput

PICTURES = (
    *("a.png", "b.jpg", "keep.png", "sub/a.png", "sub/b.jpg", "sub/deep/a.png"),
    *("sub/deep/keep.png", "out/a.png", "out/keep.png", "2019/july/c.png", "2019/d.jpg"),
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make(tmp_path / "source", *PICTURES)


def make(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"?")
    return root


def ignoring(folder: Path, *lines: str) -> None:
    (folder / IGNORE_FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")


def found(source: Path, rules: Rules | None = None) -> set[str]:
    return {
        (Path(folder.path) / name).relative_to(source).as_posix()
        for folder in walk(str(source), rules or Rules())
        for name in folder.files
    }


def without(*names: str) -> set[str]:
    return set(PICTURES) - set(names)


def test_an_ignore_file_holds_for_all_that_is_below_it(source: Path) -> None:
    ignoring(source / "sub", "a.png")
    assert found(source) == without("sub/a.png", "sub/deep/a.png")
    ignoring(source / "sub", "/a.png")
    assert found(source) == without("sub/a.png")
    ignoring(source / "sub", "deep/a.png")
    assert found(source) == without("sub/deep/a.png")


def test_a_deeper_ignore_file_goes_before_one_above(source: Path) -> None:
    ignoring(source, "*.png")
    ignoring(source / "sub" / "deep", "!keep.png")
    assert found(source) == {"b.jpg", "sub/b.jpg", "2019/d.jpg", "sub/deep/keep.png"}


def test_the_last_line_that_matches_decides(source: Path) -> None:
    ignoring(source, "# pictures", "", "*.png", "!keep.png", "/keep.png")
    assert found(source) == {
        *("b.jpg", "sub/b.jpg", "2019/d.jpg", "sub/deep/keep.png", "out/keep.png")
    }


def test_nothing_comes_back_from_below_an_ignored_folder(source: Path) -> None:
    ignoring(source, "out/", "!out/keep.png")
    ignoring(source / "out", "!*")
    assert found(source) == without("out/a.png", "out/keep.png")
    ignoring(source, "out/*", "!out/keep.png")
    (source / "out" / IGNORE_FILE).unlink()
    assert found(source) == without("out/a.png")


def test_what_is_ignored_is_absent_and_no_problem(source: Path) -> None:
    (source / "drive").symlink_to(source / "nowhere")
    ignoring(source, "drive/", "out/")
    top, *_ = walk(str(source), Rules())
    assert top.problems == []
    assert top.closed_names == set()
    assert top.folders == ["2019", "sub"]
    assert not top.closed


def test_exclude_goes_before_every_ignore_file(source: Path) -> None:
    ignoring(source, "!a.png", "b.jpg")
    ignoring(source / "sub", "!a.png")
    rules = Rules(exclude=("a.png", "/2019", "!/sub/b.jpg"))
    assert found(source, rules) == {"keep.png", "sub/b.jpg", "sub/deep/keep.png", "out/keep.png"}


def test_include_leaves_out_what_it_does_not_name(source: Path) -> None:
    assert found(source, Rules(include=("*.jpg",))) == {"b.jpg", "sub/b.jpg", "2019/d.jpg"}
    assert found(source, Rules(include=("2019/",))) == {"2019/july/c.png", "2019/d.jpg"}
    assert found(source, Rules(include=("2019/july",))) == {"2019/july/c.png"}
    assert found(source, Rules(include=("2019/", "!*.jpg"))) == {"2019/july/c.png"}
    both = Rules(include=("sub/", "2019/"), exclude=("deep/", "*.jpg"))
    assert found(source, both) == {"sub/a.png", "2019/july/c.png"}


def test_patterns_match_in_upper_and_lower_case(tmp_path: Path) -> None:
    source = make(tmp_path, "a.JPG", "b.jpg", "Private/c.jpg", "GRÜN.png", "x.png")
    assert found(source, Rules(include=("*.jpg",))) == {"a.JPG", "b.jpg", "Private/c.jpg"}
    assert found(source, Rules(include=("*.Jpg",), exclude=("private/",))) == {"a.JPG", "b.jpg"}
    ignoring(source, "grün.*", "[A-C].jpg")
    assert found(source) == {"x.png"}


def test_include_leaves_out_corpus_files_too(source: Path) -> None:
    make(source, "rows.csv", "2019/rows.csv")
    folders = walk(str(source), Rules(include=("2019/",)))
    assert [one.corpora for one in folders if one.corpora] == [["rows.csv"]]


def test_a_sidecar_comes_with_its_picture_and_goes_when_it_is_excluded(source: Path) -> None:
    make(source, "b.txt", "b.xmp", "notes.txt")
    top, *_ = walk(str(source), Rules(include=("*.jpg",)))
    assert list(top.files) == ["b.jpg"]
    assert top.sidecars == {"b.jpg": ("b.txt", "b.xmp")}
    top, *_ = walk(str(source), Rules(exclude=("*.txt",)))
    assert top.sidecars == {"b.jpg": ("b.xmp",)}
    top, *_ = walk(str(source), Rules(exclude=("*.jpg",)))
    assert "b.txt" in top.files


def test_hidden_names_come_back_where_include_names_them(tmp_path: Path) -> None:
    source = make(tmp_path, ".a.png", "._b.png", ".cache/c.png", ".cache/.d.png", "e.png", ".png")
    assert found(source) == {"e.png"}
    assert found(source, Rules(include=("*.png",))) == {"e.png"}
    assert found(source, Rules(include=(".a.png",))) == {".a.png"}
    assert found(source, Rules(include=(".cache/",))) == {".cache/c.png"}
    assert found(source, Rules(include=(".cache/*.png", "e.*"))) == {".cache/c.png", "e.png"}
    assert found(source, Rules(include=("*", ".*"))) == {
        *(".a.png", "._b.png", ".cache/c.png", ".cache/.d.png", "e.png")
    }
    assert found(source, Rules(include=(".cache/",), exclude=(".cache",))) == set()


@pytest.mark.parametrize(
    "data",
    [
        codecs.BOM_UTF8 + "grün.png\r\n*.jpg\r\n".encode(),
        "grün.png\n*.jpg".encode("utf-16"),
        codecs.BOM_UTF16_BE + "grün.png\n*.jpg".encode("utf-16-be"),
        "gru\u0308n.png\n*.jpg".encode(),
        "grün.png   \n*.jpg\n\n".encode(),
    ],
    ids=["BOM and CRLF", "UTF-16", "UTF-16 of the other order", "decomposed", "trailing spaces"],
)
def test_an_ignore_file_may_come_from_any_editor(tmp_path: Path, data: bytes) -> None:
    source = make(tmp_path, "grün.png", "a.jpg", "b.png")
    (source / IGNORE_FILE).write_bytes(data)
    assert found(source) == {"b.png"}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_names_that_are_not_utf8_are_matched_byte_by_byte(tmp_path: Path) -> None:
    source = make(tmp_path, os.fsdecode(b"gr\xfcn.png"), "b.png")
    (source / IGNORE_FILE).write_bytes(b"gr\xfcn.png\n")
    assert found(source) == {"b.png"}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"*.png\n\0\0", "no text"),
        (b"*.png\n!\n", "line 2 is no pattern"),
        (b"*.png\\\n", "line 1 is no pattern"),
        (b"#" * (MAX_BYTES + 1), "more than"),
        (None, "not in a file"),
    ],
)
def test_a_broken_ignore_file_closes_its_folder(
    source: Path, data: bytes | None, said: str
) -> None:
    """Nobody knows what the user wants: nothing new is taken, and nothing is forgotten."""
    place = source / "sub" / IGNORE_FILE
    if data is None:
        place.mkdir()
    else:
        place.write_bytes(data)
    (folder,) = (one for one in walk(str(source), Rules()) if one.closed)
    assert folder.path == str(source / "sub")
    assert (folder.files, folder.folders) == ({}, [])
    (problem,) = folder.problems
    assert problem.path == str(place)
    assert said in problem.reason
    assert "\n" not in problem.reason
    assert found(source) == {one for one in PICTURES if not one.startswith("sub/")}


def test_rules_are_kept_as_they_were() -> None:
    rules = Rules(("*.png", "grün/"), ("a b",), ("caption", "title"), "picture")
    assert Rules.from_json(rules.as_json()) == rules
    assert Rules.from_json(Rules().as_json()) == Rules()
    assert Rules.from_json('{"exclude": ["a"], "later": 1}') == Rules(exclude=("a",))


@pytest.mark.parametrize("pattern", ["!", "a\\"])
def test_a_pattern_that_cannot_be_used_is_refused_in_one_line(pattern: str) -> None:
    with pytest.raises(BadInput, match="--include") as refusal:
        Rules(include=(pattern,))
    assert pattern in str(refusal.value)
    with pytest.raises(BadInput, match="--exclude"):
        Rules(exclude=("*.png", pattern))


@pytest.mark.parametrize("pattern", ["", "  ", "# pictures"])
def test_a_pattern_that_names_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(BadInput, match=f'--include "{pattern}" names nothing'):
        Rules(include=("*.jpg", pattern))
    with pytest.raises(BadInput, match=f'--exclude "{pattern}" names nothing'):
        Rules(exclude=(pattern,))


def test_a_column_without_a_name_is_refused() -> None:
    with pytest.raises(BadInput, match="--text-column"):
        Rules(text_columns=("caption", ""))
    with pytest.raises(BadInput, match="--image-column"):
        Rules(image_column=" ")


def test_what_says_nothing_and_was_kept_before_is_left_aside() -> None:
    kept = '{"include": ["", "*.jpg"], "exclude": ["#"], "text_columns": [""], "image_column": ""}'
    assert Rules.from_json(kept) == Rules(include=("*.jpg",))


NAMES = ("a", "b", "a.png", "b.png")
LINES = st.sampled_from(
    [
        *("a", "b", "/a", "/b", "a/", "b/", "*", "/*", "*/", "a/*", "a/**", "**/a", "a/b"),
        *("*.png", "a.*", "[ab]", "[!a].png", "?", "b/a/", "**/b/a", "a/**/b", "**", "**/"),
    ]
)
FILES = st.lists(st.sampled_from(NAMES[:2]), max_size=3).flatmap(
    lambda above: st.sampled_from(NAMES[2:]).map(lambda name: "/".join((*above, name)))
)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
@settings(max_examples=60, deadline=None)
@given(
    names=st.sets(FILES, min_size=1, max_size=8),
    lines=st.lists(st.tuples(st.booleans(), LINES), min_size=1, max_size=5),
    deeper=st.lists(st.tuples(st.booleans(), LINES), max_size=3),
)
def test_the_rules_are_those_of_git(
    names: set[str], lines: list[tuple[bool, str]], deeper: list[tuple[bool, str]]
) -> None:
    with tempfile.TemporaryDirectory() as place:
        source = make(Path(place), *names)
        for folder, each in ((source, lines), (source / "a", deeper)):
            if folder.is_dir():
                ignoring(
                    folder, *(("!" if is_excepted else "") + line for is_excepted, line in each)
                )
        assert found(source) == untracked(source)


def untracked(source: Path) -> set[str]:
    """Ask git which files our ignore files leave."""
    git = ["git", "-C", str(source), "-c", "core.excludesFile="]
    subprocess.run([*git, "init", "-q"], check=True)
    command = [*git, "ls-files", "-oz", f"--exclude-per-directory={IGNORE_FILE}"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {name for name in listed.split("\0") if name.endswith(".png")}
