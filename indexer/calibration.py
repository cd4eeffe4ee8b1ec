"""Find the pictures that a model is calibrated on: of folders, or of a library."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import numpy as np

from indexer.files import found_in, source_root, walk
from indexer.rules import Rules
from searchx.catalog import Catalog
from searchx.errors import BadInput
from searchx.filters import All
from searchx.records import Location

MOST: Final = 4_000  # pictures of a library, at random; some of them may not be there now


def pictures_in(places: Sequence[Path]) -> list[Path]:
    """List the picture files of folders, and those that are named. Raises BadInput."""
    found = [
        Path(one.path)
        for place in places
        for folder in walk(source_root(place), Rules())
        for one in found_in(folder, sorted(folder.files))
        if one.form == "image"
    ]
    if not found:
        named = ", ".join(map(str, places))
        raise BadInput(f"there are no pictures in {named}; name a folder that has some")
    return found


def pictures_of(library: Path) -> list[Location]:
    """Give where pictures of a library are. Raises BadInput where it has none, and NoLibrary."""
    with closing(Catalog.open(library)) as catalog:
        ids = np.random.default_rng(0).permutation(catalog.matching("image", All(())))[:MOST]
        items = catalog.items(np.sort(ids).tolist())
    found = [one.locations[0] for one in items.values()]
    files = [one for one in found if one.external is None]
    if not files:
        raise BadInput(f"the library {library} has no pictures in files; name a folder of some")
    return files
