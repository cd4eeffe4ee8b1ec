"""Two models of one subject, of different widths, that tests load by their names."""

from collections.abc import Sequence

import numpy as np

from searchx.encoder import Encoder
from searchx.errors import ModelError
from searchx.records import Pixels, Space, Vectors
from searchx.search import Library
from tests.colour import ColourEncoder


class Bright(ColourEncoder):
    """Sees the same colours, and how far each is from grey: the order of its answers is its own."""

    def __init__(self, name: str = "bright", weight: float = 1.0) -> None:
        super().__init__(name)
        self.space = Space(name, f"{name}-{weight}", 7)
        self._weight = weight

    def embed_images(self, pixels: Sequence[Pixels]) -> Vectors:
        return self._wider(super().embed_images(pixels))

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        return self._wider(super().embed_texts(texts))

    def _wider(self, rows: Vectors) -> Vectors:
        wide = np.concatenate([self._weight * np.abs(rows[:, :3]), rows], axis=1)
        made: Vectors = wide / np.linalg.norm(wide, axis=1, keepdims=True)
        return made


def load(name: str) -> Encoder:
    """Load a model of the tests by its name."""
    if name == "colour":
        return ColourEncoder()
    if name == "bright":
        return Bright()
    raise ModelError(f'model "{name}" is not known here')


class Shelf(Library):
    """A library that loads the models of the tests."""

    def _load(self, name: str) -> Encoder:
        return load(name)
