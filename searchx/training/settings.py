"""How to train."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

from searchx.errors import BadInput

Method: TypeAlias = Literal["head", "full", "lora", "bitfit", "prompt"]
_RATES: Final[Mapping[Method, float]] = {
    "head": 1e-3,
    "full": 1e-4,
    "lora": 1e-3,
    "bitfit": 2e-3,
    "prompt": 1e-2,
}


@dataclass(frozen=True, slots=True)
class Settings:
    """How to train. What is None is chosen by the method."""

    out: Path
    method: Method = "full"
    epochs: int = 10
    batch: int | None = None  # pairs a step, on each process
    rate: float | None = None  # highest learning rate
    seed: int = 0
    validation: float = 0.02  # share of the pairs that is only measured on
    patience: int = 3  # epochs without gain before training stops early
    unlock_image: int | None = None  # last layer groups of the image tower to train; None: all
    teacher: Path | None = None  # an image tower in ONNX form
    device: str = "auto"
    rank: int = 8  # of what `lora` adds to each matrix
    prompt: int = 8  # tokens that `prompt` puts before each text
    hard_negatives: int = 0  # near neighbours that stand beside each pair in its batch

    def resolved(self) -> "Settings":
        """Fill in what the method chooses; raises BadInput for what cannot be."""
        if self.method not in get_args(Method):
            raise BadInput(f'method "{self.method}" is not known; use {", ".join(_RATES)}')
        if self.epochs < 1 or not 0 < self.validation < 1:
            raise BadInput("epochs must be at least 1, and the validation share between 0 and 1")
        if self.seed < 0 or not (self.rate is None or 0 < self.rate < math.inf):
            raise BadInput("the seed must be 0 or more, and the rate a number above 0")
        if self.rank < 1 or self.prompt < 1 or self.hard_negatives < 0:
            raise BadInput("rank and prompt must be at least 1, and hard negatives at least 0")
        batch = self.batch or (1024 if self.method == "head" else 64)
        if self.hard_negatives >= batch:
            raise BadInput(
                f"{self.hard_negatives} hard negatives do not fit in a batch of {batch}; ask for "
                "fewer, or for a larger --batch"
            )
        return replace(self, batch=batch, rate=self.rate or _RATES[self.method])
