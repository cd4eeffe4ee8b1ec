"""A library on a server answers as the same library here: same methods, same records."""

import inspect
import re
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from PIL import Image

import searchx
from indexer.pipeline import index
from indexer.planning import Options
from searchx.catalog import Catalog
from searchx.errors import BadInput, NoLibrary, SearchxError, ServerError, UnreadableImage
from searchx.filters import Is
from searchx.progress import Publisher
from searchx.records import Hit, Part, Query
from searchx.remote import RemoteLibrary
from searchx.search import Library
from tests.colour import COLOURS, ColourEncoder, paint
from tests.served import Address, served
from web.api.batch import MAX_VECTORS
from web.api.bodies import MAX_VALUES
from web.api.inputs import MAX_CHARACTERS, MAX_INPUT
from web.app import create_app

ROOT = Path(__file__).resolve().parent.parent
TOKEN = "a secret"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number, colour in enumerate(COLOURS):
        paint(folder / f"{number % 2}" / f"{colour}.png", colour)
    for number in range(10):  # in more than one cluster, and some of them twice
        paint(folder / "shades" / f"{number}.png", (number * 25, 40, 90))
    for colour in ("green", "pink"):
        shutil.copy(folder / "1" / f"{colour}.png", folder / "shades" / f"{colour} copy.png")
    (folder / "notes.txt").write_text("The red bus.")
    (folder / "story.txt").write_text("\n\n".join(f"{one} " * 50 for one in COLOURS))
    for number in range(3):
        (folder / "shades" / f"broken {number}.png").write_bytes(b"no picture")
    (folder / "broken.png").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def here(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    place = tmp_path_factory.mktemp("library")
    catalog = Catalog.open(place, create=True)
    index([folder], catalog, ColourEncoder(), options=Options(workers=0))
    catalog.close()
    with Library.open(place, encoder=ColourEncoder()) as library:
        yield library


@pytest.fixture(scope="module")
def there(here: Library) -> Iterator[RemoteLibrary]:
    with (
        served(create_app(here, token=TOKEN)) as address,
        searchx.connect(url(address), token=TOKEN) as remote,
    ):
        yield remote


def url(address: Address) -> str:
    return f"http://{address[0]}:{address[1]}"


def public(kind: type) -> dict[str, Any]:
    every = {name: one for base in reversed(kind.__mro__) for name, one in vars(base).items()}
    return {name: one for name, one in every.items() if not name.startswith("_")}


def test_the_methods_are_those_of_a_library() -> None:
    ours, theirs = public(Library), public(RemoteLibrary)
    assert set(theirs) <= set(ours)
    about = (ROOT / "docs" / "python.md").read_text().partition("## A library on a server")[2]
    rows = re.findall(r"^\| (\w[^|]*) \| (`.*`) \|$", about, re.MULTILINE)
    named = {what: set(re.findall("[a-z_]+", calls)) for what, calls in rows}
    withheld = named.pop("Not given by a server: open the library itself")
    assert set().union(*named.values()) == set(theirs) - {"close"}
    assert withheld == set(ours) - set(theirs) - {"open"}
    for name, one in theirs.items():
        if inspect.isfunction(one):
            assert inspect.signature(one) == inspect.signature(ours[name]), name


def same(ours: Hit, theirs: Hit) -> bool:
    return ours.item == theirs.item and ours.as_dict() == theirs.as_dict()


Ask = Callable[[Any], Any]
ASKED: dict[str, Ask] = {
    "words": lambda one: one.ask("red -blue", 3),
    "both": lambda one: one.ask("red", 20, "both"),
    "filter": lambda one: one.ask("red kind:text"),
    "where": lambda one: one.ask("red", where="folder:0"),
    "a filter": lambda one: one.ask("red", where=Is("name", "e")),
    "a kind in where": lambda one: one.ask("red", 5, "image", where="kind:text"),
    "parts": lambda one: one.ask(Query(parts=(Part("red"), Part("pink", weight=0.5)))),
    "notice": lambda one: one.ask("a red bus without people"),
    "grouped": lambda one: one.ask("red", group=True),
    "diverse": lambda one: one.ask("red", diversity=0.5),
    "similar": lambda one: one.similar(2, 4, "both"),
    "only a filter": lambda one: one.ask("", where="ext:png"),
}


@pytest.mark.parametrize("asked", ASKED)
def test_answers_are_the_same(here: Library, there: RemoteLibrary, asked: str) -> None:
    ours, theirs = ASKED[asked](here), ASKED[asked](there)
    assert len(ours.hits) > 0
    assert all(map(same, ours.hits, theirs.hits))
    assert len(ours.hits) == len(theirs.hits)
    assert ours.as_dict() == theirs.as_dict()
    assert [one.way for one in ours.explained] == [one.way for one in theirs.explained]


def test_labels_are_the_same_in_as_many_pages_as_it_takes(
    here: Library, there: RemoteLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = ["blue", "sea: something cyan; blue", "red | green | pink"]
    ours = list(here.classify(labels, where="ext:png"))
    for most in (10_000, 3 * 4):
        monkeypatch.setattr("web.api.labels.MAX_SHARES", most * 5)
        theirs = list(there.classify(labels, where="ext:png"))
        for name in ("ids", "shares"):
            every = [np.concatenate([getattr(one, name) for one in of]) for of in (ours, theirs)]
            np.testing.assert_allclose(every[1], every[0], atol=1e-6)
        assert [x for one in theirs for x in one.names()] == [
            x for one in ours for x in one.names()
        ]
    assert len(theirs) == 2
    assert list(there.classify({"a": ["red"]}, where=Is("name", "nowhere"))) == []
    with pytest.raises(ServerError, match="201 labels and phrases are more than 200"):
        there.classify([f"label {number}" for number in range(201)])
    with pytest.raises(BadInput, match="give a list"):
        there.classify("red")


def test_a_picture_is_read_here_and_sent(here: Library, there: RemoteLibrary, folder: Path) -> None:
    query = Query(image=folder / "0" / "red.png")
    assert [one.id for one in there.search(query)] == [one.id for one in here.search(query)]
    typed = f'img:"{folder}/0/red.png"'
    assert [one.id for one in there.search(typed)] == [one.id for one in here.search(typed)]
    np.testing.assert_allclose(there.embed_query(query), here.embed_query(query), atol=1e-6)
    pictures = [folder / "0" / "red.png", np.zeros((4, 4, 3), np.uint8)]
    np.testing.assert_allclose(there.embed(images=pictures), here.embed(images=pictures), atol=1e-6)
    for as_items in (True, False):
        ours, theirs = (one.embed(["a dog"], as_items=as_items) for one in (here, there))
        np.testing.assert_allclose(theirs, ours, atol=1e-6)
    with pytest.raises(BadInput, match="cannot be read"):
        there.search(Query(image=folder / "nothing.png"))
    with pytest.raises(UnreadableImage):
        there.search(Query(image=b"no picture"))


def test_pages_go_on_as_they_do_here(here: Library, there: RemoteLibrary) -> None:
    first = there.ask("red", 3)
    second = there.ask("red", 3, after=first.cursor)
    whole = here.ask("red", 6)
    assert [one.id for one in (*first.hits, *second.hits)] == [one.id for one in whole.hits]


def test_more_than_a_server_gives_at_once_comes_in_pages(
    here: Library, there: RemoteLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("searchx.remote._PAGE", 4)
    assert [one.id for one in there.search("red", 9)] == [one.id for one in here.search("red", 9)]


@pytest.mark.parametrize("most", [2, 256])
def test_batches_are_the_same(
    here: Library, there: RemoteLibrary, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr("searchx.sending._QUERIES", most)
    queries: list[str | Query] = ["red", Query("blue"), "green", Query(like=1), "a pink one"]
    for where in (None, "folder:0"):
        ids, scores = there.search_batch(queries, 20, where=where)
        expected_ids, expected = here.search_batch(queries, 20, where=where)
        np.testing.assert_array_equal(ids, expected_ids)
        np.testing.assert_allclose(scores, expected, atol=1e-6)
    rows = here.embed_batch(queries)
    np.testing.assert_allclose(there.embed_batch(queries), rows, atol=1e-6)
    np.testing.assert_array_equal(there.search_batch(rows, 3)[0], here.search_batch(rows, 3)[0])
    assert there.search_batch([], 3)[0].shape == (0, 3)


def test_all_else_is_the_same(here: Library, there: RemoteLibrary) -> None:
    assert there.item(1) == here.item(1)
    assert there.facets("ext:png", 3) == here.facets("ext:png", 3)
    assert there.facets(Is("ext", "png")) == here.facets(Is("ext", "png"))
    assert there.sample(3, seed=4) == here.sample(3, seed=4)
    assert there.overview() == here.overview()
    assert there.space == here.space
    assert [one.kind for one in there.explain("red", to="both")] == ["image", "text"]
    there.check()


def close(ours: tuple[float, ...], theirs: tuple[float, ...]) -> None:
    np.testing.assert_allclose(theirs, ours, atol=1e-6)


CLUSTERS: dict[str, Ask] = {
    "all": lambda one: one.clusters(),
    "a few": lambda one: one.clusters("1", k=3),
    "words": lambda one: one.clusters("2", query="blue -red"),
    "an item": lambda one: one.clusters(query=Query(like=2)),
    "texts": lambda one: one.clusters(to="text", k=2),
}


@pytest.mark.parametrize("asked", CLUSTERS)
@pytest.mark.parametrize("size", [2, 200])
def test_clusters_are_the_same(
    here: Library,
    there: RemoteLibrary,
    monkeypatch: pytest.MonkeyPatch,
    asked: str,
    size: int,
) -> None:
    monkeypatch.setattr("searchx.remote._PAGE", size)
    ours, theirs = CLUSTERS[asked](here), CLUSTERS[asked](there)
    assert len(ours.items) > 1
    assert replace(theirs, scores=(), cursor=None) == replace(ours, scores=(), cursor=None)
    assert (ours.cursor is None) == (theirs.cursor is None)
    if asked not in ("all", "texts"):  # those are in no order of likeness
        close(ours.scores, theirs.scores)


def test_clusters_go_on(here: Library, there: RemoteLibrary) -> None:
    assert here.clusters().parts
    assert all(one.typical for one in there.clusters().parts)
    first = there.clusters("1", k=2)
    assert first.cursor is not None
    rest = there.clusters("1", k=2, after=first.cursor)
    assert (*first.items, *rest.items) == here.clusters("1", k=4).items
    close(here.clusters("1", query="red").scores, there.clusters("1", query="red").scores)
    with pytest.raises(BadInput, match="leave the picture out"):
        there.clusters(query=Query(image=b"no picture"))
    with pytest.raises(BadInput, match="nothing but a filter"):
        there.clusters(query="ext:png")


@pytest.mark.parametrize("size", [1, 200])
def test_duplicates_are_the_same(
    here: Library, there: RemoteLibrary, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr("searchx.remote._PAGE", size)
    for asked in ({}, {"where": Is("ext", "png")}, {"to": "text"}):
        ours, theirs = (one.duplicate_groups(**asked) for one in (here, there))
        assert ours.as_dict() == theirs.as_dict()
        for one, other in zip(ours.groups, theirs.groups, strict=True):
            assert (one.best.item, one.best.modified) == (other.best.item, other.best.modified)
            assert [copy.item for copy in one.others] == [copy.item for copy in other.others]
    first = there.duplicate_groups(1)
    assert first.count > 1
    rest = there.duplicate_groups(50, after=first.cursor)
    assert len(first.groups) == 1
    assert (*first.groups, *rest.groups) == there.duplicate_groups().groups


@pytest.mark.parametrize("size", [2, 200])
def test_status_and_what_was_skipped_are_the_same(
    here: Library, there: RemoteLibrary, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr("searchx.remote._PAGE", size)
    for whole in (True, False):
        ours, theirs = here.status(whole=whole), there.status(whole=whole)
        assert theirs == replace(ours, bytes=theirs.bytes)  # that of the last minute
        assert (theirs.bytes is None) is not whole
    assert len(here.skipped()) == 4
    assert there.skipped() == here.skipped()
    assert there.skipped_reasons() == here.skipped_reasons()
    for reason in (None, *(why for why, _ in here.skipped_reasons())):
        assert there.some_skipped(3, reason) == here.some_skipped(3, reason)
    first = there.some_skipped(1)
    assert [*first, *there.some_skipped(9, None, first[0][0])] == here.some_skipped(9)


def test_a_run_that_goes_on_is_told(there: RemoteLibrary, here: Library) -> None:
    run = Publisher(here.directory)
    run.begin(40)
    try:
        ours, theirs = here.status(whole=False).progress, there.status(whole=False).progress
    finally:
        run.end()
    assert ours is not None
    assert theirs is not None
    assert theirs.as_dict() == ours.as_dict()


def test_items_and_what_stands_beside_them_are_the_same(
    here: Library, there: RemoteLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("searchx.remote._PAGE", 3)
    assert there.items([5, 1, 2, 1, 9]) == here.items([5, 1, 2, 1, 9])
    assert there.items(np.array([], np.int64)) == []
    with pytest.raises(BadInput, match="no item 1000000"):
        there.items([1, 10**6])
    texts = [one.id for one in here.sample(100, "text")]
    assert any(all(here.context(one)) for one in texts)
    for one in (*texts, 10**6, 0):
        assert there.context(one) == here.context(one)


def test_what_is_gone_again_is_left_out(there: RemoteLibrary) -> None:
    assert list(there._present([2, 10**6, 1, 2])) == [2, 1]


def test_batches_are_sent_in_parts_that_the_server_takes(
    here: Library, there: RemoteLibrary
) -> None:
    rows = np.repeat(here.embed(["red", "blue"]), MAX_VECTORS, axis=0)
    ids, _ = there.search_batch(rows, 1)
    assert ids.shape == (2 * MAX_VECTORS, 1)
    assert ids[0, 0] == here.search("red", 1)[0].id
    assert ids[-1, 0] == here.search("blue", 1)[0].id
    long = ["red" + " " * (MAX_INPUT - 7) + "blue", "green"] * (MAX_CHARACTERS // MAX_INPUT + 1)
    commas = ["red, blue" + "," * 1900] * (2 * MAX_VALUES // 1900)
    for texts in (long, commas):
        np.testing.assert_allclose(there.embed_batch(texts), here.embed_batch(texts), atol=1e-6)
    np.testing.assert_array_equal(there.search_batch(commas)[0], here.search_batch(commas)[0])


def test_what_is_embedded_there_may_be_what_it_may_be_here(
    here: Library, there: RemoteLibrary, folder: Path
) -> None:
    red = folder / "0" / "red.png"
    pictures = [{"bytes": red.read_bytes()}, {"path": str(red)}, Image.open(red), str(red)]
    np.testing.assert_allclose(there.embed(images=pictures), here.embed(images=pictures), atol=1e-6)
    texts = pyarrow.array([" red", "blue"])
    np.testing.assert_allclose(there.embed(texts), here.embed(texts), atol=1e-6)
    for wrong in ({"texts": ["red", None]}, {"texts": [" "]}, {"texts": "red"}, {"images": [7]}):
        lines = set()
        for one in (here, there):
            with pytest.raises(BadInput) as told:
                one.embed(**wrong)
            lines.add(str(told.value))
        assert len(lines) == 1


WRONG: dict[str, Ask] = {
    "no such cluster": lambda one: one.clusters("7.99"),
    "no cluster": lambda one: one.clusters("nonsense"),
    "no kind": lambda one: one.duplicate_groups(to="both"),
    "no groups": lambda one: one.duplicate_groups(0),
    "no skipped": lambda one: one.some_skipped(0),
    "no such items": lambda one: one.items([1, 10**6]),
    "a vector": lambda one: one.search_batch(np.zeros(4, np.float32)),
    "no query": lambda one: one.search_batch(["red", 7]),
    "empty": lambda one: one.search(""),
    "k": lambda one: one.search("red", 0),
    "no such filter": lambda one: one.search("red", where="camra:x"),
    "no such item": lambda one: one.item(10**6),
    "no item": lambda one: one.item(0),
    "like nothing": lambda one: one.similar(10**6),
    "diversity": lambda one: one.ask("red", diversity=2.0),
    "cursor": lambda one: one.ask("red", after="nonsense"),
    "where": lambda one: one.facets("camra:x"),
    "an empty text": lambda one: one.search_batch(["red", " "]),
    "vectors": lambda one: one.search_batch(np.zeros((1, 9), np.float32)),
    "one text": lambda one: one.search_batch("red"),
}


@pytest.mark.parametrize("asked", WRONG)
def test_what_is_wrong_here_is_wrong_there(here: Library, there: RemoteLibrary, asked: str) -> None:
    with pytest.raises(SearchxError) as ours:
        WRONG[asked](here)
    with pytest.raises(SearchxError) as theirs:
        WRONG[asked](there)
    assert issubclass(ours.type, theirs.type)  # of the query language some are narrower
    assert theirs.type is not SearchxError
    assert "\n" not in str(theirs.value)


def test_signs_that_are_half_a_pair_are_sent_or_told(here: Library, there: RemoteLibrary) -> None:
    assert [one.id for one in there.search("red \udcff")] == [
        one.id for one in here.search("red ?")
    ]
    np.testing.assert_allclose(there.embed(["red \udcff"]), here.embed(["red ?"]), atol=1e-6)
    with pytest.raises(BadInput, match="cannot be sent"):
        there.facets("folder:\udcff")


def test_who_has_no_token_is_told(here: Library) -> None:
    with (
        served(create_app(here, token=TOKEN)) as address,
        searchx.connect(url(address), token="wrong") as remote,
        pytest.raises(ServerError, match="refuses: a token is needed"),
    ):
        remote.search("red")
    for secret in ("a\nb", "é"):
        with pytest.raises(BadInput, match="token"):
            searchx.connect("http://127.0.0.1", token=secret)


@pytest.mark.parametrize("address", ["", "photos.local", "ftp://x", "http://"])
def test_what_is_no_address_is_told(address: str) -> None:
    with pytest.raises(BadInput, match="no address"):
        searchx.connect(address)


def test_a_server_that_is_not_there_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with (
        searchx.connect(f"http://127.0.0.1:{port}") as remote,
        pytest.raises(ServerError, match="does not answer"),
    ):
        remote.search("red")


def test_a_library_with_nothing_in_it_is_told(tmp_path: Path) -> None:
    with Catalog.open(tmp_path, create=True).indexing():
        pass
    with (
        Library.open(tmp_path, encoder=ColourEncoder()) as library,
        served(create_app(library)) as address,
        searchx.connect(url(address)) as remote,
        pytest.raises(NoLibrary),
    ):
        remote.search("red")


class Reluctant(BaseHTTPRequestHandler):
    """Says three times that it is busy, or that it is something else."""

    asked = 0
    headers_given: tuple[tuple[str, str], ...] = (("Retry-After", "0"),)

    def do_GET(self) -> None:
        type(self).asked += 1
        busy = type(self).asked < 4
        body = b'{"status": "ready"}'
        self.send_response(503 if busy else 200)
        for name, value in self.headers_given if busy else ():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_who_is_busy_is_asked_again() -> None:
    Reluctant.asked = 0
    with HTTPServer(("127.0.0.1", 0), Reluctant) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            with searchx.connect(f"http://127.0.0.1:{server.server_port}") as remote:
                remote.check()
        finally:
            server.shutdown()
            thread.join()
    assert Reluctant.asked == 4
