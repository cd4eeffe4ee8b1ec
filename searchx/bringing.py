"""Bring models to this machine, from a hub or as files, and take them along to another one."""

import json
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

from searchx.brought import MANIFEST, as_manifest, place_of, read_manifest, sha256_of
from searchx.eightbit import TOWER, EightBit, as_eight_bit, copy_files, digest_of_tower, eight_bit
from searchx.encoder import load_encoder
from searchx.encoder.names import DEFAULT_MODEL, Announce, local_files, whole_name
from searchx.encoder.weights import WEIGHTS_FILES, digest_of, hub_repository, load_open_clip
from searchx.errors import BadInput, LibraryFull, ModelError
from searchx.records import Space
from searchx.references import prepare_references

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_SUFFIXES: Final = (".json", ".safetensors", ".txt", ".model")  # none of them can hold a program
_MOST_FILES: Final = 100
_BLOCK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Brought:
    """A model that is on this machine, and has been loaded to see that it is whole."""

    name: str
    digest: str
    dim: int
    runtime: str
    checked: int  # files whose checksum is the one that the sender gave

    def as_dict(self) -> dict[str, object]:
        """Give the JSON shape."""
        return asdict(self)


def pull(name: str, announce: Announce | None = None) -> Brought:
    """Have a model downloaded where it is not here yet, check its files, and prepare it.

    Honours HF_HOME, HF_HUB_OFFLINE and HF_ENDPOINT. Raises ModelError, also for a file whose
    content is not what the hub says.
    """
    name = whole_name(name)
    encoder = load_encoder(name, "cpu", announce)
    prepare_references(encoder)
    checked = 0
    if local_files(name) is None and (repository := hub_repository(name)):
        checked = _check_downloads(repository)
    return _brought(name, encoder.space, getattr(encoder, "runtime", ""), checked)


def export_model(name: str, to: Path, announce: Announce | None = None) -> Path:
    """Write a model as a directory, or as one file where `to` ends in .tar; gives where.

    What is written is an ordinary open_clip model directory with the weights in their own
    precision, so that vectors stay in the same space; of a model in 8 bits it is the image tower,
    and the rest goes with its base. Raises BadInput where there is something already, ModelError,
    and LibraryFull.
    """
    if to.exists():
        raise BadInput(f"{to} is there already; name a new file or directory")
    name = whole_name(name)
    directory = to.with_name(f".{to.name}.{os.getpid()}.part")
    try:
        _write(name, directory, announce)
        if to.suffix == ".tar":
            _pack(directory, to)
        else:
            directory.replace(to)
    except OSError as error:
        raise LibraryFull(f"{to} cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return to


def import_model(source: Path, announce: Announce | None = None) -> Brought:
    """Bring a model directory, or a file that `export_model` wrote, to this machine.

    It keeps its name, and is found by it without a network. One that has no name of a hub is found
    as a model directory, by the name that this gives. Raises BadInput for what is no such thing,
    and ModelError where a checksum or the weights are not those that were exported.
    """
    told = _told(source)
    name = told.get("name")
    if name is not None and (not isinstance(name, str) or whole_name(name) != name):
        raise BadInput(f"{source} names a model that cannot be")
    place = place_of(name or re.sub(r"\.tar$", "", source.absolute().name))
    if name == DEFAULT_MODEL or place.exists():
        raise BadInput(f'"{name or place}" is here already; remove {place} to bring it again')
    beside = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        beside.mkdir(parents=True)
        _unpack(source, beside, told)
        checked = _check_copies(beside, told)
        beside.replace(place)
    except OSError as error:
        raise LibraryFull(f"{place} cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return _loaded(name or f"local-dir:{place}", place, told, checked, announce)


def _loaded(
    name: str, place: Path, told: dict[str, Any], checked: int, announce: Announce | None
) -> Brought:
    """Load what was brought; it goes away again where it is not what was exported."""
    try:
        encoder = load_encoder(name, "cpu", announce)
        if encoder.space.digest != told.get("digest", encoder.space.digest):
            raise ModelError(f"{name} has other weights here than where it was exported")
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    return _brought(name, encoder.space, getattr(encoder, "runtime", ""), checked)


def _brought(name: str, space: Space, runtime: str, checked: int) -> Brought:
    return Brought(name, space.digest, space.dim, runtime, checked)


def _check_downloads(repository: str) -> int:
    """Compare the weights with the checksum that the hub's cache names them by; counts them."""
    from huggingface_hub import try_to_load_from_cache

    found = (try_to_load_from_cache(repository, file) for file in WEIGHTS_FILES)
    blobs = [Path(one).resolve() for one in found if isinstance(one, str)]
    named = [one for one in blobs if _SHA256.fullmatch(one.name)]
    for one in named:
        if sha256_of(one) != one.name:
            raise ModelError(f"{one} is damaged; remove it and pull the model again")
    return len(named)


def _write(name: str, directory: Path, announce: Announce | None) -> None:
    if (made := eight_bit(name)) is not None:
        return copy_files(made, directory)
    from searchx.modeldir import save_model

    model, tokenizer = load_open_clip(name, announce)
    save_model(model, tokenizer, name, directory, precision=None)
    files = {one.name: sha256_of(one) for one in sorted(directory.iterdir())}
    told = {
        "name": None if name.startswith("local-dir:") else name,
        "digest": digest_of(model.state_dict(), model.visual.preprocess_cfg),
        "files": files,
    }
    text = json.dumps(told, indent=2) + "\n"
    (directory / MANIFEST).write_text(text, encoding="utf-8")
    return None


def _pack(directory: Path, to: Path) -> None:
    beside = to.with_name(f".{to.name}.{os.getpid()}.tar.part")
    try:
        with tarfile.open(beside, "w") as archive:
            for one in sorted(directory.iterdir(), key=lambda one: one.name != MANIFEST):
                archive.add(one, one.name, recursive=False)
        beside.replace(to)
    finally:
        beside.unlink(missing_ok=True)


def _unpack(source: Path, into: Path, told: dict[str, Any]) -> None:
    count = 0
    is_tower = as_eight_bit(told, source) is not None
    with _files(source) as files:
        for name, size, open_file in files:
            if name in TOWER and not is_tower:
                continue
            count += 1
            if count > _MOST_FILES or size > shutil.disk_usage(into).free:
                raise BadInput(f"{source} holds more than a model, or than fits on this disk")
            with open_file() as read, (into / name).open("xb") as written:
                shutil.copyfileobj(read, written, _BLOCK)
    if not is_tower and not (into / "open_clip_config.json").is_file():
        raise BadInput(f"{source} is no model; it holds no open_clip_config.json")


@contextmanager
def _files(source: Path) -> Iterator[Iterator[tuple[str, int, Callable[[], IO[bytes]]]]]:
    """Give the files of a model that may be taken over: name, size, and what opens each."""
    if source.is_dir():
        yield (
            (one.name, one.stat().st_size, partial(_read, one))
            for one in sorted(source.iterdir())
            if one.is_file() and _is_taken(one.name)
        )
        return
    try:
        archive = tarfile.open(source, "r:")  # noqa: SIM115 - closed below
    except (OSError, tarfile.TarError) as error:
        raise BadInput(f"{source} is neither a model directory nor a .tar of one") from error
    try:
        with archive:
            yield (
                (member.name, member.size, partial(_opened, archive, member))
                for member in archive
                if member.isreg() and _is_taken(member.name)
            )
    except tarfile.TarError as error:
        raise BadInput(f"{source} is damaged ({error}); copy it again") from error


def _read(file: Path) -> IO[bytes]:
    return file.open("rb")


def _opened(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    found = archive.extractfile(member)
    if found is None:
        raise BadInput(f"{member.name} cannot be read")
    return found


def _is_taken(name: str) -> bool:
    is_plain = name == Path(name).name and not name.startswith(".")
    return is_plain and (name.endswith(_SUFFIXES) or name in TOWER)


def _told(source: Path) -> dict[str, Any]:
    """Read what a model says of itself; an ordinary model directory says nothing."""
    if not source.exists():
        raise BadInput(f"{source} is not there; name a model directory or a .tar of one")
    if source.is_dir():
        return read_manifest(source)
    with _files(source) as files:
        for name, size, open_file in files:
            if name == MANIFEST and size < _BLOCK:
                with open_file() as read:
                    return as_manifest(read.read())
    return {}


def _check_copies(directory: Path, told: dict[str, Any]) -> int:
    """Compare the files with the checksums beside them; gives how many there were."""
    expected = told.get("files")
    if (made := as_eight_bit(told, directory)) is not None:
        _check_tower(made)
    if not isinstance(expected, dict):
        return 0
    for name, checksum in expected.items():
        file = directory / Path(str(name)).name
        if not file.is_file() or sha256_of(file) != checksum:
            raise ModelError(f"{name} is missing or damaged; copy the model again")
    return len(expected)


def _check_tower(made: EightBit) -> None:
    """Make sure that a space is named for what was copied; raises ModelError."""
    is_there = all((made.place / name).is_file() for name in TOWER)
    if not is_there or digest_of_tower(made.place, made.base_digest) != made.digest:
        raise ModelError(f'"{made.name}" is damaged; copy the model again')
