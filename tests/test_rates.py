"""Rates against published numbers, closed forms, a slow re-implementation and simulated truth."""

import warnings
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta

import duckdb
import numpy as np
import pytest
from duckdb_sqlalchemy import Dialect
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sqlalchemy import literal_column

from models import curves, rates
from pipelines.estimate import curves as estimate
from pipelines.estimate import probability
from pipelines.load.shape.versions import create_tables
from pipelines.settings import Settings
from pipelines.warehouse import rules
from pipelines.warehouse.engine import literal_instant
from pipelines.warehouse.rules import curve_day


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_newcombes_published_intervals(successes: int, trials: int, low: float, high: float) -> None:
    # R. G. Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3.
    found = rates.wilson(successes, trials, level=0.95)
    assert np.allclose(found, (low, high), atol=6e-5)


@pytest.mark.parametrize(
    ("counts", "low", "high"), [((56, 70, 48, 80), 0.0524, 0.3339), ((9, 10, 3, 10), 0.1705, 0.8090)]
)
def test_rate_difference_gives_newcombes_published_intervals(counts: tuple[int, ...], low: float, high: float) -> None:
    # R. G. Newcombe, Statistics in Medicine 17 (1998) 873-890, table II, method 10.
    _, found_low, found_high, is_noise = rates.rate_difference(*counts, level=0.95)
    assert np.allclose((found_low, found_high), (low, high), atol=6e-5)
    assert not is_noise


def test_a_point_more_on_300_units_is_noise_and_on_30000_is_not() -> None:
    assert rates.rate_difference(22, 300, 19, 300)[3]
    assert not rates.rate_difference(2_200, 30_000, 1_900, 30_000)[3]
    assert rates.rate_difference(2_200, 30_000, 1_900, 30_000, deff=40)[3]


def test_window_rate_agrees_with_lifelines_and_with_wilson_without_censoring() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lifelines import KaplanMeierFitter

    generator = np.random.default_rng(1)
    age = generator.integers(5, 60, 500)
    delay = np.where(generator.random(500) < 0.4, generator.integers(0, 40, 500), 10_000)
    is_back = delay <= age
    day = np.minimum(delay, age)
    returned = np.bincount(day[is_back], minlength=60)
    kept = np.bincount(day[~is_back], minlength=60)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oracle = 1 - float(KaplanMeierFitter().fit(day, is_back).survival_function_at_times(30).iloc[0])
    rate, low, high = rates.window_rate(returned, kept, 30)
    assert rate == pytest.approx(oracle, abs=1e-12)
    assert low < rate < high
    full = rates.window_rate([0, 3, 2, 0], [0, 0, 0, 15], 3)
    assert np.allclose(full, (0.25, *rates.wilson(5, 20)))
    assert np.isnan(rates.window_rate([0, 1], [0, 5], 30)[0])


def test_a_window_nobody_lived_through_has_no_rate() -> None:
    days = {n: np.zeros(32) for n in ("back", "all_back", "kept", "few", "enough")}
    days["back"][2] = days["all_back"][2] = 2
    days["kept"][5] = 4  # two of six came back on day 2, four are five days old
    days["few"][[5, 31]], days["enough"][[5, 31]] = (97, 3), (95, 5)
    assert np.isnan(rates.window_rate(days["back"], days["kept"], 30)[0])
    assert float(rates.window_rate(days["all_back"], np.zeros(32), 30)[0]) == 1  # nothing is left that could still come
    assert np.isnan(rates.window_rate(days["back"], days["few"], 30)[0])
    assert float(rates.window_rate(days["back"], days["enough"], 30)[0]) == pytest.approx(2 / 102)


def slow_curve(delay: list[int], age: list[int], last_day: int) -> list[float]:
    """Work out the development curve by its definition, one returned unit at a time."""
    curve = [1.0] * (last_day + 1)
    for day in range(last_day - 1, -1, -1):
        at_risk = sum(d <= day + 1 <= a for d, a in zip(delay, age, strict=True))
        events = sum(d == day + 1 for d in delay)
        curve[day] = curve[day + 1] * (1 - (events / at_risk if at_risk else 0))
    return curve


returned_units = st.lists(
    st.tuples(st.integers(0, 20), st.integers(0, 20)).map(lambda x: (min(x), max(x))), min_size=1, max_size=40
)


@given(returned_units, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_development_curve_follows_its_definition_in_any_order(rows: list[tuple[int, int]], order) -> None:
    curve = curves.development_curve([d for d, _ in rows], np.ones(len(rows)), [a for _, a in rows], 20)
    assert np.allclose(curve, slow_curve([d for d, _ in rows], [a for _, a in rows], 20))
    assert (np.diff(curve) >= 0).all()
    assert curve[-1] == 1
    shuffled = order.sample(rows, len(rows))
    again = curves.development_curve([d for d, _ in shuffled], np.full(len(rows), 3), [a for _, a in shuffled], 20)
    assert np.allclose(again, curve)


def test_development_curve_sees_through_truncation_and_a_drifting_rate() -> None:
    generator = np.random.default_rng(2)
    age = generator.integers(0, 120, 200_000)
    rate = 0.2 + 0.3 * (120 - age) / 120  # the young return more: a naive curve is far too fast
    delay = np.floor(generator.lognormal(np.log(8), 0.7, age.size)).astype(int)
    is_seen = (generator.random(age.size) < rate) & (delay <= age)
    curve = curves.development_curve(delay[is_seen], np.ones(is_seen.sum()), age[is_seen], 90)
    truth = stats.lognorm.cdf(np.arange(1, 92), 0.7, scale=8)
    assert np.abs(curve - truth).max() < 0.02
    naive = np.cumsum(np.bincount(delay[is_seen], minlength=91)[:91]) / is_seen.sum()
    assert np.abs(naive - truth).max() > 0.025


def test_a_curve_beyond_the_oldest_line_is_the_priors() -> None:
    prior = curves.assumed_curve(30, 90)
    curve = curves.development_curve([1, 2, 5], [100, 100, 100], [10, 10, 10], 90, prior)
    assert np.allclose(curve[10:], prior[10:])
    assert np.isnan(curves.development_curve([], [], [], 5)).all()


@given(st.integers(0, 400), st.integers(1, 400))
@settings(max_examples=50, deadline=None)
def test_a_mature_cohort_has_jeffreys_closed_form(returned: int, more: int) -> None:
    sold = returned + more
    rate, low, high, maturity = rates.ultimate_rate([1.0], [sold], [returned])
    closed = stats.beta(returned + 0.5, more + 0.5).ppf([0.05, 0.95])
    assert rate == pytest.approx(returned / sold)
    assert maturity == 1
    assert low == pytest.approx(min(closed[0], rate), abs=6e-3)
    assert high == pytest.approx(max(closed[1], rate), abs=6e-3)


def test_many_groups_at_once_are_each_group_alone_and_rows_add_up() -> None:
    generator = np.random.default_rng(3)
    group, share = np.repeat(np.arange(30), 8), generator.random(240)
    sold = generator.integers(1, 200, 240)
    returned = generator.binomial(sold, 0.3 * share)
    together = rates.ultimate_rates(group, share, sold, returned, deff=1.3, groups=31)
    for g in range(30):
        alone = rates.ultimate_rate(share[group == g], sold[group == g], returned[group == g], deff=1.3)
        assert np.allclose(alone, (together.rate[g], together.low[g], together.high[g], together.maturity[g]))
    assert np.isnan(together.rate[30])
    twice = rates.ultimate_rates(
        np.tile(group, 2), np.tile(share, 2), np.repeat(sold, 1).tolist() * 2, np.tile(returned, 2)
    )
    assert np.all(twice.high - twice.low < together.high[:30] - together.low[:30])


def shop(generator: np.random.Generator, cells: int) -> tuple[np.ndarray, ...]:
    """Simulate cells of clustered orders: true rate, group, G, returned of each line, and its order."""
    rate = generator.uniform(0.1, 0.5, cells)
    lines = generator.integers(400, 900, cells)
    group = np.repeat(np.arange(cells), lines)
    order = np.cumsum(generator.random(group.size) < 0.6)
    mood = generator.normal(0, 1, order.max() + 1)[order]
    # A Gaussian copula: lines of one order share part of what decides.
    score = np.sqrt(0.35) * mood + np.sqrt(0.65) * generator.normal(0, 1, group.size)
    share = np.repeat(generator.uniform(0.5, 0.98, cells), lines)
    is_back = stats.norm.cdf(score) < rate[group]
    return rate, group, share, is_back & (generator.random(group.size) < share), order, is_back


def test_intervals_cover_the_true_rate_and_the_returns_to_come() -> None:
    generator = np.random.default_rng(4)
    cells = 400
    rate, group, share, came, order, is_back = shop(generator, cells)
    exposure = np.bincount(group, share)
    p = (np.bincount(group, came) / exposure)[group] * share
    deff = rates.design_effect(np.bincount(order, came - p), np.bincount(order, p * (1 - p)))
    assert 1.05 < deff < 1.4
    final = rates.ultimate_rates(group, share, np.ones(group.size), came, deff=deff)
    covered = np.mean((final.low <= rate) & (rate <= final.high))
    band = 3 * np.sqrt(0.9 * 0.1 / cells)
    assert 0.9 - band <= covered <= 0.9 + band
    assert abs(np.mean(final.rate - rate)) < 0.004
    still = np.bincount(group, is_back & ~came)
    assert 0.9 - band <= np.mean((final.to_come_low <= still) & (still <= final.to_come_high)) <= 1
    naive_low, naive_high = rates.wilson(np.bincount(group, came), np.bincount(group))
    assert np.mean((naive_low <= rate) & (rate <= naive_high)) < 0.5


def test_a_prior_speaks_for_the_young_and_is_silent_for_the_mature() -> None:
    prior = (float(np.log(0.3 / 0.7)), 0.05)
    young = rates.ultimate_rate([0.2], [200], [30], prior=prior)
    assert young[0] == pytest.approx(0.37, abs=0.01)  # 30 came, 170 x .26 still do; without prior 75%
    assert young[1] == pytest.approx(0.29, abs=0.02)
    final = rates.ultimate_rates([0], [0.2], [200], [30], prior=prior)  # the share has an interval of its own
    assert 0.15 < final.share_low[0] < young[0] < final.share_high[0]
    assert final.low[0] < 0.3 < final.high[0] < young[0]  # the rate is the prior's: chance alone brought 30 so early
    assert rates.ultimate_rate([0.99], [200], [100], prior=prior) == rates.ultimate_rate([0.99], [200], [100])


def test_returns_to_come_agree_with_the_posterior_when_the_rate_is_sure() -> None:
    final = rates.ultimate_rates([0], [0.5], [1_000_000], [200_000])
    units, low, high = rates.returns_to_come(0.4, [0.5], [800_000])
    assert units == pytest.approx(200_000)
    assert final.to_come[0] == pytest.approx(units, rel=1e-3)
    assert low < units < high


@given(st.integers(0, 200), st.integers(31, 120))
@settings(max_examples=60, deadline=None)
def test_a_dated_windows_day_is_the_same_in_arrays_and_in_both_sqls(age: int, length: int) -> None:
    clock = date(2025, 11, 1)
    line = (
        f"(SELECT DATE '{clock}' AS clock_started_at, DATE '{clock + timedelta(length)}' AS window_ends_on, 30 AS"
        " window_days) o"
    )
    instant = literal_instant(datetime.combine(clock + timedelta(age), time(12)))
    column = {n: literal_column(f"o.{n}") for n in ("clock_started_at", "window_ends_on", "window_days")}
    portable = curve_day(column["clock_started_at"], column["window_ends_on"], column["window_days"], instant)
    sql = portable.compile(dialect=Dialect(), compile_kwargs={"literal_binds": True})
    found = duckdb.execute(f"SELECT {rules.curve_day_sql(str(age), 'o')}, {sql} FROM {line}").fetchall()[0]
    assert found == (curves.development_day(age, length, 30),) * 2


def test_a_dated_window_is_the_usual_one_for_those_who_return_as_ever_and_pools_lines_of_any_length() -> None:
    generator = np.random.default_rng(8)
    start = generator.integers(0, 60, 60_000)
    length, today = 90 - start, 62
    wait = np.minimum(generator.lognormal(np.log(6), 0.6, start.size), 29)
    is_late = generator.random(start.size) < 0.1
    delay = np.floor(np.where(is_late, wait * length / 30, wait)).astype(int)
    dated = curves.Cell("shop", "dresses", "web", 30, True)
    usual = curves.Cell("shop", "dresses", "web", 30)
    last_year = curves.Delays(
        curves.development_day(delay, length, 30), np.ones(start.size), np.full(start.size, 160.0)
    )
    plain = curves.Delays(np.floor(wait), np.ones(start.size), np.full(start.size, 90.0))
    curve = curves.development_curves([usual, dated], {usual: plain, dated: last_year})[dated]
    for first in range(0, 60, 15):
        mine = (start >= first) & (start < first + 15)
        age = today - start[mine]
        maturity = curve[curves.development_day(age, length[mine], 30).astype(int)].mean()
        assert maturity == pytest.approx(np.mean(delay[mine] <= age), abs=0.02)


def recent_returns(generator: np.random.Generator, stretch: float) -> tuple[curves.Delays, np.ndarray]:
    age = generator.integers(0, 90, 30_000)
    slower = np.where(age < 45, stretch, 1.0)
    delay = np.floor(generator.lognormal(np.log(9), 0.6, age.size) * slower)
    seen = delay <= age
    curve = stats.lognorm.cdf(np.arange(1, 92), 0.6, scale=9)
    curve[-1] = 1.0
    return curves.Delays(delay[seen], np.ones(seen.sum()), age[seen]), curve


def test_drift_knows_slower_and_faster_returns_from_chance_and_from_more_sales() -> None:
    generator = np.random.default_rng(9)
    steady = [curves.delay_drift([recent_returns(generator, 1.0)]) for _ in range(30)]
    assert not any(d.is_drifting for d in steady)
    assert 0.6 < np.std([d.z for d in steady]) < 1.4
    for stretch in (0.75, 1.3):
        drift = curves.delay_drift([recent_returns(generator, stretch)])
        assert drift.is_drifting
        assert drift.factor == pytest.approx(stretch, abs=0.08)
    counts, curve = recent_returns(generator, 1.0)
    young = counts.truncation_days < 20
    more = curves.Delays(*(np.concatenate([x, np.repeat(x[young], 3)]) for x in counts))
    assert not curves.delay_drift([(more, curve)]).is_drifting
    assert curves.delay_drift([]) == curves.Drift(1.0, 0.0, 0.0)


def test_a_lot_of_thousands_of_units_is_one_return(build: duckdb.DuckDBPyConnection) -> None:
    estimate.curves(build, Settings())
    before = curve_of(build, 30, "dresses")
    build.execute(
        "UPDATE fact_return_line SET units = 100000 WHERE return_lot_key = (SELECT min(return_lot_key) FROM"
        " fact_return_line WHERE confirmed_at > TIMESTAMP '2025-09-01' AND category IS NULL)"
    )
    estimate.curves(build, Settings())
    assert np.array_equal(before, curve_of(build, 30, "dresses"))


@pytest.fixture
def build() -> Iterator[duckdb.DuckDBPyConnection]:
    """Give two years of a shop: a 30-day window, and in Germany 100 days for the last six weeks only."""
    connection = duckdb.connect(config={"threads": 2})
    create_tables(connection)
    connection.execute("""
        INSERT INTO build_source BY NAME SELECT 'shop' AS source, 'order_line' AS thing, TIMESTAMP '2025-12-31 23:00'
            AS last_occurred_at;
        INSERT INTO fact_order_line BY NAME
        SELECT i AS order_line_key, i // 2 AS order_key, 'shop' AS source, ['dresses', 'shoes'][1 + i % 2] AS category,
            'web' AS channel, ['FR', 'DE'][1 + i // 2 % 2] AS country,
            'style' || (i % 50) AS style_id, TIMESTAMP '2024-01-01' + to_hours(i) AS ordered_at, ordered_at::DATE
                AS ordered_on, ordered_at + INTERVAL 2 DAY AS clock_started_at,
            CASE WHEN country = 'DE' AND ordered_at >= TIMESTAMP '2025-11-19' THEN 100 ELSE 30 END AS window_days, 1
                AS units_sold, 50 AS net_amount
        FROM range(17540) t(i);
        INSERT INTO fact_return_line BY NAME
        SELECT * FROM (SELECT order_line_key AS return_lot_key, order_line_key AS return_line_key, order_line_key,
            source, 1 AS units, true AS is_headline,
            clock_started_at + to_days((3 + hash(order_line_key) % 20)::INTEGER) AS confirmed_at
                FROM fact_order_line WHERE hash(order_line_key + 1) % 100 < 30)
        WHERE confirmed_at <= TIMESTAMP '2025-12-31 23:00';
    """)
    yield connection
    connection.close()


def curve_of(build: duckdb.DuckDBPyConnection, window: int, category: str) -> np.ndarray:
    return build.execute(
        "SELECT share FROM estimate_development_curve WHERE window_days = ? AND category = ? ORDER BY day",
        [window, category],
    ).fetchnumpy()["share"]


def test_a_young_long_window_does_not_claim_the_short_ones_maturity(build: duckdb.DuckDBPyConnection) -> None:
    estimate.curves(build, Settings())
    short, long = curve_of(build, 30, "dresses"), curve_of(build, 100, "dresses")
    assert short.size == 91
    assert long.size == 161
    assert short[12] == pytest.approx(0.5, abs=0.04)  # delays of 3 to 22 days, evenly
    assert short[22] > 0.98
    # Lines of at most six weeks whose returns come as soon as ever: nothing seen of days 41 to 160. Half of it goes on
    # as the short curve, half as that one stretched, and that it may be either is its doubt.
    stretched = curves.stretched_curve(short, 30, 100, 160)
    assert stretched[45] + 0.05 < long[45] < short[45] - 0.05
    doubts = dict(build.execute("SELECT window_days, max(doubt) FROM estimate_development_curve GROUP BY 1").fetchall())
    assert doubts[100] > 0.2
    assert doubts[30] < 0.1
    assert (np.diff(long) >= 0).all()


def test_what_is_to_come_under_a_new_window_is_counted_by_category(build: duckdb.DuckDBPyConnection) -> None:
    estimate.curves(build, Settings())
    estimate.priors(build, Settings())
    found = build.execute("SELECT category, since_on, share FROM estimate_new_curve ORDER BY 1 NULLS LAST").fetchall()
    assert [row[:2] for row in found] == [(c, date(2025, 11, 19)) for c in ("dresses", "shoes", None)]
    # Germany is half of the sales, and of its lines far more are still open.
    assert all(0.5 < share < 0.9 for *_, share in found)
    build.execute("UPDATE fact_order_line SET window_days = 30")
    estimate.curves(build, Settings())
    estimate.priors(build, Settings())
    assert build.execute("SELECT count(*) FROM estimate_new_curve").fetchall() == [(0,)]


def test_cells_without_returns_and_credits_bound_by_rule_have_curves(build: duckdb.DuckDBPyConnection) -> None:
    build.execute("""
        INSERT INTO build_source BY NAME SELECT 'till' AS source, 'order_line' AS thing, TIMESTAMP '2025-12-31'
            AS last_occurred_at;
        INSERT INTO fact_order_line BY NAME SELECT 10000000 + i AS order_line_key, 10000000 + i AS order_key, 'till'
            AS source, TIMESTAMP '2025-01-01' AS ordered_at,
            DATE '2025-01-01' AS ordered_on, TIMESTAMP '2025-01-01' AS clock_started_at, 1 AS units_sold
                FROM range(2000) t(i);
        INSERT INTO fact_return_line BY NAME SELECT 10000000 + i AS return_lot_key, 10000000 + i AS return_line_key,
            'till' AS source, 1 AS units, true AS is_headline,
            TIMESTAMP '2025-01-11' AS confirmed_at FROM range(1000) t(i);
        INSERT INTO estimate_credit_match BY NAME SELECT 10000000 + i AS return_line_key, 10000000 + i
            AS order_line_key, 1 AS units, i >= 900 AS is_cancellation FROM range(1000) t(i);
    """)
    estimate.curves(build, Settings())
    rows = build.execute("""
        SELECT count(*), max(returned), max(share) FILTER (day = 9), min(share) FILTER (day = 10)
            FROM estimate_development_curve
        WHERE source = 'till' AND category IS NULL AND window_days IS NULL
    """).fetchall()
    assert rows[0][:2] == (201, 0)  # a year old: outside the days that count, so the assumed curve
    build.execute("UPDATE fact_order_line SET clock_started_at = TIMESTAMP '2025-06-01' WHERE source = 'till'")
    build.execute("UPDATE fact_return_line SET confirmed_at = TIMESTAMP '2025-06-11' WHERE source = 'till'")
    estimate.curves(build, Settings())
    count, returned, before, after = build.execute("""
        SELECT count(*), max(returned), max(share) FILTER (day = 9), min(share) FILTER (day = 10)
            FROM estimate_development_curve WHERE source = 'till'
    """).fetchall()[0]
    assert (count, returned) == (201, 900)
    assert before < 0.08  # a start that is moved a little smears the step: 900 returns of one day tell no shift
    assert after > 0.92


def test_priors_know_the_categories_rate_and_that_orders_are_independent_here(build: duckdb.DuckDBPyConnection) -> None:
    estimate.curves(build, Settings())
    estimate.priors(build, Settings())
    found = build.execute("SELECT kind, category, a, b, deff FROM estimate_rate_prior ORDER BY month").fetchall()
    rows = {(k, c): (a, b, d) for k, c, a, b, d in found}  # the last month's, the one to come
    assert set(rows) == {(k, c) for k in ("order", "cohort") for c in (None, "dresses", "shoes")}
    months = build.execute("SELECT DISTINCT month FROM estimate_rate_prior WHERE kind = 'cohort' ORDER BY 1").fetchall()
    assert (months[0][0], months[-1][0], len(months)) == (date(2024, 1, 1), date(2026, 1, 1), 25)
    for category in (None, "dresses", "shoes"):
        _, _, deff = rows["order", category]
        assert 1 <= deff < 1.1
        mean, sd, _ = rows["cohort", category]
        assert 1 / (1 + np.exp(-mean)) == pytest.approx(0.3, abs=0.02)
        assert sd >= 0.03


def drift_of(build: duckdb.DuckDBPyConnection) -> dict[str | None, bool]:
    rows = build.execute("SELECT category, is_drifting FROM estimate_delay_drift").fetchall()
    return dict(rows)


def test_the_alarm_tells_late_returns_from_a_new_window(build: duckdb.DuckDBPyConnection) -> None:
    estimate.curves(build, Settings())
    assert drift_of(build) == {None: False, "dresses": False, "shoes": False}
    # From 19 November returns take twice as long: a drift, as long as nothing says that the policy changed that day.
    since = "ordered_at >= TIMESTAMP '2025-11-19'"
    late = f"order_line_key IN (SELECT order_line_key FROM fact_order_line WHERE {since})"
    build.execute(
        "UPDATE fact_return_line SET confirmed_at = began + 2 * (confirmed_at - began) FROM (SELECT order_line_key AS"
        f" k, clock_started_at AS began FROM fact_order_line) WHERE k = order_line_key AND {late}"
    )
    build.execute("DELETE FROM fact_return_line WHERE confirmed_at > TIMESTAMP '2025-12-31 23:00'")
    build.execute("UPDATE fact_order_line SET window_days = 30")
    estimate.curves(build, Settings())
    assert drift_of(build)[None]
    build.execute(f"""
        UPDATE fact_order_line SET window_days = 100, policy_key = 2 WHERE {since};
        UPDATE fact_order_line SET policy_key = 1 WHERE policy_key IS NULL;
        INSERT INTO dim_policy (policy_key, policy_id, valid_from, window_days) VALUES (1, 'P', TIMESTAMP '2023-01-01',
            30), (2, 'P', TIMESTAMP '2025-11-19', 100);
    """)
    estimate.curves(build, Settings())
    assert not any(drift_of(build).values())
    # So does a date at Christmas: its lines are a cell of their own, and no drift of the others'.
    build.execute(
        "UPDATE fact_order_line SET window_days = 30, window_ends_on = DATE '2026-01-31', policy_key = 1 WHERE"
        " policy_key = 2"
    )
    build.execute("DELETE FROM dim_policy WHERE policy_key = 2")
    estimate.curves(build, Settings())
    assert not any(drift_of(build).values())
    assert build.execute(
        "SELECT count(*) FROM (SELECT DISTINCT category, is_dated FROM estimate_development_curve)"
    ).fetchall() == [(4,)]


@pytest.mark.parametrize(
    ("change", "is_fitted_again"),
    [
        ("SELECT 1", False),
        ("DELETE FROM fact_return_line WHERE hash(return_line_key) % 100 < 2", False),
        ("DELETE FROM fact_return_line WHERE hash(return_line_key) % 100 < 8", True),
        ("UPDATE build_source SET last_occurred_at = last_occurred_at + INTERVAL 6 DAY", False),
        ("UPDATE build_source SET last_occurred_at = last_occurred_at + INTERVAL 7 DAY", True),
        ("UPDATE fact_order_line SET category = 'hats' WHERE order_line_key = 9", True),
    ],
)
def test_an_increment_fits_again_what_is_stale_or_drifting(
    build: duckdb.DuckDBPyConnection, change: str, is_fitted_again: bool
) -> None:
    estimate.rates(build, Settings(), is_increment=False)
    build.execute("UPDATE estimate_development_curve SET returned = -1; UPDATE estimate_rate_prior SET deff = -1")
    build.execute(change)
    estimate.rates(build, Settings(), is_increment=True)
    marked = "SELECT count(*) FILTER ({0} = -1) = 0, count(*) > 0 FROM {1}"
    for column, table in (("returned", "estimate_development_curve"), ("deff", "estimate_rate_prior")):
        assert build.execute(marked.format(column, table)).fetchall() == [(is_fitted_again, True)]
    estimate.rates(build, Settings(), is_increment=False)
    assert build.execute(marked.format("returned", "estimate_development_curve")).fetchall() == [(True, True)]


def test_an_empty_build_has_no_estimates() -> None:
    with duckdb.connect() as connection:
        create_tables(connection)
        estimate.curves(connection, Settings())
        estimate.priors(connection, Settings())
        probability.probability(connection, Settings(), "TRUE")
        for table in (
            "estimate_development_curve",
            "estimate_delay_drift",
            "estimate_new_curve",
            "estimate_rate_prior",
            "estimate_return_probability",
            "model_version",
        ):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchall() == [(0,)]
        connection.execute(
            "INSERT INTO build_source (source, thing, last_occurred_at) VALUES ('s', 'order_line', ?)",
            [datetime(2025, 1, 1)],
        )
        probability.probability(connection, Settings(), "TRUE")
        assert connection.execute("SELECT count(*) FROM model_version").fetchall() == [(0,)]


def test_where_more_came_back_than_was_sold_nothing_is_left_to_come() -> None:
    """Rows of one part may have more returns than sales: added up it has none left, its bounds in order."""
    parts = rates.ultimate_rates([0, 0], [0.5, 0.5], [1, 4], [3, 2])
    assert parts.to_come[0] > 0
    whole = rates.summed_rates([0], parts, [5], [5], 1)
    assert (whole.to_come_low[0], whole.to_come[0], whole.to_come_high[0]) == (0.0, 0.0, 0.0)
    assert whole.rate[0] == 1.0
