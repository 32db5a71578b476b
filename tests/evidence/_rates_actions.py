"""Actions: what is measured of them in worlds whose truth is known, by models.effect.measure as the pages call it.

A world: 2,000 products of 8 categories, rates Beta with kappa 20 around their category's, units lognormal around a
median of 40 a month (sigma 1.3), 12 weeks before the action; each product drifts by an AR(1) of sd 10%, categories and
the shop drift too. 20 products are treated. "Spike": drawn from the products whose last 4 weeks stood out against the 8
before (z > 1.645).
"""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np

from models import effect
from tests.evidence import Claim

SEEDS = range(50_000, 50_400)
PRODUCTS, CATEGORIES = 2000, 8


@dataclass(frozen=True)
class World:
    """One kind of world; `change` is what the action truly did."""

    change: float = 0.0
    weeks: int = 8
    median: float = 40.0  # units a month
    treated: int = 20
    persistence: float = 0.6  # of a product's drift, week to week
    picked: str = "at random"
    young: bool = False  # the last weeks' returns are still coming in
    staggered: bool = False  # each product treated in another week


def drawn(world: World, seed: int) -> dict[str, Any]:
    """Draw the weekly counts of one shop, and who was treated when."""
    rng = np.random.default_rng(seed)
    extra = 8 if world.staggered else 0
    width = effect.BEFORE + world.weeks + extra
    category = rng.integers(0, CATEGORIES, PRODUCTS)
    usual = np.linspace(0.12, 0.40, CATEGORIES)[category]
    base = rng.beta(usual * 20, (1 - usual) * 20)
    pace = world.median * 12 / 52 * np.exp(rng.normal(0, 1.3, PRODUCTS))
    sold = rng.poisson(np.repeat(pace[:, None], width, 1))
    drift = np.empty((PRODUCTS, width))
    drift[:, 0] = rng.normal(0, 0.1, PRODUCTS)
    for week in range(1, width):
        fresh = rng.normal(0, 0.1 * np.sqrt(1 - world.persistence**2), PRODUCTS)
        drift[:, week] = world.persistence * drift[:, week - 1] + fresh
    common = np.cumsum(rng.normal(0, 0.01, width)) + rng.normal(0, 0.02, (CATEGORIES, 1))[category] * np.linspace(
        0, 1, width
    )
    rate = np.clip(base[:, None] * np.exp(drift + common), 0, 0.95)
    seen = np.ones(width)
    if world.young:
        seen[-4:] = [0.95, 0.85, 0.7, 0.5]
    before = rng.binomial(sold[:, : effect.BEFORE], rate[:, : effect.BEFORE])
    if world.picked == "at random":
        treated = rng.choice(PRODUCTS, world.treated, replace=False)
    else:
        n, r = sold[:, : effect.BEFORE], before
        late, early = n[:, -4:].sum(1), n[:, :-4].sum(1)
        with np.errstate(invalid="ignore", divide="ignore"):
            p = r.sum(1) / n.sum(1)
            z = (r[:, -4:].sum(1) / late - r[:, :-4].sum(1) / early) / np.sqrt(p * (1 - p) * (1 / late + 1 / early))
        z = np.where(np.isfinite(z) & (n.sum(1) >= effect.LEAST_UNITS), z, -np.inf)
        treated = (
            np.argsort(-z)[: world.treated]
            if world.picked == "top spikes"
            else rng.choice(np.flatnonzero(z > 1.645), world.treated, replace=False)
        )
    start = effect.BEFORE + (rng.integers(0, extra + 1, world.treated) if extra else np.zeros(world.treated, dtype=int))
    after = np.arange(width) >= start[:, None]
    rate[treated] = np.where(after, rate[treated] * (1 + world.change), rate[treated])
    later = rng.binomial(sold[:, effect.BEFORE :], rate[:, effect.BEFORE :] * seen[effect.BEFORE :])
    return {
        "returned": np.hstack([before, later]),
        "exposure": sold * seen,
        "category": category,
        "treated": treated,
        "until": start,
        "since": start,
    }


def _one(world: World, seed: int) -> effect.Effect:
    return effect.measure(**drawn(world, seed))


def measured(world: World) -> list[effect.Effect]:
    """Measure the action in every seed's shop."""
    with ProcessPoolExecutor(mp_context=get_context("forkserver")) as pool:
        return list(pool.map(partial(_one, world), SEEDS, chunksize=20))


def covered(found: list[effect.Effect], change: float) -> float:
    """Give the share of intervals that hold the truth."""
    return float(np.mean([e.low <= change <= e.high for e in found]))


def called(found: list[effect.Effect]) -> float:
    """Give the share that a two-sided test at 5% calls a change."""
    return float(np.mean([e.p_value < 0.05 for e in found]))


def claims() -> Iterator[Claim]:
    """Measure coverage, false positives, power and refusals."""
    runs = f"{len(SEEDS)} seeds"
    worlds = {
        "-15%, 4 weeks": World(-0.15, 4),
        "-15%, 8 weeks": World(-0.15),
        "-15%, 12 weeks": World(-0.15, 12),
        "-15%, 8 weeks, 4 of them young": World(-0.15, young=True),
        "-15%, 20 different weeks": World(-0.15, staggered=True),
        "-15%, 200 units a month": World(-0.15, median=200),
        "no effect, 8 weeks": World(),
        "no effect, 200 units a month": World(median=200),
        "no effect, 200 units a month, lasting drift": World(median=200, persistence=0.9),
        "no effect, spike": World(picked="spikes"),
        "no effect, spike, lasting drift": World(picked="spikes", persistence=0.9),
        "no effect, one product of 2,000 units a month": World(median=2000, treated=1),
    }
    for name, world in worlds.items():
        found = measured(world)
        cover, wrong = covered(found, world.change), called(found)
        units, width = np.mean([e.units for e in found]), np.mean([e.high - e.low for e in found])
        told = f"{cover:.1%} of {runs}; mean width {100 * width:.0f} points of change, {units:,.0f} treated units"
        yield Claim(f"Actions, {name}: 90% intervals cover the truth", "86-95%", told, 0.86 <= cover <= 0.95)
        if world.change == 0:
            yield Claim(
                f"Actions, {name}: called a change at 5%", "at most 7%", f"{wrong:.1%} of {runs}", wrong <= 0.07
            )
        elif name == "-15%, 8 weeks":
            sure = np.mean([e.verdict == "fell" for e in found])
            told = (
                f"{sure:.1%} of {runs}, {units:,.0f} treated units; the product itself says"
                f" {np.mean([e.power for e in found]):.0%}"
            )
            yield Claim(
                "Actions, -15% on 20 products, 8 mature weeks: seen as a fall", "at least 75%", told, sure >= 0.75
            )
    few = [e for weeks in (1, 2) for e in measured(World(-0.15, weeks)) if e.units < effect.TOO_EARLY]
    says = Counter(f"{e.verdict} ({e.reason})" for e in few)
    yield Claim(
        "Actions, fewer than 800 treated units: what is said",
        "too early, always",
        f"{len(few)} shops: {dict(says)}",
        len(few) > 200 and all(e.verdict == "too_early" for e in few),
    )
    top = measured(World(picked="top spikes", persistence=0.9))
    given = [e for e in top if e.verdict in ("fell", "rose", "no_clear_change")]
    refused, wrong = 1 - len(given) / len(top), np.mean([e.verdict in ("fell", "rose") for e in top])
    yield Claim(
        "Actions, no effect, the 20 greatest spikes of 2,000: a change is claimed",
        "at most 7%",
        f"{wrong:.1%} of {runs}; {refused:.0%} get no verdict for want of equals",
        bool(wrong <= 0.07),
    )
