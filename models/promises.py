"""Times between stages and promises about them, when some returns are still open, cancelled or lost.

Here: life tables, quantiles of those that complete and of those still open, the promise that could be made. Not here:
calendars, SQL, what a promise is. The one idea: a life table of counts (bin of duration x how the wait ended) is
additive, so any engine sums it; cumulative products and a Poisson bootstrap on the counts finish it.

A table is an array `counts[..., cause, bin]` with the causes COMPLETED, CANCELLED, LOST, OPEN in this order (a return
still open counts in the bin of its age); leading axes are groups; `durations[bin]` is ascending and names each bin's
time.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

COMPLETED, CANCELLED, LOST, OPEN = range(4)
CAUSES = ("completed", "cancelled", "lost", "open")


def life_table(
    group: ArrayLike, duration_bin: ArrayLike, cause: ArrayLike, units: ArrayLike, groups: int, bins: int
) -> Array:
    """Sum rows (group number, bin number, cause number, count) into `counts[group, cause, bin]`.

    Bins beyond the last count in it.

    >>> life_table([0, 0], [1, 1], [0, 3], [5, 2], 1, 2)[0, :, 1].tolist()
    [5.0, 0.0, 0.0, 2.0]
    """
    g, c = np.asarray(group, dtype=np.int64), np.asarray(cause, dtype=np.int64)
    b = np.clip(np.asarray(duration_bin, dtype=np.int64), 0, bins - 1)
    flat = np.bincount((g * 4 + c) * bins + b, np.asarray(units, dtype=np.float64), groups * 4 * bins)
    return flat.astype(np.float64).reshape(groups, 4, bins)


def incidence(counts: ArrayLike) -> tuple[Array, Array]:
    """Give the all-cause survival S[..., bin] and the cumulative incidence F[..., cause, bin] of the three ends.

    Aalen and Johansen (Scandinavian Journal of Statistics 5, 1978): F_k(t) = sum of h_k(u) S(u-). Those open in a bin
    are at risk in it and leave after it. Where nobody is at risk any more, both stay where they are.

    >>> survival, ends = incidence([[1, 1], [0, 1], [0, 0], [0, 0]])
    >>> survival.round(2).tolist(), ends[0].round(2).tolist()
    ([0.67, 0.0], [0.33, 0.67])
    """
    table = np.asarray(counts, dtype=np.float64)
    leaving = table.sum(-2)
    at_risk = np.flip(np.cumsum(np.flip(leaving, -1), -1), -1)
    ends = table[..., :OPEN, :]
    hazard = np.divide(ends, at_risk[..., None, :], out=np.zeros_like(ends), where=at_risk[..., None, :] > 0)
    survival = np.cumprod(np.maximum(1 - hazard.sum(-2), 0.0), -1)
    before = np.concatenate([np.ones_like(survival[..., :1]), survival[..., :-1]], -1)
    return survival, np.cumsum(hazard * before[..., None, :], -1)


def _reached(durations: Array, curve: Array, taus: Array) -> Array:
    """Give the first duration at which `curve[..., bin]` reaches each tau; infinity when it never does."""
    answers = []
    for tau in taus:
        is_there = curve >= tau - 1e-12
        answers.append(np.where(is_there.any(-1), durations[np.argmax(is_there, -1)], np.inf))
    return np.stack(answers, -1)


def _completing(survival: Array, ends: Array, against: tuple[int, ...] = ()) -> Array:
    """Give F1 / Finf: completed by t among those that ever complete (or end in one of `against`)."""
    final = ends[..., -1]
    total = final.sum(-1)
    share = np.divide(final, total[..., None], out=np.zeros_like(final), where=total[..., None] > 0)
    final = final + survival[..., -1:] * share
    whole = final[..., (COMPLETED, *against)].sum(-1)[..., None]
    unknown: Array = np.full(survival.shape, np.nan)
    return np.asarray(np.divide(ends[..., COMPLETED, :], whole, out=unknown, where=whole > 0), dtype=np.float64)


def _with_interval(
    durations: ArrayLike,
    counts: ArrayLike,
    taus: ArrayLike,
    against: tuple[int, ...],
    level: float,
    draws: int,
    seed: int,
) -> Array:
    times, table = np.asarray(durations, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    wanted = np.atleast_1d(np.asarray(taus, dtype=np.float64))
    value = _reached(times, _completing(*incidence(table), against), wanted)
    generator = np.random.default_rng(seed)
    again = np.stack(
        [_reached(times, _completing(*incidence(generator.poisson(table)), against), wanted) for _ in range(draws)]
    )
    tail = (1 - level) / 2
    low = np.quantile(again, tail, axis=0, method="inverted_cdf")
    high = np.quantile(again, 1 - tail, axis=0, method="inverted_cdf")
    answer = np.stack([value, np.minimum(low, value), np.maximum(high, value)], -1)
    has_any = table[..., COMPLETED, :].sum(-1) > 0
    return np.where(has_any[..., None, None], answer, np.nan)


def completion_quantiles(
    durations: ArrayLike, counts: ArrayLike, taus: ArrayLike, level: float = 0.9, draws: int = 100, seed: int = 0
) -> Array:
    """Estimate quantiles of the time to completion of those that complete: [..., tau, (value, low, high)].

    Aalen-Johansen conditional on completing: cancelled and lost compete, open ones are censored, and open ones at the
    end of follow-up are shared out as the ended ones were. Infinity means "longer than anybody was followed". Interval:
    Poisson bootstrap on the counts, seeded. Nobody completed: NaN.

    >>> completion_quantiles([1, 2, 3], [[5, 4, 1], [0, 0, 0], [0, 0, 0], [0, 0, 0]], [0.5, 0.9])[:, 0].tolist()
    [1.0, 2.0]
    """
    return _with_interval(durations, counts, taus, (), level, draws, seed)


def promise_at(
    durations: ArrayLike, counts: ArrayLike, tau: float = 0.95, level: float = 0.9, draws: int = 100, seed: int = 0
) -> Array:
    """Give the shortest duration that would be kept with probability `tau`: [..., (value, low, high)].

    A lost return breaks any promise, a cancelled one is under none. Infinity when no duration would be kept that often.

    >>> promise_at([1, 2, 3], [[5, 4, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0]], 0.9)[0].item()
    2.0
    """
    return _with_interval(durations, counts, [tau], (LOST,), level, draws, seed)[..., 0, :]


def kept_curve(durations: ArrayLike, counts: ArrayLike, level: float = 0.9, draws: int = 100, seed: int = 0) -> Array:
    """Give the share that a promise of each duration would keep: [bin, (value, low, high)].

    What is missing to 1 is what it would break. `counts` is one group's table [cause, bin]; a lost return breaks any
    promise, a cancelled one is under none. Interval: Poisson bootstrap on the counts, seeded. Nobody completed: NaN.

    >>> kept_curve([1, 2, 3], [[5, 4, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0]])[:, 0].tolist()
    [0.5, 0.9, 0.9]
    """
    table = np.asarray(counts, dtype=np.float64)
    value = _completing(*incidence(table), (LOST,))
    generator = np.random.default_rng(seed)
    again = np.stack([_completing(*incidence(generator.poisson(table)), (LOST,)) for _ in range(draws)])
    tail = (1 - level) / 2
    with np.errstate(invalid="ignore"):
        low, high = np.nanquantile(again, [tail, 1 - tail], axis=0) if np.isfinite(again).any() else (value, value)
    return np.stack([value, np.minimum(low, value), np.maximum(high, value)], -1)


def remaining_quantiles(durations: ArrayLike, counts: ArrayLike, age: ArrayLike, taus: ArrayLike) -> Array:
    """Give quantiles of the whole wait of those still open at `age` that will complete.

    [row, tau], in the durations' unit. `counts` is one group's table [cause, bin]. Among those open at an age, the
    share completed by t of those that ever complete is (F1(t) - F1(age)) / (Finf - F1(age)). Infinity where it is never
    reached, or nobody was followed so long.

    >>> remaining_quantiles([1, 2, 3, 4], [[1, 1, 1, 1], [0] * 4, [0] * 4, [0] * 4], [0, 2], [0.5]).tolist()
    [[2.0], [3.0]]
    """
    times, old = np.asarray(durations, dtype=np.float64), np.asarray(age, dtype=np.float64)
    curve = _completing(*incidence(counts))
    now = np.append(0.0, curve)[np.searchsorted(times, old, side="right")]
    answers = []
    for tau in np.atleast_1d(np.asarray(taus, dtype=np.float64)):
        wanted = now + tau * (1 - now)
        place = np.searchsorted(curve, wanted - 1e-12, side="left")
        reached = np.append(times, np.inf)[np.minimum(place, times.size)]
        answers.append(np.where(np.isfinite(now) & (now < 1), np.maximum(reached, old), np.inf))
    return np.stack(answers, -1)
