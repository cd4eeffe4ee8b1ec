"""Searching by a picture: dropped, pasted, chosen, with words; and pictures that are gone."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from indexer.pipeline import index
from searchx.catalog import Catalog
from searchx.search import Library
from tests.colour import ColourEncoder, paint
from tests.pages.browsing import HOSTILE, best, serving, shown
from web.app import create_app

pytestmark = pytest.mark.browser


# Makes a file in the page and hands it over as the browser would, by the named event.
HAND_OVER = """async ([type, bytes, name]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(bytes)], name, {type: "image/png"}));
  const about = {bubbles: true, cancelable: true};
  const event = type === "paste"
    ? new ClipboardEvent(type, {...about, clipboardData: transfer})
    : new DragEvent(type, {...about, dataTransfer: transfer});
  document.dispatchEvent(event);
}"""


@pytest.mark.parametrize("event", ["paste", "drop"])
def test_a_picture_can_be_pasted_and_dropped(page: Page, photos: Path, event: str) -> None:
    page.goto("/")
    page.evaluate(HAND_OVER, [event, list((photos / "yellow.png").read_bytes()), "mine.png"])
    page.wait_for_url("**/?picture=*")
    assert best(page) == "yellow.png"
    page.reload()
    assert best(page) == "yellow.png"
    page.get_by_role("link", name="Remove your picture").click()
    page.wait_for_url("**/")


def test_a_file_that_is_no_picture_is_explained(page: Page) -> None:
    page.goto("/")
    script = HAND_OVER.replace("image/png", "text/plain")
    page.evaluate(script, ["drop", [1, 2, 3], "letter.doc"])
    expect(page.get_by_role("alert")).to_have_text("letter.doc is not a picture")


def test_a_picture_can_be_chosen_and_words_added(page: Page, photos: Path) -> None:
    page.goto("/")
    page.get_by_text("Search by picture").click()
    page.locator("input[type=file]").set_input_files(photos / "red.png")
    page.wait_for_url("**/?picture=*")
    assert best(page) == "red.png"
    page.get_by_label("What to look for").fill("yellow")
    page.keyboard.press("Enter")
    page.wait_for_url("**q=yellow*")
    assert "picture=" in page.url
    assert shown(page)[:2] == ["yellow.png", HOSTILE]  # named so; orange is half red, half yellow


def test_words_that_stand_in_the_box_go_with_the_picture(page: Page, photos: Path) -> None:
    page.goto("/")
    page.get_by_label("What to look for").fill("yellow")
    page.evaluate(HAND_OVER, ["drop", list((photos / "red.png").read_bytes()), "mine.png"])
    page.wait_for_url("**/?q=yellow&picture=*")
    expect(page.locator(".held")).to_contain_text("your picture")


def test_a_picture_that_is_gone_says_so(browser: Browser, tmp_path: Path) -> None:
    red = paint(tmp_path / "photos" / "red.png", "red")
    catalog = Catalog.open(tmp_path / "library", create=True)
    index([red.parent], catalog, ColourEncoder())
    catalog.close()
    red.unlink()
    with (
        Library.open(tmp_path / "library", encoder=ColourEncoder()) as library,
        serving(create_app(library)) as address,
    ):
        page = browser.new_page()
        page.goto(address + "/?q=red")
        expect(page.locator(".missing")).to_have_count(1)
        page.close()
