"""Fixes of quarantined rows, the headline metrics of each build, and who rolled back to which."""

from alembic import op

revision, down_revision = "0006", "0005"

TABLES = (
    """
    CREATE TABLE fix (
        fix_id INTEGER NOT NULL PRIMARY KEY, created_at DATETIME, created_by VARCHAR, withdrawn_at DATETIME,
        withdrawn_by VARCHAR, replayed_at DATETIME, kind VARCHAR, source VARCHAR, thing VARCHAR, file VARCHAR,
        given_sha256 VARCHAR, line BIGINT, item VARCHAR, "column" VARCHAR, old VARCHAR, new VARCHAR, note VARCHAR
    )
    """,
    """
    CREATE TABLE build_load (
        build_id VARCHAR NOT NULL, load_id VARCHAR NOT NULL, source VARCHAR, accepted BIGINT, replaced BIGINT,
        withdrawn BIGINT, duplicate BIGINT, quarantined BIGINT, PRIMARY KEY (build_id, load_id)
    )
    """,
    """
    CREATE TABLE build_metric (
        build_id VARCHAR NOT NULL, metric VARCHAR NOT NULL, value DOUBLE, low DOUBLE, high DOUBLE, n DOUBLE,
        unit VARCHAR, reason VARCHAR, PRIMARY KEY (build_id, metric)
    )
    """,
    """
    CREATE TABLE rollback (
        rollback_id INTEGER NOT NULL PRIMARY KEY, rolled_at DATETIME, rolled_by VARCHAR, from_build VARCHAR,
        to_build VARCHAR
    )
    """,
)


def upgrade() -> None:
    """Add the tables, the id of a quarantined row, and what columns hold."""
    for statement in TABLES:
        op.execute(statement)
    op.execute("ALTER TABLE quarantine ADD COLUMN item VARCHAR")
    op.execute("ALTER TABLE load_count ADD COLUMN columns VARCHAR")
