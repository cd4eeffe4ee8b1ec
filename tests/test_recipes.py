"""The recipes run as they stand, on a library of pictures."""

import json
import subprocess
import sys
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import searchx
from searchx.encoder import Encoder
from tests.colour import COLOURS, paint

RECIPES = Path(__file__).resolve().parent.parent / "docs" / "recipes"
LONGEST = 20  # lines that are not blank


def run(name: str, *arguments: object) -> str:
    """Run a recipe as its reader does; gives what it prints."""
    command = [sys.executable, "-W", "error", str(RECIPES / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Make a shop of products, whose ids are not those that searchx gives."""
    rows = np.random.default_rng(5).normal(size=(10, 8)).astype(np.float32)
    since = [date(2024, 5, 1 + number) for number in range(10)]
    with searchx.create(tmp_path / "shop", dim=8, name="ours") as made:
        made.add([f"sku-{number}" for number in range(10)], rows, metadata={"since": since})
    return tmp_path / "shop"


@pytest.fixture
def histories(tmp_path: Path) -> Path:
    items = [["sku-1", "sku-2"], [], ["sku-3"]]
    file = tmp_path / "histories.parquet"
    pq.write_table(pa.table({"user": ["ann", "bob", "eve"], "items": items}), file)
    return file


def test_a_home_feed(shop: Path, tmp_path: Path) -> None:
    clicks, feed = tmp_path / "clicks.parquet", tmp_path / "feed.parquet"
    times = [datetime(2024, 5, 1) + timedelta(days=one) for one in range(3)]
    items = ["sku-1", "sku-2", "sku-3"]
    pq.write_table(pa.table({"user": ["ann", "ann", "eve"], "item": items, "time": times}), clicks)
    run("home_feed.py", shop, clicks, feed)
    rows = pq.read_table(feed).to_pylist()
    assert [row["user"] for row in rows] == ["ann", "eve"]
    others = {f"sku-{number}" for number in range(10)} - {"sku-1", "sku-2"}
    assert rows[0]["ids"] and set(rows[0]["ids"]) <= others


@pytest.fixture(scope="module")
def mini() -> Encoder:
    return searchx.load_encoder("mini")


def test_products_are_added_and_replaced(mini: Encoder, tmp_path: Path) -> None:
    rows = [
        {
            "id": f"sku-{colour}",
            "image": str(paint(tmp_path / "pictures" / f"{colour}.png", colour)),
            "title": f"a {colour} shirt",
            "price": 100.0 + number,
        }
        for number, colour in enumerate(COLOURS)
    ]
    with searchx.create(tmp_path / "shop", encoder=mini) as shop:
        shop.add(["sku-red"], texts=["something else"], metadata={"price": [5.0]})
        (tmp_path / "pictures" / "green.png").write_bytes(b"no picture")
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "products.parquet")
        told = run("add_products.py", tmp_path / "shop", tmp_path / "products.parquet", "mini")
        assert told.startswith("8 added, 1 updated\nsku-green was left out: its picture")
        hits = shop.search("a red shirt", k=10, where="meta.price:<105")
        assert {hit.external for hit in hits} >= {"sku-red", "sku-blue"}
        assert shop.lookup(["sku-green"]).tolist() == [-1]
        (red,) = shop.items(shop.lookup(["sku-red"], kind="image"))  # a path is no text
        assert red.captions == ("a red shirt",)


def test_similar_products(tmp_path: Path) -> None:
    names = [f"sku-{number}" for number in range(12)]
    rows = np.random.default_rng(3).normal(size=(12, 8)).astype(np.float32)
    told = {
        "price": [500.0 if number % 4 == 3 else 100.0 + number for number in range(12)],
        "brand": ["acme" if number % 2 else "best" for number in range(12)],
    }
    with searchx.create(tmp_path / "shop", dim=8, name="ours") as shop:
        shop.add(names, rows, metadata=told)
    lines = [
        one.split() for one in run("similar_products.py", shop.directory, "sku-0").splitlines()
    ]
    assert len(lines) == 4
    assert {price for _, price, _ in lines} <= {f"{100.0 + number}" for number in range(1, 12)}
    assert [brand for _, _, brand in lines].count("acme") == 2


def test_duplicates(mini: Encoder, tmp_path: Path) -> None:
    rows = np.random.default_rng(3).normal(size=(300, 512)).astype(np.float32)
    rows[7], rows[8] = rows[3], rows[3] + 0.01
    picture = paint(tmp_path / "red.png", "red")
    with searchx.create(tmp_path / "shop", encoder=mini) as shop:
        shop.add([f"sku-{one}" for one in range(300)], rows)
        shop.add(["sku-a", "sku-b"], texts=["a", "b"], images=[picture, picture])
    lines = [one.split("\t") for one in run("duplicates.py", tmp_path / "shop").splitlines()]
    pairs = [["sku-3", "sku-7"], ["sku-3", "sku-8"], ["sku-a", "sku-b"]]
    assert sorted(line[:2] for line in lines) == pairs


def test_captions(mini: Encoder, tmp_path: Path) -> None:
    """A library of files that are red, green and so on as `mini` tells it by words."""
    names = [f"{one}.png" for one in COLOURS]
    lines = [f"something {one}" for one in COLOURS]
    with searchx.create(tmp_path / "photos", encoder=mini) as photos:
        photos.add(names, mini.embed_texts(lines))
    corpus, captions = tmp_path / "lines.txt", tmp_path / "captions.jsonl"
    corpus.write_text("\n\n ".join([*lines, lines[0]]) + "\n")
    run("captions.py", tmp_path / "photos", corpus, captions)
    told = [json.loads(one) for one in captions.read_text().splitlines()]
    assert [one["captions"] for one in told] == [[one] for one in lines]
    assert [Path(one["image"]).name for one in told] == names


def test_moving_from_clip_retrieval(mini: Encoder, tmp_path: Path) -> None:
    folder, colours = tmp_path / "embeddings", list(COLOURS)
    for name in ("img_emb", "metadata"):
        (folder / name).mkdir(parents=True)
    rows = mini.embed_texts([f"a {one} thing" for one in colours]).astype(np.float16)
    np.save(folder / "img_emb" / "img_emb_0.npy", rows)
    told = {"key": colours, "url": [f"http://x/{one}" for one in colours], "caption": colours}
    pq.write_table(pa.table(told), folder / "metadata" / "metadata_0.parquet")
    said = run("from_clip_retrieval.py", folder, tmp_path / "library", "mini", "a red thing")
    first, best, *_ = said.splitlines()
    assert first == "10 added, 0 left out"
    assert best.split()[1:] == ["red", "http://x/red", "red"]


def test_a_nightly_batch(shop: Path, histories: Path, tmp_path: Path) -> None:
    lists = tmp_path / "lists.parquet"
    said = run("nightly_batch.py", shop, histories, lists)
    assert said.split() == ["3", "users", "10", "items"]
    rows = pq.read_table(lists).to_pylist()
    assert [len(row["ids"]) for row in rows] == [8, 0, 9]
    assert set(rows[2]["ids"]) == {f"sku-{number}" for number in range(10) if number != 3}
    similar = pq.read_table(f"{lists}.items").to_pylist()
    assert [row["id"] for row in similar] == [f"sku-{number}" for number in range(10)]
    assert all(row["id"] not in row["similar"] for row in similar)


def test_cold_start(shop: Path, histories: Path) -> None:
    said = run("cold_start.py", shop, histories, "meta.since:2024-05-09..").splitlines()
    assert {line.split()[0] for line in said} <= {"ann", "eve"}
    assert {one for line in said for one in line.split()[1:]} <= {"sku-8", "sku-9"}
    assert said


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*.py")), ids=lambda path: path.stem)
def test_a_recipe_is_short_and_tested(recipe: Path) -> None:
    lines = [one for one in recipe.read_text(encoding="utf-8").splitlines() if one.strip()]
    assert len(lines) <= LONGEST
    assert f'run("{recipe.name}"' in Path(__file__).read_text(encoding="utf-8")
