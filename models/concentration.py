"""How unevenly something is spread over a crowd, and how unevenly chance alone would spread it.

Here: Lorenz curves and Gini's index of counts, and what equal propensities would give. Not here: who is in the crowd.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Lorenz:
    """A curve of concentration: `people` and `amount` are cumulated shares from 0 to 1, those with most first; `gini` 0 is alike."""

    people: Array
    amount: Array
    gini: float

    def at(self, shares: Sequence[float]) -> Array:
        """Give the share of the amount that the first `shares` of the people hold."""
        return np.interp(np.asarray(shares, dtype=np.float64), self.people, self.amount)


def lorenz(amount: ArrayLike, people: ArrayLike) -> Lorenz:
    """Cumulate amounts over people, largest amounts first; one entry a group of people who hold the same amount each.

    M. O. Lorenz (1905); Gini's index is twice the area between the curve and equality. Nothing held at all: NaN.

    >>> curve = lorenz([0, 1, 3], [2, 1, 1])
    >>> curve.at([0.25, 0.5, 1.0]).tolist(), curve.gini
    ([0.75, 1.0, 1.0], 0.625)
    """
    each, count = np.asarray(amount, dtype=np.float64), np.asarray(people, dtype=np.float64)
    order = np.argsort(-each, kind="stable")
    held = np.append(0.0, np.cumsum(each[order] * count[order]))
    crowd = np.append(0.0, np.cumsum(count[order]))
    with np.errstate(invalid="ignore", divide="ignore"):
        x, y = crowd / crowd[-1], held / held[-1]
    return Lorenz(x, y, float(2 * np.trapezoid(y, x) - 1))


def by_chance(trials: ArrayLike, people: ArrayLike, rate: float) -> Array:
    """Expect how many people hold 0, 1, 2 ... when each of their trials succeeds with the same probability.

    One entry a group of people with as many trials each; the answer has an entry for every count up to the most trials.

    >>> by_chance([2], [100], 0.5).round(9).tolist()
    [25.0, 50.0, 25.0]
    """
    n, count = np.asarray(trials, dtype=np.int64), np.asarray(people, dtype=np.float64)
    sizes = np.bincount(n, count)
    held = np.arange(sizes.size)
    used = np.flatnonzero(sizes)
    expected: Array = sizes[used] @ binom.pmf(held[None, :], used[:, None], rate)
    return expected


def tail_by_chance(trials: ArrayLike, share: float, rate: float) -> Array:
    """Give the probability that at least `share` of somebody's trials succeed, each with probability `rate`.

    >>> tail_by_chance([2, 5], 0.8, 0.5).round(9).tolist()
    [0.25, 0.1875]
    """
    n = np.asarray(trials, dtype=np.float64)
    tail: Array = binom.sf(np.ceil(share * n - 1e-9) - 1, n, rate)
    return tail
