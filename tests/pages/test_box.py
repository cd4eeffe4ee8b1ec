"""Completion in the box, and the searches of late."""

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.pages.browsing import watched_page

pytestmark = pytest.mark.browser


def test_keys_and_values_are_completed(page: Page) -> None:
    page.goto("/")
    box = page.get_by_role("combobox", name="What to look for")
    box.press_sequentially("red for")
    expect(page.get_by_role("option")).to_contain_text(["format:"])
    expect(box).to_have_attribute("aria-expanded", "true")
    box.press("ArrowDown")
    chosen = page.get_by_role("option", selected=True)
    expect(chosen).to_contain_text("format:")
    assert box.get_attribute("aria-activedescendant") == chosen.get_attribute("id")
    box.press("Enter")
    expect(box).to_have_value("red format:")
    expect(page.get_by_role("option")).to_contain_text(["PNG"])
    box.press("ArrowDown")
    box.press("Enter")
    expect(box).to_have_value("red format:PNG ")
    box.press("Escape")
    expect(box).to_have_attribute("aria-expanded", "false")
    box.press("Enter")
    page.wait_for_url("**/?q=red+format%3APNG*")


def test_completion_goes_on_in_the_middle_and_behind_signs(page: Page) -> None:
    page.goto("/?q=\U0001f600+-ext:p+red")
    box = page.get_by_role("combobox")
    box.focus()
    box.evaluate("box => box.setSelectionRange(9, 9)")  # an emoji is two of the script's signs
    box.press("ArrowDown")
    page.get_by_role("option", name="png").click()
    expect(box).to_have_value("\U0001f600 -ext:png red")
    expect(box).to_be_focused()


def test_searches_of_late_are_offered_and_can_be_cleared(browser: Browser, address: str) -> None:
    with watched_page(browser, address) as page:
        asked: list[str] = []
        for words in ("red", "a <b>blue</b> sea"):
            page.goto("/")
            page.get_by_role("combobox").fill(words)
            page.keyboard.press("Enter")
            page.wait_for_url("**/?q=*")
        page.on("request", lambda one: asked.append(one.url))
        page.goto("/")
        page.keyboard.press("ArrowDown")
        offered = page.get_by_role("option")
        expect(offered).to_have_text(["a <b>blue</b> searecent", "redrecent"])
        page.keyboard.press("ArrowUp")
        page.keyboard.press("Enter")
        page.wait_for_url("**/?q=red&*")
        assert not [one for one in asked if "/api/complete" in one]
        page.goto("/")
        page.keyboard.press("ArrowDown")
        page.get_by_role("button", name="Clear recent searches").click()
        expect(page.get_by_role("option")).to_have_count(0)
        page.reload()
        page.keyboard.press("ArrowDown")
        expect(page.get_by_role("option")).to_have_count(0)
