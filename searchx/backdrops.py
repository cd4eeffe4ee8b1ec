"""What is usual in a library, measured when a query first needs it and kept while it holds."""

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from PIL import Image

from searchx import duplicates
from searchx.adding.spaces import is_given
from searchx.catalog import Catalog
from searchx.contents import open_content
from searchx.encoder import Encoder
from searchx.errors import SearchxError
from searchx.filters import All
from searchx.measured import GROWN, keep_background, kept_background
from searchx.pictures.images import read_picture
from searchx.profiles import ALIKE
from searchx.records import KINDS, Kind, Vectors
from searchx.references import kept_references, references_of
from searchx.relevance import SELF, Background, Direction
from searchx.views import View, read_view

_SAMPLE: Final = 2_000  # vectors of a kind; its moments are then known to some percent
_PAIRED: Final = 1_000  # of them that are compared with each other
_Origin: TypeAlias = tuple[str, str]  # a library, and the space of its vectors
_PICTURES: Final = 32  # that near duplicates are told by, for an encoder that is not known


@dataclass(frozen=True, slots=True, eq=False)
class Backdrop:
    """What is usual in one direction of a library, to read scores against."""

    background: Background | None  # None where there is nothing to measure
    sample: Vectors  # (m, dim), of the items that are found

    def deviation(self, query: Vectors) -> float:
        """Give the standard deviation of a query's cosines (dim,) over the sample, or 0."""
        if self.background is not None:
            return self.background.deviation(query)
        return float((self.sample @ query).std()) if len(self.sample) else 0.0


NO_BACKDROP: Final = Backdrop(None, np.empty((0, 0), np.float32))  # where nothing is compared


@dataclass(frozen=True, slots=True, eq=False)
class Usual:
    """How alike items of one kind usually are."""

    sample: Vectors  # (m, dim)
    mean: float  # of the cosines of two of them
    spread: float  # their standard deviation

    @property
    def joined_from(self) -> float:
        """Give the cosine from which on two items belong to one interest."""
        return self.mean + ALIKE * self.spread

    @classmethod
    def of(cls, sample: Vectors) -> "Usual":
        some = sample[:_PAIRED]
        cosines = (some @ some.T)[np.triu_indices(len(some), 1)]
        if not len(cosines):
            return cls(sample, 0.0, 0.0)
        return cls(sample, float(cosines.mean()), float(cosines.std()))


class Backdrops:
    """The backdrops of one library. Safe to use from many threads."""

    def __init__(self, catalog: Catalog, encoder: Callable[[], Encoder]) -> None:
        self._catalog = catalog
        self._encoder = encoder
        self._measured: dict[Direction, tuple[_Origin, int, Backdrop]] = {}
        self._usual: dict[Kind, tuple[_Origin, int, Usual]] = {}
        self._references: tuple[str, Vectors] | None = None  # with the digest of their space
        self._threshold: tuple[str, float] | None = None  # the same
        self._measuring = threading.RLock()

    def of(self, view: View, asked: Kind, images: Callable[[], View]) -> Backdrop:
        """Give the backdrop of questions of a kind to what is in a view.

        `images` gives the view of the pictures, whose vectors stand for pictures that are asked
        with.
        """
        direction = Direction(asked, view.kind)
        with self._measuring:
            known = self._measured.get(direction)
            if known and known[0] == _origin(view) and _is_near(known[1], view.count):
                return known[2]
            made, is_of_now = self._measure(direction, view, images)
            if is_of_now:
                self._measured[direction] = (_origin(view), view.count, made)
            return made

    def prepare(self) -> None:
        """Measure what questions in text need, so that the first of them need not."""
        for kind in KINDS:  # no pictures are needed, where none are asked with
            self.of(
                read_view(self._catalog, kind), "text", lambda: read_view(self._catalog, "image")
            )

    def usual(self, view: View) -> Usual:
        """Tell how alike the items of a view are; needs no encoder."""
        with self._measuring:
            known = self._usual.get(view.kind)
            if known and known[0] == _origin(view) and _is_near(known[1], view.count):
                return known[2]
            made = Usual.of(view.sample(_SAMPLE))
            self._usual[view.kind] = (_origin(view), view.count, made)
            return made

    def duplicates(self) -> float:
        """Give the cosine from which on two items are near duplicates, for this encoder."""
        with self._measuring:
            space = self._catalog.space()
            digest = "" if space is None else space.digest
            if self._threshold is not None and self._threshold[0] == digest:
                return self._threshold[1]
            found = duplicates.MEASURED.get(digest)
            if found is None:
                pictures = list(self._pictures())
                if len(pictures) < 2:
                    return SELF  # nothing to tell by, or on a disk that is not there now
                encoder = self._encoder()
                digest, found = encoder.space.digest, duplicates.threshold(encoder, pictures)
            self._threshold = (digest, found)
            return found

    def _measure(
        self, direction: Direction, view: View, images: Callable[[], View]
    ) -> tuple[Backdrop, bool]:
        """Measure, and tell whether that is to be kept; nothing of two models is compared."""
        sample = view.sample(_SAMPLE)
        if not len(sample):
            return Backdrop(None, sample), True
        space = self._catalog.space()
        if space is not None and is_given(space):  # no caption can be embedded into it
            return Backdrop(None, sample), space.digest == view.version.space
        digest, references = self._captions()
        if digest != view.version.space:  # another model took its place just now
            return Backdrop(None, sample), False
        kept = kept_background(self._catalog.directory, view.version, digest, direction, references)
        if kept is not None:
            return Backdrop(kept, sample), True
        asked = None
        if direction == Direction("image", "text"):
            pictures = images()
            if pictures.version.space != digest:
                return Backdrop(None, sample), False
            asked = pictures.sample(_SAMPLE)
            if not len(asked):
                return Backdrop(None, sample), True
        background = Background.of(direction, view.count, sample, references, asked)
        keep_background(self._catalog.directory, view.version, digest, background)
        return Backdrop(background, sample), True

    def _captions(self) -> tuple[str, Vectors]:
        """Give the vectors of everyday captions, with the digest of their space.

        The encoder is loaded where they are not kept.
        """
        directory, space = self._catalog.directory, self._catalog.space()
        known = self._references
        if known is None or space is None or known[0] != space.digest:
            kept = None if space is None else kept_references(directory, space)
            if space is None or kept is None:
                encoder = self._encoder()
                space, kept = encoder.space, references_of(directory, encoder)
            self._references = known = (space.digest, kept)
        return known

    def _pictures(self) -> Iterator[Image.Image]:
        """Open some pictures of the library; those that cannot be opened now are left out."""
        ids = self._catalog.matching("image", All())
        chosen = np.random.default_rng(0).permutation(ids)[: 2 * _PICTURES]
        items = self._catalog.items(chosen.tolist())
        for item in list(items.values())[:_PICTURES]:
            with suppress(SearchxError, OSError):
                yield read_picture(open_content(item.locations[0])).image


def _origin(view: View) -> _Origin:
    return view.version.library, view.version.space


def _is_near(before: int, now: int) -> bool:
    return abs(now - before) <= GROWN * before
