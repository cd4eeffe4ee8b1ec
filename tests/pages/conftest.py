"""One browser and some libraries for all tests of the pages.

They end with the package: while the browser's driver is there, its event loop runs in this thread,
and no other test could run one.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.colour import paint
from tests.pages.browsing import (
    ARGUMENTS,
    CHROMIUM,
    HOSTILE,
    LONG,
    library_of,
    serving,
    watched_page,
)
from web.app import create_app

RATED = """<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description
  xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="3" xmp:CreateDate="2020-02-03T10:00:00"/>
</rdf:RDF>"""


@pytest.fixture(scope="package")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for colour in ("red", "green", "blue", "yellow", "black"):
        paint(folder / f"{colour}.png", colour, (400, 300))
    paint(folder / HOSTILE, "orange", (300, 400))
    (folder / "notes.txt").write_text("<script>document.title = 1</script> The red bus.")
    return folder


@pytest.fixture(scope="package")
def address(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with (
        library_of(photos, tmp_path_factory.mktemp("library")) as library,
        serving(create_app(library)) as address,
    ):
        yield address


@pytest.fixture(scope="package")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve a library of which much is known: captions, keywords, passages, skipped files."""
    folder = tmp_path_factory.mktemp("told")
    for colour in ("red", "blue"):
        paint(folder / f"{colour}.jpg", colour, (400, 300))
        (folder / f"{colour}.txt").write_text(f"{LONG} {colour} " + "word " * 40)
    (folder / "red.json").write_text(json.dumps({"title": LONG, "keywords": ["bus", LONG]}))
    (folder / "red.xmp").write_text(RATED)
    paragraphs = (f"{LONG} white. ", "The black van came. ", "The cyan van came. ")
    (folder / "story.md").write_text("\n\n".join(14 * one for one in paragraphs))
    (folder / f"{LONG}.png").write_bytes(b"no picture")
    with (
        library_of(folder, tmp_path_factory.mktemp("library")) as library,
        serving(create_app(library)) as address,
    ):
        yield address


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium on the PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """A fresh page that fails the test when a script fails or anything foreign is asked for."""
    with watched_page(browser, address) as page:
        yield page


@pytest.fixture
def told_page(browser: Browser, told: str) -> Iterator[Page]:
    with watched_page(browser, told) as page:
        yield page


@pytest.fixture(scope="package")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve a library of 120 pictures of many shapes; a third each lie, stand, and are square."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(120):
        colour = (255 - number, number, number // 2)
        size = ((90 + number, 60), (60, 90 + number), (80, 80))[number % 3]
        paint(folder / f"{number}.png", colour, (1600, 1200) if number == 0 else size)
    with (
        library_of(folder, tmp_path_factory.mktemp("library")) as library,
        serving(create_app(library)) as address,
    ):
        yield address
