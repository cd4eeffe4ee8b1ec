"""Images and texts to unit vectors in one space: the `Encoder` seam and open_clip behind it.

torch, open_clip and transformers are imported inside the loader only, so that nothing that
merely names a model pays for them.
"""

import hashlib
import json
import logging
import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, cast

import numpy as np

from searchx import towers
from searchx.brought import brought
from searchx.cutting import Cut, parted
from searchx.eightbit import SUFFIX, EightBit, base_of, eight_bit, is_whole
from searchx.errors import BadInput, ModelError
from searchx.fitting import Fit, Fitting
from searchx.forking import renew_in_children
from searchx.halving import in_halves
from searchx.presets import PRESETS
from searchx.records import Pairing, Pixels, Space, Vectors
from searchx.runtime.compiled import CompiledEncoder
from searchx.runtime.entries import files_in
from searchx.runtime.preparing import has_gpu, prepared
from searchx.tokens import Tokens

if TYPE_CHECKING:
    import torch

MINI = Path(__file__).parent / "models" / "mini"  # the embedded default
DEFAULT_MODEL = "mini"
WEIGHTS_FILES: Final = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")  # of a hub

_FEW_TEXTS = 32  # in one call, as they come from queries
_FEW_IMAGES = 4
_SMALL = 100_000_000  # weights of a tower that one core can compute with

_LOG: Final = logging.getLogger(__name__)
_SETTING = threading.Lock()  # of torch's number of threads, which is read and set back

Announce: TypeAlias = Callable[[str], None]  # told one line before a download


class Encoder(Protocol):
    """A contrastively trained dual encoder."""

    @property
    def space(self) -> Space: ...

    @property
    def fit(self) -> Fit:
        """Turns an upright RGB picture into what is embedded, here or in another process."""
        ...

    @property
    def batch_size(self) -> int:
        """Images that are best embedded in one call."""
        ...

    @property
    def text_limit(self) -> int:
        """Tokens of a text that count, special ones included; what follows is not seen."""
        ...

    def embed_images(self, pixels: Sequence[Pixels]) -> Vectors:
        """Embed fitted pictures: n of them to (n, dim) unit rows, in order."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Embed texts: n of them to (n, dim) unit rows, in order."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text, special ones included and nothing cut."""
        ...


def load_encoder(
    name: str = DEFAULT_MODEL, device: str = "auto", announce: Announce | None = None
) -> Encoder:
    """Load a model by any of its usual names, or by the purpose of a preset.

    With ``@N`` behind it, the first N numbers of its vectors are kept, see `Cut`. Raises
    ModelError, in one line, when the name is unknown or the weights cannot be had. `announce` is
    told, in one line, before anything is downloaded.
    """
    name = canonical_name(name)
    whole, dim = parted(name)
    if dim is not None:
        return Cut(load_encoder(whole, device, announce), dim)
    if (made := eight_bit(name)) is not None:
        return _load_eight_bit(made, device, announce)
    if _is_to_be_made(name):
        raise ModelError(
            f'model "{name}" is not on this machine; make it by "searchx models quantize '
            f'{base_of(name)}", or bring it by "searchx models import"'
        )
    found = prepared(name, local_files(name), device, announce)
    encoder: OpenClipEncoder | CompiledEncoder
    if isinstance(found, str):
        encoder = OpenClipEncoder(name, device, announce, f"torch ({found})")
    else:
        encoder = found
    _LOG.info("%s is computed by %s", name, encoder.runtime)
    return encoder


def load_by_torch(name: str, device: str = "auto", announce: Announce | None = None) -> Encoder:
    """Load a model by its stored name, to be computed by torch wherever it could be otherwise."""
    whole, dim = parted(name)
    encoder = OpenClipEncoder(whole, device, announce)
    return encoder if dim is None else Cut(encoder, dim)


def pairing_of(encoder: Encoder) -> Pairing | None:
    """Tell how an encoder reads a cosine as the chance of a pair; None for most, which do not."""
    found = getattr(encoder, "pairing", None)
    return found if isinstance(found, Pairing) else None


def is_as_at_prompt(encoder: Encoder) -> bool:
    """Tell whether an encoder gives, to the digit, what one does that is loaded for device cpu."""
    if isinstance(encoder, Cut):
        return is_as_at_prompt(encoder.whole)
    if isinstance(encoder, OpenClipEncoder):
        return encoder.device == "cpu" and not has_gpu()  # where one is, the prompt may prepare
    return isinstance(encoder, CompiledEncoder)


def _load_eight_bit(made: EightBit, device: str, announce: Announce | None) -> CompiledEncoder:
    """Load a model that computes pictures in 8 bits, beside its base; raises ModelError."""
    if device not in ("auto", "cpu"):
        raise ModelError(
            f'"{made.name}" is computed on processors only, not on {device}; use "{made.base}"'
        )
    if not is_whole(made):
        raise ModelError(f'"{made.name}" is damaged; remove {made.place} and make it again')
    return seeing_by(made, compiled_base(made.name, made.base, announce))


def compiled_base(name: str, base: str, announce: Announce | None) -> CompiledEncoder:
    """Load the model that one in 8 bits is made of; raises ModelError where torch computes it."""
    found = prepared(base, local_files(base), "cpu", announce)
    if isinstance(found, str):
        raise ModelError(f'"{name}" is computed by OpenVINO only, and {found}; use "{base}"')
    return found


def seeing_by(made: EightBit, base: CompiledEncoder) -> CompiledEncoder:
    """Give the encoder of a model that computes pictures in 8 bits, by that of its base.

    Raises ModelError where that is not the one that it was made of.
    """
    if base.space.digest != made.base_digest:
        raise ModelError(
            f'"{made.name}" was made of other weights than "{made.base}" has here; remove '
            f"{made.place} and make it again"
        )
    space = Space(made.name, made.digest, base.space.dim)
    return base.seeing_by(made.tower, space, f"{base.runtime}, pictures in 8 bits")


def _is_to_be_made(name: str) -> bool:
    """Tell whether a name can only be one of a model in 8 bits, which is not here.

    A repository of a hub, and a directory, may end alike.
    """
    if base_of(name) is None or name.startswith("hf-hub:"):
        return False
    return not name.startswith("local-dir:") or not Path(name.removeprefix("local-dir:")).exists()


def local_files(name: str) -> list[str] | None:
    """List the files of a model that is a directory; None for one that comes from a hub."""
    directory = _directory(name)
    return None if directory is None else files_in(directory)


def _directory(name: str) -> Path | None:
    """Give where a model lies that is a directory on this machine."""
    if name == DEFAULT_MODEL:
        return MINI
    if name.startswith("local-dir:"):
        return Path(name.removeprefix("local-dir:"))
    return brought(name)


def canonical_name(name: str) -> str:
    """Give the one stored form of a model's name.

    Accepts ``ViT-B-32/laion2b_s34b_b79k``, the same with ``__``, ``::`` or ``:`` between the
    two, an ``open_clip:`` in front, ``hf-hub:org/name``, ``local-dir:/path``, the path of a
    model directory, or a preset's purpose; each also with ``-int8`` behind it, see `eightbit`, and
    with ``@N``, see `cutting`.
    """
    whole, dim = parted(name.strip().removeprefix("open_clip:"))
    return _canonical(whole) if dim is None else f"{_canonical(whole)}@{dim}"


def whole_name(name: str) -> str:
    """Give the one stored form of a model's name, where the model itself is needed.

    Raises ModelError for one of which only the first numbers are meant.
    """
    known = canonical_name(name)
    whole, dim = parted(known)
    if dim is not None:
        raise ModelError(f'"{known}" is a part of what a model gives; name the model, "{whole}"')
    return known


def _canonical(name: str) -> str:
    by_purpose = {preset.purpose: preset.model for preset in PRESETS}
    if name in by_purpose or name in by_purpose.values():
        return by_purpose.get(name, name)
    if name.startswith("hf-hub:"):
        return name
    if name.startswith("local-dir:") or _is_model_directory(name):
        directory = os.path.expanduser(name.removeprefix("local-dir:"))  # noqa: PTH111 - as it is
        return f"local-dir:{Path(directory).absolute()}"  # where there is no such user
    if base := base_of(name):
        return canonical_name(base) + SUFFIX
    parts = re.split(r"::|__|/|:", name)
    if len(parts) == 2 and all(parts):
        return "/".join(parts)
    raise ModelError(
        f'model "{name}" is not known; write ARCHITECTURE/WEIGHTS, hf-hub:ORG/NAME, '
        'local-dir:PATH, or see "searchx models"'
    )


def is_of_ours(name: str) -> bool:
    """Tell whether a name that others wrote is safe to load: what it leads to, they cannot choose.

    With ``@N`` behind it or without. These are the presets, the weights that open_clip lists, and
    what was brought to this machine; neither a repository of a hub nor a place on this machine.
    """
    name, _ = parted(name)
    if any(name in (one.purpose, one.model) for one in PRESETS):
        return True
    if name.startswith("local-dir:") or _is_model_directory(name):
        return False
    if brought(name) is not None or eight_bit(name) is not None:
        return True
    import open_clip

    return name in {f"{architecture}/{tag}" for architecture, tag in open_clip.list_pretrained()}


def _is_model_directory(name: str) -> bool:
    try:
        return Path(name, "open_clip_config.json").is_file()
    except (OSError, ValueError):  # too long for a path, or with a NUL in it
        return False


class OpenClipEncoder:
    """Any model that open_clip can load: https://github.com/mlfoundations/open_clip.

    Preprocessing comes with the weights. Half precision is used on a GPU only. `announce` is
    told, in one line, before anything is downloaded.
    """

    def __init__(
        self,
        name: str,
        device: str = "auto",
        announce: Announce | None = None,
        runtime: str = "torch",
    ) -> None:
        self.runtime = runtime
        self._device = choose_device(device)
        self.device = self._device.type
        self._model, self._tokenizer = _load_mapped(name, announce)
        self._tokens = Tokens(self._model, self._tokenizer)
        self._begin()
        self._sees = False  # whether the image tower is in its working form
        self._model.eval().requires_grad_(False)
        towers.materialise_texts(self._model, self._device)
        digest = digest_of(self._model.state_dict(), self._model.visual.preprocess_cfg)
        self.pairing = _pairing_of(self._model)
        towers.release(self._model)
        self._has_small_texts = towers.size_of_texts(self._model) <= _SMALL
        self._has_small_images = towers.size_of_images(self._model) <= _SMALL
        renew_in_children(self._renew)
        self._dim = int(self._encode_texts(["a photo"]).shape[1])
        self.space = Space(name, digest, self._dim)
        self.fit = Fitting.of(self._model.visual.preprocess_cfg)
        self.text_limit = self._tokens.limit
        self.batch_size = 256 if self._device.type == "cuda" else 16

    def _begin(self) -> None:
        self._lock = threading.Lock()  # one batch at a time: torch's own threads fill the machine
        self._alone = ThreadPoolExecutor(
            max(2, os.cpu_count() or 1), "computing", initializer=_compute_alone
        )
        self._loading = threading.Lock()

    def _renew(self) -> None:
        """Go on in a process that was forked: with one thread, torch's others are its parent's."""
        import torch

        torch.set_num_threads(1)
        self._begin()

    def embed_images(self, pixels: Sequence[Pixels]) -> Vectors:
        """Embed fitted pictures: n of them to (n, dim) unit rows, in order.

        Raises BadInput for pixels that ``fit`` did not give.
        """
        if not pixels:
            return np.empty((0, self._dim), np.float32)
        for one in pixels:
            self._check(one)
        self._open_eyes()
        return in_halves(pixels, self._encode_images, self._limit)

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Embed texts: n of them to (n, dim) unit rows, in order; a text too long is cut."""
        if not texts:
            return np.empty((0, self._dim), np.float32)
        starts = range(0, len(texts), 256)
        blocks = [texts[at : at + 256] for at in starts]
        return np.concatenate([in_halves(one, self._encode_texts) for one in blocks])

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text, special ones included and nothing cut."""
        return self._tokens.count(texts)

    def tokens(self, texts: Sequence[str]) -> "torch.Tensor":
        """Give the tokens of some texts, (n, used), as the text tower takes them."""
        return self._tokens(texts)

    def parts(self) -> tuple[Any, Any]:
        """Give open_clip's model, both towers in their working form, and its tokenizer."""
        self._open_eyes()
        return self._model, self._tokenizer

    def _check(self, pixels: Pixels) -> None:
        expected = (*self.fit.size, 3)
        if pixels.shape != expected or pixels.dtype != np.uint8:
            raise BadInput(
                f"pixels are {pixels.dtype} {pixels.shape}, the encoder takes uint8 {expected}; "
                "give it what encoder.fit(picture) gives"
            )

    def _limit(self, count: int) -> None:
        """Take no more pictures at a time from now on: there is no memory for them."""
        self.batch_size = min(self.batch_size, count)

    def _encode_images(self, pixels: Sequence[Pixels]) -> Vectors:
        import torch

        batch = torch.from_numpy(np.stack(pixels))  # (n, height, width, 3)
        is_little = len(pixels) <= _FEW_IMAGES and self._has_small_images

        def seen() -> Any:
            return self._model.encode_image(normalised(self._model, batch.to(self._device)))

        return self._computed(seen, is_little)

    def _encode_texts(self, texts: Sequence[str]) -> Vectors:
        tokens = self._tokens(texts)  # (n, used)
        is_little = len(texts) <= _FEW_TEXTS and self._has_small_texts
        return self._computed(lambda: self._model.encode_text(tokens.to(self._device)), is_little)

    def _open_eyes(self) -> None:
        """Bring the image tower into memory before the first picture."""
        with self._loading:
            if not self._sees:
                visual = self._model.visual.float()
                if hasattr(visual, "trunk"):
                    _make_fast(visual.trunk)
                visual.to(self._device)
                self._sees = True

    def _computed(self, work: Callable[[], Any], is_little: bool) -> Vectors:
        """Compute unit rows: much with all of torch's threads, little with one.

        Several stand at barriers where others use the cores.
        """
        if is_little and self._device.type == "cpu":
            return self._alone.submit(self._rows, work).result()
        with self._lock:
            return self._rows(work)

    def _rows(self, work: Callable[[], Any]) -> Vectors:
        import torch

        on_gpu = self._device.type == "cuda"
        half = torch.bfloat16 if on_gpu and torch.cuda.is_bf16_supported() else torch.float16
        with (
            torch.inference_mode(),
            torch.autocast(self._device.type, half, enabled=on_gpu),
        ):
            return _unit_rows(work())


def _pairing_of(model: Any) -> Pairing | None:
    """Give what a model was trained to make of a cosine; None where it only orders them."""
    bias = getattr(model, "logit_bias", None)
    if bias is None:
        return None
    return Pairing(float(model.logit_scale.exp()), float(bias))


def _compute_alone() -> None:
    """Have torch use one thread for what the thread that calls this computes, from now on.

    The number is each thread's own, but those that use torch for the first time take the one that
    was set last by any. So that is set back at once, by a thread that ends.
    """
    import torch

    with _SETTING:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        other = threading.Thread(target=torch.set_num_threads, args=(threads,))
        other.start()
        other.join()


def _load_mapped(name: str, announce: Announce | None) -> tuple[Any, Any]:
    """Give model and tokenizer, the weights of the model mapped where they can be."""
    tokenizers = []

    def load() -> Any:
        model, tokenizer = load_open_clip(name, announce)
        tokenizers.append(tokenizer)
        return model

    return towers.load_mapped(load), tokenizers[-1]


def normalised(model: Any, pixels: "torch.Tensor") -> "torch.Tensor":
    """Turn fitted pictures, uint8 (n, height, width, 3), into what an open_clip image tower takes.

    (n, 3, height, width), computed on the device where the pictures are, in the order of
    torchvision's operations and so with the same numbers.
    """
    config = model.visual.preprocess_cfg
    rows = pixels.float().div_(255)
    rows.sub_(rows.new_tensor(config["mean"])).div_(rows.new_tensor(config["std"]))
    return rows.permute(0, 3, 1, 2)


def _make_fast(trunk: Any) -> None:
    """Fold normalisation and parallel branches into single convolutions, where timm knows how.

    Attention with a table of biases runs plainly: PyTorch's fused one takes a slow path for it.
    """
    from timm.utils.model import reparameterize_model

    reparameterize_model(trunk, inplace=True)
    for part in trunk.modules():
        if hasattr(part, "attention_biases"):
            part.fused_attn = False


def choose_device(device: str) -> "torch.device":
    """Turn auto, cpu, cuda or cuda:N into a device that is there; raises ModelError."""
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError:
        chosen = None
    if chosen is None or chosen.type not in ("cpu", "cuda"):
        raise ModelError(f'device "{device}" is not known; use auto, cpu or cuda')
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ModelError(f"device {device} was asked for, but torch sees no such GPU; use cpu")
    return chosen


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

    if eight_bit(name) is not None or _is_to_be_made(name):
        raise ModelError(
            f'"{name}" is computed by OpenVINO only, not by torch; use "{base_of(name)}" for this'
        )
    if (directory := _directory(name)) is not None:
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

    if _directory(name) is not None or eight_bit(name) is not None:
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


def _unit_rows(rows: "torch.Tensor") -> Vectors:
    rows = rows.float()  # (n, dim)
    rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-12)
    return cast(Vectors, rows.cpu().numpy())


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def _single(weights: "torch.Tensor") -> "torch.Tensor":
    return weights.float() if weights.is_floating_point() else weights
