from contextlib import closing

import pytest

from searchx import vectors
from searchx.catalog import Catalog
from searchx.errors import LibraryInUse
from searchx.refreshing import drop_foreign_snapshots, rebuild_snapshots, refresh_snapshots
from searchx.views import SNAPSHOTS
from tests.shelf import add, drop


def test_a_snapshot_is_built_when_it_has_fallen_behind(catalog: Catalog) -> None:
    place = catalog.directory / SNAPSHOTS
    refresh_snapshots(catalog)
    assert vectors.newest(place, "image") is None  # nothing to hold
    add(catalog, range(100))
    refresh_snapshots(catalog)
    first = vectors.newest(place, "image")
    assert first is not None
    add(catalog, range(100, 105))
    refresh_snapshots(catalog)
    assert vectors.newest(place, "image") == first
    add(catalog, range(105, 115))
    refresh_snapshots(catalog)
    second = vectors.newest(place, "image")
    assert second is not None
    assert second != first
    assert vectors.load(second).manifest.count == 115
    drop(catalog, range(20))
    refresh_snapshots(catalog)
    assert vectors.newest(place, "image") != second


def test_snapshots_that_fit_stay_when_indexing_begins(catalog: Catalog) -> None:
    add(catalog, range(20))
    refresh_snapshots(catalog)
    drop(catalog, [19])  # the item of the newest number
    place = vectors.newest(catalog.directory / SNAPSHOTS, "image")
    drop_foreign_snapshots(catalog)
    assert place == vectors.newest(catalog.directory / SNAPSHOTS, "image") is not None


def test_snapshots_are_built_by_one_process(catalog: Catalog) -> None:
    add(catalog, range(5))
    with (
        closing(Catalog.open(catalog.directory)) as other,
        other.indexing(),
        pytest.raises(LibraryInUse),
    ):
        refresh_snapshots(catalog)
    with catalog.indexing():
        refresh_snapshots(catalog)  # the indexer itself may, while it holds the library
    assert vectors.newest(catalog.directory / SNAPSHOTS, "image") is not None


def test_snapshots_are_built_anew_whatever_is_in_them(catalog: Catalog) -> None:
    rebuild_snapshots(catalog)
    assert vectors.newest(catalog.directory / SNAPSHOTS, "image") is None  # there was none
    add(catalog, range(5))
    refresh_snapshots(catalog)
    first = vectors.newest(catalog.directory / SNAPSHOTS, "image")
    add(catalog, range(5, 6))
    rebuild_snapshots(catalog)
    second = vectors.newest(catalog.directory / SNAPSHOTS, "image")
    assert first is not None
    assert second is not None
    assert first != second
    assert vectors.load(second).manifest.count == 6


def test_the_whole_catalog_is_in_the_snapshot_where_that_is_asked(catalog: Catalog) -> None:
    add(catalog, range(100))
    refresh_snapshots(catalog)
    add(catalog, [100])
    refresh_snapshots(catalog, whole=True)
    newest = vectors.newest(catalog.directory / SNAPSHOTS, "image")
    assert newest is not None
    assert vectors.load(newest).manifest.count == 101


def test_snapshots_of_a_later_state_are_dropped(catalog: Catalog) -> None:
    add(catalog, range(20))
    refresh_snapshots(catalog)
    newest = vectors.newest(catalog.directory / SNAPSHOTS, "image")
    assert newest is not None
    text = (newest / "manifest.json").read_text()
    added = vectors.load(newest).manifest.origin.added
    (newest / "manifest.json").write_text(
        text.replace(f'"added": {added}', f'"added": {added + 1}')
    )
    drop_foreign_snapshots(catalog)
    assert vectors.newest(catalog.directory / SNAPSHOTS, "image") is None
