"""What a hit has to be besides near: a small algebra over the columns of the catalog.

An item passes a condition when one of the places where it was found does; `All`, `Either` and
`Not` combine whole items. Texts are compared without regard to case.

`as_json` and `from_json` are the form for programs: an object of one key, such as
`{"all": [{"folder": "trips"}, {"taken": {"from": "2019"}}, {"not": {"ext": "gif"}}]}`.
"""

import math
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from itertools import repeat
from typing import Any, Final, Literal, TypeAlias, get_args

from searchx.dates import period
from searchx.errors import BadInput

Field: TypeAlias = Literal[
    "kind",
    "source",
    "folder",
    "path",
    "name",
    "ext",
    "format",
    "camera",
    "lens",
    "orientation",
    "keyword",
    "title",
]
Measure: TypeAlias = Literal[
    "taken", "width", "height", "pixels", "bytes", "rating", "altitude", "copies", "id"
]
Trait: TypeAlias = Literal["taken", "place", "camera", "caption", "keyword", "title", "rating"]
FIELDS: Final[tuple[Field, ...]] = get_args(Field)
MEASURES: Final[tuple[Measure, ...]] = get_args(Measure)
TRAITS: Final[tuple[Trait, ...]] = get_args(Trait)
VALUES: Final[dict[str, tuple[str, ...]]] = {  # of the fields that have no others
    "kind": ("image", "text"),
    "orientation": ("landscape", "portrait", "square"),
}
COLUMN: Final = "meta."  # how the key of a column begins that was added with items
MAX_DEPTH: Final = 32  # of filters within filters
MAX_FILTERS: Final = 256  # in one query
MAX_VALUE: Final = 4096  # characters: the longest path of Linux
TOO_MANY: Final = f"a query has at most {MAX_FILTERS} filters; leave some out"
MAX_NUMBER: Final = 2**63 - 1  # SQLite has none that is larger


@dataclass(frozen=True, slots=True)
class Is:
    """A column of text that fits a value.

    * and ? in the value stand for any characters and for one. `folder` and `source` fit a folder
    of that name, or of that path, and all below it; `path` a whole path or its end; `camera`,
    `lens`, `title` and `name` what contains the value; the others what equals it.
    """

    field: Field
    value: str


@dataclass(frozen=True, slots=True)
class Between:
    """A measure within bounds, both included; None where there is none.

    `taken` is compared as local time in ISO 8601 ("2019-07-04 12:30:00"); `width` and `height`
    are pixels, `pixels` their product, `bytes` those of the file, `altitude` metres, `copies` the
    number of places that an item was found at.
    """

    measure: Measure
    low: float | str | None = None
    high: float | str | None = None


@dataclass(frozen=True, slots=True)
class Near:
    """A place within so many kilometres of a point, on the sphere."""

    latitude: float  # degrees, north positive
    longitude: float  # degrees, east positive
    km: float


@dataclass(frozen=True, slots=True)
class Within:
    """A place in a box, in degrees; one whose west is greater than its east crosses 180."""

    south: float
    west: float
    north: float
    east: float


@dataclass(frozen=True, slots=True)
class Has:
    """Something is known at all."""

    trait: Trait


@dataclass(frozen=True, slots=True)
class Column:
    """A column that a program added, and a value that it has.

    * and ? in the value stand for any characters and for one; * alone for any value. What is a
    number, a boolean, a date or a list of texts fits where the value reads as it, as the period
    that holds it, or as one of the texts.
    """

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class ColumnBetween:
    """Such a column within bounds, both included: numbers, or moments as `taken` has them.

    Whole numbers of four digits are years where the column holds dates.
    """

    name: str
    low: float | str | None = None
    high: float | str | None = None


@dataclass(frozen=True, slots=True)
class All:
    """Every one of these; of none: everything."""

    of: tuple["Filter", ...] = ()


@dataclass(frozen=True, slots=True)
class Either:
    """At least one of these; of none: nothing."""

    of: tuple["Filter", ...] = ()


@dataclass(frozen=True, slots=True)
class Not:
    """What does not pass."""

    of: "Filter"


FILTERS: Final = (Is, Between, Near, Within, Has, Column, ColumnBetween, All, Either, Not)
Filter: TypeAlias = Is | Between | Near | Within | Has | Column | ColumnBetween | All | Either | Not


def as_json(filter: Filter) -> dict[str, object]:
    """Give the form for programs; `from_json` gives the filter again."""
    match filter:
        case Is(field, value):
            return {field: value}
        case Between(measure, low, high):
            return {measure: _bounds(low, high)}
        case Column(name, value):
            return {f"{COLUMN}{name}": value}
        case ColumnBetween(name, low, high):
            return {f"{COLUMN}{name}": _bounds(low, high)}
        case Near() | Within():
            return {type(filter).__name__.lower(): asdict(filter)}
        case Has(trait):
            return {"has": trait}
        case All(of):
            return {"all": [as_json(one) for one in of]}
        case Either(of):
            return {"any": [as_json(one) for one in of]}
        case Not(of):
            return {"not": as_json(of)}


def _bounds(low: float | str | None, high: float | str | None) -> dict[str, object]:
    bounds = {"from": low, "to": high}
    return {key: one for key, one in bounds.items() if one is not None}


def from_json(document: object) -> Filter:
    """Read the form for programs.

    A list of values means any of them, several keys all of them, and a value instead of bounds
    exactly that. Raises BadInput, which tells what is wrong and where, also for more than
    MAX_FILTERS in all or MAX_DEPTH within one another.
    """
    return _Reading().filter(document, "where", 0)


class _Reading:
    """One document; counts, so that no small one grows into a large question."""

    def __init__(self) -> None:
        self.count = 0

    def filter(self, document: object, where: str, depth: int) -> Filter:
        if not isinstance(document, dict):
            raise BadInput(f'{where}: write an object such as {{"folder": "trips"}}')
        if depth > MAX_DEPTH:
            raise BadInput(f"{where[:80]}: filters go {MAX_DEPTH} levels deep, not deeper")
        found = [
            self.term(str(key), value, f"{where}.{named(key)}", depth)
            for key, value in document.items()
        ]
        return found[0] if len(found) == 1 else All(tuple(found))

    def term(self, key: str, value: object, where: str, depth: int) -> Filter:
        self.count += 1
        if self.count > MAX_FILTERS:
            raise BadInput(f"{where[:80]}: {TOO_MANY}")
        if key == "not":
            return Not(self.filter(value, where, depth + 1))
        if key == "all":
            return All(self.every(value, where, depth))
        if key == "any":
            return Either(self.every(value, where, depth))
        if isinstance(value, list):
            return Either(self.values(key, value, where, depth))
        return _leaf(key, value, where)

    def every(self, value: object, where: str, depth: int) -> tuple[Filter, ...]:
        if not isinstance(value, list):
            raise BadInput(f"{where}: write a list of filters, in brackets")
        places = (f"{where}[{place}]" for place in range(len(value)))
        return tuple(map(self.filter, value, places, repeat(depth + 1)))

    def values(self, key: str, of: list[object], where: str, depth: int) -> tuple[Filter, ...]:
        if any(isinstance(one, list) for one in of):
            raise BadInput(f"{where}: a list of values holds no lists")
        return tuple(self.term(key, one, where, depth) for one in of)


def _leaf(key: str, value: object, where: str) -> Filter:
    """Read what stands alone."""
    for field in FIELDS:
        if key == field:
            return Is(field, checked(field, value, where))
    for measure in MEASURES:
        if key == measure:
            return _between(measure, value, where)
    if key.startswith(COLUMN):
        return _column(key.removeprefix(COLUMN), value, where)
    if key == "near":
        return near(where, *_numbers(value, ("latitude", "longitude", "km"), where))
    if key == "within":
        return within(where, *_numbers(value, ("south", "west", "north", "east"), where))
    if key == "has":
        return has(value, where)
    known = (*FIELDS, *MEASURES, "near", "within", "has", f"{COLUMN}NAME", "all", "any", "not")
    raise BadInput(f"{where}: no such filter; {suggested(key, known)}")


def _column(name: str, value: object, where: str) -> Column | ColumnBetween:
    match value:
        case dict():
            _check_bounds(value, where)
            low, high = (
                None if value.get(key) is None else _column_bound(value[key], f"{where}.{key}", end)
                for end, key in enumerate(("from", "to"))
            )
            return column_between(name, low, high, where)
        case bool():
            return column(name, "true" if value else "false", where)
        case int() | float():
            return column(name, str(number(value, where)), where)
        case str():
            return column(name, value, where)
    raise BadInput(f'{where}: write a text, a number, true, false, or {{"from": ..., "to": ...}}')


def _column_bound(value: object, where: str, end: int) -> float | str:
    return period(value, where)[end] if isinstance(value, str) else _number(value, where)


def _between(measure: Measure, value: object, where: str) -> Between:
    if not isinstance(value, dict):
        return Between(measure, _bound(measure, value, where, 0), _bound(measure, value, where, 1))
    _check_bounds(value, where)
    low, high = (
        None if value.get(key) is None else _bound(measure, value[key], f"{where}.{key}", end)
        for end, key in enumerate(("from", "to"))
    )
    return between(measure, low, high, where)


def _check_bounds(value: dict[Any, object], where: str) -> None:
    unknown = [named(key) for key in value if key not in ("from", "to")]
    if unknown or not value:
        told = f'not "{unknown[0]}"' if unknown else "or one of them"
        raise BadInput(f'{where}: write {{"from": ..., "to": ...}}, {told}')


def _bound(measure: Measure, value: object, where: str, end: int) -> float | str:
    if measure != "taken":
        return _number(value, where)
    if not isinstance(value, str):
        raise BadInput(f'{where}: a date is a text such as "2019-07-04"')
    return period(value, where)[end]


def _numbers(value: object, keys: tuple[str, ...], where: str) -> list[float]:
    if not isinstance(value, dict) or set(value) != set(keys):
        raise BadInput(f"{where}: write an object of {', '.join(keys)}")
    return [_number(value[key], f"{where}.{key}") for key in keys]


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadInput(f"{where}: write a number")
    return number(value, where)


# What a filter may hold, whether people or programs ask. `where` is the bit that is named when it
# is wrong.


def checked(field: Field, value: object, where: str) -> str:
    """Give a text that this field can be compared with."""
    if not isinstance(value, str) or not value.strip():
        raise BadInput(f"{where}: write a text")
    if len(value) > MAX_VALUE:
        raise BadInput(f"{where}: a text of at most {MAX_VALUE:,} characters, please")
    known = VALUES.get(field, ())
    if known and value.casefold() not in known:
        raise BadInput(f"{where}: no such {field}; {suggested(value, known)}")
    return value


def number(value: float, where: str) -> float:
    """Give a number that the database can compare."""
    if not -MAX_NUMBER <= value <= MAX_NUMBER:  # not a number is beyond, too
        raise BadInput(f"{where}: write a number of at most 18 digits")
    return value


def between(
    measure: Measure, low: float | str | None, high: float | str | None, where: str
) -> Between:
    """Give bounds that something can lie between."""
    _check_order(low, high, where)
    return Between(measure, low, high)


def column(name: str, value: str, where: str) -> Column:
    """Give a column, and a text that its values can be compared with."""
    if not name.strip():
        raise BadInput(f"{where}: write the name of a column behind {COLUMN}")
    if not value.strip():
        raise BadInput(f"{where}: write a text")
    if len(value) > MAX_VALUE or len(name) > MAX_VALUE:
        raise BadInput(f"{where[:80]}: a text of at most {MAX_VALUE:,} characters, please")
    return Column(name, value)


def column_between(
    name: str, low: float | str | None, high: float | str | None, where: str
) -> ColumnBetween:
    """Give a column, and bounds that its values can lie between."""
    column(name, "*", where)
    if low is not None and high is not None and isinstance(low, str) != isinstance(high, str):
        raise BadInput(f"{where}: write two numbers or two dates")
    _check_order(low, high, where)
    return ColumnBetween(name, low, high)


def _check_order(low: float | str | None, high: float | str | None, where: str) -> None:
    if low is None and high is None:
        raise BadInput(f"{where}: write at least one bound")
    if low is not None and high is not None and _order(low) > _order(high):
        raise BadInput(f"{where}: the range ends before it begins; exchange its ends")


def _order(bound: float | str) -> tuple[float, str]:
    return (0.0, bound) if isinstance(bound, str) else (bound, "")


def near(where: str, latitude: float, longitude: float, km: float) -> Near:
    """Give a circle on the earth."""
    _degrees(latitude, 90, "latitude", where)
    _degrees(longitude, 180, "longitude", where)
    if not (km > 0 and math.isfinite(km)):
        raise BadInput(f"{where}: the distance is more than 0")
    return Near(latitude, longitude, km)


def within(where: str, south: float, west: float, north: float, east: float) -> Within:
    """Give a box on the earth."""
    for latitude, name in ((south, "south"), (north, "north")):
        _degrees(latitude, 90, name, where)
    for longitude, name in ((west, "west"), (east, "east")):
        _degrees(longitude, 180, name, where)
    if south > north:
        raise BadInput(f"{where}: south is above north; the order is south, west, north, east")
    return Within(south, west, north, east)


def _degrees(value: float, limit: int, name: str, where: str) -> None:
    if not -limit <= value <= limit:
        raise BadInput(f"{where}: {name} goes from -{limit} to {limit}, not {value:g}")


def has(value: object, where: str) -> Has:
    """Give what may be known or not."""
    for trait in TRAITS:
        if isinstance(value, str) and value.casefold() == trait:
            return Has(trait)
    raise BadInput(f"{where}: nothing that is kept; {suggested(str(value), TRAITS)}")


def named(key: object) -> str:
    """Give a key as a message of one line can hold it."""
    return "".join(one if one.isprintable() else "?" for one in str(key)[:40])


def suggested(word: str, known: tuple[str, ...]) -> str:
    """Say what was perhaps meant, or what there is."""
    near = get_close_matches(word[:40].casefold(), known, 2, cutoff=0.6)
    return f"did you mean {' or '.join(near)}?" if near else f"there is {', '.join(known)}"
