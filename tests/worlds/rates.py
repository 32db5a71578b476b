"""Worlds in which returns still to come are hard to tell: each moves one thing shortly before the last day.

What moves is known to the files as to any shop: a new category stands in the catalogue, a new window in the policies.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from tests.worlds import plain
from tests.worlds.plain import Category, Ground
from tests.worlds.shop import Shop

NEW, LATE, PEAK = 60, 40, (45, 31)
"""Days before the last one: when new goods come, since when scans are late, when the peak is."""
SLOW = Category("coats", 0.25, 0.38, 20.0)


def _with_slow(stock: pd.DataFrame, base: plain.Plan, rng: np.random.Generator) -> tuple[pd.DataFrame, plain.Plan]:
    """Add a category of a fifth of the sales, on sale for 60 days, whose customers think for most of the window."""
    plan = replace(base, categories=(*base.categories, SLOW))
    count = max(base.products // 6, 5)
    more = plain.goods(rng, replace(plan, products=count, categories=(SLOW,)))
    more = more.assign(
        product_id="N" + more["product_id"],
        style_id="N" + more["style_id"],
        kind=len(plan.categories) - 1,
        sells=more["sells"] * SLOW.share,
        launched=plan.days - NEW,
    )
    return pd.concat([stock, more], ignore_index=True), plan


def _half_new(stock: pd.DataFrame, plan: plain.Plan, rng: np.random.Generator) -> pd.DataFrame:
    """Let a new season replace half of the goods 60 days before: other rates, alike among themselves."""
    is_new = rng.permutation(len(stock)) % 2 == 0
    common = rng.choice([0.75, 1.3])
    return stock.assign(
        launched=np.where(is_new, plan.days - NEW, stock["launched"]),
        own=np.where(is_new, common * stock["own"], stock["own"]),
        sells=stock["sells"] * np.where(is_new, 2.0, 1.0),
    )


def _peak(_: np.random.Generator, days: int, last: int) -> Any:
    day = np.arange(days)
    return np.where((day > last - PEAK[0]) & (day <= last - PEAK[1]), 3.0, 1.0)


def built(seed: int, moves: frozenset[str], **sizes: Any) -> Shop:
    """Build a shop in which some of these move: category, products, scans, window, peak."""
    plan = plain.plan_of(seed, **sizes)
    rng = np.random.default_rng([seed, 99])
    if "peak" in moves:
        last = plan.days - 1
        plan = replace(plan, daily=lambda r, days: _peak(r, days, last))
    stock = plain.goods(rng, plan)
    if "products" in moves:
        stock = _half_new(stock, plan, rng)
    if "category" in moves:
        stock, plan = _with_slow(stock, plan, rng)
    base = plain.ground(seed, plan, stock)
    lines = plain.delivered(base, road=_roads(base, "peak" in moves, 2.2, 3.0))
    is_longer = lines["at"].to_numpy() >= base.last - 50
    window = np.where(is_longer, 60.0, float(plan.window)) if "window" in moves else float(plan.window)
    if "window" in moves:
        lines = lines.assign(wait=lines["wait"] * np.where(is_longer, 1.5, 1.0))
    lines = plain.returned(base, lines, window=window)
    handed = lines["handed"].to_numpy()
    late = np.where((handed > base.last - LATE) & (handed <= base.last), 3.0, 0.0) if "scans" in moves else 0.0
    lines = plain.settled(base, lines, road=_ways(base, lines, "peak" in moves), scans=late)
    versions = [(base.last - 50.0, 60, None)] if "window" in moves else []
    return plain.shop(base, lines, versions=versions, moves=moves)


def _roads(base: Ground, is_peak: bool, usual: float, slow: float) -> Any:
    """Days on the road to the customer: thrice as long for what was ordered in the peak."""
    at = base.lines["at"].to_numpy()
    return (
        np.where((at > base.last - PEAK[0]) & (at <= base.last - PEAK[1] + 4), usual * slow, usual)
        if is_peak
        else usual
    )


def _ways(base: Ground, lines: pd.DataFrame, is_peak: bool) -> Any:
    """Days on the way back: twice as long in the four weeks after the peak began."""
    handed = lines["handed"].to_numpy()
    return np.where((handed > base.last - PEAK[0]) & (handed <= base.last), 5.0, 2.5) if is_peak else 2.5


def slow_category(seed: int, **sizes: Any) -> Shop:
    """A category is on sale for 60 days and comes back far more slowly than the others."""
    return built(seed, frozenset({"category"}), **sizes)


def half_new(seed: int, **sizes: Any) -> Shop:
    """Half of the products, two thirds of the sales, are 60 days old; all of them come back more, or less, often."""
    return built(seed, frozenset({"products"}), **sizes)


def late_scans(seed: int, **sizes: Any) -> Shop:
    """For 40 days now, carriers scan three days later than they did."""
    return built(seed, frozenset({"scans"}), **sizes)


def window_change(seed: int, **sizes: Any) -> Shop:
    """Orders of the last 50 days may come back within 60 days and not 30, and customers take their time."""
    return built(seed, frozenset({"window"}), **sizes)


def slow_peak(seed: int, **sizes: Any) -> Shop:
    """Two weeks of thrice the orders, with carriers that take thrice as long there and twice as long back."""
    return built(seed, frozenset({"peak"}), **sizes)


def all_at_once(seed: int, **sizes: Any) -> Shop:
    """A new slow category, half of the products new, late scans, another window and a peak with slow carriers."""
    return built(seed, frozenset({"category", "products", "scans", "window", "peak"}), **sizes)
