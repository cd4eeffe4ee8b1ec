"""One model on several devices: each computes its share of every batch."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from typing import Final, TypeVar

import numpy as np

from searchx.encoder.plain import OpenClipEncoder
from searchx.errors import ModelError
from searchx.forking import renew_in_children
from searchx.records import Pixels, Vectors

_LEAST: Final = 8  # pictures or texts that a device is given of a batch that is divided
_Item = TypeVar("_Item")


class Sharded:
    """Encoders of the same weights, one on each device. Safe to use from many threads.

    A batch is divided by what the devices take at a time, which is less on one whose memory ran
    out. Little, as it comes from queries, goes to one device after the other.
    """

    def __init__(self, encoders: Sequence[OpenClipEncoder]) -> None:
        first = encoders[0]
        if any(one.space != first.space for one in encoders):
            raise ModelError(f'the weights of "{first.space.name}" changed while they were loaded')
        self._encoders = tuple(encoders)
        self.space = first.space
        self.fit = first.fit
        self.text_limit = first.text_limit
        self.pairing = first.pairing
        self.runtime = first.runtime
        self._turns = cycle(self._encoders)
        self._begin()
        renew_in_children(self._begin)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(len(self._encoders), "device")

    @property
    def batch_size(self) -> int:
        """Images that are best embedded in one call; fewer once there was no memory for them."""
        return sum(one.batch_size for one in self._encoders)

    def embed_images(self, pixels: Sequence[Pixels]) -> Vectors:
        """Embed fitted pictures: n of them to (n, dim) unit rows, in order."""
        return self._divided(pixels, OpenClipEncoder.embed_images)

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Embed texts: n of them to (n, dim) unit rows, in order; a text too long is cut."""
        return self._divided(texts, OpenClipEncoder.embed_texts)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text, special ones included and nothing cut."""
        return self._encoders[0].count_tokens(texts)

    def _divided(
        self,
        items: Sequence[_Item],
        embed: Callable[[OpenClipEncoder, Sequence[_Item]], Vectors],
    ) -> Vectors:
        if len(items) < _LEAST * len(self._encoders):
            with self._lock:
                encoder = next(self._turns)
            return embed(encoder, items)
        sizes = np.cumsum([one.batch_size for one in self._encoders])
        ends = np.rint(len(items) * sizes / sizes[-1]).astype(int).tolist()
        shares = [items[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
        return np.concatenate(list(self._threads.map(embed, self._encoders, shares)))
