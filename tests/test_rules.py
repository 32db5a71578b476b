"""What may stand in a title, have a colour or be compared: the helpers, and that the walk finds a fault that is there.

The walk itself, over every page, filter and language, is in `test_places`.
"""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import pytest
from streamlit.proto.Metric_pb2 import Metric

from dashboard.i18n import Words
from dashboard.shared import charts, findings, queries, tokens
from dashboard.shared.queries import Change, Number
from dashboard.shared.take_away import Part
from tests import page_rules

EN, FR = Words("en"), Words("fr")
MOVED = Change(0.30, 0.20, 0.10, 0.05, 0.15, False, "share")
RATE = Number(0.27, 0.25, 0.29, 400, "share", "ok", "")


@pytest.mark.parametrize(
    ("change", "n", "colour"),
    [
        (MOVED, 30, "red"),
        (MOVED, 29, "gray"),  # too few
        (replace(MOVED, is_within_noise=True), 400, "gray"),
        (replace(MOVED, is_within_noise=None), 400, "gray"),  # no interval
        (replace(MOVED, difference=0.0004), 400, "gray"),  # zero as it is written
        (MOVED, float("nan"), "red"),
    ],
)
def test_a_change_is_coloured_beyond_noise_alone(change: Change, n: float, colour: str) -> None:
    assert findings.change(EN, change, "down", n)[1] == colour
    assert findings.change(EN, change, "up", n)[1] == {"red": "green"}.get(colour, colour)


def test_a_zero_has_no_sign() -> None:
    for words in (EN, FR):
        for difference in (0.0004, -0.0004):
            text, _, arrow = findings.change(words, replace(MOVED, difference=difference), "down", 400)
            assert (text[0], arrow) == ("0", "off")


def test_a_change_of_many_times_is_an_amount() -> None:
    many = Change(16_896.9, 100, 16_796.9, 1, 2, False, "EUR")
    assert findings.difference(EN, many) == "+€16,797"
    assert findings.difference(EN, replace(many, previous=10_000.0)) == "+168.0%"


def test_a_title_says_no_change_without_an_interval() -> None:
    assert findings.with_change(EN, "A", replace(MOVED, is_within_noise=None)) == "A"
    assert findings.with_change(EN, "A", MOVED) == "A, 10.0 pts more than before"
    assert findings.with_change(EN, "A", replace(MOVED, difference=0.0004)) == "A, no significant change"
    assert findings.weight(replace(MOVED, is_within_noise=None)) == 0.0
    assert findings.weight(MOVED) == pytest.approx(2.0)


def test_a_title_of_few_cases_says_so() -> None:
    few = replace(RATE, n=29.0)
    assert "27" in findings.kept(EN, RATE)
    for words, said in ((EN, "Too few cases for a finding: 29, where 30 are needed"), (FR, "Trop peu de cas")):
        for sentence in (findings.kept(words, few), findings.rate(words, few), findings.carbon(words, few)):
            assert sentence.startswith(said)
    whole = replace(RATE, n=float("nan"), low=float("nan"))  # the sum of all that happened
    assert findings.enough(whole)
    assert not findings.enough(replace(RATE, low=float("nan")))


def test_a_group_of_few_cases_wins_no_headline() -> None:
    rates = pd.DataFrame(
        {"label": ["FR", "DE", "AT"], "value": [0.2, 0.3, 1.0], "low": [0.1, 0.2, 0.2], "n": [90, 40, 3]}
    )
    rates = rates.assign(caution="", reason="")
    said = findings.top(EN, "finding.top_market", rates, "country", "country", rate=EN.percent)
    assert "Germany" in said
    assert findings.top(EN, "finding.top_market", rates.assign(n=3), "country", "country", rate=EN.percent) == ""
    ranking = pd.DataFrame({"is_flagged": [True, True, False], "sold": [3, 300, 300]})
    assert findings.standing_out(ranking).index.tolist() == [1]


def test_a_step_of_a_waterfall_is_not_judged() -> None:
    steps = pd.DataFrame(
        {"step": ["before", "mix", "after"], "kind": ["total", "step", "total"], "amount": [0.3, 0.1, 0.4]}
    )
    colours = [trace.marker.color for trace in charts.waterfall(steps, EN, "share").data]
    assert colours == [tokens.MAIN, tokens.QUIET, tokens.MAIN]


# --- the walk finds what is there ---


def app(monkeypatch: pytest.MonkeyPatch, **shown: Any) -> Any:
    """Give a page as the walk reads it, with one tile on the return rate."""
    tile = {"label": findings.name(EN, "promise_kept"), "delta": shown.pop("delta", ""), "color": shown.pop("color", 0)}
    metric = SimpleNamespace(label=tile["label"], delta=tile["delta"], proto=SimpleNamespace(color=tile["color"]))
    monkeypatch.setattr(queries, "number", lambda asked, key: shown.get("number", RATE))
    monkeypatch.setattr(queries, "change", lambda asked, key: shown.get("change", MOVED))
    titles = [SimpleNamespace(value=text) for text in shown.get("titles", ())]
    html = [SimpleNamespace(proto=SimpleNamespace(body=text)) for text in shown.get("html", ())]
    state = {"view": SimpleNamespace(words=EN, asked=None), "page_said": SimpleNamespace(parts=shown.get("parts", {}))}
    found = {"html": html, "download_button": [], "plotly_chart": []}
    listed = {"metric": [metric], "title": titles, "header": [], "dataframe": shown.get("tables", []), "button": []}
    return SimpleNamespace(**listed, session_state=state, get=found.get)


GREEN = Metric.MetricColor.GREEN


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        ({"color": GREEN, "delta": "+1 pt"}, ""),
        ({"color": GREEN, "delta": "+1 pt", "number": replace(RATE, n=9)}, "is coloured: +1 pt"),
        ({"color": GREEN, "delta": "+1 pt", "change": replace(MOVED, is_within_noise=None)}, "is coloured: +1 pt"),
        ({"color": GREEN, "delta": "+0.0 pts"}, "is coloured at zero"),
        ({"delta": "+0.0 pts"}, "a zero with a sign"),
        ({"delta": "+16,796.9%"}, "+16,796.9%"),
        ({"delta": "+96.9%"}, ""),
        ({"html": ['<span style="color:#1C6B42">+0.0%</span>']}, "zero is coloured"),
    ],
)
def test_the_walk_finds_a_colour_or_comparison_that_is_wrong(
    shown: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = app(monkeypatch, **shown)
    found = [*page_rules.of_colours(page), *page_rules.of_comparisons(page)]
    assert any(said in one for one in found) if said else found == []


def test_the_walk_finds_a_title_of_few_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    few = replace(RATE, n=9.0)
    with page_rules.recorded() as rests:
        wrong = findings.told(EN, "finding.kept", few, rate="27%")
        compared = findings.told(
            EN, "finding.and_change", replace(MOVED, is_within_noise=None), sentence=wrong, change="x"
        )
        right = findings.told(EN, "finding.kept", RATE, rate="28%")
    page = app(monkeypatch, titles=[wrong, compared, right])
    found = page_rules.of_titles(page, rests)
    assert [one.split(" in ")[0] for one in found] == [
        "too few cases",
        "change without an interval",
        "too few cases",
    ]


def test_the_walk_finds_an_association_that_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    for title, colour, wrong in (("Repeat purchase rate", tokens.QUIET, 0), ("55% ordered again", tokens.GOOD, 2)):
        figure = go.Figure().add_bar(x=[1], marker_color=colour)
        page = app(monkeypatch, parts={"repeat": Part(title, "", figure)})
        assert len(page_rules.of_associations(page)) == wrong


def test_the_walk_finds_a_table_that_is_not_pinned_or_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = '{"b": {"pinned": true}}'
    table = SimpleNamespace(proto=SimpleNamespace(column_order=["a", "b"], columns=columns, editing_mode=0))
    page = app(monkeypatch, tables=[table], parts={"t": Part("", "", pd.DataFrame({"a": [1]}))})
    assert page_rules.of_tables(page) == [
        "a is not pinned",
        *(f"1 charts and tables, 0 as {form}" for form in ("csv", "xlsx", "parquet")),
        "numbers without a way to their rows",
        "1 charts, tables and groups of numbers, 0 files",
    ]
