"""Searching a million vectors: ours beside exact search and beside what others build.

    python -m tests.benchmarks.bench_engine EMBEDDINGS [COUNT ...] [--only NAME ...]
        [--out FILE.json] [--place DIR] [--queries N] [--added N]

Extends the real embeddings of a directory (tests.benchmarks.embeddings writes it) to each COUNT, by
default 100,000 and 1,000,000 (tests.benchmarks.geometry tells how and checks it), and asks every
system the same real queries: captions, and pictures that are not among the vectors. Each system
builds its files in one process, and is loaded and asked in others; memory is read after the
queries, from /proc, so this needs Linux. One query at a time and one thread for the latency, all
at once and all cores for the queries per second.

A system with a knob is measured at its default, and at the least effort that reaches recall@10 of
0.97 for the texts; where it does not get there, at the least effort that comes near its best.
A hit counts where its exact cosine reaches that of the true k-th: many drawings are each other's
double, and which of two doubles is found is no matter.

Then the same with filters: 0.1 to 99 % of the vectors pass, drawn at random, or all on one side
of what is asked for: the nearest ones to it, or the nearest ones to something far from it.

What is measured is written to the file at once, so that a run that is stopped keeps it. With
--place the vectors and what was built stay there, and a later run takes them as they are.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from searchx.records import Ids, Vectors
from searchx.vectors import Found, Halves
from tests.benchmarks.geometry import Floats, nearest, read, write
from tests.benchmarks.peers import READ, Ours, System, is_there, selective, systems

K = 10
TARGET = 0.97
NEAR_BEST = 0.002
ROUNDING = 1e-5  # cosines nearer than this are one
LONGEST = 120.0  # seconds of asking one by one
SHARES = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99)
SUBJECTS = 5  # directions that a filter is correlated with
EACH = 20  # queries near each, and as many far from it
Masks: TypeAlias = NDArray[np.bool_]
Figures: TypeAlias = dict[str, Any]  # JSON


@dataclass(frozen=True, slots=True)
class Scene:
    """A directory with the vectors, the queries and the true answers of one size."""

    place: Path

    @property
    def vectors(self) -> Halves:
        """(count + added, d), memory-mapped: reading it is no memory of the process."""
        mapped: Halves = np.load(self.place / "vectors.npy", mmap_mode="r")
        return mapped

    def load(self, name: str) -> NDArray[Any]:
        loaded: NDArray[Any] = np.load(self.place / f"{name}.npy")
        return loaded

    @property
    def count(self) -> int:
        return int((self.place / "count").read_text())

    @property
    def ids(self) -> Ids:
        return np.arange(1, len(self.vectors) + 1)


def prepare(scene: Scene, embeddings: Path, count: int, queries: int, added: int) -> None:
    """Write the vectors, the queries and the truth; `count` comes last and says that all is there.

    `added` rows more than `count` are written: what is added later.
    """
    if (scene.place / "count").exists():
        return
    scene.place.mkdir(parents=True, exist_ok=True)
    material = read(embeddings)
    write(scene.place / "vectors.npy", material.images, count + added)
    asked = {"text": material.texts[:queries], "image": material.pictures[:queries]}
    for name, rows in asked.items():
        np.save(scene.place / f"{name}.npy", rows)
        np.save(scene.place / f"{name}-truth.npy", true_scores(scene.vectors[:count], rows))
    np.save(scene.place / "tuning.npy", material.tuning)
    prepare_filters(scene, material.texts, count)
    (scene.place / "count").write_text(str(count))


def true_scores(vectors: Halves, queries: Vectors) -> Floats:
    """Give the K highest cosines (q, K) of every query, best first."""
    everything = np.ones((len(vectors), 1), bool)
    return true_scores_among(vectors, [queries], everything, [0])[0]


def true_scores_among(
    vectors: Halves, queries: list[Vectors], masks: Masks, masked: list[int]
) -> list[Floats]:
    """Give them among what passes: of queries[i], by column masked[i] of the masks (n, m)."""
    best = [np.full((len(one), K), -np.inf, np.float32) for one in queries]
    for start in range(0, len(vectors), READ):
        rows = vectors[start : start + READ].astype(np.float32)
        for case, asked in enumerate(queries):
            passing = rows[masks[start : start + READ, masked[case]]]
            if len(passing):
                both = np.concatenate([best[case], nearest(asked, passing, K)[0]], axis=1)
                best[case] = -np.sort(-both, axis=1)[:, :K]
    return best


def prepare_filters(scene: Scene, texts: Vectors, count: int) -> None:
    """Write what passes (cases, n) as bits, who asks (cases, EACH), and the truth of it."""
    random = np.random.default_rng(2)
    each = min(EACH, len(texts) // 2)
    subjects = texts[random.permutation(len(texts))[:SUBJECTS]]
    likeness = np.concatenate(
        [
            scene.vectors[start : min(start + READ, count)].astype(np.float32) @ subjects.T
            for start in range(0, count, READ)
        ]
    )  # (n, subjects)
    masks, asking, names = [], [], []
    for number, subject in enumerate(subjects):
        order = np.argsort(-(texts @ subject))
        near, far = order[:each], order[-each:]
        for share in SHARES:
            size = max(1, round(share * count))
            drawn = np.zeros(count, bool)
            drawn[random.permutation(count)[:size]] = True
            one_side = np.zeros(count, bool)
            one_side[np.argpartition(-likeness[:, number], size - 1)[:size]] = True
            masks += [drawn, one_side, one_side]
            asking += [near, near, far]
            names += [(kind, share) for kind in ("random", "near", "far")]
    queries = [texts[one] for one in asking]
    truth = true_scores_among(
        scene.vectors[:count], queries, np.stack(masks, axis=1), list(range(len(masks)))
    )
    np.save(scene.place / "filter-bits.npy", np.packbits(np.stack(masks), axis=1))
    np.save(scene.place / "filter-queries.npy", np.stack(queries))
    np.save(scene.place / "filter-truth.npy", np.stack(truth))
    (scene.place / "filter-names.json").write_text(json.dumps(names))


def recall(found: Found, vectors: Halves, queries: Vectors, truth: Floats, k: int) -> float:
    """Give the share of the true k (or of fewer, where fewer pass) that was found."""
    shares = []
    for ids, query, true in zip(found[0][:, :k], queries, truth[:, :k], strict=True):
        true = true[np.isfinite(true)]
        own = np.unique(ids[ids > 0])
        scores = vectors[own - 1].astype(np.float32) @ query
        reached = (scores >= true.min(initial=np.inf) - ROUNDING).sum()
        shares.append(min(1.0, reached / len(true)))
    return float(np.mean(shares))


# What a process of its own does, one step a process: each gives figures.


def building(system: System, scene: Scene, place: Path) -> Figures:
    count = scene.count
    started = time.perf_counter()
    system.build(place, scene.ids[:count], scene.vectors[:count], scene.load("tuning"))
    seconds = time.perf_counter() - started
    size = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
    return {"build_seconds": seconds, "file_bytes": size}


def tuning(system: System, scene: Scene, place: Path) -> Figures:
    """Find the efforts to measure, and what each gives."""
    default = system.load(place)
    queries, truth = scene.load("text"), scene.load("text-truth")
    curve = {}
    for effort in system.efforts:
        found = system.search(queries, K, effort, cores())
        curve[effort] = recall(found, scene.vectors, queries, truth, K)
        values = list(curve.values())
        if values[-1] >= TARGET or (len(values) > 2 and values[-1] - values[-3] < NEAR_BEST / 2):
            break
    best = max(curve.values(), default=0.0)
    enough = [one for one, value in curve.items() if value >= min(TARGET, best - NEAR_BEST)]
    efforts = list(dict.fromkeys([default, *enough[:1]]))
    return {"default": default, "efforts": efforts, "curve": curve}


def asking(system: System, scene: Scene, place: Path, effort: int) -> Figures:
    """Ask one by one, on one thread; then look at the memory, and only then at the vectors."""
    asked = {name: scene.load(name) for name in ("text", "image")}
    before = memory(place)
    started = time.perf_counter()
    system.load(place)
    figures: Figures = {"load_seconds": time.perf_counter() - started, "before": before}
    found = {}
    for name, queries in asked.items():
        if isinstance(system, Ours):
            system.side = name
        found[name], milliseconds = one_by_one(system, queries, effort)
        for share in (50, 99):
            figures[f"{name}_p{share}_ms"] = float(np.percentile(milliseconds, share))
        figures[f"{name}_asked"] = len(milliseconds)
    figures["memory"] = memory(place)
    for name, answers in found.items():
        some = len(answers[0])
        truth = scene.load(f"{name}-truth")[:some]
        for k in (1, K):
            value = recall(answers, scene.vectors, asked[name][:some], truth, k)
            figures[f"{name}_recall@{k}"] = value
    return figures


def one_by_one(system: System, queries: Vectors, effort: int) -> tuple[Found, list[float]]:
    for query in queries[:10]:
        system.search(query[None], K, effort, 1)  # the first ones read files
    ids, scores, milliseconds = [], [], []
    for query in queries:
        started = time.perf_counter()
        found = system.search(query[None], K, effort, 1)
        milliseconds.append(1000 * (time.perf_counter() - started))
        ids.append(found[0])
        scores.append(found[1])
        if sum(milliseconds) > 1000 * LONGEST:
            break
    return (np.concatenate(ids), np.concatenate(scores)), milliseconds


def at_once(system: System, scene: Scene, place: Path, effort: int) -> Figures:
    """Ask all texts in one call on all cores, for three seconds and once at least."""
    system.load(place)
    queries = scene.load("text")
    system.search(queries[: 2 * cores()], K, effort, cores())
    started, asked = time.perf_counter(), 0
    while not asked or time.perf_counter() - started < 3:
        system.search(queries, K, effort, cores())
        asked += len(queries)
    return {"queries_per_second": asked / (time.perf_counter() - started), "cores": cores()}


def adding(system: System, scene: Scene, place: Path, effort: int) -> Figures:
    """Add vectors to what is loaded, until a search finds them: some ask for themselves."""
    system.load(place)
    count = scene.count
    ids, rows = scene.ids[count:], np.asarray(scene.vectors[count:])
    some = np.linspace(0, len(ids) - 1, 100).astype(np.int64)
    queries = rows[some].astype(np.float32)
    started = time.perf_counter()
    system.add(ids, rows)
    found = system.search(queries, K, effort, cores())
    seconds = time.perf_counter() - started
    reached = np.mean([own in row for own, row in zip(ids[some], found[0], strict=True)])
    return {"add_seconds": seconds, "added": len(ids), "added_found": float(reached)}


def filtering(scene: Scene, name: str, place: Path) -> Figures:
    system = selective()[name]
    effort = system.load(place)
    names = json.loads((scene.place / "filter-names.json").read_text())
    bits, asked = scene.load("filter-bits"), scene.load("filter-queries")
    truth, ids = scene.load("filter-truth"), scene.ids[: scene.count]
    shares: dict[str, list[float]] = {}
    times: dict[str, list[float]] = {}
    for case, (kind, share) in enumerate(names):
        among = ids[np.unpackbits(bits[case], count=scene.count).astype(bool)]
        started = time.perf_counter()
        found = system.search_among(asked[case], K, effort, cores(), among)
        times.setdefault(f"{kind} {share}", []).append(time.perf_counter() - started)
        value = recall(found, scene.vectors, asked[case], truth[case], K)
        shares.setdefault(f"{kind} {share}", []).append(value)
    return {
        "filtered_recall@10": {one: float(np.mean(values)) for one, values in shares.items()},
        "filtered_ms": {
            one: 1000 * float(np.mean(values)) / len(asked[0]) for one, values in times.items()
        },
    }


def memory(place: Path) -> Figures:
    """Give bytes: anonymous, of files that are mapped, and of those the ones beneath `place`."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    figures = {
        name: 1024 * int(status[field].split()[0])
        for name, field in (("anonymous", "RssAnon"), ("files", "RssFile"))
    }
    return {**figures, "own_files": sum(resident(str(place.resolve())))}


def resident(beneath: str) -> Iterator[int]:
    is_ours = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first = line.split(maxsplit=1)[0]
        if not first.endswith(":"):  # the head of a mapping: addresses, rights, …, path
            is_ours = f" {beneath}/" in line
        elif is_ours and first == "Rss:":
            yield 1024 * int(line.split()[1])


def cores() -> int:
    return len(os.sched_getaffinity(0))


# What the first process does: it starts the others, keeps what they say, and shows it.


@dataclass(frozen=True, slots=True)
class Step:
    """A step of one system, as the process that takes it is told."""

    does: str
    system: str
    scene: str
    place: str
    effort: int = 0


def take(step: Step) -> Figures:
    """Take a step in this process."""
    system, scene, place = systems()[step.system], Scene(Path(step.scene)), Path(step.place)
    if step.does == "building":
        return building(system, scene, place)
    if step.does == "tuning":
        return tuning(system, scene, place)
    if step.does == "filtering":
        return filtering(scene, step.system, place)
    steps: dict[str, Callable[[System, Scene, Path, int], Figures]] = {
        "asking": asking,
        "at_once": at_once,
        "adding": adding,
    }
    return steps[step.does](system, scene, place, step.effort)


def in_a_process(step: Step) -> Figures:
    """Take a step in a process of its own; one thread for those asked one by one."""
    threads = "1" if step.does == "asking" else str(cores())
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    settings = {**os.environ, **dict.fromkeys(names, threads)}
    command = [sys.executable, "-m", "tests.benchmarks.bench_engine", "--step"]
    done = subprocess.run(
        [*command, json.dumps(asdict(step))], capture_output=True, text=True, env=settings
    )
    if done.returncode:
        raise RuntimeError(f"{step.system}, {step.does}: {done.stderr.strip()[-2000:]}")
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def measured(name: str, scene: Scene) -> Iterator[Figures]:
    """Build, and measure at every effort that matters; gives one line of the table at a time."""
    place = scene.place / name
    built = built_once(name, scene, place)
    where = (name, str(scene.place), str(place))
    tuned = in_a_process(Step("tuning", *where))
    for effort in tuned["efforts"]:
        yield {
            "system": name,
            "vectors": scene.count,
            "effort": effort,
            "is_default": effort == tuned["default"],
            "curve": tuned["curve"],
            **built,
            **in_a_process(Step("asking", *where, effort)),
            **in_a_process(Step("at_once", *where, effort)),
            **in_a_process(Step("adding", *where, effort)),
        }
    if name in selective():
        told = in_a_process(Step("filtering", *where))
        yield {"system": name, "vectors": scene.count, **told}


def built_once(name: str, scene: Scene, place: Path) -> Figures:
    """Build, or give the figures of what is there."""
    told = scene.place / f"{name}.built.json"
    if not told.exists():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        figures = in_a_process(Step("building", name, str(scene.place), str(place)))
        told.write_text(json.dumps(figures))
    built: Figures = json.loads(told.read_text())
    return built


COLUMNS: dict[str, Callable[[Figures], str]] = {
    "vectors": lambda one: f"{one['vectors']:,}",
    "system": lambda one: one["system"] + (f" ({one['effort']})" if one["effort"] else ""),
    "text R@1": lambda one: f"{one['text_recall@1']:.3f}",
    "text R@10": lambda one: f"{one['text_recall@10']:.3f}",
    "image R@1": lambda one: f"{one['image_recall@1']:.3f}",
    "image R@10": lambda one: f"{one['image_recall@10']:.3f}",
    "p50 ms": lambda one: f"{one['text_p50_ms']:.2f}",
    "p99 ms": lambda one: f"{one['text_p99_ms']:.2f}",
    "queries/s": lambda one: f"{one['queries_per_second']:,.0f}",
    "memory MB": lambda one: megabytes(one["memory"]["anonymous"]),
    "of it the index MB": lambda one: megabytes(
        one["memory"]["anonymous"] - one["before"]["anonymous"]
    ),
    "+ mapped MB": lambda one: megabytes(one["memory"]["anonymous"] + one["memory"]["own_files"]),
    "files MB": lambda one: megabytes(one["file_bytes"]),
    "build s": lambda one: f"{one['build_seconds']:,.0f}",
    "more s": lambda one: f"{one['add_seconds']:.2f}",
}


def megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f}"


def show(results: list[Figures]) -> None:
    rows = [one for one in results if "effort" in one]
    if rows:
        print(f"\n{K} hits, {rows[0]['cores']} cores. Memory is that of the whole process, with")
        print("Python and its packages; `index` is what it grew by since the queries were there,")
        print(
            f"`mapped` adds its own files. `more`: until {rows[0]['added']:,} new ones are found\n"
        )
        print("| " + " | ".join(COLUMNS) + " |")
        print("|" + "---|" * 2 + "---:|" * (len(COLUMNS) - 2))
    for one in rows:
        print("| " + " | ".join(make(one) for make in COLUMNS.values()) + " |")
    filtered = [one for one in results if "filtered_recall@10" in one]
    if filtered:
        print("\nRecall@10 where only a share of the vectors passes a filter (ms a query)\n")
        print("| vectors | system | what passes |" + "".join(f" {x:.1%} |" for x in SHARES))
        print("|" + "---|" * 3 + "---:|" * len(SHARES))
    for one in filtered:
        for kind in ("random", "near", "far"):
            cells = [
                f"{one['filtered_recall@10'][f'{kind} {x}']:.3f} "
                f"({one['filtered_ms'][f'{kind} {x}']:.1f})"
                for x in SHARES
            ]
            print(f"| {one['vectors']:,} | {one['system']} | {kind} | {' | '.join(cells)} |")


def run(asked: argparse.Namespace, place: Path) -> None:
    results: list[Figures] = []
    everyone = systems()
    for count in asked.counts:
        scene = Scene(place / f"{count}-{asked.queries}-{asked.added}")
        prepare(scene, asked.embeddings, count, asked.queries, asked.added)
        for name in asked.only or everyone:
            if not is_there(everyone[name]):
                print(f"{name}: left out, {everyone[name].needs} is not installed", flush=True)
                continue
            print(f"{count:,} vectors: {name}", file=sys.stderr, flush=True)
            try:
                for figures in measured(name, scene):
                    results.append(figures)
                    if asked.out:
                        asked.out.write_text(json.dumps(results, indent=1))
            except RuntimeError as error:  # the others are worth measuring
                print(f"left out: {error}", flush=True)
    show(results)


def main() -> None:
    if sys.argv[1:2] == ["--step"]:
        print(json.dumps(take(Step(**json.loads(sys.argv[2])))))
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("embeddings", type=Path)
    parser.add_argument("counts", type=int, nargs="*")
    parser.add_argument("--only", nargs="+", choices=systems(), default=[])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--place", type=Path, help="keep vectors and indexes there")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--added", type=int, default=10_000)
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # as Ctrl-C: what was started ends too
    asked.counts = asked.counts or [100_000, 1_000_000]
    if asked.place:
        run(asked, asked.place)
        return
    with tempfile.TemporaryDirectory() as place:
        run(asked, Path(place))


if __name__ == "__main__":
    main()
