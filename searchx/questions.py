"""A query as the encoder understands it: one unit vector, and those of what it excludes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np

from searchx.encoder import Encoder
from searchx.errors import BadInput
from searchx.pictures.images import open_image
from searchx.prompts import prompted, templates_for
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


def question_of(query: Query, encoder: "LazyEncoder", stored: Stored) -> Question:
    """Embed a query; the encoder is only loaded where there is a text or a picture in it.

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
    embedded = [(_vector(one, encoder, stored), one.weight) for one in wanted]
    mean = np.sum([weight * vector for vector, weight in embedded], axis=0)
    kinds = {_asked_with(one, stored) for one in wanted}
    return Question(
        vector=cast(Vectors, mean / max(float(np.linalg.norm(mean)), 1e-12)),
        asked="image" if kinds == {"image"} else "text",
        words=" ".join(one.text.strip() for one in wanted if one.text.strip()),
        excluded=tuple(
            Excluded(_vector(one, encoder, stored), -one.weight, one.text.strip())
            for one in parts
            if one.weight < 0
        ),
        without=tuple(one.like for one in wanted if one.like is not None),
    )


class LazyEncoder(Protocol):
    """Gives the encoder when it is needed first."""

    def __call__(self) -> Encoder: ...


def embedded_texts(encoder: Encoder, texts: Sequence[str]) -> Vectors:
    """Embed what people type, (n, dim): short names in the templates that help this model."""
    templates = templates_for(encoder.space.name)
    versions = [prompted(text, templates) for text in texts]
    rows = encoder.embed_texts([one for several in versions for one in several])
    ends = np.cumsum([len(several) for several in versions])
    means = np.stack([part.mean(0) for part in np.split(rows, ends[:-1])])
    return cast(Vectors, means / np.linalg.norm(means, axis=1, keepdims=True).clip(1e-12))


def _vector(part: Part, encoder: LazyEncoder, stored: Stored) -> Vectors:
    if part.like is not None:
        return cast(Vectors, stored.vector(part.like)[0])
    if part.image is not None:
        loaded = encoder()
        picture = open_image(part.image, at_least=loaded.fit.side)
        return cast(Vectors, loaded.embed_images([loaded.fit(picture)])[0])
    return cast(Vectors, embedded_texts(encoder(), [part.text.strip()])[0])


def _asked_with(part: Part, stored: Stored) -> Kind:
    if part.like is not None:
        return stored.kind(part.like)
    return "text" if part.image is None else "image"
