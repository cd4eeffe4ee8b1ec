"""Find items by words: an FTS5 index for each kind, kept right by what the database notes itself.

Words are cut by `searchx.words` and stored with spaces between them, so that the same code decides
what a word is on the way in and in a question. Triggers note in the table `words_due` which items
have changed, whatever changed them; `refresh` writes those anew, in the same transaction.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, islice
from math import log
from typing import Any, Final, TypeAlias

import numpy as np
import sqlalchemy as sa

from searchx.ids import NO_IDS, among, ids_in
from searchx.records import Ids, Kind
from searchx.words import Asked, asked, words_of, words_of_place

FIELDS: Final[Mapping[Kind, tuple[str, ...]]] = {
    "image": ("name", "caption", "keyword"),
    "text": ("name", "passage"),
}
_ROWS: Final = 500  # items looked at together
_MOST_WORDS: Final = 20_000  # of one field of one item
_CANDIDATES: Final = 200  # at least, looked at closely
_SELECTS: Final = 100  # of one statement; SQLite takes 500
_DRIVING: Final = 250_000  # entries read to find candidates, the rarest words first

# How much a word counts in a field, and how many words such a field has in the usual case: the
# same word in a longer one counts less.
_WEIGHT: Final = {"name": 1.5, "caption": 1.0, "keyword": 2.0, "passage": 1.0}
_USUAL: Final = {"name": 8, "caption": 12, "keyword": 6, "passage": 80}
_SATURATION: Final = 1.2  # k1 of BM25
_BY_LENGTH: Final = 0.5  # b of BM25

_WHERE: Final = "mine.item_id IN (SELECT value FROM json_each(:ids)) AND item.kind = :kind"
# CROSS JOIN keeps SQLite from beginning with all items of the kind.
_MINE: Final = "FROM location AS mine CROSS JOIN item ON item.id = mine.item_id "
# As bytes: what a damaged text holds may not even be a text.
_NAMES: Final = (
    f"SELECT mine.item_id, file.name, CAST(mine.fragment AS BLOB) {_MINE}"
    f"CROSS JOIN file ON file.id = mine.file_id WHERE {_WHERE} ORDER BY mine.id"
)
_CAPTIONS: Final = (
    f"SELECT mine.item_id, CAST(other.text AS BLOB) {_MINE}"
    "CROSS JOIN location AS theirs ON theirs.subject = mine.subject "
    "CROSS JOIN item AS other ON other.id = theirs.item_id AND other.kind = 'text' "
    f"WHERE {_WHERE} GROUP BY mine.item_id, other.id ORDER BY other.id"
)
_OWN: Final = (  # of a picture that was added as a vector with a text
    f"SELECT mine.item_id, CAST(item.text AS BLOB) {_MINE}WHERE {_WHERE} "
    "AND item.text IS NOT NULL GROUP BY mine.item_id"
)
_KEYWORDS: Final = (
    f"SELECT mine.item_id, CAST(word AS BLOB) {_MINE}"
    f"CROSS JOIN keyword ON keyword.location_id = mine.id WHERE {_WHERE} "
    "GROUP BY mine.item_id, word ORDER BY word"
)
_TAGS: Final = (
    f"SELECT mine.item_id, CAST(word AS BLOB) {_MINE}"
    f"CROSS JOIN tag ON tag.item_id = mine.item_id WHERE {_WHERE} "
    "GROUP BY mine.item_id, word ORDER BY word"
)
_TITLES: Final = (
    f"SELECT mine.item_id, CAST(title AS BLOB) {_MINE}"
    f"CROSS JOIN metadata ON metadata.location_id = mine.id WHERE {_WHERE} AND title IS NOT NULL "
    "GROUP BY mine.item_id, title ORDER BY title"
)
_PASSAGES: Final = (
    f"SELECT mine.item_id, CAST(item.text AS BLOB) {_MINE}WHERE {_WHERE} GROUP BY mine.item_id"
)
_TEXTS: Final[Mapping[Kind, tuple[tuple[str, str], ...]]] = {
    "image": (
        ("caption", _OWN),
        ("caption", _CAPTIONS),
        ("keyword", _TITLES),
        ("keyword", _KEYWORDS),
        ("keyword", _TAGS),
    ),
    "text": (("passage", _PASSAGES),),
}

_Words: TypeAlias = tuple[str, ...]  # of each field, with spaces between them


@dataclass(frozen=True, slots=True)
class Match:
    """An item in which words of a question were found."""

    id: int
    score: float  # higher is better: BM25 over the fields, each with its weight
    words: tuple[str, ...]  # of the question, as they were asked
    fields: tuple[str, ...]  # where they were found, of FIELDS
    share: float  # of what was asked, rare words counting more; in (0, 1]
    named: bool  # the question, or a word of it that looks like one, is the name of its file


@dataclass(frozen=True, slots=True)
class _Counts:
    """How common the words of a question are among the items of a kind."""

    items: int
    holding: Mapping[str, int]  # by word

    def worth(self, term: str) -> float:
        """Tell how much it says that an item holds a word: BM25's idf, always above 0."""
        holding = self.holding[term]
        return log(1 + (max(self.items - holding, 0) + 0.5) / (holding + 0.5))

    def driving(self) -> list[str]:
        """Give the words to look for, the rarest first, as many as can be read in short time."""
        there = sorted((count, term) for term, count in self.holding.items() if count)
        sums = accumulate(count for count, _ in there)
        few = sum(total <= _DRIVING for total in sums)
        return [term for _, term in there[: max(few, 1)]]


def matches(
    connection: sa.Connection, kind: Kind, text: str, limit: int, where: Ids | None = None
) -> list[Match]:
    """Give the items of a kind that hold words of a question, best first.

    Those whose file it names come before all others; equals are ordered by id. `where` are the
    ascending ids that may be found. Nothing in the question is taken as syntax.
    """
    question = asked(text)
    if limit <= 0 or not question or (where is not None and not len(where)):
        return []
    counts = _counts(connection, kind, question.terms)
    most = max(2 * limit, _CANDIDATES)
    if where is None or len(where) > most:
        where = _candidates(connection, kind, question, counts, most, where)
    found = _judged(connection, kind, question, counts, where.tolist())
    return sorted(found, key=lambda one: (not one.named, -one.score, one.id))[:limit]


def matches_of(connection: sa.Connection, kind: Kind, text: str, ids: Iterable[int]) -> list[Match]:
    """Tell what words of a question these items hold, by id; those that hold none are left out."""
    question = asked(text)
    if not question:
        return []
    counts = _counts(connection, kind, question.terms)
    numbers = sorted({int(one) for one in ids})
    return list(_judged(connection, kind, question, counts, numbers))


def refresh(connection: sa.Connection) -> None:
    """Write the words of all items anew that have changed since they were written."""
    if connection.execute(_sql("SELECT 1 FROM words_due LIMIT 1")).first() is None:
        return
    due = connection.execute(
        _sql(
            "SELECT item_id FROM words_due WHERE item_id IS NOT NULL UNION "
            "SELECT location.item_id FROM words_due "
            "CROSS JOIN location ON location.subject = words_due.subject "
            "CROSS JOIN item ON item.id = location.item_id WHERE item.kind = 'image'"
        )
    )
    write(connection, [int(one) for one in due.scalars()])
    connection.execute(_sql("DELETE FROM words_due"))


def write(connection: sa.Connection, ids: Iterable[int]) -> None:
    """Write the words of these items, where they differ from what is written."""
    for chunk in _chunks(ids):
        for kind in FIELDS:
            _write(connection, kind, chunk)


def stale(connection: sa.Connection) -> list[int]:
    """Give the items whose words are not written as they should be, by ascending id."""
    found: set[int] = set()
    for kind in FIELDS:
        ids = "SELECT id FROM item UNION SELECT rowid FROM {}_words ORDER BY 1"
        for chunk in _chunks(connection.execute(_sql(ids.format(kind))).scalars().all()):
            wanted, written = _wanted(connection, kind, chunk), _written(connection, kind, chunk)
            found |= {one for one in chunk if wanted.get(one) != written.get(one)}
    return sorted(found)


def is_sound(connection: sa.Connection) -> bool:
    """Tell whether the indexes can be read, and lead to what is written in them."""
    try:
        return all(_counted(connection, kind) == _told(connection, kind) for kind in FIELDS)
    except sa.exc.DatabaseError:
        return False


def make_anew(connection: sa.Connection) -> None:
    """Make the indexes anew, from nothing but the items."""
    for kind in FIELDS:
        for table in (f"{kind}_words", f"{kind}_terms"):
            made = "SELECT sql FROM sqlite_master WHERE name = :name"
            statement = connection.execute(_sql(made), {"name": table}).scalar_one()
            connection.exec_driver_sql(f"DROP TABLE {table}")
            connection.exec_driver_sql(statement)
    held = connection.execute(_sql("SELECT DISTINCT item_id FROM location ORDER BY item_id"))
    write(connection, held.scalars().all())
    connection.execute(_sql("DELETE FROM words_due"))


def _candidates(
    connection: sa.Connection,
    kind: Kind,
    question: Asked,
    counts: _Counts,
    most: int,
    where: Ids | None,
) -> Ids:
    """Give the ids that a close look may be worth, about `most` of them.

    They come from the rarest words: a word that is in every item would cost much and tell nothing.
    """

    def allowed(ids: Ids) -> Ids:
        return ids if where is None else among(ids, where)

    looked = [(field, term) for term in counts.driving() for field in FIELDS[kind]]
    looked += [("name", one) for one in question.names]
    entries = [allowed(one) for one in _entries(connection, kind, looked)]
    ids, weights = [NO_IDS], [np.empty(0)]
    names = len(looked) - len(question.names)
    for (field, term), holding in zip(looked[:names], entries, strict=False):
        ids.append(holding)
        weights.append(np.full(len(holding), counts.worth(term) * _WEIGHT[field]))
    best = _best(np.concatenate(ids), np.concatenate(weights), most)
    return np.unique(np.concatenate([best, *(named[:most] for named in entries[names:])]))


def _best(ids: Ids, weights: np.ndarray[Any, np.dtype[np.float64]], most: int) -> Ids:
    """Give the ids with the largest sums of weights; of equals those with the lowest ids."""
    each, place = np.unique(ids, return_inverse=True)
    if len(each) <= most:
        return each
    sums = np.bincount(place, weights)
    last = np.partition(sums, -most)[-most]
    above = each[sums > last]
    return np.concatenate([above, each[sums == last][: most - len(above)]])


def _entries(connection: sa.Connection, kind: Kind, looked: Sequence[tuple[str, str]]) -> list[Ids]:
    """Give for each field and term the ascending ids of the items that hold it there.

    Few statements: each lets go of Python's lock, and waits for it where others are at work.
    """
    table = f"{kind}_words"
    select = f"SELECT ?, group_concat(rowid) FROM {table} WHERE {table} MATCH ?"
    cursor = connection.connection.cursor()
    found = [NO_IDS] * len(looked)
    for start in range(0, len(looked), _SELECTS):
        some = looked[start : start + _SELECTS]
        given: list[object] = []
        for place, (field, term) in enumerate(some, start):
            given += [place, f'{field} : "{term}"']  # a term is letters and digits, never a quote
        for place, ids in cursor.execute(" UNION ALL ".join([select] * len(some)), given):
            found[place] = ids_in(ids)
    return found


def _counts(connection: sa.Connection, kind: Kind, terms: Iterable[str]) -> _Counts:
    # By the driver, and all at once: SQLAlchemy's way to a statement takes longer than it.
    holding = dict.fromkeys(terms, 0)
    # FTS5 keeps a short row of lengths for every item: the quickest to count.
    selects = [f"SELECT NULL, (SELECT count(*) FROM {kind}_words_docsize)"]
    selects += [f"SELECT term, doc FROM {kind}_terms WHERE term = ?"] * len(holding)
    counted = dict(
        connection.connection.cursor().execute(" UNION ALL ".join(selects), [*holding]).fetchall()
    )
    items = int(counted.pop(None))
    return _Counts(items, holding | counted)


def _judged(
    connection: sa.Connection, kind: Kind, question: Asked, counts: _Counts, ids: Sequence[int]
) -> Iterator[Match]:
    """Look at what is written of these items; those that hold nothing of the question are left."""
    worth = {term: counts.worth(term) for term in question.terms}
    wanted = {*question.terms, *question.names}
    for chunk in _chunks(ids):
        for item, written in sorted(_written(connection, kind, chunk).items()):
            held = {
                field: _Held.of(words, wanted)
                for field, words in zip(FIELDS[kind], written, strict=True)
            }
            if any(one.times for one in held.values()):
                yield _match(item, question, worth, held)


@dataclass(frozen=True, slots=True)
class _Held:
    """What of a question stands in one field."""

    times: Mapping[str, int]  # that a word stands there
    length: int  # of the field, in words

    @classmethod
    def of(cls, words: str, wanted: Collection[str]) -> "_Held":
        there = words.split()
        return cls(Counter(one for one in there if one in wanted), len(there))


def _match(
    item: int, question: Asked, worth: Mapping[str, float], held: Mapping[str, _Held]
) -> Match:
    often = dict.fromkeys(question.terms, 0.0)
    for field, one in held.items():
        shortness = 1 - _BY_LENGTH + _BY_LENGTH * one.length / _USUAL[field]
        for term in one.times.keys() & often.keys():
            often[term] += _WEIGHT[field] * one.times[term] / shortness
    found = [term for term, times in often.items() if times]
    scores = (worth[one] * often[one] / (often[one] + _SATURATION) for one in found)
    share = sum(worth[one] for one in found) / (sum(worth.values()) or 1)
    return Match(
        id=item,
        score=(1 + _SATURATION) * sum(scores),
        words=tuple(dict.fromkeys(question.terms[one] for one in found)),
        fields=tuple(field for field, one in held.items() if one.times),
        share=min(share, 1.0) or 1.0,  # none is found where a name of nothing but "the" is asked
        named=any(one in held["name"].times for one in question.names),
    )


def _write(connection: sa.Connection, kind: Kind, ids: Sequence[int]) -> None:
    wanted, written = _wanted(connection, kind, ids), _written(connection, kind, ids)
    wrong = [one for one in ids if wanted.get(one) != written.get(one)]
    if gone := [(one,) for one in wrong if one in written]:
        connection.exec_driver_sql(f"DELETE FROM {kind}_words WHERE rowid = ?", gone)
    if new := [(one, *wanted[one]) for one in wrong if one in wanted]:
        columns = ("rowid", *FIELDS[kind])
        values = ", ".join("?" for _ in columns)
        add = f"INSERT INTO {kind}_words ({', '.join(columns)}) VALUES ({values})"
        connection.exec_driver_sql(add, new)


def _written(connection: sa.Connection, kind: Kind, ids: Sequence[int]) -> dict[int, _Words]:
    """Give the words that are written, by item."""
    rows = connection.connection.cursor().execute(
        f"SELECT rowid, {', '.join(FIELDS[kind])} FROM {kind}_words "
        "WHERE rowid IN (SELECT value FROM json_each(?))",
        (json.dumps(ids),),
    )
    return {row[0]: tuple(row[1:]) for row in rows}


def _wanted(connection: sa.Connection, kind: Kind, ids: Sequence[int]) -> dict[int, _Words]:
    """Give the words that should be written, by item: of those of a kind that are in files."""
    found: dict[int, dict[str, list[str]]] = {}
    for item, name, fragment in _of(connection, _NAMES, kind, ids):
        words = found.setdefault(item, {}).setdefault("name", [])
        words += words_of_place(_decoded(name), _decoded(fragment))
    for field, statement in _TEXTS[kind]:
        for item, text in _of(connection, statement, kind, ids):
            if item in found:
                found[item].setdefault(field, []).extend(words_of(_decoded(text)))
    return {
        item: tuple(_stored(words.get(field, ()), field) for field in FIELDS[kind])
        for item, words in found.items()
    }


def _stored(words: Sequence[str], field: str) -> str:
    """Write words with spaces between them; those of names once."""
    each = dict.fromkeys(words) if field == "name" else words
    return " ".join(islice(each, _MOST_WORDS))


def _decoded(text: bytes | None) -> str:
    """Read what should be a text, even where it is damaged."""
    return (text or b"").decode("utf-8", "replace")


def _of(connection: sa.Connection, statement: str, kind: Kind, ids: Sequence[int]) -> Sequence[Any]:
    return connection.execute(_sql(statement), {"ids": json.dumps(ids), "kind": kind}).all()


def _counted(connection: sa.Connection, kind: Kind) -> Counter[str]:
    """Count the items that hold each word, by what is written of them."""
    counted: Counter[str] = Counter()
    rows = connection.execute(_sql(f"SELECT {', '.join(FIELDS[kind])} FROM {kind}_words"))
    for row in rows.yield_per(_ROWS):
        counted.update(set(" ".join(row).split()))
    return counted


def _told(connection: sa.Connection, kind: Kind) -> dict[str, int]:
    """Count the items that hold each word, by the index."""
    rows = connection.execute(_sql(f"SELECT term, doc FROM {kind}_terms"))
    return {str(term): int(count) for term, count in rows}


def _chunks(ids: Iterable[int]) -> Iterator[list[int]]:
    left = iter(ids)
    while chunk := [int(one) for one in islice(left, _ROWS)]:
        yield chunk


@cache
def _sql(statement: str) -> sa.TextClause:
    """Parse a statement once."""
    return sa.text(statement)
