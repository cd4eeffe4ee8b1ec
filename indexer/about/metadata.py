"""What a picture file tells of itself besides its pixels.

Text is taken from XMP, IPTC and EXIF in this order, and so are place, camera, lens and rating:
the first that tells goes first, captions and keywords of all are collected. When a picture was
taken follows the order in ``indexer.about.dates``.
"""

from collections.abc import Callable
from pathlib import PurePath
from typing import TypeVar

from indexer.about import exif, iptc, xmp
from indexer.about.blocks import Blocks, blocks
from indexer.about.dates import Dated, first, in_name
from indexer.about.facts import Facts, joined, texts
from searchx.records import Metadata

_Told = TypeVar("_Told")


def embedded(data: bytes, name: str) -> tuple[Metadata, tuple[str, ...]]:
    """Give what the bytes of a picture file and its name tell, and the texts in it.

    The texts are the title and the captions, each once, and one that holds all keywords. Damaged
    metadata is left out and never raises. Bytes, format and orientation are not filled in. Call
    it from one thread: warnings of the process are turned off meanwhile.
    """
    found = _unless_damaged(lambda: blocks(data), Blocks())
    facts = joined(
        (
            _unless_damaged(lambda: xmp.facts(found.xmp), Facts()) if found.xmp else Facts(),
            _unless_damaged(lambda: iptc.facts(found.iptc), Facts()),
            _unless_damaged(lambda: exif.facts(found.exif), Facts()),
        )
    )
    named = in_name(PurePath(name).stem)
    date = first((*facts.dates, *((Dated(named, "name"),) if named else ())))
    return _metadata(facts, date), texts(facts)


def _metadata(facts: Facts, date: Dated | None) -> Metadata:
    place = facts.place
    return Metadata(
        taken=date.when if date else None,
        taken_from=date.rule if date else None,
        latitude=place.latitude if place else None,
        longitude=place.longitude if place else None,
        altitude=place.altitude if place else None,
        camera=facts.camera,
        lens=facts.lens,
        title=facts.title,
        rating=facts.rating,
        keywords=facts.keywords,
    )


def _unless_damaged(read: Callable[[], _Told], otherwise: _Told) -> _Told:
    """Read a block; damaged ones raise almost any type, and cost no more than themselves."""
    try:
        return read()
    except MemoryError:
        raise  # nothing is wrong with the file; it may be better the next time
    except Exception:
        return otherwise
