"""Write a library to a file or folder of another tool."""

from pathlib import Path
from typing import TYPE_CHECKING

from searchx.errors import BadInput
from searchx.exchange.formats import format_of
from searchx.exchange.outgoing import Outgoing, Written
from searchx.records import Kind

if TYPE_CHECKING:
    from searchx.filters import Filter
    from searchx.search import Library


def export(
    library: "Library",
    to: Path | str,
    format: str | None = None,
    kind: Kind = "image",
    *,
    where: "str | Filter | None" = None,
) -> Written:
    """Write the vectors of a kind, and what is told of their items, that pass a filter.

    The format is told by the path where none is named. Files are written beside and swapped in
    when they are whole. Raises BadInput, also where nothing passes.
    """
    place = Path(to)
    chosen = format_of(place, format)
    outgoing = Outgoing(library, kind, where)
    if next(outgoing.blocks(), None) is None:
        raise BadInput(f"there is no {kind} to write that passes; {place} was not written")
    return chosen.write(outgoing, place)
