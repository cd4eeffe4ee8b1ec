"""What stands after the colon of a filter: as people write it, and what it means.

`meaning` reads one value, `said` writes it again: `meaning(*said(one)) == one`.
"""

import math
import re
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final, NamedTuple

from searchx import dates, filters
from searchx.errors import BadInput
from searchx.filters import (
    FIELDS,
    MEASURES,
    Between,
    Field,
    Filter,
    Has,
    Is,
    Measure,
    Near,
    Within,
)

KEYS: Final = (*FIELDS, *MEASURES, "size", "near", "box", "has", "is")
DASHES: Final = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212"), "-")
_BYTES: Final = {"kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_UNITS: Final[dict[str, dict[str, int]]] = {  # by key; what is counted in is 1
    "bytes": {"": 1, "b": 1, **_BYTES},
    "pixels": {"": 1, "px": 1, "mp": 10**6},
    "width": {"": 1, "px": 1},
    "height": {"": 1, "px": 1},
    "altitude": {"": 1, "m": 1, "km": 1000},
}
_KM: Final = {"m": "0.001", "km": "1", "": "1", "mi": "1.609344"}
_AMOUNT: Final = r"(-?\d{1,19}(?:\.\d{1,40})?)([a-z]*)"
_EXACT: Final = re.compile(_AMOUNT, re.ASCII)
_RANGE: Final = re.compile(rf"(?:{_AMOUNT})?(?:\.\.|-)(?:{_AMOUNT})?", re.ASCII)
_AT_LEAST: Final = re.compile(rf"{_AMOUNT}\+", re.ASCII)
_COMPARED: Final = re.compile(r"(>=|<=|[><=≥≤])(.+)")
_DATES: Final = re.compile(
    r"(.*?)\.\.(.*)|(\d{4}(?:/\d\d?){0,2})?-(\d{4}(?:/\d\d?){0,2})?", re.ASCII
)
_DEGREES: Final = re.compile(r"([+-]?\d{1,3}(?:\.\d{1,40})?)°?", re.ASCII)
_DISTANCE: Final = re.compile(r"(\d{1,9}(?:\.\d{1,40})?) ?([a-z]*)", re.ASCII)


def meaning(key: str, value: str) -> Filter:
    """Read one value of a filter; raises BadInput, which names it and says what would be right.

    `value` is in half-width characters, apart from texts that are compared as they stand.
    """
    for field in FIELDS:
        if key == field:
            return _text(field, value)
    bit = f"{key}:{shown(value)}"
    if key == "taken":
        return _taken(value.translate(DASHES), bit)
    if key == "size" or key in MEASURES:
        return _measured(key, value.translate(DASHES).casefold(), bit)
    if key in ("near", "box"):
        return _place(key, [one.strip() for one in value.translate(DASHES).split(",")], bit)
    if key == "has":
        return filters.has(value, bit)
    if value.casefold() != "duplicate":
        raise BadInput(f"{bit}: write is:duplicate; nothing else can stand after is")
    return Between("copies", 2)


def said(one: Is | Between | Near | Within | Has) -> tuple[str, str]:
    """Give key and value that mean this; raises BadInput for bounds that cannot be written."""
    match one:
        case Is(field, value):
            return field, value
        case Between("taken", low, high):
            first, last = (None if one is None else str(one) for one in (low, high))
            return "taken", dates.written(first, last)
        case Between("copies", 2, None):
            return "is", "duplicate"
        case Between(measure, low, high):
            exact = low is not None and low == high
            return measure, digits(low) if exact else f"{digits(low)}..{digits(high)}"
        case Near(latitude, longitude, km):
            return "near", f"{digits(latitude)},{digits(longitude)},{digits(km)}km"
        case Within(south, west, north, east):
            return "box", ",".join(map(digits, (south, west, north, east)))
        case Has(trait):
            return "has", trait


def shown(text: str) -> str:
    """Give as much of what was typed as a message can hold."""
    return text if len(text) <= 40 else text[:39] + "…"


def digits(value: float | str | None) -> str:
    """Write a number in plain digits, so that reading them gives the same one."""
    if value is None:
        return ""
    if isinstance(value, str) or not math.isfinite(value):
        raise BadInput(f'"{value}" is no number; give one')
    plain = format(Decimal(str(value)), "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def _text(field: Field, value: str) -> Is:
    bit = f"{field}:{shown(value)}"
    if field in filters.VALUES:
        value = value.casefold()
    if field == "ext":
        value = value.removeprefix(".")
    return Is(field, filters.checked(field, value, bit))


def _taken(value: str, bit: str) -> Between:
    if found := _COMPARED.fullmatch(value):
        first, last = dates.period(found[2].strip(), bit)
        return {
            ">": lambda: Between("taken", dates.after(last, bit)),
            ">=": lambda: Between("taken", first),
            "<": lambda: Between("taken", None, dates.before(first)),
            "<=": lambda: Between("taken", None, last),
            "=": lambda: Between("taken", first, last),
        }[_PLAIN.get(found[1], found[1])]()
    if found := _DATES.fullmatch(value):
        low, high = found[1] or found[3], found[2] or found[4]
        return filters.between(
            "taken",
            dates.period(low.strip(), bit)[0] if low else None,
            dates.period(high.strip(), bit)[1] if high else None,
            bit,
        )
    return Between("taken", *dates.period(value, bit))


_PLAIN: Final = {"≥": ">=", "≤": "<="}


class _Amount(NamedTuple):
    measure: Measure
    value: Decimal
    rounding: Decimal  # what a number in a larger unit leaves open, to both sides


def _measured(key: str, value: str, bit: str) -> Between:
    def amount(number: str | None, unit: str | None) -> _Amount | None:
        return _amount(key, number, unit or "", bit) if number else None

    if found := _COMPARED.fullmatch(value):
        plain = _EXACT.fullmatch(found[2].strip())
        one = plain and amount(plain[1], plain[2])
        if one:
            return _compared(_PLAIN.get(found[1], found[1]), one, bit)
    elif found := _EXACT.fullmatch(value):
        return _compared("=", _amount(key, found[1], found[2], bit), bit)
    elif found := _AT_LEAST.fullmatch(value):
        return _compared(">=", _amount(key, found[1], found[2], bit), bit)
    elif found := _RANGE.fullmatch(value):
        low, high = amount(found[1], found[2] or found[4]), amount(found[3], found[4])
        if low and high and low.measure != high.measure:
            raise BadInput(f"{bit}: write both ends in bytes or both in megapixels")
        if end := low or high:
            return filters.between(
                end.measure, low and _number(low.value, bit), high and _number(high.value, bit), bit
            )
    raise BadInput(f"{bit}: write a number or a range, such as {_example(key)}")


def _amount(key: str, number: str, unit: str, bit: str) -> _Amount:
    measure = _measure(key, unit)
    units = _UNITS.get(measure, {"": 1}) if measure else {}
    if measure is None or unit not in units:
        known = [*_BYTES, "mp"] if key == "size" else [one for one in units if one]
        told = f"the unit is {', '.join(known)}" if known else "leave out the unit"
        raise BadInput(f"{bit}: {told}, such as {_example(key)}")
    value, factor = Decimal(number), units[unit]
    step = Decimal(1).scaleb(int(value.as_tuple().exponent)) / 2
    return _Amount(measure, value * factor, step * factor if factor > 1 else Decimal(0))


def _measure(key: str, unit: str) -> Measure | None:
    if key == "size":
        return "pixels" if unit == "mp" else "bytes" if unit in _BYTES else None
    return next((measure for measure in MEASURES if measure == key), None)


def _compared(sign: str, one: _Amount, bit: str) -> Between:
    value, step = one.value, one.rounding
    whole = one.measure != "altitude"
    above, below = (_next, _last) if whole else (_higher, _lower)
    low, high = {
        ">": (above(value), None),
        ">=": (value, None),
        "<": (None, below(value)),
        "<=": (None, value),
        "=": (value, value) if not step else (value - step, below(value + step)),
    }[sign]
    return filters.between(
        one.measure,
        None if low is None else _number(low, bit),
        None if high is None else _number(high, bit),
        bit,
    )


def _next(value: Decimal) -> Decimal:
    return value.to_integral_value(ROUND_FLOOR) + 1


def _last(value: Decimal) -> Decimal:
    return value.to_integral_value(ROUND_CEILING) - 1


def _higher(value: Decimal) -> Decimal:
    return Decimal(math.nextafter(float(value), math.inf))


def _lower(value: Decimal) -> Decimal:
    return Decimal(math.nextafter(float(value), -math.inf))


def _number(value: Decimal, bit: str) -> float:
    exact = int(value) if value == value.to_integral_value() else float(value)
    return filters.number(exact, bit)


def _example(key: str) -> str:
    examples = {"size": "size:>2mp", "rating": "rating:4-5", "id": "id:12", "bytes": "bytes:<500kb"}
    return examples.get(key, f"{key}:1000-2000 or {key}:>1000")


def _place(key: str, parts: list[str], bit: str) -> Near | Within:
    if key == "box":
        if len(parts) != 4:
            raise BadInput(f"{bit}: write south, west, north, east, such as box:47,16,49,17")
        south, west, north, east = (_degrees(one, bit) for one in parts)
        return filters.within(bit, south, west, north, east)
    found = _DISTANCE.fullmatch(parts[-1].casefold())
    if len(parts) != 3 or not found or found[2] not in _KM:
        raise BadInput(f"{bit}: write a point and a distance, such as near:48.2,16.4,10km")
    km = float(Decimal(found[1]) * Decimal(_KM[found[2]]))
    return filters.near(bit, _degrees(parts[0], bit), _degrees(parts[1], bit), km)


def _degrees(text: str, bit: str) -> float:
    found = _DEGREES.fullmatch(text)
    if not found:
        raise BadInput(f'{bit}: "{shown(text)}" is no number of degrees, such as 48.2 or -33.9')
    return float(found[1])
