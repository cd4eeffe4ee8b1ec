"""Characters to tokens: what a person types, taken apart without knowing what it means.

Keyboards differ: full-width letters, digits and signs count as the usual ones where they are
syntax, and quotes are known in the shapes that keyboards and word processors make of them.
"""

import re
from dataclasses import dataclass
from typing import Final
from unicodedata import category

from searchx.errors import BadInput
from searchx.filters import COLUMN
from searchx.query.columns import NAME
from searchx.query.values import KEYS, shown

_FOLD: Final = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {
    0x3000: " ",
    0x2236: ":",  # ratio
    0xFE55: ":",  # small colon
    # A long dash stands before who said something, and stays one.
    **dict.fromkeys((*range(0x2010, 0x2014), 0x2212, 0xFE63), "-"),
}
_QUOTES: Final = {  # what opens, and what closes it
    '"': '"',
    "\u201c": '\u201d"',
    "\u201d": '\u201d"',
    "\u201e": '\u201c\u201d"',
    "\u00ab": "\u00bb",
    "\u00bb": "\u00ab",
    "\u300c": "\u300d",
    "\u300e": "\u300f",
}
OPENERS: Final = frozenset(_QUOTES)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_UNSEEN: Final = re.compile(r"[\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
_BLANK: Final = re.compile(r"\s*")
_RUN: Final = re.compile(r"\S+")
_RUN_IN_GROUP: Final = re.compile(r"[^\s()]+|\(")
_VALUE: Final = re.compile(r"[^\s|]+")
_VALUE_IN_GROUP: Final = re.compile(r"[^\s|()]+")
_KEY: Final = re.compile(rf"((?i:{re.escape(COLUMN)}){NAME}|[A-Za-z]+):(?=\S)")
_SMILEY: Final = re.compile(r"[])(:;/\\.,!'\-]+(?!\S)")
_NUMBER: Final = re.compile(r"[\d.,:%°]+", re.ASCII)
_YEARS: Final = re.compile(r"(\d{4})(?:-|\.\.|\u2013|\u2014)(\d{4})[.,;]?", re.ASCII)
_WEIGHT: Final = re.compile(r"\^([+-]?[\d.][\w.+-]*|[+-]?nan|[+-]?inf\w*|)$", re.ASCII | re.I)
_STOPS: Final = ".,;!?"
YEARS: Final = (1826, 2199)  # a range of them stands for itself, without a key


@dataclass(frozen=True, slots=True)
class Token:
    """What stands between two blanks, or between quotes."""

    start: int
    end: int
    key: str = ""  # of a filter, "img" or "like"; empty for words
    sign: str = ""  # "+", "-" or nothing
    values: tuple[str, ...] = ()  # the words, or what stands after the colon, apart at each |
    quoted: bool = False
    weight: str | None = None  # what stands after ^

    @property
    def is_plain(self) -> bool:
        """Words that carry no sign and no weight."""
        return not self.key and not self.sign and self.weight is None


class Scanner:
    """One text, as it was typed and in half-width characters, which have the same places."""

    def __init__(self, typed: str) -> None:
        self.text = _UNSEEN.sub("", _CONTROL.sub(" ", typed))
        self.plain = self.text.translate(_FOLD)
        self._unclosed: set[str] = set()  # what opened and was not closed up to the end

    def start(self, place: int) -> int:
        """Give the place of the next character that is no blank, or the end."""
        found = _BLANK.match(self.plain, place)
        return found.end() if found else place

    def bit(self, start: int, end: int) -> str:
        """Give a part of what was typed, for a message."""
        return shown(self.text[start : min(end, start + 100)])

    def token(self, start: int, grouped: bool = False) -> Token:
        """Read what begins here; inside a group of filters it ends at a parenthesis, too.

        Raises BadInput where a quote after a sign or a key is not closed.
        """
        sign = self.plain[start] if self.plain[start] in "+-" else ""
        place = start + len(sign)
        key = _KEY.match(self.plain, place)
        if key and _key(key[1]) and not _SMILEY.match(self.plain, key.end()):
            return self._keyed(start, sign, _key(key[1]), key.end(), grouped)
        run = self._run(place, grouped)
        if self._is_years(run):
            years = run.rstrip(_STOPS)
            return Token(start, place + len(run), "taken", sign, (years,))
        quoted = self._quoted(place, start if sign else None)
        if quoted:
            return self._after_quote(start, sign, *quoted, grouped)
        if sign and self._can_be_signed(place, run):
            return self._signed(start, sign, run)
        end = place + len(run)
        return Token(start, end, values=(self.text[start:end],))

    def _run(self, place: int, grouped: bool) -> str:
        found = (_RUN_IN_GROUP if grouped else _RUN).match(self.plain, place)
        return found[0] if found else ""

    def _is_years(self, run: str) -> bool:
        found = _YEARS.fullmatch(run)
        return found is not None and YEARS[0] <= int(found[1]) <= int(found[2]) <= YEARS[1]

    def _can_be_signed(self, place: int, run: str) -> bool:
        """Tell -snow from a dash, a bullet, an arrow, a smiley and a number below zero."""
        if not run or _NUMBER.fullmatch(run):
            return False
        first = self.text[place]
        return first.isalnum() or category(first) == "So"  # the latter: emoji

    def _signed(self, start: int, sign: str, run: str) -> Token:
        kept = run.rstrip(_STOPS)
        before, _, weight = kept.rpartition("^")
        place = start + len(sign)
        length = len(before) if before else len(kept)
        values = (self.text[place : place + length],)
        return Token(start, place + len(run), "", sign, values, weight=weight if before else None)

    def _after_quote(self, start: int, sign: str, content: str, place: int, grouped: bool) -> Token:
        run = self._run(place, grouped)
        end = place + len(run)
        weight = run.rstrip(_STOPS) if sign else run
        if not weight:
            return Token(start, end, "", sign, (content,), quoted=True)
        if weight.startswith("^"):
            return Token(start, end, "", sign, (content,), quoted=True, weight=weight[1:])
        if sign:
            raise BadInput(f"{self.bit(start, end)}: a blank follows the closing quote")
        whole = start + len(self._run(start, grouped))  # a quote within words is one of them
        return Token(start, whole, values=(self.text[start:whole],))

    def _keyed(self, start: int, sign: str, key: str, place: int, grouped: bool) -> Token:
        if key == "img":
            return self._file(start, sign, place)
        values, end, quoted = self._values(start, key, place, grouped)
        weight = None
        if key == "like" and values and not quoted:
            number, hat, weight = values[0].partition("^")
            values, weight = (number, *values[1:]), weight if hat else None
        return Token(start, end, key, sign, values, quoted, weight)

    def _file(self, start: int, sign: str, place: int) -> Token:
        """Read a path, which may hold whatever a name can but a blank, or all between quotes."""
        if quoted := self._quoted(place, start):
            token = self._after_quote(start, sign or "+", *quoted, False)
            return Token(start, token.end, "img", sign, token.values, True, token.weight)
        run = self._run(place, False)
        weight = _WEIGHT.search(run)
        length = weight.start() if weight else len(run)
        values = (self.text[place : place + length],)
        return Token(
            start, place + len(run), "img", sign, values, weight=weight[1] if weight else None
        )

    def _values(
        self, start: int, key: str, place: int, grouped: bool
    ) -> tuple[tuple[str, ...], int, bool]:
        values: list[str] = []
        some_quoted = False
        pattern = _VALUE_IN_GROUP if grouped else _VALUE
        as_typed = key in _AS_TYPED or key.startswith(COLUMN)
        text = self.text if as_typed else self.plain
        while place < len(self.plain):
            if quoted := self._quoted(place, start):
                content, place = quoted
                values.append(content)
                some_quoted = True
            elif run := pattern.match(self.plain, place):
                end = self._past_commas(run.end(), pattern) if key in _LISTS else run.end()
                values.append(text[place:end])
                place = end
            if not self.plain.startswith("|", place):
                break
            place += 1
        if some_quoted and (more := pattern.match(self.plain, place)):
            raise BadInput(f"{self.bit(start, more.end())}: a blank or | follows the closing quote")
        return tuple(values), place, some_quoted

    def _past_commas(self, end: int, pattern: re.Pattern[str]) -> int:
        """Go on behind a blank after a comma: coordinates are often written so."""
        while self.plain[end - 1] == ",":
            more = pattern.match(self.plain, self.start(end))
            if not more:
                break
            end = more.end()
        return end

    def _quoted(self, place: int, start: int | None = None) -> tuple[str, int] | None:
        """Read what stands between quotes from here on, and give it with the place behind.

        Two straight quotes in a row are one within. None where there is no quote, or one that is
        not closed; that is an error where a sign or a key stands before it, at `start`.
        """
        opener = self.plain[place : place + 1]
        closers = _QUOTES.get(opener)
        if not closers:
            return None
        found = None if opener in self._unclosed else self._closing(place + 1, closers)
        if found is None:
            if opener != '"':
                self._unclosed.add(opener)
            if start is not None:
                told = self.bit(start, len(self.text))
                raise BadInput(f"{told}: the quote is not closed; write one at the end, too")
            return None
        inside = self.text[place + 1 : found]
        if closers == '"':
            inside = _TWICE.sub(lambda pair: pair[0][0], inside)
        return inside, found + 1

    def _closing(self, place: int, closers: str) -> int | None:
        for found in re.compile(f"[{closers}]+" if closers == '"' else f"[{closers}]").finditer(
            self.plain, place
        ):
            if closers != '"' or (found.end() - found.start()) % 2:
                return found.end() - 1
        return None


def _key(typed: str) -> str:
    """Give the key of a filter as it is known; nothing for what is none."""
    if typed.lower().startswith(COLUMN):
        return COLUMN + typed[len(COLUMN) :]
    return typed.lower() if typed.lower() in _KEYS else ""


_KEYS: Final = frozenset((*KEYS, "img", "like"))
_AS_TYPED: Final = frozenset(
    ("source", "folder", "path", "name", "camera", "lens", "keyword", "title")
)
_LISTS: Final = frozenset(("near", "box"))
_TWICE: Final = re.compile('["\uff02]{2}')
