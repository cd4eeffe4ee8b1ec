"""Models prepared for the processor: the same vectors, the same tokens, and torch where not."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from indexer.pipeline import index_into
from searchx.encoder import is_as_at_prompt, load_encoder
from searchx.encoder.names import MINI
from searchx.encoder.plain import OpenClipEncoder
from searchx.errors import BadInput, ModelError
from searchx.runtime.compiled import CompiledEncoder
from searchx.runtime.entries import Entries, files_in, is_whole
from searchx.runtime.openvino import has_half
from searchx.runtime.preparing import _prepare
from searchx.runtime.samples import TEXTS
from searchx.runtime.wording import Words
from searchx.vectors.foreign import open_foreign
from tests.tiny_model import MODEL, PREPROCESSING, assert_cut_at_the_limit, save_tiny_model

LOAD = """
import sys
from searchx.encoder import load_encoder
encoder = load_encoder(sys.argv[1], "cpu", print)
print(encoder.runtime)
"""
INTERRUPTED = """
import gc, signal, sys
from searchx.encoder import load_encoder
encoders = [load_encoder(sys.argv[1], "cpu") for _ in range(2)]
for encoder in encoders:
    encoder.embed_texts(["a dog"])
del encoder
while encoders:
    del encoders[0]
    gc.collect()
signal.signal(signal.SIGTERM, lambda *_: sys.exit("interrupted"))
signal.raise_signal(signal.SIGTERM)
"""
SEARCH = """
import sys
from searchx.cli import run
code = run(sys.argv[1:])
print(*sorted({name for name, is_there in sys.modules.items() if is_there}))
sys.exit(code)
"""
HEAVY = {
    "openvino.tools.ovc",
    "torch",
    "open_clip",
    "transformers",
    "timm",
    "faiss",
    "alembic",
    "openvino_telemetry",
}


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Begin with an empty cache; this file alone prepares models."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEARCHX_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("SEARCHX_RUNTIME")
        yield


@pytest.fixture(scope="module")
def told(tiny_model: Path) -> list[list[str]]:
    """Have two processes load the same model at the same time; gives what they said."""
    command = [sys.executable, "-c", LOAD, str(tiny_model)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    return [one.communicate(timeout=200)[0].splitlines() for one in both]


@pytest.fixture(scope="module")
def compiled(told: list[list[str]], tiny_model: Path) -> CompiledEncoder:
    found = load_encoder(str(tiny_model), "cpu")
    assert isinstance(found, CompiledEncoder), found
    return found


@pytest.fixture(scope="module")
def plain(tiny_model: Path) -> OpenClipEncoder:
    return OpenClipEncoder(f"local-dir:{tiny_model}", "cpu")


def test_a_model_is_prepared_once_also_by_two_at_once(told: list[list[str]]) -> None:
    assert [lines[-1] for lines in told] == ["OpenVINO", "OpenVINO"]
    assert sum(line.startswith("preparing local-dir:") for lines in told for line in lines) == 1


def test_the_vectors_are_those_of_torch(compiled: CompiledEncoder, plain: OpenClipEncoder) -> None:
    assert compiled.space == plain.space
    assert compiled.fit == plain.fit
    assert compiled.text_limit == plain.text_limit
    random = np.random.default_rng(0)
    pictures = [Image.fromarray(random.integers(0, 256, (40, 60, 3), np.uint8)) for _ in range(7)]
    pixels = [plain.fit(one) for one in pictures]
    assert np.allclose(compiled.embed_images(pixels), plain.embed_images(pixels), atol=1e-6)
    assert np.allclose(compiled.embed_images(pixels[:1]), plain.embed_images(pixels)[:1], atol=1e-6)
    texts = [*TEXTS, *(f"text number {number}" for number in range(300))]
    rows = compiled.embed_texts(texts)
    assert rows.dtype == np.float32
    assert np.allclose(rows, plain.embed_texts(texts), atol=1e-6)
    assert np.allclose(rows[[0, -1]], compiled.embed_texts([texts[0], texts[-1]]), atol=1e-6)
    assert compiled.embed_images([]).shape == compiled.embed_texts([]).shape == (0, 16)


def test_pictures_are_computed_in_half_precision_where_it_is_asked_for(
    compiled: CompiledEncoder, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEARCHX_PRECISION", "half")
    half = load_encoder(str(tiny_model), "cpu")
    assert isinstance(half, CompiledEncoder), half
    assert half.space == compiled.space
    assert half.is_half == has_half() == ("half precision" in half.runtime)
    assert is_as_at_prompt(half) == (not half.is_half)
    random = np.random.default_rng(0)
    pixels = [random.integers(0, 256, (*half.fit.size, 3), np.uint8) for _ in range(9)]
    cosines = (half.embed_images(pixels) * compiled.embed_images(pixels)).sum(axis=1)
    assert 0.99 < cosines.min() <= 1 + 1e-6
    assert cosines.min() < 1 - 1e-7 or not half.is_half  # near, and other numbers
    assert np.array_equal(half.embed_texts(TEXTS), compiled.embed_texts(TEXTS))
    monkeypatch.setenv("SEARCHX_PRECISION", "quarter")
    with pytest.raises(ModelError, match='SEARCHX_PRECISION is "quarter"; use half or single'):
        load_encoder(str(tiny_model), "cpu")


def test_a_text_is_cut_and_pixels_are_checked_as_by_torch(compiled: CompiledEncoder) -> None:
    assert_cut_at_the_limit(compiled)
    with pytest.raises(BadInput, match=r"the encoder takes uint8 \(32, 32, 3\)"):
        compiled.embed_images([np.zeros((32, 48, 3), np.uint8)])


def test_many_threads_get_what_one_gets(compiled: CompiledEncoder) -> None:
    from concurrent.futures import ThreadPoolExecutor

    texts = [f"a text of {'many ' * (number % 9)}words" for number in range(64)]
    alone = compiled.embed_texts(texts)
    with ThreadPoolExecutor(8) as threads:
        rows = list(threads.map(lambda one: compiled.embed_texts([one])[0], texts))
    assert np.allclose(rows, alone, atol=1e-6)


def test_other_weights_at_the_same_place_are_another_model(
    compiled: CompiledEncoder, tmp_path: Path
) -> None:
    place = tmp_path / "model"
    name = save_tiny_model(place)
    entries = Entries()
    entries.note(name, stamps(place), entries.place(compiled.space.digest))
    assert entries.known(name, files_in(place)) is not None
    os.utime(place / "open_clip_model.safetensors", ns=(1, 1))
    assert entries.known(name, files_in(place)) is None
    entries.note(name, stamps(place), entries.place(compiled.space.digest))
    (place / "config.json").write_text("{}")
    assert entries.known(name, files_in(place)) is None


def test_what_is_known_holds_for_these_versions_only(
    compiled: CompiledEncoder, tmp_path: Path
) -> None:
    entries = Entries()
    entries.note("a/b", [], None, "it cannot be")
    known = entries.known("a/b", None)
    assert known is not None
    assert (known.place, known.reason) == (None, "it cannot be")
    (note,) = (one for one in entries.directory.glob("name-*") if '"a/b"' in one.read_text())
    older = json.loads(note.read_text()) | {"versions": "older ones"}
    note.write_text(json.dumps(older))
    assert entries.known("a/b", None) is None
    note.write_text("{")
    assert entries.known("a/b", None) is None


def test_an_entry_that_is_not_whole_is_none(compiled: CompiledEncoder, tmp_path: Path) -> None:
    place = shutil.copytree(Entries().place(compiled.space.digest), tmp_path / "entry")
    assert is_whole(place)
    weights = place / "texts.bin"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert not is_whole(place)
    weights.unlink()
    assert not is_whole(place)


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    entries = Entries(tmp_path)
    with pytest.raises(OSError, match="no space"), entries.adding(tmp_path / "entry") as beside:
        (beside / "texts.bin").write_bytes(b"half")
        raise OSError("no space")
    assert list(tmp_path.iterdir()) == []


def test_a_new_entry_takes_the_place_of_what_older_versions_made(tmp_path: Path) -> None:
    entries = Entries(tmp_path)
    place = entries.place("abc")
    for other in ("abc-0123", "abcd-0123"):
        (tmp_path / other).mkdir()
    with entries.adding(place) as beside:
        (beside / "texts.bin").write_bytes(b"whole")
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted([place.name, "abcd-0123"])


def test_a_signal_is_dealt_with_after_models_were_let_go(
    compiled: CompiledEncoder, tiny_model: Path
) -> None:
    """OpenVINO gives the thread that loads a model a stack for signals, and takes it away later."""
    command = [sys.executable, "-c", INTERRUPTED, str(tiny_model)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert (done.returncode, done.stderr) == (1, "interrupted\n")


def test_without_a_cache_torch_computes_and_says_why(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SEARCHX_CACHE", str(tmp_path / "file"))
    found = load_encoder(str(tiny_model), "cpu")
    assert isinstance(found, OpenClipEncoder)
    assert "Not a directory" in found.runtime
    monkeypatch.setenv("SEARCHX_RUNTIME", "torch")
    assert load_encoder(str(tiny_model), "cpu").embed_texts(["a"]).shape == (1, 16)


def test_a_model_that_cannot_be_had_is_told_as_by_torch(tmp_path: Path) -> None:
    save_tiny_model(tmp_path / "broken")
    (tmp_path / "broken" / "open_clip_model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_encoder(str(tmp_path / "broken"), "cpu")


def test_programs_in_the_folder_where_somebody_stands_are_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("filelock", "faiss", "numpy", "torch"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'was run')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="nowhere is not an open_clip model directory"):
        _prepare(f"local-dir:{tmp_path / 'nowhere'}", tmp_path / "made", lambda _: None)
    place = tmp_path / "made.index"
    place.write_bytes(b"no index")
    with pytest.raises(BadInput, match=r"made\.index"):
        open_foreign(place)
    assert not (tmp_path / "was run").exists()


def test_a_query_loads_no_torch(
    compiled: CompiledEncoder, tiny_model: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.effect_noise((64, 64), 50).convert("RGB").save(photos / "a.png")
    index_into(tmp_path / "library", photos, compiled)
    run = subprocess.run(
        [sys.executable, "-c", SEARCH, "search", "a dog", "--library", str(tmp_path / "library")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    *hits, modules = run.stdout.splitlines()
    assert len(hits) == 1
    assert "openvino" in modules.split()
    assert HEAVY & set(modules.split()) == set()


def test_a_model_with_a_tokenizer_of_hugging_face_is_prepared_as_well(tmp_path: Path) -> None:
    """Its texts are cleaned and filled up as those of SigLIP, and it has a bias."""
    place = tmp_path / "siglip"
    plain = OpenClipEncoder(save_siglip_model(place), "cpu")
    compiled = load_encoder(str(place), "cpu")
    assert isinstance(compiled, CompiledEncoder), compiled
    assert compiled.text_limit == plain.text_limit == 16
    assert plain.pairing is not None and plain.pairing.bias == -10
    assert compiled.pairing == plain.pairing
    assert np.allclose(compiled.embed_texts(TEXTS), plain.embed_texts(TEXTS), atol=1e-6)
    assert_cut_at_the_limit(compiled)


def save_siglip_model(place: Path) -> str:
    import torch
    from open_clip import CustomTextCLIP
    from safetensors.torch import save_file

    text = {
        "context_length": 16,
        "vocab_size": 30522,
        "hf_tokenizer_name": "of/the-directory",
        "tokenizer_kwargs": {"clean": "canonicalize"},
        **{"width": 16, "heads": 2, "layers": 1, "no_causal_mask": True, "pool_type": "last"},
    }
    model = {**MODEL, "init_logit_bias": -10, "text_cfg": text}
    torch.manual_seed(0)
    weights = CustomTextCLIP(**model).state_dict()
    place.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(MINI / name, place)
    save_file(
        {name: one.contiguous() for name, one in weights.items()},
        place / "open_clip_model.safetensors",
    )
    config = {"model_cfg": {**model, "custom_text": True}, "preprocess_cfg": PREPROCESSING}
    (place / "open_clip_config.json").write_text(json.dumps(config))
    return f"local-dir:{place}"


def stamps(place: Path) -> list[tuple[str, int, int]]:
    from searchx.runtime.entries import stamps_of

    return stamps_of(files_in(place))


@cache
def tokenizers(which: str) -> tuple[Any, Words]:
    """Give open_clip's tokenizer and ours for the same model."""
    import open_clip
    from open_clip.tokenizer import HFTokenizer

    from searchx.runtime.exporting import wording_of

    made: dict[str, Callable[[], Any]] = {
        "CLIP": lambda: open_clip.tokenizer.SimpleTokenizer(context_length=77),
        "mini": lambda: HFTokenizer(str(MINI), context_length=64),
        "canonical": lambda: HFTokenizer(str(MINI), 16, clean="canonicalize", strip_sep_token=True),
    }
    theirs = made[which]()
    wording, written = wording_of(None, theirs, theirs.context_length)
    return theirs, Words(wording, written)


LETTERS = st.characters(exclude_categories=["Cs"])
WORDS = """
    abc XYZ 'll <b> &amp; äöß éàç ñ¿ øå łśż ğıİ ΑΒγς кошка їґ ქართ հայ 一只猫 ねこ ネコ 고양이
    قطة חתול बिल्ली বিড়াল பூனை แมว ខ្មែរ mèo 🐶👩‍👩‍👧 ½² ﬁ \uff46\uff55 _ - / <end_of_text> [SEP] Ã©
"""
LANGUAGES = st.sampled_from([*WORDS.split(), "\t", "\n", "\r\n", "\u2028", "\x1b[0m", "\xa0"])
ANY = st.lists(LANGUAGES | st.text(LETTERS, max_size=6), max_size=12)


@pytest.mark.parametrize("which", ["CLIP", "mini", "canonical"])
@settings(deadline=None)
@given(words=ANY, between=st.sampled_from(["", " ", "  "]))
def test_tokens_are_those_of_open_clip(which: str, words: list[str], between: str) -> None:
    theirs, ours = tokenizers(which)
    text = between.join(words)
    assert np.array_equal(ours([text]), theirs([text]).numpy())
