"""A refund that names its return pays for that return's lines alone, in whatever order its rows come."""

from itertools import permutations
from pathlib import Path

import duckdb
import pytest

from pipelines.load import load
from pipelines.warehouse.build import build_path, current_id
from tests.conftest import TINY_SHOP, fresh, write_rows

pytestmark = pytest.mark.usefixtures("facts_alone")

AT = "2026-01-"
ORDERS = [
    dict(TINY_SHOP["order_line"][2], units=units, order_line_id=f"{order}-1", order_id=order)
    for order, units in (("O1", "4"), ("O2", "2"))
]
EVENTS = [
    {
        "event_id": f"{of_return}-{event}",
        "return_line_id": f"{of_return}-1",
        "return_id": of_return,
        "order_line_id": line,
        "event": event,
        "occurred_at": f"{AT}{day}T09:00:00Z",
        "units": "1",
    }
    for of_return, line in (("R1", "O1-1"), ("R2", "O1-1"), ("R3", "O2-1"), ("R4", "O2-1"))
    for event, day in (("requested", "05"), ("received", "09"))
]
REFUNDS = [
    {
        "refund_id": refund,
        "order_id": order,
        "return_id": of_return,
        "refunded_at": f"{AT}12T09:00:00Z",
        "amount": "60",
        "currency": "EUR",
    }
    for refund, order, of_return in (("F1", "O1", "R2"), ("F2", "O2", ""))
]
LINES = [
    {
        "refund_line_id": f"{refund}-1",
        "refund_id": refund,
        "order_line_id": line,
        "refunded_at": f"{AT}12T09:00:00Z",
        "units": "1",
        "amount": "60",
        "currency": "EUR",
    }
    for refund, line in (("F1", "O1-1"), ("F2", "O2-1"))
]
LOGS = {"return_event": EVENTS, "refund": REFUNDS, "refund_line": LINES}
PAID = """
    SELECT split_part(return_id, ':', -1), sum(refund_amount)::DOUBLE, count(refunded_at)::INTEGER
    FROM fact_return_line GROUP BY 1 ORDER BY 1
"""


def paid(folder: Path, *loads: tuple[str, ...]) -> list[tuple[str, float | None, int]]:
    """Load logs, some at a time, and give what each return was paid and whether it is refunded."""
    settings = fresh(folder)
    for number, names in enumerate(loads):
        files = folder / f"files{number}"
        for name in names:
            write_rows(files / f"{name}.csv", {"order_line": ORDERS, **LOGS}[name])
        load(settings, [files])
    with duckdb.connect(str(build_path(settings.warehouse, current_id(settings.warehouse) or "")), read_only=True) as b:
        return b.execute(PAID).fetchall()


def test_a_refund_pays_for_the_return_that_it_names(tmp_path: Path) -> None:
    """F1 names R2; F2 names none, so what its order line sent back shares it."""
    wanted = [("R1", None, 0), ("R2", 60.0, 1), ("R3", 30.0, 1), ("R4", 30.0, 1)]
    assert paid(tmp_path / "whole", ("order_line", *LOGS)) == wanted
    for number, (first, second, third) in enumerate(permutations(LOGS)):
        assert paid(tmp_path / f"{number}", ("order_line", first), (second,), (third,)) == wanted, (first, second)
