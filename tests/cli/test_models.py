import json
from pathlib import Path

import pytest

from tests.cli.commands import Ask, Place, one_line
from tests.tiny_model import save_tiny_model


def test_eval_prints_both_directions(place: Place, ask: Ask) -> None:
    measured = json.loads(
        ask("eval", place.photos, "--model", place.model, "--json", library=place.library).out
    )
    assert (measured["model"], measured["images"], measured["texts"]) == (place.model, 4, 8)
    names = {"recall@1", "recall@5", "recall@10", "mrr", "median_rank"}
    for direction in ("text_to_image", "image_to_text"):
        assert set(measured[direction]) == names
        assert 0 <= measured[direction]["recall@1"] <= measured[direction]["recall@10"] == 1


def test_eval_for_people_shows_recalls_in_percent_of_the_librarys_own_model(
    place: Place, ask: Ask
) -> None:
    out = ask("eval", place.photos, library=place.library).out
    assert f"{place.model}: 4 images, 8 texts" in out
    rows = [line.split() for line in out.splitlines() if line.startswith(("text", "image"))]
    assert [row[:3] for row in rows] == [["text", "to", "image"], ["image", "to", "text"]]
    assert all(row[5] == "100.0" for row in rows)


def test_models_lists_the_presets(ask: Ask) -> None:
    listed = json.loads(ask("models", "--json").out)["models"]
    assert listed[0]["purpose"] == "embedded"
    for one in listed:
        assert {"purpose", "model", "megabytes", "gigaflops", "recall"} < one.keys()
        assert {"languages", "licence", "note", "in_use"} < one.keys()
        assert one["model"] in ask("models").out


def test_two_models_are_compared(place: Place, ask: Ask, tmp_path: Path) -> None:
    other = save_tiny_model(tmp_path / "other", seed=5)
    found = json.loads(ask("eval", place.photos, "--compare", place.model, other, "--json").out)
    assert (found["one"], found["other"], found["images"]) == (place.model, other, 4)
    assert found["text_to_image"]["mrr"]["difference"].keys() == {"value", "low", "high"}
    assert len(found["sentences"]) == 2
    captions = place.photos / "captions.jsonl"
    library = tmp_path / "own"
    assert ask("index", place.photos, captions, "--model", place.model, library=library).code == 0
    own = ask("eval", "--compare", place.model, other, library=library).out
    assert "intervals of 95 %" in own
    assert "text to image, R@1" in own
    assert ask("eval", library=place.library).code == 2
    for arguments in (
        ["eval", "--compare", "a", "b"],
        ["eval", "--compare", "a", "b", "--model", "c"],
    ):
        answer = ask(*arguments, library=place.library)
        assert (answer.code, answer.err.count("\n")) == (1, 1)


def test_a_model_goes_to_another_machine_and_is_searched_with_there(
    place: Place, ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEARCHX_MODELS", str(tmp_path / "models"))
    file = tmp_path / "model.tar"
    assert json.loads(ask("models", "export", place.model, file, "--json").out) == {
        "model": place.model,
        "file": str(file),
    }
    brought = json.loads(ask("models", "import", file, "--json").out)
    assert brought["name"] == f"local-dir:{tmp_path / 'models' / 'model'}"
    answer = ask("models", "pull", brought["name"])
    assert (answer.code, brought["digest"][:8] in answer.out) == (0, True)
    assert ask("index", place.photos, "--model", brought["name"]).code == 0
    one_line(ask("models", "import", file), "is here already")


def test_doctor_measures_and_says_how_long_a_folder_would_take(place: Place, ask: Ask) -> None:
    told = json.loads(ask("doctor", place.photos, "--json", library=place.library).out)
    assert told["pace"]["model"] == place.model
    assert told["pace"]["images"] > 0 < told["pace"]["text"]
    assert (told["folder"]["pictures"], told["folder"]["others"]) == (5, 1)
    assert told["folder"]["decoded"] > 0
    assert told["machine"]["cores"] >= 1
    assert told["forecasts"] == []  # how much work this model is, nobody has published
    lines = ask("doctor", library=place.library).out
    assert "torch (SEARCHX_RUNTIME asks for it)" in lines
    one_line(ask("doctor", place.photos / "nowhere", library=place.library), "nowhere")


def test_train_takes_ids_of_the_library_and_pairs_to_measure_on(
    place: Place, tmp_path: Path, ask: Ask
) -> None:
    found = json.loads(ask("search", "--where", "kind:image", "--json", library=place.library).out)
    ids = [hit["id"] for hit in found["hits"]]
    rows = "\n".join(f"{one},{other}" for one in ids for other in ids if one < other)
    links = tmp_path / "links.csv"
    links.write_text(f"seen,bought\n{rows}\n", encoding="utf-8")
    out = tmp_path / "out"
    options = ("--method", "lora", "--rank", "2", "--epochs", "1", "--batch", "2")
    pairs = (place.photos, "--validation-pairs", place.photos, "--interactions", links)
    answer = ask("train", *pairs, *options, "--model", place.model, "--out", out)
    assert (answer.code, answer.out) == (0, f"{out}\n")
    for told in ("text to image", "image to text", "item to item"):
        assert told in answer.err.splitlines()[-1]
    assert ask("eval", place.photos, "--model", out).code == 0
    links.write_text("seen,bought\n1,999999\n", encoding="utf-8")
    one_line(ask("train", "--interactions", links, "--out", tmp_path / "no"), "item 999999")
    one_line(ask("train", "--out", tmp_path / "no"), "nothing to train on")
