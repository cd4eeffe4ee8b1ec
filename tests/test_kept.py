"""Answers that are given again: never one that is out of date."""

import copy
import json
import pickle
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import searchx
from searchx.catalog import Catalog
from searchx.errors import LibraryError
from searchx.kept import Answers
from searchx.records import Answer, Hit, Item, Location, Query
from searchx.search import Library
from tests.colour import paint
from tests.shelf import ENCODER, add, fresh


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    with closing(fresh(tmp_path / "library")) as catalog:
        add(catalog, range(20))
    return tmp_path / "library"


def settle(library: Library) -> None:
    """Wait until the last write is long enough ago to keep answers by."""
    while library._catalog.settled() is None:
        pass


def answer(count: int) -> Answer:
    item = Item(1, "image", "00", (Location("/s", "/s/1"),))
    return Answer((Hit(item, 0.5),) * count)


def test_an_answer_is_given_again_until_something_is_written(shelf: Path) -> None:
    with Library.open(shelf, encoder=ENCODER) as library:
        settle(library)
        first = library.ask("red", 5)
        assert library.ask("red", 5) is first
        assert library.ask("red", 6) is not first
        assert library.ask("red", 5, where="name:1") is not first
        assert library.ask("red", 5) is first
        with closing(Catalog.open(shelf)) as other:
            add(other, range(20, 40))
        after = library.ask("red", 40)
        assert after.hits == library.ask(Query("red"), 40).hits
        assert {hit.id for hit in after.hits} == set(range(1, 41))
        assert library.ask("red", 5) is not first


def test_an_answer_that_is_kept_cannot_be_changed_by_whoever_got_it(tmp_path: Path) -> None:
    with searchx.create(tmp_path / "shop", encoder=ENCODER) as library:
        library.add(["a"], texts=["red"], metadata=[{"price": 3}])
        library.add(["b"], texts=["blue"])
        settle(library)
        answer = library.ask("red", 2, "text")
        for hit in answer.hits:
            told: Any = hit.meta if hit.meta else hit.item.locations[0].meta
            with pytest.raises(TypeError, match="cannot be changed"):
                told["price"] = 4
            with pytest.raises(TypeError, match="cannot be changed"):
                told.update(price=4)
        spent: Any = answer.explained[0].milliseconds
        with pytest.raises(TypeError, match="cannot be changed"):
            spent.clear()
        for copied in (pickle.loads(pickle.dumps(answer)), copy.deepcopy(answer)):
            assert copied == answer
            assert type(copied.hits[0].meta) is type(answer.hits[0].meta)
        assert json.dumps(answer.hits[0].meta) == '{"price": 3}'
        assert asdict(answer)["hits"][0]["item"]["locations"][0]["meta"] == {"price": 3}
        assert {**answer.hits[0].meta, "price": 4} == {"price": 4}


def test_a_picture_is_looked_at_each_time(shelf: Path, tmp_path: Path) -> None:
    asked = Query(image=tmp_path / "asked.png")
    with Library.open(shelf, encoder=ENCODER) as library:
        paint(tmp_path / "asked.png", "red")
        settle(library)
        red = library.ask(asked, 20)
        paint(tmp_path / "asked.png", "blue")
        assert [hit.score for hit in library.ask(asked, 20).hits] != [hit.score for hit in red.hits]


def test_a_closed_library_gives_nothing(shelf: Path) -> None:
    library = Library.open(shelf, encoder=ENCODER)
    settle(library)
    library.ask("red", 5)
    library.close()
    with pytest.raises(LibraryError):
        library.ask("red", 5)


def test_what_is_kept_is_bounded_by_its_hits() -> None:
    answers = Answers(most=10)
    for key in range(4):
        answers.of(key, "now", lambda: answer(3))  # of each 4: two fit
    assert answers.of(3, "now", lambda: answer(0))[1]
    assert answers.of(2, "now", lambda: answer(0))[1]
    assert not answers.of(0, "now", lambda: answer(0))[1]
    large, is_kept = answers.of("large", "now", lambda: answer(50))
    assert len(large.hits) == 50
    assert not is_kept
    assert not answers.of("large", "now", lambda: answer(50))[1]


def test_nothing_is_kept_of_another_state_or_of_none() -> None:
    answers = Answers()
    assert not answers.of("a", "then", lambda: answer(1))[1]
    assert answers.of("a", "then", lambda: answer(1))[1]
    assert not answers.of("a", "now", lambda: answer(1))[1]
    assert not answers.of("b", None, lambda: answer(1))[1]
    assert not answers.of("b", None, lambda: answer(1))[1]
