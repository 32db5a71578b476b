"""Worlds whose coming weeks are not those of a year ago: a long Christmas window, a promotion, growth, a step.

All have two years and more behind them, a season, and 13 weeks after the last day that are sold and come back.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np

from tests.worlds import plain
from tests.worlds.shop import Shop

DAYS, AHEAD = 830, 100


def _of(seed: int, daily: Callable[..., Any] | None, **sizes: Any) -> Shop:
    plan = plain.plan_of(seed, **{"lines": 16_000, "days": DAYS, "future": AHEAD, "season": 0.3, **sizes})
    base = plain.ground(seed, replace(plan, daily=daily))
    return plain.shop(base, plain.settled(base, plain.returned(base, plain.delivered(base)), staff=3.0))


def usual(seed: int, **sizes: Any) -> Shop:
    """A season and weekdays, as last year."""
    return _of(seed, None, **sizes)


def promotion(seed: int, **sizes: Any) -> Shop:
    """Four times ten days of 2.2 times the orders, on days of their own; the last began one to three weeks ago."""

    def daily(rng: np.random.Generator, days: int) -> Any:
        level = np.ones(days)
        last = days - AHEAD - 1
        for start in (*rng.integers(30, last - 120, 3), last - int(rng.integers(8, 21))):
            level[start : start + 10] *= 2.2
        return level

    return _of(seed, daily, **sizes)


def growth(seed: int, **sizes: Any) -> Shop:
    """Orders grow by four in a hundred a month, all the time."""
    return _of(seed, lambda rng, days: 1.04 ** (np.arange(days) / 30.4), **sizes)


def step(seed: int, **sizes: Any) -> Shop:
    """Five weeks ago orders rose by a half, or fell by a third, and stay."""

    def daily(rng: np.random.Generator, days: int) -> Any:
        factor = rng.choice([1.5, 0.66])
        return np.where(np.arange(days) > days - AHEAD - 36, factor, 1.0)

    return _of(seed, daily, **sizes)


def january(seed: int, **sizes: Any) -> Shop:
    """Seen in January: Christmas orders of each year may come back until the 31st, and a third are gifts that wait."""
    rng = np.random.default_rng([seed, 12])
    until = date(2026, 1, 4) + timedelta(days=int(rng.integers(0, 18)))
    plan = plain.plan_of(seed, **{"lines": 16_000, "days": DAYS, "future": AHEAD, **sizes, "until": until})
    first = until - timedelta(days=plan.days - 1)
    seasons = [(date(y, 11, 1), date(y, 12, 24), date(y + 1, 1, 31)) for y in range(first.year, until.year)]
    at = [tuple((d - first).days for d in s) for s in seasons]

    def daily(_: np.random.Generator, days: int) -> Any:
        level = np.ones(days)
        for begun, ended, _end in at:
            level[max(begun + 20, 0) : max(ended - 3, 0)] *= 1.9
        return level

    base = plain.ground(seed, replace(plan, daily=daily))
    lines = plain.delivered(base)
    ordered, arrived = lines["at"].to_numpy(), lines["delivered"].to_numpy()
    window = np.full(len(lines), float(plan.window))
    for begun, ended, end in at:
        window = np.where((ordered >= begun) & (ordered < ended + 8), np.maximum(end - arrived, window), window)
    lines = plain.returned(base, lines, window=window)
    for begun, ended, end in at:
        is_gift = (ordered >= begun) & (ordered < ended) & (base.rng.random(len(lines)) < 0.33)
        after = ended + 2 + base.rng.gamma(2, 5, len(lines))
        moved = is_gift & (lines["handed"].to_numpy() < after) & (after < end)
        wait = (lines["handed"] - lines["requested"]).fillna(1.0)
        lines = lines.assign(
            requested=np.where(moved & lines["is_returned"], after, lines["requested"]),
            handed=np.where(moved, after + wait, lines["handed"]),
        )
    versions: list[tuple[float, int, date | None]] = []
    for (begun, ended, _), (_, _, last_day) in zip(at, seasons, strict=True):
        versions += [(float(begun), plan.window, last_day), (float(ended + 8), plan.window, None)]
    known = [v for v in versions if v[0] <= base.last and v[0] > 0]
    return plain.shop(base, plain.settled(base, lines, staff=3.0), versions=known)
