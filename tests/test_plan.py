"""Targets, notes on days, saved views, the link to share: what is kept, how numbers are judged, what pages show."""

import json
import re
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from sqlalchemy import insert, update
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

import dashboard
from dashboard.i18n import Words
from dashboard.shared import access, plan, queries, take_away, timeline, views
from models import periods
from pipelines import metrics, targets
from pipelines.access import Reader
from pipelines.cli import app as verbs
from pipelines.errors import BackhaulError, PlanError, UnknownDimension, UnknownMetric, UnknownValue
from pipelines.load import load
from pipelines.metrics import Question
from pipelines.outputs.copies import backup
from pipelines.people import actions, annotations, forget, saved_views
from pipelines.people.annotations import Annotation
from pipelines.settings import Settings
from pipelines.targets import Target
from pipelines.warehouse import state, state_tables
from pipelines.warehouse.build import current_build, current_id
from pipelines.warehouse.engine import Build
from pipelines.warehouse.scope import Scope
from tests import any_shop
from tests.conftest import fresh
from tests.pages import lines, turn

HOME = Path(dashboard.__file__).parent
RATE = "ultimate_return_rate"
NEW_YEAR = date(2026, 1, 1)


@pytest.fixture
def own(desk_of_tiny: Settings) -> Settings:
    """The tiny shop's warehouse, to write to."""
    return desk_of_tiny


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory, sample_settings: Settings) -> Settings:
    """A copy of the sample shop's warehouse, with targets and notes."""
    folder = tmp_path_factory.mktemp("plan")
    shutil.copytree(sample_settings.warehouse, folder / "warehouse", dirs_exist_ok=True)
    settings = fresh(folder)
    with current_build(settings.warehouse) as build:
        until = plan_end(build)
        for value, since in ((0.5, date(2000, 1, 1)), (0.01, until.replace(day=1))):
            targets.set_target(settings, build, Target(RATE, value, since))
        targets.set_target(settings, build, Target("promise_kept", 0.99, date(2000, 1, 1)))
        annotations.annotate(settings, build, Annotation(until, "promotion", "Sale [all](http://x.example) $a$"))
        only = {"category": ("dresses",)}
        annotations.annotate(settings, build, Annotation(until, "product", "New sizing", only))
    return settings


def plan_end(build: Build) -> date:
    return date.fromisoformat(build.info["observed_until"][:10])


def opened(settings: Settings, monkeypatch: pytest.MonkeyPatch, address: str = "", **codes: str) -> AppTest:
    """Open a page of the app with codes in its address."""
    monkeypatch.setenv("BACKHAUL_WAREHOUSE", str(settings.warehouse))
    app = AppTest.from_file(str(HOME / "app.py"), default_timeout=600)
    for name, code in codes.items():
        app.query_params[name] = code
    (turn(app, address) if address else app).run()
    assert not app.exception
    return app


def texts(app: AppTest) -> str:
    return "\n".join(
        str(one.value) for kind in ("caption", "markdown", "warning", "error") for one in getattr(app, kind)
    )


# Periods that are compared


def test_the_same_weeks_have_the_same_weekdays_and_lie_a_year_back() -> None:
    for first, last in ((date(2026, 1, 5), date(2026, 1, 11)), (date(2024, 2, 29), date(2024, 12, 31))):
        since, until = periods.same_weeks(first, last)
        assert (first - since).days == (last - until).days == 364
        assert (since.weekday(), until.weekday()) == (first.weekday(), last.weekday())
    since, until = periods.same_weeks(date(2024, 2, 1), date(2026, 1, 31))  # two years: two years back
    assert (until - since, date(2026, 1, 31) - until) == (date(2026, 1, 31) - date(2024, 2, 1), 2 * 52 * periods.WEEK)


def test_the_page_and_the_command_line_compare_with_the_same_days(
    sample: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(sample, monkeypatch, period="30d", against="year")
    view = app.session_state["view"]
    since, until = view.since, view.until
    asked = ["metric", "promise_kept", "--from", str(since), "--to", str(until), "--format", "json"]
    told = CliRunner(env={"BACKHAUL_WAREHOUSE": str(sample.warehouse)})
    (row,) = json.loads(told.invoke(verbs, [*asked, "--against", "year"]).stdout)
    assert (row["compared_from"], row["compared_to"]) == tuple(day.isoformat() for day in view.against)
    assert row["compared_from"] == (since - 364 * periods.DAY).isoformat()
    app = opened(sample, monkeypatch, period="30d", against="to_date")
    view = app.session_state["view"]
    assert view.since == until.replace(month=1, day=1)
    assert app.query_params["period"] in ("ytd", ["ytd"])  # the year to date is compared over the year
    (row,) = json.loads(told.invoke(verbs, [*asked[:2], "--against", "to-date", "--format", "json"]).stdout)
    assert (row["compared_from"], row["compared_to"]) == tuple(day.isoformat() for day in view.against)
    next(r for r in app.radio if r.key == "period").set_value("90d").run()  # another period: no year to date
    assert "against" not in app.query_params
    assert app.session_state["view"].against == periods.before(app.session_state["view"].since, until)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--against", "before"], "with --from and --to"),
        (["--against", "to-date", "--from", "2025-06-01"], "leave --from out"),
        (["--against", "year", "--from", "2025-01-01", "--by", "month"], "not cut by month"),
        (["--against", "year", "--from", "2025-01-01", "--as-of", "2025-06-01"], "no --as-of"),
    ],
)
def test_a_comparison_that_means_nothing_is_refused(own: Settings, options: list[str], said: str) -> None:
    done = CliRunner().invoke(verbs, ["metric", RATE, *options, "--warehouse", str(own.warehouse)])
    assert done.exit_code == 2
    assert said in " ".join(re.sub(r"[│╭╮╰╯─]", " ", done.output).split())


# Targets


@pytest.mark.parametrize(
    ("metric", "where", "until", "error", "said"),
    [
        ("nonsense", {}, None, UnknownMetric, "no metric"),
        ("kg_co2e", {}, None, PlanError, "is a sum"),
        ("reason_share", {}, None, PlanError, "no better or worse"),
        ("observed_return_rate", {}, None, PlanError, "still grows"),
        (RATE, {"nonsense": ("a",)}, None, UnknownDimension, "nonsense"),
        (RATE, {"country": ("Atlantis",)}, None, UnknownValue, "Atlantis"),
        (RATE, {"month": ("2026-01-01",)}, None, UnknownDimension, "first and last day"),
        (RATE, {}, date(2025, 1, 1), PlanError, "on or after the day it begins"),
    ],
)
def test_a_target_that_judges_nothing_is_refused(
    own: Settings, tiny_build: Build, metric: str, where: dict[str, Any], until: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        targets.set_target(own, tiny_build, Target(metric, 0.2, NEW_YEAR, until, where))
    assert targets.targets(own) == []


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("4%", "share", 0.04),
        ("4 %", "share", 0.04),
        ("0.04", "share", 0.04),
        ("5 days", "days", 5),
        ("5", "days", 5),
        ("2.5 EUR", "EUR per unit", 2.5),
        ("3 kg CO2e", "kg CO2e per 100 units", 3),
    ],
)
def test_a_value_is_read_in_its_unit(text: str, unit: str, value: float) -> None:
    assert targets.read_value(text, unit) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "unit", "said"),
    [
        ("4%", "days", "is in days, not in %"),
        ("5 days", "share", "is in %, not in days"),
        ("90", "share", "more than all of it"),
        ("nan", "share", "no number"),
        ("", "days", "no number"),
    ],
)
def test_a_value_of_another_unit_is_refused_in_both_languages(text: str, unit: str, said: str) -> None:
    with pytest.raises(PlanError, match=said) as refused:
        targets.read_value(text, unit)
    assert Words("fr").translated(str(refused.value)) != str(refused.value)


def test_a_version_takes_over_on_its_day_and_history_keeps_its_own(own: Settings, tiny_build: Build) -> None:
    first = targets.set_target(own, tiny_build, Target(RATE, 0.3, date(2025, 1, 1)))
    second = targets.set_target(own, tiny_build, Target(RATE, 0.25, date(2025, 12, 1), date(2026, 1, 31)))
    assert targets.set_target(own, tiny_build, Target(RATE, 0.3, date(2025, 1, 1))) == first  # safe to say twice
    known = targets.targets(own)
    assert [(one.value, one.until) for one in targets.versions(known, RATE, ())] == [
        (0.3, date(2025, 11, 30)),
        (0.25, date(2026, 1, 31)),
    ]
    held = [targets.standing(known, RATE, (), on) for on in (date(2024, 12, 31), date(2025, 11, 30), date(2026, 2, 1))]
    assert [one and one.value for one in held] == [None, 0.3, None]
    assert targets.whole_of(known, RATE, (), date(2025, 11, 1), date(2025, 12, 31)) is None  # it changes within
    corrected = targets.set_target(own, tiny_build, Target(RATE, 0.2, date(2025, 12, 1)))
    assert second.target_id not in {one.target_id for one in targets.targets(own)}
    assert {second.target_id, corrected.target_id} <= {t.target_id for t in targets.targets(own, with_withdrawn=True)}
    targets.withdraw_target(own, corrected.target_id)
    with pytest.raises(PlanError, match="no target"):
        targets.withdraw_target(own, corrected.target_id)


def test_a_target_is_of_its_cell_alone(own: Settings, tiny_build: Build) -> None:
    targets.set_target(own, tiny_build, Target(RATE, 0.3, NEW_YEAR))
    france = Target(RATE, 0.2, NEW_YEAR, where={"market": ("FR",)})
    targets.set_target(own, tiny_build, france)
    known = targets.targets(own)
    cells = {"FR": targets.cell_of({"country": ["FR"]}), "more": targets.cell_of({"country": ["FR"], "brand": ["x"]})}
    assert getattr(targets.standing(known, RATE, cells["FR"], NEW_YEAR), "value", None) == 0.2
    assert targets.standing(known, RATE, cells["more"], NEW_YEAR) is None
    assert getattr(targets.wider(known, RATE, cells["more"], NEW_YEAR), "value", None) == 0.2  # the nearest
    assert targets.cell_of({}, Scope.of(markets=["FR"])) == cells["FR"]


@pytest.mark.parametrize(
    ("row", "is_beyond", "is_young", "expected"),
    [
        ({"value": 0.3, "target": 0.2, "n": 500, "status": "ok"}, True, False, "missed"),
        ({"value": 0.1, "target": 0.2, "n": 500, "status": "ok"}, True, False, "met"),
        ({"value": 0.1, "target": 0.2, "n": 500, "status": "ok"}, True, True, "so_far"),
        ({"value": 0.3, "target": 0.2, "n": 500, "status": "ok"}, True, True, "missed"),
        ({"value": 0.3, "target": 0.2, "n": 500, "status": "ok"}, False, False, "noise"),
        ({"value": 0.3, "target": 0.2, "n": targets.FEWEST - 1, "status": "ok"}, True, False, "few"),
        ({"value": 0.3, "target": 0.2, "n": 500, "status": "greyed"}, True, False, "unknown"),
    ],
)
def test_a_verdict_wants_cases_and_an_interval(
    row: dict[str, Any], is_beyond: bool, is_young: bool, expected: str
) -> None:
    bounds = {"low": row["value"] - 0.01, "high": row["value"] + 0.01}
    assert targets.verdict(row | bounds, "down", is_beyond=is_beyond, is_young=is_young) == expected
    if expected == "missed":
        unknown = row | {"low": np.nan, "high": np.nan}
        assert targets.verdict(unknown, "down", is_beyond=is_beyond, is_young=is_young) == "no_interval"
        assert targets.verdict(row | bounds, "up", is_beyond=is_beyond) == "met"


def test_numbers_are_judged_by_the_interval_a_comparison_rests_on(sample: Settings) -> None:
    with current_build(sample.warehouse) as build:
        until = plan_end(build)
        question = Question(since=periods.months_before(until + periods.DAY, 12), until=until)
        row = metrics.answer(build, RATE, question).iloc[0]
        wide = metrics.comparable(build, RATE, question).iloc[0]
        assert wide["high"] - wide["low"] > row["high"] - row["low"]
        known = [Target(RATE, float(wide["high"]) - 1e-4, date(2000, 1, 1))]
        found = targets.judged(build, RATE, known, question).iloc[0]
        assert (found["verdict"], found["target"], found["judged_since"]) == ("noise", known[0].value, None)
        known = [Target(RATE, float(wide["high"]) + 0.05, date(2000, 1, 1))]
        assert targets.judged(build, RATE, known, question).iloc[0]["verdict"] == "met"
        later = until.replace(day=1)
        known.append(Target(RATE, 0.01, later))
        found = targets.judged(build, RATE, known, question).iloc[0]  # judged by the days since it took over
        of_later = metrics.comparable(build, RATE, question.but(since=later)).iloc[0]
        assert (found["judged_since"], found["value"], found["n"]) == (later, of_later["value"], of_later["n"])
        months = targets.judged(build, RATE, known, question, by=("month",)).set_index("month")
        assert months["target"].tolist() == [known[0].value] * 11 + [0.01]
        known[1] = replace(known[1], since=later + 5 * periods.DAY)
        months = targets.judged(build, RATE, known, question, by=("month",)).set_index("month")
        assert np.isnan(months["target"].iloc[-1])  # it changed within
        assert months["verdict"].iloc[-1] == ""


def test_the_verbs_of_targets(own: Settings, tmp_path: Path) -> None:
    def say(*words: str) -> Any:
        return CliRunner(env={"BACKHAUL_WAREHOUSE": str(own.warehouse)}).invoke(verbs, list(words))

    assert say("target", "set", RATE, "25%", "--from", "2026-01-01", "--market", "FR").exit_code == 0
    refused = say("target", "set", RATE, "9 days", "--from", "2026-01-01")
    assert (refused.exit_code, type(refused.exception)) == (1, PlanError) or "not in days" in refused.output
    file = tmp_path / "targets.csv"
    file.write_text("metric,value,from,where\npromise_kept,90%,2026-01-01,country=FR\npromise_kept,80,2026-01-01,\n")
    assert say("target", "import", str(file)).exit_code != 0
    assert [one.metric for one in targets.targets(own)] == [RATE]  # all of a file or none
    file.write_text("metric,value,from,where\npromise_kept,90%,2026-01-01,country=FR\npromise_kept,80%,2026-01-01,\n")
    assert say("target", "import", str(file)).exit_code == 0
    listed = json.loads(say("target", "list", "--format", "json").stdout)
    assert [(row["metric"], row["value"], row["of"]) for row in listed] == [
        ("promise_kept", 0.9, "country=FR"),
        ("promise_kept", 0.8, "whole shop"),
        (RATE, 0.25, "country=FR"),
    ]
    (row,) = json.loads(say("metric", "promise_kept", "--against", "target", "--format", "json").stdout)
    assert (row["target"], row["verdict"], row["status"]) == (0.8, "unknown", "greyed")
    assert say("target", "withdraw", str(listed[0]["target_id"])).exit_code == 0
    assert len(json.loads(say("target", "list", "--format", "json").stdout)) == 2
    assert len(json.loads(say("target", "list", "--withdrawn", "--format", "json").stdout)) == 3


# Notes on days


def test_a_note_is_kept_once_and_shown_where_filters_overlap_it(own: Settings, tiny_build: Build) -> None:
    wanted = Annotation(NEW_YEAR, "product", "  New   sizing ", {"category": ("dresses",)})
    kept = annotations.annotate(own, tiny_build, wanted)
    assert annotations.annotate(own, tiny_build, wanted) == kept
    (one,) = annotations.written(own)
    assert (one.text, dict(one.where)) == ("New sizing", {"category": ("dresses",)})
    assert annotations.overlapping([one], {}) == [one]
    assert annotations.overlapping([one], {"category": ["dresses", "x"], "country": ["FR"]}) == [one]
    assert annotations.overlapping([one], {"category": ["x"]}) == []
    assert annotations.overlapping([one], {"style_id": ["a"]}, {"category": ("x",)}) == []
    of_product = replace(one, where={"style_id": ("a",)})
    assert annotations.overlapping([of_product], {}) == []
    assert annotations.overlapping([of_product], {"style_id": ["a"]}) == [of_product]
    annotations.withdraw_annotation(own, one.annotation_id)
    assert annotations.written(own) == []
    assert [n.is_withdrawn for n in annotations.written(own, with_withdrawn=True)] == [True]
    with pytest.raises(PlanError, match="no note"):
        annotations.withdraw_annotation(own, one.annotation_id)


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        (Annotation(NEW_YEAR, "product", " "), PlanError),
        (Annotation(NEW_YEAR, "product", "x" * 201), PlanError),
        (Annotation(NEW_YEAR, "nonsense", "x"), PlanError),
        (Annotation(NEW_YEAR, "product", "x", {"nonsense": ("a",)}), UnknownDimension),
        (Annotation(NEW_YEAR, "product", "x", {"category": ("nonsense",)}), UnknownValue),
    ],
)
def test_a_note_that_says_nothing_is_refused(
    own: Settings, tiny_build: Build, wanted: Annotation, error: type[BackhaulError]
) -> None:
    with pytest.raises(error):
        annotations.annotate(own, tiny_build, wanted)
    assert annotations.written(own) == []


def test_the_warehouse_knows_notes_by_itself(own: Settings, sample_build: Build) -> None:
    actions.log_action(own, "carrier_call", {}, effective_on=date(2026, 1, 5), note="asked")
    actions.log_action(own, "carrier_call", {}, note="not done yet")
    at = pd.Timestamp("2026-02-01").to_pydatetime()
    closing = {"number": 1, "closed_at": at, "factor_set": "desnz-2024"}
    rows = [{**closing, "month": "2025-11"}, {**closing, "month": "2025-12", "factor_set": "desnz-2025"}]
    state_file = state.State(own.warehouse)
    with state_file.transaction() as connection:
        connection.execute(insert(state_tables.closed_month), rows)
        connection.execute(update(state_tables.load).values(status="withdrawn", finished_at=at))
    state_file.close()
    found = annotations.known_by_state(own)
    assert [(one.code, one.begins_on) for one in found] == [
        ("action", date(2026, 1, 5)),
        ("factors", date(2026, 2, 1)),
        ("load_withdrawn", date(2026, 2, 1)),
    ]
    for one in found + annotations.known_by_build(sample_build):
        english, french = (timeline.sentence(Words(language), one) for language in ("en", "fr"))
        assert english
        assert french != english
        assert "{" not in annotations.sentence(one)
    codes = {one.code for one in annotations.known_by_build(sample_build)}
    assert "policy" in codes
    policies = [one for one in annotations.known_by_build(sample_build) if one.code == "policy"]
    assert len({one.begins_on for one in policies}) == len(policies)  # one note a day


def test_a_reader_within_a_scope_sees_what_is_wholly_of_it(sample: Settings) -> None:
    with current_build(sample.warehouse) as build:
        targets.set_target(sample, build, Target("request_rate", 0.3, date(2000, 1, 1), where={"country": ("FR",)}))
        annotations.annotate(sample, build, Annotation(NEW_YEAR, "other", "Of France", {"country": ("FR",)}))
        annotations.annotate(sample, build, Annotation(NEW_YEAR, "other", "Of Germany", {"country": ("DE",)}))
    whole = queries.Source(sample.warehouse, str(current_id(sample.warehouse)))
    of_france = replace(whole, scope=Scope.of(markets=["FR"]))
    assert [one.metric for one in plan.set_targets(of_france)] == ["request_rate"]
    assert {one.metric for one in plan.set_targets(whole)} >= {RATE, "request_rate"}
    asked = queries.PageQuestion(of_france, date(2025, 1, 1), date(2026, 1, 31))
    assert {one.text for one in plan.notes(asked) if not one.is_automatic} == {"Of France"}
    held = plan.judged(asked, "request_rate")  # the reader's whole shop is the market
    assert held is not None
    assert held.target.value == 0.3
    assert plan.judged(replace(asked, source=whole), "request_rate") is None


# Saved views


def test_saved_views_are_each_readers_own(own: Settings) -> None:
    for reader in ("", "anna@example.org"):
        saved_views.save(own, reader, " Late in  France ", "late", {"country": ["FR"]})
    saved_views.save(own, "", "Late in France", "late", {"country": ["DE"]})  # the name is that view from now on
    (mine,) = saved_views.saved(own, "")
    (hers,) = saved_views.saved(own, "anna@example.org")
    assert (mine.name, mine.codes, hers.codes) == ("Late in France", {"country": ["DE"]}, {"country": ["FR"]})
    saved_views.save(own, "", "Other", "today", {})
    with pytest.raises(PlanError, match="of this name"):
        saved_views.rename(own, "", mine.view_id, "Other")
    with pytest.raises(PlanError, match="is gone"):
        saved_views.withdraw(own, "", hers.view_id)
    with pytest.raises(PlanError, match="needs a name"):
        saved_views.save(own, "", " ", "today", {})
    saved_views.rename(own, "", mine.view_id, "Germany")
    assert [one.name for one in saved_views.saved(own, "")] == ["Germany", "Other"]
    saved_views.withdraw(own, "", mine.view_id)
    assert [one.name for one in saved_views.saved(own, "")] == ["Other"]


def test_copies_hold_what_was_planned_and_who_is_forgotten_is_not_in_it(copy_of_tiny: Settings, tmp_path: Path) -> None:
    settings, person = copy_of_tiny, "anne@example.org"
    with current_build(settings.warehouse) as build:
        annotations.annotate(settings, build, Annotation(NEW_YEAR, "other", f"Call of {person}"))
        targets.set_target(settings, build, Target(RATE, 0.3, NEW_YEAR, note=f"agreed with {person}"))
    saved_views.save(settings, "", f"About {person}", "late", {"country": ["FR"]})
    backup(settings, tmp_path / "copy")
    (copy,) = (tmp_path / "copy").rglob("state.sqlite")
    copied = Settings(warehouse=copy.parent)
    assert len(targets.targets(copied)) == len(annotations.written(copied)) == len(saved_views.saved(copied, "")) == 1
    forget.forget(settings, person)
    said = f"{annotations.written(settings)} {targets.targets(settings)} {saved_views.saved(settings, '')}"
    assert "Call of" in said
    assert person not in said


# The pages


def test_a_tile_says_its_target_and_a_line_too(sample: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(sample, monkeypatch, "returns")
    assert "target 1.0% since" in texts(app)
    assert "missed by" in texts(app)
    figure = go.Figure(app.session_state["page_said"].parts["cohorts"].shown)
    (dashes,) = [trace for trace in figure.data if trace.name == "Target"]
    assert list(dashes.y) == [50.0] * 11 + [1.0]  # each month by the target of its time
    app = opened(sample, monkeypatch, "returns", category="dresses")
    assert "no target for this selection; whole shop: target 1.0%" in texts(app)
    assert not [t for t in app.session_state["page_said"].parts["cohorts"].shown["data"] if t.get("name") == "Target"]
    app = opened(sample, monkeypatch, against="target")
    said = {name: change for name, _, change in lines(app)}
    assert said["Promise kept"].startswith("missed by")
    assert "no target set" in said.values()
    html = next(str(one.proto.body) for one in app.get("html"))
    assert "target 99.0%" in html
    app = opened(sample, monkeypatch, lang="fr", against="target")
    assert "manqué de" in next(str(one.proto.body) for one in app.get("html"))


def test_notes_stand_on_charts_over_time_and_their_words_under_them(
    sample: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(sample, monkeypatch, "returns")
    part = app.session_state["page_said"].parts["cohorts"]
    numbers = [one.text for one in go.Figure(part.shown).layout.annotations]
    assert numbers
    assert len(go.Figure(part.shown).layout.shapes) >= len(numbers)
    said = next(str(c.value) for c in app.caption if "New sizing" in str(c.value))
    assert "**1**" in said
    assert "Sale &#91;all](http:" in said  # what people write is shown as it is
    assert "http://x.example" not in said
    assert "New sizing" in part.about
    for form, begins in (("png", b"\x89PNG"), ("svg", b"<?xml")):
        drawn = take_away.picture(part, form)
        bare = go.Figure(part.shown)
        bare.layout.annotations, bare.layout.shapes = (), ()
        plain = take_away.Part(part.title, part.about, bare.to_dict())
        assert drawn.startswith(begins)
        assert drawn != take_away.picture(plain, form)
    assert take_away.pdf(app.session_state["page_said"], "All", "1", "en").startswith(b"%PDF")
    other = next(name for name in queries.values(app.session_state["view"].source, "category") if name != "dresses")
    app = opened(sample, monkeypatch, "returns", category=other)
    assert "New sizing" not in texts(app)
    assert "Sale" in texts(app)


def test_a_note_stands_on_the_mark_its_day_falls_into() -> None:
    months = pd.date_range("2025-11-01", periods=3, freq="MS")
    figure = go.Figure().add_scatter(x=months, y=[1, 2, 3])
    notes = [Annotation(day, "other", str(day)) for day in (date(2025, 10, 31), date(2025, 12, 31), date(2026, 1, 31))]
    shown, more = timeline.ticks(figure, [*notes, Annotation(date(2026, 2, 1), "other", "later")])
    assert [(tick.number, tick.at.date()) for tick in shown] == [(1, date(2025, 12, 1)), (2, date(2026, 1, 1))]
    assert more == 0
    many = [Annotation(date(2025, 12, day), "other", str(day), code="x") for day in range(1, 12)]
    shown, more = timeline.ticks(figure, [*many, notes[2]])
    assert (len(shown), more) == (timeline.MOST, 3)
    assert notes[2] in [tick.note for tick in shown]  # what people wrote goes first
    ticked = timeline.ticked(figure, shown)
    assert [one.text for one in ticked.layout.annotations] == ["1–8", "9"]
    assert timeline.marks_in_time(go.Figure().add_bar(x=[1, 2], y=["a", "b"])) == []
    empty = timeline.ticked(figure, [])
    assert empty is figure


def test_a_reader_adds_a_note_and_a_target_in_the_page_and_takes_them_back(
    own: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(own, monkeypatch, "targets", category="dresses")
    next(n for n in app.number_input if n.key == "target_value").set_value(12.5)
    app.button(key="target_save").click().run()
    assert not app.exception
    (kept,) = targets.targets(own)
    assert (kept.metric, kept.value, dict(kept.where)) == (RATE, 0.125, {"category": ("dresses",)})
    app.button(key="target_withdraw").click().run()
    assert targets.targets(own) == []
    next(c for c in app.get("button_group") if c.key == "part").set_value("notes")
    app.run()
    app.text_input(key="note_text").set_value("A sale")
    app.radio(key="note_where").set_value("whole")
    app.button(key="note_save").click().run()
    (note,) = annotations.written(own)
    assert (note.text, note.kind, dict(note.where)) == ("A sale", "promotion", {})
    app.button(key="note_save").click().run()
    app.button(key="note_withdraw").click().run()
    assert annotations.written(own) == []


def test_a_view_is_saved_listed_renamed_and_removed(own: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(own, monkeypatch, "late", category="dresses", lang="fr")
    app.text_input(key="view_name").set_value("Robes <b>")
    app.button(key="view_save").click().run()
    assert not app.exception
    (view,) = saved_views.saved(own, "")
    assert (view.page, view.codes) == ("late", {"category": ["dresses"]})  # the language is the reader's
    assert "Robes &#60;b>" in [e.proto.label for e in app.get("page_link")]
    turn(app, "targets").run()
    next(c for c in app.get("button_group") if c.key == "part").set_value("views")
    app.run()
    app.text_input(key=f"view_name_{view.view_id}").set_value("Robes")
    app.run()
    app.button(key=f"view_rename_{view.view_id}").click().run()
    assert [one.name for one in saved_views.saved(own, "")] == ["Robes"]
    app.button(key=f"view_withdraw_{view.view_id}").click().run()
    assert saved_views.saved(own, "") == []


def test_a_viewer_writes_nothing(own: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "current", lambda: Reader("v@example.org", "viewer"))
    app = opened(own, monkeypatch, "returns")
    keys = {b.key for b in app.button}
    assert not keys & {"view_save", "cohorts_note", "tiles_observed_return_rate_target"}
    turn(app, "targets").run()
    assert not {b.key for b in app.button} & {"target_save", "note_save", "target_withdraw"}
    monkeypatch.setattr(access, "current", lambda: Reader("a@example.org", "analyst"))
    app = opened(own, monkeypatch, "returns")
    assert {"view_save", "cohorts_note"} <= {b.key for b in app.button}
    assert "tiles_observed_return_rate_target" not in {b.key for b in app.button}  # targets are everybody's


def link_of(app: AppTest) -> dict[str, list[str]]:
    return parse_qs(urlparse(next(str(c.value) for c in app.code if "build=" in str(c.value))).query)


def test_a_shared_link_pins_days_and_build_and_says_when_that_is_gone(
    copy_of_tiny: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = copy_of_tiny
    app = opened(own, monkeypatch, "returns", category="dresses", period="90d")
    shared, view = link_of(app), app.session_state["view"]
    build = str(current_id(own.warehouse))
    assert shared == {
        "category": ["dresses"],
        "period": ["custom"],
        "days": [f"{view.since}..{view.until}"],
        "build": [build],
    }
    later = f"{int(build[:6]) + 1:06}{build[6:]}"
    builds = own.warehouse / "builds"
    shutil.copyfile(builds / f"{build}.duckdb", builds / f"{later}.duckdb")
    (own.warehouse / "current").write_text(later)
    again = opened(own, monkeypatch, "", **{name: codes[0] for name, codes in shared.items()})
    turn(again, "returns").run()
    pinned = again.session_state["view"]
    assert (pinned.source.build_id, pinned.since, pinned.until) == (build, view.since, view.until)
    assert again.query_params["build"] in (build, [build])
    again.button(key="chip_build").click().run()
    assert again.session_state["view"].source.build_id == later
    assert "build" not in again.query_params
    for gone in ("000099-20260101T000000", "../../state", "x"):
        app = opened(own, monkeypatch, build=gone)
        assert app.session_state["view"].source.build_id == later
        assert [w.value for w in app.warning if "no longer kept" in str(w.value)]
        assert "build" not in app.query_params


def test_what_is_pinned_is_no_other_file(copy_of_tiny: Settings) -> None:
    from pipelines.warehouse.build import UNFINISHED, is_there

    own = copy_of_tiny
    build = str(current_id(own.warehouse))
    assert is_there(own.warehouse, build)
    (own.warehouse / "builds" / f"{build}{UNFINISHED}.duckdb").write_bytes(b"")
    for other in (f"{build}{UNFINISHED}", f"../builds/{build}", "", "*"):
        assert not is_there(own.warehouse, other)


def test_a_minimum_shop_takes_targets_notes_and_views(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = fresh(tmp_path)
    least = any_shop.Delivery(any_shop.ROWS["minimum"](any_shop.whole()))
    load(settings, any_shop.write(tmp_path / "in", least))
    with current_build(settings.warehouse) as build:
        targets.set_target(settings, build, Target(RATE, 0.1, date(2025, 1, 1)))
        annotations.annotate(settings, build, Annotation(plan_end(build), "other", "A sale"))
        assert annotations.known_by_build(build) == []
    for address in ("", "returns", "targets", "delays"):
        app = opened(settings, monkeypatch, address)
        assert not app.error
    assert link_of(app)[views.BUILD] == [str(current_id(settings.warehouse))]
