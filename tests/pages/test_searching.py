"""Typing, kinds, bands, what was typed as chips, and what is said where nothing matches."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.colour import paint
from tests.pages.browsing import (
    HOSTILE,
    LONG_WORD,
    best,
    library_of,
    serving,
    shown,
    watched_page,
)
from web.app import create_app

pytestmark = pytest.mark.browser


def test_typing_gives_pictures_with_what_they_are_worth(page: Page) -> None:
    page.goto("/")
    expect(page.get_by_label("What to look for")).to_be_focused()
    page.keyboard.type("blue")
    page.keyboard.press("Enter")
    expect(page.locator(".card")).to_have_count(6)
    assert page.url.endswith("/?q=blue&to=image")
    assert best(page) == "blue.png"
    assert page.locator(".card .band").first.inner_text() == "strong"
    assert "cosine 1.000" in (page.locator(".card .band").first.get_attribute("title") or "")
    shown = "image => image.decode().then(() => image.naturalWidth)"
    assert page.locator(".card img:not(.preview)").first.evaluate(shown) > 0


def test_more_like_this_and_back(page: Page) -> None:
    page.goto("/?q=red")
    page.get_by_role("link", name="More like red.png").click()
    expect(page.locator(".held")).to_contain_text("like item")
    expect(page.locator(".card")).to_have_count(5)
    page.go_back()
    assert best(page) == "red.png"


def test_texts_are_passages_with_their_file(page: Page) -> None:
    page.goto("/?q=red")
    page.get_by_role("link", name="Texts", exact=True).click()
    expect(page.locator("blockquote")).to_have_text(
        "<script>document.title = 1</script> The red bus."
    )
    expect(page.get_by_role("link", name="notes.txt", exact=False).first).to_be_visible()


def test_hostile_names_stay_names(page: Page) -> None:
    page.goto("/?q=orange")
    assert best(page) == HOSTILE
    assert page.title() == "orange \u2013 searchx"


def test_hostile_captions_and_passages_stay_words(told_page: Page) -> None:
    for place in ("/?q=blue", "/?q=blue&to=text", "/?q=blue&to=both", f"/?q={LONG_WORD}"):
        told_page.goto(place)
        expect(told_page.locator("main b, main img[src=x]")).to_have_count(0)
    told_page.goto("/?q=blue")
    assert "long<b>&" in told_page.locator(".caption").first.inner_text()


def test_words_that_matched_are_marked_where_they_stand(told_page: Page) -> None:
    told_page.goto("/?q=black+van&to=text")
    marked = told_page.locator("blockquote mark").all_inner_texts()
    assert {one.lower() for one in marked[:2]} == {"black", "van"}
    told_page.goto("/?q=blue")
    expect(told_page.locator(".about mark").first).to_have_text("blue")


def test_a_passage_stands_between_its_neighbours(told_page: Page) -> None:
    told_page.goto("/?q=black+van&to=text")
    hit = told_page.locator(".passages li").first
    expect(hit.locator(".beside")).to_have_count(2)
    expect(hit.locator(".beside").last).to_contain_text("The cyan van came.")


def test_a_query_is_taken_apart_and_each_piece_can_be_taken_away(page: Page) -> None:
    page.goto("/?q=red+-blue+%2Byellow+ext:png+-name:black")
    chips = page.locator(".chip")
    said = [" ".join(one.split()).removesuffix(" \u00d7") for one in chips.all_inner_texts()]
    assert said == ["red", "not blue", "and yellow", "ext:png", "without name:black"]
    page.get_by_role("link", name="Remove blue from the search").click()
    expect(page.get_by_label("What to look for")).to_have_value("red +yellow ext:png -name:black")
    page.get_by_role("link", name="Remove ext:png from the search").click()
    expect(page.get_by_label("What to look for")).to_have_value("red +yellow -name:black")


def test_words_alone_are_not_repeated_as_a_chip(page: Page) -> None:
    page.goto("/?q=red")
    expect(page.locator(".chip")).to_have_count(0)


def test_images_and_texts_stand_in_one_grid(page: Page) -> None:
    page.goto("/?q=red&to=both")
    expect(page.locator(".card .quote")).to_have_count(1)
    expect(page.locator(".card .picture")).to_have_count(6)


def test_where_nothing_matches_the_page_says_so_and_offers_what_was_meant(page: Page) -> None:
    page.goto("/?q=a+dog+without+people")
    said = page.get_by_role("status")
    expect(said).to_have_text("Nothing here matches \u201ca dog without people\u201d.")
    expect(page.get_by_role("heading", name="The nearest pictures:")).to_be_visible()
    expect(page.locator(".card")).to_have_count(6)
    page.get_by_role("link", name="a dog -people").click()
    expect(page.get_by_label("What to look for")).to_have_value("a dog -people")
    page.get_by_role("link", name="Search the texts").click()
    page.wait_for_url("**/?q=a+dog+-people&to=text")


def test_a_line_parts_the_weak_from_the_others(page: Page) -> None:
    page.goto("/?q=red")
    line = page.get_by_role("heading", name="Weak matches")
    expect(line).to_be_visible()
    above = "(line) => line.previousElementSibling.getBoundingClientRect().bottom"
    below = "(line) => line.nextElementSibling.getBoundingClientRect().top"
    height = line.bounding_box()
    assert height is not None
    assert line.evaluate(above) <= height["y"] < line.evaluate(below)


def test_near_duplicates_hide_behind_a_link_and_stay_hidden(
    browser: Browser, tmp_path: Path
) -> None:
    for number in range(4):
        paint(tmp_path / "photos" / f"{number}.png", (250 + number, 0, 0))
    paint(tmp_path / "photos" / "blue.png", "blue")
    with (
        library_of(tmp_path / "photos", tmp_path / "library") as library,
        serving(create_app(library)) as address,
        watched_page(browser, address, java_script_enabled=False) as page,
    ):
        page.goto("/?q=red")
        expect(page.locator(".card")).to_have_count(5)
        page.get_by_role("link", name="Hide near duplicates").click()
        expect(page.locator(".card")).to_have_count(2)
        expect(page.get_by_text("+3 alike")).to_be_visible()
        page.get_by_label("What to look for").fill("blue")
        page.locator(".go").click()
        expect(page.locator(".card")).to_have_count(2)
        page.get_by_role("link", name="Show near duplicates").click()
        expect(page.locator(".card")).to_have_count(5)


def test_a_bad_filter_is_told_above_the_box_which_keeps_what_was_typed(
    browser: Browser, address: str
) -> None:
    context = browser.new_context(base_url=address)
    page = context.new_page()
    page.goto("/?q=red+taken:soon")
    told = page.get_by_role("alert").first
    expect(told).to_contain_text("taken:soon")
    box = page.get_by_label("What to look for")
    expect(box).to_have_value("red taken:soon")
    above, below = told.bounding_box(), box.bounding_box()
    assert above is not None and below is not None
    assert above["y"] + above["height"] <= below["y"]
    context.close()


def test_a_surprise_can_be_had_again_and_found_again(page: Page) -> None:
    page.goto("/")
    page.get_by_role("link", name="Surprise me").click()
    page.wait_for_url("**/?random=*")
    before = shown(page)
    assert len(before) == 6
    page.locator(".card .picture").first.click()
    page.get_by_role("link", name="Back to the results").click()
    expect(page.locator(".card")).to_have_count(6)
    assert shown(page) == before
    page.get_by_role("link", name="Surprise me again").click()
    expect(page.locator(".card")).to_have_count(6)


def test_hits_can_be_asked_to_differ(page: Page) -> None:
    page.goto("/?q=red")
    page.get_by_role("link", name="Prefer variety").click()
    page.wait_for_url("**varied=1")
    assert shown(page)[0] == "red.png"
    page.get_by_role("link", name="Best first").click()
    page.wait_for_url("**/?q=red")
