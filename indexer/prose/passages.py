"""Cut a text into passages that an encoder can take in whole."""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeAlias

from indexer.prose.sentences import Cut, Span, clauses, groups, halves, lines, sentences, words
from indexer.prose.texts import Extract
from searchx.identity import normalise

Count: TypeAlias = Callable[[Sequence[str]], list[int]]

LETTERS_PER_TOKEN: Final = 12  # a tokenizer may count a word of any length as one token
_BATCH: Final = 2048  # texts that are counted at once


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a text, ready to be embedded, and the place where it stands."""

    text: str  # normalised
    fragment: str
    page: int | None
    line: int | None  # from 1
    start: int  # the span in the text of the extract
    end: int
    subject: str | None


def split(extract: Extract, count: Count, limit: int) -> list[Passage]:
    """Cut a text where paragraphs end, a longer paragraph where sentences end.

    A sentence that is too long is cut at clauses, then lines, then words, then anywhere. A
    heading goes with the paragraph below it. Every passage has at most ``limit`` tokens by
    ``count`` (special ones included), unless a single letter has more, and at most 12 letters
    for each of them. No letter is lost: the passages stand in the order of the text, and
    ``normalise(extract.text[start:end])`` is the text of each.
    """
    measure = _Measure(extract.text, count, limit)
    newlines = [match.start() for match in re.finditer("\n", extract.text)] if extract.lines else []
    return [
        Passage(
            text=normalise(extract.text[piece.start : piece.end]),
            fragment=extract.fragment,
            page=extract.page,
            line=1 + bisect_right(newlines, piece.start) if extract.lines else None,
            start=piece.start,
            end=piece.end,
            subject=extract.subject,
        )
        for piece in _pieces(extract, measure)
    ]


@dataclass(frozen=True, slots=True)
class _Unit:
    """A stretch of text that is kept whole, and what it takes."""

    start: int
    end: int
    paragraph: int
    tokens: int  # special ones included
    letters: int


class _Measure:
    """Counts the tokens and letters of stretches of one text."""

    def __init__(self, text: str, count: Count, limit: int) -> None:
        self.text = text
        self.limit = limit
        self.letters = LETTERS_PER_TOKEN * limit
        self._count = count
        one, two = count(["a", "a a"])
        self.special = max(0, 2 * one - two)

    def units(self, spans: Sequence[tuple[int, int, int]]) -> Iterator[_Unit]:
        """Measure (start, end, paragraph); what has too many letters has its tokens uncounted."""
        for begin in range(0, len(spans), _BATCH):
            batch = spans[begin : begin + _BATCH]
            forms = [normalise(self.text[start:end]) for start, end, _ in batch]
            counted = iter(self._count([form for form in forms if len(form) <= self.letters]))
            for (start, end, paragraph), form in zip(batch, forms, strict=True):
                tokens = next(counted) if len(form) <= self.letters else len(form)
                yield _Unit(start, end, paragraph, tokens, len(form))

    def fits(self, unit: _Unit) -> bool:
        """Whether it can be a passage."""
        return unit.tokens <= self.limit and unit.letters <= self.letters


def _pieces(extract: Extract, measure: _Measure) -> list[_Unit]:
    """Give the stretches that become passages."""
    if extract.atomic:
        whole = extract.text.strip()
        start = extract.text.find(whole)
        alone = list(measure.units([(start, start + len(whole), 0)] if whole else []))
        if all(measure.fits(one) for one in alone):
            return alone
    spans = [(start, end, number) for number, (start, end) in enumerate(groups(extract.text))]
    units = list(measure.units(spans))
    for cut in (sentences, clauses, lines, words(measure.limit)):
        units = _cut(units, cut, measure)
    while any(_is_too_long(unit, measure) for unit in units):
        units = _cut(units, halves(measure.letters), measure)
    return _joined(units, measure)


def _is_too_long(unit: _Unit, measure: _Measure) -> bool:
    return unit.end - unit.start > 1 and not measure.fits(unit)


def _cut(units: list[_Unit], cut: Cut, measure: _Measure) -> list[_Unit]:
    """Cut the units that are too long; the others stay."""
    cuts: list[list[Span] | None] = [
        list(cut(measure.text, unit.start, unit.end)) if _is_too_long(unit, measure) else None
        for unit in units
    ]
    fresh = measure.units(
        [
            (start, end, unit.paragraph)
            for unit, spans in zip(units, cuts, strict=True)
            for start, end in spans or ()
        ]
    )
    return [
        one
        for unit, spans in zip(units, cuts, strict=True)
        for one in ((unit,) if spans is None else islice(fresh, len(spans)))
    ]


def _joined(units: list[_Unit], measure: _Measure) -> list[_Unit]:
    """Join neighbours of a paragraph as far as they fit into one passage."""
    runs = list(_runs(units, measure))
    pieces: list[_Unit] = []
    while runs:  # the sum of the tokens is nearly always right; where it is not, a run is halved
        pieces += [run[0] for run in runs if len(run) == 1]
        runs = [run for run in runs if len(run) > 1]
        spans = [(run[0].start, run[-1].end, run[0].paragraph) for run in runs]
        rest: list[list[_Unit]] = []
        for run, piece in zip(runs, measure.units(spans), strict=True):
            if measure.fits(piece):
                pieces.append(piece)
            else:
                rest += [run[: len(run) // 2], run[len(run) // 2 :]]
        runs = rest
    return sorted(pieces, key=lambda piece: piece.start)


def _runs(units: list[_Unit], measure: _Measure) -> Iterator[list[_Unit]]:
    run: list[_Unit] = []
    tokens = letters = 0
    for unit in units:
        own = unit.tokens - measure.special
        fits = (
            tokens + own + measure.special <= measure.limit
            and letters + 1 + unit.letters <= measure.letters
        )
        if run and (unit.paragraph != run[0].paragraph or not fits):
            yield run
            run, tokens, letters = [], 0, 0
        run.append(unit)
        tokens += own
        letters += 1 + unit.letters
    if run:
        yield run
