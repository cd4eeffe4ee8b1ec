"""The processes that train one model together."""

import os
from dataclasses import dataclass

import torch

from searchx.encoder.devices import choose_device


@dataclass(frozen=True, slots=True)
class Process:
    """One of the processes that torchrun started; the only one without it."""

    rank: int
    local: int  # on this machine, which is also the number of its GPU
    count: int

    @classmethod
    def joined(cls) -> "Process":
        """Join the processes that torchrun started, where it did."""
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count > 1 and not torch.distributed.is_initialized():
            torch.distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        rank, local = (int(os.environ.get(name, "0")) for name in ("RANK", "LOCAL_RANK"))
        return cls(rank, local, count)

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.count > 1:
            torch.distributed.barrier()

    def device(self, asked: str) -> torch.device:
        """Give the device that this process computes on; raises ModelError."""
        device = choose_device(asked)
        if device.type == "cuda" and self.count > 1:
            return torch.device("cuda", self.local)
        return device
