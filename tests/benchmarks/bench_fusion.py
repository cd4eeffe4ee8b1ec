"""Vectors and words together: our order beside each alone, reciprocal rank fusion and others.

``python -m tests.benchmarks.bench_fusion EMBEDDINGS PAIRS.parquet [PAIRS.parquet ...]``

EMBEDDINGS is what ``tests.benchmarks.embeddings`` wrote, and holds the vectors of PAIRS. Each
condition gives the same pictures other words and asks for them again: what stands in PAIRS, what
says nothing, and what misleads. Mean reciprocal rank and recall@10 of the true picture (the best
of them where several have the same title), in percent.
"""

import argparse
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from searchx.ranking import diversify, fused, ordered, standings
from searchx.records import Vectors

QUERIES = 600
SMALL = ("a", "the", "on", "of", "in", "with", "to", "and", "is", "at")
Numbers: TypeAlias = NDArray[np.float64]
Method: TypeAlias = Callable[[Numbers, Numbers, Numbers], Numbers]  # cosines, shares, BM25


@dataclass(frozen=True, slots=True)
class Condition:
    title: str
    vectors: Vectors  # of the pictures, (n, dim)
    asked: Vectors  # (q, dim)
    texts: Sequence[str]  # the same queries in words
    words: Sequence[str]  # of the pictures
    true: Sequence[Sequence[int]]  # positions


class Words:
    """What stands with the pictures, in FTS5; every word is asked for once."""

    def __init__(self, words: Sequence[str]) -> None:
        self._count = len(words)
        self._table = sqlite3.connect(":memory:")
        self._table.execute("create virtual table words using fts5(text, tokenize=porter)")
        self._table.executemany("insert into words(rowid, text) values (?, ?)", enumerate(words))
        self._word = cache(self._look_up)

    def ask(self, text: str) -> tuple[Numbers, Numbers]:
        """Give share and BM25 of every picture, both (n,)."""
        shares, scores, all_of_it = np.zeros(self._count), np.zeros(self._count), 0.0
        for word in dict.fromkeys(re.findall(r"\w+", text.lower())):
            rows, values, rarity = self._word(word)
            scores[rows] += values
            shares[rows] += rarity
            all_of_it += rarity
        return shares / max(all_of_it, 1e-9), scores

    def _look_up(self, word: str) -> tuple[NDArray[np.int64], Numbers, float]:
        asked = "select rowid, -bm25(words) from words where words match ?"
        found = self._table.execute(asked, (f'"{word}"',)).fetchall()
        rows, values = [row for row, _ in found], [value for _, value in found]
        rarity = np.log(1 + (self._count - len(rows) + 0.5) / (len(rows) + 0.5))
        return np.array(rows, np.int64), np.array(values, np.float64), float(rarity)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("embeddings", type=Path)
    parser.add_argument("pairs", type=Path, nargs="+")
    asked = parser.parse_args()
    for place in asked.pairs:
        everything = list(conditions(asked.embeddings, place))
        print(f"{place.stem}: {len(everything[0].vectors)} pictures; MRR and recall@10 in percent")
        print(" " * 34 + "".join(f"{name:>15}" for name in METHODS), flush=True)
        for condition in everything:
            found = measured(condition)
            cells = "".join(f"{f'{100 * m:.1f} / {100 * r:.1f}':>15}" for m, r in found)
            print(f"{condition.title:34}{cells}", flush=True)
        diversity(everything[0])


def measured(condition: Condition) -> list[tuple[float, float]]:
    words = Words(condition.words)
    ranks: list[list[int]] = [[] for _ in METHODS]
    for vector, text, true in zip(condition.asked, condition.texts, condition.true, strict=True):
        cosines = (condition.vectors @ vector).astype(np.float64)
        shares, scores = words.ask(text)
        for method, own in zip(METHODS.values(), ranks, strict=True):
            keys = method(cosines, shares, scores)
            best = keys[list(true)].max()
            own.append(int((keys >= best).sum() - (keys[list(true)] >= best).sum() + 1))
    results = [np.array(own) for own in ranks]
    return [(float((1 / own).mean()), float((own <= 10).mean())) for own in results]


def ours(trust: float) -> Method:
    def keys(cosines: Numbers, shares: Numbers, scores: Numbers) -> Numbers:
        none = np.zeros(len(cosines), bool)
        return fused(standings(cosines, cosines), shares, scores, none, trust)

    return keys


def by_ranks(cosines: Numbers, shares: Numbers, scores: Numbers) -> Numbers:
    """Reciprocal rank fusion with k = 60 (Cormack, Clarke and Büttcher, 2009)."""
    keys = np.zeros(len(cosines))
    for one, found in ((cosines, len(cosines)), (scores, int((scores > 0).sum()))):
        order = np.argsort(-one, kind="stable")[:found]
        keys[order] += 1 / (60 + 1 + np.arange(found))
    return keys


def convex(weight: float) -> Method:
    """Min-max scaled scores of the list, so much of them by words (Bruch et al., 2023)."""

    def keys(cosines: Numbers, shares: Numbers, scores: Numbers) -> Numbers:
        scaled = (cosines - cosines.min()) / np.ptp(cosines)
        words = scores / max(float(scores.max()), 1e-9)
        return np.asarray((1 - weight) * scaled + weight * words)

    return keys


METHODS: dict[str, Method] = {
    "vectors": lambda cosines, shares, scores: cosines,
    "words": lambda cosines, shares, scores: scores + 1e-6 * cosines,
    "RRF 60": by_ranks,
    "min-max 0.2": convex(0.2),
    "min-max 0.5": convex(0.5),
    "ours": ours(1),
    "ours, no trust": ours(0),
}


def conditions(folder: Path, place: Path) -> Iterator[Condition]:
    import pyarrow.parquet

    rows = pyarrow.parquet.read_table(place, columns=["captions", "labels"]).to_pylist()
    vectors, captions = (
        np.load(folder / f"{place.stem}.{kind}.npy").astype(np.float32)
        for kind in ("images", "captions")
    )
    random = np.random.default_rng(0)
    first = [row["captions"][0].replace("_", " ") for row in rows]
    same: dict[str, list[int]] = {}
    for position, text in enumerate(first):
        same.setdefault(text.lower(), []).append(position)
    few = [positions for positions in same.values() if len(positions) <= 3]
    true = [few[one] for one in random.permutation(len(few))[:QUERIES]]
    own = [positions[0] for positions in true]

    def condition(title: str, words: Sequence[str]) -> Condition:
        return Condition(title, vectors, captions[own], [first[one] for one in own], words, true)

    labels = [" ".join(row["labels"]) for row in rows]
    shuffled = random.permutation(len(rows))
    if any(len(row["captions"]) > 1 for row in rows):
        rest = [" ".join(row["captions"][1:]) for row in rows]
        yield condition("description and keywords", rest)
    yield condition("labels", labels)
    yield condition("two words of a third", [some_words(text, random) for text in first])
    yield condition("the query itself, on half", [t if n % 2 else "" for n, t in enumerate(first)])
    yield condition("numbers as names", [f"{number:09} jpg" for number in range(len(rows))])
    yield condition("small words and numbers", [small_words(random) for _ in rows])
    yield condition("labels of others", [labels[one] for one in shuffled])
    yield condition("captions of others", [first[one] for one in shuffled])


def some_words(text: str, random: np.random.Generator) -> str:
    words = re.findall(r"[a-z]{4,}", text.lower())
    return " ".join(random.permutation(words)[:2]) if random.random() < 1 / 3 else ""


def small_words(random: np.random.Generator) -> str:
    return " ".join([*random.permutation(SMALL)[:3], "1"])


def diversity(condition: Condition) -> None:
    """Print what more variety costs: mean cosine within ten hits, and mean cosine to the query."""
    print("diversity among 200 candidates:  cosine within the ten  cosine to the query, of first's")
    for strength in (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0):
        within, kept = [], []
        for vector in condition.asked[:200]:
            cosines: NDArray[Any] = condition.vectors @ vector
            keys = standings(cosines, cosines)
            best = ordered(keys, np.arange(len(keys)))[:200]
            chosen = best[diversify(condition.vectors[best], keys[best], 10, strength)]
            rows = condition.vectors[chosen]
            within.append((float((rows @ rows.T).sum()) - 10) / 90)
            kept.append(float(cosines[chosen].mean() / cosines[best[0]]))
        print(f"{strength:31} {np.mean(within):23.3f} {np.mean(kept):20.3f}", flush=True)


if __name__ == "__main__":
    main()
