"""How long does it take to see that nothing changed: files/s beside a bare walk of the same tree.

python -m tests.benchmarks.bench_walk [FILES]
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from indexer.files import walk
from indexer.pipeline import index_into
from indexer.rules import Rules
from tests.colour import ColourEncoder

FILES = 100_000
A_FOLDER = 1_000
RUNS = 5


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else FILES
    with tempfile.TemporaryDirectory() as place:
        root, library = Path(place) / "source", Path(place) / "library"
        make(root, count)
        encoder, excluding = ColourEncoder(), Rules(exclude=("*.tmp", "cache/"))

        def index() -> int:
            report = index_into(library, [root], encoder)
            return report.unchanged + report.added

        started = time.perf_counter()
        assert index() == count
        print(f"{count} files in folders of {A_FOLDER}; indexed in", end=" ")
        print(f"{time.perf_counter() - started:.1f} s; then, nothing changed, median of {RUNS}:")
        table(
            count,
            {
                "os.scandir + stat": lambda: bare(str(root)),
                "walk": lambda: walked(root, Rules()),
                "walk with --exclude": lambda: walked(root, excluding),
                "searchx index": index,
            },
        )


def make(root: Path, count: int) -> None:
    """Make files of a few bytes, each a text of its own of a hundred that there are."""
    for number in range(count):
        folder = root / f"{number // A_FOLDER:05}"
        if number % A_FOLDER == 0:
            folder.mkdir(parents=True)
        (folder / f"note-{number:07}.md").write_text(f"red {number % 100}")


def table(count: int, tasks: dict[str, Callable[[], int]]) -> None:
    """Time the tasks in turn, so that other work of the machine falls on all of them."""
    seconds: dict[str, list[float]] = {title: [] for title in tasks}
    for _ in range(RUNS):
        for title, task in tasks.items():
            started = time.perf_counter()
            assert task() == count
            seconds[title].append(time.perf_counter() - started)
    least = statistics.median(next(iter(seconds.values())))
    print(f"{'':20} {'seconds':>8} {'files/s':>10} {'x bare':>7}")
    for title, times in seconds.items():
        middle = statistics.median(times)
        print(f"{title:20} {middle:8.3f} {count / middle:10.0f} {middle / least:7.2f}")


def bare(root: str) -> int:
    """Look at every file and keep nothing: what the walk cannot do without."""
    count, folders = 0, [root]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir():
                    folders.append(entry.path)
                else:
                    entry.stat()
                    count += 1
    return count


def walked(root: Path, rules: Rules) -> int:
    return sum(len(folder.files) for folder in walk(str(root), rules))


if __name__ == "__main__":
    main()
