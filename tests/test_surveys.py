"""The pages and routes about the whole library: explore, duplicates, status."""

import html
import json
import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from indexer.pipeline import index_into
from searchx.catalog import Catalog
from searchx.errors import Busy
from searchx.progress import Publisher
from searchx.records import Pace
from searchx.search import Library
from tests.colour import ColourEncoder, paint
from web.app import create_app
from web.pages.duplicates import GROUPS
from web.phrases import COOKIE
from web.waiting import AT_ONCE, WAITING, Waits

HOSTILE = '<img src=x onerror="alert(1)">'
PAGES = (
    "/explore",
    "/explore?to=text",
    "/duplicates",
    "/duplicates?to=text",
    "/status",
    "/skipped",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty pictures in shades of four colours, a copy, hostile names and captions."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(10):
        for name, colour in (
            ("red", (250 - number, number, 0)),
            ("green", (0, 250 - number, number)),
            ("blue", (number, 0, 250 - number)),
            ("white", (250, 250 - number, 250)),
        ):
            paint(folder / name / f"{name}{number}.png", colour)
            (folder / name / f"{name}{number}.txt").write_text(f"{name} thing {number}")
    shutil.copy(folder / "red" / "red1.png", folder / f"{HOSTILE.replace('/', '')}.png")
    (folder / "note.txt").write_text(HOSTILE)
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def library(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    place = tmp_path_factory.mktemp("library")
    index_into(place, folder, ColourEncoder())
    with Library.open(place, encoder=ColourEncoder()) as library:
        yield library


@pytest.fixture
def client(library: Library) -> Iterator[TestClient]:
    with TestClient(create_app(library), base_url="http://localhost") as client:
        yield client


def links(page: str, start: str) -> list[str]:
    return [html.unescape(one) for one in re.findall(r'href="([^"]+)"', page) if start in one]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_pages_are_there_in_both_languages(client: TestClient, page: str, language: str) -> None:
    answer = client.get(page, headers={"cookie": f"{COOKIE}={language}"})
    assert answer.status_code == 200
    assert "<img src=x" not in answer.text and "style=" not in answer.text
    assert "<h1" in answer.text


def test_wandering_reaches_every_picture(client: TestClient, library: Library) -> None:
    todo, seen, found = ["/explore"], set[str](), set[str]()
    while todo:
        address = todo.pop()
        page = client.get(address).text
        seen.add(address)
        tiles = re.findall(r'<a class="tile" href="([^"]+)"', page)
        todo += [html.unescape(one) for one in tiles]
        if not tiles:
            found |= set(re.findall(r'href="(/items/\d+)"', page))
        if address != "/explore":
            assert 'rel="up"' in page
    assert len(seen) > 3
    assert len(found) == library.overview().images


def test_a_cluster_that_is_gone_leads_to_the_one_it_was_in(client: TestClient) -> None:
    answer = client.get("/explore?at=1.99.1", follow_redirects=False)
    assert answer.status_code == 303 and answer.headers["location"] == "/explore?at=1.99"
    assert client.get("/explore?at=1.99.1").status_code == 200
    assert client.get("/explore?at=x").url.path == "/explore"
    assert client.get("/explore?at=1&after=x").status_code == 400
    assert client.get("/explore?at=1&q=-red").status_code == 400


def test_a_cluster_is_searched_within(client: TestClient) -> None:
    page = client.get("/explore?at=1&q=red").text
    assert "“<bdi>red</bdi>”" in page and "tile" not in page
    (clear,) = [one for one in links(page, "/explore?at=1") if one == "/explore?at=1"][:1]
    assert client.get(clear).status_code == 200


def test_clusters_over_http(client: TestClient, library: Library) -> None:
    answer = client.get("/api/clusters?k=5").json()
    assert [one["at"] for one in answer["trail"]] == [""]
    assert sum(one["size"] for one in answer["parts"]) == library.overview().images
    assert len(answer["hits"]) == 5 and answer["hits"][0]["score"] == 0
    below = client.get("/api/clusters", params={"at": "2", "q": "blue", "k": 200}).json()
    scores = [one["score"] for one in below["hits"]]
    assert scores == sorted(scores, reverse=True) and below["cursor"] is None
    assert below["trail"][1]["size"] == len(scores)
    assert client.get("/api/clusters?at=1.99").status_code == 400
    assert client.get("/api/clusters?to=both").status_code == 422


def test_duplicates_over_http_and_on_the_page(client: TestClient, folder: Path) -> None:
    answer = client.get("/api/duplicates?k=200").json()
    groups = answer["groups"]
    paths = [{one["best"]["path"], *(other["path"] for other in one["others"])} for one in groups]
    copies = {str(folder / "red" / "red1.png"), str(folder / f"{HOSTILE}.png")}
    assert any(copies <= one for one in paths)
    assert answer["count"] == len(groups) and answer["cursor"] is None
    page = client.get("/duplicates").text
    assert all(
        html.escape(one, quote=False) in html.unescape(page) or one in html.unescape(page)
        for one in copies
    )
    assert client.get("/duplicates?where=camra:x").status_code == 400
    assert "camra" in client.get("/duplicates?where=camra:x").text
    assert client.get("/api/duplicates?where=camra:x").status_code == 400
    nothing = client.get("/duplicates?where=folder:none").text
    assert "Nothing is here twice" in nothing


def test_the_status_is_that_of_the_prompt(client: TestClient, library: Library) -> None:
    answer = client.get("/api/status").json()
    state = library.status().as_dict()
    assert answer == {name: one for name, one in state.items() if name != "skipped"} | {
        "bytes": answer["bytes"]
    }
    assert answer["images"] == 40 and answer["progress"] is None
    assert [one["reason"] for one in answer["reasons"]] and answer["held"][0]["skipped"] == 1
    assert answer["held"][0]["indexed"] is not None
    assert {one["kind"]: one["factory"] for one in answer["indexes"]} == {
        "image": "exact",
        "text": "exact",
    }
    page = client.get("/status").text
    assert "not known" not in page and html.escape(str(answer["sources"][0])) in page


def test_the_status_tells_a_run_that_goes_on(client: TestClient, library: Library) -> None:
    publisher = Publisher(library.directory)
    publisher.begin(200)
    try:
        publisher.build()
        assert "the index is being built" in client.get("/status").text
        publisher.begin(200)
        time.sleep(1.01)
        publisher.advance(50, 48, 0, Pace(10, 20, 30))
        page = client.get("/status").text
        assert "Indexing: 50 of 200 files" in page and 'value="0.2500"' in page
        progress = client.get("/api/status").json()["progress"]
        assert (progress["done"], progress["share"], progress["images"]) == (50, 0.25, 48)
    finally:
        publisher.end()
    assert "Indexing:" not in client.get("/status").text


@pytest.mark.parametrize("page", PAGES)
def test_an_empty_library_says_so(tmp_path: Path, page: str) -> None:
    Catalog.open(tmp_path, create=True).close()
    with Library.open(tmp_path, encoder=ColourEncoder()) as library:
        client = TestClient(create_app(library), base_url="http://localhost")
        answer = client.get(page)
        assert answer.status_code == 200
        if page != "/skipped":
            assert "searchx index FOLDER" in answer.text
        assert client.get("/api/status").json()["images"] == 0
        assert client.get("/api/clusters").status_code == 503


def test_where_comparing_takes_long_the_page_tells_how_far_it_is(
    client: TestClient, library: Library
) -> None:
    waits: Waits = client.app.state.waits  # type: ignore[attr-defined]
    done = threading.Event()
    waits.result(("duplicates", "image", GROUPS, None, None), done.wait, 0)
    page = client.get("/duplicates").text
    done.set()
    assert "Comparing everything with everything" in page and "data-refresh" in page
    assert 'href="/duplicates">Reload' in page  # also with the script off


@pytest.mark.parametrize(
    "address",
    [
        *("/api/clusters?q=", "/explore?q=", "/api/search?q=", "/?q=", "/more?q="),
        *("/?random=1&q=", "/api/facets?where=", "/api/random?where=", "/api/duplicates?where="),
        *("/duplicates?where=", "/items/1?q=", "/items/1/why?q="),
    ],
)
def test_no_address_reads_a_picture_by_its_path(
    client: TestClient, folder: Path, address: str
) -> None:
    for path in (folder / "red" / "red1.png", folder / "none.png"):
        answer = client.get(f"{address}img:{path}")
        assert answer.status_code == (200 if "/items/1?" in address else 400)
        assert "No such file" not in answer.text and "cannot be read" not in answer.text


@pytest.mark.parametrize(
    "address",
    ["/api/clusters?limit=5", "/api/duplicates?limit=5", "/api/skipped?limit=5"],
)
def test_a_parameter_that_is_not_known_is_refused(client: TestClient, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 422 and "limit" in answer.json()["detail"]


def test_what_nobody_waited_for_is_not_given_later() -> None:
    waits, go, done = Waits(), threading.Event(), threading.Event()

    def old() -> str:
        assert go.wait(20)
        done.set()
        return "old"

    assert waits.result("x", old, 0) is None
    go.set()
    assert done.wait(20)
    deadline = time.monotonic() + 20
    while waits._going_on and time.monotonic() < deadline:
        time.sleep(0.01)
    assert waits.result("x", lambda: "new", 20) == "new"


def test_what_takes_too_long_for_who_asks_is_there_for_the_next() -> None:
    waits, go = Waits(), threading.Event()
    assert waits.recent("x", lambda: go.wait(20) and 3, 0, 60) is None
    go.set()
    deadline = time.monotonic() + 20
    while waits._going_on and time.monotonic() < deadline:
        time.sleep(0.01)
    assert waits.recent("x", lambda: 4, 0, 60) == 3


def test_no_more_goes_on_and_no_more_wait_than_have_a_place() -> None:
    waits, go = Waits(), threading.Event()
    for number in range(AT_ONCE):
        assert waits.result(number, lambda: go.wait(20), 0) is None
    with pytest.raises(Busy):
        waits.result("one more", lambda: 1, 0)
    assert waits.recent("size", lambda: 1, 0, 60) is None
    waiting = [
        threading.Thread(target=waits.result, args=(0, lambda: 0, 20)) for _ in range(WAITING)
    ]
    for one in waiting:
        one.start()
    while waits._places._value:
        time.sleep(0.01)
    with pytest.raises(Busy):
        waits.result(0, lambda: 0, 20)
    go.set()
    for one in waiting:
        one.join()
    assert waits.result("one more", lambda: 1, 20) == 1


def test_who_waits_for_long_work_waits_for_the_same() -> None:
    waits, done = Waits(), list[int]()

    def work() -> int:
        time.sleep(0.2)
        done.append(1)
        return 7

    assert waits.result("x", work, 0.01) is None
    assert waits.result("x", work, 5) == 7
    assert done == [1]
    assert waits.result("x", work, 5) == 7 and done == [1, 1]  # it is done anew afterwards
    with pytest.raises(ZeroDivisionError):
        waits.result("y", lambda: 1 // 0, 5)
    assert waits.recent("z", lambda: 3, 1, 60) == waits.recent("z", lambda: 4, 1, 60) == 3
    assert json.dumps(waits.recent("z", lambda: 5, 1, 0)) == "5"
