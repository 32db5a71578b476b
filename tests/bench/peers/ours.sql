-- The same three numbers from the facts of a build.
WITH line AS (SELECT date_trunc('month', ordered_on)::DATE AS month, sum(units_sold) AS sold FROM fact_order_line GROUP BY 1),
back AS (
    SELECT date_trunc('month', ordered_on)::DATE AS month, sum(units) AS units FROM fact_return_line
    WHERE is_headline AND confirmed_at IS NOT NULL AND ordered_on IS NOT NULL GROUP BY 1),
paid AS (
    SELECT return_line_key, min(received_at) AS received_at, min(refunded_at) AS refunded_at
    FROM fact_return_line GROUP BY 1)
SELECT 'rate' AS number, month, coalesce(units, 0)::DOUBLE AS part, sold::DOUBLE AS whole FROM line LEFT JOIN back USING (month)
UNION ALL
SELECT 'promise', date_trunc('month', received_at)::DATE, count(*) FILTER (refunded_at <= received_at + INTERVAL 14 DAY),
    count(*) FROM paid WHERE refunded_at >= received_at GROUP BY 2
UNION ALL
SELECT 'cost', date_trunc('month', started_at)::DATE, sum(cost_amount), count(cost_amount) FROM fact_return_leg GROUP BY 2
ORDER BY number, month
