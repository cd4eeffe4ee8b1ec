"""What goes out comes in again as it was, through each format."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import searchx
from searchx.errors import BadInput, ModelError, SpaceMismatch
from searchx.exchange import FORMATS, export, import_into, library_for, read
from searchx.records import Vectors
from searchx.search import Library
from tests.colour import COLOURS, ColourEncoder, paint
from tests.exchange.conftest import rows_of, vectors_in
from tests.shelf import ENCODER

PLACES = {
    "parquet": "out.parquet",
    "npy": "out.npy",
    "clip-retrieval": "out",
    "hdf5": "out.h5",
    "faiss": "out.index",
}
WITH_COLUMNS = ("parquet", "clip-retrieval")
WITH_SPACE = ("parquet", "clip-retrieval", "hdf5")


@pytest.mark.parametrize("name", PLACES)
def test_vectors_come_back_by_their_ids(
    shop: Library, rows: tuple[list[str], Vectors], tmp_path: Path, name: str
) -> None:
    done = export(shop, tmp_path / PLACES[name], name)
    assert (done.format, done.items) == (name, 24)
    assert all(one.exists() for one in done.files)
    offer = read(tmp_path / PLACES[name])  # its format is told by its path
    assert (offer.format, offer.dim, offer.count) == (name, 4, 24)
    found = rows_of(offer.batches)
    assert sorted(found) == sorted(rows[0])
    assert np.array_equal(vectors_in(found, rows[0]), rows[1])
    assert (offer.space == ENCODER.space) == (name in WITH_SPACE)
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.parametrize("name", PLACES)
def test_a_library_is_made_again(
    shop: Library, rows: tuple[list[str], Vectors], tmp_path: Path, name: str
) -> None:
    export(shop, tmp_path / PLACES[name], name)
    with searchx.create(tmp_path / "again", encoder=ENCODER) as again:
        report = import_into(again, tmp_path / PLACES[name])
        assert (report.added, report.skipped) == (24, [])
        assert np.allclose(again.vectors(again.lookup(rows[0])), rows[1], atol=1e-3)
        assert import_into(again, tmp_path / PLACES[name]).unchanged == 24
        if name in WITH_COLUMNS:
            item = again.item(int(again.lookup(["red-0"])[0]))
            assert item is not None
            assert item.captions == ("a red-0 thing",)
            assert (item.meta["price"], item.meta["sizes"]) == (0.0, ("l",))
            assert "brand" not in item.meta  # it had none


@pytest.mark.parametrize("name", PLACES)
def test_what_has_several_ids_goes_out_by_each(tmp_path: Path, name: str) -> None:
    """The same content under several ids is one item of a library."""
    names = [f"sku-{number}" for number in range(24)]
    colours = [list(COLOURS)[number % 5] for number in range(24)]
    pictures = [paint(tmp_path / f"{one}.png", one) for one in colours]
    prices = [float(number) for number in range(24)]
    with searchx.create(tmp_path / "shop", encoder=ENCODER) as shop:
        shop.add(names, images=pictures, metadata={"price": prices})
        shop.add(names[:2], images=pictures[:2], collection="other")  # of an id there is one row
        add_apart(shop)
        assert export(shop, tmp_path / PLACES[name], name).items == 40
        vectors = shop.vectors(shop.lookup(names))
    with searchx.create(tmp_path / "again", encoder=ENCODER) as again:
        assert import_into(again, tmp_path / PLACES[name]).added == 40
        assert np.allclose(again.vectors(again.lookup(names)), vectors, atol=1e-3)
        if name in WITH_COLUMNS:
            told = [item.meta["price"] for item in again.items(again.lookup(names))]
            assert told == prices


def add_apart(shop: Library) -> None:
    """Add sixteen pictures of which no two are the same."""
    pixels = np.random.default_rng(3).integers(256, size=(16, 20, 20, 3), dtype=np.uint8)
    shop.add([f"own-{number}" for number in range(16)], images=list(pixels))


def test_a_filter_says_what_goes_out(shop: Library, tmp_path: Path) -> None:
    assert export(shop, tmp_path / "some.parquet", where="name:red").items == 3
    with pytest.raises(BadInput, match="no image to write that passes"):
        export(shop, tmp_path / "none.parquet", where="name:grey")
    with pytest.raises(BadInput, match="no text to write"):
        export(shop, tmp_path / "none.parquet", kind="text")
    assert not (tmp_path / "none.parquet").exists()


def test_what_is_there_is_replaced_whole_or_kept(shop: Library, tmp_path: Path) -> None:
    file = tmp_path / "out.npy"
    export(shop, file, where="name:red")
    before = file.read_bytes()
    with pytest.raises(BadInput, match="too few to hold one"):
        export(shop, file, "hdf5", where="name:red")
    assert file.read_bytes() == before
    export(shop, file)
    assert np.load(file).shape == (24, 4)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine.txt").write_text("mine")
    with pytest.raises(BadInput, match="is there already"):
        export(shop, tmp_path / "folder", "clip-retrieval")
    with pytest.raises(BadInput, match="cannot be written"):
        export(shop, tmp_path / "nowhere" / "out.parquet")
    assert sorted(one.name for one in tmp_path.iterdir() if one.name.startswith(".")) == []


def test_vectors_of_another_model_are_refused(shop: Library, tmp_path: Path) -> None:
    export(shop, tmp_path / "out.parquet")
    with (
        searchx.create(tmp_path / "other", encoder=ColourEncoder("other")) as other,
        pytest.raises(SpaceMismatch, match='of the model "colour"'),
    ):
        import_into(other, tmp_path / "out.parquet")
    with (
        searchx.create(tmp_path / "wide", dim=7, name="wide") as wide,
        pytest.raises(BadInput, match="have 4 numbers, those of the library"),
    ):
        np.save(tmp_path / "out.npy", np.eye(4, dtype=np.float32))
        import_into(wide, tmp_path / "out.npy")


def test_a_new_library_is_of_the_space_that_the_file_tells(shop: Library, tmp_path: Path) -> None:
    encoder = ColourEncoder("mini")
    with searchx.create(tmp_path / "mini", encoder=encoder) as first:
        first.add(["a"], np.eye(1, 4))
        export(first, tmp_path / "out.parquet")
    export(shop, tmp_path / "out.npy")
    told, untold = read(tmp_path / "out.parquet"), read(tmp_path / "out.npy")
    with library_for(tmp_path / "told", told) as made:
        assert made.space == encoder.space
    with library_for(tmp_path / "told", told) as there:
        assert there.space == encoder.space
    with pytest.raises(BadInput, match=r'if it was that of the library, say --model "mini"'):
        library_for(tmp_path / "told", untold)
    with pytest.raises(BadInput, match=r"nothing tells which model .* say --model NAME"):
        library_for(tmp_path / "untold", untold)
    assert not (tmp_path / "untold").exists()
    with library_for(tmp_path / "untold", untold, name="mine") as made:
        assert (made.space.name, made.space.dim) == ("mine", 4)
    with library_for(tmp_path / "untold", untold, name="mine") as there:
        import_into(there, untold)
    with pytest.raises(SpaceMismatch, match='are of "mine", these are of "yours"'):
        library_for(tmp_path / "untold", untold, name="yours")
    with pytest.raises(BadInput, match="not both"):
        library_for(tmp_path / "untold", untold, "mini", "mine")


@pytest.mark.parametrize("maker", ["hf-hub:some/body", "local-dir:{}", "{}", "ViT-B-32/{}", "x/y"])
def test_a_file_does_not_choose_what_is_loaded(tmp_path: Path, maker: str) -> None:
    name = maker.format(tmp_path)
    with searchx.create(tmp_path / "theirs", encoder=ColourEncoder(name)) as theirs:
        theirs.add(["a"], np.eye(1, 4))
        export(theirs, tmp_path / "out.parquet")
    offer = read(tmp_path / "out.parquet")
    with pytest.raises(BadInput, match=r"loads only where you say so: give --model NAME"):
        library_for(tmp_path / "new", offer)
    assert not (tmp_path / "new").exists()
    with library_for(tmp_path / "new", offer, name="theirs") as named:
        with pytest.raises(SpaceMismatch):
            import_into(named, tmp_path / "out.parquet")
        assert import_into(named, offer, name="theirs").added == 1
        with pytest.raises(ModelError, match='"theirs"'):
            named.search("a dog")


def test_a_file_may_name_the_models_that_everybody_has(tmp_path: Path) -> None:
    for name in ("mini", "ViT-B-32/openai"):
        with searchx.create(tmp_path / "theirs", encoder=ColourEncoder(name)) as theirs:
            theirs.add(["a"], np.eye(1, 4))
            export(theirs, tmp_path / "out.parquet")
        with library_for(tmp_path / name, read(tmp_path / "out.parquet")) as made:
            assert made.space.name == name
        shutil.rmtree(tmp_path / "theirs")


def test_a_format_is_told_by_its_path_or_named(shop: Library, tmp_path: Path) -> None:
    assert {one.name for one in FORMATS} == {*PLACES, "webdataset"}
    with pytest.raises(BadInput, match=r"does not tell its format; .* \.parquet, \.pq, \.npy"):
        export(shop, tmp_path / "out.xyz")
    with pytest.raises(BadInput, match='format "lance" is not known; use parquet, npy'):
        export(shop, tmp_path / "out.parquet", "lance")
    with pytest.raises(BadInput, match="is not there"):
        read(tmp_path / "out.parquet")
    export(shop, tmp_path / "out.xyz", "npy")
    assert read(tmp_path / "out.xyz", "npy").count == 24


def test_texts_have_a_collection_of_their_own(shop: Library, tmp_path: Path) -> None:
    """A caption has often the id of its picture, and must not take its place."""
    export(shop, tmp_path / "out.npy", where="name:red")
    import_into(shop, tmp_path / "out.npy", kind="text")
    assert shop.lookup(["red-0"], kind="image")[0] > 0
    assert shop.lookup(["red-0"], collection="texts", kind="text")[0] > 0
