"""Products: shrinkage, flags and partial pooling against closed forms and simulated truth.

What a page asks of a build.
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import duckdb
import hand_build
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from models import products
from models.notes import note_themes
from pipelines import analyses, metrics
from pipelines.analyses.product import size_rank
from pipelines.estimate import curves as estimate
from pipelines.load.shape.versions import create_tables
from pipelines.metrics import Question
from pipelines.metrics.finish import pooled
from pipelines.settings import Settings
from pipelines.warehouse.engine import Build, open_duckdb


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


def test_a_products_weeks_that_move_together_count_for_less() -> None:
    generator = np.random.default_rng(8)
    product = np.repeat(np.arange(300), 12)
    theta = generator.beta(6, 14, 300)[product]
    alone = generator.binomial(10, theta)
    batches = generator.binomial(10, generator.beta(theta * 19, (1 - theta) * 19))  # correlation .05: 1 + 9 x .05
    assert products.block_effect(product, alone, np.full(product.size, 10)) == pytest.approx(1, abs=0.06)
    assert products.block_effect(product, batches, np.full(product.size, 10)) == pytest.approx(1.45, abs=0.12)
    assert products.block_effect([], [], []) == 1
    assert products.block_effect([0, 0], [1, 0], [5, 5]) == 1  # too few units to tell


def test_the_second_opinion_finds_two_kinds_of_products_and_the_more_doubtful_counts() -> None:
    generator = np.random.default_rng(9)
    is_bad = generator.random(2_000) < 0.1
    usual = np.where(np.arange(2_000) % 2, 0.15, 0.3)
    theta = np.where(is_bad, 2 * usual, usual)
    sold = np.maximum(generator.lognormal(np.log(80), 1, 2_000).astype(int), 1)
    returned = generator.binomial(sold, theta)
    weight = products.fit_spread(returned, sold, usual)
    beyond = weight[products.GRID > 0.45].sum()  # the bad lie at log odds +.87 and +1.25
    assert beyond == pytest.approx(0.1, abs=0.03)
    assert weight[np.abs(products.GRID) < 0.45].sum() > 0.85  # smoothed about 0
    a, b = 20 * usual, 20 * (1 - usual)
    one = products.probability_above(returned, sold, a, b, products.WELL_ABOVE * usual)
    both = products.probability_well_above(returned, sold, a, b, weight)
    assert (both <= one).all()
    assert (both < one - 0.1).any()
    assert products.probability_well_above(returned, sold, a, b).tolist() == one.tolist()
    assert np.isnan(products.probability_well_above([1], [2], [np.nan], [np.nan], weight)).all()


def test_levels_are_found_and_those_without_effect_are_left_at_nothing() -> None:
    generator = np.random.default_rng(10)
    size, colour = generator.integers(0, 6, 3_000), generator.integers(0, 10, 3_000)
    truth = np.array([-0.4, -0.2, 0, 0, 0.2, 0.4])
    family = np.arange(3_000) % 2
    log_odds = logit(np.array([0.15, 0.35]))[family] + truth[size] + generator.normal(0, 0.25, 3_000)
    sold = generator.poisson(40, 3_000)
    found = products.fit_levels(
        generator.binomial(sold, expit(log_odds)), sold, family, {"size": size, "colour": colour}
    )
    assert np.allclose(found.offset["size"] - found.offset["size"].mean(), truth, atol=0.08)
    assert np.abs(found.offset["colour"]).max() < 0.05
    assert found.spread["colour"] < 0.06
    assert found.own == pytest.approx(0.25, abs=0.05)


def test_no_unit_counts_twice_and_without_units_a_product_is_as_its_likes() -> None:
    # alone in its style: the prior is what the levels say, whatever the row's own units
    a, b = products.pooled_prior([40, 5], [50, 50], [-1, -1], [0.1, 0.1], 0.2, [0, 1], 0.4)
    assert a[0] == pytest.approx(a[1], rel=1e-3)
    assert b[0] == pytest.approx(b[1], rel=1e-3)
    rate, low, high = products.shrunk_rate([0], [0], a[:1], b[:1])
    sd = np.sqrt(0.2**2 + 0.4**2 + 0.1**2)
    assert rate[0] == pytest.approx(expit(-1), abs=0.02)
    assert low[0] == pytest.approx(expit(-1 - 1.645 * sd), abs=0.03)
    assert high[0] == pytest.approx(expit(-1 + 1.645 * sd), abs=0.03)
    # the other rows of a style speak for one without units, and the more of them the more surely
    few, many = (products.pooled_prior([40 * k, 0], [50 * k, 0], [-1, -1], [0, 0], 0.1, [0, 0], 0.4) for k in (1, 20))
    assert few[0][1] / (few[0][1] + few[1][1]) > 0.4
    assert many[0][1] + many[1][1] > few[0][1] + few[1][1]


NOTES = ["size small", "small", "advice small", "seam", "broken zip", "colour different", "fit", "box broken"]


@given(st.permutations(range(len(NOTES))))
@settings(max_examples=10, deadline=None)
def test_themes_do_not_depend_on_the_order_of_notes(order: list[int]) -> None:
    own, others = np.array([9, 8, 4, 3, 2, 2, 1, 1]), np.array([5, 5, 5, 20, 20, 40, 30, 10])
    names, theme = note_themes(NOTES, own, others)
    again, shuffled = note_themes([NOTES[i] for i in order], own[order], others[order])
    assert names == again
    assert [theme[i] for i in order] == shuffled.tolist()
    assert names[0].split()[0] == "small"
    assert theme[0] == theme[1] == theme[2] == 0
    assert note_themes([], [], [])[0] == []


@pytest.fixture(scope="module")
def fitted() -> Iterator[duckdb.DuckDBPyConnection]:
    """Give a shop of 200 styles in two categories, four sizes each; size S comes back more, supplier 3 too."""
    connection = duckdb.connect(config={"threads": 2})
    create_tables(connection)
    connection.execute("""
        INSERT INTO build_source BY NAME SELECT 'shop' AS source, 'order_line' AS thing, TIMESTAMP '2025-12-31 23:00'
            AS last_occurred_at;
        INSERT INTO dim_product BY NAME
        SELECT i AS product_key, 'p' || i AS product_id, 's' || (i // 4) AS style_id, ['dresses', 'shoes'][1 + i
            // 4 % 2] AS category, 'u' || (i // 4 % 10) AS supplier,
            ['S', 'M', 'L', 'XL'][1 + i % 4] AS size, 'noir' AS colour, true AS is_current, TIMESTAMP '2024-01-01'
                AS valid_from FROM range(800) t(i);
        INSERT INTO fact_order_line BY NAME
        SELECT i AS order_line_key, i AS order_key, 'shop' AS source, p.product_key, p.product_id, p.style_id,
            p.category, p.supplier, p.size, p.colour, 'web' AS channel,
            TIMESTAMP '2025-01-01' + to_hours(i % 6000) AS ordered_at, ordered_at::DATE AS ordered_on, ordered_at
                AS clock_started_at, 30 AS window_days, 1 AS units_sold
        FROM range(60000) t(i) JOIN dim_product p ON p.product_key = hash(i) % 800;
        INSERT INTO fact_return_line BY NAME
        SELECT order_line_key AS return_lot_key, order_line_key AS return_line_key, order_line_key, source, 1 AS units,
            true AS is_headline, ordered_at + INTERVAL 9 DAY AS confirmed_at
        FROM fact_order_line WHERE hash(order_line_key + 1) % 1000 < CASE category WHEN 'shoes' THEN 200
            ELSE 400 END + CASE size WHEN 'S' THEN 100 ELSE 0 END + CASE supplier WHEN 'u3' THEN 100 ELSE 0 END;
    """)
    estimate.curves(connection, Settings())
    estimate.priors(connection, Settings())
    yield connection
    connection.close()


def test_a_build_knows_its_categories_products_and_levels(fitted: duckdb.DuckDBPyConnection) -> None:
    priors = fitted.execute("SELECT kind, category, a / (a + b) AS rate, deff FROM estimate_product_prior").df()
    assert set(zip(priors["kind"], priors["category"].fillna(""), strict=True)) == {
        (k, c) for k in ("style", "product") for c in ("", "dresses", "shoes")
    }
    shoes = priors[priors["category"] == "shoes"]["rate"]
    assert np.allclose(shoes, 0.2 + 0.1 / 4 + 0.1 / 5, atol=0.02)  # u3 makes shoes only: one style in five
    assert priors["deff"].between(1, 1.1).all()
    weights = fitted.execute("SELECT kind, sum(weight), count(*) FROM estimate_product_spread GROUP BY 1").fetchall()
    assert {(k, n) for k, _, n in weights} == {("style", 101), ("product", 101)}
    assert all(total == pytest.approx(1) for _, total, _ in weights)
    levels = fitted.execute("FROM estimate_rate_level WHERE cut = 'size' AND value IS NOT NULL").df()
    sizes = levels[levels["level"] == "size"].set_index(["category", "value"])["log_odds"]
    assert sizes["dresses", "S"] - sizes["dresses", "M"] == pytest.approx(logit(0.5) - logit(0.4), abs=0.1)
    suppliers = levels[levels["level"] == "supplier"].set_index(["category", "value"])["log_odds"]
    assert suppliers["shoes", "u3"] - suppliers["shoes", "u1"] > 0.25
    spread = fitted.execute(
        "SELECT level, log_odds_sd FROM estimate_rate_level WHERE cut = 'size' AND value IS NULL AND category IS NULL"
    ).df()
    assert set(spread["level"]) == {"supplier", "season", "size", "style", "own"}
    assert spread.set_index("level").loc["style", "log_odds_sd"] < 0.12  # styles differ by their supplier alone


def test_a_row_is_expected_what_its_category_and_levels_say(tmp_path: Path) -> None:
    levels = [
        {"cut": "size", "level": level, "category": category, "value": value, "log_odds": log_odds, "log_odds_sd": sd}
        for level, category, value, log_odds, sd in (
            ("category", "dress", None, -1.0, 0.0),
            ("category", None, None, -2.0, 0.0),
            ("size", "dress", "S", 0.5, 0.01),
            ("size", None, None, 0.0, 0.3),
            ("own", None, None, 0.0, 0.1),
        )
    ]
    rows = pd.DataFrame(
        {"style_id": list("abcd"), "size": ["S", "XXL", None, None], "family": ["dress", "dress", "dress", None]}
    )
    with rebuilt(tmp_path, estimate_rate_level=levels) as build:
        nothing, usual = np.zeros(4), np.array([0.5, 0.5, 0.5, 0.3])
        for moved, offset in ((None, 0.0), (usual, logit(0.5) - logit(0.4))):  # the prior's dresses are 4 of 10
            a, b = pooled.row_prior(build, rows, ("style_id", "size"), nothing, nothing, moved)
            log_odds = np.array([-0.5, -1.0, -1.0, -2.0]) + offset * np.array([1, 1, 1, 0])
            assert a / (a + b) == pytest.approx(expit(log_odds), abs=0.01)
            assert (a + b)[0] > 2 * (a + b)[1]  # a size not met yet may add anything
            assert (a + b)[2] > 2 * (a + b)[1]


def test_pooling_twice_gives_the_same(fitted: duckdb.DuckDBPyConnection) -> None:
    tables = ("estimate_product_prior", "estimate_product_spread", "estimate_rate_level")
    before = {t: fitted.execute(f"FROM {t} ORDER BY ALL").fetchall() for t in tables}
    estimate.priors(fitted, Settings())
    assert {t: fitted.execute(f"FROM {t} ORDER BY ALL").fetchall() for t in tables} == before


def rebuilt(folder: Path, **tables: list[dict[str, Any]]) -> Build:
    return open_duckdb(hand_build.write(folder / "other.duckdb", tables))


def small_shop(*products_: tuple[str, int, int, float]) -> dict[str, list[dict[str, Any]]]:
    """Sell and return styles: name, sold, returned, price."""
    orders, lots = [], []
    for key, (style, sold, returned, price) in enumerate(products_, start=1):
        same = {
            "order_line_key": key,
            "style_id": f"shop:{style}",
            "product_id": f"shop:{style}-S",
            "category": "dress",
        }
        orders.append(
            {
                **hand_build.ORDERS[0],
                **same,
                "units_sold": sold,
                "net_amount": sold * price,
                "cost_amount": sold * price / 2,
            }
        )
        lots.append(
            {
                **hand_build.LOTS[0],
                **same,
                "return_lot_key": key,
                "return_line_key": key,
                "units": returned,
                "net_amount": returned * price,
                "cost_amount": returned * price / 2,
            }
        )
    return {
        "fact_order_line": orders,
        "fact_return_line": lots,
        "estimate_credit_match": [],
        "estimate_return_cost": [],
    }


@pytest.mark.parametrize("by", ["style_id", "product_id"])
def test_two_of_three_never_tops(tmp_path: Path, by: str) -> None:
    # dearer by a thousand times, and categories so unlike that two of three are proof
    shop = small_shop(("alba", 400, 240, 50), ("gala", 3, 2, 50_000), ("runner", 600, 180, 50))
    loose = [{**row, "a": 0.4, "b": 0.6} for row in hand_build.TABLES["estimate_product_prior"]]
    for priors in (hand_build.TABLES["estimate_product_prior"], loose):
        with rebuilt(tmp_path, **shop, estimate_product_prior=priors) as build:
            ranked = analyses.product_ranking(build, by=by)
        assert ranked[by].str.contains("gala").tolist() == [False, False, True]
        assert not ranked["is_flagged"].iloc[2]
        assert ranked["is_small"].tolist() == [False, False, True]
        assert ranked["returned"].iloc[2] / ranked["sold"].iloc[2] > ranked["returned"].iloc[0] / ranked["sold"].iloc[0]
        (tmp_path / "other.duckdb").unlink()


def test_ranking_says_how_sure_it_is_and_what_it_expected(tmp_path: Path) -> None:
    shop = small_shop(("alba", 400, 240, 50), ("gala", 3, 2, 500), ("runner", 600, 180, 50))
    with rebuilt(tmp_path, **shop) as build:
        ranked = analyses.product_ranking(build).set_index("style_id")
        alba, runner = ranked.loc["shop:alba"], ranked.loc["shop:runner"]
        assert alba["name"] == "Robe Alba"
        assert (alba["is_flagged"], runner["is_flagged"]) == (True, False)
        assert alba["rate"] == pytest.approx((240 + 4) / (400 + 10))
        assert alba["category_rate"] == pytest.approx(0.4)
        assert (alba["buyers_rate"], runner["buyers_rate"]) == pytest.approx((0.4, 0.2))  # lines 1 and 3 as scored
        assert alba["relative"] == pytest.approx(alba["rate"] / 0.4)
        assert ranked["probability_well_above"].le(ranked["probability_above"]).all()
        assert not ranked["is_new"].any()  # three months old
        answer = metrics.answer(build, "product_return_rate", by=("style_id",)).set_index("style_id")
        assert answer["value"].to_dict() == pytest.approx(ranked["rate"].to_dict())  # one number, one definition
        own = metrics.answer(build, "own_part", by=("style_id",)).set_index("style_id")["value"]
        assert own.to_dict() == pytest.approx(ranked["own_part"].to_dict())
        parts = ranked["category_rate"] + (ranked["buyers_rate"] - ranked["category_rate"]) + ranked["own_part"]
        assert parts.to_dict() == pytest.approx(ranked["rate"].to_dict())
        assert (
            metrics.answer(
                build, "probability_above_category", Question(where={"style_id": ["shop:alba"]}), by=("style_id",)
            )["value"].iloc[0]
            > 0.99
        )
        assert analyses.product_ranking(build, Question(as_of=dt.date(2025, 12, 1)))["is_new"].all()


def two_markets() -> dict[str, list[dict[str, Any]]]:
    """Sell thirty dresses of two brands in two markets.

    In DE 60% come back and 95% of the last one's, in FR 30% of all.
    """
    shop = small_shop(
        *[(f"s{i:02}", 200, 120 if i < 29 else 190, 50) for i in range(30)],
        *[(f"s{i:02}", 1000, 300, 50) for i in range(30)],
    )
    for rows in (shop["fact_order_line"], shop["fact_return_line"]):
        for i, row in enumerate(rows):
            row.update(country="DE" if i < 30 else "FR", brand="A" if i % 30 < 28 else "B")
    return shop


def test_a_product_is_compared_with_its_category_in_the_selection(tmp_path: Path) -> None:
    with rebuilt(tmp_path, **two_markets()) as build:
        ranked = analyses.product_ranking(build, Question(where={"country": ["DE"]})).set_index("style_id")
        usual = (29 * 120 + 190 + 4) / (30 * 200 + 10)  # the selection's rate, pulled by the prior of 4 and 6
        assert ranked["category_rate"].tolist() == pytest.approx([usual] * 30)
        assert ranked.index[ranked["is_flagged"]].tolist() == ["shop:s29"]
        alike = ranked.drop("shop:s29")
        assert alike["probability_above"].between(0.2, 0.8).all()
        assert alike["rate"].tolist() == pytest.approx([(120 + 10 * usual) / 210] * 29)
        for same in (Question(scope=metrics.Scope({"country": ["DE"]})), Question(where={"market": ["DE"]})):
            again = analyses.product_ranking(build, same).set_index("style_id")
            pd.testing.assert_frame_equal(again, ranked)
        for key, column in (
            ("product_return_rate", "rate"),
            ("probability_above_category", "probability_above"),
            ("own_part", "own_part"),
        ):
            found = metrics.answer(build, key, Question(where={"country": ["DE"]}), by=("style_id",)).set_index(
                "style_id"
            )
            cut = metrics.answer(build, key, by=("style_id", "country")).set_index(["country", "style_id"]).loc["DE"]
            assert found["value"].to_dict() == pytest.approx(ranked[column].to_dict(), nan_ok=True)
            assert cut["value"].to_dict() == pytest.approx(ranked[column].to_dict(), nan_ok=True)  # filtered or cut by
        sizes = analyses.product_rates(build, "shop:s03", Question(where={"country": ["DE"]}))
        assert sizes["category_rate"].tolist() == pytest.approx([usual])


@pytest.mark.parametrize(
    "where",
    [
        {"style_id": ["shop:s29"]},
        {"product_id": ["shop:s29-S"]},
        {"brand": ["B"]},
        {"category": ["dress"], "brand": ["B"]},
    ],
)
def test_a_product_alone_is_not_compared_with_itself(tmp_path: Path, where: dict[str, list[str]]) -> None:
    with rebuilt(tmp_path, **two_markets()) as build:
        alone = (
            analyses.product_ranking(build, Question(where={**where, "country": ["DE"]}))
            .set_index("style_id")
            .loc["shop:s29"]
        )
        whole = (
            analyses.product_ranking(build, Question(where={"country": ["DE"]})).set_index("style_id").loc["shop:s29"]
        )
        assert alone[["rate", "category_rate", "probability_above", "at_stake"]].tolist() == pytest.approx(
            whole[["rate", "category_rate", "probability_above", "at_stake"]].tolist()
        )
        assert analyses.product_ranking(build, Question(where=where)).set_index("style_id").loc[
            "shop:s29", "category_rate"
        ] == pytest.approx(0.4)


def test_products_rank_by_their_own_effect_given_where_they_were_sold(tmp_path: Path) -> None:
    # In DE 55% come back, in FR 25%: 40% in all, as the small shop's prior has it. Fifteen dresses are sold in DE,
    # fifteen in FR; the last in FR is worse than usual there, and better than any sold in DE.
    returned = [550] * 15 + [250] * 14 + [400]
    shop = small_shop(*[(f"s{i:02}", 1000, came, 50) for i, came in enumerate(returned)])
    for rows in (shop["fact_order_line"], shop["fact_return_line"]):
        for i, row in enumerate(rows):
            row.update(country="DE" if i < 15 else "FR")
    with rebuilt(tmp_path, **shop) as build:
        ranked = analyses.product_ranking(build).set_index("style_id")
    assert ranked.index[0] == "shop:s29"
    assert ranked.index[ranked["is_flagged"]].tolist() == ["shop:s29"]
    in_de = ranked.loc[[f"shop:s{i:02}" for i in range(15)]]
    assert in_de["probability_above"].gt(0.99).all()  # of the category, wherever it is sold
    assert in_de["probability_own"].between(0.1, 0.9).all()
    assert in_de["market_rate"].to_numpy() == pytest.approx(0.4 * 550 / 405, rel=0.03)


def test_a_scope_of_one_brand_is_read_no_further(tmp_path: Path) -> None:
    with rebuilt(tmp_path, **two_markets()) as build:
        scope = metrics.Scope({"brand": ["B"]})
        found = analyses.product_ranking(build, Question(scope=scope, where={"country": ["DE"]}))
        assert found["category_rate"].tolist() == pytest.approx([(120 + 190 + 4) / 410] * 2)


def test_a_style_that_changed_its_category_keeps_all_its_units(tmp_path: Path) -> None:
    shop = small_shop(("alba", 300, 150, 50), ("gala", 500, 100, 50), ("alba", 200, 40, 50))
    for row in (shop["fact_order_line"][2], shop["fact_return_line"][2]):
        row["category"] = "shoes"
    with rebuilt(tmp_path, **shop) as build:
        ranked = analyses.product_ranking(build).set_index("style_id")
        assert ranked.loc["shop:alba", ["category", "sold", "returned"]].tolist() == ["dress", 500, 190]
        answer = metrics.answer(build, "product_return_rate", by=("style_id",)).set_index("style_id")
        assert answer.loc["shop:alba", "value"] == pytest.approx(194 / 510)
        assert ranked.loc["shop:alba", "rate"] == pytest.approx(194 / 510)
        assert analyses.product_rates(build, "shop:alba")["sold"].tolist() == [500]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Build]:
    with open_duckdb(hand_build.write(tmp_path_factory.mktemp("hand") / "hand.duckdb")) as opened:
        yield opened


def test_rates_by_size_by_hand(build: Build) -> None:
    found = analyses.product_rates(build, "shop:alba").set_index("size")
    # S: lines 1 and 6, three units, exposure 2 + .95, a and d back; M: line 2, b back. Prior 4 and 6 of dresses.
    assert found.index.tolist() == ["S", "M"]
    assert found.loc["S", ["sold", "returned"]].tolist() == [3, 2]
    assert found.loc["S", "maturity"] == pytest.approx(2.95 / 3)
    assert found.loc["S", "rate"] == pytest.approx(6 / 12.95)
    assert found.loc["M", "rate"] == pytest.approx(5 / 11)
    assert (found["low"] < found["rate"]).all()
    assert analyses.product_rates(build, "shop:alba", Question(where={"country": ["DE"]})).empty
    assert analyses.product_rates(build, "shop:alba", Question(as_of=dt.date(2025, 12, 12)))["sold"].sum() == 3
    assert analyses.product_rates(build, "shop:alba", by=("size", "colour"))["sold"].sum() == 4


def test_a_products_reasons_and_sizes_against_its_category_by_hand(build: Build) -> None:
    reasons = analyses.product_reasons(build, "shop:alba").set_index("return_reason")
    # alba: a too small, b too large, d unknown; the other dress, gala: g unknown
    assert reasons["returned"].to_dict() == {"size_small": 1, "size_large": 1, "unknown": 1}
    assert reasons["share"].sum() == pytest.approx(1)
    assert reasons.loc["unknown", "category_share"] == 1
    assert reasons.loc["size_small", "category_share"] == 0
    assert reasons["is_within_noise"].all()
    curve = analyses.size_curve(build, "shop:alba").set_index("size")
    assert curve.index.tolist() == ["all", "S", "M"]
    assert curve["balance"].tolist() == [0, 1, -1]
    assert curve.loc["S", "low"] < 0.5


def test_a_products_months_and_money_by_hand(build: Build) -> None:
    months = analyses.rate_since_launch(build, "shop:alba")
    assert months["periods_since_launch"].tolist() == [0, 2]  # November, January
    assert months["sold"].tolist() == [3, 1]
    assert months["rate"].iloc[0] == pytest.approx(2 / 3)
    assert analyses.rate_since_launch(build, "shop:alba", grain="week")["periods_since_launch"].tolist() == [0, 9]
    costs = analyses.product_costs(build, "shop:alba").set_index("what")
    assert costs.loc["return_cost", "amount"] == 9 + 14 + 3  # a, b, d
    assert costs.loc["return_cost", "per_unit"] == pytest.approx(26 / 3)
    assert costs.loc["return_freight", "amount"] == 4 + 4 + 3
    assert costs.loc["kg_co2e", "amount"] == pytest.approx(1.0)
    assert costs.loc["kg_co2e", "category_per_unit"] == 0  # gala's credit has no leg
    assert costs.loc["margin_reversed", "amount"] == 30 + 30  # b is an exchange


def test_a_products_notes_are_themes_against_the_others(tmp_path: Path) -> None:
    said = {"shop:a": "size small", "shop:b": "small", "shop:g": "seam"}
    lots = [{**lot, "note_terms": said.get(lot["return_line_id"])} for lot in hand_build.LOTS]
    dress = {**hand_build.LOTS[0], "style_id": "shop:gala", "note_terms": "seam"}
    lots += [{**dress, "return_lot_key": 900 + i, "return_line_key": 900 + i} for i in range(20)]
    with rebuilt(tmp_path, fact_return_line=lots) as build:
        found = analyses.product_notes(build, "shop:alba")
        assert found[["theme", "notes", "share", "category_share"]].to_numpy().tolist() == [["small size", 2, 1, 0]]
        assert not found["is_within_noise"].iloc[0]
        assert analyses.product_notes(build, "shop:alba", Question(as_of=dt.date(2025, 11, 13))).empty
        assert analyses.product_notes(build, "shop:runner").empty


@pytest.mark.parametrize("renamed", [(), ("fact_order_line",), ("fact_order_line", "fact_return_line")])
def test_a_products_frames_are_the_same_in_one_statement_or_two(tmp_path: Path, renamed: tuple[str, ...]) -> None:
    """Whether all of a style lies in its category, as most do, or some of it lay in another when it was sold."""
    tables = {"fact_order_line": hand_build.ORDERS, "fact_return_line": hand_build.LOTS}
    changed = {name: [dict(row) for row in rows] for name, rows in tables.items()}
    for name in renamed:
        next(row for row in changed[name] if row["style_id"] == "shop:alba")["category"] = "gown"
    shown = (analyses.size_curve, analyses.product_reasons, analyses.product_costs, analyses.product_notes)
    asked = (Question(), Question(where={"country": ["FR"]}), Question(where={"category": ["gown"]}))
    with rebuilt(tmp_path, **changed) as build:
        found = [show(build, "shop:alba", question) for show in shown for question in asked]
        assert ("shop:alba" in build.cache["only_categories"]) is not bool(renamed)
        build.cache["only_categories"] = {}
        apart = [show(build, "shop:alba", question) for show in shown for question in asked]
    for one, other in zip(found, apart, strict=True):
        pd.testing.assert_frame_equal(one, other)


def test_related_products_share_the_problem_or_the_basket(tmp_path: Path) -> None:
    first, lot = hand_build.ORDERS[0], hand_build.LOTS[0]
    orders, lots = [], []
    key = 0
    # alba and gala are bought together five times of ten; runner alone forty times; alba, gala and nova come back as
    # too small
    baskets = [("alba", "gala")] * 5 + [("alba",)] * 5 + [("gala",)] * 5 + [("runner",)] * 40 + [("nova",)] * 10
    for order, styles in enumerate(baskets, start=1):
        for style in styles:
            key += 1
            same = {
                "order_line_key": key,
                "order_key": order,
                "style_id": f"shop:{style}",
                "product_id": f"shop:{style}-S",
                "category": "shoes" if style == "runner" else "dress",
            }
            orders.append({**first, **same, "units_sold": 1})
            if style in ("alba", "gala") or (style == "nova" and order % 2):
                lots.append(
                    {
                        **lot,
                        **same,
                        "return_lot_key": key,
                        "return_line_key": key,
                        "return_key": order,
                        "reason": "size_small",
                    }
                )
    shelf = [
        {
            "product_key": i,
            "product_id": f"shop:{s}-S",
            "style_id": f"shop:{s}",
            "name": s,
            "category": c,
            "supplier": u,
            "brand": "Maison",
            "is_current": True,
            "valid_from": first["ordered_at"],
        }
        for i, (s, c, u) in enumerate(
            (("alba", "dress", "A"), ("gala", "dress", "B"), ("nova", "dress", "A"), ("runner", "shoes", "A"))
        )
    ]
    with rebuilt(
        tmp_path, fact_order_line=orders, fact_return_line=lots, estimate_credit_match=[], dim_product=shelf
    ) as build:
        found = analyses.related_products(build, "shop:alba")
        profile = analyses.product_profile(build, "shop:alba")
    problem = found[found["relation"] == "same_problem"]
    # 10 of 10 gala, 5 of 10 nova, 25 of 30 dresses: only gala's rate is above; runner does not come back at all
    assert problem[["name", "through", "count"]].to_numpy().tolist() == [["gala", "brand", 10]]
    bought = found[found["relation"] == "bought_together"].iloc[0]
    assert (bought["name"], bought["count"]) == ("gala", 5)
    assert bought["strength"] == pytest.approx(5 / (10 * 10 / 65))
    # five of twenty returns hold both, as chance would have it: 10 x 10 / 20
    assert set(found["relation"]) == {"same_problem", "bought_together"}
    assert (profile.name, profile.category, profile.supplier) == ("alba", "dress", "A")
    assert profile.first_sold_on == pd.Timestamp(first["ordered_on"])
    assert {f.name for f in fields(profile) if isinstance(getattr(profile, f.name), pd.DataFrame)} == {
        "by_size",
        "by_colour",
        "by_size_and_colour",
        "size_curve",
        "reasons",
        "since_launch",
        "costs",
        "notes",
        "related",
        "changes",
    }


def test_a_product_nobody_knows_has_empty_frames(build: Build) -> None:
    profile = analyses.product_profile(build, "shop:nothing")
    assert profile.name == "nothing"
    assert profile.by_size.empty
    assert profile.notes.empty
    assert profile.related.empty


def test_sizes_stand_in_the_order_of_a_shop() -> None:
    assert sorted(["44", "XL", "one", "S", "9.5", None, "36-38"], key=size_rank) == [
        "S",
        "XL",
        "9.5",
        "36-38",
        "44",
        "one",
        None,
    ]
