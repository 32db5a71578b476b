"""What the shop sells: styles, customers, orders and their lines, before anything comes back.

Returns are in `returns.py`, files in `files.py`. The one idea: an order line is a row of columns of numbers; words are
positions in the lists of `data/sample/parameters.yaml` and become text only when a file is written.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipelines.sample.draws import DAY, NEVER, Array, Columns, Rng, delay, pick, pick_by

COLOURS_A_STYLE = 3
SKU_STEP = 32  # SKU = style * 32 + colour * 8 + size
CHANNELS = ("web", "app", "store", "marketplace")
STORE, MARKETPLACE = 2, 3
HEADLINE, CONFORMITY, SELLER_ERROR, REFUSED, UNCOLLECTED, VOID = range(6)
"""What a return line is; VOID is a request that ends without goods."""
PARCEL, TILL, TOTE, BOUNCED = range(4)
"""Ways back: a parcel, a till that keeps the goods, a tote from a store, an outbound parcel that never was accepted."""


@dataclass
class World:
    """One run: its parameters, its stories (empty without), its first and last second, and its size."""

    parameters: dict[str, Any]
    stories: dict[str, dict[str, Any]]
    start: float
    end: float
    orders: int
    markets: list[str] = field(init=False)
    categories: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.markets = list(self.parameters["markets"])
        self.categories = list(self.parameters["categories"])

    def market(self, name: str) -> Array:
        """One attribute of every market, in order."""
        return np.array([self.parameters["markets"][m][name] for m in self.markets])

    def since(self, story: str, weeks: float | None = None) -> float:
        """When a story begins, at midnight UTC; never when it is not told."""
        if story not in self.stories:
            return NEVER
        back = round((self.stories[story]["weeks"] if weeks is None else weeks) * 7)
        return float(np.floor(self.end / DAY) - back) * DAY

    def christmas(self) -> list[tuple[float, float, float]]:
        """List the orders of each winter that may come back until a date.

        Their first second, the first after them, the date's.
        """
        window = self.parameters["christmas_window"]

        def at(year: int, day: str) -> float:
            return float(np.datetime64(f"{year}-{day}", "s").astype(np.int64))

        first_year, last_year = (1970 + int(np.int64(t) // (365.2425 * DAY)) for t in (self.start, self.end))
        winters = [
            (at(y, window["first"]), at(y, window["last"]) + DAY, at(y + 1, window["until"]))
            for y in range(first_year - 1, last_year + 1)
        ]
        return [(first, after, until) for first, after, until in winters if after > self.start and first <= self.end]

    def scaled(self, count: float) -> int:
        """Scale a count stated for 200,000 order lines to this run; at least one."""
        return max(1, round(count * self.orders / 200_000))


def half_year(when: Array) -> Array:
    """Season of a time: half-years from February and August, numbered from 1970."""
    month = when.astype("M8[s]").astype("M8[M]").astype(np.int64)
    return (month - 1) // 6


def catalogue(rng: Rng, world: World) -> Columns:
    """Draw the styles; the named ones of the stories stand last, in the order alba, decoy, noise."""
    p = world.parameters
    count = int(np.clip(world.orders // 400, 60, 1500))
    rows = list(p["categories"].values())
    category = np.sort(pick(rng, count, [row["styles"] for row in rows]))
    category[: len(rows)] = np.arange(len(rows))  # every category sells something
    first, last = half_year(np.array([world.start, world.end]))
    is_permanent = rng.random(count) < p["permanent_styles"]
    is_permanent[: len(rows)] = True
    season = np.where(is_permanent, -1, rng.integers(first, last + 1, count))
    styles = {
        "category": category,
        "season": season,
        "weight": np.exp(rng.standard_normal(count) * p["style_popularity_sigma"]),
        "effect": rng.standard_normal(count) * p["style_effect_sigma"],
        "name": rng.integers(0, len(p["style_names"]), count),
        "brand": rng.integers(0, len(p["brands"]), count),
        "supplier": rng.integers(0, len(p["suppliers"]), count),
        "colour": rng.integers(0, len(p["colours"]), count),
    }
    told = [key for key in ("robe_alba", "decoy", "noise") if key in world.stories]
    for key in told:
        of = world.categories.index(world.stories[key].get("category", "dresses"))
        row = {
            "category": of,
            "season": -1,
            "weight": 0.0,
            "effect": 0.0,
            "name": -1,
            "brand": -1,
            "supplier": 0,
            "colour": 0,
        }
        styles = {name: np.append(values, row[name]) for name, values in styles.items()}
    styles["story"] = np.append(np.full(count, -1), np.arange(len(told)))
    medians = np.array([row["price"] for row in rows])
    sigmas = np.array([row["price_sigma"] for row in rows])
    total = len(styles["category"])
    spread = rng.standard_normal(total)
    styles["price"] = np.round(medians[styles["category"]] * np.exp(spread * sigmas[styles["category"]])) - 0.05
    styles["price"] = np.where(
        styles["story"] >= 0, medians[styles["category"]] - 0.05, np.maximum(styles["price"], 4.95)
    )
    low, high = p["unit_cost_share"]
    styles["cost"] = np.round(styles["price"] * rng.uniform(low, high, total), 2)
    heavy = np.array([row["weight"] for row in rows])[styles["category"]]
    styles["mass"] = np.round(heavy * np.exp(rng.standard_normal(total) * 0.3), 3)
    return styles


def told_style(world: World, styles: Columns, story: str) -> int:
    """Position of a story's style; -1 when the story is not told."""
    told = [key for key in ("robe_alba", "decoy", "noise") if key in world.stories]
    return int(np.flatnonzero(styles["story"] == told.index(story))[0]) if story in told else -1


def _order_times(rng: Rng, world: World, count: int) -> Array:
    p = world.parameters
    days = np.arange(world.start, world.end, DAY)
    stamp = days.astype("M8[s]")
    month = stamp.astype("M8[M]").astype(np.int64) % 12
    weekday = (days // DAY).astype(np.int64) % 7  # Thursday is 0
    weights = np.array(p["month_weights"])[month] * np.roll(np.array(p["weekday_weights"]), -3)[weekday]
    weights *= (1 + p["growth_per_year"]) ** ((days - world.start) / (365 * DAY))
    if "january_backlog" in world.stories:  # what comes back in January was ordered weeks before
        story = world.stories["january_backlog"]
        begin = world.since("january_backlog") - story["orders_days_before"] * DAY
        before = (days >= begin - 91 * DAY) & (days < begin)
        peak = (days >= begin) & (days < world.end)
        level = weights[before].mean() * story["orders"]
        weights[peak] *= level / weights[peak].mean()
    day = pick(rng, count, weights)
    hour = 5 + 16.8 * rng.beta(2.2, 1.7, count)
    return np.sort(days[day] + np.floor(hour * 3600))


def _discount(rng: Rng, world: World, when: Array) -> Array:
    p = world.parameters["discounts"]
    day = when.astype("M8[s]").astype("M8[D]")
    month = day.astype("M8[M]").astype(np.int64) % 12 + 1
    of_month = (day - day.astype("M8[M]")).astype(np.int64) + 1
    code = month * 100 + of_month
    is_sale = ((code >= 108) & (code <= 204)) | ((code >= 625) & (code <= 722)) | ((code >= 1124) & (code <= 1130))
    is_reduced = rng.random(len(when)) < np.where(is_sale, p["sale_share"], p["other_share"])
    low, high = np.where(is_sale, p["sale_low"], p["other_low"]), np.where(is_sale, p["sale_high"], p["other_high"])
    return np.where(is_reduced, np.round((low + (high - low) * rng.random(len(when))) * 20) / 20, 0.0)


def customers(rng: Rng, world: World, orders: int) -> Columns:
    """Draw the customers: market, area, activity, size and a skewed propensity to return (mean 1, scales the odds)."""
    p = world.parameters
    count = max(20, round(orders / p["orders_per_customer"]))
    market = pick(rng, count, [row["share"] for row in p["markets"].values()])
    areas = [[area[4] for area in p["areas"][name]] for name in world.markets]
    widest = max(map(len, areas))
    a, b = p["customer_beta"]["a"], p["customer_beta"]["b"]
    return {
        "market": market,
        "area": pick_by(rng, market, [row + [0.0] * (widest - len(row)) for row in areas]),
        "activity": rng.gamma(p["customer_activity_shape"], 1.0, count) + 0.02,
        "size": rng.random(count),
        "propensity": np.maximum(rng.beta(a, b, count) * (a + b) / a, 0.02),
    }


def _choose_styles(rng: Rng, world: World, styles: Columns, lines: Columns) -> Array:
    chosen = np.empty(len(lines["category"]), dtype=np.int64)
    half = half_year(lines["ordered_at"])
    group = lines["category"] * 10_000 + half
    order = np.argsort(group, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        if not len(rows):
            continue
        category, season = group[rows[0]] // 10_000, group[rows[0]] % 10_000
        pool = np.flatnonzero(
            (styles["category"] == category) & np.isin(styles["season"], (-1, season)) & (styles["weight"] > 0)
        )
        chosen[rows] = pool[pick(rng, len(rows), styles["weight"][pool])]
    return chosen


def _plant_styles(rng: Rng, world: World, styles: Columns, lines: Columns) -> None:
    """Put the stories' styles into the lines: Robe Alba by share, the decoy and the noise by exact count."""
    when, free = lines["ordered_at"], lines["pair"] < 0
    noise, decoy = told_style(world, styles, "noise"), told_style(world, styles, "decoy")
    if noise >= 0:
        story = world.stories["noise"]
        beauty = world.categories.index(story["category"])
        edges = [world.since("noise", weeks) for weeks in story["weeks"]]
        for part, units in enumerate(story["units"]):
            able = np.flatnonzero(
                (lines["category"] == beauty) & (when >= edges[part]) & (when < edges[part + 1]) & free
            )
            rows = rng.choice(able, min(world.scaled(units), len(able)), replace=False)
            lines["style"][rows], lines["units"][rows], lines["forced"][rows] = noise, 1, 0
            back = round(story["returned"][part] * len(rows) / units)
            lines["forced"][rows[:back]] = 1
            lines["channel"][rows] = np.where(lines["channel"][rows] == STORE, 0, lines["channel"][rows])
    if decoy >= 0:
        story = world.stories["decoy"]
        centre = world.since("decoy")
        near = np.abs(when - centre) < 3 * 7 * DAY
        able = np.flatnonzero(
            (lines["category"] == world.categories.index("dresses"))
            & near
            & free
            & (lines["market"] == 0)
            & (lines["channel"] < STORE)
        )
        rows = rng.choice(able, min(story["units"], len(able)), replace=False)
        lines["style"][rows], lines["units"][rows], lines["forced"][rows] = decoy, 1, 1


def sell(rng: Rng, world: World, styles: Columns, has_store: Array) -> tuple[Columns, Columns]:
    """Draw the order lines and the customers behind them; `has_store` tells, by market and area, who buys in a store.

    Returns the lines (one array a column, lines of an order together, orders by time) and the customers. `pair` is the
    position of the other size of a several-size order, else -1; `forced` is 1 or 0 where a story fixes the outcome.
    """
    p = world.parameters
    sizes = _lines_per_order(rng, world)
    who = customers(rng, world, len(sizes))
    orders = _orders(rng, world, who, has_store, len(sizes))
    starts = np.r_[0, np.cumsum(sizes)[:-1]]
    lines = _order_lines(rng, world, orders, sizes, starts)
    n = len(lines["order"])
    lines["category"] = _categories(rng, world, lines)
    lines["style"] = _choose_styles(rng, world, styles, lines)
    _plant_robe_alba(rng, world, styles, lines)
    lines["colour"] = pick(rng, n, [0.5, 0.3, 0.2])
    _plant_styles(rng, world, styles, lines)
    kinds = list(p["sizes"])
    kind = np.array([kinds.index(row["sizes"]) for row in p["categories"].values()])
    _try_two_sizes(rng, world, lines, starts, sizes, kind)
    lines["size"] = _sizes(rng, world, lines, who, kind)
    lines["cancelled"] = np.where(
        (rng.random(n) < p["cancelled_lines"]) & (lines["forced"] < 0) & (lines["channel"] != STORE),
        rng.integers(1, lines["units"] + 1),
        0,
    )
    lines["discount"] = _discount(rng, world, lines["ordered_at"])
    return lines, who


def _lines_per_order(rng: Rng, world: World) -> Array:
    """Draw how many lines each order has, until the lines are as many as the run sells; exchanges come on top."""
    shares = world.parameters["lines_per_order"]
    wanted = max(1, world.orders - round(world.orders * world.parameters["exchange_lines"]))
    mean = sum(int(k) * v for k, v in shares.items()) / sum(shares.values())
    sizes = 1 + pick(rng, int(wanted / mean * 1.05) + 50, list(shares.values()))
    ends = np.cumsum(sizes)
    count = int(np.searchsorted(ends, wanted)) + 1
    sizes = sizes[:count].copy()
    sizes[-1] -= ends[count - 1] - wanted
    return sizes


def _orders(rng: Rng, world: World, who: Columns, has_store: Array, count: int) -> Columns:
    """Draw each order's customer, time, market, area, channel, shipment and delivery."""
    p = world.parameters
    of = pick(rng, count, who["activity"])
    when = _order_times(rng, world, count)
    market, area = who["market"][of], who["area"][of]
    channel = _channels(rng, world, has_store[market, area])
    shipping = delay(rng, count, **p["ship_delay"])
    carriage = np.where(
        market == world.markets.index("FR"),
        delay(rng, count, **p["delivery_delay"]["domestic"]),
        delay(rng, count, **p["delivery_delay"]["cross_border"]),
    )
    shipped = np.where(channel == STORE, when, when + np.floor(shipping))
    return {
        "ordered_at": when,
        "shipped_at": shipped,
        "delivered_at": np.where(channel == STORE, when, shipped + np.floor(carriage)),
        "customer": of,
        "market": market,
        "area": area,
        "channel": channel,
        "is_gift": rng.random(count) < p["gift_share"],
    }


def _channels(rng: Rng, world: World, near: Array) -> Array:
    """Draw each order's channel; who is not `near` a store buys elsewhere, and overall the shares are the stated."""
    share = np.array([world.parameters["channels"][name] for name in CHANNELS])
    is_store = np.arange(len(share)) == STORE
    afar = np.where(is_store, 0.0, share)
    close = afar.copy()
    close[STORE] = min(share[STORE] * share.sum() / max(near.mean(), 1e-9), share.sum())
    close *= np.where(is_store, 1.0, (share.sum() - close[STORE]) / afar.sum())
    return pick_by(rng, near.astype(int), np.stack([afar, close]))


def _order_lines(rng: Rng, world: World, orders: Columns, sizes: Array, starts: Array) -> Columns:
    """Give each order its lines, `sizes` of them from `starts` on, with their units and nothing in them yet."""
    row = np.repeat(np.arange(len(sizes)), sizes)
    n = len(row)
    return {name: values[row] for name, values in orders.items()} | {
        "order": row,
        "order_no": 100_001 + row,
        "line_no": np.arange(n) - starts[row] + 1,
        "lines_in_order": sizes[row],
        "units": 1 + pick(rng, n, list(world.parameters["units_per_line"].values())),
        "forced": np.full(n, -1),
        "pair": np.full(n, -1),
        "exchanged_from": np.full(n, -1),
    }


def _categories(rng: Rng, world: World, lines: Columns) -> Array:
    """Draw each line's category; from the day of the story of the mix on, with one category's share moved."""
    shares = np.array([row["share"] for row in world.parameters["categories"].values()])
    category = pick(rng, len(lines["order"]), shares)
    if "mix" in world.stories:
        share = world.stories["mix"]["share"][1]
        moved = world.categories.index(world.stories["mix"]["category"])
        after = np.where(np.arange(len(shares)) == moved, share, shares * (1 - share) / (1 - shares[moved]))
        late = np.flatnonzero(lines["ordered_at"] >= world.since("mix"))
        category[late] = pick(rng, len(late), after)
    return category


def _plant_robe_alba(rng: Rng, world: World, styles: Columns, lines: Columns) -> None:
    """Make Robe Alba of some dresses, one unit each, from when it is on sale."""
    alba = told_style(world, styles, "robe_alba")
    if alba < 0:
        return
    story = world.stories["robe_alba"]
    on_sale = lines["ordered_at"] >= world.since("robe_alba", story["on_sale_weeks"])
    is_dress = (lines["category"] == world.categories.index("dresses")) & on_sale
    rows = np.flatnonzero(is_dress & (rng.random(len(is_dress)) < story["share_of_dresses"]))
    lines["style"][rows], lines["units"][rows] = alba, 1


def _sizes(rng: Rng, world: World, lines: Columns, who: Columns, kind: Array) -> Array:
    """Draw each line's size from its customer's, and the next one for the second line of a several-size order.

    `kind` gives each category the position of its scale of sizes.
    """
    scales = list(world.parameters["sizes"].values())
    upto = np.ones((len(scales), 8))
    for k, scale in enumerate(scales):
        upto[k, : len(scale["shares"])] = np.cumsum(scale["shares"])
    widest = np.array([len(scale["names"]) for scale in scales])
    wish = np.clip(who["size"][lines["customer"]] + 0.08 * rng.standard_normal(len(lines["order"])), 0, 0.9999)
    of_kind = kind[lines["category"]]
    size: Array = np.minimum((wish[:, None] >= upto[of_kind]).sum(axis=1), widest[of_kind] - 1)
    second = np.flatnonzero((lines["pair"] >= 0) & (lines["line_no"] == 2))
    first = lines["pair"][second]
    size[second] = np.where(size[first] + 1 < widest[of_kind[second]], size[first] + 1, size[first] - 1)
    return size


def _try_two_sizes(rng: Rng, world: World, lines: Columns, starts: Array, sizes: Array, kind: Array) -> None:
    """Turn the second line of some orders into the first line's style in the next size."""
    p = world.parameters
    first = starts
    sized = kind[lines["category"][first]] != list(p["sizes"]).index("one")
    fixed = (lines["forced"][first] >= 0) | (lines["forced"][np.minimum(first + 1, len(lines["forced"]) - 1)] >= 0)
    able = (sizes >= 2) & sized & ~fixed & (lines["channel"][first] != STORE)
    share = np.full(len(first), p["several_sizes"]["share"])
    changed = np.zeros(len(first), dtype=bool)
    if "germany_window" in world.stories:
        story = world.stories["germany_window"]
        german = lines["market"][first] == world.markets.index(story["market"])
        changed = german & (lines["ordered_at"][first] >= world.since("germany_window"))
        share[changed] = story["several_sizes"][1]
    for part in (changed, ~changed):
        share[part] *= part.sum() / max((part & able).sum(), 1)
    rows = first[able & (rng.random(len(first)) < share)]
    for name in ("category", "style", "colour"):
        lines[name][rows + 1] = lines[name][rows]
    lines["units"][rows] = lines["units"][rows + 1] = 1
    lines["pair"][rows], lines["pair"][rows + 1] = rows + 1, rows
