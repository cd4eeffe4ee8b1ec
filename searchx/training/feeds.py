"""What a step of training works on: vectors of two sides that belong together, with gradients.

The sides are pictures and texts, or pictures and pictures that people put together. Two ways to get
them: `HeadFeed` computes the features of frozen towers once and trains the projections on top;
`TowerFeed` computes them anew from the pixels and tokens on, whatever of the towers is trained.
"""

import math
import os
import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias, TypeVar, cast

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody knows
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from searchx.encoder.plain import normalised
from searchx.errors import BadInput, ModelError
from searchx.evaluation import rank_pairs, retrieval_of
from searchx.fitting import Fitting
from searchx.pairs import Pair
from searchx.pictures.images import open_image
from searchx.records import Vectors
from searchx.tokens import Tokens
from searchx.training.links import Links, Picture
from searchx.training.processes import Process
from searchx.training.settings import Settings

T = TypeVar("T")
R = TypeVar("R")
Say: TypeAlias = Callable[[str], None]  # told one line about the course of training
Loaded: TypeAlias = tuple[Any, Any]  # open_clip's model and tokenizer

_REPORT_SECONDS = 20


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """What is learned or measured. A row is one of the pairs, or behind them one of the links."""

    pairs: Sequence[Pair]
    links: Links

    def __len__(self) -> int:
        return len(self.pairs) + len(self.links)

    def linked(self, rows: Sequence[int]) -> NDArray[np.int64] | None:
        """Give the places (b, 2) of linked pictures; None where the rows are pairs."""
        if rows[0] < len(self.pairs):
            return None
        found: NDArray[np.int64] = self.links.sides[np.asarray(rows) - len(self.pairs)]
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """What is trained, on what, and where."""

    loaded: Loaded
    training: Examples
    validation: Examples
    device: torch.device
    process: Process
    settings: Settings


@dataclass(frozen=True, slots=True)
class Recalls:
    """Recall@10 on what is only measured, in [0, 1]; None for what there is none of."""

    text_to_image: float | None = None
    image_to_text: float | None = None
    item_to_item: float | None = None


class Feed(Protocol):
    """What a method makes of a batch of rows: vectors of both sides, with gradients."""

    averages_gradients: bool  # over the processes, by itself

    def parameters(self) -> list[nn.Parameter]: ...

    def modules(self) -> nn.Module:
        """Give what a checkpoint must hold."""
        ...

    def load(self, rows: Sequence[int], seed: int) -> Any:
        """Prepare a batch of pairs, or one of links; runs ahead of the training, on a thread."""
        ...

    def forward(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Give unit vectors of both sides, (b, dim) each."""
        ...

    def measure(self) -> Recalls:
        """Measure the validation part."""
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
            self.train = _Held.of(work.training, encode)
            self.held = _Held.of(work.validation, encode)
        self.heads = [getattr(*slot) for slot in self.slots]

    def parameters(self) -> list[nn.Parameter]:
        parts = [
            head.parameters() if isinstance(head, nn.Module) else [head] for head in self.heads
        ]
        found = [one.requires_grad_(True) for part in parts for one in part]
        return [*found, self.model.logit_scale.requires_grad_(True)]

    def modules(self) -> nn.Module:
        return cast(nn.Module, self.model)

    def load(self, rows: Sequence[int], seed: int) -> tuple[Tensor, Tensor, int]:
        linked = self.train.examples.linked(rows)
        if linked is not None:
            left, right = (self.train.linked[side] for side in linked.T)
            return left, right, 0
        chooser = random.Random(seed)
        texts = torch.stack([chooser.choice(self.train.texts[row]) for row in rows])
        return self.train.images[rows], texts, 1

    def forward(self, batch: tuple[Tensor, Tensor, int]) -> tuple[Tensor, Tensor]:
        return self._apply(0, batch[0]), self._apply(batch[2], batch[1])

    def measure(self) -> Recalls:
        held = self.held
        counts = [len(one) for one in held.texts]
        with torch.no_grad():
            images = self._apply(0, held.images) if counts else None
            texts = self._apply(1, torch.cat(held.texts)) if counts else None
            links = self._apply(0, held.linked) if len(held.linked) else None
        return _recalls(images, texts, counts, links, held.examples.links.sides)

    def _apply(self, which: int, features: Tensor) -> Tensor:
        head = self.heads[which]
        rows = head(features) if isinstance(head, nn.Module) else features @ head
        return F.normalize(rows, dim=-1)


class TowerFeed:
    """Towers are trained, or what the method adds to them, from the pixels and tokens on.

    Where nothing of the image tower is trained, its vectors are computed once.
    """

    averages_gradients = True  # DistributedDataParallel does, while it computes them

    def __init__(self, work: Work, say: Say) -> None:
        self.model, tokenizer = work.loaded
        self.tokens = Tokens(self.model, tokenizer)
        self.fit = Fitting.of(self.model.visual.preprocess_cfg)
        self.training, self.device = work.training, work.device
        self.validation = replace(work.validation, links=_compact(work.validation.links))
        self.side = 2 * self.fit.side  # a crop is still as fine as the tower can see
        partly = bool(len(work.training.links))  # then a step leaves the texts alone
        self.wrapped = (
            nn.parallel.DistributedDataParallel(self.model, find_unused_parameters=partly)
            if work.process.count > 1
            else self.model
        )
        self.workers = ThreadPoolExecutor(min(8, os.cpu_count() or 2))
        self.still: tuple[Tensor, Tensor | None] | None = None  # of training and validation
        if not any(one.requires_grad for one in self.model.visual.parameters()):
            self.still = self._computed_once(NowAndThen(say))

    def parameters(self) -> list[nn.Parameter]:
        return [one for one in self.model.parameters() if one.requires_grad]

    def modules(self) -> nn.Module:
        return cast(nn.Module, self.model)

    def load(self, rows: Sequence[int], seed: int) -> tuple[Tensor, Tensor | None]:
        seeds = [seed * 1_000_003 + row for row in rows]
        linked = self.training.linked(rows)
        if linked is not None:
            pictures = [self.training.links.pictures[one] for one in linked.T.ravel()]
            return self._augmented(pictures, [*seeds, *(~one & 0xFFFFFFFF for one in seeds)]), None
        chosen = [self.training.pairs[row] for row in rows]
        captions = [
            random.Random(one).choice(p.captions) for one, p in zip(seeds, chosen, strict=True)
        ]
        if self.still is not None:
            return self.still[0][rows], self.tokens(captions)
        return self._augmented([one.image for one in chosen], seeds), self.tokens(captions)

    def forward(self, batch: tuple[Tensor, Tensor | None]) -> tuple[Tensor, Tensor]:
        _still(self.model)
        if self.still is not None and batch[1] is not None:
            with _half(self.device):
                texts = self.wrapped(None, batch[1].to(self.device))[1]
            return batch[0], texts.float()
        pixels = batch[0].to(self.device, non_blocking=True)
        tokens = None if batch[1] is None else batch[1].to(self.device, non_blocking=True)
        with _half(self.device):
            images, texts, *_ = self.wrapped(normalised(self.model, pixels), tokens)
        if texts is None:  # both sides are pictures
            images, texts = images.chunk(2)
        return images.float(), texts.float()

    def measure(self) -> Recalls:
        self.model.eval()
        pairs, links = self.validation.pairs, self.validation.links
        counts = [len(pair.captions) for pair in pairs]
        with torch.inference_mode(), _half(self.device):
            images = (
                self._images([one.image for one in pairs]) if self.still is None else self.still[1]
            )
            said = [text for pair in pairs for text in pair.captions]
            texts = [
                self.model.encode_text(
                    self.tokens(said[at : at + 64]).to(self.device), normalize=True
                )
                for at in range(0, len(said), 64)
            ]
            linked = self._images(links.pictures)
        return _recalls(images, torch.cat(texts) if texts else None, counts, linked, links.sides)

    def _computed_once(self, told: Say) -> tuple[Tensor, Tensor | None]:
        self.model.eval()
        with torch.no_grad(), _half(self.device):
            learned = self._images([one.image for one in self.training.pairs], told)
            held = self._images([one.image for one in self.validation.pairs])
        if learned is None or len(self.training.links):
            raise BadInput("interactions train the image tower alone, and here it is fixed")
        return learned.float(), held

    def _images(self, pictures: Sequence[Picture], told: Say = lambda _: None) -> Tensor | None:
        rows = []
        for start in range(0, len(pictures), 64):
            told(f"vectors of {start:,} of {len(pictures):,} pictures computed")
            part = list(self.workers.map(self._pixels, pictures[start : start + 64]))
            seen = normalised(self.model, torch.stack(part).to(self.device))
            rows.append(self.model.encode_image(seen, normalize=True))
        return torch.cat(rows) if rows else None

    def _augmented(self, pictures: Sequence[Picture], seeds: Sequence[int]) -> Tensor:
        return torch.stack(list(self.workers.map(self._pixels, pictures, seeds)))

    def _pixels(self, picture: Picture, seed: int | None = None) -> Tensor:
        image = open_image(picture, at_least=self.side)
        if seed is not None:
            image = _augmented(image, random.Random(seed))
        return torch.from_numpy(self.fit(image))


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """Features of frozen towers, of all examples."""

    examples: Examples
    images: Tensor  # (pairs, f)
    texts: list[Tensor]  # of each pair (captions, g)
    linked: Tensor  # of the pictures of links, (p, f)

    @classmethod
    def of(cls, examples: Examples, encode: "_Features") -> "_Held":
        links = _compact(examples.links)
        images, texts = encode(examples.pairs)
        linked, _ = encode([Pair(one, ()) for one in links.pictures])
        return cls(Examples(examples.pairs, links), images, texts, linked)


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
                if said := [text for pair in part for text in pair.captions]:
                    rows = self.model.encode_text(self.tokens(said).to(self.device)).float()
                    texts.extend(rows.split([len(pair.captions) for pair in part]))
            self.told(f"features of {16 * len(images):,} of {len(pairs):,} pictures computed")
        seen = torch.cat(images).clone() if images else torch.empty(0)
        return seen, [one.clone() for one in texts]

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


def _compact(links: Links) -> Links:
    """Leave out the pictures that no link is about."""
    used, places = np.unique(links.sides, return_inverse=True)
    pictures = tuple(links.pictures[one] for one in used)
    return replace(links, pictures=pictures, sides=places.reshape(-1, 2))


def _recalls(
    images: Tensor | None,
    texts: Tensor | None,
    counts: Sequence[int],
    linked: Tensor | None,
    sides: NDArray[np.int64],
) -> Recalls:
    found = Recalls()
    if images is not None and texts is not None:
        owners = np.repeat(np.arange(len(counts)), counts)
        forward, backward = rank_pairs(_array(images), _array(texts), owners)
        found = Recalls(retrieval_of(forward).recall_at_10, retrieval_of(backward).recall_at_10)
    if linked is not None:
        ranks = _item_ranks(_array(linked), np.concatenate([sides, sides[:, ::-1]]))
        found = replace(found, item_to_item=retrieval_of(ranks).recall_at_10)
    return found


def _item_ranks(rows: Vectors, sides: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rank for each link (n, 2) its second picture among all but the first, by the first."""
    ranks = []
    for start in range(0, len(sides), 1024):
        asked, true = sides[start : start + 1024].T
        scores = rows[asked] @ rows.T  # (b, p)
        own = scores[np.arange(len(asked)), true]
        scores[np.arange(len(asked)), asked] = -np.inf
        ranks.append((scores >= own[:, None]).sum(axis=1))
    return np.concatenate(ranks)


def _array(rows: Tensor) -> Vectors:
    return cast(Vectors, rows.float().cpu().numpy())


@contextmanager
def _half(device: torch.device) -> Iterator[None]:
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        yield
