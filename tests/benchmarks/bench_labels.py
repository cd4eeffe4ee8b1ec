"""How well labels are given without training: which prompts, and from which chance on.

``python -m tests.benchmarks.bench_labels LABELLED.parquet OTHER.parquet... --work DIR [--fit]``

The files have `image` and `labels`. The last 1,000 pictures of LABELLED are a library that is
labelled; its other pictures tell the raw threshold that is compared, and with ``--fit`` the
constants of `searchx.labels.classifier`, of which each label is judged by those that the others
gave. OTHER are libraries of another kind, on which neither was fitted. DIR keeps the vectors.
"""

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from searchx.encoder import Encoder, load_encoder
from searchx.evaluation import embed_pictures
from searchx.labels import classifier
from searchx.labels.classifier import Classifier, label_vectors
from searchx.labels.vocabulary import Vocabulary
from searchx.pairs import Pair, read_pairs
from searchx.prompts import _ENSEMBLE
from searchx.records import Vectors
from searchx.references import references_of
from searchx.relevance import Background, Direction

MEASURED = 1_000  # pictures
LEAST = 20  # pictures that a label must have
ABSENT = (
    "spreadsheet",
    "x-ray",
    "volcano",
    "submarine",
    "microscope",
    "penguin",
    "castle",
    "violin",
)
PROMPTS: Mapping[str, tuple[str, ...]] = {
    "{}": ("{}",),
    "a photo of a {}.": ("a photo of a {}.",),
    "ensemble: CLIP's seven": _ENSEMBLE,
    "ensemble: four like captions": ("{}", "a photo of {}", "a {}", "there is a {} in the scene"),
    "ensemble: ten like captions": (
        *("a {} in a photo", "a {} next to a building", "a person with a {}", "a {} on a street"),
        *("a close up of a {}", "a {} in a field", "a black and white photo of a {}", "two {}s"),
        *("a small {}", "a large {} in the background"),
    ),
}
Truth = NDArray[np.bool_]  # (n, labels)
Shares = NDArray[np.float64]


@dataclass(frozen=True)
class Labelled:
    """Pictures with the labels that people gave them."""

    rows: Vectors  # (n, dim)
    names: tuple[str, ...]
    truth: Truth

    def part(self, which: slice) -> "Labelled":
        return replace(self, rows=self.rows[which], truth=self.truth[which])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("labelled", type=Path, nargs="+")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--fit", action="store_true")
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    encoder = load_encoder(asked.model, "cpu")
    references = references_of(asked.work, encoder)
    first, *others = (read(file, encoder, asked.work) for file in asked.labelled)
    learned, measured = first.part(slice(-MEASURED)), first.part(slice(-MEASURED, None))
    prompts_table(encoder, measured)
    threshold = best_threshold(encoder, learned)
    if asked.fit:
        fitted = fit(*signs(encoder, learned, references))
        print("constants, fitted:", ", ".join(f"{one:.2f}" for one in fitted))
        left_out(encoder, learned, measured, references)
    for file, part in zip(asked.labelled, (measured, *others), strict=True):
        print(f"\n{file.stem}: {len(part.rows)} pictures, {len(part.names)} labels")
        shares_table(encoder, part, references, threshold)
    absent(encoder, measured, references, threshold)


def read(file: Path, encoder: Encoder, work: Path) -> Labelled:
    import pyarrow.parquet

    kept = work / f"{file.stem}.images.npy"
    if not kept.exists():
        np.save(kept, embed_pictures(encoder, pictures(file)))
    rows = np.load(kept).astype(np.float32)
    held = pyarrow.parquet.read_table(file, columns=["labels"])["labels"].to_pylist()
    counted = Counter(name for several in held for name in set(several))
    names = tuple(sorted(name for name, count in counted.items() if count >= LEAST))
    truth = np.array([[name in several for name in names] for several in held])
    return Labelled(rows, tuple(name.replace("_", " ") for name in names), truth)


def pictures(file: Path) -> list[Pair]:
    return read_pairs([file])


def vectors(encoder: Encoder, names: Sequence[str], prompts: Sequence[str]) -> Vectors:
    phrases = {name: [one.replace("{}", name) for one in prompts] for name in names}
    return label_vectors(encoder, Vocabulary.of(phrases).labels)


def prompts_table(encoder: Encoder, part: Labelled) -> None:
    print(f"prompts, {len(part.rows)} pictures, {len(part.names)} labels")
    print(f"{'':32} {'mAP':>6} {'all':>6}")
    for title, prompts in PROMPTS.items():
        scores = part.rows @ vectors(encoder, part.names, prompts).T
        print(f"{title:32} {mean_precision(scores, part.truth):6.3f} ", end="")
        print(f"{average_precision(scores.ravel(), part.truth.ravel()):6.3f}")


def average_precision(scores: NDArray[np.floating], truth: NDArray[np.bool_]) -> float:
    hits = truth[np.argsort(-scores, kind="stable")]
    precision = hits.cumsum() / np.arange(1, len(hits) + 1)
    return float(precision[hits].mean())


def mean_precision(scores: NDArray[np.floating], truth: Truth) -> float:
    found = [
        average_precision(*pair) for pair in zip(scores.T, truth.T, strict=True) if pair[1].any()
    ]
    return float(np.mean(found))


def best_threshold(encoder: Encoder, part: Labelled) -> float:
    """Give the raw cosine from which on labels are given with the best F1."""
    scores = part.rows @ vectors(encoder, part.names, ("{}",)).T
    tried = np.linspace(0.0, 0.6, 121)
    return float(max(tried, key=lambda one: measured(scores >= one, part.truth)[2]))


def measured(given: Truth, truth: Truth) -> tuple[float, float, float, float]:
    """Give precision, recall and F1 over all labels, and the mean of the F1 of each."""
    right, told, true = (given & truth).sum(0), given.sum(0), truth.sum(0)
    each = 2 * right / np.maximum(told + true, 1)
    total = 2 * right.sum() / max(told.sum() + true.sum(), 1)
    return (
        right.sum() / max(told.sum(), 1),
        right.sum() / max(true.sum(), 1),
        total,
        float(each[true > 0].mean()),
    )


def background_of(part: Labelled, references: Vectors) -> Background:
    sample = part.rows[:2_000]
    return Background.of(Direction("text", "image"), len(part.rows), sample, references)


def chances(encoder: Encoder, part: Labelled, references: Vectors) -> Shares:
    judge = Classifier.of(Vocabulary.of(part.names), encoder, background_of(part, references))
    return judge.shares(part.rows).astype(np.float64)


def shares_table(encoder: Encoder, part: Labelled, references: Vectors, threshold: float) -> None:
    scores = part.rows @ vectors(encoder, part.names, ("{}",)).T
    shares = chances(encoder, part, references)
    print(f"{'':32} {'precision':>9} {'recall':>6} {'F1':>6} {'mean F1':>7}")
    row(f"cosine from {threshold:.3f} on", scores >= threshold, part.truth)
    for least in (0.3, 0.5, 0.7):
        row(f"chance from {least} on", shares >= least, part.truth)
    print("chance given, and share that is right:", ", ".join(bins(shares, part.truth)))


def row(title: str, given: Truth, truth: Truth) -> None:
    precision, recall, total, each = measured(given, truth)
    print(f"{title:32} {precision:9.2f} {recall:6.2f} {total:6.2f} {each:7.2f}")


def bins(shares: Shares, truth: Truth) -> Iterator[str]:
    edges = np.linspace(0, 1, 6)
    for low, high in pairwise(edges):
        inside = (shares >= low) & (shares < high)
        if inside.any():
            yield f"{shares[inside].mean():.2f} {truth[inside].mean():.2f} ({inside.sum():,})"


def absent(encoder: Encoder, part: Labelled, references: Vectors, threshold: float) -> None:
    """Tell how often labels are given that hardly any picture has."""
    other = replace(part, names=ABSENT, truth=np.zeros((len(part.rows), len(ABSENT)), np.bool_))
    scores = part.rows @ vectors(encoder, ABSENT, ("{}",)).T
    shares = chances(encoder, other, references)
    told = [f"{(scores >= threshold).any(1).mean():.3f} by the cosine"]
    told += [f"{(shares >= one).any(1).mean():.3f} from {one} on" for one in (0.3, 0.5)]
    print(f"\npictures that get one of {len(ABSENT)} labels of other things: {', '.join(told)}")


def signs(
    encoder: Encoder, part: Labelled, references: Vectors
) -> tuple[NDArray[np.float64], Truth]:
    """Give what a chance is made of, (n, labels, 3), and what is true."""
    background = background_of(part, references)
    scores = background.hit.above(part.rows @ vectors(encoder, part.names, ("{}",)).T)
    usual = background.hit.above(part.rows @ references.mean(0))[:, None] + 0 * scores
    return np.stack([np.ones_like(scores), scores, usual], axis=2).astype(np.float64), part.truth


def fit(values: NDArray[np.float64], truth: Truth) -> NDArray[np.float64]:
    """Give base, score and usual: logistic regression by Newton's steps.

    Labels that most pictures have are left out: what they are about is not what is asked for.
    """
    usual = truth.mean(axis=0) < 0.5
    rows, right = values[:, usual].reshape(-1, values.shape[2]), truth[:, usual].ravel()
    weights = np.zeros(rows.shape[1])
    for _ in range(30):
        chance = 1 / (1 + np.exp(-np.clip(rows @ weights, -30, 30)))
        curve = (rows * (chance * (1 - chance))[:, None]).T @ rows + 1e-3 * np.eye(len(weights))
        weights += np.linalg.solve(curve, rows.T @ (right - chance))
    return weights


def left_out(encoder: Encoder, learned: Labelled, part: Labelled, references: Vectors) -> None:
    """Judge each label by constants that the other labels gave."""
    values, truth = signs(encoder, learned, references)
    asked, _ = signs(encoder, part, references)
    shares = np.empty(part.truth.shape)
    for label in range(len(part.names)):
        others = [one for one in range(len(part.names)) if one != label]
        odds = asked[:, label] @ fit(values[:, others], truth[:, others])
        shares[:, label] = 1 / (1 + np.exp(-odds))
    row("each label by the others, 0.5", shares >= 0.5, part.truth)
    print("chance given, and share that is right:", ", ".join(bins(shares, part.truth)))
    told = (classifier.BASE, classifier.SCORE, classifier.USUAL)
    print("constants, as they are:", ", ".join(f"{one:.2f}" for one in told))


if __name__ == "__main__":
    main()
