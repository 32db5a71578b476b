"""Files of the catalogue and of finance."""

import numpy as np
import pyarrow as pa

from pipelines.sample.draws import DAY, Array, Rng
from pipelines.sample.files import Writer, iso, money, times, words
from pipelines.sample.shop import SKU_STEP, told_style
from pipelines.sample.simulation import Simulation, shop_names, sku_names


def finance_rates(rng: Rng, s: Simulation, writer: Writer) -> dict[str, Array]:
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


def catalogue(rng: Rng, s: Simulation, writer: Writer) -> None:
    """Write products, bills of materials and price changes."""
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
