"""The library's identity, sources, files, items, locations, vectors, appearances and removals."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables. Numbers of items, appearances and removals are never used twice."""
    op.create_table(
        "library",  # one row: an identity, by which a snapshot knows the catalog it was built from
        sa.Column("id", sa.Text, primary_key=True),
    )
    op.execute("INSERT INTO library (id) VALUES (lower(hex(randomblob(16))))")
    op.create_table(
        "space",  # one row: what this library's vectors are
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False, unique=True),
        sa.Column("dim", sa.Integer, nullable=False),
    )
    op.create_table(
        "source",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("path", sa.LargeBinary, nullable=False, unique=True),  # bytes, as the OS has it
    )
    op.create_table(
        "file",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column(
            "source_id", sa.Integer, sa.ForeignKey("source.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("path", sa.LargeBinary, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("mtime_ns", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text),  # why it was skipped; NULL when it was indexed
        sa.UniqueConstraint("source_id", "path"),
    )
    op.create_table(
        "item",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("text", sa.Text),
        sa.Column("width", sa.Integer),
        sa.Column("height", sa.Integer),
        sa.UniqueConstraint("kind", "digest"),
        sa.CheckConstraint("kind IN ('image', 'text')", name="kind_is_known"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "location",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column(
            "file_id", sa.Integer, sa.ForeignKey("file.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column(
            "item_id", sa.Integer, sa.ForeignKey("item.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("fragment", sa.Text, nullable=False, server_default=""),
    )
    op.create_index("location_of_file", "location", ["file_id"])
    op.create_index("location_of_item", "location", ["item_id"])
    op.create_table(
        "vector",
        sa.Column(
            "item_id", sa.Integer, sa.ForeignKey("item.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("data", sa.LargeBinary, nullable=False),  # float16, little endian, unit length
    )
    op.create_table(
        "appearance",  # an item has a location: so that a reader can tell what a snapshot lacks
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column(
            "item_id",
            sa.Integer,
            sa.ForeignKey("item.id", ondelete="CASCADE"),
            nullable=False,
            unique=True,
        ),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "removal",  # an item lost its last location: a reader can tell what a snapshot must hide
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("item_id", sa.Integer, nullable=False),
        sqlite_autoincrement=True,
    )
