"""A library on a server, asked as one that is here: ``searchx.connect(url)``."""

import base64
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

import numpy as np

from searchx.arrow import ids_of
from searchx.connection import Connection
from searchx.documents import Document, answer_of, facets_of, item_of
from searchx.errors import BadInput
from searchx.exploring import Level
from searchx.filters import Filter, as_json
from searchx.gathering import Duplicates
from searchx.labels.classifier import Classified
from searchx.labels.vocabulary import Given, Vocabulary
from searchx.query import notice, query_as_json, written
from searchx.records import (
    Answer,
    Explained,
    Facets,
    Hit,
    Ids,
    Item,
    Kind,
    Query,
    Skipped,
    Space,
    Target,
    Vectors,
)
from searchx.requests import asked_of, filter_of, kind_of
from searchx.sending import carried, parts, pictures_of, texts_of
from searchx.status import Overview, Status
from searchx.surveyed import (
    duplicates_of,
    level_of,
    named_in_groups,
    named_in_level,
    status_of,
)
from searchx.vectors import Found

TIMEOUT: Final = 30.0  # seconds
_PAGE: Final = 200  # hits, or anything else that is listed, of one request


class RemoteLibrary:
    """A library on a server: those methods of `Library` that ask it, with the same records.

    Safe to use from many threads; close it, or use ``with``. A picture that is named by its path
    is read here and sent. What the server refuses raises what `Library` would raise, and
    ServerError where there is no server, or none that lets this client in.
    """

    def __init__(self, url: str, *, token: str | None = None, timeout: float = TIMEOUT) -> None:
        self._server = Connection(url, token, timeout)
        self.url = self._server.url

    def __enter__(self) -> "RemoteLibrary":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._server.close()

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
        document = {**query_as_json(carried(asked)), **how}
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
        found = [
            self._server.sent("/api/search/batch", {**about, **part}) for part in parts(queries, k)
        ]
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
        return [item_of(one) for one in self._server.got("/api/random", **given)["hits"]]

    def facets(self, where: str | Filter | None = None, k: int = 50) -> Facets:
        """Count the items that pass a filter by kind, year, folder, camera and so on."""
        return facets_of(self._server.got("/api/facets", where=_text(where), k=k))

    def classify(self, labels: Given, *, where: str | Filter | None = None) -> Iterator[Classified]:
        """Tell how likely each of some labels fits each picture, as `Library.classify`.

        Blocks are asked for as they are taken: what is indexed meanwhile may be among the later
        ones. Raises BadInput, and ServerError for more labels than a server takes.
        """
        vocabulary, passes = Vocabulary.of(labels), filter_of(where)
        about: dict[str, object] = {"labels": vocabulary.entries(), "format": "base64"}
        about |= {"where": as_json(passes)} if passes is not None else {}
        return self._classified(vocabulary, about, self._server.sent("/api/classify", about))

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
            return self._embedded(pictures_of(images), as_items=False)
        return self._embedded(texts_of(() if texts is None else texts), as_items=as_items)

    def explain(
        self, query: str | Query, k: int = 10, to: Target | None = None
    ) -> tuple[Explained, ...]:
        """Tell how a query is searched: one record for each kind that is looked through."""
        return self.ask(query, k, to).explained

    def item(self, id: int) -> Item:
        """Fetch an item; raises BadInput when there is none of that id."""
        return item_of(self._server.got(f"/api/items/{_id(id)}"))

    def items(self, ids: Sequence[int] | Ids) -> list[Item]:
        """Fetch items in the order of their ids; raises BadInput where one is not there."""
        wanted = ids_of(ids).tolist()
        pages = (wanted[first : first + _PAGE] for first in range(0, len(wanted), _PAGE))
        found = (self._server.got("/api/items", id=page)["items"] for page in pages)
        return [item_of(one) for page in found for one in page]

    def context(self, id: int) -> tuple[str, str]:
        """Give the passages before and after a text where it was found first; empty for none."""
        with suppress(BadInput):
            beside = self._server.got(f"/api/items/{_id(id)}").get("context")
            return (beside["before"], beside["after"]) if beside else ("", "")
        return "", ""

    def clusters(
        self,
        at: str = "",
        to: Kind = "image",
        k: int = 48,
        *,
        query: str | Query | None = None,
        after: str | None = None,
    ) -> Level:
        """Look at a cluster of what is alike, as `Library.clusters`. Raises BadInput.

        The scores are 0 where the items are in no order of likeness: of the whole library
        without a query.
        """
        words = None if query is None else _words(asked_of(query, None))
        found = self._listed("/api/clusters", "hits", k, after, at=at, to=to, q=words)
        return level_of(found, self._present(named_in_level(found)))

    def duplicate_groups(
        self,
        k: int = 50,
        to: Kind = "image",
        *,
        where: str | Filter | None = None,
        after: str | None = None,
    ) -> Duplicates:
        """Give what is there more than once, as `Library.duplicate_groups`. Raises BadInput."""
        found = self._listed("/api/duplicates", "groups", k, after, to=to, where=_text(where))
        return duplicates_of(found, self._present(named_in_groups(found)))

    def skipped(self) -> tuple[Skipped, ...]:
        """Give the files that could not be indexed, each with its reason; asked for in pages."""
        found = [one for _, one in self._skipped(sys.maxsize, None, 0)]
        return tuple(sorted(found, key=lambda one: _place(one.path)))

    def skipped_reasons(self) -> tuple[tuple[str, int], ...]:
        """Count the files that could not be indexed by reason, the most frequent first."""
        return self.status(whole=False).reasons

    def some_skipped(
        self, k: int, reason: str | None = None, after: int = 0
    ) -> list[tuple[int, Skipped]]:
        """Give k of those files, of one reason or all, each with the number that follows `after`.

        Give the last number to get the next ones.
        """
        return self._skipped(k, reason, after)

    def status(self, *, whole: bool = True) -> Status:
        """Tell what the library holds, and where on the server it is.

        Not `whole`, without bytes, and without the list of skipped files. The bytes are those of
        the last minute; None where the server still adds them up.
        """
        found = self._server.got("/api/status")
        space = None if found["model"] is None else self.space
        status = status_of(found, space, self.skipped() if whole else ())
        return status if whole else replace(status, bytes=None)

    def overview(self) -> Overview:
        """Count images and texts."""
        found = self._server.got("/api/library")
        return Overview(found["images"], found["texts"], tuple(found["sources"]))

    @property
    def space(self) -> Space:
        """The space that the vectors live in; raises NoLibrary where nothing was indexed yet."""
        return Space(**self._server.got("/api/library")["space"])

    def check(self) -> None:
        """Make sure that queries can be answered; raises what they would raise."""
        self._server.got("/readyz")

    def _embedded(self, queries: Iterable[str | Query], *, as_items: bool) -> Vectors:
        about = {"format": "base64", "as_items": as_items}
        rows = [np.empty((0, self.space.dim), np.float32)]
        for part in parts(queries, 1):
            found = self._server.sent("/api/embed", {**about, "inputs": part["queries"]})
            rows.append(_array(found["vectors"], "<f4", found["shape"]).astype(np.float32))
        return np.concatenate(rows)

    def _classified(
        self, vocabulary: Vocabulary, about: dict[str, object], page: Document
    ) -> Iterator[Classified]:
        """Give the pictures of a page, and of those that follow it."""
        while True:
            count, labels = page["shape"]
            ids = _array(page["ids"], "<i8", [count]).astype(np.int64)
            shares = _array(page["shares"], "<f4", [count, labels]).astype(np.float32)
            if count:
                yield Classified(vocabulary, ids, shares)
            if page["next"] is None:
                return
            page = self._server.sent("/api/classify", {**about, "after": page["next"]})

    def _skipped(self, k: int, reason: str | None, after: int) -> list[tuple[int, Skipped]]:
        found = self._listed("/api/skipped", "skipped", k, after, "after", reason=reason)
        return [(one["number"], Skipped(one["path"], one["reason"])) for one in found["skipped"]]

    def _listed(
        self,
        path: str,
        name: str,
        k: int,
        after: str | int | None,
        next: str = "cursor",
        **given: str | None,
    ) -> Document:
        """Give k of what a route lists under a name, from as many pages as that takes."""
        listed: list[Document] = []
        while True:
            asked = min(k - len(listed), _PAGE)
            page = self._server.got(path, k=asked, after=after, **given)
            listed += page[name]
            after = page[next]
            if after is None or len(listed) >= k:
                return {**page, name: listed}

    def _present(self, ids: Iterable[int]) -> dict[int, Item]:
        """Give those of some items that are there: what was just named may be gone again."""
        wanted = list(dict.fromkeys(ids))
        with suppress(BadInput):
            return dict(zip(wanted, self.items(wanted), strict=True))
        found = {}
        for one in wanted:
            with suppress(BadInput):
                found[one] = self.item(one)
        return found

    def _pages(
        self, document: dict[str, object], k: int, after: str | None, is_one: bool
    ) -> Iterator[Answer]:
        while True:
            asked = k if is_one else min(k, _PAGE)
            answer = answer_of(
                self._server.sent("/api/search", {**document, "k": asked, "after": after})
            )
            yield answer
            k, after = k - len(answer.hits), answer.cursor
            if k <= 0 or after is None:
                return


def connect(url: str, *, token: str | None = None, timeout: float = TIMEOUT) -> RemoteLibrary:
    """Use a library that a server has: ``searchx.connect("http://photos.local:8000")``.

    `timeout` is how many seconds the server may say nothing. Nothing is sent yet. Raises BadInput
    for what is no address.
    """
    return RemoteLibrary(url, token=token, timeout=timeout)


def _id(id: int) -> int:
    if isinstance(id, bool) or not isinstance(id, int | np.integer) or id < 1:
        raise BadInput(f"there is no item {id} in this library")
    return int(id)


def _text(where: str | Filter | None) -> str | None:
    """Give a filter as an address holds it; raises BadInput for what has no words."""
    if where is None or isinstance(where, str):
        return where
    return written(Query(where=where))


def _words(query: Query) -> str:
    """Write the query that orders a cluster; raises BadInput for one that cannot be sent."""
    if any(one.image is not None for one in query.every_part):
        raise BadInput("a server orders clusters by words and items; leave the picture out")
    if not query.every_part:
        raise BadInput("the query has nothing but a filter; write what you look for")
    return written(query)


def _place(path: str) -> tuple[bytes, bytes]:
    folder, name = os.path.split(path)
    return os.fsencode(folder), os.fsencode(name)


def _array(encoded: str, kind: str, shape: Sequence[int]) -> np.ndarray[Any, Any]:
    return np.frombuffer(base64.b64decode(encoded), kind).reshape(shape)
