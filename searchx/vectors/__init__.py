"""Snapshots of vectors and the search in them. The only FAISS.

`exact` compares one by one; `inverted` trains, fills and asks an index; `tuning` chooses how hard;
`selection` says which rows may be found; `snapshots` keeps all of it on disk, `manifest` tells what
is in one, `directory` where they lie; `foreign` reads index files of others.
"""

from searchx.vectors.directory import drop, listed, newest, places, sweep
from searchx.vectors.exact import (
    NO_ID,
    Found,
    Halves,
    Mask,
    Scan,
    check_width,
    compute_alone,
    cosines,
    merge,
    nothing,
    places_of,
    unit_rows,
)
from searchx.vectors.foreign import Foreign, open_foreign, write_flat
from searchx.vectors.inverted import Effort
from searchx.vectors.manifest import UNREADABLE, Manifest, Origin, damaged, read_manifest
from searchx.vectors.selection import Selection
from searchx.vectors.snapshots import Plan, Snapshot, build, exact_below, load

__all__ = [
    "NO_ID",
    "UNREADABLE",
    "Effort",
    "Foreign",
    "Found",
    "Halves",
    "Manifest",
    "Mask",
    "Origin",
    "Plan",
    "Scan",
    "Selection",
    "Snapshot",
    "build",
    "check_width",
    "compute_alone",
    "cosines",
    "damaged",
    "drop",
    "exact_below",
    "listed",
    "load",
    "merge",
    "newest",
    "nothing",
    "open_foreign",
    "places",
    "places_of",
    "read_manifest",
    "sweep",
    "unit_rows",
    "write_flat",
]
