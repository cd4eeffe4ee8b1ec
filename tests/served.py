"""A real server on a port of this machine, as `searchx serve` runs one."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from searchx.search import Library
from web import serving
from web.app import create_app


@contextmanager
def served(library: Library, token: str | None = None) -> Iterator[str]:
    """Serve a library until the block ends; gives the address."""
    with serving.listening("127.0.0.1", 0) as listener:
        config = uvicorn.Config(create_app(library, token=token), log_level="warning")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield serving.address(listener)
        finally:
            server.should_exit = True
            thread.join()
