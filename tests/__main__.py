"""The one test command: ``python -m tests``. Style, format, types, then the tests.

Stops at the first that fails, with its exit code. What follows the command goes to pytest:
``python -m tests -k catalog``.
"""

import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# A file's tests stay together: they share what is dear to make. A process that dies ends the run.
_SHARED = ("--dist=loadfile", "--max-worker-restart=0")
STEPS = (
    ("style", ("ruff", "check")),
    ("format", ("ruff", "format", "--check")),
    ("types", ("mypy",)),
    ("tests", ("pytest", "--numprocesses=logical", "--maxprocesses=4", *_SHARED)),
)


def main(arguments: list[str]) -> int:
    # A place of its own: where earlier runs have left many, pytest warns of its own tidying up.
    fresh = tempfile.mkdtemp(prefix="run-")
    try:
        return _run_all([f"--basetemp={fresh}/tests", *arguments])
    finally:
        with suppress(RecursionError):  # tests make folders in folders, a thousand deep
            shutil.rmtree(fresh, ignore_errors=True)


def _run_all(arguments: list[str]) -> int:
    for title, (tool, *options) in STEPS:
        given = arguments if tool == "pytest" else []
        print(f"== {title}: {' '.join((tool, *options, *given))}", flush=True)
        code = subprocess.run([sys.executable, "-m", tool, *options, *given], cwd=ROOT).returncode
        if code:
            print(f"== {title}: failed", file=sys.stderr, flush=True)
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
