"""The table of similar items is what searching for each item finds."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import searchx
from searchx.catalog import Catalog, Content, NewFile, NewItem
from searchx.errors import BadInput
from searchx.neighbours import BLOCK
from searchx.records import Query
from searchx.refreshing import refresh_snapshots
from searchx.search import Library
from tests.shelf import ROOT, add, digest, drop, vector


def test_each_item_has_what_a_search_for_more_like_it_finds(
    catalog: Catalog, library: Library
) -> None:
    add(catalog, range(30))
    refresh_snapshots(catalog, whole=True)
    add(catalog, range(30, 40))
    drop(catalog, [4])
    rows = pa.Table.from_batches(library.similar_items(k=6)).to_pylist()
    assert [row["id"] for row in rows] == np.concatenate([b.ids for b in library.blocks()]).tolist()
    for row in rows:
        similar = library.search(Query(like=row["id"]), k=6)
        assert row["similar"] == [hit.id for hit in similar]
        assert row["scores"] == pytest.approx([hit.score for hit in similar], abs=1e-6)


def test_an_item_with_doubles_is_left_out_itself(catalog: Catalog, library: Library) -> None:
    """Of equal vectors the lowest ids are found, and the item itself may not be among them."""
    with catalog.writing() as tx:
        for one in range(9):
            tx.add_items([NewItem("image", digest(one), vector(1)[0])])
            contents = [Content("image", digest(one))]
            tx.set_file(ROOT, NewFile(f"{ROOT}/{one}", 1, 1, contents))
    rows = pa.Table.from_batches(library.similar_items(k=3)).to_pylist()
    assert all(row["id"] not in row["similar"] and len(row["similar"]) == 3 for row in rows)
    assert rows[8]["similar"] == [1, 2, 3]


def test_filters_say_of_which_and_among_which(library: Library, photos: Path) -> None:
    rows = pa.Table.from_batches(library.similar_items(k=5, of="name:red", where="name:re"))
    (red,) = rows.to_pylist()
    assert [Path(item.path).stem for item in library.items(red["similar"])] == ["green"]
    texts = pa.Table.from_batches(library.similar_items(k=1, to="text")).to_pylist()
    for row in texts:
        picture, text = library.items([row["id"], *row["similar"]])
        assert text.text == f"something {Path(picture.path).stem}"
    none = library.similar_items(k=1, of="name:nothing")
    assert none.schema.names == ["id", "similar", "scores"] and none.read_all().num_rows == 0


def test_the_table_streams_to_parquet(catalog: Catalog, library: Library, tmp_path: Path) -> None:
    add(catalog, range(BLOCK + 30))
    reader = library.similar_items(k=4)
    drop(catalog, range(10))  # the table is as of the call
    file = tmp_path / "similar.parquet"
    assert searchx.write_parquet(reader, file) == BLOCK + 30
    read = pq.ParquetFile(file)
    assert read.num_row_groups == 2
    assert read.read()["similar"].to_pylist()[0][0] > 0


def test_what_cannot_be_is_said(library: Library, photos: Path) -> None:
    with pytest.raises(BadInput, match="k is 0"):
        library.similar_items(0)
    with pytest.raises(BadInput, match="not known"):
        library.similar_items(to="both")  # type: ignore[arg-type]
