"""Pages put together are the one long list."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from searchx.catalog import Catalog, Content, NewFile, NewItem
from searchx.errors import BadInput
from searchx.filters import Between
from searchx.records import Answer, Hit, Kind, Part, Query, Target, Vectors
from searchx.refreshing import refresh_snapshots
from searchx.search import Library
from tests.colour import paint
from tests.rows import unit
from tests.shelf import ENCODER, digest, fresh, names, vector

WORDS = ("beach", "snow", "car", "barn")
COUNT = 120
QUERIES = {
    "plain": Query("red"),
    "words": Query("red snow on a beach"),
    "only words": Query("snow"),
    "negative": Query("red", parts=(Part("blue", weight=-1), Part("green", weight=-0.3))),
    "words and negative": Query("a yellow barn", parts=(Part("red snow", weight=-2),)),
    "like": Query(like=3),
    "filtered": Query("blue car", where=Between("id", low=30, high=100)),
    "filter alone": Query(where=Between("id", low=30, high=100)),
    "named": Query("snow_41.png"),
}


def look(number: int) -> Vectors:
    """Give a vector; every ninth is much like the one before."""
    if number % 9 == 8:
        return unit(vector(number - 1) + 0.001 * vector(number + 7_000))
    return vector(number)


def put(catalog: Catalog, numbers: Sequence[int], kind: Kind = "image", word: str = "") -> None:
    """Add items in files whose names are a word and a number."""
    folder = catalog.directory.parent
    with catalog.writing() as tx:
        tx.add_source(str(folder))
        for one in numbers:
            named = word or WORDS[one % len(WORDS)]
            text = f"{named} {named} number {one}" if kind == "text" else None
            tx.add_items([NewItem(kind, digest(one), look(one)[0], text)])
            path = folder / kind / f"{named}_{one}.{'png' if kind == 'image' else 'txt'}"
            tx.set_file(str(folder), NewFile(str(path), 1, 1, [Content(kind, digest(one))]))


def take(catalog: Catalog, ids: Sequence[int]) -> None:
    """Remove items, by the files that they are in."""
    folder = str(catalog.directory.parent)
    with catalog.knowing(folder) as known:
        files = {
            f"{place}/{name}": id
            for place in known.folders
            for name, id in known.files(place).ids.items()
        }
    with catalog.writing() as tx:
        tx.drop_files([files[one.path] for one in catalog.items(ids).values()])
        tx.drop_orphans()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a library of pictures and texts, some of each in the tail."""
    place = tmp_path_factory.mktemp("pages") / "library"
    with closing(fresh(place)) as catalog:
        put(catalog, range(COUNT - 10))
        put(catalog, range(60), "text")
        refresh_snapshots(catalog)
        put(catalog, range(COUNT - 10, COUNT))
        put(catalog, range(60, 64), "text")
        for number in range(COUNT):  # by their pictures it is told what near duplicates are
            colour = (number * 37 % 256, number * 91 % 256, number)
            paint(place.parent / "image" / f"{WORDS[number % 4]}_{number}.png", colour, (8, 8))
    return place


@pytest.fixture(scope="module")
def library(directory: Path) -> Iterator[Library]:
    with Library.open(directory, encoder=ENCODER) as opened:
        yield opened


def pages(
    library: Library,
    query: Query,
    k: int,
    to: Target = "image",
    group: bool = False,
    between: Callable[[int, Answer], None] | None = None,
) -> list[Hit]:
    """Turn page after page until there is no other."""
    hits: list[Hit] = []
    after, number = None, 0
    while number == 0 or after is not None:
        answer = library.ask(query, k, to, after=after, group=group)
        assert len(answer.hits) == k or answer.cursor is None
        hits += answer.hits
        after, number = answer.cursor, number + 1
        if between is not None:
            between(number, answer)
    return hits


def ids(hits: Sequence[Hit]) -> list[int]:
    return [hit.id for hit in hits]


@pytest.mark.parametrize("k", [6, 50])
@pytest.mark.parametrize("group", [False, True], ids=["every one", "grouped"])
@pytest.mark.parametrize("to", ["image", "text", "both"])
@pytest.mark.parametrize("query", QUERIES)
def test_pages_put_together_are_the_one_long_list(
    library: Library, query: str, to: Target, group: bool, k: int
) -> None:
    whole = library.ask(QUERIES[query], 1_000, to, group=group)
    assert whole.cursor is None
    turned = pages(library, QUERIES[query], k, to, group)
    assert ids(turned) == ids(whole.hits)
    assert [hit.score for hit in turned] == [hit.score for hit in whole.hits]
    assert len(set(ids(turned))) == len(turned)


@pytest.mark.parametrize("to", ["image", "text", "both"])
def test_without_groups_everything_that_there_is_comes(library: Library, to: Target) -> None:
    there = {"image": COUNT, "text": 64, "both": COUNT + 64}[to]
    assert len(pages(library, Query("red snow"), 9, to)) == there
    assert len(library.search(Query("red snow"), 10_000, to)) == there


@pytest.mark.parametrize("to", ["image", "text", "both"])
@pytest.mark.parametrize("where", [None, Between("id", low=30)])
def test_every_item_is_in_one_group(library: Library, to: Target, where: Between | None) -> None:
    query = Query("red", where=where)
    grouped = pages(library, query, 8, to, group=True)
    held = [one for hit in grouped for one in (hit.id, *hit.alike)]
    assert sorted(held) == sorted(ids(library.search(query, 1_000, to)))
    assert any(hit.alike for hit in grouped)


def test_near_duplicates_are_one_hit_where_only_a_filter_is_given(library: Library) -> None:
    query = Query(where=Between("id", low=1, high=100))
    grouped = library.ask(query, 1_000, group=True).hits
    assert 0 < len(grouped) < 100
    assert sum(1 + len(hit.alike) for hit in grouped) == 100


def test_words_that_many_items_hold_leave_no_gap(tmp_path: Path) -> None:
    """More than are asked for by words: some only turn up as the vectors lead to them."""
    with closing(fresh(tmp_path / "library")) as catalog:
        put(catalog, range(0, 900, 2), word="snow")
        put(catalog, range(1, 900, 2), word="car")
        with Library.open(catalog.directory, encoder=ENCODER) as library:
            for query in (Query("red snow"), Query("snow")):
                whole = library.search(query, 1_000)
                assert ids(pages(library, query, 40)) == ids(whole)
                assert len(whole) == 900


def test_two_kinds_of_unequal_depth_leave_no_gap(tmp_path: Path) -> None:
    """Of one kind words find many, of the other few."""
    with closing(fresh(tmp_path / "library")) as catalog:
        put(catalog, range(250), word="car")
        put(catalog, range(250), "text", word="snow")
        with Library.open(catalog.directory, encoder=ENCODER) as library:
            whole = library.search(Query("red snow"), 1_000, "both")
            assert ids(pages(library, Query("red snow"), 30, "both")) == ids(whole)
            assert len(whole) == 500


class Changing:
    """A library that changes while its pages are turned."""

    def __init__(self, catalog: Catalog, before: set[int], share: int) -> None:
        self.catalog = catalog
        self.before = before
        self.share = share
        self.gone: set[int] = set()
        self.kept: set[int] = {3}  # it is asked with
        self._random = np.random.default_rng(share)

    def __call__(self, number: int, answer: Answer) -> None:
        if number > 3:
            return
        put(self.catalog, range(1_000 * number, 1_000 * number + self.share))
        there = sorted(self.before - self.gone - self.kept)
        leaving = set(self._random.choice(there, self.share, replace=False).tolist())
        if number == 2:  # also the item after which the next page begins
            leaving.add(answer.hits[-1].id)
        leaving -= self.kept
        self.gone |= leaving
        take(self.catalog, sorted(leaving))
        if number == 2:
            refresh_snapshots(self.catalog, whole=True)


@pytest.mark.parametrize("query", ["plain", "like", "filter alone"])
@pytest.mark.parametrize("k", [4, 25])
@pytest.mark.parametrize("share", [2, 15], ids=["a little", "much"])
def test_what_changes_between_pages_repeats_and_loses_nothing(
    tmp_path: Path, query: str, k: int, share: int
) -> None:
    place = tmp_path / "library"
    with closing(fresh(place)) as catalog, Library.open(place, encoder=ENCODER) as library:
        put(catalog, range(COUNT))
        refresh_snapshots(catalog)
        before = set(ids(library.search(QUERIES[query], 1_000)))
        changing = Changing(catalog, before, share)
        turned = ids(pages(library, QUERIES[query], k, between=changing))
        assert len(set(turned)) == len(turned)
        assert before - changing.gone - set(turned) == set()


@pytest.mark.parametrize(
    "query", ["words", "only words", "negative", "words and negative", "named"]
)
@pytest.mark.parametrize(("share", "moved"), [(2, 0.02), (15, 0.05)], ids=["a little", "much"])
def test_with_words_a_change_between_pages_moves_next_to_nothing(
    tmp_path: Path, query: str, share: int, moved: float
) -> None:
    """How much a word counts depends on how many items hold it, so some may change their places."""
    place = tmp_path / "library"
    with closing(fresh(place)) as catalog, Library.open(place, encoder=ENCODER) as library:
        put(catalog, range(COUNT))
        before = set(ids(library.search(QUERIES[query], 1_000)))
        changing = Changing(catalog, before, share)
        turned = ids(pages(library, QUERIES[query], 10, between=changing))
        assert len(turned) - len(set(turned)) <= moved * COUNT
        assert len(before - changing.gone - set(turned)) <= moved * COUNT


def test_a_cursor_belongs_to_its_query(library: Library) -> None:
    cursor = library.ask("red", 3).cursor
    assert cursor is not None
    assert library.ask("red", 5, after=cursor).hits  # the size of a page may change
    changes: list[dict[str, Any]] = [{"to": "text"}, {"group": True}, {"where": "id:>5"}]
    for change in changes:
        with pytest.raises(BadInput, match="belongs to another query"):
            library.ask("red", 3, after=cursor, **change)
    with pytest.raises(BadInput, match="belongs to another query"):
        library.ask("blue", 3, after=cursor)
    with pytest.raises(BadInput, match="not whole"):
        library.ask("red", 3, after=cursor[:-1])
    with pytest.raises(BadInput, match="has one page"):
        library.ask("red", 3, after=cursor, diversity=0.5)


def test_a_cursor_is_taken_by_another_process(directory: Path, library: Library) -> None:
    for group in (False, True):
        first = library.ask("red snow", 5, group=group)
        with Library.open(directory, encoder=ENCODER) as other:
            second = other.ask("red snow", 5, group=group, after=first.cursor)
        whole = library.ask("red snow", 10, group=group)
        assert ids([*first.hits, *second.hits]) == ids(whole.hits)


def test_what_is_wanted_unlike_each_other_has_one_page_of_both_kinds(library: Library) -> None:
    for to in ("image", "both"):
        answer = library.ask("red snow", 12, to, diversity=0.5)
        assert len(set(ids(answer.hits))) == 12
        assert answer.cursor is None
        assert {hit.item.kind for hit in answer.hits} == (
            {"image"} if to == "image" else {"image", "text"}
        )
    plain = library.ask("red snow", 12)
    assert ids(library.ask("red snow", 12, diversity=0.0).hits) == ids(plain.hits)


def test_an_item_that_is_named_comes_first(library: Library) -> None:
    for number in (0, 41, 119):
        name = f"{WORDS[number % 4]}_{number}"
        assert names(library.search(name, 2))[0] == name
        assert names(library.search(f"{name}.png", 2))[0] == name
