"""The main path works without script."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.pages.browsing import best, shown, watched_page

pytestmark = pytest.mark.browser


def test_more_leads_to_the_next_page_without_script(browser: Browser, address: str) -> None:
    with watched_page(browser, address, java_script_enabled=False) as page:
        page.goto("/?q=blue&k=4")
        first = shown(page)
        page.get_by_role("link", name="More", exact=True).click()
        expect(page.locator(".card")).to_have_count(2)
        rest = shown(page)
        assert len({*first, *rest}) == 6
        expect(page.get_by_role("link", name="More", exact=True)).to_have_count(0)
        page.get_by_role("link", name="First page").click()
        assert page.url.endswith("/?q=blue&k=4")


def test_all_of_it_works_without_script(browser: Browser, address: str, photos: Path) -> None:
    with watched_page(browser, address, java_script_enabled=False) as page:
        page.goto("/")
        page.locator("#q").fill("blue")
        page.locator("label", has_text="Texts").click()
        page.locator(".go").click()
        expect(page.locator("blockquote")).to_have_count(1)
        page.get_by_role("link", name="Images", exact=True).click()
        expect(page.locator(".card")).to_have_count(6)
        page.locator(".by-picture summary").click()
        page.locator("input[type=file]").set_input_files(photos / "black.png")
        page.locator(".panel button").click()
        page.wait_for_url("**/?picture=*")
        assert best(page) == "black.png"
