"""Where a model computes, and in which precision. torch is imported inside."""

from typing import TYPE_CHECKING

from searchx.errors import ModelError
from searchx.precision import is_single_asked

if TYPE_CHECKING:
    import torch


def devices_of(device: str) -> list[str]:
    """Name each of the devices that are asked for at once; not whether they are there."""
    if device != "cuda:all":
        return [one.strip() for one in device.split(",")]
    import torch

    return [f"cuda:{number}" for number in range(torch.cuda.device_count())] or ["cuda"]


def choose_device(device: str) -> "torch.device":
    """Turn auto, cpu, cuda or cuda:N into a device that is there; raises ModelError."""
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError:
        chosen = None
    if chosen is None or chosen.type not in ("cpu", "cuda"):
        raise ModelError(f'device "{device}" is not known; use auto, cpu, cuda or cuda:0')
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ModelError(f"device {device} was asked for, but torch sees no such GPU; use cpu")
    return chosen


def half_on(device: "torch.device") -> "torch.dtype | None":
    """Give the half precision to compute in by torch; None for single, as on processors.

    Raises ModelError for a precision that is none.
    """
    import torch

    if is_single_asked() or device.type == "cpu":
        return None
    has_bfloat16 = torch.cuda.get_device_capability(device) >= (8, 0)  # others emulate it
    return torch.bfloat16 if has_bfloat16 else torch.float16
