"""How near a model comes to the one that it was made of, on the same pictures."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from searchx.encoder import Encoder
from searchx.evaluation import Ranks, Retrieval, rank_pairs, retrieval_of
from searchx.pairs import Pair
from searchx.records import Pixels, Vectors
from searchx.relevance import everyday_captions

AT: Final = (1, 5, 10)
_FIRST: Final = 10
_EVERY: Final = 4  # everyday caption is asked
_CERTAIN: Final = 1.96  # standard errors, for 95 %


@dataclass(frozen=True, slots=True)
class Change:
    """A figure of the base, and the same one of what was made of it."""

    before: float
    after: float


class Both:
    """What two models make of the same pictures, and the time that each takes."""

    def __init__(self, one: Encoder, other: Encoder) -> None:
        self.numbers: list[int] = []  # of the pictures
        self._encoders = (one, other)
        self._rows: tuple[list[Vectors], list[Vectors]] = ([], [])
        self._seconds = [0.0, 0.0]

    def embed(self, batch: Sequence[tuple[int, Pixels]]) -> None:
        pixels = [one for _, one in batch]
        for place, encoder in enumerate(self._encoders):
            if not self.numbers:
                encoder.embed_images(pixels)  # loads the tower
            started = time.perf_counter()
            self._rows[place].append(encoder.embed_images(pixels))
            self._seconds[place] += time.perf_counter() - started
        self.numbers += [number for number, _ in batch]

    @property
    def before(self) -> Vectors:
        return np.concatenate(self._rows[0])  # (n, dim)

    @property
    def after(self) -> Vectors:
        return np.concatenate(self._rows[1])

    @property
    def pace(self) -> Change:
        before, after = (len(self.numbers) / one for one in self._seconds)
        return Change(before, after)


def agreement(base: Encoder, both: Both) -> float:
    """Give the share of the first answers to everyday questions that are the same by both."""
    questions = base.embed_texts(everyday_captions()[::_EVERY])  # (q, dim)
    first = [_first(questions @ one.T) for one in (both.before, both.after)]
    same = [len(set(one) & set(other)) for one, other in zip(*first, strict=True)]
    return float(np.mean(same) / _FIRST)


def _first(scores: Vectors) -> list[list[int]]:
    found: list[list[int]] = np.argsort(-scores, axis=1, kind="stable")[:, :_FIRST].tolist()
    return found


class Recall:
    """How both models bring pictures and captions together, as `searchx eval` measures it."""

    def __init__(self, base: Encoder, both: Both, pairs: Sequence[Pair]) -> None:
        texts = base.embed_texts([text for pair in pairs for text in pair.captions])  # (t, dim)
        owners = np.repeat(np.arange(len(pairs)), [len(pair.captions) for pair in pairs])
        before, after = (rank_pairs(rows, texts, owners) for rows in (both.before, both.after))
        ways = ("text_to_image", "image_to_text")
        self.figures = {
            way: _changes(retrieval_of(one), retrieval_of(other))
            for way, one, other in zip(ways, before, after, strict=True)
        }
        gains = [_gains(*ranks) for ranks in zip(before, after, strict=True)]  # (t,), (n,)
        of_texts = np.bincount(owners, gains[0]) * (len(pairs) / len(texts))
        each = (of_texts + gains[1]) / 2  # (n,): captions of one picture are no independent ones
        self.change = float(each.mean())
        self.margin = float(_CERTAIN * each.std(ddof=1) / np.sqrt(len(pairs)))


def _gains(before: Ranks, after: Ranks) -> NDArray[np.float64]:
    """Give for each rank how much more it adds to recall, the mean at 1, 5 and 10, than before."""
    gained = [(after <= k).astype(np.float64) - (before <= k) for k in AT]
    mean: NDArray[np.float64] = np.mean(gained, axis=0)
    return mean


def _changes(before: Retrieval, after: Retrieval) -> dict[str, Change]:
    both = before.as_dict(), after.as_dict()
    return {name: Change(one, both[1][name]) for name, one in both[0].items()}
