"""The wheel holds all that is needed to run, and nothing else."""

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("searchx", "indexer", "web", "migrations")
MOST_BYTES = 90_000_000


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    place = tmp_path_factory.mktemp("dist")
    run = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert run.returncode == 0, run.stderr
    (path,) = place.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def in_tree(pattern: str) -> set[str]:
    found = (path for path in ROOT.glob(pattern) if path.is_file())
    return {path.relative_to(ROOT).as_posix() for path in found if path.suffix != ".pyc"}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_file_of_a_package_is_in_the_wheel(wheel: zipfile.ZipFile, package: str) -> None:
    ours = in_tree(f"{package}/**/*")
    assert ours
    assert ours - set(wheel.namelist()) == set()


def test_what_other_tools_forget_is_there(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    assert {"migrations/env.py", "migrations/script.py.mako", "searchx/py.typed"} <= names
    for pattern in ("web/templates/*.html", "web/static/*", "migrations/versions/*.py"):
        assert in_tree(pattern), pattern
        assert in_tree(pattern) <= names
    weights = ("open_clip_config.json", "open_clip_model.safetensors", "config.json")
    others = ("tokenizer.json", "tokenizer_config.json", "MODEL_CARD.md")
    assert {f"searchx/models/mini/{name}" for name in (*weights, *others)} <= names


def test_nothing_else_is_there(wheel: zipfile.ZipFile) -> None:
    others = [name for name in wheel.namelist() if name.split("/")[0] not in PACKAGES]
    assert all(name.split("/")[0].endswith(".dist-info") for name in others), others
    assert not [name for name in wheel.namelist() if "__pycache__" in name or "/test_" in name]


def test_the_licence_goes_along(wheel: zipfile.ZipFile) -> None:
    (name,) = [name for name in wheel.namelist() if name.endswith("/licenses/LICENSE")]
    assert wheel.read(name) == (ROOT / "LICENSE").read_bytes()
    assert b"Apache License" in wheel.read(name)


def test_it_is_small_enough_to_be_shared(wheel: zipfile.ZipFile) -> None:
    assert wheel.filename is not None
    assert Path(wheel.filename).stat().st_size <= MOST_BYTES


def test_it_says_what_it_is_and_brings_its_command(wheel: zipfile.ZipFile) -> None:
    (info,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    about = message_from_bytes(wheel.read(info))
    assert about["Name"] == "searchx"
    assert about["License-Expression"] == "Apache-2.0"
    (entries,) = [name for name in wheel.namelist() if name.endswith("/entry_points.txt")]
    assert "searchx = searchx.cli:main" in wheel.read(entries).decode()
