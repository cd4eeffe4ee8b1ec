"""How many queries a service answers, how soon, and what it costs beside its encoder and index.

``python -m tests.benchmarks.bench_serving LIBRARY TEXTS [--seconds 10] [--clients 1 8 64 256]``

LIBRARY is copied before it is served. TEXTS is a file of queries, one a line (``.gz`` too), each
asked once before any is asked again. Beside the service stand the same encoder and FAISS in a bare
loop, which embeds and searches batch by batch and does nothing else: no words, no relevance, no
items, no JSON, no HTTP; and the same service that embeds queries one by one and keeps no vector.
wrk makes the load, on the same cores.
"""

import argparse
import gzip
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

K = 10
BATCHES = (32, 64)
_ENOUGH = 10  # answers to each client, below which the slow ones are missing from what wrk saw
HEADING = (
    "| service | clients | queries/s | of the bare loop | p50 ms | p95 ms | p99 ms | answers | "
    "errors |"
)
SCRIPT = """
local asked, place = {}, START
for line in io.lines("QUERIES") do asked[#asked + 1] = line end
local count = #asked
function request()
  place = place + 1
  return wrk.format("GET", asked[place % count + 1])
end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\n{"requests": %d, "seconds": %f, "p50": %f, "p95": %f, "p99": %f, "max": %f, ' ..
    '"errors": %d}\\n', summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(95) / 1e3, latency:percentile(99) / 1e3,
    latency.max / 1e3, e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of wrk saw."""

    requests: int
    seconds: float
    p50: float  # milliseconds
    p95: float
    p99: float
    max: float
    errors: int

    def latencies(self, clients: int) -> str:
        """Tell them where enough requests were answered: wrk does not count those that were not."""
        if self.requests < _ENOUGH * clients:
            return "- | - | -"
        return f"{self.p50:.1f} | {self.p95:.1f} | {self.p99:.1f}"

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


@dataclass(frozen=True, slots=True)
class Served:
    """A service that runs."""

    address: str
    process: psutil.Process

    @property
    def running(self) -> int:
        """Requests that are not answered yet, without the one that asks."""
        with urllib.request.urlopen(f"{self.address}/metrics", timeout=600) as answer:
            lines = answer.read().decode().splitlines()
        counted = [one for one in lines if one.startswith("searchx_requests_running")]
        return int(sum(float(one.split()[-1]) for one in counted)) - 1

    @property
    def memory(self) -> float:
        """Megabytes that are not shared with files, of all its processes."""
        all_of_it = [self.process, *self.process.children(recursive=True)]
        return float(sum(one.memory_full_info().uss for one in all_of_it)) / 2**20


@contextmanager
def service(library: Path, *options: str, is_plain: bool = False) -> Iterator[Served]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    command = ["searchx.cli", "serve", *options, "--library", str(library), "--port", port]
    if is_plain:
        command = ["tests.benchmarks.bench_serving", "--plain", str(library), port]
    place = Path(tempfile.mkdtemp())
    with (place / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", *command], stderr=log)
        served = Served(f"http://127.0.0.1:{port}", psutil.Process(process.pid))
        try:
            began = time.monotonic()
            until_it_is(served, "/healthz", process)
            answered = time.monotonic() - began
            until_it_is(served, "/readyz", process)
            ready = time.monotonic() - began
            print(
                f"\n{' '.join(command)[:60]}: answers after {answered:.1f} s, ready {ready:.1f} s"
            )
            yield served
        finally:
            process.send_signal(signal.SIGTERM)
            print(f"ended with {process.wait(60)}", flush=True)
            shutil.rmtree(place)


def until_it_is(served: Served, path: str, process: "subprocess.Popen[bytes]") -> None:
    while process.poll() is None:
        try:
            with urllib.request.urlopen(served.address + path, timeout=60):
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("the service ended")


def plain(library: Path, port: int) -> None:
    """Serve with queries embedded one by one, and no vector kept."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from searchx.batching import QueryVectors
    from searchx.search import Library
    from web import serving

    with Library.open(library) as opened, serving.listening("127.0.0.1", port) as listener:
        opened.queries = QueryVectors(lambda: opened.encoder, batch=1, kept=0, threads=1)
        serving.serve(opened, listener, serving.Settings(library))


def load(served: Served, queries: Path, start: int, clients: int, seconds: float) -> Load:
    """Make load, once nothing is left of the last one: wrk leaves its requests unanswered."""
    while served.running:
        time.sleep(0.1)
    script = queries.with_suffix(".lua")
    script.write_text(SCRIPT.replace("QUERIES", str(queries)).replace("START", str(start)))
    options = ["-t1", f"-c{clients}", f"-d{seconds:.0f}s", "--timeout", "60s"]
    command = ["wrk", *options, "-s", str(script), served.address]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return Load(**json.loads(out.strip().splitlines()[-1]))


def bare(library: Path, texts: Sequence[str], batch: int, seconds: float) -> float:
    """Give queries a second of encoder and FAISS alone."""
    import faiss
    import numpy as np

    from searchx.catalog import Catalog
    from searchx.encoder import load_encoder

    catalog = Catalog.open(library)
    space = catalog.space()
    assert space is not None
    rows = catalog.read_vectors("image")[1].astype(np.float32)
    catalog.close()
    index: Any = faiss.IndexFlatIP(space.dim)
    index.add(rows)
    encoder = load_encoder(space.name)
    encoder.embed_texts(texts[:batch])
    asked, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        some = [texts[one % len(texts)] for one in range(asked, asked + batch)]
        index.search(encoder.embed_texts(some), K)
        asked += batch
    return asked / (time.perf_counter() - began)


def bare_in_a_process(asked: argparse.Namespace, library: Path, batch: int) -> float:
    """Measure in a process of its own, which then no longer holds a model."""
    told = [str(library), str(asked.texts), str(batch), str(asked.seconds)]
    command = [sys.executable, "-m", "tests.benchmarks.bench_serving", "--bare", *told]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return float(out.strip().splitlines()[-1])


def read_texts(file: Path) -> list[str]:
    content = file.read_bytes()
    lines = (gzip.decompress(content) if file.suffix == ".gz" else content).decode().splitlines()
    return list(dict.fromkeys(line.strip() for line in lines if line.strip()))


def addresses(texts: Sequence[str], place: Path) -> Path:
    from urllib.parse import urlencode

    place.write_text(
        "\n".join(f"/api/search?{urlencode({'q': one, 'k': K})}" for one in texts) + "\n"
    )
    return place


def measure(asked: argparse.Namespace, library: Path, place: Path) -> None:
    texts = read_texts(asked.texts)
    queries = addresses(texts, place / "distinct")
    same = addresses(texts[:1], place / "same")
    print(f"{len(texts):,} different queries, {os.cpu_count()} cores shared with wrk; load average")
    print(f"of the minute before: {os.getloadavg()[0]:.1f} (what else runs here takes its share)")
    rates = {batch: bare_in_a_process(asked, library, batch) for batch in BATCHES}
    for batch, rate in rates.items():
        print(f"bare loop, {batch} a batch: {rate:.0f} queries/s", flush=True)
    best = max(rates.values())
    start = 0
    kinds: dict[str, dict[str, Any]] = {"batched": {}, "one by one": {"is_plain": True}}
    if asked.workers > 1:
        kinds[f"{asked.workers} workers"] = {"options": ("--workers", str(asked.workers))}
    for name, how in kinds.items():
        options = how.pop("options", ())
        with service(library, *options, **how) as served:
            load(served, queries, start := start + 3000, 8, 2)  # the first ones read files
            print(HEADING)
            for clients in asked.clients:
                start += 3000
                one = load(served, queries, start, clients, asked.seconds)
                print(
                    f"| {name} | {clients} | {one.rate:.0f} | {one.rate / best:.2f} | "
                    f"{one.latencies(clients)} | {one.requests} | {one.errors} |",
                    flush=True,
                )
            if name == "batched":
                repeated(served, same, asked.requests)


def repeated(served: Served, same: Path, requests: int) -> None:
    """Ask one query again and again, and look at memory."""
    one = load(served, same, 0, 1, 5)
    told = one.latencies(1)
    print(f"one query repeated by one client, p50 | p95 | p99 ms: {told}, {one.requests} answers")
    done, memory = 0, [served.memory]
    while done < requests:
        done += load(served, same, 0, 16, 20).requests
        memory.append(served.memory)
    told = ", ".join(f"{one:.0f}" for one in memory)
    print(f"memory in MB over {done:,} repeated requests: {told}", flush=True)


def main() -> None:
    if sys.argv[1] == "--plain":
        return plain(Path(sys.argv[2]), int(sys.argv[3]))
    if sys.argv[1] == "--bare":
        where, texts, batch, seconds = sys.argv[2:]
        return print(bare(Path(where), read_texts(Path(texts)), int(batch), float(seconds)))
    parser = argparse.ArgumentParser()
    parser.add_argument("library", type=Path)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64, 256])
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        library = Path(place, "library")
        shutil.copytree(asked.library, library)
        measure(asked, library, Path(place))
    return None


if __name__ == "__main__":
    main()
