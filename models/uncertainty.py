"""How sure a total of emissions is: shared errors of factors and inputs, propagated by Monte Carlo.

A total is made of cells. A cell's legs share their factor and the sources of their inputs (the usual trip distance, the
circuity of lanes), and with each of them its error: errors that many legs share do not average out, those of single
legs do. Every source has one lognormal error of mean 1; a cell's error is the product of its sources'. The same draws
serve every group, so totals of parts and wholes agree.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.rates import two_sided_z

DRAWS = 2000
SEED = 20_240_501

Floats = NDArray[np.float64]


def bounds_sd(low: float, high: float) -> float:
    """Sd of the logarithm of what lies between two stated bounds nine times in ten.

    >>> round(bounds_sd(1.0, 1.0), 3), round(bounds_sd(1.2, 1.4), 3)
    (0.0, 0.047)
    """
    return float(np.log(high / low) / (2 * two_sided_z(0.9)))


def errors(sources: Sequence[Sequence[str]], sd: dict[str, float], draws: int = DRAWS, seed: int = SEED) -> Floats:
    """Draw the error of each cell: (cells, draws), lognormal of mean 1.

    `sources` names the sources of each cell, `sd` their sd of the logarithm; a source without one is certain.
    """
    names = sorted({name for cell in sources for name in cell if sd.get(name, 0) > 0})
    place = {name: i for i, name in enumerate(names)}
    spread = np.array([sd[name] for name in names])
    z = np.random.default_rng(seed).standard_normal((len(names), draws))
    logs = spread[:, None] * z - spread[:, None] ** 2 / 2 if names else np.zeros((0, draws))
    found = np.zeros((len(sources), draws))
    for row, cell in enumerate(sources):
        for name in set(cell):
            if name in place:
                found[row] += logs[place[name]]
    return np.exp(found)


def intervals(kg: ArrayLike, drawn: Floats, level: float) -> tuple[Floats, Floats]:
    """Interval of totals.

    `kg` is (groups, cells) in kg CO2e, `drawn` (cells, draws); gives low and high per group, in kg.

    >>> low, high = intervals([[1.0, 1.0]], errors([("a",), ("a",)], {"a": 0.1}), 0.9)
    >>> bool(1.6 < low[0] < 2 < high[0] < 2.5)
    True
    """
    totals = np.asarray(kg, float) @ drawn
    low, high = np.quantile(totals, [(1 - level) / 2, (1 + level) / 2], axis=1)
    return low, high


class Swing(NamedTuple):
    """What one source alone does to a total: its low and high, in kg CO2e, and its share of the variance (0-1)."""

    source: str
    low: float
    high: float
    share: float


def tornado(kg: ArrayLike, sources: Sequence[Sequence[str]], sd: dict[str, float], level: float = 0.9) -> list[Swing]:
    """Say what would narrow a total's interval.

    One row a source, the widest first; `kg` is one number a cell, in kg CO2e. A source's swing is the total's interval
    if all others were certain.

    >>> [s.source for s in tornado([1.0, 5.0], [("a",), ("b",)], {"a": 0.5, "b": 0.2})]
    ['b', 'a']
    """
    amounts = np.asarray(kg, float)
    total = float(amounts.sum())
    found = []
    for name in sorted({name for cell in sources for name in cell if sd.get(name, 0) > 0}):
        of = float(sum(a for a, cell in zip(amounts, sources, strict=True) if name in cell))
        one = errors([(name,)], sd)[0]
        low, high = np.quantile(one, [(1 - level) / 2, (1 + level) / 2])
        found.append(
            (name, total + of * (float(low) - 1), total + of * (float(high) - 1), (of * float(np.std(one))) ** 2)
        )
    variance = sum(f[3] for f in found) or 1.0
    swings: list[Any] = [Swing(n, low, high, v / variance) for n, low, high, v in found]
    return sorted(swings, key=lambda s: (-(s.high - s.low), s.source))
