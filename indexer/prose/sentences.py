"""Where a text can be cut: at paragraphs, sentences, clauses, lines, words, letters.

Every function gives the spans of the pieces in their order, without the white space around
them, and takes time in proportion to the text, whatever is in it.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

TINY: Final = 16  # letters; pieces below are kept together, or "a. a. a." would fill the memory

Span: TypeAlias = tuple[int, int]
Cut: TypeAlias = Callable[[str, int, int], Iterator[Span]]

_EMPTY_LINE: Final = re.compile(r"\n[^\S\n]*\n\s*|\f\s*")
_RULE: Final = r"[^\S\n]*([=\-~^\"'`*+#.:_])\{}{{2,}}[^\S\n]*"
_UNDERLINED: Final = re.compile(rf"(?:{_RULE.format(1)}\n)?[^\n]+\n{_RULE.format(2)}")
_MARKED: Final = re.compile(r"#{1,6}[^\S\n][^\n]*")
_POINT: Final = (
    r"\n(?=[^\S\n]*(?:[-*+\u2022\u2023\u25aa\u2013]|\(?\d{1,3}[.)])[^\S\n])"  # of a list
)
# The marks that end a sentence, with the quotes and brackets that they close. The look back
# makes a run of marks one match: without it "....." would take time by its square.
_END: Final = re.compile(
    r"(?<![.!?\u2026\u061f\u06d4])[.!?\u2026\u061f\u06d4]++[\"'\u201d\u2019\u00bb)\]]*+"
    r"|[\u3002\uff01\uff1f\uff61\u0964\u0965\u1362]++[\u300d\u300f\uff09\u201d\u2019]*+"
    rf"|{_POINT}|\n[^\S\n]*\n"
)
_CLAUSE: Final = re.compile(r"[,;:\u2013\u2014\u060c\u061b](?=\s)|[\u3001\uff0c\uff1b\uff1a]")
_SPACELESS: Final = frozenset("\u3002\uff01\uff1f\uff61\u0964\u0965\u1362")
_LETTER: Final = re.compile(r"\S")
_NEXT: Final = re.compile(r"[^\w\s]{0,4}+(\w?)")
_SHORT: Final = {  # what a capital letter follows
    *(
        "adj",
        "al",
        "approx",
        "bzw",
        "ca",
        "capt",
        "cf",
        "d.h",
        "dr",
        "e.g",
        "ed",
        "eds",
        "eg",
        "esp",
    ),
    *("evtl", "fr", "geb", "gen", "ggf", "gov", "hon", "hr", "hrsg", "i.e", "ibid", "ie", "inkl"),
    *("lt", "mme", "mlle", "mr", "mrs", "ms", "mt", "o.ä", "p.ex", "ph.d", "prof", "pt", "rev"),
    *("sen", "sig", "sog", "sr", "sra", "st", "str", "u.a", "u.s", "v.a", "vgl", "vs", "z.b", "zb"),
}
_SHORT_BEFORE_NUMBER: Final = {
    *("art", "bd", "cap", "ch", "fig", "figs", "kap", "max", "min", "no", "nos", "nr", "p", "pag"),
    *("par", "pp", "s", "sec", "tab", "tel", "vol", "vols"),
    *("jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "okt", "nov", "dec"),
}


def groups(text: str) -> Iterator[Span]:
    """Give the paragraphs; a heading (marked with # or underlined) goes with the one below it."""
    begin = -1
    start = end = 0
    for start, end in _between(text, 0, len(text), _EMPTY_LINE):
        if begin < 0:
            begin = start
        if not _is_heading(text, start, end):
            yield begin, end
            begin = -1
    if begin >= 0:
        yield begin, end


def sentences(text: str, start: int, end: int) -> Iterator[Span]:
    """Give the sentences, tiny ones together; the points of a list are sentences."""
    return _together(_sentences(text, start, end))


def clauses(text: str, start: int, end: int) -> Iterator[Span]:
    """Give what stands between commas, semicolons, colons and dashes, tiny ones together."""
    return _together(_clauses(text, start, end))


def lines(text: str, start: int, end: int) -> Iterator[Span]:
    """Give the lines that are not empty, tiny ones together."""
    return _together(_lines(text, start, end))


def words(size: int) -> Cut:
    """Give the cut into whole words, together as far as ``size`` letters go."""
    few = re.compile(rf"\S(?:.{{0,{max(0, size - 2)}}}\S)?(?!\S)|\S+", re.DOTALL)

    def cut(text: str, start: int, end: int) -> Iterator[Span]:
        for match in few.finditer(text, start, end):
            yield match.span()

    return cut


def halves(size: int) -> Cut:
    """Give the cut into two, or into more pieces of ``size`` letters, at a space if there is one.

    Letters are not torn from their accents.
    """

    def cut(text: str, start: int, end: int) -> Iterator[Span]:
        step = min(size, (end - start + 1) // 2)
        while end - start > step:
            stop = _cut_near(text, start, start + step, end)
            yield from _trimmed(text, start, stop)
            start = stop
        yield from _trimmed(text, start, end)

    return cut


def _sentences(text: str, start: int, end: int) -> Iterator[Span]:
    begin = start
    for mark in _END.finditer(text, start, end):
        if _ends_sentence(text, mark, start, end):
            yield from _trimmed(text, begin, mark.end())
            begin = mark.end()
    yield from _trimmed(text, begin, end)


def _clauses(text: str, start: int, end: int) -> Iterator[Span]:
    begin = start
    for mark in _CLAUSE.finditer(text, start, end):
        yield from _trimmed(text, begin, mark.end())
        begin = mark.end()
    yield from _trimmed(text, begin, end)


def _lines(text: str, start: int, end: int) -> Iterator[Span]:
    begin = start
    while begin < end:
        newline = text.find("\n", begin, end)
        stop = end if newline < 0 else newline
        yield from _trimmed(text, begin, stop)
        begin = stop + 1


def _cut_near(text: str, start: int, place: int, end: int) -> int:
    space = text.rfind(" ", start + 1, place)
    if space > 0:
        return space
    for back in range(place, max(start, place - 16), -1):
        if back < end and not unicodedata.category(text[back]).startswith("M"):
            return back
    return place


def _together(spans: Iterator[Span]) -> Iterator[Span]:
    begin = reach = -1
    for start, end in spans:
        if begin >= 0 and (reach - begin >= TINY or end - start >= TINY):
            yield begin, reach
            begin = -1
        if begin < 0:
            begin = start
        reach = end
    if begin >= 0:
        yield begin, reach


def _between(text: str, start: int, end: int, border: re.Pattern[str]) -> Iterator[Span]:
    begin = start
    for match in border.finditer(text, start, end):
        yield from _trimmed(text, begin, match.start())
        begin = match.end()
    yield from _trimmed(text, begin, end)


def _trimmed(text: str, start: int, end: int) -> Iterator[Span]:
    """Give the span without the white space around it; nothing where nothing else is in it."""
    piece = text[start:end]
    inner = piece.lstrip()
    start += len(piece) - len(inner)
    inner = inner.rstrip()
    if inner:
        yield start, start + len(inner)


def _is_heading(text: str, start: int, end: int) -> bool:
    if _MARKED.fullmatch(text, start, end):
        return True
    return end - start < 500 and _UNDERLINED.fullmatch(text, start, end) is not None


def _ends_sentence(text: str, mark: re.Match[str], start: int, end: int) -> bool:
    signs = mark.group()
    if signs[0] in _SPACELESS or signs[0] == "\n":
        return True
    if mark.end() < end and not text[mark.end()].isspace():
        return False  # 3.14, example.org
    after = _first_letter(text, mark.end(), end)
    if after.islower():
        return False  # "Stop!" he said; e.g. this
    return signs != "." or not _is_shortened(text, start, mark.start(), after)


def _first_letter(text: str, start: int, end: int) -> str:
    """Give the first letter or digit of what follows, past quotes and brackets."""
    word = _LETTER.search(text, start, end)
    match = _NEXT.match(text, word.start(), end) if word else None
    return match[1] if match else ""


def _is_shortened(text: str, start: int, dot: int, after: str) -> bool:
    """Whether the point belongs to the word before it: Dr. J. Smith, No. 5, am 3. Mai."""
    before = text[max(start, dot - 12) : dot].split()
    if not before or text[dot - 1].isspace():
        return False
    word = before[-1].lstrip("\"'([{\u201c\u201e\u00ab").lower()
    if word.isdecimal():
        return len(word) <= 2 and after.isalpha()
    if after.isdecimal() and word in _SHORT_BEFORE_NUMBER:
        return True
    return word in _SHORT or (len(word) == 1 and word.isalpha() and word != "i")
