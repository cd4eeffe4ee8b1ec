"""How long a library takes to be divided into clusters, and its near duplicates to be found.

``python -m tests.benchmarks.bench_explore [--items 1000000] [--compared 100000] [--folder DIR]``

The vectors are made up: 512 numbers, of which the first vary as those of a real encoder do (the
k-th direction by 1/sqrt(k)), around 2,000 middles; one in twenty is a copy of another one with a
little noise. They lie in a snapshot in the folder, which needs 1 GB for a million, and are read as
the page reads them. No model and no catalog: the names and the pictures of clusters cost a few
milliseconds each.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from searchx import vectors
from searchx.catalog import Version
from searchx.clusters import divide
from searchx.copies import leaders
from searchx.records import Ids, Rows, Vectors
from searchx.vectors import Halves, Origin, Scan
from searchx.views import View

DIM = 512
MIDDLES = 2_000
BLOCK = 10_000
THRESHOLD = 0.95


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--compared", type=int, default=100_000)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as place:
        view = made(Path(place), asked.items)
        before = peak()
        began, cpu = time.perf_counter(), time.process_time()
        ids, level = view.ids, 0
        while groups := divide(ids, view.blocks):
            seconds, busy = time.perf_counter() - began, time.process_time() - cpu
            sizes = [len(one.ids) for one in groups]
            print(
                f"level {level}: {len(ids):,} items into {sizes}: {seconds:.2f} s "
                f"({busy:.2f} s of processor)"
            )
            ids, level = groups[0].ids, level + 1
            began, cpu = time.perf_counter(), time.process_time()
        print(f"memory besides the snapshot's own pages: {peak() - before:,} MB")
        some = view.ids[: asked.compared]
        began, cpu = time.perf_counter(), time.process_time()
        firsts = leaders(some, view.rows, THRESHOLD)
        found = int((firsts != np.arange(len(some))).sum())
        seconds, busy = time.perf_counter() - began, time.process_time() - cpu
        print(
            f"near duplicates among {len(some):,}: {found:,} in {seconds:.1f} s "
            f"({busy:.1f} s of processor)"
        )


def made(place: Path, count: int) -> View:
    """Build a snapshot of made-up vectors, and a view of it."""
    origin = Origin("benchmark", "benchmark", count, 0)
    rows = Rows(count, DIM, blocks(count))
    snapshot = vectors.build(place, rows, "image", origin, index_from=count + 1)
    empty = np.empty(0, np.int64)
    tail = Scan(empty, np.empty((0, DIM), np.float16))
    version = Version("benchmark", count, 0)
    return View("image", version, snapshot.directory, snapshot, empty, tail)


def blocks(count: int) -> Iterator[tuple[Ids, Halves]]:
    random = np.random.default_rng(0)
    spread = (1 / np.sqrt(np.arange(1, DIM + 1))).astype(np.float32)
    middles = random.normal(size=(MIDDLES, DIM)).astype(np.float32) * spread
    for start in range(0, count, BLOCK):
        size = min(BLOCK, count - start)
        apart = random.normal(size=(size, DIM)).astype(np.float32) * spread
        rows = middles[random.integers(0, MIDDLES, size)] + 0.7 * apart
        rows[:, 0] += 3  # what all have in common
        copies = size // 20
        rows[-copies:] = rows[:copies] + 0.02 * rows[copies : 2 * copies]
        ids = np.arange(start + 1, start + size + 1, dtype=np.int64)
        yield ids, unit(rows).astype(np.float16)


def unit(rows: Vectors) -> Vectors:
    found: Vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return found


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()
