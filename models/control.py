"""Control charts: tell a week that stands out from weeks that only vary.

Limits come from a baseline of earlier weeks, from how much one week differs from the next, so that neither a drift nor
the signal itself widens them. Shares vary more than their counts alone would (design of weeks, carriers' days), so the
p'-chart of D. B. Laney (Quality Engineering 14, 2002, doi 10.1081/QEN-120006708) widens the binomial limits by what the
weeks show; other numbers get the individuals chart of W. A. Shewhart. Signals: a week beyond the limits, or eight in a
row on one side of the centre (L. S. Nelson, Journal of Quality Technology 16, 1984, doi 10.1080/00224065.1984.11978921,
tests 1 and 2; eight instead of nine as in the Western Electric handbook of 1956).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

LIMIT = 3.0  # standard deviations
IN_A_ROW = 8
_MEDIAN_RANGE = 0.9539  # median of the range of two standard normal values; the median bears a few odd weeks


class Chart(NamedTuple):
    """One chart, an entry a week.

    The centre, the limits, and the signal ("", "above", "below", "run_above" or "run_below").
    """

    centre: Array
    low: Array
    high: Array
    signal: NDArray[np.str_]


def _spread(z: Array) -> float:
    """Estimate the standard deviation of values in order, from their steps."""
    steps = np.abs(np.diff(z))
    return float(np.median(steps) / _MEDIAN_RANGE) if steps.size else np.nan


def shares(count: ArrayLike, of: ArrayLike, baseline: ArrayLike) -> Chart:
    """Chart shares count / of a week, [week]; `baseline` says which weeks the limits come from.

    Weeks without any are never a signal.

    >>> shares([90, 88, 92, 91, 89, 90, 60], [100] * 7, [True] * 6 + [False]).signal.tolist()
    ['', '', '', '', '', '', 'below']
    """
    k, n = np.asarray(count, dtype=np.float64), np.asarray(of, dtype=np.float64)
    base = np.asarray(baseline, dtype=bool) & (n > 0)
    if base.sum() < 2:
        unknown = np.full(k.shape, np.nan)
        return Chart(unknown, unknown, unknown, np.full(k.shape, "", dtype="<U9"))
    p = k[base].sum() / n[base].sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(n > 0, k / n, np.nan)
        sd = np.sqrt(np.maximum(p * (1 - p), 1e-12) / n)
    wider = max(_spread(((share - p) / sd)[base]), 1.0)
    reach = LIMIT * np.where(n > 0, sd, np.nan) * wider
    centre = np.full(k.shape, p)
    return Chart(
        centre, np.maximum(p - reach, 0), np.minimum(p + reach, 1), _signals(share, centre, p - reach, p + reach)
    )


def individuals(value: ArrayLike, baseline: ArrayLike) -> Chart:
    """Chart one number a week, [week]; missing ones are never a signal.

    >>> individuals([5.0, 5.2, 4.9, 5.1, 5.0, 9.0], [True] * 5 + [False]).signal.tolist()
    ['', '', '', '', '', 'above']
    """
    x = np.asarray(value, dtype=np.float64)
    base = np.asarray(baseline, dtype=bool) & np.isfinite(x)
    if base.sum() < 2:
        unknown = np.full(x.shape, np.nan)
        return Chart(unknown, unknown, unknown, np.full(x.shape, "", dtype="<U9"))
    centre = np.full(x.shape, x[base].mean())
    reach = LIMIT * _spread(x[base])
    return Chart(centre, centre - reach, centre + reach, _signals(x, centre, centre - reach, centre + reach))


def _signals(x: Array, centre: Array, low: Array, high: Array) -> NDArray[np.str_]:
    side = np.sign(np.nan_to_num(x - centre))
    run = np.zeros(x.size, dtype=np.int64)
    for i in range(x.size):  # a few dozen weeks
        run[i] = 0 if side[i] == 0 else 1 + (run[i - 1] if i and side[i - 1] == side[i] else 0)
    found = np.full(x.shape, "", dtype="<U9")
    found[(run >= IN_A_ROW) & (side > 0)] = "run_above"
    found[(run >= IN_A_ROW) & (side < 0)] = "run_below"
    with np.errstate(invalid="ignore"):
        found[x > high] = "above"
        found[x < low] = "below"
    return found
