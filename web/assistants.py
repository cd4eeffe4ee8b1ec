"""Assistants ask over HTTP: /mcp, streamable HTTP without sessions."""

import threading
from typing import TYPE_CHECKING, Any

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from searchx.search import Library
from web.answers import failure

if TYPE_CHECKING:
    from mcp.server import MCPServer


class Assistants:
    """The ASGI application at /mcp; the SDK is loaded by the first request.

    Every request is answered by itself, as JSON, so that any of several workers can answer it and
    nothing is kept for who never comes back. There is no stream to listen to: GET gets 405, which
    clients take for that. Who may ask is the guard's affair, also for host names.
    """

    def __init__(self, library: Library) -> None:
        self._library = library
        self._made: MCPServer[Any] | None = None
        self._making = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            line = f"{scope['method']} is not taken at /mcp; assistants use POST"
            refused = failure(Request(scope), 405, line)
            refused.headers["allow"] = "POST"
            await refused(scope, receive, send)
            return
        server = await run_in_threadpool(self._server)  # the SDK takes a while the first time
        from mcp.server.transport_security import TransportSecuritySettings

        server.streamable_http_app(
            json_response=True,
            stateless_http=True,
            transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        )
        manager = server.session_manager  # made by the line above, for this request alone
        async with manager.run():
            await manager.handle_request(scope, receive, send)

    def _server(self) -> "MCPServer[Any]":
        import mcp.server.transport_security  # noqa: F401  # loaded here, not on the event loop

        from web.mcp import create_server

        with self._making:
            if self._made is None:
                self._made = create_server(self._library)
            return self._made
