"""What is known of an item, in words for people."""

from datetime import datetime, time
from pathlib import Path
from typing import Final

from searchx.errors import BadInput
from searchx.query import written
from searchx.records import Answer, Item, Location, Metadata, Query

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


def coordinates(metadata: Metadata) -> str:
    """Say where a picture was taken: "48.2083 N, 16.3731 E, 171 m"; empty where not known."""
    if metadata.latitude is None or metadata.longitude is None:
        return ""
    north = f"{abs(metadata.latitude):.4f} {'S' if metadata.latitude < 0 else 'N'}"
    east = f"{abs(metadata.longitude):.4f} {'W' if metadata.longitude < 0 else 'E'}"
    return ", ".join([north, east, *_height(metadata.altitude)])


def stars(rating: int) -> str:
    """Draw a rating of 0 to 5 stars."""
    return "★" * rating + "☆" * (5 - rating)


def spot(place: Location) -> str:
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
