"""What an assistant can ask, by the SDK's own client: over stdin and stdout, and over HTTP."""

import base64
import io
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from fastapi.testclient import TestClient
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from PIL import Image

import searchx
from indexer.pipeline import index
from indexer.planning import Options
from searchx.catalog import Catalog
from searchx.encoder import load_encoder
from searchx.search import Library
from tests.colour import ColourEncoder, paint
from tests.served import Address, served
from web.app import create_app
from web.mcp import create_server

TOKEN = "a secret"
Talk = Callable[[Client], Awaitable[None]]


def made(folder: Path, place: Path, encoder: Any) -> None:
    for colour in ("red", "green", "blue"):
        paint(folder / f"{colour}.png", colour)
    (folder / "notes.txt").write_text("The red bus.")
    catalog = Catalog.open(place, create=True)
    index([folder], catalog, encoder, options=Options(workers=0))
    catalog.close()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    folder, place = tmp_path_factory.mktemp("photos"), tmp_path_factory.mktemp("library")
    made(folder, place, ColourEncoder())
    with Library.open(place, encoder=ColourEncoder()) as opened:
        yield opened


@pytest.fixture(scope="module")
def address(library: Library) -> Iterator[Address]:
    with served(create_app(library, token=TOKEN)) as address:
        yield address


def over_http(address: Address, talk: Talk) -> None:
    async def run() -> None:
        headers = {"authorization": f"Bearer {TOKEN}"}
        async with httpx2.AsyncClient(headers=headers) as http:
            url = f"http://{address[0]}:{address[1]}/mcp"
            async with Client(streamable_http_client(url, http_client=http)) as client:
                await talk(client)

    anyio.run(run)


def within(library: Library, talk: Talk) -> None:
    async def run() -> None:
        async with Client(create_server(library)) as client:
            await talk(client)

    anyio.run(run)


def test_the_tools_tell_how_they_are_used(address: Address) -> None:
    async def talk(client: Client) -> None:
        tools = {one.name: one for one in (await client.list_tools()).tools}
        assert set(tools) == {"search", "similar", "filters", "get_item"}
        told = tools["search"].description or ""
        assert all(bit in told for bit in ("-snow", "taken:", "folder:", "near:", "like:123"))
        assert all(one.annotations and one.annotations.read_only_hint for one in tools.values())
        assert client.instructions and "has_match" in client.instructions

    over_http(address, talk)


def test_what_is_searched_is_found_and_looked_at(address: Address, library: Library) -> None:
    async def talk(client: Client) -> None:
        found = (
            await client.call_tool("search", {"query": "red", "to": "image"})
        ).structured_content
        assert found is not None
        expected = library.ask("red", 10, "image")
        assert [one["id"] for one in found["hits"]] == [one.id for one in expected.hits]
        assert found["hits"][0]["band"] == expected.hits[0].band
        item = await client.call_tool("get_item", {"id": found["hits"][0]["id"]})
        words, picture = item.content
        assert words.type == "text" and '"digest"' in words.text
        assert picture.type == "image" and picture.mime_type == "image/webp"
        pixels = Image.open(io.BytesIO(base64.b64decode(picture.data))).convert("RGB")
        red, green, blue = pixels.getpixel((5, 5))  # type: ignore[misc]
        assert red > 200 > 60 > max(green, blue)

    over_http(address, talk)


def test_pages_filters_and_likeness_are_those_of_the_library(library: Library) -> None:
    async def talk(client: Client) -> None:
        async def ids(tool: str, **given: object) -> tuple[list[int], str | None]:
            found = (await client.call_tool(tool, given)).structured_content
            assert found is not None
            return [one["id"] for one in found["hits"]], found["cursor"]

        first, cursor = await ids("search", query="red", to="image", k=2)
        rest, end = await ids("search", query="red", to="image", k=2, after=cursor)
        assert first + rest == [one.id for one in library.search("red", 3)]
        assert end is None
        assert (await ids("search", where="name:blue"))[0] == [
            one.id for one in library.search("", where="name:blue")
        ]
        like = library.similar(first[0], 5, "both")
        assert (await ids("similar", id=first[0], k=5, to="both"))[0] == [
            one.id for one in like.hits
        ]

    within(library, talk)


def test_a_text_is_given_whole(library: Library) -> None:
    async def talk(client: Client) -> None:
        text = library.search("red", 1, "text")[0]
        found = await client.call_tool("get_item", {"id": text.id})
        assert len(found.content) == 1
        assert found.content[0].type == "text" and "The red bus." in found.content[0].text

    within(library, talk)


@pytest.mark.parametrize(
    ("tool", "given", "says"),
    [
        ("search", {}, "empty"),
        ("search", {"query": "red", "where": "camra:x"}, "did you mean camera"),
        ("search", {"query": "img:/etc/passwd"}, "img:"),
        ("search", {"query": "red", "k": 51}, "50"),
        ("search", {"query": "red", "after": "x"}, "cursor"),
        ("similar", {"id": 99}, "no item 99"),
        ("get_item", {"id": 99}, "no item 99"),
        ("get_item", {"id": 2**63}, "id"),
    ],
)
def test_what_cannot_be_is_told_in_words(
    library: Library, tool: str, given: dict[str, object], says: str
) -> None:
    async def talk(client: Client) -> None:
        found = await client.call_tool(tool, given)
        assert found.is_error
        assert found.content[0].type == "text" and says in found.content[0].text

    within(library, talk)


def test_the_guard_stands_before_it(library: Library) -> None:
    sent = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    with TestClient(create_app(library, token=TOKEN), base_url="http://localhost") as client:
        assert client.post("/mcp", json=sent).status_code == 401
        secret = {"authorization": f"Bearer {TOKEN}"}
        refused = client.get("/mcp", headers=secret)
        assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
        assert refused.headers["content-type"] == "application/problem+json"
        for body in (b"", b"{", b"[" * 5000, b"\xff"):
            answer = client.post("/mcp", content=body, headers={**secret, **JSON})
            assert 400 <= answer.status_code < 500


JSON = {"content-type": "application/json", "accept": "application/json, text/event-stream"}


def test_the_command_answers_over_stdin_and_stdout(tmp_path: Path) -> None:
    made(tmp_path / "photos", tmp_path / "library", load_encoder("mini"))
    command = StdioServerParameters(
        command=sys.executable,
        args=["-m", "searchx.cli", "mcp", "--library", str(tmp_path / "library")],
        env=dict(os.environ),
    )

    async def run() -> None:
        async with Client(command) as client:
            found = (await client.call_tool("search", {"query": "a blue wall"})).structured_content
            assert found is not None and len(found["hits"]) == 4
            item = await client.call_tool("get_item", {"id": 1})
            assert [one.type for one in item.content] == ["text", "image"]

    anyio.run(run)


def text_of(result: Any) -> str:
    return str(result.content[0].text)


def test_items_that_were_added_are_told_by_their_ids_and_columns(tmp_path: Path) -> None:
    pictures = [paint(tmp_path / f"{one}.png", one) for one in ("red", "green")]
    told = {"brand": ["acme", "acme"], "price": [19.5, 70], "since": [date(2024, 5, 1)] * 2}
    with searchx.create(tmp_path / "shop", encoder=ColourEncoder()) as shop:
        shop.add(["sku-1", "sku-2"], images=pictures, texts=["red", "green"], metadata=told)

        async def talk(client: Client) -> None:
            asked = {"query": "red", "to": "image", "where": "meta.price:<50"}
            found = (await client.call_tool("search", asked)).structured_content or {}
            (hit,) = found["hits"]
            assert (hit["external"], hit["captions"]) == ("sku-1", ["red"])
            assert hit["meta"] == {"brand": "acme", "price": 19.5, "since": "2024-05-01"}
            wrong = await client.call_tool("search", {"where": "meta.prise:<50"})
            assert wrong.is_error and "did you mean price" in text_of(wrong)
            facets = json.loads(text_of(await client.call_tool("filters", {})))["facets"]
            assert facets["meta"]["brand"][0]["where"] == "meta.brand:acme"
            assert facets["meta"]["price"] == []
            shown = await client.call_tool("get_item", {"id": hit["id"]})
            assert "in no file" in json.loads(text_of(shown))["picture"]

        within(shop, talk)


def test_a_folder_whose_name_is_no_text_is_a_filter_like_others(tmp_path: Path) -> None:
    folder = tmp_path / "photos" / os.fsdecode(b"f\xff")
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("The red bus.")
    with closing(Catalog.open(tmp_path / "library", create=True)) as catalog:
        index([folder.parent], catalog, ColourEncoder(), options=Options(workers=0))
    with Library.open(tmp_path / "library", encoder=ColourEncoder()) as opened:

        async def talk(client: Client) -> None:
            told = text_of(await client.call_tool("filters", {}))
            assert json.loads(told.encode("utf-8"))["items"] == 1

        within(opened, talk)
