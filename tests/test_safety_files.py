"""Only what was indexed is read: wherever a path leads by now, and whatever stands there."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi import HTTPException
from fastapi.testclient import TestClient

from indexer.pipeline import index
from indexer.planning import Options
from searchx.catalog import Catalog
from searchx.contents import open_regular
from searchx.records import Item
from searchx.search import Library
from tests.colour import ColourEncoder, paint
from web.app import create_app
from web.places import open_file

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links and devices of POSIX")
HOSTILE = (
    "a\r\nSet-Cookie: x=y",
    'a"; filename=evil.html',
    "a%0d%0aX: y",
    "\u202egnp.exe",
    "a\x1b[31m",
    "<script>alert(1)<",
    "{{7*7}}",
    "a&lt;b",
    "javascript:alert(1)",
    "x' onerror='alert(1)",
)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A picture outside of the source, to which a link of the source leads when it is indexed."""
    return paint(tmp_path / "elsewhere" / "red.png", "red")


@pytest.fixture
def photos(tmp_path: Path, elsewhere: Path) -> Path:
    folder = tmp_path / "photos"
    paint(folder / "blue.png", "blue")
    (folder / "red.png").symlink_to(elsewhere)
    return folder


@pytest.fixture
def library(photos: Path, tmp_path: Path) -> Iterator[Library]:
    catalog = Catalog.open(tmp_path / "library", create=True)
    index([photos], catalog, ColourEncoder(), options=Options(workers=0))
    catalog.close()
    with Library.open(tmp_path / "library", encoder=ColourEncoder()) as opened:
        yield opened


def item(library: Library, colour: str) -> Item:
    return library.search(colour, 1)[0].item


def given(found: Item) -> bytes | None:
    try:
        with open_file(found) as file:
            return file.read()
    except HTTPException as error:
        assert error.status_code == 410
        return None


def test_a_link_that_was_indexed_is_followed(library: Library, elsewhere: Path) -> None:
    """The indexer follows links, also out of a source; so does the server."""
    assert given(item(library, "red")) == elsewhere.read_bytes()


def test_a_link_out_of_the_source_leads_to_the_very_file_that_was_read(
    library: Library, photos: Path, elsewhere: Path, tmp_path: Path
) -> None:
    red, content = item(library, "red"), elsewhere.read_bytes()
    about = elsewhere.stat()
    os.utime(elsewhere, ns=(about.st_atime_ns, about.st_mtime_ns + 1))
    assert given(red) is None  # the same bytes, but nobody has looked at this file
    os.utime(elsewhere, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert given(red) == content


def test_a_file_that_became_a_link_out_of_the_source_is_refused(
    library: Library, photos: Path, tmp_path: Path
) -> None:
    blue, content = item(library, "blue"), (photos / "blue.png").read_bytes()
    (tmp_path / "copy.png").write_bytes(content)
    (photos / "blue.png").unlink()
    (photos / "blue.png").symlink_to(tmp_path / "copy.png")
    assert given(blue) is None
    (photos / "blue.png").unlink()
    (photos / "copy.png").write_bytes(content)
    (photos / "blue.png").symlink_to(photos / "copy.png")
    assert given(blue) == content  # within the source, the content decides


def test_a_folder_that_became_a_link_out_of_the_source_is_refused(tmp_path: Path) -> None:
    inside = tmp_path / "photos" / "inside"
    paint(inside / "blue.png", "blue")
    catalog = Catalog.open(tmp_path / "library", create=True)
    index([tmp_path / "photos"], catalog, ColourEncoder(), options=Options(workers=0))
    catalog.close()
    with Library.open(tmp_path / "library", encoder=ColourEncoder()) as library:
        blue = item(library, "blue")
        inside.rename(tmp_path / "moved")
        os.utime(tmp_path / "moved" / "blue.png")
        inside.symlink_to(tmp_path / "moved")
        assert given(blue) is None


@pytest.mark.parametrize(
    "target", ["/dev/zero", "/dev/stdin", "/dev/null", "/proc/self/environ", "/proc/self/pagemap"]
)
def test_devices_and_made_up_files_are_not_read(
    library: Library, photos: Path, target: str
) -> None:
    if not Path(target).exists():
        pytest.skip(f"no {target} here")
    for colour in ("blue", "red"):
        found = item(library, colour)
        (photos / f"{colour}.png").unlink()
        (photos / f"{colour}.png").symlink_to(target)
        assert given(found) is None


def fifo(place: Path) -> None:
    os.mkfifo(place)


def endless_loop(place: Path) -> None:
    place.symlink_to(place)


def huge(place: Path) -> None:
    with place.open("wb") as file:
        file.truncate(1 << 40)


def unreadable(place: Path) -> None:
    place.write_bytes(b"x")
    place.chmod(0)


@pytest.mark.parametrize("make", [fifo, endless_loop, huge, unreadable])
def test_what_stands_there_now_is_not_waited_for(
    library: Library, photos: Path, make: Callable[[Path], None]
) -> None:
    blue = item(library, "blue")
    (photos / "blue.png").unlink()
    try:
        make(photos / "blue.png")
    except OSError:
        pytest.skip("this file system holds no such file")
    assert given(blue) is None


@pytest.mark.skipif(sys.platform != "linux", reason="what is open stands under /proc")
def test_a_device_is_not_even_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        open_regular(str(tmp_path / "pipe"))
    with pytest.raises(OSError, match="No such device"):  # nobody reads it: it was not opened
        os.open(tmp_path / "pipe", os.O_WRONLY | os.O_NONBLOCK)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_names_stay_names(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "photos"
    try:
        paint(folder / "plain.png", "red").rename(folder / f"{name}.png")
    except OSError:
        pytest.skip("this file system holds no such names")
    (folder / "story.txt").write_text(f"{name} the red bus\n")
    catalog = Catalog.open(tmp_path / "library", create=True)
    index([folder], catalog, ColourEncoder(), options=Options(workers=0))
    catalog.close()
    with Library.open(tmp_path / "library", encoder=ColourEncoder()) as library:
        client = TestClient(create_app(library), "http://localhost")
        for to in ("image", "text"):
            found = library.search("red", 1, "image" if to == "image" else "text")[0]
            for address in ("/", f"/?q=red&to={to}", f"/items/{found.id}", "/skipped"):
                page = client.get(address).text
                assert "<script>alert" not in page and "onerror='" not in page
                assert "49" not in page.partition("<title>")[2].partition("</title>")[0]
                assert 'href="javascript' not in page
            file = client.get(f"/items/{found.id}/file")
            assert file.status_code == 200
            disposition = file.headers["content-disposition"]
            assert disposition.isascii() and disposition.isprintable()
            assert disposition.count(";") == 1 and '"' not in disposition
            assert "x" not in file.headers and "set-cookie" not in file.headers
            assert "sandbox" in file.headers["content-security-policy"]


def test_what_would_run_in_a_browser_is_never_a_file_of_the_library(tmp_path: Path) -> None:
    """SVG and HTML are no pictures for the indexer; of texts only the passage is given."""
    folder = tmp_path / "photos"
    folder.mkdir()
    script = "<script>alert(1)</script>"
    (folder / "a.svg").write_text(f'<svg xmlns="http://www.w3.org/2000/svg">{script}</svg>')
    (folder / "b.png").write_text(f'<svg xmlns="http://www.w3.org/2000/svg">{script}</svg>')
    (folder / "c.html").write_text(f"<p>A red bus, and {script} a dog.</p>")
    paint(folder / "red.png", "red")
    with (folder / "red.png").open("ab") as file:  # a picture and a page at once
        file.write(f"<html>{script}".encode())
    catalog = Catalog.open(tmp_path / "library", create=True)
    index([folder], catalog, ColourEncoder(), options=Options(workers=0))
    catalog.close()
    with Library.open(tmp_path / "library", encoder=ColourEncoder()) as library:
        client = TestClient(create_app(library), "http://localhost")
        types = {
            client.get(f"/items/{hit.id}/file").headers["content-type"]
            for hit in library.ask("red", 50, "both").hits
        }
        assert types == {"image/png", "text/plain; charset=utf-8"}
