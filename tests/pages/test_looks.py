"""Every page at every width, in light and dark, in both languages; axe finds nothing."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.pages.browsing import ITEMS, LONG_WORD, PLACES, watched_page

QUIET = ("beside", "aside", "stars", "keywords", "band", "why", "notice", "divide", "hints")
AUDITED = ("/", "/?q=blue&to=both", "/?q=van+-blue+ext:md&to=text", "/?random=1")
SPELLED = {  # names, captions and the query language, which no language changes
    *("searchx", "English", "red", "green", "blue", "yellow", "black", "orange", "people", "dog"),
    *("folder", "trips", "camera", "canon", "png", "PNG", "ext", "without", "beach", "img", "src"),
    *("onerror", "document", "title", "photos", "kind", "image", "text", "script", "The", "bus"),
    *("notes", "txt", "line", "Enter", "Esc"),
}
WCAG = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations"],
}

pytestmark = pytest.mark.browser


def test_every_picture_and_field_has_a_name(page: Page) -> None:
    for place in (*PLACES, "/?q=red&to=text", "/items/1", "/login"):
        page.goto(place)
        unnamed = page.evaluate(
            """() => [...document.querySelectorAll("input:not([type=hidden]), button, a, img")]
              .filter((one) => !(one.labels?.length || one.getAttribute("aria-label")
                || one.textContent.trim() || one.hasAttribute("alt") || one.querySelector("img")))
              .map((one) => one.outerHTML)"""
        )
        assert unnamed == []


@pytest.mark.parametrize("width", [320, 390, 768, 1280, 2200])
def test_nothing_is_wider_than_the_window(browser: Browser, address: str, width: int) -> None:
    with watched_page(browser, address, viewport={"width": width, "height": 800}) as page:
        for place in (*PLACES, "/?q=red&to=text", "/?like=1", "/items/1", "/docs"):
            page.goto(place)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, place


@pytest.mark.parametrize("width", [320, 768, 1280])
def test_what_is_known_of_items_is_not_wider_than_the_window(
    browser: Browser, told: str, width: int
) -> None:
    with watched_page(browser, told, viewport={"width": width, "height": 800}) as page:
        for place in (*PLACES, f"/?q={LONG_WORD}", "/?q=red&to=text", *ITEMS, "/skipped"):
            page.goto(place)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, place


@pytest.mark.parametrize(("scheme", "is_light"), [("light", True), ("dark", False)])
def test_the_page_follows_the_theme(
    browser: Browser, address: str, scheme: str, is_light: bool
) -> None:
    with watched_page(browser, address, color_scheme=scheme) as page:
        page.goto("/?q=red")
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        lightness = sum(int(part) for part in ground[4:-1].split(","))
        assert (lightness > 3 * 128) == is_light


def troubles(page: Page) -> list[tuple[str, list[str]]]:
    """Give what axe finds, each with the elements that it finds it at."""
    found = Axe().run(page, options=WCAG).response["violations"]
    return [(one["id"], [node["html"] for node in one["nodes"]]) for one in found]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing(browser: Browser, told: str, scheme: str, width: int) -> None:
    size = {"width": width, "height": 800}
    with watched_page(browser, told, color_scheme=scheme, viewport=size) as page:
        for place in (*AUDITED, "/?q=a+dog+without+people"):
            page.goto(place)
            assert troubles(page) == [], place


def test_axe_finds_nothing_in_what_opens(browser: Browser, told: str) -> None:
    size = {"width": 390, "height": 800}
    with watched_page(browser, told, viewport=size) as page:
        page.goto("/?q=blue")
        page.get_by_role("button", name="Filters", exact=True).click()
        assert troubles(page) == []
        page.keyboard.press("Escape")
        page.get_by_label("What to look for").fill("fo")
        expect(page.get_by_role("option").first).to_be_visible()
        assert troubles(page) == []
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Keys").click()
        assert troubles(page) == []


def test_what_can_be_pressed_is_large_enough(browser: Browser, told: str) -> None:
    """At least 24 pixels each way (WCAG 2.2, 2.5.8), but for links within sentences."""
    small = """() => [...document.querySelectorAll("a, button, summary, input:not([type=hidden])")]
      .filter((one) => one.checkVisibility() && getComputedStyle(one).display !== "inline")
      .filter((one) => !one.matches(".skip, .switch input, .drop input"))
      .map((one) => [one.outerHTML, one.getBoundingClientRect()])
      .filter(([, place]) => place.width < 24 || place.height < 24)"""
    with watched_page(browser, told, viewport={"width": 390, "height": 800}) as page:
        for place in ("/", "/?q=blue+-red", "/?q=blue&to=text"):
            page.goto(place)
            assert page.evaluate(small) == []


def test_what_has_the_focus_is_not_hidden_behind_the_header(browser: Browser, many: str) -> None:
    hidden = """() => {
      const place = document.activeElement.getBoundingClientRect();
      return document.querySelector(".top").getBoundingClientRect().bottom > place.top;
    }"""
    with watched_page(browser, many, viewport={"width": 900, "height": 500}) as page:
        page.goto("/?q=red&k=24")
        cards = page.locator(".card .open")
        cards.nth(20).focus()
        for place in range(19, 1, -1):
            cards.nth(place).focus()
            assert not page.evaluate(hidden)


def test_a_theme_can_be_chosen_and_is_kept(page: Page) -> None:
    page.goto("/?q=red")
    switch = page.get_by_role("button", name="Theme: as the system")
    switch.click()
    page.get_by_role("button", name="Theme: light").click()
    expect(page.get_by_role("button", name="Theme: dark")).to_be_focused()
    page.goto("/")
    expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"


@pytest.mark.parametrize("scripted", [True, False])
def test_the_language_is_chosen_in_the_page(browser: Browser, address: str, scripted: bool) -> None:
    with watched_page(browser, address, java_script_enabled=scripted) as page:
        page.goto("/?q=red")
        page.get_by_role("button", name="\u4e2d\u6587").click()
        expect(page.locator("html")).to_have_attribute("lang", "zh-Hans")
        assert page.url.endswith("/?q=red")
        expect(page.get_by_role("link", name="\u6587\u5b57", exact=True)).to_be_visible()
        page.get_by_role("button", name="English").click()
        expect(page.locator("html")).to_have_attribute("lang", "en")


def test_no_english_is_left_in_chinese(browser: Browser, address: str) -> None:
    with watched_page(browser, address, locale="zh-CN") as page:
        for place in (*PLACES, "/?q=red&to=text"):
            page.goto(place)
            text = page.evaluate("document.body.innerText")
            words = set(re.findall(r"[A-Za-z]{3,}", text))
            assert words - SPELLED == set(), place
