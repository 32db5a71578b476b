"""Metrics as somebody would write them straight in DuckDB SQL: what `make bench` measures ours against, column for column.

Each is what the declared statistics give on a build without credits to match: groups, details, then the measures in their order.
"""

_OBSERVED = """(SELECT source, max(last_occurred_at) AS t FROM build_source
    WHERE thing IN ('order_line', 'return_event', 'chain_element', 'refund') GROUP BY 1)"""
_BACK = "is_headline AND confirmed_at IS NOT NULL AND ordered_on IS NOT NULL"

HANDWRITTEN: dict[str, tuple[tuple[str, ...], str]] = {
    "sold_units": (("month",), "SELECT date_trunc('month', ordered_on)::DATE AS month, sum(units_sold) FROM fact_order_line GROUP BY 1"),
    "returned_units": (("month", "category"), f"SELECT date_trunc('month', ordered_on)::DATE, category, sum(units) FROM fact_return_line WHERE {_BACK} GROUP BY ALL"),
    "net_sales": (
        ("month", "country"), "SELECT date_trunc('month', ordered_on)::DATE, country, sum(net_amount * fx_rate) FROM fact_order_line WHERE units_sold <> 0 GROUP BY ALL"
    ),
    "observed_return_rate": (
        ("category",),
        f"""SELECT category, r.units, s.units FROM (SELECT category, sum(units_sold) AS units FROM fact_order_line GROUP BY 1) s
            FULL JOIN (SELECT category, sum(units) AS units FROM fact_return_line WHERE {_BACK} GROUP BY 1) r USING (category)""",
    ),
    "ultimate_return_rate": (
        ("month",),
        f"""WITH cohort AS (
                SELECT month, d, source, category, channel, window_days, sum(n) AS n, sum(r) AS r FROM (
                    SELECT date_trunc('month', ordered_on)::DATE AS month, clock_started_at::DATE AS d, source, category, channel, window_days, sum(units_sold) AS n, 0 AS r
                    FROM fact_order_line GROUP BY ALL
                    UNION ALL
                    SELECT date_trunc('month', ordered_on)::DATE, clock_started_at::DATE, source, category, channel, window_days, 0, sum(units) FROM fact_return_line WHERE {_BACK} GROUP BY ALL)
                GROUP BY ALL)
            SELECT month, CASE WHEN d IS NULL OR date_diff('day', d, t) < 0 THEN 0 ELSE coalesce(floor(share * 100 + 0.5) / 100, 1) END AS g, sum(n), sum(r)
            FROM cohort c JOIN {_OBSERVED} o USING (source) LEFT JOIN estimate_development_curve e ON e.source = c.source AND e.category IS NOT DISTINCT FROM c.category
                AND e.channel IS NOT DISTINCT FROM c.channel AND e.window_days IS NOT DISTINCT FROM c.window_days AND e.day = date_diff('day', d, t)
            GROUP BY ALL""",
    ),
    "order_return_rate": (
        (), f"SELECT (SELECT count(DISTINCT order_key) FROM fact_return_line WHERE {_BACK}), (SELECT count(DISTINCT order_key) FROM fact_order_line WHERE units_sold > 0)"
    ),
    "expected_return_rate": (
        ("style_id",), "SELECT style_id, sum(units_sold * probability), sum(units_sold) FROM fact_order_line JOIN estimate_return_probability USING (order_line_key) GROUP BY 1"
    ),
    "reason_share": (("category", "return_reason"), f"SELECT category, reason, sum(units) FROM fact_return_line WHERE {_BACK} GROUP BY ALL"),
    "requested_units": (
        ("day",), "SELECT requested_on, sum(units) FROM fact_return_line WHERE requested_at IS NOT NULL AND return_type IN ('withdrawal', 'commercial', 'exchange') GROUP BY 1"
    ),
    "promise_broken": (
        ("promise_id",),
        f"""SELECT promise_id, CASE WHEN requested_at > t THEN 'not_under_promise' WHEN ended_at <= t AND ended_at > due_at THEN 'broken' WHEN ended_at <= t AND due_at <= t THEN 'kept'
                WHEN ended_at <= t AND due_at IS NOT NULL THEN 'undetermined'
                WHEN stopped_at <= t AND (due_at IS NULL OR stopped_at <= due_at OR handed_over_at IS NULL) THEN CASE WHEN stopped_by = 'expired' THEN 'expired' ELSE 'not_under_promise' END
                WHEN due_at <= t AND handed_over_at <= t THEN 'broken' WHEN due_at IS NULL AND lost_at <= t THEN 'not_under_promise' ELSE 'undetermined' END AS state, count(*)
            FROM estimate_promise JOIN {_OBSERVED} o USING (source) GROUP BY ALL""",
    ),
    "gross_margin": (("category",), "SELECT category, sum((net_amount - cost_amount) * fx_rate) FROM fact_order_line WHERE units_sold <> 0 GROUP BY 1"),
    "margin_reversed": (
        ("month",),
        """SELECT date_trunc('month', ordered_on)::DATE, sum((net_amount - cost_amount) * fx_rate) FROM fact_return_line
            WHERE confirmed_at IS NOT NULL AND ordered_on IS NOT NULL AND return_type NOT IN ('exchange', 'price_adjustment') GROUP BY 1""",
    ),
    "return_cost": (("component",), "SELECT component, sum(amount) FROM fact_return_line JOIN estimate_return_cost USING (return_lot_key) GROUP BY 1"),
    "refund_discrepancy": (("month",), "SELECT date_trunc('month', refunded_on)::DATE, sum(discrepancy_amount * fx_rate) FROM fact_refund GROUP BY 1"),
    "kg_co2e": (("role", "mode"), "SELECT role, mode, sum(kg_co2e) FROM fact_return_leg JOIN estimate_leg_carbon USING (leg_key) GROUP BY ALL"),
    "kg_co2e_per_100_sold": (
        ("month",),
        """SELECT month, kg, sold FROM (SELECT date_trunc('month', ordered_on)::DATE AS month, sum(units_sold) AS sold FROM fact_order_line GROUP BY 1)
            FULL JOIN (SELECT date_trunc('month', ordered_on)::DATE AS month, sum(kg_co2e) AS kg FROM fact_return_leg JOIN estimate_leg_carbon USING (leg_key)
                WHERE ordered_on IS NOT NULL GROUP BY 1) USING (month)""",
    ),
    "destroyed_share": (
        ("month",),
        """SELECT date_trunc('month', requested_on)::DATE, sum(units) FILTER (outcome = 'destroyed'), sum(units) FROM fact_return_line
            WHERE inspected_at IS NOT NULL AND outcome IS NOT NULL GROUP BY 1""",
    ),
}  # fmt: skip
