"""Arrays in and arrays out: embedding, vectors by id, and going through a library in blocks."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import searchx
from searchx.arrow import ids_of, vectors_from_arrow, vectors_to_arrow
from searchx.catalog import Catalog
from searchx.errors import BadInput, UnreadableImage
from searchx.records import Query
from searchx.refreshing import refresh_snapshots
from searchx.search import Library
from tests.colour import COLOURS
from tests.shelf import ENCODER, add, drop, vector


def test_texts_are_embedded_as_queries_are(library: Library, photos: Path) -> None:
    texts = ["red", "blue and green", *COLOURS] * 30  # more than one batch
    rows = library.embed(texts=texts)
    assert rows.shape == (len(texts), 4) and rows.dtype == np.float32
    assert np.allclose(np.linalg.norm(rows, axis=1), 1)
    assert np.array_equal(library.search_batch(texts, 3)[0], library.search_batch(rows, 3)[0])
    assert np.array_equal(library.embed(texts=pa.array(texts)), rows)
    assert np.array_equal(library.embed(texts=pa.chunked_array([texts[:5], texts[5:]])), rows)
    assert np.array_equal(library.embed(texts=texts, as_items=True), ENCODER.embed_texts(texts))


def test_pictures_are_embedded_whatever_they_come_as(library: Library, photos: Path) -> None:
    file = photos / "red.png"
    data = file.read_bytes()
    with Image.open(file) as opened:
        picture = opened.convert("RGB")
    forms = [file, str(file), data, picture, np.asarray(picture)]
    rows = library.embed(images=forms * 5)
    assert np.allclose(rows, library.embed_query(Query("red")), atol=1e-3)
    stored = pa.array([{"bytes": data, "path": None}, {"bytes": None, "path": str(file)}])
    assert np.array_equal(library.embed(images=stored), rows[:2])
    assert np.array_equal(library.embed(images=pa.array([data])), rows[:1])


def test_nothing_to_embed_is_no_rows(library: Library, photos: Path) -> None:
    assert library.embed(texts=[]).shape == library.embed(images=[]).shape == (0, 4)


def test_what_cannot_be_embedded_is_named(library: Library, photos: Path) -> None:
    with pytest.raises(BadInput, match="either texts or images"):
        library.embed()
    with pytest.raises(BadInput, match="either texts or images"):
        library.embed(["red"], [photos / "red.png"])
    with pytest.raises(BadInput, match="give a list"):
        library.embed(texts="red")
    with pytest.raises(BadInput, match=r"text 1 .* is empty"):
        library.embed(texts=["red", " "])
    with pytest.raises(BadInput, match=r"text 0 .* is NoneType"):
        library.embed(texts=pa.array([None, "red"]))
    with pytest.raises(UnreadableImage, match="image 1 of those"):
        library.embed(images=[photos / "red.png", b"no picture"])
    with pytest.raises(BadInput, match=r"image 0 .* ndarray"):
        library.embed(images=[np.zeros((4, 4, 3))])


def test_vectors_come_in_the_order_of_their_ids(catalog: Catalog, library: Library) -> None:
    add(catalog, range(40))
    refresh_snapshots(catalog, whole=True)
    add(catalog, range(40, 60))  # the tail
    ids, _ = library.search_batch(vector(1), 60)
    wanted = np.concatenate([ids[0], ids[0][:5]])
    numbers = [int(item.digest, 16) for item in library.items(wanted)]
    rows = library.vectors(wanted)
    assert np.allclose(rows, np.concatenate([vector(one) for one in numbers]), atol=1e-3)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert np.array_equal(library.vectors(pa.array(wanted)), rows)
    assert library.vectors([]).shape == (0, 4)


def test_texts_and_pictures_have_vectors_alike(library: Library, photos: Path) -> None:
    image, text = library.search("red", 1)[0], library.search("red", 1, to="text")[0]
    both = library.vectors([text.id, image.id])
    assert np.allclose(both, library.embed(texts=["red"]), atol=1e-3)


def test_an_id_that_is_not_there_is_named(catalog: Catalog, library: Library) -> None:
    add(catalog, range(9))
    drop(catalog, [3])
    known = library.search_batch(vector(1), 8)[0][0].tolist()
    gone = (set(range(1, 10)) - set(known)).pop()
    with pytest.raises(BadInput, match=f"no item {gone} in"):
        library.vectors([known[0], gone])
    with pytest.raises(BadInput, match=r"no item 1000, .* and 3 more"):
        library.vectors(range(1000, 1008))
    with pytest.raises(BadInput, match="no item 1000 in"):
        library.items([known[0], 1000])
    with pytest.raises(BadInput, match="whole numbers"):
        library.vectors(np.array([1.5]))


@pytest.mark.parametrize("size", [1, 7, 60, 1000])
def test_blocks_go_through_everything_once(catalog: Catalog, library: Library, size: int) -> None:
    add(catalog, range(40))
    refresh_snapshots(catalog, whole=True)
    add(catalog, range(40, 60))
    drop(catalog, [2, 50])
    blocks = list(library.blocks(size=size))
    assert {len(block) for block in blocks[:-1]} <= {size}
    ids = np.concatenate([block.ids for block in blocks])
    assert np.array_equal(ids, np.sort(library.search_batch(vector(1), 60)[0][0][:58]))
    assert np.array_equal(np.concatenate([one.vectors for one in blocks]), library.vectors(ids))


def test_blocks_hold_what_passes_a_filter(library: Library, photos: Path) -> None:
    found = np.concatenate([block.ids for block in library.blocks(where="name:re", size=2)])
    assert {Path(item.path).stem for item in library.items(found)} == {"red", "green"}
    assert list(library.blocks(where="name:nothing")) == []
    texts = next(library.blocks("text"))
    assert {item.kind for item in library.items(texts.ids)} == {"text"}


def test_blocks_are_as_of_one_moment(catalog: Catalog, library: Library) -> None:
    add(catalog, range(20))
    refresh_snapshots(catalog, whole=True)
    begun = library.blocks(size=5)
    first = next(begun)
    drop(catalog, range(10))
    add(catalog, range(20, 40))
    refresh_snapshots(catalog, whole=True)
    ids = np.concatenate([first.ids, *(block.ids for block in begun)])
    assert np.array_equal(ids, np.arange(1, 21))
    assert sum(map(len, library.blocks())) == 30


@pytest.mark.parametrize("size", [0, -1, True, 2.5, 1 << 21])
def test_a_block_has_a_size(library: Library, photos: Path, size: int) -> None:
    with pytest.raises(BadInput, match="size is"):
        library.blocks(size=size)


def test_a_block_is_arrow_over_the_same_memory(library: Library, photos: Path) -> None:
    block = next(library.blocks())
    batch = block.arrow()
    assert batch.schema == pa.schema([("id", pa.int64()), ("vector", pa.list_(pa.float32(), 4))])
    assert np.shares_memory(batch["vector"].flatten().to_numpy(), block.vectors)
    back = vectors_from_arrow(batch["vector"])
    assert np.shares_memory(back, block.vectors) and np.array_equal(back, block.vectors)
    assert np.array_equal(ids_of(batch["id"]), block.ids)


def test_a_slice_of_an_arrow_column_is_read_as_it_stands() -> None:
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    column = vectors_to_arrow(rows)
    assert np.array_equal(vectors_from_arrow(column.slice(1, 2)), rows[1:3])
    assert np.array_equal(vectors_from_arrow(pa.chunked_array([column, column])), [*rows, *rows])
    with pytest.raises(BadInput, match="fixed_size_list"):
        vectors_from_arrow(pa.array([[1.0], [2.0]]))
    with pytest.raises(BadInput, match="null"):
        vectors_from_arrow(pa.array([[1.0], None], pa.list_(pa.float32(), 1)))


def test_blocks_become_a_parquet_file(library: Library, photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "vectors.parquet"
    written = searchx.write_parquet((one.arrow() for one in library.blocks(size=3)), file)
    table = pq.read_table(file)
    assert written == len(table) == len(COLOURS)
    rows = vectors_from_arrow(table["vector"])
    assert np.array_equal(rows, library.vectors(table["id"]))
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".png"].count(file.name) == 1
    assert searchx.write_parquet(table, file) == len(table)  # replaces it


def test_a_parquet_file_that_fails_leaves_nothing_behind(
    library: Library, photos: Path, tmp_path: Path
) -> None:
    file = tmp_path / "out" / "vectors.parquet"
    with pytest.raises(BadInput, match="nothing to write"):
        searchx.write_parquet([], file)
    with pytest.raises(BadInput, match="cannot be written"):
        searchx.write_parquet(next(library.blocks()).arrow(), file)
    file.parent.mkdir()
    batch = next(library.blocks()).arrow()

    def failing() -> Iterator[pa.RecordBatch]:
        yield batch
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        searchx.write_parquet(pa.RecordBatchReader.from_batches(batch.schema, failing()), file)
    assert list(file.parent.iterdir()) == []
