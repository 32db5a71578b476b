"""Files of the catalogue and of finance."""

from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.sample.draws import DAY, Array, Columns, Rng
from pipelines.sample.files import Writer, iso, money, times, words
from pipelines.sample.shop import SKU_STEP, told_style
from pipelines.sample.simulation import Simulation, shop_names, sku_names

NOUNS = {
    "dresses": "Robe",
    "apparel": "Maille",
    "footwear": "Chaussure",
    "accessories": "Accessoire",
    "electronics": "Audio",
    "home": "Linge",
    "beauty": "Soin",
}
"""What a style of each category is called before its name."""
PRODUCT = [
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
PLACE = [
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
]
SHOP = [
    "shop_id",
    iso("valid_from"),
    "'Maison Halage SAS' AS legal_entity",
    "'Halage' AS brand",
    "market",
    "channel",
    "currency",
    "time_zone",
    "'catalogue' AS system",
]
POLICY = [
    "concat_ws('-', 'policy', market, tier) AS policy_id",
    iso("valid_from"),
    "market",
    "tier AS loyalty_tier",
    "window_days",
    "window_until",
    "0.00 AS fee_amount",
    "currency",
    "methods",
    "refund_trigger",
    "promise_id",
    "from_stage",
    "to_stage",
    "duration",
    "duration_unit",
    "responsible",
    "'catalogue' AS system",
]
CARRIER_CALENDAR = ["carrier", "country", iso("valid_from"), "weekdays", "works_holidays", "'catalogue' AS system"]


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
    """Write products, places, shops, policies and the carriers' calendars."""
    _write_products(s, writer)
    _write_places(s, writer)
    _write_shops(s, writer)
    _write_policies(s, writer)
    _write_carrier_calendars(s, writer)


def _write_products(s: Simulation, writer: Writer) -> None:
    world, styles, p = s.world, s.styles, s.world.parameters
    names, launched, rows = sku_names(s), _launched(s), list(p["categories"].values())
    brand, brands = _brands(s)
    versions = _product_versions(s, np.array(names), launched)
    style, category, valid = versions["style"], versions["category"], versions["valid_from"]
    style_ids = [f"{world.categories[c][:2].upper()}{i + 1:04d}" for i, c in enumerate(styles["category"].tolist())]
    colour = (styles["colour"][style] + versions["colour"] * 3) % len(p["colours"])
    columns = {
        "kind": np.zeros(len(style), np.int64),
        "product_id": words(versions["sku"], names),
        "valid_from": times(valid),
        "style_id": words(style, style_ids),
        "name": words(style, _style_names(s)),
        "category": words(category, world.categories),
        "brand": words(brand[style], brands),
        "supplier": words(styles["supplier"][style], p["suppliers"]),
        "season": words(style, _season_labels(s)),
        "size": _size_words(s, category, versions["size"]),
        "colour": words(colour, p["colours"]),
        "size_note": words(versions["note"], [world.stories.get("robe_alba", {}).get("size_note", "")]),
        "weight_kg": styles["mass"][style],
        "list_price": styles["price"][style],
        "unit_cost": styles["cost"][style],
        "hs_chapter": words(category, [row["hs"] for row in rows]),
        "footprint_class": words(category, [row["footprint"] for row in rows]),
        "launched_on": pa.array((launched[style] // DAY).astype(np.int32), pa.date32()),
        "recorded_at": times(valid + 3600),
    }
    writer.write("catalogue/product.csv", columns, PRODUCT)


def _launched(s: Simulation) -> Array:
    """Give each style the day it is first sold, in seconds: two weeks before its season, or with the shop."""
    world, season = s.world, s.styles["season"]
    first = np.full(len(season), world.start - 30 * DAY)
    opens = (season * 6 + 1).astype("M8[M]").astype("M8[s]").astype(np.int64).astype(float)
    launched = np.where(season >= 0, np.maximum(opens - 14 * DAY, first), first)
    alba = told_style(world, s.styles, "robe_alba")
    if alba >= 0:
        launched[alba] = world.since("robe_alba", world.stories["robe_alba"]["on_sale_weeks"])
    day: Array = np.floor(launched / DAY) * DAY
    return day


def _product_versions(s: Simulation, names: Array, launched: Array) -> Columns:
    """Give one row a product, and a second one where Robe Alba gets its size note; by product and time."""
    sku: Array = np.flatnonzero(names != "")
    style: Array = sku // SKU_STEP
    versions: Columns = {
        "sku": sku,
        "style": style,
        "colour": sku % SKU_STEP // 8,
        "size": sku % 8,
        "category": s.styles["category"][style],
        "valid_from": launched[style],
        "note": np.full(len(style), -1),
    }
    alba = told_style(s.world, s.styles, "robe_alba")
    if alba >= 0:
        noted = {name: values[style == alba] for name, values in versions.items()}
        noted_at = np.floor(s.world.since("robe_alba", s.world.stories["robe_alba"]["note_weeks"]) / DAY) * DAY
        noted["valid_from"] = np.full(len(noted["sku"]), noted_at)
        noted["note"] = np.zeros(len(noted["sku"]), np.int64)
        versions = {name: np.r_[values, noted[name]] for name, values in versions.items()}
    order = np.lexsort((versions["valid_from"], versions["sku"]))
    return {name: values[order] for name, values in versions.items()}


def _story_styles(s: Simulation, attribute: str) -> list[str]:
    """List an attribute of the stories' styles, in the order in which they stand last."""
    return [s.world.stories[key][attribute] for key in ("robe_alba", "decoy", "noise") if key in s.world.stories]


def _style_names(s: Simulation) -> list[str]:
    """Name each style: its category's noun and its title, the stories' by their title alone."""
    styles, p = s.styles, s.world.parameters
    titles = [*p["style_names"], *_story_styles(s, "style")]
    title = np.where(styles["story"] >= 0, len(p["style_names"]) + styles["story"], styles["name"])
    return [
        titles[t] if story >= 0 else f"{NOUNS.get(s.world.categories[c], '')} {titles[t]}".strip()
        for t, story, c in zip(title.tolist(), styles["story"].tolist(), styles["category"].tolist(), strict=True)
    ]


def _brands(s: Simulation) -> tuple[Array, list[str]]:
    """Give each style's brand as a position, and the brands; those of the stories stand last."""
    styles, brands = s.styles, s.world.parameters["brands"]
    brand = np.where(styles["story"] >= 0, len(brands) + styles["story"], styles["brand"])
    return brand, [*brands, *_story_styles(s, "brand")]


def _season_labels(s: Simulation) -> list[str]:
    """Label each style's season: SS24, AW24, or permanent."""
    return [
        f"{'AW' if h % 2 else 'SS'}{(1970 + (h * 6 + 1) // 12) % 100:02d}" if h >= 0 else "permanent"
        for h in s.styles["season"].tolist()
    ]


def _size_words(s: Simulation, category: Array, size: Array) -> pa.Array:
    """Name each product's size on the scale of its category."""
    p = s.world.parameters
    sizes = [p["sizes"][row["sizes"]]["names"] for row in p["categories"].values()]
    size_names, size_at = np.unique(
        np.array([sizes[c][z] for c, z in zip(category.tolist(), size.tolist(), strict=True)]), return_inverse=True
    )
    return words(size_at, size_names.tolist())


def _long_ago(s: Simulation, count: int) -> Array:
    """Give `count` rows a time before all orders: what is valid from the start on."""
    return np.full(count, s.world.start - 400 * DAY)


def _write_places(s: Simulation, writer: Writer) -> None:
    n = len(s.network.places)
    before = _long_ago(s, n)
    columns = {"kind": np.zeros(n, np.int64), "valid_from": times(before), "recorded_at": times(before)}
    fields = ("place_id", "kind", "name", "country", "area", "time_zone")
    columns |= {f"p_{f}": pa.array([place[f] or None for place in s.network.places]) for f in fields}
    columns |= {f: s.network.column(f) for f in ("latitude", "longitude")}
    writer.write("catalogue/place.csv", columns, PLACE)


def _write_shops(s: Simulation, writer: Writer) -> None:
    world, shops = s.world, shop_names(s.world)
    market = np.arange(len(shops)) % len(world.markets)
    online = np.arange(len(shops)) // len(world.markets)
    columns = {
        "kind": np.zeros(len(shops), np.int64),
        "shop_id": pa.array(shops),
        "valid_from": times(_long_ago(s, len(shops))),
        "market": words(market, world.markets),
        "channel": words(online, ("web", "store", "marketplace")),
        "currency": words(market, world.market("currency").tolist()),
        "time_zone": words(market, world.market("zone").tolist()),
    }
    writer.write("catalogue/shop.csv", columns, SHOP)


def _policy_versions(s: Simulation) -> list[dict[str, Any]]:
    """List the promises of each version of each market's policy, for all customers and for the gold tier.

    A version begins long ago, with a longer window, and with and after each winter's longer window.
    """
    world, p, versions = s.world, s.world.parameters, []
    story = world.stories.get("germany_window")
    winters = world.christmas()
    for market, name in enumerate(world.markets):
        changed = world.since("germany_window") if story and story["market"] == name else np.inf
        begins = {world.start - 400 * DAY, changed, *(day for first, after, _ in winters for day in (first, after))}
        for begin in sorted(day for day in begins if world.start - 400 * DAY <= day <= world.end):
            within = [until for first, after, until in winters if first <= begin < after]
            version = {
                "market": market,
                "valid_from": begin,
                "window_days": story["window_days"][1] if story and begin >= changed else int(p["window_days"]),
                "window_until": int(within[0] // DAY) if within else None,
            }
            for tier, promises in ((None, p["promises"]), ("gold", p["promises"] | p["gold_promises"])):
                for promise_id, (from_stage, to_stage, duration, unit, responsible) in promises.items():
                    versions.append(
                        version
                        | {"tier": tier, "promise_id": promise_id, "from_stage": from_stage, "to_stage": to_stage}
                        | {"duration": float(duration), "duration_unit": unit, "responsible": responsible}
                    )
    return versions


def _return_methods(s: Simulation) -> list[str]:
    """List each market's ways to return: what its carriers offer, and its stores."""
    carriers = s.world.parameters["carriers"].values()
    return [
        " ".join(sorted({method for row in carriers if m in row["markets"] for method in row["methods"]} | {"store"}))
        for m in s.world.markets
    ]


def _write_policies(s: Simulation, writer: Writer) -> None:
    versions = _policy_versions(s)
    market = np.array([row["market"] for row in versions])
    plain = ("window_days", "promise_id", "from_stage", "to_stage", "duration", "duration_unit", "responsible")
    columns = {name: pa.array([row[name] for row in versions]) for name in plain} | {
        "kind": np.zeros(len(versions), np.int64),
        "market": words(market, s.world.markets),
        "valid_from": times(np.floor(np.array([row["valid_from"] for row in versions]) / DAY) * DAY),
        "window_until": pa.array([row["window_until"] for row in versions], pa.int32()).cast(pa.date32()),
        "methods": words(market, _return_methods(s)),
        "currency": words(market, s.world.market("currency").tolist()),
        "refund_trigger": pa.array([s.world.parameters["refund_trigger"]] * len(versions)),
        "tier": pa.array([row["tier"] for row in versions], pa.string()),
    }
    writer.write("catalogue/policy.csv", columns, POLICY)


def _write_carrier_calendars(s: Simulation, writer: Writer) -> None:
    p = s.world.parameters
    days_of = [
        (carrier, market, calendar["weekdays"], calendar["works_holidays"])
        for carrier, calendar in p["carrier_calendars"].items()
        for market in p["carriers"][carrier]["markets"]
    ]
    columns = {"kind": np.zeros(len(days_of), np.int64), "valid_from": times(_long_ago(s, len(days_of)))}
    columns |= {
        name: pa.array([row[i] for row in days_of])
        for i, name in enumerate(("carrier", "country", "weekdays", "works_holidays"))
    }
    writer.write("catalogue/carrier_calendar.csv", columns, CARRIER_CALENDAR)
