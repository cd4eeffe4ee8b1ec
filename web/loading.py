"""Load the model while the server answers already."""

import threading
from collections.abc import Callable

from searchx.errors import SearchxError
from searchx.search import Library


class Loading:
    """Brings a library into the state in which no query waits for anything but its own work.

    `failed` is told, in the thread that loads, why the model cannot be had.
    """

    def __init__(
        self, library: Library, failed: Callable[[SearchxError], None] | None = None
    ) -> None:
        self._library = library
        self._failed = failed
        self._error: SearchxError | None = None

    def start(self) -> None:
        """Load in the background what is not there yet."""
        if not self._library.is_loaded:
            threading.Thread(target=self._load, name="loading", daemon=True).start()

    def waits_for(self) -> str | None:
        """Tell why queries cannot be answered yet; None where they can."""
        if self._error is not None:
            return str(self._error)
        return None if self._library.is_loaded else "the model is still being loaded"

    def _load(self) -> None:
        try:
            self._library.ask("a photo", 1)  # reads model, index and what is usual in the library
        except SearchxError as error:
            self._error = error
            if self._failed is not None:
                self._failed(error)
