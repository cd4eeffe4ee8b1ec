import shutil
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import searchx
from indexer.pipeline import index
from searchx import vectors
from searchx.catalog import Catalog, Content, NewFile, NewItem
from searchx.errors import (
    BadInput,
    LibraryInUse,
    NoLibrary,
    SpaceMismatch,
    UnreadableImage,
)
from searchx.records import Hit, Kind, Query, Vectors
from searchx.search import SNAPSHOTS, Library, Overview, drop_foreign_snapshots, refresh_snapshots
from searchx.vectors import Origin
from tests.colour import COLOURS, ColourEncoder, paint
from tests.rows import rows_of
from tests.tiny_model import save_tiny_model

ROOT = "/photos"
ENCODER = ColourEncoder()


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with closing(fresh(tmp_path / "library")) as opened:
        yield opened


@pytest.fixture
def library(catalog: Catalog) -> Iterator[Library]:
    """Open the library a second time, as a server does beside an indexer."""
    with Library.open(catalog.directory, encoder=ENCODER) as opened:
        yield opened


def fresh(directory: Path) -> Catalog:
    opened = Catalog.open(directory, create=True)
    with opened.writing() as tx:
        tx.claim_space(ENCODER.space)
        tx.add_source(ROOT)
    return opened


def digest(number: int) -> str:
    return f"{number:064x}"


def vector(number: int) -> Vectors:
    row = np.random.default_rng(number).normal(size=(1, 4)).astype(np.float32)
    return row / np.linalg.norm(row).astype(np.float32)


def embed(catalog: Catalog, numbers: Sequence[int], kind: Kind = "image") -> None:
    """Leave vectors without files, as an interrupted run does."""
    with catalog.writing() as tx:
        tx.add_items([NewItem(kind, digest(one), vector(one)[0]) for one in numbers])


def locate(catalog: Catalog, numbers: Sequence[int], kind: Kind = "image") -> None:
    with catalog.writing() as tx:
        for one in numbers:
            contents = [Content(kind, digest(one))]
            tx.set_file(ROOT, NewFile(f"{ROOT}/{kind}/{one}", 1, 1, contents))


def add(catalog: Catalog, numbers: Sequence[int], kind: Kind = "image") -> None:
    embed(catalog, numbers, kind)
    locate(catalog, numbers, kind)


def drop(catalog: Catalog, numbers: Sequence[int], clean: bool = True) -> None:
    with catalog.knowing(ROOT) as known:
        files = known.files(f"{ROOT}/image").ids
    with catalog.writing() as tx:
        tx.drop_files([files[str(one)] for one in numbers if str(one) in files])
        if clean:
            tx.drop_orphans()


def answer(library: Library, number: int = 77, k: int = 10_000) -> list[tuple[int, float]]:
    """Ask with a random vector; gives the numbers of what was found with their scores."""
    ids, scores = library.search_batch(vector(number), k)
    real = [int(one) for one in ids[0] if one >= 0]
    numbers = [int(library.item(one).digest, 16) for one in real]
    return [(one, round(float(score), 4)) for one, score in zip(numbers, scores[0], strict=False)]


def expected(numbers: Sequence[int], number: int = 77) -> list[tuple[int, float]]:
    rows = {one: vector(one).astype(np.float16).astype(np.float32)[0] for one in numbers}
    scores = {one: round(float(row @ vector(number)[0]), 4) for one, row in rows.items()}
    return sorted(scores.items(), key=lambda pair: -pair[1])


def names(hits: Sequence[Hit]) -> list[str]:
    return [Path(hit.path).stem for hit in hits]


@pytest.fixture
def photos(tmp_path: Path, catalog: Catalog) -> Path:
    """Index one picture of each colour, and a text about each."""
    folder = tmp_path / "photos"
    texts = ENCODER.embed_texts(list(COLOURS))
    with catalog.writing() as tx:
        for number, colour in enumerate(COLOURS):
            paint(folder / f"{colour}.png", colour)
            text = f"something {colour}"
            tx.add_items([NewItem("image", digest(number), texts[number], None, 64, 48)])
            tx.add_items([NewItem("text", digest(number), texts[number], text)])
            path = str(folder / f"{colour}.png")
            image, passage = (
                Content("image", digest(number)),
                Content("text", digest(number), "line 1"),
            )
            tx.set_file(ROOT, NewFile(path, 1, 1, [image]))
            tx.set_file(ROOT, NewFile(path + ".txt", 1, 1, [passage]))
    return folder


def test_a_text_finds_pictures_best_first(library: Library, photos: Path) -> None:
    hits = library.search("a red car", k=3)
    assert names(hits)[0] == "red"
    assert hits[0].score == pytest.approx(1, abs=2e-3)
    assert [hit.score for hit in hits] == sorted([hit.score for hit in hits], reverse=True)
    assert {hit.item.kind for hit in hits} == {"image"}
    assert len(library.search("red", k=100)) == len(COLOURS)


def test_a_picture_finds_texts(library: Library, photos: Path) -> None:
    for image in (photos / "blue.png", (photos / "blue.png").read_bytes()):
        hits = library.search(Query(image=image), k=2, to="text")
        assert hits[0].item.text == "something blue"
        assert hits[0].item.locations[0].fragment == "line 1"


def test_more_like_an_item_leaves_the_item_out(library: Library, photos: Path) -> None:
    red = library.search("red", k=1)[0]
    assert library.item(red.id) == red.item
    similar = library.search(Query(like=red.id), k=100)
    assert red.id not in {hit.id for hit in similar}
    assert len(similar) == len(COLOURS) - 1
    assert names(similar)[0] in ("orange", "magenta", "yellow", "pink")


def test_parts_of_a_query_count_alike(library: Library, photos: Path) -> None:
    both = library.embed(Query(text="red", image=photos / "blue.png"))
    parts = np.stack([*library.embed(Query(text="red")), *library.embed(Query(text="blue"))])
    mean = parts.mean(axis=0)
    assert np.allclose(both[0], mean / np.linalg.norm(mean), atol=1e-3)
    assert both.shape == (1, 4)


def test_a_batch_answers_like_single_questions(library: Library, photos: Path) -> None:
    questions = ["red", "green and yellow", "black"]
    ids, scores = library.search_batch(questions, k=4)
    assert ids.shape == scores.shape == (3, 4)
    for row, question in enumerate(questions):
        hits = library.search(question, k=4)
        assert ids[row].tolist() == [hit.id for hit in hits]
        assert np.allclose(scores[row], [hit.score for hit in hits])
    ids, scores = library.search_batch(ENCODER.embed_texts(questions), k=20)
    assert (ids[:, len(COLOURS) :] == -1).all()
    assert np.isneginf(scores[:, len(COLOURS) :]).all()


@pytest.mark.parametrize("query", ["", "   ", Query()])
def test_an_empty_query_is_refused(library: Library, photos: Path, query: str | Query) -> None:
    with pytest.raises(BadInput, match="the query is empty"):
        library.search(query)


def test_what_cannot_be_asked_is_refused_in_one_line(library: Library, photos: Path) -> None:
    with pytest.raises(BadInput, match="there is no item 999"):
        library.search(Query(like=999))
    with pytest.raises(BadInput, match="there is no item 999"):
        library.item(999)
    with pytest.raises(UnreadableImage):
        library.search(Query(image=b"no picture"))
    with pytest.raises(BadInput, match="k is 0"):
        library.search("red", k=0)
    with pytest.raises(BadInput, match='kind "video"'):
        library.search("red", to="video")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=r"shape \(1, 5\).*\(n, 4\)"):
        library.search_batch(np.zeros((1, 5), np.float32))


def test_another_encoder_is_refused(catalog: Catalog, photos: Path) -> None:
    other = ColourEncoder("shade")
    with (
        Library.open(catalog.directory, encoder=other) as library,
        pytest.raises(SpaceMismatch, match=r'made by model "colour".*"shade"'),
    ):
        library.search("red")


def test_nothing_indexed_yet_is_said(tmp_path: Path) -> None:
    with pytest.raises(NoLibrary, match='run "searchx index'):
        searchx.open(tmp_path)
    Catalog.open(tmp_path, create=True).close()
    with searchx.open(tmp_path, encoder=ENCODER) as library:
        assert library.status().images == 0
        with pytest.raises(NoLibrary, match="nothing indexed yet"):
            library.check()
        with pytest.raises(NoLibrary, match="nothing indexed yet"):
            library.search("red")


def test_a_library_that_lost_all_its_items_finds_nothing(
    catalog: Catalog, library: Library
) -> None:
    add(catalog, range(5))
    refresh_snapshots(catalog)
    drop(catalog, range(5))
    assert answer(library) == []
    refresh_snapshots(catalog)
    assert answer(library) == []
    assert library.search("red") == []


def test_status_counts_what_is_there(catalog: Catalog, library: Library, photos: Path) -> None:
    embed(catalog, [1000])
    with catalog.writing() as tx:
        tx.set_file(ROOT, NewFile("/photos/broken", 1, 1, reason="not an image"))
    refresh_snapshots(catalog)
    library.check()
    status = library.status()
    assert (status.images, status.texts, status.files) == (10, 10, 20)
    assert status.space == ENCODER.space
    assert status.sources == (ROOT,)
    assert [one.reason for one in status.skipped] == ["not an image"]
    files = [one for one in library.directory.rglob("*") if one.is_file()]
    assert status.bytes == sum(one.stat().st_size for one in files)
    assert status.as_dict()["model"] == "colour"


def test_what_another_process_adds_and_removes_is_seen_at_once(
    catalog: Catalog, library: Library
) -> None:
    add(catalog, range(30))
    assert answer(library) == expected(range(30))
    refresh_snapshots(catalog)
    assert answer(library) == expected(range(30))
    add(catalog, [30])
    assert answer(library) == expected(range(31))
    drop(catalog, [3, 30])
    left = [one for one in range(30) if one != 3]
    assert answer(library) == expected(left)
    refresh_snapshots(catalog)
    assert answer(library) == expected(left)


def test_a_vector_without_a_file_costs_no_hit_its_place(catalog: Catalog, library: Library) -> None:
    nearest = [one for one, _ in expected(range(100))]
    embed(catalog, nearest[:50])  # the run was interrupted before it wrote their files down
    add(catalog, nearest[50:80])
    for _ in range(2):
        assert answer(library, k=5) == expected(nearest[50:80])[:5]
        hits = library.search(Query(like=1 + 50), k=29)
        assert len(hits) == 29
        refresh_snapshots(catalog)
    locate(catalog, nearest[:50])  # the next run finds their vectors and embeds nothing
    for _ in range(2):
        assert answer(library) == expected(nearest[:80])
        refresh_snapshots(catalog)
    drop(catalog, nearest[:10], clean=False)  # between a move and the end of a run
    for _ in range(2):
        assert answer(library, k=5) == expected(nearest[10:80])[:5]
        assert len(library.search("red", k=70)) == 70
        refresh_snapshots(catalog)


Step = tuple[str, list[int]]
steps = st.lists(
    st.tuples(
        st.sampled_from(["add", "embed", "locate", "drop", "lose", "refresh", "rebuild"]),
        st.lists(st.integers(0, 11), max_size=5, unique=True),
    ),
    max_size=10,
)


@settings(max_examples=40, deadline=None)
@given(steps=steps)
def test_every_history_answers_like_a_fresh_library(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step]
) -> None:
    """Snapshot, tail and what is hidden together are the set of items that files hold."""
    directory = tmp_path_factory.mktemp("library")
    with closing(fresh(directory)) as catalog, Library.open(directory, encoder=ENCODER) as library:
        known: set[int] = set()
        located: set[int] = set()
        for action, numbers in steps:
            if action == "add":
                add(catalog, numbers)
            elif action == "embed":
                embed(catalog, numbers)
            elif action == "locate":
                numbers = [one for one in numbers if one in known]
                locate(catalog, numbers)
            elif action in ("drop", "lose"):
                drop(catalog, numbers, clean=action == "drop")
            elif action == "refresh":
                refresh_snapshots(catalog)
            else:
                shutil.rmtree(directory / SNAPSHOTS, ignore_errors=True)
                refresh_snapshots(catalog)
            known |= set(numbers) if action in ("add", "embed") else set()
            located |= set(numbers) if action in ("add", "locate") else set()
            located -= set(numbers) if action in ("drop", "lose") else set()
            known = set(located) if action == "drop" else known
            assert answer(library) == expected(sorted(located))


def test_adding_and_removing_changes_nothing(catalog: Catalog, library: Library) -> None:
    add(catalog, range(40))
    refresh_snapshots(catalog)
    before = library.search_batch(vector(77), 10)
    add(catalog, range(100, 110))
    assert len(answer(library)) == 50
    drop(catalog, range(100, 110))
    after = library.search_batch(vector(77), 10)
    assert np.array_equal(before[0], after[0])
    assert np.array_equal(before[1], after[1])


def test_a_snapshot_is_built_when_it_has_fallen_behind(catalog: Catalog) -> None:
    place = catalog.directory / SNAPSHOTS
    refresh_snapshots(catalog)
    assert vectors.newest(place, "image") is None  # nothing to hold
    add(catalog, range(100))
    refresh_snapshots(catalog)
    first = vectors.newest(place, "image")
    assert first is not None
    add(catalog, range(100, 105))
    refresh_snapshots(catalog)
    assert vectors.newest(place, "image") == first
    add(catalog, range(105, 115))
    refresh_snapshots(catalog)
    second = vectors.newest(place, "image")
    assert second is not None
    assert second != first
    assert vectors.load(second).manifest.count == 115
    drop(catalog, range(20))
    refresh_snapshots(catalog)
    assert vectors.newest(place, "image") != second


@pytest.mark.parametrize("damage", ["gone", "manifest.json", "ids.npy", "matrix.npy"])
def test_a_broken_snapshot_costs_no_answer(catalog: Catalog, library: Library, damage: str) -> None:
    add(catalog, range(20))
    refresh_snapshots(catalog)
    place = vectors.newest(catalog.directory / SNAPSHOTS, "image")
    assert place is not None
    if damage == "gone":
        shutil.rmtree(catalog.directory / SNAPSHOTS)
    else:
        (place / damage).write_bytes(b"")
    assert answer(library) == expected(range(20))
    refresh_snapshots(catalog)
    mended = vectors.newest(catalog.directory / SNAPSHOTS, "image")
    assert mended is not None
    assert vectors.load(mended).manifest.count == 20
    assert answer(library) == expected(range(20))


def test_a_snapshot_of_another_space_is_not_used(catalog: Catalog, library: Library) -> None:
    add(catalog, range(20))
    ids, matrix, version = catalog.read_vectors("image")
    place = catalog.directory / SNAPSHOTS
    origin = Origin(version.library, "other", version.added, version.removed)
    vectors.build(place, rows_of(ids, matrix[::-1]), "image", origin)
    assert answer(library) == expected(range(20))


def paint_many(folder: Path, numbers: Sequence[int]) -> set[str]:
    """Leave exactly these pictures in a folder, of as many colours; gives their names."""
    shutil.rmtree(folder, ignore_errors=True)
    return {paint(folder / f"{one}.png", (10 * one, 255 - one, one)).stem for one in numbers}


def shown(directory: Path) -> set[str]:
    with Library.open(directory, encoder=ENCODER) as library:
        hits = library.search("red", k=100)
        for hit in hits:
            assert hit.score == pytest.approx(_cosine(library, hit), abs=2e-3)
        return set(names(hits))


def _cosine(library: Library, hit: Hit) -> float:
    """Compare the picture itself with the question, whatever the library holds."""
    return float((library.embed(Query(image=Path(hit.path))) @ library.embed(Query("red")).T)[0, 0])


def test_a_snapshot_of_a_catalog_that_was_moved_away_is_not_used(tmp_path: Path) -> None:
    directory, folder = tmp_path / "library", tmp_path / "pictures"
    paint_many(folder, range(8))
    searchx.index(directory, folder, ENCODER)
    (directory / "catalog.db").rename(tmp_path / "away.db")
    others = paint_many(folder, range(10, 18))
    with closing(Catalog.open(directory, create=True)) as catalog:
        index([folder], catalog, ENCODER)
    assert shown(directory) == others
    searchx.index(directory, folder, ENCODER)
    assert shown(directory) == others


def test_a_snapshot_of_another_catalog_is_refused_by_readers(tmp_path: Path) -> None:
    with closing(fresh(tmp_path / "one")) as one, closing(fresh(tmp_path / "other")) as other:
        add(one, range(20))
        add(other, range(100, 120))
        refresh_snapshots(one)
    shutil.copytree(tmp_path / "one" / SNAPSHOTS, tmp_path / "other" / SNAPSHOTS)
    with Library.open(tmp_path / "other", encoder=ENCODER) as library:
        assert answer(library) == expected(range(100, 120))


def test_a_catalog_that_was_restored_from_a_backup_is_indexed_on(tmp_path: Path) -> None:
    directory, folder, backup = tmp_path / "library", tmp_path / "pictures", tmp_path / "backup.db"
    first = paint_many(folder, range(2))
    searchx.index(directory, folder, ENCODER)
    shutil.copy(directory / "catalog.db", backup)
    paint_many(folder, range(10))
    searchx.index(directory, folder, ENCODER)
    shutil.copy(backup, directory / "catalog.db")
    paint_many(folder, range(2))
    assert shown(directory) == first
    others = paint_many(folder, range(11, 25))
    with closing(Catalog.open(directory)) as catalog:
        index([folder], catalog, ENCODER)
        assert catalog.version().added > 10  # past what the snapshot knew
    assert shown(directory) == others
    searchx.index(directory, folder, ENCODER)
    assert shown(directory) == others


def test_snapshots_that_fit_stay_when_indexing_begins(catalog: Catalog) -> None:
    add(catalog, range(20))
    refresh_snapshots(catalog)
    drop(catalog, [19])  # the item of the newest number
    place = vectors.newest(catalog.directory / SNAPSHOTS, "image")
    drop_foreign_snapshots(catalog)
    assert place == vectors.newest(catalog.directory / SNAPSHOTS, "image") is not None


def test_a_library_whose_model_was_moved_is_searched_by_its_new_place(tmp_path: Path) -> None:
    directory, folder = tmp_path / "library", tmp_path / "pictures"
    paint_many(folder, range(2))
    searchx.index(directory, folder, save_tiny_model(tmp_path / "old"), "cpu")
    (tmp_path / "old").rename(tmp_path / "new")
    searchx.index(directory, folder, str(tmp_path / "new"), "cpu")
    with searchx.open(directory, device="cpu") as library:
        assert len(library.search(Query(image=folder / "1.png"))) == 2


def test_an_overview_follows_the_catalog(catalog: Catalog, library: Library) -> None:
    assert library.overview() == Overview(0, 0, (ROOT,))
    add(catalog, range(3))
    add(catalog, range(2), "text")
    assert library.overview() == library.overview() == Overview(3, 2, (ROOT,))
    drop(catalog, [1])
    assert library.overview() == Overview(2, 2, (ROOT,))


def test_no_questions_get_no_answers(catalog: Catalog, library: Library) -> None:
    for _ in range(3):
        ids, scores = library.search_batch([], k=4)
        assert ids.shape == scores.shape == (0, 4)
        add(catalog, range(3))
        refresh_snapshots(catalog)


def test_snapshots_are_built_by_one_process(catalog: Catalog) -> None:
    add(catalog, range(5))
    with (
        closing(Catalog.open(catalog.directory)) as other,
        other.indexing(),
        pytest.raises(LibraryInUse),
    ):
        refresh_snapshots(catalog)
    with catalog.indexing():
        refresh_snapshots(catalog)  # the indexer itself may, while it holds the library
    assert vectors.newest(catalog.directory / SNAPSHOTS, "image") is not None


def test_questions_at_once_are_answered_as_one_by_one(library: Library, photos: Path) -> None:
    questions = [f"{one} {other}" for one in COLOURS for other in COLOURS]
    alone = [library.search(question, k=4) for question in questions]
    again = Library.open(library.directory, encoder=ENCODER)
    with again, ThreadPoolExecutor(16) as pool:
        assert list(pool.map(lambda question: again.search(question, k=4), questions)) == alone


def test_no_answer_is_short_while_the_library_changes(catalog: Catalog, library: Library) -> None:
    """Sixty items always stay; others come, go and come back beside them."""
    add(catalog, range(60))
    refresh_snapshots(catalog)
    stop = threading.Event()

    def ask() -> int:
        asked = 0
        while not stop.is_set() or not asked:
            hits = library.search("red", k=50)
            assert len(hits) == 50
            assert len({hit.id for hit in hits}) == 50
            asked += 1
        return asked

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        try:
            for turn in range(12):
                add(catalog, range(60, 80))
                if turn % 4 == 1:
                    refresh_snapshots(catalog)
                drop(catalog, range(60, 80), clean=turn % 2 == 0)
        finally:
            stop.set()
        assert min(one.result() for one in asking) >= 1
