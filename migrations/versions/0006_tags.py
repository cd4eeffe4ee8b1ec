"""Labels that were given to pictures, and what they were given by."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the tables, empty. Tags belong to an item, so they stay wherever its files go."""
    op.create_table(
        "tag",
        sa.Column(
            "item_id",
            sa.Integer,
            sa.ForeignKey("item.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("word", sa.Text, primary_key=True),
    )
    op.create_index("tag_word", "tag", ["word", "item_id"])
    op.create_table(
        "tagging",  # one row: how the last labels were given, so that new pictures get them too
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("vocabulary", sa.Text, nullable=False),  # a line for each group
        sa.Column("least", sa.Float, nullable=False),  # chance from which on a label is given
        sa.Column("passing", sa.Text, nullable=False),  # a filter as JSON; empty for none
        sa.Column("until", sa.Integer, nullable=False),  # the highest id that was looked at
    )
    for name, event, row in (("added", "INSERT", "new"), ("dropped", "DELETE", "old")):
        op.execute(
            f"CREATE TRIGGER words_due_tag_{name} AFTER {event} ON tag BEGIN "
            f"INSERT INTO words_due (item_id) SELECT {row}.item_id "
            f"WHERE NOT EXISTS (SELECT 1 FROM words_due WHERE item_id = {row}.item_id); END"
        )
