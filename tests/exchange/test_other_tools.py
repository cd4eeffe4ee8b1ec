"""Files that other tools have written are read, and they read ours."""

import json
from collections.abc import Iterator
from pathlib import Path

import datasets
import faiss
import h5py
import lancedb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import webdataset

import searchx
from searchx.errors import BadInput
from searchx.exchange import export, import_into, read
from searchx.records import Vectors
from searchx.search import Library
from tests.colour import COLOURS, paint
from tests.exchange.conftest import rows_of, vectors_in
from tests.shelf import ENCODER

ROWS: Vectors = np.random.default_rng(1).normal(size=(500, 16)).astype(np.float32)
IDS = [f"thing {number}" for number in range(len(ROWS))]


def test_datasets_writes_parquet(tmp_path: Path) -> None:
    table = {"id": range(500), "embedding": ROWS, "tags": [["a", "b"]] * 500, "label": [1] * 500}
    features = datasets.Features(
        {
            "id": datasets.Value("int64"),
            "embedding": datasets.Sequence(datasets.Value("float32")),  # of any length
            "tags": datasets.Sequence(datasets.Value("string")),
            "label": datasets.ClassLabel(names=["no", "yes"]),
        }
    )
    made = datasets.Dataset.from_dict(table, features=features)
    made.to_parquet(str(tmp_path / "made.parquet"), batch_size=128)
    offer = read(tmp_path / "made.parquet")
    assert (offer.dim, offer.count, offer.notes) == (16, 500, ())
    found = rows_of(offer.batches)
    assert np.array_equal(vectors_in(found, [str(one) for one in range(500)]), ROWS)
    assert (found["7"]["tags"], found["7"]["label"]) == (["a", "b"], 1)


def test_lancedb_reads_and_writes_parquet(
    shop: Library, rows: tuple[list[str], Vectors], tmp_path: Path
) -> None:
    export(shop, tmp_path / "out.parquet")
    table = lancedb.connect(tmp_path / "lance").create_table(
        "shop", pq.ParquetFile(tmp_path / "out.parquet").iter_batches(), schema=None
    )
    (hit,) = table.search(rows[1][3]).limit(1).to_list()
    assert (hit["id"], hit["price"]) == ("yellow-3", 3.0)
    pq.write_table(table.to_arrow(), tmp_path / "back.parquet")
    found = rows_of(read(tmp_path / "back.parquet").batches)
    assert np.array_equal(vectors_in(found, rows[0]), rows[1])


def test_a_folder_of_clip_retrieval(tmp_path: Path) -> None:
    """As its `NumpyWriter` writes it: float16, numbers with zeros in front, metadata by pandas."""
    for folder in ("img_emb", "text_emb", "metadata"):
        (tmp_path / folder).mkdir()
    for number in range(11):
        part = slice(number * 40, number * 40 + 40)
        np.save(tmp_path / "img_emb" / f"img_emb_{number:02d}.npy", ROWS[part].astype(np.float16))
        np.save(tmp_path / "text_emb" / f"text_emb_{number:02d}.npy", -ROWS[part])
        told = {"image_path": IDS[part], "caption": [f"a {one}" for one in IDS[part]]}
        table = pd.DataFrame(told | {"key": IDS[part], "width": 10, "nested": [{"a": 1}] * 40})
        table.to_parquet(tmp_path / "metadata" / f"metadata_{number:02d}.parquet")
    offer = read(tmp_path)
    assert (offer.format, offer.dim, offer.count) == ("clip-retrieval", 16, 440)
    assert offer.notes == ("left out are the columns nested",)
    found = rows_of(offer.batches)
    assert np.allclose(vectors_in(found, IDS[:440]), ROWS[:440], atol=2e-3)
    assert found["thing 401"]["text"] == "a thing 401"
    texts = rows_of(read(tmp_path, kind="text").batches)
    assert np.array_equal(vectors_in(texts, IDS[:440]), -ROWS[:440])
    with searchx.create(tmp_path / "library", dim=16, name="ViT-B-32") as library:
        assert import_into(library, tmp_path).added == 440
        assert import_into(library, tmp_path, kind="text").added == 440
        near, _ = library.search_batch(
            library.vectors(library.lookup(["thing 401"])), 1, to="image"
        )
        assert library.externals(near[0]) == ["thing 401"]


def test_a_folder_is_read_by_the_reader_of_clip_retrieval(shop: Library, tmp_path: Path) -> None:
    reason = "embedding-reader wants another NumPy than searchx is tested with"
    reader = pytest.importorskip("embedding_reader", reason=reason)
    export(shop, tmp_path / "out", "clip-retrieval")
    made = reader.EmbeddingReader(
        str(tmp_path / "out" / "img_emb"), "parquet_npy", str(tmp_path / "out" / "metadata"), ["id"]
    )
    assert (made.dimension, made.count) == (4, 24)


@pytest.mark.parametrize("distance", ["angular", "euclidean"])
def test_hdf5_of_ann_benchmarks(tmp_path: Path, distance: str) -> None:
    """As its `write_output` lays it out."""
    file = tmp_path / "glove.hdf5"
    with h5py.File(file, "w") as made:
        made.attrs.update({"type": "dense", "distance": distance, "dimension": 16})
        made.attrs["point_type"] = "float"
        made.create_dataset("train", data=ROWS, compression="gzip", chunks=(100, 16))
        made.create_dataset("test", data=ROWS[:5])
        made.create_dataset("neighbors", data=np.zeros((5, 100), np.int32))
        made.create_dataset("distances", data=np.zeros((5, 100), np.float32))
    offer = read(file)
    found = rows_of(offer.batches)
    assert np.array_equal(vectors_in(found, [str(one) for one in range(500)]), ROWS)
    assert any("euclidean" in one for one in offer.notes) == (distance == "euclidean")


def test_ann_benchmarks_gets_true_neighbours(tmp_path: Path) -> None:
    with searchx.create(tmp_path / "library", dim=16, name="mine") as library:
        library.add(IDS, ROWS)
        export(library, tmp_path / "out.h5")
    with h5py.File(tmp_path / "out.h5") as made:
        train, test = made["train"][:], made["test"][:]
        ids = [*made["ids"].asstr()[:], *made["test_ids"].asstr()[:]]
        assert (train.shape, test.shape, made["neighbors"].shape) == (
            (450, 16),
            (50, 16),
            (50, 100),
        )
        assert sorted(ids) == sorted(IDS)
        scores = test @ train.T
        order = np.argsort(-scores, axis=1)[:, :100]
        assert np.array_equal(made["neighbors"][:], order)
        nearest = np.take_along_axis(scores, order, 1)
        assert np.allclose(made["distances"][:], 1 - nearest, atol=1e-5)
        assert (made.attrs["distance"], made.attrs["dimension"]) == ("angular", 16)


@pytest.mark.parametrize("factory", ["Flat", "IVF4,Flat", "HNSW8", "SQ8", "OPQ4,IVF4,PQ4x4"])
def test_an_index_of_faiss_gives_its_vectors_back(tmp_path: Path, factory: str) -> None:
    index = faiss.index_factory(16, factory)
    index.train(ROWS)
    index.add(ROWS)
    faiss.write_index(index, str(tmp_path / "made.index"))
    np.save(tmp_path / "made.ids.npy", IDS)
    offer = read(tmp_path / "made.index")
    assert (offer.dim, offer.count) == (16, 500)
    is_exact = factory in ("Flat", "IVF4,Flat", "HNSW8")
    assert any("approximate" in one for one in offer.notes) == (not is_exact)
    found = vectors_in(rows_of(offer.batches), IDS)
    assert np.allclose(found, ROWS) if is_exact else np.corrcoef(found.ravel(), ROWS.ravel())[0, 1]


def test_an_index_of_faiss_tells_its_own_ids(tmp_path: Path) -> None:
    index = faiss.IndexIDMap2(faiss.IndexFlatL2(16))
    index.add_with_ids(ROWS, np.arange(500) * 7)
    faiss.write_index(index, str(tmp_path / "made.index"))
    offer = read(tmp_path / "made.index")
    assert offer.notes == ()
    found = rows_of(offer.batches)
    assert np.array_equal(vectors_in(found, ["3493"])[0], ROWS[499])


def test_faiss_reads_ours(shop: Library, rows: tuple[list[str], Vectors], tmp_path: Path) -> None:
    export(shop, tmp_path / "out.index")
    index = faiss.read_index(str(tmp_path / "out.index"))
    ids = np.load(tmp_path / "out.ids.npy")
    _, places = index.search(rows[1], 1)
    assert [str(one) for one in ids[places[:, 0]]] == rows[0]


@pytest.fixture
def pictures(library: Library, photos: Path) -> Library:
    """Pictures in files, with texts beside them."""
    return library


# webdataset leaves the tar open until it is collected.
unclosed = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def loaded(url: str) -> Iterator[dict[str, object]]:
    yield from webdataset.WebDataset(url, shardshuffle=False, empty_check=False).decode("pilrgb")


@unclosed
def test_webdataset_reads_pictures_and_vectors(
    pictures: Library, photos: Path, tmp_path: Path
) -> None:
    done = export(pictures, tmp_path / "out.tar")
    assert (done.items, done.skipped) == (len(COLOURS), ())
    samples = list(loaded(str(tmp_path / "out.tar")))
    assert len(samples) == len(COLOURS)
    for sample in samples:
        told = sample["json"]
        assert isinstance(told, dict)
        colour = Path(told["path"]).stem
        assert sample["png"].getpixel((0, 0)) == COLOURS[colour]  # type: ignore[attr-defined]
        assert np.array_equal(sample["npy"], pictures.vectors([told["item"]])[0])  # type: ignore[arg-type]
    found = rows_of(read(tmp_path / "out.tar").batches)
    ids = [str(one) for block in pictures.blocks() for one in block.ids]
    assert np.array_equal(vectors_in(found, ids), pictures.vectors([int(one) for one in ids]))


def test_tars_of_img2dataset_are_embedded(tmp_path: Path) -> None:
    """As it lays them out: a folder of shards, `KEY.jpg`, `.txt` and `.json` with url and key."""
    made = tmp_path / "made"
    made.mkdir()
    for number, colour in enumerate(COLOURS):
        picture = paint(tmp_path / f"{colour}.png", colour).read_bytes()
        key = f"{number // 5:05d}{number % 5:04d}"
        about = {"caption": f"all {colour}", "url": f"http://x/{colour}.png", "key": key}
        with webdataset.TarWriter(str(made / f"{number:05d}.tar")) as tar:
            tar.write({"__key__": key, "png": picture, "txt": about["caption"], "json": about})
    offer = read(made)
    assert (offer.format, offer.dim) == ("webdataset", None)
    with searchx.create(tmp_path / "library", encoder=ENCODER) as library:
        report = import_into(library, made)
        assert (report.added, report.skipped) == (len(COLOURS), [])
        (hit,) = library.search("blue", k=1)
        assert (hit.external, hit.meta["url"]) == ("000000002", "http://x/blue.png")
        assert hit.item.captions == ("all blue",)
        done = export(library, tmp_path / "out.tar")
        assert done.items == 0
        assert len(done.skipped) == len(COLOURS)
        assert "added without a file" in done.skipped[0].reason
    with pytest.raises(BadInput, match="to embed its texts: searchx index"):
        read(made, kind="text")


def test_the_indexer_reads_the_tars(pictures: Library, tmp_path: Path, tiny_model: Path) -> None:
    export(pictures, tmp_path / "out.tar")
    report = searchx.index(tmp_path / "again", [tmp_path / "out.tar"], str(tiny_model))
    assert (report.added, report.skipped) == (1, ())
    with searchx.open(tmp_path / "again") as again:
        assert again.overview().images == len(COLOURS)


@unclosed
def test_text_goes_out_as_well(pictures: Library, tmp_path: Path) -> None:
    export(pictures, tmp_path / "out.tar", kind="text")
    told = {sample["txt"] for sample in loaded(str(tmp_path / "out.tar"))}
    assert told == {f"something {one}" for one in COLOURS}
    export(pictures, tmp_path / "out", "clip-retrieval", "text")
    assert {one.name for one in (tmp_path / "out").iterdir()} == {"metadata", "text_emb"}
    table = tmp_path / "out" / "metadata" / "metadata_0000.parquet"
    space = json.loads(pq.read_schema(table).metadata[b"searchx.space"])
    assert space["name"] == "colour"
