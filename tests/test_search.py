import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import searchx
from indexer.pipeline import index
from searchx.catalog import Catalog, NewFile
from searchx.errors import (
    BadInput,
    Busy,
    LibraryError,
    NoLibrary,
    SpaceMismatch,
    UnreadableImage,
)
from searchx.filters import Is
from searchx.records import Hit, Query
from searchx.refreshing import refresh_snapshots
from searchx.search import Library
from searchx.status import Overview
from tests.colour import COLOURS, ColourEncoder, paint
from tests.shelf import ENCODER, ROOT, add, answer, drop, embed, names
from tests.test_batching import Gated, until
from tests.tiny_model import save_tiny_model


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
    both = library.embed_query(Query(text="red", image=photos / "blue.png"))
    parts = np.stack(
        [*library.embed_query(Query(text="red")), *library.embed_query(Query(text="blue"))]
    )
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


def test_vectors_of_any_length_are_compared_by_their_cosines(
    library: Library, photos: Path
) -> None:
    rows = ENCODER.embed_texts(["red", "a green one", "blue"])
    ids, scores = library.search_batch(rows, k=8)
    found = library.search_batch(rows * np.array([[9.0], [0.01], [1.0]], np.float32), k=8)
    assert np.array_equal(found[0], ids)
    np.testing.assert_allclose(found[1], scores, atol=1e-5)


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
    with pytest.raises(BadInput, match="no length"):
        library.search_batch(np.zeros((1, ENCODER.space.dim), np.float32))


def test_another_encoder_is_refused(catalog: Catalog, photos: Path) -> None:
    other = ColourEncoder("shade")
    with (
        Library.open(catalog.directory, encoder=other) as library,
        pytest.raises(SpaceMismatch, match=r'made by model "colour".*"shade"'),
    ):
        library.search("red")


def test_a_closed_library_says_so(library: Library, photos: Path) -> None:
    assert library.search("red")
    library.close()
    library.close()  # as with files, no matter
    ways: list[Callable[[], object]] = [
        lambda: library.search("red"),
        lambda: library.search(Query(where=Is("ext", "png"))),
        lambda: library.search_batch(["red"]),
        lambda: library.search_batch(ENCODER.embed_texts(["red"])),
        lambda: library.sample(3),
        lambda: library.embed_query(Query("red")),
        lambda: library.explain("red"),
        lambda: library.item(1),
        lambda: library.context(1),
        lambda: library.encoder,
        library.skipped,
        library.check,
        library.overview,
        library.status,
    ]
    for way in ways:
        with pytest.raises(LibraryError, match="was closed here"):
            way()


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
    return float(
        (library.embed_query(Query(image=Path(hit.path))) @ library.embed_query(Query("red")).T)[
            0, 0
        ]
    )


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


def test_a_library_whose_model_was_moved_is_searched_by_its_new_place(tmp_path: Path) -> None:
    directory, folder = tmp_path / "library", tmp_path / "pictures"
    paint_many(folder, range(2))
    searchx.index(directory, folder, save_tiny_model(tmp_path / "old"), "cpu")
    (tmp_path / "old").rename(tmp_path / "new")
    searchx.index(directory, folder, str(tmp_path / "new"), "cpu")
    with searchx.open(directory, device="cpu") as library:
        ids, _ = library.search_batch([Query(image=folder / "1.png")], k=3)
        assert sorted(ids[0].tolist()) == [-1, 1, 2]


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


def test_the_texts_of_a_batch_are_embedded_together(catalog: Catalog, photos: Path) -> None:
    encoder = Gated()
    with Library.open(catalog.directory, encoder=encoder) as library:
        queries: list[str | Query] = [Query(text="red"), "green", Query(text="blue"), "green"]
        rows = library.embed_batch(queries)
        assert encoder.calls == [3]
        assert np.allclose(rows, ENCODER.embed_texts(["red", "green", "blue", "green"]))


def test_batches_that_would_wait_too_long_are_refused(catalog: Catalog, photos: Path) -> None:
    encoder = Gated()
    with (
        Library.open(catalog.directory, encoder=encoder, patience=20) as library,
        ThreadPoolExecutor(20) as threads,
    ):
        encoder.may_go.clear()
        asked = [threads.submit(library.search_batch, ["red"], 1) for _ in range(20)]
        until(lambda: sum(one.done() for one in asked) == 10)
        encoder.may_go.set()
        refused = [one for one in asked if one.exception(20) is not None]
        assert len(refused) == 10
        assert all(isinstance(one.exception(), Busy) for one in refused)
        assert library.search_batch(["red"], 1)[0].shape == (1, 1)
