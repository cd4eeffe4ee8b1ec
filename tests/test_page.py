"""The page in a real browser: typing, pictures, keys, kinds, themes, and no script at all."""

import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, expect, sync_playwright

from indexer.pipeline import index
from indexer.planning import Options
from searchx.catalog import Catalog
from searchx.search import Library
from tests.colour import ColourEncoder, paint
from web.app import create_app

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), None)
HOSTILE = "<img src=x onerror=document.title=1>.png"
LONG = "long<b>&" * 25  # a word that fits on no line
ITEMS = tuple(f"/items/{number}" for number in range(1, 8))
PLACES = (  # every state of the search that looks like no other
    *("/", "/?q=red", "/?q=red&group=1", "/?q=red&k=2", "/?random=1", "/?q=ext:png"),
    *("/?q=a+dog+without+people", "/?q=red+kind:image|text"),
)
LONG_WORD = "x" * 400
QUIET = ("beside", "aside", "stars", "keywords", "band", "why", "notice", "divide", "hints")
RATED = """<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description
  xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="3" xmp:CreateDate="2020-02-03T10:00:00"/>
</rdf:RDF>"""
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

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


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """Serve an app on a free port of this machine, and give its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(timeout=20)
    listener.close()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for colour in ("red", "green", "blue", "yellow", "black"):
        paint(folder / f"{colour}.png", colour, (400, 300))
    paint(folder / HOSTILE, "orange", (300, 400))
    (folder / "notes.txt").write_text("<script>document.title = 1</script> The red bus.")
    return folder


@pytest.fixture(scope="module")
def address(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    place = tmp_path_factory.mktemp("library")
    catalog = Catalog.open(place, create=True)
    index([photos], catalog, ColourEncoder())
    catalog.close()
    with (
        Library.open(place, encoder=ColourEncoder()) as library,
        serving(create_app(library)) as address,
    ):
        yield address


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve a library of which much is known: captions, keywords, passages, skipped files."""
    folder = tmp_path_factory.mktemp("told")
    for colour in ("red", "blue"):
        paint(folder / f"{colour}.jpg", colour, (400, 300))
        (folder / f"{colour}.txt").write_text(f"{LONG} {colour} " + "word " * 40)
    (folder / "red.json").write_text(json.dumps({"title": LONG, "keywords": ["bus", LONG]}))
    (folder / "red.xmp").write_text(RATED)
    paragraphs = (f"{LONG} white. ", "The black van came. ", "The cyan van came. ")
    (folder / "story.md").write_text("\n\n".join(14 * one for one in paragraphs))
    (folder / f"{LONG}.png").write_bytes(b"no picture")
    with (
        library_of(folder, tmp_path_factory.mktemp("library")) as library,
        serving(create_app(library)) as address,
    ):
        yield address


@contextmanager
def library_of(folder: Path, place: Path) -> Iterator[Library]:
    catalog = Catalog.open(place, create=True)
    index([folder], catalog, ColourEncoder(), options=Options(workers=0))
    catalog.close()
    with Library.open(place, encoder=ColourEncoder()) as library:
        yield library


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium on the PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """A fresh page that fails the test when a script fails or anything foreign is asked for."""
    with watched_page(browser, address) as page:
        yield page


@contextmanager
def watched_page(browser: Browser, address: str, **settings: object) -> Iterator[Page]:
    context = browser.new_context(base_url=address, **settings)  # type: ignore[arg-type]
    page = context.new_page()
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda said: troubles.append(said.text) if said.type == "error" else None)
    page.on(
        "request",
        lambda asked: None if asked.url.startswith(address) else troubles.append(asked.url),
    )
    yield page
    context.close()
    assert troubles == []


pytestmark = pytest.mark.browser


def best(page: Page) -> str | None:
    return page.locator(".card img").first.get_attribute("alt")


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
    assert page.locator(".card img").first.evaluate(shown) == 400


def test_more_like_this_and_back(page: Page) -> None:
    page.goto("/?q=red")
    page.get_by_role("link", name="More like red.png").click()
    expect(page.locator(".chip")).to_contain_text("like item")
    expect(page.locator(".card")).to_have_count(5)
    page.go_back()
    assert best(page) == "red.png"


def test_an_item_has_a_page(page: Page, photos: Path) -> None:
    page.goto("/?q=green")
    page.locator(".card .picture").first.click()
    expect(page.get_by_role("heading", name="green.png")).to_be_visible()
    expect(page.get_by_text(str(photos / "green.png"))).to_be_visible()
    expect(page.get_by_text("400 \u00d7 300 pixels")).to_be_visible()
    page.get_by_role("link", name="Back to the results").click()
    assert page.url.endswith("/?q=green")


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
    names = page.locator(".card img").evaluate_all("all => all.map((one) => one.alt)")
    assert names[:2] == ["yellow.png", HOSTILE]  # named so; orange is half red, half yellow


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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_quiet_words_can_be_read(browser: Browser, told: str, scheme: str) -> None:
    with watched_page(browser, told, color_scheme=scheme) as page:
        seen = set()
        for place in (*ITEMS, "/skipped", *PLACES, "/?q=red+kind:image|text"):
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
        assert link.locator("img").evaluate("image => image.naturalWidth") == 400
        link.click()
        expect(page.get_by_role("heading", name="blue.jpg")).to_be_visible()
        expect(page.get_by_role("heading", name="Text that belongs to it")).to_be_visible()
        page.get_by_role("link", name="Back to the results").click()
        assert page.url.endswith("/?q=blue&to=text")
        page.locator(".passages .name").first.click()
        expect(page.get_by_role("heading", name="The picture it belongs to")).to_be_visible()
        page.get_by_role("link", name="blue.jpg").first.click()
        expect(page.get_by_role("heading", name="blue.jpg")).to_be_visible()


def test_a_keyword_is_a_search(browser: Browser, told: str) -> None:
    with watched_page(browser, told) as page:
        page.goto("/?q=red")
        page.locator(".card .picture").first.click()
        page.get_by_role("link", name="bus", exact=True).press("Enter")
        page.wait_for_url("**/?q=bus")
        expect(page.get_by_label("What to look for")).to_have_value("bus")


def test_skipped_files_can_be_reached_from_the_start_page(browser: Browser, told: str) -> None:
    with watched_page(browser, told) as page:
        page.goto("/")
        page.get_by_role("link", name="1 file was skipped").click()
        expect(page.get_by_role("listitem")).to_have_count(1)
        expect(page.get_by_role("listitem")).to_contain_text(LONG)


@pytest.mark.parametrize(("scheme", "is_light"), [("light", True), ("dark", False)])
def test_the_page_follows_the_theme(
    browser: Browser, address: str, scheme: str, is_light: bool
) -> None:
    with watched_page(browser, address, color_scheme=scheme) as page:
        page.goto("/?q=red")
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        lightness = sum(int(part) for part in ground[4:-1].split(","))
        assert (lightness > 3 * 128) == is_light


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


def test_more_leads_to_the_next_page_without_script(browser: Browser, address: str) -> None:
    with watched_page(browser, address, java_script_enabled=False) as page:
        page.goto("/?q=blue&k=4")
        first = page.locator(".card img").evaluate_all("all => all.map((one) => one.alt)")
        page.get_by_role("link", name="More", exact=True).click()
        expect(page.locator(".card")).to_have_count(2)
        rest = page.locator(".card img").evaluate_all("all => all.map((one) => one.alt)")
        assert len({*first, *rest}) == 6
        expect(page.get_by_role("link", name="More", exact=True)).to_have_count(0)
        page.get_by_role("link", name="First page").click()
        assert page.url.endswith("/?q=blue&k=4")


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
    shown = page.locator(".card img").evaluate_all("all => all.map((one) => one.src)")
    assert len(shown) == 6
    page.locator(".card .picture").first.click()
    page.get_by_role("link", name="Back to the results").click()
    expect(page.locator(".card")).to_have_count(6)
    assert shown == page.locator(".card img").evaluate_all("all => all.map((one) => one.src)")
    page.get_by_role("link", name="Surprise me again").click()
    expect(page.locator(".card")).to_have_count(6)


def test_all_of_it_works_without_script(browser: Browser, address: str, photos: Path) -> None:
    with watched_page(browser, address, java_script_enabled=False) as page:
        page.goto("/")
        page.locator("#q").fill("blue")
        page.locator("label", has_text="Texts").click()
        page.locator(".go").click()
        expect(page.locator("blockquote")).to_have_count(1)
        page.get_by_role("link", name="Images", exact=True).click()
        expect(page.locator(".card")).to_have_count(6)
        page.get_by_text("Search by picture").click()
        page.locator("input[type=file]").set_input_files(photos / "black.png")
        page.locator(".panel button").click()
        page.wait_for_url("**/?picture=*")
        assert best(page) == "black.png"


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
