"""The shop's columns as the logs of its systems: who writes which table, in which columns, and what dirt each carries.

Column names are those of the LOG tables of `pipelines/warehouse/schema.py`. The one idea: each system writes what it
would see, and nothing recorded after the as-of evening.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.sample import network as net
from pipelines.sample.draws import DAY, Array, Columns, Rng
from pipelines.sample.files import (
    BAD_NUMBER,
    CLEAN,
    LATE_EDIT,
    Plan,
    Writer,
    iso,
    money,
    months,
    number,
    numbers,
    parts,
    spoiled,
    times,
    words,
)
from pipelines.sample.returns import METHODS
from pipelines.sample.shop import (
    BOUNCED,
    CHANNELS,
    COLOURS_A_STYLE,
    HEADLINE,
    MARKETPLACE,
    PARCEL,
    REFUSED,
    SKU_STEP,
    STORE,
    TILL,
    TOTE,
    UNCOLLECTED,
    VOID,
    World,
    told_style,
)
from pipelines.warehouse.schema import DISPOSITIONS

PORTAL = ("requested", "approved", "rejected", "label_issued", "cancelled", "expired", "exchanged")
CARRIER = ("handed_over", "carrier_scan", "lost", "delivery_refused", "uncollected")
STORES = ("requested", "received", "inspected", "restocked", "disposed", "handed_over")
CENTRE = ("received", "inspected", "restocked", "disposed")
RETURN_TYPES = ("withdrawal", "commercial", "exchange", "conformity", "seller_error", "refused", "uncollected")
RESTOCKED = ("as_new", "b_stock", "marked_down", "repaired", "refurbished")


@dataclass
class Simulation:
    """Everything drawn, before it is written."""

    world: World
    styles: Columns
    who: Columns
    lines: Columns
    result: Columns
    network: net.Network
    rows: Columns
    back: Columns
    lot: Columns
    elements: Columns


def sku_names(s: Simulation) -> list[str]:
    """Product ids by SKU position (style * 32 + colour * 8 + size)."""
    p, names = s.world.parameters, []
    sizes = [p["sizes"][row["sizes"]]["names"] for row in p["categories"].values()]
    for style, category in enumerate(s.styles["category"].tolist()):
        code = f"{s.world.categories[category][:2].upper()}{style + 1:04d}"
        names += [
            (
                f"{code}-{colour + 1}-{sizes[category][size]}"
                if colour < COLOURS_A_STYLE and size < len(sizes[category])
                else ""
            )
            for colour in range(4)
            for size in range(8)
        ]
    return names


def sku(lines: Columns) -> Array:
    """SKU position of each line."""
    position: Array = lines["style"] * SKU_STEP + lines["colour"] * 8 + lines["size"]
    return position


def write_logs(
    out: Path, rng: Rng, s: Simulation, tell: Callable[[str, float], None]
) -> tuple[dict[str, int], list[tuple[str, str, int]]]:
    """Write every file; returns rows per file and the dirt planted (file, kind, rows)."""
    writer = Writer(out, s.world.end, s.world.parameters["dirt"])
    fx = _finance_rates(rng, s, writer)
    _catalogue(rng, s, writer)
    tell("order lines", 0.0)
    _order_lines(rng, s, writer, fx)
    tell("return events", 0.35)
    _return_events(rng, s, writer)
    tell("refunds", 0.75)
    _refunds(rng, s, writer, fx)
    _recoveries(rng, s, writer)
    tell("chain elements", 0.85)
    _chain_elements(rng, s, writer)
    return writer.rows, writer.planted


def _finance_rates(rng: Rng, s: Simulation, writer: Writer) -> dict[str, Array]:
    """Write daily rates in EUR and return, per currency, EUR for one unit on each day from the start on."""
    world = s.world
    first = int(world.start // DAY) - 10
    days = np.arange(first, int(world.end // DAY) + 1)
    rates: dict[str, Array] = {"EUR": np.ones(len(days))}
    for currency, level in world.parameters["fx"].items():
        walk, at = rng.standard_normal(len(days)) * 0.0025, 0.0
        path = np.empty(len(days))
        for i, step in enumerate(walk.tolist()):  # one step a day
            at = 0.98 * at + step
            path[i] = at
        rates[currency] = np.round(level * np.exp(path), 5)
    business = (days + 3) % 7 < 5
    names = list(world.parameters["fx"])
    which = np.tile(np.arange(len(names)), int(business.sum()))
    day = np.repeat(days[business], len(names)).astype(float) * DAY
    value = np.stack([rates[name][business] for name in names], axis=1).ravel()
    columns = {
        "kind": np.zeros(len(day), np.int64),
        "day": times(day),
        "currency": words(which, names),
        "rate": value,
        "recorded_at": times(day + 16 * 3600),
    }
    writer.write(
        "finance/fx_rate.csv",
        columns,
        [iso("day"), "currency", "'EUR' AS quote_currency", "rate", "'finance' AS system", iso("recorded_at")],
    )
    for currency, path in rates.items():  # weekends keep Friday's rate
        held = np.maximum.accumulate(np.where(business, np.arange(len(days)), 0))
        rates[currency] = path[held]
    rates["first_day"] = np.array([first])
    return rates


def _catalogue(rng: Rng, s: Simulation, writer: Writer) -> None:
    world, styles, p = s.world, s.styles, s.world.parameters
    names = np.array(sku_names(s))
    able: Array = np.flatnonzero(names != "")
    style: Array = able // SKU_STEP
    colour: Array = able % SKU_STEP // 8
    size: Array = able % 8
    category: Array = styles["category"][style]
    rows = list(p["categories"].values())
    sizes = [p["sizes"][row["sizes"]]["names"] for row in rows]
    told = [key for key in ("robe_alba", "decoy", "noise") if key in world.stories]
    brands = [*p["brands"], *(world.stories[key]["brand"] for key in told)]
    titles = [*p["style_names"], *(world.stories[key]["style"] for key in told)]
    noun = {
        "dresses": "Robe",
        "apparel": "Maille",
        "footwear": "Chaussure",
        "accessories": "Accessoire",
        "electronics": "Audio",
        "home": "Linge",
        "beauty": "Soin",
    }
    title = np.where(styles["story"] >= 0, len(p["style_names"]) + styles["story"], styles["name"])
    brand = np.where(styles["story"] >= 0, len(p["brands"]) + styles["story"], styles["brand"])
    name = [
        titles[t] if story >= 0 else f"{noun.get(world.categories[c], '')} {titles[t]}".strip()
        for t, story, c in zip(title.tolist(), styles["story"].tolist(), styles["category"].tolist(), strict=True)
    ]
    first = np.full(len(styles["category"]), world.start - 30 * DAY)
    in_season = styles["season"] >= 0
    month = styles["season"] * 6 + 1
    opens = month.astype("M8[M]").astype("M8[s]").astype(np.int64).astype(float)
    launched = np.where(in_season, np.maximum(opens - 14 * DAY, first), first)
    alba = told_style(world, styles, "robe_alba")
    if alba >= 0:
        launched[alba] = world.since("robe_alba", world.stories["robe_alba"]["on_sale_weeks"])
    launched = np.floor(launched / DAY) * DAY
    label = [
        f"{'AW' if h % 2 else 'SS'}{(1970 + (h * 6 + 1) // 12) % 100:02d}" if h >= 0 else "permanent"
        for h in styles["season"].tolist()
    ]
    note: Array = np.full(len(style), -1)
    valid: Array = launched[style]
    if alba >= 0:  # the second version of Robe Alba carries the size note
        again = np.flatnonzero(style == alba)
        style, colour, size, category, able = (np.r_[a, a[again]] for a in (style, colour, size, category, able))
        valid = np.r_[
            valid,
            np.full(
                len(again), np.floor(world.since("robe_alba", world.stories["robe_alba"]["note_weeks"]) / DAY) * DAY
            ),
        ]
        note = np.r_[note, np.zeros(len(again), np.int64)]
    order = np.lexsort((valid, able))
    style, colour, size, category, able, valid, note = (
        a[order] for a in (style, colour, size, category, able, valid, note)
    )
    size_words, size_at = np.unique(
        np.array([sizes[c][z] for c, z in zip(category.tolist(), size.tolist(), strict=True)]), return_inverse=True
    )
    colour_of = (styles["colour"][style] + colour * 3) % len(p["colours"])
    columns = {
        "kind": np.zeros(len(able), np.int64),
        "product_id": words(able, names.tolist()),
        "valid_from": times(valid),
        "style_id": words(
            style, [f"{world.categories[c][:2].upper()}{i + 1:04d}" for i, c in enumerate(styles["category"].tolist())]
        ),
        "name": words(style, name),
        "category": words(category, world.categories),
        "brand": words(brand[style], brands),
        "supplier": words(styles["supplier"][style], p["suppliers"]),
        "season": words(style, label),
        "size": words(size_at, size_words.tolist()),
        "colour": words(colour_of, p["colours"]),
        "size_note": words(note, [world.stories.get("robe_alba", {}).get("size_note", "")]),
        "weight_kg": styles["mass"][style],
        "list_price": styles["price"][style],
        "unit_cost": styles["cost"][style],
        "hs_chapter": words(category, [row["hs"] for row in rows]),
        "footprint_class": words(category, [row["footprint"] for row in rows]),
        "launched_on": pa.array((launched[style] // DAY).astype(np.int32), pa.date32()),
        "recorded_at": times(valid + 3600),
    }
    select = [
        "product_id",
        iso("valid_from"),
        "style_id",
        "name",
        "category",
        "brand",
        "supplier",
        "season",
        "size",
        "colour",
        "size_note",
        "weight_kg",
        money("list_price"),
        money("unit_cost"),
        "'EUR' AS currency",
        "hs_chapter",
        "footprint_class",
        "launched_on",
        "'catalogue' AS system",
        iso("recorded_at"),
    ]
    writer.write("catalogue/product.csv", columns, select)

    n = len(s.network.places)
    before = np.full(n, world.start - 400 * DAY)
    columns = {"kind": np.zeros(n, np.int64), "valid_from": times(before), "recorded_at": times(before)}
    fields = ("place_id", "kind", "name", "country", "area", "time_zone")
    columns |= {f"p_{f}": pa.array([place[f] or None for place in s.network.places]) for f in fields}
    columns |= {f: s.network.column(f) for f in ("latitude", "longitude")}
    writer.write(
        "catalogue/place.csv",
        columns,
        [
            "p_place_id AS place_id",
            iso("valid_from"),
            "p_kind AS kind",
            "p_name AS name",
            "p_country AS country",
            "p_area AS area",
            "latitude",
            "longitude",
            "p_time_zone AS time_zone",
            "'catalogue' AS system",
            iso("recorded_at"),
        ],
    )

    shops = shop_names(world)
    market = np.arange(len(shops)) % len(world.markets)
    online = np.arange(len(shops)) // len(world.markets)
    n = len(shops)
    before = np.full(n, world.start - 400 * DAY)
    columns = {
        "kind": np.zeros(n, np.int64),
        "shop_id": pa.array(shops),
        "valid_from": times(before),
        "market": words(market, world.markets),
        "channel": words(online, ("web", "store", "marketplace")),
        "currency": words(market, world.market("currency").tolist()),
        "time_zone": words(market, world.market("zone").tolist()),
    }
    writer.write(
        "catalogue/shop.csv",
        columns,
        [
            "shop_id",
            iso("valid_from"),
            "'Maison Halage SAS' AS legal_entity",
            "'Halage' AS brand",
            "market",
            "channel",
            "currency",
            "time_zone",
            "'catalogue' AS system",
        ],
    )

    rows_out = []
    told_market = world.stories["germany_window"]["market"] if "germany_window" in world.stories else None
    for at, name_of in enumerate(world.markets):
        changed = world.since("germany_window") if name_of == told_market else np.inf
        dates = {
            world.start - 400 * DAY,
            changed,
            *(d for first, after, _ in world.christmas() for d in (first, after)),
        }
        for begin in sorted(d for d in dates if world.start - 400 * DAY <= d <= world.end):
            within = [until for first, after, until in world.christmas() if first <= begin < after]
            days = world.stories["germany_window"]["window_days"][1] if begin >= changed else int(p["window_days"])
            until = within[0] // DAY if within else None
            for tier, told in ((None, p["promises"]), ("gold", p["promises"] | p["gold_promises"])):
                rows_out += [(at, begin, days, promise, *promised, until, tier) for promise, promised in told.items()]
    has = {
        m: sorted({k for row in p["carriers"].values() if m in row["markets"] for k in row["methods"]} | {"store"})
        for m in world.markets
    }
    columns = {
        "kind": np.zeros(len(rows_out), np.int64),
        "market": words(np.array([r[0] for r in rows_out]), world.markets),
        "valid_from": times(np.floor(np.array([r[1] for r in rows_out]) / DAY) * DAY),
        "window_days": pa.array([r[2] for r in rows_out]),
        "window_until": pa.array([None if r[9] is None else int(r[9]) for r in rows_out], pa.int32()).cast(pa.date32()),
        "methods": words(np.array([r[0] for r in rows_out]), [" ".join(has[m]) for m in world.markets]),
        "currency": words(np.array([r[0] for r in rows_out]), world.market("currency").tolist()),
        "promise_id": pa.array([r[3] for r in rows_out]),
        "from_stage": pa.array([r[4] for r in rows_out]),
        "to_stage": pa.array([r[5] for r in rows_out]),
        "duration": pa.array([float(r[6]) for r in rows_out]),
        "duration_unit": pa.array([r[7] for r in rows_out]),
        "responsible": pa.array([r[8] for r in rows_out]),
        "tier": pa.array([r[10] for r in rows_out], pa.string()),
    }
    writer.write(
        "catalogue/policy.csv",
        columns,
        [
            "concat_ws('-', 'policy', market, tier) AS policy_id",
            iso("valid_from"),
            "market",
            "tier AS loyalty_tier",
            "window_days",
            "window_until",
            "0.00 AS fee_amount",
            "currency",
            "methods",
            f"'{p['refund_trigger']}' AS refund_trigger",
            "promise_id",
            "from_stage",
            "to_stage",
            "duration",
            "duration_unit",
            "responsible",
            "'catalogue' AS system",
        ],
    )

    days_of = [
        (c, m, d["weekdays"], d["works_holidays"])
        for c, d in p["carrier_calendars"].items()
        for m in p["carriers"][c]["markets"]
    ]
    n = len(days_of)
    columns = {"kind": np.zeros(n, np.int64), "valid_from": times(np.full(n, world.start - 400 * DAY))}
    columns |= {
        name: pa.array([row[i] for row in days_of])
        for i, name in enumerate(("carrier", "country", "weekdays", "works_holidays"))
    }
    writer.write(
        "catalogue/carrier_calendar.csv",
        columns,
        ["carrier", "country", iso("valid_from"), "weekdays", "works_holidays", "'catalogue' AS system"],
    )


def shop_names(world: World) -> list[str]:
    """Shops: online, stores and marketplace of each market."""
    return [f"{kind}-{market}" for kind in ("online", "stores", "marketplace") for market in world.markets]


def _shop(s: Simulation) -> Array:
    kind = np.where(s.lines["channel"] == STORE, 1, np.where(s.lines["channel"] == MARKETPLACE, 2, 0))
    return kind * len(s.world.markets) + s.lines["market"]


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


def _order_lines(rng: Rng, s: Simulation, writer: Writer, fx: dict[str, Array]) -> None:
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
        "shop_id": words(_shop(s)[take], shop_names(world)),
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


def _gather(pieces: list[tuple[int, Array, Array, Array]]) -> tuple[Array, Array, Array, Array]:
    """Stack (event, return-line rows, times, lot rows) into columns."""
    event = np.concatenate([np.full(len(rows), code) for code, rows, _when, _lot in pieces])
    return (event, *(np.concatenate([piece[i] for piece in pieces]) for i in (1, 2, 3)))  # type: ignore[return-value]


def _return_columns(s: Simulation, row: Array, kind: Array) -> dict[str, Any]:
    """Ids of return lines, as numbers that SQL makes text of."""
    rows, back, lines = s.rows, s.back, s.lines
    of, line = rows["of"][row], rows["line"][row]
    stray = rows["stray"][row]
    return {
        "kind": kind,
        "ret_order": rows["order_no"][row],
        "ret_no": back["return_no"][of],
        "row_no": rows["no"][row],
        "line_no": lines["line_no"][line],
        "stray": stray,
        "product": words(np.where(stray > 0, sku(lines)[line], -1), sku_names(s)),
        "country": words(np.where(stray > 0, lines["market"][line], -1), s.world.markets),
        "shop": words(np.where(stray > 0, _shop(s)[line], -1), shop_names(s.world)),
    }


RETURN_ID = "'R' || ret_order || '-' || ret_no"
LINE_ID = f"{RETURN_ID} || '-' || row_no"
PARCEL_ID = "'P' || ret_order || '-' || ret_no"
ORDER_LINE_ID = "CASE stray WHEN 1 THEN NULL ELSE ret_order || '-' || line_no END"
SPOILED = "CASE kind WHEN 3 THEN '-n' WHEN 4 THEN '-i' WHEN 5 THEN '-b' ELSE '' END"


def _event_ids(system: str) -> list[str]:
    return [
        (
            f"'{system}-' || ret_order || '-' || ret_no || '-' || row_no || '-' || event || CASE WHEN lot_no > 1 THEN"
            f" '-' || lot_no ELSE '' END || {SPOILED} AS event_id"
        ),
        f"{LINE_ID} AS return_line_id",
        f"{RETURN_ID} AS return_id",
        f"{ORDER_LINE_ID} AS order_line_id",
    ]


def _return_events(rng: Rng, s: Simulation, writer: Writer) -> None:
    _portal(rng, s, writer)
    _carriers(rng, s, writer)
    _sites(rng, s, writer)


def _keep(s: Simulation, rng: Rng, when: Array, lag: float) -> tuple[Array, Array]:
    """When events are recorded (seconds), and which are on this side of the curtain."""
    recorded = when + np.floor(rng.exponential(lag, len(when)))
    return recorded, np.isfinite(when) & (recorded <= s.world.end)


def _types(s: Simulation, row: Array) -> Array:
    kind, of = s.rows["kind"][row], s.rows["of"][row]
    headline = np.where(s.rows["is_exchanged"][row], 2, s.back["type"][of])
    return np.where((kind == HEADLINE) | (kind == VOID), headline, kind + 2)


def _portal(rng: Rng, s: Simulation, writer: Writer) -> None:
    rows, back, p = s.rows, s.back, s.world.parameters
    of = rows["of"]
    online = np.flatnonzero((back["way"][of] != TILL) & (back["way"][of] != BOUNCED))
    none = np.empty(0, np.int64)
    replaced = np.full(len(s.lines["order"]), np.inf)
    swapped = np.flatnonzero(s.lines["exchanged_from"] >= 0)
    replaced[s.lines["exchanged_from"][swapped]] = s.lines["ordered_at"][swapped]
    exchanged = np.where(rows["is_exchanged"], replaced[rows["line"]], np.inf)
    columns_of = {
        "requested": back["requested"][of],
        "approved": back["approved"][of],
        "rejected": back["rejected"][of],
        "label_issued": np.where(back["way"][of] == TOTE, np.inf, back["label"][of]),
        "cancelled": back["cancelled"][of],
        "expired": back["expired"][of],
        "exchanged": exchanged,
    }
    event, row, when, _ = _gather([(code, online, columns_of[name][online], none) for code, name in enumerate(PORTAL)])
    recorded, kept = _keep(s, rng, when, 40)
    event, row, when, recorded = event[kept], row[kept], when[kept], recorded[kept]
    seen = int(((rows["stray"][row] > 0) & (event == 0)).sum())
    part, labels = parts(when)
    plan = writer.plan(rng, when, recorded, part, text=True)
    take = plan.row
    event, row = event[take], row[take]
    asked = event == 0
    names, market = list(p["wordings"]), s.lines["market"][rows["line"][row]]
    is_french = world_language(s)[market]
    wordings: list[str] = []
    note_words: list[str] = []
    start: dict[tuple[int, int], int] = {}
    note_start: dict[tuple[int, int], int] = {}
    variants: dict[tuple[int, int], int] = {}
    note_variants: dict[tuple[int, int], int] = {}
    for i, name in enumerate(names):
        for french, language in ((1, "fr"), (0, "en")):
            start[i, french], variants[i, french] = len(wordings), len(p["wordings"][name][language])
            wordings += p["wordings"][name][language]
            note_start[i, french], note_variants[i, french] = len(note_words), len(p["notes"][name][language])
            note_words += p["notes"][name][language]

    def of_words(begin: dict[Any, int], count: dict[Any, int]) -> Array:
        first = np.array([[begin[i, f] for f in (0, 1)] for i in range(len(names))])
        size = np.array([[count[i, f] for f in (0, 1)] for i in range(len(names))])
        reason = np.maximum(rows["reason"][row], 0)
        chosen: Array = first[reason, is_french] + rows["variant"][row] % size[reason, is_french]
        return chosen

    reason = np.where(asked & (rows["reason"][row] >= 0), of_words(start, variants), -1)
    other = wordings.index("Autre"), wordings.index("Other")
    reason = np.where((plan.kind == LATE_EDIT) & asked, np.where(is_french, *other), reason)
    note = np.where(asked & rows["has_note"][row], of_words(note_start, note_variants), -1)
    carrier_names = [*p["carriers"], p["trunk_carrier"]]
    when = spoiled(plan, when, is_early=True)
    when = np.where((plan.kind == LATE_EDIT) & ~asked, when - 60, when)
    decided = [PORTAL.index("approved"), PORTAL.index("rejected")]
    share = np.cumsum(list(p["decline_reasons"].values()))
    spread = (rows["order_no"][row] * 0.6180339887) % 1  # even, and the same for a given order
    declined = np.where(event == decided[1], np.searchsorted(share, spread).clip(max=len(share) - 1), -1)
    columns = _return_columns(s, row, plan.kind) | {
        "event": words(event, PORTAL),
        "lot_no": np.ones(len(row), np.int64),
        "occurred_at": times(when),
        "recorded_at": times(plan.recorded),
        "units": rows["units"][row],
        "carrier": words(np.where(asked, back["carrier"][rows["of"][row]], -1), carrier_names),
        "method": words(np.where(asked, back["method"][rows["of"][row]], -1), METHODS),
        "reason_raw": words(reason, wordings),
        "note_terms": words(note, note_words),
        "return_type": words(np.where(asked, _types(s, row), -1), RETURN_TYPES),
        "has_parcel": s.rows["kind"][row] != VOID,
        "customer": pa.array(s.lines["customer"][rows["line"][row]] + 100000, mask=rows["stray"][row] == 0),
        "decline_reason": words(declined, list(p["decline_reasons"])),
        "is_manual": np.isin(event, decided) & back["is_manual"][rows["of"][row]],
    }
    select = [
        *_event_ids("portal"),
        f"CASE WHEN has_parcel THEN {PARCEL_ID} END AS parcel_id",
        "event",
        iso("occurred_at"),
        f"CASE kind WHEN {BAD_NUMBER} THEN '\"deux\"'::JSON ELSE units::VARCHAR::JSON END AS units",
        "carrier",
        "method",
        "reason_raw",
        "note_terms",
        "return_type",
        "decline_reason",
        "is_manual",
        "product AS product_id",
        "'C' || customer AS customer_id",
        "country",
        "shop AS shop_id",
        "'portal' AS system",
        iso("recorded_at"),
    ]
    writer.write("portal/return_event.portal{}.ndjson", columns, select, plan, labels)
    writer.note("portal/return_event.portal.ndjson", "without_order", seen)


def world_language(s: Simulation) -> Array:
    """1 where a market's wordings are French."""
    is_french: Array = (s.world.market("language") == "fr").astype(np.int64)
    return is_french


def _carriers(rng: Rng, s: Simulation, writer: Writer) -> None:
    rows, back, p = s.rows, s.back, s.world.parameters
    of, way, kind = rows["of"], s.back["way"][rows["of"]], rows["kind"]
    none = np.empty(0, np.int64)
    never = np.full(len(of), np.inf)
    moments = {
        "handed_over": np.where(way == PARCEL, back["handed_shown"][of], never),
        "carrier_scan": np.where(way == BOUNCED, never, back["scan_shown"][of]),
        "lost": back["lost"][of],
        "delivery_refused": np.where(kind == REFUSED, back["requested"][of], never),
        "uncollected": np.where(kind == UNCOLLECTED, back["requested"][of], never),
    }
    everyone = np.arange(len(of))
    event, row, when, _ = _gather([(code, everyone, moments[name], none) for code, name in enumerate(CARRIER)])
    recorded, kept = _keep(s, rng, when, 5400)
    event, row, when, recorded = event[kept], row[kept], when[kept], recorded[kept]
    part, labels = parts(when)
    plan = writer.plan(rng, when, recorded, part, text=True)
    event, row = event[plan.row], row[plan.row]
    market, area = s.lines["market"][rows["line"][row]], s.lines["area"][rows["line"][row]]
    hub = s.network.hub_of[market, area]
    carrier, method = back["carrier"][rows["of"][row]], back["method"][rows["of"][row]]
    inside = np.minimum(np.maximum(carrier, 0), len(p["carriers"]) - 1)
    point = s.network.point_of[inside, np.maximum(method, 0), market, area]
    place = np.where(event == 0, point, np.where(event == 1, hub, -1))
    late = plan.kind == LATE_EDIT
    when = np.where(late, spoiled(plan, when, is_early=True) - 3600, spoiled(plan, when, is_early=True))
    columns = _return_columns(s, row, plan.kind) | {
        "event": words(event, CARRIER),
        "lot_no": np.ones(len(row), np.int64),
        "occurred_at": times(when),
        "recorded_at": times(plan.recorded),
        "units": rows["units"][row],
        "place_id": words(place, s.network.column("place_id").tolist()),
        "carrier": words(carrier, [*p["carriers"], p["trunk_carrier"]]),
        "method": words(method, METHODS),
        "return_type": words(np.where(event >= 3, _types(s, row), -1), RETURN_TYPES),
    }
    select = [
        *_event_ids("carrier"),
        f"{PARCEL_ID} AS parcel_id",
        "event",
        iso("occurred_at"),
        number("units"),
        "place_id",
        "carrier",
        "method",
        "return_type",
        "product AS product_id",
        "country",
        "shop AS shop_id",
        "'carrier' AS system",
        iso("recorded_at"),
    ]
    writer.write("carrier/return_event.carrier{}.csv", columns, select, plan, labels)
    scanned = (back["scanned"] <= s.world.end) & back["is_missed"]
    writer.note("carrier/return_event.carrier.csv", "missing_scan", int(scanned.sum()))


def _sites(rng: Rng, s: Simulation, writer: Writer) -> None:
    """Tills and tote drops to the stores' file, receipt to disposal to the returns centre's."""
    rows, back, lot = s.rows, s.back, s.lot
    of = rows["of"]
    way = back["way"][of]
    everyone, none = np.arange(len(of)), np.full(len(of), -1)
    lots_of, lot_way = lot["row"], way[lot["row"]]
    each = np.arange(len(lots_of))
    restocked = np.isin(np.array(DISPOSITIONS)[lot["disposition"]], RESTOCKED)
    never = np.full(len(each), np.inf)
    for system in ("stores", "wms"):
        in_store = system == "stores"
        mine, mine_lot = (way == TILL, lot_way == TILL) if in_store else (way != TILL, lot_way != TILL)
        names = STORES if in_store else CENTRE
        pieces = [
            (names.index("received"), everyone[mine], back["received"][of][mine], none[mine]),
            (names.index("inspected"), lots_of[mine_lot], lot["inspected"][mine_lot], each[mine_lot]),
            (
                names.index("restocked"),
                lots_of[mine_lot],
                np.where(restocked, lot["finished"], never)[mine_lot],
                each[mine_lot],
            ),
            (
                names.index("disposed"),
                lots_of[mine_lot],
                np.where(restocked, never, lot["finished"])[mine_lot],
                each[mine_lot],
            ),
        ]
        if in_store:
            dropped = way == TOTE
            pieces += [
                (0, everyone[mine], back["requested"][of][mine], none[mine]),
                (names.index("handed_over"), everyone[dropped], back["handed"][of][dropped], none[dropped]),
            ]
        event, row, when, lot_at = _gather(pieces)
        recorded, kept = _keep(s, rng, when, 300 if in_store else 900)
        event, row, when, lot_at, recorded = event[kept], row[kept], when[kept], lot_at[kept], recorded[kept]
        part, labels = parts(when)
        plan = writer.plan(rng, when, recorded, part, text=in_store)
        event, row, lot_at = event[plan.row], row[plan.row], lot_at[plan.row]
        has_lot = lot_at >= 0
        safe = np.maximum(lot_at, 0)
        graded = has_lot & (event == names.index("inspected"))
        market, area = s.lines["market"][rows["line"][row]], s.lines["area"][rows["line"][row]]
        place = s.network.store_of[market, area] if in_store else np.full(len(row), s.network.site["returns_centre"])
        grade = np.where(graded, lot["grade"][safe], -1)
        grade = np.where((plan.kind == LATE_EDIT) & graded, 1, grade)
        when = spoiled(plan, when)
        when = np.where((plan.kind == LATE_EDIT) & ~graded, when - 900, when)
        asked = (event == 0) & in_store
        wordings = _wording(s, row)
        columns = _return_columns(s, row, plan.kind) | {
            "event": words(event, names),
            "lot_no": np.where(has_lot, lot["lot_no"][safe], 1),
            "occurred_at": times(when),
            "recorded_at": times(plan.recorded),
            "units": np.where(has_lot, lot["units"][safe], rows["units"][row]),
            "place_id": words(place, s.network.column("place_id").tolist()),
            "condition": words(grade, "abcd"),
            "inspection_outcome": words(
                np.where(graded, lot["found"][safe], -1), list(s.world.parameters["inspection_outcomes"])
            ),
            "disposition": words(np.where(has_lot, lot["disposition"][safe], -1), DISPOSITIONS),
        }
        select = [
            *_event_ids(system),
            f"{PARCEL_ID} AS parcel_id",
            "event",
            iso("occurred_at", text=in_store),
            number("units") if in_store else "units",
            "place_id",
        ]
        if in_store:
            columns |= {
                "method": words(
                    np.where(asked | (event == names.index("handed_over")), METHODS.index("store"), -1), METHODS
                ),
                "reason_raw": words(np.where(asked, wordings[0], -1), wordings[1]),
                "return_type": words(np.where(asked, _types(s, row), -1), RETURN_TYPES),
            }
            select += ["method", "reason_raw", "return_type"]
        select += [
            "condition",
            "inspection_outcome",
            "disposition",
            "product AS product_id",
            "country",
            "shop AS shop_id",
            f"'{'stores' if in_store else 'returns_centre'}' AS system",
            iso("recorded_at", text=in_store),
        ]
        name = "stores/return_event.stores{}.csv" if in_store else "returns_centre/return_event.wms{}.parquet"
        writer.write(name, columns, select, plan, labels)


def _wording(s: Simulation, row: Array) -> tuple[Array, list[str]]:
    """First wording of each return line's reason in its market's language."""
    p = s.world.parameters
    names = [p["wordings"][name][language][0] for name in p["wordings"] for language in ("en", "fr")]
    reason = s.rows["reason"][row]
    return np.where(reason >= 0, reason * 2 + world_language(s)[s.lines["market"][s.rows["line"][row]]], -1), names


def _refunds(rng: Rng, s: Simulation, writer: Writer, fx: dict[str, Array]) -> None:
    rows, back, lines, p, end = s.rows, s.back, s.lines, s.world.parameters, s.world.end
    of, line = rows["of"], rows["line"]
    due = (rows["kind"] != VOID) & ~rows["is_exchanged"]
    share = rows["units"] / np.maximum(lines["units"][line], 1)
    vat = np.round(lines["vat"][line] * share, 2)
    amount = np.round(lines["net"][line] * share, 2) + vat
    paid = back["refunded"][of]
    # money back without goods: one line, no return
    count = round(len(lines["order"]) * p["price_adjustments"])
    able = np.flatnonzero((lines["cancelled"] == 0) & (lines["delivered_at"] < end - 6 * DAY))
    adjusted = np.sort(rng.choice(able, min(count, len(able)), replace=False))
    back_share = rng.choice([0.05, 0.1, 0.15], len(adjusted))
    adjusted_vat = np.round(lines["vat"][adjusted] * back_share, 2)
    adjusted_amount = np.round(lines["net"][adjusted] * back_share, 2) + adjusted_vat
    adjusted_at = lines["delivered_at"][adjusted] + np.floor(rng.uniform(0.5, 5, len(adjusted)) * DAY)

    keep = np.flatnonzero(due & np.isfinite(paid))
    total = np.bincount(of[keep], amount[keep], len(back["line"]))
    refunded = np.flatnonzero(np.bincount(of[keep], minlength=len(back["line"])) > 0)
    lag_of = np.floor(rng.exponential(1800, len(back["line"])))
    kind_of = pick_kind(rng, s, len(back["line"]))
    refunded = refunded[back["refunded"][refunded] + lag_of[refunded] <= end]
    is_paid = np.zeros(len(back["line"]), dtype=bool)
    is_paid[refunded] = True
    keep = keep[is_paid[of[keep]]]
    adjusted_lag = np.floor(rng.exponential(1800, len(adjusted)))

    first = back["line"]
    when = np.r_[back["refunded"][refunded], adjusted_at]
    recorded = when + np.r_[lag_of[refunded], adjusted_lag]
    kept = recorded <= end
    order_no = np.r_[back["order_no"][refunded], lines["order_no"][adjusted]]
    return_no = np.r_[back["return_no"][refunded], np.zeros(len(adjusted), np.int64)]
    line_no = np.r_[np.zeros(len(refunded), np.int64), lines["line_no"][adjusted]]
    market = np.r_[lines["market"][first[refunded]], lines["market"][adjusted]]
    value = np.r_[total[refunded], adjusted_amount]
    stray = np.r_[back["stray"][refunded], np.zeros(len(adjusted), np.int64)]
    how = np.r_[kind_of[refunded], np.zeros(len(adjusted), np.int64)]
    pack = [a[kept] for a in (when, recorded, order_no, return_no, line_no, market, value, stray, how)]
    when, recorded, order_no, return_no, line_no, market, value, stray, how = pack
    part, labels = parts(when)
    plan = writer.plan(rng, when, recorded, part, text=True)
    t = plan.row
    columns = {
        "kind": plan.kind,
        "order_no": order_no[t],
        "ret_no": return_no[t],
        "line_no": line_no[t],
        "refunded_at": times(spoiled(plan, when)),
        "amount": np.where(plan.kind == LATE_EDIT, value[t] + 5, value[t]),
        "currency": words(market[t], s.world.market("currency").tolist()),
        "how": words(how[t], list(p["store_credit"])),
        "stray": stray[t],
        "recorded_at": times(plan.recorded),
    }
    refund_id = "'F' || order_no || CASE WHEN ret_no > 0 THEN '-' || ret_no ELSE '-A' || line_no END"
    select = [
        f"{refund_id} || {SPOILED} AS refund_id",
        "CASE stray WHEN 0 THEN order_no::VARCHAR END AS order_id",
        "CASE WHEN ret_no > 0 THEN 'R' || order_no || '-' || ret_no END AS return_id",
        iso("refunded_at"),
        number("amount", "round(amount, 2)::DECIMAL(14, 2)"),
        "currency",
        "how AS kind",
        "'finance' AS system",
        iso("recorded_at"),
    ]
    writer.write("finance/refund{}.csv", columns, select, plan, labels)
    early = back["is_instant"] & is_paid
    writer.note("finance/refund.csv", "refund_before_receipt", int(early.sum()))

    on_time = adjusted_at + adjusted_lag <= end
    adjusted, adjusted_at, adjusted_lag, adjusted_amount, adjusted_vat = (
        a[on_time] for a in (adjusted, adjusted_at, adjusted_lag, adjusted_amount, adjusted_vat)
    )
    when = np.r_[paid[keep], adjusted_at]
    recorded = when + np.r_[lag_of[of[keep]], adjusted_lag]
    zero = np.zeros(len(adjusted), np.int64)
    table = {
        "order_no": np.r_[rows["order_no"][keep], lines["order_no"][adjusted]],
        "ret_no": np.r_[back["return_no"][of[keep]], zero],
        "row_no": np.r_[rows["no"][keep], zero],
        "line_no": np.r_[lines["line_no"][line[keep]], lines["line_no"][adjusted]],
        "units": np.r_[rows["units"][keep], zero],
        "amount": np.r_[amount[keep], adjusted_amount],
        "vat_amount": np.r_[vat[keep], adjusted_vat],
        "stray": np.r_[rows["stray"][keep], zero],
        "is_lost": np.r_[np.isfinite(back["lost"][of[keep]]), zero > 0],
        "market": np.r_[lines["market"][line[keep]], lines["market"][adjusted]],
    }
    part, labels = parts(when)
    plan = writer.plan(rng, when, recorded, part, text=True, can_edit=False)
    columns = {name: values[plan.row] for name, values in table.items()}
    columns |= {
        "kind": plan.kind,
        "refunded_at": times(spoiled(plan, when)),
        "recorded_at": times(plan.recorded),
        "currency": words(columns.pop("market"), s.world.market("currency").tolist()),
    }
    select = [
        f"{refund_id} || '-' || row_no || {SPOILED} AS refund_line_id",
        f"{refund_id} AS refund_id",
        "CASE WHEN stray <> 1 THEN order_no || '-' || line_no END AS order_line_id",
        "CASE WHEN ret_no > 0 THEN 'R' || order_no || '-' || ret_no || '-' || row_no END AS return_line_id",
        iso("refunded_at"),
        number("units"),
        money("amount"),
        money("vat_amount"),
        "currency",
        "CASE WHEN ret_no = 0 THEN 'adjustment' WHEN is_lost THEN 'no_restock' ELSE 'return' END AS restock_type",
        "'finance' AS system",
        iso("recorded_at"),
    ]
    writer.write("finance/refund_line{}.csv", columns, select, plan, labels)


def pick_kind(rng: Rng, s: Simulation, count: int) -> Array:
    """How each refund is paid."""
    shares = np.array(list(s.world.parameters["store_credit"].values()))
    return np.minimum(np.searchsorted(np.cumsum(shares), rng.random(count)), len(shares) - 1)


def _recoveries(rng: Rng, s: Simulation, writer: Writer) -> None:
    lot, rows, lines, p = s.lot, s.rows, s.lines, s.world.parameters
    row = lot["row"]
    line = rows["line"][row]
    recorded, kept = _keep(s, rng, lot["realised"], 3600)
    kept &= lot["realised"] > lot["finished"]
    row, line, recorded = row[kept], line[kept], recorded[kept]
    lot = {name: values[kept] for name, values in lot.items()}
    price, cost = s.styles["price"][lines["style"][line]], s.styles["cost"][lines["style"][line]]
    share = np.array([p["recovery"].get(name, 0.0) for name in DISPOSITIONS])[lot["disposition"]]
    weeks = (lot["realised"] - lines["ordered_at"][line]) / (7 * DAY)
    fresh = np.clip(1 - p["recovery"]["as_new_markdown_per_week"] * weeks, 0.4, 1.0) * (1 - lines["discount"][line])
    share = np.where(
        lot["disposition"] == DISPOSITIONS.index("as_new"), fresh, share * np.exp(0.15 * rng.standard_normal(len(row)))
    )
    value = np.where(
        lot["disposition"] == DISPOSITIONS.index("return_to_supplier"),
        cost * p["recovery"]["return_to_supplier_of_cost"],
        price * share,
    )
    treatment = (
        np.array([p["treatment_cost"].get(name, 0.0) for name in DISPOSITIONS])[lot["disposition"]] * lot["units"]
    )
    destroyed = lot["disposition"] == DISPOSITIONS.index("destroyed")
    in_store = s.back["way"][rows["of"][row]] == TILL
    market, area = lines["market"][line], lines["area"][line]
    place = np.where(in_store, s.network.store_of[market, area], s.network.site["returns_centre"])
    table = {
        "ret_order": rows["order_no"][row],
        "ret_no": s.back["return_no"][rows["of"][row]],
        "row_no": rows["no"][row],
        "lot_no": lot["lot_no"],
        "units": lot["units"],
        "amount": np.round(value * lot["units"], 2),
        "treatment_cost": np.round(treatment, 2),
    }
    part, labels = parts(lot["realised"])
    plan = writer.plan(rng, lot["realised"], recorded, part, text=True, can_edit=False)
    t = plan.row
    columns = {name: values[t] for name, values in table.items()} | {
        "kind": plan.kind,
        "recovered_at": times(spoiled(plan, lot["realised"])),
        "recorded_at": times(plan.recorded),
        "disposition": words(lot["disposition"][t], DISPOSITIONS),
        "grade": words(lot["grade"][t], "abcd"),
        "place_id": words(place[t], s.network.column("place_id").tolist()),
        "why": words(
            np.where(destroyed, rng.integers(0, len(p["derogation_reasons"]), len(row)), -1)[t], p["derogation_reasons"]
        ),
    }
    select = [
        f"'V' || ret_order || '-' || ret_no || '-' || row_no || '-' || lot_no || {SPOILED} AS recovery_id",
        f"{LINE_ID} AS return_line_id",
        iso("recovered_at"),
        number("units"),
        "disposition",
        "grade",
        money("amount"),
        money("treatment_cost"),
        "'EUR' AS currency",
        "place_id",
        "why AS derogation_reason",
        (
            "CASE WHEN why IS NOT NULL AND row_no + ret_no + ret_order % 20 <> 5 THEN 'CERT-' || ret_order || '-' ||"
            " row_no END AS evidence_ref"
        ),
        "'recovery' AS system",
        iso("recorded_at"),
    ]
    writer.write("recovery/recovery{}.csv", columns, select, plan, labels)


def _chain_elements(rng: Rng, s: Simulation, writer: Writer) -> None:
    e, back, p, end = s.elements, s.back, s.world.parameters, s.world.end
    recorded = e["start"] + np.floor(rng.exponential(4 * 3600, len(e["start"])))
    kept = np.flatnonzero(np.isfinite(e["start"]) & (recorded <= end))
    e = {name: values[kept] for name, values in e.items()}
    recorded = recorded[kept]
    part, labels = parts(e["start"])
    plan = writer.plan(rng, e["start"], recorded, part, text=False)
    t = plan.row
    e = {name: values[t] for name, values in e.items()}
    places = s.network.column("place_id").tolist()
    start = np.where(
        plan.kind == CLEAN,
        e["start"],
        spoiled(Plan(np.arange(len(t)), plan.kind, plan.recorded, plan.part), e["start"]),
    )
    at = e["at"]
    columns = {
        "kind": plan.kind,
        "ret_order": back["order_no"][at],
        "ret_no": back["return_no"][at],
        "element_no": e["no"],
        "element_type": words(e["type"], net.ELEMENT_TYPES),
        "role": words(e["role"], net.ROLES),
        "from_place_id": words(e["from"], places),
        "to_place_id": words(e["to"], places),
        "started_at": times(start),
        "ended_at": times(e["end"], end),
        "carrier": words(e["carrier"], [*p["carriers"], p["trunk_carrier"]]),
        "service": words(e["service"], net.SERVICES),
        "mode": words(e["mode"], net.MODES),
        "vehicle": words(e["vehicle"], net.VEHICLES),
        "fuel": words(e["fuel"], net.FUELS),
        "mass_kg": numbers(np.where(plan.kind == LATE_EDIT, np.round(e["mass"] * 1.1, 3), e["mass"])),
        "distance_km": numbers(e["km"]),
        "trip_share": numbers(e["trip_share"]),
        "cost_amount": numbers(e["cost"]),
        "round": pa.array(e["round"], mask=e["round"] < 0),
        "tote": pa.array(e["tote"], mask=e["tote"] < 0),
        "shared": pa.array(e["shared"], mask=e["shared"] < 0),
        "recorded_at": times(plan.recorded),
    }
    select = [
        f"'E' || ret_order || '-' || ret_no || '-' || element_no || {SPOILED} AS element_id",
        f"{PARCEL_ID} AS parcel_id",
        "element_no",
        "element_type",
        "role",
        "from_place_id",
        "to_place_id",
        iso("started_at", text=False),
        iso("ended_at", text=False),
        "carrier",
        "service",
        "mode",
        "vehicle",
        "fuel",
        "mass_kg",
        "distance_km",
        "trip_share",
        "cost_amount::DECIMAL(12, 2) AS cost_amount",
        "CASE WHEN cost_amount IS NOT NULL THEN 'EUR' END AS currency",
        (
            "CASE WHEN tote IS NOT NULL THEN 'TOTE-' || tote WHEN round IS NOT NULL THEN 'ROUND-' || round END AS"
            " movement_id"
        ),
        "shared AS movement_parcels",
        "'transport' AS system",
        iso("recorded_at", text=False),
    ]
    writer.write("transport/chain_element{}.parquet", columns, select, plan, labels)
