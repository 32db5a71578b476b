"""Of several versions of a row the one that counts, and what all shaping steps are told."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from functools import cache

import duckdb
from sqlalchemy.schema import CreateTable

from pipelines.load.contracts import versions
from pipelines.load.log_columns import log_rows
from pipelines.warehouse import schema, star
from pipelines.warehouse.engine import DUCKDB
from pipelines.warehouse.log_files import Logs
from pipelines.warehouse.rules import SETTLED_DAYS
from pipelines.warehouse.sql import LIGHT_BYTES, identity_of, plan_lightly, quote

DIMENSION_LOGS = (
    "product",
    "place",
    "policy",
    "carrier_calendar",
    "bill_of_materials",
    "shop",
    "fx_rate",
    "rate_card",
    "handling_rate",
    "carrier_invoice",
    "carrier_claim",
    "activity_use",
)
READ_ONCE = 1 << 18  # bytes of a log's files; so small a log becomes a table: each look at a view opens its files anew
SHIPPING_HABIT = 0.8  # a source that reports shipments of so many of its older lines reports those that happened


@dataclass
class ShapeInputs:
    """What the shape of every row depends on beside its own log rows; a change asks for a full build."""

    currency: str = ""
    asked: str = field(default="", compare=False)
    shipping: tuple[str, ...] = ()
    delivering: tuple[str, ...] = ()
    dimension_rows: dict[str, int] = field(default_factory=dict)
    factors: str = ""

    def text(self) -> str:
        """Give them as one line, as a build keeps them."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, text: str) -> "ShapeInputs":
        """Read them back.

        >>> ShapeInputs.of(ShapeInputs("EUR", "auto", ("shop",)).text()).shipping
        ('shop',)
        """
        kept = json.loads(text)
        for name in ("shipping", "delivering"):
            kept[name] = tuple(kept[name])
        return cls(**kept)


def create_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Create every table of the star schema, with its comments."""
    connection.execute("BEGIN")  # one commit, not one a comment
    for statements in _creating():
        connection.execute(statements)
    connection.execute("COMMIT")


@cache
def _creating() -> list[str]:
    """Write the statements that create the tables: the same for every build, and a long while to write."""
    written = []
    for table in star.STAR.sorted_tables:
        comments = [f"COMMENT ON TABLE {table.name} IS {quote(table.comment or '')}"]
        comments += [f"COMMENT ON COLUMN {table.name}.{c.name} IS {quote(c.comment or '')}" for c in table.columns]
        written += [str(CreateTable(table).compile(dialect=DUCKDB)), "; ".join(comments)]
    return written


def open_logs(
    connection: duckdb.DuckDBPyConnection,
    logs: Logs,
    loads: list[str],
    new_loads: list[str],
    restored: list[str] | None = None,
) -> None:
    """Create `all_<thing>` over the logs of the given loads, and `new_<thing>` over those of the new ones.

    With every version of every row. What the `restored` loads withdrew is left out. Where there is little in them, the
    connection plans lightly.
    """
    sizes = {thing: logs.size(thing, loads) for thing in schema.LOG.tables}
    if sum(sizes.values()) <= LIGHT_BYTES:
        plan_lightly(connection)
    kept = f" WHERE NOT (is_withdrawn AND load_id IN ({', '.join(map(quote, restored))}))" if restored else ""
    is_new = f"load_id IN ({', '.join(map(quote, new_loads))})" if new_loads else "false"
    for thing, table in schema.LOG.tables.items():
        rows = f"SELECT * FROM ({log_rows(connection, table, logs.sql(thing, loads))}){kept}"
        if sizes[thing] <= READ_ONCE:
            connection.execute(f"CREATE OR REPLACE TEMP TABLE all_{thing} AS {rows}")
            new = f"SELECT * FROM all_{thing} WHERE {is_new}"
        else:
            connection.execute(f"CREATE OR REPLACE TEMP VIEW all_{thing} AS {rows}")
            new = f"SELECT * FROM ({log_rows(connection, table, logs.sql(thing, new_loads))}){kept}"
        connection.execute(f"CREATE OR REPLACE TEMP VIEW new_{thing} AS {new}")


def survivors(
    connection: duckdb.DuckDBPyConnection, things: Iterable[str] = tuple(schema.LOG.tables), rows: str = "all"
) -> None:
    """Create `current_<thing>`, the survivor of each thing's versions, over the views or tables `<rows>_<thing>`.

    And `several_<thing>`: the versions of things that have several, numbered from the newest.
    """
    for thing in things:
        identity = identity_of(schema.LOG.tables[thing])
        found = connection.execute(
            f"CREATE OR REPLACE TEMP TABLE versioned_{thing} AS SELECT {identity} FROM {rows}_{thing} GROUP BY 1 HAVING"
            " count(*) > 1"
        ).fetchall()
        if found[0][0]:
            several = versions(
                f"(SELECT a.* FROM {rows}_{thing} a SEMI JOIN versioned_{thing} USING ({identity}))", identity
            )
            current = f"""
                SELECT * FROM {rows}_{thing} ANTI JOIN versioned_{thing} USING ({identity}) WHERE NOT is_deleted
                UNION ALL
                SELECT * EXCLUDE (version_no) FROM several_{thing}
                    WHERE version_no = 1 AND NOT is_deleted
            """
        else:
            several = f"SELECT *, 1 AS version_no FROM {rows}_{thing} WHERE false"
            current = f"SELECT * FROM {rows}_{thing} WHERE NOT is_deleted"
        connection.execute(f"CREATE OR REPLACE TEMP VIEW several_{thing} AS {several}")
        connection.execute(f"CREATE OR REPLACE TEMP VIEW current_{thing} AS {current}")


def flags(
    connection: duckdb.DuckDBPyConnection, reporting_currency: str, last: ShapeInputs | None = None
) -> ShapeInputs:
    """Read what every row's shape depends on: reporting currency, which sources report shipments and deliveries.

    Without new order lines, what they tell is what the `last` build knew.
    """

    def column(sql: str) -> tuple[str, ...]:
        return tuple(r[0] for r in connection.execute(sql).fetchall())

    rows = {t: connection.execute(f"SELECT count(*) FROM all_{t}").fetchall()[0][0] for t in DIMENSION_LOGS}
    is_sold = bool(column("SELECT 1 FROM all_order_line LIMIT 1"))  # else what was paid back tells the currency
    is_told = (
        column("SELECT 1 FROM new_order_line LIMIT 1")
        if is_sold
        else column("SELECT 1 FROM new_refund UNION ALL SELECT 1 FROM new_return_event LIMIT 1")
    )
    if last is not None and last.asked == reporting_currency and not is_told:
        return replace(last, dimension_rows=rows)
    survivors(connection, ("order_line",))
    currency = reporting_currency
    if currency == "auto":
        sales = (
            "SELECT currency FROM current_order_line WHERE line_type = 'goods' AND currency IS NOT NULL GROUP BY 1"
            " ORDER BY count(*) DESC, 1 LIMIT 1"
        )
        paid = (
            "SELECT currency FROM (FROM all_refund UNION ALL BY NAME FROM all_return_event) WHERE amount IS NOT NULL"
            " AND currency IS NOT NULL"
            " GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1"
        )
        currency = next(iter(column(sales) or column(paid)), "EUR")
    habit = f"""
        WITH line AS (SELECT source, ordered_at, shipped_at IS NOT NULL AS is_reported FROM current_order_line
            WHERE line_type = 'goods' AND channel <> 'store' AND units > units_cancelled AND units_shipped IS NULL)
        SELECT source FROM line JOIN (SELECT source, max(ordered_at) - INTERVAL {SETTLED_DAYS} DAY AS settled_at
            FROM line GROUP BY 1) USING (source)
        GROUP BY 1 HAVING bool_or(is_reported) AND coalesce(avg(is_reported::INTEGER) FILTER (ordered_at < settled_at),
            avg(is_reported::INTEGER)) >= {SHIPPING_HABIT}
        ORDER BY 1
    """
    return ShapeInputs(
        currency,
        reporting_currency,
        column(habit),
        column("SELECT DISTINCT source FROM all_order_line WHERE delivered_at IS NOT NULL ORDER BY 1"),
        rows,
    )
