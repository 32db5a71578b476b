"""What a probability is worth: measures worked out by hand, intervals that cover, the gate, and the signs of a leak."""

import numpy as np
import pytest

from models import model_judgement as judge
from models.model_judgement import Weeks, area_under_curve, calibration_curve, gate, leaks, slices, stability


def test_the_area_is_the_share_of_pairs_in_order() -> None:
    generator = np.random.default_rng(1)
    y, score = (generator.random(200) < 0.4).astype(float), np.round(generator.random(200), 1)
    above = (score[y == 1][:, None] > score[y == 0]).mean() + (score[y == 1][:, None] == score[y == 0]).mean() / 2
    assert area_under_curve(y, score) == pytest.approx(above)
    assert np.isnan(area_under_curve(np.ones(5), np.arange(5)))


def noise(seed: int, lines: int = 4_000, weeks: int = 30) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give labels that nothing explains, a score that claims to, and days."""
    generator = np.random.default_rng(seed)
    y = (generator.random(lines) < 0.3).astype(float)
    return y, 0.3 + 0.03 * generator.normal(size=lines), np.sort(generator.integers(0, 7 * weeks, lines))


def test_noise_passes_the_gate_seldom_and_a_signal_does() -> None:
    passed = 0
    for seed in range(300):
        y, p, day = noise(seed)
        passed += gate(y, p, {"shop": np.full(y.size, 0.3), "own": np.full(y.size, y.mean())}, Weeks(day)).is_open
    assert passed <= 8  # of 300; by the bound alone 1.25%, and a score that varies for nothing loses
    y, p, day = noise(1)
    better = gate(y, 0.3 + 0.2 * (y - 0.3), {"shop": np.full(y.size, 0.3)}, Weeks(day))
    assert better.is_open
    losses = (judge.log_losses(y, rate).sum() for rate in (0.3 + 0.2 * (y - 0.3), np.full(y.size, 0.3)))
    assert better.share == pytest.approx(1 - next(losses) / next(losses))
    few = gate(y, 0.3 + 0.2 * (y - 0.3), {"shop": np.full(y.size, 0.3)}, Weeks(day // 60))
    assert not few.is_open  # of too few weeks nothing is judged


def test_the_worst_comparison_counts() -> None:
    y, _, day = noise(2)
    p = 0.3 + 0.1 * (y - 0.3)
    found = gate(y, p, {"weak": np.full(y.size, 0.3), "strong": 0.3 + 0.4 * (y - 0.3)}, Weeks(day))
    assert (found.base, found.is_open) == ("strong", False)


def test_intervals_of_weeks_cover_where_weeks_differ() -> None:
    """Weeks have levels of their own; the interval of the share covers the mean level in 95%, lines alone would not."""
    covered = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        day = np.repeat(np.arange(20) * 7, 100)
        level = np.clip(0.3 + 0.08 * generator.normal(size=20), 0.02, 0.98)
        y = (generator.random(day.size) < np.repeat(level, 100)).astype(float)
        found = Weeks(day).ratio(y, np.ones(y.size))
        covered += found.low <= 0.3 <= found.high
    assert 0.90 <= covered / 200 <= 0.99


def test_a_curve_and_slices_hold_what_was_expected() -> None:
    generator = np.random.default_rng(3)
    p = generator.uniform(0.05, 0.6, 20_000)
    y, day = (generator.random(p.size) < p).astype(float), np.arange(p.size) // 100
    weeks = Weeks(day)
    curve = calibration_curve(y, p, weeks)
    assert sum(b.lines for b in curve) == 20_000
    assert sum(b.low <= b.expected <= b.high for b in curve) >= 8
    assert weeks.calibration(y, p).low < judge.calibration_error(y, p) < 0.02
    y[(day % 2 == 0)] = generator.random((day % 2 == 0).sum()) < 0.9
    found = {s.value: s for s in slices(y, p, {"parity": np.where(day % 2, "odd", "even")}, weeks)}
    assert found["odd"].is_as_expected
    assert not found["even"].is_as_expected


def test_decision_value_is_the_net_benefit() -> None:
    """Ten lines, four returned; at a threshold of 1/4 three of the five acted on are right: .3 - .2 x 1/3."""
    y = np.array([1, 1, 1, 0, 0, 1, 0, 0, 0, 0])
    p = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.2, 0.1, 0.1, 0.1, 0.1])
    (found,) = judge.decision_value(y, p, [0.25])
    assert found.model == pytest.approx(0.3 - 0.2 / 3)
    assert found.always == pytest.approx(0.4 - 0.6 / 3)
    assert found.acted == 0.5


def test_a_feature_that_knows_the_future_is_named_and_a_strong_one_is_not() -> None:
    generator = np.random.default_rng(4)
    n = 6_000
    strong = generator.normal(size=n)
    y = (generator.random(n) < 1 / (1 + np.exp(1 - 1.5 * strong))).astype(float)  # alone .83
    features = {
        "strong": strong,
        "rewritten": np.where(y == 1, 0.0, np.exp(generator.normal(3, 1, n))),
        "partly": np.where((y == 1) & (generator.random(n) < 0.2), 0.0, np.exp(generator.normal(3, 1, n))),
        "present": np.where(y == 1, np.nan, 1.0),
        "nothing": generator.normal(size=n),
        "never_back": np.where((y == 0) & (generator.random(n) < 0.2), 1.0, 0.0),  # final sale: kept for a reason
    }
    found = {leak.feature: leak.how for leak in leaks(features, y)}
    assert 0.8 < area_under_curve(y, strong) < 0.88
    assert found == {"rewritten": "alone", "partly": "pure", "present": "alone"}


def test_stability_is_symmetric_and_grows() -> None:
    assert stability([10, 20], [20, 10]) == pytest.approx(stability([20, 10], [10, 20]))
    assert stability([500, 500], [520, 480]) < 0.01 < 0.25 < stability([500, 500], [900, 100])
