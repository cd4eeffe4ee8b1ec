"""What fits on a page of results: the part of a passage that answers, and values for people."""

import re
from typing import Final

from searchx.records import Item
from web.phrases import Language, say
from web.wording import untold

AROUND: Final = 140  # characters before the first word that matched
BESIDE: Final = 120  # characters of a passage that stands beside one
_VALUES: Final = {
    ("orientation", "landscape"): "filters.landscape",
    ("orientation", "portrait"): "filters.portrait",
    ("orientation", "square"): "filters.square",
    ("has", "taken"): "filters.taken",
    ("has", "place"): "filters.place",
    ("has", "camera"): "filters.camera",
    ("has", "caption"): "filters.caption",
    ("has", "keyword"): "filters.keyword",
    ("has", "title"): "filters.title",
    ("has", "rating"): "filters.rating",
    ("rating", "-1"): "filters.rejected",
}


def excerpt(text: str, words: tuple[str, ...]) -> str:
    """Leave out the beginning of a passage where none of the words stands in it for long."""
    if not words:
        return text
    found = re.search("|".join(map(re.escape, words)), text, re.IGNORECASE)
    if found is None or found.start() <= 2 * AROUND:
        return text
    return "\u2026" + _whole_words(text[found.start() - AROUND :])


def caption_of(item: Item) -> str:
    """Give what stands below a picture: a caption, else its title; empty where it has none."""
    title = item.metadata.title if item.metadata else None
    return next(iter(untold(item)), title or "")


def ending(text: str) -> str:
    """Give the end of a passage, in whole words."""
    text = text.rstrip()
    return text if len(text) <= BESIDE else "\u2026" + _whole_words(text[-BESIDE:])


def beginning(text: str) -> str:
    """Give the beginning of a passage, in whole words."""
    text = text.lstrip()
    if len(text) <= BESIDE:
        return text
    cut = text[:BESIDE]
    return (cut.rpartition(" ")[0] or cut) + "\u2026"


def value_of(value: str, name: str, language: Language = "en") -> str:
    """Say a value that can be filtered by."""
    if name == "folder":
        return "/".join(value.rstrip("/").split("/")[-2:])
    if name == "rating" and value.isdecimal():
        return say(language, "filters.stars", n=int(value))
    key = _VALUES.get((name, value))
    return value if key is None else say(language, key)


def _whole_words(text: str) -> str:
    """Leave out what may be half a word; languages without blanks have none."""
    _, blank, rest = text.partition(" ")
    return rest if blank and len(rest) > len(text) // 2 else text
