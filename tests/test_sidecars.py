import json
import os
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.about.sidecars import MAX_BYTES, read
from indexer.prose.texts import Extract
from searchx.records import Metadata

XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
    'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
    'xmlns:exif="http://ns.adobe.com/exif/1.0/">'
    '<rdf:Description xmp:Rating="4" exif:DateTimeOriginal="{date}">'
    '<dc:title><rdf:Alt><rdf:li xml:lang="x-default">Nesting</rdf:li></rdf:Alt></dc:title>'
    "<dc:subject><rdf:Bag><rdf:li>bird</rdf:li></rdf:Bag></dc:subject>"
    "</rdf:Description></rdf:RDF></x:xmpmeta>"
)
TAKEOUT = {
    "title": "IMG_2682.jpg",
    "description": "At the lake",
    "photoTakenTime": {"timestamp": "1553184262", "formatted": "21 Mar 2019, 16:04:22 UTC"},
    "geoData": {"latitude": 41.2203, "longitude": -96.0716, "altitude": 351.0},
    "people": [{"name": "Ann"}, {"name": "Bob"}],
    "favorited": True,
}
NOTHING = Metadata()


def beside(folder: Path, name: str, content: object) -> str:
    path = folder / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return str(path)


def told(folder: Path, name: str, content: object, mine: Metadata = NOTHING) -> Metadata:
    metadata, _, problems = read([beside(folder, name, content)], mine)
    assert problems == []
    return metadata


def texts(folder: Path, name: str, content: object) -> list[str]:
    _, extracts, problems = read([beside(folder, name, content)], NOTHING)
    assert problems == []
    assert {one.fragment for one in extracts} <= {name}
    return [one.text for one in extracts]


def test_no_sidecars_change_nothing() -> None:
    mine = Metadata(title="a", keywords=("b",))
    assert read([], mine) == (mine, [], [])


def test_a_text_file_is_the_text_of_its_picture(tmp_path: Path) -> None:
    path = beside(tmp_path, "photo.txt", "a dog\nat the lake\n")
    metadata, extracts, problems = read([path], NOTHING)
    assert (metadata, problems) == (NOTHING, [])
    assert extracts == [Extract("a dog\nat the lake\n", fragment="photo.txt", atomic=True)]


@pytest.mark.parametrize("name", ["photo.txt", "photo.json"])
def test_an_empty_sidecar_tells_nothing(tmp_path: Path, name: str) -> None:
    assert read([beside(tmp_path, name, b"")], NOTHING) == (NOTHING, [], [])
    assert read([beside(tmp_path, name, b" \n")], NOTHING) == (NOTHING, [], [])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"caption": "a dog", "url": "https://example.org"}, ["a dog"]),
        ({"captions": ["a dog", "a brown dog", "A  dog"]}, ["a dog", "a brown dog"]),
        ({"text": "a dog", "description": "at the lake"}, ["a dog", "at the lake"]),
        ({"caption": None, "captions": [1, {"a": 2}]}, []),
        ({"keywords": ["dog", "lake"], "tags": "lake, summer"}, ["dog, lake, summer"]),
        ({"title": "The lake", "caption": "a dog"}, ["The lake", "a dog"]),
        ({"title": "IMG_1234.jpg"}, []),
        ([{"caption": "of something else"}], []),
        ("7", []),
    ],
)
def test_texts_of_data_sets(tmp_path: Path, content: object, expected: list[str]) -> None:
    assert texts(tmp_path, "photo.json", content) == expected


def test_title_and_keywords_of_data_sets(tmp_path: Path) -> None:
    metadata = told(tmp_path, "p.json", {"title": "The lake", "tags": ["dog"]})
    assert metadata == Metadata(title="The lake", keywords=("dog",))


def test_what_google_photos_gives_out(tmp_path: Path) -> None:
    metadata = told(tmp_path, "IMG_2682.jpg.json", TAKEOUT)
    assert metadata.taken is not None
    assert metadata.taken.isoformat() == "2019-03-21T16:04:22+00:00"
    assert metadata.taken_from == "sidecar"
    assert (metadata.latitude, metadata.longitude, metadata.altitude) == (41.2203, -96.0716, 351.0)
    assert metadata.keywords == ("Ann", "Bob")
    assert (metadata.title, metadata.rating) == (None, None)
    assert texts(tmp_path, "IMG_2682.jpg.json", TAKEOUT) == ["At the lake", "Ann, Bob"]


def test_zeros_of_google_photos_mean_not_known(tmp_path: Path) -> None:
    zeros = {"latitude": 0.0, "longitude": 0.0, "altitude": 0.0}
    content = TAKEOUT | {"geoData": zeros, "photoTakenTime": {"timestamp": "0"}}
    mine = Metadata(taken=datetime(2019, 3, 21), taken_from="name", latitude=1.0, longitude=2.0)
    metadata = told(tmp_path, "p.json", content, mine)
    assert (metadata.taken, metadata.taken_from) == (mine.taken, "name")
    assert (metadata.latitude, metadata.longitude) == (1.0, 2.0)
    elsewhere = content | {"geoDataExif": {"latitude": 3.0, "longitude": 4.0}}
    assert told(tmp_path, "p.json", elsewhere).latitude == 3.0


@pytest.mark.parametrize(
    ("local", "rule", "expected", "expected_rule"),
    [
        ("2019-03-21T11:04:22", "exif", "2019-03-21T11:04:22-05:00", "sidecar"),
        ("2019-03-21T11:04:22.348-05:00", "exif", "2019-03-21T11:04:22.348000-05:00", "exif"),
        ("2019-03-21T08:50:00", "exif", "2019-03-21T16:04:22+00:00", "sidecar"),
        ("2001-01-01T00:00:00", "exif", "2019-03-21T16:04:22+00:00", "sidecar"),
        ("2019-03-21T11:04:22", "name", "2019-03-21T16:04:22+00:00", "sidecar"),
    ],
)
def test_a_moment_in_utc_and_a_local_time_give_local_time_with_its_zone(
    tmp_path: Path, local: str, rule: str, expected: str, expected_rule: str
) -> None:
    mine = Metadata(taken=datetime.fromisoformat(local), taken_from=rule)
    metadata = told(tmp_path, "p.json", TAKEOUT, mine)
    assert metadata.taken is not None
    assert (metadata.taken.isoformat(), metadata.taken_from) == (expected, expected_rule)


def test_xmp_goes_before_what_stands_in_the_picture(tmp_path: Path) -> None:
    mine = Metadata(
        taken=datetime(2018, 1, 1),
        taken_from="exif",
        title="old",
        rating=1,
        camera="Canon EOS 5D",
        keywords=("Bird", "nest"),
    )
    metadata = told(tmp_path, "p.jpg.xmp", XMP.format(date="2019-07-04T12:30:05"), mine)
    assert metadata == Metadata(
        taken=datetime(2019, 7, 4, 12, 30, 5),
        taken_from="sidecar",
        title="Nesting",
        rating=4,
        camera="Canon EOS 5D",
        keywords=("bird", "nest"),
    )
    content = XMP.format(date="")
    assert texts(tmp_path, "p.xmp", content) == ["Nesting", "bird"]
    assert told(tmp_path, "p.xmp", content, mine).taken == mine.taken


def test_the_same_local_time_keeps_the_zone_that_the_picture_tells(tmp_path: Path) -> None:
    mine = Metadata(taken=datetime.fromisoformat("2019-07-04T12:30:05+02:00"), taken_from="exif")
    metadata = told(tmp_path, "p.xmp", XMP.format(date="2019-07-04T12:30:05"), mine)
    assert (metadata.taken, metadata.taken_from) == (mine.taken, "exif")


def test_xmp_goes_before_json_and_a_text_told_twice_comes_once(tmp_path: Path) -> None:
    paths = [
        beside(tmp_path, "p.txt", "bird"),
        beside(tmp_path, "p.json", {"title": "Other", "keywords": ["nest"]}),
        beside(tmp_path, "p.xmp", XMP.format(date="")),
    ]
    metadata, extracts, problems = read(paths, NOTHING)
    assert problems == []
    assert (metadata.title, metadata.keywords) == ("Nesting", ("bird", "nest"))
    assert [one.text for one in extracts] == ["Nesting", "bird", "Other", "nest"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.json", b'{"caption": '),
        ("p.json", b"[" * 100_000),
        ("p.json", b"[" + b"9" * 10_000 + b"]"),
        ("p.json", bytes(range(256))),
        ("p.xmp", b"<x:xmpmeta"),
        ("p.xmp", b"<html/>"),
        ("p.xmp", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'),
        ("p.txt", bytes(range(256))),
        ("p.txt", b"a" * (MAX_BYTES + 1)),
    ],
)
def test_a_broken_sidecar_is_told_and_costs_nothing_else(
    tmp_path: Path, name: str, content: bytes
) -> None:
    broken = beside(tmp_path, name, content)
    good = beside(tmp_path, "good.txt", "a dog")
    metadata, extracts, problems = read([broken, good], Metadata(title="mine"))
    assert metadata == Metadata(title="mine")
    assert [one.text for one in extracts] == ["a dog"]
    assert [(one.path, one.lasting) for one in problems] == [(broken, True)]
    assert "\n" not in problems[0].reason


def test_a_sidecar_that_went_away_may_be_back_the_next_time(tmp_path: Path) -> None:
    _, _, problems = read([str(tmp_path / "gone.txt")], NOTHING)
    assert [one.lasting for one in problems] == [False]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in folders")
def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.json")
    _, extracts, problems = read([str(tmp_path / "p.json")], NOTHING)
    assert extracts == []
    assert [one.lasting for one in problems] == [True]


def test_names_that_are_not_utf8_are_read(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt")
    Path(path).write_text("a dog", "utf-8")
    _, extracts, problems = read([path], NOTHING)
    assert problems == []
    assert [one.fragment for one in extracts] == ["caf?.txt"]


KEYS = st.sampled_from(
    [
        *("title", "caption", "captions", "description", "keywords", "tags", "photoTakenTime"),
        *("timestamp", "geoData", "latitude", "longitude", "altitude", "people", "name"),
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(KEYS, JSON, max_size=6), st.sampled_from(["naive", "utc", "none"]))
def test_any_json_is_read_or_told(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, object], kind: str
) -> None:
    folder = tmp_path_factory.getbasetemp()
    taken = {"naive": "2019-03-21T11:04:22", "utc": "2019-03-21T16:04:22+00:00", "none": None}
    when = datetime.fromisoformat(text) if (text := taken[kind]) else None
    mine = Metadata(taken=when, taken_from="exif" if when else None)
    _, extracts, _ = read([beside(folder, "any.json", content)], mine)
    assert all(one.text.strip() for one in extracts)


@pytest.mark.parametrize(
    ("name", "content", "of"),
    [
        ("photo.json", {"file_name": "photo.png", "caption": "here"}, {"photo.png"}),
        ("photo.json", {"image": "data/PHOTO.PNG", "caption": "here"}, {"photo.png"}),
        ("photo.json", {"title": "photo.jpg", "caption": "here"}, {"photo.jpg"}),
        ("photo.json", {"path": "D:\\\\old\\photo.jpg", "caption": "here"}, {"photo.jpg"}),
        ("photo.json", {"file_name": "photo.gif", "caption": "here"}, {"photo.jpg", "photo.png"}),
        ("photo.json", {"file_name": "other.png", "caption": "here"}, {"photo.jpg", "photo.png"}),
        ("photo.json", {"title": "Photo", "caption": "here"}, {"photo.jpg", "photo.png"}),
        ("photo.json", {"caption": "here"}, {"photo.jpg", "photo.png"}),
        ("photo.txt", "photo.png", {"photo.jpg", "photo.png"}),
        (
            "photo.xmp",
            XMP.replace(
                "xmp:Rating",
                'xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" '
                'photoshop:SidecarForExtension="JPG" xmp:Rating',
            ),
            {"photo.jpg"},
        ),
        ("photo.xmp", XMP, {"photo.jpg", "photo.png"}),
    ],
)
def test_a_sidecar_that_names_one_of_several_pictures_is_of_that_one(
    tmp_path: Path, name: str, content: object, of: set[str]
) -> None:
    pictures = [beside(tmp_path, one, b"?") for one in ("photo.jpg", "photo.png")]
    sidecar = beside(tmp_path, name, content)
    told_of = {Path(one).name for one in pictures if read([sidecar], NOTHING, one)[1]}
    assert told_of == of
