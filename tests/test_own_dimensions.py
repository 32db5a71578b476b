"""Dimensions of a shop's own: a mapping names them, and numbers are cut, filtered and drilled by them as by ours."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines import metrics
from pipelines.errors import MappingError, UnknownDimension, UnknownValue
from pipelines.load import load
from pipelines.metrics import Question
from pipelines.settings import Settings
from pipelines.sources.mapping import Mapping
from pipelines.warehouse.build import current_build
from pipelines.warehouse.engine import Build
from tests.conftest import fresh
from tests.test_dashboard import app

pytestmark = pytest.mark.usefixtures("no_rules")

MAPPING = """name: regional
time_zone: Europe/Paris
constants: {currency: EUR, country: FR}
tables:
  - file: "orders*.csv"
    to:
      order_line:
        order_line_id: Line
        order_id: Line
        ordered_at: Day
        product_id: SKU
        units: Units
        net_amount: Net
        dimensions: {region: Region, ship_mode: Ship Mode}
  - file: "returns*.csv"
    to:
      return_event:
        order_line_id: Line
        return_line_id: Return
        product_id: SKU
        units: Units
        events: {received: Back}
        dimensions: {region: Depot, till: Till}
"""
ORDERS = """Line,Day,SKU,Units,Net,Region,Ship Mode
1,2026-01-05,A,4,40,West,First Class
2,2026-01-06,A,6,60,West,Second Class
3,2026-01-07,B,10,100,East,First Class
4,2026-01-08,B,1,10,,First Class
"""
# the return of line 3 came to a depot in the North, of an order from the East; the last names no order
RETURNS = """Return,Line,SKU,Units,Back,Depot,Till
R1,1,A,1,2026-01-20,West,
R2,2,A,1,2026-01-21,West,T1
R3,3,B,5,2026-01-22,North,T1
R4,,B,2,2026-01-23,North,T2
"""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("regional")
    for name, text in (("regional.yaml", MAPPING), ("orders.csv", ORDERS), ("returns.csv", RETURNS)):
        (folder / name).write_text(text, "utf-8")
    made = fresh(folder)
    load(made, [folder / "orders.csv", folder / "returns.csv"], source=str(folder / "regional.yaml"))
    return made


@pytest.fixture(scope="module")
def build(settings: Settings) -> Iterator[Build]:
    with current_build(settings.warehouse) as opened:
        yield opened


def answered(build: Build, key: str, by: str, **more: Any) -> dict[str | None, float]:
    found = metrics.answer(build, key, Question(**more), by=[by])
    return {r if isinstance(r, str) else None: v for r, v in zip(found[by], found["value"], strict=True)}


def test_numbers_are_cut_by_them(build: Build) -> None:
    """10 units sold in the West and 2 back; of the East's 10 came 5, whatever depot they came to."""
    assert metrics.own_dimensions(build) == {"region", "ship_mode", "till"}
    assert answered(build, "sold_units", "region") == {"West": 10, "East": 10, None: 1}
    assert answered(build, "observed_return_rate", "region", where={"region": ["West", "East"]}) == {
        "West": 0.2,
        "East": 0.5,
    }
    assert answered(build, "sold_units", "region", where={"ship_mode": ["First Class"]}) == {
        "West": 4,
        "East": 10,
        None: 1,
    }


def test_a_return_takes_its_orders_then_its_own(build: Build) -> None:
    """Received: 2 units West, 5 of the East's order, 2 of no order at a depot in the North.

    Tills are the returns' alone.
    """
    assert answered(build, "received_units", "region") == {"West": 2, "East": 5, "North": 2}
    assert answered(build, "received_units", "till") == {"T1": 6, "T2": 2, None: 1}


def test_they_filter_and_open_into_rows(build: Build) -> None:
    assert metrics.dimension_values(build, "region") == ["East", "North", "West"]
    rows = metrics.rows(build, "observed_return_rate", Question(where={"region": ["West"]}), part="numerator")
    assert sorted(rows["return_line_id"]) == ["regional:R1", "regional:R2"]
    with pytest.raises(UnknownValue, match="East"):
        metrics.read_filters(build, "sold_units", {"region": ["Wset"]})


def test_a_number_whose_rows_do_not_carry_them_says_so(build: Build) -> None:
    for key, name in (("refund_amount", "region"), ("promise_kept", "region"), ("sold_units", "regoin")):
        with pytest.raises(UnknownDimension, match=f"cannot be cut by '{name}'"):
            metrics.statistics(build, key, by=[name])


def test_the_bar_filters_by_them(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are called as the mapping calls them, and a link holds what was chosen."""
    opened = app(settings.warehouse, monkeypatch, own_region="West").run()
    assert not opened.exception
    filters = {m.key: (m.label, m.value) for m in opened.multiselect if str(m.key).startswith("own_")}
    assert filters == {
        "own_region": ("region", ["West"]),
        "own_ship_mode": ("ship_mode", []),
        "own_till": ("till", []),
    }


@pytest.mark.parametrize("name", ["country", "market", "month", "value", "Region", "ship mode"])
def test_a_name_of_ours_or_no_name_is_refused_with_its_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "m.yaml").write_text(
        MAPPING.replace("{region: Region, ship_mode: Ship Mode}", f"{{{name}: Region}}"), "utf-8"
    )
    with pytest.raises(MappingError, match=rf"m.yaml line 14: `{name}` is"):
        Mapping(tmp_path / "m.yaml")
