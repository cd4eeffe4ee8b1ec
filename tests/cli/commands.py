"""Commands as tests run them, and what comes back."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

COLOURS = ("red", "green", "blue", "yellow")


@dataclass(frozen=True, slots=True)
class Place:
    """An indexed library, what it was made of, and the name of its model."""

    library: Path
    photos: Path
    model: str


@dataclass(frozen=True, slots=True)
class Answer:
    code: int
    out: str
    err: str


Ask = Callable[..., Answer]


def started(
    arguments: Sequence[str | Path], library: Path, **settings: str
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "searchx.cli", *map(str, arguments)],
        env=os.environ | {"SEARCHX_LIBRARY": str(library)} | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def one_line(answer: Answer, *parts: str) -> None:
    """Hold that a command failed with one clear line on stderr and nothing on stdout."""
    assert answer.code == 1
    assert answer.out == ""
    assert answer.err.startswith("searchx: ") and answer.err.count("\n") == 1
    for part in parts:
        assert part in answer.err
