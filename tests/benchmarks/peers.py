"""The systems that `bench_engine` puts side by side: ours, exact search, and what others build.

Each one builds files from vectors, loads them, and answers; ids are numbers from 1. The packages
of the peers (hnswlib, usearch) are no part of searchx's own: a missing one is told and left out.
"""

import importlib
import importlib.util
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, TypeAlias, cast

import faiss
import numpy as np

from searchx import vectors as snapshots
from searchx.records import Ids, Rows, Vectors
from searchx.vectors import Found, Halves, Origin, Scan, Snapshot

READ = 16_384  # rows converted at a time
NONE = np.empty(0, np.int64)
POWERS = tuple(2**power for power in range(4, 15))
Blocks: TypeAlias = Iterator[tuple[Ids, Halves]]


class System(Protocol):
    """One way to search. An effort is its one knob of search time against recall."""

    needs: str  # the package that it cannot do without
    efforts: tuple[int, ...]  # rising; empty where there is no knob

    def build(self, place: Path, ids: Ids, vectors: Halves, texts: Vectors) -> None:
        """Write what is needed for searching into an empty directory; `texts` are for tuning."""

    def load(self, place: Path) -> int:
        """Load what was built; gives the effort it has by default, 0 where there is no knob."""

    def search(self, queries: Vectors, k: int, effort: int, threads: int) -> Found:
        """Give the k best, best first; -1 where there is none."""

    def add(self, ids: Ids, vectors: Halves) -> None:
        """Make more vectors searchable."""


class Selective(System, Protocol):
    """One that can search among some ids only."""

    def search_among(
        self, queries: Vectors, k: int, effort: int, threads: int, among: Ids
    ) -> Found:
        """Give the k best of these ids, which ascend."""


def blocks(ids: Ids, vectors: Halves) -> Blocks:
    for start in range(0, len(ids), READ):
        yield ids[start : start + READ], np.asarray(vectors[start : start + READ])


class Ours:
    """A snapshot of searchx, tuned by itself, and a tail beside it."""

    needs = "searchx"
    efforts: tuple[int, ...] = ()
    snapshot: Snapshot
    side = "text"  # what the queries are made of, which the engine is told
    tail: Scan | None = None

    def build(self, place: Path, ids: Ids, vectors: Halves, texts: Vectors) -> None:
        rows = Rows(len(ids), vectors.shape[1], blocks(ids, vectors))
        origin = Origin("bench", "bench", 1, 0)
        some = vectors[:: max(1, len(ids) // 256)].astype(np.float32)
        snapshots.build(place, rows, "image", origin, queries={"text": texts, "image": some})

    def load(self, place: Path) -> int:
        newest = snapshots.newest(place, "image")
        assert newest is not None
        self.snapshot = snapshots.load(newest)
        return 0

    def search(self, queries: Vectors, k: int, effort: int, threads: int) -> Found:
        faiss.omp_set_num_threads(threads)
        found = self.snapshot.search(queries, k, None, self.side)
        if self.tail is None:
            return found
        return snapshots.merge(found, self.tail.search(queries, k), k)

    def search_among(
        self, queries: Vectors, k: int, effort: int, threads: int, among: Ids
    ) -> Found:
        faiss.omp_set_num_threads(threads)
        return self.snapshot.search(queries, k, self.snapshot.select(NONE, among))

    def add(self, ids: Ids, vectors: Halves) -> None:
        self.tail = Scan(ids, vectors)


class Exact:
    """Every vector in float32, all compared: the reference."""

    needs = "faiss"
    efforts: tuple[int, ...] = ()
    index: Any

    def build(self, place: Path, ids: Ids, vectors: Halves, texts: Vectors) -> None:
        index = faiss.index_factory(vectors.shape[1], "IDMap,Flat", faiss.METRIC_INNER_PRODUCT)
        fill(index, ids, vectors)
        faiss.write_index(index, str(place / "index"))

    def load(self, place: Path) -> int:
        self.index = faiss.read_index(str(place / "index"))
        return 0

    def search(self, queries: Vectors, k: int, effort: int, threads: int) -> Found:
        faiss.omp_set_num_threads(threads)
        scores, ids = self.index.search(queries, k)
        return ids, scores

    def add(self, ids: Ids, vectors: Halves) -> None:
        fill(self.index, ids, vectors)


def fill(index: Any, ids: Ids, vectors: Halves) -> None:
    for some, rows in blocks(ids, vectors):
        index.add_with_ids(rows.astype(np.float32), some)


def autofaiss_key(count: int, dim: int, memory: float) -> str:
    """Give the index that autofaiss 2.18 chooses for so many vectors in so many bytes.

    After `get_optimal_index_keys_v2` of its `external/optimize.py`, from 10,000 vectors on, for
    less memory than a graph or whole vectors need. (With its own default, 16 GB, it takes a graph
    over float32 vectors at these sizes: HNSW32, which hnswlib stands for here.)
    """
    fits = [size for size in (256, 128, 64, 48, 32, 24, 16, 8, 4) if size < dim]
    codes = next(size for size in fits if count * (size + 8) <= memory)
    near = 2 ** round(np.log2(4 * np.sqrt(count)))
    lists = near if count < 1_000_000 else 16_384 if count < 10_000_000 else 65_536
    coarse = f"IVF{lists}" if lists < 1000 else f"IVF{lists}_HNSW32"
    return f"OPQ{codes}_{(min(dim // codes, 6) + 1) * codes},{coarse},PQ{codes}x8"


class PlainIvfPq:
    """FAISS's IVF-PQ as autofaiss chooses, trains and tunes it, in 1/8 of float32's memory.

    It is left at that: what the codes say is the answer, as in a plain FAISS index. Only the
    rotation in front of the codes is trained on fewer rows than FAISS's 65,536, which take one core
    more than half an hour: its build time speaks for this peer. The rounds are all of FAISS's 50:
    after 16 of them the loss is three times what it is in the end.
    """

    needs = "faiss"
    efforts: tuple[int, ...] = POWERS
    index: Any
    milliseconds = 10.0  # autofaiss' default for a query
    trained_on = 100  # vectors for each list, as autofaiss does
    rotation = 16_384, 50  # rows and rounds

    def build(self, place: Path, ids: Ids, vectors: Halves, texts: Vectors) -> None:
        count, dim = vectors.shape
        key = autofaiss_key(count, dim, memory=4 * count * dim / 8)
        self.index = self._empty(dim, key)
        lists = faiss.extract_index_ivf(self.index).nlist
        random = np.random.default_rng(0)
        chosen = np.sort(random.permutation(count)[: self.trained_on * lists])
        self.index.train(vectors[chosen].astype(np.float32))
        fill(self.index, ids, vectors)
        faiss.write_index(self.index, str(place / "index"))
        nprobe = self._tuned(vectors[chosen[:4000]].astype(np.float32), lists)
        (place / "setting.json").write_text(json.dumps({"key": key, "nprobe": nprobe}))

    def _empty(self, dim: int, key: str) -> Any:
        """Make the parts as autofaiss' `index_factory` does; FAISS's own trains other ones."""
        codes, width, lists, *_ = (int(one) for one in re.findall(r"\d+", key))
        inner = faiss.METRIC_INNER_PRODUCT
        coarse = (
            faiss.IndexHNSWFlat(width, 32, inner)
            if "HNSW" in key
            else faiss.IndexFlat(width, inner)
        )
        lists_of_codes = faiss.IndexIVFPQ(coarse, width, lists, codes, 8, inner)
        lists_of_codes.cp.min_points_per_centroid = 1  # no noise on stderr
        lists_of_codes.pq.cp.min_points_per_centroid = 1
        turn = faiss.OPQMatrix(dim, codes, width)
        turn.max_train_points, turn.niter = self.rotation
        self._kept = coarse, lists_of_codes, turn  # FAISS holds them without owning them
        return faiss.IndexPreTransform(turn, lists_of_codes)

    def _tuned(self, queries: Vectors, lists: int) -> int:
        """Take the most lists that it can look into in the time for a query, by halving."""
        low, high = 16, min(6144, lists)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._is_fast(queries, middle) else (low, middle - 1)
        return low

    def _is_fast(self, queries: Vectors, nprobe: int) -> bool:
        started, asked = time.perf_counter(), 0
        while time.perf_counter() - started < 15 * self.milliseconds / 1000:
            one = queries[asked % len(queries)]
            self.index.search(one[None], 40, params=self._settings(nprobe))
            asked += 1
        return 1000 * (time.perf_counter() - started) / asked < self.milliseconds

    def _settings(self, nprobe: int, selector: Any = None) -> Any:
        make = cast(Any, faiss).SearchParametersIVF
        own = faiss.extract_index_ivf(self.index).quantizer
        if not isinstance(faiss.downcast_index(own), faiss.IndexHNSW):
            return make(nprobe=nprobe, sel=selector)
        graph = cast(Any, faiss).SearchParametersHNSW
        return make(nprobe=nprobe, sel=selector, quantizer_params=graph(efSearch=2 * nprobe))

    def load(self, place: Path) -> int:
        self.index = faiss.read_index(str(place / "index"))
        return int(json.loads((place / "setting.json").read_text())["nprobe"])

    def search(self, queries: Vectors, k: int, effort: int, threads: int) -> Found:
        faiss.omp_set_num_threads(threads)
        scores, ids = self.index.search(queries, k, params=self._settings(effort))
        return ids, scores

    def search_among(
        self, queries: Vectors, k: int, effort: int, threads: int, among: Ids
    ) -> Found:
        faiss.omp_set_num_threads(threads)
        bits = np.zeros(int(among.max(initial=0)) + 1, bool)
        bits[among] = True
        packed = np.packbits(bits, bitorder="little")
        selector = cast(Any, faiss).IDSelectorBitmap(packed)
        scores, ids = self.index.search(queries, k, params=self._settings(effort, selector))
        return ids, scores

    def add(self, ids: Ids, vectors: Halves) -> None:
        fill(self.index, ids, vectors)


class HnswLib:
    """A graph over float32 vectors, with the parameters that its documentation uses."""

    needs = "hnswlib"
    efforts: tuple[int, ...] = (10, *POWERS[:8])
    index: Any

    def build(self, place: Path, ids: Ids, vectors: Halves, texts: Vectors) -> None:
        self.index = importlib.import_module("hnswlib").Index("ip", vectors.shape[1])
        self.index.init_index(len(ids), M=16, ef_construction=200, random_seed=0)
        self.add(ids, vectors)
        self.index.save_index(str(place / "index"))
        (place / "dim").write_text(str(vectors.shape[1]))

    def load(self, place: Path) -> int:
        dim = int((place / "dim").read_text())
        self.index = importlib.import_module("hnswlib").Index("ip", dim)
        self.index.load_index(str(place / "index"))
        return int(self.index.ef)

    def search(self, queries: Vectors, k: int, effort: int, threads: int) -> Found:
        self.index.set_ef(max(effort, k))
        ids, distances = self.index.knn_query(queries, k, num_threads=threads)
        return ids.astype(np.int64), (1 - distances).astype(np.float32)

    def add(self, ids: Ids, vectors: Halves) -> None:
        needed = self.index.get_current_count() + len(ids)
        if needed > self.index.get_max_elements():
            self.index.resize_index(needed)
        for some, rows in blocks(ids, vectors):
            self.index.add_items(rows.astype(np.float32), some)


class Usearch:
    """A graph over vectors of two bytes or one byte a number, with its own defaults."""

    needs = "usearch"
    efforts: tuple[int, ...] = POWERS[:9]
    index: Any

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype

    def build(self, place: Path, ids: Ids, vectors: Halves, texts: Vectors) -> None:
        make = importlib.import_module("usearch.index").Index
        self.index = make(ndim=vectors.shape[1], metric="cos", dtype=self.dtype)
        self.add(ids, vectors)
        self.index.save(str(place / "index"))

    def load(self, place: Path) -> int:
        self.index = importlib.import_module("usearch.index").Index.restore(str(place / "index"))
        return int(self.index.expansion_search)

    def search(self, queries: Vectors, k: int, effort: int, threads: int) -> Found:
        self.index.expansion_search = max(effort, k)
        found = self.index.search(queries, k, threads=threads)
        ids = np.asarray(found.keys).astype(np.int64).reshape(len(queries), k)
        distances = np.asarray(found.distances, np.float32).reshape(len(queries), k)
        return ids, 1 - distances

    def add(self, ids: Ids, vectors: Halves) -> None:
        for some, rows in blocks(ids, vectors):
            self.index.add(some.astype(np.uint64), rows.astype(np.float32))


def systems() -> dict[str, System]:
    """Give all by name, in the order of the table."""
    return {
        "searchx": Ours(),
        "exact": Exact(),
        "ivfpq": PlainIvfPq(),
        "hnswlib": HnswLib(),
        "usearch-f16": Usearch("f16"),
        "usearch-i8": Usearch("i8"),
    }


def selective() -> dict[str, Selective]:
    """Give those that are measured with filters."""
    return {"searchx": Ours(), "ivfpq": PlainIvfPq()}


def is_there(system: System) -> bool:
    return importlib.util.find_spec(system.needs) is not None
