"""The tables of version 2: targets, annotations and saved views."""

from alembic import op

revision, down_revision = "0002", "0001"

TABLES = (
    """
    CREATE TABLE target (
        target_id INTEGER NOT NULL PRIMARY KEY, created_at DATETIME, withdrawn_at DATETIME, metric VARCHAR,
        value DOUBLE, "where" VARCHAR, since DATE, until DATE, note VARCHAR
    )
    """,
    """
    CREATE TABLE annotation (
        annotation_id INTEGER NOT NULL PRIMARY KEY, created_at DATETIME, withdrawn_at DATETIME, text VARCHAR,
        kind VARCHAR, begins_on DATE, "where" VARCHAR
    )
    """,
    """
    CREATE TABLE saved_view (
        view_id INTEGER NOT NULL PRIMARY KEY, created_at DATETIME, updated_at DATETIME, withdrawn_at DATETIME,
        reader VARCHAR, name VARCHAR, page VARCHAR, codes VARCHAR
    )
    """,
)


def upgrade() -> None:
    """Add the three tables."""
    for statement in TABLES:
        op.execute(statement)
