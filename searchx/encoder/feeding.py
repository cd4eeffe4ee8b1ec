"""Pictures on their way through an image tower on a GPU, which is to wait for nothing.

While one batch is computed, the next one is gathered in memory that the GPU reads by itself
(pinned), and copied on a stream of its own. Full batches are replayed as a CUDA graph, which starts
hundreds of small kernels at once, where that gives the same rows in less time. See "Asynchronous
execution" and "CUDA Graphs" in https://docs.pytorch.org/docs/stable/notes/cuda.html.

All of it runs on a processor as well, where nothing is pinned, recorded or done at once.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import numpy as np

from searchx.records import Pixels, Vectors

if TYPE_CHECKING:
    import torch

_LOG: Final = logging.getLogger(__name__)
_LEAST: Final = 0.9999  # cosine between rows that are replayed and computed, as of any runtime
_GAIN: Final = 1.05
_TRIES: Final = 3
_RECORDS: Final = "2.14"  # torch from which on a recording that fails leaves nothing behind
_RECORDING: Final = threading.Lock()  # one in a process: it must not be waited for meanwhile

Compute: TypeAlias = "Callable[[torch.Tensor], torch.Tensor]"


class Feed:
    """Feeds one image tower, one call at a time.

    `compute` turns uint8 pictures (n, height, width, 3) on the device into unit rows (n, dim)
    there, without waiting for them.
    """

    def __init__(self, device: "torch.device", compute: Compute) -> None:
        import torch

        self._device = device
        self._compute = compute
        self._streams: Any = torch.get_device_module(device)
        self._pair: tuple[_Buffer, _Buffer] | None = None
        self._recorded: Recorded | None = None
        self._is_tried = False

    def rows(self, pixels: Sequence[Pixels], size: int, *, is_lasting: bool = False) -> Vectors:
        """Compute the unit rows (n, dim) of fitted pictures, `size` at a time.

        `is_lasting` tells that further calls will be of this size.
        """
        import torch

        with torch.inference_mode(), self._here():
            pair = self._buffers(pixels[0].shape, min(size, len(pixels)))
            made = []
            for number, start in enumerate(range(0, len(pixels), size)):
                buffer = pair[number % 2]
                batch = buffer.sent(pixels[start : start + size])
                if is_lasting and len(batch) == size:
                    self._record(batch)
                made.append(self._rows(batch))
                buffer.used()
            return cast(Vectors, torch.cat(made).float().cpu().numpy())

    def let_go(self) -> None:
        """Give back what memory is held for batches of one size."""
        self._pair = self._recorded = None
        self._is_tried = False

    def _here(self) -> AbstractContextManager[object]:
        is_cuda = self._device.type == "cuda"
        return self._streams.device(self._device) if is_cuda else nullcontext()

    def _buffers(self, shape: tuple[int, ...], size: int) -> "tuple[_Buffer, _Buffer]":
        if self._pair is None or self._pair[0].size < size:
            self.let_go()
            copying = self._streams.Stream()
            first, second = (_Buffer(self._device, copying, size, shape) for _ in range(2))
            self._pair = first, second
        return self._pair

    def _rows(self, batch: "torch.Tensor") -> "torch.Tensor":
        if self._recorded is not None and self._recorded.size == len(batch):
            return self._recorded(batch)
        return self._compute(batch)

    def _record(self, batch: "torch.Tensor") -> None:
        """Record what is computed for a full batch, once, and use it where that is better."""
        if self._is_tried or self._device.type != "cuda":
            return
        import torch

        self._is_tried = True
        if torch.__version__ < _RECORDS:
            return
        try:  # from a recording that fails, the thread comes back to the stream that it was on
            with _RECORDING, self._streams.stream(self._streams.current_stream()):
                recorded = Recorded(self._compute, batch)
                cosine = min(self._cosine(recorded, one) for one in (batch, ~batch))
                gained = self._seconds(self._compute, batch) / self._seconds(recorded, batch)
        except RuntimeError as error:  # an operator that cannot be recorded, or no memory for it
            _LOG.info("no CUDA graph: %s", next(iter(str(error).splitlines()), ""))
            return
        _LOG.info("a CUDA graph is %.2f x as fast, cosine %.5f", gained, cosine)
        self._recorded = recorded if cosine >= _LEAST and gained >= _GAIN else None

    def _cosine(self, recorded: Compute, batch: "torch.Tensor") -> float:
        """Give the least cosine between rows that are replayed and computed."""
        return float((recorded(batch) * self._compute(batch)).sum(dim=1).min())

    def _seconds(self, compute: Compute, batch: "torch.Tensor") -> float:
        self._streams.synchronize()
        began = time.perf_counter()
        for _ in range(_TRIES):
            compute(batch)
        self._streams.synchronize()
        return time.perf_counter() - began


class _Buffer:
    """Pictures gathered in host memory, from where they are copied to the device."""

    def __init__(
        self, device: "torch.device", copying: Any, size: int, shape: tuple[int, ...]
    ) -> None:
        import torch

        self.size = size
        self._device = device
        self._streams: Any = torch.get_device_module(device)
        self._copying = copying
        self._copied = self._streams.Event()
        self._computed = self._streams.Event()
        is_cuda = device.type == "cuda"
        self._host = torch.empty((size, *shape), dtype=torch.uint8, pin_memory=is_cuda)
        self._pixels = self._host.numpy()

    def sent(self, pixels: Sequence[Pixels]) -> "torch.Tensor":
        """Have pictures copied to the device; what is computed there from now on waits for them."""
        for one in (self._copied, self._computed):  # those that were gathered here before
            one.synchronize()
        np.stack(pixels, out=self._pixels[: len(pixels)])
        with self._streams.stream(self._copying):
            batch = self._host[: len(pixels)].to(self._device, non_blocking=True)
            self._copied.record(self._copying)
        computing = self._streams.current_stream()
        computing.wait_event(self._copied)
        if batch.is_cuda:
            batch.record_stream(computing)  # else its memory is given to the next copy too early
        return batch

    def used(self) -> None:
        """Be told that all is asked for that is computed of them: no more is sent until then."""
        self._computed.record(self._streams.current_stream())


class Recorded:
    """What is computed for a batch of one size, recorded once and replayed at once."""

    def __init__(self, compute: Compute, batch: "torch.Tensor") -> None:
        import torch

        streams: Any = torch.cuda
        self.size = len(batch)
        self._given = batch.clone()
        aside = streams.Stream()
        aside.wait_stream(streams.current_stream())
        with streams.stream(aside):
            for _ in range(_TRIES):  # what libraries set up at first must not be recorded
                compute(self._given)
        streams.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        # The stream that torch has for this is of one device, whichever came first.
        with torch.cuda.graph(self._graph, stream=aside, capture_error_mode="thread_local"):
            self._rows = compute(self._given)

    def __call__(self, batch: "torch.Tensor") -> "torch.Tensor":
        self._given.copy_(batch)
        self._graph.replay()
        return self._rows.clone()
