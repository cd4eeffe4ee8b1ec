"""What IPTC-IIM tells of a picture, and where Photoshop keeps it."""

import struct
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from indexer.about.dates import Dated, written
from indexer.about.facts import Facts, captions, decoded, keywords, title

MAX_RECORDS: Final = 10_000
MAX_RESOURCES: Final = 10_000
TITLE, KEYWORDS, DAY, TIME, HEADLINE, CAPTION = 5, 25, 55, 60, 105, 120
IPTC_RESOURCE, EXIF_RESOURCE, XMP_RESOURCE = 0x0404, 0x0422, 0x0424


def facts(block: bytes) -> Facts:
    """Tell what the records of an IPTC block say; what is damaged is left out."""
    told: dict[int, list[str]] = {}
    for number, raw in _records(block):
        told.setdefault(number, []).append(decoded(raw))
    date = _date(_first(told, DAY), _first(told, TIME))
    return Facts(
        dates=(date,) if date else (),
        title=title(_first(told, TITLE)),
        keywords=keywords(told.get(KEYWORDS, ())),
        captions=captions((*told.get(HEADLINE, ()), *told.get(CAPTION, ()))),
    )


def resources(block: bytes) -> dict[int, bytes]:
    """Give the resources that Photoshop keeps, by number; the first of each."""
    found: dict[int, bytes] = {}
    at = 0
    for _ in range(MAX_RESOURCES):
        if block[at : at + 4] != b"8BIM" or at + 12 > len(block):
            break
        number = int.from_bytes(block[at + 4 : at + 6])
        at += 6 + (block[at + 6] // 2 + 1) * 2  # the name and its length, to an even number
        size = int.from_bytes(block[at : at + 4])
        found.setdefault(number, block[at + 4 : at + 4 + size])
        at += 4 + size + size % 2
    return found


def _records(block: bytes) -> Iterator[tuple[int, bytes]]:
    """Give number and content of each record of the second group, which describes the picture."""
    at = max(block.find(b"\x1c"), 0)
    for _ in range(MAX_RECORDS):
        if block[at : at + 1] != b"\x1c" or at + 5 > len(block):
            return
        group, number, size = struct.unpack_from(">BBH", block, at + 1)
        at += 5
        if size & 0x8000:  # as many bytes of length follow
            width = size & 0x7FFF
            size = int.from_bytes(block[at : at + min(width, 8)])
            at += width
        if group == 2:
            yield number, block[at : at + size]
        at += size


def _first(told: dict[int, list[str]], number: int) -> str:
    return told.get(number, [""])[0]


def _date(day: str, time: str) -> Dated | None:
    """Read "20190704" and "123005+0200".

    The offset +0000 is not believed: programs write it where they do not know the zone.
    """
    day, time = day.strip(" \0"), time.strip(" \0")
    if len(day) != 8 or not day.isdecimal():
        return None
    text = f"{day[:4]}-{day[4:6]}-{day[6:]}"
    when = None
    if len(time) >= 6 and time[:6].isdecimal():
        when = written(f"{text} {time[:2]}:{time[2:4]}:{time[4:6]}{time[6:]}")
    when = when or written(text)
    if when and when.utcoffset() == timedelta(0):
        when = when.replace(tzinfo=None)
    return Dated(when, "iptc") if when else None
