"""Texts to the tokens of a model, without torch, open_clip or transformers.

The tokens are those that open_clip gives; a model is only prepared where that has been checked.
"""

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Cleaning: TypeAlias = Literal["whitespace", "lower", "canonicalize"]
TokenRows: TypeAlias = NDArray[np.int64]  # (n, used)

_BATCH: Final = 1024  # texts counted in one call
_PUNCTUATION: Final = str.maketrans("", "", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
_WORDS: Final = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"  # of CLIP
_SURROGATES: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Wording:
    """How a model wants its texts, beside what its tokenizer.json says."""

    cleaning: Cleaning
    limit: int  # tokens that count, special ones included
    padding: int  # the token that fills a row up
    is_clip: bool  # the tokenizer of CLIP, words by words; else one of Hugging Face as it is
    is_trimmed: bool  # the text tower masks its padding: what all rows share of it is left out
    blanked: int | None = None  # a token that is replaced by 0
    specials: Mapping[str, int] | None = None  # of CLIP: the start, the end, and further ones


class Words:
    """A model's tokenizer. Safe to call from many threads."""

    def __init__(self, wording: Wording, document: str) -> None:
        """Read what is in a tokenizer.json; raises whatever `tokenizers` raises for another."""
        from tokenizers import Tokenizer

        self._wording = wording
        self._clean: Callable[[str], str] = _CLEANINGS[wording.cleaning]
        self._tokenizer: Any = Tokenizer.from_str(document)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._lock = threading.Lock()  # whether it cuts is kept in the tokenizer itself

    def __call__(self, texts: Sequence[str]) -> TokenRows:
        """Give the tokens of some texts, (n, used), each cut at the limit."""
        rows = self._rows(texts, self._wording.limit)
        width = self._wording.limit
        if self._wording.is_trimmed:
            width = max(sum(one != self._wording.padding for one in row) for row in rows)
        tokens = np.full((len(rows), width), self._wording.padding, np.int64)
        for place, row in enumerate(rows):
            tokens[place, : len(row)] = row[:width]
        if self._wording.blanked is not None:
            tokens[tokens == self._wording.blanked] = 0
        return tokens

    def count(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text, special ones included and nothing cut."""
        counts: list[int] = []
        for start in range(0, len(texts), _BATCH):
            counts += map(len, self._rows(texts[start : start + _BATCH], None))
        return counts

    def _rows(self, texts: Sequence[str], limit: int | None) -> list[list[int]]:
        clean = [self._clean(_SURROGATES.sub("?", text)) for text in texts]
        if self._wording.is_clip:
            return [self._of_clip(text, limit) for text in clean]
        with self._lock:
            if limit is None:
                self._tokenizer.no_truncation()
            else:
                self._tokenizer.enable_truncation(limit)
            return [one.ids for one in self._tokenizer.encode_batch(clean)]

    def _of_clip(self, text: str, limit: int | None) -> list[int]:
        start, end, *_ = (self._wording.specials or {}).values()
        ids = [start, *self._ids(text), end]
        return ids if limit is None or len(ids) <= limit else [*ids[: limit - 1], end]

    def _ids(self, text: str) -> Iterator[int]:
        specials = self._wording.specials or {}
        for word in self._pattern.findall(text):
            if word in specials:
                yield specials[word]
            else:
                letters = "".join(map(_LETTERS.__getitem__, word.encode()))
                yield from (one.id for one in self._tokenizer.model.tokenize(letters))

    @cached_property
    def _pattern(self) -> Any:
        import regex

        specials = "|".join(self._wording.specials or ())
        return regex.compile(f"{specials}|{_WORDS}", regex.IGNORECASE)


def _fixed(text: str) -> str:
    """Mend broken encodings and HTML, as open_clip does."""
    if text.isascii() and text.isprintable() and "&" not in text:
        return text.strip()  # which leaves nothing to mend
    import html

    import ftfy

    return html.unescape(html.unescape(ftfy.fix_text(text))).strip()


def _spaced(text: str) -> str:
    return " ".join(_fixed(text).split())


def _lowered(text: str) -> str:
    return _spaced(text).lower()


def _canonical(text: str) -> str:
    bare = _fixed(text).replace("_", " ").translate(_PUNCTUATION).lower()
    return " ".join(bare.split())


def _letters() -> list[str]:
    """Give the sign that stands for each byte in the vocabulary of CLIP: itself, or one aside."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    plain += range(ord("®"), ord("ÿ") + 1)
    aside = iter(range(256, 512))
    return [chr(byte if byte in plain else next(aside)) for byte in range(256)]


_LETTERS: Final = _letters()
_CLEANINGS: Final[Mapping[str, Callable[[str], str]]] = {
    "whitespace": _spaced,
    "lower": _lowered,
    "canonicalize": _canonical,
}
