"""Choose how hard to search: measured against the exact answers, on queries as people ask them.

Text queries lie apart from the pictures that they are asked of; what is tuned on vectors of
pictures looks good and fails on them (Chen et al., RoarGraph, VLDB 2024).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from searchx.records import Ids, Vectors
from searchx.vectors.exact import Halves, Scan
from searchx.vectors.inverted import Effort, Inverted

TARGET: Final = 0.99  # recall@10 of the queries that are tuned on; 0.97 is what is promised
K: Final = 10
MOST_QUERIES: Final = 256  # of each side: the standard error at the target is then 0.2 points
DEPTHS: Final = (64, 96, 128, 192, 256, 384, 512, 1024, 2048)
_NEAR_BEST: Final = 0.005  # recall given up where the target is out of reach
_ROW_COST: Final = 250  # of ranking one candidate again, in codes that are looked at meanwhile
Queries: TypeAlias = Mapping[str, Vectors]  # by the side they come from: "text", "image"


@dataclass(frozen=True, slots=True)
class Point:
    """One place on the recall curve: recall@10 by the side that the queries come from."""

    nprobe: int
    depth: int
    recall: dict[str, float]


def curve(made: Inverted, ids: Ids, matrix: Halves, queries: Queries) -> tuple[Point, ...]:
    """Measure recall@10 against exact search, for efforts from little to much."""
    asked = {side: rows[:MOST_QUERIES] for side, rows in queries.items() if len(rows)}
    scan = Scan(ids, matrix)
    truth = {side: scan.search(rows, K)[0] for side, rows in asked.items()}
    points = []
    for nprobe in _ladder(made.list_count):
        effort = Effort(nprobe, min(DEPTHS[-1], len(ids)))
        found = {side: made.candidates(rows, effort, None) for side, rows in asked.items()}
        for depth in DEPTHS:
            recall = {side: _recall(found[side][:, :depth], truth[side]) for side in asked}
            points.append(Point(nprobe, depth, recall))
    return tuple(points)


def chosen(points: tuple[Point, ...], side: str, codes_in_list: float) -> Effort:
    """Choose the least effort that reaches the target on a side, or nearly the best there is."""
    good = [one for one in points if one.recall.get(side, 0) >= TARGET]
    if not good:
        best = max(one.recall.get(side, 0) for one in points)
        good = [one for one in points if one.recall.get(side, 0) >= best - _NEAR_BEST]
    least = min(good, key=lambda one: one.nprobe * codes_in_list + one.depth * _ROW_COST)
    return Effort(least.nprobe, least.depth)


def deepened(effort: Effort, k: int, list_count: int) -> Effort:
    """Search harder where more than ten hits are asked for."""
    if k <= K:
        return effort
    more = np.sqrt(k / K)
    nprobe = min(round(effort.nprobe * more), list_count)
    return Effort(nprobe, max(effort.depth, round(effort.depth * more), 3 * k))


def _ladder(list_count: int) -> list[int]:
    """Give the numbers of lists to try, each half as much again as the one before."""
    steps = np.geomspace(max(1, list_count // 256), list_count // 2, 15)
    return sorted({max(1, round(step)) for step in steps})


def _recall(found: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    hits = [len(np.intersect1d(one, other)) for one, other in zip(found, truth, strict=True)]
    return float(sum(hits) / max(1, cast(Any, (truth != -1).sum())))
