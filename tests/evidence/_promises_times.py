"""Times of stages when a third of the returns is still open: quantiles, their intervals, and a published example.

A stage: waits are lognormal (median 6 days, sigma .8), returns enter evenly over 26.5 days, so that about 30% are open;
5% are cancelled and 2% lost, and would never have completed. `dependent` cancels the slow ones more often. Truth is the
wait of those that complete. Times are rounded to whole hours, as the warehouse's life tables count them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from models import promises
from tests.evidence import Claim

SEEDS, FIRST_SEED = 200, 41_000
MEDIAN, SIGMA, HORIZON = 6.0, 0.8, 26.5
CANCELLED, LOST = 0.05, 0.02
Array = NDArray[np.float64]

# Weeks to relapse of 21 patients on 6-mercaptopurine (Freireich et al., Blood 21, 1963), "+" still in remission;
# survival as
# printed in Kleinbaum and Klein, Survival Analysis, 3rd ed. (2012), table of the Kaplan-Meier example.
WEEKS = "6 6 6 7 10 13 16 22 23 6+ 9+ 10+ 11+ 17+ 19+ 20+ 25+ 32+ 32+ 34+ 35+"
PRINTED = {6: 0.8571, 7: 0.8067, 10: 0.7529, 13: 0.6902, 16: 0.6275, 22: 0.5378, 23: 0.4482}


@dataclass(frozen=True)
class Said:
    """What one world's p90 is said to be: by the product with its interval, and by the finished returns alone."""

    value: float
    low: float
    high: float
    finished: float
    open_share: float


def said(seed: int, n: int, *, is_dependent: bool = False) -> tuple[Said, float]:
    """Draw a stage and say its p90 in days; and the true p90 of those that complete."""
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=n)
    wait = MEDIAN * np.exp(SIGMA * normal)
    weight = np.exp(0.7 * normal) / np.exp(0.7**2 / 2) if is_dependent else np.ones(n)
    draw = rng.random(n)
    cause = np.where(
        draw < LOST, promises.LOST, np.where(draw < LOST + CANCELLED * weight, promises.CANCELLED, promises.COMPLETED)
    )
    stopped = MEDIAN * np.exp(SIGMA * rng.normal(size=n))
    time = np.where(cause == promises.COMPLETED, wait, stopped)
    age = rng.uniform(0, HORIZON, n)
    is_open = time > age
    hours = np.floor(np.minimum(time, age) * 24 + 0.5)
    ended = np.where(is_open, promises.OPEN, cause)
    bins, place = np.unique(hours, return_inverse=True)
    table = promises.life_table(np.zeros(n, int), place, ended, np.ones(n), 1, bins.size)
    value, low, high = promises.completion_quantiles(bins / 24, table, [0.9], seed=seed)[0, 0]
    finished = float(np.quantile(wait[(ended == promises.COMPLETED)], 0.9))
    many = 400_000
    truth = MEDIAN * np.exp(SIGMA * 1.2815515655446004)
    if is_dependent:  # those left are not a plain lognormal any more
        z = np.random.default_rng(1).normal(size=many)
        kept = 1 - LOST - np.minimum(CANCELLED * np.exp(0.7 * z - 0.7**2 / 2), 1 - LOST)
        order = np.argsort(z)
        truth = float(MEDIAN * np.exp(SIGMA * z[order][np.searchsorted(np.cumsum(kept[order]), 0.9 * kept.sum())]))
    return Said(float(value), float(low), float(high), finished, float(is_open.mean())), truth


def covered(days: Array) -> Array:
    """Give the share of completers, in per cent, whose wait is at most so many days."""
    return 100 * ndtr(np.log(np.asarray(days) / MEDIAN) / SIGMA)


def claims() -> Iterator[Claim]:
    """Claim what a p90 of open returns is worth, beside the one that everybody reports."""
    large, small, dependent = (
        [said(s, n, is_dependent=d) for s in range(FIRST_SEED, FIRST_SEED + SEEDS)]
        for n, d in ((3000, False), (300, False), (3000, True))
    )
    share = covered(np.array([s.value for s, _ in large]))
    near = np.mean(np.abs(share - 90) <= 2)
    opened = np.mean([s.open_share for s, _ in large])
    yield Claim(
        f"Days of a stage, n = 3,000, {opened:.0%} open: the p90 said holds 90 +- 2 points of those that complete",
        f"in at least 95% of {SEEDS} seeds",
        f"{near:.1%} of seeds; mean {share.mean():.1f}, spread {share.std():.1f} points",
        bool(near >= 0.95),
    )
    finished = covered(np.array([s.finished for s, _ in large]))
    missed = np.mean(np.abs(finished - 90) <= 2)
    yield Claim(
        "The same of finished returns alone fails the same test",
        "under 95% of seeds, mean under 85",
        f"{missed:.1%} of seeds; mean {finished.mean():.1f}",
        bool(missed < 0.95 and finished.mean() < 85),
    )
    few = covered(np.array([s.value for s, _ in small]))
    yield Claim(
        "Days of a stage, n = 300: share of those that complete within the p90 said",
        "mean 90 +- 1, spread under 3 points",
        f"mean {few.mean():.1f}, spread {few.std():.1f}; finished alone"
        f" {covered(np.array([s.finished for s, _ in small])).mean():.1f}",
        bool(abs(few.mean() - 90) <= 1 and few.std() < 3),
    )
    for n, worlds in (("3,000", large), ("300", small)):
        holds = np.mean([s.low <= truth <= s.high for s, truth in worlds])
        yield Claim(
            f"Days of a stage, n = {n}: the 90% bootstrap interval holds the true p90",
            "86 to 94%",
            f"{holds:.1%} of {SEEDS} seeds",
            bool(0.86 <= holds <= 0.94),
        )
    error = np.array([s.value / truth - 1 for s, truth in dependent])
    yield Claim(
        "Slow returns cancelled more often, n = 3,000: mean error of the p90",
        "under 4%",
        f"{error.mean():+.1%}",
        bool(abs(error.mean()) < 0.04),
    )
    off = freireich()
    yield Claim(
        "Published survival example (Freireich et al. 1963, 21 patients): survival at 7 times",
        "every printed digit",
        f"largest difference after rounding {off:.0e}",
        off == 0,
    )


def freireich() -> float:
    """Give the largest difference from the printed survival, after rounding to its four digits."""
    weeks = np.array([int(w.rstrip("+")) for w in WEEKS.split()])
    is_open = np.array([w.endswith("+") for w in WEEKS.split()])
    cause = np.where(is_open, promises.OPEN, promises.COMPLETED)
    table = promises.life_table(np.zeros(weeks.size, int), weeks, cause, np.ones(weeks.size), 1, 40)
    survival = promises.incidence(table)[0][0]
    return max(abs(round(float(survival[w]), 4) - printed) for w, printed in PRINTED.items())
