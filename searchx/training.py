"""Contrastive training of a dual encoder: InfoNCE in both directions, learnable temperature.

After Radford et al., "Learning transferable visual models from natural language supervision"
(2021). Two methods: ``head`` trains only the projections on top of frozen towers, whose features
are computed once; ``full`` trains the towers. With a teacher (`searchx.distillation`) both
towers also learn the teacher's space: its vectors of all training pictures are positives and
negatives that no batch has to hold. Under ``torchrun`` the loss spans the global batch.
"""

import csv
import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody knows
from open_clip.loss import ClipLoss
from torch import Tensor, nn

from searchx.distillation import teacher_vectors
from searchx.encoder import canonical_name, choose_device, model_config
from searchx.errors import BadInput
from searchx.feeds import Feed, FullFeed, HeadFeed, NowAndThen, Say, Work, ahead
from searchx.modeldir import load_model, replacing, save_model
from searchx.pairs import Pair

_BANK = 8192  # teacher vectors that every step is compared with
_TEACHER_SCALE = 30.0  # of cosines between pictures in the teacher's space
_PULL = 4.0  # weight of the cosine between a picture's vector and its teacher's
_CHECKPOINT_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Settings:
    """How to train. What is None is chosen by the method."""

    out: Path
    method: Literal["head", "full"] = "full"
    epochs: int = 10
    batch: int | None = None  # pairs a step, on each process
    rate: float | None = None  # highest learning rate
    seed: int = 0
    validation: float = 0.02  # share of the pairs that is only measured on
    patience: int = 3  # epochs without gain before training stops early
    unlock_image: int | None = None  # last layer groups of the image tower to train; None: all
    teacher: Path | None = None  # an image tower in ONNX form
    device: str = "auto"

    def resolved(self) -> "Settings":
        """Fill in what the method chooses; raises BadInput for what cannot be."""
        if self.epochs < 1 or not 0 < self.validation < 1:
            raise BadInput("epochs must be at least 1, and the validation share between 0 and 1")
        if self.seed < 0 or not (self.rate is None or 0 < self.rate < math.inf):
            raise BadInput("the seed must be 0 or more, and the rate a number above 0")
        head = self.method == "head"
        return replace(
            self,
            batch=self.batch or (1024 if head else 64),
            rate=self.rate or (1e-3 if head else 1e-4),
        )


@dataclass(frozen=True, slots=True)
class _Process:
    """One of the processes that torchrun started; the only one without it."""

    rank: int
    local: int  # on this machine, which is also the number of its GPU
    count: int

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.count > 1:
            torch.distributed.barrier()


@dataclass(frozen=True, slots=True)
class Point:
    """One line of the curve: an epoch, measured."""

    epoch: int
    loss: float
    text_to_image: float  # recall@10 on the validation part, in [0, 1]
    image_to_text: float

    @property
    def quality(self) -> float:
        return (self.text_to_image + self.image_to_text) / 2


def train(model: str, pairs: Sequence[Pair], settings: Settings, say: Say) -> Path:
    """Train `model` on pairs; gives the model directory, ``settings.out``.

    The directory holds the weights of the best epoch, ``curve.csv`` and ``curve.png``. Run again
    with the same settings, an interrupted training goes on from its last checkpoint. Raises
    BadInput, ModelError or UnreadableImage.
    """
    settings = settings.resolved()
    _check_installed(settings)
    training, validation = _split(pairs, settings)
    process = _join()
    say = say if process.leads else _silent
    torch.manual_seed(settings.seed)
    loaded = load_model(model, say)
    if process.leads:
        _claim(settings, model, training)
    process.wait()
    device = _device(settings.device, process)
    loaded[0].to(device)
    bank = _teach(training, settings, model_config(canonical_name(model)), process, say)
    work = Work(loaded, training, validation, device, process.count, settings.unlock_image)
    feed: Feed = HeadFeed(work, say) if settings.method == "head" else FullFeed(work)
    objective = _Objective(bank, loaded[0], device, process)
    course = _Course(feed, objective, settings, process, say)

    def keep_best() -> None:
        if process.leads:
            save_model(loaded[0], loaded[1], model, settings.out)

    course.run(len(training), keep_best)
    return settings.out


def _split(pairs: Sequence[Pair], settings: Settings) -> tuple[list[Pair], list[Pair]]:
    """Set a part aside that is never trained on; the same one for the same seed."""
    order = np.random.default_rng(settings.seed).permutation(len(pairs))
    held = max(1, round(len(pairs) * settings.validation))
    if len(pairs) - held < 2:
        raise BadInput(f"{len(pairs)} pairs are too few to train on")
    return [pairs[one] for one in order[held:]], [pairs[one] for one in order[:held]]


def _silent(line: str) -> None:
    """Leave the telling to the first process."""


def _check_installed(settings: Settings) -> None:
    needed = ["matplotlib", *(["onnxruntime"] if settings.teacher else [])]
    if lacking := [name for name in needed if find_spec(name) is None]:
        raise BadInput(
            f"training needs {' and '.join(lacking)}; install with: pip install 'searchx[train]'"
        )


def _claim(settings: Settings, model: str, training: Sequence[Pair]) -> None:
    """Note in the directory what is trained there; raises BadInput when it is something else."""
    settings.out.mkdir(parents=True, exist_ok=True)
    place = settings.out / "training.json"
    mine = {name: str(value) for name, value in asdict(settings).items() if name != "out"}
    mine |= {"model": canonical_name(model), "pairs": _digest(training)}
    if place.exists() and json.loads(place.read_text(encoding="utf-8")) != mine:
        raise BadInput(f"{settings.out} holds a training with other settings; choose another --out")
    with replacing(place) as beside:
        beside.write_text(json.dumps(mine, indent=1), encoding="utf-8")


def _digest(pairs: Sequence[Pair]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for pair in pairs:
        image = pair.image if isinstance(pair.image, bytes) else os.fsencode(pair.image)
        digest.update(repr((hashlib.blake2b(image).digest(), pair.captions)).encode())
    return digest.hexdigest()


def _teach(
    training: Sequence[Pair],
    settings: Settings,
    config: Mapping[str, Any],
    process: _Process,
    say: Say,
) -> Tensor | None:
    """Give the teacher's vectors of the training pictures, (n, dim), where there is a teacher."""
    if settings.teacher is None:
        return None
    told = NowAndThen(say)
    count = 0

    def progress(more: int) -> None:
        nonlocal count
        count += more
        told(f"teacher: {count:,} of {len(training):,} pictures embedded")

    kept = settings.out / "teacher.npy"
    if not process.leads:
        process.wait()  # until the first process has embedded them all
    vectors = teacher_vectors(settings.teacher, training, config["embed_dim"], kept, progress)
    if process.leads:
        process.wait()
    return torch.from_numpy(vectors)


class _Objective:
    """InfoNCE over the global batch; with a teacher, also against its vectors."""

    def __init__(
        self, bank: Tensor | None, model: Any, device: torch.device, process: _Process
    ) -> None:
        self.bank = bank.to(device) if bank is not None else None
        self.model = model
        self.contrast = ClipLoss(True, True, rank=process.rank, world_size=process.count)

    def __call__(self, images: Tensor, texts: Tensor, rows: Sequence[int]) -> Tensor:
        scale = self.model.logit_scale.exp().clamp(max=100)
        loss: Tensor = self.contrast(images, texts, scale)
        if self.bank is None:
            return loss
        true = self.bank[rows]  # (b, dim)
        chosen = torch.randint(len(self.bank), (_BANK,), device=self.bank.device)
        others = torch.cat([true, self.bank[chosen]])  # (b + bank, dim); the true ones first
        target = torch.arange(len(true), device=true.device)
        # A true one that was drawn again among the others must not count as wrong.
        again = chosen[None] == torch.as_tensor(rows, device=chosen.device)[:, None]
        again = F.pad(again, (len(true), 0))  # (b, b + bank)
        asked = (scale * texts @ others.T).masked_fill(again, -torch.inf)
        answered = scale * true @ texts.T
        loss = loss + (F.cross_entropy(asked, target) + F.cross_entropy(answered, target)) / 2
        taught = F.softmax(_TEACHER_SCALE * true @ others.T, dim=-1)
        learned = F.log_softmax(_TEACHER_SCALE * images @ others.T, dim=-1)
        alike = (images * true).sum(dim=-1).mean()
        return loss + F.kl_div(learned, taught, reduction="batchmean") + _PULL * (1 - alike)


class _Course:
    """The loop over epochs, with its checkpoint, its curve and its early end."""

    def __init__(
        self, feed: Feed, objective: _Objective, settings: Settings, process: _Process, say: Say
    ) -> None:
        self.feed, self.objective, self.settings = feed, objective, settings
        self.process, self.say = process, say
        self.parameters = feed.parameters()
        matrices = [one for one in self.parameters if one.ndim > 1]
        vectors = [one for one in self.parameters if one.ndim <= 1]
        groups: list[dict[str, Any]] = [
            {"params": matrices, "weight_decay": 0.05},
            {"params": vectors},
        ]
        self.optimizer = torch.optim.AdamW(groups, settings.rate or 0, weight_decay=0.0)
        self.curve: list[Point] = []
        self.step = 0

    def run(self, count: int, keep_best: Callable[[], None]) -> None:
        """Train on `count` rows until the epochs are over or nothing is gained any more."""
        self._resume()
        if not self.curve and self.step == 0:
            self._measured(0, math.nan, keep_best)
        while len(self.curve) <= self.settings.epochs and not self._exhausted():
            loss = self._epoch(len(self.curve), count)
            self._measured(len(self.curve), loss, keep_best)
        best = max(self.curve, key=lambda point: point.quality)
        self.say(f"kept epoch {best.epoch}: {_percent(best)}")

    def _epoch(self, epoch: int, count: int) -> float:
        batches = self._batches(epoch, count)
        begun = self.step - (epoch - 1) * len(batches)  # an interrupted epoch goes on inside
        told, saved, losses = NowAndThen(self.say), time.monotonic(), []
        started = time.monotonic()
        left = batches[begun:]
        loaded = ahead(partial(self.feed.load, seed=epoch), left)
        for number, (rows, batch) in enumerate(zip(left, loaded, strict=True), 1):
            self._set_rate(len(batches))
            loss = self.objective(*self.feed.forward(batch), rows)
            self.optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            self._share_gradients()
            nn.utils.clip_grad_norm_(self.parameters, 1.0)
            self.optimizer.step()
            self.step += 1
            losses.append(loss.item())
            pace = number * len(rows) * self.process.count / (time.monotonic() - started)
            told(
                f"epoch {epoch}/{self.settings.epochs}: step {begun + number}/{len(batches)}, "
                f"loss {np.mean(losses[-50:]):.3f}, {pace:.0f} pairs/s"
            )
            if time.monotonic() - saved > _CHECKPOINT_SECONDS:
                self._checkpoint()
                saved = time.monotonic()
        return float(np.mean(losses)) if losses else math.nan

    def _share_gradients(self) -> None:
        """Average over the processes, where the feed has not done so."""
        if self.process.count > 1 and not self.feed.averages_gradients:
            for one in self.parameters:
                if one.grad is not None:
                    torch.distributed.all_reduce(one.grad)
                    one.grad /= self.process.count

    def _batches(self, epoch: int, count: int) -> list[list[int]]:
        """Deal this process's rows of an epoch into batches of one size."""
        size = min(self.settings.batch or 1, max(2, count // self.process.count))
        order = np.random.default_rng([self.settings.seed, epoch]).permutation(count)
        mine = order[self.process.rank :: self.process.count]
        mine = mine[: count // self.process.count // size * size]
        return [list(map(int, part)) for part in mine.reshape(-1, size)]

    def _set_rate(self, steps: int) -> None:
        """Warm up over the first twentieth, then follow a cosine down to zero."""
        total = self.settings.epochs * steps
        warm = max(1, total // 20)
        share = min(1.0, (self.step - warm) / max(1, total - warm))
        factor = (self.step + 1) / warm if self.step < warm else (1 + math.cos(math.pi * share)) / 2
        for group in self.optimizer.param_groups:
            group["lr"] = (self.settings.rate or 0) * factor

    def _measured(self, epoch: int, loss: float, keep_best: Callable[[], None]) -> None:
        forward, backward = self.feed.measure()
        point = Point(epoch, loss, forward, backward)
        best = max((one.quality for one in self.curve), default=-1.0)
        self.curve.append(point)
        if point.quality > best:
            keep_best()
        if self.process.leads:
            draw_curve(self.curve, self.settings.out)
        self._checkpoint()
        self.say(f"epoch {epoch}/{self.settings.epochs}: loss {loss:.3f}, {_percent(point)}")

    def _exhausted(self) -> bool:
        best = max(self.curve, key=lambda point: point.quality)
        return len(self.curve) - 1 - best.epoch >= self.settings.patience

    def _checkpoint(self) -> None:
        if not self.process.leads:
            return
        state = {
            "weights": self.feed.modules().state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "curve": [asdict(point) for point in self.curve],
            "step": self.step,
        }
        with replacing(self.settings.out / "checkpoint.pt") as beside:
            torch.save(state, beside)

    def _resume(self) -> None:
        place = self.settings.out / "checkpoint.pt"
        if not place.is_file():
            return
        state = torch.load(place, map_location="cpu", weights_only=True)
        self.feed.modules().load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.curve = [Point(**point) for point in state["curve"]]
        self.step = state["step"]
        self.say(f"going on from step {self.step}, after epoch {len(self.curve) - 1}")


def draw_curve(curve: Sequence[Point], directory: Path) -> None:
    """Write ``curve.csv`` and ``curve.png``."""
    with (directory / "curve.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.DictWriter(file, [field.name for field in fields(Point)])
        rows.writeheader()
        rows.writerows(asdict(point) for point in curve)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = [point.epoch for point in curve]
    left.plot(epochs, [point.loss for point in curve], marker="o")
    left.set(title="loss on the training part", xlabel="epoch")
    right.plot(epochs, [point.text_to_image for point in curve], marker="o", label="text to image")
    right.plot(epochs, [point.image_to_text for point in curve], marker="o", label="image to text")
    right.set(title="recall@10 on the validation part", xlabel="epoch", ylim=(0, 1))
    right.legend()
    figure.savefig(directory / "curve.png", dpi=100)


def _percent(point: Point) -> str:
    return (
        f"recall@10 on the validation part {point.text_to_image:.1%} text to image, "
        f"{point.image_to_text:.1%} image to text"
    )


def _device(asked: str, process: _Process) -> torch.device:
    device = choose_device(asked)
    if device.type == "cuda" and process.count > 1:
        return torch.device("cuda", process.local)
    return device


def _join() -> _Process:
    """Join the processes that torchrun started, where it did."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count > 1 and not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    rank, local = (int(os.environ.get(name, "0")) for name in ("RANK", "LOCAL_RANK"))
    return _Process(rank, local, count)
