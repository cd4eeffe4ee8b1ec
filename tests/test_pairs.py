import io
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from searchx.errors import BadInput
from searchx.pairs import Pair, read_pairs
from tests.colour import paint

Row = dict[str, object]


def jsonl(path: Path, *rows: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def shard(path: Path, *members: tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def parquet(path: Path, rows: list[Row]) -> Path:
    pa.parquet.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_a_jsonl_names_its_pictures_beside_itself(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path / "captions.jsonl",
        {"image": "images/a.jpg", "captions": ["a dog", " ", "ein Hund — 犬"], "id": 7},
        {"image": "b.jpg", "captions": ["a cat"]},
        {"image": "nothing said.jpg", "captions": []},
    )
    path.write_text(path.read_text(encoding="utf-8") + "\n\n", encoding="utf-8")
    expected = [
        Pair(tmp_path / "images/a.jpg", ("a dog", "ein Hund — 犬")),
        Pair(tmp_path / "b.jpg", ("a cat",)),
    ]
    assert read_pairs([path]) == expected
    assert read_pairs([tmp_path]) == expected  # a folder that holds one
    assert read_pairs([str(path), tmp_path]) == expected * 2


def test_one_caption_may_stand_without_a_list(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "captions.jsonl", {"image": "a.jpg", "captions": "a dog"})
    assert read_pairs([path]) == [Pair(tmp_path / "a.jpg", ("a dog",))]


def test_a_shard_is_read_as_webdataset_writes_it(tmp_path: Path) -> None:
    path = shard(
        tmp_path / "00000.tar",
        ("part.1/0001.JPG", b"one"),
        ("part.1/0001.json", b'{"captions": ["a dog", "an animal"]}'),
        ("part.1/0001.txt", b"not this one"),
        ("0002.txt", b"ein Schiff"),
        ("0002.webp", b"two"),
        ("0003.json", b'{"captions": ["no picture"]}'),
        ("0004.png", b"no text"),
        ("README", b"no sample"),
        ("0005.png", b"five"),
        ("0005.json", b'{"captions": ["the last"]}'),
    )
    assert read_pairs([path]) == [
        Pair(b"one", ("a dog", "an animal")),
        Pair(b"two", ("ein Schiff",)),
        Pair(b"five", ("the last",)),
    ]


def test_a_parquet_file_is_read_as_datasets_writes_it(tmp_path: Path) -> None:
    paint(tmp_path / "b.png", "red")
    rows: list[Row] = [
        {"image": {"bytes": b"%d" % number, "path": None}, "captions": [f"text {number}"]}
        for number in range(600)
    ]
    rows.append({"image": {"bytes": None, "path": "b.png"}, "captions": ["red", "colour"]})
    pairs = read_pairs([parquet(tmp_path / "pairs.parquet", rows)])
    assert pairs[:600] == [Pair(b"%d" % number, (f"text {number}",)) for number in range(600)]
    assert pairs[600:] == [Pair(tmp_path / "b.png", ("red", "colour"))]


@pytest.mark.parametrize(
    "row",
    [
        {"image": "a.jpg"},
        {"captions": ["a"]},
        {"image": 7, "captions": ["a"]},
        {"image": "a.jpg", "captions": None},
        {"image": "a.jpg", "captions": [7]},
        {"image": "a.jpg", "captions": [None]},
        {"image": "a.jpg", "captions": {"en": "a"}},
        ["a.jpg", "a"],
        7,
        None,
    ],
)
def test_a_line_of_another_shape_is_named(tmp_path: Path, row: object) -> None:
    good = {"image": "a.jpg", "captions": ["a"]}
    path = jsonl(tmp_path / "captions.jsonl", good, row)
    with pytest.raises(BadInput, match=r"cannot be read as pairs \(line 2: ") as caught:
        read_pairs([path])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"no json\n", b'{"image": "a.jpg", "captions"', b"\xff\xfe{}"])
def test_a_file_that_is_no_jsonl_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "captions.jsonl"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"captions\.jsonl cannot be read as pairs") as caught:
        read_pairs([path])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", ["half", "noise", "json"])
def test_a_broken_shard_is_named(tmp_path: Path, damage: str) -> None:
    path = shard(tmp_path / "a.tar", ("1.jpg", bytes(5000)), ("1.json", b'{"captions": ["a"]}'))
    if damage == "half":
        path.write_bytes(path.read_bytes()[:3000])
    elif damage == "noise":
        path.write_bytes(b"no archive" * 1000)
    else:
        shard(path, ("1.jpg", b"1"), ("1.json", b"no json"))
    with pytest.raises(BadInput, match=r"a\.tar cannot be read as pairs") as caught:
        read_pairs([path])
    assert "\n" not in str(caught.value)


def test_a_parquet_file_of_another_shape_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 and no more")
    other = parquet(tmp_path / "other.parquet", [{"picture": b"", "captions": ["a"]}])
    for path in (broken, other):
        with pytest.raises(BadInput, match=r"\.parquet cannot be read as pairs") as caught:
            read_pairs([path])
        assert "\n" not in str(caught.value)


def test_what_holds_no_pairs_says_what_to_give(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no pairs")
    with pytest.raises(BadInput, match=r"holds no pairs; give captions\.jsonl, a folder"):
        read_pairs([tmp_path / "notes.txt"])
    with pytest.raises(BadInput, match=r"captions\.jsonl is missing"):
        read_pairs([tmp_path])
    with pytest.raises(BadInput, match=r"gone\.tar is missing"):
        read_pairs([tmp_path / "gone.tar"])
    with pytest.raises(BadInput, match="holds no pairs"):
        read_pairs([jsonl(tmp_path / "captions.jsonl")])
