"""The rows of corpus files, made by the libraries that make such files."""

import csv
import io
import json
import os
import sys
import tarfile
import time
import tracemalloc
from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from indexer.datasets.corpora import Columns, Row, lacking, rows
from indexer.datasets.rows import MAX_LINE
from indexer.refusals import Refused
from tests.colour import paint

CAPTION = Columns(text=("caption",))


def read(path: Path, columns: Columns | None = None) -> tuple[list[Row], list[str]]:
    """Give the rows, and what was said about those that were left out."""
    wrong: list[str] = []
    found = list(rows(str(path), columns or Columns(), wrong.append))
    assert all("\n" not in line for line in wrong)
    return found, wrong


def texts(path: Path, columns: Columns | None = None) -> dict[str, tuple[str, ...]]:
    found, wrong = read(path, columns)
    assert wrong == []
    return {row.fragment: row.texts for row in found}


def refusal(path: Path, columns: Columns | None = None) -> str:
    with pytest.raises(Refused) as caught:
        list(rows(str(path), columns or Columns(), lambda _: None))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def jsonl(path: Path, lines: Iterable[object]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def parquet(path: Path, table: Mapping[str, object], group: int = 1000) -> Path:
    pa.parquet.write_table(pa.table(dict(table)), path, row_group_size=group)
    return path


def shard(path: Path, *members: tuple[str, bytes] | tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            archive.addfile(info, io.BytesIO(member[1]))
    return path


# one JSON object a line


def test_a_line_gives_each_distinct_text_once_in_the_order_of_the_names(tmp_path: Path) -> None:
    row = {"title": "Rex", "Captions": ["a dog", "a  dog\n", " ", 7], "text": "a dog", "n": 3}
    path = jsonl(tmp_path / "a.jsonl", [row, {"Alt-Text": "ein Hund — 犬"}])
    found, wrong = read(path)
    assert wrong == []
    assert found[0] == Row("line 1", ("a dog", "Rex"), title="Rex")
    assert found[1].texts == ("ein Hund — 犬",)


def test_lines_are_counted_as_an_editor_does(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", '{"text": "one"}\r\n\r\n{"text": "two\u2028three"}')
    assert texts(path) == {"line 1": ("one",), "line 3": ("two\u2028three",)}


def test_a_picture_is_named_beside_the_corpus(tmp_path: Path) -> None:
    place = str(paint(tmp_path / "in" / "a b.png", "red"))
    path = jsonl(
        tmp_path / "a.jsonl",
        [
            {"image": "in/a b.png", "text": "red"},
            {"image": "https://example.org/a.png", "file_name": "./in/a b.png"},
            {"path": "in\\a b.png"},
            {"image": {"path": place}, "tags": "sea; sun,sea"},
            {"image": "gone.png", "text": "kept"},
            {"image": "../" + tmp_path.name + "/in/a b.png", "text": "outside"},
            {"image": "a.jsonl", "text": "no picture"},
        ],
    )
    found, wrong = read(path)
    assert wrong == []
    assert [row.image_path for row in found] == [place] * 4 + [None] * 3
    assert found[3].keywords == ("sea", "sun")
    assert [row.texts for row in found[4:]] == [("kept",), ("outside",), ("no picture",)]


def test_lines_that_cannot_be_used_are_told_and_cost_no_other_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with path.open("w", encoding="utf-8") as file:
        file.write('{"text": "first"}\nno json\n["a"]\n')
        file.write("[" * (sys.getrecursionlimit() * 10) + "\n")
        file.write('{"text": "' + "x" * MAX_LINE + '"}\n')
        file.write('{"image": "gone.png"}\n{"id": 7}\n{"text": "last"}\n')
    found, wrong = read(path)
    assert [row.fragment for row in found] == ["line 1", "line 8"]
    assert wrong == [
        "line 2 is not JSON",
        "line 3 is not a JSON object",
        "line 4 is not JSON",
        "line 5 is longer than 16 Mi characters",
        "line 6 names a picture that is not there (gone.png)",
        'line 7 has no column that is known; it has: "id"',
    ]


def test_a_corpus_without_a_row_that_can_be_used_is_refused(tmp_path: Path) -> None:
    assert refusal(written(tmp_path / "a.jsonl", "")) == "the file is empty"
    assert refusal(written(tmp_path / "b.jsonl", "\n\n")) == "there is no row in it"
    assert "line 1 is not JSON" in refusal(written(tmp_path / "c.jsonl", "a\nb\n"))
    assert "binary" in refusal(written(tmp_path / "d.jsonl", "\0\1\2"))


def test_the_columns_of_the_user_go_before_the_known_ones(tmp_path: Path) -> None:
    picture = str(paint(tmp_path / "a.png", "red"))
    row = {"text": "not this", "Review": "this", "thumb": "a.png", "image": "b.png"}
    path = jsonl(tmp_path / "a.jsonl", [{"text": "nothing here"}, row])
    found, wrong = read(path, Columns(("review",), "thumb"))
    assert found == [Row("line 2", ("this",), image_path=picture)]
    assert len(wrong) == 1
    assert refusal(path, Columns(("reviews",))) == (
        'it has no column "reviews"; it has: "text", "Review", "thumb", "image"'
    )


# tables


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_header_tells_the_delimiter(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "a.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(["id", "Caption", "note"])
        writer.writerow([1, 'a "dog", a; cat | and\ta\nbird', "x,y;z"])
        writer.writerow([2, "", "no caption"])
        writer.writerow([3, "ship"])
    found, wrong = read(path)
    assert [(row.fragment, row.texts) for row in found] == [
        ("row 1", ('a "dog", a; cat | and\ta\nbird',)),
        ("row 3", ("ship",)),
    ]
    assert wrong == ["row 2 has no text and no picture"]


def test_a_table_names_its_pictures(tmp_path: Path) -> None:
    picture = str(paint(tmp_path / "photos" / "a.png", "red"))
    path = written(tmp_path / "metadata.csv", "file_name,text\nphotos/a.png,red\nb.png,gone\n")
    found, _ = read(path)
    assert [(row.image_path, row.texts) for row in found] == [
        (picture, ("red",)),
        (None, ("gone",)),
    ]


def test_quotes_in_a_table_with_tabs_are_marks_of_speech(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tsv", 'caption\turl\n"stop" sign\tx\n"so, he said\tx\nend\tx\n')
    assert list(texts(path).values()) == [('"stop" sign',), ('"so, he said',), ("end",)]
    path = written(tmp_path / "b.tsv", 'caption\turl\n"two\nlines"\tx\nend\tx\n')
    assert list(texts(path).values()) == [("two\nlines",), ("end",)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_encodings_are_detected(tmp_path: Path, name: str, encoding: str) -> None:
    said = ["Der Käse schmeckt überall köstlich, auch in Österreich", "Grüße aus dem Süden"] * 5
    lines = (
        ["caption", *said]
        if name == "a.csv"
        else [json.dumps({"text": s}, ensure_ascii=False) for s in said]
    )
    path = written(tmp_path / name, "\n".join(lines) + "\n", encoding)
    assert [found for (found,) in texts(path).values()] == said


def test_a_line_of_another_encoding_is_read_as_western(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"caption\n" + ("Käse\n".encode() + "Grüße\n".encode("cp1252")) * 20_000)
    found, _ = read(path)
    assert {row.texts for row in found} == {("Käse",), ("Grüße",)}
    assert found[-1].fragment == "row 40000"


def test_rows_of_a_table_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with path.open("w", encoding="utf-8") as file:
        file.write("id,caption\n1,one\n\n2,two, three\n3,three,,\n")
        file.write("4," + "x" * MAX_LINE + "\n5,five\n")
        file.write('6,"six\n7,seven\n')
    found, wrong = read(path)
    assert [(row.fragment, row.texts) for row in found] == [
        ("row 1", ("one",)),
        ("row 3", ("three",)),
        ("row 4", ("five",)),
    ]
    assert wrong == [
        "row 2 has 3 fields where the header has 2",
        "a line is longer than 16 Mi characters",
        "row 5 has a quote that is not closed; the rest is left out",
    ]


def test_a_table_without_a_known_column_says_what_to_do(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "id;review\n1;good\n")
    assert refusal(path) == (
        "none of its columns is known to hold texts or pictures; name the columns with "
        '--text-column or --image-column; it has: "id", "review"'
    )
    assert texts(path, Columns(("review",))) == {"row 1": ("good",)}
    assert refusal(path, CAPTION) == 'it has no column "caption"; it has: "id", "review"'


# parquet


def test_a_parquet_file_is_read_as_datasets_writes_it(tmp_path: Path) -> None:
    place = str(paint(tmp_path / "b.png", "red"))
    images = [{"bytes": b"one", "path": "1.jpg"}, {"bytes": None, "path": "b.png"}, None]
    table = {"image": images, "captions": [["a", "b", "a"], None, ["c"]], "tags": [["x"], [], None]}
    found, wrong = read(parquet(tmp_path / "a.parquet", table, group=2))
    assert wrong == []
    assert found == [
        Row("row 1", ("a", "b"), image=b"one", keywords=("x",)),
        Row("row 2", (), image_path=place),
        Row("row 3", ("c",)),
    ]


def test_columns_of_a_parquet_file_are_chosen_by_name_and_type(tmp_path: Path) -> None:
    table = {
        "text": pa.array([1, 2]),
        "Caption": pa.array(["a", "b"]).dictionary_encode(),
        "content": pa.array(["c", None], pa.large_string()),
        "picture": pa.array([b"1", None], pa.large_binary()),
        "path": pa.array(["gone.png", "gone.png"]),
    }
    path = parquet(tmp_path / "a.parquet", table)
    assert read(path)[0] == [
        Row("row 1", ("a", "c"), image=b"1"),
        Row("row 2", ("b",), missing="gone.png"),
    ]
    wanted = [Row("row 1", ("c",), missing="gone.png")]
    assert read(path, Columns(("content",), "path"))[0] == wanted
    assert refusal(path, Columns(("text",))).startswith('the column "text" holds no texts')
    assert refusal(path, Columns(image="text")).startswith('the column "text" holds no pictures')
    assert "it has no column" in refusal(path, Columns(("alt",)))
    assert "none of its columns" in refusal(parquet(tmp_path / "b.parquet", {"id": [1]}))


def test_rows_without_anything_are_told_by_their_number(tmp_path: Path) -> None:
    table = {"caption": ["a", "", None, "d"] * 300}
    found, wrong = read(parquet(tmp_path / "a.parquet", table, group=70))
    assert [row.fragment for row in found[:3]] == ["row 1", "row 4", "row 5"]
    assert wrong[-1] == "row 1199 has no text and no picture"


def test_a_damaged_row_group_costs_only_itself(tmp_path: Path) -> None:
    table = {"caption": [f"caption {number} {os.urandom(50).hex()}" for number in range(300)]}
    path = parquet(tmp_path / "a.parquet", table, group=100)
    with pa.parquet.ParquetFile(path) as file:
        chunk = file.metadata.row_group(1).column(0)
    data = bytearray(path.read_bytes())
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    data[start : start + 200] = b"\xff" * 200
    path.write_bytes(data)
    found, wrong = read(path)
    assert {row.fragment for row in found} >= {"row 1", "row 100", "row 201", "row 300"}
    assert len(wrong) == 1
    assert wrong[0].startswith("rows 101 to 200: not all can be read (")


def test_a_text_that_is_not_utf_8_costs_only_its_row(tmp_path: Path) -> None:
    captions = pa.array([b"one", b"caf\xe9", b"three"]).view(pa.string())
    found, wrong = read(parquet(tmp_path / "a.parquet", {"caption": captions}))
    assert [row.texts for row in found] == [("one",), ("three",)]
    assert len(wrong) == 1
    assert wrong[0].startswith("row 2 cannot be read (")


@pytest.mark.parametrize("keep", [3, 100, 2000])
def test_what_is_no_whole_parquet_file_is_refused(tmp_path: Path, keep: int) -> None:
    path = parquet(tmp_path / "a.parquet", {"caption": [f"number {n}" for n in range(1000)]})
    path.write_bytes(path.read_bytes()[:keep])
    assert refusal(path).startswith("not a parquet file that can be read (")


# webdataset


def test_samples_of_an_archive_are_read_as_webdataset_writes_them(tmp_path: Path) -> None:
    path = shard(
        tmp_path / "a.tar",
        ("./part.1/0001.JPG", b"one"),
        ("./part.1/0001.cls", b"7"),
        ("./part.1/0001.json", b'{"caption": "a dog", "title": "Rex", "tags": ["x"], "id": 3}'),
        ("./part.1/0001.txt", "a dog — 犬".encode()),
        ("0002.txt", "Käse".encode("cp1252")),
        ("0002.webp", b"two"),
        ("0003.json", b'{"captions": ["no picture"]}'),
        ("README", b"no sample"),
        ("._0004.jpg", b"hidden"),
        ("IMG.2020.01.png", b"four"),
        ("IMG.2020.02.png", b"five"),
    )
    found, wrong = read(path)
    assert wrong == []
    assert found == [
        Row("sample part.1/0001", ("a dog", "a dog — 犬", "Rex"), b"one", None, "Rex", ("x",)),
        Row("sample 0002", ("Käse",), b"two"),
        Row("sample 0003", ("no picture",)),
        Row("sample IMG.2020.01", (), b"four"),
        Row("sample IMG.2020.02", (), b"five"),
    ]
    assert [row.texts for row in read(path, CAPTION)[0]][:2] == [("a dog",), ()]
    assert refusal(path, Columns(("alt",))).startswith('it has no column "alt"; it has: "caption"')


def test_only_regular_files_inside_the_archive_are_read(tmp_path: Path) -> None:
    odd = []
    for name, kind in (
        ("a.jpg", tarfile.SYMTYPE),
        ("b.jpg", tarfile.LNKTYPE),
        ("c.jpg", tarfile.CHRTYPE),
    ):
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "/etc/passwd"
        odd.append(info)
    files = [
        ("/d.jpg", b"d"),
        ("../e.jpg", b"e"),
        ("f.jpg", b"f"),
        ("f.png", b"g"),
        ("g\n.jpg", b"h"),
    ]
    found, wrong = read(
        shard(tmp_path / "a.tar", *odd, *files, ("i.json", b"[1]"), ("j.json", b"{"))
    )
    assert found == [Row("sample f", (), b"f"), Row("sample g\ufffd", (), b"h")]
    assert wrong == [
        *(f"{name}.jpg is left out: a link or a special file" for name in "abc"),
        "/d.jpg is left out: its name leads out of the archive",
        "../e.jpg is left out: its name leads out of the archive",
        "f.png is left out: sample f has a picture already",
        "i.json is not a JSON object",
        "j.json is not JSON",
    ]


@pytest.mark.parametrize("keep", [512 * 2 + 1, 512 * 2 + 700, 512 * 2 + 512 + 7, 512 * 4])
def test_an_archive_that_ends_early_gives_what_is_there(tmp_path: Path, keep: int) -> None:
    path = shard(tmp_path / "a.tar", ("1.jpg", b"1" * 512), ("2.jpg", b"2" * 512))
    path.write_bytes(path.read_bytes()[:keep])
    found, wrong = read(path)
    assert [row.image for row in found][:1] == [b"1" * 512]
    assert len(found) == (2 if keep == 512 * 4 else 1)
    assert wrong == ["the archive ends early; what is there was read"]


def test_a_damaged_archive_gives_what_stands_before_the_damage(tmp_path: Path) -> None:
    path = shard(tmp_path / "a.tar", ("1.jpg", b"1" * 512), ("2.jpg", b"2" * 512))
    data = bytearray(path.read_bytes())
    data[1024:1536] = b"\xaa" * 512
    path.write_bytes(data)
    found, wrong = read(path)
    assert [row.image for row in found] == [b"1" * 512]
    assert wrong == ["the archive is damaged at byte 1024; the rest is left out"]


def header(name: bytes, size: bytes, kind: bytes = b"0") -> bytes:
    block = bytearray(512)
    block[: len(name)], block[124:136], block[156:157] = name, size.ljust(12, b"\0"), kind
    block[257:265] = b"ustar\x0000"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(header(b"2.jpg", b"\xff" * 12), id="negative size"),
        pytest.param(header(b"x", b"77777777777", b"x"), id="attributes of 8 GiB"),
        pytest.param(header(b"x", b"77777777777", b"L"), id="name of 8 GiB"),
        pytest.param(header(b"x", b"\xff" * 12, b"x"), id="attributes of negative size"),
        pytest.param(header(b"x", b"00000000000", b"x") * 2000, id="attributes of attributes"),
    ],
)
def test_a_hostile_archive_ends_in_bounded_time_and_memory(tmp_path: Path, second: bytes) -> None:
    path = shard(tmp_path / "a.tar", ("1.jpg", b"1" * 512))
    path.write_bytes(path.read_bytes()[:1024] + second + bytes(4096))
    found, wrong = read(path)
    assert [row.image for row in found] == [b"1" * 512]
    assert len(wrong) == 1


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(b"no archive" * 1000)
    assert refusal(path) == "not a tar archive, or a compressed one: unpack it first"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(__file__, "a.txt")
    assert refusal(path) == "not a tar archive, or a compressed one: unpack it first"
    assert refusal(shard(path)) == "there is no row in it"


# all of them


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Of the five kinds, each some 8 MB and read in far less."""
    count, said = 400, "word " * 4000
    with (tmp_path / "a.csv").open("w") as file:
        file.write("caption\n" + f"{said}\n" * count)
    (tmp_path / "a.tsv").write_bytes((tmp_path / "a.csv").read_bytes())
    jsonl(tmp_path / "a.jsonl", ({"caption": said} for _ in range(count)))
    shard(tmp_path / "a.tar", *((f"{number}.txt", said.encode()) for number in range(count)))
    noise = [f"{number} {said}" for number in range(count)]
    parquet(tmp_path / "a.parquet", {"caption": noise}, group=20)
    for path in sorted(tmp_path.iterdir()):
        tracemalloc.start()
        before = pa.total_allocated_bytes()
        held = [pa.total_allocated_bytes() for _ in rows(str(path), Columns(), print)]
        peak = tracemalloc.get_traced_memory()[1] + max(held) - before
        tracemalloc.stop()
        assert len(held) == count
        assert peak < 3_000_000, f"{path.name}: {peak:,} bytes"


def test_a_pipe_in_place_of_a_corpus_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jsonl")
    with pytest.raises(OSError, match="not a regular file"):
        list(rows(str(tmp_path / "a.jsonl"), Columns(), print))


def corpora(folder: Path) -> list[Path]:
    """Write one corpus in each shape, with the columns "caption" and "title"."""
    table = {"caption": ["a dog", "a cat"], "title": ["Rex", "Tom"]}
    lines = [{"title": "Rex"}, {"caption": "a cat", "title": "Tom"}]
    with tarfile.open(folder / "a.tar", "w") as archive:
        for number, one in enumerate(lines):
            data = json.dumps(one).encode()
            member = tarfile.TarInfo(f"{number}.json")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return [
        jsonl(folder / "a.jsonl", lines),
        written(folder / "a.csv", "caption,title\na dog,Rex\n"),
        written(folder / "a.tsv", "caption\ttitle\na dog\tRex\n"),
        parquet(folder / "a.parquet", table),
        folder / "a.tar",
    ]


def test_a_column_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    for path in corpora(tmp_path):
        assert lacking(str(path), Columns(("caption", "Title"))) == ""
        said = lacking(str(path), Columns(("caption", "tale")))
        assert said.startswith('it has no column "tale"; it has: ')
        assert '"caption"' in said and '"title"' in said
        assert said == refusal(path, Columns(("caption", "tale")))


def test_a_column_of_another_type_is_told_with_all_columns(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", {"caption": ["a dog"], "id": [1]})
    assert lacking(str(path), Columns(("id",))).startswith('the column "id" holds no texts')
    assert lacking(str(path), Columns(image="id")).startswith('the column "id" holds no pictures')
    assert all(
        '"caption"' in lacking(str(path), one) for one in (Columns(("id",)), Columns(image="id"))
    )


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet", "a.tar"])
@pytest.mark.parametrize("data", [b"", b"\0\1\2" * 999, None])
def test_of_a_file_that_cannot_be_read_no_column_is_said_to_lack(
    tmp_path: Path, name: str, data: bytes | None
) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    assert lacking(str(tmp_path / name), Columns(("tale",))) == ""


def test_columns_are_looked_for_no_further_than_needed(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [{"caption": "a"}])
    with path.open("ab") as file:
        file.write(b"\xff no JSON\n" * 100_000)
    started = time.perf_counter()
    assert lacking(str(path), CAPTION) == ""
    reading = time.perf_counter()
    assert lacking(str(path), Columns(("tale",))) != ""
    assert reading - started < time.perf_counter() - reading


def test_a_picture_that_is_not_there_is_named(tmp_path: Path) -> None:
    paint(tmp_path / "red.png", "red")
    table = "image,path,caption\nred.png,,a\ngone.png,,b\nhttps://x.org/a.png,,c\n,notes.pdf,d\ngone.png,red.png,e\n"
    found, wrong = read(written(tmp_path / "a.csv", table))
    assert wrong == []
    assert [row.missing for row in found] == ["", "gone.png", "", "", ""]


def test_a_short_table_in_latin_1_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "id,text\n1,Müll\n2,für\n", "latin-1")
    assert texts(path) == {"row 1": ("Müll",), "row 2": ("für",)}
