"""How long counting facets takes: ``python -m tests.benchmarks.bench_facets [ITEMS ...]``.

Each library is made up: pictures with date, place, camera, lens, rating and keywords, in folders.
"""

import sys
import time
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from searchx.catalog import Catalog, Content, NewFile, NewItem
from searchx.records import Metadata
from searchx.search import Library
from tests.shelf import ENCODER, ROOT, digest, vector

BLOCK = 10_000
FILTERS = (None, "taken:2019", "camera:camera5", "-keyword:word7 folder:500")


def fill(catalog: Catalog, count: int) -> None:
    row = vector(1)[0]
    with catalog.writing() as tx:
        tx.claim_space(ENCODER.space)
        tx.add_source(ROOT)
    for first in range(0, count, BLOCK):
        with catalog.writing() as tx:
            for one in range(first, min(first + BLOCK, count)):
                tx.add_items([NewItem("image", digest(one), row, None, 4000, 3000)])
                content = Content("image", digest(one), metadata=about(one))
                path = f"{ROOT}/{one % 20}/{one % 1000}/{one}.jpg"
                tx.set_file(ROOT, NewFile(path, 1, 1, [content]))


def about(number: int) -> Metadata:
    return Metadata(
        taken=datetime(2000, 1, 1) + timedelta(hours=number % 200_000),
        latitude=48.0,
        longitude=16.0,
        camera=f"Camera{number % 40}",
        lens=f"Lens {number % 100}",
        orientation="landscape" if number % 3 else "portrait",
        format="JPEG" if number % 10 else "HEIF",
        bytes=number,
        rating=number % 6,
        keywords=(f"word{number % 5000}", f"word{number % 7}"),
    )


def main() -> None:
    for count in [int(one) for one in sys.argv[1:]] or [100_000]:
        with TemporaryDirectory() as place, closing(Catalog.open(place, create=True)) as catalog:
            fill(catalog, count)
            library = Library(catalog, ENCODER)
            library.search("", 1, where="id:1")  # what every query needs is loaded
            seconds = [took(library, None), *(best(library, where) for where in FILTERS)]
            print(f"{count:,} items: {1000 * seconds[0]:.0f} ms after a change; then")
            for where, spent in zip(FILTERS, seconds[1:], strict=True):
                print(f"  {1000 * spent:6.1f} ms  {where or 'no filter'}")
            print(f"  {size(library) / 1e6:.0f} MB are kept")


def took(library: Library, where: str | None) -> float:
    began = time.perf_counter()
    library.facets(where)
    return time.perf_counter() - began


def best(library: Library, where: str | None) -> float:
    return min(took(library, where) for _ in range(5))


def size(library: Library) -> int:
    columns = library._columns()
    held = [column._places for column in columns._columns.values()]
    return int(columns._ids.nbytes + 2 * sum(np.asarray(one).nbytes for one in held))


if __name__ == "__main__":
    print(f"bench_facets, {Path(sys.executable).name}")
    main()
