"""Order lines."""

from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.sample.draws import DAY, Array, Rng
from pipelines.sample.files import (
    BAD_NUMBER,
    LATE_EDIT,
    Plan,
    Writer,
    iso,
    money,
    months,
    number,
    spoiled,
    times,
    words,
)
from pipelines.sample.shop import CHANNELS, MARKETPLACE, REFUSED, STORE, UNCOLLECTED
from pipelines.sample.simulation import Simulation, shop, shop_names, sku, sku_names

SUFFIX = f"CASE kind WHEN 3 THEN 'n' WHEN 4 THEN 'i' WHEN {BAD_NUMBER} THEN 'b' ELSE '' END"
ORDER_LINE = [
    f"order_no || '-' || line_no || {SUFFIX} AS order_line_id",
    f"order_no || {SUFFIX} AS order_id",
    iso("ordered_at"),
    "sku AS product_id",
    number("units"),
    "units_cancelled",
    "'goods' AS line_type",
    money("net_amount"),
    money("vat_amount"),
    money("discount_amount"),
    "currency",
    money("unit_cost"),
    money("outbound_cost"),
    money("payment_fee"),
    "'C' || (100000 + customer) AS customer_id",
    "customer_area",
    "country",
    "shop_id",
    "channel",
    "carrier",
    iso("shipped_at"),
    iso("delivered_at"),
    "from_order || '-' || from_line AS exchanged_from_line_id",
    "CASE WHEN is_market THEN 'Maison Halage' END AS seller",
    "CASE WHEN is_market THEN 'Grande Halle' END AS sold_on",
    "CASE WHEN is_market THEN CASE WHEN is_own THEN 'seller' ELSE 'marketplace' END END AS fulfilled_by",
    "tier AS loyalty_tier",
    "is_gift",
    "'shop' AS system",
    iso("recorded_at"),
]


def _amounts(s: Simulation, fx: dict[str, Array]) -> None:
    """Add to the lines what they cost and bring, in the currency of their market, rounded to cents."""
    lines, styles, p = s.lines, s.styles, s.world.parameters
    day = (lines["ordered_at"] // DAY).astype(np.int64) - int(fx["first_day"][0])
    currency = s.world.market("currency")
    rate = np.ones(len(day))
    for at, name in enumerate(currency.tolist()):
        rows = np.flatnonzero(lines["market"] == at)
        rate[rows] = fx[name][day[rows]] if name != "EUR" else 1.0
    gross = styles["price"][lines["style"]] * lines["units"] / rate
    lines["rate"] = rate
    lines["net"] = np.round(gross * (1 - lines["discount"]), 2)
    lines["discounted"] = np.round(gross, 2) - lines["net"]
    lines["vat"] = np.round(lines["net"] * s.world.market("vat").astype(float)[lines["market"]], 2)
    lines["cost"] = np.round(styles["cost"][lines["style"]] / rate, 2)
    home = lines["market"] == s.world.markets.index("FR")
    parcel = np.where(home, p["outbound_cost"]["domestic"], p["outbound_cost"]["cross_border"])
    lines["outbound"] = np.where(lines["channel"] == STORE, 0.0, np.round(parcel / lines["lines_in_order"] / rate, 2))
    fee = p["payment_fee"]
    lines["fee"] = np.round(
        (lines["net"] + lines["vat"]) * fee["share"] + fee["fixed"] / lines["lines_in_order"] / rate, 2
    )


def order_lines(rng: Rng, s: Simulation, writer: Writer, fx: dict[str, Array]) -> None:
    """Write the order lines, month by month."""
    lines = s.lines
    _amounts(s, fx)
    part, labels = months(lines["ordered_at"])
    recorded = lines["ordered_at"] + np.floor(rng.uniform(1, 300, len(lines["order"])))
    plan = writer.plan(rng, lines["ordered_at"], recorded, part, text=True)
    ordered, is_known = spoiled(plan, lines["ordered_at"]), rng.random(len(lines["order"]))
    is_known = is_known < s.world.parameters["customer_area_known"]
    activity = s.who["activity"]
    tiers = np.searchsorted(np.quantile(activity, [0.6, 0.9]), activity)

    def columns(cut: slice) -> dict[str, Any]:
        rows = plan[cut]
        return _sold(s, rows, ordered[cut]) | _buyers(s, rows, is_known, tiers) | _deliveries(s, rows)

    writer.write_planned("shop/order_line{}.csv", columns, ORDER_LINE, plan, labels)


def _sold(s: Simulation, plan: Plan, ordered: Array) -> dict[str, Any]:
    """Give the columns of what is sold: when, what, in which shop, for how much."""
    lines, world, take = s.lines, s.world, plan.row
    origin = lines["exchanged_from"][take]
    return {
        "kind": plan.kind,
        "order_no": lines["order_no"][take],
        "line_no": lines["line_no"][take],
        "ordered_at": times(ordered),
        "recorded_at": times(plan.recorded),
        "sku": words(sku(lines, take), sku_names(s)),
        "units": lines["units"][take],
        "units_cancelled": lines["cancelled"][take],
        "net_amount": lines["net"][take],
        "vat_amount": lines["vat"][take],
        "discount_amount": lines["discounted"][take],
        "currency": words(lines["market"][take], world.market("currency").tolist()),
        "unit_cost": lines["cost"][take],
        "outbound_cost": lines["outbound"][take],
        "payment_fee": lines["fee"][take],
        "shop_id": words(shop(s, take), shop_names(world)),
        "channel": words(lines["channel"][take], CHANNELS),
        "from_order": pa.array(lines["order_no"][np.maximum(origin, 0)], mask=origin < 0),
        "from_line": pa.array(lines["line_no"][np.maximum(origin, 0)], mask=origin < 0),
        "is_market": lines["channel"][take] == MARKETPLACE,
        "is_gift": lines["is_gift"][take],
        "is_own": lines["order"][take] % 3 > 0,
    }


def _buyers(s: Simulation, plan: Plan, is_known: Array, tiers: Array) -> dict[str, Any]:
    """Give the columns of who buys; areas that are not known are empty, and all on a line's first version."""
    lines, p, take = s.lines, s.world.parameters, plan.row
    codes: list[str] = []
    of = np.zeros(s.network.area.shape, np.int64)
    for m, market in enumerate(s.world.markets):
        for a, row in enumerate(p["areas"][market]):
            of[m, a] = len(codes)
            codes.append(row[0])
    area = np.where(is_known[take], of[lines["market"][take], lines["area"][take]], -1)
    return {
        "customer": lines["customer"][take],
        "customer_area": words(np.where(plan.kind == LATE_EDIT, -1, area), codes),
        "country": words(lines["market"][take], s.world.markets),
        "tier": words(tiers[lines["customer"][take]], ("bronze", "silver", "gold")),
    }


def _deliveries(s: Simulation, plan: Plan) -> dict[str, Any]:
    """Give the columns of carrier, shipment and delivery; a line's first version is not delivered yet."""
    lines, carriers, take = s.lines, list(s.world.parameters["carriers"]), plan.row
    never = lines["cancelled"][take] >= lines["units"][take]
    undelivered = never | np.isin(s.result["kind"][take], (REFUSED, UNCOLLECTED)) | (plan.kind == LATE_EDIT)
    delivered = np.where(undelivered, np.inf, lines["delivered_at"][take])
    shipped = np.where(never, np.inf, lines["shipped_at"][take])
    carrier = np.where(lines["channel"][take] == STORE, -1, lines["order"][take] % len(carriers))
    return {
        "carrier": words(carrier, carriers),
        "shipped_at": times(shipped, s.world.end),
        "delivered_at": times(delivered, s.world.end),
    }
