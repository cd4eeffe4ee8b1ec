"""Another model takes over in a library: what is embedded, refused, kept, and told."""

import shutil
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import searchx
from indexer.migrating import Migrated, Settings, migrate, roll_back
from indexer.pipeline import index_into
from indexer.planning import Options
from searchx import upkeep
from searchx.adding.fuser import Fuser
from searchx.catalog import Catalog
from searchx.cutting import Cut, cutter
from searchx.encoder import Encoder
from searchx.errors import BadInput, Busy, LibraryFull, LibraryInUse, ModelError
from searchx.exchange.outgoing import Outgoing
from searchx.records import Pixels, Vectors
from searchx.search import Library
from searchx.spaces.progress import migration_of
from searchx.spaces.switching import drop_other
from searchx.upkeep import verify
from searchx.views import own_snapshots_of
from tests.colour import COLOURS, ColourEncoder, paint
from tests.shelf import names as named
from tests.spaces.encoders import Bright, Shelf

INLINE = Settings(workers=0)
QUERIES = ("red", "a blue sky", "black and white", "orange", "cyan or green")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number, colour in enumerate(COLOURS):
        paint(tmp_path / "photos" / f"trip {number % 3}" / f"{colour}.png", colour)
    (tmp_path / "photos" / "notes.txt").write_text("a red barn\n\nthe blue sky\n\ngreen grass")
    return tmp_path / "photos"


@pytest.fixture
def library(tmp_path: Path, photos: Path) -> Path:
    index(tmp_path / "library", photos)
    return tmp_path / "library"


def index(library: Path, photos: Path, encoder: Encoder | None = None) -> None:
    index_into(library, photos, encoder or ColourEncoder(), options=Options(workers=0))


def to_bright(library: Path, encoder: Encoder | None = None, **settings: bool) -> Migrated:
    return migrate(library, encoder or Bright(), settings=Settings(workers=0, **settings))


def answers(library: Path, encoder: Encoder) -> list[list[tuple[str, float]]]:
    """Give what is found for each query, of both kinds, with the scores."""
    with Library.open(library, encoder=encoder) as opened:
        return [
            [(hit.item.digest, round(hit.score, 5)) for hit in opened.search(query, 20, to)]
            for query in QUERIES
            for to in ("image", "text")
        ]


def anew(tmp_path: Path, photos: Path, encoder: Encoder) -> list[list[tuple[str, float]]]:
    """Give what a library finds that was made by a model from the beginning."""
    place = tmp_path / "anew"
    shutil.rmtree(place, ignore_errors=True)
    index(place, photos, encoder)
    return answers(place, encoder)


def test_a_model_takes_over_as_if_the_library_were_made_by_it(
    library: Path, photos: Path, tmp_path: Path
) -> None:
    before = answers(library, ColourEncoder())
    made = to_bright(library)
    assert (made.switched, made.embedded, made.items, list(made.missing)) == (True, 13, 13, [])
    assert made.likeness is not None
    assert made.likeness > 0.999
    assert verify(library).as_dict()["ok"]
    after = answers(library, Bright())
    assert after == anew(tmp_path, photos, Bright())
    assert after != before


@pytest.mark.parametrize("longer", [None, 6])
def test_shorter_vectors_are_cut_and_not_embedded_anew(
    library: Path, photos: Path, tmp_path: Path, longer: int | None
) -> None:
    shutil.rmtree(library)
    index(library, photos, Bright() if longer is None else Cut(Bright(), longer))
    (photos / "trip 0" / "red.png").unlink()  # its vector is there, and that is enough
    whole = Bright()
    made = migrate(library, Cut(whole, 5), settings=INLINE)
    assert (made.switched, made.shortened, made.embedded, made.items) == (True, 13, 0, 13)
    assert made.likeness is not None
    assert made.likeness > 0.999
    assert whole.embedded_images == 9  # to see that the model gives the same
    assert verify(library).as_dict()["ok"]
    paint(photos / "trip 0" / "red.png", "red")
    assert near(answers(library, Cut(Bright(), 5)), anew(tmp_path, photos, Cut(Bright(), 5)))


def test_other_vectors_are_no_part_of_those_that_serve() -> None:
    whole, other = Bright(), Bright("other")
    assert cutter(Cut(whole, 5), whole.space) is not None
    assert cutter(Cut(whole, 5), Cut(whole, 6).space) is not None
    assert cutter(Cut(whole, 5), Cut(whole, 4).space) is None
    assert cutter(Cut(whole, 5), Cut(whole, 5).space) is None
    assert cutter(Cut(whole, 5), other.space) is None
    assert cutter(Cut(whole, 5), Cut(other, 6).space) is None
    assert cutter(whole, Cut(whole, 5).space) is None


def near(found: list[list[tuple[str, float]]], expected: list[list[tuple[str, float]]]) -> bool:
    """Tell whether answers are the same but for what rounding twice does to scores."""
    return all(
        {digest for digest, _ in some} == {digest for digest, _ in others}
        and all(abs(score - dict(others)[digest]) < 2e-3 for digest, score in some)
        for some, others in zip(found, expected, strict=True)
    )


def test_until_it_is_complete_the_model_before_answers(library: Path, photos: Path) -> None:
    before = answers(library, ColourEncoder())
    (photos / "trip 0" / "red.png").unlink()
    made = to_bright(library)
    assert not made.switched
    assert [one.path for one in made.missing] == [str(photos / "trip 0" / "red.png")]
    assert "cannot be read" in made.missing[0].reason
    assert answers(library, ColourEncoder()) == before
    assert verify(library).as_dict()["ok"]
    paint(photos / "trip 0" / "red.png", "red")
    again = to_bright(library)
    assert (again.switched, again.embedded) == (True, 1)  # the others were kept


def test_a_picture_is_read_wherever_it_can_be(library: Path, photos: Path) -> None:
    shutil.copy2(photos / "trip 0" / "red.png", photos / "a copy.png")
    index(library, photos)
    (photos / "trip 0" / "red.png").write_bytes(b"no picture any more")
    assert to_bright(library).switched


def test_a_file_that_changed_since_is_not_taken_for_what_it_was(
    library: Path, photos: Path
) -> None:
    paint(photos / "trip 0" / "red.png", "white", (99, 99))
    made = to_bright(library)
    assert not made.switched
    assert "another picture now" in made.missing[0].reason
    index(library, photos)
    assert to_bright(library).switched
    assert verify(library).as_dict()["ok"]


def test_without_what_is_missing_the_rest_is_searched_until_it_is_there(
    library: Path, photos: Path, tmp_path: Path
) -> None:
    aside = shutil.move(photos / "trip 0" / "red.png", tmp_path / "red.png")
    made = to_bright(library, without_missing=True)
    assert made.switched
    assert len(made.missing) == 1
    with Library.open(library, encoder=Bright()) as opened:
        assert "red" not in named(opened.search("red", 20))
        assert opened.overview().images == len(COLOURS) - 1
    assert verify(library).as_dict()["ok"]
    shutil.move(aside, photos / "trip 0" / "red.png")
    index(library, photos, Bright())
    assert answers(library, Bright()) == anew(tmp_path, photos, Bright())
    assert verify(library).as_dict()["ok"]
    assert roll_back(library, ColourEncoder(), settings=INLINE).embedded == 0


def test_what_is_missing_is_there_after_the_way_back(
    library: Path, photos: Path, tmp_path: Path
) -> None:
    before = answers(library, ColourEncoder())
    shutil.move(photos / "trip 0" / "red.png", tmp_path / "red.png")
    to_bright(library, without_missing=True)
    assert roll_back(library, ColourEncoder(), settings=INLINE).switched
    assert answers(library, ColourEncoder()) == before
    assert verify(library).as_dict()["ok"]


def test_the_way_back_embeds_what_came_since(library: Path, photos: Path, tmp_path: Path) -> None:
    to_bright(library)
    paint(photos / "new.png", (200, 30, 90))
    (photos / "trip 1" / "green.png").unlink()
    index(library, photos, Bright())
    back = roll_back(library, ColourEncoder(), settings=INLINE)
    assert (back.switched, back.embedded) == (True, 1)
    assert answers(library, ColourEncoder()) == anew(tmp_path, photos, ColourEncoder())
    assert verify(library).as_dict()["ok"]
    forth = roll_back(library, Bright(), settings=INLINE)
    assert (forth.switched, forth.embedded) == (True, 0)
    assert answers(library, Bright()) == anew(tmp_path, photos, Bright())


class During(Bright):
    """Does something when it is asked for its first pictures."""

    def __init__(self, do: object) -> None:
        super().__init__()
        self.do = do

    def embed_images(self, pixels: Sequence[Pixels]) -> Vectors:
        do, self.do = self.do, None
        if callable(do):
            do()
        return super().embed_images(pixels)


def test_what_is_indexed_meanwhile_is_in_both_and_what_goes_is_in_neither(
    library: Path, photos: Path, tmp_path: Path
) -> None:
    def change() -> None:
        paint(photos / "new.png", (200, 30, 90))
        paint(photos / "trip 2" / "blue.png", (30, 30, 200))
        (photos / "trip 0" / "red.png").unlink()
        index(library, photos)

    assert to_bright(library, During(change)).switched
    assert verify(library).as_dict()["ok"]
    assert answers(library, Bright()) == anew(tmp_path, photos, Bright())
    roll_back(library, ColourEncoder(), settings=INLINE)
    assert answers(library, ColourEncoder()) == anew(tmp_path, photos, ColourEncoder())


def test_what_comes_after_the_snapshot_was_built_is_found(
    library: Path, photos: Path, tmp_path: Path
) -> None:
    """Its number is below that of the snapshot: it was in the library, but had no vector there."""
    (photos / "trip 0" / "red.png").rename(tmp_path / "red.png")
    assert not to_bright(library).switched
    with closing(Catalog.open(library)) as catalog, catalog.migrating():
        from searchx.refreshing import refresh_snapshots

        refresh_snapshots(catalog.in_space(Bright().space), whole=True)
    (tmp_path / "red.png").rename(photos / "trip 0" / "red.png")
    assert to_bright(library).switched
    assert verify(library).as_dict()["ok"]
    assert answers(library, Bright()) == anew(tmp_path, photos, Bright())
    roll_back(library, ColourEncoder(), settings=INLINE)
    assert answers(library, ColourEncoder()) == anew(tmp_path, photos, ColourEncoder())


def test_what_was_dropped_is_gone(library: Path, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nothing to drop"):
        drop_other(library, has_served=True)
    to_bright(library)
    with pytest.raises(BadInput, match="nothing to give up"):
        drop_other(library, has_served=False)
    space, vectors = drop_other(library, has_served=True)
    assert (space.name, vectors) == ("colour", 13)
    with pytest.raises(BadInput, match="nothing to go back to"):
        roll_back(library, ColourEncoder())
    assert [one.name for one in (library / "snapshots").glob("image-*")] == []
    upkeep.compact(library)
    assert verify(library).as_dict()["ok"]
    assert migrate(library, ColourEncoder(), settings=INLINE).switched
    assert answers(library, ColourEncoder()) == anew(tmp_path, photos, ColourEncoder())


def test_a_migration_that_is_given_up_leaves_nothing(library: Path, photos: Path) -> None:
    before = answers(library, ColourEncoder())
    (photos / "trip 0" / "red.png").unlink()
    to_bright(library)
    with pytest.raises(BadInput, match=r"to model \"bright\" is under way.*--abandon"):
        migrate(library, Bright("other"), settings=INLINE)
    drop_other(library, has_served=False)
    assert answers(library, ColourEncoder()) == before
    with closing(Catalog.open(library)) as catalog:
        assert migration_of(catalog) is None
    with pytest.raises(BadInput, match="no migration is under way"):
        migrate(library)


def test_what_cannot_be_is_refused_in_one_line(library: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match='in the space of model "colour" already'):
        migrate(library, ColourEncoder())
    with pytest.raises(BadInput, match="nothing to go back to"):
        roll_back(library)
    to_bright(library)
    with pytest.raises(BadInput, match=r"vectors of model \"colour\" are still kept.*--drop-old"):
        migrate(library, Bright("other"))
    with closing(Catalog.open(library)) as catalog, catalog.migrating():
        with pytest.raises(LibraryInUse, match="is being migrated by another process"):
            roll_back(library, ColourEncoder())
        with pytest.raises(LibraryInUse):
            drop_other(library, has_served=True)
    Catalog.open(tmp_path / "empty", create=True).close()
    with pytest.raises(BadInput, match="nothing indexed yet"):
        migrate(tmp_path / "empty", Bright())


def test_where_nothing_can_be_written_one_line_says_so(library: Path) -> None:
    in_the_way = own_snapshots_of(library, Bright().space.digest)
    in_the_way.parent.mkdir(exist_ok=True)
    in_the_way.write_bytes(b"")
    with pytest.raises(LibraryFull, match="cannot be written"):
        migrate(library, Bright(), settings=INLINE)
    in_the_way.unlink()
    (library / "migrating.progress").mkdir()  # how far it is cannot be told, nor taken back
    assert migrate(library, Bright(), settings=INLINE).switched


def test_vectors_that_are_damaged_are_made_again(library: Path, photos: Path) -> None:
    (photos / "trip 0" / "red.png").rename(photos.parent / "red.png")
    to_bright(library)
    (photos.parent / "red.png").rename(photos / "trip 0" / "red.png")
    with closing(sqlite3.connect(library / "catalog.db")) as connection:
        connection.execute(
            "UPDATE other_vector SET data = zeroblob(14) WHERE item_id IN (SELECT item_id FROM "
            "other_vector ORDER BY item_id LIMIT 2)"
        )
        connection.commit()
    assert not verify(library).as_dict()["ok"]
    made = to_bright(library)
    assert (made.switched, made.embedded) == (True, 3)
    assert verify(library).as_dict()["ok"]


def test_a_model_that_gives_other_vectors_than_before_does_not_take_over(
    library: Path, photos: Path
) -> None:
    class Drifting(Bright):
        def __init__(self) -> None:
            super().__init__("bright", weight=5.0)
            self.space = Bright().space

    before = answers(library, ColourEncoder())
    (photos / "trip 0" / "red.png").rename(photos.parent / "red.png")
    to_bright(library)
    (photos.parent / "red.png").rename(photos / "trip 0" / "red.png")
    with pytest.raises(ModelError, match="gives other vectors than those it gave before"):
        to_bright(library, Drifting())
    assert answers(library, ColourEncoder()) == before


def test_other_weights_of_the_same_name_are_another_space(library: Path) -> None:
    to_bright(library)
    drop_other(library, has_served=True)
    with closing(Catalog.open(library)) as catalog:
        assert catalog.space() == Bright().space
    assert migrate(library, Bright("bright", 2.0), settings=INLINE).switched
    with pytest.raises(ModelError, match=r"has other weights now .*bring those back"):
        roll_back(library, Bright("bright", 3.0), settings=INLINE)


def test_it_keeps_to_its_rate(library: Path) -> None:
    began = time.monotonic()
    assert migrate(library, Bright(), settings=Settings(rate=20.0, workers=0)).switched
    assert time.monotonic() - began > 10 / 20


def test_a_backup_made_on_the_way_goes_on_from_there(
    library: Path, photos: Path, tmp_path: Path
) -> None:
    (photos / "trip 0" / "red.png").rename(tmp_path / "red.png")
    to_bright(library)
    (tmp_path / "red.png").rename(photos / "trip 0" / "red.png")
    upkeep.backup(library, tmp_path / "backup")
    assert to_bright(library).switched
    upkeep.restore(tmp_path / "backup", library, force=True)
    with closing(Catalog.open(library)) as catalog:
        assert catalog.space() == ColourEncoder().space
    made = to_bright(library)
    assert (made.switched, made.embedded) == (True, 1)
    assert verify(library).as_dict()["ok"]
    assert answers(library, Bright()) == anew(tmp_path, photos, Bright())


# an open library


def until(library: Shelf, name: str) -> None:
    """Ask until the library answers by another model, each time with a whole answer."""
    for _ in range(200):
        assert len(library.search("red", 20)) == len(COLOURS)
        if library.space.name == name:
            return
        time.sleep(0.02)
    raise AssertionError(f"{name} did not take over")


def test_an_open_library_follows_and_goes_back(library: Path, photos: Path) -> None:
    colour, bright = answers(library, ColourEncoder()), None
    with closing(Catalog.open(library)) as catalog, Shelf(catalog) as opened:
        opened.search("red")
        for way, name in ((migrate, "bright"), (roll_back, "colour"), (roll_back, "bright")):
            encoder = Bright() if name == "bright" else ColourEncoder()
            assert way(library, encoder, settings=INLINE).switched
            until(opened, name)
            found = [
                [(hit.item.digest, round(hit.score, 5)) for hit in opened.search(query, 20, to)]
                for query in QUERIES
                for to in ("image", "text")
            ]
            bright = bright or answers(library, Bright())
            assert found == (bright if name == "bright" else colour)
            assert opened.duplicate_groups().threshold > 0
            assert len(opened.recommend([opened.sample(1)[0].id], k=3)) == 3


def test_a_library_whose_new_model_cannot_be_had_is_answered_by_the_one_before(
    library: Path,
) -> None:
    class Without(Shelf):
        def _load(self, name: str) -> Encoder:
            if name == "bright":
                raise ModelError("it is not on this machine")
            return super()._load(name)

    with closing(Catalog.open(library)) as catalog, Without(catalog) as opened:
        before = opened.ask("red", 20).hits
        to_bright(library)
        for _ in range(3):
            assert opened.ask("red", 20).hits == before
            time.sleep(0.02)
        drop_other(library, has_served=True)
        with pytest.raises(ModelError, match="not on this machine"):
            opened.ask("red", 20)


def test_what_was_measured_for_one_model_is_not_used_for_the_next(
    library: Path, photos: Path, tmp_path: Path
) -> None:
    with closing(Catalog.open(library)) as catalog, Shelf(catalog) as opened:
        opened.ask("red", 20, group=True)
        opened.clusters()
        opened.duplicate_groups()
        to_bright(library)
        until(opened, "bright")
        index(tmp_path / "anew", photos, Bright())
        with Library.open(tmp_path / "anew", encoder=Bright()) as fresh:
            for query in QUERIES:
                one, other = opened.ask(query, 20, group=True), fresh.ask(query, 20, group=True)
                assert [(hit.item.digest, hit.relevance, hit.band) for hit in one.hits] == [
                    (hit.item.digest, hit.relevance, hit.band) for hit in other.hits
                ]
            assert opened.duplicate_groups().threshold == fresh.duplicate_groups().threshold
            assert [one.size for one in opened.clusters().parts] == [
                one.size for one in fresh.clusters().parts
            ]
        rows = opened.vectors([hit.id for hit in opened.search("red", 3)])
        assert rows.shape == (3, 7)
        assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-3)


@pytest.mark.parametrize("other", [Bright(), ColourEncoder("colour, again")])
def test_nothing_of_two_models_is_fused_or_written(tmp_path: Path, other: Encoder) -> None:
    with searchx.create(tmp_path / "shop", encoder=ColourEncoder()) as made:
        made.add(["a", "b"], texts=["red", "blue"], views={"back": ["black", "white"]})
    with Library.open(tmp_path / "shop") as opened:
        fuser = Fuser(opened._catalog, "items", opened.space, None, centred=True)
        outgoing = Outgoing(opened, "text")
        assert len(outgoing.schema)
        assert migrate(tmp_path / "shop", other, settings=INLINE).switched
        with pytest.raises(Busy, match="taken over"):
            fuser.fused(["a"])
        with pytest.raises(Busy, match="taken over"):
            next(outgoing.batches())
        assert opened.fused(["a"]).shape == (1, other.space.dim)
        (batch,) = Outgoing(opened, "text").batches()
        assert batch.schema.field("vector").type.list_size == other.space.dim
