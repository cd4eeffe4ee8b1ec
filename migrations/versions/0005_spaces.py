"""A second space beside the one that serves: that of a model which takes over, or has given way."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the tables, empty. What serves stays in `space` and `vector`."""
    op.create_table(
        "other_space",  # one row at most
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False, unique=True),
        sa.Column("dim", sa.Integer, nullable=False),
        sa.Column("has_served", sa.Boolean, nullable=False, server_default="0"),
        sa.Column("began", sa.Float, nullable=False),  # seconds since 1970
    )
    op.create_table(
        "other_vector",  # the same columns as `vector`: a switch exchanges the names of the two
        sa.Column(
            "item_id", sa.Integer, sa.ForeignKey("item.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("data", sa.LargeBinary, nullable=False),  # float16, little endian, unit length
        sa.Column("checksum", sa.Integer),  # CRC-32 of the data
    )
