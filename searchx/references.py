"""The everyday captions that ship with searchx, embedded by a library's own encoder.

They stand for what people ask: an index is tuned on them where a library has few texts of its own,
and the relevance of a score is read beside theirs. Those of the model in the package come with it;
for another model they are embedded once and kept in the library.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from searchx.encoder import Encoder
from searchx.records import Space, Vectors
from searchx.relevance import everyday_captions
from searchx.views import SNAPSHOTS

_BATCH: Final = 128
_SHIPPED: Final = Path(__file__).parent / "models" / "mini"


def references_of(directory: Path, encoder: Encoder) -> Vectors:
    """Give the vectors (r, dim) of the captions; embeds them where the library has none yet."""
    known = kept_references(directory, encoder.space)
    if known is not None:
        return known
    texts = everyday_captions()
    blocks = [encoder.embed_texts(texts[at : at + _BATCH]) for at in range(0, len(texts), _BATCH)]
    found = np.concatenate(blocks).astype(np.float16)
    _keep(_place(directory, encoder.space), found)
    return cast(Vectors, found.astype(np.float32))  # as whoever reads them next


def kept_references(directory: Path, space: Space) -> Vectors | None:
    """Give the vectors that are there already, in the package or the library; else None."""
    for place in (_SHIPPED / _name(space), _place(directory, space)):
        try:
            found = np.load(place)
        except (OSError, EOFError, ValueError):
            continue
        is_whole = found.dtype == np.float16 and found.ndim == 2 and found.shape[1] == space.dim
        if is_whole and len(found):
            return cast(Vectors, found.astype(np.float32))
    return None


def sweep_references(directory: Path) -> None:
    """Remove what interrupted processes left half written; who still writes it tries again."""
    for left in (directory / SNAPSHOTS).glob(".references-*"):
        with suppress(OSError):
            left.unlink()


def _keep(place: Path, found: NDArray[np.float16]) -> None:
    """Write them beside and rename; where that cannot be, they are embedded again next time."""
    beside = place.with_name(f".{place.name}.{os.getpid()}.part")
    with suppress(OSError):
        place.parent.mkdir(exist_ok=True)
        with beside.open("wb") as file:
            np.save(file, found)
        beside.replace(place)


def _place(directory: Path, space: Space) -> Path:
    return directory / SNAPSHOTS / _name(space)


def _name(space: Space) -> str:
    return f"references-{space.digest[:16]}.npy"
