"""A shop in which nothing moves: the ground on which other worlds change one thing, or all at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd

from tests.worlds import shapes
from tests.worlds.shop import Shop, named, seconds

AFTER = 150
"""Days after a shop's last day until which its future is drawn: by then every return has come."""


@dataclass(frozen=True)
class Category:
    """A kind of goods: its share of the sales, its return rate, and the mean days until customers ask."""

    name: str
    share: float
    rate: float
    wait: float


CATEGORIES = (
    Category("dresses", 0.35, 0.42, 7.0),
    Category("shoes", 0.25, 0.30, 8.5),
    Category("tops", 0.30, 0.22, 6.0),
    Category("bags", 0.10, 0.12, 9.0),
)
COUNTRIES = {"FR": (0.5, 1.0), "DE": (0.3, 1.25), "ES": (0.2, 0.85)}
"""Share of the sales and factor on the rate of each country."""


@dataclass(frozen=True)
class Plan:
    """Sizes and levels of a shop. `lines` is the expected number by its last day; `future` days are sold after it.

    promises: calendar days from receipt to refund, from receipt to inspection, from request to refund.
    """

    lines: int = 6_000
    days: int = 400
    future: int = 0
    until: date = date(2025, 6, 17)
    products: int = 120
    categories: Sequence[Category] = CATEGORIES
    countries: tuple[tuple[str, tuple[float, float]], ...] = tuple(COUNTRIES.items())
    product_shape: float = 12.0
    customer_shape: float = 3.0
    season: float = 0.15
    window: int = 30
    promises: tuple[int, int, int] = (2, 1, 9)
    daily: Callable[[np.random.Generator, int], Any] | None = None


@dataclass(frozen=True)
class Ground:
    """What a world builds on: the plan, the first day, goods, and lines that are ordered and not yet anything else."""

    plan: Plan
    first: np.datetime64
    goods: pd.DataFrame
    lines: pd.DataFrame
    rng: np.random.Generator

    @property
    def last(self) -> int:
        """Number of the last day that anybody knows of, from 0."""
        return self.plan.days - 1


def plan_of(seed: int, **sizes: Any) -> Plan:
    """Give a plan whose last day falls anywhere in a year, so that shops are seen on all days of months and weeks."""
    day = date(2025, 2, 1) + timedelta(days=int(np.random.default_rng([seed, 17]).integers(0, 270)))
    return replace(Plan(until=day), **sizes)


def goods(rng: np.random.Generator, plan: Plan) -> pd.DataFrame:
    """Draw the goods: category, style, what each sells, its own factor on the rate, price."""
    shares = np.array([c.share for c in plan.categories])
    kind = np.sort(rng.choice(len(shares), plan.products, p=shares / shares.sum()))
    category = np.array([c.name for c in plan.categories], dtype=object)[kind]
    style = np.arange(plan.products)
    return pd.DataFrame(
        {
            "product_id": named("P", style),
            "style_id": named("S", style),
            "kind": kind,
            "category": category,
            "supplier": named("supplier-", rng.integers(0, 8, plan.products)),
            "brand": named("brand-", rng.integers(0, 5, plan.products)),
            "sells": shapes.popular(rng, plan.products),
            "own": shapes.spread(rng, plan.products, plan.product_shape),
            "price": np.round(rng.gamma(6, 9, plan.products) + 8, 2),
            "launched": 0,
        }
    )


def daily(rng: np.random.Generator, plan: Plan) -> shapes.Floats:
    """Draw each day's factor on the orders: weekdays, a season, jumps with echoes; mean 1 up to the last day."""
    days = plan.days + plan.future
    first = plan.until - timedelta(days=plan.days - 1)
    weekday = (np.arange(days) + first.weekday()) % 7
    yearday = np.arange(days) + first.timetuple().tm_yday
    level = shapes.week_profile(rng)[weekday] * (1 + plan.season * np.sin(2 * np.pi * yearday / 365.25 + 1.0))
    level = level * shapes.excited(rng, days)
    if plan.daily is not None:
        level = level * plan.daily(rng, days)
    return np.asarray(level / level[: plan.days].mean())


def ground(seed: int, plan: Plan, stock: pd.DataFrame | None = None, *, home: bool = False) -> Ground:
    """Draw the orders of a shop. home: each product sells mostly in one country (column `home`), not everywhere."""
    rng = np.random.default_rng([seed, 4_711])
    stock = goods(rng, plan) if stock is None else stock
    first = np.datetime64(plan.until, "s") - seconds(plan.days - 1)
    per_order = 1.65
    day = shapes.orders_of(rng, daily(rng, plan) * plan.lines / plan.days / per_order)
    size = shapes.baskets(rng, len(day))
    order = np.repeat(np.arange(len(day)), size)
    at = np.repeat(
        np.sort(day + 0.9 * rng.beta(3, 2, len(day))), size
    )  # never near midnight: a day is one in Paris too
    countries = dict(plan.countries)
    share = np.array([s for s, _ in countries.values()])
    buyers = max(int(plan.lines / 5), 20)
    buyer = np.repeat(rng.choice(buyers, len(day), p=_loyal(rng, buyers)), size)
    country = rng.choice(len(share), buyers, p=share / share.sum())[buyer]
    product = _chosen(rng, stock, at, country if home else None)
    kinds = stock["kind"].to_numpy()[product]
    rates = np.array([c.rate for c in plan.categories])[kinds]
    factor = np.array([f for _, f in countries.values()])[country]
    own, person = stock["own"].to_numpy()[product], shapes.spread(rng, buyers, plan.customer_shape)[buyer]
    lines = pd.DataFrame(
        {
            "line": np.arange(len(order)),
            "order": order,
            "at": at,
            "ordered_at": first + seconds(at),
            "product": product,
            "product_id": stock["product_id"].to_numpy()[product],
            "category": stock["category"].to_numpy()[product],
            "country": np.array(list(countries), dtype=object)[country],
            "customer": buyer,
            "net": np.round(stock["price"].to_numpy()[product] * rng.choice([1.0, 1.0, 1.0, 0.8], len(order)), 2),
            "probability": bounded(rates * factor * own * person),
            "wait": np.array([c.wait for c in plan.categories])[kinds],
        }
    )
    return Ground(plan, first, stock, lines, rng)


def bounded(probability: Any) -> Any:
    """Bend probabilities that would be too high: they stay as they are below a half and never reach .97."""
    return np.where(probability < 0.5, probability, 0.5 + 0.47 * (1 - np.exp(-(probability - 0.5) / 0.47)))


def _loyal(rng: np.random.Generator, buyers: int) -> shapes.Floats:
    drawn = rng.pareto(1.8, buyers) + 0.4
    return np.asarray(drawn / drawn.sum())


def _chosen(rng: np.random.Generator, stock: pd.DataFrame, at: shapes.Floats, country: Any) -> shapes.Ints:
    """Choose a product a line among those on sale that day; abroad, one in eight buys what is made for elsewhere."""
    sells, launched = stock["sells"].to_numpy(), stock["launched"].to_numpy()
    chosen = np.zeros(len(at), dtype=int)
    steps = np.unique(launched)
    groups = np.searchsorted(steps, at, side="right") - 1
    homes = np.zeros(len(at), dtype=int) if country is None else country
    for group in np.unique(groups):
        for home in np.unique(homes):
            here = np.flatnonzero((groups == group) & (homes == home))
            weight = np.where(launched <= steps[group], sells, 0.0)
            if country is not None:
                weight = weight * np.where(stock["home"].to_numpy() == home, 1.0, 1 / 8)
            chosen[here] = rng.choice(len(stock), len(here), p=weight / weight.sum())
    return chosen


def delivered(base: Ground, *, road: Any = 2.2) -> pd.DataFrame:
    """Ship and deliver each line: packed by the next working day, gamma days on the road, none on a Sunday."""
    lines, rng = base.lines, base.rng
    packed = rng.gamma(2, 0.35, int(lines["order"].max()) + 1)[lines["order"]] + 0.2
    shipped = lines["at"] + packed
    travel = np.asarray(road) * rng.gamma(5, 0.2, int(lines["order"].max()) + 1)[lines["order"]]
    arrived = shipped + travel
    weekday = (arrived.astype(int) + int(_weekday(base.first))) % 7
    arrived = arrived + (weekday == 6)
    return lines.assign(
        shipped=shipped,
        delivered=arrived,
        shipped_at=base.first + seconds(shipped),
        delivered_at=base.first + seconds(arrived),
    )


def _weekday(first: np.datetime64) -> int:
    return pd.Timestamp(first).weekday()


def weekday_of(base: Ground) -> int:
    """Weekday of day 0, Monday 0."""
    return _weekday(base.first)


def returned(base: Ground, lines: pd.DataFrame, *, window: Any = None, late: float = 0.12) -> pd.DataFrame:
    """Draw which lines come back, orders together, and when each is asked for and handed over."""
    rng, n = base.rng, len(lines)
    uniform = shapes.together(rng, lines["order"].to_numpy())
    back = uniform < lines["probability"].to_numpy()
    most = float(base.plan.window) if window is None else window
    asked = shapes.waits(rng, n, lines["wait"].to_numpy(), window=most, late=late)
    one = pd.Series(asked).groupby(lines["order"].to_numpy()).transform("first").to_numpy()
    asked = np.where(rng.random(n) < 0.8, np.minimum(one, most), asked)
    requested = lines["delivered"].to_numpy() + 0.05 + asked
    handed = requested + rng.weibull(1.1, n) * 2.0
    return lines.assign(is_returned=back, requested=np.where(back, requested, np.nan), handed=handed)


def settled(
    base: Ground, lines: pd.DataFrame, *, road: Any = 2.5, scans: Any = 0.0, staff: float = 1.35
) -> pd.DataFrame:
    """Take returns through scan, road, receipt, inspection by a queue, and refund.

    road: mean days on the way back, a number or one a line. scans: days by which the first scan of each is put off.
    staff: what the returns centre can inspect a working day, over what comes on a mean day.
    """
    rng, back = base.rng, lines["is_returned"].to_numpy()
    scan = lines["handed"].to_numpy() + rng.gamma(2, 0.3, len(lines)) + np.asarray(scans)
    receipt = scan + shapes.travelled(rng, len(lines), road)
    inspected = np.full(len(lines), np.nan)
    days = base.plan.days + base.plan.future + AFTER
    arrivals = receipt[back]
    usual = max((arrivals < base.plan.days).sum() / base.plan.days, 0.5)
    capacity = shapes.working(days, weekday_of(base), usual * 7 / 6 * staff + 1)
    inspected[back] = shapes.queued(arrivals, capacity, rng)
    refunded = inspected + rng.gamma(1.5, 0.9, len(lines))
    scan, receipt = np.where(back, scan, np.nan), np.where(back, receipt, np.nan)
    days_of = {"carrier_scan": scan, "received": receipt, "inspected": inspected, "refunded": refunded}
    return dated(base, lines, requested=lines["requested"], **days_of)


def dated(base: Ground, lines: pd.DataFrame, **days: Any) -> pd.DataFrame:
    """Give events their times; NaT where a day is not a number."""
    times = {}
    for event, day in days.items():
        known = np.asarray(day, dtype=float)
        at = base.first + seconds(np.nan_to_num(known))
        times[f"{event}_at"] = np.where(np.isnan(known), np.datetime64("NaT", "s"), at)
    return lines.assign(**times)


def catalogue(base: Ground) -> pd.DataFrame:
    """Give the goods as a catalogue tells of them."""
    stock = base.goods
    valid = base.first + seconds(np.maximum(stock["launched"].to_numpy() - 1.0, -1.0))
    return pd.DataFrame(
        {
            "product_id": stock["product_id"],
            "valid_from": valid,
            "style_id": stock["style_id"],
            "name": "Style " + stock["style_id"],
            "category": stock["category"],
            "supplier": stock["supplier"],
            "brand": stock["brand"],
            "size": stock.get("size"),
            "list_price": stock["price"],
            "unit_cost": (stock["price"] * 0.4).round(2),
            "currency": "EUR",
            "launched_on": pd.Series(pd.to_datetime(valid)).dt.date,
        }
    )


def policies(base: Ground, versions: Sequence[tuple[float, int, date | None]] = ()) -> pd.DataFrame:
    """Give the shop's policy, and the versions that followed: (day it began, window in days, day it ends on)."""
    known = ((-1.0, base.plan.window, None), *versions)
    refund, inspect, whole = base.plan.promises
    promises = (
        ("refund", "received", refund),
        ("inspect", "received", inspect),
        ("request_to_refund", "requested", whole),
    )
    rows = [
        {
            "policy_id": "usual",
            "valid_from": (base.first + seconds(began)).astype("datetime64[D]").astype("datetime64[s]"),
            "window_days": window,
            "window_until": until,
            "refund_trigger": "inspected",
            "promise_id": promise,
            "from_stage": start,
            "to_stage": "inspected" if promise == "inspect" else "refunded",
            "duration": float(duration),
            "duration_unit": "calendar_days",
        }
        for began, window, until in known
        for promise, start, duration in promises
    ]
    return pd.DataFrame(rows)


def shop(
    base: Ground, lines: pd.DataFrame, *, versions: Sequence[tuple[float, int, date | None]] = (), **truth: Any
) -> Shop:
    """Close a world: its lines, catalogue and policies."""
    return Shop(base.plan.until, lines, catalogue(base), policies(base, versions), truth)


def steady(seed: int, **sizes: Any) -> Shop:
    """Nothing moves: rates, delays and stages are those of the first day."""
    base = ground(seed, plan_of(seed, **sizes))
    return shop(base, settled(base, returned(base, delivered(base))))
