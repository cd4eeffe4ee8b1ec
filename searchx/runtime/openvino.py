"""OpenVINO as it is used here: without its converter, which tells its makers of every import.

The converter takes half of the time of the import, and is needed in the exporter's process only.
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import numpy as np

_CONVERTER: Final = "openvino.tools.ovc"
_TELEMETRY: Final = "openvino_telemetry"  # it converts without it, where it is not installed
# Its binding finds NumPy when it is first given an array; two threads that do so at one time wait
# for each other for ever, one for Python's lock and one for what the other is making.
_FIRST: Final = threading.Lock()
_CORES: Final[list[Any]] = []  # at most one


def imported() -> Any:
    """Give the module. Raises ImportError where it is not installed."""
    with _FIRST:
        with _missing(_CONVERTER):
            import openvino

        if not hasattr(openvino, "convert_model"):  # a program that we are part of may want it
            openvino.convert_model = convert_model
        openvino.Tensor(np.zeros(1, np.float32))
    return openvino


def core() -> Any:
    """Give the one core of this process, which is kept to its end. Raises ImportError.

    A core gives the thread that first compiles a model a stack for signals to be dealt with, and
    unmaps it when it goes itself; of two cores, the later one leaves the thread with the stack of
    the earlier, that is not there any more (OpenVINO's plugin for CPUs, ``SigAltStackSetup``).
    Python has its signals dealt with on such a stack: the next Ctrl-C would be a crash.
    """
    openvino = imported()
    with _FIRST:
        if not _CORES:
            _CORES.append(openvino.Core())
        return _CORES[0]


def has_half() -> bool:
    """Tell whether this processor computes in bfloat16. Raises ImportError."""
    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def convert_model(*arguments: Any, **settings: Any) -> Any:
    """Convert a model as `openvino.convert_model` does."""
    from openvino.tools.ovc import convert_model

    return convert_model(*arguments, **settings)


def convert_unseen(*arguments: Any, **settings: Any) -> Any:
    """Convert a model, and tell nobody."""
    with _missing(_TELEMETRY):
        return convert_model(*arguments, **settings)


def installed_version() -> str | None:
    """Tell which version is installed, without loading it."""
    try:
        return version("openvino")
    except PackageNotFoundError:
        return None


@contextmanager
def _missing(name: str) -> Iterator[None]:
    """Have the import of a module fail, as if it were not installed; not one that is there."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]
