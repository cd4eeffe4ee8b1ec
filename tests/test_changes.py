"""What docs/files.md says of a change, held on real files: one test for each row of its table."""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from indexer.pipeline import index
from indexer.planning import Options
from indexer.rules import Rules
from searchx.catalog import Catalog
from searchx.errors import BadInput
from searchx.records import Report, Vectors
from tests.colour import ColourEncoder, paint
from tests.mere_user import as_mere_user
from tests.test_docs import table
from tests.test_pipeline import counts, everything

INLINE = Options(workers=0)
SAME = {"unchanged": 2}


class Place:
    """A folder of a red and a green picture that was indexed."""

    def __init__(self, catalog: Catalog, photos: Path) -> None:
        self.catalog = catalog
        self.photos = photos
        self.red = paint(photos / "red.png", "red")
        paint(photos / "sub" / "green.png", "green")
        self.run()

    def run(self, **options: bool) -> Report:
        how = replace(INLINE, **options)
        return index([self.photos], self.catalog, ColourEncoder(), options=how)

    def counts(self, **options: bool) -> dict[str, int]:
        return counts(self.run(**options))

    def items(self) -> int:
        return len(everything(self.catalog))


class ChangingEncoder(ColourEncoder):
    """Writes to a file as soon as something of it is to be embedded."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        with self.path.open("a") as file:
            file.write("\n")
        return super().embed_texts(texts)


def new_or_changed(place: Place) -> None:
    paint(place.photos / "new.png", "blue")
    paint(place.photos / "double.png", "red")
    assert place.counts() == {"added": 2, "embedded": 1, "unchanged": 2}
    paint(place.red, "pink", (65, 48))
    os.utime(place.red, (1, 1))  # a clock that jumped back
    assert place.counts() == {"updated": 1, "embedded": 1, "unchanged": 3}


def moved(place: Place) -> None:
    (place.photos / "other").mkdir()
    place.red.rename(place.photos / "other" / "rouge.png")
    assert place.counts() == {"moved": 1, "unchanged": 1}
    (place.photos / "sub" / "green.png").rename(place.photos / "sub" / "GREEN.png")
    assert place.counts() == {"moved": 1, "unchanged": 1}
    assert place.items() == 2


def copied(place: Place) -> None:
    (place.photos / "copy.png").write_bytes(place.red.read_bytes())
    (place.photos / "link.png").hardlink_to(place.red)
    assert place.counts() == {"added": 2, "unchanged": 2}
    twin = place.photos.with_name("twin")
    twin.mkdir()
    (twin / "copy.png").write_bytes(place.red.read_bytes())
    report = index([twin], place.catalog, ColourEncoder(), options=INLINE)
    assert counts(report) == {"added": 1}
    (red,) = (item for item in everything(place.catalog) if str(place.red) in item.paths)
    assert len(red.locations) == 4


def linked(place: Place) -> None:
    (place.photos / "again").symlink_to(place.photos / "sub")
    elsewhere = paint(place.photos.with_name("elsewhere") / "blue.png", "blue").parent
    (place.photos / "there").symlink_to(elsewhere)
    assert place.counts() == {"added": 1, "embedded": 1, "unchanged": 2}


def deleted(place: Place) -> None:
    place.red.unlink()
    assert place.counts() == {"removed": 1, "unchanged": 1}
    assert place.items() == 1


def unseen(place: Place) -> None:
    stamp = (1_000_000_000, 1_000_000_000)
    pictures = [paint(place.photos.with_name("a.png"), one).read_bytes() for one in ("red", "blue")]
    for number, data in enumerate(pictures):
        place.red.write_bytes(data.ljust(1000, b"\0"))  # what follows a PNG is not looked at
        os.utime(place.red, stamp)
        if number == 0:
            assert place.counts() == {"updated": 1, "embedded": 1, "unchanged": 1}
    assert place.counts() == SAME
    assert place.counts(deep=True) == {"updated": 1, "embedded": 1, "unchanged": 1}


def refused(place: Place) -> None:
    bad = place.photos / "bad.png"
    bad.write_bytes(b"no picture")
    assert place.counts() == {"skipped": 1, "unchanged": 2}
    assert place.counts() == {"skipped": 1, "unchanged": 2}
    assert place.counts(retry=True) == {"skipped": 1, "unchanged": 2}
    paint(bad, "blue")
    assert place.counts() == {"added": 1, "embedded": 1, "unchanged": 2}


def replaced(place: Place) -> None:
    corpus = place.photos.with_name("captions.csv")
    # More than two batches: before the third is gathered, the first one was embedded.
    corpus.write_text("caption\n" + "".join(f"red {number}\n" for number in range(700)))
    report = index([corpus], place.catalog, ChangingEncoder(corpus), options=INLINE)
    assert [one.path for one in report.skipped] == [str(corpus)]
    assert "changed while it was read" in report.skipped[0].reason
    assert index([corpus], place.catalog, ColourEncoder(), options=INLINE).added == 1
    assert place.items() == 702


def missing(place: Place) -> None:
    place.photos.rename(place.photos.with_name("unplugged"))
    report = place.run()
    assert counts(report) == {}
    assert "nothing is there now" in report.notes[0]
    place.photos.mkdir()
    (place.photos / "empty").mkdir()
    assert counts(place.run()) == {}
    assert place.items() == 2
    assert place.counts(prune=True) == {"removed": 2}
    assert place.items() == 0


def misfit(place: Place) -> None:
    for rules in (Rules(include=("*.jpgg",)), Rules(exclude=("*",))):
        with pytest.raises(BadInput, match="no file in"):
            index([place.photos], place.catalog, ColourEncoder(), options=INLINE, rules=rules)
    other = paint(place.photos.with_name("other") / "blue.jpg", "blue").parent
    named, rules = [place.photos, other], Rules(include=("*.jpg",))
    report = index(named, place.catalog, ColourEncoder(), options=INLINE, rules=rules)
    assert counts(report) == {"added": 1, "embedded": 1}
    assert str(place.photos) in report.notes[0]
    assert place.items() == 3
    assert place.counts() == SAME


def left_out(place: Place) -> None:
    (place.photos / ".searchxignore").write_text("*\n")
    report = place.run()
    assert counts(report) == {}
    assert "its rules leave out all that it holds" in report.notes[0]
    assert place.items() == 2
    assert place.counts(prune=True) == {"removed": 2}


def closed(_: Place) -> None:
    if not hasattr(os, "geteuid"):
        pytest.skip("permissions do not bind anybody here")
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is closed to other users
        assert as_mere_user(_index_what_is_closed, Path(folder)) == 0


def _index_what_is_closed(folder: str) -> None:
    with closing(Catalog.open(Path(folder) / "library", create=True)) as catalog:
        place = Place(catalog, Path(folder) / "photos")
        (place.photos / "sub").chmod(0)
        assert place.counts() == {"unchanged": 1, "skipped": 1}
        assert place.counts(prune=True) == {"unchanged": 1, "skipped": 1}
        assert place.items() == 2
        (place.photos / "sub").chmod(0o700)
        assert place.counts() == SAME


def unplugged(place: Place) -> None:
    """Say in the catalog that a disk was mounted here: only root can mount one."""
    sub = place.photos / "sub"
    with place.catalog.writing() as tx:
        tx.add_folder(str(place.photos), str(sub), is_mount=True)
    (sub / "green.png").rename(place.photos.with_name("green.png"))
    assert place.counts() == {"unchanged": 1}
    sub.rmdir()
    report = place.run()
    assert counts(report) == {"unchanged": 1}
    assert str(sub) in report.notes[0]
    assert place.items() == 2
    assert place.counts(prune=True) == {"unchanged": 1, "removed": 1}


ROWS: dict[str, Callable[[Place], None]] = {
    "New, or changed": new_or_changed,
    "Moved, renamed, also in upper and lower case only": moved,
    "Copied, hard-linked, or in two sources": copied,
    "Linked (symbolic link)": linked,
    "Deleted": deleted,
    "Changed under an equal size and time": unseen,
    "Refused before": refused,
    "Replaced while it is read": replaced,
    "The source is missing, or holds no file at all": missing,
    "Patterns fit no file of a source, or a column is named that a corpus has not": misfit,
    "An ignore file leaves out all that a source holds": left_out,
    "A folder cannot be read": closed,
    "A disk inside a source is not plugged in: its mount point is bare or gone": unplugged,
}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with closing(Catalog.open(tmp_path / "library", create=True)) as catalog:
        yield Place(catalog, tmp_path / "photos")


def test_every_row_of_the_table_is_tested() -> None:
    assert [row[0] for row in table("What happened")] == list(ROWS)


@pytest.mark.parametrize("row", ROWS)
def test_a_run_does_what_the_table_says(row: str, place: Place) -> None:
    ROWS[row](place)
