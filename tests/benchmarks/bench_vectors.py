"""Exact search against IVF-PQ with re-rank: recall@10, latency, time to build.

``python -m tests.benchmarks.bench_vectors [COUNT ...]``
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from searchx.records import Rows, Vectors
from searchx.vectors import Found, Halves, Origin, Snapshot, build

DIM = 512
K = 10
QUERIES = 200
NONE = np.empty(0, np.int64)


def clustered(count: int, seed: int) -> Vectors:
    """Make unit rows around common centres, about a hundred to one, in two hundred clusters."""
    centres = np.random.default_rng(0).normal(size=(max(20, count // 100), DIM))
    random = np.random.default_rng(seed)
    rows = np.empty((count, DIM), np.float32)
    for start in range(0, count, 10_000):
        size = min(10_000, count - start)
        own = centres[random.integers(len(centres), size=size)]
        block = own + 0.7 * random.normal(size=(size, DIM))
        rows[start : start + size] = block / np.linalg.norm(block, axis=1, keepdims=True)
    return rows


def one_by_one(snapshot: Snapshot, queries: Vectors) -> tuple[Found, list[float]]:
    """Ask every query alone, as a person does; gives milliseconds too."""
    found, milliseconds = [], []
    for at in range(len(queries)):
        started = time.perf_counter()
        found.append(snapshot.search(queries[at : at + 1], K, NONE))
        milliseconds.append(1000 * (time.perf_counter() - started))
    ids = np.concatenate([one[0] for one in found])
    return (ids, np.concatenate([one[1] for one in found])), milliseconds


def timed_build(place: Path, vectors: Halves, exact_below: int) -> tuple[Snapshot, float]:
    started = time.perf_counter()
    ids = np.arange(1, len(vectors) + 1)
    rows = Rows(len(vectors), DIM, iter([(ids, vectors)]))
    snapshot = build(place, rows, "image", Origin("a", "bench", 1, 0), exact_below)
    return snapshot, time.perf_counter() - started


def main(counts: list[int]) -> None:
    print(f"{QUERIES} queries one by one, {DIM} dimensions, recall@{K} against exact search")
    print(
        f"{'vectors':>9} {'index':>16} {'nprobe':>6} {'build s':>8} {'recall':>7} {'p50 ms':>7} "
        f"{'p95 ms':>7}"
    )
    for count in counts:
        vectors = clustered(count, seed=1).astype(np.float16)
        queries = clustered(QUERIES, seed=2)
        truth = None
        for exact_below in (count + 1, 0):
            with tempfile.TemporaryDirectory() as place:
                snapshot, seconds = timed_build(Path(place), vectors, exact_below)
                (ids, _), milliseconds = one_by_one(snapshot, queries)
            truth = ids if truth is None else truth
            pairs = zip(ids.tolist(), truth.tolist(), strict=True)
            recall = np.mean([len(set(one) & set(other)) / K for one, other in pairs])
            middle, most = np.percentile(milliseconds, [50, 95])
            about = snapshot.manifest
            print(
                f"{count:>9,} {about.factory:>16} {about.nprobe:>6} {seconds:>8.1f} "
                f"{recall:>7.3f} {middle:>7.1f} {most:>7.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main([int(one) for one in sys.argv[1:]] or [20_000, 50_000, 200_000])
