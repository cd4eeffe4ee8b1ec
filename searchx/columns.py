"""Which external ids have a value in a column that was added with them."""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Final

import numpy as np
import sqlalchemy as sa

from searchx.dates import period
from searchx.errors import BadInput
from searchx.filters import COLUMN, MAX_NUMBER, Column, ColumnBetween, suggested
from searchx.ids import NO_IDS, each_once, ids_in
from searchx.patterns import fitting_places, pattern_equal
from searchx.records import Ids

_FLAGS: Final[Mapping[str, int]] = {"true": 1, "yes": 1, "false": 0, "no": 0}
_DATED: Final = "form IN ('day', 'moment', 'instant')"
_TEXT: Final = "form IN ('text', 'list')"
_MINE: Final = "name_id IN (SELECT value FROM json_each(:names))"
_NUMBER: Final = re.compile(r"-?\d{1,19}(?:\.\d{1,40})?(?:e[+-]?\d{1,3})?", re.ASCII)
_YEARS: Final = range(1000, 10_000)


def files_with(connection: sa.Connection, where: Column | ColumnBetween) -> Ids:
    """Give the ascending ids of the files that stand for such external ids.

    Raises BadInput for a column that is not there, where others are: it is misspelt.
    """
    names = _named(connection, where.name)
    if not names:
        return NO_IDS
    asking = _Asking(connection, list(names.values()))
    return asking.equal(where.value) if isinstance(where, Column) else asking.between(where)


def names_of(connection: sa.Connection, name: str) -> list[str]:
    """Give the columns of a name as they are spelled; raises BadInput as `files_with` does."""
    return list(_named(connection, name))


def _named(connection: sa.Connection, name: str) -> dict[str, int]:
    """Give the columns of a name, whatever its case, by their spelling."""
    rows = connection.execute(sa.text("SELECT id, name FROM attribute_name ORDER BY name")).all()
    found = {row.name: row.id for row in rows if row.name.casefold() == name.casefold()}
    if rows and not found:
        told = suggested(name, tuple(row.name for row in rows))
        raise BadInput(f"{COLUMN}{name[:40]}: nothing was added with such a column; {told}")
    return found


class _Asking:
    """Conditions on the values of one column."""

    def __init__(self, connection: sa.Connection, names: Sequence[int]) -> None:
        self._connection = connection
        self._names = json.dumps(list(names))

    def equal(self, value: str) -> Ids:
        """Give what has a value that reads as this one."""
        if not value.strip("*"):
            return self._files("form IS NOT NULL")
        found = [self._with_text(value)]
        if (flag := _FLAGS.get(value.casefold())) is not None:
            found.append(self._files("form = 'flag' AND value = :flag", flag=flag))
        if _NUMBER.fullmatch(value):
            found.append(self._files("form = 'number' AND value = :number", number=_exact(value)))
        with suppress(BadInput):  # it is no date
            found.append(self._within(*period(value, "")))
        return np.unique(np.concatenate(found))

    def between(self, where: ColumnBetween) -> Ids:
        """Give what has a number or a moment within bounds."""
        low, high = where.low, where.high
        if isinstance(low, str) or isinstance(high, str):
            return self._within(low, high)
        numbers = self._files(_bounds("form = 'number'", low, high), low=low, high=high)
        if not all(one is None or one in _YEARS for one in (low, high)):
            return numbers
        first = None if low is None else period(f"{low:.0f}", "")[0]
        last = None if high is None else period(f"{high:.0f}", "")[1]
        return np.union1d(numbers, self._within(first, last))

    def _within(self, first: float | str | None, last: float | str | None) -> Ids:
        return self._files(_bounds(_DATED, first, last), low=first, high=last)

    def _with_text(self, value: str) -> Ids:
        """Give what has a text that fits, among the different ones that the column has."""
        pattern = pattern_equal(value)
        if pattern is None:
            return NO_IDS
        known = f"SELECT DISTINCT value FROM attribute WHERE {_MINE} AND {_TEXT}"
        texts = self._connection.execute(sa.text(known), {"names": self._names}).scalars().all()
        fitting = json.dumps([texts[one] for one in fitting_places(pattern, texts)])
        which = f"{_TEXT} AND value IN (SELECT value FROM json_each(:fitting))"
        return self._files(which, fitting=fitting)

    def _files(self, condition: str, **values: object) -> Ids:
        used = {name: one for name, one in values.items() if one is not None}
        found = self._connection.execute(
            sa.text(f"SELECT group_concat(file_id) FROM attribute WHERE {_MINE} AND {condition}"),
            {**used, "names": self._names},
        )
        return each_once(ids_in(found.scalar()))


def _exact(written: str) -> float:
    """Give a number as the database holds it: a whole one is compared in all its digits."""
    value = Decimal(written)
    is_whole = abs(value) < MAX_NUMBER + 1 and value == value.to_integral_value()
    return int(value) if is_whole else float(value)


def _bounds(condition: str, low: object, high: object) -> str:
    limits = [condition]
    limits += ["value >= :low"] if low is not None else []
    limits += ["value <= :high"] if high is not None else []
    return " AND ".join(limits)
