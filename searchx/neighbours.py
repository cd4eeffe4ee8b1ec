"""What is similar to each item of a library: the table of a whole catalogue, block by block."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from searchx.arrow import lists_to_arrow
from searchx.blocks import blocks
from searchx.records import Ids
from searchx.vectors import NO_ID, Found
from searchx.views import Choice, View

if TYPE_CHECKING:
    import pyarrow

BLOCK: Final = 1_024  # items that are asked for together


def similar_items(source: View, asked: Choice, target: View, found: Choice, k: int) -> Any:
    """Give for each item that is asked for its k nearest of those that may be found, not itself.

    A record batch reader with columns `id`, `similar` (ids, the nearest first) and `scores` (exact
    cosines); one block is in memory at a time. Exact on small libraries, by the index on large
    ones.
    """
    import pyarrow

    schema = pyarrow.schema(
        [
            ("id", pyarrow.int64()),
            ("similar", pyarrow.list_(pyarrow.int64())),
            ("scores", pyarrow.list_(pyarrow.float32())),
        ]
    )

    def batches() -> Iterator["pyarrow.RecordBatch"]:
        for block in blocks(source, asked, BLOCK):
            near = target.search(block.vectors, k + 1, found, source.kind)
            ids, scores = _without_themselves(near, block.ids, k)
            held = ids != NO_ID
            lists = [lists_to_arrow(ids, held), lists_to_arrow(scores, held)]
            yield pyarrow.RecordBatch.from_arrays([pyarrow.array(block.ids), *lists], schema=schema)

    return pyarrow.RecordBatchReader.from_batches(schema, batches())


def _without_themselves(near: Found, own: Ids, k: int) -> Found:
    """Leave out each item's own id, or else the last: (b, k + 1) to (b, k)."""
    ids, scores = near
    is_own = ids == own[:, None]
    is_own[~is_own.any(axis=1), -1] = True
    return ids[~is_own].reshape(-1, k), np.asarray(scores[~is_own].reshape(-1, k), np.float32)
