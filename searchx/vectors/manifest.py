"""What a snapshot says of itself, and whether its files are as they were written."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Final

from searchx.records import Kind
from searchx.vectors.inverted import Effort, Trained
from searchx.vectors.tuning import Point

UNREADABLE = (OSError, EOFError, ValueError, TypeError, KeyError)  # what a broken snapshot raises


@dataclass(frozen=True, slots=True)
class Origin:
    """Which catalog a snapshot was read from, and how far that had come (catalog.Version)."""

    library: str  # identity of the catalog
    space: str  # digest of the space
    added: int  # number of the newest appearance in it
    removed: int  # number of the newest removal it knows of


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a snapshot holds."""

    kind: Kind
    origin: Origin
    count: int
    dim: int
    factory: str  # FAISS factory string, or "exact"
    efforts: dict[str, Effort] = field(default_factory=dict)  # by the side that is asked from
    trained: Trained | None = None
    curve: tuple[Point, ...] = ()  # recall@10 as measured when this was built
    digests: dict[str, str] = field(default_factory=dict)  # hex BLAKE2b-256, by name of file
    seal: str = ""  # likewise, of all that stands above

    def effort(self, side: str) -> Effort:
        """Give what was chosen for queries from a side, or else the most that was chosen."""
        known = self.efforts.get(side)
        return known or max(self.efforts.values(), key=lambda one: (one.nprobe, one.depth))

    @property
    def recall(self) -> dict[str, float]:
        """Give the recall@10 that was measured at the chosen efforts, by side; exact: empty."""
        return {
            side: point.recall[side]
            for side, effort in self.efforts.items()
            for point in self.curve
            if (point.nprobe, point.depth) == (effort.nprobe, effort.depth)
        }


_FIELDS: Final = frozenset(one.name for one in fields(Manifest))


def read_manifest(place: Path) -> Manifest:
    """Read what a snapshot holds; raises OSError, ValueError or TypeError where it is broken."""
    found = dict(json.loads((place / "manifest.json").read_text(encoding="utf-8")))
    found = {name: one for name, one in found.items() if name in _FIELDS}  # others are gone
    training, points = found.pop("trained", None), found.pop("curve", ())
    efforts = {side: Effort(**one) for side, one in found.pop("efforts", {}).items()}
    return Manifest(
        **{
            **found,
            "origin": Origin(**found.pop("origin", {})),
            "efforts": efforts,
            "trained": None if training is None else Trained(**training),
            "curve": tuple(Point(**one) for one in points),
        }
    )


def damaged(place: Path) -> list[str]:
    """Name the files of a snapshot that are missing or not as they were written."""
    try:
        manifest = read_manifest(place)
        digests = dict(manifest.digests)
    except (OSError, ValueError, TypeError, AttributeError):
        return ["manifest.json"]
    wrong = [name for name, digest in digests.items() if _digest_or_none(place / name) != digest]
    return wrong + (["manifest.json"] if manifest.seal not in ("", sealed(manifest).seal) else [])


def _digest_or_none(file: Path) -> str | None:
    try:
        return digest_of(file)
    except OSError:
        return None


def digest_of(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, partial(hashlib.blake2b, digest_size=32)).hexdigest()


def sealed(manifest: Manifest) -> Manifest:
    """Give a manifest with the digest of all that stands in it."""
    text = json.dumps(asdict(replace(manifest, seal="")), sort_keys=True)
    return replace(manifest, seal=hashlib.blake2b(text.encode(), digest_size=32).hexdigest())
