import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from searchx.catalog import Catalog
from tests.cli.commands import Ask, Place, one_line, started
from tests.colour import paint
from tests.tiny_model import save_tiny_model


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
    assert f"and 2 more; searchx status --library '{library}' --skipped lists them" in answer.out
    assert f"searchx search --library '{library}' " in answer.out
    assert "searchx serve" in answer.out
    plain = ask("status", library=library).out
    assert "20.png" not in plain and "and 2 more; searchx status --skipped lists them" in plain
    listed = ask("status", "--skipped").out.splitlines()
    assert [Path(line.partition(": ")[0]).name for line in listed] == [
        f"{number:02}.png" for number in range(22)
    ]
    assert len(json.loads(ask("status", "--json").out)["skipped"]) == 22


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


def indexed(photos: Path, model: str, ask: Ask, *options: str | Path) -> dict[str, Any]:
    """Index with the tests' model, and give the report."""
    answer = ask("index", photos, "--model", model, "--json", *options)
    assert answer.code == 0, answer.err
    report: dict[str, Any] = json.loads(answer.out)
    return report


def paths_in(ask: Ask) -> set[str]:
    """Name the pictures that the library finds."""
    hits = json.loads(ask("search", "x", "-k", "100", "--json").out)["hits"]
    return {Path(path).name for hit in hits for path in hit["paths"]}


def texts_in(ask: Ask) -> set[str]:
    hits = json.loads(ask("search", "x", "--to", "text", "-k", "100", "--json").out)["hits"]
    return {hit["text"] for hit in hits}


def test_without_a_path_all_sources_are_brought_up_to_date(
    tmp_path: Path, model: str, ask: Ask
) -> None:
    for name, colour in (("one", "red"), ("two", "blue")):
        indexed(paint(tmp_path / name / f"{colour}.png", colour).parent, model, ask)
    for name, colour in (("one", "green"), ("two", "yellow")):
        paint(tmp_path / name / f"{colour}.png", colour)
    report = json.loads(ask("index", "--json").out)
    assert (report["added"], report["unchanged"], report["embedded"]) == (2, 2, 2)


def test_a_library_without_sources_wants_a_path(tmp_path: Path, ask: Ask) -> None:
    Catalog.open(tmp_path / "library", create=True).close()
    one_line(ask("index", library=tmp_path / "library"), "no source", "name a folder")


def test_without_a_path_and_a_library_none_is_made(tmp_path: Path, ask: Ask) -> None:
    one_line(ask("index", library=tmp_path / "library"), "no source", "name a folder")
    assert not (tmp_path / "library").exists()


def test_only_what_is_included_and_not_excluded_is_indexed_now_and_later(
    tmp_path: Path, model: str, ask: Ask
) -> None:
    photos = tmp_path / "photos"
    for name in ("a.png", "b.png", "c.bmp", "drafts/d.png"):
        paint(photos / name, (len(name), len(name) * 9, ord(name[0])))
    indexed(photos, model, ask, "--include", "*.png", "--exclude", "drafts/", "--exclude", "b.*")
    assert paths_in(ask) == {"a.png"}
    paint(photos / "drafts" / "e.png", "red")
    paint(photos / "f.png", "green")
    assert json.loads(ask("index", "--json").out)["added"] == 1
    assert paths_in(ask) == {"a.png", "f.png"}
    indexed(photos, model, ask, "--include", "*")
    assert paths_in(ask) == {"a.png", "b.png", "c.bmp", "d.png", "e.png", "f.png"}


def test_columns_of_a_corpus_can_be_named(tmp_path: Path, model: str, ask: Ask) -> None:
    picture = paint(tmp_path / "red.png", "red")
    table = tmp_path / "corpus.csv"
    table.write_text("shot,tale,other\nred.png,all is red,never\n", encoding="utf-8")
    indexed(picture, model, ask)
    report = indexed(table, model, ask, "--text-column", "tale", "--image-column", "shot")
    assert report["skipped"] == []
    assert texts_in(ask) == {"all is red"}
    (hit,) = json.loads(ask("search", "x", "--json").out)["hits"]
    assert hit["captions"] == ["all is red"]
    assert f"{table} (row 1)  all is red" in ask("search", "x", "--to", "text").out


def test_other_columns_are_read_although_the_file_is_as_it_was(
    tmp_path: Path, model: str, ask: Ask
) -> None:
    table = tmp_path / "corpus.csv"
    table.write_text("one,two\nall is red,never\n", encoding="utf-8")
    indexed(table, model, ask, "--text-column", "one")
    indexed(table, model, ask, "--text-column", "one", "--text-column", "two")
    assert texts_in(ask) == {"all is red", "never"}


def test_what_a_source_held_that_is_suddenly_empty_goes_only_when_pruned(
    tmp_path: Path, model: str, ask: Ask
) -> None:
    picture = paint(tmp_path / "photos" / "red.png", "red")
    indexed(picture.parent, model, ask)
    picture.unlink()
    report = indexed(picture.parent, model, ask)
    assert report["removed"] == 0 and any("--prune" in note for note in report["notes"])
    assert paths_in(ask) == {"red.png"}
    assert indexed(picture.parent, model, ask, "--prune")["removed"] == 1
    assert json.loads(ask("status", "--json").out)["images"] == 0


def test_other_content_of_equal_size_and_time_is_seen_by_a_deep_run(
    tmp_path: Path, model: str, ask: Ask
) -> None:
    picture = tmp_path / "photos" / "a.bmp"  # not compressed: every colour has the same size
    paint(picture, "red")
    before = picture.stat()
    indexed(picture.parent, model, ask)
    paint(picture, "blue")
    os.utime(picture, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert indexed(picture.parent, model, ask)["unchanged"] == 1
    assert indexed(picture.parent, model, ask, "--deep")["updated"] == 1


def test_a_skipped_file_is_tried_again_when_it_is_asked_for(
    tmp_path: Path, model: str, ask: Ask
) -> None:
    picture = paint(tmp_path / "photos" / "a.bmp", "red")
    good, before = picture.read_bytes(), picture.stat()
    picture.write_bytes(b"x" * len(good))
    os.utime(picture, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert len(indexed(picture.parent, model, ask)["skipped"]) == 1
    picture.write_bytes(good)
    os.utime(picture, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert len(indexed(picture.parent, model, ask)["skipped"]) == 1
    report = indexed(picture.parent, model, ask, "--retry")
    assert (report["added"], report["skipped"]) == (1, [])


def test_a_report_tells_what_each_stage_would_manage(tmp_path: Path, model: str, ask: Ask) -> None:
    photos = paint(tmp_path / "photos" / "red.png", "red").parent
    pace = indexed(photos, model, ask)["pace"]
    assert {"decode", "embed", "write"} == pace.keys()
    assert all(rate > 0 for rate in pace.values())
    paint(photos / "blue.png", "blue")
    out = ask("index", photos).out
    assert "each stage alone: decode " in out and "slowest: " in out


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no such signal to one process")
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_watching_prints_a_document_a_run_until_it_is_stopped(
    tmp_path: Path, model: str, ending: signal.Signals
) -> None:
    photos = paint(tmp_path / "photos" / "red.png", "red").parent
    process = started(["index", photos, "--model", model, "--watch", "--json"], tmp_path / "lib")
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    assert first["added"] == 1
    assert datetime.fromisoformat(first["time"]).tzinfo is not None
    paint(tmp_path / "blue.png", "blue").rename(photos / "blue.png")
    while not (run := json.loads(process.stdout.readline()))["added"]:
        pass  # what happened while the first run was on its way is caught up with
    assert (run["added"], run["embedded"]) == (1, 1)
    process.send_signal(ending)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "")
    assert err.splitlines() == ["searchx follows changes (stop with Ctrl-C)", "stopped"]


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no such signal to one process")
def test_watching_tells_people_what_changed_and_when(tmp_path: Path, model: str, ask: Ask) -> None:
    photos = paint(tmp_path / "photos" / "red.png", "red").parent
    indexed(photos, model, ask, "--library", tmp_path / "lib")
    process = started(["index", "--watch"], tmp_path / "lib")
    assert process.stderr is not None and process.stdout is not None
    assert "follows changes" in process.stderr.readline()
    (photos / "broken.png").write_bytes(b"no picture")
    line = process.stdout.readline()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  1 skipped; \d+\.\d s\n", line)
    (photos / "red.png").unlink()
    assert "  1 removed; " in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err.splitlines()[-1]) == (0, "", "stopped")


def test_a_pattern_that_fits_nothing_is_an_error_that_names_it(
    tmp_path: Path, model: str, ask: Ask
) -> None:
    photos = paint(tmp_path / "photos" / "red.png", "red").parent
    indexed(photos, model, ask)
    one_line(ask("index", photos, "--include", "*.jpgg"), '--include "*.jpgg"', str(photos))
    one_line(ask("index", photos, "--include", ""), '--include ""', "names nothing")
    assert paths_in(ask) == {"red.png"}


def test_a_wrong_column_is_an_error_that_names_those_that_are_there(
    tmp_path: Path, model: str, ask: Ask
) -> None:
    table = tmp_path / "corpus.csv"
    table.write_text("one,two\nall is red,never\n", encoding="utf-8")
    indexed(table, model, ask, "--text-column", "one")
    one_line(ask("index", table, "--text-column", "three"), "three", '"one", "two"')
    assert texts_in(ask) == {"all is red"}
    assert indexed(table, model, ask)["unchanged"] == 1


def test_a_refused_file_that_is_all_that_was_named_is_an_error(
    tmp_path: Path, model: str, ask: Ask
) -> None:
    table = tmp_path / "corpus.csv"
    table.write_text("one,two\nall is red,never\n", encoding="utf-8")
    answer = ask("index", table, "--model", model)
    assert answer.code == 1
    assert "next:" not in answer.out
    assert answer.err.startswith(f"searchx: {table} was not indexed: none of its columns is known")
    assert answer.err.count("\n") == 1
    answer = ask("index", table, "--json")
    assert (answer.code, len(json.loads(answer.out)["skipped"])) == (1, 1)
    picture = paint(tmp_path / "red.png", "red")
    answer = ask("index", table, picture)
    assert (answer.code, "next:" in answer.out) == (0, True)


def test_keywords_in_a_picture_are_not_called_a_caption(
    tmp_path: Path, model: str, ask: Ask
) -> None:
    xmp = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
        'xmlns:dc="http://purl.org/dc/elements/1.1/"><rdf:Description><dc:title><rdf:Alt>'
        '<rdf:li xml:lang="x-default">The red barn</rdf:li></rdf:Alt></dc:title><dc:subject>'
        "<rdf:Bag><rdf:li>farm</rdf:li><rdf:li>red</rdf:li></rdf:Bag></dc:subject>"
        "</rdf:Description></rdf:RDF></x:xmpmeta>"
    )
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (40, 30), "red").save(tmp_path / "photos" / "a.jpg", xmp=xmp.encode())
    indexed(tmp_path / "photos", model, ask)
    hits = json.loads(ask("search", "x", "--to", "text", "--json").out)["hits"]
    assert {hit["text"]: hit["locations"][0]["fragment"] for hit in hits} == {
        "The red barn": "caption",
        "farm, red": "keywords",
    }
