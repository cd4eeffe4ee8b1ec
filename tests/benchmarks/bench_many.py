"""Many queries and many users in one call, beside a bare FAISS loop and an exact one in NumPy.

    python -m tests.benchmarks.bench_many EMBEDDINGS PLACE [--counts 100000 1000000] [--users 8192]
        [--queries 4096] [--whole 100000]

EMBEDDINGS is what tests.benchmarks.embeddings writes. The real rows are extended to each count
(tests.benchmarks.geometry), and built once under PLACE as the snapshot of a library whose catalog
is empty: nothing here asks it for items. Queries are real captions; a user has clicked on some 6 to
30 items around two. Beside each other in one run, in calls of 1,024:

- the same index in a bare loop, at the same effort: candidates by their codes, and nothing else;
- the same with the rows of the candidates read and compared exactly by FAISS itself (IndexRefine),
  which is the same work as searchx does, with all rows in memory;
- exact search in NumPy;
- searchx.

Rates are told by the clock and by the processor, as other work on a machine changes the first.
"""

import argparse
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from searchx import vectors
from searchx.catalog import Catalog
from searchx.ragged import Ragged
from searchx.records import Ids, Rows, Space, Vectors
from searchx.search import Library
from searchx.vectors import Halves, Snapshot, tuning
from searchx.views import SNAPSHOTS
from tests.benchmarks.geometry import Material, Method, extend, read, unit

K = 10
CALL = 1_024  # queries or users of one call
EXACT = 256  # that the exact loop is timed on: it takes long
HEADING = f"| {'':34} | each second | each second of a processor | recall@10 |"


@dataclass(frozen=True, slots=True)
class Timed:
    """What one way took."""

    wall: float
    processor: float
    ids: Ids


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("embeddings", type=Path)
    parser.add_argument("place", type=Path)
    parser.add_argument("--counts", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--queries", type=int, default=4_096)
    parser.add_argument("--users", type=int, default=4_096)
    parser.add_argument("--whole", type=int, default=0, help="users of one call, to see memory")
    asked = parser.parse_args()
    material = read(asked.embeddings)
    for count in asked.counts:
        with library_of(asked.place / str(count), material, count) as library:
            snapshot = library._view("image").snapshot
            assert snapshot is not None
            assert snapshot.made is not None
            print(f"\n{count:,} items, {snapshot.manifest.factory}, k = {K}, calls of {CALL}")
            search(library, snapshot, queries_of(material, asked.queries))
            recommend(library, snapshot, asked.users)
            if asked.whole:
                whole(library, asked.whole)


def library_of(place: Path, material: Material, count: int) -> Library:
    """Open the library of so many rows, built where it is not there yet."""
    catalog = Catalog.open(place, create=True)
    dim = material.images.shape[1]
    if vectors.newest(place / SNAPSHOTS, "image") is None:
        with catalog.writing() as tx:
            tx.claim_space(Space("mini", "simulated", dim))
        version = catalog.version()
        origin = vectors.Origin(version.library, "simulated", version.added, version.removed)
        (place / SNAPSHOTS).mkdir(exist_ok=True)
        tuned = {"text": material.tuning, "image": material.pictures}
        began = time.perf_counter()
        rows = Rows(count, dim, numbered(extend(material.images, count, Method())))
        vectors.build(place / SNAPSHOTS, rows, "image", origin, queries=tuned)
        print(f"{count:,} items made and built in {time.perf_counter() - began:.0f} s", flush=True)
    return Library(catalog)


def numbered(blocks: Iterator[Halves]) -> Iterator[tuple[Ids, Halves]]:
    start = 0
    for block in blocks:
        yield np.arange(start, start + len(block)), block.astype(np.float16)
        start += len(block)


def queries_of(material: Material, count: int) -> Vectors:
    """Give real captions; where there are too few, some lie between two."""
    random = np.random.default_rng(0)
    texts = np.concatenate([material.texts, material.strangers])
    one, other = texts[random.integers(len(texts), size=(2, count))]
    between = unit(one + 0.5 * random.random((count, 1)).astype(np.float32) * other)
    return np.concatenate([texts, between])[:count]


def search(library: Library, snapshot: Snapshot, queries: Vectors) -> None:
    matrix = snapshot.matrix
    effort = tuning.deepened(snapshot.manifest.effort("text"), K, snapshot.made.list_count)  # type: ignore[union-attr]
    print(f"\nsearch_batch, {len(queries):,} queries, nprobe {effort.nprobe}, depth {effort.depth}")
    bare, refined = loops(snapshot, effort.nprobe, effort.depth, K)
    exact = timed(lambda: in_calls(lambda rows: plain(matrix, rows, K), queries[:EXACT]))
    ways: dict[str, Callable[[Vectors], Ids]] = {
        "bare FAISS, codes only": bare,
        "bare FAISS, refined": refined,
        "searchx, search_batch": lambda rows: library.search_batch(rows, K)[0],
    }
    print(HEADING)
    for name, way in ways.items():
        way(queries[:32])  # what is loaded once
        told(name, timed(lambda way=way: in_calls(way, queries)), len(queries), exact.ids)  # type: ignore[misc]
    told("NumPy, exact", exact, EXACT, exact.ids)


def recommend(library: Library, snapshot: Snapshot, users: int) -> None:
    matrix = snapshot.matrix
    near = clicks(library, matrix, users)
    lists = Ragged.of(near)
    width = 32
    depth = 64  # what of K and so many clicks makes with what is seen already
    effort = tuning.deepened(snapshot.manifest.effort("image"), depth, snapshot.made.list_count)  # type: ignore[union-attr]
    print(f"\nrecommend_batch, {users:,} users, nprobe {effort.nprobe}, depth {effort.depth}")
    bare, refined = loops(snapshot, effort.nprobe, effort.depth, depth)

    def means(start: int, stop: int) -> Vectors:
        rows = [matrix[one].astype(np.float32).mean(axis=0) for one in near[start:stop]]
        return unit(np.stack(rows))

    def unseen(found: Ids, start: int) -> Ids:
        lists = np.full((len(found), K), -1, np.int64)
        for row, ids in enumerate(found):
            left = ids[~np.isin(ids, near[start + row])][:K]
            lists[row, : len(left)] = left
        return lists

    def loop(way: Callable[[Vectors], Ids], count: int = users) -> Ids:
        starts = range(0, count, CALL)
        return np.concatenate([unseen(way(means(at, min(at + CALL, count))), at) for at in starts])

    exact = timed(lambda: loop(lambda rows: plain(matrix, rows, K + width), EXACT))
    ways: dict[str, Callable[[], Ids]] = {
        "bare FAISS, codes only, one mean": lambda: loop(bare),
        "bare FAISS, refined, one mean": lambda: loop(refined),
        "searchx, one mean": lambda: library.recommend_batch(lists, k=K, interests=1).ids,
        "searchx, up to 4 interests": lambda: library.recommend_batch(lists, k=K).ids,
    }
    library.recommend_batch(lists.part(0, 8), k=K)  # what is loaded once
    print(HEADING)
    for name, run in ways.items():
        told(name, timed(run), users, exact.ids if "one mean" in name else None)
    told("NumPy, exact, one mean", exact, EXACT, exact.ids)


def whole(library: Library, users: int) -> None:
    """Recommend to many in one call, and tell how much more memory it takes."""
    snapshot = library._view("image").snapshot
    assert snapshot is not None
    near = clicks(library, snapshot.matrix, 1_024)
    lists = Ragged.of([near[one % len(near)] for one in range(users)])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    made = timed(lambda: library.recommend_batch(lists, k=K).ids)
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"\n{users:,} users in one call: {made.wall:.0f} s, {users / made.wall:,.0f} users/s, ")
    print(
        f"{made.processor / made.wall:.2f} cores at work, {more:,.0f} MB above what was used before"
    )


def clicks(library: Library, matrix: Halves, users: int) -> list[Ids]:
    """Let histories be of two subjects each: what lies around two items."""
    random = np.random.default_rng(2)
    seeds = random.integers(0, len(matrix), (users, 2))
    found = library.search_batch(matrix[seeds.ravel()].astype(np.float32), 16)[0]
    counts = random.integers(3, 16, users)
    return [
        np.unique(found[2 * user : 2 * user + 2, : counts[user]].ravel()) for user in range(users)
    ]


def loops(
    snapshot: Snapshot, nprobe: int, depth: int, k: int
) -> tuple[Callable[[Vectors], Ids], Callable[[Vectors], Ids]]:
    """Give FAISS alone: the same index, and the same with its candidates ranked exactly."""
    index: Any = snapshot.made.index  # type: ignore[union-attr]
    dim = snapshot.manifest.dim
    store: Any = faiss.IndexScalarQuantizer(
        dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    )
    for start in range(0, len(snapshot.matrix), 16_384):
        block = np.ascontiguousarray(snapshot.matrix[start : start + 16_384])
        store.add_sa_codes(block.view(np.uint8))
    settings: Any = faiss.SearchParametersIVF()
    settings.nprobe = nprobe

    def bare(rows: Vectors) -> Ids:
        found: Ids = index.search(rows, k, params=settings)[1]
        return found

    both: Any = faiss.IndexRefine(index, store)  # ids are places here
    deeper: Any = faiss.IndexRefineSearchParameters()
    deeper.k_factor, deeper.base_index_params = depth / k, settings

    def refined(rows: Vectors) -> Ids:
        found: Ids = both.search(rows, k, params=deeper)[1]
        return found

    return bare, refined


def plain(matrix: Halves, queries: Vectors, k: int) -> Ids:
    """Compare all queries with all rows, as one would in NumPy."""
    ids = np.empty((len(queries), 0), np.int64)
    scores = np.empty((len(queries), 0), np.float32)
    for start in range(0, len(matrix), 65_536):
        block = queries @ matrix[start : start + 65_536].astype(np.float32).T
        best = np.argpartition(-block, k, axis=1)[:, :k]
        ids = np.concatenate([ids, best + start], axis=1)
        scores = np.concatenate([scores, np.take_along_axis(block, best, 1)], axis=1)
    order = np.argsort(-scores, axis=1)[:, :k]
    found: Ids = np.take_along_axis(ids, order, 1)
    return found


def in_calls(way: Callable[[Vectors], Ids], queries: Vectors) -> Ids:
    return np.concatenate(
        [way(queries[at : at + CALL])[:, :K] for at in range(0, len(queries), CALL)]
    )


def timed(work: Callable[[], Ids]) -> Timed:
    began, spent = time.perf_counter(), time.process_time()
    ids = work()
    return Timed(time.perf_counter() - began, time.process_time() - spent, ids)


def told(name: str, one: Timed, count: int, truth: Ids | None) -> None:
    recall = "-"
    if truth is not None:
        pairs = zip(one.ids, truth, strict=False)
        recall = f"{np.mean([len(np.intersect1d(a, b)) / K for a, b in pairs]):.3f}"
    rates = f"{count / one.wall:11,.0f} | {count / one.processor:26,.0f}"
    print(f"| {name:34} | {rates} | {recall:9} |", flush=True)


if __name__ == "__main__":
    main()
