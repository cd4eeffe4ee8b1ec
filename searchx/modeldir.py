"""Model directories: what `searchx train` writes and any command takes with ``--model``.

An ordinary open_clip directory: ``open_clip_config.json``, ``open_clip_model.safetensors``, and
the files of a Hugging Face tokenizer and text tower where the model has them.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from searchx.encoder.names import Announce, whole_name
from searchx.encoder.weights import load_open_clip, model_config
from searchx.errors import LibraryFull


def save_model(
    model: Any,
    tokenizer: Any,
    name: str,
    directory: Path,
    state: Mapping[str, torch.Tensor] | None = None,
    precision: torch.dtype | None = torch.float16,
) -> None:
    """Write an open_clip model as a directory, weights in half precision.

    Where `precision` is None, in their own. `state` is what to write where that is not the model's
    own; without a ``logit_bias`` in it, what is written has none. The weights are replaced as a
    whole or not at all. Raises LibraryFull.
    """
    from safetensors.torch import save_file

    directory.mkdir(parents=True, exist_ok=True)
    config = {
        "model_cfg": model_config(whole_name(name)),
        "preprocess_cfg": dict(model.visual.preprocess_cfg),
    }
    if hasattr(tokenizer, "tokenizer"):
        tokenizer.tokenizer.save_pretrained(directory)
    if hasattr(getattr(model, "text", None), "config"):
        model.text.config.save_pretrained(directory)
    weights = {
        key: value.detach().to("cpu", (value.is_floating_point() and precision) or value.dtype)
        for key, value in (state or model.state_dict()).items()
    }
    if "logit_bias" not in weights:
        config["model_cfg"].pop("init_logit_bias", None)
    with replacing(directory / "open_clip_model.safetensors") as beside:
        save_file({key: value.contiguous() for key, value in weights.items()}, beside)
        beside.chmod(0o644)  # safetensors keeps it to its writer; a model is for everybody
    with replacing(directory / "open_clip_config.json") as beside:
        beside.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


@contextmanager
def replacing(place: Path) -> Iterator[Path]:
    """Give a name beside `place` to write to, which then takes its place; raises LibraryFull."""
    beside = place.with_name(f"{place.name}.new")
    try:
        yield beside
        beside.replace(place)
    except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors have no errno
        beside.unlink(missing_ok=True)
        raise LibraryFull(
            f"{place} cannot be written ({str(error).splitlines()[0]}); "
            "free some space and run the same command again"
        ) from error


def load_model(name: str, announce: Announce | None = None) -> tuple[Any, Any]:
    """Load (model, tokenizer) to be trained, in full precision."""
    model, tokenizer = load_open_clip(whole_name(name), announce)
    return model.float(), tokenizer
