"""Fixtures that several files share."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from searchx.catalog import Catalog, Content, NewFile, NewItem
from searchx.search import Library
from tests.colour import COLOURS, paint
from tests.shelf import ENCODER, ROOT, digest, fresh
from tests.tiny_model import save_tiny_model

# Preparing a model takes longer than what most tests do with it; test_runtime.py asks for it.
os.environ["SEARCHX_RUNTIME"] = "torch"


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep what can be made again out of the cache of whoever runs the tests."""
    os.environ["SEARCHX_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real open_clip model directory with random weights."""
    directory = tmp_path_factory.mktemp("tiny") / "model"
    save_tiny_model(directory)
    return directory


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with closing(fresh(tmp_path / "library")) as opened:
        yield opened


@pytest.fixture
def library(catalog: Catalog) -> Iterator[Library]:
    """Open the library a second time, as a server does beside an indexer."""
    with Library.open(catalog.directory, encoder=ENCODER) as opened:
        yield opened


@pytest.fixture
def photos(tmp_path: Path, catalog: Catalog) -> Path:
    """Index one picture of each colour, and a text about each."""
    folder = tmp_path / "photos"
    texts = ENCODER.embed_texts(list(COLOURS))
    with catalog.writing() as tx:
        for number, colour in enumerate(COLOURS):
            paint(folder / f"{colour}.png", colour)
            text = f"something {colour}"
            tx.add_items([NewItem("image", digest(number), texts[number], None, 64, 48)])
            tx.add_items([NewItem("text", digest(number), texts[number], text)])
            path = str(folder / f"{colour}.png")
            image, passage = (
                Content("image", digest(number)),
                Content("text", digest(number), "line 1"),
            )
            tx.set_file(ROOT, NewFile(path, 1, 1, [image]))
            tx.set_file(ROOT, NewFile(path + ".txt", 1, 1, [passage]))
    return folder
