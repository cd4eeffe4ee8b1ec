"""What changed paths mean for the sources that they lie in, and which of them wait for a run."""

import os
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from indexer.files import walk
from indexer.formats import KINDS, form_of
from indexer.planning import WHOLE, Scope
from indexer.rules import IGNORE_FILE, Rules

MOST_SCOPES: Final = 64  # beyond that one walk over everything is quicker
MOUNTS: Final = Path("/proc/self/mountinfo")  # on Linux
PLACE: Final = 4  # the field of it that holds the place, with what would end a field as octals


@dataclass(frozen=True, slots=True)
class Pauses:
    """How long is waited, in seconds but for `rest`."""

    quiet: float = 0.5  # since the last change, before a run
    longest: float = 5.0  # since the first change, where they do not end
    again: float = 3.0  # before new folders are looked at once more
    look: float = 5.0  # between looks at what cannot be watched
    whole: float = 600.0  # between walks over everything
    partly: float = 60.0  # the same, where some folders cannot be watched
    rest: float = 100.0  # times as long as such a walk took: it costs at most a hundredth
    busy: float = 2.0  # until another process lets go of the library


@dataclass(frozen=True, slots=True)
class Followed:
    """The sources that are followed, and the library that none of them holds."""

    roots: tuple[str, ...]
    hidden: frozenset[str]  # those whose rules ask for hidden names
    library: str  # its real path: links may lead to it

    def folders(self) -> list[str]:
        """Give the folders to watch; of those that lie in another one that one only."""
        there = [root for root in self.roots if os.path.isdir(root)]
        return [
            one for one in there if not any(other != one and is_in(one, other) for other in there)
        ]

    def concerned(self, paths: Iterable[str]) -> set[str]:
        """Give the changed paths that may matter; those in the library never do."""
        return {path for path in paths if self._concerns(path)}

    def _concerns(self, path: str) -> bool:
        root = _innermost(path, self.roots)
        if root is None or (root not in self.hidden and _is_hidden(path, root)):
            return False
        if is_in(os.path.realpath(path), self.library):
            return False
        name = os.path.basename(path)
        is_read = path == root or name == IGNORE_FILE or _suffix(name) in KINDS
        return is_read or not os.path.isfile(path)  # what is gone may have been a folder


def scopes_of(paths: Iterable[str], roots: Collection[str]) -> dict[str, Sequence[Scope]]:
    """Give the parts of the sources that these changed paths concern; no part lies in another.

    A path may be of something that is gone. Behind a link to a folder it is all of its source:
    only a walk over everything tells by which of its names a folder is known.
    """
    wanted: dict[str, set[Scope]] = {}
    for path in paths:
        root = _innermost(path, roots)
        if root is not None:
            wanted.setdefault(root, set()).update(_scopes(path, root))
    return {root: _outermost(scopes) for root, scopes in wanted.items()}


def is_link_to_folder(path: str) -> bool:
    """Tell whether a link leads to a folder."""
    return os.path.islink(path) and os.path.isdir(path)


def is_in(path: str, folder: str) -> bool:
    """Tell whether a path is that of a folder, or of something in it."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


@dataclass(slots=True)
class Waiting:
    """Changed paths that wait for their run, and new folders that wait for a second look.

    A folder that appears is watched a moment later; what is put into it between its first look
    and that moment is not told.
    """

    pauses: Pauses
    paths: set[str] = field(default_factory=set)
    first: float = 0.0  # when the oldest came
    last: float = 0.0  # when the newest came
    folders: set[str] = field(default_factory=set)
    due: float = 0.0  # when the folders are to be looked at again

    def add(self, paths: set[str]) -> None:
        """Let paths wait."""
        if paths:
            self.last = time.monotonic()
            self.first = self.first if self.paths else self.last
            self.paths |= paths

    def take(self) -> set[str]:
        """Give what is to be looked at now; nothing while changes follow each other closely."""
        now = time.monotonic()
        taken = set[str]()
        if self.folders and now >= self.due:
            taken, self.folders = self.folders, set()
        is_quiet = now - self.last >= self.pauses.quiet
        if self.paths and (is_quiet or now - self.first >= self.pauses.longest):
            taken = taken | self.drop()
        return taken

    def drop(self) -> set[str]:
        """Give all paths, as they are looked at now; folders are looked at again later."""
        folders = {one for one in self.paths if os.path.isdir(one) and not os.path.islink(one)}
        if folders:
            self.folders |= folders
            self.due = time.monotonic() + self.pauses.again
        dropped, self.paths = self.paths, set()
        return dropped


@dataclass(slots=True)
class Sight:
    """What cannot be watched, as it was when it was looked at last."""

    roots: Sequence[str]
    folders: dict[str, str]  # which folder stands at the place of each source
    files: dict[str, str]  # the states of sources that are files, as indexed
    seen: dict[str, str]  # as they were at the last look
    mounts: frozenset[str]

    @classmethod
    def of(cls, roots: Sequence[str]) -> "Sight":
        """Look for the first time."""
        files = {root: _file_state(root) for root in roots if not os.path.isdir(root)}
        return cls(roots, _folder_states(roots), files, dict(files), _mounts(roots))

    def has_turned(self) -> bool:
        """Tell whether a source came, went or was exchanged, or a disk was mounted in one."""
        return _folder_states(self.roots) != self.folders or _mounts(self.roots) != self.mounts

    def changed_files(self) -> set[str]:
        """Give the sources that are files, not as indexed, and at rest since the last look."""
        changed = set[str]()
        for root, before in self.files.items():
            state = _file_state(root)
            if state not in (before, "") and state == self.seen[root]:
                changed.add(root)
                self.files[root] = state
            self.seen[root] = state
        return changed


def _innermost(path: str, roots: Collection[str]) -> str | None:
    return max((root for root in roots if is_in(path, root)), key=len, default=None)


def _is_hidden(path: str, root: str) -> bool:
    *above, name = path[len(root) :].strip(os.sep).split(os.sep)
    return any(one.startswith(".") for one in above) or (name[:1] == "." and name != IGNORE_FILE)


def _suffix(name: str) -> str:
    return name[name.rfind(".", 1) :].lower()


def _scopes(path: str, root: str) -> set[Scope]:
    if path == root or not os.path.isdir(root):
        return {WHOLE}
    folder = os.path.dirname(path)
    while folder != root and not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    if is_link_to_folder(path) or _is_behind_link(folder, root):
        return {WHOLE}
    if os.path.basename(path) == IGNORE_FILE:
        return {WHOLE if folder == root else Scope(folder)}
    listed = Scope(folder, is_deep=False)
    return {listed, Scope(path)} if os.path.isdir(path) else {listed}


def _is_behind_link(folder: str, root: str) -> bool:
    """Tell whether a link stands between a folder, itself included, and its source."""
    while len(folder) > len(root):
        if os.path.islink(folder):
            return True
        folder = os.path.dirname(folder)
    return False


def _outermost(scopes: set[Scope]) -> Sequence[Scope]:
    if WHOLE in scopes or len(scopes) > MOST_SCOPES:
        return (WHOLE,)
    deep = [one for one in scopes if one.is_deep]
    return [
        one
        for one in scopes
        if not any(other != one and other.holds(one.folder or "") for other in deep)
    ]


def _file_state(path: str) -> str:
    """Tell one state of a source that is a file from another; "" where there is none."""
    if form_of(os.path.basename(path)) is None or os.path.isdir(path):
        return ""
    seen = next(walk(path, Rules()))
    return f"{seen.files} {seen.companions}" if seen.files else ""


def _folder_states(roots: Iterable[str]) -> dict[str, str]:
    """Tell which folder stands at the place of each source, or whether a file is there."""
    states: dict[str, str] = {}
    for root in roots:
        try:
            about = os.stat(root)
        except OSError:
            states[root] = ""
        else:
            is_folder = os.path.isdir(root)
            states[root] = f"{about.st_dev} {about.st_ino}" if is_folder else "file"
    return states


def _mounts(roots: Iterable[str]) -> frozenset[str]:
    """Give the mounted places in the sources, where the system has a list of them."""
    try:
        lines = MOUNTS.read_bytes().splitlines()
    except OSError:
        return frozenset()
    places = [os.fsdecode(_unescaped(line.split()[PLACE])) for line in lines]
    real = [os.path.realpath(root) for root in roots]
    return frozenset(one for one in places if any(is_in(one, root) for root in real))


def _unescaped(place: bytes) -> bytes:
    r"""Give a place as it is: in the list a space is \040, a tab \011 and a newline \012."""
    for octal in (b"040", b"011", b"012", b"134"):
        place = place.replace(b"\\" + octal, bytes([int(octal, 8)]))
    return place
