"""Recommendations from a real index: the laws of exact ones, and nearly their lists."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pytest

from searchx import vectors
from searchx.catalog import Catalog, Content, NewFile, NewItem
from searchx.ragged import Ragged
from searchx.records import Ids, Rows, Space, Vectors
from searchx.search import Library
from searchx.views import SNAPSHOTS
from searchx.wishes import Options
from tests.rows import unit
from tests.shelf import digest

ITEMS, DIM, TASTES = 2_400, 32, 16
ROOT = "/shop"
USERS = 90


def made_up() -> Vectors:
    random = np.random.default_rng(5)
    centres = unit(random.normal(size=(TASTES, DIM)))
    return unit(centres[np.arange(ITEMS) % TASTES] + 0.15 * random.normal(size=(ITEMS, DIM)))


def library_of(place: Path) -> Library:
    """Make a library in which number n is item n + 1, in a folder of its taste; no snapshot."""
    catalog = Catalog.open(place, create=True)
    with catalog.writing() as tx:
        tx.claim_space(Space("made-up", "made-up-1", DIM))
        tx.add_source(ROOT)
        tx.add_items([NewItem("image", digest(one), row) for one, row in enumerate(made_up())])
        for one in range(ITEMS):
            path = f"{ROOT}/{one % TASTES}/{one}.png"
            tx.set_file(ROOT, NewFile(path, 1, 1, [Content("image", digest(one))]))
    return Library(catalog)


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    with library_of(tmp_path_factory.mktemp("exact") / "library") as library:
        yield library


@pytest.fixture(scope="module")
def indexed(exact: Library, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    place = tmp_path_factory.mktemp("indexed") / "library"
    shutil.copytree(exact.directory, place)
    with Library.open(place) as library:
        ids, halves, version = library._catalog.read_vectors("image")
        origin = vectors.Origin(version.library, "made-up-1", version.added, version.removed)
        rows = Rows(len(ids), DIM, iter([(ids, halves)]))
        (place / SNAPSHOTS).mkdir(exist_ok=True)
        vectors.build(place / SNAPSHOTS, rows, "image", origin, index_from=256)
        view = library._view("image")
        assert view.snapshot is not None
        assert "IVF" in view.snapshot.manifest.factory
        assert not len(view.tail.ids)
        yield library


def histories() -> list[list[int]]:
    random = np.random.default_rng(1)
    own = random.integers(0, TASTES, (USERS, 2))
    tastes = np.take_along_axis(own, random.integers(0, 2, (USERS, 12)), 1)
    numbers = tastes + TASTES * random.integers(0, ITEMS // TASTES, (USERS, 12))
    return [(1 + row).tolist() for row in numbers]


def shared(one: Ids, other: Ids) -> float:
    """Tell which share of the second lists is in the first."""
    pairs = zip(one, other, strict=True)
    return float(np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in pairs]))


OPTIONS: list[Options] = [
    {},
    {"interests": 1},
    {"diversity": 0.3},
    {"collapse": 0.97},
    {"group": "folder", "per_group": 3},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_an_index_gives_nearly_the_exact_lists(
    exact: Library, indexed: Library, options: Options
) -> None:
    ids, scores = indexed.recommend_batch(histories(), k=10, **options)
    assert shared(ids, exact.recommend_batch(histories(), k=10, **options).ids) > 0.95
    assert ((ids > 0) & np.isfinite(scores)).all()
    assert not Ragged.of(histories()).holds(ids).any()  # nothing that is known


@pytest.mark.parametrize("where", [None, "folder:3|5", "id:1..300"])
def test_nobody_and_no_number_of_threads_changes_what_a_user_gets(
    indexed: Library, where: str | None
) -> None:
    ids, scores = indexed.recommend_batch(histories(), k=10, where=where)
    cores = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        again = indexed.recommend_batch(histories(), k=10, where=where)
    finally:
        faiss.omp_set_num_threads(cores)
    assert (again.ids == ids).all()
    assert (again.scores == scores).all()
    for user in range(0, USERS, 9):
        alone = indexed.recommend_batch([histories()[user]], k=10, where=where)
        assert alone.ids[0].tolist() == ids[user].tolist()
        assert alone.scores[0].tolist() == scores[user].tolist()


def test_the_cosines_are_exact(indexed: Library) -> None:
    """By the index come the candidates; what they are worth is told by their vectors."""
    liked = indexed.vectors([1])
    ids, scores = indexed.recommend_batch(liked, k=20)
    assert scores[0] == pytest.approx(indexed.vectors(ids[0]) @ liked[0], abs=2e-4)
    assert (np.diff(scores[0]) <= 0).all()


def test_dislikes_lower_what_matches_them(indexed: Library) -> None:
    liked, disliked = [1, 1 + TASTES, 2], [2 + TASTES, 2 + 2 * TASTES]
    plain = [hit.id for hit in indexed.recommend(liked, k=20)]
    turned = [hit.id for hit in indexed.recommend(liked, disliked, k=20)]
    of_it = [sum((one - 1) % TASTES == 1 for one in hits) for hits in (plain, turned)]
    assert of_it[1] <= of_it[0]
    assert not {*disliked, *liked} & {*turned}


def table(library: Library, **options: Any) -> dict[int, list[int]]:
    read = pa.Table.from_batches(library.similar_items(k=8, of="id:1..200", **options))
    return dict(zip(read["id"].to_pylist(), read["similar"].to_pylist(), strict=True))


@pytest.mark.parametrize("options", [{}, {"group": "folder", "per_group": 2}, {"collapse": 0.9}])
def test_the_table_of_similar_items_is_nearly_the_exact_one(
    exact: Library, indexed: Library, options: dict[str, Any]
) -> None:
    ours, theirs = table(indexed, **options), table(exact, **options)
    assert [*ours] == [*theirs] == [*range(1, 201)]
    held = [len(set(ours[one]) & set(theirs[one])) / len(theirs[one]) for one in ours]
    assert np.mean(held) > 0.95
    assert all(one not in similar for one, similar in ours.items())


@pytest.mark.parametrize("which", ["exact", "indexed"])
def test_similar_items_have_caps(which: str, request: pytest.FixtureRequest) -> None:
    library: Library = request.getfixturevalue(which)
    for similar in table(library, group="folder", per_group=2).values():
        assert len(similar) == 8  # other folders are gone through until it is full
        assert np.bincount([(one - 1) % TASTES for one in similar]).max() == 2


@pytest.mark.parametrize("which", ["exact", "indexed"])
def test_similar_items_are_no_near_duplicates(which: str, request: pytest.FixtureRequest) -> None:
    library: Library = request.getfixturevalue(which)
    collapsed = table(library, collapse=0.7)
    assert collapsed != table(library)
    for one, similar in collapsed.items():
        rows = library.vectors([one, *similar])
        likeness = rows @ rows.T
        assert likeness[np.triu_indices(len(rows), 1)].max() < 0.7
