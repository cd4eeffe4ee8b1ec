"""Folders by their names alone, where no other folder of the library has the same name."""

from collections import defaultdict
from dataclasses import replace
from pathlib import PurePath

from searchx.errors import BadInput
from searchx.filters import Is
from searchx.query import written
from searchx.records import Facet, Facets, Query


def named(facets: Facets) -> dict[str, Facet]:
    """Give folders by the filter that names their whole path, as they can be asked for shortly.

    A name that stands anywhere else in a path of the library, or looks like a pattern, is left out.
    """
    places: dict[str, set[PurePath]] = defaultdict(set)
    for one in (*facets.folder, *facets.source):
        path = PurePath(one.value)
        for place in (path, *path.parents):
            places[place.name.casefold()].add(place)
    found: dict[str, Facet] = {}
    for one in facets.folder:
        name = PurePath(one.value).name
        if name and len(places[name.casefold()]) == 1 and not set(name) & set("*?"):
            try:
                found[one.where] = replace(one, where=written(Query(where=Is("folder", name))))
            except BadInput:
                continue
    return found


def shortly(facets: Facets, names: dict[str, Facet]) -> Facets:
    """Give the same counts, with folders asked for by name where that is enough."""
    folders = tuple(
        replace(names[one.where], count=one.count) if one.where in names else one
        for one in facets.folder
    )
    return replace(facets, folder=folders)
