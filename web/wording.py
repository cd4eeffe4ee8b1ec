"""What is known of an item, in words for people."""

import re
from collections.abc import Iterator
from datetime import datetime, time
from pathlib import Path
from typing import Final

from searchx.errors import BadInput
from searchx.filters import Field, Is
from searchx.query import written
from searchx.records import Answer, Item, Location, Metadata, Query, Why
from searchx.words import words_of
from web.phrases import Language, say

ALT_LENGTH: Final = 200  # characters of a text that stands in for a picture
WORDS_SHOWN: Final = 6
_ORIGINS: Final = {
    "sidecar": "viewer.from_sidecar",
    "exif": "viewer.from_exif",
    "exif-digitized": "viewer.from_exif_digitized",
    "xmp": "viewer.from_xmp",
    "iptc": "viewer.from_iptc",
    "gps": "viewer.from_gps",
    "exif-modified": "viewer.from_exif_modified",
    "name": "viewer.from_name",
}
_STANDS: Final = {
    "name": "viewer.in_name",
    "caption": "viewer.in_caption",
    "keyword": "viewer.in_keyword",
    "passage": "viewer.in_passage",
}
_SHAPES: Final = {
    "landscape": "viewer.landscape",
    "portrait": "viewer.portrait",
    "square": "viewer.square",
}
_TOKEN: Final = re.compile(r"[^\W_]+")


def moment(when: datetime, language: Language = "en") -> str:
    """Say when: "4 July 2019, 12:30:05, UTC+02:00".

    Midnight without a zone is how a day alone is kept, and is shown as the day.
    """
    said = day(when, language)
    if when.tzinfo is None and when.time() == time():
        return said
    zone = say(language, "viewer.no_zone")
    if when.tzinfo is not None:
        zone = when.tzname() or when.strftime("%z")
    return say(language, "viewer.moment", day=said, time=f"{when:%H:%M:%S}", zone=zone)


def day(when: datetime, language: Language = "en") -> str:
    """Say on which day: "4 July 2019"."""
    month = f"{when:%B}" if language == "en" else when.month
    return say(language, "viewer.day", day=when.day, month=month, year=when.year)


def origin(rule: str | None, language: Language = "en") -> str:
    """Say where the date of a picture comes from; empty where that is not known."""
    return say(language, _ORIGINS[rule]) if rule in _ORIGINS else ""


def sized(count: int) -> str:
    """Say how many bytes: "4.8 MB"."""
    size, units = float(count), iter(("kB", "MB", "GB", "TB"))
    unit = "bytes"
    while size >= 999.5 and (larger := next(units, None)):
        size, unit = size / 1000, larger
    number = f"{size:,.0f}" if unit == "bytes" or size >= 99.5 else f"{size:,.1f}"
    return f"{number}\u00a0{unit}"


def clock(when: datetime) -> str:
    """Say when, on this machine's clock: "2026-11-28 15:30"."""
    return f"{when.astimezone():%Y-%m-%d %H:%M}"


def coordinates(metadata: Metadata, language: Language = "en") -> str:
    """Say where a picture was taken: "48.2083 N, 16.3731 E, 171 m"; empty where not known."""
    if metadata.latitude is None or metadata.longitude is None:
        return ""
    north = "viewer.south" if metadata.latitude < 0 else "viewer.north"
    east = "viewer.west" if metadata.longitude < 0 else "viewer.east"
    parts = [
        say(language, north, degrees=f"{abs(metadata.latitude):.4f}"),
        say(language, east, degrees=f"{abs(metadata.longitude):.4f}"),
        *_height(metadata.altitude, language),
    ]
    return say(language, "viewer.comma").join(parts)


def shape(metadata: Metadata, language: Language = "en") -> str:
    """Say how a picture stands: "landscape"; empty where that is not known."""
    name = _SHAPES.get(metadata.orientation or "")
    return "" if name is None else say(language, name)


def standing(why: Why, language: Language = "en") -> str:
    """Name the words of a query that stand with an item, and where; empty where none do.

    "beach, sand, in the caption and the file name".
    """
    if not why.words:
        return ""
    words = say(language, "viewer.listed").join(why.words[:WORDS_SHOWN])
    if (more := len(why.words) - WORDS_SHOWN) > 0:
        words = say(language, "viewer.words_more", words=words, n=more)
    places = [say(language, _STANDS[field]) for field in why.fields if field in _STANDS]
    if not places:
        return words
    listed = say(language, "viewer.listed").join(places[:-1])
    if listed:
        listed = say(language, "viewer.both", first=listed, last=places[-1])
    return say(language, "viewer.words_in", words=words, places=listed or places[-1])


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


def near(metadata: Metadata) -> str:
    """Write the filter for pictures taken within a kilometre; empty where the place is not known.

    Five decimals are a metre.
    """
    if metadata.latitude is None or metadata.longitude is None:
        return ""
    return f"near:{metadata.latitude:.5f},{metadata.longitude:.5f},1km"


def map_of(metadata: Metadata) -> str:
    """Give the address of a map of the place where a picture was taken."""
    at = f"{metadata.latitude:.5f}", f"{metadata.longitude:.5f}"
    return f"https://www.openstreetmap.org/?mlat={at[0]}&mlon={at[1]}#map=15/{at[0]}/{at[1]}"


def filtered(value: str, field: Field) -> str:
    """Write a filter for what has this value; empty where the language has no words for it."""
    try:
        return written(Query(where=Is(field, value)))
    except BadInput:
        return ""


def stars(rating: int) -> str:
    """Draw a rating of 0 to 5 stars."""
    return "★" * rating + "☆" * (5 - rating)


def spot(place: Location, language: Language = "en") -> str:
    """Say where in a file an item stands: "caption", "row 12", "page 3, line 7"; or empty."""
    told = zip(_numbered(place), _numbered(place, language), strict=True)
    if is_running_text(place):
        words = [said for _, said in told]
    else:
        words = [place.fragment, *(said for plain, said in told if plain not in _parts(place))]
    return say(language, "viewer.comma").join(words)


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


def _height(metres: float | None, language: Language) -> list[str]:
    if metres is None:
        return []
    key = "viewer.below_sea" if round(metres) < 0 else "viewer.above_sea"
    return [say(language, key, metres=f"{abs(metres):.0f}")]


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


def _numbered(place: Location, language: Language = "en") -> list[str]:
    page = [say(language, "viewer.page", number=place.page)] if place.page is not None else []
    line = [say(language, "viewer.line", number=place.line)] if place.line is not None else []
    return page + line


def _is_list_of_keywords(text: str, item: Item) -> bool:
    keywords = item.metadata.keywords if item.metadata else ()
    return bool(keywords) and set(text.split(", ")) <= {
        part for word in keywords for part in word.split(", ")
    }
