"""Products: rates of few units, which of them stand out, and how sure that is.

Here: what a product's rate is likely to be from its own units and from products like it, which products are above their
category, and how many of the named ones may be wrong. Not here: SQL, files, what counts as a return. The one idea: what
is known of other products is a prior, a beta distribution whose a and b count like returned and kept units, so that few
units move it little and many decide.

`exposure` is the sum of G over a product's units (models/rates.py), so that young units count for what could have come.
Both counts may be divided by a design effect. Recipes and what they reach: empirical Bayes after B. Efron, Large-Scale
Inference (2010), chapters 1, 5 and 11.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy  # loads its parts when they are first asked for
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincc, betaincinv, betaln, expit, log_expit, logit

Array = NDArray[np.float64]
Codes = NDArray[np.int64]

FEWEST_UNITS = 20  # of a product whose weeks tell how much a rate moves
BORROWED = 50.0  # units that a market's other categories are worth for a category's rate there
WELL_ABOVE = 1.25  # a product stands out when its rate is above so many times its category's
GRID = np.linspace(-2.5, 2.5, 101)  # log odds ratio of a product to its category
_SMOOTH = 0.12  # standard deviation of the kernel that keeps the fitted distribution from collapsing onto points
_STEPS = 60
_FITTED = 4_000  # products a distribution is fitted on at most, evenly chosen
_WIDEST, _NARROWEST = 1.5, 0.02  # bounds of a spread, on the log odds


def _floats(values: ArrayLike) -> Array:
    return np.asarray(values, dtype=np.float64)


def _some(usable: NDArray[np.bool_]) -> Codes:
    """Give the places of at most _FITTED usable entries, evenly chosen."""
    places = np.flatnonzero(usable)
    return places[:: max(1, -(-places.size // _FITTED))]


# -- a category's products ---------------------------------------------------------------------------------------------


def fit_beta_binomial(returned: ArrayLike, exposure: ArrayLike) -> tuple[float, float]:
    """Fit how rates vary between products of a category: a, b of a beta prior, by marginal likelihood.

    Of very many products an even sample decides. Fewer than three with units: the mean with a prior worth 20 units.

    >>> a, b = fit_beta_binomial([30] * 50, [100] * 50)
    >>> round(a / (a + b), 2)
    0.3
    """
    r = _floats(returned)
    n = np.maximum(_floats(exposure), r)
    used = _some(n > 0)
    r, n = r[used], n[used]
    mean = (r.sum() + 0.5) / (n.sum() + 1.0)
    if r.size < 3:
        return float(20 * mean), float(20 * (1 - mean))

    def loss(x: Array) -> float:
        kappa = np.exp(np.clip(x[1], 0.0, 9.0))
        m = expit(np.clip(x[0], -12, 12))
        a, b = m * kappa, (1 - m) * kappa
        outside = max(0.0, abs(x[1] - 4.5) - 4.5)
        return float(-np.sum(betaln(r + a, n - r + b) - betaln(a, b)) + outside**2)

    best = scipy.optimize.minimize(
        loss, np.array([logit(mean), np.log(20.0)]), method="Nelder-Mead", options={"xatol": 1e-3, "fatol": 1e-3}
    )
    kappa = float(np.exp(np.clip(best.x[1], 0.0, 9.0)))
    m = float(expit(np.clip(best.x[0], -12, 12)))
    return m * kappa, (1 - m) * kappa


def block_effect(product: ArrayLike, returned: ArrayLike, exposure: ArrayLike, fewest: float = FEWEST_UNITS) -> float:
    """Measure how much more a product's rate moves from week to week than independent units would: at least 1.

    One entry a block (a week of a product, or an order in it): the product's number from 0 and the block's sums.
    Pearson's chi2 over its degrees of freedom, within products of at least `fewest` units.

    >>> block_effect([0, 0], [20, 0], [20, 20])
    40.0
    """
    which = np.asarray(product, dtype=np.int64)
    n = _floats(exposure)
    r = np.minimum(_floats(returned), n)
    size = int(which.max()) + 1 if which.size else 0
    total, came = np.bincount(which, n, size), np.bincount(which, r, size)
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = came / total
    used = (n > 0) & (total[which] >= fewest) & (came[which] > 0) & (came[which] < total[which])
    freedom = used.sum() - np.unique(which[used]).size
    if freedom <= 0:
        return 1.0
    p, m = rate[which[used]], n[used]
    chi2 = np.sum((r[used] - m * p) ** 2 / (m * p * (1 - p)))
    return max(1.0, float(chi2 / freedom))


def _log_likelihood(returned: Array, exposure: Array, usual: Array) -> Array:
    rates, of = np.unique(usual, return_inverse=True)  # a category's products share one
    log_odds = logit(np.clip(rates, 1e-6, 1 - 1e-6))[:, None] + GRID
    came, kept = (np.asarray(log_expit(x), dtype=np.float64)[of] for x in (log_odds, -log_odds))
    return returned[:, None] * came + (exposure - returned)[:, None] * kept


def _posterior(returned: ArrayLike, exposure: ArrayLike, usual: ArrayLike, weight: ArrayLike) -> Array:
    r = _floats(returned)
    n, m = np.maximum(_floats(exposure), r), _floats(usual)
    log_density = _log_likelihood(r, n, m) + np.log(np.maximum(_floats(weight), 1e-300))
    density = np.exp(log_density - log_density.max(1, keepdims=True))
    return np.asarray(density / density.sum(1, keepdims=True), dtype=np.float64)


def fit_spread(returned: ArrayLike, exposure: ArrayLike, usual: ArrayLike) -> Array:
    """Fit how products lie around their categories without assuming a shape.

    A weight for each point of GRID, summing to 1. `usual` is the rate of each product's category. Non-parametric
    maximum likelihood pooled over the categories by EM, smoothed after each step (B. W. Silverman and others, JRSS B
    52, 1990), on an even sample when there are very many products.

    >>> weight = fit_spread([30] * 40, [100] * 40, [0.3] * 40)
    >>> bool(abs(np.sum(weight * GRID)) < 0.05), round(float(weight.sum()), 6)
    (True, 1.0)
    """
    r = _floats(returned)
    n, m = np.maximum(_floats(exposure), r), _floats(usual)
    is_used = _some((n > 0) & np.isfinite(m))
    kernel = np.exp(-0.5 * ((GRID[:, None] - GRID) / _SMOOTH) ** 2)
    kernel /= kernel.sum(0)
    weight = np.exp(-0.5 * (GRID / 0.5) ** 2)
    weight /= weight.sum()
    if not is_used.size:
        return np.asarray(weight, dtype=np.float64)
    log_likelihood = _log_likelihood(r[is_used], n[is_used], m[is_used])
    likelihood = np.exp(log_likelihood - log_likelihood.max(1, keepdims=True))
    for _ in range(_STEPS):
        weight = kernel @ (weight * (likelihood.T @ (1 / (likelihood @ weight))))
        weight /= weight.sum()
    return np.asarray(weight, dtype=np.float64)


def _beta(returned: ArrayLike, exposure: ArrayLike, a: ArrayLike, b: ArrayLike) -> tuple[Array, Array]:
    r = _floats(returned)
    return _floats(a) + r, _floats(b) + np.maximum(_floats(exposure) - r, 0.0)


def shrunk_rate(
    returned: ArrayLike, exposure: ArrayLike, a: ArrayLike, b: ArrayLike, level: float = 0.9
) -> tuple[Array, Array, Array]:
    """Pull a product's rate towards what its likes do: (mean, low, high) of the posterior beta.

    >>> [round(float(x), 2) for x in shrunk_rate(2, 3, 6, 14)]
    [0.35, 0.2, 0.52]
    """
    alpha, beta = _beta(returned, exposure, a, b)
    tail = (1 - level) / 2
    return alpha / (alpha + beta), betaincinv(alpha, beta, tail), betaincinv(alpha, beta, 1 - tail)


def probability_above(
    returned: ArrayLike, exposure: ArrayLike, a: ArrayLike, b: ArrayLike, threshold: ArrayLike
) -> Array:
    """Give the posterior probability that a product's rate is above `threshold`.

    >>> round(float(probability_above(2, 3, 6, 14, 0.3)), 2)
    0.67
    """
    alpha, beta = _beta(returned, exposure, a, b)
    return np.asarray(betaincc(alpha, beta, np.clip(_floats(threshold), 0, 1)), dtype=np.float64)


def probability_well_above(
    returned: ArrayLike, exposure: ArrayLike, a: ArrayLike, b: ArrayLike, weight: ArrayLike | None = None
) -> Array:
    """Give how sure it is that a product's rate is above WELL_ABOVE x its category's.

    By the more doubtful of two opinions.

    The category's beta prior, and the distribution that `fit_spread` found (None: the first alone). Either is wrong
    where its assumption is; the smaller probability kept false flags under the bar in every world it was tried in.

    >>> bool(probability_well_above(60, 100, 6, 14) > 0.99), bool(probability_well_above(2, 3, 6, 14) < 0.5)
    (True, True)
    """
    prior = _floats(a) / (_floats(a) + _floats(b))
    threshold = np.clip(WELL_ABOVE * prior, 0, 1)
    surely = probability_above(returned, exposure, a, b, threshold)
    if weight is None:
        return surely
    usual = np.broadcast_to(prior, surely.shape)
    known = np.flatnonzero(np.isfinite(surely))
    step = GRID[1] - GRID[0]
    cut = logit(np.clip(WELL_ABOVE * usual[known], 1e-6, 1 - 1e-9)) - logit(np.clip(usual[known], 1e-6, 1 - 1e-6))
    above = np.clip((GRID + step / 2 - cut[:, None]) / step, 0, 1)
    r, n = (np.broadcast_to(_floats(x), surely.shape)[known] for x in (returned, exposure))
    second = np.sum(_posterior(r, n, usual[known], weight) * above, 1)
    found = surely.copy()
    found[known] = np.minimum(surely[known], second)
    return found


def expected_excess(
    returned: ArrayLike, exposure: ArrayLike, a: ArrayLike, b: ArrayLike, threshold: ArrayLike
) -> Array:
    """Give E[(rate - threshold)+] of a product: times units and unit cost, the money at stake that lists rank by.

    >>> round(float(expected_excess(0, 0, 1, 1, 0.5)), 3)
    0.125
    """
    alpha, beta = _beta(returned, exposure, a, b)
    m = np.clip(_floats(threshold), 0, 1)
    return np.asarray(
        alpha / (alpha + beta) * betaincc(alpha + 1, beta, m) - m * betaincc(alpha, beta, m), dtype=np.float64
    )


def flagged(probability: ArrayLike, false_share: float = 0.1) -> NDArray[np.bool_]:
    """Flag as many as possible while the expected share of false flags stays at most `false_share`.

    Bayesian false discovery rate: the longest list, surest first, whose mean of 1 - probability keeps the bar.

    >>> flagged([.99, .5, .85, .2]).tolist()
    [True, False, True, False]
    """
    doubt = 1 - _floats(probability)
    order = np.argsort(doubt, kind="stable")
    ranked = np.cumsum(doubt[order]) / np.arange(1, doubt.size + 1)
    count = int(np.max(np.flatnonzero(ranked <= false_share), initial=-1)) + 1
    mask = np.zeros(doubt.size, dtype=np.bool_)
    mask[order[:count]] = True
    return mask


# -- who bought --------------------------------------------------------------------------------------------------------


def mix_ratio(
    product: ArrayLike,
    family: ArrayLike,
    cell: ArrayLike,
    returned: ArrayLike,
    exposure: ArrayLike,
    others: tuple[Array, Array],
) -> Array:
    """Give how much more its category returns where a product was sold than everywhere, one entry a product.

    One row a product and cell (a market and channel): the product's, its category's and the cell's number from 0, and
    its sums there. `others`: returned and exposure of all products, [category, cell]. Indirect standardisation (N. E.
    Breslow and N. E. Day, Statistical Methods in Cancer Research II, 1987, chapter 2) without the product itself, so
    that it is not compared with what it did; cells of few units borrow from the cell's other categories.

    >>> came, sold = np.array([[40.0, 20.0]]), np.array([[100.0, 100.0]])
    >>> mix_ratio([0, 1], [0, 0], [0, 1], [0, 0], [1, 1], (came, sold)).round(1).tolist()
    [1.3, 0.7]
    """
    j, f, c = (np.asarray(x, dtype=np.int64) for x in (product, family, cell))
    r, n = _floats(returned), _floats(exposure)
    came, sold = others[0], np.maximum(others[1], others[0])
    rate = (came.sum(1) + 0.5) / (sold.sum(1) + 1.0)
    of_cell = (came.sum(0) + 0.5) / (sold.T @ rate + 0.5)
    likely = np.clip(rate[:, None] * of_cell, 1e-6, 1 - 1e-6)

    def borrowed(of_came: Array, of_sold: Array, prior: Array) -> Array:
        return (np.maximum(of_came, 0.0) + BORROWED * prior) / (np.maximum(of_sold, 0.0) + BORROWED)

    whole = borrowed(came, sold, likely)
    left = np.maximum(sold[f, c] - n, 0.0)
    alone = borrowed(came[f, c] - r, left, likely[f, c])
    size = int(j.max(initial=-1)) + 1
    units = np.bincount(j, n, size)
    where_sold = np.bincount(j, n * alone, size) / np.maximum(units, 1e-300)
    kind = np.zeros(size, dtype=np.int64)
    kind[j] = f
    all_units = sold.sum(1)[kind] - np.bincount(j, sold[f, c] - left, size)
    all_came = (sold * whole).sum(1)[kind] - np.bincount(j, sold[f, c] * whole[f, c] - left * alone, size)
    has = (units > 0) & (all_units > 1e-9) & (all_came > 1e-9)
    return np.where(has, where_sold / np.where(has, all_came / np.maximum(all_units, 1e-300), 1.0), 1.0)


def fit_kappa(returned: ArrayLike, exposure: ArrayLike, usual: ArrayLike) -> float:
    """Fit how closely products lie around what is usual of each: a + b of their beta priors, by marginal likelihood.

    >>> fit_kappa([30, 45, 15] * 30, [100] * 90, [0.3] * 90) < fit_kappa([30] * 90, [100] * 90, [0.3] * 90)
    True
    """
    r, m = _floats(returned), np.clip(_floats(usual), 1e-6, 1 - 1e-6)
    n = np.maximum(_floats(exposure), r)
    used = _some((n > 0) & np.isfinite(m))
    r, n, m = r[used], n[used], m[used]

    def loss(log_kappa: float) -> float:
        a, b = m * np.exp(log_kappa), (1 - m) * np.exp(log_kappa)
        return float(-np.sum(betaln(r + a, n - r + b) - betaln(a, b)))

    return float(np.exp(scipy.optimize.minimize_scalar(loss, bounds=(0.0, 9.0), method="bounded").x))


# -- levels that products share ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Levels:
    """What shared levels add to the log odds of a rate, partially pooled.

    `offset` and `sd` hold, for each level's name, one entry a group: how much it adds and how uncertain that is.
    `spread` is the standard deviation between the groups of a level, `own` that between rows which share every level.
    """

    base: Array
    offset: dict[str, Array]
    sd: dict[str, Array]
    spread: dict[str, float]
    own: float


def _marginal(eta: Array, variance: ArrayLike) -> tuple[Array, Array]:
    """Give the mean rate over a normal log odds, and its slope (logit-normal by the probit approximation)."""
    flat = 1 / np.sqrt(1 + np.pi / 8 * _floats(variance))
    return np.asarray(expit(eta * flat), dtype=np.float64), np.asarray(flat, dtype=np.float64)


def _residuals(eta: Array, exposure: Array, own: float) -> tuple[Array, Array, Array]:
    """Give each row's rate at its log odds, the slope of its returns, and their variance with the rows' own spread."""
    p, flat = _marginal(eta, own**2)
    chance = p * (1 - p)
    variance = exposure * chance + exposure * np.maximum(exposure - 1, 0) * chance**2 * own**2
    return p, exposure * chance * flat, np.maximum(variance, 1e-9)


def _bounded(squared: float) -> float:
    """Give the standard deviation of a variance that may have come out negative, within its bounds."""
    return float(np.clip(np.sqrt(max(squared, 0.0)), _NARROWEST, _WIDEST))


def _group_spread(raw: Array, weight: Array, spread: float) -> float:
    """Give a level's spread by moments: how much its groups' own effects scatter beyond their errors."""
    used = weight > 1e-9
    of = 1 / (spread**2 + 1 / weight[used]) ** 2
    return _bounded(float(np.sum(of * (raw[used] ** 2 - 1 / weight[used])) / max(of.sum(), 1e-12)))


def _own_spread(eta: Array, returned: Array, exposure: Array, own: float, leverage: Array) -> float:
    """Give the spread between rows which share every level by moments; `leverage` is what the fit took of each."""
    p, _ = _marginal(eta, own**2)
    chance = p * (1 - p)
    extra = exposure * np.maximum(exposure - 1, 0) * chance**2
    of = extra / np.maximum(exposure * chance + extra * own**2, 1e-9) ** 2
    beyond = (returned - exposure * p) ** 2 / np.clip(1 - leverage, 0.05, 1) - exposure * chance
    return _bounded(float(np.sum(of * beyond) / max(np.sum(of * extra), 1e-12)))


def fit_levels(
    returned: ArrayLike, exposure: ArrayLike, family: ArrayLike, levels: Mapping[str, ArrayLike], steps: int = 15
) -> Levels:
    """Fit what categories and crossed levels do to a rate, each partially pooled.

    Levels are size, colour, supplier, season and style.

    One entry a row (a product, or a product x size): its sums, its category's number and its group's number in each
    level, from 0 (-1: none). Log odds = category + level + level + own; each level's groups are normal around 0 with a
    spread of their own, fitted in turn from moments of the weighed residuals (quasi-likelihood: N. E. Breslow and D. G.
    Clayton, JASA 88, 1993). One spread a level serves all categories. `base` is the log odds of each category.

    >>> found = fit_levels([10, 30, 10, 30], [100] * 4, [0] * 4, {"size": [0, 1, 0, 1]})
    >>> bool(found.offset["size"][1] > 0.2 > -0.2 > found.offset["size"][0])
    True
    """
    r = _floats(returned)
    n = np.maximum(_floats(exposure), r)
    which = {"": np.asarray(family, dtype=np.int64)} | {k: np.asarray(v, dtype=np.int64) for k, v in levels.items()}
    size = {k: int(v.max(initial=-1)) + 1 for k, v in which.items()}
    has = {k: v >= 0 for k, v in which.items()}
    slot = {k: np.where(has[k], v, size[k]) for k, v in which.items()}  # rows of no group go to one more, left at 0
    effect: dict[str, Array] = {k: np.zeros(s + 1) for k, s in size.items()}
    weight: dict[str, Array] = {k: np.zeros(s + 1) for k, s in size.items()}
    spread = dict.fromkeys(levels, 0.3)
    own = 0.3
    total, came = np.bincount(slot[""], n, size[""] + 1), np.bincount(slot[""], r, size[""] + 1)
    effect[""] = logit((came + 0.5) / (total + 1.0))
    for _ in range(steps):
        leverage = np.zeros(r.size)
        for name in which:
            eta = sum((effect[k][slot[k]] for k in which), np.zeros(r.size))
            p, slope, variance = _residuals(eta, n, own)
            score = np.bincount(slot[name], slope * (r - n * p) / variance, size[name] + 1)
            weight[name] = _floats(np.bincount(slot[name], slope**2 / variance, size[name] + 1))
            information = np.maximum(weight[name], 1e-12)
            if name:
                raw = effect[name] + score / information
                real = slice(size[name])
                spread[name] = _group_spread(raw[real], weight[name][real], spread[name])
                precision = information + 1 / spread[name] ** 2
                effect[name] = np.clip(raw * information / precision, -4, 4)
                effect[name][size[name]] = 0.0
            else:
                precision = information
                effect[name] = np.clip(effect[name] + np.clip(score / information, -1, 1), -12, 12)
            leverage += has[name] * (slope**2 / variance) / precision[slot[name]]
        eta = sum((effect[k][slot[k]] for k in which), np.zeros(r.size))
        own = _own_spread(eta, r, n, own, leverage)
    return Levels(
        effect[""][: size[""]],
        {k: effect[k][: size[k]] for k in levels},
        {k: 1 / np.sqrt(weight[k][: size[k]] + 1 / spread[k] ** 2) for k in levels},
        spread,
        own,
    )


def pooled_prior(
    returned: ArrayLike,
    exposure: ArrayLike,
    log_odds: ArrayLike,
    log_odds_sd: ArrayLike,
    own: float,
    group: ArrayLike | None = None,
    group_spread: float = 0.0,
) -> tuple[Array, Array]:
    """Give a and b of each row's prior: what its levels say, and the other rows of its group (its style).

    `log_odds` and `log_odds_sd` are the sum of category and levels and its uncertainty, `own` the spread of rows around
    it. With `group` (numbers from 0) rows of a group share a part of spread `group_spread`, estimated from the other
    rows only, so that no unit counts twice. The normal prior of the log odds becomes the beta of the same mean and
    variance.

    >>> a, b = pooled_prior([30, 0], [50, 0], [0.0, 0.0], [0.0, 0.0], 0.2, [0, 0], 0.5)
    >>> bool(a[0] / (a[0] + b[0]) < 0.51 < a[1] / (a[1] + b[1]))
    True
    """
    r = _floats(returned)
    n = np.maximum(_floats(exposure), r)
    base, doubt = np.broadcast_to(_floats(log_odds), r.shape), np.broadcast_to(_floats(log_odds_sd), r.shape)
    shift, uncertain = np.zeros(r.size), np.zeros(r.size)
    if group is not None and group_spread > 0:
        which = np.asarray(group, dtype=np.int64)
        size = int(which.max(initial=-1)) + 1
        part = np.zeros(size)
        for _ in range(12):
            p, flat = _marginal(base + part[which], own**2)
            chance = p * (1 - p)
            slope = n * chance * flat
            variance = np.maximum(n * chance + n * np.maximum(n - 1, 0) * chance**2 * own**2, 1e-12)
            weigh, score = slope**2 / variance, slope * (r - n * p) / variance
            whole = np.bincount(which, weigh, size) + 1 / group_spread**2
            part = part + np.clip((np.bincount(which, score, size) - part / group_spread**2) / whole, -1, 1)
        others = whole[which] - weigh  # one more step, without the row itself
        shift = part[which] - score / others
        uncertain = 1 / others
    mean, variance = base + shift, own**2 + doubt**2 + uncertain
    m, _ = _marginal(mean, variance)
    m = np.clip(m, 1e-6, 1 - 1e-6)
    worth = np.maximum(1 / (variance * m * (1 - m)) - 1, 1.0)
    return m * worth, (1 - m) * worth
