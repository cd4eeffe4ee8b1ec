"""What can be found by words, which items have to be written there anew, and more indexes."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the word indexes, empty, and mark every item; who asked for this then fills them."""
    _make_words()
    _make_due()
    _widen_indexes()
    op.execute("INSERT INTO words_due (item_id) SELECT item_id FROM appearance ORDER BY item_id")


def _make_words() -> None:
    """Make an index for each kind, whose rows have the ids of items.

    What is written there is cut into words already, with spaces between them: the tokenizer that
    knows nothing beyond ASCII leaves it as it is. Which column a word is in is kept, where in the
    column and how long that is are not.
    """
    for kind, columns in (("image", "name, caption, keyword"), ("text", "name, passage")):
        op.execute(
            f"CREATE VIRTUAL TABLE {kind}_words USING "
            f"fts5({columns}, tokenize = 'ascii', detail = 'column')"
        )
        op.execute(f"CREATE VIRTUAL TABLE {kind}_terms USING fts5vocab({kind}_words, 'row')")


def _make_due() -> None:
    """Let the database itself note which items have changed: no writer can forget to.

    The triggers need nothing but SQL, so that any other program may write to the tables as well.
    """
    op.create_table(
        "words_due",  # empty between transactions
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("item_id", sa.Integer, unique=True),  # this item
        sa.Column("subject", sa.LargeBinary, unique=True),  # the pictures of this subject
    )
    for name, event, *marks in (
        ("location_added", "INSERT ON location", _item("new.item_id"), _subject("new.subject")),
        ("location_dropped", "DELETE ON location", _item("old.item_id"), _subject("old.subject")),
        (
            "location_changed",
            "UPDATE ON location",
            *(_item("old.item_id"), _item("new.item_id")),
            *(_subject("old.subject"), _subject("new.subject")),
        ),
        ("keyword_added", "INSERT ON keyword", _item_at("new")),
        ("keyword_dropped", "DELETE ON keyword", _item_at("old")),
        ("keyword_changed", "UPDATE ON keyword", _item_at("old"), _item_at("new")),
        ("title_added", "INSERT ON metadata WHEN new.title IS NOT NULL", _item_at("new")),
        ("title_dropped", "DELETE ON metadata WHEN old.title IS NOT NULL", _item_at("old")),
        ("title_changed", "UPDATE OF location_id, title ON metadata", _item_at("new")),
        ("item_dropped", "DELETE ON item", _item("old.id")),
        ("item_changed", "UPDATE OF kind, text ON item", _item("new.id"), _SUBJECTS),
        ("file_renamed", "UPDATE OF name ON file", _ITEMS),
    ):
        done = "; ".join(marks)
        op.execute(f"CREATE TRIGGER words_due_{name} AFTER {event} BEGIN {done}; END")


def _item(value: str) -> str:
    """Mark an item. Not by OR IGNORE: the statement that fires a trigger may overrule that."""
    return (
        f"INSERT INTO words_due (item_id) SELECT {value} WHERE {value} IS NOT NULL "
        f"AND NOT EXISTS (SELECT 1 FROM words_due WHERE item_id = {value})"
    )


def _item_at(row: str) -> str:
    """Mark the item of a location; when the location goes, that marks it by itself."""
    return _item(f"(SELECT item_id FROM location WHERE id = {row}.location_id)")


def _subject(value: str) -> str:
    return (
        f"INSERT INTO words_due (subject) SELECT {value} WHERE {value} IS NOT NULL "
        f"AND NOT EXISTS (SELECT 1 FROM words_due WHERE subject = {value})"
    )


_SUBJECTS = (
    "INSERT INTO words_due (subject) SELECT DISTINCT subject FROM location "
    "WHERE item_id = new.id AND subject IS NOT NULL "
    "AND subject NOT IN (SELECT subject FROM words_due WHERE subject IS NOT NULL)"
)
_ITEMS = (
    "INSERT INTO words_due (item_id) SELECT DISTINCT item_id FROM location "
    "WHERE file_id = new.id "
    "AND item_id NOT IN (SELECT item_id FROM words_due WHERE item_id IS NOT NULL)"
)


def _widen_indexes() -> None:
    """Let filters read from indexes alone what they would look up row by row."""
    op.drop_index("location_of_file", "location")
    op.create_index("location_of_file", "location", ["file_id", "id", "item_id"])
    op.drop_index("location_of_subject", "location")
    shared = sa.text("subject IS NOT NULL")
    op.create_index("location_of_subject", "location", ["subject", "item_id"], sqlite_where=shared)
    op.create_index("item_of_kind", "item", ["kind", "width", "height"])
    for column in ("camera", "lens", "format", "rating"):
        known = sa.text(f"{column} IS NOT NULL")
        op.create_index(f"metadata_{column}", "metadata", [column], sqlite_where=known)
    placed = sa.text("latitude IS NOT NULL")
    op.create_index("metadata_place", "metadata", ["latitude", "longitude"], sqlite_where=placed)
