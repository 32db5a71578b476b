"""The probability that an open promise will be broken, from what is known of it at that moment.

Here: the features' names, the fit, its score out of time beside the lane's own past rate. Not here: how features are
computed (SQL in pipelines/estimate/breach.py, as known at the moment of a snapshot). Past promises are looked at while
they were open, every eight days, and what became of them is known now; a logistic regression on how much time is left
and how far the goods have come tells tomorrow's breaches better than the lane's average. Work that piles up ahead of a
return takes time from it as an earlier due day would, so that a peak nobody has seen is foreseen from what was.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import scipy  # loads its parts when they are first asked for
from numpy.typing import ArrayLike, NDArray

from models.model_judgement import calibration_error

Array = NDArray[np.float64]

STAGES = ("requested", "handed_over", "carrier_scan", "received", "inspected")
FEATURES = (
    "left_days",  # days until it is due, less those that the work ahead of it takes beyond the usual
    "left_log",  # log of 1 + those days
    "behind",  # log of 1 + days that the work ahead lies beyond what is left
    "work_log",  # log of 1 + days of work before it is due, weekdays counting by how much usually ends on them
    "age_log",  # log of 1 + days since its clock started
    "free_days",  # weekend days and public holidays before it is due
    "lane_rate",  # logit of the share of its lane (market, method, carrier) that was broken before
    "backlog",  # log of the days of work that wait at its site, before it is there at all sites
    *(f"at_{s}" for s in STAGES[1:]),  # the last stage reached, against the request
    *(f"since_{s}" for s in STAGES),  # log of 1 + days in that stage
    *(f"left_{s}" for s in STAGES[1:]),  # log of 1 + days left, in that stage
    "backlog_received",  # the backlog, of goods that wait in it
)
FEWEST = 200  # snapshots to learn from, and half as many to be judged on
HALF_LIFE = 42.0  # days
SURE = 1.64  # standard errors that the gain must be above nothing; of noise one in twenty is
_STRENGTH = 1.0  # of the ridge, on standardised features


@dataclass(frozen=True)
class BreachModel:
    """A fitted model of one promise: logit(p) = intercept + sum of coefficient x feature.

    `brier` and `base_brier` (the lane's past rate) and `calibration_error` (ten bins) are of `test_rows` snapshots
    later than all the fit knew of; `gain_z` says how many standard errors over the days of snapshots its gain on the
    base is. `low` and `high` are the features' bounds in what was learnt from: beyond them nothing was seen, and
    nothing is said that was not.
    """

    intercept: float
    coefficients: dict[str, float]
    rows: int
    test_rows: int
    brier: float
    base_brier: float
    calibration_error: float
    gain_z: float = 0.0
    low: dict[str, float] = field(default_factory=dict)
    high: dict[str, float] = field(default_factory=dict)

    def score(self, frame: Mapping[str, ArrayLike]) -> Array:
        """Give the probability of each row; `frame` holds a column per feature."""
        weight = np.array([self.coefficients[f] for f in FEATURES])
        x = np.clip(
            _matrix(frame),
            [self.low.get(f, -np.inf) for f in FEATURES],
            [self.high.get(f, np.inf) for f in FEATURES],
        )
        return np.asarray(scipy.special.expit(self.intercept + x @ weight))

    def beats_base_rate(self) -> bool:
        """Tell whether it surely says later breaches better than the lane's own past rate."""
        return bool(self.gain_z > SURE)


def _matrix(frame: Mapping[str, ArrayLike]) -> Array:
    return np.column_stack([np.asarray(frame[f], dtype=np.float64) for f in FEATURES])


def _regression(x: Array, broken: Array, seen: Array) -> tuple[float, Array]:
    """Fit on standardised features, a snapshot counting half as much every HALF_LIFE days.

    (intercept, weights of raw features).
    """
    from sklearn.linear_model import LogisticRegression  # a second to import, and only fits need it

    mean, sd = x.mean(0), x.std(0)
    sd = np.where(sd > 1e-9, sd, np.inf)
    model = LogisticRegression(C=_STRENGTH, max_iter=500).fit(
        (x - mean) / sd, broken.astype(np.int64), 0.5 ** ((seen.max() - seen) / HALF_LIFE)
    )
    weight = model.coef_[0] / sd
    return float(model.intercept_[0] - weight @ mean), weight


def fit(
    frame: Mapping[str, ArrayLike], broken: ArrayLike, seen_day: ArrayLike, decided_day: ArrayLike, base_rate: ArrayLike
) -> BreachModel | None:
    """Judge on the latest quarter of the snapshots' days what earlier decided ones teach, then fit on all.

    `broken` is 0 or 1, [row]; a row is learnt from only when it was decided (`decided_day`) before the first day of the
    test began, so that nothing is known that was not known then. `base_rate` is its lane's share broken before the
    snapshot. None with fewer than FEWEST rows to learn from, half as many to judge, or without both ends.
    """
    x, y = _matrix(frame), np.asarray(broken, dtype=np.float64)
    seen, decided = np.asarray(seen_day, dtype=np.float64), np.asarray(decided_day, dtype=np.float64)
    base = np.asarray(base_rate, dtype=np.float64)
    if y.size == 0:
        return None
    cut = np.quantile(seen, 0.75)
    test, train = seen >= cut, decided < cut
    if train.sum() < FEWEST or test.sum() < FEWEST / 2 or not 0 < y[train].mean() < 1 or not 0 < y.mean() < 1:
        return None
    intercept, weight = _regression(x[train], y[train], seen[train])
    said = scipy.special.expit(intercept + x[test] @ weight)
    whole, weights = _regression(x, y, seen)
    gain = (base[test] - y[test]) ** 2 - (said - y[test]) ** 2
    return BreachModel(
        whole,
        dict(zip(FEATURES, map(float, weights), strict=True)),
        int(y.size),
        int(test.sum()),
        float(np.mean((said - y[test]) ** 2)),
        float(np.mean((base[test] - y[test]) ** 2)),
        calibration_error(y[test], said),
        _gain_z(gain, seen[test]),
        dict(zip(FEATURES, map(float, x.min(0)), strict=True)),
        dict(zip(FEATURES, map(float, x.max(0)), strict=True)),
    )


def _gain_z(gain: Array, seen: Array) -> float:
    """Give the mean gain in standard errors over the days looked at: snapshots of one day share what happened next.

    With few days Student's quantile takes the place of the normal one, so that SURE means as much. 0 with under three.

    >>> round(_gain_z(np.array([0.1, 0.1, 0.2, 0.2, 0.3, 0.3]), np.array([1.0, 1, 2, 2, 3, 3])), 1)
    1.8
    """
    days, place = np.unique(seen, return_inverse=True)
    sums = np.bincount(place, gain)
    if len(days) < 3:
        return 0.0
    t = sums.mean() / max(sums.std(ddof=1) / np.sqrt(len(days)), 1e-12)
    return float(scipy.stats.norm.isf(scipy.stats.t.sf(t, len(days) - 1)))
