"""export and import at the prompt."""

import json
from pathlib import Path

import numpy as np

from tests.cli.commands import COLOURS, Ask, Place, one_line


def test_a_library_goes_out_and_another_is_made_of_it(
    place: Place, ask: Ask, tmp_path: Path
) -> None:
    made = tmp_path / "out.parquet"
    answer = ask("export", made, "--where", "name:red|blue", library=place.library)
    assert (answer.code, answer.out) == (0, f"parquet: 2 items\n  {made}\n")
    answer = ask("export", made, "--json")
    told = json.loads(answer.out)
    assert (told["format"], told["items"], told["files"]) == ("parquet", len(COLOURS), [str(made)])
    new = ("--library", tmp_path / "again")
    one_line(ask("import", made, *new), f'"{place.model}", which searchx loads only', "--model")
    answer = ask("import", made, *new, "--model", place.model)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == f"parquet: {len(COLOURS)} added, 0 updated, 0 as they were\n"
    report = json.loads(ask("import", made, "--library", tmp_path / "again", "--json").out)
    assert (report["added"], report["unchanged"]) == (0, len(COLOURS))
    assert "collection:items/" in ask("search", "red", "--library", tmp_path / "again").out
    hits = json.loads(ask("search", "red", "--json", "--library", tmp_path / "again").out)["hits"]
    assert {hit["meta"]["path"] for hit in hits} == {
        str(place.photos / f"{one}.png") for one in COLOURS
    }


def test_pictures_of_tars_are_left_out_with_their_reason(
    place: Place, ask: Ask, tmp_path: Path
) -> None:
    ask("export", tmp_path / "out.npy", library=place.library)
    ask("import", tmp_path / "out.npy", "--name", "mine", "--library", tmp_path / "again")
    answer = ask("export", tmp_path / "out", "--format", "webdataset", library=tmp_path / "again")
    assert answer.code == 0
    assert answer.out.startswith("webdataset: 0 items\nleft out: 4, such as ")
    assert "added without a file" in answer.out


def test_whose_vectors_they_are_has_to_be_said(place: Place, ask: Ask, tmp_path: Path) -> None:
    file = tmp_path / "made.npy"
    np.save(file, np.eye(3, dtype=np.float32))
    one_line(ask("import", file, "--library", tmp_path / "new"), "say --model NAME", "--name NAME")
    assert not (tmp_path / "new").exists()
    one_line(ask("import", file, "--kind", "audio"), 'kind "audio" is not known')
    one_line(ask("import", tmp_path / "gone.npy"), "is not there")
    one_line(ask("export", tmp_path / "out", library=place.library), "name it with --format")
    one_line(ask("export", tmp_path / "out.npy", "--kind", "video"), "is not known")
    many = ask("import", file, "--name", "mine", "--library", tmp_path / "new")
    assert many.out.splitlines() == [
        "npy: 3 added, 0 updated, 0 as they were",
        "it has no ids: its rows are numbered from 0",
    ]
    one_line(ask("import", file, "--library", tmp_path / "new"), 'say --name "mine"')
    assert ask("import", file, "--library", tmp_path / "new", "--name", "mine").code == 0
    one_line(ask("search", "red", "--library", tmp_path / "new"), '"mine"')
