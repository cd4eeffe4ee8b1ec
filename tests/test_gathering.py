"""Groups of duplicates: complete, the best one named, within a filter, in pages."""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from indexer.pipeline import index_into
from searchx.catalog import Catalog
from searchx.errors import BadInput
from searchx.gathering import DuplicateGroup, Gatherer, _Gathered
from searchx.ranking import groups
from searchx.records import Ids, Vectors
from searchx.search import Library
from searchx.views import View, read_view
from tests.colour import ColourEncoder, paint
from tests.shelf import add, drop

SIZES = {"large": (256, 192), "small": (64, 48)}


@pytest.fixture
def twice(tmp_path: Path) -> Iterator[Library]:
    """A red picture in two sizes, the large one in two folders, and others once."""
    folder = tmp_path / "photos"
    for name, size in SIZES.items():
        paint(folder / "a" / f"red {name}.png", "red", size)
    for colour in ("green", "blue", "yellow", "cyan", "black"):
        paint(folder / "a" / f"{colour}.png", colour)
    shutil.copy(folder / "a" / "red large.png", folder / "b.png")
    os.utime(folder / "a" / "red large.png", ns=(10**18, 10**18))  # the older one of the two
    (folder / "one.txt").write_text("the same words")
    (folder / "two.txt").write_text("the same words")
    index_into(tmp_path / "library", folder, ColourEncoder())
    with Library.open(tmp_path / "library", encoder=ColourEncoder()) as library:
        yield library


def names(group: DuplicateGroup) -> list[str]:
    return [Path(one.path).name for one in (group.best, *group.others)]


def test_copies_and_near_duplicates_are_one_group(twice: Library, tmp_path: Path) -> None:
    found = twice.duplicate_groups()
    (group,) = found.groups
    assert names(group) == ["red large.png", "b.png", "red small.png"]
    assert group.reason == "pixels" and not group.is_exact
    assert [one.likeness for one in group.others] == pytest.approx([1, 1])
    sizes = [Path(one.path).stat().st_size for one in group.others]
    assert [one.bytes for one in group.others] == sizes
    assert (found.count, found.files, found.bytes) == (1, 2, sum(sizes)) and group.bytes == sum(
        sizes
    )
    assert found.cursor is None


def test_texts_that_stand_in_two_files_are_copies(twice: Library) -> None:
    (group,) = twice.duplicate_groups(to="text").groups
    assert group.is_exact and group.reason == "oldest"
    assert sorted(names(group)) == ["one.txt", "two.txt"]
    assert group.bytes == 0  # a passage is only a part of its file


def test_a_filter_leaves_groups_among_what_passes(twice: Library) -> None:
    (group,) = twice.duplicate_groups(where="folder:a").groups
    assert names(group) == ["red large.png", "b.png", "red small.png"]
    (group,) = twice.duplicate_groups(where="width:>100").groups
    assert names(group) == ["red large.png", "b.png"] and group.is_exact
    assert twice.duplicate_groups(where="width:<100").groups == ()
    with pytest.raises(BadInput):
        twice.duplicate_groups(where="camra:x")


def test_what_is_removed_or_copied_is_seen_at_once(twice: Library, tmp_path: Path) -> None:
    assert twice.duplicate_groups().files == 2
    shutil.copy(tmp_path / "photos" / "a" / "green.png", tmp_path / "photos" / "green copy.png")
    (tmp_path / "photos" / "b.png").unlink()
    index_into(tmp_path / "library", (), ColourEncoder())
    found = twice.duplicate_groups()
    assert {names(one)[0] for one in found.groups} == {"red large.png", "green.png"}
    assert found.files == 2


def test_a_file_that_two_sources_hold_is_one_file(tmp_path: Path) -> None:
    paint(tmp_path / "photos" / "inner" / "red.png", "red")
    paint(tmp_path / "photos" / "inner" / "blue.png", "blue")
    sources = [tmp_path / "photos", tmp_path / "photos" / "inner"]
    index_into(tmp_path / "library", sources, ColourEncoder())
    with Library.open(tmp_path / "library", encoder=ColourEncoder()) as library:
        assert library.duplicate_groups().groups == ()


def test_all_groups_are_those_of_brute_force(catalog: Catalog) -> None:
    add(catalog, range(400))
    gatherer = Gatherer(catalog, lambda kind: read_view(catalog, kind), lambda: 0.97)
    found, after = [], None
    while True:
        page = gatherer.page("image", None, 7, after)
        found += [
            (one.best.item.id, *(other.item.id for other in one.others)) for one in page.groups
        ]
        after = page.cursor
        if after is None:
            break
    ids, halves, _ = catalog.read_vectors("image")  # of one size each: the first is the best
    firsts = groups(halves.astype(np.float32), 0.97)
    members = [ids[firsts == one].tolist() for one in np.unique(firsts)]
    assert sorted(map(sorted, found)) == sorted(one for one in members if len(one) > 1)
    assert page.count == len(found) > 7


def test_what_is_removed_while_items_are_compared_is_left_out(catalog: Catalog) -> None:
    add(catalog, range(400))

    class Disturbed(View):
        def rows(self, ids: Ids) -> tuple[Ids, Vectors]:
            drop(catalog, range(0, 400, 2))
            return View.rows(self, ids)

    view = read_view(catalog, "image")
    disturbed = Disturbed(view.kind, view.version, None, None, view.excluded, view.tail)
    gatherer = Gatherer(catalog, lambda kind: disturbed, lambda: 0.97)
    found = gatherer.page("image", None, 400, None).groups
    assert found
    held = {one.item.id for group in found for one in (group.best, *group.others)}
    assert held <= set(read_view(catalog, "image").ids.tolist())


def test_what_took_long_is_not_gathered_again_at_each_change() -> None:
    now = time.monotonic()
    assert _Gathered(1, [], now, 0.1).will_do(1)
    assert not _Gathered(1, [], now, 0.1).will_do(2)
    assert _Gathered(1, [], now - 10, 3.0).will_do(2)
    assert not _Gathered(1, [], now - 40, 3.0).will_do(2)
