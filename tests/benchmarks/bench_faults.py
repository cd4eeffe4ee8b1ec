"""Thousands of kills and failing system calls, and what was lost by them: nothing.

::

    python -m tests.benchmarks.bench_faults --kills 5000 --calls 2000 --seed 1

The kills are at every named step once, returns included, and at random moments besides; where
there are more steps than kills, at some of them. Prints a table; ends with 1 where anything was
wrong, and says at which step or call.
"""

import argparse
import random
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.faults.driver import At, Nursery, Ward, kill_at, spread
from tests.faults.scenarios import SCENARIOS
from tests.faults.tracing import fail_at, faults, why_not


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill, and break system calls, by the thousand.")
    parser.add_argument("--kills", type=int, default=5000, help="in all scenarios together")
    parser.add_argument("--calls", type=int, default=2000, help="system calls that fail, likewise")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--scenario", choices=SCENARIOS, action="append")
    given = parser.parse_args()
    names = given.scenario or list(SCENARIOS)
    with ExitStack() as stack:
        rooms = [
            Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(given.processes)
        ]
        ward = Ward([stack.enter_context(Nursery(room)) for room in rooms])
        wrong = kill_all(ward, names, given.kills, given.seed)
        if given.calls and why_not():
            print(f"no system calls fail here: {why_not()}")
        elif given.calls:
            wrong += break_all(ward, names, given.calls, given.seed)
    for line in wrong:
        print(line, file=sys.stderr)
    print(f"wrong: {len(wrong)}")
    return 1 if wrong else 0


def kill_all(ward: Ward, names: list[str], kills: int, seed: int) -> list[str]:
    """Kill at each step, in one scenario that has it, and at random moments besides."""
    chance = random.Random(seed)
    taken: set[str] = set()
    wrong: list[str] = []
    for name in names:
        steps = ward.stages(name)[0].steps
        numbers = {one: steps.count(one) for one in set(steps) - taken}
        taken.update(numbers)
        moments: list[At] = [(one, chance.randint(1, most)) for one, most in numbers.items()]
        share = kills // len(names)
        if len(moments) > share:
            moments = chance.sample(sorted(moments), share)
        elif len(moments) < share:
            moments += spread(steps, share - len(moments), seed)
        begun = time.perf_counter()
        killed, found = ward.share(name, kill_at, moments)
        wrong += found
        seconds = time.perf_counter() - begun
        print(f"{name:26} kills {killed:5}  wrong {len(found):3}  {seconds:6.0f} s", flush=True)
    return wrong


def break_all(ward: Ward, names: list[str], calls: int, seed: int) -> list[str]:
    """Have system calls fail: all of those there are, or a sample."""
    wrong: list[str] = []
    for name in names:
        there = faults(ward.stages(name)[0])
        chosen = random.Random(seed).sample(there, min(calls // len(names), len(there)))
        begun = time.perf_counter()
        met, found = ward.share(name, fail_at, chosen)
        wrong += found
        seconds = time.perf_counter() - begun
        print(
            f"{name:26} calls {len(chosen):5} of {len(there):5}, met {met:5}  "
            f"wrong {len(found):3}  {seconds:6.0f} s",
            flush=True,
        )
    return wrong


if __name__ == "__main__":
    sys.exit(main())
