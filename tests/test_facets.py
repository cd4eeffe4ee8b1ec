"""What a facet counts is what its filter finds: of any library, and beside any filter."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, fields
from datetime import date, datetime
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import searchx
from searchx.catalog import Catalog, Content, NewFile, NewItem
from searchx.errors import BadInput, NoLibrary
from searchx.records import KINDS, Facet, Facets, Kind, Metadata
from searchx.search import Library
from tests.shelf import ENCODER, digest, vector

NAMES = [one.name for one in fields(Facets) if one.name not in ("items", "meta")]
ROOT = "/photos"
# Few letters, so that values contain, equal and fold into each other; and what is not plain.
SIGNS = st.text("aBé* ?|\"'\0\u200b\n()-:", min_size=1, max_size=4)
WORD = st.one_of(SIGNS, st.sampled_from(["Canon", "canon", "Canon EOS", "EOS", "wien", "Wien"]))
PART = st.one_of(
    st.text("ab*? é\"'.", min_size=1, max_size=3).filter(lambda one: one.strip(".")),
    st.sampled_from(["trips", "Trips", "2019", "straße"]),
)
YEARS = st.datetimes(datetime(998, 1, 1), datetime(2030, 1, 1))
METADATA = st.builds(
    Metadata,
    taken=st.none()
    | st.sampled_from([datetime(2019, 12, 31, 23, 59, 59), datetime(2020, 1, 1)])
    | YEARS,
    latitude=st.none() | st.just(48.2),
    longitude=st.just(16.4),
    camera=st.none() | WORD,
    lens=st.none() | WORD,
    orientation=st.sampled_from(["landscape", "portrait", None]),
    format=st.sampled_from(["JPEG", "PNG", "JPEG XL", None]),
    title=st.none() | WORD,
    rating=st.none() | st.integers(-1, 5),
    keywords=st.lists(WORD, max_size=3, unique=True).map(tuple),
)
FILTERS = st.sampled_from(
    [
        None,
        "kind:image",
        "kind:text",
        "taken:2019",
        "-camera:canon",
        "folder:trips",
        "ext:a",
        "id:2-",
    ]
)


@dataclass(frozen=True)
class Place:
    number: int  # of the content
    kind: Kind
    source: str
    path: str
    metadata: Metadata


PLACES = st.lists(
    st.builds(
        Place,
        st.integers(1, 8),
        st.sampled_from(KINDS),
        st.sampled_from([ROOT, f"{ROOT}/trips", "/Scans"]),
        st.lists(PART, min_size=1, max_size=4).map("/".join),
        METADATA,
    ),
    min_size=1,
    max_size=12,
)


def shelve(catalog: Catalog, places: list[Place]) -> None:
    with catalog.writing() as tx:
        tx.claim_space(ENCODER.space)
        for one in places:
            tx.add_source(one.source)
            tx.add_items([NewItem(one.kind, digest(one.number), vector(one.number)[0])])
            about = one.metadata if one.kind == "image" else None
            content = Content(one.kind, digest(one.number), metadata=about)
            tx.set_file(one.source, NewFile(f"{one.source}/{one.path}", 1, 1, [content]))


Add = Callable[..., None]


@pytest.fixture
def add(catalog: Catalog) -> Add:
    """Let a test add pictures, of which it says what is known."""
    numbers = count(1)

    def added(*known: Metadata) -> None:
        shelve(catalog, [_picture(next(numbers), one) for one in known])

    return added


def _picture(number: int, about: Metadata) -> Place:
    return Place(number, "image", ROOT, f"{number}.jpg", about)


def found(library: Library, *filters: str | None) -> int:
    """Count as a search does, one hit after another."""
    where = " ".join(one for one in filters if one)
    return sum(len(library.sample(10_000, kind, where=f"({where}) kind:{kind}")) for kind in KINDS)


@settings(deadline=None, max_examples=25, phases=(Phase.explicit, Phase.generate))
@given(PLACES, FILTERS)
def test_what_is_counted_is_what_the_filter_finds(places: list[Place], where: str | None) -> None:
    with TemporaryDirectory() as place, closing(Catalog.open(place, create=True)) as catalog:
        shelve(catalog, places)
        library = Library(catalog, ENCODER)
        facets = library.facets(where)
        assert facets.items == found(library, where or "id:0-")
        for one in every(facets):
            assert one.count == found(library, where, one.where) > 0, one


def test_an_empty_library_has_no_facets(tmp_path: Path) -> None:
    with closing(Catalog.open(tmp_path / "library", create=True)) as catalog:
        library = Library(catalog, ENCODER)
        with pytest.raises(NoLibrary):
            library.facets()
        with catalog.writing() as tx:
            tx.claim_space(ENCODER.space)
        assert library.facets() == Facets()


def test_the_most_frequent_come_first_and_no_more_than_asked(library: Library, add: Add) -> None:
    add(*[Metadata(keywords=("rare",) if one == 0 else ("usual",)) for one in range(3)])
    assert library.facets().keyword == (
        Facet("usual", 2, "keyword:usual"),
        Facet("rare", 1, "keyword:rare"),
    )
    assert [one.value for one in library.facets(k=1).keyword] == ["usual"]
    assert [one.value for one in library.facets("keyword:rare").keyword] == ["rare"]


def test_a_camera_counts_those_that_contain_it(library: Library, add: Add) -> None:
    add(Metadata(camera="Canon EOS R5"), Metadata(camera="CANON EOS R5"))
    add(Metadata(camera="Canon EOS R5"))
    add(Metadata(camera="Canon EOS R5 Mark II"), Metadata(camera="Canon EOS R5 Mark II"))
    assert [(one.value, one.count) for one in library.facets().camera] == [
        ("Canon EOS R5", 5),
        ("Canon EOS R5 Mark II", 2),
    ]


def test_what_was_written_since_is_counted(library: Library, add: Add) -> None:
    add(Metadata(rating=5))
    assert library.facets().rating == (Facet("5", 1, "rating:5"),)
    add(Metadata(rating=5))
    assert library.facets().rating == (Facet("5", 2, "rating:5"),)


def test_while_one_reads_what_was_written_others_get_what_was_there(
    library: Library, add: Add
) -> None:
    add(Metadata(camera="Nikon"))
    assert library.facets().items == library.facets().camera[0].count == 1
    with library._counting:
        add(Metadata(camera="Nikon"))
        assert library.facets().camera[0].count == 1
    assert library.facets().camera[0].count == 2


@pytest.mark.parametrize("k", [0, -1, True, 10**6])
def test_a_number_that_cannot_be_is_refused(library: Library, add: Add, k: int) -> None:
    add(Metadata())
    with pytest.raises(BadInput, match="k is"):
        library.facets(k=k)


def test_a_filter_that_cannot_be_is_refused(library: Library, add: Add) -> None:
    add(Metadata())
    with pytest.raises(BadInput, match="camra"):
        library.facets("camra:canon")


def test_many_cameras_take_no_long_time(library: Library, add: Add) -> None:
    add(*[Metadata(camera=f"camera {one} x", keywords=(f"* {one}",)) for one in range(2_000)])
    facets = library.facets(k=1_000)
    assert len(facets.camera) == len(facets.keyword) == 200


def every(facets: Facets) -> list[Facet]:
    fixed = [one for name in NAMES for one in getattr(facets, name)]
    return [*fixed, *(one for of in facets.meta.values() for one in of)]


def test_columns_that_were_added_are_counted_as_their_filters_find_them(tmp_path: Path) -> None:
    told: list[dict[str, object]] = [
        {"Brand": "Acme", "price": 10.5, "size": 38, "sold out": "no", "new": True, "x": 1},
        {"Brand": "acme", "price": 11.5, "size": 38.0, "sold out": "no", "new": False, "x": "1"},
        {"brand": "10-20", "price": 12.5, "size": 40, "kinds": ["a", "b"], "new": False, "x": 1},
        {
            "brand": "zeta*",
            "price": 13.5,
            "size": 39.5,
            "kinds": ["b", "B"],
            "day": date(2024, 1, 1),
        },
        {"brand": "true", "title": "only here", "kinds": ["c |d"], "day": date(2024, 1, 1)},
        {"Brand": "Acme"},
    ]
    rows = np.random.default_rng(3).normal(size=(len(told), 4))
    with searchx.create(tmp_path / "shop", encoder=ENCODER) as shop:
        shop.add(range(len(told)), rows, metadata=told)
        facets = shop.facets()
        assert {name: [one.value for one in of] for name, of in facets.meta.items()} == {
            "Brand": ["Acme", "10-20", "true"],  # * stands for others in a filter
            "day": [],
            "kinds": ["b", "a", "c |d"],
            "new": ["false", "true"],
            "price": [],
            "size": ["38", "39.5", "40"],
            "sold out": [],  # the query language has no words for it
            "title": [],
            "x": [],
        }
        for one in every(facets):
            assert one.count == found(shop, one.where) > 0, one
        assert [one.where for one in facets.meta["Brand"]] == [
            "meta.Brand:Acme",
            "meta.Brand:=10-20",
            "meta.Brand:true",
        ]
        some = shop.facets("meta.size:38")
        assert [one.count for one in some.meta["Brand"]] == [2]
        assert some.meta["price"] == ()
        shop.delete([4])
        assert "title" not in shop.facets().meta
