"""The probability that an order line comes back, from what is known when it is ordered.

Here: the names of the features, the fit, its calibration and its score on later orders beside its base rate's. Not here: how
features are computed (SQL in pipelines/estimate/rates.py, point in time). The one idea: good features in a plain logistic
regression reach what heavier models reach, and a linear predictor can be scored by any SQL engine.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # loads its parts when they are first asked for
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

FEATURES = (
    "item_rate",  # logit of the style's rate, shrunk to its category and country
    "size_rate",  # what the size adds to it
    "market_rate",  # logit of the category's rate in the country
    "customer_rate",  # log of the customer's returns over what their basket would give on average
    "customer_lines",  # log of 1 + lines the customer bought before
    "several_sizes",  # the order holds the style in several sizes
    "same_style",  # log of the lines of the style in the order
    "basket",  # log of the lines in the order
    "price",  # log of 1 + net price of a unit
    "discount",  # share of the price given away
    "is_gift",
    "is_store",
    "month_sin",
    "month_cos",
)


@dataclass(frozen=True)
class ReturnProbability:
    """A fitted model: logit(p) = intercept + sum of coefficient x feature, on raw features.

    `auc`, `base_auc` and `calibration_error` (ten bins) are measured on the latest `test_rows` orders, which the fit never saw.
    """

    intercept: float
    coefficients: dict[str, float]
    rows: int
    test_rows: int
    auc: float
    base_auc: float
    calibration_error: float

    def score(self, frame: Mapping[str, ArrayLike]) -> Array:
        """Give the probability of each row; `frame` holds a column per feature."""
        return np.asarray(
            scipy.special.expit(self.intercept + _matrix(frame) @ np.array([self.coefficients[f] for f in FEATURES]))
        )

    def beats_base_rate(self, margin: float = 0.005) -> bool:
        """Tell whether it orders later lines better than the product's own past rate does."""
        return self.auc > self.base_auc + margin


def _matrix(frame: Mapping[str, ArrayLike]) -> Array:
    return np.column_stack([np.asarray(frame[f], dtype=np.float64) for f in FEATURES])


def _split_labels(returned: Array) -> tuple[NDArray[np.int64], Array]:
    """Turn shares returned into weighted yes and no rows: all yes rows first, then all no rows."""
    yes = np.ones(returned.size, dtype=np.int64)
    return np.concatenate([yes, 1 - yes]), np.concatenate([returned, 1 - returned])


def _logistic(x: Array, returned: Array, strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression  # a second to import, and only fits need it

    whole = np.isin(returned, (0.0, 1.0)).all()
    model = LogisticRegression(C=strength, max_iter=500)
    if whole:
        return model.fit(x, returned.astype(np.int64))
    label, weight = _split_labels(returned)
    return model.fit(np.vstack([x, x]), label, sample_weight=weight)


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


def fit(
    frame: Mapping[str, ArrayLike], returned: ArrayLike, ordered_day: ArrayLike, base_rate: ArrayLike
) -> ReturnProbability:
    """Fit on the earliest 70% of the days' lines, calibrate (Platt) on the next 15%, score on the latest 15%.

    `returned` is the share of the line's units that came back (0 or 1 for single units), complete for every row; `base_rate` the
    rate of its product before the order, as a probability. Rows of one day stay together. Features are standardised, and the
    coefficients given back for raw ones.
    """
    x, share = _matrix(frame), np.asarray(returned, dtype=np.float64)
    day, base = np.asarray(ordered_day), np.asarray(base_rate, dtype=np.float64)
    first, second = np.quantile(day, [0.7, 0.85])
    train, hold, test = day <= first, (day > first) & (day <= second), day > second
    mean, sd = x[train].mean(0), x[train].std(0)
    sd = np.where(sd > 1e-9, sd, np.inf)
    model = _logistic((x[train] - mean) / sd, share[train], 1.0)
    weight = model.coef_[0] / sd
    intercept = float(model.intercept_[0] - weight @ mean)
    if hold.any() and 0 < share[hold].mean() < 1:
        platt = _logistic((intercept + x[hold] @ weight)[:, None], share[hold], 1e6)
        slope = float(platt.coef_[0][0])
        if slope > 0:
            weight, intercept = weight * slope, float(platt.intercept_[0]) + intercept * slope
    predicted = scipy.special.expit(intercept + x[test] @ weight)
    return ReturnProbability(
        intercept=intercept,
        coefficients=dict(zip(FEATURES, map(float, weight), strict=True)),
        rows=int(train.sum()),
        test_rows=int(test.sum()),
        auc=area_under_curve(share[test], predicted),
        base_auc=area_under_curve(share[test], scipy.special.logit(np.clip(base[test], 1e-6, 1 - 1e-6))),
        calibration_error=calibration_error(share[test], predicted) if test.any() else float("nan"),
    )
