"""Take vectors from a file or folder of another tool into a library."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from searchx.adding.spaces import is_given
from searchx.errors import BadInput, SpaceMismatch
from searchx.exchange.formats import format_of
from searchx.exchange.offers import Offer, Wanted
from searchx.records import Kind, Report
from searchx.requests import collection_from

if TYPE_CHECKING:
    import pyarrow

    from searchx.search import Library

_DAMAGED: Final = (  # what Arrow and NumPy raise; SystemError: for what is no letter
    *(ValueError, OverflowError, KeyError, TypeError),
    *(NotImplementedError, SystemError, OSError),
)


def read(
    source: Path | str,
    format: str | None = None,
    kind: Kind = "image",
    *,
    id: str | None = None,
    vector: str | None = None,
) -> Offer:
    """Open a file or folder of another tool, whose rows come as Arrow batches, block by block.

    `id` and `vector` are columns, where their names do not say it. `kind` chooses `img_emb` or
    `text_emb` of clip-retrieval. Raises BadInput in one line for what cannot be read.
    """
    place = Path(source)
    if not place.exists():
        raise BadInput(f"{place} is not there")
    with _explained(place):
        offer = format_of(place, format).read(place, Wanted(kind, id, vector))
    return replace(offer, place=place, batches=_told(place, offer.batches))


def import_into(
    library: "Library",
    source: Path | str | Offer,
    format: str | None = None,
    kind: Kind = "image",
    *,
    collection: str | None = None,
    id: str | None = None,
    vector: str | None = None,
    name: str | None = None,
) -> Report:
    """Add all rows of a file or folder to a library, in place of those with the same ids.

    Texts go into a collection of their own ("texts", pictures into "items"), for they often have
    the ids of their pictures. Where the file says which model its vectors are of, and the library
    is of another one, SpaceMismatch is raised; where it says none, the caller knows, and so where
    the library is of vectors by a `name` that is given here. Raises BadInput where widths differ.
    """
    offer = (
        source if isinstance(source, Offer) else read(source, format, kind, id=id, vector=vector)
    )
    space = library.space
    is_named = name == space.name and is_given(space)
    if offer.space is not None and offer.space.digest != space.digest and not is_named:
        raise SpaceMismatch(
            f'these vectors are of the model "{offer.space.name}" (weights '
            f'{offer.space.digest[:8]}), the library is of "{space.name}" ({space.digest[:8]}); '
            "import them into another library"
        )
    if offer.dim is not None and offer.dim != space.dim:
        raise BadInput(
            f"these vectors have {offer.dim} numbers, those of the library ({space.name}) have "
            f"{space.dim}"
        )
    where = collection_from(collection or ("items" if kind == "image" else "texts"))
    try:
        return library.add_batches(offer.batches, kind=kind, collection=where)
    except BadInput as error:
        if offer.place is None or str(offer.place) in str(error):
            raise
        raise BadInput(f"{offer.place}: {error}") from error


def _told(place: Path, batches: Iterator["pyarrow.RecordBatch"]) -> Iterator["pyarrow.RecordBatch"]:
    with _explained(place):
        yield from batches


@contextmanager
def _explained(place: Path) -> Iterator[None]:
    """Turn what the values of a damaged file lead to, wherever they are met, into one line."""
    try:
        yield
    except _DAMAGED as error:
        said = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise BadInput(f"{place} cannot be read ({said})") from error
