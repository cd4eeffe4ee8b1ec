"""A query taken apart into chips, and a passage and a picture fitted to the page."""

import re
from pathlib import Path

import pytest

from searchx.query import parse
from searchx.records import Item, Location
from web.asked import Asked
from web.chips import chips
from web.excerpts import AROUND, BESIDE, beginning, ending, excerpt, value_of
from web.sizes import RATIOS, shape_of, sources

STYLES = Path(__file__).resolve().parent.parent / "web" / "static" / "searchx.css"


def taken(q: str) -> list[tuple[str, str, str]]:
    return [(one.sort, one.text, one.rest.q) for one in chips(Asked(q), parse(q, files=False))]


def test_each_piece_has_the_query_without_it() -> None:
    assert taken("red -blue^0.5 kind:image ext:png -folder:scans") == [
        ("words", "red", "-blue^0.5 kind:image ext:png -folder:scans"),
        ("not", "blue \u00d7 0.5", "red kind:image ext:png -folder:scans"),
        ("filter", "kind:image", "red -blue^0.5 ext:png -folder:scans"),
        ("filter", "ext:png", "red -blue^0.5 kind:image -folder:scans"),
        ("without", "folder:scans", "red -blue^0.5 kind:image ext:png"),
    ]


def test_items_and_groups_are_pieces_too() -> None:
    assert taken("like:3 +like:4") == [
        ("more", "like:3", "+like:4"),
        ("more", "like:4", "like:3"),
    ]
    assert taken("(ext:png OR -ext:gif)") == [("filter", "(ext:png OR -ext:gif)", "")]


@pytest.mark.parametrize("q", ["", "a red bus", "<b>"])
def test_words_alone_are_not_taken_apart(q: str) -> None:
    assert taken(q) == []


def picture(width: int | None, height: int | None) -> Item:
    place = Location("/photos", "/photos/a.jpg")
    return Item(7, "image", "0" * 64, (place,), width=width, height=height)


def test_the_style_sheet_knows_every_shape() -> None:
    told = dict(re.findall(r'\[data-r="(\d+)"\] { --r: ([\d.]+); }', STYLES.read_text()))
    assert {int(step): float(ratio) for step, ratio in told.items()} == {
        step: pytest.approx(ratio, abs=0.001) for step, ratio in enumerate(RATIOS)
    }


@pytest.mark.parametrize(
    ("width", "height", "ratio"),
    [(400, 300, 4 / 3), (300, 400, 3 / 4), (10_000, 10, 2.5), (1, 900, 0.5), (None, None, 1.0)],
)
def test_a_picture_has_the_nearest_shape(
    width: int | None, height: int | None, ratio: float
) -> None:
    assert RATIOS[shape_of(picture(width, height))] == pytest.approx(ratio, rel=0.026)


def test_no_size_is_offered_that_shows_no_more_than_a_smaller_one() -> None:
    assert sources(picture(4000, 3000)) == (
        "/items/7/thumbnail?side=240 240w, /items/7/thumbnail?side=480 480w, "
        "/items/7/thumbnail?side=960 960w"
    )
    assert sources(picture(150, 300)) == (
        "/items/7/thumbnail?side=240 120w, /items/7/thumbnail?side=480 150w"
    )
    assert sources(picture(100, 100)) == "/items/7/thumbnail?side=240 100w"
    assert sources(picture(None, None)) == ""


def test_a_passage_begins_near_what_matched() -> None:
    text = "some words " * 60 + "the red bus " + "and more " * 60
    cut = excerpt(text, ("bus",))
    assert cut.startswith("\u2026") and "red bus" in cut[: AROUND + 20]
    assert text.endswith(cut[1:])
    assert excerpt(text, ()) == excerpt(text, ("nowhere",)) == text
    assert excerpt("the red bus", ("bus",)) == "the red bus"


def test_what_stands_beside_a_passage_is_cut_at_words() -> None:
    text = " ".join(f"word{number}" for number in range(100))
    assert ending(text).startswith("\u2026word") and ending(text).endswith("word99")
    assert beginning(text).endswith("\u2026") and len(beginning(text)) <= BESIDE + 1
    assert beginning("short") == ending("short") == "short"
    assert len(beginning("x" * 1000)) == BESIDE + 1


def test_values_are_said_in_words() -> None:
    assert value_of("/a/b/trips/2019", "folder") == "trips/2019"
    assert value_of("portrait", "orientation", "zh") == "\u7eb5\u5411"
    assert value_of("1", "rating") == "1 star" and value_of("3", "rating") == "3 stars"
    assert value_of("Canon", "camera") == "Canon"
