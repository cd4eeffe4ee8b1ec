"""A really served application, and clients that misbehave on its socket."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import uvicorn
from starlette.types import ASGIApp

from web import limits
from web.limits import Limits

Address = tuple[str, int]


@contextmanager
def served(
    application: ASGIApp,
    bounds: Limits = limits.DEFAULT,
    proxies: tuple[str, ...] = (),
    beside: tuple[socket.socket, ...] = (),
) -> Iterator[Address]:
    """Serve on a free port of this machine, and on sockets beside it, as the command does."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = limits.config(
        application, proxies, bounds, log_level="critical", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener, *beside],), daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    yield listener.getsockname()
    server.should_exit = True
    thread.join(timeout=20)
    listener.close()


@contextmanager
def connected(address: Address, seconds: float = 30.0) -> Iterator[socket.socket]:
    with socket.create_connection(address, timeout=seconds) as client:
        yield client


def said(client: socket.socket) -> bytes:
    """Give all that the server says until it closes the connection."""
    parts = []
    with suppress(ConnectionResetError):
        while part := client.recv(65536):
            parts.append(part)
    return b"".join(parts)


def exchanged(address: Address, request: bytes, seconds: float = 30.0) -> bytes:
    """Send a request as it stands, and give the answer; the server closes the connection."""
    with connected(address, seconds) as client:
        with suppress(BrokenPipeError, ConnectionResetError):
            client.sendall(request)
        return said(client)


def status_of(answer: bytes) -> int:
    """Give the status of an answer; 0 where there is none."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def lines(first: str, *headers: str) -> bytes:
    """Write the head of a request that asks for the connection to be closed."""
    return "\r\n".join([first, "Host: 127.0.0.1", "Connection: close", *headers, "", ""]).encode()
