"""Models computed by torch: on a GPU, and where a model cannot be prepared for the processor.

torch and timm are imported inside, so that nothing that merely names a model pays for them.
"""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from searchx import towers
from searchx.encoder.names import Announce
from searchx.encoder.weights import digest_of, load_open_clip
from searchx.errors import BadInput, ModelError
from searchx.fitting import Fitting
from searchx.forking import renew_in_children
from searchx.halving import enough_memory, in_halves
from searchx.records import Pairing, Pixels, Space, Vectors
from searchx.tokens import Tokens

if TYPE_CHECKING:
    import torch

_FEW_TEXTS: Final = 32  # in one call, as they come from queries
_FEW_IMAGES: Final = 4
_SMALL: Final = 100_000_000  # weights of a tower that one core can compute with
_SETTING: Final = threading.Lock()  # of torch's number of threads, which is read and set back


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
        with enough_memory():
            towers.materialise_texts(self._model, self._device)
        digest = digest_of(self._model.state_dict(), self._model.visual.preprocess_cfg)
        self.pairing = _pairing_of(self._model)
        towers.release(self._model)
        self._has_small_texts = towers.size_of_texts(self._model) <= _SMALL
        self._has_small_images = towers.size_of_images(self._model) <= _SMALL
        renew_in_children(self._renew)
        self._dim = int(in_halves(["a photo"], self._encode_texts).shape[1])
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
                with enough_memory():
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


def devices_of(device: str) -> list[str]:
    """Name each of the devices that are asked for at once; not whether they are there."""
    if device != "cuda:all":
        return [one.strip() for one in device.split(",")]
    import torch

    return [f"cuda:{number}" for number in range(torch.cuda.device_count())] or ["cuda"]


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
        raise ModelError(f'device "{device}" is not known; use auto, cpu, cuda or cuda:0')
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ModelError(f"device {device} was asked for, but torch sees no such GPU; use cpu")
    return chosen


def _unit_rows(rows: "torch.Tensor") -> Vectors:
    rows = rows.float()  # (n, dim)
    rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-12)
    return cast(Vectors, rows.cpu().numpy())
