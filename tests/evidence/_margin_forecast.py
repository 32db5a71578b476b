"""Forecasts of returned units against simulated shops of four worlds.

Three years of daily orders each, none used for tuning.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from models.forecast import HORIZON, forecast, naive, weekly
from tests.evidence import Claim

WORLDS: dict[str, dict[str, float]] = {
    "120 lines a day": {"lines": 120, "promotions": 6, "noise": 0.10, "drift": 1.0},
    "15 lines a day": {"lines": 15, "promotions": 6, "noise": 0.10, "drift": 1.0},
    "no promotions": {"lines": 120, "promotions": 0, "noise": 0.10, "drift": 1.0},
    "drift doubled, noise 20%": {"lines": 120, "promotions": 6, "noise": 0.20, "drift": 2.0},
}
SHOPS = 200
DAYS, AHEAD, DELAYS = 3 * 364, 7 * HORIZON, 90


def shop(world: dict[str, float], seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Simulate a shop: units by day (days + twelve weeks) and units returned by day of order and delay.

    Level a random walk, two harmonics of a year, a week's pattern, promotions on jittered days, noise by week, a return
    rate that drifts.
    """
    rng = np.random.default_rng(seed)
    n = DAYS + AHEAD
    t = np.arange(n)
    level = np.cumsum(rng.normal(0, 0.005 * world["drift"], n))
    phase, size = rng.uniform(0, 2 * np.pi, 2), rng.uniform(0.05, 0.25, 2)
    season = sum(
        s * np.sin(2 * np.pi * (k + 1) * t / 364 + p) for k, (s, p) in enumerate(zip(size, phase, strict=True))
    )
    pattern = np.tile(rng.normal(0, 0.15, 7), n // 7 + 1)[:n]
    promotion = np.zeros(n)
    for start in rng.uniform(0, 364, int(world["promotions"])):
        lift, length = rng.uniform(0.3, 0.8), int(rng.integers(4, 9))
        for year in range(n // 364 + 1):
            at = int(start + 364 * year + rng.normal(0, 4))
            promotion[max(at, 0) : max(at + length, 0)] += lift
    noise = np.repeat(rng.normal(0, world["noise"], n // 7 + 1), 7)[:n]
    orders = rng.poisson(world["lines"] * np.exp(level + season + pattern + promotion + noise))
    rate = 1 / (1 + np.exp(-(np.log(0.28 / 0.72) + np.cumsum(rng.normal(0, 0.006 * world["drift"], n)))))
    delay = rng.lognormal(2.6, 0.6, 20_000).astype(int)
    share = np.bincount(delay[delay < DELAYS], minlength=DELAYS) / (delay < DELAYS).sum()
    back = rng.binomial(orders, rate)
    returned = np.array([rng.multinomial(b, share) for b in back])
    return orders.astype(float), returned.astype(float)


def judged(world: dict[str, float], seeds: range) -> dict[str, np.ndarray[Any, Any]]:
    """Forecast each shop at its end and lay the twelve weeks that came beside it."""
    rows: dict[str, list[Any]] = {
        k: [] for k in ("inside", "width", "error", "actual", "seasonal", "seasonal_growth", "last_weeks")
    }
    day = np.arange(DAYS)[:, None] + np.arange(DELAYS)[None, :]
    for seed in seeds:
        orders, returned = shop(world, seed)
        on = np.zeros(DAYS + AHEAD + DELAYS)
        whole = np.arange(len(orders))[:, None] + np.arange(DELAYS)[None, :]
        np.add.at(on, whole.ravel(), returned.ravel())
        known = np.where(day < DAYS, returned[:DAYS], 0.0)
        found = forecast(orders[:DAYS], known, seed=seed)
        assert found is not None
        actual = weekly(on[DAYS : DAYS + AHEAD])
        rows["inside"].append((actual >= found.low) & (actual <= found.high))
        rows["width"].append((found.high - found.low) / found.mean)
        rows["error"].append(np.abs(actual - found.mean))
        rows["actual"].append(actual)
        for name, guess in naive(weekly(on[:DAYS])).items():
            rows[name].append(np.abs(actual - guess))
    return {k: np.array(v) for k, v in rows.items()}


def claims() -> Iterator[Claim]:
    """Claim coverage and error in every world."""
    for number, (name, world) in enumerate(WORLDS.items()):
        seen = judged(world, range(50_000 + 1000 * number, 50_000 + 1000 * number + SHOPS))
        inside = seen["inside"]
        whole, near, far = inside.mean(), inside[:, :6].mean(), inside[:, 6:].mean()
        yield Claim(
            f"Forecast of returned units, {name} ({SHOPS} shops): 80% intervals cover",
            "73 to 88%; weeks 1-6 and 7-12 apart 70 to 92%",
            f"{whole:.1%}; {near:.1%} and {far:.1%}; mean relative width {seen['width'].mean():.2f}",
            bool(0.73 <= whole <= 0.88 and 0.70 <= near <= 0.92 and 0.70 <= far <= 0.92),
        )
        ours = seen["error"].sum()
        first = seen["error"][:, :2].sum() / seen["seasonal"][:, :2].sum()
        against = {n: ours / seen[n].sum() for n in ("seasonal", "seasonal_growth", "last_weeks")}
        best = max(against.values())
        yield Claim(
            "The same: absolute error against seasonal naive in weeks 1-2 and over 12, and against the best of three"
            " naive ones",
            "at most 0.75, 0.90 and 1.0",
            f"{first:.2f}, {against['seasonal']:.2f} and {best:.2f}; {ours / seen['actual'].sum():.1%} of what came",
            bool(first <= 0.75 and against["seasonal"] <= 0.90 and best <= 1.0),
        )
