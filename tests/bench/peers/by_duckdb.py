"""The same shaping as somebody would write it by hand in DuckDB SQL."""

import sys
from pathlib import Path

import duckdb

files, out = Path(sys.argv[1]), sys.argv[2]
connection = duckdb.connect()
connection.execute(f"""
    SET TimeZone = 'UTC';
    CREATE TABLE line AS
    SELECT order_line_id, CASE WHEN shipped_at IS NOT NULL THEN units - units_cancelled ELSE 0 END AS units,
        exchanged_from_line_id IS NOT NULL AS is_exchange,
        date_trunc('month', timezone(time_zone, ordered_at::TIMESTAMPTZ))::DATE AS month
    FROM (SELECT * FROM read_csv('{files}/shop/order_line*.csv', union_by_name = true,
        types = {{'exchanged_from_line_id': 'VARCHAR', 'order_line_id': 'VARCHAR'}})
        QUALIFY row_number() OVER (PARTITION BY order_line_id ORDER BY recorded_at DESC) = 1)
    JOIN read_csv('{files}/catalogue/shop.csv') USING (shop_id);
    CREATE TABLE event AS
    SELECT * FROM (
        SELECT event_id, return_line_id, order_line_id, event, units, return_type, occurred_at, recorded_at
            FROM read_csv('{files}/carrier/*.csv', types = {{'order_line_id': 'VARCHAR'}})
        UNION ALL BY NAME SELECT event_id, return_line_id, order_line_id, event, units, return_type, occurred_at,
            recorded_at FROM read_csv('{files}/stores/*.csv', types = {{'order_line_id': 'VARCHAR'}})
        UNION ALL BY NAME SELECT event_id, return_line_id, order_line_id, event, units, return_type,
            occurred_at::TIMESTAMPTZ AS occurred_at, recorded_at::TIMESTAMPTZ AS recorded_at
            FROM read_ndjson('{files}/portal/*.ndjson')
        UNION ALL BY NAME SELECT event_id, return_line_id, order_line_id, event, units, occurred_at, recorded_at
            FROM read_parquet('{files}/returns_centre/*.parquet'))
    QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY recorded_at DESC) = 1;
    CREATE TABLE returned AS
    WITH units AS (SELECT return_line_id, event, sum(units) AS units, min(occurred_at) AS first_at FROM event
        GROUP BY ALL),
    told AS (SELECT return_line_id, max(return_type) AS return_type, max(order_line_id) AS order_line_id FROM event
        GROUP BY 1),
    paid AS (SELECT return_line_id, min(refunded_at) AS refunded_at FROM read_csv('{files}/finance/refund_line*.csv',
        types = {{'return_line_id': 'VARCHAR'}}) WHERE return_line_id IS NOT NULL GROUP BY 1)
    SELECT u.return_line_id, max(u.units) AS units, any_value(return_type) AS return_type,
        any_value(order_line_id) AS order_line_id, any_value(refunded_at) AS refunded_at,
        min(first_at) FILTER (event = 'received') AS received_at,
        NOT bool_or(event IN ('cancelled', 'rejected', 'expired')) AND (any_value(refunded_at) IS NOT NULL OR bool_or(
            event IN ('received', 'inspected', 'restocked', 'disposed')) OR (bool_or(event = 'carrier_scan')
            AND NOT bool_or(event = 'lost'))) AS is_confirmed
    FROM units u JOIN told USING (return_line_id) LEFT JOIN paid USING (return_line_id) GROUP BY 1;
    CREATE TABLE answer AS
    SELECT 'rate' AS number, month, sum(coalesce(units_back, 0)) AS part,
        sum(CASE WHEN is_exchange THEN 0 ELSE line.units END) AS whole
    FROM line LEFT JOIN (SELECT order_line_id, sum(units) AS units_back FROM returned
        JOIN (SELECT order_line_id FROM line WHERE NOT is_exchange) USING (order_line_id)
        WHERE is_confirmed AND return_type IN ('withdrawal', 'commercial', 'exchange') GROUP BY 1) USING (order_line_id)
    GROUP BY month
    UNION ALL
    SELECT 'promise', date_trunc('month', received_at)::DATE, count(*) FILTER (refunded_at <= received_at + INTERVAL 14
        DAY), count(*) FROM returned WHERE refunded_at >= received_at GROUP BY 2
    UNION ALL
    SELECT 'cost', date_trunc('month', started_at)::DATE, sum(cost_amount), count(cost_amount)
    FROM (SELECT * FROM read_parquet('{files}/transport/*.parquet')
        QUALIFY row_number() OVER (PARTITION BY element_id ORDER BY recorded_at DESC) = 1) GROUP BY 2;
""")
connection.execute(f"COPY (SELECT * FROM answer WHERE whole > 0 ORDER BY number, month) TO '{out}' (HEADER)")
