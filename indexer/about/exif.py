"""What EXIF tells of a picture. Also the directories of a TIFF or of a camera's raw file.

Only the named tags are read, each up to a bound: the 65,535 tags of a small file may all point at
one long value. Raw files, most of which Pillow does not open, are read in the same way.
"""

import math
import struct
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from typing import Final, TypeAlias

from indexer.about.dates import Dated, written
from indexer.about.facts import (
    Facts,
    Place,
    camera,
    captions,
    decoded,
    keywords,
    lens,
    place,
    rating,
    rating_of_percent,
    title,
)

Value: TypeAlias = bytes | tuple[float, ...]
Directory: TypeAlias = dict[int, Value]

MAX_ENTRIES: Final = 4_096  # of one directory
MAX_VALUE: Final = 1 << 16  # bytes of one value; what EXIF in a JPEG can hold
MAX_PACKET: Final = 1 << 23  # bytes of XMP and IPTC inside a TIFF
MAX_NUMBERS: Final = 16  # of one value

DESCRIPTION, MAKE, MODEL, MODIFIED = 0x010E, 0x010F, 0x0110, 0x0132
XMP, IPTC, PHOTOSHOP = 0x02BC, 0x83BB, 0x8649
RATING, RATING_PERCENT = 0x4746, 0x4749
EXIF_AT, GPS_AT = 0x8769, 0x8825
XP_TITLE, XP_COMMENT, XP_KEYWORDS, XP_SUBJECT = 0x9C9B, 0x9C9C, 0x9C9E, 0x9C9F
ORIGINAL, DIGITIZED, USER_COMMENT, LENS = 0x9003, 0x9004, 0x9286, 0xA434
OFFSET_MODIFIED, OFFSET_ORIGINAL, OFFSET_DIGITIZED = 0x9010, 0x9011, 0x9012
PART_MODIFIED, PART_ORIGINAL, PART_DIGITIZED = 0x9290, 0x9291, 0x9292
LATITUDE_REF, LATITUDE, LONGITUDE_REF, LONGITUDE, ALTITUDE_REF, ALTITUDE = range(1, 7)
GPS_TIME, GPS_DATE = 0x07, 0x1D

_PACKETS: Final = frozenset((XMP, IPTC, PHOTOSHOP))
_MAIN: Final = _PACKETS | {
    *(DESCRIPTION, MAKE, MODEL, MODIFIED, RATING, RATING_PERCENT, EXIF_AT, GPS_AT),
    *(XP_TITLE, XP_COMMENT, XP_KEYWORDS, XP_SUBJECT),
    *(ORIGINAL,),  # raw files may have it here
}
_EXIF: Final = frozenset(
    (
        *(ORIGINAL, DIGITIZED, USER_COMMENT, LENS, OFFSET_MODIFIED, OFFSET_ORIGINAL),
        *(OFFSET_DIGITIZED, PART_MODIFIED, PART_ORIGINAL, PART_DIGITIZED),
    )
)
_GPS: Final = frozenset((*range(1, 7), GPS_TIME, GPS_DATE))
_ORDERS: Final = {b"II": "<", b"MM": ">"}
_MAGIC: Final = frozenset((42, 0x4F52, 0x5352, 0x55))  # TIFF; Olympus, twice; Panasonic
_BYTES: Final = {1: 1, 2: 1, 6: 1, 7: 1, 129: 1}  # size of the kinds that are kept as bytes
_NUMBERS: Final = {3: "H", 4: "I", 5: "II", 8: "h", 9: "i", 10: "ii", 11: "f", 12: "d", 13: "I"}
_RATIONAL: Final = (5, 10)


@dataclass(frozen=True, slots=True)
class Directories:
    """The named tags of the directories of one EXIF block."""

    order: str = "<"  # of bytes, as struct names it
    main: Directory = field(default_factory=dict)
    exif: Directory = field(default_factory=dict)
    gps: Directory = field(default_factory=dict)


def is_tiff(data: bytes) -> bool:
    """Tell whether the bytes begin as TIFF does, or as a raw file that is built like it."""
    order = _ORDERS.get(data[:2])
    return order is not None and struct.unpack(order + "H", data[2:4])[0] in _MAGIC


def directories(block: bytes) -> Directories:
    """Read the directories of an EXIF block, with or without its "Exif" in front, or of a TIFF.

    What is damaged is left out.
    """
    while block.startswith(b"Exif\0"):
        block = block[6:]
    if len(block) < 8 or not is_tiff(block):
        return Directories()
    order = _ORDERS[block[:2]]
    main = _directory(block, _pointer((struct.unpack(order + "I", block[4:8])[0],)), order, _MAIN)
    exif = _directory(block, _pointer(main.get(EXIF_AT)), order, _EXIF)
    gps = _directory(block, _pointer(main.get(GPS_AT)), order, _GPS)
    if ORIGINAL in main:
        exif.setdefault(ORIGINAL, main[ORIGINAL])
    return Directories(order, main, exif, gps)


def parts(main: bytes, exif: bytes, gps: bytes) -> Directories:
    """Read directories that each stand in a block of their own, as Canon writes them in CR3."""
    blocks = ((main, _MAIN), (exif, _EXIF), (gps, _GPS))
    order = _ORDERS.get(main[:2], "<")
    read = [
        _directory(block, 8, _ORDERS[block[:2]], wanted) if is_tiff(block) else {}
        for block, wanted in blocks
    ]
    return Directories(order, *read)


def facts(found: Directories) -> Facts:
    """Tell what the directories say."""
    main, exif = found.main, found.exif
    user_comment = _user_comment(exif.get(USER_COMMENT), found.order)
    described = (_text(main, DESCRIPTION), user_comment)
    return Facts(
        dates=_dates(found),
        place=_place(found.gps),
        camera=camera(_text(main, MAKE), _text(main, MODEL)),
        lens=lens(_text(exif, LENS)),
        title=title(_wide(main, XP_TITLE)),
        rating=_rating(main),
        keywords=keywords(_wide(main, XP_KEYWORDS).split(";")),
        captions=captions((*described, _wide(main, XP_COMMENT), _wide(main, XP_SUBJECT))),
    )


def _directory(block: bytes, start: int, order: str, wanted: frozenset[int]) -> Directory:
    found: Directory = {}
    if not 8 <= start <= len(block) - 2:
        return found
    count = struct.unpack_from(order + "H", block, start)[0]
    end = min(start + 2 + 12 * min(count, MAX_ENTRIES), len(block) - 11)
    for at in range(start + 2, end, 12):
        tag, kind, length = struct.unpack_from(order + "HHI", block, at)
        if tag in wanted and tag not in found:
            value = _value(block, at + 8, order, kind, length, tag in _PACKETS)
            if value:
                found[tag] = value
    return found


def _value(
    block: bytes, at: int, order: str, kind: int, length: int, is_packet: bool
) -> Value | None:
    form = _NUMBERS.get(kind, "")
    each = struct.calcsize("=" + form) if form else _BYTES.get(kind, 0)
    size = each * length
    start = at if size <= 4 else struct.unpack_from(order + "I", block, at)[0]
    if is_packet:  # bytes, whatever kind of number it calls them
        return block[start : start + min(size, MAX_PACKET)]
    if not form:
        return block[start : start + min(size, MAX_VALUE)]
    count = min(length, MAX_NUMBERS)
    if start + count * each > len(block):
        return None
    numbers = struct.unpack_from(order + form * count, block, start)
    if kind not in _RATIONAL:
        return numbers
    pairs = zip(numbers[::2], numbers[1::2], strict=True)
    return tuple(top / bottom if bottom else math.nan for top, bottom in pairs)


def _pointer(value: Value | None) -> int:
    return int(value[0]) if isinstance(value, tuple) and math.isfinite(value[0]) else 0


def _text(directory: Directory, tag: int) -> str:
    value = directory.get(tag)
    return decoded(value.split(b"\0", 1)[0]) if isinstance(value, bytes) else ""


def _wide(directory: Directory, tag: int) -> str:
    """Read a text that Windows wrote: UTF-16, little end first whatever the order of the file."""
    value = directory.get(tag)
    if not isinstance(value, bytes):
        return ""
    return value.decode("utf-16-le", "ignore").split("\0", 1)[0]


def _user_comment(value: Value | None, order: str) -> str:
    """Read the one text of EXIF that names its encoding, in its first eight bytes."""
    if not isinstance(value, bytes):
        return ""
    name, raw = value[:8].rstrip(b"\0 ").upper(), value[8:]
    if name == b"UNICODE":
        return _utf16(raw, order).split("\0", 1)[0]
    if name == b"JIS":
        return raw.rstrip(b"\0").decode("iso2022_jp", "ignore")
    if name not in (b"", b"ASCII"):
        raw = value  # written without the name
    raw = raw.split(b"\0", 1)[0]
    is_text = bool(raw) and not any(byte < 32 and byte not in b"\t\n\r" for byte in raw)
    return decoded(raw) if is_text and (name or raw.isascii()) else ""


def _utf16(raw: bytes, order: str) -> str:
    """Decode UTF-16 of uncertain byte order: a mark decides, then zero bytes, then the file."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16", "ignore")
    zeros_first, zeros_second = raw[::2].count(0), raw[1::2].count(0)
    if zeros_first != zeros_second:
        order = ">" if zeros_first > zeros_second else "<"
    return raw.decode("utf-16-be" if order == ">" else "utf-16-le", "ignore")


def _dates(found: Directories) -> tuple[Dated, ...]:
    exif = found.exif
    changed, original = _text(found.main, MODIFIED), _text(exif, ORIGINAL)
    offset = _text(exif, OFFSET_MODIFIED)
    # Cameras that write one offset write it beside the time of change; a program that saved the
    # picture later, in another zone, has changed that time.
    own = _text(exif, OFFSET_ORIGINAL) or (offset if changed == original else "")
    digitized = _text(exif, DIGITIZED)
    known = (
        ("exif", written(original, _text(exif, PART_ORIGINAL), own)),
        (
            "exif-digitized",
            written(digitized, _text(exif, PART_DIGITIZED), _text(exif, OFFSET_DIGITIZED)),
        ),
        ("exif-modified", written(changed, _text(exif, PART_MODIFIED), offset)),
    )
    dates = [Dated(when, rule) for rule, when in known if when is not None]
    if fix := _fix(found.gps):
        dates.append(fix)
    return tuple(dates)


def _fix(gps: Directory) -> Dated | None:
    """Read the date and time of the GPS fix; a date without a time is none."""
    day, clock = written(_text(gps, GPS_DATE)), gps.get(GPS_TIME)
    if day is None or not isinstance(clock, tuple) or len(clock) != 3:
        return None
    hours, minutes, seconds = clock
    if not (0 <= hours < 24 and 0 <= minutes < 60 and 0 <= seconds <= 60):  # false for nan as well
        return None
    if day.year > 9000:  # where adding a day leaves the calendar
        return None
    when = day.replace(tzinfo=UTC) + timedelta(hours=hours, minutes=minutes, seconds=seconds)
    return Dated(when, "gps")


def _place(gps: Directory) -> Place | None:
    latitude = _degrees(gps.get(LATITUDE), _text(gps, LATITUDE_REF), "NS")
    longitude = _degrees(gps.get(LONGITUDE), _text(gps, LONGITUDE_REF), "EW")
    height, sign = gps.get(ALTITUDE), gps.get(ALTITUDE_REF)
    is_below = sign in (b"\x01", (1,))
    altitude = height[0] if isinstance(height, tuple) else None
    if altitude is not None and is_below:
        altitude = -altitude
    return place(latitude, longitude, altitude)


def _degrees(value: Value | None, side: str, sides: str) -> float:
    """Give signed degrees; not a number where it is not said on which side they are."""
    letter = side.strip().upper()[:1]
    if not isinstance(value, tuple) or not letter or letter not in sides:
        return math.nan
    degrees = sum(part / 60.0**power for power, part in enumerate(value[:3]))
    return -degrees if letter == sides[1] else degrees


def _rating(main: Directory) -> int | None:
    stars, percent = main.get(RATING), main.get(RATING_PERCENT)
    if isinstance(stars, tuple):
        return rating(stars[0])
    return rating_of_percent(percent[0]) if isinstance(percent, tuple) else None
