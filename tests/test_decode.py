import io
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from indexer.decode import (
    PASSAGE_WORDS,
    Loaded,
    captions,
    digest_bytes,
    load,
    normalise,
    prose,
)
from indexer.files import Found, walk
from searchx.errors import UnreadableImage
from searchx.images import open_image
from searchx.records import Kind, Pixels
from tests.colour import ColourEncoder, paint
from tests.mere_user import as_mere_user


def nothing_is_known(kind: Kind, digest: str) -> bool:
    return False


def loaded(path: Path) -> Loaded:
    (found,) = walk(str(path)).files
    return load(found, ColourEncoder().prepare, 16, nothing_is_known)


def reason_for(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    problem = loaded(path).problem
    assert problem is not None
    assert problem.lasting
    assert problem.path == str(path)
    assert "\n" not in problem.reason
    assert str(path) not in problem.reason  # the path stands beside the reason
    return problem.reason


def test_a_picture_becomes_one_part_with_its_full_size(tmp_path: Path) -> None:
    path = paint(tmp_path / "a.jpg", "red", size=(640, 480))
    one = loaded(path)
    (part,) = one.parts
    assert (part.kind, part.width, part.height, part.fragment) == ("image", 640, 480, "")
    assert part.digest == digest_bytes(path.read_bytes())
    assert part.pixels is not None
    assert part.pixels.shape == (3, 16, 16)
    assert (one.size, one.mtime_ns) == (path.stat().st_size, path.stat().st_mtime_ns)


def test_a_picture_that_is_known_is_not_decoded(tmp_path: Path) -> None:
    def refuse(image: Image.Image) -> Pixels:
        raise AssertionError("a known picture was decoded")

    (found,) = walk(str(paint(tmp_path / "a.png", "red"))).files
    (part,) = load(found, refuse, 16, lambda kind, digest: True).parts
    assert part.pixels is None


def test_bad_pictures_have_a_reason(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    packed = io.BytesIO()
    Image.fromarray(noise).save(packed, "JPEG")
    path = tmp_path / "a.jpg"
    assert "empty" in reason_for(path, b"")
    assert "not a picture" in reason_for(path, b"Dear diary, this is a text.")
    assert "decoded" in reason_for(path, packed.getvalue()[:2000])


def test_a_file_too_large_to_hold_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with path.open("wb") as file:
        file.truncate((1 << 29) + 1)  # a hole; it takes no space
    problem = loaded(path).problem
    assert problem is not None
    assert "512 MiB" in problem.reason


def test_a_file_that_is_gone_may_come_back() -> None:
    found = Found("/nowhere/a.jpg", "image", 1, 1)
    problem = load(found, ColourEncoder().prepare, 16, nothing_is_known).problem
    assert problem is not None
    assert not problem.lasting


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has files longer than they say")
def test_a_file_that_changes_while_it_is_read_is_left_for_later() -> None:
    path = "/proc/self/status"  # its size is given as zero: it has grown when it was read
    found = Found(path, "prose", 0, Path(path).stat().st_mtime_ns)
    problem = load(found, ColourEncoder().prepare, 16, nothing_is_known).problem
    assert problem is not None
    assert "changed while it was read" in problem.reason
    assert not problem.lasting


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions do not bind anybody here")
def test_a_file_without_permission_may_be_read_later() -> None:
    with tempfile.TemporaryDirectory() as place:  # pytest's own folder is closed to other users
        paint(Path(place) / "a.png", "red").chmod(0)
        assert as_mere_user(_read_without_permission, Path(place)) == 0


def _read_without_permission(folder: str) -> None:
    path = Path(folder) / "a.png"
    problem = loaded(path).problem
    assert problem is not None
    assert "Permission denied" in problem.reason
    assert not problem.lasting


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process")
def test_what_does_not_fit_into_memory_may_be_read_later(tmp_path: Path) -> None:
    Image.new("L", (10_000, 10_000)).save(tmp_path / "a.png", compress_level=1)
    with (tmp_path / "b.txt").open("wb") as file:
        file.truncate(1 << 26)  # a hole; it takes no space
    shutil.copy(tmp_path / "b.txt", tmp_path / "c.jsonl")
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_read_with_little_memory, args=(str(tmp_path),))
    process.start()
    process.join(120)
    assert process.exitcode == 0


def _read_with_little_memory(folder: str) -> None:
    import resource

    loaded(paint(Path(folder) / "d.png", "red"))  # this has loaded the decoders
    status = Path("/proc/self/status").read_text().split()
    used = int(status[status.index("VmSize:") + 1]) << 10
    resource.setrlimit(resource.RLIMIT_AS, (used + (48 << 20), -1))
    for name in ("a.png", "b.txt", "c.jsonl"):
        problem = loaded(Path(folder) / name).problem
        assert problem is not None
        assert problem.reason == "not enough memory to read it now"
        assert not problem.lasting
    with pytest.raises(UnreadableImage, match="not enough memory to decode this picture"):
        open_image(Path(folder) / "a.png")


@pytest.mark.parametrize("data", [b"", b" \n\t ", b"\x00\x01binary\x02", b"PK\x03\x04zip"])
def test_bad_texts_have_a_reason(tmp_path: Path, data: bytes) -> None:
    assert reason_for(tmp_path / "a.txt", data)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_texts_are_read_in_the_encodings_that_people_have(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("Ein Käse im Café".encode(encoding))
    assert [part.text for part in loaded(path).parts] == ["Ein Käse im Café"]


def test_paragraphs_are_passages_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_bytes(b"# Red\r\n\r\nA red\r\nbarn.\r\n  \r\n\r\n  Snow. White snow.\r\n")
    assert [(part.text, part.fragment) for part in loaded(path).parts] == [
        ("# Red", "line 1"),
        ("A red barn.", "line 3"),
        ("Snow. White snow.", "line 7"),
    ]


def test_a_long_paragraph_is_cut_where_sentences_end() -> None:
    sentences = [f"Number {number} " + "word " * 17 + "end." for number in range(7)]
    passages = list(prose("\n".join(sentences)))
    assert [passage.text for passage in passages] == [
        " ".join(sentences[start : start + 3]) for start in (0, 3, 6)
    ]
    assert [passage.fragment for passage in passages] == ["line 1", "line 4", "line 7"]


def test_a_list_without_full_stops_is_cut_where_lines_end() -> None:
    lines = [" ".join([f"w{number}"] * 25) for number in range(4)]
    passages = list(prose("\n".join(lines)))
    assert [passage.text for passage in passages] == [
        " ".join(lines[:2]),
        " ".join(lines[2:]),
    ]


@given(st.text(alphabet=st.sampled_from("ab.!? \n\t。é\u0301"), max_size=3000))
def test_cutting_loses_no_word_and_keeps_the_limit(text: str) -> None:
    passages = list(prose(text))
    joined = "".join(passage.text for passage in passages).replace(" ", "")
    assert joined == "".join(normalise(text).split())
    for passage in passages:
        assert 0 < len(passage.text.split()) <= PASSAGE_WORDS
        assert len(passage.text) <= 8 * PASSAGE_WORDS


def test_a_script_without_spaces_is_cut_too() -> None:
    assert len(list(prose("雪" * 2000))) == 5


def test_equal_texts_have_one_digest(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Café  noir\n", encoding="utf-8")
    (tmp_path / "b.txt").write_text(unicodedata.normalize("NFD", "Café\nnoir"), encoding="utf-8")
    (one,), (other,) = (loaded(tmp_path / name).parts for name in ("a.txt", "b.txt"))
    assert one.digest == other.digest == digest_bytes("Café noir".encode())


def test_a_corpus_gives_every_caption_with_its_line() -> None:
    rows = [
        {"image": "a.jpg", "captions": ["a red barn", "a  barn", ""]},
        {"text": "snow"},
        {"caption": "a dog", "text": "a dog", "id": 7},
        {"image": "b.jpg"},
    ]
    text = "\n".join(json.dumps(row) for row in rows) + "\n\nnot json\n[1]\n"
    passages, wrong = captions(text)
    assert [(one.text, one.fragment) for one in passages] == [
        *(("a red barn", "line 1"), ("a barn", "line 1"), ("snow", "line 2"), ("a dog", "line 3"))
    ]
    assert [line.split(" has")[0].split(" is")[0] for line in wrong] == [
        *("line 4", "line 6", "line 7")
    ]


def test_a_corpus_says_which_lines_were_left_out(tmp_path: Path) -> None:
    path = tmp_path / "captions.jsonl"
    path.write_text('{"text": "snow"}\n{"text": \n')
    assert loaded(path).note == f"{path}: lines left out: 1; first: line 2 is not JSON"
    assert "line 1" in reason_for(path, b"{}\n{}\n")


def test_half_characters_do_not_stop_a_corpus(tmp_path: Path) -> None:
    path = tmp_path / "captions.jsonl"
    path.write_text('{"text": "a \\ud800 dog"}\n')
    assert [part.text for part in loaded(path).parts] == ["a ? dog"]


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)
