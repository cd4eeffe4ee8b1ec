import json
import shutil
import subprocess
import sys
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchx import vectors
from searchx.errors import BadInput, LibraryFull
from searchx.records import Ids, Kind, Vectors
from searchx.vectors import (
    Found,
    Halves,
    Origin,
    Snapshot,
    load,
    merge,
    newest,
    search_exactly,
)
from tests.rows import rows_of

NONE = np.empty(0, np.int64)
INDEXED = 4000  # vectors of the small IVF-PQ index below
DIM = 32


def build(
    place: Path,
    ids: Ids,
    matrix: Halves,
    kind: Kind,
    origin: Origin,
    exact_below: int = vectors.EXACT_BELOW,
) -> Snapshot:
    return vectors.build(place, rows_of(ids, matrix), kind, origin, exact_below)


def unit(rows: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> Vectors:
    unit_rows: Vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit_rows


def clustered(count: int, seed: int = 0) -> Vectors:
    """Make unit rows in clusters of about forty, as real embeddings are: not evenly spread."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(size=(count // 40 + 1, DIM))
    own = centres[random.integers(len(centres), size=count)]
    return unit(own + 0.4 * random.normal(size=(count, DIM)))


def some(count: int, dim: int = 8, seed: int = 0) -> tuple[Ids, Halves]:
    random = np.random.default_rng(seed)
    ids = np.sort(random.choice(10 * count + 1, count, replace=False)).astype(np.int64)
    return ids, unit(random.normal(size=(count, dim))).astype(np.float16)


def exactly(ids: Ids, matrix: Halves, queries: Vectors, k: int, excluded: Ids = NONE) -> Found:
    """Answer in the obvious way: sort all scores, best first, ties by id."""
    kept = ~np.isin(ids, excluded)
    scores = queries @ matrix[kept].astype(np.float32).T  # (q, n)
    rows = [sorted(zip(-row, ids[kept], strict=True))[:k] for row in scores]
    missing = [(np.inf, -1)] * k
    padded = [(row + missing)[:k] for row in rows]
    found = np.array([[one for _, one in row] for row in padded], np.int64).reshape(-1, k)
    best = np.array([[-score for score, _ in row] for row in padded], np.float32).reshape(-1, k)
    return found, best


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """Build a real IVF-PQ snapshot, small enough for a test."""
    matrix = clustered(INDEXED).astype(np.float16)
    ids = np.arange(INDEXED, dtype=np.int64) * 3 + 1
    place = tmp_path_factory.mktemp("indexed")
    snapshot = build(place, ids, matrix, "image", Origin("a", "colour-1", 5, 6), exact_below=256)
    assert snapshot.manifest.factory.startswith("IVF")
    return snapshot


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 60), st.integers(1, 12), st.integers(0, 70), st.integers(0, 9))
def test_the_exact_search_is_the_obvious_one(count: int, k: int, gone: int, seed: int) -> None:
    ids, matrix = some(count, seed=seed)
    queries = unit(np.random.default_rng(seed + 50).normal(size=(3, 8)))
    excluded = np.random.default_rng(seed).choice(10 * count + 1, min(gone, count)).astype(np.int64)
    found, scores = search_exactly(ids, matrix, queries, k, excluded)
    expected, best = exactly(ids, matrix, queries, k, excluded)
    assert np.array_equal(found, expected)
    assert np.allclose(scores, best, atol=1e-6)
    assert found.shape == scores.shape == (3, k)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), max_size=40),
    st.integers(1, 10),
    st.integers(0, 40),
)
def test_ties_go_to_the_lower_id_wherever_the_cut_is(scores: list[float], k: int, cut: int) -> None:
    row = np.array([scores], np.float32)
    ids = np.random.default_rng(len(scores)).permutation(len(scores)).astype(np.int64)[None, :]
    found, best = merge((ids[:, :cut], row[:, :cut]), (ids[:, cut:], row[:, cut:]), k)
    expected = sorted(zip(-row[0], ids[0], strict=True))[:k]
    assert found[0].tolist() == [one for _, one in expected]
    assert best[0].tolist() == [-score for score, _ in expected]


def test_the_scan_goes_on_past_its_first_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "_SCAN_ROWS", 7)
    ids, matrix = some(100)
    queries = matrix[[3, 50, 99]].astype(np.float32)
    found, scores = search_exactly(ids, matrix, queries, 20, ids[:4])
    expected, best = exactly(ids, matrix, queries, 20, ids[:4])
    assert np.array_equal(found, expected)
    assert np.allclose(scores, best, atol=1e-6)


def test_a_large_batch_is_answered_like_its_parts() -> None:
    ids, matrix = some(40)
    queries = np.tile(matrix.astype(np.float32), (30, 1))  # (1200, dim): more than one block
    found, scores = search_exactly(ids, matrix, queries, 3, NONE)
    once, best = search_exactly(ids, matrix, queries[:40], 3, NONE)
    assert np.array_equal(found, np.tile(once, (30, 1)))
    assert np.allclose(scores, np.tile(best, (30, 1)), atol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 300])
def test_every_vector_finds_itself(tmp_path: Path, count: int) -> None:
    ids, matrix = some(count)
    snapshot = build(tmp_path, ids, matrix, "image", Origin("a", "s", 1, 0))
    found, scores = snapshot.search(matrix.astype(np.float32), 1, NONE)
    assert found[:, 0].tolist() == ids.tolist()
    assert np.allclose(scores, 1, atol=2e-3)  # float16 keeps 11 bits


def test_every_vector_finds_itself_through_the_index(indexed: Snapshot) -> None:
    rows = np.arange(0, INDEXED, 10)
    found, scores = indexed.search(indexed.matrix[rows].astype(np.float32), 1, NONE)
    assert (found[:, 0] == indexed.ids[rows]).mean() >= 0.99
    assert np.allclose(scores, 1, atol=2e-2)


def test_the_index_finds_what_an_exact_search_finds(indexed: Snapshot) -> None:
    queries = clustered(200, seed=1)
    found, scores = indexed.search(queries, 10, NONE)
    expected, best = search_exactly(indexed.ids, indexed.matrix, queries, 10, NONE)
    pairs = zip(found.tolist(), expected.tolist(), strict=True)
    same = [len(set(one) & set(other)) / 10 for one, other in pairs]
    assert np.mean(same) >= 0.95
    agreed = found == expected
    assert np.allclose(scores[agreed], best[agreed], atol=1e-6)  # exact cosines, no estimates


@pytest.mark.parametrize("k", [1, 10, 300, INDEXED, INDEXED + 5])
@pytest.mark.parametrize("gone", [0, 1, INDEXED - 3, INDEXED])
def test_the_index_gives_all_that_there_is_and_nothing_excluded(
    indexed: Snapshot, k: int, gone: int
) -> None:
    excluded = np.random.default_rng(gone).permutation(indexed.ids)[:gone]
    twice = np.concatenate([excluded, excluded[:2], [9_999_999]])
    found, scores = indexed.search(clustered(2, seed=3), k, twice)
    assert found.shape == scores.shape == (2, k)
    for row, row_scores in zip(found, scores, strict=True):
        real = row[row != -1]
        assert len(real) == len(set(real.tolist())) == min(k, INDEXED - gone)
        assert not np.isin(real, excluded).any()
        assert (np.diff(row_scores[: len(real)]) <= 0).all()
        assert np.isneginf(row_scores[len(real) :]).all()


def test_searches_at_once_equal_searches_one_by_one(indexed: Snapshot) -> None:
    queries = clustered(64, seed=5)
    asked = [(queries[[at]], 1 + at % 20, indexed.ids[: 40 * (at % 3)]) for at in range(64)]
    alone = [indexed.search(*one) for one in asked]
    barrier = threading.Barrier(8)

    def many(_: int) -> list[Found]:
        barrier.wait()
        return [indexed.search(*one) for one in asked]

    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(many, range(8)):
            for (ids, scores), (expected, best) in zip(found, alone, strict=True):
                assert np.array_equal(ids, expected)
                assert np.array_equal(scores, best)


def test_the_order_of_building_does_not_matter(tmp_path: Path) -> None:
    ids, matrix = some(50)
    mixed = np.random.default_rng(1).permutation(50)
    one = build(tmp_path / "a", ids, matrix, "image", Origin("a", "s", 1, 0))
    other = build(tmp_path / "b", ids[mixed], matrix[mixed], "image", Origin("a", "s", 1, 0))
    assert np.array_equal(one.ids, other.ids)
    assert np.array_equal(one.matrix, other.matrix)


def test_a_snapshot_is_read_back_as_it_was_built(indexed: Snapshot) -> None:
    again = load(indexed.directory)
    assert again.manifest == indexed.manifest
    assert again.manifest.origin == Origin("a", "colour-1", 5, 6)
    queries = clustered(5, seed=9)
    assert np.array_equal(again.search(queries, 7, NONE)[0], indexed.search(queries, 7, NONE)[0])


def test_a_new_snapshot_takes_the_place_of_the_old(tmp_path: Path) -> None:
    ids, matrix = some(20)
    first = build(tmp_path, ids[:10], matrix[:10], "image", Origin("a", "s", 1, 0))
    text = build(tmp_path, ids[:5], matrix[:5], "text", Origin("a", "s", 1, 0))
    queries = matrix[:2].astype(np.float32)
    before = first.search(queries, 3, NONE)
    (tmp_path / ".image-00000009.77.new").mkdir()  # of a run that was killed
    (tmp_path / "image-notes").mkdir()  # of somebody else
    second = build(tmp_path, ids, matrix, "image", Origin("a", "s", 2, 0))
    assert newest(tmp_path, "image") == second.directory != first.directory
    assert newest(tmp_path, "text") == text.directory
    names = {one.name for one in tmp_path.iterdir()}
    assert names == {second.directory.name, text.directory.name, "image-notes"}
    after = first.search(queries, 3, NONE)  # who still reads the old one goes on
    assert np.array_equal(before[0], after[0])


def test_an_empty_snapshot_finds_nothing(tmp_path: Path) -> None:
    snapshot = build(tmp_path, NONE, np.empty((0, 8), np.float16), "image", Origin("a", "s", 0, 0))
    found, scores = snapshot.search(np.ones((2, 8), np.float32), 3, NONE)
    assert found.tolist() == [[-1] * 3] * 2
    assert np.isneginf(scores).all()
    assert newest(tmp_path, "text") is None


@pytest.mark.parametrize("name", ["ids.npy", "matrix.npy", "manifest.json", "index.faiss"])
@pytest.mark.parametrize("damage", ["missing", "empty", "half", "noise"])
def test_a_snapshot_that_is_not_whole_does_not_load(
    indexed: Snapshot, tmp_path: Path, name: str, damage: str
) -> None:
    place = shutil.copytree(indexed.directory, tmp_path / "image-00000001")
    whole = (place / name).read_bytes()
    (place / name).unlink()
    if damage != "missing":
        noise = np.random.default_rng(0).bytes(len(whole))
        left = {"empty": b"", "half": whole[: len(whole) // 2], "noise": noise}
        (place / name).write_bytes(left[damage])
    with pytest.raises((OSError, EOFError, ValueError, TypeError)):
        load(place)


def test_a_snapshot_of_another_count_does_not_load(indexed: Snapshot, tmp_path: Path) -> None:
    place = shutil.copytree(indexed.directory, tmp_path / "image-00000001")
    manifest = json.loads((place / "manifest.json").read_text())
    (place / "manifest.json").write_text(json.dumps(manifest | {"count": INDEXED - 1}))
    with pytest.raises(ValueError, match="holds"):
        load(place)


@pytest.mark.parametrize("shape", [(2, 9), (2, 7), (8,), (1, 2, 8)])
def test_queries_of_another_width_are_refused_with_both_numbers(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    snapshot = build(tmp_path, *some(3), "image", Origin("a", "s", 1, 0))
    with pytest.raises(BadInput, match=r"shape \(.*needs \(n, 8\)") as caught:
        snapshot.search(np.zeros(shape, np.float32), 3, NONE)
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_queries_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    snapshot = build(tmp_path, *some(3), "image", Origin("a", "s", 1, 0))
    with pytest.raises(BadInput, match="not a finite number"):
        snapshot.search(np.full((1, 8), value, np.float32), 3, NONE)


def test_what_is_left_out_is_counted_without_sorting_all_ids() -> None:
    ids = np.arange(0, 2_000_000, 2, dtype=np.int64)
    excluded = np.array([7, 8, 8, 1_999_998, 5_000_000, -2], np.int64)
    tracemalloc.start()
    try:
        assert vectors._count_held(ids, NONE) == 0
        assert vectors._count_held(ids, excluded) == len(np.intersect1d([8, 1_999_998], ids))
        tracemalloc.reset_peak()
        vectors._count_held(ids, excluded)
        assert tracemalloc.get_traced_memory()[1] < ids.nbytes / 100
    finally:
        tracemalloc.stop()
    assert vectors._count_held(NONE, excluded) == 0


@pytest.mark.parametrize("k", [1, 5])
def test_no_question_gets_no_answer(indexed: Snapshot, tmp_path: Path, k: int) -> None:
    nothing = np.empty((0, 8), np.float32)
    exact = build(tmp_path, *some(20), "image", Origin("a", "s", 1, 0))
    answers = [exact.search(nothing, k, NONE), indexed.search(clustered(0), k, NONE)]
    answers.append(merge(answers[0], answers[1], k))
    assert [(ids.shape, scores.shape) for ids, scores in answers] == [((0, k), (0, k))] * 3


FILL = """
import resource, sys
from pathlib import Path
from searchx.errors import LibraryFull
from tests.test_vectors import Origin, build, some
found = some(1000)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    build(Path(sys.argv[1]), *found, "image", Origin("a", "s", 1, 0))
except LibraryFull as error:
    print(error)
"""


def test_a_full_disk_is_named_and_keeps_the_old(tmp_path: Path) -> None:
    """A limit on the size of files answers like a full disk; 8000 bytes of ids, 16000 of vectors.

    The second limit stops NumPy in the middle of the vectors: its error has no number.
    """
    pytest.importorskip("resource", reason="only POSIX limits the size of files")
    old = build(tmp_path, *some(3), "image", Origin("a", "s", 1, 0))
    for limit in ("4096", "12288"):
        arguments = [sys.executable, "-c", FILL, str(tmp_path), limit]
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
        build(tmp_path / "snapshots", *some(3), "image", Origin("a", "s", 1, 0))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["ids.npy", "matrix.npy", "index.faiss"])
def test_every_file_of_a_snapshot_has_its_digest(
    indexed: Snapshot, tmp_path: Path, name: str
) -> None:
    place = shutil.copytree(indexed.directory, tmp_path / "image-00000001")
    assert set(load(place).manifest.digests) == {"ids.npy", "matrix.npy", "index.faiss"}
    assert vectors.damaged(place) == []
    held = bytearray((place / name).read_bytes())
    held[-1] ^= 1  # one bit; it may well load
    (place / name).write_bytes(held)
    assert vectors.damaged(place) == [name]
    (place / name).unlink()
    assert vectors.damaged(place) == [name]


@pytest.mark.parametrize(
    "held", ["", "[]", "{}", "null", '{"origin": 3}', "\0", '{"kind": "image"']
)
def test_a_manifest_that_cannot_be_read_is_damage(tmp_path: Path, held: str) -> None:
    place = build(tmp_path, *some(3), "image", Origin("a", "s", 1, 0)).directory
    (place / "manifest.json").write_text(held)
    assert vectors.damaged(place) == ["manifest.json"]


@pytest.mark.parametrize("digests", ["3", '["ids.npy"]', "null"])
def test_digests_that_are_none_are_damage(tmp_path: Path, digests: str) -> None:
    place = build(tmp_path, *some(3), "image", Origin("a", "s", 1, 0)).directory
    manifest = json.loads((place / "manifest.json").read_text())
    (place / "manifest.json").write_text(json.dumps(manifest | {"digests": json.loads(digests)}))
    assert vectors.damaged(place) == ["manifest.json"]


def test_a_snapshot_without_digests_is_not_damaged(tmp_path: Path) -> None:
    """The first version wrote none."""
    place = build(tmp_path, *some(3), "image", Origin("a", "s", 1, 0)).directory
    manifest = json.loads((place / "manifest.json").read_text())
    del manifest["digests"]
    (place / "manifest.json").write_text(json.dumps(manifest))
    assert vectors.damaged(place) == []
    assert load(place).manifest.digests == {}
