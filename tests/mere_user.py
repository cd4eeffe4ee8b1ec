"""Run a test's function as somebody whom permissions bind, also where the tests run as root."""

import multiprocessing
import os
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np

from indexer.pipeline import index
from indexer.planning import Options
from searchx.catalog import Catalog
from searchx.refreshing import refresh_snapshots
from searchx.search import Library
from tests.colour import ColourEncoder, paint

NOBODY = 65534


def as_mere_user(target: Callable[[str], None], folder: Path) -> int | None:
    """Call `target` with the folder in a new process; gives its exit code, 0 if nothing failed.

    As root, whom no permission stops, the process and all in the folder become another user's.
    """
    process = multiprocessing.get_context("spawn").Process(
        target=_bound, args=(target, str(folder))
    )
    process.start()
    process.join(120)
    return process.exitcode


def _bound(target: Callable[[str], None], folder: str) -> None:
    if os.geteuid() == 0:
        _load_everything()
        for place, _, names in os.walk(folder):
            for path in (place, *(os.path.join(place, name) for name in names)):  # noqa: PTH118
                os.chown(path, NOBODY, NOBODY)
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    target(folder)


def _load_everything() -> None:
    """Import what is imported late: a mere user may not be able to read where it stands."""
    with tempfile.TemporaryDirectory() as place:
        picture, library = paint(Path(place) / "a.png", "red"), Path(place) / "library"
        inline = Options(workers=0)  # what a worker loads, this process would not have
        with closing(Catalog.open(library, create=True)) as catalog:
            index([picture], catalog, ColourEncoder(), options=inline)
            refresh_snapshots(catalog)
        with Library.open(library, encoder=ColourEncoder()) as opened:
            opened.search("red")
        np.savez(Path(place) / "kept.npz", rows=np.random.default_rng(0).normal(size=3))
        with np.load(Path(place) / "kept.npz") as kept:
            assert len(kept["rows"]) == 3
