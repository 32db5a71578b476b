"""fact_return_leg and the carriers' money."""

import duckdb

from pipelines.load.shape.lookups import hour_join, local_day, rate_sql
from pipelines.load.shape.versions import ShapeInputs
from pipelines.warehouse.sql import key_sql

OWN = (
    "activity_amount",
    "activity_unit",
    "activity_share",
    "shared_by",
    "refrigerant",
    "refrigerant_kg",
    "kg_co2e",
    "kg_co2e_ttw",
    "calculated_by",
    "calculated_with",
    "primary_share",
)
"""What somebody measured or calculated of an element themselves."""


def shape_legs(connection: duckdb.DuckDBPyConnection, found: ShapeInputs, where: str = "TRUE") -> None:
    """Insert fact_return_leg for parcels matching `where` (a predicate on parcel_key)."""
    own = ", ".join(f"e.{name} AS {'given_' if name.startswith('kg_') else ''}{name}" for name in OWN)
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
            e.movement_id, e.movement_parcels, e.started_at, e.ended_at, {local_day("e.started_at", "h")}
                AS started_on, e.carrier, e.service, e.mode, e.vehicle, e.fuel,
            e.mass_kg, e.distance_km, e.distance_type, e.trip_share, e.temperature_class, {own},
                e.cost_amount, e.currency,
                {rate_sql("e.currency", "r", found.currency)} AS fx_rate,
            e.source, p.shop_id, p.country, p.channel, p.method, coalesce(p.requested_on,
                {local_day("e.started_at", "h")}) AS requested_on, p.ordered_on
        FROM (SELECT * FROM current_chain_element WHERE {where}) e
        LEFT JOIN parcel p USING (parcel_key)
        LEFT JOIN dim_shop z ON z.shop_key = p.shop_key
        {hour_join("h", "e.started_at", "z.time_zone")}
        LEFT JOIN day_rate r ON r.currency = e.currency AND r.day = e.started_at::DATE;
    """)


def shape_carrier_money(connection: duckdb.DuckDBPyConnection, found: ShapeInputs) -> None:
    """Insert fact_carrier_invoice, fact_carrier_claim and fact_activity_use.

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
        INSERT INTO fact_activity_use BY NAME
        SELECT use_key, use_id, began_at, ended_at, movement_id, place_key, carrier, fuel, activity_amount,
            activity_unit, refrigerant, refrigerant_kg, kg_co2e, kg_co2e_ttw, calculated_by, calculated_with,
            primary_share, shared_by, shared_total, share, source
        FROM current_activity_use ORDER BY use_id;
    """)
