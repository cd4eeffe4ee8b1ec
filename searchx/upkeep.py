"""Look after a library: verify, repair, compact, back up, restore, forget and move sources."""

import glob
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np

from searchx import vectors
from searchx.catalog import Catalog
from searchx.database import (
    FILE_NAME,
    check_backup,
    copy_into,
    copy_to,
    discard,
    rebuild,
    restorable,
)
from searchx.errors import BadInput, LibraryCorrupt, LibraryFull
from searchx.inspection import DAMAGED, Finding
from searchx.records import COLLECTION, KINDS, Ids, Kind
from searchx.refreshing import (
    drop_foreign_snapshots,
    rebuild_snapshots,
    refresh_snapshots,
)
from searchx.status import bytes_of
from searchx.views import SNAPSHOTS, held_ids, is_of, newest_snapshot, snapshot_folders

THUMBNAILS: Final = "thumbnails"
_TRIES: Final = 10
_OURS: Final = (  # how names begin
    *(FILE_NAME, SNAPSHOTS, THUMBNAILS),
    *("indexing.", "migrating.", ".restore-"),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `verify` found."""

    problems: tuple[Finding, ...]
    items: int
    vectors: int
    snapshots: int

    def as_dict(self) -> dict[str, object]:
        """Give the JSON shape."""
        return {
            "ok": not self.problems,
            "problems": [one.as_dict() for one in self.problems],
            "items": self.items,
            "vectors": self.vectors,
            "snapshots": self.snapshots,
        }


def verify(directory: Path) -> Verdict:
    """Check digests, vectors, ids and snapshots; nothing is changed.

    Raises NoLibrary, and LibraryError for a library of a newer searchx.
    """
    try:
        with closing(Catalog.open(directory)) as catalog:
            inspected = catalog.inspect()
            problems = list(inspected.findings)
            if any(one.what == DAMAGED for one in problems):
                problems = [replace(one, do=_remedy(directory)) for one in problems]
            snapshots = _snapshots(catalog)
            if not problems:
                problems += _snapshot_problems(catalog)
            return Verdict(tuple(problems), inspected.items, inspected.vectors, len(snapshots))
    except LibraryCorrupt as error:
        damaged = Finding("the catalog cannot be read", str(directory / FILE_NAME), str(error))
        return Verdict((damaged,), 0, 0, 0)


def _remedy(directory: Path) -> str:
    """Say what helps against a damaged database: `repair` is tried on a copy of it."""
    with TemporaryDirectory(prefix="searchx-") as place, suppress(OSError, LibraryFull):
        for rest in ("", "-wal"):
            if (directory / f"{FILE_NAME}{rest}").exists():
                shutil.copyfile(directory / f"{FILE_NAME}{rest}", Path(place, FILE_NAME + rest))
        try:
            rebuild(Path(place))
        except LibraryCorrupt:
            return "restore it from a backup, or move it away and index again"
    return 'run "searchx repair"'  # also where there is no room to try


def repair(directory: Path) -> list[str]:
    """Rebuild what is derived, and drop what is damaged so that it is read again.

    Gives what was done, a line each. Raises LibraryCorrupt where only a backup helps.
    """
    with closing(Catalog.open(directory)) as catalog, catalog.indexing():
        done = rebuild(catalog.directory)
        before = _all_snapshots(catalog)
        drop_foreign_snapshots(catalog)  # before numbers are given out
        is_wrong = before != _all_snapshots(catalog)
        done += catalog.mend()
        if _snapshot_problems(catalog):
            rebuild_snapshots(catalog)
            is_wrong = True
        refresh_snapshots(catalog)
        if is_wrong:
            done.append("the snapshots were built again")
    return done


def compact(directory: Path) -> tuple[int, int]:
    """Give back the space of what is gone; gives bytes before and after.

    Raises LibraryInUse also where a migration runs, whose snapshots may ask for what is removed.
    """
    with (
        closing(Catalog.open(directory)) as catalog,
        catalog.migrating(),
        catalog.indexing(),
    ):
        before = bytes_of(directory)
        refresh_snapshots(catalog, whole=True)
        for place in set(_all_snapshots(catalog)) - {place for _, place in _snapshots(catalog)}:
            vectors.drop(place)  # of the space that does not serve: it would miss what is removed
        catalog.compact()
        _drop_thumbnails(directory, catalog)
        return before, bytes_of(directory)


def backup(directory: Path, file: Path) -> int:
    """Write the whole library into one file, as of one moment; gives its bytes.

    Others may search and index meanwhile. What backups to the same file left that were killed is
    removed. Raises BadInput for a place that cannot hold it and for a file that is there and is no
    backup, and LibraryFull where it cannot be written.
    """
    with closing(Catalog.open(directory)) as catalog:
        _check_place(file)
        _sweep_parts(file)
        if file.exists():
            if file.name == FILE_NAME or file.samefile(directory / FILE_NAME):
                raise BadInput(f"{file} is a library itself; choose another name for the backup")
            check_backup(file)
        copy_to(catalog.directory, file)
    return file.stat().st_size


def _check_place(file: Path) -> None:
    """Make sure that a file can be made at a place; raises BadInput, LibraryFull."""
    if file.is_dir():
        raise BadInput(f"{file} is a folder; name the file that the backup becomes")
    if not file.parent.is_dir():
        raise BadInput(f"{file.parent} is no folder; make it first, or choose another place")
    if not os.access(file.parent, os.W_OK):
        raise LibraryFull(f"{file} cannot be written (no permission); choose another place")


def _sweep_parts(file: Path) -> None:
    """Remove what is left of backups to the same place whose process is gone."""
    for part in file.parent.glob(f".{glob.escape(file.name)}.*.part*"):
        number = part.name.removeprefix(f".{file.name}.").partition(".part")[0]
        if number.isdecimal() and not _is_running(int(number)):
            with suppress(OSError):
                part.unlink()


def _is_running(process: int) -> bool:
    """Tell whether a process is there. On Windows nobody can remove a file that one has open."""
    if os.name == "nt":
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it is that of another user
        return True
    return True


def restore(file: Path, directory: Path, force: bool = False) -> None:
    """Make the library in `directory` what the backup holds.

    A library that is there already is replaced with `force` only; who searches it meanwhile sees
    the old state or the new one. Raises BadInput for a file that is no backup, and for a folder
    that holds something else than a library.
    """
    if not file.exists():
        raise BadInput(f"{file} does not exist; name a backup that is there")
    if file.is_dir():
        raise BadInput(f"{file} is a folder; name a backup, which is one file")
    check_backup(file)
    if other := _foreign(directory):
        raise BadInput(
            f"{directory} holds other files (such as {other}) and no library; choose another "
            "--library, or an empty folder"
        )
    if (directory / FILE_NAME).exists() and not force:
        raise BadInput(
            f"{directory} holds a library already; choose another --library, or --force to "
            "replace what is in it"
        )
    with closing(_opened_to_replace(directory)) as catalog, catalog.indexing():
        with restorable(file, catalog.directory) as whole:
            # Before: wherever this is interrupted, none is of another catalog.
            for place in _all_snapshots(catalog):
                vectors.drop(place)
            copy_into(whole, catalog.directory)
        refresh_snapshots(catalog)


def _foreign(directory: Path) -> str:
    """Name something in a folder that is not of a library; nothing where there is a library.

    A library whose database was moved away is still one.
    """
    if not directory.is_dir() or (directory / FILE_NAME).exists():
        return ""
    held = sorted(one.name for one in directory.iterdir())
    return next((name for name in held if not name.startswith(_OURS)), "")


def _opened_to_replace(directory: Path) -> Catalog:
    """Open a library that is about to be replaced; one that cannot be read makes room."""
    try:
        return Catalog.open(directory, create=True)
    except LibraryCorrupt:
        discard(directory)
        return Catalog.open(directory, create=True)


def forget(directory: Path, source: Path | str) -> int:
    """Remove a source from the library; gives how many files that were. Raises BadInput."""
    with closing(Catalog.open(directory)) as catalog, catalog.indexing():
        root = _known(catalog, source)
        drop_foreign_snapshots(catalog)
        with catalog.writing() as tx:
            files = tx.drop_source(root)
        refresh_snapshots(catalog)
    return files


def move_source(directory: Path, old: Path | str, new: Path | str) -> int:
    """Tell the library that a source is at another place now; gives how many files it holds.

    Nothing is read or embedded. Raises BadInput where there is no such source, or nothing at the
    new place.
    """
    place = os.path.abspath(new)  # noqa: PTH100 - links stay as the user wrote them
    if not os.path.exists(place):  # noqa: PTH110
        raise BadInput(f"{place} does not exist; move the files first, or plug in the disk")
    with closing(Catalog.open(directory)) as catalog, catalog.indexing():
        root = _known(catalog, old)
        if root.startswith(COLLECTION):
            raise BadInput(f"{root} is in no folder, and cannot be moved to one")
        with catalog.writing() as tx:
            return tx.move_source(root, place)


def _known(catalog: Catalog, source: Path | str) -> str:
    collections = [f"{COLLECTION}{one}" for one in catalog.collections()]
    if str(source) in collections:
        return str(source)
    root = os.path.abspath(source)  # noqa: PTH100
    sources = (*catalog.sources(), *collections)
    if root not in sources:
        listed = ", ".join(sources) or "none"
        raise BadInput(f"{root} is no source of this library; its sources: {listed}")
    return root


def _snapshots(catalog: Catalog) -> list[tuple[Kind, Path]]:
    """Give the snapshots that are searched: the newest of each kind."""
    newest = ((kind, newest_snapshot(catalog, kind)) for kind in KINDS)
    return [(kind, place) for kind, place in newest if place is not None]


def _all_snapshots(catalog: Catalog) -> list[Path]:
    folders = snapshot_folders(catalog.directory)
    return sorted(
        place for folder in folders for kind in KINDS for place in vectors.places(folder, kind)
    )


def _snapshot_problems(catalog: Catalog) -> Sequence[Finding]:
    """Look at the snapshots, again where somebody indexed meanwhile."""
    found: Sequence[Finding] = ()
    for _ in range(_TRIES):
        before = catalog.version(), _snapshots(catalog)
        found = _snapshot_findings(catalog)
        if not found or before == (catalog.version(), _snapshots(catalog)):
            break
    return found


def _snapshot_findings(catalog: Catalog) -> Sequence[Finding]:
    found = [one for kind, place in _snapshots(catalog) for one in _damage(catalog, kind, place)]
    return found or [one for kind in KINDS for one in _differences(catalog, kind)]


def _damage(catalog: Catalog, kind: Kind, place: Path) -> Iterator[Finding]:
    """Compare a snapshot with its own digests, and with the catalog that it was built from."""
    repair = 'run "searchx repair"'
    for name in vectors.damaged(place):
        yield Finding("a file of a snapshot is missing or damaged", str(place / name), repair)
        return
    if not is_of(place, catalog.space(), catalog.version()):
        yield Finding("a snapshot was built from another catalog", str(place), repair)
        return
    try:
        snapshot = vectors.load(place)
    except vectors.UNREADABLE as error:  # of a snapshot that has no digests
        yield Finding("a snapshot cannot be read", f"{place} ({error})", repair)
        return
    ids, halves, _ = catalog.read_vectors(kind)
    known = dict(zip(ids.tolist(), range(len(ids)), strict=True))
    for row, item in enumerate(snapshot.ids.tolist()):
        if item in known and not np.array_equal(snapshot.matrix[row], halves[known[item]]):
            yield Finding(
                "a snapshot holds another vector than the catalog", f"item {item}", repair
            )
            return


def _differences(catalog: Catalog, kind: Kind) -> Iterator[Finding]:
    """Hold the law: snapshot and tail, without what was removed, are what the catalog holds."""
    searched, ids = held_ids(catalog, kind), np.sort(catalog.read_vectors(kind)[0])
    for what, which in (
        ("it cannot be found", np.setdiff1d(ids, searched)),
        ("it is found but not there", np.setdiff1d(searched, ids)),
        ("it is found twice", searched[1:][searched[1:] == searched[:-1]]),
    ):
        if len(which):
            yield Finding(what, _some(which), 'run "searchx repair"')


def _some(ids: Ids) -> str:
    more = f" and {len(ids) - 3} more" if len(ids) > 3 else ""
    return "item " + ", ".join(map(str, ids[:3].tolist())) + more


def _drop_thumbnails(directory: Path, catalog: Catalog) -> None:
    """Remove the thumbnails of pictures that are gone."""
    for folder in (directory / THUMBNAILS).glob("*"):
        kept = [file for file in folder.glob("*.webp") if _is_digest(_shown(file))]
        known = catalog.embedded("image", {_shown(file) for file in kept})
        for file in kept:
            if _shown(file) not in known:
                file.unlink(missing_ok=True)


def _shown(thumbnail: Path) -> str:
    return thumbnail.name.partition("-")[0]


def _is_digest(name: str) -> bool:
    return len(name) == 64 and set("0123456789abcdef").issuperset(name)
