"""Shapes that worlds are drawn from: days of orders, baskets, waits, queues, people and goods."""

from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]
Ints = np.ndarray[Any, np.dtype[np.integer[Any]]]


def week_profile(rng: np.random.Generator) -> Floats:
    """Draw how a week's orders fall on its days, Monday first; mean 1."""
    usual = np.array([1.1, 1.0, 0.95, 0.95, 0.9, 0.95, 1.15])
    drawn = usual * rng.gamma(60, 1 / 60, 7)
    return drawn / drawn.mean()


def excited(
    rng: np.random.Generator, days: int, *, jumps: float = 0.03, size: float = 0.5, decay: float = 0.5
) -> Floats:
    """Draw days that excite each other: rare jumps whose echo fades day by day, as a self-exciting process has them."""
    jump = (rng.random(days) < jumps) * rng.gamma(2, size / 2, days)
    level = np.empty(days)
    echo = 0.0
    for i in range(days):
        echo = echo * decay + jump[i]
        level[i] = 1 + echo
    return level / level.mean()


def orders_of(rng: np.random.Generator, rate: Floats) -> Ints:
    """Draw the day of each order, given each day's expected count; days differ more than Poisson's would."""
    counts = rng.poisson(rate * rng.gamma(25, 1 / 25, len(rate)))
    return np.repeat(np.arange(len(rate)), counts)


def baskets(rng: np.random.Generator, orders: int) -> Ints:
    """Draw the number of lines of each order: mostly one or two, seldom many."""
    return np.minimum(rng.geometric(0.6, orders), 6)


def together(rng: np.random.Generator, order: Ints, share: float = 0.35) -> Floats:
    """Draw a uniform number a line, where lines of an order share theirs with a probability.

    Each line's own number is uniform, so that it comes back with its own probability; two of an order come back
    together more often than two strangers.
    """
    of_order = rng.random(int(order.max()) + 1)[order] if len(order) else np.empty(0)
    return np.where(rng.random(len(order)) < share, of_order, rng.random(len(order)))


def waits(rng: np.random.Generator, n: int, mean: Any, *, window: Any = 30.0, late: float = 0.12) -> Floats:
    """Draw days until a customer asks: mostly Weibull about a mean, a part that waits for the window's end."""
    early = np.asarray(mean) * rng.weibull(1.3, n) / 0.9236
    at_end = np.asarray(window) * rng.beta(9, 1.3, n)
    return np.minimum(np.where(rng.random(n) < late, at_end, early), np.asarray(window) * (1 + 0.02 * rng.random(n)))


def travelled(rng: np.random.Generator, n: int, mean: Any) -> Floats:
    """Draw days on the road: gamma about a mean, one parcel in 25 thrice as long."""
    slow = np.where(rng.random(n) < 0.04, 3.0, 1.0)
    return np.asarray(mean) * slow * rng.gamma(4, 0.25, n)


def queued(arrival: Floats, capacity: Floats, rng: np.random.Generator) -> Floats:
    """Work a queue off in the order of arrival, so many a day; give when each was done, in days like its arrival.

    capacity: what each day can do, day 0 first; none on days when nobody works. What arrives on a day can be done on
    the same day, later than it arrived.
    """
    order = np.argsort(arrival, kind="stable")
    counts = np.bincount(np.clip(arrival.astype(int), 0, len(capacity) - 1), minlength=len(capacity))
    arrived, done, total = np.cumsum(counts), np.empty(len(capacity)), 0.0
    for day, (most, there) in enumerate(zip(capacity, arrived, strict=True)):
        total = min(float(there), total + most)
        done[day] = total
    day = np.searchsorted(done, np.arange(1, len(arrival) + 1) - 1e-9)
    finished = np.empty(len(arrival))
    begun = np.maximum(arrival[order], day)
    finished[order] = begun + (day + 1 - begun) * rng.uniform(0.05, 0.95, len(arrival))
    return finished


def working(days: int, first_weekday: int, rate: float, weekdays: tuple[int, ...] = (0, 1, 2, 3, 4, 5)) -> Floats:
    """Give a capacity a day: a rate on the weekdays that somebody works, else none."""
    weekday = (np.arange(days) + first_weekday) % 7
    return np.where(np.isin(weekday, weekdays), rate, 0.0)


def spread(rng: np.random.Generator, n: int, shape: float) -> Floats:
    """Draw factors about 1 by a gamma of a shape: the smaller it is, the wider they spread."""
    return rng.gamma(shape, 1 / shape, n)


def popular(rng: np.random.Generator, n: int) -> Floats:
    """Draw how much of the sales each product makes: a long tail; sums to 1."""
    drawn = rng.pareto(2.2, n) + 0.3
    return drawn / drawn.sum()
