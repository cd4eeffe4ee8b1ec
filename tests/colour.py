"""The small encoder of the tests: a real model of one subject, colour.

An image becomes its mean colour, a text the mean of the colours it names; both as unit vectors
around middle grey. It answers in milliseconds and can be checked by eye.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from searchx.fitting import Fitting
from searchx.records import Pixels, Space, Vectors

COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "cyan": (0, 255, 255),
    "magenta": (255, 0, 255),
    "white": (255, 255, 255),
    "black": (0, 0, 0),
    "orange": (255, 140, 0),
    "pink": (255, 150, 190),
}


class ColourEncoder:
    def __init__(self, name: str = "colour") -> None:
        self.space = Space(name, f"{name}-1", 4)
        self.fit = Fitting((16, 16), "squash", "box")
        self.batch_size = 8
        self.text_limit = 60
        self.embedded_images = 0

    def embed_images(self, pixels: Sequence[Pixels]) -> Vectors:
        self.embedded_images += len(pixels)
        if not pixels:
            return np.empty((0, 4), np.float32)
        return _unit(np.stack(pixels).mean(axis=(1, 2), dtype=np.float32) / 255)

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.empty((0, 4), np.float32)
        return _unit(np.stack([_named_colour(text) for text in texts]))

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """A token is a word; none is special."""
        return [len(text.split()) for text in texts]


def _named_colour(text: str) -> NDArray[np.float32]:
    named = [COLOURS[word] for word in re.findall(r"[a-z]+", text.lower()) if word in COLOURS]
    if not named:
        return np.full(3, 0.5, np.float32)
    mean: NDArray[np.float32] = np.mean(np.array(named, np.float32) / 255, axis=0)
    return mean


def _unit(colours: NDArray[np.float32]) -> Vectors:
    grey = np.full((len(colours), 1), 0.1)
    rows: Vectors = np.concatenate([colours - 0.5, grey], axis=1).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def paint(path: Path, colour: str | tuple[int, int, int], size: tuple[int, int] = (64, 48)) -> Path:
    """Save a picture of one colour; the format follows the name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rgb = COLOURS[colour] if isinstance(colour, str) else colour
    Image.new("RGB", size, rgb).save(path)
    return path
