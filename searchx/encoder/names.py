"""What models are called, and where those lie that are on this machine."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

from searchx.brought import brought, is_model_directory
from searchx.cutting import parted
from searchx.eightbit import SUFFIX, base_of, eight_bit
from searchx.errors import ModelError
from searchx.presets import PRESETS
from searchx.runtime.entries import files_in

MINI: Final = Path(__file__).parent.parent / "models" / "mini"  # the embedded default
DEFAULT_MODEL: Final = "mini"

Announce: TypeAlias = Callable[[str], None]  # told one line before a download


def local_files(name: str) -> list[str] | None:
    """List the files of a model that is a directory; None for one that comes from a hub."""
    directory = directory_of(name)
    return None if directory is None else files_in(directory)


def directory_of(name: str) -> Path | None:
    """Give where a model lies that is a directory on this machine."""
    if name == DEFAULT_MODEL:
        return MINI
    if name.startswith("local-dir:"):
        return Path(name.removeprefix("local-dir:"))
    return brought(name)


def canonical_name(name: str) -> str:
    """Give the one stored form of a model's name.

    Accepts ``ViT-B-32/laion2b_s34b_b79k``, the same with ``__``, ``::`` or ``:`` between the
    two, an ``open_clip:`` in front, ``hf-hub:org/name``, ``local-dir:/path``, the path of a
    model directory, or a preset's purpose; each also with ``-int8`` behind it, see `eightbit`, and
    with ``@N``, see `cutting`.
    """
    whole, dim = parted(name.strip().removeprefix("open_clip:"))
    return _canonical(whole) if dim is None else f"{_canonical(whole)}@{dim}"


def whole_name(name: str) -> str:
    """Give the one stored form of a model's name, where the model itself is needed.

    Raises ModelError for one of which only the first numbers are meant.
    """
    known = canonical_name(name)
    whole, dim = parted(known)
    if dim is not None:
        raise ModelError(f'"{known}" is a part of what a model gives; name the model, "{whole}"')
    return known


def _canonical(name: str) -> str:
    by_purpose = {preset.purpose: preset.model for preset in PRESETS}
    if name in by_purpose or name in by_purpose.values():
        return by_purpose.get(name, name)
    if name.startswith("hf-hub:"):
        return name
    if name.startswith("local-dir:") or is_model_directory(name):
        directory = os.path.expanduser(name.removeprefix("local-dir:"))  # noqa: PTH111 - as it is
        return f"local-dir:{Path(directory).absolute()}"  # where there is no such user
    if base := base_of(name):
        whole, dim = parted(base)
        if dim is not None:
            raise ModelError(f'model "{name}" is not known; write it as {whole}{SUFFIX}@{dim}')
        return canonical_name(base) + SUFFIX
    parts = re.split(r"::|__|/|:", name)
    if len(parts) == 2 and all(parts):
        return "/".join(parts)
    raise ModelError(
        f'model "{name}" is not known; write ARCHITECTURE/WEIGHTS, hf-hub:ORG/NAME, '
        'local-dir:PATH, or see "searchx models"'
    )


def is_of_ours(name: str) -> bool:
    """Tell whether a name that others wrote is safe to load: what it leads to, they cannot choose.

    With ``@N`` behind it or without. These are the presets, the weights that open_clip lists, and
    what was brought to this machine; neither a repository of a hub nor a place on this machine.
    """
    name, _ = parted(name)
    if any(name in (one.purpose, one.model) for one in PRESETS):
        return True
    if name.startswith("local-dir:") or is_model_directory(name):
        return False
    if brought(name) is not None or eight_bit(name) is not None:
        return True
    import open_clip

    return name in {f"{architecture}/{tag}" for architecture, tag in open_clip.list_pretrained()}


def is_to_be_made(name: str) -> bool:
    """Tell whether a name can only be one of a model in 8 bits, which is not here.

    A repository of a hub, and a directory, may end alike.
    """
    if base_of(name) is None or name.startswith("hf-hub:"):
        return False
    return not name.startswith("local-dir:") or not Path(name.removeprefix("local-dir:")).exists()
