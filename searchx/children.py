"""Run a module of searchx in a process of its own."""

import os
import sys


def command_of(module: str, *arguments: str) -> list[str]:
    """Give what starts a module; nothing in the folder where somebody stands is imported."""
    return [sys.executable, "-P", "-W", "ignore", "-m", module, *arguments]


def environment(**settings: str) -> dict[str, str]:
    """Give the environment for it: this process's own, which finds the same modules."""
    return os.environ | settings | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
