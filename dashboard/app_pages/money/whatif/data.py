"""What the page whatif asks; nothing is drawn here."""

from typing import Any

import pandas as pd

from dashboard.shared import access
from dashboard.shared.memory import remembered
from dashboard.shared.queries import PageQuestion, Source, by, opened, question_of
from dashboard.shared.whole import whole_shop
from pipelines import analyses, factors
from pipelines.errors import BackhaulError
from pipelines.people import scenarios
from pipelines.settings import Settings


@remembered
def forward(asked: PageQuestion, tried: analyses.Scenario) -> pd.DataFrame:
    """Give the next weeks of returned units under a scenario beside the forecast.

    Columns: week, value (with it), low, high, naive (as it is).
    """
    question, outcomes = question_of(asked, "simulate"), simulated(asked, tried)
    found = analyses.forward(opened(asked.source), tried, question, outcomes=outcomes)
    return found.rename(columns={"value": "naive", "under": "value"})


@remembered
def simulated(asked: PageQuestion, tried: analyses.Scenario) -> pd.DataFrame:
    """Re-run the returns of the orders of the period."""
    return analyses.simulate(opened(asked.source), tried, question_of(asked, "simulate"))


def compared(asked: PageQuestion) -> pd.DataFrame:
    """Lay the saved scenarios side by side.

    Name and the change of each outcome; empty where the selection cannot say.
    """
    rows = {}
    for name, tried in saved_scenarios(asked.source).items():
        try:
            rows[name] = simulated(asked, tried).set_index("outcome")["difference"]
        except BackhaulError:
            rows[name] = pd.Series(dtype=float)
    return pd.DataFrame(rows).T.round(6).add(0.0).rename_axis("name").reset_index()  # no minus before a zero


@remembered
def pareto(asked: PageQuestion) -> pd.DataFrame:
    """Try a grid of policies."""
    return analyses.pareto(opened(asked.source), question_of(asked, "simulate"))


def saved_scenarios(source: Source) -> dict[str, analyses.Scenario]:
    """Give the saved scenarios by name."""
    return {} if source.scope else scenarios.saved(Settings(source.warehouse))


def save_scenario(source: Source, name: str, tried: analyses.Scenario) -> None:
    """Keep a scenario under a name."""
    access.check("save")
    scenarios.save(whole_shop(source), name, tried)


def read_scenario(given: dict[str, Any]) -> analyses.Scenario:
    """Read a scenario from what was chosen."""
    return analyses.read_scenario(given)


def behaviour(tried: analyses.Scenario) -> pd.DataFrame:
    """List what a scenario assumes of customers: parameter, value, low, high, notes."""
    rows = [factors.parameters()[name, ""] | {"parameter": name} for name in tried.assumes]
    frame = pd.DataFrame(rows, columns=["parameter", "value", "low", "high", "unit", "notes"])
    return frame.assign(**{c: frame[c].astype(float) for c in ("value", "low", "high")})


def carriers(asked: PageQuestion) -> list[str]:
    """Name the return carriers of the selection."""
    return sorted(str(c) for c in by(asked, "confirmed_units", "carrier")["label"].dropna())
