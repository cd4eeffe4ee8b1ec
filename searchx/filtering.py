"""Filters over the catalog: which items of a kind pass one.

Every condition is one statement, whose answer comes as one string of ids; how conditions are
combined is numpy's part. Texts are compared as `folded` leaves them: accents joined to their
letters, and without case in any script.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any, Final, TypeAlias

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from searchx.columns import files_with
from searchx.errors import BadInput
from searchx.filters import (
    MAX_DEPTH,
    MAX_FILTERS,
    All,
    Between,
    Column,
    ColumnBetween,
    Either,
    Filter,
    Has,
    Is,
    Measure,
    Near,
    Not,
    Trait,
    Within,
)
from searchx.ids import NO_IDS, among, each_once, ids_in
from searchx.patterns import fitting_places, pattern_of
from searchx.records import Ids, Kind

EARTH_KM: Final = 6371.0088  # mean radius
_KM_A_DEGREE: Final = EARTH_KM * np.pi / 180
_FEW: Final = 20_000  # rows that are looked up one by one; for more the whole table is read
_MOMENT: Final = len("2019-07-04 12:30:00")


@dataclass(frozen=True, slots=True)
class _Table:
    """Where a condition is looked up."""

    name: str
    id: str  # the column of what is found
    held_as: str = ""  # the column of `location` that is the same; none where it is the item itself


_METADATA: Final = _Table("metadata", "location_id", "id")
_KEYWORD: Final = _Table("keyword", "location_id", "id")
_TAG: Final = _Table("tag", "item_id")  # keywords that belong to no file
_FILE: Final = _Table("file", "id", "file_id")
_ITEM: Final = _Table("item", "id")
_COUNTED: Final = "(SELECT item_id, count(*) AS copies FROM location GROUP BY item_id)"
_MEASURED: Final[Mapping[Measure, tuple[_Table, str]]] = {
    "taken": (_METADATA, "taken"),
    "rating": (_METADATA, "rating"),
    "altitude": (_METADATA, "altitude"),
    "bytes": (_METADATA, "bytes"),  # a picture may be a part of its file
    "width": (_ITEM, "width"),
    "height": (_ITEM, "height"),
    "pixels": (_ITEM, "width * height"),
    "id": (_ITEM, "id"),
    "copies": (_Table(_COUNTED, "item_id"), "copies"),
}
_HAVING: Final[Mapping[Trait, tuple[_Table, str]]] = {
    # With + no index is used: most pictures have what is asked for, and come in order without.
    "taken": (_METADATA, "+taken IS NOT NULL"),
    "place": (_METADATA, "+latitude IS NOT NULL AND longitude IS NOT NULL"),
    "camera": (_METADATA, "+camera IS NOT NULL"),
    "title": (_METADATA, "title IS NOT NULL"),
    "rating": (_METADATA, "rating IS NOT NULL"),
    "keyword": (_KEYWORD, "word IS NOT NULL"),
}

_Floats: TypeAlias = NDArray[np.float64]


def matching(connection: sa.Connection, kind: Kind, where: Filter, few: int = _FEW) -> Ids:
    """Give the ascending ids of the items of a kind that are in files and pass a filter.

    An item passes a condition when one of its places does. What is known of pictures only (time,
    place, camera, title, rating, keywords, captions) no text passes, not even one that belongs to
    a picture. Raises BadInput for a filter that is too large or compares what cannot be compared.
    """
    return _Matching(connection, kind, few).passing(where)


class _Matching:
    """One filter over the items of one kind, as of one moment."""

    def __init__(self, connection: sa.Connection, kind: Kind, few: int) -> None:
        self._connection = connection
        self._kind = kind
        self._few = few
        self._answers: dict[Filter, Ids] = {}  # of conditions; the same one is asked once

    def passing(self, where: Filter) -> Ids:
        return among(self._all, self._of(where))

    @cached_property
    def _all(self) -> Ids:
        """The items of the kind that are in files."""
        shown = self._ids("SELECT group_concat(item_id) FROM appearance")
        return among(self._ids("SELECT group_concat(id) FROM item WHERE kind = :kind"), shown)

    def _of(self, where: Filter, depth: int = 0) -> Ids:
        """Give what passes, and perhaps items of another kind or in no file besides."""
        if depth > MAX_DEPTH:
            raise BadInput(f"filters go {MAX_DEPTH} levels deep, not deeper; write a flatter one")
        match where:
            case All(of):
                return reduce(among, (self._of(one, depth + 1) for one in of), self._all)
            case Either(of):
                found = [self._of(one, depth + 1) for one in of]
                return np.unique(np.concatenate(found)) if found else NO_IDS
            case Not(of):
                return np.setdiff1d(self._all, self._of(of, depth + 1), assume_unique=True)
        if where not in self._answers:
            if len(self._answers) >= MAX_FILTERS:
                raise BadInput(f"a filter has at most {MAX_FILTERS} conditions; ask for fewer")
            self._answers[where] = self._condition(where)
        return self._answers[where]

    def _condition(self, where: Is | Between | Near | Within | Has | Column | ColumnBetween) -> Ids:
        match where:
            case Is():
                return self._fitting(where)
            case Between():
                return self._between(where)
            case Near():
                return self._near(where)
            case Within():
                return self._within(where)
            case Column() | ColumnBetween():
                return self._holding("file_id", files_with(self._connection, where))
            case Has("caption"):
                return self._captioned()
            case Has("keyword"):
                of_files = self._items(*_HAVING["keyword"])
                return np.union1d(of_files, self._items(_TAG, "word IS NOT NULL"))
            case Has(trait):
                return self._items(*_HAVING[trait])

    def _fitting(self, where: Is) -> Ids:
        pattern = pattern_of(where)
        if pattern is None:
            return NO_IDS
        match where.field:
            case "kind":
                return self._all if len(fitting_places(pattern, [self._kind])) else NO_IDS
            case "name" | "ext" | "path":
                return self._holding("file_id", self._files(pattern, where.field == "path"))
            case "folder":
                return self._in_folders("SELECT id, path FROM folder", pattern)
            case "source":
                sources = "SELECT folder.id, source.path FROM folder JOIN source "
                return self._in_folders(f"{sources}ON source.id = source_id", pattern)
            case "title":
                return self._titled(pattern)
            case "keyword":
                of_files = self._valued(pattern, _KEYWORD, "word")
                return np.union1d(of_files, self._valued(pattern, _TAG, "word"))
            case column:
                return self._valued(pattern, _METADATA, column)

    def _files(self, pattern: re.Pattern[str], is_whole: bool) -> Ids:
        """Give the ids of files whose names, or whose whole paths, fit."""
        value, tables = "name", "file"
        if is_whole:
            value = "rtrim(folder.path, '/') || '/' || file.name"
            tables = "file CROSS JOIN folder ON folder.id = file.folder_id"
        listed = f"group_concat(file.id), CAST(group_concat({value}, char(0)) AS BLOB)"
        files, texts = self._one(f"SELECT {listed} FROM {tables}")
        return ids_in(files)[fitting_places(pattern, os.fsdecode(texts))] if files else NO_IDS

    def _in_folders(self, statement: str, pattern: re.Pattern[str]) -> Ids:
        folders = self._connection.execute(sa.text(statement)).all()
        fitting = fitting_places(pattern, [os.fsdecode(path) for _, path in folders])
        ids = [folders[one].id for one in fitting]
        return self._items(_FILE, "folder_id IN (SELECT value FROM json_each(:values))", values=ids)

    def _titled(self, pattern: re.Pattern[str]) -> Ids:
        """Give what has a title that fits; unlike other values nearly each has its own."""
        titles = "SELECT location_id, title FROM metadata WHERE title IS NOT NULL"
        rows = self._connection.execute(sa.text(titles)).all()
        fitting = fitting_places(pattern, [title for _, title in rows])
        return self._holding("id", np.array([place for place, _ in rows], np.int64)[fitting])

    def _valued(self, pattern: re.Pattern[str], table: _Table, column: str) -> Ids:
        """Give what has a value that fits, among the few different ones that a column has."""
        known = f"SELECT DISTINCT {column} FROM {table.name} WHERE {column} IS NOT NULL"
        values = self._connection.execute(sa.text(known)).scalars().all()
        fitting = [values[one] for one in fitting_places(pattern, values)]
        which = f"{column} IN (SELECT value FROM json_each(:values))"
        return self._items(table, which, values=fitting)

    def _between(self, where: Between) -> Ids:
        table, measure = _MEASURED[where.measure]
        if where.measure == "bytes" and self._kind == "text":
            table, measure = _FILE, "size"
        limits = [f"{measure} IS NOT NULL"]
        limits += [f"{measure} >= :low"] if where.low is not None else []
        limits += [f"{measure} <= :high"] if where.high is not None else []
        limits += ["kind = :kind"] if table is _ITEM else []
        return self._items(
            table,
            " AND ".join(limits),
            low=_bound(where.measure, where.low, is_last=False),
            high=_bound(where.measure, where.high, is_last=True),
        )

    def _captioned(self) -> Ids:
        """Give the pictures that share a subject with a text."""
        if self._kind != "image":
            return NO_IDS
        (listed,) = self._one(
            "SELECT group_concat(of_one, ',0,') FROM (SELECT group_concat(item_id) AS of_one "
            "FROM location WHERE subject IS NOT NULL GROUP BY subject)"
        )
        ids = ids_in(listed)  # of one subject after another, with a 0 between them
        subjects = np.cumsum(ids == 0)
        is_picture = np.isin(ids, self._all)
        told = subjects[~is_picture & (ids != 0)]
        return each_once(ids[is_picture & np.isin(subjects, told)])

    def _near(self, where: Near) -> Ids:
        reach = where.km / _KM_A_DEGREE + 1e-6  # a little more, for what rounding takes away
        # To a centimetre as whole numbers: those are written and read in a tenth of the time.
        degrees = ("latitude", "longitude")
        whole = ", ".join(f"group_concat(CAST(round({one} * 1e7) AS INTEGER))" for one in degrees)
        places, latitudes, longitudes = self._one(
            f"SELECT group_concat(location_id), {whole} FROM metadata "
            "WHERE latitude BETWEEN :low AND :high AND longitude IS NOT NULL",
            low=where.latitude - reach,
            high=where.latitude + reach,
        )
        north, east = ids_in(latitudes) / 1e7, ids_in(longitudes) / 1e7
        is_near = distances(where.latitude, where.longitude, north, east) <= where.km
        return self._holding("id", ids_in(places)[is_near])

    def _within(self, where: Within) -> Ids:
        joined = "OR" if where.west > where.east else "AND"
        return self._items(
            _METADATA,
            f"latitude BETWEEN :low AND :high AND (longitude >= :west {joined} longitude <= :east)",
            low=where.south,
            high=where.north,
            west=where.west,
            east=where.east,
        )

    def _items(self, table: _Table, condition: str, **values: object) -> Ids:
        """Give the items for which a condition holds in a table."""
        found = self._ids(
            f"SELECT group_concat({table.id}) FROM {table.name} WHERE {condition}", **values
        )
        return self._holding(table.held_as, found) if table.held_as else found

    def _holding(self, column: str, rows: Ids) -> Ids:
        """Give the items of locations by a column of those."""
        if len(rows) <= self._few:
            these = f"{column} IN (SELECT value FROM json_each(:values))"
            listed = f"SELECT group_concat(item_id) FROM location WHERE {these}"
            return self._ids(listed, values=rows.tolist())
        all_rows, items = self._one(
            f"SELECT group_concat({column}), group_concat(item_id) FROM location"
        )
        return each_once(ids_in(items)[np.isin(ids_in(all_rows), rows)])

    def _ids(self, statement: str, **values: object) -> Ids:
        """Run a statement that gives ids in one string; they come ascending, each once."""
        return each_once(ids_in(self._one(statement, **values)[0]))

    def _one(self, statement: str, **values: Any) -> Sequence[Any]:
        if "values" in values:
            values["values"] = json.dumps(values["values"])
        used = {name: one for name, one in values.items() if f":{name}" in statement}
        used |= {"kind": self._kind} if ":kind" in statement else {}
        return self._connection.execute(sa.text(statement), used).one()


def distances(
    latitude: float, longitude: float, latitudes: _Floats, longitudes: _Floats
) -> _Floats:
    """Give the kilometres between a point and others on the sphere, all in degrees."""
    south, north = np.radians(latitude), np.radians(latitudes)
    half_up = np.sin((north - south) / 2) ** 2
    half_across = np.sin(np.radians(longitudes - longitude) / 2) ** 2
    part = half_up + np.cos(south) * np.cos(north) * half_across
    km: _Floats = 2 * EARTH_KM * np.arcsin(np.sqrt(np.minimum(part, 1)))
    return km


def _bound(measure: Measure, bound: float | str | None, *, is_last: bool) -> float | str | None:
    """Give a bound as SQLite compares it. A day, a month or a year ends with its last moment."""
    if bound is None:
        return None
    if isinstance(bound, str) != (measure == "taken"):
        form = 'date such as "2019-07-04"' if measure == "taken" else "number"
        raise BadInput(f"{measure} cannot be compared with {bound!r}; write a {form}")
    if isinstance(bound, str):
        moment = bound.replace("T", " ")
        return f"{moment}~" if is_last and len(moment) < _MOMENT else moment
    return bound if abs(bound) < 1 << 62 else float(bound)  # SQLite's integers end at 1 << 63
