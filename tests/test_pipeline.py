import json
import os
import shutil
import subprocess
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

from indexer import pipeline
from indexer.pipeline import index_into
from indexer.planning import Options
from indexer.rules import Rules
from searchx.catalog import Catalog
from searchx.errors import BadInput, LibraryInUse, SpaceMismatch
from searchx.records import Item, Pace, Pixels, Report, Vectors
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


INLINE = Options(workers=0)


def index(
    sources: Sequence[Path | str],
    catalog: Catalog,
    encoder: ColourEncoder,
    progress: pipeline.Progress | None = None,
    options: Options = INLINE,
    rules: Rules | None = None,
) -> Report:
    """Index without processes, which take longer to start than these few files to read."""
    return pipeline.index(sources, catalog, encoder, progress, options=options, rules=rules)


class Journal:
    """A progress that writes down what it is told."""

    def __init__(self) -> None:
        self.announced: list[tuple[int, int]] = []
        self.steps: list[tuple[int, int, int]] = []

    def found(self, files: int, unchanged: int) -> None:
        self.announced.append((files, unchanged))

    def done(self, files: int, images: int, texts: int, pace: Pace) -> None:
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
            alone = encoder.embed_images([encoder.fit(image)])[0]
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
    (note,) = index([photos], catalog, ColourEncoder()).notes
    assert note == (
        f"{photos}: corpus files in it were left out (2, such as a.jsonl); name them to index them"
    )
    (note,) = index([photos, photos / "a.jsonl"], catalog, ColourEncoder()).notes
    assert "(1, such as b.jsonl)" in note
    index([photos / "b.jsonl"], catalog, ColourEncoder())
    assert index([photos], catalog, ColourEncoder()).notes == ()


def test_a_file_belongs_to_the_innermost_source(catalog: Catalog, photos: Path) -> None:
    index([photos / "red.png"], catalog, ColourEncoder())
    report = index([photos], catalog, ColourEncoder())
    assert counts(report) == {"added": 2, "unchanged": 1, "embedded": 2}
    paint(photos / "trip" / "a.png", "pink")
    assert counts(index([photos], catalog, ColourEncoder())) == {
        "added": 1,
        "unchanged": 3,
        "embedded": 1,
    }
    encoder = ColourEncoder()
    assert counts(index([photos / "trip"], catalog, encoder)) == {"added": 1}
    report = index([photos], catalog, ColourEncoder())  # now it leaves the trip to itself
    assert counts(report) == {"unchanged": 4}
    assert encoder.embedded_images == 0
    assert sorted(one.source for item in everything(catalog) for one in item.locations) == sorted(
        [str(photos), str(photos), str(photos / "red.png"), str(photos / "trip")]
    )


def test_a_missing_source_is_kept_until_it_is_pruned(catalog: Catalog, photos: Path) -> None:
    paint(photos.with_name("others") / "a.png", "pink")
    index([photos, photos.with_name("others")], catalog, ColourEncoder())
    photos.rename(photos.with_name("pics"))
    for sources in ([photos], [], [photos.parent / "others", photos]):
        report = index(sources, catalog, ColourEncoder())
        assert report.removed == 0
        (note,) = report.notes
        assert note.startswith(f"{photos}: nothing is there now")
        assert "(files: 3); --prune forgets it" in note
    encoder = ColourEncoder()
    assert index([photos.with_name("pics")], catalog, encoder).added == 3
    assert encoder.embedded_images == 0
    report = index([], catalog, ColourEncoder(), options=Options(workers=0, prune=True))
    assert counts(report) == {"unchanged": 4, "removed": 3}
    assert str(photos) not in catalog.sources()
    assert {Path(path).parent.name for item in everything(catalog) for path in item.paths} == {
        "pics",
        "others",
    }


def test_pruning_while_moving_costs_no_embedding(catalog: Catalog, photos: Path) -> None:
    index([photos], catalog, ColourEncoder())
    photos.rename(photos.with_name("pics"))
    encoder = ColourEncoder()
    options = Options(workers=0, prune=True)
    report = index([photos, photos.with_name("pics")], catalog, encoder, options=options)
    assert counts(report) == {"moved": 3}
    assert encoder.embedded_images == 0


def test_an_emptied_source_is_pruned_when_asked(catalog: Catalog, photos: Path) -> None:
    index([photos], catalog, ColourEncoder())
    for path in photos.iterdir():
        path.unlink()
    (note,) = index([photos], catalog, ColourEncoder()).notes
    assert "(files: 3); --prune forgets it" in note
    report = index([photos], catalog, ColourEncoder(), options=Options(workers=0, prune=True))
    assert counts(report) == {"removed": 3}
    assert everything(catalog) == []
    assert catalog.sources() == (str(photos),)


def test_an_emptied_folder_of_a_source_is_a_deletion(catalog: Catalog, photos: Path) -> None:
    paint(photos / "trip" / "a.png", "pink")
    paint(photos / "trip" / "far" / "b.png", "cyan")
    index([photos], catalog, ColourEncoder())
    shutil.rmtree(photos / "trip")
    assert counts(index([photos], catalog, ColourEncoder())) == {"unchanged": 3, "removed": 2}


def test_a_source_that_is_not_known_must_be_there(catalog: Catalog, photos: Path) -> None:
    index([photos], catalog, ColourEncoder())
    with pytest.raises(BadInput, match="none does not exist"):
        index([photos, photos / "none"], catalog, ColourEncoder())


def test_without_any_source_there_is_nothing_to_do(catalog: Catalog) -> None:
    with pytest.raises(BadInput, match="knows no source yet"):
        index([], catalog, ColourEncoder())


def test_equal_size_and_time_with_other_content_is_found_when_all_is_read(
    catalog: Catalog, photos: Path
) -> None:
    red, about = photos / "red.bmp", 0
    paint(red, "red")
    index([photos], catalog, ColourEncoder())
    about = red.stat().st_mtime_ns
    paint(red, "cyan")
    os.utime(red, ns=(about, about))
    assert counts(index([photos], catalog, ColourEncoder())) == {"unchanged": 4}
    report = index([photos], catalog, ColourEncoder(), options=Options(workers=0, deep=True))
    assert counts(report) == {"unchanged": 3, "updated": 1, "embedded": 1}


def test_what_was_skipped_is_tried_again_when_asked(catalog: Catalog, photos: Path) -> None:
    (photos / "broken.png").write_bytes(b"no picture")
    index([photos], catalog, ColourEncoder())
    journal = Journal()
    report = index([photos], catalog, ColourEncoder(), journal)
    assert [one.path for one in report.skipped] == [str(photos / "broken.png")]
    assert journal.announced == [(4, 4)]
    options = Options(workers=0, retry=True)
    report = index([photos], catalog, ColourEncoder(), journal, options)
    assert journal.announced[1:] == [(4, 3)]
    assert len(report.skipped) == len(catalog.skipped()) == 1


def test_texts_beside_and_inside_a_picture_belong_to_it(catalog: Catalog, photos: Path) -> None:
    (photos / "red.txt").write_text("a red barn")
    (photos / "notes.txt").write_text("blue sky")
    assert counts(index([photos], catalog, ColourEncoder())) == {"added": 4, "embedded": 5}
    items = {item.text or Path(item.path).name: item for item in everything(catalog)}
    assert items["red.png"].captions == ("a red barn",)
    assert items["a red barn"].pictures == (items["red.png"].id,)
    assert items["a red barn"].path == str(photos / "red.png")
    assert items["a red barn"].locations[0].fragment == "red.txt"
    assert (items["blue sky"].pictures, items["blue.png"].captions) == ((), ())
    (photos / "red.txt").write_text("a red house")
    report = index([photos], catalog, ColourEncoder())
    assert counts(report) == {"unchanged": 3, "updated": 1, "embedded": 1}
    assert {item.text for item in everything(catalog) if item.text} == {"a red house", "blue sky"}
    (photos / "red.txt").unlink()
    assert counts(index([photos], catalog, ColourEncoder())) == {"unchanged": 3, "updated": 1}
    assert {item.text for item in everything(catalog) if item.text} == {"blue sky"}


def test_a_broken_sidecar_is_told_and_costs_the_picture_nothing(
    catalog: Catalog, photos: Path
) -> None:
    (photos / "red.json").write_text("{")
    for options in (INLINE, INLINE, Options(workers=0, retry=True)):
        report = index([photos], catalog, ColourEncoder(), options=options)
        assert [Path(one.path).name for one in report.skipped] == ["red.json"]
        assert len(catalog.skipped()) == 1
        assert paths(catalog) == {"red.png", "green.png", "blue.png"}
    (photos / "red.json").write_text('{"caption": "a red barn", "keywords": ["farm"]}')
    report = index([photos], catalog, ColourEncoder())
    assert report.skipped == catalog.skipped() == ()
    (red,) = (item for item in everything(catalog) if item.width and "red" in item.path)
    assert red.metadata is not None
    assert red.metadata.keywords == ("farm",)
    assert "a red barn" in red.captions


def test_captions_of_a_corpus_belong_to_the_pictures_it_names(
    catalog: Catalog, photos: Path
) -> None:
    corpus = photos / "captions.jsonl"
    corpus.write_text('{"image": "red.png", "captions": ["a red barn", "red again"]}')
    index([photos, corpus], catalog, ColourEncoder())
    (red,) = (item for item in everything(catalog) if item.width and "red" in item.path)
    assert red.captions == ("a red barn", "red again")


def test_rules_are_kept_with_their_source(catalog: Catalog, photos: Path) -> None:
    rules = Rules(exclude=("blue.*",))
    assert index([photos], catalog, ColourEncoder(), rules=rules).added == 2
    assert counts(index([photos], catalog, ColourEncoder())) == {"unchanged": 2}
    report = index([photos], catalog, ColourEncoder(), rules=Rules(exclude=("red.*",)))
    assert counts(report) == {"added": 1, "removed": 1, "unchanged": 1, "embedded": 1}
    assert index([photos], catalog, ColourEncoder(), rules=Rules()).added == 1


@pytest.mark.parametrize(
    "rules", [Rules(include=("*.jpgg",)), Rules(exclude=("*",)), Rules(include=("!*.png",))]
)
def test_patterns_that_fit_nothing_are_refused_and_cost_nothing(
    catalog: Catalog, photos: Path, rules: Rules
) -> None:
    before = Rules(exclude=("blue.*",))
    index([photos], catalog, ColourEncoder(), rules=before)
    with pytest.raises(BadInput, match=r"no file in .* fits --\w+ .*--prune") as refusal:
        index([photos], catalog, ColourEncoder(), rules=rules)
    assert rules.patterns in str(refusal.value) and str(photos) in str(refusal.value)
    assert paths(catalog) == {"red.png", "green.png"}
    assert Rules.from_json(catalog.rules(str(photos))) == before


def test_patterns_that_fit_nothing_hold_when_pruned(catalog: Catalog, photos: Path) -> None:
    index([photos], catalog, ColourEncoder())
    options, rules = Options(workers=0, prune=True), Rules(include=("*.jpgg",))
    report = index([photos], catalog, ColourEncoder(), options=options, rules=rules)
    assert counts(report) == {"removed": 3}
    said = f'{photos} holds nothing that searchx indexes and that fits --include "*.jpgg"'
    assert report.notes == (said,)


def test_patterns_that_fit_nothing_make_no_library(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="fits"):
        index_into(tmp_path / "new", photos, ColourEncoder(), rules=Rules(include=("*.jpgg",)))
    assert not (tmp_path / "new").exists()


def test_a_folder_that_patterns_do_not_fit_is_left_as_it_is_beside_one_that_they_fit(
    catalog: Catalog, photos: Path, tmp_path: Path
) -> None:
    other = paint(tmp_path / "other" / "a.jpg", "red").parent
    index([photos], catalog, ColourEncoder())
    report = index([photos, other], catalog, ColourEncoder(), rules=Rules(include=("*.jpg",)))
    assert counts(report) == {"added": 1, "embedded": 1}
    (note,) = report.notes
    assert note.startswith(f'no file in {photos} fits --include "*.jpg"')
    assert note.endswith("nothing of it was changed")
    assert paths(catalog) == {"red.png", "green.png", "blue.png", "a.jpg"}
    assert catalog.rules(str(photos)) == ""


def test_an_empty_folder_is_no_fault_of_the_patterns(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    report = index([tmp_path / "none"], catalog, ColourEncoder(), rules=Rules(include=("*.jpg",)))
    assert counts(report) == {}
    assert len(report.notes) == 1


def test_an_ignore_file_that_leaves_out_everything_forgets_nothing_unless_pruned(
    catalog: Catalog, photos: Path
) -> None:
    index([photos], catalog, ColourEncoder())
    (photos / ".searchxignore").write_text("*\n")
    report = index([photos], catalog, ColourEncoder())
    assert counts(report) == {}
    (note,) = report.notes
    assert "its rules leave out all" in note and "(files: 3); --prune forgets it" in note
    assert paths(catalog) == {"red.png", "green.png", "blue.png"}
    options = Options(workers=0, prune=True)
    assert counts(index([photos], catalog, ColourEncoder(), options=options)) == {"removed": 3}


def test_the_last_files_that_rules_fit_are_forgotten_when_they_are_deleted(
    catalog: Catalog, photos: Path
) -> None:
    index([photos], catalog, ColourEncoder(), rules=Rules(include=("red.*",)))
    (photos / "red.png").unlink()
    assert counts(index([photos], catalog, ColourEncoder())) == {"removed": 1}


WRONG = Rules(text_columns=("place", "tale"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.csv", "place,text\nred barn,blue sky\n"),
        ("rows.jsonl", '{"place": "red barn", "text": "blue sky"}\n'),
    ],
)
def test_a_column_that_a_corpus_has_not_is_refused_and_costs_nothing(
    catalog: Catalog, photos: Path, tmp_path: Path, name: str, content: str
) -> None:
    corpus = tmp_path / name
    corpus.write_text(content)
    before = Rules(text_columns=("text",))
    index([corpus], catalog, ColourEncoder(), rules=before)
    with pytest.raises(BadInput) as refusal:
        index([corpus], catalog, ColourEncoder(), rules=WRONG)
    assert str(refusal.value) == f'{corpus}: it has no column "tale"; it has: "place", "text"'
    report = index([photos, corpus], catalog, ColourEncoder(), rules=WRONG)
    assert counts(report) == {"added": 3, "embedded": 3}
    assert report.notes == (f"{refusal.value}; nothing of it was changed",)
    assert {item.text for item in everything(catalog) if item.text} == {"blue sky"}
    assert Rules.from_json(catalog.rules(str(corpus))) == before
    assert counts(index([corpus], catalog, ColourEncoder())) == {"unchanged": 1}


def test_a_column_that_a_new_corpus_has_not_makes_no_library(tmp_path: Path) -> None:
    corpus = tmp_path / "rows.csv"
    corpus.write_text("place,text\nred barn,blue sky\n")
    with pytest.raises(BadInput, match='no column "tale"'):
        index_into(tmp_path / "new", corpus, ColourEncoder(), rules=WRONG)
    assert not (tmp_path / "new").exists()


def test_pictures_that_rows_name_and_that_are_missing_are_told(
    catalog: Catalog, photos: Path
) -> None:
    corpus = photos / "rows.csv"
    corpus.write_text("image,text\nred.png,a red barn\ngone.png,a pink hat\nlost.png,a bus\n")
    (note,) = index([corpus], catalog, ColourEncoder()).notes
    assert note == (
        f"{corpus}: rows that name a picture that is not there: 2; first: row 2 (gone.png); "
        "their texts stand alone"
    )
    assert {item.text for item in everything(catalog)} == {"a red barn", "a pink hat", "a bus"}


def test_a_sidecar_is_of_the_picture_that_it_names(catalog: Catalog, photos: Path) -> None:
    paint(photos / "red.bmp", "pink")
    (photos / "red.json").write_text('{"file_name": "red.bmp", "caption": "a pink hat"}')
    index([photos], catalog, ColourEncoder())
    (text,) = (item for item in everything(catalog) if item.text)
    assert [Path(one.path).name for one in text.locations] == ["red.bmp"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may mount")
def test_a_bare_mount_point_is_not_taken_for_a_deletion(catalog: Catalog, photos: Path) -> None:
    (photos / "card").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(photos / "card")]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        paint(photos / "card" / "dcim" / "a.png", "pink")
        assert index([photos], catalog, ColourEncoder()).added == 4
    finally:
        subprocess.run(["umount", str(photos / "card")], check=True)
    report = index([photos], catalog, ColourEncoder())
    assert counts(report) == {"unchanged": 3}
    assert report.notes[0].startswith(f"{photos / 'card'}: nothing is there now")
    (photos / "card").rmdir()  # as some systems do with the place of a drive
    assert counts(index([photos], catalog, ColourEncoder())) == {"unchanged": 3}
    assert len(everything(catalog)) == 4
    options = Options(workers=0, prune=True)
    assert counts(index([photos], catalog, ColourEncoder(), options=options)) == {
        "unchanged": 3,
        "removed": 1,
    }


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
    options = Options(workers=0, prune=True)
    report = index([photos], catalog, ColourEncoder(), options=options)
    assert counts(report) == {"unchanged": 3, "removed": 1}
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


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions do not bind anybody here")
@pytest.mark.parametrize("case", ["folder", "parent", "sidecar", "names"])
def test_what_is_closed_is_told_in_every_run_and_never_pruned(case: str) -> None:
    target = {
        "folder": _index_a_closed_folder,
        "parent": _index_below_a_closed_folder,
        "sidecar": _index_beside_a_closed_sidecar,
        "names": _index_a_folder_without_passage,
    }[case]
    with tempfile.TemporaryDirectory() as place:
        paint(Path(place) / "in" / "photos" / "a.png", "red")
        paint(Path(place) / "in" / "photos" / "sub" / "b.png", "blue")
        (Path(place) / "in" / "photos" / "a.txt").write_text("a red barn")
        assert as_mere_user(target, Path(place)) == 0


def _index_a_closed_folder(place: str) -> None:
    _index_while_closed(place, "in/photos/sub", 0, {"unchanged": 1, "skipped": 1}, recorded=1)


def _index_below_a_closed_folder(place: str) -> None:
    _index_while_closed(place, "in", 0, {"skipped": 1}, recorded=0)


def _index_a_folder_without_passage(place: str) -> None:
    _index_while_closed(place, "in/photos/sub", 0o444, {"unchanged": 1, "skipped": 1}, recorded=1)


def _index_while_closed(
    place: str, name: str, mode: int, expected: dict[str, int], recorded: int
) -> None:
    photos, closed = Path(place) / "in" / "photos", Path(place) / name
    with closing(Catalog.open(Path(place) / "library", create=True)) as catalog:
        index([photos], catalog, ColourEncoder())
        closed.chmod(mode)
        for prune in (False, False, False, True):
            options = Options(workers=0, prune=prune)
            report = index([photos], catalog, ColourEncoder(), options=options)
            assert counts(report) == expected
            (note,) = report.notes
            assert "what is there cannot be looked at" in note
            assert "prune" not in note
            assert len(catalog.skipped()) == recorded
            assert len(everything(catalog)) == 3
        closed.chmod(0o755)
        assert counts(index([photos], catalog, ColourEncoder())) == {"unchanged": 2}
        assert catalog.skipped() == ()


def _index_beside_a_closed_sidecar(place: str) -> None:
    photos = Path(place) / "in" / "photos"
    (photos / "a.txt").chmod(0)
    with closing(Catalog.open(Path(place) / "library", create=True)) as catalog:
        first = index([photos], catalog, ColourEncoder())
        assert counts(first) == {"added": 2, "embedded": 2, "skipped": 1}
        again = index([photos], catalog, ColourEncoder())
        assert counts(again) == {"unchanged": 2, "skipped": 1}
        (photos / "a.txt").chmod(0o644)  # which changes neither its size nor its time
        opened = index([photos], catalog, ColourEncoder())
        assert counts(opened) == {"unchanged": 1, "updated": 1, "embedded": 1}
        assert catalog.skipped() == ()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may mount")
def test_a_disk_is_known_for_one_after_pruning_and_when_it_is_empty(
    catalog: Catalog, photos: Path
) -> None:
    (photos / "card").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(photos / "card")]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        paint(photos / "card" / "dcim" / "a.png", "pink")
        options = Options(workers=0, prune=True)
        for _ in range(2):
            assert index([photos], catalog, ColourEncoder(), options=options).removed == 0
        shutil.rmtree(photos / "card" / "dcim")  # or another disk, of another device, is there now
        assert counts(index([photos], catalog, ColourEncoder())) == {"unchanged": 3}
    finally:
        subprocess.run(["umount", str(photos / "card")], check=True)
    assert counts(index([photos], catalog, ColourEncoder())) == {"unchanged": 3}
    assert counts(index([photos], catalog, ColourEncoder(), options=options)) == {
        "unchanged": 3,
        "removed": 1,
    }


def test_a_link_to_a_file_that_is_gone_is_pruned_when_asked(catalog: Catalog, photos: Path) -> None:
    target = paint(photos.with_name("drive") / "a.png", "orange")
    (photos / "a.png").symlink_to(target)
    index([photos], catalog, ColourEncoder())
    target.unlink()
    report = index([photos], catalog, ColourEncoder())
    assert report.notes[0].startswith(f"{photos / 'a.png'}: nothing is there now")
    options = Options(workers=0, prune=True)
    assert index([photos], catalog, ColourEncoder(), options=options).removed == 1
    assert "a.png" not in paths(catalog)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
def test_a_pipe_in_the_place_of_a_picture_takes_it_out(catalog: Catalog, photos: Path) -> None:
    index([photos], catalog, ColourEncoder())
    (photos / "red.png").unlink()
    os.mkfifo(photos / "red.png")
    for _ in range(2):
        assert counts(index([photos], catalog, ColourEncoder())) == {"unchanged": 2, "skipped": 1}
        assert paths(catalog) == {"green.png", "blue.png"}
        assert [one.path for one in catalog.skipped()] == [str(photos / "red.png")]


def test_a_folder_that_became_a_file_is_pruned_when_asked(catalog: Catalog, photos: Path) -> None:
    index([photos], catalog, ColourEncoder())
    shutil.rmtree(photos)
    photos.write_text("no folder")
    assert "(files: 3); --prune forgets it" in index([photos], catalog, ColourEncoder()).notes[0]
    options = Options(workers=0, prune=True)
    report = index([photos], catalog, ColourEncoder(), options=options)
    assert counts(report) == {"removed": 3, "skipped": 1}


def test_a_source_that_holds_only_another_source_gives_up_its_files(
    catalog: Catalog, photos: Path
) -> None:
    outer = photos.with_name("outer")
    outer.mkdir()
    photos.rename(outer / "photos")
    index([outer], catalog, ColourEncoder())
    index([outer / "photos"], catalog, ColourEncoder())
    report = index([outer], catalog, ColourEncoder())
    assert counts(report) == {"unchanged": 3}
    assert report.notes == ()
    held = [one.source for item in everything(catalog) for one in item.locations]
    assert str(outer) not in held


def test_a_sidecar_goes_with_its_picture_into_another_source(
    catalog: Catalog, photos: Path
) -> None:
    (photos / "red.txt").write_text("a red barn")
    index([photos / "red.png"], catalog, ColourEncoder())
    assert counts(index([photos], catalog, ColourEncoder())) == {
        "added": 2,
        "unchanged": 1,
        "embedded": 2,
    }
    (text,) = (item for item in everything(catalog) if item.text)
    assert [one.source for one in text.locations] == [str(photos / "red.png")]


def test_rules_for_a_folder_are_not_those_of_the_sources_in_it(
    catalog: Catalog, photos: Path
) -> None:
    corpus = photos / "rows.csv"
    corpus.write_text("place,text\nred barn,blue sky\n")
    index([corpus], catalog, ColourEncoder(), rules=Rules(text_columns=("place",)))
    index([photos], catalog, ColourEncoder(), rules=Rules(exclude=("*.gif",)))
    assert {item.text for item in everything(catalog) if item.text} == {"red barn"}
    assert Rules.from_json(catalog.rules(str(corpus))) == Rules(text_columns=("place",))


def test_other_columns_are_read_also_after_an_interruption(
    catalog: Catalog, tmp_path: Path
) -> None:
    class Stops(ColourEncoder):
        def embed_texts(self, texts: Sequence[str]) -> Vectors:
            raise KeyboardInterrupt

    corpus = tmp_path / "rows.csv"
    corpus.write_text("place,text\nred barn,blue sky\n")
    index([corpus], catalog, ColourEncoder())
    with pytest.raises(KeyboardInterrupt):
        index([corpus], catalog, Stops(), rules=Rules(text_columns=("place",)))
    assert counts(index([corpus], catalog, ColourEncoder())) == {"updated": 1, "embedded": 1}
    assert {item.text for item in everything(catalog)} == {"red barn"}


def test_a_corpus_that_changes_while_it_is_read_is_not_embedded_twice(
    catalog: Catalog, tmp_path: Path
) -> None:
    class Disturbs(ColourEncoder):
        def embed_texts(self, texts: Sequence[str]) -> Vectors:
            os.utime(corpus, ns=(1, 1))
            return super().embed_texts(texts)

    corpus = tmp_path / "rows.jsonl"
    corpus.write_text("".join(f'{{"text": "red page {number}"}}\n' for number in range(600)))
    report = index([corpus], catalog, Disturbs())
    assert counts(report) == {"skipped": 1, "embedded": 600}
    assert everything(catalog) == []
    encoder = ColourEncoder()
    assert counts(index([corpus], catalog, encoder)) == {"added": 1}


def test_a_time_of_change_beyond_what_the_catalog_holds_is_no_hindrance(
    catalog: Catalog, photos: Path
) -> None:
    os.utime(photos / "red.png", (10**10, 10**10))  # the year 2286
    if (photos / "red.png").stat().st_mtime < 10**10:
        pytest.skip("this file system knows no such time")
    assert index([photos], catalog, ColourEncoder()).added == 3
    assert counts(index([photos], catalog, ColourEncoder())) == {"unchanged": 3}


def test_a_broken_sidecar_of_two_pictures_is_told_once(catalog: Catalog, photos: Path) -> None:
    paint(photos / "red.bmp", "red")
    (photos / "red.json").write_text("{")
    for _ in range(2):
        (skipped,) = index([photos], catalog, ColourEncoder()).skipped
        assert skipped.path == str(photos / "red.json")


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
    assert report.notes == (f"{corpus}: rows left out: 1; first: line 3 is not JSON",)
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
    said = f"{photos}: the library in it was left out ({photos / 'library'})"
    assert report.notes == (said,)
    with pytest.raises(BadInput, match="is the library itself"):
        index_into(photos / "library", [photos / "library"], ColourEncoder())


def test_a_folder_that_would_be_its_own_library_stays_as_it_is(photos: Path) -> None:
    before = sorted(photos.iterdir())
    with pytest.raises(BadInput, match="is the library itself"):
        index_into(photos, photos, ColourEncoder())
    assert sorted(photos.iterdir()) == before


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
    assert journal.announced == [(5, 1)]
    assert journal.total() == (4, 2, 20)
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
