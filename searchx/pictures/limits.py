"""How large a picture may be: looked up in its header, before anything is decoded."""

from typing import Final

from searchx.errors import UnreadableImage

MAX_PIXELS: Final = 200_000_000  # the largest phone sensors give 200 million; above is refused
MAX_RATIO: Final = 200  # long side to short side; narrower ones grow out of memory when resized


def check_size(width: int, height: int) -> None:
    """Raise ``UnreadableImage`` where a picture of this size would not be decoded."""
    if min(width, height) < 1:
        raise UnreadableImage("the picture has no pixels")
    if width * height > MAX_PIXELS:
        raise UnreadableImage(too_large())
    if max(width, height) > MAX_RATIO * min(width, height):
        raise UnreadableImage(f"the picture is too narrow ({width} x {height} pixels)")


def too_large() -> str:
    return f"the picture has more than {MAX_PIXELS // 1_000_000} million pixels"
