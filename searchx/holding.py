"""Read out of the catalog what files and sources hold, and which files were skipped."""

import json
import os
from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa

from searchx.fetching import joined
from searchx.records import Kind, Skipped


@dataclass(frozen=True, slots=True)
class Holding:
    """How often an item is there, and what tells the better one of two that are alike."""

    id: int
    files: int  # that hold it
    pixels: int  # 0 for a text
    bytes: int  # of the largest file that is it; 0 for what stands inside another file
    oldest: int  # time of change in ns, of the oldest file


@dataclass(frozen=True, slots=True)
class HeldFile:
    """A file that holds an item."""

    item: int
    path: str
    bytes: int  # of the file; 0 where the item is only a part of it
    modified: int  # time of change in ns


@dataclass(frozen=True, slots=True)
class HeldSource:
    """What a source holds."""

    path: str
    files: int
    images: int
    texts: int
    skipped: int

    def as_dict(self) -> dict[str, object]:
        """Give the JSON shape."""
        return {one: getattr(self, one) for one in self.__dataclass_fields__}


def holdings(connection: sa.Connection, kind: Kind) -> list[Holding]:
    """Give every item of a kind that is in a file, by ascending id."""
    rows = connection.execute(
        sa.text(
            "SELECT item.id, coalesce(item.width * item.height, 0) AS pixels, "
            # The same file may be in two sources, one in the other: by its place it is one.
            "count(DISTINCT hex(folder.path) || '/' || hex(file.name)) AS files, "
            "max(CASE WHEN location.fragment = '' THEN file.size ELSE 0 END) AS bytes, "
            "min(file.mtime_ns) AS oldest "
            "FROM item JOIN location ON location.item_id = item.id "
            "JOIN file ON file.id = location.file_id JOIN folder ON folder.id = file.folder_id "
            "WHERE item.kind = :kind GROUP BY item.id ORDER BY item.id"
        ),
        {"kind": kind},
    )
    return [Holding(row.id, row.files, row.pixels, row.bytes, row.oldest) for row in rows]


def held_files(connection: sa.Connection, ids: Collection[int]) -> list[HeldFile]:
    """Give the files that hold some items, each once, by item and then the oldest first."""
    rows = connection.execute(
        sa.text(
            "SELECT location.item_id AS item, folder.path AS folder, file.name, "
            "max(CASE WHEN location.fragment = '' THEN file.size ELSE 0 END) AS bytes, "
            "min(file.mtime_ns) AS modified "
            "FROM location JOIN file ON file.id = location.file_id "
            "JOIN folder ON folder.id = file.folder_id "
            "WHERE location.item_id IN (SELECT value FROM json_each(:ids)) "
            "GROUP BY location.item_id, folder.path, file.name "
            "ORDER BY location.item_id, modified, folder.path, file.name"
        ),
        {"ids": json.dumps(list(ids))},
    )
    return [
        HeldFile(row.item, joined(row.folder, row.name), row.bytes, row.modified) for row in rows
    ]


def held_sources(connection: sa.Connection) -> list[HeldSource]:
    """Tell what each source holds, oldest first."""
    counted = {
        row.id: row
        for row in connection.execute(
            sa.text(
                "SELECT folder.source_id AS id, count(*) FILTER (WHERE reason IS NULL) AS files, "
                "count(*) FILTER (WHERE reason IS NOT NULL OR trouble IS NOT NULL) AS skipped "
                "FROM file JOIN folder ON folder.id = file.folder_id GROUP BY folder.source_id"
            )
        )
    }
    items: dict[tuple[int, str], int] = {
        (row.id, row.kind): row.items
        for row in connection.execute(
            sa.text(
                "SELECT folder.source_id AS id, item.kind, count(DISTINCT item.id) AS items "
                "FROM location JOIN item ON item.id = location.item_id "
                "JOIN file ON file.id = location.file_id "
                "JOIN folder ON folder.id = file.folder_id GROUP BY folder.source_id, item.kind"
            )
        )
    }
    sources = connection.execute(sa.text("SELECT id, path FROM source ORDER BY id"))
    return [
        HeldSource(
            path=os.fsdecode(row.path),
            files=counted[row.id].files if row.id in counted else 0,
            images=items.get((row.id, "image"), 0),
            texts=items.get((row.id, "text"), 0),
            skipped=counted[row.id].skipped if row.id in counted else 0,
        )
        for row in sources.all()
    ]


def skipped_reasons(connection: sa.Connection) -> list[tuple[str, int]]:
    """Count the files that could not be indexed by their reasons, the most frequent first."""
    rows = connection.execute(
        sa.text(
            "SELECT coalesce(reason, trouble) AS why, count(*) AS files FROM file "
            "WHERE reason IS NOT NULL OR trouble IS NOT NULL GROUP BY why ORDER BY files DESC, why"
        )
    )
    return [(row.why, row.files) for row in rows]


def some_skipped(
    connection: sa.Connection, k: int, reason: str | None, after: int
) -> list[tuple[int, Skipped]]:
    """Give k of the files that could not be indexed after a number, each with its own."""
    only = "" if reason is None else "AND coalesce(reason, trouble) = :reason "
    rows = connection.execute(
        sa.text(
            "SELECT file.id, folder.path, file.name, coalesce(reason, trouble) AS why "
            "FROM file JOIN folder ON folder.id = file.folder_id "
            f"WHERE (reason IS NOT NULL OR trouble IS NOT NULL) {only}AND file.id > :after "
            "ORDER BY file.id LIMIT :k"
        ),
        {"k": k, "after": after} | ({} if reason is None else {"reason": reason}),
    )
    return [(row.id, Skipped(joined(row.path, row.name), row.why)) for row in rows]
