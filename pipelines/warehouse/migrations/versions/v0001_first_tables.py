"""The tables of version 1.

Files that were written before Alembic kept the version have some or all of them: what they lack is added, and nothing
in them is dropped or changed.
"""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0001", None

TABLES = {  # columns by type; those of the key first, with a star
    "action": """
        action_id* INTEGER | created_at DATETIME | updated_at DATETIME | kind VARCHAR | scope VARCHAR |
        effective_on DATE | owner VARCHAR | due_on DATE | expected_money DOUBLE | expected_kg_co2e DOUBLE |
        status VARCHAR | note VARCHAR
    """,
    "alert": """
        alert_id* INTEGER | rule_id INTEGER | cell VARCHAR | since_at DATETIME | since_build VARCHAR | seen_at
        DATETIME | seen_build VARCHAR | cleared_at DATETIME | value DOUBLE | low DOUBLE | high DOUBLE |
        previous DOUBLE | unit VARCHAR | since DATE | until DATE | caution VARCHAR | told VARCHAR
    """,
    "alert_rule": """
        rule_id* INTEGER | created_at DATETIME | withdrawn_at DATETIME | metric VARCHAR | test VARCHAR | bound
        DOUBLE | by VARCHAR | where VARCHAR | days INTEGER | to VARCHAR
    """,
    "build": """
        build_id* VARCHAR | created_at DATETIME | kind VARCHAR | table* VARCHAR | rows BIGINT | change BIGINT
    """,
    "check_result": """
        build_id VARCHAR | name VARCHAR | is_blocking INTEGER | rows BIGINT | sample VARCHAR | sentence
        VARCHAR | checked_at DATETIME
    """,
    "closed_month": """
        month* VARCHAR | number* INTEGER | approver VARCHAR | closed_at DATETIME | build_id VARCHAR |
        factor_set VARCHAR | sha256 VARCHAR | kg_co2e DOUBLE | note VARCHAR | link INTEGER | previous VARCHAR
        | record VARCHAR
    """,
    "forgotten": """
        person* VARCHAR | namespace* VARCHAR | opaque VARCHAR | is_address INTEGER | begun_at DATETIME |
        done_at DATETIME
    """,
    "load": """
        load_id* VARCHAR | started_at DATETIME | finished_at DATETIME | status VARCHAR | source VARCHAR |
        namespace VARCHAR | version VARCHAR | mapping VARCHAR | asked VARCHAR | build_id VARCHAR | exported_at
        DATETIME | restored_at DATETIME | problem VARCHAR | again_at DATETIME | raw_gone_at DATETIME
    """,
    "load_count": """
        load_id VARCHAR | source VARCHAR | thing VARCHAR | is_derived INTEGER | read BIGINT | accepted BIGINT
        | duplicate BIGINT | quarantined BIGINT | replaced BIGINT | unread_fields BIGINT | withdrawn BIGINT |
        hidden_texts BIGINT
    """,
    "load_file": """
        load_id VARCHAR | name VARCHAR | raw VARCHAR | sha256 VARCHAR | bytes BIGINT | exported_at DATETIME |
        dated_by VARCHAR | lines VARCHAR | given_sha256 VARCHAR
    """,
    "log_file": """
        load_id VARCHAR | path VARCHAR | sha256 VARCHAR | bytes BIGINT | modified_ns BIGINT
    """,
    "policy_draft": """
        draft_id* INTEGER | created_at DATETIME | updated_at DATETIME | text VARCHAR | status VARCHAR |
        build_id VARCHAR
    """,
    "quarantine": """
        load_id VARCHAR | source VARCHAR | thing VARCHAR | file VARCHAR | line BIGINT | rules VARCHAR | value
        VARCHAR | is_field INTEGER
    """,
    "remembered": """
        name* VARCHAR | value VARCHAR
    """,
    "scenario": """
        name* VARCHAR | created_at DATETIME | updated_at DATETIME | text VARCHAR
    """,
}


def upgrade() -> None:
    """Add the tables and columns that are missing."""
    there = sa.inspect(op.get_bind())
    tables = there.get_table_names()
    for table, written in TABLES.items():
        columns = {}
        for column in written.split("|"):
            name, kind = column.split()
            columns[name.rstrip("*")] = kind + (" NOT NULL" if name.endswith("*") else "")
        if table not in tables:
            key = ", ".join(f'"{name}"' for name, kind in columns.items() if kind.endswith("NOT NULL"))
            parts = [f'"{name}" {kind}' for name, kind in columns.items()] + ([f"PRIMARY KEY ({key})"] if key else [])
            op.execute(f'CREATE TABLE "{table}" ({", ".join(parts)})')
            continue
        held = {column["name"] for column in there.get_columns(table)}
        for name, kind in columns.items():
            if name not in held:
                op.execute(f'ALTER TABLE "{table}" ADD COLUMN "{name}" {kind.removesuffix(" NOT NULL")}')
    op.execute("CREATE UNIQUE INDEX IF NOT EXISTS alert_lasting ON alert (rule_id, cell) WHERE cleared_at IS NULL")
