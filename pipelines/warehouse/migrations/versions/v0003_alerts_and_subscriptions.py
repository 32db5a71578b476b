"""Alert rules that are paused and compare seasons, alerts that are acknowledged, and subscriptions."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0003", "0002"

MORE = {
    "alert_rule": {"period": sa.String, "against": sa.String, "paused_at": sa.DateTime},
    "alert": {
        "before_since": sa.Date,
        "before_until": sa.Date,
        "acknowledged_at": sa.DateTime,
        "acknowledged_by": sa.String,
    },
}
SUBSCRIPTION = """
    created_at DATETIME | created_by VARCHAR | withdrawn_at DATETIME | paused_at DATETIME | reader VARCHAR |
    page VARCHAR | codes VARCHAR | file VARCHAR | language VARCHAR | every VARCHAR | hour INTEGER | day INTEGER |
    zone VARCHAR | to VARCHAR | from_at DATETIME | period VARCHAR | reached VARCHAR | sent_at DATETIME |
    problem VARCHAR | failing_since DATETIME
"""


def upgrade() -> None:
    """Add the columns and the table; rules that are there look at days, against those before, as they did."""
    for table, columns in MORE.items():
        for name, kind in columns.items():
            op.add_column(table, sa.Column(name, kind()))
    op.execute("UPDATE alert_rule SET period = 'days', against = 'before'")
    parts = [f'"{name}" {kind}' for name, kind in (column.split() for column in SUBSCRIPTION.split("|"))]
    op.execute(f"CREATE TABLE subscription (subscription_id INTEGER NOT NULL PRIMARY KEY, {', '.join(parts)})")
