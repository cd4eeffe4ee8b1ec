"""The way through the results: every item has its place, and its neighbours on every page."""

from dataclasses import replace

import pytest

from searchx.catalog import Catalog
from searchx.search import Library
from tests.shelf import add
from web.asked import Asked
from web.pictures import Uploads
from web.trail import Trail, address_of, answer_of, trail_of

COUNT = 30


@pytest.fixture
def full(catalog: Catalog, library: Library) -> Library:
    add(catalog, range(COUNT))
    return library


def trail(library: Library, asked: Asked, id: int) -> Trail:
    found = trail_of(library, Uploads(), asked, id)
    assert found is not None
    return found


def walked(library: Library, asked: Asked, start: int, back: bool = False) -> list[int]:
    """Walk from an item to the end, by nothing but what each page tells."""
    ids, step = [start], None
    while True:
        here = trail(library, asked if step is None else step.asked, ids[-1])
        step = here.previous if back else here.next
        if step is None:
            return ids
        ids.append(step.item.id)


@pytest.mark.parametrize("k", [1, 7, 15, 30, 48])
@pytest.mark.parametrize("q", ["red", "kind:image", "red -blue"])
def test_walking_passes_all_results_in_their_order_over_every_page(
    full: Library, q: str, k: int
) -> None:
    asked = Asked(q, k=k)
    order = [hit.id for hit in answer_of(full, Uploads(), asked, COUNT).hits]
    assert len(order) == COUNT
    assert walked(full, asked, order[0]) == order
    assert walked(full, asked, order[-1], back=True) == order[::-1]


def test_back_leads_to_the_page_of_results_that_the_item_is_on(full: Library) -> None:
    asked = Asked("red", k=7)
    first = full.ask("red", 1).hits[0].id
    at = trail(full, asked, first)
    for number in range(2, COUNT + 1):
        assert at.next is not None
        id, there = at.next.item.id, at.next.asked
        shown = full.ask("red", there.k, after=there.after)
        assert id in [hit.id for hit in shown.hits]
        at = trail(full, there, id)
        assert (at.number, at.count) == (number, COUNT)
    assert at.next is None


def test_an_address_of_a_later_page_knows_what_came_before(full: Library) -> None:
    order = [hit.id for hit in full.ask("red", COUNT).hits]
    asked = Asked("red", k=10, after=full.ask("red", 10).cursor)
    found = trail(full, asked, order[10])
    assert found.number == 11
    assert found.previous is not None
    assert (found.previous.item.id, found.previous.asked.after) == (order[9], None)
    assert found.previous.address == address_of(order[9], Asked("red", k=10))


def test_what_is_like_an_item_has_no_place_for_the_item_itself(full: Library) -> None:
    asked = Asked(like=3)
    assert trail_of(full, Uploads(), asked, 3) is None
    first = full.ask("like:3", 1).hits[0].id
    assert trail(full, asked, first).count == COUNT - 1


def test_texts_that_are_like_a_picture_are_all_counted(full: Library, catalog: Catalog) -> None:
    add(catalog, range(100, 160), "text")
    asked = Asked(like=3, to="text")
    first = full.ask("like:3", 1, "text").hits[0].id
    assert trail(full, asked, first).count == 60


def test_a_sample_is_walked_in_its_order(full: Library) -> None:
    asked = Asked(random="5", k=9)
    order = [one.id for one in full.sample(9, seed=5)]
    assert walked(full, asked, order[0]) == order
    assert trail(full, asked, order[0]).count == 9


def test_near_duplicates_that_are_hidden_are_not_counted(full: Library) -> None:
    asked = Asked("red", k=5, group=True)
    first = full.ask("red", 1, group=True).hits[0].id
    assert trail(full, asked, first).count is None
    assert trail(full, replace(asked, k=48), first).count is not None


def test_what_does_not_pass_has_no_place(full: Library) -> None:
    assert trail_of(full, Uploads(), Asked("red id:1..3"), 9) is None


def test_a_varied_list_is_walked_as_it_was_shown(full: Library) -> None:
    asked = Asked("red", k=9, varied=True)
    order = [hit.id for hit in answer_of(full, Uploads(), asked, 9).hits]
    assert order != [hit.id for hit in full.ask("red", 9).hits]
    assert walked(full, asked, order[0]) == order
