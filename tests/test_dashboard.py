"""Pages, words and charts without a browser.

Each part of a page has something to show of the sample shop; tests/test_places.py walks through all pages.
"""

import ast
import datetime as dt
import doctest
import importlib
import inspect
import shutil
import string
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import hypothesis
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

import dashboard
from dashboard.app_pages.money.margin import data
from dashboard.app_pages.refunds.policies import data as data_policies
from dashboard.app_pages.refunds.promises import data as data_promises
from dashboard.app_pages.returns.products import data as data_products
from dashboard.app_pages.returns.products import figures as figures_products
from dashboard.app_pages.returns.products import parts as parts_products
from dashboard.app_pages.returns.returns import data as data_returns
from dashboard.app_pages.returns.returns import figures
from dashboard.app_pages.returns.returns import parts as parts_returns
from dashboard.i18n import LANGUAGES, Words, catalogue
from dashboard.shared import charts, columns, findings, names, places, queries, rows_behind
from models.effect import Effect
from pipelines import alerts, analyses, metrics
from pipelines.cli.pages import command, environment
from pipelines.metrics import losses
from pipelines.metrics.coverage import FACTS
from pipelines.metrics.finish import final as final_rates
from pipelines.outputs import export
from pipelines.people import actions
from pipelines.people.actions import Measured
from pipelines.settings import Settings
from pipelines.warehouse import vocabulary
from pipelines.warehouse.engine import Build
from pipelines.why import together, why
from tests.conftest import FUZZ
from tests.pages import ADDRESSES, turn

HOME = Path(dashboard.__file__).parent
LOOKED_UP = ("value", "unit", "fact", "date", "reason", "noun", "screen")
EN, FR = Words("en"), Words("fr")


def app(warehouse: Path, monkeypatch: pytest.MonkeyPatch, **link: str) -> AppTest:
    """Open the app on a warehouse by a link."""
    monkeypatch.setenv("BACKHAUL_WAREHOUSE", str(warehouse))
    opened = AppTest.from_file(str(HOME / "app.py"), default_timeout=300)
    for name, value in link.items():
        opened.query_params[name] = value
    return opened


def said(opened: AppTest) -> str:
    """Everything written on a page."""
    kinds = ("title", "caption", "markdown", "header", "info", "success", "warning", "error")
    return "\n".join(str(element.value) for kind in kinds for element in getattr(opened, kind))


def literals() -> tuple[set[str], set[str]]:
    """Strings of the code, whole and as the fixed beginning of an f-string."""
    whole, beginnings = set(), set()
    for path in HOME.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                whole.add(node.value)
            if isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
                beginnings.add(str(node.values[0].value))
    return whole, {b for b in beginnings if "." in b}


def test_both_languages_have_every_string_with_the_same_parts() -> None:
    english, french = catalogue("en"), catalogue("fr")
    assert english.keys() == french.keys()
    for key in english:
        parts = [{name for _, name, _, _ in string.Formatter().parse(text[key]) if name} for text in (english, french)]
        assert parts[0] == parts[1], key
        assert bool(english[key].strip()) == bool(french[key].strip()) == (key != "unit.count"), key


def test_every_string_is_used() -> None:
    whole, beginnings = literals()
    in_columns = {
        node.value for node in ast.walk(ast.parse(inspect.getsource(columns))) if isinstance(node, ast.Constant)
    }
    for key in dict.fromkeys(key.removesuffix("_one") for key in catalogue("en")):
        section, last = key.split(".")[0], key.split(".")[-1]
        used = (
            key in whole
            or any(key.startswith(b) for b in beginnings)
            or section in LOOKED_UP
            or last in in_columns
            or last.removeprefix("tab_") in whole
        )
        assert used, f"{key} is in the catalogue but on no page"


def test_every_string_asked_for_exists() -> None:
    whole, beginnings = literals()
    sections = {key.split(".")[0] for key in catalogue("en")}
    for key in whole:
        if (
            key.count(".") == 1
            and not key.endswith((".", "_"))
            and key.split(".")[0] in sections
            and key.replace(".", "").replace("_", "").isalnum()
        ):
            assert key in catalogue("en") or not key.islower(), key
    for beginning in beginnings:
        if beginning.split(".")[0] in sections:
            assert any(key.startswith(beginning) for key in catalogue("en")), beginning


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_coded_value_has_a_name(language: str) -> None:
    codes = {
        "return_reason": vocabulary.REASONS,
        "disposition": vocabulary.DISPOSITIONS,
        "stage": vocabulary.STAGES,
        "method": vocabulary.METHODS,
        "role": vocabulary.ROLES,
        "mode": vocabulary.MODES,
    }
    for kind, values in codes.items():
        assert {f"value.{kind}.{value}" for value in values} <= catalogue(language).keys()


def test_what_a_number_rests_on_is_said_in_french() -> None:
    nouns = {s.base.noun for m in metrics.catalogue() for x in m.measures for sums in x.alternatives for s in sums}
    for noun in nouns:
        for kind in losses.KINDS:
            only = why("bounds_only", low="5", high="8 units", share="62.5%", what=noun)
            sentence = together(only, why(f"lost_{kind}", share="37.5%", dimension="brand"))
            assert not {noun, "of", "counted", "have", "name"} & set(FR.translated(sentence).split()), sentence
    for facts in FACTS.values():
        assert (
            facts not in FR.translated(f"without till: no {facts}; 94.7% of returned units") or facts == "dispositions"
        )


def test_a_title_says_what_its_number_does_not_rest_on() -> None:
    lost = "94.7% of returned units; 5.3% name no order; between 26.8% and 28.5% with the rest"
    final = queries.Number(0.283, 0.27, 0.3, 900, "share", "ok", lost, (), "coverage", 0.947)
    said = f"28.3% (27.0%–30.0%) of units sold will be returned (caution: {lost})"
    assert findings.rate(EN, final) == said
    same = queries.Change(0.283, 0.28, 0.003, -0.01, 0.02, True, "share", lost)
    assert findings.with_change(EN, findings.rate(EN, final), same) == f"{said}, no significant change"  # once
    assert "(prudence : 94,7 % des articles retournés ; 5,3 % ne nomment aucune commande" in findings.rate(
        FR, final
    ).replace("\u00a0", " ")
    row = pd.DataFrame([{"label": "FR", "value": 0.3, "status": "ok", "reason": lost, "caution": "coverage"}])
    assert findings.top(EN, "finding.top_market", row, "country", "country", rate=EN.percent).endswith(
        f"(caution: {lost})"
    )
    verdict = alerts.Verdict(alerts.Rule(1, "promise_kept", "above", 0.5), {}, True, 0.8, unit="share", caution=lost)
    assert verdict.sentence().endswith(f"(caution: {lost})")


def test_where_no_return_names_its_order_the_period_is_the_headline() -> None:
    nothing = queries.Number(float("nan"), 0.0, 0.2, 0, "share", "greyed", "none of the returned units can be counted")
    period = queries.Number(0.2, 0.19, 0.22, 3000, "share", "ok", "by date of return over date of sale")
    others = [("rate_so_far", (nothing, None)), ("rate_period", (period, None))]
    assert (
        findings.headline(EN, nothing, None, others).sentence
        == "20.0%: units returned in this period over units sold in it"
    )
    assert findings.headline(EN, nothing, None, others[:1]).sentence == EN("finding.rate_unknown")


MODULES = {
    ".".join(path.relative_to(HOME.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(HOME.rglob("*.py"))
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_table_has_its_columns_named(language: str) -> None:
    parts = [importlib.import_module(name) for name in MODULES if name.endswith(".parts")]
    makers = [
        maker
        for module in (columns, *parts)
        for name, maker in inspect.getmembers(module, inspect.isfunction)
        if maker.__module__ == module.__name__
        and "words" in inspect.signature(maker).parameters
        and (name.endswith("_columns") if module is not columns else not name.startswith("_") and name != "of")
    ]
    assert len(makers) > 40
    for maker in makers:
        wanted = {
            "currency": "EUR",
            "unit": "business_days",
            "one": "A",
            "other": "B",
            "header": ["A", "B"],
            "frame": pd.DataFrame({"counted_on": [pd.Timestamp("2026-01-31")], "counted": [1.0]}),
        }
        extra = {name: value for name, value in wanted.items() if name in inspect.signature(maker).parameters}
        assert all(column["label"] for column in maker(Words(language), **extra).values())


@pytest.mark.parametrize("name", [name for name, path in MODULES.items() if ">>>" in path.read_text("utf-8")])
def test_the_examples_in_the_docstrings_hold(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def measured(verdict: str, *action_ids: int, **values: Any) -> Measured:
    """A measurement of actions, as far as a sentence needs it."""
    return Measured("photo", action_ids, (), None, None, None, Effect(verdict, **values))


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (measured("fell", 1, change=-0.13, low=-0.26, high=-0.01), "The rate fell by 13% (between 1% and 26%)."),
        (
            measured("rose", 1, change=0.13, low=0.01, high=0.26, weeks_needed=3),
            "The rate rose by 13% (between 1% and 26%).",
        ),
        (
            measured("no_clear_change", 1, change=-0.05, low=-0.2, high=0.1, weeks_needed=0),
            "No significant change: −5%, between −20% and +10%.",
        ),
        (
            measured("no_clear_change", 1, change=0.05, low=-0.1, high=0.2, weeks_needed=6),
            "No significant change: +5%, between −10% and +20%. This needs 6 more weeks.",
        ),
        (
            measured("too_early", 1, reason="not_yet", weeks_needed=9),
            "Too early to measure: no week after it is old enough. This needs 9 more weeks.",
        ),
        (measured("too_early", 1, reason="not_yet"), EN("effect.no_wait")),
        (measured("too_early", 1, 2, reason="not_yet"), EN("effect.no_wait_together")),
        (
            measured("no_overlap", 1, reason="no_equals", weeks_needed=4),
            "Not measurable: no product without the action is comparable.",
        ),
    ],
)
def test_an_effect_is_said_with_its_sign_and_the_wait(found: Measured, sentence: str) -> None:
    assert parts_products.effect(EN, found) == sentence


def test_a_shop_figure_names_no_step_within_noise() -> None:
    steps = pd.DataFrame(
        {
            "step": ["previous", "volume", "rate", "current"],
            "kind": ["total", "step", "step", "total"],
            "amount": [0.3, 0.001, 0.008, 0.309],
        }
    )
    same = pd.DataFrame({"status": ["ok"], "is_within_noise": [True]})
    steps = steps.assign(caution="", reason="")
    quiet = parts_returns.shop_figure(EN, steps, same)
    assert EN.value("step", "rate").lower() not in quiet
    assert "+0.9 pts" in quiet
    for other in (same.assign(is_within_noise=False), pd.DataFrame()):
        assert "final rate, +0.8 pts" in parts_returns.shop_figure(EN, steps, other)


def test_no_change_is_neither_good_nor_bad() -> None:
    """A share that stays 0 has no arrow down in red."""
    same = queries.Change(0.0, 0.0, 0.0, 0.0, 0.0, None, "share")
    assert findings.change(EN, same, "up", 400)[1:] == ("gray", "off")
    assert findings.change(EN, replace(same, difference=-0.01, is_within_noise=False), "up", 400)[1:] == ("red", "down")


def test_a_rate_is_said_with_its_interval() -> None:
    final = queries.Number(0.283, 0.27, 0.3, 900, "share", "ok", "")
    assert findings.rate(EN, final, ("rate_so_far", final)) == "28.3% (27.0%–30.0%) of units sold will be returned"


def test_an_inspection_names_what_was_found_most() -> None:
    outcomes = pd.DataFrame({"label": ["match", "worn", "empty"], "value": [90.0, 7.0, 3.0]})
    outcomes = outcomes.assign(caution="", reason="")
    said = "10 of 100 inspected units did not match the return request, mostly worn"
    assert parts_returns.inspected(EN, outcomes) == said
    assert parts_returns.inspected(EN, outcomes.iloc[:1]) == EN("returns.inspection")


def test_a_back_test_by_category_says_how_many_cells() -> None:
    said = pd.DataFrame({"error": [0.01, -0.02, None], "is_covered": pd.array([True, False, None], dtype="boolean")})
    said = said.assign(caution="", reason="")
    assert "differed from actual by 1.5 pts on average over 2 months; 1 of 2" in parts_returns.backtested(EN, said, 60)
    by_category = parts_returns.backtested(EN, said.assign(category=["a", "b", "c"]), 60)
    assert "2 months and categories" in by_category


def test_the_hover_of_a_comparison_says_what_is_compared() -> None:
    rates = pd.DataFrame({"label": ["a"], "value": [0.3], "low": [0.2], "high": [0.4], "usual": [0.25], "n": [10]})
    drawn = charts.against(rates, EN, "", EN("backtest.now"))
    assert "Actual: 25.0%" in drawn.data[0].hovertext[0]


def test_the_server_listens_on_the_loopback_address_only(tmp_path: Path) -> None:
    assert "--server.address=127.0.0.1" in command(8501)
    assert "--server.port=8501" in command(8501)
    assert environment(tmp_path)["BACKHAUL_WAREHOUSE"] == str(tmp_path)


@pytest.mark.parametrize("language", LANGUAGES)
def test_without_a_warehouse_the_page_says_what_to_run(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, language: str
) -> None:
    opened = app(settings.warehouse, monkeypatch, lang=language).run()
    assert not opened.exception
    assert opened.code[0].value == Words(language)("upload.command").strip()
    assert opened.button(key="load_demo").label == Words(language)("empty.button")


def test_nothing_under_the_filters_says_which_one_to_relax(
    tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = {"category": "footwear", "period": "30d"}
    opened = app(tiny_settings.warehouse, monkeypatch, **link).run()
    assert not opened.exception
    assert EN("empty.rows") in said(opened)
    opened.button(key="relax_category").click().run()
    assert not opened.exception
    assert EN("empty.rows") not in said(opened)


LINKED = (
    "lang",
    "period",
    "against",
    "days",
    "category",
    "country",
    "part",
    "places_by",
    "return_reason",
    "style_id",
    "try_no_box",
    "own",
    "no such thing",
)
WORDS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [
            "fr",
            "30d",
            "custom",
            "2025-12-01",
            "2025-13-45",
            "2025-12-01..2026-01-15",
            "2025-12-01..2024-01-01",
            "Dress",
            "DRESS",
            "true",
            "-1",
            "NaN",
            "1e400",
            "[]",
            "%00",
            "<script>",
            "../../etc/passwd",
            "' OR 1=1 --",
        ]
    ),
)


@hypothesis.settings(max_examples=3 * FUZZ, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@hypothesis.given(
    page=st.sampled_from(ADDRESSES), link=st.dictionaries(st.sampled_from(LINKED), WORDS, min_size=2, max_size=5)
)
def test_any_link_opens(
    tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch, page: str, link: dict[str, str]
) -> None:
    """A link that somebody cut, edited or made up restores what can be and leaves the rest as it is."""
    opened = app(tiny_settings.warehouse, monkeypatch, **link).run()
    assert not opened.exception
    turn(opened, page).run()
    assert not opened.exception
    assert opened.title[0].value


def test_a_page_shows_the_numbers_of_the_tiny_shop(tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = app(tiny_settings.warehouse, monkeypatch)
    turn(opened, "returns").run()
    shown = {metric.label: metric.value for metric in opened.metric}
    assert shown["Returned so far"] == "44.4%"  # 4 of 9 units


def test_the_rows_behind_a_chart_open_and_add_up(tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = app(tiny_settings.warehouse, monkeypatch)
    turn(opened, "carbon").run()
    before = len(opened.dataframe)
    opened.button(key="emissions_parts_rows").click().run()
    assert not opened.exception
    of = next(box for box in opened.selectbox if box.label == EN("rows.of"))
    assert of.options[0] == EN("filter.every")
    shown = opened.dataframe[before].value
    assert len(shown) == 4  # legs E1 to E4
    assert EN("rows.total", n="4", total=EN.number(shown["counted"].sum(), 2)) in said(opened)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_numbers_of_a_page_lead_to_their_rows(
    tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch, language: str
) -> None:
    words = Words(language)
    opened = app(tiny_settings.warehouse, monkeypatch, lang=language)
    turn(opened, "returns").run()
    before = len(opened.dataframe)
    opened.button(key="tiles_observed_return_rate_rows").click().run()
    assert opened.dataframe[before].value["counted"].sum() == 4  # 4 of 9 units
    parts = next(control for control in opened.get("button_group") if control.label == words("rows.part"))
    assert list(parts.options) == [words("rows.numerator"), words("rows.denominator")]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_column_of_the_rows_behind_has_a_name(tiny_build: Build, language: str) -> None:
    for metric in metrics.catalogue():
        for part in rows_behind.parts(metric.key):
            for column in metrics.rows(tiny_build, metric.key, part=part):
                assert f"value.column.{column}" in catalogue(language), (metric.key, column)


@pytest.fixture
def asked(tiny_settings: Settings) -> queries.PageQuestion:
    source = queries.source(tiny_settings.warehouse)
    return queries.PageQuestion(source, dt.date(2025, 12, 1), dt.date(2026, 1, 31))


def test_a_step_of_the_margin_has_the_rows_that_make_it(asked: queries.PageQuestion) -> None:
    steps = data.waterfall(asked)
    assert len(steps) > 4
    left = steps["step"] == "left"
    for step, amount in steps.loc[~left, ["step", "amount"]].itertuples(index=False):
        _, total = rows_behind.rows_total(asked, "margin_erosion", "numerator", (("step", step),), True)
        assert (total if step == "booked" else -total) == pytest.approx(amount, abs=0.01), step


@pytest.mark.parametrize("cut", ["promise_id", "lane", "carrier", "place_id", "return_channel"])
def test_a_bar_of_a_promise_has_as_many_rows_as_it_says(asked: queries.PageQuestion, cut: str) -> None:
    for row in data_promises.promise_states(asked, cut).itertuples():
        at = ((cut, str(row.label)), ("state", str(row.state)))
        assert rows_behind.rows_total(asked, "promise_kept", "numerator", at, True)[0] == row.n, at


def test_a_share_of_the_whole_is_out_of_all_of_it(asked: queries.PageQuestion) -> None:
    at = (("return_reason", "size_small"), ("category", "dresses"))
    of = {
        part: rows_behind.rows_total(asked, "reason_share", part, at, True)[1] for part in ("numerator", "denominator")
    }
    shares = queries.crossed(asked, "reason_share", "return_reason", "category").set_index(
        ["return_reason", "category"]
    )
    assert of["numerator"] / of["denominator"] == pytest.approx(shares.loc[("size_small", "dresses"), "value"])


@pytest.mark.parametrize("form", rows_behind.FILES)
def test_files_of_what_is_seen_and_of_the_rows_verify(asked: queries.PageQuestion, tmp_path: Path, form: str) -> None:
    seen = queries.by(asked, "kg_co2e", "role")
    behind = queries.DrillDown("kg_co2e", ("role",), seen)
    made = {
        "seen": rows_behind.file_of_seen(asked, "Émissions", behind, seen, form, "fr"),
        "rows": rows_behind.file_of_rows(
            asked, "Émissions", "kg_co2e", "numerator", (("role", "trunk"),), True, form, "fr"
        ),
    }
    for name, content in made.items():
        path = tmp_path / f"{name}.{form}"
        path.write_bytes(content)
        assert export.verify(path).holds
        context = export.read_about(path)
        assert (context["contenu"], context["période"]) == ("Émissions", "du 2025-12-01 au 2026-01-31 inclus")
    assert export.verify(tmp_path / f"rows.{form}").rows == 2  # E2 and E3
    assert export.read_about(tmp_path / f"rows.{form}")["filtres"] == "role = trunk"


def test_a_mark_that_was_chosen_stands_out() -> None:
    rates = pd.DataFrame({"label": ["FR", "DE"], "value": [0.3, 0.4], "low": [0.2, 0.3], "high": [0.4, 0.5]})
    figure = charts.ranked(rates, EN, "share", "", "country")
    assert charts.marks(figure) == [["FR"], ["DE"]]
    charts.choose(figure, [])
    assert figure.data[0].selectedpoints is None
    charts.choose(figure, ["DE"])
    assert list(figure.data[0].selectedpoints) == [1]


def test_a_value_axis_says_its_unit() -> None:
    rates = pd.DataFrame(
        {"label": ["FR", "DE"], "value": [0.3, 0.4], "low": [0.2, 0.3], "high": [0.4, 0.5], "n": [10, 10]}
    )
    figure = charts.ranked(rates, EN, "share", EN("chart.share_of_sold"), "country")
    assert figure.layout.xaxis.ticksuffix == "%"
    assert figure.layout.xaxis.title.text == "Share of units sold"
    assert list(figure.data[0].x) == [30.0, 40.0]


def test_a_young_month_is_hatched() -> None:
    days = pd.to_datetime(["2025-11-01", "2025-12-01"])
    months = pd.DataFrame(
        {
            "month": days,
            "observed": [0.3, 0.1],
            "value": [0.3, float("nan")],
            "low": [0.2, float("nan")],
            "high": [0.4, float("nan")],
            "maturity": [1.0, 0.3],
        }
    )
    solid, young, _ = figures.rates_by_cohort(months, EN).data
    assert (list(solid.x), solid.marker.pattern.shape) == ([days[0]], "")
    assert (list(young.x), young.marker.pattern.shape) == ([days[1]], "/")


def test_a_waterfall_step_starts_where_the_one_before_ended() -> None:
    steps = pd.DataFrame(
        {
            "step": ["booked", "handling", "left"],
            "kind": ["total", "step", "total"],
            "amount": [100.0, -30.0, 70.0],
            "measured": [100.0, -10.0, 0.0],
            "imputed": [0.0] * 3,
            "assumed": [0.0, -20.0, 0.0],
        }
    )
    bars = [
        (bar.base[0], bar.x[0], bar.marker.pattern.shape)
        for bar in charts.waterfall(steps, EN, "EUR").data
        if bar.base is not None
    ]
    assert bars == [(0.0, 100.0, ""), (100.0, -10.0, ""), (90.0, -20.0, "."), (0.0, 70.0, "")]


def test_a_flagged_product_is_filled_and_the_legend_says_so() -> None:
    ranked = pd.DataFrame(
        {
            "style_id": ["a", "b", "c"],
            "name": ["A", "B", "C"],
            "rate": [0.5, 0.3, 0.2],
            "low": 0.1,
            "high": 0.6,
            "category_rate": 0.3,
            "is_flagged": [False, True, False],
        }
    )
    marks = {t.name: (list(t.y), t.marker.symbol) for t in figures_products.products(ranked, EN).data}
    assert marks[EN("products.rate_flagged")] == (["B"], "circle")
    assert marks[EN("products.rate")] == (["C", "A"], "circle-open")
    assert list(figures_products.products(ranked, EN).layout.yaxis.categoryarray) == ["C", "B", "A"]  # first on top
    plain = figures_products.products(ranked.assign(is_flagged=False), EN)
    assert EN("products.rate_flagged") not in [t.name for t in plain.data]


def test_products_are_listed_by_money_or_by_relative_rate_and_few_units_stand_last() -> None:
    ranked = pd.DataFrame(
        {
            "style_id": [f"s{i}" for i in range(150)],
            "relative": [1 + i / 100 for i in range(150)],
            "is_small": [False] * 149 + [True],
        }
    )
    assert data_products.first_ranked(ranked, "money")["style_id"].tolist() == [f"s{i}" for i in range(100)]
    assert data_products.first_ranked(ranked, "relative")["style_id"].tolist() == [f"s{i}" for i in range(148, 48, -1)]


def test_every_style_has_its_page(sample_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = analyses.product_ranking
    monkeypatch.setattr(analyses, "product_ranking", lambda build, asked, limit=2: whole(build, asked, limit=limit))
    queries.ranking.cache_clear()
    monkeypatch.setattr(data_products, "SHOWN_STYLES", 2)
    opened = app(sample_settings.warehouse, monkeypatch)
    turn(opened, "product").run()
    assert len(opened.selectbox(key="product").options) > 40
    turn(opened, "products").run()
    table = opened.dataframe[0].value
    assert len(table) == 2
    assert {"is_flagged", "relative", "buyers_rate", "own_part", "maturity", "is_new"} <= set(table)
    opened.segmented_control(key="products_order").set_value("relative").run()
    assert not opened.exception
    assert opened.dataframe[0].value["relative"].is_monotonic_decreasing
    assert opened.dataframe[0].value["relative"].max() >= table["relative"].max()


PARTS = [(sheet.address, part) for sheet in places.SHEETS for part in sheet.parts if len(sheet.parts) > 1]


@pytest.fixture(scope="module")
def walks(sample_settings: Settings) -> dict[str, AppTest]:
    """The app on the sample shop in each language, opened once: each part is turned to in it."""
    with pytest.MonkeyPatch.context() as patched:
        return {language: app(sample_settings.warehouse, patched, lang=language).run() for language in LANGUAGES}


@pytest.mark.parametrize(
    ("page", "part", "language"),
    [
        pytest.param(*of, language, marks=[pytest.mark.whole] * (number // 2 % 2))
        for number, (of, language) in enumerate(zip(PARTS, cycle(LANGUAGES), strict=False))
    ],
)
def test_every_part_of_a_page_has_something_to_show(
    sample_settings: Settings,
    walks: dict[str, AppTest],
    monkeypatch: pytest.MonkeyPatch,
    page: str,
    part: str,
    language: str,
) -> None:
    """In a language by turns: tests/test_places.py walks through all of them in both."""
    monkeypatch.setenv("BACKHAUL_WAREHOUSE", str(sample_settings.warehouse))
    opened = walks[language]
    opened.query_params["part"] = part
    turn(opened, page).run()
    assert not opened.exception
    assert opened.title[0].value
    chosen = next(control for control in opened.segmented_control if control.key == "part")
    assert chosen.value == part
    assert len(opened.get("plotly_chart")) + len(opened.dataframe) + len(opened.header) > 0


def test_a_policy_is_kept_as_a_draft_checked_and_published(
    tmp_path: Path, tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = tmp_path / "warehouse"
    for given in (tiny_settings.warehouse, tiny_settings.raw):
        shutil.copytree(given, tmp_path / given.name)
    shutil.copy(tiny_settings.key_file, tmp_path)
    opened = app(warehouse, monkeypatch)
    turn(opened, "write-policy").run()
    window = next(n for n in opened.number_input if n.label == EN("policies.field_window_days"))
    window.set_value(7)
    next(b for b in opened.button if b.label == EN("policies.keep")).click().run()
    assert EN("policies.kept") in said(opened)
    assert next(iter(data_policies.drafts(queries.source(warehouse)).values())).count("window_days: 7") == 1
    opened.selectbox(key="draft").select("draft 1").run()
    assert "fewer than the 14" in said(opened)
    window = next(n for n in opened.number_input if n.label == EN("policies.field_window_days"))
    window.set_value(60)
    next(b for b in opened.button if b.label == EN("policies.publish")).click().run(timeout=300)
    assert not opened.exception
    assert list(data_policies.policy_versions(queries.source(warehouse))["window_days"]) == [60, 30]
    assert data_policies.drafts(queries.source(warehouse)) == {}


def test_an_action_is_logged_from_the_catalogue_measured_and_withdrawn(
    desk_of_sample: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = desk_of_sample.warehouse
    opened = app(warehouse, monkeypatch)
    turn(opened, "actions").run()
    assert EN("actions.none") in said(opened)
    opened.button(key="suggestion_0").click().run()
    assert not opened.exception
    assert EN("actions.none") not in said(opened)
    listed = actions.actions(Settings(warehouse=warehouse))
    assert [a.kind for a in listed] == ["size_note"]
    assert [m.label for m in opened.metric] == [EN("actions.units"), EN("actions.power")]  # no verdict, so no change
    verdicts = [
        catalogue("en")[f"effect.{v}"].split("{")[0]
        for v in ("fell", "rose", "no_clear_change", "too_early", "no_overlap", "cannot_know")
    ]
    assert any(v in said(opened) for v in verdicts)
    opened.button(key="withdraw").click().run()
    assert EN("actions.none") in said(opened)
    assert actions.actions(Settings(warehouse=warehouse)) == []


def test_an_open_action_is_finished_on_the_page(desk_of_sample: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse = desk_of_sample.warehouse
    settings = Settings(warehouse=warehouse)
    style = next(iter(names.styles(queries.source(warehouse))))
    logged = actions.log_action(settings, "photo", {"style_id": [style]})
    opened = app(warehouse, monkeypatch)
    turn(opened, "actions").run()
    opened.button(key="done").click().run()
    assert opened.error  # it needs a day
    assert actions.find_action(settings, logged.action_id).status == "open"
    day = queries.days(queries.source(warehouse))[1] - dt.timedelta(days=70)
    opened.date_input(key=f"done_on_{logged.action_id}").set_value(day).run()
    opened.button(key="done").click().run()
    assert not opened.exception
    done = actions.find_action(settings, logged.action_id)
    assert (done.status, done.effective_on) == ("done", day)
    assert "done" not in [b.key for b in opened.button]


def test_a_drift_is_said_where_its_intervals_are_shown(
    tmp_path: Path, sample_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = tmp_path / "warehouse"
    shutil.copytree(sample_settings.warehouse, warehouse)
    drifting = pd.DataFrame(
        {
            "category": [None],
            "factor": [1.27],
            "z": [9.0],
            "since_on": [pd.Timestamp("2026-01-01")],
            "is_drifting": [True],
        }
    )
    monkeypatch.setattr(final_rates, "drifts", lambda build: drifting)
    for language in LANGUAGES:
        words = Words(language)
        opened = app(warehouse, monkeypatch, lang=language)
        turn(opened, "returns").run()
        assert not opened.exception
        sentence = words("reason.drift_later", day="2026-01-01", factor=words.number(1.27, 2))
        warned = [str(w.value) for w in opened.warning]
        assert warned[0].startswith(sentence[0].upper() + sentence[1:])  # what the sample loses follows
        assert len(warned) == 2
        marked = [m.label for m in opened.metric if "material/warning" in m.label]
        assert len(marked) == 2  # the final rate and what is still to come
    months = data_returns.cohorts(
        queries.PageQuestion(queries.source(warehouse), *queries.days(queries.source(warehouse)))
    )
    assert (months["caution"] == "delay_drift").any()


def test_tiles_show_their_interval(sample_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = app(sample_settings.warehouse, monkeypatch)
    turn(opened, "returns").run()
    asked_for = [str(c.value) for c in opened.caption if str(c.value).count("%") >= 2 and " – " in str(c.value)]
    rates = ("Returned so far", "Expected final rate", "Returned within 30 days")
    assert set(rates) <= {m.label for m in opened.metric}
    assert len(asked_for) >= len(rates)


def test_an_action_about_nothing_is_refused_with_a_sentence(
    desk_of_sample: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = desk_of_sample.warehouse
    opened = app(warehouse, monkeypatch)
    turn(opened, "actions").run()
    submit = next(b for b in opened.button if b.label == EN("actions.log") and not str(b.key).startswith("suggestion"))
    submit.click().run()
    assert not opened.exception
    assert opened.error
    assert actions.actions(Settings(warehouse=warehouse)) == []
