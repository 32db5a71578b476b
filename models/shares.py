"""Whole percentages of parts that add up to a hundred."""

from collections.abc import Sequence

import numpy as np


def whole_percents(parts: Sequence[float]) -> list[int | None]:
    """Round the shares of non-negative parts to whole percentages that add up to 100, by largest remainder.

    The percentages of nothing are not known: None for each.

    >>> whole_percents([1, 1, 1]), whole_percents([2.0, 0.0]), whole_percents([0, 0])
    ([34, 33, 33], [100, 0], [None, None])
    """
    total = float(np.sum(parts))
    if not total > 0:
        return [None] * len(parts)
    exact = 100 * np.asarray(parts, dtype=float) / total
    whole = np.floor(exact + 1e-9).astype(int)
    order = np.argsort(-(exact - whole), kind="stable")
    whole[order[: 100 - int(whole.sum())]] += 1
    return [int(p) for p in whole]
