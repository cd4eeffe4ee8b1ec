"""The JSON form of filters: what is written is read again, and nothing else is let in."""

import json
import math
from datetime import datetime
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchx.errors import BadInput
from searchx.filters import (
    MAX_DEPTH,
    MAX_FILTERS,
    MAX_VALUE,
    All,
    Between,
    Either,
    Field,
    Filter,
    Has,
    Is,
    Measure,
    Near,
    Not,
    Trait,
    Within,
    as_json,
    from_json,
)

NUMBERS = st.integers(-(2**63 - 1), 2**63 - 1) | st.floats(-1e9, 1e9)
MOMENTS = st.datetimes(min_value=datetime(1000, 1, 1)).map(str)


def bounds(measure: Measure) -> st.SearchStrategy[Filter]:
    one = MOMENTS if measure == "taken" else NUMBERS
    pairs = st.tuples(one, one).map(lambda pair: sorted(pair))
    either_end = st.tuples(pairs, st.sampled_from(((1, 1), (1, 0), (0, 1))))
    return either_end.map(
        lambda drawn: Between(
            measure,
            drawn[0][0] if drawn[1][0] else None,
            drawn[0][1] if drawn[1][1] else None,
        )
    )


VALUES = st.text(min_size=1, max_size=20).filter(lambda text: bool(text.strip()))
FREE: list[Field] = [field for field in get_args(Field) if field not in ("kind", "orientation")]
LEAVES: st.SearchStrategy[Filter] = st.one_of(
    st.builds(Is, st.sampled_from(FREE), VALUES),
    st.builds(Is, st.just("kind"), st.sampled_from(["image", "text"])),
    st.builds(Is, st.just("orientation"), st.sampled_from(["landscape", "portrait", "square"])),
    st.sampled_from(get_args(Measure)).flatmap(bounds),
    st.builds(Near, st.floats(-90, 90), st.floats(-180, 180), st.floats(0.001, 20000)),
    st.tuples(
        st.floats(-90, 90), st.floats(-180, 180), st.floats(-90, 90), st.floats(-180, 180)
    ).map(lambda box: Within(min(box[0], box[2]), box[1], max(box[0], box[2]), box[3])),
    st.builds(Has, st.sampled_from(get_args(Trait))),
)


def composed(inner: st.SearchStrategy[Filter]) -> st.SearchStrategy[Filter]:
    some = st.lists(inner, max_size=3).map(tuple)
    return st.builds(All, some) | st.builds(Either, some) | st.builds(Not, inner)


FILTERS = st.recursive(LEAVES, composed, max_leaves=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["all", "any", "not", "taken", "width", "near", "has", "folder"])
            | st.text(max_size=5),
            inner,
            max_size=3,
        )
    ),
)


@given(FILTERS)
def test_what_is_written_is_read_again(one: Filter) -> None:
    assert from_json(as_json(one)) == one


@given(FILTERS)
def test_it_is_json(one: Filter) -> None:
    assert from_json(json.loads(json.dumps(as_json(one)))) == one


@given(JSON)
def test_any_document_gives_a_filter_or_one_line(document: object) -> None:
    try:
        found = from_json(document)
    except BadInput as error:
        assert str(error).isprintable()
    else:
        assert from_json(as_json(found)) == found


@pytest.mark.parametrize(
    ("document", "meant"),
    [
        ({"camera": "canon"}, Is("camera", "canon")),
        ({"camera": ["canon", "nikon"]}, Either((Is("camera", "canon"), Is("camera", "nikon")))),
        ({}, All()),
        (
            {"ext": "gif", "width": {"from": 1000}},
            All((Is("ext", "gif"), Between("width", 1000))),
        ),
        ({"rating": 5}, Between("rating", 5, 5)),
        (
            {"taken": "2019"},
            Between("taken", "2019-01-01 00:00:00", "2019-12-31 23:59:59.999999"),
        ),
        (
            {"taken": {"from": "2019-02", "to": "2020-02"}},
            Between("taken", "2019-02-01 00:00:00", "2020-02-29 23:59:59.999999"),
        ),
        ({"near": {"latitude": 48, "longitude": 16, "km": 5}}, Near(48, 16, 5)),
        ({"not": {"has": "place"}}, Not(Has("place"))),
        ({"any": [{"id": 1}, {"all": []}]}, Either((Between("id", 1, 1), All()))),
    ],
)
def test_programs_may_write_it_short(document: object, meant: Filter) -> None:
    assert from_json(document) == meant


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ([], 'where: write an object such as {"folder": "trips"}'),
        ("folder:trips", "where: write an object"),
        ({"fodler": "a"}, "where.fodler: no such filter; did you mean folder?"),
        ({"all": {}}, "where.all: write a list of filters"),
        ({"all": [{}, {"ext": 3}]}, "where.all[1].ext: write a text"),
        ({"camera": [["a"]]}, "where.camera: a list of values holds no lists"),
        ({"camera": " "}, "where.camera: write a text"),
        ({"camera": "x" * (MAX_VALUE + 1)}, "at most 4,096 characters"),
        ({"kind": "images"}, "where.kind: no such kind; did you mean image?"),
        ({"width": {"min": 3}}, "where.width: write"),
        ({"width": {}}, "where.width: write"),
        ({"width": {"from": None}}, "where.width: write at least one bound"),
        ({"width": {"from": 3, "to": 2}}, "the range ends before it begins"),
        ({"width": True}, "where.width: write a number"),
        ({"width": math.nan}, "where.width: write a number of at most 18 digits"),
        ({"width": 10**400}, "where.width: write a number of at most 18 digits"),
        ({"taken": 2019}, "where.taken: a date is a text"),
        ({"taken": {"to": "July"}}, "where.taken.to: write 2019, 2019-07"),
        ({"taken": "2019-02-30"}, "where.taken: there is no such day"),
        ({"near": {"latitude": 1}}, "where.near: write an object of latitude, longitude, km"),
        (
            {"near": {"latitude": 95, "longitude": 0, "km": 1}},
            "latitude goes from -90 to 90, not 95",
        ),
        ({"near": {"latitude": 5, "longitude": 0, "km": 0}}, "the distance is more than 0"),
        ({"within": {"south": 5, "west": 0, "north": 4, "east": 1}}, "south is above north"),
        ({"has": "gps"}, "there is taken, place"),
        ({"id": list(range(MAX_FILTERS + 1))}, f"at most {MAX_FILTERS} filters"),
    ],
)
def test_an_error_tells_what_and_where(document: object, told: str) -> None:
    with pytest.raises(BadInput) as raised:
        from_json(document)
    assert told in str(raised.value)
    assert len(str(raised.value)) < 250


def test_deep_documents_are_refused_and_shallow_ones_are_not() -> None:
    def nested(levels: int) -> object:
        document: object = {"has": "place"}
        for _ in range(levels):
            document = {"not": document}
        return document

    from_json(nested(MAX_DEPTH))
    for levels in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(BadInput, match="levels deep"):
            from_json(nested(levels))


def test_many_small_lists_are_counted_together() -> None:
    branch = {"any": [{"has": "place"}] * 20}
    with pytest.raises(BadInput, match="at most"):
        from_json({"all": [branch] * 20})
