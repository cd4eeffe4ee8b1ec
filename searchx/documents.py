"""Records from their JSON shapes: the way back from `as_dict`."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from searchx.records import (
    Answer,
    Explained,
    Facet,
    Facets,
    Hit,
    Item,
    Location,
    Metadata,
    Unchanging,
    Why,
)

Document = Mapping[str, Any]
_EXPLAINED: Final = tuple(Explained.__dataclass_fields__)


def answer_of(document: Document) -> Answer:
    """Read an answer; what is asked with `explain` has `explained`."""
    return Answer(
        hits=tuple(map(hit_of, document["hits"])),
        cursor=document["cursor"],
        chance=document["chance"],
        has_match=document["has_match"],
        notice=document["notice"],
        explained=tuple(map(_explained, document.get("explained", ()))),
    )


def hit_of(document: Document) -> Hit:
    """Read a hit."""
    why = document["why"]
    return Hit(
        item=item_of(document),
        score=document["score"],
        relevance=document["relevance"],
        band=document["band"],
        why=Why(why["rank"], tuple(why["words"]), tuple(why["fields"]), why["lowered"]),
        alike=tuple(document["alike"]),
    )


def item_of(document: Document) -> Item:
    """Read an item, or the item of a hit."""
    return Item(
        id=document["id"],
        kind=document["kind"],
        digest=document["digest"],
        locations=tuple(Location(**one) for one in document["locations"]),
        text=document.get("text"),
        width=document.get("width"),
        height=document.get("height"),
        metadata=_metadata(document.get("metadata")),
        captions=tuple(document.get("captions") or ()),
        pictures=tuple(document.get("pictures") or ()),
        tags=tuple(document.get("tags") or ()),
    )


def facets_of(document: Document) -> Facets:
    """Read facets."""
    found = dict(document["facets"])
    meta = found.pop("meta", {})  # which servers of before do not have
    return Facets(items=document["items"], meta=Unchanging(_listed(meta)), **_listed(found))


def _listed(values: Document) -> dict[str, tuple[Facet, ...]]:
    return {name: tuple(Facet(**one) for one in of) for name, of in values.items()}


def _metadata(document: Document | None) -> Metadata | None:
    if not document:
        return None
    known = dict(document)
    taken = known.pop("taken", None)
    keywords = tuple(known.pop("keywords", ()))
    when = None if taken is None else datetime.fromisoformat(taken)
    return Metadata(taken=when, keywords=keywords, **known)


def _explained(document: Document) -> Explained:
    return Explained(**{name: document[name] for name in _EXPLAINED})
