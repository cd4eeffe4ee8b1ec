"""Which files a source holds: the walk. No file is opened here, only looked up."""

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias

from searchx.errors import BadInput
from searchx.images import SUFFIXES as IMAGE_SUFFIXES

Form: TypeAlias = Literal["image", "prose", "corpus"]  # how a file is read
Inode: TypeAlias = tuple[int, int]  # device and number: one directory, by whatever name

PROSE_SUFFIXES: Final = frozenset((".txt", ".md"))
CORPUS_SUFFIXES: Final = frozenset((".jsonl",))
WENT_AWAY: Final = "it went away while the folders were read; index it again"
NOT_YET: Final = {  # pictures without a reader: told, not passed over in silence
    ".jxl": "JPEG XL",
    ".psd": "Photoshop",
    **dict.fromkeys((".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2"), "camera raw"),
}


@dataclass(frozen=True, slots=True)
class Found:
    """A file that may be indexed, as the walk saw it."""

    path: str  # absolute; undecodable bytes as surrogates
    form: Form
    size: int  # bytes
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Problem:
    """A file or folder that cannot be used."""

    path: str
    reason: str
    lasting: bool  # it is so until the file changes; otherwise it may be better the next time


@dataclass(slots=True)
class Listing:
    """What a walk found."""

    files: list[Found] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    corpora: list[str] = field(default_factory=list)  # corpus files in a folder, not read with it
    closed: set[str] = field(default_factory=set)  # places that could not be looked into
    is_empty: bool = True  # there is no file at all, not even one that searchx does not read

    def covers(self, path: str) -> bool:
        """Tell whether the walk can say that a file is gone: it saw the folder it stood in."""
        if not self.closed:
            return True
        return self.closed.isdisjoint((path, *map(str, Path(path).parents)))

    def close(self, path: str, reason: str) -> None:
        """Note a place of which the walk cannot tell what is there, or what is below it."""
        self.is_empty = False
        self.closed.add(path)
        self.problems.append(Problem(path, reason, lasting=False))


def source_root(path: Path | str) -> str:
    """Give the absolute form of a source, symlinks in it kept.

    Raises BadInput when there is nothing, or nothing that searchx can read.
    """
    if path == "":  # such as a variable of the shell that is not set; not the current folder
        raise BadInput("the path of a source is empty; name a folder or a file")
    root = os.path.abspath(path)  # noqa: PTH100 - resolve() would follow the links of the user
    try:
        mode = Path(root).stat().st_mode
        if stat.S_ISDIR(mode):
            os.scandir(root).close()
            return root
    except FileNotFoundError:
        raise BadInput(f"{root} does not exist; check the path, or plug in its disk") from None
    except OSError as error:
        raise BadInput(f"{root} cannot be read ({error.strerror}); check permissions") from None
    if not stat.S_ISREG(mode) or _form(root) is None:
        raise BadInput(
            f"{root} is nothing that searchx indexes; name a folder, a picture, "
            "or a .txt, .md or .jsonl file"
        )
    return root


def walk(root: str, leave_out: Path | None = None) -> Listing:
    """List the files of a source: all below a folder, or the one file that it is.

    Hidden names are left out, and so is the folder ``leave_out``. A corpus file in a folder is
    not read with it: it is a source of its own. Links to folders are followed, but no folder is
    entered twice, and its own name goes before a link to it.
    """
    listing = Listing()
    if not Path(root).is_dir():
        _add(listing, root, _form(root) or "image")  # a folder that went away is missed as well
        return listing
    entered = {_inode(leave_out)} if leave_out and leave_out.is_dir() else set()
    folders, links = [root], list[str]()
    while folders or links:
        folder = folders.pop() if folders else links.pop(0)
        below = list[str]()
        for entry in _enter(folder, entered, listing):
            if reason := _out_of_reach(entry):
                listing.close(entry.path, reason)
            elif entry.is_dir():
                (links if entry.is_symlink() else below).append(entry.path)
            elif (form := _form(entry.name)) == "corpus":
                listing.is_empty = False
                listing.corpora.append(entry.path)
            else:
                _add(listing, entry.path, form)
        folders += reversed(below)  # the last one is walked next
    return listing


def _enter(folder: str, entered: set[Inode], listing: Listing) -> list["os.DirEntry[str]"]:
    """Give the visible entries of a folder by name; none when it was entered before."""
    try:
        inode = _inode(folder)
        if inode in entered:
            return []
        entered.add(inode)
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except FileNotFoundError:
        listing.close(folder, WENT_AWAY)
        return []
    except OSError as error:
        reason = f"the folder cannot be read ({error.strerror}); check its permissions"
        listing.close(folder, reason)
        return []
    return sorted(visible, key=lambda entry: entry.name)


def _out_of_reach(entry: "os.DirEntry[str]") -> str:
    """Say why nobody can tell whether a file or a folder stands here; empty where one can."""
    try:
        if entry.is_dir() or not entry.is_symlink():
            return ""
        entry.stat()
    except FileNotFoundError:
        return "the link leads to nothing; plug in its disk, or delete the link"
    except OSError as error:  # such as a link to itself, or into a closed folder
        return f"it cannot be looked at ({error.strerror}); check its permissions"
    return ""


def _add(listing: Listing, path: str, form: Form | None) -> None:
    listing.is_empty = False
    if form is None:
        if kind := NOT_YET.get(Path(path).suffix.lower()):
            reason = f"searchx does not read {kind} pictures yet; export it as JPEG"
            listing.problems.append(Problem(path, reason, lasting=True))
        return
    try:
        about = Path(path).stat()
    except FileNotFoundError:
        listing.close(path, WENT_AWAY)
        return
    except OSError as error:
        reason = f"the file cannot be read ({error.strerror}); check its permissions"
        listing.close(path, reason)
        return
    if stat.S_ISREG(about.st_mode):
        listing.files.append(Found(path, form, about.st_size, about.st_mtime_ns))
    else:
        reason = "not a file but a pipe, a socket or a device"
        listing.problems.append(Problem(path, reason, lasting=True))


def _form(name: str) -> Form | None:
    suffix = Path(name).suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return "image"
    if suffix in PROSE_SUFFIXES:
        return "prose"
    return "corpus" if suffix in CORPUS_SUFFIXES else None


def _inode(path: Path | str) -> Inode:
    about = Path(path).stat()
    return about.st_dev, about.st_ino
