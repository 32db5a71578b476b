"""Sums by the age of a sale and by the days a return took, and the join of units to their development curve."""

from dataclasses import replace
from typing import Any

from sqlalchemy import Select, func, select

from pipelines.metrics.declare import BoundQuestion, FactTable, Sum, both, measure
from pipelines.metrics.facts import CREDITS, LOTS, ORDERS, bought, credited, lots, matches, orders
from pipelines.metrics.facts.conditions import is_bound, is_confirmed, is_headline, units
from pipelines.warehouse.engine import Expression, calendar_days
from pipelines.warehouse.rules import Sql, Time, curve_doubt, curve_share, curves, on_curve


def develop(chosen: Select[Any], ask: BoundQuestion, columns: list[str], family: bool = False) -> Select[Any]:
    """Join the development curve to units grouped by the day their clock started.

    Columns: groups, `share` and `doubt` (see curve_share, curve_doubt), sums.
    """
    cohort = chosen.subquery("cohort")
    now = Time(cohort.c.cell_source, ask.as_of, ask.observed)
    names = {
        "source": "source",
        "category": "category",
        "channel": "channel",
        "window_days": "window",
        "window_ends_on": "ends_on",
    }
    cell = {n: cohort.c[f"cell_{c}"] for n, c in names.items()}
    groups = [cohort.c[b] for b in ask.by] + ([cohort.c.cell_category.label("family")] if family else [])
    aged = (
        select(
            *groups,
            curve_share(cohort.c.clock_on, now).label("share"),
            curve_doubt().label("doubt"),
            *(cohort.c[c] for c in columns),
        )
        .select_from(cohort)
        .outerjoin(curves, on_curve(cohort.c.clock_on, cell, now))
        .subquery("aged")
    )
    keys = [aged.c[g.name] for g in groups] + [aged.c.share, aged.c.doubt]
    return select(*keys, *(func.sum(aged.c[c]).label(c) for c in columns)).group_by(*keys)


def develop_families(chosen: Select[Any], ask: BoundQuestion, columns: list[str]) -> Select[Any]:
    """Develop, and keep the category of the units apart as `family`."""
    return develop(chosen, ask, columns, family=True)


def _age(table: Any) -> Sql:
    return lambda now: calendar_days(table.c.clock_started_at, now.at)


def _delay(table: Any) -> Sql:
    return lambda _: calendar_days(table.c.clock_started_at, table.c.confirmed_at)


ORDERS_BY_AGE = replace(ORDERS, name="orders_by_age", details={"clock_day": _age(orders)})
LOTS_BY_AGE = replace(LOTS, name="lots_by_age", details={"clock_day": _age(lots)})
LOTS_BY_DELAY = replace(LOTS, name="lots_by_delay", details={"clock_day": _delay(lots)})
CREDITS_BY_AGE = replace(CREDITS, name="credits_by_age", details={"clock_day": _age(bought)})
CREDITS_BY_DELAY = replace(
    CREDITS,
    name="credits_by_delay",
    details={"clock_day": lambda _: calendar_days(bought.c.clock_started_at, credited.c.confirmed_at)},
)


def within(base: FactTable, ask: BoundQuestion, now: Time) -> Expression:
    """Keep what came back within the days asked for."""
    return base.details["clock_day"](now).between(0, int(ask.parameter or 30))


counted = both(is_confirmed(), is_headline())
counted_credit = both(is_confirmed(credited), is_headline(credited))
KEPT_BY_AGE = measure(
    "sold",
    [
        Sum(ORDERS_BY_AGE, lambda _: orders.c.units_sold),
        Sum(LOTS_BY_AGE, lambda _: -lots.c.units, counted, of_orders=True),
        Sum(CREDITS_BY_AGE, lambda _: -matches.c.units, counted_credit),
    ],
)
RETURNED_BY_DELAY = measure(
    "returned",
    [
        Sum(LOTS_BY_DELAY, units(), counted, of_orders=True),
        Sum(CREDITS_BY_DELAY, lambda _: matches.c.units, both(counted_credit, is_bound)),
    ],
)
