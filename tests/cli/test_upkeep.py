import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.commands import COLOURS, Ask, Place, one_line
from tests.colour import paint


@pytest.fixture
def library(place: Place, tmp_path: Path) -> Path:
    """A library of the test's own, in the state of the shared one."""
    return Path(shutil.copytree(place.library, tmp_path / "library"))


def change(library: Path, statement: str) -> None:
    """Damage a catalog as no command would."""
    with closing(sqlite3.connect(library / "catalog.db")) as catalog, catalog:
        catalog.execute(statement)


def largest_snapshot_file(library: Path) -> Path:
    return max((library / "snapshots").glob("*/*"), key=lambda path: path.stat().st_size)


def test_a_sound_library_is_verified_with_counts_and_0(library: Path, ask: Ask) -> None:
    answer = ask("verify", "--json", library=library)
    verdict = json.loads(answer.out)
    assert (answer.code, answer.err) == (0, "")
    assert (verdict["ok"], verdict["problems"]) == (True, [])
    assert verdict["items"] == verdict["vectors"] >= len(COLOURS)
    assert verdict["snapshots"] >= 1
    out = ask("verify").out
    assert out.startswith(f"nothing is wrong; checked: {verdict['items']} items, ")
    assert out.count("\n") == 1


def test_a_lost_vector_is_told_with_what_to_do_and_exits_with_1(library: Path, ask: Ask) -> None:
    change(library, "DELETE FROM vector WHERE item_id = (SELECT min(item_id) FROM vector)")
    answer = ask("verify", "--json", library=library)
    verdict = json.loads(answer.out)
    assert (answer.code, answer.err, verdict["ok"]) == (1, "", False)
    for problem in verdict["problems"]:
        assert {"what", "which", "do"} == problem.keys()
        assert all(problem.values())
    answer = ask("verify")
    assert answer.code == 1
    lines = answer.out.splitlines()
    assert len(lines) == len(verdict["problems"]) + 1
    for line, problem in zip(lines, verdict["problems"], strict=False):
        assert line == f"{problem['what']}: {problem['which']}; {problem['do']}"


def test_a_broken_snapshot_is_found_and_repaired(library: Path, ask: Ask) -> None:
    broken = largest_snapshot_file(library)
    broken.write_bytes(broken.read_bytes()[:-10])
    assert ask("verify", library=library).code == 1
    done = json.loads(ask("repair", "--json").out)["done"]
    assert done and all(isinstance(line, str) for line in done)
    assert ask("verify").code == 0
    assert len(ask("search", "red").out.splitlines()) == len(COLOURS)
    assert ask("repair").out == "nothing to repair\n"


def test_compact_gives_back_what_was_forgotten(library: Path, ask: Ask, tmp_path: Path) -> None:
    rows = "\n".join(f"row {number} of a large table" for number in range(400))
    table = tmp_path / "table.csv"
    table.write_text(f"text\n{rows}\n", encoding="utf-8")
    assert ask("index", table, library=library).code == 0
    assert ask("forget", table).code == 0
    sizes = json.loads(ask("compact", "--json").out)
    assert 0 < sizes["after"] < sizes["before"]
    assert ask("compact").out.startswith("compacted: ")
    assert ask("verify").code == 0


def test_a_backup_becomes_the_same_library_elsewhere(
    library: Path, ask: Ask, tmp_path: Path
) -> None:
    file = tmp_path / "library.backup"
    made = json.loads(ask("backup", file, "--json", library=library).out)
    assert made == {"file": str(file), "bytes": file.stat().st_size}
    state = json.loads(ask("status", "--json").out)
    found = json.loads(ask("search", "red", "--json").out)
    answer = ask("restore", file, library=tmp_path / "elsewhere")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == f"restored: {tmp_path / 'elsewhere'}\n"
    again = json.loads(ask("status", "--json").out)
    for name in ("model", "images", "texts", "files", "sources", "skipped"):
        assert again[name] == state[name]
    assert json.loads(ask("search", "red", "--json").out) == found
    assert ask("verify").code == 0


def test_a_library_is_replaced_by_a_backup_only_with_force(
    place: Place, library: Path, ask: Ask, tmp_path: Path
) -> None:
    file = tmp_path / "library.backup"
    assert ask("backup", file, library=library).code == 0
    assert ask("forget", place.photos).code == 0
    one_line(ask("restore", file), str(library), "--force")
    assert json.loads(ask("status", "--json").out)["images"] == 0
    assert json.loads(ask("restore", file, "--force", "--json").out) == {"library": str(library)}
    assert json.loads(ask("status", "--json").out)["images"] == len(COLOURS)


def test_what_is_no_backup_is_told_in_one_line_and_changes_nothing(
    place: Place, library: Path, ask: Ask, tmp_path: Path
) -> None:
    picture = paint(tmp_path / "red.png", "red")
    one_line(ask("restore", picture, "--force", library=library), "red.png")
    one_line(ask("restore", tmp_path / "none", "--force"), "none")
    assert ask("verify").code == 0
    assert json.loads(ask("status", "--json").out)["images"] == len(COLOURS)


def test_forget_removes_a_source_and_only_that(place: Place, library: Path, ask: Ask) -> None:
    other = paint(library.parent / "more" / "white.png", "white").parent
    assert ask("index", other, library=library).code == 0
    answer = ask("forget", f"{place.photos}/", "--json")
    assert (answer.code, answer.err) == (0, "")
    forgotten = json.loads(answer.out)
    assert forgotten["source"] == str(place.photos) and forgotten["files"] >= len(COLOURS)
    state = json.loads(ask("status", "--json").out)
    assert (state["images"], state["sources"], state["skipped"]) == (1, [str(other)], [])
    assert (place.photos / "red.png").is_file()
    assert ask("forget", other).out == f"forgotten: {other} (files: 1)\n"
    assert ask("verify").code == 0


def test_a_source_that_is_gone_from_the_disk_can_be_forgotten(
    library: Path, ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = paint(tmp_path / "gone" / "white.png", "white").parent
    assert ask("index", gone, library=library).code == 0
    shutil.rmtree(gone)
    monkeypatch.chdir(tmp_path)
    assert json.loads(ask("forget", "gone", "--json").out)["source"] == str(gone)


@pytest.mark.parametrize("command", [["forget", "{path}"], ["source", "move", "{path}", "."]])
def test_what_is_no_source_is_told_with_the_sources(
    command: list[str], place: Place, library: Path, ask: Ask
) -> None:
    given = [one.format(path=place.photos / "red.png") for one in command]
    one_line(ask(*given, library=library), "red.png is no source", str(place.photos))
    assert json.loads(ask("status", "--json").out)["images"] == len(COLOURS)


def test_a_moved_source_is_told_and_nothing_is_embedded_again(
    place: Place, library: Path, ask: Ask, tmp_path: Path
) -> None:
    old = Path(shutil.copytree(place.photos, tmp_path / "old"))
    assert ask("index", old, library=library).code == 0
    new = old.rename(tmp_path / "new")
    answer = ask("source", "move", old, new, "--json")
    assert (answer.code, answer.err) == (0, "")
    moved = json.loads(answer.out)
    assert (moved["old"], moved["new"]) == (str(old), str(new))
    assert moved["files"] >= len(COLOURS)
    assert json.loads(ask("status", "--json").out)["sources"] == [str(place.photos), str(new)]
    report = json.loads(ask("index", new, "--json").out)
    assert (report["added"], report["moved"], report["embedded"]) == (0, 0, 0)
    assert ask("source", "move", new, old).code == 1  # there is nothing at the old place
    assert ask("verify").code == 0


def test_a_moved_source_is_told_to_people_in_one_line(
    library: Path, ask: Ask, tmp_path: Path
) -> None:
    old = paint(tmp_path / "old" / "white.png", "white").parent
    assert ask("index", old, library=library).code == 0
    new = old.rename(tmp_path / "new")
    assert ask("source", "move", old, new).out == f"moved: {old} to {new} (files: 1)\n"
