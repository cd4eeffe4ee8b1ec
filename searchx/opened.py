"""A library that is open: its catalog, its encoder, and each kind as it stands now."""

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from searchx import vectors
from searchx.adding.spaces import is_given
from searchx.backdrops import Backdrops
from searchx.batching import QueryVectors
from searchx.catalog import Catalog
from searchx.encoder import Encoder, load_by_torch, load_encoder
from searchx.encoder.names import Announce
from searchx.encoder.plain import OpenClipEncoder
from searchx.errors import BadInput, Busy, ModelError, NoLibrary, SpaceMismatch
from searchx.forking import renew_in_children
from searchx.kept import Answers
from searchx.questions import Question, question_of
from searchx.records import Kind, Query, Space, Vectors
from searchx.taking_over import TakingOver
from searchx.turns import Turns
from searchx.views import View, is_current, read_view

T = TypeVar("T")
TRIES: Final = 10  # where the library changes under a query
_BULK: Final = 2  # calls with many queries that are answered at one time
_BULK_WAITING: Final = 8  # of those that wait, where a query waits no longer than it may


class Opened:
    """What all that a library can be asked rests on."""

    def __init__(
        self,
        catalog: Catalog,
        encoder: Encoder | None = None,
        device: str = "auto",
        announce: Announce | None = None,
        patience: float | None = None,
    ) -> None:
        self.directory = catalog.directory
        self._catalog = catalog
        self._encoder = encoder
        self._is_given = encoder is not None
        self._device = device
        self._announce = announce
        self._patience = patience
        self._has_forked = False
        self._begin()
        renew_in_children(self._renew)

    def _begin(self) -> None:
        """Begin with nothing that was read, asked or locked."""
        self.queries = QueryVectors(lambda: self.encoder)
        self._views: dict[Kind, View] = {}
        self._backdrops = Backdrops(self._catalog, lambda: self.encoder)
        self._answers = Answers()
        self._refreshing = threading.Lock()
        self._loading = threading.Lock()
        self._has_fitted = False  # the encoder answered here; the library may have moved on since
        self._taking_over: TakingOver | None = None
        # Each waits now and then, for SQLite or for Python's lock; many more would all be late.
        self._turns = threading.BoundedSemaphore(2 * (os.cpu_count() or 2))
        self._bulk = Turns(_BULK, None if self._patience is None else _BULK_WAITING)

    def _renew(self) -> None:
        """Go on in a process that was forked, with nothing of its parent but the encoder.

        One whose threads cannot be made anew is loaded again, by torch, when a query needs it.
        """
        self._has_forked = True
        if not (self._is_given or isinstance(self._encoder, OpenClipEncoder)):
            self._encoder = None
        self._begin()
        vectors.compute_alone()

    def __reduce__(self) -> tuple[Any, ...]:
        """Be opened anew where it is unpickled, as in a worker; a given encoder travels along."""
        encoder = self._encoder if self._is_given else None
        return _reopened, (type(self), self.directory, encoder, self._device, self._patience)

    @classmethod
    def open(
        cls,
        directory: Path | str,
        *,
        encoder: Encoder | None = None,
        device: str = "auto",
        announce: Announce | None = None,
        patience: float | None = None,
    ) -> Self:
        """Open the library in `directory`. The encoder is loaded when the first query needs it.

        `announce` is told, in one line, before a model is downloaded. `patience` is how many
        seconds a query waits for an encoder that another thread is loading; None: until it is
        there. Raises NoLibrary, LibraryCorrupt or LibraryError.
        """
        return cls(Catalog.open(Path(directory)), encoder, device, announce, patience)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the catalog and the snapshots; what is asked afterwards raises LibraryError."""
        self.queries.close()
        self._views.clear()
        self._catalog.close()

    @property
    def space(self) -> Space:
        """The space that the vectors live in; raises NoLibrary where nothing was indexed yet."""
        return self._space()

    @property
    def is_loaded(self) -> bool:
        """Tell whether the encoder is there, so that no query has to wait for it."""
        return self._encoder is not None

    @property
    def encoder(self) -> Encoder:
        """The encoder that made this library; loaded on first use.

        Raises ModelError, SpaceMismatch, and Busy where it takes longer to load than this library
        has patience.
        """
        space = self._space()
        encoder = self._encoder
        if encoder is None or not self._fits(encoder, space):
            if not self._loading.acquire(timeout=-1 if self._patience is None else self._patience):
                raise Busy("the model is still being loaded; ask again in a moment")
            try:
                space = self._space()  # after the wait: another model may have taken over
                encoder = self._encoder
                if encoder is None or not self._fits(encoder, space):
                    _check_known(space)
                    self._encoder = encoder = self._loaded(space, encoder)
            finally:
                self._loading.release()
        _check_space(space, encoder.space)
        if not self._has_fitted:
            self._has_fitted = True
            self._catalog.stay_in(space)
        return encoder

    def embed_query(self, query: Query) -> Vectors:
        """Turn the positive parts of a query into one unit vector, (1, dim)."""
        return vector_of(question_of(query, self.queries, self._catalog))[None]

    def _fits(self, encoder: Encoder, space: Space) -> bool:
        """Tell whether to go on with an encoder, be it to find that it is of other weights.

        Another model may have made the library anew, or have taken over in it.
        """
        if _is_of(encoder.space, space) or (self._is_given and is_given(space)):
            return True
        return not self._has_fitted and (self._is_given or encoder.space.name == space.name)

    def _loaded(self, space: Space, before: Encoder | None) -> Encoder:
        """Load the encoder of a space; where one was given that fits no more, try to."""
        self._has_fitted = False
        try:
            return self._load(space.name)
        except ModelError:
            if before is None or not self._is_given:
                raise
            return before  # which is refused with both names

    def _load(self, name: str) -> Encoder:
        if self._has_forked:
            return load_by_torch(name, self._device, self._announce)
        return load_encoder(name, self._device, self._announce)

    def _follow(self) -> None:
        """Have the model loaded that has taken over in this library; until then, all stays.

        Encoder, snapshots and vectors change hands together, between two queries.
        """
        if not self._has_fitted:
            return
        serving = self._catalog.serving()
        if serving is None or self._encoder is None or serving == self._catalog.space():
            return
        taking = self._taking_over
        if taking is None or not taking.is_about(serving):
            with self._refreshing:
                if self._taking_over is taking:
                    self._taking_over = TakingOver(self._catalog, serving, self._load, self._take)

    def _serving(self) -> Space:
        """Give the space that serves, for who writes; a model that has taken over is waited for."""
        self._follow()
        if self._taking_over is not None:
            self._taking_over.wait()
        return self._space()

    def _take(self, encoder: Encoder, views: Mapping[Kind, View]) -> None:
        with self._loading, self._refreshing:
            self._encoder = encoder
            self._catalog.stay_in(encoder.space)
            self._views.update(views)

    def _in_one_space(self, work: Callable[[], T]) -> T:
        """Do what embeds and compares; again where another model made the library or took over."""
        self._follow()
        for _ in range(TRIES):
            space = self._space()
            try:
                done = work()
            except Exception:
                if self._space() == space:
                    raise
            else:
                if self._space() == space:
                    return done
        raise Busy("the library is being made anew by another model; ask again in a moment")

    def _space(self) -> Space:
        space = self._catalog.space()
        if space is None:
            raise NoLibrary(
                f'{self.directory} has nothing indexed yet; run "searchx index FOLDER" first'
            )
        return space

    def _view(self, kind: Kind) -> View:
        """Give the kind as it stands now; reads only what has changed since the last query."""
        view = self._views.get(kind)
        if view is not None and is_current(view, self._catalog):
            return view
        with self._refreshing:
            view = self._views.get(kind)  # another thread may have read it in the meantime
            if view is None or not is_current(view, self._catalog):
                view = self._views[kind] = read_view(self._catalog, kind, view)
            return view


def _reopened(
    made: type[Opened],
    directory: Path,
    encoder: Encoder | None,
    device: str,
    patience: float | None,
) -> Opened:
    return made.open(directory, encoder=encoder, device=device, patience=patience)


def vector_of(question: Question) -> Vectors:
    if question.vector is None:
        raise BadInput("the query has nothing but a filter; write what you look for")
    return question.vector


def _check_known(space: Space) -> None:
    if is_given(space):
        raise ModelError(
            f'the vectors of this library were given by programs as "{space.name}"; ask with '
            "vectors, or open it with the encoder that they come from"
        )


def _is_of(encoder: Space, library: Space) -> bool:
    if is_given(library) and library.dim == encoder.dim:
        return True  # who gives an encoder knows where the vectors come from
    return library.digest == encoder.digest


def _check_space(library: Space, encoder: Space) -> None:
    if not _is_of(encoder, library):
        raise SpaceMismatch(
            f'the library was made by model "{library.name}" (weights {library.digest[:8]}), but '
            f'"{encoder.name}" now has weights {encoder.digest[:8]}; index again into another '
            "--library"
        )
