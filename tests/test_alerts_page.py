"""The page of alerts: rules are made, changed, paused and withdrawn there, and alerts acknowledged, by who may."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

import dashboard
from dashboard.shared import access as access_shared
from pipelines import alerts
from pipelines.access import Reader, audit
from pipelines.settings import Settings
from pipelines.warehouse.scope import Scope
from tests.pages import turn
from tests.test_alerts import HIGH, add

HOME = Path(dashboard.__file__).parent


def opened(settings: Settings, monkeypatch: pytest.MonkeyPatch, address: str, **link: str) -> AppTest:
    monkeypatch.setenv("BACKHAUL_WAREHOUSE", str(settings.warehouse))
    app = AppTest.from_file(str(HOME / "app.py"), default_timeout=300)
    for name, code in link.items():
        app.query_params[name] = code
    return turn(app, address).run()


def field(app: AppTest, kind: str, part: str) -> Any:
    return next(one for one in getattr(app, kind) if part in str(one.key))


def rule_of(settings: Settings, metric: str) -> list[alerts.Rule]:
    return [rule for rule in alerts.rules(settings) if rule.metric == metric]


def test_a_rule_is_made_with_its_errors_beside_the_fields_then_changed_paused_and_withdrawn(
    desk_of_tiny: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(desk_of_tiny, monkeypatch, "alerts", category="dresses")
    assert not app.exception
    field(app, "selectbox", "_metric").set_value("observed_return_rate").run()
    field(app, "selectbox", "_test").set_value("above").run()
    app.button(key="alert_save").click().run()
    assert [one.value for one in app.error] == ["Give the bound: above or below which value is it an alert?"]
    field(app, "number_input", "_bound_").set_value(30.0)
    field(app, "number_input", "_days").set_value(0)
    field(app, "checkbox", "_under").check()
    field(app, "multiselect", "_by_").set_value(["country"])
    field(app, "text_area", "_to").set_value("mailto:nobody").run()
    app.button(key="alert_save").click().run()
    assert app.error[0].value.startswith("mailto:nobody is no address.")
    field(app, "text_area", "_to").set_value("teams+https://hooks.example.org/secret").run()
    app.button(key="alert_save").click().run()
    assert not app.error
    assert not app.exception
    (rule,) = rule_of(desk_of_tiny, "observed_return_rate")
    assert (rule.test, rule.bound, rule.by, rule.days) == ("above", 0.3, ("country",), 0)
    assert (dict(rule.where), rule.to) == ({"category": ("dresses",)}, ("teams+https://hooks.example.org/secret",))
    assert "secret" not in str([one.value for one in app.dataframe])
    number = str(rule.rule_id)
    app.selectbox(key="rule").set_value(number).run()
    assert field(app, "number_input", "_bound_").value == 30.0
    app.button(key="alert_pause").click().run()
    assert rule_of(desk_of_tiny, "observed_return_rate")[0].is_paused
    field(app, "number_input", "_bound_").set_value(50.0).run()
    app.button(key="alert_save").click().run()
    (changed,) = rule_of(desk_of_tiny, "observed_return_rate")
    assert (changed.bound, changed.is_paused, changed.rule_id > rule.rule_id) == (0.5, True, True)
    app.selectbox(key="rule").set_value(str(changed.rule_id)).run()
    app.button(key="alert_withdraw").click().run()
    assert rule_of(desk_of_tiny, "observed_return_rate") == []
    assert not app.exception


@pytest.mark.parametrize("language", ["en", "fr"])
def test_an_acknowledged_alert_leaves_the_first_sentence_and_stays_in_the_list(
    desk_of_tiny: Settings, monkeypatch: pytest.MonkeyPatch, language: str
) -> None:
    for shipped in alerts.rules(desk_of_tiny):
        alerts.withdraw_rule(desk_of_tiny, shipped.rule_id)
    add(desk_of_tiny, replace(HIGH, bound=0.3))
    alerts.record(desk_of_tiny)
    (row,) = alerts.alerts(desk_of_tiny).to_dict("records")
    said = {"en": "above 30.0%", "fr": "au-dessus de 30,0"}[language]
    today = opened(desk_of_tiny, monkeypatch, "today", lang=language)
    assert said in today.title[0].value
    page = opened(desk_of_tiny, monkeypatch, "alerts", lang=language)
    assert said in " ".join(str(one.value) for one in page.markdown)
    page.button(key=f"acknowledge_{row['alert_id']}").click().run()
    assert not page.exception
    assert alerts.alerts(desk_of_tiny)["acknowledged_by"].tolist() == ["owner"]
    known = {"en": "acknowledged by owner", "fr": "vue par owner"}[language]
    assert known in " ".join(str(one.value) for one in page.caption)
    today = opened(desk_of_tiny, monkeypatch, "today", lang=language)
    assert said not in today.title[0].value
    links = json.dumps([one.proto.label for one in today.get("page_link")], ensure_ascii=False)
    assert said in links
    assert known in links
    page.button(key=f"acknowledge_{row['alert_id']}").click().run()
    assert alerts.alerts(desk_of_tiny)["acknowledged_at"].isna().all()


def test_a_reader_of_a_part_sees_what_is_of_their_part_alone(
    desk_of_tiny: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKHAUL_OIDC_ISSUER", "http://localhost:1")
    for bound, limits in ((0.3, {}), (0.31, {"country": ("FR",)}), (0.32, {"brand": ("Tilleul",)})):
        add(desk_of_tiny, replace(HIGH, bound=bound, where=limits))
    add(desk_of_tiny, replace(HIGH, bound=0.33, by=("market",)))
    alerts.record(desk_of_tiny)
    assert len(alerts.alerts(desk_of_tiny)) == 4
    monkeypatch.setattr(access_shared, "enter", lambda _: None)
    seen = {}
    for market in ("FR", "DE"):
        reader = Reader("ben@example.org", "analyst", Scope.of(markets=[market]), "email")
        monkeypatch.setattr(access_shared, "_for", [reader])
        app = opened(desk_of_tiny, monkeypatch, "alerts")
        assert not app.exception
        assert not [one for one in app.button if str(one.key).startswith("acknowledge")]
        said = " ".join(str(one.value) for one in app.caption)
        seen[market] = [bound for bound in ("30.0", "31.0", "32.0", "33.0") if f"above {bound}" in said]
    assert seen == {"FR": ["31.0", "33.0"], "DE": []}


def test_a_viewer_only_looks_and_a_reader_of_a_part_sees_no_rule(
    desk_of_tiny: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKHAUL_OIDC_ISSUER", "http://localhost:1")
    add(desk_of_tiny, replace(HIGH, bound=0.3))
    alerts.record(desk_of_tiny)
    number = int(alerts.alerts(desk_of_tiny)["alert_id"].iloc[0])
    monkeypatch.setattr(access_shared, "enter", lambda _: None)
    monkeypatch.setattr(access_shared, "_for", [Reader("vera@example.org", "viewer", kind="email")])
    app = opened(desk_of_tiny, monkeypatch, "alerts")
    keys = {one.key for one in app.button}
    assert f"acknowledge_{number}" not in keys
    assert "alert_save" not in keys
    access_shared._for[:] = [Reader("ben@example.org", "analyst", Scope.of(markets=["FR"]), "email")]
    app = opened(desk_of_tiny, monkeypatch, "alerts")
    assert "about your part of the shop" in app.info[0].value
    assert "above 30.0%" not in " ".join(str(one.value) for one in app.markdown)
    access_shared._for[:] = [Reader("nadia@example.org", "analyst", kind="email")]
    app = opened(desk_of_tiny, monkeypatch, "alerts")
    app.button(key=f"acknowledge_{number}").click().run()
    assert "nadia@example.org" in set(alerts.alerts(desk_of_tiny)["acknowledged_by"])
    event = audit.events(desk_of_tiny, 1)[0]
    assert (event["event"], event["who"], event["what"]) == (
        "changed",
        "nadia@example.org",
        f"alert_acknowledged:{number}",
    )
    field(app, "text_area", "_to").set_value("https://elsewhere.example.org/x").run()
    app.button(key="alert_save").click().run()
    assert "is not your own mail address" in app.error[0].value
