"""Models that compute pictures in 8 bits, made by NNCF of a small model with random weights."""

import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from indexer.calibration import pictures_of
from indexer.checkup import Machine, Pace, forecasts_of, recommended
from indexer.pipeline import index_into
from searchx.bringing import export_model, import_model
from searchx.brought import MANIFEST, place_of
from searchx.children import environment
from searchx.cli import run
from searchx.encoder import load_encoder
from searchx.encoder.names import canonical_name, is_of_ours
from searchx.encoder.weights import load_open_clip
from searchx.errors import BadInput, ModelError, SpaceMismatch
from searchx.evaluation import evaluate
from searchx.judging import Change
from searchx.pairs import Pair
from searchx.quantizing import Quantized, quantize
from searchx.relevance import everyday_captions
from searchx.runtime.compiled import CompiledEncoder
from searchx.runtime.samples import _drawn
from tests.shelf import ENCODER
from tests.test_runtime import HEAVY, SEARCH

COUNT = 72


def drawn(number: int) -> bytes:
    """Draw a picture, of one of some kinds in one of many colours."""
    tint = np.random.default_rng(number).integers(-60, 60, 3)
    rows = np.asarray(_drawn(1 + number % 9).resize((48, 48))).astype(int) + tint
    return packed(Image.fromarray(np.clip(rows, 0, 255).astype(np.uint8)))


def packed(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep cache and models apart from others."""
    root = tmp_path_factory.mktemp("int8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEARCHX_CACHE", str(root / "cache"))
        patch.setenv("SEARCHX_MODELS", str(root / "models"))
        patch.delenv("SEARCHX_RUNTIME")
        yield root


@pytest.fixture(scope="module")
def photos(places: Path) -> Path:
    folder = places / "photos"
    folder.mkdir()
    for number in range(COUNT):
        (folder / f"{number:02}.png").write_bytes(drawn(number))
    (folder / "broken.png").write_bytes(drawn(0)[:200])
    return folder


@pytest.fixture(scope="module")
def told(photos: Path, tiny_model: Path, tattler: Path) -> dict[str, Any]:
    """Have a model made as a user does; gives what is printed."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert run(["models", "quantize", str(tiny_model), str(photos), "--json"]) == 0
    return dict(json.loads(printed.getvalue()))


@pytest.fixture(scope="module")
def tattler(places: Path) -> Iterator[Path]:
    """Have a file appear when anything imports what OpenVINO and NNCF tell their makers by."""
    folder, heard = places / "tattler", places / "heard"
    folder.mkdir()
    (folder / "openvino_telemetry.py").write_text(f"open({str(heard)!r}, 'w')")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield heard


@pytest.fixture
def base(told: dict[str, Any]) -> CompiledEncoder:
    found = load_encoder(told["base"])
    assert isinstance(found, CompiledEncoder)
    return found


def test_a_model_is_made_and_measured_on_other_pictures(
    told: dict[str, Any], tiny_model: Path, places: Path
) -> None:
    assert told["base"] == f"local-dir:{tiny_model}"
    assert told["name"] == f"local-dir:{tiny_model}-int8"
    assert told["unreadable"] == 1
    assert told["calibrated"] + told["checked"] == COUNT
    assert told["agreement"] > 0.85
    assert told["tower_bytes"]["after"] < told["tower_bytes"]["before"] / 2
    (place,) = (places / "models").iterdir()
    assert {one.name for one in place.iterdir()} == {"images.xml", "images.bin", MANIFEST}


def test_nobody_is_told_that_a_model_is_made(told: dict[str, Any], tattler: Path) -> None:
    assert not tattler.exists()
    tell = [sys.executable, "-c", "import openvino_telemetry"]
    subprocess.run(tell, check=True, env=environment())
    assert tattler.exists()  # it would be heard
    tattler.unlink()


def test_it_has_a_space_of_its_own_and_the_texts_of_its_base(
    told: dict[str, Any], base: CompiledEncoder
) -> None:
    made = load_encoder(canonical_name(told["name"]), "cpu")
    assert made.space.digest == told["digest"] != base.space.digest
    assert (made.space.name, made.space.dim) == (told["name"], base.space.dim)
    assert np.array_equal(made.embed_texts(["a dog"]), base.embed_texts(["a dog"]))
    pixels = [base.fit(Image.open(io.BytesIO(drawn(number)))) for number in range(20)]
    one, other = base.embed_images(pixels), made.embed_images(pixels)
    cosines = (one * other).sum(axis=1)
    assert cosines.min() > 0.95
    assert not np.allclose(one, other, atol=1e-5)
    assert np.allclose(made.embed_images(pixels[:1])[0], other[0], atol=1e-5)
    assert np.allclose(np.linalg.norm(other, axis=1), 1, atol=1e-5)


def test_a_library_is_of_one_of_both_and_asked_without_torch(
    told: dict[str, Any], photos: Path, tmp_path: Path
) -> None:
    library = tmp_path / "library"
    some = [str(photos / f"{number:02}.png") for number in range(5)]
    assert index_into(library, some, told["name"]).added == 5
    with pytest.raises(SpaceMismatch):
        index_into(library, some, told["base"])
    command = ["search", "a dog", "--image", some[0], "--library", str(library), "--json"]
    asked = subprocess.run(
        [sys.executable, "-c", SEARCH, *command], capture_output=True, text=True, check=True
    )
    document, _, modules = asked.stdout.strip().rpartition("\n")
    assert len(json.loads(document)["hits"]) == 5
    assert HEAVY & set(modules.split()) == set()


def test_what_is_not_as_good_is_refused_with_figures_and_leaves_nothing(
    told: dict[str, Any], base: CompiledEncoder, places: Path
) -> None:
    """Calibrated on black pictures, it sees no others; judged is by those alone."""
    black = packed(Image.new("RGB", (48, 48)))
    pictures = [black] * COUNT
    contents = [drawn(number) for number in range(40)]
    pixels = [base.fit(Image.open(io.BytesIO(one))) for one in contents]
    texts = everyday_captions()[::4]
    scores = base.embed_texts(texts) @ base.embed_images(pixels).T  # (texts, pictures)
    best = (scores - scores.mean(axis=1, keepdims=True)).argmax(axis=0)
    pairs = [Pair(one, (texts[place],)) for one, place in zip(contents, best.tolist(), strict=True)]
    measured = evaluate(base, pairs).text_to_image
    shutil.move(places / "models", places / "aside")  # so that the name is free
    try:
        with pytest.raises(ModelError) as refused:
            quantize(told["base"], pictures, [*pairs, Pair(black, ("nothing",))])
        assert list((places / "models").iterdir()) == []
    finally:
        shutil.rmtree(places / "models", ignore_errors=True)
        shutil.move(places / "aside", places / "models")
    said = str(refused.value)
    assert re.search(r"was not kept: recall changes by -\d+\.\d points \(± \d+", said)
    assert f"text to image: R@1 {100 * measured.recall_at_1:.1f} → " in said
    assert f"R@10 {100 * measured.recall_at_10:.1f} → " in said
    assert "\n" not in said


def test_recall_may_fall_by_half_a_point_and_agreement_to_its_bound() -> None:
    pace = Change(50.0, 100.0)
    good = Quantized("a-int8", "a", "d", 300, 500, 0, 0.99, 0.95, pace, Change(30e6, 10e6), 0.85)
    assert good.refusal() is None
    refusal = replace(good, agreement=0.849).refusal()
    assert refusal is not None
    assert "84.9%" in refusal
    figures = {f"recall@{k}": Change(0.8, 0.79) for k in (1, 5, 10)}
    judged = replace(good, agreement=None, recall_change=-0.005, recall_margin=0.006)
    assert judged.refusal() is None
    refusal = replace(judged, recall_change=-0.006, recall={"text_to_image": figures}).refusal()
    assert refusal is not None
    assert refusal.startswith("recall changes by -0.6 points (± 0.6 by chance), where 0.5 may")
    assert "R@10 80.0 → 79.0" in refusal


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("base", "photos", "is here already; remove"),
        ("name", "photos", "computes in 8 bits already"),
        ("mini", "few", "5 pictures are too few to calibrate on"),
        ("mini", "empty", "there are no pictures in"),
        ("mini", "nowhere", "does not exist"),
    ],
)
def test_what_cannot_be_made_is_one_line_and_leaves_nothing(
    told: dict[str, Any],
    places: Path,
    photos: Path,
    name: str,
    given: str,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = sorted((places / "models").iterdir())
    for folder in ("empty", "few"):
        (places / folder).mkdir(exist_ok=True)
    for number in range(10):
        shutil.copy(photos / f"{number:02}.png", places / "few")
    assert run(["models", "quantize", told.get(name, name), str(places / given)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert said in lines[-1]
    assert [line for line in lines if line.startswith("searchx:")] == lines[-1:]
    assert sorted((places / "models").iterdir()) == before


def test_what_cannot_be_read_is_told_where_too_little_is_left(
    told: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEARCHX_MODELS", str(tmp_path))
    left = place_of(told["name"]).name  # by a process that is gone
    (tmp_path / f".{left}.{2**22 + 1}.part").mkdir()
    broken: list[Path | bytes] = [b"no picture", tmp_path / "nowhere.png"] * 40
    with pytest.raises(BadInput, match=r"0 pictures are too few .* \(40 cannot be read\)"):
        quantize(told["base"], broken)
    assert list(tmp_path.iterdir()) == []


def test_a_library_gives_its_pictures(photos: Path, tmp_path: Path) -> None:
    some = [str(photos / "01.png"), str(photos / "07.png")]
    (tmp_path / "note.txt").write_text("a note")
    index_into(tmp_path / "library", [*some, str(tmp_path / "note.txt")], ENCODER)
    assert [one.path for one in pictures_of(tmp_path / "library")] == some
    index_into(tmp_path / "texts", [str(tmp_path / "note.txt")], ENCODER)
    with pytest.raises(BadInput, match="has no pictures in files"):
        pictures_of(tmp_path / "texts")


def test_who_stops_it_leaves_nothing(
    told: dict[str, Any], places: Path, photos: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "searchx.cli", "models", "quantize", told["base"], str(photos)]
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"SEARCHX_MODELS": str(tmp_path)},
    ) as child:
        assert child.stderr is not None
        assert child.stderr.readline().startswith("making local-dir:")
        child.send_signal(signal.SIGTERM)
        assert "stopped; nothing was kept" in child.stderr.read()
    assert child.returncode == 130
    assert list(tmp_path.iterdir()) == []


def test_where_it_cannot_be_computed_one_line_says_so(
    told: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match="on processors only, not on cuda; use "):
        load_encoder(told["name"], "cuda")
    with pytest.raises(ModelError, match="by OpenVINO only, not by torch; use "):
        load_open_clip(told["name"])
    with pytest.raises(ModelError, match='make it by "searchx models quantize mini"'):
        load_encoder("mini-int8")
    with pytest.raises(ModelError, match='quantize ViT-B-32/laion2b_s34b_b79k"'):
        load_encoder("fast-int8")
    monkeypatch.setenv("SEARCHX_RUNTIME", "torch")
    with pytest.raises(ModelError, match="by OpenVINO only, and SEARCHX_RUNTIME asks for it; use"):
        load_encoder(told["name"])


def test_it_is_taken_to_another_machine_as_a_file(
    told: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = export_model(told["name"], tmp_path / "model.tar")
    folder = export_model(told["name"], tmp_path / "model")
    monkeypatch.setenv("SEARCHX_MODELS", str(tmp_path / "elsewhere"))
    found = import_model(file)
    assert (found.name, found.digest, found.checked) == (told["name"], told["digest"], 2)
    assert is_of_ours(told["name"]) or told["name"].startswith("local-dir:")
    assert load_encoder(told["name"]).space.digest == told["digest"]
    with pytest.raises(BadInput, match="is here already"):
        import_model(folder)
    shutil.rmtree(tmp_path / "elsewhere")
    content = bytearray((folder / "images.bin").read_bytes())
    content[100] ^= 1
    (folder / "images.bin").write_bytes(content)
    with pytest.raises(ModelError, match="is damaged"):
        import_model(folder)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_what_is_damaged_or_of_another_base_is_not_loaded(
    told: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEARCHX_MODELS", str(tmp_path / "models"))
    with pytest.raises(ModelError, match="is not on this machine; make it by"):
        load_encoder(told["name"])
    monkeypatch.undo()
    (source,) = Path(os.environ["SEARCHX_MODELS"]).iterdir()
    shutil.copytree(source, folder := tmp_path / "models" / source.name)
    monkeypatch.setenv("SEARCHX_MODELS", str(tmp_path / "models"))
    about = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(about | {"base_digest": "0" * 32}))
    with pytest.raises(ModelError, match="was made of other weights than"):
        load_encoder(told["name"])
    (folder / MANIFEST).write_text(json.dumps(about))
    os.truncate(folder / "images.bin", 100)
    with pytest.raises(ModelError, match="is damaged; remove"):
        load_encoder(told["name"])


def test_it_is_listed_and_a_checkup_tells_of_it_alone(
    told: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["models"]
    assert listed[-1]["model"] == told["name"]
    assert run(["models"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split("its base's")[0].count(" - ") == 2
    pace = Pace(told["name"], "OpenVINO, pictures in 8 bits", 100.0, 0.01)
    machine = Machine(2, 8 * 10**9, 4 * 10**9, 10**11, None, False, {})
    forecasts = forecasts_of(pace, None, machine)
    assert [(one.model, one.seconds) for one in forecasts] == [(told["name"], 100.0)]
    assert recommended(forecasts) is None
