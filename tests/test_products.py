"""Products: shrinkage, flags and partial pooling against closed forms and simulated truth; what a page asks of a build."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from models import products


def test_products_two_of_three_returned_never_tops_the_list() -> None:
    generator = np.random.default_rng(6)
    theta = generator.beta(6, 14, 800)
    sold = np.maximum(generator.lognormal(np.log(40), 1.3, 800).astype(int), 1)
    returned = generator.binomial(sold, theta)
    sold, returned = np.append(sold, 3), np.append(returned, 2)
    a, b = products.fit_beta_binomial(returned, sold)
    assert a / (a + b) == pytest.approx(0.3, abs=0.02)
    assert 13 < a + b < 30
    above = products.probability_above(returned, sold, a, b, 1.25 * a / (a + b))
    assert (above > above[-1]).sum() > 40
    mean, low, high = products.shrunk_rate(returned, sold, a, b)
    assert np.mean((low[:-1] <= theta) & (theta <= high[:-1])) == pytest.approx(0.9, abs=0.035)
    assert mean[-1] < 0.4


def test_flags_keep_their_false_share() -> None:
    generator = np.random.default_rng(7)
    false_shares, found = [], 0
    for _ in range(12):
        theta = generator.beta(6, 14, 1_000)
        sold = np.maximum(generator.lognormal(np.log(40), 1.3, 1_000).astype(int), 1)
        returned = generator.binomial(sold, theta)
        a, b = products.fit_beta_binomial(returned, sold)
        flags = products.flagged(products.probability_above(returned, sold, a, b, 0.375))
        false_shares.append(np.mean(theta[flags] <= 0.375))
        found += int(flags.sum())
    assert np.mean(false_shares) < 0.13
    assert found > 12 * 30


@given(st.lists(st.floats(0, 1), max_size=30))
@settings(max_examples=50, deadline=None)
def test_flags_are_the_surest_and_keep_the_bar(probability: list[float]) -> None:
    flags = products.flagged(probability)
    chosen, left = np.array(probability)[flags], np.array(probability)[~flags]
    if chosen.size:
        assert np.mean(1 - chosen) <= 0.1 + 1e-9
        assert left.size == 0 or chosen.min() >= left.max()
