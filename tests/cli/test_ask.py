import json
import os
import signal
import urllib.request
from pathlib import Path

import pytest

from searchx.catalog import Catalog
from searchx.records import Space
from tests.cli.commands import COLOURS, Ask, Place, one_line, started
from tests.colour import paint


def test_search_gives_hits_best_first_in_the_documented_shape(place: Place, ask: Ask) -> None:
    answer = ask("search", "a red thing", "-k", "3", "--json", library=place.library)
    assert (answer.code, answer.err) == (0, "")
    found = json.loads(answer.out)
    assert found["query"] == {
        "text": "a red thing",
        "image": None,
        "like": None,
        "to": "image",
        "k": 3,
    }
    scores = [hit["score"] for hit in found["hits"]]
    assert len(scores) == 3 and scores == sorted(scores, reverse=True)
    for hit in found["hits"]:
        assert hit["kind"] == "image"
        assert hit["path"] in hit["paths"] and Path(hit["path"]).is_absolute()


def test_a_picture_finds_itself_first(place: Place, ask: Ask) -> None:
    picture = place.photos / "green.png"
    found = json.loads(ask("search", "--image", picture, "--json", library=place.library).out)
    assert found["query"]["image"] == str(picture)
    assert found["hits"][0]["path"] == str(picture)
    assert found["hits"][0]["score"] == pytest.approx(1, abs=1e-3)


def test_more_like_an_item_leaves_the_item_out(place: Place, ask: Ask) -> None:
    first = json.loads(ask("search", "red", "--json", library=place.library).out)["hits"][0]["id"]
    found = json.loads(ask("search", "--like", str(first), "--json", library=place.library).out)
    ids = [hit["id"] for hit in found["hits"]]
    assert len(ids) == len(COLOURS) - 1 and first not in ids


def test_search_for_people_prints_a_line_a_hit_with_short_paths(
    place: Place, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.photos.parent)
    lines = ask("search", "blue", library=place.library).out.splitlines()
    assert len(lines) == len(COLOURS)
    for line in lines:
        score, path = line.split()
        assert -1 <= float(score) <= 1
        assert (place.photos.parent / path).is_file() and not Path(path).is_absolute()


def test_texts_are_shown_with_passage_and_place(place: Place, ask: Ask) -> None:
    out = ask("search", "a lake", "--to", "text", library=place.library).out
    assert f"{place.photos / 'notes.txt'} (line 1)  A dog jumps into a lake." in out


def test_a_library_without_texts_says_that_nothing_is_found(
    tmp_path: Path, model: str, ask: Ask
) -> None:
    paint(tmp_path / "red.png", "red")
    library = tmp_path / "library"
    assert ask("index", tmp_path / "red.png", "--model", model, library=library).code == 0
    answer = ask("search", "a lake", "--to", "text")
    assert (answer.code, answer.out) == (0, "")
    assert answer.err == "nothing found: the library holds no text to compare with\n"
    assert json.loads(ask("search", "a lake", "--to", "text", "--json").out)["hits"] == []


def test_a_model_that_cannot_be_had_is_told_at_once_with_the_ways_out(tmp_path: Path) -> None:
    catalog = Catalog.open(tmp_path / "library", create=True)
    with catalog.writing() as tx:
        tx.claim_space(Space("ViT-B-32/laion2b_s34b_b79k", "0" * 32, 512))
    catalog.close()
    nowhere = {"HF_HOME": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}
    process = started(["search", "x"], tmp_path / "library", **nowhere)
    out, err = process.communicate(timeout=240)
    assert (process.returncode, out) == (1, "")
    assert "the hub cannot be reached" in err and "HF_HOME" in err and "local-dir:PATH" in err
    assert len(err.splitlines()) == 1


def test_a_query_of_undecodable_bytes_is_searched_all_the_same(place: Place, ask: Ask) -> None:
    answer = ask("search", os.fsdecode(b"red \xff"), library=place.library)
    assert answer.code == 0 and len(answer.out.splitlines()) == len(COLOURS)


def test_status_tells_what_the_library_holds(place: Place, ask: Ask) -> None:
    state = json.loads(ask("status", "--json", library=place.library).out)
    assert (state["images"], state["texts"], state["files"]) == (4, 2, 5)
    assert (state["library"], state["model"]) == (str(place.library), place.model)
    assert state["sources"] == [str(place.photos)]
    assert state["bytes"] > 0
    assert [Path(one["path"]).name for one in state["skipped"]] == ["broken.jpg"]
    out = ask("status").out
    for part in (
        "4 images and 2 texts, in 5 files",
        place.model,
        str(place.photos),
        "broken.jpg: ",
    ):
        assert part in out


def test_a_library_with_nothing_skipped_lists_nothing(tmp_path: Path, model: str, ask: Ask) -> None:
    picture = paint(tmp_path / "red.png", "red")
    assert ask("index", picture, "--model", model, library=tmp_path / "library").code == 0
    answer = ask("status", "--skipped")
    assert (answer.code, answer.out, answer.err) == (0, "", "no file was skipped\n")


def test_a_port_that_is_taken_is_told_at_once(place: Place, ask: Ask) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        one_line(ask("serve", "--port", port, library=place.library), port, "--port")


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
def test_serve_answers_until_ctrl_c(place: Place) -> None:
    process = started(["serve", "--port", "0"], place.library)
    assert process.stderr is not None
    line = process.stderr.readline()
    assert line.startswith("searchx serves on http://127.0.0.1:")
    address = line.split()[3]
    with urllib.request.urlopen(f"{address}/api/search?q=red&k=2", timeout=60) as answer:
        assert len(json.load(answer)["hits"]) == 2
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "stopped\n")
