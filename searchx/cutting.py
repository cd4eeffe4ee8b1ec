"""The first numbers of a model's vectors as a space of their own: ``NAME@256``.

Models that were trained for it keep most of what they tell in their first numbers (Matryoshka
representation learning, Kusupati et al. 2022, arXiv:2205.13147); others lose more. Vectors then
take less memory and disk, and are compared faster.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from searchx.brought import is_model_directory
from searchx.errors import ModelError
from searchx.fusing import unit
from searchx.records import Ids, Pixels, Space, Vectors

if TYPE_CHECKING:
    from searchx.encoder import Encoder

_NAME: Final = re.compile(r"(.+)@([1-9][0-9]{0,5})", re.DOTALL)
_TEXTS: Final = 200  # everyday captions that the cost is measured with
_NEAREST: Final = 10


class Cut:
    """An encoder of whose vectors the first numbers are kept, as unit vectors again.

    Raises ModelError where it has no more of them.
    """

    def __init__(self, whole: "Encoder", dim: int) -> None:
        space = whole.space
        if dim >= space.dim:
            raise ModelError(
                f'vectors of model "{space.name}" have {space.dim} numbers; ask for fewer than '
                "that, or for the model alone"
            )
        told = f"{space.digest} first {dim}".encode("ascii")
        digest = hashlib.blake2b(told, digest_size=16).hexdigest()
        self.whole = whole
        self.space = Space(f"{space.name}@{dim}", digest, dim)
        self.fit = whole.fit
        self.text_limit = whole.text_limit
        self.runtime = getattr(whole, "runtime", "its own")

    @property
    def batch_size(self) -> int:
        """Images that are best embedded in one call; fewer once there was no memory for them."""
        return self.whole.batch_size

    def embed_images(self, pixels: Sequence[Pixels]) -> Vectors:
        """Embed fitted pictures: n of them to (n, dim) unit rows, in order."""
        return self.first(self.whole.embed_images(pixels))

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Embed texts: n of them to (n, dim) unit rows, in order."""
        return self.first(self.whole.embed_texts(texts))

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text, special ones included and nothing cut."""
        return self.whole.count_tokens(texts)

    def first(self, rows: Vectors) -> Vectors:
        """Give the first numbers of the whole encoder's vectors (n, more), (n, dim) unit rows."""
        return unit(rows[:, : self.space.dim])


def cutter(encoder: "Encoder", space: Space) -> Cut | None:
    """Give an encoder whose vectors are the first numbers of those of a space; None for others."""
    if not isinstance(encoder, Cut) or space.dim <= encoder.space.dim:
        return None
    whole = encoder.whole
    longer = whole.space if space.dim == whole.space.dim else Cut(whole, space.dim).space
    return encoder if longer.digest == space.digest else None


def parted(name: str) -> tuple[str, int | None]:
    """Give the model that a name means, and how many numbers are kept; None for all."""
    found = _NAME.fullmatch(name)
    if found is None or is_model_directory(name.removeprefix("local-dir:")):
        return name, None
    return found[1], int(found[2])


def tell_cost(encoder: "Encoder", announce: Callable[[str], None] | None) -> None:
    """Measure on everyday captions what it costs to keep the first numbers only, and tell it."""
    if announce is None or not isinstance(encoder, Cut):
        return
    from searchx.relevance import everyday_captions

    captions = everyday_captions()
    kept = same_neighbours(encoder, captions[:: max(1, len(captions) // _TEXTS)][:_TEXTS])
    announce(
        f"{encoder.space.name} keeps {encoder.space.dim} of {encoder.whole.space.dim} numbers: of "
        f"the {_NEAREST} captions nearest to one, {kept:.1f} stay the same; "
        '"searchx eval --compare" measures it on pictures'
    )


def same_neighbours(encoder: Cut, texts: Sequence[str]) -> float:
    """Give how many of the ten texts nearest to one are the same as by the whole vectors."""
    whole = encoder.whole.embed_texts(texts)  # (n, more)
    pairs = zip(_nearest(whole), _nearest(encoder.first(whole)), strict=True)
    return float(np.mean([len(np.intersect1d(one, other)) for one, other in pairs]))


def _nearest(rows: Vectors) -> Ids:
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -2)
    return np.argsort(-cosines, axis=1, kind="stable")[:, :_NEAREST]
