"""Filters alone: one after the other, with OR between them, in parentheses."""

import re
from typing import Final

from searchx.errors import BadInput
from searchx.filters import (
    COLUMN,
    MAX_DEPTH,
    MAX_FILTERS,
    TOO_MANY,
    All,
    Either,
    Filter,
    Not,
    suggested,
)
from searchx.query.columns import column_meaning
from searchx.query.scanning import Scanner, Token
from searchx.query.values import KEYS, meaning

_COMPARED: Final = re.compile(r"([\w.-]*\w)([<>]=?[\w.-]+)$", re.ASCII)
_LIKE_A_KEY: Final = re.compile(r"([\w-]+):")


class NoFilter(BadInput):
    """What stands here is no filter; words, if words may stand here."""


class Groups:
    """Reads filters, and counts them: a short text must not become a large question."""

    def __init__(self, scanner: Scanner) -> None:
        self.scanner = scanner
        self.count = 0
        self._failed: set[int] = set()  # what opened there is no group: nothing is read twice

    def group(self, place: int) -> tuple[Filter, int] | None:
        """Read what stands in parentheses; None where anything in there is no filter."""
        sign, opening = self._opening(place)
        if not opening or opening in self._failed:
            return None
        try:
            found, end = self.expression(opening, 1)
        except NoFilter:
            return None
        if end < len(self.scanner.plain) and self.scanner.start(end) == end:
            return None  # such as (kind:image)s
        return (Not(found) if sign == "-" else found), end

    def expression(self, place: int, depth: int) -> tuple[Filter, int]:
        """Read filters up to the end, or, where there is a depth, up to the closing one."""
        if depth > MAX_DEPTH:
            raise NoFilter(f"( … : parentheses go {MAX_DEPTH} levels deep, not deeper")
        begin, ways = place, [list[Filter]()]
        while (place := self.scanner.start(place)) < len(self.scanner.plain):
            if self.scanner.plain[place] == ")":
                break
            word = self.scanner.token(place, grouped=True)
            if word.is_plain and not word.quoted and word.values[0] in ("OR", "AND"):
                ways += [[]] if word.values[0] == "OR" else []
                place = word.end
                continue
            found, place = self._operand(place, depth)
            ways[-1].append(found)
        self._closed(begin, place, depth)
        if not all(ways):
            told = "write filters on both sides of OR" if len(ways) > 1 else "write a filter"
            bit = self.scanner.bit(begin, place) or "an empty text"
            raise NoFilter(f"{bit}: {told}, such as folder:trips")
        of = [way[0] if len(way) == 1 else All(tuple(way)) for way in ways]
        return (of[0] if len(of) == 1 else Either(tuple(of))), place + (depth > 0)

    def condition(self, token: Token) -> Filter:
        """Give what one token means: any of its values, and not that where it says so."""
        bit = self.scanner.bit(token.start, token.end)
        if not token.values:
            raise BadInput(f"{bit}: write a value behind the colon")
        self.count += len(token.values)
        if self.count > MAX_FILTERS:
            raise BadInput(f"{bit}: {TOO_MANY}")
        of = tuple(_meaning(token.key, value) for value in token.values)
        found = of[0] if len(of) == 1 else Either(of)
        return Not(found) if token.sign == "-" else found

    def _operand(self, place: int, depth: int) -> tuple[Filter, int]:
        sign, opening = self._opening(place)
        if opening:
            try:
                found, end = self.expression(opening, depth + 1)
            except NoFilter:
                self._failed.add(opening)
                raise
            return (Not(found) if sign == "-" else found), end
        token = self.scanner.token(place, grouped=True)
        if token.key in ("", "img", "like"):
            raise NoFilter(self._no_filter(token))
        return self.condition(token), token.end

    def _opening(self, place: int) -> tuple[str, int]:
        """Give the sign and the place behind a parenthesis that opens here, else 0."""
        plain = self.scanner.plain
        sign = plain[place] if plain[place] in "+-" else ""
        return sign, place + len(sign) + 1 if plain.startswith("(", place + len(sign)) else 0

    def _closed(self, begin: int, place: int, depth: int) -> None:
        at_end = place == len(self.scanner.plain)
        if at_end and depth:
            raise NoFilter(f"({self.scanner.bit(begin, place)}: write ) at the end")
        if not at_end and not depth:
            raise NoFilter(
                f"{self.scanner.bit(place, place + 20)}: nothing was opened before this )"
            )

    def _no_filter(self, token: Token) -> str:
        bit = self.scanner.bit(token.start, token.end)
        typed = self.scanner.plain[token.start : token.end].lstrip("+-")
        key = _LIKE_A_KEY.match(typed)
        if token.key or (token.sign and not key):
            return f"{bit}: only filters can stand here; this belongs to the query itself"
        if compared := _COMPARED.match(typed):
            return f"{bit}: no filter; write it as {compared[1]}:{compared[2]}"
        if not key:
            return f"{bit}: no filter; write one as key:value, such as folder:trips"
        if key[1].lower() in KEYS:
            return f"{bit}: write the value behind the colon, without a blank"
        told = suggested(key[1], KEYS)
        added = "" if told.endswith("?") else f", and {COLUMN}{key[1]} if that was added with items"
        return f"{bit}: no such filter; {told}{added}"


def _meaning(key: str, value: str) -> Filter:
    if key.startswith(COLUMN):
        return column_meaning(key.removeprefix(COLUMN), value)
    return meaning(key, value)
