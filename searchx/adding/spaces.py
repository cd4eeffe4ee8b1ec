"""The spaces of vectors that searchx did not embed: a name that the caller chose, and a width."""

import hashlib
from contextlib import closing
from pathlib import Path

from searchx.catalog import Catalog
from searchx.errors import BadInput
from searchx.records import Space

MOST_DIMENSIONS = 1 << 16


def space_of(name: str, dim: int) -> Space:
    """Give the space of vectors that go by a name; its digest comes from that. Raises BadInput."""
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise BadInput(f"the name of the vectors is {name!r}; write some letters")
    if isinstance(dim, bool) or not isinstance(dim, int) or not 1 <= dim <= MOST_DIMENSIONS:
        raise BadInput(f"dim is {dim!r}; it is a whole number from 1 to {MOST_DIMENSIONS}")
    return Space(name, _digest(name, dim), dim)


def is_given(space: Space) -> bool:
    """Tell whether the vectors of a space come from callers, and no model is known for it."""
    return space.digest == _digest(space.name, space.dim)


def found(directory: Path, space: Space, exist_ok: bool = False) -> Catalog:
    """Make a library for a space, with nothing in it, and give its open catalog.

    With `exist_ok` one of the same space may be there already. Raises BadInput where there is one,
    SpaceMismatch where it is of another space, and LibraryFull.
    """
    catalog = Catalog.open(directory, create=True)
    try:
        if catalog.space() is not None and not exist_ok:
            raise BadInput(f"{directory} holds a library already; open it, or choose another place")
        with catalog.writing() as tx:
            tx.claim_space(space)
    except BaseException:
        with closing(catalog):
            raise
    return catalog


def _digest(name: str, dim: int) -> str:
    told = f"vectors that were given\0{name}\0{dim}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(told, digest_size=32).hexdigest()
