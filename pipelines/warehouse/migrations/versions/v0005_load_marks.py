"""How far the queries of a mapping were read."""

from alembic import op

revision, down_revision = "0005", "0004"


def upgrade() -> None:
    """Add the table of marks."""
    op.execute("""
        CREATE TABLE load_mark (
            load_id VARCHAR NOT NULL, query VARCHAR NOT NULL, after_load_id VARCHAR, value VARCHAR, seen BLOB,
            sha256 VARCHAR, PRIMARY KEY (load_id, query)
        )
    """)
