"""Models with random weights, which do for speed."""

import json
from pathlib import Path


def random_model(architecture: str, directory: Path) -> str:
    """Write a model directory with random weights."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model = open_clip.create_model(architecture)
    directory.mkdir()
    weights = {name: one.contiguous() for name, one in model.state_dict().items()}
    save_file(weights, directory / "open_clip_model.safetensors")
    config = {
        "model_cfg": open_clip.get_model_config(architecture),
        "preprocess_cfg": dict(model.visual.preprocess_cfg),
    }
    (directory / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    return f"local-dir:{directory}"
