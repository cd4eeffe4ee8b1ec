"""The filters beside the results, on wide screens and on phones."""

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.pages.browsing import watched_page

pytestmark = pytest.mark.browser


def test_filters_are_counted_added_and_taken_away(browser: Browser, many: str) -> None:
    with watched_page(browser, many) as page:
        page.goto("/?q=red")
        panel = page.get_by_role("complementary", name="Filters")
        expect(panel.get_by_role("link", name="portrait 40")).to_be_visible()
        panel.get_by_role("link", name="portrait 40").click()
        expect(page.get_by_label("What to look for")).to_have_value("red orientation:portrait")
        expect(page.get_by_role("status")).to_have_text("Best of 40 images")
        panel.get_by_role("link", name="landscape").click()  # in place of the other one
        expect(page.get_by_label("What to look for")).to_have_value("red orientation:landscape")
        panel.get_by_role("link", name="Remove the filter landscape").click()
        expect(page.get_by_label("What to look for")).to_have_value("red")


def test_keywords_add_up(told_page: Page) -> None:
    told_page.goto("/?q=red")
    told_page.get_by_role("link", name="bus 1", exact=True).click()
    expect(told_page.get_by_label("What to look for")).to_have_value("red keyword:bus")
    expect(told_page.locator(".card")).to_have_count(1)
    expect(told_page.get_by_role("link", name="Remove the filter bus")).to_be_visible()


@pytest.mark.parametrize("scripted", [True, False])
def test_on_a_phone_the_filters_are_a_sheet(browser: Browser, many: str, scripted: bool) -> None:
    size = {"width": 390, "height": 844}
    with watched_page(browser, many, viewport=size, java_script_enabled=scripted) as page:
        page.goto("/?q=red")
        panel = page.locator("#filters")
        expect(panel).to_be_hidden()
        page.get_by_role("button", name="Filters", exact=True).click()
        expect(panel).to_be_visible()
        page.get_by_role("button", name="Close the filters").click()
        expect(panel).to_be_hidden()
        page.get_by_role("button", name="Filters", exact=True).click()
        panel.get_by_role("link", name="square 40").click()
        expect(page.get_by_label("What to look for")).to_have_value("red orientation:square")
        expect(panel).to_be_hidden()
