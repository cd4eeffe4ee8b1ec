"""Columns that were added with items, as filters: what they let through, and how they are asked."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import searchx
from searchx.errors import BadInput
from searchx.filters import Column, ColumnBetween, Filter, Not, as_json, from_json
from searchx.query import parse, parse_filter, written
from searchx.records import Query
from searchx.search import Library

ITEMS: dict[str, dict[str, Any]] = {
    "shirt": {
        "price": 19.9,
        "brand": "Acme",
        "tags": ["red", "new"],
        "sold": False,
        "size": "10-12",
    },
    "shoes": {"price": 50, "brand": "Straße & Co", "tags": ["red"], "sold": True, "size": "42"},
    "scarf": {"price": -3, "brand": "acme", "since": date(2021, 3, 1), "code": 2021},
    "socks": {"since": datetime(2021, 3, 1, 12, 30), "code": 7, "brand": ">5"},
    "skirt": {"since": datetime(2022, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=1)))},
    "shelf": {},
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    place = tmp_path_factory.mktemp("columns") / "shop"
    with searchx.create(place, dim=4, name="ours") as library:
        rows = np.random.default_rng(0).normal(size=(len(ITEMS), 4))
        library.add(list(ITEMS), rows, metadata=list(ITEMS.values()))
        yield library


def passing(library: Library, where: str | Filter) -> set[str | None]:
    ids = [int(one) for block in library.blocks(where=where) for one in block.ids]
    return set(library.externals(ids))


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("meta.price:<50", {"shirt", "scarf"}),
        ("meta.price:<=50", {"shirt", "shoes", "scarf"}),
        ("meta.price:>19.9", {"shoes"}),
        ("meta.price:>=19.9", {"shirt", "shoes"}),
        ("meta.price:10-50", {"shirt", "shoes"}),
        ("meta.price:-5..20", {"shirt", "scarf"}),
        ("meta.price:20+", {"shoes"}),
        ("meta.price:..0", {"scarf"}),
        ("meta.price:50", {"shoes"}),
        ("meta.price:-3", {"scarf"}),
        ("meta.price:*", {"shirt", "shoes", "scarf"}),
        ("-meta.price:*", {"socks", "skirt", "shelf"}),
        ("META.Price:50", {"shoes"}),
        ("meta.brand:acme", {"shirt", "scarf"}),
        ("meta.brand:ac?e", {"shirt", "scarf"}),
        ("meta.brand:cm", set()),
        ("meta.brand:*cm*", {"shirt", "scarf"}),
        ('meta.brand:"STRASSE & co"', {"shoes"}),
        ("meta.brand:=>5", {"socks"}),
        ('meta.brand:acme|"straße & co"', {"shirt", "shoes", "scarf"}),
        ("-meta.brand:acme", {"shoes", "socks", "skirt", "shelf"}),
        ("meta.tags:red", {"shirt", "shoes"}),
        ("meta.tags:new meta.tags:red", {"shirt"}),
        ("meta.sold:true", {"shoes"}),
        ("meta.sold:No", {"shirt"}),
        ("meta.size:42", {"shoes"}),
        ("meta.size:10-12", set()),
        ("meta.size:=10-12", {"shirt"}),
        ("meta.since:2021", {"scarf", "socks", "skirt"}),
        ("meta.since:2021-03-01", {"scarf", "socks"}),
        ("meta.since:2021-03", {"scarf", "socks"}),
        ("meta.since:>2021-03-01T12:00", {"socks", "skirt"}),
        ("meta.since:<2021-03-01T12:30", {"scarf"}),
        ("meta.since:2020-2021", {"scarf", "socks", "skirt"}),
        ("meta.since:2021-03-02..2021-12-31", {"skirt"}),
        ("meta.since:2022-", set()),
        ("meta.code:2020-2022", {"scarf"}),
        ("meta.code:2021", {"scarf"}),
        ("(meta.price:50 OR meta.code:7)", {"shoes", "socks"}),
        ("meta.price:<50 name:shirt", {"shirt"}),
    ],
)
def test_a_column_lets_through_what_has_the_value(
    shop: Library, where: str, found: set[str]
) -> None:
    assert passing(shop, where) == found
    asked = parse_filter(where)
    assert passing(shop, from_json(as_json(asked))) == found
    assert passing(shop, parse_filter(written(Query(where=asked)))) == found


@pytest.mark.parametrize(
    ("document", "found"),
    [
        ({"meta.price": {"from": 10, "to": 50}}, {"shirt", "shoes"}),
        ({"meta.price": {"from": 19.9}}, {"shirt", "shoes"}),
        ({"meta.price": 50}, {"shoes"}),
        ({"meta.brand": ["acme", "Straße & Co"]}, {"shirt", "shoes", "scarf"}),
        ({"meta.sold": False}, {"shirt"}),
        ({"meta.since": {"from": "2021", "to": "2021-03"}}, {"scarf", "socks"}),
        ({"meta.size": "10-12"}, {"shirt"}),
    ],
)
def test_programs_ask_in_json(shop: Library, document: Any, found: set[str]) -> None:
    assert passing(shop, from_json(document)) == found


@pytest.mark.parametrize(
    "document",
    [
        {"meta.": "x"},
        {"meta.price": {}},
        {"meta.price": {"from": 5, "to": 1}},
        {"meta.price": {"from": 5, "to": "2021"}},
        {"meta.price": {"least": 5}},
        {"meta.price": {"from": "cheap"}},
        {"meta.price": None},
        {"meta.price": ""},
        {"meta.price": float("nan")},
        {"meta.price": "x" * 5000},
    ],
)
def test_a_condition_that_cannot_be_is_refused(document: Any) -> None:
    with pytest.raises(BadInput, match="where"):
        from_json(document)


@pytest.mark.parametrize("text", ["meta.price:>cheap", "meta.price:50-10", "meta.since:2021-13.."])
def test_a_value_that_cannot_be_read_is_an_error(text: str) -> None:
    with pytest.raises(BadInput, match=r"meta\..*:"):
        parse_filter(text)


def test_a_whole_number_is_compared_in_all_its_digits(tmp_path: Path) -> None:
    numbers = [2**53, 2**53 + 1, 2**63 - 1, -(2**53) - 1]
    with searchx.create(tmp_path / "shop", dim=4, name="ours") as library:
        rows = np.random.default_rng(0).normal(size=(4, 4))
        library.add([str(one) for one in numbers], rows, metadata={"code": numbers})
        for one in numbers:
            assert passing(library, f"meta.code:{one}") == {str(one)}
            assert passing(library, f"meta.code:{one}.0") == {str(one)}
            assert passing(library, from_json({"meta.code": one})) == {str(one)}
        assert passing(library, "meta.code:9999999999999999999") == set()


def test_a_column_that_is_not_there_is_named(shop: Library, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="did you mean price"):
        passing(shop, "meta.prise:<50")
    with searchx.create(tmp_path / "new", dim=4, name="ours") as library:
        assert passing(library, "meta.price:<50") == set()  # nothing was added yet


def test_columns_stand_beside_words(shop: Library) -> None:
    asked = parse("a red shirt meta.price:<50 -meta.sold:true metal: meta.x")
    assert asked.text == "a red shirt metal: meta.x"
    assert asked.where is not None
    with pytest.raises(BadInput, match="no words; use the JSON form"):
        written(Query(where=Column("unit price", "5")))


NAMES = st.from_regex(r"\w(?:[\w.-]{0,9}\w)?", fullmatch=True)
NUMBERS = st.integers(-(10**15), 10**15) | st.floats(-1e9, 1e9).map(lambda one: round(one, 3))
MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)).map(
    lambda one: str(one.replace(microsecond=0))
)


def between(name: str, ends: tuple[Any, Any]) -> Filter:
    low, high = ends
    if low is not None and high is not None and low > high:
        low, high = high, low
    return ColumnBetween(name, low, high)


def pairs(of: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, Any]]:
    some = st.tuples(of | st.none(), of | st.none())
    return some.filter(lambda ends: ends != (None, None))


CONDITIONS = st.one_of(
    st.builds(between, NAMES, pairs(NUMBERS)),
    st.builds(between, NAMES, pairs(MOMENTS)),
    st.builds(Column, NAMES, st.text("ab1-.>=<+:*? 2", min_size=1).map(str.strip).filter(bool)),
)


@given(CONDITIONS)
def test_what_is_written_is_read_again(where: Filter) -> None:
    assert from_json(as_json(where)) == where
    assert parse_filter(written(Query(where=where))) == where
    assert parse_filter(written(Query(where=Not(where)))) == Not(where)


def test_a_list_holds_so_many_of_a_group(shop: Library) -> None:
    first = shop.lookup(["shelf"])
    by_brand = shop.recommend(first, k=6, group="meta.brand", per_group=1)
    brands = [str(hit.meta["brand"]) for hit in by_brand if "brand" in hit.meta]
    assert len(brands) == len(set(brands)) == 4
    with pytest.raises(BadInput, match=r"meta\.NAME"):
        shop.recommend(first, k=6, group="brand")
    again = shop.recommend(first, k=6, group="meta.BRAND", per_group=1)
    assert [hit.id for hit in again] == [hit.id for hit in by_brand]
    with pytest.raises(BadInput, match=r"meta\.brnd: nothing was added"):
        shop.recommend(first, k=6, group="meta.brnd")


def test_a_column_may_hold_the_number_that_means_no_group(tmp_path: Path) -> None:
    with searchx.create(tmp_path / "shop", dim=4, name="ours") as library:
        rows = np.random.default_rng(0).normal(size=(6, 4))
        library.add([*"abcdef"], rows, metadata={"shelf": [1, -1, -1, -1, -1, -1]})
        hits = library.recommend(library.lookup(["a"]), k=6, group="meta.shelf", per_group=1)
        assert len(hits) == 1


def test_moments_of_all_zones_are_compared(shop: Library) -> None:
    (item,) = shop.items(shop.lookup(["skirt"]))
    assert item.meta["since"] == datetime(2021, 12, 31, 23, 30, tzinfo=UTC)
