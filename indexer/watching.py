"""Keep a library up to date while its sources change: catch up, then follow the file system.

The system tells which paths have changed; a run then looks at their folders only. What it does
not tell of is looked at now and then: sources that are single files, and what comes, goes and is
mounted; and, more rarely, everything, for changes behind new links, on other machines of a
network, and those that came too many at once.
"""

import os
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any, Final, TypeAlias

from indexer.asked import check_sources
from indexer.changes import Followed, Pauses, Sight, Waiting, is_in, is_link_to_folder, scopes_of
from indexer.pipeline import Progress, Supply, run_once, supply_of
from indexer.planning import Options
from indexer.planning import Scope as Part
from indexer.rules import Rules, Scope
from searchx.catalog import Catalog
from searchx.encoder import Encoder
from searchx.encoder.names import Announce
from searchx.errors import BadInput, LibraryInUse
from searchx.records import Report

TRIES: Final = 5  # to watch folders, of which some may go away meanwhile
LIMITS: Final = ("limit", "too many")  # words of the errors that more resources would mend
POLL_MS: Final = 2_000  # where the system cannot tell changes, or is not asked to

Told: TypeAlias = Callable[[Report], None]
Scopes: TypeAlias = dict[str, Sequence[Part]]
Changes: TypeAlias = Generator[set[tuple[Any, str]], None, None]  # kinds of change, and paths


def watch(
    library: Path | str,
    sources: Sequence[Path | str] = (),
    encoder: Encoder | str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
    announce: Announce | None = None,
    *,
    options: Options = Options(),  # noqa: B008 - it is frozen
    rules: Rules | None = None,
    told: Told,
    stop: Event | None = None,
    pauses: Pauses = Pauses(),  # noqa: B008 - it is frozen
) -> None:
    """Index as ``index_into`` does, then again after each change, until `stop` or Ctrl-C.

    `told` gets the report of every run, from this thread; a note comes once, not in every run
    that finds it so. `options` are those of the first run; later ones keep the number of workers.
    Without `sources`, all that the library knows are followed, also those that another process
    adds. A source that goes away is waited for; nothing of it is forgotten. While another process
    writes to the library, changes wait. Raises as ``index_into`` does, but for LibraryInUse, and
    BadInput where the system cannot watch so many folders, or no source is left.
    """
    directory = Path(library)
    check_sources(directory, sources, rules, options.prune)
    follower = _Follower(
        directory=directory,
        named=[os.path.abspath(one) for one in sources],
        encoder=supply_of(directory, encoder, device, announce),
        progress=progress,
        options=Options(workers=options.workers),
        told=told,
        stop=stop or Event(),
        pauses=pauses,
    )
    follower.begin(sources, options, rules)
    while not follower.stop.is_set():
        follower.follow()


@dataclass(slots=True)
class _Follower:
    """What follows the sources of one library."""

    directory: Path
    named: list[str]
    encoder: Encoder | Supply
    progress: Progress | None
    options: Options
    told: Told
    stop: Event
    pauses: Pauses
    noted: frozenset[str] = frozenset()
    failures: int = 0  # to watch, one after the other
    walks: str = ""  # why changes are found by walks, too, as a note

    def begin(self, sources: Sequence[Path | str], options: Options, rules: Rules | None) -> None:
        """Run for the first time, as asked."""

        def first() -> Report:
            return run_once(self.directory, sources, self.encoder, self.progress, options, rules)

        self._run(first, is_whole=True)

    def follow(self) -> None:
        """Follow the sources as they are there now; ends when one of them comes or goes."""
        followed = self._followed()
        sight, waiting = Sight.of(followed.roots), Waiting(self.pauses)
        looked, whole_at = time.monotonic(), 0.0  # what happened before is caught up with at once
        with closing(self._changes(followed.folders())) as changes:
            for changed in changes:
                waiting.add(followed.concerned(path for _, path in changed))
                if time.monotonic() >= whole_at:
                    waiting.drop()
                    whole_at = self._look_at_all(followed)
                elif paths := waiting.take():
                    if any(is_link_to_folder(path) for path in paths):
                        return  # only a new watch sees what is behind it
                    self._look_at(paths, followed)
                if time.monotonic() >= looked + self.pauses.look:
                    if sight.has_turned() or self._followed() != followed:
                        return
                    self._look_at(sight.changed_files(), followed)
                    looked = time.monotonic()

    def _look_at(self, paths: set[str], followed: Followed) -> None:
        """Run over what these changed paths concern."""

        def look() -> Report | None:
            scopes = scopes_of(paths, followed.roots)  # anew in each try: folders come and go
            return self._run_over(followed, scopes) if scopes else None

        self._run(look, is_whole=False)

    def _look_at_all(self, followed: Followed) -> float:
        """Run over all of the sources; gives when to do so again."""
        started = time.monotonic()
        self._run(lambda: self._run_over(followed, None), is_whole=True)
        ended = time.monotonic()
        pause = self.pauses.partly if self.walks else self.pauses.whole
        return ended + max(pause, self.pauses.rest * (ended - started))

    def _run_over(self, followed: Followed, scopes: Scopes | None) -> Report | None:
        """Run, but not where a source was forgotten meanwhile: it would be indexed anew."""
        if not set(followed.roots) <= set(self._known()):
            return None
        return run_once(
            self.directory,
            followed.roots,
            self.encoder,
            self.progress,
            self.options,
            None,
            scopes,
        )

    def _run(self, once: Callable[[], Report | None], is_whole: bool) -> None:
        """Run as soon as nobody else writes to the library, and tell of it."""
        while not self.stop.is_set():
            try:
                report = once()
            except LibraryInUse:
                self.stop.wait(self.pauses.busy)
            else:
                if report is not None:
                    self._tell(report, is_whole)
                return

    def _tell(self, report: Report, is_whole: bool) -> None:
        notes = (*report.notes, self.walks) if self.walks else tuple(report.notes)
        fresh = tuple(note for note in notes if note not in self.noted)
        self.noted = frozenset(notes) | (frozenset() if is_whole else self.noted)
        self.told(replace(report, notes=fresh))

    def _followed(self) -> Followed:
        """Give the sources to follow: those named, with the known ones in them, or all."""
        with closing(Catalog.open(self.directory)) as catalog:
            known = catalog.sources()
            roots = [
                one
                for one in known
                if not self.named or any(is_in(one, root) for root in self.named)
            ]
            rules = {root: kept for root in roots if (kept := catalog.rules(root))}
        if not roots:
            raise BadInput("no source is left to follow; name a folder or a file to index")
        hidden = {
            root
            for root, kept in rules.items()
            if Scope.of(Rules.from_json(kept)).hidden is not None
        }
        return Followed(tuple(roots), frozenset(hidden), os.path.realpath(self.directory))

    def _known(self) -> tuple[str, ...]:
        with closing(Catalog.open(self.directory)) as catalog:
            return catalog.sources()

    def _changes(self, folders: Sequence[str]) -> Changes:
        """Give changes as they come, and nothing now and then; raises BadInput.

        Ends where the folders have to be watched anew: one went away while the watch was set up
        or cannot be read, or the system could not tell what changed, such as a name that is not
        UTF-8. What keeps failing is not watched but walked over.
        """
        started = time.monotonic()
        try:
            yield from self._watched(folders)
        except PermissionError as error:
            self.walks = _walks(error)
        except (OSError, RuntimeError) as error:  # a RuntimeError is what watchfiles makes of some
            if any(word in str(error).lower() for word in LIMITS):
                raise _not_watched(folders, error) from error
            has_stood = time.monotonic() - started > self.pauses.partly
            self.failures = 1 if has_stood else self.failures + 1
            if self.failures >= TRIES:
                self.walks = _walks(error)
            self.stop.wait(self.pauses.quiet)

    def _watched(self, folders: Sequence[str]) -> Changes:
        import watchfiles

        if not folders or self.failures >= TRIES:
            return _ticks(self.stop, self.pauses.quiet)
        return watchfiles.watch(
            *folders,
            watch_filter=None,  # what is filtered there would keep the ticks from coming
            rust_timeout=max(1, round(self.pauses.quiet * 1000)),
            yield_on_timeout=True,
            stop_event=self.stop,
            raise_interrupt=True,
            poll_delay_ms=POLL_MS,
            # Ignoring stops at the first such folder, and hides that a limit is reached as well.
            ignore_permission_denied=bool(self.walks),
        )


def _ticks(stop: Event, seconds: float) -> Changes:
    """Wake up now and then where there is nothing that can be watched."""
    while not stop.is_set():
        yield set()
        stop.wait(seconds)


def _not_watched(folders: Sequence[str], error: Exception) -> BadInput:
    which = folders[0] if len(folders) == 1 else f"{folders[0]} and {len(folders) - 1} more"
    return BadInput(
        f"{which}: {_reason(error)}; raise fs.inotify.max_user_watches and "
        "fs.inotify.max_user_instances with sysctl, or set WATCHFILES_FORCE_POLLING=1"
    )


def _walks(error: Exception) -> str:
    return f"{_reason(error)}; changes are found by a walk now and then"


def _reason(error: Exception) -> str:
    """Say why a folder cannot be watched; watchfiles names it after "about", with more."""
    why, _, which = " ".join(str(error).split()).partition(" about ")
    place = which.split('"')[1] if which.count('"') >= 2 else "some folders"
    return f"{place} cannot be watched ({why.rstrip('.')})"
