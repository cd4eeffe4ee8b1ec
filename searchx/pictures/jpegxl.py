"""JPEG XL, as libjxl decodes it (imagecodecs): in sRGB, of an animation the frame that shows most.

libjxl turns a picture upright by itself, as its header says; EXIF in the file is for others.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from searchx.errors import UnreadableImage
from searchx.pictures.colours import display_curve, from_code_points
from searchx.pictures.frames import BETTER, MAX_FRAME_PIXELS, detail
from searchx.pictures.jpegxl_header import SRGB_TRANSFER, Header, read_header
from searchx.pictures.limits import MAX_PIXELS, check_size, too_large

_FRAMES: Final = (0, 1, 2, 4, 8, 16, 32)  # looked at in an animation: each is decoded on its own


def decode(data: bytes) -> Image.Image:
    """Give the picture of a JPEG XL file: RGB, RGBA, L or LA, upright, in sRGB.

    Of an animation it is the frame that shows most. Raises ``UnreadableImage`` for a size beyond
    the limits, before anything is decoded; the decoder raises for damage.
    """
    header = read_header(data)
    check_size(header.width, header.height)
    pixels = header.width * header.height
    if pixels * (header.extra + 3) > 4 * MAX_PIXELS:
        raise UnreadableImage(too_large())
    best = _frame(data, header, 0)
    if header.is_animated:
        most = detail(best)
        for number in (n for n in _FRAMES if 0 < n * pixels < MAX_FRAME_PIXELS):
            frame = _frame(data, header, number)
            if detail(frame) > most * BETTER:
                best, most = frame, detail(frame)
    return best


def _frame(data: bytes, header: Header, number: int) -> Image.Image:
    import imagecodecs

    # Zeros on purpose: past the last frame the decoder leaves the array as it was.
    pixels = np.zeros(header.shape, header.kind)
    try:
        imagecodecs.jpegxl_decode(data, number, numthreads=1, out=pixels)
    except imagecodecs.JpegxlError as error:
        reason = "is cut off" if "NEED_MORE_INPUT" in str(error) else "is damaged"
        raise UnreadableImage(f"the JPEG XL file {reason}") from error
    if pixels.ndim == 3 and pixels.shape[:2] != (header.height, header.width):
        pixels = pixels[0]  # grey, and channels that are no colour
    return _image(pixels, header)


def _image(pixels: NDArray[np.generic], header: Header) -> Image.Image:
    is_deep = pixels.ndim == 3
    colours = pixels[..., : header.colours] if is_deep else pixels
    shown = _levels(colours, header, header.transfer)
    image = Image.fromarray(shown[..., 0] if shown.shape[-1:] == (1,) and is_deep else shown)
    image = from_code_points(image, header.primaries, SRGB_TRANSFER)
    if header.has_alpha:
        image.putalpha(Image.fromarray(_levels(pixels[..., -1], header, SRGB_TRANSFER)))
    return image


def _levels(values: NDArray[np.generic], header: Header, transfer: int) -> NDArray[np.uint8]:
    """Give numbers of any type as 8 bits: the decoder leaves 10 bits as 0 to 1023."""
    steps = 1 << 16
    if values.dtype.kind == "f":
        light = np.nan_to_num(np.clip(values, 0.0, 1.0).astype(np.float32))
        values = np.rint(light * (steps - 1)).astype(np.uint16)
    else:
        steps = 1 << header.bits
    curve = np.rint(display_curve(transfer, steps) * 255.0).astype(np.uint8)
    return np.take(curve, values.astype(np.uint16, copy=False), mode="clip")
