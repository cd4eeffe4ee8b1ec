"""The server over a small real library: answers, limits, and what it must not give away."""

import base64
import html
import io
import os
import re
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TypeAlias

import anyio
import pyarrow as pa
import pyarrow.parquet
import pytest
from anyio.to_thread import current_default_thread_limiter
from fastapi import HTTPException
from fastapi.testclient import TestClient
from PIL import Image
from starlette.types import Message

from indexer.pipeline import index
from indexer.planning import Options
from searchx.catalog import Catalog
from searchx.pictures.images import open_image
from searchx.records import KINDS, Location, Metadata, Query
from searchx.search import Library
from tests.colour import ColourEncoder, paint
from web import decoding, pictures
from web.api.bodies import MAX_VALUES
from web.app import create_app
from web.guard import host_name
from web.pages.upkeep import SKIPPED_SHOWN
from web.places import open_file
from web.sessions import COOKIE, same, session_of
from web.shapes import (
    MAX_TEXT,
    MAX_UPLOAD,
    Answer,
    FacetsAnswer,
    HitShape,
    ItemAnswer,
    ItemShape,
    LocationShape,
    MetadataShape,
    Sample,
)

WORTH = {"score", "relevance", "band", "why", "alike"}  # what a hit has and an item has not
HOSTILE = "<img src=x onerror=alert(1)>\"'&.png"
Pack: TypeAlias = Callable[..., Path]
UNASKED = {
    **{"text": "", "image": None, "like": None, "to": "image", "k": 10},
    **{"where": None, "after": None, "group": False, "diversity": 0.0},
}
HEADERS = ("content-security-policy", "x-content-type-options", "referrer-policy")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for colour in ("red", "green", "blue", "yellow"):
        paint(folder / f"{colour}.png", colour, (640, 480))
    paint(folder / HOSTILE, "orange")
    (folder / "notes.txt").write_text("<script>alert(1)</script> The red bus.")
    (folder / "sea.txt").write_text("A blue sea.")
    return folder


def library_of(folder: Path, place: Path) -> Library:
    catalog = Catalog.open(place, create=True)
    index([folder], catalog, ColourEncoder(), options=Options(workers=0))
    catalog.close()
    return Library.open(place, encoder=ColourEncoder())


@pytest.fixture
def library(photos: Path, tmp_path: Path) -> Iterator[Library]:
    with library_of(photos, tmp_path / "library") as library:
        yield library


@pytest.fixture
def client(library: Library) -> Iterator[TestClient]:
    with TestClient(create_app(library), base_url="http://localhost") as client:
        yield client


def picture_of(colour: str, format: str = "PNG") -> bytes:
    packed = io.BytesIO()
    Image.new("RGB", (32, 32), colour).save(packed, format)
    return packed.getvalue()


def id_of(library: Library, name: str) -> int:
    hits = library.search("red", 50) + library.search("red", 50, "text")
    return next(hit.id for hit in hits if Path(hit.path).name == name)


# the JSON routes


@pytest.mark.parametrize("to", ["image", "text"])
def test_search_gives_what_the_library_gives(client: TestClient, library: Library, to: str) -> None:
    answer = client.get("/api/search", params={"q": "red", "k": 3, "to": to}).json()
    expected = library.search("red", 3, "text" if to == "text" else "image")
    assert answer["hits"] == [hit.as_dict() for hit in expected]
    assert answer["query"] == UNASKED | {"text": "red", "to": to, "k": 3}


def test_the_documented_shapes_are_those_of_the_records(client: TestClient) -> None:
    answer = client.get("/api/search", params={"q": "red"}).json()
    Answer.model_validate(answer)
    texts = client.get("/api/search", params={"q": "red", "to": "text"}).json()
    given = set(answer["hits"][0]) | set(texts["hits"][0])
    assert given == set(HitShape.model_fields)
    assert given - WORTH == set(ItemShape.model_fields)


def test_the_documented_keys_are_those_of_the_records() -> None:
    names = [field.name for field in fields(Location) if field.compare]
    assert [*LocationShape.model_fields] == names
    assert [*MetadataShape.model_fields] == [field.name for field in fields(Metadata)]


def test_facets_are_those_of_the_library(client: TestClient, library: Library) -> None:
    answer = client.get("/api/facets", params={"where": "ext:png", "k": 2}).json()
    FacetsAnswer.model_validate(answer)
    assert answer["query"] == {"where": "ext:png", "k": 2}
    assert answer["facets"] == library.facets("ext:png", 2).as_dict()["facets"]
    assert answer["facets"]["kind"] == [{"value": "image", "count": 5, "where": "kind:image"}]
    assert client.get("/api/facets?k=1001").status_code == 422
    assert client.get("/api/facets?where=camra:x").status_code == 400


def test_an_item_tells_all_that_is_known_of_it(told: TestClient, told_library: Library) -> None:
    item = told.get(f"/api/items/{id_of(told_library, 'red.png')}").json()
    assert ItemAnswer.model_validate(item).metadata is not None
    assert item["metadata"]["taken"] == "2021-05-02T07:41:09-06:00"
    assert item["metadata"]["rating"] == 4
    assert "lens" not in item["metadata"]
    assert CAPTION in item["captions"]
    assert "context" not in item
    assert told.get("/api/search?q=red&k=1").json()["hits"][0]["metadata"] == item["metadata"]


def test_a_text_is_given_with_its_picture_and_its_place(
    told: TestClient, told_library: Library
) -> None:
    text = told_library.search(CAPTION, 1, "text")[0]
    answer = told.get(f"/api/items/{text.id}").json()
    assert answer["pictures"] == [id_of(told_library, "red.png")]
    assert answer["context"] == {"before": "", "after": ""}  # other captions are no context
    story = [told.get(f"/api/items/{one}").json() for one in story_ids(told_library)]
    assert [one["locations"][0]["line"] for one in story] == [1, 3, 5]
    assert story[1]["context"] == {"before": story[0]["text"], "after": story[2]["text"]}
    assert story[0]["context"]["before"] == story[2]["context"]["after"] == ""
    assert "page" not in story[0]["locations"][0]
    for one in story:
        assert set(one) | {*item_fields(told)} == set(ItemAnswer.model_fields)


def test_more_like_an_item(client: TestClient, library: Library) -> None:
    red = id_of(library, "red.png")
    hits = client.get("/api/search", params={"like": red, "k": 2}).json()["hits"]
    assert hits == [hit.as_dict() for hit in library.search(Query(like=red), 2)]
    assert red not in [hit["id"] for hit in hits]


def test_search_by_picture_and_words(client: TestClient, library: Library) -> None:
    files = {"image": ("mine.png", picture_of("blue"), "image/png")}
    answer = client.post("/api/search", files=files, data={"k": "1"}).json()
    assert Path(answer["hits"][0]["path"]).name == "blue.png"
    assert answer["query"]["image"] == "mine.png"
    both = client.post("/api/search", files=files, data={"q": "red", "k": "3"}).json()
    expected = library.search(Query(text="red", image=picture_of("blue")), 3)
    assert [hit["id"] for hit in both["hits"]] == [hit.id for hit in expected]


def found_names(answer: dict[str, list[dict[str, str]]]) -> list[str]:
    return [Path(hit["path"]).name for hit in answer["hits"]]


def test_filters_stand_in_the_words_or_beside_them(client: TestClient) -> None:
    within = client.get("/api/search", params={"q": "red name:blue*"})
    beside = client.get("/api/search", params={"q": "red", "where": "name:blue*"})
    assert found_names(within.json()) == found_names(beside.json()) == ["blue.png"]
    assert beside.json()["query"]["where"] == "name:blue*"
    sent = client.post("/api/search", data={"q": "red", "where": "name:blue*"})
    assert sent.json() == beside.json()


def test_a_filter_alone_gives_hits_that_were_not_compared(client: TestClient) -> None:
    hits = client.get("/api/search", params={"where": "width:640"}).json()["hits"]
    assert len(hits) == 4
    assert {(hit["score"], hit["relevance"], hit["band"]) for hit in hits} == {(0, None, None)}


def test_the_words_may_say_what_to_find(client: TestClient) -> None:
    answer = client.get("/api/search", params={"q": "red kind:text"}).json()
    assert answer["query"]["to"] == "text"
    assert {hit["kind"] for hit in answer["hits"]} == {"text"}
    both = client.get("/api/search", params={"q": "red", "to": "both"}).json()
    assert {hit["kind"] for hit in both["hits"]} == {"text", "image"}


def test_an_answer_tells_whether_it_is_one_and_what_was_perhaps_meant(client: TestClient) -> None:
    red = client.get("/api/search", params={"q": "red"}).json()
    assert (red["has_match"], red["notice"]) == (True, None)
    assert red["hits"][0]["band"] == "strong"
    dog = client.get("/api/search", params={"q": "a dog without people"}).json()
    assert (dog["has_match"], dog["notice"]) == (False, "a dog -people")
    assert 0 <= dog["chance"] < red["chance"] <= 1


def test_pages_follow_each_other_by_cursor(client: TestClient) -> None:
    whole = client.get("/api/search", params={"q": "red"})
    names: list[str] = []
    cursor = ""
    for _ in range(3):
        page = client.get(f"/api/search?q=red&k=2&after={cursor}")
        names += found_names(page.json())
        cursor = page.json()["cursor"]
    assert names == found_names(whole.json())
    assert cursor is None


def test_near_duplicates_and_diversity_are_asked_for(tmp_path: Path) -> None:
    for number in range(3):
        paint(tmp_path / "photos" / f"{number}.png", (250 + number, 0, 0))
    paint(tmp_path / "photos" / "blue.png", "blue")
    with library_of(tmp_path / "photos", tmp_path / "library") as library:
        client = TestClient(create_app(library), base_url="http://localhost")
        hits = client.get("/api/search?q=red&group=true").json()["hits"]
        assert [len(hit["alike"]) for hit in hits] == [2, 0]
        page = words_of(client.get("/?q=red&group=1").text)
        assert "+2 alike" in page and "Show near duplicates" in page
        assert "alike" not in words_of(client.get("/?q=red").text)
        unlike = client.get("/api/search?q=red&k=2&diversity=1")
        assert "blue.png" in found_names(unlike.json()) and unlike.json()["cursor"] is None


def test_a_search_explains_itself(client: TestClient) -> None:
    answer = client.get("/api/search?q=red&explain=true").json()
    assert Answer.model_validate(answer).explained
    assert answer["explained"][0]["items"] == 5
    assert "explained" not in client.get("/api/search?q=red").json()


@pytest.mark.parametrize(
    ("document", "address"),
    [
        ({"text": "red"}, "q=red"),
        (
            {"text": "red", "where": {"name": "*e*"}, "k": 2, "group": True},
            "q=red&where=name:*e*&k=2&group=true",
        ),
        ({"text": "red", "parts": [{"text": "blue", "weight": -0.5}]}, "q=red%20-blue^0.5"),
        ({"like": 1, "to": "text", "diversity": 1}, "like=1&to=text&diversity=1"),
    ],
)
def test_a_document_asks_the_same_as_the_language(
    client: TestClient, document: dict[str, object], address: str
) -> None:
    sent = client.post("/api/search", json=document)
    assert Answer.model_validate(sent.json())
    assert sent.json()["hits"] == client.get(f"/api/search?{address}").json()["hits"]


def test_a_document_is_echoed_without_its_pictures(client: TestClient) -> None:
    image = base64.b64encode(picture_of("blue")).decode()
    document = {"image": f"data:image/png;base64,{image}", "where": {"name": "*e*"}, "k": 1}
    answer = client.post("/api/search", json=document)
    assert found_names(answer.json()) == ["blue.png"]
    assert answer.json()["query"] == UNASKED | {"where": {"name": "*e*"}, "k": 1}


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ("", 400, "no JSON object"),
        ("[]", 400, "no JSON object"),
        ("{", 400, "no JSON object"),
        ('{"k": NaN, "text": "red"}', 400, "no JSON object"),
        ("[" * 10_000, 400, "no JSON object"),
        ('{"text": "red", "k": ' + "9" * 5000 + "}", 400, "no JSON object"),
        ('{"parts": [' + "1," * MAX_VALUES + "1]}", 413, "values"),
        ("{}", 400, "nothing to search for"),
        ('{"text": "red", "k": 0}', 422, "k: "),
        ('{"text": "red", "k": "3"}', 422, "k: "),
        ('{"text": "red", "diversity": 2}', 422, "diversity: "),
        ('{"text": "red", "group": 1}', 422, "group: "),
        ('{"text": "red", "whre": {}}', 400, "whre"),
        ('{"text": "red", "where": {"camra": "x"}}', 400, "camra"),
        ('{"text": "' + "x" * (MAX_TEXT + 1) + '"}', 422, "longer than 2,000"),
        ('{"parts": [{"text": "' + "x" * (MAX_TEXT + 1) + '"}]}', 422, "longer than 2,000"),
        ('{"file": "red.png"}', 400, "no files are opened here"),
    ],
)
def test_a_document_that_cannot_be_is_explained(
    client: TestClient, body: str, status: int, says: str
) -> None:
    headers = {"content-type": "application/json; charset=utf-8"}
    answer = client.post("/api/search", content=body, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert says in answer.json()["detail"]


def test_large_documents_are_refused(client: TestClient) -> None:
    document = {"text": "red", "image": "A" * MAX_UPLOAD}
    assert client.post("/api/search", json=document).status_code == 413


def test_no_file_of_the_server_is_ever_asked_with(client: TestClient, photos: Path) -> None:
    query = f'img:"{photos / "red.png"}"'
    for answer in (
        client.get("/api/search", params={"q": query}),
        client.get("/api/search", params={"q": "red", "where": query}),
        client.post("/api/search", data={"q": f"red +{query}"}),
        client.get("/", params={"q": query}),
        client.get("/", params={"q": query, "random": "1"}),
    ):
        assert answer.status_code == 400
    assert "no files are opened here" in client.get("/", params={"q": query}).text
    sent = client.post("/api/search", json={"text": query}).json()  # words, in a document
    assert sent["query"]["text"] == query and len(sent["hits"]) == 5


def test_items_at_random_are_the_same_for_the_same_seed(client: TestClient) -> None:
    answer = client.get("/api/random?k=3").json()
    assert Sample.model_validate(answer)
    again = client.get("/api/random", params={"k": 3, "seed": answer["query"]["seed"]})
    assert again.json() == answer
    drawn = client.get("/api/random", params={"where": "name:red*"})
    assert found_names(drawn.json()) == ["red.png"]
    assert client.get("/api/random?where=camra:x").status_code == 400
    assert client.get("/api/random?seed=-1").status_code == 422


def test_an_item_is_given_without_a_score(client: TestClient, library: Library) -> None:
    red = id_of(library, "red.png")
    item = client.get(f"/api/items/{red}").json()
    assert (item["width"], item["height"]) == (640, 480)
    assert set(item) & WORTH == set()


@pytest.mark.parametrize(
    ("address", "status", "says"),
    [
        ("/api/search", 400, "nothing to search for"),
        ("/api/search?q=%20", 400, "nothing to search for"),
        ("/api/search?q=red&k=0", 422, "k: "),
        ("/api/search?q=red&k=201", 422, "k: "),
        ("/api/search?q=red&to=sound", 422, "to: "),
        ("/api/search?like=99999", 400, "99999"),
        ("/api/search?like=99999999999999999999999", 422, "like: "),
        ("/api/search?q=" + "x" * 2001, 422, "q: "),
        ("/api/search?q=red&where=" + "x" * 2001, 422, "where: "),
        ("/api/search?q=red&where=camra:canon", 400, "camra"),
        ("/api/search?q=red%20taken:soon", 400, "taken:soon"),
        ("/api/search?q=red&after=x", 400, "cursor"),
        ("/api/search?q=red&after=" + "x" * 99, 422, "after: "),
        ("/api/search?q=red&group=perhaps", 422, "group: "),
        ("/api/search?q=red&diversity=2", 422, "diversity: "),
        ("/api/search?q=red&diversity=nan", 422, "diversity: "),
        ("/api/search?q=-red", 400, "only says what to leave out"),
        ("/api/items/99999", 404, "99999"),
        ("/api/items/0", 422, "id: "),
        ("/api/nothing", 404, "/api/nothing"),
    ],
)
def test_problems_of_the_api_are_one_line(
    client: TestClient, address: str, status: int, says: str
) -> None:
    answer = client.get(address)
    problem = answer.json()
    assert answer.status_code == problem["status"] == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(problem) - {"error"} == {"type", "title", "status", "detail"}
    assert says in problem["detail"]
    assert "\n" not in problem["detail"]


@pytest.mark.parametrize("content", [b"no picture", b"", picture_of("red")[:40]])
def test_an_unreadable_picture_is_explained(client: TestClient, content: bytes) -> None:
    files = {"image": ("broken.png", content, "image/png")}
    assert client.post("/api/search", files=files).status_code == 422
    answer = client.post("/", files=files)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text


def test_large_uploads_are_refused(client: TestClient) -> None:
    files = {"image": ("large.png", b"\0" * (MAX_UPLOAD + 1), "image/png")}
    answer = client.post("/api/search", files=files)
    assert answer.status_code == 413
    assert "32 MiB" in answer.json()["detail"]


def test_large_uploads_of_undeclared_size_are_refused(client: TestClient) -> None:
    def body() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
        for _ in range(MAX_UPLOAD // 2**20 + 1):
            yield b"\0" * 2**20

    kind = {"content-type": "multipart/form-data; boundary=x"}
    assert client.post("/api/search", content=body(), headers=kind).status_code == 413


def test_health(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}


def test_health_is_told_while_every_thread_is_at_work(client: TestClient) -> None:
    portal = client.portal
    assert portal is not None
    limiter = portal.call(current_default_thread_limiter)

    def take_all() -> None:
        limiter.total_tokens = 1
        limiter.acquire_on_behalf_of_nowait("test")

    portal.call(take_all)
    with ThreadPoolExecutor(5) as pool:
        state = ("/healthz", "/readyz", "/metrics", "/healthz?x=")
        asked = [pool.submit(client.get, one) for one in state]
        search = pool.submit(client.get, "/api/search?q=red")
        try:
            assert [one.result(20).status_code for one in asked] == [200] * len(state)
            assert not search.done()
        finally:
            portal.call(limiter.release_on_behalf_of, "test")


def test_pictures_that_wait_for_a_decoder_keep_no_thread_from_others(client: TestClient) -> None:
    portal = client.portal
    assert portal is not None
    limiter = portal.call(current_default_thread_limiter)
    portal.call(setattr, limiter, "total_tokens", 2)
    ids = [hit["id"] for hit in client.get("/api/search?q=red&k=4").json()["hits"]]
    with ThreadPoolExecutor(len(ids)) as pool:
        with every_decoder_at_work():
            asked = [pool.submit(client.get, f"/items/{id}/picture?side=1") for id in ids]
            for _ in range(3):
                assert client.get("/api/search?q=red").status_code == 200
            assert not any(one.done() for one in asked)
        assert [one.result(30).status_code for one in asked] == [200] * len(ids)


@contextmanager
def every_decoder_at_work() -> Iterator[None]:
    with ExitStack() as taken:
        while decoding.DECODING.acquire(blocking=False):
            taken.callback(decoding.DECODING.release)
        yield


def test_a_query_picture_waits_for_its_turn_to_be_decoded(client: TestClient) -> None:
    files = {"image": ("mine.png", picture_of("blue"), "image/png")}
    with ThreadPoolExecutor(1) as pool:
        with every_decoder_at_work():
            asked = pool.submit(client.post, "/api/search", files=files)
            assert client.get("/api/search?q=red").status_code == 200  # words need no decoder
            with pytest.raises(TimeoutError):
                asked.result(1)
        assert asked.result(30).status_code == 200


# what is known of an item

SIDECAR = """<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"
  xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:exif="http://ns.adobe.com/exif/1.0/"
  exif:DateTimeOriginal="2021-05-02T07:41:09-06:00"
  exif:GPSLatitude="43,36.5N" exif:GPSLongitude="116,12.0W">
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">A &lt;i&gt;title</rdf:li></rdf:Alt></dc:title>
<dc:subject><rdf:Bag><rdf:li>&lt;b&gt;wet&lt;/b&gt; &amp; dry</rdf:li></rdf:Bag></dc:subject>
</rdf:Description></rdf:RDF></x:xmpmeta>"""
CAPTION = '<script>alert(1)</script> A "red" bus.'


@pytest.fixture
def told_photos(tmp_path: Path) -> Path:
    folder = tmp_path / "told"
    paint(folder / "red.png", "red")
    (folder / "red.xmp").write_text(SIDECAR)
    (folder / "red.txt").write_text(CAPTION)
    paint(folder / "blue.png", "blue")
    paragraphs = ("The white van came. ", "The <i>black</i> one came. ", "The cyan one came. ")
    (folder / "story.md").write_text("\n\n".join(11 * one for one in paragraphs))
    return folder


@pytest.fixture
def told_library(told_photos: Path, tmp_path: Path) -> Iterator[Library]:
    with library_of(told_photos, tmp_path / "told library") as library:
        yield library


@pytest.fixture
def told(told_library: Library) -> Iterator[TestClient]:
    with TestClient(create_app(told_library), base_url="http://localhost") as client:
        yield client


def story_ids(library: Library) -> list[int]:
    hits = library.search("white", 50, "text")
    return sorted(hit.id for hit in hits if hit.path.endswith("story.md"))


def item_fields(client: TestClient) -> set[str]:
    hit = client.get("/api/search?q=red&k=1").json()["hits"][0]
    return set(hit) - WORTH


def words_of(page: str) -> str:
    """Give what a page says, without its markup."""
    return html.unescape(" ".join(re.sub(r"<[^>]*>", " ", page).split()))


def test_the_page_of_a_picture_tells_what_is_known_of_it(
    told: TestClient, told_library: Library
) -> None:
    page = told.get(f"/items/{id_of(told_library, 'red.png')}").text
    words = words_of(page)
    for fact in (
        "Title A <i>title",
        "Taken 2 May 2021, 07:41:09, UTC-06:00 from a file beside the picture",
        "Place 43.6083 N, 116.2000 W",
        "Rating ★★★★☆ 4 of 5 stars",
        "Keyword <b>wet</b> & dry",
        "Format PNG , ",
        "Size 64 \N{MULTIPLICATION SIGN} 48 pixels",
        f"Text that belongs to it {CAPTION}",
    ):
        assert fact in words
    assert 'datetime="2021-05-02T07:41:09-06:00"' in page
    assert "Lens" not in words


def test_a_keyword_leads_to_a_search_for_it(told: TestClient, told_library: Library) -> None:
    page = told.get(f"/items/{id_of(told_library, 'red.png')}").text
    address = re.findall(r'href="(/\?q=keyword[^"]+)"', page)[0]
    assert address == "/?q=keyword%3A%22%3Cb%3Ewet%3C%2Fb%3E%20%26%20dry%22"
    results = told.get(address).text
    assert 'value="keyword:&#34;&lt;b&gt;wet&lt;/b&gt; &amp; dry&#34;"' in results
    assert f"/items/{id_of(told_library, 'red.png')}?" in results


def test_the_page_of_a_picture_of_which_nothing_is_known_has_no_empty_facts(
    told: TestClient, told_library: Library
) -> None:
    words = words_of(told.get(f"/items/{id_of(told_library, 'blue.png')}").text)
    assert not re.search(r"\b(Title|Taken|Place|Camera|Rating|Keywords?|belongs?)\b", words)
    assert "Format PNG , " in words


def test_the_page_of_a_passage_tells_its_place_and_what_stands_beside_it(
    told: TestClient, told_library: Library
) -> None:
    ids = story_ids(told_library)
    texts = [told_library.item(one).text or "" for one in ids]
    words = words_of(told.get(f"/items/{ids[1]}").text)
    assert f"Before it: {texts[0]} {texts[1]} After it: {texts[2]}" in words
    assert "story.md line 3" in words
    assert "Before it" not in words_of(told.get(f"/items/{ids[0]}").text)


def test_a_text_shows_the_picture_that_it_belongs_to(
    told: TestClient, told_library: Library
) -> None:
    red = id_of(told_library, "red.png")
    text = told_library.search(CAPTION, 1, "text")[0].id
    page = told.get(f"/items/{text}?q=bus&to=text").text
    assert "The picture it belongs to" in page
    assert f'href="/items/{red}?q=bus&amp;to=text"' in page
    named = re.findall(rf'src="/items/{red}/thumbnail" alt="([^"]*)"', page)
    assert html.unescape(named[0]) == CAPTION
    assert "After it" not in page
    results = told.get("/?q=bus&to=text").text
    small = f'src="/items/{red}/thumbnail?side=240"'
    assert f'{small} alt="The picture that this text belongs to"' in results
    assert "red.png · red.txt, line 1" in words_of(results)


def test_a_picture_is_named_by_its_caption_where_there_is_one(told: TestClient) -> None:
    page = told.get("/?q=red").text
    names = [html.unescape(one) for one in re.findall(r'thumbnail" alt="([^"]*)"', page)]
    assert names == [CAPTION, "blue.png"]


def test_what_is_known_does_not_become_markup(told: TestClient, told_library: Library) -> None:
    ids = [hit.id for to in KINDS for hit in told_library.search("red", 50, to)]
    for address in ["/?q=red", "/?q=red&to=text", *(f"/items/{one}" for one in ids)]:
        page = told.get(address).text
        assert not re.search(r"<script>alert|<b>|<i>", page)
        assert "style=" not in page


# what was skipped


def test_without_skipped_files_nothing_leads_to_them(client: TestClient) -> None:
    assert "/skipped" not in client.get("/").text
    assert "No file was skipped" in client.get("/skipped").text


def test_skipped_files_are_listed_with_their_reasons(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / HOSTILE).write_bytes(b"no picture")
    with library_of(tmp_path / "photos", tmp_path / "library") as library:
        (skipped,) = library.skipped()
        client = TestClient(create_app(library), base_url="http://localhost")
        home = client.get("/").text
        assert 'href="/skipped"' in home
        assert "1 file was skipped" in home
        page = client.get("/skipped").text
    assert f"{skipped.path} {skipped.reason}" in words_of(page)
    assert "<img src=x" not in page


def test_every_skipped_file_is_reached_page_by_page(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(SKIPPED_SHOWN + 2):
        (folder / f"{number:04}.png").write_bytes(b"no picture")
    (folder / "empty.png").write_bytes(b"")
    with library_of(folder, tmp_path / "library") as library:
        client = TestClient(create_app(library), base_url="http://localhost")
        first = client.get("/skipped").text
        assert "203 files were skipped" in first
        (more,) = re.findall(r'rel="next" href="([^"]+)"', first)
        last = client.get(html.unescape(more)).text
        for page, count in ((first, SKIPPED_SHOWN), (last, 3)):
            assert page.count('<li><bdi class="path">') == count
        assert 'rel="next"' not in last
        listed = re.findall(r"([0-9]{4}|empty)\.png</bdi>", first + last)
        assert len(set(listed)) == SKIPPED_SHOWN + 3
        reasons = re.findall(r'href="(/skipped\?reason=[^"]+)"', first)
        assert len(reasons) == 2
        pages = [client.get(html.unescape(one)).text for one in reasons]
        assert sum("empty.png</bdi>" in one for one in pages) == 1
        found: list[str] = []
        after: int | None = 0
        while after is not None:
            answer = client.get(f"/api/skipped?k=90&after={after}").json()
            found += [one["path"] for one in answer["skipped"]]
            after = answer["after"]
        assert len(found) == len(set(found)) == SKIPPED_SHOWN + 3


# the pages


def test_the_start_page_counts_what_is_there(client: TestClient) -> None:
    page = client.get("/").text
    assert "5 images and 2 texts" in page
    assert 'name="q"' in page


def test_results_are_a_page(client: TestClient, library: Library) -> None:
    page = client.get("/", params={"q": "red"}).text
    best = library.search("red", 1)[0]
    assert page.index(f"/items/{best.id}/thumbnail") > 0
    assert f"cosine {best.score:.3f}" in page
    assert f"/?like={best.id}" in page


def test_hostile_names_and_passages_do_not_become_markup(
    client: TestClient, library: Library
) -> None:
    addresses = ["/?q=orange", "/?q=red&to=text", f"/items/{id_of(library, HOSTILE)}"]
    addresses += [f"/items/{id_of(library, 'notes.txt')}", "/?q=<script>alert(1)</script>"]
    for address in addresses:
        page = client.get(address).text
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "alert(1)" in page


def test_a_picture_in_a_form_leads_to_an_address_that_can_be_reloaded(client: TestClient) -> None:
    files = {"image": ("mine.png", picture_of("blue"), "image/png")}
    answer = client.post("/", files=files, follow_redirects=False)
    assert answer.status_code == 303
    address = answer.headers["location"]
    assert "blue.png" in client.get(address).text
    name = address.partition("picture=")[2]
    preview = client.get(f"/pictures/{name}").content
    assert open_image(preview).size == (32, 32)
    assert client.get("/?picture=forgotten").status_code == 410


def test_a_form_without_a_picture_is_a_search_by_words(client: TestClient) -> None:
    answer = client.post("/", data={"q": "a b&c", "to": "text"}, follow_redirects=False)
    assert answer.headers["location"] == "/?q=a+b%26c&to=text"
    empty = {"image": ("", b"", "application/octet-stream")}
    answer = client.post("/", files=empty, data={"q": "red"}, follow_redirects=False)
    assert answer.headers["location"] == "/?q=red"


def test_what_processes_share_is_kept_within_a_bound(tmp_path: Path) -> None:
    fit = ColourEncoder().fit
    uploads = pictures.Uploads(limit=2500, shared=tmp_path)
    names = [uploads.add(picture_of(one), fit) for one in ("red", "blue", "green", "yellow")]
    left = {one.name for one in tmp_path.iterdir()}
    assert {f"{names[-1]}.query", f"{names[-1]}.webp"} <= left
    assert {Path(one).stem for one in left if one.endswith(".webp")} == {
        Path(one).stem for one in left if one.endswith(".query")
    }
    assert 2 <= len(left) <= 4
    assert sum(one.stat().st_size for one in tmp_path.iterdir()) <= 2500


def test_query_pictures_are_kept_within_a_bound() -> None:
    fit = ColourEncoder().fit
    uploads = pictures.Uploads(limit=1000)  # a fitted picture is 16 x 16 x 3 bytes and a few
    names = [uploads.add(picture_of(colour), fit) for colour in ("red", "blue")]
    assert open_image(uploads.get(names[1]).content).size == (16, 16)
    with pytest.raises(HTTPException, match="choose it again"):
        uploads.get(names[0])


def test_more_leads_through_all_pages_and_back(client: TestClient, library: Library) -> None:
    seen = []
    address = "/?q=red&k=2"
    while address:
        page = client.get(address).text
        seen += re.findall(r'src="/items/(\d+)/thumbnail"', page)
        more = re.search(r'rel="next" href="([^"]+)"', page)
        assert ("First page" in page) == ("after=" in address)
        address = html.unescape(more[1]) if more else ""
    assert seen == [str(hit.id) for hit in library.search("red", 50)]


def test_a_cursor_of_another_search_leads_back_to_the_first_page(client: TestClient) -> None:
    cursor = client.get("/api/search?q=red&k=2").json()["cursor"]
    answer = client.get(f"/?q=blue&after={cursor}")
    assert answer.status_code == 400
    assert 'href="/?q=blue">Back to the first page' in answer.text


def test_the_page_says_when_nothing_matches_and_what_to_try(client: TestClient) -> None:
    page = client.get("/", params={"q": "<b> a dog width:640"}).text
    words = words_of(page)
    assert "Nothing here matches \u201c <b> a dog width:640 \u201d. Things to try:" in words
    assert "The nearest pictures:" in words
    assert 'href="/?q=%3Cb%3E+a+dog">Search without the filters' in page
    assert page.count('class="card"') == 4
    assert "Weak matches" not in page
    assert "Nothing here" not in client.get("/?q=red").text


def test_the_page_draws_a_line_where_the_weak_begin(client: TestClient) -> None:
    page = client.get("/?q=red").text
    before, after = page.split("Weak matches")
    assert 'data-band="strong"' in before and 'data-band="weak"' not in before
    assert set(re.findall(r'data-band="(\w+)"', after)) == {"weak"}


def test_hits_that_were_not_compared_have_no_band(client: TestClient) -> None:
    page = client.get("/?q=width:640").text
    assert "4 images, last indexed first" in page
    assert "data-band" not in page and "Weak matches" not in page


def test_the_page_tells_which_words_matched_and_where(client: TestClient) -> None:
    assert "<mark>red</mark>.png" in client.get("/?q=red").text


def test_the_page_offers_what_was_perhaps_meant(client: TestClient) -> None:
    page = client.get("/?q=a+red+car+without+people&to=text").text
    assert "Did you mean a red car -people ?" in words_of(page)
    assert 'href="/?q=a+red+car+-people&amp;to=text"' in page


def test_a_bad_filter_is_told_above_the_box_and_nothing_typed_is_lost(client: TestClient) -> None:
    answer = client.get("/", params={"q": 'red taken:"so<on"', "like": 1, "to": "text"})
    page = answer.text
    assert answer.status_code == 400
    assert page.index('role="alert">taken:so&lt;on: write') < page.index('id="q"')
    assert 'value="red taken:&#34;so&lt;on&#34;"' in page
    assert 'name="like" value="1"' in page and 'name="to" value="text"' in page


def test_images_and_texts_stand_in_one_list(client: TestClient) -> None:
    page = client.get("/?q=red+kind:image|text").text
    assert "Best of 7 images and texts" in page
    assert "/thumbnail" in page and "A blue sea." in page
    assert 'class="tabs"' not in page  # the words say it


def test_items_at_random_have_an_address(client: TestClient) -> None:
    asked = client.get("/?random", follow_redirects=False)
    address = asked.headers["location"]
    assert asked.status_code == 303 and re.fullmatch(r"/\?random=\d+", address)
    page = client.get(address).text
    assert page == client.get(address).text
    assert "5 images at random" in page and "data-band" not in page
    assert "1 image at random" in client.get("/?q=name:red*&random=7").text
    assert client.get("/?random=x").status_code == 422


def test_an_empty_library_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with library_of(tmp_path / "none", tmp_path / "library") as library:
        client = TestClient(create_app(library))
        assert "searchx index" in client.get("/").text
        assert "searchx index" in client.get("/?q=red").text


def test_a_library_that_nothing_was_indexed_into_says_what_to_do(tmp_path: Path) -> None:
    Catalog.open(tmp_path, create=True).close()
    with Library.open(tmp_path, encoder=ColourEncoder()) as library:
        client = TestClient(create_app(library))
        assert "searchx index" in client.get("/?q=red").text
        answer = client.get("/api/search?q=red")
        assert answer.status_code == 503
        assert "searchx index" in answer.json()["detail"]
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200


def test_a_library_without_texts_says_so(tmp_path: Path) -> None:
    paint(tmp_path / "photos" / "red.png", "red")
    with library_of(tmp_path / "photos", tmp_path / "library") as library:
        page = TestClient(create_app(library)).get("/?q=red&to=text").text
        assert "No texts in this library" in page


BROWSER = {"accept": "text/html,application/xhtml+xml,image/webp,*/*;q=0.8"}
IMAGE = {"accept": "image/avif,image/webp,*/*;q=0.8"}  # what browsers send for <img>


@pytest.mark.parametrize(
    ("address", "status", "says"),
    [
        ("/nothing", 404, "there is nothing at /nothing"),
        ("/items/99999", 404, "there is no item 99999"),
        ("/items/99999/file", 404, "there is no item 99999"),
        ("/items/99999/thumbnail", 404, "there is no item 99999"),
        ("/items/99999/picture", 404, "there is no item 99999"),
        ("/items/none/file", 422, "id: "),
        ("/static/nothing.css", 404, "there is nothing at /static/nothing.css"),
        ("/?q=red&k=0", 422, "k: "),
    ],
)
def test_an_error_is_a_page_for_a_browser_and_a_problem_for_all_others(
    client: TestClient, address: str, status: int, says: str
) -> None:
    page = client.get(address, headers=BROWSER)
    assert page.status_code == status
    assert page.headers["content-type"].startswith("text/html")
    assert says in page.text
    for headers in ({}, IMAGE, {"accept": "application/json"}):
        answer = client.get(address, headers=headers)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["vary"] == "accept"
        assert answer.status_code == answer.json()["status"] == status
        assert says in answer.json()["detail"]


def test_below_the_api_a_browser_gets_no_page_for_an_error(client: TestClient) -> None:
    answer = client.get("/api/nothing", headers=BROWSER)
    assert answer.headers["content-type"] == "application/problem+json"


def test_what_must_not_pass_is_told_in_the_same_shapes(library: Library) -> None:
    client = TestClient(create_app(library, token="sesame"), base_url="http://localhost")
    problem = client.get("/items/1/file")
    assert (problem.status_code, problem.json()["status"]) == (401, 401)
    for host in ("evil.example", "[::"):
        answer = client.get("/nothing", headers={"host": host})
        assert answer.headers["content-type"] == "application/problem+json"
        page = client.get("/nothing", headers=BROWSER | {"host": host})
        assert page.headers["content-type"].startswith("text/html")


def test_every_route_of_the_api_is_in_its_documentation(client: TestClient) -> None:
    page = client.get("/docs").text
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/api/search", "/api/items/{id}", "/items/{id}/file", "/readyz"} <= set(paths)
    assert all(f"<code>{path}</code>" in page for path in paths)


def test_pages_name_nothing_on_other_servers(client: TestClient, library: Library) -> None:
    addresses = ["/", "/?q=red", "/?q=red&to=text", "/docs", "/login", "/nothing", "/items/1"]
    for address in [*addresses, "/static/searchx.css", "/static/searchx.js"]:
        page = client.get(address).text
        assert "http://" not in page
        assert "https://" not in page
        assert "style=" not in page


# pictures and files


def test_a_thumbnail_is_small_kept_and_revalidated(client: TestClient, library: Library) -> None:
    red = library.item(id_of(library, "red.png"))
    answer = client.get(f"/items/{red.id}/thumbnail")
    assert answer.headers["content-type"] == "image/webp"
    assert open_image(answer.content).size == (480, 360)
    kept = {one.stem.partition("-")[2]: one for one in library.directory.rglob("*.webp")}
    assert kept.keys() == {"480", "16"}  # and what stands in the page until it is there
    assert kept["480"].read_bytes() == answer.content
    tag = {"if-none-match": answer.headers["etag"]}
    assert client.get(f"/items/{red.id}/thumbnail", headers=tag).status_code == 304


def test_a_thumbnail_comes_in_the_next_of_a_few_sizes(client: TestClient, library: Library) -> None:
    red = id_of(library, "red.png")
    sizes = {}
    for side in (1, 240, 241, 481, 960):
        answer = client.get(f"/items/{red}/thumbnail?side={side}")
        sizes[side] = open_image(answer.content).width
    assert sizes == {1: 240, 240: 240, 241: 480, 481: 640, 960: 640}  # never enlarged
    assert client.get(f"/items/{red}/thumbnail?side=961").status_code == 422
    assert client.get(f"/items/{red}/thumbnail?side=0").status_code == 422


def test_a_damaged_kept_thumbnail_is_made_again(client: TestClient, library: Library) -> None:
    red = id_of(library, "red.png")
    good = client.get(f"/items/{red}/thumbnail").content
    kept = next((library.directory / "thumbnails").rglob("*-480.webp"))
    kept.write_bytes(good[:-5])
    assert client.get(f"/items/{red}/thumbnail").content == good
    assert kept.read_bytes() == good


def test_thumbnails_are_given_where_they_cannot_be_kept(
    client: TestClient, library: Library
) -> None:
    (library.directory / "thumbnails").write_text("in the way")
    answer = client.get(f"/items/{id_of(library, 'red.png')}/thumbnail")
    assert open_image(answer.content).size == (480, 360)


def test_the_file_is_given_as_it_was_indexed(
    client: TestClient, library: Library, photos: Path
) -> None:
    answer = client.get(f"/items/{id_of(library, 'red.png')}/file")
    assert answer.content == (photos / "red.png").read_bytes()
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-disposition"] == "inline; filename*=utf-8''red.png"
    assert "sandbox" in answer.headers["content-security-policy"]


def test_a_file_is_closed_when_who_asked_is_gone_before_the_first_byte(photos: Path) -> None:
    file = (photos / "red.png").open("rb")
    answer = pictures.FileAnswer(file, "image/png", {})

    async def gone() -> Message:
        return {"type": "http.disconnect"}

    async def unheard(_: Message) -> None:
        await anyio.sleep_forever()

    anyio.run(answer, {"type": "http"}, gone, unheard)
    assert file.closed


def test_the_file_of_a_text_is_its_passage(client: TestClient, library: Library) -> None:
    answer = client.get(f"/items/{id_of(library, 'notes.txt')}/file")
    assert answer.text == "<script>alert(1)</script> The red bus."
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert client.get(f"/items/{id_of(library, 'notes.txt')}/thumbnail").status_code == 404


def test_formats_that_browsers_do_not_show_are_downloaded_and_converted(tmp_path: Path) -> None:
    paint(tmp_path / "photos" / "scan.tif", "red")
    with library_of(tmp_path / "photos", tmp_path / "library") as library:
        client = TestClient(create_app(library))
        scan = id_of(library, "scan.tif")
        file = client.get(f"/items/{scan}/file")
        assert file.headers["content-type"] == "image/tiff"
        assert file.headers["content-disposition"].startswith("attachment")
        picture = client.get(f"/items/{scan}/picture")
        assert picture.headers["content-type"] == "image/webp"
        assert open_image(picture.content).size == (64, 48)


def replaced_by_a_link(place: Path, secret: Path) -> None:
    place.unlink()
    place.symlink_to(secret)


def replaced_by_a_pipe(place: Path, secret: Path) -> None:
    place.unlink()
    os.mkfifo(place)


def replaced_by_a_folder(place: Path, secret: Path) -> None:
    place.unlink()
    place.mkdir()


def overwritten(place: Path, secret: Path) -> None:
    place.write_bytes(secret.read_bytes())


def removed(place: Path, secret: Path) -> None:
    place.unlink()


@pytest.mark.parametrize(
    "change", [replaced_by_a_link, replaced_by_a_pipe, replaced_by_a_folder, overwritten, removed]
)
@pytest.mark.parametrize("what", ["file", "picture", "thumbnail"])
def test_only_indexed_content_is_ever_given_out(
    client: TestClient, library: Library, photos: Path, tmp_path: Path, change: object, what: str
) -> None:
    secret = paint(tmp_path / "secret.png", "pink")
    assert callable(change)
    change(photos / "red.png", secret)
    answer = client.get(f"/items/{id_of(library, 'red.png')}/{what}")
    assert answer.status_code == 410
    assert "searchx index" in answer.text


def test_another_copy_serves_when_one_is_gone(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    paint(photos / "a.png", "red")
    (photos / "b.png").write_bytes((photos / "a.png").read_bytes())
    with library_of(photos, tmp_path / "library") as library:
        hit = library.search("red", 1)[0]
        Path(hit.path).unlink()
        answer = TestClient(create_app(library)).get(f"/items/{hit.id}/file")
        assert answer.status_code == 200


def packed_in_a_tar(place: Path, *pictures: bytes) -> Path:
    with tarfile.open(place.with_suffix(".tar"), "w") as archive:
        for number, content in enumerate(pictures):
            info = tarfile.TarInfo(f"part/{number:04}.png")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return place.with_suffix(".tar")


def packed_in_parquet(place: Path, *pictures: bytes) -> Path:
    rows = [{"image": {"bytes": content, "path": None}} for content in pictures]
    path = place.with_suffix(".parquet")
    pa.parquet.write_table(pa.Table.from_pylist(rows), path, row_group_size=2)
    return path


@pytest.mark.parametrize("pack", [packed_in_a_tar, packed_in_parquet])
def test_pictures_inside_other_files_are_shown_and_given(tmp_path: Path, pack: Pack) -> None:
    pictures = {colour: picture_of(colour) for colour in ("blue", "green", "red", "yellow")}
    source = pack(tmp_path / "shard", *pictures.values())
    with library_of(source, tmp_path / "library") as library:
        client = TestClient(create_app(library))
        for colour, content in pictures.items():
            hit = library.search(colour, 1)[0]
            answer = client.get(f"/items/{hit.id}/file")
            assert answer.content == content
            assert answer.headers["content-type"] == "image/png"
            assert answer.headers["content-length"] == str(len(content))
            assert answer.headers["content-disposition"].endswith(f"''item-{hit.id}.png")
            for what in ("thumbnail", "picture"):
                shown = client.get(f"/items/{hit.id}/{what}")
                assert open_image(shown.content).size == (32, 32)


@pytest.mark.parametrize("pack", [packed_in_a_tar, packed_in_parquet])
@pytest.mark.parametrize("what", ["file", "picture", "thumbnail"])
def test_other_content_inside_a_file_is_never_given_out(
    tmp_path: Path, pack: Pack, what: str
) -> None:
    source = pack(tmp_path / "shard", picture_of("red"))
    with library_of(source, tmp_path / "library") as library:
        client = TestClient(create_app(library))
        address = f"/items/{library.search('red', 1)[0].id}/{what}"
        pack(tmp_path / "shard", picture_of("pink"))
        assert client.get(address).status_code == 410
        source.write_bytes(b"no corpus any more")
        assert client.get(address).status_code == 410
        replaced_by_a_pipe(source, source)
        assert client.get(address).status_code == 410


def test_a_large_picture_inside_a_file_is_given_whole(tmp_path: Path) -> None:
    content = picture_of("red") + bytes(9 << 20)  # decoders stop at the end of the picture
    source = packed_in_a_tar(tmp_path / "shard", content)
    with library_of(source, tmp_path / "library") as library:
        hit = library.search("red", 1)[0]
    with open_file(hit.item) as file:
        assert file.read() == content


def test_file_names_that_are_no_text_are_served(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    paint(photos / "a.png", "red")
    try:
        (photos / "a.png").rename(photos / os.fsdecode(b"caf\xe9.png"))
    except OSError:
        pytest.skip("this file system holds no such names")
    with library_of(photos, tmp_path / "library") as library:
        client = TestClient(create_app(library))
        hit = client.get("/api/search?q=red").json()["hits"][0]
        assert hit["path"] == library.search("red", 1)[0].path
        for address in ("/?q=red", f"/items/{hit['id']}", f"/items/{hit['id']}/file"):
            assert client.get(address).status_code == 200
        (name,) = photos.iterdir()
        name.unlink()
        assert client.get(f"/items/{hit['id']}/file").status_code == 410


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avif", "image/avif"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "image/heic"),
        (b"MM\0*", "image/tiff"),
        (b"<svg xmlns=", "application/octet-stream"),
        (b"<!doctype html>", "application/octet-stream"),
    ],
)
def test_media_types_come_from_the_content(head: bytes, expected: str) -> None:
    assert pictures.media_type_of(head) == expected


# who may ask


@pytest.mark.parametrize("address", ["/", "/api/search", "/items/1/file", "/static/searchx.js"])
def test_every_answer_is_sealed(client: TestClient, address: str) -> None:
    answer = client.get(address)
    assert all(name in answer.headers for name in HEADERS)
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("address", ["/", "/?q=red", "/healthz", "/items/1/file"])
def test_head_is_get_without_a_body(client: TestClient, address: str) -> None:
    head, get = client.head(address), client.get(address)
    assert head.status_code == get.status_code
    assert head.content == b""
    assert head.headers["content-length"] == get.headers["content-length"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8000", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("192.168.1.7", 200),
        ("LOCALHOST.", 200),
        ("photos.example", 200),
        ("evil.example", 400),
        ("localhost.evil.example", 400),
        ("127.0.0.1.evil.example", 400),
        ("", 400),
    ],
)
def test_only_known_host_names_are_answered(library: Library, host: str, status: int) -> None:
    app = create_app(library, allowed_hosts=["photos.example"])
    client = TestClient(app, base_url="http://localhost")
    answer = client.get("/api/search?q=red", headers={"host": host})
    assert answer.status_code == status
    if status == 400:
        line = answer.json()["detail"]
        assert "host name" in line
        assert re.findall(r"--[a-z-]+", line) == ["--allow-host"]  # what serve has for it


def test_host_names_are_read_without_port() -> None:
    assert [host_name(one) for one in ("A:80", "[::1]:80", "b.")] == ["a", "::1", "b"]


def test_a_token_is_asked_for(library: Library) -> None:
    client = TestClient(create_app(library, token="sesame"), base_url="http://localhost")
    for address in ("/api/search?q=red", "/items/1/file", "/", "/docs", "/openapi.json"):
        answer = client.get(address)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    assert client.post("/api/search", data={"q": "red"}).status_code == 401
    for wrong in ("Bearer sesam", "Bearer ", "Basic sesame", "Bearer sésame"):
        headers = {b"authorization": wrong.encode()}
        assert client.get("/", headers=headers).status_code == 401
    assert client.get("/", headers={"authorization": "Bearer sesame"}).status_code == 200
    assert client.get("/healthz").status_code == 200
    assert client.get("/static/searchx.css").status_code == 200


def test_secrets_that_are_no_text_are_told_apart() -> None:
    assert same("\udcff", "\udcff")
    assert not same("\udcff", "?")
    assert not same("\udcff", "\udcfe")
    assert session_of("\udcff") != session_of("?")


def test_a_browser_logs_in_once(library: Library) -> None:
    client = TestClient(create_app(library, token="sesame"), base_url="http://localhost")
    browser = {"accept": "text/html"}
    asked = client.get("/?q=a%26b", headers=browser, follow_redirects=False)
    assert asked.headers["location"] == "/login?next=%2F%3Fq%3Da%2526b"
    assert client.post("/login", data={"token": "wrong"}).status_code == 401
    answer = client.post(
        "/login", data={"token": "sesame", "next": "/?q=red"}, follow_redirects=False
    )
    assert answer.headers["location"] == "/?q=red"
    cookie = answer.headers["set-cookie"].lower()
    assert cookie.startswith(COOKIE)
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "sesame" not in cookie
    assert client.get("/?q=red").status_code == 200


@pytest.mark.parametrize("next", ["//evil.example", "https://evil.example", "/\\evil", "evil", ""])
def test_logging_in_leads_to_this_server_only(library: Library, next: str) -> None:
    client = TestClient(create_app(library, token="sesame"))
    data = {"token": "sesame", "next": next}
    answer = client.post("/login", data=data, follow_redirects=False)
    assert answer.headers["location"] == "/"
