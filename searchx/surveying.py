"""Ask a library what it holds: counts, clusters, duplicates, samples, its files and its state."""

import threading
from contextlib import suppress

import numpy as np

from searchx.catalog import HeldSource, Version
from searchx.errors import BadInput
from searchx.exploring import Explorer, Level
from searchx.facets import Columns
from searchx.filters import Filter
from searchx.gathering import Duplicates, Gatherer
from searchx.opened import Opened
from searchx.query import query_as_json
from searchx.records import KINDS, Facets, Ids, Item, Kind, Query, Skipped
from searchx.requests import asked_of, check, check_kind, filter_of, kind_of
from searchx.status import Overview, Status, status_of
from searchx.views import Touched, newest_snapshot


class Surveys(Opened):
    """What a library holds, as a whole and in parts."""

    def _begin(self) -> None:
        super()._begin()
        self._explorer = Explorer(self._catalog, self._view)
        self._gatherer = Gatherer(self._catalog, self._view, self._backdrops.duplicates)
        self._held: tuple[Touched, list[HeldSource]] | None = None  # by the sources
        self._counted: tuple[Version, int, int] | None = None  # images, texts as of a version
        self._values: tuple[Touched, Columns] | None = None
        self._counting = threading.Lock()

    def sample(
        self,
        k: int = 10,
        to: Kind = "image",
        *,
        where: str | Filter | None = None,
        seed: int | None = None,
    ) -> list[Item]:
        """Give k items at random among those that pass a filter; the same for the same seed."""
        check_kind(to)
        if seed is not None and (not isinstance(seed, int) or seed < 0):
            raise BadInput(f"seed is {seed!r}; it must be a whole number from 0 on")
        check(k)
        self._space()
        passes = filter_of(where)
        said = kind_of(passes)
        view = self._view(said if said == "image" or said == "text" else to)
        with self._turns:
            passing = view.choose(self._catalog, passes).ids
            ids = view.ids if passing is None else passing
            chosen = ids[np.random.default_rng(seed).permutation(len(ids))[:k]].tolist()
            items = self._catalog.items(chosen)
        return [items[one] for one in chosen if one in items]

    def facets(self, where: str | Filter | None = None, k: int = 50) -> Facets:
        """Count the items that pass a filter by kind, year, folder, camera and so on.

        Each facet has its k most frequent values, with the filter that finds what was counted.
        Raises BadInput.
        """
        check(k)
        passes = filter_of(where)
        self._space()
        columns = self._columns()
        with self._turns:
            return columns.count(self._passing(passes), k)

    def clusters(
        self,
        at: str = "",
        to: Kind = "image",
        k: int = 48,
        *,
        query: str | Query | None = None,
        after: str | None = None,
    ) -> Level:
        """Look at a cluster of what is alike: the way to it, its parts, and k of its items.

        `at` is its address, such as "3.1": the first part of the third part of all. Clusters stay
        as they are until something is indexed. The items come most typical first, or by their
        likeness to the positive parts of a `query`. Raises BadInput where there is no such
        cluster.
        """
        check_kind(to)
        check(k)
        self._space()
        if query is None:
            return self._in_one_space(lambda: self._explorer.level(to, at, k, None, "", after))
        asked = asked_of(query, None)
        digest = str(query_as_json(asked))
        return self._in_one_space(
            lambda: self._explorer.level(to, at, k, self.embed_query(asked)[0], digest, after)
        )

    def duplicate_groups(
        self,
        k: int = 50,
        to: Kind = "image",
        *,
        where: str | Filter | None = None,
        after: str | None = None,
    ) -> Duplicates:
        """Give what is there more than once: copies of one file, and near duplicates.

        All of them in the library, or among what passes a filter; k groups at a time, those
        first whose other files take up the most. The first call after a change compares all items
        with each other, which takes seconds from some ten thousand on. Raises BadInput.
        """
        check_kind(to)
        check(k)
        self._space()
        passes = filter_of(where)
        return self._in_one_space(lambda: self._gatherer.page(to, passes, k, after))

    @property
    def gathered(self) -> float:
        """Tell which share of the comparing for `duplicate_groups` is done, while it runs."""
        return self._gatherer.share

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

    def built(self) -> dict[Kind, float]:
        """Tell when the index of each kind was built, in seconds since 1970; of those there are."""
        found: dict[Kind, float] = {}
        for kind in KINDS:
            newest = newest_snapshot(self._catalog, kind)
            with suppress(OSError):
                if newest is not None:
                    found[kind] = newest.stat().st_mtime
        return found

    def skipped_reasons(self) -> tuple[tuple[str, int], ...]:
        """Count the files that could not be indexed by reason, the most frequent first."""
        return tuple(self._catalog.skipped_reasons())

    def some_skipped(
        self, k: int, reason: str | None = None, after: int = 0
    ) -> list[tuple[int, Skipped]]:
        """Give k of those files, of one reason or all, each with the number that follows `after`.

        Give the last number to get the next ones.
        """
        check(k)
        return self._catalog.some_skipped(k, reason, after)

    def status(self, *, whole: bool = True) -> Status:
        """Tell what the library holds, and add up its files on disk.

        Not `whole`, it costs no walk: without bytes, and without the list of skipped files.
        """
        touched = self._catalog.touched()
        held = self._held
        if held is None or held[0] != touched:  # it is counted anew where anybody has written
            self._held = held = (touched, self._catalog.held_sources())
        return status_of(self._catalog, held[1], whole=whole)

    def _passing(self, where: Filter | None) -> Ids:
        """Give the ascending ids of both kinds that pass a filter; None: of all."""
        found: list[Ids] = []
        for kind in KINDS:
            view = self._view(kind)
            ids = view.choose(self._catalog, where).ids
            found.append(view.ids if ids is None else ids)
        return np.sort(np.concatenate(found))

    def _columns(self) -> Columns:
        """Give what items can be filtered by; read anew where anything was written.

        One thread reads. Who asks meanwhile gets what was there before, where there is any.
        """
        held = self._values
        if held is not None and held[0] == self._catalog.touched():
            return held[1]
        if held is None:
            self._counting.acquire()
        elif not self._counting.acquire(blocking=False):
            return held[1]
        try:
            touched = self._catalog.touched()  # after the wait: another one may have read it
            held = self._values
            if held is None or held[0] != touched:
                self._values = held = (touched, self._catalog.columns())
            return held[1]
        finally:
            self._counting.release()
