"""What is known of an item, in words: every rule has its words, and what is not known has none."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from indexer.about.dates import RULES
from searchx.query import parse
from searchx.records import Answer, Band, Hit, Item, Location, Metadata, Query
from web.wording import (
    ALT_LENGTH,
    alternative,
    as_words,
    coordinates,
    moment,
    origin,
    spot,
    stars,
    untold,
    weak_from,
)
from web.wording import is_running_text as runs


def picture(*captions: str, title: str | None = None, keywords: tuple[str, ...] = ()) -> Item:
    known = Metadata(title=title, keywords=keywords)
    place = Location("/photos", "/photos/a.jpg")
    return Item(1, "image", "0" * 64, (place,), metadata=known, captions=captions)


def place(fragment: str = "", page: int | None = None, line: int | None = None) -> Location:
    return Location("/texts", "/texts/a.pdf", fragment, page, line)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_for_dates_has_its_own_words(rule: str) -> None:
    assert origin(rule)
    assert [origin(one) for one in RULES].count(origin(rule)) == 1


@pytest.mark.parametrize("rule", [None, "", "a rule of a later version"])
def test_a_rule_that_is_not_known_is_not_told(rule: str | None) -> None:
    assert origin(rule) == ""


@pytest.mark.parametrize(
    ("when", "said"),
    [
        (datetime(2019, 7, 4, 12, 30, 5), "4 July 2019, 12:30:05, time zone not known"),
        (datetime(2019, 7, 4, 12, 30, 5, tzinfo=UTC), "4 July 2019, 12:30:05, UTC"),
        (datetime(2019, 7, 4), "4 July 2019"),
        (datetime(2019, 7, 4, tzinfo=UTC), "4 July 2019, 00:00:00, UTC"),
        (
            datetime(1826, 1, 31, 23, 5, tzinfo=timezone(timedelta(hours=-9, minutes=-30))),
            "31 January 1826, 23:05:00, UTC-09:30",
        ),
    ],
)
def test_a_date_is_told_with_its_zone(when: datetime, said: str) -> None:
    assert moment(when) == said


@pytest.mark.parametrize(
    ("latitude", "longitude", "altitude", "said"),
    [
        (48.20834, 16.37312, None, "48.2083 N, 16.3731 E"),
        (-33.5, -70.25, 521.4, "33.5000 S, 70.2500 W, 521 m"),
        (31.5, 35.5, -430.0, "31.5000 N, 35.5000 E, 430 m below the sea"),
        (0.0, 0.0, 0.0, "0.0000 N, 0.0000 E, 0 m"),
        (None, 16.0, 100.0, ""),
        (48.0, None, None, ""),
    ],
)
def test_a_place_is_told_in_degrees(
    latitude: float | None, longitude: float | None, altitude: float | None, said: str
) -> None:
    known = Metadata(latitude=latitude, longitude=longitude, altitude=altitude)
    assert coordinates(known) == said


def test_a_rating_has_five_stars() -> None:
    assert [stars(rating) for rating in (0, 3, 5)] == ["☆☆☆☆☆", "★★★☆☆", "★★★★★"]


@pytest.mark.parametrize(
    ("location", "said"),
    [
        (place(), ""),
        (place("caption"), "caption"),
        (place(page=3, line=7), "page 3, line 7"),
        (place("page 3, line 7", page=3, line=7), "page 3, line 7"),
        (place("page 1", page=11), "page 1, page 11"),
        (place("photo.txt", line=1), "photo.txt, line 1"),
        (place("line 12", line=1), "line 12, line 1"),
    ],
)
def test_a_place_in_a_file_is_told_once(location: Location, said: str) -> None:
    assert spot(location) == said


def test_captions_and_rows_are_no_running_text() -> None:
    assert all(map(runs, [place(), place("line 7", line=7), place("page 3", page=3)]))
    apart = [place("caption"), place("row 12"), place("line 12"), place("a.txt, line 2", line=2)]
    assert not any(map(runs, apart))


def test_a_picture_that_is_not_seen_is_told_by_its_caption_then_its_title_then_its_name() -> None:
    keywords = ("lake", "dog, wet")
    assert alternative(picture("T", "A dog in\n a lake", title="T")) == "A dog in a lake"
    assert alternative(picture("lake, dog, wet", "A dog", keywords=keywords)) == "A dog"
    assert alternative(picture("lake, dog, wet", title="T", keywords=keywords)) == "T"
    assert alternative(picture()) == "a.jpg"
    assert len(alternative(picture("word " * ALT_LENGTH))) <= ALT_LENGTH + 1


def test_captions_that_title_and_keywords_tell_are_not_told_again() -> None:
    item = picture("T", "lake, dog", "A dog", title="T", keywords=("dog", "lake", "bird"))
    assert untold(item) == ["A dog"]
    assert untold(picture("lake, dog")) == ["lake, dog"]


STRONG, FAIR, WEAK = Band.__args__  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("bands", "on_the_first_page", "on_others"),
    [
        ([], 0, 0),
        ([STRONG, FAIR], 2, 2),
        ([STRONG, FAIR, WEAK, WEAK], 2, 2),
        ([STRONG, WEAK, FAIR, WEAK], 3, 3),  # words may lift one that is weak
        ([WEAK, WEAK], 2, 0),
        ([None, None], 2, 2),
    ],
)
def test_the_weak_begin_behind_the_last_that_is_not(
    bands: list[Band | None], on_the_first_page: int, on_others: int
) -> None:
    answer = Answer(tuple(Hit(picture(), 0.1, 0.1, band) for band in bands))
    assert weak_from(answer, True) == on_the_first_page
    assert weak_from(answer, False) == on_others


@pytest.mark.parametrize("text", ["bus", "red car", "2019-2021", "kind:image", "-snow", 'a "b"'])
def test_a_text_that_looks_like_a_filter_can_be_asked_for_as_words(text: str) -> None:
    assert parse(as_words(text)) == Query(text)
