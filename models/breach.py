"""The probability that an open promise will be broken, from what is known of it at that moment.

Here: the features' names, the fit, its score out of time beside the lane's own past rate. Not here: how features are
computed (SQL in pipelines/estimate/breach.py, as known at the moment of a snapshot). Past promises are looked at while
they were open, every eight days, and what became of them is known now. What tells most is how many days are left once
its turn has come in the queue before it, so a peak nobody has seen is foreseen from what was; and what became of a
promise tells what would have, had its day been another: copies with other days teach how a few days more or less count,
also where none were seen. Boosted trees bend where a probability falls from one to nothing within a day; a straight
line said .75 where .6 were broken.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # loads its parts when they are first asked for
from numpy.typing import ArrayLike, NDArray

from models.boosted_trees import Trees, boosted
from models.model_judgement import calibration_error

Array = NDArray[np.float64]

STAGES = ("requested", "handed_over", "carrier_scan", "received", "inspected")
FEATURES = (
    "left_days",  # days until it is due, less those until its turn has come
    "stage_days",  # days in the last stage reached
    "free_days",  # weekend days and public holidays among those
    "lane_rate",  # logit of the share of its lane (market, method, carrier) that was broken before, less that of all
    *(f"at_{s}" for s in STAGES[1:]),  # the last stage reached, against the request
)
FEWEST = 200  # snapshots to learn from, and half as many to be judged on
HALF_LIFE = 120.0  # days
SURE = 1.64  # standard errors that the gain must be above nothing; of noise one in twenty is
_SIGNS = [{"left_days": -1, "lane_rate": 1}.get(f, 0) for f in FEATURES]  # 1 rises, -1 falls
_ROUNDS, _RATE = 70, 0.1  # of the trees
_SMALLEST, _LEAVES = 150, 15  # rows in a leaf, fewer where there would not be so many leaves


@dataclass(frozen=True)
class BreachModel:
    """A fitted model of one promise: the logit of its probability is a sum of trees.

    `brier` and `base_brier` (the lane's past rate) and `calibration_error` (ten bins) are of `test_rows` snapshots
    later than all the fit knew of; `gain_z` says how many standard errors over the days of snapshots its gain on the
    base is. A tree goes on level beyond what was learnt from, so nothing is said that was not seen.
    """

    trees: Trees
    rows: int
    test_rows: int
    brier: float
    base_brier: float
    calibration_error: float
    gain_z: float = 0.0

    def score(self, frame: Mapping[str, ArrayLike]) -> Array:
        """Give the probability of each row; `frame` holds a column per feature."""
        return np.asarray(scipy.special.expit(self.trees.score(_matrix(frame))))

    def beats_base_rate(self) -> bool:
        """Tell whether it surely says later breaches better than the lane's own past rate."""
        return bool(self.gain_z > SURE)

    def plain(self) -> dict[str, Any]:
        """Give it as numbers and lists, for JSON."""
        return {**self.__dict__, "trees": self.trees.plain()}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "BreachModel":
        """Read it back; raises ValueError where it is none."""
        return cls(**{**plain, "trees": Trees.of(plain["trees"])})


def _matrix(frame: Mapping[str, ArrayLike]) -> Array:
    return np.column_stack([np.asarray(frame[f], dtype=np.float64) for f in FEATURES])


def _trees(x: Array, broken: Array, seen: Array) -> Trees:
    """Fit the trees, a snapshot counting half as much every HALF_LIFE days."""
    weight = 0.5 ** ((seen.max() - seen) / HALF_LIFE)
    smallest = min(_SMALLEST, len(x) // _LEAVES)
    return boosted(x, broken.astype(np.int64), weight, _SIGNS, rounds=_ROUNDS, rate=_RATE, smallest=smallest)


def fit(
    frame: Mapping[str, ArrayLike],
    broken: ArrayLike,
    seen_day: ArrayLike,
    decided_day: ArrayLike,
    base_rate: ArrayLike,
    is_copy: ArrayLike | None = None,
) -> BreachModel | None:
    """Judge on the latest quarter of the snapshots' days what earlier decided ones teach, then fit on all.

    `broken` is 0 or 1, [row]; a row is learnt from only when it was decided (`decided_day`) before the first day of the
    test began, so that nothing is known that was not known then. `base_rate` is its lane's share broken before the
    snapshot. Rows that are copies teach and are not judged on. None with fewer than FEWEST rows to learn from, half as
    many to judge, or without both ends.
    """
    x, y = _matrix(frame), np.asarray(broken, dtype=np.float64)
    seen, decided = np.asarray(seen_day, dtype=np.float64), np.asarray(decided_day, dtype=np.float64)
    base = np.asarray(base_rate, dtype=np.float64)
    own = np.full(y.size, True) if is_copy is None else ~np.asarray(is_copy, dtype=bool)
    if not own.any():
        return None
    cut = np.quantile(np.unique(seen[own]), 0.75)
    test, train = own & (seen >= cut), decided < cut
    known, seen_ones = y[train & own], y[own]
    if known.size < FEWEST or test.sum() < FEWEST / 2 or not 0 < known.mean() < 1 or not 0 < seen_ones.mean() < 1:
        return None
    said = scipy.special.expit(_trees(x[train], y[train], seen[train]).score(x[test]))
    gain = (base[test] - y[test]) ** 2 - (said - y[test]) ** 2
    return BreachModel(
        _trees(x, y, seen),
        int(own.sum()),
        int(test.sum()),
        float(np.mean((said - y[test]) ** 2)),
        float(np.mean((base[test] - y[test]) ** 2)),
        calibration_error(y[test], said),
        _gain_z(gain, seen[test]),
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
