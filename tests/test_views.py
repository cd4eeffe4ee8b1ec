import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchx import vectors
from searchx.catalog import Catalog, Content, NewFile, NewItem
from searchx.filters import Between, Is, Not
from searchx.records import Ids, Query, Space, Vectors
from searchx.refreshing import refresh_snapshots
from searchx.search import Library
from searchx.vectors import NO_ID, Origin
from searchx.views import SNAPSHOTS, read_view
from tests.rows import DIM, clustered, recall, rows_of, worded
from tests.shelf import (
    ENCODER,
    ROOT,
    add,
    answer,
    digest,
    drop,
    embed,
    expected,
    fresh,
    locate,
    vector,
)


def test_what_another_process_adds_and_removes_is_seen_at_once(
    catalog: Catalog, library: Library
) -> None:
    add(catalog, range(30))
    assert answer(library) == expected(range(30))
    refresh_snapshots(catalog)
    assert answer(library) == expected(range(30))
    add(catalog, [30])
    assert answer(library) == expected(range(31))
    drop(catalog, [3, 30])
    left = [one for one in range(30) if one != 3]
    assert answer(library) == expected(left)
    refresh_snapshots(catalog)
    assert answer(library) == expected(left)


def test_a_vector_without_a_file_costs_no_hit_its_place(catalog: Catalog, library: Library) -> None:
    nearest = [one for one, _ in expected(range(100))]
    embed(catalog, nearest[:50])  # the run was interrupted before it wrote their files down
    add(catalog, nearest[50:80])
    for _ in range(2):
        assert answer(library, k=5) == expected(nearest[50:80])[:5]
        hits = library.search(Query(like=1 + 50), k=29)
        assert len(hits) == 29
        refresh_snapshots(catalog)
    locate(catalog, nearest[:50])  # the next run finds their vectors and embeds nothing
    for _ in range(2):
        assert answer(library) == expected(nearest[:80])
        refresh_snapshots(catalog)
    drop(catalog, nearest[:10], clean=False)  # between a move and the end of a run
    for _ in range(2):
        assert answer(library, k=5) == expected(nearest[10:80])[:5]
        assert len(library.search("red", k=70)) == 70
        refresh_snapshots(catalog)


Step = tuple[str, list[int]]
steps = st.lists(
    st.tuples(
        st.sampled_from(["add", "embed", "locate", "drop", "lose", "refresh", "rebuild"]),
        st.lists(st.integers(0, 11), max_size=5, unique=True),
    ),
    max_size=10,
)


@settings(max_examples=40, deadline=None)
@given(steps=steps)
def test_every_history_answers_like_a_fresh_library(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step]
) -> None:
    """Snapshot, tail and what is hidden together are the set of items that files hold."""
    directory = tmp_path_factory.mktemp("library")
    with closing(fresh(directory)) as catalog, Library.open(directory, encoder=ENCODER) as library:
        known: set[int] = set()
        located: set[int] = set()
        for action, numbers in steps:
            if action == "add":
                add(catalog, numbers)
            elif action == "embed":
                embed(catalog, numbers)
            elif action == "locate":
                numbers = [one for one in numbers if one in known]
                locate(catalog, numbers)
            elif action in ("drop", "lose"):
                drop(catalog, numbers, clean=action == "drop")
            elif action == "refresh":
                refresh_snapshots(catalog)
            else:
                shutil.rmtree(directory / SNAPSHOTS, ignore_errors=True)
                refresh_snapshots(catalog)
            known |= set(numbers) if action in ("add", "embed") else set()
            located |= set(numbers) if action in ("add", "locate") else set()
            located -= set(numbers) if action in ("drop", "lose") else set()
            known = set(located) if action == "drop" else known
            assert answer(library) == expected(sorted(located))


def test_adding_and_removing_changes_nothing(catalog: Catalog, library: Library) -> None:
    add(catalog, range(40))
    refresh_snapshots(catalog)
    before = library.search_batch(vector(77), 10)
    add(catalog, range(100, 110))
    assert len(answer(library)) == 50
    drop(catalog, range(100, 110))
    after = library.search_batch(vector(77), 10)
    assert np.array_equal(before[0], after[0])
    assert np.array_equal(before[1], after[1])


@pytest.mark.parametrize("damage", ["gone", "manifest.json", "ids.npy", "matrix.npy"])
def test_a_broken_snapshot_costs_no_answer(catalog: Catalog, library: Library, damage: str) -> None:
    add(catalog, range(20))
    refresh_snapshots(catalog)
    place = vectors.newest(catalog.directory / SNAPSHOTS, "image")
    assert place is not None
    if damage == "gone":
        shutil.rmtree(catalog.directory / SNAPSHOTS)
    else:
        (place / damage).write_bytes(b"")
    assert answer(library) == expected(range(20))
    refresh_snapshots(catalog)
    mended = vectors.newest(catalog.directory / SNAPSHOTS, "image")
    assert mended is not None
    assert vectors.load(mended).manifest.count == 20
    assert answer(library) == expected(range(20))


def test_a_snapshot_of_another_space_is_not_used(catalog: Catalog, library: Library) -> None:
    add(catalog, range(20))
    ids, matrix, version = catalog.read_vectors("image")
    place = catalog.directory / SNAPSHOTS
    origin = Origin(version.library, "other", version.added, version.removed)
    vectors.build(place, rows_of(ids, matrix[::-1]), "image", origin)
    assert answer(library) == expected(range(20))


def test_a_snapshot_of_another_catalog_is_refused_by_readers(tmp_path: Path) -> None:
    with closing(fresh(tmp_path / "one")) as one, closing(fresh(tmp_path / "other")) as other:
        add(one, range(20))
        add(other, range(100, 120))
        refresh_snapshots(one)
    shutil.copytree(tmp_path / "one" / SNAPSHOTS, tmp_path / "other" / SNAPSHOTS)
    with Library.open(tmp_path / "other", encoder=ENCODER) as library:
        assert answer(library) == expected(range(100, 120))


def found(library: Library, text: str = "red", k: int = 100) -> list[int]:
    """Ask with a text, so that words are looked for as well; gives the numbers of the items."""
    return [int(hit.item.digest, 16) for hit in library.search(text, k)]


def test_an_item_that_came_back_is_found_once(catalog: Catalog, library: Library) -> None:
    add(catalog, range(20))
    refresh_snapshots(catalog, whole=True)
    drop(catalog, [3, 4], clean=False)  # as a move does it, in two transactions
    assert sorted(found(library)) == [one for one in range(20) if one not in (3, 4)]
    locate(catalog, [3])
    assert sorted(found(library)) == [one for one in range(20) if one != 4]
    assert found(library, "3")[0] == 3  # by the name of its file
    view = read_view(catalog, "image")
    assert len(view.rows(view.ids)[0]) == len(set(view.ids.tolist())) == view.count == 19
    assert len(view.sample(100)) == 19


@settings(max_examples=30, deadline=None)
@given(steps=steps)
def test_every_history_is_listed_like_a_fresh_library(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step]
) -> None:
    """The same for what is found by words and vectors together."""
    directory = tmp_path_factory.mktemp("library")
    with closing(fresh(directory)) as catalog, Library.open(directory, encoder=ENCODER) as library:
        located: set[int] = set()
        for action, numbers in steps:
            if action == "add":
                add(catalog, numbers)
                located |= set(numbers)
            elif action in ("drop", "lose"):
                drop(catalog, numbers, clean=False)
                located -= set(numbers)
            elif action in ("refresh", "rebuild"):
                refresh_snapshots(catalog, whole=action == "rebuild")
            assert sorted(found(library)) == sorted(located)
            for one in sorted(located)[:2]:
                assert found(library, str(one))[0] == one


def test_a_filter_sees_a_file_that_was_moved(catalog: Catalog, library: Library) -> None:
    """Nothing appears and nothing goes; but what is kept of a filter is another answer now."""
    add(catalog, range(6))
    here, there = Is("folder", "image"), Is("folder", "elsewhere")
    assert len(library.search(Query("red", where=here))) == 6
    assert library.search(Query("red", where=there)) == []
    with catalog.knowing(ROOT) as known:
        file = known.files(f"{ROOT}/image").ids["2"]
    with catalog.writing() as tx:
        moved = NewFile(f"{ROOT}/elsewhere/2", 1, 1, [Content("image", digest(2))])
        tx.set_file(ROOT, moved)
        tx.drop_files([file])
    assert len(library.search(Query("red", where=here))) == 5
    assert len(library.search(Query("red", where=there))) == 1


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 40), st.sets(st.integers(0, 40), max_size=20), st.integers(0, 50), st.booleans()
)
def test_filtering_equals_searching_the_subset(
    tmp_path_factory: pytest.TempPathFactory,
    snapshot: int,
    gone: set[int],
    least: int,
    is_not: bool,
) -> None:
    directory = tmp_path_factory.mktemp("library")
    with closing(fresh(directory)) as catalog, Library.open(directory, encoder=ENCODER) as library:
        add(catalog, range(snapshot))
        refresh_snapshots(catalog)
        add(catalog, range(snapshot, 45))
        drop(catalog, sorted(gone))
        bounds = Between("id", low=least)
        where = Not(bounds) if is_not else bounds
        ids, scores = library.search_batch(ENCODER.embed_texts(["red", "blue"]), 50, where=where)
        everything, all_scores = library.search_batch(ENCODER.embed_texts(["red", "blue"]), 50)
        for row in range(2):
            passing = [
                (one, score)
                for one, score in zip(everything[row], all_scores[row], strict=True)
                if one != NO_ID and (one >= least) != is_not
            ]
            real = ids[row] != NO_ID
            assert list(zip(ids[row][real], scores[row][real], strict=True)) == passing


COUNT = 11_400  # items: so many that a snapshot with an index is asked


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library whose snapshot has an index and holds all but the last 900 items."""
    directory = tmp_path_factory.mktemp("large")
    rows = clustered(COUNT)
    with closing(Catalog.open(directory, create=True)) as catalog:
        for numbers in (range(COUNT - 900), range(COUNT - 900, COUNT)):
            with catalog.writing() as tx:
                tx.claim_space(Space("made-up", "made-up-1", DIM))
                tx.add_source(ROOT)
                tx.add_items([NewItem("image", digest(one), rows[one]) for one in numbers])
                contents = [Content("image", digest(one), f"row {one}") for one in numbers]
                tx.set_file(ROOT, NewFile(f"{ROOT}/{numbers.start}", 1, 1, contents))
            if numbers.start == 0:
                with catalog.rows("image") as (held, version):
                    origin = Origin(version.library, "made-up-1", version.added, version.removed)
                    asked = {"text": worded(100, seed=90)}
                    vectors.build(directory / SNAPSHOTS, held, "image", origin, 256, asked)
    return directory


def exact(directory: Path, queries: Vectors, among: Sequence[int]) -> Ids:
    with closing(Catalog.open(directory)) as catalog:
        ids, matrix = catalog.vectors_of(among)
    return vectors.Scan(ids, matrix).search(queries, 10)[0]


def test_snapshot_and_tail_are_searched_as_one(large: Path) -> None:
    queries = worded(100, seed=2)
    with Library.open(large) as library:
        ids, _ = library.search_batch(queries, 10)
        assert recall(ids, exact(large, queries, range(1, COUNT + 1))) >= 0.97
        where = Between("id", low=600)
        ids, _ = library.search_batch(queries, 10, where=where)
        assert recall(ids, exact(large, queries, range(600, COUNT + 1))) >= 0.97
        assert (ids >= 600).all()
        where = Between("id", low=COUNT - 1_100)
        ids, _ = library.search_batch(queries, 10, where=where)
        assert np.array_equal(ids, exact(large, queries, range(COUNT - 1_100, COUNT + 1)))


def test_adding_and_removing_changes_nothing_beside_an_index(large: Path, tmp_path: Path) -> None:
    shutil.copytree(large, tmp_path / "library")
    queries = worded(50, seed=3)
    with (
        closing(Catalog.open(tmp_path / "library")) as catalog,
        Library.open(tmp_path / "library") as library,
    ):
        before = library.search_batch(queries, 10)
        with catalog.writing() as tx:
            rows = clustered(200, seed=5)
            items = [NewItem("image", digest(COUNT + one), row) for one, row in enumerate(rows)]
            tx.add_items(items)
            contents = [Content("image", item.digest, item.digest) for item in items]
            tx.set_file(ROOT, NewFile(f"{ROOT}/more", 1, 1, contents))
        assert not np.array_equal(library.search_batch(queries, 10)[0], before[0])
        with catalog.knowing(ROOT) as known:
            file = known.files(ROOT).ids["more"]
        with catalog.writing() as tx:
            tx.drop_files([file])
            tx.drop_orphans()
        after = library.search_batch(queries, 10)
    assert np.array_equal(before[0], after[0])
    assert np.array_equal(before[1], after[1])
