"""A real open_clip model directory that is small enough for tests: random weights, always the same.

Its vectors mean nothing, but a picture is nearest to itself.
"""

import json
from pathlib import Path

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


def save_tiny_model(directory: Path, seed: int = 0) -> str:
    """Write the model directory and give the name to load it by."""
    import torch
    from open_clip import CLIP
    from safetensors.torch import save_file

    directory.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        weights = CLIP(**MODEL).state_dict()
    save_file(
        {name: one.contiguous() for name, one in weights.items()},
        directory / "open_clip_model.safetensors",
    )
    config = {"model_cfg": MODEL, "preprocess_cfg": PREPROCESSING}
    (directory / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    return f"local-dir:{directory}"
