"""Checks: SELECTs over a build that must come back empty.

A check blocks publishing, or warns. Each says in a sentence what is wrong and what to do; the first five rows go with
it. An increment looks for blocking faults among the keys it touched, since it copied the rest from a build that was
checked; what warns is counted over the whole build. Add one by adding an entry and a planted fault in its test.
"""

import json
from dataclasses import dataclass
from datetime import datetime

import duckdb

from pipelines.warehouse.date_order import FAULTY, WAITS, WAY_BACK, own_faults
from pipelines.warehouse.sql import quote
from pipelines.warehouse.touched import AMONG


@dataclass(frozen=True)
class Check:
    """One SELECT that must be empty.

    A key in braces stands for "is touched", which is true of all rows in a full build.
    """

    name: str
    sentence: str
    sql: str
    is_blocking: bool = True

    def select(self, *, is_increment: bool) -> str:
        """Give the SELECT over the whole build, or over what an increment touched."""
        return self.sql.format_map(AMONG if is_increment else dict.fromkeys(AMONG, "TRUE"))


@dataclass(frozen=True)
class Result:
    """What a check found: `rows` offenders and a sample of at most five, as JSON."""

    check: Check
    rows: int
    sample: str


def _unique(table: str, key: str) -> Check:
    return Check(
        f"{table}_{key}_unique",
        f"Every row of {table} has its own {key}; two ids with one key would be a hash collision.",
        f"SELECT {key}, count(*) AS rows FROM {table} WHERE {{{key}}} GROUP BY 1 HAVING count(*) > 1",
    )


_WAITS = ", ".join(quote(f"{p.first}-{p.second}") for p in WAY_BACK if p.leaves_out == WAITS)
_AT_FAULT = " UNION ALL ".join(
    f"SELECT {fact.removeprefix('fact_')}_id AS id, date_fault FROM {fact} WHERE date_fault IN ({own_faults(fact)})"
    for fact in FAULTY
)
"""Rows whose own dates cannot be; what goes with them is told once, with them."""
MONEY = (
    ("order lines", "fact_order_line", "ordered_on", "net_amount"),
    ("refunds", "fact_refund", "refunded_on", "amount"),
    ("refund lines", "fact_refund_line", "refunded_on", "amount"),
    ("transport legs", "fact_return_leg", "started_on", "cost_amount"),
    ("recoveries", "fact_recovery", "recovered_on", "coalesce(amount, treatment_cost)"),
    ("carrier invoices", "fact_carrier_invoice", "invoiced_on", "amount"),
    ("carrier claims", "fact_carrier_claim", "opened_at", "amount"),
)
"""Where money stands: what it is of, its fact table, its day and its amount."""
CHECKS = (
    _unique("fact_order_line", "order_line_key"),
    _unique("fact_return_line", "return_lot_key"),
    _unique("fact_return_event", "event_key"),
    _unique("fact_return_leg", "leg_key"),
    _unique("fact_refund", "refund_key"),
    _unique("fact_recovery", "recovery_key"),
    Check(
        "units_add_up",
        "Sold, exchanged and cancelled units never exceed the units ordered.",
        "SELECT order_line_id, units_ordered, units_sold, units_cancelled FROM fact_order_line WHERE {order_line_key}"
        " AND line_type = 'goods' AND units_sold + units_exchanged_in + units_cancelled > units_ordered",
    ),
    Check(
        "lots_positive",
        "Every lot has at least one unit.",
        "SELECT return_line_id, lot_no, units FROM fact_return_line WHERE units <= 0",
    ),
    Check(
        "leg_carbon_per_leg",
        "Every leg has one estimate of its emissions.",
        """SELECT element_id FROM fact_return_leg WHERE leg_key IN (
             SELECT leg_key FROM (SELECT leg_key FROM fact_return_leg WHERE {shaped_leg}) l
                 LEFT JOIN estimate_leg_carbon e USING (leg_key)
             GROUP BY leg_key HAVING count(e.leg_key) <> 1)""",
    ),
    Check(
        "carbon_wtw",
        "Well to wheel is energy provision plus operation.",
        "SELECT leg_key, kg_co2e, kg_co2e_wtt, kg_co2e_ttw FROM estimate_leg_carbon WHERE abs(kg_co2e - kg_co2e_wtt -"
        " kg_co2e_ttw) > 1e-9 * greatest(1, kg_co2e)",
    ),
    Check(
        "carbon_factored",
        "Each kilogram is an amount times a factor: emissions, reports and closed months are sums of the same.",
        """WITH part AS (
                SELECT leg_key, factor_id, amount, kg_co2e FROM estimate_leg_part
                UNION ALL SELECT leg_key, factor_id, amount, kg_co2e FROM estimate_leg_carbon
                WHERE leg_key NOT IN (SELECT leg_key FROM estimate_leg_part)),
            summed AS (SELECT leg_key, sum(kg_co2e) AS kg FROM estimate_leg_part GROUP BY 1)
            SELECT p.leg_key, p.factor_id, p.amount, f.value AS factor_value, p.kg_co2e FROM part p
                LEFT JOIN factor_set f USING (factor_id) WHERE p.kg_co2e IS NOT NULL
                AND coalesce(abs(p.amount * f.value - p.kg_co2e) > 1e-9 * greatest(1, abs(p.kg_co2e)), true)
            UNION ALL SELECT e.leg_key, e.factor_id, e.amount, NULL, e.kg_co2e FROM estimate_leg_carbon e
                JOIN summed s USING (leg_key) WHERE
                coalesce(abs(s.kg - e.kg_co2e) > 1e-9 * greatest(1, abs(s.kg)), true)
        """,
    ),
    Check(
        "carbon_allocated",
        "What the lots of parcels carry is what their legs emitted.",
        """SELECT a.kg AS legs, b.kg AS lots FROM (SELECT coalesce(sum(kg_co2e), 0) AS kg FROM estimate_leg_carbon
            JOIN fact_return_leg USING (leg_key)
             WHERE {parcel_key} AND parcel_key IN (SELECT parcel_key FROM fact_return_line)) a,
             (SELECT coalesce(sum(kg_co2e), 0) AS kg FROM estimate_return_carbon
                 JOIN fact_return_line USING (return_lot_key) WHERE {parcel_key}) b
             WHERE abs(a.kg - b.kg) > 1e-6 * greatest(1, a.kg)""",
    ),
    Check(
        "probability_range",
        "A probability lies between 0 and 1.",
        "SELECT order_line_key, probability FROM estimate_return_probability WHERE NOT probability BETWEEN 0 AND 1",
    ),
    Check(
        "curve_rises",
        "A development curve rises from 0 to 1.",
        """SELECT * FROM (SELECT *, lag(share) OVER (PARTITION BY source, category, channel, window_days,
            is_dated ORDER BY day) AS before FROM estimate_development_curve)
             WHERE share < before - 1e-9 OR NOT share BETWEEN 0 AND 1 + 1e-9""",
    ),
    # -- warnings: the build is right about what it was given, and what it was given is odd
    Check(
        "more_returned_than_sold",
        "More units came back than were sold on these lines: look for a return entered twice.",
        """SELECT r.order_line_key, sum(r.units) AS returned, any_value(o.units_sold + o.units_exchanged_in)
            AS sold FROM fact_return_line r JOIN fact_order_line o USING (order_line_key)
             WHERE r.confirmed_at IS NOT NULL GROUP BY 1 HAVING sum(r.units) > any_value(o.units_sold
                 + o.units_exchanged_in)""",
        False,
    ),
    Check(
        "return_without_order",
        "These returns name no order we know; they bind when the order is loaded.",
        "SELECT return_line_id, product_id, units FROM fact_return_line WHERE order_line_key IS NULL AND"
        " return_line_key NOT IN (SELECT return_line_key FROM estimate_credit_match)",
        False,
    ),
    Check(
        "impossible_dates",
        "These rows have dates that cannot be: earlier than their order, delivered or back before they were shipped, or"
        " back before they were delivered."
        " Metrics leave them out and count them: look at the clocks of the two systems.",
        f"SELECT DISTINCT id, date_fault FROM ({_AT_FAULT})",
        False,
    ),
    Check(
        "more_asked_than_sold",
        "More units were asked back at one time than were sold on these lines: the units sold count as asked.",
        """SELECT return_line_id, asked, units_ordered - units_cancelled AS sold FROM (
               SELECT return_line_key, sum(CASE WHEN event = 'requested' THEN units ELSE -units END) AS asked
                   FROM fact_return_event
               WHERE event IN ('requested', 'cancelled', 'rejected', 'expired') GROUP BY 1)
           JOIN (SELECT DISTINCT return_line_key, return_line_id, order_line_key
               FROM fact_return_line) USING (return_line_key)
           JOIN fact_order_line USING (order_line_key) WHERE line_type = 'goods'
               AND asked - units_ordered + units_cancelled > 0""",
        False,
    ),
    Check(
        "event_told_twice",
        "These events say the same of the same units as another of their return line within ten seconds: they count"
        " once. A system may send its messages twice.",
        """SELECT event, occurred_at, units FROM (SELECT *, occurred_at
            - lag(occurred_at) OVER (PARTITION BY return_line_key, event, units, amount, place_id
               ORDER BY occurred_at, event_key) AS after FROM fact_return_event) WHERE after <= INTERVAL 10 SECOND
                   AND occurred_at::TIME <> TIME '00:00'""",
        False,
    ),
    Check(
        "refund_before_receipt",
        "Money went back before the goods arrived. Some shops do so on purpose; others pay for empty parcels.",
        "SELECT return_line_id, refunded_at, received_at FROM fact_return_line WHERE refunded_at < received_at",
        False,
    ),
    Check(
        "stages_in_order",
        "These returns have stages in an order that cannot be, such as inspected before received: their waits are left"
        " out. Look at the clocks of carrier and returns centre.",
        f"""SELECT return_line_id, split_part(pair, '-', 2) || ' before ' || split_part(pair, '-', 1) AS stages
            FROM (SELECT return_line_id, unnest(string_split(out_of_order, ' ')) AS pair FROM fact_return_line)
            WHERE pair IN ({_WAITS})""",
        False,
    ),
    Check(
        "refund_discrepancy",
        "The money paid differs from the sum of the refund's lines.",
        "SELECT refund_id, amount, lines_amount, discrepancy_amount FROM fact_refund WHERE abs(discrepancy_amount) >"
        " 0.01",
        False,
    ),
    Check(
        "no_exchange_rate",
        "No exchange rate within seven days: load fx_rate for these days. This money is left out, and the numbers it"
        " belongs to say so.",
        "SELECT * FROM ("
        + " UNION ALL ".join(
            f"SELECT '{what}' AS money_of, currency, {day}::DATE AS day, count(*) AS rows FROM {table} WHERE fx_rate IS"
            f" NULL AND {amount} IS NOT NULL GROUP BY ALL"
            for what, table, day, amount in MONEY
        )
        + ")",
        False,
    ),
    Check(
        "leg_without_factor",
        "No emission factor fits these legs: add one to data/factors. Their carbon is missing, not zero.",
        "SELECT l.mode, l.vehicle, l.role, count(*) AS legs FROM fact_return_leg l JOIN estimate_leg_carbon e USING"
        " (leg_key) WHERE e.kg_co2e IS NULL GROUP BY ALL",
        False,
    ),
    Check(
        "parcel_carbon_plausible",
        "These parcels emitted less than 20 g or more than 10 kg: look at their weights and distances.",
        """SELECT (SELECT min(parcel_id) FROM fact_return_leg WHERE parcel_key = p.parcel_key) AS parcel_id,
            kg_co2e FROM (
             SELECT parcel_key, sum(kg_co2e) AS kg_co2e FROM fact_return_leg
                 JOIN estimate_leg_carbon USING (leg_key) GROUP BY 1
             HAVING (sum(kg_co2e) < 0.02 AND count(*) > 2) OR sum(kg_co2e) > 10) p""",
        False,
    ),
    Check(
        "destroyed_without_reason",
        "Units were destroyed without a derogation reason, or without a reference to what proves it (Regulation (EU)"
        " 2024/1781): fill derogation_reason and evidence_ref of the recovery.",
        "SELECT recovery_id, units, derogation_reason, evidence_ref FROM fact_recovery WHERE disposition = 'destroyed'"
        " AND (derogation_reason IS NULL OR evidence_ref IS NULL)",
        False,
    ),
    Check(
        "features_that_leak",
        "A column of the order lines tells what came back, so it was written after the return: it is not used to expect"
        " returns. Load an export that keeps it as it was when the order was placed.",
        """SELECT unnest(json_extract_string(parameters, '$.leaks[*].feature')) AS feature,
            unnest(json_extract_string(parameters, '$.leaks[*].reason')) AS reason, model_id
        FROM (FROM model_version WHERE model = 'return_probability'
            QUALIFY row_number() OVER (PARTITION BY parameters->>'$.source' ORDER BY fitted_at DESC) = 1)""",
        False,
    ),
)


def run(connection: duckdb.DuckDBPyConnection, *, is_increment: bool = False) -> list[Result]:
    """Run every check on an open build; on an increment, with its touched_ tables at hand."""
    results = []
    for check in CHECKS:
        found = connection.execute(
            f"SELECT count(*) OVER (), c.* FROM ({check.select(is_increment=is_increment)}) c ORDER BY ALL LIMIT 5"
        )
        names = [d[0] for d in found.description or []][1:]
        rows = found.fetchall()
        sample = [{n: _plain(v) for n, v in zip(names, row[1:], strict=True)} for row in rows]
        results.append(Result(check, int(rows[0][0]) if rows else 0, json.dumps(sample)))
    return results


def _plain(value: object) -> object:
    return (
        value.isoformat()
        if isinstance(value, datetime)
        else value
        if isinstance(value, (int, float, str, type(None)))
        else str(value)
    )
