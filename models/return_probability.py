"""The probability that an order line comes back, from what is known when it is ordered.

Here: the names of the features, the fit, its calibration, and its score on later orders: whether it orders lines better
than its base rate does, and whether it expects as much as comes, month by month. Not here: how features are computed
(SQL in pipelines/estimate/rates.py, point in time). Good features in a plain logistic regression reach what heavier
models reach, and a linear predictor can be scored by any SQL engine.

The level is not learnt: the rate of the product's category and country known at order time enters as it is, and the
other features say what a line adds to it. So a rate that drifts is followed, where a level learnt from older orders
would be left behind.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy  # loads its parts when they are first asked for
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

LEVEL = "market_rate"
SEASON = ("month_sin", "month_cos")
FEATURES = (
    LEVEL,  # logit of the rate of the category in the country, at its level of late; its coefficient is 1
    "item_rate",  # what the style adds to it
    "size_rate",  # what the size adds to that
    "customer_rate",  # log of the customer's returns over what their basket would give on average
    "customer_lines",  # log of 1 + lines the customer bought before
    "several_sizes",  # the order holds the style in several sizes
    "same_style",  # log of the lines of the style in the order
    "basket",  # log of the lines in the order
    "price",  # log of 1 + net price of a unit
    "discount",  # share of the price given away
    "is_gift",
    "is_store",
    *SEASON,
)
SEASON_DAYS = 730  # of orders, without which a season cannot be told from a drift
FEWEST_LINES = 200  # of a month that is compared
MOST_LEVEL_SD = 0.35  # of a month's level (logit), beyond which nothing is expected of a month
_LEAST_LEVEL_SD = 0.05
_Z = 2.33  # in one month of fifty what comes lies further off by chance
_SLOPE_RIDGE = 100.0  # features weigh on later lines as on earlier ones within 0.1, until many lines say otherwise


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


@dataclass(frozen=True)
class ReturnProbability:
    """A fitted model: logit(p) = intercept + sum of coefficient x feature, on raw features.

    `auc`, `base_auc` and `calibration_error` (ten bins) are measured on the latest `test_rows` orders, which the fit
    never saw, and `whole` and `months` compare there what was expected with what came. `level_sd` is the standard
    deviation of a month's level (logit) around what is expected, chance taken off; `seen_level_sd` that of the months
    before the latest orders alone.
    """

    intercept: float
    coefficients: dict[str, float]
    rows: int
    test_rows: int
    auc: float
    base_auc: float
    calibration_error: float
    level_sd: float
    seen_level_sd: float
    whole: Month
    months: tuple[Month, ...]

    def score(self, frame: Mapping[str, ArrayLike]) -> Array:
        """Give the probability of each row; `frame` holds a column per feature."""
        return np.asarray(
            scipy.special.expit(self.intercept + _matrix(frame) @ np.array([self.coefficients[f] for f in FEATURES]))
        )

    def beats_base_rate(self, margin: float = 0.005) -> bool:
        """Tell whether it orders later lines better than the product's own past rate does."""
        return self.auc > self.base_auc + margin

    def off_month(self) -> Month | None:
        """Give the month of later orders, or their whole (month 0), of which the months before expected too much.

        The one that came out least; None where all did.
        """
        off = [m for m in (*self.months, self.whole) if not m.is_as_expected(self.seen_level_sd)]
        return max(off, key=lambda m: abs(m.observed - m.expected)) if off else None


def _matrix(frame: Mapping[str, ArrayLike]) -> Array:
    return np.column_stack([np.asarray(frame[f], dtype=np.float64) for f in FEATURES])


def _split_labels(returned: Array) -> tuple[NDArray[np.int64], Array]:
    """Turn shares returned into weighted yes and no rows: all yes rows first, then all no rows."""
    yes = np.ones(returned.size, dtype=np.int64)
    return np.concatenate([yes, 1 - yes]), np.concatenate([returned, 1 - returned])


def logistic(x: ArrayLike, share: ArrayLike, offset: ArrayLike, ridge: ArrayLike) -> Array:
    """Fit logit(share) = offset + x @ weight with a ridge on each weight; gives the weights.

    `share` may be a fraction. scikit-learn's logistic regression knows no offset.

    >>> logistic([[1, 0], [1, 1]] * 50, [0.25, 0.75] * 50, [0] * 100, [0, 0]).round(3).tolist()
    [-1.099, 2.197]
    """
    from scipy.optimize import minimize

    matrix, y = np.asarray(x, dtype=np.float64), np.asarray(share, dtype=np.float64)
    base, penalty = np.asarray(offset, dtype=np.float64), np.asarray(ridge, dtype=np.float64)

    def loss(weight: Array) -> tuple[float, Array]:
        eta = base + matrix @ weight
        slope = matrix.T @ (scipy.special.expit(eta) - y) + penalty * weight
        return float((np.logaddexp(0, eta) - y * eta).sum() + 0.5 * penalty @ weight**2), slope

    def curve(weight: Array) -> Array:
        p = scipy.special.expit(base + matrix @ weight)
        return np.asarray((matrix * (p * (1 - p))[:, None]).T @ matrix + np.diag(penalty))

    start = np.zeros(matrix.shape[1])
    found = minimize(loss, start, jac=True, hess=curve, method="trust-exact", options={"gtol": 1e-6 * max(y.size, 1)})
    return np.asarray(found.x, dtype=np.float64)


def area_under_curve(returned: ArrayLike, score: ArrayLike) -> float:
    """Give the probability that a returned line scores higher than a kept one; NaN without both.

    >>> area_under_curve([0, 0, 1], [.1, .4, .3])
    0.5
    """
    from sklearn.metrics import roc_auc_score

    share, values = np.asarray(returned, dtype=np.float64), np.asarray(score, dtype=np.float64)
    label, weight = _split_labels(share)
    if share.sum() <= 0 or (1 - share).sum() <= 0:
        return float("nan")
    return float(roc_auc_score(label, np.concatenate([values, values]), sample_weight=weight))


def calibration_error(returned: ArrayLike, probability: ArrayLike, bins: int = 10) -> float:
    """Give the mean gap between predicted and observed shares over equally filled bins.

    >>> round(calibration_error([0, 1, 0, 1], [.5, .5, .5, .5], bins=2), 2)
    0.0
    """
    order = np.argsort(np.asarray(probability, dtype=np.float64), kind="stable")
    share, p = np.asarray(returned, dtype=np.float64)[order], np.asarray(probability, dtype=np.float64)[order]
    parts = zip(np.array_split(share, bins), np.array_split(p, bins), strict=True)
    return float(sum(abs(a.sum() - b.sum()) for a, b in parts) / max(p.size, 1))


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


def _level_sd(months: tuple[Month, ...]) -> float:
    """Give how much months differ in level (logit) from what is expected of them, chance taken off."""

    def logit(rate: float) -> float:
        inside = min(max(rate, 1e-4), 1 - 1e-4)
        return float(np.log(inside / (1 - inside)))

    excess = [
        (logit(m.observed) - logit(m.expected)) ** 2 - (m.se / max(m.expected * (1 - m.expected), 1e-4)) ** 2
        for m in months
    ]
    return max(float(np.mean(excess)), _LEAST_LEVEL_SD**2) ** 0.5 if excess else _LEAST_LEVEL_SD


def fit(
    frame: Mapping[str, ArrayLike],
    returned: ArrayLike,
    ordered_day: ArrayLike,
    base_rate: ArrayLike,
    month: ArrayLike | None = None,
) -> ReturnProbability:
    """Fit on the earliest 70% of the days' lines and score on the latest 15%.

    The slope is calibrated on the 15% between, the level on both.

    `returned` is the share of the line's units that came back (0 or 1 for single units), complete for every row;
    `base_rate` the rate of its product before the order, as a probability; `month` numbers the months (30 days each
    unless given). Rows of one day stay together. Features are standardised, and the coefficients given back for raw
    ones; seasonal ones are 0 under `SEASON_DAYS`.
    """
    x, share = _matrix(frame), np.asarray(returned, dtype=np.float64)
    day, base = np.asarray(ordered_day), np.asarray(base_rate, dtype=np.float64)
    months = day // 30 if month is None else np.asarray(month)
    place = FEATURES.index(LEVEL)
    level, x[:, place] = x[:, place].copy(), 0.0
    if day.max() - day.min() < SEASON_DAYS:
        x[:, [FEATURES.index(f) for f in SEASON]] = 0.0
    first, second = np.quantile(day, [0.7, 0.85])
    train, hold, test = day <= first, (day > first) & (day <= second), day > second
    mean, sd = x[train].mean(0), x[train].std(0)
    sd = np.where(sd > 1e-9, sd, np.inf)
    own_level = (months[train, None] == np.unique(months[train])).astype(
        np.float64
    )  # what a month differs by is no feature's doing
    penalty = np.r_[np.ones(len(FEATURES)), np.full(own_level.shape[1], 1e-3)]
    weight = (
        logistic(np.hstack([(x[train] - mean) / sd, own_level]), share[train], level[train], penalty)[: len(FEATURES)]
        / sd
    )
    if hold.any() and 0 < share[hold].mean() < 1:
        z = x[hold] @ weight
        _, steeper = logistic(
            np.column_stack([np.ones(z.size), z - z.mean()]), share[hold], level[hold] + z, [1e-6, _SLOPE_RIDGE]
        )
        weight = weight * float(np.clip(1 + steeper, 0.2, 5.0))
    seen = train | hold
    intercept = float(logistic(np.ones((int(seen.sum()), 1)), share[seen], level[seen] + x[seen] @ weight, [1e-6])[0])
    predicted = scipy.special.expit(level + intercept + x @ weight)
    weight[place] = 1.0
    before, later = (monthly(share[rows], predicted[rows], months[rows]) for rows in (seen, test))
    return ReturnProbability(
        intercept=float(intercept),
        coefficients=dict(zip(FEATURES, map(float, weight), strict=True)),
        rows=int(train.sum()),
        test_rows=int(test.sum()),
        auc=area_under_curve(share[test], predicted[test]),
        base_auc=area_under_curve(share[test], scipy.special.logit(np.clip(base[test], 1e-6, 1 - 1e-6))),
        calibration_error=calibration_error(share[test], predicted[test]) if test.any() else float("nan"),
        level_sd=_level_sd((*before, *later)),
        seen_level_sd=_level_sd(before),
        whole=_whole(share[test], predicted[test]),
        months=later,
    )


def _whole(share: Array, p: Array) -> Month:
    if not p.size:
        return Month(0, 0, float("nan"), float("nan"), 0.0)
    return Month(0, int(p.size), float(p.mean()), float(share.mean()), float(np.sqrt((p * (1 - p)).sum()) / p.size))
