"""What an action did to return rates: matched controls, difference in differences, and when no verdict is possible.

Here: the log rate ratio of treated products against their controls with its error, power, and the verdict. Who the
controls are is in models/controls.py. Not here: SQL, the clock, which products an action meant. The one idea: the
products that were left alone say twice what would have happened, once as controls and once as placebos: measured as if
they had been treated, their scatter is the noise of the answer.

Counts are weekly, one row a product: returned units, and exposure (units sold weighed by G at their age), so that young
weeks count for what could have come. What a product would have done by itself is predicted from its whole past, shrunk
as far as products left alone show that it lasts (models/before.py): the weeks which called for the action, taken as
they are, would report mere return to the mean as success. Products that share a supplier, a brand or a season move
together (models/clusters.py): the error holds what they share, and an answer that rests on one of them is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import nnls
from scipy.stats import nct
from scipy.stats import t as student

from models.before import predicted
from models.clusters import factorized, moments, net_weights, shared_variances
from models.controls import LATE, Compared, Counts, compare, nearest, shrunk_rates, trigger

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Mask = NDArray[np.bool_]

BEFORE = 12  # weeks before the action that are compared with
LEAST_CONTROLS = 5  # under it a product has no equals
LEAST_UNITS = 20.0  # units before the action under which a product's rate says nothing
TOO_EARLY = 800.0  # treated units after the action under which no verdict is given
LONGEST = 26  # weeks after the action that are looked at: later, other things have happened
LOOKED_FOR = -0.15  # change of the rate that an action should bring to be worth it, for power
ENOUGH_POWER = 0.75
LEAST_CLUSTERS = 5  # treated products from which a bootstrap of them tells anything
TRIGGER_WEIGHT = 2.0  # of the trigger in distances, beside rate and volume
WIDEST_TRIGGER = 0.5  # gap between the treated and their controls' trigger from which they are no equals
WIDEST_RETURN_TO_MEAN = 0.15  # the same for the change of the rate that return to the mean alone brings
DOUBT_OF_RETURN = 0.5  # standard error of that change, as a share of it
MOST_OF_ONE = 0.5  # share of an answer that one cluster may carry beyond what its controls share
NOT_PARALLEL = 0.01  # p under which treated and controls went different ways before the action
SIGNIFICANT = 0.05
TOLD = ("fell", "rose", "no_clear_change")  # verdicts; the others are refusals, and their change is no answer
REHEARSAL = 4  # weeks over which an action is rehearsed that was only just taken
DRAWS = 500


class Placebo(NamedTuple):
    """What is measured where nothing was done, at the size of the treated: 5%, 50% and 95% of the changes (shares).

    `as_extreme` is the share of them at least as far from none as the action's, `products` how many were measured.
    """

    low: float
    median: float
    high: float
    as_extreme: float
    products: int


@dataclass(frozen=True)
class Effect:
    """What an action did, or why that cannot be said. Numbers that are not known are NaN.

    `verdict` is fell, rose or no_clear_change (two-sided test at 5%), or too_early, no_overlap, cannot_know. `reason`
    says why there is none: not_yet (no week after is old enough), too_few_units, no_equals, no_sales_before,
    no_sales_after, other_action, one_cluster (`rests_on` says of which kind), not_parallel; whoever asks may give
    others. `left_out` counts treated products left out, by the same reasons.

    `change` = `rate` / `expected_rate` - 1 with its interval `low` to `high`, `points` = `rate` - `expected_rate` with
    its own; all shares, and means over products weighed by what each tells (see `weighed`). `returns_avoided` =
    -`change` x the returns that all treated units would have brought, negative when more came. `units` are treated
    units after the action that could have come back by now, over at most `weeks` weeks; `controls` counts distinct
    products. `se` is of log(1 + change), the larger of `se_bootstrap` (treated products drawn again) and `se_placebo`
    (scatter of products left alone) with their t.

    `power` is the chance to have seen a change of LOOKED_FOR, `detectable` the fall (a negative share) that is seen
    with ENOUGH_POWER, `weeks_needed` the weeks still to wait until units and power suffice; None when no wait will do.
    `before_change` compares the LATE weeks before the action with the ones before them in the same way: near 0, or the
    two went different ways all along (`before_p`). `trigger_gap` and `return_gap` say how far the controls are from
    equals: in the trigger, and in the change that mere return to the mean is expected to bring (and that is taken off).
    """

    verdict: str
    reason: str = ""
    change: float = np.nan
    low: float = np.nan
    high: float = np.nan
    points: float = np.nan
    points_low: float = np.nan
    points_high: float = np.nan
    p_value: float = np.nan
    se: float = np.nan
    se_bootstrap: float = np.nan
    se_placebo: float = np.nan
    rate_before: float = np.nan
    rate: float = np.nan
    expected_rate: float = np.nan
    returns_avoided: float = np.nan
    units: float = 0.0
    products: int = 0
    controls: int = 0
    weeks: int = 0
    weeks_needed: int | None = None
    power: float = np.nan
    detectable: float = np.nan
    before_change: float = np.nan
    before_p: float = np.nan
    trigger_gap: float = np.nan
    return_gap: float = np.nan
    rests_on: str = ""
    placebo: Placebo | None = None
    left_out: tuple[tuple[str, int], ...] = ()


# -- errors ------------------------------------------------------------------------------------------------------------


def noise(placebo: Compared) -> tuple[float, float]:
    """Fit how products left alone scatter.

    (variance as a multiple of the binomial's, variance of a product's own drift). (came - expected)^2 is on average
    factor x variance + drift x expected^2: least squares with coefficients not below 0. Two terms, because the drift of
    large products is not made smaller by their units.
    """
    is_known = (placebo.variance > 0) & np.isfinite(placebo.variance)
    v, e = placebo.variance[is_known], placebo.expected[is_known]
    surprise = (placebo.came[is_known] - e) ** 2 / v
    design = np.column_stack([np.ones(v.size), e**2 / v])
    found = np.array([1.0, 0.005])
    for _ in range(
        3 if v.size > 1 else 0
    ):  # a surprise scatters like its mean: each is weighed by the last guess of it
        weight = 1 / np.maximum(design @ found, 0.5)
        found = nnls(design * weight[:, None], surprise * weight)[0]
    return max(float(found[0]), 0.5), float(found[1])


def placebo_se(compared: Compared, factor: float, drift: float) -> float:
    """Give the standard error of the log ratio of all rows together.

    It follows from how products left alone scatter (see `noise`).
    """
    scatter = factor * compared.variance + drift * compared.expected**2
    return float(np.sqrt(scatter.sum()) / max(float(compared.expected.sum()), 1e-9))


def weighed(compared: Compared, factor: float, drift: float) -> Compared:
    """Weigh products by how much they tell: one that sells ten times as much drifts no less.

    Sums of came and expected are taken with weight expected / variance of came - expected (quasi-likelihood), both at
    the mean rate of all: a weight made of the product's own rate would fall where that rate was high by chance, and
    bias the sums.
    """
    has = compared.units > 0
    sold = np.where(has, compared.units, 1.0)
    mean_odds = float(sold @ compared.odds) / float(sold.sum())
    parts = np.where(has, compared.before + compared.after, 0.0)
    weight = np.where(has, 1 / (sold * (factor * mean_odds * parts + drift)), 0.0)
    weight *= float(compared.units.sum()) / max(float(weight @ compared.units), 1e-300)  # 1 on average
    came, expected, units = (x * weight for x in (compared.came, compared.expected, compared.units))
    return compared._replace(came=came, expected=expected, units=units, variance=compared.variance * weight**2)


def log_ratio(came: Array, expected: Array) -> Array:
    """Give log(came / expected) of sums over the last axis.

    Half an event more each, so that none is not minus infinity.
    """
    return np.asarray(np.log((came.sum(-1) + 0.5) / (expected.sum(-1) + 0.5)), dtype=np.float64)


def bootstrap_se(compared: Compared, rng: np.random.Generator) -> float:
    """Give the standard error of the log ratio from drawing the products again; NaN under LEAST_CLUSTERS of them."""
    k = compared.came.size
    if k < LEAST_CLUSTERS:
        return float("nan")
    times = rng.multinomial(k, np.full(k, 1 / k), DRAWS)
    return float(np.std(log_ratio(times * compared.came, times * compared.expected)))


def power(se: ArrayLike, df: float, change: float = LOOKED_FOR, significant: float = SIGNIFICANT) -> Array:
    """Give the chance that a two-sided t test sees a change of a rate (a share).

    It follows from the standard error of its log ratio.

    >>> power([0.5, 0.05, 0.01], 19).round(2).tolist()
    [0.06, 0.87, 1.0]
    """
    away = np.log1p(change) / np.asarray(se, float)
    limit = student.ppf(1 - significant / 2, df)
    wrong_way = np.nan_to_num(nct.cdf(-limit, df, np.abs(away)))  # too small to be computed when the error is small
    return np.asarray(nct.sf(limit, df, np.abs(away)) + wrong_way, dtype=np.float64)


# -- the measurement ---------------------------------------------------------------------------------------------------


class _Start(NamedTuple):
    """Products treated in the same weeks: how they and the products left alone compare."""

    treated: Compared
    treated_early: Compared
    placebos: Compared
    placebos_early: Compared
    stand_ins: Index  # rows of `placebos` that stand in for each treated product, -1 for none
    controls: Index
    trigger_gap: Array
    return_gap: Array
    r0: Array
    n0: Array
    n1: Array
    weeks: int
    rows: Index
    others: Index


def measure(
    returned: ArrayLike,
    exposure: ArrayLike,
    category: ArrayLike,
    treated: ArrayLike,
    until: ArrayLike,
    since: ArrayLike,
    touched: ArrayLike | None = None,
    clusters: Mapping[str, ArrayLike] | None = None,
    *,
    level: float = 0.9,
    looked_for: float = LOOKED_FOR,
) -> Effect:
    """Measure what an action did to the return rate of the treated products, all together.

    `returned` and `exposure`: a row a product, a column a week, the last week being the last old enough to count;
    `category`: a whole number a product. One entry a treated product in `treated` (row), `until` (column the weeks
    before end at: the week of the action) and `since` (first column after; the same unless the action came within a
    week). `touched`: how many actions of whatever kind began on a product in a week, this one included; a product is no
    control around another action, and is followed until its next one. `clusters`: by kind (supplier, brand, season) a
    whole number a product, -1 where none is known.

    Each product gets CONTROLS of its category, nearest in predicted rate, volume and trigger over the weeks before. The
    change is the treated's sum of returns over the sum of what was expected; its error the larger of a bootstrap over
    treated products, with t of k - 1, and of the scatter of all products left alone, measured the same way, with what
    products of a cluster share; one treated product is its own. Difference in differences as in Angrist and Pischke,
    Mostly Harmless Econometrics (2009), ch. 5; placebos as in Abadie, Diamond and Hainmueller, JASA 105 (2010).

    >>> rate, sold = np.full((60, 24), 3.0), np.full((60, 24), 10.0)
    >>> rate[:10, 12:] = 2.0
    >>> found = measure(rate, sold, np.zeros(60, int), range(10), [12] * 10, [12] * 10)
    >>> found.verdict, round(found.change, 2), round(found.points, 2)
    ('fell', -0.33, -0.1)
    """
    r, n, which = np.asarray(returned, float), np.asarray(exposure, float), np.asarray(category, dtype=np.int64)
    given = np.array([treated, until, since], dtype=np.int64)
    rows, ends, starts = given[:, np.lexsort(given[::-1])]  # the order they are named in has no say in what is drawn
    actions = np.zeros(r.shape, dtype=np.int64) if touched is None else np.asarray(touched, dtype=np.int64)
    if touched is None:
        actions[rows[ends < r.shape[1]], ends[ends < r.shape[1]]] = 1
    stops, why = _followed(rows, ends, starts, actions, n)
    groups: list[_Start] = []
    for key in sorted({(int(a), int(b), int(c)) for a, b, c in zip(ends, starts, stops, strict=True)}):
        mine = (ends == key[0]) & (starts == key[1]) & (stops == key[2]) & (why == "")
        if mine.any():
            found, has_equals = _start(r, n, which, rows[mine], *key, actions)
            why[np.flatnonzero(mine)[~has_equals]] = "no_equals"
            if found is not None:
                groups.append(found)
    kinds, counted = np.unique(why[why != ""], return_counts=True)
    left_out = tuple(sorted(zip(map(str, kinds), map(int, counted), strict=True), key=lambda x: (-x[1], x[0])))
    if not groups:
        refused = _refused(left_out)
        if refused.reason != "not_yet" or r.shape[1] < BEFORE + REHEARSAL:
            return refused
        # As if it had been done some weeks ago: nothing happened then, but it tells what can be seen, and when.
        ago = np.full(rows.size, r.shape[1] - REHEARSAL)
        tried = measure(r, n, which, rows, ago, ago, clusters=clusters, level=level, looked_for=looked_for)
        return replace(refused, weeks_needed=_after(int((starts - r.shape[1]).min()), tried))
    return _judged(groups, left_out, level, looked_for, factorized(clusters or {}, len(r)))


def _after(wait: int, tried: Effect) -> int | None:
    """Give the weeks to wait for an action not yet seen, by what a rehearsal of it needs."""
    return None if tried.weeks_needed is None else wait + tried.weeks + tried.weeks_needed


def _followed(rows: Index, ends: Index, starts: Index, actions: Index, n: Array) -> tuple[Index, NDArray[np.str_]]:
    """Give the column each treated product is followed to, and why it is left out, if it is."""
    last = n.shape[1]
    column = np.arange(last)
    own = actions[rows]
    is_later = (own > 0) & (column > ends[:, None])
    following = np.where(is_later.any(1), is_later.argmax(1), last)
    stops = np.minimum(np.minimum(following, starts + LONGEST), last)
    is_before = (column >= ends[:, None] - BEFORE) & (column < ends[:, None])
    is_after = (column >= starts[:, None]) & (column < stops[:, None])
    has_other = ((own > 0) & is_before).any(1) | (own[np.arange(rows.size), np.minimum(ends, last - 1)] > 1) & (
        ends < last
    )
    why = np.full(rows.size, "", dtype="U16")
    for reason, holds in (
        ("no_sales_after", ~((n[rows] > 0) & is_after).any(1)),
        ("not_yet", starts >= last),
        ("other_action", has_other | (following <= starts) & (starts < last)),
        ("no_sales_before", (ends < BEFORE) | ((n[rows] * is_before).sum(1) < LEAST_UNITS)),
    ):  # the last that holds is the one that is said
        why[holds] = reason
    return stops, why


def _start(
    r: Array, n: Array, which: Index, rows: Index, end: int, start: int, stop: int, actions: Index
) -> tuple[_Start | None, Mask]:
    before, after = slice(end - BEFORE, end), slice(start, stop)
    early, late = slice(end - BEFORE, end - LATE), slice(end - LATE, end)
    r0, n0, r1, n1 = r[:, before].sum(1), n[:, before].sum(1), r[:, after].sum(1), n[:, after].sum(1)
    sells = n0 >= LEAST_UNITS
    alone = sells & (n1 > 0) & (actions[:, end - BEFORE : stop].sum(1) == 0)
    rate, base, left, taken = (np.full(len(r), np.nan) for _ in range(4))
    if alone.any():  # how long the past lasts is learned from all categories
        known_from = _last_action(actions[sells, : end - BEFORE])
        told = predicted(r[sells], n[sells], which[sells], alone[sells], known_from, end, after)
        base[sells], left[sells], taken[sells] = told
    has_rate = sells & np.isin(which, which[rows])
    pool = has_rate & alone
    rate[has_rate] = shrunk_rates(r0[has_rate], n0[has_rate], which[has_rate])
    called = trigger(r[:, before], n[:, before], rate)
    features = np.column_stack([np.log(base), np.log(np.maximum(n0, 1.0)), called])
    sd = features[pool].std(0) if pool.any() else np.ones(3)
    features = features / np.where(sd > 0, sd, 1.0) * np.array([1.0, 1.0, TRIGGER_WEIGHT])
    others = np.flatnonzero(pool)
    controls, of_others = (nearest(features, which, pool, wanted) for wanted in (rows, others))
    has_equals = (controls >= 0).sum(1) >= LEAST_CONTROLS
    usable = (of_others >= 0).sum(1) >= LEAST_CONTROLS
    rows, controls, others, of_others = rows[has_equals], controls[has_equals], others[usable], of_others[usable]
    if not rows.size or not others.size:
        return None, has_equals & bool(others.size)
    counts = Counts(r1, n1, base, left, rate)
    apart = _apart(r[:, early].sum(1), n[:, early].sum(1), r[:, late].sum(1), n[:, late].sum(1), rate)
    number = np.full(len(r) + 1, -1, dtype=np.int64)  # the last entry is that of "none"
    number[others] = np.arange(others.size)

    def gap(values: Array) -> Array:
        has = controls >= 0
        mean = np.where(has, values[np.maximum(controls, 0)], 0.0).sum(1) / has.sum(1)
        return np.asarray(values[rows] - mean, dtype=np.float64)

    found = _Start(
        compare(counts, rows, controls),
        compare(apart, rows, controls),
        compare(counts, others, of_others),
        compare(apart, others, of_others),
        number[controls],
        controls,
        gap(called),
        gap(-taken),
        r0[rows],
        n0[rows],
        n1[rows],
        stop - start,
        rows,
        others,
    )
    return found, has_equals


def _last_action(actions: Index) -> Index:
    """Give the first column after each product's last action; 0 where there was none."""
    after = np.arange(1, actions.shape[1] + 1)
    return np.asarray(np.where(actions > 0, after, 0).max(1, initial=0), dtype=np.int64)


def _apart(r0: Array, n0: Array, r1: Array, n1: Array, rate: Array) -> Counts:
    """Give counts whose base is what was seen before, as it was: parallel ways are looked at without a model."""
    with np.errstate(invalid="ignore", divide="ignore"):
        base = np.where(n0 > 0, r0 / n0, np.nan)
        return Counts(r1, n1, base, (1 - rate) / rate / np.where(n0 > 0, n0, np.nan), rate)


def _refused(left_out: tuple[tuple[str, int], ...]) -> Effect:
    """Say why nothing could be compared: of the reasons that left products out, the one that leaves most hope."""
    met = {name for name, _ in left_out}
    hopes = ("not_yet", "no_equals", "other_action", "no_sales_after", "no_sales_before")
    reason = next(name for name in hopes if name in met)
    verdict = {"not_yet": "too_early", "no_equals": "no_overlap"}.get(reason, "cannot_know")
    return Effect(verdict, reason, left_out=left_out)


def _judged(
    groups: list[_Start],
    left_out: tuple[tuple[str, int], ...],
    level: float,
    looked_for: float,
    clusters: Mapping[str, Index],
) -> Effect:
    """Put the groups together: the change with its error, what it rests on, and the verdict."""
    rng = np.random.default_rng(0)  # the same data, the same answer
    whole, placebos = Compared.joined([g.treated for g in groups]), Compared.joined([g.placebos for g in groups])
    r0, n0, n1 = (np.concatenate([getattr(g, name) for g in groups]) for name in ("r0", "n0", "n1"))
    factor, drift = noise(placebos)
    expected = float(whole.expected.sum())
    whole, placebos = weighed(whole, factor, drift), weighed(placebos, factor, drift)
    away = float(log_ratio(whole.came, whole.expected))
    share = whole.expected / max(float(whole.expected.sum()), 1e-9)
    return_gap = float(share @ np.concatenate([g.return_gap for g in groups]))
    rests_on, common = _together(groups, placebos, share, factor, drift, clusters)
    common += (DOUBT_OF_RETURN * return_gap) ** 2
    errors = _errors(whole, placebos, factor, drift, common, rng)
    half, (se, df) = max((float(student.ppf(0.5 + level / 2, d)) * s, (s, d)) for s, d in errors)
    before, before_p = _change_before(groups)
    units, weeks = float(n1.sum()), max(g.weeks for g in groups)
    seen = float(student.ppf(1 - SIGNIFICANT / 2, df) + student.ppf(ENOUGH_POWER, df))
    expected_rate, rate = float(whole.expected.sum()) / units, float(whole.came.sum()) / units
    change, low, high = (float(np.expm1(x)) for x in (away, away - half, away + half))
    effect = Effect(
        "",
        change=change,
        low=low,
        high=high,
        points=expected_rate * change,
        points_low=expected_rate * low,
        points_high=expected_rate * high,
        p_value=max(2 * float(student.sf(abs(away) / s, d)) for s, d in errors),
        se=se,
        se_bootstrap=errors[1][0] if len(errors) > 1 else np.nan,
        se_placebo=errors[0][0],
        rate_before=float((whole.units * r0 / n0).sum()) / units,
        rate=rate,
        expected_rate=expected_rate,
        returns_avoided=-change * expected,
        units=units,
        products=whole.came.size,
        controls=int(np.unique(np.concatenate([g.controls[g.controls >= 0] for g in groups])).size),
        weeks=weeks,
        weeks_needed=_weeks_needed(_later_errors(whole, share, factor, drift, se, weeks), df, units, weeks, looked_for),
        power=float(power(se, df, looked_for)),
        detectable=float(np.expm1(-seen * se)),
        before_change=float(np.expm1(before)),
        before_p=before_p,
        trigger_gap=float(share @ np.concatenate([g.trigger_gap for g in groups])),
        return_gap=return_gap,
        rests_on=rests_on,
        placebo=_placebo(groups, whole, placebos, factor, drift, away, rng),
        left_out=left_out,
    )
    verdict, reason = _verdict(effect)
    return replace(effect, verdict=verdict, reason=reason)


def _together(
    groups: list[_Start], placebos: Compared, share: Array, factor: float, drift: float, clusters: Mapping[str, Index]
) -> tuple[str, float]:
    """Say which kind of cluster the answer rests on one of ("" for none), and the variance that clusters add to it.

    A single product is its own cluster, whose drift the scatter of products left alone holds already.
    """
    if not clusters or share.size < 2:
        return "", 0.0
    relative = placebos.variance / np.maximum(placebos.expected, 1e-9) ** 2
    residual = placebos.came / np.maximum(placebos.expected, 1e-9) - 1
    weight = np.where(placebos.expected > 0, 1 / (factor * relative + drift + 1e-6), 0.0)
    found, at = [], 0
    for g in groups:
        mine = slice(at, at + g.others.size)
        found.append(moments(residual[mine], weight[mine], [c[g.others] for c in clusters.values()]))
        at += g.others.size
    rests_on, common = "", 0.0
    for (name, code), variance in zip(clusters.items(), shared_variances(found), strict=True):
        net = net_weights(code, [g.rows for g in groups], [g.controls for g in groups], share)
        rests_on = rests_on or (name if net.max(initial=0.0) > MOST_OF_ONE else "")
        common += float(variance) * max(float(net @ net) - float(share @ share), 0.0)
    return rests_on, common


def _errors(
    whole: Compared, placebos: Compared, factor: float, drift: float, common: float, rng: np.random.Generator
) -> list[tuple[float, float]]:
    """Give the standard errors of the log ratio with their degrees of freedom: of placebos, of a bootstrap if any.

    `common` is the variance that is not made smaller by more products: what clusters share, and the doubt about the
    return to the mean.
    """
    errors = [(float(np.hypot(placebo_se(whole, factor, drift), np.sqrt(common))), float(placebos.came.size - 1))]
    clusters = whole.came.size
    if clusters >= LEAST_CLUSTERS:
        errors.append((float(np.hypot(bootstrap_se(whole, rng), np.sqrt(common))), float(clusters - 1)))
    return errors


def _change_before(groups: list[_Start]) -> tuple[float, float]:
    """Give the log ratio of the LATE weeks before the action to the ones before them, and its p against placebos."""
    early = Compared.joined([g.treated_early for g in groups])
    placebos = Compared.joined([g.placebos_early for g in groups])
    factor, drift = noise(placebos)
    early = weighed(early, factor, drift)
    change = float(log_ratio(early.came, early.expected))
    se = placebo_se(early, factor, drift)
    return change, 2 * float(student.sf(abs(change) / se, placebos.came.size - 1))


def _later_errors(whole: Compared, share: Array, factor: float, drift: float, se: float, weeks: int) -> Array:
    """Give the error after 1, 2, ... LONGEST weeks: what comes from the weeks before and from drift stays.

    `se` is the error after `weeks`, to which all are brought.
    """
    stretch = np.arange(1, LONGEST + 1) / weeks
    stays, shrinks = factor * whole.odds * whole.before + drift, factor * whole.odds * whole.after
    later = np.sqrt(share**2 @ (stays[:, None] + shrinks[:, None] / stretch))
    return np.asarray(later * (se / later[weeks - 1]), dtype=np.float64)


def _weeks_needed(later: Array, df: float, units: float, weeks: int, looked_for: float) -> int | None:
    """Give the weeks still to wait until units and power suffice; None where no wait will do."""
    stretch = np.arange(1, LONGEST + 1) / weeks
    is_enough = (power(later, df, looked_for) >= ENOUGH_POWER) & (units * stretch >= TOO_EARLY)
    return max(int(is_enough.argmax()) + 1 - weeks, 0) if is_enough.any() else None


def _verdict(effect: Effect) -> tuple[str, str]:
    """Give the verdict and the reason for none: units first, then equals, then parallel ways, then significance."""
    if effect.units < TOO_EARLY:
        will_do = effect.units / effect.weeks * LONGEST >= TOO_EARLY
        return "too_early" if will_do else "cannot_know", "too_few_units"
    if abs(effect.trigger_gap) > WIDEST_TRIGGER or abs(effect.return_gap) > WIDEST_RETURN_TO_MEAN:
        return "no_overlap", "no_equals"
    if effect.rests_on:
        return "cannot_know", "one_cluster"
    if effect.before_p < NOT_PARALLEL:
        return "cannot_know", "not_parallel"
    if effect.p_value < SIGNIFICANT:
        return "fell" if effect.change < 0 else "rose", ""
    return "no_clear_change", ""


def _placebo(
    groups: list[_Start],
    whole: Compared,
    placebos: Compared,
    factor: float,
    drift: float,
    away: float,
    rng: np.random.Generator,
) -> Placebo:
    """Draw sets of stand-ins for the treated, in their own standard errors, brought to the size of the treated."""
    first = np.cumsum([0, *(g.placebos.came.size for g in groups)])
    drawn = []
    for g, at in zip(groups, first[:-1], strict=True):
        for mine in g.stand_ins:
            known = mine[mine >= 0]
            enough = (
                known
                if known.size >= LEAST_CONTROLS and whole.came.size >= LEAST_CLUSTERS
                else np.arange(g.placebos.came.size)
            )
            drawn.append(at + rng.choice(enough, DRAWS))
    chosen = np.stack(drawn, 1)
    came, expected = placebos.came[chosen], placebos.expected[chosen]
    scatter = factor * placebos.variance + drift * placebos.expected**2
    error = np.sqrt(scatter[chosen].sum(1)) / np.maximum(expected.sum(1), 0.5)
    size = placebo_se(whole, factor, drift)
    seen = log_ratio(came, expected) / error * size
    as_extreme = float((1 + np.count_nonzero(np.abs(seen) >= abs(away))) / (1 + DRAWS))
    low, median, high = (float(np.expm1(x)) for x in np.quantile(seen, [0.05, 0.5, 0.95]))
    return Placebo(low, median, high, as_extreme, placebos.came.size)
