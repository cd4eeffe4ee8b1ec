"""Contrastive training of a dual encoder: InfoNCE in both directions, learnable temperature.

After Radford et al., "Learning transferable visual models from natural language supervision"
(2021). ``head`` trains only the projections on top of frozen towers, whose features are computed
once; ``full`` trains the towers; the methods of `searchx.training.adapting` train little in them.
With a teacher (`searchx.training.distillation`) both towers also learn the teacher's space: its
vectors of all training pictures are positives and negatives that no batch has to hold. Under
``torchrun`` the loss spans the global batch.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from searchx.encoder.names import whole_name
from searchx.encoder.weights import model_config
from searchx.errors import BadInput
from searchx.modeldir import load_model, replacing, save_model
from searchx.pairs import Pair
from searchx.training.adapting import adapt, whole_weights
from searchx.training.course import Course
from searchx.training.distillation import teacher_vectors
from searchx.training.feeds import (
    Examples,
    Feed,
    HeadFeed,
    Loaded,
    NowAndThen,
    Say,
    TowerFeed,
    Work,
)
from searchx.training.links import Links, no_links
from searchx.training.objective import Objective
from searchx.training.processes import Process
from searchx.training.settings import Settings


def train(
    model: str,
    pairs: Sequence[Pair],
    settings: Settings,
    say: Say,
    *,
    validation: Sequence[Pair] = (),
    links: Links | None = None,
) -> Path:
    """Train `model` on pairs, links, or both; gives the model directory, ``settings.out``.

    It is measured on the pairs of `validation`; without those on a part of `pairs` that is set
    aside. Of the links always a part is. The directory holds the weights of the best epoch,
    ``curve.csv`` and ``curve.png``. Run again with the same settings, an interrupted training goes
    on from its last checkpoint. Raises BadInput, ModelError or UnreadableImage.
    """
    settings = settings.resolved()
    _check_installed(settings)
    training, held = _split(pairs, validation, links or no_links(), settings)
    process = Process.joined()
    say = say if process.leads else _silent
    torch.manual_seed(settings.seed)
    loaded = load_model(model, say)
    if process.leads:
        _claim(settings, model, training, validation)
    process.wait()
    device = process.device(settings.device)
    loaded = _readied(loaded, settings)
    loaded[0].to(device)
    bank = _teach(training.pairs, settings, model_config(whole_name(model)), process, say)
    work = Work(loaded, training, held, device, process, settings)
    feed: Feed = HeadFeed(work, say) if settings.method == "head" else TowerFeed(work, say)
    objective = Objective(bank, loaded[0], device, process)
    course = Course(feed, objective, training, settings, process, say)

    def keep_best() -> None:
        if process.leads:
            weights = whole_weights(loaded[0])
            # What is trained for only orders cosines; a bias from before would tell wrong chances.
            weights.pop("logit_bias", None)
            save_model(*loaded, model, settings.out, weights)

    course.run(keep_best)
    return settings.out


def _split(
    pairs: Sequence[Pair], validation: Sequence[Pair], links: Links, settings: Settings
) -> tuple[Examples, Examples]:
    """Set a part aside that is never trained on; the same one for the same seed."""
    held = list(validation)
    if pairs and not held:
        order = np.random.default_rng(settings.seed).permutation(len(pairs))
        count = max(1, round(len(pairs) * settings.validation))
        held = [pairs[one] for one in order[:count]]
        pairs = [pairs[one] for one in order[count:]]
    learned, kept = links.parted(settings.validation, settings.seed) if len(links) else (links,) * 2
    if not pairs and (settings.method == "prompt" or settings.teacher is not None):
        raise BadInput("learned tokens and a teacher need pairs; give some beside interactions")
    for count, what in ((len(pairs), "pairs"), (len(learned), "interactions")):
        if count < 2 and (count or not len(pairs) + len(learned) or (what == "pairs" and held)):
            raise BadInput(f"{count} {what} besides those to measure on are too few to train on")
    return Examples(pairs, learned), Examples(held, kept)


def _readied(loaded: Loaded, settings: Settings) -> Loaded:
    """Fix what is not to be trained, and add what is trained instead."""
    model, tokenizer = loaded
    if settings.method == "head":
        return loaded
    if settings.unlock_image is not None:
        model.lock_image_tower(settings.unlock_image, freeze_bn_stats=True)
    return model, adapt(model, tokenizer, settings)


def _silent(line: str) -> None:
    """Leave the telling to the first process."""


def _check_installed(settings: Settings) -> None:
    needed = ["matplotlib", *(["onnxruntime"] if settings.teacher else [])]
    if lacking := [name for name in needed if find_spec(name) is None]:
        raise BadInput(
            f"training needs {' and '.join(lacking)}; install with: pip install 'searchx[train]'"
        )


def _claim(settings: Settings, model: str, training: Examples, validation: Sequence[Pair]) -> None:
    """Note in the directory what is trained there; raises BadInput when it is something else."""
    settings.out.mkdir(parents=True, exist_ok=True)
    place = settings.out / "training.json"
    mine = {name: str(value) for name, value in asdict(settings).items() if name != "out"}
    mine |= {
        "model": whole_name(model),
        "pairs": _digest((one.image, one.captions) for one in training.pairs),
        "validation pairs": _digest((one.image, one.captions) for one in validation),
        "interactions": _digest_of(training.links),
    }
    if place.exists() and json.loads(place.read_text(encoding="utf-8")) != mine:
        raise BadInput(f"{settings.out} holds a training with other settings; choose another --out")
    with replacing(place) as beside:
        beside.write_text(json.dumps(mine, indent=1), encoding="utf-8")


def _digest_of(links: Links) -> str:
    told = links.sides.tolist(), links.weights.tolist()
    return _digest([*((one, ()) for one in links.pictures), (repr(told).encode(), ())])


def _digest(shown: Iterable[tuple[Path | bytes, tuple[str, ...]]]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for picture, captions in shown:
        image = picture if isinstance(picture, bytes) else os.fsencode(picture)
        digest.update(repr((hashlib.blake2b(image).digest(), captions)).encode())
    return digest.hexdigest()


def _teach(
    training: Sequence[Pair],
    settings: Settings,
    config: Mapping[str, Any],
    process: Process,
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
