"""Where a picture answers a question: how well each part of it does so by itself.

Windows of two sizes are cut out of the picture and embedded like pictures of their own; a part is
as hot as the windows that hold it. Nothing is asked of the encoder but to embed, so it holds for
every encoder. ``python -m tests.benchmarks.bench_heat PAIRS`` measures it beside other ways:
covering parts (occlusion; Zeiler and Fergus 2014, arXiv:1311.2901) and projecting the positions of
the map of features, which has blended them.
"""

from itertools import product
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from searchx.encoder import Encoder
from searchx.records import Vectors

Heat: TypeAlias = NDArray[np.float32]  # (CELLS, CELLS), in units of the cosine

CELLS: Final = 12  # down and across
SIDES: Final = (6, 4)  # of windows, in cells; each moves by half of it: 9 and 25 windows
WINDOWS: Final = CELLS // min(SIDES)  # the smallest, beside each other across a picture


class Window(NamedTuple):
    """A part of a picture, in cells."""

    row: int
    column: int
    side: int

    def of(self, picture: Image.Image) -> Image.Image:
        """Cut it out; at least one pixel is left of the smallest picture."""
        left, right = (picture.width * at // CELLS for at in (self.column, self.column + self.side))
        top, bottom = (picture.height * at // CELLS for at in (self.row, self.row + self.side))
        return picture.crop((left, top, max(right, left + 1), max(bottom, top + 1)))


def heat_of(encoder: Encoder, picture: Image.Image, vector: Vectors) -> Heat:
    """Give for each cell of an upright RGB picture how near it is to a question (dim,).

    Zero is what windows have on average. The work comes to the encoder in its batches, so that
    other questions find their turn in between.
    """
    small = _reduced(picture, 2 * encoder.fit.side)
    windows = [window for side in SIDES for window in _windows(side)]
    rows: list[Vectors] = []
    size = encoder.batch_size  # it may change on the way
    for start in range(0, len(windows), size):
        batch = windows[start : start + size]
        rows.append(encoder.embed_images([encoder.fit(one.of(small)) for one in batch]))
    cosines = np.concatenate(rows) @ vector  # (windows,)
    heat = np.zeros((CELLS, CELLS))
    for side in SIDES:
        mine = [place for place, window in enumerate(windows) if window.side == side]
        heat += _spread(cosines[mine], [windows[one] for one in mine]) / len(SIDES)
    return heat.astype(np.float32)


def _windows(side: int) -> list[Window]:
    places = range(0, CELLS - side + 1, side // 2)
    return [Window(row, column, side) for row, column in product(places, places)]


def _reduced(picture: Image.Image, side: int) -> Image.Image:
    """Give the picture no larger than windows of it are seen, so that cutting them costs little."""
    factor = min(picture.size) // (side * CELLS // min(SIDES))
    return picture.reduce(factor) if factor > 1 else picture


def _spread(cosines: NDArray[np.float32], windows: list[Window]) -> NDArray[np.float64]:
    """Give each cell the mean of the windows that hold it, above the mean of all windows."""
    total, times = np.zeros((CELLS, CELLS)), np.zeros((CELLS, CELLS))
    for window, cosine in zip(windows, cosines - cosines.mean(), strict=True):
        cells = (
            slice(window.row, window.row + window.side),
            slice(window.column, window.column + window.side),
        )
        total[cells] += cosine
        times[cells] += 1
    return total / times
