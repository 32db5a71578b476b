"""What a probability is worth on lines that it did not see: measures, intervals, and the gate.

Here: area under the curve, losses, calibration with intervals, decision value, the comparison with past rates, drift,
and the signs that a feature knows what it cannot know. Not here: fits and splits (models/model_training.py).

Lines of one week share what that week was like, so every interval is of weeks drawn again, not of lines.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # loads its parts when they are first asked for
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
BLOCK_DAYS = 7
FEWEST_BLOCKS = 6  # weeks of later orders, with fewer of which nothing is judged
DRAWS = 2000
GATE = 0.0125  # probability that a model without worth is taken for one that has some
FEWEST_LINES = 200  # of a month that is compared
MOST_LEVEL_SD = 0.35  # of a month's level (logit), beyond which nothing is expected of a month
MOST_ALONE = 0.90  # area under the curve of one feature alone, above which it knows what came
MOST_PURE = 0.97  # share that came back of the lines with one value of a feature, above which the value tells it
MOST_WHOLE = 0.97  # area under the curve of a model, above which it knows what came
_PURE_LINES = 50
_LEAST_LEVEL_SD = 0.05
_Z = 2.33  # in one month of fifty what comes lies further off by chance


def area_under_curve(returned: ArrayLike, score: ArrayLike) -> float:
    """Give the probability that a returned line scores higher than a kept one; NaN without both.

    Shares of a line count as parts of it. Ranks by sorting: the Mann-Whitney statistic.

    >>> area_under_curve([0, 0, 1], [.1, .4, .3])
    0.5
    """
    share, values = np.asarray(returned, dtype=np.float64), np.asarray(score, dtype=np.float64)
    _, place = np.unique(values, return_inverse=True)
    yes = np.bincount(place, share)
    no = np.bincount(place, 1 - share)
    if yes.sum() <= 0 or no.sum() <= 0:
        return float("nan")
    below = np.cumsum(no) - no
    return float((yes * (below + no / 2)).sum() / (yes.sum() * no.sum()))


def calibration_error(returned: ArrayLike, probability: ArrayLike, bins: int = 10) -> float:
    """Give the mean gap between predicted and observed shares over equally filled bins.

    >>> round(calibration_error([0, 1, 0, 1], [.5, .5, .5, .5], bins=2), 2)
    0.0
    """
    order = np.argsort(np.asarray(probability, dtype=np.float64), kind="stable")
    share, p = np.asarray(returned, dtype=np.float64)[order], np.asarray(probability, dtype=np.float64)[order]
    parts = zip(np.array_split(share, bins), np.array_split(p, bins), strict=True)
    return float(sum(abs(a.sum() - b.sum()) for a, b in parts) / max(p.size, 1))


def log_losses(share: ArrayLike, probability: ArrayLike) -> Array:
    """Give the log loss of each line."""
    y, p = np.asarray(share, dtype=np.float64), np.clip(np.asarray(probability, dtype=np.float64), 1e-6, 1 - 1e-6)
    return np.asarray(-(y * np.log(p) + (1 - y) * np.log1p(-p)))


@dataclass(frozen=True)
class Month:
    """What was expected of a month's lines and what came, with the standard error of what came by chance alone."""

    month: int
    lines: int
    expected: float
    observed: float
    se: float

    def is_as_expected(self, level_sd: float) -> bool:
        """Say whether what came lies where chance, and a level that differs by `level_sd` (logit), let it lie."""
        level = level_sd * self.expected * (1 - self.expected)
        return abs(self.observed - self.expected) <= _Z * float(np.hypot(self.se, level))


def monthly(returned: ArrayLike, probability: ArrayLike, month: ArrayLike) -> tuple[Month, ...]:
    """Compare each month of at least `FEWEST_LINES` lines with what was expected of it.

    >>> monthly([1, 0] * 100, [0.25] * 200, [3] * 200)[0].is_as_expected(0.1)
    False
    """
    share, p = np.asarray(returned, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    months, place = np.unique(np.asarray(month), return_inverse=True)
    lines = np.bincount(place, minlength=len(months))
    sums = [np.bincount(place, v, len(months)) for v in (p, share, p * (1 - p))]
    return tuple(
        Month(int(m), int(n), float(e / n), float(y / n), float(np.sqrt(v) / n))
        for m, n, e, y, v in zip(months, lines, *sums, strict=True)
        if n >= FEWEST_LINES
    )


def whole(share: Array, p: Array) -> Month:
    """Compare all lines together, as month 0."""
    if not p.size:
        return Month(0, 0, float("nan"), float("nan"), 0.0)
    return Month(0, int(p.size), float(p.mean()), float(share.mean()), float(np.sqrt((p * (1 - p)).sum()) / p.size))


def level_sd(months: Sequence[Month]) -> float:
    """Give how much months differ in level (logit) from what is expected of them, chance taken off."""

    def logit(rate: float) -> float:
        inside = min(max(rate, 1e-4), 1 - 1e-4)
        return float(np.log(inside / (1 - inside)))

    excess = [
        (logit(m.observed) - logit(m.expected)) ** 2 - (m.se / max(m.expected * (1 - m.expected), 1e-4)) ** 2
        for m in months
    ]
    return max(float(np.mean(excess)), _LEAST_LEVEL_SD**2) ** 0.5 if excess else _LEAST_LEVEL_SD


@dataclass(frozen=True)
class Estimate:
    """A measure and its 95% interval by weeks drawn again; NaN bounds where there are too few weeks."""

    value: float
    low: float
    high: float


class Weeks:
    """Weeks drawn again with replacement: `DRAWS` times how often each week counts, from a fixed seed."""

    def __init__(self, day: ArrayLike) -> None:
        numbers = np.asarray(day, dtype=np.int64) // BLOCK_DAYS
        found, self.place = np.unique(numbers, return_inverse=True)
        self.blocks = int(found.size)
        draws = np.random.default_rng(0).multinomial(self.blocks, np.full(self.blocks, 1 / max(self.blocks, 1)), DRAWS)
        self.draws = draws.astype(np.float64)

    def _wider(self, tail: float) -> float:
        """Give by how much few weeks, drawn again, vary too little: as the t distribution is wider than the normal."""
        few = self.blocks - 1
        wider = scipy.special.stdtrit(few, 1 - tail) / scipy.special.ndtri(1 - tail)
        return float(np.sqrt(self.blocks / few) * wider)

    def sums(self, values: ArrayLike) -> Array:
        """Give the sum of each week."""
        return np.asarray(np.bincount(self.place, np.asarray(values, dtype=np.float64), self.blocks), dtype=np.float64)

    def ratio(self, top: ArrayLike, bottom: ArrayLike, tail: float = 0.025) -> Estimate:
        """Give a ratio of sums of lines, between the quantiles `tail` and 1 - `tail`."""
        above, below = self.sums(top), self.sums(bottom)
        if not below.sum():
            return Estimate(float("nan"), float("nan"), float("nan"))
        value = float(above.sum() / below.sum())
        if self.blocks < FEWEST_BLOCKS:
            return Estimate(value, float("nan"), float("nan"))
        totals = self.draws @ below
        drawn = (self.draws @ above)[totals > 0] / totals[totals > 0]
        low, high = np.quantile(drawn, [tail, 1 - tail])
        wider = self._wider(tail)
        return Estimate(value, value + (float(low) - value) * wider, value + (float(high) - value) * wider)

    def calibration(self, share: ArrayLike, probability: ArrayLike, bins: int = 10) -> Estimate:
        """Give the calibration error over equally filled bins with its 95% interval; chance alone makes it positive."""
        y, p = np.asarray(share, dtype=np.float64), np.asarray(probability, dtype=np.float64)
        value = calibration_error(y, p, bins)
        if self.blocks < FEWEST_BLOCKS:
            return Estimate(value, float("nan"), float("nan"))
        bin_of = np.empty(p.size, dtype=np.int64)
        for number, rows in enumerate(np.array_split(np.argsort(p, kind="stable"), bins)):
            bin_of[rows] = number
        gap = np.bincount(self.place * bins + bin_of, y - p, self.blocks * bins).reshape(self.blocks, bins)
        lines = self.draws @ self.sums(np.ones(p.size))
        low, high = np.quantile(np.abs(self.draws @ gap).sum(1) / lines, [0.025, 0.975])
        return Estimate(value, max(2 * value - float(high), 0.0), max(2 * value - float(low), 0.0))  # draws add error


@dataclass(frozen=True)
class Gate:
    """Whether a model predicts later lines better than past rates do: the gain in log loss a line, and its lower bound.

    `share` is the gain over the loss of `base`, the past rate that does best; `low` its lower bound at `GATE`.
    """

    base: str
    share: float
    low: float

    @property
    def is_open(self) -> bool:
        """Say whether the model is better, beyond chance."""
        return self.low > 0


def gate(share: ArrayLike, probability: ArrayLike, bases: Mapping[str, ArrayLike], weeks: Weeks) -> Gate:
    """Compare a model with every base on the same lines, week by week; gives the comparison it does worst in.

    A paired bootstrap: the difference in loss of each line is summed by week, and weeks are drawn again.
    """
    own, found = log_losses(share, probability), []
    for name, rate in bases.items():
        theirs = log_losses(share, rate)
        gain = weeks.ratio(theirs - own, theirs, GATE)
        found.append(Gate(name, gain.value, gain.low if gain.low == gain.low else float("-inf")))
    return min(found, key=lambda g: g.low)


@dataclass(frozen=True)
class Bin:
    """Lines of like probability: what was expected of them and what came, with its 95% interval."""

    lines: int
    expected: float
    observed: float
    low: float
    high: float


def calibration_curve(share: ArrayLike, probability: ArrayLike, weeks: Weeks, bins: int = 10) -> tuple[Bin, ...]:
    """Compare expected with observed over equally filled bins."""
    y, p = np.asarray(share, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    order, found = np.argsort(p, kind="stable"), []
    for rows in np.array_split(order, bins):
        if rows.size:
            inside = np.zeros(p.size)
            inside[rows] = 1.0
            came = weeks.ratio(y * inside, inside)
            found.append(Bin(int(rows.size), float(p[rows].mean()), came.value, max(came.low, 0), min(came.high, 1)))
    return tuple(found)


@dataclass(frozen=True)
class Decision:
    """What acting above a threshold is worth: net benefit a line of the model, of acting always; never is 0.

    In returns caught a line, each line wrongly acted on charged threshold / (1 - threshold) of a return: the threshold
    is the probability at which an action's cost equals what it saves (Vickers and Elkin 2006, Medical Decision Making
    26: decision curve analysis).
    """

    threshold: float
    model: float
    always: float
    acted: float


def decision_value(
    share: ArrayLike, probability: ArrayLike, thresholds: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
) -> tuple[Decision, ...]:
    """Give the net benefit at each threshold.

    >>> [(d.model, d.always) for d in decision_value([1, 0], [0.9, 0.1], [0.5])]
    [(0.5, 0.0)]
    """
    y, p = np.asarray(share, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    found = []
    for t in thresholds:
        act, odds = p >= t, t / (1 - t)
        model = float((y[act].sum() - (1 - y[act]).sum() * odds) / y.size)
        always = float((y.sum() - (1 - y).sum() * odds) / y.size)
        found.append(Decision(float(t), model, always, float(act.mean())))
    return tuple(found)


@dataclass(frozen=True)
class Slice:
    """One value of a cut: its lines, how well they are ordered, what was expected and what came with its interval."""

    cut: str
    value: str
    lines: int
    auc: float
    expected: float
    observed: float
    low: float
    high: float

    @property
    def is_as_expected(self) -> bool:
        """Say whether the interval of what came holds what was expected; also where there is none."""
        return not (self.expected < self.low or self.expected > self.high)


def slices(
    share: ArrayLike, probability: ArrayLike, cuts: Mapping[str, ArrayLike], weeks: Weeks, most: int = 12
) -> tuple[Slice, ...]:
    """Judge the largest values of each cut that have `FEWEST_LINES` lines."""
    y, p, found = np.asarray(share, dtype=np.float64), np.asarray(probability, dtype=np.float64), []
    for cut, values in cuts.items():
        names, place = np.unique(np.asarray(values).astype(str), return_inverse=True)
        lines = np.bincount(place, minlength=names.size)
        for at in np.argsort(-lines, kind="stable")[:most]:
            if lines[at] < FEWEST_LINES:
                continue
            rows = place == at
            came = weeks.ratio(y * rows, rows.astype(np.float64))
            auc = area_under_curve(y[rows], p[rows])
            told = (int(lines[at]), auc, float(p[rows].mean()), came.value, came.low, came.high)
            found.append(Slice(cut, str(names[at]), *told))
    return tuple(found)


@dataclass(frozen=True)
class Leak:
    """A feature that knows what it cannot know: `how` is alone, pure or rewritten, `figure` what gives it away."""

    feature: str
    how: str
    figure: float


def leaks(features: Mapping[str, ArrayLike], share: ArrayLike) -> tuple[Leak, ...]:
    """Name features that separate returned from kept lines too well to be known when they are ordered.

    Alone: their area under the curve, whichever way round, is above `MOST_ALONE`. Pure: of a single value that at least
    1% of the lines and 50 have, more than `MOST_PURE` came back (surely so, by a 99% bound), where of all lines no more
    than half as many odds did. A missing value is a value.
    """
    y, found = np.asarray(share, dtype=np.float64), []
    usual = float(y.mean()) if y.size else float("nan")
    for name, column in features.items():
        values = np.asarray(column, dtype=np.float64)
        values = np.where(np.isfinite(values), values, -1e300)
        auc = area_under_curve(y, values)
        if max(auc, 1 - auc) > MOST_ALONE:
            found.append(Leak(name, "alone", max(auc, 1 - auc)))
            continue
        _, place, lines = np.unique(values, return_inverse=True, return_counts=True)
        came = np.bincount(place, y)
        often = lines >= max(_PURE_LINES, 0.01 * y.size)
        low = came / lines - 2.33 * np.sqrt((came + 1) * (lines - came + 1) / (lines + 2.0) ** 3)
        if usual < 0.9 and (often & (low > MOST_PURE - 0.02) & (came / lines > MOST_PURE)).any():
            found.append(Leak(name, "pure", float((came / lines)[often].max())))
    return tuple(found)


def stability(expected: ArrayLike, found: ArrayLike) -> float:
    """Give the population stability index of two counts over the same bins: 0 alike, above .25 another population.

    Half a line is added to each bin. The bound is a convention of credit scoring, not a test.

    >>> round(stability([50, 50], [50, 50]), 3), round(stability([50, 50], [90, 10]), 2)
    (0.0, 0.85)
    """
    a, b = (np.asarray(v, dtype=np.float64) + 0.5 for v in (expected, found))
    a, b = a / a.sum(), b / b.sum()
    return float(((b - a) * np.log(b / a)).sum())
