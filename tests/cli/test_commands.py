import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from searchx.catalog import Catalog
from tests.cli.commands import Ask, Place, one_line, started

COMMANDS = (
    *("index", "search", "serve", "status", "forget", "eval", "train", "models"),
    *("verify", "repair", "compact", "backup", "restore"),
)


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
        (["forget", ""], "a path is empty"),
        (["source", "move", "", "x"], "a path is empty"),
        (["backup", ""], "a path is empty"),
        (["restore", ""], "a path is empty"),
        (["eval", ""], "a path is empty"),
        (["search", "x", "--image", ""], "a path is empty"),
        (["status", "--library", ""], "a path is empty"),
        (["restore", "{photos}/none"], "none does not exist; name a backup"),
        (["restore", "{photos}"], "photos is a folder; name a backup"),
        (["backup", "{photos}/none/kept"], "none is no folder; make it first"),
        (["backup", "{photos}"], "photos is a folder; name the file"),
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
        ["index", ".", "--no-such-option"],
        ["index", ".", "--include"],
        ["forget"],
        ["source"],
        ["source", "move", "."],
        ["source", "no-such-command"],
        ["verify", "."],
        ["backup"],
        ["restore"],
        ["eval"],
        ["train", "."],
        ["train", ".", "--out", "x", "--method", "none"],
        ["serve", "--port", "70000"],
        ["no-such-command"],
    ],
)
def test_wrong_usage_exits_with_2(arguments: Sequence[str], ask: Ask) -> None:
    assert ask(*arguments).code == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["search", "x", "-k", "0"], "'-k': \"0\"; give at least 1"),
        (["search", "x", "-k", "ten"], "'-k': \"ten\"; give a whole number"),
        (["search", "x", "--to", "video"], "'--to': \"video\"; give image"),
        (["serve", "--port", "70000"], "'--port': \"70000\"; give at most 65535"),
        (
            ["train", ".", "--out", "x", "--method", "none"],
            "'--method': \"none\"; give head, full, lora, bitfit or prompt",
        ),
        (["train", ".", "--out", "x", "--rate", "much"], "'--rate': \"much\"; give a number"),
    ],
)
def test_a_value_that_an_option_cannot_take_is_told_with_those_that_it_takes(
    arguments: Sequence[str], said: str, ask: Ask
) -> None:
    answer = ask(*arguments)
    assert answer.code == 2
    assert said in answer.err.splitlines()[-1]
    assert "Input should" not in answer.err


@pytest.mark.parametrize(
    "command",
    [
        ["search", "x"],
        ["status"],
        ["serve"],
        ["forget", "."],
        ["source", "move", ".", "."],
        ["verify"],
        ["repair"],
        ["compact"],
        ["backup", "library.backup"],
    ],
)
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


def test_a_damaged_catalog_is_told_in_one_line(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "catalog.db").write_bytes(b"this is no database " * 100)
    for command in (["search", "x"], ["status"], ["index", str(tmp_path)]):
        one_line(ask(*command, library=tmp_path), "catalog.db cannot be read")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_output_that_cannot_show_a_name_escapes_it(tmp_path: Path, encoding: str) -> None:
    library = tmp_path / "写真"
    Catalog.open(library, create=True).close()
    process = started(["status"], library, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "\\u5199\\u771f" in out


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
    for command in (*COMMANDS, "source move"):
        answer = ask(*command.split(), "--help")
        assert answer.code == 0
        assert "--library" in answer.out


def test_the_module_answers_as_the_script_does(tmp_path: Path) -> None:
    process = started(["--help"], tmp_path)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    for command in (*COMMANDS, "source"):
        assert f"\n  {command} " in out
