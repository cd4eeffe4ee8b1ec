"""What stands after the colon of a filter on a column that was added with items.

What a column holds is not known here: a value that is no range is compared with whatever is there.
"""

import math
import re
from decimal import Decimal
from typing import Final

from searchx import dates, filters
from searchx.errors import BadInput
from searchx.filters import COLUMN, Column, ColumnBetween
from searchx.query.values import DASHES, digits, shown

NAME: Final = r"\w(?:[\w.-]*\w)?"  # of a column, as it can be written; others need the JSON form
_NUMBER: Final = r"-?\d{1,19}(?:\.\d{1,40})?"
_COMPARED: Final = re.compile(r"(>=|<=|[><≥≤])(.+)")
_PLAIN: Final = {"≥": ">=", "≤": "<="}
_RANGE: Final = re.compile(rf"({_NUMBER})?(?:\.\.|-)({_NUMBER})?", re.ASCII)
_AT_LEAST: Final = re.compile(rf"({_NUMBER})\+", re.ASCII)
_EXACT: Final = re.compile(_NUMBER, re.ASCII)
_MONTH: Final = re.compile(r"\d{4}-(?:0[1-9]|1[0-2])", re.ASCII)
_DATES: Final = re.compile(r"(\d{4}[-\dT:.]*?)?\.\.(\d{4}[-\dT:.]*)?", re.ASCII)


def column_meaning(name: str, value: str) -> Column | ColumnBetween:
    """Read one value; raises BadInput, which names it and says what would be right.

    With = in front it is a text, whatever it looks like.
    """
    bit = f"{COLUMN}{shown(name)}:{shown(value)}"
    if value.startswith("=") and value != "=":
        return filters.column(name, value[1:], bit)
    plain = value.translate(DASHES)
    if found := _COMPARED.fullmatch(plain):
        return _compared(name, _PLAIN.get(found[1], found[1]), found[2].strip(), bit)
    if found := _AT_LEAST.fullmatch(plain):
        return filters.column_between(name, _number(found[1], bit), None, bit)
    if _EXACT.fullmatch(plain) or _MONTH.fullmatch(plain):
        return filters.column(name, plain, bit)
    if (found := _RANGE.fullmatch(plain)) and (found[1] or found[2]):
        low, high = (None if one is None else _number(one, bit) for one in found.groups())
        return filters.column_between(name, low, high, bit)
    if (found := _DATES.fullmatch(plain)) and (found[1] or found[2]):
        first = dates.period(found[1], bit)[0] if found[1] else None
        last = dates.period(found[2], bit)[1] if found[2] else None
        return filters.column_between(name, first, last, bit)
    return filters.column(name, value, bit)


def column_said(one: Column | ColumnBetween) -> tuple[str, str]:
    """Give key and value that mean this; raises BadInput for what cannot be written."""
    if not re.fullmatch(NAME, one.name):
        raise BadInput(f'the column "{shown(one.name)}" has no words; use the JSON form')
    match one:
        case Column(name, value):
            return f"{COLUMN}{name}", value if _is_plain(one) else f"={value}"
        case ColumnBetween(name, low, high):
            return f"{COLUMN}{name}", _range(low, high)


def _is_plain(one: Column) -> bool:
    """Tell whether a value is read as itself."""
    try:
        return column_meaning(one.name, one.value) == one
    except BadInput:
        return False


def _compared(name: str, sign: str, end: str, bit: str) -> ColumnBetween:
    if _EXACT.fullmatch(end):
        value = _number(end, bit)
        low, high = {
            ">": (math.nextafter(value, math.inf), None),
            ">=": (value, None),
            "<": (None, math.nextafter(value, -math.inf)),
            "<=": (None, value),
        }[sign]
        return filters.column_between(name, low, high, bit)
    try:
        first, last = dates.period(end, bit)
    except BadInput:
        raise BadInput(f"{bit}: write a number or a date behind {sign}") from None
    match sign:
        case ">":
            return filters.column_between(name, dates.after(last, bit), None, bit)
        case ">=":
            return filters.column_between(name, first, None, bit)
        case "<":
            return filters.column_between(name, None, dates.before(first), bit)
    return filters.column_between(name, None, last, bit)


def _number(text: str, bit: str) -> float:
    value = Decimal(text)
    exact = int(value) if value == value.to_integral_value() else float(value)
    return filters.number(exact, bit)


def _range(low: float | str | None, high: float | str | None) -> str:
    ends = (low, high)
    if isinstance(low, str) or isinstance(high, str):
        first, last = ("" if one is None else _date(str(one), end) for end, one in enumerate(ends))
        return f"{first}..{last}"
    if low is None and isinstance(high, float):
        return f"<{_beside(high, math.inf)}" if _is_beside(high, math.inf) else f"<={digits(high)}"
    if high is None and isinstance(low, float):
        return f">{_beside(low, -math.inf)}" if _is_beside(low, -math.inf) else f">={digits(low)}"
    return f"{digits(low)}..{digits(high)}"


def _date(moment: str, end: int) -> str:
    """Write the shortest period that begins or ends so; not a year alone, which is a number."""
    texts = (moment[:size].replace(" ", "T") for size in (7, 10, 16))
    fitting = (text for text in texts if dates.period(text, text)[end] == moment)
    return next(fitting, moment.replace(" ", "T"))


def _is_beside(value: float, end: float) -> bool:
    """Tell whether a number is the one next to a shorter one."""
    return len(digits(math.nextafter(value, end))) < len(digits(value))


def _beside(value: float, end: float) -> str:
    return digits(math.nextafter(value, end))
