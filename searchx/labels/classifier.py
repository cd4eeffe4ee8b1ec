"""How likely it is that a label fits a picture, by their cosine and what is usual.

A cosine is read beside what everyday captions have with the pictures of the library: in units of
their spread above their mean, less what the picture has with captions of any kind, since some
pictures come near to everything. A logistic curve over the two gives the chance that the label
fits. Its constants were fitted with the model ``mini`` on the object labels of COCO, one label at
a time left out (``python -m tests.benchmarks.bench_labels PAIRS... --fit``).

A model that was trained to tell pairs one by one brings a curve of its own (`Pairing`), which says
what its cosines mean in any library: it takes the place of the fitted one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from searchx.batching import embedded_means
from searchx.encoder import Encoder, pairing_of
from searchx.labels.vocabulary import Label, Vocabulary
from searchx.prompts import ensemble_for
from searchx.records import Ids, Pairing, Vectors
from searchx.relevance import Background, Level

Shares = NDArray[np.float32]  # (n, labels), in [0, 1]

# Of the labels of COCO that are given from 0.5 on, 0.84 are right, and 0.23 of the right ones are
# given; from 0.3 on 0.68 and 0.30. A label that is there is often not what the picture is about.
LEAST: Final = 0.5
BASE, SCORE, USUAL = -4.04, 1.59, -0.95


@dataclass(frozen=True, slots=True, eq=False)
class Classified:
    """Some pictures, and how likely each label fits each of them."""

    vocabulary: Vocabulary
    ids: Ids  # (b,), ascending
    shares: Shares  # (b, labels): of so many pictures that look so, the label fits this share

    def __len__(self) -> int:
        return len(self.ids)

    def given(self, min_share: float = LEAST) -> NDArray[np.bool_]:
        """Tell which labels are given, (b, labels): of a group the likeliest one, if any."""
        given = self.shares >= min_share
        for columns in _columns(self.vocabulary):
            part = self.shares[:, columns]
            given[:, columns] &= np.arange(part.shape[1]) == part.argmax(axis=1)[:, None]
        return given

    def names(self, min_share: float = LEAST) -> list[tuple[str, ...]]:
        """Give the labels of each picture."""
        known = self.vocabulary.names
        return [tuple(known[one] for one in np.flatnonzero(row)) for row in self.given(min_share)]


@dataclass(frozen=True, slots=True, eq=False)
class Classifier:
    """Judges pictures by a vocabulary, in one library."""

    vocabulary: Vocabulary
    vectors: Vectors  # (labels, dim)
    usual: Vectors  # (dim,), the mean of everyday captions
    level: Level  # of their cosines with pictures of the library
    pairing: Pairing | None = None  # what the model itself makes of a cosine

    @classmethod
    def of(cls, vocabulary: Vocabulary, encoder: Encoder, background: Background) -> "Classifier":
        """Embed the labels, each as the mean of its phrases, or of its prompts."""
        return cls(
            vocabulary,
            label_vectors(encoder, vocabulary.labels),
            background.references.mean(axis=0),
            background.hit,
            pairing_of(encoder),
        )

    def classified(self, ids: Ids, rows: Vectors) -> Classified:
        """Judge pictures by their vectors (n, dim)."""
        return Classified(self.vocabulary, ids, self.shares(rows))

    def shares(self, rows: Vectors) -> Shares:
        """Give the chance that each label fits, (n, labels)."""
        odds = np.exp(np.clip(self._log_odds(rows), -60, 60))
        others = odds.copy()
        for columns in _columns(self.vocabulary):  # one of them, or none
            others[:, columns] = odds[:, columns].sum(axis=1, keepdims=True)
        return cast(Shares, (odds / (1 + others)).astype(np.float32))

    def _log_odds(self, rows: Vectors) -> NDArray[np.floating]:
        cosines = rows @ self.vectors.T  # (n, labels)
        if self.pairing is not None:
            return np.asarray(self.pairing.scale * cosines + self.pairing.bias)
        above = self.level.above(cosines)
        usual = self.level.above(rows @ self.usual)[:, None]  # (n, 1)
        return np.asarray(BASE + SCORE * above + USUAL * usual)


def label_vectors(encoder: Encoder, labels: Sequence[Label]) -> Vectors:
    """Give the unit vector (labels, dim) of each label: the mean of what stands for it."""
    prompts = ensemble_for(encoder.space.name)
    texts = [one.phrases or tuple(p.replace("{}", one.name) for p in prompts) for one in labels]
    return embedded_means(encoder, texts)


def _columns(vocabulary: Vocabulary) -> Iterator[slice]:
    """Give the columns of each group of several labels."""
    start = 0
    for group in vocabulary.groups:
        if len(group) > 1:
            yield slice(start, start + len(group))
        start += len(group)
