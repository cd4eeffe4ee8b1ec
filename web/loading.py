"""Load the model while the server answers already."""

import threading
import time
from collections.abc import Callable
from typing import Final

from searchx.errors import ModelError, SearchxError, SpaceMismatch
from searchx.search import Library

AGAIN: Final = 5.0  # seconds after which it is tried again, where that can help
_WAITING: Final = "the model is still being loaded"


class Loading:
    """Brings a library into the state in which no query waits for anything but its own work.

    `failed` is told, in the thread that loads, why the model cannot be had, and `loaded` that all
    is there. What else may fail, such as a library that has nothing in it yet, is tried again when
    somebody asks whether the server is ready, `again` seconds after it failed.
    """

    def __init__(
        self,
        library: Library,
        failed: Callable[[SearchxError], None] | None = None,
        loaded: Callable[[], None] | None = None,
        again: float = AGAIN,
    ) -> None:
        self._library = library
        self._failed = failed
        self._loaded = loaded
        self._again = again
        self._error: Exception | None = None
        self._ended = 0.0
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def start(self) -> None:
        """Load in the background what is not there yet."""
        with self._starting:
            if not self._library.is_loaded:
                self._begin()

    def waits_for(self) -> str | None:
        """Tell why queries cannot be answered yet; None where they can."""
        with self._starting:
            error = self._error
            is_loading = self._thread is not None and self._thread.is_alive()
            if error is None:
                return _WAITING if is_loading or not self._library.is_loaded else None
            if not is_loading and time.monotonic() - self._ended >= self._again:
                self._begin()
                is_loading = True
            return _WAITING if is_loading else _said(error)

    def _begin(self) -> None:
        self._thread = threading.Thread(target=self._load, name="loading", daemon=True)
        self._thread.start()

    def _load(self) -> None:
        try:
            self._library.ask("a photo", 1)  # reads model, index and what is usual in the library
            self._error = None
            if self._loaded is not None:
                self._loaded()
        except (ModelError, SpaceMismatch) as error:
            self._error = error
            if self._failed is not None:
                self._failed(error)
        except SearchxError as error:
            self._error = error
        except Exception as error:
            self._error = error
            raise  # to where threads tell what broke them
        finally:
            self._ended = time.monotonic()


def _said(error: Exception) -> str:
    if isinstance(error, SearchxError):
        return str(error)
    name = type(error).__name__
    return f"the model could not be loaded ({name}); the server's output has the details"
