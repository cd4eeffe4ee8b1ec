"""The frozen records that travel between files. The words are those of the documentation."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Vectors: TypeAlias = NDArray[np.float32]  # (n, dim), unit rows
Ids: TypeAlias = NDArray[np.int64]  # (n,), from the catalog, never reused
Pixels: TypeAlias = NDArray[np.float32]  # (3, height, width), normalised for one encoder
Kind: TypeAlias = Literal["image", "text"]


@dataclass(frozen=True, slots=True)
class Space:
    """The vectors of one exact encoder. Vectors of two spaces are never compared."""

    name: str  # the model's one stored form: "mini", "ViT-B-32/laion2b_s34b_b79k", "local-dir:/…"
    digest: str  # hex, over weights and preprocessing
    dim: int


@dataclass(frozen=True, slots=True)
class Location:
    """A place where an item was found."""

    source: str  # the root that was indexed: a folder or a corpus file
    path: str  # the file; undecodable bytes as surrogates, so that open() works
    fragment: str = ""  # the place inside the file, such as "line 12"; empty for a whole file


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

    @property
    def path(self) -> str:
        """Where to look first."""
        return self.locations[0].path

    @property
    def paths(self) -> tuple[str, ...]:
        """Every file that holds this item, each once."""
        return tuple(dict.fromkeys(place.path for place in self.locations))


@dataclass(frozen=True, slots=True)
class Hit:
    """An item with its exact cosine to the query."""

    item: Item
    score: float

    @property
    def id(self) -> int:
        return self.item.id

    @property
    def path(self) -> str:
        return self.item.path

    def as_dict(self) -> dict[str, object]:
        """Give the one JSON shape of a hit: the same at the prompt and over HTTP."""
        item = self.item
        shape: dict[str, object] = {
            "id": item.id,
            "kind": item.kind,
            "score": round(self.score, 6),
            "path": item.path,
            "paths": list(item.paths),
            "locations": [
                {"source": place.source, "path": place.path, "fragment": place.fragment}
                for place in item.locations
            ],
        }
        if item.kind == "text":
            return shape | {"text": item.text}
        return shape | {"width": item.width, "height": item.height}


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was not indexed, with the reason in words that a person can act on."""

    path: str
    reason: str


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
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked: a text, a picture, an item already in the library, or several together.

    Several parts are combined as the mean of their unit vectors.
    """

    text: str = ""
    image: Path | bytes | None = None  # a picture file, or its bytes
    like: int | None = None  # the id of an item: "more like this"
