"""How far a development curve is moved, and how far it may be off.

Here: what delays of returns say of a curve's shift, from all of them or from the last weeks, and what categories and
weekdays teach of its doubt. Not here: the curves (models/curves.py), rates (models/rates.py). A shift is one of the
probit of G, G_v(d) = Phi(Phi^-1(G(d)) - v), positive where returns come later; for lognormal delays a time stretch.

Delays are additive counts: `delay` and `age` of their line at observation in days, and how many. Given the age, a
return has a delay up to it; neither the rate nor sales enter.
"""

import functools
import operator
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from models.rates import Array

RECENT_DAYS_SEEN = 14  # two whole weeks: what delays are of late, whatever the weekdays
AGES = np.array([0.0, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0])  # ages that categories are cut at to learn of tails
_GRID = np.linspace(-1.5, 1.5, 61)
_LATER = np.array([-3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8])  # days that scans may have become later by
_BETWEEN, _TAIL = (
    0.25,
    0.12,
)  # assumed until categories have shown: sd of their shifts, and of tails given the first days
_ASSUMED_WORTH = 2.0  # categories that an assumption is worth
_RECENT_SD, _PER_DAY, _MOVES = (
    0.2,
    0.7,
    0.2,
)  # of recent delays: sd of a shift, log odds a day, share of times they move
_MOST_GROWTH, _TELLS = 0.3, 50.0
_LEAST_DEFF, _MOST_DEFF = (
    1.5,
    25.0,
)  # returns of one day of deliveries come together; a fit cannot be worth more or less

Counts = tuple[Array, Array, Array]


@dataclass(frozen=True)
class Evidence:
    """What returns say: the log likelihood of each start (row) at each shift of the grid, and how many speak.

    `squares` and `information` measure how much more days of delivery vary than single returns would: evidence adds up,
    and is worth so much less.
    """

    log_likelihood: Array
    returns: float
    squares: float
    information: float

    def __add__(self, other: "Evidence") -> "Evidence":
        """Add the evidence of other returns."""
        return Evidence(*(getattr(self, n) + getattr(other, n) for n in self.__dataclass_fields__))

    @property
    def worth(self) -> float:
        """How many returns that come together count as one."""
        if self.information <= 0:
            return _MOST_DEFF
        return float(np.clip(self.squares / self.information, _LEAST_DEFF, _MOST_DEFF))


def shifted(curves: Array, shift: Array | float) -> Array:
    """Move curves (last axis: days) by shifts of their probit; the last day stays 1.

    >>> shifted(np.array([0.5, 0.8, 1.0]), 0.0).round(3).tolist()
    [0.5, 0.8, 1.0]
    """
    inside = np.clip(curves, 1e-9, 1 - 1e-9)
    moved = scipy.special.ndtr(scipy.special.ndtri(inside) - shift)
    moved[..., -1] = 1.0
    found: Array = np.where(curves <= 0, 0.0, moved)
    return found


def evidence(
    counts: Counts, starts: Sequence[Array], recent_days: int | None = None, usual: Array | None = None
) -> Evidence:
    """Weigh shifts of some curves by delays; with `recent_days` by those of returns confirmed in these last days.

    `usual` is how much is confirmed on each day of the week, from the day of observation back (`by_weekday`): days on
    which little is confirmed are no sign of anything.
    """
    delay, age = (np.asarray(x, dtype=np.int64) for x in (counts[0], counts[2]))
    last = starts[0].size - 1
    window = recent_days if recent_days is not None else int(age.max(initial=0)) + 1
    is_seen = (age >= delay) & (age - delay < window) & (delay < last) & (delay >= 0)
    if not is_seen.any():
        return Evidence(np.zeros((len(starts), _GRID.size)), 0.0, 0.0, 0.0)
    weight = np.asarray(counts[1], dtype=np.float64)[is_seen]
    pair, place = np.unique(age[is_seen] * (last + 1) + delay[is_seen], return_inverse=True)
    weight = np.bincount(place, weight).astype(np.float64)
    age, delay = pair // (last + 1), pair % (last + 1)
    curves = shifted(np.stack(starts)[:, None, :], _GRID[None, :, None])
    mass = np.maximum(np.diff(curves, axis=2, prepend=0.0)[:, :, :last], 1e-9)
    ages, of_age = np.unique(age, return_inverse=True)
    ago = ages[:, None] - np.arange(last)[None, :]
    weekday = (by_weekday([counts]) if usual is None else usual)[ago % 7]
    possible = np.log(mass @ np.where((ago >= 0) & (ago < window), weekday, 0.0).T)
    total: Array = np.log(mass) @ np.bincount(delay, weight, last) - possible @ np.bincount(of_age, weight, ages.size)
    row, best = divmod(int(np.argmax(total)), _GRID.size)
    at, step = min(max(best, 1), _GRID.size - 2), float(_GRID[1] - _GRID[0])
    each = [np.log(mass[row, k, delay]) - possible[row, k, of_age] for k in (at - 1, at + 1)]
    score = np.bincount(of_age, (each[1] - each[0]) / (2 * step) * weight)
    information = -float(total[row, at + 1] - 2 * total[row, at] + total[row, at - 1]) / step**2
    return Evidence(total, float(weight.sum()), float(np.sum(score**2)), max(information, 0.0))


def by_weekday(parts: Sequence[Counts], weeks: int = 8) -> Array:
    """Give how much is confirmed on each day of the week, from the day of observation back; 1 is the mean."""
    seen = np.full(7, 1.0)
    for delay, units, age in parts:
        ago = np.asarray(age, dtype=np.int64) - np.asarray(delay, dtype=np.int64)
        recent = (ago >= 0) & (ago < 7 * weeks)
        seen += np.bincount(ago[recent] % 7, np.asarray(units, dtype=np.float64)[recent], 7)
    found: Array = np.maximum(seen / seen.mean(), 1e-3)
    return found


def _likelihood(found: Evidence) -> Array:
    return found.log_likelihood / found.worth


def _weights(log_likelihood: Array, sd: float, log_prior: Array | float = 0.0) -> Array:
    return _normed(log_likelihood + log_prior - 0.5 * (_GRID / sd) ** 2)


def _normed(log_density: Array) -> Array:
    weight: Array = np.exp(log_density - log_density.max())
    weight /= weight.sum()
    return weight


def spread(found: Sequence[Evidence]) -> float:
    """Learn how far the curves of categories lie from their start: the sd of their shifts beyond sampling.

    Of those with _TELLS returns at least; an assumption counts as _ASSUMED_WORTH of them.
    """
    square, worth = _ASSUMED_WORTH * _BETWEEN**2, _ASSUMED_WORTH
    for one in found:
        if one.returns / one.worth < _TELLS:
            continue
        weight = _weights(_likelihood(one), 1.0).sum(0)
        mean = float(weight @ _GRID)
        square += max(mean**2 - float(weight @ (_GRID - mean) ** 2), 0.0)
        worth += 1
    return float(np.sqrt(square / worth))


def started(starts: Sequence[Array], found: Evidence | None, sd: float) -> tuple[Array, float]:
    """Give the curve a cell starts from, moved as its delays say, and what they leave open of its shift.

    How far categories lie apart is told by few, so tails are Student's: one unlike all others is believed sooner.
    """
    likelihood = _likelihood(found) if found is not None else np.zeros((len(starts), _GRID.size))
    tails = (_ASSUMED_WORTH + 1) / 2 * np.log1p((_GRID / sd) ** 2 / _ASSUMED_WORTH)
    return _mean_curve(np.stack(starts), _normed(likelihood - tails))


def halfway(curve: Array, other: Array) -> tuple[Array, float]:
    """Give the curve between two, and the doubt that it is either: what young lines show of a new window is its start.

    Whether more come back as the longer window ends is seen only then.
    """
    middle = (curve + other) / 2
    inside = _inside(middle)
    gap = (_probit(curve) - _probit(other))[inside] / 2
    return middle, float(np.sqrt(np.mean(gap**2))) if inside.any() else 0.0


def _mean_curve(starts: Array, weight: Array) -> tuple[Array, float]:
    curves = shifted(starts[:, None, :], _GRID[None, :, None])
    mean: Array = np.einsum("sv,svd->d", weight, curves)
    gap = _probit(curves) - _probit(mean)
    variance = np.einsum("sv,svd->d", weight, gap**2)
    inside = _inside(mean)
    return mean, float(np.sqrt(variance[inside].mean())) if inside.any() else sd_of_all(variance)


def sd_of_all(variance: Array) -> float:
    """Give the root of the mean variance."""
    return float(np.sqrt(variance.mean()))


def _probit(curve: Array) -> Array:
    found: Array = scipy.special.ndtri(np.clip(curve, 1e-6, 1 - 1e-6))
    return found


def _inside(curve: Array) -> NDArray[np.bool_]:
    """Give the days on which a curve says something: neither just begun nor over."""
    return (curve > 0.3) & (curve < 0.97)


def tail_doubt(curves: Sequence[Array], first: Array) -> Array:
    """Learn what the first days of a category leave open of its later ones, at each of AGES.

    Each known curve is cut at an age, matched to the window's by its delays up to there, and compared with what it came
    to be: the root mean square over categories, an assumption counting as _ASSUMED_WORTH of them.
    """
    square = np.full(AGES.size, _ASSUMED_WORTH * _TAIL**2)
    moved = shifted(first[None, :], _GRID[:, None])
    for curve in curves:
        for k, age in enumerate(AGES.astype(int)):
            if age < 1 or age >= min(curve.size, first.size) - 1:
                continue
            body = np.diff(curve[: age + 1], prepend=0.0)
            fair = np.maximum(np.diff(moved[:, : age + 1], axis=1, prepend=0.0), 1e-12)
            best = int(np.argmax(np.log(fair / fair.sum(1, keepdims=True)) @ body))
            square[k] += float(_probit(curve[age]) - _probit(moved[best, age])) ** 2
    found: Array = np.sqrt(square / (_ASSUMED_WORTH + len(curves)))
    return np.maximum.accumulate(found[::-1])[::-1]


def weekday_doubt(counts: Counts, first: Array, weeks: int = 8) -> float:
    """Measure how far G differs by the weekday it is seen on, where nothing is confirmed on some: sd of its probit.

    Seen weekly from each of seven days, G is a product of weekly steps. What agrees between even and odd weeks is of
    the weekday, the rest is chance.
    """
    delay, age = (np.asarray(x, dtype=np.int64) for x in (counts[0], counts[2]))
    units, last = np.asarray(counts[1], dtype=np.float64), first.size - 1
    inside = np.flatnonzero(_inside(first))
    if not units.size or not inside.size:
        return 0.0
    half = np.zeros((2, 7))
    for anchor in range(7):
        came, present = np.zeros((2, last + 8)), np.zeros((2, last + 8))
        for week in range(weeks):
            seen = age - anchor - 7 * week
            is_there = (seen >= 0) & (seen <= last) & (delay <= seen)
            at, weight = seen[is_there], units[is_there]
            present[week % 2] += np.bincount(at, weight, last + 8)
            came[week % 2] += np.bincount(at, weight * (delay[is_there] > at - 7), last + 8)
        for part in range(2):
            fair = np.concatenate([first, np.ones(7)])
            before = np.concatenate([np.zeros(7), first, np.ones(7)])[: last + 8]
            step = 1 - (came[part] + 100 * (fair - before)) / (present[part] + 100 * fair + 1e-9)
            step, level = np.clip(step, 1e-6, 1.0), first.copy()
            for week_end in range(last - 6, 0, -7):  # the last week is the curve's own
                begun = max(week_end - 7, 0)
                level[begun:week_end] = level[begun + 7 : week_end + 7] * step[begun + 7 : week_end + 7]
            half[part, anchor] = float(np.mean(_probit(level[inside]) - _probit(first[inside])))
    half -= half.mean(1, keepdims=True)
    return float(np.sqrt(max(float(np.mean(half[0] * half[1])), 0.0)))


@dataclass(frozen=True)
class Recent:
    """What the last two weeks say of delays: weights of `later` days x shifts, and how likely they moved at all.

    `growth` is how far the last two weeks lie beyond the last four: what still moves has gone so far again since.
    `effect` and `sd` are the mean shift and its doubt.
    """

    weight: Array
    chance: float
    growth: float
    effect: float = 0.0
    sd: float = 0.0

    @property
    def is_moved(self) -> bool:
        """Say whether it is more likely than not that delays have moved."""
        return self.chance > 0.5

    def agrees(self, other: "Recent") -> bool:
        """Say whether another move may well be the same."""
        return self.is_moved == other.is_moved and abs(self.effect - other.effect) <= 2 * np.hypot(self.sd, other.sd)

    def of(self, curve: Array) -> tuple[Array, float]:
        """Move a curve, and give the doubt that the move leaves."""
        if self.chance < 0.01:
            return curve, 0.0
        mean, doubt = _mean_curve(_put_off(curve), self.weight)
        mean = shifted(mean, self.growth)
        now = self.chance * mean + (1 - self.chance) * curve
        inside = _inside(curve)
        gap = float(np.mean(np.abs(_probit(mean) - _probit(curve))[inside])) if inside.any() else 0.0
        unsure = self.chance * (doubt**2 + self.growth**2 + (0.3 * gap) ** 2) + self.chance * (1 - self.chance) * gap**2
        return now, float(np.sqrt(unsure))


def _put_off(curve: Array) -> Array:
    """Give a curve put off by each number of days of _LATER, or brought forward."""
    last = curve.size - 1
    day = np.arange(curve.size)[None, :] - _LATER[:, None]
    moved: Array = np.where(day < 0, 0.0, curve[np.clip(day, 0, last)])
    moved[:, -1] = 1.0
    return moved


NEVER = Recent(np.full((_LATER.size, _GRID.size), 1 / (_LATER.size * _GRID.size)), 0.0, 0.0)


def recent_shifts(
    parts: Sequence[tuple[str | None, Counts, Array]], first: Array
) -> tuple[Recent, dict[str | None, Recent]]:
    """Weigh whether delays have moved in the last two or four weeks, by some days or in proportion.

    One part a cell: its category, counts and curve. Gives what all say together, and what each category says that has
    _TELLS returns to say it with: a category may move alone, or stay while others move. A spike at "as ever" stands
    against a slab of days and shifts; where all have moved, either is as likely for a category.
    """
    usual = by_weekday([counts for _, counts, _ in parts])
    found: dict[str | None, list[Evidence]] = {}
    for category, counts, curve in parts:
        put_off = list(_put_off(curve))
        each = [evidence(counts, put_off, n, usual) for n in (RECENT_DAYS_SEEN, 2 * RECENT_DAYS_SEEN)]
        found[category] = [a + b for a, b in zip(found[category], each, strict=True)] if category in found else each
    if not found:
        return NEVER, {}
    inside = _inside(first)
    moved = shifted(_put_off(first)[:, None, :], _GRID[None, :, None])
    effect = (_probit(first) - _probit(moved))[:, :, inside].mean(2) if inside.any() else np.zeros(moved.shape[:2])
    two, four = (functools.reduce(operator.add, x) for x in zip(*found.values(), strict=True))
    together = _recent((two, four), effect, _MOVES)
    chance = 0.5 if together.is_moved else _MOVES
    own = {c: _recent((a, b), effect, chance) for c, (a, b) in found.items() if a.returns / a.worth >= _TELLS}
    return together, {c: together if one.agrees(together) else one for c, one in own.items()}


def _recent(found: tuple[Evidence, Evidence], effect: Array, moves: float) -> Recent:
    of_days = -_PER_DAY * np.abs(_LATER)[:, None].astype(np.float64)
    prior = np.exp(of_days - 0.5 * (_GRID / _RECENT_SD) ** 2)
    prior /= prior.sum()
    likelihoods = [_likelihood(x) for x in found]
    odds = [_odds(x, prior) + float(np.log(moves / (1 - moves))) for x in likelihoods]
    weights = [_weights(x, _RECENT_SD, of_days) for x in likelihoods]
    means = [float(np.sum(w * effect)) for w in weights]
    sds = [float(np.sqrt(np.sum(w * (effect - m) ** 2))) for w, m in zip(weights, means, strict=True)]
    if odds[0] > 0 or odds[0] >= odds[1]:  # the last two weeks alone, and whatever still grows
        growth = float(np.clip(means[0] - means[1], -_MOST_GROWTH, _MOST_GROWTH))
        return Recent(weights[0], float(1 / (1 + np.exp(-odds[0]))), growth, means[0], sds[0])
    return Recent(weights[1], float(1 / (1 + np.exp(-odds[1]))), 0.0, means[1], sds[1])


def _odds(log_likelihood: Array, prior: Array) -> float:
    """Give the log odds that delays moved: all moves weighed by their prior against "as ever"."""
    as_ever = log_likelihood[int(np.flatnonzero(_LATER == 0)[0]), int(np.argmin(np.abs(_GRID)))]
    most = log_likelihood.max()
    moved = float(np.log(np.sum(prior * np.exp(log_likelihood - most))) + most)
    return float(np.clip(moved - as_ever, -50, 50))
