"""The tests' side of the nursery: interrupts a scenario, and holds the law afterwards."""

import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Self, TypeAlias, TypeVar

from tests.faults.looking import Seen, State, wrong_with
from tests.faults.scenarios import ALL
from tests.faults.steps import is_named

ROOT = Path(__file__).resolve().parent.parent.parent
ALONE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # a process that forks has 1 thread
At: TypeAlias = tuple[str, int]  # a step, and which of those of its name
T = TypeVar("T")


class Nursery:
    """A process that forks children for jobs; see ``nursery``."""

    def __init__(self, room: Path) -> None:
        self.room = room
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.nursery"],
            cwd=ROOT,
            env=os.environ | ALONE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._answer()["ready"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._process.communicate()

    def begin(self, do: str, **job: object) -> None:
        """Hand out a job; ``end`` waits for it."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"do": do, **job}) + "\n")
        self._process.stdin.flush()

    def end(self) -> dict[str, Any]:
        answer = self._answer()
        assert "crash" not in answer, answer["crash"]
        return answer

    def do(self, do: str, **job: object) -> dict[str, Any]:
        self.begin(do, **job)
        return self.end()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, "the nursery has died"
        answer: dict[str, Any] = json.loads(line)
        return answer


@dataclass
class Stage:
    """One scenario, ready to be interrupted again and again at the same place."""

    nursery: Nursery
    scenario: str
    room: Path | None = None  # where to do it; the nursery's own room by default
    before: State = field(default_factory=dict)
    after: State = field(default_factory=dict)

    def __post_init__(self) -> None:
        name = self.scenario.replace(" ", "-")
        room = self.room or self.nursery.room
        self.place, self.template = room / name, room / f"{name}-before"
        if self.place.exists():
            shutil.rmtree(self.place)
        self._do("prepare")
        self.place.rename(self.template)
        self.put_back()
        self.before = self.look().state
        answer = self.act()
        assert "error" not in answer, answer["error"]
        seen = self.look()
        self.after = seen.state
        assert not seen.problems, seen.problems

    @cached_property
    def steps(self) -> list[str]:
        """The steps of a run that nothing interrupts."""
        steps: list[str] = self.interrupt(steps=True)["steps"]
        return steps

    def put_back(self) -> None:
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.template, self.place, symlinks=True)

    def act(self, **how: object) -> dict[str, Any]:
        return self._do("act", **how)

    def look(self) -> Seen:
        answer = self._do("look")
        return Seen(answer["state"], answer["problems"] + answer["also"], answer["embedded"])

    def interrupt(self, **how: object) -> dict[str, Any]:
        """Do it once more from the start, with a fault in it."""
        self.put_back()
        return self.act(**how)

    def wrong_after_fault(self) -> list[str]:
        """Hold the law after a fault: what is there, what the next run does, what is there then."""
        scenario = ALL[self.scenario]
        seen, wrong = self.look(), []
        if not scenario.is_damaged:
            wrong += [f"after the fault: {one}" for one in seen.problems]
            wrong += [
                f"after the fault: {one}"
                for one in wrong_with(seen, self.before, self.after, scenario.law)
            ]
        answer = self.act()
        if "error" in answer:
            return [*wrong, f"the next run fails: {answer['error']}"]
        return wrong + self._wrong_in_the_end(seen, answer["embedded"])

    def _wrong_in_the_end(self, seen: Seen, embedded: int) -> list[str]:
        final = self.look()
        wrong = [f"after the next run: {one}" for one in final.problems]
        wrong += [
            f"after the next run: {one}"
            for one in wrong_with(final, self.after, self.after, "each file")
        ]
        wrong += [f"left behind: {one}" for one in self._left_behind()]
        needed = {tuple(one) for held in self.after.values() for one in held}
        contents = {one[:2] for one in needed if one[0] != "skipped"}
        left = len(contents - {tuple(one) for one in seen.embedded})
        if embedded > left and not ALL[self.scenario].is_damaged:
            wrong.append(f"the next run embedded {embedded}, of which only {left} were not done")
        return wrong

    def _left_behind(self) -> list[str]:
        """Name what was being written, and is of no use to anybody any more."""
        return [str(one) for one in (self.place / "library").rglob(".*")]

    def _do(self, do: str, **job: object) -> dict[str, Any]:
        return self.nursery.do(do, scenario=self.scenario, place=str(self.place), **job)


class Ward:
    """Several nurseries, that share the faults of a test among them."""

    def __init__(self, nurseries: Sequence[Nursery]) -> None:
        self.nurseries = nurseries
        self._stages: dict[str, list[Stage]] = {}

    def stages(self, scenario: str) -> list[Stage]:
        """Give the scenario on its stage in each nursery."""
        if scenario not in self._stages:
            with ThreadPoolExecutor(len(self.nurseries)) as pool:
                prepared = pool.map(lambda one: Stage(one, scenario), self.nurseries)
                self._stages[scenario] = list(prepared)
        return self._stages[scenario]

    def share(
        self,
        scenario: str,
        work: Callable[[Stage, Sequence[T]], tuple[int, list[str]]],
        faults: Sequence[T],
    ) -> tuple[int, list[str]]:
        """Do all the work; gives how many faults there were, and what was wrong after them."""
        stages = self.stages(scenario)
        parts = [faults[one :: len(stages)] for one in range(len(stages))]
        with ThreadPoolExecutor(len(stages)) as pool:
            done = list(pool.map(work, stages, parts))
        return sum(met for met, _ in done), [line for _, wrong in done for line in wrong]


def kill_at(stage: Stage, moments: Iterable[At]) -> tuple[int, list[str]]:
    """Kill at each of these moments; gives how many were reached, and what was wrong after them."""
    killed, wrong = 0, []
    for step, which in moments:
        answer = stage.interrupt(at=[step, which])
        killed += answer["exit"] == -9
        if answer["exit"] != -9 and "error" in answer:
            wrong.append(f"no kill at {step} ({which}.), but {answer['error']}")
        wrong += [f"killed at {step} ({which}.): {one}" for one in stage.wrong_after_fault()]
    return killed, wrong


def spread(steps: Sequence[str], count: int, seed: int) -> list[At]:
    """Choose moments evenly over a run, one in each part of it."""
    chance = random.Random(seed)
    number, chosen = Counter[str](), []
    for step in steps:
        number[step] += 1
        chosen.append((step, number[step]))
    borders = [round(part * len(steps) / count) for part in range(count + 1)]
    return [chosen[chance.randrange(one, other)] for one, other in pairwise(borders) if one < other]


def named_steps(ward: Ward, scenarios: Iterable[str], seed: int) -> dict[str, list[At]]:
    """Give each named step to one scenario that has it, at one of its occurrences."""
    chance = random.Random(seed)
    taken: set[str] = set()
    chosen: dict[str, list[At]] = {}
    for scenario in scenarios:
        numbers = Counter(ward.stages(scenario)[0].steps)
        fresh = [one for one in numbers if is_named(one) and one not in taken]
        taken.update(fresh)
        chosen[scenario] = [(one, chance.randint(1, numbers[one])) for one in fresh]
    return chosen
