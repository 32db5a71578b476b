"""Return rates that stay honest when data are young and samples small.

Here: how returns develop with age, the final rate of a cohort and what is still to come, and when a difference is
noise. Not here: rates of small products (models/products.py), SQL, files, what counts as a return. The one idea: every
function takes additive counts (units by group, by day, by share G), so that any engine can sum them and the arithmetic
is done once, on sums.

Days are whole calendar days since the return clock's start. G(d) is the development curve: the share of a cohort's
final returns that are confirmed by day d. Intervals are 90% unless told, and widen with `deff`, the design effect of
orders (lines of one order come back together, so n lines are worth n / deff).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy  # loads its parts when they are first asked for
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

PRIOR_UNTIL = 0.95  # a prior speaks for young cohorts only: from this maturity on, data speak alone
NO_WINDOW_DAYS = 140  # a source without policies: curves run to 200 days
AFTER_WINDOW_DAYS = 60  # requests end with the window, confirmations later
DATED_STEPS = 70  # what a date adds to a window is counted in so many steps
_DATED_DAYS = 65  # what to take such a window for before its own returns are seen
RECENT_DAYS = 120  # beyond a curve's last day, how far back returned lines count
_ASSUMED, _STRETCHED = 30.0, 100.0  # returns that an assumed and a stretched curve are worth
DRIFT_DAYS = 30  # the confirmations that the alarm compares with the curve
DRIFT_FACTOR, DRIFT_Z = 1.1, 3.5  # delays this much longer or shorter, this surely: the curve no longer fits
OLD_ENOUGH = 0.05  # share of the units not returned that must have lived through a window for its rate to be known
_LEVELS = 100  # shares G are spread linearly over this many steps
_POINTS = (33, 33, 33, 97)  # of the logit grid, as it narrows in


def _floats(values: ArrayLike) -> Array:
    return np.asarray(values, dtype=np.float64)


def two_sided_z(level: float) -> float:
    """Give the standard normal quantile between whose negative and itself `level` (0-1) lies.

    >>> round(two_sided_z(0.9), 3)
    1.645
    """
    return float(scipy.special.ndtri(0.5 + level / 2))


# -- shares ------------------------------------------------------------------------------------------------------------


def wilson(successes: ArrayLike, trials: ArrayLike, level: float = 0.9, deff: ArrayLike = 1.0) -> tuple[Array, Array]:
    """Bound a share by Wilson's score interval, on trials / deff effective trials.

    E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927). No trials: NaN.

    >>> low, high = wilson(0, 10, level=0.95)
    >>> round(float(low), 3), round(float(high), 3)
    (0.0, 0.278)
    """
    n = _floats(trials)
    effective = n / _floats(deff)
    z2 = two_sided_z(level) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        p = _floats(successes) / n
        centre = (p + z2 / (2 * effective)) / (1 + z2 / effective)
        half = np.sqrt(z2 * (p * (1 - p) / effective + z2 / (4 * effective**2))) / (1 + z2 / effective)
    return np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0)


def difference(
    value: ArrayLike, low: ArrayLike, high: ArrayLike, other: ArrayLike, other_low: ArrayLike, other_high: ArrayLike
) -> tuple[Array, Array, Array, NDArray[np.bool_]]:
    """Subtract two independent estimates that have intervals: (difference, low, high, is_within_noise).

    MOVER: the squared distances to the bounds add up (Zou and Donner, Statistics in Medicine 27, 2008). Works for any
    metric with an interval. A missing bound counts as noise.

    >>> [round(float(x), 2) for x in difference(.5, .4, .6, .3, .2, .4)[:3]]
    [0.2, 0.06, 0.34]
    """
    a, a_low, a_high = _floats(value), _floats(low), _floats(high)
    b, b_low, b_high = _floats(other), _floats(other_low), _floats(other_high)
    gap = a - b
    below = gap - np.hypot(a - a_low, b_high - b)
    above = gap + np.hypot(a_high - a, b - b_low)
    return gap, below, above, ~((below > 0) | (above < 0))


def rate_difference(
    returned: ArrayLike,
    sold: ArrayLike,
    other_returned: ArrayLike,
    other_sold: ArrayLike,
    level: float = 0.9,
    deff: ArrayLike = 1.0,
) -> tuple[Array, Array, Array, NDArray[np.bool_]]:
    """Compare two rates: (difference, low, high, is_within_noise), with Newcombe's hybrid score interval.

    R. G. Newcombe, Statistics in Medicine 17 (1998), method 10, on sold / deff effective units.

    >>> change, low, high, is_noise = rate_difference(27, 300, 24, 300)
    >>> round(float(change), 3), bool(is_noise)
    (0.01, True)
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        p, q = _floats(returned) / _floats(sold), _floats(other_returned) / _floats(other_sold)
    bounds, other_bounds = wilson(returned, sold, level, deff), wilson(other_returned, other_sold, level, deff)
    return difference(p, *bounds, q, *other_bounds)


def design_effect(residual: ArrayLike, variance: ArrayLike) -> float:
    """Measure how much more orders vary than independent units would: at least 1.

    One entry an order: `residual` is the sum over its units of (returned - p G), `variance` the sum of p G (1 - p G).

    >>> design_effect([1.0, -1.0], [0.5, 0.5])
    2.0
    """
    expected = float(np.sum(_floats(variance)))
    return max(1.0, float(np.sum(_floats(residual) ** 2)) / expected) if expected > 0 else 1.0


def ratio_of_counts(
    came: ArrayLike, sold: ArrayLike, level: float = 0.9, deff: ArrayLike = 1.0
) -> tuple[Array, Array, Array]:
    """Divide what came back by what was sold when one is no part of the other: (ratio, low, high).

    What came is a Poisson count of came / deff independent ones; Byar's approximation of its exact interval (Breslow
    and Day, Statistical Methods in Cancer Research II, 1987, chapter 2). It may pass 1. NaN where nothing was sold.

    >>> [round(float(x), 3) for x in ratio_of_counts(10, 100, 0.95)]
    [0.1, 0.048, 0.184]
    """
    n, effect = _floats(sold), _floats(deff)
    count, z = _floats(came) / effect, two_sided_z(level)
    with np.errstate(invalid="ignore", divide="ignore"):
        below = np.where(count > 0, count * (1 - 1 / (9 * count) - z / (3 * np.sqrt(count))) ** 3, 0.0)
        above = (count + 1) * (1 - 1 / (9 * (count + 1)) + z / (3 * np.sqrt(count + 1))) ** 3
        scale = np.where(n > 0, effect / n, np.nan)
        return _floats(came) / np.where(n > 0, n, np.nan), np.maximum(below, 0.0) * scale, above * scale


def window_rate(
    returned: ArrayLike, kept: ArrayLike, window: int, level: float = 0.9, deff: ArrayLike = 1.0
) -> tuple[Array, Array, Array]:
    """Estimate the share returned within `window` days from units of mixed ages: (rate, low, high).

    `returned[..., d]` are units confirmed on day d, `kept[..., d]` units of age d not returned; the last axis is the
    day from 0, leading axes are groups. Kaplan-Meier (JASA 53, 1958); the interval is Wilson's on the effective sample
    of Greenwood's variance. NaN where nobody is old enough to say: fewer than `OLD_ENOUGH` of the units not returned
    have lived through the window.

    >>> [round(float(x), 2) for x in window_rate([0, 2, 0], [0, 0, 8], 2)]
    [0.2, 0.07, 0.46]
    >>> float(window_rate([0, 2, 0], [0, 8, 0], 2)[0])
    nan
    """
    events, censored = _floats(returned), _floats(kept)
    at_risk = np.flip(np.cumsum(np.flip(events + censored, -1), -1), -1)[..., : window + 1]
    events = events[..., : window + 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        hazard = np.where(at_risk > 0, events / at_risk, 0.0)
        greenwood = np.sum(np.where(at_risk > events, hazard / (at_risk - events), 0.0), -1)
        kept_share = np.prod(1 - hazard, -1)
        rate = 1 - kept_share
        smallest = at_risk[..., -1] + np.sum(events[..., :-1], -1)  # all that are known to the window's end
        effective = np.where(greenwood > 0, rate / (kept_share * greenwood), smallest)
        effective = np.where(np.isfinite(effective), effective, smallest)
        old, young = at_risk[..., -1], np.sum(censored[..., :window], -1)
        is_known = (
            (at_risk.shape[-1] == window + 1)
            & (smallest > 0)
            & (old >= OLD_ENOUGH * (old + young))
            & ((old > 0) | (young == 0))
        )
    low, high = wilson(rate * effective, effective, level, deff)
    return np.where(is_known, rate, np.nan), np.where(is_known, low, np.nan), np.where(is_known, high, np.nan)


# -- development -------------------------------------------------------------------------------------------------------


def development_curve(
    delay_days: ArrayLike,
    units: ArrayLike,
    truncation_days: ArrayLike,
    last_day: int,
    prior: ArrayLike | None = None,
    pseudo: float = 300.0,
) -> Array:
    """Fit G(0..last_day) from returned units alone, right truncation handled.

    One entry a group of returned units: their delay, how many, and the age their line has at observation (a return can
    only be seen if its delay is at most that age). Reverse-time hazard r(d) = #{delay = d} / #{delay <= d <= age}, and
    G(d) = product over k > d of 1 - r(k) (Lagakos, Barraj and De Gruttola, Biometrika 75, 1988). No denominator of sold
    units enters, so changing rates do not bend it. Delays beyond `last_day` count on it. `prior` is a curve of the same
    length that is added as `pseudo` returns; where no age reaches, it speaks alone. Without prior and returns: NaN.

    >>> development_curve([0, 1, 2], [1, 1, 2], [9, 9, 9], 2).tolist()
    [0.25, 0.5, 1.0]
    """
    delay = np.clip(np.asarray(delay_days, dtype=np.int64), 0, last_day)
    until = np.clip(np.asarray(truncation_days, dtype=np.int64), delay, last_day)
    weight = _floats(units)
    events: Array = np.bincount(delay, weight, last_day + 1).astype(np.float64)
    gone = np.bincount(until + 1, weight, last_day + 2)[: last_day + 1]
    at_risk: Array = np.cumsum(events - gone)
    if prior is not None:
        events = events + pseudo * np.diff(_floats(prior), prepend=0.0)
        at_risk = at_risk + pseudo * _floats(prior)
    elif weight.sum() <= 0:
        return np.full(last_day + 1, np.nan)
    hazard = np.divide(events, at_risk, out=np.zeros(last_day + 1), where=at_risk > 1e-12)
    landed_later = np.cumprod(1 - np.clip(hazard, 0, 1)[:0:-1])
    return np.append(landed_later[::-1], 1.0)


def stretched_curve(curve: ArrayLike, window_days: int, new_window_days: int, last_day: int) -> Array:
    """Carry a curve fitted under one return window to another: G(0..last_day).

    Up to the window's end time runs relative to it, after the end in days: a curve at half of a 30-day window stands at
    half of a 100-day one, and parcels need as long to arrive after either. It is what to assume of a longer window
    before its own late returns have been seen.

    >>> stretched_curve([0, .5, 1.], 2, 4, 4).tolist()
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    known = _floats(curve)
    day = np.arange(last_day + 1, dtype=np.float64)
    old = np.where(day <= new_window_days, day * window_days / new_window_days, day - new_window_days + window_days)
    moved = np.interp(old, np.arange(known.size), known)
    moved[-1] = 1.0
    return moved


def assumed_curve(window_days: int, last_day: int) -> Array:
    """Assume G(0..last_day) before any return is old enough to tell: requests lognormal, then a few days to confirm.

    Request delay: median 5 days, sigma .8, cut at the window (about 83% within ten days as ZigZag and Retail Economics
    report for British shops, https://www.retaileconomics.co.uk); confirmation follows in 3 days on average. An
    assumption, and weighed as one.

    >>> curve = assumed_curve(30, 70)
    >>> bool(0.6 < curve[10] < 0.7), float(curve[-1])
    (True, 1.0)
    """
    day = np.arange(last_day + 1, dtype=np.float64)
    asked = scipy.special.ndtr(np.log(np.minimum(day + 0.5, window_days + 0.5) / 5.0) / 0.8)
    wait = 0.25 * 0.75**day
    curve: Array = np.cumsum(np.convolve(np.diff(asked, prepend=0.0), wait)[: last_day + 1])
    return np.asarray(curve / curve[-1], dtype=np.float64)


class Cell(NamedTuple):
    """What a development curve is fitted for.

    `is_dated`: the window ends on a date, so lines of one policy differ in length. Time in a dated cell runs relative
    to the end of the line's own window (`development_day`).
    """

    source: str
    category: str | None = None
    channel: str | None = None
    window_days: int | None = None
    is_dated: bool = False

    @property
    def window(self) -> int:
        """Length of the window on the curve's own axis."""
        days = NO_WINDOW_DAYS if self.window_days is None else self.window_days
        return days + DATED_STEPS if self.is_dated else days

    @property
    def last_day(self) -> int:
        """Last day of the curve: confirmations come later than the requests that the window ends.

        >>> cells = Cell("shop", window_days=30), Cell("shop"), Cell("shop", window_days=30, is_dated=True)
        >>> tuple(cell.last_day for cell in cells)
        (90, 200, 160)
        """
        return self.window + AFTER_WINDOW_DAYS


class Delays(NamedTuple):
    """Returns of a cell as additive counts: delay and age of their line at observation (curve days), and how many.

    A returned lot counts once, whatever its units: else one wholesale credit of thousands would be the curve.
    """

    delay_days: Array
    returns: Array
    truncation_days: Array


_NOTHING = Delays(np.zeros(0), np.zeros(0), np.zeros(0))


def development_day(age_days: ArrayLike, length_days: ArrayLike, window_days: ArrayLike) -> Array:
    """Place an age on the axis of a window that ends on a date.

    Usual window in days, then progress to the end, then days after it. `length_days` is the line's own window, from its
    clock's start to the date; `window_days` the usual one, shorter. Most send back as soon as ever, whatever the date,
    so the usual window keeps its days; what the date adds differs in length from line to line and is cut into
    DATED_STEPS. What it was measured against: docs/decisions/0008.

    >>> development_day([20, 30, 45, 60, 63], 60, 30).tolist()
    [20.0, 30.0, 65.0, 100.0, 103.0]
    """
    age, length, usual = _floats(age_days), _floats(length_days), _floats(window_days)
    inside = usual + np.floor((age - usual) * DATED_STEPS / np.maximum(length - usual, 1.0))
    after = usual + DATED_STEPS + age - length
    return np.asarray(np.where(age <= usual, age, np.where(age <= length, inside, after)), dtype=np.float64)


def development_curves(cells: Sequence[Cell], counts: Mapping[Cell, Delays]) -> dict[Cell, Array]:
    """Fit a development curve for every cell, small ones pooled.

    Columns: cell, then its window, then the source's leading window. Each cell is shrunk to its window's curve over all
    categories and channels. In a source, the window with most returns leads (itself shrunk a little to an assumed
    curve); any other window's curve starts from the leading one stretched to its length, so that a window too young to
    have shown its late returns is not taken for mature: days beyond the oldest line stay stretched until seen. Cells
    without returns get their window's curve.

    >>> half = Delays(np.array([2, 8]), np.array([5e6, 5e6]), np.array([99, 99]))
    >>> shoes, hats = Cell("shop", "shoes", None, 30), Cell("shop", "hats", None, 30)
    >>> curves = development_curves([shoes, hats], {shoes: half})
    >>> [round(float(curve[5]), 3) for curve in curves.values()]
    [0.5, 0.5]
    """
    found: dict[Cell, Array] = {}
    for source in sorted({c.source for c in cells}):
        windows: dict[Cell, list[Cell]] = {}
        for cell in (c for c in cells if c.source == source):
            windows.setdefault(Cell(source, None, None, cell.window_days, cell.is_dated), []).append(cell)
        pooled = {w: _pooled([counts[m] for m in members if m in counts]) for w, members in windows.items()}
        leading = max(windows, key=lambda w: (not w.is_dated, float(pooled[w].returns.sum()), -(w.window_days or 0)))
        assumed = assumed_curve(leading.window_days or 30, leading.last_day)
        first = development_curve(*pooled[leading], leading.last_day, assumed, _ASSUMED)
        for window, members in windows.items():
            whole = first
            if window != leading:
                start = _carried(first, leading, window)
                whole = development_curve(*pooled[window], window.last_day, start, _STRETCHED)
            for cell in members:
                found[cell] = development_curve(*counts.get(cell, _NOTHING), cell.last_day, whole)
    return found


@dataclass(frozen=True)
class Drift:
    """How the delays of recent returns compare with the curve's: `factor` times as long, `z` standard errors from none.

    `is_drifting` when both are large: more than DRIFT_FACTOR either way and beyond DRIFT_Z. `returned` are the recent
    returns compared.
    """

    factor: float
    z: float
    returned: float

    @property
    def is_drifting(self) -> bool:
        """Say whether the curve no longer fits."""
        return abs(self.z) >= DRIFT_Z and bool(abs(np.log(self.factor)) >= np.log(DRIFT_FACTOR))


def delay_drift(parts: Sequence[tuple[Delays, ArrayLike]], recent_days: int = DRIFT_DAYS) -> Drift:
    """Compare the delays of the returns confirmed in the last `recent_days` with their cells' curves.

    One part a cell whose curve is settled: its counts and its curve. A return of a line aged a that was confirmed in
    those days has a delay d in (a - recent_days, a]; given that, its chance is g(d) over the curve's rise in between:
    neither the rate nor sales enter. `z` is the score of log(1 + d), its variance the larger of the curve's own and the
    one between days (lines of an order come back together, a strike is one event); `factor` is the time stretch of the
    curve that explains the recent mean of log(1 + d). Without recent returns: factor 1, z 0.

    >>> curve = assumed_curve(30, 90)
    >>> age = np.repeat(np.arange(30), 40)
    >>> slow = np.minimum(np.tile(np.arange(40), 30) * 30 // 40, age)
    >>> delay_drift([(Delays(slow, np.ones(age.size), age), curve)]).factor > 1.1
    True
    """
    factors = np.exp(np.linspace(np.log(0.5), np.log(2.0), 9))
    expected, score, variance, total = np.zeros(factors.size), 0.0, 0.0, 0.0
    by_day, ago = np.zeros(recent_days), np.arange(recent_days)
    for (delay_days, returns, truncation_days), curve in ((d, _floats(c)) for d, c in parts):
        delay, age = np.asarray(delay_days, dtype=np.int64), np.asarray(truncation_days, dtype=np.int64)
        last = curve.size - 2  # the curve's last day gathers all later ones
        recent = (age >= delay) & (age - delay < recent_days) & (delay <= last)
        if not recent.any():
            continue
        # seen[a, c]: returns of lines aged a confirmed c days ago, delay a - c; fair: what the curve gives of each
        # age's
        oldest = int(age[recent].max())
        seen = np.bincount(
            age[recent] * recent_days + (age - delay)[recent], _floats(returns)[recent], (oldest + 1) * recent_days
        )
        seen = seen.reshape(-1, recent_days)
        day = np.arange(oldest + 1)[:, None] - ago
        possible = (day >= 0) & (day <= last)
        day = np.clip(day, 0, last)
        of_age = seen.sum(1, keepdims=True)

        def chances(upto: Array, day: NDArray[np.int64] = day, possible: NDArray[np.bool_] = possible) -> Array:
            mass = np.where(possible, np.diff(upto, prepend=0.0)[day] + 1e-12, 0.0)
            fair: Array = mass / np.maximum(mass.sum(1, keepdims=True), 1e-300)
            return fair

        fair, h = chances(curve), np.log1p(day)
        centred = h - np.sum(fair * h, 1, keepdims=True)
        gap = (seen - of_age * fair) * centred
        score += float(gap.sum())
        variance += float(np.sum(of_age * fair * centred**2))
        by_day += gap.sum(0)
        total += float(seen.sum())
        axis = np.arange(curve.size + 1)
        smooth = np.concatenate([[0.0], curve])
        for k, factor in enumerate(factors):
            stretched = chances(np.interp(axis / factor, axis, smooth)[1:])
            expected[k] += float(np.sum((of_age * stretched - seen) * h))
    between = float(np.sum((by_day - by_day.mean()) ** 2)) * recent_days / max(recent_days - 1, 1)
    error = np.sqrt(max(variance, between))
    if error <= 0:
        return Drift(1.0, 0.0, total)
    return Drift(float(np.interp(0.0, np.maximum.accumulate(expected), factors)), score / float(error), total)


def _carried(curve: Array, leading: Cell, window: Cell) -> Array:
    """Carry the leading window's curve to another's axis.

    A source's lines without a window have it as it is, in days.
    """
    if window.window_days is None or leading.window_days is None:
        return stretched_curve(curve, 1, 1, window.last_day)
    if not window.is_dated:
        return stretched_curve(curve, leading.window, window.window, window.last_day)
    longer = max(_DATED_DAYS, window.window_days + 1)
    stretched = stretched_curve(curve, leading.window, longer, longer + AFTER_WINDOW_DAYS)
    placed = development_day(np.arange(stretched.size), longer, window.window_days)
    return np.asarray(np.interp(np.arange(window.last_day + 1), placed, stretched), dtype=np.float64)


def _pooled(counts: list[Delays]) -> Delays:
    return Delays(*(np.concatenate(parts) for parts in zip(*counts, strict=True))) if counts else _NOTHING


@dataclass(frozen=True)
class Ultimate:
    """Final rates of groups, one entry a group; NaN for groups without units.

    `rate` is the expected final share: what has come plus what is to come, over units sold. `low` and `high` hold that
    share and the rate behind these sales, each at their level: the wider bound of the two, so that chance in what came
    and doubt about what comes both count. `maturity` is the mean of G over units sold. `to_come` are the units still
    expected, with their interval.
    """

    rate: Array
    low: Array
    high: Array
    maturity: Array
    to_come: Array
    to_come_low: Array
    to_come_high: Array


def ultimate_rates(
    group: ArrayLike,
    share: ArrayLike,
    sold: ArrayLike,
    returned: ArrayLike,
    *,
    groups: int | None = None,
    deff: ArrayLike = 1.0,
    prior: tuple[ArrayLike, ArrayLike] | None = None,
    level: float = 0.9,
) -> Ultimate:
    """Project the final return rate of many groups at once from additive counts.

    One entry a row: the group's number from 0, G at the age of the row's units (0 for units not delivered), units sold
    and units returned so far; rows of a group add up, so `share` may be rounded to hundredths and summed in SQL. A unit
    is returned by now with probability p G: l(p) = R log p + sum over kept units of log(1 - p G), tempered by `deff`
    (scalar or one a group), on a logit grid that narrows in on each group. `prior` = mean and sd of the logit of p,
    scalar or one a group; it counts for groups under PRIOR_UNTIL maturity; NaN or None is Jeffreys'. Without prior
    `rate` is close to R / sum of G. Returned units never exceed sold ones.

    >>> final = ultimate_rates([0, 0], [0.5, 0.5], [4000, 6000], [1000, 1000])
    >>> round(float(final.rate[0]), 3), float(final.maturity[0]), round(float(final.to_come[0]), -1)
    (0.4, 0.5, 2000.0)
    """
    which = np.asarray(group, dtype=np.int64)
    size = groups if groups is not None else (int(which.max()) + 1 if which.size else 0)
    units, back = _floats(sold), np.minimum(_floats(returned), _floats(sold))
    g = np.clip(_floats(share), 0.0, 1.0)
    n = np.bincount(which, units, size)
    came: Array = np.bincount(which, back, size).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        maturity = np.bincount(which, units * g, size) / n
    # Kept units by step of G: each unit is shared between the two nearest steps.
    step = np.minimum((g * _LEVELS).astype(np.int64), _LEVELS - 1)
    upper = g * _LEVELS - step
    cell = which * (_LEVELS + 1) + step
    width = size * (_LEVELS + 1)
    lower: Array = np.bincount(cell, (units - back) * (1 - upper), width).astype(np.float64)
    pending: Array = (lower + np.bincount(cell + 1, (units - back) * upper, width + 1)[:width]).reshape(
        size, _LEVELS + 1
    )

    effect = np.broadcast_to(_floats(deff), (size,))
    mean, sd = (np.broadcast_to(_floats(x), (size,)) for x in (prior if prior is not None else (np.nan, np.nan)))
    with np.errstate(invalid="ignore"):
        has_prior = np.isfinite(mean) & (sd > 0) & (maturity < PRIOR_UNTIL)
    out = np.full((4, size), np.nan)
    for start in range(0, size, 256):
        part = slice(start, start + 256)
        out[:, part] = _posterior(
            came[part], pending[part], effect[part], np.where(has_prior, mean, np.nan)[part], sd[part], level
        )
    to_come, spread, low, high = out
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = (came + to_come) / n
        half = two_sided_z(level) * np.sqrt(spread)
        low, high = np.minimum(low, rate - half / n), np.maximum(high, rate + half / n)
    waiting = pending.sum(1)
    is_empty = n <= 0
    answer = (
        rate,
        np.clip(low, 0.0, 1.0),
        np.clip(high, 0.0, 1.0),
        maturity,
        to_come,
        np.maximum(to_come - half, 0.0),
        np.minimum(to_come + half, waiting),
    )
    return Ultimate(*(np.where(is_empty, np.nan, x) for x in answer))


def _posterior(came: Array, pending: Array, deff: Array, mean: Array, sd: Array, level: float) -> Array:
    """Give the units to come, their variance and the bounds of the rate for a block of groups."""
    steps = np.linspace(0, 1, _LEVELS + 1)
    used = np.flatnonzero(pending.any(0))
    g, waiting = steps[used], pending[:, used]
    is_informed = np.isfinite(mean)
    centre, half = np.zeros(came.size), np.full(came.size, 12.0)
    for points in _POINTS:
        x = np.clip(centre[:, None] + half[:, None] * np.linspace(-1, 1, points), -14.0, 14.0)
        p = scipy.special.expit(x)
        thinned = np.log1p(-p[:, None, :] * g[:, None])
        log_likelihood = came[:, None] * np.log(p) + np.matmul(waiting[:, None, :], thinned)[:, 0, :]
        with np.errstate(invalid="ignore", divide="ignore"):
            informed = -0.5 * ((x - mean[:, None]) / sd[:, None]) ** 2
        jeffreys = 0.5 * (np.log(p) + np.log1p(-p))
        log_density = log_likelihood / deff[:, None] + np.where(is_informed[:, None], informed, jeffreys)
        density = np.exp(log_density - log_density.max(1, keepdims=True))
        density = density * np.gradient(x, axis=1)
        density /= density.sum(1, keepdims=True)
        centre = np.sum(density * x, 1)
        deviation = np.sqrt(np.maximum(np.sum(density * (x - centre[:, None]) ** 2, 1), 0.0))
        half = np.maximum(8 * deviation, 2 * half / (points - 1))
    chance = p[:, None, :] * (1 - g[:, None]) / np.maximum(1 - p[:, None, :] * g[:, None], 1e-12)
    coming = np.matmul(waiting[:, None, :], chance)[:, 0, :]
    noise = np.matmul(waiting[:, None, :], chance * (1 - chance))[:, 0, :]
    expected = np.sum(density * coming, 1)
    variance = np.sum(density * ((coming - expected[:, None]) ** 2 + deff[:, None] * noise), 1)
    # Bounds of p: a normal on the logit scale would miss the skew of small counts, so the grid's own quantiles are
    # taken.
    upto = np.cumsum(density, 1) - density / 2
    tail = (1 - level) / 2
    bounds = [scipy.special.expit(_crossing(x, upto, share)) for share in (tail, 1 - tail)]
    return np.vstack([expected, variance, *bounds])


def _crossing(x: Array, upto: Array, share: float) -> Array:
    """Give, per row, the x at which a rising `upto` reaches a share, between points linearly."""
    at = np.clip((upto < share).sum(1), 1, upto.shape[1] - 1)[:, None]
    before, after = np.take_along_axis(upto, at - 1, 1), np.take_along_axis(upto, at, 1)
    left, right = np.take_along_axis(x, at - 1, 1), np.take_along_axis(x, at, 1)
    part = np.clip((share - before) / np.maximum(after - before, 1e-300), 0, 1)
    found: Array = (left + part * (right - left))[:, 0]
    return found


def ultimate_rate(
    share: ArrayLike,
    sold: ArrayLike,
    returned: ArrayLike,
    deff: float = 1.0,
    prior: tuple[float, float] | None = None,
    level: float = 0.9,
) -> tuple[float, float, float, float]:
    """Project the final rate of one cohort: (rate, low, high, maturity). See `ultimate_rates`.

    >>> [round(x, 2) for x in ultimate_rate([1.0], [100], [30])]
    [0.3, 0.23, 0.38, 1.0]
    """
    rows = np.atleast_1d(_floats(share))
    final = ultimate_rates(np.zeros(rows.size), rows, sold, returned, groups=1, deff=deff, prior=prior, level=level)
    return float(final.rate[0]), float(final.low[0]), float(final.high[0]), float(final.maturity[0])


def returns_to_come(
    rate: float, share: ArrayLike, pending: ArrayLike, rate_sd: float = 0.0, deff: float = 1.0, level: float = 0.9
) -> tuple[float, float, float]:
    """Expect how many of the `pending` units (kept so far, G = `share` at their age) still come back.

    (units, low, high). Each comes with probability p (1 - G) / (1 - p G). `rate_sd` is the standard deviation of the
    rate p. When the rate itself is to be estimated, `ultimate_rates` gives the same with its full posterior.

    >>> [round(x, 1) for x in returns_to_come(0.5, [0.0], [100])]
    [50.0, 41.8, 58.2]
    """
    g, kept = _floats(share), _floats(pending)
    chance = rate * (1 - g) / np.maximum(1 - rate * g, 1e-12)
    slope = (1 - g) / np.maximum(1 - rate * g, 1e-12) ** 2
    expected = float(np.sum(kept * chance))
    variance = deff * np.sum(kept * chance * (1 - chance)) + (rate_sd * np.sum(kept * slope)) ** 2
    half = two_sided_z(level) * float(np.sqrt(variance))
    return expected, max(expected - half, 0.0), min(expected + half, float(np.sum(kept)))


def cohort_prior(
    returned: ArrayLike, exposure: ArrayLike, lag: ArrayLike, deff: float = 1.0
) -> tuple[float, float] | None:
    """Expect the next cohort's rate from past mature ones: mean and sd of its logit; None under two cohorts.

    One entry a mature cohort of one category, `lag` 1 for the latest; `exposure` = sum of G over its units. Mean: of
    the last six, each weighing its units x .6^lag. Sd: the posterior root mean square of what one-step-ahead errors of
    the past show beyond sampling, a month's change being lognormal around 12% (a factor 2 either way) before any was
    seen. Errors are weighed by what their counts can tell, so that months with few returns do not make the next one
    look sure.

    >>> mean, sd = cohort_prior([300, 300, 300], [1000, 1000, 1000], [1, 2, 3])
    >>> round(mean, 2), round(sd, 2)
    (-0.85, 0.11)
    """
    r, n, back = _floats(returned), np.maximum(_floats(exposure), _floats(returned)), _floats(lag)
    order = np.argsort(-back)
    r, n, back = r[order], n[order], back[order]
    if r.size < 2:
        return None

    def ahead(end: int) -> float:
        recent = slice(max(0, end - 6), end)
        w = 0.6 ** (back[recent] - back[end - 1])
        return float((np.sum(w * r[recent]) + 0.5) / (np.sum(w * n[recent]) + 1.0))

    expected = np.array([ahead(k) for k in range(1, r.size)])
    error = scipy.special.logit((r[1:] + 0.5) / (n[1:] + 1.0)) - scipy.special.logit(expected)
    noise = deff / (n[1:] * expected * (1 - expected))
    change = np.exp(np.linspace(np.log(0.03), np.log(0.6), 40))
    spread = change[:, None] ** 2 + noise
    belief = -0.5 * np.sum(np.log(spread) + error**2 / spread, 1) - 0.5 * (np.log(change / 0.12) / np.log(2)) ** 2
    weight = np.exp(belief - belief.max())
    return float(scipy.special.logit(ahead(r.size))), float(np.sqrt(np.sum(weight * change**2) / weight.sum()))


def month_prior(
    month_no: ArrayLike, returned: ArrayLike, exposure: ArrayLike, units: ArrayLike, deff: float = 1.0
) -> tuple[float, float] | None:
    """Expect the rate of months to come from the counts of a category's months: mean and sd of its logit, or None.

    One entry a row, `month_no` any running number of months; rows of a month add up. Only mature months count
    (`exposure`, the sum of G, at least PRIOR_UNTIL of `units`); see `cohort_prior`.

    >>> found = month_prior([1, 2, 3], [300, 300, 90], [1000, 1000, 400], [1000, 1000, 1000])
    >>> found == cohort_prior([300, 300], [1000, 1000], [2, 1])
    True
    """
    month, at = np.unique(np.asarray(month_no, dtype=np.int64), return_inverse=True)
    r, e, n = (np.bincount(at, _floats(x), month.size) for x in (returned, exposure, units))
    mature = (e >= PRIOR_UNTIL * n) & (e > 0)
    if not mature.any():
        return None
    return cohort_prior(r[mature], e[mature], month[mature].max() + 1 - month[mature], deff)
