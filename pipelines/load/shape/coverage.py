"""What each source fills, until when it was seen, and what of it is in quarantine."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import duckdb

from pipelines.load.verdicts import quarantine_of
from pipelines.warehouse import schema, vocabulary
from pipelines.warehouse.sql import identity_of, key_sql, quote
from pipelines.warehouse.vocabulary import FACT_OF

OF_LINE = {
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
"""Facts that order lines carry, and the column that is filled then."""
OF_RETURN = {
    "reason": "nullif(reason, 'unknown')",
    "disposition": "disposition",
    **{f"stage_{s}": f"{s}_at" for s in vocabulary.STAGES},
    "method": "method",
    "carrier": "carrier",
    "inspection": "inspection_outcome",
    "touch": "manual_touches",
    "decline": "CASE WHEN rejected_at IS NOT NULL THEN coalesce(decline_reason, '') END",
    "return": "1",
}
"""Facts that return lines carry."""
OF_TYPE = {
    "back": "confirmed_at IS NOT NULL",
    "refusal": "return_type IN ('refused', 'uncollected')",
    "exchange": "return_type = 'exchange'",
    "conformity": "return_type NOT IN ('withdrawal', 'exchange', 'refused', 'uncollected')",
}
"""What a source that has never said it of a return may not be able to say, with its condition; once is enough."""
OF_LEG = {"leg_cost": "cost_amount", "mass": "mass_kg", "distance": "distance_km", "leg": "1"}
"""Facts that legs carry."""
TIMES = {
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
    "activity_use": "began_at",
}
"""The time of a log's rows that tells how fresh they are."""


def shape_seen(connection: duckdb.DuckDBPyConnection, rows: str) -> None:
    """Fill what follows from the facts: carrier services, freshness and coverage.

    A source whose return events or refunds are all taken back knows of them: there are none. One that tells line by
    line what its refunds were for knows which units are not refunded. Freshness adds what the views `<rows>_<thing>`
    hold to what there was.
    """
    _freshness(connection, rows)
    shape_known(connection)


def shape_known(connection: duckdb.DuckDBPyConnection) -> None:
    """Fill carrier services and coverage from the facts, and from the temporary `seen_source`: what the logs told."""
    _carrier_services(connection)
    _fill_coverage(connection)


def shape_customers(connection: duckdb.DuckDBPyConnection, where: str = "TRUE") -> None:
    """Fill dim_customer anew for customers matching `where`, a predicate on customer_key, from their order lines."""
    connection.execute(f"""
        DELETE FROM dim_customer WHERE {where};
        INSERT INTO dim_customer BY NAME
        SELECT
            customer_key,
            min(customer_id) AS customer_id,
            arg_min(country, (ordered_at, order_line_key)) AS country,
            arg_min(customer_area, (ordered_at, order_line_key)) AS area,
            min(ordered_at)::DATE AS first_ordered_on
        FROM current_order_line
        WHERE customer_key IS NOT NULL AND {where}
        GROUP BY 1;
    """)


def _carrier_services(connection: duckdb.DuckDBPyConnection) -> None:
    """Fill dim_carrier_service from the legs."""
    connection.execute(f"""
        DELETE FROM dim_carrier_service;
        INSERT INTO dim_carrier_service BY NAME
        SELECT {key_sql("concat_ws('|', carrier, service, mode, vehicle, fuel)")} AS carrier_service_key, *
        FROM (SELECT DISTINCT carrier, service, mode, vehicle, fuel FROM fact_return_leg);
    """)


def _freshness(connection: duckdb.DuckDBPyConnection, rows: str) -> None:
    """Add the views `<rows>_<thing>` to build_source: rows and latest times by source, system and log."""
    fresh = " UNION ALL ".join(
        f"SELECT source, system, '{t}' AS thing, count(*) AS rows, max({c}) AS last_occurred_at, max(recorded_at) AS"
        f" last_recorded_at FROM {rows}_{t} GROUP BY 1, 2"
        for t, c in TIMES.items()
    )
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE seen_source AS
        SELECT
            source,
            system,
            thing,
            sum(rows)::BIGINT AS rows,
            max(last_occurred_at) AS last_occurred_at,
            max(last_recorded_at) AS last_recorded_at
        FROM (
            SELECT source, system, thing, rows, last_occurred_at, last_recorded_at FROM build_source
            UNION ALL {fresh})
        GROUP BY 1, 2, 3;
        DELETE FROM build_source;
        INSERT INTO build_source BY NAME SELECT * FROM seen_source;
    """)


def _coverage_of_facts() -> str:
    """Select the share of each fact's rows that carry what is asked of them, by source."""
    sold = "fact_order_line WHERE units_sold > 0"
    unsold = f"source NOT IN (SELECT DISTINCT source FROM {sold})"
    parts = [
        _coverage(sold, OF_LINE),
        # parcels of a shipment log bring their own policy, without an order line
        _coverage(f"fact_return_line WHERE {unsold}", {"policy": "policy_key"}),
        _coverage(f"fact_refund WHERE {unsold}", {"fx": "fx_rate"}),
        _coverage("fact_return_line", OF_RETURN),
        _coverage("fact_return_leg", OF_LEG),
        *(_seen("fact_return_line", fact, condition) for fact, condition in OF_TYPE.items()),
        *(_coverage(f"fact_{n}", {n: "1"}) for n in ("refund", "refund_line", "recovery", "carrier_invoice")),
        _coverage("fact_order_line", {"order": "1"}),
        _seen(sold, "return_flag", "return_flag IS NOT NULL"),
    ]
    return " UNION ALL ".join(parts)


def _fill_coverage(connection: duckdb.DuckDBPyConnection) -> None:
    """Fill build_coverage: what rows carry, then the logs of which nothing is left, whose sources know that."""
    connection.execute(f"""
        DELETE FROM build_coverage;
        INSERT INTO build_coverage BY NAME
        SELECT * REPLACE (
            CASE
                WHEN fact = 'stage_refunded' AND share = 0 AND source IN (
                    SELECT source FROM fact_refund_line
                    UNION SELECT source FROM seen_source WHERE thing = 'refund_line' AND rows > 0)
                    THEN 1
                ELSE share
            END AS share)
        FROM ({_coverage_of_facts()});
        INSERT INTO build_coverage BY NAME
        SELECT source, unnest(['return', 'back', 'stage_refunded']) AS fact, 1 AS share, sum(rows)::BIGINT AS rows
        FROM seen_source
        WHERE thing = 'return_event' AND source NOT IN (SELECT source FROM fact_return_line)
        GROUP BY 1
        HAVING sum(rows) > 0;
        INSERT INTO build_coverage BY NAME
        SELECT source, thing AS fact, 1 AS share, sum(rows)::BIGINT AS rows
        FROM seen_source
        WHERE thing IN ('refund', 'refund_line')
            AND (source, thing) NOT IN (SELECT (source, fact) FROM build_coverage)
        GROUP BY 1, 2
        HAVING sum(rows) > 0;
    """)


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


def _seen(rows: str, fact: str, condition: str) -> str:
    """Select the sources of which one row at least carries a fact."""
    return (
        f"SELECT source, '{fact}' AS fact, 1.0 AS share, count(*) AS rows FROM {rows} GROUP BY source HAVING"
        f" count(*) FILTER ({condition}) > 0"
    )


def _coverage(rows: str, facts: dict[str, str]) -> str:
    """Select the share of `rows` that carry each fact, by source, in one pass."""
    shares = ", ".join(f"{{fact: '{n}', share: count({c}) / count(*)}}" for n, c in facts.items())
    return (
        f"SELECT source, f.fact, f.share, rows FROM (SELECT source, unnest([{shares}]) AS f, count(*) AS rows FROM"
        f" {rows} GROUP BY source)"
    )
