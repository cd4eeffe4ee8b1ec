"""Decoding alone, encoding alone, and both end to end, on the same files in one run.

    python -m tests.benchmarks.bench_indexing FOLDER [MODEL] [ROUNDS]

The three take turns; the table gives medians. End to end is a run into a new library, snapshots
and all, with the model loaded; its share is of the slower one of the two alone.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from indexer.decoding.decode import Shot, Task
from indexer.decoding.workers import Workers
from indexer.files import Found, found_in, walk
from indexer.pipeline import index_into
from indexer.rules import Rules
from searchx.encoder import Encoder, load_encoder
from searchx.records import Pixels

ENCODED = 512  # pictures, in turn, so that memory does not limit the folder


def pictures(folder: str) -> list[Found]:
    listed = (found_in(one, sorted(one.files)) for one in walk(folder, Rules()))
    return [found for some in listed for found in some if found.form == "image"]


def decoded(found: list[Found], encoder: Encoder, workers: int) -> list[Pixels]:
    """Decode all; gives the first of the pixels."""
    kept: list[Pixels] = []
    with Workers(workers, encoder.fit, lambda _: False) as pool:
        for loading in pool.load(map(Task, found)):
            for content in loading.contents():
                if isinstance(content, Shot) and content.pixels is not None and len(kept) < ENCODED:
                    kept.append(content.pixels)
    return kept


def encode(pixels: list[Pixels], count: int, encoder: Encoder) -> None:
    for start in range(0, count, encoder.batch_size):
        size = min(encoder.batch_size, count - start)
        encoder.embed_images([pixels[(start + row) % len(pixels)] for row in range(size)])


def whole(folder: str, encoder: Encoder) -> None:
    with tempfile.TemporaryDirectory() as place:
        report = index_into(Path(place) / "library", folder, encoder)
    assert report.embedded, "nothing was embedded"


def timed(step: Callable[[], object]) -> float:
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def main(folder: str, model: str = "mini", rounds: str = "3") -> None:
    encoder = load_encoder(model)
    found = pictures(str(Path(folder).absolute()))
    workers = len(os.sched_getaffinity(0))
    pixels = decoded(found[:ENCODED], encoder, workers)
    encode(pixels, 2 * encoder.batch_size, encoder)  # warm
    steps: dict[str, Callable[[], object]] = {
        "decode only": lambda: decoded(found, encoder, workers),
        "encode only": lambda: encode(pixels, len(found), encoder),
        "end to end": lambda: whole(folder, encoder),
    }
    rates: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(int(rounds)):
        for name, step in steps.items():
            rates[name].append(len(found) / timed(step))
    middle = {name: median(all_of_it) for name, all_of_it in rates.items()}
    slower = min(middle["decode only"], middle["encode only"])
    both = 1 / (1 / middle["decode only"] + 1 / middle["encode only"])
    print(f"{len(found)} pictures, model {model}, {workers} cores, {rounds} rounds")
    for name, rate in middle.items():
        least, most = min(rates[name]), max(rates[name])
        print(f"{name:12} {rate:8.1f} images/s   ({least:.1f} to {most:.1f})")
    print(f"end to end is {middle['end to end'] / slower:.2f} of the slower one alone,")
    print(f"and {middle['end to end'] / both:.2f} of what both give on the same cores in turn")


if __name__ == "__main__":
    main(*sys.argv[1:])
