import json
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchx import vectors
from searchx.errors import BadInput, LibraryFull
from searchx.records import Ids, Kind, Vectors
from searchx.vectors import NO_ID, Found, Halves, Origin, Scan, Snapshot, load, merge, newest
from searchx.vectors.reranking import Refined
from tests.rows import DIM, NONE, clustered, exactly, recall, rows_of, some, unit, worded

INDEXED = 11_400  # vectors; more than are compared one by one
KEPT = 0.97  # recall@10 that is promised
ORIGIN = Origin("a", "s", 1, 0)


def build(
    place: Path,
    ids: Ids,
    matrix: Halves,
    kind: Kind = "image",
    origin: Origin = ORIGIN,
    index_from: int | None = None,
) -> Snapshot:
    queries = {"text": worded(100, seed=90)} if matrix.shape[1] == DIM else None
    return vectors.build(place, rows_of(ids, matrix), kind, origin, index_from, queries)


def ids_of(count: int) -> Ids:
    return np.arange(count, dtype=np.int64) * 3 + 1


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """Build a real snapshot with an index, small enough for a test."""
    matrix = clustered(INDEXED).astype(np.float16)
    origin = Origin("a", "colour-1", 5, 6)
    place = tmp_path_factory.mktemp("indexed")
    snapshot = build(place, ids_of(INDEXED), matrix, "image", origin, 256)
    assert snapshot.manifest.factory.startswith("IVF")
    assert snapshot.plan(worded(1), 10).way == "index"
    return snapshot


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """Build one with all the files that there are, for what is done to files."""
    matrix = clustered(300).astype(np.float16)
    return build(tmp_path_factory.mktemp("small"), ids_of(300), matrix, index_from=256)


@pytest.mark.parametrize("count", [1, 2, 300])
def test_every_vector_finds_itself(tmp_path: Path, count: int) -> None:
    ids, matrix = some(count)
    snapshot = build(tmp_path, ids, matrix)
    found, scores = snapshot.search(matrix.astype(np.float32), 1)
    assert found[:, 0].tolist() == ids.tolist()
    assert np.allclose(scores, 1, atol=2e-3)  # float16 keeps 11 bits


def test_every_vector_finds_itself_through_the_index(indexed: Snapshot) -> None:
    rows = np.arange(0, INDEXED, 10)
    found, scores = indexed.search(indexed.matrix[rows].astype(np.float32), 1)
    assert (found[:, 0] == indexed.ids[rows]).mean() >= 0.99
    assert np.allclose(scores[:, 0], 1, atol=2e-2)


def test_the_index_finds_what_an_exact_search_finds(indexed: Snapshot) -> None:
    queries = worded(200, seed=1)
    found, scores = indexed.search(queries, 10)
    expected, best = indexed.scan.search(queries, 10)
    assert recall(found, expected) >= KEPT
    agreed = found == expected
    assert np.array_equal(scores[agreed], best[agreed])  # exact cosines, no estimates


@pytest.mark.parametrize("k", [1, 10, 300, INDEXED, INDEXED + 5])
@pytest.mark.parametrize("gone", [0, 1, 1500, INDEXED - 3, INDEXED])
def test_the_index_gives_all_that_there_is_and_nothing_excluded(
    indexed: Snapshot, k: int, gone: int
) -> None:
    excluded = np.random.default_rng(gone).permutation(indexed.ids)[:gone]
    twice = np.concatenate([excluded, excluded[:2], [9_999_999]])
    found, scores = indexed.search(worded(2, seed=3), k, indexed.select(twice))
    assert found.shape == scores.shape == (2, k)
    for row, row_scores in zip(found, scores, strict=True):
        real = row[row != NO_ID]
        assert len(real) == len(set(real.tolist())) == min(k, INDEXED - gone)
        assert not np.isin(real, excluded).any()
        assert (np.diff(row_scores[: len(real)]) <= 0).all()
        assert np.isneginf(row_scores[len(real) :]).all()


def chosen_by(snapshot: Snapshot, share: float, relation: str, towards: Vectors) -> Ids:
    """Choose a share of the rows: the nearest to a direction, the farthest from it, or any."""
    order = np.argsort(-(snapshot.matrix.astype(np.float32) @ towards))
    if relation == "uncorrelated":
        order = np.random.default_rng(4).permutation(len(order))
    elif relation == "anti-correlated":
        order = order[::-1]
    return np.sort(snapshot.ids[order[: max(1, round(share * len(order)))]])


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("relation", ["correlated", "anti-correlated", "uncorrelated"])
def test_filtering_equals_searching_the_subset(
    indexed: Snapshot, share: float, relation: str
) -> None:
    found, expected = [], []
    for number in range(3):
        towards = worded(1, seed=60 + number)
        queries = unit(towards + 0.1 * np.random.default_rng(number).normal(size=(25, DIM)))
        within = chosen_by(indexed, share, relation, towards[0])
        chosen = indexed.select(NONE, within)
        assert chosen is not None
        found.append(indexed.search(queries, 10, chosen))
        subset = indexed.matrix[np.isin(indexed.ids, within)]
        expected.append(Scan(within, subset).search(queries, 10))
        way = indexed.plan(queries[:1], 10, chosen).way
        assert way == ("index within" if share > 0.5 else "exact within")
    one, other = np.concatenate([a for a, _ in found]), np.concatenate([a for a, _ in expected])
    if share <= 0.5:
        assert np.array_equal(one, other)
        assert all(np.array_equal(a[1], b[1]) for a, b in zip(found, expected, strict=True))
    assert recall(one, other) >= KEPT


def test_snapshot_and_tail_find_what_a_fresh_snapshot_finds(
    indexed: Snapshot, tmp_path: Path
) -> None:
    tail = clustered(800, seed=2).astype(np.float16)
    tail_ids = 3 * INDEXED + 1 + np.arange(800)
    fresh = build(
        tmp_path,
        np.concatenate([indexed.ids, tail_ids]),
        np.concatenate([indexed.matrix, tail]),
        index_from=256,
    )
    queries = worded(200, seed=4)
    together = merge(indexed.search(queries, 10), Scan(tail_ids, tail).search(queries, 10), 10)
    truth = fresh.scan.search(queries, 10)[0]
    assert recall(together[0], truth) >= KEPT
    assert recall(fresh.search(queries, 10)[0], truth) >= KEPT
    assert recall(together[0], fresh.search(queries, 10)[0]) >= KEPT


def test_searches_at_once_equal_searches_one_by_one(indexed: Snapshot) -> None:
    queries = worded(64, seed=5)
    excluded = [indexed.select(indexed.ids[: 40 * one]) for one in range(3)]
    asked = [(queries[[at]], 1 + at % 20, excluded[at % 3]) for at in range(64)]
    alone = [indexed.search(*one) for one in asked]
    again = load(indexed.directory)  # what is made by the first search is made by eight
    barrier = threading.Barrier(8)

    def many(_: int) -> list[Found]:
        barrier.wait()
        return [again.search(*one) for one in asked]

    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(many, range(8)):
            for (ids, scores), (expected, best) in zip(found, alone, strict=True):
                assert np.array_equal(ids, expected)
                assert np.array_equal(scores, best)


def test_a_large_batch_is_answered_like_its_parts(indexed: Snapshot) -> None:
    queries = worded(600, seed=6)  # more than one block
    whole, scores = indexed.search(queries, 10)
    parts = [indexed.search(queries[at : at + 50], 10) for at in range(0, 600, 50)]
    assert np.array_equal(whole, np.concatenate([one[0] for one in parts]))
    assert np.array_equal(scores, np.concatenate([one[1] for one in parts]))


@pytest.mark.parametrize("gone", [0, 7])  # which index is asked depends on it
def test_many_queries_get_what_each_gets_alone_also_where_rows_are_equal(
    tmp_path: Path, gone: int
) -> None:
    matrix = clustered(INDEXED).astype(np.float16)
    matrix[100:140] = matrix[3]  # more than are asked for, and all as near
    snapshot = build(tmp_path, ids_of(INDEXED), matrix, index_from=256)
    assert snapshot.plan(worded(1), 10).way == "index"
    chosen = snapshot.select(snapshot.ids[200 : 200 + gone])
    queries = unit(matrix[:64].astype(np.float32))
    together = snapshot.search(queries, 10, chosen)
    assert snapshot.made is not None
    index: Any = snapshot.made.index
    assert index.thisown  # FAISS is to free it when the snapshot goes
    alone = [snapshot.search(one[None], 10, chosen) for one in queries]
    assert np.array_equal(together[0], np.concatenate([ids for ids, _ in alone]))
    assert np.array_equal(together[1], np.concatenate([scores for _, scores in alone]))


def test_an_index_of_other_rows_is_not_taken_for_one_of_these(tmp_path: Path) -> None:
    matrix = clustered(INDEXED).astype(np.float16)
    snapshot = build(tmp_path, ids_of(INDEXED), matrix, index_from=256)
    made = snapshot.made
    assert made is not None
    held = made.ids()
    assert Refined(made.index, snapshot.matrix, snapshot.ids, lambda: held).is_whole
    mixed = np.append(snapshot.ids[:-1], snapshot.ids[-1] + 1)
    assert not Refined(made.index, snapshot.matrix, mixed, lambda: held).is_whole
    assert not Refined(made.index, snapshot.matrix, 9 * snapshot.ids, lambda: 9 * held).is_whole
    assert not Refined(made.index, snapshot.matrix, snapshot.ids[1:], lambda: held).is_whole


def test_the_order_of_building_does_not_matter(tmp_path: Path) -> None:
    ids, matrix = some(50)
    mixed = np.random.default_rng(1).permutation(50)
    one = build(tmp_path / "a", ids, matrix)
    other = build(tmp_path / "b", ids[mixed], matrix[mixed])
    assert np.array_equal(one.ids, other.ids)
    assert np.array_equal(one.matrix, other.matrix)


def test_a_snapshot_is_read_back_as_it_was_built(indexed: Snapshot) -> None:
    again = load(indexed.directory)
    assert again.manifest == indexed.manifest
    assert again.manifest.origin == Origin("a", "colour-1", 5, 6)
    queries = worded(5, seed=9)
    assert np.array_equal(again.search(queries, 7)[0], indexed.search(queries, 7)[0])


def test_the_manifest_tells_what_was_measured(indexed: Snapshot) -> None:
    manifest = indexed.manifest
    assert manifest.recall["text"] >= KEPT
    assert manifest.trained is not None
    assert manifest.trained.count == INDEXED
    assert {(one.nprobe, one.depth) for one in manifest.curve} >= {
        (one.nprobe, one.depth) for one in manifest.efforts.values()
    }


def test_a_new_snapshot_takes_the_place_of_the_old(tmp_path: Path) -> None:
    ids, matrix = some(20)
    first = build(tmp_path, ids[:10], matrix[:10])
    text = build(tmp_path, ids[:5], matrix[:5], "text")
    queries = matrix[:2].astype(np.float32)
    before = first.search(queries, 3)
    (tmp_path / ".image-00000009.77.new").mkdir()  # of a run that was killed
    (tmp_path / "image-notes").mkdir()  # of somebody else
    second = build(tmp_path, ids, matrix, "image", Origin("a", "s", 2, 0))
    assert newest(tmp_path, "image") == second.directory != first.directory
    assert newest(tmp_path, "text") == text.directory
    names = {one.name for one in tmp_path.iterdir()}
    assert names == {second.directory.name, text.directory.name, "image-notes"}
    after = first.search(queries, 3)  # who still reads the old one goes on
    assert np.array_equal(before[0], after[0])


def grown(place: Path, counts: list[int], **changes: str) -> list[Snapshot]:
    """Build again and again, each time with more rows."""
    matrix = clustered(max(counts)).astype(np.float16)
    built = []
    for turn, count in enumerate(counts):
        origin = Origin(changes.get("library", "a") if turn else "a", "s", turn + 1, 0)
        built.append(build(place, ids_of(count), matrix[:count], "image", origin, 256))
    return built


def finds_itself(snapshot: Snapshot, rows: slice) -> float:
    """Give the share of rows that the index finds by their own vectors, whatever the plan is."""
    made = snapshot.made
    assert made is not None
    effort = vectors.Effort(made.list_count, 64)
    near = made.candidates(snapshot.matrix[rows].astype(np.float32), effort, None)
    return float((near == snapshot.ids[rows][:, None]).any(axis=1).mean())


def test_more_vectors_join_without_training(tmp_path: Path) -> None:
    first, second = grown(tmp_path, [1_000, 1_200])
    assert second.manifest.trained == first.manifest.trained
    assert second.manifest.count == 1_200
    assert finds_itself(second, slice(1_000, 1_200)) >= 0.98
    assert finds_itself(second, slice(0, 1_000)) >= 0.98


def test_an_outgrown_index_is_trained_again(tmp_path: Path) -> None:
    first, second = grown(tmp_path, [260, 1_100])
    assert first.manifest.trained != second.manifest.trained
    assert second.manifest.trained is not None
    assert second.manifest.trained.count == 1_100


def test_the_index_of_another_library_is_not_taken_over(tmp_path: Path) -> None:
    first, second = grown(tmp_path, [400, 500], library="b")
    assert second.manifest.trained != first.manifest.trained


def test_an_index_of_later_numbers_is_not_taken_over(tmp_path: Path) -> None:
    """A library restored from a backup gives the same ids to other items."""
    later = clustered(1_000).astype(np.float16)
    now = np.concatenate([later[:950], clustered(50, seed=5).astype(np.float16)])
    for count, rows in ((1_000, later), (950, later), (1_000, now)):
        origin = Origin("a", "s", count, 0)
        snapshot = build(tmp_path, ids_of(count), rows[:count], "image", origin, 256)
    assert finds_itself(snapshot, slice(950, 1_000)) >= 0.98


def test_a_library_that_drifted_is_trained_again(tmp_path: Path) -> None:
    (first,) = grown(tmp_path, [400])
    others = unit(np.random.default_rng(5).normal(size=(400, DIM))).astype(np.float16)
    ids = np.concatenate([first.ids, ids_of(800)[400:]])
    second = build(tmp_path, ids, np.concatenate([first.matrix, others]), index_from=256)
    assert second.manifest.trained != first.manifest.trained


@pytest.mark.parametrize("gone", [0.05, 0.4])
def test_what_was_removed_is_never_found_again(tmp_path: Path, gone: float) -> None:
    """Once they stay in the index as dead ones, once its lists are filled anew."""
    (first,) = grown(tmp_path, [3_000])
    kept = np.random.default_rng(1).random(3_000) >= gone
    fresh = clustered(500, seed=8).astype(np.float16)
    ids = np.concatenate([first.ids[kept], ids_of(3_500)[3_000:]])
    second = build(tmp_path, ids, np.concatenate([first.matrix[kept], fresh]), "image", ORIGIN, 256)
    assert second.manifest.trained == first.manifest.trained
    assert second.made is not None
    assert bool(np.isin(first.ids[~kept], second.made.ids()).any()) == (gone < 0.1)
    removed = first.matrix[~kept][:100].astype(np.float32)
    found, _ = second.search(removed, 20)
    assert np.isin(found, ids).all()
    assert finds_itself(second, slice(-500, None)) >= 0.98
    assert recall(found, second.scan.search(removed, 20)[0]) >= KEPT


def test_an_index_that_is_damaged_is_not_taken_over(tmp_path: Path) -> None:
    (first,) = grown(tmp_path, [600])
    held = bytearray((first.directory / "index.faiss").read_bytes())
    held[len(held) // 2] ^= 1
    (first.directory / "index.faiss").write_bytes(held)
    second = build(tmp_path, first.ids, np.array(first.matrix), index_from=256)
    assert vectors.damaged(second.directory) == []
    assert finds_itself(second, slice(None)) >= 0.98


def test_an_empty_snapshot_finds_nothing(tmp_path: Path) -> None:
    snapshot = build(tmp_path, NONE, np.empty((0, 8), np.float16))
    found, scores = snapshot.search(np.ones((2, 8), np.float32), 3)
    assert found.tolist() == [[-1] * 3] * 2
    assert np.isneginf(scores).all()
    assert newest(tmp_path, "text") is None
    chosen = snapshot.select(NONE, ids_of(4))
    assert snapshot.search(np.ones((2, 8), np.float32), 3, chosen)[0].tolist() == [[-1] * 3] * 2


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 30), st.sets(st.integers(0, 300)), st.sets(st.integers(0, 300)))
def test_a_small_snapshot_finds_the_obvious_answer_among_what_is_chosen(
    tmp_path_factory: pytest.TempPathFactory, count: int, excluded: set[int], within: set[int]
) -> None:
    ids, matrix = some(count)
    snapshot = build(tmp_path_factory.mktemp("small"), ids, matrix)
    gone, among = (np.array(sorted(one), np.int64) for one in (excluded, within))
    queries = unit(np.random.default_rng(1).normal(size=(2, 8)))
    found, _ = snapshot.search(queries, 5, snapshot.select(gone, among))
    others = np.concatenate([gone, np.setdiff1d(ids, among)])
    assert np.array_equal(found, exactly(ids, matrix, queries, 5, others)[0])


FILES = ["ids.npy", "matrix.npy", "manifest.json", "index.faiss", "lists.npy"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["missing", "empty", "half", "noise"])
def test_a_snapshot_that_is_not_whole_does_not_load(
    small: Snapshot, tmp_path: Path, name: str, damage: str
) -> None:
    place = shutil.copytree(small.directory, tmp_path / "image-00000001")
    whole = (place / name).read_bytes()
    (place / name).unlink()
    if damage != "missing":
        noise = np.random.default_rng(0).bytes(len(whole))
        left = {"empty": b"", "half": whole[: len(whole) // 2], "noise": noise}
        (place / name).write_bytes(left[damage])
    with pytest.raises(vectors.UNREADABLE):
        load(place)


@pytest.mark.parametrize("change", [{"count": 299}, {"dim": DIM - 1}, {"trained": None}])
def test_a_snapshot_of_another_shape_does_not_load(
    small: Snapshot, tmp_path: Path, change: dict[str, object]
) -> None:
    place = shutil.copytree(small.directory, tmp_path / "image-00000001")
    manifest = json.loads((place / "manifest.json").read_text())
    (place / "manifest.json").write_text(json.dumps(manifest | change))
    with pytest.raises(ValueError, match=r"holds|older searchx"):
        load(place)


@pytest.mark.parametrize("shape", [(2, 9), (2, 7), (8,), (1, 2, 8)])
def test_queries_of_another_width_are_refused_with_both_numbers(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    snapshot = build(tmp_path, *some(3))
    with pytest.raises(BadInput, match=r"shape \(.*needs \(n, 8\)") as caught:
        snapshot.search(np.zeros(shape, np.float32), 3)
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_queries_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    snapshot = build(tmp_path, *some(3))
    with pytest.raises(BadInput, match="not a finite number"):
        snapshot.search(np.full((1, 8), value, np.float32), 3)


@pytest.mark.parametrize("k", [1, 5])
def test_no_question_gets_no_answer(indexed: Snapshot, tmp_path: Path, k: int) -> None:
    exact = build(tmp_path, *some(20))
    answers = [exact.search(np.empty((0, 8), np.float32), k), indexed.search(worded(0), k)]
    answers.append(merge(answers[0], answers[1], k))
    assert [(ids.shape, scores.shape) for ids, scores in answers] == [((0, k), (0, k))] * 3


FILL = """
import resource, sys
from pathlib import Path
import faiss
from searchx.errors import LibraryFull
from tests.test_snapshots import build, some
found = some(int(sys.argv[3]))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    build(Path(sys.argv[1]), *found, index_from=256 if sys.argv[4] == "index" else None)
except LibraryFull as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("limit", "count", "kind"),
    [("4096", "1000", "exact"), ("12288", "1000", "exact"), ("5200", "300", "index")],
    ids=["at the ids", "in the vectors", "in the index"],
)
def test_a_full_disk_is_named_and_keeps_the_old(
    tmp_path: Path, limit: str, count: str, kind: str
) -> None:
    """A limit on the size of files answers like a full disk; 8000 bytes of ids, 16000 of vectors.

    The second limit stops NumPy in the middle of the vectors: its error has no number. The third
    one lets the 4928 bytes of vectors pass, and stops FAISS.
    """
    pytest.importorskip("resource", reason="only POSIX limits the size of files")
    old = build(tmp_path, *some(3))
    arguments = [sys.executable, "-c", FILL, str(tmp_path), limit, count, kind]
    run = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert f"{tmp_path} cannot be written (" in run.stdout
    assert "(None)" not in run.stdout
    assert [one.name for one in tmp_path.iterdir()] == [old.directory.name]


def test_a_snapshot_that_cannot_be_removed_is_named(tmp_path: Path) -> None:
    with pytest.raises(LibraryFull, match=r"cannot be removed .* remove it by hand") as caught:
        vectors.drop(tmp_path / "image-00000001")
    assert "\n" not in str(caught.value)


def test_a_place_that_cannot_be_written_is_named_and_keeps_the_old(tmp_path: Path) -> None:
    (tmp_path / "snapshots").write_text("in the way")
    with pytest.raises(LibraryFull, match="the items are safe") as caught:
        build(tmp_path / "snapshots", *some(3))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["ids.npy", "matrix.npy", "index.faiss", "lists.npy"])
def test_every_file_of_a_snapshot_has_its_digest(
    small: Snapshot, tmp_path: Path, name: str
) -> None:
    place = shutil.copytree(small.directory, tmp_path / "image-00000001")
    assert {*load(place).manifest.digests, "manifest.json"} == set(FILES)
    assert vectors.damaged(place) == []
    held = bytearray((place / name).read_bytes())
    held[-1] ^= 1  # one bit; it may well load
    (place / name).write_bytes(held)
    assert vectors.damaged(place) == [name]
    (place / name).unlink()
    assert vectors.damaged(place) == [name]


@pytest.mark.parametrize("change", [{"count": 2}, {"digests": {}}, {"kind": "text"}])
def test_the_manifest_is_sealed(tmp_path: Path, change: dict[str, object]) -> None:
    place = build(tmp_path, *some(3)).directory
    manifest = json.loads((place / "manifest.json").read_text())
    (place / "manifest.json").write_text(json.dumps(manifest | change))
    assert vectors.damaged(place) == ["manifest.json"]


@pytest.mark.parametrize(
    "held", ["", "[]", "{}", "null", '{"origin": 3}', "\0", '{"kind": "image"']
)
def test_a_manifest_that_cannot_be_read_is_damage(tmp_path: Path, held: str) -> None:
    place = build(tmp_path, *some(3)).directory
    (place / "manifest.json").write_text(held)
    assert vectors.damaged(place) == ["manifest.json"]


@pytest.mark.parametrize("field", ["digests", "origin", "curve", "efforts", "trained"])
@pytest.mark.parametrize("value", ["3", '["ids.npy"]', '"x"'])
def test_what_is_of_another_type_is_damage(tmp_path: Path, field: str, value: str) -> None:
    place = build(tmp_path, *some(3)).directory
    manifest = json.loads((place / "manifest.json").read_text())
    (place / "manifest.json").write_text(json.dumps(manifest | {field: json.loads(value)}))
    assert vectors.damaged(place) == ["manifest.json"]


def test_a_snapshot_without_digests_is_not_damaged(tmp_path: Path) -> None:
    """The first version wrote none."""
    place = build(tmp_path, *some(3)).directory
    manifest = json.loads((place / "manifest.json").read_text())
    del manifest["digests"], manifest["seal"]
    (place / "manifest.json").write_text(json.dumps(manifest))
    assert vectors.damaged(place) == []
    assert load(place).manifest.digests == {}
