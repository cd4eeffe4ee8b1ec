"""A server that this user runs on a library, asked by this user's other commands.

Beside its address it listens on a socket of the system, in a folder that nobody else may enter: who
reaches it may read the library anyway, and the system tells at once whether it is still there. The
name of the socket stands for all that an answer depends on. A server shows it when its model is
loaded.
"""

import hashlib
import json
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from searchx.cache import cache_directory

PATIENCE: Final = 2.0  # seconds that a server may say nothing; loading a model takes about as long
_ROOT: Final = Path(__file__).resolve().parent
_BACKLOG: Final = 64
_STARTING: Final = 60.0  # seconds after which a socket that nobody listens on is left behind


class Unanswered(Exception):
    """A server did not answer as it should; says how."""


def place_of(library: Path) -> Path | None:
    """Give where a server of this library would listen; None where there cannot be one.

    A library that was made anew at the same place, another searchx, and a model that is computed
    in another way each lead to another place.
    """
    if not hasattr(socket, "AF_UNIX"):
        return None
    try:
        catalog, program = (library / "catalog.db").stat(), _ROOT.stat()
        released = version("searchx")
    except (OSError, PackageNotFoundError):
        return None
    told = (
        *(str(library.resolve()), catalog.st_dev, catalog.st_ino),
        *(str(_ROOT), program.st_mtime_ns, released, os.environ.get("SEARCHX_RUNTIME")),
    )
    name = hashlib.blake2b(repr(told).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
    return cache_directory() / "serving" / name


class Offer:
    """A socket that listens already, and is not to be seen yet."""

    def __init__(self, place: Path) -> None:
        """Listen; raises OSError where that cannot be."""
        _make_private(place.parent)
        _sweep(place.parent)
        self._place = place
        self._hidden = place.with_name(f".{place.name[:12]}.{os.getpid()}")
        self._hidden.unlink(missing_ok=True)  # of a process of the same number that was killed
        self.listener = socket.socket(socket.AF_UNIX)
        try:
            self.listener.bind(str(self._hidden))
            self.listener.listen(_BACKLOG)
            self._made = self._hidden.lstat().st_ino
        except OSError:
            self.listener.close()
            raise

    def show(self) -> None:
        """Let it be found from now on, in place of an earlier one."""
        with suppress(OSError):
            self._hidden.replace(self._place)

    def withdraw(self) -> None:
        """Take it away, unless a later one has taken its place."""
        self.listener.close()
        with suppress(OSError):
            self._hidden.unlink(missing_ok=True)
            if self._place.lstat().st_ino == self._made:
                self._place.unlink()


@contextmanager
def offered(library: Path) -> Iterator[Offer | None]:
    """Listen for this user's commands; None where that cannot be: they answer by themselves."""
    place = place_of(library)
    try:
        offer = None if place is None else Offer(place)
    except (OSError, ValueError):  # a path that is too long for a socket among them
        offer = None
    try:
        yield offer
    finally:
        if offer is not None:
            offer.withdraw()


def is_running(place: Path) -> bool:
    """Tell whether a server of this user may listen there."""
    try:
        return place.is_socket() and _is_private(place.parent)
    except OSError:
        return False


def answered(place: Path, path: str, document: dict[str, Any]) -> dict[str, Any]:
    """Ask with POST, once, and give the JSON object that comes back; raises Unanswered."""
    body = json.dumps(document, allow_nan=False).encode("ascii")
    server = _Local(place)
    try:
        server.request("POST", path, body, {"Content-Type": "application/json"})
        response = server.getresponse()
        found = json.loads(response.read())
    except (OSError, HTTPException, ValueError) as error:
        raise Unanswered(str(error) or type(error).__name__) from None
    finally:
        server.close()
    if response.status != 200 or not isinstance(found, dict):
        raise Unanswered(f"HTTP {response.status}")
    return found


class _Local(HTTPConnection):
    def __init__(self, place: Path) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self._place = place

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(str(self._place))


def _sweep(folder: Path) -> None:
    """Remove the sockets of processes that were killed."""
    for left in folder.iterdir():
        with suppress(OSError):
            is_old = time.time() - left.lstat().st_mtime > _STARTING
            if is_old and left.is_socket() and _is_deserted(left):
                left.unlink()


def _is_deserted(place: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(PATIENCE)
        try:
            asking.connect(str(place))
        except ConnectionRefusedError:
            return True
    return False


def _make_private(folder: Path) -> None:
    """Make a folder that only this user may enter; raises OSError where it is another's."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _is_private(folder):
        raise PermissionError(f"{folder} is open to others")


def _is_private(folder: Path) -> bool:
    found = folder.lstat()
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    return is_ours and not found.st_mode & 0o077
