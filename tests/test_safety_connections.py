"""Slow, greedy and malformed clients on a real socket: each is ended, and the others are served."""

import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import Response, StreamingResponse

from tests.served import Address, connected, exchanged, lines, said, served, status_of
from web.limits import Limits

FAST = Limits(
    connections=20,
    head_bytes=8192,
    head_seconds=1.0,
    body_bytes=1 << 20,
    body_seconds=1.0,
    body_rate=1 << 16,
    read_seconds=1.0,
    linger_seconds=0.4,
)
LET_GO = threading.Event()  # of an answer that was not read to its end, or was
WHOLE = lines("GET /hello HTTP/1.1")


def plain_app() -> FastAPI:
    app = FastAPI()

    @app.get("/hello")
    async def hello() -> Response:
        return Response(b"hello")

    @app.get("/large")
    async def large() -> Response:
        async def parts() -> AsyncIterator[bytes]:
            try:
                for _ in range(256):
                    yield bytes(1 << 18)
            finally:
                LET_GO.set()

        return StreamingResponse(parts())

    @app.post("/echo")
    async def echo(request: Request) -> Response:
        return Response(str(len(await request.body())))

    @app.post("/early")
    async def early() -> Response:
        return Response(b"no", 413)

    return app


@pytest.fixture(scope="module")
def address() -> Iterator[Address]:
    with served(plain_app(), FAST) as address:
        yield address


@pytest.fixture(autouse=True)
def still_serves(address: Address) -> Iterator[None]:
    """After every attack the server answers as before."""
    yield
    deadline = time.monotonic() + 20
    while status_of(exchanged(address, WHOLE)) != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def ended_after(client: socket.socket) -> float:
    begun = time.monotonic()
    said(client)
    return time.monotonic() - begun


def test_who_says_nothing_is_disconnected(address: Address) -> None:
    with connected(address) as client:
        assert ended_after(client) < 10


def test_headers_that_drip_are_cut_off(address: Address) -> None:
    with connected(address) as client:
        client.sendall(b"GET /hello HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        answer = b""
        begun = time.monotonic()
        client.settimeout(0.1)
        while time.monotonic() - begun < 20 and not answer:
            try:
                client.sendall(b"X: y\r\n")
                answer = client.recv(4096)
                break
            except TimeoutError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                break
        assert time.monotonic() - begun < 10
        assert not answer or status_of(answer) == 408


def test_headers_that_stop_are_told_so(address: Address) -> None:
    answer = exchanged(address, b"GET /hello HTTP/1.1\r\nHost: 127.0.0.1\r\n")
    assert status_of(answer) == 408
    assert b"application/problem+json" in answer


def test_a_second_request_on_a_connection_may_not_stop_either(address: Address) -> None:
    with connected(address) as client:
        client.sendall(b"GET /hello HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /he")
        answer = said(client)
    assert answer.startswith(b"HTTP/1.1 200") and b"HTTP/1.1 408" in answer


def test_a_body_that_stops_is_told_so(address: Address) -> None:
    answer = exchanged(address, lines("POST /echo HTTP/1.1", "Content-Length: 1000") + b"half")
    assert status_of(answer) == 408


def test_a_body_that_drips_is_cut_off(address: Address) -> None:
    with connected(address) as client:
        client.sendall(lines("POST /echo HTTP/1.1", "Content-Length: 1000"))
        begun = time.monotonic()
        client.settimeout(20)
        try:
            for _ in range(200):
                client.sendall(b"x")
                time.sleep(0.05)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert time.monotonic() - begun < 9


def test_a_body_that_comes_steadily_is_waited_for(address: Address) -> None:
    with connected(address) as client:
        client.sendall(lines("POST /echo HTTP/1.1", "Content-Length: 300000"))
        for _ in range(30):  # 3 s, three times what a body has that stops
            client.sendall(b"x" * 10_000)
            time.sleep(0.1)
        answer = said(client)
    assert answer.endswith(b"300000")


def test_a_body_without_end_is_cut_off(address: Address) -> None:
    with connected(address) as client:
        client.sendall(lines("POST /echo HTTP/1.1", "Transfer-Encoding: chunked"))
        sent = 0
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while sent < 64 << 20:
                client.sendall(b"1\r\nx\r\n" * 4096)
                sent += 6 * 4096
    assert sent < 32 << 20  # what the buffers of the system take included


def test_who_goes_on_sending_after_the_answer_is_cut_off(address: Address) -> None:
    with connected(address) as client:
        client.sendall(lines("POST /early HTTP/1.1", "Transfer-Encoding: chunked"))
        assert status_of(client.recv(4096)) == 413
        begun = time.monotonic()
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while time.monotonic() - begun < 20:
                client.sendall(b"1\r\nx\r\n")
                time.sleep(0.05)
        assert time.monotonic() - begun < 10


def test_who_does_not_read_the_answer_is_disconnected(address: Address) -> None:
    with connected(address) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(lines("GET /large HTTP/1.1"))
        assert LET_GO.wait(15)


def test_who_reads_slowly_is_waited_for(address: Address) -> None:
    with connected(address) as client:
        client.sendall(lines("GET /large HTTP/1.1"))
        taken = 0
        while part := client.recv(1 << 20):
            taken += len(part)
            if taken < 8 << 20:
                time.sleep(0.2)
    assert taken > 64 << 20


def test_large_headers_are_refused(address: Address) -> None:
    for head in (
        lines("GET /hello HTTP/1.1", "X: " + "y" * 100_000),
        lines("GET /hello HTTP/1.1", *(f"X{n}: y" for n in range(10_000))),
        lines("GET /" + "y" * 100_000 + " HTTP/1.1"),
        b"y" * 100_000,
    ):
        assert status_of(exchanged(address, head)) in (0, 400, 431)
    answer = exchanged(address, lines("GET /hello HTTP/1.1", "X: " + "y" * FAST.head_bytes))
    assert status_of(answer) == 431
    assert status_of(exchanged(address, lines("GET /hello HTTP/1.1", "X: " + "y" * 7000))) == 200


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS on a plain port
        b"GET /hello HTTP/9.9\r\n\r\n",
        b"GET  HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /hello HTTP/1.1\r\n\r\n",  # no Host
        b"GET /hello HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nHost: 127.0.0.1\r\nX\0: y\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nHost: 127.0.0.1\r\n X: folded\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        lines("POST /echo HTTP/1.1", "Content-Length: -1"),
        lines("POST /echo HTTP/1.1", "Content-Length: 1", "Content-Length: 2") + b"xx",
        lines("POST /echo HTTP/1.1", "Content-Length: " + "9" * 5000),
        lines("POST /echo HTTP/1.1", "Transfer-Encoding: chunked") + b"zz\r\n",
        lines("POST /echo HTTP/1.1", "Transfer-Encoding: chunked") + b"f" * 20_000,
        lines("POST /echo HTTP/1.1", "Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
        lines("GET /hello HTTP/1.1", "Upgrade: h2c", "Connection: Upgrade"),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_what_is_no_request_gets_no_failure(address: Address, request_: bytes) -> None:
    assert status_of(exchanged(address, request_)) < 500


def test_too_many_connections_are_told_to_come_again(address: Address) -> None:
    with ExitStack() as open_ones:
        for _ in range(FAST.connections):
            open_ones.enter_context(connected(address))
        time.sleep(0.2)
        answer = exchanged(address, WHOLE)
        assert status_of(answer) == 503
        assert b"retry-after: 2" in answer
        many = [open_ones.enter_context(connected(address)) for _ in range(3 * FAST.connections)]
        assert said(many[-1]) == b""  # not even listened to
