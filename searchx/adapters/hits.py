"""What frameworks are told of a hit: words, and a dictionary that is plain enough for JSON."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from searchx.errors import BadInput
from searchx.records import Hit, Query, Target

if TYPE_CHECKING:
    from searchx.remote import RemoteLibrary
    from searchx.search import Library

    AnyLibrary: TypeAlias = Library | RemoteLibrary


def found(
    library: "AnyLibrary", text: str, image: Path | bytes | None, k: int, to: Target, where: str
) -> Sequence[Hit]:
    """Find what is like a text, a picture or both; the text is words, in no query language.

    So no question that somebody asks is an error for what stands in it.
    """
    if not text.strip() and image is None:
        raise BadInput("there is nothing to look for; give words or a picture")
    return library.search(Query(text, image), k, to, where=where or None)


def words_of(hit: Hit) -> str:
    """Give the passage of a text, the captions of a picture; nothing where there are none."""
    return hit.item.text or "\n".join(hit.item.captions)


def told_of(hit: Hit) -> dict[str, Any]:
    """Give what is known of a hit; what is not known is left out."""
    whole = hit.as_dict()
    names = ("id", "external", "kind", "score", "relevance", "band", "path", "width", "height")
    told = {name: whole[name] for name in names if whole.get(name) is not None}
    place = hit.item.locations[0].as_dict()
    told |= {name: place[name] for name in ("fragment", "page", "line") if place.get(name)}
    about = whole.get("metadata")
    added = whole.get("meta")
    for each in (about, added):  # what a program added goes before
        if isinstance(each, dict):
            told |= {name: value for name, value in each.items() if name not in names}
    return told
