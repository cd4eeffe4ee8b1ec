"""What a negative part of a query does: "A -B" for labels of pictures, ours beside others.

``python -m tests.benchmarks.bench_negatives EMBEDDINGS PAIRS.parquet [PAIRS.parquet ...]``

EMBEDDINGS is what ``tests.benchmarks.embeddings`` wrote, and holds the vectors of PAIRS, whose
``labels`` name what each picture shows; all PAIRS together are one library. Every figure is in
percent:

- of the pairs of labels where enough pictures show both, and enough show A alone, the share of the
  first hits with A, without B, and with A and without B; the last also for those pairs where many
  of the pictures with A show B ("often");
- of the pairs where no picture shows both, how many of the first ten hits stay ("kept"): such a
  negative should change nearly nothing;
- of captions, with each label that their picture does not show as the negative: how often their
  picture stands in the first ten ("found"), the share of the first ten without B where B was among
  them, and how many of them stay where it was not.

"joint" asks whether a picture fits "A and B" better than "A", which can be said of texts only. The
last table raises the weight of the negative as built.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from searchx.encoder import load_encoder
from searchx.questions import embedded_texts
from searchx.ranked import HARMLESS, PENALTY
from searchx.ranking import ordered, standings
from searchx.records import Vectors

BOTH, ALONE = 20, 40  # pictures that a pair of labels needs
OFTEN: Final = 0.25  # of the pictures with A that show B
SAMPLE: Final = 2_000  # of the library, as in searchx.backdrops
CAPTIONS: Final = 300
BATCH: Final = 32  # texts
PENALTIES = (0.5, 0.75, 1.0, 1.5, 2.0)
THRESHOLDS = (0.0, 0.5, 0.75, 1.0, 1.5)
WEIGHTS = (0.25, 0.5, 1.0, 2.0, 4.0)

Numbers: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]
Pair: TypeAlias = tuple[int, int]  # labels: wanted, excluded


@dataclass(frozen=True, slots=True)
class Library:
    """Pictures, their captions and what they show."""

    images: Vectors  # (n, dim)
    captions: Vectors  # (n, dim)
    sample: NDArray[np.int64]  # positions
    labels: tuple[str, ...]
    shown: Mask  # (labels, n)

    def cosines(self, vector: Vectors) -> Numbers:
        return (self.images @ vector).astype(np.float64)

    def standing(self, scores: Numbers) -> Numbers:
        return standings(scores, scores[self.sample])


@dataclass(frozen=True, slots=True)
class Asked:
    """One query with one negative, as every method sees it: (n,) each."""

    wanted: Numbers  # cosines
    excluded: Numbers  # cosines
    wanted_standing: Numbers
    excluded_standing: Numbers
    joint_standing: Numbers | None = None  # cosine to "A and B" less that to "A"


Method: TypeAlias = Callable[[Asked], Numbers]  # keys, (n,)


@dataclass(frozen=True, slots=True)
class Case:
    """A query with a negative, and what is true of it."""

    asked: Asked
    has_excluded: Mask  # (n,)
    has_wanted: Mask | None = None  # (n,); of a caption it is not known
    true: int = -1  # the picture of a caption


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("embeddings", type=Path)
    parser.add_argument("pairs", type=Path, nargs="+")
    parser.add_argument("--model", default="mini")
    given = parser.parse_args()
    library = library_of(given.embeddings, given.pairs)
    together = pairs_where(library, lambda both, alone: both >= BOTH and alone >= ALONE)
    apart = pairs_where(library, lambda both, alone: both == 0)
    cases = label_cases(library, [*together, *apart], given.model)
    related, unrelated = cases[: len(together)], cases[len(together) :]
    described = list(caption_cases(library, given.model))
    often = sum(is_often(case) for case in related)
    print(f"{len(library.images)} pictures; pairs: {len(related)}, often together {often}, never")
    print(f"{len(unrelated)}; captions with a negative: {len(described)}\n")
    titles = "@10: A  not B   both | @20: A  not B   both | often @10    @20 |  kept"
    print(" " * 26 + titles + " | found  not B   kept")
    for name, method in METHODS.items():
        first = [*labels_row(related, method), kept(unrelated, method)]
        rest = [] if name.startswith("joint") else captions_row(described, method)
        print(f"{name:26}" + "".join(f"{100 * one:7.1f}" for one in [*first, *rest]), flush=True)
    weights(related)


def ours(penalty: float, harmless: float, weight: float = 1.0) -> Method:
    def keys(asked: Asked) -> Numbers:
        above = np.maximum(asked.excluded_standing - harmless, 0)
        return asked.wanted_standing - weight * penalty * above

    return keys


def less(weight: float) -> Method:
    """Order by the vector of A less so much of that of B; its length does not matter."""

    def keys(asked: Asked) -> Numbers:
        return asked.wanted - weight * asked.excluded

    return keys


def against_wanted(penalty: float, ahead: float) -> Method:
    """Lower what stands higher to B than to A, less so much."""

    def keys(asked: Asked) -> Numbers:
        above = asked.excluded_standing - asked.wanted_standing - ahead
        return asked.wanted_standing - penalty * np.maximum(above, 0)

    return keys


def unexplained(penalty: float, harmless: float) -> Method:
    """Lower by the part of the standing to B that the standing to A does not foretell."""

    def keys(asked: Asked) -> Numbers:
        alike = float(np.corrcoef(asked.wanted, asked.excluded)[0, 1])
        rest = asked.excluded_standing - alike * asked.wanted_standing
        above = rest / np.sqrt(max(1 - alike**2, 1e-9)) - harmless
        return np.asarray(asked.wanted_standing - penalty * np.maximum(above, 0))

    return keys


def joint(penalty: float, harmless: float, base: Method) -> Method:
    def keys(asked: Asked) -> Numbers:
        assert asked.joint_standing is not None
        return base(asked) - penalty * np.maximum(asked.joint_standing - harmless, 0)

    return keys


def plain(asked: Asked) -> Numbers:
    return asked.wanted_standing


AS_BUILT = ours(PENALTY, HARMLESS)
METHODS: dict[str, Method] = {
    "ignored": plain,
    **{f"vector less {weight}": less(weight) for weight in (0.3, 0.5, 1.0)},
    **{f"ours {p} from {h}": ours(p, h) for p in PENALTIES for h in THRESHOLDS},
    **{f"against A {p} from {h}": against_wanted(p, h) for p in (0.75, 2.0) for h in (-3, -2, -1)},
    **{f"unexplained {p} from {h}": unexplained(p, h) for p in (0.75, 2.0) for h in (0, 0.5)},
    **{f"joint {p} from {h}": joint(p, h, plain) for p in (1.0, 2.0) for h in (-1, -0.5)},
    **{f"joint+ours {p} from {h}": joint(p, h, AS_BUILT) for p in (1.0, 2.0) for h in (-1, -0.5)},
    f"BUILT {PENALTY} from {HARMLESS}": AS_BUILT,
}


def labels_row(cases: Sequence[Case], method: Method) -> list[float]:
    shares = np.array(
        [[*shares_of(case, method, 10), *shares_of(case, method, 20)] for case in cases]
    )
    often = np.array([is_often(case) for case in cases])
    return [*shares.mean(0).tolist(), *shares[often][:, [2, 5]].mean(0).tolist()]


def shares_of(case: Case, method: Method, count: int) -> tuple[float, float, float]:
    """Give the share of the first hits with A, without B, and with A without B."""
    assert case.has_wanted is not None
    hits = first(method(case.asked), count)
    wanted, clear = case.has_wanted[hits], ~case.has_excluded[hits]
    return float(wanted.mean()), float(clear.mean()), float((wanted & clear).mean())


def kept(cases: Sequence[Case], method: Method) -> float:
    """Give the share of the first ten that a negative leaves there."""
    same = [
        np.isin(first(plain(case.asked), 10), first(method(case.asked), 10)).mean()
        for case in cases
    ]
    return float(np.mean(same))


def captions_row(cases: Sequence[Case], method: Method) -> list[float]:
    found, clear, clean = [], [], []
    for case in cases:
        keys = method(case.asked)
        hits = first(keys, 10)
        found.append(case.true in hits)
        if case.has_excluded[first(plain(case.asked), 10)].any():
            clear.append(1 - case.has_excluded[hits].mean())
        else:
            clean.append(case)
    return [float(np.mean(found)), float(np.mean(clear)), kept(clean, method)]


def weights(cases: Sequence[Case]) -> None:
    """Print what a growing weight does; a step that matches B more than the one before is wrong."""
    print("\nweight, as built: not B @20; mean standing to B; pairs where the excess to B grew")
    before = np.full(len(cases), np.inf)
    for weight in (0.0, *WEIGHTS):
        method = ours(PENALTY, HARMLESS, weight)
        hits = [first(method(case.asked), 20) for case in cases]
        standing = [c.asked.excluded_standing[one] for c, one in zip(cases, hits, strict=True)]
        clear = np.mean([~c.has_excluded[one] for c, one in zip(cases, hits, strict=True)])
        excess = np.array([np.maximum(one - HARMLESS, 0).sum() for one in standing])
        grew = int((excess > before + 1e-9).sum())
        print(f"{weight:6} {100 * clear:7.1f} {np.mean(standing):7.2f} {grew:4}")
        before = excess


def first(keys: Numbers, count: int) -> NDArray[np.int64]:
    best = np.argpartition(-keys, count)[:count]
    return best[ordered(keys[best], best)]


def is_often(case: Case) -> bool:
    assert case.has_wanted is not None
    return bool(case.has_excluded[case.has_wanted].mean() >= OFTEN)


def library_of(folder: Path, places: Sequence[Path]) -> Library:
    import pyarrow.parquet

    held = [
        set(labels)
        for place in places
        for labels in pyarrow.parquet.read_table(place, columns=["labels"])["labels"].to_pylist()
    ]
    images, captions = (
        np.concatenate([np.load(folder / f"{place.stem}.{kind}.npy") for place in places])
        for kind in ("images", "captions")
    )
    names = tuple(sorted(set().union(*held)))
    return Library(
        images=images.astype(np.float32),
        captions=captions.astype(np.float32),
        sample=np.random.default_rng(0).permutation(len(images))[:SAMPLE],
        labels=names,
        shown=np.array([[name in one for one in held] for name in names]),
    )


def pairs_where(library: Library, fits: Callable[[int, int], bool]) -> list[Pair]:
    """Give the pairs by how many pictures show both and how many A alone."""
    count = len(library.labels)
    return [
        (a, b)
        for a in range(count)
        for b in range(count)
        if a != b
        and fits(
            int((library.shown[a] & library.shown[b]).sum()),
            int((library.shown[a] & ~library.shown[b]).sum()),
        )
    ]


def label_cases(library: Library, pairs: Sequence[Pair], model: str) -> list[Case]:
    names = library.labels
    single = [asked_alone(library, row) for row in embedded(model, names)]
    both = embedded(model, [f"{names[a]} and {names[b]}" for a, b in pairs])
    cases = []
    for (a, b), row in zip(pairs, both, strict=True):
        wanted, excluded = single[a], single[b]
        asked = replace(
            wanted,
            excluded=excluded.wanted,
            excluded_standing=excluded.wanted_standing,
            joint_standing=library.standing(library.cosines(row) - wanted.wanted),
        )
        cases.append(Case(asked, library.shown[b], library.shown[a]))
    return cases


def caption_cases(library: Library, model: str) -> Iterator[Case]:
    """Ask captions, each with every label that its picture does not show."""
    negatives = [asked_alone(library, row) for row in embedded(model, library.labels)]
    for true in np.random.default_rng(0).permutation(len(library.images))[:CAPTIONS].tolist():
        wanted = asked_alone(library, library.captions[true])
        for label, negative in enumerate(negatives):
            if not library.shown[label, true]:
                asked = replace(
                    wanted,
                    excluded=negative.wanted,
                    excluded_standing=negative.wanted_standing,
                )
                yield Case(asked, library.shown[label], true=true)


def asked_alone(library: Library, vector: Vectors) -> Asked:
    scores = library.cosines(vector)
    standing = library.standing(scores)
    return Asked(scores, np.zeros_like(scores), standing, np.zeros_like(scores))


def embedded(model: str, texts: Sequence[str]) -> Vectors:
    """Embed texts as they are when people type them."""
    encoder = load_encoder(model, "cpu", print)
    starts = range(0, len(texts), BATCH)
    return np.concatenate([embedded_texts(encoder, texts[one : one + BATCH]) for one in starts])


if __name__ == "__main__":
    main()
