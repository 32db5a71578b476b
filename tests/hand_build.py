"""A build written by hand, small enough to work every number out on paper. Used by test_metrics and test_engines.

Observed until T = 2026-01-31 12:00. Order lines (key: day, market, category, style, size, units, net, cost):
    1: 2025-11-03 FR dress alba S    2 units 100, cost 40    \\ one order, two sizes
    2: 2025-11-03 FR dress alba M    1 unit   50, cost 20    /
    3: 2025-11-10 DE shoes runner 42 1 unit   80, cost 30
    4: 2025-12-01 FR dress gala S    1 unit   60, cost 30
    5: 2025-12-05 GB shoes runner 43 1 unit   50 GBP at 1.2 = 60, cost 25 GBP = 30
    6: 2026-01-10 FR dress alba S    1 unit   50, cost 20    clock 01-12, age 19 days, G = .95
    7: 2026-01-20 FR dress gala M    2 units 120, cost 60    not delivered, G = 0
    8: 2025-11-25 FR dress alba L    replaces line 2: an exchange, not sold
    9: 2025-12-10 FR dress gala S    1 unit   10, cost 4     cancelled within the hour by credit i
The source marks order 1 as returned, and line 3.
Sold 2+1+1+1+1+1+2 = 9 units, net 100+50+80+60+60+50+120 = 520, cost 40+20+30+30+30+20+60 = 230, margin 290.
Return lots: a (line 1, refunded, as new), b (line 2, exchanged, marked down), c (line 3, destroyed), d (line 6, just
scanned),
    e (line 4, cancelled), f (line 5, expired); credits without order: g (bound to line 4, 1 unit, 60), h (3 units, 30,
    not matched),
    i (cancels line 9). Returned of the sales: a b c d g = 5 of 9.
"""

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from pipelines.load.shape.versions import create_tables

T = datetime(2026, 1, 31, 12)
STYLES = {"alba": ("dress", "Robe Alba"), "gala": ("dress", "Robe Gala"), "runner": ("shoes", "Runner")}
FACTS = (
    "order",
    "product",
    "price",
    "unit_cost",
    "vat",
    "outbound_cost",
    "return",
    "back",
    "reason",
    "policy",
    "promise",
    "legal",
    "late_law",
    "leg",
    "leg_cost",
    "mass",
    "refund",
    "refund_line",
    "recovery",
    "carrier_invoice",
    "disposition",
    "inspection",
    "delivery",
    "size",
    "fx",
    "stage_requested",
    "stage_approved",
    "stage_handed_over",
    "stage_carrier_scan",
    "stage_received",
    "stage_inspected",
    "stage_refunded",
    "stage_restocked",
    "touch",
    "decline",
    "refusal",
    "exchange",
    "conformity",
    "return_flag",
)


REGIONS = ('{"region": "West \\"1\\"", "size_band": "L"}', '{"region": "Est"}', None)
"""Dimensions of the shop's own: with a quotation mark, and for some rows none."""


def at(text: str) -> datetime:
    """Read '2025-11-12 09' as an instant."""
    return datetime.strptime(text, "%Y-%m-%d %H")


def _order(
    key: int,
    order: int,
    day: str,
    country: str,
    style: str,
    size: str,
    units: int,
    net: float,
    cost: float,
    **more: Any,
) -> dict[str, Any]:
    ordered = at(f"{day} 10")
    return {
        "order_line_key": key,
        "order_line_id": f"shop:{order}:{key}",
        "order_key": order,
        "order_id": f"shop:{order}",
        "product_id": f"shop:{style}-{size}",
        "source": "shop",
        "shop_id": "shop:fr",
        "country": country,
        "channel": "web",
        "category": STYLES[style][0],
        "brand": "Maison",
        "style_id": f"shop:{style}",
        "size": size,
        "line_type": "goods",
        "is_exchange": False,
        "has_several_sizes": order == 1,
        "ordered_at": ordered,
        "ordered_on": ordered.date(),
        "clock_started_at": ordered + timedelta(days=2),
        "window_days": 30,
        "units_ordered": units,
        "units_cancelled": 0,
        "units_sold": units,
        "units_exchanged_in": 0,
        "net_amount": net,
        "vat_amount": net / 5,
        "cost_amount": cost,
        "currency": "EUR",
        "fx_rate": 1.0,
        "weight_kg": 0.4,
        **more,
    }


ORDERS = [
    _order(1, 1, "2025-11-03", "FR", "alba", "S", 2, 100, 40, return_flag="order"),
    _order(2, 1, "2025-11-03", "FR", "alba", "M", 1, 50, 20, return_flag="order"),
    _order(3, 2, "2025-11-10", "DE", "runner", "42", 1, 80, 30, window_ends_on=date(2026, 1, 31), return_flag="line"),
    _order(4, 3, "2025-12-01", "FR", "gala", "S", 1, 60, 30),
    _order(5, 4, "2025-12-05", "GB", "runner", "43", 1, 50, 25, currency="GBP", fx_rate=1.2),
    _order(6, 5, "2026-01-10", "FR", "alba", "S", 1, 50, 20),
    _order(
        7, 6, "2026-01-20", "FR", "gala", "M", 2, 120, 60, clock_started_at=None, units_ordered=3, units_cancelled=1
    ),
    _order(8, 7, "2025-11-25", "FR", "alba", "L", 0, 50, 20, units_exchanged_in=1, is_exchange=True),
    _order(9, 8, "2025-12-10", "FR", "gala", "S", 1, 10, 4),
]


def _lot(name: str, line: int | None, stages: dict[str, str], units: int = 1, **more: Any) -> dict[str, Any]:
    order: dict[str, Any] = next((o for o in ORDERS if o["order_line_key"] == line), {})
    times = {f"{k}_at": at(v) for k, v in stages.items()}
    number = ord(name)
    stamped = (
        "order_key",
        "country",
        "category",
        "brand",
        "style_id",
        "size",
        "product_id",
        "has_several_sizes",
        "ordered_on",
        "clock_started_at",
        "window_days",
        "window_ends_on",
        "fx_rate",
        "currency",
    )
    sold = order.get("units_sold", 1)
    stopped = {"cancelled_at", "rejected_at", "expired_at"} & set(times)
    came = [times[f"{s}_at"] for s in ("carrier_scan", "received", "inspected", "refunded") if f"{s}_at" in times]
    confirmed = min(came) if came and not stopped else None
    return {
        "return_lot_key": number,
        "return_line_key": number,
        "return_line_id": f"shop:{name}",
        "lot_no": 1,
        "return_key": number,
        "return_id": f"shop:r-{name}",
        "order_line_key": line,
        "parcel_key": number,
        "parcel_id": f"shop:p-{name}",
        "source": "shop",
        "shop_id": "shop:fr",
        "channel": "web",
        **{s: order.get(s) for s in stamped},
        "return_type": "withdrawal",
        "is_headline": True,
        "reason": "unknown",
        "method": "drop_off",
        "carrier": "Relais",
        "units": units,
        **times,
        "requested_on": min(times.values()).date(),
        "confirmed_at": confirmed,
        "confirmed_on": confirmed and confirmed.date(),
        "refunded_on": times["refunded_at"].date() if "refunded_at" in times else None,
        "net_amount": order["net_amount"] / sold * units if order else None,
        "cost_amount": order["cost_amount"] / sold * units if order else None,
        "weight_kg": 0.4,
        "vat_amount": order["vat_amount"] / sold * units if order else None,
        "manual_touches": {"a": 1, "b": 0, "c": 2, "d": 0, "e": 0, "f": 1}.get(name),
        **more,
    }


CREDIT = {
    "country": "FR",
    "category": "dress",
    "style_id": "shop:gala",
    "product_id": "shop:gala-S",
    "currency": "EUR",
    "fx_rate": 1.0,
    "method": None,
    "carrier": None,
}
LOTS = [
    _lot(
        "a",
        1,
        {
            "requested": "2025-11-12 09",
            "approved": "2025-11-12 10",
            "handed_over": "2025-11-13 09",
            "carrier_scan": "2025-11-14 09",
            "received": "2025-11-17 09",
            "inspected": "2025-11-18 09",
            "refunded": "2025-11-20 09",
            "restocked": "2025-11-21 09",
        },
        reason="size_small",
        inspection_outcome="match",
        disposition="as_new",
        outcome="resold_as_new",
        refund_amount=60,
    ),
    _lot(
        "b",
        2,
        {
            "requested": "2025-11-12 09",
            "approved": "2025-11-12 10",
            "handed_over": "2025-11-13 09",
            "carrier_scan": "2025-11-14 09",
            "received": "2025-11-17 09",
            "inspected": "2025-11-18 09",
            "exchanged": "2025-11-19 09",
            "restocked": "2025-11-25 09",
        },
        reason="size_large",
        return_type="exchange",
        disposition="marked_down",
        outcome="refurbished",
        return_key=ord("a"),
        return_id="shop:r-a",
        parcel_key=ord("a"),
        parcel_id="shop:p-a",
    ),
    _lot(
        "c",
        3,
        {
            "requested": "2025-12-20 12",
            "approved": "2025-12-20 13",
            "handed_over": "2025-12-22 12",
            "received": "2025-12-29 12",
            "inspected": "2025-12-30 12",
            "disposed": "2025-12-31 12",
            "refunded": "2026-01-15 12",
        },
        reason="quality_defect",
        inspection_outcome="worn",
        disposition="destroyed",
        outcome="destroyed",
        refund_amount=96,
    ),
    _lot(
        "d",
        6,
        {
            "requested": "2026-01-28 10",
            "approved": "2026-01-28 11",
            "handed_over": "2026-01-29 10",
            "carrier_scan": "2026-01-30 10",
        },
    ),
    _lot("e", 4, {"requested": "2025-12-10 09", "cancelled": "2025-12-11 09"}),
    _lot("f", 5, {"requested": "2025-12-12 09", "approved": "2025-12-12 10", "expired": "2026-01-10 09"}),
    _lot("g", None, {"refunded": "2025-12-15 09"}, net_amount=60, cost_amount=30, refund_amount=60, **CREDIT),
    _lot("h", None, {"refunded": "2025-12-16 09"}, 3, net_amount=30, cost_amount=15, refund_amount=30, **CREDIT),
    _lot("i", None, {"refunded": "2025-12-10 10"}, net_amount=10, cost_amount=4, refund_amount=10, **CREDIT),
]
MATCHES = [
    {
        "return_line_key": ord("g"),
        "order_line_key": 4,
        "units": 1,
        "rule": "same product",
        "hours_apart": 335.0,
        "is_cancellation": False,
        "ordered_on": date(2025, 12, 1),
    },
    {
        "return_line_key": ord("i"),
        "order_line_key": 9,
        "units": 1,
        "rule": "same hour",
        "hours_apart": 0.5,
        "is_cancellation": True,
        "ordered_on": date(2025, 12, 10),
    },
]


def _leg(
    key: int, lot: str, role: str, mode: str, kg: float, status: str, **more: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    parent = next(x for x in LOTS if x["return_line_id"] == f"shop:{lot}")
    leg = {
        "leg_key": key,
        "element_id": f"shop:leg-{key}",
        "parcel_key": parent["parcel_key"],
        "parcel_id": parent["parcel_id"],
        "element_no": key,
        "element_type": "transport",
        "role": role,
        "from_place_key": 1,
        "to_place_key": 2,
        "lane_key": 12,
        "started_at": parent["handed_over_at"],
        "ended_at": parent["handed_over_at"],
        "started_on": parent["handed_over_at"].date(),
        "carrier": "Relais",
        "mode": mode,
        "source": "shop",
        "shop_id": "shop:fr",
        "country": parent["country"],
        "channel": "web",
        "method": parent["method"],
        "requested_on": parent["requested_on"],
        "ordered_on": parent["ordered_on"],
    }
    carbon = {
        "leg_key": key,
        "activity": "hub" if role == "hub" else "transport",
        "factor_id": f"{mode}_fr",
        "distance_km": 100.0,
        "distance_status": status,
        "mass_kg": 0.5,
        "mass_status": status,
        "kg_co2e_wtt": kg / 5,
        "kg_co2e_ttw": kg * 4 / 5,
        "kg_co2e": kg,
        "status": status,
        "scope3_category": "9",
        "method": "per_tonne_km",
        **more,
    }
    return leg, carbon


LEGS = [
    _leg(1, "a", "trunk", "truck", 0.5, "measured"),
    _leg(2, "a", "hub", "site", 0.1, "imputed"),
    _leg(3, "c", "trunk", "truck", 2.0, "measured", method="energy", primary_share=1.0, amount=20.0),
    _leg(4, "d", "first_mile", "van", 0.4, "assumed"),
]
LOT_CARBON = [("a", 0.5, 0.3, 0.25), ("b", 0.5, 0.3, 0.25), ("c", 1.0, 2.0, 2.0), ("d", 1.0, 0.4, 0.0)]
COSTS = [
    ("a", "return_freight", 4, "measured"),
    ("a", "handling", 2, "assumed"),
    ("a", "outbound_shipping", 3, "measured"),
    ("b", "return_freight", 4, "measured"),
    ("b", "handling", 2, "assumed"),
    ("b", "value_loss", 8, "imputed"),
    ("c", "return_freight", 6, "measured"),
    ("c", "handling", 2, "assumed"),
    ("c", "value_loss", 30, "measured"),
    ("c", "fee_charged", -5, "measured"),
    ("d", "return_freight", 3, "imputed"),
]


def _promise(lot: str, promise: str, start: str, due: str | None, end: str | None, **more: Any) -> dict[str, Any]:
    parent = next(x for x in LOTS if x["return_line_id"] == f"shop:{lot}")
    columns = (
        "return_key",
        "return_id",
        "requested_at",
        "requested_on",
        "source",
        "shop_id",
        "country",
        "channel",
        "category",
        "brand",
        "method",
        "carrier",
    )
    return {
        **{c: parent[c] for c in columns},
        "promise_key": len(promise),
        "promise_id": promise,
        "responsible": "retailer",
        "started_at": at(start),
        "due_at": due and at(due),
        "ended_at": end and at(end),
        "duration_unit": "calendar_days",
        "started_on": at(start).date(),
        "closed_on": at(end).date() if end else None,
        "calendar_carrier": "",
        "to_stage": "refunded",
        "handed_over_at": parent.get("handed_over_at"),
        "amount": parent["net_amount"],
        "units": parent["units"],
        **more,
    }


PROMISES = [
    _promise("a", "refund", "2025-11-13 09", "2025-11-24 00", "2025-11-20 09"),  # kept after 7 days
    _promise("c", "refund", "2025-12-22 12", "2026-01-08 00", "2026-01-15 12"),  # broken after 24 days
    _promise("d", "refund", "2026-01-29 10", "2026-02-10 00", None),  # running
    _promise("a", "legal_refund", "2025-11-12 09", "2025-11-27 00", "2025-11-20 09"),  # kept
    _promise("c", "legal_refund", "2025-12-20 12", "2026-01-04 00", "2026-01-15 12"),  # broken
    _promise("d", "legal_refund", "2026-01-28 10", "2026-02-03 00", None),  # running, due in 2.5 days
    _promise(
        "e", "legal_refund", "2025-12-10 09", None, None, stopped_at=at("2025-12-11 09"), stopped_by="cancelled"
    ),  # not under promise
    _promise(
        "f", "legal_refund", "2025-12-12 09", None, None, stopped_at=at("2026-01-10 09"), stopped_by="expired"
    ),  # expired
]
REFUNDS = [
    {
        "refund_key": 1,
        "refund_id": "shop:f1",
        "return_key": ord("a"),
        "refunded_at": at("2025-11-20 09"),
        "refunded_on": date(2025, 11, 20),
        "amount": 60,
        "currency": "EUR",
        "fx_rate": 1.0,
        "kind": "original",
        "lines_amount": 60,
        "discrepancy_amount": 0,
        "source": "shop",
        "shop_id": "shop:fr",
        "country": "FR",
        "channel": "web",
    },
    {
        "refund_key": 2,
        "refund_id": "shop:f2",
        "return_key": ord("c"),
        "refunded_at": at("2026-01-15 12"),
        "refunded_on": date(2026, 1, 15),
        "amount": 90,
        "currency": "EUR",
        "fx_rate": 1.0,
        "kind": "original",
        "lines_amount": 96,
        "discrepancy_amount": -6,
        "source": "shop",
        "shop_id": "shop:fr",
        "country": "DE",
        "channel": "web",
    },
]


def _refund_line(key: int, refund: int | None, lot: str, amount: float, day: str, kind: str) -> dict[str, Any]:
    parent = next(x for x in LOTS if x["return_line_id"] == f"shop:{lot}")
    return {
        "refund_line_key": key,
        "refund_line_id": f"shop:fl{key}",
        "refund_key": refund,
        "return_line_key": ord(lot),
        "refunded_at": at(f"{day} 09"),
        "refunded_on": at(f"{day} 09").date(),
        "units": parent["units"],
        "amount": amount,
        "currency": "EUR",
        "fx_rate": 1.0,
        "restock_type": kind,
        "source": "shop",
        "shop_id": "shop:fr",
        "country": parent["country"],
        "channel": "web",
        "category": parent["category"],
        "style_id": parent["style_id"],
        "ordered_on": parent["ordered_on"],
        "requested_on": parent["requested_on"],
    }


REFUND_LINES = [
    _refund_line(1, 1, "a", 60, "2025-11-20", "return"),
    _refund_line(2, 2, "c", 96, "2026-01-15", "return"),
    _refund_line(3, None, "g", 60, "2025-12-15", "credit"),
    _refund_line(4, None, "h", 30, "2025-12-16", "credit"),
    _refund_line(5, None, "i", 10, "2025-12-10", "credit"),
]


def _recovery(key: int, lot: str, day: str, amount: float) -> dict[str, Any]:
    parent = next(x for x in LOTS if x["return_line_id"] == f"shop:{lot}")
    same = (
        "source",
        "shop_id",
        "country",
        "channel",
        "category",
        "style_id",
        "size",
        "requested_on",
        "ordered_on",
        "disposition",
        "outcome",
        "cost_amount",
        "units",
    )
    return {
        **{c: parent[c] for c in same},
        "recovery_key": key,
        "recovery_id": f"shop:v{key}",
        "return_line_key": ord(lot),
        "recovered_at": at(f"{day} 09"),
        "recovered_on": at(f"{day} 09").date(),
        "grade": "a",
        "amount": amount,
        "currency": "EUR",
        "fx_rate": 1.0,
    }


RECOVERIES = [
    _recovery(1, "a", "2025-11-21", 20),
    _recovery(2, "b", "2025-11-25", 12),
    _recovery(3, "c", "2025-12-31", 0),
]
PLACES = [
    {
        "place_key": 1,
        "place_id": "shop:relais",
        "kind": "drop_off",
        "name": "Relais Nantes",
        "country": "FR",
        "area": "FR-44",
        "latitude": 47.2,
        "longitude": -1.6,
    },
    {
        "place_key": 2,
        "place_id": "shop:centre",
        "kind": "returns_centre",
        "name": "Centre Lille",
        "country": "FR",
        "area": "FR-59",
        "latitude": 50.6,
        "longitude": 3.1,
    },
]
TABLES: dict[str, list[dict[str, Any]]] = {
    "fact_order_line": [row | {"dimensions": REGIONS[i % 3]} for i, row in enumerate(ORDERS)],
    "fact_return_line": [row | {"dimensions": REGIONS[i % 3]} for i, row in enumerate(LOTS)],
    "estimate_credit_match": MATCHES,
    "fact_return_leg": [leg for leg, _ in LEGS],
    "estimate_leg_carbon": [carbon for _, carbon in LEGS],
    "estimate_leg_cost": [
        {"leg_key": 1, "amount": 4, "status": "measured", "method": "invoice"},
        {"leg_key": 3, "amount": 6, "status": "measured", "method": "invoice"},
    ],
    "estimate_return_carbon": [
        {
            "return_lot_key": ord(n),
            "share": share,
            "kg_co2e": kg,
            "kg_co2e_measured": m,
            "kg_co2e_primary": 2.0 if n == "c" else 0.0,
            "is_whole": True,
        }
        for n, share, kg, m in LOT_CARBON
    ],
    "estimate_avoided_carbon": [
        {
            "return_lot_key": ord(n),
            "footprint_id": "coat",
            "kg_co2e_new": made,
            "kg_co2e_avoided_low": low,
            "kg_co2e_avoided_central": central,
            "kg_co2e_avoided_high": high,
            "status": "imputed",
        }
        for n, made, low, central, high in (
            ("a", 5.0, 0.0, 0.0, 0.0),
            ("b", 8.0, 3.0, 5.0, 6.0),
            ("c", 7.0, 0.0, 0.0, 0.0),
        )
    ],
    "estimate_return_cost": [
        {"return_lot_key": ord(n), "component": c, "amount": a, "status": s, "method": "rule"} for n, c, a, s in COSTS
    ],
    "estimate_promise": PROMISES,
    "estimate_breach_risk": [
        {
            "return_key": ord("d"),
            "promise_id": "refund",
            "probability": 0.1,
            "stage": "carrier_scan",
            "model_id": "life_table",
        },
        {
            "return_key": ord("d"),
            "promise_id": "legal_refund",
            "probability": 0.7,
            "stage": "carrier_scan",
            "model_id": "life_table",
        },
    ],
    "estimate_late_refund": [
        # d as if its last day had been 19 January: on the 31st it is 12 days late, in the second period of the scale
        {
            "return_key": ord("d"),
            "return_id": "shop:r-d",
            "rule": "L242-4",
            "country": "FR",
            "due_at": at("2026-01-20 00") - timedelta(microseconds=1),
            "due_on": date(2026, 1, 19),
            "period_no": no,
            "starts_at": at(f"{starts} 00"),
            "ends_at": at(f"{ends} 00") if ends else None,
            "starts_on": at(f"{starts} 00").date(),
            "share": share,
            "yearly_rate": rate,
            "is_assumed": False,
            "source": "shop",
        }
        for no, starts, ends, share, rate in (
            (1, "2026-01-20", "2026-01-30", 0.0, 0.0667),
            (2, "2026-01-30", "2026-02-09", 0.05, 0.0),
            (3, "2026-02-09", None, 0.10, 0.0),
        )
    ],
    "fact_refund": REFUNDS,
    "fact_refund_line": REFUND_LINES,
    "fact_recovery": RECOVERIES,
    "fact_carrier_invoice": [
        {
            "invoice_line_id": "shop:I1-1",
            "invoice_id": "shop:I1",
            "invoiced_at": at("2025-12-31 00"),
            "invoiced_on": at("2025-12-31 00").date(),
            "carrier": "Relais",
            "parcel_key": None,
            "leg_key": leg,
            "kind": "freight",
            "amount": amount,
            "currency": "EUR",
            "fx_rate": 1.0,
            "source": "shop",
        }
        for leg, amount in ((1, 4), (None, 7))
    ],
    "dim_place": PLACES,
    "dim_product": [
        {
            "product_key": i,
            "product_id": o["product_id"],
            "is_current": True,
            "valid_from": at("2025-01-01 00"),
            "style_id": o["style_id"],
            "name": STYLES[o["style_id"].split(":")[1]][1],
            "category": o["category"],
        }
        for i, o in enumerate({o["product_id"]: o for o in ORDERS}.values())
    ],
    "estimate_return_probability": [
        {
            "order_line_key": k,
            "probability": 0.5 if k in (1, 2) else 0.25,
            "buyer_probability": 0.4 if k in (1, 2) else 0.2,
            "base_rate": 0.4,
            "model_id": "m",
        }
        for k in range(1, 8)
    ],
    "model_version": [
        {
            "model_id": "m",
            "model": "return_probability",
            "fitted_at": T,
            "is_used": True,
            "parameters": '{"source": "shop", "level_sd": 0.1, "why_not": ""}',
        }
    ],
    "estimate_development_curve": (
        [
            {
                "source": "shop",
                "category": c,
                "channel": "web",
                "window_days": 30,
                "is_dated": False,
                "day": d,
                "share": min(d / 20, 1.0),
                "returned": 4,
            }
            for c in ("dress", "shoes")
            for d in range(91)
        ]
        + [
            {
                "source": "shop",
                "category": "shoes",
                "channel": "web",
                "window_days": 30,
                "is_dated": True,
                "day": d,
                "share": min(d / 100, 1.0),
                "returned": 1,
            }
            for d in range(161)
        ]
    ),
    "estimate_rate_prior": [
        {"kind": "order", "category": c, "a": None, "b": None, "deff": 1.0} for c in (None, "dress", "shoes")
    ],
    "estimate_product_prior": [
        {"kind": kind, "category": c, "a": a, "b": 10.0 - a, "deff": 1.0}
        for kind in ("style", "product")
        for c, a in ((None, 3.0), ("dress", 4.0), ("shoes", 2.0))
    ],
    "factor_set": [
        {
            "factor_id": "truck_fr",
            "kind": "emission",
            "description": "Truck",
            "unit": "kg/t.km",
            "wtt": 0.02,
            "ttw": 0.08,
            "value": 0.1,
            "year": 2024,
            "source": "Test",
            "source_address": "https://example.org",
            "quality": "verified",
        }
    ],
    "build_source": [
        {
            "source": "shop",
            "system": "shop",
            "thing": "return_event",
            "rows": 9,
            "last_occurred_at": T,
            "last_recorded_at": T,
        }
    ],
    "build_coverage": [{"source": "shop", "fact": f, "share": 1.0, "rows": 9} for f in FACTS],
    "build_info": [
        {"name": "build_id", "value": "000001"},
        {"name": "reporting_currency", "value": "EUR"},
        {"name": "own_dimensions", "value": '["region"]'},
    ],
}

NAMED = {
    "fact_return_line": [row for row in LOTS if row["return_line_id"] != "shop:h"],
    "fact_refund_line": [row for row in REFUND_LINES if row["refund_line_id"] != "shop:fl4"],
}
"""The tables without credit h: every return names an order or is bound to one, so that nothing is lost to a number."""


def write(path: Path, tables: dict[str, list[dict[str, Any]]] | None = None) -> Path:
    """Write the build, with some tables' rows replaced."""
    connection = duckdb.connect(str(path))
    create_tables(connection)
    for name, rows in {**TABLES, **(tables or {})}.items():
        for columns in {tuple(r) for r in rows}:
            values = [list(r.values()) for r in rows if tuple(r) == columns]
            connection.executemany(
                f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})", values
            )
    connection.close()
    return path
