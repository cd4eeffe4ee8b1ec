"""Let a second space into a library, look it through, and exchange it for the one that serves."""

import shutil
from contextlib import closing
from pathlib import Path

import numpy as np

from searchx import vectors
from searchx.catalog import Catalog
from searchx.database import not_writable
from searchx.errors import BadInput
from searchx.records import KINDS, Ids, Space
from searchx.spaces.beside import OtherSpace
from searchx.vectors import UNREADABLE, read_manifest
from searchx.views import SNAPSHOTS, own_snapshots_of, read_view, snapshot_folders, snapshots_of


def other_space(catalog: Catalog) -> OtherSpace | None:
    """Give the space beside the one that serves; None where there is none."""
    with catalog.beside() as beside:
        return beside.space()


def begin(catalog: Catalog, space: Space) -> Catalog:
    """Let a space in beside the one that serves; gives the catalog as it is in there.

    What is there of it already stays. Raises BadInput where it serves, or another is in the way,
    and LibraryFull.
    """
    with catalog.beside(writing=True) as beside:
        beside.begin(space)
    _tidy(catalog)
    folder = own_snapshots_of(catalog.directory, space.digest)
    if not any(_is_of(place, space) for place in _places(catalog.directory / SNAPSHOTS)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise not_writable(catalog.directory, error) from error
    return catalog.in_space(space)


def drop_wrong(catalog: Catalog) -> int:
    """Remove the vectors of the other space that cannot be; gives how many those were."""
    with catalog.beside() as beside:
        wrong = [item for item, _ in beside.wrong()]
    if wrong:
        with catalog.beside(writing=True) as beside:
            beside.take_out(wrong)
    return len(wrong)


def switch(catalog: Catalog, inner: Catalog, *, without_missing: bool) -> int:
    """Let the other space serve, in one transaction; gives how many items it lacks.

    `inner` is the catalog in that space. To be called while the library is held (`indexing`).
    Gives -1 and changes nothing where an item has no vector there and `without_missing` does not
    allow that.
    """
    after = catalog.version().added
    with catalog.beside() as beside:
        if not without_missing and any(beside.missing(kind, limit=1) for kind in KINDS):
            return -1
    late = _late(catalog, inner)
    with catalog.beside(writing=True) as beside:
        return beside.switch(late.tolist(), after, without_missing)


def drop_other(directory: Path, *, has_served: bool) -> tuple[Space, int]:
    """Remove the space that does not serve; gives it, and how many vectors it held.

    Raises BadInput where there is none that was kept (`has_served`), or that is being made.
    """
    with closing(Catalog.open(directory)) as catalog, catalog.migrating():
        found = other_space(catalog)
        if found is None or found.has_served != has_served:
            _tidy(catalog)
            raise BadInput(_nothing_to_drop(has_served))
        with catalog.beside(writing=True) as beside:
            count = beside.drop()
        _tidy(catalog)
        return found.space, count


def _late(catalog: Catalog, inner: Catalog) -> Ids:
    """Give the items that a search in the other space would not find as it is now.

    They got their vectors after a snapshot that is newer than their appearance was built.
    """
    found = [np.empty(0, np.int64)]
    for kind in KINDS:
        with catalog.beside() as beside:
            ids = beside.ids(kind)
        found.append(np.setdiff1d(ids, read_view(inner, kind).ids))
    return np.concatenate(found)


def _tidy(catalog: Catalog) -> None:
    """Remove what is derived from a space that is gone, also what an interrupted process left.

    What belongs to the space that serves is left to whoever holds the library.
    """
    serving, other = catalog.serving(), other_space(catalog)
    both = (serving, None if other is None else other.space)
    kept = [space for space in both if space is not None]
    own = {own_snapshots_of(catalog.directory, space.digest) for space in kept}
    searched = None if serving is None else snapshots_of(catalog.directory, serving.digest)
    for folder in snapshot_folders(catalog.directory):
        if folder == searched:
            continue
        if folder.name != SNAPSHOTS and folder not in own:
            shutil.rmtree(folder, ignore_errors=True)
            continue
        for place in _places(folder):
            if not any(_is_of(place, space) for space in kept):
                vectors.drop(place)
        for kind in KINDS:
            vectors.sweep(folder, kind)


def _places(folder: Path) -> list[Path]:
    return [place for kind in KINDS for place in vectors.places(folder, kind)]


def _is_of(place: Path, space: Space) -> bool:
    try:
        return read_manifest(place).origin.space == space.digest
    except UNREADABLE:
        return False


def _nothing_to_drop(has_served: bool) -> str:
    if has_served:
        return "no space of another model is kept here; there is nothing to drop"
    return "no migration is under way here; there is nothing to give up"
