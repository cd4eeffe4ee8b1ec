"""What is known of an item, in words: every rule has its words, and what is not known has none."""

# ruff: noqa: RUF001 - Chinese has signs of its own

from datetime import UTC, datetime, timedelta, timezone

import pytest

from indexer.about.dates import RULES
from searchx.filters import Is, Near
from searchx.query import parse
from searchx.records import Answer, Band, Hit, Item, Location, Metadata, Query, Why
from web.wording import (
    ALT_LENGTH,
    alternative,
    as_words,
    coordinates,
    filtered,
    map_of,
    marked,
    moment,
    near,
    origin,
    shape,
    spot,
    standing,
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


def test_what_is_known_is_told_in_chinese() -> None:
    assert moment(datetime(2019, 7, 4, 12, 30, 5, tzinfo=UTC), "zh") == "2019年7月4日 12:30:05，UTC"
    assert moment(datetime(2019, 7, 4), "zh") == "2019年7月4日"
    known = Metadata(latitude=-33.5, longitude=70.25, altitude=-430.0, orientation="portrait")
    assert coordinates(known, "zh") == "南纬 33.5000°，东经 70.2500°，海平面以下 430 米"
    assert shape(known, "zh") == "纵向"
    assert spot(place("page 3, line 7", page=3, line=7), "zh") == "第 3 页，第 7 行"
    assert spot(place("row 12", line=1), "zh") == "row 12，第 1 行"
    assert all(origin(rule, "zh") != origin(rule) for rule in RULES)


@pytest.mark.parametrize(
    ("why", "english", "chinese"),
    [
        (Why(1), "", ""),
        (Why(1, ("beach",), ("name",)), "beach, in the file name", "beach（文件名）"),
        (
            Why(None, ("beach", "sand"), ("name", "caption", "keyword")),
            "beach, sand, in the file name, the caption and the keywords",
            "beach、sand（文件名、说明文字和关键词）",
        ),
        (Why(1, tuple("abcdefgh")), "a, b, c, d, e, f and 2 more", "a、b、c、d、e、f等另外 2 个"),
    ],
)
def test_words_that_were_found_are_told_with_where_they_stand(
    why: Why, english: str, chinese: str
) -> None:
    assert standing(why) == english
    assert standing(why, "zh") == chinese


@pytest.mark.parametrize(
    ("text", "words", "found"),
    [
        ("The red bus, a Red car", ("red",), ["red", "Red"]),
        ("reddish infrared", ("red",), []),
        ("Ein CAFÉ am Meer", ("cafe",), ["CAFÉ"]),
        ("<b>bus</b> & bus", ("bus",), ["bus", "bus"]),
        ("雪中的教堂很美", ("教堂",), ["教堂"]),
        ("bus", (), []),
        ("", ("bus",), []),
    ],
)
def test_words_that_were_found_are_marked(
    text: str, words: tuple[str, ...], found: list[str]
) -> None:
    pieces = marked(text, words)
    assert "".join(piece for piece, _ in pieces) == text
    assert [piece for piece, is_word in pieces if is_word] == found


def test_a_place_leads_to_a_map_and_to_what_was_taken_near_it() -> None:
    known = Metadata(latitude=48.20834, longitude=-16.3, altitude=1.0)
    assert parse(near(known)).where == Near(48.20834, -16.3, 1.0)
    assert near(Metadata(latitude=48.0)) == ""
    assert map_of(known).startswith("https://www.openstreetmap.org/?mlat=48.20834&mlon=-16.30000#")


@pytest.mark.parametrize("value", ["Canon EOS", "a|b", 'say "so"', "x) OR (y", "/a b/c", "*", "-1"])
def test_a_value_becomes_the_filter_for_it(value: str) -> None:
    assert parse(filtered(value, "camera")).where == Is("camera", value)


@pytest.mark.parametrize("value", ["a\u200bb", "a\x00b", ""])
def test_a_value_that_has_no_words_becomes_no_filter(value: str) -> None:
    assert filtered(value, "camera") == ""
