import math
import os
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchx.catalog import Catalog, Content, NewFile, NewItem
from searchx.errors import BadInput
from searchx.filtering import matching
from searchx.filters import (
    FIELDS,
    MEASURES,
    TRAITS,
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
    Within,
)
from searchx.records import Kind, Metadata, Space

VECTOR = np.full(4, 0.5, np.float32)
LATIN_1 = os.fsdecode(b"caf\xe9.jpg")  # a name that is no UTF-8


@dataclass(frozen=True)
class Place:
    """A place of an item, as the test wrote it."""

    source: str
    path: str
    subject: str | None = None
    metadata: Metadata = field(default_factory=Metadata)
    size: int = 100


@dataclass(frozen=True)
class Thing:
    """An item, as the test wrote it."""

    kind: Kind
    width: int | None = None
    height: int | None = None
    places: tuple[Place, ...] = ()


def known(**about: object) -> Metadata:
    return replace(Metadata(format="JPEG", bytes=1000, orientation="landscape"), **about)  # type: ignore[arg-type]


PHOTOS, CORPUS = "/home/Ann/Photos", "/home/Ann/captions.jsonl"
TRIPS = f"{PHOTOS}/Trips/2019 Élan"
THINGS = (
    Thing(
        "image",
        4000,
        3000,
        (
            Place(
                PHOTOS,
                f"{TRIPS}/IMG_1234.JPG",
                "one",
                known(
                    taken=datetime(2019, 7, 4, 12, 30, 0, 500_000),
                    latitude=48.2,
                    longitude=16.4,
                    altitude=171.0,
                    camera="Canon EOS 5D",
                    lens="EF 50mm",
                    title="Ein Frühstück",
                    rating=4,
                    keywords=("Red Car", "Wien"),
                ),
            ),
            Place(
                PHOTOS, f"{PHOTOS}/copies/a[1].tar.gz", "one", known(camera="NIKON D5", rating=0)
            ),
        ),
    ),
    Thing("image", 3000, 4000, (Place(PHOTOS, f"{TRIPS}/straße.png", "two", known(format="PNG")),)),
    Thing(
        "image",
        500,
        500,
        (
            Place(
                PHOTOS,
                f"{PHOTOS}/{LATIN_1}",
                None,
                known(
                    taken=datetime(2021, 1, 1),
                    latitude=-17.5,
                    longitude=-180.0,
                    camera="Canon PowerShot",
                    orientation="square",
                    keywords=("wien",),
                    rating=-1,
                ),
            ),
        ),
    ),
    Thing(
        "image",
        None,
        None,
        (
            Place(
                "/mnt/trips",
                "/mnt/trips/.hidden",
                None,
                known(latitude=90.0, longitude=33.0, title="a*b?", bytes=None),
            ),
        ),
    ),
    Thing("image", 10, 10),  # in no file
    Thing("text", None, None, (Place(CORPUS, CORPUS, "one", size=5000),)),
    Thing(
        "text",
        None,
        None,
        (Place(PHOTOS, f"{TRIPS}/notes.txt"), Place(PHOTOS, f"{PHOTOS}/Trips/Notes copy.txt")),
    ),
    Thing("text", None, None),
)
IDS = dict(enumerate(THINGS, 1))


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    with closing(Catalog.open(tmp_path_factory.mktemp("library"), create=True)) as opened:
        write(opened)
        yield opened


def write(catalog: Catalog) -> None:
    places = [place for thing in THINGS for place in thing.places]
    with catalog.writing() as tx:
        tx.claim_space(Space("colour", "colour-1", 4))
        for source in dict.fromkeys(place.source for place in places):
            tx.add_source(source)
        for number, one in IDS.items():
            text = f"passage {number}" if one.kind == "text" else None
            digest = f"{number:064x}"
            tx.add_items([NewItem(one.kind, digest, VECTOR, text, one.width, one.height)])
        for number, one in IDS.items():
            for place in one.places:
                about = place.metadata if one.kind == "image" else None
                content = Content(one.kind, f"{number:064x}", "", place.subject, metadata=about)
                tx.set_file(place.source, NewFile(place.path, place.size, 1, (content,)))


# The oracle: plain Python over what was written.


def passes(number: int, thing: Thing, where: Filter) -> bool:
    match where:
        case All(of):
            return all(passes(number, thing, one) for one in of)
        case Either(of):
            return any(passes(number, thing, one) for one in of)
        case Not(of):
            return not passes(number, thing, of)
        case _:
            return any(holds(number, thing, place, where) for place in thing.places)


def holds(number: int, thing: Thing, place: Place, where: Filter) -> bool:
    about = place.metadata if thing.kind == "image" else Metadata()
    match where:
        case Is(name, value):
            return is_of(thing, place, about, name, value)
        case Between(measure, low, high):
            found = measured(number, thing, place, about)[measure]
            return found is not None and in_order(low, found) and in_order(found, high)
        case Near(latitude, longitude, km):
            if about.latitude is None or about.longitude is None:
                return False
            return kilometres(latitude, longitude, about.latitude, about.longitude) <= km
        case Within(south, west, north, east):
            if about.latitude is None or about.longitude is None:
                return False
            sides = [about.longitude >= west, about.longitude <= east]
            return south <= about.latitude <= north and (any if west > east else all)(sides)
        case Has(trait):
            return {
                "taken": about.taken is not None,
                "place": about.latitude is not None,
                "camera": about.camera is not None,
                "title": about.title is not None,
                "rating": about.rating is not None,
                "keyword": bool(about.keywords),
                "caption": thing.kind == "image"
                and place.subject is not None
                and any(
                    other.subject == place.subject
                    for one in THINGS
                    if one.kind == "text"
                    for other in one.places
                ),
            }[trait]
        case _:
            raise AssertionError(where)


def is_of(thing: Thing, place: Place, about: Metadata, name: Field, value: str) -> bool:
    folder, _, file = place.path.rpartition("/")
    match name:
        case "folder":
            return is_below(folder, value)
        case "source":
            return is_below(place.source, value)
        case "path":
            return any(like(end, value) for end in ends(place.path))
        case "name":
            return like(file, f"*{value}*")
        case "ext":
            stem, dot, suffix = file.lstrip(".").rpartition(".")
            long = "." in value and file.casefold().endswith(f".{value.casefold()}")
            return bool(stem and dot) and (like(suffix, value) or long)
        case "kind":
            return like(thing.kind, value)
        case "keyword":
            return any(like(one, value) for one in about.keywords)
        case "camera" | "lens" | "title":
            held = getattr(about, name)
            return held is not None and like(held, f"*{value}*")
        case _:
            held = getattr(about, name)
            return held is not None and like(held, value)


def is_below(folder: str, value: str) -> bool:
    above = [folder[:end] for end in range(len(folder) + 1) if folder[end : end + 1] in ("/", "")]
    return any(like(end, value.rstrip("/")) for one in above for end in ends(one))


def ends(path: str) -> list[str]:
    """Give a path and all that stands behind one of its slashes."""
    return [path, *(path[place + 1 :] for place, one in enumerate(path) if one == "/")]


def like(text: str, value: str) -> bool:
    anything = {"*": ".*", "?": "."}
    pattern = "".join(anything.get(one, re.escape(one)) for one in plain(value))
    return re.fullmatch(pattern, plain(text), re.DOTALL) is not None


def plain(text: str) -> str:
    return normalize("NFC", text.casefold())


def measured(
    number: int, thing: Thing, place: Place, about: Metadata
) -> dict[Measure, float | str | None]:
    pixels = thing.width * thing.height if thing.width and thing.height else None
    return {
        "taken": None if about.taken is None else about.taken.isoformat(sep=" "),
        "width": thing.width,
        "height": thing.height,
        "pixels": pixels,
        "bytes": about.bytes if thing.kind == "image" else place.size,
        "rating": about.rating,
        "altitude": about.altitude,
        "copies": len(thing.places),
        "id": number,
    }


def in_order(low: float | str | None, high: float | str | None) -> bool:
    if low is None or high is None:
        return True
    if isinstance(low, str) and isinstance(high, str):
        low, high = low.replace("T", " "), high.replace("T", " ")
        return low <= high or (len(high) < 19 and low.startswith(high))
    assert not isinstance(low, str)
    assert not isinstance(high, str)
    return low <= high


def kilometres(south: float, west: float, north: float, east: float) -> float:
    """The angle between two points as vectors from the middle of the earth."""

    def point(latitude: float, longitude: float) -> tuple[float, float, float]:
        up, round_ = math.radians(latitude), math.radians(longitude)
        return math.cos(up) * math.cos(round_), math.cos(up) * math.sin(round_), math.sin(up)

    return 6371.0088 * 2 * math.asin(min(1, math.dist(point(south, west), point(north, east)) / 2))


def expected(kind: Kind, where: Filter) -> list[int]:
    return [
        number
        for number, thing in IDS.items()
        if thing.kind == kind and thing.places and passes(number, thing, where)
    ]


WORDS = {
    "kind": ("image", "TEXT", "*", "sound"),
    "source": ("photos", PHOTOS, "captions.jsonl", "/home", "mnt", "/mnt/trips/"),
    "folder": (
        "trips",
        "TRIPS/2019 élan",
        TRIPS,
        "2019*",
        "/",
        "/home/ann",
        "home/",
        "T?ips",
        "rips",
    ),
    "path": (
        *("img_1234.jpg", "2019 ÉLAN/img_1234.JPG", f"{TRIPS}/straße.png", "trips/*"),
        *("*.jpg", "G_1234.jpg", "/mnt/trips/.hidden", "/trips/.hidden", "STRASSE.PNG"),
    ),
    "name": (
        "img",
        "1234.j",
        "notes",
        "STRASSE",
        "*.txt",
        "n?tes*copy",
        "[1]",
        LATIN_1,
        "caf\udce9",
    ),
    "ext": ("jpg", "JP?", "*", "gz", "tar.gz", "hidden", "t*", "jpeg"),
    "format": ("jpeg", "png", "?PEG", "jp"),
    "camera": ("canon", "NIKON", "c*5d", "eos", "d5"),
    "lens": ("50MM", "x"),
    "orientation": ("landscape", "Square", "*e"),
    "keyword": ("red car", "WIEN", "red", "*a*"),
    "title": ("FRÜHSTÜCK", "*", "a?b", "fru\u0308hst"),
}
LEAVES: tuple[Filter, ...] = (
    *(Is(name, value) for name in FIELDS for value in WORDS[name]),
    *(Has(trait) for trait in TRAITS),
    *(Between(measure) for measure in MEASURES),
    *(
        Between("taken", *bounds)
        for bounds in (
            ("2019", "2019"),
            ("2019-07-04 12:30:00", None),
            (None, "2019-07-04 12:30:00"),
            (None, "2019-07-04 12:30:01"),
            ("2019-07-05", "2021-01-01"),
            ("2019-07-04T12", "2019-07-04T12"),
        )
    ),
    *(Between(one, 500, 3000) for one in MEASURES if one != "taken"),
    *(Between(one, -1, 2) for one in MEASURES if one != "taken"),
    *(Between(one, None, 12_000_000) for one in MEASURES if one != "taken"),
    Near(48.2, 16.4, 1),
    Near(48.2, 17.4, 74),
    Near(48.2, 17.4, 75),
    Near(-17.5, 179.9, 11),
    Near(-17.5, 179.9, 10),
    Near(89.9, -140.0, 12),
    Near(0, 0, 21_000),
    Within(48, 16, 49, 17),
    Within(-18, 170, -17, -170),
    Within(-18, -170, -17, 170),
    Within(-90, -180, 90, 180),
)


def found(catalog: Catalog, kind: Kind, where: Filter) -> list[int]:
    ids = catalog.matching(kind, where)
    assert ids.dtype == np.int64
    return [int(one) for one in ids]


@pytest.mark.parametrize("where", LEAVES, ids=str)
def test_every_condition_is_what_plain_python_says(catalog: Catalog, where: Filter) -> None:
    for kind in ("image", "text"):
        assert found(catalog, kind, where) == expected(kind, where)


def test_the_conditions_of_the_test_tell_items_apart() -> None:
    answers = {tuple(expected("image", one)) for one in LEAVES}
    assert len(answers) > 8


FILTERS: st.SearchStrategy[Filter] = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(All, st.lists(inner, max_size=3).map(tuple)),
        st.builds(Either, st.lists(inner, max_size=3).map(tuple)),
    ),
    max_leaves=8,
)


@settings(deadline=None, max_examples=60)
@given(where=FILTERS)
def test_filters_combine_whole_items(catalog: Catalog, where: Filter) -> None:
    for kind in ("image", "text"):
        assert found(catalog, kind, where) == expected(kind, where)


@settings(deadline=None, max_examples=60)
@given(
    name=st.sampled_from(FIELDS),
    value=st.text(st.sampled_from("aeimgt12*?.[/ÉéßS \\"), min_size=1, max_size=6),
)
def test_any_value_fits_what_plain_python_says(catalog: Catalog, name: Field, value: str) -> None:
    if name == "ext" and value.startswith("."):
        value = value.lstrip(".") or "x"
    where = Is(name, value)
    assert found(catalog, "image", where) == expected("image", where)


@settings(deadline=None, max_examples=40)
@given(latitude=st.floats(-90, 90), longitude=st.floats(-180, 180), km=st.floats(0.1, 20_000))
def test_near_is_the_distance_on_the_sphere(
    catalog: Catalog, latitude: float, longitude: float, km: float
) -> None:
    distances = {
        number: kilometres(latitude, longitude, place.metadata.latitude, place.metadata.longitude)
        for number, thing in IDS.items()
        for place in thing.places
        if place.metadata.latitude is not None and place.metadata.longitude is not None
    }
    if any(abs(one - km) < 1e-6 for one in distances.values()):
        return  # on the border rounding decides
    inside = [number for number, one in distances.items() if one <= km]
    assert found(catalog, "image", Near(latitude, longitude, km)) == inside


def test_not_and_its_opposite_are_everything(catalog: Catalog) -> None:
    everything = found(catalog, "image", All())
    assert everything == [1, 2, 3, 4]  # the fifth is in no file
    assert found(catalog, "image", Either()) == []
    for where in LEAVES:
        both = found(catalog, "image", where), found(catalog, "image", Not(where))
        assert sorted(chain(*both)) == everything


def test_what_is_no_number_or_no_date_is_refused_or_finds_nothing(catalog: Catalog) -> None:
    for where in (Between("width", "wide"), Between("taken", 2019), Between("id", None, "7")):
        with pytest.raises(BadInput, match="cannot be compared with") as caught:
            catalog.matching("image", where)
        assert "\n" not in str(caught.value)
    for nothing in (
        Between("width", math.nan),
        Near(math.nan, 0, 1),
        Near(0, 0, math.nan),
        Near(0, 0, -1),
        Within(math.nan, 0, 1, 1),
        Is("name", "a\0b"),
    ):
        assert found(catalog, "image", nothing) == []
    assert found(catalog, "image", Between("id", -(10**30), 10**30)) == [1, 2, 3, 4]
    assert found(catalog, "image", Near(0, 0, math.inf)) == [1, 3, 4]


def test_a_filter_that_is_too_large_is_refused(catalog: Catalog) -> None:
    deep: Filter = Has("place")
    for _ in range(5000):
        deep = Not(deep)
    wide = Either(tuple(Between("id", number) for number in range(1000)))
    for where in (deep, wide):
        with pytest.raises(BadInput, match=r"a flatter one|ask for fewer"):
            catalog.matching("image", where)
    same = All((Is("name", "img"),) * 5000)
    assert found(catalog, "image", same) == [1]


def slow_values() -> list[str]:
    return ["a*" * 400 + "b", "*a" * 400, "?" * 5000, "*?" * 300]


@pytest.mark.parametrize("value", slow_values(), ids=lambda value: value[:4])
@pytest.mark.parametrize("name", ["name", "path", "folder", "ext", "title"])
def test_no_value_takes_long_to_look_for(tmp_path: Path, name: Field, value: str) -> None:
    """Without care each * more multiplies the time by the length of the name."""
    with closing(Catalog.open(tmp_path, create=True)) as catalog:
        with catalog.writing() as tx:
            tx.add_source("/p")
            tx.add_items([NewItem("image", "aa" * 32, VECTOR)])
            for number in range(200):
                about = Metadata(title="a" * 250)
                content = Content("image", "aa" * 32, metadata=about)
                folder = f"/p/{'a' * 240}"
                tx.set_file("/p", NewFile(f"{folder}/{'a' * 240}{number}.aaa", 1, 1, (content,)))
        started = os.times().user
        catalog.matching("image", Is(name, value))
        assert os.times().user - started < 5  # seconds of this process; milliseconds are usual


@pytest.mark.parametrize("few", [0, 1])
def test_what_is_looked_up_one_by_one_is_what_the_whole_table_tells(
    catalog: Catalog, few: int
) -> None:
    with catalog._reading() as connection:
        for where in LEAVES:
            for kind in ("image", "text"):
                found_ids = matching(connection, kind, where, few).tolist()
                assert found_ids == expected(kind, where)


def test_an_empty_library_has_nothing_that_passes(tmp_path: Path) -> None:
    with closing(Catalog.open(tmp_path, create=True)) as catalog:
        for where in LEAVES:
            assert found(catalog, "image", where) == found(catalog, "text", Not(where)) == []
