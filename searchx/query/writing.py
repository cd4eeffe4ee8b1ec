"""Query to text: the language again."""

import re
from pathlib import Path
from typing import Final

from searchx.errors import BadInput
from searchx.filters import (
    All,
    Between,
    Column,
    ColumnBetween,
    Either,
    Filter,
    Has,
    Is,
    Near,
    Not,
    Within,
)
from searchx.query.columns import column_said
from searchx.query.reading import parse, weight_of
from searchx.query.scanning import OPENERS, Scanner
from searchx.query.values import digits, said, shown
from searchx.records import Part, Query

_GROUPED: Final = re.compile(r"[+-]?\(.*[:\d]")
_SAFE_VALUE: Final = re.compile(r"(?=.*[\w*?])[\w./*?@#%&=+-][\w./\\:,*?@#%&=+~-]*")
_SAFE_WORD: Final = re.compile(r"[^\W\d_][\w'-]*")


def written(query: Query) -> str:
    """Write a query in the language: `parse(written(query))` asks the same.

    Raises BadInput for what it has no words for: the bytes of a picture, a weight beyond its
    limits, a filter of nothing, control characters.
    """
    words = [_word(one) for one in query.text.split()]
    short = [Part(image=query.image)] if query.image is not None else []
    short += [Part(like=query.like)] if query.like is not None else []
    parts = [_named(one) for one in short]
    parts += map(signed, query.parts)
    kind = {"both": "image|text"}.get(query.to or "", query.to)
    kinds = [f"kind:{kind}"] if kind else []
    where = () if query.where is None else (query.where,)
    terms = query.where.of if isinstance(query.where, All) else where
    text = " ".join([*words, *parts, *kinds, *map(_outer, terms)])
    parse(text)
    return text


def _word(word: str) -> str:
    """Write a word of the text, between quotes where it would be taken for something else."""
    scanner = Scanner(word)
    try:
        token = scanner.token(0)
    except BadInput:
        return _quoted(word)
    alone = token.is_plain and token.end == len(word) and scanner.plain[0] not in OPENERS
    return word if alone and not _GROUPED.match(scanner.plain) else _quoted(word)


def _quoted(text: str) -> str:
    return '"' + re.sub('["\uff02]', lambda quote: quote[0] * 2, text) + '"'


def _named(part: Part) -> str:
    """Write a picture or an item without its sign and weight."""
    if part.like is not None:
        return f"like:{part.like}"
    if not isinstance(part.image, Path):
        raise BadInput("the bytes of a picture have no words; use the JSON form")
    path = str(part.image)
    return f"img:{_value(path)}"


def signed(part: Part) -> str:
    """Write a part with its sign and weight."""
    if part.image is not None or part.like is not None:
        bare = _named(part)
    else:
        text = " ".join(part.text.split())
        bare = text if _SAFE_WORD.fullmatch(text) else _quoted(text)
    weight = digits(abs(part.weight))
    weight_of(weight, bare)
    return f"{'-' if part.weight < 0 else '+'}{bare}{'' if weight == '1' else f'^{weight}'}"


def _outer(one: Filter) -> str:
    """Write a filter beside words; there kind says what to find, and is a filter in parentheses."""
    text = _inner(one)
    return f"({text})" if text.removeprefix("-").startswith("kind:") else text


def _inner(one: Filter) -> str:
    match one:
        case All(()) | Either(()):
            raise BadInput("a filter of nothing has no words; use the JSON form")
        case All(of):
            return f"({' '.join(map(_inner, of))})"
        case Either(of):
            return _alternatives(of)
        case Not(of):
            bare = _inner(of)
            return f"-({bare})" if bare.startswith("-") else f"-{bare}"
        case ColumnBetween():
            return ":".join(column_said(one))  # no quotes are needed
        case _:
            key, value = _said(one)
            return f"{key}:{_value(value)}"


def _alternatives(of: tuple[Filter, ...]) -> str:
    leaves = [one for one in of if not isinstance(one, All | Either | Not | ColumnBetween)]
    plain = [_said(one) for one in leaves]
    if len(plain) == len(of) and len({key for key, _ in plain}) == 1:
        return f"{plain[0][0]}:{'|'.join(_value(value) for _, value in plain)}"
    return f"({' OR '.join(map(_inner, of))})"


def _said(one: Is | Between | Near | Within | Has | Column | ColumnBetween) -> tuple[str, str]:
    return column_said(one) if isinstance(one, Column | ColumnBetween) else said(one)


def _value(value: str) -> str:
    scanner = Scanner(value)
    if scanner.text != value:
        raise BadInput(f'"{shown(scanner.text)}": signs that nobody sees; use the JSON form')
    safe = _SAFE_VALUE.fullmatch(value) and scanner.plain == value
    return value if safe else _quoted(value)
