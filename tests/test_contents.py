"""Pictures inside other files are found again by the place that the indexer noted."""

import io
import os
import tarfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from indexer.datasets.corpora import Columns, rows
from searchx.contents import candidates, open_content
from searchx.errors import BadInput
from searchx.records import Location


def place(path: Path, fragment: str = "") -> Location:
    return Location(str(path), str(path), fragment)


def shard(path: Path, *members: tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def parquet(path: Path, table: Mapping[str, object], group: int = 1000) -> Path:
    pa.parquet.write_table(pa.table(dict(table)), path, row_group_size=group)
    return path


def test_a_whole_file_is_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"content")
    assert open_content(place(path)) == b"content"


def test_every_picture_of_a_parquet_file_is_found_again(tmp_path: Path) -> None:
    images = [{"bytes": b"%d" % number * 50, "path": None} for number in range(1000)]
    path = parquet(tmp_path / "a.parquet", {"id": list(range(1000)), "image": images}, group=70)
    found = list(rows(str(path), Columns(), print))
    assert len(found) == 1000
    for row in (found[0], found[69], found[70], found[500], found[999]):
        assert open_content(place(path, row.fragment)) == row.image


def test_every_picture_of_an_archive_is_found_again(tmp_path: Path) -> None:
    samples = [(f"part.1/{number:04}", b"%d" % number * 50) for number in range(200)]
    members = [(f"{key}{end}", data) for key, data in samples for end in (".txt", ".jpg")]
    path = shard(tmp_path / "a.tar", *members, ("g\n\udcff.jpg", b"odd name"))
    found = list(rows(str(path), Columns(), print))
    assert [row.image for row in found] == [*(data for _, data in samples), b"odd name"]
    for row in found:
        assert open_content(place(path, row.fragment)) == row.image


def test_the_column_need_not_be_known(tmp_path: Path) -> None:
    """What the user called it is not kept; all that may be pictures are given, the likely first."""
    table = {
        "aside": pa.array([b"binary"]),
        "scan": pa.array([{"bytes": b"struct", "path": None}]),
        "Image": pa.array([b"named"], pa.large_binary()),
        "caption": ["text"],
        "image_path": ["gone.jpg"],
    }
    path = parquet(tmp_path / "a.parquet", table)
    assert list(candidates(place(path, "row 1"))) == [b"named", b"binary", b"struct"]
    assert open_content(place(path, "row 1")) == b"named"


def test_pictures_of_one_name_are_all_given(tmp_path: Path) -> None:
    path = shard(tmp_path / "a.tar", ("1.jpg", b"a"), ("2.jpg", b"b"), ("1.png", b"c"))
    assert list(candidates(place(path, "sample 1"))) == [b"a", b"c"]


def test_an_archive_that_changes_is_read_anew(tmp_path: Path) -> None:
    path = shard(tmp_path / "a.tar", ("1.jpg", b"before"))
    assert open_content(place(path, "sample 1")) == b"before"
    shard(path, ("0.jpg", b"new"), ("1.jpg", b"after"))
    os.utime(path, ns=(1, time.time_ns()))
    assert open_content(place(path, "sample 1")) == b"after"


def test_many_threads_may_ask_at_once(tmp_path: Path) -> None:
    members = [(f"{number}.jpg", b"%d" % number) for number in range(500)]
    path = shard(tmp_path / "a.tar", *members)
    places = [place(path, f"sample {number}") for number in range(500)]
    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(open_content, places)) == [data for _, data in members]


@pytest.mark.parametrize(
    ("name", "fragment"),
    [
        ("a.parquet", "row 3"),
        ("a.parquet", "row 0"),
        ("a.parquet", "row 99999999999999999999"),
        ("a.parquet", "row 2"),  # without a picture
        ("a.parquet", "sample 1"),
        ("a.tar", "sample 2"),
        ("a.tar", "row 1"),
        ("a.jsonl", "line 1"),
        ("gone.tar", "sample 1"),
        ("gone.jpg", ""),
        ("pipe.tar", "sample 1"),
        ("empty.jpg", ""),
    ],
)
def test_what_is_not_there_is_told_in_one_line(tmp_path: Path, name: str, fragment: str) -> None:
    parquet(tmp_path / "a.parquet", {"image": [b"1", None]})
    shard(tmp_path / "a.tar", ("1.jpg", b"1"), ("2.txt", b"2"))
    (tmp_path / "a.jsonl").write_text('{"text": "a"}')
    (tmp_path / "empty.jpg").touch()
    os.mkfifo(tmp_path / "pipe.tar")
    with pytest.raises(BadInput, match="index") as caught:
        open_content(place(tmp_path / name, fragment))
    assert str(caught.value).startswith(str(tmp_path / name))
    assert "\n" not in str(caught.value)
