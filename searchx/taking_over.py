"""Load a model that has taken over in an open library, while the one before still answers."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from searchx.catalog import Catalog
from searchx.encoder import Encoder
from searchx.errors import SearchxError
from searchx.records import KINDS, Kind, Space
from searchx.views import View, read_view

AGAIN: Final = 30.0  # seconds after which a model is tried again that could not be loaded
Take: TypeAlias = Callable[[Encoder, Mapping[Kind, View]], None]


class TakingOver:
    """Loads the encoder and the snapshots of a space in a thread, and hands them over together.

    Where the model cannot be had, the one before goes on answering, as long as its space is kept.
    """

    def __init__(
        self, catalog: Catalog, space: Space, load: Callable[[str], Encoder], take: Take
    ) -> None:
        self._catalog = catalog
        self._space = space
        self._load = load
        self._take = take
        self._ended: float | None = None
        self._thread = threading.Thread(target=self._work, name="taking over", daemon=True)
        self._thread.start()

    def is_about(self, space: Space) -> bool:
        """Tell whether a space is taken care of: being loaded, or failed just now."""
        is_over = self._ended is not None and time.monotonic() - self._ended >= AGAIN
        return space == self._space and not is_over

    def wait(self) -> None:
        """Wait until it has ended, be it well or not."""
        self._thread.join()

    def _work(self) -> None:
        try:
            encoder = self._load(self._space.name)
            if encoder.space.digest == self._space.digest:
                encoder.embed_texts(["a photo"])  # the first call takes long
                inner = self._catalog.in_space(self._space)
                self._take(encoder, {kind: read_view(inner, kind) for kind in KINDS})
        except SearchxError:
            return  # tried again; when the space before is dropped, queries tell what is wrong
        finally:
            self._ended = time.monotonic()
