"""What can go wrong, as types. Every message is one line: what, which, what to do.

::

    SearchxError
    ├── BadInput              a file, folder, number or query that cannot be used
    │   └── UnreadableImage   bytes that do not become a picture
    ├── LibraryError          the library directory
    │   ├── NoLibrary         nothing was indexed there yet
    │   ├── LibraryInUse      another process is writing to it
    │   ├── LibraryCorrupt    catalog or snapshot cannot be read
    │   └── LibraryFull       no space or no permission to write
    ├── ModelError            an encoder that cannot be had or loaded
    ├── ServerError           a server that does not answer, or lets nobody in
    └── SpaceMismatch         vectors of two spaces would be compared
"""


class SearchxError(Exception):
    """Root of all errors that searchx raises on purpose; ``str(error)`` is one line for people."""


class BadInput(SearchxError):
    """A file, folder, number or query that cannot be used as it is."""


class UnreadableImage(BadInput):
    """Bytes that do not become a picture: truncated, huge, empty or not an image at all."""


class LibraryError(SearchxError):
    """Something about the library directory."""


class NoLibrary(LibraryError):
    """Nothing was indexed at this place yet."""


class LibraryInUse(LibraryError):
    """Another process is writing to the library, or did not let go of it in time."""


class LibraryCorrupt(LibraryError):
    """The catalog or a snapshot cannot be read."""


class LibraryFull(LibraryError):
    """The library cannot be written: no space left, read-only, or no permission."""


class ModelError(SearchxError):
    """An encoder that is unknown, cannot be had, or cannot be loaded."""


class ServerError(SearchxError):
    """A searchx server that cannot be reached, refuses the token, or fails."""


class SpaceMismatch(SearchxError):
    """Vectors of two spaces would be compared; searchx refuses."""
