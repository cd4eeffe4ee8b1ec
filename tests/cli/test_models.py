import json

from tests.cli.commands import Ask, Place


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
        assert {"purpose", "model", "megabytes", "licence", "note", "in_use"} == one.keys()
        assert one["model"] in ask("models").out
