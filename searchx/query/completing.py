"""What stands at a place in a text that is still being typed."""

import re
from dataclasses import dataclass
from typing import Final

from searchx.filters import COLUMN
from searchx.query.columns import NAME
from searchx.query.values import KEYS

_KEYED: Final = re.compile(
    rf"({re.escape(COLUMN)}{NAME}|[A-Za-z]+):(.*)", re.DOTALL | re.IGNORECASE
)
_OPENING: Final = re.compile(r"[+-]?\(*[+-]?")


@dataclass(frozen=True, slots=True)
class Typed:
    """The bit around a place: from its sign up to the next blank.

    `text[start:end]` is what a completion takes the place of; `key` is empty for words, and
    `value` what was typed of the word, or of the last value behind the colon.
    """

    start: int
    end: int
    key: str
    value: str


def typed_at(text: str, at: int) -> Typed:
    """Find what is being typed at a place; blanks between quotes part nothing."""
    at = min(max(at, 0), len(text))
    start = _start(text, at)
    opening = _OPENING.match(text, start, at)
    start = opening.end() if opening else start
    rest = re.match(r"\S*", text[at:])
    end = at + (rest.end() if rest else 0)
    found = _KEYED.fullmatch(text, start, at)
    key = found[1].lower() if found else ""
    if not found or (key not in KEYS and not key.startswith(COLUMN)):
        return Typed(start, end, "", text[start:at].lstrip('"'))
    value = found[2].rpartition("|")[2]
    return Typed(at - len(value), end, key, value.lstrip('"'))


def _start(text: str, at: int) -> int:
    """Give the place behind the last blank that is outside of quotes."""
    start, is_quoted = 0, False
    for place, sign in enumerate(text[:at]):
        if sign == '"':
            is_quoted = not is_quoted
        elif sign.isspace() and not is_quoted:
            start = place + 1
    return start
