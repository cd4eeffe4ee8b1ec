"""Files and folders that are there whole, or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from searchx.durable import sync
from searchx.errors import BadInput


@contextmanager
def new_files(*files: Path) -> Iterator[tuple[Path, ...]]:
    """Give a place to write to for each file; they are swapped in when the block ends well.

    In their order, in place of those that are there. Raises BadInput where that cannot be.
    """
    beside = tuple(one.with_name(f".{one.name}.{os.getpid()}.part") for one in files)
    try:
        with _explained(files[-1]):
            yield beside
            for one in beside:
                sync(one)
            for one, file in zip(beside, files, strict=True):
                one.replace(file)
            sync(files[-1].parent)
    finally:
        for one in beside:
            one.unlink(missing_ok=True)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Give a folder to write to; it takes its name when the block ends well.

    Raises BadInput where there is something of that name, other than an empty folder.
    """
    beside = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    with _explained(folder):
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise BadInput(f"{folder} is there already; name a folder that is not")
        beside.mkdir()
    try:
        with _explained(folder):
            yield beside
            for one in [*beside.rglob("*"), beside]:
                sync(one)
            beside.replace(folder)
            sync(folder.parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


@contextmanager
def _explained(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BadInput(f"{place} cannot be written ({error.strerror or error})") from error
