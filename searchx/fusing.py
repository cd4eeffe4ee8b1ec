"""One vector for an item of several views: each centred, weighted, added up, made a unit row.

Pictures and texts lie apart in the space of a dual encoder (the modality gap; Liang et al. 2022,
arXiv 2203.02053). What all rows of a view have in common says nothing of an item, and where some
items lack a view it parts those that have it from those that do not. So the mean of each view is
taken away before the rows are added; tests/benchmarks/bench_views.py measures what that is worth.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from searchx.errors import BadInput
from searchx.records import Vectors


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one view, for those items that have it."""

    rows: Vectors  # (n, dim), unit; anything where an item lacks the view
    held: NDArray[np.bool_]  # (n,)


def fused(
    views: Mapping[str, Rows],
    weights: Mapping[str, float] | None = None,
    means: Mapping[str, Vectors] | None = None,
) -> Vectors:
    """Fuse views to one unit row (n, dim) for each item; zeros for one that has none of them.

    `weights` by the name of a view, 1 where none are given; a view that they leave out counts
    nothing. `means` (dim,) by the name of a view are taken away before. Raises BadInput.
    """
    weights = dict.fromkeys(views, 1.0) if weights is None else weights
    check_weights(weights, views)
    some = next(iter(views.values())).rows
    total: Vectors = np.zeros(some.shape, np.float32)
    for name, weight in weights.items():
        one = views[name]
        rows = one.rows if means is None else unit(one.rows - means[name])
        total += weight * np.where(one.held[:, None], rows, 0)  # (n, dim)
    return unit(total)


def check_weights(weights: Mapping[str, float], views: Mapping[str, object]) -> None:
    """Make sure that weights are such; raises BadInput."""
    for name, weight in weights.items():
        if name not in views:
            known = ", ".join(f'"{one}"' for one in views) or "none"
            raise BadInput(f'there is no view "{name}"; there are {known}')
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not weight >= 0:
            raise BadInput(f'the weight of "{name}" is {weight!r}; give a number from 0 on')
    if not any(weights.values()):
        raise BadInput("all weights are 0; give one view a weight")


def unit(rows: Vectors) -> Vectors:
    """Give rows of unit length; those without length stay as they are."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    found: Vectors = (rows / np.maximum(lengths, 1e-12)).astype(np.float32)
    return found
