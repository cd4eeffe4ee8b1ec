"""Explore, duplicates and status in a real browser: keyboard, phone, dark, axe, script off."""

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from indexer.pipeline import index_into
from searchx.progress import Publisher
from searchx.records import Pace
from searchx.search import Library
from tests.colour import ColourEncoder, paint
from tests.pages.browsing import serving, watched_page
from web.app import create_app

pytestmark = pytest.mark.browser

PAGES = (
    *("/explore", "/explore?at=1", "/explore?to=text", "/explore?at=1&q=red"),
    *("/duplicates", "/duplicates?to=text", "/duplicates?where=folder:none"),
    *("/status", "/skipped"),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Index sixty pictures of three colours, a copy, a long hostile name, a broken file."""
    folder, place = tmp_path_factory.mktemp("photos"), tmp_path_factory.mktemp("library")
    for number in range(20):
        paint(folder / f"red{number}.png", (250 - number, number, 0), (160, 120))
        paint(folder / f"green{number}.png", (0, 250 - number, number), (120, 160))
        paint(folder / f"blue{number}.png", (number, 0, 250 - number), (160, 120))
        (folder / f"red{number}.txt").write_text(f"a red thing {number}")
    shutil.copy(folder / "red1.png", folder / ("<b>" + "long" * 40 + ".png"))
    (folder / "broken<i>.png").write_bytes(b"no picture")
    index_into(place, folder, ColourEncoder())
    return place


@pytest.fixture(scope="module")
def address(place: Path) -> Iterator[str]:
    with (
        Library.open(place, encoder=ColourEncoder()) as library,
        serving(create_app(library)) as address,
    ):
        yield address


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_axe_finds_nothing_and_nothing_overflows(
    browser: Browser,
    address: str,
    width: int,
    scheme: str,
) -> None:
    size = {"width": width, "height": 800}
    with watched_page(browser, address, viewport=size, color_scheme=scheme) as page:
        for path in PAGES:
            page.goto(path)
            for one in page.locator("details.paths").all()[:2]:
                one.evaluate("one => { one.open = true }")
            wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, f"{path} is wider than {width} pixels"
            found = Axe().run(page).response["violations"]
            told = [(one["id"], [node["html"][:120] for node in one["nodes"]]) for one in found]
            assert told == [], path


def test_wandering_by_keyboard(browser: Browser, address: str) -> None:
    with watched_page(browser, address) as page:
        page.goto("/explore")
        tiles = page.locator(".tile")
        tiles.first.focus()
        page.keyboard.press("ArrowRight")
        expect(tiles.nth(1)).to_be_focused()
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowLeft")
        expect(tiles.first).to_be_focused()
        page.keyboard.press("Enter")
        page.wait_for_url("**/explore?at=1")
        page.get_by_role("searchbox", name="Search in here").fill("red")
        page.keyboard.press("Enter")
        page.wait_for_url("**/explore?at=1&q=red")
        page.get_by_role("link", name="Everything").click()
        expect(tiles.first).to_be_visible()
        assert page.url.endswith("/explore")


def test_paths_of_duplicates_are_copied(browser: Browser, address: str) -> None:
    with watched_page(browser, address, permissions=["clipboard-read", "clipboard-write"]) as page:
        page.goto("/duplicates")
        group = page.locator(".group").first
        group.locator("summary").click()
        group.get_by_role("button", name="Copy paths").click()
        expect(group.get_by_role("button", name="Copied")).to_be_visible()
        copied = page.evaluate("navigator.clipboard.readText()").split("\n")
        assert copied and all(Path(one).is_file() for one in copied)


def test_the_status_follows_a_run(browser: Browser, address: str, place: Path) -> None:
    publisher = Publisher(place)
    publisher.begin(200)
    try:
        with watched_page(browser, address) as page:
            page.goto("/status")
            expect(page.get_by_text("Indexing: 0 of 200 files")).to_be_visible()
            time.sleep(1.01)
            publisher.advance(50, 48, 0, Pace())
            expect(page.get_by_text("Indexing: 50 of 200 files")).to_be_visible()
            publisher.end()
            expect(page.get_by_text(re.compile("Indexing:"))).to_have_count(0)
    finally:
        publisher.end()


def test_it_works_with_the_script_off(browser: Browser, address: str) -> None:
    with watched_page(browser, address, java_script_enabled=False) as page:
        for path in PAGES:
            page.goto(path)
            expect(page.locator("h1").first).to_be_attached()
            assert page.locator(".pages a").count() == 4
            assert page.locator("main b, main i").count() == 0  # hostile names stay names
