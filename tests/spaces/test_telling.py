"""How far a migration is, told at the prompt, on the page, over HTTP and to a remote library."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from indexer.migrating import Settings, migrate
from indexer.pipeline import index_into
from indexer.planning import Options
from searchx.catalog import Catalog
from searchx.spaces.progress import MigrationPublisher, migration_of
from searchx.terminal import migration_text
from tests.colour import COLOURS, ColourEncoder, paint
from tests.spaces.encoders import Bright, Shelf
from web.app import create_app


@pytest.fixture
def library(tmp_path: Path) -> Path:
    for colour in COLOURS:
        paint(tmp_path / "photos" / f"{colour}.png", colour)
    index_into(
        tmp_path / "library", tmp_path / "photos", ColourEncoder(), options=Options(workers=0)
    )
    (tmp_path / "photos" / "red.png").unlink()
    assert not migrate(tmp_path / "library", Bright(), settings=Settings(workers=0)).switched
    return tmp_path / "library"


@pytest.fixture
def client(library: Path) -> Iterator[TestClient]:
    with closing(Catalog.open(library)) as catalog, Shelf(catalog) as opened:
        yield TestClient(create_app(opened))


def text_of(library: Path) -> str:
    with closing(Catalog.open(library)) as catalog:
        found = migration_of(catalog)
        return "" if found is None else migration_text(found)


def test_a_migration_that_has_stopped_is_told(library: Path, client: TestClient) -> None:
    assert text_of(library).startswith("the migration to bright has stopped, 9 of 10 items (90%)")
    told = client.get("/api/status").json()["migration"]
    assert (told["model"], told["state"], told["items"], told["done"]) == (
        "bright",
        "stopped",
        10,
        9,
    )
    page = client.get("/status").text
    assert "The change to the model bright has stopped: 9 of 10 items" in page
    assert "Until it is done, colour answers" in page
    chinese = client.get("/status", headers={"accept-language": "zh-CN"}).text
    assert "更换为模型 bright 的过程已停止" in chinese


def test_a_migration_that_goes_on_is_told(library: Path, client: TestClient) -> None:
    publisher = MigrationPublisher(library, 100, 10)
    try:
        time.sleep(2.01)
        publisher.advance(30)
        told = client.get("/api/status").json()["migration"]
        assert (told["state"], told["stage"], told["done"]) == ("running", "embedding", 40)
        assert told["items_per_second"] > 0
        assert 0 < told["seconds_left"] < 60
        page = client.get("/status").text
        assert "Changing to the model bright: 40 of 100 items" in page
        assert 'data-refresh="2"' in page
        assert text_of(library).startswith("migrating to bright, 40 of 100 items (40%), ")
        publisher.enter("checking")
        assert "the vectors are being checked" in client.get("/status").text
        assert text_of(library).endswith("the vectors are being checked")
    finally:
        publisher.end()
    assert client.get("/api/status").json()["migration"]["state"] == "stopped"


def test_a_space_that_is_kept_is_told(library: Path, client: TestClient) -> None:
    assert migrate(library, Bright(), settings=Settings(workers=0, without_missing=True)).switched
    assert text_of(library).startswith("colour is kept to go back to, 9 of 9 items")
    assert client.get("/api/status").json()["migration"]["state"] == "kept"
    page = client.get("/status").text
    assert "colour, kept to go back to" in page
    assert 'data-refresh="15"' in page
