"""What-if arithmetic: the queue at an inspection desk, draws of assumed behaviour, and which policies no other beats."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def inspected_on(received: ArrayLike, capacity: ArrayLike) -> NDArray[np.int64]:
    """Give the day each unit is inspected, first come first served: `received` days in order, `capacity` units by day; past its end the last day's goes on.

    A unit is inspected on the first day from its receipt on that has room left.

    >>> inspected_on([0, 0, 0, 1], [2, 1]).tolist()
    [0, 0, 1, 2]
    """
    days = np.asarray(received, dtype=np.int64)
    room = np.asarray(capacity, float)
    if len(days) == 0:
        return days
    tail = max(float(np.mean(room[-28:])), 1.0)
    found = np.zeros(len(days), dtype=np.int64)
    today, left = 0, room[0] if len(room) else tail
    for i, day in enumerate(days):
        if day > today:
            today, left = int(day), float(room[day]) if day < len(room) else tail
        while left < 1:
            today += 1
            left += float(room[today]) if today < len(room) else tail
        found[i] = today
        left -= 1
    return found


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
