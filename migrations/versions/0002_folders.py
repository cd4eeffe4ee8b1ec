"""Folders, places inside files, what is known of pictures, and checksums of vectors."""

import os
import zlib

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_READ_AGAIN = -1  # a time of change that no file has


def upgrade() -> None:
    """Put files into folders, and locations on their new place. Ids stay what they were."""
    op.add_column("source", sa.Column("rules", sa.Text, nullable=False, server_default=""))
    op.add_column("vector", sa.Column("checksum", sa.Integer))  # CRC-32 of the data
    _make_folders()
    _make_files()
    _make_locations()
    _make_metadata()
    _fill_checksums()


def _make_folders() -> None:
    op.create_table(
        "folder",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column(
            "source_id", sa.Integer, sa.ForeignKey("source.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("path", sa.LargeBinary, nullable=False),  # bytes, as the OS has it
        sa.Column("is_mount", sa.Boolean, nullable=False, server_default="0"),
        sa.UniqueConstraint("source_id", "path"),
    )
    op.create_index("folder_path", "folder", ["path"])


def _make_files() -> None:
    """Make the table anew under another name: dropping the old one would take locations along."""
    op.create_table(
        "file_new",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column(
            "folder_id", sa.Integer, sa.ForeignKey("folder.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("name", sa.LargeBinary, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("mtime_ns", sa.Integer, nullable=False),
        sa.Column("companions", sa.Text, nullable=False, server_default=""),  # sidecars, as read
        sa.Column("reason", sa.Text),  # why it was skipped; NULL when it was indexed
        sa.Column("trouble", sa.Text),  # why it cannot be read for now, although it was indexed
        sa.UniqueConstraint("folder_id", "name"),
        sqlite_autoincrement=True,  # a run keeps the ids of what it will forget at its end
    )
    connection = op.get_bind()
    folders: dict[tuple[int, bytes], int] = {}
    rows = connection.execute(sa.text("SELECT id, source_id, path, size, reason FROM file"))
    for row in rows.all():
        path, name = os.path.split(row.path)
        key = (row.source_id, path)
        if key not in folders:
            folders[key] = _add_folder(connection, row.source_id, path)
        connection.execute(
            sa.text(
                "INSERT INTO file_new (id, folder_id, name, size, mtime_ns, reason) "
                "VALUES (:id, :folder, :name, :size, :mtime_ns, :reason)"
            ),
            {
                "id": row.id,
                "folder": folders[key],
                "name": name,
                "size": row.size,
                # Read once more for what was not kept of it until now; nothing is embedded again.
                "mtime_ns": _READ_AGAIN,
                "reason": row.reason,
            },
        )


def _add_folder(connection: sa.Connection, source: int, path: bytes) -> int:
    added = connection.execute(
        sa.text("INSERT INTO folder (source_id, path) VALUES (:source, :path) RETURNING id"),
        {"source": source, "path": path},
    )
    return int(added.scalar_one())


def _make_locations() -> None:
    op.create_table(
        "location_new",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column(
            "file_id", sa.Integer, sa.ForeignKey("file_new.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column(
            "item_id", sa.Integer, sa.ForeignKey("item.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("fragment", sa.Text, nullable=False, server_default=""),
        sa.Column("subject", sa.LargeBinary),  # of a picture and of the texts that belong to it
        sa.Column("page", sa.Integer),
        sa.Column("line", sa.Integer),
        sa.Column("start", sa.Integer),  # characters, in the text of the file or page
        sa.Column("stop", sa.Integer),
    )
    op.execute(
        "INSERT INTO location_new (id, file_id, item_id, fragment) "
        "SELECT id, file_id, item_id, fragment FROM location ORDER BY id"
    )
    op.drop_table("location")
    op.drop_table("file")
    op.rename_table("file_new", "file")
    op.rename_table("location_new", "location")
    op.create_index("location_of_file", "location", ["file_id"])
    op.create_index("location_of_item", "location", ["item_id"])
    with_subject = sa.text("subject IS NOT NULL")
    op.create_index("location_of_subject", "location", ["subject"], sqlite_where=with_subject)
    skipped = sa.text("reason IS NOT NULL OR trouble IS NOT NULL")
    op.create_index("file_skipped", "file", ["folder_id"], sqlite_where=skipped)


def _make_metadata() -> None:
    op.create_table(
        "metadata",  # of a picture, as its file and sidecars at one location tell it
        sa.Column(
            "location_id",
            sa.Integer,
            sa.ForeignKey("location.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("taken", sa.Text),  # local time, ISO 8601 without zone: sorts as it reads
        sa.Column("zone", sa.Integer),  # minutes east of UTC, where known
        sa.Column("taken_from", sa.Text),
        sa.Column("latitude", sa.Float),
        sa.Column("longitude", sa.Float),
        sa.Column("altitude", sa.Float),
        sa.Column("camera", sa.Text),
        sa.Column("lens", sa.Text),
        sa.Column("orientation", sa.Text),
        sa.Column("format", sa.Text),
        sa.Column("bytes", sa.Integer),
        sa.Column("title", sa.Text),
        sa.Column("rating", sa.Integer),
    )
    op.create_table(
        "keyword",
        sa.Column(
            "location_id",
            sa.Integer,
            sa.ForeignKey("location.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("word", sa.Text, primary_key=True),
    )
    op.create_index("metadata_taken", "metadata", ["taken"])
    op.create_index("keyword_word", "keyword", ["word"])


def _fill_checksums() -> None:
    connection = op.get_bind()
    last = 0
    while rows := connection.execute(
        sa.text(
            "SELECT item_id, data FROM vector WHERE item_id > :last ORDER BY item_id LIMIT 1000"
        ),
        {"last": last},
    ).all():
        connection.execute(
            sa.text("UPDATE vector SET checksum = :checksum WHERE item_id = :id"),
            [{"id": row.item_id, "checksum": zlib.crc32(row.data)} for row in rows],
        )
        last = rows[-1].item_id
