"""Many queries over HTTP as JSON and as base64: ``python -m tests.benchmarks.bench_batch LIBRARY``.

The library is asked with its own vectors, through a real server on this machine.
"""

import base64
import json
import sys
import time
from collections.abc import Callable

import httpx2
import numpy as np

from searchx.search import Library
from tests.served import served
from web.app import create_app

QUERIES, K = 1000, 100


def main() -> None:
    with Library.open(sys.argv[1]) as library, served(create_app(library)) as (host, port):
        rows = np.random.default_rng(0).normal(size=(QUERIES, library.space.dim))
        rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        asked = {"vectors": base64.b64encode(rows.tobytes()).decode(), "k": K}
        with httpx2.Client(base_url=f"http://{host}:{port}", timeout=60) as client:

            def sent(format: str) -> bytes:
                answer = client.post("/api/search/batch", json={**asked, "format": format})
                return answer.raise_for_status().content

            print(f"{QUERIES} queries, {K} hits of each, dim {library.space.dim}")
            print(f"  here           {best(lambda: library.search_batch(rows, K)):6.0f} ms")
            for form in ("base64", "float"):
                size = len(sent(form))
                spent = best(lambda form=form: json.loads(sent(form)))  # type: ignore[misc]
                print(f"  over HTTP, {form:6} {spent:6.0f} ms, {size / 1e6:.1f} MB")
            print(f"  queries as base64 {4 * rows.nbytes / 3e6:.1f} MB")


def best(ask: Callable[[], object]) -> float:
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        ask()
        seconds.append(time.perf_counter() - began)
    return 1000 * min(seconds)


if __name__ == "__main__":
    main()
