"""Items of several views: linked, embedded apart, fused to one vector."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import searchx
from searchx.errors import BadInput, SpaceMismatch
from searchx.fusing import Rows, fused
from searchx.records import Vectors
from searchx.search import Library
from searchx.upkeep import verify
from tests.colour import COLOURS, ColourEncoder
from tests.rows import unit

PRODUCTS = {  # the colour of a picture, and a title and a story where there is one
    "ball": ("red", "a red ball", "something white"),
    "bell": ("red", "a blue bell", None),
    "belt": ("blue", "a blue belt", "something blue"),
    "boat": ("green", None, None),
}


def png(colour: str, width: int = 20) -> bytes:
    packed = io.BytesIO()
    Image.new("RGB", (width, 20), COLOURS[colour]).save(packed, "PNG")
    return packed.getvalue()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Library]:
    with searchx.create(tmp_path / "shop", encoder=ColourEncoder()) as library:
        pictures, titles, stories = zip(*PRODUCTS.values(), strict=True)
        report = library.add(
            list(PRODUCTS),
            images=[png(one, 20 + place) for place, one in enumerate(pictures)],
            texts=titles,
            views={"story": stories},
            metadata={"letters": [len(one) for one in PRODUCTS]},
        )
        assert (report.added, report.skipped) == (4, [])
        yield library


def rows(*colours: str) -> Vectors:
    return ColourEncoder().embed_texts(list(colours))


def test_the_views_of_an_item_belong_together(shop: Library) -> None:
    first = shop.items(shop.lookup(["ball"]))[0]
    assert (first.kind, first.captions) == ("image", ("a red ball", "something white"))
    text = shop.items(shop.lookup(["ball"], kind="text"))[0]
    assert (text.text, text.pictures) == ("a red ball", (first.id,))
    assert [place.fragment for place in text.locations] == ["text"]
    (hit,) = shop.search("bell", 1)  # by the word of its title
    assert hit.external == "bell"
    assert shop.status().texts == 5
    assert shop.delete(["ball"]) == 1
    assert (shop.status().images, shop.status().texts) == (3, 3)
    assert verify(shop.directory).problems == ()


def test_a_view_that_went_is_gone(shop: Library) -> None:
    shop.add(["ball"], images=[png("red")])
    assert shop.lookup(["ball"], kind="text").tolist() == [-1]
    assert shop.items(shop.lookup(["ball"]))[0].captions == ()


def test_views_are_weighted_and_added_up(shop: Library) -> None:
    plain = shop.fused(["bell"], {"image": 2, "text": 1}, centred=False)
    expected = 2 * rows("red") + rows("blue")
    assert np.allclose(plain, expected / np.linalg.norm(expected), atol=2e-3)
    only = shop.fused(["bell", "ball"], {"text": 1}, centred=False)
    assert np.allclose(only, rows("blue", "red"), atol=2e-3)
    assert np.allclose(np.linalg.norm(shop.fused(list(PRODUCTS)), axis=1), 1, atol=1e-3)


def test_the_mean_of_each_view_is_taken_away(shop: Library) -> None:
    titles = rows("red", "blue", "blue")
    centred = titles - titles.mean(0)
    expected = centred[0] / np.linalg.norm(centred[0])
    assert np.allclose(shop.fused(["ball"], {"text": 1}), expected, atol=5e-3)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"colour": 1}, 'no view "colour"; there are "image", "text", "story"'),
        ({"text": -1}, "from 0 on"),
        ({"text": float("nan")}, "from 0 on"),
        ({"text": 0}, "all weights are 0"),
        ({}, "all weights are 0"),
        ({"text": 1}, '"boat" is not there, or has none'),
    ],
)
def test_weights_that_cannot_be_are_refused(
    shop: Library, weights: dict[str, float], said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        shop.fused(["boat"], weights)


def test_what_was_never_added_cannot_be_fused(shop: Library) -> None:
    with pytest.raises(BadInput, match='"nobody" is not there'):
        shop.fused(["nobody"])
    with pytest.raises(BadInput, match="nothing was added"):
        shop.fused(["ball"], collection="shoes")


def test_fused_vectors_become_a_library_of_products(shop: Library, tmp_path: Path) -> None:
    place = tmp_path / "fused"
    assert shop.fuse(place, {"image": 1, "text": 0.5}).added == 4
    with searchx.open(place) as products:
        found = products.vectors(products.lookup(list(PRODUCTS)))
        assert np.allclose(found, shop.fused(list(PRODUCTS), {"image": 1, "text": 0.5}), atol=2e-3)
        ball = int(products.lookup(["ball"])[0])
        near = products.similar(ball, 3, where="meta.letters:4").hits
        assert near[0].external == "bell"  # as red, and no other is
        table = products.similar_items(k=1).read_all()
        assert table.num_rows == 4
        shop.delete(["boat"])
        shop.add(["bolt"], images=[png("blue")])
        again = shop.fuse(place, {"image": 1, "text": 0.5})
        assert again.added == 1
        left = products.lookup(["boat", "bolt", "ball"]) >= 0
        assert left.tolist() == [False, True, True]
        assert verify(place).problems == ()
    with pytest.raises(SpaceMismatch):
        shop.fuse(place, {"image": 1, "text": 2})


def test_where_a_view_is_missing_the_others_count() -> None:
    some = np.eye(4, dtype=np.float32)[:2]
    views = {
        "a": Rows(some, np.array([True, True])),
        "b": Rows(some[::-1], np.array([True, False])),
    }
    found = fused(views)
    assert np.allclose(found[1], some[1])
    assert np.allclose(found[0], [0.5**0.5, 0.5**0.5, 0, 0])


@pytest.mark.parametrize("name", ["", "image", "text", 7])
def test_a_view_has_a_name_of_its_own(shop: Library, name: str) -> None:
    with pytest.raises(BadInput, match="name of its own"):
        shop.add(["x"], images=[png("red")], texts=["red"], views={name: ["blue"]})


def test_no_view_is_called_as_what_has_no_name(shop: Library) -> None:
    row = rows("red")
    with pytest.raises(BadInput, match="name of its own"):
        shop.add(["x"], texts=["red"], views={"text": ["blue"]})
    with pytest.raises(BadInput, match="name of its own"):
        shop.add(["x"], row, views={"image": ["blue"]})
    with pytest.raises(BadInput, match="name of its own"):
        shop.add(["x"], row, kind="text", views={"text": ["blue"]})
    assert shop.add(["x"], row, views={"text": ["blue"]}).added == 1
    assert shop.add(["y"], texts=["red"], views={"image": [png("blue", 90)]}).added == 1


def test_several_pictures_are_one_view(tmp_path: Path) -> None:
    """Their order does not matter, and one alone is that picture."""
    red, blue, green = (png(one) for one in ("red", "blue", "green"))
    with searchx.create(tmp_path / "shop", encoder=ColourEncoder()) as shop:
        report = shop.add(
            ["a", "b", "c", "d"],
            images=[[red, blue], [blue, red, red], [green, None], []],
            texts=["a", "b", "c", "d"],
            views={"worn": [[green, blue], None, [blue], green]},
        )
        assert (report.added, report.skipped) == (4, [])
        expected = rows("red") + rows("blue")
        first, second, third, fourth = shop.lookup(["a", "b", "c", "d"])
        assert first == second
        assert np.allclose(shop.vectors([first]), unit(expected), atol=2e-3)
        assert np.allclose(shop.vectors([third]), rows("green"), atol=2e-3)
        assert shop.item(int(fourth)).text == "d"
        worn = shop.fused(["a", "c", "d"], {"worn": 1}, centred=False)
        means = [rows("green") + rows("blue"), rows("blue"), rows("green")]
        assert np.allclose(worn, unit(np.concatenate(means)), atol=2e-3)
        assert shop.add(["a"], images=[[blue, red]], texts=["a"]).updated == 1  # no view any more
        assert verify(shop.directory).problems == ()


def test_a_view_may_be_vectors(tmp_path: Path) -> None:
    made = unit(np.random.default_rng(3).normal(size=(3, 8)))
    with searchx.create(tmp_path / "shop", dim=8, name="two towers") as shop:
        views = {"clicks": 5 * made, "looks": [None, made[0].tolist(), made[1]]}
        assert shop.add(["a", "b", "c"], views=views).added == 3
        assert shop.add(["a", "b", "c"], views=views).unchanged == 3
        assert np.allclose(shop.fused(["b"], {"clicks": 1}, centred=False), made[1], atol=2e-3)
        looks = shop.fused(["b", "c"], {"looks": 1}, centred=False)
        assert np.allclose(looks, made[:2], atol=2e-3)
        assert [shop.externals(ids) for ids in shop.search_batch(made, 1)[0]] == [
            ["a"],
            ["b"],
            ["c"],
        ]


def test_what_cannot_be_a_view_is_told_by_its_id(tmp_path: Path) -> None:
    nowhere, empty = tmp_path / "nowhere.png", np.zeros(4)
    with searchx.create(tmp_path / "shop", encoder=ColourEncoder()) as shop:
        views = {
            "side": [["a.png"], [png("red"), b"none"], [png("red"), nowhere], empty, [1.0, 2.0]]
        }
        report = shop.add(list("abcde"), views=views)
        said = {one.path: one.reason for one in report.skipped}
        assert report.added == 0
        assert "its list holds texts" in said["a"]
        assert said["b"].startswith("its picture")
        assert said["c"].startswith("picture 2 of 2: ") and "cannot be read" in said["c"]
        assert "no length" in said["d"]
        assert said["e"] == "its vector has 2 dimensions, the library has 4"
        with pytest.raises(BadInput, match="vectors have 3 dimensions, the library has 4"):
            shop.add(["a"], views={"side": np.ones((1, 3))})
