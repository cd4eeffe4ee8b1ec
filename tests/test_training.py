"""Training on a tiny real model: it learns, keeps, resumes and refuses."""

import csv
import json
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from searchx.encoder import load_encoder, pairing_of
from searchx.errors import BadInput
from searchx.evaluation import evaluate
from searchx.pairs import Pair
from searchx.training import Settings, train
from tests.colour import COLOURS, paint
from tests.tiny_model import save_tiny_model

ROOT = Path(__file__).resolve().parent.parent
SAID: Callable[[str], None] = lambda _: None  # noqa: E731


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    """Sixty pictures of one colour each, with what a person would say of them."""
    place = tmp_path_factory.mktemp("pairs")
    chance = random.Random(0)
    found = []
    for number in range(60):
        name = sorted(COLOURS)[number % len(COLOURS)]
        shade = tuple(min(255, max(0, part + chance.randint(-20, 20))) for part in COLOURS[name])
        path = paint(place / f"{number}.png", (shade[0], shade[1], shade[2]))
        found.append(Pair(path, (f"a {name} wall", f"something {name}")))
    return found


def test_training_in_full_learns_colours(
    tiny_model: Path, pairs: list[Pair], tmp_path: Path
) -> None:
    settings = Settings(tmp_path / "out", epochs=8, batch=16, rate=1e-3, validation=0.2, patience=8)
    out = train(str(tiny_model), pairs, settings, SAID)
    before = evaluate(load_encoder(str(tiny_model)), pairs)
    after = evaluate(load_encoder(str(out)), pairs)
    assert after.text_to_image.mrr > before.text_to_image.mrr
    assert after.image_to_text.mrr > before.image_to_text.mrr
    assert [int(row["epoch"]) for row in curve(out)] == list(range(9))
    assert (out / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_training_the_heads_leaves_the_towers_alone(pairs: list[Pair], tmp_path: Path) -> None:
    from safetensors.torch import load_file

    name = save_tiny_model(tmp_path / "model", bias=-10.0)
    settings = Settings(
        tmp_path / "out", method="head", epochs=10, batch=8, rate=1e-2, validation=0.2, patience=10
    )
    out = train(name, pairs, settings, SAID)
    before = load_file(tmp_path / "model" / "open_clip_model.safetensors")
    after = load_file(out / "open_clip_model.safetensors")
    assert before.keys() - after.keys() == {"logit_bias"}  # it would not fit what was trained
    assert pairing_of(load_encoder(str(out))) is None
    changed = {key for key in after if not torch.equal(before[key].half(), after[key].half())}
    assert changed
    assert changed <= {"visual.proj", "text_projection", "logit_scale", "text.text_projection"}


def test_an_interrupted_training_goes_on(
    tiny_model: Path, pairs: list[Pair], tmp_path: Path
) -> None:
    class StopError(Exception):
        pass

    def stop_after_two_epochs(line: str) -> None:
        if line.startswith("epoch 2/3"):
            raise StopError

    settings = Settings(tmp_path / "out", epochs=3, batch=16, validation=0.2)
    with pytest.raises(StopError):
        train(str(tiny_model), pairs, settings, stop_after_two_epochs)
    lines: list[str] = []
    train(str(tiny_model), pairs, settings, lines.append)
    assert lines[0].startswith("going on from step 6, after epoch 2")
    whole = replace(settings, out=tmp_path / "whole")
    train(str(tiny_model), pairs, whole, SAID)
    losses = [[float(row["loss"]) for row in curve(one.out)] for one in (settings, whole)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)


def test_training_stops_when_nothing_is_gained(
    tiny_model: Path, pairs: list[Pair], tmp_path: Path
) -> None:
    lines: list[str] = []
    settings = Settings(tmp_path, method="head", epochs=50, rate=1e-12, validation=0.2, patience=2)
    train(str(tiny_model), pairs, settings, lines.append)
    assert sum(line.startswith("epoch") for line in lines) == 3
    assert lines[-1].startswith("kept epoch 0")


def test_a_teacher_is_learned_from(tiny_model: Path, pairs: list[Pair], tmp_path: Path) -> None:
    dim = load_encoder(str(tiny_model)).space.dim
    teacher = _colour_teacher(tmp_path / "teacher.onnx", dim)
    lines: list[str] = []
    settings = Settings(
        tmp_path / "out", epochs=6, batch=16, rate=1e-3, validation=0.2, teacher=teacher
    )
    train(str(tiny_model), pairs, settings, lines.append)
    losses = [float(row["loss"]) for row in curve(tmp_path / "out")]
    assert losses[-1] < losses[1]
    assert np.load(tmp_path / "out" / "teacher.npy").shape == (48, dim)


def test_a_teacher_that_does_not_fit_is_refused(
    tiny_model: Path, pairs: list[Pair], tmp_path: Path
) -> None:
    other = _colour_teacher(tmp_path / "wide.onnx", 24)
    settings = Settings(tmp_path / "out", validation=0.2, teacher=other)
    with pytest.raises(BadInput, match="24 dimensions, not 16"):
        train(str(tiny_model), pairs, settings, SAID)
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    broken = replace(settings, out=tmp_path / "two", teacher=tmp_path / "broken.onnx")
    with pytest.raises(BadInput, match="not a teacher"):
        train(str(tiny_model), pairs, broken, SAID)


def test_several_processes_train_as_one(
    tiny_model: Path, pairs: list[Pair], tmp_path: Path
) -> None:
    """Real torchrun, two processes: one model comes out."""
    lines = [
        json.dumps({"image": str(pair.image), "captions": list(pair.captions)}) for pair in pairs
    ]
    (tmp_path / "captions.jsonl").write_text("\n".join(lines), encoding="utf-8")
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"),
        *("-m", "searchx.cli", "train", str(tmp_path / "captions.jsonl")),
        *("--model", str(tiny_model), "--out", str(tmp_path / "out"), "--device", "cpu"),
        *("--epochs", "1", "--batch", "8", "--validation", "0.2"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=250)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("kept epoch") == 1  # one of them tells it
    assert (tmp_path / "out" / "open_clip_model.safetensors").is_file()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"epochs": 0}, "epochs"),
        ({"validation": 1.0}, "validation"),
        ({"validation": 0.99}, "few"),
        ({"seed": -1}, "seed"),
        ({"rate": -1.0}, "rate"),
        ({"rate": float("nan")}, "rate"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    tiny_model: Path, pairs: list[Pair], tmp_path: Path, change: dict[str, float], said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        train(str(tiny_model), pairs, replace(Settings(tmp_path), **change), SAID)  # type: ignore[arg-type]


def test_a_checkpoint_of_another_training_is_not_taken(
    tiny_model: Path, pairs: list[Pair], tmp_path: Path
) -> None:
    settings = Settings(tmp_path, method="head", epochs=1, validation=0.2)
    train(str(tiny_model), pairs, settings, SAID)
    for others, other in ((pairs, replace(settings, seed=1)), (pairs[:50], settings)):
        with pytest.raises(BadInput, match="other settings"):
            train(str(tiny_model), others, other, SAID)


def curve(out: Path) -> list[dict[str, str]]:
    with (out / "curve.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _colour_teacher(place: Path, dim: int) -> Path:
    """Make a real ONNX model whose vector of a picture is its mean colour, spread over dim."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    spread = np.random.default_rng(0).standard_normal((3, dim)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["pixel_values"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["mean"]),
            helper.make_node("MatMul", ["mean", "spread"], ["image_embeds"]),
        ],
        "teacher",
        [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["n", 3, 224, 224])],
        [helper.make_tensor_value_info("image_embeds", TensorProto.FLOAT, ["n", dim])],
        [numpy_helper.from_array(spread, "spread")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, place)
    return place
