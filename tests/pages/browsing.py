"""A real browser on a real server: how the tests of the pages look at them."""

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, Page

from indexer.pipeline import index
from indexer.planning import Options
from searchx.catalog import Catalog
from searchx.search import Library
from tests.colour import ColourEncoder

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), None)
HOSTILE = "<img src=x onerror=document.title=1>.png"
LONG = "long<b>&" * 25  # a word that fits on no line
LONG_WORD = "x" * 400
ITEMS = tuple(f"/items/{number}" for number in range(1, 8))
PLACES = (  # every state of the search that looks like no other
    *("/", "/?q=red", "/?q=red&group=1", "/?q=red&k=2", "/?random=1", "/?q=ext:png"),
    *("/?q=a+dog+without+people", "/?q=red+kind:image|text", "/?q=red+-blue+ext:png"),
)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    # names, as in a home network: browsers send no Sec-Fetch-Site to them over plain HTTP
    "--host-resolver-rules=MAP *.test 127.0.0.1",
]


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """Serve an app on a free port of this machine, and give its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(timeout=20)
    listener.close()


@contextmanager
def library_of(folder: Path, place: Path) -> Iterator[Library]:
    catalog = Catalog.open(place, create=True)
    index([folder], catalog, ColourEncoder(), options=Options(workers=0))
    catalog.close()
    with Library.open(place, encoder=ColourEncoder()) as library:
        yield library


@contextmanager
def watched_page(browser: Browser, address: str, **settings: object) -> Iterator[Page]:
    context = browser.new_context(base_url=address, **settings)  # type: ignore[arg-type]
    page = context.new_page()
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda said: troubles.append(said.text) if said.type == "error" else None)
    page.on(
        "request",
        lambda asked: None if asked.url.startswith(address) else troubles.append(asked.url),
    )
    yield page
    context.close()
    assert troubles == []


def best(page: Page) -> str | None:
    return page.locator(".card img:not(.preview)").first.get_attribute("alt")


def shown(page: Page) -> list[str]:
    """Name the pictures of a page, in order."""
    names = "all => all.map((one) => one.alt)"
    found: list[str] = page.locator(".card img:not(.preview)").evaluate_all(names)
    return found
