import json
import shutil
from pathlib import Path

import pytest

from tests.cli.commands import Ask, Place
from tests.tiny_model import save_tiny_model


@pytest.fixture
def own(place: Place, ask: Ask, tmp_path: Path) -> Place:
    """Give a library that may be changed, with pictures of its own."""
    photos, library = tmp_path / "photos", tmp_path / "own"
    shutil.copytree(place.photos, photos)
    assert ask("index", photos, "--model", place.model, library=library).code == 0
    return Place(library, photos, place.model)


@pytest.fixture
def other(tmp_path: Path) -> str:
    return save_tiny_model(tmp_path / "other", seed=5)


def test_a_library_goes_to_another_model_and_back(own: Place, ask: Ask, other: str) -> None:
    def told(*arguments: str) -> dict[str, object]:
        answer = ask("migrate", *arguments, "--json", library=own.library)
        assert answer.code == 0, answer.err
        found: dict[str, object] = json.loads(answer.out)
        return found

    made = told("--to", other)
    assert (made["from"], made["to"], made["switched"]) == (own.model, other, True)
    assert made["missing"] == []
    before = told("--status")["migration"]
    assert isinstance(before, dict)
    assert (before["model"], before["state"], before["share"]) == (own.model, "kept", 1.0)
    assert f"model    {other}" in ask("status", library=own.library).out
    assert len(json.loads(ask("search", "a dog", "--json", library=own.library).out)["hits"])
    back = told("--rollback")
    assert (back["to"], back["embedded"]) == (own.model, 0)
    assert told("--drop-old")["model"] == other
    assert told("--status") == {"model": own.model, "migration": None}
    lines = ask("migrate", "--to", other, "--rate", "1000", library=own.library).out.splitlines()
    assert lines[1:] == [
        f"the library is searched by {other} now; {own.model} is kept",
        "next: searchx migrate --drop-old    (or --rollback)",
    ]


def test_what_cannot_be_embedded_is_listed_and_nothing_is_switched(
    own: Place, ask: Ask, other: str
) -> None:
    picture = next(own.photos.rglob("*.png"))
    picture.rename(picture.with_name("aside"))
    answer = ask("migrate", "--to", other, library=own.library)
    assert answer.code == 1
    assert str(picture) in answer.out
    assert f"nothing was switched: the library is searched by {own.model}" in answer.out
    assert answer.err.splitlines()[-1].startswith("searchx: items that could not be embedded: 1;")
    assert "has stopped" in ask("status", library=own.library).out
    assert ask("migrate", "--without-missing", library=own.library).code == 0


@pytest.mark.parametrize(
    "arguments", [["--rollback"], ["--drop-old"], ["--abandon"], [], ["--rollback", "--to", "mini"]]
)
def test_what_cannot_be_is_refused_in_one_line(own: Place, ask: Ask, arguments: list[str]) -> None:
    answer = ask("migrate", *arguments, library=own.library)
    assert (answer.code, answer.out, answer.err.count("\n")) == (1, "", 1)
    assert answer.err.startswith("searchx: ")


def test_the_first_numbers_of_a_model_are_indexed_by_and_migrated_to(
    model: str, ask: Ask, tmp_path: Path
) -> None:
    library, note = tmp_path / "library", tmp_path / "note.txt"
    note.write_text("A dog jumps into a lake.")
    made = ask("index", note, "--model", model, "--dim", "8", library=library)
    assert made.code == 0, made.err
    assert f"{model}@8 keeps 8 of 16 numbers: of the 10 captions nearest to one" in made.err
    assert ask("index", "--dim", "8", library=library).code == 0  # its own model, as it is
    other = ask("index", note, "--dim", "4", library=library)
    assert other.code == 1 and f'"{model}@4"' in other.err
    moved = ask("migrate", "--dim", "4", library=library)
    assert moved.code == 0, moved.err
    assert f"{model}@4 keeps 4 of 16 numbers" in moved.err
    found = json.loads(ask("search", "a dog", "--to", "text", "--json", library=library).out)
    assert [hit["path"] for hit in found["hits"]] == [str(note)]
    wrong = ask("index", note, "--model", f"{model}@8", "--dim", "4", library=library)
    assert wrong.code == 1 and "give one of the two" in wrong.err
