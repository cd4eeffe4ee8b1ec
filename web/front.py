"""What every request goes through first: it is numbered, counted, timed, logged, or turned away."""

import json
import re
import secrets
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, TypeAlias

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from web.answers import failure
from web.guard import secured
from web.metrics import Metrics

Log: TypeAlias = Callable[[Mapping[str, object]], None]
MOST_AT_ONCE: Final = 512  # requests of one process that are at work or wait for a thread
SECONDS_TO_WAIT: Final = "2"  # before who was turned away asks again
_ALWAYS: Final = ("/healthz", "/readyz", "/metrics", "/static/")
_ID: Final = re.compile(r"[\w.:/+=-]{1,64}", re.ASCII)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Front:
    """ASGI middleware around everything else.

    Beyond `most` requests at one time the next is answered with 503 at once, except those about
    the state of the service. Each answer has an ``x-request-id``: that of the request, or a new
    one. `log` is told of each request when it is answered; never what was asked, unless
    `with_queries`.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        log: Log | None = None,
        with_queries: bool = False,
        most: int = MOST_AT_ONCE,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._log = log
        self._with_queries = with_queries
        self._most = most
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        began = time.perf_counter()
        name = _id_of(Headers(scope=scope).get("x-request-id", ""))
        status = 500  # where the answer is made further out, after an error that nobody expected

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = name
                if status == 503:
                    headers.setdefault("retry-after", SECONDS_TO_WAIT)
            await send(message)

        self._metrics.began()
        self._running += 1
        try:
            await self._answer(scope, receive, noting)
        finally:
            self._running -= 1
            self._note(scope, name, status, time.perf_counter() - began)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._running > self._most and not scope["path"].startswith(_ALWAYS):
            line = "too many requests are waiting; ask again in a moment"
            busy = secured(failure(HTTPConnection(scope), 503, line))
            return await busy(scope, receive, send)
        return await self._app(scope, receive, send)

    def _note(self, scope: Scope, name: str, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = str(getattr(scope.get("route"), "path", "other"))
        self._metrics.answered(method, route, status, seconds)
        if self._log is None:
            return
        line: dict[str, object] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "id": name,
            "method": method,
            "route": route,
            "status": status,
            "milliseconds": round(1000 * seconds, 1),
            "client": (scope.get("client") or ("",))[0],
        }
        if self._with_queries:
            line["query"] = QueryParams(scope["query_string"]).get("q", "")
        self._log(line)


def to_stderr(line: Mapping[str, object]) -> None:
    """Write one line of JSON for people and machines that watch a service."""
    sys.stderr.write(json.dumps(line) + "\n")
    sys.stderr.flush()


def _id_of(given: str) -> str:
    return given if _ID.fullmatch(given) else secrets.token_hex(8)
