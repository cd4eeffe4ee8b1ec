"""What a library holds, and whether all of it is as it has to be: the law behind the tests."""

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from searchx import upkeep
from searchx.catalog import Catalog
from searchx.errors import NoLibrary
from searchx.records import KINDS
from searchx.search import Library

# By file, relative to the place: kind and digest of what is in it, or the reason why it was
# skipped. JSON knows lists only, so that it is lists here.
State: TypeAlias = dict[str, list[list[str]]]


@dataclass
class Seen:
    """A library as the next process finds it."""

    state: State
    problems: list[str]
    embedded: list[list[str]]  # kind and digest of all that has a vector

    def as_dict(self) -> dict[str, object]:
        return {"state": self.state, "problems": self.problems, "embedded": self.embedded}


def look(place: Path) -> Seen:
    """Open the library, verify it, and search each item by its own vector."""
    library = place / "library"
    try:
        problems = [f"{one.what}: {one.which}" for one in upkeep.verify(library).problems]
        with closing(Catalog.open(library)) as catalog:
            return Seen(_state(catalog, place), problems + _lost(catalog), _embedded(library))
    except NoLibrary:
        return Seen({}, [], [])
    except Exception as error:
        return Seen({}, [f"the library cannot be opened: {type(error).__name__}: {error}"], [])


def _state(catalog: Catalog, place: Path) -> State:
    state: State = {}
    for kind in KINDS:
        ids, _, _ = catalog.read_vectors(kind)
        for item in catalog.items(ids.tolist()).values():
            for one in item.locations:
                name = os.path.relpath(one.path, place)
                state.setdefault(name, []).append([kind, item.digest, one.fragment])
    for skipped in catalog.skipped():
        name = os.path.relpath(skipped.path, place)
        state.setdefault(name, []).append(["skipped", skipped.reason])
    return {name: sorted(held) for name, held in sorted(state.items())}


def _lost(catalog: Catalog) -> list[str]:
    """Name the items that are in the catalog but do not come back for their own vector."""
    wrong = []
    searched = Library(catalog)
    for kind in KINDS:
        ids, halves, _ = catalog.read_vectors(kind)
        if len(ids):
            found, scores = searched.search_batch(halves.astype(np.float32), len(ids), kind)
            for item, row, cosines in zip(ids, found, scores, strict=True):
                best = row[cosines >= cosines[0] - 1e-3]
                if item not in best or abs(cosines[0] - 1) > 0.01:
                    wrong.append(f"{kind} {item} does not find itself")
    return wrong


def _embedded(library: Path) -> list[list[str]]:
    """Give what has a vector, also where no file holds it yet."""
    with closing(sqlite3.connect(library / "catalog.db")) as connection:
        rows = connection.execute(
            "SELECT kind, lower(hex(digest)) FROM item JOIN vector ON vector.item_id = item.id"
        )
        return sorted([kind, digest] for kind, digest in rows)


def wrong_with(seen: Seen, before: State, after: State, law: str) -> list[str]:
    """Tell what must not be seen after an interruption between two states."""
    if law == "one state":
        if seen.state in (before, after):
            return []
        return [f"it holds neither the old state nor the new one: {sorted(seen.state)}"]
    return [
        f"{name} holds {seen.state.get(name)}"
        for name in {*before, *after, *seen.state}
        if seen.state.get(name) not in (before.get(name), after.get(name))
    ]
