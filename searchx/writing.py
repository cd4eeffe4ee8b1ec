"""What can be changed in a catalog, inside one transaction: ``with catalog.writing() as tx``."""

import json
import os
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
import sqlalchemy as sa

from searchx import entries, lexical
from searchx.errors import BadInput, SpaceMismatch
from searchx.filters import Filter, as_json
from searchx.records import Kind, Metadata, Space

CHUNK: Final = 500  # bound parameters in one statement; SQLite allows 999 in its oldest form
_GIVEN: Final = "(SELECT value FROM json_each(:ids))"
FARTHEST: Final = (1 << 63) - 1  # SQLite holds no larger integer; in ns that is the year 2262
READ_AGAIN: Final = -1  # a time of change that no file has: the next run reads such a file again
_METADATA: Final = (
    *("taken_from", "latitude", "longitude", "altitude", "camera", "lens"),
    *("orientation", "format", "bytes", "title", "rating"),
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item that is about to be added, with its vector."""

    kind: Kind
    digest: str
    vector: np.ndarray[Any, np.dtype[np.float32]]  # (dim,), unit length
    text: str | None = None
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """One item as it stands in a file."""

    kind: Kind
    digest: str
    fragment: str = ""
    subject: str | None = None  # equal for a picture and the texts that belong to it
    page: int | None = None
    line: int | None = None
    start: int | None = None
    end: int | None = None
    metadata: Metadata | None = None


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file as it was read: what is in it, or why it cannot be used."""

    path: str  # absolute; undecodable bytes as surrogates
    size: int  # bytes
    mtime_ns: int
    contents: Sequence[Content] = ()
    companions: str = ""  # the sidecars that were read with it, with sizes and times
    reason: str | None = None  # why it was skipped


@dataclass(frozen=True, slots=True)
class Tagging:
    """How labels were given to pictures last."""

    vocabulary: str  # its entries, as JSON
    least: float  # the chance from which on a label was given
    passing: Filter | None  # what was looked at; None: all
    until: int  # the highest id there was


class Writing:
    """The changes of one transaction; all of them happen, or none."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        # Some statements are run for every file, and SQLAlchemy's way takes several times as long.
        self._cursor = connection.connection.cursor()
        self._touched: set[int] = set()  # items that got or lost a location
        self._folders: dict[tuple[str, str], int] = {}

    def claim_space(self, space: Space) -> None:
        """Let vectors of this space in; raises SpaceMismatch when the library holds another.

        A space has one digest but may get another name, as when a model directory is moved. The
        newest one is kept: under it the model can be loaded.
        """
        held = [Space(*row) for row in self._rows("SELECT name, digest, dim FROM space")]
        if not held:
            self._run(
                "INSERT INTO space (name, digest, dim) VALUES (:name, :digest, :dim)",
                {"name": space.name, "digest": space.digest, "dim": space.dim},
            )
        elif held[0].digest != space.digest:
            raise _mismatch(held[0], space)
        elif held[0].name != space.name:
            self._run("UPDATE space SET name = :name", {"name": space.name})

    def add_source(self, path: str, rules: str | None = None) -> None:
        """Remember a root that is being indexed, and the rules for it where they are given."""
        self._run(
            "INSERT INTO source (path, rules) VALUES (:path, coalesce(:rules, '')) "
            "ON CONFLICT (path) DO UPDATE SET rules = coalesce(:rules, rules)",
            {"path": os.fsencode(path), "rules": rules},
        )

    def add_folder(self, source: str, path: str, is_mount: bool = False) -> int:
        """Remember a folder of a source; gives its id."""
        folder = int(
            self._scalar(
                "INSERT INTO folder (source_id, path, is_mount) "
                "VALUES ((SELECT id FROM source WHERE path = :source), :path, :is_mount) "
                "ON CONFLICT (source_id, path) DO UPDATE SET is_mount = :is_mount RETURNING id",
                {"source": os.fsencode(source), "path": os.fsencode(path), "is_mount": is_mount},
            )
        )
        self._folders[source, path] = folder
        return folder

    def add_items(self, items: Iterable[NewItem]) -> None:
        """Add items with their vectors; content that is there already stays as it is.

        One that is there without a vector, which a model could not embed when it took over, gets
        its own.
        """
        for item in items:
            item_id = self._scalar(
                "INSERT INTO item (kind, digest, text, width, height) "
                "VALUES (:kind, :digest, :text, :width, :height) "
                "ON CONFLICT (kind, digest) DO UPDATE SET kind = kind "
                "WHERE NOT EXISTS (SELECT 1 FROM vector WHERE item_id = item.id) RETURNING id",
                {
                    "kind": item.kind,
                    "digest": bytes.fromhex(item.digest),
                    "text": item.text,
                    "width": item.width,
                    "height": item.height,
                },
            )
            if item_id is not None:
                data = item.vector.astype(np.float16).tobytes()
                self._run(
                    "INSERT INTO vector (item_id, data, checksum) VALUES (:id, :data, :checksum)",
                    {"id": item_id, "data": data, "checksum": zlib.crc32(data)},
                )

    def set_file(self, source: str, file: NewFile) -> None:
        """Record a file and the items in it, in place of all that was known of it."""
        path, name = os.path.split(file.path)
        folder = self._folders.get((source, path)) or self._folder(source, path)
        file_id = self._scalar(
            "INSERT INTO file (folder_id, name, size, mtime_ns, companions, reason) "
            "VALUES (:folder, :name, :size, :mtime_ns, :companions, :reason) "
            "ON CONFLICT (folder_id, name) DO UPDATE SET size = excluded.size, "
            "mtime_ns = excluded.mtime_ns, companions = excluded.companions, "
            "reason = excluded.reason, trouble = NULL RETURNING id",
            {
                "folder": folder,
                "name": os.fsencode(name),
                "size": file.size,
                "mtime_ns": min(max(file.mtime_ns, -FARTHEST), FARTHEST),
                "companions": storable(file.companions),
                "reason": file.reason and storable(file.reason),
            },
        )
        self._touch("DELETE FROM location WHERE file_id = :id RETURNING item_id", {"id": file_id})
        for content in file.contents:
            self._add_location(file_id, content)

    def put_entries(self, collection: str, given: Sequence[entries.Entry]) -> entries.Put:
        """Write what is in no file, each in place of all under its id; no id stands there twice.

        Raises ItemsGone where a view without a vector is of an item that is gone.
        """
        source = entries.source_of(collection)
        folder = entries.folder_of(self._connection, collection)
        if folder is None:
            self.add_source(source)
            folder = self.add_folder(source, source)
        done = entries.put(self._connection, folder, given)
        self._touched |= done.touched
        return done

    def drop_entries(self, collection: str, ids: Sequence[str]) -> tuple[int, set[int]]:
        """Forget external ids; gives how many there were, and the items that lost a place."""
        count, touched = entries.drop(self._connection, collection, ids)
        self._touched |= touched
        return count, touched

    def drop_unheld(self, items: Collection[int]) -> None:
        """Remove those of some items that stand nowhere any more.

        Only who holds the library may: an indexer may be about to name one of them.
        """
        self.settle()
        entries.drop_unheld(self._connection, items)

    def note_problem(self, source: str, path: str, reason: str) -> None:
        """Record a place that cannot be used for now, to be read again; what is known stays."""
        folder, name = os.path.split(path)
        self._run(
            "INSERT INTO file (folder_id, name, size, mtime_ns, reason) "
            "VALUES (:folder, :name, 0, :mtime_ns, :reason) "
            "ON CONFLICT (folder_id, name) DO UPDATE SET mtime_ns = excluded.mtime_ns, "
            "reason = CASE WHEN file.reason IS NULL THEN NULL ELSE excluded.reason END, "
            "trouble = CASE WHEN file.reason IS NULL THEN excluded.reason END",
            {
                "folder": self._folders.get((source, folder)) or self._folder(source, folder),
                "name": os.fsencode(name),
                "mtime_ns": READ_AGAIN,
                "reason": storable(reason),
            },
        )

    def read_again(self, files: Collection[int]) -> None:
        """Have files read by the next run whatever their size and time."""
        self._for_each(f"UPDATE file SET mtime_ns = :again WHERE id IN {_GIVEN}", files)

    def drop_files(self, files: Collection[int]) -> None:
        """Forget files, by id, with their locations."""
        for chunk in chunks(list(files)):
            held = f"SELECT item_id FROM location WHERE file_id IN {_GIVEN}"
            self._touch(held, {"ids": json.dumps(chunk)})
        self._for_each(f"DELETE FROM file WHERE id IN {_GIVEN}", files)

    def drop_empty_folders(self) -> None:
        """Forget the folders that hold no known file.

        Not those of mounted devices: a device must be known for one to be missed.
        """
        self._run(
            "DELETE FROM folder WHERE id NOT IN (SELECT folder_id FROM file) AND NOT is_mount"
        )
        self._folders.clear()

    def drop_source(self, source: str) -> int:
        """Forget a source with all its files; gives how many were indexed. Raises BadInput."""
        values = {"source": os.fsencode(source)}
        held = "SELECT file.id, reason FROM file JOIN folder ON folder.id = file.folder_id "
        held += "JOIN source ON source.id = folder.source_id WHERE source.path = :source"
        files = self._rows(held, values)
        self.drop_files([file for file, _ in files])
        if not self._run("DELETE FROM source WHERE path = :source", values):
            raise BadInput(f"{source} is no source of this library")
        self._folders.clear()
        self.drop_orphans()
        return sum(reason is None for _, reason in files)

    def move_source(self, old: str, new: str) -> int:
        """Give a source and all below it another root; gives how many files. Raises BadInput."""
        values = {"old": os.fsencode(old), "new": os.fsencode(new)}
        if self._scalar("SELECT 1 FROM source WHERE path = :new", values):
            raise BadInput(f"{new} is a source already; forget one of the two first")
        source = self._scalar(
            "UPDATE source SET path = :new WHERE path = :old RETURNING id", values
        )
        if source is None:
            raise BadInput(f"{old} is no source of this library")
        self._rebase("location", "subject", old, new)
        if not self._rename_file(source, old, new):
            self._rebase("folder", "path", old, new, source)
        self._folders.clear()
        count = "SELECT count(*) FROM file JOIN folder ON folder.id = file.folder_id "
        count += "WHERE folder.source_id = :source AND reason IS NULL"
        return int(self._scalar(count, {"source": source}) or 0)

    def set_tags(self, tags: Mapping[int, Collection[str]]) -> None:
        """Give items their tags, by id, in place of those that they had; not to those gone."""
        wanted = {(id, storable(word)) for id, words in tags.items() for word in words}
        held = f"SELECT item_id, word FROM tag WHERE item_id IN {_GIVEN}"
        known = set(self._rows(held, {"ids": json.dumps(list(tags))}))
        if gone := sorted(known - wanted):
            self._cursor.executemany("DELETE FROM tag WHERE item_id = ? AND word = ?", gone)
        if new := sorted(wanted - known):
            self._cursor.executemany(
                "INSERT INTO tag (item_id, word) SELECT id, ?2 FROM item WHERE id = ?1", new
            )

    def remember_tagging(self, tagging: Tagging) -> None:
        """Keep how labels were given last."""
        passing = "" if tagging.passing is None else json.dumps(as_json(tagging.passing))
        values = {"vocabulary": tagging.vocabulary, "least": tagging.least}
        self._run("DELETE FROM tagging")
        self._run(
            "INSERT INTO tagging (vocabulary, least, passing, until) "
            "VALUES (:vocabulary, :least, :passing, :until)",
            {**values, "passing": passing, "until": tagging.until},
        )

    def drop_tags(self) -> int:
        """Forget all tags and how they were given; gives how many items had some."""
        count = self._scalar("SELECT count(DISTINCT item_id) FROM tag")
        self._run("DELETE FROM tag")
        self._run("DELETE FROM tagging")
        return int(count)

    def drop_orphans(self) -> int:
        """Remove the items that no file holds any more, with their vectors; gives how many."""
        self.settle()
        return self._run("DELETE FROM item WHERE id NOT IN (SELECT item_id FROM location)")

    def settle(self) -> None:
        """Give numbers to the items that got their first or lost their last location.

        Done at the end of every transaction; readers learn from the numbers what has changed. And
        write the words anew by which changed items are found.
        """
        touched = f"SELECT id FROM item WHERE id IN {_GIVEN}"
        held = "EXISTS (SELECT 1 FROM location WHERE location.item_id = item.id)"
        made = "EXISTS (SELECT 1 FROM vector WHERE vector.item_id = item.id)"
        shown = "EXISTS (SELECT 1 FROM appearance WHERE appearance.item_id = item.id)"
        lost = f"{touched} AND {shown} AND NOT {held}"
        for statement in (
            f"INSERT INTO removal (item_id) {lost}",
            f"DELETE FROM appearance WHERE item_id IN ({lost})",
            f"INSERT INTO appearance (item_id) {touched} AND {held} AND {made} AND NOT {shown}",
        ):
            self._for_each(statement, sorted(self._touched))
        self._touched.clear()
        lexical.refresh(self._connection)

    def _folder(self, source: str, path: str) -> int:
        """Find a folder that is known, or remember it."""
        known = self._scalar(
            "SELECT folder.id FROM folder JOIN source ON source.id = folder.source_id "
            "WHERE source.path = :source AND folder.path = :path",
            {"source": os.fsencode(source), "path": os.fsencode(path)},
        )
        if known is None:
            return self.add_folder(source, path)
        self._folders[source, path] = known
        return int(known)

    def _add_location(self, file_id: int, content: Content) -> None:
        subject = None if content.subject is None else os.fsencode(content.subject)
        [(location, item)] = self._rows(
            "INSERT INTO location "
            "(file_id, item_id, fragment, subject, page, line, start, stop) VALUES (:file, "
            "(SELECT id FROM item WHERE kind = :kind AND digest = :digest), "
            ":fragment, :subject, :page, :line, :start, :stop) RETURNING id, item_id",
            {
                "file": file_id,
                "kind": content.kind,
                "digest": bytes.fromhex(content.digest),
                "fragment": storable(content.fragment),
                "subject": subject,
                "page": content.page,
                "line": content.line,
                "start": content.start,
                "stop": content.end,
            },
        )
        self._touched.add(item)
        if content.metadata is not None:
            self._add_metadata(location, content.metadata)

    def _add_metadata(self, location: int, metadata: Metadata) -> None:
        known = {name: getattr(metadata, name) for name in _METADATA}
        values: dict[str, object] = {
            name: storable(one) if isinstance(one, str) else one for name, one in known.items()
        }
        taken = metadata.taken
        offset = taken.utcoffset() if taken else None
        values |= {
            "location_id": location,
            "taken": taken and taken.replace(tzinfo=None).isoformat(sep=" "),
            "zone": None if offset is None else round(offset.total_seconds() / 60),
        }
        names = ", ".join(values)
        bound = ", ".join(f":{name}" for name in values)
        self._run(f"INSERT INTO metadata ({names}) VALUES ({bound})", values)
        for word in dict.fromkeys(storable(one) for one in metadata.keywords):
            self._run(
                "INSERT INTO keyword (location_id, word) VALUES (:location, :word)",
                {"location": location, "word": word},
            )

    def _rebase(
        self, table: str, column: str, old: str, new: str, source: int | None = None
    ) -> None:
        """Let the paths that are the old root, or lie below it, begin with the new one."""
        where = f"{column} IS NOT NULL" if source is None else "source_id = :source"
        rows = self._rows(
            f"SELECT id, {column} FROM {table} WHERE {where}",
            {} if source is None else {"source": source},
        )
        before, after = os.fsencode(old), os.fsencode(new)
        found = ((id, _rebased(path, before, after)) for id, path in rows)
        moved = [{"id": one, "path": path} for one, path in found if path is not None]
        if moved:
            # In two steps: one folder may be given the path that another one still has.
            statement = f"UPDATE {table} SET {column} = :path WHERE id = :id"
            aside = [{"id": one["id"], "path": b"\0" + one["path"]} for one in moved]
            for step in (aside, moved):
                self._cursor.executemany(statement, step)

    def _rename_file(self, source: int, old: str, new: str) -> bool:
        """Move the file that a source is; gives False where the source is a folder.

        The folder of such a file lies above the root of its source, that of no other file does.
        """
        if os.path.dirname(old) == old:  # noqa: PTH120 - the root of a disk, above itself
            return False
        values = {
            "source": source,
            "above": os.fsencode(os.path.dirname(old)),  # noqa: PTH120 - as it was stored
            "folder": os.fsencode(os.path.dirname(new)),  # noqa: PTH120
            "name": os.fsencode(os.path.basename(new)),  # noqa: PTH119
        }
        folder = self._scalar(
            "UPDATE folder SET path = :folder WHERE source_id = :source AND path = :above "
            "RETURNING id",
            values,
        )
        if folder is not None:
            self._run(
                "UPDATE file SET name = :name WHERE folder_id = :id", {**values, "id": folder}
            )
        return folder is not None

    def _for_each(self, statement: str, ids: Collection[int]) -> None:
        """Run a statement over many ids, some at a time."""
        extra = {"again": READ_AGAIN} if ":again" in statement else {}
        for chunk in chunks(list(ids)):
            self._run(statement, {"ids": json.dumps(chunk), **extra})

    def _touch(self, statement: str, values: Mapping[str, object]) -> None:
        """Run a statement that gives the ids of items whose locations it is about."""
        self._touched.update(item for (item,) in self._rows(statement, values))

    def _scalar(self, statement: str, values: Mapping[str, object] | None = None) -> Any:
        """Give the first number of the first row; None where there is no row."""
        rows = self._rows(statement, values)
        return rows[0][0] if rows else None

    def _rows(
        self, statement: str, values: Mapping[str, object] | None = None
    ) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self._cursor.execute(statement, values or {}).fetchall()
        return found

    def _run(self, statement: str, values: Mapping[str, object] | None = None) -> int:
        """Run a statement that gives no rows; tells how many it changed."""
        return int(self._cursor.execute(statement, values or {}).rowcount)


def storable(words: str) -> str:
    """Write undecodable bytes of a name, which SQLite's text cannot hold, as escapes."""
    return words.encode("utf-8", "backslashreplace").decode("utf-8")


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cut into runs that fit into one statement."""
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]


def _rebased(path: bytes, old: bytes, new: bytes) -> bytes | None:
    """Give a path below another root; None where it is not below the old one."""
    if path == old:
        return new
    slash = os.fsencode(os.sep)
    before, after = old.removesuffix(slash), new.removesuffix(slash)  # a disk's root ends with one
    if path.startswith((before + slash, before + b"\0")):  # in a folder, or a row of a corpus
        return after + path[len(before) :]
    return None


def _mismatch(library: Space, other: Space) -> SpaceMismatch:
    if library.name == other.name:
        return SpaceMismatch(
            f'this library was made by other weights of model "{library.name}" '
            f"({library.digest[:8]}, now {other.digest[:8]}); index into another --library"
        )
    return SpaceMismatch(
        f'this library was made by model "{library.name}" (weights {library.digest[:8]}), not by '
        f'"{other.name}" (weights {other.digest[:8]}); index with --model {library.name}, or '
        "into another --library"
    )
