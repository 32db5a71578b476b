"""Actions from the log to the verdict: kept, never lost, counted as the metrics count, measured on a simulated shop."""

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import create_engine, text
from typer.testing import CliRunner

from models import effect
from pipelines import cli, metrics
from pipelines.errors import ActionError, UnknownDimension
from pipelines.metrics import Question
from pipelines.people import actions
from pipelines.people.actions import Action
from pipelines.settings import Settings
from pipelines.warehouse.build import current_build
from pipelines.warehouse.engine import Build
from tests.conftest import copied

WEEK = dt.timedelta(days=7)
runner = CliRunner()


@pytest.fixture(scope="module")
def shop_settings(sample_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A copy of the simulated shop, to write to."""
    return copied(sample_settings, tmp_path_factory.mktemp("actions"))


@pytest.fixture(scope="module")
def shop(shop_settings: Settings) -> Iterator[Build]:
    build = current_build(shop_settings.warehouse)
    yield build
    build.close()


def action(number: int, kind: str, on: dt.date | None, **scope: str | list[str]) -> Action:
    at = dt.datetime(2026, 1, 1)
    lists = {k: tuple([v] if isinstance(v, str) else v) for k, v in scope.items()}
    return Action(number, at, at, kind, lists, on, status="done" if on else "open")


def sellers(build: Build, count: int) -> list[str]:
    """The styles that sell most, of the category with the most of them: the others hold too few to compare."""
    sold = metrics.answer(build, "sold_units", Question(where={"category": ["apparel"]}), by=("style_id",))
    return list(sold.sort_values(["value", "style_id"], ascending=[False, True])["style_id"].head(count))


def end(build: Build) -> dt.date:
    return dt.datetime.fromisoformat(build.info["observed_until"]).date()


def test_an_action_is_logged_changed_and_withdrawn_but_never_lost(settings: Settings) -> None:
    assert actions.actions(settings) == []
    assert not settings.warehouse.exists()  # asking makes nothing
    first = actions.log_action(
        settings, "size_note", {"style_id": ["s:1", "s:2"]}, effective_on=dt.date(2026, 1, 5), note="one up"
    )
    second = actions.log_action(
        settings,
        "carrier_call",
        {},
        owner="Nadia",
        due_on=dt.date(2026, 2, 6),
        expected_money=1200.0,
        expected_kg_co2e=30.0,
    )
    assert (first.status, first.scope, first.note) == ("done", {"style_id": ("s:1", "s:2")}, "one up")
    assert (second.status, second.owner, second.expected_money, second.expected_kg_co2e) == ("open", "Nadia", 1200, 30)
    assert actions.actions(settings) == [second, first]

    changed = actions.update_action(settings, second.action_id, effective_on=dt.date(2026, 2, 5), status="done")
    assert (changed.effective_on, changed.owner, changed.created_at) == (
        dt.date(2026, 2, 5),
        "Nadia",
        second.created_at,
    )
    gone = actions.withdraw_action(settings, first.action_id)
    assert gone.status == "withdrawn"
    assert actions.actions(settings) == [changed]
    assert actions.actions(settings, kind="size_note", with_withdrawn=True) == [gone]
    assert replace(gone, status="done", updated_at=first.updated_at) == first


def test_an_action_that_is_logged_twice_is_one(settings: Settings) -> None:
    values = {"owner": "Nadia", "due_on": dt.date(2026, 2, 6), "expected_money": 1200.5}
    asked = actions.log_action(settings, "carrier_call", {}, **values)
    assert actions.log_action(settings, "carrier_call", {}, **values) == asked
    note = actions.log_action(settings, "size_note", {"style_id": ["s:1"]}, effective_on=dt.date(2026, 1, 5))
    assert actions.log_action(settings, "size_note", {"style_id": ["s:1"]}, effective_on=dt.date(2026, 1, 5)) == note
    assert actions.actions(settings) == [note, asked]
    others = [
        actions.log_action(settings, "carrier_call", {}, **{**values, "owner": "Paul"}),
        actions.log_action(settings, "claim", {}, **values),
        actions.log_action(settings, "carrier_call", {"carrier": ["Relais"]}, **values),
        actions.log_action(settings, "carrier_call", {}, **values, note="again"),
        actions.log_action(settings, "size_note", {"style_id": ["s:1"]}),  # to be done once more
    ]
    assert len(actions.actions(settings)) == 2 + len(others)
    actions.withdraw_action(settings, asked.action_id)
    assert actions.log_action(settings, "carrier_call", {}, **values).action_id > others[-1].action_id


@pytest.mark.parametrize(
    ("kind", "scope", "values", "told"),
    [
        ("sizenote", {"style_id": ["s:1"]}, {}, "size_note"),
        ("photo", {}, {}, "style_id"),
        ("photo", {"style_id": []}, {}, "style_id"),
        ("photo", {"style_id": ["s:1"]}, {"status": "lost"}, "withdrawn"),
        ("photo", {"style_id": ["s:1"]}, {"status": "done"}, "effective_on"),
        ("photo", {"style_id": ["s:1"]}, {"colour": "red"}, "colour"),
        ("photo", {"style_id": ["s:1"]}, {"action_id": 7}, "action_id"),
    ],
)
def test_what_cannot_be_logged_is_told(
    settings: Settings, kind: str, scope: dict[str, list[str]], values: dict[str, object], told: str
) -> None:
    with pytest.raises(ActionError, match=told):
        actions.log_action(settings, kind, scope, **values)
    assert actions.actions(settings, with_withdrawn=True) == []


def test_a_change_is_judged_like_a_new_action(settings: Settings) -> None:
    logged = actions.log_action(settings, "photo", {"style_id": ["s:1"]})
    with pytest.raises(ActionError, match="effective_on"):
        actions.update_action(settings, logged.action_id, status="done")
    with pytest.raises(ActionError, match="no action 99"):
        actions.update_action(settings, 99, status="done")
    assert actions.find_action(settings, logged.action_id) == logged


def test_a_state_file_from_before_gains_the_table(settings: Settings) -> None:
    settings.warehouse.mkdir(parents=True)
    engine = create_engine(f"sqlite:///{settings.warehouse / 'state.sqlite'}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE load (load_id VARCHAR)"))
    engine.dispose()
    assert actions.actions(settings) == []
    assert actions.log_action(settings, "claim", {}).action_id == 1


def test_what_is_compared_is_what_the_metrics_say(shop: Build) -> None:
    (style,) = sellers(shop, 1)
    monday = end(shop) - 24 * WEEK
    monday -= dt.timedelta(days=monday.weekday())
    found = actions.measure_action(shop, action(1, "photo", monday, style_id=style))
    assert (found.before_from, found.after_from) == (monday - 12 * WEEK, monday)
    assert found.products == (style,)
    assert found.after_until is not None
    assert found.effect.weeks == (found.after_until + dt.timedelta(days=1) - monday) / WEEK
    where = {"style_id": [style]}
    # 24 weeks ago everything has come: exposure is what was sold (less what was never delivered), the rate the observed
    # one.
    before = metrics.answer(
        shop,
        "observed_return_rate",
        Question(where=where, since=found.before_from, until=monday - dt.timedelta(days=1)),
    )
    assert found.effect.rate_before == pytest.approx(before["value"].iloc[0], rel=0.02)
    after = Question(where=where, since=monday, until=found.after_until)
    sold, came = (metrics.answer(shop, k, after)["value"].iloc[0] for k in ("sold_units", "returned_units"))
    assert found.effect.units <= sold
    assert found.effect.units > 0.9 * sold
    assert found.effect.rate == pytest.approx(came / found.effect.units, rel=0.02)


def test_the_week_an_action_came_in_is_left_out(shop: Build) -> None:
    (style,) = sellers(shop, 1)
    monday = end(shop) - 24 * WEEK
    monday -= dt.timedelta(days=monday.weekday())
    found = actions.measure_action(shop, action(1, "photo", monday + dt.timedelta(days=2), style_id=style))
    assert (found.before_from, found.after_from) == (monday - 12 * WEEK, monday + WEEK)


def test_only_old_weeks_count_and_as_of_is_kept_to(shop: Build) -> None:
    styles = sellers(shop, 2)
    on = end(shop) - 20 * WEEK
    act = action(1, "photo", on, style_id=styles)
    late = actions.measure_action(shop, act)
    early = actions.measure_action(shop, act, question=Question(as_of=on + 8 * WEEK))
    assert 0 < early.effect.weeks < late.effect.weeks < 20
    assert early.after_until is not None
    assert early.after_until < on + 8 * WEEK
    just = actions.measure_action(shop, act, question=Question(as_of=on + WEEK)).effect
    assert (just.verdict, just.reason) == ("too_early", "not_yet")


def test_actions_of_a_kind_are_one_measurement(shop: Build) -> None:
    one, two, three = sellers(shop, 3)
    on = end(shop) - 24 * WEEK
    together = action(1, "photo", on, style_id=[one, two])
    apart = [action(2, "photo", on, style_id=one), action(3, "photo", on, style_id=two)]
    other = action(4, "description", on, style_id=three)
    whole = actions.measure_action(shop, together, [together, other])
    pooled = actions.measure_kind(shop, "photo", [*apart, other])
    assert pooled.action_ids == (2, 3)
    assert pooled.effect == whole.effect
    assert pooled.effect.products == 2


def test_other_actions_end_spoil_and_are_no_controls(shop: Build) -> None:
    (style,) = sellers(shop, 1)
    on = end(shop) - 24 * WEEK
    act = action(1, "photo", on, style_id=style)
    alone = actions.measure_action(shop, act, [act]).effect
    later = action(2, "supplier", on + 6 * WEEK, style_id=style)
    ended = actions.measure_action(shop, act, [act, later]).effect
    assert ended.weeks < 7 < alone.weeks
    same = action(3, "size_note", on, style_id=style)
    spoiled = actions.measure_action(shop, act, [act, same]).effect
    assert (spoiled.verdict, spoiled.reason) == ("cannot_know", "other_action")
    again = action(4, "photo", on, style_id=style)  # the same thing logged twice
    assert actions.measure_action(shop, act, [act, again]).effect == alone
    everything = action(5, "policy", on, category="apparel")
    assert actions.measure_action(shop, act, [act, everything]).effect.reason == "other_action"
    assert actions.measure_action(shop, everything, [everything]).effect.reason == "no_equals"


def test_a_market_narrows_treated_and_controls_alike(shop: Build) -> None:
    (style,) = sellers(shop, 1)
    on = end(shop) - 30 * WEEK
    found = actions.measure_action(shop, action(1, "photo", on, style_id=style, country="FR"))
    period = Question(since=found.after_from, until=found.after_until)
    sold = metrics.answer(shop, "sold_units", period.under(style_id=[style], country=["FR"]))["value"].iloc[0]
    assert 0.9 * sold < found.effect.units <= sold


@pytest.mark.parametrize(
    ("kind", "done", "reason"),
    [("carrier_call", True, "not_about_products"), ("delisting", True, "delisted"), ("photo", False, "not_done")],
)
def test_what_can_never_be_measured_says_why(shop: Build, kind: str, done: bool, reason: str) -> None:
    (style,) = sellers(shop, 1)
    found = actions.measure_action(shop, action(1, kind, end(shop) - 24 * WEEK if done else None, style_id=style))
    assert (found.effect.verdict, found.effect.reason) == ("cannot_know", reason)
    assert found.row()["verdict"] == "cannot_know"


def test_the_tiny_shop_is_too_small_to_measure(tiny_build: Build) -> None:
    found = actions.measure_action(tiny_build, action(1, "photo", dt.date(2025, 12, 15), category="dresses"))
    assert found.effect.verdict == "cannot_know"
    assert np.isnan(found.effect.change)


def test_a_scope_must_mean_something(shop: Build) -> None:
    (style,) = sellers(shop, 1)
    actions.check_scope(shop, "photo", {"style": [style], "market": ["FR"]})
    actions.check_scope(shop, "claim", {})
    with pytest.raises(ActionError, match="no-such-style"):
        actions.check_scope(shop, "photo", {"style_id": ["no-such-style"]})
    with pytest.raises(UnknownDimension, match="contry"):
        actions.check_scope(shop, "photo", {"contry": ["FR"]})


def test_the_size_note_in_the_catalogue_is_suggested_logged_and_measured(shop: Build, settings: Settings) -> None:
    suggested = actions.suggested_actions(shop)
    assert list(suggested["kind"]) == ["size_note"]
    row = suggested.iloc[0]
    logged = actions.log_action(
        settings, row["kind"], {"style_id": [row["style_id"]]}, effective_on=row["effective_on"]
    )
    assert actions.suggested_actions(shop, actions.actions(settings)).empty
    found = actions.measure_action(shop, logged, actions.actions(settings)).effect
    # A tenth of the demonstration shop has four dresses: nothing to compare with. tests/test_stories.py asks the whole
    # one.
    assert (found.verdict, found.reason) == ("no_overlap", "no_equals")


def test_a_refusal_gives_no_number_that_reads_as_a_verdict() -> None:
    numbers = {
        "change": -0.2,
        "low": -0.3,
        "high": -0.1,
        "rate": 0.2,
        "returns_avoided": 40.0,
        "units": 300.0,
        "power": 0.3,
    }
    for verdict in ("too_early", "no_overlap", "cannot_know", *actions.TOLD):
        row = actions.Measured("photo", (1,), (), None, None, None, effect.Effect(verdict, **numbers)).row()
        is_told = verdict in ("fell", "rose", "no_clear_change")
        assert [pd.notna(row[n]) for n in ("change", "low", "high", "rate", "returns_avoided")] == [is_told] * 5
        assert (row["units"], row["power"]) == (300.0, 0.3)


@pytest.mark.parametrize("verb", ["add", "update", "list", "measure"])
def test_every_action_verb_explains_itself_with_an_example(verb: str) -> None:
    told = runner.invoke(cli.app, ["action", verb, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})
    assert f"backhaul action {verb}" in told.stdout.split("Example:")[1]


def test_the_command_line_logs_lists_and_measures(shop_settings: Settings, shop: Build) -> None:
    def run(*arguments: str) -> list[dict[str, object]]:
        result = runner.invoke(
            cli.app, ["action", *arguments, "--format", "json", "--warehouse", str(shop_settings.warehouse)]
        )
        assert result.exit_code == 0, result.output
        found: list[dict[str, object]] = json.loads(result.stdout)
        return found

    (style,) = sellers(shop, 1)
    [suggested] = run("list", "--suggested")
    assert suggested["kind"] == "size_note"
    [added] = run(
        "add", "photo", "--on", f"style_id={style}", "--effective", str(end(shop) - 24 * WEEK), "--owner", "Nadia"
    )
    assert (added["status"], added["on"]) == ("done", f"style_id={style}")
    [measured] = run("measure", str(added["action_id"]))
    assert set(measured) >= {"verdict", "change", "low", "high", "units", "weeks_needed", "placebo_low", "left_out"}
    assert [row["kind"] for row in run("measure")] == ["photo"]
    run("update", str(added["action_id"]), "--status", "withdrawn")
    assert run("list") == []
    assert [row["status"] for row in run("list", "--withdrawn")] == ["withdrawn"]
    assert pd.isna(run("measure", str(added["action_id"]))[0]["change"])


def test_the_command_line_refuses_an_unknown_style(
    shop_settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "backhaul",
        "action",
        "add",
        "photo",
        "--on",
        "style_id=none",
        "--warehouse",
        str(shop_settings.warehouse),
    ]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit):
        cli.main()
    assert "No product is style_id none" in capsys.readouterr().err
    assert actions.actions(Settings(warehouse=Path(shop_settings.warehouse)), kind="photo") == []
