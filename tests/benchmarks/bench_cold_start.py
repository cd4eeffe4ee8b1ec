"""How long a person waits for the first answer: commands timed from process start to the end.

    python -m tests.benchmarks.bench_cold_start LIBRARY [ROUNDS]

Measured with the model prepared for the processor and with torch (``SEARCHX_RUNTIME=torch``), in
turns; the table gives the median and the least of each, and the processor time beside. "serve" is
until /readyz answers that no query has to wait, "beside" a search while it runs.
"""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from statistics import median
from typing import TypeAlias

import psutil

Seconds: TypeAlias = tuple[float, float]  # that passed, and that processors worked

COMMAND = [sys.executable, "-c", "from searchx.cli import main; main()"]  # as the script has it


def searched(library: str, settings: dict[str, str]) -> Seconds:
    started, before = time.perf_counter(), os.times()
    command = [*COMMAND, "search", "a dog on the beach", "--library", library]
    subprocess.run(command, env=settings, check=True, capture_output=True)
    now = os.times()
    used = now.children_user - before.children_user + now.children_system - before.children_system
    return time.perf_counter() - started, used


def searched_beside(library: str, settings: dict[str, str]) -> Seconds:
    with serving(library, settings):
        return searched(library, settings)


def served(library: str, settings: dict[str, str]) -> Seconds:
    started = time.perf_counter()
    with serving(library, settings) as server:
        passed = time.perf_counter() - started
        used = psutil.Process(server.pid).cpu_times()
        return passed, used.user + used.system


@contextmanager
def serving(library: str, settings: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Have a server run that no query has to wait for."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [*COMMAND, "serve", "--library", library, "--port", str(port)]
    with subprocess.Popen(command, env=settings, stderr=subprocess.DEVNULL) as server:
        try:
            while not is_ready(f"http://127.0.0.1:{port}/readyz"):
                time.sleep(0.01)
            yield server
        finally:
            server.terminate()


def is_ready(address: str) -> bool:
    with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(address) as answer:
        return bool(answer.status == 200)
    return False


def main(library: str, rounds: str = "5") -> None:
    prepared = {name: one for name, one in os.environ.items() if name != "SEARCHX_RUNTIME"}
    both = {"prepared": prepared, "torch": prepared | {"SEARCHX_RUNTIME": "torch"}}
    steps: dict[str, Callable[[str, dict[str, str]], Seconds]] = {
        "search": searched,
        "serve": served,
        "beside": searched_beside,
    }
    for name, step in steps.items():
        step(library, prepared)  # reads what is read into memory, and prepares once
        found: dict[str, list[Seconds]] = {which: [] for which in both}
        for _ in range(int(rounds)):
            for which, settings in both.items():
                found[which].append(step(library, settings))
        for which, times in found.items():
            passed = [one[0] for one in times]
            used = median(one[1] for one in times)
            print(
                f"{name:7} {which:9} {median(passed):6.2f} s, at best {min(passed):.2f} s, "
                f"processors {used:.2f} s",
                flush=True,
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
