"""What the items of a library have that they can be filtered by, and how many have it.

All of it is read once for a state of the catalog, as the places of the items of each value; to
count those that pass a filter is one look at each place. A value counts what its filter finds:
`camera:canon` all whose camera contains it, a folder all that is below it.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Final, TypeAlias

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from searchx.errors import BadInput
from searchx.filtering import matching
from searchx.filters import TRAITS, Between, Column, Field, Filter, Has, Is
from searchx.ids import ids_in
from searchx.patterns import fitting_places, folded, pattern_of
from searchx.query import parse_filter, written
from searchx.query.values import digits
from searchx.records import Facet, Facets, Ids, Query, Unchanging

_LOOKED_THROUGH: Final = 200  # values of a field that are each looked for in all others
_CONTAINED: Final[tuple[Field, ...]] = ("camera", "lens")  # whose filter finds what contains it
_WORDS: Final = (  # keywords of files, and those that were given to pictures wherever they are
    "(SELECT location_id, word FROM keyword UNION ALL SELECT location.id AS location_id, word "
    "FROM tag CROSS JOIN location ON location.item_id = tag.item_id)"
)
_MOST_COLUMNS: Final = 64  # that were added with items
_MOST_TEXTS: Final = 200  # different ones of a column whose values are listed
_MOST_NUMBERS: Final = 20
_EQUAL: Final[tuple[Field, ...]] = ("format", "orientation", "keyword")
_YEAR: Final = re.compile(r"[1-9]\d{3}", re.ASCII)

Places: TypeAlias = NDArray[np.int32]  # of items, among all of a library


@dataclass(frozen=True, slots=True)
class _Value:
    """A value of a facet, and which items its filter finds."""

    text: str
    filter: Filter
    places: Places  # each once, at least one

    def facet(self, count: int) -> Facet | None:
        """Give what is told of it; None where the query language has no words for it."""
        is_kind = isinstance(self.filter, Is) and self.filter.field == "kind"
        try:
            where = f"kind:{self.text}" if is_kind else written(Query(where=self.filter))
            is_meant = parse_filter(where) == self.filter  # not so with blanks at its ends
        except BadInput:
            return None
        return Facet(self.text, count, where) if is_meant else None


class Columns:
    """The values of every facet in one state of a library."""

    def __init__(
        self,
        ids: Ids,
        values: Mapping[str, Sequence[_Value]],
        added: Mapping[str, Sequence[_Value]],
    ) -> None:
        self._ids = ids
        self._columns = {name: _Column(of) for name, of in values.items() if of}
        self._added = {name: _Column(of) if of else None for name, of in added.items()}

    def count(self, passing: Ids, k: int) -> Facets:
        """Count those of some items, ascending, that have each value; the k most frequent."""
        is_passing = np.isin(self._ids, passing, assume_unique=True)
        found = {name: column.count(is_passing, k) for name, column in self._columns.items()}
        meta = Unchanging(
            (name, () if column is None else column.count(is_passing, k))
            for name, column in self._added.items()
        )
        return Facets(items=len(passing), meta=meta, **found)


class _Column:
    """The values of one facet, their items one after another."""

    def __init__(self, values: Sequence[_Value]) -> None:
        self._values = values
        self._places = np.concatenate([one.places for one in values])
        self._starts = np.cumsum([0, *(len(one.places) for one in values[:-1])])
        self._facets: dict[int, Facet | None] = {}  # by place, of all; the words cost more to find

    def count(self, is_passing: NDArray[np.bool_], k: int) -> tuple[Facet, ...]:
        counts = np.add.reduceat(is_passing[self._places], self._starts, dtype=np.int64)
        found: list[Facet] = []
        for one in np.argsort(-counts, kind="stable"):
            if not counts[one] or len(found) == k:
                break
            facet = self._facet(int(one))
            found += [replace(facet, count=int(counts[one]))] if facet else []
        return tuple(found)

    def _facet(self, place: int) -> Facet | None:
        if place not in self._facets:
            value = self._values[place]
            self._facets[place] = value.facet(len(value.places))
        return self._facets[place]


def read_columns(connection: sa.Connection) -> Columns:
    """Read what all items that are in files have."""
    reading = _Reading(connection)
    values: dict[str, list[_Value]] = {field: reading.equal(field) for field in _EQUAL}
    values |= {field: reading.contained(field) for field in _CONTAINED}
    values |= {
        "kind": reading.kinds(),
        "year": reading.years(),
        "folder": reading.folders(),
        "source": reading.sources(),
        "ext": reading.endings(),
        "rating": reading.ratings(),
        "has": reading.traits(),
    }
    return Columns(reading.ids, values, reading.added())


class _Reading:
    """The tables behind the facets, as of one moment."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        rows, items, files = self._lists("location", "id", "item_id", "file_id")
        self.ids = np.unique(items)
        self._rows, self._order = _sorted(rows)
        places = np.searchsorted(self.ids, items)
        self._of_row = places[self._order].astype(np.int32)
        self._files, order = _sorted(files)
        self._of_file = places[order].astype(np.int32)

    def kinds(self) -> list[_Value]:
        listed = "SELECT kind, group_concat(id) FROM item GROUP BY kind ORDER BY kind"
        found = ((kind, self._of_items(ids_in(ids))) for kind, ids in self._all(listed))
        return _values((kind, Is("kind", kind), places) for kind, places in found)

    def years(self) -> list[_Value]:
        found = self._grouped("metadata", "substr(taken, 1, 4)")
        return _values(
            (year, Between("taken", f"{year}-01-01 00:00:00", f"{year}-12-31 23:59:59.999999"), of)
            for year, of in reversed(found)
            if _YEAR.fullmatch(year)
        )

    def ratings(self) -> list[_Value]:
        found = reversed(self._grouped("metadata", "rating"))
        return _values((str(stars), Between("rating", stars, stars), of) for stars, of in found)

    def traits(self) -> list[_Value]:
        found = ((one, Has(one), matching(self._connection, "image", Has(one))) for one in TRAITS)
        return _values((name, trait, self._of_items(ids)) for name, trait, ids in found)

    def equal(self, field: Field) -> list[_Value]:
        table, column = (_WORDS, "word") if field == "keyword" else ("metadata", field)
        return _fitting(field, self._grouped(table, column), is_contained=False)

    def contained(self, field: Field) -> list[_Value]:
        return _fitting(field, self._grouped("metadata", field), is_contained=True)

    def endings(self) -> list[_Value]:
        """Give the ends of file names, as `ext:` compares them."""
        files, names = self._connection.execute(
            sa.text("SELECT group_concat(id), CAST(group_concat(name, char(0)) AS BLOB) FROM file")
        ).one()
        of: dict[str, list[int]] = {}
        ids = ids_in(files).tolist()
        for id, name in zip(ids, os.fsdecode(names or b"").split("\0"), strict=bool(ids)):
            stem, dot, ending = name.lstrip(".").rpartition(".")
            if stem and dot and ending:
                of.setdefault(folded(ending), []).append(id)
        found = [(ending, self._of_files(np.array(ids))) for ending, ids in of.items()]
        return _fitting("ext", found, is_contained=False)

    def folders(self) -> list[_Value]:
        """Give the folders below the sources, each with all below it."""
        listed = "SELECT folder.path, source.path, folder.id FROM folder JOIN source "
        rows = self._all(f"{listed}ON source.id = source_id")
        held = self._files_by("folder_id", "file")
        found = [(os.fsdecode(path), held.get(id)) for path, _, id in rows]
        roots = [os.fsdecode(root) for _, root, _ in rows]
        asked = map(_between, (path for path, _ in found), roots)
        return _below("folder", found, chain.from_iterable(asked))

    def sources(self) -> list[_Value]:
        listed = "SELECT source.path, folder.id FROM source JOIN folder "
        rows = self._all(f"{listed}ON source_id = source.id ORDER BY source.id")
        held = self._files_by("folder_id", "file")
        found = [(os.fsdecode(path), held.get(id)) for path, id in rows]
        return _below("source", found, (path for path, _ in found))

    def added(self) -> dict[str, list[_Value]]:
        """Give the values of each column that was added with items, by its first spelling.

        None of a column with many, or one for nearly every item, such as a price or a title; nor
        of one that holds values of several types, or dates.
        """
        spelled: dict[str, dict[int, str]] = {}
        for id, name in self._all("SELECT id, name FROM attribute_name ORDER BY name"):
            spelled.setdefault(name.casefold(), {})[id] = name
        counted = self._all(
            "SELECT name_id, form, count(DISTINCT value), count(*) FROM attribute "
            "GROUP BY name_id, form"
        )
        found: dict[str, list[_Value]] = {}
        for names in list(spelled.values())[:_MOST_COLUMNS]:
            forms = [row[1:] for row in counted if row[0] in names]
            if forms:  # else all that had it was removed
                name = next(iter(names.values()))
                found[name] = self._of_column(name, list(names)) if _is_few(forms) else []
        return found

    def _of_column(self, name: str, ids: list[int]) -> list[_Value]:
        listed = ", ".join(map(str, ids))
        rows = self._all(
            f"SELECT form, value, group_concat(file_id) FROM attribute WHERE name_id IN ({listed}) "
            "GROUP BY form = 'flag', value ORDER BY value"
        )
        held: dict[str, list[tuple[str, Places]]] = {}
        for form, value, files in rows:
            text = _said(form, value)
            if text.strip() and not re.search(r"[*?\0]", text):  # which stand for others
                held.setdefault(folded(text), []).append((text, self._of_files(ids_in(files))))
        spelled = [(max(of, key=lambda one: len(one[1]))[0], of) for of in held.values()]
        return _values(
            (text, Column(name, text), _joined(places for _, places in of)) for text, of in spelled
        )

    def _files_by(self, column: str, table: str) -> dict[int, Places]:
        """Give the places of what is in files, by a column of those."""
        listed = f"SELECT {column}, group_concat(id) FROM {table} GROUP BY {column}"
        return {key: self._of_files(ids_in(ids)) for key, ids in self._all(listed)}

    def _grouped(self, table: str, value: str) -> list[tuple[Any, Places]]:
        """Give the different values of locations, ascending, and the places of their items."""
        found = self._all(
            f"SELECT {value} AS value, group_concat(location_id) FROM {table} "
            "WHERE value IS NOT NULL GROUP BY value ORDER BY value"
        )
        return [(value, self._of_rows(ids_in(rows))) for value, rows in found]

    def _of_rows(self, rows: Ids) -> Places:
        return _chosen(self._of_row, self._rows, rows)

    def _of_files(self, files: Ids) -> Places:
        return _chosen(self._of_file, self._files, files)

    def _of_items(self, ids: Ids) -> Places:
        return np.flatnonzero(np.isin(self.ids, ids)).astype(np.int32)

    def _all(self, statement: str) -> Sequence[Any]:
        return self._connection.execute(sa.text(statement)).all()

    def _lists(self, table: str, *columns: str) -> list[Ids]:
        listed = ", ".join(f"group_concat({column})" for column in columns)
        found = self._connection.execute(sa.text(f"SELECT {listed} FROM {table}")).one()
        return [ids_in(one) for one in found]


def _values(found: Iterable[tuple[str, Filter, Places]]) -> list[_Value]:
    return [_Value(text, filter, places) for text, filter, places in found if len(places)]


def _is_few(forms: Sequence[tuple[str, int, int]]) -> bool:
    """Tell whether a column has values to choose from, by form, different ones, and all."""
    kinds = {"text" if form == "list" else form for form, _, _ in forms}
    different, every = sum(one[1] for one in forms), sum(one[2] for one in forms)
    most = {"text": _MOST_TEXTS, "number": _MOST_NUMBERS, "flag": 2}
    limit = most.get(kinds.pop(), 0) if len(kinds) == 1 else 0
    return different <= limit and different < every


def _said(form: str, value: Any) -> str:
    """Write a value as its filter has it."""
    if form == "flag":
        return "true" if value else "false"
    return digits(value) if form == "number" else str(value)


def _fitting(
    field: Field, found: Sequence[tuple[str, Places]], *, is_contained: bool
) -> list[_Value]:
    """Give the values of a field, each with all that its filter finds.

    Upper and lower case are the same; the most frequent spelling is shown. What is looked for in
    all others, since it may be contained or has signs that stand for any, is bounded: the most
    frequent ones.
    """
    plain = [(text, places) for text, places in found if "\0" not in text]  # no filter finds those
    spelled: dict[str, list[int]] = {}
    for place in np.argsort([-len(places) for _, places in plain], kind="stable").tolist():
        spelled.setdefault(folded(plain[place][0]), []).append(place)
    texts = [f"x.{text}" if field == "ext" else text for text, _ in plain]
    values: list[tuple[str, Filter, Places]] = []
    looked_through = 0
    for same in spelled.values():
        text = plain[same[0]][0]
        if is_contained or re.search(r"[*?]", text):
            pattern = pattern_of(Is(field, text))
            looked_through += 1
            if pattern is None or looked_through > _LOOKED_THROUGH:
                continue
            same = fitting_places(pattern, texts).tolist()
        values.append((text, Is(field, text), _joined(plain[one][1] for one in same)))
    return _values(values)


def _below(
    field: Field, found: Sequence[tuple[str, Places | None]], asked: Iterable[str]
) -> list[_Value]:
    """Give some folders with what is in them and below them, as their filter finds it."""
    spelled = {_key(path): path for path in asked}
    paths = [path for path, _ in found]
    held: dict[str, list[Places]] = {key: [] for key in spelled}
    for path, places in found:
        for key in _prefixes(_key(path)):
            if key in held and places is not None:
                held[key].append(places)
    looked_through = 0
    for key, path in spelled.items():
        if (not key.startswith("/") and key) or re.search(r"[*?]", path):
            pattern = pattern_of(Is(field, path))
            looked_through += 1
            is_known = pattern is not None and looked_through <= _LOOKED_THROUGH
            fitting = fitting_places(pattern, paths) if pattern and is_known else ()
            held[key] = [places for one in fitting if (places := found[int(one)][1]) is not None]
    return _values((path, Is(field, path), _joined(held[key])) for key, path in spelled.items())


def _between(path: str, root: str) -> Iterator[str]:
    """Give a folder and those above it, down to its source and without that."""
    while _key(path).startswith(f"{_key(root)}/"):
        yield path
        path = os.path.dirname(path)  # noqa: PTH120 - as it stands in the catalog


def _key(path: str) -> str:
    return folded(path).rstrip("/")


def _prefixes(key: str) -> Iterator[str]:
    """Give a folder and all above it."""
    yield key
    while key:
        key = key.rpartition("/")[0]
        yield key


def _sorted(numbers: Ids) -> tuple[Ids, NDArray[np.intp]]:
    order = np.argsort(numbers, kind="stable")
    return numbers[order], order


def _chosen(places: Places, keys: Ids, wanted: Ids) -> Places:
    """Give the places that stand beside some keys, ascending, each once."""
    first, last = (np.searchsorted(keys, wanted, side) for side in ("left", "right"))
    if len(wanted) == 1:
        return np.unique(places[first[0] : last[0]])
    counts = last - first
    steps = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.unique(places[np.repeat(first, counts) + steps])


def _joined(places: Iterable[Places]) -> Places:
    of = list(places)
    if len(of) == 1:
        return of[0]
    return np.unique(np.concatenate(of)) if of else np.empty(0, np.int32)
