"""`searchx search` beside a `searchx serve` that has the library's model in memory."""

import json
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from searchx.running import is_running, offered, place_of
from searchx.search import Library
from tests.cli.commands import Ask, Place
from tests.served import served
from web.app import Service, create_app

SAID = "answered by the searchx serve"
UNANSWERED = "the searchx serve of this library does not answer"

if not hasattr(socket, "AF_UNIX"):
    pytest.skip("sockets of the system are not known here", allow_module_level=True)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Have sockets in a place of this file's own."""
    with pytest.MonkeyPatch.context() as patch:
        place = tmp_path_factory.mktemp("cache")
        patch.setenv("SEARCHX_CACHE", str(place))
        yield place


@pytest.fixture(scope="module")
def server(place: Place, cache: Path) -> Iterator[Path]:
    """Serve the library as the command does; gives where it listens."""
    with Library.open(place.library) as opened, offered(place.library) as offer:
        assert offer is not None
        at = place_of(place.library)
        assert at is not None and not is_running(at), "it is shown before its model is loaded"
        app = create_app(opened, service=Service(loaded=offer.show))
        with served(app, beside=(offer.listener,)):
            waited = time.monotonic() + 60
            while not is_running(at) and time.monotonic() < waited:
                time.sleep(0.02)
            yield at
    assert not is_running(at), "it is left behind"


@contextmanager
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Have commands find no server."""
    with monkeypatch.context() as patch:
        patch.setenv("SEARCHX_CACHE", str(tmp_path / "no server"))
        yield


def timeless(text: str) -> str:
    """Leave out how long steps took."""
    text = re.sub(r'"milliseconds": \{[^}]*\}', "", text)
    return re.sub(r"milliseconds: .*", "", text)


def without_notes(text: str) -> list[str]:
    """Leave out what is said on request only."""
    notes = (SAID, UNANSWERED, "is computed by")
    return [line for line in text.splitlines() if not any(note in line for note in notes)]


def test_the_server_is_asked_and_its_answer_is_the_one_given_here(
    server: Path, place: Place, ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(place.photos)
    first = ["red", "-k", "1", "--json"]
    cursor = json.loads(ask("search", *first, library=place.library).out)["cursor"]
    picture = ["--image", "green.png", "-k", "2", "--json"]
    asked: list[tuple[list[str], bool]] = [  # and whether a server can answer it
        (["a red caf\udce9", "--where", "folder:photos kind:image", "--to", "both"], True),
        ([*first, "--after", cursor], True),
        (picture, True),
        (["a thing -blue +img:green.png^0.5", "--json", "--explain"], True),
        (["green.png", "--to", "both", "--group", "--explain"], True),
        (["--like", "1", "--diverse", "0.7", "--json"], True),
        (["red", "--where", "folder:caf\udce9"], True),
        (["red", "-k", "300", "--json"], False),
        (["word " * 600], False),
        (["--like", "999"], False),
    ]
    with alone(monkeypatch, tmp_path):
        pages = json.loads(ask("search", *picture, library=place.library).out)["cursor"]
    asked.append(([*picture, "--after", pages], False))
    for arguments, is_answered in asked:
        found = ask("search", *arguments, "--verbose", library=place.library)
        with alone(monkeypatch, tmp_path):
            expected = ask("search", *arguments, "--verbose", library=place.library)
        assert timeless(found.out) == timeless(expected.out), arguments
        assert found.code == expected.code, arguments
        assert without_notes(found.err) == without_notes(expected.err), arguments
        assert (SAID if is_answered else UNANSWERED) in found.err, arguments
        assert SAID not in expected.err and UNANSWERED not in expected.err


def test_what_does_not_answer_is_passed_over_without_a_word(
    place: Place, ask: Ask, cache: Path, tmp_path: Path
) -> None:
    library = tmp_path / "library"
    shutil.copytree(place.library, library)
    at = place_of(library)
    assert at is not None
    at.parent.mkdir(mode=0o700, exist_ok=True)
    expected = ask("search", "red", library=library)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(at))
        listener.listen()
        half = b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{"
        answering = threading.Thread(target=_answer_each, args=(listener, half, 2), daemon=True)
        answering.start()
        assert ask("search", "red", library=library) == expected
        assert UNANSWERED in ask("search", "red", "--verbose", library=library).err
        answering.join(timeout=10)
    assert ask("search", "red", library=library) == expected  # nobody listens any more
    at.unlink()


def _answer_each(listener: socket.socket, answer: bytes, times: int) -> None:
    for _ in range(times):
        client, _ = listener.accept()
        with client:
            client.recv(65536)
            client.sendall(answer)


def test_sockets_of_servers_that_were_killed_are_swept(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEARCHX_CACHE", str(tmp_path))
    with offered(place.library):
        folder = tmp_path / "serving"
    sockets = {name: socket.socket(socket.AF_UNIX) for name in ("killed", "starting", "running")}
    for name, one in sockets.items():
        one.bind(str(folder / name))
        if name != "starting":
            os.utime(folder / name, (1, 1))
    sockets["running"].listen()
    for name in ("killed", "starting"):
        sockets[name].close()
    with offered(place.library):
        assert {one.name for one in folder.iterdir() if one.name in sockets} == {
            "starting",
            "running",
        }
    sockets["running"].close()


def test_a_folder_that_others_may_enter_is_not_trusted(server: Path) -> None:
    server.parent.chmod(0o755)
    try:
        assert not is_running(server)
    finally:
        server.parent.chmod(0o700)
    assert is_running(server)


def test_another_library_or_another_way_of_computing_is_another_place(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = place_of(place.library)
    shutil.copytree(place.library, tmp_path / "copy")
    assert place_of(tmp_path / "copy") not in (None, before)
    monkeypatch.delenv("SEARCHX_RUNTIME")
    assert place_of(place.library) not in (None, before)
    assert place_of(tmp_path / "nothing") is None


def test_the_line_about_what_computes_is_there_on_request_only(
    place: Place, ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "note.txt").write_text("Something new.")
    shutil.copytree(place.library, tmp_path / "library")
    with alone(monkeypatch, tmp_path):
        plain = ask("search", "red", library=place.library)
        told = ask("search", "red", "-v", library=place.library)
        note = tmp_path / "note.txt"
        indexed = ask("index", note, "--verbose", library=tmp_path / "library")
    line = f"{place.model} is computed by torch (SEARCHX_RUNTIME asks for it)"
    assert line not in plain.err
    assert told.out == plain.out and told.err.count(line) == 1
    assert indexed.err.count(line) == 1
