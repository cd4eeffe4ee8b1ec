"""Years, months, days and times as people write them, and the moments that they stand for.

A moment is local time in ISO 8601 with a blank in the middle, which sorts as it reads.
"""

import re
from calendar import monthrange
from datetime import datetime, timedelta
from typing import Final

from searchx.errors import BadInput

_SHAPE: Final = re.compile(
    r"([1-9]\d{3})(?:[-/](\d{1,2})(?:[-/](\d{1,2})"
    r"(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?)?)?)?",
    re.ASCII,
)
_TICK: Final = timedelta(microseconds=1)


def period(text: str, where: str) -> tuple[str, str]:
    """Give the first and the last moment of a year, month, day or minute; a second is itself.

    Raises BadInput, which names `where`, if it is no date.
    """
    found = _SHAPE.fullmatch(text)
    if not found:
        raise BadInput(f"{where}: write 2019, 2019-07, 2019-07-04, or two of them with .. between")
    year, month, day, hour, minute, second, part = found.groups()
    time = (int(hour or 0), int(minute or 0), int(second or 0), int((part or "").ljust(6, "0")))
    try:
        first = datetime(int(year), int(month or 1), int(day or 1), *time)
    except ValueError:
        raise BadInput(f"{where}: there is no such day or time; check month and day") from None
    if second:
        return str(first), str(first)
    if minute:
        return str(first), str(first.replace(second=59, microsecond=999_999))
    last = first.replace(month=int(month or 12))
    last = last.replace(day=int(day or monthrange(last.year, last.month)[1]))
    return str(first), str(last.replace(hour=23, minute=59, second=59, microsecond=999_999))


def before(moment: str) -> str:
    """Give the last moment before this one."""
    return str(datetime.fromisoformat(moment) - _TICK)


def after(moment: str, where: str) -> str:
    """Give the first moment after this one; raises BadInput where there is none."""
    try:
        return str(datetime.fromisoformat(moment) + _TICK)
    except OverflowError:
        raise BadInput(f"{where}: nothing is later than the year 9999") from None


def written(low: str | None, high: str | None) -> str:
    """Give the shortest text that stands for these moments: "2019", "2019-07..", "2019..2021"."""
    first, last = low and _shortest(low, 0), high and _shortest(high, 1)
    if low and high:
        for text in (low[:4], low[:7], low[:10], low[:16].replace(" ", "T")):
            if period(text, text) == (low, high):
                return text
    return last if first and first == last else f"{first or ''}..{last or ''}"


def _shortest(moment: str, end: int) -> str:
    texts = (moment[:size].replace(" ", "T") for size in (4, 7, 10, 16))
    fitting = (text for text in texts if period(text, text)[end] == moment)
    return next(fitting, moment.replace(" ", "T"))
