"""Final return rates in simulated shops whose truth is known, through the product's own functions.

A shop: 24 months x 8 categories; lines come in orders (1.6 a piece, correlation .2 within an order), 80% of an order's
returns share their delay, categories differ in their median delay; a month's rate is a random walk (sd .03 a month on
the logit) plus a month's own effect (sd .10); the observation falls anywhere in the last month. `shifted` makes delays
1.3 times as long for deliveries of the last 45 days; `small` has a tenth of the lines.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models import curves as curves_models
from models import rates
from tests.evidence import Claim

MONTHS, CATEGORIES, SHOPS, FIRST_SEED = 24, 8, 200, 31_000
RATES = np.array([0.08, 0.12, 0.17, 0.21, 0.25, 0.29, 0.34, 0.42])
MEDIANS = 9 * np.exp(np.linspace(-0.25, 0.25, CATEGORIES))[[3, 6, 0, 5, 2, 7, 1, 4]]  # days; no relation to rates
LINES = np.geomspace(500, 5000, CATEGORIES)[[2, 7, 4, 0, 6, 3, 5, 1]]  # of a month; no relation to either
SIGMA, MONTH_DAYS = 0.65, 30
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Shop:
    """What a warehouse would hold of one shop, one entry a line.

    Its order, cell (category x month), age and delay (inf: kept).
    """

    order: NDArray[np.int64]
    category: NDArray[np.int64]
    month: NDArray[np.int64]
    age: NDArray[np.int64]
    delay: Array
    truth: Array  # category x month


def shop(seed: int, *, volume: float = 1.0, shift: float = 1.0) -> Shop:
    """Draw a shop's lines and what becomes of them in the end."""
    rng = np.random.default_rng(seed)
    level = np.log(RATES / (1 - RATES))[:, None] + np.cumsum(rng.normal(0, 0.03, (CATEGORIES, MONTHS)), 1)
    truth = 1 / (1 + np.exp(-(level + rng.normal(0, 0.10, (CATEGORIES, MONTHS)))))
    size = volume * LINES[:, None] * np.exp(rng.normal(0, 0.1, (CATEGORIES, MONTHS)))
    orders = rng.poisson(size / 1.6)
    cell = np.repeat(np.arange(CATEGORIES * MONTHS), orders.ravel())
    lines = rng.choice([1, 2, 3, 4], cell.size, p=[0.6, 0.25, 0.1, 0.05])
    today = (MONTHS - 1) * MONTH_DAYS + rng.integers(1, MONTH_DAYS + 1)
    placed = cell % MONTHS * MONTH_DAYS + rng.integers(0, MONTH_DAYS, cell.size)
    order = np.repeat(np.arange(cell.size), lines)
    category, month = cell[order] // MONTHS, cell[order] % MONTHS
    p = truth.ravel()[cell]
    ours, own = rng.random(cell.size) < p, rng.random(order.size) < p[order]
    is_back = np.where(rng.random(order.size) < np.sqrt(0.2), ours[order], own)
    median = MEDIANS[category]
    normal = np.where(rng.random(order.size) < 0.8, rng.normal(size=cell.size)[order], rng.normal(size=order.size))
    delivered = placed[order] + 2
    slower = np.where(delivered > today - 45, shift, 1.0)
    delay = np.where(is_back, np.floor(median * slower * np.exp(SIGMA * normal)), np.inf)
    known = placed[order] <= today
    return Shop(order[known], category[known], month[known], (today - delivered)[known], delay[known], truth)


@dataclass(frozen=True)
class Said:
    """What is said of one shop's cells (category x month): truth, projection, and what other methods say."""

    truth: Array
    final: rates.Ultimate
    naive: Array
    fixed: Array
    sold: Array
    drift: curves_models.Drift


def projected(it: Shop) -> Said:
    """Say of a shop what the product says: curves, design effects, priors and rates from additive counts."""
    cells = [curves_models.Cell("shop", f"category {c}", "web", 30) for c in range(CATEGORIES)]
    seen = (it.delay <= it.age) & (it.age <= cells[0].last_day + curves_models.RECENT_DAYS)
    counts = {
        cell: curves_models.Delays(it.delay[mine], np.ones(mine.sum()), it.age[mine].astype(float))
        for c, cell in enumerate(cells)
        for mine in [seen & (it.category == c)]
    }
    developed = list(curves_models.developed(cells, counts).values())
    curves = np.stack([d.share for d in developed])
    doubt = np.array([d.doubt for d in developed])
    g = np.where(it.age < 0, 0.0, curves[it.category, np.clip(it.age, 0, curves.shape[1] - 1)])
    came = (it.delay <= it.age).astype(float)
    cell = it.category * MONTHS + it.month
    size = CATEGORIES * MONTHS
    sold, back, exposure = (np.bincount(cell, w, size) for w in (np.ones(cell.size), came, g))
    rate = np.minimum(back / np.maximum(exposure, 1e-9), 0.999)
    # the design effect of a category: baskets are order x category, here the order
    expected = rate[cell] * g
    residual = np.bincount(it.order, came - expected)
    variance = np.bincount(it.order, expected * (1 - expected))
    category = np.zeros(residual.size, dtype=np.int64)
    category[it.order] = it.category
    deff = np.array([rates.design_effect(residual[category == c], variance[category == c]) for c in range(CATEGORIES)])
    of = np.arange(size) // MONTHS
    priors = [
        rates.month_priors(np.arange(MONTHS), back[of == c], exposure[of == c], sold[of == c], deff[c], doubt[c])
        for c in range(CATEGORIES)
    ]
    mean, sd = np.array([priors[c].get(m, (np.nan, np.nan)) for c in range(CATEGORIES) for m in range(MONTHS)]).T
    step = np.round(g * 100) / 100
    final = rates.ultimate_rates(
        cell,
        step,
        np.ones(cell.size),
        came,
        groups=size,
        deff=deff[of],
        prior=(mean, sd),
        doubt=doubt[it.category],
    )
    drift = curves_models.delay_drift([(counts[c], d.long_run) for c, d in zip(cells, developed, strict=True)])
    full = (it.age >= 30) & (it.age < 60)
    within = np.bincount(it.category[full], it.delay[full] <= 30, CATEGORIES)
    fixed = (within / np.maximum(np.bincount(it.category[full], minlength=CATEGORIES), 1))[of]
    with np.errstate(invalid="ignore"):
        return Said(it.truth.ravel(), final, back / sold, fixed, sold, drift)


@dataclass(frozen=True)
class Pooled:
    """Cells of many shops of one world, those of a range of maturity."""

    error: Array
    naive: Array
    fixed: Array
    width: Array
    is_covered: NDArray[np.bool_]

    def cover(self) -> float:
        """Share of the cells whose interval holds the true rate."""
        return float(np.mean(self.is_covered))


def pooled(said: list[Said], low: float = 0.5, high: float = 0.99) -> Pooled:
    """Lay the cells of a range of maturity under each other."""
    parts = []
    for s in said:
        f = s.final
        mine = (f.maturity >= low) & (f.maturity <= high) & (s.sold > 0)
        truth = s.truth[mine]
        parts.append(
            (
                f.rate[mine] - truth,
                s.naive[mine] - truth,
                s.fixed[mine] - truth,
                (f.high - f.low)[mine],
                (f.low[mine] <= truth) & (truth <= f.high[mine]),
            )
        )
    return Pooled(*(np.concatenate(p) for p in zip(*parts, strict=True)))


def claims() -> Iterator[Claim]:
    """Claim what statistics can promise: over many shops, never on one."""
    seeds = range(FIRST_SEED, FIRST_SEED + SHOPS)
    steady = [projected(shop(s)) for s in seeds]
    shifted = [projected(shop(s + SHOPS, shift=1.3)) for s in seeds]
    small = [projected(shop(s + 2 * SHOPS, volume=0.1)) for s in seeds]
    cells, young = pooled(steady), pooled(steady, 0.5, 0.75)
    of = f"{SHOPS} shops, {cells.error.size:,} cells of maturity .5 to .99"
    points = 100 * np.array([np.mean(cells.error), np.mean(cells.naive)])
    yield Claim(
        f"Final rate: 90% intervals hold the true rate ({of})",
        "87 to 93%",
        f"{cells.cover():.1%} ({young.cover():.1%} of {young.error.size:,} cells at .5 to .75)",
        0.87 <= cells.cover() <= 0.93,
    )
    yield Claim(
        "Final rate: no bias where the share returned so far is several points low",
        "under 0.3 points either way",
        f"{points[0]:+.2f} points; returned so far {points[1]:+.1f} ({100 * np.mean(young.naive):+.1f} at .5 to .75)",
        abs(points[0]) < 0.3 and points[1] < -2,
    )
    own, fixed = np.mean(np.abs(cells.error)), np.mean(np.abs(cells.fixed))
    yield Claim(
        "Final rate: mean error against the last full 30-day window's",
        "at most 0.65x",
        f"{own / fixed:.2f}x ({100 * own:.2f} against {100 * fixed:.2f} points)",
        own <= 0.65 * fixed,
    )
    width = 100 * np.mean(young.width)
    yield Claim(
        "Final rate: mean width of the interval at maturity .5 to .75",
        "at most 4.5 points",
        f"{width:.2f} points",
        width <= 4.5,
    )
    tiny = pooled(small)
    yield Claim(
        f"Final rate in small shops (50 to 500 lines a month and category, {tiny.error.size:,} cells)",
        "84 to 94%",
        f"{tiny.cover():.1%}",
        0.84 <= tiny.cover() <= 0.94,
    )
    late = pooled(shifted)
    fires, false = np.mean([s.drift.is_drifting for s in shifted]), np.mean([s.drift.is_drifting for s in steady])
    false_small = np.mean([s.drift.is_drifting for s in small])
    yield Claim(
        "Delays 1.3 times as long for 45 days of deliveries: the drift alarm fires",
        "in at least 90% of shops",
        f"{fires:.1%}, told as {np.mean([s.drift.factor for s in shifted]):.2f} times (intervals then cover"
        f" {late.cover():.0%})",
        fires >= 0.9,
    )
    yield Claim(
        "Steady delays: the drift alarm stays silent",
        "false alarms in at most 5% of shops",
        f"{false:.1%}, and {false_small:.1%} of small shops",
        max(false, false_small) <= 0.05,
    )
