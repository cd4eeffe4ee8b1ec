"""A library on a server, asked as one that is here: ``searchx.connect(url)``."""

import base64
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
import numpy as np

from searchx import errors
from searchx.documents import Document, answer_of, facets_of, item_of
from searchx.errors import BadInput, SearchxError, ServerError
from searchx.filters import Filter, as_json
from searchx.query import notice, query_as_json
from searchx.records import (
    Answer,
    Explained,
    Facets,
    Hit,
    Item,
    Kind,
    Query,
    Space,
    Target,
    Vectors,
)
from searchx.search import asked_of, filter_of, kind_of
from searchx.status import Overview
from searchx.vectors import Found

TIMEOUT: Final = 30.0  # seconds
_PAGE: Final = 200  # hits of one request
_QUERIES: Final = 256  # of one request
_PICTURES: Final = 32
_BYTES: Final = 16 * 2**20  # of the pictures of one request
_FOUND: Final = 1_000_000  # hits of one batch
_TRIES: Final = 5
_PAUSE: Final = 0.25  # seconds before the second try; each further one takes twice as long
_LONGEST_PAUSE: Final = 30.0
_BY_STATUS: Final[dict[int, type[SearchxError]]] = {400: BadInput, 404: BadInput, 422: BadInput}


class RemoteLibrary:
    """A library on a server: those methods of `Library` that ask it, with the same records.

    Safe to use from many threads; close it, or use ``with``. A picture that is named by its path
    is read here and sent. What the server refuses raises what `Library` would raise, and
    ServerError where there is no server, or none that lets this client in.
    """

    def __init__(self, url: str, *, token: str | None = None, timeout: float = TIMEOUT) -> None:
        self.url = _address(url)
        headers = {"accept": "application/json", "user-agent": "searchx"}
        headers |= {"authorization": f"Bearer {_secret(token)}"} if token else {}
        # No redirect is followed: nobody but the named server is told the token.
        self._client = httpx2.Client(base_url=self.url, headers=headers, timeout=timeout)

    def __enter__(self) -> "RemoteLibrary":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def search(
        self,
        query: str | Query,
        k: int = 10,
        to: Target | None = None,
        *,
        where: str | Filter | None = None,
    ) -> list[Hit]:
        """Find the k items that answer a query best, best first: the hits of `ask`."""
        return list(self.ask(query, k, to, where=where).hits)

    def ask(
        self,
        query: str | Query,
        k: int = 10,
        to: Target | None = None,
        *,
        where: str | Filter | None = None,
        after: str | None = None,
        group: bool = False,
        diversity: float = 0.0,
    ) -> Answer:
        """Answer a query, as `Library.ask`; more hits than a server gives at once come in pages."""
        asked = asked_of(query, where)
        if not (asked.every_part or asked.where or asked.to):
            raise BadInput("the query is empty; write what you look for, or give a picture")
        if asked.to is None and to is not None and kind_of(asked.where) is None:
            asked = replace(asked, to=to)
        how = {"group": group, "diversity": diversity, "explain": True}
        document = {**query_as_json(_carried(asked)), **how}
        answers = list(self._pages(document, k, after, bool(diversity)))
        return replace(
            answers[0],
            hits=tuple(hit for one in answers for hit in one.hits),
            cursor=answers[-1].cursor,
            notice=notice(query) if isinstance(query, str) else None,
        )

    def similar(
        self,
        id: int,
        k: int = 10,
        to: Target | None = None,
        *,
        where: str | Filter | None = None,
        after: str | None = None,
        group: bool = False,
        diversity: float = 0.0,
    ) -> Answer:
        """Find what is most like an item, without itself; otherwise as `ask`. Raises BadInput."""
        query = Query(like=id)
        return self.ask(query, k, to, where=where, after=after, group=group, diversity=diversity)

    def search_batch(
        self,
        queries: Vectors | Sequence[str | Query],
        k: int = 10,
        to: Kind = "image",
        *,
        where: str | Filter | None = None,
    ) -> Found:
        """Answer many queries at once, as `Library.search_batch`; sent some at a time."""
        passes = filter_of(where)
        about: dict[str, object] = {"k": k, "to": to, "format": "base64"}
        about |= {"where": as_json(passes)} if passes is not None else {}
        found = [self._sent("/api/search/batch", {**about, **part}) for part in _parts(queries, k)]
        if not found:
            return np.empty((0, k), np.int64), np.empty((0, k), np.float32)
        ids = np.concatenate([_array(one["ids"], "<i8", one["shape"]) for one in found])
        scores = np.concatenate([_array(one["scores"], "<f4", one["shape"]) for one in found])
        return ids.astype(np.int64), scores.astype(np.float32)

    def sample(
        self,
        k: int = 10,
        to: Kind = "image",
        *,
        where: str | Filter | None = None,
        seed: int | None = None,
    ) -> list[Item]:
        """Give k items at random, 200 at most, among those that pass a filter."""
        given = {"k": k, "to": to, "where": _text(where), "seed": seed}
        return [item_of(one) for one in self._got("/api/random", **given)["hits"]]

    def facets(self, where: str | Filter | None = None, k: int = 50) -> Facets:
        """Count the items that pass a filter by kind, year, folder, camera and so on."""
        return facets_of(self._got("/api/facets", where=_text(where), k=k))

    def embed_query(self, query: Query) -> Vectors:
        """Turn the positive parts of a query into one unit vector, (1, dim)."""
        return self.embed_batch([query])

    def embed_batch(self, queries: Sequence[str | Query]) -> Vectors:
        """Turn queries into unit vectors (q, dim), as `search_batch` does. Raises BadInput."""
        return self._embedded(queries, as_items=False)

    def embed(
        self,
        texts: Sequence[str] | None = None,
        images: Sequence[object] | None = None,
        *,
        as_items: bool = False,
    ) -> Vectors:
        """Embed texts or pictures, (n, dim) unit rows in order, as `Library.embed`."""
        if (texts is None) == (images is None):
            raise BadInput("embed takes either texts or images; give one of them")
        if images is not None:
            return self._embedded([Query(image=_content(one)) for one in images], as_items=False)
        return self._embedded([str(one) for one in texts or ()], as_items=as_items)

    def explain(
        self, query: str | Query, k: int = 10, to: Target | None = None
    ) -> tuple[Explained, ...]:
        """Tell how a query is searched: one record for each kind that is looked through."""
        return self.ask(query, k, to).explained

    def item(self, id: int) -> Item:
        """Fetch an item; raises BadInput when there is none of that id."""
        return item_of(self._got(f"/api/items/{_id(id)}"))

    def overview(self) -> Overview:
        """Count images and texts."""
        found = self._got("/api/library")
        return Overview(found["images"], found["texts"], tuple(found["sources"]))

    @property
    def space(self) -> Space:
        """The space that the vectors live in; raises NoLibrary where nothing was indexed yet."""
        return Space(**self._got("/api/library")["space"])

    def check(self) -> None:
        """Make sure that queries can be answered; raises what they would raise."""
        self._got("/readyz")

    def _embedded(self, queries: Sequence[str | Query], *, as_items: bool) -> Vectors:
        about = {"format": "base64", "as_items": as_items}
        rows = [np.empty((0, self.space.dim), np.float32)]
        for part in _parts(queries, 1):
            found = self._sent("/api/embed", {**about, "inputs": part["queries"]})
            rows.append(_array(found["vectors"], "<f4", found["shape"]).astype(np.float32))
        return np.concatenate(rows)

    def _pages(
        self, document: dict[str, object], k: int, after: str | None, is_one: bool
    ) -> Iterator[Answer]:
        while True:
            asked = k if is_one else min(k, _PAGE)
            answer = answer_of(self._sent("/api/search", {**document, "k": asked, "after": after}))
            yield answer
            k, after = k - len(answer.hits), answer.cursor
            if k <= 0 or after is None:
                return

    def _got(self, path: str, **given: str | int | None) -> Document:
        named = {name: one for name, one in given.items() if one is not None}
        return self._answered(self._client.build_request("GET", path, params=named))

    def _sent(self, path: str, document: dict[str, Any]) -> Document:
        return self._answered(self._client.build_request("POST", path, json=document))

    def _answered(self, request: httpx2.Request) -> Document:
        """Send a request, again where the server is busy; it only reads, so that does no harm."""
        pause = _PAUSE
        for last in (*[False] * (_TRIES - 1), True):
            try:
                response = self._client.send(request)
            except (httpx2.RemoteProtocolError, httpx2.ReadError) as error:
                if last:  # the connection was kept, and the server let go of it
                    raise self._no_server(error) from None
                continue
            except httpx2.HTTPError as error:
                raise self._no_server(error) from None
            if response.is_success:
                return self._document(response)
            if last or not _is_busy(response):
                break
            time.sleep(_pause(response, pause))
            pause *= 2
        raise self._refusal(response)

    def _document(self, response: httpx2.Response) -> Document:
        try:
            found = response.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ServerError(f"{self.url} does not answer as searchx does; check the address")
        return found

    def _no_server(self, error: httpx2.HTTPError) -> ServerError:
        said = str(error) or type(error).__name__
        return ServerError(f"{self.url} does not answer ({said}); check the address, or try later")

    def _refusal(self, response: httpx2.Response) -> SearchxError:
        """Give the error that the library raised there, or one that fits the status."""
        problem = _problem(response)
        line = str(problem.get("detail") or f"HTTP {response.status_code}")
        named = getattr(errors, str(problem.get("error", "")), None)
        if isinstance(named, type) and issubclass(named, SearchxError):
            return named(line)
        kind = _BY_STATUS.get(response.status_code, ServerError)
        return kind(line if kind is BadInput else f"{self.url} refuses: {line}")


def connect(url: str, *, token: str | None = None, timeout: float = TIMEOUT) -> RemoteLibrary:
    """Use a library that a server has: ``searchx.connect("http://photos.local:8000")``.

    `timeout` is how many seconds the server may say nothing. Nothing is sent yet. Raises BadInput
    for what is no address.
    """
    return RemoteLibrary(url, token=token, timeout=timeout)


def _address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise BadInput(f'"{url}" is no address of a server; write one as http://127.0.0.1:8000')
    return url.rstrip("/")


def _secret(token: str) -> str:
    if not token.isascii() or not token.isprintable():
        raise BadInput("the token holds signs that cannot be sent; use letters, digits and signs")
    return token


def _id(id: int) -> int:
    if isinstance(id, bool) or not isinstance(id, int | np.integer) or id < 1:
        raise BadInput(f"there is no item {id} in this library")
    return int(id)


def _text(where: str | Filter | None) -> str | None:
    """Give a filter as an address holds it; raises BadInput for what has no words."""
    if where is None or isinstance(where, str):
        return where
    from searchx.query import written

    return written(Query(where=where))


def _carried(query: Query) -> Query:
    """Give a query whose pictures are all here as bytes; raises BadInput for one without a file."""
    parts = tuple(replace(one, image=_bytes(one.image)) for one in query.parts)
    return replace(query, image=_bytes(query.image), parts=parts)


def _bytes(image: Path | bytes | None) -> bytes | None:
    if not isinstance(image, Path):
        return image
    try:
        return image.read_bytes()
    except OSError as error:
        raise BadInput(f"{image} cannot be read ({error.strerror or error})") from None


def _content(image: object) -> bytes:
    """Give the bytes of a picture file: of a path, a PIL image, or pixels (height, width, 3)."""
    if isinstance(image, bytes):
        return image
    if isinstance(image, str | Path):
        return _bytes(Path(image)) or b""
    import io

    from PIL import Image

    picture = image if isinstance(image, Image.Image) else Image.fromarray(np.asarray(image))
    packed = io.BytesIO()
    picture.convert("RGB").save(packed, "PNG", compress_level=1)
    return packed.getvalue()


def _parts(queries: Vectors | Sequence[str | Query], k: int) -> Iterator[dict[str, Any]]:
    """Give queries, or vectors, as much at a time as one request may hold."""
    most = max(1, _FOUND // max(1, int(k)))
    if isinstance(queries, np.ndarray):
        rows = np.ascontiguousarray(queries, "<f4")
        step = max(1, min(most, _BYTES // max(1, rows.shape[-1] * 4)))
        for first in range(0, len(rows), step):
            content = rows[first : first + step].tobytes()
            yield {"vectors": base64.b64encode(content).decode("ascii")}
        return
    if isinstance(queries, str):
        raise BadInput("this takes several queries; give a list")
    part: list[object] = []
    pictures = size = 0
    for one in queries:
        asked = one if isinstance(one, str) else _carried(one)
        held = [] if isinstance(asked, str) else _sizes(asked)
        is_full = pictures + len(held) > _PICTURES or size + sum(held) > _BYTES
        if part and (is_full or len(part) == min(most, _QUERIES)):
            yield {"queries": part}
            part, pictures, size = [], 0, 0
        part.append(asked if isinstance(asked, str) else query_as_json(asked))
        pictures, size = pictures + len(held), size + sum(held)
    if part:
        yield {"queries": part}


def _sizes(query: Query) -> list[int]:
    """Give the sizes of the pictures of a query."""
    return [len(one.image) for one in query.every_part if isinstance(one.image, bytes)]


def _array(encoded: str, kind: str, shape: Sequence[int]) -> np.ndarray[Any, Any]:
    return np.frombuffer(base64.b64decode(encoded), kind).reshape(shape)


def _is_busy(response: httpx2.Response) -> bool:
    """Tell whether to ask again: not where a library cannot be used, which takes no moment."""
    return response.status_code == 503 and _problem(response).get("error") in (None, "Busy")


def _pause(response: httpx2.Response, usual: float) -> float:
    told = response.headers.get("retry-after", "")
    seconds = float(told) if told.isascii() and told.isdigit() else usual
    return min(seconds, _LONGEST_PAUSE)


def _problem(response: httpx2.Response) -> dict[str, Any]:
    try:
        found = response.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
