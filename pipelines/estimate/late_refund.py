"""What the law adds to refunds that come late: the periods of its scale, dated for each return.

Here: which scale of data/late_refund.csv binds which refund, its days in the shop's zone, the legal rates of
data/legal_rates.csv. Not here: the arithmetic of a scale (models/late_refund.py), sums of money (metrics). The one
idea: periods are stored and what is owed follows from the time of observation, as for promises.

The law runs from the legal refund date (`legal_refund` of estimate_promise). The scale is that of the day of the
request. A rate of interest holds for its half-year; for days after the last known one that rate stands, and is marked.
Of data/late_refund.csv only rules for withdrawals find returns: no log says that a contract ended because nothing was
delivered, so `backhaul owed --rule` works those out for a refund somebody names.
"""

import csv
from collections.abc import Mapping
from datetime import date, timedelta
from functools import cache
from typing import Any

import duckdb

from models.late_refund import Period, Rate, Step, periods
from pipelines.settings import data_path
from pipelines.warehouse.rules import OBSERVED_SQL
from pipelines.warehouse.sql import rows_sql

WITHDRAWAL = "withdrawal"
_TYPES = {
    "rule": "VARCHAR",
    "due_on": "DATE",
    "period_no": "INTEGER",
    "starts_on": "DATE",
    "ends_on": "DATE",
    "share": "DOUBLE",
    "yearly_rate": "DOUBLE",
    "is_assumed": "BOOLEAN",
}


@cache
def _rows(name: str) -> tuple[Mapping[str, str], ...]:
    with data_path(name).open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


def rates_of(country: str) -> list[Rate]:
    """Give the legal rates of interest of a country, and the last of them for the time after it, marked as assumed."""
    rows = sorted((r for r in _rows("legal_rates.csv") if r["country"] == country), key=lambda r: r["valid_from"])
    found = [Rate(date.fromisoformat(r["valid_from"]), float(r["rate"])) for r in rows]
    if not rows:
        return found
    before = Rate(date.min, found[0].rate, is_assumed=True)
    return [before, *found, Rate(date.fromisoformat(rows[-1]["valid_to"]) + timedelta(1), found[-1].rate, True)]


def rules() -> list[str]:
    """Name the rules of data/late_refund.csv."""
    return sorted({r["rule"] for r in _rows("late_refund.csv")})


def scale_of(rule: str, on: date) -> tuple[str, list[Step]]:
    """Give the country and the steps of a rule as it stood on a day; no step where it did not stand."""
    rows = [r for r in _rows("late_refund.csv") if r["rule"] == rule]
    held = [
        r for r in rows if r["valid_from"] <= on.isoformat() and (not r["valid_to"] or on.isoformat() < r["valid_to"])
    ]
    steps = [
        Step(int(r["after_days"]), r["kind"], float(r["share"] or 0), float(r["up_to"] or 1))
        for r in sorted(held, key=lambda r: int(r["after_days"]))
    ]
    return rows[0]["country"] if rows else "", steps


def _bound() -> list[list[str | None]]:
    """List the rules that bind withdrawals: rule, country, first day and the day after the last."""
    found = {
        (r["rule"], r["country"], r["valid_from"], r["valid_to"] or None)
        for r in _rows("late_refund.csv")
        if r["applies_to"] == WITHDRAWAL
    }
    return [list(row) for row in sorted(found, key=str)]


def late_refunds(connection: duckdb.DuckDBPyConnection) -> None:
    """Fill estimate_late_refund anew, and record in build_coverage which sources have such refunds."""
    connection.execute("DELETE FROM estimate_late_refund; DELETE FROM build_coverage WHERE fact = 'late_law'")
    types = {"rule": "VARCHAR", "country": "VARCHAR", "valid_from": "DATE", "valid_to": "DATE"}
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE bound_refund AS
        SELECT p.return_key, p.return_id, l.rule, p.country, p.due_at, p.date_fault, p.source,
            coalesce(z.time_zone, 'UTC') AS zone,
            p.ended_at AS closed_at, t.observed_until, p.requested_on
        FROM estimate_promise p
        JOIN ({rows_sql(types, _bound())}) l ON l.country = p.country AND p.requested_on >= l.valid_from
            AND (l.valid_to IS NULL OR p.requested_on < l.valid_to)
        JOIN ({OBSERVED_SQL}) t ON t.source = p.source
        LEFT JOIN (SELECT shop_id, max(time_zone) AS time_zone FROM dim_shop GROUP BY 1) z ON z.shop_id = p.shop_id
        WHERE p.promise_id = 'legal_refund';
        INSERT INTO build_coverage BY NAME
        SELECT source, 'late_law' AS fact, 1.0 AS share, count(*) AS rows FROM bound_refund GROUP BY source;
        CREATE OR REPLACE TEMP TABLE due_refund AS
        SELECT b.*, d.due_on FROM bound_refund b JOIN (
            SELECT zone, due_at, timezone(zone, timezone('UTC', due_at))::DATE AS due_on
            FROM (SELECT DISTINCT zone, due_at FROM bound_refund WHERE due_at IS NOT NULL)) d
            ON d.zone = b.zone AND d.due_at = b.due_at
        WHERE b.date_fault IS NULL AND (b.closed_at IS NULL OR b.closed_at > b.due_at)
    """)
    _periods(connection)
    connection.execute("""
        INSERT INTO estimate_late_refund BY NAME
        WITH midnight AS (
            SELECT zone, day, timezone('UTC', timezone(zone, day::TIMESTAMP)) AS at FROM (
                SELECT DISTINCT d.zone, p.starts_on AS day FROM due_refund d JOIN period p USING (rule, due_on)
                UNION SELECT DISTINCT d.zone, p.ends_on FROM due_refund d JOIN period p USING (rule, due_on)))
        SELECT d.return_key, d.return_id, d.rule, d.country, d.due_at, d.due_on, d.source, p.period_no, p.starts_on,
            p.share, p.yearly_rate, p.is_assumed, s.at AS starts_at, e.at AS ends_at
        FROM due_refund d JOIN period p USING (rule, due_on)
        JOIN midnight s ON s.zone = d.zone AND s.day = p.starts_on
        LEFT JOIN midnight e ON e.zone = d.zone AND e.day = p.ends_on
        WHERE d.closed_at IS NULL OR s.at <= d.closed_at
        UNION ALL BY NAME
        SELECT return_key, return_id, rule, country, source, date_fault FROM bound_refund WHERE date_fault IS NOT NULL;
        DROP TABLE bound_refund; DROP TABLE due_refund; DROP TABLE period
    """)


def _periods(connection: duckdb.DuckDBPyConnection) -> None:
    """Store period: the scale of each rule from each last day, up to the time of observation and one period more."""
    asked = connection.execute(
        "SELECT rule, country, due_on, max(requested_on), max(observed_until)::DATE FROM due_refund GROUP BY ALL"
    ).fetchall()
    found: list[list[Any]] = []
    for rule, country, due_on, requested_on, until in asked:
        laid = periods(due_on, until, scale_of(rule, requested_on)[1], rates_of(country))
        found += [[rule, due_on.isoformat(), i, *_plain(period)] for i, period in enumerate(laid, 1)]
    connection.execute(f"CREATE OR REPLACE TEMP TABLE period AS {rows_sql(_TYPES, found)}")


def _plain(p: Period) -> list[Any]:
    ends_on = None if p.ends_on is None else p.ends_on.isoformat()
    return [p.starts_on.isoformat(), ends_on, p.share, p.yearly_rate, p.is_assumed]
