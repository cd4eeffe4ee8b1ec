"""Keys, the grid at every width, and endless scrolling."""

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.pages.browsing import shown, watched_page

# Rows of cards: their heights, how far each reaches, and how far it could.
ROWS = """() => [...document.querySelectorAll(".grid")].map((grid) => {
  const rows = new Map();
  for (const card of grid.children) {
    const place = card.querySelector(".open").getBoundingClientRect();
    const row = rows.get(Math.round(place.top)) ?? [];
    rows.set(Math.round(place.top), [...row, [place.left, place.right, place.height]]);
  }
  const whole = grid.getBoundingClientRect();
  return [whole.left, whole.right, [...rows.values()]];
})"""
SHIFTS = """new Promise((done) => {
  let sum = 0;
  new PerformanceObserver((list) => {
    for (const one of list.getEntries()) sum += one.value;
  }).observe({ type: "layout-shift", buffered: true });
  setTimeout(() => done(sum), 300);
})"""

pytestmark = pytest.mark.browser


def there_are(page: Page, count: int) -> None:
    """Wait until there are so many pictures."""
    expect(page.locator(".card").nth(count - 1)).to_be_attached()


def test_rows_are_of_one_height_and_filled_at_every_width(browser: Browser, many: str) -> None:
    with watched_page(browser, many) as page:
        page.goto("/?q=red&k=40")
        for width in (320, 390, 600, 768, 1024, 1280, 1920, 2560):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            for left, right, rows in page.evaluate(ROWS):
                assert rows
                for row in rows:
                    assert max(one[2] for one in row) - min(one[2] for one in row) < 1.5
                    assert abs(row[0][0] - left) < 1
                for row in rows[:-1]:
                    assert abs(row[-1][1] - right) < 1.5


def test_nothing_moves_while_the_page_is_drawn(browser: Browser, many: str) -> None:
    with watched_page(browser, many) as page:
        page.goto("/?q=red")
        assert page.evaluate(SHIFTS) < 0.01


def test_pictures_come_in_the_size_that_the_screen_needs(browser: Browser, many: str) -> None:
    for scale, side in ((1, "480"), (3, "960")):
        with watched_page(browser, many, device_scale_factor=scale) as page:
            page.goto("/?q=size:%3E1mp")
            image = page.locator(".card img:not(.preview)").first
            image.evaluate("image => image.decode()")
            assert image.evaluate("image => image.currentSrc").endswith(f"side={side}")


def test_a_preview_stands_below_a_picture_that_was_seen_before(page: Page) -> None:
    page.goto("/?q=red")
    page.wait_for_load_state("networkidle")
    page.reload()
    preview = page.locator(".card .preview").first
    assert (preview.get_attribute("src") or "").startswith("data:image/webp;base64,")
    assert preview.evaluate("image => image.naturalWidth") == 16


def test_scrolling_goes_on_and_going_back_leads_to_the_place(browser: Browser, many: str) -> None:
    with watched_page(browser, many) as page:
        page.goto("/?q=red&k=24")
        first = shown(page)
        for count in (48, 72, 96):
            page.locator(".card").last.scroll_into_view_if_needed()
            there_are(page, count)
        names = shown(page)
        assert names[:24] == first[:24]
        assert len(set(names)) == len(names)
        assert page.url.endswith("/?q=red&k=24")
        expect(page.locator("#said")).to_have_text("24 more results")
        one = page.locator(".card").nth(60)
        one.scroll_into_view_if_needed()
        name, top = one.get_attribute("id"), one.bounding_box()
        one.locator(".open").click()
        page.wait_for_url("**/items/**")
        page.go_back()
        there_are(page, 72)
        again = page.locator(f"#{name}")
        expect(again).to_be_in_viewport()
        place = again.bounding_box()
        assert place is not None and top is not None
        assert abs(place["y"] - top["y"]) < 3
        assert shown(page)[:72] == names[:72]


def test_a_search_that_is_opened_anew_begins_at_its_top(browser: Browser, many: str) -> None:
    with watched_page(browser, many) as page:
        page.goto("/?q=red&k=24")
        page.locator(".card").last.scroll_into_view_if_needed()
        there_are(page, 48)
        page.goto("/?q=red&k=24")
        assert page.evaluate("scrollY") == 0


def test_scrolling_ends_where_the_hits_do(browser: Browser, many: str) -> None:
    with watched_page(browser, many, viewport={"width": 1280, "height": 2000}) as page:
        page.goto("/?q=red&k=100")
        page.locator(".card").last.scroll_into_view_if_needed()
        expect(page.locator(".card")).to_have_count(120)
        expect(page.get_by_role("link", name="More", exact=True)).to_have_count(0)
        assert page.locator(".divide").count() <= 1


def test_where_more_cannot_be_had_the_link_stays(browser: Browser, many: str) -> None:
    context = browser.new_context(base_url=many)
    context.route("**/more?*", lambda route: route.abort())
    page = context.new_page()
    page.goto("/?q=red&k=40")
    link = page.get_by_role("link", name="More", exact=True)
    link.focus()
    expect(page.locator("#said")).to_contain_text("could not be loaded")
    expect(link).to_be_visible()
    context.close()


def test_slash_focuses_the_box_and_tab_reaches_every_hit(page: Page) -> None:
    page.goto("/?q=red")
    page.keyboard.press("/")
    box = page.get_by_label("What to look for")
    expect(box).to_be_focused()
    page.keyboard.press("/")
    expect(box).to_have_value("/")
    page.locator(".card .picture").first.focus()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="More like red.png")).to_be_focused()
    outline = "link => getComputedStyle(link).outlineStyle"
    assert page.get_by_role("link", name="More like red.png").evaluate(outline) == "solid"


def test_arrows_move_through_the_grid_and_enter_opens(browser: Browser, many: str) -> None:
    focused = "document.activeElement.closest('li')?.id"
    with watched_page(browser, many, viewport={"width": 1280, "height": 800}) as page:
        page.goto("/?q=red&k=24")
        ids = page.locator(".card").evaluate_all("all => all.map((one) => one.id)")
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press("ArrowRight")
        assert page.evaluate(focused) == ids[0]
        page.keyboard.press("ArrowRight")
        assert page.evaluate(focused) == ids[1]
        page.keyboard.press("ArrowDown")
        below = page.evaluate(focused)
        assert ids.index(below) > 1
        page.keyboard.press("ArrowUp")
        assert ids.index(page.evaluate(focused)) <= 2
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("Enter")
        page.wait_for_url("**/items/*")


def test_escape_leaves_and_a_question_mark_tells_the_keys(page: Page) -> None:
    page.goto("/?q=red")
    page.locator(".card .open").first.focus()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()
    expect(page.locator(".card .open").first).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_label("What to look for")).to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_label("What to look for")).to_have_value("red?")
