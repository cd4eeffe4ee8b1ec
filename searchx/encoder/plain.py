"""Models computed by torch: on a GPU, and where a model cannot be prepared for the processor.

torch and timm are imported inside, so that nothing that merely names a model pays for them.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from searchx import towers
from searchx.encoder.devices import choose_device, half_on
from searchx.encoder.feeding import Feed
from searchx.encoder.names import Announce
from searchx.encoder.sizing import BatchSize
from searchx.encoder.weights import digest_of, load_open_clip
from searchx.errors import BadInput
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
_BATCH: Final = 16  # images, on a processor
_TOGETHER: Final = 4  # batches in one call to a GPU: one is copied while another is computed
_SETTING: Final = threading.Lock()  # of torch's number of threads, which is read and set back


class OpenClipEncoder:
    """Any model that open_clip can load: https://github.com/mlfoundations/open_clip.

    Preprocessing comes with the weights. Half precision is used on a GPU, see `half_on`. `announce`
    is told, in one line, before anything is downloaded.
    """

    def __init__(
        self,
        name: str,
        device: str = "auto",
        announce: Announce | None = None,
        runtime: str = "torch",
    ) -> None:
        import torch

        self.runtime = runtime
        self._device = choose_device(device)
        self.device = self._device.type
        self._half = half_on(self._device)
        self._model, self._tokenizer = _load_mapped(name, announce)
        self._tokens = Tokens(self._model, self._tokenizer)
        self._begin()
        self._sees = False  # whether the image tower is in its working form
        self._model.eval().requires_grad_(False)
        with enough_memory():
            towers.materialise_texts(self._model, self._device)
        digest = digest_of(self._model.state_dict(), self._model.visual.preprocess_cfg)
        self.pairing = _pairing_of(self._model)
        # Kept: to bring them to a GPU with every batch would wait for it, and cannot be recorded.
        self._scales = _scales(self._model, torch.empty(0, device=self._device))
        towers.release(self._model)
        self._has_small_texts = towers.size_of_texts(self._model) <= _SMALL
        self._has_small_images = towers.size_of_images(self._model) <= _SMALL
        renew_in_children(self._renew)
        self._dim = int(in_halves(["a photo"], self._encode_texts).shape[1])
        self.space = Space(name, digest, self._dim)
        self.fit = Fitting.of(self._model.visual.preprocess_cfg)
        self.text_limit = self._tokens.limit
        self._size = BatchSize() if self.device == "cuda" else BatchSize(_BATCH, _BATCH)
        self._feed = Feed(self._device, self._seen) if self.device == "cuda" else None

    @property
    def batch_size(self) -> int:
        """Images that are best embedded in one call; fewer once there was no memory for them."""
        return self._size.now * (1 if self._feed is None else _TOGETHER)

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
        """Take fewer pictures at a time from now on: there is no memory for them."""
        with self._lock:
            self._size.limit(min(count, self._size.now // 2))
            if self._feed is not None:
                self._feed.let_go()

    def _encode_images(self, pixels: Sequence[Pixels]) -> Vectors:
        import torch

        if self._feed is not None:
            return self._fed(self._feed, pixels)
        batch = torch.from_numpy(np.stack(pixels))  # (n, height, width, 3)
        is_little = len(pixels) <= _FEW_IMAGES and self._has_small_images
        return self._computed(lambda: self._seen(batch), is_little)

    def _fed(self, feed: Feed, pixels: Sequence[Pixels]) -> Vectors:
        with self._lock:
            began = time.perf_counter()
            rows = feed.rows(pixels, self._size.now, is_lasting=self._size.is_settled)
            self._size.took(len(pixels), time.perf_counter() - began)
        return rows

    def _seen(self, pixels: "torch.Tensor") -> "torch.Tensor":
        """Compute the unit rows (n, dim) of pictures (n, height, width, 3), both on the device."""
        with self._precisely():
            return _unit(self._model.encode_image(_scaled(pixels.float(), *self._scales)))

    def _encode_texts(self, texts: Sequence[str]) -> Vectors:
        tokens = self._tokens(texts)  # (n, used)
        is_little = len(texts) <= _FEW_TEXTS and self._has_small_texts

        def read() -> "torch.Tensor":
            with self._precisely():
                return _unit(self._model.encode_text(tokens.to(self._device)))

        return self._computed(read, is_little)

    def _open_eyes(self) -> None:
        """Bring the image tower into memory before the first picture."""
        import torch

        with self._loading:
            if not self._sees:
                visual = self._model.visual.float()
                if hasattr(visual, "trunk"):
                    _make_fast(visual.trunk)
                is_flat = all(one.dim() < 5 for one in visual.parameters())  # and no video
                layout = torch.channels_last if is_flat else torch.preserve_format
                with enough_memory():
                    visual.to(self._device, memory_format=layout)
                self._sees = True

    def _computed(self, work: Callable[[], "torch.Tensor"], is_little: bool) -> Vectors:
        """Compute rows: much with all of torch's threads, little with one.

        Several stand at barriers where others use the cores.
        """
        if is_little and self.device == "cpu":
            return self._alone.submit(_fetched, work).result()
        with self._lock:
            return _fetched(work)

    @contextmanager
    def _precisely(self) -> Iterator[None]:
        """Compute without gradients, in half precision where that is used."""
        import torch

        with (
            torch.inference_mode(),
            torch.autocast(self.device, self._half, enabled=self._half is not None),
        ):
            yield


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
    rows = pixels.float()
    return _scaled(rows, *_scales(model, rows))


def _scales(model: Any, like: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
    """Give the mean and the deviation of each colour, as numbers up to 1, where a tensor is."""
    config = model.visual.preprocess_cfg
    return like.new_tensor(config["mean"]), like.new_tensor(config["std"])


def _scaled(
    rows: "torch.Tensor", mean: "torch.Tensor", deviation: "torch.Tensor"
) -> "torch.Tensor":
    return rows.div_(255).sub_(mean).div_(deviation).permute(0, 3, 1, 2)


def _make_fast(trunk: Any) -> None:
    """Fold normalisation and parallel branches into single convolutions, where timm knows how.

    Attention with a table of biases runs plainly: PyTorch's fused one takes a slow path for it.
    """
    from timm.utils.model import reparameterize_model

    reparameterize_model(trunk, inplace=True)
    for part in trunk.modules():
        if hasattr(part, "attention_biases"):
            part.fused_attn = False


def _unit(rows: "torch.Tensor") -> "torch.Tensor":
    import torch

    return torch.nn.functional.normalize(rows.float(), dim=1)  # (n, dim)


def _fetched(work: Callable[[], "torch.Tensor"]) -> Vectors:
    return cast(Vectors, work().cpu().numpy())
