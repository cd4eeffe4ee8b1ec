"""Has the library an answer? The calibrated probability against the raw cosine of the first hit.

``python -m tests.benchmarks.bench_relevance EMBEDDINGS [--model NAME] [--fit]``

EMBEDDINGS is what ``tests.benchmarks.embeddings`` wrote: ``coco-1k`` holds the questions and their
answers, the other ``coco-*`` make the libraries large, ``openclipart-*`` are questions of another
domain. For every caption of coco-1k (pictures for the other directions) and libraries of 30 to
30,000: AUROC between the library as it is and the library

- without the true item ("one out"), and
- without it and all items that answer as well ("all out"): those whose caption has more than 0.3
  of the weight of the caption's words, rare words weighing more.

The cosine of the first hit is measured as it is: its AUROC is that of the best global threshold.
"limit" is what a judge would reach who knew whether the first hit is the true one: with one item
out, questions whose first hit is another look the same with their answer and without.
Pictures that look for pictures, and texts for texts, have as true items those of a like caption.

``--fit`` fits the constants on the questions of even number and prints them; every figure is of
those of odd number. The curves of hits are fitted on the first ten hits of libraries as they are
and with all out, where a hit is good if it is the true item or answers as well.
"""

import argparse
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from searchx.encoder import load_encoder
from searchx.records import Vectors
from searchx.relevance import (
    CURVES,
    NOTHING,
    Background,
    Curve,
    Curves,
    Direction,
    band,
    everyday_captions,
)

SIZES = (30, 300, 1_000, 10_000, 30_000)
ALIKE = 0.3
SAMPLE = 2_000
STRANGERS = 0.75  # their weight in the fit, beside 1 for one out and for all out
HITS = 10
LEFT_OUT = -9.0  # below every cosine
DIRECTIONS = (
    Direction("text", "image"),
    Direction("image", "text"),
    Direction("image", "image"),
    Direction("text", "text"),
)
COMMON = frozenset(
    re.findall(
        "[a-z]+",
        "a an the of on in with to and is are at by for from it its his her their some that this "
        "while up next near top front very one two man woman people person",
    )
)

Mask: TypeAlias = NDArray[np.bool_]
Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pool:
    """Pictures and their captions, those of coco-1k first."""

    images: Vectors
    texts: Vectors
    captions: list[str]
    foreign_images: Vectors
    foreign_texts: Vectors
    nonsense: Vectors
    references: Vectors

    def of(self, kind: str) -> Vectors:
        return self.images if kind == "image" else self.texts

    def strangers(self, kind: str) -> dict[str, Vectors]:
        if kind == "image":
            return {"clip-arts": self.foreign_images}
        return {"clip-art titles": self.foreign_texts, "random letters": self.nonsense}


@dataclass(frozen=True, slots=True)
class Answers:
    """What a background saw of some questions, row by row."""

    number: NDArray[np.int64]  # of the question
    cosine: Floats  # of the first hit
    signs: Floats  # (n, 6)
    hits: Floats  # (n, HITS) scores in units of the background
    good: Mask  # (n, HITS)

    def where(self, mask: Mask) -> "Answers":
        return Answers(
            self.number[mask], self.cosine[mask], self.signs[mask], self.hits[mask], self.good[mask]
        )


@dataclass(frozen=True, slots=True)
class Case:
    """One direction and library size."""

    direction: Direction
    size: int
    present: Answers
    one_out: Answers
    all_out: Answers
    rank: NDArray[np.int64]  # of the best true item, from 0
    strangers: dict[str, Answers]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("embeddings", type=Path)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--fit", action="store_true")
    asked = parser.parse_args()
    pool = load_pool(asked.embeddings, asked.model)
    for direction in DIRECTIONS:
        cases = [case_of(pool, direction, size) for size in SIZES if size <= len(pool.images)]
        curves = fitted(cases) if asked.fit else CURVES[direction]
        if asked.fit:
            print(f"    Direction{tuple(direction)}: {written(curves)},")
        report(direction, [halved(case, 1) for case in cases], curves)
    print(f"one query, two cores: {milliseconds(pool):.2f} ms")


def load_pool(place: Path, model: str) -> Pool:
    names = sorted(one.name.split(".")[0] for one in place.glob("coco-*.images.npy"))
    names = ["coco-1k", *(one for one in names if one != "coco-1k")]
    clip = sorted(one.name.split(".")[0] for one in place.glob("openclipart-*.images.npy"))
    captions = [(place / f"{one}.captions.txt").read_text("utf-8").split("\n") for one in names]
    return Pool(
        images=rows(place, names, "images"),
        texts=rows(place, names, "captions"),
        captions=[caption for some in captions for caption in some],
        foreign_images=rows(place, clip, "images")[::5],
        foreign_texts=rows(place, clip, "captions")[::5],
        nonsense=embedded(place / "nonsense.npy", nonsense(), model),
        references=embedded(place / "references.npy", everyday_captions(), model),
    )


def rows(place: Path, names: Sequence[str], what: str) -> Vectors:
    parts = [np.load(place / f"{name}.{what}.npy").astype(np.float32) for name in names]
    return np.concatenate(parts)


def embedded(place: Path, texts: Sequence[str], model: str) -> Vectors:
    if not place.exists():
        np.save(place, load_encoder(model, "auto", print).embed_texts(texts).astype(np.float16))
    return np.asarray(np.load(place), np.float32)


def nonsense() -> list[str]:
    random = np.random.default_rng(3)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))

    def word() -> str:
        return "".join(random.choice(letters, random.integers(3, 10)))

    return [" ".join(word() for _ in range(random.integers(1, 6))) for _ in range(500)]


def alike(questions: Sequence[str], captions: Sequence[str]) -> Mask:
    """Tell which captions have more than `ALIKE` of the weight of a question's words: (q, n)."""
    asked, stored = [words(one) for one in questions], [words(one) for one in captions]
    seen = Counter(word for one in stored for word in one)
    weight = {word: np.log(len(stored) / count) for word, count in seen.items()}
    places = defaultdict(list)
    for at, one in enumerate(stored):
        for word in one:
            places[word].append(at)
    mask = np.zeros((len(asked), len(stored)), bool)
    for row, one in zip(mask, asked, strict=True):
        share = np.zeros(len(stored))
        for word in one & seen.keys():
            share[places[word]] += weight[word]
        row[:] = share > ALIKE * sum(weight.get(word, 0.0) for word in one) + 1e-9
    return mask


def words(caption: str) -> set[str]:
    """Give the words of a caption that say something, without their endings."""
    found = set(re.findall("[a-z]+", caption.lower())) - COMMON
    return {re.sub("(?<=...)(ing|ers|er|ed|es|s)$", "", one) for one in found}


def case_of(pool: Pool, direction: Direction, size: int) -> Case:
    random = np.random.default_rng(size)
    similar = alike(pool.captions[:1000], pool.captions[: max(size, 1000)])
    present, one_out, all_out = list[Answers](), list[Answers](), list[Answers]()
    ranks, strange = [], defaultdict[str, list[Answers]](list)
    for members in libraries(size, random):
        items = pool.of(direction.found)[members]
        background = measured(pool, direction, items, random)
        asks, cosines, true, good = truth(pool, direction, members, similar)
        questions = pool.of(direction.asked)[asks]
        for part, mask in ((present, true & False), (one_out, true), (all_out, good)):
            left = np.where(mask, LEFT_OUT, cosines)
            part.append(answers(background, asks, questions, left, items, good))
        best = np.where(true, cosines, LEFT_OUT).max(1, initial=LEFT_OUT)
        ranks.append((cosines > best[:, None]).sum(1))
        for name, others in pool.strangers(direction.asked).items():
            some = random.permutation(len(others))[: size if size < 1000 else len(others)]
            bad = np.zeros((len(some), len(members)), bool)
            cosines = others[some] @ items.T
            strange[name].append(answers(background, some, others[some], cosines, items, bad))
    strangers = {name: joined(part) for name, part in strange.items()}
    seen = joined(present), joined(one_out), joined(all_out)
    return Case(direction, size, *seen, np.concatenate(ranks), strangers)


def truth(
    pool: Pool, direction: Direction, members: NDArray[np.int64], similar: Mask
) -> tuple[NDArray[np.int64], Vectors, Mask, Mask]:
    """Give the questions that have an answer among the members, their cosines (q, n), and masks:
    the true items, and these with those that answer as well.
    """
    own = members[members < 1000]
    itself = own[:, None] == members[None]
    equal = similar[np.ix_(own, members)] & ~itself
    cosines = pool.of(direction.asked)[own] @ pool.of(direction.found)[members].T
    if direction.asked != direction.found:
        return own, cosines, itself, itself | equal
    asks = equal.any(1)
    return own[asks], np.where(itself, LEFT_OUT, cosines)[asks], equal[asks], equal[asks]


def libraries(size: int, random: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Cut the thousand into libraries of a size, or put others beside them."""
    if size >= 1000:
        yield np.arange(size)
        return
    for _ in range(max(1, 100 // size)):
        order = random.permutation(1000)
        for start in range(0, 1000 - size + 1, size):
            yield order[start : start + size]


def measured(
    pool: Pool, direction: Direction, items: Vectors, random: np.random.Generator
) -> Background:
    sample = items[random.permutation(len(items))[:SAMPLE]]
    others = None
    if direction == ("image", "text"):
        others = pool.images[random.permutation(1000)[: min(len(items), 1000)]]
    return Background.of(direction, len(items), sample, pool.references, others)


def answers(
    background: Background,
    numbers: NDArray[np.int64],
    questions: Vectors,
    cosines: Vectors,
    items: Vectors,
    good: Mask,
) -> Answers:
    first = np.argpartition(-cosines, HITS, axis=1)[:, :HITS]  # (n, HITS), in no order
    order = np.argsort(-np.take_along_axis(cosines, first, 1), axis=1)
    first = np.take_along_axis(first, order, 1)
    scores = np.take_along_axis(cosines, first, 1)
    signs = background.signs(questions, scores, items[first[:, 0]])
    right = np.take_along_axis(good, first, 1)
    above = np.asarray(background.hit.above(scores), np.float64)
    return Answers(numbers, scores[:, 0].astype(np.float64), signs, above, right)


def joined(parts: Sequence[Answers]) -> Answers:
    return Answers(
        np.concatenate([one.number for one in parts]),
        np.concatenate([one.cosine for one in parts]),
        np.concatenate([one.signs for one in parts]),
        np.concatenate([one.hits for one in parts]),
        np.concatenate([one.good for one in parts]),
    )


def halved(case: Case, odd: int) -> Case:
    """Keep the questions of even, or of odd number."""
    mask = case.present.number % 2 == odd
    kept = case.present.where(mask), case.one_out.where(mask), case.all_out.where(mask)
    others = {name: one.where(one.number % 2 == odd) for name, one in case.strangers.items()}
    return Case(case.direction, case.size, *kept, case.rank[mask], others)


def fitted(cases: Sequence[Case]) -> Curves:
    """Fit both curves on the even half, all sizes weighing the same."""
    there, hits = [], []
    for case in (halved(one, 0) for one in cases):
        there.append((case.present.signs, 1.0, 2.0))
        there.append((case.one_out.signs, 0.0, 1.0))
        there.append((case.all_out.signs, 0.0, 1.0))
        there += [
            (one.signs, 0.0, STRANGERS) for name, one in case.strangers.items() if "art" in name
        ]
        hits += [hit_rows(case.present), hit_rows(case.all_out)]
    library = logistic(
        np.concatenate([signs for signs, _, _ in there]),
        np.concatenate([np.full(len(signs), label) for signs, label, _ in there]),
        np.concatenate([np.full(len(signs), weight / len(signs)) for signs, _, weight in there]),
    )
    hit = logistic(
        np.concatenate([signs for signs, _ in hits]),
        np.concatenate([good for _, good in hits]),
        np.concatenate([np.full(len(good), 1 / len(good)) for _, good in hits]),
    )
    return Curves(curve_of(hit), curve_of(library))


def hit_rows(seen: Answers) -> tuple[Floats, Floats]:
    """Give the signs (n * HITS, 6) of single hits, without that of the best, and their labels."""
    signs = np.repeat(seen.signs, HITS, axis=0)
    signs[:, 0] = seen.hits.ravel()
    signs[:, 4:] = 0
    there = seen.hits.ravel() > -20  # what was left out is no hit
    return signs[there], seen.good.ravel()[there].astype(np.float64)


def logistic(signs: Floats, labels: Floats, weights: Floats) -> Floats:
    """Fit by Newton's method, with so small a ridge that only empty columns feel it."""
    columns = np.c_[np.ones(len(signs)), signs]
    weights = weights / weights.sum()
    best = np.zeros(columns.shape[1])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-np.clip(columns @ best, -60, 60)))
        slope = columns.T @ (weights * (chance - labels)) + 1e-6 * best
        bend = (columns * (weights * chance * (1 - chance))[:, None]).T @ columns
        best = best - np.linalg.solve(bend + 1e-6 * np.eye(len(best)), slope)
    return best


def curve_of(fit: Floats) -> Curve:
    return Curve(*(round(float(one), 3) for one in fit))


def written(curves: Curves) -> str:
    def values(curve: Curve) -> str:
        return ", ".join(str(getattr(curve, name)) for name in curve.__dataclass_fields__)

    return f"Curves(Curve({values(curves.hit)}), Curve({values(curves.library)}))"


def auroc(positive: Floats, negative: Floats) -> float:
    """Give the chance that a positive is above a negative; a tie counts half."""
    both = np.concatenate([positive, negative])
    _, place, counts = np.unique(both, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place][: len(positive)]
    least = len(positive) * (len(positive) + 1) / 2
    return float((ranks.sum() - least) / (len(positive) * len(negative)))


def report(direction: Direction, cases: Sequence[Case], curves: Curves) -> None:
    print(f"\n{direction.asked} -> {direction.found}: AUROC of the cosine | of ours")
    names = [*("one out", "rank <= 10", "all out"), *cases[0].strangers]
    print(f"{'library':>8} {'limit':>6} " + " ".join(f"{name:>15}" for name in names))
    for case in cases:
        near = case.rank < 10
        limit = 0.5 + (case.rank == 0).mean() / 2
        pairs = [
            (case.present, case.one_out),
            (case.present.where(near), case.one_out.where(near)),
            (case.present, case.all_out),
            *((case.present, one) for one in case.strangers.values()),
        ]
        cells = [f"{compared(*pair, curves):>15}" for pair in pairs]
        print(f"{case.size:>8,} {limit:>6.3f} " + " ".join(cells))
    pooled(cases, curves)
    print(f"said to have none (below {NOTHING}): as it is, one out, all out, strangers")
    for case in cases:
        seen = (case.present, case.one_out, case.all_out, *case.strangers.values())
        shares = [(curves.library(one.signs) < NOTHING).mean() for one in seen]
        print(f"{case.size:>8,} " + " ".join(f"{share:>6.3f}" for share in shares))
    bands(cases, curves)


def compared(positive: Answers, negative: Answers, curves: Curves) -> str:
    if not len(positive.cosine) or not len(negative.cosine):
        return "-"
    plain = auroc(positive.cosine, negative.cosine)
    ours = auroc(curves.library(positive.signs), curves.library(negative.signs))
    return f"{plain:.3f} | {ours:.3f}"


def pooled(cases: Sequence[Case], curves: Curves) -> None:
    """All sizes in one list, as one threshold must serve them all; as many of each."""
    random = np.random.default_rng(0)
    few = min(len(case.present.number) for case in cases)
    parts: list[list[Answers]] = [[], [], []]
    for case in cases:
        chosen = np.zeros(len(case.present.number), bool)
        chosen[random.permutation(len(chosen))[:few]] = True
        for part, one in zip(parts, (case.present, case.one_out, case.all_out), strict=True):
            part.append(one.where(chosen))
    present, one_out, all_out = (joined(part) for part in parts)
    print(f"all sizes in one: one out {compared(present, one_out, curves)}", end=", ")
    print(f"all out {compared(present, all_out, curves)}", end="; ")
    plain = right_at_best(present.cosine, all_out.cosine)
    chances = curves.library(present.signs), curves.library(all_out.signs)
    ours = ((chances[0] >= 0.5).mean() + (chances[1] < 0.5).mean()) / 2
    print(f"right (all out): best cosine threshold {plain:.3f}, ours at 0.5 {ours:.3f}")


def right_at_best(positive: Floats, negative: Floats) -> float:
    """Give the mean of both rates of being right, at the threshold that makes it highest."""
    thresholds = np.unique(np.concatenate([positive, negative]))
    above = 1 - np.searchsorted(np.sort(positive), thresholds) / len(positive)
    below = np.searchsorted(np.sort(negative), thresholds) / len(negative)
    return float(((above + below) / 2).max())


def bands(cases: Sequence[Case], curves: Curves) -> None:
    """Print the share of good ones among the first ten hits, by relevance and by band."""
    print(f"good hits by band, of the first {HITS}, library as it is | all out or strangers")
    for case in cases:
        signs, good = hit_rows(case.present)
        others = [hit_rows(one)[0] for one in (case.all_out, *case.strangers.values())]
        named = np.array([band(one) for one in curves.hit(signs)])
        wrong = np.array([band(one) for one in curves.hit(np.concatenate(others))])
        cells = []
        for name in ("strong", "fair", "weak"):
            mask = named == name
            share = f"{good[mask].mean():.3f}" if mask.any() else "-"
            cells.append(f"{name} {share} of {mask.mean():.2f} | {(wrong == name).mean():.3f}")
        print(f"{case.size:>8,}  " + "   ".join(cells))


def milliseconds(pool: Pool) -> float:
    background = measured(pool, DIRECTIONS[0], pool.images[:SAMPLE], np.random.default_rng(0))
    scores = np.linspace(0.6, 0.3, HITS)

    def ask(query: Vectors) -> None:
        background.relevance(query, scores)
        background.has_answer(query, scores, pool.images[0])

    return timed(ask, pool.texts[:300])


def timed(task: Callable[[Vectors], None], queries: Vectors) -> float:
    """Give the median of single calls, in milliseconds."""
    times = []
    for query in queries:
        started = time.perf_counter()
        task(query)
        times.append(1000 * (time.perf_counter() - started))
    return float(np.median(times))


if __name__ == "__main__":
    main()
