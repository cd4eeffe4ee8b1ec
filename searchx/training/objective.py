"""What training makes small."""

from collections.abc import Sequence
from typing import Any, Final

import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody knows
from open_clip.loss import ClipLoss
from torch import Tensor

from searchx.training.processes import Process

_BANK: Final = 8192  # teacher vectors that every step is compared with
_TEACHER_SCALE: Final = 30.0  # of cosines between pictures in the teacher's space
_PULL: Final = 4.0  # weight of the cosine between a picture's vector and its teacher's


class Objective:
    """InfoNCE over the global batch; with a teacher, also against its vectors.

    `bank` holds the teacher's vectors of the pictures of all pairs, which are the first rows.
    """

    def __init__(
        self, bank: Tensor | None, model: Any, device: torch.device, process: Process
    ) -> None:
        self.bank = bank.to(device) if bank is not None else None
        self.model = model
        self.contrast = ClipLoss(True, True, rank=process.rank, world_size=process.count)

    def __call__(self, left: Tensor, right: Tensor, rows: Sequence[int]) -> Tensor:
        """Compare two sides (b, dim), of which those in one row belong together."""
        scale = self.model.logit_scale.exp().clamp(max=100)
        loss: Tensor = self.contrast(left, right, scale)
        if self.bank is None or rows[0] >= len(self.bank):
            return loss
        return loss + self._taught(self.bank, left, right, rows, scale)

    def _taught(
        self, bank: Tensor, images: Tensor, texts: Tensor, rows: Sequence[int], scale: Tensor
    ) -> Tensor:
        true = bank[rows]  # (b, dim)
        chosen = torch.randint(len(bank), (_BANK,), device=bank.device)
        others = torch.cat([true, bank[chosen]])  # (b + bank, dim); the true ones first
        target = torch.arange(len(true), device=true.device)
        # A true one that was drawn again among the others must not count as wrong.
        again = chosen[None] == torch.as_tensor(rows, device=chosen.device)[:, None]
        again = F.pad(again, (len(true), 0))  # (b, b + bank)
        asked = (scale * texts @ others.T).masked_fill(again, -torch.inf)
        answered = scale * true @ texts.T
        loss = (F.cross_entropy(asked, target) + F.cross_entropy(answered, target)) / 2
        taught = F.softmax(_TEACHER_SCALE * true @ others.T, dim=-1)
        learned = F.log_softmax(_TEACHER_SCALE * images @ others.T, dim=-1)
        alike = (images * true).sum(dim=-1).mean()
        return loss + F.kl_div(learned, taught, reduction="batchmean") + _PULL * (1 - alike)
