"""The page of an item over HTTP: what it tells, its heat, its sizes, and what is no markup."""

import io
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi import HTTPException
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image

from indexer.pipeline import index
from indexer.planning import Options
from searchx.catalog import Catalog
from searchx.search import Library
from tests.colour import COLOURS, ColourEncoder, paint
from web.app import create_app
from web.heat import KEPT, LEAST, WAITING, Heats, painted
from web.pages.viewer import shown

HOSTILE = "<img src=x onerror=alert(1)>\"'&.png"
CAPTION = "A red Bus & a <b>blue</b> van"
ZH = {"accept-language": "zh-CN"}


def place_photos(folder: Path) -> None:
    """Put there a picture of which much is known, one of a hostile name, and a text."""
    half = Image.new("RGB", (1500, 900), COLOURS["blue"])
    half.paste(COLOURS["red"], (750, 0, 1500, 900))
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Canon", 'EOS "5" <b>'
    exif.get_ifd(0x8769)[0x9003] = "2019:07:04 12:30:05"
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 12.0, 30.0), 3: "W", 4: (16.0, 22.0, 0.0)})
    folder.mkdir(parents=True, exist_ok=True)
    half.save(folder / "half.jpg", exif=exif, quality=95)
    (folder / "half.txt").write_text(CAPTION)
    for colour in ("red", "green", "yellow"):
        paint(folder / f"{colour}.png", colour, (64, 48))
    paint(folder / HOSTILE, "orange")
    (folder / "story.md").write_text("\n\n".join(f"{one} bus went by. " * 20 for one in COLOURS))


def library_of(folder: Path, place: Path) -> Library:
    catalog = Catalog.open(place, create=True)
    index([folder], catalog, ColourEncoder(), options=Options(workers=0))
    catalog.close()
    return Library.open(place, encoder=ColourEncoder())


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    folder = tmp_path_factory.mktemp("photos") / "trips"
    place_photos(folder)
    with library_of(folder, tmp_path_factory.mktemp("library")) as library:
        yield library


@pytest.fixture
def client(library: Library) -> Iterator[TestClient]:
    with TestClient(create_app(library), base_url="http://localhost") as client:
        yield client


def id_of(library: Library, name: str) -> int:
    hits = library.search("kind:image|text", 50)
    return next(hit.id for hit in hits if Path(hit.path).name == name)


def alpha(content: bytes) -> NDArray[np.uint8]:
    image = Image.open(io.BytesIO(content))
    assert (image.format, image.mode) == ("WEBP", "RGBA")
    return np.asarray(image)[..., 3]


def test_the_heat_is_clear_where_the_picture_answers(client: TestClient, library: Library) -> None:
    half = id_of(library, "half.jpg")
    red = alpha(client.get(f"/items/{half}/why?q=red").content)
    blue = alpha(client.get(f"/items/{half}/why?q=blue").content)
    assert red.shape == (154, 256)
    for veil, clear, dark in ((red, -20, 20), (blue, 20, -20)):
        assert veil[:, clear].max() < 40
        assert veil[:, dark].min() > 180


def test_the_heat_of_a_picture_like_another_needs_no_words(
    client: TestClient, library: Library
) -> None:
    half, red = id_of(library, "half.jpg"), id_of(library, "red.png")
    like = client.get(f"/items/{half}/why?like={red}").content
    assert (
        np.abs(
            alpha(like).astype(int) - alpha(client.get(f"/items/{half}/why?q=red").content)
        ).max()
        < 3
    )


def test_the_heat_is_kept_and_not_sent_again(client: TestClient, library: Library) -> None:
    address = f"/items/{id_of(library, 'half.jpg')}/why?q=red"
    first = client.get(address)
    encoder = library.encoder
    assert isinstance(encoder, ColourEncoder)
    done = encoder.embedded_images
    assert client.get(address).content == first.content
    again = client.get(address, headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert encoder.embedded_images == done
    assert client.get(address + "+car").headers["etag"] != first.headers["etag"]


@pytest.mark.parametrize(
    ("asked", "status"),
    [("q=ext:png", 400), ("q=-red", 400), ("", 400), ("picture=none", 410), ("q=taken:soon", 400)],
)
def test_what_no_picture_could_answer_has_no_heat(
    client: TestClient, library: Library, asked: str, status: int
) -> None:
    half = id_of(library, "half.jpg")
    assert client.get(f"/items/{half}/why?{asked}").status_code == status


def test_a_text_has_no_heat(client: TestClient, library: Library) -> None:
    assert client.get(f"/items/{id_of(library, 'story.md')}/why?q=red").status_code == 404


def test_where_nothing_stands_out_all_is_veiled_alike(library: Library) -> None:
    item = library.item(id_of(library, "half.jpg"))
    veil = alpha(painted(np.full((12, 12), LEAST / 100, np.float32), item))
    assert 140 < veil.min() <= veil.max() < veil.min() + 4


def test_no_more_wait_for_a_heat_than_have_a_place() -> None:
    heats, going, go = Heats(), threading.Event(), threading.Event()

    def slow() -> bytes:
        going.set()
        assert go.wait(20)
        return b"slow"

    found: list[bytes] = []
    waiting = [
        threading.Thread(target=lambda: found.append(heats.get("slow", slow)))
        for _ in range(WAITING)
    ]
    for one in waiting:
        one.start()
    assert going.wait(20)
    while heats._places._value:
        pass
    with pytest.raises(HTTPException) as refused:
        heats.get("other", lambda: b"other")
    assert refused.value.status_code == 503
    assert refused.value.headers == {"retry-after": "3"}
    go.set()
    for one in waiting:
        one.join()
    assert found == [b"slow"] * WAITING
    assert heats.get("other", lambda: b"other") == b"other"


def test_a_heat_that_fails_gives_its_place_back_and_old_ones_go() -> None:
    heats = Heats()
    for _ in range(WAITING + 1):
        with pytest.raises(HTTPException):
            heats.get("gone", lambda: (_ for _ in ()).throw(HTTPException(410)))
    for number in range(KEPT + 1):
        heats.get(str(number), lambda: b"kept")
    assert heats.get("0", lambda: b"made anew") == b"made anew"
    assert heats.get(str(KEPT), lambda: b"made anew") == b"kept"


@pytest.mark.parametrize(("side", "width"), [(1, 640), (640, 640), (641, 1280), (4096, 1500)])
def test_a_picture_comes_in_few_sizes(
    client: TestClient, library: Library, side: int, width: int
) -> None:
    answer = client.get(f"/items/{id_of(library, 'half.jpg')}/picture?side={side}")
    assert Image.open(io.BytesIO(answer.content)).width == width


@pytest.mark.parametrize("side", ["0", "4097", "-1", "x"])
def test_a_size_beyond_the_largest_is_refused(
    client: TestClient, library: Library, side: str
) -> None:
    picture = f"/items/{id_of(library, 'half.jpg')}/picture"
    assert client.get(f"{picture}?side={side}").status_code == 422


def test_a_browser_may_choose_from_sizes_up_to_its_own(library: Library) -> None:
    half, red = (library.item(id_of(library, name)) for name in ("half.jpg", "red.png"))
    at = f"/items/{half.id}/picture?side="
    assert shown(half).sizes == f"{at}640 640w, {at}1280 1280w, {at}2048 1500w"
    assert shown(red).sizes == f"/items/{red.id}/picture?side=640 64w"


def test_all_that_is_known_is_told_and_leads_on(client: TestClient, library: Library) -> None:
    half = id_of(library, "half.jpg")
    page = client.get(f"/items/{half}?q=red").text
    for told in (
        *(
            "4 July 2019, 12:30:05",
            "48.2083 N, 16.3667 W",
            "1500 \u00d7 900 pixels",
            "landscape",
            "JPEG",
        ),
        *('href="/?q=near%3A48.20833%2C-16.36667%2C1km"', 'href="/?q=taken:2019-07-04"'),
        *("mlat=48.20833&amp;mlon=-16.36667", 'rel="noreferrer noopener"'),
        *("q=camera%3A%22Canon%20EOS%20", "q=folder%3A", "q=format%3AJPEG"),
        *(f'href="/?like={half}"', f'href="/?like={half}&amp;to=text"'),
        f'href="/?q=red+-like%3A{half}"',
    ):
        assert told in page, told
    assert "&lt;b&gt;" in page
    assert "<b>" not in page


def test_all_of_it_is_said_in_chinese(client: TestClient, library: Library) -> None:
    page = client.get(f"/items/{id_of(library, 'half.jpg')}?q=red", headers=ZH).text
    for told in ("2019年7月4日 12:30:05", "北纬 48.2083°", "像素", "查找相似图片", "为何匹配"):
        assert told in page, told


def test_why_it_matched_names_the_words_and_marks_them(
    client: TestClient, library: Library
) -> None:
    page = client.get(f"/items/{id_of(library, 'half.jpg')}?q=a+red+bus").text
    assert "Words found: red, bus, in the caption" in page
    assert "A <mark>red</mark> <mark>Bus</mark> &amp; a &lt;b&gt;blue&lt;/b&gt; van" in page


def test_what_was_left_out_and_lowered_it_is_told(client: TestClient, library: Library) -> None:
    red = id_of(library, "red.png")
    assert "Lowered by" in client.get(f"/items/{red}?q=yellow+-red").text
    assert "Lowered by" not in client.get(f"/items/{red}?q=yellow").text


def test_a_passage_stands_between_its_neighbours_with_its_words_marked(
    client: TestClient, library: Library
) -> None:
    hit = library.ask("yellow bus name:story", 1, "text").hits[0]
    page = client.get(f"/items/{hit.id}?q=yellow+bus+name:story&to=text").text
    assert "<mark>yellow</mark> <mark>bus</mark>" in page
    assert "Before it:" in page
    assert "Words found: yellow, bus, in the text" in page
    assert 'id="heat"' not in page


@pytest.mark.parametrize("asked", ["", "?random=5", "?q=ext:jpg", "?q=taken:soon", "?picture=gone"])
def test_where_there_is_nothing_to_answer_no_heat_is_offered(
    client: TestClient, library: Library, asked: str
) -> None:
    answer = client.get(f"/items/{id_of(library, 'half.jpg')}{asked}")
    assert answer.status_code == 200
    assert 'id="heat"' not in answer.text


def test_what_went_wrong_with_the_search_is_said_beside_the_item(
    client: TestClient, library: Library
) -> None:
    half = id_of(library, "half.jpg")
    assert "taken:soon" in client.get(f"/items/{half}?q=taken:soon").text
    assert "no longer kept" in client.get(f"/items/{half}?picture=gone").text
    assert "not among the first results" in client.get(f"/items/{half}?q=red+id:99999").text


def test_less_like_this_is_offered_only_where_a_wish_is_left(
    client: TestClient, library: Library
) -> None:
    half, red = id_of(library, "half.jpg"), id_of(library, "red.png")
    less = "Less like this"
    assert less in client.get(f"/items/{half}?q=red").text
    assert f"q=-like%3A{half}&amp;like={red}" in client.get(f"/items/{half}?like={red}").text
    for asked in ("", "?q=ext:jpg", f"?like={half}", "?random=1", f"?q={'x ' * 999}"):
        assert less not in client.get(f"/items/{half}{asked}").text, asked


def test_a_picture_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    red = paint(tmp_path / "photos" / "red.png", "red")
    with library_of(red.parent, tmp_path / "library") as library:
        red.unlink()
        with TestClient(create_app(library), base_url="http://localhost") as client:
            page = client.get("/items/1?q=red&why=1").text
            assert "The file is not there any more" in page
            assert 'id="picture"' not in page
            assert client.get("/items/1/why?q=red").status_code == 410
