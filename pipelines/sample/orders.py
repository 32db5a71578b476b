"""Order lines."""

import numpy as np
import pyarrow as pa

from pipelines.sample.draws import DAY, Array, Rng
from pipelines.sample.files import BAD_NUMBER, LATE_EDIT, Writer, iso, money, months, number, spoiled, times, words
from pipelines.sample.shop import CHANNELS, MARKETPLACE, REFUSED, STORE, UNCOLLECTED
from pipelines.sample.simulation import Simulation, shop, shop_names, sku, sku_names


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
    world, lines, p, n = s.world, s.lines, s.world.parameters, len(s.lines["order"])
    _amounts(s, fx)
    part, labels = months(lines["ordered_at"])
    recorded = lines["ordered_at"] + np.floor(rng.uniform(1, 300, n))
    plan = writer.plan(rng, lines["ordered_at"], recorded, part, text=True)
    take = plan.row
    order_no, line_no = lines["order_no"][take], lines["line_no"][take]
    codes: list[str] = []
    of = np.zeros(s.network.area.shape, np.int64)
    for m, market in enumerate(world.markets):
        for a, row in enumerate(p["areas"][market]):
            of[m, a] = len(codes)
            codes.append(row[0])
    known = rng.random(n) < p["customer_area_known"]
    area = np.where(known, of[lines["market"], lines["area"]], -1)[take]
    area = np.where(plan.kind == LATE_EDIT, -1, area)
    undelivered = np.isin(s.result["kind"], (REFUSED, UNCOLLECTED))
    never = lines["cancelled"] >= lines["units"]
    delivered = np.where(undelivered | never, np.inf, lines["delivered_at"])[take]
    delivered = np.where(plan.kind == LATE_EDIT, np.inf, delivered)
    shipped = np.where(never, np.inf, lines["shipped_at"])[take]
    origin = lines["exchanged_from"][take]
    activity = s.who["activity"]
    tier = np.searchsorted(np.quantile(activity, [0.6, 0.9]), activity)[lines["customer"]][take]
    carrier = np.where(lines["channel"] == STORE, -1, lines["order"] % len(p["carriers"]))[take]
    when = spoiled(plan, lines["ordered_at"])
    columns = {
        "kind": plan.kind,
        "order_no": order_no,
        "line_no": line_no,
        "ordered_at": times(when),
        "recorded_at": times(plan.recorded),
        "sku": words(sku(lines)[take], sku_names(s)),
        "units": lines["units"][take],
        "units_cancelled": lines["cancelled"][take],
        "net_amount": lines["net"][take],
        "vat_amount": lines["vat"][take],
        "discount_amount": lines["discounted"][take],
        "currency": words(lines["market"][take], world.market("currency").tolist()),
        "unit_cost": lines["cost"][take],
        "outbound_cost": lines["outbound"][take],
        "payment_fee": lines["fee"][take],
        "customer": lines["customer"][take],
        "customer_area": words(area, codes),
        "country": words(lines["market"][take], world.markets),
        "shop_id": words(shop(s)[take], shop_names(world)),
        "channel": words(lines["channel"][take], CHANNELS),
        "carrier": words(carrier, list(p["carriers"])),
        "shipped_at": times(shipped, world.end),
        "delivered_at": times(delivered, world.end),
        "from_order": pa.array(lines["order_no"][np.maximum(origin, 0)], mask=origin < 0),
        "from_line": pa.array(lines["line_no"][np.maximum(origin, 0)], mask=origin < 0),
        "is_market": lines["channel"][take] == MARKETPLACE,
        "tier": words(tier, ("bronze", "silver", "gold")),
        "is_gift": lines["is_gift"][take],
        "is_own": lines["order"][take] % 3 > 0,
    }
    suffix = f"CASE kind WHEN 3 THEN 'n' WHEN 4 THEN 'i' WHEN {BAD_NUMBER} THEN 'b' ELSE '' END"
    select = [
        f"order_no || '-' || line_no || {suffix} AS order_line_id",
        f"order_no || {suffix} AS order_id",
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
    writer.write("shop/order_line{}.csv", columns, select, plan, labels)
