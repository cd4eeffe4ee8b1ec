"""When a picture was taken: which dates are believed, in which order, and in which time zone.

The order, first to last; a date that cannot be true is passed over:

1. ``sidecar``: what a sidecar file says (``indexer.about.sidecars``).
2. ``exif``: EXIF DateTimeOriginal with its SubSec and OffsetTimeOriginal.
3. ``exif-digitized``: EXIF DateTimeDigitized, likewise.
4. ``xmp``: exif:DateTimeOriginal, photoshop:DateCreated, xmp:CreateDate, exif:DateTimeDigitized.
5. ``iptc``: DateCreated and TimeCreated. A time without a date is no date.
6. ``gps``: the date and time of the GPS fix, in UTC.
7. ``exif-modified``: EXIF DateTime, which programs change when they save.
8. ``name``: a date in the file name (IMG_20190704_123005, IMG-20190704-WA0001, ...).

The time of change of the file is not used: copying sets it to the day of the copy.

A time is local time of the place. Its zone is the offset written beside it; else, where the GPS
fix is within two minutes of an offset that some place on earth uses, that one; else not known.
A day without a time is midnight; a year or month alone is its first day.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

RULES: Final = (
    *("sidecar", "exif", "exif-digitized", "xmp", "iptc"),
    *("gps", "exif-modified", "name"),
)
FIRST_YEAR: Final = 1826  # of the oldest photograph that is kept
GPS_SLACK: Final = timedelta(minutes=2)  # a fix is some seconds older than its picture
_WHOLE_HOURS: Final = range(-12 * 60, 14 * 60 + 1, 60)
_ODD_OFFSETS: Final = (-570, -210, -150, 210, 270, 330, 345, 390, 525, 570, 630, 765, 825)
OFFSETS: Final = frozenset((*_WHOLE_HOURS, *_ODD_OFFSETS))  # minutes east of UTC, as in use

_WRITTEN: Final = re.compile(  # EXIF "2019:07:04 12:30:05" and ISO 8601, whole or in part
    r"(\d{4})(?:[:/.-](\d{1,2})(?:[:/.-](\d{1,2})"
    r"(?:[T ]+(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,12}))?)?\s*(Z|[+-]\d{2}:?\d{2})?)?)?)?",
    re.ASCII,
)
_OFFSET: Final = re.compile(r"([+-])(\d{2}):?(\d{2})", re.ASCII)
_IN_NAME: Final = re.compile(
    r"(?<!\d)((?:18|19|20)\d{2})(?P<between>[-_.]?)(\d{2})(?P=between)(\d{2})"
    r"(?:(?:\D{0,2}|[ _-]at[ _-])(\d{1,2})(?P<colon>[-_.h]?)(\d{2})(?P=colon)(\d{2})"
    r"(?:[-_.]?(\d{3})(?!\d))?(?!\d)(?:[ _\u202f]?([AaPp])[Mm]\b)?)?(?![0-9])",
)


@dataclass(frozen=True, slots=True)
class Dated:
    """A date and the rule of ``RULES`` that gave it."""

    when: datetime  # local time, naive where its zone is not known
    rule: str


def first(dates: Iterable[Dated]) -> Dated | None:
    """Give the date that goes first in the order of rules, with its zone where that is known."""
    believed = [one for one in dates if is_plausible(one.when)]
    if not believed:
        return None
    best = min(believed, key=lambda one: RULES.index(one.rule))
    if best.when.tzinfo is not None:
        return best
    fixes = [one.when for one in believed if one.rule == "gps" and one.when.tzinfo is not None]
    return Dated(with_zone_of(best.when, fixes[0]), best.rule) if fixes else best


def with_zone_of(local: datetime, instant: datetime) -> datetime:
    """Give a naive local time the offset by which it differs from an instant, if one fits."""
    ahead = local.replace(tzinfo=UTC) - instant
    minutes = min(OFFSETS, key=lambda one: abs(ahead - timedelta(minutes=one)))
    if abs(ahead - timedelta(minutes=minutes)) > GPS_SLACK:
        return local
    return local.replace(tzinfo=timezone(timedelta(minutes=minutes)))


def is_plausible(when: datetime) -> bool:
    """Tell whether a picture may have been taken then."""
    return FIRST_YEAR <= when.year <= datetime.now(UTC).year + 1


def written(text: str, fraction: str = "", offset: str = "") -> datetime | None:
    """Read a date as EXIF, XMP and JSON write it; None where it is none.

    ``fraction`` (digits after the second) and ``offset`` ("+02:00") are those that EXIF keeps
    beside the date; what stands in the date itself goes before them.
    """
    match = _WRITTEN.fullmatch(text.strip(" \0\t\r\n"))
    if match is None:
        return None
    year, month, day, hour, minute, second, part, zone = match.groups()
    digits = part or (fraction.strip(" \0") if fraction.strip(" \0").isdecimal() else "")
    return _moment(
        (year, month or "1", day or "1", hour or "0", minute or "0", second or "0"),
        digits,
        _zone(zone or offset) if hour else None,
    )


def in_name(stem: str) -> datetime | None:
    """Read the date in the name of a file; None where there is none that can be true.

    Names that begin with PXL_ are in UTC: that is how Pixel phones write them.
    """
    for match in _IN_NAME.finditer(stem[:500]):
        year, _, month, day, hour, _, minute, second, part, half = match.groups()
        if half and hour:
            hour = str(int(hour) % 12 + (12 if half in "Pp" else 0))
        zone = UTC if stem.startswith("PXL_") and hour else None
        clock = (hour or "0", minute or "0", second or "0")
        when = _moment((year, month, day, *clock), part or "", zone)
        when = when or _moment((year, month, day, "0", "0", "0"), "", None)
        if when and is_plausible(when):
            return when
    return None


def _moment(numbers: tuple[str, ...], fraction: str, zone: timezone | None) -> datetime | None:
    year, month, day, hour, minute, second = map(int, numbers)
    micro = int(fraction[:6].ljust(6, "0")) if fraction else 0
    try:
        return datetime(year, month, day, hour, minute, min(second, 59), micro, tzinfo=zone)
    except ValueError:
        return None


def _zone(text: str) -> timezone | None:
    text = text.strip(" \0")
    if text == "Z":
        return UTC
    match = _OFFSET.fullmatch(text)
    if match is None:
        return None
    minutes = int(match[2]) * 60 + int(match[3])
    if minutes > 14 * 60:
        return None
    return timezone(timedelta(minutes=-minutes if match[1] == "-" else minutes))
