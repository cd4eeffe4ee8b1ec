"""Whatever is typed or sent: a query or BadInput, a result or a refusal, and soon."""

import io
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from indexer.pipeline import index
from indexer.planning import Options
from searchx.catalog import Catalog
from searchx.errors import BadInput
from searchx.query import parse, query_as_json, query_from_json, written
from searchx.search import Library
from tests.colour import ColourEncoder, paint
from web.app import create_app

PIECES = (
    *('"', "'", "(", ")", "-", "+", "|", "^", ":", "*", "?", "\\", ",", "..", "{", "}", "[", "]"),
    *(
        " ",
        "\t",
        "\n",
        "\0",
        "\u202e",
        "\ud800",
        "\u0301",
        "\u200d",
        "\ufeff",
        "\u4e2d",
        "\U0001f600",
    ),
    *(
        "red",
        "dog",
        "without",
        "not",
        "no",
        "OR",
        "and",
        "img:",
        "like:",
        "kind:",
        "name:",
        "path:",
    ),
    *("folder:", "taken:", "camera:", "near:", "width:", "rating:", "has:", "is:", "size:", "ext:"),
    *("2019", "2019-07", "2019..2021", "0.5", "-1", "1e999", "48.2,16.3", "5km", "12MB", ">", "<="),
)
KEYS = (
    *("text", "image", "file", "like", "parts", "where", "to", "weight", "any"),
    *("all", "not", "name", "taken", "near", "has", "width", "from", "lat"),
)
QUERIES = st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=60).map("".join)
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "JPEG2000", "ICO", "TGA", "PPM", "AVIF")


@settings(max_examples=200, deadline=2000, derandomize=True)
@given(QUERIES)
@example("(" * 2000)
@example('"' * 1999)
def test_what_is_typed_is_a_query_or_bad_input(text: str) -> None:
    try:
        query = parse(text[:2000], files=False)
    except BadInput as error:
        assert "\n" not in str(error)
        return
    assert all(part.image is None for part in query.every_part)
    assert query_from_json(query_as_json(query)) == query
    try:
        spelled = written(query)
    except BadInput:  # what cannot be typed
        return
    assert parse(spelled, files=False) == query


@pytest.mark.parametrize("piece", [*PIECES, "a|", "-a ", "(a|", '"a" ', "name:*a", "a^", "+img:x "])
def test_the_time_to_read_a_query_grows_with_its_length(piece: str) -> None:
    def seconds(length: int) -> float:
        text = (piece * length)[:length]
        begun = time.process_time()
        with suppress(BadInput):
            parse(text, files=False)
        return time.process_time() - begun

    few = max(min(seconds(2_000) for _ in range(2)), 0.002)
    assert seconds(20_000) < 40 * few  # ten times as much; twenty were n log n and noise


@settings(max_examples=100, deadline=5000, derandomize=True)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(PIECES),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(KEYS),
                inner,
                max_size=5,
            )
        ),
        max_leaves=25,
    )
)
def test_what_programs_send_is_a_query_or_bad_input(document: object) -> None:
    try:
        query = query_from_json(document)
    except BadInput as error:
        assert "\n" not in str(error)
        return
    assert all(not isinstance(part.image, Path) for part in query.every_part)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    place = tmp_path_factory.mktemp("fuzz")
    paint(place / "photos" / "red.png", "red")
    (place / "photos" / "a.txt").write_text("A red bus.")
    catalog = Catalog.open(place / "library", create=True)
    index([place / "photos"], catalog, ColourEncoder(), options=Options(workers=0))
    catalog.close()
    with Library.open(place / "library", encoder=ColourEncoder()) as library:
        app = create_app(library)
        with TestClient(app, "http://localhost", raise_server_exceptions=False) as client:
            yield client


def packed(format: str) -> bytes:
    image = Image.effect_noise((48, 40), 60).convert("RGB")
    file = io.BytesIO()
    image.save(file, format)
    return file.getvalue()


WHOLE = {format: packed(format) for format in FORMATS}
PARTS = (
    *(b"--x", b"--x\r\n", b"--x--", b"\r\n", b"\n", b":", b";", b'"', b"\0", b"\xff"),
    *(b"Content-Disposition: form-data", b'; name="q"', b'; name="image"', b"; name*=utf-8''q"),
    *(b'; filename="a.png"', b"Content-Type: image/png", b"red", WHOLE["PNG"], b"x" * 5000),
    b'--x\r\nContent-Disposition: form-data; name="q"\r\n\r\n',
)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.sampled_from(FORMATS),
    st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8)), max_size=12),
    st.floats(0, 1) | st.just(1.0),
)
def test_a_damaged_picture_is_answered_or_refused(
    client: TestClient, format: str, changes: list[tuple[float, bytes]], kept: float
) -> None:
    content = bytearray(WHOLE[format])
    for place, patch in changes:
        at = int((place**3) * len(content))  # headers are of most interest
        content[at : at + len(patch)] = patch
    content = content[: max(1, int(kept * len(content)))]
    answer = client.post("/api/search", files={"image": ("a", bytes(content))})
    assert answer.status_code in (200, 422), answer.text
    if answer.status_code == 422:
        assert "\n" not in answer.json()["detail"]


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        st.sampled_from(PARTS),
        max_size=25,
    ).map(b"".join)
)
def test_a_damaged_form_is_answered_or_refused(client: TestClient, body: bytes) -> None:
    for path in ("/api/search", "/"):
        kind = {"content-type": "multipart/form-data; boundary=x"}
        answer = client.post(path, content=body, headers=kind, follow_redirects=False)
        assert answer.status_code < 500, answer.text
