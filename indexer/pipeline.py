"""Indexing as a whole: walk, read what is new, embed it, write it down, forget what is gone."""

import os
import time
from collections import Counter, deque
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from indexer.decode import Loaded, Part, load
from indexer.files import Found, Listing, Problem, source_root, walk
from searchx.catalog import Catalog, Content, FileState, NewItem, Writing
from searchx.encoder import DEFAULT_MODEL, Announce, Encoder, canonical_name, load_encoder
from searchx.errors import BadInput, NoLibrary, SpaceMismatch
from searchx.records import Kind, Report, Skipped, Space, Vectors
from searchx.search import drop_foreign_snapshots, refresh_snapshots

WORKERS: Final = min(4, os.cpu_count() or 1)
TEXTS_A_BATCH: Final = 256
FILES_A_BATCH: Final = 256  # known content needs no embedding, but is written down now and then
NEVER: Final = -1  # a time of change that no file has: it will be tried again on the next run

Digests: TypeAlias = tuple[str, ...]


class Progress(Protocol):
    """Is told how a run goes on; always from the thread that called ``index``."""

    def found(self, files: int, unchanged: int) -> None:
        """Be told once, after the walk: so many files, of which so many need no reading."""
        ...

    def done(self, files: int, images: int, texts: int) -> None:
        """Be told after each batch: so many more files done, images and texts embedded."""
        ...


def index(
    sources: Sequence[Path | str],
    catalog: Catalog,
    encoder: Encoder,
    progress: Progress | None = None,
) -> Report:
    """Bring the catalog up to date with its sources: folders, pictures, texts, corpus files.

    A file that is gone is forgotten, also where another source at or below these ones held it.
    What was written stays when the run is interrupted, and the next run goes on from there.
    Raises BadInput for a source that is missing and SpaceMismatch for another encoder's library,
    both before anything is changed, and LibraryInUse while another process is indexing.
    """
    started = time.perf_counter()
    roots = list(dict.fromkeys(source_root(source) for source in sources))
    _keep_apart(roots, catalog)
    with catalog.indexing():
        drop_foreign_snapshots(catalog)
        with catalog.writing() as tx:
            tx.claim_space(encoder.space)
            for root in roots:
                tx.add_source(root)
        run = _Run(catalog, encoder, progress)
        run.bring_up_to_date([_plan(root, roots, catalog) for root in roots])
    return run.tally.report(time.perf_counter() - started)


def index_into(
    library: Path | str,
    sources: Path | str | Sequence[Path | str],
    encoder: Encoder | str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
    announce: Announce | None = None,
) -> Report:
    """Bring the library in this directory up to date with its sources, snapshots included.

    `encoder` may be the name of a model; without one, the library's own is loaded, or the default
    one for a new library. `announce` is told, in one line, before a model is downloaded. The
    directory is created once the sources and the encoder are known to be there. Raises as
    ``index`` does, and ModelError.
    """
    if isinstance(sources, Path | str):
        sources = [sources]
    for source in sources:
        source_root(source)
    if encoder is None or isinstance(encoder, str):
        encoder = load_encoder(_model_for(Path(library), encoder), device, announce)
    with closing(Catalog.open(Path(library), create=True)) as catalog, catalog.indexing():
        report = index(sources, catalog, encoder, progress)
        refresh_snapshots(catalog)
    return report


def model_of(library: Path) -> str:
    """Name the model that a library was made by, or the default one where there is no library."""
    space = _space_of(library)
    return space.name if space else DEFAULT_MODEL


def _model_for(library: Path, name: str | None) -> str:
    """Choose the model; another one than the library's is refused before it is downloaded.

    The name of a model that is here does not tell, it may be a copy: its weights will.
    """
    space = _space_of(library)
    wanted = canonical_name(name) if name else model_of(library)
    is_here = wanted.startswith("local-dir:") or wanted == DEFAULT_MODEL
    if space and wanted != space.name and not is_here:
        raise SpaceMismatch(
            f'this library was made by model "{space.name}", not by "{wanted}"; '
            f"index with --model {space.name}, or into another --library"
        )
    return wanted


def _space_of(library: Path) -> Space | None:
    try:
        with closing(Catalog.open(library)) as catalog:
            return catalog.space()
    except NoLibrary:
        return None


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a run has to do for one source."""

    root: str
    known: dict[str, FileState]  # by path, from the runs before
    listing: Listing
    changed: list[Found]
    skipped: list[Skipped]  # as before, for the same reason
    unchanged: int
    missing: dict[str, dict[str, FileState]]  # by source and path: gone from other sources in it
    unnamed: int  # corpus files in it that are no source of their own

    def kept(self) -> int:
        """Count the files that stay known although the walk saw no file at all."""
        if not self.listing.is_empty:
            return 0
        known = {path for path, state in self.known.items() if state.digests}
        for files in self.missing.values():
            known |= {path for path, state in files.items() if state.digests}
        return len(known)

    def gone(self) -> dict[str, FileState]:
        """Give the known files that are no longer there, as far as the walk can tell."""
        if self.kept():
            return {}
        seen = {found.path for found in self.listing.files}
        seen |= {problem.path for problem in self.listing.problems}
        return {
            path: state
            for path, state in self.known.items()
            if path not in seen and self.listing.covers(path)
        }

    def gone_elsewhere(self) -> Iterator[tuple[str, dict[str, FileState]]]:
        """Give what is gone from other sources, by source, as far as the walk can tell."""
        for source, files in {} if self.kept() else self.missing.items():
            covered = {path: files[path] for path in files if self.listing.covers(path)}
            yield source, covered

    def notes(self) -> Iterator[str]:
        """Say what the user would otherwise not know of this source."""
        listing = self.listing
        if kept := self.kept():
            yield (
                f"{self.root} holds no files now, perhaps a disk that is not plugged in; what is "
                f"known of it stays in the library (files: {kept}); "
                "index its parent folder to forget them"
            )
        elif not (listing.files or listing.problems or listing.corpora):
            yield f"{self.root} holds nothing that searchx indexes"
        if self.unnamed == 1:
            yield f"{self.root}: 1 .jsonl file was left out; name it to index it"
        elif self.unnamed:
            yield (
                f"{self.root}: {self.unnamed} .jsonl files were left out; name them to index them"
            )


@dataclass(slots=True)
class _Tally:
    """What a run has done so far."""

    unchanged: int = 0
    updated: int = 0
    removed: int = 0
    moved: int = 0
    images: int = 0  # embedded
    texts: int = 0  # embedded
    new: Counter[Digests] = field(default_factory=Counter)  # files added, by what is in them
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def report(self, seconds: float) -> Report:
        return Report(
            added=self.new.total(),
            unchanged=self.unchanged,
            moved=self.moved,
            updated=self.updated,
            removed=self.removed,
            skipped=tuple(self.skipped),
            embedded=self.images + self.texts,
            seconds=seconds,
            images_per_second=self.images / max(seconds, 1e-9),
            notes=tuple(self.notes),
        )

    def lose(self, digests: Digests) -> None:
        """Count a file that is gone: moved where a new file holds the same, else removed."""
        if not digests:
            return  # it was never indexed
        if self.new[digests] > 0:
            self.new[digests] -= 1
            self.moved += 1
        else:
            self.removed += 1

    def gain(self, one: Loaded, before: FileState | None) -> None:
        """Count a file that was read and is in the catalog now."""
        digests = tuple(part.digest for part in one.parts)
        if before is None or not before.digests:
            self.new[digests] += 1
        elif before.digests == digests:
            self.unchanged += 1
        else:
            self.updated += 1
        if one.note:
            self.notes.append(one.note)


def _keep_apart(roots: Iterable[str], catalog: Catalog) -> None:
    for root in roots:
        if Path(root).samefile(catalog.directory):
            raise BadInput(f"{root} is the library itself; choose another --library for it")


def _plan(root: str, roots: Collection[str], catalog: Catalog) -> _Plan:
    """Compare a source with what is known of it; only names, sizes and times are looked at.

    `roots` are all sources of the run; each of them is compared by a plan of its own.
    """
    known = catalog.files(root)
    listing = walk(root, leave_out=catalog.directory)
    changed: list[Found] = []
    skipped: list[Skipped] = []
    for found in listing.files:
        state = known.get(found.path)
        if state is None or (state.size, state.mtime_ns) != (found.size, found.mtime_ns):
            changed.append(found)
        elif state.reason is not None:
            skipped.append(Skipped(found.path, state.reason))
    unchanged = len(listing.files) - len(changed) - len(skipped)
    sources = catalog.sources()
    unnamed = len(set(listing.corpora).difference(sources))
    others = [one for one in sources if one not in roots and Path(one).is_relative_to(root)]
    missing = _missing(others, listing, catalog)
    return _Plan(root, known, listing, changed, skipped, unchanged, missing, unnamed)


def _missing(
    sources: Iterable[str], listing: Listing, catalog: Catalog
) -> dict[str, dict[str, FileState]]:
    """Give the known files of these sources that are not there, by source and path."""
    seen = {found.path for found in listing.files}
    return {
        source: {
            path: state
            for path, state in catalog.files(source).items()
            if path not in seen and _is_missing(path)
        }
        for source in sources
    }


def _is_missing(path: str) -> bool:
    try:
        Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False  # something is there, or nobody can tell
    return False


class _Run:
    """One run of the indexer over all its sources."""

    def __init__(self, catalog: Catalog, encoder: Encoder, progress: Progress | None) -> None:
        self.catalog = catalog
        self.encoder = encoder
        self.progress = progress
        self.tally = _Tally()

    def bring_up_to_date(self, plans: Sequence[_Plan]) -> None:
        self._announce(plans)
        for plan in plans:
            self.tally.unchanged += plan.unchanged
            self.tally.skipped += plan.skipped
            self.tally.notes += plan.notes()
            self._write_problems(plan)
            with closing(self._batches(plan.changed)) as batches:
                for batch in batches:
                    self._write(batch, plan)
        self._forget(plans)

    def _announce(self, plans: Sequence[_Plan]) -> None:
        if self.progress:
            files = sum(len(plan.listing.files) for plan in plans)
            changed = sum(len(plan.changed) for plan in plans)
            self.progress.found(files, files - changed)

    def _write_problems(self, plan: _Plan) -> None:
        with self.catalog.writing() as tx:
            for problem in plan.listing.problems:
                self._write_skipped(tx, problem, 0, NEVER, plan)

    def _batches(self, changed: Iterable[Found]) -> Generator[list[Loaded], None, None]:
        """Read files and give them in batches that are worth one call of the encoder."""
        batch: list[Loaded] = []
        with closing(self._loaded(changed)) as files:
            for one in files:
                batch.append(one)
                if self._is_full(batch):
                    yield batch
                    batch = []
        if batch:
            yield batch

    def _is_full(self, batch: Sequence[Loaded]) -> bool:
        images = sum(part.pixels is not None for one in batch for part in one.parts)
        texts = sum(part.text is not None for one in batch for part in one.parts)
        return (
            images >= self.encoder.batch_size
            or texts >= TEXTS_A_BATCH
            or len(batch) >= FILES_A_BATCH
        )

    def _loaded(self, changed: Iterable[Found]) -> Generator[Loaded, None, None]:
        """Read files in their order, a few batches ahead of the encoder, in worker threads."""
        read = partial(
            load,
            prepare=self.encoder.prepare,
            at_least=self.encoder.image_size,
            is_known=self._is_known,
        )
        ahead = 2 * self.encoder.batch_size + WORKERS
        pending: deque[Future[Loaded]] = deque()
        pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="decode")
        try:
            for found in changed:
                pending.append(pool.submit(read, found))
                if len(pending) >= ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _is_known(self, kind: Kind, digest: str) -> bool:
        return bool(self.catalog.embedded(kind, [digest]))

    def _write(self, batch: Sequence[Loaded], plan: _Plan) -> None:
        """Embed what is new in a batch and write it down together with its files.

        Only a text of more passages than fit into one call takes several transactions; its file
        is in the last of them, so that an interrupted one is read again.
        """
        chunks = _chunks(self._fresh(batch), max(TEXTS_A_BATCH, self.encoder.batch_size))
        for number, parts in enumerate(chunks, start=1):
            images, texts = self._embed_images(parts), self._embed_texts(parts)
            files = batch if number == len(chunks) else ()
            with self.catalog.writing() as tx:
                tx.add_items([*images, *texts])
                for one in files:
                    self._write_file(tx, one, plan)
            self.tally.images += len(images)
            self.tally.texts += len(texts)
            if self.progress:
                self.progress.done(len(files), len(images), len(texts))

    def _fresh(self, batch: Iterable[Loaded]) -> list[Part]:
        """Give the parts that have no vector yet, each once."""
        parts = {(part.kind, part.digest): part for one in batch for part in one.parts}
        kinds: tuple[Kind, ...] = ("image", "text")
        known = {
            (kind, digest)
            for kind in kinds
            for digest in self.catalog.embedded(kind, [key[1] for key in parts if key[0] == kind])
        }
        return [part for key, part in parts.items() if key not in known]

    def _embed_images(self, parts: Iterable[Part]) -> list[NewItem]:
        images = [(part, part.pixels) for part in parts if part.pixels is not None]
        if not images:
            return []
        vectors = self.encoder.embed_images([pixels for _, pixels in images])
        return _new_items([part for part, _ in images], vectors)

    def _embed_texts(self, parts: Iterable[Part]) -> list[NewItem]:
        texts = [(part, part.text) for part in parts if part.text is not None]
        if not texts:
            return []
        vectors = self.encoder.embed_texts([text for _, text in texts])
        return _new_items([part for part, _ in texts], vectors)

    def _write_file(self, tx: Writing, one: Loaded, plan: _Plan) -> None:
        if one.problem:
            self._write_skipped(tx, one.problem, one.size, one.mtime_ns, plan)
            return
        contents = [Content(part.kind, part.digest, part.fragment) for part in one.parts]
        tx.set_file(plan.root, one.path, one.size, one.mtime_ns, contents)
        self.tally.gain(one, plan.known.get(one.path))

    def _write_skipped(
        self, tx: Writing, problem: Problem, size: int, mtime_ns: int, plan: _Plan
    ) -> None:
        """Record a file that cannot be used; a passing problem does not cost what is known."""
        self.tally.skipped.append(Skipped(problem.path, problem.reason))
        before = plan.known.get(problem.path)
        if problem.lasting:
            tx.set_file(plan.root, problem.path, size, mtime_ns, reason=problem.reason)
        elif before is None or not before.digests:
            tx.set_file(plan.root, problem.path, size, NEVER, reason=problem.reason)

    def _forget(self, plans: Sequence[_Plan]) -> None:
        """Forget what is gone; a file that several sources held is counted once."""
        counted: set[str] = set()
        with self.catalog.writing() as tx:
            for plan in plans:
                gone = plan.gone()
                tx.drop_files(plan.root, gone)
                self._count_lost(gone.items())
                counted |= gone.keys()
            for source, gone in (one for plan in plans for one in plan.gone_elsewhere()):
                tx.drop_files(source, gone)
                self._count_lost(one for one in gone.items() if one[0] not in counted)
                counted |= gone.keys()
            tx.drop_orphans()

    def _count_lost(self, files: Iterable[tuple[str, FileState]]) -> None:
        for _, state in files:
            self.tally.lose(state.digests)


def _new_items(parts: Sequence[Part], vectors: Vectors) -> list[NewItem]:
    return [
        NewItem(part.kind, part.digest, vector, part.text, part.width, part.height)
        for part, vector in zip(parts, vectors, strict=True)
    ]


def _chunks(parts: Sequence[Part], size: int) -> list[Sequence[Part]]:
    """Cut into runs of at most ``size``; one empty run where there is nothing."""
    return [parts[start : start + size] for start in range(0, len(parts), size)] or [()]
