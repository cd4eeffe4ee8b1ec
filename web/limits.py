"""How much time and how many bytes a connection may take: what uvicorn leaves open.

uvicorn waits without end for the head of a request, for its body, and for whoever does not read
the answer. Once a second each connection is looked at here, and ended where it is late.
"""

import asyncio
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

import h11
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from web.answers import problem, reason
from web.shapes import MAX_UPLOAD


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection may take."""

    connections: int = 512  # that are answered; who comes then is told to come again
    head_bytes: int = 32 * 2**10  # of the request line and the headers
    head_seconds: float = 10.0  # from the connection, or from the answer before, to their end
    body_bytes: int = 2 * MAX_UPLOAD  # as they are sent, in chunks of any size
    body_seconds: float = 20.0  # and one more for each `body_rate` bytes that have come
    body_rate: int = 16 * 2**10
    read_seconds: float = 30.0  # in which whoever is answered takes some 48 KiB
    linger_seconds: float = 5.0  # for the end of an answer, and of what was refused


DEFAULT: Final = Limits()
_BUSY: Final = "the server has as many connections as it can answer; try again in a moment"
_LARGE: Final = "the headers of the request are too large; send fewer or shorter ones"
_END: Final = re.compile(rb"\n\r?\n")  # of the headers
_LATE: Final = "the request took too long to arrive; send it again"


def config(
    application: ASGIApp, proxies: Collection[str] = (), limits: Limits = DEFAULT, **others: Any
) -> uvicorn.Config:
    """Make the settings of a server that ends what takes too long.

    What a proxy says of the client and its scheme is believed of the addresses in `proxies` only.
    h11 is named on purpose: the other parsers of uvicorn bound no headers.
    """
    protocol = type("BoundedProtocol", (Bounded,), {"limits": limits})
    return uvicorn.Config(
        application,
        http=protocol,
        ws="none",
        h11_max_incomplete_event_size=limits.head_bytes,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies),
        server_header=False,
        **others,
    )


class Bounded(H11Protocol):
    """HTTP/1.1 over one connection that ends in time, whatever the other side does."""

    limits = DEFAULT

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._phase: object = None
        self._since = self.loop.time()  # of the phase
        self._received = 0  # bytes, in the phase
        self._unread: float | None = None  # since when too much waits to be read
        self._tick = min(1.0, self.limits.linger_seconds / 2)
        self._clock = self.loop.call_later(self._tick, self._look)
        if len(self.connections) > 2 * self.limits.connections:
            transport.abort()
        elif len(self.connections) > self.limits.connections:
            self.app = busy

    def connection_lost(self, exc: Exception | None) -> None:
        self._clock.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self._has_large_head(data):
            self.transport.write(_told(431, _LARGE))
            self.transport.close()
            return
        super().data_received(data)
        if self._received > self.limits.body_bytes:
            self.transport.abort()

    def pause_writing(self) -> None:
        self._unread = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._unread = None
        super().resume_writing()

    def _has_large_head(self, data: bytes) -> bool:
        """Tell whether headers are too large that came all at once; h11 refuses those that drip."""
        if self.conn.their_state is not h11.IDLE or len(data) < self.limits.head_bytes:
            return False
        ending = _END.search(self.conn.trailing_data[0] + data)
        return ending is None or ending.start() > self.limits.head_bytes

    def _look(self) -> None:
        """End the connection where it is late."""
        now = self.loop.time()
        self._clock = self.loop.call_later(self._tick, self._look)
        phase = self._phase_now()
        if phase != self._phase:
            self._phase, self._since, self._received = phase, now, 0
        elif self.flow.read_paused and not self.transport.is_closing():
            self._since += self._tick  # it is not the other side that is waited for
        if self._unread is not None and now - self._unread > self.limits.read_seconds:
            self.transport.abort()
        elif now - self._since > self._allowed():
            self._end()

    def _phase_now(self) -> object:
        if self.transport.is_closing():
            return "closing"
        is_answered = self.cycle is not None and self.cycle.response_complete
        return self.conn.their_state, id(self.cycle), is_answered

    def _allowed(self) -> float:
        """Give the seconds that the other side has for what it is at."""
        if self.transport.is_closing():
            return self.limits.linger_seconds
        if self.conn.their_state is h11.IDLE:
            return self.limits.head_seconds
        if self.conn.their_state is not h11.SEND_BODY:
            return float("inf")  # it is for us to answer
        if self.cycle is not None and self.cycle.response_complete:
            return self.limits.linger_seconds  # nobody reads what it goes on sending
        return self.limits.body_seconds + self._received / self.limits.body_rate

    def _end(self) -> None:
        is_sending = self.conn.their_state is h11.SEND_BODY or bool(self.conn.trailing_data[0])
        is_answered = self.conn.their_state is h11.SEND_BODY and self.cycle.response_started
        if self.transport.is_closing() or is_answered:
            self.transport.abort()
            return
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if is_sending:
            self.transport.write(_told(408, _LATE))
        self.transport.close()


async def busy(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer who comes when there are too many."""
    answer = problem(503, _BUSY)
    answer.headers.update({"retry-after": "2", "connection": "close"})
    await answer(scope, receive, send)


def _told(status: int, line: str) -> bytes:
    """Write a whole answer to what is no request yet."""
    body = bytes(problem(status, line).body)
    head = (
        f"HTTP/1.1 {status} {reason(status)}\r\nconnection: close\r\n"
        f"content-type: application/problem+json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body
