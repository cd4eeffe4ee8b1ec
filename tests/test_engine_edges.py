"""The search engine at its edges: while others write, with damaged files, and at length."""

import re
from collections.abc import Iterator
from contextlib import closing
from fnmatch import fnmatchcase
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchx.catalog import Catalog
from searchx.errors import ModelError
from searchx.filters import Is
from searchx.patterns import fitting_places, pattern_of
from searchx.records import Query
from searchx.refreshing import refresh_snapshots
from searchx.search import Library
from searchx.vectors import UNREADABLE, Origin, Snapshot, build, load
from searchx.views import read_view
from tests.rows import rows_of, some
from tests.shelf import ENCODER, add, fresh, names


@pytest.fixture
def indexed(tmp_path: Path) -> Snapshot:
    """Build a small snapshot that has an index all the same."""
    ids, matrix = some(600, dim=32)
    return build(tmp_path, rows_of(ids, matrix), "image", Origin("l", "s", 1, 0), index_from=256)


@pytest.fixture
def without_model(tmp_path: Path) -> Iterator[Library]:
    """Open a library whose model is not there (any more)."""
    directory = tmp_path / "library"
    with closing(fresh(directory)) as catalog:
        add(catalog, range(12))
        with Library(catalog) as library:
            yield library


def test_a_snapshot_is_loaded_once_while_the_catalog_moves_on(catalog: Catalog) -> None:
    add(catalog, range(20))
    refresh_snapshots(catalog)
    before = read_view(catalog, "image")
    add(catalog, [20])
    after = read_view(catalog, "image", before)
    assert after.snapshot is before.snapshot is not None
    assert (before.count, after.count) == (20, 21)
    refresh_snapshots(catalog, whole=True)
    newest = read_view(catalog, "image", after)
    assert newest.snapshot is not None
    assert newest.snapshot.manifest.count == 21
    assert not len(newest.tail.ids)


def test_a_snapshot_of_the_same_name_but_of_another_catalog_is_not_taken_over(
    tmp_path: Path,
) -> None:
    with closing(fresh(tmp_path / "one")) as one, closing(fresh(tmp_path / "other")) as other:
        add(one, range(20))
        add(other, range(5))
        refresh_snapshots(one)
        refresh_snapshots(other)
        before = read_view(one, "image")
        (tmp_path / "one").rename(tmp_path / "before")
        (tmp_path / "other").rename(tmp_path / "one")
        with closing(Catalog.open(tmp_path / "one")) as swapped:
            after = read_view(swapped, "image", before)
    assert after.newest == before.newest
    assert after.count == len(after.ids) == 5


def test_a_list_of_what_passes_a_filter_needs_no_model(without_model: Library) -> None:
    assert len(without_model.search(Query(where=Is("folder", "image")), 20)) == 12
    assert len(without_model.search(Query(to="image"), 5)) == 5
    with pytest.raises(ModelError):
        without_model.search("red")


def test_more_like_an_item_needs_no_model_once_its_captions_are_kept(
    catalog: Catalog, library: Library
) -> None:
    add(catalog, range(12))
    first = library.search(Query(like=1), 5)  # embeds the captions and keeps them
    with Library.open(catalog.directory) as other:
        assert names(other.search(Query(like=1), 5)) == names(first)


@pytest.mark.parametrize("at", range(4, 400, 18))
def test_a_damaged_index_is_unreadable_or_whole(indexed: Snapshot, at: int) -> None:
    """Its head holds lengths: a wrong one must not end the process, nor ask for all memory."""
    file = indexed.directory / "index.faiss"
    content = bytearray(file.read_bytes())
    content[at] ^= 0xFF
    file.write_bytes(content)
    try:
        loaded = load(indexed.directory)
    except UNREADABLE:
        return
    ids, _ = loaded.search(np.eye(32, dtype=np.float32)[:3], 5)
    assert ids.shape == (3, 5)


@given(
    st.text("ab*?", max_size=8),
    st.lists(st.text("abc", max_size=7), min_size=1, max_size=5, unique=True),
)
def test_stars_and_question_marks_stand_for_what_they_always_do(
    pattern: str, folders: list[str]
) -> None:
    looked_for = pattern_of(Is("path", f"/{pattern}"))
    assert looked_for is not None
    fitting = fitting_places(looked_for, [f"/{one}" for one in folders]).tolist()
    assert fitting == [place for place, one in enumerate(folders) if fnmatchcase(one, pattern)]


@pytest.mark.parametrize("value", ["*" + "?" * 60 + "b/*", "*" + "?*" * 40 + "b", "*a" + "?" * 90])
def test_no_value_of_a_filter_takes_long_to_look_for(value: str) -> None:
    paths = ["/photos" + "/aaaa" * 30 + f"/{number}.jpg" for number in range(400)]
    usual = min(spent_on("*/nowhere/*", paths) for _ in range(3))
    assert min(spent_on(value, paths) for _ in range(3)) < 10 * usual  # each ? by itself: 30


def spent_on(value: str, paths: list[str]) -> float:
    looked_for = pattern_of(Is("path", value))
    assert looked_for is not None
    began = perf_counter()
    fitting_places(looked_for, paths)
    return perf_counter() - began


def test_a_page_far_down_is_as_good_as_the_first(catalog: Catalog, library: Library) -> None:
    add(catalog, range(90))
    before = ENCODER.embedded_images
    everything = names(library.search("red", 90))
    seen, cursor = [], None
    for _ in range(9):
        answer = library.ask("red", 10, after=cursor)
        seen += names(list(answer.hits))
        cursor = answer.cursor
    assert seen == everything
    assert cursor is None
    assert not [one for one in seen if re.search("[^0-9]", one)]
    assert ENCODER.embedded_images == before
