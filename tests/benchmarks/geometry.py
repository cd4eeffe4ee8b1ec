"""Extend the embeddings of real pictures to more of them, and check that they still look real.

``python -m tests.benchmarks.geometry EMBEDDINGS [--factor 27] [--rows N]``

The method is a smoothed bootstrap with local covariance. A new row is made from a real one and its
nearest real rows: their mean, plus `KEPT` of the way from it to the real row, plus `SPREAD`
standard deviations of those neighbours in random directions of their own span, made unit again. How
many neighbours is drawn anew for every few rows, about `NEIGHBOURS`: some new rows lie close, some
stand apart, as pictures do. So a row lies where real pictures lie, on the image side of the
modality gap, and as far from other rows as pictures are there.

What cannot be seen directly (a million real pictures) is seen one step smaller: of n real rows a
1 / factor part is extended back to n and compared with all n. The same factor leads from the real
rows to a million. The texts are real on both sides and belong to none of the pictures; real rows
that the method never saw stand against as many made ones. What no such method can give is new
subjects: the best image of a text is a little less like it than the best of as many real ones.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

import faiss
import numpy as np
from numpy.typing import NDArray

from searchx.records import Vectors
from searchx.vectors import Halves

NEIGHBOURS = 24  # in the middle
KEPT = 0.6
SPREAD = 1.2
UNEVEN = 0.7  # standard deviation of the logarithm of the number of neighbours
FEWEST, MOST = 4, 192  # neighbours
BLOCK = 64  # rows made at a time, from as many neighbours
HELD = 1000  # real pictures that are asked for and never searched
ASKED = 1000  # texts that are asked for
PROBES = 2000  # rows whose neighbourhood is looked at
AROUND = 20  # neighbours that the local dimension is estimated from
Floats: TypeAlias = NDArray[np.float32]
Places: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Method:
    """How new rows are made."""

    neighbours: int = NEIGHBOURS
    kept: float = KEPT
    spread: float = SPREAD
    uneven: float = UNEVEN


@dataclass(frozen=True, slots=True)
class Material:
    """The real embeddings of a directory (tests.benchmarks.embeddings writes it), by their use."""

    images: Vectors  # (n, d) what is extended and searched
    pictures: Vectors  # (HELD, d) real images held out of it: image queries
    texts: Vectors  # (ASKED, d) text queries; a third are captions of pictures among the images
    tuning: Vectors  # (t, d) texts that an index may be tuned on, none of them a query
    strangers: Vectors  # (s, d) the text queries whose picture is not among the images


def read(directory: Path) -> Material:
    """Read the embeddings; the same directory gives the same rows in the same order."""
    found = sorted(directory.glob("*.images.npy"))
    if not found:
        raise SystemExit(
            f"{directory} holds no *.images.npy; run tests.benchmarks.embeddings first"
        )
    images = np.concatenate([unit(np.load(file)) for file in found])
    images = images[np.random.default_rng(0).permutation(len(images))]
    held = min(HELD, len(images) // 10)
    halves = [split(unit(np.load(file))) for file in sorted(directory.glob("*.texts.npy"))]
    strangers = interleaved([later for _, later in halves])
    captions = unit(np.load(directory / "coco-1k.captions.npy"))
    everyone = interleaved([captions, *(later for _, later in halves)])
    tuning = interleaved([earlier for earlier, _ in halves])
    return Material(images[held:], images[:held], everyone[:ASKED], tuning, strangers[:ASKED])


def split(texts: Vectors) -> tuple[Vectors, Vectors]:
    """Halve in the order of the file: several captions of one picture stand side by side."""
    return texts[: len(texts) // 2], texts[len(texts) // 2 :]


def interleaved(parts: Sequence[Vectors]) -> Vectors:
    """Take as many rows of each part as the shortest has, in turn, spread over the whole part."""
    least = min(len(one) for one in parts)
    chosen = [one[np.linspace(0, len(one) - 1, least).astype(np.int64)] for one in parts]
    return np.stack(chosen, axis=1).reshape(-1, parts[0].shape[1])


def unit(rows: NDArray[Any]) -> Vectors:
    floats = rows.astype(np.float32)
    lengths = np.linalg.norm(floats, axis=1, keepdims=True)
    return np.asarray(floats / np.maximum(lengths, 1e-12), np.float32)


def extend(real: Vectors, count: int, method: Method, seed: int = 0) -> Iterator[Halves]:
    """Give `count` rows in blocks: the real ones, scattered among rows made from them.

    Every real row is the origin of as many made ones as any other, give or take one. The same
    arguments give the same rows; a block needs no memory beyond its own and the real rows.
    """
    most = min(MOST, len(real) - 1)
    around = nearest(real, real, most + 1)[1][:, 1:].astype(np.int32)  # (n, most)
    order = np.random.default_rng(seed).permutation(count)  # below n: the real row itself
    for number, start in enumerate(range(0, count, BLOCK)):
        numbers = order[start : start + BLOCK]
        origins = numbers % len(real)
        random = np.random.default_rng([seed, number])
        drawn = method.neighbours * np.exp(method.uneven * random.standard_normal())
        size = int(np.clip(drawn, min(FEWEST, most), most))
        rows = made(real[origins], real[around[origins, :size]], method, random)
        is_real = numbers < len(real)
        rows[is_real] = real[numbers[is_real]]
        yield rows.astype(np.float16)


def made(
    origins: Vectors, neighbours: Floats, method: Method, random: np.random.Generator
) -> Vectors:
    """Make a row from each origin (b, d) and its neighbours (b, K, d)."""
    size = neighbours.shape[1]
    middle = neighbours.mean(axis=1)  # (b, d)
    weights = random.standard_normal((len(origins), 1, size), np.float32) / np.sqrt(size)
    noise = (weights @ neighbours)[:, 0] - weights.sum(axis=2) * middle  # (b, d)
    return unit(middle + method.kept * (origins - middle) + method.spread * noise)


def write(place: Path, real: Vectors, count: int, method: Method | None = None) -> None:
    """Write `count` rows as a float16 .npy file, some at a time."""
    shape = (count, real.shape[1])
    with place.open("wb") as file:
        header = {"descr": "<f2", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for rows in extend(real, count, method or Method()):
            file.write(rows.astype("<f2", copy=False).tobytes())


def nearest(queries: Vectors, rows: Vectors, k: int) -> tuple[Floats, Places]:
    """Compare exactly; gives cosines and places, best first."""
    index: Any = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    cosines, places = index.search(queries, min(k, len(rows)))
    return cosines, places


@dataclass(frozen=True, slots=True)
class Picture:
    """What a set of image rows looks like: samples by name, and single figures by name."""

    samples: dict[str, Floats]
    figures: dict[str, float]


def looks(rows: Vectors, fresh: Vectors, seeds: Vectors, texts: Vectors) -> Picture:
    """Describe a set; `fresh` are rows of it that are not among the seeds it was made from."""
    random = np.random.default_rng(1)
    probes = rows[random.permutation(len(rows))[:PROBES]]
    own, _ = nearest(probes, rows, AROUND + 1)
    best, truth = nearest(texts, rows, 10)
    pairs = texts[:, None] * rows[random.integers(len(rows), size=(len(texts), 20))]
    samples = {
        "nearest seed of a row that is none": nearest(fresh[:PROBES], seeds, 1)[0][:, 0],
        "nearest other row": own[:, 1],
        "10th nearest other row": own[:, 10],
        "local dimension (MLE, 20 neighbours)": local_dimension(own[:, 1:]),
        "text to any image": pairs.sum(axis=2).ravel(),
        "best image of a text": best[:, 0],
        "10th best image of a text": best[:, -1],
    }
    values = np.linalg.eigvalsh(np.cov(rows, rowvar=False).astype(np.float64))[::-1]
    figures = {
        "gap between the means of texts and images": float(
            np.linalg.norm(rows.mean(axis=0) - texts.mean(axis=0))
        ),
        "directions that carry variance (participation)": float(
            values.sum() ** 2 / (values**2).sum()
        ),
        "share of variance beyond 100 directions": float(values[100:].sum() / values.sum()),
        **recalls(rows, texts, truth),
    }
    return Picture(samples, figures)


def local_dimension(cosines: Floats) -> Floats:
    """Estimate by maximum likelihood (Levina and Bickel, 2005) from neighbours (p, k), best first.

    Rows that have a neighbour on the very spot are left out: they have no dimension.
    """
    far = np.sqrt(np.maximum(2 - 2 * cosines, 0))  # (p, k) distances of unit rows
    far = far[far[:, 0] > 1e-3]
    logs = np.log(far[:, -1:] / far[:, :-1])
    return np.asarray(1 / np.maximum(logs.mean(axis=1), 1e-6), np.float32)


def recalls(rows: Vectors, texts: Vectors, truth: Places) -> dict[str, float]:
    """Give recall@10 of the texts in one IVF-PQ index of one setting, at two efforts."""
    lists = max(1, int(np.sqrt(len(rows))))
    codes = rows.shape[1] // 8
    index: Any = faiss.index_factory(
        rows.shape[1], f"IVF{lists},PQ{codes}", faiss.METRIC_INNER_PRODUCT
    )
    index.cp.min_points_per_centroid = index.pq.cp.min_points_per_centroid = 1
    index.pq.cp.max_points_per_centroid = 64
    index.do_polysemous_training = False
    index.train(rows)
    index.add(rows)
    found = {}
    for share in (32, 8):
        settings = cast(Any, faiss.SearchParametersIVF)(nprobe=max(1, lists // share))
        for depth in (10, 100):
            _, places = index.search(texts, depth, params=settings)
            pairs = zip(places, truth, strict=True)
            hits = [len(set(one) & set(other)) / len(other) for one, other in pairs]
            name = f"text recall@10, IVF-PQ, 1/{share} of the lists, among the best {depth}"
            found[name] = float(np.mean(hits))
    return found


def difference(one: Floats, other: Floats) -> float:
    """Give the Kolmogorov-Smirnov statistic: the most that two distributions differ anywhere."""
    both = np.sort(np.concatenate([one, other]))
    shares = [np.searchsorted(np.sort(x), both, side="right") / len(x) for x in (one, other)]
    return float(np.abs(shares[0] - shares[1]).max())


def compared(images: Vectors, texts: Vectors, factor: float, method: Method) -> list[Picture]:
    """Describe all real rows, and a 1 / factor part of them extended to as many."""
    seeds = images[: int(len(images) / factor)]
    grown = np.concatenate(list(extend(seeds, len(images), method))).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(images))  # as in extend
    fresh = unit(grown)[order >= len(seeds)]
    return [looks(images, images[len(seeds) :], seeds, texts), looks(grown, fresh, seeds, texts)]


def show(real: Picture, grown: Picture) -> None:
    print(f"| {'measure':65} | {'real':>23} | {'extended':>23} | {'differ by':>9} |")
    print(f"|{'-' * 67}|{'-' * 24}:|{'-' * 24}:|{'-' * 10}:|")
    for name, sample in real.samples.items():
        other = grown.samples[name]
        differ = difference(sample, other)
        print(f"| {name:65} | {quantiles(sample):>23} | {quantiles(other):>23} | {differ:9.3f} |")
    for name, figure in real.figures.items():
        other_figure = grown.figures[name]
        ratio = other_figure / figure - 1
        print(f"| {name:65} | {figure:23.3f} | {other_figure:23.3f} | {ratio:+9.1%} |")


def quantiles(sample: Floats) -> str:
    return " ".join(f"{one:.3g}" for one in np.quantile(sample, [0.1, 0.5, 0.9]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("embeddings", type=Path)
    parser.add_argument("--factor", type=float, default=27, help="how far a part is extended")
    parser.add_argument("--rows", type=int, help="take only so many real rows")
    for name, value in (("kept", KEPT), ("spread", SPREAD), ("uneven", UNEVEN)):
        parser.add_argument(f"--{name}", type=float, default=value)
    parser.add_argument("--neighbours", type=int, default=NEIGHBOURS)
    asked = parser.parse_args()
    material = read(asked.embeddings)
    images = material.images[: asked.rows]
    method = Method(asked.neighbours, asked.kept, asked.spread, asked.uneven)
    print(f"{len(images):,} real rows; {int(len(images) / asked.factor):,} of them extended to it")
    print(f"{method}; 10, 50 and 90 % quantiles; samples differ by Kolmogorov-Smirnov\n")
    show(*compared(images, material.strangers, asked.factor, method))


if __name__ == "__main__":
    main()
