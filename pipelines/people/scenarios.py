"""Saved scenarios: named, listed, compared. What a scenario is and gives is in `pipelines.analyses.scenario`."""

import json
from dataclasses import asdict

from sqlalchemy import delete, insert, select

from pipelines.analyses.scenario import Scenario, read_scenario
from pipelines.errors import ScenarioError
from pipelines.settings import Settings
from pipelines.warehouse import state, state_tables
from pipelines.warehouse.build import writing


def save(settings: Settings, name: str, given: Scenario) -> None:
    """Keep a scenario under a name; one of that name is replaced. Raises ScenarioError for an empty name."""
    if not name.strip():
        raise ScenarioError("A saved scenario needs a name.")
    row = {
        "name": name.strip(),
        "created_at": state.now(),
        "updated_at": state.now(),
        "text": json.dumps(asdict(given)),
    }
    state_file = state.State(settings.warehouse)
    try:
        with writing(settings.warehouse, settings.short_wait_s), state_file.transaction() as connection:
            connection.execute(delete(state_tables.scenario).where(state_tables.scenario.c.name == name.strip()))
            connection.execute(insert(state_tables.scenario).values(**row))
    finally:
        state_file.close()


def saved(settings: Settings) -> dict[str, Scenario]:
    """Give the saved scenarios by name."""
    state_file = state.State(settings.warehouse)
    try:
        rows = state_file.rows(select(state_tables.scenario).order_by(state_tables.scenario.c.name))
    finally:
        state_file.close()
    return {row["name"]: read_scenario(json.loads(row["text"])) for row in rows}


def find(settings: Settings, name: str) -> Scenario:
    """Give a saved scenario. Raises ScenarioError for a name there is not."""
    known = saved(settings)
    if name not in known:
        raise ScenarioError(f"There is no scenario {name!r}. There are: {', '.join(known) or 'none'}.")
    return known[name]
