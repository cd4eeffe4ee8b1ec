"""Answer over a socket: the address is taken first, then the application runs on it."""

import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Final

from searchx.encoder import is_as_at_prompt
from searchx.errors import BadInput, ModelError, SearchxError
from searchx.running import Offer, offered
from searchx.search import Library
from web.access import Access

PATIENCE: Final = 60.0  # seconds that a query waits for a model that is being loaded
_FINISHING: Final = 10  # seconds that running requests have once the server is told to stop
_SECONDS_OF_A_THREAD: Final = 0.0005
_BETWEEN_STARTS: Final = 1.0  # seconds before a process that ended is replaced


@dataclass(frozen=True, slots=True)
class Settings:
    """What a service is asked to be."""

    directory: Path
    access: Access = field(default=Access())
    log_queries: bool = False


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Take the address before the model is loaded, so that it is known at once if it is taken.

    Raises BadInput.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise BadInput(
            f"{host} port {port} cannot be used ({error.strerror or error}); "
            "choose another with --port or --host"
        ) from None
    with listener:
        yield listener


def serve_alone(library: Library, listener: socket.socket, settings: Settings) -> None:
    """Answer on the socket, and this user's other commands as well where no token is asked for."""
    if settings.access.token:
        serve(library, listener, settings)
        return
    with offered(settings.directory) as offer:
        serve(library, listener, settings, offer=offer)


def serve(
    library: Library,
    listener: socket.socket,
    settings: Settings,
    shared: Path | None = None,
    offer: Offer | None = None,
) -> None:
    """Answer on the socket until the process is told to stop, then finish what is running.

    The model is loaded meanwhile; raises what it cannot be had for. Then the `offer` is shown, if
    its answers are those that a command would give by itself.
    """
    import uvicorn

    # Encoding a batch asks for Python's lock some hundred times, and each may wait this long.
    sys.setswitchinterval(_SECONDS_OF_A_THREAD)
    from web import limits
    from web.app import Service, create_app
    from web.front import to_stderr

    failures: list[SearchxError] = []

    def give_up(error: SearchxError) -> None:
        failures.append(error)
        server.should_exit = True

    def show() -> None:
        if offer is not None and is_as_at_prompt(library.encoder):
            offer.show()

    service = Service(to_stderr, settings.log_queries, shared=shared, failed=give_up, loaded=show)
    access = settings.access
    app = create_app(
        library,
        token=access.token,
        allowed_hosts=access.names,
        allowed_origins=access.origins,
        service=service,
    )
    config = limits.config(
        app,
        access.proxies,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=_FINISHING,
    )
    server = uvicorn.Server(config)
    server.run(sockets=[listener] if offer is None else [listener, offer.listener])
    if failures:
        raise failures[0]


def serve_by_several(listener: socket.socket, settings: Settings, workers: int) -> None:
    """Answer on one socket by several processes, each of which has the model.

    One that ends by itself is replaced; raises ModelError where one cannot have the model.
    """
    from web.metrics import shared_with

    with tempfile.TemporaryDirectory(prefix="searchx-") as place:
        counts = Path(place, "metrics")
        counts.mkdir()
        cores = max(1, (os.cpu_count() or 1) // workers)
        with _environment({**shared_with(counts), "OMP_NUM_THREADS": str(cores)}):
            crew = _Crew(listener, settings, Path(place))
            try:
                crew.work(workers)
            finally:
                crew.stop()


class _Crew:
    """The processes of one service."""

    def __init__(self, listener: socket.socket, settings: Settings, shared: Path) -> None:
        self._asked = (listener, settings, shared)
        self._shared = shared
        self._workers: dict[SpawnProcess, Connection] = {}

    def work(self, count: int) -> None:
        """Keep so many at work."""
        while True:
            while len(self._workers) < count:
                self._start()
            wait([one.sentinel for one in self._workers])
            for worker in [one for one in self._workers if not one.is_alive()]:
                self._lay_off(worker)
            time.sleep(_BETWEEN_STARTS)

    def stop(self) -> None:
        """Let all of them finish what they are at."""
        for worker in self._workers:
            worker.terminate()
        until = time.monotonic() + _FINISHING + 5
        for worker in self._workers:
            worker.join(max(until - time.monotonic(), 0))
            if worker.is_alive():
                worker.kill()
                worker.join()

    def _start(self) -> None:
        ours, theirs = multiprocessing.Pipe(duplex=False)
        context = multiprocessing.get_context("spawn")
        worker = context.Process(target=_work, args=(*self._asked, theirs), daemon=True)
        worker.start()
        theirs.close()
        self._workers[worker] = ours

    def _lay_off(self, worker: SpawnProcess) -> None:
        from prometheus_client.multiprocess import mark_process_dead

        said = self._workers.pop(worker)
        mark_process_dead(worker.pid, str(self._shared / "metrics"))  # type: ignore[no-untyped-call]
        try:
            raise ModelError(said.recv())
        except EOFError:  # it had nothing to say: it was killed
            said.close()


def _work(listener: socket.socket, settings: Settings, shared: Path, said: Connection) -> None:
    """Be one of several processes that answer."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        with Library.open(settings.directory, patience=PATIENCE) as library:
            serve(library, listener, settings, shared)
    except KeyboardInterrupt:  # Ctrl-C reaches all of them
        pass
    except SearchxError as error:
        said.send(str(error))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Give processes that are started inside some settings, unless these are set already."""
    added = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def address(listener: socket.socket) -> str:
    """Give the URL of a socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
