"""Interactions: pictures that people put together, read from a table of two columns.

Each row names two pictures, by path or by the id of an item: bought together, liked by one person,
clicked one after the other. Columns `weight` and `time` are taken where they are there.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from searchx.errors import BadInput

if TYPE_CHECKING:
    import pyarrow

Picture: TypeAlias = Path | bytes
Resolve: TypeAlias = Callable[[Sequence[int]], Mapping[int, Picture]]  # ids of items to pictures
_BESIDE: Final = ("weight", "time")


@dataclass(frozen=True, slots=True, eq=False)
class Links:
    """Pictures, and which of them belong together."""

    pictures: tuple[Picture, ...]  # each once
    sides: NDArray[np.int64]  # (n, 2), places in `pictures`
    weights: NDArray[np.float64]  # (n,), above 0
    times: NDArray[np.float64] | None  # (n,), in any unit

    def __len__(self) -> int:
        return len(self.sides)

    def some(self, rows: NDArray[np.intp]) -> "Links":
        """Give the links of some rows, in their order."""
        times = None if self.times is None else self.times[rows]
        return Links(self.pictures, self.sides[rows], self.weights[rows], times)

    def parted(self, share: float, seed: int) -> tuple["Links", "Links"]:
        """Set a share aside: the latest where times are known, else some at random."""
        order = np.random.default_rng(seed).permutation(len(self))
        if self.times is not None:
            order = order[np.argsort(-self.times[order], kind="stable")]
        held = max(1, round(len(self) * share))
        return self.some(order[held:]), self.some(order[:held])


def no_links() -> Links:
    """Give what there is where nothing was put together."""
    return Links((), np.empty((0, 2), np.int64), np.empty(0), None)


def read_links(file: Path, resolve: Resolve) -> Links:
    """Read interactions from ``.parquet``, ``.csv`` or ``.tsv``. Raises BadInput.

    Pictures are named by the first two columns but `weight` and `time`. Paths are relative to the
    file's folder; whole numbers are ids, whose pictures `resolve` gives.
    """
    table = _read(file)
    named = [name for name in table.column_names if name not in _BESIDE]
    if len(named) < 2:
        raise BadInput(f"{file} needs two columns that name pictures, and has {table.column_names}")
    first, second = (_names(table, name, file) for name in named[:2])
    known = _pictures(dict.fromkeys([*first, *second]), file, resolve)
    places = {name: place for place, name in enumerate(known)}
    sides = np.array([[places[one] for one in first], [places[one] for one in second]]).T
    links = Links(
        tuple(known.values()), sides.astype(np.int64), _weights(table, file), _times(table, file)
    )
    links = links.some(np.flatnonzero((sides[:, 0] != sides[:, 1]) & (links.weights > 0)))
    if not len(links):
        raise BadInput(f"{file} puts no two different pictures together")
    return links


def _read(file: Path) -> "pyarrow.Table":
    import pyarrow.csv
    import pyarrow.parquet

    if file.suffix not in (".parquet", ".csv", ".tsv"):
        raise BadInput(f"{file} holds no interactions; give .parquet, .csv or .tsv")
    if not file.is_file():
        raise BadInput(f"{file} is missing; interactions are read from there")
    try:
        if file.suffix == ".parquet":
            return pyarrow.parquet.read_table(file)
        form = pyarrow.csv.ParseOptions(delimiter="\t" if file.suffix == ".tsv" else ",")
        return pyarrow.csv.read_csv(file, parse_options=form)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        said = " ".join(str(error).split())
        raise BadInput(f"{file} cannot be read as interactions ({said})") from error


def _names(table: "pyarrow.Table", column: str, file: Path) -> list[int | str]:
    found: list[int | str] = table[column].to_pylist()
    for row, one in enumerate(found, 1):
        if isinstance(one, bool) or not isinstance(one, int | str) or one == "":
            raise BadInput(f"{file} row {row}: {column} is {one!r}; name a path or an item's id")
    return found


def _pictures(names: Iterable[int | str], file: Path, resolve: Resolve) -> dict[int | str, Picture]:
    listed = list(names)
    ids = [one for one in listed if isinstance(one, int)]
    held = resolve(ids) if ids else {}
    if missing := [one for one in ids if one not in held]:
        raise BadInput(f"{file} names item {missing[0]}, which is no picture of the library")
    paths = [one for one in listed if isinstance(one, str)]
    if lost := next((one for one in paths if not (file.parent / one).is_file()), None):
        raise BadInput(f"{file} names {lost}, which is no file")
    return {one: held[one] if isinstance(one, int) else file.parent / one for one in listed}


def _weights(table: "pyarrow.Table", file: Path) -> NDArray[np.float64]:
    if "weight" not in table.column_names:
        return np.ones(len(table))
    found = _numbers(table, "weight", file)
    if not ((found >= 0) & np.isfinite(found)).all():
        raise BadInput(f"{file} has a weight below 0, or none")
    return found


def _times(table: "pyarrow.Table", file: Path) -> NDArray[np.float64] | None:
    if "time" not in table.column_names:
        return None
    found = _numbers(table, "time", file)
    if not np.isfinite(found).all():
        raise BadInput(f"{file} has a row without a time")
    return found


def _numbers(table: "pyarrow.Table", column: str, file: Path) -> NDArray[np.float64]:
    import pyarrow

    values: Any = table[column]
    try:
        if pyarrow.types.is_temporal(values.type):
            values = values.cast(pyarrow.timestamp("us")).cast(pyarrow.int64())
        return np.asarray(values.cast(pyarrow.float64()).to_numpy(), np.float64)
    except pyarrow.ArrowException as error:
        raise BadInput(f"{file} has a {column} that is no number") from error
