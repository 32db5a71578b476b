"""What its own past says of a product's rate, so that whoever was chosen for that past is not judged against it.

Here: the rate each product would have in some weeks by the weeks before. Not here: controls, errors, the verdict
(models/controls.py, models/effect.py). A product picked for a bad rate, a jump or a high score was partly unlucky: its
own weeks before, taken as they are, promise a fall that would have come anyway. So the past is shrunk, each stretch of
it by as much as products left alone show it to last: the best linear prediction (Buehlmann and Straub, Bulletin de
l'Association des Actuaires Suisses 70, 1970; Harville, Annals of Statistics 4, 1976) with covariances from moments.
What is predicted from all that a choice could rest on is not biased by the choice.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Mask = NDArray[np.bool_]

STRETCHES = (4, 12, 26, 52)  # weeks before; each stretch of the past runs from one to the next
_USUAL = 0.05  # relative variance between products, to weigh them with before it is known
_LEAST = 0.1  # of the category's rate: no prediction is lower
_UNKNOWN = 1e9  # variance of a stretch without sales


class Predicted(NamedTuple):
    """One entry a product: its rate in the weeks after, had it been left alone, and how sure that is.

    `open` is the relative variance of the rate that more units before would take away, `taken` the log of what the
    weeks before promised as they are over what was predicted: the return to the mean that is foreseen.
    """

    rate: Array
    open: Array
    taken: Array


class Past(NamedTuple):
    """How far each product lay from its category in each stretch, [product, stretch], and the variance by chance."""

    away: Array
    chance: Array


def _stretches(first: int, end: int) -> list[slice]:
    edges = [0, *STRETCHES]
    spans = [(max(end - far, first), end - near) for near, far in pairwise(edges)]
    return [slice(a, b) for a, b in spans if b > a]


def _against_category(returned: Array, exposure: Array, category: Index, pool: Mask) -> tuple[Array, Array, Array]:
    """Give relative distance to the category's mean, its variance by chance, and the mean, one entry a product."""
    size = int(category.max(initial=0)) + 1
    r, n = (np.bincount(category[pool], x[pool], size) for x in (returned, exposure))
    mean = np.clip((r + 0.5) / (n + 1.0), 1e-6, 1 - 1e-6)[category]
    has = exposure > 0
    away = np.where(has, returned / np.where(has, exposure, 1.0) / mean - 1, 0.0)
    chance = np.where(has, (1 - mean) / mean / np.where(has, exposure, 1.0), _UNKNOWN)
    return away, chance, mean


def covariance_of(past: Past, pool: Mask) -> tuple[Array, Array]:
    """Give the covariance of stretches that lasts, [stretch, stretch], and each one's multiple of chance."""
    away, chance = past.away[pool], past.chance[pool]
    weight = 1 / (_USUAL + chance)
    found = (weight * away).T @ (weight * away) / np.maximum(weight.T @ weight, 1e-300)
    wider = np.ones(away.shape[1])
    for k in range(away.shape[1]):
        has = chance[:, k] < _UNKNOWN
        design = np.column_stack([np.ones(has.sum()), chance[has, k]]) * weight[has, k, None]
        if has.sum() > 2:
            wider[k] = max(float(nnls(design, away[has, k] ** 2 * weight[has, k])[0][1]), 1.0)
        excess = away[has, k] ** 2 - wider[k] * chance[has, k]
        of = weight[has, k] ** 2
        found[k, k] = max(float(of @ excess) / max(float(of.sum()), 1e-300), 0.0)
    values, vectors = np.linalg.eigh(found)
    return (vectors * np.maximum(values, 0.0)) @ vectors.T, wider


def _limited(away: Array, plain: Array, came: Array, chance: Array, pool: Mask) -> Array:
    """Give less pull to the ends, as far as products left alone show it, and never beyond what was seen (`plain`).

    Rates with long tails return to the mean less at the ends than in the middle (B. Efron and C. Morris, JASA 66, 1971:
    limited translation). The slope beyond one standard deviation is fitted on the pool, and pulled to none by as much
    as it may be chance (W. James and C. Stein, 1961).
    """
    weight = np.where(pool, 1 / (_USUAL + chance), 0.0)
    weight = weight / max(float(weight.sum()), 1e-300)
    tail = np.sign(away) * np.maximum(np.abs(away) - np.sqrt(float(weight @ away**2)), 0.0)
    left = came - away
    left = left - float(weight @ left)
    of = float(weight @ tail**2)
    if of <= 1e-12:
        return away
    slope = float(weight @ (tail * left)) / of
    error = float((weight * tail) ** 2 @ (left - slope * tail) ** 2) / of**2
    slope = max(slope, 0.0) * max(1 - error / max(slope**2, 1e-300), 0.0)
    room = np.maximum(np.abs(plain) - np.abs(away), 0.0)
    return np.asarray(away + np.sign(tail) * np.clip(slope * np.abs(tail), 0.0, room), dtype=np.float64)


def predicted(
    returned: Array, exposure: Array, category: Index, pool: Mask, known_from: Index, end: int, after: slice
) -> Predicted:
    """Predict each product's rate in the weeks `after` from the stretches of its past that end at column `end`.

    `returned` and `exposure`: a row a product, a column a week; `pool` the products left alone, from which is learned
    how past and future hang together; `known_from` the first column that tells of each product (what was before an
    earlier action does not).

    >>> sold = np.full((400, 20), 10.0)
    >>> came = np.random.default_rng(1).binomial(10, 0.3, sold.shape).astype(float)  # all alike: luck alone
    >>> everyone = np.ones(400, dtype=bool)
    >>> of = predicted(came, sold, np.zeros(400, int), everyone, np.zeros(400, int), 12, slice(12, 20))
    >>> bool(np.ptp(of.rate) < 0.3 * np.ptp(came[:, :12].mean(1) / 10))
    True
    """
    columns = np.arange(exposure.shape[1])
    is_known = columns >= known_from[:, None]
    parts = []
    for weeks in (*_stretches(0, end), after):
        seen = is_known[:, weeks]
        r, n = (np.where(seen, x[:, weeks], 0.0).sum(1) for x in (returned, exposure))
        parts.append(_against_category(r, n, category, pool))
    past = Past(*(np.column_stack([p[i] for p in parts]) for i in (0, 1)))
    covariance, wider = covariance_of(past, pool)
    lasting, reaching = covariance[:-1, :-1], covariance[:-1, -1]
    scatter = lasting + np.eye(len(lasting)) * (wider * past.chance)[:, None, :-1]
    pull = np.linalg.solve(scatter, np.broadcast_to(reaching, past.away[:, :-1].shape)[..., None])[..., 0]
    away = (pull * past.away[:, :-1]).sum(1)
    plain = away / np.maximum(pull.sum(1), 1e-9)
    away = _limited(away, plain, past.away[:, -1], past.chance[:, -1], pool)
    factor = np.maximum(1 + away, _LEAST)
    taken = np.log(np.maximum(1 + plain, _LEAST) / factor)
    most = float(reaching @ np.linalg.pinv(lasting, hermitian=True) @ reaching)
    left = np.maximum(most - pull @ reaching, 0.0)
    return Predicted(np.clip(parts[-1][2] * factor, 1e-6, 1 - 1e-6), left / factor**2, taken)
