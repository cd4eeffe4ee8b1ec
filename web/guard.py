"""Who may ask and how much may be sent: host names, origins, token, sizes, security headers."""

import ipaddress
from collections.abc import Collection
from contextlib import suppress
from math import ceil
from typing import Final
from urllib.parse import quote, urlsplit

from fastapi import HTTPException
from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from web.answers import failure, wants_page
from web.sessions import COOKIE, is_session, same
from web.shapes import MAX_UPLOAD
from web.tries import Tries

# what is answered without a token
OPEN_PATHS: Final = frozenset({"/login", "/language", "/healthz", "/readyz"})
READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})  # methods that change nothing
MAX_OPEN: Final = 64 * 2**10  # bytes of a request that needs no token: a form of a few fields
MAX_HELD: Final = 256 * 2**20  # bytes sent with all requests that are being answered
TOO_LARGE: Final = f"the upload is larger than {MAX_UPLOAD // 2**20} MiB; send a smaller picture"
_TOO_LONG: Final = f"this form is longer than the {MAX_OPEN // 2**10} KiB that are taken here"
HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "private, no-cache",
}


class Guard:
    """ASGI middleware in front of every route.

    A request passes when its Host is an address, a name of this machine or one of
    ``allowed_hosts`` (a web page elsewhere cannot then read the library by DNS rebinding), when
    it carries the token where one is set, when no page of another origin than
    ``allowed_origins`` makes a browser send something, and when its body is no larger than
    MAX_UPLOAD, or MAX_OPEN where no token is needed. HEAD is answered as GET without the body. Each
    answer gets the security headers.
    """

    def __init__(
        self,
        app: ASGIApp,
        token: str | None = None,
        allowed_hosts: Collection[str] = (),
        allowed_origins: Collection[str] = (),
        tries: Tries | None = None,
    ) -> None:
        self._app = app
        self._token = token
        self._names = {"localhost", *(host.lower() for host in allowed_hosts)}
        self._origins = frozenset(allowed_origins)
        self._tries = tries or Tries()
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        send = _sealed(send, without_body=scope["method"] == "HEAD")
        request = HTTPConnection(scope)
        refused = self._refuses(request)
        if refused is not None:
            return await refused(scope, receive, send)
        if scope["method"] != "HEAD":
            return await self._pass_on(scope, receive, send)
        inner = {**scope, "method": "GET"}
        try:
            await self._pass_on(inner, receive, send)
        finally:
            if "route" in inner:  # for who counts, further out
                scope["route"] = inner["route"]

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count what arrives, whatever the request declared; the route then fails."""
        received = 0
        most, line = _limit(scope["path"])

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            size = len(message.get("body", b""))
            received += size
            self._held += size
            if received > most:
                raise HTTPException(413, line)
            if self._held > MAX_HELD:
                full = "too much is being sent to this server at once; send it again"
                raise HTTPException(503, full, {"retry-after": "5"})
            return message

        try:
            with suppress(ClientDisconnect):  # nobody is there to be answered
                await self._app(scope, counted, send)
        finally:
            self._held -= received

    def _refuses(self, request: HTTPConnection) -> Response | None:
        """Give the answer to a request that must not pass; None lets it through."""
        host = host_name(request.headers.get("host", ""))
        if not self._answers_for(host, request):
            shown = host.encode("ascii", "replace").decode()[:100]
            line = (
                f'this server does not answer for the host name "{shown}"; use its address, '
                'or start "searchx serve" with this name as --allow-host'
            )
            return failure(request, 400, line)
        if request.scope["method"] not in READING and not self._is_wanted(request):
            line = "another website made your browser send this; use the page of this server"
            return failure(request, 403, line)
        path: str = request.scope["path"]
        most, line = _limit(path)
        if _declared_size(request.headers) > most:
            return failure(request, 413, line)
        if self._token is None or path in OPEN_PATHS or path.startswith("/static/"):
            return None
        return self._unauthorised(request, self._token)

    def _answers_for(self, host: str, request: HTTPConnection) -> bool:
        server: tuple[str, int | None] | None = request.scope.get("server")
        if "*" in self._names or host in self._names or host.endswith(".localhost"):
            return True
        return _is_address(host) or (server is not None and host == server[0].lower())

    def _is_wanted(self, request: HTTPConnection) -> bool:
        """Tell whether no page of another origin is behind a request.

        Browsers say so themselves; programs say nothing, and have no cookies to misuse.
        """
        origin = request.headers.get("origin")
        if origin is not None and (origin in self._origins or "*" in self._origins):
            return True
        site = request.headers.get("sec-fetch-site")
        if site is not None:  # what browsers send to https and to this machine
            return site in ("same-origin", "none")
        return origin is None or _authority(origin) == request.headers.get("host", "").lower()

    def _unauthorised(self, request: HTTPConnection, token: str) -> Response | None:
        """Give the answer to who does not know the token; None to who does."""
        if is_session(request.cookies.get(COOKIE, ""), token):
            return None
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            client = client_of(request)
            if wait := self._tries.wait(client):
                return hurried(request, wait)
            if same(given.strip(), token):
                return None
            self._tries.failed(client)
        return _login_needed(request)


def client_of(request: HTTPConnection) -> str:
    """Give the address that a request comes from."""
    return request.client.host if request.client is not None else ""


def hurried(request: HTTPConnection, seconds: float) -> Response:
    """Answer who has guessed wrong too often."""
    line = f"too many wrong tokens came from your address; wait {ceil(seconds)} s and try again"
    answer = failure(request, 429, line)
    answer.headers["retry-after"] = str(ceil(seconds))
    return answer


def host_name(header: str) -> str:
    """Give the name or address of a Host header, without port and brackets, in lower case."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower().rstrip(".")


def secured(response: Response) -> Response:
    """Add the security headers to an answer that is made outside the guard."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def _authority(origin: str) -> str | None:
    """Give the host and port of an origin; None where it has none, as "null"."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _limit(path: str) -> tuple[int, str]:
    """Tell how many bytes may be sent to a path, and the line for who sends more."""
    return (MAX_OPEN, _TOO_LONG) if path in OPEN_PATHS else (MAX_UPLOAD, TOO_LARGE)


def _declared_size(headers: Headers) -> int:
    declared = headers.get("content-length", "0")
    is_number = declared.isascii() and declared.isdigit() and len(declared) < 20
    return int(declared) if is_number else 0


def _login_needed(request: HTTPConnection) -> Response:
    path: str = request.scope["path"]
    if request.scope["method"] in ("GET", "HEAD") and wants_page(request):
        query = request.scope["query_string"].decode("latin-1")
        asked = quote(path) + ("?" + query if query else "")
        return RedirectResponse("/login?next=" + quote(asked, safe=""), 303)
    line = 'a token is needed; send it as "Authorization: Bearer TOKEN" or log in at /login'
    refused = failure(request, 401, line)
    refused.headers["www-authenticate"] = "Bearer"
    return refused


def _sealed(send: Send, without_body: bool) -> Send:
    """Add the headers to an answer, and take its body away where HEAD asked for none."""

    async def sealed(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        elif message["type"] == "http.response.body" and without_body:
            message = {**message, "body": b""}
        await send(message)

    return sealed
