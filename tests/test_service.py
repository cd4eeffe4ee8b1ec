"""The service around the library: bounded, counted, logged, loading late, ending in order."""

import json
import os
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from indexer.pipeline import index_into
from searchx import upkeep
from searchx.catalog import Catalog
from searchx.errors import LibraryError, ModelError, SearchxError
from searchx.refreshing import rebuild_snapshots
from searchx.search import Library
from tests.cli.commands import started
from tests.colour import ColourEncoder, paint
from tests.shelf import names
from tests.test_batching import Gated, packed, until
from web.app import Service, create_app
from web.loading import Loading

SECRET = "xylophone red"


@contextmanager
def client_of(library: Library, **service: object) -> Iterator[TestClient]:
    app = create_app(library, service=Service(**service))  # type: ignore[arg-type]
    with TestClient(app, base_url="http://localhost") as client:
        yield client


def figures(client: TestClient) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        (one.name, frozenset(one.labels.items())): one.value
        for family in families
        for one in family.samples
    }


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def test_the_figures_are_those_of_what_was_asked(library: Library, photos: Path) -> None:
    with client_of(library) as client:
        for k in (1, 2, 3):  # three answers, of which none is one that was kept
            asked = client.get("/api/search", params={"q": SECRET, "k": k})
            assert asked.status_code == 200
        assert client.get("/api/search").status_code == 400
        files = {"image": ("red.png", packed("red"))}
        assert client.post("/api/search", files=files).status_code == 200
        client.get("/nowhere")
        found = figures(client)
        searched = {"method": "GET", "route": "/api/search"}
        assert found[key("searchx_requests_total", **searched, status="200")] == 3
        assert found[key("searchx_requests_total", **searched, status="400")] == 1
        other = {"method": "GET", "route": "other", "status": "404"}
        assert found[key("searchx_requests_total", **other)] == 1
        assert found[key("searchx_request_seconds_count", route="/api/search")] == 5
        for stage in ("embed", "filter", "vectors", "fetch"):
            assert found[key("searchx_stage_seconds_count", stage=stage)] == 4
        assert found[key("searchx_stage_seconds_count", stage="words")] == 3
        text, image = {"kind": "text"}, {"kind": "image"}
        assert found[key("searchx_batch_size_sum", **text)] == 1
        assert found[key("searchx_batch_size_count", **image)] == 1
        assert found[key("searchx_query_vectors_total", **text, found="embedded")] == 1
        assert found[key("searchx_query_vectors_total", **text, found="kept")] == 2
        assert found[key("searchx_items", **image)] == 10
        assert found[key("searchx_queries_waiting")] == 0
        assert found[key("searchx_requests_running")] == 1  # that for the figures
        assert found[key("searchx_ready")] == 1
        assert "xylophone" not in client.get("/metrics").text


def test_two_applications_count_apart(library: Library, photos: Path) -> None:
    with client_of(library) as one, client_of(library) as other:
        one.get("/api/search", params={"q": "red"})
        asked = {"method": "GET", "route": "/api/search", "status": "200"}
        assert figures(one)[key("searchx_requests_total", **asked)] == 1
        assert key("searchx_requests_total", **asked) not in figures(other)


def test_the_age_of_the_index_is_told(catalog: Catalog, library: Library, photos: Path) -> None:
    with client_of(library) as client:
        assert key("searchx_index_age_seconds", kind="image") not in figures(client)
        from searchx.refreshing import refresh_snapshots

        refresh_snapshots(catalog, whole=True)
        assert 0 <= figures(client)[key("searchx_index_age_seconds", kind="image")] < 60


def test_a_request_is_one_line_without_what_was_asked(library: Library, photos: Path) -> None:
    lines: list[Mapping[str, object]] = []
    with client_of(library, log=lines.append) as client:
        answer = client.get("/api/search", params={"q": SECRET}, headers={"x-request-id": "abc-1"})
        client.get("/items/99999", headers={"x-request-id": 'a"b\\n'})
        client.get(f"/{SECRET}")
        client.head("/healthz")
        client.get("/static/searchx.css")
        client.get("/mcp")
        assert answer.headers["x-request-id"] == "abc-1"
    assert [one["route"] for one in lines] == [
        *("/api/search", "/items/{id}", "other", "/healthz", "/static", "/mcp")
    ]
    assert [one["status"] for one in lines] == [200, 404, 404, 200, 200, 405]
    assert lines[3]["method"] == "HEAD"
    assert [*lines[0]] == ["time", "id", "method", "route", "status", "milliseconds", "client"]
    assert lines[0]["id"] == "abc-1"
    assert len(str(lines[1]["id"])) == 16
    assert "xylophone" not in json.dumps(lines)


def test_what_was_asked_is_logged_where_that_is_wanted(library: Library, photos: Path) -> None:
    lines: list[Mapping[str, object]] = []
    with client_of(library, log=lines.append, log_queries=True) as client:
        client.get("/api/search", params={"q": SECRET})
    assert lines[0]["query"] == SECRET


def test_beyond_what_may_wait_requests_are_refused(catalog: Catalog, photos: Path) -> None:
    encoder = Gated()
    with (
        Library.open(catalog.directory, encoder=encoder) as library,
        client_of(library, most_at_once=3) as client,
        ThreadPoolExecutor(8) as threads,
    ):
        client.get("/api/search", params={"q": "red"})
        encoder.may_go.clear()
        asked = [threads.submit(client.get, f"/api/search?q=green {one}") for one in range(3)]
        until(lambda: library.queries.waiting == 3)
        refused = client.get("/api/search", params={"q": "white"})
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "2"
        assert refused.headers["content-type"] == "application/problem+json"
        assert "too many requests" in refused.json()["detail"]
        page = client.get("/?q=white", headers={"accept": "text/html"})
        assert page.status_code == 503
        assert "too many requests" in page.text
        assert "content-security-policy" in page.headers
        assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200
        encoder.may_go.set()
        assert [one.result(20).status_code for one in asked] == [200] * 3
        assert client.get("/api/search", params={"q": "white"}).status_code == 200


class Late(Library):
    """A library whose model takes until it is let."""

    may_go = threading.Event()
    error: Exception | None = None

    @property
    def encoder(self) -> ColourEncoder:
        assert self.may_go.wait(20)
        if self.error is not None:
            raise self.error
        self._encoder = found = ColourEncoder()
        return found


@pytest.fixture
def late(catalog: Catalog, photos: Path) -> Iterator[Late]:
    library = Late(Catalog.open(catalog.directory))
    library.may_go = threading.Event()
    with library:
        yield library
        library.may_go.set()


def test_it_answers_while_the_model_is_loaded(late: Late) -> None:
    with client_of(late) as client, ThreadPoolExecutor(1) as threads:
        waits = client.get("/readyz")
        assert waits.status_code == 503
        assert waits.json()["detail"] == "the model is still being loaded"
        assert client.get("/").status_code == client.get("/healthz").status_code == 200
        assert client.get("/api/search?q=kind:image").status_code == 200  # needs no model
        search = threads.submit(client.get, "/api/search?q=red&k=1")
        late.may_go.set()
        assert search.result(20).json()["hits"][0]["path"].endswith("red.png")
        until(lambda: client.get("/readyz").status_code == 200)


def test_a_model_that_cannot_be_had_is_told(late: Late) -> None:
    told: list[SearchxError] = []
    late.error = ModelError("there is no such model")
    with client_of(late, failed=told.append) as client:
        late.may_go.set()
        until(lambda: bool(told))
        assert told == [late.error]
        assert client.get("/readyz").json()["detail"] == "there is no such model"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("error", [RuntimeError("out of memory"), LibraryError("not now")])
def test_what_fails_once_is_tried_again(late: Late, error: Exception) -> None:
    told: list[SearchxError] = []
    late.error = error
    late.may_go.set()
    loading = Loading(late, told.append, again=0.2)
    loading.start()
    said = "RuntimeError" if isinstance(error, RuntimeError) else "not now"
    until(lambda: said in str(loading.waits_for()))
    late.error = None
    until(lambda: loading.waits_for() is None)
    assert not told


def test_a_library_that_was_empty_at_first_becomes_ready(tmp_path: Path) -> None:
    Catalog.open(tmp_path / "library", create=True).close()
    with Library.open(tmp_path / "library", encoder=ColourEncoder()) as library:
        loading = Loading(library, again=0)
        loading._load()
        assert library.is_loaded
        paint(tmp_path / "photos" / "red.png", "red")
        index_into(library.directory, tmp_path / "photos", ColourEncoder())
        until(lambda: loading.waits_for() is None)


def test_a_process_says_that_it_is_ready_before_it_is_asked(late: Late) -> None:
    app = create_app(late)
    late.may_go.set()
    with TestClient(app, base_url="http://localhost"):
        until(lambda: app.state.metrics._ready._value.get() == 1)


def test_a_query_waits_for_the_model_no_longer_than_it_may(catalog: Catalog, photos: Path) -> None:
    with Library.open(catalog.directory, patience=0.05) as library, client_of(library) as client:
        with library._loading:
            answer = client.get("/api/search?q=red")
        assert answer.status_code == 503
        assert "still being loaded" in answer.json()["detail"]
        assert answer.headers["retry-after"] == "2"


def test_another_process_finds_what_one_was_sent(
    library: Library, photos: Path, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    with client_of(library, shared=shared) as one, client_of(library, shared=shared) as other:
        sent = one.post("/", files={"image": ("x.png", packed("red"))}, follow_redirects=False)
        assert "red.png" in other.get(sent.headers["location"]).text
        assert other.get("/pictures/..%2f..%2fsecret").status_code in (404, 410)


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGTERM")
def test_answers_are_whole_while_the_library_is_made_anew(
    catalog: Catalog, library: Library, photos: Path, tmp_path: Path
) -> None:
    """Rebuilt, compacted and restored again and again; every answer is the one answer there is."""
    saved = tmp_path / "saved"
    upkeep.backup(catalog.directory, saved)
    expected = names(library.search("red", 10))
    stop = threading.Event()

    def ask(colour: str) -> int:
        asked = 0
        while not stop.is_set():
            hits = library.search(colour, 10)
            assert len(hits) == 10
            assert names(hits)[0] == colour
            asked += 1
        return asked

    with ThreadPoolExecutor(3) as threads:
        asked = [threads.submit(ask, colour) for colour in ("red", "green", "blue")]
        deadline = time.monotonic() + 4
        try:
            while time.monotonic() < deadline and not any(one.done() for one in asked):
                rebuild_snapshots(catalog)
                upkeep.compact(catalog.directory)
                upkeep.restore(saved, catalog.directory, force=True)
        finally:
            stop.set()
        assert all(one.result(20) > 0 for one in asked)
    assert names(library.search("red", 10)) == expected


# real processes


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    from indexer.pipeline import index
    from indexer.planning import Options
    from searchx.encoder import load_encoder
    from tests.colour import paint

    place = tmp_path_factory.mktemp("served")
    for colour in ("red", "green", "blue"):
        paint(place / "photos" / f"{colour}.png", colour)
    encoder = load_encoder(str(tiny_model), "cpu")
    catalog = Catalog.open(place / "library", create=True)
    index([place / "photos"], catalog, encoder, options=Options(workers=0))
    catalog.close()
    return place / "library"


def fetched(address: str, path: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(address + path, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGTERM")
def test_what_runs_is_finished_when_it_is_told_to_stop(served: Path) -> None:
    process = started(["serve", "--port", "0"], served)
    assert process.stderr is not None
    address = process.stderr.readline().split()[3]
    assert fetched(address, "/healthz")[0] == 200
    under_way = HTTPConnection(address.removeprefix("http://"), timeout=60)
    body = urlencode({"token": "any", "next": "/skipped"}).encode()
    under_way.putrequest("POST", "/login")
    under_way.putheader("content-type", "application/x-www-form-urlencoded")
    under_way.putheader("content-length", str(len(body)))
    under_way.endheaders(body[:5])
    until(lambda: b"searchx_requests_running 2.0" in fetched(address, "/metrics")[1])
    process.send_signal(signal.SIGTERM)
    until(lambda: is_refused(address))
    under_way.send(body[5:])
    assert under_way.getresponse().getheader("location") == "/skipped"
    under_way.close()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    lines = err.splitlines()
    assert lines[-1] == "stopped"
    assert json.loads(lines[-2])["status"] == 303


def is_refused(address: str) -> bool:
    try:
        return fetched(address, "/healthz")[0] == 0
    except OSError:  # nobody listens, or what came in just before is sent away
        return True


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGTERM")
def test_several_processes_count_together_and_one_that_dies_is_replaced(served: Path) -> None:
    import psutil

    process = started(["serve", "--port", "0", "--workers", "2"], served)
    assert process.stderr is not None
    address = process.stderr.readline().split()[3]
    own = psutil.Process(process.pid)
    assert fetched(address, "/api/search?q=dog")[0] == 200
    asked = 1
    for _ in range(20):
        assert fetched(address, "/api/search?q=dog&k=2")[0] == 200
        asked += 1
    text = fetched(address, "/metrics")[1].decode()
    wanted = 'searchx_requests_total{method="GET",route="/api/search",status="200"}'
    assert f"{wanted} {asked}.0" in text
    workers = [one for one in own.children() if "spawn_main" in " ".join(one.cmdline())]
    assert len(workers) == 2
    workers[0].kill()
    for _ in range(5):
        assert fetched(address, "/api/search?q=cat")[0] == 200
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert not any(one.is_running() and one.status() != "zombie" for one in workers)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_without_its_model_it_ends(served: Path, tmp_path: Path, workers: str) -> None:
    import shutil
    import sqlite3

    place = shutil.copytree(served, tmp_path / "library")
    with sqlite3.connect(place / "catalog.db") as connection:
        connection.execute("UPDATE space SET name = 'local-dir:/nowhere'")
    connection.close()
    process = started(["serve", "--port", "0", "--workers", workers], place)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 1
    first, last = err.splitlines()
    assert first.startswith("searchx serves on")
    assert last.startswith("searchx: ") and "/nowhere" in last
