import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from searchx.catalog import Catalog
from searchx.cli import run
from searchx.records import Space
from tests.colour import paint
from tests.tiny_model import save_tiny_model

COLOURS = ("red", "green", "blue", "yellow")


@dataclass(frozen=True, slots=True)
class Place:
    """An indexed library, what it was made of, and the name of its model."""

    library: Path
    photos: Path
    model: str


@dataclass(frozen=True, slots=True)
class Answer:
    code: int
    out: str
    err: str


Ask = Callable[..., Answer]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, model: str) -> Place:
    root = tmp_path_factory.mktemp("place")
    for colour in COLOURS:
        paint(root / "photos" / f"{colour}.png", colour)
    (root / "photos" / "notes.txt").write_text("A dog jumps into a lake.\n\nThe cat sleeps.")
    (root / "photos" / "broken.jpg").write_bytes(b"no picture")
    lines = [
        {"image": f"{colour}.png", "captions": [colour, f"all {colour}"]} for colour in COLOURS
    ]
    written = "\n".join(json.dumps(line) for line in lines)
    (root / "photos" / "captions.jsonl").write_text(written)
    code = run(["index", str(root / "photos"), "--library", str(root / "lib"), "--model", model])
    assert code == 0
    return Place(root / "lib", root / "photos", model)


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Ask:
    """Run a command in this process; the library is a new one unless another is named."""
    monkeypatch.setenv("SEARCHX_LIBRARY", str(tmp_path / "no library"))

    def asked(*arguments: str | Path, library: Path | None = None) -> Answer:
        if library:
            monkeypatch.setenv("SEARCHX_LIBRARY", str(library))
        capsys.readouterr()
        code = run([str(one) for one in arguments])
        said = capsys.readouterr()
        return Answer(code, said.out, said.err)

    return asked


def started(
    arguments: Sequence[str | Path], library: Path, **settings: str
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "searchx.cli", *map(str, arguments)],
        env=os.environ | {"SEARCHX_LIBRARY": str(library)} | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def one_line(answer: Answer, *parts: str) -> None:
    """Hold that a command failed with one clear line on stderr and nothing on stdout."""
    assert answer.code == 1
    assert answer.out == ""
    assert answer.err.startswith("searchx: ") and answer.err.count("\n") == 1
    for part in parts:
        assert part in answer.err


def files_in(library: Path) -> int:
    """Count the files that an indexer has written down so far."""
    address = f"file:{library / 'catalog.db'}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True)) as catalog:
            return int(catalog.execute("SELECT count(*) FROM file").fetchone()[0])
    except sqlite3.OperationalError:
        return 0  # there is no catalog yet


def test_index_in_a_process_of_its_own_prints_the_report_and_nothing_else(
    tmp_path: Path, model: str
) -> None:
    paint(tmp_path / "photos" / "red.png", "red")
    exif = b"Exif\0\0II*\0\x08\0\0\0\x05\0damaged"
    Image.new("RGB", (40, 30), "blue").save(tmp_path / "photos" / "blue.jpg", exif=exif)
    (tmp_path / "photos" / "broken.png").write_bytes(b"no picture")
    process = started(
        ["index", tmp_path / "photos", "--model", model, "--json"], tmp_path / "library"
    )
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    report = json.loads(out)
    assert {"added", "unchanged", "moved", "updated", "removed", "seconds"} <= report.keys()
    assert (report["added"], report["unchanged"]) == (2, 0)
    assert report["images_per_second"] > 0
    assert [Path(one["path"]).name for one in report["skipped"]] == ["broken.png"]
    assert report["skipped"][0]["reason"]
    assert list((tmp_path / "library" / "snapshots").iterdir())


def test_indexing_again_changes_nothing_and_needs_no_model_name(place: Place, ask: Ask) -> None:
    report = json.loads(ask("index", place.photos, "--json", library=place.library).out)
    assert (report["added"], report["unchanged"], report["embedded"]) == (0, 5, 0)
    assert len(report["skipped"]) == 1


def test_index_tells_people_what_it_did_and_what_comes_next(
    tmp_path: Path, model: str, ask: Ask
) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(22):
        (tmp_path / "photos" / f"{number:02}.png").write_bytes(b"no picture")
    paint(tmp_path / "photos" / "red.png", "red")
    library = tmp_path / "my library"
    answer = ask("index", tmp_path / "photos", "--model", model, "--library", library)
    assert answer.code == 0
    assert answer.err == ""
    assert "1 added, 0 unchanged, 0 moved, 0 updated, 0 removed, 22 skipped" in answer.out
    assert "19.png: " in answer.out and "20.png" not in answer.out
    assert "and 2 more; searchx status lists them" in answer.out
    assert f"searchx search --library '{library}' " in answer.out
    assert "searchx serve" in answer.out
    assert "21.png: " in ask("status", library=library).out


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["index", "{tmp}/none"], "none does not exist"),
        (["index", "{photos}", "--model", "bogus"], '"bogus" is not known'),
        (["index", "{photos}", "--model", "{tmp}/x/y"], "is not known"),
        (["index", "{photos}", "--model", "local-dir:{tmp}"], "not an open_clip model directory"),
        (["index", "{photos}", "--model", "ViT-B-32/none"], 'ViT-B-32 has no weights "none"'),
    ],
)
def test_index_that_cannot_begin_leaves_no_library_behind(
    arguments: Sequence[str], part: str, place: Place, ask: Ask, tmp_path: Path
) -> None:
    given = [one.format(tmp=tmp_path, photos=place.photos) for one in arguments]
    one_line(ask(*given, library=tmp_path / "library"), part)
    assert not (tmp_path / "library").exists()


def test_index_refuses_another_model_before_it_is_downloaded(place: Place, ask: Ask) -> None:
    answer = ask("index", place.photos, "--model", "fast", library=place.library)
    one_line(answer, place.model, "ViT-B-32/laion2b_s34b_b79k", "--library")


def test_index_refuses_other_weights(place: Place, ask: Ask, tmp_path: Path) -> None:
    other = save_tiny_model(tmp_path / "other", seed=1)
    answer = ask("index", place.photos, "--model", other, library=place.library)
    one_line(answer, place.model, other, "--library")


def test_a_moved_model_directory_is_still_the_model(place: Place, ask: Ask, tmp_path: Path) -> None:
    moved = save_tiny_model(tmp_path / "moved")
    for model in (moved, place.model):  # and back again, for the tests that follow
        assert ask("index", place.photos, "--model", model, library=place.library).code == 0


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM that a process can answer")
def test_sigterm_keeps_what_was_indexed_and_the_same_command_goes_on(
    tmp_path: Path, model: str, ask: Ask
) -> None:
    photos, library = tmp_path / "photos", tmp_path / "library"
    photos.mkdir()
    noise = np.random.default_rng(0)
    for number in range(300):
        pixels = noise.integers(0, 256, (240, 320, 3), np.uint8)
        Image.fromarray(pixels).save(photos / f"{number}.png", compress_level=0)
    process = started(["index", photos, "--model", model], library)
    until = time.monotonic() + 100
    while files_in(library) == 0 and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err == (
        "stopped; what was indexed so far is kept, run the same command again to go on\n"
    )
    kept = json.loads(ask("status", "--json", library=library).out)["files"]
    assert 0 < kept < 300
    report = json.loads(ask("index", photos, "--model", model, "--json", library=library).out)
    assert (report["unchanged"], report["added"]) == (kept, 300 - kept)


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


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["search", "  "], "the query is empty"),
        (["search", "--image", "{photos}/none.png"], "none.png: the file cannot be read"),
        (["search", "--image", "{photos}/broken.jpg"], "broken.jpg: not a picture"),
        (["search", "--like", "999"], "there is no item 999"),
        (["search", "--like", "9" * 30], "there is no item 999"),
        (["eval", "{photos}/none"], "holds no pairs"),
        (["eval", "{photos}/broken.jpg"], "holds no pairs"),
        (["train", "{photos}/none", "--out", "{photos}/out"], "holds no pairs"),
        (["eval", "{photos}", "--device", "abacus"], 'device "abacus" is not known'),
        (["serve", "--host", "0.0.0.0"], "--token"),
        (["serve", "--token", "two\nlines"], "the token cannot be typed"),
        (["serve", "--token", "bytes \udcff"], "the token cannot be typed"),
        (["serve", "--token", "  "], "the token cannot be typed"),
        (["index", ""], "a path is empty"),
        (["eval", ""], "a path is empty"),
        (["search", "x", "--image", ""], "a path is empty"),
        (["status", "--library", ""], "a path is empty"),
        (["status", "--library", "~nobody-of-that-name/lib"], "a user that is not known"),
        (["train", "{photos}", "--out", "{photos}/notes.txt"], "notes.txt: "),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line(
    arguments: Sequence[str], part: str, place: Place, ask: Ask
) -> None:
    given = [one.format(photos=place.photos) for one in arguments]
    one_line(ask(*given, library=place.library), part)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["search"],
        ["search", "x", "-k", "0"],
        ["search", "x", "-k", "ten"],
        ["search", "x", "-k", "10001"],
        ["search", "x", "--to", "video"],
        ["index"],
        ["index", ".", "--no-such-option"],
        ["eval"],
        ["train", "."],
        ["train", ".", "--out", "x", "--method", "none"],
        ["serve", "--port", "70000"],
        ["no-such-command"],
    ],
)
def test_wrong_usage_exits_with_2(arguments: Sequence[str], ask: Ask) -> None:
    assert ask(*arguments).code == 2


@pytest.mark.parametrize("command", [["search", "x"], ["status"], ["serve"]])
def test_without_a_library_the_command_that_makes_one_is_named(
    command: Sequence[str], ask: Ask, tmp_path: Path
) -> None:
    one_line(ask(*command), str(tmp_path / "no library"), "searchx index")
    assert not (tmp_path / "no library").exists()


@pytest.mark.parametrize(
    "command", [["index", "{photos}", "--model", "{model}"], ["search", "x"], ["status"], ["serve"]]
)
def test_a_file_in_place_of_a_library_is_told_in_one_line(
    command: Sequence[str], place: Place, ask: Ask
) -> None:
    file = place.photos / "notes.txt"
    given = [one.format(photos=place.photos, model=place.model) for one in command]
    one_line(ask(*given, "--library", file), "notes.txt")


def test_a_library_that_another_process_is_indexing_is_told_in_one_line(
    place: Place, ask: Ask
) -> None:
    held = "with Catalog.open(sys.argv[1]).indexing(): print('held', flush=True); input()"
    program = f"import sys\nfrom searchx.catalog import Catalog\n{held}"
    with subprocess.Popen(
        [sys.executable, "-c", program, place.library],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        answer = ask("index", place.photos, library=place.library)
        other.communicate("\n")
    one_line(answer, str(place.library), "another process")


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


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_output_that_cannot_show_a_name_escapes_it(tmp_path: Path, encoding: str) -> None:
    library = tmp_path / "写真"
    Catalog.open(library, create=True).close()
    process = started(["status"], library, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "\\u5199\\u771f" in out


def test_a_damaged_catalog_is_told_in_one_line(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "catalog.db").write_bytes(b"this is no database " * 100)
    for command in (["search", "x"], ["status"], ["index", str(tmp_path)]):
        one_line(ask(*command, library=tmp_path), "catalog.db cannot be read")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes any bytes as a name")
def test_a_file_name_cannot_break_lines_or_printing(tmp_path: Path, model: str, ask: Ask) -> None:
    names = (b"two\nlines.png", b"bytes \xff.png", b"[red]markup.png", b"\x1b[31mcolour.png")
    (tmp_path / "photos").mkdir()
    for number, name in enumerate(names):
        paint(tmp_path / "one.png", (number, 0, 0))
        (tmp_path / "one.png").rename(tmp_path / "photos" / os.fsdecode(name))
    (tmp_path / "photos" / os.fsdecode(b"bad \xfe.png")).write_bytes(b"no picture")
    library = tmp_path / "library"
    made = ask("index", tmp_path / "photos", "--model", model, library=library)
    assert made.code == 0 and "bad \\udcfe.png: " in made.out
    out = ask("search", "x").out
    assert len(out.splitlines()) == len(names)
    for shown in ("two\\nlines.png", "bytes \\udcff.png", "[red]markup.png", "\\x1b[31mcolour"):
        assert shown in out
    paths = {hit["path"] for hit in json.loads(ask("search", "x", "--json").out)["hits"]}
    assert paths == {str(tmp_path / "photos" / os.fsdecode(name)) for name in names}


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


@pytest.mark.skipif(os.name == "nt", reason="Windows has no broken pipe of this kind")
def test_a_reader_that_goes_away_causes_no_traceback(tmp_path: Path) -> None:
    process = started(["models", "--json"], tmp_path)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 1
    assert said == ""


def test_version_and_help_answer(ask: Ask) -> None:
    assert ask("--version").out.startswith("searchx")
    for command in ("index", "search", "serve", "status", "eval", "train", "models"):
        answer = ask(command, "--help")
        assert answer.code == 0
        assert "--library" in answer.out
