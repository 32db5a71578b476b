"""Where each inspected item should go: the assignment of the highest value under the capacities of routes.

Every item takes one route it may take; a route with a capacity takes so many items at most. The matrix of such
constraints is totally unimodular, so the linear programme's vertices are whole assignments (Wolsey, Integer
Programming, 2nd ed., 2020, chapter 3) and HiGHS finds one. Only items that gain by a route of limited capacity over
their best free one compete for it.
"""

from typing import Any

import numpy as np
import scipy  # loads its parts when they are first asked for
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]


def assign(values: ArrayLike, capacity: ArrayLike) -> Whole:
    """Give the route of each item: (items,) column numbers.

    `values` is (items, routes) in money, -inf where an item may not take a route; `capacity` (routes,) items a route
    takes, inf when unlimited. Raises ValueError for an item that may take no route of unlimited capacity.

    >>> assign([[3.0, 1.0], [2.0, 1.5]], [1, np.inf]).tolist()
    [0, 1]
    """
    v, limits = np.asarray(values, float), np.asarray(capacity, float)
    is_free = np.isinf(limits)
    free = np.where(is_free[None, :], v, -np.inf)
    best = free.argmax(axis=1)
    fallback = free[np.arange(len(v)), best]
    if not np.isfinite(fallback).all():
        raise ValueError("every item needs a route of unlimited capacity that it may take")
    chosen: Whole = best.astype(np.int64)
    limited = np.flatnonzero(~is_free)
    gain = v[:, limited] - fallback[:, None]
    item, column = np.nonzero(gain > 1e-12)
    if len(item) == 0:
        return chosen
    gains = gain[item, column]
    at, place = np.unique(item, return_inverse=True)
    cell = np.arange(len(item))
    ones = np.ones(len(item))
    rows = scipy.sparse.coo_array(
        (np.concatenate([ones, ones]), (np.concatenate([place, len(at) + column]), np.concatenate([cell, cell])))
    )
    bounds = np.concatenate([np.ones(len(at)), limits[limited]])[: rows.shape[0]]
    solved = scipy.optimize.linprog(-gains, A_ub=rows.tocsr(), b_ub=bounds, bounds=(0, 1), method="highs-ds")
    if not solved.success:
        raise ValueError(f"the assignment was not solved: {solved.message}")
    taken = solved.x > 0.5
    chosen[item[taken]] = limited[column[taken]]
    return chosen


def greedy(values: ArrayLike, capacity: ArrayLike) -> Whole:
    """Give the route of each item when items are served in turn, each the best that is left.

    What people do without a plan.

    >>> greedy([[2.0, 1.5], [3.0, 1.0]], [1, np.inf]).tolist()
    [0, 1]
    """
    v, left = np.asarray(values, float), np.asarray(capacity, float).copy()
    order = np.argsort(-v, axis=1)
    chosen: Whole = np.zeros(len(v), dtype=np.int64)
    for i, routes in enumerate(order):
        route = next(r for r in routes if left[r] >= 1 and np.isfinite(v[i, r]))
        left[route] -= 1
        chosen[i] = route
    return chosen


def value(values: ArrayLike, routes: ArrayLike) -> float:
    """Add up what an assignment is worth.

    >>> value([[3.0, 1.0], [2.0, 1.5]], [0, 1])
    4.5
    """
    v: Any = np.asarray(values, float)
    return float(v[np.arange(len(v)), np.asarray(routes)].sum())
