"""A query as the encoder understands it: one unit vector, and those of what it excludes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import numpy as np

from searchx.errors import BadInput
from searchx.records import Kind, Part, Query, Vectors


@dataclass(frozen=True, slots=True, eq=False)
class Excluded:
    """What a hit should not match."""

    vector: Vectors  # (dim,)
    weight: float  # above zero
    words: str = ""  # what it says


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What is asked, embedded; `vector` is None where only a filter is given."""

    vector: Vectors | None  # (dim,), unit length
    asked: Kind  # what it was asked with; "text" where texts and pictures are mixed
    words: str = ""  # what it says, to be found as words
    excluded: tuple[Excluded, ...] = ()
    without: tuple[int, ...] = ()  # items that are asked with, which are no answer


class Stored(Protocol):
    """Where the vectors and kinds of items are to be had."""

    def vector(self, item_id: int) -> Vectors: ...

    def kind(self, item_id: int) -> Kind: ...


class Embedding(Protocol):
    """Where the vectors (dim,) of texts and pictures are to be had."""

    def text(self, text: str) -> Vectors: ...

    def picture(self, image: Path | bytes) -> Vectors: ...


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """Texts that were embedded together, and where the vectors of pictures are to be had."""

    texts: Mapping[str, Vectors]
    others: Embedding

    def text(self, text: str) -> Vectors:
        return self.texts[text]

    def picture(self, image: Path | bytes) -> Vectors:
        return self.others.picture(image)


def question_of(query: Query, embedding: Embedding, stored: Stored) -> Question:
    """Embed a query; the encoder is only needed where there is a text or a picture in it.

    A filter alone is a question too. Raises BadInput for a query without content, or an
    unreadable picture.
    """
    parts = query.every_part
    wanted = [one for one in parts if one.weight > 0]
    if not wanted:
        if parts:
            raise BadInput("the query only says what to leave out; add what you look for")
        if query.where is None and query.to is None:
            raise BadInput("the query is empty; write what you look for, or give a picture")
        return Question(None, "text")
    embedded = [(_vector(one, embedding, stored), one.weight) for one in wanted]
    mean = np.sum([weight * vector for vector, weight in embedded], axis=0)
    kinds = {_asked_with(one, stored) for one in wanted}
    return Question(
        vector=cast(Vectors, mean / max(float(np.linalg.norm(mean)), 1e-12)),
        asked="image" if kinds == {"image"} else "text",
        words=" ".join(one.text.strip() for one in wanted if one.text.strip()),
        excluded=tuple(
            Excluded(_vector(one, embedding, stored), -one.weight, one.text.strip())
            for one in parts
            if one.weight < 0
        ),
        without=tuple(one.like for one in wanted if one.like is not None),
    )


def _vector(part: Part, embedding: Embedding, stored: Stored) -> Vectors:
    if part.like is not None:
        return cast(Vectors, stored.vector(part.like)[0])
    if part.image is not None:
        return embedding.picture(part.image)
    return embedding.text(part.text.strip())


def _asked_with(part: Part, stored: Stored) -> Kind:
    if part.like is not None:
        return stored.kind(part.like)
    return "text" if part.image is None else "image"
