"""fact_promised_date: dates that were promised on a row."""

import duckdb


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
        LEFT JOIN product_version p
            ON p.product_key = CASE WHEN o.order_line_key IS NULL THEN t.product_key END
            AND coalesce(t.began_at, t.promised_at, t.promised_on) >= p.valid_from
            AND coalesce(t.began_at, t.promised_at, t.promised_on) < p.valid_to
        LEFT JOIN only_shop s ON s.source = CASE WHEN o.shop_key IS NULL AND t.shop_key IS NULL THEN t.source END
        LEFT JOIN dim_shop z ON z.shop_key = coalesce(o.shop_key, t.shop_key, s.shop_key);
    """)
