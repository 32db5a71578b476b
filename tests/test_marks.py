"""Marks: which differences stand out, held together; against a slow count and where nothing happens."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control, norm

from models import marks, rates


def test_one_difference_is_marked_when_its_interval_excludes_none() -> None:
    for gap, low, high in ((0.1, 0.001, 0.2), (-0.1, -0.3, -0.001), (0.1, -0.001, 0.2), (0.0, -0.1, 0.1)):
        assert marks.beyond_noise(gap, low, high) == ((low > 0) or (high < 0))


def test_marks_are_those_of_benjamini_and_hochberg() -> None:
    rng = np.random.default_rng(1)
    gap = rng.normal(0, 1, 60) + np.where(np.arange(60) < 8, 3, 0)
    z = rates.two_sided_z(0.95)
    p = 2 * norm.sf(np.abs(gap))
    assert marks.surprise(gap, gap - z, gap + z, 0.95) == pytest.approx(p)
    for among in (1, 3):
        found = marks.beyond_noise(gap, gap - z, gap + z, 0.95, among)
        assert found.tolist() == (false_discovery_control(p) <= 0.05 / among).tolist()
    assert found.any()


def test_the_bound_on_the_side_of_none_decides() -> None:
    assert marks.surprise(0.2, 0.1, 9.0) < 0.01
    assert marks.surprise(-0.2, -9.0, -0.1) < 0.01


def test_what_has_no_interval_is_never_marked_and_weighs_on_nothing() -> None:
    gap, low, high = [0.5, 0.5, np.nan], [0.2, np.nan, np.nan], [0.8, np.nan, np.nan]
    assert marks.beyond_noise(gap, low, high).tolist() == [True, False, False]
    assert marks.beyond_noise([], [], []).tolist() == []


def test_where_nothing_moves_nine_looks_in_ten_mark_nothing() -> None:
    rng = np.random.default_rng(2)
    z = rates.two_sided_z(0.9)
    gaps = rng.normal(0, 1, (2000, 50))
    seen = np.array([marks.beyond_noise(g, g - z, g + z) for g in gaps])
    assert 0.07 <= seen.any(1).mean() <= 0.13
    assert seen.sum(1).mean() < 0.3
    assert (np.abs(gaps) > z).sum(1).mean() == pytest.approx(5, abs=0.3)  # each for itself


def test_promises_of_one_return_count_once() -> None:
    # 400 returns of eight promises that are kept or broken together: as sure as 400, and with one promise each too.
    kept = (np.arange(400) % 4 > 0).astype(float)
    eight = rates.effect_of_sums([8 * kept.sum()], [3200.0], [64 * kept.sum()], [64 * kept.sum()], [64 * 400.0])
    one = rates.effect_of_sums([kept.sum()], [400.0], [kept.sum()], [kept.sum()], [400.0])
    assert (eight, one) == pytest.approx((8.0, 1.0))
    assert rates.wilson(8 * kept.sum(), 3200, 0.9, eight) == pytest.approx(rates.wilson(kept.sum(), 400, 0.9))
