"""Training little of a model: what changes, what does not, and that the result is whole again."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from searchx.encoder import load_encoder
from searchx.encoder.names import MINI
from searchx.errors import BadInput
from searchx.evaluation import evaluate
from searchx.pairs import Pair
from searchx.training import Settings, train
from tests.colour import COLOURS, paint

SAID: Callable[[str], None] = lambda _: None  # noqa: E731


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    place = tmp_path_factory.mktemp("pairs")
    names = sorted(COLOURS)[:6] * 6
    shades = [tuple(max(0, part - 3 * n) for part in COLOURS[name]) for n, name in enumerate(names)]
    return [
        Pair(paint(place / f"{n}.png", (shade[0], shade[1], shade[2])), (f"a {name} wall",))
        for n, (name, shade) in enumerate(zip(names, shades, strict=True))
    ]


def weights(directory: Path) -> dict[str, torch.Tensor]:
    return {
        name: one.float()
        for name, one in load_file(directory / "open_clip_model.safetensors").items()
    }


def changed(before: Path, after: Path) -> dict[str, torch.Tensor]:
    """Give the differences of what differs, by more than rounding to half precision."""
    old, new = weights(before), weights(after)
    assert set(old) == set(new)
    apart = {name: new[name] - old[name].half().float() for name in old}
    return {name: one for name, one in apart.items() if one.abs().max() > 1e-6}


def test_lora_changes_matrices_by_little_rank_those_of_attention_as_well(
    tiny_model: Path, pairs: list[Pair], tmp_path: Path
) -> None:
    # A high rate: what changes is larger than rounding to half precision by far.
    settings = Settings(
        tmp_path, method="lora", rank=2, epochs=2, batch=6, rate=0.1, validation=0.5, patience=9
    )
    lines: list[str] = []
    train(str(tiny_model), pairs, settings, lines.append)
    assert "kept epoch 0" not in lines[-1]
    found = changed(tiny_model, tmp_path)
    assert "visual.transformer.resblocks.0.attn.in_proj_weight" in found
    assert "transformer.resblocks.0.attn.out_proj.weight" in found
    assert all(name.endswith("weight") for name in found if name != "logit_scale")
    for name, apart in found.items():
        if apart.ndim == 2:
            values = torch.linalg.svdvals(apart)
            assert values[2:].max() < 0.05 * values[0], name
    trained = sum(2 * sum(one.shape) for one in found.values() if one.ndim == 2) + 1
    assert f"lora: {trained:,} of " in lines[0]


def test_bitfit_changes_biases_alone(tiny_model: Path, pairs: list[Pair], tmp_path: Path) -> None:
    settings = Settings(
        tmp_path, method="bitfit", epochs=4, batch=6, rate=0.03, validation=0.5, patience=9
    )
    train(str(tiny_model), pairs, settings, SAID)
    found = set(changed(tiny_model, tmp_path)) - {"logit_scale"}
    assert "visual.transformer.resblocks.0.attn.in_proj_bias" in found
    assert all(name.endswith("bias") for name in found)


def test_what_the_image_tower_keeps_fixed_stays_so(
    tiny_model: Path, pairs: list[Pair], tmp_path: Path
) -> None:
    settings = Settings(
        tmp_path, method="lora", epochs=2, batch=6, rate=0.1, validation=0.5, unlock_image=0
    )
    train(str(tiny_model), pairs, settings, SAID)
    found = changed(tiny_model, tmp_path)
    assert any(name.startswith("transformer.") for name in found)
    assert not any(name.startswith("visual.") for name in found)


@pytest.mark.parametrize("method", ["lora", "bitfit"])
def test_the_kept_model_is_the_one_that_was_measured(
    tiny_model: Path, pairs: list[Pair], tmp_path: Path, method: str
) -> None:
    lines: list[str] = []
    settings = Settings(
        tmp_path,
        method=method,  # type: ignore[arg-type]
        epochs=2,
        batch=12,
        rate=0.1,
        patience=9,
    )
    train(str(tiny_model), pairs[12:], settings, lines.append, validation=pairs[:12])
    found = evaluate(load_encoder(str(tmp_path)), pairs[:12])
    assert f"{found.text_to_image.recall_at_10:.1%} text to image" in lines[-1]
    assert f"{found.image_to_text.recall_at_10:.1%} image to text" in lines[-1]


def test_learned_tokens_stand_before_each_text(pairs: list[Pair], tmp_path: Path) -> None:
    settings = Settings(
        tmp_path / "out", method="prompt", prompt=3, epochs=1, batch=6, rate=0.1, patience=9
    )
    train("mini", pairs[:12], settings, SAID, validation=pairs[12:18])
    before, after = load_encoder("mini"), load_encoder(str(tmp_path / "out"))
    assert after.count_tokens(["a dog"])[0] == before.count_tokens(["a dog"])[0] + 3
    assert after.text_limit == before.text_limit
    assert np.abs(after.embed_texts(["a dog"]) - before.embed_texts(["a dog"])).max() > 1e-3
    old, new = weights(MINI), weights(tmp_path / "out")
    table = "text.transformer.embeddings.word_embeddings.weight"
    assert len(new[table]) == len(old[table]) + 3
    torch.testing.assert_close(new[table][:-3], old[table])
    assert not torch.equal(new[table][-3], new[table][-1])
    apart = [name for name in old if name != table and not torch.equal(old[name], new[name])]
    assert apart in ([], ["logit_scale"])
    again = replace(settings, out=tmp_path / "again")
    with pytest.raises(BadInput, match="learned ones already"):
        train(str(tmp_path / "out"), pairs[:12], again, SAID)


def test_a_tokenizer_that_cannot_learn_tokens_is_refused(
    tiny_model: Path, pairs: list[Pair], tmp_path: Path
) -> None:
    settings = Settings(tmp_path, method="prompt", validation=0.2)
    with pytest.raises(BadInput, match="Hugging Face tokenizer"):
        train(str(tiny_model), pairs, settings, SAID)
