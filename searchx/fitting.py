"""A picture as an encoder wants it: resized, cropped or padded to one size, as 8-bit numbers.

This is the part of an encoder's preprocessing that can be done in another process. It needs
neither torch nor open_clip, and gives what open_clip's own transformation for inference gives
before it normalises. Normalising is left to the encoder, on its device: 8-bit numbers are a
quarter of the size, and that is what travels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, Self, TypeAlias, get_args

import numpy as np
from PIL import Image, ImageOps

from searchx.errors import ModelError
from searchx.records import Pixels

ResizeMode: TypeAlias = Literal["shortest", "longest", "squash"]
Interpolation: TypeAlias = Literal["bicubic", "bilinear", "box", "lanczos", "nearest"]

_FILTERS: Final[Mapping[str, Image.Resampling]] = {
    name: Image.Resampling[name.upper()] for name in get_args(Interpolation)
}


class Fit(Protocol):
    """Turns an upright RGB picture into what one encoder takes. Picklable."""

    @property
    def side(self) -> int:
        """Longest side in pixels of what the encoder sees; decoding finer than that is wasted."""
        ...

    def __call__(self, image: Image.Image) -> Pixels: ...


@dataclass(frozen=True, slots=True)
class Fitting:
    """Resizes a picture to what an open_clip model sees; safe to call from many threads.

    ``shortest`` keeps the proportions and crops what juts out, ``longest`` keeps them and pads
    with ``fill``, ``squash`` gives them up. Raises ModelError for a mode, an interpolation or a
    size that is none.
    """

    size: tuple[int, int]  # height, width
    resize_mode: ResizeMode = "shortest"
    interpolation: Interpolation = "bicubic"
    fill: int = 0  # grey value of the padding, 0 to 255

    @classmethod
    def of(cls, preprocessing: Mapping[str, Any]) -> Self:
        """Read what open_clip keeps as a model's ``preprocess_cfg``."""
        size = np.atleast_1d(preprocessing["size"]).tolist()
        interpolation: Any = preprocessing.get("interpolation") or "bicubic"
        return cls(
            size=(size[0], size[-1]),
            resize_mode=preprocessing.get("resize_mode") or "shortest",
            # "random" is a choice for training; open_clip takes bicubic for inference
            interpolation="bicubic" if interpolation == "random" else interpolation,
            fill=preprocessing.get("fill_color") or 0,
        )

    def __post_init__(self) -> None:
        _check("resize mode", self.resize_mode, get_args(ResizeMode))
        _check("interpolation", self.interpolation, get_args(Interpolation))
        if min(self.size) < 1:
            raise ModelError(f"a model cannot see pictures of {self.size}; check its configuration")

    @property
    def side(self) -> int:
        """Longest side in pixels of what the encoder sees; decoding finer than that is wasted."""
        return max(self.size)

    def __call__(self, image: Image.Image) -> Pixels:
        """Give the picture as uint8 (height, width, 3), C-contiguous and writable."""
        fitted = image.resize(self._resized(image), self._filter())
        if self.resize_mode != "squash":
            fitted = _centred(fitted, self.size, self.fill)
        return np.array(fitted.convert("RGB"))  # (height, width, 3)

    def _resized(self, image: Image.Image) -> tuple[int, int]:
        """Give (width, height) after resizing, rounded as open_clip and torchvision round it.

        A picture that is narrower than they can resize becomes one pixel wide.
        """
        height, width = self.size
        if self.resize_mode == "squash":
            return width, height
        ratios = image.width / width, image.height / height
        if self.resize_mode == "shortest" and width == height:
            short = min(image.size)
            across, down = (int(width * side / short) for side in image.size)
            return across, down
        ratio = max(ratios) if self.resize_mode == "longest" else min(ratios)
        return max(1, round(image.width / ratio)), max(1, round(image.height / ratio))

    def _filter(self) -> Image.Resampling:
        if self.resize_mode == "shortest" and self.size[0] != self.size[1]:
            return Image.Resampling.BICUBIC  # open_clip asks nothing else there
        return _FILTERS[self.interpolation]


def _centred(image: Image.Image, size: tuple[int, int], fill: int) -> Image.Image:
    """Pad or crop a picture to (height, width) around its centre."""
    height, width = size
    across, down = max(0, width - image.width), max(0, height - image.height)
    if across or down:
        border = (across // 2, down // 2, (across + 1) // 2, (down + 1) // 2)
        image = ImageOps.expand(image, border, (fill, fill, fill))
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))


def _check(what: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        raise ModelError(
            f'{what} "{given}" is not known; the model\'s configuration must name one of: '
            + ", ".join(known)
        )
