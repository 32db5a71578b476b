"""The probability that an order line comes back, from what is known when it is ordered.

Here: the two kinds of model (logistic regression and boosted trees), their fit, their score, the reasons of one line,
and how they are kept as plain numbers. Not here: what features there are (models/return_features.py), whether a model
is worth using (models/model_judgement.py), and which of the two is used (models/model_training.py).

The level is not learnt: the rate of the product's category and country known at order time enters as it is, and the
other features say what a line adds to it. So a rate that drifts is followed, where a level learnt from older orders
would be left behind.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # loads its parts when they are first asked for
from numpy.typing import ArrayLike, NDArray

from models.boosted_trees import Trees, boosted
from models.return_features import COLUMN_OF, FEATURES, LEVEL, OF_PRODUCT, SEASON, SIGNS, logit, matrix_of

Array = NDArray[np.float64]
LOGISTIC, TREES = "logistic", "trees"
SEASON_DAYS = 730  # of orders, without which a season cannot be told from a drift
_SLOPE_RIDGE = 100.0  # features weigh on later lines as on earlier ones within 0.1, until many lines say otherwise
_PLACE = FEATURES.index(LEVEL)
_STEPS = 50


@dataclass(frozen=True)
class ReturnProbability:
    """A fitted model: logit(p) = market_rate + intercept + slope x (sum of coefficient x feature, or of trees).

    `reference` is the mean of each feature where it was fitted; `refused` names features that it does not look at.
    """

    kind: str
    intercept: float
    slope: float
    coefficients: Mapping[str, float]
    trees: Trees | None
    reference: Mapping[str, float]
    refused: tuple[str, ...] = ()

    def margin(self, x: ArrayLike) -> Array:
        """Give the logit of each row of a matrix of `FEATURES`."""
        matrix = np.asarray(x, dtype=np.float64)
        return np.asarray(matrix[:, _PLACE] + self.intercept + self.slope * self._raw(matrix))

    def _raw(self, matrix: Array) -> Array:
        """Give what is added to the level, before the slope."""
        if self.trees:
            return self.trees.score(matrix)
        total = np.zeros(len(matrix))  # column by column: a matrix product rounds by the place of a row among others
        for place, weight in enumerate(self._weights()):
            if weight:
                total += weight * matrix[:, place]
        return total

    def margins(self, features: Mapping[str, Array]) -> tuple[Array, Array]:
        """Give each line's logit, and that of the line had its product been usual; `features` holds a column each.

        They are `margin` of the matrix and of its `usual_product`, bit by bit; of the logistic regression no matrix
        is made.
        """
        if self.trees:
            x = matrix_of(features)
            return self.margin(x), self.margin(usual_product(x))
        level = features[LEVEL] + self.intercept
        total, usual = np.zeros(level.size), np.zeros(level.size)
        for name, weight in zip(FEATURES, self._weights(), strict=True):
            if weight:
                part = weight * features[name]
                total += part
                if name not in OF_PRODUCT:
                    usual += part
        return level + self.slope * total, level + self.slope * usual

    def _weights(self) -> Array:
        return np.array([self.coefficients.get(f, 0.0) if f != LEVEL else 0.0 for f in FEATURES])

    def score(self, frame: Mapping[str, ArrayLike]) -> Array:
        """Give the probability of each row; `frame` holds a column per feature."""
        return np.asarray(scipy.special.expit(self.margin(matrix_of(frame))))

    def reasons(self, x: ArrayLike, most: int = 3) -> list[list[tuple[str, float]]]:
        """Give the features that move each row most from one with the features' means, with what they add to the logit.

        Exact for the logistic regression, whose parts add up; of trees it is what the score loses when the feature
        alone is put to its mean.
        """
        matrix = np.asarray(x, dtype=np.float64)
        mean = np.array([self.reference[f] for f in FEATURES])
        if self.trees is None:
            parts = self.slope * self._weights() * (matrix - mean)
            parts[:, _PLACE] = matrix[:, _PLACE] - mean[_PLACE]
        else:
            whole, parts = self.margin(matrix), np.empty(matrix.shape)
            for place in range(len(FEATURES)):
                usual = matrix.copy()
                usual[:, place] = mean[place]
                parts[:, place] = whole - self.margin(usual)
        first = np.argsort(-np.abs(parts), axis=1, kind="stable")[:, :most]
        return [
            [(FEATURES[place], float(row[place])) for place in places if row[place]]
            for row, places in zip(parts, first, strict=True)
        ]

    def plain(self) -> dict[str, Any]:
        """Give the model as numbers and texts, for JSON."""
        return {
            "kind": self.kind,
            "intercept": self.intercept,
            "slope": self.slope,
            "coefficients": dict(self.coefficients),
            "trees": self.trees.plain() if self.trees else None,
            "reference": dict(self.reference),
            "refused": list(self.refused),
        }

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "ReturnProbability":
        """Read it back; a feature that it does not know weighs nothing."""
        return cls(
            plain["kind"],
            float(plain["intercept"]),
            float(plain["slope"]),
            plain["coefficients"],
            Trees.of(plain["trees"]) if plain["trees"] else None,
            {f: float(plain["reference"].get(f, 0.0)) for f in FEATURES},
            tuple(plain["refused"]),
        )


def usual_product(x: ArrayLike) -> Array:
    """Give lines as they were had their products been usual for their category."""
    matrix = np.array(x, dtype=np.float64)
    matrix[:, [FEATURES.index(f) for f in OF_PRODUCT]] = 0.0
    return matrix


def logistic(x: ArrayLike, share: ArrayLike, offset: ArrayLike, ridge: ArrayLike) -> Array:
    """Fit logit(share) = offset + x @ weight with a ridge on each weight, by Newton's steps; gives the weights.

    `share` may be a fraction. scikit-learn's logistic regression knows no offset.

    >>> logistic([[1, 0], [1, 1]] * 50, [0.25, 0.75] * 50, [0] * 100, [0, 0]).round(3).tolist()
    [-1.099, 2.197]
    """
    matrix, y = np.asarray(x, dtype=np.float64), np.asarray(share, dtype=np.float64)
    base, penalty = np.asarray(offset, dtype=np.float64), np.asarray(ridge, dtype=np.float64)

    def loss(weight: Array) -> float:
        eta = base + matrix @ weight
        return float((np.logaddexp(0, eta) - y * eta).sum() + 0.5 * penalty @ weight**2)

    weight = np.zeros(matrix.shape[1])
    at = loss(weight)
    for _ in range(_STEPS):
        p = scipy.special.expit(base + matrix @ weight)
        slope = matrix.T @ (p - y) + penalty * weight
        curve = (matrix * (p * (1 - p))[:, None]).T @ matrix + np.diag(penalty + 1e-9)
        step, further = np.linalg.solve(curve, slope), 1.0
        while (reached := loss(weight - further * step)) > at + 1e-9 * abs(at) and further > 1e-6:
            further /= 2
        weight, gain, at = weight - further * step, at - reached, reached
        if gain <= 1e-10 * max(abs(at), 1.0):
            break
    return weight


@dataclass(frozen=True)
class Lines:
    """Lines to learn from: their features, the share of each that came back, and when they were ordered.

    `x` is a matrix of `FEATURES`, `share` 0 to 1, `day` and `month` are numbers.
    """

    x: Array
    share: Array
    day: NDArray[np.int64]
    month: NDArray[np.int64]

    def of(self, rows: NDArray[Any]) -> "Lines":
        """Choose some of them."""
        return Lines(self.x[rows], self.share[rows], self.day[rows], self.month[rows])

    def has_season(self) -> bool:
        """Say whether a season can be learnt from them."""
        return bool(self.day.max() - self.day.min() >= SEASON_DAYS)


def fit(lines: Lines, kind: str, refused: tuple[str, ...] = (), slope: float | None = None) -> ReturnProbability:
    """Fit a model of one kind; with a `slope` given to all lines, else to the earlier 80% of the days.

    Without it the slope is measured on the later 20%, which the fit does not see. The level is of all lines. What a
    month differs by is no feature's doing: each month has its own level while features are weighed. Features refused,
    and seasonal ones under `SEASON_DAYS`, weigh nothing.
    """
    if slope is None:
        at = np.quantile(lines.day, 0.8)
        early, late = lines.of(lines.day <= at), lines.of(lines.day > at)
        has_late = late.share.size and 0 < late.share.mean() < 1
        first = fit(early, kind, refused, 1.0)
        return _levelled(first, lines, _slope(first, late) if has_late else 1.0)
    unseen = {*refused, LEVEL, *(() if lines.has_season() else SEASON)}
    x = lines.x.copy()
    x[:, [FEATURES.index(f) for f in unseen]] = 0.0
    mean = np.array([lines.x[:, i].mean() if lines.x.size else 0.0 for i in range(len(FEATURES))])
    reference = dict(zip(FEATURES, map(float, mean), strict=True))
    weights, trees = {}, None
    if kind == LOGISTIC:
        weights = _weigh(x, lines)
    else:
        trees = _boost(x, lines)
    model = ReturnProbability(kind, 0.0, 1.0, weights, trees, reference, tuple(refused))
    return _levelled(model, lines, slope)


def _weigh(x: Array, lines: Lines) -> dict[str, float]:
    """Weigh standardised features; gives coefficients of raw ones."""
    sd = x.std(0)
    varies = sd > 1e-9
    months = np.unique(lines.month)
    own_level = (lines.month[:, None] == months).astype(np.float64)
    penalty = np.r_[np.ones(int(varies.sum())), np.full(months.size, 1e-3)]
    both = np.hstack([((x - x.mean(0)) / np.where(varies, sd, 1.0))[:, varies], own_level])
    weights = np.zeros(len(FEATURES))
    weights[varies] = logistic(both, lines.share, lines.x[:, _PLACE], penalty)[: int(varies.sum())] / sd[varies]
    return dict(zip(FEATURES, map(float, weights), strict=True)) | {LEVEL: 1.0}


def _boost(x: Array, lines: Lines) -> Trees:
    """Boost what features add to the level.

    Trees know no offset. A line that its level and month expect to come back with probability q counts (1/q) as
    returned and 1 / (1 - q) as kept: what is then learnt is the log odds less those of q (King and Zeng 2001, Political
    Analysis 9: prior correction).
    """
    months, place = np.unique(lines.month, return_inverse=True)
    own = (place[:, None] == np.arange(months.size)).astype(np.float64)
    level = lines.x[:, _PLACE]
    level = level + own @ logistic(own, lines.share, level, np.full(months.size, 1.0))
    q = np.clip(scipy.special.expit(level), 0.02, 0.98)
    yes, no = lines.share > 0, lines.share < 1
    weight = np.r_[(lines.share / q)[yes], ((1 - lines.share) / (1 - q))[no]]
    label = np.r_[np.ones(int(yes.sum()), dtype=np.int64), np.zeros(int(no.sum()), dtype=np.int64)]
    both = np.vstack([x[yes], x[no]])
    return boosted(both, label, weight / weight.mean(), SIGNS)


def _slope(model: ReturnProbability, late: Lines) -> float:
    """Say how far what the features add is to be stretched, from lines that the fit did not see."""
    raw, level = model._raw(late.x), late.x[:, _PLACE]
    both = np.column_stack([np.ones(raw.size), raw - raw.mean()])
    _, steeper = logistic(both, late.share, level + raw, [1e-6, _SLOPE_RIDGE])
    return float(np.clip(1 + steeper, 0.05, 3.0))


def _levelled(model: ReturnProbability, lines: Lines, slope: float) -> ReturnProbability:
    """Set the slope, and the level to what came of the lines."""
    stretched = lines.x[:, _PLACE] + slope * model._raw(lines.x)
    level = float(logistic(np.ones((lines.share.size, 1)), lines.share, stretched, [1e-6])[0])
    return ReturnProbability(model.kind, level, slope, model.coefficients, model.trees, model.reference, model.refused)


def columns_with(refused: tuple[str, ...]) -> tuple[str, ...]:
    """Add to refused features those that rest on the same column of the order line.

    >>> columns_with(("price",))
    ('basket_value', 'discount', 'price', 'relative_price')
    """
    of = {COLUMN_OF[f] for f in refused if f in COLUMN_OF}
    return tuple(sorted({*refused, *(f for f, column in COLUMN_OF.items() if column in of)}))


def base_model(rate: ArrayLike, share: ArrayLike) -> tuple[float, float]:
    """Fit how a past rate is to be read as a probability: level and slope of its logit.

    >>> level, slope = base_model([0.2, 0.4] * 500, [0.2, 0.4] * 500)
    >>> round(abs(level), 2), round(slope, 2)
    (0.0, 1.0)
    """
    x = logit(rate)
    found = logistic(np.column_stack([np.ones(x.size), x]), np.asarray(share), np.zeros(x.size), [1e-6, 1e-3])
    return float(found[0]), float(found[1])
