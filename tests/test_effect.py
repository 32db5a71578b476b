"""What an action did: against statsmodels, a slow re-implementation, laws, refusals and simulated truth."""

import warnings
from typing import Any

import numpy as np
import pytest

from models import before, clusters, controls, effect

SHARED = effect.BEFORE + 8


def shop(
    seed: int,
    products: int = 300,
    categories: int = 2,
    weeks: int = 8,
    pace: float = 10.0,
    change: float = 0.0,
    treated: int = 20,
) -> dict[str, Any]:
    """A panel of products without drift; the first `treated` change by `change` after BEFORE weeks."""
    rng = np.random.default_rng(seed)
    width = effect.BEFORE + weeks
    category = np.arange(products) % categories
    rate = rng.beta(8, 16, products)[:, None] * np.ones(width)
    rate[:treated, effect.BEFORE :] *= 1 + change
    sold = rng.poisson(pace * np.exp(rng.normal(0, 0.7, products))[:, None] * np.ones(width))
    start = np.full(treated, effect.BEFORE)
    return {
        "returned": rng.binomial(sold, rate).astype(float),
        "exposure": sold.astype(float),
        "category": category,
        "treated": np.arange(treated),
        "until": start,
        "since": start,
    }


# -- oracles -----------------------------------------------------------------------------------------------------------


def foretold(panel: dict[str, Any], treated: list[int]) -> before.Predicted:
    """Predict as `measure` does where every product has enough sales: all of them but the treated are the pool."""
    r, n = panel["returned"], panel["exposure"]
    pool = ~np.isin(np.arange(len(r)), treated)
    known_from, after = np.zeros(len(r), dtype=int), slice(effect.BEFORE, r.shape[1])
    return before.predicted(r, n, panel["category"], pool, known_from, effect.BEFORE, after)


def slow(panel: dict[str, Any], i: int) -> tuple[float, float]:
    """Match and compare one product in plain Python: (came, expected)."""
    r, n, cut = panel["returned"], panel["exposure"], effect.BEFORE
    category = list(panel["category"])
    base = foretold(panel, [i]).rate
    eligible = [j for j in range(len(r)) if category[j] == category[i]]
    shrunk = controls.shrunk_rates(r[eligible, :cut].sum(1), n[eligible, :cut].sum(1), np.zeros(len(eligible)))
    rate = dict(zip(eligible, shrunk, strict=True))
    traits = {}
    for j in eligible:
        late_n, early_n = n[j, cut - 4 : cut].sum(), n[j, : cut - 4].sum()
        gap = r[j, cut - 4 : cut].sum() / late_n - r[j, : cut - 4].sum() / early_n
        error = (rate[j] * (1 - rate[j]) * (1 / late_n + 1 / early_n) + (0.1 * rate[j]) ** 2) ** 0.5
        traits[j] = (np.log(base[j]), np.log(n[j, :cut].sum()), gap / error)
    pool = [j for j in eligible if j != i and n[j, cut:].sum() > 0]
    sd = [np.std([traits[j][k] for j in pool]) for k in range(3)]
    far = {j: sum((w * (traits[i][k] - traits[j][k]) / sd[k]) ** 2 for k, w in enumerate((1, 1, 2))) for j in pool}
    mine = sorted(pool, key=far.__getitem__)[:10]
    would = sum(n[j, cut:].sum() * base[j] for j in mine)
    moved = (sum(r[j, cut:].sum() for j in mine) + 0.5) / (would + 0.5)
    return r[i, cut:].sum(), n[i, cut:].sum() * base[i] * moved


@pytest.mark.parametrize("i", [0, 1, 2, 3, 4, 5])
def test_each_product_agrees_with_a_slow_re_implementation(i: int) -> None:
    panel = shop(i, change=-0.2)
    panel["exposure"], panel["returned"] = panel["exposure"] + 10, panel["returned"] + 3  # all of them sell enough
    came, expected = slow(panel, i)
    found = effect.measure(**{**panel, "treated": [i], "until": [effect.BEFORE], "since": [effect.BEFORE]})
    assert found.change == pytest.approx((came + 0.5) / (expected + 0.5) - 1)
    assert found.expected_rate == pytest.approx(expected / panel["exposure"][i, effect.BEFORE :].sum())
    assert found.controls == 10


def test_weights_are_those_of_least_variance() -> None:
    # Two products, one selling a hundred times as much. Relative variance: odds 1 x (units part) + drift .01.
    small, large = np.array([100.0, 0.02]), np.array([10_000.0, 0.0002])
    units, part = np.array([small[0], large[0]]), np.array([small[1], large[1]])
    given = controls.Compared(units / 2, units / 2, part * (units / 2) ** 2, units, np.ones(2), part / 2, part / 2)
    found = effect.weighed(given, 1.0, 0.01)
    assert found.expected.sum() == pytest.approx(given.expected.sum())
    assert found.expected[1] / found.expected[0] == pytest.approx((1 / 0.0102) / (1 / 0.03))


def test_with_the_same_controls_it_is_the_poisson_regression_of_statsmodels() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import statsmodels.api as sm
    # Ten products left alone, so that each of the five treated has them all; equal sales, so that all weigh alike: the
    # regression with a level for each product then has the ratio of sums as its exact answer.
    rng = np.random.default_rng(3)
    sold = np.full((15, SHARED), 600_000.0)  # so many that nothing is shrunk
    rate = rng.uniform(0.2, 0.4, 15)[:, None] * np.ones(SHARED)
    rate[:5, effect.BEFORE :] *= 0.8
    returned = rng.binomial(sold.astype(int), rate).astype(float)
    start = np.full(5, effect.BEFORE)
    found = effect.measure(returned, sold, np.zeros(15, int), np.arange(5), start, start)

    counts = np.concatenate([returned[:, : effect.BEFORE].sum(1), returned[:, effect.BEFORE :].sum(1)])
    exposed = np.concatenate([sold[:, : effect.BEFORE].sum(1), sold[:, effect.BEFORE :].sum(1)])
    product, after = np.tile(np.arange(15), 2), np.repeat([0, 1], 15)
    design = np.column_stack([np.eye(15)[product], after, after * (product < 5)])
    fitted = sm.GLM(counts, design, family=sm.families.Poisson(), offset=np.log(exposed)).fit(
        cov_type="cluster", cov_kwds={"groups": product}
    )
    assert found.change == pytest.approx(np.expm1(fitted.params[-1]), abs=2e-4)
    # Two ways to the same error, from 15 products: clusters' residuals, and the scatter of those left alone.
    assert found.se == pytest.approx(fitted.bse[-1], rel=0.5)


@pytest.mark.parametrize(("se", "df"), [(0.3, 5), (0.08, 19), (0.05, 200), (0.01, 40)])
def test_power_is_that_of_statsmodels(se: float, df: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from statsmodels.stats.power import TTestPower
    n = df + 1
    oracle = TTestPower().power(abs(np.log(0.85)) / se / n**0.5, n, 0.05, df=df)
    assert float(effect.power(se, df)) == pytest.approx(oracle if np.isfinite(oracle) else 1.0, abs=1e-6)


def test_noise_tells_chance_from_drift() -> None:
    rng = np.random.default_rng(5)
    expected = np.exp(rng.normal(4, 1.5, 20_000))
    none = np.zeros_like(expected)
    came = rng.poisson(expected * np.exp(rng.normal(0, 0.1, expected.size)))
    factor, drift = effect.noise(controls.Compared(came.astype(float), expected, expected, none, none, none, none))
    assert factor == pytest.approx(1.0, abs=0.05)
    assert drift**0.5 == pytest.approx(0.1, abs=0.01)
    came = rng.poisson(expected)
    factor, drift = effect.noise(controls.Compared(came.astype(float), expected, expected, none, none, none, none))
    assert factor == pytest.approx(1.0, abs=0.05)
    assert drift**0.5 < 0.02


@pytest.mark.parametrize("seed", range(3))
def test_a_prediction_agrees_with_a_slow_re_implementation_of_the_best_linear_one(seed: int) -> None:
    panel = shop(seed, products=80, categories=1, pace=40)
    r, n = panel["returned"], panel["exposure"]
    cuts = [(8, 12), (0, 8), (12, 20)]  # the last four weeks, those before, and after
    away, chance = np.zeros((80, 3)), np.zeros((80, 3))
    for k, (a, b) in enumerate(cuts):
        mean = (r[20:, a:b].sum() + 0.5) / (n[20:, a:b].sum() + 1)
        for j in range(80):
            sold = n[j, a:b].sum()
            away[j, k], chance[j, k] = r[j, a:b].sum() / sold / mean - 1, (1 - mean) / mean / sold
    found = foretold(panel, list(range(20)))
    covariance, wider = before.covariance_of(before.Past(away, chance), np.arange(80) >= 20)
    for j in range(80):
        seen = covariance[:2, :2] + np.diag(wider[:2] * chance[j, :2])
        pull = np.linalg.solve(seen, covariance[:2, 2])
        linear, plain = float(pull @ away[j, :2]), float(pull @ away[j, :2]) / float(pull.sum())
        told = found.rate[j] / mean - 1
        assert min(linear, plain) - 1e-9 <= told <= max(linear, plain) + 1e-9


def test_the_past_is_shrunk_as_far_as_it_does_not_last() -> None:
    # 600 products all alike but for luck, then 600 that truly differ: the first keep nothing, the second nearly all.
    rng = np.random.default_rng(4)
    sold = np.full((600, 20), 30.0)
    for spread, least, most in ((0.0, 0.0, 0.25), (0.3, 0.85, 1.02)):
        rate = 0.3 * np.exp(rng.normal(0, spread, 600))[:, None]
        came = rng.binomial(30, np.minimum(rate, 0.9) * np.ones((1, 20))).astype(float)
        panel = {"returned": came, "exposure": sold, "category": np.zeros(600, int)}
        seen = came[:, :12].sum(1) / 360
        told = foretold(panel, []).rate
        assert least <= np.polyfit(seen, told, 1)[0] <= most


def test_what_was_before_an_earlier_action_tells_nothing() -> None:
    panel = shop(3, pace=40)
    after = slice(effect.BEFORE, SHARED)
    pool, since = np.ones(300, dtype=bool), np.full(300, 6)
    given = (panel["category"], pool, since, effect.BEFORE, after)
    changed = panel["returned"].copy()
    changed[:, :6] = panel["exposure"][:, :6]
    one, other = (before.predicted(r, panel["exposure"], *given) for r in (panel["returned"], changed))
    assert np.array_equal(one.rate, other.rate)


def test_crossed_clusters_share_what_was_drawn_for_each() -> None:
    rng = np.random.default_rng(6)
    supplier, season = rng.integers(0, 400, 6000), rng.integers(0, 300, 6000)
    residual = rng.normal(0, 0.2, 400)[supplier] + rng.normal(0, 0.1, 300)[season] + rng.standard_t(5, 6000) * 0.2
    moments = clusters.moments(residual, rng.uniform(0.5, 2, 6000), [supplier, season])
    assert clusters.shared_variances([moments]) == pytest.approx([0.04, 0.01], abs=0.006)
    twice = clusters.moments(residual, np.ones(6000), [supplier, supplier])  # the brand is the supplier: counted once
    assert clusters.shared_variances([twice]).sum() == pytest.approx(0.04, abs=0.006)


def test_pairs_are_those_of_a_slow_count() -> None:
    rng = np.random.default_rng(7)
    a, b, w = rng.integers(-1, 4, 40), rng.integers(-1, 3, 40), rng.uniform(0.5, 2, 40)
    residual = rng.normal(0, 1, 40)
    found = clusters.moments(residual, w, [a, b])
    away = residual - np.average(residual, weights=w)
    pairs = [(i, j) for i in range(40) for j in range(40) if i != j]
    both = [w[i] * w[j] for i, j in pairs if a[i] == a[j] >= 0 and b[i] == b[j] >= 0]
    alike = [w[i] * w[j] * away[i] * away[j] for i, j in pairs if a[i] == a[j] >= 0]
    assert found.shared[0, 1] == pytest.approx(sum(both))
    assert found.together[0] == pytest.approx(sum(alike))


# -- laws --------------------------------------------------------------------------------------------------------------


def test_the_order_of_products_does_not_matter() -> None:
    panel = shop(6, change=-0.2)
    order = np.random.default_rng(1).permutation(300)
    place = np.argsort(order)
    moved = {
        **panel,
        **{n: panel[n][order] for n in ("returned", "exposure", "category")},
        "treated": place[panel["treated"]],
    }
    one, other = effect.measure(**panel), effect.measure(**moved)
    assert (one.change, one.units, one.controls) == pytest.approx((other.change, other.units, other.controls))


def test_points_follow_from_the_change_and_hold_it() -> None:
    found = effect.measure(**shop(7, change=-0.3))
    assert found.verdict == "fell"
    assert found.points == pytest.approx(found.rate - found.expected_rate, abs=1e-4)
    assert found.low < found.change < found.high < 0
    assert found.points_low < found.points < found.points_high < 0


def test_young_weeks_count_for_what_could_have_come() -> None:
    panel = shop(8, pace=40)
    grown = np.ones(SHARED)
    grown[-4:] = 0.5
    rng = np.random.default_rng(8)
    young = {
        **panel,
        "returned": rng.binomial(panel["returned"].astype(int), grown).astype(float),
        "exposure": panel["exposure"] * grown,
    }
    full, part = effect.measure(**panel), effect.measure(**young)
    assert part.units == pytest.approx(full.units * 0.75, rel=0.03)
    assert part.rate == pytest.approx(full.rate, rel=0.05)


def test_more_weeks_bring_power_and_the_wait_says_how_many() -> None:
    panel = shop(9, weeks=16, pace=8.0, treated=20)
    cut = {n: panel[n][:, : effect.BEFORE + 3] for n in ("returned", "exposure")}
    early, late = effect.measure(**{**panel, **cut}), effect.measure(**panel)
    assert early.weeks == 3
    assert late.weeks == 16
    assert early.power < late.power
    assert early.weeks_needed is not None
    assert early.weeks_needed > (late.weeks_needed or 0)


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_under_800_units_it_is_too_early_whatever_happened() -> None:
    panel = shop(10, weeks=2, pace=12.0, change=-0.35)
    found = effect.measure(**panel)
    assert found.units < effect.TOO_EARLY
    assert found.p_value < 0.01
    assert (found.verdict, found.reason) == ("too_early", "too_few_units")
    assert found.weeks_needed is not None
    assert found.units / 2 * (2 + found.weeks_needed) >= effect.TOO_EARLY


def test_few_sales_will_never_tell() -> None:
    found = effect.measure(**shop(11, weeks=20, pace=3.0, treated=2))
    assert (found.verdict, found.reason, found.weeks_needed) == ("cannot_know", "too_few_units", None)


def test_an_action_just_taken_waits_and_says_for_how_long() -> None:
    panel = shop(12, weeks=12, pace=20)
    last = panel["returned"].shape[1]
    found = effect.measure(**{**panel, "until": np.full(20, last), "since": np.full(20, last + 1)})
    assert (found.verdict, found.reason, found.units) == ("too_early", "not_yet", 0)
    assert found.weeks_needed is not None
    assert 2 <= found.weeks_needed <= 8


def test_without_sales_before_or_after_nothing_is_said() -> None:
    panel = shop(13)
    gone = {**panel, "exposure": panel["exposure"].copy(), "returned": panel["returned"].copy()}
    gone["exposure"][:20, effect.BEFORE :] = gone["returned"][:20, effect.BEFORE :] = 0
    assert effect.measure(**gone).reason == "no_sales_after"
    new = {**panel, "exposure": panel["exposure"].copy(), "returned": panel["returned"].copy()}
    new["exposure"][:20, : effect.BEFORE] = new["returned"][:20, : effect.BEFORE] = 0
    found = effect.measure(**new)
    assert (found.verdict, found.reason) == ("cannot_know", "no_sales_before")
    assert dict(found.left_out) == {"no_sales_before": 20}


def test_a_category_treated_whole_has_no_equals() -> None:
    panel = shop(14, products=60, categories=3)
    whole = np.flatnonzero(panel["category"] == 0)
    start = np.full(whole.size, effect.BEFORE)
    found = effect.measure(**{**panel, "treated": whole, "until": start, "since": start})
    assert (found.verdict, found.reason) == ("no_overlap", "no_equals")


def test_spikes_beyond_all_others_have_no_equals() -> None:
    panel = shop(15, pace=20)
    panel["returned"] = panel["returned"].copy()
    late = slice(effect.BEFORE - controls.LATE, effect.BEFORE)
    panel["returned"][:20, late] = np.minimum(panel["returned"][:20, late] * 3 + 2, panel["exposure"][:20, late])
    found = effect.measure(**panel)
    assert found.trigger_gap > effect.WIDEST_TRIGGER
    assert found.verdict == "no_overlap"


def test_worst_rates_by_chance_have_no_equals_or_no_effect() -> None:
    # Picked for the highest raw rate among many small products: mere return to the mean would read as a fall.
    for seed in range(16, 22):
        panel = shop(seed, pace=6, products=600)
        rng = np.random.default_rng(seed)
        panel["returned"] = rng.binomial(panel["exposure"].astype(int), 0.3).astype(float)  # all alike
        seen = panel["returned"][:, : effect.BEFORE].sum(1) / panel["exposure"][:, : effect.BEFORE].sum(1)
        panel["treated"] = np.argsort(-seen)[:20]
        assert effect.measure(**panel).verdict in ("no_overlap", "no_clear_change", "too_early")


def test_going_different_ways_before_is_not_an_effect() -> None:
    # Slightly worse for four weeks: too little for a spike, yet on so many units no chance.
    panel = shop(23, products=80, categories=1, pace=300, change=-0.2)
    late = slice(effect.BEFORE - controls.LATE, effect.BEFORE)
    panel["returned"][:20, late] = np.minimum(panel["returned"][:20, late] * 1.05, panel["exposure"][:20, late])
    found = effect.measure(**panel)
    assert found.trigger_gap < effect.WIDEST_TRIGGER
    assert found.before_change == pytest.approx(0.04, abs=0.025)
    assert (found.verdict, found.reason) == ("cannot_know", "not_parallel")


def test_an_answer_that_rests_on_one_supplier_is_refused_unless_its_controls_are_his_too() -> None:
    panel = shop(25, pace=60, change=-0.3)
    alone = np.where(np.arange(300) < 20, 0, 1 + np.arange(300) % 7)
    assert effect.measure(**panel).verdict == "fell"
    found = effect.measure(**panel, clusters={"brand": np.zeros(300, int), "supplier": alone})
    assert (found.verdict, found.reason, found.rests_on) == ("cannot_know", "one_cluster", "supplier")
    shared = {"supplier": np.arange(300) % 2}  # half of the controls have the supplier of each treated product
    assert effect.measure(**panel, clusters=shared).verdict == "fell"
    unknown = {"supplier": np.where(alone == 0, -1, alone)}  # nobody says that they are of one
    assert effect.measure(**panel, clusters=unknown).verdict == "fell"
    one = {**panel, "treated": [0], "until": [effect.BEFORE], "since": [effect.BEFORE]}
    assert effect.measure(**one, clusters={"supplier": alone}).reason != "one_cluster"


def test_suppliers_that_drift_widen_the_error_where_few_are_treated() -> None:
    rng = np.random.default_rng(26)
    panel = shop(26, pace=60)
    supplier = np.arange(300) % 30
    supplier[:20] = np.arange(20) % 3  # three suppliers made all that were treated
    drift = np.exp(rng.normal(0, 0.15, 30))[supplier]
    rate = np.minimum(rng.beta(8, 16, 300)[:, None] * np.where(np.arange(SHARED) < effect.BEFORE, 1, drift[:, None]), 1)
    panel["returned"] = rng.binomial(panel["exposure"].astype(int), rate).astype(float)
    plain, known = effect.measure(**panel), effect.measure(**panel, clusters={"supplier": supplier})
    assert known.change == plain.change
    assert known.se == pytest.approx((plain.se**2 + 0.15**2 / 3) ** 0.5, rel=0.35)
    assert known.se > 1.3 * plain.se


def test_clusters_are_one_number_a_product() -> None:
    with pytest.raises(ValueError, match="supplier: one cluster a product"):
        effect.measure(**shop(27), clusters={"supplier": [1, 2]})


def test_another_action_ends_what_is_followed_or_spoils_it() -> None:
    panel = shop(24, weeks=10, pace=30)
    touched = np.zeros(panel["returned"].shape, dtype=int)
    touched[:20, effect.BEFORE] = 1
    alone = effect.measure(**panel, touched=touched)
    ended = touched.copy()
    ended[:20, effect.BEFORE + 4] = 1
    found = effect.measure(**panel, touched=ended)
    assert (alone.weeks, found.weeks) == (10, 4)
    assert found.units == pytest.approx(panel["exposure"][:20, effect.BEFORE : effect.BEFORE + 4].sum())
    for week in (effect.BEFORE, effect.BEFORE - 5):
        spoiled = touched.copy()
        spoiled[:20, week] += 1
        refused = effect.measure(**panel, touched=spoiled)
        assert (refused.verdict, refused.reason) == ("cannot_know", "other_action")
    # Whoever is treated otherwise is no control.
    busy = touched.copy()
    busy[20:280, effect.BEFORE + 2] = 1
    assert effect.measure(**panel, touched=busy).controls <= 20


# -- simulated truth ---------------------------------------------------------------------------------------------------


def test_intervals_hold_the_truth_and_chance_is_not_called_an_effect() -> None:
    change = -0.15
    acted = [effect.measure(**shop(100 + s, change=change)) for s in range(60)]
    idle = [effect.measure(**shop(200 + s)) for s in range(60)]
    assert sum(e.low <= change <= e.high for e in acted) >= 47  # 90% of 60: fewer come by chance once in 300
    assert sum(e.p_value < 0.05 for e in idle) <= 8  # 5% of 60: more come once in 200
    assert np.mean([e.change for e in idle]) == pytest.approx(0, abs=0.025)  # 4 standard errors
    assert np.mean([e.change for e in acted]) == pytest.approx(change, abs=0.025)
