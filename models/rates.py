"""Return rates that stay honest when data are young and samples small.

Here: how returns develop with age, the final rate of a cohort and what is still to come, and when a difference is
noise. Not here: rates of small products (models/products.py), SQL, files, what counts as a return. The one idea: every
function takes additive counts (units by group, by day, by share G), so that any engine can sum them and the arithmetic
is done once, on sums.

Days are whole calendar days since the return clock's start. G(d) is the development curve: the share of a cohort's
final returns that are confirmed by day d. Intervals are 90% unless told, and widen with `deff`, the design effect of
orders (lines of one order come back together, so n lines are worth n / deff).
"""

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

PRIOR_UNTIL = 0.95  # a prior speaks for young cohorts only: from this maturity on, data speak alone
TELLS = 0.1  # maturity from which a month says something of the next one's rate
OLD_ENOUGH = 0.05  # share of the units not returned that must have lived through a window for its rate to be known
_LEVELS = 100  # shares G are spread linearly over this many steps
_POINTS = (33, 33, 33, 97)  # of the logit grid, as it narrows in


def floats(values: ArrayLike) -> Array:
    """Give numbers as an array of doubles."""
    return np.asarray(values, dtype=np.float64)


def two_sided_z(level: float) -> float:
    """Give the standard normal quantile between whose negative and itself `level` (0-1) lies.

    >>> round(two_sided_z(0.9), 3)
    1.645
    """
    return float(scipy.special.ndtri(0.5 + level / 2))


def wilson(successes: ArrayLike, trials: ArrayLike, level: float = 0.9, deff: ArrayLike = 1.0) -> tuple[Array, Array]:
    """Bound a share by Wilson's score interval, on trials / deff effective trials.

    E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927). No trials: NaN.

    >>> low, high = wilson(0, 10, level=0.95)
    >>> round(float(low), 3), round(float(high), 3)
    (0.0, 0.278)
    """
    n = floats(trials)
    effective = n / floats(deff)
    z2 = two_sided_z(level) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        p = floats(successes) / n
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
    a, a_low, a_high = floats(value), floats(low), floats(high)
    b, b_low, b_high = floats(other), floats(other_low), floats(other_high)
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
        p, q = floats(returned) / floats(sold), floats(other_returned) / floats(other_sold)
    bounds, other_bounds = wilson(returned, sold, level, deff), wilson(other_returned, other_sold, level, deff)
    return difference(p, *bounds, q, *other_bounds)


def design_effect(residual: ArrayLike, variance: ArrayLike) -> float:
    """Measure how much more orders vary than independent units would: at least 1.

    One entry an order: `residual` is the sum over its units of (returned - p G), `variance` the sum of p G (1 - p G).

    >>> design_effect([1.0, -1.0], [0.5, 0.5])
    2.0
    """
    expected = float(np.sum(floats(variance)))
    return max(1.0, float(np.sum(floats(residual) ** 2)) / expected) if expected > 0 else 1.0


def effect_of_sums(
    hits: ArrayLike, trials: ArrayLike, hits_squared: ArrayLike, hits_trials: ArrayLike, trials_squared: ArrayLike
) -> float:
    """Measure how much more clusters vary than independent trials would, all groups together: at least 1.

    One entry a group: sums over its clusters (the promises of one return, say) of hits, trials, hits^2, hits x trials
    and trials^2. A cluster of eight that are always hit or missed together counts once.

    >>> effect_of_sums([8.0], [16.0], [64.0], [64.0], [128.0]), effect_of_sums([1.0], [2.0], [1.0], [1.0], [2.0])
    (8.0, 1.0)
    """
    k, m, kk, km, mm = (floats(x) for x in (hits, trials, hits_squared, hits_trials, trials_squared))
    share = np.divide(k, m, out=np.zeros_like(m), where=m > 0)
    apart = float(np.sum(share * (1 - share) * m))
    together = float(np.sum(kk - 2 * share * km + share**2 * mm))
    return max(1.0, together / apart) if apart > 0 else 1.0


def ratio_of_counts(
    came: ArrayLike, sold: ArrayLike, level: float = 0.9, deff: ArrayLike = 1.0
) -> tuple[Array, Array, Array]:
    """Divide what came back by what was sold when one is no part of the other: (ratio, low, high).

    What came is a Poisson count of came / deff independent ones; Byar's approximation of its exact interval (Breslow
    and Day, Statistical Methods in Cancer Research II, 1987, chapter 2). It may pass 1. NaN where nothing was sold.

    >>> [round(float(x), 3) for x in ratio_of_counts(10, 100, 0.95)]
    [0.1, 0.048, 0.184]
    """
    n, effect = floats(sold), floats(deff)
    count, z = floats(came) / effect, two_sided_z(level)
    with np.errstate(invalid="ignore", divide="ignore"):
        below = np.where(count > 0, count * (1 - 1 / (9 * count) - z / (3 * np.sqrt(count))) ** 3, 0.0)
        above = (count + 1) * (1 - 1 / (9 * (count + 1)) + z / (3 * np.sqrt(count + 1))) ** 3
        scale = np.where(n > 0, effect / n, np.nan)
        return floats(came) / np.where(n > 0, n, np.nan), np.maximum(below, 0.0) * scale, above * scale


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
    events, censored = floats(returned), floats(kept)
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


@dataclass(frozen=True)
class Ultimate:
    """Final rates of groups, one entry a group; NaN for groups without units.

    `rate` is the expected final share: what has come plus what is to come, over units sold; `share_low` and
    `share_high` bound it and never fall below what has come. `low` and `high` bound the rate behind these sales, of
    which the final share is one draw: wide for small groups however mature, and what a comparison of groups rests on.
    `maturity` is the mean of G over units sold. `to_come` are the units still expected, with their interval; `by_curve`
    is the half of it that an error of the curve makes, `by_chance` the half that all else makes.
    """

    rate: Array
    low: Array
    high: Array
    share_low: Array
    share_high: Array
    maturity: Array
    to_come: Array
    to_come_low: Array
    to_come_high: Array
    by_chance: Array
    by_curve: Array


def ultimate_rates(
    group: ArrayLike,
    share: ArrayLike,
    sold: ArrayLike,
    returned: ArrayLike,
    *,
    groups: int | None = None,
    deff: ArrayLike = 1.0,
    prior: tuple[ArrayLike, ArrayLike] | None = None,
    doubt: ArrayLike = 0.0,
    level: float = 0.9,
) -> Ultimate:
    """Project the final return rate of many groups at once from additive counts.

    One entry a row: the group's number from 0, G at the age of the row's units (0 for units not delivered), units sold
    and units returned so far; rows of a group add up, so `share` may be rounded to hundredths and summed in SQL. A unit
    is returned by now with probability p G: l(p) = R log p + sum over kept units of log(1 - p G), tempered by `deff`
    (scalar or one a group), on a logit grid that narrows in on each group. `prior` = mean and sd of the logit of p,
    scalar or one a group; it counts for groups under PRIOR_UNTIL maturity; NaN or None is Jeffreys'. Without prior
    `rate` is close to R / sum of G. Returned units never exceed sold ones.

    `doubt` (scalar or one a row): the sd of the probit of G; what curves so much off would move is added in quadrature.

    >>> final = ultimate_rates([0, 0], [0.5, 0.5], [4000, 6000], [1000, 1000])
    >>> round(float(final.rate[0]), 3), float(final.maturity[0]), round(float(final.to_come[0]), -1)
    (0.4, 0.5, 2000.0)
    """
    which = np.asarray(group, dtype=np.int64)
    size = groups if groups is not None else (int(which.max()) + 1 if which.size else 0)
    units, back = floats(sold), np.minimum(floats(returned), floats(sold))
    g = np.clip(floats(share), 0.0, 1.0)
    n: Array = np.bincount(which, units, size).astype(np.float64)
    came: Array = np.bincount(which, back, size).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        maturity = np.bincount(which, units * g, size) / n
    effect = np.broadcast_to(floats(deff), (size,))
    mean, sd = (np.broadcast_to(floats(x), (size,)) for x in (prior if prior is not None else (np.nan, np.nan)))
    with np.errstate(invalid="ignore"):
        has_prior = np.isfinite(mean) & (sd > 0) & (maturity < PRIOR_UNTIL)
    informed = (np.where(has_prior, mean, np.nan), sd)

    def projected(moved: Array) -> tuple[Array, Array]:
        pending = _kept_by_step(which, moved, units - back, size)
        out: Array = np.full((4, size), np.nan)
        for start in range(0, size, 256):
            part = slice(start, start + 256)
            out[:, part] = _posterior(
                came[part], pending[part], effect[part], informed[0][part], informed[1][part], level
            )
        return out, pending.sum(1)

    (to_come, spread, low, high), waiting = projected(g)
    by_chance = two_sided_z(level) * np.sqrt(spread)
    above = below = np.zeros(size)
    if np.any(floats(doubt) > 0):
        (more, _, _, highest), (less, _, lowest, _) = (projected(moved_share(g, x))[0] for x in (doubt, -floats(doubt)))
        z = two_sided_z(level)
        above, below = z * np.maximum(more - to_come, 0.0), z * np.maximum(to_come - less, 0.0)
        low, high = _widened(low, high, z * (low - lowest), z * (highest - high))
    return _bounded(n, came, waiting, maturity, to_come, by_chance, (below, above), (low, high))


def summed_rates(group: ArrayLike, parts: Ultimate, sold: ArrayLike, returned: ArrayLike, groups: int) -> Ultimate:
    """Add the projections of parts (one entry a part: its group's number, units sold and returned) up to groups'.

    A mix of categories whose slow ones come back most is not one rate at one age. Chance is each part's own, an error
    of the curve is one for all of a group.

    >>> parts = ultimate_rates([0, 1], [1.0, 0.5], [4000, 6000], [1000, 1500])
    >>> whole = summed_rates([0, 0], parts, [4000, 6000], [1000, 1500], 1)
    >>> round(float(whole.rate[0]), 2), round(float(whole.to_come[0]), -1)
    (0.4, 1500.0)
    """
    which, units, back = np.asarray(group, dtype=np.int64), floats(sold), np.minimum(floats(returned), floats(sold))

    def added(values: Array) -> Array:
        return np.asarray(np.bincount(which, np.nan_to_num(values), groups), dtype=np.float64)

    n, came, to_come = added(units), added(back), added(parts.to_come)
    by_chance, by_curve = np.sqrt(added(parts.by_chance**2)), added(parts.by_curve)
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = (came + to_come) / n
        below, above = (
            np.sqrt(added((units * np.maximum(gap, 0.0)) ** 2)) / n
            for gap in (parts.rate - parts.low, parts.high - parts.rate)
        )
        maturity = added(parts.maturity * units) / n
    half = (by_curve, by_curve)
    return _bounded(n, came, n - came, maturity, to_come, by_chance, half, (rate - below, rate + above))


def moved_share(share: ArrayLike, shift: ArrayLike) -> Array:
    """Move shares G by a shift of their probit, positive for slower returns; 0 and 1 stay.

    >>> moved_share([0.0, 0.5, 1.0], 1.0).round(3).tolist()
    [0.0, 0.159, 1.0]
    """
    g = floats(share)
    inside = (g > 0) & (g < 1)
    moved = scipy.special.ndtr(scipy.special.ndtri(np.where(inside, g, 0.5)) - floats(shift))
    return np.asarray(np.where(inside, moved, g), dtype=np.float64)


def _widened(low: Array, high: Array, below: Array, above: Array) -> tuple[Array, Array]:
    """Widen an interval on each side by what else may be off, in quadrature about its middle."""
    middle = (low + high) / 2
    least = middle - np.hypot(middle - low, np.maximum(below, 0.0))
    return least, middle + np.hypot(high - middle, np.maximum(above, 0.0))


def _bounded(
    n: Array,
    came: Array,
    waiting: Array,
    maturity: Array,
    to_come: Array,
    by_chance: Array,
    by_curve: tuple[Array, Array],
    rate: tuple[Array, Array],
) -> Ultimate:
    """Lay the bounds of the share, the rate and the units to come beside the projection."""
    below, above = by_curve
    to_come = np.minimum(to_come, waiting)  # where more came back than was sold nothing is left to come
    least = np.maximum(to_come - np.hypot(by_chance, below), 0.0)
    most = np.minimum(to_come + np.hypot(by_chance, above), waiting)
    with np.errstate(invalid="ignore", divide="ignore"):
        answer = (
            (came + to_come) / n,
            np.clip(rate[0], 0.0, 1.0),
            np.clip(rate[1], 0.0, 1.0),
            (came + least) / n,
            (came + most) / n,
            maturity,
            to_come,
            least,
            most,
            by_chance,
            (below + above) / 2,
        )
    return Ultimate(*(np.where(n <= 0, np.nan, x) for x in answer))


def _kept_by_step(group: NDArray[np.int64], share: Array, kept: Array, groups: int) -> Array:
    """Sum kept units by group and step of G; each unit is shared between the two nearest steps."""
    step = np.minimum((share * _LEVELS).astype(np.int64), _LEVELS - 1)
    upper = share * _LEVELS - step
    cell = group * (_LEVELS + 1) + step
    width = groups * (_LEVELS + 1)
    lower: Array = np.bincount(cell, kept * (1 - upper), width).astype(np.float64)
    by_step: Array = lower + np.bincount(cell + 1, kept * upper, width + 1)[:width]
    return by_step.reshape(groups, _LEVELS + 1)


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
    """Project the final share of one cohort and bound the rate behind it: (rate, low, high, maturity).

    See `ultimate_rates`.

    >>> [round(x, 2) for x in ultimate_rate([1.0], [100], [30])]
    [0.3, 0.23, 0.38, 1.0]
    """
    rows = np.atleast_1d(floats(share))
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
    g, kept = floats(share), floats(pending)
    chance = rate * (1 - g) / np.maximum(1 - rate * g, 1e-12)
    slope = (1 - g) / np.maximum(1 - rate * g, 1e-12) ** 2
    expected = float(np.sum(kept * chance))
    variance = deff * np.sum(kept * chance * (1 - chance)) + (rate_sd * np.sum(kept * slope)) ** 2
    half = two_sided_z(level) * float(np.sqrt(variance))
    return expected, max(expected - half, 0.0), min(expected + half, float(np.sum(kept)))


def month_priors(
    month_no: ArrayLike,
    returned: ArrayLike,
    exposure: ArrayLike,
    units: ArrayLike,
    deff: float = 1.0,
    doubt: ArrayLike = 0.0,
    usual: float = 0.12,
) -> dict[int, tuple[float, float]]:
    """Expect the rate of each month of a category from its other months: mean and sd of its logit, by month.

    One entry a row; rows of a month add up. A month's rate is known as well as its counts and the doubt of its curve
    allow, young months less; between months the logit walks at random, by a step that the months themselves show
    (lognormal around `usual`, a factor 2 either way, before any was seen). Weeks do as well, with a smaller usual step.
    Each month is left out of its own prior, so the prior may stand beside its counts. The month after the last is given
    too. Empty with under two months that tell.

    >>> found = month_priors([1, 2, 3], [300, 310, 90], [1000, 1000, 300], [1000, 1000, 1000])
    >>> sorted(found), round(found[3][0], 1), found[3][1] < found[4][1] + 0.2
    ([1, 2, 3, 4], -0.8, True)
    """
    month, at = np.unique(np.asarray(month_no, dtype=np.int64), return_inverse=True)
    if not month.size:
        return {}
    r, e, n = (np.bincount(at, floats(x), month.size).astype(np.float64) for x in (returned, exposure, units))
    unsure = np.bincount(at, np.broadcast_to(floats(doubt), at.shape) * floats(units), month.size) / np.maximum(n, 1e-9)
    e = np.maximum(e, r)
    p = (r + 0.5) / (e + 1.0)
    mature = np.clip(e / np.maximum(n, 1e-9), 1e-3, 1 - 1e-3)
    slope = np.exp(-0.5 * scipy.special.ndtri(mature) ** 2) / np.sqrt(2 * np.pi) / mature
    noise = deff / np.maximum(e * p * (1 - p), 1e-9) + (unsure * slope / (1 - p)) ** 2
    tells = (e > 0) & (mature >= TELLS)
    if tells.sum() < 2:
        return {}
    numbers = np.arange(month[0], month[-1] + 2)
    x, precision = np.zeros(numbers.size), np.zeros(numbers.size)
    place = month - month[0]
    x[place], precision[place] = scipy.special.logit(p), np.where(tells, 1 / noise, 0.0)
    step = _step(x[place][tells], 1 / precision[place][tells], month[tells], usual)
    between = np.diff(np.eye(numbers.size), axis=0)
    variance = np.linalg.inv(between.T @ between / step**2 + np.diag(precision) + 1e-9 * np.eye(numbers.size))
    mean, spread = variance @ (precision * x), np.diag(variance)
    others = np.maximum(1 / spread - precision, 1e-6)
    expected = (mean / spread - precision * x) / others
    return {int(m): (float(a), float(s)) for m, a, s in zip(numbers, expected, np.sqrt(1 / others), strict=True)}


def _step(x: Array, noise: Array, month: NDArray[np.int64], usual: float) -> float:
    """Measure how far a month's logit lies from the one before: the root mean square that one-step errors allow."""
    change = np.exp(np.linspace(np.log(0.01), np.log(0.8), 50))
    mean, spread = np.full(change.size, x[0]), np.full(change.size, noise[0])
    belief = -0.5 * (np.log(change / usual) / np.log(2)) ** 2
    for k in range(1, x.size):
        spread = spread + change**2 * (month[k] - month[k - 1])
        error, total = x[k] - mean, spread + noise[k]
        belief = belief - 0.5 * (np.log(total) + error**2 / total)
        gain = spread / total
        mean, spread = mean + gain * error, spread * (1 - gain)
    weight = np.exp(belief - belief.max())
    return float(np.sqrt(np.sum(weight * change**2) / weight.sum()))
