"""Controls for products that were treated: who their equals are, and how they compare.

Here: rates to match on, the trigger of an action, nearest neighbours, and what came against what was expected. Not
here: errors and the verdict (models/effect.py). Counts are one row a product.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

Array = NDArray[np.float64]
Index = NDArray[np.int64]

LATE = 4  # last weeks before an action, whose contrast with the others is what calls for an action: the trigger
CONTROLS = 10  # controls of each treated product


class Counts(NamedTuple):
    """Every product's returned and exposed units after, and what it promised.

    `base` is its rate had it been left alone, up to what its category does, `open` the relative variance of that by the
    units before, `rate` the one that chance is measured at.
    """

    r1: Array
    n1: Array
    base: Array
    open: Array
    rate: Array


class Compared(NamedTuple):
    """Products against their controls: what came, what was expected, the binomial variance of the difference.

    That variance is expected^2 x `odds` ((1 - rate) / rate) x (`before` + `after`), what units before and after bring
    to it: more weeks lower the second only. `units` are the product's own after.
    """

    came: Array
    expected: Array
    variance: Array
    units: Array
    odds: Array
    before: Array
    after: Array

    @staticmethod
    def joined(parts: "Sequence[Compared]") -> "Compared":
        """Lay several under each other."""
        return Compared(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def shrunk_rates(returned: ArrayLike, exposure: ArrayLike, category: ArrayLike) -> Array:
    """Pull products' rates towards their category's, one entry a product; categories are whole numbers from 0.

    How much rates differ within a category is told by moments (Williams, Applied Statistics 31, 1982): good enough to
    match on, and quick enough to do for every week something was done in.

    >>> shrunk_rates([30, 30, 30, 0], [100, 100, 100, 0], [0, 0, 0, 0]).round(2).tolist()
    [0.3, 0.3, 0.3, 0.3]
    """
    r, which = np.asarray(returned, float), np.asarray(category, dtype=np.int64)
    n = np.maximum(np.asarray(exposure, float), r)
    mean = ((np.bincount(which, r) + 0.5) / (np.bincount(which, n) + 1))[which]
    chance = mean * (1 - mean)
    excess = np.bincount(which, (r - n * mean) ** 2 - n * chance)
    pairs = np.bincount(which, n * np.maximum(n - 1, 0) * chance)
    alike = np.clip(excess / np.maximum(pairs, 1e-9), 0.002, 0.2)  # correlation of two units of one product
    kappa = (1 / alike - 1)[which]
    return np.asarray((r + kappa * mean) / (n + kappa), dtype=np.float64)


def trigger(returned: ArrayLike, exposure: ArrayLike, rate: ArrayLike) -> Array:
    """Contrast the LATE weeks before an action with the ones before them, in standard errors; 0 where nothing was sold.

    `returned` and `exposure` have one row a product and BEFORE columns. The error is that of two binomial rates and of
    a drift of 10% a product, so that triggers of large and small products compare.

    >>> weeks = np.full((1, 12), 10.0)
    >>> trigger(np.hstack([np.full((1, 8), 3.0), np.full((1, 4), 6.0)]), weeks, [0.4]).round(1).tolist()
    [2.9]
    """
    r, n, p = np.asarray(returned, float), np.asarray(exposure, float), np.asarray(rate, float)
    late, early = n[:, -LATE:].sum(1), n[:, :-LATE].sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        gap = r[:, -LATE:].sum(1) / late - r[:, :-LATE].sum(1) / early
        error = np.sqrt(p * (1 - p) * (1 / late + 1 / early) + (0.1 * p) ** 2)
        return np.where((late > 0) & (early > 0), gap / error, 0.0)


def nearest(
    features: ArrayLike, category: ArrayLike, pool: ArrayLike, wanted: ArrayLike, count: int = CONTROLS
) -> Index:
    """Find each wanted product's nearest in the pool, of its own category.

    One row a wanted product, -1 where there is none. `features` has one row a product, in units that make distances
    comparable; a product is not its own neighbour.

    >>> nearest([[0.0], [1.0], [3.0], [9.0]], [0, 0, 0, 1], [True] * 4, [0, 3], count=2).tolist()
    [[1, 2], [-1, -1]]
    """
    x, which = np.asarray(features, float), np.asarray(category)
    asked, is_pool = np.asarray(wanted, dtype=np.int64), np.asarray(pool, dtype=np.bool_)
    found = np.full((asked.size, count), -1, dtype=np.int64)
    for c in np.unique(which[asked]):
        members, rows = np.flatnonzero(is_pool & (which == c)), np.flatnonzero(which[asked] == c)
        if not members.size:
            continue
        _, near = cKDTree(x[members]).query(x[asked[rows]], k=np.arange(1, min(count + 1, members.size) + 1))
        near = members[near]
        near[near == asked[rows, None]] = -1
        near = np.take_along_axis(near, np.argsort(near < 0, axis=1, kind="stable"), 1)[:, :count]
        found[rows[:, None], np.arange(near.shape[1])] = near
    return found


def compare(counts: Counts, wanted: Index, controls: Index) -> Compared:
    """Set products against their controls (a row each, -1 for none): what came after, and what would have come.

    Expected is the product's own rate (`base`), on the units sold after, times how its controls' rate moved.
    """
    has, j = controls >= 0, np.maximum(controls, 0)

    def of_controls(values: Array) -> Array:
        return np.asarray((values[j] * has).sum(1), dtype=np.float64)

    r1, n1, base, left, p = counts
    with np.errstate(invalid="ignore", divide="ignore"):
        own = np.where(np.isfinite(base), n1 * base, 0.0)
        moved = (of_controls(r1) + 0.5) / (of_controls(own) + 0.5)
        spread = of_controls(np.where(np.isfinite(left), own**2 * left, 0.0)) / of_controls(own) ** 2
        odds = (1 - p[wanted]) / p[wanted]
        before, after = (left[wanted] + spread) / odds, 1 / n1[wanted] + 1 / of_controls(n1)
        variance = np.nan_to_num(odds * (before + after) * (n1[wanted] * p[wanted] * moved) ** 2, posinf=0.0)
    return Compared(r1[wanted], own[wanted] * moved, variance, n1[wanted], odds, before, after)
