"""Returned units of the next twelve weeks: what shipped orders will still send back, and what future orders will.

Orders that are placed already carry the first weeks: units x final rate x what is left of the development curve. Future
orders are the last weeks' level times the season of past years. Intervals come from whole error paths of past forecasts
of orders, resampled with their autocorrelation, a random walk of the return rate, and counting noise last. Weeks are
seven days and end at the last day known. Method: additive loss reserving (Schmidt and Zocher 2008, Variance 2(1)) and
rolling-origin evaluation (Hyndman and Athanasopoulos, Forecasting: Principles and Practice, 3rd ed., 2021, chapter
5.10).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
HORIZON = 12
YEAR = 52
LEVEL_WEEKS = 6  # the level is the mean of the last so many weeks
RATE_WEEKS = 8  # half-life of a cohort's weight in the return rate
CURVE_WEEKS = 60  # cohorts the development curve is learnt from
PATHS = 600
INFLATION = (
    1.15  # error paths of overlapping past forecasts are too alike: chosen between 1.0, too narrow, and 1.3, too wide
)
LEAST_WEEKS = 26  # of history, below which nothing is said


class Forecast(NamedTuple):
    """Units a week.

    Mean, low and high (each of `horizon`), the paths they come from (paths, horizon), and the total's interval.
    """

    mean: Floats
    low: Floats
    high: Floats
    paths: Floats


def weekly(days: ArrayLike) -> Floats:
    """Add days up to weeks of seven that end at the last day; days before the first whole week are left out.

    >>> weekly([9, 1, 1, 1, 1, 1, 1, 1]).tolist()
    [7.0]
    """
    x = np.asarray(days, float)
    found: Floats = x[len(x) % 7 :].reshape(-1, 7, *x.shape[1:]).sum(axis=1)
    return found


def triangle(orders: ArrayLike, returned: ArrayLike) -> tuple[Floats, Floats]:
    """Give weekly orders (weeks) and weekly returns by week of order and of delay (weeks, weeks), from days.

    `returned` is (days of order, days of delay); what lies beyond the last day known must be 0.
    """
    o, r = np.asarray(orders, float), np.asarray(returned, float)
    cut = len(o) % 7
    weeks = (len(o) - cut) // 7
    found = np.zeros((weeks, weeks + 1))
    day, delay = np.nonzero(r[cut:])
    of, on = day // 7, (day + delay) // 7
    inside = on < weeks
    np.add.at(found, (of[inside], (on - of)[inside]), r[cut:][day[inside], delay[inside]])
    return weekly(o), found


def curve(orders: Floats, returned: Floats) -> Floats:
    """Share of the final returns back by the end of each week of delay (delays).

    Of the last cohorts whose week of delay is over.

    What comes back per unit ordered, delay by delay (the additive method of loss reserving): the rate may differ
    between cohorts, and a delay at which nothing ever comes is no obstacle.

    >>> curve(np.array([10.0, 10.0]), np.array([[2.0, 2.0, 0.0], [2.0, 0.0, 0.0]])).round(2).tolist()
    [0.5, 1.0, 1.0]
    """
    weeks = len(orders)
    first = max(0, weeks - CURVE_WEEKS)
    each = np.zeros(returned.shape[1])
    for k in range(min(returned.shape[1], weeks - first)):
        exposed = orders[first : weeks - k].sum()
        each[k] = returned[first : weeks - k, k].sum() / exposed if exposed > 0 else 0.0
    whole = each.sum()
    found: Floats = np.cumsum(each) / whole if whole > 0 else np.ones(len(each))
    return found


def _rates(orders: Floats, returned: Floats, g: Floats, weeks: int) -> tuple[float, float, float]:
    """Give the return rate now, the sd of its weekly step (log), and its own uncertainty (log)."""
    back = np.array([returned[w, : weeks - w].sum() for w in range(weeks)])
    exposed = orders[:weeks] * np.array([g[min(weeks - w - 1, len(g) - 1)] for w in range(weeks)])
    weight = 0.5 ** ((weeks - 1 - np.arange(weeks)) / RATE_WEEKS)
    rate = (weight * back).sum() / max((weight * exposed).sum(), 1e-9)
    known = (exposed > 0) & (back > 4) & (np.arange(weeks) >= weeks - YEAR)
    step = 0.0
    if known.sum() > 8:
        logs = np.log(back[known] / exposed[known])
        noise = 1 / back[known]
        # steps over four weeks: a fourth of their variance, less the counting noise of both ends
        gaps = logs[4:] - logs[:-4]
        step = float(np.sqrt(max(np.mean(gaps**2) - np.mean(noise[4:] + noise[:-4]), 0.0) / 4))
    effective = (weight * back).sum() ** 2 / max((weight**2 * back).sum(), 1e-9)
    return rate, min(step, 0.1), float(1 / np.sqrt(max(effective, 1.0)))


def _orders(orders: Floats, horizon: int) -> Floats:
    """Forecast weekly orders from those so far.

    The last weeks' level times the season of the last two years, where there are.
    """
    n = len(orders)
    level = orders[-LEVEL_WEEKS:].mean()
    profiles = []
    for years in (1, 2):
        at = n - YEAR * years
        if at >= LEVEL_WEEKS and at + horizon <= n:
            base = orders[at - LEVEL_WEEKS : at].mean()
            profiles.append(np.log(np.maximum(orders[at : at + horizon], 0.5) / max(base, 0.5)))
    return level * np.exp(np.mean(profiles, axis=0)) if profiles else np.full(horizon, level)


def _error_paths(orders: Floats, horizon: int) -> Floats:
    """Give the errors (log) of orders forecast from past origins, each a whole path (origins, horizon)."""
    n = len(orders)
    first = max(LEVEL_WEEKS + YEAR, n - horizon - YEAR)
    origins = range(first if n - horizon - first >= 8 else LEVEL_WEEKS, n - horizon + 1)
    paths = [
        np.log(np.maximum(orders[at : at + horizon], 0.5) / np.maximum(_orders(orders[:at], horizon), 0.5))
        for at in origins
    ]
    return np.array(paths) if paths else np.zeros((1, horizon))


def forecast(
    orders: ArrayLike,
    returned: ArrayLike,
    *,
    horizon: int = HORIZON,
    level: float = 0.8,
    paths: int = PATHS,
    seed: int = 0,
) -> Forecast | None:
    """Forecast returned units of the next weeks from days of orders and of returns.

    `orders` are units sold by day; `returned` (days of order, days of delay) units that came back by the last day. None
    with too short a history.

    >>> days = np.full(7 * 60, 10.0)
    >>> back = np.zeros((7 * 60, 30)); back[:-14, 14] = 3.0
    >>> forecast(days, back).mean.round(0)[:3].tolist()
    [21.0, 21.0, 21.0]
    """
    weeks_of, back = triangle(orders, returned)
    n = len(weeks_of)
    if n < LEAST_WEEKS or back.sum() <= 0:
        return None
    g = curve(weeks_of, back)
    rate, step, unsure = _rates(weeks_of, back, g, n)
    share = np.diff(g, prepend=0.0)  # of the final returns, by week of delay
    pending = np.array(
        [sum(weeks_of[w] * share[n - w + h] for w in range(n) if n - w + h < len(share)) for h in range(horizon)]
    )
    future = _orders(weeks_of, horizon)
    spread = np.array(
        [[share[h - j] if 0 <= h - j < len(share) else 0.0 for h in range(horizon)] for j in range(horizon)]
    )
    mean = rate * (pending + future @ spread)
    rng = np.random.default_rng(seed)
    errors = _error_paths(weeks_of, horizon)
    drawn = errors[rng.integers(0, len(errors), paths)]
    drawn = (drawn - errors.mean(axis=0)) * INFLATION + errors.mean(axis=0) / 2
    walk = np.cumsum(rng.normal(0, step, (paths, horizon)), axis=1) + rng.normal(0, unsure, (paths, 1))
    expected = rate * np.exp(walk) * (pending + (future * np.exp(drawn)) @ spread)
    counted = rng.poisson(np.maximum(expected, 0)).astype(float)
    low, high = np.quantile(counted, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Forecast(mean, low, high, counted)


def naive(returned_by_week: ArrayLike, horizon: int = HORIZON) -> dict[str, Floats]:
    """Three forecasts anybody can make.

    The same weeks a year ago, those times the growth of the last 8 weeks, the mean of the last 4. Without a year of
    history the first two are the third.
    """
    x = np.asarray(returned_by_week, float)
    last = np.full(horizon, x[-4:].mean())
    if len(x) < YEAR + 8:
        return {"seasonal": last, "seasonal_growth": last, "last_weeks": last}
    seasonal = np.array([x[len(x) - YEAR + h] for h in range(horizon)])
    growth = x[-8:].sum() / max(x[len(x) - YEAR - 8 : len(x) - YEAR].sum(), 1.0)
    return {"seasonal": seasonal, "seasonal_growth": seasonal * growth, "last_weeks": last}
