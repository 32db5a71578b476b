"""How sure a total of emissions is: shared errors of factors and inputs, propagated by Monte Carlo.

A total is made of cells. A cell's legs share the sources that they rest on (a factor, the usual trip distance, the
circuity of lanes), and with each of them its error: errors that many legs share do not average out, those of single
legs do. An error multiplies; 1 is what was stated. A source with stated bounds is drawn evenly within them, the mean of
a sample is normal, any other is lognormal. A cell may rest on a source in part only: a site's electricity is a part of
its figure. The draws of a source are the same in every question, so totals of parts and wholes agree.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy  # loads its parts when they are first asked for
from numpy.typing import ArrayLike, NDArray

DRAWS, FEWEST = 2000, 500
TOTAL, AT_ONCE = 4_000_000, 500_000
"""Draws over all groups, and those held at a time: many groups are answered with fewer each, never below `FEWEST`."""
SEED = 20_240_501

Floats = NDArray[np.float64]
Cell = Mapping[str, float]
"""Sources of a cell, each with the part of the cell's emissions that is proportional to it (0-1)."""


class Lognormal(NamedTuple):
    """An error of mean 1 without bounds, by the sd of its logarithm."""

    sd: float

    def errors(self, uniform: Floats) -> Floats:
        """Turn numbers between 0 and 1 into errors."""
        return np.asarray(np.exp(self.sd * scipy.special.ndtri(uniform) - self.sd**2 / 2))


class Bounded(NamedTuple):
    """A quantity that was stated as a value between two bounds: any value between them is as likely as another.

    Bounds tell no more: what has known limits only is rectangular (shapes of the GUM: hn-metrology.com/distrib.htm).
    Truths that gather somewhere between them are held as often, or more.
    `divides` is of one that emissions are inversely proportional to.

    >>> trip = Bounded(2.0, 7.0, 30.0)
    >>> [round(float(7 * e), 1) for e in trip.errors(np.array([0.0, 0.05, 0.95, 1.0]))]
    [2.0, 3.4, 28.6, 30.0]
    """

    low: float
    value: float
    high: float
    divides: bool = False

    def drawn(self, uniform: Floats) -> Floats:
        """Turn numbers between 0 and 1 into values between the bounds."""
        low, high = min(self.low, self.value), max(self.high, self.value)
        return np.asarray(low + uniform * (high - low))

    def errors(self, uniform: Floats) -> Floats:
        """Turn numbers between 0 and 1 into errors; a value of 0 is certain."""
        if self.value == 0:
            return np.ones(np.shape(uniform))
        return self.value / self.drawn(uniform) if self.divides else self.drawn(uniform) / self.value


class Sampled(NamedTuple):
    """A mean that a sample told, with the interval that it covers as often as `level` says: normal on either side.

    >>> share = Sampled(0.3, 0.4, 0.5)
    >>> [round(float(0.4 * e), 2) for e in share.errors(np.array([0.05, 0.5, 0.95]))]
    [0.3, 0.4, 0.5]
    """

    low: float
    value: float
    high: float
    divides: bool = False
    level: float = 0.9

    def drawn(self, uniform: Floats) -> Floats:
        """Turn numbers between 0 and 1 into values, on each side as wide as the interval; never below 0."""
        z = scipy.special.ndtri(uniform) / scipy.special.ndtri((1 + self.level) / 2)
        side = np.where(z < 0, self.value - self.low, self.high - self.value)
        return np.asarray(np.maximum(self.value + z * side, 0.0))

    def errors(self, uniform: Floats) -> Floats:
        """Turn numbers between 0 and 1 into errors; a value of 0 is certain."""
        if self.value == 0:
            return np.ones(np.shape(uniform))
        return self.value / self.drawn(uniform) if self.divides else self.drawn(uniform) / self.value


class Shares(NamedTuple):
    """Shares of a whole, each stated between bounds, with the kg CO2e of a unit of each.

    The first share is what the others leave; where that lies outside its bounds, it and they are drawn again.
    """

    stated: tuple[Bounded | Sampled, ...]
    kg_co2e: tuple[float, ...]

    def errors(self, uniform: Floats) -> Floats:
        """Turn numbers between 0 and 1, one row a draw and column a share but the first, into errors."""
        others = np.stack([s.drawn(u) for s, u in zip(self.stated[1:], uniform.T, strict=True)], axis=1)
        first = 1 - others.sum(axis=1)
        holds = (first >= self.stated[0].low) & (first <= self.stated[0].high)
        if holds.any():
            drawn = np.flatnonzero(holds)[np.arange(len(first)) % int(holds.sum())]
            first, others = first[drawn], others[drawn]
        rates = np.array(self.kg_co2e)
        stated = float(sum(s.value * rate for s, rate in zip(self.stated, rates, strict=True)))
        return np.asarray((first * rates[0] + others @ rates[1:]) / stated)


Doubt = Lognormal | Bounded | Sampled | Shares


def _spread(rng: np.random.Generator, draws: int) -> Floats:
    """Draw numbers between 0 and 1, one in each of as many equal steps: few draws fill the tails evenly."""
    return (rng.permutation(draws) + rng.random(draws)) / draws


def drawn_error(name: str, doubt: Doubt, draws: int = DRAWS, seed: int = SEED) -> Floats:
    """Draw the error of one source; the same in every question of as many draws."""
    rng = np.random.default_rng([seed, int.from_bytes(name.encode())])
    if isinstance(doubt, Shares):
        return doubt.errors(np.stack([_spread(rng, draws) for _ in doubt.stated[1:]], axis=1))
    return doubt.errors(_spread(rng, draws))


def draws_for(groups: int) -> int:
    """Give how many draws as many groups are answered with."""
    return int(np.clip(TOTAL // max(groups, 1), FEWEST, DRAWS))


def errors(cells: Sequence[Cell], doubts: Mapping[str, Doubt], draws: int = DRAWS, seed: int = SEED) -> Floats:
    """Draw the error of each cell: (cells, draws). A source that `doubts` does not name is certain."""
    found = np.ones((len(cells), draws))
    for name in sorted({name for cell in cells for name in cell} & doubts.keys()):
        off = drawn_error(name, doubts[name], draws, seed) - 1
        for row, cell in enumerate(cells):
            if name in cell:
                found[row] *= 1 + cell[name] * off
    return found


def intervals(kg: ArrayLike, drawn: Floats, level: float, of: ArrayLike | None = None) -> tuple[Floats, Floats]:
    """Interval of totals, or of their shares of other totals.

    `kg` and `of` are (groups, cells) in kg CO2e, `drawn` (cells, draws); gives low and high per group.

    >>> low, high = intervals([[1.0, 1.0]], errors([{"a": 1.0}, {"a": 1.0}], {"a": Lognormal(0.1)}), 0.9)
    >>> bool(1.6 < low[0] < 2 < high[0] < 2.5)
    True
    """
    top = np.asarray(kg, float)
    bottom = None if of is None else np.asarray(of, float)
    ends = np.empty((2, len(top)))
    step = max(1, AT_ONCE // drawn.shape[1])
    for start in range(0, len(top), step):
        part = slice(start, start + step)
        totals = top[part] @ drawn
        if bottom is not None:
            with np.errstate(invalid="ignore", divide="ignore"):
                totals = totals / (bottom[part] @ drawn)
        ends[:, part] = np.quantile(totals, [(1 - level) / 2, (1 + level) / 2], axis=1)
    return ends[0], ends[1]


class Swing(NamedTuple):
    """What one source alone does to a total: its low and high, in kg CO2e, and its share of the variance (0-1)."""

    source: str
    low: float
    high: float
    share: float


def tornado(kg: ArrayLike, cells: Sequence[Cell], doubts: Mapping[str, Doubt], level: float = 0.9) -> list[Swing]:
    """Say what makes a total's interval wide.

    One row a source, the widest first; `kg` is one number a cell, in kg CO2e. A source's swing is the total's interval
    if all others were as stated.

    >>> doubts = {"a": Lognormal(0.5), "b": Lognormal(0.2)}
    >>> [s.source for s in tornado([1.0, 5.0], [{"a": 1.0}, {"b": 1.0}], doubts)]
    ['b', 'a']
    """
    amounts = np.asarray(kg, float)
    total = float(amounts.sum())
    found = []
    for name in sorted({name for cell in cells for name in cell} & doubts.keys()):
        moved = float(sum(a * cell.get(name, 0.0) for a, cell in zip(amounts, cells, strict=True)))
        off = moved * (drawn_error(name, doubts[name]) - 1)
        if np.ptp(off) > 0:
            low, high = np.quantile(off, [(1 - level) / 2, (1 + level) / 2])
            found.append((name, total + float(low), total + float(high), float(np.var(off))))
    variance = sum(f[3] for f in found) or 1.0
    swings: list[Any] = [Swing(n, low, high, v / variance) for n, low, high, v in found]
    return sorted(swings, key=lambda s: (-(s.high - s.low), s.source))


def narrowed(
    kg: ArrayLike, cells: Sequence[Cell], doubts: Mapping[str, Doubt], measured: Mapping[str, Doubt], level: float = 0.9
) -> float:
    """Give what measuring some sources takes off the width of a total's interval, in kg CO2e; never less than 0.

    `measured` is what is left of the doubt about each source that is measured.

    >>> cells, doubts = [{"a": 1.0}, {"b": 1.0}], {"a": Lognormal(0.5), "b": Lognormal(0.2)}
    >>> narrowed([1.0, 0.0], cells, doubts, {"b": Lognormal(0.0)})
    0.0
    """

    def width(of: Mapping[str, Doubt]) -> float:
        low, high = intervals(np.atleast_2d(np.asarray(kg, float)), errors(cells, of), level)
        return float(high[0] - low[0])

    return max(0.0, width(doubts) - width({**doubts, **measured}))
