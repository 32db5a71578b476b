"""The bases metrics are summed over: fact tables with their days and dimensions. No metric lives here.

A credited return line without an order line is bound to a purchase by `estimate_credit_match`; it enters order-cohort
numbers through `CREDITS`, with the purchase's own day and dimensions, so that the big tables need no join for it.
"""

import csv
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from sqlalchemy import (
    Date,
    DateTime,
    Integer,
    String,
    and_,
    case,
    cast,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
    union_all,
)
from sqlalchemy.sql.expression import FromClause

from models.rates import DATED_STEPS
from pipelines.estimate.promises import promise_state
from pipelines.factors import parameter
from pipelines.metrics.base import Base, Sql, Sum, Time, both
from pipelines.settings import data_path
from pipelines.warehouse.engine import Expression, calendar_days, double, ratio, seconds_between
from pipelines.warehouse.schema import STAGE_ORDER, STAR

t = STAR.tables
_PRODUCT = (
    "source",
    "shop_id",
    "country",
    "channel",
    "category",
    "brand",
    "style_id",
    "size",
    "colour",
    "supplier",
    "season",
)
_RETURN = (
    "product_id",
    "has_several_sizes",
    "window_days",
    "return_type",
    "note_terms",
    "method",
    "carrier",
    "place_id",
    "condition",
    "inspection_outcome",
    "disposition",
    "outcome",
    "decline_reason",
    "currency",
)


def _named(table: FromClause, *names: str) -> dict[str, Expression]:
    return {n: table.c[n] for n in names}


orders, lots, refunds, refund_lines, legs, recoveries = (
    t[f"fact_{n}"] for n in ("order_line", "return_line", "refund", "refund_line", "return_leg", "recovery")
)
matches, promises, risks = t["estimate_credit_match"], t["estimate_promise"], t["estimate_breach_risk"]
leg_carbon, leg_cost, lot_carbon, lot_cost = (
    t[f"estimate_{n}"] for n in ("leg_carbon", "leg_cost", "return_carbon", "return_cost")
)
lot_avoided = t["estimate_avoided_carbon"]
chances, curves = t["estimate_return_probability"], t["estimate_development_curve"]


def curve_share(clock: Expression, now: Time) -> Expression:
    """Give G at the age of units, in hundredths: 0 without a clock or before it starts, 1 when older than the curve."""
    hundredths = double(func.floor(curves.c.share * double(100) + double(0.5))) / double(100)
    is_early = or_(clock.is_(None), calendar_days(clock, now.at) < 0)
    return case((is_early, double(0)), else_=func.coalesce(hundredths, double(1)))


def curve_day(clock: Expression, ends_on: Expression, window: Expression, until: Expression) -> Expression:
    """Give the day on its curve of units whose clock runs until an instant: `models.rates.development_day` in SQL."""
    age, length = calendar_days(clock, until), calendar_days(clock, ends_on)
    steps = cast(func.floor(double(age - window) * double(DATED_STEPS) / double(length - window)), Integer)
    return case(
        (or_(ends_on.is_(None), age <= window), age),
        (age <= length, window + steps),
        else_=window + DATED_STEPS + age - length,
    )


def on_curve(clock: Expression, cell: Mapping[str, Expression], now: Time) -> Expression:
    """Join the development curve of a cell at the age of its units.

    A cell is source, category, channel, window_days, window_ends_on.
    """
    same = [func.coalesce(curves.c[n], "") == func.coalesce(cell[n], "") for n in ("category", "channel")]
    same.append(func.coalesce(curves.c.window_days, -1) == func.coalesce(cell["window_days"], -1))
    same.append(curves.c.is_dated == cell["window_ends_on"].is_not(None))
    return and_(
        curves.c.source == cell["source"],
        *same,
        curves.c.day == curve_day(clock, cell["window_ends_on"], cell["window_days"], now.at),
    )


def _clock(table: FromClause) -> dict[str, Sql]:
    """Give what a unit's development depends on.

    Day its clock started and the cell of its curve; or the share itself.
    """
    return {
        "clock_on": lambda _: cast(table.c.clock_started_at, Date),
        "cell_source": lambda _: table.c.source,
        "cell_category": lambda _: table.c.category,
        "cell_channel": lambda _: table.c.channel,
        "cell_window": lambda _: table.c.window_days,
        "cell_ends_on": lambda _: table.c.window_ends_on,
        "share": lambda now: curve_share(table.c.clock_started_at, now),
        "family": lambda _: table.c.category,
    }


def _curve(table: FromClause) -> dict[str, tuple[FromClause, Sql]]:
    cell = {n: table.c[n] for n in ("source", "category", "channel", "window_days", "window_ends_on")}
    return {"share": (curves, lambda now: on_curve(table.c.clock_started_at, cell, now))}


_ORDER = (
    *_PRODUCT,
    "product_id",
    "has_several_sizes",
    "window_days",
    "currency",
    "seller",
    "sold_on",
    "fulfilled_by",
    "loyalty_tier",
    "is_gift",
)
ORDERS = Base(
    "orders",
    orders,
    {"order": orders.c.ordered_on},
    _named(orders, *_ORDER),
    orders.c.ordered_at,
    _clock(orders),
    {},
    (
        orders.c.order_line_id,
        orders.c.order_id,
        orders.c.ordered_on,
        orders.c.product_id,
        orders.c.units_sold,
        orders.c.net_amount,
        orders.c.currency,
    ),
    joins=_curve(orders),
    weight=orders.c.units_sold,
    noun="units sold",
    fault=orders.c.date_fault,
    own=orders.c.dimensions,
)


def _waiting(now: Time) -> Expression:
    """Say where a lot that is not finished waits at the observation time."""
    return case(
        (now.happened(lots.c.inspected_at), literal_column("'inspected'")),
        (now.happened(lots.c.received_at), literal_column("'received'")),
        (or_(now.happened(lots.c.handed_over_at), now.happened(lots.c.carrier_scan_at)), literal_column("'under_way'")),
        else_=literal_column("'requested'"),
    )


def return_channel(table: FromClause) -> Expression:
    """Say where the goods are given back: in a store, or as a parcel."""
    return case(
        (table.c.method == literal_column("'store'"), literal_column("'store'")), else_=literal_column("'parcel'")
    )


def lane(table: FromClause) -> Expression:
    """Name market, method and carrier together: the lane that a promise is made for."""
    parts = [func.coalesce(table.c[n], literal_column("'-'")) for n in ("country", "method", "carrier")]
    slash = literal_column("' / '", String)
    return parts[0] + slash + parts[1] + slash + parts[2]


@cache
def _taxonomy(column: str) -> dict[str, str]:
    """Read who can prevent each normalised reason, or its family, from data/reasons.csv."""
    with data_path("reasons.csv").open(encoding="utf-8", newline="") as file:
        return {row["reason"]: row[column] for row in csv.DictReader(file)}


def _reasons(table: FromClause) -> dict[str, Expression]:
    """Give the reason and what it says of: its family, and who can prevent it."""

    def of(column: str) -> Expression:
        found: dict[str, list[str]] = {}
        for reason, said in _taxonomy(column).items():
            found.setdefault(said, []).append(reason)
        whens = [
            (
                table.c.reason.in_([literal(r, literal_execute=True) for r in reasons]),
                literal(said, literal_execute=True),
            )
            for said, reasons in found.items()
        ]
        return case(*whens, else_=literal("unknown", literal_execute=True))

    return {"return_reason": table.c.reason, "reason_family": of("family"), "preventable_by": of("preventable_by")}


first_event = func.coalesce(lots.c.requested_at, lots.c.received_at, lots.c.refunded_at, lots.c.confirmed_at)
LOT_IDS = (
    lots.c.return_line_id,
    lots.c.return_id,
    lots.c.requested_on,
    lots.c.product_id,
    lots.c.units,
    lots.c.reason,
    lots.c.inspection_outcome,
    lots.c.confirmed_on,
)
LOT_COLUMNS = (*_PRODUCT, *_RETURN)
LOT_DIMENSIONS: dict[str, Any] = {
    **_named(lots, *LOT_COLUMNS),
    **_reasons(lots),
    "return_channel": return_channel(lots),
    "lane": lane(lots),
}
LOT_DAYS = {"order": lots.c.ordered_on, "return": lots.c.requested_on, "refund": lots.c.refunded_on}
LOT_DAYS["period"] = lots.c.requested_on  # what came back in a period is laid over what was sold in it: SOLD_THEN
_bound = select(matches.c.return_line_key.label("bound_key")).distinct().subquery("bound")
LOTS = Base(
    "lots",
    lots,
    LOT_DAYS,
    LOT_DIMENSIONS,
    first_event,
    _clock(lots),
    {"stage": _waiting},
    LOT_IDS,
    joins=_curve(lots),
    weight=lots.c.units,
    noun="returned units",
    fault=lots.c.date_fault,
    bound=(_bound, lots.c.return_line_key == _bound.c.bound_key, _bound.c.bound_key),
    own=lots.c.dimensions,
)

credited = lots.alias("credited")
bought = orders.alias("bought")
_CREDITS = matches.join(
    credited, and_(credited.c.return_line_key == matches.c.return_line_key, credited.c.lot_no == 1)
).join(bought, bought.c.order_line_key == matches.c.order_line_key)
CREDITS = Base(
    "credits",
    _CREDITS,
    {
        "order": matches.c.ordered_on,
        "return": credited.c.requested_on,
        "refund": credited.c.refunded_on,
        "period": credited.c.requested_on,
    },
    {
        **_named(credited, *_RETURN),
        **_named(bought, *_ORDER),
        **_reasons(credited),
        "return_channel": return_channel(credited),
    },
    credited.c.confirmed_at,
    _clock(bought),
    {},
    (
        credited.c.return_line_id,
        credited.c.return_id,
        credited.c.requested_on,
        credited.c.product_id,
        matches.c.units,
        credited.c.reason,
        credited.c.inspection_outcome,
        credited.c.confirmed_on,
    ),
    joins=_curve(bought),
    weight=matches.c.units,
    noun="returned units",
    fault=func.coalesce(credited.c.date_fault, bought.c.date_fault),
    own=bought.c.dimensions,
)

SOLD_THEN = replace(ORDERS, name="sold_then", days={"period": orders.c.ordered_on})
CANCELLED_THEN = replace(CREDITS, name="cancelled_then", days={"period": matches.c.ordered_on})

_SCORED = orders.outerjoin(chances, chances.c.order_line_key == orders.c.order_line_key)
SCORED = replace(ORDERS, name="scored", table=_SCORED, alone=orders)

_DOUBT: dict[str, Sql] = {
    "u_factor": lambda _: leg_carbon.c.factor_id,
    "u_role": lambda _: legs.c.role,
    "u_distance": lambda _: leg_carbon.c.distance_status,
    "u_mass": lambda _: leg_carbon.c.mass_status,
    "u_status": lambda _: leg_carbon.c.status,
}
"""What a leg's emissions rest on, for their interval: `pipelines.metrics.doubt`."""
_LEG_DIMENSIONS = {
    **_named(
        legs, "source", "shop_id", "country", "channel", "method", "carrier", "role", "mode", "element_type", "service"
    ),
    **_named(leg_carbon, "activity", "scope3_category", "factor_id"),
    "data_status": leg_carbon.c.status,
}
_LEG_IDS = (
    legs.c.element_id,
    legs.c.parcel_id,
    legs.c.element_no,
    legs.c.role,
    legs.c.mode,
    legs.c.carrier,
    legs.c.started_on,
)
own_km = case(
    (
        and_(leg_carbon.c.method == literal_column("'per_parcel'"), leg_carbon.c.distance_km.is_not(None)),
        leg_carbon.c.distance_km / legs.c.movement_parcels,
    ),
    (
        leg_carbon.c.method == literal_column("'per_vehicle_km'"),
        leg_carbon.c.distance_km * func.coalesce(legs.c.trip_share, parameter("trip_share")),
    ),
    else_=leg_carbon.c.distance_km,
)
"""Kilometres a parcel answers for: its part of a round or of a trip, else all of the leg."""
LEGS = Base(
    "legs",
    legs.join(leg_carbon, leg_carbon.c.leg_key == legs.c.leg_key),
    {"order": legs.c.ordered_on, "return": legs.c.requested_on},
    _LEG_DIMENSIONS,
    legs.c.started_at,
    _DOUBT,
    {},
    (
        *_LEG_IDS,
        leg_carbon.c.distance_km,
        leg_carbon.c.mass_kg,
        leg_carbon.c.factor_id,
        leg_carbon.c.kg_co2e,
        leg_carbon.c.status,
    ),
    alone=leg_carbon,
    noun="transport legs",
)
LOT_CARBON = Base(
    "lot_carbon",
    lots.join(lot_carbon, lot_carbon.c.return_lot_key == lots.c.return_lot_key),
    LOT_DAYS,
    LOT_DIMENSIONS,
    first_event,
    {},
    {},
    (*LOT_IDS, lot_carbon.c.kg_co2e),
    alone=lot_carbon,
    weight=lots.c.units,
    noun="returned units",
    own=lots.c.dimensions,
)
LOT_AVOIDED = Base(
    "lot_avoided",
    lots.join(lot_avoided, lot_avoided.c.return_lot_key == lots.c.return_lot_key),
    LOT_DAYS,
    {**LOT_DIMENSIONS, "data_status": lot_avoided.c.status},
    first_event,
    {},
    {},
    (
        *LOT_IDS,
        lots.c.disposition,
        lot_avoided.c.footprint_id,
        lot_avoided.c.kg_co2e_new,
        lot_avoided.c.kg_co2e_avoided_central,
        lot_avoided.c.status,
    ),
    alone=lot_avoided,
    weight=lots.c.units,
    noun="returned units",
    fault=lots.c.date_fault,
    own=lots.c.dimensions,
)
LOT_COST = Base(
    "lot_cost",
    lots.join(lot_cost, lot_cost.c.return_lot_key == lots.c.return_lot_key),
    LOT_DAYS,
    {**LOT_DIMENSIONS, "component": lot_cost.c.component, "data_status": lot_cost.c.status},
    first_event,
    {},
    {},
    (*LOT_IDS, lot_cost.c.component, lot_cost.c.amount, lot_cost.c.status, lot_cost.c.method.label("how")),
    alone=lot_cost,
    noun="costs of returns",
    fault=lots.c.date_fault,
    own=lots.c.dimensions,
)

REFUNDS = Base(
    "refunds",
    refunds,
    {"refund": refunds.c.refunded_on},
    _named(refunds, "source", "shop_id", "country", "channel", "kind", "currency"),
    refunds.c.refunded_at,
    {},
    {},
    (
        refunds.c.refund_id,
        refunds.c.refunded_on,
        refunds.c.amount,
        refunds.c.currency,
        refunds.c.lines_amount,
        refunds.c.discrepancy_amount,
    ),
    noun="refunds",
)
CREDIT_LINES = Base(
    "credit_lines",
    refund_lines,
    {"refund": refund_lines.c.refunded_on},
    {**_named(refund_lines, *_PRODUCT, "restock_type", "currency"), "kind": cast(literal_column("'credit'"), String)},
    refund_lines.c.refunded_at,
    {},
    {},
    (
        refund_lines.c.refund_line_id,
        refund_lines.c.refunded_on,
        refund_lines.c.amount,
        refund_lines.c.currency,
        refund_lines.c.restock_type,
    ),
    noun="refund lines",
)

invoices = t["fact_carrier_invoice"]
INVOICES = Base(
    "invoices",
    invoices,
    {"return": invoices.c.invoiced_on},
    _named(invoices, "source", "carrier", "kind", "currency"),
    invoices.c.invoiced_at,
    {},
    {},
    (
        invoices.c.invoice_line_id,
        invoices.c.invoice_id,
        invoices.c.invoiced_on,
        invoices.c.carrier,
        invoices.c.parcel_id,
        invoices.c.kind,
        invoices.c.amount,
        invoices.c.currency,
    ),
    noun="invoice lines",
)
_filed = t["fact_carrier_claim"]
claimed = (
    select(
        _filed.c.parcel_key,
        func.min(_filed.c.opened_at).label("filed_at"),
        func.max(_filed.c.decided_at).label("decided_at"),
        func.sum(double(_filed.c.paid_amount) * _filed.c.fx_rate).label("paid"),
        func.sum(double(_filed.c.amount) * _filed.c.fx_rate).label("claimed"),
    )
    .group_by(_filed.c.parcel_key)
    .subquery("claimed")
)
LOST = Base(
    "lost",
    lots.outerjoin(claimed, claimed.c.parcel_key == lots.c.parcel_key),
    LOT_DAYS,
    LOT_DIMENSIONS,
    first_event,
    {},
    {},
    (*LOT_IDS, lots.c.parcel_id, lots.c.lost_at, lots.c.cost_amount),
    weight=lots.c.units,
    noun="lost units",
    fault=lots.c.date_fault,
    own=lots.c.dimensions,
)
_RECOVERY_DAYS = {"order": recoveries.c.ordered_on, "return": recoveries.c.requested_on}
RECOVERIES = Base(
    "recoveries",
    recoveries,
    _RECOVERY_DAYS,
    _named(recoveries, *_PRODUCT, "disposition", "outcome", "grade", "currency"),
    recoveries.c.recovered_at,
    {},
    {},
    (
        recoveries.c.recovery_id,
        recoveries.c.recovered_on,
        recoveries.c.units,
        recoveries.c.disposition,
        recoveries.c.amount,
        recoveries.c.cost_amount,
        recoveries.c.currency,
        recoveries.c.derogation_reason,
        recoveries.c.evidence_ref,
    ),
    weight=recoveries.c.units,
    noun="recovered units",
)

_PROMISE = (
    "source",
    "shop_id",
    "country",
    "channel",
    "category",
    "brand",
    "method",
    "carrier",
    "place_id",
    "promise_id",
    "responsible",
)


def _promise_cause(now: Time) -> Expression:
    c = promises.c
    return case((now.happened(c.ended_at), 0), (now.happened(c.stopped_at), 1), (now.happened(c.lost_at), 2), else_=3)


def _promise_end(now: Time) -> Expression:
    c = promises.c
    return case(
        (now.happened(c.ended_at), c.ended_at),
        (now.happened(c.stopped_at), c.stopped_at),
        (now.happened(c.lost_at), c.lost_at),
        else_=now.at,
    )


def whole_hours(start: Expression, end: Expression) -> Expression:
    """Round a wait to whole hours, never negative."""
    return double(func.floor(func.greatest(seconds_between(start, end), double(0)) / double(3600) + double(0.5)))


closing_day = t["dim_day"].alias("closing_day")


def _closing_on(now: Time) -> Expression:
    """Give the day a promise's wait ended, in the shop's zone; T's day while it is open."""
    c = promises.c
    closed = func.coalesce(c.ended_at, c.stopped_at, c.lost_at)
    return case((now.happened(closed), c.closed_on), else_=cast(now.at, Date))


def took(now: Time) -> Expression:
    """Give how long a promise's wait was in its own unit: the shortest promise it would have kept."""
    c = promises.c
    hours = func.ceil(func.greatest(seconds_between(c.started_at, _promise_end(now)), double(0)) / double(3600))
    worked = closing_day.c.business_day_no - c.started_no + case((closing_day.c.is_business_day, 0), else_=1)
    days = calendar_days(c.started_on, _closing_on(now))
    return func.greatest(
        case(
            (c.duration_unit == literal_column("'clock_hours'"), double(hours)),
            (
                c.duration_unit.in_([literal_column("'business_days'"), literal_column("'carrier_days'")]),
                double(worked),
            ),
            else_=double(days),
        ),
        double(0),
    )


def _on_closing_day(now: Time) -> Expression:
    c, d = promises.c, closing_day.c
    return and_(
        d.country == func.coalesce(c.country, literal_column("''")),
        d.carrier == c.calendar_carrier,
        d.day == _closing_on(now),
    )


_PROMISE_WAIT: dict[str, Sql] = {
    "cause": _promise_cause,
    "hours": lambda now: whole_hours(promises.c.started_at, _promise_end(now)),
}
PROMISES = Base(
    "promises",
    promises,
    {"return": promises.c.requested_on},
    {**_named(promises, *_PROMISE), "return_channel": return_channel(promises), "lane": lane(promises)},
    promises.c.requested_at,
    {
        **_PROMISE_WAIT,
        "took": took,
        "unit_of": lambda _: promises.c.duration_unit,
        "state": lambda now: promise_state(promises.c, now.at),
        "is_from_return": lambda _: cast(
            case(
                (
                    and_(promises.c.promise_id == literal_column("'legal_refund'"), promises.c.is_requested.is_(False)),
                    1,
                ),
                else_=0,
            ),
            Integer,
        ),
    },
    {"state": lambda now: promise_state(promises.c, now.at)},
    (
        promises.c.return_id,
        promises.c.promise_id,
        promises.c.requested_on,
        promises.c.started_at,
        promises.c.due_at,
        promises.c.ended_at,
        promises.c.stopped_by,
        promises.c.units,
    ),
    joins={"took": (closing_day, _on_closing_day)},
    noun="promises",
    fault=promises.c.date_fault,
    fault_kind="undated",
)
_RISKS = promises.join(
    risks, and_(risks.c.return_key == promises.c.return_key, risks.c.promise_id == promises.c.promise_id)
)
RISKS = Base(
    "risks",
    _RISKS,
    PROMISES.days,
    {**PROMISES.dimensions, "stage": risks.c.stage},
    promises.c.requested_at,
    {},
    {},
    (*PROMISES.ids, risks.c.probability),
    noun="promises",
    fault=promises.c.date_fault,
    fault_kind="undated",
)


# -- conditions and amounts --------------------------------------------------------------------------------------------


def money(table: FromClause, name: str) -> Sql:
    """Give an amount in the reporting currency, at the rate of its own day; missing where no rate is."""
    return lambda _: double(table.c[name]) * table.c.fx_rate


def units(table: FromClause = lots) -> Sql:
    """Count units."""
    return lambda _: table.c.units


def is_confirmed(table: FromClause = lots) -> Sql:
    """Say whether units came back: confirmed by the observation time.

    A return cancelled or lost after `as_of` was still under way then, so its stages speak.
    """

    def condition(now: Time) -> Expression:
        confirmed = now.happened(table.c.confirmed_at)
        if now.as_of is None:
            return confirmed
        stopped = func.coalesce(table.c.cancelled_at, table.c.rejected_at, table.c.expired_at, table.c.lost_at)
        came = [now.happened(table.c[c]) for c in ("carrier_scan_at", "received_at", "inspected_at", "refunded_at")]
        return or_(confirmed, and_(stopped.is_not(None), now.open(stopped), or_(*came)))

    return condition


def is_headline(table: FromClause = lots) -> Sql:
    """Say whether the return counts in headline rates."""
    return lambda _: table.c.is_headline


def of_type(*types: str, table: FromClause = lots) -> Sql:
    """Say whether the return is of one of these natures."""
    return lambda _: table.c.return_type.in_([literal_column(f"'{x}'") for x in types])


def is_bound(_: Time) -> Expression:
    """Say whether a credit was matched to a purchase as a return, not an order-entry cancellation."""
    return matches.c.is_cancellation.is_(False)


def is_cancellation(_: Time) -> Expression:
    """Say whether a credit undid an order entry within the hour."""
    return matches.c.is_cancellation


def _share_of_credit(column: Expression) -> Expression:
    return ratio(column, credited.c.units) * double(matches.c.units)


def returned(amount: str = "units", *conditions: Sql, headline: bool = True, basis: str = "order") -> tuple[Sum, ...]:
    """Sum over confirmed returns: `units`, or an amount of the lot in the reporting currency.

    On the order basis bound credits count on their purchase's day; on the return basis cancelled order entries do not
    count.
    """
    own = [is_confirmed(), *([is_headline()] if headline else []), *conditions]
    through = [is_confirmed(credited), *([is_headline(credited)] if headline else [])]
    of_lot = units() if amount == "units" else money(lots, amount)
    of_credit: Sql = (
        (lambda _: matches.c.units)
        if amount == "units"
        else (lambda _: _share_of_credit(credited.c[amount]) * credited.c.fx_rate)
    )
    if basis == "order":
        return (Sum(LOTS, of_lot, both(*own), of_orders=True), Sum(CREDITS, of_credit, both(*through, is_bound)))
    return (Sum(LOTS, of_lot, both(*own)), Sum(CREDITS, lambda now: -of_credit(now), both(*through, is_cancellation)))


def sold(amount: str = "units_sold", *conditions: Sql, base: Base = ORDERS) -> tuple[Sum, ...]:
    """Sum over sold goods, exchanges and cancelled order entries left out; `base` is one that knows all of them."""
    cancelled: Sql
    if amount == "units_sold":
        whole: Sql = lambda _: orders.c.units_sold  # noqa: E731
        cancelled = lambda _: -matches.c.units  # noqa: E731
        return (Sum(base, whole, both(*conditions) if conditions else None), Sum(CREDITS, cancelled, is_cancellation))
    goods: Sql = lambda _: orders.c.units_sold != 0  # noqa: E731
    cancelled = lambda _: -ratio(bought.c[amount], bought.c.units_sold) * double(matches.c.units) * bought.c.fx_rate  # noqa: E731
    return (Sum(base, money(orders, amount), both(goods, *conditions)), Sum(CREDITS, cancelled, is_cancellation))


# -- stages ------------------------------------------------------------------------------------------------------------

STAGE_PAIRS = {
    "requested-approved": ("requested_at", "approved_at"),
    "requested-handed_over": ("requested_at", "handed_over_at"),
    "handed_over-carrier_scan": ("handed_over_at", "carrier_scan_at"),
    "carrier_scan-received": ("carrier_scan_at", "received_at"),
    "received-inspected": ("received_at", "inspected_at"),
    "inspected-refunded": ("inspected_at", "refunded_at"),
    "inspected-restocked": ("inspected_at", "restocked_at"),
}


PAID_EARLY = -2  # cause of a wait for money that was paid before the wait began
_ASKED = STAR.tables["build_coverage"]
_ASKING = (
    select(_ASKED.c.source)
    .where(_ASKED.c.fact == "stage_requested", _ASKED.c.share >= double(0.01))
    .distinct()
    .subquery("asking")
)
"""Sources that tell of requests; where one never does, the return stands for the request.

Joined: not every engine looks into a list.
"""


def is_reversed(first: str, second: str) -> Expression:
    """Say of a lot that its second stage came before its first."""
    return func.coalesce(lots.c.out_of_order, "").like(f"%{first}-{second}%")


def stage_base(name: str, pairs: dict[str, tuple[str, str]]) -> Base:
    """Give one row a lot and pair of stages: hours waited and how the wait ended, as a life table counts them.

    Hours are rounded to whole ones; a wait still open at T counts at its age. A pair whose first stage never happened
    gives no row; nor does a lot whose end is not applicable (a refund without receipt ends a wait for receipt: see
    `passed`). Waits from the request of a source that tells of none begin with the return. A wait that ended before it
    began is lost, but for money: goods may be paid before they come, and then nobody waits (`PAID_EARLY`).
    """
    arms = []
    for stage, (start, end) in pairs.items():
        names = ["requested_on", "ordered_on", "requested_at", "reason", *LOT_COLUMNS]
        stopped = func.least(lots.c.cancelled_at, lots.c.rejected_at, lots.c.expired_at)
        began: Expression = lots.c[start]
        rows: FromClause = lots
        is_from_return: Expression = literal_column("0", Integer)
        reversed_ = is_reversed(start.removesuffix("_at"), end.removesuffix("_at"))
        if start == "requested_at" and end in ("refunded_at", "restocked_at"):
            sent = func.coalesce(lots.c.handed_over_at, lots.c.carrier_scan_at, lots.c.received_at)
            rows = lots.outerjoin(_ASKING, _ASKING.c.source == lots.c.source)
            began = func.coalesce(lots.c.requested_at, case((_ASKING.c.source.is_(None), sent)))
            is_from_return = case((lots.c.requested_at.is_(None), 1), else_=0)
            reversed_ = or_(reversed_, and_(lots.c.requested_at.is_(None), lots.c[end] < sent))
        is_paid_early = and_(
            reversed_, literal_column("TRUE" if end == "refunded_at" and start != "requested_at" else "FALSE")
        )
        if end == "refunded_at" and start == "requested_at":
            is_paid_early = and_(reversed_, lots.c.requested_at.is_(None))
        fault = case(
            (lots.c.date_fault.is_not(None), lots.c.date_fault),
            (and_(reversed_, ~is_paid_early), literal_column("'ended before it began'", String)),
        )
        arms.append(
            select(
                *(lots.c[n] for n in dict.fromkeys(names)),
                lots.c.return_line_id,
                lots.c.return_id,
                lots.c.units,
                literal_column(f"'{stage}'").label("stage"),
                began.label("begun_at"),
                lots.c[end].label("done_at"),
                stopped.label("stopped_at"),
                lots.c.lost_at,
                passed(end).label("passed_at"),
                fault.label("date_fault"),
                case((is_paid_early, 1), else_=0).label("is_paid_early"),
                is_from_return.label("is_from_return"),
            )
            .select_from(rows)
            .where(began.is_not(None))
        )
    chosen: Any = union_all(*arms) if len(arms) > 1 else arms[0]
    table = chosen.subquery(name)
    c = table.c

    def ended(now: Time) -> tuple[Expression, Expression]:
        done, early = now.happened(c.done_at), and_(now.happened(c.done_at), c.is_paid_early == 1)
        cause = case(
            (early, PAID_EARLY),
            (done, 0),
            (now.happened(c.stopped_at), 1),
            (now.happened(c.lost_at), 2),
            (now.happened(c.passed_at), -1),
            else_=3,
        )
        return cast(cause, Integer), case(
            (early, c.begun_at),
            (done, c.done_at),
            (now.happened(c.stopped_at), c.stopped_at),
            (now.happened(c.lost_at), c.lost_at),
            else_=now.at,
        )

    dimensions = {
        **_named(table, *LOT_COLUMNS),
        **_reasons(table),
        "stage": c.stage,
        "return_channel": return_channel(table),
        "lane": lane(table),
    }
    details: dict[str, Sql] = {
        "cause": lambda now: ended(now)[0],
        "hours": lambda now: whole_hours(c.begun_at, ended(now)[1]),
        "is_from_return": lambda _: cast(c.is_from_return, Integer),
    }
    ids = (c.return_line_id, c.return_id, c.stage, c.begun_at, c.done_at, c.units)
    days = {"return": c.requested_on, "order": c.ordered_on}
    return Base(
        name,
        table,
        days,
        dimensions,
        c.begun_at,
        details,
        {},
        ids,
        weight=c.units,
        noun="waits",
        fault=c.date_fault,
        fault_kind="reversed",
    )


def passed(end: str) -> Expression:
    """Give when a lot went past a stage it never recorded: a later stage happened, so the wait is not open."""
    order = (
        "requested_at",
        "approved_at",
        "handed_over_at",
        "carrier_scan_at",
        "received_at",
        "inspected_at",
        "refunded_at",
    )
    later = {"restocked_at": ("disposed_at",), "refunded_at": ("exchanged_at",)}.get(end) or order[
        order.index(end) + 1 :
    ]
    if not later:
        return cast(null(), DateTime)
    return lots.c[later[0]] if len(later) == 1 else func.coalesce(*(lots.c[n] for n in later))


# -- where the time goes -----------------------------------------------------------------------------------------------

SEGMENTS = {
    "requested-approved": ("asked", "answered", "retailer"),
    "approved-handed_over": ("answered", "sent", "customer"),
    "handed_over-carrier_scan": ("sent", "scanned", "carrier"),
    "carrier_scan-received": ("scanned", "came", "carrier"),
    "received-inspected": ("came", "looked", "retailer"),
    "inspected-refunded": ("looked", "paid", "retailer"),
}
"""The way from request to refund in pieces that follow each other: from, to, and whose time it is."""
_FUNNEL = (
    "requested_at",
    "approved_at",
    "handed_over_at",
    "carrier_scan_at",
    "received_at",
    "inspected_at",
    "refunded_at",
    "restocked_at",
    "cancelled_at",
    "rejected_at",
    "expired_at",
    "lost_at",
)


def _filled() -> dict[str, Expression]:
    """Give when each stage was reached at the latest.

    One nobody recorded, when the next was; an answer nobody recorded, at once.
    """
    c = lots.c
    paid = func.least(c.refunded_at, c.exchanged_at)
    looked = func.coalesce(c.inspected_at, c.restocked_at, c.disposed_at)
    came = func.coalesce(c.received_at, looked)
    scanned = func.coalesce(c.carrier_scan_at, came)
    sent = func.coalesce(c.handed_over_at, scanned)
    answered = func.coalesce(
        c.approved_at, c.rejected_at, case((func.coalesce(sent, paid).is_not(None), c.requested_at))
    )
    return {
        "asked": c.requested_at,
        "answered": answered,
        "sent": sent,
        "scanned": scanned,
        "came": came,
        "looked": looked,
        "paid": paid,
    }


def segment_base() -> Base:
    """Give one row a lot and piece of its way from request to refund, with the days spent in it up to T.

    Pieces follow each other, so that they add up to the whole; a piece that is still open counts up to T, one that was
    stopped up to its stop. What the refund overtook (money given before the goods came) is left out after the refund.
    Lots whose goods went through stages out of order are lost.
    """
    filled = _filled()
    names = ["requested_on", "ordered_on", "requested_at", "reason", *LOT_COLUMNS]
    moved = ("handed_over", "carrier_scan", "received", "inspected")
    crossed = or_(*(is_reversed(a, b) for a, b in STAGE_ORDER if a in moved and b in moved))
    fault = case(
        (lots.c.date_fault.is_not(None), lots.c.date_fault), (crossed, literal_column("'stages out of order'", String))
    )
    arms = [
        select(
            *(lots.c[n] for n in dict.fromkeys(names)),
            lots.c.return_line_id,
            lots.c.return_id,
            lots.c.units,
            literal_column(f"'{piece}'").label("stage"),
            literal_column(f"'{whose}'").label("responsible"),
            filled[start].label("begun_at"),
            filled[end].label("done_at"),
            filled["paid"].label("paid_at"),
            func.least(lots.c.cancelled_at, lots.c.rejected_at, lots.c.expired_at, lots.c.lost_at).label("stopped_at"),
            fault.label("date_fault"),
        ).where(filled["asked"].is_not(None), filled[start].is_not(None))
        for piece, (start, end, whose) in SEGMENTS.items()
    ]
    table = union_all(*arms).subquery("segment")
    c = table.c

    def until(now: Time) -> Expression:
        ends = [case((now.happened(c[n]), c[n]), else_=now.at) for n in ("done_at", "paid_at", "stopped_at")]
        return func.least(*ends, now.at)

    def days(now: Time) -> Expression:
        return double(func.greatest(seconds_between(c.begun_at, until(now)), double(0))) / double(86400)

    dimensions = {
        **_named(table, *LOT_COLUMNS),
        **_reasons(table),
        "stage": c.stage,
        "responsible": c.responsible,
        "return_channel": return_channel(table),
        "lane": lane(table),
    }
    ids = (c.return_line_id, c.return_id, c.stage, c.begun_at, c.done_at, c.units)
    return Base(
        "segments",
        table,
        {"return": c.requested_on, "order": c.ordered_on},
        dimensions,
        c.begun_at,
        {"days": days},
        {},
        ids,
        weight=c.units,
        noun="waits",
        fault=c.date_fault,
        fault_kind="reversed",
    )


def funnel_base() -> Base:
    """Give one row a lot and stage it reached, also cancelled, declined, expired and lost."""
    names = ["requested_on", "ordered_on", "requested_at", "reason", "date_fault", *LOT_COLUMNS]
    arms = [
        select(
            *(lots.c[n] for n in dict.fromkeys(names)),
            lots.c.return_line_id,
            lots.c.return_id,
            lots.c.units,
            literal_column(f"'{stage.removesuffix('_at')}'").label("stage"),
            lots.c[stage].label("reached_at"),
        ).where(lots.c.requested_at.is_not(None), lots.c[stage].is_not(None))
        for stage in _FUNNEL
    ]
    table = union_all(*arms).subquery("reached")
    c = table.c
    dimensions = {
        **_named(table, *LOT_COLUMNS),
        **_reasons(table),
        "stage": c.stage,
        "return_channel": return_channel(table),
        "lane": lane(table),
    }
    ids = (c.return_line_id, c.return_id, c.stage, c.reached_at, c.units)
    return Base(
        "reached",
        table,
        {"return": c.requested_on, "order": c.ordered_on},
        dimensions,
        c.reached_at,
        {},
        {},
        ids,
        weight=c.units,
        noun="returned units",
        fault=c.date_fault,
    )
