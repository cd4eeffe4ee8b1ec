"""Which frame stands for a file of several: the one that shows most, never a blank one.

The choice depends on the file alone: not on the clock, the machine or the size that is asked for,
so the vector and the thumbnail of a file show the same frame.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, TiffImagePlugin

from searchx.pictures.limits import check_size

MAX_FRAMES: Final = 64
MAX_FRAME_PIXELS: Final = 64_000_000  # of all frames looked at together: a second or two of work
MAX_PAGES: Final = 16  # of a TIFF, looked at for the first page that is no preview
BETTER: Final = 1.05  # a later frame must show this much more to be taken
_ANIMATED: Final = ("GIF", "PNG", "WEBP", "AVIF")
_SIDE: Final = 32
_SUBFILE_TYPE: Final = 254  # TIFF 6.0: bit 0 says that a page is a reduced copy of another


def chosen(image: ImageFile.ImageFile) -> Image.Image:
    """Give the frame or page that stands for the file; ``image`` itself where there is one.

    Of an animation it is the frame with the most contrast among the first ``MAX_FRAMES`` (fewer
    of large frames), the earliest of those that differ little: a fade-in is past, and an endless
    animation ends. Of a TIFF it is the first page that is no reduced copy of another.
    """
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        _turn_to_page(image)
        return image
    if image.format not in _ANIMATED or not getattr(image, "is_animated", False):
        return image
    return _most_telling(image)


def detail(image: Image.Image) -> float:
    """Measure how much a picture shows: the spread of its colours on white, 0 for a blank one."""
    small = image.convert("RGBA").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    levels: NDArray[np.float64] = np.asarray(small).astype(np.float64)  # (side, side, 4)
    solid = levels[..., 3:] / 255.0
    on_white = levels[..., :3] * solid + 255.0 * (1.0 - solid)  # (side, side, 3)
    return float(on_white.reshape(-1, 3).std(axis=0).mean())


def _most_telling(image: ImageFile.ImageFile) -> Image.Image:
    image.load()
    best, most = image.copy(), detail(image)
    seen = image.width * image.height
    for number in range(1, MAX_FRAMES):
        if seen > MAX_FRAME_PIXELS or not _turned_to_frame(image, number):
            break
        seen += image.width * image.height
        shown = detail(image)
        if shown > most * BETTER:
            best, most = image.copy(), shown
    return best


def _turned_to_frame(image: ImageFile.ImageFile, number: int) -> bool:
    """Decode the next frame; what is damaged behind a whole frame ends the animation there."""
    try:
        image.seek(number)
        check_size(image.width, image.height)
        image.load()
    except MemoryError:
        raise
    except Exception:
        return False
    return True


def _turn_to_page(image: TiffImagePlugin.TiffImageFile) -> None:
    for number in range(MAX_PAGES):
        try:
            image.seek(number)
        except EOFError:
            break
        if not int(image.tag_v2.get(_SUBFILE_TYPE, 0)) & 1:
            return
    image.seek(0)
