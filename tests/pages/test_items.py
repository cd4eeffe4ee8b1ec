"""The way from the results to an item and back."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.pages.browsing import ITEMS, LONG, PLACES, watched_page

QUIET = ("beside", "aside", "stars", "keywords", "band", "why", "notice", "divide", "hints")

pytestmark = pytest.mark.browser


# The contrast of an element's words against what they stand on, as WCAG 2 counts it.
CONTRAST = """(one) => {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[0-9.]+/g).slice(0, 3).map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const words = one.querySelector("a") ?? one;
  let ground = words;
  const clear = "rgba(0, 0, 0, 0)";
  while (getComputedStyle(ground).backgroundColor === clear) ground = ground.parentElement;
  const both = [getComputedStyle(words).color, getComputedStyle(ground).backgroundColor];
  const [low, high] = both.map(light).sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}"""


def test_an_item_has_a_page(page: Page, photos: Path) -> None:
    page.goto("/?q=green")
    page.locator(".card .picture").first.click()
    expect(page.get_by_role("heading", name="green.png")).to_be_visible()
    expect(page.get_by_text(str(photos / "green.png"))).to_be_visible()
    expect(page.get_by_text("400 \u00d7 300 pixels")).to_be_visible()
    page.get_by_role("link", name="Back to the results").click()
    assert page.url.endswith("/?q=green")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_quiet_words_can_be_read(browser: Browser, told: str, scheme: str) -> None:
    with watched_page(browser, told, color_scheme=scheme) as page:
        seen = set()
        for place in (*ITEMS, "/skipped", *PLACES, "/?q=bus"):
            page.goto(place)
            for kind in QUIET:
                for one in page.locator(f".{kind}").all():
                    seen.add(kind)
                    assert one.evaluate(CONTRAST) >= 4.5, (place, kind)
        assert seen == set(QUIET)


def test_a_text_leads_to_its_picture_and_back_without_script(browser: Browser, told: str) -> None:
    with watched_page(browser, told, java_script_enabled=False) as page:
        page.goto("/?q=blue&to=text")
        link = page.get_by_role("link", name="The picture that this text belongs to").first
        assert link.locator("img").evaluate("image => image.naturalWidth") == 240
        link.click()
        expect(page.get_by_role("heading", name="blue.jpg")).to_be_visible()
        expect(page.get_by_role("heading", name="Text that belongs to it")).to_be_visible()
        page.get_by_role("link", name="Back to the results").click()
        assert page.url.endswith("/?q=blue&to=text")
        page.locator(".passages .name").first.click()
        expect(page.get_by_role("heading", name="The picture it belongs to")).to_be_visible()
        page.locator(".thumbs a").first.click()
        expect(page.get_by_role("heading", name="blue.jpg")).to_be_visible()


def test_a_keyword_is_a_search(browser: Browser, told: str) -> None:
    with watched_page(browser, told) as page:
        page.goto("/?q=red")
        page.locator(".card .picture").first.click()
        page.get_by_role("link", name="bus", exact=True).press("Enter")
        page.wait_for_url("**/?q=keyword%3Abus")
        expect(page.get_by_label("What to look for")).to_have_value("keyword:bus")


def test_skipped_files_can_be_reached_from_the_start_page(browser: Browser, told: str) -> None:
    with watched_page(browser, told) as page:
        page.goto("/")
        page.get_by_role("link", name="1 file was skipped").click()
        expect(page.get_by_role("listitem")).to_have_count(1)
        expect(page.get_by_role("listitem")).to_contain_text(LONG)
