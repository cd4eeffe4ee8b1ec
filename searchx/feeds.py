"""What a step of training works on: vectors of pictures and texts, with gradients.

Two ways to get them: `HeadFeed` computes the features of frozen towers once and trains the
projections on top; `FullFeed` trains the towers from the pixels and tokens on.
"""

import math
import os
import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar, cast

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody knows
from PIL import Image
from torch import Tensor, nn

from searchx.encoder import normalised
from searchx.errors import ModelError
from searchx.evaluation import measure, rank_pairs
from searchx.fitting import Fitting
from searchx.pairs import Pair
from searchx.pictures.images import open_image
from searchx.tokens import Tokens

T = TypeVar("T")
R = TypeVar("R")
Say: TypeAlias = Callable[[str], None]  # told one line about the course of training
Loaded: TypeAlias = tuple[Any, Any]  # open_clip's model and tokenizer

_REPORT_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Work:
    """What is trained, on what, and where."""

    loaded: Loaded
    training: Sequence[Pair]
    validation: Sequence[Pair]
    device: torch.device
    processes: int  # that share the batch
    unlock_image: int | None  # last layer groups of the image tower to train; None: all


class Feed(Protocol):
    """What a method makes of a batch of rows: vectors of pictures and of texts, with gradients."""

    averages_gradients: bool  # over the processes, by itself

    def parameters(self) -> list[nn.Parameter]: ...

    def modules(self) -> nn.Module:
        """Give what a checkpoint must hold."""
        ...

    def load(self, rows: Sequence[int], seed: int) -> Any:
        """Prepare a batch; runs ahead of the training, on another thread."""
        ...

    def forward(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Give unit vectors of pictures and of texts, both (b, dim)."""
        ...

    def measure(self) -> tuple[float, float]:
        """Give recall@10 on the validation part, text to image and image to text."""
        ...


class HeadFeed:
    """Frozen towers: their features are computed once, and only the projections are trained."""

    averages_gradients = False

    def __init__(self, work: Work, say: Say) -> None:
        self.model, tokenizer = work.loaded
        self.model.eval().requires_grad_(False)
        text = getattr(self.model, "text", self.model)
        self.slots = (_slot(self.model.visual), _slot(text))
        told = NowAndThen(say)
        with _headless(*self.slots[0]), _headless(*self.slots[1]), torch.inference_mode():
            encode = _Features(self.model, tokenizer, work.device, told)
            self.train, self.held = encode(work.training), encode(work.validation)
        self.heads = [getattr(*slot) for slot in self.slots]

    def parameters(self) -> list[nn.Parameter]:
        parts = [
            head.parameters() if isinstance(head, nn.Module) else [head] for head in self.heads
        ]
        found = [one.requires_grad_(True) for part in parts for one in part]
        return [*found, self.model.logit_scale.requires_grad_(True)]

    def modules(self) -> nn.Module:
        return cast(nn.Module, self.model)

    def load(self, rows: Sequence[int], seed: int) -> tuple[Tensor, Tensor]:
        images, texts = self.train
        chooser = random.Random(seed)
        return images[rows], torch.stack([chooser.choice(texts[row]) for row in rows])

    def forward(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return self._apply(0, batch[0]), self._apply(1, batch[1])

    def measure(self) -> tuple[float, float]:
        images, texts = self.held
        with torch.no_grad():
            found = self._apply(0, images), self._apply(1, torch.cat(texts))
        return _recalls(found[0], found[1], [len(one) for one in texts])

    def _apply(self, which: int, features: Tensor) -> Tensor:
        head = self.heads[which]
        rows = head(features) if isinstance(head, nn.Module) else features @ head
        return F.normalize(rows, dim=-1)


class FullFeed:
    """Towers are trained from the pixels and tokens on."""

    averages_gradients = True  # DistributedDataParallel does, while it computes them

    def __init__(self, work: Work) -> None:
        self.model, tokenizer = work.loaded
        self.tokens = Tokens(self.model, tokenizer)
        self.fit = Fitting.of(self.model.visual.preprocess_cfg)
        self.training, self.validation, self.device = work.training, work.validation, work.device
        self.side = 2 * self.fit.side  # a crop is still as fine as the tower can see
        if work.unlock_image is not None:
            self.model.lock_image_tower(work.unlock_image, freeze_bn_stats=True)
        self.wrapped = (
            nn.parallel.DistributedDataParallel(self.model) if work.processes > 1 else self.model
        )
        self.workers = ThreadPoolExecutor(min(8, os.cpu_count() or 2))

    def parameters(self) -> list[nn.Parameter]:
        return [one for one in self.model.parameters() if one.requires_grad]

    def modules(self) -> nn.Module:
        return cast(nn.Module, self.model)

    def load(self, rows: Sequence[int], seed: int) -> tuple[Tensor, Tensor]:
        chosen = [self.training[row] for row in rows]
        seeds = [seed * 1_000_003 + row for row in rows]
        pixels = torch.stack(list(self.workers.map(self._pixels, chosen, seeds)))
        captions = [
            random.Random(one).choice(p.captions) for one, p in zip(seeds, chosen, strict=True)
        ]
        return pixels, self.tokens(captions)

    def forward(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        _still(self.model)
        pixels, tokens = (part.to(self.device, non_blocking=True) for part in batch)
        with _half(self.device):
            images, texts, *_ = self.wrapped(normalised(self.model, pixels), tokens)
        return images.float(), texts.float()

    def measure(self) -> tuple[float, float]:
        self.model.eval()
        images, texts = [], []
        with torch.inference_mode(), _half(self.device):
            for start in range(0, len(self.validation), 64):
                part = self.validation[start : start + 64]
                pixels = torch.stack(list(self.workers.map(self._pixels, part))).to(self.device)
                seen = normalised(self.model, pixels)
                images.append(self.model.encode_image(seen, normalize=True))
                tokens = self.tokens([text for pair in part for text in pair.captions])
                texts.append(self.model.encode_text(tokens.to(self.device), normalize=True))
        counts = [len(pair.captions) for pair in self.validation]
        return _recalls(torch.cat(images), torch.cat(texts), counts)

    def _pixels(self, pair: Pair, seed: int | None = None) -> Tensor:
        image = open_image(pair.image, at_least=self.side)
        if seed is not None:
            image = _augmented(image, random.Random(seed))
        return torch.from_numpy(self.fit(image))


class _Features:
    """Features of frozen towers: of all pictures (n, f), and of the texts of each (captions, g)."""

    def __init__(self, model: Any, tokenizer: Any, device: torch.device, told: Say) -> None:
        self.model, self.tokens = model, Tokens(model, tokenizer)
        self.fit = Fitting.of(model.visual.preprocess_cfg)
        self.device, self.told = device, told

    def __call__(self, pairs: Sequence[Pair]) -> tuple[Tensor, list[Tensor]]:
        images: list[Tensor] = []
        texts: list[Tensor] = []
        parts = [pairs[start : start + 16] for start in range(0, len(pairs), 16)]
        for part, pixels in zip(parts, ahead(self._pixels, parts), strict=True):
            with _half(self.device):
                seen = normalised(self.model, pixels.to(self.device))
                images.append(self.model.encode_image(seen).float())
                tokens = self.tokens([text for pair in part for text in pair.captions])
                rows = self.model.encode_text(tokens.to(self.device)).float()
            texts.extend(rows.split([len(pair.captions) for pair in part]))
            self.told(f"features of {len(texts):,} of {len(pairs):,} pairs computed")
        return torch.cat(images).clone(), [one.clone() for one in texts]

    def _pixels(self, part: Sequence[Pair]) -> Tensor:
        pictures = [open_image(pair.image, at_least=self.fit.side) for pair in part]
        return torch.from_numpy(np.stack([self.fit(one) for one in pictures]))


class NowAndThen:
    """Passes a line on when some time has gone by since the last one."""

    def __init__(self, say: Say) -> None:
        self.say, self.last = say, time.monotonic()

    def __call__(self, line: str) -> None:
        if time.monotonic() - self.last >= _REPORT_SECONDS:
            self.last = time.monotonic()
            self.say(line)


def ahead(load: Callable[[T], R], keys: Sequence[T]) -> Iterator[R]:
    """Load what the keys name, in order, a few ahead of the one that is being used."""
    with ThreadPoolExecutor(1) as loader:
        waiting: deque[Future[R]] = deque()
        for key in keys:
            waiting.append(loader.submit(load, key))
            if len(waiting) > 3:
                yield waiting.popleft().result()
        for one in waiting:
            yield one.result()


def _slot(tower: Any) -> tuple[Any, str]:
    """Find the projection at the end of a tower, as its owner and the attribute's name."""
    for name in ("head", "proj", "text_projection"):
        if isinstance(getattr(tower, name, None), nn.Module | nn.Parameter):
            return tower, name
    raise ModelError(f"a {type(tower).__name__} has no projection of its own; use --method full")


@contextmanager
def _headless(owner: Any, name: str) -> Iterator[None]:
    """Let a tower give the features that its projection would take."""
    head = getattr(owner, name)
    setattr(owner, name, nn.Identity() if isinstance(head, nn.Module) else None)
    try:
        yield
    finally:
        setattr(owner, name, head)


def _still(model: nn.Module) -> None:
    """Train, but leave the statistics of batch normalisation as they are: batches are small."""
    model.train()
    for part in model.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.eval()


def _augmented(image: Image.Image, chance: random.Random) -> Image.Image:
    """Crop to no less than two thirds of the area, and mirror every second picture."""
    share = math.sqrt(chance.uniform(0.67, 1.0))
    width, height = (max(1, round(side * share)) for side in image.size)
    left = chance.randint(0, image.width - width)
    top = chance.randint(0, image.height - height)
    image = image.crop((left, top, left + width, top + height))
    mirror = chance.random() < 0.5
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirror else image


def _recalls(images: Tensor, texts: Tensor, counts: Sequence[int]) -> tuple[float, float]:
    owners = np.repeat(np.arange(len(counts)), counts)
    forward, backward = rank_pairs(
        images.float().cpu().numpy(), texts.float().cpu().numpy(), owners
    )
    return measure(forward).recall_at_10, measure(backward).recall_at_10


@contextmanager
def _half(device: torch.device) -> Iterator[None]:
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        yield
