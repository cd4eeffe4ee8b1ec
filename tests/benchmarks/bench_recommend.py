"""Recommendations for simulated users of known tastes, and how many users a second.

    python -m tests.benchmarks.bench_recommend EMBEDDINGS PAIRS.parquet ... [--users N]
        [--captions] [--speed COUNT ...]

EMBEDDINGS is what tests.benchmarks.embeddings writes of the pairs, whose labels are the tastes. A
user has one to three tastes, which he likes unevenly, and has clicked on some 9 to 30 pictures:
each shows one of his tastes, or is anything at all (one of ten). Some pictures are clicked more
often than others, so popularity is worth something. What he has not clicked and shows one of his
tastes is what he wants; and what he clicks next is drawn as before.

Everybody gets ten pictures, from: what is clicked most; the mean of what he clicked (one interest);
several interests. Then he waves away those of the ten that show none of his tastes, and gets ten
others, with and without a look at what he waved away. With --captions the captions of the pictures
are the items, in their place.

With --speed in place of that, the items are extended to each COUNT (tests.benchmarks.geometry), and
users/s are told beside a loop over a bare FAISS index of means and an exact one in NumPy, also in
seconds of the processor, since other work on the machine does not change those much.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from searchx.catalog import Catalog, Content, NewFile, NewItem
from searchx.measures import Figure, Measured, bootstrap, difference, measure
from searchx.ragged import Ragged
from searchx.records import Ids, Space, Vectors
from searchx.refreshing import refresh_snapshots
from searchx.search import Library
from tests.benchmarks.geometry import Method, extend, unit

K = 10
NEXT = 50  # pictures that the next clicks are looked for among
NOISE = 0.1
COMMON = 0.5  # a label on more of the pictures is no taste
ROOT = "/shop"
BLOCK = 1_024
MET = ("tastes met@10", "visits met@10", "fair shares@10")
Masks = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Users:
    """What simulated users like, and what they did; items by their place."""

    tastes: list[Ids]  # labels
    liking: list[NDArray[np.float64]]  # how much of each, 1 in all
    clicked: list[Ids]
    later: list[Ids]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("embeddings", type=Path)
    parser.add_argument("pairs", type=Path, nargs="+")
    parser.add_argument("--users", type=int, default=400)
    parser.add_argument("--captions", action="store_true")
    parser.add_argument("--speed", type=int, nargs="*", default=[])
    asked = parser.parse_args()
    side = "captions" if asked.captions else "images"
    rows, shows, names = items(asked.embeddings, asked.pairs, side)
    print(f"{len(rows)} {side}, {asked.users} users, tastes: {', '.join(names)}")
    with tempfile.TemporaryDirectory() as place:
        if not asked.speed:
            with library_of(Path(place) / "shop", rows) as library:
                quality(library, simulated(shows, asked.users), shows)
        for count in asked.speed:
            print(f"\n{count} pictures, {asked.users} users, k = {K}")
            grown = np.concatenate(list(extend(rows, count, Method()))).astype(np.float32)
            with library_of(Path(place) / str(count), unit(grown)) as library:
                speed(library, unit(grown), asked.users)


def items(folder: Path, places: Sequence[Path], side: str) -> tuple[Vectors, Masks, list[str]]:
    """Give vectors (n, dim), which labels each shows (n, l), and the labels that are tastes."""
    there = [one for one in places if (folder / f"{one.stem}.{side}.npy").exists()]
    rows = np.concatenate([unit(np.load(folder / f"{one.stem}.{side}.npy")) for one in there])
    held = [
        set(labels or ())
        for one in there
        for labels in pq.read_table(one, columns=["labels"])["labels"].to_pylist()
    ]
    names = sorted(set().union(*held))
    shows = np.array([[name in one for name in names] for one in held])
    share = shows.mean(axis=0)
    kept = (share < COMMON) & (shows.sum(axis=0) >= 40)
    return rows, shows[:, kept], [name for name, one in zip(names, kept, strict=True) if one]


def simulated(shows: Masks, count: int) -> Users:
    random = np.random.default_rng(0)
    weights = 1 / (1 + random.permutation(len(shows)))  # how likely each is clicked
    users = Users([], [], [], [])
    for _ in range(count):
        tastes = random.permutation(shows.shape[1])[: random.integers(1, 4)]
        liking = random.dirichlet(np.full(len(tastes), 2.0))
        clicks = _clicks(random, shows, weights, tastes, liking, int(random.integers(12, 41)))
        half = max(6, len(clicks) * 3 // 4)
        users.tastes.append(tastes)
        users.liking.append(liking)
        users.clicked.append(clicks[:half])
        users.later.append(clicks[half:])
    return users


def _clicks(
    random: np.random.Generator,
    shows: Masks,
    weights: NDArray[np.float64],
    tastes: Ids,
    liking: NDArray[np.float64],
    count: int,
) -> Ids:
    chosen: list[int] = []
    for _ in range(count):
        taste = random.choice(tastes, p=liking)
        among = (
            np.arange(len(shows)) if random.random() < NOISE else np.flatnonzero(shows[:, taste])
        )
        chance = np.sqrt(weights[among])
        chosen.append(int(random.choice(among, p=chance / chance.sum())))
    return np.array(list(dict.fromkeys(chosen)))


def library_of(place: Path, rows: Vectors) -> Library:
    """Make a library in which the picture at a place has the id of that place, plus one."""
    catalog = Catalog.open(place, create=True)
    with catalog.writing() as tx:
        tx.claim_space(Space("mini", "simulated", rows.shape[1]))
        tx.add_source(ROOT)
        for start in range(0, len(rows), BLOCK):
            numbers = range(start, min(start + BLOCK, len(rows)))
            tx.add_items([NewItem("image", f"{one:064x}", rows[one]) for one in numbers])
            for one in numbers:
                contents = [Content("image", f"{one:064x}")]
                tx.set_file(ROOT, NewFile(f"{ROOT}/{one % 64}/{one}", 1, 1, contents))
    refresh_snapshots(catalog, whole=True)
    return Library(catalog)


def quality(library: Library, users: Users, shows: Masks) -> None:
    histories = [one + 1 for one in users.clicked]
    random = np.random.default_rng(1)
    systems: dict[str, Ids] = {
        "anything": random.integers(1, len(shows) + 1, (len(histories), NEXT)),
        "clicked most": popular(users.clicked, len(shows)),
        "one mean": library.recommend_batch(histories, k=NEXT, interests=1).ids,
        "one mean, half-life 8": library.recommend_batch(
            histories, k=NEXT, interests=1, half_life=8
        ).ids,
        "2 interests": library.recommend_batch(histories, k=NEXT, interests=2).ids,
        "4 interests": library.recommend_batch(histories, k=NEXT).ids,
        "8 interests": library.recommend_batch(histories, k=NEXT, interests=8).ids,
        "4 interests, half-life 8": library.recommend_batch(histories, k=NEXT, half_life=8).ids,
        "4 interests, diversity 0.3": library.recommend_batch(histories, k=NEXT, diversity=0.3).ids,
    }
    first = systems["4 interests"][:, :K]
    away = [
        row[~shows[row - 1][:, tastes].any(axis=1)]
        for row, tastes in zip(first, users.tastes, strict=True)
    ]
    print(f"\nwaved away of the first ten: {np.mean([len(one) for one in away]):.2f}")
    seen = Ragged.of(first)
    systems["ten others"] = library.recommend_batch(histories, k=NEXT, exclude=seen).ids
    systems["ten others, negatives"] = library.recommend_batch(
        histories, away, k=NEXT, exclude=seen
    ).ids
    wanted = [
        1 + np.setdiff1d(np.flatnonzero(shows[:, tastes].any(axis=1)), clicked)
        for tastes, clicked in zip(users.tastes, users.clicked, strict=True)
    ]
    measured = {}
    heads = ["precision@10", "ndcg@10", *MET, "next clicks@50", "diversity@10", "coverage@10"]
    print(f"\n| {'':27} | {' | '.join(heads)} |")
    for name, ids in systems.items():
        found = measure(ids, wanted, (K,), vectors=library.vectors, catalog=len(shows))
        after = measure(ids, [one + 1 for one in users.later], (NEXT,))
        met = tastes_met(ids[:, :K], users, shows)
        figures = bootstrap(met, 1000, 0)
        found.values.update(met)
        measured[name] = found
        cells = [found["precision@10"], found["ndcg@10"], *figures.values(), after["recall@50"]]
        cells += [found["diversity@10"], found["coverage@10"]]
        print(f"| {name:27} | {' | '.join(map(told, cells))} |", flush=True)
    print("\n4 interests ahead of one mean, user by user:")
    for several in (1, 2, 3):
        those = np.array([len(one) == several for one in users.tastes])
        ahead = difference(of(measured["4 interests"], those), of(measured["one mean"], those))
        said = ", ".join(f"{name} {told(ahead[name])}" for name in ("precision@10", *MET))
        print(f"  users with {several} tastes ({those.sum()}): {said}")


def popular(clicked: Sequence[Ids], items: int) -> Ids:
    """Give each user what is clicked most, but what he clicked himself."""
    counts = np.bincount(np.concatenate(clicked), minlength=items)
    order = np.argsort(-counts, kind="stable")[: NEXT + 64]
    return np.stack([order[~np.isin(order, one)][:NEXT] + 1 for one in clicked])


def tastes_met(ids: Ids, users: Users, shows: Masks) -> dict[str, NDArray[np.float64]]:
    """Tell of each user what his list meets.

    The share of his tastes that a picture shows; the chance that his visit, which is about one of
    them, as likely as he likes it, finds it; and how far the list is from what he likes in its
    shares of tastes (calibration: 1 less half the sum of the differences; Steck, RecSys 2018).
    """
    met, visit, fair = (np.zeros(len(ids)) for _ in range(3))
    for user, (row, own, liking) in enumerate(zip(ids, users.tastes, users.liking, strict=True)):
        shown = shows[row - 1][:, own]  # (k, tastes)
        met[user] = shown.any(axis=0).mean()
        visit[user] = shown.any(axis=0) @ liking
        shares = (shown / shown.sum(axis=1, keepdims=True).clip(1)).mean(axis=0)
        fair[user] = np.minimum(shares, liking).sum()
    return dict(zip(MET, (met, visit, fair), strict=True))


def of(measured: Measured, those: Masks) -> Measured:
    values = {name: one[those] for name, one in measured.values.items()}
    return Measured({}, values, int(those.sum()), int(those.sum()))


def told(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return f"{figure.value:.3f}"
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


def speed(library: Library, rows: Vectors, count: int) -> None:
    random = np.random.default_rng(2)
    some = [random.integers(0, len(rows), random.integers(6, 31)) for _ in range(count)]
    near = clicks_near(rows, some)
    lists = Ragged.of([one + 1 for one in near])
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    ways: dict[str, Callable[[], object]] = {
        "searchx, one mean": lambda: library.recommend_batch(lists, k=K, interests=1),
        "searchx, up to 4 interests": lambda: library.recommend_batch(lists, k=K),
        "bare FAISS, exact, one mean": lambda: bare(index, rows, near),
        "NumPy, exact, one mean": lambda: plain(rows, near),
    }
    for name, way in ways.items():
        library.recommend_batch(lists.part(0, 8), k=K)  # what is loaded once
        began, spent = time.perf_counter(), time.process_time()
        way()
        wall, cpu = time.perf_counter() - began, time.process_time() - spent
        rates = f"{count / cpu:8.0f} users a processor second | {count / wall:8.0f} users/s"
        print(f"| {name:28} | {rates} |", flush=True)


def clicks_near(rows: Vectors, starts: Sequence[Ids]) -> list[Ids]:
    """Let histories be of two subjects each: what lies around two pictures."""
    seeds = np.array([one[:2] for one in starts])
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    _, found = index.search(np.ascontiguousarray(rows[seeds.ravel()]), 16)
    return [
        np.unique(found[2 * user : 2 * user + 2].ravel())[: len(one)]
        for user, one in enumerate(starts)
    ]


def bare(index: faiss.IndexFlatIP, rows: Vectors, clicked: Sequence[Ids]) -> Ids:
    """Ask FAISS with a mean for each user, and leave out what he clicked."""
    means = unit(np.stack([rows[one].mean(axis=0) for one in clicked]))
    lists = []
    for start in range(0, len(means), BLOCK):
        _, found = index.search(means[start : start + BLOCK], K + 30)
        lists += [row[~np.isin(row, clicked[start + at])][:K] for at, row in enumerate(found)]
    return np.stack(lists)


def plain(rows: Vectors, clicked: Sequence[Ids]) -> Ids:
    """Compare all means with all pictures, as one would in NumPy."""
    means = unit(np.stack([rows[one].mean(axis=0) for one in clicked]))
    lists = []
    for start in range(0, len(means), BLOCK):
        scores = means[start : start + BLOCK] @ rows.T
        for at, row in enumerate(scores):
            row[clicked[start + at]] = -np.inf
        best = np.argpartition(-scores, K, axis=1)[:, :K]
        order = np.argsort(-np.take_along_axis(scores, best, 1), axis=1)
        lists.append(np.take_along_axis(best, order, 1))
    return np.concatenate(lists)


if __name__ == "__main__":
    main()
