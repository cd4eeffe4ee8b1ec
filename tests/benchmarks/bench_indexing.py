"""Decoding alone, encoding alone, and both end to end, on the same files in one run.

    python -m tests.benchmarks.bench_indexing FOLDER [MODEL] [ROUNDS] [DEVICE]

MODEL is any name that searchx takes, or ``random:ARCHITECTURE`` for random weights of one of
open_clip's. All take turns; the table gives medians. End to end is a run into a new library,
snapshots and all, with the model loaded; its share is of the slower one of the two alone. "All but
encoding" is such a run with vectors that cost nothing: what this machine could feed a faster
encoder with, by the clock and by the processor time of the one process that all pictures go
through. How busy a GPU was comes from nvidia-smi: the share of the time in which something was
computed there.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import fmean, median

import numpy as np

from indexer.decoding.decode import Shot, Task
from indexer.decoding.workers import Workers
from indexer.files import Found, found_in, walk
from indexer.pipeline import index_into
from indexer.rules import Rules
from searchx.encoder import Encoder, load_encoder
from searchx.records import Pixels, Vectors
from searchx.references import prepare_references
from tests.benchmarks.random_models import random_model

ENCODED = 512  # pictures, in turn, so that memory does not limit the folder


class Free:
    """An encoder whose vectors cost nothing: others for each picture, and known beforehand."""

    def __init__(self, encoder: Encoder, count: int) -> None:
        self.space, self.fit, self.batch_size = encoder.space, encoder.fit, encoder.batch_size
        self.text_limit = encoder.text_limit
        self.embed_texts, self.count_tokens = encoder.embed_texts, encoder.count_tokens
        rows = np.random.default_rng(0).standard_normal((count, encoder.space.dim), np.float32)
        self._rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        self._given = 0

    def embed_images(self, pixels: Sequence[Pixels]) -> Vectors:
        start, self._given = self._given, (self._given + len(pixels)) % len(self._rows)
        rows: Vectors = self._rows[(start + np.arange(len(pixels))) % len(self._rows)]
        return rows


@contextmanager
def watched(shares: list[float]) -> Iterator[None]:
    """Note how busy the GPU is, in percent, a few times a second."""
    command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    with subprocess.Popen(
        [*command, "--loop-ms=200"], stdout=subprocess.PIPE, text=True
    ) as watching:
        try:
            yield
        finally:
            watching.terminate()
            shares += [float(one) for one in watching.communicate()[0].split()]


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


def main(folder: str, model: str = "mini", rounds: str = "3", device: str = "auto") -> None:
    with tempfile.TemporaryDirectory() as place:
        if model.startswith("random:"):
            model = random_model(model.removeprefix("random:"), Path(place) / "model")
        encoder = load_encoder(model, device, print)
        prepare_references(encoder)
        measure(folder, encoder, int(rounds))


def measure(folder: str, encoder: Encoder, rounds: int) -> None:
    found = pictures(str(Path(folder).absolute()))
    workers = len(os.sched_getaffinity(0))
    pixels = decoded(found[:ENCODED], encoder, workers)
    encode(pixels, 4 * encoder.batch_size, encoder)  # warm
    free = Free(encoder, len(found))
    steps: dict[str, Callable[[], object]] = {
        "decode only": lambda: decoded(found, encoder, workers),
        "encode only": lambda: encode(pixels, len(found), encoder),
        "end to end": lambda: whole(folder, encoder),
        "all but encoding": lambda: whole(folder, free),
    }
    rates: dict[str, list[float]] = {name: [] for name in steps}
    spent: dict[str, list[float]] = {name: [] for name in steps}
    busy: dict[str, list[float]] = {name: [] for name in steps}
    on_gpu = getattr(encoder, "device", "cpu") == "cuda"
    for _ in range(rounds):
        for name, step in steps.items():
            started = time.process_time()
            with watched(busy[name]) if on_gpu else nullcontext():
                rates[name].append(len(found) / timed(step))
            spent[name].append(time.process_time() - started)
    middle = {name: median(all_of_it) for name, all_of_it in rates.items()}
    slower = min(middle["decode only"], middle["encode only"])
    both = 1 / (1 / middle["decode only"] + 1 / middle["encode only"])
    runtime = getattr(encoder, "runtime", "")
    print(f"{len(found)} pictures, {encoder.space.name}, {runtime}, {workers} cores")
    for name, rate in middle.items():
        least, most = min(rates[name]), max(rates[name])
        own = 1e3 * median(spent[name]) / len(found)
        gpu = f", GPU busy {fmean(busy[name]):.0f} %" if busy[name] else ""
        print(
            f"{name:16} {rate:8.1f} images/s   ({least:.1f} to {most:.1f}); "
            f"{own:.2f} ms of this process for each{gpu}"
        )
    print(f"end to end is {middle['end to end'] / slower:.2f} of the slower one alone,")
    print(f"and {middle['end to end'] / both:.2f} of what both give on the same cores in turn")


if __name__ == "__main__":
    main(*sys.argv[1:])
