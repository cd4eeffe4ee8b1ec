"""A library that another model makes anew while it is open: vectors of two spaces never meet."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from indexer.pipeline import index_into
from searchx import upkeep
from searchx.naming import names, vocabulary_of
from searchx.records import Pixels, Space, Vectors
from searchx.search import Library
from tests.colour import COLOURS, ColourEncoder, paint
from tests.shelf import names as named


class WideEncoder(ColourEncoder):
    """The same colours in two dimensions more."""

    def __init__(self) -> None:
        super().__init__("wide")
        self.space = Space("wide", "wide-1", 6)

    def embed_images(self, pixels: Sequence[Pixels]) -> Vectors:
        return _wider(super().embed_images(pixels))

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        return _wider(super().embed_texts(texts))


class Interrupted(ColourEncoder):
    """Does something before it embeds."""

    def __init__(self) -> None:
        super().__init__()
        self.before: Callable[[], None] = lambda: None

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        self.before()
        return super().embed_texts(texts)


def _wider(rows: Vectors) -> Vectors:
    return np.concatenate([np.zeros((len(rows), 2), np.float32), rows], axis=1)


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    for colour in COLOURS:
        paint(tmp_path / "photos" / f"{colour}.png", colour)
    index_into(tmp_path / "library", tmp_path / "photos", ColourEncoder())
    index_into(tmp_path / "wide", tmp_path / "photos", WideEncoder())
    upkeep.backup(tmp_path / "wide", tmp_path / "saved")
    with Library.open(tmp_path / "library", encoder=Interrupted()) as opened:
        yield opened


def replace(library: Library, tmp_path: Path) -> None:
    upkeep.restore(tmp_path / "saved", library.directory, force=True)
    library._encoder = WideEncoder()  # as it is loaded where none was given


def test_what_was_measured_for_one_model_is_not_used_for_another(
    library: Library, tmp_path: Path
) -> None:
    before = library.ask("red", group=True)
    replace(library, tmp_path)
    after = library.ask("red", group=True)
    assert named(after.hits) == named(before.hits)
    with Library.open(library.directory, encoder=WideEncoder()) as fresh:
        assert after.hits == fresh.ask("red", group=True).hits
    assert library._backdrops._threshold is not None
    assert library._backdrops._threshold[0] == "wide-1"


@pytest.mark.parametrize("way", ["ask", "search_batch", "clusters"])
def test_a_library_that_is_replaced_during_a_query_answers_it(
    library: Library, tmp_path: Path, way: str
) -> None:
    library.search("green")
    encoder = library.encoder
    assert isinstance(encoder, Interrupted)

    def interrupt() -> None:
        encoder.before = lambda: None
        replace(library, tmp_path)

    encoder.before = interrupt
    if way == "ask":
        assert named(library.search("red"))[0] == "red"
    elif way == "search_batch":
        ids, _ = library.search_batch(["red"], 1)
        assert library.item(int(ids[0, 0])).path.endswith("red.png")
    else:
        assert library.clusters(query="red").items[0].path.endswith("red.png")
    assert library.space.name == "wide"


def test_words_of_one_model_name_no_groups_of_another() -> None:
    rows = ColourEncoder().embed_texts(["red", "green", "blue"] * 5)
    words = vocabulary_of([(["some cherries", "some meadows", "some oceans"] * 5, rows)])
    assert words.words
    assert names(words, np.eye(6, dtype=np.float32)[:2]) == [(), ()]
