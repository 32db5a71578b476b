"""fact_refund and fact_refund_line, with the fault of a refund that is dated before what it pays back was ordered."""

import duckdb

from pipelines.load.shape.lookups import hour_join, local_day, rate_sql
from pipelines.load.shape.versions import ShapeInputs
from pipelines.warehouse.date_order import date_fault


def shape_refunds(
    connection: duckdb.DuckDBPyConnection, found: ShapeInputs, where: str = "TRUE", where_line: str = "TRUE"
) -> None:
    """Insert fact_refund and fact_refund_line for some refunds and credited return lines.

    Refunds matching `where` (on refund_key), lines matching `where_line`.
    """
    _insert_lines(connection, found, where, where_line)
    _insert_refunds(connection, found, where)


def _insert_lines(connection: duckdb.DuckDBPyConnection, found: ShapeInputs, where: str, where_line: str) -> None:
    """Insert fact_refund_line: lines of refunds, and what return lines were credited without one."""
    refunded, line_day = local_day("t.refunded_at", "h"), "coalesce(o.ordered_on, l.ordered_on)"
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE refunded_line AS
            SELECT DISTINCT return_line_key FROM (SELECT return_line_key FROM current_refund_line WHERE {where}
                UNION ALL SELECT return_line_key FROM current_return_event WHERE event = 'credited'
                    AND amount IS NOT NULL AND ({where_line})) WHERE return_line_key IS NOT NULL;
        INSERT INTO fact_refund_line BY NAME
        SELECT t.refund_line_key, t.refund_line_id, t.refund_key, coalesce(t.order_line_key, l.order_line_key)
            AS order_line_key, t.return_line_key, t.refunded_at,
            {refunded} AS refunded_on, t.units, t.amount, t.vat_amount, t.currency,
                {rate_sql("t.currency", "r", found.currency)} AS fx_rate, t.restock_type,
            t.source, coalesce(o.shop_id, l.shop_id, s.shop_id) AS shop_id, coalesce(o.country, l.country) AS country,
                coalesce(o.channel, l.channel) AS channel,
            coalesce(o.category, l.category) AS category, coalesce(o.brand, l.brand) AS brand, coalesce(o.style_id,
                l.style_id) AS style_id, coalesce(o.size, l.size) AS size,
            coalesce(o.colour, l.colour) AS colour, coalesce(o.supplier, l.supplier) AS supplier, coalesce(o.season,
                l.season) AS season,
            {line_day} AS ordered_on, l.requested_on,
            {date_fault("fact_refund_line", {("ordered", "refunded"): (line_day, refunded)})} AS date_fault
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
        {hour_join("h", "t.refunded_at", "z.time_zone")}
        LEFT JOIN day_rate r ON r.currency = t.currency AND r.day = t.refunded_at::DATE;
    """)


def _insert_refunds(connection: duckdb.DuckDBPyConnection, found: ShapeInputs, where: str) -> None:
    """Insert fact_refund: what was paid, beside the sum of its lines, with the day of the order it is of."""
    refunded, order_day = local_day("f.refunded_at", "h"), "coalesce(o.ordered_on, b.ordered_on)"
    connection.execute(f"""
        INSERT INTO fact_refund BY NAME
        SELECT f.refund_key, f.refund_id, f.order_key, f.return_key, f.refunded_at,
            {refunded} AS refunded_on, f.amount, f.currency,
            {rate_sql("f.currency", "r", found.currency)} AS fx_rate, f.kind, n.amount AS lines_amount, f.amount
                - n.amount AS discrepancy_amount, f.source,
            coalesce(o.shop_id, s.shop_id) AS shop_id, o.country, o.channel,
            {date_fault("fact_refund", {("ordered", "refunded"): (order_day, refunded)})} AS date_fault
        FROM (SELECT * FROM current_refund WHERE {where}) f
        LEFT JOIN (SELECT refund_key, sum(amount) AS amount FROM current_refund_line WHERE {where}
            GROUP BY 1) n USING (refund_key)
        LEFT JOIN (SELECT order_key, min(shop_id) AS shop_id, min(country) AS country, min(channel) AS channel,
                min(ordered_on) AS ordered_on
            FROM order_row
            WHERE order_key IN (SELECT order_key FROM current_refund WHERE {where}) GROUP BY 1) o USING (order_key)
        LEFT JOIN (SELECT return_key, min(ordered_on) AS ordered_on FROM fact_return_line
            WHERE return_key IN (SELECT return_key FROM current_refund WHERE order_key IS NULL AND ({where}))
            GROUP BY 1) b ON b.return_key = CASE WHEN f.order_key IS NULL THEN f.return_key END
        LEFT JOIN only_shop s ON s.source = CASE WHEN o.shop_id IS NULL THEN f.source END
        LEFT JOIN dim_shop z ON z.shop_id = coalesce(o.shop_id, s.shop_id)
        {hour_join("h", "f.refunded_at", "z.time_zone")}
        LEFT JOIN day_rate r ON r.currency = f.currency AND r.day = f.refunded_at::DATE;
    """)
