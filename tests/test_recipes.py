"""The recipes run as they stand, on a library of pictures."""

import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from searchx.catalog import Catalog
from searchx.search import Library

RECIPES = Path(__file__).resolve().parent.parent / "docs" / "recipes"
LONGEST = 20  # lines that are not blank


def run(name: str, *arguments: object) -> str:
    """Run a recipe as its reader does; gives what it prints."""
    command = [sys.executable, "-W", "error", str(RECIPES / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def ids(library: Library, photos: Path) -> dict[str, int]:
    """Give the pictures of the library by their colour."""
    items = library.items(next(library.blocks()).ids)
    return {Path(item.path).stem: item.id for item in items}


@pytest.fixture
def histories(ids: dict[str, int], tmp_path: Path) -> Path:
    items = [[ids["red"], ids["orange"]], [], [ids["blue"]]]
    file = tmp_path / "histories.parquet"
    pq.write_table(pa.table({"user": ["ann", "bob", "eve"], "items": items}), file)
    return file


def test_a_home_feed(catalog: Catalog, ids: dict[str, int], tmp_path: Path) -> None:
    clicks, feed = tmp_path / "clicks.parquet", tmp_path / "feed.parquet"
    times = [datetime(2024, 5, 1) + timedelta(days=one) for one in range(3)]
    items = [ids["red"], ids["orange"], ids["blue"]]
    pq.write_table(pa.table({"user": ["ann", "ann", "eve"], "item": items, "time": times}), clicks)
    run("home_feed.py", catalog.directory, clicks, feed)
    rows = pq.read_table(feed).to_pylist()
    assert [row["user"] for row in rows] == ["ann", "eve"]
    assert rows[0]["ids"] and not {ids["red"], ids["orange"]} & set(rows[0]["ids"])


def test_similar_products(catalog: Catalog, ids: dict[str, int], tmp_path: Path) -> None:
    products = tmp_path / "products.parquet"
    names = [*ids]
    table = {
        "item": [ids[one] for one in names],
        "price": [500.0 if one == "orange" else 100.0 for one in names],
        "brand": ["acme"] * 5 + ["best"] * (len(names) - 5),
    }
    pq.write_table(pa.table(table), products)
    lines = run("similar_products.py", catalog.directory, products, ids["red"]).splitlines()
    found = [Path(line.split()[-1]).stem for line in lines]
    assert found and "red" not in found and "orange" not in found
    assert [line.split()[2] for line in lines].count("acme") <= 2


def test_a_nightly_batch(catalog: Catalog, histories: Path, tmp_path: Path) -> None:
    lists = tmp_path / "lists.parquet"
    said = run("nightly_batch.py", catalog.directory, histories, lists)
    assert said.split() == ["3", "users", "10", "items"]
    rows = pq.read_table(lists).to_pylist()
    assert [len(row["ids"]) for row in rows] == [8, 0, 9]
    assert len(pq.read_table(f"{lists}.items")) == 10


def test_cold_start(catalog: Catalog, histories: Path, ids: dict[str, int]) -> None:
    said = run("cold_start.py", catalog.directory, histories, "name:pink|cyan").splitlines()
    assert {line.split()[0] for line in said} <= {"ann", "eve"}
    assert {int(one) for line in said for one in line.split()[1:]} <= {ids["pink"], ids["cyan"]}
    assert said


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*.py")), ids=lambda path: path.stem)
def test_a_recipe_is_short_and_tested(recipe: Path) -> None:
    lines = [one for one in recipe.read_text(encoding="utf-8").splitlines() if one.strip()]
    assert len(lines) <= LONGEST
    assert f'run("{recipe.name}"' in Path(__file__).read_text(encoding="utf-8")
