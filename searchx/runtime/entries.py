"""The cache of prepared models: which there is for a name, and how a new one gets there.

A name leads to an entry as long as the files that the model was loaded from are the same. Entries
are kept by the digest of the weights, so that two names of one model share one. What is in an
entry never changes; it appears as a whole, or not at all.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, TypeAlias

from searchx.cache import cache_directory
from searchx.durable import sync
from searchx.fitting import Fitting
from searchx.records import Pairing
from searchx.runtime.openvino import installed_version
from searchx.runtime.wording import Wording

IMAGES: Final = "images.xml"
TEXTS: Final = "texts.xml"
TOKENIZER: Final = "tokenizer.json"
_MANIFEST: Final = "manifest.json"
_FORM: Final = 2  # of what the exporter writes; another one makes all entries anew
_OLD: Final = 24 * 3600.0  # seconds after which what is half made has been given up

Stamp: TypeAlias = tuple[str, int, int]  # a file: path, size, time of change


@dataclass(frozen=True, slots=True)
class Agreement:
    """How near the vectors are to those of torch: the least cosine among what was compared."""

    images: float
    texts: float


@dataclass(frozen=True, slots=True)
class Entry:
    """A prepared model: both towers, the tokenizer, and what an encoder has to know of them."""

    digest: str
    dim: int
    fit: Fitting
    wording: Wording
    image_weights: int  # how many numbers a picture is computed with
    text_weights: int
    agreement: Agreement | None = None
    pairing: Pairing | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What a name leads to: a directory that holds an entry, or the reason why there is none."""

    place: Path | None = None
    reason: str | None = None


class Entries:
    """The prepared models of this user."""

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory or cache_directory() / "models"

    def known(self, name: str, files: Sequence[str] | None) -> Known | None:
        """Tell what is known of a model, by the files it is loaded from now.

        None where it has to be prepared: nothing is known, or files or versions are other ones.
        `files` is None for a model whose files only its loader can find: those known are taken.
        """
        told = _read(self._of_name(name))
        if not told or told.get("name") != name or told.get("versions") != _versions():
            return None
        stamps = [tuple(one) for one in told.get("files", ())]
        if stamps != stamps_of([one[0] for one in stamps] if files is None else files):
            return None
        if told.get("reason"):
            return Known(reason=str(told["reason"]))
        place = self.directory / str(told.get("entry"))
        return Known(place) if is_whole(place) else None

    def place(self, digest: str) -> Path:
        """Give where the entry for some weights is, or would be."""
        key = hashlib.blake2b(_versions().encode(), digest_size=4).hexdigest()
        return self.directory / f"{digest}-{key}"

    def note(
        self, name: str, stamps: Sequence[Stamp], place: Path | None, reason: str | None = None
    ) -> None:
        """Write down what a name leads to; raises OSError."""
        told = {
            "name": name,
            "versions": _versions(),
            "files": stamps,
            "entry": place and place.name,
            "reason": reason,
        }
        path = self._of_name(name)
        beside = path.with_name(f".{path.name}.{os.getpid()}.part")
        beside.write_text(json.dumps(told), encoding="utf-8")
        beside.replace(path)

    @contextmanager
    def adding(self, place: Path) -> Iterator[Path]:
        """Give a directory to write an entry into; it takes its place when all went well.

        What older versions made of the same weights is removed then. Raises OSError.
        """
        beside = self.directory / f".{place.name}.{os.getpid()}.part"
        shutil.rmtree(beside, ignore_errors=True)
        try:
            beside.mkdir(mode=0o700)
            yield beside
            for file in beside.iterdir():
                sync(file)
            shutil.rmtree(place, ignore_errors=True)  # one that is not whole
            beside.replace(place)
            sync(self.directory)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        digest = place.name.partition("-")[0]
        for other in self.directory.glob(f"{digest}-*"):
            if other != place:
                shutil.rmtree(other, ignore_errors=True)

    def forget(self, name: str) -> None:
        """Forget what is known of a name and remove the entry: it cannot be used."""
        told = _read(self._of_name(name)) or {}
        with suppress(OSError):
            self._of_name(name).unlink()
        if told.get("entry"):
            shutil.rmtree(self.directory / Path(str(told["entry"])).name, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what was given up half made."""
        for left in self.directory.glob(".*.part"):
            with suppress(OSError):
                if time.time() - left.stat().st_mtime > _OLD:
                    shutil.rmtree(left) if left.is_dir() else left.unlink()

    def _of_name(self, name: str) -> Path:
        key = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
        return self.directory / f"name-{key}.json"


def write_manifest(entry: Entry, directory: Path) -> None:
    """Write what an encoder has to know, and how large the files beside it are; comes last."""
    files = [file for file in directory.iterdir() if file.name != _MANIFEST]
    sizes = {file.name: file.stat().st_size for file in files}
    told = asdict(entry) | {"sizes": sizes}
    (directory / _MANIFEST).write_text(json.dumps(told), encoding="utf-8")


def read_manifest(directory: Path) -> Entry:
    """Read what `write_manifest` wrote; raises ValueError where it is something else."""
    told = _read(directory / _MANIFEST)
    try:
        fit, wording, agreement = told["fit"], told["wording"], told["agreement"]
        pairing = told["pairing"]
        return Entry(
            digest=told["digest"],
            dim=told["dim"],
            fit=Fitting(**fit | {"size": tuple(fit["size"])}),
            wording=Wording(**wording),
            image_weights=told["image_weights"],
            text_weights=told["text_weights"],
            agreement=agreement and Agreement(**agreement),
            pairing=pairing and Pairing(**pairing),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{directory} holds no prepared model ({error})") from error


def is_whole(directory: Path) -> bool:
    """Tell whether all files of an entry are there, as large as they were written."""
    sizes = _read(directory / _MANIFEST).get("sizes")
    if not isinstance(sizes, Mapping) or not sizes:
        return False
    try:
        return all((directory / name).stat().st_size == size for name, size in sizes.items())
    except OSError:
        return False


def stamps_of(files: Iterable[str]) -> list[Stamp]:
    """Tell size and time of files; one that is gone has none, and is not listed."""
    stamps: list[Stamp] = []
    for file in files:
        with suppress(OSError):
            found = os.stat(file)  # noqa: PTH116 - a link is followed to what it leads to
            stamps.append((file, found.st_size, found.st_mtime_ns))
    return stamps


def files_in(directory: Path) -> list[str]:
    """List the files of a model directory; none where it cannot be read."""
    try:
        return sorted(str(file) for file in directory.iterdir() if file.is_file())
    except OSError:
        return []


def _versions() -> str:
    """Name all that decides how a model is prepared, and is read."""
    try:
        loader = version("open_clip_torch")
    except PackageNotFoundError:
        loader = "none"
    return f"{_FORM} openvino {installed_version()} open_clip {loader}"


def _read(path: Path) -> dict[str, Any]:
    """Read a JSON document; an empty one where it is missing or damaged."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
