"""fact_order_line: what was sold, under which policy, and whether it was shipped."""

import duckdb

from pipelines.load.shape.as_ordered import as_ordered
from pipelines.load.shape.lookups import LIES_BY, hour_join, local_day, rate_sql
from pipelines.load.shape.return_lines import BACK
from pipelines.load.shape.versions import ShapeInputs
from pipelines.warehouse.date_order import date_fault
from pipelines.warehouse.sql import quote

UNREPORTED_DAYS = 30  # after so many days on the way a line is taken for delivered: its delivery was not reported


def _policies_of_lines(connection: duckdb.DuckDBPyConnection, where: str) -> None:
    """Make policy_period and policy_of.

    The policy version of what lines are sold as (source, market, channel, category, tier) in each period: as they were
    when ordered (`as_ordered`). A period is the time between two changes of any policy. Only what was sold in a period
    is looked up, by equal keys, so thousands of versions cost no more than the lines they apply to. Of several policies
    the most specific holds, of equal ones the latest.
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
            WHERE EXISTS (FROM policy_version)
            UNION
            SELECT o.source, a.country, a.channel, a.category, a.loyalty_tier, w.start
            FROM as_ordered a JOIN current_order_line o USING (order_line_key)
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


def shape_order_lines(connection: duckdb.DuckDBPyConnection, found: ShapeInputs, where: str = "TRUE") -> None:
    """Insert fact_order_line for current order lines matching `where` (a predicate on order_line_key)."""
    _product_versions(connection)
    as_ordered(connection, where)
    _policies_of_lines(connection, where)
    _several_sizes(connection, where)
    _lines_back(connection, where)
    connection.execute(f"""
        INSERT INTO fact_order_line BY NAME
        SELECT {_LINE_KEYS}, {_LINE_FIELDS}, {_line_days()}, {_line_amounts(found.currency)}
        FROM ({_lines_gone(found, where)}) o
        LEFT JOIN only_shop s ON s.source = CASE WHEN o.shop_key IS NULL THEN o.source END
        LEFT JOIN dim_shop z ON z.shop_key = coalesce(o.shop_key, s.shop_key)
        {hour_join("h", "o.ordered_at", "z.time_zone")}
        LEFT JOIN product_version p
            ON p.product_key = o.product_key AND o.ordered_at >= p.valid_from AND o.ordered_at < p.valid_to
        LEFT JOIN as_ordered a ON a.order_line_key = o.order_line_key
        LEFT JOIN several_sizes b ON b.order_key = o.order_key AND b.style_id = p.style_id
        LEFT JOIN policy_period w ON w.day = o.ordered_at::DATE AND o.ordered_at >= w.start AND o.ordered_at < w.stop
        LEFT JOIN policy_of g
            ON g.start = w.start
            AND g.source = o.source
            AND g.country = CASE WHEN a.order_line_key IS NULL THEN o.country ELSE a.country END
            AND g.channel = CASE WHEN a.order_line_key IS NULL THEN o.channel ELSE a.channel END
            AND g.category IS NOT DISTINCT FROM CASE WHEN a.order_line_key IS NULL THEN p.category ELSE a.category END
            AND g.loyalty_tier IS NOT DISTINCT FROM
                CASE WHEN a.order_line_key IS NULL THEN o.loyalty_tier ELSE a.loyalty_tier END
        LEFT JOIN dim_policy f
            ON f.policy_id = CASE WHEN a.order_line_key IS NULL THEN o.policy_id ELSE a.policy_id END
            AND o.ordered_at >= f.valid_from
            AND (f.valid_to IS NULL OR o.ordered_at < f.valid_to)
        LEFT JOIN dim_policy d ON d.policy_key = coalesce(f.policy_key, g.policy_key)
        LEFT JOIN day_rate r ON r.currency = o.currency AND r.day = o.ordered_at::DATE
        LEFT JOIN day_rate rp ON rp.currency = p.currency AND rp.day = o.ordered_at::DATE
        ORDER BY {LIES_BY};
    """)


def _several_sizes(connection: duckdb.DuckDBPyConnection, where: str) -> None:
    """Create `several_sizes`: the orders that hold a style in more than one size."""
    of_order = "TRUE" if where == "TRUE" else f"o.order_key IN (SELECT order_key FROM current_order_line WHERE {where})"
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE several_sizes AS
        SELECT DISTINCT order_key, style_id FROM (
            SELECT o.order_key, p.style_id
            FROM current_order_line o
            JOIN product_version p
                ON p.product_key = o.product_key AND o.ordered_at >= p.valid_from AND o.ordered_at < p.valid_to
            WHERE ({of_order})
                AND o.exchanged_from_line_id IS NULL
                AND p.style_id IS NOT NULL
                AND p.size IS NOT NULL
            GROUP BY 1, 2
            HAVING count(DISTINCT p.size) > 1);
    """)


def _product_versions(connection: duckdb.DuckDBPyConnection) -> None:
    """Create `product_version`: every version of a product, the first one from the beginning of time."""
    connection.execute("""
        CREATE OR REPLACE TEMP TABLE product_version AS
        SELECT * REPLACE (
            CASE
                WHEN row_number() OVER (PARTITION BY product_key ORDER BY valid_from) = 1 THEN TIMESTAMP '0001-01-01'
                ELSE valid_from
            END AS valid_from,
            coalesce(valid_to, TIMESTAMP '9999-01-01') AS valid_to), valid_from AS version_at
        FROM dim_product;
    """)


def _lines_back(connection: duckdb.DuckDBPyConnection, where: str) -> None:
    """Create `came_back`: the order lines of which goods came back though nobody reported that they left."""
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE came_back AS
        SELECT DISTINCT order_line_key
        FROM current_return_event
        WHERE event IN {BACK} AND order_line_key IN (
            SELECT order_line_key FROM current_order_line
            WHERE shipped_at IS NULL AND delivered_at IS NULL AND ({where}));
    """)


def _lines_gone(found: ShapeInputs, where: str) -> str:
    """Select order lines with the units that left, their part of what was ordered, and when the window began."""
    shipping = ", ".join(quote(s) for s in found.shipping) or "''"
    delivering = ", ".join(quote(s) for s in found.delivering) or "''"
    return f"""
        SELECT
            * EXCLUDE (is_back),
            line_type = 'goods' AND exchanged_from_line_id IS NOT NULL AS is_exchange,
            CASE
                WHEN line_type <> 'goods' THEN 0
                WHEN is_back AND units_shipped = 0 THEN units - units_cancelled
                WHEN units_shipped IS NOT NULL THEN least(units_shipped, units - units_cancelled)
                WHEN channel = 'store' OR source NOT IN ({shipping}) OR shipped_at IS NOT NULL
                    OR delivered_at IS NOT NULL OR is_back THEN units - units_cancelled
                ELSE 0
            END AS units_gone,
            CASE WHEN line_type <> 'goods' OR units = 0 THEN 1.0 ELSE units_gone / units END AS part,
            CASE
                WHEN channel = 'store' OR source NOT IN ({delivering}) THEN ordered_at
                ELSE coalesce(
                    delivered_at,
                    CASE WHEN units_gone > 0
                        THEN coalesce(shipped_at, ordered_at) + INTERVAL {UNREPORTED_DAYS} DAY END)
            END AS clock_started_at
        FROM (
            SELECT l.*, b.order_line_key IS NOT NULL AS is_back
            FROM current_order_line l LEFT JOIN came_back b USING (order_line_key)
            WHERE {where})
    """


_LINE_KEYS = """
    o.order_line_key,
    o.order_line_id,
    o.order_key,
    o.order_id,
    o.customer_key,
    o.product_key,
    o.product_id,
    coalesce(o.shop_key, s.shop_key) AS shop_key,
    coalesce(f.policy_key, g.policy_key) AS policy_key,
    o.source,
    coalesce(o.shop_id, s.shop_id) AS shop_id
"""
"""Columns of fact_order_line: which line it is, and whose."""
_LINE_FIELDS = """
    o.country,
    o.channel,
    p.category,
    p.brand,
    p.style_id,
    p.size,
    p.colour,
    p.supplier,
    p.season,
    o.line_type,
    o.is_exchange,
    b.order_key IS NOT NULL AS has_several_sizes,
    d.window_days,
    o.units AS units_ordered,
    o.units_cancelled,
    CASE WHEN o.is_exchange THEN 0 ELSE o.units_gone END AS units_sold,
    CASE WHEN o.is_exchange THEN o.units_gone ELSE 0 END AS units_exchanged_in,
    p.weight_kg,
    o.carrier,
    o.seller,
    o.sold_on,
    o.fulfilled_by,
    CASE WHEN a.order_line_key IS NULL THEN o.loyalty_tier ELSE a.loyalty_tier END AS loyalty_tier,
    o.is_gift,
    o.return_flag,
    o.units_per_set,
    o.dimensions
"""
"""Columns of fact_order_line: what was sold, how and to whom."""


def _line_days() -> str:
    """Give the columns of fact_order_line for its times and local days, and what is wrong with their order."""
    ordered, shipped, delivered = (local_day(f"o.{name}_at", "h") for name in ("ordered", "shipped", "delivered"))
    days = {("ordered", "shipped"): (ordered, shipped), ("ordered", "delivered"): (ordered, delivered)}
    fault = date_fault("fact_order_line", {**days, ("shipped", "delivered"): (shipped, delivered)})
    return f"""
        o.ordered_at,
        {ordered} AS ordered_on,
        o.shipped_at,
        o.delivered_at,
        o.clock_started_at,
        CASE
            WHEN d.window_until > coalesce(o.clock_started_at, o.ordered_at)::DATE + d.window_days::INTEGER
                THEN d.window_until
        END AS window_ends_on,
        {fault} AS date_fault
    """


def _line_amounts(currency: str) -> str:
    """Give the columns of fact_order_line for money: of the units that left, in the line's own currency."""
    rate, product_rate = rate_sql("o.currency", "r", currency), rate_sql("p.currency", "rp", currency)
    return f"""
        o.net_amount * o.part AS net_amount,
        o.vat_amount * o.part AS vat_amount,
        o.discount_amount * o.part AS discount_amount,
        coalesce(
            o.unit_cost,
            CASE WHEN p.currency = o.currency THEN p.unit_cost ELSE p.unit_cost * {product_rate} / {rate} END
        ) * o.units_gone AS cost_amount,
        o.outbound_cost,
        o.payment_fee,
        o.commission_amount,
        o.currency,
        {rate} AS fx_rate
    """
