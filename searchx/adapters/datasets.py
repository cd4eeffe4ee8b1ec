"""Hugging Face `datasets`: a library as a Dataset. Needs ``pip install "searchx[datasets]"``."""

from typing import TYPE_CHECKING, Any

import pyarrow
from datasets import Dataset

from searchx.exchange.outgoing import Outgoing
from searchx.records import Kind

if TYPE_CHECKING:
    from searchx.filters import Filter
    from searchx.search import Library

__all__ = ["to_dataset"]


def to_dataset(
    library: "Library", kind: Kind = "image", *, where: "str | Filter | None" = None
) -> Any:
    """Give the items of a kind that pass a filter as a `datasets.Dataset` in memory.

    With `id`, `vector` and what is told of each item. Vectors are not copied: they are in memory
    once. For more than fits there, write Parquet and load that.
    """
    outgoing = Outgoing(library, kind, where)
    return Dataset(pyarrow.Table.from_batches(outgoing.batches(), outgoing.schema))
