"""A process that is killed: at every named step of what writes, and anywhere else in a run."""

import pytest

from tests.faults.driver import At, Ward, kill_at, named_steps, spread
from tests.faults.scenarios import SCENARIOS, WITH_WORKERS, files_of

SEED = 20
ANYWHERE = 6  # more kills for each scenario, spread over its whole run


@pytest.fixture(scope="module")
def named(ward: Ward) -> dict[str, list[At]]:
    return named_steps(ward, SCENARIOS, SEED)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_nothing_is_lost_by_a_kill_at_any_step(
    ward: Ward, named: dict[str, list[At]], scenario: str
) -> None:
    steps = ward.stages(scenario)[0].steps
    moments = named[scenario] + spread(steps, ANYWHERE, SEED)
    killed, wrong = ward.share(scenario, kill_at, moments)
    print(f"{scenario}: killed at {killed} of {len(moments)} moments")
    assert not wrong, "\n".join(wrong)
    assert killed >= 0.9 * len(moments)  # where threads take turns, a step may not come again


def test_there_are_at_least_200_kills(named: dict[str, list[At]]) -> None:
    total = sum(len(moments) + ANYWHERE for moments in named.values())
    assert 0.9 * total >= 200, {name: len(moments) for name, moments in named.items()}


@pytest.mark.parametrize("scenario", WITH_WORKERS)
def test_nothing_is_lost_by_a_kill_beside_workers(ward: Ward, scenario: str) -> None:
    steps = ward.stages(scenario)[0].steps
    killed, wrong = ward.share(scenario, kill_at, spread(steps, 6, SEED))
    assert not wrong, "\n".join(wrong)
    assert killed >= 4


@pytest.mark.parametrize("scenario", ["index new files", "index what has changed"])
def test_what_is_compared_with_is_what_lies_in_the_folder(ward: Ward, scenario: str) -> None:
    stage = ward.stages(scenario)[0]
    stage.interrupt()
    assert {name for name in stage.look().state if "0.txt" not in name} == files_of(stage.place)
