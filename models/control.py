"""Control charts: tell a week that stands out from weeks that only vary.

Limits come from a baseline of earlier weeks, from how much one week differs from the next, so that neither a drift nor
the signal itself widens them. Shares vary more than their counts alone would (design of weeks, carriers' days), so the
p'-chart of D. B. Laney (Quality Engineering 14, 2002, doi 10.1081/QEN-120006708) widens the binomial limits by what the
weeks show; other numbers get the individuals chart of W. A. Shewhart. Weeks that follow each other are alike (a
backlog, a season), so steps say too little of how far they scatter, and runs come by themselves: both are widened by
the autocorrelation of the baseline (as in C. W. Lu and M. R. Reynolds, Journal of Quality Technology 31, 1999).

Signals: a week beyond the limits, or eight in a row on one side of the centre (L. S. Nelson, Journal of Quality
Technology 16, 1984, doi 10.1080/00224065.1984.11978921, tests 1 and 2; eight instead of nine as in the Western Electric
handbook of 1956), more of them where weeks are alike.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

LIMIT = 3.0  # standard deviations
IN_A_ROW = 8  # independent weeks on one side
_FEWEST, _MOST = 12, 0.9  # weeks that tell an autocorrelation, and its bound
_MEDIAN_RANGE = 0.9539  # median of the range of two standard normal values; the median bears a few odd weeks


class Chart(NamedTuple):
    """One chart, an entry a week.

    The centre, the limits, and the signal ("", "above", "below", "run_above" or "run_below").
    """

    centre: Array
    low: Array
    high: Array
    signal: NDArray[np.str_]


def autocorrelation(value: ArrayLike) -> float:
    """Estimate how alike a week is to the next, 0 to _MOST; for the mean's own doubt (M. H. Quenouille, 1949).

    >>> autocorrelation([1.0, -1.0] * 10), round(autocorrelation(np.repeat([0.0, 4.0, 1.0, 5.0, 2.0], 8)), 1)
    (0.0, 0.9)
    """
    x = np.asarray(value, dtype=np.float64)
    away = x - x.mean()
    whole = float(away @ away)
    if x.size < _FEWEST or whole <= 0:
        return 0.0
    seen = float(away[1:] @ away[:-1]) / whole
    return float(np.clip(seen + (1 + 4 * seen) / x.size, 0.0, _MOST)) if seen > 0 else 0.0


def in_a_row(alike: float) -> int:
    """Give the weeks on one side that are as rare as IN_A_ROW independent ones, for an autocorrelation.

    The chance to stay on a side is 1/2 + arcsin(r) / pi (W. F. Sheppard, 1899).

    >>> in_a_row(0.0), in_a_row(0.5)
    (8, 13)
    """
    stays = 0.5 + np.arcsin(alike) / np.pi
    return 1 + int(np.ceil((IN_A_ROW - 1) * np.log(0.5) / np.log(stays) - 1e-9))


def _spread(z: Array, alike: float) -> float:
    """Estimate the standard deviation of values in order, from their steps and how alike they are."""
    steps = np.abs(np.diff(z))
    return float(np.median(steps) / _MEDIAN_RANGE / np.sqrt(1 - alike)) if steps.size else np.nan


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
    z = ((share - p) / sd)[base]
    alike = autocorrelation(z)
    wider = max(_spread(z, alike), 1.0)
    reach = LIMIT * np.where(n > 0, sd, np.nan) * wider
    centre = np.full(k.shape, p)
    return Chart(
        centre,
        np.maximum(p - reach, 0),
        np.minimum(p + reach, 1),
        _signals(share, centre, p - reach, p + reach, in_a_row(alike)),
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
    alike = autocorrelation(x[base])
    reach = LIMIT * _spread(x[base], alike)
    signal = _signals(x, centre, centre - reach, centre + reach, in_a_row(alike))
    return Chart(centre, centre - reach, centre + reach, signal)


def _signals(x: Array, centre: Array, low: Array, high: Array, row: int) -> NDArray[np.str_]:
    side = np.sign(np.nan_to_num(x - centre))
    run = np.zeros(x.size, dtype=np.int64)
    for i in range(x.size):  # a few dozen weeks
        run[i] = 0 if side[i] == 0 else 1 + (run[i - 1] if i and side[i - 1] == side[i] else 0)
    found = np.full(x.shape, "", dtype="<U9")
    found[(run >= row) & (side > 0)] = "run_above"
    found[(run >= row) & (side < 0)] = "run_below"
    with np.errstate(invalid="ignore"):
        found[x > high] = "above"
        found[x < low] = "below"
    return found
