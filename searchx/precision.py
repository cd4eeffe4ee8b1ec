"""The precision that was asked for: half is what a GPU computes in, and a processor if asked."""

import os
from typing import Final

from searchx.errors import ModelError

SWITCH: Final = "SEARCHX_PRECISION"


def is_half_asked() -> bool:
    """Tell whether half precision is asked for where it is not usual. Raises ModelError."""
    return _asked() == "half"


def is_single_asked() -> bool:
    """Tell whether single precision is asked for where half is usual. Raises ModelError."""
    return _asked() == "single"


def _asked() -> str:
    asked = os.environ.get(SWITCH, "")
    if asked not in ("", "half", "single"):
        raise ModelError(f'{SWITCH} is "{asked}"; use half or single, or unset it')
    return asked
