"""OpenVINO as it is used here: without the messages that it would send to its makers."""

import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

_TELEMETRY: Final = "openvino_telemetry"  # told of every import, unless it cannot be imported


def imported() -> Any:
    """Give the module. Raises ImportError where it is not installed."""
    if _TELEMETRY not in sys.modules:
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # as if it were not installed
    import openvino

    return openvino


def installed_version() -> str | None:
    """Tell which version is installed, without loading it."""
    try:
        return version("openvino")
    except PackageNotFoundError:
        return None
