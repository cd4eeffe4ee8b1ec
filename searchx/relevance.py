"""What a cosine means in one library: a relevance in [0, 1], its band, and whether anything fits.

A raw cosine says little: its scale is the encoder's, it grows with the size of the library, and
some questions, and some items, come near to everything. So a score is read beside a background:
what cosines are usual between questions and items here, how large the library is, how near the
question and the best hit are to everyday captions, how widely the question's cosines spread over
the library, and how high the hits after the first stand. Logistic curves over these signs, each
in units of the background, give the probability that a hit is an answer, and that the library
holds one at all. Their few constants were fitted with the model ``mini``;
``python -m tests.benchmarks.bench_relevance EMBEDDINGS --fit`` fits them again, and without
``--fit`` measures them.

The best reference of a question or an item corrects for hubs, as CSLS does with the mean of
several (Conneau et al. 2018, arXiv:1710.04087) and QB-Norm with a softmax over a bank of
questions (Bogolin et al. 2022, arXiv:2112.12777).
"""

import gzip
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import NormalDist
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from searchx.errors import BadInput, SearchxError
from searchx.records import Band, Kind, Vectors

Floats: TypeAlias = NDArray[np.floating]

CAPTIONS: Final = Path(__file__).parent / "models" / "captions.txt.gz"
HITS: Final = 10  # so many scores are looked at to tell whether there is an answer
ALONE: Final = 1.5  # an only hit stands so far above the others, as they are in small libraries
BLOCK: Final = 500  # rows multiplied at once: some 4 MB beside the vectors
PRIOR: Final = 30.0  # so many vectors' worth of the usual spread is mixed into a question's own
KNOWN: Final = 4_096  # numbers that are kept of vectors
SELF: Final = 0.9999  # a cosine above it is the vector itself, which tells nothing of others


class Direction(NamedTuple):
    """What is asked with, and what is found."""

    asked: Kind
    found: Kind


@dataclass(frozen=True, slots=True)
class Curve:
    """Log-odds as a weighted sum of signs, in the order of `Background.signs`."""

    base: float
    score: float  # positive: a higher score is never less relevant
    size: float
    asked: float
    spread: float
    best: float = 0.0
    rest: float = 0.0

    def __call__(self, signs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn signs (n, 6) into probabilities (n,)."""
        weights = np.array([self.score, self.size, self.asked, self.spread, self.best, self.rest])
        odds = np.clip(signs @ weights + self.base, -60, 60)
        return np.asarray(1 / (1 + np.exp(-odds)), np.float64)


@dataclass(frozen=True, slots=True)
class Curves:
    """What was fitted for one direction."""

    hit: Curve  # is this hit an answer?
    library: Curve  # is there an answer at all?


CURVES: Final[Mapping[Direction, Curves]] = {
    Direction("text", "image"): Curves(
        hit=Curve(-2.212, 1.814, -1.782, 0.479, -3.041),
        library=Curve(2.762, 1.971, -2.466, -0.134, -1.167, -0.889, 0.665),
    ),
    Direction("image", "text"): Curves(
        hit=Curve(1.45, 2.007, -1.778, -0.7, -2.121),
        library=Curve(2.89, 2.123, -2.304, -1.084, -0.613, -0.246, 0.58),
    ),
    Direction("image", "image"): Curves(
        hit=Curve(-0.86, 1.028, -1.381, 0.122, -1.255),
        library=Curve(-3.67, 0.354, -1.064, 0.31, 1.972, 0.069, 0.521),
    ),
    Direction("text", "text"): Curves(
        hit=Curve(-1.079, 1.509, -1.761, 0.122, -1.603),
        library=Curve(2.56, 1.011, -2.795, -0.143, 0.582, -0.318, 0.835),
    ),
}  # fitted with mini on captions and pictures of COCO, libraries of 30 to 10,000

# Of the first ten hits of questions that have an answer, so many were the true item or as good an
# answer (text to image, 300 to 10,000 pictures): strong 0.65 to 0.72, fair 0.42 to 0.46, weak 0.12
# to 0.24; in 30 pictures weak 0.03. Of questions that have none, 0.89 to 0.99 of the hits are weak.
STRONG: Final = 0.5
FAIR: Final = 0.2

# Below this `has_answer`, say that nothing matches. Text to image, 30 to 10,000 pictures: said of
# 0.03 to 0.06 of the questions that have an answer, of 0.92 to 1.00 of random letters, 0.64 to
# 0.85 of clip-art titles asked of photos, and, where the answers were taken out of everyday
# photos, of 0.69 in 30 pictures, 0.28 in 300, and 0.12 or less beyond: much is like much there.
NOTHING: Final = 0.2


def band(relevance: float) -> Band:
    """Name a relevance: as likely an answer as not is strong, less likely than one in five weak."""
    if relevance >= STRONG:
        return "strong"
    return "fair" if relevance >= FAIR else "weak"


def everyday_captions() -> tuple[str, ...]:
    """Read the captions that ship with searchx; their vectors are the references."""
    try:
        with gzip.open(CAPTIONS, "rt", encoding="utf-8") as lines:
            return tuple(line.strip() for line in lines)
    except (OSError, EOFError) as error:
        raise SearchxError(f"{CAPTIONS} cannot be read ({error}); install searchx again") from error


class Level(NamedTuple):
    """What is usual of some cosines."""

    mean: float
    spread: float  # standard deviation, above zero

    def above(self, cosines: Floats) -> Floats:
        """Give cosines in units of the spread above the mean."""
        return np.asarray((cosines - self.mean) / self.spread)


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """What cosines are usual in one direction of one library.

    Costs one product of a query with the references and one with a (dim, dim) matrix. Keeps the
    references that it is given, which the directions of a library share, and nothing of the
    sample but its covariance. Safe to use from several threads.
    """

    direction: Direction
    count: int  # items of the kind that is found
    hit: Level  # of questions with items
    asked: Level  # of questions with references
    best: Level  # of items with references
    covariance: Vectors  # (dim, dim), of the sample
    references: Vectors  # (r, dim)
    _known: "_Known" = field(default_factory=lambda: _Known(), init=False)

    @classmethod
    def of(
        cls,
        direction: Direction,
        count: int,
        sample: Vectors,
        references: Vectors,
        asked: Vectors | None = None,
    ) -> "Background":
        """Measure a library of so many items by a random sample (m, dim) of their vectors.

        `references` (r, dim) are the vectors of `everyday_captions`; the curves were fitted with
        2,000 of them. `asked` (a, dim) are vectors such as will be asked with; left out, these
        are the references for questions in text, and the sample for pictures that look for
        pictures. For pictures that look for texts, give some pictures of the library, or, where
        it has none, the very picture that is asked with. Raises BadInput where these are left
        out, where one of the three is empty, or where their widths differ.
        """
        if asked is None:
            asked = _usual(direction, sample, references)
        _check(sample, references, asked)
        rows = np.asarray(sample, np.float64)
        apart = rows - rows.mean(0)
        return cls(
            direction=direction,
            count=count,
            hit=_level(asked, sample),
            asked=_level(asked, references),
            best=_level(sample, references),
            covariance=(apart.T @ apart / len(rows)).astype(np.float32),
            references=references,
        )

    def relevance(
        self, query: Vectors, scores: Floats, among: int | None = None
    ) -> NDArray[np.float64]:
        """Give for each score (k,) of a query (dim,) the probability that it is an answer's.

        `among` is how many items were compared, where a filter left fewer than all. A higher
        score never has a lower relevance, so the order of a list stays as it is.
        """
        signs = np.zeros((len(scores), 6))
        signs[:, 1:4] = self._of_queries(query[None], among)
        signs[:, 0] = self.hit.above(scores)
        return self._curves.hit(signs)

    def has_answer(
        self, query: Vectors, scores: Floats, best: Vectors, among: int | None = None
    ) -> float:
        """Give the probability that the library answers a query (dim,) at all.

        `scores` are those of its hits, best first: ten, or all where there are fewer; `best`
        (dim,) is the vector of the first; `among` as above. Without hits there is no answer.
        """
        if not len(scores):
            return 0.0
        signs = self.signs(query[None], np.asarray(scores)[None], best[None], among)
        return float(self._curves.library(signs)[0])

    def signs(
        self, queries: Vectors, scores: Floats, best: Vectors, among: int | None = None
    ) -> NDArray[np.float64]:
        """Measure queries (n, dim) with their scores (n, k) and best hits (n, dim): (n, 6).

        The columns: the first score, size of the library, nearest reference of the question,
        spread of its cosines over the library, nearest reference of the hit, and the mean of the
        scores after the first.
        """
        signs = np.empty((len(queries), 6))
        above = self.hit.above(scores[:, :HITS])
        signs[:, 0] = above[:, 0]
        signs[:, 5] = above[:, 1:].mean(1) if above.shape[1] > 1 else above[:, 0] - ALONE
        signs[:, 1:4] = self._of_queries(queries, among)
        signs[:, 4] = self.best.above(self._nearest(best))
        return signs

    def deviation(self, query: Vectors) -> float:
        """Give the standard deviation of a query's cosines (dim,) over the sample."""
        return float(np.sqrt(self._variances(query[None])[0]))

    @property
    def _curves(self) -> Curves:
        return CURVES[self.direction]

    def _of_queries(self, queries: Vectors, among: int | None) -> NDArray[np.float64]:
        signs = np.empty((len(queries), 3))
        signs[:, 0] = highest_of(self.count if among is None else among)
        signs[:, 1] = self.asked.above(self._nearest(queries))
        signs[:, 2] = self._spread(queries) / self.hit.spread
        return signs

    def _spread(self, queries: Vectors) -> Floats:
        """Give the deviation of queries' cosines over the sample, drawn to the usual one."""
        share = self.count / (self.count + PRIOR)
        own = self._variances(queries)
        return np.asarray(np.sqrt(share * own + (1 - share) * self.hit.spread**2))

    def _variances(self, queries: Vectors) -> Floats:
        def told(rows: Vectors) -> Floats:
            return np.asarray(np.einsum("nd,nd->n", rows @ self.covariance, rows).clip(0))

        return self._known.of("variance", queries, told)

    def _nearest(self, rows: Vectors) -> Floats:
        return self._known.of("nearest", rows, lambda rows: _nearest(rows, self.references))


class _Known:
    """What was worked out of single vectors, the last ones: an answer asks for each twice.

    And the best hit of one query is often that of another. Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._values: OrderedDict[tuple[str, bytes], float] = OrderedDict()
        self._changing = threading.Lock()

    def of(self, what: str, rows: Vectors, told: Callable[[Vectors], Floats]) -> Floats:
        """Give one number for each row; what is not known of an only one is worked out and kept."""
        if len(rows) != 1:
            return told(rows)
        key = (what, hashlib.blake2b(rows.tobytes(), digest_size=16).digest())
        with self._changing:
            value = self._values.get(key)
        if value is None:
            value = float(told(rows)[0])
            with self._changing:
                self._values[key] = value
                while len(self._values) > KNOWN:
                    self._values.popitem(last=False)
        return np.array([value])


def highest_of(count: int) -> float:
    """Give about what the highest of so many standard normal values is."""
    return NormalDist().inv_cdf(max(count, 1) / (max(count, 1) + 1))


def _nearest(vectors: Vectors, references: Vectors) -> Floats:
    """Give the highest cosine of each vector (n, dim) with the references."""
    starts = range(0, len(vectors), BLOCK)
    parts = [(vectors[at : at + BLOCK] @ references.T).max(1) for at in starts]
    return np.concatenate(parts) if parts else np.empty(0)


def _level(left: Vectors, right: Vectors) -> Level:
    """Give mean and spread of the cosines between two sets, of a vector with itself left out."""
    count, total, squares = 0, 0.0, 0.0
    for at in range(0, len(left), BLOCK):
        cosines = left[at : at + BLOCK] @ right.T  # (block, m)
        cosines = cosines[cosines < SELF].astype(np.float64)
        count, total = count + cosines.size, total + cosines.sum()
        squares += np.square(cosines).sum()
    if count == 0:  # one vector, many times: nothing is known of others
        return Level(0.0, 1 / np.sqrt(left.shape[1]))
    mean = total / count
    spread = np.sqrt(max(squares / count - mean**2, 0.0))
    return Level(float(mean), float(max(spread, 1 / left.shape[1])))


def _usual(direction: Direction, sample: Vectors, references: Vectors) -> Vectors:
    if direction.asked == "text":
        return references
    if direction.found == "image":
        return sample
    raise BadInput("pictures that look for texts are asked without pictures; give some as asked")


def _check(sample: Vectors, references: Vectors, asked: Vectors) -> None:
    named = {"sample": sample, "references": references, "asked": asked}
    for name, vectors in named.items():
        if vectors.ndim != 2 or not len(vectors):
            raise BadInput(f"{name} has the shape {vectors.shape}; give one vector or more as rows")
    widths = {vectors.shape[1] for vectors in named.values()}
    if len(widths) > 1:
        raise BadInput(
            f"sample, references and asked are {sample.shape[1]}, {references.shape[1]} and "
            f"{asked.shape[1]} wide; embed all of them with the library's own encoder"
        )
