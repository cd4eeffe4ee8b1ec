import io
import json
import multiprocessing
import os
import shutil
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from indexer.datasets.corpora import Columns
from indexer.decoding.decode import Content, End, Shot, Task, read
from indexer.files import Found
from indexer.formats import form_of
from indexer.prose.texts import Extract
from searchx.fitting import Fitting
from searchx.identity import digest_bytes
from searchx.records import Pixels
from tests.colour import paint
from tests.mere_user import as_mere_user

ORIENTATION = 0x0112
DESCRIPTION = 0x010E


@dataclass
class CountingFit:
    """Fits as the colour encoder does and counts the pictures that it is given."""

    side: int = 16
    calls: list[tuple[int, int]] = field(default_factory=list)

    def __call__(self, image: Image.Image) -> Pixels:
        self.calls.append(image.size)
        return Fitting((16, 16), "squash", "box")(image)


def nothing_is_known(digest: str) -> bool:
    return False


def task(path: Path, *sidecars: Path, columns: Columns | None = None) -> Task:
    form = form_of(path.name)
    assert form
    about = path.stat()
    named = tuple(str(one) for one in sidecars)
    found = Found(str(path), form, about.st_size, about.st_mtime_ns, named, "signature")
    return Task(found, columns or Columns())


def contents_of(path: Path, *sidecars: Path) -> list[Content]:
    return list(read(task(path, *sidecars), CountingFit(), nothing_is_known))


def end_of(contents: list[Content]) -> End:
    assert isinstance(contents[-1], End)
    assert not any(isinstance(one, End) for one in contents[:-1])
    return contents[-1]


def shots_of(contents: list[Content]) -> list[Shot]:
    return [one for one in contents if isinstance(one, Shot)]


def texts_of(contents: list[Content]) -> list[Extract]:
    return [one for one in contents if isinstance(one, Extract)]


def reason_for(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    contents = contents_of(path)
    assert len(contents) == 1
    problem = end_of(contents).problem
    assert problem is not None
    assert problem.lasting
    assert problem.path == str(path)
    assert "\n" not in problem.reason
    assert str(path) not in problem.reason  # the path stands beside the reason
    return problem.reason


def packed(colour: tuple[int, int, int] = (200, 0, 0), form: str = "PNG") -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(data, form)
    return data.getvalue()


def test_a_picture_becomes_one_shot_with_its_full_size(tmp_path: Path) -> None:
    path = paint(tmp_path / "a.jpg", "red", size=(640, 480))
    shot, end = contents_of(path)
    assert isinstance(shot, Shot)
    assert isinstance(end, End)
    assert (shot.width, shot.height, shot.fragment, shot.subject) == (640, 480, "", str(path))
    assert shot.digest == digest_bytes(path.read_bytes())
    assert shot.pixels is not None
    assert shot.pixels.shape == (16, 16, 3)
    assert shot.pixels.dtype == np.uint8
    assert shot.metadata is not None
    assert (shot.metadata.format, shot.metadata.orientation) == ("JPEG", "landscape")
    assert shot.metadata.bytes == path.stat().st_size
    assert end == End(path.stat().st_size, path.stat().st_mtime_ns, "signature")


@pytest.mark.parametrize("known", [True, False])
def test_what_stands_sideways_in_the_file_is_told_upright(tmp_path: Path, known: bool) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.new("RGB", (64, 48), "red").save(tmp_path / "a.jpg", exif=exif)
    shot = next(read(task(tmp_path / "a.jpg"), CountingFit(), lambda digest: known))
    assert isinstance(shot, Shot)
    assert (shot.width, shot.height) == (48, 64)
    assert shot.metadata is not None
    assert (shot.metadata.format, shot.metadata.orientation) == ("JPEG", "portrait")


def test_a_picture_that_is_known_is_not_decoded(tmp_path: Path) -> None:
    fit = CountingFit()
    path = paint(tmp_path / "a.png", "red", size=(30, 30))
    shot, end = read(task(path), fit, lambda digest: digest == digest_bytes(path.read_bytes()))
    assert isinstance(shot, Shot)
    assert isinstance(end, End)
    assert fit.calls == []
    assert shot.pixels is None
    assert (shot.width, shot.height) == (30, 30)
    assert shot.metadata is not None
    assert (shot.metadata.format, shot.metadata.orientation) == ("PNG", "square")
    assert end.problem is None


def test_captions_in_the_picture_and_beside_it_belong_to_it(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[DESCRIPTION] = "A red barn"
    path = tmp_path / "a.jpg"
    Image.new("RGB", (64, 48), "red").save(path, exif=exif)
    (tmp_path / "a.txt").write_text("Under snow")
    (tmp_path / "a.json").write_text('{"keywords": ["winter"], "title": "Barn"}')
    (tmp_path / "a.xmp").write_text("<broken")
    contents = contents_of(path, *(tmp_path / name for name in ("a.txt", "a.json", "a.xmp")))
    (shot,) = shots_of(contents)
    assert isinstance(contents[0], Shot)  # before its texts
    assert shot.metadata is not None
    assert (shot.metadata.title, shot.metadata.format) == ("Barn", "JPEG")
    assert "winter" in shot.metadata.keywords
    texts = texts_of(contents)
    inside = Extract("A red barn", "caption", lines=False, subject=str(path), atomic=True)
    assert inside in texts
    assert {"A red barn", "Under snow"} <= {one.text for one in texts}
    assert {one.subject for one in texts} == {str(path)}
    assert [one.path for one in end_of(contents).problems] == [str(tmp_path / "a.xmp")]
    assert end_of(contents).problem is None


def test_bad_pictures_have_a_reason(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = io.BytesIO()
    Image.fromarray(noise).save(data, "JPEG")
    path = tmp_path / "a.jpg"
    assert "empty" in reason_for(path, b"")
    assert "not a picture" in reason_for(path, b"Dear diary, this is a text.")
    assert "decoded" in reason_for(path, data.getvalue()[:2000])


@pytest.mark.parametrize(("name", "limit"), [("a.tif", 512), ("a.txt", 64)])
def test_a_file_too_large_to_hold_is_refused_unread(tmp_path: Path, name: str, limit: int) -> None:
    with (tmp_path / name).open("wb") as file:
        file.truncate((limit << 20) + 1)  # a hole; it takes no space
    problem = end_of(contents_of(tmp_path / name)).problem
    assert problem is not None
    assert f"{limit} MiB" in problem.reason
    assert problem.lasting


@pytest.mark.parametrize("form", ["image", "text", "corpus"])
def test_a_file_that_is_gone_may_come_back(tmp_path: Path, form: str) -> None:
    names = {"image": "a.jpg", "text": "a.txt", "corpus": "a.jsonl"}
    path = tmp_path / names[form]
    path.write_bytes(b"x")
    gone = task(path)
    path.unlink()
    (end,) = read(gone, CountingFit(), nothing_is_known)
    assert isinstance(end, End)
    assert end.problem is not None
    assert not end.problem.lasting
    assert (end.size, end.mtime_ns) == (1, gone.found.mtime_ns)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
@pytest.mark.parametrize("name", ["a.jpg", "a.txt", "a.jsonl", "a.parquet"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"x")
    replaced = task(path)
    path.unlink()
    os.mkfifo(path)
    begun = time.monotonic()
    (end,) = read(replaced, CountingFit(), nothing_is_known)
    assert time.monotonic() - begun < 5
    assert isinstance(end, End)
    assert end.problem is not None
    assert "not a regular file" in end.problem.reason
    assert not end.problem.lasting


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has files longer than they say")
def test_a_file_that_changes_while_it_is_read_is_left_for_later() -> None:
    path = "/proc/self/status"  # its size is given as zero: it has grown when it was read
    found = Found(path, "text", 0, Path(path).stat().st_mtime_ns)
    (end,) = read(Task(found), CountingFit(), nothing_is_known)
    assert isinstance(end, End)
    assert end.problem is not None
    assert "changed while it was read" in end.problem.reason
    assert not end.problem.lasting


def test_a_corpus_that_changes_while_it_is_read_is_left_for_later(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps({"text": f"snow {n}"}) for n in range(1000)))
    reading = read(task(path), CountingFit(), nothing_is_known)
    assert isinstance(next(reading), Extract)
    with path.open("a") as file:
        file.write("\n")
    problem = end_of(list(reading)).problem
    assert problem is not None
    assert "changed while it was read" in problem.reason
    assert not problem.lasting


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions do not bind anybody here")
def test_a_file_without_permission_may_be_read_later() -> None:
    with tempfile.TemporaryDirectory() as place:  # pytest's own folder is closed to other users
        paint(Path(place) / "a.png", "red").chmod(0)
        assert as_mere_user(_read_without_permission, Path(place)) == 0


def _read_without_permission(folder: str) -> None:
    problem = end_of(contents_of(Path(folder) / "a.png")).problem
    assert problem is not None
    assert "Permission denied" in problem.reason
    assert not problem.lasting


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process")
def test_what_does_not_fit_into_memory_may_be_read_later(tmp_path: Path) -> None:
    Image.new("L", (10_000, 10_000)).save(tmp_path / "a.png", compress_level=1)
    with (tmp_path / "b.txt").open("wb") as file:
        file.truncate(1 << 26)  # a hole; it takes no space
    shutil.copy(tmp_path / "a.png", tmp_path / "c.png")
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_read_with_little_memory, args=(str(tmp_path),))
    process.start()
    process.join(120)
    assert process.exitcode == 0


def _read_with_little_memory(folder: str) -> None:
    import resource

    contents_of(paint(Path(folder) / "d.png", "red"))  # this has loaded the decoders
    status = Path("/proc/self/status").read_text().split()
    used = int(status[status.index("VmSize:") + 1]) << 10
    resource.setrlimit(resource.RLIMIT_AS, (used + (48 << 20), -1))
    for name in ("a.png", "b.txt", "c.png"):
        end = end_of(contents_of(Path(folder) / name))
        assert end.starved
        assert end.problem is not None
        assert end.problem.reason == "not enough memory to read it now"
        assert not end.problem.lasting
    one = task(Path(folder) / "a.png")
    end = end_of(list(read(one, CountingFit(), nothing_is_known, memory=48 << 20)))
    assert end.problem is not None
    assert end.problem.reason.startswith("it needs more than 48 MiB of memory")
    assert end.problem.lasting


@pytest.mark.parametrize("data", [b"", b" \n\t ", b"\x00\x01binary\x02"])
def test_bad_texts_have_a_reason(tmp_path: Path, data: bytes) -> None:
    assert reason_for(tmp_path / "a.txt", data)


def test_a_text_comes_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "A.MD"
    path.write_bytes("# Käse\r\n\r\nIm Café.\r\n".encode())
    (text, end) = contents_of(path)
    assert text == Extract("# Käse\n\nIm Café.\n")
    assert isinstance(end, End)
    assert end.problem is None


def test_a_corpus_gives_every_caption_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "captions.jsonl"
    picture = paint(tmp_path / "a.jpg", "red")
    rows = [{"image": "a.jpg", "captions": ["a red barn", "snow"]}, {"text": "a dog"}]
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\nnot json\n")
    contents = contents_of(path)
    assert [(one.text, one.fragment, one.subject, one.atomic) for one in texts_of(contents)] == [
        ("a red barn", "line 1", str(picture), True),
        ("snow", "line 1", str(picture), True),
        ("a dog", "line 2", None, True),
    ]
    assert shots_of(contents) == []  # the picture file is read where it stands
    assert end_of(contents).note.startswith("rows left out: 1; first: line 3")


def test_a_corpus_without_a_usable_row_is_refused(tmp_path: Path) -> None:
    assert "line 1" in reason_for(tmp_path / "a.jsonl", b"{}\n{}\n")
    assert "empty" in reason_for(tmp_path / "b.jsonl", b"")


def test_pictures_in_a_corpus_are_shots_and_a_bad_one_costs_itself_only(tmp_path: Path) -> None:
    path = tmp_path / "pictures.parquet"
    images = [packed(), b"no picture", packed((0, 0, 200))]
    table = {"image": [{"bytes": one, "path": None} for one in images], "caption": ["a", "b", "c"]}
    pq.write_table(pa.table(table), path)
    contents = contents_of(path)
    shots, texts = shots_of(contents), texts_of(contents)
    assert [one.digest for one in shots] == [digest_bytes(images[0]), digest_bytes(images[2])]
    assert all(one.subject == f"{path}\0{one.fragment}" for one in shots)
    assert all(one.metadata and one.metadata.bytes == len(images[0]) for one in shots)
    assert [one.text for one in texts] == ["a", "b", "c"]
    assert [one.subject for one in texts] == [shots[0].subject, None, shots[1].subject]
    assert len({one.fragment for one in texts}) == 3
    end = end_of(contents)
    assert end.problem is None
    assert end.note.startswith(f"rows left out: 1; first: {texts[1].fragment}: not a picture")


def test_a_picture_that_cannot_be_fitted_costs_its_row_only(tmp_path: Path) -> None:
    class Picky(CountingFit):
        def __call__(self, image: Image.Image) -> Pixels:
            if image.getpixel((0, 0)) == (0, 0, 200):
                raise ValueError("not in blue")
            return super().__call__(image)

    path = tmp_path / "pictures.parquet"
    images = [{"bytes": packed((0, 0, 200)), "path": None}, {"bytes": packed(), "path": None}]
    pq.write_table(pa.table({"image": images, "caption": ["a", "b"]}), path)
    contents = list(read(task(path), Picky(), nothing_is_known))
    assert [one.digest for one in shots_of(contents)] == [digest_bytes(packed())]
    assert [one.text for one in texts_of(contents)] == ["a", "b"]
    assert end_of(contents).problem is None
    assert "not in blue" in end_of(contents).note


def test_samples_of_a_tar_are_shots_with_their_texts(tmp_path: Path) -> None:
    path = tmp_path / "shard.tar"
    with tarfile.open(path, "w") as tar:
        for name, data in (("000001.png", packed()), ("000001.txt", b"a red wall")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    contents = contents_of(path)
    (shot,), (text,) = shots_of(contents), texts_of(contents)
    assert (text.text, text.subject) == ("a red wall", shot.subject)
    assert end_of(contents).problem is None


def test_an_error_of_asking_is_passed_on(tmp_path: Path) -> None:
    def ask(digest: str) -> bool:
        raise OSError(5, "the catalog is gone")

    with pytest.raises(OSError, match="the catalog is gone"):
        list(read(task(paint(tmp_path / "a.png", "red")), CountingFit(), ask))
