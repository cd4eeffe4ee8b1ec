"""What programs tell of the items that they add: columns with values, beside each external id."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the tables, empty."""
    op.create_table(
        "attribute_name",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
    )
    # A value is what it is, a number or a text: SQLite would turn it into the type of its column.
    # Without row ids the values of one file lie side by side, as they are read with a hit.
    op.execute(
        "CREATE TABLE attribute ("
        "file_id INTEGER NOT NULL REFERENCES file (id) ON DELETE CASCADE, "
        "name_id INTEGER NOT NULL REFERENCES attribute_name (id), "
        "place INTEGER NOT NULL, "  # in a list, from 0
        "form TEXT NOT NULL, "
        "value NOT NULL, "
        "PRIMARY KEY (file_id, name_id, place)) WITHOUT ROWID"
    )
    op.create_index("attribute_value", "attribute", ["name_id", "form", "value", "file_id"])
