"""What makes orders come back: values as a reader knows them, baskets and worth against sums by hand."""

from collections.abc import Iterator

import pandas as pd
import pytest
from sqlalchemy import select

from models.return_features import FEATURES
from pipelines.analyses import model_report, return_drivers
from pipelines.estimate.probability import probability
from pipelines.settings import Settings
from pipelines.warehouse.engine import Build, open_duckdb
from pipelines.warehouse.star import STAR
from tests import return_worlds


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Build]:
    """Make a build of the fitting world with its model, and 4 of cost for each returned lot."""
    file = tmp_path_factory.mktemp("drivers") / "000001-20260101T000000.duckdb"
    connection = return_worlds.as_build(return_worlds.fitting(5, 9_000, days=400), str(file), later=1)
    connection.execute("""
        UPDATE fact_return_line SET country = o.country, category = o.category, inspected_at = confirmed_at
        FROM fact_order_line o WHERE o.order_line_key = fact_return_line.order_line_key;
        INSERT INTO estimate_return_cost BY NAME
        SELECT return_lot_key, 'handling' AS component, 4 AS amount FROM fact_return_line""")
    probability(connection, Settings(), "TRUE")
    connection.close()
    found = open_duckdb(file)
    yield found
    found.close()


def recent(build: Build) -> pd.DataFrame:
    """Give the lines of the last 28 days with their probability."""
    lines, scored = STAR.tables["fact_order_line"], STAR.tables["estimate_return_probability"]
    lines = build.fetch(
        select(lines, scored.c.probability).join(scored, scored.c.order_line_key == lines.c.order_line_key)
    )
    day = pd.to_datetime(lines["ordered_on"])
    return lines[(day > day.max() - pd.Timedelta(days=28)) & (lines["units_sold"] > 0)]


def test_every_feature_can_be_read_and_what_is_weighed_adds_up(build: Build) -> None:
    assert set(return_drivers.READ) | {"month_sin", "month_cos"} == set(FEATURES)
    version = model_report.models(build)["shop"]
    weights = return_drivers.weights(version)
    assert weights["value"].sum() == pytest.approx(1)
    assert weights["value"].is_monotonic_decreasing
    curves = return_drivers.dependence(version)
    assert (curves["lines"] >= return_drivers.FEWEST_LINES).all()
    rates = curves[curves["feature"] == "market_rate"]["value"]
    assert rates.between(0, 1).all()


def test_baskets_and_worth_are_sums_over_the_lines_of_late(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(return_drivers, "FEWEST_LINES", 20)
    version = model_report.models(build)["shop"]
    lines = recent(build)
    sizes = lines.groupby(["order_key", "style_id"])["size"].transform("nunique") > 1
    found = return_drivers.baskets(build, version).set_index("driver")
    row = found.loc["several_sizes"]
    assert row["lines"] == sizes.sum()
    assert row["of_lines"] == pytest.approx(sizes.mean())
    assert row["value"] == pytest.approx(lines.loc[sizes, "probability"].mean())
    assert row["others"] == pytest.approx(lines.loc[~sizes, "probability"].mean())
    assert row["value"] > row["others"]  # who orders two sizes sends one back, in this world
    worth = return_drivers.worth(build, version, 0.5, 0.1)
    warned = lines[lines["probability"] >= 0.5]
    returns = (warned["probability"] * warned["units_sold"]).sum()
    assert (worth.lines, worth.of_lines) == (len(warned), len(lines))
    assert worth.returns == pytest.approx(returns)
    assert worth.saved == pytest.approx(returns * 0.1 * 4)
    assert pd.isna(worth.saved_kg)  # nothing has a known mass here
