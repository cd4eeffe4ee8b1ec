"""Compare a source with what is known of it: what to read, what is gone, what cannot be told.

Only names, sizes and times are looked at, folder by folder: memory grows with the number of
folders and of changes, not with the number of files.
"""

import os
from array import array
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, takewhile

from indexer.files import Folder, Found, Problem, found_in, walk
from indexer.rules import Rules
from searchx.catalog import Catalog, Known, KnownFiles, KnownFolder
from searchx.records import Skipped


@dataclass(frozen=True, slots=True)
class Options:
    """How a run goes about it."""

    prune: bool = False  # forget what is missing also where a whole source, or drive, is
    deep: bool = False  # read every file, whatever its size and time say
    retry: bool = False  # read once more what was skipped before
    workers: int | None = None  # processes that decode; 0: this one; None: one a core


@dataclass(frozen=True, slots=True)
class Scope:
    """The part of a source that is looked at; all of it by default."""

    folder: str | None = None
    is_deep: bool = True  # with all that is below the folder

    def holds(self, path: str) -> bool:
        """Tell whether a folder lies in it, or anywhere below where it is not deep."""
        if self.folder is None or path == self.folder:
            return True
        return path.startswith(self.folder.rstrip(os.sep) + os.sep)


WHOLE = Scope()


@dataclass(slots=True)
class Plan:
    """What a run has to do for one source."""

    source: str
    rules: Rules
    options: Options
    is_missing: bool = False  # there is nothing at the place of the source
    dirty: list[str] = field(default_factory=list)  # folders that hold something to read
    changed: int = 0  # files to read
    unchanged: int = 0
    skipped: list[Skipped] = field(default_factory=list)  # as before, for the same reason
    problems: list[Problem] = field(default_factory=list)
    known_problems: set[str] = field(default_factory=set)  # paths, recorded with the same words
    gone: "array[int]" = field(default_factory=lambda: array("q"))  # ids of files
    kept: int = 0  # files that are not there, but not taken for deleted either
    missing: list[str] = field(default_factory=list)  # places where those would be
    hidden: int = 0  # files in places that are there, but cannot be looked at
    closed: list[str] = field(default_factory=list)  # those places
    mounts: dict[str, bool] = field(default_factory=dict)  # folders that became one, or stopped
    corpora: list[str] = field(default_factory=list)  # corpus files in a folder, not read with it
    apart: frozenset[str] = frozenset()  # sources inside this one, which are compared by themselves
    library: str = ""  # its path, where it lies in this source
    holds_anything: bool = False
    holds_files: bool = False  # of those that are read with it
    is_left_out: bool = False  # what was known of it is there, but the rules leave all of it out
    is_whole: bool = True  # all of the source was looked at

    def notes(self) -> Iterator[str]:
        """Say what the user would otherwise not know of this source."""
        if self.is_left_out:
            why = f" ({self.rules.patterns})" if self.rules.patterns else ""
            yield (
                f"{self.source}: its rules leave out all that it holds{why}; what is known of it "
                f"stays in the library (files: {self.kept}); --prune forgets it"
            )
        elif self.kept:
            yield (
                f"{_some(self.missing)}: nothing is there now, perhaps a disk that is not plugged "
                f"in; what is known of it stays in the library (files: {self.kept}); --prune "
                "forgets it"
            )
        if self.hidden:
            yield (
                f"{_some(self.closed)}: what is there cannot be looked at; what is known of it "
                f"stays in the library (files: {self.hidden})"
            )
        holds_anything = self.holds_anything or self.apart or self.kept
        if self.is_whole and not (holds_anything or self.is_missing):
            fitting = f" and that fits {self.rules.patterns}" if self.rules.patterns else ""
            yield f"{self.source} holds nothing that searchx indexes{fitting}"
        if self.is_whole and self.library:
            yield f"{self.source}: the library in it was left out ({self.library})"
        if self.corpora:
            yield (
                f"{self.source}: corpus files in it were left out "
                f"({len(self.corpora)}, such as {self.corpora[0]}); name them to index them"
            )


def plan(
    source: str,
    rules: Rules,
    catalog: Catalog,
    options: Options = Options(),
    scope: Scope = WHOLE,
    sources: Sequence[str] = (),
) -> Plan:
    """Compare a source, or a part of it, with what is known of it.

    `sources` are all that there are, ascending: those that lie in this one are left out.
    """
    below = source.rstrip(os.sep) + os.sep
    following = islice(sources, bisect_left(sources, below), None)
    apart = frozenset(takewhile(lambda one: one.startswith(below), following))
    library = _library_in(source, catalog)
    made = Plan(source, rules, options, apart=apart, library=library, is_whole=scope == WHOLE)
    with catalog.knowing(source) as known:
        _Comparison(made, known, scope).run(catalog)
    return made


def to_read(made: Plan, catalog: Catalog) -> Iterator[tuple[list[Found], KnownFiles]]:
    """Give the files to read, a folder at a time, with what is known of those in the folder."""
    for path in made.dirty:
        is_file = path == os.path.dirname(made.source) != made.source
        below = None if is_file else path
        for folder in walk(
            made.source, made.rules, catalog.directory, below, deep_below=False, apart=made.apart
        ):
            with catalog.knowing(made.source, folder.path) as known:
                files = known.files(folder.path)
            names = _names_to_read(folder, files, made.options)
            yield found_in(folder, sorted(names)), files


class _Comparison:
    """The walk over a source beside its known folders."""

    def __init__(self, made: Plan, known: Known, scope: Scope) -> None:
        self.made = made
        self.known = known
        self.scope = scope
        self.walked: set[str] = set()
        self.closed: set[str] = set()  # places of which nobody can tell what is there
        self.occupied: set[str] = set()  # those of them where something is
        self.noted: dict[str, int] = {}  # folders that could not be read before: ids of the notes
        self.listed: set[str] = set()  # folders below one that was walked without them

    def run(self, catalog: Catalog) -> None:
        made, scope = self.made, self.scope
        is_empty = True  # of files, be they such that searchx reads or not
        for folder in walk(
            made.source, made.rules, catalog.directory, scope.folder, scope.is_deep, made.apart
        ):
            holds_folders = bool(folder.folders) and not scope.is_deep
            is_empty = is_empty and not (folder.has_files or folder.problems or holds_folders)
            self._compare(folder)
        if scope.is_deep:
            made.gone.extend(note for path, note in self.noted.items() if path not in self.closed)
        made.is_missing = not _is_there(made.source, os.lstat)
        if made.is_missing:  # that is told by a note, or pruned
            made.problems.clear()
        has_root = scope.folder in (None, made.source)
        if ((is_empty and has_root) or made.is_missing) and not made.options.prune:
            self._keep_all()
        elif made.is_whole and not (made.holds_files or made.options.prune) and self._is_left_out():
            made.is_left_out = True
            self._keep_all()
        else:
            self._miss()

    def _compare(self, folder: Folder) -> None:
        made = self.made
        made.problems += folder.problems
        made.corpora += folder.corpora
        made.holds_files |= bool(folder.files)
        made.holds_anything |= bool(folder.files or folder.problems or folder.corpora)
        if folder.closed or self._is_unplugged(folder):
            self._close(folder.path, folder.closed and _is_there(folder.path + os.sep))
            return
        self.walked.add(folder.path)
        if not self.scope.is_deep:
            self.listed.update(os.path.join(folder.path, name) for name in folder.folders)
        for name in folder.closed_names:
            path = os.path.join(folder.path, name)
            self._close(path, _is_there(path))
        before = self.known.folders.get(folder.path)
        if folder.is_mount != bool(before and before.is_mount):
            made.mounts[folder.path] = folder.is_mount
        files = self.known.files(folder.path)
        names = _names_to_read(folder, files, made.options)
        self._note_skipped(folder, files, names)
        made.changed += len(names)
        if names:
            made.dirty.append(folder.path)
        self._lose(files, _gone(folder, files), folder.path)

    def _note_skipped(self, folder: Folder, files: KnownFiles, names: Collection[str]) -> None:
        """Count what stays as it was, indexed or skipped."""
        self.made.unchanged += len(folder.files) - len(names)
        if not files.reasons:
            return
        beside = {one for of, told in folder.sidecars.items() if of not in names for one in told}
        problems = {one.path: one.reason for one in folder.problems}
        subfolders = set(folder.folders)
        for name, reason in files.reasons.items():
            path = os.path.join(folder.path, name)
            if name in folder.files and name not in names:
                self.made.unchanged -= 1
                self.made.skipped.append(Skipped(path, reason))
            elif name in beside:
                self.made.skipped.append(Skipped(path, reason))
            elif problems.get(path) == reason:
                self.made.known_problems.add(path)
            elif name in subfolders:
                self.noted[path] = files.ids[name]

    def _is_unplugged(self, folder: Folder) -> bool:
        """Tell whether this is the bare place where another device was mounted before.

        Its own device tells nothing: behind a link it is seldom that of the folder of the link.
        """
        before = self.known.folders.get(folder.path)
        was_mount = before is not None and before.is_mount
        return was_mount and folder.is_empty and not self.made.options.prune

    def _close(self, path: str, is_occupied: bool) -> None:
        """Take a place for closed; with --prune only one where something is."""
        if is_occupied:
            self.occupied.add(path)
        if is_occupied or not self.made.options.prune:
            self.closed.add(path)

    def _miss(self) -> None:
        """Find what was known in folders that are no longer there."""
        for path, before in self.known.folders.items():
            if path in self.walked or not self._was_looked_for(path):
                continue
            files = self.known.files(path)
            if self._cannot_tell(path, before):
                self._keep(path, files)
            else:
                self.made.gone.extend(files.ids.values())
                if before.is_mount:
                    self.made.mounts[path] = False

    def _was_looked_for(self, path: str) -> bool:
        if path in self.closed:
            return True
        return self.scope.holds(path) and self.listed.isdisjoint(_upwards(path, self.made.source))

    def _cannot_tell(self, path: str, before: KnownFolder) -> bool:
        """Tell whether a folder may be there all the same, in a place that nobody can see."""
        if before.is_mount and not self.made.options.prune:
            return True
        for place in _upwards(path, self.made.source):
            if place in self.closed:
                return True
            if not self.scope.holds(place):
                return False  # it is not walked, but what was looked at lies in it
            known = self.known.folders.get(place)
            unseen_mount = known is not None and known.is_mount and place not in self.walked
            if unseen_mount and not self.made.options.prune:
                return True
        return False

    def _lose(self, files: KnownFiles, names: Iterable[str], folder: str) -> None:
        for name in names:
            path = os.path.join(folder, name)
            if path not in self.closed:
                self.made.gone.append(files.ids[name])
            elif name not in files.reasons:
                self._count_kept(path, 1)

    def _is_left_out(self) -> bool:
        """Tell whether something that is known is there: only the rules leave it out then."""
        if self.made.source in self.closed:
            return False
        return any(
            os.path.isfile(path)
            for folder in self.known.folders
            for name in self.known.files(folder).ids
            if self.made.apart.isdisjoint(
                _upwards(path := os.path.join(folder, name), self.made.source)
            )
        )

    def _keep_all(self) -> None:
        """Keep what is known of a source that is empty, left out, or not there at all."""
        made = self.made
        made.gone = array("q")
        made.kept = made.hidden = 0
        made.missing.clear()
        made.closed.clear()
        for path in self.known.folders:
            files = self.known.files(path)
            self._count_kept(made.source, len(files.ids) - len(files.reasons))

    def _keep(self, path: str, files: KnownFiles) -> None:
        top = next((one for one in _upwards(path, self.made.source) if one in self.closed), path)
        self._count_kept(top, len(files.ids) - len(files.reasons))

    def _count_kept(self, place: str, files: int) -> None:
        """Count indexed files that stay known, and note the place where they would be."""
        made = self.made
        if place in self.occupied:
            made.hidden += files
            places = made.closed
        else:
            made.kept += files
            places = made.missing
        if files and places[-1:] != [place]:  # one place has many folders
            places.append(place)


def _library_in(source: str, catalog: Catalog) -> str:
    """Give the path of the library where it lies in a source; else nothing."""
    inside = os.path.realpath(source).rstrip(os.sep) + os.sep
    library = os.path.realpath(catalog.directory)
    return str(catalog.directory) if library.startswith(inside) else ""


def _names_to_read(folder: Folder, files: KnownFiles, options: Options) -> set[str]:
    """Give the names of files that are new, or not as they were when they were read."""
    if options.deep:
        return set(folder.files)
    names = {name for name, _ in folder.files.items() - files.stamps.items()}
    if folder.companions or files.companions:
        both = {*folder.companions, *files.companions}.intersection(folder.files)
        names |= {
            name
            for name in both
            if folder.companions.get(name, "") != files.companions.get(name, "")
        }
    if options.retry:
        names |= files.reasons.keys() & folder.files.keys()
        names |= {
            name
            for name, beside in folder.sidecars.items()
            if not files.reasons.keys().isdisjoint(beside)
        }
    return names


def _gone(folder: Folder, files: KnownFiles) -> set[str]:
    """Give the known names that are no longer there. Known problems have names, too."""
    gone = files.stamps.keys() - folder.files.keys()
    if gone and folder.problems:  # what is known under the name of a lasting one is replaced
        gone -= {os.path.basename(one.path) for one in folder.problems if one.lasting}
    if gone and files.reasons:
        told = {os.path.basename(one.path) for one in folder.problems}.union(folder.folders)
        told.update(name for names in folder.sidecars.values() for name in names)
        gone -= told & files.reasons.keys()
    return gone


def _is_there(path: str, look: Callable[[str], object] = os.stat) -> bool:
    """Tell whether something is at a place, also where it cannot be looked at."""
    try:
        look(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _some(places: Iterable[str]) -> str:
    """Name places, the first three of many."""
    named = list(dict.fromkeys(places))
    return ", ".join(named[:3]) + (", ..." if len(named) > 3 else "")


def _upwards(path: str, root: str) -> Iterator[str]:
    """Give a folder and those above it, up to the root."""
    while True:
        yield path
        above = os.path.dirname(path)
        if path == root or above == path or len(above) < len(root):
            return
        path = above
