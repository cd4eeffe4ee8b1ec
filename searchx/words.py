"""Cut texts, names of files and questions into the words that they are found by."""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import PurePath
from typing import Final

WORDS_USED: Final = 32  # of a question
_READ: Final = 10_000  # characters of a question; no sensible one has more before its 32nd word
_NAME_LENGTH: Final = 300  # characters; a longer question names no file
_WORD_LENGTH: Final = 100  # characters that tell a word from another

# Spoken in most sentences, and about nothing that can be found.
_STOP_WORDS: Final = frozenset(
    (
        *("a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "from", "has", "have"),
        *("i", "if", "in", "into", "is", "it", "its", "my", "no", "not", "of", "on", "or", "our"),
        *("so", "some", "that", "the", "their", "there", "these", "this", "to", "was", "we"),
        *("were", "with", "you", "your"),
    )
)
_SAMPLE: Final = "sample "  # and the name that a picture has in an archive
_WHOLE: Final = "\u00b7"  # begins and joins the words of a whole name; stands in no word itself
_MARKS: Final = re.compile("[\u0300-\u036f]+")  # accents, once they stand apart from their letters
# In these scripts marks that are no letters stand inside a word: those of India, Thai and Lao,
# Tibetan, Burmese and Khmer; without their full stops.
_MARKED: Final = (
    "\u0900-\u0963\u0966-\u0dff\u0e00-\u0eff\u0f71-\u0f84\u0f90-\u0fbc\u1000-\u1049\u1050-\u109f"
    "\u1780-\u17d3"
)
_UNSPACED: Final = (  # scripts without spaces between words, and Korean, whose words have endings
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
_WORD: Final = re.compile(rf"(?:[^\W_]|[{_MARKED}])+")
_SPOKEN_WORD: Final = re.compile(rf"(?:[^\W_]|[{_MARKED}\u0300-\u036f])+")  # with its accents
_PLAIN_WORD: Final = re.compile("[a-z0-9]+")
_PIECE: Final = re.compile(rf"[{_UNSPACED}]+|[^{_UNSPACED}]+")
_IS_UNSPACED: Final = re.compile(rf"[{_UNSPACED}]")
_PART_OF_NAME: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_LOOKS_NAMED: Final = re.compile(r"[0-9_.\-]")  # in a word that may be the name of a file


@dataclass(frozen=True, slots=True)
class Asked:
    """What a question asks for."""

    terms: Mapping[str, str]  # words as they are stored, and as they were asked
    names: tuple[str, ...]  # whole names, as they are stored

    def __bool__(self) -> bool:
        return bool(self.terms or self.names)


def asked(text: str) -> Asked:
    """Read a question: its first words, but for those of every sentence, and names of files.

    The whole question may be a name, and so may a word with a digit, a dot, _ or - in it.
    """
    terms: dict[str, str] = {}
    names: dict[str, None] = {}
    if len(text) <= _NAME_LENGTH:
        names[_whole(text)] = None
    for spoken in text[:_READ].split():
        if len(terms) >= WORDS_USED:
            break
        if _LOOKS_NAMED.search(spoken):
            names[_whole(spoken)] = None
        for part, word in _spoken(spoken):
            if part not in _STOP_WORDS:
                terms.setdefault(part, word)
    used = dict(list(terms.items())[:WORDS_USED])
    return Asked(used, tuple(name for name in names if name)[:WORDS_USED])


def words_of(text: str) -> list[str]:
    """Cut a text into the words that it is found by.

    Case and accents are left out. Of a script without spaces every character is a word, and
    every two of them that stand together.
    """
    folded = _folded(text)
    if folded.isascii():  # the usual case, in two thirds of the time
        return [word[:_WORD_LENGTH] for word in _PLAIN_WORD.findall(folded)]
    words: list[str] = []
    for word in _WORD.findall(folded):
        for piece in _pieces(word):
            if _IS_UNSPACED.match(piece):
                words += piece
                words += _pairs(piece)
            else:
                words.append(piece)
    return words


def words_of_name(name: str) -> list[str]:
    """Cut the name of a file into its words, the parts of those, and the whole name.

    "IMG_1234.jpg" gives img, 1234 and jpg, and "IMG1234.jpg" the same besides img1234.
    """
    parts = [part.lower() for part in _PART_OF_NAME.findall(name)]
    wholes = [one for one in (_whole(name), _whole(PurePath(name).stem)) if one]
    return list(dict.fromkeys(chain(words_of(name), parts, wholes)))


def words_of_place(name: str, fragment: str) -> list[str]:
    """Cut what a place is called into words: its file, and its sample in an archive."""
    words = words_of_name(name)
    if fragment.startswith(_SAMPLE):
        words += words_of_name(fragment.removeprefix(_SAMPLE))
    return words


def called(text: str, places: Sequence[tuple[str, str]]) -> int:
    """Give which of some places, names and fragments, a text calls by most of its words.

    One whose whole name it is comes before all others; of equals the first.
    """
    question = asked(text)

    def held(place: int) -> tuple[bool, int]:
        words = set(words_of_place(*places[place]))
        return any(one in words for one in question.names), len(words & question.terms.keys())

    return max(range(len(places)), key=held)


def _spoken(spoken: str) -> Iterator[tuple[str, str]]:
    """Give the words in what stands between spaces: as they are stored, and as they were asked."""
    for found in _SPOKEN_WORD.findall(unicodedata.normalize("NFKC", spoken)):
        for word in _WORD.findall(_folded(found)):
            for piece in _pieces(word):
                if _IS_UNSPACED.match(piece) and len(piece) > 1:
                    yield from ((pair, pair) for pair in _pairs(piece))
                else:
                    yield piece, found if piece == word else piece


def _whole(name: str) -> str:
    """Give the one word that a whole name is found by; empty for one without words."""
    words = _WORD.findall(_folded(name))
    return _WHOLE + _WHOLE.join(words) if words else ""


def _folded(text: str) -> str:
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    return unicodedata.normalize("NFC", _MARKS.sub("", apart))


def _pieces(word: str) -> list[str]:
    """Cut a word where its script changes to one without spaces or back."""
    pieces = [word] if word.isascii() else _PIECE.findall(word)
    return [one if _IS_UNSPACED.match(one) else one[:_WORD_LENGTH] for one in pieces]


def _pairs(piece: str) -> list[str]:
    return [piece[start : start + 2] for start in range(len(piece) - 1)]
