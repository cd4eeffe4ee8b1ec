"""The course of a training: epochs, checkpoints, the curve, and the early end."""

import csv
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from searchx.errors import BadInput
from searchx.modeldir import replacing
from searchx.training.feeds import Examples, Feed, NowAndThen, Say, ahead
from searchx.training.mining import apart, beside_neighbours
from searchx.training.objective import Objective
from searchx.training.processes import Process
from searchx.training.settings import Settings

_CHECKPOINT_SECONDS: Final = 300


@dataclass(frozen=True, slots=True)
class Point:
    """One line of the curve: an epoch, measured. Recalls are None where there is nothing such."""

    epoch: int
    loss: float
    text_to_image: float | None = None  # recall@10 on the validation part, in [0, 1]
    image_to_text: float | None = None
    item_to_item: float | None = None

    @property
    def quality(self) -> float:
        told = (self.text_to_image, self.image_to_text, self.item_to_item)
        known = [one for one in told if one is not None]
        return sum(known) / len(known)


class Course:
    """The loop over epochs, with its checkpoint, its curve and its early end."""

    def __init__(
        self,
        feed: Feed,
        objective: Objective,
        examples: Examples,
        settings: Settings,
        process: Process,
        say: Say,
    ) -> None:
        self.feed, self.objective, self.settings = feed, objective, settings
        self.examples, self.process, self.say = examples, process, say
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
        self.within = 0  # steps of this epoch; epochs may differ in length
        # Vectors of the rows as they were when the epoch before trained on them, and of this one.
        self.known: Tensor | None = None
        self.seen: Tensor | None = None

    def run(self, keep_best: Callable[[], None]) -> None:
        """Train until the epochs are over or nothing is gained any more."""
        self._resume()
        trained = sum(one.numel() for one in self.parameters)
        total = sum(one.numel() for one in self.feed.modules().parameters())
        self.say(f"{self.settings.method}: {trained:,} of {total:,} parameters are trained")
        if not self.curve and self.step == 0:
            self._measured(0, math.nan, keep_best)
        while len(self.curve) <= self.settings.epochs and not self._exhausted():
            loss = self._epoch(len(self.curve))
            self._measured(len(self.curve), loss, keep_best)
        best = max(self.curve, key=lambda point: point.quality)
        self.say(f"kept epoch {best.epoch}: {_percent(best)}")

    def _epoch(self, epoch: int) -> float:
        batches = self._batches(epoch)
        begun = self.within  # an interrupted epoch goes on inside
        told, saved, losses = NowAndThen(self.say), time.monotonic(), []
        started = time.monotonic()
        left = batches[begun:]
        loaded = ahead(partial(self.feed.load, seed=epoch), left)
        for number, (rows, batch) in enumerate(zip(left, loaded, strict=True), 1):
            self._set_rate(len(batches))
            left_side, right_side = self.feed.forward(batch)
            loss = self.objective(left_side, right_side, rows)
            self.optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            self._share_gradients()
            nn.utils.clip_grad_norm_(self.parameters, 1.0)
            self.optimizer.step()
            self.step, self.within = self.step + 1, self.within + 1
            self._remember(rows, left_side, right_side)
            losses.append(loss.item())
            pace = number * len(rows) * self.process.count / (time.monotonic() - started)
            told(
                f"epoch {epoch}/{self.settings.epochs}: step {begun + number}/{len(batches)}, "
                f"loss {np.mean(losses[-50:]):.3f}, {pace:.0f} pairs/s"
            )
            if time.monotonic() - saved > _CHECKPOINT_SECONDS:
                self._checkpoint()
                saved = time.monotonic()
        self._exchange()
        self.within = 0
        return float(np.mean(losses)) if losses else math.nan

    def _remember(self, rows: Sequence[int], left: Tensor, right: Tensor) -> None:
        """Keep the vectors of a batch, by which the next epoch finds hard negatives."""
        if not self.settings.hard_negatives:
            return
        both = nn.functional.normalize(left.detach() + right.detach(), dim=-1)
        if self.seen is None:
            self.seen = torch.zeros(len(self.examples), both.shape[1], dtype=torch.float16)
        self.seen[rows] = both.to("cpu", torch.float16)

    def _exchange(self) -> None:
        """End an epoch: all processes know what each of them has seen."""
        self.known, self.seen = self.seen, None
        if self.known is not None and self.process.count > 1:
            device = self.parameters[0].device
            shared = self.known.to(device, torch.float32)
            torch.distributed.all_reduce(shared)
            self.known = shared.to("cpu", torch.float16)

    def _share_gradients(self) -> None:
        """Average over the processes, where the feed has not done so."""
        if self.process.count > 1 and not self.feed.averages_gradients:
            for one in self.parameters:
                if one.grad is not None:
                    torch.distributed.all_reduce(one.grad)
                    one.grad /= self.process.count

    def _batches(self, epoch: int) -> list[list[int]]:
        """Deal this process's rows of an epoch into batches of one size, each of one kind."""
        chance = np.random.default_rng([self.settings.seed, epoch])
        dealt = self._dealt_pairs(chance)
        if linked := self._dealt_links(chance):
            dealt += linked
            dealt = [dealt[one] for one in chance.permutation(len(dealt))]
        return dealt

    def _dealt_pairs(self, chance: np.random.Generator) -> list[list[int]]:
        total, count = len(self.examples.pairs), self.process.count
        order = chance.permutation(total)
        size = self._size(total)
        whole = total // count // size * size  # of each process
        if self.known is None:
            mine = order[self.process.rank :: count][:whole].reshape(-1, size)
        else:  # neighbours stay in one process
            order = self._beside(order, self.known, chance)
            mine = order[: whole * count].reshape(-1, size)[self.process.rank :: count]
        return [list(map(int, part)) for part in mine]

    def _dealt_links(self, chance: np.random.Generator) -> list[list[int]]:
        links, begin = self.examples.links, len(self.examples.pairs)
        if not len(links):
            return []
        order = _drawn(links.weights, chance)
        if self.known is not None:
            order = self._beside(order, self.known[begin:], chance)
        # Twice as many pictures as are in a batch leave some choice to put no one in it twice.
        most = max(2, len(np.unique(links.sides)) // 4)
        size = min(self._size(len(order)), most)
        batches = apart(order.tolist(), links.sides.tolist(), size)
        count = self.process.count
        if len(batches) < count:
            raise BadInput(
                f"the interactions do not give {size} pairs without a picture that comes twice; "
                "use a smaller --batch, or leave out what is linked to nearly everything"
            )
        mine = batches[: len(batches) // count * count][self.process.rank :: count]
        return [[begin + row for row in batch] for batch in mine]

    def _size(self, count: int) -> int:
        return min(self.settings.batch or 1, max(2, count // self.process.count))

    def _beside(
        self, order: NDArray[np.int64], known: Tensor, chance: np.random.Generator
    ) -> NDArray[np.int64]:
        return beside_neighbours(order, known.numpy(), self.settings.hard_negatives, chance)

    def _set_rate(self, steps: int) -> None:
        """Warm up over the first twentieth, then follow a cosine down to zero."""
        total = self.settings.epochs * steps
        warm = max(1, total // 20)
        share = min(1.0, (self.step - warm) / max(1, total - warm))
        factor = (self.step + 1) / warm if self.step < warm else (1 + math.cos(math.pi * share)) / 2
        for group in self.optimizer.param_groups:
            group["lr"] = (self.settings.rate or 0) * factor

    def _measured(self, epoch: int, loss: float, keep_best: Callable[[], None]) -> None:
        recalls = self.feed.measure()
        point = Point(epoch, loss, **asdict(recalls))
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
            "within": self.within,
            "known": self.known,
            "seen": self.seen,
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
        self.step, self.within = state["step"], state["within"]
        self.known, self.seen = state["known"], state["seen"]
        self.say(f"going on from step {self.step}, after epoch {len(self.curve) - 1}")


def _drawn(weights: NDArray[np.float64], chance: np.random.Generator) -> NDArray[np.int64]:
    """Draw rows for an epoch, in any order: all of them, or the heavier ones more often."""
    count = len(weights)
    if (weights == weights[0]).all():
        return chance.permutation(count)
    drawn = np.unique(chance.choice(count, count, p=weights / weights.sum()))
    return chance.permutation(drawn)


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
    for name in ("text_to_image", "image_to_text", "item_to_item"):
        if (last := getattr(curve[-1], name)) is not None and last == last:
            recalls = [getattr(point, name) for point in curve]
            right.plot(epochs, recalls, marker="o", label=name.replace("_", " "))
    right.set(title="recall@10 on the validation part", xlabel="epoch", ylim=(0, 1))
    right.legend()
    figure.savefig(directory / "curve.png", dpi=100)


def _percent(point: Point) -> str:
    named = {
        "text to image": point.text_to_image,
        "image to text": point.image_to_text,
        "item to item": point.item_to_item,
    }
    told = [f"{one:.1%} {name}" for name, one in named.items() if one is not None]
    return f"recall@10 on the validation part {', '.join(told)}"
