"""How long does another model take to take over, and what do queries feel of it meanwhile?

    python -m tests.benchmarks.bench_migrate LIBRARY MODEL [--rate N]

The library is copied first. One client asks a new text 20 times a second: for a while alone, while
``searchx migrate`` runs beside it, and afterwards.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from searchx.relevance import everyday_captions
from searchx.search import Library

PAUSE = 0.05  # seconds between two queries
ALONE = 10.0  # seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("library", type=Path)
    parser.add_argument("model")
    parser.add_argument("--rate")
    asked = parser.parse_args()
    with TemporaryDirectory() as place:
        library = Path(shutil.copytree(asked.library, Path(place, "library")))
        measure(library, asked.model, asked.rate)


def measure(directory: Path, model: str, rate: str | None) -> None:
    texts = cycle(f"{one}, number {turn}" for turn in range(40) for one in everyday_captions())
    with Library.open(directory) as library:
        for _ in range(20):
            library.search(next(texts))
        report("alone", list(ask(library, texts, time.monotonic() + ALONE)))
        before = library.space.name
        command = [sys.executable, "-m", "searchx.cli", "migrate", "--to", model, "--json"]
        command += ["--library", str(directory), *(["--rate", rate] if rate else [])]
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        during = []
        while process.poll() is None:
            during += list(ask(library, texts, time.monotonic() + 0.5))
        whole = time.monotonic() - began
        assert process.stdout is not None
        made = json.loads(process.stdout.read())
        print(
            f"migration: {whole:.1f} s as a process, {made['seconds']:.1f} s of work, "
            f"{made['embedded']} embedded, {made['images_per_second']:.1f} images/s, "
            f"switched {made['switched']}, least likeness {made['likeness']}"
        )
        report("while it runs", during)
        taking = []
        while library.space.name == before:
            taking += list(ask(library, texts, time.monotonic() + 0.2))
        print(f"the model before answered for {len(taking) * PAUSE:.1f} s more, about")
        report("until the next one is loaded", taking)
        report("afterwards", list(ask(library, texts, time.monotonic() + ALONE)))


def ask(library: Library, texts: Iterator[str], until: float) -> Iterator[float]:
    """Ask until a moment; gives milliseconds. A query that fails ends all of it."""
    while time.monotonic() < until:
        began = time.perf_counter()
        assert len(library.search(next(texts), 10)) == 10
        yield 1000 * (time.perf_counter() - began)
        time.sleep(PAUSE)


def report(when: str, spent: list[float]) -> None:
    if spent:
        p50, p95, p99 = np.percentile(spent, [50, 95, 99])
        print(
            f"{when}: {len(spent)} queries, p50 {p50:.1f}, p95 {p95:.1f}, p99 {p99:.1f}, "
            f"longest {max(spent):.1f} ms"
        )


if __name__ == "__main__":
    main()
