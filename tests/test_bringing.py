"""Models that are taken from one machine to another as files."""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from searchx.bringing import export_model, import_model, pull
from searchx.brought import MANIFEST, brought
from searchx.encoder import load_encoder
from searchx.encoder.names import MINI
from searchx.errors import BadInput, ModelError

NAME = "hf-hub:someone/tiny"


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEARCHX_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def exported(tiny_model: Path, tmp_path: Path) -> Path:
    """A model as another machine would have exported it from a hub."""
    place = export_model(str(tiny_model), tmp_path / "exported")
    rename(place, NAME)
    return place


def rename(place: Path, name: str | None) -> None:
    told = json.loads((place / MANIFEST).read_text())
    (place / MANIFEST).write_text(json.dumps(told | {"name": name}))


def packed(place: Path) -> Path:
    file = place.with_suffix(".tar")
    with tarfile.open(file, "w") as archive:
        for one in place.iterdir():
            archive.add(one, one.name)
    return file


@pytest.mark.parametrize("as_file", [False, True])
def test_an_imported_model_is_found_by_its_name_and_has_the_same_space(
    exported: Path, tiny_model: Path, as_file: bool
) -> None:
    found = import_model(packed(exported) if as_file else exported)
    assert (found.name, found.dim, found.checked) == (NAME, 16, 2)
    here, there = load_encoder(NAME, "cpu"), load_encoder(str(tiny_model), "cpu")
    assert here.space.name == NAME
    assert here.space.digest == there.space.digest == found.digest
    assert np.array_equal(here.embed_texts(["a dog"]), there.embed_texts(["a dog"]))
    assert pull(NAME).digest == found.digest


def test_a_model_without_a_name_is_found_as_a_directory(tiny_model: Path, tmp_path: Path) -> None:
    file = export_model(str(tiny_model), tmp_path / "mine.tar")
    found = import_model(file)
    assert found.name == f"local-dir:{tmp_path / 'models' / 'mine'}"
    assert load_encoder(found.name, "cpu").space.digest == found.digest
    with pytest.raises(BadInput, match="is here already"):
        import_model(file)
    with pytest.raises(BadInput, match="is there already"):
        export_model(str(tiny_model), file)


def test_an_ordinary_model_directory_can_be_imported(tiny_model: Path) -> None:
    assert import_model(tiny_model).checked == 0


@pytest.mark.parametrize("as_file", [False, True])
def test_a_damaged_model_is_refused_and_leaves_nothing(
    exported: Path, models: Path, as_file: bool
) -> None:
    weights = exported / "open_clip_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ModelError, match="is missing or damaged"):
        import_model(packed(exported) if as_file else exported)
    assert list(models.iterdir()) == []
    assert brought(NAME) is None


def test_other_weights_than_were_exported_are_refused(exported: Path, models: Path) -> None:
    told = json.loads((exported / MANIFEST).read_text())
    (exported / MANIFEST).write_text(json.dumps(told | {"digest": "0" * 32}))
    with pytest.raises(ModelError, match="has other weights here"):
        import_model(exported)
    assert list(models.iterdir()) == []


def test_a_truncated_file_is_refused(exported: Path, models: Path) -> None:
    file = packed(exported)
    file.write_bytes(file.read_bytes()[:-20_000])
    with pytest.raises(BadInput, match="is damaged"):
        import_model(file)
    assert brought(NAME) is None
    assert list(models.glob("*")) == []


def test_nothing_is_taken_over_that_could_do_harm(exported: Path, models: Path) -> None:
    (exported / "run.py").write_text("raise SystemExit")
    (exported / "open_clip_pytorch_model.bin").write_bytes(b"a pickle")
    (exported / "link.json").symlink_to("/etc/passwd")
    file = packed(exported)
    with tarfile.open(file, "a") as archive:
        archive.add(exported / "open_clip_config.json", "../outside.json")
    found = import_model(file)
    (place,) = models.iterdir()
    names = {"open_clip_config.json", "open_clip_model.safetensors", MANIFEST}
    assert {one.name for one in place.iterdir()} == names
    assert not (models.parent / "outside.json").exists()
    assert found.name == NAME


@pytest.mark.parametrize("config", ['{"model_cfg": {"text_cfg": 5}}', "[" * 100_000, "{}"])
def test_a_model_whose_configuration_cannot_be_is_refused_and_leaves_nothing(
    exported: Path, models: Path, config: str
) -> None:
    (exported / MANIFEST).unlink()
    (exported / "open_clip_config.json").write_text(config)
    with pytest.raises(ModelError, match="not an open_clip model directory"):
        import_model(exported)
    assert list(models.glob("*")) == []


def test_a_tokenizer_that_is_a_program_is_not_run(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    copy = shutil.copytree(MINI, tmp_path / "copy")
    about = json.loads((copy / "open_clip_config.json").read_text())
    about["model_cfg"]["text_cfg"]["tokenizer_kwargs"] = {"trust_remote_code": True}
    (copy / "open_clip_config.json").write_text(json.dumps(about))
    told = json.loads((copy / "tokenizer_config.json").read_text())
    told |= {"tokenizer_class": "Theirs", "auto_map": {"AutoTokenizer": ["theirs.Theirs", None]}}
    (copy / "tokenizer_config.json").write_text(json.dumps(told))
    (copy / "theirs.py").write_text(f"open({str(tmp_path / 'was run')!r}, 'w')")
    load_encoder(str(copy), "cpu")
    assert not (tmp_path / "was run").exists()


@pytest.mark.parametrize("name", ["mini", "", "a/b/c", 7, ["x"]])
def test_a_name_that_cannot_be_is_refused(exported: Path, name: str) -> None:
    rename(exported, name)
    with pytest.raises((BadInput, ModelError), match=r"names a model|is not known|is here already"):
        import_model(exported)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"no tar")
    (tmp_path / "empty").mkdir()
    for place, said in (
        ("file", "is neither a model directory nor"),
        ("empty", "it holds no open_clip_config.json"),
        ("nowhere", "is not there"),
    ):
        with pytest.raises(BadInput, match=said):
            import_model(tmp_path / place)
