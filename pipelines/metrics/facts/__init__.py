"""The bases metrics are summed over: fact tables with their days and dimensions. No metric lives here.

A credited return line without an order line is bound to a purchase by `estimate_credit_match`; it enters order-cohort
numbers through `CREDITS`, with the purchase's own day and dimensions, so that the big tables need no join for it.
"""

import csv
from dataclasses import replace
from functools import cache
from typing import Any

from sqlalchemy import Date, String, and_, case, cast, func, literal, literal_column, or_, select
from sqlalchemy.sql.expression import FromClause

from pipelines.metrics.declare import FactTable
from pipelines.settings import data_path
from pipelines.warehouse.engine import Expression, double
from pipelines.warehouse.rules import Sql, Time, curve_doubt, curve_share, curves, on_curve
from pipelines.warehouse.star import STAR

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


def named(table: FromClause, *names: str) -> dict[str, Expression]:
    """Give columns of a table by their names."""
    return {n: table.c[n] for n in names}


orders, lots, refunds, refund_lines, legs, recoveries = (
    t[f"fact_{n}"] for n in ("order_line", "return_line", "refund", "refund_line", "return_leg", "recovery")
)
matches, promises, risks = t["estimate_credit_match"], t["estimate_promise"], t["estimate_breach_risk"]
leg_carbon, leg_cost, lot_carbon, lot_cost = (
    t[f"estimate_{n}"] for n in ("leg_carbon", "leg_cost", "return_carbon", "return_cost")
)
lot_avoided = t["estimate_avoided_carbon"]
chances = t["estimate_return_probability"]


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
        "doubt": lambda _: curve_doubt(),  # beside share, whose curve it is
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
ORDERS = FactTable(
    "orders",
    orders,
    {"order": orders.c.ordered_on},
    named(orders, *_ORDER),
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


def reasons_of(table: FromClause) -> dict[str, Expression]:
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
    **named(lots, *LOT_COLUMNS),
    **reasons_of(lots),
    "return_channel": return_channel(lots),
    "lane": lane(lots),
}
LOT_DAYS = {"order": lots.c.ordered_on, "return": lots.c.requested_on, "refund": lots.c.refunded_on}
LOT_DAYS["period"] = lots.c.requested_on  # what came back in a period is laid over what was sold in it: SOLD_THEN
_bound = select(matches.c.return_line_key.label("bound_key")).distinct().subquery("bound")
LOTS = FactTable(
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
CREDITS = FactTable(
    "credits",
    _CREDITS,
    {
        "order": matches.c.ordered_on,
        "return": credited.c.requested_on,
        "refund": credited.c.refunded_on,
        "period": credited.c.requested_on,
    },
    {
        **named(credited, *_RETURN),
        **named(bought, *_ORDER),
        **reasons_of(credited),
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

lane_of = t["dim_lane"]
_LANE: dict[str, tuple[FromClause, Sql]] = {"u_distance": (lane_of, lambda _: lane_of.c.lane_key == legs.c.lane_key)}
_DOUBT: dict[str, Sql] = {
    "u_factor": lambda _: leg_carbon.c.factor_id,
    "u_role": lambda _: legs.c.role,
    "u_distance": lambda _: case(
        (
            leg_carbon.c.distance_status == literal_column("'imputed'"),
            func.coalesce(leg_carbon.c.distance_type, leg_carbon.c.distance_status),
        ),
        (
            and_(
                leg_carbon.c.distance_status == literal_column("'assumed'"),
                lane_of.c.method == literal_column("'same area'"),
            ),
            literal_column("'same_area'", String),
        ),
        else_=leg_carbon.c.distance_status,
    ),
    "u_mass": lambda _: leg_carbon.c.mass_status,
    "u_share": lambda _: case(
        (
            and_(legs.c.role == literal_column("'customer_trip'"), legs.c.trip_share.is_(None)),
            literal_column("'assumed'", String),
        )
    ),
}
"""What a leg's emissions rest on, for their interval: `pipelines.metrics.finish.doubt`."""
_LEG_DIMENSIONS = {
    **named(
        legs,
        "source",
        "shop_id",
        "country",
        "channel",
        "method",
        "carrier",
        "parcel_id",
        "role",
        "mode",
        "element_type",
        "service",
    ),
    **named(leg_carbon, "activity", "scope3_category", "factor_id"),
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
        func.coalesce(leg_carbon.c.amount, leg_carbon.c.distance_km),
    ),
    else_=leg_carbon.c.distance_km,
)
"""Kilometres a parcel answers for: its part of a round or of a trip, else all of the leg."""
LEGS = FactTable(
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
    joins=_LANE,
    noun="transport legs",
)
LOT_CARBON = FactTable(
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
LOT_LEGS = replace(
    LOT_CARBON,
    name="lot_legs",
    table=lots.join(lot_carbon, lot_carbon.c.return_lot_key == lots.c.return_lot_key)
    .join(legs, legs.c.parcel_key == lots.c.parcel_key)
    .join(leg_carbon, leg_carbon.c.leg_key == legs.c.leg_key),
    details=_DOUBT,
    joins=_LANE,
    alone=None,
)
"""Each lot with each leg of its parcel, for the doubt about the lot's share: `lot_carbon.share`."""
LOT_AVOIDED = FactTable(
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
LOT_COST = FactTable(
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

REFUNDS = FactTable(
    "refunds",
    refunds,
    {"refund": refunds.c.refunded_on},
    named(refunds, "source", "shop_id", "country", "channel", "kind", "currency"),
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
    fault=refunds.c.date_fault,
)
CREDIT_LINES = FactTable(
    "credit_lines",
    refund_lines,
    {"refund": refund_lines.c.refunded_on},
    {**named(refund_lines, *_PRODUCT, "restock_type", "currency"), "kind": cast(literal_column("'credit'"), String)},
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
    fault=refund_lines.c.date_fault,
)

invoices = t["fact_carrier_invoice"]
INVOICES = FactTable(
    "invoices",
    invoices,
    {"return": invoices.c.invoiced_on},
    named(invoices, "source", "carrier", "kind", "currency"),
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
LOST = FactTable(
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
RECOVERIES = FactTable(
    "recoveries",
    recoveries,
    _RECOVERY_DAYS,
    named(recoveries, *_PRODUCT, "disposition", "outcome", "grade", "currency"),
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
    fault=recoveries.c.date_fault,
)
