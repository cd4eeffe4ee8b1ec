"""Models that compute pictures in 8 bits: their names, where they are, what is written with them.

Such a model was made on some machine of another one, its base, whose text tower and tokenizer it
shares. It lies where models lie that were brought to this machine, and has a space of its own.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from searchx.brought import MANIFEST, models_directory, place_of, read_manifest, sha256_of

SUFFIX: Final = "-int8"
TOWER: Final = ("images.xml", "images.bin")  # what OpenVINO reads: the graph, the weights


@dataclass(frozen=True, slots=True)
class EightBit:
    """A model that computes pictures in 8 bits."""

    name: str
    base: str
    digest: str  # of the space
    base_digest: str
    place: Path

    @property
    def tower(self) -> Path:
        """Give the file of its image tower."""
        return self.place / TOWER[0]


def eight_bit(name: str) -> EightBit | None:
    """Give the model of this name; None where it is none of these, or is not here."""
    found = _read(place_of(name)) if name.endswith(SUFFIX) else None
    return found if found is not None and found.name == name else None


def eight_bit_models() -> Iterator[EightBit]:
    """Give all that are here, by their places."""
    directory = models_directory()
    for place in sorted(directory.iterdir()) if directory.is_dir() else ():
        found = None if place.name.startswith(".") else _read(place)
        if found is not None and place_of(found.name) == place:
            yield found


def base_of(name: str) -> str | None:
    """Give the name of the model that one would be made of; None for other names."""
    return name.removesuffix(SUFFIX) if name.endswith(SUFFIX) else None


def digest_of_tower(directory: Path, base_digest: str) -> str:
    """Identify a space: the same only for the same image tower, beside texts of the same base."""
    digest = hashlib.blake2b(base_digest.encode(), digest_size=16)
    for name in TOWER:
        digest.update((directory / name).read_bytes())
    return digest.hexdigest()


def write_manifest(model: EightBit, directory: Path, about: dict[str, Any]) -> None:
    """Write what a model is into a directory that holds its tower; raises OSError."""
    told = {
        "name": model.name,
        "base": model.base,
        "digest": model.digest,
        "base_digest": model.base_digest,
        "files": {name: sha256_of(directory / name) for name in TOWER},
        "sizes": {name: (directory / name).stat().st_size for name in TOWER},
        "made": about,
    }
    (directory / MANIFEST).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def is_whole(model: EightBit) -> bool:
    """Tell whether its files are there, as large as they were written."""
    sizes = read_manifest(model.place).get("sizes")
    try:
        return isinstance(sizes, dict) and all(
            (model.place / name).stat().st_size == sizes.get(name) for name in TOWER
        )
    except OSError:
        return False


def copy_files(model: EightBit, to: Path) -> None:
    """Copy a model into a directory, which is made; raises OSError."""
    to.mkdir()
    for name in (MANIFEST, *TOWER):
        shutil.copyfile(model.place / name, to / name)


def as_eight_bit(told: dict[str, Any], place: Path) -> EightBit | None:
    """Read what a model says of itself; None where it is another kind of model."""
    values = [told.get(key) for key in ("name", "base", "digest", "base_digest")]
    name, base, digest, base_digest = (one if isinstance(one, str) else "" for one in values)
    if not (base and name == base + SUFFIX and digest and base_digest):
        return None
    return EightBit(name, base, digest, base_digest, place)


def _read(place: Path) -> EightBit | None:
    return as_eight_bit(read_manifest(place), place)
