"""Duplicates in a catalogue: what is there more than once, or nearly, and which one is the best."""

import sys

import searchx

(library,) = sys.argv[1:]


def named(copy):
    return copy.path.removeprefix("collection:items/")  # the id it was added by, else its file


cursor = None
with searchx.open(library) as shop:
    while True:
        page = shop.duplicate_groups(k=100, after=cursor)
        for group in page.groups:
            for other in group.others:
                print(named(group.best), named(other), round(other.likeness, 3), sep="\t")
        if (cursor := page.cursor) is None:
            break
