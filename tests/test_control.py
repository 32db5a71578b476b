"""Control charts: how seldom they cry wolf, how surely they see, and what bends them."""

import numpy as np

from models import control

WEEKS = 52
BASE = np.arange(WEEKS) < 32


def weeks(rng: np.random.Generator, *, drop: float = 0.0, spread: float = 0.02) -> tuple[np.ndarray, np.ndarray]:
    """Weekly counts kept of about 200: 90% with a spread of their own between weeks; `drop` in the last four weeks."""
    n = rng.integers(120, 320, WEEKS)
    p = np.clip(rng.normal(0.9, spread, WEEKS) - drop * (np.arange(WEEKS) >= WEEKS - 4), 0, 1)
    return rng.binomial(n, p), n


def test_quiet_weeks_are_seldom_a_signal_though_they_vary_more_than_counts_alone() -> None:
    rng = np.random.default_rng(1)
    charts = [control.shares(*weeks(rng), BASE) for _ in range(200)]
    later = np.concatenate([c.signal[~BASE] for c in charts])
    assert np.mean(later != "") <= 0.03
    rng = np.random.default_rng(1)
    drawn = [weeks(rng) for _ in range(200)]
    plain = []
    for kept, n in drawn:  # limits of the binomial alone, as most tools draw them
        p = kept[BASE].sum() / n[BASE].sum()
        plain.append(np.abs(kept / n - p)[~BASE] > 3 * np.sqrt(p * (1 - p) / n)[~BASE])
    assert np.mean(np.concatenate(plain)) > 2 * np.mean(np.isin(later, ["above", "below"]))


def test_a_drop_is_seen_and_named() -> None:
    rng = np.random.default_rng(2)
    seen = [(control.shares(*weeks(rng, drop=0.2), BASE).signal[-4:] == "below").any() for _ in range(100)]
    assert np.mean(seen) >= 0.97


def test_a_slow_shift_is_seen_as_a_run() -> None:
    rng = np.random.default_rng(3)
    found = []
    for _ in range(60):
        x = rng.normal(10, 1, WEEKS)
        x[-12:] += 2
        found.append(np.isin(control.individuals(x, BASE).signal[-12:], ["run_above", "above"]).any())
    assert np.mean(found) >= 0.9


def test_one_odd_week_in_the_baseline_hardly_widens_the_limits() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(10, 1, WEEKS)
    usual = control.individuals(x, BASE)
    x[10] = 30
    odd = control.individuals(x, BASE)
    assert (odd.high - odd.low)[0] < 1.25 * (usual.high - usual.low)[0]
    assert odd.signal[10] == "above"


def test_weeks_without_anything_and_too_short_a_baseline_say_nothing() -> None:
    chart = control.shares([5, 0, 6, 0], [10, 0, 10, 0], [True, True, True, False])
    assert chart.signal.tolist() == ["", "", "", ""]
    assert np.isnan(chart.low[1])
    short = control.individuals([1.0, 2.0, 50.0], [True, False, False])
    assert np.isnan(short.centre).all()
    assert short.signal.tolist() == ["", "", ""]


def queue(rng: np.random.Generator, weeks: int = 52) -> np.ndarray:
    """How much waits at a site that works off what comes: one week is like the next, and no autoregression."""
    waiting, found = 0.0, np.empty(weeks)
    for week in range(-30, weeks):
        waiting = max(waiting + rng.gamma(40, 1 / 40) - 1.05, 0.0)
        if week >= 0:
            found[week] = waiting
    return found


def test_weeks_that_are_alike_do_not_signal_by_themselves() -> None:
    rng = np.random.default_rng(11)
    is_base = np.arange(52) < 40
    charts = [queue(rng) for _ in range(150)]
    alike = np.mean([(control.individuals(x, is_base).signal[40:] != "").any() for x in charts])
    shuffled = np.mean([(control.individuals(rng.permutation(x), is_base).signal[40:] != "").any() for x in charts])
    assert np.mean([control.autocorrelation(x) for x in charts]) > 0.4
    assert alike < shuffled + 0.15
    risen = [np.where(np.arange(52) < 48, x, x + 8 * x.std()) for x in charts]
    assert np.mean([(control.individuals(x, is_base).signal[48:] != "").any() for x in risen]) > 0.85


def test_independent_weeks_need_eight_in_a_row() -> None:
    assert [control.in_a_row(r) for r in (0.0, 0.3, 0.6, 0.9)] == [8, 11, 15, 33]
    # The chance of so long a run, by counting: as rare as eight independent weeks.
    rng = np.random.default_rng(12)
    x = np.zeros((4000, 40))
    for week in range(1, 40):
        x[:, week] = 0.6 * x[:, week - 1] + 0.8 * rng.normal(size=4000)
    last = np.sign(x[:, -control.in_a_row(0.6) :])
    assert np.mean(np.abs(last.sum(1)) == last.shape[1]) < 2 * 0.5 ** (control.IN_A_ROW - 1)
