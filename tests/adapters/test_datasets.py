"""Hugging Face `datasets` itself."""

from pathlib import Path

import datasets
import numpy as np

from searchx.adapters.datasets import to_dataset
from searchx.exchange import export
from searchx.search import Library
from tests.colour import COLOURS


def test_a_library_is_a_dataset(library: Library, photos: Path) -> None:
    made = to_dataset(library)
    assert made.num_rows == len(COLOURS)
    assert made.features["vector"] == datasets.List(datasets.Value("float32"), length=4)
    (red,) = made.filter(lambda row: row["path"].endswith("red.png"))
    assert np.allclose(red["vector"], library.vectors([red["item"]])[0])
    shown = made.select(range(2)).cast_column("path", datasets.Image())
    assert shown[0]["path"].size == (64, 48)
    some = to_dataset(library, "text", where="name:red|blue")
    assert sorted(some["text"]) == ["something blue", "something red"]


def test_vectors_are_in_memory_once(library: Library, photos: Path) -> None:
    """What numpy reads is where Arrow has it, and not a copy."""
    made = to_dataset(library)
    chunk = made.data.column("vector").chunk(0)
    rows = made.with_format("numpy").data.column("vector").chunk(0).flatten().to_numpy()
    assert rows.ctypes.data == chunk.flatten().buffers()[1].address
    assert np.array_equal(rows.reshape(-1, 4), library.vectors(made["item"]))


def test_an_export_in_parquet_is_read(library: Library, photos: Path, tmp_path: Path) -> None:
    export(library, tmp_path / "out.parquet")
    read = datasets.Dataset.from_parquet(str(tmp_path / "out.parquet"), cache_dir=str(tmp_path))
    assert read.features["vector"].length == 4
    assert np.allclose(read["vector"], library.vectors(read["item"]))
