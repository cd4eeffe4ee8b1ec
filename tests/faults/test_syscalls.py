"""System calls that fail: a full disk and a broken one, at each call that changes something."""

import random

import pytest

from tests.faults.driver import Ward
from tests.faults.scenarios import SCENARIOS
from tests.faults.tracing import fail_at, faults, trace, why_not

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

SEED = 11
SAMPLE = 8  # faults for each scenario; all of them are in the benchmark


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_nothing_is_lost_by_a_call_that_fails(ward: Ward, scenario: str) -> None:
    chosen = random.Random(SEED).sample(faults(ward.stages(scenario)[0]), SAMPLE)
    met, wrong = ward.share(scenario, fail_at, chosen)
    assert not wrong, "\n".join(wrong)
    assert met  # some failures need not stop anything


def test_a_snapshot_is_on_the_disk_before_it_has_its_name(ward: Ward) -> None:
    """Power may fail at any moment: what a name stands for was written before the name was."""
    stage = ward.stages("build an index")[0]
    log = trace(stage, "fsync,?rename,?renameat,?renameat2")
    events = [line.split(maxsplit=1)[1] for line in log if "/snapshots" in line]
    renamed = next(at for at, event in enumerate(events) if event.startswith("rename"))
    synced = [event.split("<")[1].split(">")[0] for event in events if event.startswith("fsync")]
    names = [name.rpartition("/")[2] for name in synced]
    assert renamed == len(names) - 1  # one more comes after
    assert set(names[:-2]) == {
        *("ids.npy", "matrix.npy", "index.faiss", "lists.npy"),
        "manifest.json",
    }
    assert names[-2].startswith(".image-") and names[-2].endswith(".new")
    assert names[-1] == "snapshots"


def test_a_backup_is_on_the_disk_before_it_has_its_name(ward: Ward) -> None:
    stage = ward.stages("back up")[0]
    log = trace(stage, "fsync,fdatasync,pwrite64,?rename,?renameat,?renameat2")
    events = [line for line in log if ".backup.db." in line]
    renamed = next(at for at, event in enumerate(events) if "rename" in event)
    assert "fsync" in events[renamed - 1]
    assert not any("pwrite64" in event for event in events[renamed:])
    after = log[log.index(events[renamed]) :]
    assert any("fsync" in event and f"<{stage.place}>" in event for event in after)


def test_a_transaction_is_on_the_disk_before_the_next_one(ward: Ward) -> None:
    """Every commit of the catalog syncs its log: of what was reported nothing is taken back."""
    stage = ward.stages("index new files")[0]
    log = trace(stage, "fsync,fdatasync,pwrite64")
    waiting = 0
    for line in log:
        if "catalog.db-wal>" in line:
            waiting = waiting + 1 if "pwrite64" in line else 0
        if "pwrite64" in line and "catalog.db>" in line:
            assert not waiting, "a page goes into the database before the log is on the disk"
    assert not waiting
