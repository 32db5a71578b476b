"""Shaping: dimensions and facts as a function of the logs, in set-based SQL run by DuckDB.

The logs hold every version of every row; `current_<thing>` views keep the newest of each (`contracts.versions`: by when
it was recorded, else by the export). A full build shapes everything; an increment deletes and inserts only touched
keys, with the same statements, over the rows that `touch` and `narrow` picked: what it costs follows from what is new.
Load ids stay out of facts. Nothing is estimated here.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb
from sqlalchemy.schema import CreateTable

from pipelines.settings import data_path
from pipelines.sql import quote, read_sql
from pipelines.warehouse import schema
from pipelines.warehouse.contracts import identity_of, key_sql, log_rows, quarantine_of, versions
from pipelines.warehouse.event_order import STOPS, line_units, settle

SHARE_TO_REBUILD = 0.2  # with more than this share of lines touched a full build is cheaper than an increment
UNREPORTED_DAYS = 30  # after so many days on the way a line is taken for delivered: its delivery was not reported
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
)
TOUCHED = {
    key: f"{key} IN (SELECT {key} FROM touched_{key.removesuffix('_key')})"
    for key in ("order_line_key", "return_line_key", "parcel_key", "refund_key")
}
ESTIMATED = {
    "leg_key": "leg_key IN (SELECT leg_key FROM touched_leg)",
    "return_lot_key": "return_lot_key IN (SELECT return_lot_key FROM touched_lot)",
    "return_key": "return_key IN (SELECT return_key FROM touched_return)",
}
SHAPED_LEG = (  # the touched legs of fact_return_leg: all at its end
    "rowid > (SELECT coalesce(max(row), -1) FROM last_leg)"
)
AMONG = (
    TOUCHED
    | ESTIMATED
    | {  # what a check may ask about
        "event_key": "event_key IN (SELECT event_key FROM narrowed_return_event)",
        "recovery_key": "recovery_key IN (SELECT recovery_key FROM narrowed_recovery)",
        "shaped_leg": SHAPED_LEG,
    }
)
SHIPPING_HABIT = 0.8  # a source that reports shipments of so many of its older lines reports those that happened
SETTLED_DAYS = 14  # younger lines than this may still be shipped


@dataclass
class Flags:
    """What the shape of every row depends on beside its own log rows; a change asks for a full build."""

    currency: str = ""
    asked: str = field(default="", compare=False)
    shipping: tuple[str, ...] = ()
    delivering: tuple[str, ...] = ()
    dimension_rows: dict[str, int] = field(default_factory=dict)
    factors: str = ""

    def text(self) -> str:
        """Give the flags as one line, as a build keeps them."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, text: str) -> "Flags":
        """Read them back.

        >>> Flags.of(Flags("EUR", "auto", ("shop",)).text()).shipping
        ('shop',)
        """
        kept = json.loads(text)
        for name in ("shipping", "delivering"):
            kept[name] = tuple(kept[name])
        return cls(**kept)


def create_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Create every table of the star schema, with its comments."""
    from duckdb_sqlalchemy import Dialect

    dialect = Dialect()
    connection.execute("BEGIN")  # one commit, not one a comment
    for table in schema.STAR.sorted_tables:
        connection.execute(str(CreateTable(table).compile(dialect=dialect)))
        comments = [f"COMMENT ON TABLE {table.name} IS {quote(table.comment or '')}"]
        comments += [f"COMMENT ON COLUMN {table.name}.{c.name} IS {quote(c.comment or '')}" for c in table.columns]
        connection.execute("; ".join(comments))
    connection.execute("COMMIT")


def open_logs(
    connection: duckdb.DuckDBPyConnection,
    logged: Callable[[str, list[str]], str],
    loads: list[str],
    new_loads: list[str],
    restored: list[str] | None = None,
) -> None:
    """Create `all_<thing>` over the logs of the given loads, and `new_<thing>` over those of the new ones.

    With every version of every row.

    `logged` gives the SQL for the rows of a log that loads wrote. What the `restored` loads withdrew is left out.
    """
    kept = f" WHERE NOT (is_withdrawn AND load_id IN ({', '.join(map(quote, restored))}))" if restored else ""
    for thing, table in schema.LOG.tables.items():
        for prefix, wanted in (("all", loads), ("new", new_loads)):
            rows = log_rows(connection, table, logged(thing, wanted))
            connection.execute(f"CREATE OR REPLACE TEMP VIEW {prefix}_{thing} AS SELECT * FROM ({rows}){kept}")


def survivors(
    connection: duckdb.DuckDBPyConnection, things: Iterable[str] = tuple(schema.LOG.tables), rows: str = "all"
) -> None:
    """Create `current_<thing>`, the survivor of each thing's versions, over the views or tables `<rows>_<thing>`."""
    for thing in things:
        identity = identity_of(schema.LOG.tables[thing])
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE versioned_{thing} AS SELECT {identity} FROM {rows}_{thing} GROUP BY 1 HAVING"
            " count(*) > 1"
        )
        has_versions = bool(connection.execute(f"SELECT count(*) FROM versioned_{thing}").fetchall()[0][0])
        if has_versions:
            several = f"(SELECT a.* FROM {rows}_{thing} a SEMI JOIN versioned_{thing} USING ({identity}))"
            statement = f"""
                SELECT * FROM {rows}_{thing} ANTI JOIN versioned_{thing} USING ({identity}) WHERE NOT is_deleted
                UNION ALL
                SELECT * EXCLUDE (version_no) FROM ({versions(several, identity)})
                    WHERE version_no = 1 AND NOT is_deleted
            """
        else:
            statement = f"SELECT * FROM {rows}_{thing} WHERE NOT is_deleted"
        connection.execute(f"CREATE OR REPLACE TEMP VIEW current_{thing} AS {statement}")


def flags(connection: duckdb.DuckDBPyConnection, reporting_currency: str, last: Flags | None = None) -> Flags:
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
            "SELECT currency FROM current_order_line WHERE line_type = 'goods' GROUP BY 1 ORDER BY count(*) DESC, 1"
            " LIMIT 1"
        )
        paid = (
            "SELECT currency FROM (FROM all_refund UNION ALL BY NAME FROM all_return_event) WHERE amount IS NOT NULL"
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
    return Flags(
        currency,
        reporting_currency,
        column(habit),
        column("SELECT DISTINCT source FROM all_order_line WHERE delivered_at IS NOT NULL ORDER BY 1"),
        rows,
    )


def touch(connection: duckdb.DuckDBPyConnection) -> None:
    """Fill the touched_ tables with the keys that new loads change.

    They are touched_order_line, touched_return_line, touched_parcel and touched_refund.

    An order line is touched with its whole order (several sizes), a return line with its order line or refund, a parcel
    with its return lines; what an earlier version of a row named is touched too.
    """

    def given(thing: str, key: str) -> str:
        """Select a key of every version of the things that new loads name."""
        identity = identity_of(schema.LOG.tables[thing])
        return (
            f"SELECT {key} FROM all_{thing} WHERE {key} IS NOT NULL AND {identity} IN (SELECT {identity} FROM"
            f" new_{thing})"
        )

    of_line = "order_line_key IN (SELECT order_line_key FROM touched_order_line)"
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE touched_order AS SELECT DISTINCT order_key
            FROM ({given("order_line", "order_key")});
        CREATE OR REPLACE TEMP TABLE touched_order_line AS
        SELECT DISTINCT order_line_key FROM all_order_line WHERE order_key IN (SELECT order_key FROM touched_order);
        INSERT INTO touched_order_line SELECT DISTINCT order_line_key FROM all_order_line
            WHERE shipped_at IS NULL AND delivered_at IS NULL
                AND order_line_key IN ({given("return_event", "order_line_key")})
                AND order_line_key NOT IN (SELECT order_line_key FROM touched_order_line);
        CREATE OR REPLACE TEMP TABLE touched_refund AS
        SELECT DISTINCT refund_key FROM (
            SELECT refund_key FROM new_refund UNION ALL {given("refund_line", "refund_key")}
            UNION ALL SELECT refund_key FROM all_refund_line WHERE {of_line}
            UNION ALL SELECT refund_key FROM all_refund WHERE order_key IN (SELECT order_key FROM touched_order));
        CREATE OR REPLACE TEMP TABLE touched_return_line AS
        SELECT DISTINCT return_line_key FROM (
            {given("return_event", "return_line_key")}
            UNION ALL SELECT return_line_key FROM all_return_event WHERE {of_line}
            UNION ALL {given("refund_line", "return_line_key")}
            UNION ALL SELECT return_line_key FROM all_return_event
                WHERE order_line_key IN ({given("refund_line", "order_line_key")})
            UNION ALL {given("recovery", "return_line_key")}
            UNION ALL {given("promised_date", "return_line_key")});
        INSERT INTO touched_refund SELECT DISTINCT refund_key FROM all_refund_line
            WHERE return_line_key IN (SELECT return_line_key FROM touched_return_line)
                AND refund_key NOT IN (SELECT refund_key FROM touched_refund);
        CREATE OR REPLACE TEMP TABLE touched_parcel AS
        SELECT DISTINCT parcel_key FROM (
            {given("chain_element", "parcel_key")}
            UNION ALL SELECT parcel_key FROM all_return_event WHERE return_line_key IN (SELECT return_line_key
                FROM touched_return_line) AND parcel_key IS NOT NULL);
    """)


def narrow(connection: duckdb.DuckDBPyConnection) -> None:
    """Point every current_<thing> an increment shapes from at a copy of the rows that touched keys need, read once.

    Every version of a row comes along, even one that belongs elsewhere: the survivor is chosen among all of them.
    """
    line, of_return, parcel, refund = TOUCHED.values()
    wanted = {
        "order_line": (
            f"""order_key IN (SELECT order_key FROM all_order_line WHERE {line}) OR customer_key IN (
            SELECT customer_key FROM all_order_line WHERE {line} AND customer_key IS NOT NULL)"""
        ),
        "return_event": of_return,
        "chain_element": parcel,
        "refund": refund,
        "refund_line": (
            f"{refund} OR {of_return} OR order_line_key IN (SELECT order_line_key FROM narrowed_return_event)"
        ),
        "recovery": of_return,
        "promised_date": of_return,
    }
    for thing, predicate in wanted.items():
        identity = identity_of(schema.LOG.tables[thing])
        touched = f"{identity} IN (SELECT {identity} FROM all_{thing} WHERE {predicate})"
        rows = f"SELECT * FROM all_{thing} WHERE {touched}"
        if (
            thing == "return_event"
        ):  # only credits need their id: the widest column of the log stays unread without them
            rows = f"""
                SELECT e.*, c.event_id FROM (SELECT * EXCLUDE (event_id, order_line_id) FROM all_return_event
                    WHERE {touched}) e
                LEFT JOIN (SELECT event_key, event_id, payload_hash FROM all_return_event WHERE event = 'credited'
                    AND {touched}) c
                    USING (event_key, payload_hash)
            """
        connection.execute(f"CREATE OR REPLACE TEMP TABLE narrowed_{thing} AS {rows}")
    survivors(connection, wanted, "narrowed")
    survivors(connection, DIMENSION_LOGS)


def touch_estimated(connection: duckdb.DuckDBPyConnection) -> None:
    """Add to touched_leg, touched_lot and touched_return from the facts as they stand.

    Whose estimates go and are made anew. Asked before the facts change and after. Lots are those of touched returns (a
    fee is shared by a return), with whole parcels, and of touched parcels.
    """
    of_return, parcel = TOUCHED["return_line_key"], TOUCHED["parcel_key"]
    connection.execute(f"""
        CREATE TEMP TABLE IF NOT EXISTS last_leg AS SELECT max(rowid) AS row FROM fact_return_leg;
        CREATE TEMP TABLE IF NOT EXISTS touched_leg (leg_key BIGINT);
        CREATE TEMP TABLE IF NOT EXISTS touched_return (return_key BIGINT);
        CREATE TEMP TABLE IF NOT EXISTS touched_lot (return_lot_key BIGINT);
        INSERT INTO touched_leg SELECT leg_key FROM fact_return_leg WHERE {parcel};
        INSERT INTO touched_return SELECT DISTINCT return_key FROM fact_return_line WHERE return_key IS NOT NULL
            AND {of_return}
            UNION SELECT return_key FROM fact_promised_date WHERE {of_return};
        INSERT INTO touched_lot SELECT return_lot_key FROM fact_return_line WHERE {of_return} OR {parcel}
            OR return_key IN (SELECT return_key FROM touched_return)
            OR parcel_key IN (SELECT parcel_key FROM fact_return_line WHERE return_key IN (SELECT return_key
                FROM touched_return));
    """)


def relate(connection: duckdb.DuckDBPyConnection, *, is_increment: bool) -> None:
    """Make order_row: the rows of fact_order_line that return lines and refunds to be shaped look at."""
    if not is_increment:
        connection.execute("CREATE OR REPLACE TEMP VIEW order_row AS SELECT * FROM fact_order_line")
        return
    connection.execute("""
        CREATE OR REPLACE TEMP TABLE order_row AS SELECT * EXCLUDE (order_line_id, order_id) FROM fact_order_line
        WHERE rowid IN (SELECT rowid FROM fact_order_line WHERE order_line_key IN (
            SELECT order_line_key FROM narrowed_return_event UNION SELECT order_line_key FROM narrowed_refund_line
            UNION SELECT order_line_key FROM fact_return_line WHERE return_line_key IN (SELECT return_line_key
                FROM narrowed_refund_line)
            UNION SELECT order_line_key FROM fact_order_line WHERE order_key IN (SELECT order_key
                FROM narrowed_refund)))
    """)


def touched_share(connection: duckdb.DuckDBPyConnection) -> float:
    """Share of order and return lines that are touched."""
    row = connection.execute("""
        SELECT greatest((SELECT count(*) FROM touched_order_line) / greatest((SELECT count(*) FROM fact_order_line), 1),
            (SELECT count(*) FROM touched_return_line) / greatest((SELECT count(*) FROM fact_return_line), 1))
    """).fetchall()[0]
    return float(row[0])


def shape_dimensions(connection: duckdb.DuckDBPyConnection) -> None:
    """Fill the dimensions and the exchange rates from their whole logs.

    An increment leaves them as they are: a new row asks for a full build.
    """
    versions = "valid_from, lead(valid_from) OVER w AS valid_to, lead(valid_from) OVER w IS NULL AS is_current"
    attributes = ", ".join(
        c.name
        for c in schema.dim_product.columns
        if c.name in schema.product.columns and c.name not in ("product_id", "valid_from")
    )
    latest = "QUALIFY row_number() OVER (PARTITION BY {0} ORDER BY valid_from DESC) = 1"
    connection.execute(f"""
        DELETE FROM dim_product; DELETE FROM dim_place; DELETE FROM dim_shop; DELETE FROM dim_policy; DELETE
            FROM dim_policy_promise; DELETE FROM dim_carrier_calendar;
        DELETE FROM fact_fx_rate; DELETE FROM dim_reason; DELETE FROM dim_disposition;
        INSERT INTO dim_product BY NAME SELECT product_key, product_id, {versions}, {attributes} FROM current_product
            WINDOW w AS (PARTITION BY product_key ORDER BY valid_from) ORDER BY product_id, valid_from;
        INSERT INTO dim_place BY NAME SELECT place_key, place_id, kind, name, country, area, latitude, longitude,
            time_zone
            FROM current_place {latest.format("place_key")} ORDER BY place_id;
        INSERT INTO dim_shop BY NAME SELECT shop_key, shop_id, legal_entity, brand, market, channel, currency, time_zone
            FROM current_shop {latest.format("shop_key")} ORDER BY shop_id;
        INSERT INTO fact_fx_rate BY NAME SELECT day::DATE AS day, currency, quote_currency, rate
            FROM current_fx_rate ORDER BY ALL;
        INSERT INTO dim_policy BY NAME
            SELECT *, lead(valid_from) OVER (PARTITION BY policy_id ORDER BY valid_from) AS valid_to FROM (
                SELECT DISTINCT ON (policy_id, valid_from) {key_sql("policy_id || '|' || valid_from::VARCHAR")}
                    AS policy_key, policy_id, valid_from, market, channel,
                    category, loyalty_tier, exception, window_days, window_until, fee_amount, currency, methods,
                        refund_trigger FROM current_policy ORDER BY policy_id, valid_from, promise_id);
        INSERT INTO dim_policy_promise BY NAME
            SELECT {key_sql("policy_id || '|' || valid_from::VARCHAR || '|' || promise_id")} AS promise_key,
                {key_sql("policy_id || '|' || valid_from::VARCHAR")} AS policy_key, promise_id, from_stage, to_stage,
                    duration, duration_unit, responsible
            FROM current_policy ORDER BY policy_id, valid_from, promise_id;
        INSERT INTO dim_carrier_calendar BY NAME
            SELECT carrier, country, valid_from, lead(valid_from) OVER (PARTITION BY carrier, country
                ORDER BY valid_from) AS valid_to, weekdays, works_holidays, closed_days, open_days
            FROM current_carrier_calendar ORDER BY carrier, country, valid_from;
        DELETE FROM dim_rate_card; DELETE FROM dim_handling_rate;
        INSERT INTO dim_rate_card BY NAME
            SELECT rate_id, valid_from, lead(valid_from) OVER (PARTITION BY rate_id ORDER BY valid_from) AS valid_to,
                carrier, method, country, weight_from_kg, weight_to_kg, price, fuel_share, surcharge, currency
            FROM current_rate_card ORDER BY rate_id, valid_from;
        INSERT INTO dim_handling_rate BY NAME
            SELECT place_id, activity, valid_from, lead(valid_from) OVER (PARTITION BY place_id, activity
                ORDER BY valid_from) AS valid_to, minutes, hourly_cost, currency
            FROM current_handling_rate ORDER BY place_id, activity, valid_from;
        INSERT INTO dim_reason BY NAME SELECT DISTINCT reason, family, preventable_by
            FROM {read_sql("csv", data_path("reasons.csv"), "header = true, all_varchar = true")} ORDER BY ALL;
        INSERT INTO dim_disposition BY NAME SELECT disposition, outcome, is_discarded::BOOLEAN AS is_discarded
            FROM {read_sql("csv", data_path("dispositions.csv"), "header = true, all_varchar = true")} ORDER BY ALL;
    """)


def look_up(connection: duckdb.DuckDBPyConnection, reporting: str, *, is_increment: bool) -> None:
    """Make what facts look up by day and hour: exchange rates and local time."""
    _exchange_rates(connection, reporting)
    _zone_hours(connection, "narrowed" if is_increment else "all")


def _exchange_rates(connection: duckdb.DuckDBPyConnection, reporting: str) -> None:
    """Make day_rate: reporting currency for one unit of a currency, on each day with a rate at most 7 days old."""
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE day_rate AS
        WITH direct AS (
            SELECT day, currency, quote_currency, rate FROM fact_fx_rate UNION ALL SELECT day, quote_currency, currency,
                1 / rate FROM fact_fx_rate),
        one AS (
            SELECT day, currency, rate, 1 AS hops FROM direct WHERE quote_currency = {quote(reporting)}
            UNION ALL
            SELECT a.day, a.currency, a.rate * b.rate, 2 FROM direct a JOIN direct b ON a.day = b.day
                AND a.quote_currency = b.currency
                WHERE b.quote_currency = {quote(reporting)} AND a.currency <> {quote(reporting)} AND a.quote_currency
                    <> {quote(reporting)}),
        best AS (SELECT day, currency, arg_min(rate, hops) AS rate FROM one GROUP BY ALL),
        days AS (SELECT DISTINCT day + CAST(n AS INTEGER) AS day, currency FROM best, range(8) r(n))
        SELECT d.day, d.currency, b.rate FROM days d ASOF JOIN best b ON d.currency = b.currency AND d.day >= b.day
        WHERE d.currency <> {quote(reporting)};
    """)


def rate_sql(currency: str, joined: str, reporting: str) -> str:
    """Give the rate of an amount: 1 in the reporting currency, else the joined day_rate's."""
    return f"CASE WHEN {currency} = {quote(reporting)} THEN 1.0 ELSE {joined}.rate END"


def _zone_hours(connection: duckdb.DuckDBPyConnection, rows: str) -> None:
    """Make zone_hour: what to add to a UTC time of an hour to get each shop's local time."""
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE zone_hour AS
        WITH span AS (
            SELECT date_trunc('hour', min(a)) AS a, max(b) AS b FROM (
                SELECT least(min(ordered_at), min(shipped_at), min(delivered_at)) AS a, greatest(max(ordered_at),
                    max(shipped_at), max(delivered_at)) AS b FROM {rows}_order_line
                UNION ALL SELECT min(occurred_at), max(occurred_at) FROM {rows}_return_event
                UNION ALL SELECT min(refunded_at), max(refunded_at) FROM {rows}_refund UNION ALL
                    SELECT min(refunded_at), max(refunded_at) FROM {rows}_refund_line
                UNION ALL SELECT min(recovered_at), max(recovered_at) FROM {rows}_recovery UNION ALL
                    SELECT min(started_at), max(started_at) FROM {rows}_chain_element)),
        hours AS (SELECT unnest(generate_series(a, b, INTERVAL 1 HOUR)) AS hour FROM span WHERE a IS NOT NULL),
        zones AS (SELECT DISTINCT time_zone FROM dim_shop WHERE time_zone <> 'UTC')
        SELECT time_zone, hour, timezone(time_zone, timezone('UTC', hour)) - hour AS ahead FROM hours, zones;
        CREATE OR REPLACE TEMP VIEW shop_zone AS SELECT shop_key, time_zone FROM dim_shop;
        CREATE OR REPLACE TEMP TABLE only_shop AS
            SELECT split_part(shop_id, ':', 1) AS source, min(shop_id) AS shop_id, min(shop_key) AS shop_key
                FROM dim_shop GROUP BY 1 HAVING count(*) = 1;
    """)


def _local_day(time: str, hour: str) -> str:
    return f"({time} + coalesce({hour}.ahead, INTERVAL 0 HOUR))::DATE"


def _hour_join(alias: str, time: str, zone: str) -> str:
    return f"LEFT JOIN zone_hour {alias} ON {alias}.time_zone = {zone} AND {alias}.hour = date_trunc('hour', {time})"


def _policies_of_lines(connection: duckdb.DuckDBPyConnection, where: str) -> None:
    """Make policy_period and policy_of.

    The policy version of what lines are sold as (source, market, channel, category, tier) in each period. A period is
    the time between two changes of any policy. Only what was sold in a period is looked up, by equal keys, so thousands
    of versions cost no more than the lines they apply to. Of several policies the most specific holds, of equal ones
    the latest.
    """
    scope = "hash(source, market, channel, category, loyalty_tier)"
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE policy_period AS
        WITH edge AS (SELECT TIMESTAMP '0001-01-01' AS start UNION SELECT valid_from FROM dim_policy),
        period AS (SELECT start, coalesce(lead(start) OVER (ORDER BY start), TIMESTAMP '9999-01-01') AS stop FROM edge),
        span AS (SELECT min(ordered_at)::DATE AS first, max(ordered_at)::DATE AS last FROM current_order_line
            WHERE {where})
        SELECT unnest(range(greatest(start::DATE, first)::TIMESTAMP, least(stop, last::TIMESTAMP + INTERVAL 1 DAY),
            INTERVAL 1 DAY))::DATE AS day, start, stop
        FROM period, span WHERE first IS NOT NULL;
        CREATE OR REPLACE TEMP TABLE policy_version AS
        SELECT *, {scope} AS scope, (loyalty_tier IS NOT NULL)::INT * 8 + (category IS NOT NULL)::INT * 4
            + (market IS NOT NULL)::INT * 2 + (channel IS NOT NULL)::INT AS rank
        FROM (SELECT *, split_part(policy_id, ':', 1) AS source FROM dim_policy);
        CREATE OR REPLACE TEMP TABLE policy_change AS
        WITH ended AS (
            SELECT scope, rank, valid_to AS since FROM policy_version
            QUALIFY lead(scope) OVER (PARTITION BY policy_id ORDER BY valid_from) <> scope),
        change AS (
            SELECT scope, rank, valid_from AS since, valid_from, policy_id, policy_key FROM policy_version
            UNION ALL
            SELECT e.scope, e.rank, e.since, v.valid_from, v.policy_id, v.policy_key FROM ended e
            LEFT JOIN policy_version v ON v.scope = e.scope AND v.valid_from <= e.since AND (v.valid_to IS NULL
                OR v.valid_to > e.since))
        SELECT scope, rank, since, arg_max(policy_key, (valid_from, policy_id)) AS policy_key FROM change GROUP BY ALL;
        CREATE OR REPLACE TEMP TABLE policy_of AS
        WITH kind AS (SELECT DISTINCT rank FROM policy_version),
        line AS (
            SELECT DISTINCT o.source, o.country, o.channel, p.category, o.loyalty_tier, w.start
            FROM (SELECT * FROM current_order_line WHERE {where}) o LEFT JOIN (SELECT DISTINCT product_key,
                category FROM dim_product) p USING (product_key)
            JOIN policy_period w ON w.day = o.ordered_at::DATE AND o.ordered_at >= w.start AND o.ordered_at < w.stop
            WHERE EXISTS (FROM policy_version)),
        asked AS (
            SELECT l.*, rank, CASE WHEN rank & 2 > 0 THEN country END AS market, CASE WHEN rank & 1 > 0
                THEN channel END AS own_channel,
                CASE WHEN rank & 4 > 0 THEN category END AS own_category, CASE WHEN rank & 8 > 0
                    THEN loyalty_tier END AS own_tier,
                hash(source, market, own_channel, own_category, own_tier) AS scope
            FROM line l, kind)
        SELECT a.source, a.country, a.channel, a.category, a.loyalty_tier, a.start, arg_max(c.policy_key, c.rank)
            AS policy_key
        FROM asked a ASOF JOIN policy_change c ON c.scope = a.scope AND a.start >= c.since
        WHERE c.policy_key IS NOT NULL GROUP BY ALL;
        DROP TABLE policy_version; DROP TABLE policy_change;
    """)


def shape_order_lines(connection: duckdb.DuckDBPyConnection, found: Flags, where: str = "TRUE") -> None:
    """Insert fact_order_line for current order lines matching `where` (a predicate on order_line_key)."""
    shipping = ", ".join(quote(s) for s in found.shipping) or "''"
    delivering = ", ".join(quote(s) for s in found.delivering) or "''"
    of_order = "TRUE" if where == "TRUE" else f"o.order_key IN (SELECT order_key FROM current_order_line WHERE {where})"
    _policies_of_lines(connection, where)
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE several_sizes AS
            SELECT DISTINCT order_key, style_id FROM (
                SELECT o.order_key, p.style_id FROM current_order_line o JOIN (SELECT product_key, style_id, size
                    FROM dim_product WHERE is_current) p USING (product_key)
                WHERE ({of_order}) AND o.exchanged_from_line_id IS NULL AND p.style_id IS NOT NULL
                    AND p.size IS NOT NULL GROUP BY 1, 2 HAVING count(DISTINCT p.size) > 1);
        CREATE OR REPLACE TEMP TABLE product_version AS
            SELECT * REPLACE (CASE WHEN row_number() OVER (PARTITION BY product_key ORDER BY valid_from) = 1
                THEN TIMESTAMP '0001-01-01' ELSE valid_from END AS valid_from,
                coalesce(valid_to, TIMESTAMP '9999-01-01') AS valid_to) FROM dim_product;
        CREATE OR REPLACE TEMP TABLE came_back AS
            SELECT DISTINCT order_line_key FROM current_return_event WHERE event IN {BACK} AND order_line_key IN (
                SELECT order_line_key FROM current_order_line WHERE shipped_at IS NULL AND delivered_at IS NULL
                    AND ({where}));
        INSERT INTO fact_order_line BY NAME
        SELECT o.order_line_key, o.order_line_id, o.order_key, o.order_id, o.customer_key, o.product_key, o.product_id,
            coalesce(o.shop_key, s.shop_key) AS shop_key, coalesce(f.policy_key, g.policy_key) AS policy_key,
            o.source, coalesce(o.shop_id, s.shop_id) AS shop_id, o.country, o.channel, p.category, p.brand, p.style_id,
                p.size, p.colour, p.supplier, p.season,
            o.line_type, o.is_exchange, b.order_key IS NOT NULL AS has_several_sizes,
            o.ordered_at, {_local_day("o.ordered_at", "h")} AS ordered_on, o.shipped_at, o.delivered_at,
                o.clock_started_at,
            d.window_days, CASE WHEN d.window_until > coalesce(o.clock_started_at, o.ordered_at)::DATE
                + d.window_days::INTEGER THEN d.window_until END AS window_ends_on,
            o.units AS units_ordered, o.units_cancelled,
            CASE WHEN o.is_exchange THEN 0 ELSE o.units_gone END AS units_sold, CASE WHEN o.is_exchange
                THEN o.units_gone ELSE 0 END AS units_exchanged_in,
            o.net_amount * o.part AS net_amount, o.vat_amount * o.part AS vat_amount, o.discount_amount * o.part
                AS discount_amount,
            coalesce(o.unit_cost, CASE WHEN p.currency = o.currency THEN p.unit_cost
                ELSE p.unit_cost * {rate_sql("p.currency", "rp", found.currency)}
                    / {rate_sql("o.currency", "r", found.currency)} END) * o.units_gone AS cost_amount,
            o.outbound_cost, o.payment_fee, o.commission_amount, o.currency,
                {rate_sql("o.currency", "r", found.currency)} AS fx_rate, p.weight_kg,
            o.carrier, o.seller, o.sold_on, o.fulfilled_by, o.loyalty_tier, o.is_gift, o.return_flag, o.units_per_set,
                o.dimensions,
            CASE WHEN {_local_day("o.shipped_at", "h")} < {_local_day("o.ordered_at", "h")}
                THEN 'shipped before ordered'
                WHEN {_local_day("o.delivered_at", "h")} < {_local_day("o.ordered_at", "h")}
                    THEN 'delivered before ordered'
                WHEN {_local_day("o.delivered_at", "h")} < {_local_day("o.shipped_at", "h")}
                    THEN 'delivered before shipped' END AS date_fault
        FROM (SELECT * EXCLUDE (is_back), line_type = 'goods' AND exchanged_from_line_id IS NOT NULL AS is_exchange,
                CASE WHEN line_type <> 'goods' THEN 0 WHEN is_back AND units_shipped = 0 THEN units - units_cancelled
                    WHEN units_shipped IS NOT NULL THEN least(units_shipped, units - units_cancelled)
                    WHEN channel = 'store' OR source NOT IN ({shipping}) OR shipped_at IS NOT NULL
                        OR delivered_at IS NOT NULL OR is_back
                    THEN units - units_cancelled ELSE 0 END AS units_gone,
                CASE WHEN line_type <> 'goods' OR units = 0 THEN 1.0 ELSE units_gone / units END AS part,
                CASE WHEN channel = 'store' OR source NOT IN ({delivering}) THEN ordered_at
                    ELSE coalesce(delivered_at, CASE WHEN units_gone > 0 THEN coalesce(shipped_at, ordered_at)
                        + INTERVAL {UNREPORTED_DAYS} DAY END) END AS clock_started_at
            FROM (SELECT l.*, b.order_line_key IS NOT NULL AS is_back FROM current_order_line l
                LEFT JOIN came_back b USING (order_line_key) WHERE {where})) o
        LEFT JOIN only_shop s ON s.source = CASE WHEN o.shop_key IS NULL THEN o.source END
        LEFT JOIN dim_shop z ON z.shop_key = coalesce(o.shop_key, s.shop_key)
        {_hour_join("h", "o.ordered_at", "z.time_zone")}
        LEFT JOIN product_version p ON p.product_key = o.product_key AND o.ordered_at >= p.valid_from AND o.ordered_at
            < p.valid_to
        LEFT JOIN several_sizes b ON b.order_key = o.order_key AND b.style_id = p.style_id
        LEFT JOIN policy_period w ON w.day = o.ordered_at::DATE AND o.ordered_at >= w.start AND o.ordered_at < w.stop
        LEFT JOIN policy_of g ON g.start = w.start AND g.source = o.source AND g.country = o.country AND g.channel
            = o.channel
            AND g.category IS NOT DISTINCT FROM p.category AND g.loyalty_tier IS NOT DISTINCT FROM o.loyalty_tier
        LEFT JOIN dim_policy f ON f.policy_id = o.policy_id AND o.ordered_at >= f.valid_from AND (f.valid_to IS NULL
            OR o.ordered_at < f.valid_to)
        LEFT JOIN dim_policy d ON d.policy_key = coalesce(f.policy_key, g.policy_key)
        LEFT JOIN day_rate r ON r.currency = o.currency AND r.day = o.ordered_at::DATE
        LEFT JOIN day_rate rp ON rp.currency = p.currency AND rp.day = o.ordered_at::DATE
        ;
    """)


BACK = (
    "('handed_over', 'carrier_scan', 'received', 'inspected', 'refunded', 'credited', 'exchanged', 'restocked',"
    " 'disposed', 'delivery_refused', 'uncollected', 'returned_to_sender')"
)
"""Events that nothing but goods that left can have."""
_STAGE_EVENTS = {
    "requested_at": "event = 'requested'",
    "approved_at": "event = 'approved'",
    "rejected_at": "event = 'rejected'",
    "label_issued_at": "event = 'label_issued'",
    "handed_over_at": "event = 'handed_over'",
    "carrier_scan_at": "event = 'carrier_scan'",
    "received_at": "event = 'received'",
    "inspected_at": "event = 'inspected'",
    "refunded_at": "event IN ('refunded', 'credited')",
    "exchanged_at": "event = 'exchanged'",
    "restocked_at": "event = 'restocked'",
    "disposed_at": "event = 'disposed'",
    "cancelled_at": "event = 'cancelled'",
    "expired_at": "event = 'expired'",
    "lost_at": "event = 'lost'",
}
_LOT_ATTRIBUTES = {
    "condition": "coalesce(min(condition) FILTER (event = 'inspected'), min(condition))",
    "inspection_outcome": "coalesce(min(inspection_outcome) FILTER (event = 'inspected'), min(inspection_outcome))",
    "disposition": "coalesce(min(disposition) FILTER (event IN ('restocked', 'disposed')), min(disposition))",
    "place_id": "coalesce(min(place_id) FILTER (event = 'received'), min(place_id) FILTER (event = 'inspected'))",
    "parcel_key": "max(parcel_key)",
    "refused_at": "min(occurred_at) FILTER (event IN ('delivery_refused', 'uncollected', 'returned_to_sender'))",
    "first_at": "min(occurred_at)",
}


def _out_of_order() -> str:
    """Name the pairs of stages that came in a wrong order.

    A time at midnight is a date, and in order on the day of the other.
    """
    local = "timezone(coalesce(l.time_zone, 'UTC'), timezone('UTC', l.{0}_at))"
    pairs = []
    for first, second in schema.STAGE_ORDER:
        a, b = local.format(first), local.format(second)
        is_date = f"{b}::TIME = TIME '00:00' AND {b}::DATE = {a}::DATE"  # slow, so asked of the few alone
        pairs.append(
            f"CASE WHEN l.{second}_at < l.{first}_at THEN CASE WHEN NOT ({is_date}) THEN '{first}-{second}' END END"
        )
    return f"nullif(concat_ws(' ', {', '.join(pairs)}), '')"


def shape_return_lines(connection: duckdb.DuckDBPyConnection, found: Flags, where: str = "TRUE") -> None:
    """Insert fact_return_line and fact_return_event for return lines matching `where` (a predicate on return_line_key).

    A line whose events all concern all its units is one lot. Else events are laid over the units 1..n in order of time
    (taken back from the end for units that stop) and cut where any of them ends: the pieces that agree in everything
    are the lots.
    """
    stages = ", ".join(f"min(occurred_at) FILTER ({condition}) AS {name}" for name, condition in _STAGE_EVENTS.items())
    of_line = line_units(
        "sum(units) FILTER (event = 'requested')",
        "sum(units) FILTER (event = 'received')",
        "sum(units) FILTER (event = 'inspected')",
        "sum(units) FILTER (event IN ('credited', 'refunded'))",
        "max(units)",
    )
    paid_at = "CASE WHEN r.refunded_at IS NULL OR f.units >= r.line_units THEN f.refunded_at END"  # by lines of refunds
    stages_of_lot = ", ".join(
        f"coalesce(t.refunded_at, {paid_at}) AS refunded_at" if n == "refunded_at" else f"t.{n}" for n in _STAGE_EVENTS
    )
    rate = rate_sql("coalesce(r.credited_currency, p.currency, f.currency)", "x", found.currency)
    settle(connection, where)
    attributes = ", ".join(f"{expression} AS {name}" for name, expression in _LOT_ATTRIBUTES.items())
    names = [*_STAGE_EVENTS, *_LOT_ATTRIBUTES]
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE return_line AS
        SELECT return_line_key, any_value(return_line_id) AS return_line_id, any_value(source) AS source,
            max(return_key) AS return_key, min(return_id) AS return_id,
            max(order_line_key) AS order_line_key, min(reason_raw) AS reason_raw, min(note_terms) AS note_terms,
                min(return_type) AS return_type,
            coalesce(min(method) FILTER (event = 'handed_over'), min(method) FILTER (event = 'received'),
                min(method)) AS method,
            coalesce(min(carrier) FILTER (event = 'carrier_scan'), min(carrier)) AS carrier,
            min(product_id) AS product_id, max(product_key) AS product_key, max(customer_key) AS customer_key,
                min(policy_id) AS policy_id, min(country) AS country, min(shop_id) AS shop_id, max(shop_key)
                AS shop_key,
            bool_or(event = 'delivery_refused' OR event = 'returned_to_sender') AS is_refused, bool_or(event
                = 'uncollected') AS is_uncollected,
            CASE WHEN count(is_manual) > 0 THEN count(*) FILTER (is_manual) END::INTEGER AS manual_touches,
                min(decline_reason) FILTER (event = 'rejected') AS decline_reason, min(dimensions) AS dimensions,
            sum(amount) FILTER (event = 'credited') AS credited_amount, min(currency) FILTER (event = 'credited')
                AS credited_currency, min(units) AS fewest,
            {of_line}::INTEGER AS line_units, {stages}, {attributes}
        FROM event_row GROUP BY return_line_key;
        CREATE OR REPLACE TEMP TABLE lot AS
        WITH split AS (SELECT return_line_key, line_units FROM return_line WHERE fewest < line_units),
        spread AS (
            SELECT e.*, s.line_units, sum(units) OVER (PARTITION BY e.return_line_key, event
                ORDER BY occurred_at, event_key) AS upto
            FROM event_row e JOIN split s USING (return_line_key)),
        laid AS (
            SELECT *, CASE WHEN event IN {STOPS} THEN greatest(line_units - upto, 0) ELSE least(upto - units,
                line_units) END AS low,
                CASE WHEN event IN {STOPS} THEN greatest(line_units - upto + units, 0) ELSE least(upto,
                    line_units) END AS high FROM spread),
        cut AS (SELECT return_line_key, low AS edge FROM laid UNION SELECT return_line_key, high FROM laid
            UNION SELECT return_line_key, 0 FROM split UNION SELECT return_line_key, line_units FROM split),
        piece AS (SELECT return_line_key, edge AS low, lead(edge) OVER (PARTITION BY return_line_key
            ORDER BY edge) AS high FROM cut),
        staged AS (
            SELECT return_line_key, low, piece_units AS units, {stages}, {attributes} FROM (
                SELECT p.return_line_key, p.low, p.high - p.low AS piece_units, l.* EXCLUDE (return_line_key, low, high,
                    units)
                FROM (SELECT * FROM piece WHERE high IS NOT NULL) p JOIN laid l ON l.return_line_key
                    = p.return_line_key AND l.low <= p.low AND l.high >= p.high)
            GROUP BY return_line_key, low, piece_units)
        SELECT return_line_key, row_number() OVER (PARTITION BY return_line_key
            ORDER BY low) AS lot_no, * EXCLUDE (return_line_key, low) FROM (
            SELECT return_line_key, min(low) AS low, sum(units)::INTEGER AS units, {", ".join(names)}
                FROM staged GROUP BY ALL)
        UNION ALL BY NAME
        SELECT return_line_key, 1 AS lot_no, line_units AS units, {", ".join(names)} FROM return_line
            WHERE fewest >= line_units;
        CREATE OR REPLACE TEMP TABLE paid AS
        WITH line AS (
            SELECT l.*, {rate_sql("l.currency", "r", found.currency)} AS rate FROM current_refund_line l
            LEFT JOIN day_rate r ON r.currency = l.currency AND r.day = l.refunded_at::DATE WHERE units > 0
                OR restock_type = 'return' OR restock_type IS NULL AND return_line_key IS NOT NULL),
        of_order AS (SELECT order_line_key, sum(line_units) AS units FROM return_line
            WHERE order_line_key IS NOT NULL GROUP BY 1)
        SELECT return_line_key, sum(units) AS units, sum(amount) AS amount, min(currency) AS currency,
            count(DISTINCT currency) = 1 AS is_one_currency,
            CASE WHEN count(*) = count(rate) THEN sum(amount * rate) END AS reported_amount, min(refunded_at)
                AS refunded_at FROM (
            SELECT return_line_key, units, amount, currency, rate, CASE WHEN units > 0 THEN refunded_at END
                AS refunded_at FROM line WHERE return_line_key IS NOT NULL
            UNION ALL
            SELECT r.return_line_key, l.units * r.line_units / o.units, l.amount * r.line_units / o.units, l.currency,
                l.rate, CASE WHEN l.units > 0 THEN l.refunded_at END FROM line l
                JOIN return_line r ON l.order_line_key = r.order_line_key
                JOIN of_order o ON o.order_line_key = r.order_line_key WHERE l.return_line_key IS NULL)
        SEMI JOIN return_line USING (return_line_key) GROUP BY 1;
        CREATE OR REPLACE TEMP TABLE reason_of AS
            SELECT lower(trim(raw)) AS raw, min(reason) AS reason
                FROM {read_sql("csv", data_path("reasons.csv"), "header = true, all_varchar = true")} GROUP BY 1;
        CREATE OR REPLACE TEMP TABLE parcel_name AS
            SELECT parcel_key, min(parcel_id) AS parcel_id FROM current_return_event WHERE ({where})
                AND parcel_key IS NOT NULL GROUP BY 1;
        INSERT INTO fact_return_line BY NAME
        SELECT {key_sql("l.return_line_id || '#' || lot_no::VARCHAR")} AS return_lot_key, l.* EXCLUDE (first_at,
            any_confirmed_at, time_zone, of_exchange, order_fault, shipped_on, lot_currency, lot_rate),
            l.lot_currency AS currency, l.lot_rate AS fx_rate,
            CASE WHEN order_fault IS NOT NULL THEN order_fault WHEN {_local_day("l.first_at", "hs")} < l.ordered_on
                THEN 'returned before ordered'
                WHEN {_local_day("l.any_confirmed_at", "hc")} < shipped_on THEN 'returned before shipped' END
                    AS date_fault, {_out_of_order()} AS out_of_order,
            l.return_type IN ({", ".join(quote(v) for v in schema.HEADLINE_RETURN_TYPES)}) AND NOT l.of_exchange
                AS is_headline,
            {_local_day("coalesce(l.requested_at, l.first_at)", "hr")} AS requested_on,
            CASE WHEN l.confirmed_at IS NOT NULL THEN {_local_day("l.confirmed_at", "hc")} END AS confirmed_on,
            CASE WHEN l.refunded_at IS NOT NULL THEN {_local_day("l.refunded_at", "hf")} END AS refunded_on
        FROM (
            SELECT t.return_line_key, r.return_line_id, t.lot_no, r.return_key, r.return_id, o.order_line_key,
                o.order_key, t.parcel_key, n.parcel_id,
                coalesce(o.customer_key, r.customer_key) AS customer_key, coalesce(o.product_key, r.product_key)
                    AS product_key, coalesce(o.product_id, r.product_id) AS product_id,
                coalesce(o.shop_key, r.shop_key, s.shop_key) AS shop_key, coalesce(o.policy_key, own.policy_key)
                    AS policy_key, r.source, coalesce(o.shop_id, r.shop_id, s.shop_id) AS shop_id,
                coalesce(o.country, r.country) AS country, o.channel AS channel, coalesce(o.category, p.category)
                    AS category, coalesce(o.brand, p.brand) AS brand,
                coalesce(o.style_id, p.style_id) AS style_id, coalesce(o.size, p.size) AS size, coalesce(o.colour,
                    p.colour) AS colour,
                coalesce(o.supplier, p.supplier) AS supplier, coalesce(o.season, p.season) AS season,
                    o.has_several_sizes, o.ordered_on, o.clock_started_at,
                coalesce(o.window_days, own.window_days) AS window_days, o.window_ends_on,
                CASE WHEN r.is_refused THEN 'refused' WHEN r.is_uncollected THEN 'uncollected'
                    WHEN r.return_type IS NOT NULL THEN r.return_type
                    WHEN t.exchanged_at IS NOT NULL THEN 'exchange' ELSE 'withdrawal' END AS return_type,
                coalesce(o.is_exchange, false) AS of_exchange,
                coalesce(y.reason, CASE WHEN r.reason_raw IS NULL THEN 'unknown' ELSE 'other' END) AS reason,
                    r.note_terms, r.method, r.carrier, t.place_id, t.condition, t.inspection_outcome, t.disposition,
                    q.outcome,
                r.decline_reason, CASE WHEN t.lot_no = 1 THEN r.manual_touches ELSE r.manual_touches * 0 END
                    AS manual_touches, t.units,
                    {stages_of_lot}, t.first_at,
                least(t.carrier_scan_at, t.received_at, t.inspected_at, t.refunded_at, {paid_at}, t.restocked_at,
                    t.disposed_at, t.refused_at) AS any_confirmed_at,
                CASE WHEN t.cancelled_at IS NULL AND t.rejected_at IS NULL AND t.expired_at IS NULL THEN
                    CASE WHEN t.lost_at IS NULL THEN any_confirmed_at ELSE least(t.received_at, t.inspected_at,
                        t.refunded_at, {paid_at}, t.restocked_at, t.disposed_at) END END AS confirmed_at,
                coalesce(o.net_amount / nullif(o.units_sold + o.units_exchanged_in, 0) * t.units, r.credited_amount
                    * t.units / r.line_units) AS net_amount,
                o.vat_amount / nullif(o.units_sold + o.units_exchanged_in, 0) * t.units AS vat_amount,
                coalesce(o.cost_amount / nullif(o.units_sold + o.units_exchanged_in, 0), CASE
                    WHEN o.order_line_key IS NULL THEN p.unit_cost END) * t.units AS cost_amount,
                coalesce(o.currency, r.credited_currency, p.currency, f.currency) AS lot_currency,
                coalesce(o.fx_rate, {rate}) AS lot_rate,
                CASE WHEN f.return_line_key IS NULL THEN r.credited_amount WHEN f.is_one_currency AND f.currency
                    = lot_currency THEN f.amount
                    ELSE f.reported_amount / lot_rate END * CASE WHEN t.paid_units IS NULL THEN t.units / r.line_units
                    WHEN t.refunded_at IS NOT NULL THEN t.units / t.paid_units ELSE 0 END AS refund_amount,
                coalesce(o.weight_kg, p.weight_kg) AS weight_kg, z.time_zone, o.date_fault AS order_fault,
                CASE WHEN o.dimensions IS NOT NULL AND r.dimensions IS NOT NULL THEN json_merge_patch(r.dimensions,
                    o.dimensions)::VARCHAR ELSE coalesce(o.dimensions, r.dimensions) END AS dimensions,
                (o.shipped_at + coalesce(ho.ahead, INTERVAL 0 HOUR))::DATE AS shipped_on
            FROM (SELECT *, CASE WHEN bool_and(refunded_at IS NOT NULL) OVER line THEN NULL
                ELSE sum(units) FILTER (refunded_at IS NOT NULL) OVER line END AS paid_units
                FROM lot WINDOW line AS (PARTITION BY return_line_key)) t JOIN return_line r USING (return_line_key)
            LEFT JOIN order_row o ON o.order_line_key = r.order_line_key
            LEFT JOIN (SELECT * FROM dim_product WHERE is_current) p ON p.product_key = CASE
                WHEN o.order_line_key IS NULL THEN r.product_key END
            LEFT JOIN only_shop s ON s.source = CASE WHEN o.order_line_key IS NULL AND r.shop_key IS NULL
                THEN r.source END
            LEFT JOIN dim_shop z ON z.shop_key = coalesce(o.shop_key, r.shop_key, s.shop_key)
            LEFT JOIN dim_policy own ON own.policy_id = CASE WHEN o.policy_key IS NULL THEN r.policy_id END
                AND t.first_at >= own.valid_from
                AND (own.valid_to IS NULL OR t.first_at < own.valid_to)
            LEFT JOIN paid f USING (return_line_key)
            {_hour_join("ho", "o.shipped_at", "z.time_zone")}
            LEFT JOIN reason_of y ON y.raw = lower(trim(r.reason_raw))
            LEFT JOIN dim_disposition q ON q.disposition = t.disposition
            LEFT JOIN parcel_name n ON n.parcel_key = t.parcel_key
            LEFT JOIN day_rate x ON x.currency = CASE WHEN o.order_line_key IS NULL THEN coalesce(r.credited_currency,
                p.currency, f.currency) END AND x.day = t.first_at::DATE
        ) l
        {_hour_join("hr", "coalesce(l.requested_at, l.first_at)", "l.time_zone")}
        {_hour_join("hs", "l.first_at", "l.time_zone")}
        {_hour_join("hc", "l.any_confirmed_at", "l.time_zone")}
        {_hour_join("hf", "l.refunded_at", "l.time_zone")};
        INSERT INTO fact_return_event BY NAME
        SELECT event_key, return_line_key, return_key, event, occurred_at, recorded_at, units, amount, currency,
            place_id, system, source
        FROM current_return_event WHERE {where};
    """)


def shape_legs(connection: duckdb.DuckDBPyConnection, found: Flags, where: str = "TRUE") -> None:
    """Insert fact_return_leg for parcels matching `where` (a predicate on parcel_key)."""
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE parcel AS
        SELECT parcel_key, min(shop_id) AS shop_id, max(shop_key) AS shop_key, min(country) AS country, min(channel)
            AS channel, min(method) AS method,
            min(requested_on) AS requested_on, min(ordered_on) AS ordered_on FROM fact_return_line
                WHERE parcel_key IS NOT NULL AND ({where}) GROUP BY 1;
        INSERT INTO fact_return_leg BY NAME
        SELECT e.element_key AS leg_key, e.element_id, e.parcel_key, e.parcel_id, e.element_no, e.element_type, e.role,
            e.from_place_key, e.to_place_key,
            CASE WHEN e.from_place_id IS NOT NULL AND e.to_place_id IS NOT NULL
                THEN {key_sql("e.from_place_id || '|' || e.to_place_id")} END AS lane_key,
            e.movement_id, e.movement_parcels, e.started_at, e.ended_at, {_local_day("e.started_at", "h")}
                AS started_on, e.carrier, e.service, e.mode, e.vehicle, e.fuel,
            e.mass_kg, e.distance_km, e.distance_type, e.trip_share, e.cost_amount, e.currency,
                {rate_sql("e.currency", "r", found.currency)} AS fx_rate,
            e.source, p.shop_id, p.country, p.channel, p.method, coalesce(p.requested_on,
                {_local_day("e.started_at", "h")}) AS requested_on, p.ordered_on
        FROM (SELECT * FROM current_chain_element WHERE {where}) e
        LEFT JOIN parcel p USING (parcel_key)
        LEFT JOIN dim_shop z ON z.shop_key = p.shop_key
        {_hour_join("h", "e.started_at", "z.time_zone")}
        LEFT JOIN day_rate r ON r.currency = e.currency AND r.day = e.started_at::DATE;
    """)


def shape_carrier_money(connection: duckdb.DuckDBPyConnection, found: Flags) -> None:
    """Insert fact_carrier_invoice and fact_carrier_claim.

    A line of a parcel is laid on its first leg by carrier, one of an element on that element; the rest stays unmatched.
    Only in a full build: a new row of either asks for one.
    """
    connection.execute(f"""
        INSERT INTO fact_carrier_invoice BY NAME
        WITH first_leg AS (SELECT parcel_key, arg_min(leg_key, element_no) AS leg_key FROM fact_return_leg
            WHERE element_type = 'transport' GROUP BY 1)
        SELECT i.invoice_line_id, i.invoice_id, i.invoiced_at, i.invoiced_at::DATE AS invoiced_on, i.carrier,
            i.parcel_key, i.parcel_id, coalesce(e.leg_key, f.leg_key) AS leg_key, i.kind, i.amount, i.vat_amount,
            i.currency, {rate_sql("i.currency", "r", found.currency)} AS fx_rate, i.source
        FROM current_carrier_invoice i LEFT JOIN fact_return_leg e ON e.leg_key = i.element_key
            LEFT JOIN first_leg f ON f.parcel_key = i.parcel_key
        LEFT JOIN day_rate r ON r.currency = i.currency AND r.day = i.invoiced_at::DATE ORDER BY i.invoice_line_id;
        INSERT INTO fact_carrier_claim BY NAME
        SELECT c.claim_id, c.opened_at, c.parcel_key, c.parcel_id, c.carrier, c.kind, c.amount, c.decided_at,
            c.paid_amount, c.currency, {rate_sql("c.currency", "r", found.currency)} AS fx_rate, c.source
        FROM current_carrier_claim c LEFT JOIN day_rate r ON r.currency = c.currency
            AND r.day = c.opened_at::DATE ORDER BY c.claim_id;
    """)


def shape_refunds(
    connection: duckdb.DuckDBPyConnection, found: Flags, where: str = "TRUE", where_line: str = "TRUE"
) -> None:
    """Insert fact_refund and fact_refund_line for some refunds and credited return lines.

    Refunds matching `where` (on refund_key), lines matching `where_line`.
    """
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE refunded_line AS
            SELECT DISTINCT return_line_key FROM (SELECT return_line_key FROM current_refund_line WHERE {where}
                UNION ALL SELECT return_line_key FROM current_return_event WHERE event = 'credited'
                    AND amount IS NOT NULL AND ({where_line})) WHERE return_line_key IS NOT NULL;
        INSERT INTO fact_refund_line BY NAME
        SELECT t.refund_line_key, t.refund_line_id, t.refund_key, coalesce(t.order_line_key, l.order_line_key)
            AS order_line_key, t.return_line_key, t.refunded_at,
            {_local_day("t.refunded_at", "h")} AS refunded_on, t.units, t.amount, t.vat_amount, t.currency,
                {rate_sql("t.currency", "r", found.currency)} AS fx_rate, t.restock_type,
            t.source, coalesce(o.shop_id, l.shop_id, s.shop_id) AS shop_id, coalesce(o.country, l.country) AS country,
                coalesce(o.channel, l.channel) AS channel,
            coalesce(o.category, l.category) AS category, coalesce(o.brand, l.brand) AS brand, coalesce(o.style_id,
                l.style_id) AS style_id, coalesce(o.size, l.size) AS size,
            coalesce(o.colour, l.colour) AS colour, coalesce(o.supplier, l.supplier) AS supplier, coalesce(o.season,
                l.season) AS season,
            coalesce(o.ordered_on, l.ordered_on) AS ordered_on, l.requested_on
        FROM (
            SELECT refund_line_key, refund_line_id, refund_key, order_line_key, return_line_key, refunded_at, units,
                amount, vat_amount, currency, restock_type, source
            FROM current_refund_line WHERE {where}
            UNION ALL
            SELECT event_key, event_id, NULL, order_line_key, return_line_key, occurred_at, units, amount, NULL,
                currency, 'credit', source
            FROM current_return_event WHERE event = 'credited' AND amount IS NOT NULL AND ({where_line})) t
        LEFT JOIN (SELECT return_line_key, max(order_line_key) AS order_line_key, min(shop_id) AS shop_id,
            min(country) AS country, min(channel) AS channel, min(category) AS category,
                min(brand) AS brand, min(style_id) AS style_id, min(size) AS size, min(colour) AS colour,
                    min(supplier) AS supplier, min(season) AS season,
                min(ordered_on) AS ordered_on, min(requested_on) AS requested_on FROM fact_return_line
                    SEMI JOIN refunded_line USING (return_line_key) GROUP BY 1) l USING (return_line_key)
        LEFT JOIN order_row o ON o.order_line_key = coalesce(t.order_line_key, l.order_line_key)
        LEFT JOIN only_shop s ON s.source = CASE WHEN o.order_line_key IS NULL AND l.shop_id IS NULL THEN t.source END
        LEFT JOIN dim_shop z ON z.shop_id = coalesce(o.shop_id, l.shop_id, s.shop_id)
        {_hour_join("h", "t.refunded_at", "z.time_zone")}
        LEFT JOIN day_rate r ON r.currency = t.currency AND r.day = t.refunded_at::DATE;
        INSERT INTO fact_refund BY NAME
        SELECT f.refund_key, f.refund_id, f.order_key, f.return_key, f.refunded_at,
            {_local_day("f.refunded_at", "h")} AS refunded_on, f.amount, f.currency,
            {rate_sql("f.currency", "r", found.currency)} AS fx_rate, f.kind, n.amount AS lines_amount, f.amount
                - n.amount AS discrepancy_amount, f.source,
            coalesce(o.shop_id, s.shop_id) AS shop_id, o.country, o.channel
        FROM (SELECT * FROM current_refund WHERE {where}) f
        LEFT JOIN (SELECT refund_key, sum(amount) AS amount FROM current_refund_line WHERE {where}
            GROUP BY 1) n USING (refund_key)
        LEFT JOIN (SELECT order_key, min(shop_id) AS shop_id, min(country) AS country, min(channel) AS channel
            FROM order_row
            WHERE order_key IN (SELECT order_key FROM current_refund WHERE {where}) GROUP BY 1) o USING (order_key)
        LEFT JOIN only_shop s ON s.source = CASE WHEN o.shop_id IS NULL THEN f.source END
        LEFT JOIN dim_shop z ON z.shop_id = coalesce(o.shop_id, s.shop_id)
        {_hour_join("h", "f.refunded_at", "z.time_zone")}
        LEFT JOIN day_rate r ON r.currency = f.currency AND r.day = f.refunded_at::DATE;
    """)


def shape_recoveries(connection: duckdb.DuckDBPyConnection, found: Flags, where: str = "TRUE") -> None:
    """Insert fact_recovery for return lines matching `where` (a predicate on return_line_key)."""
    connection.execute(f"""
        INSERT INTO fact_recovery BY NAME
        SELECT v.recovery_key, v.recovery_id, v.return_line_key, v.recovered_at, {_local_day("v.recovered_at", "h")}
            AS recovered_on, v.units, v.disposition, q.outcome, v.grade,
            v.amount, v.treatment_cost, l.unit_cost * v.units AS cost_amount, v.currency,
                {rate_sql("v.currency", "r", found.currency)} AS fx_rate, v.derogation_reason, v.evidence_ref,
            l.weight_kg * v.units AS weight_kg, p.hs_chapter, v.source, l.shop_id, l.country, l.channel, l.category,
                l.brand, l.style_id, l.size, l.colour, l.supplier, l.season,
            l.requested_on, l.ordered_on
        FROM (SELECT * FROM current_recovery WHERE {where}) v
        LEFT JOIN (SELECT return_line_key, min(source) AS source, min(shop_id) AS shop_id, min(country) AS country,
            min(channel) AS channel, min(category) AS category, min(brand) AS brand,
                min(style_id) AS style_id, min(size) AS size, min(colour) AS colour, min(supplier) AS supplier,
                    min(season) AS season, min(requested_on) AS requested_on,
                min(ordered_on) AS ordered_on, max(cost_amount / units) AS unit_cost, max(weight_kg) AS weight_kg,
                    max(product_key) AS product_key
            FROM fact_return_line WHERE {where} GROUP BY 1) l USING (return_line_key)
        LEFT JOIN (SELECT product_key, hs_chapter FROM dim_product WHERE is_current) p ON p.product_key = l.product_key
        LEFT JOIN dim_disposition q ON q.disposition = v.disposition
        LEFT JOIN dim_shop z ON z.shop_id = l.shop_id
        {_hour_join("h", "v.recovered_at", "z.time_zone")}
        LEFT JOIN day_rate r ON r.currency = v.currency AND r.day = v.recovered_at::DATE;
    """)


def shape_promised_dates(connection: duckdb.DuckDBPyConnection, where: str = "TRUE") -> None:
    """Insert fact_promised_date for some return lines, after the lines themselves.

    Those matching `where`, a predicate on return_line_key.

    A line that nothing has happened to yet has its promise all the same: its market, shop and product are those of its
    order line, or its own.
    """
    local = "timezone(coalesce(z.time_zone, 'UTC'), timezone('UTC', t.{0}))::DATE"
    connection.execute(f"""
        INSERT INTO fact_promised_date BY NAME
        WITH lot AS (SELECT return_line_key, max(return_key) AS return_key, min(return_id) AS return_id
            FROM fact_return_line WHERE {where} GROUP BY 1),
        promised AS (
            SELECT d.*, l.return_line_key IS NULL AS is_awaited, coalesce(l.return_key, d.return_key,
                d.return_line_key) AS own_return_key,
                coalesce(l.return_id, d.return_id, d.return_line_id) AS own_return_id
            FROM (SELECT * FROM current_promised_date WHERE {where}) d LEFT JOIN lot l USING (return_line_key)),
        bought AS (SELECT * FROM fact_order_line WHERE order_line_key IN (SELECT order_line_key FROM promised
            WHERE is_awaited))
        SELECT t.return_line_key, t.own_return_key AS return_key, t.own_return_id AS return_id, t.promise_id,
            t.from_stage, t.to_stage, t.promised_on, t.promised_at, t.responsible, t.is_awaited,
            CASE WHEN t.is_awaited THEN coalesce({local.format("began_at")}, t.promised_on,
                {local.format("promised_at")}) END AS began_on,
            coalesce(o.shop_key, t.shop_key, s.shop_key) AS shop_key, t.source, coalesce(o.shop_id, t.shop_id,
                s.shop_id) AS shop_id, coalesce(o.country, t.country) AS country,
            o.channel AS channel, coalesce(o.category, p.category) AS category, coalesce(o.brand, p.brand) AS brand,
                coalesce(o.style_id, p.style_id) AS style_id,
            coalesce(o.size, p.size) AS size, coalesce(o.colour, p.colour) AS colour, coalesce(o.supplier,
                p.supplier) AS supplier, coalesce(o.season, p.season) AS season, t.method, t.carrier
        FROM promised t LEFT JOIN bought o ON o.order_line_key = t.order_line_key
        LEFT JOIN (SELECT * FROM dim_product WHERE is_current) p ON p.product_key = CASE
            WHEN o.order_line_key IS NULL THEN t.product_key END
        LEFT JOIN only_shop s ON s.source = CASE WHEN o.shop_key IS NULL AND t.shop_key IS NULL THEN t.source END
        LEFT JOIN dim_shop z ON z.shop_key = coalesce(o.shop_key, t.shop_key, s.shop_key);
    """)


def shape_seen(connection: duckdb.DuckDBPyConnection, *, is_increment: bool) -> None:
    """Fill what follows from the facts: customers, carrier services, freshness and coverage.

    A source whose return events or refunds are all taken back knows of them: there are none. One that tells line by
    line what its refunds were for knows which units are not refunded. An increment looks at the customers of touched
    order lines only, and adds what new loads brought to the freshness there was.
    """
    of_line = {
        "delivery": "delivered_at",
        "price": "net_amount",
        "unit_cost": "cost_amount",
        "vat": "vat_amount",
        "outbound_cost": "outbound_cost",
        "payment_fee": "payment_fee",
        "customer": "customer_key",
        "policy": "policy_key",
        "size": "size",
        "fx": "fx_rate",
        "product": "category",
        "shipment": "coalesce(shipped_at, delivered_at)",
    }
    of_return = {
        "reason": "nullif(reason, 'unknown')",
        "disposition": "disposition",
        **{f"stage_{s}": f"{s}_at" for s in schema.STAGES},
        "method": "method",
        "carrier": "carrier",
        "inspection": "inspection_outcome",
        "touch": "manual_touches",
        "decline": "CASE WHEN rejected_at IS NOT NULL THEN coalesce(decline_reason, '') END",
        "return": "1",
    }
    of_leg = {"leg_cost": "cost_amount", "mass": "mass_kg", "distance": "distance_km", "leg": "1"}
    sold = "fact_order_line WHERE units_sold > 0"
    coverage = [
        _coverage(sold, of_line),
        # parcels of a shipment log bring their own policy, without an order line
        _coverage(
            f"fact_return_line WHERE source NOT IN (SELECT DISTINCT source FROM {sold})", {"policy": "policy_key"}
        ),
        _coverage(f"fact_refund WHERE source NOT IN (SELECT DISTINCT source FROM {sold})", {"fx": "fx_rate"}),
        _coverage("fact_return_line", of_return),
        _coverage("fact_return_leg", of_leg),
        *(_coverage(f"fact_{n}", {n: "1"}) for n in ("refund", "refund_line", "recovery", "carrier_invoice")),
        _coverage("fact_order_line", {"order": "1"}),
        (
            f"SELECT source, 'return_flag' AS fact, 1.0 AS share, count(*) AS rows FROM {sold} GROUP BY source HAVING"
            " count(return_flag) > 0"
        ),
    ]
    times = {
        "order_line": "ordered_at",
        "return_event": "occurred_at",
        "chain_element": "started_at",
        "refund": "refunded_at",
        "refund_line": "refunded_at",
        "recovery": "recovered_at",
        "product": "valid_from",
        "place": "valid_from",
        "policy": "valid_from",
        "carrier_calendar": "valid_from",
        "shop": "valid_from",
        "fx_rate": "day",
        "rate_card": "valid_from",
        "handling_rate": "valid_from",
        "carrier_invoice": "invoiced_at",
        "carrier_claim": "opened_at",
        "promised_date": "began_at",
    }
    rows = "new" if is_increment else "all"
    fresh = " UNION ALL ".join(
        f"SELECT source, system, '{t}' AS thing, count(*) AS rows, max({c}) AS last_occurred_at, max(recorded_at) AS"
        f" last_recorded_at FROM {rows}_{t} GROUP BY 1, 2"
        for t, c in times.items()
    )
    of_touched = f"WHERE {TOUCHED['order_line_key']}" if is_increment else ""
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE seen_customer AS SELECT DISTINCT customer_key FROM all_order_line {of_touched};
        DELETE FROM dim_customer WHERE customer_key IN (SELECT customer_key FROM seen_customer);
        INSERT INTO dim_customer BY NAME
            SELECT customer_key, min(customer_id) AS customer_id, arg_min(country, (ordered_at, order_line_key))
                AS country,
                arg_min(customer_area, (ordered_at, order_line_key)) AS area, min(ordered_at)::DATE AS first_ordered_on
            FROM current_order_line WHERE customer_key IN (SELECT customer_key FROM seen_customer) GROUP BY 1;
        DELETE FROM dim_carrier_service;
        INSERT INTO dim_carrier_service BY NAME
            SELECT {key_sql("concat_ws('|', carrier, service, mode, vehicle, fuel)")} AS carrier_service_key, *
                FROM (SELECT DISTINCT carrier, service, mode, vehicle, fuel FROM fact_return_leg);
        CREATE OR REPLACE TEMP TABLE seen_source AS
            SELECT source, system, thing, sum(rows)::BIGINT AS rows, max(last_occurred_at) AS last_occurred_at,
                max(last_recorded_at) AS last_recorded_at
            FROM (SELECT source, system, thing, rows, last_occurred_at, last_recorded_at FROM build_source
                UNION ALL {fresh}) GROUP BY 1, 2, 3;
        DELETE FROM build_source;
        INSERT INTO build_source BY NAME SELECT * FROM seen_source;
        DELETE FROM build_coverage;
        INSERT INTO build_coverage BY NAME
        SELECT * REPLACE (CASE WHEN fact = 'stage_refunded' AND share = 0 AND source IN (SELECT source
            FROM fact_refund_line UNION SELECT source FROM seen_source WHERE thing = 'refund_line' AND rows > 0)
            THEN 1 ELSE share END AS share)
        FROM ({" UNION ALL ".join(coverage)});
        INSERT INTO build_coverage BY NAME
        SELECT source, unnest(['return', 'stage_refunded']) AS fact, 1 AS share, sum(rows)::BIGINT AS rows
            FROM seen_source
        WHERE thing = 'return_event' AND source NOT IN (SELECT source FROM fact_return_line)
            GROUP BY 1 HAVING sum(rows) > 0;
        INSERT INTO build_coverage BY NAME
        SELECT source, thing AS fact, 1 AS share, sum(rows)::BIGINT AS rows FROM seen_source
        WHERE thing IN ('refund', 'refund_line') AND (source, thing) NOT IN (SELECT (source, fact)
            FROM build_coverage) GROUP BY 1, 2 HAVING sum(rows) > 0;
    """)


FACT_OF = {
    "order_line": "fact_order_line",
    "return_event": "fact_return_line",
    "refund": "fact_refund",
    "refund_line": "fact_refund_line",
    "recovery": "fact_recovery",
    "chain_element": "fact_return_leg",
    "carrier_invoice": "fact_carrier_invoice",
    "carrier_claim": "fact_carrier_claim",
}
"""The fact that the rows of a log of what happened become."""


def shape_quarantine(
    connection: duckdb.DuckDBPyConnection, logged: Callable[[str, list[str]], str], loads: Iterable[dict[str, Any]]
) -> None:
    """Fill build_quarantine: how many rows of a source's logs are in quarantine, beside those that count.

    A row that a later load brought right is no longer missing: its id is in the log, or its file was loaded again.
    """
    loads = list(loads)
    newest = {(load["namespace"], Path(f["name"]).name): load["load_id"] for load in loads for f in load["files"]}
    again = ", ".join(f"({quote(s)}, {quote(f)}, {quote(i)})" for (s, f), i in newest.items())
    connection.execute("DELETE FROM build_quarantine")
    for thing, fact in FACT_OF.items():
        rows = logged(quarantine_of(thing), [load["load_id"] for load in loads])
        if not rows:
            continue
        key = "return_line_key" if thing == "return_event" else identity_of(schema.LOG.tables[thing])
        connection.execute(f"""
            INSERT INTO build_quarantine BY NAME
            WITH newest AS (FROM (VALUES {again}) f(source, file, newest_id)),
            missing AS (
                SELECT q.source, coalesce(q.key::VARCHAR, q.file || ' ' || q.line) AS row FROM {rows} q
                LEFT JOIN newest n ON n.source = q.source AND n.file = parse_filename(q.file)
                WHERE (n.newest_id IS NULL OR n.newest_id = q.load_id) AND (q.key IS NULL
                    OR q.key NOT IN (SELECT {key} FROM all_{thing} WHERE {key} IS NOT NULL)))
            SELECT source, '{thing}' AS thing, count(DISTINCT row) AS rows, (SELECT count(*) FROM {fact} f
                WHERE f.source = missing.source) AS kept FROM missing GROUP BY 1
        """)


def _coverage(rows: str, facts: dict[str, str]) -> str:
    """Select the share of `rows` that carry each fact, by source, in one pass."""
    shares = ", ".join(f"{{fact: '{n}', share: count({c}) / count(*)}}" for n, c in facts.items())
    return (
        f"SELECT source, f.fact, f.share, rows FROM (SELECT source, unnest([{shares}]) AS f, count(*) AS rows FROM"
        f" {rows} GROUP BY source)"
    )
