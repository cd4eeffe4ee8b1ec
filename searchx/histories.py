"""What users liked, and how much each of it counts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias

import numpy as np

from searchx.arrow import vectors_from_arrow
from searchx.errors import BadInput
from searchx.profiles import decayed
from searchx.ragged import Ragged
from searchx.records import Vectors
from searchx.vectors import NO_ID, unit_rows

Find: TypeAlias = Callable[[Sequence[str]], Mapping[str, int]]  # items of external ids


@dataclass(frozen=True, slots=True, eq=False)
class Histories:
    """What each of some users liked: items of the library, or vectors."""

    lists: Ragged  # ids, or places in `given`
    weights: Ragged  # what each counts
    given: Vectors | None = None  # (n, dim) unit rows

    @classmethod
    def of(
        cls,
        liked: Any,
        dim: int,
        times: Any = None,
        weights: Any = None,
        half_life: float | timedelta | None = None,
        find: Find | None = None,
    ) -> "Histories":
        """Read histories: lists of ids, oldest first; or vectors, (q, dim) or (q, n, dim).

        Arrow columns will do. `times` and `weights` are lists of the same lengths. With
        `half_life`, in the unit of the times (seconds, where they are datetimes), an item counts
        half as much that long before the user's newest; without times its place in the list is its
        time. With `find` the ids are external ones. Raises BadInput.
        """
        given = _vectors(liked)
        if given is not None:
            lists = _numbered(given)
        else:
            lists = Ragged.of(liked) if find is None else looked_up(liked, find)
        if given is not None:
            given = unit_rows(given.reshape(-1, given.shape[-1]), dim)
        counts = _beside(lists, weights, "weights")
        if counts is not None and not ((counts.values >= 0) & np.isfinite(counts.values)).all():
            raise BadInput("weights hold a value below 0, or none; give dislikes as negatives")
        when = _beside(lists, times, "times")
        if when is not None and not np.isfinite(when.values).all():
            raise BadInput("times hold a value that is not finite")
        total = np.ones(len(lists.values)) if counts is None else counts.values
        if half_life is not None:
            places = np.arange(len(lists.values)) - np.repeat(lists.offsets[:-1], lists.lengths)
            ages = Ragged(places.astype(np.float64), lists.offsets) if when is None else when
            total = total * decayed(ages, _seconds(half_life)).values
        return cls(lists, Ragged(total, lists.offsets), given)

    def __len__(self) -> int:
        return len(self.lists)

    def part(self, start: int, stop: int) -> "Histories":
        """Give some of the users."""
        stop = min(stop, len(self))
        lists, weights = self.lists.part(start, stop), self.weights.part(start, stop)
        return Histories(lists, weights, self.given)


def looked_up(lists: Any, find: Find) -> Ragged:
    """Read lists of external ids, texts or whole numbers, as those of items: -1 is not there.

    Each keeps its place, beside its time and weight. Raises BadInput for what is no id.
    """
    given = Ragged.of(lists, None)
    wanted = given.values.tolist()
    names = {one: _name(one) for one in dict.fromkeys(wanted)}
    found = find(list(names.values()))
    ids = [found.get(names[one], NO_ID) for one in wanted]
    return Ragged(np.array(ids, np.int64), given.offsets)


def _name(id: object) -> str:
    if isinstance(id, bool) or not isinstance(id, str | int):
        raise BadInput(f"the lists hold {type(id).__name__}; give texts or whole numbers")
    return str(id)


def _vectors(liked: Any) -> Vectors | None:
    """Give vectors where those are given, as they are; None for ids."""
    if isinstance(liked, np.ndarray):
        if liked.dtype.kind != "f":
            return None
        if liked.ndim not in (2, 3):
            raise BadInput(f"vectors have shape {liked.shape}; give (q, dim) or (q, n, dim)")
        return liked
    kind = str(getattr(liked, "type", ""))
    is_rows = kind.startswith("fixed_size_list<") and ("float" in kind or "double" in kind)
    return vectors_from_arrow(liked) if is_rows else None


def _numbered(given: Vectors) -> Ragged:
    each = 1 if given.ndim == 2 else given.shape[1]
    return Ragged(np.arange(len(given) * each), np.arange(len(given) + 1) * each)


def _beside(lists: Ragged, others: Any, name: str) -> Ragged | None:
    if others is None:
        return None
    found = Ragged.of(others, np.float64)
    if not np.array_equal(found.offsets, lists.offsets):
        raise BadInput(f"{name} have other lengths than the histories; give one for each item")
    return found


def _seconds(half_life: float | timedelta) -> float:
    if isinstance(half_life, timedelta):
        return half_life.total_seconds()
    return float(half_life)
