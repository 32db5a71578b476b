"""Returned units of the next twelve weeks: what shipped orders will still send back, and what future orders will.

Here: several forecasts, what each missed in the past, and their mean weighed by it. Not here: what is forecast, whether
it is shown. Orders that are placed already carry the first weeks: units x final rate x what is left of the development
curve; future orders are a level, with or without a trend, times the season of past years; and the returns of a year
ago, grown, know what no curve does (windows that end on a date, sales that come every year). Those forecasts count most
that missed least of late and at the same weeks of past years. Intervals are what the mean of them missed from past
origins, late ones first. Where the last weeks left what forecasts of a month, two and three ago said, by more than
such forecasts usually miss, the interval widens; so it does where the last orders, whose returns are yet to come, left
what was forecast of them. `moved` and `ordered` say by how much.

Weeks are seven days and end at the last day known. Methods: additive loss reserving (Schmidt and Zocher 2008, Variance
2(1)); damped trend, rolling-origin evaluation and combination (Hyndman and Athanasopoulos, Forecasting: Principles and
Practice, 3rd ed., 2021, chapters 8.2, 5.10 and 13.4).
"""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.rates import two_sided_z

Floats = NDArray[np.float64]
HORIZON = 12
YEAR = 52
LEVEL_WEEKS = 6  # the level is the median of the last so many weeks, which no promotion of two moves
MEMORIES = ((30.0, 8.0), (6.0, 3.0))  # half-lives (weeks) of curve and rate: the usual ones, and those after a change
GROWTH_WEEKS = 10  # compared with the same weeks a year ago
TREND_WEEKS, SMOOTH_LEVEL, SMOOTH_TREND, DAMPING = 16, 0.3, 0.1, 0.93  # of the damped trend
NEAR = 4  # weeks whose forecasts are weighed apart from later ones
JUDGED_WEEKS, ERROR_HALF_LIFE, SPREAD_HALF_LIFE = 108, 10.0, 26.0  # past origins, and how long they count
SEASON_WEIGHT, SEASON_REACH = 0.75, 2  # of the same weeks of past years against the last weeks; weeks either way
SEASONAL_PRIOR = 0.5  # weight of each forecast from last year's returns before any error is known
BIAS = 0.4  # part of the usual miss of late that is taken off
FEW_WEIGHT, FEW_SD = 8.0, 0.3  # with fewer origins than that the miss is taken to be so large (log)
CHECKED = (4, 8, 12)  # weeks ago of the forecasts that the last weeks are held against
CHECKED_ORDERS = (1, 2, 4)  # the same of orders: older ones have come back by now
ORDERS_MOVED = 1.64  # usual misses of them, from where the interval widens: what one week sells says less
MOVED, LEFT, MOST_WIDENED = 1.28, 2.5, 1.8  # usual misses: from where the interval widens, and where it was left
PATHS = 600
LEAST_WEEKS = 26  # of history, below which nothing is said
_LEAST_UNITS = 0.5


class Forecast(NamedTuple):
    """Units a week.

    Mean, low and high (each of `horizon`), paths that have them (paths, horizon), and how far the last weeks were off
    what was forecast of them: returns by `moved` usual misses and the share `off` of the forecast, orders by `ordered`
    and `orders_off`.
    """

    mean: Floats
    low: Floats
    high: Floats
    paths: Floats
    moved: float = 0.0
    off: float = 0.0
    ordered: float = 0.0
    orders_off: float = 0.0

    @property
    def is_widened(self) -> bool:
        """Say whether the interval is wider than past misses alone make it."""
        return abs(self.moved) > MOVED or abs(self.ordered) > ORDERS_MOVED

    @property
    def is_left(self) -> bool:
        """Say whether the last weeks lay so far off that what comes next is not known."""
        return abs(self.moved) > LEFT


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


class Past:
    """What was forecast of a shop's returned units from each past week, and what that missed.

    From days of orders and of returns (days of order, days of delay). A forecast from an origin rests on what was known
    then: cells of the triangle whose week is over. Forecasts and misses are logs.
    """

    def __init__(self, orders: ArrayLike, returned: ArrayLike, horizon: int = HORIZON) -> None:
        self.horizon = horizon
        self.orders, triangle_ = triangle(orders, returned)
        self.weeks = len(self.orders)
        # delays in weeks: a day of the first week and one of the last may lie a week further apart
        self.delays = max(min(triangle_.shape[1], np.asarray(returned).shape[1] // 7 + 2), 1)
        self.back = triangle_[:, : self.delays]
        self.week = np.arange(self.weeks)[:, None] + np.arange(self.delays)
        inside = self.week < self.weeks
        came = np.bincount(self.week[inside], self.back[inside], self.weeks)[: self.weeks]
        self.came: Floats = np.asarray(came, dtype=np.float64)
        self.first = LEAST_WEEKS

    def _curve(self, origin: int, half_life: float) -> tuple[Floats, Floats]:
        """Give the share of the final returns by week of delay, late weeks first, and what of each cohort was back."""
        week, back = self.week[:origin], self.back[:origin]
        weight = np.where(week < origin, 0.5 ** ((origin - 1 - week) / half_life), 0.0)
        exposed = (weight * self.orders[:origin, None]).sum(0)
        each = np.divide((weight * back).sum(0), exposed, out=np.zeros(self.delays), where=exposed > 0)
        share = each / each.sum() if each.sum() > 0 else np.eye(1, self.delays)[0]
        return share, np.where(week < origin, back, 0.0).sum(1)

    def _from_orders(self, origin: int, future: Floats) -> Floats:
        """Forecast from orders placed and each path of future ones (paths, horizon), with short and long memory."""
        horizon, found = self.horizon, []
        for curve_weeks, rate_weeks in MEMORIES:
            share, back = self._curve(origin, curve_weeks)
            age = origin - 1 - np.arange(origin)
            exposed = self.orders[:origin] * np.cumsum(share)[np.minimum(age, self.delays - 1)]
            weight = 0.5 ** (age / rate_weeks)
            rate = (weight * back).sum() / max((weight * exposed).sum(), 1e-9)
            padded = np.append(share, np.zeros(origin + horizon))
            pending = padded[age[:, None] + 1 + np.arange(horizon)].T @ self.orders[:origin]
            lag = np.arange(horizon)[None, :] - np.arange(horizon)[:, None]
            found.append(rate * (pending + future @ np.where(lag >= 0, padded[np.maximum(lag, 0)], 0.0)))
        return np.concatenate(found)

    def _future_orders(self, origin: int) -> Floats:
        """Forecast orders three ways (ways, horizon).

        The level of six weeks and of three times the season of the last two years, and a damped trend, which goes by
        the same weeks a year ago where there are.
        """
        orders, horizon = self.orders[:origin], self.horizon
        logs = np.log(np.maximum(orders, _LEAST_UNITS))
        profiles = []
        for years in (1, 2):
            at = origin - YEAR * years
            if at >= LEVEL_WEEKS:
                level = np.log(max(np.median(orders[at - LEVEL_WEEKS : at]), _LEAST_UNITS))
                profiles.append(logs[at : at + horizon] - level)
        season = np.exp(np.mean(profiles, axis=0)) if profiles else np.ones(horizon)
        a_year_ago = origin - YEAR
        is_yearly = a_year_ago >= TREND_WEEKS
        base = logs[a_year_ago - TREND_WEEKS : a_year_ago] if is_yearly else 0.0
        x = logs[-TREND_WEEKS:] - base
        level, trend = float(x[:4].mean()), 0.0
        for value in x[4:]:
            expected = level + DAMPING * trend
            level, trend = (
                expected + SMOOTH_LEVEL * (value - expected),
                DAMPING * trend + SMOOTH_TREND * (value - expected),
            )
        grown = level + np.cumsum(DAMPING ** np.arange(1, horizon + 1)) * trend
        grown = grown + (logs[a_year_ago : a_year_ago + horizon] if is_yearly else 0.0)
        return np.array([np.median(orders[-LEVEL_WEEKS:]) * season, np.exp(logs[-3:].mean()) * season, np.exp(grown)])

    def _each(self, origin: int, future: Floats) -> Floats:
        """Give the log of each forecast from an origin: (forecasts, horizon); the last two from last year's returns."""
        found = self._from_orders(origin, future)
        at = origin - YEAR
        if at >= GROWTH_WEEKS:
            rows = (self.came, self.orders)
            growth = [x[origin - GROWTH_WEEKS : origin].sum() / max(x[at - GROWTH_WEEKS : at].sum(), 1.0) for x in rows]
            found = np.concatenate([found, np.outer(growth, self.came[at : at + self.horizon])])
        else:
            found = np.concatenate([found, found[:2]])
        return np.log(np.maximum(found, _LEAST_UNITS))

    @cached_property
    def _judged(self) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        """Give forecasts and misses of every origin: each one's, of their mean, of orders (origins, ..., horizon)."""
        count, horizon = self.weeks + 1, self.horizon
        each = np.full((count, 3 * len(MEMORIES) + 2, horizon), np.nan)
        missed = each.copy()
        mean, off, ordered = (np.full((count, horizon), np.nan) for _ in range(3))
        actual, placed = (np.log(np.maximum(x, _LEAST_UNITS)) for x in (self.came, self.orders))
        for origin in range(self.first, count):
            future = self._future_orders(origin)
            each[origin] = self._each(origin, future)
            known = min(horizon, self.weeks - origin)
            expected = np.log(np.maximum(future, _LEAST_UNITS)).mean(0)
            ordered[origin, :known] = placed[origin : origin + known] - expected[:known]
            mean[origin] = self._mean(origin, each[origin], missed)
            missed[origin, :, :known] = actual[origin : origin + known] - each[origin][:, :known]
            off[origin, :known] = actual[origin : origin + known] - mean[origin, :known]
        return each, missed, mean, off, ordered

    def _mean(self, origin: int, each: Floats, missed: Floats) -> Floats:
        """Weigh the forecasts by what they missed of late, and at the same weeks of past years."""
        origins = np.arange(max(self.first, origin - JUDGED_WEEKS), origin)
        prior = np.r_[np.ones(len(each) - 2), SEASONAL_PRIOR, SEASONAL_PRIOR]
        if len(origins) < NEAR:
            return np.asarray(each[:-2].mean(0))
        week = origins[:, None] + np.arange(self.horizon)
        weight = self._weight(origin, origins, ERROR_HALF_LIFE)
        found = np.zeros(self.horizon)
        squared = np.nan_to_num(np.where((week < origin)[:, None, :], missed[origins], 0.0)) ** 2
        for part in (slice(0, NEAR), slice(NEAR, self.horizon)):
            whole = weight[:, part] if weight[:, part].sum() >= 1 else np.where((week < origin)[:, part], 1.0, 0.0)
            error = (squared[:, :, part] * whole[:, None, :]).sum((0, 2)) / max(whole.sum(), 1e-9)
            share = prior / (error + 1e-4) ** 2
            found[part] = share / share.sum() @ each[:, part]
        return found

    def _weight(self, origin: int, origins: NDArray[np.int64], half_life: float) -> Floats:
        """Weigh the misses of past origins (origins, horizon): late weeks, and the same weeks of past years."""
        week = origins[:, None] + np.arange(self.horizon)
        late = np.where(week < origin, 0.5 ** ((origin - 1 - week) / half_life), 0.0)
        years = [np.abs(origins - (origin - YEAR * y)) <= SEASON_REACH for y in (1, 2)]
        season = np.where((week < origin) & np.any(years, axis=0)[:, None], 1.0, 0.0)
        each = season.sum(0)
        whole = np.where(each > 0, 1 / (1 + SEASON_WEIGHT), 1.0) * late
        return np.asarray(whole + SEASON_WEIGHT * whole.sum(0) * np.divide(season, each, out=season, where=each > 0))

    def _spread(self, origin: int, off: Floats, mean: Floats) -> tuple[Floats, Floats, Floats]:
        """Give the usual miss of late, by horizon: its mean, and what it is below and above (root mean square).

        A quarter of each side is the miss of the other, for a side may have few origins; chance at least.
        """
        origins = np.arange(max(self.first, origin - JUDGED_WEEKS), origin)
        weight = self._weight(origin, origins, SPREAD_HALF_LIFE)
        seen = np.nan_to_num(np.where(weight > 0, off[origins], 0.0))
        total = weight.sum(0)
        lacking = np.maximum(FEW_WEIGHT - total, 0.0)
        sides = []
        for side in (seen < 0, seen > 0):
            square = ((weight * seen**2 * (0.5 + side)).sum(0) + lacking * FEW_SD**2) / (total + lacking)
            smooth = np.convolve(np.pad(square, 1, mode="edge"), np.ones(3) / 3, "valid")
            sides.append(np.sqrt(np.maximum(smooth, np.exp(-mean))))
        return (weight * seen).sum(0) / np.maximum(total, FEW_WEIGHT), sides[0], sides[1]

    def _moved(self, origin: int, off: Floats, came: Floats, checked: Sequence[int]) -> tuple[float, float]:
        """Hold the last weeks against forecasts of so many weeks ago: (usual misses, share) of the worst of them."""
        worst = (0.0, 0.0)
        for weeks in checked:
            at = origin - weeks
            usual = [off[m, :weeks].mean() for m in range(max(self.first, origin - 90), origin - 2 * weeks + 1)]
            if at < self.first or len(usual) < 10:
                continue
            now = float(off[at, :weeks].mean())
            least = 1 / max(came[at:origin].sum(), 1.0)
            moved = now / float(np.sqrt(np.mean(np.square(usual)) + least))
            if abs(moved) > abs(worst[0]):
                worst = moved, float(np.exp(now) - 1)
        return worst

    def forecast(self, weeks_ago: int = 0, *, level: float = 0.8, paths: int = PATHS, seed: int = 0) -> Forecast | None:
        """Forecast as it would have been made so many weeks ago; None with too short a history."""
        origin = self.weeks - weeks_ago
        if origin < self.first or self.came[:origin].sum() <= 0:
            return None
        _, _, means, off, orders_off = self._judged
        bias, below, above = self._spread(origin, off, means[origin])
        moved, share = self._moved(origin, off, self.came, CHECKED)
        ordered, share_ordered = self._moved(origin, orders_off, self.orders, CHECKED_ORDERS)
        middle = means[origin] + BIAS * bias
        further = moved / MOVED, ordered / ORDERS_MOVED
        below = below * np.clip(-min(further), 1.0, MOST_WIDENED)
        above = above * np.clip(max(further), 1.0, MOST_WIDENED)
        half = two_sided_z(level)
        rng = np.random.default_rng(seed)
        drawn = rng.normal(size=(paths, 1)) * np.sqrt(0.6) + rng.normal(size=(paths, self.horizon)) * np.sqrt(0.4)
        drawn = middle + drawn * np.where(drawn < 0, below, above)
        mean, low, high, units = (np.exp(x) for x in (middle, middle - half * below, middle + half * above, drawn))
        return Forecast(mean, low, high, units, moved, share, ordered, share_ordered)


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
    return Past(orders, returned, horizon).forecast(level=level, paths=paths, seed=seed)


def backtest(
    orders: ArrayLike, returned: ArrayLike, weeks_ago: Sequence[int], *, level: float = 0.8
) -> list[Forecast | None]:
    """Give the forecasts that would have been made so many weeks ago, each from what was known then."""
    past = Past(orders, returned)
    return [past.forecast(ago, level=level) for ago in weeks_ago]


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
