"""What made an item a hit, in words for people: the same at the prompt and on the page."""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from searchx.records import Why

WORDS_SHOWN: Final = 6
_FIELDS: Final = {
    "name": "the file name",
    "caption": "the caption",
    "keyword": "the keywords",
    "passage": "the text",
}


def matched(why: "Why") -> str:
    """Name the words of the query that stand with an item, and where; empty where none do.

    "beach, sand, in the caption and the file name".
    """
    if not why.words:
        return ""
    words = ", ".join(why.words[:WORDS_SHOWN])
    if len(why.words) > WORDS_SHOWN:
        words += f" and {len(why.words) - WORDS_SHOWN} more"
    places = [_FIELDS.get(field, field) for field in why.fields]
    listed = " and ".join(filter(None, [", ".join(places[:-1]), *places[-1:]]))
    return f"{words}, in {listed}" if listed else words
