"""Models as open_clip loads them: from a hub, or from a directory on this machine.

open_clip is imported inside, so that nothing that merely names a model pays for it.
"""

import hashlib
import json
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from searchx.eightbit import base_of, eight_bit
from searchx.encoder.names import Announce, directory_of, is_to_be_made
from searchx.errors import ModelError

if TYPE_CHECKING:
    import torch

WEIGHTS_FILES: Final = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")  # of a hub


def load_open_clip(name: str, announce: Announce | None = None) -> tuple[Any, Any]:
    """Give open_clip's model, which knows its preprocessing, and its tokenizer."""
    import open_clip

    model_name, weights, options = _open_clip_arguments(name)
    if repository := hub_repository(name):
        _announce_download(name, repository, announce or (lambda _: None))
    try:
        model = open_clip.create_model(
            model_name,
            pretrained=weights,
            pretrained_text=False,
            require_pretrained=True,
            **options,
        )
        return model, open_clip.get_tokenizer(model_name, **_without_programs(model_name))
    except Exception as error:  # open_clip, timm and the hub raise a dozen unrelated types
        raise ModelError(
            f'model "{name}" cannot be loaded ({_first_line(error)}); check the name and the '
            "network, set HF_HOME to a cache that has it, or use local-dir:PATH of a copy"
        ) from error


def _without_programs(model_name: str) -> dict[str, bool]:
    """Give the setting by which a tokenizer of Hugging Face brings no program, for those that are.

    It goes before what the model's own files ask for.
    """
    import open_clip

    config = open_clip.factory.get_model_config(model_name) or {}
    is_theirs = bool(config.get("text_cfg", {}).get("hf_tokenizer_name"))
    return {"trust_remote_code": False} if is_theirs else {}


def model_config(name: str) -> dict[str, Any]:
    """Give open_clip's configuration of a model, as it stands in a model directory."""
    import open_clip

    model_name, _, options = _open_clip_arguments(name)
    config = cast(dict[str, Any], open_clip.factory.get_model_config(model_name))
    return config | ({"quick_gelu": True} if options.get("force_quick_gelu") else {})


def _open_clip_arguments(name: str) -> tuple[str, str | None, dict[str, Any]]:
    """Translate the stored form of a name to what open_clip takes."""
    import open_clip

    if eight_bit(name) is not None or is_to_be_made(name):
        raise ModelError(
            f'"{name}" is computed by OpenVINO only, not by torch; use "{base_of(name)}" for this'
        )
    if (directory := directory_of(name)) is not None:
        return f"local-dir:{directory}", None, _local_options(directory)
    if name.startswith("hf-hub:"):
        return name, None, {}
    architecture, weights = name.split("/")
    _check_known(architecture, weights)
    # open_clip only warns when weights need another activation than their architecture names.
    quick = open_clip.get_pretrained_cfg(architecture, weights).get("quick_gelu", False)
    return architecture, weights, {"force_quick_gelu": bool(quick)}


def _local_options(directory: Path) -> dict[str, Any]:
    """Let a model directory bring the configuration of its Hugging Face text tower along.

    open_clip looks such a configuration up on the hub by its name even for a local directory
    (open_clip issues 580 and 968); a ``config.json`` beside the weights makes that needless.
    """
    path = directory / "open_clip_config.json"
    try:
        text = dict(json.loads(path.read_text(encoding="utf-8"))["model_cfg"]["text_cfg"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(
            f"{directory} is not an open_clip model directory ({_first_line(error)}); "
            "it needs open_clip_config.json and the weights beside it"
        ) from error
    if "hf_model_name" not in text or not (directory / "config.json").is_file():
        return {}
    return {"text_cfg": text | {"hf_model_name": str(directory), "hf_model_pretrained": False}}


def _check_known(architecture: str, weights: str) -> None:
    import open_clip

    known = {name for name, _ in open_clip.list_pretrained()}
    if architecture not in known:
        near = get_close_matches(architecture, known, 3) or ["see open_clip's list of models"]
        raise ModelError(
            f'architecture "{architecture}" is not one of open_clip\'s; near: {", ".join(near)}'
        )
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if weights not in tags:
        raise ModelError(f'{architecture} has no weights "{weights}"; there are: {", ".join(tags)}')


def hub_repository(name: str) -> str | None:
    """Name the hub repository that a model's weights come from, where they come from one."""
    import open_clip

    if directory_of(name) is not None or eight_bit(name) is not None:
        return None
    if name.startswith("hf-hub:"):
        return name.removeprefix("hf-hub:")
    hub = open_clip.get_pretrained_cfg(*name.split("/")).get("hf_hub", "")
    return "/".join(hub.split("/")[:2]) or None


def _announce_download(name: str, repository: str, announce: Announce) -> None:
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.constants import HF_HUB_OFFLINE
    from huggingface_hub.errors import HfHubHTTPError

    if any(isinstance(try_to_load_from_cache(repository, file), str) for file in WEIGHTS_FILES):
        return
    ways_out = "set HF_HOME to a cache that has it, or use local-dir:PATH of a copy"
    if HF_HUB_OFFLINE:
        raise ModelError(
            f'model "{name}" is not on this machine and HF_HUB_OFFLINE is set; unset it once, '
            f"{ways_out}"
        )
    try:
        found = HfApi().model_info(repository, files_metadata=True, timeout=10).siblings or []
        size = max((one.size or 0 for one in found if one.rfilename in WEIGHTS_FILES), default=0)
    except HfHubHTTPError:
        size = 0  # the hub answers, so the download will tell what is wrong
    except Exception as error:  # whatever the HTTP client of this version raises
        raise ModelError(
            f'model "{name}" is not on this machine and the hub cannot be reached '
            f"({_first_line(error)}); go online once, {ways_out}"
        ) from error
    amount = f"{size / 1e6:,.0f} MB" if size else "of unknown size"
    announce(f"{name} is not on this machine yet: downloading it from {repository} ({amount})")


def digest_of(weights: "Mapping[str, torch.Tensor]", preprocessing: Mapping[str, object]) -> str:
    """Identify a space: the same only for the same weights and the same preprocessing."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps(dict(preprocessing), sort_keys=True, default=str).encode())
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(_single(weights[name]).numpy()).data)
    return digest.hexdigest()


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def _single(weights: "torch.Tensor") -> "torch.Tensor":
    return weights.float() if weights.is_floating_point() else weights
