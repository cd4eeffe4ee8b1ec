"""Give a model as it was prepared for this machine; have it prepared where it was not yet."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from filelock import FileLock

from searchx import errors
from searchx.children import command_of, environment
from searchx.errors import ModelError, SearchxError
from searchx.precision import is_half_asked
from searchx.runtime.compiled import CompiledEncoder
from searchx.runtime.entries import Entries, Known
from searchx.runtime.openvino import has_half, installed_version

_EXPORTER: Final = "searchx.runtime.exporting"
_SWITCH: Final = "SEARCHX_RUNTIME"


def prepared(
    name: str,
    files: Sequence[str] | None,
    device: str,
    announce: Callable[[str], None] | None = None,
) -> CompiledEncoder | str:
    """Give the encoder for a model, or the reason why torch has to compute it.

    `files` are those that the model is loaded from, None where only its loader can find them. A
    model that was not prepared yet is prepared now, which `announce` is told before; a second
    process that wants the same waits. Raises ModelError for a model that cannot be had.
    """
    if reason := _why_torch(device):
        return reason
    entries = Entries()
    try:
        if isinstance(found := _opened(name, files, entries), CompiledEncoder):
            return found
        if found is not None:
            return found
        entries.directory.mkdir(parents=True, exist_ok=True)
        with FileLock(entries.directory / "preparing.lock"):
            if (found := _opened(name, files, entries)) is not None:
                return found  # by another process, meanwhile
            entries.sweep()
            told = _prepare(name, entries.directory, announce or (lambda _: None))
            return _opened(name, files, entries) or told
    except OSError as error:
        return f"the cache {entries.directory} cannot be used: {error.strerror or error}"


def _why_torch(device: str) -> str | None:
    """Tell why a model need not even be looked for."""
    if os.environ.get(_SWITCH) == "torch":
        return f"{_SWITCH} asks for it"
    if installed_version() is None:
        return "OpenVINO is not installed"
    if device == "cpu":
        return None
    if device != "auto":
        return f"device {device}"
    return "a GPU is there" if has_gpu() else None


def has_gpu() -> bool:
    """Tell whether a GPU that torch could use may be there, without loading torch."""
    try:
        build = version("torch")
    except PackageNotFoundError:
        return False
    if build.endswith("+cpu"):
        return False
    driver = Path(os.environ.get("SYSTEMROOT", "/"), "System32", "nvcuda.dll")
    signs = [Path("/dev/kfd")] if "rocm" in build else [Path("/dev/nvidiactl"), driver]
    return any(one.exists() for one in signs)


def _opened(
    name: str, files: Sequence[str] | None, entries: Entries
) -> CompiledEncoder | str | None:
    """Give what is known of a model: its encoder, or why it has none; None: nothing is known."""
    known = entries.known(name, files) or Known()
    if known.place is None:
        return known.reason
    is_half = is_half_asked()
    try:
        return CompiledEncoder(name, known.place, is_half=is_half and has_half())
    except Exception:  # whatever JSON, tokenizers or OpenVINO raise for what was damaged
        entries.forget(name)
        return None


def _prepare(name: str, directory: Path, announce: Callable[[str], None]) -> str:
    """Run the exporter; gives the reason where it made nothing. Raises as it did."""
    announce(f"preparing {name} for this processor, once")
    quiet = {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_VERBOSITY": "error", _SWITCH: "torch"}
    reason = "it could not be prepared"
    for kind, said in told_by(_EXPORTER, name, str(directory), **quiet):
        if kind == "say":
            announce(said)
        elif kind == "reason":
            reason = said
        else:
            raise _error(kind)(said)
    return reason


def told_by(module: str, *arguments: str, **settings: str) -> Iterator[tuple[str, str]]:
    """Run a module as a process, and give what it tells; it ends where nobody listens any more."""
    with subprocess.Popen(
        command_of(module, *arguments),
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=environment(**settings),
    ) as child:
        try:
            for line in child.stdout or ():
                yield from _documents(line)
        except BaseException:
            child.kill()
            raise


def _documents(line: str) -> list[tuple[str, str]]:
    with suppress(ValueError):
        if isinstance(told := json.loads(line), dict):
            return [(str(kind), str(said)) for kind, said in told.items()]
    return []  # something else that was printed


def _error(kind: str) -> type[SearchxError]:
    named = getattr(errors, kind, ModelError)
    return named if isinstance(named, type) and issubclass(named, SearchxError) else ModelError
