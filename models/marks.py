"""Marks that say "beyond noise": how many of them may be false where many numbers are compared at once.

Here: from differences with their intervals to the ones that are marked. Not here: the differences (models/rates.py). At
90% one number in ten is marked where nothing moved, so a list of fifty has five false marks at each look. All that is
compared on one page is therefore held together: the longest list whose share of false marks is expected to stay under
one in ten (Y. Benjamini and Y. Hochberg, JRSS B 57, 1995). Where nothing moved at all, nine looks in ten mark nothing.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from models.rates import two_sided_z

ON_A_PAGE = 10  # single numbers that a page compares, beside its lists


def surprise(difference: ArrayLike, low: ArrayLike, high: ArrayLike, level: float = 0.9) -> NDArray[np.float64]:
    """Give the two-sided p-value of differences from their intervals of a level; NaN without an interval.

    The bound on the side of none decides: it is two_sided_z(level) standard errors away.

    >>> surprise([0.1, 0.0, 0.2], [0.0, -0.1, 0.1], [0.2, 0.1, 0.3]).round(3).tolist()
    [0.1, 1.0, 0.001]
    """
    gap, below, above = (np.asarray(x, dtype=np.float64) for x in (difference, low, high))
    with np.errstate(invalid="ignore", divide="ignore"):
        away = np.abs(gap) / np.where(gap > 0, gap - below, above - gap)
    away = np.where((gap == 0) & np.isfinite(below) & np.isfinite(above), 0.0, away)
    return np.asarray(2 * ndtr(-two_sided_z(level) * away), dtype=np.float64)


def beyond_noise(
    difference: ArrayLike, low: ArrayLike, high: ArrayLike, level: float = 0.9, among: int = 1
) -> NDArray[np.bool_]:
    """Mark the differences that stand out, held together: at most 1 - level of the marks are false, on average.

    `among`: how many such lists stand on one page; each has its part of what may be false. One difference alone is
    marked when its interval excludes none. A missing bound is never marked.

    >>> beyond_noise([0.12] * 3 + [0.3], [0.01] * 3 + [0.2], [0.23] * 3 + [0.4]).tolist()
    [True, True, True, True]
    >>> beyond_noise([0.12] + [0.01] * 9, [0.01] + [-0.1] * 9, [0.23] + [0.12] * 9).tolist()[:2]
    [False, False]
    """
    p = surprise(difference, low, high, level)
    flat = np.where(np.isfinite(p), p, np.inf).ravel()
    order = np.argsort(flat, kind="stable")
    bar = (1 - level) / among * np.arange(1, flat.size + 1) / max(int(np.isfinite(flat).sum()), 1)
    count = int(np.flatnonzero(flat[order] <= bar * (1 + 1e-9)).max(initial=-1)) + 1
    mask = np.zeros(flat.size, dtype=np.bool_)
    mask[order[:count]] = True
    return mask.reshape(p.shape)
