"""Who may ask and how much may be sent: host names, token, size limit, security headers."""

import hashlib
import hmac
import ipaddress
from collections.abc import Collection
from urllib.parse import quote

from fastapi import HTTPException
from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from web.answers import failure, wants_page
from web.shapes import MAX_UPLOAD

COOKIE = "searchx_session"
OPEN_PATHS = frozenset({"/login", "/language", "/healthz", "/readyz"})  # answered without a token
TOO_LARGE = f"the upload is larger than {MAX_UPLOAD // 2**20} MiB; send a smaller picture"
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "private, no-cache",
}


class Guard:
    """ASGI middleware in front of every route.

    A request passes when its Host is an address, a name of this machine or one of
    ``allowed_hosts`` (a web page elsewhere cannot then read the library by DNS rebinding), when
    it carries the token where one is set, and when its body is no larger than MAX_UPLOAD.
    HEAD is answered as GET without the body. Each answer gets the security headers.
    """

    def __init__(
        self, app: ASGIApp, token: str | None = None, allowed_hosts: Collection[str] = ()
    ) -> None:
        self._app = app
        self._token = token
        self._names = {"localhost", *(host.lower() for host in allowed_hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        send = _sealed(send, without_body=scope["method"] == "HEAD")
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        refused = self._refuses(HTTPConnection(scope))
        if refused is not None:
            return await refused(scope, receive, send)
        return await self._app(scope, _limited(receive), send)

    def _refuses(self, request: HTTPConnection) -> Response | None:
        """Give the answer to a request that must not pass; None lets it through."""
        host = host_name(request.headers.get("host", ""))
        if not self._answers_for(host, request):
            shown = host.encode("ascii", "replace").decode()[:100]
            line = (
                f'this server does not answer for the host name "{shown}"; '
                'use its address; with a --token, "searchx serve" answers for every name'
            )
            return failure(request, 400, line)
        if _declared_size(request.headers) > MAX_UPLOAD:
            return failure(request, 413, TOO_LARGE)
        path: str = request.scope["path"]
        if self._token is None or path in OPEN_PATHS or path.startswith("/static/"):
            return None
        return None if _has_token(request, self._token) else _unauthorised(request)

    def _answers_for(self, host: str, request: HTTPConnection) -> bool:
        server: tuple[str, int | None] | None = request.scope.get("server")
        if "*" in self._names or host in self._names or host.endswith(".localhost"):
            return True
        return _is_address(host) or (server is not None and host == server[0].lower())


def host_name(header: str) -> str:
    """Give the name or address of a Host header, without port and brackets, in lower case."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower().rstrip(".")


def session_of(token: str) -> str:
    """Give the cookie that stands for a token; the token cannot be read from it."""
    return hmac.new(_bytes(token), b"searchx session", hashlib.sha256).hexdigest()


def same(given: str, expected: str) -> bool:
    """Compare two secrets in a time that tells nothing about where they differ."""
    return hmac.compare_digest(_bytes(given), _bytes(expected))


def secured(response: Response) -> Response:
    """Add the security headers to an answer that is made outside the guard."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def _bytes(secret: str) -> bytes:
    """Spell a secret so that two that differ never look the same, also where it is no text."""
    return secret.encode("utf-8", "surrogatepass")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _declared_size(headers: Headers) -> int:
    declared = headers.get("content-length", "0")
    return int(declared) if declared.isascii() and declared.isdigit() else 0


def _has_token(request: HTTPConnection, token: str) -> bool:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and same(given.strip(), token):
        return True
    return same(request.cookies.get(COOKIE, ""), session_of(token))


def _unauthorised(request: HTTPConnection) -> Response:
    path: str = request.scope["path"]
    if request.scope["method"] == "GET" and wants_page(request):
        asked = path + ("?" + request.url.query if request.url.query else "")
        return RedirectResponse("/login?next=" + quote(asked, safe=""), 303)
    line = 'a token is needed; send it as "Authorization: Bearer TOKEN" or log in at /login'
    refused = failure(request, 401, line)
    refused.headers["www-authenticate"] = "Bearer"
    return refused


def _limited(receive: Receive) -> Receive:
    """Count what arrives, whatever the request declared; the route then fails with 413."""
    received = 0

    async def counted() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > MAX_UPLOAD:
            raise HTTPException(413, TOO_LARGE)
        return message

    return counted


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
