"""Who is let in, as `searchx serve` is told."""

import os
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.cli.commands import Ask, Place, one_line, started

TOKEN = "open-sesame-open-sesame"


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--host", "0.0.0.0"], "--no-auth"),
        (["--host", "::"], "--no-auth"),
        (["--token-file", "{here}/nothing"], "cannot be read"),
        (["--token-file", "{here}/empty"], "is empty"),
        (["--token-file", "{here}/bytes"], "holds no text"),
        (["--token-file", "{here}"], "cannot be read"),
        (["--allow-host", "http://nas"], "--allow-host"),
        (["--allow-origin", "nas"], "--allow-origin"),
        (["--trust-proxy", "nas"], "--trust-proxy"),
    ],
)
def test_what_lets_in_nobody_or_anybody_is_told_in_one_line(
    options: list[str], part: str, ask: Ask, tmp_path: Path
) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    given = [one.format(here=tmp_path) for one in options]
    one_line(ask("serve", *given), part)


@pytest.mark.parametrize(
    "options", [["--no-auth", "--token", "x"], ["--token", "x", "--token-file", "{here}"]]
)
def test_options_that_contradict_each_other_are_wrong_usage(
    options: list[str], ask: Ask, tmp_path: Path
) -> None:
    assert ask("serve", *(one.format(here=tmp_path) for one in options)).code == 2


def test_what_is_let_in_on_purpose_is_warned_of(ask: Ask, place: Place) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        where = ["--host", "0.0.0.0", "--port", str(taken.getsockname()[1])]
        everyone = ask("serve", *where, "--no-auth", library=place.library)
        short = ask("serve", *where, "--token", "sesame", library=place.library)
        good = ask("serve", *where, "--token", TOKEN, library=place.library)
    assert "warning: everyone who can reach 0.0.0.0" in everyone.err
    assert "warning: a token of fewer than 16" in short.err
    assert "warning" not in good.err


def answered(address: str, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers)) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGTERM")
def test_the_command_lets_in_who_it_is_told(place: Place, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    token = ["--token-file", str(tmp_path / "token")]
    options = ["--host", "0.0.0.0", "--port", "0", *token, "--allow-host", "nas"]
    process = started(["serve", *options], place.library, SEARCHX_CACHE=str(tmp_path / "cache"))
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        assert "serves on" in line
        address = line.split()[3].replace("0.0.0.0", "127.0.0.1") + "/docs"
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        assert answered(address) == 401
        assert answered(address, **bearer) == 200
        assert answered(address, **bearer, Host="nas") == 200
        assert answered(address, **bearer, Host="evil.example") == 400
        assert not (tmp_path / "cache" / "serving").exists()  # nobody is let in beside the token
    finally:
        process.terminate()
        process.communicate(timeout=60)
