"""Text to query: what is not understood as a filter, a sign or a picture is words."""

import re
from pathlib import Path
from typing import Final

from searchx.errors import BadInput
from searchx.filters import MAX_VALUE, All, Either, Filter, Is, Not
from searchx.query.groups import Groups
from searchx.query.scanning import Scanner, Token
from searchx.records import Kind, Part, Query, Target

MAX_PARTS: Final = 64  # each is a run of the encoder
MAX_ID: Final = 2**63 - 1
WEIGHTS: Final = (0.001, 1000.0)
_BOTH: Final[frozenset[Kind]] = frozenset(("image", "text"))
_WEIGHT: Final = re.compile(r"\d{1,9}(?:\.\d{1,30})?|\.\d{1,30}", re.ASCII)
_ID: Final = re.compile(r"\d{1,19}", re.ASCII)
HALF: Final = re.compile("[\ud800-\udfff]")  # of a character, which no encoder takes


def parse(text: str, *, files: bool = True) -> Query:
    """Read what a person asks; raises BadInput, which names the bit that is wrong.

    The first picture and the first item without sign and weight are `image` and `like`, all others
    are parts. Without `files` no picture can be named by its path: for servers.
    """
    return _Asked(text, files).query()


def parse_filter(text: str) -> Filter:
    """Read filters alone; raises BadInput, also for words that are none, and tells what is near."""
    reader = Groups(Scanner(text))
    found, _ = reader.expression(0, 0)
    return found


class _Asked:
    """A query in the making."""

    def __init__(self, text: str, files: bool) -> None:
        self.scanner = Scanner(text)
        self.filters = Groups(self.scanner)
        self.files = files
        self.words: list[str] = []
        self.image: Path | None = None
        self.like: int | None = None
        self.parts: list[Part] = []
        self.terms: list[Filter] = []
        self.kinds: frozenset[Kind] | None = None
        self.was_filter = False  # what was read last
        self.joins: str | None = None  # an OR between a filter and what comes next

    def query(self) -> Query:
        place = self.scanner.start(0)
        while place < len(self.scanner.plain):
            place = self.scanner.start(self._step(place))
        where = self.terms[0] if len(self.terms) == 1 else All(tuple(self.terms))
        return Query(
            text=" ".join(self.words),
            image=self.image,
            like=self.like,
            parts=tuple(self.parts),
            where=where if self.terms else None,
            to=_target(self.kinds),
        )

    def _step(self, place: int) -> int:
        """Take what begins here, and give the place behind it."""
        group = self.filters.group(place)
        if group:
            found, end = group
            self._filter(found)
            return end
        token = self.scanner.token(place)
        if token.is_plain:
            self.joins = "OR" if self.was_filter and _is_or(token) else None
            self.was_filter = False
            self.words.extend(HALF.sub("\ufffd", token.values[0]).split())
        elif token.key in ("", "img", "like"):
            self.joins, self.was_filter = None, False
            self._part(token)
        elif token.key == "kind":
            self._kind(token)
        else:
            self._filter(self.filters.condition(token))
        return token.end

    def _filter(self, found: Filter) -> None:
        if self.joins:
            raise BadInput(
                f"{self.joins}: put the filters that it joins between parentheses, such as "
                "(camera:canon OR camera:nikon)"
            )
        self.terms.append(found)
        self.was_filter = True

    def _part(self, token: Token) -> None:
        bit = self.scanner.bit(token.start, token.end)
        plain = not token.sign and token.weight is None
        weight = weight_of(token.weight, bit) * (-1 if token.sign == "-" else 1)
        if token.key == "img":
            part = Part(image=self._path(token, bit), weight=weight)
            if plain and self.image is None:
                self.image = self._path(token, bit)
                return
        elif token.key == "like":
            part = Part(like=_id(token, bit), weight=weight)
            if plain and self.like is None:
                self.like = part.like
                return
        else:
            part = Part(" ".join(HALF.sub("\ufffd", token.values[0]).split()), weight=weight)
            if not part.text:
                raise BadInput(f"{bit}: write words between the quotes")
        self.parts.append(part)
        if len(self.parts) > MAX_PARTS:
            raise BadInput(f"{bit}: a query has at most {MAX_PARTS} parts; leave some out")

    def _path(self, token: Token, bit: str) -> Path:
        value = token.values[0]
        if not self.files:
            raise BadInput(f"{bit}: no files are opened here; add the picture itself")
        if not value or len(value) > MAX_VALUE:
            raise BadInput(f"{bit}: write the path of a picture, such as img:beach.jpg")
        if re.match(r"https?://", value):
            raise BadInput(f"{bit}: nothing is fetched; save the picture and name its file")
        return _expanded(value) if value.startswith("~") and not token.quoted else Path(value)

    def _kind(self, token: Token) -> None:
        asked = self.filters.condition(token)
        negated = isinstance(asked, Not)
        inner = asked.of if isinstance(asked, Not) else asked
        of = inner.of if isinstance(inner, Either) else (inner,)
        named = {one.value for one in of if isinstance(one, Is)}
        kinds = frozenset(kind for kind in _BOTH if (kind in named) != negated)
        self.kinds = kinds if self.kinds is None else self.kinds & kinds
        if not self.kinds:
            bit = self.scanner.bit(token.start, token.end)
            raise BadInput(f"{bit}: nothing is left to find; write kind:image|text for both")


def _is_or(token: Token) -> bool:
    return token.values[0].strip() == "OR" and not token.quoted


def _target(kinds: frozenset[Kind] | None) -> Target | None:
    if kinds is None:
        return None
    return "both" if kinds == _BOTH else next(iter(kinds))


def weight_of(text: str | None, bit: str) -> float:
    if text is None:
        return 1.0
    low, high = WEIGHTS
    if not _WEIGHT.fullmatch(text) or not low <= float(text) <= high:
        told = f"a weight is a number from {low:g} to {high:g}"
        raise BadInput(f"{bit}: {told}, such as ^0.5; quote what is a text")
    return float(text)


def _id(token: Token, bit: str) -> int:
    value = token.values[0] if len(token.values) == 1 else ""
    if not _ID.fullmatch(value) or not 1 <= int(value) <= MAX_ID:
        raise BadInput(f"{bit}: write the id of one item as a hit shows it, such as like:123")
    return int(value)


def _expanded(value: str) -> Path:
    try:
        return Path(value).expanduser()
    except RuntimeError:
        return Path(value)  # no such user: a file may be named so
