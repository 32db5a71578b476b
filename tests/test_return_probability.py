"""The probability that a line comes back: fits, what a line knows of its past, versions, and the lines scored."""

import json
from collections.abc import Iterator
from datetime import datetime

import duckdb
import numpy as np
import pytest

from models import boosted_trees, model_judgement
from models.model_training import train
from models.return_features import COUNTS, FEATURES, SIGNS, features_of, logit
from models.return_probability import LOGISTIC, TREES, Lines, ReturnProbability, fit, logistic, usual_product
from pipelines.estimate.probability import probability
from pipelines.estimate.probability_counts import counts, forget, size_sql, words_sql
from pipelines.load.checks import CHECKS
from pipelines.load.shape.versions import create_tables
from pipelines.settings import Settings
from pipelines.warehouse.sql import quote

pytestmark = pytest.mark.usefixtures("no_rules")

UNTIL = datetime(2025, 12, 31, 23)
LATE = "order_line_key IN (SELECT order_line_key FROM fact_order_line WHERE ordered_at >= TIMESTAMP '2025-11-01')"


def world(generator: np.random.Generator, rows: int, **added: np.ndarray) -> tuple[Lines, np.ndarray]:
    """Give lines in order of their day (50 a day) whose log odds are linear in four features, and their truth."""
    x = generator.normal(3, 2, (rows, len(FEATURES)))
    x[:, FEATURES.index("is_gift")] = 0.0
    x[:, FEATURES.index("market_rate")] = generator.normal(-1, 0.3, rows)
    for name, column in added.items():
        x[:, FEATURES.index(name)] = column
    at = {name: x[:, place] for place, name in enumerate(FEATURES)}
    p = 1 / (
        1 + np.exp(-(at["market_rate"] - 2.5 + 0.8 * at["item_rate"] + 0.4 * at["customer_rate"] - 0.1 * at["price"]))
    )
    day = np.arange(rows) // 50
    return Lines(x, (generator.random(rows) < p).astype(float), day, day // 30), p


def test_fit_finds_the_coefficients_and_the_level() -> None:
    lines, p = world(np.random.default_rng(1), 30_000)
    model = fit(lines, LOGISTIC)
    assert model.coefficients["item_rate"] * model.slope == pytest.approx(0.8, abs=0.06)
    assert model.coefficients["customer_rate"] * model.slope == pytest.approx(0.4, abs=0.05)
    assert model.coefficients["basket"] == pytest.approx(0, abs=0.03)
    assert model.coefficients["is_gift"] == 0
    assert model.coefficients["month_sin"] == model.coefficients["month_cos"] == 0  # of 600 days
    assert np.abs(model.score(dict(zip(FEATURES, lines.x.T, strict=True))) - p).mean() < 0.02


def test_training_judges_on_later_lines_and_refits_on_all() -> None:
    lines, p = world(np.random.default_rng(1), 12_000)
    training = train(lines, {"shop": np.full(12_000, lines.share.mean())}, {"country": np.repeat("FR", 12_000)})
    judgement = training.judgement
    assert judgement is not None
    assert (judgement.kind, judgement.rows, training.leaks) == (LOGISTIC, 12_000, ())
    assert judgement.gate.is_open
    assert judgement.base_auc["shop"] == 0.5
    assert judgement.calibration.value < 0.03
    assert judgement.off_month() is None
    assert judgement.level_sd < 0.15
    assert all(s.seen + s.lines < 12_000 and s.last_day > s.first_day for s in judgement.splits)
    # Worked out apart: 240 days; the second split begins after day 0.7 x 239 = 167.3, so at most day 132 was seen.
    assert judgement.splits[1].seen == (lines.day <= 167.3 - 35).sum()
    assert sum(s.lines for s in judgement.splits) == judgement.test_rows == (lines.day > 0.55 * 239).sum()
    late = lines.day > 0.55 * 239
    assert judgement.auc == pytest.approx(model_judgement.area_under_curve(lines.share[late], p[late]), abs=0.01)
    assert max(judgement.importance, key=judgement.importance.__getitem__) == "item_rate"
    assert [s.value for s in judgement.slices] == ["FR"]
    json.dumps(judgement.plain(), allow_nan=False)


def test_shares_of_a_line_are_learned_as_shares() -> None:
    lines, p = world(np.random.default_rng(3), 10_000)
    for kind in (LOGISTIC, TREES):
        model = fit(Lines(lines.x, np.round(p, 1), lines.day, lines.month), kind)
        assert np.abs(1 / (1 + np.exp(-model.margin(lines.x))) - p).mean() < (0.03 if kind == LOGISTIC else 0.05)


def test_a_season_is_learnt_from_two_full_years_alone() -> None:
    generator, days = np.random.default_rng(4), np.arange(20_000) // 50
    season = np.sin(2 * np.pi * days / 130)
    lines, _ = world(generator, 20_000, month_sin=season)
    p = 1 / (1 + np.exp(-(lines.x[:, FEATURES.index("market_rate")] + 0.5 * season)))
    share = (generator.random(20_000) < p).astype(float)
    long, short = (
        fit(Lines(lines.x, share, (days * length).astype(int), days * 0), LOGISTIC, (), 1.0).coefficients["month_sin"]
        for length in (2.0, 1.7)
    )
    assert long == pytest.approx(0.5, abs=0.12)
    assert short == 0


def drifting(rows: int = 20_000) -> tuple[Lines, np.ndarray, np.ndarray]:
    """Give 400 days whose rate falls from 50% to about 27%, and the market's rate, known 50 days late, with it."""
    generator, day = np.random.default_rng(7), np.arange(rows) // 50
    lines, _ = world(generator, rows, market_rate=0.125 - 0.0025 * np.maximum(day - 50, 0))
    p = 1 / (1 + np.exp(-(-0.0025 * day + 0.3 * (lines.x[:, FEATURES.index("item_rate")] - 3))))
    return Lines(lines.x, (generator.random(rows) < p).astype(float), day, day // 30), p, day


@pytest.mark.parametrize("kind", [LOGISTIC, TREES])
def test_a_level_that_drifts_with_what_is_known_is_followed(kind: str) -> None:
    lines, p, day = drifting()
    model, late = fit(lines.of(day < 320), kind), day >= 360
    assert (1 / (1 + np.exp(-model.margin(lines.x[late])))).mean() == pytest.approx(p[late].mean(), abs=0.025)


def test_the_fit_is_scikit_learns_where_there_is_no_offset() -> None:
    from sklearn.linear_model import LogisticRegression

    generator = np.random.default_rng(9)
    x = generator.normal(size=(2_000, 3))
    y = (generator.random(2_000) < 1 / (1 + np.exp(-(x @ [1.0, -0.5, 0.0] - 0.3)))).astype(float)
    theirs = LogisticRegression(C=0.1, tol=1e-10, max_iter=1000).fit(x, y)
    ours = logistic(np.column_stack([np.ones(2_000), x]), y, np.zeros(2_000), [1e-12, 10, 10, 10])
    assert ours == pytest.approx([theirs.intercept_[0], *theirs.coef_[0]], abs=1e-4)


def test_trees_say_what_scikit_learn_says_and_are_plain_numbers() -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    generator = np.random.default_rng(10)
    x = np.round(generator.normal(size=(3_000, 5)), 2)  # values equal to thresholds occur
    y = generator.random(3_000) < 1 / (1 + np.exp(-(x[:, 0] * x[:, 1])))
    theirs = HistGradientBoostingClassifier(max_iter=23, max_leaf_nodes=15, early_stopping=False).fit(x, y)
    ours = boosted_trees.Trees.of(json.loads(json.dumps(boosted_trees.trees_of(theirs).plain())))
    edge = np.vstack([x, np.array([[-1e9] * 5, [1e9] * 5])])
    assert ours.score(edge) == pytest.approx(theirs.decision_function(edge), abs=1e-12)
    assert ours.score(edge[:0]).tolist() == []
    with pytest.raises(ValueError, match="no trees"):
        boosted_trees.Trees.of(ours.plain() | {"sizes": [1]})


@pytest.mark.parametrize("weights", ["gamma", "rounded, some of them 0", "even"])
def test_trees_of_bins_worked_out_here_are_those_of_scikit_learn(weights: str) -> None:
    """To the last digit: values of few kinds, of many, rounded to ties, mostly one value."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    draw = np.random.default_rng(len(weights))
    n = 3_000
    x = np.column_stack(
        [
            draw.normal(size=n),
            draw.integers(0, 5, n),
            np.round(draw.gamma(2, 10, n), 1),
            draw.random(n) * (draw.random(n) < 0.4),
        ]
    )
    label = (draw.random(n) < 1 / (1 + np.exp(x[:, 2] / 30 - x[:, 0] - x[:, 3]))).astype(int)
    weight = {"gamma": draw.gamma(1, 1, n), "even": np.ones(n)}.get(weights, np.round(draw.random(n) * 3, 1))
    ours = boosted_trees.boosted(x, label, weight, [1, 0, -1, 0], rounds=12)
    theirs = HistGradientBoostingClassifier(
        learning_rate=0.06,
        max_iter=12,
        max_leaf_nodes=boosted_trees.LEAVES - 1,
        min_samples_leaf=100,
        l2_regularization=5.0,
        monotonic_cst=[1, 0, -1, 0],
        early_stopping=False,
        random_state=0,
    ).fit(x, label, sample_weight=weight)
    assert ours == boosted_trees.trees_of(theirs)
    assert len(ours.nodes) > 100


def test_trees_rise_where_the_trade_knows_that_they_do() -> None:
    lines, _ = world(np.random.default_rng(11), 6_000)
    model = fit(lines, TREES)
    place = FEATURES.index("item_rate")
    grid = np.tile(lines.x[:1], (40, 1))
    grid[:, place] = np.linspace(-3, 9, 40)
    assert SIGNS[place] == 1
    assert (np.diff(model.margin(grid)) >= 0).all()
    assert model.margin(grid)[-1] > model.margin(grid)[0] + 1


@pytest.mark.parametrize("kind", [LOGISTIC, TREES])
def test_a_model_is_read_back_whole_and_says_why(kind: str) -> None:
    lines, _ = world(np.random.default_rng(12), 4_000)
    model = fit(lines, kind)
    again = ReturnProbability.of(json.loads(json.dumps(model.plain(), allow_nan=False)))
    assert again.margin(lines.x[:50]).tolist() == model.margin(lines.x[:50]).tolist()
    high = lines.x[:1].copy()
    high[0, FEATURES.index("item_rate")] = 9.0
    assert model.reasons(high)[0][0][0] == "item_rate"
    if kind == LOGISTIC:  # the parts add up to what the line's logit is above the mean line's
        parts = model.reasons(high, most=len(FEATURES))[0]
        mean = model.margin(np.array([[model.reference[f] for f in FEATURES]]))
        assert sum(part for _, part in parts) == pytest.approx(float(model.margin(high)[0] - mean[0]), abs=1e-9)
    assert usual_product(high)[0, FEATURES.index("item_rate")] == 0
    both = model.margins(dict(zip(FEATURES, lines.x[:50].T, strict=True)))  # by columns, as lines of a load are scored
    assert [m.tolist() for m in both] == [model.margin(x).tolist() for x in (lines.x[:50], usual_product(lines.x[:50]))]
    assert both[0].tolist() != both[1].tolist()


@pytest.fixture
def build() -> Iterator[duckdb.DuckDBPyConnection]:
    """Give two years of 12,000 lines whose styles and customers differ in how much comes back."""
    connection = duckdb.connect(config={"threads": 2})
    create_tables(connection)
    connection.execute("""
        INSERT INTO build_source BY NAME SELECT 'shop' AS source, 'order_line' AS thing, TIMESTAMP '2025-12-31 23:00'
            AS last_occurred_at;
        INSERT INTO fact_order_line BY NAME
        SELECT i AS order_line_key, i // 2 AS order_key, (hash(i // 2) % 400)::BIGINT AS customer_key, 'shop' AS source,
            'c' || (i % 3) AS category, 'FR' AS country, 'web' AS channel,
            'style' || (hash(i) % 60) AS style_id, 'k' || (hash(i + 3) % 3) AS colour,
            'b' || (hash(i) % 7) AS brand, i % 1000 AS product_key,
            (hash(i + 9) % 4)::VARCHAR AS size, i % 11 = 0 AS has_several_sizes,
                TIMESTAMP '2024-01-01' + to_minutes(i * 86) AS ordered_at, ordered_at::DATE AS ordered_on,
            ordered_at + INTERVAL 2 DAY AS clock_started_at, 30 AS window_days, 1 AS units_sold, 20 + hash(i) % 60
                AS net_amount FROM range(12000) t(i);
        INSERT INTO fact_return_line BY NAME
        SELECT order_line_key AS return_lot_key, order_line_key AS return_line_key, order_line_key, source, 1 AS units,
            true AS is_headline, clock_started_at + to_days((2 + hash(order_line_key) % 25)::INTEGER) AS confirmed_at
        FROM fact_order_line WHERE confirmed_at <= TIMESTAMP '2025-12-31 23:00'
            AND hash(order_line_key + 5) % 1000 < 1000 / (1 + exp(1.2 - 1.6 * ((hash(style_id) % 100) / 50.0 - 1)
                - 1.6 * ((hash(customer_key) % 100) / 50.0 - 1) - CASE WHEN has_several_sizes THEN 1.5 ELSE 0 END));
    """)
    yield connection
    connection.close()


def known(build: duckdb.DuckDBPyConnection, where: str = "TRUE") -> dict[int, tuple[float, ...]]:
    """Give what each line knew, by its key."""
    counts(build, "shop", UNTIL, where)
    rows = build.execute(f"SELECT order_line_key, {', '.join(COUNTS)} FROM probability_count").fetchall()
    forget(build)
    return {row[0]: row[1:] for row in rows}


def test_features_are_bit_identical_when_every_later_label_changes(build: duckdb.DuckDBPyConnection) -> None:
    build.execute(
        "INSERT INTO dim_product BY NAME SELECT range AS product_key, 'cloth' || chr((97 + range % 5)::INTEGER)"
        " || ' dress' AS name, TIMESTAMP '2020-01-01' AS valid_from, true AS is_current FROM range(1000)"
    )
    before = known(build)
    day = datetime(2025, 6, 1)
    # Everything ordered after 35 days before the day becomes its opposite; what was confirmed since is gone.
    build.execute(
        "CREATE TEMP TABLE turned AS SELECT order_line_key FROM fact_order_line WHERE ordered_at > ?::TIMESTAMP -"
        " INTERVAL 35 DAY AND order_line_key NOT IN (SELECT order_line_key FROM fact_return_line)",
        [day],
    )
    build.execute(
        "DELETE FROM fact_return_line WHERE order_line_key IN (SELECT order_line_key FROM fact_order_line WHERE"
        " ordered_at > ?::TIMESTAMP - INTERVAL 35 DAY)",
        [day],
    )
    build.execute("DELETE FROM fact_return_line WHERE confirmed_at >= ?::TIMESTAMP", [day])
    build.execute("""
        INSERT INTO fact_return_line BY NAME
        SELECT order_line_key AS return_lot_key, order_line_key AS return_line_key, order_line_key, 'shop' AS source,
            1 AS units, true AS is_headline, ordered_at + INTERVAL 20 DAY AS confirmed_at
        FROM turned JOIN fact_order_line USING (order_line_key)""")
    after = known(build)
    past = [
        k
        for (k,) in build.execute(
            "SELECT order_line_key FROM fact_order_line WHERE ordered_at < ?::TIMESTAMP + INTERVAL 1 DAY", [day]
        ).fetchall()
    ]
    assert len(past) > 5_000
    assert all(before[k] == after[k] for k in past)
    assert sum(before[k] != after[k] for k in before.keys() - set(past)) > 500
    # Each count moves for some later line, or never does because it is of no label.
    moved = {
        name
        for place, name in enumerate(COUNTS)
        if any(before[k][place] != after[k][place] for k in before.keys() - set(past))
    }
    assert moved >= {n for n in COUNTS if n.endswith(("_y", "_s")) or n in ("word_rate", "kept_n", "fit_n", "brand_e")}


def test_a_line_knows_its_own_history_alone(build: duckdb.DuckDBPyConnection) -> None:
    rows = known(build)
    first, key = dict(zip(COUNTS, rows[0], strict=True)), 10_000
    assert first["shop_n"] == first["item_n"] == first["customer_n"] == first["pace"] == first["kept_n"] == 0
    assert (first["pause"], first["lines"]) == (None, 2)
    assert np.isnan(features_of({n: [v] for n, v in first.items()})[0]["market_rate"]).all()
    line = dict(zip(COUNTS, rows[key], strict=True))
    # Worked out apart, by a join of the line with all lines before it.
    apart = build.execute(f"""
        WITH own AS (SELECT * FROM fact_order_line WHERE order_line_key = {key}),
        past AS (
            SELECT p.*, o.ordered_at::DATE - p.ordered_at::DATE AS ago, coalesce(r.confirmed_at::DATE
                <= p.ordered_at::DATE + 35, false) AS is_back, o.customer_key AS c, o.style_id AS st, o.size AS si,
                o.colour AS co, o.category AS ca, o.brand AS b
            FROM own o, fact_order_line p LEFT JOIN fact_return_line r USING (order_line_key)
            WHERE p.ordered_at::DATE < o.ordered_at::DATE)
        SELECT count(*) FILTER (ago > 35 AND customer_key = c),
            count(*) FILTER (ago > 35 AND style_id = st AND is_back),
            count(*) FILTER (ago > 35 AND style_id = st AND size = si), count(*) FILTER (ago > 35 AND style_id = st
                AND colour = co), count(*) FILTER (ago > 35 AND brand = b AND is_back),
            count(*) FILTER (ago <= 90 AND customer_key = c), min(ago) FILTER (customer_key = c),
            count(*) FILTER (ago > 35 AND customer_key = c AND category = ca AND NOT is_back),
            sum(size::INTEGER) FILTER (ago > 35 AND customer_key = c AND category = ca AND NOT is_back)
        FROM past""").fetchall()[0]
    names = ("customer_n", "item_y", "size_n", "colour_n", "brand_y", "pace", "pause", "kept_n", "kept_s")
    assert tuple(line[n] for n in names) == pytest.approx(apart)
    assert line["kept_n"] > 0


def test_sizes_and_words_are_read() -> None:
    sizes = ["XS", "m ", "2XL", "XXL", "38", "116", "W32 L34", "one size", "7.5"]
    with duckdb.connect() as connection:
        found = [connection.execute(f"SELECT {size_sql(quote(s))}").fetchall()[0][0] for s in sizes]
        assert found == [1, 3, 6, 6, 19, pytest.approx(19.33, abs=0.01), 16, None, 7.5]
        words = connection.execute(f"SELECT {words_sql(quote('Robe à pois, été 24 en ROBE'))}").fetchall()
        assert words == [(["pois", "robe", "été"],)]


def test_some_lines_are_counted_as_all_are(build: duckdb.DuckDBPyConnection) -> None:
    everything = known(build)
    some = known(build, LATE)
    assert 500 < len(some) < 1_500
    assert all(everything[k] == row for k, row in some.items())


def scores(build: duckdb.DuckDBPyConnection) -> dict[int, float]:
    return dict(build.execute("SELECT order_line_key, probability FROM estimate_return_probability").fetchall())


def test_lines_are_scored_alike_however_many_are_written_at_once(
    build: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    probability(build, Settings(), "TRUE")
    found = scores(build)
    build.execute("DELETE FROM estimate_return_probability")
    monkeypatch.setattr("pipelines.estimate.probability._WRITTEN", 1_000)
    probability(build, Settings(), "order_line_key IN (SELECT order_line_key FROM fact_order_line)")
    assert scores(build) == found
    assert len(found) > 10_000


def test_probability_is_fitted_once_and_recorded(build: duckdb.DuckDBPyConnection) -> None:
    probability(build, Settings(), "TRUE")
    (version,) = build.execute(
        "SELECT model_id, fitted_at, score, base_score, is_used, parameters FROM model_version"
    ).fetchall()
    assert version[1] == UNTIL
    assert version[4]
    assert version[2] > version[3] + 0.02
    found, rows = scores(build), known(build)
    assert len(found) == sum(row[COUNTS.index("shop_n")] >= 200 for row in rows.values()) > 10_000
    model = ReturnProbability.of(json.loads(version[5])["model"])
    line, _ = features_of({n: [v if v is not None else np.nan] for n, v in zip(COUNTS, rows[10_000], strict=True)})
    assert found[10_000] == pytest.approx(float(model.score(line)[0]), rel=1e-12)
    # A later load with the stored model gives touched lines the same answer.
    build.execute(f"DELETE FROM estimate_return_probability WHERE {LATE}")
    probability(build, Settings(), LATE)
    assert scores(build) == found
    assert build.execute("SELECT count(*) FROM model_version").fetchall() == [(1,)]
    # Four weeks on it is fitted again. Nothing was ordered since, so nothing says that it is better: the old one stays.
    build.execute("UPDATE build_source SET last_occurred_at = TIMESTAMP '2026-01-29'")
    probability(build, Settings(), "false")
    kept = build.execute(
        "SELECT is_used, parameters->>'$.is_promoted', parameters->>'$.why_not' FROM model_version ORDER BY fitted_at"
    ).fetchall()
    assert [row[:2] for row in kept] == [(True, "true"), (False, "false")]
    assert kept[1][2] == "not in use: it expects later lines no better than the model in use"
    assert scores(build) == found


def test_a_better_model_takes_the_place_and_scores_every_line(build: duckdb.DuckDBPyConnection) -> None:
    probability(build, Settings(), "TRUE")
    ((parameters,),) = build.execute("SELECT parameters FROM model_version").fetchall()
    worse = json.loads(parameters)
    worse["model"]["coefficients"] |= {"item_rate": -1.0, "customer_rate": -1.0}
    worse["judgement"]["last_day"] -= 100  # what came in the last 100 days is new to it
    build.execute("UPDATE model_version SET parameters = ?", [json.dumps(worse)])
    before = scores(build)
    build.execute("UPDATE build_source SET last_occurred_at = TIMESTAMP '2026-01-29'")
    probability(build, Settings(), "false")
    promoted = build.execute(
        "SELECT is_used, parameters->>'$.is_promoted' FROM model_version ORDER BY fitted_at"
    ).fetchall()
    assert promoted == [(True, "true"), (True, "true")]
    after = build.execute("SELECT count(*), count(DISTINCT model_id) FROM estimate_return_probability").fetchall()
    assert after == [(len(before), 1)]


def test_a_rewritten_amount_is_named_and_refused(build: duckdb.DuckDBPyConnection) -> None:
    build.execute(
        "UPDATE fact_order_line SET net_amount = 0 WHERE order_line_key IN (SELECT order_line_key FROM"
        " fact_return_line)"
    )
    probability(build, Settings(), "TRUE")
    ((is_used, score, parameters),) = build.execute("SELECT is_used, score, parameters FROM model_version").fetchall()
    given = json.loads(parameters)
    assert {leak["feature"] for leak in given["leaks"]} >= {"price"}
    assert given["leaks"][0]["reason"].endswith("so it was written after the return")
    assert {"price", "relative_price", "basket_value", "discount"} <= set(given["model"]["refused"])
    assert is_used
    assert score < 0.9  # what is left does not know it
    assert all(given["model"]["coefficients"][f] == 0 for f in given["model"]["refused"])
    (check,) = (c for c in CHECKS if c.name == "features_that_leak")  # each load warns of it
    warned = build.execute(check.select(is_increment=False)).fetchall()
    assert {(row[0], row[1]) for row in warned} == {(leak["feature"], leak["reason"]) for leak in given["leaks"]}


def test_a_column_that_later_exports_rewrite_is_named(build: duckdb.DuckDBPyConnection) -> None:
    """Every third returned line is discounted by its fee a week later: too little to separate alone."""
    build.execute("""
        CREATE TEMP VIEW all_order_line AS
        SELECT order_line_key, 'shop' AS source, net_amount, 1 AS units, false AS is_gift, 'web' AS channel,
            'p' AS product_id FROM fact_order_line
        UNION ALL SELECT order_line_key, 'shop', net_amount - 1, 1, false, 'web', 'p' FROM fact_order_line
            SEMI JOIN fact_return_line USING (order_line_key) WHERE order_line_key % 3 = 0
        UNION ALL SELECT order_line_key, 'shop', net_amount, 2, false, 'web', 'p' FROM fact_order_line
            WHERE order_line_key % 10 = 0""")
    probability(build, Settings(), "TRUE")
    ((parameters,),) = build.execute("SELECT parameters FROM model_version").fetchall()
    given = json.loads(parameters)
    assert [leak["feature"] for leak in given["leaks"]] == ["basket_value"]  # units change for kept lines alike
    assert "changed in a later export for 3" in given["leaks"][0]["reason"]
    assert "price" in given["model"]["refused"]


def test_noise_has_no_usable_signal(build: duckdb.DuckDBPyConnection) -> None:
    build.execute(
        "UPDATE fact_return_line SET order_line_key = (hash(return_line_key) % 12000)::BIGINT, confirmed_at = NULL"
    )
    build.execute("""
        UPDATE fact_return_line SET confirmed_at = l.clock_started_at + INTERVAL 5 DAY FROM fact_order_line l
        WHERE l.order_line_key = fact_return_line.order_line_key""")
    probability(build, Settings(), "TRUE")
    ((is_used, parameters),) = build.execute("SELECT is_used, parameters FROM model_version").fetchall()
    assert not is_used
    assert "predicts no better than past rates do" in json.loads(parameters)["why_not"]
    assert scores(build) == {}


def test_without_customers_or_with_few_returns_there_is_no_model(build: duckdb.DuckDBPyConnection) -> None:
    build.execute("DELETE FROM fact_return_line WHERE return_lot_key % 50 > 0")
    probability(build, Settings(), "TRUE")
    build.execute("UPDATE fact_order_line SET customer_key = NULL")
    probability(build, Settings(), "TRUE")
    assert build.execute("SELECT count(*) FROM model_version").fetchall() == [(0,)]
    assert scores(build) == {}


def test_features_are_worked_out_by_hand() -> None:
    """A shop of 998 known lines with 249 returns (rate .25), a market of 100 with 50: (50 + 25) / 200 = .375."""
    line = dict.fromkeys(COUNTS, 0.0) | {
        "shop_y": 249,
        "shop_n": 998,
        "late_y": 75,
        "late_n": 300,
        "market_y": 50,
        "market_n": 100,
        "item_y": 9.375,
        "item_n": 10,
        "customer_y": 1,
        "customer_e": 1,
        "customer_n": 3,
        "size_no": 5,
        "kept_n": 3,
        "kept_s": 9,
        "fit_n": 10,
        "fit_s": 10,
        "net": 180,
        "discount": 20,
        "units": 2,
        "window_days": 30,
        "pause": np.nan,
        "market_price": np.nan,
        "sizes": 2,
        "lines": 1,
    }
    found, rates = features_of({n: [v] for n, v in line.items()})
    got = {n: round(float(v[0]), 6) for n, v in found.items()}
    assert got["market_rate"] == pytest.approx(float(logit(0.375)), abs=1e-6)  # the shop is at its level of late
    assert got["item_rate"] == pytest.approx(float(logit(0.6) - logit(0.375)), abs=1e-6)  # (9.375 + 5.625) / 25
    assert rates["product"][0] == pytest.approx(0.6)
    assert got["customer_rate"] == 0  # as many as expected
    assert got["size_up"] == pytest.approx((5 - 3 - 10 / 20) * 3 / 4)
    assert got["discount"] == 0.1
    assert got["price"] == pytest.approx(np.log(91), abs=1e-6)
    assert (got["several_sizes"], got["several_colours"], got["customer_pause"]) == (1, 0, 0)
