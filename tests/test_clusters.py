"""Clusters: every item is in exactly one leaf, always the same one, and words tell them apart."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchx.catalog import Catalog
from searchx.clusters import MOST, UNDIVIDED, divide
from searchx.errors import BadInput
from searchx.exploring import Level
from searchx.naming import names, vocabulary_of
from searchx.records import Ids, Vectors
from searchx.search import Library
from tests.colour import COLOURS
from tests.shelf import ENCODER, add, drop, vector


def rows(seed: int, count: int, kinds: int) -> Vectors:
    """Give unit vectors around some directions; some of them are the same."""
    random = np.random.default_rng(seed)
    middles = random.normal(size=(kinds, 6))
    made = middles[random.integers(0, kinds, count)] + 0.3 * random.normal(size=(count, 6))
    made[: count // 4] = middles[0]
    unit: Vectors = (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)
    return unit


def reading(ids: Ids, vectors: Vectors, ids_at_once: int = 50):  # type: ignore[no-untyped-def]  # noqa: ANN201
    def read(wanted: Ids) -> Iterator[tuple[Ids, Vectors]]:
        for start in range(0, len(wanted), ids_at_once):
            some = wanted[start : start + ids_at_once]
            yield some, vectors[np.searchsorted(ids, some)]

    return read


@given(st.integers(0, 1000), st.integers(0, 300), st.integers(1, 20))
@settings(max_examples=40, deadline=None)
def test_each_item_is_in_exactly_one_group(seed: int, count: int, kinds: int) -> None:
    vectors, ids = rows(seed, count, kinds), np.arange(count) * 3 + 5
    groups = divide(ids, reading(ids, vectors))
    if groups:
        assert np.sort(np.concatenate([one.ids for one in groups])).tolist() == ids.tolist()
        assert 2 <= len(groups) <= MOST
        sizes = [len(one.ids) for one in groups]
        assert sizes == sorted(sizes, reverse=True) and min(sizes) > 0
        assert all((np.diff(one.scores) <= 0).all() for one in groups)
    if count <= UNDIVIDED:
        assert groups == ()
    again = divide(ids[::-1], reading(ids, vectors, 7))
    assert [one.ids.tolist() for one in again] == [one.ids.tolist() for one in groups]


def test_what_is_alike_stays_together() -> None:
    """Four bundles of vectors become groups that hold nothing of two bundles."""
    random = np.random.default_rng(3)
    middles = np.eye(8)[:4]
    made = np.repeat(middles, 30, axis=0) + 0.05 * random.normal(size=(120, 8))
    vectors = (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)
    ids = np.arange(120)
    groups = divide(ids, reading(ids, vectors))
    assert all(len({one // 30 for one in group.ids.tolist()}) == 1 for group in groups)


def test_what_cannot_be_told_apart_is_not_divided() -> None:
    ids = np.arange(100)
    same = np.repeat(vector(1), 100, axis=0)
    assert divide(ids, reading(ids, same)) == ()


def leaves(library: Library, at: str = "") -> Iterator[Level]:
    level = library.clusters(at, k=1000)
    if not level.parts:
        yield level
    for part in level.parts:
        yield from leaves(library, part.at)


def test_every_item_of_a_library_is_in_exactly_one_leaf(catalog: Catalog, library: Library) -> None:
    add(catalog, range(300))
    drop(catalog, [3, 4])
    add(catalog, range(5), "text")
    held = [item.id for leaf in leaves(library) for item in leaf.items]
    everything = [item.id for item in library.sample(1000)]
    assert sorted(held) == sorted(everything) and len(held) == 298
    level = library.clusters()
    assert sum(part.size for part in level.parts) == level.cluster.size == 298
    assert all(part.typical for part in level.parts)


def test_another_reader_finds_the_same_clusters(catalog: Catalog, library: Library) -> None:
    add(catalog, range(100))
    with Library.open(catalog.directory, encoder=ENCODER) as other:
        assert other.clusters("2") == library.clusters("2")


def test_pages_of_a_cluster_are_all_of_it(catalog: Catalog, library: Library) -> None:
    add(catalog, range(90))
    whole = library.clusters("1", k=1000)
    assert whole.cursor is None and len(whole.items) == whole.cluster.size
    found, after = [], None
    while True:
        level = library.clusters("1", k=4, after=after)
        found += [one.id for one in level.items]
        after = level.cursor
        if after is None:
            break
    assert found == [one.id for one in whole.items]
    with pytest.raises(BadInput, match="another query"):
        library.clusters("2", after=library.clusters("1", k=1).cursor)


def test_the_items_of_a_cluster_are_ordered_by_words(photos: Path, library: Library) -> None:
    level = library.clusters(query="yellow", k=3)
    scores = {one.id: one.score for one in library.search("yellow", k=100)}
    assert Path(level.items[0].path).stem == "yellow"
    assert list(level.scores) == pytest.approx([scores[one.id] for one in level.items])
    rest = library.clusters(query="yellow", k=100, after=level.cursor)
    assert len(level.items) + len(rest.items) == len(COLOURS)


@pytest.mark.parametrize("at", ["9", "1.9.9", "0", "x", "1.", "1..1", "1" * 60, "٣"])
def test_a_cluster_that_is_not_there_is_refused(photos: Path, library: Library, at: str) -> None:
    with pytest.raises(BadInput, match="cluster"):
        library.clusters(at)


def test_few_items_are_looked_at_together(photos: Path, library: Library) -> None:
    level = library.clusters()
    assert level.parts == () and len(level.items) == len(COLOURS)
    assert library.clusters(to="text").cluster.size == len(COLOURS)


def test_words_tell_groups_apart() -> None:
    texts = [f"{thing} number {place}" for thing in ("dogs", "dog", "boats") for place in "abcdefg"]
    places = {"dogs": [1, 0.2, 0], "dog": [1, 0.1, 0], "boats": [0, 0, 1]}
    vectors = np.array([places[one.split()[0]] for one in texts], np.float32)
    words = vocabulary_of([(texts, vectors)])
    assert set(words.words) == {"dogs", "dog", "boats", "number"}
    named = names(words, np.array([[0.7, 0, -0.7], [-0.7, 0, 0.7]], np.float32))
    assert named[0][0] in ("dog", "dogs") and named[1] == ("boats",)
    assert not {"dog", "dogs"} <= set(named[0])  # forms of one word


def test_without_captions_there_are_no_words() -> None:
    assert names(vocabulary_of([]), np.eye(2, dtype=np.float32)) == [(), ()]
