"""What if: nothing changed is history, arithmetic moves what it should and nothing else.

Behaviour is said, scenarios are kept.
"""

from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest

from models.scenario import front, inspected_on
from pipelines import analyses, metrics
from pipelines.analyses import Scenario, read_scenario
from pipelines.errors import ScenarioError
from pipelines.metrics import Question
from pipelines.metrics.bind import bind
from pipelines.metrics.compiler import statement
from pipelines.people import scenarios
from pipelines.settings import Settings
from pipelines.warehouse.engine import Build

SPAN = Question(since=date(2025, 2, 1), until=date(2025, 10, 31))


def changed(build: Build, tried: Scenario) -> dict[str, float]:
    found = analyses.simulate(build, tried, SPAN).set_index("outcome")["difference"]
    return {str(k): float(v) for k, v in found.items()}


def by_order(build: Build, key: str, measure: str) -> float:
    question = replace(bind(build, key, SPAN), basis="order")
    return float(build.fetch(statement(question))[measure].sum())


def test_nothing_changed_is_history_exactly(sample_build: Build) -> None:
    """To the last digit, and the history is what the metrics say of the same orders."""
    found = analyses.simulate(sample_build, Scenario(), SPAN).set_index("outcome")
    assert (found["difference"] == 0).all()
    assert (found["low"] == 0).all()
    assert (found["value"] == found["history"]).all()
    history = found["history"]
    assert history["returned_units"] == metrics.answer(sample_build, "returned_units", SPAN)["value"].iloc[0]
    assert history["sold_margin"] == pytest.approx(metrics.answer(sample_build, "gross_margin", SPAN)["value"].iloc[0])
    assert history["margin_reversed"] == pytest.approx(
        metrics.answer(sample_build, "margin_reversed", SPAN)["value"].iloc[0]
    )
    assert history["return_cost"] == pytest.approx(by_order(sample_build, "return_cost", "cost"))
    assert history["kg_co2e"] == pytest.approx(by_order(sample_build, "kg_co2e", "kg"))


def test_a_full_desk_is_the_history_and_a_wider_one_is_sooner(sample_build: Build) -> None:
    assert changed(sample_build, Scenario(inspection=1.0))["days_to_refund"] == 0
    wider = changed(sample_build, Scenario(inspection=1.5))
    assert wider["days_to_refund"] < 0
    assert wider["promise_kept"] >= 0
    assert wider["kg_co2e"] == 0
    assert changed(sample_build, Scenario(inspection=0.95))["days_to_refund"] > 0


def test_arithmetic_moves_only_what_it_is_about(sample_build: Build) -> None:
    box = changed(sample_build, Scenario(no_box=True))
    assert box["kg_co2e"] < 0
    assert box["return_cost"] == 0
    priced = analyses.simulate(sample_build, Scenario(carbon_price=100.0), SPAN).set_index("outcome")
    assert priced.loc["return_cost", "difference"] == pytest.approx(priced.loc["kg_co2e", "history"] * 0.1)
    sooner = changed(sample_build, Scenario(refund_trigger="carrier_scan"))
    assert sooner["days_to_refund"] < changed(sample_build, Scenario(refund_trigger="received"))["days_to_refund"] < 0
    names = sorted(metrics.answer(sample_build, "confirmed_units", by=("carrier",))["carrier"].dropna())
    same = changed(sample_build, Scenario(carrier=f"{names[0]}>{names[0]}"))
    assert max(abs(v) for v in same.values()) < 1e-9


def test_behaviour_widens_the_interval_and_is_said(sample_build: Build) -> None:
    tried = Scenario(fee=2.0, window_days=14, free_exchange=True, methods=("drop_off", "store"))
    found = analyses.simulate(sample_build, tried, SPAN).set_index("outcome")
    margin = found.loc["margin"]
    assert margin["low"] < margin["difference"] < margin["high"]
    assert found.loc["returned_units", "difference"] < 0
    assert found.loc["sold_margin", "difference"] < 0
    assert set(tried.assumes) == {
        "behaviour_fee_returns",
        "behaviour_fee_sales",
        "behaviour_window_early",
        "behaviour_window_returns",
        "behaviour_window_sales",
        "behaviour_exchange",
        "behaviour_method_lost",
    }
    assert Scenario(no_box=True, inspection=1.2, carbon_price=50).assumes == ()


def test_the_front_is_what_no_other_beats(sample_build: Build) -> None:
    assert front([[1.0, 5.0], [2.0, 4.0], [2.0, 6.0]]).tolist() == [True, True, False]
    found = analyses.pareto(sample_build, SPAN)
    best = found[found["is_best"]]
    assert 0 < len(best) < len(found)
    assert found["margin"].max() in set(best["margin"])
    assert found["kg_co2e"].min() in set(best["kg_co2e"])


def test_the_desk_serves_in_turn() -> None:
    assert inspected_on([0, 0, 0, 1], [2, 1]).tolist() == [0, 0, 1, 2]
    assert inspected_on([0, 3, 3], [5, 5, 5, 1]).tolist() == [0, 3, 4]
    assert inspected_on([], [1]).tolist() == []
    rng = np.random.default_rng(2)
    received = np.sort(rng.integers(0, 60, 500))
    done = inspected_on(received, np.full(80, 9.0))
    assert (done >= received).all()
    assert np.bincount(done).max() <= 9
    assert (np.diff(done) >= 0).all()


def test_the_next_weeks_under_a_scenario(sample_build: Build) -> None:
    found = analyses.forward(sample_build, Scenario(fee=3.0), SPAN)
    assert (found["under"] < found["value"]).all()
    assert (analyses.forward(sample_build, Scenario(), SPAN)["under"] == found["value"]).all()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"colour": 1}, "A scenario has no colour"),
        ({"window_days": 0}, "at least a day"),
        ({"methods": ["pigeon"]}, "Methods are of"),
        ({"refund_trigger": "soon"}, "not at 'soon'"),
        ({"inspection": 0}, "above 0"),
        ({"carrier": "A"}, "OLD>NEW"),
        ({"carbon_price": -1}, "not negative"),
    ],
)
def test_a_wrong_scenario_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        read_scenario(given)


def test_a_carrier_nobody_has_names_those_there_are(sample_build: Build) -> None:
    with pytest.raises(ScenarioError, match=r"No return of the selection travelled with 'Nobody'\. There are: "):
        analyses.simulate(sample_build, Scenario(carrier="Nobody>Else"), SPAN)


def test_scenarios_are_kept_by_name(settings: Settings) -> None:
    tried = Scenario(fee=2.0, methods=("drop_off", "store"))
    assert scenarios.saved(settings) == {}
    scenarios.save(settings, "fee", Scenario(fee=1.0))
    scenarios.save(settings, "fee", tried)
    assert scenarios.saved(settings) == {"fee": tried}
    assert scenarios.find(settings, "fee") == tried
    with pytest.raises(ScenarioError, match=r"There is no scenario 'x'\. There are: fee"):
        scenarios.find(settings, "x")
    with pytest.raises(ScenarioError, match="needs a name"):
        scenarios.save(settings, " ", tried)
