"""Name groups of items by words: those whose captions lie where a group differs from the others.

A word is where the captions that hold it are, on average; the encoder has embedded those already,
so that nothing has to be embedded, or loaded, to name a group.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, cast

import numpy as np

from searchx.records import Vectors

WORDS: Final = 3  # that name a group
_LEAST: Final = 5  # captions that hold a word, before it is known where it is
_LONGEST: Final = 40  # words of a caption; a longer text is about too much
_RIVAL: Final = 0.5  # share of what a word is worth elsewhere, that is taken from its worth here
_LOOKED_AT: Final = 60  # of the best words of a group
_TELLING: Final = 0.6  # share of the worth of a group's best word, from which on others name it too
_WORD: Final = re.compile(r"[^\W\d_]{3,}")
_SAID_OF_ANYTHING: Final = """
about above across after against all along also and another are area around back
background behind being below beside between big black blue both bottom brown bunch close
couple covered day different doing down during each few filled five for four from front
full get gets getting going gray green grey group has have having her him his image inside
into its just laid large laying lays left like little looking looks lot lots made making
many middle more near next not object off old one open orange other others out outside
over pair part photo photograph picture piece pink placed posing pulling purple ready red
resting right scene seen set several she shot show showing shown shows side sits sitting
small some someone something stand standing stands step taken takes taking that the their
them there they things this three through top trying two under use used uses using various
very view walking was way wearing well were what where which while white who whole with
wooden yellow young
"""  # or of how something is shown
_SILENT: Final = frozenset(_SAID_OF_ANYTHING.split())


@dataclass(frozen=True, slots=True, eq=False)
class Vocabulary:
    """Words, and where they are."""

    words: tuple[str, ...]
    vectors: Vectors  # (w, dim) of unit length, as they differ from the mean of all captions


def vocabulary_of(captions: Sequence[tuple[Sequence[str], Vectors]]) -> Vocabulary:
    """Learn the words of some sets of captions, each with its vectors (n, dim)."""
    dim = captions[0][1].shape[1] if captions else 0
    sums: dict[str, Vectors] = {}
    counts: Counter[str] = Counter()
    for texts, vectors in captions:
        if not len(vectors):
            continue
        apart = _unit(vectors - vectors.mean(axis=0))
        for text, row in zip(texts, apart, strict=True):
            for word in sorted(set(_words(text))):
                counts[word] += 1
                sums[word] = sums[word] + row if word in sums else row
    known = tuple(sorted(word for word, count in counts.items() if count >= _LEAST))
    rows = np.stack([sums[one] for one in known]) if known else np.empty((0, dim), np.float32)
    return Vocabulary(known, _unit(rows))


def names(vocabulary: Vocabulary, centres: Vectors) -> list[tuple[str, ...]]:
    """Give each of some groups, by its centre (k, dim), the words that tell it from the others.

    No word names two groups, and no two words of a group are forms of one. Words of another width,
    as they are where the library was just made anew by another model, name nothing.
    """
    is_known = vocabulary.words and len(centres)
    if not is_known or vocabulary.vectors.shape[1] != centres.shape[1]:
        return [()] * len(centres)
    worth = vocabulary.vectors @ centres.T  # (w, k)
    worth = worth - _RIVAL * _elsewhere(worth)
    best = np.argsort(-worth, axis=0, kind="stable")[:_LOOKED_AT]
    least = _TELLING * worth.max(axis=0)  # (k,)
    named: list[list[str]] = [[] for _ in centres]
    taken: set[str] = set()
    for _ in range(WORDS):
        for group, chosen in enumerate(named):
            telling = best[worth[best[:, group], group] >= least[group], group]
            ranked = (vocabulary.words[one] for one in telling.tolist())
            word = next((one for one in ranked if not _is_told(one, (*chosen, *taken))), None)
            if word is not None:
                chosen.append(word)
                taken.add(word)
    return [tuple(one) for one in named]


def _elsewhere(worth: Vectors) -> Vectors:
    """Give what each word is worth where it is worth most among the other groups, (w, k)."""
    if worth.shape[1] < 2:
        return np.zeros_like(worth)
    second, first = np.partition(worth, worth.shape[1] - 2, axis=1)[:, -2:].T
    return cast(Vectors, np.where(worth == first[:, None], second[:, None], first[:, None]))


def _is_told(word: str, told: Sequence[str]) -> bool:
    """Tell whether a word, or a longer or shorter form of it, stands there already."""
    return any(word.startswith(one[: max(4, len(one) - 2)]) or one.startswith(word) for one in told)


def _words(text: str) -> Iterator[str]:
    found = _WORD.findall(text.lower())
    return iter(()) if len(found) > _LONGEST else (one for one in found if one not in _SILENT)


def _unit(rows: Vectors) -> Vectors:
    return cast(Vectors, rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-6))
