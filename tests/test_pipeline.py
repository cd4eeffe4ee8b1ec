import json
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from indexer.pipeline import index, index_into
from searchx.catalog import Catalog
from searchx.errors import BadInput, LibraryInUse, SpaceMismatch
from searchx.records import Item, Pixels, Report, Vectors
from tests.colour import COLOURS, ColourEncoder, paint
from tests.mere_user import as_mere_user


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "library", create=True)
    yield opened
    opened.close()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for colour in ("red", "green", "blue"):
        paint(tmp_path / "photos" / f"{colour}.png", colour)
    return tmp_path / "photos"


class Journal:
    """A progress that writes down what it is told."""

    def __init__(self) -> None:
        self.announced: list[tuple[int, int]] = []
        self.steps: list[tuple[int, int, int]] = []

    def found(self, files: int, unchanged: int) -> None:
        self.announced.append((files, unchanged))

    def done(self, files: int, images: int, texts: int) -> None:
        self.steps.append((files, images, texts))

    def total(self) -> tuple[int, ...]:
        return tuple(sum(column) for column in zip(*self.steps, strict=True))


class TiredEncoder(ColourEncoder):
    """Stops like a user with Ctrl-C once it has embedded so many batches."""

    def __init__(self, batches: int) -> None:
        super().__init__()
        self.batches = batches

    def embed_images(self, pixels: Sequence[Pixels]) -> Vectors:
        if not self.batches:
            raise KeyboardInterrupt
        self.batches -= 1
        return super().embed_images(pixels)


def counts(report: Report) -> dict[str, int]:
    numbers = {
        name: getattr(report, name)
        for name in ("added", "unchanged", "moved", "updated", "removed", "embedded")
    }
    numbers["skipped"] = len(report.skipped)
    return {name: number for name, number in numbers.items() if number}


def everything(catalog: Catalog) -> list[Item]:
    images, _, _ = catalog.read_vectors("image")
    texts, _, _ = catalog.read_vectors("text")
    return list(catalog.items([*images.tolist(), *texts.tolist()]).values())


def paths(catalog: Catalog) -> set[str]:
    return {Path(path).name for item in everything(catalog) for path in item.paths}


def test_a_folder_of_pictures_and_texts_is_embedded(catalog: Catalog, photos: Path) -> None:
    (photos / "notes.txt").write_text("a red barn\n\nblue sky")
    report = index([photos], catalog, ColourEncoder())
    assert counts(report) == {"added": 4, "embedded": 5}
    assert report.images_per_second > 0
    items = {item.path: item for item in everything(catalog) if item.kind == "image"}
    assert set(items) == {str(photos / f"{colour}.png") for colour in ("red", "green", "blue")}
    red = items[str(photos / "red.png")]
    assert (red.width, red.height) == (64, 48)
    assert red.locations[0].source == str(photos)
    texts = [item for item in everything(catalog) if item.kind == "text"]
    assert [(item.text, item.locations[0].fragment) for item in texts] == [
        *(("a red barn", "line 1"), ("blue sky", "line 3"))
    ]


def test_each_vector_stands_beside_its_own_picture(catalog: Catalog, tmp_path: Path) -> None:
    encoder = ColourEncoder()
    for number in range(40):  # several batches, read by several threads
        paint(tmp_path / "many" / f"{number:02}.png", (6 * number, 255 - 5 * number, number))
    index([tmp_path / "many"], catalog, encoder)
    ids, vectors, _ = catalog.read_vectors("image")
    items = catalog.items(ids.tolist())
    for row, item_id in enumerate(ids.tolist()):
        with Image.open(items[item_id].path) as image:
            alone = encoder.embed_images([encoder.prepare(image)])[0]
        assert np.allclose(vectors[row], alone, atol=2e-3)


def test_the_second_run_reads_and_embeds_nothing(catalog: Catalog, photos: Path) -> None:
    (photos / "broken.jpg").write_bytes(b"no picture")
    index([photos], catalog, ColourEncoder())
    for path in photos.iterdir():  # same size, same time, other bytes: only a reader could tell
        about = path.stat()
        path.write_bytes(bytes(about.st_size))
        os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    encoder = ColourEncoder()
    report = index([photos], catalog, encoder)
    assert counts(report) == {"unchanged": 3, "skipped": 1}
    assert "not a picture" in report.skipped[0].reason
    assert encoder.embedded_images == 0


def test_bad_files_are_reported_and_good_neighbours_kept(catalog: Catalog, photos: Path) -> None:
    (photos / "empty.jpg").touch()
    (photos / "text.jpg").write_text("hello")
    (photos / "half.png").write_bytes((photos / "red.png").read_bytes()[:60])
    (photos / "binary.txt").write_bytes(b"\x00\x01\x02")
    (photos / "gone.jpg").symlink_to(photos / "nowhere.jpg")
    (photos / "film.mp4").touch()
    report = index([photos], catalog, ColourEncoder())
    assert counts(report) == {"added": 3, "embedded": 3, "skipped": 5}
    assert {Path(one.path).name for one in report.skipped} == {
        *("empty.jpg", "text.jpg", "half.png", "binary.txt", "gone.jpg")
    }
    assert set(catalog.skipped()) == set(report.skipped)
    again = index([photos], catalog, ColourEncoder())
    assert set(again.skipped) == set(report.skipped)
    shutil.copy(photos / "blue.png", photos / "empty.jpg")
    mended = index([photos], catalog, ColourEncoder())
    assert counts(mended) == {"added": 1, "unchanged": 3, "skipped": 4}


def test_a_moved_file_costs_no_embedding(catalog: Catalog, photos: Path) -> None:
    index([photos], catalog, ColourEncoder())
    before = {item.digest: item.id for item in everything(catalog)}
    (photos / "sub").mkdir()
    (photos / "red.png").rename(photos / "sub" / "rouge.png")
    encoder = ColourEncoder()
    assert counts(index([photos], catalog, encoder)) == {"unchanged": 2, "moved": 1}
    assert encoder.embedded_images == 0
    assert {item.digest: item.id for item in everything(catalog)} == before
    assert paths(catalog) == {"rouge.png", "green.png", "blue.png"}


def test_a_copy_is_a_second_location(catalog: Catalog, photos: Path) -> None:
    index([photos], catalog, ColourEncoder())
    shutil.copy(photos / "red.png", photos / "copy.png")
    encoder = ColourEncoder()
    assert counts(index([photos], catalog, encoder)) == {"unchanged": 3, "added": 1}
    assert encoder.embedded_images == 0
    assert [len(item.locations) for item in everything(catalog)].count(2) == 1


def test_copies_within_one_run_are_embedded_once(catalog: Catalog, photos: Path) -> None:
    for number in range(20):
        shutil.copy(photos / "red.png", photos / f"copy{number}.png")
    encoder = ColourEncoder()
    assert counts(index([photos], catalog, encoder)) == {"added": 23, "embedded": 3}
    assert encoder.embedded_images == 3


def test_changed_content_replaces_the_old(catalog: Catalog, photos: Path) -> None:
    index([photos], catalog, ColourEncoder())
    paint(photos / "red.png", "yellow", size=(80, 80))
    report = index([photos], catalog, ColourEncoder())
    assert counts(report) == {"unchanged": 2, "updated": 1, "embedded": 1}
    assert sorted(item.width or 0 for item in everything(catalog)) == [64, 64, 80]


def test_a_touched_file_is_read_but_not_embedded(catalog: Catalog, photos: Path) -> None:
    index([photos], catalog, ColourEncoder())
    os.utime(photos / "red.png", ns=(1, 1))
    assert counts(index([photos], catalog, ColourEncoder())) == {"unchanged": 3}
    journal = Journal()
    index([photos], catalog, ColourEncoder(), journal)
    assert journal.announced == [(3, 3)]


def test_a_deleted_file_leaves_the_library(catalog: Catalog, photos: Path) -> None:
    index([photos], catalog, ColourEncoder())
    (photos / "red.png").unlink()
    assert counts(index([photos], catalog, ColourEncoder())) == {"unchanged": 2, "removed": 1}
    assert paths(catalog) == {"green.png", "blue.png"}
    assert catalog.counts()["image"] == 2


def test_a_file_that_broke_leaves_the_library(catalog: Catalog, photos: Path) -> None:
    index([photos], catalog, ColourEncoder())
    (photos / "red.png").write_bytes(b"")
    assert counts(index([photos], catalog, ColourEncoder())) == {"unchanged": 2, "skipped": 1}
    assert paths(catalog) == {"green.png", "blue.png"}
    (photos / "red.png").unlink()
    assert counts(index([photos], catalog, ColourEncoder())) == {"unchanged": 2}
    assert catalog.skipped() == ()


def test_a_missing_source_changes_nothing(catalog: Catalog, photos: Path) -> None:
    with pytest.raises(BadInput, match="does not exist"):
        index([photos, photos / "none"], catalog, ColourEncoder())
    assert catalog.space() is None
    assert catalog.sources() == ()


def test_a_missing_source_makes_no_library(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="does not exist"):
        index_into(tmp_path / "library", [tmp_path / "none"], ColourEncoder())
    assert not (tmp_path / "library").exists()


def test_an_emptied_source_is_not_taken_for_a_deletion(catalog: Catalog, photos: Path) -> None:
    index([photos], catalog, ColourEncoder())
    photos.rename(photos.with_name("elsewhere"))
    photos.mkdir()
    report = index([photos], catalog, ColourEncoder())
    assert counts(report) == {}
    assert len(report.notes) == 1
    assert str(photos) in report.notes[0]
    assert paths(catalog) == {"red.png", "green.png", "blue.png"}
    photos.rmdir()
    photos.with_name("elsewhere").rename(photos)
    assert counts(index([photos], catalog, ColourEncoder())) == {"unchanged": 3}


@pytest.mark.parametrize("name", ["", "film.mp4"])
def test_a_folder_with_nothing_to_index_is_told(
    catalog: Catalog, tmp_path: Path, name: str
) -> None:
    (tmp_path / "none").mkdir()
    if name:
        (tmp_path / "none" / name).touch()
    report = index([tmp_path / "none"], catalog, ColourEncoder())
    assert counts(report) == {}
    assert report.notes == (f"{tmp_path / 'none'} holds nothing that searchx indexes",)


def test_corpus_files_left_out_of_a_folder_are_told(catalog: Catalog, photos: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        (photos / name).write_text('{"text": "red"}')
    report = index([photos], catalog, ColourEncoder())
    assert report.notes == (f"{photos}: 2 .jsonl files were left out; name them to index them",)
    report = index([photos, photos / "a.jsonl"], catalog, ColourEncoder())
    assert report.notes == (f"{photos}: 1 .jsonl file was left out; name it to index it",)
    index([photos / "b.jsonl"], catalog, ColourEncoder())
    assert index([photos], catalog, ColourEncoder()).notes == ()


def test_a_file_that_was_a_source_too_leaves_with_its_folder(
    catalog: Catalog, photos: Path
) -> None:
    index([photos / "red.png"], catalog, ColourEncoder())
    assert counts(index([photos], catalog, ColourEncoder())) == {"added": 3, "embedded": 2}
    (photos / "red.png").unlink()
    assert counts(index([photos], catalog, ColourEncoder())) == {"unchanged": 2, "removed": 1}
    assert paths(catalog) == {"green.png", "blue.png"}
    assert counts(index([photos], catalog, ColourEncoder())) == {"unchanged": 2}


def test_a_renamed_source_moves_when_its_parent_is_indexed(catalog: Catalog, photos: Path) -> None:
    index([photos], catalog, ColourEncoder())
    photos.rename(photos.with_name("pics"))
    encoder = ColourEncoder()
    assert counts(index([photos.parent], catalog, encoder)) == {"moved": 3}
    assert encoder.embedded_images == 0
    assert {Path(path).parent.name for item in everything(catalog) for path in item.paths} == {
        "pics"
    }


def test_an_emptied_source_is_forgotten_with_its_parent(catalog: Catalog, photos: Path) -> None:
    index([photos], catalog, ColourEncoder())
    for path in photos.iterdir():
        path.unlink()
    (note,) = index([photos], catalog, ColourEncoder()).notes
    assert note.endswith("(files: 3); index its parent folder to forget them")
    (note,) = index([photos.parent], catalog, ColourEncoder()).notes  # as empty as its folder
    assert note.endswith("(files: 3); index its parent folder to forget them")
    (photos.parent / "film.mp4").touch()
    assert counts(index([photos.parent], catalog, ColourEncoder())) == {"removed": 3}
    assert everything(catalog) == []


def test_other_sources_in_a_folder_keep_what_is_there(catalog: Catalog, photos: Path) -> None:
    (photos / "captions.jsonl").write_text('{"text": "red"}')
    paint(photos / ".hidden" / "a.png", "white")
    index([photos / "captions.jsonl", photos / ".hidden"], catalog, ColourEncoder())
    outside = paint(photos.with_name("photos2") / "a.png", "pink")
    index([outside], catalog, ColourEncoder())
    outside.unlink()
    assert counts(index([photos], catalog, ColourEncoder())) == {"added": 3, "embedded": 3}
    assert len(everything(catalog)) == 6


@pytest.mark.parametrize("name", ["drive", "a.png"])
def test_what_is_behind_a_link_stays_while_its_drive_is_unplugged(
    catalog: Catalog, photos: Path, name: str
) -> None:
    target = paint(photos.with_name("drive") / "a.png", "orange")
    (photos / name).symlink_to(target if name == "a.png" else target.parent)
    index([photos], catalog, ColourEncoder())
    if name == "drive":  # a source of its own as well
        index([photos / name], catalog, ColourEncoder())
    target.parent.rename(photos.with_name("unplugged"))
    report = index([photos], catalog, ColourEncoder())
    assert counts(report) == {"unchanged": 3, "skipped": 1}
    assert len(everything(catalog)) == 4
    photos.with_name("unplugged").rename(target.parent)
    assert counts(index([photos], catalog, ColourEncoder())) == {"unchanged": 4}
    (photos / name).unlink()
    assert counts(index([photos], catalog, ColourEncoder())) == {"unchanged": 3, "removed": 1}
    assert len(everything(catalog)) == 3


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions do not bind anybody here")
def test_what_cannot_be_read_for_now_is_kept() -> None:
    with tempfile.TemporaryDirectory() as place:  # pytest's own folder is closed to other users
        root = Path(place)
        for name in ("a.png", "b.png", "sub/c.png"):
            paint(root / "photos" / name, (80, 10 * len(name), ord(name[-5])))
        with closing(Catalog.open(root / "library", create=True)) as catalog:
            index([root / "photos"], catalog, ColourEncoder())
        assert as_mere_user(_index_past_what_is_closed, root) == 0


def _index_past_what_is_closed(folder: str) -> None:
    photos = Path(folder) / "photos"
    with closing(Catalog.open(Path(folder) / "library")) as catalog:
        for time, closed in enumerate((photos / "sub", photos / "sub" / "c.png"), start=1):
            os.utime(photos / "sub" / "c.png", ns=(time, time))
            mode = closed.stat().st_mode
            closed.chmod(0)
            report = index([photos], catalog, ColourEncoder())
            closed.chmod(mode)
            assert [one.path for one in report.skipped] == [str(closed)]
            assert counts(report) == {"unchanged": 2, "skipped": 1}
            assert len(everything(catalog)) == 3
            assert counts(index([photos], catalog, ColourEncoder())) == {"unchanged": 3}
            assert catalog.skipped() == ()


@pytest.mark.parametrize("batches", [0, 1, 3])
def test_an_interrupted_run_goes_on_where_it_stopped(
    catalog: Catalog, tmp_path: Path, batches: int
) -> None:
    for number in range(30):
        paint(tmp_path / "many" / f"{number:02}.png", (8 * number, 0, 0))
    tired = TiredEncoder(batches)
    with pytest.raises(KeyboardInterrupt):
        index([tmp_path / "many"], catalog, tired)
    assert tired.embedded_images == 8 * batches
    assert len(everything(catalog)) == 8 * batches
    assert not [one for one in threading.enumerate() if one.name.startswith("decode")]
    fresh = ColourEncoder()
    report = index([tmp_path / "many"], catalog, fresh)
    assert counts(report) == {
        name: number
        for name, number in {
            "added": 30 - 8 * batches,
            "unchanged": 8 * batches,
            "embedded": 30 - 8 * batches,
        }.items()
        if number
    }
    assert fresh.embedded_images == 30 - 8 * batches
    assert len(everything(catalog)) == 30


def test_an_interrupted_long_text_is_finished_and_left_whole(
    catalog: Catalog, tmp_path: Path
) -> None:
    class StopsAtTexts(ColourEncoder):
        calls = 0

        def embed_texts(self, texts: Sequence[str]) -> Vectors:
            self.calls += 1
            if self.calls > 2:
                raise KeyboardInterrupt
            return super().embed_texts(texts)

    book = tmp_path / "book.txt"
    book.write_text("\n\n".join(f"red page {number}" for number in range(600)))
    with pytest.raises(KeyboardInterrupt):
        index([book], catalog, StopsAtTexts())
    assert everything(catalog) == []  # no location before the file is there as a whole
    assert counts(index([book], catalog, ColourEncoder())) == {"added": 1, "embedded": 600 - 512}
    assert len(everything(catalog)) == 600


def test_a_corpus_file_is_a_source(catalog: Catalog, tmp_path: Path, photos: Path) -> None:
    corpus = photos / "captions.jsonl"
    rows = [{"image": "red.png", "captions": ["red", "crimson red"]}, {"text": "blue"}]
    corpus.write_text("\n".join(json.dumps(row) for row in rows) + "\nnot json\n")
    report = index([corpus], catalog, ColourEncoder())
    assert counts(report) == {"added": 1, "embedded": 3}
    assert report.notes == (f"{corpus}: lines left out: 1; first: line 3 is not JSON",)
    assert catalog.counts() == {"image": 0, "text": 3, "files": 1}
    corpus.write_text('{"text": "blue"}\n{"text": "blue"}\n')
    assert counts(index([corpus], catalog, ColourEncoder())) == {"updated": 1}
    (item,) = everything(catalog)
    assert [place.fragment for place in item.locations] == ["line 1", "line 2"]


def test_several_sources_at_once_and_a_move_between_them(catalog: Catalog, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    paint(one / "a.png", "red")
    paint(one / "b.png", "green")
    paint(other / "c.png", "blue")
    assert counts(index([one, other, one], catalog, ColourEncoder()))["added"] == 3
    (one / "a.png").rename(other / "a.png")
    report = index([other, one], catalog, ColourEncoder())
    assert counts(report) == {"moved": 1, "unchanged": 2}
    assert catalog.sources() == (str(one), str(other))


def test_a_picture_alone_is_a_source(catalog: Catalog, photos: Path) -> None:
    assert counts(index([photos / "red.png"], catalog, ColourEncoder()))["added"] == 1
    assert counts(index([photos / "red.png"], catalog, ColourEncoder())) == {"unchanged": 1}


def test_the_library_inside_a_source_is_left_out(photos: Path) -> None:
    index_into(photos / "library", str(photos), ColourEncoder())
    paint(photos / "library" / "thumbnail.png", "pink")
    report = index_into(photos / "library", [photos], ColourEncoder())
    assert counts(report) == {"unchanged": 3}
    with pytest.raises(BadInput, match="is the library itself"):
        index_into(photos / "library", [photos / "library"], ColourEncoder())


def test_another_encoder_is_refused(catalog: Catalog, photos: Path) -> None:
    index([photos], catalog, ColourEncoder())
    with pytest.raises(SpaceMismatch):
        index([photos], catalog, ColourEncoder("other"))


def test_there_is_one_indexer_at_a_time(catalog: Catalog, photos: Path) -> None:
    with catalog.indexing(), pytest.raises(LibraryInUse):
        index_into(catalog.directory, [photos], ColourEncoder())


def test_progress_adds_up(catalog: Catalog, photos: Path) -> None:
    index([photos / "red.png"], catalog, ColourEncoder())
    (photos / "broken.jpg").touch()
    (photos / "notes.txt").write_text("\n\n".join(f"page {number}" for number in range(20)))
    journal = Journal()
    report = index([photos], catalog, ColourEncoder(), journal)
    assert journal.announced == [(5, 0)]
    assert journal.total() == (5, 2, 20)
    assert report.embedded == 22


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes any bytes as a name")
def test_names_that_are_not_utf8_are_indexed(catalog: Catalog, photos: Path) -> None:
    (photos / "red.png").rename(photos / os.fsdecode(b"caf\xe9.png"))
    index([photos], catalog, ColourEncoder())
    assert os.fsdecode(b"caf\xe9.png") in paths(catalog)
    assert counts(index([photos], catalog, ColourEncoder())) == {"unchanged": 3}


FILES = st.dictionaries(
    st.sampled_from(["a.png", "b.bmp", "sub/c.png", "sub/d.jpg", "e.txt", "f.md"]),
    st.sampled_from([*sorted(COLOURS), "empty", "broken"]),
    max_size=6,
)


def build(root: Path, files: dict[str, str]) -> None:
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(exist_ok=True)
        if content in ("empty", "broken"):
            path.write_bytes(b"" if content == "empty" else b"\x00\x01\x02")
        elif path.suffix in (".txt", ".md"):
            path.write_text(content)
        else:
            paint(path, content)


def contents(catalog: Catalog) -> set[tuple[str, str, str]]:
    return {
        (item.digest, place.path, place.fragment)
        for item in everything(catalog)
        for place in item.locations
    }


@settings(max_examples=25, deadline=None)
@given(before=FILES, after=FILES)
def test_indexing_twice_changes_nothing_and_equals_indexing_once(
    before: dict[str, str], after: dict[str, str]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        grown = Catalog.open(Path(folder) / "grown", create=True)
        anew = Catalog.open(Path(folder) / "anew", create=True)
        build(root, before)
        index([root], grown, ColourEncoder())
        build(root, after | {"last.png": "white"})
        index([root], grown, ColourEncoder())
        version, found = grown.version(), contents(grown)
        twice = index([root], grown, ColourEncoder())
        assert twice.embedded == twice.added == twice.updated == twice.removed == 0
        assert (grown.version(), contents(grown)) == (version, found)
        once = index([root], anew, ColourEncoder())
        assert contents(anew) == found
        assert set(twice.skipped) == set(once.skipped)
        assert twice.unchanged == once.added
        grown.close()
        anew.close()
