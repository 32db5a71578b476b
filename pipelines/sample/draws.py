"""Random draws on whole columns: lognormal delays, weighted picks, and the parameters they read.

No shop lives here. The one idea: every draw takes a generator and arrays, so that a million lines cost a few calls.
"""

import datetime as dt
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from pipelines.settings import data_path

Array = npt.NDArray[Any]
Columns = dict[str, Array]
Rng = np.random.Generator

DAY = 86_400.0
NEVER = np.inf
P90 = 1.2815515594457
"""Standard normal quantile of .9: turns a median and a 90% point into a lognormal."""


def parameters() -> dict[str, Any]:
    """Read `data/sample/parameters.yaml`: name to value, sources left aside.

    >>> parameters()["window_days"]
    30
    """
    text = data_path("sample/parameters.yaml").read_text(encoding="utf-8")
    return {name: entry["value"] for name, entry in yaml.safe_load(text).items()}


def stories() -> dict[str, dict[str, Any]]:
    """Read `data/sample/stories.yaml`: what the demonstration shop hides."""
    text = data_path("sample/stories.yaml").read_text(encoding="utf-8")
    told: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return told


def with_whole(columns: Columns, kind: type[np.int32] | type[np.int64]) -> Columns:
    """Give columns with their whole numbers, places and codes, of one type: four bytes are enough to hold them.

    >>> [str(v.dtype) for v in with_whole({"a": np.array([1]), "b": np.array([0.5])}, np.int32).values()]
    ['int32', 'float64']
    """
    whole = (np.dtype(np.int32), np.dtype(np.int64))
    return {name: values.astype(kind) if values.dtype in whole else values for name, values in columns.items()}


def seconds(day: dt.date) -> float:
    """Seconds from 1970 to the start of a day, UTC.

    >>> seconds(dt.date(1970, 1, 2))
    86400.0
    """
    return float((day - dt.date(1970, 1, 1)).days) * DAY


def delay(rng: Rng, count: int, median: float, p90: float) -> Array:
    """Draw `count` lognormal delays in seconds from their median and 90% point in days."""
    drawn: Array = np.exp(rng.standard_normal(count) * (np.log(p90 / median) / P90)) * (median * DAY)
    return drawn


def pick(rng: Rng, count: int, shares: list[float] | Array) -> Array:
    """Draw `count` positions with the given shares (they need not sum to 1)."""
    upto = np.cumsum(np.asarray(shares, dtype=float))
    drawn: Array = np.minimum(np.searchsorted(upto, rng.random(count) * upto[-1], side="right"), len(upto) - 1)
    return drawn


def pick_by(rng: Rng, group: Array, shares: list[list[float]] | Array) -> Array:
    """Draw one position a row, with the shares of the row's group.

    >>> pick_by(np.random.default_rng(1), np.array([0, 1]), [[1, 0], [0, 1]]).tolist()
    [0, 1]
    """
    upto = np.cumsum(np.asarray(shares, dtype=float), axis=1)
    draw = rng.random(len(group)) * upto[group, -1]
    drawn: Array = np.minimum((draw[:, None] >= upto[group]).sum(axis=1), upto.shape[1] - 1)
    return drawn


def rank_within(group: Array, order_by: Array) -> Array:
    """Rank the rows of each group from 1, smallest `order_by` first.

    >>> rank_within(np.array([7, 7, 8]), np.array([2.0, 1.0, 5.0])).tolist()
    [2, 1, 1]
    """
    order = np.lexsort((order_by, group))
    ordered = group[order]
    is_first = np.r_[True, ordered[1:] != ordered[:-1]]
    start = np.maximum.accumulate(np.where(is_first, np.arange(len(order)), 0))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order)) - start + 1
    return rank


def working(when: Array) -> Array:
    """Move times to when sites work: 6 to 18 h UTC, each day squeezed, and Monday instead of Sunday. Infinity stays."""
    with np.errstate(invalid="ignore"):
        weekday = np.floor_divide(when, DAY) % 7  # 1970-01-01 was a Thursday: Sunday is 3
        hour = when - np.floor_divide(when, DAY) * DAY
        moved = when - hour + 6 * 3600 + np.floor(hour / 2) + np.where(weekday == 3, DAY, 0)
    return np.where(np.isfinite(when), moved, when)


def intercepts(offset: Array, weight: Array, cell: Array, target: Array) -> Array:
    """Solve, per cell, the intercept that makes the weighted mean of sigmoid(intercept + offset) the target.

    Newton's method on all cells at once; a cell without rows keeps the target's own log odds.
    """
    solved: Array = np.log(target / (1 - target))
    total = np.maximum(np.bincount(cell, weight, len(target)), 1e-9)
    for _ in range(12):
        share = 1 / (1 + np.exp(-(solved[cell] + offset)))
        mean = np.bincount(cell, weight * share, len(target)) / total
        slope = np.bincount(cell, weight * share * (1 - share), len(target)) / total
        solved += np.where(slope > 1e-9, np.clip((target - mean) / np.maximum(slope, 1e-9), -1, 1), 0)
    return solved
