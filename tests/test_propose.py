"""Proposing a mapping: over headings of many systems and six languages every proposal loads and gives the right units and money."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from sqlalchemy import select

from pipelines import load as loading
from pipelines import state
from pipelines.settings import Settings
from pipelines.sources.propose import propose
from pipelines.warehouse.build import build_path, current_id

FIXTURES = Path(__file__).parent / "fixtures"


@dataclass(frozen=True)
class Case:
    """Headings of a system with a few rows, and what they must give."""

    name: str
    content: str
    expected: dict[str, float]

    @property
    def source(self) -> str:
        return self.name.split(".")[0]


def corpus() -> list[Case]:
    cases = []
    for part in re.split(r"(?m)^## ", (FIXTURES / "headings.txt").read_text(encoding="utf-8"))[1:]:
        head, content = part.split("\n", 1)
        name, *numbers = head.split()
        cases.append(Case(name, content.strip("\n") + "\n", {k: float(v) for k, v in (n.split("=") for n in numbers)}))
    return cases


def loaded(folder: Path, cases: list[Case]) -> dict[str, dict[str, Any]]:
    """Propose a mapping for every case, load them all into one warehouse, and give the numbers by source."""
    settings = Settings(warehouse=folder / "warehouse")
    settings.warehouse.mkdir()
    memory = state.State(settings.warehouse)
    numbers: dict[str, dict[str, Any]] = {case.source: {} for case in cases}
    for case in cases:
        file = folder / case.source / case.name
        file.parent.mkdir()
        file.write_text(case.content, encoding="utf-8")
        mapping = file.with_suffix(".yaml")
        mapping.write_text(propose(file).yaml, encoding="utf-8")
        loading._begin(memory, [file], str(mapping), case.source, None)  # built once, for all of them
    memory.close()
    loading.load(settings)
    build = duckdb.connect(str(build_path(settings.warehouse, current_id(settings.warehouse) or "")), read_only=True)
    for key, sql in (
        ("sold", "SELECT source, sum(units_sold) FROM fact_order_line GROUP BY 1"),
        ("back", "SELECT source, sum(units) FROM fact_return_line GROUP BY 1"),
        ("flagged", "SELECT source, count(return_flag)::DOUBLE FROM fact_order_line GROUP BY 1"),
        ("refunded", "SELECT source, sum(amount)::DOUBLE FROM fact_refund GROUP BY 1"),
    ):
        for source, number in build.execute(sql).fetchall():
            numbers[source][key] = float(number)
    build.close()
    memory = state.State(settings.warehouse)
    for row in memory.rows(select(state.quarantine)):
        fault = (row["thing"], row["line"], row["rules"], row["value"])
        numbers[row["source"]].setdefault("quarantined", []).append(fault)
    memory.close()
    return numbers


def test_every_proposal_loads_and_gives_the_right_units(tmp_path: Path) -> None:
    cases = corpus()
    assert len(cases) > 60
    numbers = loaded(tmp_path, cases)
    wrong = {
        case.name: (case.expected, numbers[case.source])
        for case in cases
        if any(numbers[case.source].get(k, 0) != v for k, v in case.expected.items())
    }
    assert not wrong, "\n".join(f"{name}: {what}" for name, what in wrong.items())
