"""Lookups that several facts need: keys of dimensions, exchange rates, local days and hours."""

import duckdb

from pipelines.warehouse.sql import quote

LIES_BY = "country, category, ordered_on"
"""What lines and returns lie by in a build: a filter on a market or on a kind of goods skips most of their file."""


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


def local_day(time: str, hour: str) -> str:
    """Give the local day of a time, with the hour that `hour_join` joined."""
    return f"({time} + coalesce({hour}.ahead, INTERVAL 0 HOUR))::DATE"


def hour_join(alias: str, time: str, zone: str) -> str:
    """Join how far a zone is ahead of UTC in the hour of a time."""
    return f"LEFT JOIN zone_hour {alias} ON {alias}.time_zone = {zone} AND {alias}.hour = date_trunc('hour', {time})"
