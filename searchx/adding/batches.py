"""Arrow batches to rows that are added: which of their columns is what."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from searchx.adding.given import Given, given_from
from searchx.errors import BadInput
from searchx.records import Kind

_NAMED: Final = ("id", "vector", "image", "text")


def given_of(batch: Any, kind: Kind, dim: int) -> Given:
    """Read a record batch or a table. Raises BadInput.

    `id`, `vector`, `image` and `text` are what they are called, all others metadata.
    """
    if not hasattr(batch, "column_names"):
        raise BadInput(f"a batch is {type(batch).__name__}; give Arrow record batches or tables")
    names = list(batch.column_names)
    if len(set(names)) < len(names):
        raise BadInput("a batch has several columns of one name; give each a name of its own")
    if "id" not in names:
        raise BadInput(f'a batch has no column "id"; it has {", ".join(names[:20]) or "none"}')
    columns = {name: batch.column(name) for name in _NAMED if name in names}
    others = [name for name in names if name not in _NAMED]
    return given_from(
        ids=columns["id"],
        vectors=columns.get("vector"),
        images=columns.get("image"),
        texts=columns.get("text"),
        views=None,
        kind=kind,
        metadata=batch.select(others) if others else None,
        dim=dim,
    )


def batches_of(batches: Any) -> Iterator[Any]:
    """Give the batches of a table, a reader, or whatever gives batches one after another."""
    if hasattr(batches, "to_batches"):
        yield from batches.to_batches()
    elif hasattr(batches, "column_names"):
        yield batches
    elif isinstance(batches, Iterable):
        yield from batches
    else:
        raise BadInput(f"batches are {type(batches).__name__}; give Arrow record batches")
