"""Files that are damaged, that disagree, or that want more than to be read: told in one line."""

import io
import pickle
import tarfile
from collections.abc import Mapping
from pathlib import Path

import faiss
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import searchx
from searchx.errors import BadInput
from searchx.exchange import import_into, read
from searchx.records import Vectors

ROWS: Vectors = np.random.default_rng(1).normal(size=(50, 8)).astype(np.float32)


class Trap:
    """What runs when somebody unpickles it."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("a pickle was read",)


def refused(
    place: Path, format: str | None = None, id: str | None = None, vector: str | None = None
) -> str:
    """Read all of it, and give why it is refused; what is told is one line."""
    with pytest.raises(BadInput) as told:
        list(read(place, format, id=id, vector=vector).batches)
    assert "\n" not in str(told.value)
    return str(told.value)


def not_imported(place: Path, dim: int) -> str:
    """Import it, and give why it is refused; what is told is one line with its place."""
    with (
        searchx.create(place.parent / "library", dim=dim, name="ours") as library,
        pytest.raises(BadInput) as told,
    ):
        import_into(library, place)
    assert "\n" not in str(told.value)
    assert str(place.parent) in str(told.value)
    return str(told.value)


# .npy


def test_arrays_that_are_not_whole(tmp_path: Path) -> None:
    file = tmp_path / "made.npy"
    np.save(file, ROWS)
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    assert refused(file).endswith("it ends early")
    for size in (0, 3, 9, 60):
        file.write_bytes(whole[:size])
        assert "cannot be read" in refused(file)
    for shape in (b"(9**9,)", b"(5, 8,(", b"(-5, 8)", b"(((((((", b"5000000"):
        file.write_bytes(whole.replace(b"(50, 8)", shape))
        assert str(file) in refused(file)
    about = {"descr": "<f4", "fortran_order": False, "shape": (10**15, 8)}
    with file.open("wb") as made:
        np.lib.format.write_array_header_1_0(made, about)
    assert "should have 32,000,000,000,000,128; it ends early" in refused(file)


def test_arrays_of_what_is_no_vector(tmp_path: Path) -> None:
    file = tmp_path / "made.npy"
    np.save(file, np.array([Trap()], object), allow_pickle=True)
    assert "only plain numbers" in refused(file)
    file.write_bytes(pickle.dumps(Trap()))
    assert "cannot be read" in refused(file)
    for wrong in (ROWS[0], ROWS.astype(np.complex64), np.array([["a"]]), ROWS[None], ROWS[:, :0]):
        np.save(file, wrong)
        assert str(file) in refused(file)
    np.save(file, np.asfortranarray(ROWS))
    assert "numpy.ascontiguousarray" in refused(file)


def test_ids_beside_that_are_not_as_many(tmp_path: Path) -> None:
    file = tmp_path / "made.npy"
    np.save(file, ROWS)
    (tmp_path / "made.ids.txt").write_text("a\nb\n")
    assert "made.ids.txt has 2 ids, made.npy has 50 vectors" in refused(file)
    (tmp_path / "made.ids.txt").write_text("x" * 5000)
    assert "line 1 of" in refused(file)
    np.save(tmp_path / "made.ids.npy", np.array([Trap()] * 50, object), allow_pickle=True)
    assert "only plain numbers and texts" in refused(file)
    np.save(tmp_path / "made.ids.npy", ROWS)
    assert "give ids, (n,)" in refused(file)


def test_ids_in_lines_are_read(tmp_path: Path) -> None:
    np.save(tmp_path / "made.npy", ROWS)
    (tmp_path / "made.ids.txt").write_text("".join(f"ä{one}\n" for one in range(50)))
    table = pa.Table.from_batches(list(read(tmp_path / "made.npy").batches))
    assert table["id"].to_pylist() == [f"ä{one}" for one in range(50)]


@pytest.mark.parametrize("letter", [0xD800, 0x110000])
def test_ids_of_what_is_no_letter(tmp_path: Path, letter: int) -> None:
    np.save(tmp_path / "made.npy", ROWS[:1])
    np.save(tmp_path / "made.ids.npy", np.array(["x"]))
    ids = (tmp_path / "made.ids.npy").read_bytes()[:-4] + letter.to_bytes(4, "little")
    (tmp_path / "made.ids.npy").write_bytes(ids)
    assert "cannot be read" in refused(tmp_path / "made.npy")


# Parquet


def table(file: Path, **columns: object) -> Path:
    pq.write_table(pa.table(columns), file)
    return file


def test_tables_without_what_is_needed(tmp_path: Path) -> None:
    file = tmp_path / "made.parquet"
    lists = [list(map(float, one)) for one in ROWS]
    assert "has no column of vectors; there are a, b" in refused(table(file, a=[1], b=["x"]))
    assert "several columns hold vectors (a, b)" in refused(table(file, a=lists, b=lists))
    assert 'no column "x" to take vectors from' in refused(file, vector="x")
    assert 'no column "x" to take ids from' in refused(table(file, vector=lists), id="x")
    assert "2 of 3 ids are missing" in refused(table(file, vector=lists[:3], id=["a", None, None]))
    assert "ids are double" in refused(table(file, vector=lists[:1], id=[1.5]))
    assert "other widths" in refused(table(file, vector=[[1.0, 2.0], [1.0]]))
    assert "null" in refused(table(file, vector=[[1.0, 2.0], None]))
    assert "null" in refused(table(file, vector=[None, [1.0, 2.0]]))
    assert "null" in refused(table(file, vector=[[1.0, None]]))
    assert "vectors of 0 numbers" in refused(
        table(file, vector=pa.array([[]], pa.list_(pa.float64())))
    )
    empty = pa.table({"vector": pa.array([], pa.list_(pa.float64()))})
    pq.write_table(empty, file)
    assert "nothing tells how wide" in refused(file)


def test_the_column_that_is_asked_for_is_the_one_that_counts(tmp_path: Path) -> None:
    file, folder = tmp_path / "made.parquet", tmp_path / "folder"
    places = ["http://a/1.jpg", "/b/2.jpg"]
    columns = {"sku": ["s1", "s2"], "id": [10, 11], "image": places, "text": [1, 2], "": [3, 4]}
    offer = read(table(file, **columns, vector=[[1.0, 2.0]] * 2), id="sku")
    assert offer.notes == ('left out are the columns id, text, ""',)
    (batch,) = offer.batches
    assert batch["id"].to_pylist() == ["s1", "s2"]
    assert (batch.column_names, batch["image_path"].to_pylist()) == (
        ["id", "vector", "image_path"],
        places,
    )
    table(file, image=places, image_path=["x", "y"], vector=["p", "q"], emb=[[1.0, 2.0]] * 2)
    (batch,) = (offer := read(file, vector="emb")).batches
    assert (offer.notes, batch["id"].to_pylist()) == (
        ("left out are the columns image, vector",),
        ["x", "y"],
    )
    for one in ("img_emb", "metadata"):
        (folder / one).mkdir(parents=True)
    np.save(folder / "img_emb" / "img_emb_0.npy", ROWS[:2])
    table(folder / "metadata" / "metadata_0.parquet", key=["a", "b"], image=places)
    with searchx.create(tmp_path / "library", dim=8, name="ours") as library:
        assert import_into(library, folder).added == 2
        assert library.item(int(library.lookup(["b"])[0])).meta == {"image_path": "/b/2.jpg"}


def test_a_second_file_that_is_another(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    table(folder / "a.parquet", id=["a"], vector=[[1.0, 2.0]])
    table(folder / "b.parquet", vector=[[1.0, 2.0]])
    assert 'has no column "id", which the first file has' in refused(folder)
    table(folder / "b.parquet", id=["b"], vector=[[1.0]])
    assert "other widths than 2, which the first has" in refused(folder)
    (tmp_path / "empty").mkdir()
    assert "holds no .parquet file" in refused(tmp_path / "empty", "parquet")


OFFSETS = pa.py_buffer(np.array([0, 1], np.int32))
NO_UTF8 = pa.StringArray.from_buffers(1, OFFSETS, pa.py_buffer(b"\xff"))


@pytest.mark.parametrize(
    "columns",
    [
        {"id": ["a"], "when": pa.array([10**8], pa.date32())},
        {"id": ["a"], "when": pa.array([1], pa.timestamp("us", "No/Where"))},
        {"id": ["a"], "brand": NO_UTF8},
        {"id": ["a"], "text": NO_UTF8},
        {"id": NO_UTF8},
    ],
)
def test_values_that_cannot_be_read(tmp_path: Path, columns: dict[str, object]) -> None:
    file = table(tmp_path / "made.parquet", vector=[[1.0, 2.0]], **columns)
    assert "cannot be read" in not_imported(file, 2)


def test_columns_of_one_name(tmp_path: Path) -> None:
    made = pa.Table.from_arrays(
        [pa.array([[1.0]]), pa.array([1]), pa.array([2])], ["emb", "x", "x"]
    )
    pq.write_table(made, tmp_path / "made.parquet")
    assert '2 columns are called "x"' in refused(tmp_path / "made.parquet")


def test_numbers_that_are_too_large_are_left_out(tmp_path: Path) -> None:
    count = pa.array([(1 << 64) - 1, 7], pa.uint64())
    file = table(tmp_path / "made.parquet", id=["a", "b"], vector=[[1.0, 2.0]] * 2, count=count)
    with searchx.create(tmp_path / "library", dim=2, name="ours") as library:
        assert import_into(library, file).added == 2
        items = library.items(library.lookup(["a", "b"]).tolist())
    assert [one.meta for one in items] == [{}, {"count": 7}]


@pytest.mark.parametrize(
    "told",
    [
        '{"name": "mini", "digest": "x", "dim": 1e999}',
        '{"name": "mini", "digest": "\\ud800", "dim": 2}',
        '{"name": "", "digest": "x", "dim": 2}',
    ],
)
def test_a_space_that_makes_no_sense_is_none(tmp_path: Path, told: str) -> None:
    made = pa.table({"id": ["a"], "vector": [[1.0, 2.0]]})
    pq.write_table(made.replace_schema_metadata({"searchx.space": told}), tmp_path / "made.parquet")
    assert read(tmp_path / "made.parquet").space is None


def test_tables_that_are_damaged(tmp_path: Path) -> None:
    file = table(tmp_path / "made.parquet", id=["a"] * 50, vector=[[1.0, 2.0]] * 50)
    whole = file.read_bytes()
    for wrong in (b"", whole[:100], whole[:-8] + b"\xff" * 8, b"PAR1" * 9):
        file.write_bytes(wrong)
        assert "cannot be read" in refused(file)


# clip-retrieval


def test_folders_whose_files_disagree(tmp_path: Path) -> None:
    for one in ("img_emb", "metadata"):
        (tmp_path / one).mkdir()
    assert "holds no .npy file" in refused(tmp_path)
    np.save(tmp_path / "img_emb" / "img_emb_0.npy", ROWS)
    table(tmp_path / "metadata" / "metadata_0.parquet", key=["a"])
    assert "has 50 vectors" in refused(tmp_path)
    table(tmp_path / "metadata" / "metadata_0.parquet", key=[f"{one}" for one in range(50)])
    np.save(tmp_path / "img_emb" / "img_emb_1.npy", ROWS[:, :4])
    assert "vectors of 4 and of 8 numbers" in refused(tmp_path)
    np.save(tmp_path / "img_emb" / "img_emb_1.npy", ROWS)
    assert "no metadata file of the number 1" in refused(tmp_path)
    np.save(tmp_path / "img_emb" / "img_emb_01.npy", ROWS)
    assert "have the same number" in refused(tmp_path)
    (tmp_path / "img_emb" / "img_emb_01.npy").rename(tmp_path / "img_emb" / "other.npy")
    assert "no number in its name" in refused(tmp_path)


# HDF5


def test_arrays_that_lie_elsewhere_are_not_followed(tmp_path: Path) -> None:
    secret, file = tmp_path / "secret.h5", tmp_path / "made.h5"
    with h5py.File(secret, "w") as made:
        made["train"] = ROWS
    with h5py.File(file, "w") as made:
        made["train"] = h5py.ExternalLink(str(secret), "train")
    assert "is a link to another place" in refused(file)
    raw = tmp_path / "secret.bin"
    raw.write_bytes(ROWS.tobytes())
    with h5py.File(file, "w") as made:
        made.create_dataset("train", ROWS.shape, "f4", external=[(str(raw), 0, ROWS.nbytes)])
    assert "no array that lies in the file" in refused(file)
    with h5py.File(file, "w") as made:
        layout = h5py.VirtualLayout(ROWS.shape, "f4")
        layout[:] = h5py.VirtualSource(str(secret), "train", ROWS.shape)
        made.create_virtual_dataset("train", layout)
    assert "no array that lies in the file" in refused(file)


def test_arrays_that_claim_more_than_there_is(tmp_path: Path) -> None:
    file = tmp_path / "made.h5"
    with h5py.File(file, "w") as made:
        made.create_dataset("train", (10**12, 8), "f4", chunks=(1024, 8))
    assert "has 0 bytes and should have 32,000,000,000,000" in refused(file)
    with h5py.File(file, "w") as made:
        made.create_dataset("train", (1 << 24, 8), "f4", chunks=(1 << 24, 8))
    assert "in pieces of more than" in refused(file)


def test_files_of_another_layout(tmp_path: Path) -> None:
    file = tmp_path / "made.h5"
    with h5py.File(file, "w") as made:
        made["vectors"] = ROWS
    assert 'has no "train"' in refused(file)
    with h5py.File(file, "w") as made:
        made["train"] = ROWS[0]
    assert "give (n, dim)" in refused(file)
    with h5py.File(file, "w") as made:
        made["train"], made["ids"] = ROWS, np.arange(3)
    assert "ids has the shape (3,), there are 50 rows" in refused(file)
    with h5py.File(file, "w") as made:
        made.create_group("train")
    assert "no array" in refused(file)
    file.write_bytes(file.read_bytes()[:200])
    assert "cannot be read" in refused(file)
    file.write_bytes(b"no HDF5")
    assert "cannot be read" in refused(file)


# FAISS


def test_index_files_that_give_nothing(tmp_path: Path) -> None:
    """One of them ends the process that reads it, which is not this one."""
    file = tmp_path / "made.index"
    rows = np.random.default_rng(1).normal(size=(1000, 8)).astype(np.float32)
    index = faiss.index_factory(8, "IVF4,PQ4x4fs")
    index.train(rows)
    index.add(rows)
    faiss.write_index(index, str(file))
    assert "embed the items anew" in refused(file)
    faiss.write_index(faiss.IndexFlatL2(8), str(file))
    whole = file.read_bytes()
    for wrong in (b"", b"no index", whole[:-4], whole[:4] + b"\xff" * 60):
        file.write_bytes(wrong)
        assert "holds no index that FAISS can read" in refused(file)


# tar


def tar(file: Path, members: Mapping[str, bytes]) -> Path:
    with tarfile.open(file, "w") as made:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return file


def npy(array: object, allow_pickle: bool = False) -> bytes:
    data = io.BytesIO()
    np.save(data, array, allow_pickle=allow_pickle)  # type: ignore[arg-type]
    return data.getvalue()


def test_samples_that_are_wrong(tmp_path: Path) -> None:
    file = tmp_path / "made.tar"
    assert "holds no sample" in refused(tar(file, {}))
    assert "holds no vectors to take" in refused(tar(file, {"a.txt": b"a dog"}))
    trap = npy(np.array([Trap()], object), allow_pickle=True)
    assert "give plain numbers" in refused(tar(file, {"a.npy": trap}))
    assert "cannot be read" in refused(tar(file, {"a.npy": b"no array"}))
    assert "bytes of it" in refused(tar(file, {"a.npy": npy(ROWS[0])[:-1]}))
    assert "give one vector" in refused(tar(file, {"a.npy": npy(ROWS)}))
    assert "vectors of 0 numbers" in refused(tar(file, {"a.npy": npy(ROWS[0, :0])}))
    two = {"a.npy": npy(ROWS[0]), "b.npy": npy(ROWS[0, :4])}
    assert "sample b has a vector of shape (4,), others (8,)" in refused(tar(file, two))
    none = {"a.npy": npy(ROWS[0]), "b.txt": b"a dog"}
    assert "sample b has a vector of shape None" in refused(tar(file, none))
    assert "is no JSON" in refused(tar(file, {"a.json": b"[" * 100_000}))
    assert "has 2,097,152 bytes" in refused(tar(file, {"a.txt": b"x" * (1 << 21)}))
    file.write_bytes(b"no tar" * 200)
    assert "it is no tar" in refused(file)
    (tmp_path / "folder").mkdir()
    assert "holds no .tar file" in refused(tmp_path / "folder", "webdataset")


@pytest.mark.parametrize(
    "told", ['"\\ud800": 1', '"a": "\\ud800"', '"caption": "\\ud800"', '"id": "\\ud800"']
)
def test_samples_with_half_a_letter(tmp_path: Path, told: str) -> None:
    members = {"a.npy": npy(ROWS[0]), "a.json": f"{{{told}}}".encode()}
    assert "cannot be read" in refused(tar(tmp_path / "made.tar", members))


def test_values_of_other_types_become_texts(tmp_path: Path) -> None:
    first, second = (
        b'{"size": 1, "deep": {"a": 1}, "item": 4, "": 2}',
        b'{"size": "large", "caption": "b"}',
    )
    members = {"a.npy": npy(ROWS[0]), "a.json": first, "b.npy": npy(ROWS[1]), "b.json": second}
    (batch,) = read(tar(tmp_path / "made.tar", members)).batches
    told = [{"id": "a", "size": "1", "text": None}, {"id": "b", "size": "large", "text": "b"}]
    assert batch.drop_columns("vector").to_pylist() == told
