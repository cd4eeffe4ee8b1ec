"""Runs with worker processes that end by a signal at any time; no process stays behind."""

import os
import random
import signal
import time

import psutil
import pytest

from tests.faults.driver import Nursery, Stage, Ward

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")

SCENARIO = "index many files by 2 workers"
SEED = 4


@pytest.fixture(scope="module")
def stage(ward: Ward) -> Stage:
    return ward.stages(SCENARIO)[0]


def signalled(stage: Stage, number: signal.Signals, wait: float) -> tuple[int, list[int]]:
    """Send a signal after some seconds; gives the exit code and the processes that are left."""
    nursery: Nursery = stage.nursery
    stage.put_back()
    nursery.begin("act", scenario=stage.scenario, place=str(stage.place))
    time.sleep(wait)
    processes: list[psutil.Process] = []
    for child in psutil.Process(nursery.pid).children():
        processes = child.children(recursive=True)
        child.send_signal(number)
    code = nursery.end()["exit"]
    _, left = psutil.wait_procs(processes, timeout=10)
    return code, [one.pid for one in left]


@pytest.mark.parametrize(
    "number",
    [signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGTERM],
    ids=lambda one: one.name,
)
def test_nothing_is_lost_by_a_signal(
    stage: Stage, number: signal.Signals, request: pytest.FixtureRequest
) -> None:
    wait = random.Random(f"{SEED} {request.node.name}").uniform(0.1, 1.5)
    code, left = signalled(stage, number, wait)
    assert not left, f"worker processes stay behind after {number.name}"
    assert code in (0, -number), f"{number.name} after {wait:.2f} s: exit {code}"
    wrong = stage.wrong_after_fault()
    assert not wrong, "\n".join([f"{number.name} after {wait:.2f} s", *wrong])
