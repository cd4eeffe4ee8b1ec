import json
import os
import re
import signal
import urllib.request
from pathlib import Path

import pytest

from searchx.catalog import Catalog
from searchx.records import Space
from searchx.terminal import WAYS
from tests.cli.commands import COLOURS, Ask, Place, one_line, started
from tests.colour import paint


def test_search_gives_hits_best_first_in_the_documented_shape(place: Place, ask: Ask) -> None:
    answer = ask("search", "a thing", "-k", "3", "--json", library=place.library)
    assert (answer.code, answer.err) == (0, "")
    found = json.loads(answer.out)
    assert found["query"] == {
        "text": "a thing",
        "image": None,
        "like": None,
        "to": "image",
        "k": 3,
        "where": None,
        "after": None,
        "group": False,
        "diversity": 0.0,
    }
    assert list(found) == ["query", "hits", "cursor", "has_match", "chance", "notice"]
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
        band, path = re.split(r"  +", line)[:2]
        assert band in ("strong", "fair", "weak")
        assert (place.photos.parent / path).is_file() and not Path(path).is_absolute()
    assert "photos/blue.png  matched: blue, in the " in "\n".join(lines)


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


def names(hits: list[dict[str, str]]) -> list[str]:
    return [Path(hit["path"]).name for hit in hits]


def test_filters_stand_in_the_text_or_beside_it(place: Place, ask: Ask) -> None:
    within = json.loads(ask("search", "blue name:red*", "--json", library=place.library).out)
    beside = json.loads(ask("search", "blue", "--where", "name:red*", "--json").out)
    assert names(within["hits"]) == names(beside["hits"]) == ["red.png"]
    assert (within["query"]["where"], beside["query"]["where"]) == (None, "name:red*")


def test_a_filter_alone_lists_what_passes_it_without_a_band(place: Place, ask: Ask) -> None:
    out = ask("search", "--where", "ext:png -name:red*", library=place.library).out
    assert sorted(Path(line).name for line in out.splitlines()) == [
        "blue.png",
        "green.png",
        "yellow.png",
    ]


def test_a_filter_that_nothing_passes_says_so(place: Place, ask: Ask) -> None:
    answer = ask("search", "red", "--where", "ext:gif", library=place.library)
    assert (answer.code, answer.out) == (0, "")
    assert answer.err == "nothing found: no image passes the filter\n"


def test_a_bad_filter_is_told_by_name_before_anything_is_loaded(place: Place, ask: Ask) -> None:
    one_line(ask("search", "red", "--where", "camra:canon", library=place.library), "camra")
    one_line(ask("search", "red taken:soon"), "taken:soon")


def test_a_picture_can_be_named_in_the_text(place: Place, ask: Ask) -> None:
    picture = place.photos / "green.png"
    found = json.loads(ask("search", f'img:"{picture}"', "--json", library=place.library).out)
    assert names(found["hits"])[0] == "green.png"
    one_line(ask("search", "img:nowhere.png"), "nowhere.png")


def test_the_words_may_say_what_to_find(place: Place, ask: Ask) -> None:
    found = json.loads(ask("search", "lake kind:text", "--json", library=place.library).out)
    assert found["query"]["to"] == "text"
    assert {hit["kind"] for hit in found["hits"]} == {"text"}
    both = json.loads(ask("search", "lake", "--to", "both", "--json").out)
    assert {hit["kind"] for hit in both["hits"]} == {"image", "text"}


def test_pages_follow_each_other_by_cursor(place: Place, ask: Ask) -> None:
    whole = json.loads(ask("search", "red", "--json", library=place.library).out)
    first = json.loads(ask("search", "red", "-k", "2", "--json").out)
    after = first["cursor"]
    second = json.loads(ask("search", "red", "-k", "2", "--after", after, "--json").out)
    assert names(first["hits"] + second["hits"]) == names(whole["hits"])
    assert (second["query"]["after"], second["cursor"]) == (after, None)
    assert f"more: --after {after}\n" in ask("search", "red", "-k", "2").err
    one_line(ask("search", "blue", "--after", after), "cursor")


def test_near_duplicates_are_one_hit_where_it_is_asked_for(
    tmp_path: Path, model: str, ask: Ask
) -> None:
    for number in range(3):
        paint(tmp_path / "photos" / f"{number}.png", (250 + number, 0, 0))
    paint(tmp_path / "photos" / "blue.png", "blue")
    library = tmp_path / "library"
    assert ask("index", tmp_path / "photos", "--model", model, library=library).code == 0
    found = json.loads(ask("search", "red", "--group", "--json").out)
    stands_for = [1 + len(hit["alike"]) for hit in found["hits"]]
    assert sum(stands_for) == 4 and len(stands_for) < 4
    assert found["query"]["group"] is True
    assert f"  +{max(stands_for) - 1} alike\n" in ask("search", "red", "--group").out


def test_hits_can_be_made_unlike_each_other(place: Place, ask: Ask) -> None:
    answer = ask("search", "red", "-k", "2", "--diverse", "1", "--json", library=place.library)
    found = json.loads(answer.out)
    assert len(found["hits"]) == 2
    assert (found["query"]["diversity"], found["cursor"]) == (1, None)


def test_what_was_perhaps_meant_is_offered(place: Place, ask: Ask) -> None:
    answer = ask("search", "a beach without people", library=place.library)
    assert answer.err.startswith("did you mean: a beach -people\n")
    found = json.loads(ask("search", "a beach without people", "--json").out)
    assert found["notice"] == "a beach -people"


def test_nothing_here_matches_is_told_above_the_hits(tmp_path: Path, ask: Ask) -> None:
    """With mini, which knows what a bus is."""
    for colour in COLOURS:
        paint(tmp_path / "photos" / f"{colour}.png", colour)
    assert ask("index", tmp_path / "photos", library=tmp_path / "library").code == 0
    found = json.loads(ask("search", "a bus in the snow", "--json").out)
    assert found["has_match"] is False and len(found["hits"]) == len(COLOURS)
    answer = ask("search", "a bus in the snow")
    assert answer.err == "nothing here matches; the nearest there is:\n"
    assert len(answer.out.splitlines()) == len(COLOURS)


def test_a_search_explains_itself(place: Place, ask: Ask) -> None:
    answer = ask("search", "blue name:*e*", "--explain", library=place.library)
    assert f"images: {WAYS['exact within']}\n" in answer.out
    assert "  4 of 4 items pass" in answer.out and "  milliseconds: embed " in answer.out
    assert "cosine " in answer.out and "relevance " in answer.out
    (plan,) = json.loads(ask("search", "blue", "--explain", "--json").out)["explained"]
    assert (plan["kind"], plan["items"], plan["passing"]) == ("image", 4, 4)
    assert "explained" not in json.loads(ask("search", "blue", "--json").out)


def test_items_at_random_are_the_same_for_the_same_seed(place: Place, ask: Ask) -> None:
    found = json.loads(ask("search", "--random", "--json", library=place.library).out)
    assert sorted(names(found["hits"])) == sorted(f"{colour}.png" for colour in COLOURS)
    assert {hit["band"] for hit in found["hits"]} == {None}
    seed = str(found["query"]["seed"])
    again = json.loads(ask("search", "--random", "--seed", seed, "--json").out)
    assert again == found
    lines = ask("search", "--random", "-k", "1", "--where", "name:red*").out.splitlines()
    assert [Path(line).name for line in lines] == ["red.png"]
    assert ask("search", "--random", "--where", "ext:gif").err == (
        "nothing found: no image passes the filter\n"
    )


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ([], "TEXT, --image, --like, --where or --random"),
        (["red", "--random"], "not with TEXT"),
        (["--random", "--group", "--explain"], "not with --group, --explain"),
        (["--random", "--to", "both"], "one kind"),
        (["red", "--seed", "3"], "--seed goes with --random"),
        (["red", "--after", "x", "--diverse", "0.5"], "leave out --after"),
        (["red", "--diverse", "2"], "at most 1"),
        (["red", "--to", "sound"], "sound"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(
    place: Place, ask: Ask, typed: list[str], says: str
) -> None:
    answer = ask("search", *typed, library=place.library)
    assert (answer.code, answer.out) == (2, "")
    assert says in " ".join(answer.err.split())


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
    line, last = err.splitlines()
    assert (process.returncode, out, last) == (0, "", "stopped")
    assert json.loads(line)["route"] == "/api/search"
