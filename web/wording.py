"""What is known of an item, in words for people."""

import re
from collections.abc import Iterator
from datetime import datetime, time
from pathlib import Path
from typing import Final

from searchx.errors import BadInput
from searchx.query import written
from searchx.reasons import matched
from searchx.records import Answer, Item, Location, Metadata, Query, Why
from searchx.words import words_of
from web.phrases import Language

ALT_LENGTH: Final = 200  # characters of a text that stands in for a picture
_ORIGINS: Final = {
    "sidecar": "from a file beside the picture",
    "exif": "as the camera noted it",
    "exif-digitized": "when it was digitised, as noted in the file",
    "xmp": "as a program noted it in the file (XMP)",
    "iptc": "as a program noted it in the file (IPTC)",
    "gps": "from the GPS fix, in UTC",
    "exif-modified": "when a program last saved it, as noted in the file",
    "name": "from the file name",
}
_TOKEN: Final = re.compile(r"[^\W_]+")


def moment(when: datetime) -> str:
    """Say when: "4 July 2019, 12:30:05, UTC+02:00".

    Midnight without a zone is how a day alone is kept, and is shown as the day.
    """
    day = f"{when.day} {when:%B} {when.year}"
    if when.tzinfo is None:
        return day if when.time() == time() else f"{day}, {when:%H:%M:%S}, time zone not known"
    return f"{day}, {when:%H:%M:%S}, {when.tzname() or when.strftime('%z')}"


def origin(rule: str | None) -> str:
    """Say where the date of a picture comes from; empty where that is not known."""
    return _ORIGINS.get(rule or "", "")


def coordinates(metadata: Metadata) -> str:
    """Say where a picture was taken: "48.2083 N, 16.3731 E, 171 m"; empty where not known."""
    if metadata.latitude is None or metadata.longitude is None:
        return ""
    north = f"{abs(metadata.latitude):.4f} {'S' if metadata.latitude < 0 else 'N'}"
    east = f"{abs(metadata.longitude):.4f} {'W' if metadata.longitude < 0 else 'E'}"
    return ", ".join([north, east, *_height(metadata.altitude)])


def standing(why: Why, language: Language = "en") -> str:
    """Name the words of a query that stand with an item, and where; empty where none do."""
    return matched(why)


def marked(text: str, words: tuple[str, ...]) -> list[tuple[str, bool]]:
    """Cut a text into pieces, with whether each is one of the words, as the search finds them."""
    pieces: list[tuple[str, bool]] = []
    end = 0
    for start, stop in _found(text, words):
        if start >= end:
            pieces += [(text[end:start], False)] if start > end else []
            pieces.append((text[start:stop], True))
            end = stop
    return [*pieces, (text[end:], False)] if end < len(text) else pieces


def stars(rating: int) -> str:
    """Draw a rating of 0 to 5 stars."""
    return "★" * rating + "☆" * (5 - rating)


def spot(place: Location, language: Language = "en") -> str:
    """Say where in a file an item stands: "caption", "row 12", "page 3, line 7"; or empty."""
    words = [place.fragment] if place.fragment else []
    return ", ".join([*words, *(one for one in _numbered(place) if one not in _parts(place))])


def is_running_text(place: Location) -> bool:
    """Tell whether a passage is a part of a document, and not a caption or a row of its own."""
    return _parts(place) <= {"", *_numbered(place)}


def alternative(item: Item) -> str:
    """Say what stands in for a picture that is not seen: a caption, its title, or its name."""
    title = item.metadata.title if item.metadata else None
    shown = next(iter(untold(item)), title or Path(item.path).name)
    text = " ".join(shown.split())
    return text if len(text) <= ALT_LENGTH else text[:ALT_LENGTH].rstrip() + "…"


def untold(item: Item) -> list[str]:
    """Give the captions of a picture that its title and keywords do not tell already."""
    title = item.metadata.title if item.metadata else None
    return [
        text for text in item.captions if text != title and not _is_list_of_keywords(text, item)
    ]


def as_words(text: str) -> str:
    """Write a text so that the query language takes it for words, whatever it looks like."""
    try:
        return written(Query(text))
    except BadInput:
        return text


def weak_from(answer: Answer, is_first_page: bool) -> int:
    """Give the place from which on all hits of a page are weak; their number where none begin.

    Where everything is weak from the first hit on, there is nothing to tell it from.
    """
    bands = [hit.band for hit in answer.hits]
    place = len(bands)
    while place and bands[place - 1] == "weak":
        place -= 1
    return len(bands) if place == 0 and is_first_page else place


def _height(metres: float | None) -> list[str]:
    if metres is None:
        return []
    return [f"{abs(metres):.0f} m" + (" below the sea" if round(metres) < 0 else "")]


def _found(text: str, words: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """Give where words stand, in order; those of scripts without spaces stand inside others."""
    wanted = {one for word in words for one in words_of(word)}
    inside = [word for word in words if len(words_of(word)) > 1]
    for token in _TOKEN.finditer(text):
        terms = words_of(token[0])
        if len(terms) == 1 and terms[0] in wanted:
            yield token.span()
        elif len(terms) > 1:
            places = [(token[0].find(word), len(word)) for word in inside]
            for at, length in sorted((at, -length) for at, length in places if at >= 0):
                yield token.start() + at, token.start() + at - length


def _parts(place: Location) -> set[str]:
    return set(place.fragment.split(", "))


def _numbered(place: Location) -> list[str]:
    page = [f"page {place.page}"] if place.page is not None else []
    line = [f"line {place.line}"] if place.line is not None else []
    return page + line


def _is_list_of_keywords(text: str, item: Item) -> bool:
    keywords = item.metadata.keywords if item.metadata else ()
    return bool(keywords) and set(text.split(", ")) <= {
        part for word in keywords for part in word.split(", ")
    }
