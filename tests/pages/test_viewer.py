"""The page of an item in a real browser: keys, zoom, heat, fingers, and no script at all."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.pages.browsing import serving, watched_page
from tests.test_viewer import HOSTILE, id_of, library_of, place_photos
from web.app import create_app

pytestmark = pytest.mark.browser
SWIPE = """([from, to]) => {
  const stage = document.getElementById("stage");
  const touch = {pointerId: 1, pointerType: "touch", button: 0, bubbles: true, clientY: 300};
  stage.dispatchEvent(new PointerEvent("pointerdown", {...touch, clientX: from}));
  stage.dispatchEvent(new PointerEvent("pointermove", {...touch, clientX: to}));
  stage.dispatchEvent(new PointerEvent("pointerup", {...touch, clientX: to}));
}"""
PINCH = """() => {
  const stage = document.getElementById("stage");
  stage.setPointerCapture = () => {};
  const send = (type, id, x) => stage.dispatchEvent(new PointerEvent(type,
    {pointerId: id, pointerType: "touch", button: 0, bubbles: true, clientX: x, clientY: 300}));
  send("pointerdown", 1, 150); send("pointerdown", 2, 200);
  send("pointermove", 1, 100); send("pointermove", 2, 250);
  send("pointerup", 1, 100); send("pointerup", 2, 250);
}"""
SCALE = "() => new DOMMatrix(getComputedStyle(document.getElementById('canvas')).transform).a"
LOADED = "() => document.getElementById('veil').naturalWidth > 0"


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """Serve a small library; gives its address and the id of a picture half red, half blue."""
    folder = tmp_path_factory.mktemp("photos") / "trips"
    place_photos(folder)
    with (
        library_of(folder, tmp_path_factory.mktemp("library")) as library,
        serving(create_app(library)) as address,
    ):
        yield address, id_of(library, "half.jpg")


@pytest.fixture
def page(browser: Browser, half: tuple[str, int]) -> Iterator[Page]:
    with watched_page(browser, half[0], viewport={"width": 1280, "height": 800}) as page:
        yield page


def heading(page: Page) -> str:
    return page.get_by_role("heading", level=1).inner_text()


def order(page: Page, query: str = "red") -> list[str]:
    """Give the names of the results, best first, as the API gives them."""
    hits = page.request.get(f"/api/search?q={query}&k=50").json()["hits"]
    return [Path(hit["path"]).name for hit in hits]


def test_arrows_walk_through_the_results_and_escape_leads_back(page: Page) -> None:
    names = order(page)
    page.goto("/?q=red")
    page.goto(f"/items/{page.request.get('/api/search?q=red&k=1').json()['hits'][0]['id']}?q=red")
    assert heading(page) == names[0]
    expect(page.locator(".number")).to_have_text(f"1 of {len(names)}")
    for key, name in (("Right", names[1]), ("Right", names[2]), ("Left", names[1])):
        page.keyboard.press(f"Arrow{key}")
        expect(page.get_by_role("heading", level=1)).to_have_text(name)
        page.wait_for_load_state()
    page.keyboard.press("Escape")
    page.wait_for_url("**/?q=red")


def test_what_was_walked_through_is_one_step_of_the_history(page: Page) -> None:
    page.goto("/?q=red")
    page.goto(f"/items/{page.request.get('/api/search?q=red&k=1').json()['hits'][0]['id']}?q=red")
    for number in ("2", "3"):
        page.get_by_role("link", name="Next result").click()
        expect(page.locator(".number")).to_have_text(re.compile(f"^{number} of"))
        page.wait_for_load_state()
    page.go_back()
    assert page.url.endswith("/?q=red")


def test_keys_mean_nothing_while_a_query_is_typed(page: Page, half: tuple[str, int]) -> None:
    page.goto(f"/items/{half[1]}?q=red")
    page.keyboard.press("/")
    page.keyboard.type("h i+1c")
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_label("What to look for")).to_have_value("h i+1c")
    assert page.url.endswith(f"/items/{half[1]}?q=red")
    assert page.evaluate(SCALE) == 1


def test_the_heat_is_shown_on_demand_and_is_an_address(page: Page, half: tuple[str, int]) -> None:
    page.goto(f"/items/{half[1]}?q=red")
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url) if "/why" in one.url else None)
    veil = page.get_by_alt_text("Bright where the picture answers the query")
    expect(veil).to_be_hidden()
    page.keyboard.press("h")
    page.wait_for_function(LOADED)
    expect(veil).to_be_visible()
    assert page.url.endswith("q=red&why=1")
    box, under = veil.bounding_box(), page.locator("#picture").bounding_box()
    assert box is not None and under is not None
    assert all(abs(box[one] - under[one]) < 1 for one in ("x", "y", "width", "height"))
    page.reload()
    expect(veil).to_be_visible()
    page.get_by_role("link", name="Hide what answers the query").click()
    expect(veil).to_be_hidden()
    assert page.url.endswith("q=red")
    page.keyboard.press("h")
    expect(veil).to_be_visible()
    assert len(asked) <= 2  # once for each load of the page


def test_the_heat_stays_on_from_one_result_to_the_next(page: Page, half: tuple[str, int]) -> None:
    page.goto(f"/items/{half[1]}?q=red&why=1")
    page.wait_for_function(LOADED)
    page.keyboard.press("ArrowRight")
    page.wait_for_url(re.compile(rf"/items/(?!{half[1]}\b)\d+\?q=red&why=1$"))
    expect(page.locator("#veil")).to_be_visible()


def test_keys_buttons_and_wheel_zoom(page: Page, half: tuple[str, int]) -> None:
    page.goto(f"/items/{half[1]}?q=red")
    page.wait_for_function("() => document.getElementById('picture').naturalWidth > 0")
    page.keyboard.press("+")
    assert page.evaluate(SCALE) == pytest.approx(1.25)
    page.keyboard.press("-")
    assert page.evaluate(SCALE) == 1
    page.keyboard.press("1")
    width = page.evaluate("document.getElementById('canvas').getBoundingClientRect().width")
    assert width == pytest.approx(1500, abs=2)
    expect(page.locator("#percent")).to_have_text("100 %")
    page.keyboard.press("Escape")
    assert page.evaluate(SCALE) == 1
    page.get_by_role("button", name="Zoom in").click()
    assert page.evaluate(SCALE) == pytest.approx(1.25)
    page.get_by_role("button", name="Fit to the window").click()
    assert page.evaluate(SCALE) == 1
    page.locator("#stage").hover()
    page.mouse.wheel(0, -400)
    page.wait_for_function(f"() => ({SCALE})() > 1.3")
    page.mouse.wheel(0, 4000)
    page.wait_for_function(f"() => ({SCALE})() === 1")


def test_a_zoomed_picture_is_moved_by_hand_and_never_lost(
    page: Page, half: tuple[str, int]
) -> None:
    page.goto(f"/items/{half[1]}?q=red")
    page.wait_for_function("() => document.getElementById('picture').naturalWidth > 0")
    page.keyboard.press("1")
    stage = page.locator("#stage").bounding_box()
    assert stage is not None
    for across in (3000, -6000):
        page.mouse.move(stage["x"] + 300, stage["y"] + 200)
        page.mouse.down()
        page.mouse.move(stage["x"] + 300 + across, stage["y"] + 200)
        page.mouse.up()
        at = page.locator("#canvas").bounding_box()
        assert at is not None
        assert at["x"] <= stage["x"] + 1
        assert at["x"] + at["width"] >= stage["x"] + stage["width"] - 1
    assert page.url.endswith(f"/items/{half[1]}?q=red")


def test_facts_can_be_put_away_and_stay_away(page: Page, half: tuple[str, int]) -> None:
    page.goto(f"/items/{half[1]}")
    page.keyboard.press("i")
    expect(page.locator("#facts")).to_be_hidden()
    expect(page.get_by_role("button", name="Details")).to_have_attribute("aria-expanded", "false")
    page.reload()
    expect(page.locator("#facts")).to_be_hidden()
    page.get_by_role("button", name="Details").click()
    expect(page.locator("#facts")).to_be_visible()


def test_the_path_is_copied_and_the_picture_downloaded(
    browser: Browser, half: tuple[str, int]
) -> None:
    with watched_page(browser, half[0], accept_downloads=True) as page:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.goto(f"/items/{half[1]}")
        page.keyboard.press("c")
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        copied = page.evaluate("navigator.clipboard.readText()")
        assert Path(copied).name == "half.jpg"
        with page.expect_download() as begun:
            page.keyboard.press("d")
        assert begun.value.suggested_filename == "half.jpg"
        assert Path(begun.value.path()).read_bytes() == Path(copied).read_bytes()


def test_fingers_swipe_and_pinch(browser: Browser, half: tuple[str, int]) -> None:
    phone = {"viewport": {"width": 390, "height": 800}, "has_touch": True, "is_mobile": True}
    with watched_page(browser, half[0], **phone) as page:
        page.goto("/items/" + str(half[1]) + "?q=ext:jpg|png")
        number = int(page.locator(".number").inner_text().split()[0])
        way = ([300, 100], 1) if page.locator("a#next").count() else ([100, 300], -1)
        page.evaluate(SWIPE, way[0])
        expect(page.locator(".number")).to_have_text(re.compile(f"^{number + way[1]} of"))
        page.goto(f"/items/{half[1]}")
        page.wait_for_function("() => document.getElementById('picture').naturalWidth > 0")
        page.evaluate(PINCH)
        assert page.evaluate(SCALE) > 2


def test_all_of_it_works_without_script(browser: Browser, half: tuple[str, int]) -> None:
    with watched_page(browser, half[0], java_script_enabled=False) as page:
        page.goto(f"/items/{half[1]}?q=red")
        page.get_by_role("link", name="Show what answers the query").click()
        veil = page.get_by_alt_text("Bright where the picture answers the query")
        assert veil.evaluate("one => one.decode().then(() => one.naturalWidth)") == 256
        page.get_by_role("link", name="Hide what answers the query").click()
        expect(page.locator("#veil")).to_be_hidden()
        expect(page.get_by_role("button", name="Zoom in")).to_be_hidden()
        expect(page.get_by_role("button", name="Copy the path")).to_be_hidden()
        page.get_by_role("link", name="Next result").click()
        assert heading(page) != "half.jpg"
        page.get_by_role("link", name="Previous result").click()
        assert heading(page) == "half.jpg"
        page.get_by_role("link", name="Less like this").click()
        assert f"-like%3A{half[1]}" in page.url


def test_hostile_names_stay_names(page: Page) -> None:
    page.goto("/?q=orange")
    hits = page.request.get("/api/search?q=orange&k=9").json()["hits"]
    hostile = next(hit["id"] for hit in hits if hit["path"].endswith(HOSTILE))
    page.goto(f"/items/{hostile}?q=orange")
    assert heading(page) == HOSTILE
    assert page.title() == f"{HOSTILE} \u2013 searchx"
    assert page.locator("#copy").get_attribute("data-path", timeout=1000).endswith(HOSTILE)  # type: ignore[union-attr]


@pytest.mark.parametrize("width", [320, 390, 768, 1280, 2200])
def test_nothing_is_wider_than_the_window(
    browser: Browser, half: tuple[str, int], width: int
) -> None:
    with watched_page(browser, half[0], viewport={"width": width, "height": 800}) as page:
        for number in range(1, 8):
            page.goto(f"/items/{number}?q=red+bus&to=both&why=1")
            assert page.evaluate("document.documentElement.scrollWidth") <= width, number


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 800), (390, 800)])
def test_axe_finds_nothing(
    browser: Browser, half: tuple[str, int], scheme: str, size: tuple[int, int]
) -> None:
    shown = {"viewport": {"width": size[0], "height": size[1]}, "color_scheme": scheme}
    with watched_page(browser, half[0], **shown) as page:
        for place in (f"/items/{half[1]}?q=red+bus&why=1", "/items/7?q=bus&to=text", "/items/1"):
            page.goto(place)
            found = Axe().run(page)
            assert found.violations_count == 0, found.generate_report()


def test_a_picture_that_cannot_be_decoded_any_more_is_said_to_be_gone(
    browser: Browser, half: tuple[str, int]
) -> None:
    context = browser.new_context(base_url=half[0])
    page = context.new_page()
    page.route("**/picture*", lambda route: route.fulfill(status=410))
    page.goto(f"/items/{half[1]}?q=red")
    expect(page.get_by_text("The file is not there any more")).to_be_visible()
    expect(page.locator("#picture")).to_be_hidden()
    context.close()


def test_a_heat_that_cannot_be_had_says_so(browser: Browser, half: tuple[str, int]) -> None:
    context = browser.new_context(base_url=half[0])
    page = context.new_page()
    page.route("**/why*", lambda route: route.fulfill(status=503))
    page.goto(f"/items/{half[1]}?q=red")
    page.keyboard.press("h")
    expect(page.get_by_text("This could not be shown")).to_be_visible()
    expect(page.locator("#veil")).to_be_hidden()
    assert page.url.endswith("?q=red")
    context.close()
