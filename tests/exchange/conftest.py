"""A small shop that came in by a program, and what all formats are asked about it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import searchx
from searchx.records import Vectors
from searchx.search import Library
from tests.colour import COLOURS
from tests.shelf import ENCODER

NAMES = list(COLOURS)


def rows_of(batches: Iterator[pa.RecordBatch]) -> dict[str, dict[str, object]]:
    """Give rows by their ids."""
    rows = pa.Table.from_batches(list(batches)).to_pylist()
    return {row["id"]: row for row in rows}


def vectors_in(rows: dict[str, dict[str, object]], ids: list[str]) -> Vectors:
    return np.array([rows[one]["vector"] for one in ids], np.float32)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Library]:
    """Twenty-four things by ids of their own, with prices."""
    names = [f"{NAMES[n % len(NAMES)]}-{n}" for n in range(24)]
    made = np.random.default_rng(5).normal(size=(24, 4)).astype(np.float32)
    told = {
        "price": [float(n) for n in range(24)],
        "brand": ["acme" if n % 2 else None for n in range(24)],
        "sizes": [["s", "m"] if n % 3 else ["l"] for n in range(24)],
    }
    with searchx.create(tmp_path / "shop", encoder=ENCODER) as library:
        library.add(names, made, texts=[f"a {one} thing" for one in names], metadata=told)
        yield library


@pytest.fixture
def rows(shop: Library) -> tuple[list[str], Vectors]:
    """Give the ids of the shop and their unit rows, in the order of an export."""
    ids = np.concatenate([block.ids for block in shop.blocks()])
    names = [one or "" for one in shop.externals(ids)]
    return names, shop.vectors(ids)
