"""What people do with the rows of work lists."""

from alembic import op

revision, down_revision = "0004", "0003"


def upgrade() -> None:
    """Add the table of changes and its index."""
    op.execute("""
        CREATE TABLE work_item (
            change_id INTEGER NOT NULL PRIMARY KEY, list VARCHAR, item VARCHAR, scope VARCHAR, state VARCHAR,
            owner VARCHAR, due_on DATE, note VARCHAR, action_id INTEGER, changed_at DATETIME, changed_by VARCHAR,
            seen_at DATETIME, is_listed INTEGER
        )
    """)
    op.execute("CREATE INDEX work_item_row ON work_item (list, item)")
