"""A library that may only be read: it is searched as ever, and refuses to be written in a line."""

import mmap  # noqa: F401 - NumPy loads it late, when this user may not read where it stands
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from searchx import upkeep
from searchx.errors import LibraryError
from searchx.search import Library
from tests.colour import ColourEncoder, paint
from tests.faults.scenarios import a_library, read_photos
from tests.mere_user import as_mere_user


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no such permissions")
def test_a_read_only_library_is_searched_and_left_as_it_is() -> None:
    with tempfile.TemporaryDirectory() as place:  # pytest's own folder is closed to other users
        a_library(Path(place))
        Path(place).chmod(0o755)
        assert as_mere_user(_use, Path(place)) == 0


def _use(folder: str) -> None:
    place = Path(folder)
    library = place / "library"
    paint(place / "photos" / "new.png", "pink")
    for one in (*library.rglob("*"), library):
        one.chmod(0o555 if one.is_dir() else 0o444)
    before = {one: one.stat().st_mtime_ns for one in library.rglob("*")}
    try:
        with Library.open(library, encoder=ColourEncoder()) as opened:
            assert len(opened.search("red", k=100)) == 12
        attempts: dict[str, Callable[[], object]] = {
            "index": lambda: read_photos(place),
            "forget": lambda: upkeep.forget(library, place / "photos"),
            "compact": lambda: upkeep.compact(library),
            "repair": lambda: upkeep.repair(library),
        }
        for name, attempt in attempts.items():
            try:
                attempt()
            except LibraryError as error:
                said = str(error)
                assert str(library) in said and "\n" not in said, f"{name}: {said}"
                assert "cannot be written" in said, f"{name}: {said}"
            else:
                raise AssertionError(f"{name} did not say that it cannot write")
        assert {one: one.stat().st_mtime_ns for one in library.rglob("*")} == before
        assert upkeep.verify(library).problems == ()
    finally:
        for one in (library, *library.rglob("*")):
            one.chmod(0o755)
        shutil.rmtree(library)
