"""Vectors over HTTP, many queries at once, and what programs of others make of it."""

import base64
import io
from collections.abc import Iterator
from typing import Any

import httpx2
import numpy as np
import openai
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from indexer.pipeline import index
from indexer.planning import Options
from searchx.catalog import Catalog
from searchx.records import Query
from searchx.search import Library
from tests.colour import ColourEncoder, paint
from tests.served import Address, served
from web.api.batch import BatchAnswer
from web.api.embedding import EmbedAnswer, EmbeddingsAnswer
from web.api.inputs import MAX_INPUT, MAX_INPUTS, MAX_PICTURES
from web.app import create_app

TOKEN = "a secret"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    folder, place = tmp_path_factory.mktemp("photos"), tmp_path_factory.mktemp("library")
    for colour in ("red", "green", "blue"):
        paint(folder / f"{colour}.png", colour)
    (folder / "notes.txt").write_text("The red bus.")
    catalog = Catalog.open(place, create=True)
    index([folder], catalog, ColourEncoder("mini"), options=Options(workers=0))
    catalog.close()
    with Library.open(place, encoder=ColourEncoder("mini")) as opened:
        yield opened


@pytest.fixture(scope="module")
def client(library: Library) -> Iterator[TestClient]:
    with TestClient(create_app(library), base_url="http://localhost") as client:
        yield client


@pytest.fixture(scope="module")
def address(library: Library) -> Iterator[Address]:
    with served(create_app(library, token=TOKEN)) as address:
        yield address


@pytest.fixture(scope="module")
def client_of_openai(address: Address) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"http://{address[0]}:{address[1]}/v1", api_key=TOKEN, max_retries=0
    ) as client:
        yield client


def picture(colour: str = "red") -> bytes:
    packed = io.BytesIO()
    Image.new("RGB", (32, 32), colour).save(packed, "PNG")
    return packed.getvalue()


def data_of(colour: str = "red") -> str:
    return "data:image/png;base64," + base64.b64encode(picture(colour)).decode()


def rows_in(encoded: str, dim: int) -> Any:
    return np.frombuffer(base64.b64decode(encoded), "<f4").reshape(-1, dim)


# our own shapes


def test_vectors_are_those_of_the_library(client: TestClient, library: Library) -> None:
    inputs = ["a red bus", {"text": "blue"}, {"image": data_of("green")}, {"like": 1}]
    found = client.post("/api/embed", json={"inputs": inputs}).json()
    EmbedAnswer.model_validate(found)
    assert found["space"] == {"name": "mini", "digest": "mini-1", "dim": 4}
    expected = library.embed_batch(
        ["a red bus", Query("blue"), Query(image=picture("green")), Query(like=1)]
    )
    np.testing.assert_allclose(found["vectors"], expected, atol=1e-6)
    packed = client.post("/api/embed", json={"inputs": inputs, "format": "base64"}).json()
    np.testing.assert_allclose(rows_in(packed["vectors"], 4), expected, atol=1e-6)
    passages = client.post("/api/embed", json={"inputs": ["red"], "as_items": True}).json()
    np.testing.assert_allclose(passages["vectors"], library.embed(["red"], as_items=True))


@pytest.mark.parametrize("form", ["queries", "rows", "base64"])
def test_many_queries_are_answered_as_the_library_does(
    client: TestClient, library: Library, form: str
) -> None:
    texts = ["red", "blue"]
    rows = library.embed_batch(texts)
    asked: dict[str, object] = {"queries": texts}
    if form != "queries":
        packed = base64.b64encode(rows.tobytes()).decode()
        asked = {"vectors": rows.tolist() if form == "rows" else packed}
    ids, scores = library.search_batch(texts, 5)
    found = client.post("/api/search/batch", json={**asked, "k": 5}).json()
    BatchAnswer.model_validate(found)
    assert found["ids"] == ids.tolist()
    assert found["ids"][0][3:] == [-1, -1]
    assert found["scores"][0][3:] == [None, None]
    np.testing.assert_allclose(found["scores"][0][:3], scores[0][:3], atol=1e-6)
    where = client.post("/api/search/batch", json={**asked, "where": {"name": "red"}}).json()
    assert [row[1] for row in where["ids"]] == [-1, -1]


def test_what_is_like_an_item_is_found(client: TestClient, library: Library) -> None:
    found = client.get("/api/items/1/similar", params={"k": 2, "to": "both"}).json()
    expected = library.similar(1, 2, "both")
    assert found["hits"] == [hit.as_dict() for hit in expected.hits]
    assert client.get("/api/items/99/similar").status_code == 404
    assert client.get("/api/items/1/similar?q=red").status_code == 422


def test_the_library_tells_what_it_holds(client: TestClient) -> None:
    found = client.get("/api/library").json()
    assert (found["images"], found["texts"], found["space"]["name"]) == (3, 1, "mini")


WRONG = [
    ("/api/embed", {"inputs": []}, 400, "nothing to embed"),
    ("/api/embed", {"inputs": [" "]}, 400, "empty"),
    ("/api/embed", {"inputs": ["a"] * (MAX_INPUTS + 1)}, 413, "send fewer"),
    ("/api/embed", {"inputs": ["a" * (MAX_INPUT + 1)]}, 422, "longer than"),
    ("/api/embed", {"inputs": ["a" * MAX_INPUT] * 60}, 413, "characters"),
    ("/api/embed", {"inputs": [{"image": "eA=="}] * (MAX_PICTURES + 1)}, 413, "pictures"),
    ("/api/embed", {"inputs": [{"image": "eA=="}]}, 422, ""),
    ("/api/embed", {"inputs": [{"file": "/etc/passwd"}]}, 400, "no files are opened"),
    ("/api/embed", {"inputs": [{"text": "a", "txet": "b"}]}, 400, "did you mean text"),
    ("/api/embed", {"inputs": [{"image": "eA=="}], "as_items": True}, 400, "as_items"),
    ("/api/embed", {"inputs": ["a"], "fromat": "float"}, 422, "no such parameter"),
    ("/api/embed", [], 400, "no JSON object"),
    ("/api/search/batch", {}, 400, "queries or vectors"),
    ("/api/search/batch", {"queries": ["a"], "vectors": "AAAA"}, 400, "one of the two"),
    ("/api/search/batch", {"vectors": "%"}, 400, "no base64"),
    ("/api/search/batch", {"vectors": "AAAA"}, 400, "no whole rows"),
    ("/api/search/batch", {"vectors": ""}, 400, "no vectors"),
    ("/api/search/batch", {"vectors": [[1.0, 2.0]]}, 400, "rows of 4"),
    ("/api/search/batch", {"vectors": [[1e300, 0.0, 0.0, 0.0]]}, 400, "unit vector"),
    ("/api/search/batch", {"vectors": "AADAfwAAwH8AAMB/AADAfw=="}, 400, "unit vector"),
    ("/api/search/batch", {"queries": ["a"], "where": "camra:x"}, 400, "camera"),
    ("/api/search/batch", {"queries": ["a"] * 200, "k": 10_000}, 413, "too many"),
    ("/api/search/batch", {"queries": [{"text": "a", "where": {"ext": "png"}}]}, 400, "filter"),
    ("/v1/embeddings", {"model": "text-embedding-3-small", "input": "a"}, 404, '"mini"'),
    ("/v1/embeddings", {"model": "mini", "input": [[1, 2]]}, 400, "send the text"),
    ("/v1/embeddings", {"model": "mini", "input": [7]}, 400, "send the text"),
    ("/v1/embeddings", {"model": "mini", "input": "a", "dimensions": 2}, 400, "dimensions"),
    ("/v1/embeddings", {"model": "mini", "input": [{"image": "http://x/"}]}, 400, "no address"),
    ("/v1/embeddings", {"model": "mini", "input": [{"audio": "x"}]}, 400, "write a text"),
    ("/v1/embeddings", {"input": "a"}, 422, "model"),
]


@pytest.mark.parametrize(("path", "sent", "status", "says"), WRONG)
def test_what_cannot_be_is_told_in_one_line(
    client: TestClient, path: str, sent: object, status: int, says: str
) -> None:
    answer = client.post(path, json=sent)
    problem = answer.json()
    assert (answer.status_code, problem["status"]) == (status, status), problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert says in problem["detail"]
    assert "\n" not in problem["detail"]


def test_problems_of_the_framework_are_told_as_well(client: TestClient) -> None:
    refused = client.put("/api/facets")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET")
    assert "use GET" in refused.json()["detail"]
    typed = client.post("/api/embed", content=b"x", headers={"content-type": "text/plain"})
    assert (typed.status_code, typed.json()["status"]) == (415, 415)
    form = client.post("/api/search", content=b"x", headers={"content-type": "text/xml"})
    assert form.status_code == 415
    unknown = client.get("/api/search?q=red&limit=5")
    assert unknown.status_code == 422
    assert unknown.json()["detail"].startswith("limit: there is no such parameter")
    deep = client.post(
        "/api/embed", content=b'{"a":' * 9000, headers={"content-type": "application/json"}
    )
    assert deep.status_code == 400


# OpenAI's shape, by its own client


@pytest.mark.parametrize("form", ["base64", "float"])
def test_openai_gets_its_vectors(
    client_of_openai: openai.OpenAI, library: Library, form: Any
) -> None:
    texts = ["a red bus", "blue"]
    found = client_of_openai.embeddings.create(model="mini", input=texts, encoding_format=form)
    expected = library.embed_batch(texts)
    given: list[Any] = [one.embedding for one in found.data]
    rows = [rows_in(one, 4)[0] if isinstance(one, str) else one for one in given]
    np.testing.assert_allclose(rows, expected, atol=1e-6)
    assert [one.index for one in found.data] == [0, 1]
    assert (found.model, found.usage.prompt_tokens, found.usage.total_tokens) == ("mini", 4, 4)
    usual = client_of_openai.embeddings.create(model="mini", input="blue", dimensions=4)
    np.testing.assert_allclose(usual.data[0].embedding, expected[1], atol=1e-6)


@pytest.mark.parametrize(
    ("given", "beside"),
    [
        ([data_of("blue")], {}),
        ([{"image": data_of("blue")}], {}),
        ([{"type": "image_url", "image_url": {"url": data_of("blue")}}], {}),
        ([base64.b64encode(picture("blue")).decode()], {"modality": "image"}),
    ],
)
def test_openai_gets_the_vectors_of_pictures(
    client_of_openai: openai.OpenAI, library: Library, given: Any, beside: dict[str, str]
) -> None:
    found = client_of_openai.embeddings.create(model="mini", input=given, extra_body=beside)
    expected = library.embed_batch([Query(image=picture("blue"))])
    np.testing.assert_allclose(found.data[0].embedding, expected[0], atol=1e-6)
    assert found.usage.total_tokens == 0


def test_openai_understands_what_is_refused(
    client_of_openai: openai.OpenAI, address: Address
) -> None:
    assert [one.id for one in client_of_openai.models.list()] == ["mini"]
    with pytest.raises(openai.NotFoundError, match="mini"):
        client_of_openai.embeddings.create(model="other", input="a")
    with (
        openai.OpenAI(base_url=client_of_openai.base_url, api_key="wrong", max_retries=0) as other,
        pytest.raises(openai.AuthenticationError),
    ):
        other.models.list()
    bare = httpx2.post(
        f"http://{address[0]}:{address[1]}/v1/embeddings",
        json={"model": "mini", "input": "red"},
        headers={"authorization": f"Bearer {TOKEN}", "accept": "text/html"},
    )
    EmbeddingsAnswer.model_validate(bare.json())
