"""Ask a library what is most like a text or a picture.

Search is complete at every moment: the snapshot without what was removed since, and what was
added since, compared exactly. A new snapshot or a new item is seen by the next query.
"""

import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from searchx import vectors
from searchx.catalog import Catalog, Halves, Version
from searchx.database import FORMAT
from searchx.encoder import Announce, Encoder, load_encoder
from searchx.errors import BadInput, NoLibrary, SpaceMismatch
from searchx.pictures.images import open_image
from searchx.records import Hit, Ids, Item, Kind, Query, Skipped, Space, Vectors
from searchx.vectors import Origin

KINDS: tuple[Kind, ...] = ("image", "text")
SNAPSHOTS = "snapshots"
_REBUILD_SHARE = 0.1  # of a snapshot that may be added or removed before it is built anew
_MAX_K = 10_000
_TRIES = 10


@dataclass(frozen=True, slots=True)
class Status:
    """What a library holds."""

    directory: Path
    space: Space | None
    images: int
    texts: int
    files: int
    sources: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    bytes: int  # of all that the library keeps on disk
    format: int = int(FORMAT)  # of the library; older ones are brought to it when opened

    def as_dict(self) -> dict[str, object]:
        """Give the JSON shape."""
        return {
            "library": str(self.directory),
            "format": self.format,
            "model": self.space.name if self.space else None,
            "images": self.images,
            "texts": self.texts,
            "files": self.files,
            "sources": list(self.sources),
            "skipped": [{"path": one.path, "reason": one.reason} for one in self.skipped],
            "bytes": self.bytes,
        }


@dataclass(frozen=True, slots=True)
class Overview:
    """The part of `Status` that costs no walk over the disk."""

    images: int
    texts: int
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _View:
    """One kind of a library as of one version of its catalog: never changed, only replaced."""

    version: Version
    newest: Path | None  # the newest snapshot on disk when this was read, usable or not
    snapshot: vectors.Snapshot | None
    excluded: Ids  # ids in the snapshot that were removed since, each once
    tail_ids: Ids
    tail: Halves

    def search(self, queries: Vectors, k: int, without: Sequence[int]) -> vectors.Found:
        extra = np.array(without, np.int64)
        found = vectors.search_exactly(self.tail_ids, self.tail, queries, k, extra)
        if self.snapshot is None:
            return found
        excluded = np.concatenate([self.excluded, extra])
        return vectors.merge(self.snapshot.search(queries, k, excluded), found, k)


class Library:
    """A searchable collection. Safe to use from many threads; close it, or use ``with``."""

    def __init__(
        self,
        catalog: Catalog,
        encoder: Encoder | None = None,
        device: str = "auto",
        announce: Announce | None = None,
    ) -> None:
        self.directory = catalog.directory
        self._catalog = catalog
        self._encoder = encoder
        self._device = device
        self._announce = announce
        self._views: dict[Kind, _View] = {}
        self._counted: tuple[Version, int, int] | None = None  # images, texts as of a version
        self._refreshing = threading.Lock()
        self._loading = threading.Lock()

    @classmethod
    def open(
        cls,
        directory: Path | str,
        *,
        encoder: Encoder | None = None,
        device: str = "auto",
        announce: Announce | None = None,
    ) -> "Library":
        """Open the library in `directory`. The encoder is loaded when the first query needs it.

        `announce` is told, in one line, before a model is downloaded. Raises NoLibrary,
        LibraryCorrupt or LibraryError.
        """
        return cls(Catalog.open(Path(directory)), encoder, device, announce)

    def __enter__(self) -> "Library":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the catalog and the snapshots."""
        self._views.clear()
        self._catalog.close()

    def search(self, query: str | Query, k: int = 10, to: Kind = "image") -> list[Hit]:
        """Find the k items of kind `to` that are nearest to the query, best first.

        Gives min(k, what there is) hits with their exact cosines. A query of several parts (a
        text, a picture, an item) is the mean of their unit vectors; `like` leaves its own item
        out. Raises BadInput for an empty query or an unreadable picture.
        """
        query = Query(text=query) if isinstance(query, str) else query
        without = () if query.like is None else (query.like,)
        vector = self.embed(query)
        for _ in range(_TRIES):  # again where an item went, or all of them, between the two
            library = self._catalog.version().library
            ids, scores = self._search(vector, k, to, without)
            found = [int(one) for one in ids[0] if one >= 0]
            items = self._catalog.items(found)
            if len(items) == len(found) and library == self._catalog.version().library:
                break
        return [
            Hit(items[one], float(score))
            for one, score in zip(found, scores[0], strict=False)
            if one in items
        ]

    def search_batch(
        self, queries: Vectors | Sequence[str], k: int = 10, to: Kind = "image"
    ) -> vectors.Found:
        """Answer many queries at once, given as texts or as unit vectors (q, dim).

        Gives ids and exact cosines, both (q, k), best first; id -1 where there is no more.
        """
        if not isinstance(queries, np.ndarray):
            queries = self.encoder.embed_texts(queries)
        return self._search(queries.astype(np.float32, copy=False), k, to)

    def embed(self, query: Query) -> Vectors:
        """Turn a query into one unit vector, (1, dim)."""
        parts = list(self._parts(query))
        if not parts:
            raise BadInput("the query is empty; write what you look for, or give a picture")
        mean = np.mean(parts, axis=0)
        return cast(Vectors, mean / max(float(np.linalg.norm(mean)), 1e-12))

    def item(self, id: int) -> Item:
        """Fetch an item; raises BadInput when there is none of that id."""
        items = self._catalog.items([id])
        if id not in items:
            raise BadInput(f"there is no item {id} in this library")
        return items[id]

    def context(self, id: int) -> tuple[str, str]:
        """Give the passages before and after a text where it was found first; empty for none."""
        return self._catalog.context(id)

    def skipped(self) -> tuple[Skipped, ...]:
        """Give the files that could not be indexed, each with its reason; costs no walk."""
        return self._catalog.skipped()

    def check(self) -> None:
        """Make sure that queries can be answered; cheap enough to ask every second.

        Raises NoLibrary where nothing was indexed, LibraryCorrupt and LibraryError.
        """
        self._space()
        self._catalog.version()

    def overview(self) -> Overview:
        """Count images and texts, anew only when the catalog has changed."""
        version = self._catalog.version()
        counted = self._counted
        if counted is None or counted[0] != version:
            counts = self._catalog.counts()
            # Counts newer than their version are counted again by the next call, never kept.
            self._counted = counted = (version, counts["image"], counts["text"])
        return Overview(counted[1], counted[2], self._catalog.sources())

    def status(self) -> Status:
        """Tell what the library holds, and add up its files on disk."""
        counts = self._catalog.counts()
        return Status(
            directory=self.directory,
            space=self._catalog.space(),
            images=counts["image"],
            texts=counts["text"],
            files=counts["files"],
            sources=self._catalog.sources(),
            skipped=self._catalog.skipped(),
            bytes=bytes_of(self.directory),
        )

    @property
    def encoder(self) -> Encoder:
        """The encoder that made this library; loaded on first use."""
        with self._loading:
            if self._encoder is None:
                self._encoder = load_encoder(self._space().name, self._device, self._announce)
            _check_space(self._space(), self._encoder.space)
            return self._encoder

    def _parts(self, query: Query) -> Sequence[Vectors]:
        parts: list[Vectors] = []
        if query.text.strip():
            parts.append(self.encoder.embed_texts([query.text.strip()]))
        if query.image is not None:
            encoder = self.encoder
            picture = open_image(query.image, at_least=encoder.fit.side)
            parts.append(encoder.embed_images([encoder.fit(picture)]))
        if query.like is not None:
            parts.append(self._catalog.vector(query.like))
        return parts

    def _search(
        self, queries: Vectors, k: int, to: Kind, without: Sequence[int] = ()
    ) -> vectors.Found:
        if to not in KINDS:
            raise BadInput(f'kind "{to}" is not known; use image or text')
        if not 1 <= k <= _MAX_K:
            raise BadInput(f"k is {k}; it must be between 1 and {_MAX_K}")
        vectors.check_width(queries, self._space().dim)
        return self._view(to).search(queries, k, without)

    def _space(self) -> Space:
        space = self._catalog.space()
        if space is None:
            raise NoLibrary(
                f'{self.directory} has nothing indexed yet; run "searchx index FOLDER" first'
            )
        return space

    def _view(self, kind: Kind) -> _View:
        """Give the kind as it stands now; reads only what has changed since the last query."""
        view = self._views.get(kind)
        if view is not None and self._is_current(view, kind):
            return view
        with self._refreshing:
            view = self._views.get(kind)  # another thread may have read it in the meantime
            if view is None or not self._is_current(view, kind):
                view = self._views[kind] = _read_view(self._catalog, kind)
            return view

    def _is_current(self, view: _View, kind: Kind) -> bool:
        newest = vectors.newest(self.directory / SNAPSHOTS, kind)
        return (view.newest, view.version) == (newest, self._catalog.version())


def open_library(
    directory: Path | str,
    *,
    encoder: Encoder | None = None,
    device: str = "auto",
    announce: Announce | None = None,
) -> Library:
    """Open the library in `directory`: ``searchx.open("photos.library")``."""
    return Library.open(directory, encoder=encoder, device=device, announce=announce)


def refresh_snapshots(catalog: Catalog, whole: bool = False) -> None:
    """Build the snapshots that are missing, broken, or have fallen behind the catalog.

    With `whole` they hold all of the catalog afterwards, else a small tail may remain. Raises
    LibraryInUse while another process is indexing.
    """
    space = catalog.space()
    if space is None:
        return
    with catalog.indexing():
        for kind in KINDS:
            vectors.sweep(catalog.directory / SNAPSHOTS, kind)
            _refresh(catalog, kind, space, 0.0 if whole else _REBUILD_SHARE)


def rebuild_snapshots(catalog: Catalog) -> None:
    """Build those snapshots anew that are there, whatever is in them.

    Under new names: by its name a reader tells whether it has loaded the newest one.
    """
    space = catalog.space()
    with catalog.indexing():
        for kind in KINDS:
            if space and vectors.places(catalog.directory / SNAPSHOTS, kind):
                _build(catalog, kind, space)


def held_ids(catalog: Catalog, kind: Kind) -> Ids:
    """Give the ids that a search goes through: snapshot and tail, without what was removed."""
    view = _read_view(catalog, kind)
    held = view.snapshot.ids if view.snapshot else np.empty(0, np.int64)
    return np.sort(np.concatenate([np.setdiff1d(held, view.excluded), view.tail_ids]))


def drop_foreign_snapshots(catalog: Catalog) -> None:
    """Remove the snapshots of another catalog, or of a later state than the one restored here.

    To be called while the library is held and before anything is written to it: a restored
    catalog gives the numbers after its own a second time, and could not tell later whether a
    snapshot was built before that. Raises LibraryFull where they cannot be removed.
    """
    space, version = catalog.space(), catalog.version()
    for kind in KINDS:
        for place in vectors.places(catalog.directory / SNAPSHOTS, kind):
            if not is_of(place, space, version):
                vectors.drop(place)


def is_of(place: Path, space: Space | None, version: Version) -> bool:
    """Tell whether a snapshot was read from this catalog, in a state that it has gone through."""
    try:
        return _fits(vectors.read_manifest(place).origin, space, version)
    except vectors.UNREADABLE:
        return False


def _refresh(catalog: Catalog, kind: Kind, space: Space, share: float) -> None:
    newest = vectors.newest(catalog.directory / SNAPSHOTS, kind)
    version = catalog.version()
    snapshot = _load_snapshot(newest, space, version)
    held, after = (len(snapshot.ids), snapshot.manifest.origin) if snapshot else (0, None)
    changed = catalog.count_appeared(kind, after.added if after else 0)
    if snapshot and after:
        gone = catalog.removed(after.removed, version.removed)
        changed += len(np.intersect1d(gone, snapshot.ids))
    if changed > share * held:
        _build(catalog, kind, space)


def _build(catalog: Catalog, kind: Kind, space: Space) -> None:
    with catalog.rows(kind) as (rows, version):
        origin = Origin(version.library, space.digest, version.added, version.removed)
        vectors.build(catalog.directory / SNAPSHOTS, rows, kind, origin)


def _read_view(catalog: Catalog, kind: Kind) -> _View:
    """Read a kind as it stands, again where the library was compacted or restored meanwhile."""
    for _ in range(_TRIES):
        view = _try_view(catalog, kind)
        newest = vectors.newest(catalog.directory / SNAPSHOTS, kind)
        if (newest, catalog.version().library) == (view.newest, view.version.library):
            break
    return view


def _try_view(catalog: Catalog, kind: Kind) -> _View:
    newest = vectors.newest(catalog.directory / SNAPSHOTS, kind)
    # The version is read after the name: the snapshot of a fitting one is never ahead of it.
    snapshot = _load_snapshot(newest, catalog.space(), catalog.version())
    after = snapshot.manifest.origin.added if snapshot else 0
    tail_ids, tail, version = catalog.read_vectors(kind, after)
    if snapshot and not _fits(snapshot.manifest.origin, catalog.space(), version):
        snapshot = None  # the library was restored just now
        tail_ids, tail, version = catalog.read_vectors(kind)
    known = snapshot.manifest.origin.removed if snapshot else version.removed
    gone = catalog.removed(known, version.removed)
    held = snapshot.ids if snapshot else np.empty(0, np.int64)
    return _View(version, newest, snapshot, np.intersect1d(gone, held), tail_ids, tail)


def bytes_of(directory: Path) -> int:
    """Add up the sizes of all files; one that is removed meanwhile does not count."""
    total = 0
    for root, _, names in os.walk(directory):
        for name in names:
            with suppress(FileNotFoundError):
                total += Path(root, name).stat().st_size
    return total


def _load_snapshot(
    place: Path | None, space: Space | None, version: Version
) -> vectors.Snapshot | None:
    """Load a snapshot where it fits; one that is broken or of another catalog is not used."""
    if place is None:
        return None
    try:
        snapshot = vectors.load(place)
    except vectors.UNREADABLE:
        return None  # all of it is in the catalog, and the next indexing builds it anew
    return snapshot if _fits(snapshot.manifest.origin, space, version) else None


def _fits(origin: Origin, space: Space | None, version: Version) -> bool:
    """Tell whether a snapshot was read from this catalog, in a state that it has gone through."""
    return (
        space is not None
        and (origin.library, origin.space) == (version.library, space.digest)
        and origin.added <= version.added
        and origin.removed <= version.removed
    )


def _check_space(library: Space, encoder: Space) -> None:
    if library.digest != encoder.digest:
        raise SpaceMismatch(
            f'the library was made by model "{library.name}" (weights {library.digest[:8]}), but '
            f'"{encoder.name}" now has weights {encoder.digest[:8]}; index again into another '
            "--library"
        )
