"""Alerts: what a rule says, that it is said once, to whom, and what happens when nobody listens."""

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from sqlalchemy import create_engine, text
from typer.testing import CliRunner

from dashboard.shared import filters, places
from pipelines import alerts, metrics
from pipelines.alerts import Rule, Verdict, verdicts
from pipelines.cli import app
from pipelines.errors import AlertError, UnknownDimension, UnknownMetric, UnknownValue
from pipelines.links import FILTERS, PAGE_OF
from pipelines.load import load
from pipelines.metrics import Question
from pipelines.metrics.bind import observed
from pipelines.settings import Settings
from pipelines.warehouse import state, state_tables
from pipelines.warehouse.build import current_build
from pipelines.warehouse.engine import Build
from tests.conftest import TINY_SHOP, write_shop
from tests.receivers import hook, mailbox

runner = CliRunner()
HIGH = Rule(0, "observed_return_rate", "above", 0.4, days=0)  # 4 of 9 units came back in the tiny shop


def say(settings: Settings, rule: Rule) -> list[Verdict]:
    with current_build(settings.warehouse) as build:
        return alerts.evaluate(build, rule)


def add(settings: Settings, rule: Rule) -> Rule:
    with current_build(settings.warehouse) as build:
        return alerts.add_rule(settings, build, rule)


@pytest.mark.parametrize(
    ("test", "bound", "fires"),
    [("above", 0.44, True), ("above", 0.45, False), ("below", 0.45, True), ("below", 0.44, False)],
)
def test_a_bound_is_crossed_or_not(tiny_settings: Settings, test: str, bound: float, fires: bool) -> None:
    (found,) = say(tiny_settings, replace(HIGH, test=test, bound=bound))
    assert (found.fires, round(found.value, 4)) == (fires, 0.4444)
    assert found.sentence() == f"Returned so far: 44.4% (21.8% to 69.7%), {'' if fires else 'not '}{test} {bound:.1%}"


def test_a_rule_speaks_of_the_latest_days_and_of_each_value(tiny_settings: Settings) -> None:
    found = say(
        tiny_settings, Rule(0, "confirmed_units", "above", 1, by=("category",), where={"country": ("FR",)}, days=30)
    )
    until, since = found[0].until, found[0].since
    assert until is not None
    assert since is not None
    assert (until - since).days == 29
    assert {v.cell["category"] for v in found} <= {"dresses", "footwear"}
    assert "country FR" in found[0].sentence()
    assert "category " in found[0].sentence()


def test_what_is_not_known_is_no_alert(tiny_settings: Settings) -> None:
    (young,) = say(tiny_settings, Rule(0, "ultimate_return_rate", "above", 0.0, days=1))
    assert young.fires is None
    assert young.reason
    assert "not known" in young.sentence()
    (plain,) = say(tiny_settings, Rule(0, "return_cost", "worse", days=20))
    assert plain.fires is None


def test_a_change_beyond_noise_fires_and_noise_does_not(sample_settings: Settings) -> None:
    """In January parcels wait for inspection, not for approval."""
    found = say(sample_settings, Rule(0, "promise_kept", "worse", by=("promise_id",), days=28))
    by_promise = {v.cell["promise_id"]: v for v in found}
    assert by_promise["inspect"].fires is True
    assert by_promise["inspect"].value < by_promise["inspect"].previous
    assert by_promise["approve"].fires is False
    better = say(sample_settings, Rule(0, "promise_kept", "better", by=("promise_id",), days=28))
    assert not any(v.fires for v in better if v.cell["promise_id"] == "inspect")
    (slower,) = say(sample_settings, Rule(0, "days_to_refund(0.5)", "worse", days=28))
    assert slower.fires is True
    assert "worse than" in slower.sentence()


def test_false_alarms_are_as_rare_as_promised(monkeypatch: pytest.MonkeyPatch, tiny_build: Build) -> None:
    """Two periods of one truth, 12 cells a rule.

    At most about FALSE_ALARMS of the rules fire; a real change of 8 points does.
    """
    from models.rates import wilson

    rng = np.random.default_rng(5)
    frame = metrics.answer(tiny_build, "observed_return_rate").iloc[[0] * 12].reset_index(drop=True)
    truth = np.array([0.9])

    def drawn(_: Build, __: str, question: Question, **___: Any) -> Any:
        kept = rng.binomial(800, truth if question.as_of is None else 0.9, 12)
        low, high = wilson(kept, np.full(12, 800), question.level)
        return frame.assign(
            carrier=[str(i) for i in range(12)], value=kept / 800, low=low, high=high, status="ok", reason=""
        )

    monkeypatch.setattr(metrics, "answer", drawn)
    rule = Rule(0, "promise_kept", "worse", by=("carrier",), days=28)
    fired = [any(v.fires for v in alerts.evaluate(tiny_build, rule)) for _ in range(400)]
    assert np.mean(fired) <= 0.02
    truth[0] = 0.82
    assert np.mean([v.fires for _ in range(40) for v in alerts.evaluate(tiny_build, rule)]) >= 0.85


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        (Rule(0, "no_such_metric", "above", 1.0), UnknownMetric),
        (Rule(0, "promise_kept", "above"), AlertError),
        (Rule(0, "promise_kept", "sideways", 1.0), AlertError),
        (Rule(0, "promise_kept", "worse", days=0), AlertError),
        (Rule(0, "promise_kept", "below", 0.9, by=("colour",)), AlertError),
        (Rule(0, "promise_kept", "below", 0.9, where={"country": ("XX",)}), UnknownValue),
        (Rule(0, "promise_kept", "below", 0.9, where={"moon": ("XX",)}), UnknownDimension),
        (Rule(0, "promise_kept", "below", 0.9, to=("ftp://example.org",)), AlertError),
        (Rule(0, "promise_kept", "below", 0.9, to=("mailto:nobody",)), AlertError),
    ],
)
def test_a_rule_that_can_never_speak_is_refused(tiny_settings: Settings, rule: Rule, error: type[Exception]) -> None:
    with current_build(tiny_settings.warehouse) as build, pytest.raises(error):
        alerts.check_rule(build, rule)


def another_order(folder: Path, number: int) -> Path:
    line = TINY_SHOP["order_line"][0] | {"order_line_id": f"N{number}", "order_id": f"N{number}", "units": "40"}
    return write_shop(folder / str(number), {"order_line": [line]})


def test_an_alert_is_told_once_and_again_only_when_it_comes_back(copy_of_tiny: Settings, tmp_path: Path) -> None:
    with hook() as (address, got):
        add(copy_of_tiny, replace(HIGH, bound=0.3, to=(address,)))
        alerts.record(copy_of_tiny)
        assert alerts.tell(copy_of_tiny) == []
        assert len(got) == 1
        assert got[0]["text"].startswith("Backhaul: Returned so far: 44.4% (21.8% to 69.7%), above 30.0%")
        assert got[0]["alerts"][0] | {"low": None, "high": None} == {
            "sentence": "Returned so far: 44.4% (21.8% to 69.7%), above 30.0%",
            "metric": "observed_return_rate",
            "test": "above",
            "bound": 0.3,
            "where": {},
            "cell": {},
            "value": pytest.approx(4 / 9),
            "low": None,
            "high": None,
            "previous": None,
            "unit": "share",
            "caution": "",
            "since": None,
            "until": None,
            "why": f"rule {len(alerts.SHIPPED) + 1} alerts above 30.0%",
            "compared_with": None,
            "link": f"/returns?build={alerts.alerts(copy_of_tiny)['seen_build'].iloc[0]}",
        }
        assert alerts.record(copy_of_tiny) == []
        assert alerts.tell(copy_of_tiny) == []
        assert len(got) == 1
        lasting = alerts.alerts(copy_of_tiny)
        assert lasting.loc[lasting["since_build"].notna(), "since_build"].iloc[0] == lasting["seen_build"].iloc[0]
        report = load(copy_of_tiny, [another_order(tmp_path, 1)])  # 5 of 49 now: it is over
        assert report.is_new_build
        assert report.unreached == []
        assert len(got) == 1
        mine = alerts.alerts(copy_of_tiny, lasting=False)
        assert mine[mine["rule_id"] == mine["rule_id"].max()]["cleared_at"].notna().all()
        add(copy_of_tiny, replace(HIGH, test="below", bound=0.3, to=(address,)))
        fresh = load(copy_of_tiny, [another_order(tmp_path, 2)])
        assert any("below 30.0%" in s for s in fresh.alerts)
        assert len(got) == 2


def test_who_cannot_be_reached_is_tried_again_and_a_load_goes_on(copy_of_tiny: Settings, tmp_path: Path) -> None:
    with hook(500) as (broken, refused), hook() as (address, got):
        add(copy_of_tiny, replace(HIGH, bound=0.0, to=(broken, address, "http://127.0.0.1:9/none")))
        report = load(copy_of_tiny, [another_order(tmp_path, 1)])
        assert report.is_new_build
        assert len(report.unreached) == 2
        assert len(got) == 1
        assert len(refused) == 1
        assert "it answered 500" in " ".join(report.unreached)
        assert "/hook" not in " ".join(report.unreached)
        assert len(alerts.tell(copy_of_tiny)) == 2  # again, but not the one who knows
        assert len(got) == 1
        assert len(refused) == 2


def test_mail_goes_through_the_server_that_is_set(copy_of_tiny: Settings) -> None:
    with mailbox() as (server, got):
        settings = replace(
            copy_of_tiny, smtp=server, mail_from="backhaul@shop.example", public_url="https://returns.shop.example"
        )
        add(settings, replace(HIGH, to=("mailto:nadia@shop.example",)))
        alerts.record(settings)
        assert alerts.tell(settings) == []
        (mail,) = got
        assert (mail["To"], mail["From"]) == ("nadia@shop.example", "backhaul@shop.example")
        assert mail["Subject"] == "Backhaul: Returned so far: 44.4% (21.8% to 69.7%), above 40.0%"
        said, label, link = mail.get_content().strip().splitlines()
        assert said == "- Returned so far: 44.4% (21.8% to 69.7%), above 40.0%. Why: rule 6 alerts above 40.0%."
        build_id = alerts.alerts(settings)["seen_build"].iloc[0]
        assert (label, link) == ("Open in Backhaul", f"https://returns.shop.example/returns?build={build_id}")


def test_mail_without_a_server_or_with_a_password_in_the_clear_is_refused(copy_of_tiny: Settings) -> None:
    add(copy_of_tiny, replace(HIGH, to=("mailto:nadia@shop.example",)))
    alerts.record(copy_of_tiny)
    (why,) = alerts.tell(replace(copy_of_tiny, smtp=""))
    assert "BACKHAUL_SMTP" in why
    with mailbox() as (server, got):
        (why,) = alerts.tell(replace(copy_of_tiny, smtp=server.replace("//", "//me:secret@")))
        assert "no encryption" in why
        assert "secret" not in why
        assert not got


def test_a_withdrawn_rule_is_silent_and_stays_on_record(copy_of_tiny: Settings) -> None:
    rule = add(copy_of_tiny, HIGH)
    alerts.record(copy_of_tiny)
    assert rule.rule_id in set(alerts.alerts(copy_of_tiny)["rule_id"])
    alerts.withdraw_rule(copy_of_tiny, rule.rule_id)
    assert rule.rule_id not in set(alerts.alerts(copy_of_tiny)["rule_id"])
    assert rule.rule_id in set(alerts.alerts(copy_of_tiny, lasting=False)["rule_id"])
    with pytest.raises(AlertError, match="no rule"):
        alerts.withdraw_rule(copy_of_tiny, rule.rule_id)


def test_every_shipped_rule_can_speak(sample_settings: Settings) -> None:
    with current_build(sample_settings.warehouse) as build:
        for shipped in alerts.SHIPPED:
            rule = Rule(0, **shipped)  # type: ignore[arg-type]
            alerts.check_rule(build, rule)
            assert all(v.fires is not None for v in alerts.evaluate(build, rule))


def test_a_rule_that_cannot_be_asked_any_more_stops_no_load(copy_of_tiny: Settings, tmp_path: Path) -> None:
    state_file = state.State(copy_of_tiny.warehouse)
    state_file.write(
        state_tables.alert_rule,
        [{"metric": "gone_by_now", "test": "above", "bound": 1.0, "by": "[]", "where": "{}", "days": 0, "to": "[]"}],
    )
    state_file.close()
    assert load(copy_of_tiny, [another_order(tmp_path, 1)]).is_new_build
    (mine,) = [v for v in alerts.check(copy_of_tiny) if v.rule.metric == "gone_by_now"]
    assert mine.fires is None
    assert mine.sentence().startswith("gone_by_now: not known: There is no metric 'gone_by_now'")


def test_a_promise_that_can_no_longer_be_kept_is_told_with_the_one_that_could(sample_settings: Settings) -> None:
    rule = Rule(0, "promise_at(0.95)", "unkeepable", where={"promise_id": ("refund",)}, days=0)
    (found,) = say(sample_settings, rule)
    assert found.fires is True
    assert found.high < 0.95
    assert f"{found.previous:g} could be promised instead" in found.sentence()
    with current_build(sample_settings.warehouse) as build:
        with pytest.raises(AlertError, match="one promise"):
            alerts.check_rule(build, replace(rule, where={}))
        with pytest.raises(AlertError, match="one promise"):
            alerts.check_rule(build, replace(rule, metric="promise_kept"))


def test_two_alerts_of_one_cell_cannot_last(copy_of_tiny: Settings) -> None:
    add(copy_of_tiny, HIGH)
    alerts.record(copy_of_tiny)
    engine = create_engine(f"sqlite:///{copy_of_tiny.warehouse / 'state.sqlite'}")
    with engine.begin() as connection, pytest.raises(Exception, match="UNIQUE"):
        connection.execute(
            text("INSERT INTO alert (rule_id, cell) SELECT rule_id, cell FROM alert WHERE cleared_at IS NULL LIMIT 1")
        )
    engine.dispose()


def run(settings: Settings, *words: str) -> Any:
    return runner.invoke(app, ["alert", *words, "--warehouse", str(settings.warehouse)], catch_exceptions=True)


def test_the_command_line_goes_all_the_way(copy_of_tiny: Settings) -> None:
    added = run(copy_of_tiny, "add", "observed_return_rate", "--above", "0.4", "--days", "0")
    assert added.exit_code == 0
    assert "above 40.0%" in added.output
    dry = run(copy_of_tiny, "check", "--dry-run", "--format", "json")
    assert {"alert"} <= {row["verdict"] for row in json.loads(dry.output)}
    number = len(alerts.SHIPPED) + 1
    assert number not in set(alerts.alerts(copy_of_tiny)["rule_id"])  # the dry run kept nothing
    done = run(copy_of_tiny, "check", "--format", "json")
    assert any("44.4%" in row["sentence"] for row in json.loads(done.output))
    listed = json.loads(run(copy_of_tiny, "list", "--format", "json").output)
    assert [row["lasting"] for row in listed if row["rule_id"] == number] == [1]
    logged = json.loads(run(copy_of_tiny, "log", "--format", "json").output)
    assert any(row["rule_id"] == number and row["over"] is None for row in logged)
    assert run(copy_of_tiny, "withdraw", str(number)).exit_code == 0
    assert run(copy_of_tiny, "add", "promise_kept").exit_code == 2
    assert state.ALERT_TESTS == ("above", "below", "worse", "better", "unkeepable")


def test_the_same_weeks_of_last_year_are_compared_where_data_reach_back(
    sample_settings: Settings, copy_of_tiny: Settings
) -> None:
    """A season that comes each year is no alert; without last year the days before are compared, and that is said."""
    rule = Rule(0, "promise_kept", "worse", days=28, against="year")
    (found,) = say(sample_settings, rule)
    assert found.is_of_last_year
    assert found.before is not None
    assert found.since is not None
    assert (found.since - found.before[0]).days == 364
    assert found.since.weekday() == found.before[0].weekday()
    assert "in the same weeks of last year (" in found.sentence()
    with current_build(sample_settings.warehouse) as build:
        then = max(observed(build).values()) - dt.timedelta(weeks=52)  # read as it was known at the same age
        asked = Question(since=found.before[0], until=found.before[1], as_of=then)
        last_year = metrics.answer(build, "promise_kept", asked).iloc[0]
    assert found.previous == pytest.approx(last_year["value"])
    (young,) = say(copy_of_tiny, Rule(0, "observed_return_rate", "worse", days=14, against="year"))
    assert not young.is_of_last_year
    assert "same weeks" not in young.sentence()


def test_seasons_that_repeat_alert_nobody(monkeypatch: pytest.MonkeyPatch, tiny_build: Build) -> None:
    """Each January 60% are kept and each December 90%: against the month before that is an alert each year."""
    from models.rates import wilson

    frame = metrics.answer(tiny_build, "observed_return_rate").iloc[[0]].reset_index(drop=True)

    def seasonal(_: Build, __: str, question: Question, **___: Any) -> Any:
        assert question.since is not None
        kept = 0.6 if question.since.month == 1 else 0.9
        low, high = wilson(np.array([kept * 800]), np.array([800]), question.level)
        return frame.assign(value=kept, low=low, high=high, status="ok", reason="")

    monkeypatch.setattr(metrics, "answer", seasonal)
    monkeypatch.setattr("pipelines.alerts.verdicts.observed_until", lambda _: {"s": dt.datetime(2026, 1, 31, 9)})
    monkeypatch.setitem(tiny_build.cache, "first_day", dt.date(2024, 1, 1))
    rule = Rule(0, "promise_kept", "worse", period="month", against="before")
    (before,) = alerts.evaluate(tiny_build, rule)
    (season,) = alerts.evaluate(tiny_build, replace(rule, against="year"))
    assert (before.fires, season.fires) == (True, False)
    assert before.before == (dt.date(2025, 12, 1), dt.date(2025, 12, 31))
    assert "worse than 90.0% in the month before" in before.sentence()
    monkeypatch.setitem(tiny_build.cache, "first_day", dt.date(2025, 6, 1))
    (short,) = alerts.evaluate(tiny_build, replace(rule, against="year"))
    assert (short.fires, short.is_of_last_year) == (True, False)


@pytest.mark.parametrize(
    ("period", "last", "since", "until"),
    [
        ("week", "2026-02-01", "2026-01-26", "2026-02-01"),  # a Sunday ends its week
        ("week", "2026-01-31", "2026-01-19", "2026-01-25"),
        ("month", "2026-01-31", "2026-01-01", "2026-01-31"),
        ("month", "2026-01-30", "2025-12-01", "2025-12-31"),
        ("month", "2024-03-01", "2024-02-01", "2024-02-29"),
    ],
)
def test_the_last_complete_week_and_month(period: str, last: str, since: str, until: str) -> None:
    found = verdicts.days_of(Rule(0, "promise_kept", "worse", period=period), dt.date.fromisoformat(last))
    assert found == (dt.date.fromisoformat(since), dt.date.fromisoformat(until))


def test_a_rule_that_is_paused_says_nothing_and_is_not_told_anew_after(copy_of_tiny: Settings, tmp_path: Path) -> None:
    with hook() as (address, got):
        rule = add(copy_of_tiny, replace(HIGH, bound=0.0, to=(address,)))
        alerts.record(copy_of_tiny)
        assert alerts.tell(copy_of_tiny) == []
        alerts.pause_rule(copy_of_tiny, rule.rule_id)
        assert rule.rule_id not in set(alerts.alerts(copy_of_tiny)["rule_id"])
        assert rule.rule_id not in {v.rule.rule_id for v in alerts.check(copy_of_tiny)}
        load(copy_of_tiny, [another_order(tmp_path, 1)])
        assert len(got) == 1
        alerts.pause_rule(copy_of_tiny, rule.rule_id, is_paused=False)
        load(copy_of_tiny, [another_order(tmp_path, 2)])
        assert rule.rule_id in set(alerts.alerts(copy_of_tiny)["rule_id"])
        assert len(got) == 1


def test_a_rule_that_means_something_else_is_a_new_one(copy_of_tiny: Settings) -> None:
    rule = add(copy_of_tiny, HIGH)
    alerts.record(copy_of_tiny)
    with current_build(copy_of_tiny.warehouse) as build:
        same = alerts.edit_rule(copy_of_tiny, build, replace(rule, to=("mailto:a@example.org",)))
        assert same.rule_id == rule.rule_id
        assert rule.rule_id in set(alerts.alerts(copy_of_tiny)["rule_id"])
        other = alerts.edit_rule(copy_of_tiny, build, replace(same, bound=0.9))
        with pytest.raises(AlertError, match="There is no rule"):
            alerts.edit_rule(copy_of_tiny, build, replace(same, bound=0.8))
    assert other.rule_id > rule.rule_id
    assert rule.rule_id not in {r.rule_id for r in alerts.rules(copy_of_tiny)}
    (past,) = [r for r in alerts.alerts(copy_of_tiny, lasting=False).to_dict("records") if r["rule_id"] == rule.rule_id]
    assert alerts.verdict_of(past).sentence().endswith("above 40.0%")


def test_an_acknowledged_alert_stays_listed_until_it_comes_back(copy_of_tiny: Settings, tmp_path: Path) -> None:
    rule = add(copy_of_tiny, replace(HIGH, bound=0.3))
    alerts.record(copy_of_tiny)

    def mine() -> list[dict[Any, Any]]:
        return [r for r in alerts.alerts(copy_of_tiny).to_dict("records") if r["rule_id"] == rule.rule_id]

    (row,) = mine()
    alerts.acknowledge(copy_of_tiny, int(row["alert_id"]), "nadia@example.org")
    alerts.record(copy_of_tiny)
    assert mine()[0]["acknowledged_by"] == "nadia@example.org"
    load(copy_of_tiny, [another_order(tmp_path, 1)])
    assert mine() == []  # over
    with pytest.raises(AlertError, match="No alert"):
        alerts.acknowledge(copy_of_tiny, int(row["alert_id"]), "nadia@example.org")
    with current_build(copy_of_tiny.warehouse) as build:
        alerts.edit_rule(copy_of_tiny, build, replace(rule, bound=0.05))
    alerts.record(copy_of_tiny)
    assert alerts.alerts(copy_of_tiny)["acknowledged_at"].isna().all()  # a new alert is nobody's yet


def test_the_command_line_pauses_edits_and_acknowledges(copy_of_tiny: Settings) -> None:
    run(copy_of_tiny, "add", "observed_return_rate", "--above", "0.4", "--days", "0")
    number = str(len(alerts.SHIPPED) + 1)
    assert run(copy_of_tiny, "check").exit_code == 0
    (row,) = [r for r in json.loads(run(copy_of_tiny, "log", "--format", "json").output) if str(r["rule_id"]) == number]
    assert row["why"] == f"rule {number} alerts above 40.0%"
    assert run(copy_of_tiny, "acknowledge", str(row["alert_id"])).exit_code == 0
    edited = run(copy_of_tiny, "edit", number, "--to", "slack+https://hooks.example.org/secret", "--format", "json")
    assert "secret" not in edited.output
    assert json.loads(edited.output)[0]["to"] == "slack+https://hooks.example.org"
    assert run(copy_of_tiny, "pause", number).exit_code == 0
    (listed,) = [
        r for r in json.loads(run(copy_of_tiny, "list", "--format", "json").output) if str(r["rule_id"]) == number
    ]
    assert listed["state"] == "paused"
    assert run(copy_of_tiny, "pause", number, "--resume").exit_code == 0
    worse = run(copy_of_tiny, "add", "promise_kept", "--worse", "--by", "country", "--last", "week", "--format", "json")
    assert (json.loads(worse.output)[0]["days"], json.loads(worse.output)[0]["against"]) == ("last week", "year")
    assert run(copy_of_tiny, "edit", "99", "--bound", "1").exit_code == 1


def test_a_link_of_an_alert_leads_to_a_page_with_its_filters(copy_of_tiny: Settings) -> None:
    for family, page in PAGE_OF.items():
        assert page in places.BY_ADDRESS, family
    assert {*filters.DIMENSIONS, *filters.PICKED} == FILTERS
    settings = replace(copy_of_tiny, public_url="https://returns.example.org")
    add(settings, replace(HIGH, bound=0.0, where={"country": ("FR",)}, by=("category",), days=300))
    alerts.record(settings)
    row = next(r for r in alerts.alerts(settings).to_dict("records") if r["rule"].by == ("category",))
    link = urlsplit(alerts.link_of(settings, row))
    asked = parse_qs(link.query)
    assert (link.netloc, link.path, asked["country"], asked["period"]) == (
        "returns.example.org",
        "/returns",
        ["FR"],
        ["custom"],
    )
    assert asked["category"] == [row["cell"]["category"]]
    assert asked["days"] == [f"{row['since']:%Y-%m-%d}..{row['until']:%Y-%m-%d}"]
    assert asked["build"] == [row["seen_build"]]
