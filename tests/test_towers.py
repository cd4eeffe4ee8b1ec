"""The image tower is in memory once a picture was asked with, and not before."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from searchx.encoder.names import canonical_name
from searchx.encoder.plain import OpenClipEncoder
from searchx.encoder.weights import digest_of, load_open_clip
from searchx.errors import ModelError
from searchx.towers import _files_of, load_mapped
from tests.tiny_model import save_tiny_model


def pixels(encoder: OpenClipEncoder) -> list[np.ndarray]:
    return [np.random.default_rng(0).integers(0, 256, (*encoder.fit.size, 3), np.uint8)]


def addresses(encoder: OpenClipEncoder, name: str) -> set[int]:
    weights = encoder._model.state_dict()
    return {
        one.data_ptr()
        for key, one in weights.items()
        if key.startswith("visual.") == (name == "image")
    }


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="told by Linux only")
def test_the_image_tower_lies_in_its_file_until_a_picture_comes() -> None:
    """Of mini, whose file is in half precision: what is in working form is no longer mapped."""
    encoder = OpenClipEncoder("mini", "cpu")
    assert not _files_of(addresses(encoder, "text") - addresses(encoder, "image"))
    assert len(_files_of(addresses(encoder, "image"))) == 1
    floats = [one for one in encoder._model.visual.parameters() if one.is_floating_point()]
    assert {one.dtype for one in floats} == {torch.float16}
    encoder.embed_texts(["a dog", "a cat"])
    assert {one.dtype for one in floats} == {torch.float16}
    encoder.embed_images(pixels(encoder))
    assert {one.dtype for one in encoder._model.visual.parameters()} == {torch.float32}


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_a_mapped_model_is_the_model(tmp_path: Path, suffix: str) -> None:
    name = canonical_name(save_tiny_model(tmp_path))
    if suffix == "bin":
        from safetensors.torch import load_file

        weights = tmp_path / "open_clip_model.safetensors"
        torch.save(load_file(weights), tmp_path / "open_clip_pytorch_model.bin")
        weights.unlink()
    plain = load_open_clip(name)[0].eval()
    mapped = load_mapped(lambda: load_open_clip(name)[0]).eval()
    assert plain.state_dict().keys() == mapped.state_dict().keys()
    assert digest_of(plain.state_dict(), {}) == digest_of(mapped.state_dict(), {})
    for own, other in zip(plain.buffers(), mapped.buffers(), strict=True):
        assert torch.equal(own, other)
    seen = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.allclose(plain.encode_image(seen), mapped.encode_image(seen), atol=1e-5)


def test_a_model_that_cannot_be_mapped_is_loaded_all_the_same() -> None:
    made = []

    def load() -> torch.nn.Module:
        made.append(torch.nn.Linear(3, 2))
        with torch.no_grad():
            made[-1].weight += float(made[-1].weight.sum())  # has to be there
        return made[-1]

    assert load_mapped(load) is made[-1]
    assert not any(one.is_meta for one in made[-1].parameters())


def test_what_is_computed_with_one_thread_leaves_the_others(tmp_path: Path) -> None:
    encoder = OpenClipEncoder(canonical_name(save_tiny_model(tmp_path)), "cpu")
    threads = torch.get_num_threads()
    encoder.embed_texts(["red"])
    assert torch.get_num_threads() == threads


def test_a_thread_that_begins_meanwhile_has_all_of_torchs_threads(tmp_path: Path) -> None:
    encoder = OpenClipEncoder(canonical_name(save_tiny_model(tmp_path)), "cpu")
    before = torch.get_num_threads()
    torch.set_num_threads(3)  # also where the machine has one core
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            encoder.embed_texts(["red"])

    def counted() -> int:
        with ThreadPoolExecutor(1) as fresh:
            return fresh.submit(torch.get_num_threads).result()

    try:
        encoder.embed_texts(["red"])
        with ThreadPoolExecutor(1) as asking:
            asking.submit(ask)
            found = {counted() for _ in range(100)}
            stop.set()
        assert found == {3}
        assert encoder._alone.submit(torch.get_num_threads).result() == 1
    finally:
        stop.set()
        torch.set_num_threads(before)


def test_two_models_are_loaded_at_once() -> None:
    register = torch.nn.Module.register_parameter

    def load() -> torch.nn.Module:
        time.sleep(0.1)
        return torch.nn.Identity()

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(load_mapped, load)
        time.sleep(0.05)
        second = threads.submit(load_mapped, load)
        assert first.result() is not second.result()
    assert torch.nn.Module.register_parameter is register


def test_a_model_that_cannot_be_had_is_asked_for_once() -> None:
    asked = []

    def load() -> torch.nn.Module:
        asked.append(1)
        raise ModelError("there is no such model")

    with pytest.raises(ModelError):
        load_mapped(load)
    assert len(asked) == 1
