"""Images and texts to unit vectors in one space: the `Encoder` seam, and which one is loaded."""

import logging
from collections.abc import Sequence
from typing import Final, Protocol

from searchx.cutting import Cut, parted
from searchx.eightbit import EightBit, base_of, eight_bit, is_whole
from searchx.encoder.devices import devices_of
from searchx.encoder.names import (
    DEFAULT_MODEL,
    Announce,
    canonical_name,
    is_to_be_made,
    local_files,
)
from searchx.encoder.plain import OpenClipEncoder
from searchx.encoder.sharded import Sharded
from searchx.errors import ModelError
from searchx.fitting import Fit
from searchx.records import Pairing, Pixels, Space, Vectors
from searchx.runtime.compiled import CompiledEncoder
from searchx.runtime.preparing import has_gpu, prepared

_LOG: Final = logging.getLogger(__name__)


class Encoder(Protocol):
    """A contrastively trained dual encoder."""

    @property
    def space(self) -> Space: ...

    @property
    def fit(self) -> Fit:
        """Turns an upright RGB picture into what is embedded, here or in another process."""
        ...

    @property
    def batch_size(self) -> int:
        """Images that are best embedded in one call."""
        ...

    @property
    def text_limit(self) -> int:
        """Tokens of a text that count, special ones included; what follows is not seen."""
        ...

    def embed_images(self, pixels: Sequence[Pixels]) -> Vectors:
        """Embed fitted pictures: n of them to (n, dim) unit rows, in order."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Embed texts: n of them to (n, dim) unit rows, in order."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text, special ones included and nothing cut."""
        ...


def load_encoder(
    name: str = DEFAULT_MODEL, device: str = "auto", announce: Announce | None = None
) -> Encoder:
    """Load a model by any of its usual names, or by the purpose of a preset.

    With ``@N`` behind it, the first N numbers of its vectors are kept, see `Cut`. `device` is
    auto, cpu, cuda, cuda:N, several of them with commas between, or cuda:all, see `Sharded`.
    Raises ModelError, in one line, when the name is unknown or the weights cannot be had.
    `announce` is told, in one line, before anything is downloaded.
    """
    name = canonical_name(name)
    whole, dim = parted(name)
    if dim is not None:
        return Cut(load_encoder(whole, device, announce), dim)
    if (made := eight_bit(name)) is not None:
        return _load_eight_bit(made, device, announce)
    if is_to_be_made(name):
        raise ModelError(
            f'model "{name}" is not on this machine; make it by "searchx models quantize '
            f'{base_of(name)}", or bring it by "searchx models import"'
        )
    found = prepared(name, local_files(name), device, announce)
    encoder: OpenClipEncoder | Sharded | CompiledEncoder
    if isinstance(found, str):
        encoder = _by_torch(name, device, announce, f"torch ({found})")
    else:
        encoder = found
    _LOG.info("%s is computed by %s", name, encoder.runtime)
    return encoder


def load_by_torch(name: str, device: str = "auto", announce: Announce | None = None) -> Encoder:
    """Load a model by its stored name, to be computed by torch wherever it could be otherwise."""
    whole, dim = parted(name)
    encoder = _by_torch(whole, device, announce, "torch")
    return encoder if dim is None else Cut(encoder, dim)


def _by_torch(
    name: str, device: str, announce: Announce | None, runtime: str
) -> OpenClipEncoder | Sharded:
    devices = devices_of(device)
    if len(devices) == 1:
        return OpenClipEncoder(name, devices[0], announce, runtime)
    return Sharded([OpenClipEncoder(name, one, announce, runtime) for one in devices])


def pairing_of(encoder: Encoder) -> Pairing | None:
    """Tell how an encoder reads a cosine as the chance of a pair; None for most, which do not."""
    found = getattr(encoder, "pairing", None)
    return found if isinstance(found, Pairing) else None


def is_as_at_prompt(encoder: Encoder) -> bool:
    """Tell whether an encoder gives, to the digit, what one does that is loaded for device cpu."""
    if isinstance(encoder, Cut):
        return is_as_at_prompt(encoder.whole)
    if isinstance(encoder, OpenClipEncoder):
        return encoder.device == "cpu" and not has_gpu()  # where one is, the prompt may prepare
    return isinstance(encoder, CompiledEncoder) and not encoder.is_half


def _load_eight_bit(made: EightBit, device: str, announce: Announce | None) -> CompiledEncoder:
    """Load a model that computes pictures in 8 bits, beside its base; raises ModelError."""
    if device not in ("auto", "cpu"):
        raise ModelError(
            f'"{made.name}" is computed on processors only, not on {device}; use "{made.base}"'
        )
    if not is_whole(made):
        raise ModelError(f'"{made.name}" is damaged; remove {made.place} and make it again')
    return seeing_by(made, compiled_base(made.name, made.base, announce))


def compiled_base(name: str, base: str, announce: Announce | None) -> CompiledEncoder:
    """Load the model that one in 8 bits is made of; raises ModelError where torch computes it."""
    found = prepared(base, local_files(base), "cpu", announce)
    if isinstance(found, str):
        raise ModelError(f'"{name}" is computed by OpenVINO only, and {found}; use "{base}"')
    return found


def seeing_by(made: EightBit, base: CompiledEncoder) -> CompiledEncoder:
    """Give the encoder of a model that computes pictures in 8 bits, by that of its base.

    Raises ModelError where that is not the one that it was made of.
    """
    if base.space.digest != made.base_digest:
        raise ModelError(
            f'"{made.name}" was made of other weights than "{made.base}" has here; remove '
            f"{made.place} and make it again"
        )
    space = Space(made.name, made.digest, base.space.dim)
    return base.seeing_by(made.tower, space, "OpenVINO, pictures in 8 bits")
