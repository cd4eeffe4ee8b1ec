"""How large pictures are on a page: the sizes of thumbnails, and the shapes of the grid."""

import math
from typing import Final

from searchx.records import Item

SIDES: Final = (240, 480, 960)  # pixels of a thumbnail, longest side
RATIOS: Final = tuple(0.5 * 1.05**step for step in range(34))  # width to height, as the grid has it


def sources(item: Item) -> str:
    """Give the sizes of a thumbnail that a browser may choose from, as `srcset` writes them.

    Empty where the size of the picture is not known.
    """
    if not item.width or not item.height:
        return ""
    longest = max(item.width, item.height)
    sizes = {
        max(1, round(item.width * min(side, longest) / longest)): f"?side={side}"
        for side in reversed(SIDES)  # where a picture is small, the smallest that shows all of it
    }
    return ", ".join(
        f"/items/{item.id}/thumbnail{asked} {width}w" for width, asked in sorted(sizes.items())
    )


def shape_of(item: Item) -> int:
    """Tell which of RATIOS comes nearest; a square where the size is not known."""
    if not item.width or not item.height:
        return _nearest(1.0)
    return _nearest(item.width / item.height)


def _nearest(ratio: float) -> int:
    step = round(math.log(ratio / RATIOS[0]) / math.log(RATIOS[1] / RATIOS[0]))
    return min(max(step, 0), len(RATIOS) - 1)
