"""A real open_clip model directory that is small enough for tests: random weights, always the same.

Its vectors mean nothing, but a picture is nearest to itself.
"""

import json
from pathlib import Path

import numpy as np

from searchx.encoder import Encoder

MODEL = {
    "embed_dim": 16,
    "vision_cfg": {
        "image_size": 32,
        "layers": 1,
        "width": 16,
        "head_width": 8,
        "patch_size": 8,
    },
    "text_cfg": {
        "context_length": 16,
        "vocab_size": 49408,  # of open_clip's own tokenizer
        "width": 16,
        "heads": 2,
        "layers": 1,
    },
}
PREPROCESSING = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}


def save_tiny_model(directory: Path, seed: int = 0, bias: float | None = None) -> str:
    """Write the model directory and give the name to load it by; with a bias, SigLIP's kind."""
    import torch
    from open_clip import CLIP
    from safetensors.torch import save_file

    directory.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        shape = MODEL | ({} if bias is None else {"init_logit_bias": bias})
        weights = CLIP(**shape).state_dict()
    save_file(
        {name: one.contiguous() for name, one in weights.items()},
        directory / "open_clip_model.safetensors",
    )
    config = {"model_cfg": shape, "preprocess_cfg": PREPROCESSING}
    (directory / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    return f"local-dir:{directory}"


def assert_cut_at_the_limit(encoder: Encoder) -> None:
    """A text of as many tokens as the limit is read to its end; what follows is not read."""
    special = encoder.count_tokens([""])[0]
    filled = "a " * (encoder.text_limit - special - 1)
    within, other, beyond = filled + "dog", filled + "cat", filled + "dog cat"
    counts = encoder.count_tokens([within, other, beyond])
    assert counts == [encoder.text_limit, encoder.text_limit, encoder.text_limit + 1]
    vectors = encoder.embed_texts([within, other, beyond])
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-3
    assert np.abs(vectors[0] - vectors[2]).max() < 1e-6
