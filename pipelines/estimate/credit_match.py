"""Matching credits to purchases, where a source books credits that name no order line.

A credit is bound by rule, so the binding is an estimate: the same customer and the same SKU; the latest earlier
purchase with enough units left at the same unit price; failing that, at another price within PRICE_FACTOR. Credits with
a purchase at their own price choose first, each in order of time, so that no purchase is credited beyond its units.
What finds no purchase stays unmatched. Credited within the hour, a purchase was never sold: an order-entry
cancellation.
"""

from collections import defaultdict

import duckdb

from pipelines.settings import Settings

CANCELLATION_HOURS = 1.0
PRICE_FACTOR = 2.0  # prices of one SKU differ with the quantity bought; beyond this it is another deal

_CREDITS = """
    CREATE OR REPLACE TEMP TABLE credit AS
    SELECT r.return_line_key, min(r.customer_key) AS customer_key, min(r.product_key) AS product_key, min(r.source)
        AS source,
        sum(r.units)::BIGINT AS units, min(coalesce(r.refunded_at, r.confirmed_at)) AS credited_at,
        min(e.amount) / nullif(sum(r.units), 0)::DOUBLE AS unit_price
    FROM fact_return_line r
    JOIN (SELECT return_line_key, sum(amount) AS amount FROM fact_return_event WHERE event = 'credited'
        GROUP BY 1) e USING (return_line_key)
    WHERE r.order_line_key IS NULL AND r.customer_key IS NOT NULL AND r.product_key IS NOT NULL
    GROUP BY r.return_line_key
"""
_CANDIDATES = f"""
    SELECT * FROM (
        SELECT c.return_line_key, o.order_line_key, c.units, o.units_sold AS units_bought, c.credited_at, o.ordered_at,
            o.ordered_on,
            abs(o.net_amount / o.units_sold - c.unit_price) < 0.00005 AS is_same_price,
            greatest(o.net_amount / o.units_sold, c.unit_price) / nullif(least(o.net_amount / o.units_sold,
                c.unit_price), 0) AS price_factor
        FROM credit c JOIN fact_order_line o
            ON o.customer_key = c.customer_key AND o.product_key = c.product_key AND o.source = c.source
        WHERE o.line_type = 'goods' AND o.ordered_at <= c.credited_at AND o.units_sold >= c.units)
    WHERE is_same_price OR price_factor <= {PRICE_FACTOR}
    ORDER BY is_same_price DESC, credited_at, return_line_key, ordered_at DESC, units_bought, order_line_key
"""


def credit_match(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Fill estimate_credit_match: one row a credit that found its purchase.

    The pairs that may match come from one join; only they, a few a credit, are walked through in order, since each
    binding uses up units that the next one may not have.
    """
    connection.execute("DELETE FROM estimate_credit_match")
    connection.execute(_CREDITS)
    if not connection.execute("SELECT 1 FROM credit LIMIT 1").fetchall():
        return
    import pandas as pd  # only for a source of credits

    pairs = connection.execute(_CANDIDATES).df()
    connection.execute("DROP TABLE credit")
    if pairs.empty:
        return
    taken: dict[int, int] = defaultdict(int)
    bound: set[int] = set()
    chosen: list[int] = []
    columns = zip(pairs.return_line_key, pairs.order_line_key, pairs.units, pairs.units_bought, strict=True)
    for position, (credit, purchase, units, bought) in enumerate(columns):
        if credit not in bound and taken[purchase] + units <= bought:
            taken[purchase] += units
            bound.add(credit)
            chosen.append(position)
    matched = pairs.iloc[chosen]
    hours = (matched.credited_at - matched.ordered_at).dt.total_seconds() / 3600
    rows = pd.DataFrame(
        {
            "return_line_key": matched.return_line_key,
            "order_line_key": matched.order_line_key,
            "units": matched.units,
            "rule": matched.is_same_price.map(
                {True: "latest purchase, same price", False: "latest purchase, other price"}
            ),
            "hours_apart": hours,
            "is_cancellation": hours <= CANCELLATION_HOURS,
            "ordered_on": matched.ordered_on,
        }
    )
    connection.register("matched_credit", rows)
    connection.execute("INSERT INTO estimate_credit_match BY NAME SELECT * FROM matched_credit")
    connection.unregister("matched_credit")
