"""What is similar to each item of a library: the table of a whole catalogue, block by block."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from searchx.arrow import Names, lists_to_arrow, named
from searchx.blocks import Block, blocks, rows_of
from searchx.choosing import Pool, Rules, choose
from searchx.grouping import Groups
from searchx.records import Ids, Kind
from searchx.vectors import NO_ID, Found, nothing
from searchx.views import Choice, View

if TYPE_CHECKING:
    import pyarrow

BLOCK: Final = 1_024  # items that are asked for together
_POOL: Final = 4  # candidates for each place, where more than the cosine decides
_DEEPER: Final = 4  # times as many where those are too few
_DEEPEST: Final = 16_384  # candidates of one item
_NUMBERS: Final = 1 << 24  # of candidates' vectors held at a time, 64 MB


@dataclass(frozen=True, slots=True, eq=False)
class Similar:
    """How the lists of a table are to be."""

    k: int
    alike: float | None = None  # cosine from which on two are near duplicates: one is enough
    per_group: int | None = None
    groups: Groups | None = None
    names: Names | None = None  # of ids, where the table is to have those


def similar_items(source: View, asked: Choice, target: View, found: Choice, wanted: Similar) -> Any:
    """Give for each item that is asked for its k nearest of those that may be found, not itself.

    A record batch reader with columns `id`, `similar` (ids, the nearest first) and `scores` (exact
    cosines); one block is in memory at a time. Exact on small libraries, by the index on large
    ones.
    """
    import pyarrow

    item = pyarrow.int64() if wanted.names is None else pyarrow.string()
    schema = pyarrow.schema(
        [
            ("id", item),
            ("similar", pyarrow.list_(item)),
            ("scores", pyarrow.list_(pyarrow.float32())),
        ]
    )
    is_plain = wanted.alike is None and wanted.groups is None

    def batches() -> Iterator["pyarrow.RecordBatch"]:
        for block in blocks(source, asked, BLOCK):
            if is_plain:
                near = target.search(block.vectors, wanted.k + 1, found, source.kind)
                ids, scores = _without_themselves(near, block.ids, wanted.k)
            else:
                ids, scores = _chosen(block, target, found, wanted, source.kind)
            held = ids != NO_ID
            lists = [lists_to_arrow(ids, held, wanted.names), lists_to_arrow(scores, held)]
            own = named(block.ids, wanted.names)
            yield pyarrow.RecordBatch.from_arrays([own, *lists], schema=schema)

    return pyarrow.RecordBatchReader.from_batches(schema, batches())


def _chosen(block: Block, target: View, found: Choice, wanted: Similar, side: Kind) -> Found:
    """Choose the lists of a block, again from more candidates where those did not decide."""
    made = nothing(len(block.ids), wanted.k)
    there = found.count(target)
    depth, left = _POOL * wanted.k + 1, np.arange(len(block.ids))
    while len(left) and there:
        size = max(1, _NUMBERS // (min(depth, there) * block.vectors.shape[1]))
        parts = [left[at : at + size] for at in range(0, len(left), size)]
        unsure = [
            part[~_fill(made, block, part, target, found, wanted, side, min(depth, there))]
            for part in parts
        ]
        left = np.concatenate(unsure) if depth < min(there, _DEEPEST) else left[:0]
        depth *= _DEEPER
    return made


def _fill(
    made: Found,
    block: Block,
    rows: Ids,
    target: View,
    found: Choice,
    wanted: Similar,
    side: Kind,
    depth: int,
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Fill some rows of a block from so many candidates; tells which more would not change."""
    ids, scores = target.search(block.vectors[rows], depth, found, side)
    last = scores[:, -1:].astype(np.float64)
    vectors = None
    if wanted.alike is not None:
        flat, _ = rows_of((target,), ids.ravel(), block.vectors.shape[1])
        vectors = flat.reshape(len(rows), 1, depth, -1)
    pool = Pool(
        ids=ids[:, None],
        keys=scores[:, None].astype(np.float64),
        free=((ids != NO_ID) & (ids != block.ids[rows, None]))[:, None],
        importance=np.ones((len(rows), 1)),
        floors=last if depth < found.count(target) else np.full(last.shape, -np.inf),
        rows=vectors,
        groups=None if wanted.groups is None else wanted.groups.of(ids)[:, None],
        seen=None if wanted.alike is None else block.vectors[rows, None],
    )
    chosen = choose(pool, Rules(wanted.k, alike=wanted.alike, per_group=wanted.per_group))
    row, place = np.nonzero(chosen.interests >= 0)
    at = row, chosen.places[row, place]
    made[0][rows], made[1][rows] = NO_ID, -np.inf
    made[0][rows[row], place], made[1][rows[row], place] = ids[at], scores[at]
    return chosen.is_sure


def _without_themselves(near: Found, own: Ids, k: int) -> Found:
    """Leave out each item's own id, or else the last: (b, k + 1) to (b, k)."""
    ids, scores = near
    is_own = ids == own[:, None]
    is_own[~is_own.any(axis=1), -1] = True
    return ids[~is_own].reshape(-1, k), np.asarray(scores[~is_own].reshape(-1, k), np.float32)
