"""How fast is a model on one CPU core, once loaded: medians of single queries.

python -m tests.benchmarks.bench_mini [MODEL]
"""

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image

from searchx.encoder import load_encoder

TEXTS = ("a dog jumping into a lake", "two children on a red sofa", "a plate of food", "snow")
RUNS = 40


def main() -> None:
    torch.set_num_threads(1)
    started = time.perf_counter()
    encoder = load_encoder(sys.argv[1] if len(sys.argv) > 1 else "mini", "cpu")
    loaded = time.perf_counter() - started
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    picture = Image.fromarray(noise)
    pixels = encoder.fit(picture)
    print(f"{encoder.space.name}: loaded in {loaded:.1f} s; on one core, median of {RUNS}:")
    for title, task in (
        ("one text query", lambda: encoder.embed_texts([TEXTS[0]])),
        ("four texts", lambda: encoder.embed_texts(TEXTS)),
        ("fit a 640 x 480 picture", lambda: encoder.fit(picture)),
        ("count the tokens of 1,000 texts", lambda: encoder.count_tokens(TEXTS * 250)),
        ("embed one picture", lambda: encoder.embed_images([pixels])),
    ):
        middle, best = timed(task)
        print(f"  {title:30} {middle:7.1f} ms   (fastest {best:.1f})")


def timed(task: Callable[[], object]) -> tuple[float, float]:
    """Give the median and the least time of a task, in milliseconds."""
    for _ in range(3):
        task()
    times = []
    for _ in range(RUNS):
        started = time.perf_counter()
        task()
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times), min(times)


if __name__ == "__main__":
    main()
