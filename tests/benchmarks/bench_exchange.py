"""Vectors out of a library and into one, beside what only writes and reads the same file.

    python -m tests.benchmarks.bench_exchange PLACE [--items 100000] [--dim 512]
        [--formats NAME ...]

A library of made-up texts with a vector, an id, a text and two columns each is built under PLACE,
goes out in each format, and comes into a new library. Beside it stands the bare way: pyarrow,
NumPy, h5py, FAISS or tarfile with the same columns in memory. `add` with the same arrays is what
an import has to do in any case. No index is built meanwhile: somebody holds the libraries, as a run
of the indexer would. Rates are of the float32 bytes of the vectors, by the clock; beside them the
seconds that this process had of a processor, as other work on a machine changes the first.
"""

import argparse
import io
import json
import shutil
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import faiss
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import searchx
from searchx.arrow import vectors_to_arrow
from searchx.catalog import Catalog
from searchx.exchange import export, import_into
from searchx.records import Vectors
from searchx.search import Library
from tests.rows import unit

HEADING = f"| {'':34} | seconds | of a processor | items/s | MB/s |"
NAMES = {
    "parquet": "out.parquet",
    "npy": "out.npy",
    "clip-retrieval": "out",
    "hdf5": "out.h5",
    "faiss": "out.index",
    "webdataset": "out.tar",
}


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """What is in the library."""

    vectors: Vectors  # (n, dim)
    columns: pa.Table  # id, text, price and brand, beside them

    @classmethod
    def made(cls, count: int, dim: int) -> "Data":
        random = np.random.default_rng(0)
        columns = {
            "id": [f"sku-{number}" for number in range(count)],
            "text": [f"a thing of which there is number {number}" for number in range(count)],
            "price": random.uniform(1, 100, count),
            "brand": [f"brand {number}" for number in random.integers(100, size=count)],
        }
        return cls(unit(random.normal(size=(count, dim))), pa.table(columns))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("place", type=Path)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--formats", nargs="+", choices=NAMES, default=list(NAMES))
    asked = parser.parse_args()
    data = Data.made(asked.items, asked.dim)
    print(f"{asked.items:,} items of {asked.dim} numbers, {data.vectors.nbytes / 1e6:,.0f} MB")
    print(HEADING, "|---|---|---|---|---|", sep="\n", flush=True)
    with held(asked.place / "library", asked.dim) as library:
        timed("add, from arrays", data, lambda: add(library, data))
        for name in asked.formats:
            out, bare = asked.place / NAMES[name], asked.place / f"bare-{NAMES[name]}"
            timed(f"{name}: export", data, lambda: export(library, out, name, "text"))  # noqa: B023
            timed(f"{name}: bare writer", data, lambda: BARE[name][0](data, bare))  # noqa: B023
            timed(f"{name}: bare reader", data, lambda: BARE[name][1](bare))  # noqa: B023
            with held(asked.place / "again", asked.dim) as again:
                timed(f"{name}: import", data, lambda: import_into(again, out, name, "text"))  # noqa: B023
                assert again.overview().texts == asked.items
            for one in (out, bare, *asked.place.glob("*.ids.npy")):
                shutil.rmtree(one) if one.is_dir() else one.unlink()


@contextmanager
def held(place: Path, dim: int) -> Iterator[Library]:
    """Make a library that somebody holds, so that no index is built for what comes."""
    shutil.rmtree(place, ignore_errors=True)
    with (
        searchx.create(place, dim=dim, name="made up") as library,
        closing(Catalog.open(place)) as holder,
        holder.indexing(),
    ):
        yield library


def add(library: Library, data: Data) -> None:
    told = data.columns.select(["price", "brand"])
    library.add(
        data.columns["id"], data.vectors, texts=data.columns["text"], kind="text", metadata=told
    )


def timed(name: str, data: Data, work: Callable[[], object]) -> None:
    wall, processor = time.perf_counter(), time.process_time()
    work()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    items, megabytes = len(data.vectors) / wall, data.vectors.nbytes / 1e6 / wall
    line = f"| {name:34} | {wall:7.2f} | {processor:14.2f} | {items:7,.0f} | {megabytes:4,.0f} |"
    print(line, flush=True)


# the bare ways


def write_parquet(data: Data, to: Path) -> None:
    table = data.columns.append_column("vector", vectors_to_arrow(data.vectors))
    pq.write_table(table, to, compression="zstd")


def write_npy(data: Data, to: Path) -> None:
    np.save(to, data.vectors)
    np.save(to.with_name("bare.ids.npy"), np.array(data.columns["id"].to_pylist()))


def write_folder(data: Data, to: Path) -> None:
    to.mkdir()
    np.save(to / "vectors.npy", data.vectors)
    pq.write_table(data.columns, to / "metadata.parquet")


def read_folder(place: Path) -> object:
    return np.load(place / "vectors.npy"), pq.read_table(place / "metadata.parquet")


def write_hdf5(data: Data, to: Path) -> None:
    with h5py.File(to, "w") as file:
        file["train"] = data.vectors
        file["ids"] = data.columns["id"].to_pylist()


def read_hdf5(place: Path) -> object:
    with h5py.File(place) as file:
        return file["train"][:], file["ids"][:]


def write_index(data: Data, to: Path) -> None:
    index = faiss.IndexFlatIP(data.vectors.shape[1])
    index.add(data.vectors)
    faiss.write_index(index, str(to))


def read_index(place: Path) -> object:
    index = faiss.read_index(str(place))
    return index.reconstruct_n(0, index.ntotal)


def write_tar(data: Data, to: Path) -> None:
    with tarfile.open(to, "w", format=tarfile.USTAR_FORMAT) as archive:
        for number, (row, told) in enumerate(
            zip(data.vectors, data.columns.to_pylist(), strict=True)
        ):
            packed = io.BytesIO()
            np.save(packed, row)
            files = {".json": json.dumps(told).encode(), ".npy": packed.getvalue()}
            for suffix, content in {".txt": told["text"].encode(), **files}.items():
                info = tarfile.TarInfo(f"{number:09d}{suffix}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))


def read_tar(place: Path) -> object:
    with tarfile.open(place) as archive:
        return [
            np.load(io.BytesIO(file.read())) if one.name.endswith(".npy") else file.read()
            for one in archive
            if (file := archive.extractfile(one)) is not None
        ]


BARE: dict[str, tuple[Callable[[Data, Path], None], Callable[[Path], object]]] = {
    "parquet": (write_parquet, pq.read_table),
    "npy": (write_npy, np.load),
    "clip-retrieval": (write_folder, read_folder),
    "hdf5": (write_hdf5, read_hdf5),
    "faiss": (write_index, read_index),
    "webdataset": (write_tar, read_tar),
}


if __name__ == "__main__":
    main()
