"""Recommendations against their laws: each is what it would be by an obvious slower way."""

import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import searchx
from searchx.catalog import Catalog, Content, NewFile, NewItem
from searchx.errors import BadInput
from searchx.ragged import Ragged
from searchx.ranked import HARMLESS
from searchx.records import Ids, Query, Space, Vectors
from searchx.refreshing import refresh_snapshots
from searchx.search import Library
from searchx.wishes import Options
from tests.rows import unit
from tests.shelf import digest

DIM = 16
TASTES = 8  # clusters that the items lie in
ITEMS = 240
ROOT = "/shop"


def taste_of(number: int) -> int:
    return number % TASTES


def rows() -> Vectors:
    """Make items in clusters, as pictures of some subjects lie."""
    random = np.random.default_rng(5)
    centres = unit(random.normal(size=(TASTES, DIM)))
    own = centres[np.arange(ITEMS) % TASTES]
    return unit(own + 0.12 * random.normal(size=(ITEMS, DIM)))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """A library of made-up items: number n is item n + 1, in a folder of its taste."""
    catalog = Catalog.open(tmp_path_factory.mktemp("shop") / "library", create=True)
    with catalog.writing() as tx:
        tx.claim_space(Space("made-up", "made-up-1", DIM))
        tx.add_source(ROOT)
        for number, row in enumerate(rows()):
            tx.add_items([NewItem("image", digest(number), row)])
            path = f"{ROOT}/{taste_of(number)}/{number}.png"
            tx.set_file(ROOT, NewFile(path, 1, 1, [Content("image", digest(number))]))
    refresh_snapshots(catalog, whole=True)
    return Library(catalog)


def tastes(ids: Sequence[int] | Ids) -> list[int]:
    return [taste_of(int(one) - 1) for one in ids]


def of(taste: int, count: int, start: int = 0) -> list[int]:
    """Give ids of items of one taste."""
    return [1 + taste + TASTES * turn for turn in range(start, start + count)]


def found(library: Library, *args: Any, **options: Any) -> list[int]:
    return [hit.id for hit in library.recommend(*args, **options)]


HISTORY = st.lists(st.integers(1, ITEMS), min_size=1, max_size=12, unique=True)
SETTINGS = settings(max_examples=15, deadline=None)


@SETTINGS
@given(st.integers(1, ITEMS))
def test_who_liked_one_item_gets_what_is_similar_to_it(shop: Library, item: int) -> None:
    hits = shop.recommend([item], k=20)
    ids, scores = shop.search_batch(shop.vectors([item]), 21)
    assert ids[0, 0] == item
    assert [hit.id for hit in hits] == ids[0, 1:].tolist()
    assert [hit.score for hit in hits] == pytest.approx(scores[0, 1:].tolist(), abs=1e-6)


def test_that_is_what_a_search_for_more_like_it_finds(library: Library, photos: Path) -> None:
    for item in next(library.blocks()).ids.tolist():
        hits, similar = library.recommend([item]), library.search(Query(like=item))
        assert [hit.id for hit in hits] == [hit.id for hit in similar]
        assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in similar])


@SETTINGS
@given(HISTORY, HISTORY, st.floats(0, 1), st.booleans())
def test_nothing_that_is_known_is_recommended(
    shop: Library, liked: list[int], disliked: list[int], diversity: float, collapse: bool
) -> None:
    options: Options = {"diversity": diversity, "collapse": 0.999 if collapse else False}
    ids = found(shop, liked, disliked, 30, exclude=[7, 8, 9], **options)
    assert not set(ids) & {*liked, *disliked, 7, 8, 9}
    assert len(set(ids)) == len(ids) == 30


@SETTINGS
@given(HISTORY)
def test_all_that_is_not_known_comes_in_the_end(shop: Library, liked: list[int]) -> None:
    ids = found(shop, liked, k=ITEMS)
    assert sorted(ids) == sorted(set(range(1, ITEMS + 1)) - set(liked))


@SETTINGS
@given(HISTORY, st.sets(st.integers(0, TASTES - 1), min_size=1))
def test_a_filter_is_recommending_from_the_subset(
    shop: Library, liked: list[int], kept: set[int]
) -> None:
    where = "folder:" + "|".join(f"{ROOT}/{one}" for one in sorted(kept))
    within = found(shop, liked, k=20, where=where)
    others = [one for one in range(1, ITEMS + 1) if taste_of(one - 1) not in kept]
    assert within == found(shop, liked, k=20, exclude=others)
    assert set(tastes(within)) <= kept


OPTIONS: list[Options] = [
    {},
    {"interests": 1},
    {"half_life": 2.0, "interests": 2},
    {"diversity": 0.4},
    {"collapse": 0.97},
    {"group": "folder", "per_group": 2},
    {"diversity": 0.3, "collapse": 0.97, "group": lambda ids: ids % 3, "per_group": 4},
    {"rescore": lambda batch: -batch["id"].to_numpy()},
]


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
def test_a_batch_is_one_by_one(shop: Library, options: Options) -> None:
    random = np.random.default_rng(1)
    histories = [random.integers(1, ITEMS + 1, random.integers(1, 90)).tolist() for _ in range(300)]
    negatives = [random.integers(1, ITEMS + 1, random.integers(0, 4)).tolist() for _ in range(300)]
    ids, scores = shop.recommend_batch(histories, negatives, 7, **options)
    assert ids.shape == scores.shape == (300, 7)
    for user in range(0, 300, 37):
        hits = shop.recommend(histories[user], negatives[user], 7, **options)
        assert ids[user][ids[user] >= 0].tolist() == [hit.id for hit in hits]
        expected = [hit.score for hit in hits]
        assert scores[user][: len(hits)].tolist() == pytest.approx(expected, abs=1e-6)


def test_each_interest_has_its_share(shop: Library) -> None:
    """Six clicks on one thing and three on another: two hits of the first for one of the second."""
    hits = found(shop, of(0, 6) + of(3, 3), k=12)
    assert sorted(set(tastes(hits))) == [0, 3]
    assert tastes(hits).count(0) == 8
    assert tastes(hits[:3]).count(0) == 2


def test_one_mean_lies_between_interests(shop: Library) -> None:
    liked = of(0, 3) + of(3, 3) + of(5, 3)
    blurred = shop.recommend(liked, k=12, interests=1)
    clear = shop.recommend(liked, k=12)
    assert set(tastes([hit.id for hit in clear])) == {0, 3, 5}
    assert np.mean([hit.score for hit in clear]) > np.mean([hit.score for hit in blurred]) + 0.1


def test_the_least_important_interests_are_left_out(shop: Library) -> None:
    hits = found(shop, of(6, 1) + of(0, 4) + of(3, 4), k=20, interests=2)
    assert set(tastes(hits)) == {0, 3}


def test_what_is_older_counts_less(shop: Library) -> None:
    liked = of(0, 4) + of(3, 4)
    assert tastes(found(shop, liked, k=10)).count(3) == 5
    recent = found(shop, liked, k=10, half_life=1)
    assert tastes(recent).count(3) > 8
    days = [datetime(2024, 1, 1) + timedelta(days=one) for one in range(8)]
    by_date = found(shop, liked, k=10, times=days, half_life=timedelta(days=1))
    assert by_date == recent
    assert found(shop, liked, k=10, times=days[::-1], half_life=timedelta(days=1)) == found(
        shop, liked[::-1], k=10, half_life=1
    )


def test_weights_say_what_counts(shop: Library) -> None:
    liked = of(0, 2) + of(3, 2)
    hits = found(shop, liked, k=10, weights=[1, 1, 4, 4])
    assert tastes(hits).count(3) == 8
    assert set(tastes(found(shop, liked, k=10, weights=[1, 1, 0, 0]))) == {0}


@SETTINGS
@given(HISTORY, st.integers(1, ITEMS))
def test_negatives_lower_what_matches_and_nothing_else(
    shop: Library, liked: list[int], disliked: int
) -> None:
    hits = shop.recommend(liked, [disliked], k=ITEMS)
    plain = {hit.id: hit.score for hit in shop.recommend(liked, k=ITEMS, exclude=[disliked])}
    near = shop.vectors(range(1, ITEMS + 1)) @ shop.vectors([disliked])[0]
    above = (near - near.mean()) / near.std() - HARMLESS
    for hit in hits:
        own = above[hit.id - 1]
        assert (hit.why.lowered > 0) == (own > 0) or abs(own) < 1e-3
    assert {hit.id for hit in hits} == set(plain)


def test_a_dislike_within_an_interest_takes_its_place_last(shop: Library) -> None:
    hits = shop.recommend(of(0, 3) + of(3, 3), of(3, 1, start=10), k=60)
    assert all(taste_of(hit.id - 1) == 3 for hit in hits if hit.why.lowered > 0.2)
    one = shop.recommend(of(0, 3), of(0, 1, start=10), k=1)[0]
    assert one.why.lowered >= 0


def likeness(library: Library, ids: Sequence[int]) -> float:
    gram = library.vectors(ids) @ library.vectors(ids).T
    return float(gram[np.triu_indices(len(ids), 1)].mean())


def test_more_diversity_makes_hits_less_alike(shop: Library) -> None:
    random = np.random.default_rng(2)
    histories = [random.integers(1, ITEMS + 1, 5).tolist() for _ in range(60)]
    means = []
    for diversity in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        ids, _ = shop.recommend_batch(histories, k=8, diversity=diversity)
        means.append(np.mean([likeness(shop, row) for row in ids]))
    assert means == sorted(means, reverse=True)
    assert means[-1] < means[0] - 0.02


def test_groups_have_their_caps(shop: Library) -> None:
    liked = of(0, 3)
    for group in (
        "folder",
        {one: taste_of(one - 1) for one in range(1, ITEMS + 1)},
        lambda ids: (ids - 1) % TASTES,
        lambda ids: pa.array([str(taste_of(one - 1)) for one in ids.tolist()]),
    ):
        hits = found(shop, liked, k=12, group=group, per_group=2)
        assert np.bincount(tastes(hits), minlength=TASTES).max() == 2
        assert len(hits) == 12
        assert hits[:2] == found(shop, liked, k=2)
    assert len(found(shop, liked, k=12, group="source", per_group=3)) == 3
    assert len(found(shop, liked, k=12, group="keyword")) == 12  # who has none is not counted


def test_near_duplicates_are_one(shop: Library) -> None:
    liked = of(0, 2)
    plain = shop.recommend(liked, k=27)
    collapsed = found(shop, liked, k=27, collapse=0.9)
    shown = shop.vectors([*liked, *collapsed])
    gram = shown @ shown.T
    assert gram[np.triu_indices(len(shown), 1)].max() < 0.9 or gram[0, 1] >= 0.9
    assert (gram[len(liked) :, : len(liked)] < 0.9).all()
    assert collapsed != [hit.id for hit in plain]


def test_a_caller_may_score_the_candidates(shop: Library) -> None:
    asked: list[pa.RecordBatch] = []

    def later_is_better(batch: pa.RecordBatch) -> pa.Array:
        asked.append(batch)
        return pc.cast(batch["id"], "float64")

    ids, scores = shop.recommend_batch([of(0, 3), of(3, 2)], k=5, rescore=later_is_better)
    table = pa.Table.from_batches(asked)
    assert table.column_names == ["user", "id", "score", "interest"]
    for user, own in enumerate([of(0, 3), of(3, 2)]):
        offered = table.filter(pc.equal(table["user"], user))["id"].to_numpy()
        assert len(set(offered)) == len(offered) >= 20 - len(own)
        assert ids[user].tolist() == sorted(offered, reverse=True)[:5]
        assert scores[user].tolist() == ids[user].tolist()


def test_what_the_caller_scores_minus_infinity_is_not_shown(shop: Library) -> None:
    def odd_only(batch: pa.RecordBatch) -> Any:
        return np.where(batch["id"].to_numpy() % 2, batch["score"].to_numpy(), -np.inf)

    hits = found(shop, of(0, 3) + of(3, 3), k=8, rescore=odd_only)
    assert hits and all(one % 2 for one in hits)
    with pytest.raises(BadInput, match="rescore gave"):
        shop.recommend(of(0, 2), rescore=lambda batch: [1.0])
    with pytest.raises(BadInput, match="no number"):
        shop.recommend(of(0, 2), rescore=lambda batch: np.full(len(batch), np.nan))


def test_scores_of_the_caller_go_with_caps_and_diversity(shop: Library) -> None:
    def by_cosine(batch: pa.RecordBatch) -> Any:
        return batch["score"]

    hits = found(shop, of(0, 3), k=6, rescore=by_cosine, group="folder", diversity=0.2)
    assert len(set(tastes(hits))) == len(hits)


def test_histories_may_be_vectors(shop: Library) -> None:
    vectors = shop.vectors(of(0, 3))
    by_id = found(shop, of(0, 3), k=10, exclude=[])
    hits = found(shop, vectors, k=10, exclude=of(0, 3))
    assert hits == by_id
    ids, _ = shop.recommend_batch(3 * vectors, k=5)  # one vector for each of three users
    assert [row.tolist() for row in ids] == [found(shop, one[None], k=5) for one in vectors]
    assert ids[0, 0] == of(0, 1)[0]  # nothing is known to have been seen
    column = searchx.arrow.vectors_to_arrow(vectors)
    assert np.array_equal(shop.recommend_batch(column, k=5).ids, ids)
    both, _ = shop.recommend_batch(vectors[None], k=10, exclude=of(0, 3))
    assert both[0].tolist() == by_id


def test_histories_come_as_lists_or_arrow(shop: Library) -> None:
    histories = [of(0, 3), [], of(3, 1) + of(5, 2)]
    ids, scores = shop.recommend_batch(histories, k=4)
    for form in (pa.array(histories), pa.chunked_array([histories[:1], histories[1:]])):
        assert np.array_equal(shop.recommend_batch(form, k=4).ids, ids)
    assert np.array_equal(shop.recommend_batch(Ragged.of(histories), k=4).scores, scores)


def test_of_whom_nothing_is_known_gets_nothing(shop: Library) -> None:
    ids, scores = shop.recommend_batch([[], [ITEMS + 5], [1]], k=3)
    assert (ids[:2] == -1).all() and (scores[:2] == -np.inf).all()
    assert (ids[2] > 0).all()
    for liked in ([], [ITEMS + 5]):
        with pytest.raises(BadInput, match="nothing to go by"):
            shop.recommend(liked)
    assert shop.recommend_batch([], k=3).ids.shape == (0, 3)


def test_what_is_gone_is_passed_over(shop: Library) -> None:
    assert found(shop, [ITEMS + 5, *of(0, 2)], k=5) == found(shop, of(0, 2), k=5)


def test_each_user_has_his_own_exclusions(shop: Library) -> None:
    histories = [of(0, 2), of(0, 2)]
    first = shop.recommend_batch(histories, k=4).ids[0].tolist()
    ids, _ = shop.recommend_batch(histories, k=4, exclude=Ragged.of([first[:2], []]))
    assert ids[0, :2].tolist() == first[2:4] and ids[1].tolist() == first
    with pytest.raises(BadInput, match="exclude of 1"):
        shop.recommend_batch(histories, exclude=Ragged.of([first]))


def test_lists_become_arrow(shop: Library, tmp_path: Path) -> None:
    made = shop.recommend_batch([of(0, 2), []], k=3)
    table = made.arrow(users=["ann", "bob"])
    assert table.to_pylist()[1] == {"user": "bob", "ids": [], "scores": []}
    assert table["ids"][0].as_py() == made.ids[0].tolist()
    assert made.arrow()["user"].to_pylist() == [0, 1]
    assert searchx.write_parquet(table, tmp_path / "lists.parquet") == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"interests": 0}, "interests is 0"),
        ({"interests": 2.5}, "interests is 2.5"),
        ({"diversity": 1.5}, "diversity is 1.5"),
        ({"per_group": 2}, "give group"),
        ({"group": "folder", "per_group": 0}, "per_group is 0"),
        ({"group": "colour"}, 'group "colour"'),
        ({"group": lambda ids: [1]}, "the groups are 1"),
        ({"collapse": 1.5}, "collapse is 1.5"),
        ({"half_life": 0}, "half_life is 0"),
        ({"weights": [1.0]}, "weights have other lengths"),
        ({"weights": [-1.0, 1.0]}, "below 0"),
        ({"times": [0.0, np.inf], "half_life": 1.0}, "not finite"),
        ({"times": [0.0]}, "times have other lengths"),
        ({"half_lif": 1.0}, "half_lif is no wish"),
    ],
    ids=lambda one: one if isinstance(one, str) else " ".join(one),
)
def test_a_wish_that_cannot_be_is_said(shop: Library, options: Any, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        shop.recommend([1, 2], **options)


def test_vectors_that_cannot_be_are_said(shop: Library) -> None:
    with pytest.raises(BadInput, match=r"need.*\(n, 16\)"):
        shop.recommend(np.ones((2, 3), np.float32))
    with pytest.raises(BadInput, match="no length"):
        shop.recommend(np.zeros((2, DIM), np.float32))
    with pytest.raises(BadInput, match="finite"):
        shop.recommend(np.full((2, DIM), np.nan, np.float32))
    with pytest.raises(BadInput, match="negatives"):
        shop.recommend_batch([[1], [2]], [[1]])
    with pytest.raises(BadInput, match="k is 0"):
        shop.recommend([1], k=0)


def test_many_threads_get_the_same(shop: Library) -> None:
    histories = [of(one % TASTES, 3) + of((one + 3) % TASTES, 2) for one in range(300)]
    expected = shop.recommend_batch(histories, k=5, diversity=0.2).ids
    wrong: list[int] = []

    def ask(number: int) -> None:
        if not np.array_equal(shop.recommend_batch(histories, k=5, diversity=0.2).ids, expected):
            wrong.append(number)

    threads = [threading.Thread(target=ask, args=(one,)) for one in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert wrong == []


def test_texts_are_recommended_for_pictures(library: Library, photos: Path) -> None:
    red = library.search("red", 1)[0].id
    hits = library.recommend([red], k=3, to="text")
    assert hits[0].item.text == "something red"
    text = library.search("red", 1, to="text")[0].id
    assert Path(library.recommend([text], k=1)[0].path).stem == "red"
    with pytest.raises(BadInput, match="not known"):
        library.recommend([red], to="both")  # type: ignore[arg-type]


def plainly(scores: Sequence[Vectors], importance: Sequence[float], k: int) -> list[int]:
    """Take turns by importance, each taking its best that is not taken."""
    taken, ids = [0] * len(scores), list[int]()
    while len(ids) < k:
        turn = max(range(len(scores)), key=lambda one: importance[one] / (taken[one] + 1))
        ids.append(max((one for one in range(ITEMS) if one not in ids), key=scores[turn].item))
        taken[turn] += 1
    return ids


def test_the_order_is_that_of_taking_turns(shop: Library) -> None:
    everything = shop.vectors(range(1, ITEMS + 1))
    own = everything[[one - 1 for one in of(0, 3)]].sum(axis=0)
    other = everything[[one - 1 for one in of(3, 2)]].sum(axis=0)
    drawn = [unit(unit(one[None]) + unit((own + other)[None]))[0] for one in (own, other)]
    scores = [everything @ one for one in drawn]
    for row in scores:
        row[[one - 1 for one in of(0, 3) + of(3, 2)]] = -np.inf
    expected = [one + 1 for one in plainly(scores, [3, 2], 15)]
    assert found(shop, of(0, 3) + of(3, 2), k=15) == expected


def test_an_empty_library_has_nothing_to_recommend(catalog: Catalog, library: Library) -> None:
    with pytest.raises(BadInput, match="nothing to go by"):
        library.recommend([1])
    assert (library.recommend_batch([[1]], k=3).ids == -1).all()
    assert library.recommend(np.ones((1, 4), np.float32)) == []
