"""Items that are no files: added, replaced and deleted by the ids of whoever has them."""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from fastapi.testclient import TestClient
from PIL import Image

import searchx
from indexer.pipeline import index
from indexer.planning import Options
from searchx.adding.adder import ROWS
from searchx.catalog import Catalog
from searchx.errors import BadInput, LibraryError, ModelError, SpaceMismatch
from searchx.records import Pixels, Query, Vectors
from searchx.search import Library
from searchx.splits import by_user
from searchx.upkeep import forget, move_source, verify
from tests.colour import COLOURS, ColourEncoder, paint
from web.app import create_app

DIM = 8


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Library]:
    """A library of vectors that searchx did not embed."""
    with searchx.create(tmp_path / "shop", dim=DIM, name="ours") as library:
        yield library


@pytest.fixture
def wall(tmp_path: Path) -> Iterator[Library]:
    """A library that embeds colours."""
    with searchx.create(tmp_path / "wall", encoder=ColourEncoder()) as library:
        yield library


def rows(count: int, seed: int = 0) -> Vectors:
    found: Vectors = np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found


def nearest(library: Library, query: Vectors, k: int = 1) -> list[str | None]:
    ids, _ = library.search_batch(query[:1], k)
    return library.externals([int(one) for one in ids[0] if one >= 0])


def png(colour: str, width: int = 40) -> bytes:
    packed = io.BytesIO()
    Image.new("RGB", (width, 30), COLOURS[colour]).save(packed, "PNG")
    return packed.getvalue()


def is_sound(library: Library) -> bool:
    verdict = verify(library.directory)
    assert verdict.problems == ()
    return True


def test_each_vector_is_found_by_its_id(shop: Library) -> None:
    count = ROWS + 100  # more than one transaction
    report = shop.add([f"sku-{one}" for one in range(count)], 3 * rows(count))
    assert (report.added, report.updated, report.unchanged, report.skipped) == (count, 0, 0, [])
    found = shop.lookup(["sku-7", "nobody", f"sku-{count - 1}"])
    assert found.dtype == np.int64
    assert found[1] == -1
    assert found[0] != found[2]
    assert shop.externals(found) == ["sku-7", None, f"sku-{count - 1}"]
    assert nearest(shop, rows(count)[7:8]) == ["sku-7"]
    assert np.allclose(shop.vectors(found[[0, 2]]), rows(count)[[7, -1]], atol=2e-3)
    assert is_sound(shop)


def test_adding_the_same_again_changes_nothing(shop: Library) -> None:
    told = {"price": list(range(10)), "brand": ["acme"] * 10}
    shop.add(range(10), rows(10), metadata=told)
    before = shop.lookup(range(10))
    report = shop.add(range(10), rows(10), metadata=told)
    assert (report.added, report.updated, report.unchanged) == (0, 0, 10)
    assert (shop.lookup(range(10)) == before).all()


def test_an_id_stands_for_what_was_added_last(shop: Library) -> None:
    shop.add(["a", "b"], rows(2), metadata=[{"price": 1}, {"price": 2}])
    old = shop.lookup(["a"])[0]
    report = shop.add(["a"], rows(1, seed=5))
    assert (report.added, report.updated) == (0, 1)
    new = shop.lookup(["a"])[0]
    assert new != old
    assert nearest(shop, rows(1, seed=5)) == ["a"]
    assert nearest(shop, rows(1), k=10) == ["a", "b"] or nearest(shop, rows(1), 10) == ["b", "a"]
    assert shop.item(int(new)).meta == {}
    with pytest.raises(BadInput, match="no item"):
        shop.item(int(old))
    assert is_sound(shop)


def test_of_rows_with_the_same_id_the_last_one_counts(shop: Library) -> None:
    report = shop.add(["a", "b", "a"], rows(3))
    assert report.added == 2
    assert nearest(shop, rows(3)[2:]) == ["a"]
    assert shop.status().images == 2


def test_what_was_deleted_is_found_by_nothing(shop: Library) -> None:
    shop.add(["a", "b", "c"], rows(3))
    gone = int(shop.lookup(["b"])[0])
    assert shop.delete(["b", "nobody"]) == 1
    assert shop.lookup(["a", "b"]).tolist()[1] == -1
    assert set(nearest(shop, rows(3)[1:], 10)) == {"a", "c"}
    assert gone not in [int(one) for block in shop.blocks() for one in block.ids]
    assert shop.status().images == 2
    assert shop.delete(["b"]) == 0
    assert is_sound(shop)
    shop.add(["b"], rows(3)[1:2])  # it may come back, with an id that was never used
    assert int(shop.lookup(["b"])[0]) > gone
    assert nearest(shop, rows(3)[1:]) == ["b"]


def test_numbers_that_json_cannot_hold_are_left_out(shop: Library) -> None:
    told = {"price": [float("inf"), -np.inf, np.float32("nan"), 1.5]}
    shop.add(list("abcd"), rows(4), metadata=told)
    items = shop.items(shop.lookup(list("abcd")).tolist())
    assert [one.meta for one in items] == [{}, {}, {}, {"price": 1.5}]


OFFSETS = pa.py_buffer(np.array([0, 1], np.int32))
NO_UTF8 = pa.StringArray.from_buffers(1, OFFSETS, pa.py_buffer(b"\xff"))
TWICE = pa.Table.from_arrays([pa.array(["a"]), pa.array([1]), pa.array([2])], ["id", "x", "x"])


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ([{"\ud800": 1}], "give it a name"),
        ([{"a": {1, "b"}}], '"a" of a is set'),
        (pa.table({"when": pa.array([10**8], pa.date32())}), "cannot be read"),
        (pa.table({"when": pa.array([1], pa.timestamp("us", "No/Where"))}), "cannot be read"),
        ({"a": NO_UTF8}, "cannot be read"),
    ],
)
def test_what_cannot_be_told_is_said_in_a_line(shop: Library, told: Any, said: str) -> None:
    with pytest.raises(BadInput, match=said) as error:
        shop.add(["a"], rows(1), metadata=told)
    assert "\n" not in str(error.value)
    assert shop.lookup(["a"]).tolist() == [-1]


def test_columns_of_one_name_are_refused(shop: Library) -> None:
    with pytest.raises(BadInput, match="several columns of one name"):
        shop.add_batches(TWICE)


def test_collections_are_apart(shop: Library) -> None:
    shop.add(["a"], rows(1), collection="shirts")
    shop.add(["a"], rows(1, seed=1), collection="shoes")
    assert shop.lookup(["a"]).tolist() == [-1]
    both = {one: shop.lookup(["a"], collection=one)[0] for one in ("shirts", "shoes")}
    assert len(set(both.values())) == 2
    ids, _ = shop.search_batch(rows(1), 10, where="source:collection:shoes")
    assert [one for one in ids[0] if one >= 0] == [both["shoes"]]
    assert shop.delete(["a"], collection="shirts") == 1
    assert shop.lookup(["a"], collection="shoes")[0] == both["shoes"]


@pytest.mark.parametrize("name", ["", "a b", "../a", "a/b", "a:b", "x" * 101])
def test_a_name_that_no_collection_can_have_is_refused(shop: Library, name: str) -> None:
    with pytest.raises(BadInput, match="collection"):
        shop.add(["a"], rows(1), collection=name)


def test_vectors_come_as_arrays_lists_and_arrow_columns(shop: Library) -> None:
    plain = rows(4)
    flat = pa.array(plain.reshape(-1))
    fixed = pa.FixedSizeListArray.from_arrays(flat, DIM)
    for way in (
        plain,
        plain.astype(np.float64),
        plain.astype(np.float16),
        plain.tolist(),
        fixed,
        pa.chunked_array([fixed[:1], fixed[1:]]),
        fixed.cast(pa.list_(pa.float32())),
        fixed.slice(0, 4),
    ):
        shop.delete(range(4))
        assert shop.add(range(4), way).added == 4
        assert np.allclose(shop.vectors(shop.lookup(range(4))), plain, atol=2e-3)
    assert shop.add([9], fixed.slice(2, 1)).added == 1
    assert np.allclose(shop.vectors(shop.lookup([9])), plain[2:3], atol=2e-3)


def test_a_vector_that_is_none_is_reported_by_its_id(shop: Library) -> None:
    bad = rows(5).astype(np.float64)
    bad[1, 3], bad[2], bad[3, 0], bad[4] = np.nan, 0, np.inf, 1e-30
    report = shop.add(list("abcde"), bad)
    assert report.added == 2
    assert {one.path: one.reason for one in report.skipped} == {
        "b": "its vector holds a number that is not finite",
        "c": "its vector has no length",
        "d": "its vector holds a number that is not finite",
    }
    assert is_sound(shop)


@pytest.mark.parametrize(
    ("vectors", "said"),
    [
        (np.ones((2, 7)), "7 dimensions, the library has 8"),
        (np.ones(8), "shape"),
        (np.ones((3, 8)), "3 for 2 ids"),
        ([["a"] * 8] * 2, "give numbers"),
        ([[1] * 8, [1] * 7], "different widths"),
        (pa.array([[1.0] * 8, None]), "null"),
        (pa.array(["a", "b"]), "fixed_size_list"),
    ],
)
def test_vectors_that_do_not_fit_are_refused_as_a_whole(
    shop: Library, vectors: Any, said: str
) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        shop.add(["a", "b"], vectors)
    assert "\n" not in str(caught.value)
    assert shop.status().images == 0


@pytest.mark.parametrize("id", ["", "a\0b", "\ud800", 1.5, None, True, "x" * 1001])
def test_an_id_that_cannot_be_is_refused(shop: Library, id: Any) -> None:
    with pytest.raises(BadInput, match="id 1"):
        shop.add(["a", id], rows(2))


def test_numbers_are_ids_as_well(shop: Library) -> None:
    shop.add(np.array([5, 70]), rows(2))
    assert (shop.lookup(["5", "70"]) == shop.lookup([5, 70])).all()
    assert shop.externals(shop.lookup(pa.array([70]))) == ["70"]


def test_texts_and_pictures_are_embedded(wall: Library, tmp_path: Path) -> None:
    texts = wall.add(["t1", "t2"], texts=["a red  wall", "a green\nfield"], kind="text")
    assert (texts.added, texts.embedded) == (2, 2)
    file = paint(tmp_path / "blue.png", "blue")
    pixels = np.zeros((9, 7, 3), np.uint8) + np.array(COLOURS["green"], np.uint8)
    pictures = wall.add(
        range(5),
        images=[
            png("red"),
            file,
            pixels,
            Image.new("RGB", (5, 5), "white"),
            {"bytes": png("pink")},
        ],
    )
    assert (pictures.added, pictures.embedded, pictures.skipped) == (5, 5, [])
    for words, id in (("red", "0"), ("blue", "1"), ("green", "2"), ("white", "3"), ("pink", "4")):
        assert wall.search(words, 1)[0].external == id
    (hit,) = wall.search("green", 1, to="text")
    assert (hit.external, hit.item.text) == ("t2", "a green field")
    assert is_sound(wall)


class Fickle(ColourEncoder):
    """Takes another number of pictures after each call, as one does that finds its own number."""

    def embed_images(self, pixels: Sequence[Pixels]) -> Vectors:
        self.batch_size = 11 if self.batch_size == 3 else 3
        return super().embed_images(pixels)


def test_each_picture_is_embedded_once_while_batches_change(tmp_path: Path) -> None:
    encoder = Fickle()
    names = list(COLOURS)
    pictures = [png(names[one % len(names)], width=20 + one) for one in range(40)]
    with searchx.create(tmp_path / "wall", encoder=encoder) as wall:
        report = wall.add(range(40), images=pictures)
        assert (report.added, report.embedded, encoder.embedded_images) == (40, 40, 40)
        assert is_sound(wall)


def test_bad_pictures_and_texts_stop_no_other(wall: Library, tmp_path: Path) -> None:
    report = wall.add(
        ["good", "torn", "none", "number", "gone", "empty"],
        images=[png("red"), png("red")[:60], None, 7, tmp_path / "gone.png", b""],
    )
    assert report.added == 1
    reasons = {one.path: one.reason for one in report.skipped}
    assert set(reasons) == {"torn", "none", "number", "gone", "empty"}
    assert "No such file" in reasons["gone"]
    said = wall.add(["a", "b", "c"], texts=["red", " ", None], kind="text")
    assert (said.added, {one.path for one in said.skipped}) == (1, {"b", "c"})
    assert is_sound(wall)


def test_a_picture_that_cannot_be_read_leaves_what_its_id_stood_for(wall: Library) -> None:
    wall.add(["a"], images=[png("red")])
    assert wall.add(["a"], images=[b"no picture"]).skipped[0].path == "a"
    assert wall.search("red", 1)[0].external == "a"


def test_a_picture_that_is_in_a_file_as_well_is_one_item(wall: Library, tmp_path: Path) -> None:
    file = paint(tmp_path / "photos" / "red.png", "red")
    with closing(Catalog.open(wall.directory)) as catalog:
        index([tmp_path / "photos"], catalog, ColourEncoder(), options=Options(workers=0))
    assert wall.add(["a"], images=[file]).embedded == 0
    (hit,) = wall.search("red", 10)
    assert (hit.path, hit.external) == (str(file), "a")
    assert wall.delete(["a"]) == 1
    (hit,) = wall.search("red", 10)
    assert (hit.path, hit.external) == (str(file), None)


def test_a_text_beside_a_vector_is_shown_and_found_by_its_words(tmp_path: Path) -> None:
    with searchx.create(tmp_path / "library", encoder=ColourEncoder()) as library:
        unit = ColourEncoder().embed_texts(["red", "blue"])
        library.add(["a", "b"], unit, texts=["Scharlachrot", None])
        library.add(["t"], unit[:1], texts=["Zinnober"], kind="text")
        (hit,) = library.search("scharlachrot", 1)
        assert (hit.external, hit.item.captions, hit.why.words) == (
            "a",
            ("Scharlachrot",),
            ("scharlachrot",),
        )
        (text,) = library.search("red", 1, to="text")
        assert (text.item.text, text.external) == ("Zinnober", "t")
        assert is_sound(library)


def test_columns_come_back_as_they_were_given(shop: Library) -> None:
    told: dict[str, Any] = {
        "price": 12,
        "weight": 0.25,
        "brand": "Ä & Söhne",
        "sold": False,
        "tags": ("new", "red"),
        "since": date(2024, 5, 1),
        "seen": datetime(2024, 5, 1, 12, 30),
        "sent": datetime(2024, 5, 1, 12, 30, tzinfo=UTC),
    }
    shop.add(["a"], rows(1), metadata=[told])
    item = shop.item(int(shop.lookup(["a"])[0]))
    assert dict(item.meta) == told
    assert {name: type(one) for name, one in item.meta.items()} == {
        name: type(one) for name, one in told.items()
    }
    assert shop.similar(item.id, 1).hits == ()
    shape = shop.sample(1)[0].locations[0].as_dict()["meta"]
    assert isinstance(shape, dict)
    assert (shape["since"], shape["tags"]) == ("2024-05-01", ["new", "red"])


@pytest.mark.parametrize(
    "table",
    [
        [{"price": 1, "tags": ["x"]}, {"price": None, "tags": []}],
        {"price": [1, None], "tags": [["x"], None]},
        {"price": np.array([1, np.nan]), "tags": np.array([["x"], None], dtype=object)},
        pa.table({"price": [1, None], "tags": [["x"], None]}),
        pa.record_batch({"price": pa.array([1, None]), "tags": pa.array([["x"], None])}),
    ],
)
def test_columns_come_as_rows_lists_and_tables(shop: Library, table: Any) -> None:
    shop.add(["a", "b"], rows(2), metadata=table)
    first, second = shop.items(shop.lookup(["a", "b"]))
    assert dict(first.meta) == {"price": 1, "tags": ("x",)}
    assert dict(second.meta) == {}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ([{"a": 1}], "1 for 2 ids"),
        ({"a": [1]}, "1 for 2 ids"),
        ({"a": 1}, "give a list"),
        ("text", "give a table"),
        ([{"a": object()}, {}], 'metadata "a" of x is object'),
        ([{"a": 1 << 70}, {}], "metadata"),
        ([{"": 1}, {}], "give it a name"),
        ([7, {}], "give a dict"),
    ],
)
def test_columns_that_cannot_be_are_refused(shop: Library, table: Any, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        shop.add(["x", "y"], rows(2), metadata=table)


def test_batches_are_added_one_after_another(shop: Library) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, 300, 100):
            flat = pa.array(rows(300)[start : start + 100].reshape(-1))
            yield pa.record_batch(
                {
                    "id": pa.array([f"r{one}" for one in range(start, start + 100)]),
                    "vector": pa.FixedSizeListArray.from_arrays(flat, DIM),
                    "price": pa.array(range(start, start + 100)),
                }
            )

    report = shop.add_batches(batches())
    assert report.added == 300
    assert nearest(shop, rows(300)[250:251]) == ["r250"]
    assert dict(shop.item(int(shop.lookup(["r250"])[0])).meta) == {"price": 250}
    with pytest.raises(BadInput, match='no column "id"'):
        shop.add_batches(pa.table({"vector": [1]}))
    with pytest.raises(BadInput, match="give Arrow"):
        shop.add_batches([7])


def test_what_was_written_before_a_bad_batch_stays(shop: Library) -> None:
    def batches() -> Iterator[pa.Table]:
        yield pa.table({"id": ["a"], "vector": [rows(1)[0].tolist()]})
        yield pa.table({"id": ["b"], "vector": [[1.0] * 7]})

    with pytest.raises(BadInput, match="7 dimensions"):
        shop.add_batches(batches())
    assert (shop.lookup(["a", "b"]) == -1).tolist() == [False, True]
    assert is_sound(shop)


def test_a_run_of_the_indexer_leaves_collections_alone(wall: Library, tmp_path: Path) -> None:
    wall.add(["a"], images=[png("red")])
    paint(tmp_path / "photos" / "blue.png", "blue")
    with closing(Catalog.open(wall.directory)) as catalog:
        for options in (Options(workers=0), Options(workers=0, prune=True, deep=True)):
            index([tmp_path / "photos"], catalog, ColourEncoder(), options=options)
            index([], catalog, ColourEncoder(), options=options)
    assert wall.search("red", 1)[0].external == "a"
    status = wall.status()
    assert (status.images, status.files) == (2, 1)
    assert status.sources == ("collection:items", str(tmp_path / "photos"))
    assert is_sound(wall)


def test_a_collection_is_forgotten_as_any_source_is(wall: Library, tmp_path: Path) -> None:
    wall.add(["a"], images=[png("red")])
    wall.add(["b"], images=[png("blue")], collection="others")
    with pytest.raises(BadInput, match="cannot be moved"):
        move_source(wall.directory, "collection:items", tmp_path)
    with pytest.raises(BadInput, match="its sources: collection:items, collection:others"):
        forget(wall.directory, "collection:shoes")
    assert forget(wall.directory, "collection:items") == 1
    assert [hit.external for hit in wall.search("red", 10)] == ["b"]
    assert wall.lookup(["a"]).tolist() == [-1]


def test_an_id_that_looks_like_a_path_opens_no_file(wall: Library, tmp_path: Path) -> None:
    secret = paint(tmp_path / "secret.png", "red")
    wall.add([str(secret)], images=[png("red")])
    (hit,) = wall.search("red", 1)
    assert (hit.external, hit.path) == (str(secret), f"collection:items/{secret}")


def test_a_library_of_given_vectors_asks_for_no_model(shop: Library) -> None:
    shop.add(range(20), rows(20))
    asked: list[Callable[[], object]] = [
        lambda: shop.search("words"),
        lambda: shop.embed(texts=["words"]),
        lambda: shop.add(["x"], texts=["words"], kind="text"),
        lambda: shop.ask(Query(image=png("red"))),
    ]
    for ask in asked:
        with pytest.raises(ModelError, match=r'given by programs as "ours".*encoder'):
            ask()
    first = int(shop.lookup([0])[0])
    assert len(shop.similar(first, 5).hits) == 5
    assert len(shop.recommend([first], k=5)) == 5
    assert len(shop.sample(3)) == 3
    assert shop.facets().items == 20
    assert shop.status().space == shop.space
    assert shop.duplicate_groups().groups == ()


def test_words_are_asked_of_given_vectors_with_an_encoder(tmp_path: Path) -> None:
    unit = ColourEncoder().embed_texts(["red", "blue"])
    with searchx.create(tmp_path / "library", dim=4, name="colours of ours") as library:
        library.add(["red", "blue"], unit)
    with searchx.open(tmp_path / "library", encoder=ColourEncoder()) as library:
        for _ in range(3):
            assert [hit.external for hit in library.search("blue", 2)] == ["blue", "red"]
        assert library.search("red", 1)[0].external == "red"


def test_a_library_is_made_once(tmp_path: Path) -> None:
    place = tmp_path / "library"
    searchx.create(place, dim=4, name="ours").close()
    with pytest.raises(BadInput, match="already"):
        searchx.create(place, dim=4, name="ours")
    with searchx.create(place, dim=4, name="ours", exist_ok=True) as library:
        assert library.space.dim == 4
    with pytest.raises(SpaceMismatch):
        searchx.create(place, dim=4, name="theirs", exist_ok=True)
    for dim, name in ((4, None), (None, "ours"), (0, "ours"), (4, "")):
        with pytest.raises(BadInput):
            searchx.create(tmp_path / "other", dim=dim, name=name)
    with pytest.raises(BadInput, match="one of"):
        searchx.create(tmp_path / "other", dim=4, name="ours", model="mini")


def test_a_closed_library_says_so(shop: Library) -> None:
    shop.close()
    calls: list[Callable[[], object]] = [
        lambda: shop.add(["a"], rows(1)),
        lambda: shop.delete(["a"]),
        lambda: shop.lookup(["a"]),
    ]
    for call in calls:
        with pytest.raises(LibraryError, match="closed here; open it again"):
            call()


def test_a_server_shows_what_is_in_no_file(wall: Library) -> None:
    wall.add(
        ["/etc/passwd"],
        images=[png("red")],
        texts=["a <i>red</i> shirt"],
        metadata=[{"brand": "<b>acme</b>", "tags": ["new", "red"]}],
    )
    wall.add(["t"], ColourEncoder().embed_texts(["blue"]), kind="text")
    wall.add(["r1", "r2"], images=[png("orange"), png("blue")])
    picture, bare = int(wall.lookup(["/etc/passwd"])[0]), int(wall.lookup(["t"])[0])
    with TestClient(create_app(wall)) as client:
        for way in ("thumbnail", "picture", "file"):
            answer = client.get(f"/items/{picture}/{way}")
            assert (answer.status_code, b"root:" in answer.content) == (404, False)
        for address in (
            "/",
            "/?q=red",
            "/?q=blue&to=text",
            f"/items/{picture}",
            f"/items/{bare}",
            "/status",
            "/explore",
            "/duplicates",
        ):
            answer = client.get(address)
            assert (answer.status_code, "/thumbnail" in answer.text) == (200, False), address
        for address in ("/?q=red", f"/items/{picture}"):
            assert 'class="fileless"' in client.get(address).text
        page = client.get(f"/items/{picture}").text
        assert "&lt;b&gt;acme&lt;/b&gt;" in page
        assert "new, red" in page
        assert "a &lt;i&gt;red&lt;/i&gt; shirt" in page
        assert "it is in no file" in page
        (hit,) = client.get("/api/search?q=red&k=1&where=meta.tags:new").json()["hits"]
        assert (hit["external"], hit["meta"]["tags"]) == ("/etc/passwd", ["new", "red"])
        assert hit["locations"][0]["meta"] == hit["meta"]
        assert client.get("/api/search?q=red&where=meta.tag:new").status_code == 400
        assert client.get(f"/api/items/{bare}").json()["external"] == "t"


@pytest.mark.parametrize("form", ["lists", "arrow", "array", "gathered"])
def test_recommending_goes_by_the_ids_of_whoever_added(shop: Library, form: str) -> None:
    """The external ids are whole numbers, such as items have too."""
    names = [str(number) for number in range(20, 0, -1)]
    shop.add([int(one) for one in names], rows(20))
    wanted = [["20", "11"], ["3", "1000"]]  # nothing was added as 1000
    histories: dict[str, Any] = {
        "lists": [[20, 11], [3, 1000]],
        "arrow": pa.array(wanted),
        "array": np.array(wanted),
        "gathered": by_user(["a", "a", "b", "b"], ["20", "11", "3", "1000"])[1],
    }
    numbers = [shop.lookup(one) for one in wanted]
    expected = shop.recommend_batch(numbers, k=5, exclude=shop.lookup(["5"]), half_life=3)
    found = shop.recommend_batch(
        histories[form], k=5, exclude=["5"], half_life=3, collection="items"
    )
    assert found.ids.tolist() == expected.ids.tolist()
    table = found.arrow(users=["a", "b"], names=shop.externals).to_pylist()
    assert [row["ids"] for row in table] == [shop.externals(ids) for ids in expected.ids]
    hits = shop.recommend(wanted[0], [3], 5, collection="items", exclude=["5"])
    liked, disliked, never = map(shop.lookup, (wanted[0], ["3"], ["5"]))
    assert hits == shop.recommend(liked, disliked, 5, exclude=never)


def test_ids_that_are_no_numbers_of_items_are_told_where_to_go(shop: Library) -> None:
    shop.add(["sku-1"], rows(1))
    with pytest.raises(BadInput, match='collection="items"'):
        shop.recommend_batch([["sku-1"]])
    with pytest.raises(BadInput, match=r"'sku-1' is no number of an item; library\.lookup"):
        shop.vectors(["sku-1"])  # type: ignore[list-item]
    with pytest.raises(BadInput, match=r"'sku-1' is no number of an item; library\.lookup"):
        shop.similar("sku-1")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="NoneType"):
        shop.recommend_batch([[None]], collection="items")


def test_a_table_of_what_is_similar_goes_by_own_ids(shop: Library) -> None:
    shop.add([f"sku-{number}" for number in range(30)], rows(30))
    plain = shop.similar_items(k=3).read_all().to_pylist()
    named = shop.similar_items(k=3, names=shop.externals).read_all().to_pylist()
    assert [one["id"] for one in named] == shop.externals([one["id"] for one in plain])
    assert [one["similar"] for one in named] == [shop.externals(one["similar"]) for one in plain]
    with pytest.raises(BadInput, match=r"names gave 0 for \d+ ids"):
        shop.similar_items(k=3, names=lambda ids: []).read_all()
