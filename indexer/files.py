"""Which files a source holds: the walk, one folder at a time.

No file is opened here but the ignore files; of the others only name, size and time are looked at.
"""

import errno
import os
import stat
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from indexer.formats import KINDS, SIDECAR_SUFFIXES, Form, form_of, sidecars_of
from indexer.refusals import NotNow, Refused
from indexer.rules import IGNORE_FILE, Rules, Scope, read_patterns
from searchx.errors import BadInput

Inode: TypeAlias = tuple[int, int]  # device and number: one directory, by whatever name
Entry: TypeAlias = "os.DirEntry[str]"
_Place: TypeAlias = tuple[str, Scope, int | None]  # path, rules there, device of the folder above

WENT_AWAY: Final = "it went away while the folders were read; index it again"
NO_TARGET: Final = "the link leads to nothing; plug in its disk, or delete the link"
NO_FILE: Final = "not a file but a pipe, a socket or a device"


@dataclass(frozen=True, slots=True)
class Found:
    """A file that may be indexed, as the walk saw it."""

    path: str  # absolute; undecodable bytes as surrogates
    form: Form
    size: int  # bytes
    mtime_ns: int
    sidecars: tuple[str, ...] = ()  # absolute paths of what tells of a picture, by name
    companions: str = ""  # names, sizes and times of the sidecars; "" where there are none


@dataclass(frozen=True, slots=True)
class Problem:
    """A file or folder that cannot be used."""

    path: str
    reason: str
    lasting: bool  # it is so until the file changes; otherwise it may be better the next time


@dataclass(slots=True)
class Folder:
    """One folder of a source, or the place of a source that is one file.

    What was known here and is in none of `files`, `problems` and `closed_names` is gone, and so
    is all below a folder that is in none of `folders` and `closed_names`. A closed folder proves
    nothing: neither of what is in it nor of what is below.
    """

    path: str  # absolute
    files: dict[str, tuple[int, int]] = field(
        default_factory=dict
    )  # size and mtime_ns; in no order
    sidecars: dict[str, tuple[str, ...]] = field(default_factory=dict)  # names, by picture
    companions: dict[str, str] = field(default_factory=dict)  # "name:size:mtime_ns|…", by picture
    problems: list[Problem] = field(default_factory=list)
    closed: bool = False  # it could not be listed, or its ignore file could not be read
    closed_names: set[str] = field(default_factory=set)  # nobody can tell what is there, or below
    corpora: list[str] = field(default_factory=list)  # corpus files, which are not read with it
    folders: list[str] = field(default_factory=list)  # walked next; a link may be walked already
    is_empty: bool = False  # nothing is in it but hidden names
    has_files: bool = False  # more is in it than folders and hidden names, read or not
    is_mount: bool = False  # on another device than the folder that it is in

    def close(self, path: str, reason: str) -> None:
        """Note that nobody can tell what is in this folder, because of what stands at `path`."""
        self.closed = True
        self.problems.append(Problem(path, reason, lasting=False))

    def close_name(self, name: str, reason: str) -> None:
        """Note that nobody can tell what an entry of this folder is."""
        self.closed_names.add(name)
        self.problems.append(Problem(path_in(self.path, name), reason, lasting=False))


def source_root(path: Path | str) -> str:
    """Give the absolute form of a source, symlinks in it kept.

    Raises BadInput when there is nothing, or nothing that searchx can read.
    """
    if path == "":  # such as a variable of the shell that is not set; not the current folder
        raise BadInput("the path of a source is empty; name a folder or a file")
    root = os.path.abspath(path)
    try:
        mode = Path(root).stat().st_mode
        if stat.S_ISDIR(mode):
            os.scandir(root).close()
            return root
    except FileNotFoundError:
        raise BadInput(f"{root} does not exist; check the path, or plug in its disk") from None
    except OSError as error:
        raise BadInput(f"{root} cannot be read ({error.strerror}); check permissions") from None
    if not stat.S_ISREG(mode) or form_of(Path(root).name) is None:
        raise BadInput(
            f"{root} is nothing that searchx indexes; name a folder, a picture, a text, "
            "or a .jsonl, .csv, .tsv, .parquet or .tar file"
        )
    return root


def walk(
    root: str,
    rules: Rules,
    leave_out: Path | None = None,
    below: str | None = None,
    deep_below: bool = True,
    apart: Collection[str] = (),
) -> Iterator[Folder]:
    """List the folders of a source, depth first, by name; a source of one file is one Folder.

    Left out are hidden and ignored names, the folder `leave_out`, and the paths in `apart`, which
    are sources of their own. Links to folders are followed after everything else, but no folder
    is entered twice: its own name goes before a link to it. `below` asks for one folder of the
    source only, and what is below it where `deep_below` says so; nothing comes where the rules
    leave that folder out, and links from there to elsewhere in the source are closed names, as
    the rest is not walked.
    """
    top = root if below is None else below
    if top == root and form_of(Path(root).name) is not None and not _is_folder(root):
        yield _one_file(root)
        return
    try:
        scope = _scope_at(root, top, rules)
    except _NoRules as error:
        folder = Folder(top)
        folder.close(error.path, error.reason)
        yield folder
        return
    if scope is not None:
        yield from _Walk(root, top, deep_below, leave_out, apart).folders(scope)


def found_in(folder: Folder, names: Iterable[str]) -> list[Found]:
    """Give the full records of some of a folder's files."""
    found = []
    for name in names:
        form = form_of(name)
        if form is None:
            raise ValueError(f"{name!r} is no file that the walk gives")
        sidecars = tuple(path_in(folder.path, one) for one in folder.sidecars.get(name, ()))
        companions = folder.companions.get(name, "")
        size, mtime_ns = folder.files[name]
        found.append(Found(path_in(folder.path, name), form, size, mtime_ns, sidecars, companions))
    return found


def path_in(folder: str, name: str) -> str:
    """Give the path of a name in a folder."""
    return folder + name if folder.endswith(os.sep) else folder + os.sep + name


def _one_file(path: str) -> Folder:
    """Look at a source that is one file, or at least was one."""
    place, name = os.path.split(path)
    folder = Folder(place, is_empty=True)
    try:
        about = Path(path).stat()
    except OSError as error:
        folder.close_name(name, _reason(error, os.path.islink(path)))
        return folder
    folder.is_empty, folder.has_files = False, True
    if not stat.S_ISREG(about.st_mode):
        folder.problems.append(Problem(path, NO_FILE, lasting=True))
        return folder
    folder.files[name] = about.st_size, about.st_mtime_ns
    if form_of(name) == "image":
        _add_sidecars(folder, _beside(place))
    return folder


def _beside(place: str) -> dict[str, Entry]:
    """Give the files of a folder that may tell of a picture; none where it cannot be listed."""
    try:
        with os.scandir(place) as entries:
            return {
                entry.name: entry
                for entry in entries
                if entry.name[0] != "." and entry.name.lower().endswith(SIDECAR_SUFFIXES)
            }
    except OSError:
        return {}


class _NoRules(Exception):
    """An ignore file that cannot be used: nobody knows what the user wants of its folder."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason


class _Walk:
    """One walk: what was entered, and what waits."""

    def __init__(
        self,
        root: str,
        top: str,
        is_deep: bool,
        leave_out: Path | None,
        apart: Collection[str],
    ) -> None:
        self.root = root
        self.apart: dict[str, set[str]] = {}  # names, by folder
        for place, name in map(os.path.split, apart):
            self.apart.setdefault(place, set()).add(name)
        self.top = top
        self.is_deep = is_deep
        self.entered: set[Inode] = set()
        if leave_out and _is_folder(leave_out):
            about = leave_out.stat()
            self.entered.add((about.st_dev, about.st_ino))
        self.waiting: list[_Place] = []  # the last one is next
        self.links: deque[_Place] = deque()

    def folders(self, scope: Scope) -> Iterator[Folder]:
        """Give the folders from the top on, under the rules that hold there."""
        self.waiting.append((self.top, scope, _device(str(Path(self.top).parent))))
        while self.waiting or self.links:
            path, scope, device = self.waiting.pop() if self.waiting else self.links.popleft()
            folder = self._enter(path, scope, device)
            if folder is not None:
                yield folder
            if not self.is_deep:
                return

    def _enter(self, path: str, scope: Scope, device: int | None) -> Folder | None:
        """List a folder and let those in it wait; None when it was entered before."""
        folder = Folder(path)
        try:
            with _opened(path) as place:
                about = os.stat(place)
                if (about.st_dev, about.st_ino) in self.entered:
                    return None
                self.entered.add((about.st_dev, about.st_ino))
                folder.is_mount = device is not None and about.st_dev != device
                self._read(folder, scope, place, about.st_dev)
        except OSError as error:
            folder.close(path, _reason(error, os.path.islink(path)))
        except _NoRules as error:
            folder.close(error.path, error.reason)
        return folder

    def _read(self, folder: Folder, scope: Scope, place: int | str, device: int) -> None:
        with os.scandir(place) as listing:
            entries = {entry.name: entry for entry in listing}
        if IGNORE_FILE in entries:
            scope = _with_file(scope, folder.path)
        _fill(folder, scope, entries)
        if apart := self.apart.get(folder.path, set()) & entries.keys():
            _leave(folder, apart)
        if self.is_deep:
            self._line_up(folder, scope, entries, device)

    def _line_up(
        self, folder: Folder, scope: Scope, entries: dict[str, Entry], device: int
    ) -> None:
        below: list[_Place] = []
        for name in folder.folders:
            place = path_in(folder.path, name), scope.into(name), device
            if not entries[name].is_symlink():
                below.append(place)
            elif self._is_walked_elsewhere(place[0]):
                folder.closed_names.add(name)
            else:
                self.links.append(place)
        self.waiting += reversed(below)

    def _is_walked_elsewhere(self, link: str) -> bool:
        """Tell whether a link leads to what only a walk of the whole source would enter."""
        if self.top == self.root:
            return False
        target, top, root = map(os.path.realpath, (link, self.top, self.root))
        return _is_in(target, root) and not _is_in(target, top)


@contextmanager
def _opened(path: str) -> Iterator[int | str]:
    """Open a folder where the system can: its files are then found without their whole path."""
    if os.scandir not in os.supports_fd:
        yield path
        return
    place = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield place
    finally:
        os.close(place)


def _scope_at(root: str, below: str, rules: Rules) -> Scope | None:
    """Give the rules as they hold in a folder of the source; None where they leave it out."""
    scope = Scope.of(rules)
    parts = Path(below).relative_to(root).parts  # none for the source itself
    here = root
    for name in parts:
        if os.path.lexists(path_in(here, IGNORE_FILE)):
            scope = _with_file(scope, here)
        if scope.leaves_out(name, is_folder=True):
            return None
        here, scope = path_in(here, name), scope.into(name)
    return scope


def _with_file(scope: Scope, folder: str) -> Scope:
    """Add the ignore file that is in a folder to the rules that hold there."""
    path = path_in(folder, IGNORE_FILE)
    try:
        return scope.under(read_patterns(path))
    except (Refused, NotNow) as error:
        raise _NoRules(path, str(error)) from None


def _fill(folder: Folder, scope: Scope, entries: dict[str, Entry]) -> None:
    """Sort the entries of a folder into what it holds."""
    shown = [name for name in entries if name[0] != "."]
    if scope.is_plain:
        names = shown
    else:
        names = [one for one in entries if not scope.leaves_out(one, _leads_on(entries[one]))]
    aside = _look(folder, names, entries)
    folder.folders.sort()
    if scope.include is not None:
        folder.files = {name: folder.files[name] for name in folder.files if scope.wants(name)}
        folder.corpora = [name for name in folder.corpora if scope.wants(name)]
    if aside:
        _add_sidecars(folder, {name: entries[name] for name in sorted(aside)})
    has_rules = IGNORE_FILE in entries  # nobody puts them where a disk is yet to be mounted
    folder.problems.sort(key=lambda problem: problem.path)
    folder.corpora.sort()
    folder.is_empty = not (shown or names or has_rules)
    folder.has_files = has_rules or len(folder.folders) < max(len(shown), len(names))


def _leave(folder: Folder, apart: Collection[str]) -> None:
    """Take out what are sources of their own; their sidecars go with them."""
    for held in (folder.files, folder.sidecars, folder.companions):
        for name in apart:
            held.pop(name, None)
    folder.folders = [name for name in folder.folders if name not in apart]
    folder.corpora = [name for name in folder.corpora if name not in apart]
    folder.problems = [one for one in folder.problems if os.path.basename(one.path) not in apart]
    folder.closed_names.difference_update(apart)
    folder.is_empty, folder.has_files = False, True


def _look(folder: Folder, names: Iterable[str], entries: dict[str, Entry]) -> list[str]:
    """Look at the named entries, once for each file; gives the names that may be sidecars."""
    files, kind_of, aside = folder.files, KINDS.get, list[str]()
    for name in names:
        entry = entries[name]
        kind = kind_of(name[name.rfind(".", 1) :].lower())
        try:
            if not entry.is_file():
                _look_closer(folder, entry, kind)
            elif kind == "image" or kind == "text":
                about = entry.stat()
                files[name] = about.st_size, about.st_mtime_ns
            elif kind == "note":
                about = entry.stat()
                files[name] = about.st_size, about.st_mtime_ns
                aside.append(name)
            elif kind == "aside":
                aside.append(name)
            elif kind == "corpus":
                folder.corpora.append(name)
        except OSError as error:
            folder.close_name(name, _reason(error, entry.is_symlink()))
    return aside


def _look_closer(folder: Folder, entry: Entry, kind: str | None) -> None:
    """Note what is no file: a folder, or a pipe. Raises OSError where a link leads nowhere."""
    if entry.is_dir():
        folder.folders.append(entry.name)
        return
    entry.stat()
    if kind is not None and kind != "aside":
        folder.problems.append(Problem(path_in(folder.path, entry.name), NO_FILE, lasting=True))


def _leads_on(entry: Entry) -> bool:
    """Tell whether an entry is a folder for the rules; a link of which nobody can tell is one."""
    try:
        return entry.is_dir() or (entry.is_symlink() and not entry.is_file())
    except OSError:
        return True


def _add_sidecars(folder: Folder, entries: dict[str, Entry]) -> None:
    """Give the pictures of a folder what tells of them; a text that does is none of its own."""
    pictures = [name for name in folder.files if form_of(name) == "image"]
    if not pictures:
        return
    signatures: dict[str, str] = {}
    for picture, names in sidecars_of(pictures, entries).items():
        for name in names:
            if name not in signatures:
                signatures[name] = _signature(folder, entries[name])
        told = tuple(name for name in names if signatures[name])
        if told:
            folder.sidecars[picture] = told
            folder.companions[picture] = "|".join(signatures[name] for name in told)
    for name in signatures:
        folder.files.pop(name, None)


def _signature(folder: Folder, entry: Entry) -> str:
    """Tell a sidecar from another, or from itself after a change; "" where it cannot be used."""
    try:
        about = entry.stat()
    except OSError as error:
        folder.close_name(entry.name, _reason(error, entry.is_symlink()))
        return ""
    if not stat.S_ISREG(about.st_mode):
        folder.problems.append(Problem(path_in(folder.path, entry.name), NO_FILE, lasting=True))
        return ""
    # Escaped, as the bytes of a name that are not UTF-8 are not kept in a catalog.
    name = entry.name.encode("utf-8", "backslashreplace").decode("utf-8")
    return f"{name}:{about.st_size}:{about.st_mtime_ns}"


def _reason(error: OSError, is_link: bool = False) -> str:
    """Say in words why a file, a folder or a link cannot be used."""
    if isinstance(error, FileNotFoundError):
        return NO_TARGET if is_link else WENT_AWAY
    if isinstance(error, NotADirectoryError):
        return "it is no folder any more; index it as a file, or forget it"
    if error.errno == errno.ENAMETOOLONG:
        return "its path is longer than this system can open; shorten the names of the folders"
    why = error.strerror or type(error).__name__
    return f"it cannot be looked at ({why}); check its permissions"


def _device(path: str) -> int | None:
    try:
        return Path(path).stat().st_dev
    except OSError:
        return None


def _is_folder(path: Path | str) -> bool:
    """Tell whether a folder is here; not where nobody can tell, for which Path raises."""
    return os.path.isdir(path)


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(path_in(folder, ""))
