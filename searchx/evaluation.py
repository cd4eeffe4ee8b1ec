"""How good is it: lists for users, and how an encoder brings pictures and captions together.

Lists are measured by what `searchx.measures` and `searchx.splits` give, which have their names here
as well. For an encoder it is the usual retrieval protocol of Flickr30k and COCO (Karpathy and
Fei-Fei, 2015): every caption searches all pictures, every picture searches all captions, and a
picture counts as found by the best-ranked of its captions.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np

from searchx.encoder import Encoder
from searchx.errors import BadInput
from searchx.measures import Figure, Measured, difference, measure
from searchx.pairs import Pair
from searchx.pictures.images import open_image
from searchx.records import Pixels, Vectors
from searchx.splits import Split, by_user, leave_one_out, split_by_time

__all__ = [
    "Evaluation",
    "Figure",
    "Measured",
    "Ranks",
    "Retrieval",
    "Split",
    "by_user",
    "difference",
    "embed_pictures",
    "evaluate",
    "leave_one_out",
    "measure",
    "rank_pairs",
    "retrieval_of",
    "split_by_time",
]

Ranks: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]  # (n,), 1 is best


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Metrics of one direction; recalls are fractions in [0, 1]."""

    recall_at_1: float
    recall_at_5: float
    recall_at_10: float
    mrr: float  # mean reciprocal rank
    median_rank: float

    def as_dict(self) -> dict[str, float]:
        """Give the JSON shape."""
        return {name.replace("_at_", "@"): value for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Metrics of both directions on one set of pairs."""

    model: str
    images: int
    texts: int
    text_to_image: Retrieval
    image_to_text: Retrieval

    def as_dict(self) -> dict[str, object]:
        """Give the JSON shape."""
        return {
            "model": self.model,
            "images": self.images,
            "texts": self.texts,
            "text_to_image": self.text_to_image.as_dict(),
            "image_to_text": self.image_to_text.as_dict(),
        }


def evaluate(
    encoder: Encoder, pairs: Sequence[Pair], progress: Callable[[int], None] | None = None
) -> Evaluation:
    """Measure retrieval in both directions; `progress` is told of every batch of pictures.

    Raises UnreadableImage: a picture that cannot be measured must not go unnoticed. Raises
    BadInput where there are no pairs.
    """
    if not pairs:
        raise BadInput("there are no pairs to measure; give at least one picture with a caption")
    images = embed_pictures(encoder, pairs, progress)
    texts = [text for pair in pairs for text in pair.captions]
    owners = np.repeat(np.arange(len(pairs)), [len(pair.captions) for pair in pairs])
    forward, backward = rank_pairs(images, encoder.embed_texts(texts), owners)
    return Evaluation(
        encoder.space.name, len(pairs), len(texts), retrieval_of(forward), retrieval_of(backward)
    )


def embed_pictures(
    encoder: Encoder, pairs: Sequence[Pair], progress: Callable[[int], None] | None = None
) -> Vectors:
    """Embed the pictures of all pairs, (n, dim); two threads decode a batch."""

    def fitted(pair: Pair) -> Pixels:
        return encoder.fit(open_image(pair.image, at_least=encoder.fit.side))

    rows: list[Vectors] = []
    size = encoder.batch_size
    with ThreadPoolExecutor(2) as workers:
        for start in range(0, len(pairs), size):
            batch = pairs[start : start + size]
            rows.append(encoder.embed_images(list(workers.map(fitted, batch))))
            if progress:
                progress(len(batch))
    return np.concatenate(rows)


def rank_pairs(images: Vectors, texts: Vectors, owners: Ranks) -> tuple[Ranks, Ranks]:
    """Rank the true picture of every text (t,), and the best true text of every picture (n,).

    `owners` (t,) names the picture of every text. A tie counts against the true one.
    """
    forward = np.empty(len(texts), np.int64)
    best = np.full(len(images), -np.inf, np.float32)
    for start in range(0, len(texts), 1024):
        own = owners[start : start + 1024]
        scores = texts[start : start + 1024] @ images.T  # (texts, n)
        true = scores[np.arange(len(own)), own]
        forward[start : start + 1024] = (scores >= true[:, None]).sum(axis=1)
        np.maximum.at(best, own, true)
    above = np.zeros(len(images), np.int64)
    for start in range(0, len(texts), 1024):
        own = owners[start : start + 1024]
        scores = texts[start : start + 1024] @ images.T
        wrong = own[:, None] != np.arange(len(images))
        above += ((scores >= best) & wrong).sum(axis=0)
    return forward, above + 1


def retrieval_of(ranks: Ranks) -> Retrieval:
    """Turn ranks, 1 being best, into metrics."""
    return Retrieval(
        recall_at_1=float((ranks <= 1).mean()),
        recall_at_5=float((ranks <= 5).mean()),
        recall_at_10=float((ranks <= 10).mean()),
        mrr=float((1 / ranks).mean()),
        median_rank=float(np.median(ranks)),
    )
