"""What gets interrupted. A scenario makes a state on disk, and does one thing that changes it.

All of it lies in one place: ``library``, ``photos`` beside it, and what else it needs. What is
done can be done again, and brings what was interrupted to its end.
"""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from indexer import pipeline
from indexer.migrating import Settings, migrate, roll_back
from indexer.pipeline import index_into
from indexer.planning import Options
from searchx import upkeep, vectors
from searchx.catalog import Catalog, NewFile, NewItem
from searchx.database import check_backup
from searchx.errors import BadInput
from searchx.records import Space
from searchx.refreshing import refresh_snapshots
from searchx.spaces.switching import drop_other
from searchx.vectors import Origin
from searchx.views import SNAPSHOTS
from searchx.writing import Content
from tests.colour import ColourEncoder, paint
from tests.spaces.encoders import Bright

LIBRARIES = Path(__file__).resolve().parent.parent / "libraries"

# What may be seen after an interruption: of every file what it held before or what it holds in
# the end; or all of the library as before, or all of it as in the end.
Law = Literal["each file", "one state"]


@dataclass(frozen=True)
class Scenario:
    """A state, and what is done to it; `act` gives how many vectors it computed."""

    prepare: Callable[[Path], object]
    act: Callable[[Path], int]
    law: Law = "each file"
    is_damaged: bool = False  # before `act` has run, verify has something to say
    also: Callable[[Path], list[str]] = field(default=lambda place: [])  # what else is wrong


def colour_of(number: int) -> tuple[int, int, int]:
    """Give a colour that no other number has, so that every picture has a vector of its own."""
    return (number * 67 % 256, number * 149 % 256, number * 211 % 256)


def take_photos(place: Path, numbers: range = range(12)) -> None:
    """Make pictures in three folders, copies, texts, a sidecar and something broken."""
    photos = place / "photos"
    for number in numbers:
        paint(photos / f"trip {number % 3}" / f"{number}.png", colour_of(number))
    shutil.copy2(photos / "trip 0" / "0.png", photos / "copy of 0.png")
    (photos / "notes.txt").write_text("a red barn\n\nthe blue sky\n\ngreen grass")
    (photos / "more.md").write_text("# Harbour\n\nyellow boats\n\nthe blue sky")
    (photos / "trip 0" / "0.txt").write_text("orange evening")
    (photos / "broken.jpg").write_bytes(b"no picture")


def take_many_photos(place: Path) -> None:
    take_photos(place, range(200))


def change_photos(place: Path) -> None:
    """Add, change, move, copy and delete."""
    photos = place / "photos"
    for number in range(20, 28):
        paint(photos / "trip 1" / f"{number}.png", colour_of(number))
    paint(photos / "trip 1" / "1.png", colour_of(40), size=(70, 50))
    (photos / "trip 2").rename(photos / "trip two")
    shutil.copy2(photos / "trip 1" / "4.png", photos / "again 4.png")
    (photos / "trip 0" / "3.png").unlink()
    (photos / "notes.txt").write_text("a red barn\n\nwhite snow on it")
    paint(photos / "broken.jpg", colour_of(41))


def read_photos(place: Path, workers: int = 0) -> int:
    report = index_into(
        place / "library",
        [place / "photos"],
        ColourEncoder(),
        options=Options(workers=workers),
    )
    return report.embedded


def read_without_snapshots(place: Path) -> None:
    with closing(Catalog.open(place / "library", create=True)) as catalog:
        pipeline.index([place / "photos"], catalog, ColourEncoder(), options=Options(workers=0))


def a_library(place: Path) -> None:
    take_photos(place)
    read_photos(place)


def a_library_that_grows(place: Path) -> None:
    a_library(place)
    take_photos(place, range(200))


def a_library_out_of_date(place: Path) -> None:
    a_library(place)
    change_photos(place)


def a_library_without_snapshots(place: Path) -> None:
    take_photos(place)
    read_without_snapshots(place)


def a_library_with_a_tail(place: Path) -> None:
    a_library(place)
    change_photos(place)
    read_without_snapshots(place)


def a_damaged_library(place: Path) -> None:
    """Spoil one vector and one snapshot."""
    a_library(place)
    with closing(sqlite3.connect(place / "library" / "catalog.db")) as connection:
        connection.execute("UPDATE vector SET checksum = checksum + 1 WHERE item_id = 3")
        connection.commit()
    newest = vectors.newest(place / "library" / SNAPSHOTS, "image")
    assert newest
    with (newest / "matrix.npy").open("r+b") as matrix:
        matrix.truncate(200)


def a_library_and_an_old_backup(place: Path) -> None:
    a_library(place)
    upkeep.backup(place / "library", place / "backup.db")
    change_photos(place)
    read_photos(place)


def a_backup_alone(place: Path) -> None:
    a_library_and_an_old_backup(place)
    shutil.rmtree(place / "library")


def two_sources(place: Path) -> None:
    a_library(place)
    for number in range(30, 36):
        paint(place / "others" / f"{number}.png", colour_of(number))
    encoder = ColourEncoder()
    index_into(place / "library", [place / "others"], encoder, options=Options(workers=0))


def an_old_library(place: Path) -> None:
    """Load a library of the first format."""
    (place / "library").mkdir()
    with closing(sqlite3.connect(place / "library" / "catalog.db")) as connection:
        connection.executescript((LIBRARIES / "0001.sql").read_text(encoding="utf-8"))


def many_vectors(place: Path) -> None:
    """Make a catalog that is large enough for an index."""
    random = np.random.default_rng(5).normal(size=(300, 4)).astype(np.float32)
    random /= np.linalg.norm(random, axis=1, keepdims=True)
    items = [NewItem("image", f"{number:064x}", row) for number, row in enumerate(random)]
    with closing(Catalog.open(place / "library", create=True)) as catalog, catalog.writing() as tx:
        tx.claim_space(Space("colour", "colour-1", 4))
        tx.add_source(str(place / "photos"))
        tx.add_items(items)
        contents = [Content("image", item.digest, f"row {item.digest[-3:]}") for item in items]
        tx.set_file(str(place / "photos"), NewFile(str(place / "photos" / "x"), 1, 1, contents))


def refresh(place: Path) -> int:
    with closing(Catalog.open(place / "library")) as catalog:
        refresh_snapshots(catalog, whole=True)
    return 0


def build_an_index(place: Path) -> int:
    """Build a snapshot with a FAISS index, which a library gets when it is large."""
    with closing(Catalog.open(place / "library")) as catalog, catalog.indexing():
        space = catalog.space()
        assert space
        with catalog.rows("image") as (rows, version):
            origin = Origin(version.library, space.digest, version.added, version.removed)
            vectors.build(place / "library" / SNAPSHOTS, rows, "image", origin, 256)
    return 0


def mend(place: Path) -> int:
    upkeep.repair(place / "library")
    return read_photos(place)


def squeeze(place: Path) -> int:
    upkeep.compact(place / "library")
    return 0


def save(place: Path) -> int:
    upkeep.backup(place / "library", place / "backup.db")
    return 0


def bring_back(place: Path) -> int:
    upkeep.restore(place / "backup.db", place / "library", force=True)
    return 0


def wrong_with_backup(place: Path) -> list[str]:
    """Hold that a backup is whole whenever it is there."""
    try:
        check_backup(place / "backup.db")
    except Exception as error:
        return [f"the backup cannot be used: {error}"]
    return []


def let_go(place: Path) -> int:
    if str(place / "others") in sources(place):
        upkeep.forget(place / "library", place / "others")
    return refresh(place)


def re_root(place: Path) -> int:
    if str(place / "others") in sources(place):
        (place / "new place").mkdir(exist_ok=True)
        upkeep.move_source(place / "library", place / "others", place / "new place")
    return 0


def sources(place: Path) -> tuple[str, ...]:
    with closing(Catalog.open(place / "library")) as catalog:
        return catalog.sources()


def a_library_of_two_models(place: Path) -> None:
    """Let another model take over, and index more by it."""
    a_library(place)
    change_model(place)
    change_photos(place)
    index_into(place / "library", [place / "photos"], Bright(), options=Options(workers=0))


def change_model(place: Path) -> int:
    if serving(place) == "colour":
        migrate(place / "library", Bright(), settings=Settings(workers=0))
    return 0


def go_back(place: Path) -> int:
    if serving(place) == "bright":
        roll_back(place / "library", ColourEncoder(), settings=Settings(workers=0))
    return 0


def drop_the_old(place: Path) -> int:
    with suppress(BadInput):  # it is done
        drop_other(place / "library", has_served=True)
    return 0


def serving(place: Path) -> str:
    with closing(Catalog.open(place / "library")) as catalog:
        space = catalog.serving()
    return "" if space is None else space.name


def open_once(place: Path) -> int:
    Catalog.open(place / "library").close()
    return 0


SCENARIOS = {
    "index new files": Scenario(take_photos, read_photos),
    "index what has changed": Scenario(a_library_out_of_date, read_photos),
    "build the first snapshots": Scenario(a_library_without_snapshots, refresh, "one state"),
    "build snapshots again": Scenario(a_library_with_a_tail, refresh, "one state"),
    "build an index": Scenario(many_vectors, build_an_index, "one state"),
    "repair": Scenario(a_damaged_library, mend, is_damaged=True),
    "compact": Scenario(a_library_with_a_tail, squeeze, "one state"),
    "back up": Scenario(a_library_and_an_old_backup, save, "one state", also=wrong_with_backup),
    "restore over a library": Scenario(a_library_and_an_old_backup, bring_back, "one state"),
    "restore into nothing": Scenario(a_backup_alone, bring_back, "one state"),
    "forget a source": Scenario(two_sources, let_go, "one state"),
    "move a source": Scenario(two_sources, re_root, "one state"),
    "change the model": Scenario(a_library, change_model, "one state"),
    "go back to the model before": Scenario(a_library_of_two_models, go_back, "one state"),
    "drop the model before": Scenario(a_library_of_two_models, drop_the_old, "one state"),
    "migrate from 0001": Scenario(an_old_library, open_once, "one state"),
}
# These start processes that decode, and take longer.
WITH_WORKERS = {
    "index new files by 1 worker": Scenario(take_photos, partial(read_photos, workers=1)),
    "index changes by 2 workers": Scenario(a_library_out_of_date, partial(read_photos, workers=2)),
}
LONG = {
    "index many files by 2 workers": Scenario(take_many_photos, partial(read_photos, workers=2)),
    "index many files": Scenario(take_many_photos, read_photos),
    "index many more files": Scenario(a_library_that_grows, read_photos),
}
ALL = SCENARIOS | WITH_WORKERS | LONG


def files_of(place: Path) -> set[str]:
    """Give the paths of all files that a run is to look at; sidecars go with their picture."""
    found = (Path(root, name) for root, _, names in os.walk(place / "photos") for name in names)
    return {
        str(path.relative_to(place))
        for path in found
        if not (path.suffix == ".txt" and path.with_suffix(".png").exists())
    }
