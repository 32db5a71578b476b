"""Dimensions: products with their versions, customers, places, carriers, policies, days."""

import duckdb

from pipelines.warehouse import schema
from pipelines.warehouse.sql import key_sql, shipped_sql
from pipelines.warehouse.star import dimensions


def shape_dimensions(connection: duckdb.DuckDBPyConnection) -> None:
    """Fill the dimensions and the exchange rates from their whole logs.

    An increment leaves them as they are: a new row asks for a full build.
    """
    versions = "valid_from, lead(valid_from) OVER w AS valid_to, lead(valid_from) OVER w IS NULL AS is_current"
    attributes = ", ".join(
        c.name
        for c in dimensions.dim_product.columns
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
            FROM {shipped_sql("reasons.csv")} ORDER BY ALL;
        INSERT INTO dim_disposition BY NAME SELECT disposition, outcome, is_discarded::BOOLEAN AS is_discarded
            FROM {shipped_sql("dispositions.csv")} ORDER BY ALL;
    """)
