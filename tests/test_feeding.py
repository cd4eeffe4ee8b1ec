"""How a GPU is fed, tried on the processor, where the same steps run one after the other."""

import numpy as np
import pytest
import torch

from searchx.encoder.devices import half_on
from searchx.encoder.feeding import Feed
from searchx.encoder.plain import OpenClipEncoder
from searchx.encoder.sizing import BatchSize
from searchx.errors import ModelError
from searchx.records import Pixels
from tests.tiny_model import save_tiny_model

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> OpenClipEncoder:
    place = tmp_path_factory.mktemp("models") / "tiny"
    save_tiny_model(place)
    return OpenClipEncoder(f"local-dir:{place}", "cpu")


def fitted(encoder: OpenClipEncoder, count: int) -> list[Pixels]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (*encoder.fit.size, 3), np.uint8) for _ in range(count)]


def some_pixels(count: int) -> list[Pixels]:
    random = np.random.default_rng(count)
    return [random.integers(0, 256, (4, 6, 3), np.uint8) for _ in range(count)]


class Tower:
    """Takes notes of the batches that it is given; its rows tell the pictures apart."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(batch))
        return batch.flatten(1).float()


@pytest.mark.parametrize("count", [1, 7, 8, 9, 16, 40, 61])
def test_rows_come_in_order_whatever_is_left_of_the_last_batch(count: int) -> None:
    tower = Tower()
    feed = Feed(CPU, tower)
    for _ in range(2):  # what was gathered before must not show
        pixels = some_pixels(count)
        rows = feed.rows(pixels, 8, is_lasting=True)
        assert rows.dtype == np.float32
        assert np.array_equal(rows, np.stack(pixels).reshape(count, -1))
    full, rest = divmod(count, 8)
    assert tower.sizes == 2 * ([8] * full + [rest] * bool(rest))


def test_sizes_may_change_between_calls() -> None:
    feed = Feed(CPU, Tower())
    for count, size in ((3, 4), (30, 16), (30, 4), (64, 32), (1, 32)):
        pixels = some_pixels(count)
        assert np.array_equal(feed.rows(pixels, size), np.stack(pixels).reshape(count, -1))
        if count == 30:
            feed.let_go()


def test_a_model_gives_the_rows_that_it_gives_otherwise(encoder: OpenClipEncoder) -> None:
    pixels = fitted(encoder, 21)
    expected = encoder.embed_images(pixels)
    fed = Feed(CPU, encoder._seen).rows(pixels, 8)
    assert np.allclose(fed, expected, atol=1e-6)


def took(size: BatchSize, rate: dict[int, float]) -> list[int]:
    """Embed as a run does, with a GPU that computes so many a second; gives the sizes."""
    seen = []
    for _ in range(12):
        seen.append(size.now)
        size.took(2 * size.now, 2 * size.now / rate[size.now])
    return seen


def test_a_batch_grows_while_pictures_get_cheaper() -> None:
    size = BatchSize(16, 128)
    assert took(size, {16: 100, 32: 150, 64: 155, 128: 200})[::2] == [16, 32, 64, 32, 32, 32]
    assert size.is_settled
    size = BatchSize(16, 128)
    assert took(size, {16: 100, 32: 150, 64: 190, 128: 250})[::2] == [16, 32, 64, 128, 128, 128]
    assert size.is_settled


def test_the_first_batches_of_a_size_and_small_ones_say_nothing() -> None:
    size = BatchSize(16, 64)
    size.took(16, 1e-6)
    size.took(32, 100.0)  # the libraries were loaded meanwhile
    assert size.now == 16
    size.took(32, 1.0)
    assert (size.now, size.is_settled) == (32, False)


def test_a_batch_stays_small_once_memory_ran_out() -> None:
    size = BatchSize(16, 128)
    size.limit(4)
    assert took(size, {4: 1000})[-1] == 4
    size.limit(0)
    assert size.now == 1
    assert BatchSize(16, 16).is_settled


def test_torch_computes_in_half_precision_on_gpus_only(
    encoder: OpenClipEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert half_on(CPU) is None
    monkeypatch.setenv("SEARCHX_PRECISION", "half")
    assert half_on(CPU) is None
    pixels = fitted(encoder, 9)
    single = encoder.embed_images(pixels), encoder.embed_texts(["a dog", "two"])
    monkeypatch.setattr(encoder, "_half", torch.bfloat16)
    half = encoder.embed_images(pixels), encoder.embed_texts(["a dog", "two"])
    for rows, others in zip(half, single, strict=True):
        assert rows.dtype == np.float32
        assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
        assert 0.99 < (rows * others).sum(axis=1).min() < 1 - 1e-7  # near, and others
    monkeypatch.setenv("SEARCHX_PRECISION", "double")
    with pytest.raises(ModelError, match='SEARCHX_PRECISION is "double"; use half or single'):
        OpenClipEncoder(encoder.space.name, "cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_rows_of_the_processor(encoder: OpenClipEncoder) -> None:
    by_gpu = OpenClipEncoder(encoder.space.name, "cuda")
    pixels = fitted(encoder, 3000)
    expected = encoder.embed_images(pixels)
    for _ in range(12):  # until the size is settled and what it computes is recorded
        rows = by_gpu.embed_images(pixels)
        assert (rows * expected).sum(axis=1).min() > 0.99
