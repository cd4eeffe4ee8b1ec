"""Indexing as a whole: walk, read what is new, embed it, write it down, forget what is gone."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from indexer.asked import Asked, asked_of, check_sources, columns_of, inside
from indexer.decoding.decode import Task
from indexer.decoding.workers import Workers
from indexer.files import Problem
from indexer.formats import form_of
from indexer.planning import WHOLE, Options, Plan, Scope, plan, to_read
from indexer.publishing import publishing
from indexer.rules import Rules
from indexer.stages import Before, Stages
from indexer.tally import Tally
from searchx.backdrops import Backdrops
from searchx.catalog import Catalog
from searchx.cutting import parted, tell_cost
from searchx.encoder import Encoder, load_encoder
from searchx.encoder.names import DEFAULT_MODEL, Announce, canonical_name
from searchx.errors import BadInput, NoLibrary, SpaceMismatch
from searchx.progress import note_runs
from searchx.records import Pace, Report, Skipped, Space
from searchx.references import references_of
from searchx.refreshing import drop_foreign_snapshots, refresh_snapshots
from searchx.writing import READ_AGAIN, NewFile, Writing

MOST_WORKERS: Final = 16

Supply: TypeAlias = Callable[[], Encoder]  # loads the encoder once; not called where none is needed


class Progress(Protocol):
    """Is told how a run goes on; always from the thread that called ``index``."""

    def found(self, files: int, unchanged: int) -> None:
        """Be told once, after the walk: so many files, of which so many need no reading."""
        ...

    def done(self, files: int, images: int, texts: int, pace: Pace) -> None:
        """Be told after each batch: so many more files done, images and texts embedded."""
        ...


def index(
    sources: Sequence[Path | str],
    catalog: Catalog,
    encoder: Encoder | Supply,
    progress: Progress | None = None,
    *,
    options: Options = Options(),  # noqa: B008 - it is frozen
    rules: Rules | None = None,
    scopes: dict[str, Sequence[Scope]] | None = None,
) -> Report:
    """Bring the catalog up to date with its sources, and with the known ones that lie in them.

    A file that is gone is forgotten; a source or a drive that is missing, empty or unreadable is
    not taken for deleted. What was written stays when the run is interrupted, and the next run
    goes on from there. `rules` are kept with the sources named here; without them, those kept
    before hold, as they do for sources inside the ones named. Of several sources named, one that
    the rules do not fit is left as it is, with a note.
    `scopes` narrow the walk to parts of a source. Raises BadInput for a source that is neither
    there nor known or that the rules do not fit, and SpaceMismatch for another encoder's library,
    both before anything is changed, and LibraryInUse while another process is indexing.
    """
    started = time.perf_counter()
    asked = asked_of(sources, catalog.sources(), catalog.directory, rules, options.prune)
    supply = encoder if callable(encoder) else cache(lambda: encoder)
    with catalog.indexing():
        if not callable(encoder):
            _claim(catalog, encoder)
        drop_foreign_snapshots(catalog)
        run = _Run(catalog, supply, progress, options)
        run.tally.notes += asked.notes
        run.bring_up_to_date(list(_plans(asked, catalog, options, scopes or {})))
    return run.tally.report(time.perf_counter() - started)


def index_into(
    library: Path | str,
    sources: Path | str | Sequence[Path | str] = (),
    encoder: Encoder | str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
    announce: Announce | None = None,
    *,
    options: Options = Options(),  # noqa: B008 - it is frozen
    rules: Rules | None = None,
) -> Report:
    """Bring the library in this directory up to date with its sources, snapshots included.

    Without sources, all that the library knows. `encoder` may be the name of a model; without
    one, the library's own is loaded, or the default one for a new library, and only when there is
    something to embed. `announce` is told, in one line, before a model is downloaded. The
    directory is created once the sources are known to be there. Raises as ``index`` does, and
    ModelError.
    """
    if isinstance(sources, Path | str):
        sources = [sources]
    directory = Path(library)
    check_sources(directory, sources, rules, options.prune)
    supplied = supply_of(directory, encoder, device, announce)
    return run_once(directory, sources, supplied, progress, options, rules)


def run_once(
    directory: Path,
    sources: Sequence[Path | str],
    encoder: Encoder | Supply,
    progress: Progress | None,
    options: Options,
    rules: Rules | None,
    scopes: dict[str, Sequence[Scope]] | None = None,
) -> Report:
    """Run over a library that may not be there yet, and bring its snapshots up to date."""
    with (
        closing(Catalog.open(directory, create=True)) as catalog,
        catalog.indexing(),
        publishing(directory, progress) as told,
    ):
        report = index(sources, catalog, encoder, told, options=options, rules=rules, scopes=scopes)
        supply = encoder if callable(encoder) else cache(lambda: encoder)
        if report.embedded:  # the encoder is loaded: what queries need of it is made now
            references_of(directory, supply())
        told.build()
        refresh_snapshots(catalog)
        if report.embedded:
            Backdrops(catalog, supply).prepare()
        note_runs(directory, _covered(sources, catalog.sources()))
    return report


def _covered(named: Sequence[Path | str], sources: Sequence[str]) -> tuple[str, ...]:
    """Give the sources that a run brings up to date: those named and those in them, or all."""
    if not named:
        return tuple(sources)
    roots = {os.path.abspath(one) for one in named}
    below = set(inside(roots, sources))
    return tuple(one for one in sources if one in roots or one in below)


def supply_of(
    library: Path, encoder: Encoder | str | None, device: str, announce: Announce | None
) -> Encoder | Supply:
    """Give the encoder for a library, or what loads it: at once where it may be a wrong one.

    What loads the library's own model gives the one that serves when it is called: a migration may
    have let another model take over.
    """
    if encoder is not None and not isinstance(encoder, str):
        return encoder
    name = _model_for(library, encoder)
    space = _space_of(library)
    if space is None or name != space.name:
        loaded = load_encoder(name, device, announce)
        if space is None:
            tell_cost(loaded, announce)
        return loaded
    return _Own(library, device, announce)


class _Own:
    """Loads the model of a library, again where another one has taken over."""

    def __init__(self, library: Path, device: str, announce: Announce | None) -> None:
        self._library = library
        self._device = device
        self._announce = announce
        self._loaded: Encoder | None = None

    def __call__(self) -> Encoder:
        space = _space_of(self._library)
        name = DEFAULT_MODEL if space is None else space.name
        if self._loaded is None or (space and self._loaded.space.digest != space.digest):
            self._loaded = load_encoder(name, self._device, self._announce)
        return self._loaded


def model_of(library: Path) -> str:
    """Name the model that a library was made by, or the default one where there is no library."""
    space = _space_of(library)
    return space.name if space else DEFAULT_MODEL


def model_of_dim(library: Path, model: str | None, dim: int | None) -> str | None:
    """Name a model, by default the library's own, of whose vectors `dim` numbers are kept.

    Raises BadInput where the name asks for another number of them.
    """
    if dim is None:
        return model
    whole, said = parted(model or model_of(library))
    if model is not None and said not in (None, dim):
        raise BadInput(f"{model} and --dim {dim} ask for different numbers; give one of the two")
    return f"{whole}@{dim}"


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


def _claim(catalog: Catalog, encoder: Encoder) -> None:
    with catalog.writing() as tx:
        tx.claim_space(encoder.space)


def _plans(
    asked: Asked,
    catalog: Catalog,
    options: Options,
    scopes: dict[str, Sequence[Scope]],
) -> Iterator[Plan]:
    sources = sorted({*catalog.sources(), *asked.roots})
    for root in asked.roots:
        kept = catalog.rules(root)
        before = Rules.from_json(kept) if kept else Rules()
        held = asked.rules.get(root, before)
        how = options
        if form_of(root) == "corpus" and columns_of(held) != columns_of(before):
            how = replace(options, deep=True)  # the same rows are other texts now
        for scope in scopes.get(root, () if scopes else (WHOLE,)):
            yield plan(root, held, catalog, how, scope, sources)


class _Run:
    """One run of the indexer over all its sources."""

    def __init__(
        self, catalog: Catalog, supply: Supply, progress: Progress | None, options: Options
    ) -> None:
        self.catalog = catalog
        self.supply = supply
        self.progress = progress
        self.options = options
        self.tally = Tally()

    def bring_up_to_date(self, plans: Sequence[Plan]) -> None:
        self._announce(plans)
        self._take_over(plans)
        if any(one.dirty for one in plans):
            encoder = self.supply()
            _claim(self.catalog, encoder)
            self._write_outset(plans)
            self._read(plans, encoder)
        else:
            self._write_outset(plans)
        self._forget(plans)

    def _announce(self, plans: Sequence[Plan]) -> None:
        if self.progress:
            changed = sum(one.changed for one in plans)
            same = sum(one.unchanged + len(one.skipped) for one in plans)
            self.progress.found(changed + same, same)

    def _take_over(self, plans: Sequence[Plan]) -> None:
        """Count what the plans know already."""
        self.tally.may_move = any(one.gone for one in plans)
        for one in plans:
            self.tally.unchanged += one.unchanged
            self.tally.skipped += one.skipped
            self.tally.skipped += [Skipped(each.path, each.reason) for each in one.problems]
            self.tally.notes += one.notes()

    def _write_outset(self, plans: Sequence[Plan]) -> None:
        """Write down the sources, and what the walk itself found out about them."""
        with self.catalog.writing() as tx:
            for one in plans:
                if one.is_missing and self.options.prune:
                    continue
                tx.add_source(one.source, one.rules.as_json() if one.rules != Rules() else "")
                if one.options.deep and not self.options.deep:  # also if this run is interrupted
                    tx.read_again(self._ids(one.source))
                for folder, is_mount in one.mounts.items():
                    tx.add_folder(one.source, folder, is_mount)
                for problem in one.problems:
                    if problem.path not in one.known_problems and problem.path != one.source:
                        _note(tx, one.source, problem)

    def _ids(self, source: str) -> list[int]:
        with self.catalog.knowing(source) as known:
            return [file for folder in known.folders for file in known.files(folder).ids.values()]

    def _read(self, plans: Sequence[Plan], encoder: Encoder) -> None:
        stages = Stages(self.catalog, encoder, self.tally, self.progress)
        with Workers(self._count(plans), encoder.fit, stages.is_known) as workers, stages:
            for loading in workers.load(self._tasks(plans, stages)):
                stages.take(loading.task.found, loading.contents())
                self.tally.decode_rate = workers.rate

    def _count(self, plans: Sequence[Plan]) -> int:
        if self.options.workers is not None:
            return self.options.workers
        return min(cores(), MOST_WORKERS, sum(one.changed for one in plans))

    def _tasks(self, plans: Sequence[Plan], stages: Stages) -> Iterator[Task]:
        """Give the files to read, with what was known of each told to the stages."""
        for one in plans:
            columns = columns_of(one.rules)
            for found, files in to_read(one, self.catalog):
                names = [os.path.basename(file.path) for file in found]
                known = [files.ids[name] for name in names if name in files.ids]
                digests = self.catalog.digests(known)
                for file in found:
                    stages.expect(file.path, Before.of(one.source, file, files, digests))
                    yield Task(file, columns)

    def _forget(self, plans: Sequence[Plan]) -> None:
        """Forget what is gone."""
        gone = [file for one in plans for file in one.gone]
        self.tally.lose(self._paths_lost(gone))
        with self.catalog.writing() as tx:
            tx.drop_files(gone)
            for one in plans:
                if one.is_missing and self.options.prune:
                    tx.drop_source(one.source)
            tx.drop_empty_folders()
            if not self.tally.is_half_read:  # what was embedded of a file that changed meanwhile
                tx.drop_orphans()

    def _paths_lost(self, gone: Sequence[int]) -> Iterator[tuple[str, ...]]:
        """Give what the files held that are gone, not of those that another source holds."""
        lost = set(gone)
        elsewhere = {file for file, other in self.catalog.twins(gone) if other not in lost}
        for file, digests in self.catalog.digests(gone).items():
            if file not in elsewhere:
                yield digests


def cores() -> int:
    """Count the cores that this process may use."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return found or 1


def _note(tx: Writing, source: str, problem: Problem) -> None:
    """Record what the walk met; a lasting problem takes the place of what is known."""
    if problem.lasting:
        tx.set_file(source, NewFile(problem.path, 0, READ_AGAIN, reason=problem.reason))
    else:
        tx.note_problem(source, problem.path, problem.reason)
