"""What-if arithmetic.

The queue at an inspection desk, draws of assumed behaviour, and which policies no other beats.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def inspected_on(received: ArrayLike, capacity: ArrayLike) -> NDArray[np.int64]:
    """Give the day each unit is inspected, first come first served.

    `received` days in order, `capacity` units by day; past its end the mean of the last four weeks goes on. A unit is
    inspected on the first day from its receipt on that has room left. Room that nobody waits for is lost, and part of a
    unit is carried to the next day while somebody does.

    >>> inspected_on([0, 0, 0, 1], [2, 1]).tolist()
    [0, 0, 1, 2]
    """
    days = np.asarray(received, dtype=np.int64)
    room = np.asarray(capacity, float)
    if len(days) == 0:
        return days
    coming = np.bincount(days)
    tail = max(float(np.mean(room[-28:])), 1.0)
    served: list[int] = []
    waiting, left = 0, 0.0
    while len(served) < len(coming) or waiting:
        today = len(served)
        left = (left if waiting else 0.0) + (float(room[today]) if today < len(room) else tail)
        waiting += int(coming[today]) if today < len(coming) else 0
        done = min(waiting, int(left))
        waiting, left = waiting - done, left - done
        served.append(done)
    return np.repeat(np.arange(len(served)), served)


def draws(value: float, low: float, high: float, n: int, rng: Any) -> Floats:
    """Draw an assumed parameter: triangular between its bounds with its value as the mode; itself where they are equal.

    >>> draws(1.0, 1.0, 1.0, 3, np.random.default_rng(1)).tolist()
    [1.0, 1.0, 1.0]
    """
    if high <= low:
        return np.full(n, value)
    found: Floats = rng.triangular(low, min(max(value, low), high), high, n)
    return found


def front(costs: ArrayLike) -> NDArray[np.bool_]:
    """Say which rows no other row beats: (rows,) of `costs` (rows, aims), each the less the better.

    >>> front([[1, 2], [2, 1], [2, 2], [1, 2]]).tolist()
    [True, True, False, True]
    """
    x = np.asarray(costs, float)
    better = (x[:, None, :] <= x[None, :, :]).all(axis=2) & (x[:, None, :] < x[None, :, :]).any(axis=2)
    found: NDArray[np.bool_] = np.logical_not(better.any(axis=0))
    return found
