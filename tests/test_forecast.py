"""Forecasts: arithmetic on shops without noise, intervals that widen, what the pipeline feeds, the back-test."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from models.forecast import HORIZON, LEAST_WEEKS, Past, backtest, forecast, naive, triangle, weekly
from pipelines import analyses
from pipelines.errors import UnknownDimension
from pipelines.warehouse.engine import Build


def steady(weeks: int, back: float = 3.0, delay: int = 14) -> tuple[np.ndarray, np.ndarray]:
    """Ten units a day, of which so many come back after so many days."""
    days = 7 * weeks
    returned = np.zeros((days, 40))
    returned[: days - delay, delay] = back
    return np.full(days, 10.0), returned


def test_weeks_end_at_the_last_day_known() -> None:
    assert weekly(np.arange(9)).tolist() == [sum(range(2, 9))]
    orders, back = triangle(*steady(10))
    assert orders.tolist() == [70.0] * 10
    assert back[0].tolist() == [0, 0, 21, *[0] * 8]
    assert back.sum() == (10 - 2) * 21


def test_a_steady_shop_goes_on() -> None:
    """The same every week: what is pending and what future orders bring meet without a seam."""
    found = forecast(*steady(120))
    assert found is not None
    assert found.mean == pytest.approx([21.0] * HORIZON, rel=1e-3)
    assert (found.low <= found.mean).all()
    assert (found.mean <= found.high).all()


def test_the_first_weeks_rest_on_orders_that_are_placed() -> None:
    """Orders that double send back twice as much after their delay; last year's returns know of it in part alone."""
    orders, returned = steady(120)
    doubled = orders.copy()
    doubled[-14:] = 20.0
    before, after = forecast(orders, returned), forecast(doubled, returned)
    assert before is not None
    assert after is not None
    assert (after.mean[:2] > 1.8 * before.mean[:2]).all()
    assert (after.mean[:2] <= 2 * before.mean[:2]).all()


def test_a_forecast_of_the_past_knows_nothing_that_came_later() -> None:
    orders, returned = _noisy(np.random.default_rng(3), 0.1)
    day = np.arange(len(orders))[:, None] + np.arange(returned.shape[1])
    cut = len(orders) - 7 * 9
    earlier = forecast(orders[:cut], np.where(day < cut, returned, 0.0)[:cut])
    (later,) = backtest(orders, returned, [9])
    assert earlier is not None
    assert later is not None
    for name in ("mean", "low", "high", "moved"):
        assert getattr(later, name) == pytest.approx(getattr(earlier, name))


def test_last_weeks_that_left_their_forecast_widen_it_or_leave_none() -> None:
    """Returns triple from one week to the next: nobody forecast it, and it is said."""
    orders, returned = _noisy(np.random.default_rng(4), 0.05)
    calm = forecast(orders, returned)
    day = np.arange(len(orders))[:, None] + np.arange(returned.shape[1])
    moved = forecast(orders, np.where(day >= len(orders) - 28, 3.0, 1.0) * returned)
    assert calm is not None
    assert moved is not None
    assert not calm.is_left
    assert moved.is_left
    assert moved.off > 0.5
    assert (moved.high / moved.mean).mean() > (calm.high / calm.mean).mean()


def test_orders_that_left_their_forecast_widen_it_before_their_returns_come() -> None:
    """Orders of the last ten days double, and none of them is back: the interval says so on the upper side alone."""
    orders, returned = _noisy(np.random.default_rng(8), 0.05)
    calm, moved = forecast(orders, returned), forecast(np.r_[orders[:-10], 2 * orders[-10:]], returned)
    assert calm is not None
    assert moved is not None
    assert not calm.is_widened
    assert moved.is_widened
    assert not moved.is_left
    assert moved.moved == pytest.approx(calm.moved)
    assert moved.orders_off > 0.5
    assert np.log(moved.high / moved.mean).mean() > 1.5 * np.log(calm.high / calm.mean).mean()
    assert np.log(moved.mean / moved.low).mean() == pytest.approx(np.log(calm.mean / calm.low).mean(), rel=0.02)


def test_last_year_knows_what_comes_every_year() -> None:
    """Returns put off to the same weeks of each year are forecast from last year, which orders alone do not tell."""
    days, rng = 7 * 52 * 3, np.random.default_rng(5)
    orders = rng.poisson(100.0, days + 84).astype(float)
    week = np.arange(days + 84) // 7 % 52
    delay = np.where((week >= 40) & (week < 50), (53 - week) * 7, 10)  # kept until the third week after New Year
    returned = np.zeros((days + 84, 130))
    returned[np.arange(days + 84), np.minimum(delay, 129)] = rng.binomial(orders.astype(int), 0.3)
    day = np.arange(days + 84)[:, None] + np.arange(130)
    came = weekly(np.bincount(day.ravel(), returned.ravel())[days : days + 84])
    found = Past(orders[:days], np.where(day < days, returned, 0.0)[:days]).forecast()
    assert found is not None
    assert came.max() > 3 * came[4:].mean()
    assert found.mean[came.argmax()] > 0.7 * came.max()


def test_noise_widens_the_interval() -> None:
    rng = np.random.default_rng(1)
    calm, wild = (forecast(*_noisy(rng, noise)) for noise in (0.02, 0.3))
    assert calm is not None
    assert wild is not None
    assert (wild.high - wild.low)[6:].mean() > 2 * (calm.high - calm.low)[6:].mean()


def _noisy(rng: np.random.Generator, noise: float) -> tuple[np.ndarray, np.ndarray]:
    days = 7 * 150
    orders = rng.poisson(300 * np.exp(np.repeat(rng.normal(0, noise, 150), 7))).astype(float)
    returned = np.zeros((days, 40))
    returned[: days - 14, 14] = rng.binomial(orders.astype(int), 0.3)[: days - 14]
    return orders, returned


def test_too_short_a_history_says_nothing() -> None:
    assert forecast(*steady(LEAST_WEEKS - 1)) is None
    assert forecast(np.full(400, 10.0), np.zeros((400, 40))) is None


def test_naive_forecasts() -> None:
    year = np.arange(60.0)
    found = naive(year, 3)
    assert found["seasonal"].tolist() == [8, 9, 10]
    assert found["last_weeks"].tolist() == [57.5] * 3
    assert naive(np.arange(10.0), 2)["seasonal"].tolist() == [7.5, 7.5]


def test_the_shop_is_forecast_by_group_and_tested(sample_build: Build) -> None:
    """Groups of one cut have the weeks of the whole.

    What is shown beat a year ago; refunds are units times what one costs.
    """
    whole = analyses.forecast(sample_build)
    assert len(whole) == HORIZON
    assert (whole["week"].diff().dropna() == timedelta(7)).all()
    assert whole["week"].iloc[0] > date(2026, 1, 1)
    by = analyses.forecast(sample_build, by="category")
    assert by.groupby("group").size().eq(HORIZON).all()
    assert by["value"].sum() == pytest.approx(whole["value"].sum(), rel=0.35)
    tested = analyses.backtested(sample_build)
    ratio = tested["error"].sum() / tested["naive_error"].sum()
    assert whole["error_ratio"].iloc[0] == pytest.approx(ratio)
    said = whole["reason"].iloc[0]
    assert whole["is_shown"].all() == (ratio < 1 and "no forecast" not in said)
    assert (whole["caution"].iloc[0] == "forecast_moved") == ("last weeks" in said)
    assert tested["inside"].mean() > 0.6
    money = analyses.forecast(sample_build, "refund_amount")
    assert (money["value"] > 10 * whole["value"] * 0.5).all()
    past = analyses.recent(sample_build)
    assert past["week"].iloc[-1] + timedelta(7) == whole["week"].iloc[0]


def test_what_does_not_beat_a_year_ago_is_not_shown() -> None:
    found = pd.DataFrame(
        {"is_shown": [True, False], "value": [5.0, 6.0], "low": [4.0, 5.0], "high": [6.0, 7.0], "naive": [1.0, 2.0]}
    )
    assert analyses.shown(found)["value"].tolist() == [5, 2]
    assert analyses.shown(found)["low"].isna().tolist() == [False, True]


def test_what_is_no_forecast(sample_build: Build, tiny_build: Build) -> None:
    with pytest.raises(UnknownDimension, match="There is no forecast of 'magic'"):
        analyses.forecast(sample_build, "magic")
    with pytest.raises(UnknownDimension, match="cannot be cut by 'size'"):
        analyses.forecast(sample_build, by="size")
    assert analyses.forecast(tiny_build).empty
