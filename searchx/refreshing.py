"""Keep the snapshots as new as the catalog: what to build, when, and from which vectors."""

from typing import Final

import numpy as np

from searchx import vectors
from searchx.catalog import Catalog
from searchx.filters import All
from searchx.measured import sweep_backgrounds
from searchx.records import KINDS, Kind, Space, Vectors
from searchx.references import kept_references, sweep_references
from searchx.vectors import Origin
from searchx.views import is_of, load_snapshot, newest_snapshot, snapshot_folders, snapshots_of

_REBUILD_SHARE: Final = 0.1  # of a snapshot that may be added or removed before it is built anew
_LONGEST_TAIL: Final = 20_000  # vectors; a search compares with each of them, some 3 ms
_ASKED: Final = 256  # vectors of each side that an index is tuned on


def refresh_snapshots(catalog: Catalog, whole: bool = False) -> None:
    """Build the snapshots that are missing, broken, or have fallen behind the catalog.

    With `whole` they hold all of the catalog afterwards, else a small tail may remain. A large one
    is tuned on the texts of the library, or on everyday captions where it has few. Raises
    LibraryInUse while another process is indexing.
    """
    space = catalog.space()
    if space is None:
        return
    with catalog.indexing():
        sweep_references(catalog.directory)
        sweep_backgrounds(catalog.directory, space.digest)
        for kind in KINDS:
            vectors.sweep(snapshots_of(catalog.directory, space.digest), kind)
            if _has_fallen_behind(catalog, kind, space, whole):
                _build(catalog, kind, space)


def rebuild_snapshots(catalog: Catalog) -> None:
    """Build those snapshots anew that are there, whatever is in them.

    Under new names: by its name a reader tells whether it has loaded the newest one.
    """
    space = catalog.space()
    with catalog.indexing():
        for kind in KINDS:
            folder = None if space is None else snapshots_of(catalog.directory, space.digest)
            if space and folder and vectors.places(folder, kind):
                _build(catalog, kind, space)


def drop_foreign_snapshots(catalog: Catalog) -> None:
    """Remove the snapshots of another catalog, or of a later state than the one restored here.

    To be called while the library is held and before anything is written to it: a restored
    catalog gives the numbers after its own a second time, and could not tell later whether a
    snapshot was built before that. Raises LibraryFull where they cannot be removed.
    """
    with catalog.beside() as beside:
        other = beside.space()
    spaces = [catalog.serving(), None if other is None else other.space]
    version = catalog.version()
    for folder in snapshot_folders(catalog.directory):
        for kind in KINDS:
            for place in vectors.places(folder, kind):
                if not any(is_of(place, space, version) for space in spaces):
                    vectors.drop(place)


def has_grown(catalog: Catalog, few: int, share: float = _REBUILD_SHARE) -> bool:
    """Tell whether more than a few, and a share of a kind, came or went since its snapshot.

    Nothing is loaded: cheap enough to ask after every change.
    """
    space, version = catalog.space(), catalog.version()
    for kind in KINDS:
        newest = newest_snapshot(catalog, kind, version)
        held, added, removed = 0, 0, version.removed
        if newest is not None and is_of(newest, space, version):
            manifest = vectors.read_manifest(newest)
            held, added, removed = manifest.count, manifest.origin.added, manifest.origin.removed
        changed = catalog.count_appeared(kind, added) + version.removed - removed
        bound = share * held if share >= 1 else min(share * held, _LONGEST_TAIL)
        if changed > max(few, bound):
            return True
    return False


def _has_fallen_behind(catalog: Catalog, kind: Kind, space: Space, whole: bool) -> bool:
    version = catalog.version()
    newest = newest_snapshot(catalog, kind, version)
    snapshot = load_snapshot(newest, space, version)
    held, after = (len(snapshot.ids), snapshot.manifest.origin) if snapshot else (0, None)
    changed = catalog.count_appeared(kind, after.added if after else 0)
    if snapshot and after:
        gone = catalog.removed(after.removed, version.removed)
        changed += len(np.intersect1d(gone, snapshot.ids))
    return changed > (0 if whole else min(_REBUILD_SHARE * held, _LONGEST_TAIL))


def _build(catalog: Catalog, kind: Kind, space: Space) -> None:
    is_large = catalog.count_appeared(kind, 0) >= vectors.exact_below(space.dim)
    asked = _asked(catalog, space) if is_large else {}
    with catalog.rows(kind) as (rows, version):
        origin = Origin(version.library, space.digest, version.added, version.removed)
        folder = snapshots_of(catalog.directory, space.digest)
        vectors.build(folder, rows, kind, origin, queries=asked)


def _asked(catalog: Catalog, space: Space) -> dict[str, Vectors]:
    """Give vectors such as people will ask with, by the side that they come from."""
    asked = {kind: _some(catalog, kind) for kind in KINDS}
    references = kept_references(catalog.directory, space)
    if len(asked["text"]) < _ASKED and references is not None:
        asked["text"] = references[:_ASKED]
    return {side: rows for side, rows in asked.items() if len(rows)}


def _some(catalog: Catalog, kind: Kind) -> Vectors:
    ids = catalog.matching(kind, All())
    if len(ids) > _ASKED:
        ids = np.random.default_rng(0).choice(ids, _ASKED, replace=False)
    return catalog.vectors_of(ids.tolist())[1].astype(np.float32)
