"""Why a rate moved and how the date bases hang together.

Worked out by hand, and exact over random periods and filters.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import hand_build
import numpy as np
import pandas as pd
import pytest

from pipelines import analyses, metrics
from pipelines.analyses import customers
from pipelines.metrics import Question
from pipelines.metrics.bind import observed
from pipelines.warehouse.engine import Build, open_duckdb

DECEMBER = (date(2025, 12, 1), date(2025, 12, 31))
NOVEMBER = (date(2025, 11, 1), date(2025, 11, 30))


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Build]:
    with open_duckdb(hand_build.write(tmp_path_factory.mktemp("hand") / "hand.duckdb")) as opened:
        yield opened


def bridge(build: Build, name: str, period: tuple[date, date]) -> dict[str, tuple[float, float]]:
    found = analyses.reconciliation(build, period)
    mine = found[found["bridge"] == name]
    return {r.step: (r.units, r.value) for r in mine.itertuples()}


def test_from_order_day_to_return_day_by_hand(build: Build) -> None:
    # November's orders brought back a and b (asked in November) and c (asked in December, worth 80)
    assert bridge(build, "order_to_return", NOVEMBER) == {
        "by_order": (3, 180),
        "asked_other_days": (-1, -80),
        "ordered_other_days": (0, 0),
        "without_order": (0, 0),
        "by_return": (2, 100),
    }
    # December: g of line 4 (60), then c of November's order, then h that no order explains; i undid an order entry
    assert bridge(build, "order_to_return", DECEMBER) == {
        "by_order": (1, 60),
        "asked_other_days": (0, 0),
        "ordered_other_days": (1, 80),
        "without_order": (3, 30),
        "by_return": (5, 170),
    }


def test_from_return_day_to_money_by_hand(build: Build) -> None:
    # c was paid in January; d of January is not paid
    assert bridge(build, "return_to_refund", DECEMBER) == {
        "by_return": (5, 170),
        "not_paid_yet": (0, 0),
        "paid_other_days": (-1, -80),
        "asked_other_days": (0, 0),
        "by_refund": (4, 90),
    }
    january = (date(2026, 1, 1), date(2026, 1, 31))
    assert bridge(build, "return_to_refund", january) == {
        "by_return": (1, 50),
        "not_paid_yet": (-1, -50),
        "paid_other_days": (0, 0),
        "asked_other_days": (1, 80),
        "by_refund": (1, 80),
    }
    money = analyses.reconciliation(build, january)
    paid = money[(money["bridge"] == "refund_to_money") & (money["step"] == "money_moved")]["value"].iloc[0]
    assert paid == 90  # refund 2 paid 90 where its line says 96


def test_from_return_day_to_a_shop_systems_figure_by_hand(build: Build) -> None:
    # a shop subtracts what was asked for in December: c, and e (cancelled) and f (expired); credits were never asked
    # for
    assert bridge(build, "return_to_shop", DECEMBER) == {
        "by_return": (5, 170),
        "never_asked": (-4, -90),
        "other_types": (0, 0),
        "stopped": (2, 120),
        "not_back_yet": (0, 0),
        "shop_figure": (3, 200),
    }


@pytest.mark.parametrize("seed", range(6))
def test_parts_add_up_over_random_periods_and_filters(sample_build: Build, seed: int) -> None:
    rng = np.random.default_rng(seed)
    first = pd.Timestamp("2024-03-01")
    starts = [(first + timedelta(days=int(d))).date() for d in rng.integers(0, 600, 2)]
    period, against = ((s, s + timedelta(days=int(n))) for s, n in zip(starts, rng.integers(10, 90, 2), strict=True))
    where = [{}, {"country": ["FR"]}, {"category": ["dresses", "beauty"]}][int(rng.integers(3))]
    by = [("category",), ("category", "country", "channel"), ("channel", "brand")][int(rng.integers(3))]
    found = analyses.rate_change(sample_build, period, against, Question(where=where), by=by)
    points = found.set_index("effect")["points"]
    assert points.drop(["previous", "current"]).sum() == pytest.approx(points["current"] - points["previous"], abs=1e-9)
    for key, days in (("current", period), ("previous", against)):  # the ends are figures that metrics give
        asked, sold = (
            metrics.answer(sample_build, k, Question(since=days[0], until=days[1], where=where))["value"].iloc[0]
            for k in ("confirmed_units", "sold_units")
        )
        assert points[key] == pytest.approx(asked / sold, abs=1e-12)
    table = analyses.reconciliation(sample_build, period, Question(where=where))
    for _, steps in table.groupby("bridge"):
        for column in ("units", "value"):
            first_total, *middle, last = steps[column].fillna(0.0)
            if steps[column].notna().all() or column == "value":
                assert first_total + sum(middle) == pytest.approx(last, abs=1e-2)


def test_rate_moves_with_the_final_rate_and_timing_with_when_sales_fall(sample_build: Build) -> None:
    # a period of its last days only has hardly any of its own returns inside it: that is timing, not a better rate
    days, before = (date(2025, 10, 1), date(2025, 10, 20)), (date(2025, 8, 1), date(2025, 9, 30))
    found = analyses.rate_change(sample_build, days, before, by=("category",)).set_index("effect")["points"]
    final = [
        metrics.answer(sample_build, "ultimate_return_rate", Question(since=p[0], until=p[1]))["value"].iloc[0]
        for p in (days, before)
    ]
    assert found["timing"] < -0.02
    assert found["rate"] + found["mix_category"] == pytest.approx(final[0] - final[1], abs=0.03)


def test_mix_is_blamed_on_the_dimension_that_moved(sample_build: Build) -> None:
    # against itself nothing moves; with one category only, mix by category is nothing
    days = (date(2025, 3, 1), date(2025, 5, 31))
    same = analyses.rate_change(sample_build, days, days).set_index("effect")["points"]
    assert same.drop(["previous", "current"]).abs().max() == pytest.approx(0, abs=1e-12)
    earlier = (date(2024, 9, 1), date(2024, 11, 30))
    one = analyses.rate_change(sample_build, days, earlier, Question(where={"category": ["dresses"]})).set_index(
        "effect"
    )["points"]
    assert one["mix_category"] == pytest.approx(0, abs=1e-12)


def test_same_window_takes_the_longest_that_both_have_lived_through(sample_build: Build) -> None:
    now, before = (date(2025, 12, 15), date(2026, 1, 10)), (date(2025, 10, 1), date(2025, 10, 31))
    found = analyses.same_window(sample_build, now, before)
    assert found["window_days"].iloc[0] in (21, 30)
    assert found["status"].iloc[0] == "ok"
    older = analyses.same_window(sample_build, (date(2025, 6, 1), date(2025, 6, 30)), before)
    assert older["window_days"].iloc[0] == 90
    young = analyses.same_window(sample_build, (date(2026, 1, 29), date(2026, 1, 31)), before)
    assert young.empty


def test_accrual_adds_up_alike_in_every_cut(sample_build: Build) -> None:
    whole = analyses.accrual(sample_build, by=()).iloc[0]
    for by in (("month",), ("category",), ("month", "category"), ("country",)):
        found = analyses.accrual(sample_build, by=by)
        parts, last = found.iloc[:-1], found.iloc[-1]
        for column in ("units_to_come", "owed", "to_come", "liability", "cost_of_goods"):
            assert parts[column].sum() == pytest.approx(whole[column], abs=0.01 * len(parts) + 0.01), (by, column)
            assert last[column] == pytest.approx(whole[column], abs=0.01)
    assert whole["liability"] == pytest.approx(whole["owed"] + whole["to_come"], abs=0.02)
    assert whole["low"] < whole["liability"] < whole["high"]
    assert 0 < whole["asset"] < whole["cost_of_goods"] < whole["liability"]
    owed = metrics.answer(sample_build, "refunds_owed")["value"].iloc[0]
    assert whole["owed"] == pytest.approx(owed, abs=0.02)


def test_accrual_at_the_start_of_a_month_holds_the_youngest_orders(sample_build: Build) -> None:
    found = analyses.accrual(sample_build, Question(as_of=date(2025, 12, 5))).set_index("month")
    assert found.loc["2025-12-01", "to_come"] > 0
    assert found.iloc[-1]["to_come"] > found.loc["2025-11-01", "to_come"] + found.loc["2025-12-01", "to_come"] - 0.02
    assert (found["status"] == "ok").all()


def test_what_would_have_been_booked_is_near_what_came(sample_build: Build) -> None:
    found = analyses.accrual_backtest(sample_build).set_index("days_ago")
    assert list(found.index) == [30, 60, 90]
    for row in found.itertuples():
        assert abs(row.error) < 0.3  # a shop of 20,000 lines
        assert row.low < row.booked < row.high
    assert (found["units_came"] > 0).all()
    dresses = analyses.accrual_backtest(sample_build, Question(where={"category": ["dresses"]}), days_ago=(60,))
    assert 0 < dresses["booked"].iloc[0] < found.loc[60, "booked"]
    now = analyses.accrual_backtest(sample_build, days_ago=(0,)).iloc[0]  # today's back-test is today's accrual
    assert now["booked"] == pytest.approx(analyses.accrual(sample_build, by=()).iloc[0]["to_come"], rel=0.02)


def test_accrual_by_hand(build: Build, tmp_path: Path) -> None:
    # h, 3 units of 8, names no order: what is still to come cannot be said
    withheld = analyses.accrual(build, by=()).iloc[0]
    assert withheld["status"] == "greyed"
    assert withheld["reason"].endswith("37.5% name no order")
    with open_duckdb(hand_build.write(tmp_path / "named.duckdb", hand_build.NAMED)) as named:
        found = analyses.accrual(named, by=()).iloc[0]  # d (50, cost 20) is back and not paid
    assert found["owed"] == 50
    assert found["status"] == "ok"
    assert found["liability"] == pytest.approx(50 + found["to_come"], abs=0.01)


def sample_end(build: Build) -> date:
    return max(observed(build).values()).date()


def test_chance_among_customers_is_that_of_what_they_bought(sample_build: Build) -> None:
    crowd = customers._crowd(sample_build, Question())
    whole = (crowd["chance"] * crowd["bought"] * crowd["customers"]).sum()
    assert whole == pytest.approx(
        (crowd["returned"] * crowd["customers"]).sum(), rel=0.01
    )  # chance moves returns, it makes none
    rates = metrics.answer(sample_build, "observed_return_rate", by=("category",)).set_index("category")["value"]
    once = crowd[crowd["bought"] == 1]
    assert once["chance"].min() == pytest.approx(rates.min(), abs=0.02)
    assert once["chance"].max() == pytest.approx(rates.max(), abs=0.02)
    one = analyses.customer_concentration(sample_build, Question(where={"category": ["dresses"]}))
    assert one.slices["by_chance"].notna().all()


def test_a_pattern_of_a_handful_of_orders_is_not_shown(sample_build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "several_sizes" in set(analyses.customer_concentration(sample_build).patterns["pattern"])
    monkeypatch.setattr(customers, "_is_crowd", lambda *_: False)
    assert "several_sizes" not in set(analyses.customer_concentration(sample_build).patterns["pattern"])


def test_customers_are_a_crowd(sample_build: Build, build: Build) -> None:
    found = analyses.customer_concentration(sample_build)
    assert found.reason == ""
    slices = found.slices
    assert slices["returned"].is_monotonic_increasing
    assert slices["returned"].iloc[-1] > 0.5  # half of the customers bring more than half of the returns
    assert (slices["returned"] > slices["by_chance"]).all()  # customers of the sample shop differ in their propensity
    assert (slices["customers"] * found.customers >= 10).all()
    serial = found.patterns.set_index("pattern").loc["serial"]
    assert serial["customers"] > serial["by_chance"]
    assert not any("customer_key" in str(c) or "customer_id" in str(c) for c in (*slices, *found.patterns))
    young = analyses.customer_concentration(sample_build, Question(since=sample_end(sample_build) - timedelta(days=12)))
    assert young.slices.empty
    assert young.patterns.empty
    assert young.reason.startswith("too young")
    few = analyses.customer_concentration(build)
    assert few.slices.empty
    assert few.reason.startswith("needs customers")
