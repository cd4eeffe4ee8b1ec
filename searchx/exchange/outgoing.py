"""What goes out of a library: its vectors, and what is told of their items, block by block."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from searchx.arrow import vectors_to_arrow
from searchx.errors import Busy
from searchx.exchange.telling import added_types, by_each_id, columns_of, known_types, name_of
from searchx.records import Ids, Item, Kind, Skipped, Space, Vectors

if TYPE_CHECKING:
    import pyarrow

    from searchx.blocks import Block
    from searchx.filters import Filter
    from searchx.search import Library

SIZE: Final = 1024  # items of a block
SPACE: Final = b"searchx.space"  # in the metadata of an Arrow schema


@dataclass(frozen=True, slots=True)
class Written:
    """What an export has written."""

    format: str
    items: int
    files: Sequence[Path]
    skipped: Sequence[Skipped] = field(default=())
    notes: Sequence[str] = field(default=())

    def as_dict(self) -> dict[str, object]:
        """Give the JSON shape."""
        skipped = [{"path": one.path, "reason": one.reason} for one in self.skipped]
        files = [str(one) for one in self.files]
        shape: dict[str, object] = {"format": self.format, "items": self.items, "files": files}
        return shape | {"skipped": skipped, "notes": list(self.notes)}


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """What goes out, in a row each: an item as it is known by one id, and its vector."""

    items: Sequence[Item]  # (r,)
    vectors: Vectors  # (r, dim)

    @property
    def names(self) -> list[str]:
        """Give the ids of the rows: what a program added items by, else their numbers."""
        return [name_of(one) for one in self.items]


@dataclass(frozen=True)
class Outgoing:
    """The items of a kind that pass a filter, by ascending id; can be gone through again.

    What a program has added by several ids goes out by each of them.
    """

    library: "Library"
    kind: Kind = "image"
    where: "str | Filter | None" = None

    @cached_property
    def space(self) -> Space:
        return self.library.space

    def blocks(self) -> Iterator["Block"]:
        """Give ids and unit rows, as of the moment of the call.

        Raises Busy where another model has taken over since the space was asked for.
        """
        space = self.space
        found = self.library.blocks(self.kind, SIZE, where=self.where)
        if self.library.space != space:  # after what is in the blocks was read
            raise Busy("another model has taken over in the library meanwhile; export it again")
        return found

    def batches(self) -> Iterator["pyarrow.RecordBatch"]:
        """Give `id`, `vector`, and what is told of each item."""
        import pyarrow

        schema = self.schema
        for rows in self.rows():
            columns = columns_of(rows.items, self._types)
            columns["vector"] = vectors_to_arrow(rows.vectors)
            arrays = [columns[name] for name in schema.names]
            yield pyarrow.RecordBatch.from_arrays(arrays, schema=schema)

    def rows(self) -> Iterator[Rows]:
        """Give the rows block by block, as `blocks` does."""
        for block in self.blocks():
            yield self.rows_of(block.ids, block.vectors)

    def rows_of(self, ids: Ids, vectors: Vectors) -> Rows:
        """Give the rows of some items (n,), whose vectors are (n, dim), in their order."""
        each = [by_each_id(one) for one in self.library.items(ids)]
        counts = [len(of) for of in each]
        return Rows([one for of in each for one in of], np.repeat(vectors, counts, axis=0))

    @cached_property
    def schema(self) -> "pyarrow.Schema":
        """Give the columns of the batches; the space of the vectors is in its metadata."""
        import pyarrow

        vector = pyarrow.field("vector", pyarrow.list_(pyarrow.float32(), self.space.dim))
        fields = [pyarrow.field(name, kind) for name, kind in self._types.items()]
        return pyarrow.schema([fields[0], vector, *fields[1:]], {SPACE: as_text(self.space)})

    @cached_property
    def _types(self) -> Mapping[str, "pyarrow.DataType"]:
        """Give the type of each column; of what programs have added, by all that is there."""
        known = known_types()
        return known | added_types(self._items(), known)

    def _items(self) -> Iterator[Item]:
        for block in self.blocks():
            for item in self.library.items(block.ids):
                yield from by_each_id(item)


def as_text(space: Space) -> bytes:
    """Write a space down."""
    told = {"name": space.name, "digest": space.digest, "dim": space.dim}
    return json.dumps(told).encode()


def space_from(text: Any, dim: int) -> Space | None:
    """Read a space that was written down, of vectors of a width; None where it makes no sense."""
    try:
        told = json.loads(text)
        found = Space(str(told["name"]), str(told["digest"]), int(told["dim"]))
    except (ValueError, OverflowError, KeyError, TypeError, RecursionError):
        return None
    is_written = found.name.isprintable() and found.digest.isprintable()  # no half a character is
    return found if found.dim == dim and found.name and is_written else None
