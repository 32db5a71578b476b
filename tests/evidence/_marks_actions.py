"""Actions in worlds written apart from the estimator: who is chosen, and what moves many products at once.

A world has 1,200 products of 6 categories and 40 suppliers, 40 weeks before the action. Rates lie around the
category's by a Student t of 5 degrees (no beta); a product keeps its level until a new batch arrives (steps of sd 12%,
every ten weeks on average, no autoregression); sales scatter by a gamma beyond Poisson. Where suppliers drift, each
one's rates walk by 3% a week, or only the treated one's do. 20 products are treated: at random, for the score of the
ranking page (over the last 12 weeks or all 40), as significant (above the category at 5% in the last 12 weeks), for a
jump in the last 4 weeks, or because one supplier made them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from models import effect
from models.products import expected_excess, fit_beta_binomial, probability_above
from tests.evidence import Claim

Array = NDArray[np.float64]

SEEDS = range(81_000, 81_600)
PRODUCTS, CATEGORIES, SUPPLIERS, BEFORE, AFTER = 1200, 6, 40, 40, 8
RATES = np.array([0.12, 0.18, 0.22, 0.28, 0.35, 0.42])


@dataclass(frozen=True)
class World:
    """One kind of world; `change` is what the action truly did."""

    chosen: str = "at random"
    change: float = 0.0
    median: float = 40.0  # units a month
    treated: int = 20
    suppliers_walk: float = 0.0  # sd a week of every supplier's own drift
    one_walks: float = 0.0  # of the treated supplier's alone


def _steps(rng: np.random.Generator, rows: int, weeks: int) -> Array:
    """Draw levels that stay until the next batch: [row, week], log."""
    level = rng.normal(0, 0.12, (rows, weeks))
    is_new = rng.random((rows, weeks)) < 0.1
    is_new[:, 0] = True
    latest = np.maximum.accumulate(np.where(is_new, np.arange(weeks), 0), axis=1)
    return np.take_along_axis(level, latest, 1)


def _score(returned: Array, sold: Array, category: NDArray[np.int64]) -> Array:
    """Rank as the page does: how sure an excess is, times the expected excess units."""
    found = np.zeros(len(sold))
    for c in range(CATEGORIES):
        mine = category == c
        r, n = returned[mine], sold[mine]
        a, b = fit_beta_binomial(r, n)
        usual = np.full(r.size, a / (a + b))
        found[mine] = probability_above(r, n, a, b, usual) * expected_excess(r, n, a, b, usual) * n
    return found


def _chosen(
    world: World, rng: np.random.Generator, sold: Array, back: Array, category: NDArray[np.int64], supplier: Any
) -> NDArray[np.int64]:
    late, k = slice(BEFORE - 12, BEFORE), world.treated
    n, r = sold[:, late].sum(1), back[:, late].sum(1)
    if world.chosen == "score, 12 weeks":
        return np.argsort(-_score(r, n, category))[:k]
    if world.chosen == "score, 40 weeks":
        return np.argsort(-_score(back[:, :BEFORE].sum(1), sold[:, :BEFORE].sum(1), category))[:k]
    if world.chosen == "significant":
        usual = np.bincount(category, r)[category] / np.bincount(category, n)[category]
        is_above = (binom.sf(r - 1, n, usual) < 0.05) & (n >= effect.LEAST_UNITS)
        return rng.choice(np.flatnonzero(is_above), k, replace=False)
    if world.chosen == "jump":
        m, x = sold[:, BEFORE - 4 : BEFORE].sum(1), back[:, BEFORE - 4 : BEFORE].sum(1)
        p = (r - x + 0.5) / (n - m + 1)
        is_up = (binom.sf(x - 1, m, p) < 0.1) & (n >= effect.LEAST_UNITS)
        return rng.choice(np.flatnonzero(is_up), k, replace=False)
    pool = np.flatnonzero((n >= effect.LEAST_UNITS) & ((supplier == 0) | (world.chosen != "one supplier")))
    return rng.choice(pool, min(k, pool.size), replace=False)


def drawn(world: World, seed: int) -> dict[str, Any]:
    """Draw the weekly counts of one shop, and who was treated when."""
    rng = np.random.default_rng(seed)
    weeks = BEFORE + AFTER
    category, supplier = rng.integers(0, CATEGORIES, PRODUCTS), rng.integers(0, SUPPLIERS, PRODUCTS)
    base = np.log(RATES[category]) + 0.25 * rng.standard_t(5, PRODUCTS)
    pace = world.median * 12 / 52 * np.exp(rng.normal(0, 1.0, PRODUCTS))
    sold = rng.poisson(pace[:, None] * rng.gamma(4, 1 / 4, (PRODUCTS, weeks))).astype(float)
    walk = np.cumsum(rng.normal(0, 1, (SUPPLIERS, weeks)), axis=1) * world.suppliers_walk
    walk[0] += np.cumsum(rng.normal(0, 1, weeks)) * world.one_walks
    shop = np.cumsum(rng.normal(0, 0.01, weeks)) + 0.05 * np.sin(np.arange(weeks) / 8 + category[:, None])
    rate = np.clip(np.exp(base[:, None] + _steps(rng, PRODUCTS, weeks) + walk[supplier] + shop), 0.01, 0.9)
    back = np.zeros_like(sold)
    back[:, :BEFORE] = rng.binomial(sold[:, :BEFORE].astype(int), rate[:, :BEFORE])
    treated = _chosen(world, rng, sold, back, category, supplier)
    rate[treated, BEFORE:] *= 1 + world.change
    back[:, BEFORE:] = rng.binomial(sold[:, BEFORE:].astype(int), rate[:, BEFORE:])
    start = np.full(treated.size, BEFORE)
    return {
        "returned": back,
        "exposure": sold,
        "category": category,
        "treated": treated,
        "until": start,
        "since": start,
        "clusters": {"supplier": supplier},
    }


def measured(world: World) -> list[effect.Effect]:
    """Measure the action in every seed's shop."""
    return [effect.measure(**drawn(world, seed)) for seed in SEEDS]


WORLDS = {
    "at random": World(),
    "at random, 200 units a month": World(median=200),
    "chosen by the score of 12 weeks": World("score, 12 weeks"),
    "chosen by the score of 12 weeks, 200 units a month": World("score, 12 weeks", median=200),
    "chosen by the score of 40 weeks": World("score, 40 weeks"),
    "chosen by the score of 40 weeks, 200 units a month": World("score, 40 weeks", median=200),
    "chosen as significant": World("significant"),
    "chosen for a jump": World("jump"),
    "suppliers drift": World(suppliers_walk=0.03),
    "one supplier, all suppliers drift": World("one supplier", suppliers_walk=0.03),
    "one supplier, it alone drifts": World("one supplier", one_walks=0.03),
    "-15% at random": World(change=-0.15),
    "-15%, chosen as significant": World("significant", -0.15),
    "-15%, chosen by the score of 12 weeks": World("score, 12 weeks", -0.15),
    "-15%, suppliers drift": World(change=-0.15, suppliers_walk=0.03),
}


def claims() -> Iterator[Claim]:
    """Measure false verdicts, coverage and power by how the products were chosen."""
    for name, world in WORLDS.items():
        found = measured(world)
        told = [e for e in found if e.verdict in effect.TOLD]
        wrong = float(np.mean([e.verdict in ("fell", "rose") for e in found]))
        says = f"{len(found)} shops, {np.mean([e.units for e in found]):,.0f} treated units"
        if world.change == 0:
            yield Claim(
                f"Actions, no effect, {name}: false verdicts",
                "at most 7%",
                f"{wrong:.1%} of {says}; {1 - len(told) / len(found):.0%} refused",
                wrong <= 0.07,
            )
        else:
            fell = float(np.mean([e.verdict == "fell" for e in found]))
            bar = 0.75 if world.suppliers_walk == 0 else 0.6
            yield Claim(f"Actions, {name}: seen as a fall", f"at least {bar:.0%}", f"{fell:.1%} of {says}", fell >= bar)
        if world.chosen != "one supplier":
            held = float(np.mean([e.low <= world.change <= e.high for e in told]))
            yield Claim(
                f"Actions, {name}: 90% intervals cover the truth",
                "86-95%",
                f"{held:.1%} of {len(told)} verdicts",
                0.86 <= held <= 0.95,
            )
