"""Peak memory of a run, by the number of files: it should not grow with it.

    python -m tests.benchmarks.bench_memory [FILES ...]

Makes so many tiny pictures (by default 1,000 and 100,000) in folders of 1,000, and indexes them
in a process of their own, with real decode workers and a model of the tests whose vectors are as
wide as those of `mini`. Prints the peak of resident memory, of the process and of its largest
worker, for the first run and for a second one that finds nothing changed.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from searchx.records import Pixels, Space, Vectors
from tests.colour import ColourEncoder

WIDTH = 512
IN_A_FOLDER = 1000


class WideEncoder(ColourEncoder):
    """The colour model with its four numbers spread over as many as a real model has."""

    def __init__(self) -> None:
        super().__init__()
        self.space = Space("wide", "wide-1", WIDTH)
        self.batch_size = 64
        spread = np.random.default_rng(0).standard_normal((WIDTH, 4))
        self._spread = np.linalg.qr(spread)[0].T.astype(np.float32)  # (4, width), orthonormal

    def embed_images(self, pixels: Sequence[Pixels]) -> Vectors:
        rows: Vectors = super().embed_images(pixels) @ self._spread
        return rows

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        rows: Vectors = super().embed_texts(texts) @ self._spread
        return rows


def make(folder: Path, files: int) -> None:
    """Write pictures of 8 x 8 pixels, no two alike."""
    for number in range(files):
        place = folder / f"{number // IN_A_FOLDER:05}"
        if number % IN_A_FOLDER == 0:
            place.mkdir(parents=True)
        colour = number.to_bytes(3, "big")
        (place / f"{number:07}.ppm").write_bytes(b"P6 8 8 255\n" + colour * 64)


def index_here(folder: str, library: str) -> None:
    import resource

    from indexer.pipeline import index_into

    report = index_into(library, folder, WideEncoder())
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    peaks = [resource.getrusage(one).ru_maxrss for one in whose]
    print(json.dumps({"seconds": report.seconds, "embedded": report.embedded, "peaks": peaks}))


def run(folder: Path, library: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.benchmarks.bench_memory", "--index", str(folder)]
    done = subprocess.run([*command, str(library)], capture_output=True, text=True, check=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def main(counts: list[int]) -> None:
    print(f"{'files':>8} {'run':>7} {'seconds':>8} {'embedded':>9} {'process':>10} {'worker':>10}")
    for count in counts:
        with tempfile.TemporaryDirectory() as place:
            make(Path(place) / "files", count)
            for name in ("first", "second"):
                told = run(Path(place) / "files", Path(place) / "library")
                peaks = [f"{peak / 1024:7.0f} MB" for peak in told["peaks"]]
                print(
                    f"{count:8} {name:>7} {told['seconds']:8.1f} {told['embedded']:9} "
                    f"{peaks[0]:>10} {peaks[1]:>10}"
                )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--index"]:
        index_here(*sys.argv[2:])
    else:
        main([int(one) for one in sys.argv[1:]] or [1_000, 100_000])
