"""Measure a machine: how fast it decodes and embeds, and how long a folder would take."""

import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import psutil

from indexer.decoding.decode import Shot, Task
from indexer.decoding.workers import Workers
from indexer.files import Found, found_in, walk
from indexer.pipeline import MOST_WORKERS, model_of
from indexer.rules import Rules
from searchx.eightbit import eight_bit
from searchx.encoder import Encoder, load_encoder
from searchx.encoder.names import Announce
from searchx.errors import BadInput
from searchx.presets import PRESETS, Preset, in_eight_bits
from searchx.records import Pixels
from searchx.runtime.entries import Entries
from searchx.runtime.openvino import has_half
from searchx.runtime.samples import pictures

_SAMPLE: Final = 64  # pictures of the folder that are decoded
_SECONDS: Final = 2.0  # that embedding is measured for
_TEXT: Final = "a photo of a dog that jumps into a lake"
_PATIENCE: Final = 3600.0  # seconds for a folder, up to which a better model is recommended
_ASSUMED: Final = 10_000  # pictures, where no folder is named
_PACKAGES: Final = ("searchx", "torch", "open_clip_torch", "openvino", "faiss-gpu", "faiss-cpu")


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is to work with."""

    cores: int
    memory: int  # bytes
    memory_free: int
    disk_free: int  # where the library is, or would be
    gpu: str | None
    has_half: bool  # the processor computes in half precision as well
    versions: dict[str, str]


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast one model is here."""

    model: str
    runtime: str  # what computes it, and why
    images: float  # embedded in a second, nothing else going on
    text: float  # seconds for one query


@dataclass(frozen=True, slots=True)
class Folder:
    """What is in a folder, and how fast it is read."""

    path: str
    pictures: int
    others: int  # texts and corpus files
    size: int  # bytes of all of them
    decoded: float | None  # pictures in a second, nothing else going on; None without pictures


@dataclass(frozen=True, slots=True)
class Forecast:
    """How long a folder would take with a model; by its work in comparison with a measured one."""

    purpose: str
    model: str
    images: float  # embedded in a second
    seconds: float  # for all pictures of the folder, or for 10,000
    fits_memory: bool


@dataclass(frozen=True, slots=True)
class Checkup:
    """What `searchx doctor` tells."""

    machine: Machine
    pace: Pace
    folder: Folder | None
    forecasts: tuple[Forecast, ...]
    recommended: str | None  # a purpose
    cache: str  # where prepared models are kept
    cache_size: int  # bytes

    def as_dict(self) -> dict[str, object]:
        """Give the JSON shape."""
        return asdict(self)


def check_up(
    library: Path, folder: Path | None, model: str | None, device: str, announce: Announce
) -> Checkup:
    """Measure what can be measured in some seconds. Raises BadInput and ModelError."""
    encoder = load_encoder(model or model_of(library), device, announce)
    pace = _pace(encoder)
    seen = None if folder is None else _folder(folder, encoder)
    machine = _machine(library)
    forecasts = forecasts_of(pace, seen, machine)
    cache = Entries().directory
    return Checkup(
        machine=machine,
        pace=pace,
        folder=seen,
        forecasts=forecasts,
        recommended=recommended(forecasts),
        cache=str(cache),
        cache_size=sum(one.stat().st_size for one in cache.rglob("*") if one.is_file()),
    )


def _pace(encoder: Encoder) -> Pace:
    some = list(pictures(encoder.fit)) * encoder.batch_size
    batch: list[Pixels] = some[: encoder.batch_size]
    images = len(batch) / _each(lambda: encoder.embed_images(batch))
    text = _each(lambda: encoder.embed_texts([_TEXT]))
    return Pace(encoder.space.name, getattr(encoder, "runtime", "its own"), images, text)


def _each(step: Callable[[], object]) -> float:
    """Give the seconds that a step takes, once it is warm."""
    step()
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < _SECONDS:
        step()
        count += 1
    return (time.perf_counter() - started) / count


def _folder(folder: Path, encoder: Encoder) -> Folder:
    root = os.path.abspath(folder)
    if not os.path.exists(root):
        raise BadInput(f"{root} is not there; name a folder")
    found = [one for some in walk(root, Rules()) for one in found_in(some, sorted(some.files))]
    seen = [one for one in found if one.form == "image"]
    size = sum(one.size for one in found)
    return Folder(root, len(seen), len(found) - len(seen), size, _decoded(seen, encoder))


def _decoded(found: Sequence[Found], encoder: Encoder) -> float | None:
    """Measure how many pictures are read and decoded in a second, by some of them."""
    step = max(1, len(found) // _SAMPLE)
    some = found[::step][:_SAMPLE]
    if not some:
        return None
    with Workers(min(_cores(), MOST_WORKERS), encoder.fit, lambda _: False) as pool:
        shots, started = 0, time.perf_counter()
        for loading in pool.load(map(Task, some)):
            if not shots:
                started = time.perf_counter()  # the processes are there
            shots += sum(isinstance(one, Shot) for one in loading.contents())
        return max(shots - 1, 1) / max(time.perf_counter() - started, 1e-6)


def _machine(library: Path) -> Machine:
    memory = psutil.virtual_memory()
    place = next(one for one in (library, *library.absolute().parents) if one.is_dir())
    return Machine(
        cores=_cores(),
        memory=memory.total,
        memory_free=memory.available,
        disk_free=shutil.disk_usage(place).free,
        gpu=_gpu(),
        has_half=_has_half(),
        versions=_versions(),
    )


def forecasts_of(pace: Pace, folder: Folder | None, machine: Machine) -> tuple[Forecast, ...]:
    """Say for each preset how long a folder would take; nothing for a model that is none.

    The pace of a model in 8 bits tells nothing of others, so there it is that model only.
    """
    if (made := eight_bit(pace.model)) is not None:
        own = in_eight_bits(made.name, made.base)
        return (_forecast(own, own, pace, folder, machine),)
    known = next((one for one in PRESETS if one.model == pace.model), None)
    if known is None:
        return ()
    return tuple(_forecast(one, known, pace, folder, machine) for one in PRESETS)


def _forecast(
    preset: Preset, known: Preset, pace: Pace, folder: Folder | None, machine: Machine
) -> Forecast:
    images = pace.images * (known.gigaflops / preset.gigaflops if known != preset else 1)
    count = _ASSUMED if folder is None else folder.pictures
    decoding = 1 / folder.decoded if folder is not None and folder.decoded else 0.0
    # Without a GPU, decoding and embedding have the same cores.
    each = 1 / images + decoding if machine.gpu is None else max(1 / images, decoding)
    fits = 4e6 * preset.megabytes < machine.memory_free
    return Forecast(preset.purpose, preset.model, images, count * each, fits)


def recommended(forecasts: Sequence[Forecast]) -> str | None:
    """Choose the model that finds most among those that fit and take no more than an hour.

    None where there is no choice.
    """
    if len(forecasts) < 2:
        return None
    recall = {one.purpose: one.recall or (0.0, 0.0) for one in PRESETS}
    able = [one for one in forecasts if one.fits_memory and one.seconds <= _PATIENCE]
    best = max(able, key=lambda one: recall[one.purpose], default=None)
    return best.purpose if best else forecasts[0].purpose


def _gpu() -> str | None:
    """Name the GPU that torch computes on."""
    from searchx.runtime.preparing import has_gpu

    if not has_gpu():
        return None
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def _has_half() -> bool:
    try:
        return has_half()
    except ImportError:
        return False  # torch computes, in single precision


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
