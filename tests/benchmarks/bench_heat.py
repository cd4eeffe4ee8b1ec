"""How truly does a heat map show where a picture answers a text, and what does it cost?

python -m tests.benchmarks.bench_heat PAIRS [MODEL] [COUNT]

PAIRS is a folder with a captions.jsonl. Two of its pictures are put side by side, and four into a
square; the heat for the caption of one must lie on it: the share of all heat above zero that does,
and how often the hottest point does. Then the picture itself is covered from its hottest part on
(deletion) and shown from its hottest part on (insertion; Petsiuk et al. 2018, arXiv:1806.07421):
the mean cosine on the way, as a share of the cosine of the whole picture. A good map loses it soon
and gains it soon. Of an equal start, 0.5 of both is what chance gives.

The ways beside that of searchx, which shows windows alone of two sizes: windows covered one after
another with the mean colour; windows of one size shown alone; and, where the model has a map of
features that is averaged, each of its positions alone through the projection, and its average
without each position. Quarters and curves are measured of every fifth pair.
"""

import json
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from searchx.encoder.plain import OpenClipEncoder, normalised
from searchx.heat import Heat, heat_of
from searchx.pictures.images import open_image
from searchx.records import Vectors

Way: TypeAlias = Callable[[OpenClipEncoder, Image.Image, Vectors], Heat]
SIDE = 448  # of the pictures that are put together
FINE = 56  # cells along each side when maps are compared
STEPS = 6


@dataclass
class Score:
    halves: list[float] = field(default_factory=list)
    quarters: list[float] = field(default_factory=list)
    points: list[bool] = field(default_factory=list)
    deletion: list[float] = field(default_factory=list)
    insertion: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def windows(size: int, cover: int) -> Iterator[tuple[slice, slice]]:
    places = range(size - cover + 1)
    for row, column in product(places, places):
        yield slice(row, row + cover), slice(column, column + cover)


def spread(values: Vectors, size: int, cover: int) -> Heat:
    """Give each cell the mean of the windows that it is in."""
    total, times = np.zeros((size, size)), np.zeros((size, size))
    for value, window in zip(values, windows(size, cover), strict=True):
        total[window] += value
        times[window] += 1
    return np.asarray(total / times, np.float32)


def edges(length: int, size: int) -> list[int]:
    return [round(one) for one in np.linspace(0, length, size + 1)]


def box(picture: Image.Image, size: int, window: tuple[slice, slice]) -> tuple[int, int, int, int]:
    across, down = edges(picture.width, size), edges(picture.height, size)
    rows, columns = window
    return across[columns.start], down[rows.start], across[columns.stop], down[rows.stop]


def cosines(encoder: OpenClipEncoder, pictures: list[Image.Image], vector: Vectors) -> Vectors:
    fitted = [encoder.fit(one) for one in pictures]
    starts = range(0, len(fitted), encoder.batch_size)
    batches = [encoder.embed_images(fitted[at : at + encoder.batch_size]) for at in starts]
    return np.asarray(np.concatenate(batches) @ vector, np.float32)


def covering(size: int, cover: int) -> Way:
    def way(encoder: OpenClipEncoder, picture: Image.Image, vector: Vectors) -> Heat:
        versions = [picture]
        for window in windows(size, cover):
            version = picture.copy()
            version.paste(mean_of(picture), box(picture, size, window))
            versions.append(version)
        found = cosines(encoder, versions, vector)
        return spread(found[0] - found[1:], size, cover)

    return way


def showing(size: int, cover: int) -> Way:
    def way(encoder: OpenClipEncoder, picture: Image.Image, vector: Vectors) -> Heat:
        alone = [picture.crop(box(picture, size, window)) for window in windows(size, cover)]
        found = cosines(encoder, alone, vector)
        return spread(found - found.mean(), size, cover)

    return way


def mean_of(picture: Image.Image) -> tuple[int, ...]:
    return tuple(round(float(one)) for one in np.asarray(picture).mean((0, 1)))


def features(encoder: OpenClipEncoder, picture: Image.Image) -> "torch.Tensor":
    with torch.inference_mode():
        seen = normalised(encoder._model, torch.from_numpy(encoder.fit(picture)[None]))
        found: torch.Tensor = encoder._model.visual.trunk.forward_features(seen)[0]
    return found  # (channels, rows, columns)


def projected(encoder: OpenClipEncoder, pooled: "torch.Tensor", vector: Vectors) -> Vectors:
    """Give the cosines of averaged features (n, channels)."""
    tower = encoder._model.visual
    with torch.inference_mode():
        rows = tower.head(tower.trunk.forward_head(pooled[:, :, None, None]))
        rows = rows / rows.norm(dim=1, keepdim=True)
    return np.asarray(rows.numpy() @ vector, np.float32)


def positions(encoder: OpenClipEncoder, picture: Image.Image, vector: Vectors) -> Heat:
    found = features(encoder, picture)
    values = projected(encoder, found.flatten(1).T, vector).reshape(found.shape[1:])
    return np.asarray(values - values.mean(), np.float32)


def without_positions(encoder: OpenClipEncoder, picture: Image.Image, vector: Vectors) -> Heat:
    found = features(encoder, picture)
    rows = found.flatten(1).T  # (positions, channels)
    count, mean = len(rows), rows.mean(0, keepdim=True)
    whole = projected(encoder, mean, vector)
    rest = projected(encoder, (mean * count - rows) / (count - 1), vector)
    return np.asarray((whole - rest).reshape(found.shape[1:]), np.float32)


WAYS: Mapping[str, Way] = {
    "searchx": heat_of,
    "covered, 6 x 6": covering(6, 2),
    "shown alone, 4 x 4": showing(4, 2),
    "positions": positions,
    "without positions": without_positions,
}


def main() -> None:
    place = Path(sys.argv[1])
    encoder = OpenClipEncoder(sys.argv[2] if len(sys.argv) > 2 else "mini", "cpu")
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 100
    lines = (place / "captions.jsonl").read_text(encoding="utf-8").splitlines()
    pairs = [json.loads(line) for line in lines]
    scores: Mapping[str, Score] = defaultdict(Score)
    random = np.random.default_rng(1)
    for number in range(1, count + 1):
        chosen = [pairs[one] for one in random.choice(len(pairs), 4, replace=False)]
        measure(encoder, place, chosen, scores, whole=number % 5 == 1)
        if number % 5 == 0 or number == count:
            show(number, scores)


def measure(
    encoder: OpenClipEncoder,
    place: Path,
    chosen: list[dict[str, object]],
    scores: Mapping[str, Score],
    whole: bool,
) -> None:
    pictures = [open_image(place / str(one["image"])) for one in chosen]
    caption = chosen[0]["captions"]
    assert isinstance(caption, list)
    vector = encoder.embed_texts([str(caption[0])])[0]
    beside, left = put_together(pictures[:2], SIDE // 2, SIDE)
    square, corner = put_together(pictures, SIDE // 2, SIDE // 2)
    for name, way in WAYS.items():
        score = scores[name]
        began = time.perf_counter()
        one = fine(way(encoder, beside, vector))
        score.seconds.append(time.perf_counter() - began)
        score.halves.append(share(one, left))
        if not whole:
            continue
        two = fine(way(encoder, square, vector))
        score.quarters.append(share(two, corner))
        score.points.append(bool(corner[np.unravel_index(two.argmax(), two.shape)]))
        deleted, inserted = curves(encoder, pictures[0], way(encoder, pictures[0], vector), vector)
        score.deletion.append(deleted)
        score.insertion.append(inserted)


def put_together(
    pictures: list[Image.Image], width: int, height: int
) -> tuple[Image.Image, NDArray[np.bool_]]:
    """Put the middles of pictures into a square, and tell where the first one is."""
    whole = Image.new("RGB", (SIDE, SIDE))
    for number, one in enumerate(pictures):
        corner = (number % 2 * width, number // 2 * height)
        whole.paste(middle(one, width, height), corner)
    first = np.zeros((FINE, FINE), np.bool_)
    first[: FINE * height // SIDE, : FINE * width // SIDE] = True
    return whole, first


def middle(picture: Image.Image, width: int, height: int) -> Image.Image:
    factor = max(width / picture.width, height / picture.height)
    large = picture.resize((round(picture.width * factor), round(picture.height * factor)))
    left, top = (large.width - width) // 2, (large.height - height) // 2
    return large.crop((left, top, left + width, top + height))


def fine(heat: Heat) -> Heat:
    return np.asarray(Image.fromarray(heat).resize((FINE, FINE), Image.Resampling.NEAREST))


def share(heat: Heat, where: NDArray[np.bool_]) -> float:
    above = heat.clip(0)
    return float((above * where).sum() / above.sum()) if above.sum() else float(where.mean())


def curves(
    encoder: OpenClipEncoder, picture: Image.Image, heat: Heat, vector: Vectors
) -> tuple[float, float]:
    """Give the mean cosines while the hottest parts go, and while they come, to that of all."""
    seen = Image.fromarray(encoder.fit(picture))
    smooth = Image.fromarray(heat).resize(seen.size, Image.Resampling.BILINEAR)
    order = np.argsort(np.argsort(-np.asarray(smooth), axis=None)).reshape(seen.height, seen.width)
    pixels, flat = np.asarray(seen), np.full((seen.height, seen.width, 3), mean_of(seen), np.uint8)
    gone = [order < order.size * step / STEPS for step in range(STEPS + 1)]
    versions = [np.where(one[..., None], flat, pixels) for one in gone]
    versions += [np.where(one[..., None], pixels, flat) for one in gone]
    found = cosines(encoder, [Image.fromarray(one) for one in versions], vector)
    empty, whole = found[STEPS], found[0]
    scaled = (found - empty) / max(float(whole - empty), 1e-3)
    return float(scaled[: STEPS + 1].mean()), float(scaled[STEPS + 1 :].mean())


def show(number: int, scores: Mapping[str, Score]) -> None:
    print(f"{number} pairs: share on the half, on the quarter, hottest point; deletion, insertion")
    for name, one in scores.items():
        shares = f"{np.mean(one.halves):.3f} {np.mean(one.quarters):.3f} {np.mean(one.points):.2f}"
        ways = f"{np.median(one.deletion):.3f} {np.median(one.insertion):.3f}"
        spent = statistics.median(one.seconds)
        print(f"  {name:20} {shares}   {ways}   {1000 * spent:6.0f} ms", flush=True)


if __name__ == "__main__":
    main()
