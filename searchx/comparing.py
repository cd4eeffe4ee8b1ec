"""Which of two models brings pictures and their captions together better, and how sure that is.

Both rank the same pairs. Intervals are those of the bootstrap over pictures (Sakai, SIGIR 2006), at
95 %: a picture is drawn with all its captions, which are no independent witnesses. That of the
difference is paired: each draw holds the same pictures for both models.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from searchx.catalog import Catalog
from searchx.contents import open_content
from searchx.encoder import Encoder
from searchx.errors import BadInput
from searchx.evaluation import Ranks, embed_pictures, rank_pairs
from searchx.filters import Has
from searchx.measures import Figure
from searchx.pairs import Pair
from searchx.records import Item

Way: TypeAlias = Literal["text_to_image", "image_to_text"]
WAYS: Final[tuple[Way, ...]] = ("text_to_image", "image_to_text")
DECIDING: Final = "mrr"  # the measure that every rank counts in
_AT: Final = (1, 5, 10)
_DRAWS: Final = 2_000
_BOUNDS: Final = (0.025, 0.975)
MOST: Final = 5_000  # pictures of a library that are compared by; more tell little more
_PAGE: Final = 1_000
_WHAT: Final = {
    "text_to_image": "finds the picture of a text",
    "image_to_text": "finds the text of a picture",
}


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure of both models, and by how much the second is ahead of the first."""

    one: Figure
    other: Figure
    difference: Figure

    def as_dict(self) -> dict[str, object]:
        """Give the JSON shape."""
        return {name: _shape(getattr(self, name)) for name in ("one", "other", "difference")}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models on the same pairs."""

    models: tuple[str, str]
    images: int
    texts: int
    measures: dict[Way, dict[str, Measure]]  # by "recall@1", "recall@5", "recall@10" and "mrr"

    def better(self, way: Way) -> str | None:
        """Name the model that is better in one direction; None where the pairs do not tell."""
        found = self.measures[way][DECIDING].difference
        if found.low is None or found.high is None or found.low <= 0 <= found.high:
            return None
        return self.models[found.value > 0]

    def sentences(self) -> tuple[str, ...]:
        """Say for each direction which model is better, or that these pairs do not tell."""
        return tuple(self._sentence(way) for way in WAYS)

    def as_dict(self) -> dict[str, object]:
        """Give the JSON shape."""
        ways: dict[str, object] = {
            way: {name: one.as_dict() for name, one in self.measures[way].items()}
            | {"better": self.better(way)}
            for way in WAYS
        }
        counts = {"images": self.images, "texts": self.texts}
        return {
            "one": self.models[0],
            "other": self.models[1],
            **counts,
            **ways,
            "sentences": list(self.sentences()),
        }

    def _sentence(self, way: Way) -> str:
        found = self.measures[way][DECIDING].difference
        better = self.better(way)
        if better is None:
            span = f"{found.low:+.3f} to {found.high:+.3f}" if found.low is not None else "unknown"
            return (
                f"which of the two {_WHAT[way]} better, these pairs do not tell: the mean "
                f"reciprocal rank differs by {found.value:+.3f}, with 95 % certainty {span}"
            )
        worse = next(one for one in self.models if one != better)
        low, high = sorted((abs(found.low or 0.0), abs(found.high or 0.0)))
        return (
            f"{better} {_WHAT[way]} better than {worse}: its mean reciprocal rank is higher by "
            f"{abs(found.value):.3f}, with 95 % certainty {low:.3f} to {high:.3f}"
        )


def compare(
    models: Sequence[Callable[[], Encoder]],
    pairs: Sequence[Pair],
    progress: Callable[[int], None] | None = None,
    *,
    draws: int = _DRAWS,
    seed: int = 0,
) -> Comparison:
    """Measure two models, one loaded after the other, on the same pairs.

    `progress` is told of every batch of pictures. Raises BadInput where there are no pairs, or the
    models are one and the same, UnreadableImage and ModelError.
    """
    if not pairs:
        raise BadInput("there are no pairs to compare by; give at least one picture with a caption")
    texts = [text for pair in pairs for text in pair.captions]
    owners = np.repeat(np.arange(len(pairs)), [len(pair.captions) for pair in pairs])
    found = [_ranked(load(), pairs, texts, owners, progress) for load in models]
    (one, one_digest, *mine), (other, other_digest, *theirs) = found
    if one_digest == other_digest:
        raise BadInput(f'"{one}" and "{other}" are the same model; name two')
    sides = (owners, np.arange(len(pairs)))  # the picture that each rank belongs to
    return Comparison(
        models=(one, other),
        images=len(pairs),
        texts=len(texts),
        measures={
            way: _measures(of_one, of_other, side, len(pairs), draws, seed)
            for way, of_one, of_other, side in zip(WAYS, mine, theirs, sides, strict=True)
        },
    )


def pairs_of(catalog: Catalog, most: int = MOST) -> tuple[list[Pair], int]:
    """Give pictures of a library that have captions, with those, and count the unreadable ones.

    Where there are more than `most`, so many at random, always the same. Raises BadInput where
    there are none.
    """
    ids = np.random.default_rng(0).permutation(catalog.matching("image", Has("caption")))
    found: list[Pair] = []
    left_out = 0
    for start in range(0, len(ids), _PAGE):
        for item in catalog.items(ids[start : start + _PAGE].tolist()).values():
            image = _image_of(item) if item.captions else None
            left_out += image is None
            if image is not None and len(found) < most:
                found.append(Pair(image, item.captions))
        if len(found) >= most:
            break
    if not found:
        raise BadInput(
            f"no picture in {catalog.directory} that can be read has a caption; name pairs to "
            "compare by, such as a captions.jsonl"
        )
    return found, left_out


def _image_of(item: Item) -> Path | bytes | None:
    """Give a picture as a file, or out of one; None where it is not there now."""
    place = item.locations[0]
    if not place.fragment and Path(place.path).is_file():
        return Path(place.path)
    try:
        return open_content(place)
    except BadInput:
        return None


def _ranked(
    encoder: Encoder,
    pairs: Sequence[Pair],
    texts: Sequence[str],
    owners: Ranks,
    progress: Callable[[int], None] | None,
) -> tuple[str, str, Ranks, Ranks]:
    images = embed_pictures(encoder, pairs, progress)
    forward, backward = rank_pairs(images, encoder.embed_texts(texts), owners)
    return encoder.space.name, encoder.space.digest, forward, backward


def _measures(
    one: Ranks, other: Ranks, owners: Ranks, pictures: int, draws: int, seed: int
) -> dict[str, Measure]:
    """Give the measures of both models with their intervals; `owners` are pictures, from 0."""
    names = [*(f"recall@{k}" for k in _AT), "mrr"]
    mine, theirs = _sums(one, owners, pictures), _sums(other, owners, pictures)  # (pictures, m)
    counts = np.bincount(owners, minlength=pictures).astype(np.float64)
    columns = np.concatenate([mine, theirs, theirs - mine], axis=1)  # (pictures, 3 m)
    values = columns.sum(axis=0) / counts.sum()
    random = np.random.default_rng(seed)
    drawn = np.empty((draws, columns.shape[1]))
    for number in range(draws):
        times = np.bincount(random.integers(pictures, size=pictures), minlength=pictures)
        drawn[number] = times @ columns / (times @ counts)
    bounds = np.quantile(drawn, _BOUNDS, axis=0) if draws else None
    figures = [
        Figure(float(value), *(() if bounds is None else map(float, bounds[:, place])))
        for place, value in enumerate(values)
    ]
    m = len(names)
    return {
        name: Measure(figures[at], figures[m + at], figures[2 * m + at])
        for at, name in enumerate(names)
    }


def _sums(ranks: Ranks, owners: Ranks, pictures: int) -> NDArray[np.float64]:
    """Add up what each rank is worth by each measure, by the picture that it belongs to."""
    worth = np.stack([*(ranks <= k for k in _AT), 1 / ranks], axis=1).astype(np.float64)
    found: NDArray[np.float64] = np.zeros((pictures, worth.shape[1]))
    np.add.at(found, owners, worth)
    return found


def _shape(figure: Figure) -> dict[str, Any]:
    return {"value": figure.value, "low": figure.low, "high": figure.high}
