"""Logging in and out in a real browser, over plain HTTP by a name, as in a home network."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Playwright, expect

from searchx.catalog import Catalog
from searchx.search import Library
from tests.colour import ColourEncoder
from tests.pages.browsing import ARGUMENTS, CHROMIUM
from tests.served import served
from web.app import create_app

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]
TOKEN = "open-sesame-open-sesame"
NAMES = "--host-resolver-rules=MAP *.test 127.0.0.1"  # names to which browsers send no Sec-Fetch


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    place = tmp_path_factory.mktemp("browser") / "library"
    with closing(Catalog.open(place, create=True)) as catalog:
        library = Library(catalog, ColourEncoder())
        app = create_app(library, token=TOKEN, allowed_hosts=["nas.test"])
        with served(app) as (_, port):
            yield port


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, NAMES])
    yield chromium
    chromium.close()


def test_people_log_in_and_out_over_plain_http(browser: Browser, port: int) -> None:
    page = browser.new_page()
    page.goto(f"http://nas.test:{port}/skipped")
    page.get_by_label("Token of this server").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("not the token")
    page.get_by_label("Token of this server").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(f"http://nas.test:{port}/skipped")
    assert page.evaluate("document.cookie") == ""
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Token of this server")).to_be_visible()
    page.goto(f"http://nas.test:{port}/skipped")
    expect(page.get_by_label("Token of this server")).to_be_visible()
    page.close()


def test_a_page_elsewhere_neither_sends_nor_reads_nor_frames(
    browser: Browser, port: int, tmp_path: Path
) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"http://nas.test:{port}/login")
    page.get_by_label("Token of this server").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    there = f"http://nas.test:{port}"
    (tmp_path / "evil.html").write_text(
        f'<form action="{there}/logout" method="post"><button>win</button></form>'
        f'<iframe src="{there}/docs"></iframe><img src="{there}/static/icon.svg">'
    )
    evil = context.new_page()
    refused: list[str] = []
    evil.on("requestfailed", lambda request: refused.append(request.url))
    evil.goto((tmp_path / "evil.html").as_uri())
    assert evil.evaluate(f"fetch('{there}/openapi.json').then(() => 'read', () => 'refused')") == (
        "refused"
    )
    assert f"{there}/static/icon.svg" in refused
    assert evil.evaluate("document.querySelector('img').naturalWidth") == 0
    evil.get_by_role("button", name="win").click()
    expect(evil.locator("body")).to_contain_text("another website")
    page.goto(f"{there}/skipped")
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
    context.close()
