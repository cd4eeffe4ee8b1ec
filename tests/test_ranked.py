"""The order of hits: what puts an item where it is."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchx.catalog import Catalog, Content, NewFile, NewItem
from searchx.errors import BadInput
from searchx.filters import Between, Is
from searchx.records import Hit, Part, Query, Vectors
from searchx.search import Library
from tests.colour import COLOURS, ColourEncoder, paint
from tests.shelf import ENCODER, ROOT, add, digest, fresh, names, vector

COUNT = 80


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """Open a library of pictures of random colours, whose names tell nothing."""
    directory = tmp_path_factory.mktemp("many") / "library"
    with closing(fresh(directory)) as catalog:
        add(catalog, range(COUNT))
        with Library.open(directory, encoder=ENCODER) as library:
            yield library


def ids(hits: list[Hit]) -> list[int]:
    return [hit.id for hit in hits]


colours = st.lists(st.sampled_from(sorted(COLOURS)), min_size=1, max_size=2).map(" ".join)
excluded = st.lists(st.tuples(colours, st.floats(0.05, 3)), min_size=1, max_size=3)


@settings(max_examples=40, deadline=None)
@given(colours, excluded)
def test_negative_parts_lower_what_matches_them_and_raise_nothing(
    many: Library, asked: str, excluded: list[tuple[str, float]]
) -> None:
    parts = tuple(Part(text, weight=-weight) for text, weight in excluded)
    plain = many.search(Query(asked), 1_000)
    turned = many.search(Query(asked, parts=parts), 1_000)
    assert sorted(ids(plain)) == sorted(ids(turned))  # lowered, never left out
    before, after = {hit.id: hit for hit in plain}, {hit.id: hit for hit in turned}
    for one in before:
        assert after[one].score == before[one].score
        assert after[one].why.lowered >= 0 == before[one].why.lowered
        assert (after[one].relevance or 0) <= (before[one].relevance or 0) + 1e-12
    unharmed = {hit.id for hit in turned if hit.why.lowered == 0}
    assert [one for one in ids(turned) if one in unharmed] == [
        one for one in ids(plain) if one in unharmed
    ]
    keys = {hit.id: hit.score - hit.why.lowered for hit in turned}
    assert [keys[one] for one in ids(turned)] == sorted(keys.values(), reverse=True)


@settings(max_examples=30, deadline=None)
@given(colours, colours, st.floats(0.05, 1), st.floats(1.5, 4))
def test_what_is_excluded_more_is_lowered_more(
    many: Library, asked: str, other: str, weight: float, times: float
) -> None:
    def lowered(weight: float) -> dict[int, float]:
        query = Query(asked, parts=(Part(other, weight=-weight),))
        return {hit.id: hit.why.lowered for hit in many.search(query, 1_000)}

    less, more = lowered(weight), lowered(times * weight)
    assert all(more[one] == pytest.approx(times * less[one]) for one in less)
    best = many.search(Query(other), 5)
    assert all(less[hit.id] > 0 for hit in best if hit.score > 0.9)


def test_what_is_asked_with_is_left_out_and_takes_no_rank(many: Library) -> None:
    for one in (1, 7, COUNT):
        hits = many.search(Query(like=one), 1_000)
        assert one not in ids(hits)
        assert len(hits) == COUNT - 1
        assert [hit.why.rank for hit in hits] == list(range(1, COUNT))
    both = many.search(Query(parts=(Part(like=3), Part(like=5))), 1_000)
    assert len(both) == COUNT - 2
    less = many.search(Query("red", parts=(Part(like=3, weight=-1),)), 1_000)
    assert len(less) == COUNT  # what is to be avoided is lowered, not left out
    assert less[-1].id == 3 or max(less, key=lambda hit: hit.why.lowered).id == 3


@pytest.mark.parametrize("k", [1, 79, 80, 81, 10_000])
def test_there_are_as_many_hits_as_there_can_be(many: Library, k: int) -> None:
    assert len(many.search("red", k)) == min(k, COUNT)
    where = Between("id", low=11, high=30)
    assert len(many.search(Query("red", where=where), k)) == min(k, 20)
    assert len(many.search(Query(where=where), k)) == min(k, 20)
    assert len(many.search(Query("red", where=Between("id", low=9_999)), k)) == 0


@pytest.mark.parametrize("k", [0, -1, 10_001, 2.5, True])
def test_a_number_of_hits_that_cannot_be_is_refused(many: Library, k: int) -> None:
    with pytest.raises(BadInput, match="it must be a whole number"):
        many.search("red", k)
    with pytest.raises(BadInput, match="it must be a whole number"):
        many.sample(k)


def test_a_filter_alone_lists_what_was_indexed_last(many: Library) -> None:
    hits = many.search(Query(where=Between("id", low=11, high=30)), 7)
    assert ids(hits) == list(range(30, 23, -1))
    assert {(hit.relevance, hit.why.rank) for hit in hits} == {(None, None)}
    answer = many.ask(Query(where=Is("ext", "nothing")))
    assert (answer.hits, answer.has_match) == ((), False)


@pytest.mark.parametrize(
    ("where", "kinds"),
    [
        ("kind:image", {"image"}),
        ("kind:text|text", {"text"}),
        ("-kind:image", {"text"}),
        ("(kind:text id:1-) OR (kind:text id:2-)", {"text"}),
        ("kind:text OR -kind:text", {"image", "text"}),
        ("kind:image|text kind:text", {"text"}),
        ("kind:text OR id:1-", {"image"}),  # says nothing of what to find: pictures, as always
    ],
)
def test_a_filter_says_what_to_find_where_it_leaves_one_kind(
    catalog: Catalog, library: Library, where: str, kinds: set[str]
) -> None:
    add(catalog, range(3))
    add(catalog, range(3), "text")
    found = library.ask(Query("red"), 10, where=where)
    assert {hit.item.kind for hit in found.hits} == kinds
    assert {one.kind for one in found.explained} == kinds  # and nothing else is gone through
    assert {one.kind for one in library.sample(10, where=where)} <= kinds


def test_filtering_a_list_leaves_its_order(many: Library) -> None:
    where = Between("id", low=21, high=60)
    among = many.search(Query("red", where=where), 1_000)
    whole = many.search("red", 1_000)
    assert [(hit.id, hit.score) for hit in among] == [
        (hit.id, hit.score) for hit in whole if 21 <= hit.id <= 60
    ]


def test_what_needs_no_encoder_loads_none(many: Library) -> None:
    """The model of this library is nowhere to be had."""
    with Library.open(many.directory) as library:
        assert len(library.search(Query(where=Between("id", high=5)))) == 5
        assert len(library.sample(5, seed=1)) == 5
        assert len(library.search_batch(vector(1), 5)[0][0]) == 5
        many.search("red")  # the captions are embedded and kept
        assert ids(library.search(Query(like=3), 9)) == ids(many.search(Query(like=3), 9))


def test_a_sample_is_the_same_for_the_same_seed(many: Library) -> None:
    one, again = many.sample(20, seed=4), many.sample(20, seed=4)
    assert [item.id for item in one] == [item.id for item in again]
    assert len({item.id for item in one}) == 20
    assert [item.id for item in many.sample(20, seed=5)] != [item.id for item in one]
    assert len(many.sample(1_000, seed=4)) == COUNT
    where = Between("id", low=70)
    assert {item.id for item in many.sample(50, where=where)} == set(range(70, COUNT + 1))
    assert many.sample(5, "text") == []


def test_every_item_is_drawn_about_as_often(many: Library) -> None:
    drawn = [item.id for seed in range(200) for item in many.sample(8, seed=seed)]
    counts = np.bincount(drawn, minlength=COUNT + 1)[1:]
    assert counts.min() > 4  # 20 on average
    assert counts.max() < 45


@pytest.fixture
def shades(tmp_path: Path) -> Iterator[tuple[Catalog, Library]]:
    """Index pictures of many reds and oranges, and nothing else."""
    with closing(fresh(tmp_path / "library")) as catalog:
        with catalog.writing() as tx:
            for number in range(60):
                colour = (255 - number % 20, number % 37, number % 23)
                path = paint(tmp_path / f"shade_{number}.png", colour, (16, 16))
                pixels = np.full((16, 16, 3), colour, np.uint8)
                row = ENCODER.embed_images([pixels])[0]
                tx.add_items([NewItem("image", digest(number), row, None, 16, 16)])
                tx.set_file(ROOT, NewFile(str(path), 1, 1, [Content("image", digest(number))]))
        with Library.open(catalog.directory, encoder=ColourEncoder()) as library:
            yield catalog, library


def test_a_query_that_nothing_here_matches_is_told(shades: tuple[Catalog, Library]) -> None:
    _, library = shades
    there, none = library.ask("red"), library.ask("cyan")
    assert there.has_match
    assert not none.has_match
    assert there.chance is not None
    assert none.chance is not None
    assert none.chance < there.chance
    assert len(none.hits) == 10  # the nearest come all the same
    assert {hit.band for hit in none.hits} == {"weak"}


def test_a_named_item_comes_first_where_all_the_others_are_alike(
    shades: tuple[Catalog, Library],
) -> None:
    catalog, library = shades
    with catalog.writing() as tx:  # one that stands far out
        tx.add_items([NewItem("image", digest(99), ENCODER.embed_texts(["cyan"])[0])])
        tx.set_file(ROOT, NewFile(f"{ROOT}/zzz.png", 1, 1, [Content("image", digest(99))]))
    for name in ("shade_7", "shade_7.png", "shade_41"):
        hits = library.search(name)
        assert names(hits)[0] == name.removesuffix(".png")
        assert hits[0].band == "strong"
        assert "name" in hits[0].why.fields
    assert library.search("cyan", 1)[0].score == pytest.approx(1, abs=1e-3)


def test_the_nearest_come_first_where_the_library_was_all_alike(tmp_path: Path) -> None:
    """What is usual was measured on equal vectors, which no later one equals."""

    def put(numbers: range, row: Vectors) -> None:
        with catalog.writing() as tx:
            for one in numbers:
                tx.add_items([NewItem("image", digest(one), row[0])])
                path = f"{ROOT}/{one}.png"
                tx.set_file(ROOT, NewFile(path, 1, 1, [Content("image", digest(one))]))

    with (
        closing(fresh(tmp_path / "library")) as catalog,
        Library.open(catalog.directory, encoder=ENCODER) as library,
    ):
        put(range(200), ENCODER.embed_texts(["black"]))
        assert len(library.search("red", 300)) == 200
        put(range(200, 201), ENCODER.embed_texts(["red"]))
        assert library.search("red")[0].score == pytest.approx(1, abs=1e-3)
        assert ids(library.search("red", 300))[1:] == list(range(1, 201))  # equals by id


def test_a_library_without_pictures_is_grouped_and_searched(tmp_path: Path) -> None:
    with (
        closing(fresh(tmp_path / "library")) as catalog,
        Library.open(catalog.directory, encoder=ENCODER) as library,
    ):
        add(catalog, range(5), "text")
        assert library.ask("red").hits == ()
        assert not library.ask("red").has_match
        assert len(library.ask("red", to="text", group=True).hits) == 5
        assert len(library.ask("red", to="both", group=True).hits) == 5
        assert len(library.search(Query(like=2), to="text")) == 4


def test_what_holds_an_excluded_word_is_not_raised_by_the_others(tmp_path: Path) -> None:
    with closing(fresh(tmp_path)) as catalog, catalog.writing() as tx:
        tx.add_items([NewItem("image", digest(one), vector(one)[0]) for one in range(40)])
        for one in range(40):
            name = {3: "tower", 4: "tower by the clock"}.get(one, f"{one}")
            contents = [Content("image", digest(one))]
            tx.set_file(ROOT, NewFile(f"{ROOT}/{name}.jpg", 1, 1, contents))
    with Library.open(tmp_path, encoder=ENCODER) as library:
        plain = {Path(hit.path).stem: hit for hit in library.search("red tower", 40)}
        hits = library.search("red tower -clock", 40)
    turned = {Path(hit.path).stem: hit for hit in hits}
    assert plain["tower by the clock"].why.words == turned["tower"].why.words == ("tower",)
    assert turned["tower"].why.lowered == plain["tower"].why.lowered == 0
    assert turned["tower by the clock"].why.lowered > 0
    assert Path(hits[-1].path).stem == "tower by the clock"


@pytest.mark.parametrize(
    ("asked", "first"),
    [
        ("tower", "red tower.jpg"),
        ("a tower and a clock", "tower clock.jpg"),
        ("2.jpg", "2.jpg"),
        ("tower 2.jpg", "2.jpg"),  # a whole name is more than a word of another one
        ("the bridge", "shard.tar"),
        ("blue", "1.jpg"),  # calls none of them
        ("-clock tower", "red tower.jpg"),
    ],
)
def test_a_hit_shows_the_place_that_was_asked_for(tmp_path: Path, asked: str, first: str) -> None:
    places = ("1.jpg", "2.jpg", "red tower.jpg", "tower clock.jpg")
    content = Content("image", digest(1))
    with closing(fresh(tmp_path)) as catalog, catalog.writing() as tx:
        tx.add_items([NewItem("image", digest(1), vector(1)[0])])
        for name in places:
            tx.set_file(ROOT, NewFile(f"{ROOT}/{name}", 1, 1, [content]))
        samples = [replace(content, fragment=f"sample {key}") for key in ("lake", "bridge")]
        tx.set_file(ROOT, NewFile(f"{ROOT}/shard.tar", 1, 1, samples))
    with Library.open(tmp_path, encoder=ENCODER) as library:
        (hit,) = library.search(asked)
        item = library.item(hit.id)
    assert Path(hit.path).name == first
    assert hit.item.locations[0].fragment == ("sample bridge" if "bridge" in asked else "")
    rest = [one for one in item.locations if one != hit.item.locations[0]]
    assert list(hit.item.locations[1:]) == rest  # the others stay in their order
