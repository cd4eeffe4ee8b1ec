"""The vectors of the benchmark: made from real ones, and the figures that compare them."""

from pathlib import Path

import numpy as np
import pytest

from searchx.records import Vectors
from tests.benchmarks.geometry import (
    HELD,
    Floats,
    Method,
    difference,
    extend,
    interleaved,
    local_dimension,
    nearest,
    read,
    unit,
    write,
)
from tests.benchmarks.peers import autofaiss_key

WIDTH = 16


def pictures(count: int, seed: int = 0) -> Vectors:
    """Make unit rows in forty clusters, beside one direction, as images lie on their side."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(40, WIDTH)) + 2
    rows = centres[random.integers(40, size=count)] + 0.5 * random.normal(size=(count, WIDTH))
    return unit(rows)


def extended(real: Vectors, count: int, seed: int = 0) -> Floats:
    return np.concatenate(list(extend(real, count, Method(), seed))).astype(np.float32)


def test_the_same_arguments_give_the_same_rows() -> None:
    real = pictures(300)
    assert np.array_equal(extended(real, 1000), extended(real, 1000))
    assert not np.array_equal(extended(real, 1000), extended(real, 1000, seed=1))


def test_every_real_row_is_there_once_and_the_others_are_new() -> None:
    real = pictures(300)
    rows = extended(real, 1000)
    halves = {one.tobytes() for one in real.astype(np.float16)}
    kept = [one.tobytes() in halves for one in rows.astype(np.float16)]
    assert sum(kept) == 300
    assert not all(kept[:300]), "the real ones are scattered"
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=2e-3)


def test_fewer_rows_than_there_are_real_ones_are_real_ones() -> None:
    real = pictures(300)
    halves = {one.tobytes() for one in real.astype(np.float16)}
    rows = extended(real, 100).astype(np.float16)
    assert len({one.tobytes() for one in rows} & halves) == 100


def test_extended_rows_lie_as_unseen_ones_do_and_noise_does_not() -> None:
    seen, unseen = pictures(1000), pictures(4000, seed=1)
    rows = extended(seen, 5000)
    noise = unit(np.random.default_rng(0).normal(size=(4000, WIDTH)))

    def off(sample: Floats) -> float:
        return difference(nearest(sample, seen, 1)[0][:, 0], nearest(unseen, seen, 1)[0][:, 0])

    order = np.random.default_rng(0).permutation(len(rows))
    assert off(unit(rows)[order >= len(seen)]) < 0.3 < 0.9 < off(noise)
    assert np.linalg.norm(rows.mean(axis=0) - unseen.mean(axis=0)) < 0.05


def test_the_file_holds_the_rows(tmp_path: Path) -> None:
    real = pictures(300)
    write(tmp_path / "rows.npy", real, 1000)
    rows = np.load(tmp_path / "rows.npy", mmap_mode="r")
    assert rows.dtype == np.float16
    assert np.array_equal(rows.astype(np.float32), extended(real, 1000))


def test_two_samples_differ_by_the_most_that_their_distributions_do() -> None:
    zeros, mixed = np.zeros(10, np.float32), np.repeat(np.array([0, 1], np.float32), 5)
    assert difference(zeros, zeros) == 0
    assert difference(zeros, mixed) == pytest.approx(0.5)
    assert difference(zeros, zeros + 1) == 1


@pytest.mark.parametrize("dimension", [3, 8])
def test_the_local_dimension_of_a_filled_ball_is_its_dimension(dimension: int) -> None:
    flat = np.random.default_rng(0).normal(size=(20_000, dimension)) * 0.1
    rows = unit(np.concatenate([flat, np.ones((len(flat), 1))], axis=1))
    cosines, _ = nearest(rows[:500], rows, 21)
    assert np.median(local_dimension(cosines[:, 1:])) == pytest.approx(dimension, rel=0.2)


def test_queries_are_neither_searched_nor_tuned_on(tmp_path: Path) -> None:
    np.save(tmp_path / "coco-1k.images.npy", pictures(400, seed=1))
    np.save(tmp_path / "other.images.npy", pictures(600, seed=2))
    np.save(tmp_path / "coco-1k.captions.npy", pictures(400, seed=3))
    np.save(tmp_path / "some.texts.npy", pictures(500, seed=4))
    np.save(tmp_path / "more.texts.npy", pictures(700, seed=5))
    found = read(tmp_path)
    assert len(found.pictures) == min(HELD, 100)
    assert len(found.images) == 900
    assert nearest(found.pictures, found.images, 1)[0].max() < 0.99999
    assert nearest(found.texts, found.tuning, 1)[0].max() < 0.99999
    assert nearest(found.strangers, found.tuning, 1)[0].max() < 0.99999
    again = read(tmp_path)
    assert np.array_equal(found.images, again.images)


def test_parts_are_taken_in_turn() -> None:
    parts = [np.full((3, 2), 1, np.float32), np.full((9, 2), 2, np.float32)]
    assert interleaved(parts)[:, 0].tolist() == [1, 2, 1, 2, 1, 2]


def test_plain_ivf_pq_is_what_autofaiss_takes() -> None:
    """The keys that autofaiss 2.18 itself gives for an eighth of the memory of float32."""
    assert autofaiss_key(100_000, 512, 100_000 * 256) == "OPQ128_640,IVF1024_HNSW32,PQ128x8"
    assert autofaiss_key(1_000_000, 512, 1e6 * 256) == "OPQ128_640,IVF16384_HNSW32,PQ128x8"
    assert autofaiss_key(20_000, 512, 20_000 * 256) == "OPQ128_640,IVF512,PQ128x8"
