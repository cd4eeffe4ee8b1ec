"""What is being typed at a place of a query, and what is offered for it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

import searchx
from indexer.pipeline import index
from indexer.planning import Options
from searchx.catalog import Catalog
from searchx.query import Typed, typed_at
from searchx.search import Library
from tests.colour import ColourEncoder, paint
from web.app import create_app
from web.completion import OFFERED, Completion


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Typed(0, 0, "", "")),
        ("a dog", Typed(2, 5, "", "dog")),
        ("a dog|", Typed(2, 5, "", "dog")),
        ("-cam", Typed(1, 4, "", "cam")),
        ("(camera:ca", Typed(8, 10, "camera", "ca")),
        ("-(-camera:ca", Typed(10, 12, "camera", "ca")),
        ('camera:"canon e', Typed(7, 15, "camera", "canon e")),
        ("camera:canon|ni", Typed(13, 15, "camera", "ni")),
        ("Folder:", Typed(7, 7, "folder", "")),
        ("nothing:x", Typed(0, 9, "", "nothing:x")),
        ('"a dog" key', Typed(8, 11, "", "key")),
        ("12:30", Typed(0, 5, "", "12:30")),
        ("meta.br", Typed(0, 7, "", "meta.br")),
        ("-Meta.Brand:ac|be", Typed(15, 17, "meta.brand", "be")),
    ],
)
def test_what_is_typed_is_found(text: str, expected: Typed) -> None:
    at = len(text.removesuffix("|"))
    assert typed_at(text.removesuffix("|"), at) == expected


def test_what_stands_behind_the_place_is_taken_up_to_the_next_blank() -> None:
    assert typed_at("ext:pgn red", 5) == Typed(4, 7, "ext", "p")


@given(st.text(max_size=40), st.integers(-5, 50))
def test_any_place_in_any_text_can_be_completed(text: str, at: int) -> None:
    typed = typed_at(text, at)
    assert 0 <= typed.start <= typed.end <= len(text)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("photos")
    for colour in ("red", "blue", "yellow", "black"):
        paint(folder / "summer trips" / f"{colour}.png", colour)
    paint(folder / "scans" / "green.png", "green")
    (folder / "scans" / "green.json").write_text('{"keywords": ["a \\"quoted\\" word", "sea"]}')
    library_place = tmp_path_factory.mktemp("library")
    catalog = Catalog.open(library_place, create=True)
    index([folder], catalog, ColourEncoder(), options=Options(workers=0))
    catalog.close()
    with (
        Library.open(library_place, encoder=ColourEncoder()) as library,
        TestClient(create_app(library), base_url="http://localhost") as client,
    ):
        yield client


def offered(client: TestClient, q: str, at: int | None = None) -> list[str]:
    """Give the texts that result from each completion."""
    answer = client.get("/api/complete", params={"q": q, "at": len(q) if at is None else at}).json()
    Completion.model_validate(answer)
    return [q[: answer["start"]] + one["text"] + q[answer["end"] :] for one in answer["options"]]


def test_keys_are_offered_for_words(client: TestClient) -> None:
    assert offered(client, "a dog ori") == ["a dog orientation:"]
    assert offered(client, "a dog -for") == ["a dog -format:"]
    assert offered(client, "a dog ") == []
    assert offered(client, "zzz") == []


def test_values_that_there_are_are_offered_most_frequent_first(client: TestClient) -> None:
    assert offered(client, "red format:") == ["red format:PNG "]
    folders = offered(client, "folder:s")
    assert folders == ['folder:"summer trips" ', "folder:scans "]
    assert offered(client, "kind:") and offered(client, "is:d") == ["is:duplicate "]
    assert offered(client, "name:x") == []


def test_values_are_offered_by_their_words_and_can_be_asked(client: TestClient) -> None:
    assert offered(client, "sea") == ["keyword:sea "]
    quoted = offered(client, "keyword:quo")
    assert len(quoted) == 1
    assert client.get("/api/search", params={"q": quoted[0]}).json()["hits"]


def test_a_completion_takes_the_place_of_what_is_there(client: TestClient) -> None:
    assert offered(client, "format:pn red", 9) == ["format:PNG  red"]
    assert offered(client, "format:jpeg|p") == ["format:jpeg|PNG "]


def test_few_are_offered_and_long_texts_are_refused(client: TestClient) -> None:
    assert len(offered(client, "e")) <= OFFERED
    assert client.get("/api/complete", params={"q": "x" * 3000}).status_code == 422


def test_a_library_of_nothing_offers_keys(tmp_path: Path) -> None:
    Catalog.open(tmp_path, create=True).close()
    with Library.open(tmp_path, encoder=ColourEncoder()) as library:
        client = TestClient(create_app(library), base_url="http://localhost")
        assert offered(client, "cam") == ["camera:"]
        assert offered(client, "camera:") == []


def test_columns_and_their_values_are_offered(tmp_path: Path) -> None:
    told = {"Brand": ["Acme", "Acme", "best buy"], "price": [1.5, 2.5, 3.5], "two words": [1, 1, 1]}
    with searchx.create(tmp_path / "shop", encoder=ColourEncoder()) as shop:
        shop.add(["a", "b", "c"], np.eye(3, 4), metadata=told)
        client = TestClient(create_app(shop), base_url="http://localhost")
        assert offered(client, "meta.") == ["meta.Brand:", "meta.price:"]
        assert offered(client, "red -meta.p") == ["red -meta.price:"]
        assert offered(client, "pri") == ["meta.price:"]
        assert offered(client, "meta.brand:") == ["meta.brand:Acme ", 'meta.brand:"best buy" ']
        assert offered(client, "meta.brand:Acme|bu") == ['meta.brand:Acme|"best buy" ']
        assert offered(client, "meta.price:") == offered(client, "meta.nothing:") == []
        assert offered(client, "acm") == ["meta.Brand:Acme "]
        page = client.get("/", params={"q": "red"}).text
        assert "<h3>Brand</h3>" in page and "meta.Brand%3AAcme" in page
        answer = client.get("/api/facets").json()
        assert answer["facets"]["meta"]["Brand"][0]["where"] == "meta.Brand:Acme"
