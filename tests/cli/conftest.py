"""Fixtures that the tests of the commands share."""

import json
from pathlib import Path

import pytest

from searchx.cli import run
from tests.cli.commands import COLOURS, Answer, Ask, Place
from tests.colour import paint
from tests.tiny_model import save_tiny_model


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
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
