"""The probability model: what it finds in a known world, and that features never see the future."""

import json
from collections.abc import Iterator
from datetime import datetime

import duckdb
import numpy as np
import pytest

from models.return_probability import FEATURES, calibration_error, fit, logistic
from pipelines.estimate.probability import features, probability
from pipelines.load.shape.versions import create_tables
from pipelines.settings import Settings

UNTIL = datetime(2025, 12, 31, 23)
LATE = "order_line_key IN (SELECT order_line_key FROM fact_order_line WHERE ordered_at >= TIMESTAMP '2025-11-01')"


def world(generator: np.random.Generator, rows: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    frame = {name: generator.normal(3, 2, rows) for name in FEATURES} | {"is_gift": np.zeros(rows)}
    frame["market_rate"] = generator.normal(-1, 0.3, rows)
    x = frame["market_rate"] - 2.5 + 0.8 * frame["item_rate"] + 0.4 * frame["customer_rate"] - 0.1 * frame["price"]
    p = 1 / (1 + np.exp(-x))
    return frame, p, (generator.random(rows) < p).astype(float)


def test_fit_finds_the_coefficients_and_is_calibrated_on_later_orders() -> None:
    generator = np.random.default_rng(1)
    frame, p, returned = world(generator, 30_000)
    model = fit(frame, returned, np.arange(30_000) // 50, np.full(30_000, returned.mean()))
    assert model.coefficients["market_rate"] == 1
    assert model.coefficients["month_sin"] == model.coefficients["month_cos"] == 0  # of 600 days
    assert model.off_month() is None
    assert model.level_sd < 0.08
    assert model.coefficients["item_rate"] == pytest.approx(0.8, abs=0.06)
    assert model.coefficients["customer_rate"] == pytest.approx(0.4, abs=0.05)
    assert model.coefficients["basket"] == pytest.approx(0, abs=0.03)
    assert model.coefficients["is_gift"] == 0
    assert model.rows + model.test_rows < 30_000
    assert model.calibration_error < 0.03
    assert model.base_auc == 0.5
    assert model.beats_base_rate()
    assert np.abs(model.score(frame) - p).mean() < 0.02


def test_a_model_no_better_than_the_base_rate_does_not_beat_it() -> None:
    frame, p, returned = world(np.random.default_rng(2), 10_000)
    assert not fit(frame, returned, np.arange(10_000), p).beats_base_rate()


def test_shares_of_a_line_are_learned_as_shares() -> None:
    frame, p, _ = world(np.random.default_rng(3), 10_000)
    model = fit(frame, np.round(p, 1), np.arange(10_000), p)
    assert np.abs(model.score(frame) - p).mean() < 0.03
    assert calibration_error(p, p) == 0


def test_a_season_is_learnt_from_two_full_years_alone() -> None:
    generator = np.random.default_rng(4)
    frame, _, _ = world(generator, 20_000)
    frame["month_sin"] = np.sin(2 * np.pi * np.arange(20_000) / 20_000 * 3)
    p = 1 / (1 + np.exp(-(frame["market_rate"] + 0.5 * frame["month_sin"])))
    returned = (generator.random(20_000) < p).astype(float)
    assert fit(frame, returned, np.arange(20_000) * 1095 // 20_000, p).coefficients["month_sin"] == pytest.approx(
        0.5, abs=0.12
    )
    assert fit(frame, returned, np.arange(20_000) * 700 // 20_000, p).coefficients["month_sin"] == 0


@pytest.mark.parametrize(("jump", "is_off"), [(0.0, False), (0.8, True), (-0.8, True)])
def test_a_model_that_expects_something_else_than_comes_says_so(jump: float, is_off: bool) -> None:
    """300 days; in the last 40 the level jumps, which no feature tells."""
    frame, p, _ = world(np.random.default_rng(5), 30_000)
    day = np.arange(30_000) // 100
    moved = 1 / (1 + np.exp(-(np.log(p / (1 - p)) + jump * (day >= 260))))
    returned = (np.random.default_rng(6).random(30_000) < moved).astype(float)
    model = fit(frame, returned, day, np.full(30_000, 0.3))
    off = model.off_month()
    assert model.beats_base_rate()
    assert (off is not None) == is_off
    assert off is None or np.sign(off.observed - off.expected) == np.sign(jump)


def test_a_level_that_drifts_with_what_is_known_is_followed() -> None:
    """The rate falls from 50% to 30% over 300 days and the market's rate, known 50 days late, falls with it."""
    frame, _, _ = world(np.random.default_rng(7), 30_000)
    day = np.arange(30_000) // 100
    frame["market_rate"] = 0.15 - 0.003 * np.maximum(day - 50, 0)
    p = 1 / (1 + np.exp(-(0.003 * (0 - day) + 0.3 * (frame["item_rate"] - 3))))
    returned = (np.random.default_rng(8).random(30_000) < p).astype(float)
    model = fit(frame, returned, day, np.full(30_000, 0.3))
    late = day >= 270
    assert model.off_month() is None
    assert model.score({n: v[late] for n, v in frame.items()}).mean() == pytest.approx(returned[late].mean(), abs=0.025)


def test_the_fit_is_scikit_learns_where_there_is_no_offset() -> None:
    from sklearn.linear_model import LogisticRegression

    generator = np.random.default_rng(9)
    x = generator.normal(size=(2_000, 3))
    y = (generator.random(2_000) < 1 / (1 + np.exp(-(x @ [1.0, -0.5, 0.0] - 0.3)))).astype(float)
    theirs = LogisticRegression(C=0.1, tol=1e-10, max_iter=1000).fit(x, y)
    ours = logistic(np.column_stack([np.ones(2_000), x]), y, np.zeros(2_000), [1e-12, 10, 10, 10])
    assert ours == pytest.approx([theirs.intercept_[0], *theirs.coef_[0]], abs=1e-4)


@pytest.fixture
def build() -> Iterator[duckdb.DuckDBPyConnection]:
    """Give two years of 24,000 lines whose styles and customers differ in how much comes back."""
    connection = duckdb.connect(config={"threads": 2})
    create_tables(connection)
    connection.execute("""
        INSERT INTO build_source BY NAME SELECT 'shop' AS source, 'order_line' AS thing, TIMESTAMP '2025-12-31 23:00'
            AS last_occurred_at;
        INSERT INTO fact_order_line BY NAME
        SELECT i AS order_line_key, i // 2 AS order_key, (hash(i // 2) % 800)::BIGINT AS customer_key, 'shop' AS source,
            'c' || (i % 3) AS category, 'FR' AS country, 'web' AS channel,
            'style' || (hash(i) % 60) AS style_id, (hash(i + 9) % 4)::VARCHAR AS size, i % 11 = 0 AS has_several_sizes,
                TIMESTAMP '2024-01-01' + to_minutes(i * 43) AS ordered_at, ordered_at::DATE AS ordered_on,
            ordered_at + INTERVAL 2 DAY AS clock_started_at, 30 AS window_days, 1 AS units_sold, 20 + hash(i) % 60
                AS net_amount FROM range(24000) t(i);
        INSERT INTO fact_return_line BY NAME
        SELECT order_line_key AS return_lot_key, order_line_key AS return_line_key, order_line_key, source, 1 AS units,
            true AS is_headline, clock_started_at + to_days((2 + hash(order_line_key) % 25)::INTEGER) AS confirmed_at
        FROM fact_order_line WHERE confirmed_at <= TIMESTAMP '2025-12-31 23:00'
            AND hash(order_line_key + 5) % 1000 < 1000 / (1 + exp(1.2 - 1.6 * ((hash(style_id) % 100) / 50.0 - 1)
                - 1.6 * ((hash(customer_key) % 100) / 50.0 - 1) - CASE WHEN has_several_sizes THEN 1.5 ELSE 0 END));
    """)
    yield connection
    connection.close()


def feature_rows(build: duckdb.DuckDBPyConnection, where: str = "TRUE") -> dict[int, tuple[float, ...]]:
    features(build, "shop", UNTIL, where)
    rows = build.execute(f"SELECT order_line_key, base_rate, {', '.join(FEATURES)} FROM probability_feature").fetchall()
    return {row[0]: row[1:] for row in rows}


def test_features_are_bit_identical_when_every_later_label_changes(build: duckdb.DuckDBPyConnection) -> None:
    before = feature_rows(build)
    day = datetime(2025, 6, 1)
    # Everything ordered after 35 days before the day, and everything confirmed from the day on, becomes its opposite.
    build.execute(
        "DELETE FROM fact_return_line WHERE order_line_key IN (SELECT order_line_key FROM fact_order_line WHERE"
        " ordered_at > ?::TIMESTAMP - INTERVAL 35 DAY)",
        [day],
    )
    build.execute("DELETE FROM fact_return_line WHERE confirmed_at >= ?::TIMESTAMP", [day])
    after = feature_rows(build)
    known = [
        k
        for (k,) in build.execute(
            "SELECT order_line_key FROM fact_order_line WHERE ordered_at < ?::TIMESTAMP + INTERVAL 1 DAY", [day]
        ).fetchall()
    ]
    assert len(known) > 10_000
    assert all(before[k] == after[k] for k in known)
    assert sum(before[k] != after[k] for k in before.keys() - set(known)) > 1_000


def test_a_first_line_knows_nothing_and_a_later_one_its_own_history(build: duckdb.DuckDBPyConnection) -> None:
    rows = feature_rows(build)
    first = dict(zip(("base_rate", *FEATURES), rows[0], strict=True))
    assert first["base_rate"] is first["market_rate"] is first["item_rate"] is first["size_rate"] is None
    assert first["customer_lines"] == 0
    assert first["basket"] == pytest.approx(np.log(2))
    # 33.5 lines a day: 200 are known 35 days after the sixth day; nothing is expected of lines before.
    known = build.execute(
        "SELECT min(day) - (SELECT min(day) FROM probability_feature) FROM probability_feature WHERE base_rate IS NOT"
        " NULL"
    ).fetchall()
    assert known == [(41,)]
    # Worked out apart: lines of the customer ordered at least 36 days before.
    key, customer, day = build.execute(
        "SELECT order_line_key, customer_key, ordered_at::DATE FROM fact_order_line WHERE order_line_key = 20000"
    ).fetchall()[0]
    (bought,) = build.execute(
        "SELECT count(*) FROM fact_order_line WHERE customer_key = ? AND ordered_at::DATE <= ?::DATE - 36",
        [customer, day],
    ).fetchall()[0]
    assert rows[key][1 + FEATURES.index("customer_lines")] == pytest.approx(np.log(1 + bought))


def test_some_lines_are_scored_as_all_are(build: duckdb.DuckDBPyConnection) -> None:
    everything = feature_rows(build)
    some = feature_rows(build, LATE)
    assert 1_000 < len(some) < 3_000
    assert all(everything[k] == row for k, row in some.items())


def test_probability_is_fitted_once_recorded_and_scored_in_sql(build: duckdb.DuckDBPyConnection) -> None:
    probability(build, Settings(), "TRUE")
    (version,) = build.execute(
        "SELECT model_id, fitted_at, score, base_score, is_used, parameters FROM model_version"
    ).fetchall()
    assert version[1] == UNTIL
    assert version[4]
    assert version[2] > version[3] + 0.02
    scores = dict(build.execute("SELECT order_line_key, probability FROM estimate_return_probability").fetchall())
    assert len(scores) == sum(row[0] is not None for row in feature_rows(build).values()) > 22_000
    stored = json.loads(version[5])
    row = dict(zip(("base_rate", *FEATURES), feature_rows(build)[20_000], strict=True))
    linear = stored["intercept"] + sum(stored["coefficients"][f] * row[f] for f in FEATURES)
    assert scores[20_000] == pytest.approx(1 / (1 + np.exp(-linear)), rel=1e-12)
    # A later load with the stored model gives touched lines the same answer.
    build.execute(f"DELETE FROM estimate_return_probability WHERE {LATE}")
    probability(build, Settings(), LATE)
    assert (
        dict(build.execute("SELECT order_line_key, probability FROM estimate_return_probability").fetchall()) == scores
    )
    assert build.execute("SELECT count(*) FROM model_version").fetchall() == [(1,)]
    # Four weeks on it is fitted again.
    build.execute("UPDATE build_source SET last_occurred_at = TIMESTAMP '2026-01-29'")
    probability(build, Settings(), "false")
    assert build.execute("SELECT count(*) FROM model_version").fetchall() == [(2,)]


def test_without_customers_or_with_few_returns_there_is_no_model(build: duckdb.DuckDBPyConnection) -> None:
    build.execute("DELETE FROM fact_return_line WHERE return_lot_key % 50 > 0")
    probability(build, Settings(), "TRUE")
    build.execute("UPDATE fact_order_line SET customer_key = NULL")
    probability(build, Settings(), "TRUE")
    assert build.execute("SELECT count(*) FROM model_version").fetchall() == [(0,)]
    assert build.execute("SELECT count(*) FROM estimate_return_probability").fetchall() == [(0,)]
