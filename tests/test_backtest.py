"""What would have been said: exactly what a build of that day says, whatever came later."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from pipelines import analyses, metrics
from pipelines.estimate import curves as estimate
from pipelines.load.shape.versions import create_tables
from pipelines.metrics import Question
from pipelines.settings import Settings
from pipelines.warehouse.engine import Build, open_duckdb

T = datetime(2026, 2, 10, 23, 59)
AGO = 45
CUT = T - timedelta(AGO)


def written(path: Path, until: datetime, change: str = "") -> Path:
    """Write a shop of two categories as known at a time.

    A Christmas date, orders of two lines, returns some days later.
    """
    connection = duckdb.connect(str(path))
    create_tables(connection)
    connection.execute(f"""
        INSERT INTO fact_order_line BY NAME
        SELECT i AS order_line_key, 'shop:' || i AS order_line_id, i // 2 AS order_key, 'shop' AS source, ['dresses',
            'shoes'][1 + i % 2] AS category, 'web' AS channel, ['FR', 'DE'][1 + i // 2 % 2] AS country,
            'style' || (i % 50) AS style_id, TIMESTAMP '2024-06-01' + to_minutes(i * 40) AS ordered_at,
                ordered_at::DATE AS ordered_on,
            CASE WHEN ordered_at + INTERVAL 2 DAY <= TIMESTAMP '{until}' THEN ordered_at + INTERVAL 2 DAY END
                AS clock_started_at, 30 AS window_days,
            CASE WHEN month(ordered_at) > 10 THEN make_date(year(ordered_at) + 1, 1, 31) END AS window_ends_on, 1
                AS units_sold, 50 AS net_amount, 'EUR' AS currency, 1.0 AS fx_rate
        FROM range(40000) t(i) WHERE TIMESTAMP '2024-06-01' + to_minutes(i * 40) <= TIMESTAMP '{until}';
        INSERT INTO fact_return_line BY NAME
        SELECT order_line_key AS return_lot_key, order_line_key AS return_line_key, order_line_key, order_key, source,
            category, channel, country, ordered_on, clock_started_at, window_days, window_ends_on,
            1 AS units, 1 AS lot_no, true AS is_headline, 'withdrawal' AS return_type, 50 AS net_amount, 1.0 AS fx_rate,
            clock_started_at + to_days((2 + hash(order_line_key) % 12 + 25 * (hash(order_line_key + 7) % 10
                = 0)::INT)::INTEGER) AS confirmed_at, confirmed_at AS received_at
        FROM fact_order_line WHERE hash(order_key + 1) % 100 < 25 OR hash(order_line_key + 3) % 100 < 8;
        INSERT INTO fact_return_event BY NAME
        SELECT return_lot_key AS event_key, return_line_key, 'received' AS event, received_at AS occurred_at,
            received_at AS recorded_at, source FROM fact_return_line;
        {change};
        DELETE FROM fact_return_line WHERE confirmed_at IS NULL OR confirmed_at > TIMESTAMP '{until}'
            OR return_line_key IN (SELECT return_line_key FROM fact_return_event
            WHERE recorded_at > TIMESTAMP '{until}');
        INSERT INTO build_source BY NAME SELECT 'shop' AS source, 'return_event' AS thing, TIMESTAMP '{until}'
            AS last_occurred_at;
        INSERT INTO build_coverage BY NAME SELECT 'shop' AS source, fact, 1.0 AS share, 9 AS rows
            FROM (VALUES ('order'), ('return'), ('back')) f(fact);
    """)
    estimate.curves(connection, Settings())
    estimate.priors(connection, Settings())
    connection.close()
    return path


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Build]:
    folder = tmp_path_factory.mktemp("builds")
    count = iter(range(9))
    return lambda *a: open_duckdb(written(folder / f"{next(count)}.duckdb", *a))


def test_it_says_what_a_build_of_that_day_says(opened: Callable[..., Build]) -> None:
    now, then = opened(T), opened(CUT)
    for by in (None, "category"):
        keys = ("month", *([by] if by else []))
        said = analyses.backtest(now, days_ago=(AGO,), by=by)
        said = said[said["status"] == "ok"].reset_index(drop=True)
        assert len(said) >= 4
        answers = metrics.answer(then, "ultimate_return_rate", by=keys).merge(
            said, on=list(keys), suffixes=("_day", "")
        )
        assert len(answers) == len(said)
        # The design effect is measured by week of delivery here and by cohort there: the interval may differ by a few
        # percent.
        assert np.allclose(answers["value"], answers["projected"], atol=5e-4)
        assert np.allclose(answers["low_day"], answers["low"], atol=3e-3)
        assert np.allclose(answers["high_day"], answers["high"], atol=3e-3)
        to_come = metrics.answer(then, "returns_to_come", by=keys).merge(said, on=list(keys))
        assert np.allclose(to_come["value"], to_come["to_come"], rtol=0.02, atol=1)
        assert said["error"].abs().max() < 0.05
        assert (said["observed_then"] <= said["observed_now"]).all()
        assert said["came_since"].to_numpy() == pytest.approx(
            (said["observed_now"] - said["observed_then"]) * said["sold"]
        )


def test_what_came_later_changes_nothing_that_was_said(opened: Callable[..., Build]) -> None:
    plain = analyses.backtest(opened(T), days_ago=(AGO,), by="category")
    later = analyses.backtest(
        opened(T, f"DELETE FROM fact_return_line WHERE confirmed_at > TIMESTAMP '{CUT}'"),
        days_ago=(AGO,),
        by="category",
    )
    then = ["month", "category", "sold", "maturity_then", "observed_then", "projected", "low", "high", "to_come"]
    pd.testing.assert_frame_equal(plain[then], later[then], rtol=1e-9)
    assert (later["came_since"] == 0).all()
    assert (plain["came_since"] > 0).any()


def test_what_was_recorded_late_was_not_known(opened: Callable[..., Build]) -> None:
    late = (
        f"UPDATE fact_return_event SET recorded_at = recorded_at + INTERVAL 8 DAY WHERE occurred_at > TIMESTAMP '{CUT}'"
        f" - INTERVAL 8 DAY AND occurred_at < TIMESTAMP '{CUT}' + INTERVAL 8 DAY"
    )
    plain, known = (analyses.backtest(opened(T, *c), days_ago=(AGO,)) for c in ((), (late,)))
    assert known["observed_then"].iloc[-1] < 0.9 * plain["observed_then"].iloc[-1]
    assert np.allclose(known["observed_now"], plain["observed_now"])


def test_a_filter_changes_counts_and_a_stranger_is_refused(opened: Callable[..., Build]) -> None:
    build = opened(T)
    whole, french = (analyses.backtest(build, Question(where=w), days_ago=(AGO,)) for w in ({}, {"country": ["FR"]}))
    assert (french["sold"] < whole["sold"]).all()
    assert french["sold"].sum() == pytest.approx(whole["sold"].sum() / 2, rel=0.02)
    with pytest.raises(ValueError, match="country"):
        analyses.backtest(build, by="country")


def test_answers_carry_the_drift(opened: Callable[..., Build]) -> None:
    build = opened(
        T,
        "UPDATE fact_return_line SET confirmed_at = confirmed_at + to_days((1.0 * date_diff('day', clock_started_at,"
        f" confirmed_at))::INTEGER) WHERE ordered_on > DATE '{(T - timedelta(40)).date()}' AND category = 'shoes'",
    )
    found = analyses.drift(build).set_index("category")["is_drifting"]
    assert found["shoes"]
    assert not found["dresses"]
    rates = metrics.answer(build, "ultimate_return_rate", by=("category",)).set_index("category")
    assert (rates["status"] == "ok").all()
    assert rates["caution"].to_dict() == {"dresses": "", "shoes": "delay_drift"}
    assert "later than the curve says since 2026-01-12" in rates.loc["shoes", "reason"]
    assert np.isfinite(rates.loc["shoes", ["value", "low", "high"]].astype(float)).all()
    young = metrics.answer(build, "returns_to_come", Question(where={"category": ["shoes"]}))
    assert young["caution"].tolist() == ["delay_drift"]
    assert metrics.answer(build, "observed_return_rate", by=("category",))["caution"].tolist() == ["", ""]
    assert analyses.drift(build, scope=metrics.Scope({"category": ["dresses"]}))["category"].tolist() == ["dresses"]
