"""How unevenly something is spread over a crowd, and how unevenly chance alone would spread it.

Here: Lorenz curves of counts, and what propensities that are given would make of the same trials. Not here: who is in
the crowd.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # loads its parts when they are first asked for
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Lorenz:
    """A curve of concentration: `people` and `amount` are cumulated shares from 0 to 1, those with most first."""

    people: Array
    amount: Array

    def at(self, shares: Sequence[float]) -> Array:
        """Give the share of the amount that the first `shares` of the people hold."""
        return np.interp(np.asarray(shares, dtype=np.float64), self.people, self.amount)


def lorenz(amount: ArrayLike, people: ArrayLike) -> Lorenz:
    """Cumulate amounts over people, largest amounts first; one entry a group of people who hold the same amount each.

    M. O. Lorenz, Publications of the American Statistical Association 9 (1905). Nothing held at all: NaN.

    >>> curve = lorenz([0, 1, 3], [2, 1, 1])
    >>> curve.at([0.25, 0.5, 1.0]).tolist()
    [0.75, 1.0, 1.0]
    """
    each, count = np.asarray(amount, dtype=np.float64), np.asarray(people, dtype=np.float64)
    order = np.argsort(-each, kind="stable")
    held = np.append(0.0, np.cumsum(each[order] * count[order]))
    crowd = np.append(0.0, np.cumsum(count[order]))
    with np.errstate(invalid="ignore", divide="ignore"):
        x, y = crowd / crowd[-1], held / held[-1]
    return Lorenz(x, y)


def by_chance(trials: ArrayLike, people: ArrayLike, rate: ArrayLike) -> Array:
    """Expect how many people hold 0, 1, 2 ... when each of their trials succeeds with probability `rate`.

    One entry a group of people with as many trials and the same rate; the answer has an entry for every count up to the
    most trials.

    >>> by_chance([2], [100], 0.5).round(9).tolist()
    [25.0, 50.0, 25.0]
    >>> by_chance([1, 1], [10, 10], [0.0, 1.0]).tolist()
    [10.0, 10.0]
    """
    n, count = np.asarray(trials, dtype=np.int64), np.asarray(people, dtype=np.float64)
    p = np.broadcast_to(np.asarray(rate, dtype=np.float64), n.shape)
    pairs, which = np.unique(np.column_stack([n, p]), axis=0, return_inverse=True)
    expected = np.zeros(int(n.max(initial=0)) + 1)
    for (most, chance), mine in zip(pairs, np.bincount(which.ravel(), count), strict=True):
        reach = 10 * np.sqrt(most * chance * (1 - chance)) + 10  # further out nobody is expected
        first, last = max(int(most * chance - reach), 0), min(int(most * chance + reach), int(most))
        expected[first : last + 1] += mine * scipy.stats.binom.pmf(np.arange(first, last + 1), most, chance)
    return expected


def tail_by_chance(trials: ArrayLike, share: float, rate: ArrayLike) -> Array:
    """Give the probability that at least `share` of somebody's trials succeed.

    Each with probability `rate`, one entry a group.

    >>> tail_by_chance([2, 5], 0.8, 0.5).round(9).tolist()
    [0.25, 0.1875]
    """
    n = np.asarray(trials, dtype=np.float64)
    tail: Array = scipy.stats.binom.sf(np.ceil(share * n - 1e-9) - 1, n, rate)
    return tail
