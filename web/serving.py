"""Answer over a socket: the address is taken first, then the application runs on it."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from searchx.errors import BadInput
from searchx.search import Library
from web.access import Access


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Take the address before the model is loaded, so that it is known at once if it is taken.

    Raises BadInput.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise BadInput(
            f"{host} port {port} cannot be used ({error.strerror or error}); "
            "choose another with --port or --host"
        ) from None
    with listener:
        yield listener


def serve(library: Library, listener: socket.socket, access: Access) -> None:
    """Answer on the socket until the process is told to stop."""
    import uvicorn

    from web import limits
    from web.app import create_app

    application = create_app(
        library,
        token=access.token,
        allowed_hosts=access.names,
        allowed_origins=access.origins,
    )
    config = limits.config(
        application, access.proxies, log_level="warning", timeout_graceful_shutdown=5
    )
    uvicorn.Server(config).run(sockets=[listener])


def address(listener: socket.socket) -> str:
    """Give the URL of a socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
