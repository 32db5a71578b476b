"""Forecasts of returned units where the world moves: January, promotions, growth, steps.

Shops are drawn day by day on the calendar of 2022 to 2026: months, weekdays, the Friday of November; returns are tried
at home (gamma), some sorted slowly (a mixture), and come in on weekdays only. What moves stands at the end, where the
forecast is made. None of it is in the model of the forecast, but its constants were chosen on worlds of this family, on
other seeds: what judges it is `_models_worlds_forecast.py`, in worlds that were written apart and that nothing was
chosen on. Here many more shops are seen than could be loaded.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.forecast import HORIZON, LEAST_WEEKS, Past, naive, weekly
from pipelines.analyses.forecast import EVERY, ORIGINS
from tests.evidence import Claim

Array = NDArray[np.float64]
START = date(2022, 9, 1)
DELAYS, SHOPS, FIRST_SEED = 120, 300, 481_000
MONTHS = (1.05, 0.85, 0.9, 0.95, 1.0, 1.0, 1.0, 0.8, 1.0, 1.05, 1.25, 1.35)  # of orders
WEEKDAYS = (1.1, 1.0, 0.98, 1.0, 0.95, 0.85, 1.12)
WORLDS = {
    "nothing moves": "steady",
    "January after a Christmas window as every year": "january",
    "January after the first Christmas window": "january_new",
    "irregular promotions, one just over or on": "promotion",
    "orders grow 2 to 6% a week": "growth",
    "a step of orders, rate or delay": "step",
}


class Shop(NamedTuple):
    """Orders by day, what was known of their returns (day, delay), and returned units by week since."""

    orders: Array
    known: Array
    actual: Array
    on: Array


def shop(kind: str, seed: int) -> Shop:
    """Draw a shop of a world and cut it where the forecast is made."""
    rng = np.random.default_rng(seed)
    origin = date(2025, 2, 1) + timedelta(int(rng.integers(0, 500)))
    if kind.startswith("january"):
        origin = date(2026, 1, 1) + timedelta(int(rng.integers(0, 21)))
    days = (origin - START).days
    calendar = [START + timedelta(i) for i in range(days + 7 * HORIZON)]
    orders, rate, late = _sold(rng, kind, calendar, days)
    back = rng.binomial(orders, np.clip(rate, 0.01, 0.8))
    on, came = _came(rng, kind, calendar, back, late)
    delay = np.clip(came - on, 0, DELAYS - 1)
    returned = np.zeros((len(calendar), DELAYS))
    np.add.at(returned, (on, delay), 1.0)
    by_day = np.bincount(on + delay, minlength=len(calendar) + DELAYS).astype(float)
    seen = np.arange(days)[:, None] + np.arange(DELAYS) < days
    ahead = by_day[days : days + 7 * HORIZON]
    return Shop(orders[:days].astype(float), np.where(seen, returned[:days], 0.0), weekly(ahead), by_day[:days])


def _sold(
    rng: np.random.Generator, kind: str, calendar: list[date], days: int
) -> tuple[NDArray[np.int64], Array, Array]:
    """Draw orders by day, and the rate and lateness of their returns, with what moves in this world."""
    n = len(calendar)
    weekday = np.array([WEEKDAYS[d.weekday()] for d in calendar])
    month = np.array([MONTHS[d.month - 1] for d in calendar]) ** rng.uniform(0.6, 1.3)
    base = np.convolve(np.append(month[:6], month), np.ones(7) / 7, "valid") * weekday
    for year in range(START.year, calendar[-1].year + 1):
        friday = max(d for d in (date(year, 11, 30) - timedelta(i) for i in range(7)) if d.weekday() == 4)
        at = (friday - START).days
        base[max(at - 2, 0) : max(at + 4, 0)] *= 1.9
    level = np.zeros(n)
    for i in range(1, n):
        level[i] = 0.985 * level[i - 1] + rng.normal(0, 0.02)
    rate, late, lift = 0.22 * np.exp(np.cumsum(rng.normal(0, 0.004, n))), np.zeros(n), np.ones(n)
    if kind == "promotion":
        for at in (*rng.choice(n, size=int(9 * n / 365), replace=False), days - int(rng.integers(0, 14))):
            span = slice(int(at), int(at) + int(rng.integers(4, 11)))
            lift[span] *= rng.uniform(1.4, 2.4)
            rate[span] *= rng.uniform(0.9, 1.3)
    if kind == "growth":
        since = np.arange(n) - (days - 7 * int(rng.integers(10, 27)))
        lift *= np.exp(rng.uniform(0.02, 0.06) * np.clip(since, 0, None) / 7)
    if kind == "step":
        at, what = days - 7 * int(rng.integers(1, 11)), int(rng.integers(0, 3))
        up = rng.random() < 0.5
        lift[at:] *= (rng.uniform(1.35, 2.0) if up else rng.uniform(0.45, 0.7)) if what == 0 else 1.0
        rate[at:] *= (rng.uniform(1.25, 1.5) if up else rng.uniform(0.6, 0.8)) if what == 1 else 1.0
        late[at:] += rng.uniform(4, 12) if what == 2 else 0.0
    lines = float(rng.choice([40, 120, 300]))
    orders = rng.poisson(lines * base * np.exp(level) * rng.gamma(40, 1 / 40, n) * lift)
    return orders, rate, late


def _came(
    rng: np.random.Generator, kind: str, calendar: list[date], back: NDArray[np.int64], late: Array
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw the days of order and of return of every unit that comes back."""
    on = np.repeat(np.arange(len(calendar)), back)
    n = len(on)
    home = np.where(rng.random(n) < 0.3, rng.gamma(4, 22 / 4, n), rng.gamma(2.5, 8 / 2.5, n))
    delay = home + rng.uniform(2, 5, n) + late[on]
    if kind.startswith("january"):  # gifts are opened on the 25th and sent back until the end of January
        day = np.array([d.toordinal() for d in calendar])[on]
        for year in range(START.year if kind == "january" else 2025, 2026):
            opened, end = date(year, 12, 26).toordinal(), date(year + 1, 1, 31).toordinal()
            gift = (day >= date(year, 11, 1).toordinal()) & (day < opened - 1) & (rng.random(n) < 0.45)
            wait = np.minimum(rng.gamma(1.6, 9 / 1.6, n), end - opened + rng.uniform(0, 4, n))
            delay = np.where(gift, opened + wait - day + rng.uniform(2, 5, n), delay)
    came = np.floor(on + delay).astype(int)
    weekday = (came + START.weekday()) % 7
    return on, came + np.where(weekday == 5, 2, np.where(weekday == 6, 1, 0))


def judged(kind: str, seeds: range) -> dict[str, NDArray[Any]]:
    """Forecast each shop at its end as the product does, and lay the twelve weeks that came beside it."""
    rows: dict[str, list[Any]] = {n: [] for n in ("inside", "error", "naive", "is_shown", "is_widened", "width")}
    for seed in seeds:
        drawn = shop(kind, seed)
        past = Past(drawn.orders, drawn.known)
        found = past.forecast()
        assert found is not None
        guess, by_week = naive(weekly(drawn.on))["seasonal"], weekly(drawn.on)
        rows["inside"].append((drawn.actual >= found.low) & (drawn.actual <= found.high))
        rows["error"].append(np.abs(drawn.actual - found.mean).sum() / drawn.actual.sum())
        rows["naive"].append(np.abs(drawn.actual - guess).sum() / drawn.actual.sum())
        rows["is_shown"].append(not found.is_left and _ratio(past, by_week) < 1)
        rows["is_widened"].append(found.is_widened)
        rows["width"].append(float(np.mean((found.high - found.low) / found.mean)))
    return {n: np.array(v) for n, v in rows.items()}


def _ratio(past: Past, by_week: Array) -> float:
    """Give the back-tested error over the naive one's, from the origins that the product looks at."""
    own = other = 0.0
    for back in range(ORIGINS):
        ago = HORIZON + EVERY * back
        found = past.forecast(ago) if len(by_week) - ago > LEAST_WEEKS else None
        if found is None:
            break
        actual = by_week[len(by_week) - ago :][:HORIZON]
        own += float(np.abs(actual - found.mean).sum())
        other += float(np.abs(actual - naive(by_week[: len(by_week) - ago])["seasonal"]).sum())
    return own / max(other, 1e-9)


def claims() -> Iterator[Claim]:
    """Claim coverage and error of what is shown, in every world."""
    for number, (name, kind) in enumerate(WORLDS.items()):
        found = judged(kind, range(FIRST_SEED + 1000 * number, FIRST_SEED + 1000 * number + SHOPS))
        shown = found["is_shown"].astype(bool)
        figure = f"shown in {shown.mean():.0%}, widened in {found['is_widened'].mean():.0%}"
        chosen = shown if shown.any() else ~shown  # where nothing is shown, what would have been
        inside, width = found["inside"][chosen].mean(), found["width"][chosen].mean()
        error, other = found["error"][chosen].mean(), found["naive"][chosen].mean()
        yield Claim(
            _named(name),
            BAR,
            f"{inside:.1%}, error {error:.1%} against {other:.1%}; {figure}, mean relative width {width:.2f}",
            bool((0.7 <= inside <= 0.9 and error <= other) or (kind != "steady" and not shown.any())),
        )


BAR = "70 to 90%, error at most that of the same weeks a year ago; or not shown"


def _named(world: str) -> str:
    return (
        f"Forecast of returned units, {world} ({SHOPS} new shops of the family that its constants were chosen on):"
        " 80% intervals cover, mean absolute error"
    )
