"""A disk that is really full: every amount of room ends in success or in one line."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.driver import Nursery, Stage

DISK = 2 << 20  # bytes
ROOMS = [0, 20_000, 60_000, 100_000, 150_000, 200_000, 260_000, 400_000, 600_000, 1_000_000]


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small disk in memory; where we may not mount one, the test is skipped."""
    place = tmp_path_factory.mktemp("disk")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(place)]
    tried = subprocess.run(mount, capture_output=True, text=True) if shutil.which("mount") else None
    if tried is None or tried.returncode:
        pytest.skip("no disk can be mounted here; system calls that fail stand for a full one")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(disk: Path, room: int) -> Path:
    """Leave so many bytes free."""
    filler = disk / "filler"
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    filler.write_bytes(bytes(max(free - room, 0)))
    return filler


@pytest.mark.parametrize(
    "scenario", ["index new files", "index what has changed", "back up", "restore over a library"]
)
def test_nothing_is_lost_on_a_full_disk(nursery: Nursery, disk: Path, scenario: str) -> None:
    stage = Stage(nursery, scenario, room=disk)
    refused, wrong = 0, []
    for room in ROOMS:
        stage.put_back()
        filler = fill(disk, room)
        answer = stage.act()
        refused += "error" in answer
        filler.unlink()
        if not answer.get("plain", True):
            wrong.append(f"{room} bytes free: not one line for the user: {answer['error']}")
        elif "error" in answer and "LibraryFull" not in answer["error"]:
            wrong.append(f"{room} bytes free: {answer['error']}")
        wrong += [f"{room} bytes free: {one}" for one in stage.wrong_after_fault()]
    for left in (stage.place, stage.template):
        shutil.rmtree(left)
    assert not wrong, "\n".join(wrong)
    assert 0 < refused < len(ROOMS)  # the largest of them is enough
