"""What the page about deploying says is what holds, and its files can be used."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from searchx.pictures.limits import MAX_PIXELS
from searchx.query import MAX_PARTS
from web import decoding
from web.guard import MAX_HELD, MAX_OPEN
from web.limits import DEFAULT
from web.sessions import SECONDS
from web.shapes import MAX_TEXT, MAX_UPLOAD
from web.tries import AT_ONCE, SECONDS_EACH
from web.waiting import WAITING

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
UNIT = ROOT / "deploy" / "searchx.service"


def row(name: str) -> list[int]:
    """Give the numbers of a row of the tables."""
    found = re.search(rf"^\| {name} \|(.*)$", PAGE, re.MULTILINE)
    assert found, name
    return [int(one.replace(",", "")) for one in re.findall(r"\d[\d,]*", found[1])]


def test_the_limits_are_those_that_hold() -> None:
    assert row("Connections")[:1] == [DEFAULT.connections]
    assert row("Headers") == [DEFAULT.head_bytes >> 10, DEFAULT.head_seconds]
    sent = [MAX_UPLOAD >> 20, MAX_HELD >> 20, DEFAULT.body_seconds, DEFAULT.body_rate >> 10]
    sent.append(MAX_OPEN >> 10)
    assert row("What takes long") == [WAITING, 503]
    assert row("What is sent") == sent
    assert row("Reading the answer")[1] == DEFAULT.read_seconds
    assert row("A picture that is sent")[:5] == [
        *(MAX_PIXELS // 1_000_000, decoding.SECONDS, decoding.MEMORY >> 30),
        *(decoding.MAX_PICTURES, decoding.MAX_WAITING),
    ]
    assert row("A text")[:2] == [MAX_TEXT, MAX_PARTS]
    assert row("Guessing")[0] == AT_ONCE and SECONDS_EACH in row("Guessing")
    assert row("People")[0] * 86400 == SECONDS


def test_the_files_that_it_names_are_there() -> None:
    named = set(re.findall(r"`deploy/(\w[\w.]*)`", PAGE)) | {"Containerfile"}
    assert named == {path.name for path in (ROOT / "deploy").iterdir()}


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_the_unit_is_one_and_exposes_little() -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=25", str(UNIT)]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "Unknown key" not in checked.stderr
    assert checked.returncode == 0, checked.stdout[-200:]


@pytest.mark.skipif(not shutil.which("nginx"), reason="needs nginx")
def test_the_site_is_one_for_nginx(tmp_path: Path) -> None:
    site = (ROOT / "deploy" / "nginx.conf").read_text(encoding="utf-8")
    for name, kind in (("fullchain", "-out"), ("privkey", "-keyout")):
        site = site.replace(
            f"/etc/letsencrypt/live/photos.example/{name}.pem", str(tmp_path / kind)
        )
    key = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x"]
    made = [*key, "-out", str(tmp_path / "-out"), "-keyout", str(tmp_path / "-keyout")]
    subprocess.run(made, check=True, capture_output=True)
    (tmp_path / "site.conf").write_text(site)
    whole = f"pid {tmp_path}/pid; error_log {tmp_path}/error.log; events {{}}\nhttp {{\n"
    places = ("access_log", "client_body_temp_path", "proxy_temp_path")
    whole += "".join(f"{name} {tmp_path}/{name};\n" for name in places)
    (tmp_path / "nginx.conf").write_text(f"{whole}include {tmp_path}/site.conf;\n}}\n")
    command = ["nginx", "-t", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stderr
