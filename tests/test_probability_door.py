"""Lines that no build holds yet are scored as the next load would score them; a file of them, costs, and the card."""

import csv
import json
import string
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from dashboard.i18n import Words
from models.return_features import COUNTS, features_of
from pipelines.analyses import model_report, return_probability
from pipelines.analyses.labelled import with_target
from pipelines.cli import app
from pipelines.errors import BackhaulError
from pipelines.estimate.probability import current_version, probability
from pipelines.estimate.probability_counts import counts, forget
from pipelines.outputs.model_card import REASONS, WORDS, model_card
from pipelines.settings import Settings
from pipelines.warehouse.engine import Build, open_duckdb
from pipelines.why import why
from tests import return_worlds

LINES = 9_000


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a build of the fitting world with its model, and a cost and kilograms of every returned lot."""
    file = tmp_path_factory.mktemp("door") / "000001-20260101T000000.duckdb"
    connection = return_worlds.as_build(return_worlds.fitting(5, LINES, days=400), str(file), later=1)
    connection.execute("""
        UPDATE fact_return_line SET country = o.country, category = o.category, inspected_at = confirmed_at
        FROM fact_order_line o WHERE o.order_line_key = fact_return_line.order_line_key;
        INSERT INTO estimate_return_cost BY NAME SELECT return_lot_key, 'handling' AS component,
            CASE country WHEN 'FR' THEN 4 ELSE 6 END AS amount FROM fact_return_line;
        INSERT INTO estimate_return_carbon BY NAME SELECT return_lot_key, 0.5 AS kg_co2e FROM fact_return_line""")
    probability(connection, Settings(), "TRUE")
    connection.close()
    return file


@pytest.fixture
def build(path: Path) -> Iterator[Build]:
    found = open_duckdb(path)
    yield found
    found.close()


def new_lines(path: Path, rows: int = 60) -> list[dict[str, object]]:
    """Give lines like known ones, some of new customers and products, in baskets of two."""
    with duckdb.connect(str(path), read_only=True) as connection:
        found = connection.execute(f"""
            SELECT product_id, style_id, size, colour, brand, category, country, net_amount::DOUBLE, "user" FROM (
                SELECT *, order_line_key % 500 AS "user" FROM fact_order_line
                ORDER BY hash(order_line_key) LIMIT {rows})
            """).fetchall()
    lines = []
    for number, (product, _style, size, colour, brand, category, country, net, user) in enumerate(found):
        line = {
            "product_id": product.removeprefix("shop:"),
            "colour": colour,
            "country": country,
            "net_amount": net,
            "customer_id": f"shop:{user}",
            "order_id": str(number // 2),
            "window_days": 30,
        }
        if number % 10 == 7:
            line["customer_id"] = None
        if number % 10 == 8:
            line |= {
                "product_id": "new",
                "style_id": "new",
                "size": size,
                "brand": brand,
                "category": category,
                "name": "Linen piece new",
            }
        lines.append(line)
    return lines


def test_a_new_line_is_scored_as_the_next_load_would(path: Path, build: Build, tmp_path: Path) -> None:
    lines = new_lines(path)
    scored = return_probability.score_lines(build, lines)
    copy = tmp_path / "copy.duckdb"
    copy.write_bytes(path.read_bytes())
    with duckdb.connect(str(copy)) as connection:
        version = current_version(connection, "shop")
        until = datetime.fromisoformat(build.info["observed_until"])
        rows = [
            (
                10**6 + i,
                10**6 + int(line["order_id"]),
                line["customer_id"],
                f"shop:{line['product_id']}",
                line.get("size"),
                line.get("brand"),
                line.get("category"),
                line["colour"],
                line["country"],
                line["net_amount"],
            )
            for i, line in enumerate(lines)
        ]
        connection.execute(
            "CREATE TEMP TABLE given (k BIGINT, o BIGINT, c VARCHAR, p VARCHAR, size VARCHAR, brand VARCHAR,"
            " category VARCHAR, colour VARCHAR, country VARCHAR, net DOUBLE)"
        )
        connection.executemany("INSERT INTO given VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        connection.execute(
            """
            INSERT INTO dim_product BY NAME SELECT 999999 AS product_key, 'shop:new' AS product_id, 'Linen piece new'
                AS name, TIMESTAMP '2020-01-01' AS valid_from, true AS is_current;
            INSERT INTO fact_order_line BY NAME
            SELECT k AS order_line_key, o AS order_key, md5_number_upper(c)::UBIGINT >> 1 AS customer_key,
                'shop' AS source, coalesce(g.category, d.category) AS category, g.country, 'web' AS channel,
                coalesce(d.style_id, 'shop:new') AS style_id, coalesce(g.size, d.size) AS size, g.colour,
                coalesce(g.brand, d.brand) AS brand, d.product_key, p AS product_id, $1::TIMESTAMP AS ordered_at,
                ordered_at::DATE AS ordered_on, 30 AS window_days, 1 AS units_sold, net AS net_amount
            FROM given g JOIN dim_product d ON d.product_id = p""",
            [until + timedelta(days=1)],
        )
        counts(connection, "shop", until, "order_line_key >= 1000000")
        known = connection.execute(
            f"SELECT {', '.join(COUNTS)} FROM probability_count ORDER BY order_line_key"
        ).fetchnumpy()
        forget(connection)
    given = {n: np.ma.filled(np.ma.asarray(v).astype(float), np.nan) for n, v in known.items()}
    features, rates = features_of(given)
    assert version is not None
    assert [s.probability for s in scored] == pytest.approx(version.model.score(features).tolist(), abs=1e-6)
    assert [s.base_rate for s in scored] == pytest.approx(rates["product"].tolist(), abs=1e-6)
    assert len({round(s.probability, 4) for s in scored}) > 40
    assert all(1 <= len(s.reasons) <= 3 for s in scored)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"country": "FR"}, "Line 2 names no product"),
        ({"product_id": "a"}, "Line 2 names no country"),
        ({"product_id": "a", "country": "fra"}, "Line 2: country='fra' is no code of two letters"),
        ({"product_id": "a", "country": "FR", "prize": 3}, "prize is no field of a line"),
        ({"product_id": "a", "country": "FR", "net_amount": "much"}, "net_amount='much' is no number"),
        ({"product_id": "a", "country": "FR", "net_amount": -1.0}, "is no number from 0"),
        ({"product_id": "a", "country": "FR", "ordered_on": "soon"}, "is no day"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(build: Build, line: dict[str, object], said: str) -> None:
    with pytest.raises(BackhaulError, match=said):
        return_probability.score_lines(build, [{"product_id": "a", "country": "FR"}, line])


def test_cost_and_carbon_are_expected_before_an_order_ships(build: Build) -> None:
    lines = [{"style_id": "s1", "country": c, "category": k} for c, k in (("FR", "c1"), ("DE", "c2"), ("IT", "c1"))]
    scored = return_probability.score_lines(build, lines)
    found = return_probability.expected_of_return(build, lines, scored)
    assert found["cost"].tolist()[:2] == [4, 6]
    assert 4 < found["cost"].iloc[2] < 6  # no return from Italy: as all together
    assert found["basis"].tolist() == ["lane", "lane", "all"]
    assert found["expected_cost"].tolist() == pytest.approx(
        [s.probability * c for s, c in zip(scored, found["cost"], strict=True)]
    )
    assert found["expected_kg_co2e"].iloc[0] == pytest.approx(scored[0].probability * 0.5)


def test_the_judgement_is_told_in_parts(build: Build) -> None:
    version = model_report.models(build)["shop"]
    found = {name: model_report.part(build, version, name) for name in model_report.PARTS}
    overview = found["overview"].set_index("measure")
    assert version.is_used
    assert overview.loc["gain_on_product_rate", "low"] > 0
    assert overview.loc["auc", "value"] > overview.loc["auc_of_product_rate", "value"]
    assert len(found["splits"]) == 3
    assert found["splits"]["first_day"].is_monotonic_increasing
    assert set(found["slices"]["cut"]) == {"country", "category", "customer"}
    assert {"known", "new"} >= set(found["slices"].query("cut == 'customer'")["value"])
    assert found["curve"]["lines"].sum() == overview.loc["lines_judged", "value"]
    assert found["drift"].iloc[0]["measure"] == "stability"
    assert found["drift"].iloc[0]["value"] < model_report.SHIFTED
    assert found["versions"]["is_promoted"].tolist() == [True]
    assert len(found["leaks"]) == 0
    card = model_card(version)
    assert "# Model card" in card
    assert "# Fiche du modèle" in card
    assert set(WORDS["en"]) == set(WORDS["fr"])
    assert card.count("| country: FR |") == 2


def test_a_french_card_gives_its_reasons_in_french(build: Build) -> None:
    version = replace(
        model_report.models(build)["shop"],
        is_used=False,
        why_not=why("model_weak", n=12_345, gain=0.0012, least=-0.003),
    )
    leaks = [{"feature": "net_amount", "reason": why("leak_pure", feature="net_amount", share=f"{0.985:.1%}")}]
    english, french = model_card(replace(version, parameters={**version.parameters, "leaks": leaks})).split("\n---\n")
    assert "98.5% of the lines" in english
    assert "98,5\u00a0% des lignes" in french
    assert "12\u202f345 lignes" in french
    assert "is not used" not in french
    assert "no sign" not in french
    said = Words("fr")
    for code, text in REASONS.items():
        parts = {name for _, name, _, _ in string.Formatter().parse(text) if name}
        assert text.format(**dict.fromkeys(parts, "7")) == (
            said(f"reason.{code}", **dict.fromkeys(parts, "7")).replace("\u00a0", " ").replace("\u202f", " ")
        )


def warehouse_of(path: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "warehouse"
    (folder / "builds").mkdir(parents=True)
    (folder / "builds" / path.name).write_bytes(path.read_bytes())
    (folder / "current").write_text(path.stem)
    return folder


def test_the_verbs_tell_train_and_score(path: Path, tmp_path: Path) -> None:
    folder, runner = warehouse_of(path, tmp_path), CliRunner()

    def said(*words: str) -> str:
        result = runner.invoke(app, [*words, "--warehouse", str(folder)])
        assert result.exit_code == 0, result.output
        return result.stdout

    assert "return_probability:shop:" in said("model")
    told = json.loads(said("model", "--format", "json", "--card", str(tmp_path / "card.md")))
    assert told["is_used"]
    assert set(told) >= {"overview", "curve", "drift", "versions"}
    assert "Fiche du modèle" in (tmp_path / "card.md").read_text(encoding="utf-8")
    trained = json.loads(said("train", "--format", "json"))
    assert trained["overview"] == told["overview"]  # the same lines give the same model
    with (tmp_path / "lines.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["product_id", "country", "net_amount", "is_gift"], ["p1-5", "FR", "30", "yes"], ["x", "DE"]])
    rows = json.loads(said("score", str(tmp_path / "lines.csv"), "--format", "json"))
    assert [row["product"] for row in rows] == ["p1-5", "x"]
    assert all(0 < row["probability"] < 1 and row["expected_cost"] > 0 for row in rows)


MAPPING = """name: flat
time_zone: Europe/Paris
constants: {currency: EUR, channel: web}
tables:
  - file: "*.csv"
    to:
      order_line:
        order_line_id: line
        order_id: order
        ordered_at: day
        product_id: product
        units: units
        net_amount: net
        customer_id: user
        country: country
      product: {style_id: style, size: size, category: category}
"""


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("    order_line:\n      order_id: a\n", "    order_line:\n      dimensions: {%s}\n      order_id: a\n"),
        (
            "  order_line:\n    - when: x\n      units: u\n",
            "  order_line:\n    - dimensions: {%s}\n      when: x\n      units: u\n",
        ),
        ("  order_line: {units: u}\n", "  order_line: {dimensions: {%s}, units: u}\n"),
        ("  order_line:\n    dimensions: {r: R}\n", "  order_line:\n    dimensions: {%s, r: R}\n"),
    ],
)
def test_a_target_is_added_to_a_mapping(tmp_path: Path, given: str, wanted: str) -> None:
    (tmp_path / "a.yaml").write_text(given)
    written = with_target(tmp_path / "a.yaml", "back", tmp_path / "b.yaml").read_text()
    assert written == wanted % 'returned_target: "back"'


def test_a_flat_labelled_file_is_judged_without_a_warehouse(tmp_path: Path) -> None:
    frame = return_worlds.fitting(6, 4_000, days=400)
    day = pd.Timestamp(return_worlds.START) + pd.to_timedelta(frame["day"], unit="D")
    flat = pd.DataFrame(
        {
            "line": np.arange(len(frame)),
            "order": frame["order"],
            "day": day.dt.strftime("%Y-%m-%d"),
            "product": "p" + frame["item"].astype(str) + "-" + frame["size_no"].astype(str),
            "units": 1,
            "net": frame["net"],
            "user": "u" + frame["user"].astype(str),
            "country": frame["country"],
            "style": "s" + frame["item"].astype(str),
            "size": frame["size_no"],
            "category": "c" + frame["category"].astype(str),
            "back": frame["returned"].astype(int),
        }
    )
    flat.to_csv(tmp_path / "lines.csv", index=False)
    (tmp_path / "flat.yaml").write_text(MAPPING)
    words = ["train", "--from", str(tmp_path / "lines.csv"), "--mapping", str(tmp_path / "flat.yaml"), "--target"]
    result = CliRunner().invoke(app, [*words, "back", "--format", "json"])
    assert result.exit_code == 0, result.output
    told = {row["measure"]: row for row in json.loads(result.stdout)["overview"]}
    assert told["lines_judged"]["value"] > 1_000
    assert told["auc"]["value"] > 0.6
    wrong = CliRunner().invoke(app, [*words, "style", "--format", "json"])
    assert wrong.exit_code == 1
    assert "the target is 1 or 0" in str(wrong.exception)
