"""The frozen records that travel between files. The words are those of the documentation."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final, Literal, NoReturn, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from searchx.filters import Filter

Vectors: TypeAlias = NDArray[np.float32]  # (n, dim), unit rows
Ids: TypeAlias = NDArray[np.int64]  # (n,), from the catalog, never reused
Pixels: TypeAlias = NDArray[np.uint8]  # (height, width, 3), sRGB, fitted to one encoder
Kind: TypeAlias = Literal["image", "text"]
Target: TypeAlias = Literal["image", "text", "both"]
Band: TypeAlias = Literal["strong", "fair", "weak"]
Shape: TypeAlias = Literal["landscape", "portrait", "square"]
Value: TypeAlias = str | int | float | bool | date | tuple[str, ...]  # a datetime is a date
_V = TypeVar("_V")
COLLECTION: Final = "collection:"  # how the name of a source begins that is no folder and no file
KINDS: Final[tuple[Kind, ...]] = ("image", "text")


@dataclass(frozen=True, slots=True)
class Rows:
    """Vectors on their way from the catalog to a snapshot, some at a time."""

    count: int
    dim: int
    blocks: Iterator[tuple[Ids, NDArray[np.float16]]]  # ids (b,) ascending throughout, (b, dim)


@dataclass(frozen=True, slots=True)
class Space:
    """The vectors of one exact encoder. Vectors of two spaces are never compared."""

    name: str  # the model's one stored form: "mini", "ViT-B-32/laion2b_s34b_b79k", "local-dir:/…"
    digest: str  # hex, over weights and preprocessing
    dim: int


@dataclass(frozen=True, slots=True)
class Pairing:
    """How a model that judges pairs one by one, as SigLIP does, reads a cosine as log-odds.

    A sigmoid of scale · cosine + bias is the probability that a picture and a text are a pair, in
    the batches that it was trained on (Zhai et al. 2023, arXiv:2303.15343).
    """

    scale: float  # above zero
    bias: float


class Unchanging(dict[str, _V]):
    """A dict that nobody can change: it is part of a record, which several may hold.

    A dict still, for json and whoever asks for one; copies of it can be changed.
    """

    __slots__ = ()

    def _refused(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("this is what a library told, and cannot be changed; change a copy of it")

    __setitem__ = __delitem__ = __ior__ = _refused
    clear = pop = popitem = setdefault = update = _refused

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)


@dataclass(frozen=True, slots=True)
class Location:
    """A place where an item was found."""

    source: str  # the root that was indexed: a folder or a corpus file
    path: str  # the file; undecodable bytes as surrogates, so that open() works
    fragment: str = ""  # the place inside the file, such as "line 12"; empty for a whole file
    page: int | None = None  # of a document, from 1
    line: int | None = None  # where a passage begins, from 1, on its page where there are pages
    start: int | None = None  # span of a passage: characters in the text of the file or page
    end: int | None = None
    stamp: tuple[int, int] | None = field(default=None, compare=False)  # size, mtime_ns as read
    # As it was added with it.
    meta: Mapping[str, Value] = field(default_factory=Unchanging, hash=False)

    @property
    def external(self) -> str | None:
        """The id that a program added it by; None for what is in a file."""
        if not self.source.startswith(COLLECTION):
            return None
        return self.path.removeprefix(f"{self.source}/")

    def as_dict(self) -> dict[str, object]:
        """Give the JSON shape; what is not known is left out."""
        shape: dict[str, object] = {
            "source": self.source,
            "path": self.path,
            "fragment": self.fragment,
        }
        known = {"page": self.page, "line": self.line, "start": self.start, "end": self.end}
        shape |= {name: value for name, value in known.items() if value is not None}
        return shape | ({"meta": meta_as_dict(self.meta)} if self.meta else {})


def meta_as_dict(meta: Mapping[str, Value]) -> dict[str, object]:
    """Give the JSON shape of what was added with an item: dates in ISO 8601, lists as lists."""

    def plain(value: Value) -> object:
        if isinstance(value, date):
            return value.isoformat()
        return list(value) if isinstance(value, tuple) else value

    return {name: plain(value) for name, value in meta.items()}


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is known of a picture besides its pixels; None where nothing tells."""

    taken: datetime | None = None  # local time of the place; with its zone where that is known
    taken_from: str | None = None  # which rule gave it: "sidecar", "exif", "xmp", "iptc", "name"...
    latitude: float | None = None  # degrees, north positive
    longitude: float | None = None  # degrees, east positive
    altitude: float | None = None  # metres
    camera: str | None = None  # maker and model, the maker once
    lens: str | None = None
    orientation: Shape | None = None  # as it stands upright
    format: str | None = None  # "JPEG", "HEIF", "PNG", ...
    bytes: int | None = None  # of the file
    title: str | None = None
    rating: int | None = None  # stars, 0 to 5; -1 for rejected
    keywords: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """Give the JSON shape; what is not known is left out."""
        shape = {name: getattr(self, name) for name in self.__dataclass_fields__}
        shape |= {"taken": self.taken and self.taken.isoformat(), "keywords": list(self.keywords)}
        return {name: value for name, value in shape.items() if value not in (None, [])}


@dataclass(frozen=True, slots=True)
class Item:
    """One distinct searchable content, identified by the digest of its content."""

    id: int
    kind: Kind
    digest: str  # hex BLAKE2b-256 of the file's bytes, or of the normalised text
    locations: tuple[Location, ...]  # one or more, in a stable order
    text: str | None = None  # the passage, for a text
    width: int | None = None  # pixels after EXIF orientation, for an image
    height: int | None = None
    metadata: Metadata | None = None  # of the place where it was found first, for an image
    captions: tuple[str, ...] = ()  # the texts that belong to it, or were added with it: an image
    pictures: tuple[int, ...] = ()  # the images that it belongs to, for a text
    tags: tuple[str, ...] = ()  # labels that `searchx tag` gave, for an image

    @property
    def path(self) -> str:
        """Where to look first."""
        return self.locations[0].path

    @property
    def paths(self) -> tuple[str, ...]:
        """Every file that holds this item, each once."""
        return tuple(dict.fromkeys(place.path for place in self.locations))

    @property
    def external(self) -> str | None:
        """The first id that a program added it by; None for what is in files only."""
        return next((one for place in self.locations if (one := place.external) is not None), None)

    @property
    def is_fileless(self) -> bool:
        """Whether programs alone added it: there is no file to show."""
        return all(place.external is not None for place in self.locations)

    @property
    def meta(self) -> Mapping[str, Value]:
        """What was added with it, by the name of the column; empty where nothing was."""
        return next((place.meta for place in self.locations if place.meta), {})


@dataclass(frozen=True, slots=True)
class Why:
    """What made an item a hit."""

    rank: int | None = None  # by its vector alone, from 1; None where only words found it
    words: tuple[str, ...] = ()  # of the query, as they stand with the item
    fields: tuple[str, ...] = ()  # where they stand: "name", "caption", "keyword", "passage"
    lowered: float = 0.0  # by negative parts, in units of the cosine

    def as_dict(self) -> dict[str, object]:
        """Give the JSON shape."""
        shape: dict[str, object] = {"rank": self.rank, "words": list(self.words)}
        return shape | {"fields": list(self.fields), "lowered": round(self.lowered, 6)}


@dataclass(frozen=True, slots=True)
class Hit:
    """An item with its exact cosine to the query, and what that means in this library."""

    item: Item  # its first location is one that the query calls by name, where it calls one
    score: float
    relevance: float | None = None  # calibrated, in [0, 1]; None where it cannot be told
    band: Band | None = None
    why: Why = field(default=Why())
    alike: tuple[int, ...] = ()  # near duplicates that this hit stands for, itself left out

    @property
    def id(self) -> int:
        return self.item.id

    @property
    def path(self) -> str:
        return self.item.path

    @property
    def external(self) -> str | None:
        return self.item.external

    @property
    def meta(self) -> Mapping[str, Value]:
        return self.item.meta

    def as_dict(self) -> dict[str, object]:
        """Give the one JSON shape of a hit: the same at the prompt and over HTTP."""
        item = self.item
        shape: dict[str, object] = {
            "id": item.id,
            "kind": item.kind,
            "digest": item.digest,
            "score": round(self.score, 6),
            "relevance": None if self.relevance is None else round(self.relevance, 4),
            "band": self.band,
            "why": self.why.as_dict(),
            "alike": list(self.alike),
            "path": item.path,
            "paths": list(item.paths),
            "locations": [place.as_dict() for place in item.locations],
        }
        if item.external is not None:
            shape |= {"external": item.external, "meta": meta_as_dict(item.meta)}
        if item.kind == "text":
            return shape | {"text": item.text, "pictures": list(item.pictures)}
        metadata = item.metadata.as_dict() if item.metadata else {}
        shape |= {"width": item.width, "height": item.height}
        shape |= {"metadata": metadata, "captions": list(item.captions)}
        return shape | {"tags": list(item.tags)}


@dataclass(frozen=True, slots=True)
class Explained:
    """How one kind of a library was searched for one query."""

    kind: Kind
    way: str  # "exact", "exact within", "index", "index within"; within: among what passes a filter
    items: int  # of the kind, in the library
    passing: int  # of them that pass the filter
    tail: int  # of them that came after the snapshot and were compared one by one
    nprobe: int  # lists of the index that were looked into; 0 where there is none
    depth: int  # candidates of the index that were ranked again by their exact cosine
    recall: Mapping[str, float]  # recall@10 of the index when it was built, by side of the queries
    milliseconds: Mapping[str, float]  # by step: "embed", "filter", "vectors", "words"

    def as_dict(self) -> dict[str, object]:
        """Give the JSON shape."""
        shape: dict[str, object] = {one: getattr(self, one) for one in self.__dataclass_fields__}
        spent = {step: round(spent, 3) for step, spent in self.milliseconds.items()}
        return shape | {"milliseconds": spent}


@dataclass(frozen=True, slots=True)
class Answer:
    """One page of hits, best first, and what there is to say about them."""

    hits: tuple[Hit, ...]
    cursor: str | None = None  # asks for the page after this one; None where there is none
    chance: float | None = None  # that the library holds an answer at all, in [0, 1]
    has_match: bool = True  # False: nothing here matches, the hits are only the nearest there is
    notice: str | None = None  # how the query may have been meant, in the query language
    explained: tuple[Explained, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """Give the one JSON shape of an answer: the same at the prompt and over HTTP."""
        return {
            "hits": [hit.as_dict() for hit in self.hits],
            "cursor": self.cursor,
            "has_match": self.has_match,
            "chance": None if self.chance is None else round(self.chance, 4),
            "notice": self.notice,
        }


@dataclass(frozen=True, slots=True)
class Facet:
    """A value that items can be filtered by, and how many of those that are counted have it."""

    value: str
    count: int
    where: str  # the filter that finds them, in the query language

    def as_dict(self) -> dict[str, object]:
        """Give the JSON shape."""
        return {"value": self.value, "count": self.count, "where": self.where}


@dataclass(frozen=True, slots=True)
class Facets:
    """The most frequent values of what items can be filtered by, the most frequent first."""

    items: int = 0  # that were counted
    kind: tuple[Facet, ...] = ()
    year: tuple[Facet, ...] = ()  # in which a picture was taken
    folder: tuple[Facet, ...] = ()  # with all below it; those below a source, without its own
    source: tuple[Facet, ...] = ()
    ext: tuple[Facet, ...] = ()  # of file names
    format: tuple[Facet, ...] = ()
    camera: tuple[Facet, ...] = ()
    lens: tuple[Facet, ...] = ()
    orientation: tuple[Facet, ...] = ()
    keyword: tuple[Facet, ...] = ()
    rating: tuple[Facet, ...] = ()
    has: tuple[Facet, ...] = ()  # what is known at all
    # Of each column that was added with items; none of one with many different values.
    meta: Mapping[str, tuple[Facet, ...]] = field(default_factory=Unchanging, hash=False)

    def as_dict(self) -> dict[str, object]:
        """Give the JSON shape."""
        names = [name for name in self.__dataclass_fields__ if name not in ("items", "meta")]
        found = {name: getattr(self, name) for name in names}
        shape = {name: [one.as_dict() for one in of] for name, of in found.items()}
        meta = {name: [one.as_dict() for one in of] for name, of in self.meta.items()}
        return {"items": self.items, "facets": {**shape, "meta": meta}}


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was not indexed, with the reason in words that a person can act on."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Pace:
    """How many images a second each stage of indexing would manage alone; 0 where not known."""

    decode: float = 0.0
    embed: float = 0.0
    write: float = 0.0

    def as_dict(self) -> dict[str, float]:
        """Give the JSON shape."""
        return {
            "decode": round(self.decode, 2),
            "embed": round(self.embed, 2),
            "write": round(self.write, 2),
        }


@dataclass(frozen=True, slots=True)
class Report:
    """What one run of the indexer did, counted in files."""

    added: int = 0  # files that are new and were indexed
    unchanged: int = 0  # files that were known and are as they were
    moved: int = 0  # new paths of content whose old path is gone: nothing embedded
    updated: int = 0  # known paths with new content
    removed: int = 0  # known paths that are gone and did not turn up elsewhere
    skipped: Sequence[Skipped] = field(default=())
    embedded: int = 0  # vectors computed in this run
    seconds: float = 0.0
    images_per_second: float = 0.0  # images embedded per second of the whole run
    pace: Pace = field(default=Pace())
    notes: Sequence[str] = field(default=())  # what else the user should know, a line each

    def as_dict(self) -> dict[str, object]:
        """Give the JSON shape of a report."""
        return {
            "added": self.added,
            "unchanged": self.unchanged,
            "moved": self.moved,
            "updated": self.updated,
            "removed": self.removed,
            "skipped": [{"path": one.path, "reason": one.reason} for one in self.skipped],
            "embedded": self.embedded,
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.images_per_second, 2),
            "pace": self.pace.as_dict(),
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that a query is made of: a text, a picture, or an item of the library."""

    text: str = ""
    image: Path | bytes | None = None  # a picture file, or its bytes
    like: int | None = None  # the id of an item
    weight: float = 1.0  # negative: what matches this is lowered

    @property
    def is_empty(self) -> bool:
        return self.image is None and self.like is None and not self.text.strip()


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked: weighted texts, pictures and items, and what a hit has to be besides.

    `text`, `image` and `like` are the short form of parts of weight 1. The positive parts are
    combined as the weighted mean of their unit vectors; a negative part lowers what matches it.
    """

    text: str = ""
    image: Path | bytes | None = None  # a picture file, or its bytes
    like: int | None = None  # the id of an item: "more like this"
    parts: tuple[Part, ...] = ()
    where: Filter | None = None
    to: Target | None = None  # what to find; None: what the caller says

    @property
    def every_part(self) -> tuple[Part, ...]:
        """Give all parts, the short ones first; empty texts are left out."""
        short = (Part(self.text), Part(image=self.image), Part(like=self.like))
        return tuple(
            one
            for one in (*short, *self.parts)
            if one.image or one.text.strip() or one.like is not None
        )
