"""The everyday captions that ship with searchx, embedded by a library's own encoder.

They stand for what people ask: an index is tuned on them where a library has few texts of its own,
and the relevance of a score is read beside theirs. Those of the model in the package come with it;
for another model they are embedded once and kept.
"""

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, cast

import numpy as np

from searchx.cache import cache_directory
from searchx.encoder import Encoder
from searchx.records import Space, Vectors
from searchx.relevance import everyday_captions
from searchx.vectors import Halves
from searchx.views import SNAPSHOTS, sweep_beside

_BATCH: Final = 128
_SHIPPED: Final = Path(__file__).parent / "models" / "mini"


def references_of(directory: Path, encoder: Encoder) -> Vectors:
    """Give the vectors (r, dim) of the captions; embeds them where they were not yet.

    They stay in the library, and in the user's cache for the next library of the same space.
    """
    space = encoder.space
    known = kept_references(directory, space)
    if known is not None:
        return known
    found = _made(encoder)
    _keep(_place(directory, space), found)
    return cast(Vectors, found.astype(np.float32))  # as whoever reads them next


def prepare_references(encoder: Encoder) -> None:
    """Embed the captions where this user has no vectors of them yet: no first run waits for it."""
    if _read(_SHIPPED / _name(encoder.space), encoder.space) is None:
        _made(encoder)


def kept_references(directory: Path, space: Space) -> Vectors | None:
    """Give the vectors that are there already, in the package or the library; else None."""
    for place in (_SHIPPED / _name(space), _place(directory, space)):
        found = _read(place, space)
        if found is not None:
            return cast(Vectors, found.astype(np.float32))
    return None


def sweep_references(directory: Path) -> None:
    """Remove what interrupted processes left half written; who still writes it tries again."""
    sweep_beside(directory, ".references-*")


def _made(encoder: Encoder) -> Halves:
    """Give the vectors that the cache has; embeds the captions where it has none."""
    texts = everyday_captions()
    said = hashlib.blake2b("\n".join(texts).encode(), digest_size=4).hexdigest()
    place = cache_directory() / "references" / f"{encoder.space.digest}-{said}.npy"
    found = _read(place, encoder.space)
    if found is None:
        found = _embedded(encoder, texts)
        _keep(place, found)
    return found


def _embedded(encoder: Encoder, texts: Sequence[str]) -> Halves:
    blocks = [encoder.embed_texts(texts[at : at + _BATCH]) for at in range(0, len(texts), _BATCH)]
    return np.concatenate(blocks).astype(np.float16)


def _read(place: Path, space: Space) -> Halves | None:
    """Read what was kept; None where it is not there, or not whole."""
    try:
        found = np.load(place)
    except (OSError, EOFError, ValueError):
        return None
    is_whole = found.dtype == np.float16 and found.ndim == 2 and found.shape[1] == space.dim
    return cast(Halves, found) if is_whole and len(found) else None


def _keep(place: Path, found: Halves) -> None:
    """Write them beside and rename; where that cannot be, they are embedded again next time."""
    beside = place.with_name(f".{place.name}.{os.getpid()}.part")
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("wb") as file:
                np.save(file, found)
            beside.replace(place)
        finally:
            beside.unlink(missing_ok=True)


def _place(directory: Path, space: Space) -> Path:
    return directory / SNAPSHOTS / _name(space)


def _name(space: Space) -> str:
    return f"references-{space.digest[:16]}.npy"
