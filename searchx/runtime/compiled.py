"""A prepared model as an encoder: the vectors of torch's, several times as fast on a processor."""

import math
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, cast

import numpy as np
from filelock import FileLock, Timeout

from searchx.errors import BadInput
from searchx.records import Pixels, Space, Vectors
from searchx.runtime.entries import IMAGES, TEXTS, TOKENIZER, read_manifest
from searchx.runtime.openvino import core
from searchx.runtime.wording import TokenRows, Words

# Weights of a tower up to which each core computes a part by itself. Pictures come many at a time;
# a text is mostly a query, and whoever asked it waits.
_SMALL_FOR_IMAGES: Final = 100_000_000
_SMALL_FOR_TEXTS: Final = 20_000_000
_TEXTS: Final = 32  # that one core computes at a time
_IMAGES: Final = 1  # what one core has in its cache counts most
_IMAGES_OF_MANY_WEIGHTS: Final = 16  # they are read from memory for each call
_MANY_WEIGHTS: Final = 30_000_000
_BATCH: Final = 16  # images for each core, of which the last ones wait for the slowest core
_PATIENCE: Final = 30.0  # seconds


class CompiledEncoder:
    """A model that was prepared before. Each tower is loaded when it is first asked for."""

    def __init__(self, name: str, place: Path, *, is_half: bool = False) -> None:
        """Read an entry; raises ValueError or OSError where it cannot be read.

        `is_half`: compute pictures in bfloat16, which a processor has to have.
        """
        entry = read_manifest(place)
        self.tower = place / IMAGES  # that computes pictures
        self.space = Space(name, entry.digest, entry.dim)
        self.fit = entry.fit
        self.text_limit = entry.wording.limit
        self.pairing = entry.pairing
        self.is_half = is_half
        self.runtime = "OpenVINO, half precision" if is_half else "OpenVINO"
        self._words = Words(entry.wording, (place / TOKENIZER).read_text(encoding="utf-8"))
        self._image_weights = entry.image_weights
        has_small_texts = entry.text_weights <= _SMALL_FOR_TEXTS
        self._images = _images(place / IMAGES, entry.image_weights, is_half)
        self._texts = _Tower(place / TEXTS, has_small_texts, _TEXTS)
        self.batch_size = _BATCH * self._images.lanes

    def embed_images(self, pixels: Sequence[Pixels]) -> Vectors:
        """Embed fitted pictures: n of them to (n, dim) unit rows, in order.

        Raises BadInput for pixels that ``fit`` did not give.
        """
        if not pixels:
            return np.empty((0, self.space.dim), np.float32)
        expected = (*self.fit.size, 3)
        for one in pixels:
            if one.shape != expected or one.dtype != np.uint8:
                raise BadInput(
                    f"pixels are {one.dtype} {one.shape}, the encoder takes uint8 {expected}; "
                    "give it what encoder.fit(picture) gives"
                )
        return self._images.rows(np.stack(pixels))

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Embed texts: n of them to (n, dim) unit rows, in order; a text too long is cut."""
        if not texts:
            return np.empty((0, self.space.dim), np.float32)
        starts = range(0, len(texts), 256)
        return np.concatenate(
            [self._texts.rows(self._words(texts[at : at + 256])) for at in starts]
        )

    def tokens(self, texts: Sequence[str]) -> TokenRows:
        """Give the tokens of some texts, as the text tower takes them."""
        return self._words(texts)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text, special ones included and nothing cut."""
        return self._words.count(texts)

    def seeing_by(self, tower: Path, space: Space, runtime: str) -> "CompiledEncoder":
        """Give an encoder like this one, but for the image tower, which is another of its kind."""
        other = copy(self)
        other.tower, other.space, other.runtime = tower, space, runtime
        other.is_half = False
        other._images = _images(tower, self._image_weights, is_half=False)
        return other


def _images(file: Path, weights: int, is_half: bool) -> "_Tower":
    together = _IMAGES_OF_MANY_WEIGHTS if weights > _MANY_WEIGHTS else _IMAGES
    return _Tower(file, weights <= _SMALL_FOR_IMAGES, together, is_half)


class _Tower:
    """One tower: small ones compute several parts of a batch side by side, each on one core."""

    def __init__(self, file: Path, is_small: bool, together: int, is_half: bool = False) -> None:
        self._file = file
        self._precision = "bf16" if is_half else "f32"
        self._cores = _cores()
        self.lanes = self._cores if is_small else 1
        self._together = together if self.lanes > 1 else max(together, 16)
        self._loading = threading.Lock()
        self._requests: SimpleQueue[Any] | None = None
        self._threads = ThreadPoolExecutor(self.lanes, "computing")

    def rows(self, batch: "np.ndarray[Any, Any]") -> Vectors:
        """Compute the unit rows (n, dim) of a batch (n, …)."""
        if self._requests is None:
            self._load()
        size = max(1, min(self._together, math.ceil(len(batch) / self.lanes)))
        parts = [batch[at : at + size] for at in range(0, len(batch), size)]
        if len(parts) == 1:
            return self._computed(batch)
        return np.concatenate(list(self._threads.map(self._computed, parts)))

    def _computed(self, part: "np.ndarray[Any, Any]") -> Vectors:
        with self._request() as request:
            return cast(Vectors, request.infer({0: part}, share_inputs=True)[0].copy())

    @contextmanager
    def _request(self) -> Iterator[Any]:
        requests = cast("SimpleQueue[Any]", self._requests)
        request = requests.get()
        try:
            yield request
        finally:
            requests.put(request)

    def _load(self) -> None:
        with self._loading:
            if self._requests is not None:
                return
            settings = {
                "NUM_STREAMS": self.lanes,
                "INFERENCE_NUM_THREADS": self._cores,
                "INFERENCE_PRECISION_HINT": self._precision,  # else what the processor likes best
                "ENABLE_CPU_PINNING": False,  # decoding, or another process, is on those cores
            }
            with self._reusing() as reused:
                model = core().compile_model(str(self._file), "CPU", settings | reused)
            requests: SimpleQueue[Any] = SimpleQueue()
            for _ in range(self.lanes):
                requests.put(model.create_infer_request())
            self._requests = requests

    @contextmanager
    def _reusing(self) -> Iterator[dict[str, str]]:
        """Have OpenVINO keep what it makes of a tower, without its weights, for the next process.

        It does not expect others to do so at the same time; they wait.
        """
        place = self._file.with_name("compiled")
        lock = FileLock(place.with_suffix(".lock"), timeout=_PATIENCE)
        try:
            lock.acquire()
        except (OSError, Timeout):
            yield {}
            return
        try:
            yield {"CACHE_DIR": str(place), "CACHE_MODE": "OPTIMIZE_SIZE"}
        finally:
            lock.release()


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
